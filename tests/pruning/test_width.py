"""Width pruning from the request to a model that plain transformers loads."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from prunescale.errors import PruningError
from prunescale.models import FAMILIES, BlocksInMemory, BlocksOnDisk, shape_of
from prunescale.pruning.importance import importances
from prunescale.pruning.plan import Calibration, Request
from prunescale.pruning.prune import carried_out
from prunescale.pruning.sizes import AXES
from prunescale.pruning.width import DEFAULT_AXES, WIDTH, entries, highest

L = 16
SIZES = {"intermediate_size": 48, "num_hidden_layers": 3}
BIASES = {"llama": {"attention_bias": True, "mlp_bias": True}, "olmo2": {"attention_bias": True}}

SMALLER = {
    ("ffn",): {"ffn_size": 32},
    ("heads",): {"n_heads": 4, "n_kv_heads": 2},
    ("hidden",): {"hidden_size": 18},
    AXES: {"ffn_size": 32, "n_heads": 4, "n_kv_heads": 2, "hidden_size": 16},
}
"""From 48, 6 with 3, 24: with all axes two thirds of each."""


@pytest.fixture
def calibration(token_ids):
    return Calibration(token_ids[: 10 * L], L)


def request_for(model, method, axes, sizes=None, rate=None, **options):
    """What is to be asked for so that the sizes come out."""
    shape = shape_of(model.config)
    n = shape.n_params_non_embedding
    rate = rate or 1 - replace(shape, **(sizes or SMALLER[axes])).n_params_non_embedding / n
    return Request(method, rate, shape, n, axes=axes, **options)


def planned(model, calibration, method, axes, **options):
    blocks = BlocksInMemory(model)
    return WIDTH[method].plan(blocks, calibration, request_for(model, method, axes, **options)), blocks


def pruned(model, calibration, method, axes, **options):
    return carried_out(*planned(model, calibration, method, axes, **options)).eval()


@torch.no_grad()
def logits(model, ids):
    return model(ids).logits


def axis_rows(part, shape):
    """(axis, its rows) of a part, by the sizes that the axes have."""
    sizes = {"hidden": shape.hidden_size, "ffn": shape.ffn_size, "query": shape.query_size, "key_value": shape.key_value_size}
    start = 0
    for axis in part.rows:
        end = start + sizes.get(axis, 0)
        yield axis, start, end
        start = end


def make_zero(model, sizes):
    """Make units zero, in place, another choice in each block, so that these sizes would do. Gives back which, by block."""
    family, shape = FAMILIES[model.config.model_type], shape_of(model.config)
    draw = torch.Generator().manual_seed(3)

    def some(size, n):
        return torch.randperm(size, generator=draw)[:n]

    hidden = some(shape.hidden_size, shape.hidden_size - sizes.get("hidden_size", shape.hidden_size))
    gone = []
    for block in model.model.layers:
        groups = some(shape.n_kv_heads, shape.n_kv_heads - sizes.get("n_kv_heads", shape.n_kv_heads))
        of_axis = {
            "hidden": hidden,
            "ffn": some(shape.ffn_size, shape.ffn_size - sizes.get("ffn_size", shape.ffn_size)),
            "query": entries(groups, shape.query_size // shape.n_kv_heads),
            "key_value": entries(groups, shape.head_dim),
        }
        for part in family.linears:
            module = block.get_submodule(part.path)
            for axis, start, _ in axis_rows(part, shape):
                module.weight.data[start + of_axis[axis]] = 0
                if module.bias is not None:
                    module.bias.data[start + of_axis[axis]] = 0
            module.weight.data[:, of_axis[part.columns]] = 0
        gone.append((set(of_axis["ffn"].tolist()), set(groups.tolist())))
    model.model.embed_tokens.weight.data[:, hidden] = 0
    model.lm_head.weight.data[:, hidden] = 0
    return gone, set(hidden.tolist())


@pytest.mark.parametrize("axes", SMALLER, ids="+".join)
@pytest.mark.parametrize("method", WIDTH)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_zero_goes_and_is_not_missed(make_family_model, calibration, token_ids, family, method, axes):
    # Norms divide by the root of mean square + epsilon, and the mean square grows when zeros go while epsilon stays: with
    # an epsilon that is nothing beside it, what is left is rounding to float32.
    model = make_family_model(family, **SIZES, rms_norm_eps=1e-12, **BIASES.get(family, {}))
    gone, hidden = make_zero(model, SMALLER[axes])
    plan, blocks = planned(model, calibration, method, axes)
    assert plan.facts == {"sizes": SMALLER[axes]}
    for name, of_blocks in (("ffn", [ffn for ffn, _ in gone]), ("heads", [groups for _, groups in gone]), ("hidden", [hidden])):
        scores = plan.importance[name] if name != "hidden" else plan.importance[name][None]
        for score, zero in zip(scores, of_blocks, strict=True):
            assert set((score == 0).nonzero().flatten().tolist()) == zero
    after = carried_out(plan, blocks).eval()
    before = logits(model, token_ids[None, :60])
    torch.testing.assert_close(logits(after, token_ids[None, :60]), before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_ordinary_epsilon_makes_little_difference(make_family_model, calibration, token_ids, family):
    # 1e-6 to 1e-5 beside mean squares of 0.04 at the first norm and more later.
    model = make_family_model(family, **SIZES)
    make_zero(model, SMALLER[AXES])
    before = logits(model, token_ids[None, :60])
    after = logits(pruned(model, calibration, "width-activation", AXES), token_ids[None, :60])
    torch.testing.assert_close(after, before, rtol=1e-2, atol=1e-2 * float(before.abs().max()))


@pytest.mark.parametrize("axes", SMALLER, ids="+".join)
@pytest.mark.parametrize("family", FAMILIES)
def test_plain_transformers_loads_and_runs_the_result(tmp_path, make_family_model, calibration, token_ids, family, axes):
    model = make_family_model(family, **SIZES, **BIASES.get(family, {}))
    after = pruned(model, calibration, "width-wanda", axes)
    after.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    shape = replace(shape_of(model.config), **SMALLER[axes])
    assert shape_of(after.config) == shape_of(loaded.config) == shape
    ids = token_ids[None, :40]
    whole = logits(after, ids)
    assert torch.equal(logits(loaded, ids), whole)
    # Parameters, counted, are those of the arithmetic.
    ends = {"model.embed_tokens.weight", "lm_head.weight"}
    assert sum(value.numel() for name, value in loaded.named_parameters() if name not in ends) == shape.n_params_non_embedding
    # One token at a time with a cache gives what the whole sequence gives, and generation agrees.
    with torch.no_grad():
        cache = loaded(ids[:, :25], use_cache=True).past_key_values
        for position in range(25, 40):
            step = loaded(ids[:, position : position + 1], past_key_values=cache, use_cache=True)
            torch.testing.assert_close(step.logits[:, 0], whole[:, position], rtol=1e-3, atol=1e-3 * float(whole.abs().max()))
        with_cache, without = (
            loaded.generate(ids[:, :12], max_new_tokens=12, do_sample=False, use_cache=use_cache) for use_cache in (True, False)
        )
    assert torch.equal(with_cache, without)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_units_that_stay_are_those_of_the_plan_and_the_rest_is_the_base(make_family_model, calibration, family):
    model = make_family_model(family, **SIZES)
    after = pruned(model, calibration, "width-activation", ("ffn",))
    scores = importances(BlocksInMemory(model), calibration, "width-activation")["ffn"]
    for score, old, new in zip(scores, model.model.layers, after.model.layers, strict=True):
        stay = sorted(range(48), key=lambda unit: -score[unit])[:32]
        assert torch.equal(new.mlp.down_proj.weight, old.mlp.down_proj.weight[:, sorted(stay)])
        assert torch.equal(new.self_attn.o_proj.weight, old.self_attn.o_proj.weight)
    assert torch.equal(after.lm_head.weight, model.lm_head.weight)


@pytest.mark.parametrize("method", WIDTH)
@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_on_disk_give_the_same(tmp_path, make_family_model, calibration, family, method):
    model = make_family_model(family, **SIZES)
    model.save_pretrained(tmp_path)
    request = request_for(model, method, AXES)
    memory = BlocksInMemory(model)
    with BlocksOnDisk(tmp_path, model.config, dtype=torch.float32, device=torch.device("cpu")) as disk:
        plans = [(WIDTH[method].plan(blocks, calibration, request), blocks) for blocks in (memory, disk)]
        one_state, other_state = (carried_out(plan, blocks).state_dict() for plan, blocks in plans)
    (one, _), (other, _) = plans
    assert one.facts == other.facts
    assert one.importance.keys() == other.importance.keys() == {"ffn", "heads", "hidden"}
    assert all(torch.equal(one.importance[name], other.importance[name]) for name in one.importance)
    assert one_state.keys() == other_state.keys()
    assert all(torch.equal(one_state[name], other_state[name]) for name in one_state)


@pytest.mark.parametrize("method", WIDTH)
def test_the_base_is_left_as_it_was(make_family_model, calibration, method):
    model = make_family_model("gemma3_text", **SIZES)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = model.config.to_dict()
    after = pruned(model, calibration, method, AXES)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.config.to_dict() == config


@pytest.mark.parametrize("family", FAMILIES)
def test_where_all_share_one_key_query_heads_go(make_family_model, calibration, token_ids, family):
    model = make_family_model(family, num_key_value_heads=1, num_hidden_layers=3)
    after = pruned(model, calibration, "width-activation", ("heads",), sizes={"n_heads": 4})
    assert (after.config.num_attention_heads, after.config.num_key_value_heads) == (4, 1)
    assert logits(after, token_ids[None, :20]).isfinite().all()


def test_the_last_group_of_heads_can_stay_alone(make_family_model, calibration, token_ids):
    model = make_family_model("qwen3", num_hidden_layers=3)
    after = pruned(model, calibration, "width-activation", ("heads",), sizes={"n_heads": 2, "n_kv_heads": 1})
    assert (after.config.num_attention_heads, after.config.num_key_value_heads) == (2, 1)
    assert logits(after, token_ids[None, :20]).isfinite().all()


def test_the_feed_forward_is_the_default(make_family_model, calibration):
    assert DEFAULT_AXES == ("ffn",)
    plan, _ = planned(make_family_model("llama"), calibration, "width-magnitude", None, rate=0.2)
    assert list(plan.facts["sizes"]) == ["ffn_size"]


LONG_ROPE = {
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0, 1.5],
        "long_factor": [1.0, 4.0],
        "partial_rotary_factor": 1.0,
        "original_max_position_embeddings": 64,
    },
    "original_max_position_embeddings": 64,
}


def test_phi3_with_long_rope_keeps_the_ratio_that_its_configuration_asks_for(tmp_path, make_family_model, calibration, token_ids):
    model = make_family_model("phi3", **SIZES, **LONG_ROPE)
    for axes in (("hidden",), ("heads",)):
        with pytest.raises(PruningError, match="allows no smaller size"):
            planned(model, calibration, "width-magnitude", axes, rate=0.2)
    after = pruned(model, calibration, "width-magnitude", AXES)
    after.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(loaded, token_ids[None, :20]), logits(after, token_ids[None, :20]))


def test_phi3_that_turns_a_part_of_each_head(tmp_path, make_family_model, calibration, token_ids):
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    model = make_family_model("phi3", **SIZES, rms_norm_eps=1e-12, rope_parameters=rope)
    make_zero(model, SMALLER[AXES])
    after = pruned(model, calibration, "width-wanda", AXES)
    after.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert loaded.config.rope_parameters["partial_rotary_factor"] == 0.5
    before = logits(model, token_ids[None, :60])
    torch.testing.assert_close(logits(loaded, token_ids[None, :60]), before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))


@pytest.mark.parametrize("axes", [(), ("width",), ("ffn", "ffn"), ("ffn", "depth")])
def test_axes_that_are_none_are_refused(make_family_model, calibration, axes):
    with pytest.raises(PruningError, match="one or more of ffn, heads, hidden"):
        planned(make_family_model("llama"), calibration, "width-magnitude", axes, rate=0.2)


@pytest.mark.parametrize(("option", "value"), [("pattern", "2:4"), ("scope", "global")])
def test_options_without_meaning_are_refused(make_family_model, calibration, option, value):
    with pytest.raises(PruningError, match=f"{option} has no meaning"):
        planned(make_family_model("llama"), calibration, "width-magnitude", ("ffn",), rate=0.2, **{option: value})


def test_the_highest_stay_in_order_and_of_equals_the_earlier():
    assert highest(torch.tensor([0.5, 2.0, 0.5, 1.0, 0.5]), 3).tolist() == [0, 1, 3]
    assert entries(torch.tensor([0, 2]), 3).tolist() == [0, 1, 2, 6, 7, 8]
