import subprocess
import sys
from dataclasses import replace

import pytest

from prunescale.errors import RecipeError
from prunescale.recipe import PruneRecipe, Recipe, TrainRecipe, with_overrides

TRAIN = TrainRecipe(data="post.txt", held_out="held_out.txt", tokens=1_000_000, learning_rate=1e-3)
RECIPE = Recipe(base="models/1m", prune=PruneRecipe(rate=0.25), train=TRAIN)
TOML = """\
base = "models/1m"

[prune]
rate = 0.25

[train]
data = "post.txt"
held_out = "held_out.txt"
tokens = 1_000_000
learning_rate = 1e-3
"""
HASH = "fa8b32acca73"


def test_defaults_fill_what_the_file_leaves_out():
    assert Recipe.from_toml(TOML) == RECIPE
    assert RECIPE.prune.method == "block-influence"
    assert RECIPE.train.first_measurement is None


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, prune=None),
        replace(RECIPE, base='C:\\models\\"größer"\t\x7f\x01 \U0001f600 # no comment\n'),
        replace(
            RECIPE, train=replace(TRAIN, learning_rate=0.1 + 0.2, first_measurement=16384, held_out_tokens=10**12, clip=1e16)
        ),
        replace(RECIPE, train=replace(TRAIN, learning_rate=5e-324, dtype="float32", compile="off", decay_fraction=1)),
        replace(RECIPE, prune=PruneRecipe(method="wanda", pattern="2:4"), train=replace(TRAIN, keep_zeros="on")),
        replace(RECIPE, prune=PruneRecipe(rate=0.5, scope="global", axes="ffn,heads", steps=4, step_tokens=10**6)),
    ],
)
def test_toml_comes_back_equal(recipe):
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert Recipe.from_toml(recipe.to_toml()).hash == recipe.hash


def test_a_file_is_read(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.to_toml(), encoding="utf-8")
    assert Recipe.from_toml(path) == RECIPE


def test_the_hash_is_the_same_everywhere_and_for_ever():
    # sha256 of the JSON of all entries with sorted keys and no spaces, what is None left out:
    # {"base":"models/1m","prune":{"calibration_tokens":16384,"method":"block-influence","rate":0.25},"train":{"batch_
    # tokens":16384,"beta1":0.9,"beta2":0.95,"clip":1.0,"compile":"auto","data":"post.txt","decay_fraction":0.0,"dtype":"auto",
    # "held_out":"held_out.txt","learning_rate":0.001,"n_measurements":16,"seed":0,"sequence_length":512,"tokens":1000000,
    # "warmup_tokens":0,"weight_decay":0.1}}
    assert RECIPE.hash == HASH
    again = "from prunescale.recipe import Recipe; import sys; print(Recipe.from_toml(sys.argv[1]).hash)"
    assert subprocess.check_output([sys.executable, "-c", again, TOML], text=True).strip() == RECIPE.hash


def test_the_hash_tells_recipes_apart_but_not_spellings():
    assert replace(RECIPE, base="models/2m").hash != RECIPE.hash
    assert replace(RECIPE, prune=None).hash != RECIPE.hash
    assert replace(RECIPE, train=replace(TRAIN, seed=1)).hash != RECIPE.hash
    assert replace(RECIPE, train=replace(TRAIN, clip=1)).hash == RECIPE.hash  # 1 is 1.0
    assert Recipe.from_toml(TOML.replace("rate = 0.25", "method = 'block-influence'\nrate = 2.5e-1")).hash == RECIPE.hash
    assert Recipe.from_toml(TOML.replace("rate = 0.25", "rate = 0.25\nsteps = 1") + "keep_zeros = 'auto'").hash == RECIPE.hash
    others = [PruneRecipe(rate=0.25, scope="layer"), PruneRecipe(rate=0.25, axes="ffn"), PruneRecipe(pattern="2:4")]
    others += [PruneRecipe(rate=0.25, steps=2, step_tokens=1), PruneRecipe(rate=0.25, steps=2, step_tokens=2)]
    hashes = {replace(RECIPE, prune=other).hash for other in others} | {
        replace(RECIPE, train=replace(TRAIN, keep_zeros="off")).hash
    }
    assert len({RECIPE.hash, *hashes}) == 7


