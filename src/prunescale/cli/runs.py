"""prunescale runs"""

from dataclasses import asdict
from math import log
from pathlib import Path
from typing import Any

import click

from prunescale.cli import options
from prunescale.cli.import_runs import import_runs, store_option


@click.group()
def runs() -> None:
    """List, show, export and import the runs in a store."""


@runs.command("list")
@store_option
@options.as_json
def list_runs(store: str, as_json: bool) -> None:
    """List the runs, oldest first."""
    from prunescale.amounts import short
    from prunescale.cli.output import print_json, print_paragraph, print_table
    from prunescale.runs import Store

    with Store.open(store) as kept:
        found = kept.list()
    if as_json:
        brief = (
            "id",
            "created",
            "kind",
            "name",
            "base",
            "pruning_method",
            "pruning_rate",
            "loss_before",
            "loss",
            "n_tokens",
            "recipe_hash",
        )
        print_json({"store": store, "runs": [{name: getattr(run, name) for name in brief} for run in found]})
        return
    rows = [
        [
            run.name,
            run.id,
            short(run.n_params_before) if run.n_params_before is not None else "-",
            short(run.n_tokens),
            f"{run.loss_before:.4f}" if run.loss_before is not None else "-",
            f"{run.points[0].loss:.4f}",
            f"{run.loss:.4f}",
        ]
        for run in found
    ]
    print_table("", ["run", "id", "N0", "tokens", "L0", "first", "last"], rows)
    if rows:
        print_paragraph("N0, L0: parameters outside embeddings and head, and loss, before pruning. Losses in nats per token.")


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
    rows = [
        [
            f"{point.n_tokens:,}",
            f"{point.loss:.4f}",
            *([f"{point.loss / log(2) / run.bytes_per_token:.4f}"] if run.bytes_per_token else []),
            point.phase,
            f"{point.learning_rate:.2e}" if point.learning_rate is not None else "-",
            f"{point.seconds:.1f}" if point.seconds is not None else "-",
            *(f"{point.domains[name]:.4f}" if name in point.domains else "-" for name in domains),
        ]
        for point in run.points
    ]
    bits = ["bits a byte"] if run.bytes_per_token else []
    print_table("Loss curve", ["tokens", "loss", *bits, "phase", "learning rate", "seconds", *domains], rows)


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


@runs.command("export")
@click.argument("run_ids", nargs=-1)
@store_option
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "csv"]),
    default="json",
    show_default=True,
    help="CSV has a row for each point.",
)
@click.option("--out", type=click.Path(path_type=Path), help="File to write. [default: standard output]")
@options.as_json
def export_runs(run_ids: tuple[str, ...], store: str, kind: str, out: Path | None, as_json: bool) -> None:
    """Write runs as JSON or CSV: those named, or all of them."""
    from prunescale.cli.output import print_json
    from prunescale.errors import StoreError
    from prunescale.runs import Store, runs_to_csv, runs_to_json

    if as_json and not out and kind == "csv":
        raise click.UsageError("CSV is not JSON: with --json, --out must say where it goes.")
    with Store.open(store) as kept:
        found = [kept.get(run_id) for run_id in run_ids] if run_ids else list(kept.list())
    text = runs_to_csv(found) if kind == "csv" else runs_to_json(found)
    if not out:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}.") from error
    if as_json:
        print_json({"file": str(out), "format": kind, "n_runs": len(found)})
    else:
        click.echo(f"Runs written to {out}: {len(found)}")


runs.add_command(import_runs)
