"""Tables: CSV, JSONL (an object a line) and Parquet. The format says nothing but the names of the columns."""

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from prunescale.errors import StoreError
from prunescale.runs.importers.opening import lines, needed, parsed_json, text_file
from prunescale.runs.importers.rows import MAX_ROWS, BadRow, Row, Source

MAX_COLUMNS = 10_000


def read_table(path: Path) -> Source:
    """The rows of a table, told by its name's ending."""
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            columns, rows = csv_header(path), csv_rows(path)
        case ".jsonl" | ".ndjson":
            columns, rows = jsonl_columns(path), jsonl_rows(path)
        case ".parquet":
            columns, rows = parquet_columns(path), parquet_rows(path)
        case _:
            raise StoreError(f"{path} is no table that is known: its name must end in .csv, .tsv, .jsonl or .parquet.")
    if len(columns) > MAX_COLUMNS:
        raise StoreError(f"{path} has {len(columns):,} columns; more than {MAX_COLUMNS:,} are no table of measurements.")
    return Source(path, columns, limited(rows, path))


def limited(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    yield from islice(rows, MAX_ROWS)
    if next(rows, None):
        raise StoreError(f"{path} has more than {MAX_ROWS:,} rows: split it, or leave out what is no measurement.")


def csv_header(path: Path) -> tuple[str, ...]:
    with text_file(path) as file:
        header = next(_csv_records(file, path), None)
    if header is None:
        raise StoreError(f"{path} is empty: a first line with the names of the columns is needed.")
    names = tuple(name.strip() for name in header[1])
    if len(names) > MAX_COLUMNS:
        raise StoreError(f"{path} has {len(names):,} columns; more than {MAX_COLUMNS:,} are no table of measurements.")
    # An unnamed column is what a data frame makes of its row numbers.
    if twice := [name for name, n in Counter(names).items() if name and n > 1]:
        raise StoreError(f"{path} has two columns called {twice[0]!r}: rename one.")
    return names


def csv_rows(path: Path) -> Iterator[Row]:
    header = csv_header(path)
    with text_file(path) as file:
        for line, cells in islice(_csv_records(file, path), 1, None):
            if not cells:
                continue  # a blank line, as at the end of many files
            fault = None
            if len(cells) != len(header):
                fault = BadRow("wrong number of cells", f"has {len(cells)} cells, and the first line {len(header)}")
            yield Row(f"line {line}", dict(zip(header, cells, strict=False)), fault)


def _csv_records(file: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    first = next(lines(file, path), (1, ""))[1]
    file.seek(0)
    delimiter = max((",", ";", "\t"), key=first.count)
    records = csv.reader((text for _, text in lines(file, path)), delimiter=delimiter, strict=True)
    try:
        for cells in records:
            yield records.line_num, cells
    except csv.Error as error:
        raise StoreError(f"{path}: line {records.line_num}: {error}.") from error


def jsonl_columns(path: Path) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for row in limited(jsonl_rows(path), path):
        names |= dict.fromkeys(row.values)
        if len(names) > MAX_COLUMNS:
            break
    return tuple(names)


def jsonl_rows(path: Path) -> Iterator[Row]:
    with text_file(path) as file:
        for line, text in lines(file, path):
            if text.strip():
                yield _json_row(f"line {line}", text)


def _json_row(where: str, text: str) -> Row:
    try:
        values = parsed_json(text, "it")
    except StoreError:
        return Row(where, {}, BadRow("not JSON", "is not JSON"))
    if not isinstance(values, dict):
        return Row(where, {}, BadRow("not JSON", "is no JSON object"))
    return Row(where, values)


def parquet_columns(path: Path) -> tuple[str, ...]:
    return tuple(_parquet(path, lambda file: file.schema_arrow.names))


def parquet_rows(path: Path) -> Iterator[Row]:
    file = _parquet(path, lambda file: file)
    batches = file.iter_batches(batch_size=1024)
    number = 0
    while (rows := _parquet_part(path, lambda: _next_rows(batches))) is not None:
        for values in rows:
            number += 1
            yield Row(f"row {number}", values)


def _next_rows(batches: Iterator[Any]) -> list[dict[str, Any]] | None:
    batch = next(batches, None)
    return None if batch is None else batch.to_pylist()


def _parquet(path: Path, get: Any) -> Any:
    with needed("pyarrow", "parquet", "Parquet"):
        import pyarrow.parquet
    return _parquet_part(path, lambda: get(pyarrow.parquet.ParquetFile(path)))


def _parquet_part(path: Path, get: Any) -> Any:
    import pyarrow

    try:
        return get()
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # the last also for names and texts that are no UTF-8
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"{path} cannot be read as Parquet ({reason}).") from error
