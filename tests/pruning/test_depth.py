import copy
import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from prunescale.errors import ModelError, PruningError
from prunescale.models import FAMILIES, BlocksInMemory, family_of
from prunescale.pruning import METHODS, Calibration, Request, depth
from prunescale.pruning.depth import DEPTH, blocks_for_rate, rate_after
from prunescale.shape import ModelShape

# Four blocks. Influences, one minus the entries above the diagonal: 0.5, 0.125, 0.25, 0.125.
COSINES = torch.eye(5, dtype=torch.float64)
for block, cosine in enumerate([0.5, 0.875, 0.75, 0.875]):
    COSINES[block, block + 1] = COSINES[block + 1, block] = cosine

# Angles from boundary i to boundary j > i, in units of pi.
ANGLES = torch.tensor(
    [
        [0.00, 0.30, 0.35, 0.50, 0.45],
        [0.30, 0.00, 0.10, 0.25, 0.40],
        [0.35, 0.10, 0.00, 0.20, 0.15],
        [0.50, 0.25, 0.20, 0.00, 0.05],
        [0.45, 0.40, 0.15, 0.05, 0.00],
    ],
    dtype=torch.float64,
)

# A block has 2 * 8 * 2 * 4 + 2 * 8 * 1 * 4 = 192 weights of attention, 3 * 8 * 20 = 480 of the feed-forward, 16 of its norms:
# 688. Eight of them and the norm at the end are 5512, so that one is a share of 0.12482 and eight are 0.99855.
SHAPE = ModelShape(
    n_layers=8, hidden_size=8, ffn_size=20, n_heads=2, n_kv_heads=1, head_dim=4, vocab_size=30, tied_embeddings=True
)
LENGTH = 20


@pytest.fixture
def known_angles(monkeypatch):
    """The two matrices above, whatever the model."""
    monkeypatch.setattr(
        depth, "block_angles", lambda blocks, calibration, *, apart: (COSINES.diagonal(apart), ANGLES.diagonal(apart))
    )