def test_overrides_replace_entries_and_leave_the_rest():
    changed = with_overrides(RECIPE, {"base": "other", "train.tokens": 5, "prune.rate": 0.5})
    assert changed == Recipe(base="other", prune=PruneRecipe(rate=0.5), train=replace(TRAIN, tokens=5))
    assert with_overrides(RECIPE, {}) == RECIPE
    assert with_overrides(replace(RECIPE, train=replace(TRAIN, clip=2.0)), {"train.clip": None}) == RECIPE
    assert with_overrides(replace(RECIPE, prune=None), {"prune.rate": 0.25}) == RECIPE


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.tokens": "5"}, r"train\.tokens is '5'; it must be an integer"),
        ({"train.tokns": 5}, r"train\.tokns is not an entry of a recipe; did you mean train\.tokens\?"),
        ({"training.tokens": 5}, r"training\.tokens is not an entry of a recipe; did you mean train\.tokens\?"),
        ({"tokens": 5}, "tokens is not an entry of a recipe; known are base, model, prune, sparse, distill, train"),
        ({"train.data": None}, r"train\.data is missing"),
    ],
)
def test_bad_overrides(overrides, message):
    with pytest.raises(RecipeError, match=message):
        with_overrides(RECIPE, overrides)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate = 0.25", "rate = 1.5", r"prune\.rate is 1\.5; it must be strictly between 0 and 1"),
        ("rate = 0.25", "rate = 0", r"prune\.rate is 0; it must be strictly between 0 and 1"),
        ("rate = 0.25", "rate = 1.0", "strictly between 0 and 1"),
        ("rate = 0.25", "rate = nan", r"prune\.rate is nan; it must be a finite number"),
        ("rate = 0.25", "rate = true", r"prune\.rate is True; it must be a number"),
        ("rate = 0.25", 'rate = "0.25"', r"prune\.rate is '0\.25'; it must be a number"),
        ("rate = 0.25", "ratio = 0.25", r"prune\.ratio is not an entry of a recipe; did you mean prune\.rate\?"),
        ("rate = 0.25", 'method = ""\nrate = 0.25', r"prune\.method is ''; it must be a string that is not empty"),
        ("rate = 0.25\n", "", r"prune\.rate is missing; it must be given, as a number, or prune\.pattern in its place"),
        ("rate = 0.25", 'pattern = "2:2"', r"prune\.pattern is '2:2'; it must be n:m such as 2:4, with 0 < n < m"),
        ("rate = 0.25", 'pattern = "0:4"', r"prune\.pattern is '0:4'; it must be n:m"),
        ("rate = 0.25", 'pattern = "half"', r"prune\.pattern is 'half'; it must be n:m"),
        ("rate = 0.25", 'pattern = " 2:4"', r"prune\.pattern is ' 2:4'; it must be n:m"),
        ("rate = 0.25", "pattern = 0.5", r"prune\.pattern is 0\.5; it must be a string"),
        ("rate = 0.25", 'rate = 0.25\npattern = "2:4"', r"prune\.rate is 0\.25; it must be left out where there is a pattern"),
        (
            "rate = 0.25",
            'pattern = "2:4"\nsteps = 2\nstep_tokens = 9',
            r"prune\.steps is 2; it must be 1 where there is a pattern",
        ),
        ("rate = 0.25", "rate = 0.25\nsteps = 0", r"prune\.steps is 0; it must be more than 0"),
        ("rate = 0.25", "rate = 0.25\nsteps = 2.5", r"prune\.steps is 2\.5; it must be an integer"),
        ("rate = 0.25", "rate = 0.25\nsteps = 3", r"prune\.step_tokens is missing; it must be given, as an integer, for 3 steps"),
        ("rate = 0.25", "rate = 0.25\nstep_tokens = 9", r"prune\.step_tokens is 9; it must be left out where there is one step"),
        ("rate = 0.25", "rate = 0.25\nsteps = 3\nstep_tokens = 0", r"prune\.step_tokens is 0; it must be more than 0"),
        ("rate = 0.25", 'rate = 0.25\nscope = "block"', r"prune\.scope is 'block'; it must be one of layer, global"),
        ("rate = 0.25", 'rate = 0.25\naxes = "ffn,"', r"prune\.axes is 'ffn,'; it must be names with commas between"),
        ("rate = 0.25", 'rate = 0.25\naxes = "ffn, ffn"', r"prune\.axes is 'ffn, ffn'; it must be names .*, each once"),
        ("= 1e-3", '= 1e-3\nkeep_zeros = "yes"', r"train\.keep_zeros is 'yes'; it must be one of auto, on, off"),
        ("= 1e-3", "= 1e-3\nkeep_zeros = true", r"train\.keep_zeros is True; it must be a string"),
        ("1_000_000", "0", r"train\.tokens is 0; it must be more than 0"),
        ("1_000_000", "1e6", r"train\.tokens is 1000000\.0; it must be an integer"),
        ("= 1e-3", "= inf", r"train\.learning_rate is inf; it must be a finite number"),
        ("= 1e-3", "= 1e-3\ndecay_fraction = 1.01", r"train\.decay_fraction is 1\.01; it must be between 0 and 1"),
        (
            "= 1e-3",
            "= 1e-3\nbatch_tokens = 1000",
            r"train\.batch_tokens is 1000; it must be a multiple of sequence_length \(512\)",
        ),
        (
            "= 1e-3",
            "= 1e-3\nwarmup_tokens = 1_000_001",
            r"train\.warmup_tokens is 1000001; it must be at most the 1000000 tokens",
        ),
        ("= 1e-3", "= 1e-3\nfirst_measurement = 1_000_001", r"train\.first_measurement is 1000001; it must be at most"),
        ("= 1e-3", '= 1e-3\ndtype = "float16"', r"train\.dtype is 'float16'; it must be one of auto, float32, bfloat16"),
        ("= 1e-3", "= 1e-3\ncompile = true", r"train\.compile is True; it must be one of auto, on, off"),
        ("= 1e-3", "= 1e-3\nbeta2 = 1.0", r"train\.beta2 is 1\.0; it must be at least 0 and less than 1"),
        ("[prune]\nrate = 0.25", "prune = 0.25", r"prune is 0\.25; it must be a section \[prune\]"),
        ('base = "models/1m"', "", "base is missing; it must be given, as a string"),
        ("[train]", "[training]", r"training is not an entry of a recipe; did you mean train\?"),
        ("[prune]", "[prune", "the recipe is not TOML: .*line 3"),
    ],
)
def test_a_bad_recipe_is_refused_by_the_name_of_its_entry(old, new, message):
    assert old in TOML
    with pytest.raises(RecipeError, match=message) as refused:
        Recipe.from_toml(TOML.replace(old, new))
    assert "\n" not in str(refused.value)


