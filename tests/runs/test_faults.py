"""What happens to a store when its surroundings fail: no room, nowhere to write, many writers, sudden ends."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Point, Store, refuse_unwritable
from prunescale.runs.connect import on_network_drive
from prunescale.runs.migrations import MIGRATIONS

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def python(code, *arguments, **how):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True, **how)


def many_points(n):
    return tuple(Point(k, 1.0 + 1 / (k + 1), 0.1, "constant", float(k)) for k in range(n))


def test_a_store_keeps_a_log_while_it_is_open_and_is_one_file_afterwards(path, make_run):
    with Store.create(path) as store:
        store.add(make_run())
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (
            2,
        )  # FULL: the log is on the disk when a commit returns
        assert Path(f"{path}-wal").exists()
    assert os.listdir(path.parent) == ["runs.db"]
    shutil.copy(path, path.with_name("copy.db"))
    with Store.open(path.with_name("copy.db")) as copy:
        assert copy.list() == (make_run(),)


def test_a_store_of_before_the_log_gets_one(path, make_run):
    with Store.create(path) as store:
        store.add(make_run())
        store._connection.execute("PRAGMA journal_mode = DELETE")
    with Store.open(path) as store:
        assert store.list() == (make_run(),)
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_on_a_network_drive_there_is_no_log(path, make_run, monkeypatch):
    monkeypatch.setattr("prunescale.runs.connect.on_network_drive", lambda path: True)
    with Store.create(path) as store:
        store.add(make_run())
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert os.listdir(path.parent) == ["runs.db"]


@pytest.mark.parametrize(
    ("path", "is_network"),
    [("/home/a/runs.db", True), ("/homely/runs.db", False), ("/home/a/fast/runs.db", False), ("/data sets/runs.db", True)],
)
def test_network_drives_are_told_by_the_mount_that_a_path_lies_in(tmp_path, path, is_network):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/sdb /home/a/fast ext4 rw 0 0\n"
        "//server/data /data\\040sets cifs rw 0 0\n"
    )
    assert on_network_drive(Path(path), mounts) is is_network


def test_a_store_under_way_is_copied_whole(path, make_run):
    with Store.create(path) as store:
        store.add(make_run())
        with Store.open(path) as other:
            other.backup(path.with_name("copy.db"))
        with pytest.raises(StoreError, match="is there already: nothing was copied"):
            store.backup(path.with_name("copy.db"))
    with Store.open(path.with_name("copy.db")) as copy:
        assert copy.list() == (make_run(),)


READ = """
import dataclasses, os, sys
import prunescale.runs.packed  # what another user may not read later
from prunescale.runs import Store, refuse_unwritable
from prunescale.errors import StoreError
os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))  # after the imports: a library may be root's alone
with Store.open(sys.argv[1]) as store:
    (run,) = store.list()
    try:
        store.add(dataclasses.replace(run, id="second"))
    except StoreError as error:
        print(error)
try:
    refuse_unwritable(sys.argv[1])
except StoreError as error:
    print(error)
