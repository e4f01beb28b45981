"""Options and kinds of values that several commands share."""

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from prunescale.cli.allocator import keep_freed_memory
from prunescale.errors import TrainingError

OBJECTIVES, WEIGHTINGS = ("squared", "squared-log", "huber-log"), ("runs", "points", "excess")

UNITS = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output and nothing else.")
device = click.option(
    "--device", default="auto", show_default=True, help="Where to compute: cpu, cuda, cuda:1, or auto for a GPU if any."
)


law = click.option(
    "--law",
    help="A law by its name (prunescale laws lists them), or your own as FILE.py:FUNCTION. "
    "[default: tokens-per-parameter, with --weighting excess if nothing else is said, where all pruned runs have a control, "
    "and p2 where not]",
)


class Count(click.ParamType):
    """A whole number, with a unit if wanted: 65536, 64k, 20M, 1.5B."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        digits = value.lower().replace(",", "").replace("_", "")
        unit = digits[-1] if digits and digits[-1] in UNITS else ""
        try:
            number = float(digits.removesuffix(unit)) * UNITS[unit]
        except ValueError:
            self.fail(f"{value!r} is no number; write it like 65536, 64k, 20M or 1.5B.", param, ctx)
        if not 0 < number < float("inf") or number != round(number):
            self.fail(f"{value!r} is not a whole number above zero.", param, ctx)
        return round(number)


class Counts(click.ParamType):
    """Whole numbers with commas between: 7.5M,15M,30M."""

    name = "counts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(Count().convert(part.strip(), param, ctx) for part in value.split(","))


class Setting(click.ParamType):
    """A constant and its value: E=0."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        name, _, number = value.partition("=")
        try:
            return name.strip(), float(number)
        except ValueError:
            self.fail(f"{value!r} is no constant with a value; write it like E=0.", param, ctx)


class Minutes(click.FloatRange):
    """A number in a range, of which `nan` is none, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


COUNT, COUNTS, SETTING = Count(), Counts(), Setting()


def machine(command: Any) -> Any:
    """Options on how a training uses its machine, which don't change what comes out."""
    for option in reversed(
        (
            click.option("--checkpoint-minutes", type=Minutes(min=0), default=10, show_default=True, help="Between checkpoints."),
            click.option("--part-tokens", type=COUNT, help="Tokens computed at once, for memory. [default: all of a step]"),
            click.option(
                "--recompute", is_flag=True, help="Compute blocks again in the backward pass: less memory, a third more time."
            ),
        )
    ):
        command = option(command)
    return command


def points(command: Any) -> Any:
    """Options that say which points of the runs a fit uses, and what it makes small."""
    for option in reversed(
        (
            click.option("--base", multiple=True, help="Use only the runs of this base model; may be repeated."),
            click.option(
                "--method",
                "methods",
                multiple=True,
                help="Use only the runs pruned by this method; may be repeated. [default: all]",
            ),
            click.option("--min-tokens", type=COUNT, help="Leave out points before this many tokens, such as a warm-up's."),
            click.option(
                "--phases", default="constant", show_default=True, help="Learning-rate phases to use, comma-separated, or all."
            ),
            click.option(
                "--objective",
                type=click.Choice(OBJECTIVES),
                default="squared",
                show_default=True,
                help="Squared differences of the loss, of its logarithm, or Huber's function (delta 1e-3) of the latter.",
            ),
            click.option(
                "--weighting",
                type=click.Choice(WEIGHTINGS),
                help="What has equal weight: runs, points, or runs whose points count by their error as a share of the excess. "
                "[default: runs]",
            ),
        )
    ):
        command = option(command)
    return command


def warn(text: str) -> None:
    """A line to standard error."""
    click.echo(f"Warning: {text}", err=True)


def chosen_device(name: str) -> Any:
    """The torch device of a --device option. Where it is the CPU, the process is set for training on it."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"There is no device {name!r}: use cpu, cuda or cuda:1, say.") from error
    n_devices = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(found.type, 0)
    if (found.index or 0) >= n_devices:
        raise TrainingError(f"The device {name!r} is not to be had on this machine: use cpu, or auto.")
    if found.type == "cpu":
        keep_freed_memory()
    return found


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """A GPU that runs out of memory inside is told of in one line, with what to do."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(f"The GPU has too little memory free for this: {advice}, or use --device cpu.") from error


def needs(extra: str, *modules: str) -> Callable[[Any], Any]:
    """Refuse a command in one line where the packages of an optional extra are not installed."""

    def decorate(command: Any) -> Any:
        @functools.wraps(command)
        def checked(*arguments: Any, **options: Any) -> Any:
            missing = [module for module in modules if importlib.util.find_spec(module) is None]
            if missing:
                raise click.ClickException(f"This command needs {', '.join(missing)}: pip install 'prunescale[{extra}]'.")
            return command(*arguments, **options)

        return checked

    return decorate
