"""What a person does, command after command: prune, train, fit, plan, and runs from one store to another."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from prunescale.laws import P2Law
from prunescale.models import load
from prunescale.runs import Store, read_json

N_BEFORE = 4 * (32 * 32 * 3 + 3 * 32 * 40 + 2 * 32) + 32
"""Of the model in `base`: q and o whole, k and v half, three feed-forward matrices and two norms a block; the norm at the end."""

TRAINING = ("--data", "train.txt", "--held-out", "held-out.txt", "--tokens", "384", "--learning-rate", "0.01")
SMALL = ("--sequence-length", "16", "--batch-tokens", "64", "--measurements", "4")
CALIBRATION = ("--calibration", "train.txt", "--sequence-length", "16")


def test_prune_train_and_the_runs_of_a_store(work, command):
    pruned = command("prune", "base", "--rate", "0.25", "--out", "pruned", *CALIBRATION, "--held-out", "held-out.txt")
    assert (pruned.code, pruned.err) == (0, "")
    assert "1 of 4 blocks, by block-influence" in pruned.out
    assert "0.2497 (asked for: 0.25)" in pruned.out  # a quarter of all but the norm at the end
    assert "nats per token" in pruned.out
    assert load("pruned").shape.n_layers == 3

    trained = command("train", "pruned", *TRAINING, *SMALL, "--store", "new.db", "--save", "trained")
    assert trained.code == 0
    # Five measurements, a line each, since nobody watches a bar here.
    lines = trained.err.splitlines()
    assert [line.split(" of 384 tokens, loss ")[0] for line in lines] == [f"pruned: {n}" for n in (0, 64, 128, 192, 384)]
    assert "Saved in       trained" in trained.out
    with Store.open("new.db") as store:
        (run,) = store.list()
    assert run.id in trained.out
    assert run.base == str(work / "base")
    assert (run.n_params_before, run.n_tokens, run.pruning_method) == (N_BEFORE, 384, "block-influence")
    assert load("trained").lineage["training"][0]["run"] == run.id

    listed = command("runs", "list", "--store", "new.db")
    assert run.id in listed.out
    assert "base block-influence 0.250" in listed.out
    shown = command("runs", "show", run.id[:6], "--store", "new.db")
    assert "train.learning_rate" in shown.out
    assert f"{run.loss:.4f}" in shown.out

    assert command("runs", "export", "--store", "new.db", "--out", "runs.json").code == 0
    assert read_json("runs.json") == [run]
    assert command("runs", "import", "runs.json", "--store", "other.db").code == 0
    with Store.open("other.db") as other:
        assert other.list() == (run,)
    csv = command("runs", "export", "--store", "other.db", "--format", "csv")
    assert len(csv.out.splitlines()) == 1 + len(run.points)


def test_two_steps_give_what_one_gives(work, command):
    command("prune", "base", "--rate", "0.25", "--out", "pruned", *CALIBRATION)
    two = json.loads(command("train", "pruned", *TRAINING, *SMALL, "--json").out)
    one = json.loads(command("train", "base", *TRAINING, *SMALL, "--prune-rate", "0.25", "--json").out)
    for name in ("base", "name", "pruning_rate", "n_params_before", "n_params_total", "loss_before"):
        assert one[name] == two[name]
    assert [point["loss"] for point in one["points"]] == [point["loss"] for point in two["points"]]
    assert one["points"][-1]["loss"] < one["points"][0]["loss"]


def test_flags_override_the_lines_of_a_recipe(work, command):
    Path("recipe.toml").write_text("""\
