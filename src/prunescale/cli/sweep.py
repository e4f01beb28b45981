"""prunescale sweep"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options
from prunescale.cli.import_runs import store_option
from prunescale.cli.runs import how_to_export, refuse_to_mix, write_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prunescale.sweep import Engine, Study

SOME_FAILED, NOT_ALL = 1, 3
"""Exit codes where something is left to do."""

AT_ONCE = 8
"""Runs given to Ray or Slurm at a time, which have their own queues."""

SECONDS_AHEAD = 20.0
"""That a stop is asked for before the time that --minutes gives is over: for the step under way, and a checkpoint."""


class RunsByDefault(click.Group):
    """A group one of whose commands, `run`, need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=RunsByDefault)
def sweep() -> None:
    """Do all runs that a study asks for: `prunescale sweep STUDY.toml` is `prunescale sweep run STUDY.toml`."""


study_argument = click.argument("study_file", metavar="STUDY.toml", type=click.Path(path_type=Path))
folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), help="For the runs under way. [default: the study's name with .sweep]"
)

only_option = click.option("--only", multiple=True, metavar="TEXT", help="Runs with this in their names; may be repeated.")


@sweep.command("run", short_help="Do the runs of a study that the store does not have.")
@study_argument
@only_option
@click.option("--store", default="runs.db", show_default=True, help="Where runs are kept; made if it isn't there.")
@folder_option
@click.option(
    "--engine",
    "engine_name",
    type=click.Choice(["in-process", "processes", "ray", "slurm"]),
    default="in-process",
    show_default=True,
    help="One run after the other here; side by side, a process each; on a Ray cluster; as Slurm jobs.",
)
@click.option(
    "--workers",
    type=options.COUNT,
    help="Runs at a time; more than there are GPUs share them. [default: one for each GPU or each two cores; 8]",
)
@click.option("--gpus-per-run", type=options.COUNT, default=1, show_default=True, help="GPUs that share a model, or processes.")
@click.option("--address", help="Of a Ray cluster: host:port, ray://host:port or auto. [default: Ray is started here]")
@click.option("--slurm", "slurm_options", multiple=True, metavar="KEY=VALUE", help="A setting of the Slurm jobs: partition=gpu.")
@click.option("--minutes", type=options.Minutes(min=0, min_open=True), help="Stop at a checkpoint before this time is over.")
@click.option(
    "--retries", type=click.IntRange(min=0), default=2, show_default=True, help="How often a run that failed is tried again."
)
@click.option("--dry-run", is_flag=True, help="List the runs with tokens, FLOPs and hours, and do nothing.")
@click.option("--save-models", is_flag=True, help="Keep each trained model, in FOLDER/models, by its name.")
@click.option("--keep-checkpoints", is_flag=True, help="Keep those of runs that are done.")
@options.machine
@options.device
@options.as_json
@options.needs("train", "torch", "transformers", "safetensors")
def run(
    study_file: Path,
    only: tuple[str, ...],
    store: str,
    folder: Path | None,
    engine_name: str,
    workers: int | None,
    gpus_per_run: int,
    address: str | None,
    slurm_options: tuple[str, ...],
    minutes: float | None,
    retries: int,
    dry_run: bool,
    save_models: bool,
    keep_checkpoints: bool,
    checkpoint_minutes: float,
    part_tokens: int | None,
    recompute: bool,
    device: str,
    as_json: bool,
) -> int:
    """Do the runs of STUDY.toml that the store does not have.

    A study is a recipe and axes along which it is varied. Runs that were cut off go on from their checkpoints; Ctrl-C stops at
    checkpoints, and the same command goes on. The exit code is 0 where all runs are done, 1 where some failed, and 3 where some are
    left to do.
    """
    import sys
    from contextlib import redirect_stdout

    from prunescale.cli.sweep_table import answer, print_outcome, shown_live
    from prunescale.runs import refuse_unwritable
    from prunescale.study import Study

    study = Study.from_toml(study_file).only(only)
    from prunescale.sweep import Settings, refuse_impossible  # with torch, which takes seconds
    from prunescale.sweep import sweep as done

    place = folder or Path(f"{study.name}.sweep")
    if engine_name in ("in-process", "processes"):
        options.chosen_device(device)
    job = {
        "device": device,
        "n_processes": gpus_per_run,
        "checkpoint_minutes": checkpoint_minutes,
        "part_tokens": part_tokens,
        "recompute": recompute,
    }
    engine = engine_of(engine_name, workers, gpus_per_run, device, address, slurm_options, place, dry_run=dry_run)
    if dry_run:
        refuse_impossible(run.recipe for run in study.runs)
        return listed(study, store, place, engine, device, gpus_per_run, as_json)
    refuse_unwritable(store)
    seconds = None if minutes is None else 60 * minutes - min(SECONDS_AHEAD, 6 * minutes)
    try:
        # Ray prints what it thinks of lost workers, and standard output is for the answer.
        with redirect_stdout(sys.stderr), shown_live(study, place, quiet=as_json) as look:
            entries = done(study, store, place, engine, Settings(job, save_models, retries, seconds, keep_checkpoints), look)
    finally:
        engine.close()
    lacking = sum(entry.known and not entry.model.is_dir() for entry in entries) if save_models else 0
    if lacking:
        options.warn(
            f"{lacking} runs were in {store} already and have no model in {place / 'models'}: another --store trains them again."
        )
    if as_json:
        from prunescale.cli.output import print_json

        print_json(answer(study, store, place, entries))
    else:
        print_outcome(study, store, place, entries)
    if any(entry.stage == "failed" for entry in entries):
        return SOME_FAILED
    return 0 if all(entry.stage == "done" for entry in entries) else NOT_ALL