class Counted:
    """Blocks that keep a list of those asked for."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.asked = []

    def __getattr__(self, name):
        return getattr(self.blocks, name)

    def __len__(self):
        return len(self.blocks)

    @contextmanager
    def resident(self, index, *, own=False):
        self.asked.append(index)
        with self.blocks.resident(index, own=own) as block:
            yield block


@pytest.mark.parametrize(
    ("n_drop", "blocks"),
    [
        (1, (3,)),  # of blocks 1 and 3, which are equal, the later
        (2, (1, 3)),
        (3, (1, 2, 3)),
    ],
)
def test_block_influence(known_angles, n_drop, blocks):
    choice = depth.block_influence(None, None, n_drop)
    assert choice.blocks == blocks
    assert choice.scores.tolist() == [0.5, 0.125, 0.25, 0.125]


@pytest.mark.parametrize(
    ("n_drop", "blocks", "scores"),
    [
        (1, (3,), [0.30, 0.10, 0.20, 0.05]),
        (2, (2, 3), [0.35, 0.25, 0.15]),
        (3, (1, 2, 3), [0.50, 0.40]),
    ],
)
def test_contiguous(known_angles, n_drop, blocks, scores):
    choice = depth.contiguous(None, None, n_drop)
    assert choice.blocks == blocks
    assert choice.scores.tolist() == scores


def test_the_methods_look_at_different_things(known_angles):
    # The pair of least influence is 1 and 3, which are no neighbours.
    assert depth.block_influence(None, None, 2).blocks != depth.contiguous(None, None, 2).blocks


@pytest.mark.parametrize(
    ("n_blocks", "n_drop", "blocks"),
    [(4, 1, (2,)), (4, 2, (1, 2)), (4, 3, (0, 1, 2)), (8, 3, (4, 5, 6)), (8, 7, (0, 1, 2, 3, 4, 5, 6)), (2, 1, (0,))],
)
def test_last_blocks_go_up_to_the_very_last(n_blocks, n_drop, blocks):
    choice = depth.last_blocks(range(n_blocks), None, n_drop)
    assert choice.blocks == blocks
    assert sorted(choice.scores.tolist()) == list(range(n_blocks))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_block_magnitude_is_the_plain_sum(make_family_model, model_type):
    model = make_family_model(model_type)
    model.model.layers[4].mlp.down_proj.weight.data *= -0.01
    counted = Counted(BlocksInMemory(model))
    choice = depth.block_magnitude(counted, None, 1)
    assert counted.asked == [0, 1, 2, 3, 4, 5]
    matrices = [[p.detach().double() for p in block.parameters() if p.ndim == 2] for block in model.model.layers]
    assert {len(of_block) for of_block in matrices} == {4 if model_type == "phi3" else 7}
    plain = [math.fsum(value for matrix in of_block for value in matrix.abs().flatten().tolist()) for of_block in matrices]
    assert choice.scores.tolist() == pytest.approx(plain, rel=1e-12)  # sums of some thousand numbers in float64
    assert choice.blocks == (4,)


def loss_of_transformers(model, tokens):
    """Nats per token over sequences of equal length, one at a time."""
    with torch.no_grad():
        losses = [float(model(input_ids=ids, labels=ids, use_cache=False).loss) for ids in tokens.view(-1, 1, LENGTH)]
    return math.fsum(losses) / len(losses)


def without_block(model, index):
    """A copy of a model that lacks a block, made by hand."""
    model = copy.deepcopy(model)
    del model.model.layers[index]
    model.config.num_hidden_layers -= 1
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [kind for i, kind in enumerate(model.config.layer_types) if i != index]
    return model


@pytest.mark.parametrize("model_type", FAMILIES)
def test_perplexity_is_the_loss_of_models_that_lack_a_block(make_family_model, token_ids, model_type):
    model = make_family_model(model_type)
    tokens = token_ids[: 5 * LENGTH]  # in batches of 4 and 1
    counted = Counted(BlocksInMemory(model))
    choice = depth.perplexity(counted, Calibration(tokens, LENGTH), 2)
    assert counted.asked == [0, 1, 2, 3, 4, 5]  # each block once
    dense = loss_of_transformers(model, tokens)
    plain = [loss_of_transformers(without_block(model, index), tokens) - dense for index in range(6)]
    # Losses of order 10 in float32, which rounds them to 1e-6, over five sequences; and batches of four instead of one.
    assert choice.scores.tolist() == pytest.approx(plain, abs=1e-5)
    assert min(abs(a - b) for i, a in enumerate(plain) for b in plain[:i]) > 1e-4  # so the order is no matter of rounding
    assert choice.blocks == tuple(sorted(sorted(range(6), key=plain.__getitem__)[:2]))


@pytest.mark.parametrize("method", ["block-influence", "perplexity", "block-magnitude"])
def test_of_equal_blocks_the_later_goes(make_model, token_ids, method):
    model = make_model()
    for block in model.model.layers:
        for parameter in block.parameters():
            parameter.data.zero_()  # x + 0 is x, to the last bit
    request = Request(method, 0.5, ModelShape(**{**vars(SHAPE), "n_layers": 4}), 688 * 4 + 8)
    plan = METHODS[method].plan(BlocksInMemory(model), Calibration(token_ids, LENGTH), request)
    assert plan.facts["blocks_dropped"] == (2, 3)
    assert len(set(plan.importance["blocks"].tolist())) == 1


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(PruningError, match="not finite, so it is damaged"):
        depth.lowest(torch.tensor([0.1, math.nan, 0.3], dtype=torch.float64), 1)


@pytest.mark.parametrize("method", [name for name in DEPTH if name != "last-blocks"])
def test_a_damaged_model_has_no_scores(make_model, token_ids, method):
    model = make_model()
    model.model.layers[1].mlp.down_proj.weight.data[3, 2] = math.nan
    request = Request(method, 0.5, SHAPE, SHAPE.n_params_non_embedding)
    with pytest.raises(ModelError, match="not finite, so it is damaged"):
        METHODS[method].plan(BlocksInMemory(model), Calibration(token_ids, LENGTH), request)


def test_each_method_says_where_it_is_from_and_whether_it_reads_text():
    assert [name for name, method in DEPTH.items() if method.calibrated] == ["block-influence", "contiguous", "perplexity"]
    assert {method.kind for method in DEPTH.values()} == {"depth"}
    assert all("arXiv:" in method.source and method.summary for method in DEPTH.values())


@pytest.mark.parametrize("option", [{"axes": ("ffn",)}, {"pattern": "2:4"}, {"scope": "layer"}])
def test_options_of_other_kinds_are_refused(make_model, token_ids, option):
    request = Request("last-blocks", 0.5, SHAPE, SHAPE.n_params_non_embedding, **option)
    with pytest.raises(PruningError, match=f"{next(iter(option))} has no meaning for the method last-blocks"):
        METHODS["last-blocks"].plan(BlocksInMemory(make_model()), Calibration(token_ids, LENGTH), request)


def test_what_a_configuration_says_of_each_block_goes_with_the_blocks(make_family_model):
    kinds = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention", "full_attention"]
    model = make_family_model("gemma3_text", layer_types=list(kinds))
    config = depth.config_without(BlocksInMemory(model), (0, 3, 4))
    assert config.num_hidden_layers == 3
    assert config.layer_types == ["full_attention", "sliding_attention", "full_attention"]
    assert model.config.layer_types == kinds
    assert family_of(config) is FAMILIES["gemma3_text"]


def request(rate, shape=SHAPE):
    return Request("contiguous", rate, shape, SHAPE.n_params_non_embedding)


@pytest.mark.parametrize(("n_drop", "rate"), [(1, 688 / 5512), (3, 2064 / 5512), (7, 4816 / 5512)])
def test_the_rate_of_blocks(n_drop, rate):
    assert rate_after(request(0.5), n_drop) == pytest.approx(rate, rel=1e-12)
    after = replace(SHAPE, n_layers=8 - n_drop).n_params_non_embedding
    assert math.isclose(rate, 1 - after / SHAPE.n_params_non_embedding, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("rate", "n_drop"), [(0.0625, 1), (0.125, 1), (0.18, 1), (0.19, 2), (0.25, 2), (0.5, 4), (0.875, 7), (0.93, 7)]
)
def test_a_rate_becomes_the_nearest_number_of_blocks(rate, n_drop):
    assert blocks_for_rate(request(rate)) == n_drop


@pytest.mark.parametrize(
    ("rate", "n_drop"),
    [(0.5, 1), (0.55, 1), (0.57, 2), (0.75, 3)],  # three of eight are gone already: 0.37446
)
def test_a_rate_counts_from_the_model_before_its_first_pruning(rate, n_drop):
    assert blocks_for_rate(request(rate, replace(SHAPE, n_layers=5))) == n_drop


@pytest.mark.parametrize(("rate", "which"), [(0.06, "no block"), (0.94, "every block")])
def test_a_rate_that_rounds_to_nothing_or_all_is_told_what_would_do(rate, which):
    with pytest.raises(PruningError) as caught:
        blocks_for_rate(request(rate))
    assert str(caught.value) == (
        f"A pruning rate of {rate} rounds to {which} of 8: "
        "with this model give a rate from 0.125 (one block) to 0.874 (all but one)."
    )
    assert blocks_for_rate(request(0.125)) == 1
    assert blocks_for_rate(request(0.874)) == 7


def test_one_block_is_too_few():
    with pytest.raises(PruningError, match="has one block"):
        blocks_for_rate(request(0.5, replace(SHAPE, n_layers=1)))
