"""The points that several laws can all use, so that they are judged on the same ones."""

from collections.abc import Collection, Sequence

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting.holdout import RATES, SIZES
from prunescale.fitting.points import TEXT, Points, weights
from prunescale.laws import Columns, Law

BESIDE = (
    "phase",
    "base",
    "loss_before",
    "loss_control",
    *RATES,
    *SIZES,
)  # kept for hold-outs and measures, where every point has them
ENOUGH = 0.5  # of the points that the best served law can use: with fewer, a law would decide what the others are judged on


def same_points(
    laws: Sequence[type[Law]], columns: Columns, *, min_tokens: float, phases: Collection[str] | None, weighting: str
) -> Points:
    """Sorted by run, tokens and loss; `left_out` counts, by reason, the rows that not every law could use. None is without tokens."""
    for law in laws:
        _refuse_missing(law, columns, phases)
    needed = dict.fromkeys(name for law in laws for name in law.columns)
    reasons = _not_asked(columns, min_tokens, phases) | {
        f"no usable {name}": ~usable(columns, name, laws) for name in ("loss", *needed)
    }
    keep, left_out = np.ones(len(columns["run"]), dtype=bool), {}
    for reason, bad in reasons.items():
        left_out[reason] = int(np.sum(keep & bad))
        keep &= ~bad
    if not keep.any():
        counts = "; ".join(f"{n}: {reason}" for reason, n in left_out.items() if n)
        raise FitError(f"No point can be used by {' and '.join(law.name for law in laws)} ({counts or 'the table has no rows'}).")
    order = np.flatnonzero(keep)[np.lexsort([np.asarray(columns[name])[keep] for name in ("loss", "n_tokens", "run")])]
    chosen = {name: _in_order(columns, name, order) for name in ("run", *needed, "loss")}
    for name in BESIDE:
        if name not in chosen and name in columns and (name in TEXT or np.all(usable(columns, name, laws)[order])):
            chosen[name] = _in_order(columns, name, order)
    chosen.setdefault("n_tokens", _in_order(columns, "n_tokens", order))
    return Points(chosen, weights(chosen, weighting), {reason: n for reason, n in left_out.items() if n})


def allowed(
    laws: Sequence[type[Law]], columns: Columns, *, min_tokens: float, phases: Collection[str] | None
) -> tuple[list[type[Law]], dict[str, str]]:
    """Those of the laws whose columns the table has, and for each other by name why not.

    Where models are pruned at different rates, a law that does not read the rate says nothing of them, and is left out too.
    """
    asked = usable(columns, "loss", ())
    for bad in _not_asked(columns, min_tokens, phases).values():
        asked &= ~bad
    with_all = {law.name: asked & np.all(list(_known(columns, law).values()), axis=0) for law in laws}
    most = max((np.sum(rows) for rows in with_all.values()), default=0)
    rates_differ = _rates_differ(columns, asked)
    chosen, reasons = [], {}
    for law in laws:
        n_usable = int(np.sum(with_all[law.name]))
        if n_usable == 0 or n_usable < ENOUGH * most:
            lacking = [name for name, known in _known(columns, law).items() if not np.all(known[asked])]
            some = f"only {n_usable} of {int(np.sum(asked))} points have" if n_usable else "no point has"
            reasons[law.name] = f"{some} {' and '.join(lacking)}"
        elif rates_differ and "pruning_rate" not in law.columns:
            reasons[law.name] = "pruning_rate, which it does not read, differs between these runs"
        else:
            chosen.append(law)
    return chosen, reasons


def _known(columns: Columns, law: type[Law]) -> dict[str, np.ndarray]:
    """Where each column of a law has a number that it can take; nowhere where the table lacks it."""
    nowhere = np.zeros(len(columns["run"]), dtype=bool)
    return {name: usable(columns, name, [law]) if name in columns else nowhere for name in law.columns}


def _rates_differ(columns: Columns, asked: np.ndarray) -> bool:
    """Whether most of these points are of models that were pruned before they were trained, at several rates."""
    if not {"pruning_rate", "loss_before"} <= columns.keys():
        return False
    pruned = asked & usable(columns, "loss_before", ()) & (np.asarray(columns["pruning_rate"], dtype=float) > 0)
    rates = np.asarray(columns["pruning_rate"])[pruned]
    return np.sum(pruned) >= ENOUGH * np.sum(asked) and len(np.unique(rates)) > 1


def usable(columns: Columns, name: str, laws: Sequence[type[Law]]) -> np.ndarray:
    """Where a column has a number that every one of these laws that reads it can take."""
    values = np.asarray(columns[name], dtype=float)
    readers = [law for law in laws if name in law.columns]
    zero = bool(laws) and all(name in law.may_be_zero for law in readers)
    return np.isfinite(values) & ((values > 0) | ((values == 0) & zero))


def _not_asked(columns: Columns, min_tokens: float, phases: Collection[str] | None) -> dict[str, np.ndarray]:
    other = {f"learning-rate phase not {' or '.join(sorted(phases))}": ~np.isin(columns["phase"], list(phases))} if phases else {}
    return other | {f"fewer than {max(min_tokens, 1):,.0f} tokens": ~(np.asarray(columns["n_tokens"]) >= max(min_tokens, 1))}


def _in_order(columns: Columns, name: str, order: np.ndarray) -> np.ndarray:
    values = np.asarray(columns[name])[order]
    return values if name in TEXT else values.astype(float)


def _refuse_missing(law: type[Law], columns: Columns, phases: Collection[str] | None) -> None:
    names = ("run", *law.columns, "n_tokens", "loss", *(("phase",) if phases is not None else ()))
    missing = [name for name in dict.fromkeys(names) if name not in columns]
    if missing:
        raise FitError(f"The {law.title} cannot be judged on these runs: they have no {' and no '.join(missing)}.")
