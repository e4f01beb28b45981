"""Arithmetic of columns, no more than is needed to get one number out of others: `Training FLOP/6/Model Size`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunescale.errors import StoreError
from prunescale.runs.importers.rows import BadRow, number

NUMBER = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Formula:
    """Columns and numbers, each multiplied with the one before it or dividing it, from left to right."""

    text: str
    terms: tuple[tuple[str, str | float], ...]  # ("*" or "/", a column's name or a number)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(term for _, term in self.terms if isinstance(term, str))

    def value(self, row: Mapping[str, Any]) -> float:
        """Of this row. Raises BadRow, which says of what is missing or no number which column it is where there are several."""
        result = 1.0
        for operator, term in self.terms:
            factor = self._number(row, term) if isinstance(term, str) else term
            if operator == "/" and factor == 0:
                raise BadRow("division by zero", f"would be divided by zero ({self.text})")
            result = result * factor if operator == "*" else result / factor
        return number(result)

    def _number(self, row: Mapping[str, Any], column: str) -> float:
        try:
            return number(row.get(column))
        except BadRow as bad:
            if len(self.terms) == 1:
                raise
            raise BadRow(bad.reason, f"cannot be computed: {column} {bad.detail}") from None


def parse(text: str, columns: Sequence[str], file: str) -> Formula:
    """The formula in a text. A column's name may hold anything, also * and /: of the names that fit, the longest is meant.

    Raises StoreError, which lists the columns, where a name is not among them.
    """
    terms: list[tuple[str, str | float]] = []
    operator, rest = "*", text.strip()
    while True:
        term, length = _first_term(rest, columns)
        if term is None:
            raise StoreError(f"{file} has no column {rest!r}{in_formula(rest, text)}; its columns: {listed(columns)}.")
        terms.append((operator, term))
        rest = rest[length:].lstrip()
        if not rest:
            return Formula(text.strip(), tuple(terms))
        operator, rest = rest[0], rest[1:].lstrip()


def _first_term(text: str, columns: Sequence[str]) -> tuple[str | float | None, int]:
    """The term that a text begins with, up to its end or an operator, and its length; None if there is no such term."""
    fitting = [name for name in columns if name and text.startswith(name) and _ends(text[len(name) :])]
    if fitting:
        name = max(fitting, key=len)
        return name, len(name)
    if (found := NUMBER.match(text)) and _ends(text[found.end() :]):
        return float(found[0]), found.end()
    return None, 0


def _ends(rest: str) -> bool:
    return not rest.strip() or rest.lstrip()[0] in "*/"


def in_formula(part: str, text: str) -> str:
    return "" if part == text.strip() else f" (in {text.strip()!r})"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a message, not too many of them."""
    legible = (name if name.isprintable() else repr(name) for name in names[:most])
    shown = ", ".join(name if len(name) <= 60 else name[:57] + "..." for name in legible)
    return (shown or "none") + (f" and {len(names) - most} more" if len(names) > most else "")
