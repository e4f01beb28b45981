"""Runs in one SQLite file, which people read while a sweep writes to it: SQLite's write-ahead log lets them.

A store that nobody has open is one file, to be copied, mailed and read from a read-only folder: whoever closes it last puts the log
into it. One that is open, or was left by a killed process, may have its newest runs in the log beside it (`runs.db-wal`): copy it with
`Store.backup`, which takes both.
"""

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from prunescale import embedded
from prunescale.errors import StoreError
from prunescale.runs.check import check
from prunescale.runs.connect import BUSY_SECONDS, NO_SIDE_FILES, connect, copied_to_memory, is_read_only, keep_a_log, kind_of
from prunescale.runs.migrations import APPLICATION_ID, MIGRATIONS, migrate, version
from prunescale.runs.record import Point, Run

if TYPE_CHECKING:
    import numpy as np

RUN_COLUMNS = tuple(field.name for field in fields(Run) if field.name != "points")
POINT_COLUMNS = tuple(field.name for field in fields(Point))
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
EMPTY = {"{}": dict, "[]": list}
JSON_COLUMNS = ("recipe", "versions", "inputs", "n_params_left")


@dataclass(frozen=True)
class Merged:
    """How many runs a merge has put into a store, and how many were there already."""

    n_added: int
    n_known: int


