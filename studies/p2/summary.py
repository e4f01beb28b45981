"""The part of this study's README that tells what came out: its sentences with the figures of the runs in them."""

from collections.abc import Callable, Mapping, Sequence

from prunescale.amounts import short
from prunescale.fitting import Audit, Fit
from prunescale.runs import Run
from studies.p2 import variants
from studies.p2.answers import LAST, METHODS, OURS, control_of, controls, ends, foretold, seed
from studies.p2.decisions import MIN_GAIN, PILOT_TOKENS, Decisions
from studies.p2.judged import Judged
from studies.p2.planned import labels
from studies.p2.summary_unseen import second_family
from studies.p2.summary_variants import left_out
from studies.p2.trends import Curve, curves, over_rates, over_sizes
from studies.published.markdown import percent, table

BEGIN, END = "<!-- made by python -m studies.p2.report -->\n", "<!-- until here -->\n"
SHORT = {"p2": "P2", "tokens-per-parameter": "tokens per parameter", "control-floor": "with a floor"}
HELD = {
    "size": "the largest size",
    "rate": "the highest rate",
    "size-and-rate": "both",
    "tenfold": "ten times the tokens",
    "checkpoints": "the last fifth of the checkpoints",
}
ALONG = ("tokens-per-parameter", "power law of each curve", "tokens-per-parameter +", "power law of each end")
Audits = Mapping[str, Audit]
Fits = Mapping[str, Fit]
"""By method, of points at the constant rate; fits of the tokens-per-parameter law."""


def into(readme: str, text: str) -> str:
    """A page with its part between the two marks replaced."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{text}\n\n{rest[rest.index(END) :]}"


def summary(runs: Sequence[Run], others: Sequence[Run], second: Sequence[Run], judged: Judged) -> str:
    """What came out, in sections. others: the variants of the family's runs. second: the runs of the second family."""
    found, audits, decided = curves(runs), judged.audits_by_method, judged.decisions
    fits = judged.fits_of("tokens-per-parameter")
    sentences = (floor(runs, audits), sizes(found), rates(found, fits), methods(runs))
    parts = [
        state([*runs, *others, *second]),
        FIGURES,
        "## What is seen",
        "\n".join(f"- {sentence}" for sentence in sentences),
        "## Better laws",
        law(audits, fits, decided),
        tested(runs),
        how_little(decided),
        second_family(second, judged.fits_by_method),
        missed(audits, [*runs, *others]),
        left_out([*runs, *others]),
    ]
    return "\n\n".join(part for part in parts if part)


PARTS = {
    "bases": "base models",
    "base-large": "the size that no fit sees",
    "curves": "curves of the family",
    "curves-large": "curves of that size",
    "seeds": "other orders of the data",
    "learning-rates": "other learning rates",
    "bases-tokens": "bases with fewer and more tokens",
    "curves-tokens": "curves of those",
    "distilled": "learning from the model before pruning",
    "gradual": "pruned in steps",
    "scratch": "small models from nothing",
    "smollm2-base": "SmolLM2 on this text",
    "smollm2-curves": "SmolLM2 pruned",
}
"""The study's recipes by their files, and what each is of."""

FIGURES = (
    "![Loss over the control against tokens, for four ways of pruning](recovery.png)\n"
    "![Loss over the control against the share pruned, for depth and width](rates.png)"
)


def state(runs: Sequence[Run]) -> str:
    """How many of the recipes have been run."""
    known = {run.recipe_hash for run in runs}
    made = {part: (sum(hash in known for hash in labels(part)), len(labels(part))) for part in PARTS}
    wanted = {hash for part in PARTS for hash in labels(part)}
    lacking = [f"{PARTS[part]} ({all_of_it - n})" for part, (n, all_of_it) in made.items() if n < all_of_it]
    to_come = f" To come: {', '.join(lacking)}." if lacking else ""
    return (
        f"**State: {len(wanted & known)} of {len(wanted)} recipes are run.**{to_come} The runs come with prunescale: `prunescale fit embedded:p2 --method width-activation`, "
        "`prunescale runs list --store embedded:p2-variants` for those that differ from the family's in one thing. What follows is from them; [results.md](results.md) has all of "
        "it, made by one command."
    )


def floor(runs: Sequence[Run], audited: Audits) -> str:
    below = {run.n_params_before or 0: run.loss_before - run.loss for run in controls(runs) if run.loss_before and not seed(run)}
    least, most = min(below, key=below.__getitem__), max(below, key=below.__getitem__)
    lowest = min(
        (run for run in runs if run.pruning_method and run.loss_before), key=lambda run: run.loss - (run.loss_before or 0)
    )
    depth, width = (
        {law: excess(audited[method], "checkpoints", law) for law in ("p2", "p2-control")} for method in ("depth", "width")
    )
    return (
        f"**L0 is no floor, and the control is what to measure from.** Trained on, the unpruned models end annealed {below[least]:.3f} ({short(least)}) to "
        f"{below[most]:.3f} nats ({short(most)}) below their loss before, and pruned ones as much as {(lowest.loss_before or 0) - lowest.loss:.3f} nats "
        f"(*{lowest.name}*). P2 adds something positive to L0 and cannot say so: on the last fifth of the checkpoints it errs by {depth['p2']} "
        f"(depth) and {width['p2']} (width) of the excess over the control, where its form over the control errs by {depth['p2-control']} and "
        f"{width['p2-control']}."
    )


