"""runs list, merge, verify, backup and export --format parquet, as a person types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from prunescale.runs import Point, Store


@pytest.fixture
def folder(tmp_path, monkeypatch, make_run):
    """A working folder with a store of 60 runs, the newest with the highest number."""
    monkeypatch.chdir(tmp_path)
    with Store.create("runs.db") as store:
        store.add(
            *(
                make_run(id=f"run-{n:02d}", created=f"2026-11-22T10:00:{n:02d}+00:00", recipe={}, recipe_hash=None)
                for n in range(60)
            )
        )
    return tmp_path


def test_a_long_list_is_cut_and_says_so(folder, command):
    out = command("runs", "list").out
    assert "run-09" not in out
    assert out.index("run-10") < out.index("run-59")
    assert "These are the newest 50 of 60 runs: --all lists all of them" in out
    out = command("runs", "list", "--all").out
    assert "run-00" in out
    assert "newest" not in out
    assert command("runs", "list", "--limit", "2").out.count("run-") == 2


def test_programs_get_all_runs_unless_they_say_how_many(folder, command):
    found = json.loads(command("runs", "list", "--json").out)
    assert found["n_runs"] == len(found["runs"]) == 60
    assert list(found["runs"][0]) == [
        "id",
        "created",
        "kind",
        "name",
        "base",
        "pruning_method",
        "pruning_rate",
        "loss_before",
        "loss",
        "n_tokens",
        "recipe_hash",
    ]
    assert (found["runs"][0]["loss"], found["runs"][0]["n_tokens"]) == (3.9999999999999996, 400)
    assert [run["id"] for run in json.loads(command("runs", "list", "--json", "--limit", "1").out)["runs"]] == ["run-59"]


def test_all_and_a_limit_contradict_each_other(folder, refused):
    assert "--limit and --all contradict each other" in refused("runs", "list", "--all", "--limit", "3")


def test_a_list_reads_no_curve(folder, command, monkeypatch):
    monkeypatch.setattr("prunescale.runs.rows.point_of", lambda row: pytest.fail("a point was read"))
    assert command("runs", "list").code == 0


def test_merge(folder, command, make_run):
    with Store.create("other.db") as store:
        store.add(make_run(id="new"), make_run(id="run-00", created="2026-11-22T10:00:00+00:00", recipe={}, recipe_hash=None))
    assert command("runs", "merge", "runs.db", "other.db").out == "Runs put into runs.db: 1; there already: 1\n"
    assert json.loads(command("runs", "merge", "made.db", "runs.db", "other.db", "--json").out) == {
        "store": "made.db",
        "n_added": 61,
        "n_known": 2,
    }
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["made.db", "other.db", "runs.db"]


def test_a_merge_that_cannot_be_done_makes_no_store(folder, refused, make_run):
    assert "No runs at absent.db" in refused("runs", "merge", "made.db", "absent.db")
    with Store.create("other.db") as store:
        store.add(make_run(id="run-00"))
    assert "Run 'run-00' is in runs.db and in other.db, with another recipe" in refused("runs", "merge", "runs.db", "other.db")
    refused("runs", "merge", "made.db", "runs.db", "other.db")  # which lets no file be left


def test_verify(folder, command, refused):
    ended = command("runs", "verify")
    assert (ended.code, ended.err) == (0, "")
    assert "All is as it should be." in ended.out
    with Store.open("runs.db") as store:
        store._connection.execute("UPDATE runs SET n_params_total = 851 WHERE id = 'run-07'")
    ended = command("runs", "verify", "runs.db")
    assert ended.code == 1
    assert "Run 'run-07': n_params_total is 851, and computed again 850.\n" in ended.out
    ended = command("runs", "verify", "--json")
    found = json.loads(ended.out)
    assert ended.code == 1
    assert found["n_runs"] == 60
    assert found["n_checked"]["n_params_total"] == 60
    assert len(found["faults"]) == 1
    assert "No runs at absent.db" in refused("runs", "verify", "absent.db")


def test_backup(folder, command, refused):
    assert command("runs", "backup", "copy.db").out == "Runs copied to copy.db: 60\n"
    assert command("runs", "verify", "copy.db").code == 0
    assert "copy.db is there already" in refused("runs", "backup", "copy.db")


def test_parquet_has_the_rows_of_the_csv(folder, command, refused, make_run):
    parquet = pytest.importorskip("pyarrow.parquet")
    with Store.open("runs.db") as store:
        store.add(make_run(id="new", inputs={"sparsity": 0.5}, points=(Point(8, 1.5, None, "constant", None, {"code": 1.25}),)))
    assert command("runs", "export", "--format", "parquet", "--out", "runs.parquet").out == "Runs written to runs.parquet: 61\n"
    table = parquet.read_table("runs.parquet")
    rows = table.to_pylist()
    assert len(rows) == 60 * 3 + 1
    assert table.schema.field("n_tokens").type == "int64"
    new = next(row for row in rows if row["run"] == "new")
    assert (new["sparsity"], new["loss"], new["learning_rate"], new["domains"]) == (0.5, 1.5, None, '{"code": 1.25}')
    assert rows[0]["pruning_rate"] == 0.30000000000000004
    assert next(row for row in rows if row["run"] == "run-00")["sparsity"] is None
    header = command("runs", "export", "--format", "csv").out.splitlines()[0]
    assert table.column_names == header.split(",")
    assert "Parquet is no text: --out must say where it goes" in refused("runs", "export", "--format", "parquet")


def test_without_pyarrow_a_line_says_what_to_install(folder, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    line = refused("runs", "export", "--format", "parquet", "--out", "runs.parquet")
    assert "pip install 'prunescale[parquet]'" in line


def test_json_out_of_a_list_is_not_held_up_by_numpy(folder):
    code = "import sys; sys.argv = ['prunescale', 'runs', 'list', '--json']\nfrom prunescale.cli.main import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    sys.exit('numpy' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
