import pytest
import torch

from prunescale.models import FAMILIES, Family, Part
from prunescale.pruning.cut import cut_block, cut_ends, growth_of, rows_kept, scaled
from prunescale.shape import ModelShape

# Sizes by axis: hidden 4, ffn 3, query 8, key_value 4, head 2, vocabulary 5.
SHAPE = ModelShape(n_layers=1, hidden_size=4, ffn_size=3, n_heads=4, n_kv_heads=2, head_dim=2, vocab_size=5, tied_embeddings=True)
KEPT = {
    "hidden": torch.tensor([0, 3]),
    "ffn": torch.tensor([1]),
    "query": torch.tensor([4, 5, 6, 7]),
    "key_value": torch.tensor([2, 3]),
}


def test_rows_of_a_fused_projection_are_cut_axis_by_axis():
    part = Part("qkv", ("query", "key_value", "key_value"), "hidden")
    # 8 rows of queries, from 8 the keys, from 12 the values.
    assert rows_kept(part, SHAPE, KEPT).tolist() == [4, 5, 6, 7, 10, 11, 14, 15]
    assert rows_kept(part, SHAPE, {"key_value": KEPT["key_value"]}).tolist() == [*range(8), 10, 11, 14, 15]
    assert rows_kept(part, SHAPE, {"hidden": KEPT["hidden"]}) is None


def test_rows_columns_and_biases():
    family = Family(block=(Part("up", ("ffn",), "hidden"), Part("down", ("hidden",), "ffn")))
    up, down, bias = torch.arange(12.0).view(3, 4), torch.arange(12.0).view(4, 3), torch.arange(3.0)
    cut = cut_block({"up.weight": up, "up.bias": bias, "down.weight": down}, family, SHAPE, KEPT)
    assert cut["up.weight"].tolist() == [[4, 7]]
    assert cut["up.bias"].tolist() == [1]
    assert cut["down.weight"].tolist() == [[1], [10]]
    assert list(cut) == ["up.weight", "up.bias", "down.weight"]


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_a_norm_gives_the_same_once_zeros_are_gone(offset):
    state = torch.tensor([3.0, 0.0, 0.0, -1.0])
    weight = torch.tensor([0.5, 7.0, 7.0, 2.0])

    def norm(state, weight):
        return state * state.square().mean().rsqrt() * (weight + offset)

    family = Family(block=(Part("norm", ("hidden",)),), norm_offset=offset)
    cut = cut_block({"norm.weight": weight}, family, SHAPE, KEPT)["norm.weight"]
    torch.testing.assert_close(norm(state[[0, 3]], cut), norm(state, weight)[[0, 3]])
    # Two of four entries stay: the weight grows by sqrt(2).
    torch.testing.assert_close(cut, (torch.tensor([0.5, 2.0]) + offset) * 2**0.5 - offset)


def test_norms_over_all_queries_grow_and_norms_over_a_head_stay():
    family = Family(block=(Part("q_norm", ("query",)), Part("head_norm", ("head",))))
    cut = cut_block({"q_norm.weight": torch.ones(8), "head_norm.weight": torch.ones(2)}, family, SHAPE, KEPT)
    torch.testing.assert_close(cut["q_norm.weight"], torch.full((4,), 2**0.5))
    assert cut["head_norm.weight"].tolist() == [1, 1]


def test_what_is_not_cut_is_equal_and_a_copy():
    family = Family(block=(Part("up", ("ffn",), "hidden"), Part("norm", ("hidden",))), norm_offset=1.0)
    tensors = {"up.weight": torch.randn(3, 4), "norm.weight": torch.randn(4)}
    cut = cut_block(tensors, family, SHAPE, {})
    for name, value in tensors.items():
        assert torch.equal(cut[name], value)
        assert cut[name].data_ptr() != value.data_ptr()


def ends(family):
    torch.manual_seed(0)
    return {f"{family.embedding.path}.weight": torch.randn(5, 4), f"{family.norm.path}.weight": torch.randn(4)}


def test_embedding_and_norm_at_the_end():
    family = FAMILIES["llama"]
    before, cut = ends(family), cut_ends(ends(family), family, SHAPE, KEPT)
    assert torch.equal(cut["model.embed_tokens.weight"], before["model.embed_tokens.weight"][:, [0, 3]])
    torch.testing.assert_close(cut["model.norm.weight"], before["model.norm.weight"][[0, 3]] * 2**0.5)


def test_a_scaled_embedding_makes_up_for_its_scale_and_the_norm_for_the_embedding():
    family = FAMILIES["gemma3_text"]
    before, cut = ends(family), cut_ends(ends(family), family, SHAPE, KEPT)
    # sqrt(4) times an entry before, sqrt(2) times sqrt(2) times it after.
    torch.testing.assert_close(cut["model.embed_tokens.weight"], before["model.embed_tokens.weight"][:, [0, 3]] * 2**0.5)
    # The norm's sqrt(2) is now in the head.
    torch.testing.assert_close(cut["model.norm.weight"], before["model.norm.weight"][[0, 3]])


def test_growth():
    assert growth_of("hidden", SHAPE, KEPT) == 2**0.5
    assert growth_of("ffn", SHAPE, KEPT) == 3**0.5


def test_scaling_rounds_once():
    weight = torch.tensor([0.1, -0.3], dtype=torch.bfloat16)
    expected = ((weight.double() + 1) * 1.1 - 1).to(torch.bfloat16)
    assert torch.equal(scaled(weight, 1.1, 1.0), expected)
