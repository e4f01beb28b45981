"""The part of this study's README that tells what came out: its sentences with the figures of the runs in them."""

from collections.abc import Callable, Mapping, Sequence

from prunescale.amounts import short
from prunescale.fitting import Audit, Fit
from prunescale.runs import Run
from studies.p2 import variants
from studies.p2.answers import (
    LAST,
    METHODS,
    OURS,
    Foretold,
    control_of,
    controls,
    ends,
    foretold,
    refitted,
    registered,
    seed,
)
from studies.p2.decisions import MIN_GAIN, PILOT_TOKENS, Decisions
from studies.p2.judged import Judged
from studies.p2.planned import labels
from studies.p2.summary_unseen import second_family
from studies.p2.summary_variants import left_out
from studies.p2.trends import Curve, curves, over_rates, over_sizes
from studies.p2.variants import OfRates
from studies.published.markdown import percent, table

BEGIN, END = "<!-- made by python -m studies.p2.report -->\n", "<!-- until here -->\n"
SHORT = {
    "p2": "P2",
    "p2-control": "P2 over the control",
    "tokens-per-parameter": "tokens per parameter",
    "control-floor": "with a floor",
}
HELD = {
    "size": "the largest size",
    "rate": "the highest rate",
    "size-and-rate": "either of these",
    "tenfold": "beyond a tenth of the tokens",
    "checkpoints": "the last fifth of the checkpoints",
}
ALONG = {
    "tokens-per-parameter": "the law of many runs",
    "tokens-per-parameter +": "carried on from the curve's last point (`plan --measured`)",
    "power law of each curve": "a power law of the curve alone",
    "power law of each end": "through its last three points (`plan --run`)",
}
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
    fits, everything = judged.fits_of("tokens-per-parameter"), [*runs, *others]
    sentences = (
        floor(runs, audits),
        sizes(found, variants.learning_rates(everything)),
        rates(found, fits),
        methods(runs),
    )
    parts = [
        state([*everything, *second]),
        FIGURES,
        "## What is seen",
        "\n".join(f"- {sentence}" for sentence in sentences if sentence),
        "## Better laws",
        law(audits, fits, decided),
        tested(everything),
        how_little(decided),
        along(audits),
        missed(audits, everything),
        second_family(second, judged.fits_by_method),
        left_out(everything),
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


def sizes(found: Sequence[Curve], of_rates: Sequence[OfRates]) -> str:
    of = {}
    for method in ("depth", "width"):
        kinds = sorted({curve.rate for curve in found if curve.method == method})
        of[method] = [
            each
            for rate in kinds
            if (each := over_sizes([c for c in found if (c.method, c.rate) == (method, rate)], "excess", LAST)) and each.interval
        ]
    spans = {method: f"N0^{min(s.value for s in some):.2f} to N0^{max(s.value for s in some):.2f}" for method, some in of.items()}
    early, late = (
        " and ".join(slopes(found, method, first, last) for method in ("depth", "width"))
        for first, last in ((1.2e6, 7.5e6), (7.5e6, LAST))
    )
    return (
        f"**Smaller models cost less at equal tokens**, as {spans['width']} in width and {spans['depth']} in depth, by the rate (five sizes, a base each), so larger ones do not need less data (the paper's v1). "
        f"**They recover faster at first only** (its v3): half gone, from the smallest to the largest size, the excess falls to 7.5M tokens as {early} (depth and width), and from there on as {late}. With the size "
        f"went the tokens seen before, 20 a parameter, and a lower learning rate, as N0^-0.375{of_the_rate(of_rates)}."
    )


def slopes(found: Sequence[Curve], method: str, first: float, last: float) -> str:
    """Exponents of the tokens of the smallest and the largest size, half gone."""
    some = sorted((c for c in found if (c.method, c.rate) == (method, 0.5)), key=lambda curve: curve.size)
    return " to ".join(f"D^-{curve.exponent(first, last):.2f}" for curve in (some[0], some[-1]))


def of_the_rate(found: Sequence[OfRates]) -> str:
    """What the learning rate may have to do with the powers of the size."""
    powers = [each.power for each in found if each.label != "control"]
    if not powers:
        return ""
    least, most = sorted((-0.375 * max(powers), -0.375 * min(powers)))
    return f", which by the runs at other rates makes {least:.2f} to {most:.2f} of these powers"


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
    pruned = [run for run in runs if run.pruning_method and (run.pruning_rate or 0) >= 0.45 and not seed(run)]
    smallest, largest = (which(run.n_params_before or 0 for run in pruned) for which in (min, max))
    cost = {}
    for run in pruned:
        end = ends(run, control_of(run, runs))
        cost[run.n_params_before, run.pruning_method] = [
            each.annealed - each.control_annealed
            for each in end
            if each.annealed is not None and each.control_annealed is not None
        ]
    said = ", ".join(f"{name} {cost[largest, does][-1]:.3f}" for name, does in METHODS.items() if cost.get((largest, does)))
    rising = [
        f"from {of[-2]:.3f} to {of[-1]:.3f} {name.removeprefix('2:4 ')}"
        for name, does in METHODS.items()
        if len(of := cost.get((smallest, does), [])) > 1 and of[-1] > of[-2]
    ]
    worse = f" At {short(smallest)} that of 2:4 rises from 30M tokens to 60M, {' and '.join(rising)}." if rising else ""
    return f"**One half gone** costs, in nats over the control after 60M tokens, annealed, at {short(largest)}: {said}.{worse}"


def law(audited: Audits, fits: Fits, decided: Mapping[str, Decisions]) -> str:
    constants = "; ".join(
        f"{method}: " + ", ".join(f"{name} = {value:.2f}" for name, value in fits[method].law.constants().items())
        for method in ("depth", "width")
    )
    lines = []
    for method in ("depth", "width"):
        late = {each.law: each for each in decided[method].late}
        lines += [
            [f"{method}: {meaning}", *(excess(audited[method], holdout, name) for name in SHORT)]
            for holdout, meaning in HELD.items()
        ]
        lines.append(
            [f"{method}: of these inside the 90 % interval", *(covered(audited[method], "checkpoints", name) for name in SHORT)]
        )
        factors = ["-" if (each := late.get(name)) is None or each.factor is None else f"{each.factor:.2f}" for name in SHORT]
        n_worth = max((each.n_worth for each in late.values()), default=0)
        lines.append([f"{method}: recommended tokens off by ({n_worth} runs)", *factors])
    return (
        "    L = L_dense + A (rho/(1-rho))^gamma (N0/D)^beta                  tokens-per-parameter\n"
        "    L = L_dense + (rho/(1-rho))^gamma N0^alpha (A/D^beta + E)        control-floor\n\n"
        "What pruning costs over the control goes with the odds of the rate. In the first, of three constants in the place of P2's seven, it goes with tokens *per parameter* "
        f"({constants}); in the second, of five, it falls to a floor. Mean error of the excess on what a fit had not seen, at the constant rate:\n\n"
        + table(["held out", *SHORT.values()], lines)
        + f"\n\nP2 is given the loss before pruning; the three others are given the loss of a control, which has to be trained, and most of what they gain is that. The largest size is {step_of_size(audited['depth'])} times the one before it. "
        f"The recommended tokens are those from which on a doubling lowers the excess by less than {MIN_GAIN:g} nats."
    )


def step_of_size(found: Audit) -> str:
    sizes = sorted(set(found.points.columns["n_params_before"].tolist()))
    return f"{sizes[-1] / sizes[-2]:.1f}"


def tested(runs: Sequence[Run]) -> str:
    """What came of the runs that were made after each law was chosen."""
    first, second = OURS
    later = {(law, method): foretold(runs, method, law) for law in OURS for method in ("depth", "width")}

    def inside(law: str) -> str:
        some = [each for (of, _), found in later.items() if of == law for each in found]
        return f"{sum(each.is_inside for each in some)} of {len(some)}"

    def missed_by(found: Sequence[Foretold]) -> str:
        return share(sum(each.error for each in found) / len(found)) if found else "-"

    def both(law: str, rival: str | None = None) -> str:
        return " and ".join(
            missed_by(foretold(runs, method, law, by=refitted(law, method, rival)) if rival else later[law, method])
            for method in ("depth", "width")
        )

    n_seen = sum(len(set(registered(first, method).points.columns["run"].tolist())) for method in ("depth", "width"))
    return (
        f"**On runs made since.** The first was chosen on {n_seen} of these runs after 29 forms under three objectives each, the second on those of all five sizes after twelve more: the table flatters both. Their fits to those runs are kept in `registered/`. Of what was made since, "
        f"mostly bases that were trained once more, {inside(first)} end inside the 90 % interval of the first, which misses the excess along their curves by {both(first)} (depth and width); {inside(second)} in that of the second, "
        f"by {both(second)}. P2 over the control, fitted to the same runs as they, misses these by {both(first, 'p2-control')}, and by {both(second, 'p2-control')}: no law here is much better than it within the sizes that were run. None was tried on a larger one yet; "
        "[what both say of that](results.md#foretold). The first is what `prunescale fit` takes where each pruned run has a control, since of a larger size it misses width by less; P2 where one has none."
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
        f"**How little suffices.** From the first {short(few)} of 60M tokens of all runs tokens per parameter misses the excess in the end by {both(errors, few, first, share)} (depth and width) and the law with a floor by {both(errors, few, second, share)}; from {short(some)} by "
        f"{both(errors, some, first, share)} and by {both(errors, some, second, share)}. From the two smallest sizes alone, with all their tokens and rates, the first misses larger ones by {both(small, '2 smallest sizes', first, share)}. "
        f"The tokens worth spending need longer curves: off by {both(factors, few, second, '{:.2f}'.format)} times from {short(few)} and by {both(factors, some, second, '{:.2f}'.format)} from {short(some)}, by the law with a floor. [All of it](results.md#decisions)."
    )


def share(value: float) -> str:
    return percent(value, 0)


def along(audited: Audits) -> str:
    lines = [
        [f"{method}: {HELD[holdout]}", *(excess(audited[method], holdout, law) for law in ALONG)]
        for method in ("depth", "width")
        for holdout in ("checkpoints", "tenfold")
    ]
    return (
        "**Along a single curve** its own end tells most: curves bend, each in its own way, and over a control with the same order of the data there is hardly any noise. Mean error of the excess at the constant rate:\n\n"
        + table(["what comes", *ALONG.values()], lines)
    )


def missed(audited: Audits, runs: Sequence[Run]) -> str:
    again = [each for each in variants.trainings(runs) if ", depth" in each.label]
    of_bases = f" (of a base that was trained once more it costs {share(variants.pooled(again))} more or less)" if again else ""
    two_four = ", ".join(
        f"{excess(audited[method], 'size', 'tokens-per-parameter')} for {method.removeprefix('2:4 by ')}"
        for method in ("2:4 by magnitude", "2:4 by SparseGPT")
        if method in audited
    )
    return (
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
