import json
import sqlite3

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Store, runs_to_csv, runs_to_json
from prunescale.runs.importers import format_of, read_ours


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.csv", "step,loss\n1,2\n", "table"),
        ("a.csv", "_step,loss\n1,2\n", "wandb"),
        ("a.csv", '"Step","a - loss","a - loss__MIN","a - loss__MAX"\n', "wandb"),
        ("a.csv", "run_name,step,timestamp,loss\n", "trackio"),
        ("a.jsonl", '{"step": 1}\n', "table"),
        ("a.jsonl", '{"_step": 1}\n', "wandb"),
        ("trainer_state.json", "{}", "trainer-state"),
        ("a.json", '{"best_metric": null, "log_history": []}', "trainer-state"),
        ("a.json", '{"format": "prunescale runs 1"}', "prunescale"),
        ("events.out.tfevents.123.host", "", "tensorboard"),
        ("a.db", "no database", "prunescale"),
    ],
)
def test_files(tmp_path, name, text, found):
    (tmp_path / name).write_text(text)
    assert format_of(tmp_path / name) == found


def test_folders(tmp_path):
    (tmp_path / "logs" / "a").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"there is no trainer_state.json and no event file of TensorBoard"):
        format_of(tmp_path)
    (tmp_path / "logs" / "a" / "events.out.tfevents.1").write_bytes(b"")
    assert format_of(tmp_path) == "tensorboard"
    (tmp_path / "checkpoint-5").mkdir()
    (tmp_path / "checkpoint-5" / "trainer_state.json").write_text(json.dumps({"log_history": []}))
    assert format_of(tmp_path) == "trainer-state"  # which the Trainer writes beside its own events


def test_databases(tmp_path):
    with sqlite3.connect(tmp_path / "project.db") as connection:
        connection.execute("CREATE TABLE metrics (id INTEGER, run_name TEXT, step INTEGER, metrics TEXT)")
    connection.close()
    Store.create(tmp_path / "runs.db").close()
    assert format_of(tmp_path / "project.db") == "trackio"
    assert format_of(tmp_path / "runs.db") == "prunescale"


def test_ours_in_all_its_forms(tmp_path, make_run):
    run = make_run(recipe={}, versions={}, inputs={"sparsity": 0.5})
    with Store.create(tmp_path / "runs.db") as store:
        store.add(run)
    (tmp_path / "runs.json").write_text(runs_to_json([run]), encoding="utf-8")
    (tmp_path / "runs.csv").write_text(runs_to_csv([run]), encoding="utf-8")
    for name in ("runs.db", "runs.json", "runs.csv"):
        assert format_of(tmp_path / name) == "prunescale"
        assert read_ours(tmp_path / name) == [run]