def test_no_section_train():
    with pytest.raises(RecipeError, match=r"train is missing; it must be given, as a section \[train\]"):
        Recipe.from_toml('base = "x"')


def test_errors_name_the_file(tmp_path):
    with pytest.raises(RecipeError, match=r"No recipe can be read at .*absent.toml \(No such file"):
        Recipe.from_toml(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("base = 3", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"bad.toml: .*missing"):
        Recipe.from_toml(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"bad.toml is not TOML"):
        Recipe.from_toml(tmp_path / "bad.toml")


def test_axes_one_by_one():
    assert PruneRecipe(rate=0.5, axes="ffn, heads,hidden").axis_names == ("ffn", "heads", "hidden")
    assert PruneRecipe(rate=0.5).axis_names is None


def test_a_pattern_takes_the_place_of_a_rate():
    changed = with_overrides(RECIPE, {"prune.method": "magnitude", "prune.rate": None, "prune.pattern": "2:4"})
    assert changed.prune == PruneRecipe(method="magnitude", pattern="2:4")
    assert changed.prune.rate is None


def test_a_recipe_made_in_code_is_checked_too():
    with pytest.raises(RecipeError, match=r"prune\.rate"):
        PruneRecipe(rate=1.0)
    with pytest.raises(RecipeError, match=r"train is None; it must be a section"):
        Recipe(base="x", train=None)
