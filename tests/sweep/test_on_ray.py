"""Jobs on a Ray cluster of two nodes of this machine: nothing is mocked, and what is lost is lost."""

import os
import signal
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from prunescale.errors import TrainingError
from prunescale.recipe import Recipe
from prunescale.sweep.on_ray import OnRay
from tests.sweep.under_way import N_STEPS, curve_of, in_mid_training, until_true

pytestmark = pytest.mark.slow

NODE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 2**27}


@pytest.fixture(scope="module")
def cluster():
    nodes = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    nodes.add_node(**NODE)
    yield nodes
    nodes.shutdown()


@pytest.fixture(scope="module")
def engine(cluster):
    found = OnRay(cluster.address, n_processes=1, n_slots=2)
    cluster.wait_for_nodes()
    yield found
    found.close()
    assert not ray.is_initialized()


def ended(pending, seconds=60):
    return until_true(pending.outcome, seconds)


def steps_kept(job):
    return sorted(int(folder.name.removeprefix("step-")) for folder in Path(job.folder).glob("training/step-*"))


def test_a_ray_of_its_own_and_a_job_of_two_processes(recipe, job, uninterrupted):
    engine = OnRay(None, n_processes=2, n_slots=1)
    try:
        wanted = recipe(12)
        outcome = ended(engine.start(job(wanted, "shared", n_processes=2, device="cpu")), seconds=120)
    finally:
        engine.close()
    assert not ray.is_initialized()
    for (n_tokens, loss, *_), (n_alone, loss_alone, *_) in zip(curve_of(outcome), uninterrupted(wanted), strict=True):
        assert n_tokens == n_alone
        assert loss == pytest.approx(loss_alone, abs=1e-4)  # sums in another order


def test_it_comes_out_as_in_this_process(engine, recipe, job, uninterrupted):
    wanted = [recipe(20, seed) for seed in range(3)]
    pending = [engine.start(job(each, f"run-{index}")) for index, each in enumerate(wanted)]
    outcomes = [ended(each) for each in pending]
    for each, outcome in zip(wanted, outcomes, strict=True):
        assert outcome.run.recipe_hash == each.hash
    assert curve_of(outcomes[1]) == uninterrupted(wanted[1])


def test_what_is_wrong_with_a_recipe_is_refused_and_not_failed(engine, recipe, job):
    broken = recipe(20).to_dict()
    broken["train"]["data"] = "/nowhere.txt"
    outcome = ended(engine.start(job(Recipe.from_dict(broken), "broken")))
    assert outcome.state == "refused"
    assert "/nowhere.txt" in outcome.reason


def test_what_no_node_can_hold_is_refused_at_once(engine, recipe, job):
    with pytest.raises(
        TrainingError, match="A job takes 2 CPUs and 0 GPUs of one node of the Ray cluster, whose nodes have 1 CPUs"
    ):
        engine.start(job(recipe(20), "large", n_processes=2))
    with pytest.raises(TrainingError, match="A job takes 1 CPUs and 1 GPUs"):
        engine.start(job(recipe(20), "large", device="cuda"))


def test_a_worker_that_is_killed(engine, recipe, job, uninterrupted):
    wanted = recipe(N_STEPS)
    it = job(wanted, "killed")
    pending = engine.start(it)
    os.kill(in_mid_training(it), signal.SIGKILL)
    outcome = ended(pending, seconds=20)
    assert outcome.state == "failed"
    assert outcome.reason.startswith("WorkerCrashedError: ")
    assert "\n" not in outcome.reason
    assert 0 < steps_kept(it)[-1] < N_STEPS
    assert curve_of(ended(engine.start(it))) == uninterrupted(wanted)


def test_a_job_that_is_ended_goes_on_later(engine, recipe, job, uninterrupted):
    wanted = recipe(N_STEPS)
    it = job(wanted, "ended")
    pending = engine.start(it)
    in_mid_training(it)
    pending.kill()
    assert ended(pending).state == "failed"
    assert steps_kept(it)[-1] < N_STEPS
    assert curve_of(ended(engine.start(it))) == uninterrupted(wanted)


