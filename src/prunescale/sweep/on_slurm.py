"""Jobs of a sweep as jobs of Slurm, by way of submitit: each on one node, whose folder is the driver's under the same path.

A job that Slurm preempts, or whose time is up, is put into the queue again and goes on from its last checkpoint.
"""

import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunescale.errors import TrainingError
from prunescale.sweep.engines import NOT_BEGUN, Ended, Pending, by_torchrun, not_shared, one_line
from prunescale.sweep.job import Job, Outcome, carry_out

MINUTES = 60
"""Of a job whose time is not said. After them it goes back into the queue; submitit alone would give it five."""

TIMES_UP = 100
"""How often a job may come to the end of its time. Each time it went on: less than the time to a checkpoint is refused."""

SEEN_WITHIN = 15.0
"""Seconds until a file that was written on a node is seen here: network file systems remember for a while what was not there."""

OURS = ("nodes", "ntasks", "ntasks_per_node", "array", "signal", "output", "error")
"""Options that say how a job is started, and are not for others to set."""

FLAGS = ("", "true", "yes")
"""Values of an option that is a flag."""


class OnSlurm:
    """folder: for what submitit keeps, reached by all nodes. options: Slurm's own, without dashes before them (partition, time,
    gpus-per-node, ...). cluster: slurm, or local for processes of this machine."""

    def __init__(self, folder: Path, n_processes: int, n_slots: int, options: Mapping[str, str], cluster: str = "slurm") -> None:
        self.n_processes, self.n_slots = n_processes, n_slots
        self.submitit = imported()
        self.options = options_of(options)
        self.was_accepted = False
        self.under_way: list[Submitted] = []
        try:
            self.executor = self.submitit.AutoExecutor(folder=str(folder), cluster=cluster, slurm_max_num_timeout=TIMES_UP)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(f"There is no cluster of the kind {cluster} here ({error}).") from error

    def start(self, job: Job) -> Pending:
        """Raises TrainingError where Slurm does not accept the first job: it would accept no other."""
        parameters = parameters_of(self.options, job)
        try:
            Path(job.folder).mkdir(parents=True, exist_ok=True)
            self.executor.update_parameters(**parameters)
            submitted = self.executor.submit(Work(job))
        except (OSError, RuntimeError, NameError, ValueError) as error:
            reason = f"Slurm does not accept the job ({one_line(error)})."
            if not self.was_accepted:
                raise TrainingError(reason) from error
            return Ended(Outcome("failed", reason=reason))  # a full queue must not end the jobs under way
        self.was_accepted = True
        self.under_way = [other for other in self.under_way if other.ended is None]
        self.under_way.append(Submitted(job, submitted))
        return self.under_way[-1]

    def close(self) -> None:
        for job in self.under_way:
            if job.outcome() is None:
                job.kill()
        self.under_way = []


class Submitted:
    """A job in Slurm's hands, running or in its queue."""

    def __init__(self, job: Job, submitted: Any) -> None:
        self.job, self.submitted = job, submitted
        self.ended: Outcome | None = None
        self.over_since: float | None = None

    def outcome(self) -> Outcome | None:
        if self.ended is None:
            try:
                self.ended = self.found() if self.submitted.done() else self.given_up()
            except (
                Exception
            ) as error:  # what was raised on the node, such as prunescale not being there; a result that cannot be read
                self.ended = self.failed(one_line(error))
        return self.ended

    def given_up(self) -> Outcome | None:
        """A job that is still in the queue when all are to stop is taken out of it."""
        if not (self.job.should_stop and self.submitted.state.upper() == "PENDING"):
            return None
        self.kill()
        return NOT_BEGUN

    def found(self) -> Outcome | None:
        """What a job that is over has left. Here is waited for it, since submitit would hold up all other jobs meanwhile."""
        if self.submitted.paths.result_pickle.exists():
            return self.submitted.result()
        self.over_since = self.over_since or time.monotonic()
        if time.monotonic() - self.over_since < SEEN_WITHIN:
            return None
        return self.failed(f"It left no result (state {self.submitted.state}).")

    def failed(self, reason: str) -> Outcome:
        said = self.submitted.paths
        return Outcome(
            "failed", reason=f"Job {self.submitted.job_id}: {reason} What it said is in {said.stderr} and {said.stdout}."
        )

    def kill(self) -> None:
        self.submitted.cancel(check=False)


class Work:
    """A job as submitit keeps it, to be called on a node."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> Outcome:
        if lacking := not_shared(self.job.folder):
            return lacking
        if self.job.n_processes == 1:
            return carry_out(self.job)
        return by_torchrun(replace(self.job, driver=os.getpid()), max(1, len(os.sched_getaffinity(0)) // self.job.n_processes))

    def checkpoint(self) -> Any:
        """What is put into the queue again where this is preempted, or its time is up: the same, as its folder says how far it is."""
        return imported().helpers.DelayedSubmission(self)


def imported() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise TrainingError("A sweep on Slurm needs the package submitit: pip install 'prunescale[slurm]'.") from error
    return submitit


def options_of(options: Mapping[str, str]) -> dict[str, str]:
    """With the names as submitit writes them. Raises TrainingError for those that are not for others to set."""
    found = {name.lstrip("-").replace("-", "_"): value for name, value in options.items()}
    if ours := sorted(found.keys() & set(OURS)):
        raise TrainingError(
            f"Slurm's option {ours[0]} is set by the sweep, a node and a task for each of its jobs: leave it out."
        )
    return found


def parameters_of(options: Mapping[str, str], job: Job) -> dict[str, Any]:
    """For submitit's AutoExecutor. What submitit has no name for is handed to sbatch as it is."""
    minutes = minutes_of(options["time"]) if "time" in options else MINUTES
    if minutes <= job.checkpoint_minutes:
        raise TrainingError(
            f"The time of a job, {minutes} minutes, is not more than the {job.checkpoint_minutes:g} minutes from one checkpoint to the "
            "next: it would never come further."
        )
    known = imported().SlurmExecutor._valid_parameters()
    given = {name: value_of(name, value) for name, value in options.items() if name not in ("time", "job_name")}
    others = {name: value for name, value in given.items() if name not in known}
    if job.device.startswith("cuda") and not any("gpu" in f"{name}{value}" for name, value in given.items()):
        given["gpus_per_node"] = job.n_processes
    return {
        **{f"slurm_{name}": value for name, value in given.items() if name in known},
        "slurm_additional_parameters": {"requeue": True, **others},
        "name": options.get("job_name", "prunescale"),
        "timeout_min": minutes,
        "nodes": 1,
        "tasks_per_node": 1,
    }


def value_of(name: str, text: str) -> Any:
    """A value as submitit wants it."""
    if name == "setup":
        return [text]
    if name == "srun_args":
        return shlex.split(text)
    if text in FLAGS:
        return True
    return int(text) if text.isdecimal() else text


def minutes_of(text: str) -> int:
    """Of a time as Slurm reads it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S. Seconds count as a minute."""
    days, dash, rest = text.rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
        if not dash and len(parts) < 3:
            parts = [0, *parts]
        hours, minutes, seconds = parts + [0] * (3 - len(parts))
        return (24 * (int(days) if dash else 0) + hours) * 60 + minutes + (seconds > 0)
    except ValueError as error:
        raise TrainingError(
            f"time is {text!r}; Slurm reads minutes, minutes:seconds, hours:minutes:seconds, or days-hours:minutes:seconds."
        ) from error
