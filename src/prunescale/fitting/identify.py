"""Which constants a set of runs leaves open, however little noise it has: found by looking, not by rules for each law.

Where the derivatives by the constants, at all the points, depend on one another wherever the constants lie, some change of
several constants together changes no prediction. What is missing is found by adding other values of one column after another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prunescale.laws import Columns, Law

RANK = 1e-9  # of the largest singular value, columns scaled to one: below it a direction is open, not merely weak
INVOLVED = 1e-5  # part in an open direction from which on a constant is named
N_TRIES = 4  # places at which the derivatives are looked at: dependent by chance in one, but not in all
N_ROWS = 512  # different rows looked at, at most
OTHERS = (0.31, 0.57, 1.73, 2.9)  # times the middle of a column: values that it might have had besides
NOUNS = {"n_params": "model size", "n_tokens": "token count", "pruning_rate": "pruning rate", "sparsity": "sparsity"}


@dataclass(frozen=True)
class Gap:
    """Constants that the runs at hand cannot determine."""

    got: str  # what there is too little of: "1 model size"
    constants: str  # what that leaves open: "3 of delta, N_C, alpha, D_C, E"
    n_open: int  # how many of them: 3
    add: str  # the runs that would help: "runs of another size"
    fix: Mapping[str, float]  # constants whose fixing helps too; empty where no value suggests itself


def gaps(law: type[Law], columns: Columns, fixed: Mapping[str, float]) -> tuple[Gap, ...]:
    """What these columns leave open when the constants in `fixed` are given; a gap for each column that has too few values."""
    table = given = _different_rows(law, columns)
    names = [name for name in law.bounds if name not in fixed]
    open_now, found = _open_space(law, table, fixed, names), []
    for column in sorted(law.columns, key=lambda name: len(np.unique(table[name]))):
        if not open_now.size:
            break
        more = _with_other_values(table, column)
        left = _open_space(law, more, fixed, names)
        if left.shape[1] < open_now.shape[1]:
            constants, n_open = _named(names, open_now, left), open_now.shape[1] - left.shape[1]
            noun = next((noun for prefix, noun in NOUNS.items() if column.startswith(prefix)), f"value of {column}")
            fix = _fixes(law, table, constants, n_open, fixed)
            rivals = [
                c for c in law.columns if _open_space(law, _with_other_values(table, c), fixed, names).shape[1] == left.shape[1]
            ]
            found.append(Gap(_got(given, column, noun, rivals), _words(constants, n_open), n_open, _add(noun), fix))
            table, open_now = more, left
    if open_now.size:
        constants, n_open = _named(names, open_now, np.zeros((len(names), 1))), open_now.shape[1]
        found.append(Gap("runs like these", _words(constants, n_open), n_open, "runs unlike them", {}))
    return tuple(found)


def _different_rows(law: type[Law], columns: Columns) -> dict[str, np.ndarray]:
    rows = np.unique(np.stack([np.asarray(columns[name], dtype=float) for name in law.columns]), axis=1)
    some = np.linspace(0, rows.shape[1] - 1, min(rows.shape[1], N_ROWS)).astype(int)
    return dict(zip(law.columns, rows[:, some], strict=True))


def _open_space(law: type[Law], table: Columns, fixed: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    """An orthonormal basis of the directions without effect, (constants, directions): the smallest found at a few places."""
    smallest = np.eye(len(names))
    for seed in range(N_TRIES):
        rng = np.random.default_rng(seed)
        place = {name: rng.uniform(*bound.start) for name, bound in law.bounds.items()} | dict(fixed)
        with np.errstate(all="ignore"):  # a law of one's own may have no value at some places
            jacobian = law.from_constants(place).jacobian(table)[:, [name in names for name in law.bounds]]
        jacobian = jacobian[np.all(np.isfinite(jacobian), axis=1)]
        lengths = np.linalg.norm(jacobian, axis=0)
        scaled = jacobian / np.where(lengths > 0, lengths, 1.0)
        _, values, directions = np.linalg.svd(scaled, full_matrices=len(scaled) < len(names))  # all directions, not all rows
        rank = int(np.sum(values > RANK * values[0])) if values.size and values[0] > 0 else 0
        if len(names) - rank < smallest.shape[1]:
            smallest = directions[rank:].T
        if not smallest.size:
            break
    return smallest


def _with_other_values(table: Columns, column: str) -> dict[str, np.ndarray]:
    """The table and, for each row, rows with other values of one column."""
    middle = float(np.exp(np.mean(np.log(np.maximum(table[column], 1e-12)))))
    middle = min(middle, 0.3) if np.max(table[column]) < 1 else middle  # a share stays one
    copies = {name: np.tile(values, len(OTHERS) + 1) for name, values in table.items()}
    n_rows = len(table[column])
    copies[column][n_rows:] = np.repeat(middle * np.array(OTHERS), n_rows)
    return copies


def _named(names: Sequence[str], before: np.ndarray, after: np.ndarray) -> list[str]:
    """Constants with a part in the directions that were open before and are not any more."""
    closed = before @ before.T - after @ after.T
    return [name for name, part in zip(names, np.diag(closed), strict=True) if part > INVOLVED]


def _got(given: Columns, column: str, noun: str, rivals: Sequence[str]) -> str:
    """What there is too little of. `rivals` are columns of which other values would do as well."""
    others = [name for name in given if name != column]
    n_values = len(np.unique(given[column]))
    if column == "n_tokens" and others:
        _, n_each = np.unique(np.stack([given[name] for name in others]), axis=1, return_counts=True)
        return f"at most {_count(int(n_each.max()), noun)} a curve"
    for other in rivals:
        n_pairs = np.unique(np.stack([given[column], given[other]]), axis=1).shape[1]
        if other != column and 1 < n_values == n_pairs == len(np.unique(given[other])):
            return f"{_plural(noun)} that go with {other}"
    return _count(n_values, noun)


def _add(noun: str) -> str:
    return "points at other token counts" if noun == "token count" else f"runs with another {noun}"


def _fixes(law: type[Law], table: Columns, constants: list[str], n_open: int, fixed: Mapping[str, float]) -> dict[str, float]:
    """Constants to switch off until nothing is open any more of what this gap leaves open; the last ones first."""
    chosen: dict[str, float] = {}
    held = dict(fixed)
    everything = [name for name in law.bounds if name not in held]
    left = _open_space(law, table, held, everything).shape[1]
    for name in reversed([name for name in constants if law.bounds[name].off is not None]):
        trial = held | {name: float(law.bounds[name].off or 0.0)}
        remaining = _open_space(law, table, trial, [n for n in law.bounds if n not in trial]).shape[1]
        if remaining < left and len(chosen) < n_open:
            chosen[name], held, left = trial[name], trial, remaining
    return chosen if len(chosen) == n_open else {}


def _words(constants: list[str], n_open: int) -> str:
    return ", ".join(constants) if n_open >= len(constants) else f"{n_open} of {', '.join(constants)}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun if n == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.startswith("value of"):
        return noun.replace("value", "values", 1)
    return noun.removesuffix("y") + "ies" if noun.endswith("y") else noun + "s"
