"""Depth pruning of each family that we know: what comes out is an ordinary model of the family."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from prunescale.models import FAMILIES, BlocksInMemory, BlocksOnDisk, family_of, save, shape_of
from prunescale.pruning import METHODS, Calibration, prune
from prunescale.pruning.depth import DEPTH
from prunescale.pruning.prune import request_for

IDS = torch.arange(3, 43).view(2, 20)
N_DROPPED, RATE = 2, 2 / 6
KINDS = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
SETTINGS = {
    "qwen2": {"layer_types": KINDS, "max_window_layers": 0},
    "gemma3_text": {"layer_types": KINDS},
    "phi3": {"sliding_window": 7},
}
"""Windows as uneven as they can be, so that a block that gets another's is noticed."""


@torch.no_grad()
def logits(model, ids=IDS, **options):
    return model(input_ids=ids, **options).logits


@pytest.fixture(params=FAMILIES)
def model_type(request):
    return request.param


@pytest.fixture
def make(make_family_checkpoint, model_type):
    """A checkpoint of the family."""
    return lambda **settings: make_family_checkpoint(model_type, **SETTINGS.get(model_type, {}), **settings)


@pytest.fixture
def calibration(token_ids):
    return Calibration(token_ids[:135], 20)  # 6 sequences, in batches of 4 and 2


def blocks_of_a_copy(model, left):
    """The model with the blocks `left` alone, put together by hand."""
    model = copy.deepcopy(model)
    model.model.layers = torch.nn.ModuleList(model.model.layers[index] for index in left)
    model.config.num_hidden_layers = len(left)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[index] for index in left]
    return model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("method", DEPTH)
def test_plain_transformers_reads_the_pruned_model(make, calibration, tmp_path, method, tied):
    checkpoint = make(tie_word_embeddings=tied)
    pruned, done = prune(checkpoint, method=method, rate=RATE, calibration=calibration)
    left = [index for index in range(6) if index not in done.blocks_dropped]
    assert len(left) == 6 - N_DROPPED
    by_hand = logits(blocks_of_a_copy(checkpoint.model, left), use_cache=False)
    again = AutoModelForCausalLM.from_pretrained(save(pruned, tmp_path / "m"))
    assert torch.equal(logits(pruned.model, use_cache=False), by_hand)
    assert torch.equal(logits(again, use_cache=False), by_hand)
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == tied
    for model in (pruned.model, again):
        assert len(model.model.layers) == model.config.num_hidden_layers == len(left)
        assert sum(parameter.numel() for parameter in model.parameters()) == shape_of(model.config).n_params_total
        if getattr(checkpoint.model.config, "layer_types", None):
            assert model.config.layer_types == [checkpoint.model.config.layer_types[index] for index in left]
        for block, index in zip(model.model.layers, left, strict=True):
            for mine, theirs in zip(block.parameters(), checkpoint.model.model.layers[index].parameters(), strict=True):
                assert torch.equal(mine, theirs)


@pytest.mark.parametrize("method", DEPTH)
def test_blocks_that_do_nothing_are_chosen_and_not_missed(make, own_text, method):
    checkpoint = make()
    family = family_of(checkpoint.model.config)
    for block in checkpoint.model.model.layers[3:5]:
        for path in (family.attention_output, family.ffn_output):
            block.get_submodule(path).weight.data.zero_()  # and the norm of zeros, where there is one behind, is zero
    calibration = Calibration(own_text(checkpoint.model), 20)  # any block that does something makes it likelier
    pruned, done = prune(checkpoint, method=method, rate=RATE, calibration=calibration)
    assert done.blocks_dropped == (3, 4)
    assert torch.equal(logits(pruned.model), logits(checkpoint.model))  # x + 0 is x, to the last bit


@pytest.mark.parametrize("method", DEPTH)
def test_from_disk_the_plan_is_the_same(make, calibration, tmp_path, method):
    checkpoint = make()
    save(checkpoint, tmp_path / "m")
    in_memory = BlocksInMemory(checkpoint.model)
    config = copy.deepcopy(checkpoint.model.config)
    request = request_for({}, checkpoint.shape, method, RATE)
    with BlocksOnDisk(tmp_path / "m", config, dtype=torch.float32, device=torch.device("cpu")) as on_disk:
        plans = [METHODS[method].plan(blocks, calibration, request) for blocks in (in_memory, on_disk)]
        assert plans[0].facts == plans[1].facts
        with_types = [
            plan.config.to_dict() | {"dtype": None} for plan in plans
        ]  # which a model that was never saved doesn't know
        assert with_types[0] == with_types[1]
        assert torch.equal(plans[0].importance["blocks"], plans[1].importance["blocks"])
        tensors = [list(plan.block_tensors(blocks)) for plan, blocks in zip(plans, (in_memory, on_disk), strict=True)]
        assert len(tensors[0]) == 6 - N_DROPPED
        for mine, theirs in zip(*tensors, strict=True):
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
        ends = [plan.ends(blocks) for plan, blocks in zip(plans, (in_memory, on_disk), strict=True)]
        assert ends[0].keys() == ends[1].keys()
        assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.fixture
def pruned(make, calibration):
    """A model that has lost its second block and its fifth, so that each block left but the first has a new place."""
    checkpoint = make()
    family = family_of(checkpoint.model.config)
    for index in (1, 4):
        for part in family.linears:
            checkpoint.model.model.layers[index].get_submodule(part.path).weight.data.mul_(1e-3)
    pruned, done = prune(checkpoint, method="block-magnitude", rate=RATE, calibration=calibration)
    assert done.blocks_dropped == (1, 4)
    return pruned.model


def test_the_cache_is_found_by_the_blocks_left(pruned):
    whole = logits(pruned, use_cache=False)
    with torch.no_grad():
        first = pruned(input_ids=IDS[:, :12], use_cache=True)
        parts = [first.logits]
        cache = first.past_key_values
        for position in range(12, 20):
            parts.append(pruned(input_ids=IDS[:, position : position + 1], past_key_values=cache, use_cache=True).logits)
    assert cache.get_seq_length() == 20
    assert len(cache.layers) == pruned.config.num_hidden_layers
    assert [block.self_attn.layer_idx for block in pruned.model.layers] == [0, 1, 2, 3]
    # The same sums in another order, in float32, on logits of order 10.
    assert torch.allclose(torch.cat(parts, dim=1), whole, rtol=0, atol=2e-4)


def test_text_is_generated_as_without_a_cache(pruned):
    ids = IDS[:1, :10]  # longer than the windows
    for _ in range(8):
        ids = torch.cat([ids, logits(pruned, ids, use_cache=False)[:, -1:].argmax(-1)], dim=1)
    assert 0 not in ids  # which would end it earlier
    options = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(IDS[:1, :10])}
    for use_cache in (True, False):
        assert pruned.generate(IDS[:1, :10], use_cache=use_cache, **options).tolist() == ids.tolist()
