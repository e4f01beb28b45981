from dataclasses import replace

import numpy as np
import pytest
import torch

from prunescale.errors import DataError, ModelError, PruningError
from prunescale.pruning import METHODS, Calibration, prune
from prunescale.sweep import held_out_loss
from prunescale.sweep.inspect import Inspection, Try, inspect, read_inspection, save_inspection, shared_text
from prunescale.training import Tokens

CPU = torch.device("cpu")
LENGTH = 16


@pytest.fixture
def calibration(token_ids):
    return Calibration(token_ids[:160], LENGTH)


@pytest.fixture
def held_out(token_ids):
    return Tokens(token_ids[160:], None)


@pytest.fixture
def look(make_checkpoint, calibration, held_out):
    """Inspect a tiny model of four blocks."""

    def run(checkpoint=None, **changes):
        wanted = {"rates": (0.25, 0.5), "calibration": calibration, "held_out": held_out, "device": CPU, **changes}
        return inspect(checkpoint or make_checkpoint(), **wanted)

    return run


def test_losses_are_those_of_models_pruned_by_hand_and_the_model_stays_as_it_is(look, make_checkpoint, calibration, held_out):
    checkpoint = make_checkpoint()
    before = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    found = look(checkpoint, rates=(0.5,), patterns=("2:4",), held_out_tokens=200)
    assert all(torch.equal(value, before[name]) for name, value in checkpoint.model.state_dict().items())

    def loss_of(model):
        return held_out_loss(model, held_out, sequence_length=LENGTH, limit=200, device=CPU)

    assert found.dense_loss == pytest.approx(loss_of(checkpoint), abs=1e-6)
    assert {(each.method, each.rate_wanted, each.pattern) for each in found.tries} == {
        *((method, 0.5, None) for method in METHODS),
        *((method, None, "2:4") for method in METHODS if METHODS[method].kind == "sparse"),
    }
    for each in found.tries:
        pruned, done = prune(checkpoint, method=each.method, rate=each.rate_wanted, pattern=each.pattern, calibration=calibration)
        assert each.loss == pytest.approx(loss_of(pruned), abs=1e-6), each
        assert each.increase == pytest.approx(each.loss - found.dense_loss, abs=1e-12)
        assert (each.rate, each.n_params_after) == (done.rate, done.n_params_after)
        assert each.blocks_dropped == done.blocks_dropped


def test_a_block_that_does_nothing_costs_nothing(look, make_checkpoint):
    checkpoint = make_checkpoint()
    idle = checkpoint.model.model.layers[2]
    for layer in (idle.self_attn.o_proj, idle.mlp.down_proj):
        torch.nn.init.zeros_(layer.weight)
    found = look(checkpoint, methods=("block-influence", "contiguous"), rates=(0.25,))
    for each in found.tries:
        assert each.blocks_dropped == (2,)
        assert each.increase == pytest.approx(0, abs=1e-6)
    assert found.importance["blocks.block-influence"].argmin() == 2


def test_what_cannot_be_done_is_told_and_the_rest_is_done(look):
    # A tenth of four blocks is none; rows of 16 and 40 cannot be cut into threes.
    found = look(methods=("block-influence", "wanda"), rates=(0.1, 0.5), patterns=("1:3",))
    reasons = {(each.method, each.rate_wanted, each.pattern): each.reason for each in found.tries if each.reason}
    assert set(reasons) == {("block-influence", 0.1, None), ("wanda", None, "1:3")}
    assert "rounds to no block of 4" in reasons["block-influence", 0.1, None]
    assert "divisible by 3" in reasons["wanda", None, "1:3"]
    assert np.isnan(found.window_losses[1]).all()
    assert all((each.loss is None) == (each.rate is None) == bool(each.reason) for each in found.tries)


def test_where_nothing_can_be_done_it_is_refused(look):
    with pytest.raises(PruningError, match="rounds to no block of 4"):
        look(methods=("block-influence", "contiguous"), rates=(0.1,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": ("magic",)}, "no pruning method 'magic': choose one of block-influence"),
        ({"rates": (0.5, 1.0)}, "strictly between 0 and 1, got 1"),
        ({"patterns": ("4:2",)}, "0 < n < m"),
    ],
)
def test_what_is_no_method_rate_or_pattern_is_refused(look, changes, words):
    with pytest.raises(PruningError, match=words):
        look(**changes)


