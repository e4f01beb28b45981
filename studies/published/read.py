"""The files in data/, as rows and columns."""

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"

Rows = Sequence[dict[str, str]]


def rows(name: str) -> Rows:
    """A file's rows as they stand there; its name may end in .gz."""
    path = DATA / name
    with (
        gzip.open(path, "rt", newline="", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(newline="", encoding="utf-8") as f
    ):
        return list(csv.DictReader(f))


def numbers(some: Rows, name: str) -> np.ndarray:
    """A column as numbers, nan where there is none; (rows,)."""
    return np.array([float(row[name] or "nan") for row in some])


def words(some: Rows, name: str) -> np.ndarray:
    return np.array([row[name] for row in some])


def keep(columns: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    """The same columns with some rows only."""
    return {name: column[rows] for name, column in columns.items()}
