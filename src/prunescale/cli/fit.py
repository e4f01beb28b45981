"""prunescale fit"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prunescale.fitting import Check, Fit
    from prunescale.runs import Run


WEIGHTS = {
    "runs": "equal weight to runs",
    "points": "equal weight to points",
    "excess": "equal weight to runs, errors as shares of the excess",
}
LONG = 16  # runs from which on only those with the largest errors are listed


@click.command(short_help="Fit a scaling law to runs.")
@click.argument("source")
@options.law
@click.option(
    "--fix", type=options.SETTING, multiple=True, metavar="NAME=VALUE", help="Hold a constant at a value; may be repeated."
)
@options.points
@click.option(
    "--studies",
    type=options.COUNT,
    default=1000,
    show_default=True,
    help="Refits to studies that might have been, for intervals.",
)
@click.option("--intervals/--no-intervals", default=True, help="Give each constant its 90 % interval.")
@click.option("--profile", "profiled", is_flag=True, help="Give the interval by profile likelihood too.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the fit here, for prunescale plan.")
@options.as_json
def fit(
    source: str,
    law: str | None,
    fix: tuple[tuple[str, float], ...],
    base: tuple[str, ...],
    methods: tuple[str, ...],
    min_tokens: int | None,
    phases: str,
    objective: str,
    weighting: str | None,
    studies: int,
    intervals: bool,
    profiled: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fit a scaling law to the runs in SOURCE: a store (runs.db, or embedded:p2 with those of our study), or exported runs (.json or
    .csv)."""
    from dataclasses import replace

    from prunescale.cli.output import print_json
    from prunescale.fitting import bootstrap, default_law
    from prunescale.fitting import fit as fit_law

    if out and out.exists() and Path(source).exists() and out.samefile(source):
        raise click.UsageError(f"--out is {source} itself, whose runs would be lost: name another file.")
    named = law_named(law) if law else None
    wanted = phases_named(phases)
    names, table = table_from(source, base, methods)
    chosen = named or default_law(table)
    found = fit_law(
        chosen,
        table,
        fixed=dict(fix),
        objective=objective,
        weighting=weighting or ("runs" if law or "loss_control" not in chosen.columns else "excess"),
        min_tokens=min_tokens or 0,
        phases=wanted,
    )
    if intervals:
        found = bootstrap(found, n=studies)
    profiles = profile_intervals(found) if profiled else {}
    found = replace(found, checks=(*found.checks, *mixed_methods(table, found.points.columns["run"])))
    if out:
        write(found, out)
    if as_json:
        print_json({**content(found), "profiles": profiles, "file": str(out) if out else None})
    else:
        print_fit(found, names, profiles)
        if out:
            click.echo(f"Written to {out}")


def content(found: "Fit") -> dict[str, Any]:
    """A fit in plain types, for JSON: summed up, without its points and replicates."""
    from prunescale.fitting import to_dict

    intervals = {name: found.interval(name) for name in found.law.bounds if name not in found.fixed}
    plain = to_dict(found) | {"n_points": found.n_points, "n_runs": found.n_runs, "ranges": found.ranges, "intervals": intervals}
    return {name: value for name, value in plain.items() if name not in ("points", "replicates")}


def profile_intervals(found: "Fit") -> dict[str, tuple[float, float]]:
    """The 90 % interval of each free constant by profile likelihood; an open end ends at the constant's bound."""
    from prunescale.fitting import profile

    ends = {}
    for name, bound in found.law.bounds.items():
        if name not in (*found.fixed, *found.at_bound, *found.void):
            of_name = profile(found, name)
            ends[name] = (max(of_name.low, 0.0 if bound.log else bound.low), min(of_name.high, bound.high))
    return ends


def write(found: "Fit", out: Path) -> None:
    from prunescale.errors import FitError
    from prunescale.fitting import save_fit

    try:
        save_fit(found, out)
    except OSError as error:
        raise FitError(
            f"The fit cannot be written to {out} ({error.strerror}): name a file in a folder that is there."
        ) from error


def table_from(
    source: str, bases: tuple[str, ...] = (), methods: tuple[str, ...] = ()
) -> "tuple[dict[str, str], dict[str, Any]]":
    """The runs of a store or of an exported file, of these base models and pruned by these methods only where some are named: their
    names by their ids, and the columns, with the loss of each one's unpruned control where there is one."""
    from prunescale.errors import StoreError
    from prunescale.runs import Store, is_exported, read_runs
    from prunescale.runs.control import with_control
    from prunescale.runs.table import columns, stored_columns

    named = {*bases, *(str(Path(base).expanduser().resolve()) for base in bases)}  # a run names its base's folder in full

    def chosen(runs: "Sequence[Run]") -> "list[Run]":
        if found := [run for run in runs if not bases or run.base in named]:
            return found
        known = ", ".join(sorted({run.base for run in runs})) or "none"
        raise StoreError(f"{source} holds no runs of {', '.join(bases) or 'any model'}; base models there: {known}.")

    if is_exported(source):
        runs = chosen(read_runs(source))
        table = columns(runs)
    else:
        with Store.open(source) as store:
            runs = chosen(store.without_points())
            table = stored_columns(store, sorted(named))
    return by_methods(source, runs, with_control(table), methods)


def by_methods(
    source: str, runs: "Sequence[Run]", table: "dict[str, Any]", methods: tuple[str, ...]
) -> "tuple[dict[str, str], dict[str, Any]]":
    """The names and the columns of the runs that were pruned by these methods, or of all where none is named."""
    import numpy as np

    from prunescale.errors import StoreError

    names = {run.id: run.name for run in runs if not methods or run.pruning_method in methods}
    if not names:
        known = ", ".join(sorted({run.pruning_method for run in runs if run.pruning_method})) or "none"
        raise StoreError(f"{source} holds no runs pruned by {', '.join(methods)}; methods there: {known}.")
    table = table | {METHOD: named_by_run({run.id: run.pruning_method or "" for run in runs}, table["run"])}
    wanted = np.isin(table["run"], list(names))
    return names, {name: column[wanted] for name, column in table.items()} if methods else table


