import tomllib
from pathlib import Path

import pytest

from prunescale.errors import RecipeError
from prunescale.file_names import is_file_name
from prunescale.recipe import Recipe
from prunescale.sweep import Study

TEXT = """
[recipe]
base = "models/llama"
prune = { method = "block-influence", rate = 0.25 }
train = { data = "tokens", held_out = "held-out.npz", tokens = 65536, learning_rate = 1e-3 }

[axes]
"prune.rate" = [0.125, 0.5]
control = [{}, { "train.seed" = 1, "train.learning_rate" = 3e-4 }]
"""


RECIPE = tomllib.loads(TEXT)["recipe"]


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "rates.toml"
    file.write_text(text)
    return file


def refused(tmp_path, text):
    with pytest.raises(RecipeError) as error:
        Study.from_toml(written(tmp_path, text))
    line = str(error.value)
    assert "\n" not in line
    return line.removeprefix(f"{tmp_path / 'rates.toml'}: ")


def test_axes_meet_and_the_last_changes_fastest(tmp_path):
    study = Study.from_toml(written(tmp_path, TEXT))
    assert study.name == "rates"
    assert [run.label for run in study.runs] == [
        "rate 0.125",
        "rate 0.125, seed 1, learning_rate 0.0003",
        "rate 0.5",
        "rate 0.5, seed 1, learning_rate 0.0003",
    ]
    assert [(run.recipe.prune.rate, run.recipe.train.seed, run.recipe.train.learning_rate) for run in study.runs] == [
        (0.125, 0, 1e-3),
        (0.125, 1, 3e-4),
        (0.5, 0, 1e-3),
        (0.5, 1, 3e-4),
    ]


def test_hashes_are_those_of_the_recipes_written_out_and_no_order_changes_them(tmp_path):
    hashes = {run.label: run.recipe.hash for run in Study.from_toml(written(tmp_path, TEXT)).runs}
    recipe, axes = TEXT.split("[axes]")
    by_hand = Recipe.from_toml(recipe.replace("[recipe]\n", "").replace("rate = 0.25", "rate = 0.5"))
    assert hashes["rate 0.5"] == by_hand.hash
    turned = recipe + "[axes]\n" + "\n".join(reversed(axes.strip().splitlines()))
    assert set(hashes.values()) == {run.recipe.hash for run in Study.from_toml(written(tmp_path, turned)).runs}


def test_without_axes_it_is_one_run(tmp_path):
    (run,) = Study.from_toml(written(tmp_path, TEXT.split("[axes]")[0])).runs
    assert run.label == "as it is"


def test_an_axis_may_bring_a_section_that_the_base_has_not(tmp_path):
    text = TEXT.split("[axes]")[0] + '[axes]\nhow = [{}, { "prune.rate" = 0.5, "distill.teacher" = "parent" }]\n'
    plain, distilled = Study.from_toml(written(tmp_path, text)).runs
    assert plain.recipe.distill is None
    assert distilled.recipe.distill.teacher == "parent"


def test_runs_may_have_names_which_are_no_part_of_their_recipes(tmp_path):
    text = TEXT.replace("{}, {", '{ name = "control" }, { name = "other seed!",')
    study = Study.from_toml(written(tmp_path, text))
    assert [run.label for run in study.runs] == [
        "rate 0.125, control",
        "rate 0.125, other seed!",
        "rate 0.5, control",
        "rate 0.5, other seed!",
    ]
    assert study.runs[1].file_name == "rate-0.125-other-seed"
    assert [run.recipe for run in study.runs] == [run.recipe for run in Study.from_toml(written(tmp_path, TEXT)).runs]


def test_only_some_of_them(tmp_path):
    study = Study.from_toml(written(tmp_path, TEXT))
    assert [run.label for run in study.only(["0.5", "seed 1"]).runs] == [run.label for run in study.runs[1:]]
    assert study.only([]) == study
    with pytest.raises(RecipeError, match=r"rates has no run with '0.7' in its name; the first is called 'rate 0.125'"):
        study.only(["0.7"])


@pytest.mark.parametrize("name", ["../../etc", "/", "..", "", "\\", "x" * 500])
def test_no_name_leads_elsewhere(tmp_path, name):
    study = Study.from_dict("s", {"recipe": RECIPE, "axes": {"how": [{"name": name, "train.seed": 4}]}})
    assert is_file_name(study.runs[0].file_name)


def test_what_is_wrong_is_told_in_a_line_that_names_it(tmp_path):
    head = TEXT.split("[axes]")[0]
    assert refused(tmp_path, "a = ").startswith(f"{tmp_path / 'rates.toml'} is not TOML: Invalid value")
    assert refused(tmp_path, "[axis]\n").startswith("axis is not part of a study; known are the sections [recipe] and [axes]")
    assert refused(tmp_path, "[axes]\n").startswith("A study needs a section [recipe]")
    assert refused(tmp_path, "axes = 3\n" + head).startswith("axes is 3; it must be a section [axes]")
    assert refused(tmp_path, head + "[axes]\nseed = 3\n").startswith("The axis seed is 3; it must be a list of values")
    assert refused(tmp_path, head + "[axes]\nseed = []\n").startswith("The axis seed is []; it must be a list")
    assert refused(tmp_path, head + '[axes]\n"prune.rate" = [0.1, 2.0]\n').startswith(
        "run 'rate 2': prune.rate is 2.0; it must be"
    )
    assert refused(tmp_path, head + '[axes]\n"train.rate" = [1]\n').startswith(
        "run 'rate 1': train.rate is not an entry of a recipe"
    )
    assert "the runs 'seed 0' and 'as it is' are the same" in refused(tmp_path, head + '[axes]\ns = [{"train.seed" = 0}, {}]\n')
    twice = head + '[axes]\n"train.seed" = [0, 1]\ns = [{"train.seed" = 2}]\n'
    assert refused(tmp_path, twice).startswith("Two axes set train.seed: put it into one of them")
    same = head + '[axes]\ns = [{ name = "a b", "train.seed" = 2 }, { name = "a/b", "train.seed" = 3 }]\n'
    assert refused(tmp_path, same).startswith("rates: a-b stands for two runs, ")
    assert refused(tmp_path, head + "[axes]\ns = [{ name = 3 }]\n").startswith(
        "The axis s has a name that is 3; it must be a string"
    )
    many = ", ".join(map(str, range(400)))
    assert refused(tmp_path, head + f'[axes]\n"train.seed" = [{many}]\n"prune.rate" = [{many}]\n').startswith(
        "The axes have 160,000 combinations; a study has at most 100,000 runs"
    )


def test_no_file(tmp_path):
    with pytest.raises(
        RecipeError, match=r"No study can be read at .* \(No such file or directory\): give the path of a TOML file"
    ):
        Study.from_toml(tmp_path / "none.toml")
