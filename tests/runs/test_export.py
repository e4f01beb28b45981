import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunescale.errors import StoreError
from prunescale.runs import (
    Point,
    Store,
    read_csv,
    read_json,
    read_runs,
    runs_from_csv,
    runs_from_json,
    runs_to_csv,
    runs_to_json,
)
from prunescale.runs.table import columns


def test_json_comes_back_equal(make_run):
    runs = [
        make_run(),
        make_run(id="second", loss_before=None, recipe={}, versions={}, name='with "quotes", a comma\nand a line'),
    ]
    assert runs_from_json(runs_to_json(runs)) == runs
    assert runs_from_json(runs_to_json([])) == []


def test_json_has_a_point_on_each_line(make_run):
    lines = runs_to_json([make_run()]).splitlines()
    assert '    {"n_tokens": 100, "loss": 4.25, "learning_rate": 0.001, "phase": "constant", "seconds": 0.1},' in lines
    assert '  "n_params_before": 1000,' in lines
    assert '  "name": "tiny, größer block-influence 0.25",' in lines


def test_exported_runs_can_be_loaded_into_a_store(tmp_path, make_run):
    runs = [make_run(), make_run(id="second")]
    (tmp_path / "runs.json").write_text(runs_to_json(runs), encoding="utf-8")
    with Store.create(tmp_path / "runs.db") as store:
        store.add(*read_json(tmp_path / "runs.json"))
        assert list(store.list()) == runs


def test_a_whole_number_written_for_a_float_becomes_one(make_run):
    text = runs_to_json([make_run()]).replace('"loss": 5.0', '"loss": 5').replace('"loss_before": 3.5', '"loss_before": 3')
    (run,) = runs_from_json(text)
    assert type(run.points[0].loss) is type(run.loss_before) is float


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{", "", "not JSON"),
        ("prunescale runs 3", "prunescale runs 4", 'needed is JSON with "format": "prunescale runs 3"'),
        ('"runs": [', '"curves": [', 'and a list "runs"'),
        ('"device": "cpu",', "", "run 0: device is missing"),
        ('"device": "cpu",', '"device": "cpu", "colour": 1,', "run 0: colour is not a known field"),
        ('"n_tokens": 100', '"n_tokens": "100"', "run 0, point 1: n_tokens is '100'; it must be an integer"),
        ('"n_tokens": 100', '"n_tokens": 401', "400 tokens after one at 401"),
        ('"loss": 4.25', '"loss": NaN', "point 1: loss is nan"),
        ('"phase": "annealed"', '"phase": ["decay"]', "phase is .*; it must be one of before, warm-up, constant, decay"),
        ('"loss_before": 3.5', '"loss_before": true', "loss_before is True; it must be a number or nothing"),
        ('"points": [', '"points": 3, "more": [', "run 0: more is not a known field"),
        ('"points": [', '"points": [1, ', "run 0, point 0 is 1; it must be an object"),
    ],
)
def test_bad_json_is_refused_with_its_file_and_reason(tmp_path, make_run, old, new, message):
    text = runs_to_json([make_run()])
    assert old in text
    (tmp_path / "runs.json").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(StoreError, match=f"runs.json: .*{message}"):
        read_json(tmp_path / "runs.json")


def test_no_file(tmp_path):
    with pytest.raises(StoreError, match=r"No runs can be read at .*absent.json \(No such file"):
        read_json(tmp_path / "absent.json")


def test_csv_repeats_the_run_on_each_of_its_points(make_run):
    rows = list(csv.DictReader(io.StringIO(runs_to_csv([make_run(), make_run(id="second", loss_before=None)]))))
    assert [row["run"] for row in rows] == ["3f9a0c"] * 3 + ["second"] * 3
    assert [float(row["loss"]) for row in rows[:3]] == [point.loss for point in make_run().points]
    assert [float(row["seconds"]) for row in rows[:3]] == [0.0, 0.1, 1 / 3]
    assert {row["run_seconds"] for row in rows} == {repr(1 / 3)}
    assert {row["run_flops"] for row in rows} == {"1000000000000000.0"}
    assert rows[0]["loss_before"] == "3.5"
    assert rows[3]["loss_before"] == rows[0]["n_tokens_pretrain"] == ""
    assert json.loads(rows[0]["pruning_rate"]) == make_run().pruning_rate


