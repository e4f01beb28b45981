import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from prunescale.models import LINEAGE_FILE, family_of, save, shape_of
from prunescale.pruning.surgery import drop_blocks_

IDS = torch.arange(3, 43).view(2, 20)


@torch.no_grad()
def logits(model, ids=IDS, **options):
    return model(input_ids=ids, **options).logits


@pytest.fixture(params=[(0,), (1, 2), (3,), (0, 2)], ids=str)
def dropped(request):
    return request.param


@pytest.fixture
def model(make_model, dropped):
    """A model of four blocks that has lost some."""
    model = make_model()
    drop_blocks_(model, family_of(model.config), dropped)
    return model


def test_the_blocks_left_are_those_not_dropped_in_order(make_model, model, dropped):
    before = make_model().model.layers
    left = [index for index in range(4) if index not in dropped]
    assert len(model.model.layers) == model.config.num_hidden_layers == len(left)
    for block, index in zip(model.model.layers, left, strict=True):
        for mine, theirs in zip(block.parameters(), before[index].parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_the_count_is_that_of_the_new_shape(model):
    assert sum(parameter.numel() for parameter in model.parameters()) == shape_of(model.config).n_params_total


def test_the_cache_is_found_by_the_blocks_left(model):
    whole = logits(model, use_cache=False)
    with torch.no_grad():
        first = model(input_ids=IDS[:, :12], use_cache=True)
        parts = [first.logits]
        cache = first.past_key_values
        for position in range(12, 20):
            parts.append(model(input_ids=IDS[:, position : position + 1], past_key_values=cache, use_cache=True).logits)
    assert cache.get_seq_length() == 20
    assert len(cache.layers) == model.config.num_hidden_layers
    # The same sums in another order, in float32, on logits of order 10.
    assert torch.allclose(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-4)


def test_text_is_generated_as_without_a_cache(model):
    ids = IDS[:1, :5]
    for _ in range(8):
        ids = torch.cat([ids, logits(model, ids, use_cache=False)[:, -1:].argmax(-1)], dim=1)
    options = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(IDS[:1, :5])}
    assert 0 not in ids  # which would end it earlier
    assert model.generate(IDS[:1, :5], **options).tolist() == ids.tolist()


@pytest.mark.parametrize("tied", [True, False])
def test_it_is_saved_as_an_ordinary_model(make_checkpoint, tmp_path, tied):
    checkpoint = make_checkpoint(tied=tied)
    drop_blocks_(checkpoint.model, family_of(checkpoint.model.config), (0, 2))
    folder = save(checkpoint, tmp_path / "m")
    assert not (folder / LINEAGE_FILE).exists()
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(logits(again), logits(checkpoint.model))
    assert again.config.num_hidden_layers == 2
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == tied
    again.lm_head.weight.data.zero_()
    assert bool((again.model.embed_tokens.weight == 0).all()) == tied


def test_a_list_with_one_entry_a_block_loses_those_of_the_blocks_dropped(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    checkpoint.model.config.layer_types = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
    drop_blocks_(checkpoint.model, family_of(checkpoint.model.config), (0, 1))
    assert checkpoint.model.config.layer_types == ["full_attention", "sliding_attention"]
    assert json.loads((save(checkpoint, tmp_path / "m") / "config.json").read_text())["layer_types"] == [
        "full_attention",
        "sliding_attention",
    ]
