import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Point, Run, Store
from prunescale.runs.migrations import MIGRATIONS
from prunescale.runs.rows import insert


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def test_a_stored_run_comes_back_equal(path, make_run):
    run = make_run()
    bare = make_run(id="bare", pruning_method=None, pruning_rate=0.0, loss_before=None, n_tokens_pretrain=10**12)
    with Store.create(path) as store:
        store.add(run, bare)
    with Store.open(path) as store:
        assert store.get("3f9a0c") == run
        assert store.get("bare") == bare
        assert type(store.get("bare").points) is tuple
    assert os.listdir(path.parent) == ["runs.db"]  # one file, with nothing beside it


def test_every_scalar_field_is_a_column_that_sql_can_ask_for(path, make_run):
    with Store.create(path) as store:
        store.add(make_run())
    connection = sqlite3.connect(path)
    assert [row[1] for row in connection.execute("PRAGMA table_info(runs)")] == [
        f.name for f in fields(Run) if f.name != "points"
    ]
    assert connection.execute("SELECT n_params_before, pruning_rate, loss_before, bytes_per_token FROM runs").fetchall() == [
        (1000, 0.30000000000000004, 3.5, None)
    ]
    assert connection.execute("SELECT position, n_tokens, loss, phase FROM points").fetchall() == [
        (0, 0, 5.0, "before"),
        (1, 100, 4.25, "constant"),
        (2, 400, 3.9999999999999996, "annealed"),
    ]


def test_list_filters_and_goes_from_old_to_new(path, make_run):
    with Store.create(path) as store:
        store.add(
            make_run(id="c", created="2026-11-22T12:00:00+00:00", base="small"),
            make_run(id="a", created="2026-11-22T11:00:00+00:00", kind="pre-training"),
            make_run(id="b", created="2026-11-22T11:00:00+00:00", recipe_hash="f" * 12, name="other"),
        )
        assert [run.id for run in store.list()] == ["a", "b", "c"]
        assert [run.id for run in store.list(base="small")] == ["c"]
        assert [run.id for run in store.list(kind="post-training", base="tiny")] == ["b"]
        assert [run.id for run in store.list(name="other")] == ["b"]
        assert store.list(base="' OR 1=1 --") == ()
        assert store.find("0123456789ab") == store.get("c")  # the newest of two
        assert store.find("no such hash") is None


def test_a_prefix_finds_the_only_run_that_begins_so(path, make_run):
    with Store.create(path) as store:
        store.add(make_run(id="abc1"), make_run(id="abd2"), make_run(id="abd"), make_run(id="50%"))
        assert store.get("abc").id == "abc1"
        assert store.get("abd").id == "abd"  # whole ids come first
        with pytest.raises(StoreError, match=r"3 runs begin with 'ab' \(abc1, abd, abd2"):
            store.get("ab")
        for absent in ("x", "", "%", "ABC"):
            with pytest.raises(StoreError, match=f"No run {absent!r}"):
                store.get(absent)


def test_a_removed_run_takes_its_points_along(path, make_run):
    with Store.create(path) as store:
        store.add(make_run(id="gone"), make_run(id="kept"))
        store.remove("go")
        assert [run.id for run in store.list()] == ["kept"]
        with pytest.raises(StoreError, match="No run 'gone'"):
            store.remove("gone")
    assert sqlite3.connect(path).execute("SELECT DISTINCT run_id FROM points").fetchall() == [("kept",)]


def test_a_second_run_of_the_same_id_is_refused_and_nothing_added(path, make_run):
    with Store.create(path) as store:
        store.add(make_run())
        with pytest.raises(StoreError, match="'3f9a0c' is already in"):
            store.add(make_run(id="new"), make_run(name="another"))
        assert store.list() == (make_run(),)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_add_leaves_the_file_as_it_was(path, make_run, monkeypatch, error):
    with Store.create(path) as store:
        store.add(make_run(id="first"))
        before = path.read_bytes()

        def interrupted(connection, table, rows):
            insert(connection, table, rows[:2])
            if table == "points":
                raise error

        monkeypatch.setattr("prunescale.runs.rows.insert", interrupted)
        with pytest.raises(error):
            store.add(make_run(id="second"))
        assert path.read_bytes() == before
        monkeypatch.undo()
        store.add(make_run(id="second"))  # and the store is still of use
        assert [run.id for run in store.list()] == ["first", "second"]


