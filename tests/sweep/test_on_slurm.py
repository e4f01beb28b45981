"""Jobs through submitit: on this machine with its own executor, and with a Slurm of a few lines that runs the files it is given."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from prunescale.errors import TrainingError
from prunescale.sweep import on_slurm
from prunescale.sweep.on_slurm import OnSlurm, Submitted, Work, minutes_of, options_of, parameters_of
from tests.sweep.under_way import N_STEPS, curve_of, in_mid_training, until_true


@pytest.fixture
def local(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    engine = OnSlurm(tmp_path / "submitted", n_processes=1, n_slots=2, options={"time": "60"}, cluster="local")
    yield engine
    engine.close()


@pytest.mark.slow
def test_it_comes_out_as_in_this_process(local, recipe, job, uninterrupted):
    pending = [local.start(job(recipe(n_steps), f"run-{n_steps}")) for n_steps in (20, 24)]
    outcomes = [until_true(each.outcome) for each in pending]
    assert curve_of(outcomes[1]) == uninterrupted(recipe(24))
    assert outcomes[0].run.recipe_hash == recipe(20).hash


@pytest.mark.slow
def test_what_is_preempted_goes_on_as_if_never_stopped(local, recipe, job, uninterrupted):
    it = job(recipe(N_STEPS), "preempted")
    pending = local.start(it)
    before = in_mid_training(it)
    os.kill(before, signal.SIGUSR2)  # as Slurm does before it takes the node away
    log = pending.submitted.paths.stdout
    until_true(lambda: "Requeued" in log.read_text() + pending.submitted.paths.stderr.read_text())
    assert pending.outcome() is None
    assert curve_of(until_true(pending.outcome)) == uninterrupted(recipe(N_STEPS))
    assert not Path(f"/proc/{before}").exists()


@pytest.mark.slow
def test_what_is_killed_has_failed_with_a_reason(local, recipe, job, uninterrupted, monkeypatch):
    monkeypatch.setattr(on_slurm, "SEEN_WITHIN", 1.0)  # this disk is no network's
    it = job(recipe(N_STEPS), "killed")
    pending = local.start(it)
    os.kill(in_mid_training(it), signal.SIGKILL)
    outcome = until_true(pending.outcome)
    assert outcome.state == "failed"
    assert outcome.reason.startswith(f"Job {pending.submitted.job_id}: ")
    assert "It left no result (state FINISHED)" in outcome.reason
    assert "\n" not in outcome.reason
    assert curve_of(until_true(local.start(it).outcome)) == uninterrupted(recipe(N_STEPS))


@pytest.mark.slow
def test_a_job_of_two_processes(local, recipe, job, uninterrupted):
    outcome = until_true(local.start(job(recipe(12), "shared", n_processes=2, device="cpu")).outcome, seconds=120)
    for (n_tokens, loss, *_), (n_alone, loss_alone, *_) in zip(curve_of(outcome), uninterrupted(recipe(12)), strict=True):
        assert n_tokens == n_alone
        assert loss == pytest.approx(loss_alone, abs=1e-4)  # sums in another order


@pytest.mark.slow
def test_a_folder_that_is_not_shared(local, recipe, job):
    it = job(recipe(20), "apart")
    pending = local.start(it)
    Path(it.folder).rmdir()  # before the job looks, as though it were on another machine
    outcome = until_true(pending.outcome)
    assert outcome.state == "failed"
    assert "is not to be seen on" in outcome.reason


@pytest.mark.slow
def test_closing_ends_what_is_under_way(local, recipe, job):
    it = job(recipe(20_000), "ended")
    local.start(it)
    process = in_mid_training(it)
    local.close()
    until_true(lambda: not Path(f"/proc/{process}").exists())
    assert not (Path(it.folder) / "result.json").exists()


SLURM = {
    "sbatch": """echo "$1" >> BESIDE/accepted
