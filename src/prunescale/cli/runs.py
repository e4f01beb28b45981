"""prunescale runs"""

from dataclasses import asdict
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options
from prunescale.cli.import_runs import import_runs, store_option

if TYPE_CHECKING:
    from prunescale.runs import Run


@click.group()
def runs() -> None:
    """List, show, export, import, merge, check and copy the runs in a store."""


@runs.command("list")
@store_option
@click.option("--limit", type=options.COUNT, default=50, show_default=True, help="How many runs to list, the newest ones.")
@click.option("--all", "is_all", is_flag=True, help="List all runs.")
@options.as_json
def list_runs(store: str, limit: int, is_all: bool, as_json: bool) -> None:
    """List the runs, oldest first: the newest 50 of them; with --json all, unless --limit says how many."""
    from prunescale.runs import Store

    asked = click.get_current_context().get_parameter_source("limit") is not click.core.ParameterSource.DEFAULT
    if asked and is_all:
        raise click.UsageError("--limit and --all contradict each other: give one of them.")
    with Store.open(store) as kept:
        found = kept.summaries(None if is_all or (as_json and not asked) else limit)
        n_runs = len(kept)
    if as_json:
        show_json(store, found, n_runs)
    else:
        show_list(found, n_runs)


def show_json(store: str, found: list[dict[str, Any]], n_runs: int) -> None:
    from prunescale.cli.output import print_json

    brief = [{name: value for name, value in run.items() if name not in ("n_params_before", "first_loss")} for run in found]
    print_json({"store": store, "n_runs": n_runs, "runs": brief})


def show_list(found: list[dict[str, Any]], n_runs: int) -> None:
    from prunescale.amounts import short
    from prunescale.cli.output import print_paragraph, print_table

    rows = [
        [
            run["name"],
            run["id"],
            short(run["n_params_before"]) if run["n_params_before"] is not None else "-",
            short(run["n_tokens"]),
            f"{run['loss_before']:.4f}" if run["loss_before"] is not None else "-",
            f"{run['first_loss']:.4f}",
            f"{run['loss']:.4f}",
        ]
        for run in found
    ]
    print_table("", ["run", "id", "N0", "tokens", "L0", "first", "last"], rows)
    if rows:
        print_paragraph("N0, L0: parameters outside embeddings and head, and loss, before pruning. Losses in nats per token.")
    if n_runs > len(found):
        print_paragraph(
            f"These are the newest {len(found)} of {n_runs:,} runs: --all lists all of them, --limit as many as you say."
        )


@runs.command("show")
@click.argument("run_id")
@store_option
@options.as_json
def show_run(run_id: str, store: str, as_json: bool) -> None:
    """Show one run with its loss curve. RUN_ID may be the beginning of an id."""
    from prunescale.cli.output import print_facts, print_json, print_table
    from prunescale.runs import Store

    with Store.open(store) as kept:
        run = kept.get(run_id)
    content = asdict(run)
    if as_json:
        print_json(content)
        return
    nested = ("points", "recipe", "versions", "inputs", "n_params_left")
    versions = ", ".join(f"{name} {value}" for name, value in run.versions.items())
    print_facts({name: shown(value) for name, value in content.items() if name not in nested} | {"versions": versions or "-"})
    click.echo()
    for title, facts in (("Inputs", {name: shown(value) for name, value in run.inputs.items()}), ("Recipe", flat(run.recipe))):
        if facts:
            click.secho(title, bold=True)
            print_facts(facts)
            click.echo()
    domains = list(dict.fromkeys(name for point in run.points for name in point.domains))
    beside, apart = (domains, []) if len(domains) <= MOST_COLUMNS else ([], domains)
    rows = [
        [
            f"{point.n_tokens:,}",
            f"{point.loss:.4f}",
            *([f"{point.loss / log(2) / run.bytes_per_token:.4f}"] if run.bytes_per_token else []),
            point.phase,
            f"{point.learning_rate:.2e}" if point.learning_rate is not None else "-",
            f"{point.seconds:.1f}" if point.seconds is not None else "-",
            *(f"{point.domains[name]:.4f}" if name in point.domains else "-" for name in beside),
        ]
        for point in run.points
    ]
    bits = ["bits a byte"] if run.bytes_per_token else []
    print_table("Loss curve", ["tokens", "loss", *bits, "phase", "learning rate", "seconds", *beside], rows)
    if apart:
        ends = [(name, [point.domains[name] for point in run.points if name in point.domains]) for name in apart]
        click.echo()
        print_table(
            "By domain", ["domain", "first", "last"], [[name, f"{losses[0]:.4f}", f"{losses[-1]:.4f}"] for name, losses in ends]
        )


MOST_COLUMNS = 6
"""Of domains, beside a loss curve; more have a table of their own."""


