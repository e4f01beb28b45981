"""What a person should know about a fit before believing it, a sentence each."""

from collections.abc import Mapping

import numpy as np

from prunescale.fitting.precision import Precision
from prunescale.laws import Columns, Law


def notes(
    law: Law, columns: Columns, at_bound: tuple[str, ...], known: Precision, left_out: Mapping[str, int]
) -> tuple[str, ...]:
    """Losses that the law cannot reach, constants at their bounds, those that the points determine poorly, and the points left out."""
    bounds = [_at_bound(law, name) for name in at_bound]
    weak = [
        f"The points determine {' and '.join(names)} {'only together' if len(names) > 1 else 'hardly at all'} "
        f"(singular value of the scaled Jacobian: {ratio:.1g} of the largest)."
        for names, ratio in known.weak
    ]
    constants = law.constants()
    unsure = [name for name, error in known.standard_errors.items() if error is not None and error > abs(constants[name])]
    zero = [f"Not told apart from zero by these points: {', '.join(unsure)} (standard error above the value)."] if unsure else []
    return (
        *_below_before(law, columns),
        *bounds,
        *weak,
        *zero,
        *(f"Left out: {n} points, {reason}." for reason, n in left_out.items()),
    )


def _below_before(law: Law, columns: Columns) -> tuple[str, ...]:
    n_below = int(np.sum(columns["loss"] < columns["loss_before"])) if "loss_before" in law.columns else 0
    if n_below == 0:
        return ()
    return (
        f"{n_below} of {len(columns['loss'])} points lie below the loss before pruning, where the {law.title} cannot go: further training "
        "on this text would have lowered the loss of the unpruned model too, so compare with a control that was not pruned.",
    )


def _at_bound(law: Law, name: str) -> str:
    bound, value = law.bounds[name], law.constants()[name]
    if value > (bound.low + bound.high) / 2:
        return f"{name} ended at its upper bound, {bound.high:g}."
    vanished = ": the points want its term to vanish" if bound.log else ""
    return f"{name} ended at its lower bound, {bound.low:g}{vanished}."
