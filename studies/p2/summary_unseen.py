"""The README's sentences on runs that no fit has seen: see unseen.py."""

from collections.abc import Sequence

from prunescale.amounts import short
from prunescale.fitting import Fit, Score
from prunescale.runs import Run
from studies.p2 import unseen
from studies.p2.answers import OURS, asked, controls, fits
from studies.p2.planned import is_of
from studies.p2.report_unseen import OWN
from studies.p2.unseen import OfFamily, Unseen
from studies.published.markdown import percent, table


def second_family(runs: Sequence[Run], of_family: OfFamily) -> str:
    """Empty where none of it was run."""
    base = next((run for run in runs if is_of("smollm2-base", run)), None)
    control = next((run for run in controls(runs) if is_of("smollm2-curves", run)), None)
    if base is None or control is None or not control.loss_before or not (found := unseen.ask(runs, of_family)):
        return ""
    moved = control.loss - control.loss_before
    head = [
        "",
        "in the end, of what is foretold",
        "error: tokens per parameter",
        "with a floor",
        "P2",
        "inside 90 %",
        "from a tenth: the first",
        "its own end",
    ]
    lines = [
        [
            method,
            ratios(laws[OURS[0]]),
            *(error(laws.get(law) and laws[law].whole) for law in (*OURS, "p2")),
            "-" if (inside := laws[OURS[0]].inside) is None else percent(inside, 0),
            error(laws[OURS[0]].pilot),
            error(own_end),
        ]
        for method, (laws, own_end) in found.items()
    ]
    return (
        f"**Another family.** SmolLM2-135M ({short(control.n_params_before or 0)} outside the embedding) was trained on this text for {short(base.n_tokens)} tokens, from {base.loss_before:.3f} to "
        f"{control.loss_before:.3f} nats; trained on as the pruned models are, its control ends {abs(moved):.3f} nats {'above' if moved > 0 else 'below'} that. What the family's constants say of its pruned models: the excess in the end against what the first law foretells, by the rate; "
        "the mean error of the excess along the curves, and of its points how many lie inside the first law's interval; and the error beyond a tenth of the tokens, of the first law carried on from that tenth and of a power law through its end.\n\n"
        f"{table(head, lines)}\n\n"
        "One model, of another depth, tokenizer and pre-training: two trillion tokens (arXiv:2502.02737), a thousand times as many a parameter. That it lies near the family's line in width all the same suggests that the size matters there and not those; in 2:4 they may. "
        f"{own_exponents(runs, of_family)}Train a tenth of the tokens before trusting constants of other models, and then the curve's own end (`plan --run`). [All of it](results.md#a-second-family).\n\n"
        "![What pruning SmolLM2 costs over its control against tokens, measured and foretold, for four ways of pruning](second.png)"
    )


def ratios(found: Unseen) -> str:
    return ", ".join(f"{ratio:.2f} ({rate:.2f} gone)" for rate, ratio in found.ratios.items()) or "-"


def error(found: Score | None) -> str:
    return "-" if found is None or found.excess_error is None else percent(found.excess_error, 0)


def own_exponents(runs: Sequence[Run], of_family: OfFamily) -> str:
    """Of the methods with several rates: how the excess falls with the tokens and rises with the rate."""
    said = []
    for method in ("depth", "width"):
        question, there = asked(runs, method), of_family.get(method, {}).get(OWN)
        here = fits(question, [OWN], n=0)[OWN] if not question.fixed else ""
        if isinstance(here, Fit) and isinstance(there, Fit):
            both = [(here.law.constants()[name], there.law.constants()[name]) for name in ("beta", "gamma")]
            said.append(f"{method}: {' and '.join(f'{mine:.2f} ({other:.2f})' for mine, other in both)}")
    return f"Its own exponents of tokens and odds, and in brackets the family's: {'; '.join(said)}. " if said else ""