class Store:
    """The runs kept in one file. `with Store.open(path) as store:`, or `Store.create` where there may be none yet."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._unwritable: StoreError | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The store at path, which must be there. One of an older version is brought up to date. `embedded:NAME` is one of ours, of which
        a copy is read."""
        if is_embedded(path):
            return cls._embedded(str(path))
        if not Path(path).exists():
            raise StoreError(f"No runs at {path}: give the path of a store, or make one by training.")
        return cls._connect(Path(path), "rw")

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """The store at path, made where there is none. Its folder must be there."""
        if is_embedded(path):
            raise _of_ours(path)
        if not Path(path).absolute().parent.is_dir():
            raise StoreError(f"No store can be made at {path}: there is no folder {Path(path).absolute().parent}; make it first.")
        return cls._connect(Path(path), "rwc")

    @classmethod
    def _connect(cls, path: Path, mode: str) -> Self:
        with _errors_told(path):
            store = cls(path, connect(path, mode, BUSY_SECONDS))
        try:
            if is_read_only(path):
                store._read_a_copy(_unwritable(path, "it is read-only"))
            else:
                store._prepare_or_read_a_copy()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _embedded(cls, name: str) -> Self:
        store = cls(Path(name), sqlite3.connect(":memory:"))
        try:
            store._read_a_copy(_of_ours(name), embedded.runs_file(name.removeprefix(embedded.PREFIX)))
        except BaseException:
            store.close()
            raise
        return store

    def _prepare_or_read_a_copy(self) -> None:
        try:
            self._prepare()
        except StoreError as error:
            cause = error.__cause__
            if not isinstance(cause, sqlite3.Error) or kind_of(cause) not in NO_SIDE_FILES or not _has_content(self.path):
                raise
            self._read_a_copy(_refused_to_write(self.path, cause))

    def _read_a_copy(self, why: StoreError, file: Path | None = None) -> None:
        self._connection.close()
        with _errors_told(self.path):
            self._connection = copied_to_memory(file or self.path)
        self._prepare()
        self._unwritable = why

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
            with suppress(sqlite3.OperationalError):  # in use or no room: the pages of a table that was made anew stay behind
                self._connection.execute("VACUUM")
        keep_a_log(self._connection, self.path)

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
                self._put(run)

    def add_unless_done(self, run: Run) -> bool:
        """Keep a run, unless one of its recipe is here; whether it was kept. Of several processes that do so at once, one does."""
        check(run)
        with self._transaction():
            if is_new := run.recipe_hash is None or not self._select("recipe_hash = ?", [run.recipe_hash]):
                self._put(run)
        return is_new

    def merge(self, others: Sequence["Store"]) -> Merged:
        """Put the runs of other stores into this one, all of them or, after an error, none; how many were new, and how many were known.

        A run is known by its id, which it gets once, where it is trained: a run with the same id and the same content is here
        already. So is one that differs in its id and date alone, to the last digit of its seconds: a finished training that was
        recorded again from its folder. Raises StoreError for an id that stands for other content. All other runs are kept, also of the
        same recipe: different trainings, which scatter.
        """
        n_added = n_known = 0
        with self._transaction():
            for other in others:
                for run in other.each():
                    check(run)
                    here = next(iter(self._select("id = ?", [run.id])), None)
                    if here == run or (here is None and self._has_twin(run)):
                        n_known += 1
                    elif here is None:
                        self._put(run)
                        n_added += 1
                    else:
                        raise StoreError(
                            f"Run {run.id!r} is in {self.path} and in {other.path}, with another {_difference(here, run)}: nothing was "
                            "merged; remove the one that is wrong, and merge again."
                        )
        return Merged(n_added, n_known)

    def backup(self, path: str | Path) -> None:
        """Copy the store, as it is at this moment, to a new file, also while others write to it. Raises StoreError where there is a
        file already; after an error there is none."""
        if Path(path).exists():
            raise StoreError(f"{path} is there already: nothing was copied; name a new file.")
        with _errors_told(Path(path)):
            try:
                with closing(sqlite3.connect(Path(path))) as copy:
                    self._connection.backup(copy)
            except BaseException:
                Path(path).unlink(missing_ok=True)
                raise

    def each(self) -> Iterator[Run]:
        """The runs one by one, oldest first, without holding the points of all in memory."""
        for id in self.ids():
            yield from self._select("id = ?", [id])

    def ids(self) -> tuple[str, ...]:
        """The ids of all runs, oldest first."""
        return self._column("SELECT id FROM runs ORDER BY created, id")

    def summaries(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The runs without their points, oldest first, or the newest so many of them: `SUMMARY`, name by name."""
        with _errors_told(self.path):
            rows = self._connection.execute(
                f"SELECT {', '.join(SUMMARY.values())} FROM runs ORDER BY created DESC, id DESC LIMIT ?",
                [-1 if limit is None else limit],
            ).fetchall()
        return [dict(zip(SUMMARY, row, strict=True)) for row in reversed(rows)]

    def at_one_moment(self) -> AbstractContextManager[None]:
        """All that is read inside is as the store is now, whoever writes meanwhile."""
        return self._transaction("DEFERRED")

    def without_points(self, bases: Collection[str] = ()) -> tuple[Run, ...]:
        """The runs, of these base models if some are named, in the order of their ids, for their numbers: without points, recipe and
        versions, which take longer to read than the rest."""
        with _errors_told(self.path):
            condition = f"base IN ({', '.join('?' * len(bases))})" if bases else "TRUE"
            read = ("'{}'" if column in ("recipe", "versions") else column for column in RUN_COLUMNS)
            rows = self._connection.execute(f"SELECT {', '.join(read)} FROM runs WHERE {condition} ORDER BY id", tuple(bases))
            with damage_told(self.path):
                return tuple(_run(row, ()) for row in rows)

    def curves(self, bases: Collection[str] = ()) -> "tuple[np.ndarray, list[int]]":
        """The points of all runs, of these base models if some are named, as numbers (`packed.POINT`), those of a run one behind the other
        and runs in the order of their ids; and how many of each. Copies in one piece are read where they are there."""
        from prunescale.runs.packed import numbers_of, packed, unpacked

        chosen = f"WHERE base IN ({', '.join('?' * len(bases))})" if bases else ""
        with _errors_told(self.path):
            rows = self._connection.execute(
                f"SELECT id, curve, (SELECT count(*) FROM points WHERE run_id = id) "
                f"FROM runs LEFT JOIN packed_curves ON run_id = id {chosen} ORDER BY id",
                tuple(bases),
            ).fetchall()
        counts = [count for _, _, count in rows]
        with damage_told(self.path):
            copies = [packed(numbers_of(self.get(id).points)) if curve is None else curve for id, curve, _ in rows]
            return unpacked(copies, counts), counts

    def faults(self) -> tuple[str, ...]:
        """What is wrong with the file, as far as SQLite can tell, a sentence each: pages, indices, points without their run or out of
        order."""
        return (*self._faults_of_pages(), *self._faults_of_points())

    def _faults_of_pages(self) -> Iterator[str]:
        try:
            yield from (f"SQLite: {text}." for text in self._column("PRAGMA integrity_check") if text != "ok")
        except StoreError as error:  # too damaged to be checked through
            yield f"SQLite: {error}"

    def _faults_of_points(self) -> Iterator[str]:
        try:
            lost = self._column("SELECT count(*) FROM pragma_foreign_key_check('points')")[0]
            gaps = self._column(
                "SELECT run_id FROM points GROUP BY run_id HAVING min(position) != 0 OR max(position) != count(*) - 1"
            )
        except StoreError as error:
            yield f"Points: {error}"
            return
        if lost:
            yield f"{lost} points belong to no run that is kept."
        yield from (f"Run {id!r}: the positions of its points do not count from 0." for id in gaps)

    def curve_is_copied(self, run: Run) -> bool:
        """Whether the packed copy of a curve, if there is one, is that of its points."""
        from prunescale.runs.packed import numbers_of, packed

        copies = self._column("SELECT curve FROM packed_curves WHERE run_id = ?", [run.id])
        return all(copy == packed(numbers_of(run.points)) for copy in copies)

    def curve_end_in_bits(self, id: str) -> float | None:
        """What the view `curves` says of the last point of a run, bits per byte."""
        (value,) = self._column("SELECT bits_per_byte FROM curves WHERE run_id = ? ORDER BY position DESC LIMIT 1", [id])
        return value

    def __len__(self) -> int:
        return self._column("SELECT count(*) FROM runs")[0]

    def __bool__(self) -> bool:
        return True  # also of an empty store

    def _column(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        with _errors_told(self.path):
            return tuple(value for (value,) in self._connection.execute(query, values).fetchall())

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
        with nullcontext() if self._connection.in_transaction else self.at_one_moment():
            run_rows = self._connection.execute(select_runs, values).fetchall()
            point_rows = self._connection.execute(select_points, values).fetchall()
        points = defaultdict[str, list[Point]](list)
        with damage_told(self.path):
            for run_id, *point in point_rows:
                points[run_id].append(_point(point))
            return tuple(_run(row, tuple(points[row[0]])) for row in run_rows)

    def _has_twin(self, run: Run) -> bool:
        """Whether a run is here that differs in its id and date alone. Without a measured time two trainings might end the same."""
        if run.recipe_hash is None or not run.seconds:
            return False
        twins = self._select("recipe_hash = ? AND seconds = ?", [run.recipe_hash, run.seconds])
        return any(replace(twin, id=run.id, created=run.created) == run for twin in twins)

    def _put(self, run: Run) -> None:
        from prunescale.runs.packed import numbers_of, packed  # numpy takes longer than a command that only lists runs

        self._insert("runs", [_run_row(run)])
        self._insert("points", [_point_row(run.id, position, point) for position, point in enumerate(run.points)])
        self._insert("packed_curves", [{"run_id": run.id, "curve": packed(numbers_of(run.points))}])

    def _insert(self, table: str, rows: Any) -> None:
        columns = rows[0].keys()
        self._connection.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            (tuple(row.values()) for row in rows),
        )

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        """All that happens inside, or nothing. IMMEDIATE takes the writer's lock at once, while waiting for it is still safe."""
        if kind == "IMMEDIATE" and self._unwritable:
            raise self._unwritable
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
    if is_embedded(path):
        raise _of_ours(path)
    place = Path(path)
    if place.exists():
        Store.open(place).close()
    elif not place.absolute().parent.is_dir():
        raise StoreError(f"No store can be made at {path}: there is no folder {place.absolute().parent}; make it first.")
    folder = place.absolute().parent
    if not os.access(folder, os.W_OK) or (place.exists() and not os.access(place, os.W_OK)):
        raise StoreError(f"No run can be kept at {path}: it cannot be written there; name another store.")


def is_embedded(path: str | Path) -> bool:
    """Whether a path names a store that comes with prunescale."""
    return str(path).startswith(embedded.PREFIX)


def _of_ours(path: str | Path) -> StoreError:
    return StoreError(f"{path} comes with prunescale and is only read: name a store of your own, into which it can be merged.")


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _difference(here: Run, there: Run) -> str:
    """The first field in which two runs differ, for a message."""
    return next(field.name for field in fields(Run) if getattr(here, field.name) != getattr(there, field.name))


def _run_row(run: Run) -> dict[str, Any]:
    row = {column: getattr(run, column) for column in RUN_COLUMNS}
    return row | {column: json.dumps(row[column], allow_nan=False) for column in JSON_COLUMNS}


def _point_row(run_id: str, position: int, point: Point) -> dict[str, Any]:
    row = {column: getattr(point, column) for column in POINT_COLUMNS}
    domains = json.dumps(point.domains, allow_nan=False) if point.domains else "{}"
    return {"run_id": run_id, "position": position} | row | {"domains": domains}


def _point(row: Any) -> Point:
    n_tokens, loss, learning_rate, phase, seconds, domains = row
    if type(n_tokens) is not int or type(loss) is not float:  # SQLite takes text in a column of numbers
        raise TypeError(f"a measurement of {loss!r} at {n_tokens!r} tokens")
    return Point(n_tokens, loss, learning_rate, phase, seconds, {} if domains == "{}" else json.loads(domains))


def _run(row: Any, points: tuple[Point, ...]) -> Run:
    values = dict(zip(RUN_COLUMNS, row, strict=True))
    values |= {column: EMPTY[text]() if (text := values[column]) in EMPTY else json.loads(text) for column in JSON_COLUMNS}
    if not all(isinstance(values[column], dict) for column in ("recipe", "versions", "inputs")):
        raise TypeError(f"run {values['id']!r} has a recipe, versions or inputs that are no object")
    return Run(**values | {"n_params_left": tuple((begin, left) for begin, left in values["n_params_left"])}, points=points)


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """What a column holds that we never put there, as our error."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{path} is damaged ({error}): `prunescale runs verify` names the run; remove it, or take a copy."
        ) from error


@contextmanager
def _errors_told(path: Path) -> Iterator[None]:
    """SQLite's errors as ours, one line each."""
    try:
        yield
    except UnicodeDecodeError as error:  # from inside SQLite's own message
        raise StoreError(f"{path} is no store of runs, or a damaged one ({error.reason}): give the path of a store.") from error
    except sqlite3.Error as error:
        match kind_of(error):
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                reason = f"{path} is no store of runs, or a damaged one ({error}): give the path of a store."
            case sqlite3.SQLITE_READONLY:
                raise _refused_to_write(path, error) from error
            case sqlite3.SQLITE_FULL:
                raise _refused_to_write(path, error) from error
            case sqlite3.SQLITE_CANTOPEN:
                reason = f"{path} cannot be opened ({error}): a file is needed, in a folder that allows reading and writing."
            case sqlite3.SQLITE_BUSY:
                reason = f"{path} is in use by another process for more than {BUSY_SECONDS} seconds: try again when it is done."
            case _:
                reason = f"{path}: {error}. The store is as it was."
        raise StoreError(reason) from error


def _refused_to_write(path: Path, error: sqlite3.Error) -> StoreError:
    if kind_of(error) == sqlite3.SQLITE_FULL:
        return StoreError(f"{path} cannot be written, its disk is full: make room and try again. The store is as it was.")
    return _unwritable(path, str(error))


def _unwritable(path: Path, reason: str) -> StoreError:
    return StoreError(f"{path} cannot be written ({reason}): make the file and its folder writable, or copy it elsewhere.")
