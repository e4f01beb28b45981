"""Runs in one SQLite file.

The journal is SQLite's default, a rollback journal, and not the write-ahead log: a store is then one file that can be copied,
mailed and read from a read-only folder or over a network, where the log needs two side files and shared memory. What the log
would buy, reading while someone writes, is worth little here: a run takes milliseconds to write, and whoever meets the
lock waits for it.
"""

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prunescale.errors import StoreError
from prunescale.runs.check import check
from prunescale.runs.migrations import APPLICATION_ID, MIGRATIONS, migrate, version
from prunescale.runs.record import Point, Run

RUN_COLUMNS = tuple(field.name for field in fields(Run) if field.name != "points")
POINT_COLUMNS = tuple(field.name for field in fields(Point))
JSON_COLUMNS = ("recipe", "versions", "inputs", "n_params_left")
BUSY_SECONDS = 30  # how long to wait for another process to finish writing


class Store:
    """The runs kept in one file. `with Store.open(path) as store:`, or `Store.create` where there may be none yet."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The store at path, which must be there. One of an older version is brought up to date."""
        if not Path(path).exists():
            raise StoreError(f"No runs at {path}: give the path of a store, or make one by training.")
        return cls._connect(Path(path), "rw")

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """The store at path, made where there is none. Its folder must be there."""
        if not Path(path).absolute().parent.is_dir():
            raise StoreError(f"No store can be made at {path}: there is no folder {Path(path).absolute().parent}; make it first.")
        return cls._connect(Path(path), "rwc")

    @classmethod
    def _connect(cls, path: Path, mode: str) -> Self:
        with _errors_told(path):
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
            )
        store = cls(path, connection)
        try:
            store._prepare()
        except BaseException:
            store.close()
            raise
        return store

    def _prepare(self) -> None:
        with _errors_told(self.path):
            self._connection.execute("PRAGMA foreign_keys = ON")
        with self._transaction("DEFERRED"):  # all three from the same moment: another process may be making the store
            (application_id,) = self._connection.execute("PRAGMA application_id").fetchone()
            (n_tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            n_migrations = version(self._connection)
        if n_tables and application_id != APPLICATION_ID:
            raise StoreError(f"{self.path} is a database of another program: give the path of a store of runs.")
        if n_migrations > len(MIGRATIONS):
            raise StoreError(
                f"{self.path} is a store of version {n_migrations}, and this prunescale reads up to {len(MIGRATIONS)}: "
                "install a newer prunescale."
            )
        if n_migrations < len(MIGRATIONS):
            with self._transaction():
                migrate(self._connection)
            with _errors_told(self.path):
                self._connection.execute("VACUUM")  # a table that was made anew leaves the pages of the old one behind

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, *runs: Run) -> None:
        """Keep these runs, all of them or, after an error or an interruption, none."""
        for run in runs:
            check(run)
        with self._transaction():
            for run in runs:
                if self._ids(run.id, exact=True):
                    raise StoreError(f"Run {run.id!r} is already in {self.path}: nothing was added; remove it there first.")
                self._insert("runs", [_run_row(run)])
                self._insert("points", [_point_row(run.id, position, point) for position, point in enumerate(run.points)])

    def get(self, id_or_prefix: str) -> Run:
        """The run with this id, or the only one whose id begins so."""
        return self._select("id = ?", [self._resolve(id_or_prefix)])[0]

    def list(
        self,
        kind: str | None = None,
        base: str | None = None,
        recipe_hash: str | None = None,
        name: str | None = None,
    ) -> tuple[Run, ...]:
        """The runs that match every filter given, oldest first."""
        wanted = {"kind": kind, "base": base, "recipe_hash": recipe_hash, "name": name}
        wanted = {column: value for column, value in wanted.items() if value is not None}
        return self._select(" AND ".join(f"{column} = ?" for column in wanted) or "TRUE", tuple(wanted.values()))

    def find(self, recipe_hash: str) -> Run | None:
        """The newest run of this recipe, or None if it has not been run."""
        found = self.list(recipe_hash=recipe_hash)
        return found[-1] if found else None

    def remove(self, id_or_prefix: str) -> None:
        """Forget a run and its points."""
        with self._transaction():
            self._connection.execute("DELETE FROM runs WHERE id = ?", [self._resolve(id_or_prefix)])

    def _resolve(self, id_or_prefix: str) -> str:
        ids = self._ids(id_or_prefix, exact=True) or self._ids(id_or_prefix, exact=False)
        if not id_or_prefix or not ids:
            raise StoreError(f"No run {id_or_prefix!r} in {self.path}: `prunescale runs list` shows the runs there.")
        if len(ids) > 1:
            raise StoreError(f"{len(ids)} runs begin with {id_or_prefix!r} ({', '.join(ids[:3])}, ...): give more of the id.")
        return ids[0]

    def _ids(self, text: str, *, exact: bool) -> tuple[str, ...]:
        # Not LIKE: its wildcards may stand in an id, and it ignores case.
        condition = "id = ?1" if exact else "substr(id, 1, length(?1)) = ?1"
        with _errors_told(self.path):
            rows = self._connection.execute(f"SELECT id FROM runs WHERE {condition} ORDER BY id", [text]).fetchall()
        return tuple(id for (id,) in rows)

    def _select(self, condition: str, values: Any) -> tuple[Run, ...]:
        select_points = (
            f"SELECT run_id, {', '.join(POINT_COLUMNS)} FROM points "
            f"WHERE run_id IN (SELECT id FROM runs WHERE {condition}) ORDER BY run_id, position"
        )
        select_runs = f"SELECT {', '.join(RUN_COLUMNS)} FROM runs WHERE {condition} ORDER BY created, id"
        with self._transaction("DEFERRED"):  # both from the same moment, whoever writes between them
            run_rows = self._connection.execute(select_runs, values).fetchall()
            point_rows = self._connection.execute(select_points, values).fetchall()
        points = defaultdict[str, list[Point]](list)
        for run_id, *point in point_rows:
            points[run_id].append(_point(point))
        return tuple(_run(row, tuple(points[row[0]])) for row in run_rows)

    def _insert(self, table: str, rows: Any) -> None:
        columns = rows[0].keys()
        self._connection.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            (tuple(row.values()) for row in rows),
        )

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        """All that happens inside, or nothing. IMMEDIATE takes the writer's lock at once, while waiting for it is still safe."""
        with _errors_told(self.path):
            self._connection.execute(f"BEGIN {kind}")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def refuse_unwritable(path: str | Path) -> None:
    """Raise StoreError where no run could be kept, which is better known before a training than after it; nothing is made."""
    place = Path(path)
    if place.exists():
        Store.open(place).close()
    elif not place.absolute().parent.is_dir():
        raise StoreError(f"No store can be made at {path}: there is no folder {place.absolute().parent}; make it first.")
    if not os.access(place if place.exists() else place.absolute().parent, os.W_OK):
        raise StoreError(f"No run can be kept at {path}: it cannot be written there; name another store.")


