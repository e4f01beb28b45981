"""The README's sentences on runs that no fit has seen: see unseen.py."""

from collections.abc import Callable, Mapping, Sequence

from prunescale.amounts import short
from prunescale.fitting import Fit, Score
from prunescale.runs import Run
from studies.p2 import unseen
from studies.p2.answers import OURS, asked, controls, fits
from studies.p2.planned import is_of
from studies.p2.report_unseen import OWN
from studies.p2.unseen import OfFamily, Unseen
from studies.published.markdown import percent

Found = Mapping[str, tuple[Mapping[str, Unseen], Score]]


def second_family(runs: Sequence[Run], of_family: OfFamily) -> str:
    """Empty where none of it was run."""
    base = next((run for run in runs if is_of("smollm2-base", run)), None)
    control = next((run for run in controls(runs) if is_of("smollm2-curves", run)), None)
    if base is None or control is None or not control.loss_before or not (found := unseen.ask(runs, of_family)):
        return ""
    moved = control.loss - control.loss_before
    first, second, p2 = (by_method(found, lambda laws, _, law=law: laws.get(law) and laws[law].whole) for law in (*OURS, "p2"))
    return (
        f"**Another family.** SmolLM2-135M ({short(control.n_params_before or 0)} outside the embedding) was trained on this text for {short(base.n_tokens)} tokens, from {base.loss_before:.3f} to "
        f"{control.loss_before:.3f} nats. Trained on as the pruned models are, its control ends {abs(moved):.3f} nats {'above' if moved > 0 else 'below'} that. The family's constants, as they are, miss the excess of its pruned models by {first} "
        f"({', '.join(found)}) with tokens per parameter, by {second} with a floor, and by {p2} with P2: in the end they cost {ratios(found)} times what the first foretells. "
        "SmolLM2 had seen two trillion tokens before (arXiv:2502.02737), a thousand times as many a parameter as the family: what goes with N0 in width goes with the size, it seems, and not with those, while 2:4 may cost more the longer a model was trained. "
        f"Carried on from the first tenth of each curve's tokens the first misses the rest by {by_method(found, lambda laws, _: laws[OURS[0]].pilot)}, and a power law through the end of that tenth by "
        f"{by_method(found, lambda _, own_end: own_end)}. {own_exponents(runs, of_family)}[All of it](results.md#a-second-family).\n\n"
        "![What pruning SmolLM2 costs over its control against tokens, measured and foretold, for four ways of pruning](second.png)"
    )


def by_method(found: Found, of: Callable[[Mapping[str, Unseen], Score], Score | None]) -> str:
    errors = [score and score.excess_error for score in (of(*of_method) for of_method in found.values())]
    return ", ".join("-" if error is None else percent(error, 0) for error in errors)


def ratios(found: Found) -> str:
    of_first = [laws[OURS[0]].ratio for laws, _ in found.values()]
    return ", ".join("-" if ratio is None else f"{ratio:.1f}" for ratio in of_first)


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
