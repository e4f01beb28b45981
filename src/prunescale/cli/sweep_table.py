"""How the runs of a sweep are shown: a live table on a terminal, lines where there is none, a table at the end."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli.speedometer import in_clock
from prunescale.errors import PrunescaleError, legible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from prunescale.sweep import Entry, Study
    from prunescale.sweep.cost import Speed

Look = Callable[[Sequence["Entry"]], None]
HEADINGS = ("Run", "State", "Loss", "Tokens", "Done", "Tokens/s", "Left")
STAGES = ("done", "running", "waiting", "stopped", "failed")
STYLES = {"running": "bold", "failed": "red", "done": "green"}
LEAST_LABEL, GAP = 12, 3
"""Columns: for the name of a run, and between two columns of the table."""
A_SECOND = 2
"""How often the live table is drawn anew."""


@contextmanager
def shown_live(study: "Study", folder: Path, *, quiet: bool) -> Iterator[Look]:
    """Show the entries that are given, for as long as the sweep goes on."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if quiet:
        yield lambda entries: None
        return
    if not console.is_terminal:
        yield Lines(folder)
        return
    now: list[Sequence[Entry]] = [()]
    began = time.monotonic()

    def table() -> Any:
        return live_table(study, folder, now[0], console, time.monotonic() - began)

    # Drawn by a thread of its own: in the process that trains, nobody else has the time.
    with Live(get_renderable=table, console=console, refresh_per_second=A_SECOND, transient=True):
        yield lambda entries: now.__setitem__(0, entries)


class Lines:
    """A line for each run that begins, ends or fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: dict[str, tuple[str, int]] = {}
        self.is_stopping = False

    def __call__(self, entries: "Sequence[Entry]") -> None:
        n_done = sum(entry.stage == "done" for entry in entries)
        for entry in entries:
            at = (entry.stage, entry.failures)
            before = self.told.setdefault(entry.run.recipe.hash, ("done" if entry.known else "waiting", at[1]))
            if at != before:
                self.told[entry.run.recipe.hash] = at
                failed = entry.failures > before[1]
                told = entry.reason if failed else "" if entry.loss is None else f"loss {entry.loss:.4f}"
                word = "failed" if failed else entry.stage
                click.echo(
                    f"{word}: {legible(entry.run.label)}{', ' if told else ''}{told} ({n_done} of {len(entries)} done)", err=True
                )
        if not self.is_stopping and (self.folder / "stop").exists():
            self.is_stopping = True
            click.echo("Stopping at checkpoints; another interrupt ends at once.", err=True)


def live_table(study: "Study", folder: Path, entries: "Sequence[Entry]", console: "Console", seconds: float) -> "Table":
    """The runs that matter now, as many as the terminal has lines for, and what there is in all."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    n_rows = max(3, console.height - 5)
    chosen = set(map(id, sorted(entries, key=nearness)[:n_rows]))
    shown = [entry for entry in entries if id(entry) in chosen]
    rows = [[legible(cell) for cell in cells(entry)] for entry in shown]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    room = max(LEAST_LABEL, console.width - 1 - sum(widths[1:]) - GAP * (len(HEADINGS) - 1))
    title = f"{study.name}: {counted(entries)}, {in_clock(seconds)}"
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if index > 1 else "left", no_wrap=True)
    for entry, (label, *rest) in zip(shown, rows, strict=True):
        table.add_row(shortened(label, room), *rest, style=STYLES.get(entry.stage))
    if len(entries) > n_rows:
        table.add_row(f"and {len(entries) - n_rows} more")
    if (folder / "stop").exists():
        table.caption = "Stopping at checkpoints; Ctrl-C again ends at once."
    return table


def shortened(label: str, room: int) -> str:
    """Both ends are kept: what tells runs apart is often the last."""
    if len(label) <= room:
        return label
    n_tail = room // 2
    return f"{label[: room - n_tail - 1]}…{label[len(label) - n_tail :]}"


def nearness(entry: "Entry") -> int:
    """What is under way first, then what went wrong, what comes next, and what is over."""
    return ("running", "failed", "stopped", "waiting", "done").index(entry.stage)


def counted(entries: "Sequence[Entry]") -> str:
    """3 done, 1 running."""
    counts: Counter[str] = Counter(entry.stage for entry in entries)
    return ", ".join(f"{counts[stage]} {stage}" for stage in STAGES if counts[stage]) or "nothing yet"


def cells(entry: "Entry") -> list[str]:
    """What the columns of HEADINGS say of a run."""
    from prunescale.amounts import short

    told = progress_of(entry)
    loss, done, speed, left = told["loss"], told["n_tokens"], told["tokens_per_second"], told["seconds_left"]
    stage = told["stage"] if entry.stage == "running" and told["stage"] else entry.stage
    if entry.failures and entry.stage in ("running", "waiting"):
        stage = f"{stage} (failed {entry.failures}x)"
    return [
        entry.run.label,
        stage,
        "" if loss is None else f"{loss:.4f}",
        short(told["of_tokens"]),
        "" if done is None else f"{done / told['of_tokens']:.0%}",
        "" if speed is None else short(speed),
        "" if left is None else in_clock(left),
    ]


