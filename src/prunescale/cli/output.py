"""How commands show things: tables for people, one JSON object for programs, progress on standard error."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from prunescale.errors import legible

if TYPE_CHECKING:
    from prunescale.fitting import Check
    from prunescale.runs import Point
    from prunescale.sweep import Progress


def print_json(content: Any) -> None:
    """One object, strict JSON: what is not a number becomes null."""
    click.echo(json.dumps(finite(content), indent=1, allow_nan=False))


def finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return content


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with the first column to the left and the others to the right, under its title if it has one.

    On a narrow terminal the first column is folded; in a file or a pipe a table is as wide as it needs."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, heading in enumerate(headings):
        if index == 0:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(legible, row))
    if title:
        click.secho(title, bold=True)
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 10_000).print(table)


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values, a line each, values under one another and folded where a line is full."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print_paragraph(value, first=f"{name:<{width}}  ", rest=" " * (width + 2))


def print_paragraph(text: str, *, first: str = "", rest: str = "") -> None:
    """A text folded to the terminal's width and to 100 at most, its lines begun as `first` and `rest` say."""
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size((100, 20)).columns, 100)
    folded = textwrap.fill(
        legible(text), width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    click.echo(folded or first.rstrip())


def print_checks(checks: "Iterable[Check]") -> None:
    """What to read a result with, a paragraph each, with its code."""
    for check in checks:
        print_paragraph(f"[{check.code}] {check.text}", first="- ", rest="  ")


def span(ends: Sequence[float] | None) -> str:
    from prunescale.amounts import short

    if not ends:
        return "unknown"
    return f"{short(ends[0])} to {short(ends[1])}" if math.isfinite(ends[1]) else f"{short(ends[0])} or more"


@contextmanager
def training_progress(title: str, n_tokens: int, quiet: bool, peak: "Callable[[], float] | None" = None) -> "Iterator[Progress]":
    """A line on standard error while a recipe runs, with a bar, the losses, the speed and the time left; a line a measurement where that
    is no terminal. peak: measures how many operations a second the device can do; it is asked when a training begins, and only where
    somebody looks."""
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    from prunescale import sweep
    from prunescale.cli.speedometer import Speedometer, line

    console = Console(stderr=True)
    speed = Speedometer(n_tokens)
    in_lines = not (quiet or console.is_terminal)

    class Line(ProgressColumn):
        def render(self, task: Task) -> Text:
            width, bar = console.width - 1, "=." if console.options.ascii_only else "━·"
            return Text(line(width, task.description, min(1.0, speed.n_tokens / n_tokens), speed.figures, bar), no_wrap=True)

    with Progress(Line(), console=console, transient=True, disable=quiet or in_lines) as shown:
        task = shown.add_task(title, total=n_tokens)

        def begun(done: int, flops_per_token: float) -> None:
            speed.begin(done, flops_per_token, peak() if peak and not shown.disable else None)

        def measured(point: "Point") -> None:
            speed.measured(point.loss)
            if in_lines:
                annealed = ", annealed" if point.phase == "annealed" else ""
                click.echo(f"{title}: {point.n_tokens:,} of {n_tokens:,} tokens, loss {point.loss:.4f}{annealed}", err=True)

        yield sweep.Progress(
            note=lambda sentence: None if quiet else console.print(f"{title}: {sentence}", markup=False, highlight=False),
            stage=lambda words: shown.update(task, description=f"{title}: {words}"),
            begin=begun,
            step=speed.step,
            train_loss=speed.trained,
            point=measured,
        )


@contextmanager
def stages(quiet: bool) -> "Iterator[Callable[[str], None]]":
    """A line on standard error that says what is being done; nothing where that is no terminal."""
    from rich.console import Console

    console = Console(stderr=True, quiet=quiet)
    with console.status("") as status:
        yield status.update


def write_out(content: bytes) -> None:
    """All of it to standard output, which takes less at a time where it is not buffered."""
    sys.stdout.flush()
    stream, written = sys.stdout.buffer, 0
    while written < len(content):
        written += stream.write(content[written:])
    stream.flush()
