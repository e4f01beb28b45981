"""A sweep does what is not done, tries again what failed, and goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from prunescale.errors import StoreError, TrainingError
from prunescale.models import load, save
from prunescale.recipe import Recipe, TrainRecipe
from prunescale.runs import Store
from prunescale.sweep import (
    InProcess,
    Outcome,
    Planned,
    Processes,
    Progress,
    Settings,
    Study,
    carry_out,
    entries_of,
    run_recipe,
    sweep,
)
from prunescale.sweep import job as job_module
from prunescale.sweep.driver import only_one
from prunescale.sweep.engines import visible
from prunescale.sweep.job import is_alive
from prunescale.training import Machine

CPU = Settings({"device": "cpu"})


@pytest.fixture(autouse=True)
def asked_after_each_step(monkeypatch):
    """These runs are over in less time than goes by between two looks."""
    monkeypatch.setattr("prunescale.sweep.job.ASKED_EVERY", 0.0)


@pytest.fixture
def recipe(make_checkpoint, tmp_path):
    """Twelve steps of 4 x 16 tokens, with a branch."""
    (tmp_path / "train.txt").write_text("never odd or even; " * 40)
    (tmp_path / "held-out.txt").write_text("never odd or even; " * 6)
    train = TrainRecipe(
        data=str(tmp_path / "train.txt"),
        held_out=str(tmp_path / "held-out.txt"),
        tokens=768,
        learning_rate=0.01,
        sequence_length=16,
        batch_tokens=64,
        cooldowns=(512,),
        n_measurements=3,
    )
    return Recipe(base=str(save(make_checkpoint(), tmp_path / "base")), train=train)


@pytest.fixture
def study(recipe):
    """Two runs that differ in the order of the data."""
    seeds = {seed: replace(recipe, train=replace(recipe.train, seed=seed)) for seed in range(2)}
    return Study("seeds", tuple(Planned(f"seed {seed}", each) for seed, each in seeds.items()))


def curve(run):
    return [(point.n_tokens, point.loss, point.phase) for point in run.points]


def expected_of(study):
    return {run.recipe.hash: curve(run_recipe(run.recipe, machine=Machine(torch.device("cpu")))[0]) for run in study.runs}


def kept_in(store):
    with Store.open(store) as runs:
        found = runs.list()
    assert len({run.recipe_hash for run in found}) == len(found)  # none twice
    return {run.recipe_hash: curve(run) for run in found}


def stages(entries):
    return [entry.stage for entry in entries]


class Engineered:
    """An engine whose jobs end as they are told to: a list of outcomes for each recipe, the last of which stays."""

    n_slots = 1

    def __init__(self, *outcomes):
        self.outcomes, self.jobs = list(outcomes), []

    def start(self, job):
        self.jobs.append(job)
        return self

    def outcome(self):
        wanted = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        return carry_out(self.jobs[-1]) if wanted == "done" else wanted

    def kill(self):
        pass

    def close(self):
        pass


def test_runs_are_done_once_and_what_is_in_the_store_is_left_alone(study, tmp_path):
    looks = []
    entries = sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(), CPU, lambda seen: looks.append(stages(seen)))
    assert stages(entries) == ["done", "done"]
    assert not any(entry.known for entry in entries)
    assert kept_in(tmp_path / "runs.db") == expected_of(study)
    assert [entry.loss for entry in entries] == [points[-1][1] for points in expected_of(study).values()]
    assert looks[0] == ["running", "waiting"]
    assert looks[-1] == ["done", "done"]
    assert not list((tmp_path / "s").glob("*/training"))  # checkpoints of what is done are of no use

    nothing = Engineered(Outcome("failed", reason="must not be asked"))
    entries = sweep(study, tmp_path / "runs.db", tmp_path / "another", nothing, CPU)
    assert [(entry.stage, entry.known) for entry in entries] == [("done", True)] * 2


def test_processes_do_the_same_side_by_side_and_keep_models(study, tmp_path):
    settings = Settings({"device": "cpu"}, save_models=True, keep_checkpoints=True)
    entries = sweep(study, tmp_path / "runs.db", tmp_path / "s", Processes(2), settings)
    assert stages(entries) == ["done", "done"], entries
    assert kept_in(tmp_path / "runs.db") == expected_of(study)
    for entry in entries:
        trained_in = load(tmp_path / "s" / "models" / f"seed-{entry.run.recipe.train.seed}").lineage["training"][-1]
        assert Recipe.from_dict(trained_in["recipe"]) == entry.run.recipe
        status = json.loads((entry.folder / "status.json").read_text())
        assert status["of_tokens"] == 768
        assert (entry.folder / "training").exists()


def test_what_failed_is_tried_again_after_the_others_so_many_times(study, tmp_path):
    lost = Outcome("failed", reason="The process ended with signal 9 (SIGKILL).")
    engine = Engineered(lost, "done", lost, "done")
    entries = sweep(study, tmp_path / "runs.db", tmp_path / "s", engine, CPU)
    assert stages(entries) == ["done", "done"]
    first, second = (run.recipe.to_dict() for run in study.runs)
    assert [job.recipe for job in engine.jobs] == [first, second, first, first]
    assert entries[0].failures == 2

    engine = Engineered(lost)
    entries = sweep(study, tmp_path / "2.db", tmp_path / "2", engine, replace(CPU, retries=1))
    assert len(engine.jobs) == 4
    assert stages(entries) == ["failed", "failed"]
    assert entries[0].reason == lost.reason
    # Whoever looks later sees it too, and another sweep tries again.
    with Store.open(tmp_path / "2.db") as store:
        found = entries_of(study, store, tmp_path / "2")
    assert [(entry.stage, entry.failures, entry.reason) for entry in found] == [("failed", 2, lost.reason)] * 2
    entries = sweep(study, tmp_path / "2.db", tmp_path / "2", Engineered(lost, lost, lost, "done"), replace(CPU, retries=1))
    assert stages(entries) == ["failed", "done"]
    assert [entry.failures for entry in entries] == [2, 1]
    entries = sweep(study, tmp_path / "2.db", tmp_path / "2", InProcess(), CPU)
    assert stages(entries) == ["done", "done"]
    assert not list((tmp_path / "2").glob("*/failures.json"))


def test_what_is_refused_is_not_tried_again_and_the_others_are_done(study, tmp_path):
    wrong = replace(study.runs[0].recipe, train=replace(study.runs[0].recipe.train, data=str(tmp_path / "none.txt")))
    mixed = Study("mixed", (Planned("wrong", wrong), *study.runs))
    entries = sweep(mixed, tmp_path / "runs.db", tmp_path / "s", InProcess(), CPU)
    assert stages(entries) == ["failed", "done", "done"]
    assert entries[0].failures == 1
    assert "none.txt" in entries[0].reason
    assert "\n" not in entries[0].reason


def test_stopped_in_time_it_goes_on_and_the_curves_are_the_same(study, tmp_path, monkeypatch):
    """The clock strikes at the third step, and when it goes on, at the ninth, after a branch."""
    from prunescale.sweep import job

    now = [0.0]
    monkeypatch.setattr(job.time, "time", lambda: now[0])

    def stopping_after(step):
        now[0] = 0.0
        return InProcess(Progress(step=lambda n_tokens: now.__setitem__(0, 61.0 if n_tokens >= 64 * step else 0.0)))

    in_a_minute = replace(CPU, seconds=60.0)
    for step in (3, 9):
        entries = sweep(study, tmp_path / "runs.db", tmp_path / "s", stopping_after(step), in_a_minute)
        assert stages(entries) == ["stopped", "waiting"]
        assert max(path.name for path in (entries[0].folder / "training").glob("step-*")) == f"step-{step:08}"
        now[0] = 0.0
        with Store.open(tmp_path / "runs.db") as store:
            assert stages(entries_of(study, store, tmp_path / "s")) == ["stopped", "waiting"]
    entries = sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(), CPU)
    assert stages(entries) == ["done", "done"]
    assert kept_in(tmp_path / "runs.db") == expected_of(study)


def test_none_is_begun_that_would_not_come_to_its_first_step(study, tmp_path, monkeypatch):
    """The first run took so long to compile that the next would not be ready in time."""
    from prunescale.sweep import job

    now = [0.0]
    monkeypatch.setattr(job.time, "time", lambda: now[0])
    monkeypatch.setattr(job.time, "monotonic", lambda: now[0])

    def stage(words):
        now[0] += 40.0 * (words == "training")

    entries = sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(Progress(stage=stage)), replace(CPU, seconds=70.0))
    assert stages(entries) == ["done", "waiting"]
    assert not entries[1].folder.exists()
    # Of a sweep the first is begun however long the others took: it would never come to an end otherwise.
    entries = sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(Progress(stage=stage)), replace(CPU, seconds=41.0))
    assert stages(entries) == ["done", "done"]

    # One that was begun and failed is no first run again.
    def step(n_tokens):
        raise RuntimeError("out of luck")

    now[0] = 0.0
    unlucky = InProcess(Progress(stage=stage, step=step))
    entries = sweep(study, tmp_path / "2.db", tmp_path / "2", unlucky, replace(CPU, seconds=70.0))
    assert [(entry.stage, entry.failures) for entry in entries] == [("waiting", 1), ("waiting", 0)]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_stops_at_a_checkpoint(study, tmp_path, sign):
    interrupting = InProcess(Progress(step=lambda n_tokens: os.kill(os.getpid(), sign) if n_tokens == 192 else None))
    before = signal.getsignal(sign)
    entries = sweep(study, tmp_path / "runs.db", tmp_path / "s", interrupting, CPU)
    assert stages(entries) == ["stopped", "waiting"]
    assert signal.getsignal(sign) is before
    assert not (tmp_path / "s" / "stop").exists()
    assert stages(sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(), CPU)) == ["done", "done"]
    assert kept_in(tmp_path / "runs.db") == expected_of(study)


def test_the_second_interrupt_ends_it_at_once(study, tmp_path):
    def step(n_tokens):
        if n_tokens == 192:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(Progress(step=step)), CPU)
    assert stages(sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(), CPU)) == ["done", "done"]
    assert kept_in(tmp_path / "runs.db") == expected_of(study)


def test_two_sweeps_do_not_share_a_folder_and_share_a_store(study, tmp_path):
    with only_one(tmp_path / "s"), pytest.raises(TrainingError, match=r"Another sweep is at work in .*/s: wait for it"):
        sweep(study, tmp_path / "runs.db", tmp_path / "s", InProcess(), CPU)

    class Overtaken(Engineered):
        """While its first job is under way, another sweep does all."""

        def start(self, job):
            sweep(study, tmp_path / "runs.db", tmp_path / "another", InProcess(), CPU)
            return super().start(job)

    slow = Overtaken("done")
    entries = sweep(study, tmp_path / "runs.db", tmp_path / "s", slow, CPU)
    assert stages(entries) == ["done", "done"]
    assert len(slow.jobs) == 1
    with Store.open(tmp_path / "runs.db") as store:
        assert [entry.loss for entry in entries] == [store.find(entry.run.recipe.hash).loss for entry in entries]
    assert kept_in(tmp_path / "runs.db") == expected_of(study)


def test_a_run_whose_driver_was_killed_after_its_end_is_not_trained_again(study, tmp_path):
    (entry, _) = entries_of(study, None, tmp_path / "s")
    engine = Engineered("done")
    sweep(Study("one", study.runs[:1]), tmp_path / "1.db", tmp_path / "s", engine, CPU)
    first = kept_in(tmp_path / "1.db")
    written = (entry.folder / "status.json").stat().st_mtime_ns
    sweep(Study("one", study.runs[:1]), tmp_path / "2.db", tmp_path / "s", InProcess(), CPU)
    assert kept_in(tmp_path / "2.db") == first
    with Store.open(tmp_path / "1.db") as one, Store.open(tmp_path / "2.db") as two:
        assert one.ids() == two.ids()
    assert (entry.folder / "status.json").stat().st_mtime_ns == written


def test_a_store_that_cannot_be_written_is_refused_before_anything_is_done(study, tmp_path):
    (tmp_path / "runs.db").write_text("a thesis")
    engine = Engineered("done")
    with pytest.raises(StoreError):
        sweep(study, tmp_path / "runs.db", tmp_path / "s", engine, CPU)
    assert engine.jobs == []


def test_a_process_that_has_ended_is_not_alive_though_nobody_has_asked():
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert is_alive(os.getpid())
    while is_alive(process.pid):
        time.sleep(0.01)
    assert process.returncode is None
    process.wait()
    assert not is_alive(process.pid)


def test_files_are_not_looked_at_after_each_step_and_the_clock_is(tmp_path, monkeypatch):
    now, looks = [100.0], []
    monkeypatch.setattr(job_module, "ASKED_EVERY", 0.5)
    monkeypatch.setattr(job_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(job_module.time, "time", lambda: now[0])
    monkeypatch.setattr(job_module.Path, "exists", lambda path: looks.append(path) or False)
    should_stop = job_module.now_and_then(job_module.Job({}, str(tmp_path), "stop", until=102.0))
    for _ in range(19):
        assert not should_stop()
        now[0] += 0.1
    assert len(looks) == 4
    now[0] = 102.0
    assert should_stop()


def test_processes_are_as_many_as_fit_the_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,6,7")
    assert Processes.on_this_machine(None, 1, "auto").free == [(0,), (1,), (2,), (3,)]
    pairs = Processes.on_this_machine(None, 2, "cuda")
    assert (pairs.free, pairs.jobs_per_gpu) == ([(0, 1), (2, 3)], 1)
    assert visible(pairs.free[1]) == ["6", "7"]
    assert Processes.on_this_machine(3, 1, "cuda").free == [(0,), (1,), (2,)]
    assert Processes.on_this_machine(3, 2, "cpu").free == [(), (), ()]
    with pytest.raises(TrainingError, match="A run on 8 GPUs does not fit on this machine, which has 4: give it fewer"):
        Processes.on_this_machine(None, 8, "auto")
    with pytest.raises(TrainingError, match="cuda:1 is one GPU, and each process gets its own"):
        Processes.on_this_machine(None, 1, "cuda:1")


def test_more_runs_at_a_time_than_gpus_share_them_evenly_and_say_so(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    engine = Processes.on_this_machine(5, 1, "auto")
    assert (engine.n_slots, sorted(engine.free), engine.jobs_per_gpu) == (5, [(0,), (0,), (0,), (1,), (1,)], 3)
    given = []
    monkeypatch.setattr("prunescale.sweep.engines.Process", lambda engine, gpus, job: given.append((gpus, job.jobs_per_gpu)))
    for _ in range(5):
        engine.start(job_module.Job({}, str(tmp_path), "stop"))
    assert given == [((0,), 3), ((1,), 3), ((0,), 3), ((1,), 3), ((0,), 3)]


def test_a_run_that_may_have_shared_its_gpu_says_so(recipe, tmp_path):
    job = job_module.Job(recipe.to_dict(), str(tmp_path / "run"), str(tmp_path / "stop"), device="cpu")
    alone = carry_out(job).run
    shared = carry_out(replace(job, folder=str(tmp_path / "another"), jobs_per_gpu=2)).run
    assert (alone.inputs, shared.inputs) == (
        {"flops_cooldowns": alone.inputs["flops_cooldowns"]},
        alone.inputs | {"runs_per_gpu": 2.0},
    )