def progress_of(entry: "Entry") -> dict[str, Any]:
    """What is known of a run: its own word for what it is doing, the last loss, and how far and how fast it is."""
    from prunescale.sweep.job import status_of

    of_tokens = entry.run.recipe.train.tokens
    told: dict[str, Any] = {"stage": "", "of_tokens": of_tokens}
    if entry.stage == "done":
        return told | {"loss": entry.loss, "n_tokens": of_tokens, "tokens_per_second": None, "seconds_left": None}
    status = status_of(entry.folder)
    speed = status.tokens_per_second if entry.stage == "running" else None
    left = None if status.n_tokens is None else max(0, of_tokens - status.n_tokens)
    return told | {
        "stage": status.stage or "",
        "loss": status.loss,
        "n_tokens": status.n_tokens,
        "tokens_per_second": speed,
        "seconds_left": left / speed if speed and left is not None else None,
    }


def print_outcome(study: "Study", store: str, folder: Path, entries: "Sequence[Entry]") -> None:
    """A table of all runs; why some failed; and what there is to do."""
    from prunescale.cli.output import print_paragraph, print_table

    rows = [[*cells(entry)[:5], entry.run.recipe.hash] for entry in entries]
    print_table(study.name, (*HEADINGS[:5], "Recipe"), rows)
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        for reason in (*damages(entry), *([entry.reason] if entry.reason and entry.stage != "done" else [])):
            reasons.setdefault(reason, []).append(entry.run.label)
    for reason, labels in reasons.items():
        print_paragraph(f"{labels[0] if len(labels) == 1 else f'{len(labels)} runs'}: {reason}", first="- ", rest="  ")
    rest = (
        "" if all(entry.stage == "done" for entry in entries) else f" What is left goes on with the same command, from {folder}."
    )
    print_paragraph(f"{counted(entries)}. Runs are kept in {store}.{rest}")


def damages(entry: "Entry") -> list[str]:
    """Checkpoints that a run found damaged, and went on from the one before."""
    from prunescale.sweep.job import status_of

    return [note for note in status_of(entry.folder).notes if " is damaged " in note]


def answer(study: "Study", store: str, folder: Path, entries: "Sequence[Entry]") -> dict[str, Any]:
    """The same for programs."""
    return {
        "study": study.name,
        "store": store,
        "folder": str(folder),
        "counts": {stage: sum(entry.stage == stage for entry in entries) for stage in STAGES},
        "runs": [
            {
                "label": entry.run.label,
                "recipe_hash": entry.run.recipe.hash,
                "state": entry.stage,
                "was_known": entry.known,
                **{name: value for name, value in progress_of(entry).items() if name != "stage"},
                "failures": entry.failures,
                "reason": entry.reason or None,
                "damages": damages(entry),
                "model": str(entry.model) if entry.model.is_dir() else None,
            }
            for entry in entries
        ],
    }


def costs(entries: "Sequence[Entry]", speed: "Speed") -> list[dict[str, Any]]:
    """What each run costs; None where its model is not there yet, with the reason."""
    from prunescale.sweep.cost import cost_of, n_tokens_of

    found = []
    for entry in entries:
        flops = hours = reason = None
        try:
            cost = cost_of(entry.run.recipe)
            flops, hours = cost.flops, speed.seconds(cost) / 3600
        except PrunescaleError as error:
            reason = str(error)
        found.append(
            {
                "label": entry.run.label,
                "recipe_hash": entry.run.recipe.hash,
                "state": entry.stage,
                "n_tokens": n_tokens_of(entry.run.recipe),
                "flops": flops,
                "hours": hours,
                "reason": reason,
            }
        )
    return found


def costs_of_rows(found: Sequence[dict[str, Any]], n_slots: int, source: str) -> tuple[list[str], list[list[str]], str]:
    """Headings and rows of a table of costs, and a sentence on all that is left."""
    from prunescale.amounts import short

    rows = [
        [
            cost["label"],
            cost["recipe_hash"],
            cost["state"],
            short(cost["n_tokens"]),
            "-" if cost["flops"] is None else f"{cost['flops']:.2e}",
            "-" if cost["hours"] is None else in_hours(cost["hours"]),
        ]
        for cost in found
    ]
    left = [cost for cost in found if cost["state"] != "done"]
    priced = [cost for cost in left if cost["flops"] is not None]
    hours = sum(cost["hours"] for cost in priced)
    n_tokens, flops = sum(cost["n_tokens"] for cost in left), sum(cost["flops"] for cost in priced)
    sentence = f"{len(left)} of {len(found)} runs are left to do: {short(n_tokens)} tokens"
    if priced:
        of_which = "" if len(priced) == len(left) else f" ({len(priced)} of them)"
        side_by_side = f", or {in_hours(hours / n_slots)} h with {n_slots} at a time" if n_slots > 1 else ""
        sentence += f", {flops:.2e} FLOPs, {in_hours(hours)} h{side_by_side}{of_which}"
        sentence += f". Speed: {source}. Loss measurements are not counted"
    if len(priced) < len(left):
        reason = next(cost["reason"] for cost in left if cost["flops"] is None)
        sentence += f". What {'the others' if priced else 'they'} cost is not known yet: {reason.removesuffix('.')}"
    sentence += "."
    return ["Run", "Recipe", "State", "Tokens", "FLOPs", "h:mm:ss"], rows, sentence


def in_hours(hours: float) -> str:
    """1:02:03."""
    minutes, seconds = divmod(round(3600 * hours), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
