"""Pieces of results.md: tables, and numbers as they are written there."""

from collections.abc import Iterable, Sequence

from prunescale.amounts import short
from prunescale.fitting import Check, Fit
from prunescale.fitting.result import Answer

Interval = tuple[float, float] | None


def table(head: Sequence[str], lines: Iterable[Sequence[str]], n_words: int = 1) -> str:
    """The first `n_words` columns to the left, the others to the right."""
    rule = [" --- " if index < n_words else " ---: " for index in range(len(head))]
    return "\n".join(
        ["| " + " | ".join(head) + " |", "|" + "|".join(rule) + "|", *("| " + " | ".join(line) + " |" for line in lines)]
    )


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f} %"


def signed(share: float, digits: int = 2) -> str:
    """In percent, with its sign; 0 has none."""
    return f"{round(100 * share, digits) + 0.0:+.{digits}f} %"


def between(value: str, interval: Interval, digits: str = ".3g") -> str:
    """A value and, in brackets, its 90 % interval."""
    return value if interval is None else f"{value} ({interval[0]:{digits}} to {interval[1]:{digits}})"


def constant(found: Fit, name: str) -> str:
    return between(f"{found.law.constants()[name]:.4g}", found.interval(name))


def answer(found: Fit, of_law: Answer, digits: str = ".3f") -> str:
    return between(f"{float(of_law(found.law)):{digits}}", found.interval(of_law), digits)


def amounts(value: float, interval: Interval) -> str:
    return short(value) if interval is None else f"{short(value)} ({short(interval[0])} to {short(interval[1])})"


def status(found: Fit) -> str:
    return found.status.name.lower().replace("_", " ")


def codes(some: Iterable[Check]) -> str:
    """The codes of checks, each once."""
    return ", ".join(f"`{code}`" for code in dict.fromkeys(check.code for check in some)) or "none"


def sentences(some: Iterable[Check], only: Sequence[str] = ()) -> str:
    """Checks as a list; of these codes, where some are named."""
    return "\n".join(f"- `{check.code}`: {check.text}" for check in some if not only or check.code in only)
