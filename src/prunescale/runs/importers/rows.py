"""What every reader makes of its file: rows under their own names, with what the format itself says about them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_ROWS = 1_000_000
"""More than any study of loss curves has, and few enough to be held in memory."""


class BadRow(Exception):
    """Why a row cannot be used. `reason` is one of a few, to count by; `detail` says it of this row."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Row:
    """Values as they stand in the file. `where`: "line 7", for messages. `fault`: what keeps all of the row from being used."""

    where: str
    values: Mapping[str, Any]
    fault: BadRow | None = None


@dataclass(frozen=True)
class Source:
    """Rows of someone else's file, read as they are asked for, and what its format says about them.

    columns: the names that some row has. A log has a row for each time that something was written down, and not all of it at
    once: a row without the loss is then no point, and a learning rate holds until the next. run: the columns that tell runs apart,
    empty where the format does not say; one_run: there is only one. name, step, tokens, learning_rate: the columns that hold the name
    of a run, the steps of its optimiser, the tokens it has seen and its learning rate, by the format's own definition. title: what to
    call a run without a name, where the name of the file says nothing.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Iterator[Row]
    is_log: bool = False
    run: tuple[str, ...] = ()
    one_run: bool = False
    name: str | None = None
    step: str | None = None
    tokens: str | None = None
    learning_rate: str | None = None
    title: str | None = None
    notes: tuple[str, ...] = ()


def is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def number(value: Any) -> float:
    """A cell as a number. Raises BadRow for one that is empty, no number, or not finite."""
    if is_empty(value):
        raise BadRow("empty", "is empty")
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):  # float() would take both
        raise BadRow("not a number", f"is {shown(value)}, which is not a number")
    try:
        found = float(value)
    except OverflowError:
        raise BadRow("not finite", f"is {shown(value)}, which is too large") from None
    except (TypeError, ValueError):
        raise BadRow("not a number", f"is {shown(value)}, which is not a number") from None
    if not math.isfinite(found):
        raise BadRow("not finite", f"is {shown(value)}, which is not a finite number")
    return found


def shown(value: Any) -> str:
    """A cell for a message: short, whatever is in it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]}..."
