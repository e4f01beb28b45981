"""Where the jobs of a sweep are done: in this process, or in processes of their own on this machine. Ray and Slurm have files of their own.

An engine starts jobs and says how they ended. It decides nothing: which job, how often, and what becomes of the result is the driver's.
"""

import json
import os
import signal
import socket
import subprocess  # our own worker, without a shell  # nosec B404
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from prunescale.errors import TrainingError, in_one_line
from prunescale.sweep.job import Job, Outcome, carry_out, kept_result, outcome_file
from prunescale.training import Progress

LONGEST_REASON = 500
"""Characters: what is said of a lost worker may have several lines."""


def one_line(text: object) -> str:
    """What was said elsewhere, as a reason."""
    return in_one_line(" ".join(str(text).split()), LONGEST_REASON)


NOT_BEGUN = Outcome("stopped", reason="Stopped before it began.")


class Pending(Protocol):
    """A job that was started."""

    def outcome(self) -> Outcome | None:
        """How it ended, None while it is under way. Raises nothing: what was lost is a failed outcome with its reason."""
        ...

    def kill(self) -> None:
        """End it now, without a checkpoint."""
        ...


class Engine(Protocol):
    """n_slots: how many jobs it can be given at once."""

    n_slots: int

    def start(self, job: Job) -> Pending: ...

    def close(self) -> None:
        """Give back what it holds. Jobs under way are ended."""
        ...


class Ended:
    """A job that had ended when it came back."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def outcome(self) -> Outcome:
        return self._outcome

    def kill(self) -> None:
        pass


class InProcess:
    """One job after the other, here."""

    n_slots = 1

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress

    def start(self, job: Job) -> Pending:
        return Ended(carry_out(job, self.progress))

    def close(self) -> None:
        pass


class Processes:
    """A process a job, so many at a time, each with its share of this machine's GPUs or cores. A job of several processes is started by
    torchrun. n_sets: of GPUs, which several jobs share where there are fewer sets than slots; while one of them loads or compiles,
    another trains."""

    def __init__(self, n_slots: int, gpus_per_job: int = 0, n_sets: int | None = None) -> None:
        self.n_slots, self.n_sets = n_slots, n_sets or n_slots
        sets = [tuple(range(number * gpus_per_job, (number + 1) * gpus_per_job)) for number in range(self.n_sets)]
        self.free = [sets[slot % self.n_sets] for slot in range(n_slots)]
        self.jobs_per_gpu = -(-n_slots // self.n_sets) if gpus_per_job else 1

    @classmethod
    def on_this_machine(cls, n_workers: int | None, n_processes: int, device: str) -> "Processes":
        """As many as there are GPUs for, or so many, which share the GPUs where they are more; on a CPU one for each two cores. Raises
        TrainingError where there are too few GPUs for a job, and for one GPU by its number."""
        n_gpus = torch.cuda.device_count() if device != "cpu" else 0
        if ":" in device:
            raise TrainingError(f"{device} is one GPU, and each process gets its own: use cuda, or the engine in-process.")
        if n_gpus and n_processes > n_gpus:
            raise TrainingError(f"A run on {n_processes} GPUs does not fit on this machine, which has {n_gpus}: give it fewer.")
        if not n_gpus:
            return cls(n_workers or max(1, (os.cpu_count() or 1) // 2))
        most = n_gpus // n_processes
        n_slots = n_workers or most
        return cls(n_slots, n_processes, min(n_slots, most))

    def start(self, job: Job) -> Pending:
        gpus = max(self.free, key=self.free.count)
        process = Process(self, gpus, replace(job, jobs_per_gpu=self.jobs_per_gpu))
        self.free.remove(gpus)  # only now: it may not have begun
        return process

    def close(self) -> None:
        pass


class Process:
    """A job in a process of its own, out of reach of the terminal's Ctrl-C, which is the driver's."""

    def __init__(self, engine: Processes, gpus: tuple[int, ...], job: Job) -> None:
        self.engine, self.gpus, self.folder = engine, gpus, Path(job.folder)
        self.job = replace(job, driver=os.getpid())
        self.ended: Outcome | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        n_threads = str(threads_of(engine.n_slots * job.n_processes))
        environment = {"TORCHINDUCTOR_COMPILE_THREADS": n_threads, **os.environ, "OMP_NUM_THREADS": n_threads}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, visible(gpus)))
        command = command_of(self.job)
        self.log = open(self.folder / "log.txt", "ab")  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(  # nosec B603
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def outcome(self) -> Outcome | None:
        if self.ended is None and self.process.poll() is not None:
            self.log.close()
            self.engine.free.append(self.gpus)
            self.ended = outcome_of(self.job, self.process.returncode)
        return self.ended

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def threads_of(n_processes: int) -> int:
    """For each of so many processes of this machine."""
    return max(1, (os.cpu_count() or 1) // n_processes)


def visible(gpus: tuple[int, ...]) -> list[str]:
    """Names of GPUs, of which the environment may show some only."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = named.split(",") if named else []
    return [names[gpu] if gpu < len(names) else str(gpu) for gpu in gpus]


def command_of(job: Job) -> list[str]:
    """A process that does a job: see worker.py."""
    file = job_file(job)
    file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={job.n_processes}"]
    return [sys.executable, *(torchrun if job.n_processes > 1 else []), "-m", "prunescale.sweep.worker", str(file)]


def outcome_of(job: Job, code: int) -> Outcome:
    """What a process has left behind that did this job and ended with this code. What an earlier one leaves, which may still be on its
    way out, has another name."""
    folder, file = Path(job.folder), outcome_file(job)
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        found = Outcome(**told)
    except (OSError, ValueError, TypeError):
        if code == 0 and (kept := kept_result(folder)):
            return kept
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        return Outcome("failed", reason=f"The process ended with {how}; what it said is in {folder / 'log.txt'}.")
    finally:
        for written in (file, job_file(job)):
            written.unlink(missing_ok=True)
    if found.state == "done":
        return kept_result(folder) or Outcome("failed", reason=f"{folder / 'result.json'} cannot be read.")
    return found


def job_file(job: Job) -> Path:
    return Path(job.folder) / f"job-{job.attempt}.json"


def by_torchrun(job: Job, n_threads: int) -> Outcome:
    """Do a job in several processes of this machine, which stop at a checkpoint where its `driver` is gone. They are of this process's
    group, which Ray ends with it, so that no GPU is given away that they still use."""
    folder = Path(job.folder)
    with open(folder / "log.txt", "ab") as log:
        process = subprocess.Popen(  # nosec B603
            command_of(job),
            env={**os.environ, "OMP_NUM_THREADS": str(n_threads)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return outcome_of(job, process.wait())


def not_shared(*folders: str) -> Outcome | None:
    """How a job ends on a node from which one of these cannot be seen. The driver has made them: another of the same name, on a disk of
    the node's own, would be lost with the node."""
    lacking = [folder for folder in folders if not Path(folder).is_dir()]
    if not lacking:
        return None
    return Outcome(
        "failed", reason=f"{lacking[0]} is not to be seen on {socket.gethostname()}: the nodes must share it, under this path."
    )
