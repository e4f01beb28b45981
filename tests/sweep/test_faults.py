"""What happens to a sweep when processes are killed and files damaged; docs/reliability.md has the figures."""

import json
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.sweep_kills import forked, killed, with_workers, written
from prunescale.errors import DataError
from prunescale.runs import Store
from prunescale.sweep import InProcess, Processes, Progress, Settings, Study, sweep
from prunescale.training import Encoder, end_of_document, tokenize_corpus

EACH_TIME = Settings({"device": "cpu", "checkpoint_minutes": 0.0})
"""Checkpoints whenever it looks."""


def nothing_is_lost(found):
    lost = {what: found[what] for what in ("measurements_lost", "runs_twice", "curves_that_differ")}
    assert lost == dict.fromkeys(lost, 0), found


@pytest.fixture(autouse=True)
def asked_after_each_step(monkeypatch):
    """These runs are over in less time than goes by between two looks."""
    monkeypatch.setattr("prunescale.sweep.job.ASKED_EVERY", 0.0)


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost_or_twice_or_different(tmp_path):
    found = killed(12, tmp_path, 5, forked)
    assert found["kills"] == 12
    nothing_is_lost(found)


@pytest.mark.slow
def test_so_it_is_where_workers_and_their_driver_are_killed(tmp_path):
    nothing_is_lost(killed(2, tmp_path, 1, with_workers))


@pytest.mark.slow
def test_a_worker_that_is_killed_is_seen_and_its_run_goes_on(tmp_path):
    file = written(tmp_path / "a", first=0)
    study = Study("one", Study.from_toml(file).runs[:1])
    engine = Processes(1)
    killed_at = []

    def look(entries):
        (entry,) = entries
        points = entry.folder / "training" / "points.jsonl"
        if not killed_at and entry.pending and points.exists() and points.read_bytes().count(b"\n") > 5:
            killed_at.append(points.read_bytes())
            # One that an earlier driver began, and that has stopped since: what it leaves is not how this one ended.
            (entry.folder / "job-earlier-outcome.json").write_text('{"state": "stopped", "reason": ""}')
            entry.pending.process.send_signal(signal.SIGKILL)

    (entry,) = sweep(study, tmp_path / "runs.db", tmp_path / "s", engine, EACH_TIME, look)
    assert (entry.stage, entry.failures) == ("done", 1)
    assert entry.reason.startswith("The process ended with signal 9 (SIGKILL); what it said is in ")
    assert not list(entry.folder.glob("job-*"))
    sweep(study, tmp_path / "2.db", tmp_path / "2", InProcess(), EACH_TIME)
    assert curves(tmp_path / "runs.db") == curves(tmp_path / "2.db")


def curves(store):
    with Store.open(store) as runs:
        return {run.recipe_hash: [(point.n_tokens, point.loss, point.phase) for point in run.points] for run in runs.list()}


@pytest.fixture
def stopped(tmp_path):
    """A sweep of one run that was interrupted, with two checkpoints."""
    study = Study("one", Study.from_toml(written(tmp_path / "a", first=0)).runs[:1])

    def step(n_tokens):
        if n_tokens == 64 * 40:
            signal.raise_signal(signal.SIGINT)

    (entry,) = sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(Progress(step=step)), EACH_TIME)
    assert entry.stage == "stopped"
    sweep(study, tmp_path / "expected.db", tmp_path / "e", InProcess(), EACH_TIME)
    return study, entry.folder


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(stopped, tmp_path):
    study, folder = stopped
    newest = max((folder / "training").glob("step-*"))
    damage(next(newest.glob("*.safetensors")))
    notes = []
    (entry,) = sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(Progress(note=notes.append)), EACH_TIME)
    assert entry.stage == "done"
    assert notes[0].startswith(f"{newest} is damaged (")
    assert notes[0].endswith(" has another checksum): left out.")
    assert "Goes on after" in notes[1]
    assert json.loads((folder / "status.json").read_text())["notes"] == notes
    assert curves(tmp_path / "runs.db") == curves(tmp_path / "expected.db")


def test_all_checkpoints_damaged_it_begins_again_and_measures_nothing_twice(stopped, tmp_path):
    study, folder = stopped
    for checkpoint in (folder / "training").glob("step-*"):
        damage(next(checkpoint.glob("*.safetensors")))
    sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(), EACH_TIME)
    assert curves(tmp_path / "runs.db") == curves(tmp_path / "expected.db")


@pytest.mark.parametrize("name", ["status.json", "result.json", "failures.json", "lock"])
def test_what_is_beside_the_checkpoints_may_be_rubbish(stopped, tmp_path, name):
    study, folder = stopped
    (folder / name).write_bytes(random.Random(1).randbytes(500))
    (entry,) = sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(), EACH_TIME)
    assert entry.stage == "done"
    assert curves(tmp_path / "runs.db") == curves(tmp_path / "expected.db")


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_damaged_shard_is_named_before_anything_is_trained_on_it(tmp_path, tokenizer):
    file = written(tmp_path / "a", first=0)
    tokenize_corpus([str(tmp_path / "a" / "train.txt")], Encoder(tokenizer, end_of_document(tokenizer)), tmp_path / "tokens")
    file.write_text(file.read_text().replace(f"{tmp_path}/a/train.txt", f"{tmp_path}/tokens"))
    study = Study("one", Study.from_toml(file).runs[:1])
    (shard,) = (tmp_path / "tokens").glob("*.npy")
    whole = shard.read_bytes()
    damage(shard)
    with pytest.raises(DataError, match=f"{shard} has another checksum than when it was written: copy it again"):
        sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(), EACH_TIME)
    assert not list((tmp_path / "s").glob("*/*"))
    shard.write_bytes(whole)
    (entry,) = sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(), EACH_TIME)
    assert entry.stage == "done"


@pytest.fixture
def small_disk(disk_of):
    """A disk of 100 kB, too small for a checkpoint."""
    return disk_of("100k")


@pytest.mark.parametrize("engine", [InProcess, lambda: Processes(1)], ids=["in-process", "processes"])
def test_a_full_disk_is_the_reason_and_with_room_it_goes_on(small_disk, tmp_path, engine):
    study = Study("one", Study.from_toml(written(tmp_path / "a", first=0)).runs[:1])
    (entry,) = sweep(study, tmp_path / "runs.db", small_disk.folder / "s", engine(), EACH_TIME)
    assert entry.stage == "failed"
    assert "cannot be written" in entry.reason
    assert "No space left" in entry.reason
    small_disk.grow("4m")
    (entry,) = sweep(study, tmp_path / "runs.db", small_disk.folder / "s", engine(), EACH_TIME)
    assert entry.stage == "done"
    sweep(study, tmp_path / "expected.db", tmp_path / "e", InProcess(), EACH_TIME)
    assert curves(tmp_path / "runs.db") == curves(tmp_path / "expected.db")


def fill(file):
    with suppress(OSError), open(file, "wb", buffering=0) as stream:
        while stream.write(b"0" * 4096):
            pass


@pytest.mark.parametrize("engine", [InProcess, lambda: Processes(1)], ids=["in-process", "processes"])
def test_no_byte_is_left(small_disk, tmp_path, engine):
    study = Study("one", Study.from_toml(written(tmp_path / "a", first=0)).runs[:1])
    (small_disk.folder / "s").mkdir()
    fill(small_disk.folder / "filler")
    (entry,) = sweep(study, tmp_path / "runs.db", small_disk.folder / "s", engine(), EACH_TIME)
    assert entry.stage == "failed"
    assert "No space left" in entry.reason
