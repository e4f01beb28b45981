import json

import pytest
import torch

from prunescale.errors import DataError, PruningError
from prunescale.models import load, save
from prunescale.pruning import METHODS, prune

IDS = torch.arange(3, 43).view(2, 20)


def silence_(model, blocks):
    """Make blocks that add nothing to what goes through them."""
    for block in blocks:
        model.model.layers[block].self_attn.o_proj.weight.data.zero_()
        model.model.layers[block].mlp.down_proj.weight.data.zero_()


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS).logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("method", "idle"), [("block-influence", (0, 2)), ("block-influence", (1, 2)), ("contiguous", (1, 2))])
def test_blocks_that_do_nothing_are_chosen_and_not_missed(make_checkpoint, token_ids, tied, method, idle):
    checkpoint = make_checkpoint(tied=tied)
    silence_(checkpoint.model, idle)
    pruned, done = prune(checkpoint, method=method, rate=0.5, calibration=token_ids, sequence_length=20)
    assert done.blocks_dropped == idle
    assert torch.equal(logits(pruned.model), logits(checkpoint.model))  # x + 0 is x, to the last bit


@pytest.mark.parametrize("method", METHODS)
def test_the_base_stays_as_it_was(make_checkpoint, token_ids, method):
    checkpoint = make_checkpoint(lineage={"pretraining": {"n_tokens": 7}})
    weights = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    config, before = checkpoint.model.config.to_dict(), logits(checkpoint.model)
    pruned, _ = prune(checkpoint, method=method, rate=0.25, calibration=token_ids, sequence_length=20)
    for parameter in pruned.model.parameters():
        parameter.data.zero_()  # no weight is shared
    assert checkpoint.model.config.to_dict() == config
    assert checkpoint.lineage == {"pretraining": {"n_tokens": 7}}
    assert all(torch.equal(value, weights[name]) for name, value in checkpoint.model.state_dict().items())
    assert torch.equal(logits(checkpoint.model), before)
    assert [block.self_attn.layer_idx for block in checkpoint.model.model.layers] == [0, 1, 2, 3]


def test_what_was_done_is_told_and_kept_with_the_model(make_checkpoint, token_ids, tmp_path):
    # A block: 16 * 4 * 4 * 2 + 16 * 2 * 4 * 2 = 768 of attention, 3 * 16 * 40 = 1920, norms 32: 2720. Four and a norm: 10896.
    checkpoint = make_checkpoint(lineage={"pretraining": {"n_tokens": 7}})
    pruned, done = prune(
        checkpoint, method="block-influence", rate=0.45, calibration=token_ids[:399], sequence_length=50, base="/where/it/was"
    )
    assert done.rate_wanted == 0.45
    assert done.rate == 2 * 2720 / 10896
    assert (done.n_params_before, done.n_params_after) == (10896, 5456)
    assert done.calibration_tokens == 350
    assert (done.base, done.method) == ("/where/it/was", "block-influence")
    assert len(done.scores) == 4
    assert set(done.blocks_dropped) == set(sorted(range(4), key=lambda block: done.scores[block])[:2])
    assert sum(parameter.numel() for parameter in pruned.model.parameters()) == 257 * 16 + 5456
    assert pruned.name == "tiny-block-influence-0.499"

    kept = load(save(pruned, tmp_path / "m")).lineage
    assert kept["pretraining"] == {"n_tokens": 7}
    assert kept["pruning"] == json.loads(json.dumps(vars(done)))


def test_the_name_of_the_checkpoint_is_the_base_if_no_other_is_given(make_checkpoint, token_ids):
    _, done = prune(make_checkpoint(), method="contiguous", rate=0.25, calibration=token_ids, sequence_length=20)
    assert done.base == "tiny"


def test_what_cannot_be_done(make_checkpoint, token_ids):
    checkpoint = make_checkpoint()
    settings = {"method": "contiguous", "rate": 0.25, "calibration": token_ids, "sequence_length": 20}
    with pytest.raises(PruningError, match="no pruning method 'magic': choose block-influence or contiguous"):
        prune(checkpoint, **{**settings, "method": "magic"})
    with pytest.raises(PruningError, match=r"from 0\.250 \(one block\) to 0\.749"):
        prune(checkpoint, **{**settings, "rate": 0.1})
    with pytest.raises(DataError, match="one sequence of 20 tokens at least, got 19"):
        prune(checkpoint, **{**settings, "calibration": token_ids[:19]})


def test_a_second_pruning_is_refused(make_checkpoint, token_ids):
    # It went through once, and the lineage then held the parameters and the name of the model in between.
    settings = {"method": "contiguous", "rate": 0.25, "calibration": token_ids, "sequence_length": 20}
    pruned, _ = prune(make_checkpoint(), **settings)
    with pytest.raises(PruningError, match="was pruned before"):
        prune(pruned, **{**settings, "rate": 0.34})
