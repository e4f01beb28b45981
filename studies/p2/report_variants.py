"""The sections of results.md on what the paper leaves out: see variants.py."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from prunescale.runs import Run
from studies.p2 import speed, variants
from studies.p2.speed import Faster
from studies.p2.variants import RATES, Beside, Repeated
from studies.published.markdown import percent, table

OVER = "Nats over the control, finished models after 60M tokens"


def sections(runs: Sequence[Run]) -> Iterator[str]:
    """runs: of the family, and their variants. What has no runs has no section."""
    makers: dict[str, Callable[[Sequence[Run]], str]] = {
        "Noise": noise,
        "Learning rates": rates,
        "Tokens before": tokens_before,
        "Distillation": distilled,
        "Gradual pruning": gradual,
        "Small models from nothing": scratch,
        "At equal speed": at_equal_speed,
    }
    for title, make in makers.items():
        if text := make(runs):
            yield f"## {title}\n\n{text}"


def noise(runs: Sequence[Run]) -> str:
    orders, trainings = list(variants.orders(runs)), list(variants.trainings(runs))
    texts = []
    if orders:
        texts.append(
            f"{OVER}, with the data in three orders; each over the control with the same order.\n\n"
            + table(["run", "excess in three orders", "standard deviation", "of the excess"], list(map(spread, orders)))
            + f"\n\nOn average over these (root mean square), {percent(variants.pooled(orders), 1)} of the excess."
        )
    if trainings:
        texts.append(
            "The same with base models that were trained several times by one recipe, which differ by how a GPU adds up and by the text, of which later "
            "ones have newer package descriptions.\n\n"
            + table(
                ["run", "losses before pruning", "excesses", "standard deviation", "of the excess"],
                [[each.label, listed(each.before), *spread(each)[1:]] for each in trainings],
            )
            + f"\n\nOn average over these (root mean square), {percent(variants.pooled(trainings), 1)} of the excess."
        )
    return "\n\n".join(texts)


def spread(each: Repeated) -> list[str]:
    return [each.label, listed(each.annealed), f"{each.spread:.4f}", percent(each.relative, 1)]


def listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def rates(runs: Sequence[Run]) -> str:
    found = variants.learning_rates(runs)
    if not found:
        return ""
    tried = [rate for rate in RATES if any(rate in each.losses for each in found)]
    lines = [
        [
            each.label,
            *(figure(each.losses.get(rate)) for rate in tried),
            *(figure(None if each.label == "control" else each.excesses.get(rate)) for rate in tried),
        ]
        for each in found
    ]
    head = ["6.43M", *(f"{rate}: loss" for rate in tried), *("excess" for _ in tried)]
    return (
        "Losses of finished models after 60M tokens, and their excesses over controls at the same learning rate; the rule is a quarter of the base's.\n\n"
        + table(head, lines)
    )


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def tokens_before(runs: Sequence[Run]) -> str:
    found = variants.tokens_before(runs)
    if not found:
        return ""
    seen = list(found[0].excesses)
    lines = [[each.label, *(figure(each.excesses[n]) for n in seen), f"{each.power:+.2f}"] for each in found]
    return (
        f"{OVER}, of 6.43M parameters whose base had seen so many tokens a parameter, 20 in the family; each over the control of its own base. The power is that of those tokens to "
        "which the excess goes.\n\n" + table(["", *(f"{n} before" for n in seen), "power"], lines)
    )


def beside(found: Sequence[Beside], what: str, equal: str) -> str:
    if not found:
        return ""
    lines = [
        [
            each.label,
            f"{each.plain:.4f}",
            f"{each.other:.4f}",
            f"{each.change:+.0%}",
            f"{each.flops:.2f}",
            f"{each.at_equal_flops[0]:.4f} against {each.at_equal_flops[1]:.4f}",
            f"{each.change_at_equal_flops:+.0%}",
        ]
        for each in found
    ]
    return f"{OVER}; {equal}.\n\n" + table(["run", "plain", what, "difference", "FLOPs", "at equal FLOPs", "difference"], lines)


def distilled(runs: Sequence[Run]) -> str:
    return beside(
        list(variants.distilled(runs)),
        "from the parent",
        "the loss against the parent's distribution in the place of the text's next token. At equal FLOPs it has seen fewer tokens, between which its loss is read, over that of the control after 60M",
    )


def gradual(runs: Sequence[Run]) -> str:
    return beside(
        list(variants.gradual(runs)),
        "in four steps",
        "at once, and in four steps with 5M tokens after each but the last; in width at the rate that the steps came to, by the odds. At equal FLOPs what is pruned at once has seen more tokens, to which its loss is carried on",
    )


def scratch(runs: Sequence[Run]) -> str:
    found = list(variants.scratch(runs))
    if not found:
        return ""

    def cell(loss: float | None, flops: float | None, per: float) -> list[str]:
        return ["-", "-"] if loss is None or flops is None else [f"{loss:.4f}", f"{flops / per:.2f}"]

    lines = [
        [
            each.label,
            f"{each.pruned:.4f}",
            *cell(each.few, each.flops_few, each.flops_pruned),
            *cell(each.all, each.flops_all, each.flops_total),
        ]
        for each in found
    ]
    return (
        "Losses of finished models of one shape: larger ones without some blocks after 60M tokens of post-training; and trained from nothing, on 60M tokens, and on as "
        "many as the larger model and the pruned one have seen together. FLOPs of the first in those of the post-training, of the second in those of all that led to the pruned model.\n\n"
        + table(["shape", "pruned", "from nothing, 60M tokens", "FLOPs", "from nothing, all tokens", "FLOPs"], lines)
    )


def at_equal_speed(runs: Sequence[Run]) -> str:
    texts = []
    for found in speed.kept():
        each = speed.faster(runs, found)
        if not each:
            continue
        kinds = speed.by_kind(each)
        ways = list(dict.fromkeys(one.way for one in each))
        pairs = [(method, wanted) for wanted in speed.WANTED for method in ("depth", "width")]
        times = [[kind, *(spread_of(some[way]) for way in ways)] for kind, some in kinds.items()]
        equal = [[kind, *(nats(speed.cost(some, *pair)) for pair in pairs)] for kind, some in kinds.items()]
        costs = ", ".join(f"{way} {next(one.excess for one in each if one.way == way):.3f}" for way in ways)
        texts.append(
            f"{found['device']}, {found['date']}, torch {found['torch']}, {found['size']}: prompts of {found['prompt_tokens']} tokens and {found['new_tokens']} to decode, medians of "
            f"{found['rounds']} rounds, and the least and the most of them. Times the speed of the dense model:\n\n{table(['', *ways], times)}\n\n{OVER}, of these: {costs}. At equal speed, read between the rates:\n\n"
            + table(["", *(f"{method} at {wanted:g} times" for method, wanted in pairs)], equal)
        )
    return "\n\n".join(texts)


def spread_of(each: Faster) -> str:
    return f"{each.speed:.2f} ({each.low:.2f} to {each.high:.2f})"


def nats(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
