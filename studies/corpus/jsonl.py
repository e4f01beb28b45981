"""Files of JSON lines compressed with zstd: how the stages hand text to each other."""

import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard


def read(path: Path) -> Iterator[dict]:
    """The items of a file, one after the other."""
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as plain:
        for line in io.TextIOWrapper(plain, encoding="utf-8"):
            yield json.loads(line)


def write(path: Path, items: Iterable[dict]) -> None:
    """A file of these items; it appears under its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as raw, zstandard.ZstdCompressor(level=6).stream_writer(raw) as out:
        for item in items:
            out.write(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    os.replace(unfinished, path)
