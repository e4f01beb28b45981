"""Exports of wandb, all of them tables: a run's history (`run.history()`, `scan_history`) and the CSV of a panel of its web page.

A history has `_step` and whatever was logged. A panel has its axis first, such as `Step`, and for each run a column
`<run> - <metric>`, with the least and the greatest of the measurements that were averaged beside it (`__MIN`, `__MAX`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prunescale.errors import StoreError
from prunescale.runs.importers.rows import Row, Source, is_empty
from prunescale.runs.importers.table import read_table

RUN = "run"
BETWEEN = " - "
EXTREMES = ("__MIN", "__MAX")


def read_wandb(path: Path) -> Source:
    table = read_table(path)
    if is_panel(table.columns):
        return _panel(table)
    if is_history(table.columns):
        return as_log(table)
    raise StoreError(
        f"{path} is no export of wandb: a history has a column _step, and a panel's has columns like 'RUN{BETWEEN}METRIC__MIN'. "
        "For another table there is --from table."
    )


def is_history(columns: Sequence[str]) -> bool:
    return "_step" in columns


def is_panel(columns: Sequence[str]) -> bool:
    return any(BETWEEN in column and column.endswith(EXTREMES) for column in columns[1:])


def as_log(table: Source) -> Source:
    """A table as a log of one run, with what the Trainer of Hugging Face calls things where they are called so."""
    return replace(
        table,
        is_log=True,
        one_run=True,
        step=_first(table.columns, "train/global_step", "_step"),
        tokens=_first(table.columns, "num_input_tokens_seen", "train/num_input_tokens_seen"),
        learning_rate=_first(table.columns, "learning_rate", "train/learning_rate"),
    )


def _first(columns: Sequence[str], *names: str) -> str | None:
    return next((name for name in names if name in columns), None)


@dataclass(frozen=True)
class _Measured:
    """A column of a panel."""

    column: str
    run: str
    metric: str


def _measured(column: str) -> _Measured | None:
    run, between, metric = column.rpartition(BETWEEN)
    if not between or metric.endswith(EXTREMES) or metric.startswith("_"):
        return None
    return _Measured(column, run, metric)


def _panel(table: Source) -> Source:
    """Its columns as rows: one for each line and run, with the axis and what was measured."""
    axis = table.columns[0]
    measured = [found for column in table.columns[1:] if (found := _measured(column))]
    metrics = dict.fromkeys(each.metric for each in measured)
    return Source(
        path=table.path,
        columns=(axis, RUN, *metrics),
        rows=_panel_rows(table.rows, axis, measured),
        is_log=True,
        run=(RUN,),
        name=RUN,
        step=axis if axis in ("Step", "_step", "train/global_step") else None,
        notes=_averaged(table.path, measured),
    )


def _panel_rows(rows: Iterator[Row], axis: str, measured: Sequence[_Measured]) -> Iterator[Row]:
    for row in rows:
        if row.fault:
            yield row
            continue
        by_run: dict[str, dict[str, Any]] = {}
        for each in measured:
            if not is_empty(row.values.get(each.column)):
                by_run.setdefault(each.run, {})[each.metric] = row.values[each.column]
        for run, values in by_run.items():
            yield Row(row.where, {axis: row.values.get(axis), RUN: run, **values})


def _averaged(path: Path, measured: Sequence[_Measured]) -> tuple[str, ...]:
    """What there is to know of a panel that shows means instead of measurements."""
    n_averaged = sum(_is_averaged(row.values, measured) for row in read_table(path).rows)
    if not n_averaged:
        return ()
    return (
        f"Lines of {path.name} that hold means of several measurements (their __MIN and __MAX differ): {n_averaged}; "
        "the history of a run (run.scan_history) has each.",
    )


def _is_averaged(values: Any, measured: Sequence[_Measured]) -> bool:
    ends = [[values.get(each.column + end) for end in EXTREMES] for each in measured]
    return any(not is_empty(low) and not is_empty(high) and low != high for low, high in ends)
