"""prunescale plan"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options

if TYPE_CHECKING:
    from prunescale.fitting import Check, Fit
    from prunescale.planner import Budget, Forecast


@click.command(short_help="Say how many tokens are worth their cost.")
@click.argument("fit_file", metavar="FIT", type=click.Path(path_type=Path))
@click.option(
    "--n-params-before", type=options.COUNT, help="P2: parameters outside embeddings and head before pruning, such as 2.66M."
)
@click.option("--rate", type=float, help="P2: pruning rate, between 0 and 1.")
@click.option("--loss-before", type=float, help="P2: loss before pruning, nats per token.")
@click.option("--loss-control", type=float, help="P2 over a control: loss of the unpruned control, nats per token.")
@click.option("--n-params-total", type=options.COUNT, help="Hoffmann, data-constrained: all parameters.")
@click.option("--n-params-average", type=options.COUNT, help="Average-parameter law: linear weights averaged over training.")
@click.option("--n-params-nonzero", type=options.COUNT, help="Frantar: parameters that are not zero at the end.")
@click.option(
    "--set",
    "others",
    type=options.SETTING,
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other input of the law; may be repeated.",
)
@click.option("--law", help="Where a law of your own is that was fitted: FILE.py:FUNCTION.")
@click.option(
    "--min-gain",
    type=float,
    default=0.01,
    show_default=True,
    help="Stop where the next step gains less than this, nats per token.",
)
@click.option(
    "--tokens-per-second", type=float, help="Speed of one GPU: the step is then a GPU-hour, not a doubling of the tokens."
)
@click.option(
    "--measured",
    type=(options.COUNT, float),
    metavar="TOKENS LOSS",
    help="The last loss of a run under way: the law is carried on from there.",
)
@click.option(
    "--run",
    metavar="RUN",
    help="The name of a run, or the beginning of its id, in the store or the exported runs that are given in the place of FIT: it is "
    "carried on by the end of its own curve.",
)
@click.option("--tokens", type=options.COUNT, help="Say the loss after this many tokens too.")
@click.option(
    "--compute",
    type=float,
    help="FLOPs of training: say the best size, or the best sparsity, for them instead of a number of tokens.",
)
@click.option("--profile/--no-profile", "profiled", default=True, help="Give the answer's interval by profile likelihood too.")
@options.as_json
def plan(
    fit_file: Path,
    min_gain: float,
    tokens_per_second: float | None,
    measured: tuple[int, float] | None,
    run: str | None,
    tokens: int | None,
    compute: float | None,
    rate: float | None,
    others: tuple[tuple[str, float], ...],
    law: str | None,
    profiled: bool,
    as_json: bool,
    **inputs: Any,
) -> None:
    """Say how many tokens are worth their cost, by a fit that `prunescale fit --out` wrote, or by one that comes with prunescale:
    embedded:depth, embedded:width, embedded:2:4-magnitude, embedded:2:4-sparsegpt; with -floor
    behind (embedded:depth-floor) by a law that is nearer on tokens, between the sizes that were run. Or, with --run, by the
    end of a run's own curve."""
    from prunescale.cli.fit import law_named
    from prunescale.cli.onward import plan_run, refuse_others
    from prunescale.cli.output import print_checks, print_facts, print_json
    from prunescale.fitting import load_fit, through
    from prunescale.planner import forecast
    from prunescale.planner import plan as plan_budget

    if run:
        of_laws = {
            "--law": law,
            "--rate": rate,
            "--measured": measured,
            "--compute": compute,
            "--tokens-per-second": tokens_per_second,
        }
        refuse_others({**of_laws, **{option_of(name): value for name, value in inputs.items()}, "--set": others})
        plan_run(str(fit_file), run, min_gain, tokens, as_json)
        return
    found = load_fit(fit_file, law_named(law) if law else None)
    named = {name: value for name, value in {**inputs, "pruning_rate": rate}.items() if value is not None}
    if twice := [name for number, (name, _) in enumerate(others) if name in named or name in dict(others[:number])]:
        raise click.UsageError(f"{twice[0]} is given twice: leave one out.")
    given = {name: float(value) for name, value in {**named, **dict(others)}.items()}
    if measured and compute is not None:
        raise click.UsageError("--measured is of one run, and --compute asks for the best of many: leave one out.")
    if compute is not None:
        print_choice(found, given, compute, profiled, as_json)
        return
    refuse_other_inputs(found, given)
    if measured:
        found = through(found, {**given, "n_tokens": float(measured[0])}, measured[1])
        profiled = False  # which would fit the law to its points again, and leave the measured one
    budget = plan_budget(found, given, min_gain, tokens_per_second=tokens_per_second, profiled=profiled)
    at_tokens = forecast(found, given, tokens) if tokens else None
    if not measured:
        said = rival(str(fit_file), given, min_gain, tokens_per_second, budget)
        budget = replace(budget, checks=(*budget.checks, *said))
    if as_json:
        print_json({**rests_on(found), **content(budget), **({"forecast": asdict(at_tokens)} if at_tokens else {})})
        return
    print_facts({**summary(budget, at_tokens), "By": basis(found)})
    print_checks(dict.fromkeys([*budget.checks, *(at_tokens.checks if at_tokens else ())]))