def sizes(found: Sequence[Curve]) -> str:
    of = {}
    for method in ("depth", "width"):
        kinds = sorted({curve.rate for curve in found if curve.method == method})
        of[method] = [
            each
            for rate in kinds
            if (each := over_sizes([c for c in found if (c.method, c.rate) == (method, rate)], "excess", LAST)) and each.interval
        ]
    clear = {method: sum(each.interval[0] > 0 for each in some if each.interval) for method, some in of.items()}
    spans = {method: f"N0^{min(s.value for s in some):.2f} to N0^{max(s.value for s in some):.2f}" for method, some in of.items()}
    return (
        "**Smaller models recover faster** (the paper's v3), and larger ones do not need less data (its v1): at equal tokens and rates the "
        f"excess grows with the size, as {spans['width']} for width and {spans['depth']} for depth; the 90 % interval is above 0 at "
        f"{clear['width']} of {len(of['width'])} and {clear['depth']} of {len(of['depth'])} rates. Larger models have seen more tokens before, 20 a "
        "parameter, and this cannot tell the two apart; SmolLM2 (below) can."
    )


def rates(found: Sequence[Curve], fits: Fits) -> str:
    powers = [
        each.value
        for method in ("depth", "width")
        for size in sorted({curve.size for curve in found})
        if (each := over_rates([c for c in found if (c.method, c.size) == (method, size)], LAST)) and each.n > 2
    ]
    gammas = " and ".join(f"{fits[method].law.constants()['gamma']:.2f} ({method})" for method in ("depth", "width"))
    return (
        f"**The excess is a power law in the rate only roughly**: powers of {min(powers):.2f} to {max(powers):.2f}, and curves that bend upwards. "
        f"In the odds, what is removed against what is kept, they are straighter, with powers of {gammas}."
    )


def methods(runs: Sequence[Run]) -> str:
    largest = max(run.n_params_before or 0 for run in runs if run.pruning_method)
    cost = {}
    for run in runs:
        if run.n_params_before != largest or (run.pruning_rate or 0) < 0.45 or seed(run):
            continue
        end = ends(run, control_of(run, runs))[-1]
        if end.annealed is not None and end.control_annealed is not None:
            cost[run.pruning_method] = end.annealed - end.control_annealed
    said = ", ".join(f"{name} {cost[does]:.3f}" for name, does in METHODS.items() if does in cost)
    return f"**One half gone** costs, in nats over the control after 60M tokens, annealed, at {short(largest)}: {said}."


def law(audited: Audits, fits: Fits, decided: Mapping[str, Decisions]) -> str:
    constants = "; ".join(
        f"{method}: " + ", ".join(f"{name} = {value:.2f}" for name, value in fits[method].law.constants().items())
        for method in ("depth", "width")
    )
    both = [(method, name) for method in ("depth", "width") for name in SHORT]
    lines = [[meaning, *(excess(audited[method], holdout, name) for method, name in both)] for holdout, meaning in HELD.items()]
    factors = {method: {each.law: each.factor for each in decided[method].late} for method in ("depth", "width")}
    inside = ["of these, inside the 90 % interval", *(covered(audited[method], "checkpoints", name) for method, name in both)]
    off = [
        "recommended tokens, off by a factor",
        *("-" if (found := factors[method].get(name)) is None else f"{found:.2f}" for method, name in both),
    ]
    return (
        "    L = L_dense + A (rho/(1-rho))^gamma (N0/D)^beta                  tokens-per-parameter\n"
        "    L = L_dense + (rho/(1-rho))^gamma N0^alpha (A/D^beta + E)        control-floor\n\n"
        "What pruning costs over the control goes with the odds of the rate. In the first, of three constants in the place of P2's seven, it goes with tokens *per parameter* "
        f"({constants}); in the second, of five, it falls to a floor. Mean error of the excess on what a fit had not seen, at the constant rate, and the factor by which the tokens are off from "
        f"which on a doubling gains less than {MIN_GAIN:g} nats, of fits that had not seen the last fifth of the checkpoints:\n\n"
        + table(["held out", *(f"{method}: {SHORT[name]}" for method, name in both)], [*lines, inside, off])
    )


