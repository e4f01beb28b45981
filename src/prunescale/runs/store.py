"""Runs in one SQLite file, which people read while a sweep writes to it: SQLite's write-ahead log lets them.

A store that nobody has open is one file, to be copied, mailed and read from a read-only folder: whoever closes it last puts the log
into it. One that is open, or was left by a killed process, may have its newest runs in the log beside it (`runs.db-wal`): copy it with
`Store.backup`, which takes both.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from prunescale.errors import StoreError
from prunescale.runs.check import check
from prunescale.runs.connect import transaction
from prunescale.runs.failures import damage_told, errors_told
from prunescale.runs.opening import made, opened
from prunescale.runs.record import Run
from prunescale.runs.rows import insert_run, run_of, runs_of, select_curves, select_runs, select_summaries, select_without_points

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Merged:
    """How many runs a merge has put into a store, and how many were there already."""

    n_added: int
    n_known: int


class Store:
    """The runs kept in one file. `with Store.open(path) as store:`, or `Store.create` where there may be none yet."""

    def __init__(self, path: Path, connection: sqlite3.Connection, unwritable: StoreError | None = None) -> None:
        self.path = path
        self._connection = connection
        self._unwritable = unwritable

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The store at path, which must be there. One of an older version is brought up to date. `embedded:NAME` is one of ours, of which
        a copy is read."""
        return cls(Path(path), *opened(path))

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """The store at path, made where there is none. Its folder must be there."""
        return cls(Path(path), *made(path))

    def close(self) -> None:
        """Let go of the file; of those who have it open the last puts the log into it."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, *runs: Run) -> None:
        """Keep these runs, all of them or, after an error or an interruption, none."""
        for run in runs:
            check(run)
        with self._writing():
            for run in runs:
                if self._ids(run.id, exact=True):
                    raise StoreError(f"Run {run.id!r} is already in {self.path}: nothing was added; remove it there first.")
                insert_run(self._connection, run)

    def add_unless_done(self, run: Run) -> bool:
        """Keep a run, unless one of its recipe is here; whether it was kept. Of several processes that do so at once, one does."""
        check(run)
        with self._writing():
            if is_new := run.recipe_hash is None or not self._select("recipe_hash = ?", [run.recipe_hash]):
                insert_run(self._connection, run)
        return is_new

    def merge(self, others: Sequence["Store"]) -> Merged:
        """Put the runs of other stores into this one, all of them or, after an error, none; how many were new, and how many were known.

        A run is known by its id, which it gets once, where it is trained: a run with the same id and the same content is here
        already. So is one that differs in its id and date alone, to the last digit of its seconds: a finished training that was
        recorded again from its folder. Raises StoreError for an id that stands for other content. All other runs are kept, also of the
        same recipe: different trainings, which scatter.
        """
        n_added = n_known = 0
        with self._writing():
            for other in others:
                for run in other.each():
                    check(run)
                    here = next(iter(self._select("id = ?", [run.id])), None)
                    if here == run or (here is None and self._has_twin(run)):
                        n_known += 1
                    elif here is None:
                        insert_run(self._connection, run)
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
        with errors_told(Path(path)):
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
        """The runs without their points, oldest first, or the newest so many of them: `rows.SUMMARY`, name by name."""
        with errors_told(self.path):
            return select_summaries(self._connection, limit)

    def at_one_moment(self) -> AbstractContextManager[None]:
        """All that is read inside is as the store is now, whoever writes meanwhile."""
        return transaction(self._connection, self.path, "DEFERRED")

    def without_points(self, bases: Collection[str] = ()) -> tuple[Run, ...]:
        """The runs, of these base models if some are named, in the order of their ids, for their numbers: without points, recipe and
        versions, which take longer to read than the rest."""
        with errors_told(self.path):
            rows = select_without_points(self._connection, bases)
            with damage_told(self.path):
                return tuple(run_of(row, ()) for row in rows)

    def curves(self, bases: Collection[str] = ()) -> "tuple[np.ndarray, list[int]]":
        """The points of all runs, of these base models if some are named, as numbers (`packed.POINT`), those of a run one behind the other
        and runs in the order of their ids; and how many of each. Copies in one piece are read where they are there."""
        from prunescale.runs.packed import numbers_of, packed, unpacked

        with errors_told(self.path):
            rows = select_curves(self._connection, bases)
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
        with errors_told(self.path):
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
        with self._writing():
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
        return self._column(f"SELECT id FROM runs WHERE {condition} ORDER BY id", [text])

    def _select(self, condition: str, values: Sequence[Any]) -> tuple[Run, ...]:
        with nullcontext() if self._connection.in_transaction else self.at_one_moment():
            run_rows, point_rows = select_runs(self._connection, condition, values)
        with damage_told(self.path):
            return runs_of(run_rows, point_rows)

    def _has_twin(self, run: Run) -> bool:
        """Whether a run is here that differs in its id and date alone. Without a measured time two trainings might end the same."""
        if run.recipe_hash is None or not run.seconds:
            return False
        twins = self._select("recipe_hash = ? AND seconds = ?", [run.recipe_hash, run.seconds])
        return any(replace(twin, id=run.id, created=run.created) == run for twin in twins)

    def _writing(self) -> AbstractContextManager[None]:
        """All that happens inside is kept, or nothing."""
        if self._unwritable:
            raise self._unwritable
        return transaction(self._connection, self.path)


def _difference(here: Run, there: Run) -> str:
    """The first field in which two runs differ, for a message."""
    return next(field.name for field in fields(Run) if getattr(here, field.name) != getattr(there, field.name))