FLOOR = "-floor"
"""Behind the name of a fit that comes with prunescale: that of the other law, to the same runs."""


def rival(
    source: str, given: dict[str, float], min_gain: float, tokens_per_second: float | None, budget: "Budget"
) -> "tuple[Check, ...]":
    """What the other of two fits to the same runs answers, of those that come with prunescale, where it is another by more than WIDE."""
    from prunescale.amounts import short
    from prunescale.cli.output import span
    from prunescale.errors import FitError
    from prunescale.fitting import Check, load_fit
    from prunescale.planner import plan as plan_budget
    from prunescale.planner.trust import WIDE

    if not source.startswith("embedded:"):
        return ()
    other = source.removesuffix(FLOOR) if source.endswith(FLOOR) else source + FLOOR
    try:
        answer = plan_budget(load_fit(Path(other)), given, min_gain, tokens_per_second=tokens_per_second)
    except FitError:
        return ()
    if max(answer.tokens, budget.tokens) <= WIDE * min(answer.tokens, budget.tokens):
        return ()
    words = (
        f"{other}, another law fitted to the same runs, says {short(answer.tokens)} (90 % interval: {span(answer.tokens_interval)}). "
        "Of sizes that were run the one with a floor told late tokens better; of much larger ones neither has been tried."
    )
    return (Check("rival", words),)


def print_choice(found: "Fit", given: dict[str, float], compute: float, profiled: bool, as_json: bool) -> None:
    """The best size for this compute or, by a law of sparsity in which the size is given, the best sparsity."""
    from prunescale.amounts import short
    from prunescale.cli.output import print_checks, print_facts, print_json, span
    from prunescale.planner import choose_size, choose_sparsity

    of_sparsity = "sparsity" in found.law.columns and "sparsity" not in given
    choice = (choose_sparsity if of_sparsity else choose_size)(found, compute, given, profiled=profiled)
    if as_json:
        print_json({**rests_on(found), **asdict(choice)})
        return
    by_profile = f"; by profile likelihood: {span(choice.profile)}" if choice.profile else ""
    print_facts(
        {
            f"Best {choice.column}": f"{short(choice.value)} (90 % interval: {span(choice.interval)}{by_profile})",
            "Tokens": f"{short(choice.tokens)}, what {choice.compute:.3g} FLOPs buy there",
            "Loss": f"{choice.loss:.4f}, nats per token",
            "By": basis(found),
        }
    )
    print_checks(choice.checks)


def rests_on(found: "Fit") -> dict[str, Any]:
    """What an answer follows from, for JSON."""
    return {"law": found.law.name, "objective": found.objective, "n_points": found.n_points, "n_runs": found.n_runs}


def basis(found: "Fit") -> str:
    """The same for people."""
    return f"the {found.law.title}, fitted to {found.n_points} points of {found.n_runs} runs, objective {found.objective}"


def content(budget: "Budget") -> dict[str, Any]:
    """A budget in plain types, for JSON."""
    return {**asdict(budget), "status": budget.status.name.lower()}


def refuse_other_inputs(found: "Fit", given: dict[str, float]) -> None:
    """Raise a usage error that names the options where the law needs others than were given."""
    from prunescale.laws import COLUMNS

    needed = [name for name in found.law.columns if name != "n_tokens"]
    if unknown := [name for name in given if name not in COLUMNS and name not in needed]:
        raise click.UsageError(f"The {found.law.title} reads no {unknown[0]}: it reads {', '.join(needed)}.")
    if set(given) != set(needed):
        wanted, got = (", ".join(map(option_of, names)) or "none" for names in (needed, given))
        raise click.UsageError(f"The {found.law.title} in this fit needs {wanted}; given: {got}.")


def option_of(column: str) -> str:
    return "--rate" if column == "pruning_rate" else "--" + column.replace("_", "-")


def summary(budget: "Budget", at_tokens: "Forecast | None") -> dict[str, str]:
    from prunescale.amounts import short
    from prunescale.cli.output import span

    often = f"90 % interval: {span(budget.tokens_interval)}"
    if budget.tokens_profile:
        often += f"; by profile likelihood: {span(budget.tokens_profile)}"
    reached = {
        "FOUND": f"{short(budget.tokens)} ({often})",
        "BELOW_FROM_START": f"{short(budget.tokens)} or fewer ({often})",
        "NEVER_BELOW": "as many as can be had",
    }
    facts = {
        "Tokens worth spending": reached[budget.status.name],
        f"Loss at {short(budget.tokens)}": f"{budget.loss:.4f}{loss_span(budget.loss_interval)}, nats per token",
        "Why there": f"from there on a {budget.step} more gains less than {budget.min_gain:g} nats",
    }
    if budget.status.name != "FOUND":
        facts["Why there"] = budget.status.value
    if budget.hours is not None and budget.status.name != "NEVER_BELOW":
        facts["Time"] = f"{budget.hours:.3g} hours on one GPU"
    if at_tokens:
        facts[f"Loss at {short(at_tokens.tokens)}"] = f"{at_tokens.loss:.4f}{loss_span(at_tokens.loss_interval)}, nats per token"
    return facts


def loss_span(ends: tuple[float, float] | None) -> str:
    return f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else ""
