"""Which law is fitted where nobody says which."""

import numpy as np
import pytest

from prunescale.fitting import default_law
from prunescale.laws import P2Law, TokensPerParameterLaw

COLUMNS = {
    "run": np.array(["a", "a", "b", "c"]),
    "kind": np.array(["post-training"] * 4),
    "pruning_rate": np.array([0.25, 0.25, 0.5, 0.0]),
}


@pytest.mark.parametrize(
    ("loss_control", "law"),
    [
        ([np.nan, 2.0, 2.0, np.nan], TokensPerParameterLaw),  # each pruned run has one somewhere
        ([2.0, 2.0, np.nan, 2.0], P2Law),
        ([np.nan] * 4, P2Law),
    ],
)
def test_it_measures_from_the_control_where_each_pruned_run_has_one(loss_control, law):
    assert default_law({**COLUMNS, "loss_control": np.array(loss_control)}) is law


def test_without_controls_or_without_pruned_runs_it_is_p2():
    assert default_law(COLUMNS) is P2Law
    unpruned = {**COLUMNS, "pruning_rate": np.zeros(4), "loss_control": np.full(4, 2.0)}
    assert default_law(unpruned) is P2Law
