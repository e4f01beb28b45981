"""`prunescale sweep` and its parts, as typed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from prunescale.cli.sweep_table import cells, live_table
from prunescale.models import load
from prunescale.recipe import Recipe
from prunescale.runs import Store
from prunescale.shape import ModelShape
from prunescale.sweep import Study, entries_of
from prunescale.sweep.cost import Cost, Speed, cost_of, n_tokens_of, speed_of
from tests.conftest import RUN

STUDY = """
[recipe]
base = "base"
train = { data = "train.txt", held_out = "held-out.txt", tokens = 512, learning_rate = 1e-2, sequence_length = 16, batch_tokens = 64 }

[axes]
how = [{}, { "prune.method" = "block-influence", "prune.rate" = 0.3, "prune.calibration_tokens" = 64 }]
"train.seed" = [0, 1]
"""


@pytest.fixture
def study(work):
    Path("two.toml").write_text(STUDY)
    return Study.from_toml("two.toml")


def test_it_does_what_is_asked_for_and_says_where_all_stands(study, command):
    ended = command("sweep", "two.toml", "--save-models")
    assert ended.code == 0, ended
    assert "4 done. Runs are kept in runs.db." in ended.out
    assert ended.err.splitlines()[:2] == ["running: seed 0 (0 of 4 done)", ended.err.splitlines()[1]]
    assert ended.err.splitlines()[1].startswith("done: seed 0, loss ")
    models = Path("two.sweep/models")
    pruned = "method-block-influence-rate-0.3-calibration_tokens-64-seed-0"
    assert {path.name for path in models.iterdir()} == {"seed-0", "seed-1", pruned, pruned[:-1] + "1"}
    assert load(models / pruned).shape.n_layers == 3

    again = command("sweep", "two.toml", "--json")
    assert (again.code, again.err) == (0, "")
    told = json.loads(again.out)
    assert told["counts"] == {"done": 4, "running": 0, "waiting": 0, "stopped": 0, "failed": 0}
    assert [run["recipe_hash"] for run in told["runs"]] == [run.recipe.hash for run in study.runs]
    assert all(run["was_known"] and run["model"] for run in told["runs"])

    warned = command("sweep", "two.toml", "--save-models", "--folder", "elsewhere")
    assert warned.err == (
        "Warning: 4 runs were in runs.db already and have no model in elsewhere/models: another --store trains them again.\n"
    )

    status = json.loads(command("sweep", "status", "two.toml", "--json").out)
    assert status["counts"] == told["counts"]
    with Store.open("runs.db") as store:
        losses = [store.find(run.recipe.hash).loss for run in study.runs]
    assert [run["loss"] for run in status["runs"]] == losses

    exported = json.loads(command("sweep", "export", "two.toml").out)
    assert [run["recipe_hash"] for run in exported["runs"]] == [
        run.recipe.hash for run in study.runs
    ]  # and not the one that was there
    assert command("sweep", "export", "two.toml", "--format", "csv").out.count("\n") > 4


def test_before_anything_is_done(study, command):
    """A dry run leaves all as it was; status tells what waits; export says what is missing."""
    before = sorted(Path().rglob("*"))
    answer = command("sweep", "--dry-run", "two.toml", "--json", "--store", "new.db")
    told = json.loads(answer.out)
    assert (told["n_runs"], told["n_left"], told["n_at_once"]) == (4, 4, 1)
    assert [run["n_tokens"] for run in told["runs"]] == [512] * 4
    assert told["speed"].startswith("a guess, 35% of the rate of matrix products on CPU")
    assert told["hours"] == pytest.approx(sum(run["hours"] for run in told["runs"]))
    told = json.loads(command("sweep", "two.toml", "--dry-run", "--only", "method", "--json").out)
    assert [run["label"] for run in told["runs"]] == [run.label for run in study.runs[2:]]
    table = command("sweep", "two.toml", "--dry-run").out
    assert "4 of 4 runs are left to do: 2.05k tokens" in table
    assert json.loads(command("sweep", "status", "two.toml", "--json").out)["counts"]["waiting"] == 4
    ended = command("sweep", "export", "two.toml")
    assert json.loads(ended.out)["runs"] == []
    assert ended.err == "Warning: 4 of 4 runs of two are not in runs.db.\n"
    assert sorted(Path().rglob("*")) == before


def test_runs_that_share_gpus_are_not_told_to_be_done_sooner(study, command, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    told = json.loads(command("sweep", "two.toml", "--dry-run", "--engine", "processes", "--workers", "6", "--json").out)
    assert told["n_at_once"] == 2


def test_a_dry_run_of_a_model_that_is_not_there_yet(study, command):
    Path("later.toml").write_text(STUDY.replace('"base"', '"later"'))
    told = json.loads(command("sweep", "later.toml", "--dry-run", "--json").out)
    assert told["hours"] is None
    assert told["runs"][0]["flops"] is None
    assert told["runs"][0]["reason"].startswith("There is no model at later")
    table = " ".join(command("sweep", "later.toml", "--dry-run").out.split())
    assert "2.05k tokens. What they cost is not known yet: There is no model at later" in table
    assert "FLOPs, 0:00:00 h" not in table


def test_what_failed_is_told_once_for_all(study, command):
    Path("no.toml").write_text(STUDY.replace("train.txt", "none.txt"))
    ended = command("sweep", "no.toml")
    assert ended.code == 1
    assert ended.out.count("none.txt") == 1
    assert "- 4 runs: " in ended.out
    assert "4 failed. Runs are kept in runs.db. What is left goes on with the same command, from no.sweep." in " ".join(
        ended.out.split()
    )
    assert json.loads(command("sweep", "status", "no.toml", "--json").out)["counts"]["failed"] == 4


@pytest.mark.slow
def test_stopped_by_the_clock_and_by_a_person_it_goes_on(study, command):
    long = STUDY.replace("tokens = 512", "tokens = 1_000_000").replace('seed" = [0, 1]', 'seed" = [0]')
    Path("long.toml").write_text(long)
    ended = command("sweep", "long.toml", "--minutes", "0.02", "--json")
    assert ended.code == 3
    assert json.loads(ended.out)["counts"]["stopped"] == 1

    process = subprocess.Popen(
        [sys.executable, "-m", "prunescale.cli.main", "sweep", "long.toml"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not json.loads(command("sweep", "status", "long.toml", "--json").out)["counts"]["running"]:
        time.sleep(0.2)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "1 waiting, 1 stopped." in out
    status = json.loads((Path("long.sweep") / Study.from_toml("long.toml").runs[0].recipe.hash / "status.json").read_text())
    assert 0 < status["n_tokens"] < 1_000_000


def test_refusals(study, refused):
    assert "No study can be read at none.toml" in refused("sweep", "none.toml")
    assert "Missing argument 'STUDY.toml'" in refused("sweep", "--dry-run")
    assert "--address is that of a Ray cluster, and the engine is in-process: add --engine ray" in refused(
        "sweep", "two.toml", "--address", "auto"
    )
    assert "--slurm is for Slurm jobs, and the engine is processes" in refused(
        "sweep", "two.toml", "--engine", "processes", "--slurm", "partition=gpu"
    )
    assert "--slurm partition: write KEY=VALUE" in refused("sweep", "two.toml", "--engine", "slurm", "--slurm", "partition")
    assert "--workers needs processes, and the engine is in-process" in refused("sweep", "two.toml", "--workers", "2")
    assert "--gpus-per-run needs processes" in refused("sweep", "two.toml", "--gpus-per-run", "2")
    assert "is not to be had on this machine" in refused("sweep", "two.toml", "--device", "cuda")
    Path("text.db").write_text("this is no database, and not a small one either: " * 20)
    assert "text.db" in refused("sweep", "two.toml", "--store", "text.db")
    assert "Parquet is no text" in refused("sweep", "export", "two.toml", "--format", "parquet")


def test_the_live_table_fits_a_terminal_and_shows_what_is_under_way(study):
    console = Console(width=90, height=12, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    seeds = ", ".join(map(str, range(30)))
    Path("many.toml").write_text(STUDY.replace("[0, 1]", f"[{seeds}]"))
    entries = entries_of(Study.from_toml("many.toml"), None, "many.sweep")
    running = entries[40]
    running.stage, running.failures = "running", 1
    running.folder.mkdir(parents=True)
    told = {"stage": "training", "of_tokens": 512, "n_tokens": 128, "tokens_per_second": 64.0, "loss": 3.25}
    (running.folder / "status.json").write_text(json.dumps(told))
    entries[3].stage, entries[3].loss = "done", 2.5
    assert cells(running)[1:] == ["training (failed 1x)", "3.2500", "512", "25%", "64", "0:06"]
    console.print(live_table(Study.from_toml("many.toml"), Path("many.sweep"), entries, console, 65.0))
    lines = console.export_text().splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 90
    assert lines[0].strip() == "many: 1 done, 1 running, 58 waiting, 1:05"
    assert any("training (failed 1x)" in line and "3.2500" in line for line in lines)
    assert lines[-1].startswith("and 53 more")


def test_what_a_run_costs(study):
    """The base has four blocks of width 32, four heads of 8 with two for keys and values, 40 channels, 257 entries."""
    whole, _, pruned, _ = (cost_of(run.recipe) for run in study.runs)
    shape = ModelShape(4, 32, 40, 4, 2, 8, 257, True)
    assert whole == Cost(512, 512 * shape.flops_per_token(16))
    head = 6 * 257 * 32
    assert pruned.flops == pytest.approx(512 * (head + 0.7 * (shape.flops_per_token(16) - head)))


def with_entries(recipe: Recipe, **sections: dict) -> Recipe:
    content = recipe.to_dict()
    return Recipe.from_dict(content | {name: content.get(name, {}) | entries for name, entries in sections.items()})


def test_branches_trainings_between_prunings_and_teachers_cost_too(study):
    recipe = study.runs[2].recipe
    plain = cost_of(recipe)
    assert n_tokens_of(with_entries(recipe, train={"cooldowns": [320]})) == 512 + 64  # a fifth of five steps
    stepwise = cost_of(with_entries(recipe, prune={"steps": 3, "step_tokens": 128}))
    assert stepwise.n_tokens == 512 + 2 * 128
    assert plain.flops < stepwise.flops - 256 * plain.flops_per_token  # between the steps the model is larger than in the end
    taught = cost_of(with_entries(recipe, distill={"teacher": "parent"}))
    assert taught.flops - plain.flops == pytest.approx(512 * cost_of(study.runs[0].recipe).flops_per_token / 3)


def test_a_model_from_nothing_costs_what_it_has():
    content = {
        "model": {"tokenizer": "embedded:0.4m", "layers": 2, "hidden_size": 64, "ffn_size": 128, "heads": 4},
        "train": {"data": "a", "held_out": "b", "tokens": 16384, "learning_rate": 1e-3},
    }
    cost = cost_of(Recipe.from_dict(content))
    vocabulary = len(load("embedded:0.4m").tokenizer)
    assert cost.flops == 16384 * ModelShape(2, 64, 128, 4, 4, 16, vocabulary, False).flops_per_token(512)


def test_the_speed_is_that_of_measured_runs_of_the_nearest_size():
    sizes = [(1e6, 1e12), (2e6, 2e12), (4e6, 4e12), (1e9, 9e14), (1e9, 9e14), (1e9, 9e14)]
    speed = Speed(tuple(sizes), "six runs")
    assert speed.seconds(Cost(1000, 1e9)) == pytest.approx(
        1e9 / 4e12
    )  # a million a token: three small ones, and two of the large
    assert speed.seconds(Cost(1000, 1e12)) == pytest.approx(1e12 / 9e14)


def test_runs_that_shared_a_gpu_say_what_one_alone_would_reach(tmp_path):
    alone = replace(RUN, device="CPU, 2 threads", flops=6e9, seconds=2.0, tokens_per_second=500.0, inputs={})
    shared = replace(
        alone, id="shared", recipe_hash="b" * 12, seconds=6.0, tokens_per_second=500 / 3, inputs={"runs_per_gpu": 3.0}
    )
    with Store.create(tmp_path / "shared.db") as store:
        store.add(alone, shared)
        speed = speed_of(store, torch.device("cpu"))
    assert speed.measured == (pytest.approx((6e6, 3e9)), pytest.approx((6e6, 3e9)))


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            "how = [{ 'prune.method' = 'block-influences', 'prune.rate' = 0.25 }]\n",
            "There is no pruning method 'block-influences' (did you mean block-influence?): choose one of",
        ),
        ("base = ['embedded:0.5m']\n", "There is no embedded model '0.5m'"),
    ],
)
def test_what_no_run_could_do_is_refused_before_any(study, command, wrong, words, more):
    """A dry run ended in a traceback once, and a sweep told only when its turn had come."""
    before, _ = STUDY.split("[axes]")
    Path("odd.toml").write_text(f"{before}[axes]\n{wrong}")
    ended = command("sweep", "odd.toml", "--store", "new.db", *more)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert not Path("new.db").exists()


def test_a_model_of_another_recipe_is_not_replaced(study, command):
    """Edited, a study once put its model in the place of that of the recipe before."""
    assert command("sweep", "two.toml", "--save-models").code == 0
    Path("two.toml").write_text(STUDY.replace("learning_rate = ", "learning_rate = 1"))
    ended = command("sweep", "two.toml", "--save-models")
    assert ended.code == 1
    assert "is the model of another recipe: move it away, or give the sweep another --folder" in " ".join(ended.out.split())