base = "base"
[prune]
rate = 0.5
[train]
data = "train.txt"
held_out = "held-out.txt"
tokens = 1_000_000
learning_rate = 0.01
sequence_length = 16
batch_tokens = 64
""")
    ended = command("train", "--recipe", "recipe.toml", "--tokens", "0.128k", "--prune-rate", "0.25", "--seed", "3", "--json")
    assert (ended.code, ended.err) == (0, "")
    run = json.loads(ended.out)
    assert run["recipe"]["train"] | {"tokens": 128, "seed": 3, "learning_rate": 0.01} == run["recipe"]["train"]
    assert run["recipe"]["prune"]["rate"] == 0.25
    assert run["points"][-1]["n_tokens"] == 128
    with Store.open("runs.db") as store:
        assert store.get(run["id"]).recipe == run["recipe"]


def test_fit_finds_the_law_and_plan_reads_it(work, command, curves):
    # The losses are those of a law with E = 0.2 and no noise, so its constants come back.
    fitted = command("fit", curves(), "--out", "fit.json")
    assert (fitted.code, fitted.err) == (0, "")
    assert "24 points of 6 runs" in fitted.out
    assert "Written to fit.json" in fitted.out
    fit = json.loads(command("fit", curves(), "--json").out)
    assert fit["status"] == "CONVERGED"
    assert fit["intervals"]["gamma"] == pytest.approx([-1.2, -1.2], abs=1e-6)
    law = P2Law(**fit["constants"])
    assert (law.gamma, law.beta, law.D_C) == pytest.approx((-1.2, 0.5, 1.1), rel=1e-3)

    asked = ("--n-params-before", "4M", "--rate", "0.5", "--loss-before", "3", "--min-gain", "0.005")
    plan = json.loads(command("plan", "fit.json", *asked, "--tokens", "100k", "--json").out)
    # With scale = rho^-gamma N0^-delta, doubling D gains scale D_C D^-beta (1 - 2^-beta); D in millions.
    scale = 0.5**1.2 * 4**-0.3
    tokens = 1e6 * (scale * 1.1 * (1 - 2**-0.5) / 0.005) ** 2
    assert plan["tokens"] == pytest.approx(tokens, rel=1e-2)
    assert plan["forecast"]["loss"] == pytest.approx(3 + scale * (0.4 * 4**-0.8 + 1.1 * 0.1**-0.5 + 0.2), rel=1e-4)
    assert plan["step"] == "doubling"
    for interval in (plan["tokens_interval"], plan["tokens_profile"]):
        assert interval == pytest.approx([tokens, tokens], rel=1e-2)
    told = command("plan", "fit.json", *asked, "--tokens-per-second", "1000")
    assert told.code == 0
    assert "a GPU-hour more gains less than 0.005 nats" in told.out


def test_a_law_of_ones_own_is_fitted_and_planned_with(work, command, curves):
    Path("mine.py").write_text("""\
BOUNDS = {"a": (0.0, 5.0), "b": (0.0, 2.0)}


def recovery(n_tokens, loss_before, *, a, b):
    return loss_before + a * (n_tokens / 1e6) ** -b
