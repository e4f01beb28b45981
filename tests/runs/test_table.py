import zlib

import numpy as np
import pytest

from prunescale.errors import StoreError
from prunescale.runs import Point, Store
from prunescale.runs.table import COLUMNS, columns, stored_columns
from prunescale.runs.verify import verify


def test_one_row_for_each_point(make_run):
    # flops: the run's 1e15 for its 400 tokens, so 0, a quarter and all of it at 0, 100 and 400 tokens
    table = columns([make_run(), make_run(id="second", loss_before=None, points=make_run().points[:2])])
    assert tuple(table) == COLUMNS
    assert table["run"].tolist() == ["3f9a0c"] * 3 + ["second"] * 2
    assert table["n_params_before"].tolist() == [1000.0] * 5
    assert table["n_params_non_embedding"].tolist() == [750.0] * 5
    assert table["n_params_total"].tolist() == [850.0] * 5
    assert table["n_params_nonzero"].tolist() == [850.0] * 5
    assert table["base"].tolist() == ["tiny"] * 5
    assert table["kind"].tolist() == ["post-training"] * 5
    assert table["n_params_linear"].tolist() == [800.0] * 5
    assert table["n_params_average"].tolist() == [800.0] * 5  # nothing is pruned during these runs
    assert table["n_tokens"].tolist() == [0, 100, 400, 0, 100]
    assert table["pruning_rate"].tolist() == [0.30000000000000004] * 5
    np.testing.assert_array_equal(table["loss_before"], [3.5, 3.5, 3.5, np.nan, np.nan])
    assert table["loss"].tolist() == [5.0, 4.25, 3.9999999999999996, 5.0, 4.25]
    assert table["phase"].tolist() == ["before", "constant", "annealed", "before", "constant"]
    assert table["learning_rate"].tolist() == [0.0, 1e-3, 2.5e-4, 0.0, 1e-3]
    assert table["flops"].tolist() == [0.0, 2.5e14, 1e15, 0.0, 1e15]
    assert {name: column.dtype.kind for name, column in table.items()} == {
        name: "U" if name in ("run", "kind", "base", "phase") else "f" for name in COLUMNS
    }


def test_filters(make_run):
    assert columns([make_run()], min_tokens=1)["n_tokens"].tolist() == [100, 400]
    assert columns([make_run()], min_tokens=400)["n_tokens"].tolist() == [400]
    assert columns([make_run()], phases=["before", "annealed"])["n_tokens"].tolist() == [0, 400]
    assert columns([make_run()], phases=["annealed"], min_tokens=500)["loss"].dtype == np.float64


def test_nothing_gives_empty_columns():
    assert {name: len(column) for name, column in columns([]).items()} == dict.fromkeys(COLUMNS, 0)


def test_a_run_that_was_only_measured_has_spent_nothing(make_run):
    measured = make_run(flops=0.0, points=make_run().points[:1])
    assert columns([measured])["flops"].tolist() == [0.0]


def test_what_nobody_knows_is_nan(make_run):
    unknown = ("n_params_before", "n_params_linear", "n_params_nonzero", "pruning_rate", "flops")
    table = columns([make_run(**dict.fromkeys(unknown), points=(Point(8, 1.0, None, "constant", None),))])
    for name in (*unknown, "n_params_average", "learning_rate"):
        np.testing.assert_array_equal(table[name], [np.nan], err_msg=name)


def test_what_was_spent_between_prunings_was_spent_before_the_curve_begins(make_run):
    # Of 1e15, 2e14 between; of the 8e14 of the curve none, a quarter and all at 0, 100 and 400 tokens.
    stepped = make_run(inputs={"flops_between": 2e14})
    assert columns([stepped])["flops"].tolist() == [2e14, 4e14, 1e15]


def test_further_inputs_are_columns_and_the_average_parameters_are_those_given(make_run):
    pruned = make_run(id="pruned", inputs={"n_params_average": 612.5, "sparsity": 0.5})
    table = columns([make_run(), pruned])
    assert tuple(table) == (*COLUMNS, "sparsity")
    np.testing.assert_array_equal(table["sparsity"], [np.nan] * 3 + [0.5] * 3)
    assert table["n_params_average"].tolist() == [800.0] * 3 + [612.5] * 3


