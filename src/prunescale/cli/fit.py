"""prunescale fit"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options

if TYPE_CHECKING:
    from prunescale.fitting import Fit
    from prunescale.runs import Run


@click.command(short_help="Fit a scaling law to runs.")
@click.argument("source")
@click.option("--law", default="p2", show_default=True, help="p2, average-parameter or hoffmann.")
@click.option(
    "--fix", type=options.SETTING, multiple=True, metavar="NAME=VALUE", help="Hold a constant at a value; may be repeated."
)
@click.option("--base", multiple=True, help="Use only the runs of this base model; may be repeated.")
@click.option("--min-tokens", type=options.COUNT, help="Leave out points before this many tokens, such as a warm-up's.")
@click.option("--phases", default="constant", show_default=True, help="Learning-rate phases to use, comma-separated, or all.")
@click.option("--objective", default="squared", show_default=True, help="squared, or squared-log for the logarithm of the loss.")
@click.option("--refits/--no-refits", default=True, help="Refit without each run in turn, to see how far the answer moves.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the fit here, for prunescale plan.")
@options.as_json
def fit(
    source: str,
    law: str,
    fix: tuple[tuple[str, float], ...],
    base: tuple[str, ...],
    min_tokens: int | None,
    phases: str,
    objective: str,
    refits: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fit a scaling law to the runs in SOURCE, a store (runs.db) or a file of exported runs (JSON)."""
    from prunescale.cli.output import print_json
    from prunescale.fitting import fit as fit_law
    from prunescale.fitting import jackknife, to_dict
    from prunescale.runs.table import columns

    chosen = law_named(law)
    wanted = phases_named(phases)
    runs = runs_from(source, base)
    table = columns(runs)
    found = fit_law(chosen, table, fixed=dict(fix), objective=objective, min_tokens=min_tokens or 0, phases=wanted)
    if refits and found.n_runs > 1:
        found = jackknife(found, table)
    if out:
        write(found, out)
    if as_json:
        print_json({**to_dict(found), "file": str(out) if out else None})
    else:
        print_fit(found, runs, table)
        if out:
            click.echo(f"Written to {out}")


def write(found: "Fit", out: Path) -> None:
    from prunescale.errors import FitError
    from prunescale.fitting import save_fit

    try:
        save_fit(found, out)
    except OSError as error:
        raise FitError(
            f"The fit cannot be written to {out} ({error.strerror}): name a file in a folder that is there."
        ) from error


def runs_from(source: str, bases: tuple[str, ...] = ()) -> "list[Run]":
    """The runs of a store or of an exported file, of these base models only where some are named."""
    from prunescale.errors import StoreError
    from prunescale.runs import Store, read_json

    if Path(source).suffix == ".json":
        runs = list(read_json(source))
    else:
        with Store.open(source) as store:
            runs = list(store.list())
    named = {*bases, *(str(Path(base).expanduser().resolve()) for base in bases)}  # a run names its base's folder in full
    chosen = [run for run in runs if not bases or run.base in named]
    if not chosen:
        known = ", ".join(sorted({run.base for run in runs})) or "none"
        raise StoreError(f"{source} holds no runs of {', '.join(bases) or 'any model'}; base models there: {known}.")
    return chosen


def law_named(name: str) -> Any:
    from prunescale.errors import FitError
    from prunescale.laws import LAWS

    if name not in LAWS:
        raise FitError(f"There is no law {name!r}: choose {', '.join(LAWS)}.")
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


def print_fit(found: "Fit", runs: "list[Run]", table: Any) -> None:
    from prunescale.amounts import short
    from prunescale.cli.output import print_facts, print_paragraph, print_table
    from prunescale.fitting import errors

    ranges, sure = found.refit_ranges(), found.standard_errors
    rows = [
        [name, f"{value:.4g}", sigma(found, name, sure.get(name)), interval(None if name in found.fixed else ranges.get(name))]
        for name, value in found.law.constants().items()
    ]
    click.echo(f"{found.law.title}: L = {found.law.formula}")
    click.echo(f"{found.n_points} points of {found.n_runs} runs, objective {found.objective}\n")
    print_table("", ["constant", "value", "standard error", "range leaving out one run"], rows)
    at_end = {each.run: each for each in errors(found, table)}
    click.echo()
    print_table(
        "At the end of each run",
        ["run", "tokens", "measured", "fitted", "error", "of excess"],
        [
            [
                run.name,
                short(each.n_tokens),
                f"{each.loss:.4f}",
                f"{each.predicted:.4f}",
                f"{100 * each.error:+.2f} %",
                percent(each.excess_error),
            ]
            for run in runs
            if (each := at_end.get(run.id))
        ],
    )
    click.echo()
    excess = "" if found.r2_excess is None else f", {found.r2_excess:.4f} of the excess over the loss before pruning"
    print_facts(
        {
            "RMSE": f"{found.rmse:.4f} nats per token",
            "R2": f"{decimals(found.r2)} of the loss{excess}",
            "Huber": f"{found.huber:.2e}, summed over the log losses, delta 1e-3",
            "ASD": "unknown" if found.asd is None else f"{found.asd:.3g} nats per million tokens, the mean error of the slope",
            "Status": f"{found.status.name.lower().replace('_', ' ')}. {found.status.value}",
        }
    )
    for note in found.notes:
        print_paragraph(note, first="- ", rest="  ")


def sigma(found: "Fit", name: str, value: float | None) -> str:
    if name in found.fixed:
        return "fixed"
    return f"{value:.2g}" if value is not None else "unknown"


def interval(ends: tuple[float, float] | None) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else "-"


def decimals(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else "unknown"


def percent(share: float | None) -> str:
    return f"{100 * share:+.1f} %" if share is not None else "-"
