"""Jobs as tasks of a Ray cluster: on this machine, or on many that reach the same folder under the same path.

Ray finds a place for a job and says when the worker or the node that did it is gone. It repeats nothing by itself: to do a job again, from
its last checkpoint, is the driver's decision.
"""

import logging
import os
import socket
import time
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from prunescale.errors import TrainingError
from prunescale.sweep.engines import NOT_BEGUN, Pending, by_torchrun, not_shared, one_line
from prunescale.sweep.job import Job, Outcome, carry_out

ENDED_WITHIN = 10.0
"""Seconds that a task which was cancelled has to be gone, and its lock and its GPUs with it."""

ANSWERS_WITHIN = 10.0
"""Seconds that the head of a cluster has to answer."""

LOOKED_EVERY = 5.0
"""Seconds from one look at the nodes of the cluster to the next."""

STORED_AT_MOST = 2**27
"""Bytes of memory for what tasks give back, which are records of runs. Ray would take a third of the machine's."""


class OnRay:
    """address: None to start Ray on this machine; else that of a cluster (host:port, ray://host:port, or "auto" for the one that this
    machine is part of). A job takes a GPU for each of its processes, where there are any and it is not to run on CPUs, and so many CPUs.
    """

    def __init__(self, address: str | None, n_processes: int, n_slots: int, *, cpus_per_process: int = 1) -> None:
        self.n_processes, self.n_slots, self.cpus_per_process = n_processes, n_slots, cpus_per_process
        self.ray = imported()
        self.is_ours = not self.ray.is_initialized()
        self.under_way: list[Task] = []
        self.nodes_seen: set[tuple[float, float]] = set()
        self.nodes_lost: set[str] = set()
        self.looked_at = 0.0
        connect(self.ray, address)

    def start(self, job: Job) -> Pending:
        """Raises TrainingError for a job that is too large for each of the nodes, which would wait forever."""
        n_cpus, n_gpus = self.cpus_per_process * job.n_processes, job.n_processes if self.wants_gpus(job) else 0
        self.refuse_too_large(n_cpus, n_gpus)
        place = Path(job.folder) / "node"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        task = self.ray.remote(carried_out).options(
            num_cpus=n_cpus, num_gpus=n_gpus, max_retries=0, name=f"prunescale {Path(job.folder).name}"
        )
        self.under_way = [other for other in self.under_way if other.ended is None]
        self.under_way.append(Task(self, job, task.remote(job, os.getcwd(), self.cpus_per_process), place))
        return self.under_way[-1]

    def wants_gpus(self, job: Job) -> bool:
        self.look_around()
        return job.device.startswith("cuda") or (job.device == "auto" and any(n_gpus for _, n_gpus in self.nodes_seen))

    def look_around(self) -> None:
        """Note the nodes that are there. Those that have gone stay noted: one of their kind may come back, and is waited for."""
        nodes = self.ray.nodes()
        resources = [node["Resources"] for node in nodes if node["Alive"]]
        self.nodes_seen |= {(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in resources}
        self.nodes_lost = {node["NodeID"] for node in nodes if not node["Alive"]}
        self.looked_at = time.monotonic()

    def has_lost(self, node: str) -> bool:
        """Whether Ray has given a node up. Of a machine that is silent, tasks would hang for long after that."""
        if time.monotonic() - self.looked_at > LOOKED_EVERY:
            self.look_around()
        return node in self.nodes_lost

    def refuse_too_large(self, n_cpus: int, n_gpus: int) -> None:
        if any(n_cpus <= cpus and n_gpus <= gpus for cpus, gpus in self.nodes_seen):
            return
        have = " or ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in sorted(self.nodes_seen)) or "none"
        raise TrainingError(
            f"A job takes {n_cpus} CPUs and {n_gpus} GPUs of one node of the Ray cluster, whose nodes have {have}: "
            "give a job fewer processes, or add a larger node."
        )

    def close(self) -> None:
        for task in self.under_way:
            if task.outcome() is None:
                task.kill()
        self.under_way = []
        if self.is_ours:
            self.ray.shutdown()


class Task:
    """A job that Ray was given. place: a file that says which node is at it."""

    def __init__(self, engine: OnRay, job: Job, reference: Any, place: Path) -> None:
        self.engine, self.ray, self.job, self.reference, self.place = engine, engine.ray, job, reference, place
        self.ended: Outcome | None = None

    def outcome(self) -> Outcome | None:
        if self.ended is None:
            try:
                self.ended = self.found()
            except Exception as error:  # a RayError where the worker or the node is gone, a ConnectionError where the cluster is
                self.ended = Outcome("failed", reason=reason_of(error))
        return self.ended

    def found(self) -> Outcome | None:
        ready, _ = self.ray.wait([self.reference], timeout=0)
        if ready:
            return self.ray.get(self.reference)
        node = self.place.read_text(encoding="utf-8") if self.place.exists() else ""
        if not node and self.job.should_stop:
            self.kill()
            return NOT_BEGUN
        if not self.engine.has_lost(node):
            return None
        self.ray.cancel(self.reference, force=True)
        return Outcome("failed", reason=f"Ray has lost the node that was at it ({node}).")

    def kill(self) -> None:
        self.ray.cancel(self.reference, force=True)
        self.ray.wait([self.reference], timeout=ENDED_WITHIN)


def imported() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray starts: it would tell its makers
    try:
        import ray
    except ImportError as error:
        raise TrainingError("A sweep on Ray needs the package ray: pip install 'prunescale[ray]'.") from error
    return ray


def connect(ray: Any, address: str | None) -> None:
    """Start Ray here, or join a cluster. Raises TrainingError where there is none."""
    refuse_silent(address)
    quiet = {"ignore_reinit_error": True, "log_to_driver": False, "logging_level": logging.ERROR}
    here = {"include_dashboard": False, "object_store_memory": STORED_AT_MOST}
    try:
        # "local", as no address at all is that of the environment or of whatever Ray runs on this machine
        ray.init(**quiet, **({"address": "local", **here} if address is None else {"address": address}))
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = "can be started on this machine" if address is None else f"answers at {address}"
        raise TrainingError(f"No Ray {where} ({one_line(error)}).") from error


def refuse_silent(address: str | None) -> None:
    """Raises TrainingError where nothing listens at an address: Ray itself tries for minutes, and then ends the process."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise TrainingError(
            f"No Ray answers at {address} ({error}): give the address that `ray start --head` has told."
        ) from error


def reason_of(error: Exception) -> str:
    """In one line; of what a task raised, without the stack of the other machine."""
    cause = getattr(error, "cause", None) or error
    return one_line(f"{type(cause).__name__}: {cause}")


def carried_out(job: Job, place: str, n_threads: int) -> Outcome:
    """Do a job in a worker of Ray, which has set CUDA_VISIBLE_DEVICES. place: the driver's working directory, from which paths of a recipe
    may go out."""
    if lacking := not_shared(place, job.folder):
        return lacking
    import ray

    (Path(job.folder) / "node").write_text(ray.get_runtime_context().get_node_id(), encoding="utf-8")
    torch.set_num_threads(n_threads)  # a worker that has done another job does not read the environment again
    # Ray's own process on this node has started this one, which would go on without it
    of_ray = replace(job, driver=os.getppid())
    with chdir(place):
        outcome = carry_out(of_ray) if job.n_processes == 1 else by_torchrun(of_ray, n_threads)
    if outcome.state == "stopped" and not job.should_stop:
        return Outcome("failed", reason=f"Ray is not running any more on {socket.gethostname()}, where it was done.")
    return outcome
