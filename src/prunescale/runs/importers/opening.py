"""Opening other people's files: what cannot be read is told in one line, and nothing is read without a limit."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from prunescale.errors import StoreError
from prunescale.file_names import is_odd

MAX_BYTES = 256 * 2**20
"""Of a file that has to be read whole."""
MAX_LINE = 2**20
"""Characters."""


def refuse_odd(path: Path) -> None:
    """Raise StoreError for a pipe and the like, which cannot be read more than once."""
    if is_odd(path):
        raise StoreError(f"{path} is no ordinary file, and it is read more than once: copy it to a file.")


@contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """The file, open as UTF-8 text, a byte order mark taken off. Errors while it is read are told as ours."""
    refuse_odd(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start} of a block): convert it.") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}): give the path of a file that is there.") from error


def whole_json(path: Path) -> Any:
    """The content of a JSON file of at most MAX_BYTES."""
    with text_file(path) as file:
        is_too_large = path.stat().st_size > MAX_BYTES
        text = "" if is_too_large else file.read()
    if is_too_large:
        raise StoreError(f"{path} is larger than {MAX_BYTES // 2**20} MiB, too large for what it should be.")
    return parsed_json(text, str(path))


def parsed_json(text: str | bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise StoreError(f"{where} is not JSON ({reason}).") from error


def lines(file: io.TextIOBase | TextIO, path: Path) -> Iterator[tuple[int, str]]:
    """The lines with their numbers from 1, none longer than MAX_LINE."""
    number = 0
    while text := file.readline(MAX_LINE + 1):
        number += 1
        if len(text) > MAX_LINE:
            raise StoreError(f"{path}: line {number} has more than {MAX_LINE:,} characters; this is no table of measurements.")
        yield number, text


@contextmanager
def needed(package: str, extra: str, what: str) -> Iterator[None]:
    """Around an import from a package of an optional extra: without it, a StoreError says how to install it."""
    try:
        yield
    except ImportError as error:
        raise StoreError(f"Reading {what} needs {package}: pip install 'prunescale[{extra}]'.") from error
