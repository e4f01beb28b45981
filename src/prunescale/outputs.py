"""Files that a command writes: whole or not at all, and never in the place of a store of runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunescale.errors import StoreError

SQLITE = b"SQLite format 3\0"


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """A file to write, which takes its place when the context ends well, and is gone otherwise: what was there stays until then. A device
    or a pipe is written as it is.

    Raises StoreError where a store of runs is in that place."""
    target = Path(path)
    if target.exists() and not target.is_file():
        yield target
        return
    target = Path(os.path.realpath(target))  # what a link leads to
    refuse_store(target)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def refuse_store(target: Path) -> None:
    try:
        with open(target, "rb") as file:
            is_store = file.read(len(SQLITE)) == SQLITE
    except OSError:
        return
    if is_store:
        raise StoreError(f"{target} is a store of runs, which is not overwritten: name another file.")
