"""prunescale train"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from math import inf
from pathlib import Path
from typing import Any

import click

from prunescale.cli import options


@click.command(short_help="Train a model, pruned first if wanted, and keep its loss curve.")
@click.argument("model", required=False)
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), help="TOML file; the options below override its lines.")
@click.option("--data", help="Text (.txt, .jsonl, .parquet), tokens (.npz), or a folder of these or of `prunescale tokenize`.")
@click.option("--held-out", help="Text or tokens on which to measure the loss.")
@click.option("--tokens", type=options.COUNT, help="How many to train on, such as 20M.")
@click.option("--learning-rate", type=float, help="Peak learning rate.")
@click.option(
    "--prune-rate", type=float, help="Prune the model first: share of the parameters outside embeddings and head to remove."
)
@click.option("--prune-pattern", help="In its place: keep n of every m weights, such as 2:4, by a method that makes zeros.")
@click.option("--prune-method", help="How: a method of `prunescale prune`. [default: block-influence]")
@click.option("--sequence-length", type=options.COUNT, help="Tokens a sequence. [default: 512]")
@click.option("--batch-tokens", type=options.COUNT, help="Tokens a step. [default: 16384]")
@click.option("--warmup-tokens", type=options.COUNT, help="Tokens over which the learning rate rises. [default: none]")
@click.option("--decay-fraction", type=float, help="Share of the tokens, at the end, over which it falls to zero. [default: 0]")
@click.option("--measurements", type=options.COUNT, help="How often to measure the loss, log-spaced in tokens. [default: 16]")
@click.option("--first-measurement", type=options.COUNT, help="Tokens at the first of them. [default: a hundredth of all]")
@click.option("--held-out-tokens", type=options.COUNT, help="How many held-out tokens to measure on. [default: all]")
@click.option("--seed", type=int, help="Of the order of the data. [default: 0]")
@click.option(
    "--cooldowns", type=options.COUNTS, help="Token counts, with commas: a branch ends at each, its learning rate at zero."
)
@click.option("--teacher", help="Learn from this model; parent is the one before pruning. More: --set distill.weight=0.5.")
@click.option("--sparsity", type=float, help="Prune while training to this share of zeros. More: --set sparse.start=0.25.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any line of the recipe, such as train.decay=cosine.")
@click.option("--loss-before", type=float, help="Loss before pruning, if known. [default: measured]")
@click.option("--store", default="runs.db", show_default=True, help="Where the run is kept; made if it isn't there.")
@click.option("--save", "save_to", help="New folder for the trained model.")
@click.option("--checkpoints", help="Folder for measurements and checkpoints: a run that was cut off goes on from there.")
@options.machine
@click.option("--track", help="Send the curve to tensorboard:DIR, wandb[:PROJECT] or trackio[:PROJECT] too.")
@options.device
@options.as_json
@options.needs("train", "torch", "transformers", "safetensors")
def train(
    model: str | None,
    recipe_file: Path | None,
    loss_before: float | None,
    store: str,
    save_to: str | None,
    checkpoints: str | None,
    checkpoint_minutes: float,
    part_tokens: int | None,
    recompute: bool,
    track: str | None,
    device: str,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train MODEL further, pruned first if wanted, and keep its loss curve.

    MODEL is what `prunescale prune` takes or has written. Where it was pruned, the loss before pruning is measured on its base. A recipe
    with a section [model] makes one from nothing. On several GPUs: `torchrun --nproc-per-node 2 --no-python prunescale train ...`.
    """
    from prunescale.cli.output import training_progress
    from prunescale.models import refuse_to_overwrite
    from prunescale.runs import refuse_unwritable
    from prunescale.sweep import run_recipe
    from prunescale.training import Machine, dtype_of, matmul_rate, ranks_of_torchrun, tracked, tracker

    # What is wrong with these should show before the training, not after.
    recipe = recipe_from(recipe_file, model, flags)
    place = options.chosen_device(device)
    if loss_before is not None and not 0 < loss_before < inf:
        raise click.UsageError(f"--loss-before is {loss_before:g}; a loss is a finite number above 0, in nats per token.")
    if save_to:
        refuse_folder(Path(save_to))
        refuse_to_overwrite(save_to)
    refuse_unwritable(store)
    title = Path(recipe.base).name if recipe.base else f"llama-{recipe.model.layers}x{recipe.model.hidden_size}"
    with options.enough_memory("give a smaller --part-tokens, or --recompute"), ranks_of_torchrun(place) as (ranks, own_place):
        machine = Machine(own_place, ranks, part_tokens, recompute, 60 * checkpoint_minutes)
        alone = only_one_at(Path(checkpoints)) if checkpoints and ranks.is_first else nullcontext()
        tracking = tracker(
            track if ranks.is_first else None, name=f"{title}-{recipe.hash}", config=recipe.to_dict(), tell=options.warn
        )

        def peak() -> float:
            return ranks.n * matmul_rate(own_place, dtype_of(recipe.train.dtype, own_place))

        with (
            alone,
            closing(tracking),
            training_progress(title, recipe.train.tokens, as_json or not ranks.is_first, peak) as progress,
        ):
            done = run_recipe(
                recipe,
                machine=machine,
                loss_before=loss_before,
                keep_in=checkpoints,
                progress=tracked(progress, tracking),
            )
        if done:  # the first of several processes keeps and tells, while the others wait for it
            kept(*done, store, save_to, as_json)


