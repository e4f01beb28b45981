import json

import numpy as np
import pytest

from prunescale.cli.audit import HOLDOUTS
from prunescale.fitting import HOLDOUTS as OURS
from prunescale.fitting import USUAL
from prunescale.laws import LAWS

LAW = ("--law", "p2", "--fix", "E=0.2")


def test_the_command_knows_every_hold_out():
    assert tuple(HOLDOUTS) == tuple(OURS)


def test_audit_tables_what_a_law_says_of_points_that_it_has_not_seen(command, curves):
    ended = command("audit", curves(rates=(0.25, 0.375, 0.5)), *LAW, "--studies", 20)
    assert (ended.code, ended.err) == (0, "")
    for holdout in USUAL:
        meaning = HOLDOUTS[holdout]
        assert f"\n{holdout}: {meaning}\n" in ended.out
    assert "n_params_before 4 times" in ended.out
    assert "power law of each curve" in ended.out
    assert "36 points of 9 runs" in ended.out
    assert "nats per million tokens" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100


def test_audit_as_json(command, curves):
    ended = command("audit", curves(rates=(0.25, 0.375, 0.5)), *LAW, "--studies", 0, "--json")
    assert ended.err == ""
    found = json.loads(ended.out)
    rows = {(row["holdout"], row["law"]): row for row in found["rows"]}
    assert rows["size", "p2"]["score"]["error"] < 1e-6
    assert rows["size", "p2"]["score"]["n_runs"] == len(rows["size", "p2"]["score"]["by_run"]) == 3
    assert rows["size", "p2"]["distance"]["n_params_before"] == 4
    assert rows["size", "p2"]["inside"] is None
    assert (found["n_points"], found["n_runs"], found["excess_over"]) == (36, 9, "loss_before")
    assert found["fits"]["p2"]["fixed"] == {"E": 0.2}


def test_audit_without_names_asks_all_laws_that_the_runs_allow(command, curves):
    found = json.loads(command("audit", curves(), "--fix", "E=0.2", "--holdout", "checkpoints", "--studies", 0, "--json").out)
    asked = set(found["fits"]) | {each["law"] for each in found["skipped"] if each["holdout"] is None}
    assert asked | set(found["laws_left_out"]) == set(LAWS)
    assert {"p2", "p2-no-delta", "p2-odds"} <= asked
    assert found["laws_left_out"]["frantar"] == "no point has sparsity"


def test_a_constant_is_fixed_in_one_law_or_in_all_that_have_it(command, curves):
    def fixed(*settings):
        options = [word for setting in settings for word in ("--fix", setting)]
        laws = ("--law", "p2", "--law", "p2-no-delta", "--holdout", "checkpoints", "--studies", 0, "--json")
        return {name: fit["fixed"] for name, fit in json.loads(command("audit", curves(), *laws, *options).out)["fits"].items()}

    assert fixed("E=0.2", "p2:delta=0.3") == {"p2": {"E": 0.2, "delta": 0.3}, "p2-no-delta": {"E": 0.2}}


def test_skipped_hold_outs_are_told(command, curves):
    out = command("audit", curves(rates=(0.5,)), "--law", "p2", "--fix", "E=0.2", "--fix", "gamma=-1.2", "--studies", 0).out
    assert "- Skipped: rate: all runs have one pruning rate or none\n" in out


def test_compare_ranks_laws(command, curves):
    ended = command("compare", curves(rates=(0.25, 0.375, 0.5)), *LAW, "--law", "p2-odds")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("law  ")) + 2
    assert lines[first].split()[0] == "p2"
    assert "best" in lines[first].split()
    assert lines[first + 1].split()[0] == "p2-odds"
    assert "worse" in lines[first + 1].split()
    assert max(map(len, lines)) <= 100


def test_compare_as_json(command, curves):
    options = ("--law", "p2-odds", "--by", "loss", "--holdout", "run", "--holdout", "size", "--json")
    found = json.loads(command("compare", curves(rates=(0.25, 0.375, 0.5)), *LAW, *options).out)
    assert (found["measure"], found["holdouts"]) == ("loss", ["run", "size"])
    first, second = found["ranks"]
    assert (first["law"], first["verdict"], second["verdict"]) == ("p2", "best", "worse")
    assert second["error"] == pytest.approx(np.mean(list(second["by_holdout"].values())))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("audit", "--law", "p3"), "There is no law 'p3'"),
        (("audit", "--law", "frantar"), "cannot be judged on these runs: they have no sparsity"),
        (("audit", "--law", "p2", "--fix", "F=1"), "No constant F to fix in p2."),
        (("audit", "--law", "p2", "--law", "hoffmann", "--fix", "hoffmann:gamma=1"), "No constant hoffmann:gamma to fix"),
        (("audit", "--holdout", "weather"), "weather"),
        (("compare", "--law", "p2", "--fix", "E=0.2"), "Two laws at least are needed"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(refused, curves, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    command, *options = arguments
    assert words in refused(command, curves(), *options)


def test_laws_lists_every_law_with_its_formula(command):
    out = command("laws").out
    for name, law in LAWS.items():
        assert f"{name}\n  L = {law.formula}" in out
    assert max(map(len, out.splitlines())) <= 100
    names = [law["name"] for law in json.loads(command("laws", "--json").out)["laws"]]
    assert names == list(LAWS)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_shown_with_all_its_constants_and_columns(command, name):
    out = command("laws", name).out
    assert LAWS[name].source in " ".join(out.split())
    for word in (*LAWS[name].bounds, *LAWS[name].columns):
        assert f"\n{word} " in out
    assert max(map(len, out.splitlines())) <= 100


def test_presets_are_shown_with_the_law(command):
    out = " ".join(command("laws", "frantar").out.split())
    assert "Preset frantar-2023-t5" in out
    assert "training steps, not tokens" in out
    preset = json.loads(command("laws", "hoffmann", "--json").out)["presets"]["hoffmann-2022"]
    assert preset["constants"] == {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}


def test_a_law_of_ones_own_is_shown_and_audited(command, curves, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "BOUNDS = {'a': (0.0, 9.0), 'b': (0.0, 2.0)}\n"
        "def decay(n_tokens, loss_before, a, b):\n    return loss_before + a * (n_tokens / 1e3) ** -b\n"
    )
    assert "a column of your own" not in command("laws", f"{file}:decay").out
    found = json.loads(command("audit", curves(), "--law", f"{file}:decay", "--holdout", "run", "--studies", 0, "--json").out)
    assert set(found["fits"]) == {"decay"}
