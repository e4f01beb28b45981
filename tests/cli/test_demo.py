"""The demo as a whole, on the embedded models, with far fewer tokens than a person gets."""

import json
import shutil
from pathlib import Path

import pytest

from prunescale import embedded
from prunescale.cli import demo
from prunescale.cli.main import main
from prunescale.runs import Store

pytestmark = pytest.mark.slow
ALL_RUNS = 6  # two rates of each of three models


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch):
    """Eight steps a run: the constants it fits mean nothing, the way there is the same."""
    small = {"TOKENS": 4096, "MIN_TOKENS": 1024, "BATCH_TOKENS": 512, "WARMUP_TOKENS": 512, "HELD_OUT_TOKENS": 1024}
    for name, value in small.items():
        monkeypatch.setattr(demo, name, value)


def run_demo(folder: Path, *flags: str) -> int:
    with pytest.raises(SystemExit) as exit:
        main(["demo", "--dir", str(folder), *flags])
    return exit.value.code


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder for a demo that is carried out once and then looked at by several tests."""
    return tmp_path_factory.mktemp("demo")


def test_the_whole_line_and_the_json_it_prints(finished, capsys):
    assert run_demo(finished, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    with Store.open(answer["store"]) as store:
        runs = {run.id: run for run in store.list()}
    assert len(runs) == ALL_RUNS
    assert set(answer["fit"]["constants"]) == {"gamma", "delta", "N_C", "alpha", "D_C", "beta", "E"}
    assert answer["fit"]["n_runs"] == 4  # of the two smaller models only
    assert answer["fit"]["ranges"]["n_params_before"][1] < 1e6
    for each in answer["predictions"]:
        run = runs[each["run"]]
        assert run.base == "embedded:2.7m"
        assert (each["loss"], each["loss_before"]) == (run.loss, run.loss_before)
        assert each["predicted"] == pytest.approx(run.loss * (1 + each["error"]))
    assert len(answer["predictions"]) == 2
    assert answer["plan"]["fit"] == "embedded:width-floor"  # from GPU runs, not from a few steps on a CPU
    low, high = answer["plan"]["tokens_interval"]
    assert 1e6 < low < answer["plan"]["tokens"] < high < 1e8
    assert Path(answer["figure"]).read_bytes().startswith(b"\x89PNG")


def test_what_is_there_is_not_run_again(finished, capsys):
    with Store.open(finished / "runs.db") as store:
        before = store.list()
        store.remove(before[3].id)
    assert run_demo(finished) == 0
    with Store.open(finished / "runs.db") as store:
        after = store.list()
    kept = [run.id for run in before if run.id != before[3].id]
    assert [run.id for run in after][:-1] == kept
    assert after[-1].recipe_hash == before[3].recipe_hash
    assert after[-1].points[-1].loss == before[3].points[-1].loss  # the same recipe gives the same loss on the same machine
    shown = capsys.readouterr().out
    for wanted in ("P2 law", "measured", "predicted", "tokens", "recovery.png", "runs.db"):
        assert wanted in shown


def test_interrupted_it_keeps_the_finished_runs_and_goes_on(tmp_path, monkeypatch, capsys):
    from prunescale import sweep

    run_recipe, wanted = sweep.run_recipe, []

    def interrupted_at_the_second_recipe(recipe, **options):
        wanted.append((recipe.base, recipe.prune.rate))
        if len(wanted) > 1:
            raise KeyboardInterrupt
        return run_recipe(recipe, **options)

    monkeypatch.setattr(sweep, "run_recipe", interrupted_at_the_second_recipe)
    for _ in range(2):
        assert run_demo(tmp_path) == 130
        assert "Traceback" not in capsys.readouterr().err
        with Store.open(tmp_path / "runs.db") as store:
            (first,) = store.list()
        assert (first.base, first.pruning_rate) == (
            "embedded:0.4m",
            pytest.approx(0.25, abs=1e-3),
        )  # whole blocks of a whole model
    # The second time it begins where it was interrupted, at the second recipe.
    assert wanted == [("embedded:0.4m", 0.25), ("embedded:0.4m", 0.5), ("embedded:0.4m", 0.5)]


@pytest.mark.parametrize(
    "lost", ["models/2.7m/model.safetensors", "models/0.4m/config.json", "text/held-out.txt", "text/post-training.txt"]
)
def test_an_asset_that_is_not_there_is_one_line(lost, tmp_path, monkeypatch, capsys):
    shutil.copytree(embedded.ROOT, tmp_path / "assets")
    (tmp_path / "assets" / lost).unlink()
    monkeypatch.setattr(embedded, "ROOT", tmp_path / "assets")
    assert run_demo(tmp_path / "demo") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    assert Path(lost).parent.name in lines[-1] or Path(lost).stem in lines[-1]
    assert not any("Traceback" in line for line in lines)
