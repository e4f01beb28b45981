"""From the path of a store to a connection: the store is found or made and brought up to date, and where it cannot be written, or is one
of ours, a copy of it in memory is read."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from prunescale import embedded
from prunescale.errors import StoreError
from prunescale.runs.connect import connect, copied_to_memory, is_read_only, keep_a_log, transaction
from prunescale.runs.failures import NO_SIDE_FILES, errors_told, kind_of, refused_to_write, unwritable
from prunescale.runs.migrations import APPLICATION_ID, MIGRATIONS, migrate, version

Opened = tuple[sqlite3.Connection, StoreError | None]
"""A connection to a store that is up to date; and, if it is to a copy in memory, why the store cannot be written."""


def opened(path: str | Path) -> Opened:
    """The store at path, which must be there, or the one of ours that it names."""
    if is_embedded(path):
        file = embedded.runs_file(str(path).removeprefix(embedded.PREFIX))
        return prepared_copy(file, Path(path)), of_ours(path)
    if not Path(path).exists():
        raise StoreError(f"No runs at {path}: give the path of a store, or make one by training.")
    return opened_file(Path(path), "rw")


def made(path: str | Path) -> Opened:
    """The store at path, made where there is none."""
    refuse_unmakable(path)
    return opened_file(Path(path), "rwc")


def refuse_unwritable(path: str | Path) -> None:
    """Raise StoreError where no run could be kept, which is better known before a training than after it; nothing is made."""
    refuse_unmakable(path)
    place = Path(path)
    if place.exists():
        connection, _ = opened(place)
        connection.close()
    folder = place.absolute().parent
    if not os.access(folder, os.W_OK) or (place.exists() and not os.access(place, os.W_OK)):
        raise StoreError(f"No run can be kept at {path}: it cannot be written there; name another store.")


def refuse_unmakable(path: str | Path) -> None:
    """Raise StoreError for the name of a store of ours, and for a path in a folder that is not there."""
    if is_embedded(path):
        raise of_ours(path)
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise StoreError(f"No store can be made at {path}: there is no folder {folder}; make it first.")


def is_embedded(path: str | Path) -> bool:
    """Whether a path names a store that comes with prunescale."""
    return str(path).startswith(embedded.PREFIX)


def of_ours(path: str | Path) -> StoreError:
    """That a store comes with prunescale and is only read."""
    return StoreError(f"{path} comes with prunescale and is only read: name a store of your own, into which it can be merged.")


def opened_file(path: Path, mode: str) -> Opened:
    """The store in a file. mode: rw for one that is there, rwc to make one."""
    with errors_told(path):
        connection = connect(path, mode)
    if is_read_only(path):
        connection.close()
        return prepared_copy(path, path), unwritable(path, "it is read-only")
    try:
        return prepared(connection, path), None
    except StoreError as error:
        cause = error.__cause__
        if not isinstance(cause, sqlite3.Error) or kind_of(cause) not in NO_SIDE_FILES or not has_content(path):
            raise
        return prepared_copy(path, path), refused_to_write(path, cause)


def has_content(path: Path) -> bool:
    """Whether a path is a file with something in it."""
    return path.is_file() and path.stat().st_size > 0


def prepared_copy(file: Path, path: Path) -> sqlite3.Connection:
    """A copy in memory, brought up to date, of the store in a file; path is what errors call it."""
    with errors_told(path):
        memory = copied_to_memory(file)
    return prepared(memory, path)


def prepared(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """The connection, when what it is to is known as a store of ours and brought up to date; it is closed after an error."""
    try:
        bring_up_to_date(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new store, run the migrations that an old one lacks, and refuse what is another program's or younger."""
    with errors_told(path):
        connection.execute("PRAGMA foreign_keys = ON")
    with transaction(connection, path, "DEFERRED"):  # all three from the same moment: another process may be making the store
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        n_migrations = version(connection)
    if n_tables and application_id != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program: give the path of a store of runs.")
    if n_migrations > len(MIGRATIONS):
        raise StoreError(
            f"{path} is a store of version {n_migrations}, and this prunescale reads up to {len(MIGRATIONS)}: "
            "install a newer prunescale."
        )
    if n_migrations < len(MIGRATIONS):
        with transaction(connection, path):
            migrate(connection)
        with suppress(sqlite3.OperationalError):  # in use or no room: the pages of a table that was made anew stay behind
            connection.execute("VACUUM")
    keep_a_log(connection, path)
