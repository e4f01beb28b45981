"""The blocks computed our way are those of transformers."""

import pytest
import torch

from prunescale.models import FAMILIES
from prunescale.training.batches import positions_of
from prunescale.training.forward import BLOCK, attention, hidden_states, is_llama_shaped, mask_of, rotation, same_document

LONG, SHORT = 20, 7
"""Beyond the window of those families that have one, and within it."""


def logits(model, ids, **options):
    return hidden_states(model, ids, dtype=torch.float32, **options) @ model.get_output_embeddings().weight.T


@pytest.fixture
def ids():
    return torch.randint(1, 257, (2, LONG), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("length", [SHORT, LONG])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_logits_are_those_of_transformers(make_family_model, ids, family, length):
    model = make_family_model(family)
    expected = model(input_ids=ids[:, :length]).logits
    # float32 in another order: logits of order 10, errors of 1e-6 relative.
    assert torch.allclose(logits(model, ids[:, :length]), expected, atol=1e-4)


def test_which_families_are_computed_our_way(make_family_model):
    ours = {family: [is_llama_shaped(make_family_model(family), length) for length in (SHORT, LONG)] for family in FAMILIES}
    # Mistral and Qwen 2 have a window of 7 in these models; Phi 3 has fused projections, Gemma and OLMo norms elsewhere.
    assert ours == {
        "llama": [True, True],
        "mistral": [True, False],
        "qwen2": [True, False],
        "qwen3": [True, True],
        "gemma3_text": [False, False],
        "phi3": [False, False],
        "olmo2": [False, False],
    }


def test_gradients_are_those_of_transformers(make_family_model, ids):
    model = make_family_model("qwen3")
    model(input_ids=ids).logits.square().mean().backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    for recompute in (False, True):
        model.zero_grad()
        logits(model, ids, recompute=recompute).square().mean().backward()
        for name, parameter in model.named_parameters():
            assert torch.allclose(parameter.grad, expected[name], rtol=1e-3, atol=1e-4 * float(expected[name].abs().max())), name


@pytest.mark.parametrize("family", ["llama", "qwen3", "olmo2"])
@torch.no_grad()
def test_documents_do_not_see_one_another(make_family_model, ids, family):
    model = make_family_model(family)
    positions = torch.tensor([[*range(5), *range(8), *range(7)], [*range(LONG)]])
    together = logits(model, ids, positions_BL=positions)
    for first, last in ((0, 5), (5, 13), (13, 20)):
        # Rotary positions count from the window's start in the one and from the document's in the other: only their differences matter.
        assert torch.allclose(together[0, first:last], logits(model, ids[:1, first:last])[0], atol=1e-4)
    assert torch.allclose(together[1], logits(model, ids[1:])[0], atol=1e-4)
    assert not torch.allclose(together[0, 5:13], logits(model, ids)[0, 5:13], atol=0.1)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_documents_are_apart_by_blocks_as_they_are_by_a_mask(make_model):
    model = make_model(head_dim=16)
    layer = model.model.layers[0].self_attn
    torch.manual_seed(0)
    ids_BL = torch.randint(1, 9, (3, 200))
    positions_BL = positions_of(ids_BL, 1)
    x_BLD = torch.randn(3, 200, model.config.hidden_size)
    cos_LE, sin_LE = rotation(model.model.rotary_emb, x_BLD)
    with torch.no_grad():
        by_mask, by_blocks, together = (
            attention(layer, x_BLD, cos_LE, sin_LE, mask)
            for mask in (mask_of(positions_BL, fused=False), mask_of(positions_BL, fused=True), None)
        )
    torch.testing.assert_close(by_blocks, by_mask)
    assert not torch.allclose(by_mask, together, atol=1e-3)


def blocks_of(n_BHQ, found_BHQK):
    """The blocks that are listed, as true places of a (B, Q, K)."""
    batch, _, n_blocks = n_BHQ.shape
    listed = torch.zeros(batch, n_blocks, n_blocks, dtype=torch.bool)
    for row in range(batch):
        for block in range(n_blocks):
            listed[row, block, found_BHQK[row, 0, block, : n_BHQ[row, 0, block]].long()] = True
    return listed


@pytest.mark.parametrize("length", [16, 128, 129, 500, 1024])
@pytest.mark.parametrize("n_kinds", [2, 40, 400])
def test_the_blocks_are_those_with_anything_to_attend_to(length, n_kinds):
    """Documents of some tokens, of some dozens and of hundreds on average."""
    ids_BL = torch.randint(1, n_kinds + 1, (3, length), generator=torch.Generator().manual_seed(length))
    positions_BL = positions_of(ids_BL, 1)
    found = mask_of(positions_BL, fused=True)
    seen_BLL = torch.nn.functional.pad(same_document(positions_BL)[:, 0], 2 * (0, -length % BLOCK))
    n_blocks = seen_BLL.shape[1] // BLOCK
    needed_BQK = seen_BLL.view(3, n_blocks, BLOCK, n_blocks, BLOCK).any(4).any(2)
    assert torch.equal(blocks_of(found.kv_num_blocks, found.kv_indices), needed_BQK)
    assert torch.equal(blocks_of(found.q_num_blocks, found.q_indices), needed_BQK.transpose(1, 2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_fused_by_blocks_values_and_gradients_are_those_of_a_mask(make_model):
    model = make_model(head_dim=16, hidden_size=64, max_position_embeddings=1024).cuda()
    ids_BL = torch.randint(1, 300, (4, 700), generator=torch.Generator().manual_seed(0)).clamp(max=256).cuda()
    positions_BL = positions_of(ids_BL, 1)

    def loss(ids_BL):
        return logits(model, ids_BL, positions_BL=positions_BL).square().mean()

    found = {}
    for name, function in {"mask": loss, "blocks": torch.compile(loss, dynamic=False)}.items():
        model.zero_grad()
        value = function(ids_BL)
        value.backward()
        found[name] = (value.item(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    assert found["blocks"][0] == pytest.approx(found["mask"][0], rel=1e-3)
    for name, gradient in found["mask"][1].items():
        assert torch.allclose(found["blocks"][1][name], gradient, rtol=2e-2, atol=1e-2 * float(gradient.abs().max())), name
