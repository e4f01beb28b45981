"""prunescale inspect: which pruning hurts least before any training, as a table and a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options
from prunescale.cli.prune import free_memory
from prunescale.errors import DataError, ModelError

if TYPE_CHECKING:
    from prunescale.sweep.inspect import Inspection, Try

NONE = "none"
OF_A_KIND = {
    "depth": "methods that drop blocks",
    "width": "methods that make sizes smaller",
    "sparse": "methods that zero weights",
}


@click.command(short_help="Try every way of pruning a model, before any training.")
@click.argument("model")
@click.option("--method", "methods", multiple=True, help="Try only this method; may be repeated. [default: all there are]")
@click.option(
    "--rate",
    "rates",
    type=float,
    multiple=True,
    default=(0.1, 0.2, 0.3, 0.5),
    show_default=True,
    help="Share of the parameters outside embeddings and head to remove; may be repeated.",
)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    default=("2:4",),
    show_default=True,
    help="n:m pattern to try with the methods that zero single weights, or none; may be repeated.",
)
@click.option(
    "--calibration", default="embedded:post-training", show_default=True, help="Text or tokens with which to score what goes."
)
@click.option("--calibration-tokens", type=options.COUNT, default=16384, show_default=True, help="How many of them.")
@click.option(
    "--sequence-length", type=options.COUNT, help="Tokens a sequence. [default: 512, or what the model can take if less]"
)
@click.option("--held-out", default="embedded:held-out", show_default=True, help="Text or tokens on which to measure the loss.")
@click.option("--held-out-tokens", type=options.COUNT, default=16384, show_default=True, help="How many of them, at most.")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw losses and scores into this PNG file.")
@click.option(
    "--scores", type=click.Path(path_type=Path), help="Write all scores, those of each channel too, into this .npz file."
)
@options.device
@options.as_json
@options.needs("train", "torch", "transformers", "safetensors")
def inspect(
    model: str,
    methods: tuple[str, ...],
    rates: tuple[float, ...],
    patterns: tuple[str, ...],
    calibration: str,
    calibration_tokens: int,
    sequence_length: int | None,
    held_out: str,
    held_out_tokens: int,
    figure: Path | None,
    scores: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Prune MODEL by every method at every rate, and measure each result as it is: which hurts least before any training. Nothing is
    saved but what --figure and --scores ask for.

    MODEL is named as for prunescale prune. It is in memory twice, and a pair of method and rate takes about as long as it takes to
    read the two texts.
    """
    from prunescale.cli.output import print_json, stages
    from prunescale.models import load
    from prunescale.pruning import Calibration
    from prunescale.sweep import refuse_long_sequences
    from prunescale.sweep.inspect import inspect as inspect_checkpoint
    from prunescale.sweep.inspect import save_inspection, shared_text
    from prunescale.training import read_tokens

    if figure:
        refuse_without_matplotlib()
    for path in (figure, scores):
        refuse_unwritable(path)
    place = options.chosen_device(device)
    refuse_too_large(model, place)
    with options.enough_memory("give shorter sequences with --sequence-length"), stages(as_json) as stage:
        stage("Loading the model")
        base = load(model, device=place)
        length = sequence_length or min(512, base.model.config.max_position_embeddings)
        refuse_long_sequences(base, length)
        stage("Reading the text")
        vocab_size = base.model.config.vocab_size
        scored_on = read_tokens(calibration, base.tokenizer, vocab_size)
        measured_on = read_tokens(held_out, base.tokenizer, vocab_size)
        found = inspect_checkpoint(
            base,
            methods=methods,
            rates=rates,
            patterns=() if NONE in patterns else patterns,
            calibration=Calibration(scored_on.ids[:calibration_tokens], length, start=scored_on.start),
            held_out=measured_on,
            held_out_tokens=held_out_tokens,
            device=place,
            progress=lambda words: stage(words[:1].upper() + words[1:]),
        )
        share = shared_text(scored_on.ids[:calibration_tokens], measured_on.ids[: found.held_out_tokens])
        if figure:
            stage("Drawing")
            from prunescale.report import save_png
            from prunescale.report.inspection import inspection_figure

            written(figure, lambda path: save_png(inspection_figure(found), path))
        if scores:
            written(scores, lambda path: save_inspection(found, path))
    texts = {"calibration": calibration, "held_out": held_out}
    files = {name: str(path) for name, path in (("figure", figure), ("scores", scores)) if path}
    if as_json:
        print_json({**content(found), **texts, "held_out_in_calibration": share, "files": files})
    else:
        show(found, share, texts, files)