def kept(run: Any, trained: Any, store: str, save_to: str | None, as_json: bool) -> None:
    """Save the model, keep the run, and tell of both."""
    from prunescale.cli.output import print_facts, print_json
    from prunescale.models import save
    from prunescale.runs import Store

    if save_to:  # first, so that the store stays as it was where the model cannot be written
        save(trained, save_to, dtype=trained.dtype)
    with Store.create(store) as runs:
        runs.add(run)
    if as_json:
        from dataclasses import asdict

        print_json({**asdict(run), "store": store, "folder": save_to})
    else:
        print_facts(summary(run, store, save_to))


@contextmanager
def only_one_at(checkpoints: Path) -> Iterator[None]:
    """Raise TrainingError where another process trains by this folder: each would take the other's unfinished checkpoint for its own."""
    import fcntl

    from prunescale.errors import TrainingError

    place = checkpoints.absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.lock")  # the folder itself has to be empty, or a run's
    with open(beside, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TrainingError(f"{checkpoints} is in use by another training: wait for it, or give another folder.") from None
        try:
            yield
        finally:
            beside.unlink(missing_ok=True)


def refuse_folder(path: Path) -> None:
    """Raise ModelError where no new folder could be made at the end."""
    from prunescale.errors import ModelError

    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        raise ModelError(f"No model can be saved in {path}: {nearest} is no folder that can be written to; name another --save.")


SETTINGS = {
    "data": "train.data",
    "held_out": "train.held_out",
    "tokens": "train.tokens",
    "learning_rate": "train.learning_rate",
    "prune_rate": "prune.rate",
    "prune_pattern": "prune.pattern",
    "prune_method": "prune.method",
    "sequence_length": "train.sequence_length",
    "batch_tokens": "train.batch_tokens",
    "warmup_tokens": "train.warmup_tokens",
    "decay_fraction": "train.decay_fraction",
    "measurements": "train.n_measurements",
    "first_measurement": "train.first_measurement",
    "held_out_tokens": "train.held_out_tokens",
    "seed": "train.seed",
    "cooldowns": "train.cooldowns",
    "teacher": "distill.teacher",
    "sparsity": "sparse.sparsity",
}
"""Which line of a recipe each option overrides."""


def recipe_from(file: Path | None, model: str | None, flags: dict[str, Any]) -> Any:
    """The recipe of a file with the given options in the place of its lines, or one made of options alone."""
    from prunescale.errors import RecipeError

    try:
        return checked_recipe(file, model, flags)
    except RecipeError as error:
        key = str(error).partition(" ")[0]
        name = next((name for name, setting in SETTINGS.items() if setting == key), None)
        raise RecipeError(f"{error} The option for it is --{name.replace('_', '-')}." if name else str(error)) from error


def checked_recipe(file: Path | None, model: str | None, flags: dict[str, Any]) -> Any:
    from prunescale.recipe import Recipe, overridden, with_overrides

    overrides = {SETTINGS[name]: value for name, value in flags.items() if name in SETTINGS and value is not None}
    overrides |= dict(map(setting, flags.get("settings") or ()))
    if model:
        overrides["base"] = model
    if not (file or model or "model.layers" in overrides):
        raise click.UsageError("Give the MODEL to train, or a recipe that names it with --recipe.")
    if file:
        return with_overrides(Recipe.from_toml(file), overrides)
    return Recipe.from_dict(overridden({"train": {}}, overrides))


def setting(text: str) -> tuple[str, Any]:
    """KEY and VALUE of a --set option; a value that is not TOML is a string."""
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise click.UsageError(f"--set {text}: write KEY=VALUE, such as train.decay=cosine.")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def summary(run: Any, store: str, save_to: str | None) -> dict[str, str]:
    from prunescale.amounts import short

    pruned = run.pruning_method is not None
    before = f"{run.loss_before:.4f} before pruning, " if pruned and run.loss_before is not None else ""
    n_between = run.inputs.get("n_tokens_between", 0)
    between = f" and {short(n_between)} between prunings" if n_between else ""
    sparsity = run.inputs.get("sparsity")
    zeros = f", {sparsity:.2%} of the weights that could be pruned are zero" if sparsity is not None else ""
    ends = [point for point in run.points if point.phase == "annealed"]
    annealed = ", ".join(f"{point.loss:.4f} after {short(point.n_tokens)}" for point in ends)
    bits = f" ({run.bits_per_byte:.4f} bits per byte)" if run.bits_per_byte is not None else ""
    facts = {
        "Run": f"{run.id}, {run.name}",
        "Parameters": f"{run.n_params_non_embedding:,} outside embeddings and head"
        + (f" ({run.n_params_before:,} before pruning)" if pruned else "")
        + zeros,
        "Held-out loss": f"{before}{run.points[0].loss:.4f} before training, {run.loss:.4f} at the end, nats per token{bits}",
        "Trained": f"{short(run.n_tokens)} tokens{between} in {run.seconds:,.0f} s, "
        f"{short(run.tokens_per_second)} tokens/s, {run.flops:.2e} FLOPs",
        "Kept in": store,
    }
    if len(ends) > 1 or (ends and ends[0] is not run.points[-1]):
        facts["Annealed"] = f"{annealed} tokens"
    if run.points[-1].domains:
        facts["By domain"] = of_domains(run.points[-1].domains)
    if "n_params_final" in run.inputs:
        facts["Linear weights"] = (
            f"{short(run.n_params_linear)} at first, {short(run.n_params_average(run.n_tokens))} averaged over the tokens, "
            f"{short(run.inputs['n_params_final'])} in the end; {run.inputs['flops_sparse']:.2e} FLOPs at 6 N(t) a token"
        )
    return {**facts, "Saved in": save_to} if save_to else facts


SHOWN_DOMAINS = 8


def of_domains(losses: dict[str, float]) -> str:
    """The losses of the domains, of many the highest and how many more there are."""
    shown = sorted(losses.items(), key=lambda each: -each[1])[:SHOWN_DOMAINS] if len(losses) > SHOWN_DOMAINS else losses.items()
    text = ", ".join(f"{name} {loss:.4f}" for name, loss in shown)
    more = len(losses) - len(shown)
    return f"{text}, and {more} more that are lower (`prunescale runs show` has all)" if more else text
