import copy
import math
from contextlib import ExitStack

import pytest
import torch
from torch.nn.functional import cross_entropy

from prunescale.errors import DataError, ModelError, PruningError
from prunescale.models import FAMILIES, BlocksInMemory, BlocksOnDisk
from prunescale.pruning import Calibration
from prunescale.pruning.walk import Walk, recorded_inputs, sequences, stand_ins

LENGTH = 20
WINDOWS = {"mistral": {}, "qwen2": {}, "gemma3_text": {}, "phi3": {"sliding_window": 7}}
"""Families with sliding windows, and what switches them on in the tiny models."""


def on_disk(model, folder, dtype=torch.float32):
    """The blocks of a model, from a folder with three files of weights."""
    model.save_pretrained(folder, max_shard_size=sum(parameter.nbytes for parameter in model.parameters()) // 3)
    assert len(list(folder.glob("*.safetensors"))) > 1
    return BlocksOnDisk(folder, copy.deepcopy(model.config), dtype=dtype, device=torch.device("cpu"))


@pytest.fixture(params=["memory", "disk"])
def blocks_of(request, tmp_path):
    """Blocks of a model, in memory or on disk."""
    with ExitStack() as opened:
        yield BlocksInMemory if request.param == "memory" else lambda model: opened.enter_context(on_disk(model, tmp_path / "m"))


def walked(blocks, tokens, **settings):
    """A walk at its end."""
    walk = Walk(blocks, tokens, sequence_length=LENGTH, **settings)
    for index in range(len(blocks)):
        with blocks.resident(index) as block:
            walk.states = walk.through(index, block)
    return walk


@torch.no_grad()
def logits_of_transformers(model, tokens, batch=4):
    n_sequences = len(tokens) // LENGTH
    return [model(input_ids=ids).logits for ids in tokens[: n_sequences * LENGTH].view(-1, LENGTH).split(batch)]


def plain_loss(model, tokens):
    """Nats per token, each token after the first of its sequence predicted by transformers' own forward pass."""
    losses = [
        cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none").double()
        for logits, ids in zip(
            logits_of_transformers(model, tokens), tokens[: len(tokens) // LENGTH * LENGTH].view(-1, LENGTH).split(4), strict=True
        )
    ]
    return float(torch.cat(losses).mean())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_at_the_end_are_the_logits_of_transformers(make_family_model, token_ids, blocks_of, model_type, tied):
    model = make_family_model(model_type, tie_word_embeddings=tied, **WINDOWS.get(model_type, {}))
    tokens = token_ids[:135]  # of which 6 sequences of 20 are used, in batches of 4 and 2
    walk = walked(blocks_of(model), tokens)
    assert walk.n_tokens == 120
    assert [len(ids) for ids in walk.ids] == [4, 2]
    expected = logits_of_transformers(model, tokens)
    for ids, state, logits in zip(walk.ids, walk.states, expected, strict=True):
        assert torch.equal(walk.logits(ids, state), logits)  # the same operations in the same order
    # One sequence at once instead of four: float32 rounding of logits of order 10, averaged over 114 predictions.
    assert walk.loss() == pytest.approx(plain_loss(model, tokens), abs=1e-5)


@pytest.mark.parametrize("model_type", WINDOWS)
def test_the_windows_slide(make_family_model, token_ids, model_type):
    # Otherwise the test above would not have tried them.
    windowed = make_family_model(model_type, **WINDOWS[model_type])
    wide = make_family_model(model_type, **{"sliding_window": 100})
    pairs = zip(logits_of_transformers(windowed, token_ids), logits_of_transformers(wide, token_ids), strict=True)
    for narrow_BLV, wide_BLV in pairs:
        assert torch.allclose(narrow_BLV[:, :7], wide_BLV[:, :7], rtol=0, atol=1e-4)
        assert not torch.allclose(narrow_BLV[:, 7:], wide_BLV[:, 7:], rtol=0, atol=0.1)


def test_a_model_in_bfloat16_is_walked_through_in_bfloat16(make_family_model, token_ids, tmp_path):
    model = make_family_model("gemma3_text")
    with on_disk(model, tmp_path / "model", torch.bfloat16) as blocks:
        walk = walked(blocks, token_ids)
    half = type(model).from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    assert {state.dtype for state in walk.states} == {torch.bfloat16}
    for ids, state, logits in zip(walk.ids, walk.states, logits_of_transformers(half, token_ids), strict=True):
        assert torch.equal(walk.logits(ids, state), logits)
    assert walk.loss() == pytest.approx(walked(BlocksInMemory(half), token_ids).loss(), abs=1e-12)


def test_the_batch_does_not_matter(make_family_model, token_ids):
    model = make_family_model("llama")
    one, many = (torch.cat(walked(BlocksInMemory(model), token_ids, batch=batch).states) for batch in (1, 7))
    assert torch.allclose(one, many, rtol=0, atol=1e-4)  # float32 rounding of states of order 10


def test_the_model_is_left_as_it_was(make_family_model, token_ids):
    model = make_family_model("qwen2")
    before = logits_of_transformers(model, token_ids)
    layers, inner = model.model.layers, list(model.model.layers)
    walk = walked(BlocksInMemory(model), token_ids)
    walk.loss()
    with pytest.raises(ZeroDivisionError), stand_ins(walk.blocks):
        raise ZeroDivisionError
    assert model.model.layers is layers
    assert all(mine is theirs for mine, theirs in zip(layers, inner, strict=True))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(map(torch.equal, logits_of_transformers(model, token_ids), before))


def test_one_block_is_held_at_a_time(make_family_model, token_ids, tmp_path):
    with on_disk(make_family_model("gemma3_text"), tmp_path / "model") as blocks:
        walk = Walk(blocks, token_ids, sequence_length=LENGTH)
        for index in range(len(blocks)):
            with blocks.resident(index) as block:
                walk.states = walk.through(index, block)
                held = [not parameter.is_meta for layer in blocks.model.model.layers for parameter in layer.parameters()]
                assert sum(held) == len(list(block.parameters()))
    assert all(parameter.is_meta for layer in blocks.model.model.layers for parameter in layer.parameters())


def test_what_goes_into_a_layer_is_recorded(make_family_model, token_ids):
    model = make_family_model("llama")
    walk = Walk(BlocksInMemory(model), token_ids[:135], sequence_length=LENGTH)
    seen = []
    block = model.model.layers[0]
    with recorded_inputs(block, ["self_attn.q_proj", "mlp.down_proj"], lambda path, x: seen.append((path, x))):
        walk.through(0, block)
    assert [path for path, _ in seen] == ["self_attn.q_proj", "mlp.down_proj"] * 2
    assert torch.equal(seen[0][1], block.input_layernorm(walk.states[0]))
    assert [tuple(x.shape) for _, x in seen] == [(4, 20, 24), (4, 20, 40), (2, 20, 24), (2, 20, 40)]
    walk.through(0, block)
    assert len(seen) == 4


def test_the_last_batch_may_be_a_smaller_one(make_family_model, token_ids):
    walk = Calibration(token_ids, LENGTH, batch=3).walk(BlocksInMemory(make_family_model("llama")))
    assert [len(state) for state in walk.states] == [3] * 6 + [2]


def test_less_than_one_sequence_is_refused(make_model, token_ids):
    blocks = BlocksInMemory(make_model())
    assert Walk(blocks, token_ids[:50], sequence_length=50).n_tokens == 50
    with pytest.raises(DataError, match="one sequence of 51 tokens at least, got 50"):
        Walk(blocks, token_ids[:50], sequence_length=51)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("place", ["model.layers.1.mlp.down_proj", "model.norm"])
def test_a_damaged_model_is_refused(make_model, token_ids, place, value):
    model = make_model()
    model.get_submodule(place).weight.data.view(-1)[3] = value
    with pytest.raises(ModelError, match=f"{place}.weight of the model has numbers that are not finite, so it is damaged"):
        walked(BlocksInMemory(model), token_ids)


def test_so_is_one_that_computes_what_is_not_finite(make_model, token_ids):
    model = make_model()
    model.model.layers[1].mlp.down_proj.weight.data.fill_(3e38)
    with pytest.raises(PruningError, match="computes numbers that are not finite, so it is damaged"):
        walked(BlocksInMemory(model), token_ids)
    model = make_model()
    model.model.norm.weight.data.fill_(3e38)
    walk = walked(BlocksInMemory(model), token_ids)
    with pytest.raises(PruningError, match="computes numbers that are not finite, so it is damaged"):
        walk.loss()


def test_each_sequence_begins_with_the_token_given():
    tokens = torch.arange(1, 12)
    assert sequences(tokens, 4, start=0).tolist() == [[0, 2, 3, 4], [0, 6, 7, 8]]
    assert tokens.tolist() == list(range(1, 12))
