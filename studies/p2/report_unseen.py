"""The sections of results.md on runs that no fit has seen: see unseen.py."""

from collections.abc import Iterator, Mapping, Sequence

from prunescale.amounts import short
from prunescale.fitting import Fit, Score
from prunescale.runs import Run
from studies.p2 import unseen
from studies.p2.answers import asked, controls, fits
from studies.p2.planned import is_of, is_of_any
from studies.p2.unseen import OfFamily, Unseen
from studies.p2.variants import annealed
from studies.published.markdown import constant, percent, table

OWN = "tokens-per-parameter"


def of_size_above(runs: Sequence[Run], of_family: OfFamily) -> str:
    """Empty where there are none."""
    some = [run for run in runs if is_of_any(unseen.ABOVE, run)]
    return both(unseen.ask(some, of_family)) if some else ""


def of_second_family(runs: Sequence[Run], of_family: OfFamily) -> str:
    if not runs:
        return ""
    own = list(own_constants(runs, of_family))
    texts = [learned(runs), both(unseen.ask(runs, of_family))]
    if own:
        texts.append(
            f"Constants of the law {OWN}, with 90 % intervals: fitted to these runs alone, and to the family.\n\n"
            + table(["method", "constant", "SmolLM2", "the family"], own, n_words=2)
        )
    return "\n\n".join(text for text in texts if text)


def learned(runs: Sequence[Run]) -> str:
    """How far SmolLM2 was from done with this text when it was pruned."""
    base = next((run for run in runs if is_of("smollm2-base", run)), None)
    if base is None:
        return ""
    path = ", ".join(f"{point.loss:.4f} after {short(point.n_tokens)}" for point in base.points[-5:])
    text = f"On its way to what it was before pruning, annealed over the second half, SmolLM2 had a loss of {path}."
    control = next((run for run in controls(runs) if is_of("smollm2-curves", run)), None)
    if control is None:
        return text
    ends = ", ".join(f"{loss:.4f} after {short(n)}" for n, loss in annealed(control).items())
    return f"{text} Trained on unpruned, and annealed, it has {ends}: nothing is left to gain at this rate."


def both(found: Mapping[str, tuple[Mapping[str, Unseen], Score]]) -> str:
    head = (
        "The laws as fitted to the five sizes, at the constant rate; and beyond a tenth of the tokens, carried on from that tenth. Of each the errors on these runs, the excess in the end over what it foretells, and the factor by which it is "
        f"off in the tokens from which on a doubling gains less than {unseen.MIN_GAIN:g} nats, over as many runs as that was measured of."
    )
    return "\n\n".join(
        [head, *(f"{method[0].upper()}{method[1:]}:\n\n{errors(*of_method)}" for method, of_method in found.items())]
    )


def errors(laws: Mapping[str, Unseen], own_end: Score) -> str:
    """The least error of the excess first; below them each curve's own end."""
    lines = [
        [
            law,
            percent(each.whole.error),
            share(each.whole.excess_error),
            share(each.whole.slope_error),
            "-" if each.inside is None else percent(each.inside, 0),
            "-" if each.ratio is None else f"{each.ratio:.2f}",
            "-" if each.factor is None else f"{each.factor:.2f} ({each.n_worth})",
            *(["-"] * 2 if each.pilot is None else [percent(each.pilot.error), share(each.pilot.excess_error)]),
        ]
        for law, each in sorted(laws.items(), key=lambda pair: pair[1].whole.excess_error or pair[1].whole.error)
    ]
    lines.append([f"*{unseen.END}*", *["-"] * 6, percent(own_end.error), share(own_end.excess_error)])
    return table(
        [
            "law",
            "error",
            "of the excess",
            "of the slope",
            "inside 90 %",
            "in the end, of what is foretold",
            "tokens off by",
            "from a tenth: error",
            "of the excess",
        ],
        lines,
    )


def share(value: float | None) -> str:
    return "-" if value is None else percent(value, 1)


def own_constants(runs: Sequence[Run], of_family: OfFamily) -> Iterator[list[str]]:
    """Method, constant, and its values by these runs and by the family."""
    for method, of_laws in of_family.items():
        question = asked(runs, method)
        here = fits(question, [OWN])[OWN] if len(question.table["run"]) else ""
        there = of_laws[OWN]
        if isinstance(here, Fit) and isinstance(there, Fit):
            for name in here.law.bounds:
                if name not in here.fixed:
                    yield [method, name, constant(here, name), constant(there, name)]
