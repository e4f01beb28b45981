"""A run as rows of a store's tables, and back: one of `runs`, one of `points` for each measurement, and the packed copy of its curve."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from prunescale.runs.record import Point, Run

RUN_COLUMNS = tuple(field.name for field in fields(Run) if field.name != "points")
POINT_COLUMNS = tuple(field.name for field in fields(Point))
JSON_COLUMNS = ("recipe", "versions", "inputs", "n_params_left")
EMPTY = {"{}": dict, "[]": list}
"""JSON that holds nothing, which is made without a parser."""

LAST_POINT = "FROM points WHERE run_id = runs.id ORDER BY position DESC LIMIT 1"
SUMMARY = {
    **{
        name: name
        for name in ("id", "created", "kind", "name", "base", "pruning_method", "pruning_rate", "n_params_before", "loss_before")
    },
    "first_loss": "(SELECT loss FROM points WHERE run_id = runs.id AND position = 0)",
    "loss": f"(SELECT loss {LAST_POINT})",
    "n_tokens": f"(SELECT n_tokens {LAST_POINT})",
    "recipe_hash": "recipe_hash",
}
"""What a listing says of a run, and the SQL for it."""

Row = Sequence[Any]


def insert_run(connection: sqlite3.Connection, run: Run) -> None:
    """Put a run, which is not there yet, into the tables."""
    from prunescale.runs.packed import numbers_of, packed  # numpy takes longer than a command that only lists runs

    insert(connection, "runs", [run_row(run)])
    insert(connection, "points", [point_row(run.id, position, point) for position, point in enumerate(run.points)])
    insert(connection, "packed_curves", [{"run_id": run.id, "curve": packed(numbers_of(run.points))}])


def insert(connection: sqlite3.Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put rows, at least one, into a table: their values by the names of the columns, which are the same in all."""
    columns = rows[0].keys()
    connection.executemany(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        (tuple(row.values()) for row in rows),
    )


def select_runs(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> tuple[list[Row], list[Row]]:
    """The rows of the runs that meet a condition, oldest first, and those of their points, for `runs_of`."""
    of_runs = f"SELECT {', '.join(RUN_COLUMNS)} FROM runs WHERE {condition} ORDER BY created, id"
    of_points = (
        f"SELECT run_id, {', '.join(POINT_COLUMNS)} FROM points "
        f"WHERE run_id IN (SELECT id FROM runs WHERE {condition}) ORDER BY run_id, position"
    )
    return connection.execute(of_runs, values).fetchall(), connection.execute(of_points, values).fetchall()


def select_without_points(connection: sqlite3.Connection, bases: Collection[str]) -> Iterable[Row]:
    """The rows of the runs, of these base models if some are named, in the order of their ids, for `run_of`: without recipe and
    versions."""
    read = ("'{}'" if column in ("recipe", "versions") else column for column in RUN_COLUMNS)
    return connection.execute(f"SELECT {', '.join(read)} FROM runs WHERE {of_bases(bases)} ORDER BY id", tuple(bases))


def select_curves(connection: sqlite3.Connection, bases: Collection[str]) -> list[tuple[str, bytes | None, int]]:
    """Of each of these runs its id, the packed copy of its curve, None where it was dropped, and how many points it has."""
    return connection.execute(
        f"SELECT id, curve, (SELECT count(*) FROM points WHERE run_id = id) "
        f"FROM runs LEFT JOIN packed_curves ON run_id = id WHERE {of_bases(bases)} ORDER BY id",
        tuple(bases),
    ).fetchall()


def of_bases(bases: Collection[str]) -> str:
    """The condition that a run is of one of these base models; if there are none, that it is any run."""
    return f"base IN ({', '.join('?' * len(bases))})" if bases else "TRUE"


def select_summaries(connection: sqlite3.Connection, limit: int | None) -> list[dict[str, Any]]:
    """The summaries of all runs, or the newest so many of them, oldest first."""
    rows = connection.execute(
        f"SELECT {', '.join(SUMMARY.values())} FROM runs ORDER BY created DESC, id DESC LIMIT ?",
        [-1 if limit is None else limit],
    ).fetchall()
    return [dict(zip(SUMMARY, row, strict=True)) for row in reversed(rows)]


def runs_of(run_rows: Iterable[Row], point_rows: Iterable[Row]) -> tuple[Run, ...]:
    """The runs in some rows, in their order. Raises TypeError, ValueError or RecursionError for what no
    store puts there."""
    points = defaultdict[str, list[Point]](list)
    for run_id, *point in point_rows:
        points[run_id].append(point_of(point))
    return tuple(run_of(row, tuple(points[row[0]])) for row in run_rows)


def run_row(run: Run) -> dict[str, Any]:
    """The values of a run by the names of its columns."""
    row = {column: getattr(run, column) for column in RUN_COLUMNS}
    return row | {column: json.dumps(row[column], allow_nan=False) for column in JSON_COLUMNS}


def run_of(row: Row, points: tuple[Point, ...]) -> Run:
    """The run in a row, whose values are in the order of RUN_COLUMNS, with these points."""
    values = dict(zip(RUN_COLUMNS, row, strict=True))
    values |= {column: EMPTY[text]() if (text := values[column]) in EMPTY else json.loads(text) for column in JSON_COLUMNS}
    if not all(isinstance(values[column], dict) for column in ("recipe", "versions", "inputs")):
        raise TypeError(f"run {values['id']!r} has a recipe, versions or inputs that are no object")
    return Run(**values | {"n_params_left": tuple((begin, left) for begin, left in values["n_params_left"])}, points=points)


def point_row(run_id: str, position: int, point: Point) -> dict[str, Any]:
    """The values of a run's point by the names of its columns; position counts the points from 0."""
    row = {column: getattr(point, column) for column in POINT_COLUMNS}
    domains = json.dumps(point.domains, allow_nan=False) if point.domains else "{}"
    return {"run_id": run_id, "position": position} | row | {"domains": domains}


def point_of(row: Row) -> Point:
    """The point in a row, whose values are in the order of POINT_COLUMNS."""
    n_tokens, loss, learning_rate, phase, seconds, domains = row
    if type(n_tokens) is not int or type(loss) is not float:  # SQLite takes text in a column of numbers
        raise TypeError(f"a measurement of {loss!r} at {n_tokens!r} tokens")
    return Point(n_tokens, loss, learning_rate, phase, seconds, {} if domains == "{}" else json.loads(domains))