def test_all_are_asked_to_stop_and_what_still_waits_for_room_is_taken_back(engine, recipe, job, tmp_path):
    jobs = [job(recipe(20_000), f"stop-{index}") for index in range(3)]  # for two CPUs
    pending = [engine.start(each) for each in jobs]
    until_true(lambda: sum(bool(list(Path(each.folder).glob("training/step-*"))) for each in jobs) == 2)
    (tmp_path / "stop").touch()
    outcomes = [ended(each) for each in pending]
    assert [outcome.state for outcome in outcomes] == ["stopped"] * 3
    assert sorted(outcome.reason == "Stopped before it began." for outcome in outcomes) == [False, False, True]


def test_a_folder_that_is_not_shared(engine, recipe, job):
    it = job(recipe(20), "apart")
    pending = engine.start(it)
    Path(it.folder).rmdir()  # before a worker looks, as though it were on another machine
    outcome = ended(pending)
    assert outcome.state == "failed"
    assert "is not to be seen on" in outcome.reason


def test_a_node_that_is_lost(cluster, engine, recipe, job, uninterrupted, tmp_path):
    wanted = recipe(N_STEPS)
    it = job(wanted, "node")
    on_head = NodeAffinitySchedulingStrategy(cluster.head_node.node_id, soft=False)
    begun = tmp_path / "begun"
    head_is_taken = ray.remote(lambda: (begun.touch(), time.sleep(600))).options(scheduling_strategy=on_head).remote()
    until_true(begun.exists)
    pending = engine.start(it)
    process = in_mid_training(it)
    (node,) = cluster.worker_nodes
    assert parent_of(process) == node.all_processes["raylet"][0].process.pid
    os.kill(process, signal.SIGSTOP)  # all of a machine is gone at once
    cluster.remove_node(node, allow_graceful=False)
    os.kill(process, signal.SIGKILL)
    outcome = ended(pending)
    assert outcome.state == "failed"
    assert outcome.reason.startswith(("NodeDiedError: ", "WorkerCrashedError: "))
    assert 0 < steps_kept(it)[-1] < N_STEPS
    again = engine.start(it)  # what fitted before is waited for
    assert again.outcome() is None
    ray.cancel(head_is_taken, force=True)
    assert curve_of(ended(again)) == uninterrupted(wanted)


def test_a_worker_that_was_left_alone_stops_and_a_silent_node_is_given_up(cluster, engine, recipe, job, monkeypatch):
    """Where Ray's own process of a node is killed, workers go on; where it only says nothing more, the cluster counts it as lost."""
    cluster.add_node(**NODE)
    pending = [engine.start(job(recipe(20_000), f"left-{index}")) for index in range(2)]
    processes = [in_mid_training(job(recipe(20_000), f"left-{index}")) for index in range(2)]
    (node,) = cluster.worker_nodes
    raylet = node.all_processes["raylet"][0].process
    (left,) = [index for index, process in enumerate(processes) if parent_of(process) == raylet.pid]
    monkeypatch.setattr(engine, "has_lost", lambda node: node == (pending[1 - left].place).read_text())
    assert "Ray has lost the node" in ended(pending[1 - left]).reason
    until_true(lambda: not Path(f"/proc/{processes[1 - left]}").exists())
    raylet.kill()
    raylet.wait()  # or it would count as alive, as a zombie of this process
    outcome = ended(pending[left])
    assert outcome.state == "failed"
    assert outcome.reason.startswith(("Ray is not running any more on", "NodeDiedError: "))  # whichever is told first
    until_true(lambda: not Path(f"/proc/{processes[left]}").exists())


def parent_of(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_where_no_cluster_answers():
    with pytest.raises(TrainingError, match=r"No Ray answers at 127.0.0.1:1 \(.*refused\): give the address"):
        OnRay("127.0.0.1:1", 1, 1)