KILLED_WHILE_ADDING = """
import dataclasses, os, signal, sys
from prunescale.runs import Point, Store

store = Store.open(sys.argv[1])
(run,) = store.list()
points = tuple(Point(n, 1.0, 0.1, "constant", 1.0) for n in range(20_000))
store._connection.create_function("kill", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
store._connection.execute("PRAGMA cache_size = 10")  # so that pages are in the file well before the end
store._connection.execute(
    "CREATE TEMP TRIGGER dies AFTER INSERT ON points WHEN NEW.position = 19000 BEGIN SELECT kill(); END"
)
store.add(dataclasses.replace(run, id="second", points=points))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_process_killed_while_writing_leaves_the_store_as_it_was(path, make_run):
    with Store.create(path) as store:
        store.add(make_run())
    before = path.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_ADDING, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert Path(f"{path}-wal").stat().st_size > 500_000  # it did get half-way, in the log beside the file
    with Store.open(path) as store:
        assert store.list() == (make_run(),)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["runs.db"]


def test_readers_wait_for_no_open_store_and_see_what_was_added(path, make_run):
    with Store.create(path) as writer, Store.open(path) as reader:
        assert reader.list() == ()
        with reader.at_one_moment():
            assert reader.summaries() == []
            writer.add(make_run())  # while the other reads, which a rollback journal would not allow
            assert reader.summaries() == []
        assert reader.list() == (make_run(),)


def test_a_lock_held_too_long_is_told_in_a_line(path, make_run, monkeypatch):
    monkeypatch.setattr("prunescale.runs.connect.BUSY_SECONDS", 0.01)
    with Store.create(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="in use by another process"):
            store.add(make_run())
        other.execute("ROLLBACK")
        store.add(make_run())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": ()}, "has no points"),
        ({"points": (Point(0, float("nan"), 0.0, "before", 0.0),)}, "point 0: loss is nan"),
        ({"points": (Point(0, float("inf"), 0.0, "before", 0.0),)}, "point 0: loss is inf"),
        ({"points": (Point(8, 1.0, 0.1, "constant", 0.0),) * 2}, "8 tokens after one at 8"),
        ({"points": (Point(8, 1.0, 0.1, "cooling", 0.0),)}, "phase is 'cooling'; it must be one of before, warm-up"),
        ({"loss_before": float("nan")}, "loss_before is nan"),
        ({"flops": float("inf")}, "flops is inf"),
        ({"n_params_before": 1e6}, "n_params_before is 1000000.0; it must be an integer"),
        ({"recipe": {"rate": float("nan")}}, r"recipe cannot be written as JSON \(Out of range"),
        ({"versions": {"torch": object()}}, r"versions cannot be written as JSON \(Object of type object"),
        ({"base": None}, "base is None; it must be a string"),
        ({"n_params_total": 2**63}, r"n_params_total is 9.22e\+18; integers are kept up to 2\^63 - 1"),
        ({"inputs": {"sparsity": float("nan")}}, "the input sparsity is nan; it must be a finite number"),
        ({"inputs": {"sparsity": "half"}}, "the input sparsity is 'half'; it must be a finite number"),
        ({"inputs": {"a b": 1.0}}, "an input is called 'a b'; a name has letters, digits and _ only"),
        ({"inputs": {"loss_before": 1.0}}, "loss_before is among the inputs; it is a field of every run or point: give it there"),
        ({"inputs": {"run": 1.0}}, "run is among the inputs"),
    ],
)
def test_a_run_that_would_spoil_a_fit_is_refused(path, make_run, changes, message):
    with Store.create(path) as store:
        with pytest.raises(StoreError, match=message):
            store.add(make_run(id="good"), make_run(**changes))
        assert store.list() == ()


def test_no_store_to_read(path):
    with pytest.raises(StoreError, match=f"No runs at {path}"):
        Store.open(path)
    assert not path.exists()


def test_no_folder_to_write_to(tmp_path):
    with pytest.raises(StoreError, match="there is no folder"):
        Store.create(tmp_path / "absent" / "runs.db")


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="a file is needed"):
        Store.open(tmp_path)


@pytest.mark.parametrize("content", [b"n_tokens,loss\n0,5.0\n", b"not a database " * 100])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    for opened in (Store.open, Store.create):
        with pytest.raises(StoreError, match="is no store of runs"):
            opened(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE albums (id)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="database of another program"):
        Store.create(path)
    assert path.read_bytes() == before


def test_a_newer_store_is_refused_and_left_alone(path, make_run):
    with Store.create(path) as store:
        store.add(make_run())
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=f"a store of version {len(MIGRATIONS) + 1}.*install a newer prunescale"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_store_that_cannot_be_written_can_be_read(path, make_run):
    with Store.create(path) as store:
        store.add(make_run())
        store._connection.execute("PRAGMA query_only = ON")  # fails as a file without permission does, for root too
        with pytest.raises(StoreError, match="cannot be written"):
            store.add(make_run(id="second"))
        assert store.list() == (make_run(),)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(path, make_run):
    with Store.create(path) as store:
        store.add(make_run())
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        with Store.open(path) as store:
            assert store.list() == (make_run(),)
            with pytest.raises(StoreError, match="cannot be written"):
                store.add(make_run(id="second"))
        with pytest.raises(StoreError, match="cannot be opened"):
            Store.create(path.parent / "other.db")
    finally:
        path.parent.chmod(0o755)