def stored(tmp_path, runs, **wishes):
    with Store.create(tmp_path / "runs.db") as store:
        store.add(*runs)
        return stored_columns(store, **wishes)


@pytest.mark.parametrize("wishes", [{}, {"min_tokens": 1}, {"phases": ["constant"]}, {"phases": [], "min_tokens": 3}])
def test_columns_of_a_store_are_those_of_its_runs(tmp_path, make_run, wishes):
    runs = [
        make_run(id="a", points=(Point(8, 1.0, None, "constant", None), Point(8, 0.9, 0.0, "annealed", 1.0))),
        make_run(id="b", created="2026-11-21T10:00:00+00:00", inputs={"sparsity": 0.5}, n_params_left=((0, 800), (50, 300))),
        make_run(
            id="c", flops=None, base="small", n_params_before=None, inputs={"n_params_average": 612.5, "flops_cooldowns": 1e14}
        ),
    ]
    expected, found = columns(runs, **wishes), stored(tmp_path, runs, **wishes)
    assert tuple(found) == tuple(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        assert found[name].dtype.kind == expected[name].dtype.kind


def test_columns_of_a_store_are_those_of_the_bases_asked_for(tmp_path, make_run):
    found = stored(tmp_path, [make_run(), make_run(id="other", base="small")], bases=["small"])
    assert set(found["run"]) == {"other"}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE points SET loss = 4.5 WHERE position = 1",
        "DELETE FROM points WHERE position = 2",
        "INSERT INTO points SELECT run_id, 3, 900, 3.5, NULL, 'constant', NULL, '{}' FROM points WHERE position = 2",
        "DELETE FROM packed_curves",
    ],
)
def test_points_that_another_hand_has_changed_are_read_as_they_are_now(tmp_path, make_run, change):
    with Store.create(tmp_path / "runs.db") as store:
        store.add(make_run(), make_run(id="other"))
        store._connection.execute(f"{change}{' AND' if 'WHERE' in change else ' WHERE'} run_id = 'other'")
        expected, found = columns(store.list()), stored_columns(store)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        assert not any("packed copy" in fault for fault in verify(store).faults)


NO_CURVES = {
    "empty": b"",
    "rubbish": b"rubbish",
    "too short": zlib.compress(b"\0" * 26),
    "no phase": zlib.compress(b"\0" * 74 + b"\7"),
    "text": "text",
    "a bomb": zlib.compress(bytes(10**8)),
}


@pytest.mark.parametrize("curve", NO_CURVES.values(), ids=NO_CURVES)
def test_a_copy_of_a_curve_that_is_none_is_refused_in_a_line(tmp_path, make_run, curve):
    """Also one that would be far larger than the file."""
    with Store.create(tmp_path / "runs.db") as store:
        store.add(make_run())
        store._connection.execute("UPDATE packed_curves SET curve = ?", [curve])
        with pytest.raises(StoreError, match=r"runs.db is damaged \(no packed curve \("):
            stored_columns(store)
        assert "Run '3f9a0c': the packed copy of its curve is not that of its points." in verify(store).faults


@pytest.mark.parametrize(
    "change", ["UPDATE points SET phase = 'lunch' WHERE position = 1", "UPDATE runs SET pruning_rate = 'a quarter'"]
)
def test_what_is_no_phase_or_no_number_is_damage(tmp_path, make_run, change):
    with Store.create(tmp_path / "runs.db") as store:
        store.add(make_run())
        store._connection.execute(change)
        with pytest.raises(StoreError, match=r"runs\.db is damaged"):
            stored_columns(store)


def test_average_parameters_are_those_of_the_plain_sum(make_run):
    left = ((0, 10**9), (10**10, 7 * 10**8), (3 * 10**11, 2 * 10**8))
    tokens = (0, 1, 10**10, 10**10 + 1, 3 * 10**11, 10**12)
    run = make_run(n_params_left=left, points=tuple(Point(n, 1.0, 0.1, "constant", 1.0) for n in tokens))
    # Products of tokens and weights are rounded to 16 digits, sums of three of them a little more.
    np.testing.assert_allclose(columns([run])["n_params_average"], [run.n_params_average(n) for n in tokens], rtol=1e-15)
