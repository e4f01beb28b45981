import json
import sqlite3
from dataclasses import replace

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Point, Store
from prunescale.runs.migrations import MIGRATIONS, create_runs, migrate, version


def schema(connection):
    return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_each_migration_runs_once_and_in_order():
    connection = sqlite3.connect(":memory:")
    assert version(connection) == 0
    migrate(connection)
    assert version(connection) == len(MIGRATIONS)
    migrated = schema(connection)
    migrate(connection)
    assert schema(connection) == migrated


@pytest.mark.parametrize("start", range(len(MIGRATIONS) + 1))
def test_a_store_of_any_older_version_ends_up_as_a_new_one(tmp_path, make_run, start):
    old = sqlite3.connect(tmp_path / "old.db")
    for migration in MIGRATIONS[:start]:
        migration(old)
    old.execute(f"PRAGMA user_version = {start}")
    old.commit()
    with Store.open(tmp_path / "old.db") as store, Store.create(tmp_path / "new.db"):
        store.add(make_run())
        assert store.list() == (make_run(),)
    assert version(old) == len(MIGRATIONS)
    assert schema(old) == schema(sqlite3.connect(tmp_path / "new.db"))


def test_runs_survive_a_migration(tmp_path, make_run, monkeypatch):
    with Store.create(tmp_path / "runs.db") as store:
        store.add(make_run())

    def rename_tiny(connection):
        connection.execute("UPDATE runs SET base = 'small' WHERE base = 'tiny'")

    monkeypatch.setattr("prunescale.runs.migrations.MIGRATIONS", [*MIGRATIONS, rename_tiny])
    monkeypatch.setattr("prunescale.runs.opening.MIGRATIONS", [*MIGRATIONS, rename_tiny])
    with Store.open(tmp_path / "runs.db") as store:
        assert store.list() == (replace(make_run(), base="small"),)


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    connection = sqlite3.connect(tmp_path / "runs.db")
    create_runs(connection)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    before = (tmp_path / "runs.db").read_bytes()

    def fail(connection):
        connection.execute("CREATE TABLE half (done)")
        connection.execute("CREATE TABLE half (done)")

    monkeypatch.setattr("prunescale.runs.migrations.MIGRATIONS", [*MIGRATIONS, fail])
    monkeypatch.setattr("prunescale.runs.opening.MIGRATIONS", [*MIGRATIONS, fail])
    with pytest.raises(StoreError, match="table half already exists"):
        Store.open(tmp_path / "runs.db")
    assert (tmp_path / "runs.db").read_bytes() == before


RELEASED = 3  # the version in which every field of a run had to be known


def store_of_then(path, run, released=RELEASED):
    """A store as the first migrations made it, with this run and, if they were kept then, its points."""
    old = sqlite3.connect(path)
    for migration in MIGRATIONS[:released]:
        migration(old)
    old.execute(f"PRAGMA user_version = {released}")
    names = [row[1] for row in old.execute("PRAGMA table_info(runs)")]
    values = [json.dumps(value) if isinstance(value := getattr(run, name), dict) else value for name in names]
    old.execute(f"INSERT INTO runs VALUES ({', '.join('?' * len(names))})", values)
    if released > 1:
        old.executemany(
            "INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?)",
            [  # the end of a decay was called decay then
                (run.id, i, p.n_tokens, p.loss, p.learning_rate, p.phase.replace("annealed", "decay"), p.seconds)
                for i, p in enumerate(run.points)
            ],
        )
    old.commit()
    old.close()


def test_a_store_in_which_all_had_to_be_known_takes_the_unknown(tmp_path, make_run):
    store_of_then(tmp_path / "runs.db", make_run())
    unknown = make_run(
        id="elsewhere",
        created="2026-11-23T10:00:00+00:00",
        **dict.fromkeys(("recipe_hash", "pruning_rate", "n_params_before", "flops", "seconds", "device")),
        inputs={"sparsity": 0.5},
        points=(Point(8, 1.0, None, "constant", None),),
    )
    with Store.open(tmp_path / "runs.db") as store:
        assert store.list() == (make_run(),)
        store.add(unknown)
        assert store.list() == (make_run(), unknown)
        assert store.find("0123456789ab") == make_run()
        store.remove("3f9a0c")
    connection = sqlite3.connect(tmp_path / "runs.db")
    assert connection.execute("SELECT DISTINCT run_id FROM points").fetchall() == [
        ("elsewhere",)
    ]  # the others went with their run
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("PRAGMA foreign_key_list(points)").fetchall()[0][2:5] == ("runs", "run_id", "id")
    plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM runs WHERE recipe_hash = 'a'").fetchall()
    assert "runs_recipe_hash" in plan[0][3]


@pytest.mark.parametrize("enforced", [True, False])
def test_making_the_tables_anew_loses_no_point_whether_foreign_keys_are_enforced_or_not(tmp_path, make_run, enforced):
    store_of_then(tmp_path / "runs.db", make_run())
    connection = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    connection.execute(f"PRAGMA foreign_keys = {'ON' if enforced else 'OFF'}")
    connection.execute("BEGIN")
    migrate(connection)
    connection.execute("COMMIT")
    assert connection.execute("SELECT count(*) FROM points").fetchone() == (3,)


@pytest.mark.parametrize("released", [1, 2, 3])
def test_a_run_of_each_early_version_is_read_and_the_file_is_sound(tmp_path, make_run, released):
    store_of_then(tmp_path / "runs.db", make_run(), released)
    with Store.open(tmp_path / "runs.db") as store:
        assert store.list() == (make_run() if released > 1 else make_run(points=()),)  # the first kept no points
        assert store.faults() == ()
        assert len(store._column("SELECT bits_per_byte FROM curves")) == (3 if released > 1 else 0)
