"""The same for what the paper leaves out: runs that differ from the family's in one thing, and what equal speed costs."""

from collections.abc import Sequence

from prunescale.amounts import short
from prunescale.runs import Run
from studies.p2 import speed, variants
from studies.p2.variants import Beside, OfRates, Repeated, Scratch, TokensBefore
from studies.published.markdown import percent


def left_out(runs: Sequence[Run]) -> str:
    """What the paper does not ask, a sentence each; empty where nothing of it was run. runs: of the family, and their variants."""
    sentences = [
        noise(list(variants.orders(runs)), list(variants.trainings(runs))),
        learning_rates(variants.learning_rates(runs)),
        tokens_before(variants.tokens_before(runs)),
        distillation(list(variants.distilled(runs))),
        steps(list(variants.gradual(runs))),
        nothing(list(variants.scratch(runs))),
        equal_speed(runs),
    ]
    said = [f"- {sentence}" for sentence in sentences if sentence]
    figure = "![The excess with a teacher and with pruning in steps, as a share of that without](ways.png)"
    return "\n\n".join(["## What the paper leaves out", "\n".join(said), figure]) if said else ""


def noise(orders: Sequence[Repeated], trainings: Sequence[Repeated]) -> str:
    if not orders:
        return ""
    by_method = {method: [each for each in trainings if f", {method}" in each.label] for method in ("depth", "width", "2:4")}
    smallest = trainings[0].label.split(", ")[0] if trainings else ""
    said = []
    for method, some in by_method.items():
        if some:
            others = [each for each in some if not each.label.startswith(smallest)]
            but = f", {percent(variants.pooled(others), 1)} without the smallest size" if 0 < len(others) < len(some) else ""
            said.append(f"{percent(variants.pooled(some), 1)} in {method} ({len(some)} recipes{but})")
    of_bases = (
        f" With a base that was trained once more by the same recipe, on a text of which a few per cent differ, it differs by {'; '.join(said)}: there another model is pruned."
        if said
        else ""
    )
    return (
        f"**What no law can foretell**: with the data in another order the excess of a finished model differs by {percent(variants.pooled(orders), 1)} of it "
        f"(standard deviation over {len(orders)} recipes in three orders each, at the smallest sizes).{of_bases} [All of it](results.md#noise)."
    )


def learning_rates(found: Sequence[OfRates]) -> str:
    if not found:
        return ""
    tried = [rate for rate in variants.RATES if any(rate in each.losses for each in found)]
    best = {each.label: min(each.losses, key=each.losses.__getitem__) for each in found}
    by_rate = {rate: [label for label, best_rate in best.items() if best_rate == rate] for rate in tried}
    said = "; ".join(f"{rate} is best for {', '.join(labels)}" for rate, labels in by_rate.items() if labels)
    if by_rate[tried[-1]]:
        said += ", and a higher one may be better still"
    moved = [
        each.excesses[rate] / each.excesses["the rate"] - 1
        for each in found
        if each.label != "control"
        for rate in each.losses
        if rate != "the rate"
    ]
    others = " and ".join(rate.removesuffix(" the rate") for rate in tried if rate != "the rate")
    return (
        f"**The learning rate**, a quarter of the base's, against {others} of it at one size: {said}. Over controls at the same rate the excess changes by "
        f"{span(moved)}. [Figures](results.md#learning-rates)."
    )


def tokens_before(found: Sequence[TokensBefore]) -> str:
    if not found:
        return ""
    powers = ", ".join(f"{each.label} {each.power:+.2f}" for each in found)
    least, most = min(found[0].excesses), max(found[0].excesses)
    return (
        f"**Tokens before pruning**, from {least} to {most} a parameter at one size: the excess goes as these tokens to the power of {powers}. In the family they go with the size, so "
        "this is what of its powers of N0 is theirs. [Figures](results.md#tokens-before)."
    )


def distillation(found: Sequence[Beside]) -> str:
    """By size: a teacher that is itself far from trained holds its pupils back."""
    if not found:
        return ""
    said = []
    for size, gained in dict.fromkeys((each.size, each.gained) for each in found):
        some = [each for each in found if (each.size, each.gained) == (size, gained)]
        said.append(
            f"at {short(size)}, where the unpruned control ends {gained:.3f} nats below the teacher, by {span([each.change for each in some])}, and at equal FLOPs, since a teacher costs too, by "
            f"{span([each.change_at_equal_flops for each in some])}"
        )
    return (
        f"**Learning from the model before pruning**, by its distribution alone, changes the excess at equal tokens {'; '.join(said)} ({len(found)} runs). "
        "[Each](results.md#distillation)."
    )


def steps(found: Sequence[Beside]) -> str:
    if not found:
        return ""
    said = []
    for method in ("depth", "width"):
        if some := [each for each in found if f", {method}" in each.label]:
            tokens, flops = span([each.change for each in some]), span([each.change_at_equal_flops for each in some])
            said.append(f"in {method} by {tokens} at equal tokens and by {flops} at equal FLOPs")
    return f"**Pruning in four steps** in the place of one changes the excess {'; '.join(said)} ({len(found)} runs). [Each](results.md#gradual-pruning)."


def nothing(found: Sequence[Scratch]) -> str:
    few = [each.few - each.pruned for each in found if each.few is not None]
    whole = [
        (each.all - each.pruned, each.flops_all / each.flops_total) for each in found if each.all is not None and each.flops_all
    ]
    parts = []
    if few:
        parts.append(f"on the 60M tokens of post-training it ends {few_nats(few)} the pruned one ({len(few)} shapes)")
    if whole:
        shares = [share for _, share in whole]
        parts.append(
            f"on all tokens that the pruned one and its parent have seen, {min(shares):.2f} to {max(shares):.2f} of their FLOPs, {few_nats([each for each, _ in whole])} it ({len(whole)} shapes)"
        )
    if not parts:
        return ""
    return f"**A small model from nothing**, of the shape that pruning depth leaves: {'; '.join(parts)}. Where between these two amounts they meet was not tried. [Each](results.md#small-models-from-nothing)."


def equal_speed(runs: Sequence[Run]) -> str:
    said, off = [], []
    for found in speed.kept():
        measured = speed.faster(runs, found)
        off += [max(each.high / each.speed, each.speed / each.low) - 1 for each in measured]
        costs = [
            f"{kind}, {' and '.join(known(speed.cost(ways, method, speed.WANTED[0])) for method in ('depth', 'width'))}"
            for kind, ways in speed.by_kind(measured).items()
        ]
        if costs:
            said.append(f"on a {found['device'].replace('CPU', 'CPU with')}: {'; '.join(costs)}".replace("with, ", "with "))
    if not said:
        return ""
    return (
        f"**At equal measured speed**, {speed.WANTED[0]:g} times the dense model's, depth and width cost about, in nats over the control, {'; and '.join(said)}. Speeds are medians, of which single rounds lie off by up to {percent(max(off), 0)}. "
        "[All speeds](results.md#at-equal-speed)."
    )


def known(cost: float | None) -> str:
    return "more than was pruned" if cost is None else f"{cost:.2f}"


def span(shares: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{share:+.0%}".replace("%", " %") for share in (min(shares), max(shares)))
    return " to ".join(ends)


def few_nats(differences: Sequence[float]) -> str:
    if min(differences) >= 0:
        return f"{min(differences):.3f} to {max(differences):.3f} nats above"
    if max(differences) <= 0:
        return f"{-max(differences):.3f} to {-min(differences):.3f} nats below"
    return f"from {-min(differences):.3f} nats below to {max(differences):.3f} above"
