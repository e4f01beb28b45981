"""Timing in turn, and what comes of the times."""

import sys

import pytest
import torch

from prunescale.errors import ModelError
from prunescale.inference import Contender, Rates, Spread, compare, weight_bytes
from prunescale.inference.measure import Round, decoding_rate, prompts

comparing, measuring = (
    sys.modules[f"prunescale.inference.{name}"] for name in ("compare", "measure")
)  # `compare` alone is the function
REQUEST = {"batch_sizes": (1, 2), "prompt_tokens": 5, "new_tokens": 4, "rounds": 3, "compiled": False}


@pytest.fixture(autouse=True)
def rates(monkeypatch):
    monkeypatch.setattr(comparing, "measured_rates", lambda device, dtype: Rates(copy=1e9, matmul=1e10))


def test_a_spread_is_the_median_with_percentiles():
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0], 0, 100) == Spread(3.0, 1.0, 5.0)
    assert Spread.of([0.0, 10.0], 10, 90) == Spread(5.0, 1.0, 9.0)


def test_the_rate_of_decoding_leaves_out_the_first_token():
    assert decoding_rate(Round(prefill=100.0, decoding=2.0), batch_size=8, new_tokens=6) == 8 * 5 / 2


def test_shared_weights_are_counted_once(make_model):
    tied = make_model(tied=True)
    assert weight_bytes(tied) == 4 * sum(parameter.numel() for parameter in tied.parameters())
    assert weight_bytes(make_model(tied=False)) - weight_bytes(tied) == 4 * 257 * 16


def test_prompts_are_the_same_each_time():
    made = [prompts(50, batch_size=2, prompt_tokens=7, device=torch.device("cpu")) for _ in range(2)]
    assert made[0].shape == (2, 7)
    assert torch.equal(*made)


def test_contenders_take_turns_forth_and_back(monkeypatch):
    asked = []
    monkeypatch.setattr(comparing, "timed", lambda decoder: asked.append(decoder) or Round(1.0, 2.0))
    times = comparing.in_turn(["a", "b"], 3)
    assert asked == ["a", "b", "b", "a", "a", "b"]
    assert [len(each) for each in times] == [3, 3]


def test_ratios_are_of_the_rounds_and_not_of_the_medians(make_model, monkeypatch):
    # The parent takes 2, 4, 8 s of decoding and 1 s of prefill, the child half of that and 0.5 s: in each round twice as fast, however
    # the machine was slowed from round to round.
    taken = [[Round(1.0, 2.0), Round(1.0, 4.0), Round(1.0, 8.0)], [Round(0.5, 1.0), Round(0.5, 2.0), Round(0.5, 4.0)]]
    monkeypatch.setattr(comparing, "in_turn", lambda decoders, rounds: taken)
    parent, child = make_model(), make_model(num_hidden_layers=2)
    found = compare([Contender("base", parent), Contender("pruned", child)], **REQUEST)
    assert [(each.model, each.batch_size) for each in found.speeds] == [("base", 1), ("pruned", 1), ("base", 2), ("pruned", 2)]
    ratio = found.ratios[1]
    assert (ratio.model, ratio.batch_size) == ("pruned", 2)
    assert ratio.tokens_per_second == Spread(2.0, 2.0, 2.0)
    assert ratio.seconds_to_first_token == Spread(0.5, 0.5, 0.5)
    assert ratio.weight_bytes == weight_bytes(child) / weight_bytes(parent)
    assert ratio.peak_memory_bytes is None
    base = found.speeds[2]
    assert base.tokens_per_second.median == 2 * 3 / 4.0
    # A step took 4 / 3 s; the floor of one is that of the arithmetic.
    assert base.times_floor == pytest.approx(4 / 3 / base.floor.step)
    assert base.prefill_share == base.floor.prefill / 1.0
    # All weights are read, the embedding as the head that it is tied to.
    assert base.floor.reading == pytest.approx((weight_bytes(parent) + 2 * 4 * 8 * 9 * 2 * 4) / 1e9)


def test_an_untied_embedding_is_not_read(make_model):
    model = make_model(tied=False)
    (speed,) = compare([Contender("base", model)], **{**REQUEST, "batch_sizes": (1,)}).speeds
    assert speed.floor.reading == pytest.approx((weight_bytes(model) - 4 * 257 * 16 + 2 * 4 * 8 * 9 * 4) / 1e9)
    assert speed.seconds_to_first_token.low > 0
    assert (speed.compiled, speed.recorded, speed.notes) == (False, False, ())


def test_too_many_tokens_are_refused_before_anything_is_timed(make_model, monkeypatch):
    monkeypatch.setattr(measuring, "timed", None)
    with pytest.raises(ModelError, match="takes 8 tokens"):
        compare([Contender("a", make_model()), Contender("b", make_model(max_position_embeddings=8))], **REQUEST)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_memory_is_that_of_one_contender(make_model):
    models = [make_model(hidden_size=512, intermediate_size=n_channels).cuda() for n_channels in (4096, 1024)]
    found = compare([Contender(str(index), model) for index, model in enumerate(models)], **REQUEST)
    for speed in found.speeds:
        assert speed.recorded
        assert speed.weight_bytes < speed.peak_memory_bytes < 2 * speed.weight_bytes


def test_more_models_than_torch_keeps_forms_of_are_compiled_all_the_same(make_model, monkeypatch):
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **how: compiled(model, backend="eager", **how))
    models = [make_model(num_hidden_layers=1 + number % 2, intermediate_size=16 + 8 * number) for number in range(10)]
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        found = compare(
            [Contender(str(number), model) for number, model in enumerate(models)],
            **REQUEST | {"batch_sizes": (1,), "rounds": 1, "compiled": True},
        )
    assert [(each.compiled, each.notes) for each in found.speeds] == [(True, ())] * len(models)
    assert torch._dynamo.config.recompile_limit == 8
