"""Names of files that stand in other files, such as an index of weights; and what lies at a path."""

from pathlib import Path

LONGEST = 255
"""Bytes, of the file systems in use."""


def is_file_name(name: object) -> bool:
    """Whether this is the name of a file beside the one that it stands in, and no path that may lead elsewhere."""
    if not isinstance(name, str) or not name.isprintable() or name in ("", ".", ".."):
        return False
    return not {"/", "\\"} & set(name) and len(name.encode()) <= LONGEST


def is_odd(path: str | Path) -> bool:
    """Whether a pipe, a device or the like lies there, which may never end, or keep whoever opens it waiting for ever."""
    place = Path(path)
    return place.exists() and not (place.is_file() or place.is_dir())
