"""From a package to the paragraphs of its text files, kept on disk as long as package and extractor stay the same."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path

from . import jsonl
from .formats.code import UnwantedFile
from .formats.plain import from_text
from .formats.table import format_of, paragraphs_of
from .package import unpacked
from .source import Source

VERSION = 4  # raise it when the extractors make something else of the same file
LARGEST_FILE_BYTES = 40e6

# Indexes, sources, images, change logs and licences are nobody's prose.
ALWAYS_SKIP = re.compile(
    r"/(_sources|_modules|_static|_images|searchindex|changelog|NEWS|ChangeLog|AUTHORS|CREDITS|THANKS|TODO|COPYING|LICENSE"
    r"|copyright)([./]|$)"
    r"|(genindex|py-modindex|modindex|search|robots|opensearch|allclasses|overview-frame|index-all|help-doc|deprecated-list"
    r"|constant-values|hierarchy|functions(_\w+)?|globals(_\w+)?|annotated|inherits|namespacemembers(_\w+)?)[^/]*\.html?$"
    r"|/(changelog|copyright)[^/]*$|doc-base|\.(js|css|png|svg)$",
    re.I,
)


def path_of(source: Source, out: Path) -> Path:
    """Where the paragraphs of `source` are kept: `{"id", "p": [paragraph, ...]}` a line."""
    return out / "extract" / f"{source.file_stem}.jsonl.zst"


def extract(source: Source, package: Path, sha256: str, out: Path, pool: Executor) -> dict[str, int]:
    """Make the file at `path_of`, unless it is there; returns counts of files, of those not wanted, and of characters."""
    target = path_of(source, out)
    stamp = target.with_suffix(".json")
    key = {"extract_version": VERSION, "sha256": sha256} | {k: v for k, v in asdict(source).items() if k != "licence"}
    if target.exists() and stamp.exists() and (kept := json.loads(stamp.read_text()))["key"] == key:
        return kept["stats"]
    stats: Counter[str] = Counter()
    files = _descriptions(package) if source.kind == "apt" else _files(source, package, out, pool)
    jsonl.write(target, _counted(files, source.cap * 1e6, stats))
    stamp.write_text(json.dumps({"key": key, "stats": dict(stats)}, indent=1))
    return dict(stats)


def _counted(files: Iterator[tuple[str, list[str] | str]], cap_chars: float, stats: Counter) -> Iterator[dict]:
    """The files that have text, up to the one that passes the cap; `stats` is filled on the way."""
    for name, paragraphs in files:
        if isinstance(paragraphs, str):
            stats[paragraphs] += 1
            continue
        stats["files"] += 1
        if chars := sum(map(len, paragraphs)):
            yield {"id": name, "p": paragraphs}
        stats["chars"] += chars
        if stats["chars"] > cap_chars:
            stats["capped"] = 1
            return


def _files(source: Source, package: Path, out: Path, pool: Executor) -> Iterator[tuple[str, list[str] | str]]:
    """(path, paragraphs or why there are none) of a package's files of text, in an order fixed by the hash of their names."""
    folder = out / "unpack" / source.file_stem
    with unpacked(package, folder) as names:
        chosen = [name for name in names if _is_text(source, name) and os.path.getsize(folder / name) < LARGEST_FILE_BYTES]
        chosen.sort(key=lambda name: hashlib.sha256(f"{source.name}/{name}".encode()).digest())
        jobs = [(name, folder / name, source.fmt or format_of(name)) for name in chosen]
        yield from pool.map(_extract_file, jobs, chunksize=8)


def _is_text(source: Source, name: str) -> bool:
    if not re.search(source.keep, name) or (source.fmt != "code" and ALWAYS_SKIP.search(name)):
        return False
    return not (source.skip and re.search(source.skip, name)) and bool(source.fmt or format_of(name))


def _extract_file(job: tuple[str, Path, str]) -> tuple[str, list[str] | str]:
    name, path, format_name = job
    try:
        return name, paragraphs_of(path.read_bytes(), format_name)
    except UnwantedFile as unwanted:
        return name, str(unwanted)
    except Exception:  # of many thousand files a few are broken in ways of their own; they are counted
        return name, "errors"


def _descriptions(package_lists: Path) -> Iterator[tuple[str, list[str]]]:
    """(package, paragraphs) of the archive's long descriptions."""
    for entry in package_lists.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        head, _, body = entry.partition("\nDescription-en: ")
        if body:
            summary, _, rest = body.partition("\n")
            text = "\n".join("" if line.strip() == "." else line[1:] for line in rest.split("\n"))
            yield head.split("Package: ")[-1].split("\n")[0], [summary, *from_text(text)]