def shown(value: Any) -> str:
    """A field of a run, for people: six digits and no unknown left out."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def flat(recipe: dict[str, Any]) -> dict[str, str]:
    """The entries of a recipe by their whole names: train.tokens."""
    facts: dict[str, str] = {}
    for name, value in recipe.items():
        facts |= {f"{name}.{key}": v for key, v in flat(value).items()} if isinstance(value, dict) else {name: str(value)}
    return facts


def how_to_export(command: Any) -> Any:
    """Options that say in which form runs are written, and where."""
    for option in (
        options.as_json,
        click.option("--out", type=click.Path(path_type=Path), help="File to write. [default: standard output]"),
        click.option(
            "--format",
            "kind",
            type=click.Choice(["json", "csv", "parquet"]),
            default="json",
            show_default=True,
            help="CSV and Parquet have a row for each point.",
        ),
    ):
        command = option(command)
    return command


@runs.command("export")
@click.argument("run_ids", nargs=-1)
@store_option
@how_to_export
def export_runs(run_ids: tuple[str, ...], store: str, kind: str, out: Path | None, as_json: bool) -> None:
    """Write runs as JSON, CSV or Parquet: those named, or all of them."""
    from prunescale.runs import Store

    refuse_to_mix(kind, out, as_json)
    with Store.open(store) as kept:
        found = [kept.get(run_id) for run_id in run_ids] if run_ids else list(kept.list())
    write_runs(found, kind, out, as_json)


def refuse_to_mix(kind: str, out: Path | None, as_json: bool) -> None:
    """Raise UsageError for a form that standard output cannot take."""
    if as_json and not out and kind == "csv":
        raise click.UsageError("CSV is not JSON: with --json, --out must say where it goes.")
    if not out and kind == "parquet":
        raise click.UsageError("Parquet is no text: --out must say where it goes.")


def write_runs(found: "list[Run]", kind: str, out: Path | None, as_json: bool) -> None:
    """Write runs in a form to a file, or to standard output."""
    from prunescale.cli.output import print_json, write_out
    from prunescale.errors import StoreError
    from prunescale.outputs import replaced
    from prunescale.runs import runs_to_csv, runs_to_json, runs_to_parquet

    content = runs_to_parquet(found) if kind == "parquet" else (runs_to_csv if kind == "csv" else runs_to_json)(found).encode()
    if not out:
        write_out(content)
        return
    try:
        with replaced(out) as file:
            file.write_bytes(content)
    except OSError as error:
        raise StoreError(f"{out} cannot be written ({error.strerror}): name another file, or make room.") from error
    if as_json:
        print_json({"file": str(out), "format": kind, "n_runs": len(found)})
    else:
        click.echo(f"Runs written to {out}: {len(found)}")


@runs.command("merge")
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("others", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.as_json
def merge_runs(store: Path, others: tuple[Path, ...], as_json: bool) -> None:
    """Put the runs of OTHERS into STORE, which is made where there is none: all of them or, after an error, none.

    A run that is there already is skipped and counted. An id that stands for something else there is an error.
    """
    from contextlib import ExitStack

    from prunescale.cli.output import print_json
    from prunescale.runs import Store, refuse_unwritable

    refuse_unwritable(store)
    is_new = not store.exists()
    try:
        with ExitStack() as opened:
            stores = [opened.enter_context(Store.open(other)) for other in others]
            merged = opened.enter_context(Store.create(store)).merge(stores)
    except BaseException:
        if is_new:
            store.unlink(missing_ok=True)
        raise
    if as_json:
        print_json({"store": str(store), "n_added": merged.n_added, "n_known": merged.n_known})
    else:
        click.echo(f"Runs put into {store}: {merged.n_added}; there already: {merged.n_known}")


@runs.command("verify")
@click.argument("store", default="runs.db")
@options.as_json
def verify_runs(store: str, as_json: bool) -> int:
    """Check a store: SQLite's own checks of the file, and every derived figure of every run, computed again.

    STORE is runs.db where none is named. Nothing is changed. The exit code is 1 where something is wrong.
    """
    from prunescale.cli.output import print_facts, print_json, print_paragraph
    from prunescale.runs import Store
    from prunescale.runs.verify import verify

    with Store.open(store) as kept:
        found = verify(kept)
    if as_json:
        checked = {"n_runs": found.n_runs, "n_points": found.n_points, "n_checked": found.n_checked}
        print_json({"store": store, **checked, "faults": found.faults})
    else:
        print_facts({"Runs": f"{found.n_runs:,}", "Points": f"{found.n_points:,}"})
        print_facts({f"{name} computed again": f"{n:,}" for name, n in found.n_checked.items()})
        for fault in found.faults:
            click.echo(fault)
        print_paragraph(f"{len(found.faults)} faults found." if found.faults else "All is as it should be.")
    return 1 if found.faults else 0


@runs.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@store_option
@options.as_json
def backup_runs(file: Path, store: str, as_json: bool) -> None:
    """Copy a store to a new FILE, whole and as it is at one moment, also while a training writes to it."""
    from prunescale.cli.output import print_json
    from prunescale.runs import Store

    with Store.open(store) as kept:
        n_runs = len(kept)
        kept.backup(file)
    if as_json:
        print_json({"store": store, "file": str(file), "n_runs": n_runs})
    else:
        click.echo(f"Runs copied to {file}: {n_runs}")


runs.add_command(import_runs)