UNKNOWN = ("recipe_hash", "pruning_rate", "n_params_before", "flops", "seconds", "device")


def from_elsewhere(make_run):
    points = (Point(8, 1 / 3, None, "constant", None), Point(9, 0.1, 1e-4, "decay", 2.0))
    return make_run(id="elsewhere", **dict.fromkeys(UNKNOWN), inputs={"sparsity": 0.1 + 0.2}, points=points, name='a, "b"\nc')


def test_the_unknown_and_further_inputs_come_back_from_json(make_run):
    runs = [make_run(), from_elsewhere(make_run)]
    assert runs_from_json(runs_to_json(runs)) == runs


def test_json_of_the_first_format_has_no_inputs(make_run):
    text = runs_to_json([make_run()])
    first = text.replace("prunescale runs 3", "prunescale runs 1").replace('  "inputs": {},\n', "")
    assert "inputs" not in first
    assert runs_from_json(first) == [make_run()]


def test_curves_that_were_exported_earlier_can_still_be_read():
    assert len(read_json(Path(__file__).parents[2] / "studies" / "smollm2" / "curves.json")) == 4


def test_csv_comes_back_equal_but_for_recipe_and_versions(tmp_path, make_run):
    runs = [make_run(), from_elsewhere(make_run)]
    text = runs_to_csv(runs)
    assert runs_from_csv(text) == [replace(run, recipe={}, versions={}) for run in runs]
    (tmp_path / "runs.csv").write_text(text, encoding="utf-8")
    table, again = columns(runs), columns(read_csv(tmp_path / "runs.csv"))
    assert table.keys() == again.keys()
    for name, column in table.items():
        np.testing.assert_array_equal(again[name], column, err_msg=name)
    assert runs_from_csv(runs_to_csv([])) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("run,created", "id,created", "These are no exported runs; needed is what `prunescale runs export --format csv` writes"),
        ("3f9a0c,", "3f9a0c,more,", "line 2 has 35 cells, and the header 34"),
        (",1000,", ",many,", "line 2: n_params_before is 'many'; it must be an integer or nothing"),
        (",4.25,", ",,", "line 3: loss is ''; it must be a number"),
        ("post-training", "training", "line 2: kind is 'training'; it must be one of post-training, pre-training"),
        (",4.25,", ",nan,", "point 1: loss is nan"),
    ],
)
def test_bad_csv_is_refused_with_its_line(tmp_path, make_run, old, new, message):
    text = runs_to_csv([make_run(name="plain")])
    assert old in text
    (tmp_path / "runs.csv").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(StoreError, match=f"runs.csv: .*{message}"):
        read_csv(tmp_path / "runs.csv")


@pytest.mark.parametrize("name", ["runs.db", "runs.json", "runs.csv"])
def test_whatever_of_ours_holds_runs_can_be_read(tmp_path, make_run, name):
    run = make_run(recipe={}, versions={})
    with Store.create(tmp_path / "runs.db") as store:
        store.add(run)
    (tmp_path / "runs.json").write_text(runs_to_json([run]), encoding="utf-8")
    (tmp_path / "runs.csv").write_text(runs_to_csv([run]), encoding="utf-8")
    assert read_runs(tmp_path / name) == [run]


def test_what_is_no_text_is_said_to_be_none(make_run, tmp_path):
    (tmp_path / "runs.json").write_bytes(b"PAR1\x15\x04\x15\xe0")
    with pytest.raises(
        StoreError, match="is no text, as exported runs are: export them as JSON or CSV; Parquet is not read back"
    ):
        read_json(tmp_path / "runs.json")