grep -q partition=full "$1" && { echo 'sbatch: error: invalid partition specified: full' >&2; exit 1; }
id=$((1000 + $(wc -l < BESIDE/accepted)))
SLURM_JOB_ID=$id SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 setsid bash "$1" > /dev/null 2> BESIDE/said &
echo "Submitted batch job $id" """,
    "srun": """while [[ $1 == --* ]]; do [[ $1 == --unbuffered ]] && shift || shift 2; done; exec "$@" """,
    "sacct": "echo 'JobID|State|NodeList'; echo '1001|RUNNING|here'",
    "scancel": "exit 0",
}
"""What submitit calls, so that its own batch file is carried out."""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in SLURM.items():
        (programs / name).write_text("#!/bin/bash\n" + text.replace("BESIDE", str(tmp_path)) + "\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return lambda **options: OnSlurm(tmp_path / "submitted", 1, 2, options)


@pytest.mark.slow
def test_a_batch_file_that_submitit_makes_is_carried_out(slurm, recipe, job, tmp_path):
    it = job(recipe(20), "run", device="cuda")
    engine = slurm(
        partition="gpu", time="1-02:30:00", qos="low", **{"gpus-per-node": "h100:2", "mem-per-cpu": "2G", "no-kill": ""}
    )
    outcome = until_true(engine.start(it).outcome)
    assert outcome.state != "done"  # on a machine without a GPU, and this far it came
    assert "cuda" in outcome.reason.lower()
    (file,) = (tmp_path / "submitted").glob("*_submission.sh")
    lines = file.read_text().splitlines()
    for wanted in (
        "partition=gpu",
        "time=1590",  # minutes
        "qos=low",
        "gpus-per-node=h100:2",
        "mem-per-cpu=2G",
        "no-kill",
        "requeue",
        "nodes=1",
        "ntasks-per-node=1",
        "job-name=prunescale",
        "signal=USR2@90",
    ):
        assert f"#SBATCH --{wanted}" in lines


def test_what_slurm_does_not_accept_is_said_at_once_and_later_has_failed(slurm, recipe, job):
    engine = slurm(partition="full")
    with pytest.raises(TrainingError, match=r"Slurm does not accept the job .*invalid partition specified: full"):
        engine.start(job(recipe(20), "run"))
    engine.was_accepted = True
    outcome = engine.start(job(recipe(20), "run")).outcome()
    assert outcome.state == "failed"
    assert "invalid partition" in outcome.reason


def test_what_is_still_in_the_queue_when_all_are_to_stop_is_taken_out(recipe, job):
    class Queued:
        state, cancelled = "PENDING", False

        def done(self):
            return False

        def cancel(self, check):
            self.cancelled = True

    it = job(recipe(20), "run")
    pending = Submitted(it, Queued())
    assert pending.outcome() is None
    Path(it.stop_file).touch()
    pending.submitted.state = "RUNNING"
    assert pending.outcome() is None
    pending.submitted.state = "PENDING"
    assert pending.outcome().state == "stopped"
    assert pending.submitted.cancelled


def test_what_goes_back_into_the_queue_is_the_same_job(recipe, job):
    it = job(recipe(20), "run")
    again = Work(it).checkpoint()
    assert type(again).__name__ == "DelayedSubmission"
    assert again.function.job == it
    assert (again.args, again.kwargs) == ((), {})


def test_gpus_are_asked_for_where_a_job_wants_them_and_the_options_say_nothing(recipe, job):
    on_gpus = job(recipe(20), "run", device="cuda", n_processes=4)
    assert parameters_of({}, on_gpus)["slurm_gpus_per_node"] == 4
    assert "slurm_gpus_per_node" not in parameters_of({"gres": "gpu:4"}, on_gpus)
    assert "slurm_gpus_per_node" not in parameters_of({}, job(recipe(20), "run"))


def test_without_slurm_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrainingError, match="no cluster of the kind slurm here"):
        OnSlurm(tmp_path, 1, 1, {})
    with pytest.raises(TrainingError, match="no cluster of the kind pbs here"):
        OnSlurm(tmp_path, 1, 1, {}, "pbs")


@pytest.mark.parametrize(
    ("time", "minutes"),
    [("90", 90), ("90:30", 91), ("2:00:00", 120), ("1-12", 2160), ("1-12:05", 2165), ("0-00:10:01", 11)],
)
def test_times_are_read_as_slurm_reads_them(time, minutes):
    assert minutes_of(time) == minutes


@pytest.mark.parametrize("time", ["", "2h", "1:2:3:4", "1-", "-5", "1-1:1:1:1"])
def test_what_is_no_time_is_refused(time):
    with pytest.raises(TrainingError, match="Slurm reads minutes"):
        minutes_of(time)


def test_options_that_cannot_be(recipe, job):
    with pytest.raises(TrainingError, match="option ntasks_per_node is set by the sweep"):
        options_of({"--ntasks-per-node": "2"})
    with pytest.raises(TrainingError, match="5 minutes, is not more than the 10 minutes from one checkpoint"):
        parameters_of({"time": "5"}, replace(job(recipe(20), "run"), checkpoint_minutes=10.0))
