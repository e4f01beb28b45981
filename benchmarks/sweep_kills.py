"""kill -9 at random moments of a sweep of tiny runs on the CPU, until there were so many kills:

    python benchmarks/sweep_kills.py [--kills 200] [--processes 20] [--folder DIRECTORY] [--seed 0]

A life is a driver of a sweep, killed after a moment drawn at random; the next life goes on. When a sweep has come to its end, a new one
begins. After each kill: has any measurement gone that was on the disk before, and is any run in the store twice? At the end of each
sweep: is each curve that of a training that nobody disturbed, to the last bit? The last so many kills are those of `prunescale sweep
--engine processes`, of its driver or of one of its workers. Prints a JSON object for each kind; the exit code is 1 where anything was lost.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from prunescale.runs import Store
from prunescale.sweep import InProcess, Settings, Study, run_recipe, sweep
from prunescale.training import Machine

STUDY = """
[recipe.train]
data = "{folder}/train.txt"
held_out = "{folder}/held-out.txt"
tokens = 4096
learning_rate = 1e-2
sequence_length = 16
batch_tokens = 64
cooldowns = [1024, 3072]
n_measurements = 24

[recipe.model]
tokenizer = "{folder}/tokenizer.json"
layers = 2
hidden_size = 16
ffn_size = 40
heads = 4
context = 64

[axes]
what = [{{}}, {{ "sparse.sparsity" = 0.5, "sparse.every" = 4 }}]
"train.seed" = [{first}, {second}]
"""
LONGEST_LIFE = {"in-process": 1.2, "processes": 14.0}
"""Seconds: about those that a life needs for a run or two, its start included."""


@dataclass
class Seen:
    """What was on the disk at some moment, by recipe: measurements, each (tokens, phase) with its loss."""

    points: dict[str, dict[Any, float]] = field(default_factory=dict)
    n_lost: int = 0
    n_twice: int = 0

    def look(self, study: Study, folder: Path, store: Path) -> None:
        now = {
            run.recipe.hash: on_the_disk(folder / "sweep" / run.recipe.hash / "training" / "points.jsonl") for run in study.runs
        }
        if store.exists():
            with Store.open(store) as runs:
                for run in runs.list():
                    assert run.recipe_hash
                    now[run.recipe_hash] |= {(point.n_tokens, point.phase): point.loss for point in run.points}
                    self.n_twice += len(runs.list(recipe_hash=run.recipe_hash)) - 1
        for recipe, points in self.points.items():
            self.n_lost += sum(now[recipe].get(place) != loss for place, loss in points.items())
        self.points = now


def on_the_disk(file: Path) -> dict[Any, float]:
    """The measurements that were written to the end of their line."""
    if not file.exists():
        return {}
    lines = file.read_bytes().split(b"\n")[:-1]
    return {(point["n_tokens"], point["phase"]): point["loss"] for point in map(json.loads, lines)}


def killed(n_kills: int, folder: Path, seed: int, live: Callable[[Path, Path, random.Random], int | None]) -> dict[str, Any]:
    """Kill sweeps until there were so many kills. live: a life in a folder of the study in a file; its exit code, None if it was killed."""
    draw = random.Random(seed)
    n_done = n_sweeps = n_runs = n_wrong = n_lost = n_twice = n_points = 0
    began = time.monotonic()
    while n_done < n_kills:
        place = folder / f"{seed}-{n_sweeps}"
        file = written(place, first=2 * n_sweeps)
        study, seen = Study.from_toml(file), Seen()
        while True:
            code = live(place, file, draw) if n_done < n_kills else undisturbed(place, file)
            seen.look(study, place, place / "runs.db")
            if code == 0:
                break
            assert code is None, f"the sweep in {place} ended with exit code {code}"
            n_done += 1
        n_sweeps += 1
        n_runs += len(study.runs)
        n_lost, n_twice = n_lost + seen.n_lost, n_twice + seen.n_twice
        for run in study.runs:
            done = run_recipe(run.recipe, machine=Machine(torch.device("cpu")))
            assert done
            expected = {(point.n_tokens, point.phase): point.loss for point in done[0].points}
            n_wrong += seen.points[run.recipe.hash] != expected
            n_points += len(expected)
    return {
        "kills": n_done,
        "sweeps": n_sweeps,
        "runs": n_runs,
        "measurements": n_points,
        "measurements_lost": n_lost,
        "runs_twice": n_twice,
        "curves_that_differ": n_wrong,
        "seconds": round(time.monotonic() - began),
    }


def written(place: Path, first: int) -> Path:
    """A study in a folder of its own, with the text and the tokenizer that it needs."""
    from tests.conftest import tiny_tokenizer

    place.mkdir(parents=True)
    (place / "train.txt").write_text("never odd or even; " * 400)
    (place / "held-out.txt").write_text("never odd or even; " * 20)
    tiny_tokenizer().save_pretrained(place)
    file = place / "study.toml"
    file.write_text(STUDY.format(folder=place, first=first, second=first + 1))
    return file


def settings() -> Settings:
    return Settings({"device": "cpu", "checkpoint_minutes": 0.0})


def undisturbed(place: Path, file: Path) -> int:
    sweep(Study.from_toml(file), place / "runs.db", place / "sweep", InProcess(), settings())
    return 0


def forked(place: Path, file: Path, draw: random.Random) -> int | None:
    """A life in a fork of this process, in which everything is imported already."""
    moment = draw.uniform(0, LONGEST_LIFE["in-process"])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = undisturbed(place, file)
        finally:
            os._exit(code)
    until = time.monotonic() + moment
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            assert code >= 0, f"ended by signal {-code}, which is not ours"
            return code
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def with_workers(place: Path, file: Path, draw: random.Random) -> int | None:
    """A life as a command with worker processes: its driver or one of its workers is killed. Killed workers are tried again by it."""
    engine = ["--engine", "processes", "--workers", "2", "--retries", "100", "--checkpoint-minutes", "0", "--device", "cpu"]
    places = [str(file), "--store", str(place / "runs.db"), "--folder", str(place / "sweep")]
    driver = subprocess.Popen(
        [sys.executable, "-m", "prunescale.cli.main", "sweep", *engine, *places],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(draw.uniform(0, LONGEST_LIFE["processes"]))
    workers = workers_in(place / "sweep")
    if workers and draw.random() < 0.5:
        os.kill(draw.choice(workers), signal.SIGKILL)
        time.sleep(draw.uniform(0, LONGEST_LIFE["processes"]))
    if driver.poll() is not None:
        return driver.returncode
    driver.kill()
    driver.wait()
    return None


def workers_in(folder: Path) -> list[int]:
    """Processes that are at a job in a folder."""
    found = subprocess.run(["pgrep", "-f", f"prunescale.sweep.worker {folder}"], capture_output=True, text=True).stdout
    return [int(line) for line in found.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description="kill -9 of sweeps.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", type=int, default=20, help="how many of them with worker processes")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (wanted.folder or Path(temporary)).resolve()
        found = {}
        for engine, n_kills, live in (
            ("in-process", wanted.kills - wanted.processes, forked),
            ("processes", wanted.processes, with_workers),
        ):
            found[engine] = killed(n_kills, folder / engine, wanted.seed, live)
            print(json.dumps({engine: found[engine]}), flush=True)
    if any(kind[what] for kind in found.values() for what in ("measurements_lost", "runs_twice", "curves_that_differ")):
        sys.exit(1)


if __name__ == "__main__":
    main()
