"""Texts out of rows: JSON lines, Parquet, data sets saved by the package `datasets`, and data sets of the Hugging Face Hub.

A row has its text in a field, and may have the name of its domain in another.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prunescale.errors import DataError
from prunescale.file_names import is_file_name

DOMAIN = "domain"
"""The field of a row that names the part of the corpus that it belongs to."""

STATE_FILE, SPLITS_FILE = "state.json", "dataset_dict.json"
"""In the folder of a saved data set: which arrow files it has; in that of several, one folder each: which they are."""

TextAndDomain = tuple[str, str | None]


def json_rows(file: Path, field: str) -> Iterator[TextAndDomain]:
    """Those of JSON lines, plain or compressed by gzip."""
    opened: Callable[..., Any] = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rb") as stream:
            for number, line in enumerate(limited_lines(stream, file), 1):
                if line.strip():
                    yield checked(json_object(line, f"{file}, line {number},"), field, f"{file}, line {number},")
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(file, error) from error


MAX_LINE_BYTES = 2**28
"""Of a row of JSON: a small compressed file may hold a line that fills the memory."""


def limited_lines(stream: Any, file: Path) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise DataError(
                f"{file} has a line of more than {MAX_LINE_BYTES // 2**20} MiB: give one object a line, each a document."
            )
        yield line


def json_object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is no JSON ({str(error).partition(':')[0]}): give one object a line.") from error
    if not isinstance(row, dict):
        raise DataError(f"{where} is of type {type(row).__name__}, where an object is needed: give one object a line.")
    return row


def parquet_rows(file: Path, field: str) -> Iterator[TextAndDomain]:
    """Those of a Parquet file, a batch of rows at a time."""
    with arrow(file) as read:
        table = read.parquet.ParquetFile(file)
        batches = table.iter_batches(batch_size=1024, columns=wanted(table.schema_arrow.names, field))
        yield from checked_batches(batches, field, str(file))


def wanted(columns: list[str], field: str) -> list[str]:
    """The columns to read; where the text is not among them the first few, to be told of."""
    return [name for name in (field, DOMAIN) if name in columns] if field in columns else columns[:8]


def saved_rows(folder: Path, field: str) -> Iterator[TextAndDomain]:
    """Those of a data set that the package `datasets` saved: a folder of arrow files and a list of them."""
    if (folder / SPLITS_FILE).is_file():
        splits = sorted(place.name for place in folder.iterdir() if is_saved_dataset(place))
        raise DataError(
            f"{folder} is a data set in parts, {', '.join(splits)}: name one, as in {folder / (splits or ['train'])[0]}."
        )
    for file in arrow_files(folder):
        with arrow(file) as read, read.memory_map(str(file)) as mapped:
            batches = read.ipc.open_stream(mapped)
            names = wanted(batches.schema.names, field)
            yield from checked_batches((valid(batch.select(names)) for batch in batches), field, str(file))


def is_saved_dataset(place: Path) -> bool:
    """Whether a folder is one that the package `datasets` wrote."""
    return (place / SPLITS_FILE).is_file() or ((place / STATE_FILE).is_file() and any(place.glob("*.arrow")))


def arrow_files(folder: Path) -> list[Path]:
    """The files of a saved data set, in its order."""
    if (folder / SPLITS_FILE).is_file():
        return sorted(folder.glob("*/*.arrow"))
    try:
        names = [entry["filename"] for entry in json.loads((folder / STATE_FILE).read_text("utf-8"))["_data_files"]]
        if not all(map(is_file_name, names)):
            raise ValueError("a data set has its files in its own folder")
        return [folder / name for name in names]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{folder / STATE_FILE} does not list the files of a data set: save it again with save_to_disk."
        ) from error


def hub_rows(name: str, field: str) -> Iterator[TextAndDomain]:
    """Those of a data set of the Hugging Face Hub, OWNER/NAME[/CONFIG][@SPLIT], read as they come; the split is train if none is named."""
    path, _, split = name.partition("@")
    owner, *rest = path.split("/")
    identity, config = "/".join([owner, *rest[:1]]), "/".join(rest[1:]) or None
    with needed("datasets", "datasets", f"hf:{name}"):
        import datasets
    try:
        rows = datasets.load_dataset(identity, config, split=split or "train", streaming=True)
        for number, row in enumerate(rows, 1):
            yield checked(row, field, f"hf:{name}, row {number},")
    except DataError:
        raise
    except Exception as error:  # of many classes, from several packages
        reason = (" ".join(str(error).split()) or type(error).__name__)[:160].rstrip(".")
        raise DataError(
            f"hf:{name} cannot be read from the Hub ({reason}): check its name and the network, or save it to a folder."
        ) from error


def valid(batch: Any) -> Any:
    """The batch, once its offsets and texts have been looked at: a damaged one may otherwise be read beyond its end."""
    batch.validate(full=True)
    return batch


def checked_batches(batches: Iterator[Any], field: str, source: str) -> Iterator[TextAndDomain]:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield checked(row, field, f"{source}, row {number},")


def checked(row: Mapping[str, Any], field: str, where: str) -> TextAndDomain:
    """The text and the domain of a row. Raises DataError where there is no text, or one that is no Unicode."""
    if field not in row:
        names = ", ".join(list(row)[:8]) or "nothing"
        raise DataError(f"{where} has no field {field!r}, but {names}: name the field that has the text.")
    text, domain = row[field], row.get(DOMAIN)
    if not isinstance(text, str):
        raise DataError(f"{where} has a {field!r} of type {type(text).__name__}, where a string is needed: leave that row out.")
    if domain is not None and not isinstance(domain, str):
        raise DataError(f"{where} has a {DOMAIN!r} of type {type(domain).__name__}, where a string is needed: give it a name.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where} has half a character (a lone surrogate, at {error.start}): leave that row out.") from error
    return text, domain or None


@contextmanager
def arrow(file: Path) -> Iterator[Any]:
    """The package pyarrow, whose complaints about a file are told in one line."""
    with needed("pyarrow", "parquet", str(file)):
        import pyarrow.ipc
        import pyarrow.parquet
    try:
        yield pyarrow
    except DataError:
        raise
    except Exception as error:  # of a damaged file, of many classes
        raise unreadable(file, error) from error


@contextmanager
def needed(package: str, extra: str, source: str) -> Iterator[None]:
    """Around the import of an optional package. Raises DataError where it is not installed."""
    try:
        yield
    except ImportError as error:
        raise DataError(f"Reading {source} needs the package {package}: pip install 'prunescale[{extra}]'.") from error


def unreadable(file: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return DataError(f"{file} cannot be read ({reason}): make it readable, or copy it again.")