METHOD = "method"
"""A column with the names of pruning methods, which no law reads."""


def named_by_run(names: dict[str, str], run: Any) -> Any:
    import numpy as np

    ids, index = np.unique(run, return_inverse=True)
    return np.array([names.get(str(each), "") for each in ids], dtype=str)[index]


def mixed_methods(table: "dict[str, Any]", runs: Any) -> "tuple[Check, ...]":
    """A check where runs of several pruning methods stand in one table; `runs` are those that were used."""
    import numpy as np

    from prunescale.fitting import Check

    pruned = np.isin(table["run"], runs) & (table[METHOD] != "") & (table["pruning_rate"] > 0)
    counts = {name: len(np.unique(table["run"][pruned & (table[METHOD] == name)])) for name in np.unique(table[METHOD][pruned])}
    if len(counts) < 2:
        return ()
    said = ", ".join(f"{n} by {name}" for name, n in counts.items())
    return (Check("mixed-methods", f"Runs of {len(counts)} pruning methods stand together: {said}. Take one with --method."),)


def law_named(name: str) -> Any:
    """One of our laws, or the user's own in a Python file: my_law.py:loss."""
    from prunescale.errors import FitError, perhaps
    from prunescale.laws import LAWS, law_from_file

    if ":" in name:
        return law_from_file(name)
    if name not in LAWS:
        raise FitError(
            f"There is no law {name!r}{perhaps(name, LAWS)}: choose {', '.join(LAWS)}, or give one of your own as FILE.py:FUNCTION."
        )
    return LAWS[name]


def phases_named(names: str) -> tuple[str, ...] | None:
    """The learning-rate phases of a --phases option; None for all."""
    from typing import get_args

    from prunescale.errors import FitError
    from prunescale.runs import Phase

    if names == "all":
        return None
    wanted = tuple(name.strip() for name in names.split(","))
    for name in wanted:
        if name not in get_args(Phase):
            raise FitError(f"There is no learning-rate phase {name!r}: choose among {', '.join(get_args(Phase))}, or all.")
    return wanted


def print_fit(found: "Fit", names: dict[str, str], profiles: "dict[str, tuple[float, float]]") -> None:
    from prunescale.cli.output import print_checks, print_facts, print_table

    headings = ["constant", "value", "standard error", "90 % interval", *(["by profile"] if profiles else [])]
    rows = [
        [name, f"{value:.4g}", sigma(found, name), interval(None if name in found.fixed else found.interval(name))]
        + ([interval(profiles.get(name))] if profiles else [])
        for name, value in found.law.constants().items()
    ]
    click.echo(f"{found.law.title}: L = {found.law.formula}")
    click.echo(f"{found.n_points} points of {found.n_runs} runs, objective {found.objective}, {WEIGHTS[found.weighting]}\n")
    print_table("", headings, rows)
    click.echo()
    print_ends(found, names)
    click.echo()
    metrics = found.metrics
    over = "the control's loss" if "loss_control" in found.law.columns else "the loss before pruning"
    excess = "" if metrics.r2_excess is None else f", {metrics.r2_excess:.4f} of the excess over {over}"
    print_facts(
        {
            "Objective": f"{found.cost:.6g}, summed over points ({found.objective})",
            "RMSE": f"{metrics.rmse:.4f} nats per token",
            "R2": f"{decimals(metrics.r2)} of the loss{excess}",
            "Huber": f"{metrics.huber:.4g}, summed over the log losses, delta 1e-3",
            "ASD": "unknown"
            if metrics.asd is None
            else f"{metrics.asd:.3g} nats per million tokens, the mean error of the slope",
            "Intervals": found.replicates.method if found.replicates else "not asked for",
            "Status": f"{found.status.name.lower().replace('_', ' ')}. {found.status.value}",
        }
    )
    print_checks(found.checks)


def print_ends(found: "Fit", names: dict[str, str]) -> None:
    """Measured and fitted loss at the end of each run, or of those with the largest errors."""
    from prunescale.amounts import short
    from prunescale.cli.output import print_table
    from prunescale.fitting import errors

    at_end = sorted(errors(found, found.points.columns), key=lambda each: -abs(each.error))
    title = f"At the end of the runs with the largest errors, {LONG} of {len(at_end)}"
    if len(at_end) <= LONG:
        title, in_order = "At the end of each run", list(names)
        at_end.sort(key=lambda each: in_order.index(each.run))
    over = any(each.excess_error is not None for each in at_end)
    print_table(
        title,
        ["run", "tokens", "measured", "fitted", "error", *(["of excess"] if over else [])],
        [
            [
                names[each.run],
                short(each.n_tokens),
                f"{each.loss:.4f}",
                f"{each.predicted:.4f}",
                f"{100 * each.error:+.2f} %",
                *([percent(each.excess_error)] if over else []),
            ]
            for each in at_end[:LONG]
        ],
    )


def sigma(found: "Fit", name: str) -> str:
    if name in found.fixed:
        return "fixed"
    if name in found.void:
        return "no effect"
    if name in found.at_bound:
        return "at its bound"
    value = found.standard_errors.get(name)
    return f"{value:.2g}" if value is not None else "unknown"


def interval(ends: tuple[float, float] | None) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else "-"


def decimals(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else "unknown"


def percent(share: float | None) -> str:
    return f"{100 * share:+.1f} %" if share is not None else "-"
