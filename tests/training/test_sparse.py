"""Pruning while a model trains."""

from itertools import pairwise

import pytest
import torch

from prunescale.errors import TrainingError
from prunescale.recipe import SparseRecipe, TrainRecipe
from prunescale.training import Machine, Progress, Tokens, train_
from prunescale.training import loop as training_loop
from prunescale.training.sparse import sparse_weights

MACHINE = Machine(torch.device("cpu"))
IDS = torch.arange(4000) * 7 % 250
RECIPE = TrainRecipe(
    data="d", held_out="h", tokens=64 * 20, learning_rate=0.01, sequence_length=16, batch_tokens=64, n_measurements=4
)


def train(model, sparse, recipe=RECIPE, **options):
    return train_(model, Tokens(IDS, None), Tokens(IDS[:400], None), recipe, machine=MACHINE, sparse=sparse, **options)


def zeros(model):
    return {name: weight == 0 for name, weight in model.named_parameters()}


def test_it_ends_as_sparse_as_wanted_and_nothing_grows_back(make_model):
    model = make_model(tied=False)
    linear = {name for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name}
    n_linear = sum(weight.numel() for name, weight in model.named_parameters() if name in linear)
    seen = []
    sparse = SparseRecipe(sparsity=0.75, start=0.2, end=0.6, of="steps", every=4)
    curve = train(model, sparse, progress=Progress(step=lambda n_tokens: seen.append(zeros(model))))
    # After steps 4, 8 and 12: a quarter is left, in three equal factors.
    kept = [int(0.25 ** (k / 3) * n_linear) for k in (1, 2, 3)]
    assert curve.left == ((0, n_linear), *((64 * step, n) for step, n in zip((4, 8, 12), kept, strict=True)))
    counts = [sum(int(zero[name].sum()) for name in linear) for zero in seen]
    assert counts == [0] * 3 + [n_linear - kept[0]] * 4 + [n_linear - kept[1]] * 4 + [n_linear - kept[2]] * 9
    for before, after in pairwise(seen):
        assert all((after[name] >= before[name]).all() for name in linear)
    assert not seen[-1]["model.embed_tokens.weight"].any()
    assert seen[-1]["lm_head.weight"].any()


def test_one_threshold_for_all_layers(make_model):
    model = make_model(tied=False)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.mul_(1e-3)
    train(model, SparseRecipe(sparsity=0.3, start=0.05, end=0.05, of="steps"), TrainRecipe(**{**vars(RECIPE), "tokens": 64}))
    share = {name: float(zero.float().mean()) for name, zero in zeros(model).items()}
    assert share["model.layers.1.mlp.up_proj.weight"] > 0.9
    assert share["model.layers.0.mlp.up_proj.weight"] < 0.5


def test_the_optimisers_moments_are_kept_and_the_weights_do_not_decay(make_model, monkeypatch):
    states = []

    def noted(model, optimizer, held):
        states.append(State(model, optimizer, held))
        return states[-1]

    from prunescale.training.state import State

    monkeypatch.setattr(training_loop, "State", noted)
    sparse = SparseRecipe(sparsity=0.5, start=0.5, end=0.5, of="steps")
    train(make_model(tied=False), sparse, TrainRecipe(**{**vars(RECIPE), "tokens": 64 * 10}))
    (state,) = states
    weight, keep = state.held[0]
    assert not weight[~keep].any()
    assert state.optimizer.state[weight]["exp_avg_sq"][~keep].all()  # from before they were pruned
    assert {float(entry["step"]) for entry in state.optimizer.state.values()} == {10.0}


def test_the_head_is_the_embedding_or_not(make_model):
    with pytest.raises(TrainingError, match=r"it is the embedding too .*: set sparse.head to false"):
        sparse_weights(make_model(), head=True)
    model = make_model()
    curve = train(model, SparseRecipe(sparsity=0.5, head=False, every=2))
    prunable = sum(weight.numel() for weight in sparse_weights(model, head=False))
    head = model.lm_head.weight.numel()
    assert curve.left[0] == (0, prunable + head)
    assert curve.left[-1][1] == head + prunable // 2
    assert not zeros(model)["model.embed_tokens.weight"].any()


def test_two_of_four(make_model):
    model = make_model(tied=False)
    train(model, SparseRecipe(pattern="2:4", every=2))
    for weight in sparse_weights(model, head=True):
        assert ((weight.view(len(weight), -1, 4) != 0).sum(-1) == 2).all()


def test_a_sparsity_of_nothing_is_the_dense_training(make_model):
    dense, sparse = make_model(tied=False), make_model(tied=False)
    losses = [train(dense, None).points[-1].loss]
    # Pruned after the last step only: until then masks change nothing, to the last bit.
    curve = train(sparse, SparseRecipe(sparsity=0.5, start=1.0, end=1.0, of="steps"), TrainRecipe(**vars(RECIPE)))
    assert [p.loss for p in curve.points[:-1]] == [p.loss for p in train(make_model(tied=False), None).points[:-1]]
    assert curve.points[-1].loss != losses[0]