def tested(runs: Sequence[Run]) -> str:
    later = [each for method in ("depth", "width") for each in foretold(runs, method, "tokens-per-parameter")]
    inside = sum(each.interval[0] <= each.measured <= each.interval[1] for each in later)
    error = percent(sum(each.error for each in later) / len(later), 0) if later else "-"
    other = sum(len(foretold(runs, method, "control-floor")) for method in ("depth", "width"))
    return (
        "The first was chosen on 43 of these runs after 29 forms under three objectives each, and its fits to those are kept in `registered/`: every other run is a test of them, "
        f"{len(later)} so far, {inside} of them inside the 90 % interval in the end, with a mean error of the excess of {error} along their curves. The second was chosen on all of them, after twelve more "
        f"forms, so the table flatters it; its fits are registered too, and its test are the runs to come ({other} so far; [what both say of those](results.md#foretold)). It tells late tokens and what more of them gain better, between sizes that were run; "
        "the first tells sizes beyond those better, and is what `prunescale fit` takes where each pruned run has a control, and P2 where one has none."
    )


def how_little(decided: Mapping[str, Decisions]) -> str:
    """From how few tokens and runs the laws say what comes."""
    errors, factors, small = {}, {}, {}
    for method, of_method in decided.items():
        for most, found in of_method.few_tokens:
            for each in found:
                errors[method, most, each.law], factors[method, most, each.law] = each.error, each.factor
        for what, _, found in of_method.few_runs:
            small.update({(method, what, each.law): each.error for each in found})

    def both(of: Mapping[tuple[str, object, str], float | None], what: object, law: str, text: Callable[[float], str]) -> str:
        return " and ".join(
            "-" if (value := of.get((method, what, law))) is None else text(value) for method in ("depth", "width")
        )

    few, some = PILOT_TOKENS[0], PILOT_TOKENS[-2]
    first, second = OURS
    return (
        f"**How little suffices.** Fitted to the first {short(few)} of the 60M tokens of all runs, tokens per parameter misses the excess in the end by {both(errors, few, first, share)} (depth and width), and the law with a "
        f"floor by {both(errors, few, second, share)}; to {short(some)}, the one by {both(errors, some, first, share)} and the other by {both(errors, some, second, share)}. Fitted to the two smallest sizes alone, all tokens and rates, the first misses the three larger ones by "
        f"{both(small, '2 smallest sizes', first, share)}. The tokens worth spending need longer curves: the law with a floor is off by {both(factors, few, second, '{:.2f}'.format)} times from {short(few)}, and by {both(factors, some, second, '{:.2f}'.format)} times from {short(some)}. "
        "[All of it](results.md#decisions)."
    )


def share(value: float) -> str:
    return percent(value, 0)


def missed(audited: Audits, runs: Sequence[Run]) -> str:
    again = [each for each in variants.trainings(runs) if ", depth" in each.label]
    of_bases = f" (a base trained once more costs {percent(variants.pooled(again), 0)} more or less)" if again else ""
    of = {
        holdout: {law: " and ".join(excess(audited[method], holdout, law) for method in ("depth", "width")) for law in ALONG}
        for holdout in ("checkpoints", "tenfold")
    }
    last, ten = ([of[holdout][law] for law in ALONG] for holdout in ("checkpoints", "tenfold"))
    two_four = ", ".join(
        f"{excess(audited[method], 'size', 'tokens-per-parameter')} for {method.removeprefix('2:4 by ')}"
        for method in ("2:4 by magnitude", "2:4 by SparseGPT")
        if method in audited
    )
    return (
        "**Along a single curve** at the constant rate, the excess of the last fifth of its checkpoints, three times the tokens seen, is missed by "
        f"{last[0]} (depth and width) by the law of many runs, by {last[1]} by a power law fitted to that curve, by {last[2]} by the law carried on from the curve's last point "
        f"(`prunescale plan --measured`), and by {last[3]} by a power law through its last three points (`prunescale plan --run`): curves bend, each in its own way, and over the control of the same order "
        f"of the data there is hardly any noise. To ten times the tokens these are {ten[0]}, {ten[1]}, {ten[2]} and {ten[3]}.\n\n"
        f"**Missed, and why.** Depth is predicted worse than width: which blocks go decides as much as how many{of_bases}. The excess of 2:4 "
        f"grows less with the size than it falls with the tokens, so that one exponent for both errs at the largest size: {two_four}. [Which targets "
        "are reached](results.md#targets), and [how far off recommended tokens are](results.md#decisions)."
    )


def covered(found: Audit, holdout: str, law: str) -> str:
    row = found.row(holdout, law)
    return "-" if row is None or row.inside is None else percent(row.inside, 0)


def excess(found: Audit, holdout: str, law: str) -> str:
    row = found.row(holdout, law)
    return "-" if row is None or row.score.excess_error is None else percent(row.score.excess_error, 0)
