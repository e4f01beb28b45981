"""Which tokens belong to which domain: noted as tokens are written, and read from a file beside them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunescale.errors import DataError
from prunescale.fields import fits
from prunescale.training.held_out import OTHER
from prunescale.training.tokens import Domain

SPANS = "spans.json"
"""Beside a file of tokens, or as val-spans.json beside val-00000.npz: a list of [domain, first token, tokens]."""

MOST_RUNS = 100_000
"""A text whose domain changes more often is one to train on, where domains are not asked for; noting them would fill the memory."""


class Runs:
    """Notes the domains of tokens as they come."""

    def __init__(self) -> None:
        self.n_tokens = 0
        self.noted: list[tuple[str | None, int]] = []  # a domain and where it begins
        self.is_full = False

    def add(self, name: str | None, n_tokens: int) -> None:
        """So many tokens more, of a domain or of none."""
        if not self.is_full and (not self.noted or self.noted[-1][0] != name):
            self.noted.append((name, self.n_tokens))
            self.is_full = len(self.noted) > MOST_RUNS
        self.n_tokens += n_tokens

    def domains(self) -> tuple[Domain, ...]:
        """The runs; none where no token had a domain, or where there are too many."""
        if self.is_full or all(name is None for name, _ in self.noted):
            return ()
        ends = [first for _, first in self.noted[1:]] + [self.n_tokens]
        return tuple(Domain(name or OTHER, first, end - first) for (name, first), end in zip(self.noted, ends, strict=True))


def domains_beside(file: Path, n_tokens: int) -> tuple[Domain, ...]:
    """What a file of spans in the same folder says of a file of tokens; nothing where there is none. One that is named after the first word
    of the file is of all files so named together: it is taken where it ends with these tokens.

    Raises DataError where it says what cannot be, or speaks of more tokens than there are."""
    of_all = file.with_name(f"{file.stem.partition('-')[0]}-{SPANS}")
    if of_all.is_file() and ends_with(rows := rows_of(of_all), n_tokens):
        return domains_from(rows, n_tokens, of_all)
    beside = file.with_name(SPANS)
    return domains_from(rows_of(beside), n_tokens, beside) if beside.is_file() else ()


def ends_with(rows: Sequence[Any], n_tokens: int) -> bool:
    return bool(rows) and all(fits(number, int) for number in rows[-1][1:]) and rows[-1][1] + rows[-1][2] == n_tokens


def rows_of(file: Path) -> list[Any]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(rows, list) and all(isinstance(row, list) and len(row) == 3 for row in rows):
            return rows
    except (OSError, ValueError, RecursionError):
        pass
    raise DataError(f"{file} holds no spans: a list of [domain, first token, tokens] in JSON is needed.")


def domains_from(rows: Sequence[Any], n_tokens: int, file: Path) -> tuple[Domain, ...]:
    """Runs as they stand in a file, checked: one behind the other, none beyond the tokens."""
    try:
        domains = tuple(Domain(str(name), int(first), int(n)) for name, first, n in rows)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"{file} has spans that are none: a list of [domain, first token, tokens] is needed.") from error
    reached = 0
    for domain in domains:
        if domain.first < reached or domain.n_tokens < 0:
            raise DataError(f"{file} has a span of {domain.name} at {domain.first}, inside the one before it: put them in order.")
        reached = domain.first + domain.n_tokens
    if reached > n_tokens:
        raise DataError(f"{file} has spans of {reached} tokens, and there are {n_tokens}: give the tokens they were made for.")
    return domains
