"""prunescale demo: the main job on the embedded models, by the same functions as the commands prune, train, fit and plan; and a plan from
measured runs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options

if TYPE_CHECKING:
    from prunescale.fitting import Fit
    from prunescale.planner import Budget
    from prunescale.recipe import Recipe
    from prunescale.runs import Run

SMALLER, LARGEST = ("0.4m", "1m"), "2.7m"
RATES = {"0.4m": (0.25, 0.5), "1m": (0.25, 0.5), "2.7m": (0.25, 0.375)}
TOKENS, MIN_TOKENS = 131_072, 16_384  # of a run; from which on the law is fitted, the warm-up behind
BATCH_TOKENS, WARMUP_TOKENS, HELD_OUT_TOKENS = 2048, 8192, 16_384
LEARNING_RATES = {"0.4m": 7e-4, "1m": 4.7e-4, "2.7m": 2.8e-4}  # 0.045 over the width
PLANNED_BY = "embedded:width-floor"
PLANNED = {"n_params_before": 30e6, "pruning_rate": 0.3, "loss_control": 2.36}  # between the runs of that fit
MIN_GAIN = 0.02  # nats per doubling: what more training must bring to be worth it


@click.command(short_help="Run all of it on three small models: some minutes, offline.")
@click.option(
    "--dir", "folder", default="demo", show_default=True, type=click.Path(path_type=Path), help="Folder for its runs and figure."
)
@options.as_json
@options.needs("train,report", "torch", "transformers", "safetensors", "matplotlib")
def demo(folder: Path, as_json: bool) -> None:
    """Prune three small models, train them again, fit the P2 law on two and predict the third; then plan for a larger one, by a fit to
    runs on GPUs that come with prunescale. Some minutes, offline.

    Interrupt it when you like: run again, it goes on after the last finished run.
    """
    from prunescale.cli.output import print_json
    from prunescale.fitting import bootstrap, fit, load_fit, save_fit
    from prunescale.laws import P2Law
    from prunescale.planner import plan
    from prunescale.report import recovery_curves, recovery_figure, save_png
    from prunescale.runs.table import columns

    refuse_if_incomplete()
    store = folder_for(folder) / "runs.db"
    wanted = [(name, recipe(name, rate)) for name, rates in RATES.items() for rate in rates]
    done: dict[str, list[Run]] = {name: [] for name in RATES}
    for number, (name, each) in enumerate(wanted, 1):
        done[name].append(run_or_find(each, store, f"{number} of {len(wanted)}", as_json))
    seen = columns([run for name in SMALLER for run in done[name]])
    # Two sizes give two equations for the floor, and it has three constants: the one that no size changes is left out.
    found = bootstrap(fit(P2Law, seen, fixed={"E": 0.0}, min_tokens=MIN_TOKENS))
    save_fit(found, folder / "fit.json")
    of_gpus = load_fit(PLANNED_BY)
    budget = plan(of_gpus, PLANNED, MIN_GAIN, profiled=True)
    everything = [run for runs in done.values() for run in runs]
    curves = recovery_curves(found, everything, fitted=[run.id for name in SMALLER for run in done[name]])
    save_png(recovery_figure(curves), folder / "recovery.png")
    if as_json:
        print_json(answer(found, done, budget, folder))
    else:
        show(found, done, of_gpus, budget, folder)


def refuse_if_incomplete() -> None:
    """Raise AssetError if any model or text is missing: now, not when its turn comes."""
    from prunescale import embedded

    for name in RATES:
        embedded.model_folder(name)
    for name in embedded.TEXTS:
        embedded.text_file(name)


def folder_for(folder: Path) -> Path:
    from prunescale.errors import StoreError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made ({error.strerror}): name another folder with --dir.") from error
    return folder


def recipe(name: str, rate: float) -> "Recipe":
    """How the demo prunes and trains one model."""
    from prunescale.recipe import PruneRecipe, Recipe, TrainRecipe

    train = TrainRecipe(
        data="embedded:post-training",
        held_out="embedded:held-out",
        tokens=TOKENS,
        learning_rate=LEARNING_RATES[name],
        sequence_length=256,
        batch_tokens=BATCH_TOKENS,
        warmup_tokens=WARMUP_TOKENS,
        n_measurements=8,
        first_measurement=MIN_TOKENS,
        held_out_tokens=HELD_OUT_TOKENS,
    )
    return Recipe(base=f"embedded:{name}", prune=PruneRecipe(rate=rate), train=train)


def run_or_find(wanted: "Recipe", store: Path, number: str, quiet: bool) -> "Run":
    """The finished run of this recipe in the store, or a new one, which is then in the store too. `number`: which of how many."""
    from prunescale.cli.output import training_progress
    from prunescale.runs import Store
    from prunescale.sweep import run_recipe
    from prunescale.training import Machine

    with Store.create(store) as kept:
        found = kept.find(wanted.hash)
    if found:
        return found
    assert wanted.base
    assert wanted.prune
    assert wanted.prune.rate
    title = f"{number}: {wanted.base.removeprefix('embedded:')} {100 * wanted.prune.rate:g} % pruned"
    with training_progress(title, wanted.train.tokens, quiet) as progress:
        done = run_recipe(wanted, machine=Machine(options.chosen_device("cpu")), progress=progress)
    assert done  # this process is the only one
    run, _ = done
    with Store.create(store) as kept:
        kept.add(run)
    if not quiet:
        click.echo(
            f"{title}: loss {run.loss_before:.3f} before, {run.points[0].loss:.3f} pruned, {run.loss:.3f} trained again", err=True
        )
    return run


def predictions(found: "Fit", runs: "Sequence[Run]") -> list[dict[str, Any]]:
    """Predicted against measured loss at the end of each run of the largest model, which the fit has not seen."""
    from prunescale.fitting import errors
    from prunescale.runs.table import columns

    rates = {run.id: run.pruning_rate or 0.0 for run in runs}
    found_errors = sorted(errors(found, columns(runs)), key=lambda each: rates[each.run])
    return [{"pruning_rate": rates[each.run], **asdict(each)} for each in found_errors]


def answer(found: "Fit", done: "dict[str, list[Run]]", budget: "Budget", folder: Path) -> dict[str, Any]:
    """What the demo found, as plain content for JSON."""
    from prunescale.cli.fit import content as content_of_fit
    from prunescale.cli.plan import content

    return {
        "fit": content_of_fit(found),
        "predictions": predictions(found, done[LARGEST]),
        "plan": {"fit": PLANNED_BY, **PLANNED, **content(budget)},
        "figure": str(folder / "recovery.png"),
        "fit_file": str(folder / "fit.json"),
        "store": str(folder / "runs.db"),
    }


def show(found: "Fit", done: "dict[str, list[Run]]", of_gpus: "Fit", budget: "Budget", folder: Path) -> None:
    """What the demo found, for people. of_gpus: what the budget is by."""
    from prunescale.amounts import short
    from prunescale.cli.fit import percent
    from prunescale.cli.output import print_checks, print_facts, print_table
    from prunescale.cli.plan import basis, summary

    constants = ", ".join(f"{name} = {value:.3g}" for name, value in found.law.constants().items())
    rests_on = f"{found.n_points} points of {found.n_runs} runs, objective {found.objective}"
    click.echo(f"{found.law.title} fitted to the {' and '.join(SMALLER)} models: {rests_on}")
    click.echo(f"  L = {found.law.formula}\n  {constants}\n")
    print_table(
        f"What it predicts for the {LARGEST} model, which it has not seen, after {short(TOKENS)} tokens",
        ["pruned", "loss before", "measured", "predicted", "error", "error of excess"],
        [
            [
                f"{100 * each['pruning_rate']:.3g} %",
                f"{each['loss_before']:.4f}",
                f"{each['loss']:.4f}",
                f"{each['predicted']:.4f}",
                f"{100 * each['error']:+.2f} %",
                percent(each["excess_error"]),
            ]
            for each in predictions(found, done[LARGEST])
        ],
    )
    click.echo()
    click.secho("Before you trust this", bold=True)
    print_checks(found.checks)
    click.echo()
    size, rate = short(PLANNED["n_params_before"]), f"{100 * PLANNED['pruning_rate']:g} %"
    click.secho(f"A model of {size} parameters, its feed-forward narrowed by {rate} of them: from measured GPU runs", bold=True)
    print_facts({**summary(budget, None), "By": basis(of_gpus)})
    print_checks(budget.checks)
    click.echo()
    store = folder / "runs.db"
    print_facts({"Figure": str(folder / "recovery.png"), "Runs": f"{store} (prunescale runs list --store {store})"})
