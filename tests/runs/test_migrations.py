import sqlite3
from dataclasses import replace

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Store
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
    monkeypatch.setattr("prunescale.runs.store.MIGRATIONS", [*MIGRATIONS, rename_tiny])
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
    monkeypatch.setattr("prunescale.runs.store.MIGRATIONS", [*MIGRATIONS, fail])
    with pytest.raises(StoreError, match="table half already exists"):
        Store.open(tmp_path / "runs.db")
    assert (tmp_path / "runs.db").read_bytes() == before
