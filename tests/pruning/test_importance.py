"""Each score against a plain implementation: the whole model in float64, hooks, a loop over units."""

import copy
from collections import defaultdict

import pytest
import torch

from prunescale.errors import PruningError
from prunescale.models import FAMILIES, BlocksInMemory, shape_of
from prunescale.pruning.importance import SCORES, importances
from prunescale.pruning.plan import Calibration

L = 16
N = 10  # sequences: batches of 4, 4 and 2

CASES = [
    *((family, {}) for family in FAMILIES),
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("mistral", {"num_key_value_heads": 1}),
    ("phi3", {"num_key_value_heads": 1}),
    ("olmo2", {"num_key_value_heads": 6, "attention_bias": True}),
    ("gemma3_text", {"tie_word_embeddings": False}),
]


@pytest.fixture(params=CASES, ids=lambda case: "-".join([case[0], *case[1]]))
def model(request, make_family_model):
    family, settings = request.param
    return make_family_model(family, **settings)


@pytest.fixture
def calibration(token_ids):
    return Calibration(token_ids[: N * L + 3], L)


class Plain:
    """The parts of a model by plain names, with what belongs to each weight, and the sums of that over units in loops."""

    def __init__(self, model):
        self.model = model
        self.config = model.config
        self.n_units = self.config.num_key_value_heads if self.config.num_key_value_heads > 1 else self.config.num_attention_heads
        self.queries = self.config.num_attention_heads * self.config.head_dim
        self.keys = self.config.num_key_value_heads * self.config.head_dim

    def parts(self, layer):
        """(module, its rows) by name."""
        attention, mlp = layer.self_attn, layer.mlp
        q, kv, f = self.queries, self.keys, self.config.intermediate_size
        if hasattr(attention, "qkv_proj"):
            yield "q", attention.qkv_proj, slice(0, q)
            yield "k", attention.qkv_proj, slice(q, q + kv)
            yield "v", attention.qkv_proj, slice(q + kv, q + 2 * kv)
            yield "gate", mlp.gate_up_proj, slice(0, f)
            yield "up", mlp.gate_up_proj, slice(f, 2 * f)
        else:
            for name in ("q", "k", "v"):
                yield name, getattr(attention, f"{name}_proj"), slice(None)
            yield "gate", mlp.gate_proj, slice(None)
            yield "up", mlp.up_proj, slice(None)
        yield "o", attention.o_proj, slice(None)
        yield "down", mlp.down_proj, slice(None)

    def summed(self, of_weight, of_bias):
        """By unit, what two functions of a module give for each weight and each bias."""
        ffn, heads, hidden = [], [], 0
        for layer in self.model.model.layers:
            weight, bias = {}, {}
            for name, module, rows in self.parts(layer):
                weight[name] = of_weight(module)[rows]
                bias[name] = of_bias(module)[rows] if module.bias is not None else torch.zeros(len(weight[name]))
            ffn.append(
                [
                    sum(weight[name][i].sum() + bias[name][i] for name in ("gate", "up")) + weight["down"][:, i].sum()
                    for i in range(self.config.intermediate_size)
                ]
            )
            heads.append([self.head(weight, bias, unit) for unit in range(self.n_units)])
            hidden = hidden + sum(weight[name].sum(0) for name in ("q", "k", "v", "gate", "up"))
            hidden = hidden + sum(weight[name].sum(1) + bias[name] for name in ("o", "down"))
        return {"ffn": torch.tensor(ffn), "heads": torch.tensor(heads), "hidden": hidden}

    def head(self, weight, bias, unit):
        size = self.queries // self.n_units
        mine = slice(unit * size, (unit + 1) * size)
        total = weight["q"][mine].sum() + bias["q"][mine].sum() + weight["o"][:, mine].sum()
        if self.config.num_key_value_heads > 1:
            mine = slice(unit * self.config.head_dim, (unit + 1) * self.config.head_dim)
            total += sum(part[name][mine].sum() for part in (weight, bias) for name in ("k", "v"))
        return total


