"""What goes wrong with the file of a store, as our errors, a line each: what SQLite refuses, and what a column holds that no store puts
there."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunescale.errors import StoreError

BUSY_SECONDS = 30  # how long to wait for another process to finish writing

NO_SIDE_FILES = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""Kinds of error by which SQLite says that it cannot make the files that it needs beside a store, or write the store."""


def kind_of(error: sqlite3.Error) -> int:
    """SQLite's code of an error without its details, which the higher bytes are."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def errors_told(path: Path) -> Iterator[None]:
    """SQLite's errors as ours, one line each."""
    try:
        yield
    except UnicodeDecodeError as error:  # from inside SQLite's own message
        raise StoreError(f"{path} is no store of runs, or a damaged one ({error.reason}): give the path of a store.") from error
    except sqlite3.Error as error:
        match kind_of(error):
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_FULL:
                raise refused_to_write(path, error) from error
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                reason = f"{path} is no store of runs, or a damaged one ({error}): give the path of a store."
            case sqlite3.SQLITE_CANTOPEN:
                reason = f"{path} cannot be opened ({error}): a file is needed, in a folder that allows reading and writing."
            case sqlite3.SQLITE_BUSY:
                reason = f"{path} is in use by another process for more than {BUSY_SECONDS} seconds: try again when it is done."
            case _:
                reason = f"{path}: {error}. The store is as it was."
        raise StoreError(reason) from error


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """What a column holds that we never put there, as our error."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{path} is damaged ({error}): `prunescale runs verify` names the run; remove it, or take a copy."
        ) from error


def refused_to_write(path: Path, error: sqlite3.Error) -> StoreError:
    """That a store cannot be written, for a reason that SQLite gives."""
    if kind_of(error) == sqlite3.SQLITE_FULL:
        return StoreError(f"{path} cannot be written, its disk is full: make room and try again. The store is as it was.")
    return unwritable(path, str(error))


def unwritable(path: Path, reason: str) -> StoreError:
    """That a store cannot be written, for a reason of a few words."""
    return StoreError(f"{path} cannot be written ({reason}): make the file and its folder writable, or copy it elsewhere.")