def _run_row(run: Run) -> dict[str, Any]:
    row = {column: getattr(run, column) for column in RUN_COLUMNS}
    return row | {column: json.dumps(row[column], allow_nan=False) for column in JSON_COLUMNS}


def _point_row(run_id: str, position: int, point: Point) -> dict[str, Any]:
    row = {column: getattr(point, column) for column in POINT_COLUMNS}
    return {"run_id": run_id, "position": position} | row | {"domains": json.dumps(point.domains, allow_nan=False)}


def _point(row: Any) -> Point:
    values = dict(zip(POINT_COLUMNS, row, strict=True))
    return Point(**values | {"domains": json.loads(values["domains"])})


def _run(row: Any, points: tuple[Point, ...]) -> Run:
    values = dict(zip(RUN_COLUMNS, row, strict=True))
    values |= {column: json.loads(values[column]) for column in JSON_COLUMNS}
    return Run(**values | {"n_params_left": tuple((begin, left) for begin, left in values["n_params_left"])}, points=points)


@contextmanager
def _errors_told(path: Path) -> Iterator[None]:
    """SQLite's errors as ours, one line each."""
    try:
        yield
    except UnicodeDecodeError as error:  # from inside SQLite's own message
        raise StoreError(f"{path} is no store of runs, or a damaged one ({error.reason}): give the path of a store.") from error
    except sqlite3.Error as error:
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the low byte is the kind, the rest a detail
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                reason = f"{path} is no store of runs, or a damaged one ({error}): give the path of a store."
            case sqlite3.SQLITE_READONLY:
                reason = f"{path} cannot be written ({error}): make the file and its folder writable, or copy it elsewhere."
            case sqlite3.SQLITE_CANTOPEN:
                reason = f"{path} cannot be opened ({error}): a file is needed, in a folder that allows reading and writing."
            case sqlite3.SQLITE_BUSY:
                reason = f"{path} is in use by another process for more than {BUSY_SECONDS} seconds: try again when it is done."
            case _:
                reason = f"{path}: {error}. The store is as it was."
        raise StoreError(reason) from error
