"""prunescale partner: what a sparse training comes to, and the dense model to compare it with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prunescale.recipe import ModelRecipe, Recipe, SparseRecipe, TrainRecipe

N_LINEAR = 2 * (4 * 64 * 64 + 3 * 64 * 168) + 257 * 64  # attention and feed-forward of two blocks, and the head


@pytest.fixture
def recipe(work):
    """In `sparse.toml`: twelve steps, pruned after the steps 3, 5, 7 and 9 to a quarter of the weights."""
    train = TrainRecipe(
        data="train.txt", held_out="held-out.txt", tokens=768, learning_rate=0.01, sequence_length=16, batch_tokens=64
    )
    model = ModelRecipe(tokenizer="base", layers=2, hidden_size=64, ffn_size=168, heads=4)
    return written(Recipe(model=model, sparse=SparseRecipe(sparsity=0.75, of="steps", every=2), train=train))


def written(recipe):
    Path("sparse.toml").write_text(recipe.to_toml())
    return recipe


def test_the_numbers_of_both_trainings(recipe, command):
    ended = command("partner", "sparse.toml", "--json")
    assert (ended.code, ended.err) == (0, "")
    answer = json.loads(ended.out)
    # 0.25^(k / 4) of the weights are left after the k-th pruning.
    kept = [0.25 ** (k / 4) * N_LINEAR for k in range(5)]
    in_all = 3 * kept[0] + 2 * kept[1] + 2 * kept[2] + 2 * kept[3] + 3 * kept[4]
    assert answer["n_params_initial"] == N_LINEAR
    assert answer["n_params_average"] == pytest.approx(in_all / 12)
    assert answer["n_params_final"] == pytest.approx(N_LINEAR / 4)
    assert (answer["n_tokens"], answer["n_steps"], answer["n_prunings"]) == (768, 12, 4)
    assert answer["flops_sparse"] == pytest.approx(6 * in_all * 64)
    assert 6 * N_LINEAR * answer["n_tokens_dense"] == pytest.approx(answer["flops_sparse"])
    assert (answer["window_steps"], answer["window_share_of_steps"]) == ([3, 9], [0.25, 0.75])
    assert answer["window_share_of_compute"] == pytest.approx([3 * kept[0] / in_all, 1 - 3 * kept[4] / in_all])
    partner = answer["partner"]
    assert partner["n_params_wanted"] == answer["n_params_average"]
    assert abs(partner["error"]) <= 0.005
    sizes = answer["recipe"]["model"]
    assert partner["n_params_linear"] == 2 * sizes["hidden_size"] * (
        4 * sizes["heads"] * sizes.get("head_dim", sizes["hidden_size"] // sizes["heads"]) + 3 * sizes["ffn_size"]
    ) + (257 * sizes["hidden_size"])


def test_its_recipe_is_that_of_a_dense_training(recipe, command):
    ended = command("partner", "sparse.toml", "--of", "final", "--out", "dense.toml", "--json")
    answer = json.loads(ended.out)
    assert answer["partner"]["n_params_linear"] == pytest.approx(N_LINEAR / 4, rel=0.005)
    dense = Recipe.from_toml(Path("dense.toml"))
    assert dense.to_dict() == answer["recipe"]
    sizes = {name: getattr(dense.model, name) for name in ("hidden_size", "ffn_size", "heads", "kv_heads", "head_dim")}
    assert dense == replace(recipe, sparse=None, model=replace(recipe.model, **sizes))
    trained = command("train", "--recipe", "dense.toml", "--json")
    assert json.loads(trained.out)["n_params_linear"] == answer["partner"]["n_params_linear"]


def test_a_person_is_told(recipe, command):
    ended = command("partner", "sparse.toml")
    assert "4 times, after the steps 3 to 9 of 12: 25.0% to 75.0% of the steps" in " ".join(ended.out.split())
    section = ended.out.partition("[model]")[2]
    assert 'tokenizer = "base"' in section
    assert "[train]" not in section


def test_a_head_that_is_not_pruned(recipe, command):
    written(replace(recipe, sparse=replace(recipe.sparse, head=False)))
    answer = json.loads(command("partner", "sparse.toml", "--json").out)
    assert answer["n_params_final"] == pytest.approx((N_LINEAR - 257 * 64) / 4 + 257 * 64)


def test_what_is_refused(recipe, refused, work):
    Path("there.toml").write_text("")
    assert "there.toml exists already and is never overwritten" in refused("partner", "sparse.toml", "--out", "there.toml")
    assert "No recipe can be written to none/dense.toml" in refused("partner", "sparse.toml", "--out", "none/dense.toml")
    assert "No dense model of 2 layers" in refused("partner", "sparse.toml", "--multiple", "64")
    written(replace(recipe, model=replace(recipe.model, tied=True)))
    assert "the head cannot be pruned where model.tied is True" in refused("partner", "sparse.toml")
    written(replace(recipe, sparse=None))
    assert "sparse.toml has no section [sparse]" in refused("partner", "sparse.toml")
    written(Recipe(base="base", train=recipe.train))
    assert "sparse.toml has no section [model]" in refused("partner", "sparse.toml")
    assert "No recipe can be read at none.toml" in refused("partner", "none.toml")