"""


@pytest.fixture
def in_the_open():
    """A folder that anybody may enter; pytest's own are for their owner alone."""
    folder = Path(f"/tmp/prunescale-read-only-{os.getpid()}")
    folder.mkdir(mode=0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(not IS_ROOT, reason="becomes another user, whom permissions hold")
@pytest.mark.parametrize(("of_file", "of_folder"), [(0o444, 0o755), (0o644, 0o555), (0o444, 0o555), (0o444, 0o777)])
@pytest.mark.parametrize("left", ["closed", "open", "killed", "old"])
def test_where_nothing_can_be_written_runs_are_read(in_the_open, make_run, of_file, of_folder, left):
    path = in_the_open / "runs.db"
    writer = Store.create(path)
    writer.add(make_run())
    if left in ("closed", "old"):
        writer.close()
    if left == "killed":  # the log stays beside the store, without the memory that its users shared
        for name in ("runs.db", "runs.db-wal"):
            shutil.copy(in_the_open / name, in_the_open / f"copy-{name}")
        writer.close()
        for name in ("runs.db", "runs.db-wal"):
            os.replace(in_the_open / f"copy-{name}", in_the_open / name)
    if left == "old":  # reading it means to bring it up to date, in memory
        old = sqlite3.connect(path)
        for name in ("insert", "update", "delete"):
            old.execute(f"DROP TRIGGER points_{name}")
        old.execute("DROP TABLE packed_curves")
        old.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 1}")
        old.commit()
        old.close()
    for each in in_the_open.iterdir():
        each.chmod(of_file)
    in_the_open.chmod(of_folder)
    done = subprocess.run(
        [sys.executable, "-c", READ, path, str(NOBODY)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "cannot be written" in first
    assert "No run can be kept" in second
    beside = {"closed": set(), "old": set(), "open": {"runs.db-wal", "runs.db-shm"}, "killed": {"runs.db-wal"}}[left]
    assert set(os.listdir(in_the_open)) == {"runs.db", *beside}  # nothing was left by the reader
    writer.close()


def test_what_cannot_be_written_is_said_before_a_training(path, monkeypatch, make_run):
    with Store.create(path) as store:
        store.add(make_run())
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != path.parent)  # the log is a file in the folder
    with pytest.raises(StoreError, match="No run can be kept"):
        refuse_unwritable(path)


@pytest.fixture
def small_disk(disk_of):
    """A disk of 1 MB."""
    return disk_of("1m").folder


def test_a_full_disk_takes_no_run_that_was_kept(small_disk, make_run):
    path = small_disk / "runs.db"
    with Store.create(path) as store:
        store.add(make_run())
        with pytest.raises(StoreError, match="its disk is full: make room and try again"):
            store.add(make_run(id="long", points=many_points(20_000)))
        assert store.list() == (make_run(),)
        store.add(make_run(id="short"))  # what fits is kept
    with Store.open(path) as store:
        assert [run.id for run in store.list()] == ["3f9a0c", "short"]
        assert store.faults() == ()
    assert os.listdir(small_disk) == ["runs.db"]


def test_a_store_on_a_disk_without_any_room_is_read(small_disk, make_run):
    path = small_disk / "runs.db"
    with Store.create(path) as store:
        store.add(make_run())
    fill(small_disk / "filler")
    with Store.open(path) as store:
        assert store.list() == (make_run(),)
        with pytest.raises(StoreError, match="cannot be written"):
            store.add(make_run(id="second"))
    (small_disk / "filler").unlink()
    with Store.open(path) as store:
        store.add(make_run(id="second"))


def test_no_half_of_a_copy_is_left_on_a_full_disk(small_disk, path, make_run):
    with Store.create(path) as store:
        store.add(make_run(points=many_points(30_000)))
        with pytest.raises(StoreError, match="its disk is full"):
            store.backup(small_disk / "copy.db")
    assert os.listdir(small_disk) == []


def fill(path):
    with open(path, "wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


ADD_MANY = """
import dataclasses, sys
from prunescale.runs import Store, read_json
(run,) = read_json(sys.argv[2])
for number in range(150):
    with Store.create(sys.argv[1]) as store:
        store.add(dataclasses.replace(run, id=f"{sys.argv[3]}-{number}"))
"""


def test_two_drivers_on_one_new_store_lose_no_run_while_others_read(path, make_run, tmp_path):
    from prunescale.runs import runs_to_json

    (tmp_path / "one.json").write_text(runs_to_json([make_run()]))
    drivers = [python(ADD_MANY, path, tmp_path / "one.json", name, stderr=subprocess.PIPE) for name in ("a", "b")]
    n_looks = 0
    while any(driver.poll() is None for driver in drivers):
        if path.exists() and path.stat().st_size:
            with Store.open(path) as store:
                assert all(len(run.points) == 3 for run in store.list())
            n_looks += 1
        time.sleep(0.01)
    assert [driver.communicate()[1] for driver in drivers] == ["", ""]  # no "database is locked", or any other complaint
    with Store.open(path) as store:
        assert sorted(store.ids()) == sorted(f"{name}-{number}" for name in "ab" for number in range(150))
        assert store.faults() == ()
    assert n_looks
    assert set(os.listdir(tmp_path)) == {"one.json", "runs.db"}


ADD_UNTIL_KILLED = """
import dataclasses, sys
from prunescale.runs import Store, read_json
(run,) = read_json(sys.argv[2])
with Store.open(sys.argv[1]) as store:
    for number in range(1_000_000):
        store.add(dataclasses.replace(run, id=f"{sys.argv[3]}-{number}"))
        print(f"{sys.argv[3]}-{number}", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_what_was_told_to_be_kept_survives_kill_9(path, make_run, tmp_path):
    from prunescale.runs import runs_to_json

    (tmp_path / "one.json").write_text(runs_to_json([make_run(points=many_points(300))]))
    Store.create(path).close()
    told = set()
    for number in range(10):
        driver = python(ADD_UNTIL_KILLED, path, tmp_path / "one.json", number)
        told.add(driver.stdout.readline().strip())
        time.sleep(0.003 * number)
        driver.send_signal(signal.SIGKILL)
        told.update(line.strip() for line in driver.stdout if line.endswith("\n"))
        driver.wait()
    with Store.open(path) as store:
        assert told <= set(store.ids())
        assert store.faults() == ()
        assert {len(run.points) for run in store.list()} == {300}
