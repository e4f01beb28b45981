import json
import math

import pytest
import torch

from prunescale.errors import DataError, PruningError
from prunescale.models import load, save
from prunescale.pruning import METHODS, Calibration, prune
from prunescale.pruning.depth import DEPTH

IDS = torch.arange(3, 43).view(2, 20)


def silence_(model, blocks):
    """Make blocks that add nothing to what goes through them."""
    for block in blocks:
        model.model.layers[block].self_attn.o_proj.weight.data.zero_()
        model.model.layers[block].mlp.down_proj.weight.data.zero_()


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS).logits


@pytest.fixture
def calibration(token_ids):
    return Calibration(token_ids, 20)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("method", "idle"),
    [
        ("block-influence", (0, 2)),
        ("block-influence", (1, 2)),
        ("contiguous", (1, 2)),
        ("perplexity", (0, 2)),
        ("perplexity", (1, 3)),
        ("block-magnitude", (0, 3)),
        ("last-blocks", (1, 2)),
    ],
)
def test_blocks_that_do_nothing_are_chosen_and_not_missed(make_checkpoint, own_text, tied, method, idle):
    checkpoint = make_checkpoint(tied=tied)
    silence_(checkpoint.model, idle)
    calibration = Calibration(own_text(checkpoint.model), 20)  # any block that does something makes it likelier
    pruned, done = prune(checkpoint, method=method, rate=0.5, calibration=calibration)
    assert done.blocks_dropped == idle
    assert torch.equal(logits(pruned.model), logits(checkpoint.model))  # x + 0 is x, to the last bit


@pytest.mark.parametrize("method", DEPTH)
def test_the_base_stays_as_it_was(make_checkpoint, calibration, method):
    checkpoint = make_checkpoint(lineage={"pretraining": {"n_tokens": 7}})
    weights = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    config, before = checkpoint.model.config.to_dict(), logits(checkpoint.model)
    pruned, _ = prune(checkpoint, method=method, rate=0.25, calibration=calibration)
    for parameter in pruned.model.parameters():
        parameter.data.zero_()  # no weight is shared
    assert checkpoint.model.config.to_dict() == config
    assert checkpoint.lineage == {"pretraining": {"n_tokens": 7}}
    assert all(torch.equal(value, weights[name]) for name, value in checkpoint.model.state_dict().items())
    assert torch.equal(logits(checkpoint.model), before)
    assert [block.self_attn.layer_idx for block in checkpoint.model.model.layers] == [0, 1, 2, 3]


def test_the_pruned_model_can_be_trained(make_checkpoint, calibration):
    pruned, _ = prune(make_checkpoint(), method="contiguous", rate=0.25, calibration=calibration)
    pruned.model(input_ids=IDS, labels=IDS).loss.backward()
    assert all(parameter.grad is not None for parameter in pruned.model.parameters())


def test_what_was_done_is_told_and_kept_with_the_model(make_checkpoint, token_ids, tmp_path):
    # A block: 16 * 4 * 4 * 2 + 16 * 2 * 4 * 2 = 768 of attention, 3 * 16 * 40 = 1920, norms 32: 2720. Four and a norm: 10896.
    checkpoint = make_checkpoint(lineage={"pretraining": {"n_tokens": 7}})
    pruned, done = prune(
        checkpoint, method="block-influence", rate=0.45, calibration=Calibration(token_ids[:399], 50), base="/where/it/was"
    )
    assert done.rate_wanted == 0.45
    assert done.rate == pytest.approx(2 * 2720 / 10896, rel=1e-12)
    assert (done.n_params_before, done.n_params_after) == (10896, 5456)
    assert done.calibration_tokens == 350
    assert (done.base, done.method) == ("/where/it/was", "block-influence")
    scores = pruned.importance["blocks"]
    assert scores.shape == (4,)
    assert set(done.blocks_dropped) == set(scores.argsort()[:2].tolist())
    assert sum(parameter.numel() for parameter in pruned.model.parameters()) == 257 * 16 + 5456
    assert pruned.name == "tiny-block-influence-0.499"

    kept = load(save(pruned, tmp_path / "m")).lineage
    assert kept["pretraining"] == {"n_tokens": 7}
    assert kept["pruning"] == json.loads(json.dumps(vars(done)))


@pytest.mark.parametrize("method", ["block-magnitude", "last-blocks"])
def test_no_calibration_is_told_of_where_none_was_used(make_checkpoint, calibration, method):
    _, done = prune(make_checkpoint(), method=method, rate=0.25, calibration=calibration)
    assert done.calibration_tokens == 0


def test_the_name_of_the_checkpoint_is_the_base_if_no_other_is_given(make_checkpoint, calibration):
    _, done = prune(make_checkpoint(), method="contiguous", rate=0.25, calibration=calibration)
    assert done.base == "tiny"


def test_what_cannot_be_done(make_checkpoint, token_ids, calibration):
    checkpoint = make_checkpoint()
    settings = {"method": "contiguous", "rate": 0.25, "calibration": calibration}
    with pytest.raises(PruningError, match=f"no pruning method 'magic': choose one of {', '.join(METHODS)}"):
        prune(checkpoint, **{**settings, "method": "magic"})
    with pytest.raises(PruningError, match=r"from 0\.250 \(one block\) to 0\.749"):
        prune(checkpoint, **{**settings, "rate": 0.1})
    with pytest.raises(PruningError, match="contiguous needs a rate"):
        prune(checkpoint, **{**settings, "rate": None})
    with pytest.raises(DataError, match="one sequence of 20 tokens at least, got 19"):
        prune(checkpoint, **{**settings, "calibration": Calibration(token_ids[:19], 20)})


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.25, 1.5, math.nan, math.inf])
def test_a_rate_is_between_0_and_1(make_checkpoint, calibration, rate):
    with pytest.raises(PruningError, match=f"strictly between 0 and 1, got {rate:g}"):
        prune(make_checkpoint(), method="contiguous", rate=rate, calibration=calibration)


def test_a_second_pruning_counts_from_the_model_before_the_first(make_checkpoint, calibration, tmp_path):
    # It went through once, and the lineage then held the parameters and the name of the model in between.
    checkpoint = make_checkpoint()
    once, first = prune(checkpoint, method="contiguous", rate=0.25, calibration=calibration, base="/where/it/was")
    twice, second = prune(load(save(once, tmp_path / "once")), method="last-blocks", rate=0.75, calibration=calibration)
    assert (second.base, second.n_params_before, second.n_params_after) == ("/where/it/was", 10896, 2736)
    assert second.rate == pytest.approx(3 * 2720 / 10896, rel=1e-12)
    assert second.blocks_dropped == (0, 1)  # of the three that were left
    assert [done["method"] for done in second.earlier] == ["contiguous"]
    assert second.earlier[0]["blocks_dropped"] == list(first.blocks_dropped)
    assert twice.model.config.num_hidden_layers == 1
    left = [block for block in range(4) if block not in first.blocks_dropped][-1]
    for mine, theirs in zip(
        twice.model.model.layers[0].parameters(), checkpoint.model.model.layers[left].parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("rate", [0.1, 0.2496])
def test_a_second_pruning_must_remove_more(make_checkpoint, calibration, rate):
    once, _ = prune(make_checkpoint(), method="contiguous", rate=0.25, calibration=calibration)
    with pytest.raises(PruningError, match=rf"0\.2496 of that is gone already: got {rate:g}, give more"):
        prune(once, method="contiguous", rate=rate, calibration=calibration)