def inputs_of(model, ids):
    """By module, what it reads: (N, L, I)."""
    seen = defaultdict(list)
    handles = [
        module.register_forward_pre_hook(lambda module, args: seen[module].append(args[0].detach()))
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    for one in ids:
        model(one[None])
    for handle in handles:
        handle.remove()
    return {module: torch.cat(parts) for module, parts in seen.items()}


@torch.no_grad()
def plain_activation(model, ids):
    plain, inputs = Plain(model), inputs_of(model, ids)

    def aggregated(sizes):  # (N, L, units)
        return sizes.mean(1).square().sum(0).sqrt()

    ffn, heads, hidden = [], [], 0
    for layer in model.model.layers:
        modules = {name: module for name, module, _ in plain.parts(layer)}
        ffn.append(aggregated(inputs[modules["down"]].abs()))
        outputs = inputs[modules["o"]]
        heads.append(aggregated(torch.stack([part.norm(dim=-1) for part in outputs.chunk(plain.n_units, -1)], -1)))
        hidden = hidden + aggregated(inputs[modules["q"]].abs()) + aggregated(inputs[modules["gate"]].abs())
    return {"ffn": torch.stack(ffn), "heads": torch.stack(heads), "hidden": hidden}


@torch.no_grad()
def plain_wanda(model, ids):
    plain, inputs = Plain(model), inputs_of(model, ids)
    ffn, heads, hidden = [], [], 0
    for layer in model.model.layers:
        # A fused projection comes once.
        square = {
            module: (module.weight.abs() * inputs[module].flatten(0, 1).norm(dim=0)) ** 2 for _, module, _ in plain.parts(layer)
        }
        ffn.append(square.pop(layer.mlp.down_proj).sum(0))
        heads.append(torch.stack([part.sum() for part in square.pop(layer.self_attn.o_proj).chunk(plain.n_units, 1)]))
        hidden = hidden + sum(part.sum(0) for part in square.values())
    return {"ffn": torch.stack(ffn).sqrt(), "heads": torch.stack(heads).sqrt(), "hidden": hidden.sqrt()}


@torch.no_grad()
def plain_magnitude(model, ids):
    scores = Plain(model).summed(lambda module: module.weight**2, lambda module: module.bias**2)
    scores["hidden"] += (model.model.embed_tokens.weight**2).sum(0)
    if not model.config.tie_word_embeddings:
        scores["hidden"] += (model.lm_head.weight**2).sum(0)
    return {name: score.sqrt() for name, score in scores.items()}


def plain_taylor(model, ids):
    model.requires_grad_(True)
    model(ids, labels=ids).loss.backward()
    with torch.no_grad():
        scores = Plain(model).summed(
            lambda module: (module.weight * module.weight.grad) ** 2, lambda module: (module.bias * module.bias.grad) ** 2
        )
        embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
        scores["hidden"] += ((embedding * embedding.grad) ** 2).sum(0)
        if head is not embedding:
            scores["hidden"] += ((head * head.grad) ** 2).sum(0)
    return {name: score.sqrt() for name, score in scores.items()}


PLAIN = {
    "width-activation": plain_activation,
    "width-wanda": plain_wanda,
    "width-magnitude": plain_magnitude,
    "width-taylor": plain_taylor,
}


@pytest.mark.parametrize("method", SCORES)
def test_scores_are_those_of_a_plain_implementation(model, calibration, method):
    scores = importances(BlocksInMemory(model), calibration, method)
    ids = calibration.tokens[: N * L].view(N, L)
    expected = PLAIN[method](copy.deepcopy(model).double(), ids)
    shape = shape_of(model.config)
    units = shape.n_kv_heads if shape.n_kv_heads > 1 else shape.n_heads
    assert {name: tuple(score.shape) for name, score in scores.items()} == {
        "ffn": (6, 40),
        "heads": (6, units),
        "hidden": (24,),
    }
    for name, score in scores.items():
        assert score.dtype == torch.float32
        # Rounding to float32 in six blocks forward, and for the gradients backward.
        torch.testing.assert_close(score.double(), expected[name].double(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", SCORES)
def test_the_model_is_left_as_it_was(make_family_model, calibration, method):
    model = make_family_model("qwen2").requires_grad_(True)
    model.lm_head.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    followed = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    importances(BlocksInMemory(model), calibration, method)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == followed
    assert all(parameter.grad is None for parameter in model.parameters())


def test_activation_scores_do_not_depend_on_the_batch(make_family_model, token_ids):
    blocks = BlocksInMemory(make_family_model("llama"))
    alone, together = (importances(blocks, Calibration(token_ids[: N * L], L, batch), "width-activation") for batch in (1, N))
    for name in alone:
        torch.testing.assert_close(alone[name], together[name])


@pytest.mark.parametrize("method", SCORES)
def test_a_damaged_model_is_refused(make_family_model, calibration, method):
    model = make_family_model("llama")
    model.model.layers[2].mlp.up_proj.weight.data[:] = 3e38  # finite, but no sum of products with it is
    with pytest.raises(PruningError, match="damaged"):
        importances(BlocksInMemory(model), calibration, method)