@options.needs("report", "matplotlib")
def refuse_without_matplotlib() -> None:
    """Nothing where it is installed."""


def refuse_too_large(model: str, place: Any) -> None:
    """Raise ModelError, before anything is loaded, for a folder whose model is not in memory twice: as it is, and pruned."""
    from prunescale.models import weights_to_load

    n_bytes, free = weights_to_load(model), free_memory(place)
    if n_bytes is not None and free is not None and 2 * n_bytes > free:
        raise ModelError(
            f"{model} and a pruned copy of it need {2 * n_bytes / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free on {place}: use a "
            "larger machine, or try single methods with prunescale prune --stream on --held-out, which takes a block at a time."
        )


def refuse_unwritable(path: Path | None) -> None:
    """Raise DataError for a file that cannot be written in the end: now, and not after minutes of work."""
    if path and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise DataError(f"{path} cannot be written: name a file in a folder that is there.")


def written(path: Path, write: Any) -> None:
    try:
        write(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}): name a file in a folder that is there.") from error


def content(found: "Inspection") -> dict[str, Any]:
    """All of it in plain types, for JSON, but for the scores of single channels."""
    from dataclasses import asdict

    plain = asdict(found)
    del plain["window_losses"], plain["importance"]
    questions: list[float | str] = [*found.rates, *found.patterns]
    return {
        **plain,
        "best": [
            {"at": question, "kind": kind, "methods": [each.method for each in found.best(found.at(question, kind))]}
            for question in questions
            for kind in (None, *found.kinds)
        ],
        "importance": {
            name: scores.tolist() for name, scores in found.importance.items() if name.startswith(("blocks.", "heads."))
        },
    }


def show(found: "Inspection", share: float, texts: dict[str, str], files: dict[str, str]) -> None:
    """The losses as a table, what hurts least in words, and what to know of it."""
    from prunescale.cli.output import print_facts, print_paragraph, print_table

    questions: list[float | str] = [*found.rates, *found.patterns]
    print_table(
        f"Loss right after pruning, nats per token; {found.dense_loss:.4f} before",
        ["method", *(f"{question:g}" if isinstance(question, float) else question for question in questions)],
        rows(found, questions),
    )
    for paragraphs in filter(None, (remarks(found), verdict(found, questions))):
        click.echo()
        for paragraph in paragraphs:
            print_paragraph(paragraph)
    click.echo()
    length = f"in sequences of {found.sequence_length}"
    print_facts(
        {
            "Model": f"{found.model}, {found.n_layers} blocks, {found.n_params:,} parameters outside embeddings and head",
            "Scored on": f"{texts['calibration']}, {found.calibration_tokens:,} tokens {length}",
            "Measured on": f"{texts['held_out']}, {found.held_out_tokens:,} tokens {length}",
            **{name.capitalize(): path for name, path in files.items()},
        }
    )
    if share > 0.01:
        print_paragraph(
            f"{100 * share:.0f} % of the held-out text stands in the calibration text, so that methods which look at the latter seem "
            "better than they are: give another text with --held-out."
        )


