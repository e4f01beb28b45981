from dataclasses import replace

import numpy as np
import pytest

from prunescale.runs import Point
from prunescale.runs.control import with_control
from prunescale.runs.table import columns


def points(phase, **losses):
    return tuple(Point(int(n[1:]), loss, 1e-3, phase, None) for n, loss in losses.items())


@pytest.fixture
def control(make_run):
    return make_run(id="control", pruning_rate=0.0, points=points("constant", n0=3.0, n100=2.0, n10000=1.0))


def test_interpolated_in_the_logarithm_of_the_tokens(make_run, control):
    # Half-way between 100 and 10000 in the logarithm is 1000, so 1.5 there; 50 and 20000 are out of the control's range.
    # Zero has no logarithm: it is met exactly or not at all.
    pruned = make_run(points=points("constant", n0=9.0, n50=8.0, n100=7.0, n1000=6.0, n10000=5.0, n20000=4.0))
    table = with_control(columns([pruned, control]))
    expected = [3.0, np.nan, 2.0, 1.5, 1.0, np.nan, 3.0, 2.0, 1.0]  # the control is its own control
    np.testing.assert_allclose(table["loss_control"], expected, rtol=1e-14)  # two logarithms and a product round
    assert table["loss"].tolist() == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    "changes",
    [{"base": "other"}, {"n_params_before": 2000}, {"n_params_before": None}, {"points": points("decay", n100=7.0)}],
)
def test_only_a_control_of_the_same_model_and_phase_will_do(make_run, control, changes):
    pruned = make_run(**{"points": points("constant", n100=7.0), **changes})
    assert np.isnan(with_control(columns([pruned, control]))["loss_control"][0])


@pytest.mark.parametrize("changes", [{"kind": "pre-training"}, {"pruning_rate": 0.1}, {"pruning_rate": None}])
def test_what_is_no_control(make_run, changes):
    other = make_run(**{"id": "other", "pruning_rate": 0.0, "points": points("constant", n100=2.0), **changes})
    assert np.isnan(with_control(columns([make_run(points=points("constant", n100=7.0)), other]))["loss_control"]).all()


def test_unknown_sizes_of_one_base_are_the_same(make_run, control):
    pruned = make_run(n_params_before=None, points=points("constant", n100=7.0))
    table = with_control(columns([pruned, make_run(**{**vars(control), "n_params_before": None})]))
    assert table["loss_control"][0] == 2.0


def test_of_several_controls_those_count_that_reach_furthest_the_same_for_all_of_a_run(make_run, control):
    # Where one ended earlier the mean once jumped to the other's, and the excess with it.
    short = make_run(id="short", pruning_rate=0.0, points=points("constant", n100=4.0))
    third = make_run(id="third", pruning_rate=0.0, points=points("constant", n100=3.0, n10000=2.0))
    pruned = make_run(points=points("constant", n100=7.0, n10000=5.0))
    assert with_control(columns([pruned, short, third, control]))["loss_control"][:2].tolist() == [2.5, 1.5]
    early = make_run(id="early", points=points("constant", n100=7.0))
    assert with_control(columns([early, short, third, control]))["loss_control"][0] == 3.0


@pytest.mark.parametrize(("rate", "expected"), [(1e-3, 2.0), (2e-3, 4.0), (None, 3.0), (5e-4, np.nan)])
def test_a_control_was_trained_at_the_same_rate_where_that_is_known(make_run, rate, expected):
    def at(rate, **losses):
        return tuple(replace(point, learning_rate=rate) for point in points("constant", **losses))

    controls = [
        make_run(id=f"{known}", pruning_rate=0.0, points=at(known, n10=loss + 1, n100=loss))
        for known, loss in ((1e-3, 2.0), (2e-3, 4.0))
    ]
    pruned = make_run(points=at(rate, n100=7.0))
    np.testing.assert_equal(with_control(columns([pruned, *controls]))["loss_control"][0], expected)


def test_a_control_that_was_given_is_kept(make_run, control):
    pruned = make_run(inputs={"loss_control": 1.25}, points=points("constant", n100=7.0))
    assert with_control(columns([pruned, control]))["loss_control"].tolist() == [1.25, 3.0, 2.0, 1.0]


def test_nothing(make_run):
    assert with_control(columns([]))["loss_control"].tolist() == []