def engine_of(
    name: str,
    workers: int | None,
    n_processes: int,
    device: str,
    address: str | None,
    slurm_options: "Sequence[str]",
    folder: Path,
    *,
    dry_run: bool,
) -> "Engine":
    """What does the runs. Raises UsageError for options that are another engine's."""
    from prunescale.sweep import InProcess, Processes

    if address and name != "ray":
        raise click.UsageError(f"--address is that of a Ray cluster, and the engine is {name}: add --engine ray.")
    if slurm_options and name != "slurm":
        raise click.UsageError(f"--slurm is for Slurm jobs, and the engine is {name}: add --engine slurm.")
    if name == "in-process" and ((workers or 1) > 1 or n_processes > 1):
        wanted = "--workers" if (workers or 1) > 1 else "--gpus-per-run"
        raise click.UsageError(f"{wanted} needs processes, and the engine is in-process: add --engine processes, ray or slurm.")
    if name == "in-process" or (dry_run and name != "processes"):
        engine = InProcess()
        engine.n_slots = 1 if name == "in-process" else workers or AT_ONCE
        return engine
    if name == "processes":
        return Processes.on_this_machine(workers, n_processes, device)
    if name == "ray":
        from prunescale.sweep.on_ray import OnRay

        return OnRay(address, n_processes, workers or AT_ONCE)
    from prunescale.sweep.on_slurm import OnSlurm

    return OnSlurm(folder / "slurm", n_processes, workers or AT_ONCE, dict(map(slurm_option, slurm_options)))


def slurm_option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise click.UsageError(f"--slurm {text}: write KEY=VALUE, such as partition=gpu.")
    return key.strip(), value.strip()


def listed(study: "Study", store: str, folder: Path, engine: "Engine", device: str, n_devices: int, as_json: bool) -> int:
    """Tell what the runs of a study would cost."""
    from prunescale.cli.output import print_json, print_paragraph, print_table
    from prunescale.cli.sweep_table import costs, costs_of_rows
    from prunescale.sweep import Processes, entries_of
    from prunescale.sweep.cost import speed_of

    with opened(store) as runs:
        entries = entries_of(study, runs, folder)
        speed = speed_of(runs, options.chosen_device(device), n_devices)
    found = costs(entries, speed)
    n_abreast = engine.n_sets if isinstance(engine, Processes) else engine.n_slots  # what shares a GPU is not done sooner
    if as_json:
        left = [cost for cost in found if cost["state"] != "done"]
        hours = [cost["hours"] for cost in left]
        print_json(
            {
                "study": study.name,
                "runs": found,
                "n_runs": len(found),
                "n_left": len(left),
                "n_at_once": n_abreast,
                "hours": None if None in hours else sum(hours),
                "speed": speed.source,
            }
        )
        return 0
    headings, rows, sentence = costs_of_rows(found, n_abreast, speed.source)
    print_table(study.name, headings, rows)
    print_paragraph(sentence)
    return 0


def opened(store: str) -> Any:
    """The store, or None in its place where there is none yet."""
    from contextlib import nullcontext

    from prunescale.runs import Store

    return Store.open(store) if Path(store).exists() else nullcontext()


@sweep.command("status", short_help="Tell where each run of a study stands.")
@study_argument
@only_option
@store_option
@folder_option
@options.as_json
@options.needs("train", "torch", "transformers", "safetensors")
def status(study_file: Path, only: tuple[str, ...], store: str, folder: Path | None, as_json: bool) -> None:
    """Tell where each run of STUDY.toml stands, also while a sweep is at work."""
    from prunescale.cli.output import print_json
    from prunescale.cli.sweep_table import answer, print_outcome
    from prunescale.study import Study

    study = Study.from_toml(study_file).only(only)
    from prunescale.sweep import entries_of  # with torch, which takes seconds

    place = folder or Path(f"{study.name}.sweep")
    with opened(store) as runs:
        entries = entries_of(study, runs, place)
    if as_json:
        print_json(answer(study, store, place, entries))
    else:
        print_outcome(study, store, place, entries)


@sweep.command("export", short_help="Write the runs of a study.")
@study_argument
@only_option
@store_option
@how_to_export
def export(study_file: Path, only: tuple[str, ...], store: str, kind: str, out: Path | None, as_json: bool) -> None:
    """Write the runs of STUDY.toml that are in the store, as JSON, CSV or Parquet."""
    from prunescale.runs import Store
    from prunescale.study import Study

    refuse_to_mix(kind, out, as_json)
    study = Study.from_toml(study_file).only(only)
    with Store.open(store) as kept:
        found = [kept.find(run.recipe.hash) for run in study.runs]
    write_runs([each for each in found if each], kind, out, as_json)
    if (missing := found.count(None)) and not as_json:
        options.warn(f"{missing} of {len(found)} runs of {study.name} are not in {store}.")