def rows(found: "Inspection", questions: Sequence[float | str]) -> list[list[str]]:
    """A row for each method, a column for each rate or pattern."""
    methods = dict.fromkeys(each.method for each in found.tries)
    best = {question: found.best(found.at(question)) if len(methods) > 1 else [] for question in questions}
    return [
        [
            method,
            *(
                next((cell(each, each in best[question]) for each in found.at(question) if each.method == method), "")
                for question in questions
            ),
        ]
        for method in methods
    ]


def cell(each: "Try", is_best: bool) -> str:
    if each.loss is None:
        return "-"
    return f"{'*' if is_best else ''}{'~' if is_off(each) else ''}{each.loss:.4f}"


def is_off(each: "Try") -> bool:
    """Whether another rate was the nearest that could be had."""
    from prunescale.sweep.inspect import SHORT_OF

    return each.rate is not None and each.rate_wanted is not None and abs(each.rate - each.rate_wanted) > SHORT_OF


def remarks(found: "Inspection") -> list[str]:
    """What the marks mean."""
    from prunescale.sweep.inspect import LEAST_WINDOWS

    n_windows = found.window_losses.shape[1]
    names = list(dict.fromkeys(each.method for each in found.tries))
    if n_windows >= LEAST_WINDOWS:
        star = f"and what {n_windows} sequences of held-out text do not tell from it (two standard errors)"
    else:
        star = f"which {n_windows} sequences of held-out text are too few to be sure of"
    told = [f"* the lowest in its column, {star}."] if len(names) > 1 else []
    off: dict[str, list[str]] = {}
    reasons: dict[str, list[str]] = {}
    for method in names:
        own = [each for each in found.tries if each.method == method]
        if moved := ", ".join(f"{each.rate:.3f} for {each.rate_wanted:g}" for each in own if is_off(each)):
            off.setdefault(moved, []).append(method)
        for each in own:
            if each.reason:
                reasons.setdefault(each.reason, []).append(
                    f"{each.name} at {each.rate_wanted:g}" if each.rate_wanted else each.name
                )
    told += [f"~ {joined(methods)}: the nearest rate is {moved}." for moved, methods in off.items()]
    told += [f"- {joined(tries)}: {reason}" for reason, tries in reasons.items()]
    own_rates = {each.pattern: each.rate for each in found.tries if each.pattern and each.rate}
    return told + [f"{pattern} is a rate of {rate:.3f}." for pattern, rate in own_rates.items()]


def verdict(found: "Inspection", questions: Sequence[float | str]) -> list[str]:
    """Which hurts least: of all, and of each kind where there are several of one. Nothing for one method alone."""
    if len({each.method for each in found.tries}) == 1:
        return []
    first = f"Of what was tried, {least(found, questions, None)}, before any training; methods can change places after training."
    several = [kind for kind in found.kinds if len({each.method for each in found.tries if each.kind == kind}) > 1]
    told = [first]
    if len(found.kinds) > 1:
        told += [f"Of the {OF_A_KIND[kind]}, {least(found, questions, kind)}." for kind in several]
        if "sparse" in found.kinds:
            told.append(
                "Single weights that are zero make a model neither smaller nor faster by themselves, and 2:4 makes it faster on GPUs "
                "that compute with it; blocks and sizes that are gone do both everywhere."
            )
    return told


def least(found: "Inspection", questions: Sequence[float | str], kind: str | None) -> str:
    """Such as "wanda hurts least at 0.1 and 0.2, sparsegpt at 0.5 and 2:4"."""
    at: dict[tuple[str, ...], list[str]] = {}
    for question in questions:
        names = tuple(each.method for each in found.best(found.at(question, kind)))
        if names:
            at.setdefault(names, []).append(f"{question:g}" if isinstance(question, float) else question)
    parts: list[str] = []
    for names, places in at.items():
        hurts = (" hurt least" if len(names) > 1 else " hurts least") if not parts else ""
        parts.append(f"{joined(names)}{hurts} at {joined(places)}")
    return "; ".join(parts) if parts else "nothing could be done"


def joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
