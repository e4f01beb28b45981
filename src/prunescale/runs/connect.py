"""A connection to the file of a store: SQLite's write-ahead log where it can work, reading where nothing can be written, and
transactions."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from prunescale.runs.failures import BUSY_SECONDS, errors_told

NETWORK_DRIVES = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "lustre",
    "beegfs",
    "gpfs",
    "ceph",
    "fuse.sshfs",
    "9p",
    "afs",
    "glusterfs",
}
"""Kinds of file system that several machines write to: the log needs memory that all its users share, which machines do not."""


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection without transactions of its own. mode: rw for a file that is there, rwc to make one."""
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA trusted_schema = OFF")  # a file of a stranger's may have views and triggers of its own
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All that happens inside, or nothing. IMMEDIATE takes the writer's lock at once, while waiting for it is still safe."""
    with errors_told(path):
        connection.execute(f"BEGIN {kind}")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def keep_a_log(connection: sqlite3.Connection, path: Path) -> None:
    """Let people read while a run is written: the write-ahead log, but for network drives, which keep the rollback journal.

    FULL: a commit returns when the log is on the disk, so that neither kill -9 nor a power cut loses a run that was told to be kept.
    NORMAL would spare that wait, milliseconds after hours of training, and lose the last runs with the power.
    """
    connection.execute("PRAGMA synchronous = FULL")
    with suppress(sqlite3.OperationalError):  # another process is reading or writing: whoever opens the store next does it
        connection.execute(f"PRAGMA journal_mode = {'DELETE' if on_network_drive(path) else 'WAL'}")


def is_read_only(path: Path) -> bool:
    """Whether a store that nobody has open is not ours to write. SQLite would make its side files even so where the folder allows it,
    leave them there, and so keep the store's owner, who may not write them, from writing the store."""
    return path.is_file() and not os.access(path, os.W_OK) and not Path(f"{path}-shm").exists()


def copied_to_memory(path: Path) -> sqlite3.Connection:
    """The store as it is now, with what stands in the log beside it, where SQLite cannot open it in its place: a log needs a side
    file even for reading, which a read-only folder or a full disk does not allow."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    log = Path(f"{path}-wal")
    if not log.exists() or not log.stat().st_size:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as file:
            file.backup(memory)
        return memory
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "runs.db")
        shutil.copyfile(path, copy)
        shutil.copyfile(log, f"{copy}-wal")
        with closing(sqlite3.connect(copy)) as file:
            file.backup(memory)
    return memory


def on_network_drive(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether a path lies on a file system that other machines may write to, as far as Linux tells; False elsewhere."""
    try:
        lines = [line.split() for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    except OSError:
        return False
    place = os.path.realpath(path)
    found = [
        (len(at), number, kind) for number, (_, at, kind, *_) in enumerate(lines) if lies_in(place, at.replace("\\040", " "))
    ]
    return bool(found) and max(found)[2] in NETWORK_DRIVES


def lies_in(place: str, folder: str) -> bool:
    return folder == "/" or place == folder or place.startswith(folder + "/")