""")
    fitted = command("fit", curves(rates=(0.5,)), "--law", "mine.py:recovery", "--out", "fit.json")
    assert (fitted.code, fitted.err) == (0, "")
    assert "by profile" not in fitted.out
    asked = ("plan", "fit.json", "--loss-before", "3", "--min-gain", "0.1", "--json")
    assert "is not built in: say where it is with --law FILE.py:NAME." in command(*asked).err
    plan = json.loads(command(*asked, "--law", "mine.py:recovery").out)
    low, high = plan["tokens_interval"]
    assert low <= plan["tokens"] <= high


def test_there_is_no_best_size_by_a_law_that_reads_the_loss_of_one_model(work, command, curves):
    assert command("fit", curves(), "--out", "fit.json", "--profile").out.count("by profile") == 1
    ended = command("plan", "fit.json", "--rate", "0.5", "--loss-before", "3", "--compute", "1e15", "--no-profile")
    assert (ended.code, ended.out) == (2, "")
    assert "so there is no best size by it" in ended.err


def test_controls_that_were_not_pruned_are_left_out_of_a_fit(work, command, curves):
    fit = json.loads(command("fit", curves(rates=(0.25, 0.5, 0.0)), "--law", "p2", "--no-intervals", "--json").out)
    assert (fit["n_points"], fit["left_out"]) == (24, {"pruning_rate of 0": 12})
    over_control = json.loads(
        command("fit", curves(rates=(0.25, 0.5, 0.0)), "--law", "p2-control", "--no-intervals", "--json").out
    )
    assert (over_control["n_points"], over_control["left_out"]) == (24, {"pruning_rate of 0": 12})
    assert fit["constants"]["gamma"] == pytest.approx(-1.2, rel=1e-3)


def test_where_each_pruned_run_has_a_control_the_law_measures_from_it_unless_one_is_named(work, command, curves):
    def fitted(rates, *more):
        return json.loads(command("fit", curves(rates=rates), "--no-intervals", "--json", *more).out)

    with_controls, without = (0.25, 0.5, 0.0), (0.25, 0.5)
    assert [fitted(with_controls)[entry] for entry in ("law", "weighting")] == ["tokens-per-parameter", "excess"]
    assert fitted(with_controls, "--weighting", "points")["weighting"] == "points"
    assert [fitted(with_controls, "--law", "p2-control")[entry] for entry in ("law", "weighting")] == ["p2-control", "runs"]
    assert [fitted(without)[entry] for entry in ("law", "weighting")] == ["p2", "runs"]


def test_a_fit_of_some_bases_only(work, command, curves):
    fit = json.loads(
        command("fit", curves(), "--base", "m500000", "--base", "m1000000", "--fix", "E=0.2", "--no-intervals", "--json").out
    )
    assert (fit["n_runs"], fit["fixed"]) == (4, {"E": 0.2})


def test_a_fit_of_one_method_beside_the_controls_of_all(work, command, curves):
    depth, controls = (read_json(curves(rates=rates, name="some.json")) for rates in ((0.25, 0.5), (0.0,)))
    width = [replace(run, id=f"w{run.id}", pruning_method="width-activation") for run in depth]
    controls = [replace(run, pruning_method=None) for run in controls]
    with Store.create("all.db") as store:
        store.add(*depth, *width, *controls)
    for law, source in (("p2", "all.db"), ("p2-control", "all.db")):
        asked = ("fit", source, "--law", law, "--method", "block-influence", "--fix", "E=0.2", "--no-intervals", "--json")
        fit = json.loads(command(*asked).out)
        assert (fit["n_runs"], fit["n_points"]) == (6, 24)
        assert fit["constants"]["gamma"] == pytest.approx(-1.2)
    ended = command("fit", "all.db", "--method", "depth")
    assert "all.db holds no runs pruned by depth; methods there: block-influence, width-activation." in ended.err


def test_a_base_folder_may_be_named_from_here(work, command):
    command("train", "base", *TRAINING, *SMALL, "--prune-rate", "0.25", "--store", "new.db")
    for name in ("base", "./base", work / "base"):  # that they are found shows in the reason why they are too few
        assert "Got 4 points" in command("fit", "new.db", "--base", name).err
    assert "holds no runs of bass" in command("fit", "new.db", "--base", "bass").err


def test_a_plan_without_an_end_names_no_number(work, command, curves):
    command("fit", curves(), "--out", "fit.json")
    asked = ("--n-params-before", "1M", "--rate", "0.25", "--loss-before", "3")
    never = command("plan", "fit.json", *asked, "--min-gain", "1e-12")
    assert "Tokens worth spending  as many as can be had" in never.out
    from_start = command("plan", "fit.json", *asked, "--min-gain", "2")
    assert "Tokens worth spending  10k or fewer" in from_start.out


def test_a_run_without_a_known_loss_before_is_shown(work, command, curves):
    content = json.loads(curves(sizes=(1000,), rates=(0.5,)).read_text())
    content["runs"][0] |= {"id": "unknown", "loss_before": None}
    Path("unknown.json").write_text(json.dumps(content))
    assert command("runs", "import", "unknown.json").out == "Runs put into runs.db: 1\n"
    assert command("runs", "list").code == command("runs", "show", "unknown").code == 0
    listed = json.loads(command("runs", "list", "--json").out)["runs"]
    assert sorted((run["id"], run["loss_before"]) for run in listed) == [("f4240-25", 3.0), ("unknown", None)]
    assert all(math.isfinite(run["loss"]) for run in listed)


def test_what_runs_are_read_from_is_not_overwritten_by_what_is_made_from_them(work, command, curves):
    exported = curves()
    command("runs", "import", exported, "--store", "kept.db")
    before = Path("kept.db").read_bytes(), Path(exported).read_bytes()
    for arguments in (
        ("fit", exported, "--no-intervals", "--out", exported),
        ("fit", exported, "--no-intervals", "--out", "kept.db"),
        ("runs", "export", "--store", "kept.db", "--out", "kept.db"),
    ):
        ended = command(*arguments)
        assert ended.code == 2
        assert "whose runs would be lost" in ended.err or "is a store of runs, which is not overwritten" in ended.err
    assert (Path("kept.db").read_bytes(), Path(exported).read_bytes()) == before


def test_an_input_that_is_given_twice_or_unknown_is_refused(work, command):
    asked = ("plan", "embedded:depth", "--n-params-before", "30m", "--rate", "0.3", "--loss-control", "2.4")
    assert "pruning_rate is given twice" in command(*asked, "--set", "pruning_rate=0.4").err
    assert "reads no foo" in command(*asked, "--set", "foo=1").err


def test_two_fits_to_the_same_runs_that_answer_otherwise_are_told_of(work, command):
    asked = ("--n-params-before", "30m", "--rate", "0.3", "--loss-control", "2.4", "--json")
    answers = {name: json.loads(command("plan", f"embedded:{name}", *asked).out) for name in ("depth", "depth-floor")}
    for name, other in (("depth", "depth-floor"), ("depth-floor", "depth")):
        (rival,) = [check["text"] for check in answers[name]["checks"] if check["code"] == "rival"]
        assert rival.startswith(f"embedded:{other}, another law fitted to the same runs, says ")


def test_runs_of_several_pruning_methods_are_told_of(work, command):
    found = json.loads(command("fit", "embedded:p2", "--min-tokens", "30m", "--no-intervals", "--json").out)
    (mixed,) = [check["text"] for check in found["checks"] if check["code"] == "mixed-methods"]
    assert "20 by block-influence" in mixed
    one = command("fit", "embedded:p2", "--method", "block-influence", "--min-tokens", "30m", "--no-intervals", "--json")
    assert "mixed-methods" not in one.out