def test_too_little_text_and_a_damaged_model_are_refused(look, make_checkpoint, token_ids):
    with pytest.raises(DataError, match="Calibration needs one sequence"):
        look(calibration=Calibration(token_ids[:5], LENGTH))
    damaged = make_checkpoint()
    damaged.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        look(damaged)


def test_text_is_read_once_for_all_rates_where_scores_of_blocks_serve_them(look, monkeypatch):
    counted = []

    def count(method):
        plan = METHODS[method].plan
        return replace(METHODS[method], plan=lambda *arguments: counted.append(method) or plan(*arguments))

    for method in ("perplexity", "contiguous"):
        monkeypatch.setitem(METHODS, method, count(method))
    look(methods=("perplexity", "contiguous"), rates=(0.5, 0.52, 0.75))
    # Runs of 2, of 3 and, for the scores of single blocks, of 1.
    assert (counted.count("perplexity"), counted.count("contiguous")) == (1, 3)


def test_scores_have_the_sizes_of_the_parts(look):
    found = look(methods=("block-influence", "contiguous", "wanda"))
    assert {name: scores.shape for name, scores in found.importance.items()} == {
        "blocks.block-influence": (4,),
        "blocks.contiguous": (4,),
        "heads.width-activation": (4, 2),
        "ffn.width-activation": (4, 40),
        "hidden.width-activation": (16,),
    }
    assert "heads.width-taylor" in look(methods=("width-taylor",)).importance


def table(losses, rates=None, windows=None, kinds=None) -> Inspection:
    """Of these losses at a rate of 0.5; the noise of the windows is shared but for a share of 0.01 of its own."""
    draws = np.random.default_rng(3)
    shared = draws.normal(size=20)
    rates, kinds = rates or [0.5] * len(losses), kinds or ["sparse"] * len(losses)
    tries = tuple(
        Try(f"m{index}", kind, None, 0.5, rate, 50, loss, loss - 2.0, 1.0)
        for index, (loss, rate, kind) in enumerate(zip(losses, rates, kinds, strict=True))
    )
    if windows is None:
        own = 0.01 * draws.normal(size=(1 + len(losses), 20))
        windows = np.array([2.0, *losses])[:, None] + shared + own - own.mean(1, keepdims=True) - shared.mean()
    return Inspection("tiny", 4, 100, 2.0, tries, {}, windows, LENGTH, 160, 320, 5.5)


def test_the_best_are_those_that_the_text_does_not_tell_apart():
    # Two standard errors of a difference: 2 * 0.01 * sqrt(2 / 20) = 0.006; the shared noise of the windows is a hundred times that.
    found = table([3.0, 3.001, 3.1])
    assert [each.method for each in found.best(found.at(0.5))] == ["m0", "m1"]
    few = table([3.0, 3.001], windows=np.array([[2.0], [3.0], [3.001]]))
    assert [each.method for each in few.best(few.at(0.5))] == ["m0"]
    same = table([3.0, 3.0], windows=np.full((3, 20), 3.0))
    assert [each.method for each in same.best(same.at(0.5))] == ["m0", "m1"]


def test_what_lost_less_than_was_asked_for_is_out_of_the_running():
    found = table([2.5, 3.0, 3.5], rates=[0.4, 0.5, 0.6], kinds=["depth", "sparse", "depth"])
    assert [each.method for each in found.best(found.at(0.5))] == ["m1"]
    assert [each.method for each in found.best(found.at(0.5, "depth"))] == ["m2"]
    alone = table([2.5, 2.6], rates=[0.4, 0.4])
    assert [each.method for each in alone.best(alone.at(0.5))] == ["m0"]


def test_it_comes_back_from_its_file(look, tmp_path):
    found = look(methods=("contiguous", "wanda"), rates=(0.1, 0.5))
    save_inspection(found, tmp_path / "scores.npz")
    again = read_inspection(tmp_path / "scores.npz")
    assert again.tries == found.tries
    assert again.dense_loss == found.dense_loss
    np.testing.assert_array_equal(again.window_losses, found.window_losses)
    assert list(again.importance) == list(found.importance)
    assert [file.name for file in tmp_path.iterdir()] == ["scores.npz"]
    (tmp_path / "other.npz").write_bytes(b"no inspection")
    with pytest.raises(DataError, match="is no inspection"):
        read_inspection(tmp_path / "other.npz")


def test_text_in_both_files_is_noticed():
    text = torch.arange(320)
    assert shared_text(text, text[37:101]) == 1.0  # wherever it stands
    assert shared_text(text, torch.cat([text[:32], text[:96] + 1000])) == 0.25
    assert shared_text(text[:10], text) == 0.0
