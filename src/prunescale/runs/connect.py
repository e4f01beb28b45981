"""How the file of a store is opened: SQLite's write-ahead log where it can work, and reading where nothing can be written."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

BUSY_SECONDS = 30  # how long to wait for another process to finish writing

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

NO_SIDE_FILES = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""Kinds of error by which SQLite says that it cannot make the files that it needs beside a store, or write the store."""


def connect(path: Path, mode: str, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection without transactions of its own. mode: rw for a file that is there, rwc to make one."""
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=busy_seconds, isolation_level=None)
    connection.execute("PRAGMA trusted_schema = OFF")  # a file of a stranger's may have views and triggers of its own
    return connection


def keep_a_log(connection: sqlite3.Connection, path: Path) -> None:
    """Let people read while a run is written: the write-ahead log, but for network drives, which keep the rollback journal.

    FULL: a commit returns when the log is on the disk, so that neither kill -9 nor a power cut loses a run that was told to be kept.
    NORMAL would spare that wait, milliseconds after hours of training, and lose the last runs with the power.
    """
    connection.execute("PRAGMA synchronous = FULL")
    with suppress(sqlite3.OperationalError):  # another process is reading or writing: whoever opens the store next does it
        connection.execute(f"PRAGMA journal_mode = {'DELETE' if on_network_drive(path) else 'WAL'}")


def kind_of(error: sqlite3.Error) -> int:
    """SQLite's code of an error without its details, which the higher bytes are."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


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
