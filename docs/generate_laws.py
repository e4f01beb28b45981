"""Write docs/laws.md from the laws, their columns and the published constants themselves: python docs/generate_laws.py"""

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

from prunescale.laws import COLUMNS, LAWS, PRESETS, Law

INTRODUCTION = """# Laws

Generated from the code by [generate_laws.py](generate_laws.py); a test fails where it is out of date. How laws are fitted, and what
follows from a fit: [fitting](fitting.md).

All losses are in nats per token on held-out text. Every N says what it counts. A law is a frozen dataclass in
`prunescale.laws`; `LAWS` holds them by the names given here. Bounds are those of the search; a constant that ends at one is
reported. Constants marked *log* are searched by their logarithm, are never negative, and can be 0 to drop their term.
"""

OWN = """
## Your own law

A function of columns and constants that returns nats per token, and the bounds of its constants, is a law like any other:

```python
from prunescale.laws import Bound, own_law


def saturating(n_tokens, loss_before, *, gap, tau):
    \"\"\"L0 + gap exp(-D/tau)\"\"\"
    return loss_before + gap * 2.718281828 ** (-n_tokens / tau)


BOUNDS = {"gap": (0.0, 5.0), "tau": Bound(1e3, 1e12, start=(1e6, 1e9), log=True)}
Saturating = own_law(saturating, BOUNDS)
```

Parameters that the bounds name are constants; the others are columns, by the names below or any that your table has. A bound is a
least and a greatest value, or a `Bound`, which says besides where a search starts and whether it goes by the logarithm. Kept in a
file with its `BOUNDS`, the same law is `law_from_file("path/to/file.py:saturating")`; that runs the file.

The function must take numbers. Where it takes NumPy arrays too, it is evaluated for many points and candidates at once. Its
derivatives come by complex step, exact to rounding, where it takes complex numbers, and else by central differences, good to about
nine digits. Where a column may be 0, name it: `own_law(..., may_be_zero=("sparsity",))`, or `MAY_BE_ZERO` in the file.
"""


def page() -> str:
    """The text of docs/laws.md."""
    return "".join(
        [INTRODUCTION, *contents(), *(part for law in LAWS.values() for part in section(law)), OWN, *columns(), *presets()]
    )


def contents() -> Iterator[str]:
    yield "\n"
    yield from table(["name", "loss"], [[f"`{name}`", f"`{law.formula}`"] for name, law in LAWS.items()])


def section(law: type[Law]) -> Iterator[str]:
    first, _, text = (inspect.getdoc(law) or "").partition("\n")
    title = law.title[0].upper() + law.title[1:]
    yield f"\n## {title}: `{law.name}`\n\n    {first}\n\n{text.strip()}\n\nSource: {law.source}.\n\n"
    yield from table(
        ["symbol", "column", "unit", "meaning"],
        [[COLUMNS[c].symbol, f"`{c}`", COLUMNS[c].unit, COLUMNS[c].meaning + zero(law, c)] for c in law.columns],
    )
    yield "\n"
    yield from table(
        ["constant", "bounds", "role"],
        [[f"`{name}`", f"{b.low:g} to {b.high:g}", "*log*; " * b.log + b.role] for name, b in law.bounds.items()],
    )


def zero(law: type[Law], column: str) -> str:
    return "; may be 0" if column in law.may_be_zero else ""


def columns() -> Iterator[str]:
    yield "\n## Columns\n\nCounts are raw in every column. Where a law divides them, it says so.\n\n"
    yield from table(
        ["column", "symbol", "unit", "meaning"], [[f"`{name}`", c.symbol, c.unit, c.meaning] for name, c in COLUMNS.items()]
    )


def presets() -> Iterator[str]:
    yield "\n## Published constants\n\n"
    yield "`PRESETS` has those that could be checked, and no others. The counts in their columns must be of what is given beside them.\n\n"
    rows = []
    for name, preset in PRESETS.items():
        constants = ", ".join(f"{constant} {value:.6g}" for constant, value in preset.law.constants().items())
        units = "; ".join(f"`{column}`: {unit}" for column, unit in preset.units.items())
        rows.append([f"`{name}`", f"`{preset.law.name}`", constants, units, f"{preset.citation}; {preset.status}"])
    yield from table(["name", "law", "constants, in our units", "counts are of", "source"], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in [head, ["---"] * len(head), *rows]:
        yield "| " + " | ".join(row) + " |\n"


if __name__ == "__main__":
    Path(__file__).with_name("laws.md").write_text(page(), encoding="utf-8")
