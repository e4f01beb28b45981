"""2:4 weights: which layers are, and on a GPU that the kernels compute what dense ones do."""

import pytest
import torch

from prunescale.inference import Conversion, semi_structured_copy, survey, two_of_four, weight_bytes, why_no_kernels

BIG = {"hidden_size": 64, "intermediate_size": 192, "num_attention_heads": 2, "num_key_value_heads": 2}


def make_two_of_four_(model, *, but=()):
    """The smallest two of each four weights in the blocks become zero, in place, save in the layers whose name is in `but`."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "layers." in name and not any(part in name for part in but):
            groups = parameter.data.reshape(-1, 4)
            groups.scatter_(1, groups.abs().topk(2, largest=False).indices, 0.0)
            parameter.data = groups.reshape(parameter.shape)
    return model


@pytest.mark.parametrize(
    ("row", "is_one"),
    [
        ([1, 0, 0, 2, 0, 0, 0, 0], True),
        ([1, 0, 3, 2, 0, 0, 0, 0], False),  # three of the first four
        ([0, 0, 1, 2, 3, 4, 0, 0], True),  # four in a row, but of two groups
        ([1, 0, 0, 2, 1, 1], False),  # a row that groups of four do not fill
    ],
)
def test_two_of_four_counts_in_groups_along_rows(row, is_one):
    assert two_of_four(torch.tensor([row, [0] * len(row)], dtype=torch.float32)) is is_one


def test_layers_that_are_not_two_of_four_or_of_a_wrong_shape_are_told_apart(make_model):
    model = make_two_of_four_(make_model(**{**BIG, "intermediate_size": 72}, num_hidden_layers=1), but=["o_proj"])
    attention, ffn = "model.layers.0.self_attn.", "model.layers.0.mlp."
    assert survey(model) == Conversion(
        converted=(f"{attention}q_proj", f"{attention}k_proj", f"{attention}v_proj"),
        wrong_shape=(f"{ffn}gate_proj", f"{ffn}up_proj", f"{ffn}down_proj"),  # 72 is no multiple of 32
        not_two_of_four=(f"{attention}o_proj", "lm_head"),
    )


def test_a_cpu_has_no_kernels():
    assert why_no_kernels(torch.device("cpu"), torch.bfloat16) == "2:4 kernels need an NVIDIA GPU, and the device is cpu"


def test_an_old_gpu_and_wide_numbers_have_none(monkeypatch):
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "compute capability 8.0 or more, and this one has 7.5" in why_no_kernels(gpu, torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert "computed in float32" in why_no_kernels(gpu, torch.float32)
    assert why_no_kernels(gpu, torch.bfloat16) is None


def test_a_copy_shares_what_is_not_converted(make_model, monkeypatch):
    monkeypatch.setattr("prunescale.inference.semi_structured.to_sparse_semi_structured", torch.clone)
    model = make_two_of_four_(make_model(**BIG))
    converted = model.model.layers[0].mlp.up_proj.weight
    sparse, conversion = semi_structured_copy(model)
    assert len(conversion.converted) == 7 * 4
    assert sparse.lm_head.weight is model.lm_head.weight is model.model.embed_tokens.weight
    assert sparse.model.layers[0].mlp.up_proj.weight is not converted
    assert model.model.layers[0].mlp.up_proj.weight is converted
    ids_BL = torch.arange(1, 9)[None]
    assert torch.equal(sparse(ids_BL).logits, model(ids_BL).logits)


def fails(weight_OI):
    raise RuntimeError("supported on other GPUs only\nat line 1")


@pytest.mark.parametrize(
    ("kernels", "reason"),
    [
        (fails, "a weight of 64 x 64 fails (supported on other GPUs only)"),
        (lambda weight_OI: 1.1 * weight_OI, "1 rows times a weight of 64 x 64 are not what dense kernels give"),
        (lambda weight_OI: weight_OI * float("nan"), "1 rows times a weight of 64 x 64 are not what dense kernels give"),
    ],
)
def test_layers_whose_kernels_fail_or_are_wrong_stay_dense(make_model, monkeypatch, kernels, reason):
    monkeypatch.setattr(
        "prunescale.inference.semi_structured.to_sparse_semi_structured",
        lambda weight_OI: kernels(weight_OI) if weight_OI.shape == (64, 64) else weight_OI.clone(),
    )
    model = make_two_of_four_(make_model(**BIG, num_hidden_layers=1))
    sparse, conversion = semi_structured_copy(model)
    # Queries, keys, values and their output are 64 x 64; the feed-forward is 192 x 64 and 64 x 192.
    assert conversion.refused == tuple(f"model.layers.0.self_attn.{name}_proj" for name in "qkvo")
    assert conversion.converted == tuple(f"model.layers.0.mlp.{name}_proj" for name in ("gate", "up", "down"))
    assert conversion.reason == reason
    ids_BL = torch.arange(1, 9)[None]
    assert torch.equal(sparse(ids_BL).logits, model(ids_BL).logits)


@pytest.mark.gpu
@pytest.mark.skipif(
    why_no_kernels(torch.device("cuda" if torch.cuda.is_available() else "cpu"), torch.bfloat16) is not None,
    reason="needs a GPU with 2:4 kernels",
)
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_kernels_give_the_logits_of_dense_ones(make_model, batch):
    settings = {**BIG, "hidden_size": 256, "intermediate_size": 512, "initializer_range": 0.05}
    model = make_two_of_four_(make_model(**settings)).to("cuda", torch.bfloat16)
    sparse, conversion = semi_structured_copy(model)
    assert len(conversion.converted) == 7 * 4
    ids_BL = torch.randint(1, 257, (batch, 17), generator=torch.Generator().manual_seed(1)).cuda()
    with torch.no_grad():
        expected, found = model(ids_BL).logits.float(), sparse(ids_BL).logits.float()
    # bfloat16 has 8 bits: sums in another order differ by some 2^-8 of the size of the logits, over four blocks a few times that.
    assert float((found - expected).norm() / expected.norm()) < 0.03
    weights = sum(model.get_submodule(path).weight.nbytes for path in conversion.converted)
    assert weight_bytes(model) - weight_bytes(sparse) == pytest.approx(weights * 7 / 16)


@pytest.mark.gpu
@pytest.mark.skipif(
    why_no_kernels(torch.device("cuda" if torch.cuda.is_available() else "cpu"), torch.bfloat16) is not None,
    reason="needs a GPU with 2:4 kernels",
)
def test_the_kernels_take_inputs_that_are_not_in_one_piece(make_model):
    model = make_two_of_four_(make_model(**BIG)).to("cuda", torch.bfloat16)
    sparse, _ = semi_structured_copy(model)
    layers = [each.model.layers[0].mlp.up_proj for each in (model, sparse)]
    x_BLI = torch.randn(5, 8, layers[0].in_features, device="cuda", dtype=torch.bfloat16).transpose(0, 1)
    with torch.no_grad():
        expected, found = (layer(x_BLI) for layer in layers)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
