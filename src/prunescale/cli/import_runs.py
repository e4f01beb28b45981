"""prunescale runs import"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options

if TYPE_CHECKING:
    from prunescale.runs import Run
    from prunescale.runs.importers import Imported

FORMATS = ("auto", "prunescale", "table", "trainer-state", "tensorboard", "wandb", "trackio")

store_option = click.option("--store", default="runs.db", show_default=True, help="The store of runs.")


@click.command("import", short_help="Put runs into a store, also those measured elsewhere.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "source",
    type=click.Choice(FORMATS),
    default="auto",
    show_default=True,
    help="prunescale: runs that were exported, or a store. table: CSV, JSONL or Parquet. trainer-state: the Hugging Face "
    "Trainer's file or checkpoint. tensorboard: event files or their folder. wandb: a history, or a panel's CSV. trackio: a "
    "project's .db or .parquet.",
)
@store_option
@click.option("--kind", type=click.Choice(["post-training", "pre-training"]), help="What the runs are.")
@click.option("--metric", metavar="NAME:UNIT", help="The loss to take, as in eval_loss:nats; or :bits, :perplexity.")
@click.option("--tokens-per-step", type=options.COUNT, help="Tokens of one step, where the file counts steps only.")
@click.option(
    "--column",
    "columns",
    metavar="OURS=THEIRS:UNIT",
    multiple=True,
    help="What a column is: n_tokens=tokens_B:B, loss=val:bits, pruning_rate=pruned:percent. Counts are in 1, k, M, B, T or a "
    "number. THEIRS may multiply and divide: n_tokens=flops/6/size:1. May be repeated.",
)
@click.option(
    "--set",
    "constants",
    metavar="NAME=VALUE",
    multiple=True,
    help="What is the same for all rows: base=llama-7b, n_params_before=6.5B, pruning_rate=25%, loss_before=2.31. May be repeated.",
)
@click.option("--run", metavar="COLUMN[,COLUMN...]", help="The columns that tell runs apart.")
@click.option("--one-run", is_flag=True, help="All rows are of one run.")
@click.option("--each-row-is-a-run", is_flag=True, help="Each row is the end of a run of its own.")
@click.option(
    "--phase",
    type=click.Choice(["warm-up", "constant", "decay"]),
    help="Phase of the learning rate of all losses. [default: by the learning rates in the file]",
)
@click.option("--round-counts", is_flag=True, help="Round tokens and parameters that are not whole numbers.")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out the rows that cannot be used, and say how many.")
@click.option("--dry-run", is_flag=True, help="Show what would be imported; write nothing.")
@options.as_json
@click.pass_context
def import_runs(
    context: click.Context,
    file: Path,
    source: str,
    store: str,
    columns: tuple[str, ...],
    constants: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Put runs into a store: all of them or none.

    FILE holds runs that prunescale exported, or a table or log of runs measured elsewhere. Of those, say what the columns mean
    and in which units; nothing is guessed. See docs/runs.md for an example of each format.
    """
    from prunescale.cli.output import print_json
    from prunescale.runs import Store
    from prunescale.runs.importers import OURS, READERS, Imported, Wishes, format_of, read_ours
    from prunescale.runs.importers import import_runs as read_elsewhere

    found = format_of(file) if source == "auto" else source
    if found == OURS:
        refuse_wishes(context, file, {**wishes, "columns": columns, "constants": constants})
        imported = Imported(read_ours(file), [], 0, {})
    else:
        imported = read_elsewhere(READERS[found], file, Wishes(columns=columns, constants=constants, **wishes))
    if not dry_run:
        with Store.create(store) as kept:
            kept.add(*imported.runs)
    if as_json:
        print_json(content(imported, found, store, dry_run))
    else:
        show(imported, found, store, dry_run)


def refuse_wishes(context: click.Context, file: Path, wishes: dict[str, Any]) -> None:
    """Raise a usage error where options were given that have no meaning for runs which prunescale wrote."""
    given = [name for name, value in wishes.items() if value]
    for parameter in context.command.params:
        if parameter.name in given:
            raise click.UsageError(
                f"{file} is taken for runs that prunescale wrote, and {parameter.opts[0]} is for others: leave it out, or say what "
                "the file is with --from."
            )


def content(imported: "Imported", found: str, store: str, dry_run: bool) -> dict[str, Any]:
    """What was or would be imported, in plain types, for JSON."""
    return {
        "store": None if dry_run else store,
        "format": found,
        "n_runs": len(imported.runs),
        "n_points": sum(len(run.points) for run in imported.runs),
        "runs": [{"id": run.id, "name": run.name, "n_points": len(run.points)} for run in imported.runs],
        "ranges": {name: list(ends) for name, ends in ranges(imported.runs).items()},
        "skipped": imported.skipped,
        "notes": imported.notes,
    }


def ranges(runs: "list[Run]") -> dict[str, tuple[float, float]]:
    """The least and the greatest value of each column that has any."""
    import numpy as np

    from prunescale.runs.table import columns

    numbers = {name: column[~np.isnan(column)] for name, column in columns(runs).items() if column.dtype.kind == "f"}
    return {name: (float(column.min()), float(column.max())) for name, column in numbers.items() if len(column)}


def show(imported: "Imported", found: str, store: str, dry_run: bool) -> None:
    from prunescale.cli.output import print_paragraph

    n_points = sum(len(run.points) for run in imported.runs)
    if dry_run:
        show_contents(imported.runs)
        click.echo(f"Runs that would be imported ({found}): {len(imported.runs)}, points: {n_points}. Nothing was written.")
    else:
        click.echo(f"Runs put into {store}: {len(imported.runs)}")
    if imported.skipped:
        reasons = ", ".join(f"{number} {reason}" for reason, number in imported.skipped.items())
        click.echo(f"Rows skipped: {sum(imported.skipped.values())} of {imported.n_rows} ({reasons})")
    for note in imported.notes:
        print_paragraph(note, first="- ", rest="  ")


def show_contents(runs: "list[Run]") -> None:
    from prunescale.amounts import short
    from prunescale.cli.output import print_table

    rows = [
        [
            run.name,
            str(len(run.points)),
            short(run.points[0].n_tokens),
            short(run.n_tokens),
            f"{run.points[0].loss:.4f}",
            f"{run.loss:.4f}",
        ]
        for run in runs
    ]
    print_table("Runs", ["run", "points", "tokens from", "to", "first loss", "last"], rows)
    click.echo()
    print_table(
        "Columns", ["column", "least", "greatest"], [[name, *map(short_or_small, ends)] for name, ends in ranges(runs).items()]
    )
    click.echo()


def short_or_small(value: float) -> str:
    from prunescale.amounts import short

    return short(value) if abs(value) >= 1000 else f"{value:.6g}"
