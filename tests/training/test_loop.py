import math
import time
from itertools import pairwise

import pytest
import torch

from prunescale.errors import DataError, TrainingError
from prunescale.recipe import DistillRecipe, TrainRecipe
from prunescale.training import (
    Machine,
    Progress,
    Tokens,
    held_out_windows,
    loop,
    loss_function,
    mean_loss,
    measure,
    teacher_for,
    train_,
)
from prunescale.training.distributed import ALONE
from prunescale.training.state import State, adamw, set_rate_
from prunescale.training.step import Step
from prunescale.training.tokens import Domain

CPU = torch.device("cpu")
MACHINE = Machine(CPU)
SAYING = torch.tensor(list(b"never odd or even; ")) + 1
EASY = Tokens(SAYING.repeat(40), None)
HELD_OUT = Tokens(SAYING.repeat(8), None)


def recipe(**entries) -> TrainRecipe:
    """Twelve steps of 4 x 16 tokens."""
    plain = {"data": "d", "held_out": "h", "tokens": 768, "learning_rate": 0.01, "sequence_length": 16, "batch_tokens": 64}
    return TrainRecipe(**{**plain, "n_measurements": 4, **entries})


def train(model, **entries):
    return train_(model, EASY, HELD_OUT, recipe(**entries), machine=MACHINE)


@torch.no_grad()
def plain_loss(model, windows) -> float:
    """Token by token: minus the logarithm of the probability that the model gave it."""
    losses = []
    for row in windows:
        for position in range(1, len(row)):
            logits = model(input_ids=row[None, :position]).logits[0, -1].double()
            losses.append(float(logits.exp().sum().log() - logits[row[position]]))
    return sum(losses) / len(losses)


def test_the_mean_loss_is_that_of_a_plain_loop(make_model):
    model = make_model()
    windows = held_out_windows(HELD_OUT, 10, 70)
    expected = plain_loss(model, windows)
    for batch in (1, 3, 100):
        # float32 logits of order 10, summed in another order: 1e-6 each, and a mean of 70 of them.
        assert mean_loss(loss_function(model, CPU), windows, batch=batch, device=CPU) == pytest.approx(expected, abs=1e-5)


def test_the_curve_begins_with_the_model_as_it_was(make_model):
    before = plain_loss(make_model(), held_out_windows(HELD_OUT, 16))
    point = train(make_model()).points[0]
    assert (point.n_tokens, point.learning_rate, point.phase, point.seconds) == (0, 0.0, "before", 0.0)
    assert point.loss == pytest.approx(before, abs=1e-5)  # as above


def test_the_curve_says_where_the_schedule_stood(make_model):
    curve = train(make_model(), warmup_tokens=128, decay_fraction=0.5, first_measurement=64, n_measurements=12)
    # Twelve steps, two of warm-up and six of decay. Log-spaced over twelve steps, 12 measurements round to these:
    assert [point.n_tokens // 64 for point in curve.points] == [0, 1, 2, 3, 4, 5, 6, 8, 10, 12]
    at = {point.n_tokens // 64: point for point in curve.points}
    assert [at[step].phase for step in (0, 1, 2, 3, 6, 8, 12)] == [
        "before",
        "warm-up",
        "warm-up",
        "constant",
        "constant",
        "decay",
        "annealed",
    ]
    rates = {1: 0.005, 2: 0.01, 6: 0.01, 8: 0.01 * 5 / 7, 12: 0.01 / 7}
    assert {step: at[step].learning_rate for step in rates} == pytest.approx(rates, rel=1e-12)


def test_each_step_is_taken_at_the_schedules_rate(make_model, monkeypatch):
    taken, take = [], Step.__call__

    def noting(step, ids_BL):
        taken.append((step.state.optimizer.param_groups[0]["lr"], step.clip, tuple(ids_BL.shape)))
        return take(step, ids_BL)

    monkeypatch.setattr(Step, "__call__", noting)
    entries = recipe(tokens=256, warmup_tokens=128, decay_fraction=0.25, clip=0.5)
    train_(make_model(), EASY, HELD_OUT, entries, machine=MACHINE)
    assert taken == [(rate, 0.5, (4, 17)) for rate in (0.005, 0.01, 0.01, 0.005)]


def test_an_easy_text_is_learned_and_the_model_is_the_last_points(make_model):
    model = make_model()
    curve = train(model, tokens=64 * 60)
    assert curve.points[-1].loss < 0.5 * curve.points[0].loss
    assert curve.points[-1].loss == pytest.approx(plain_loss(model, held_out_windows(HELD_OUT, 16)), abs=1e-5)  # as above
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_training_twice_is_the_same_to_the_last_bit(make_model):
    models = make_model(), make_model()
    first, second = ([point.loss for point in train(model, seed=4).points] for model in models)
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))
    assert [point.loss for point in train(make_model(), seed=5).points][1:] != first[1:]


def test_the_first_pass_before_the_clock_changes_nothing(make_model, monkeypatch):
    with_it = [point.loss for point in train(make_model()).points]
    monkeypatch.setattr(loop, "thrown_away", lambda *arguments: None)
    assert [point.loss for point in train(make_model()).points] == with_it


def test_seconds_are_those_of_training_alone(make_model, monkeypatch):
    def slow_measure(*arguments, **options):
        time.sleep(0.15)
        return measure(*arguments, **options)

    monkeypatch.setattr(loop, "measure", slow_measure)
    began = time.perf_counter()
    curve = train(make_model())
    whole = time.perf_counter() - began
    seconds = [point.seconds for point in curve.points]
    assert all(before < after for before, after in pairwise(seconds))
    assert curve.seconds == seconds[-1]
    assert curve.seconds < whole - 0.15 * len(curve.points)
    assert curve.tokens_per_second == 768 / curve.seconds
    assert curve.device.startswith("CPU")
    assert 20e6 < curve.peak_memory_bytes < 20e9  # a process with torch in it; kilobytes taken for bytes would fail


def test_steps_and_points_are_told_as_they_come(make_model):
    told = []
    curve = train_(
        make_model(),
        EASY,
        HELD_OUT,
        recipe(n_measurements=2, first_measurement=128, tokens=192),
        machine=MACHINE,
        progress=Progress(step=told.append, point=told.append),
    )
    assert told == [curve.points[0], 64, 128, curve.points[1], 192, curve.points[2]]


def test_a_model_with_dropout_is_measured_without(make_model):
    before = plain_loss(make_model(), held_out_windows(HELD_OUT, 16))
    assert train(make_model(attention_dropout=0.5)).points[0].loss == pytest.approx(before, abs=1e-5)  # as above


def test_a_loss_that_is_no_number_ends_it(make_model):
    with pytest.raises(TrainingError, match=r"is nan after [\d,]+ tokens at learning rate 1e\+30: nothing was stored; try"):
        train(make_model(), learning_rate=1e30)
    damaged = make_model()
    damaged.model.norm.weight.data[0] = math.nan
    with pytest.raises(TrainingError, match="held-out loss is nan before any training: the model is damaged"):
        train(damaged)


def test_too_little_text(make_model):
    with pytest.raises(DataError, match="The held-out text has 16 tokens"):
        train_(make_model(), EASY, Tokens(EASY.ids[:16], None), recipe(), machine=MACHINE)
    with pytest.raises(DataError, match=r"The training text has 80 tokens, and a batch of 4 x 16 needs 81"):
        train_(make_model(), Tokens(EASY.ids[:80], None), HELD_OUT, recipe(), machine=MACHINE)


def test_the_gradient_is_clipped():
    # Of 3 a + 4 b the gradient is (3, 4), of length 5; cut to length 1 and times a rate of a half it is (0.3, 0.4).
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=9.0)
    set_rate_(optimizer, 0.5)

    def step(clip):
        loss = lambda ids: 2 * (3 * weight[0] + 4 * weight[1])  # noqa: E731
        return Step(loss, State(None, optimizer, []), clip, ALONE)(torch.zeros(1, 3))

    assert step(1.0).tolist() == [0.0, 5.0]
    assert weight.tolist() == pytest.approx([-0.3, -0.4], rel=1e-5)  # torch adds 1e-6 to the length that it divides by
    step(10.0)
    assert weight.tolist() == pytest.approx([-1.8, -2.4], rel=1e-5)  # not cut: (1.5, 2.0) more


@pytest.mark.parametrize("tied", [True, False])
def test_weight_decay_is_for_matrices(make_model, tied):
    model = make_model(tied=tied)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in model.parameters()]
    optimizer = adamw(model, recipe(learning_rate=0.1, weight_decay=0.5, beta1=0.8, beta2=0.99))
    set_rate_(optimizer, 0.1)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.99)}
    optimizer.step()
    for name, parameter in model.named_parameters():
        kept = 1.0 if "norm" in name else 1 - 0.1 * 0.5
        assert torch.allclose(parameter, kept * before[name], rtol=1e-6, atol=0), name  # one product in float32


def test_bfloat16_rounds_the_products_and_not_the_weights(make_model):
    losses = {}
    for dtype in ("float32", "bfloat16", "auto"):
        model = make_model()
        losses[dtype] = [point.loss for point in train(model, dtype=dtype).points]
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert losses["auto"] == losses["float32"]  # on a CPU
    assert losses["bfloat16"] != losses["float32"]
    # Products have a relative error of 2^-9; logits of order 10 then are 0.02 to 0.05 off, a mean over 144 tokens less.
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.05)


@pytest.mark.parametrize(("wanted", "compiled"), [("auto", 0), ("off", 0), ("on", 1)])
def test_on_a_cpu_only_who_asks_gets_a_compiled_loss(make_model, monkeypatch, wanted, compiled):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: calls.append(function) or function)
    train(make_model(), tokens=64, compile=wanted)
    assert len(calls) == 2 * compiled  # the loss to train on, and those to measure


def test_a_model_in_another_dtype_is_trained_in_float32(make_model):
    model = make_model().bfloat16()
    train(model, tokens=64)
    assert model.dtype == torch.float32
    assert loss_function(model, CPU)(EASY.ids[None, :9]).dtype == torch.float32


def test_domains_are_measured_each_and_together(make_model):
    """A saying, and the same backwards: 160 and 96 tokens, ten windows of 16 and six."""
    backwards = SAYING.flip(0).repeat(8)
    ids = torch.cat((SAYING.repeat(12)[:161], backwards[:97]))
    held_out = Tokens(ids, None, domains=(Domain("forwards", 0, 161), Domain("backwards", 161, 97)))
    model = make_model()
    first = train_(model, EASY, held_out, recipe(), machine=MACHINE).points[0]
    windows = {
        "forwards": held_out_windows(Tokens(ids[:161], None), 16),
        "backwards": held_out_windows(Tokens(ids[161:], None), 16),
    }
    expected = {name: plain_loss(make_model(), of_domain) for name, of_domain in windows.items()}
    assert first.domains == pytest.approx(expected, abs=1e-5)
    assert first.loss == pytest.approx((10 * expected["forwards"] + 6 * expected["backwards"]) / 16, abs=1e-5)


def test_documents_are_kept_apart_where_asked(make_model):
    end = int(SAYING[17])  # the semicolon, every nineteen tokens
    text = Tokens(EASY.ids, None, end=end)
    losses = {}
    for apart in (True, False):
        model = make_model()
        losses[apart] = [point.loss for point in train_(model, text, text, recipe(documents_apart=apart), machine=MACHINE).points]
    assert losses[True][0] != losses[False][0]
    row = EASY.ids[8:25]
    first, rest = row[:10], row[10:]
    model = make_model()
    alone = [plain_loss(model, first[None]) * 9, plain_loss(model, rest[None]) * 6]
    together = loss_function(model, CPU, document_end=end)(row[None])
    # What the eleventh token is, the tenth says, which ends the document before: that one prediction is made across.
    across = plain_loss(model, row[None, :11]) * 10 - plain_loss(model, row[None, :10]) * 9
    assert float(together) == pytest.approx(sum(alone) + across, abs=1e-4)
    with pytest.raises(TrainingError, match="the tokenizer has no token that ends one"):
        train(make_model(), documents_apart=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_ten_compiled_steps_on_a_gpu_are_those_of_a_cpu(make_model):
    entries = recipe(tokens=640, learning_rate=0.003, first_measurement=64, n_measurements=10)
    device = torch.device("cuda")
    on_cpu = train_(make_model(), EASY, HELD_OUT, entries, machine=MACHINE)
    model = make_model()
    on_gpu = train_(model, EASY, HELD_OUT, entries, machine=Machine(device))
    assert next(model.parameters()).device.type == "cuda"
    assert [point.n_tokens for point in on_gpu.points] == [point.n_tokens for point in on_cpu.points]
    # bfloat16 against float32: on an H200 the losses, of 6 to 4 nats, were 0.0042 apart at the most. One step more or less is 0.1.
    assert [point.loss for point in on_gpu.points] == pytest.approx([point.loss for point in on_cpu.points], abs=0.02)
    assert on_cpu.points[0].loss - on_cpu.points[-1].loss > 0.5
    assert on_gpu.peak_memory_bytes > 0
    assert on_gpu.device == torch.cuda.get_device_name(device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["documents apart", "teacher", "states of the teacher", "in parts", "blocks anew", "cooldowns"])
def test_each_kind_of_step_is_recorded_as_it_is_on_a_cpu(make_model, kind):
    text = Tokens(EASY.ids, None, end=int(SAYING[17]))
    entries = {"documents apart": {"documents_apart": True}, "cooldowns": {"cooldowns": (256, 512)}}.get(kind, {})
    more = {"in parts": {"part_tokens": 32}, "blocks anew": {"recompute": True}}.get(kind, {})
    curves = []
    for device in (CPU, torch.device("cuda")):
        model = make_model()
        wanted = DistillRecipe(weight=0.5, hidden=0.3 if kind == "states of the teacher" else 0.0)
        taught = teacher_for(model, make_model(seed=1).to(device), wanted, None, 16) if "teacher" in kind else None
        plan = recipe(learning_rate=0.003, dtype="float32", **entries)
        curves.append(train_(model, text, text, plan, machine=Machine(device, **more), teacher=taught))
    on_cpu, on_gpu = ([(point.n_tokens, point.phase, point.loss) for point in curve.points] for curve in curves)
    assert [point[:2] for point in on_gpu] == [point[:2] for point in on_cpu]
    # float32 on both, products by tensor cores in TF32 at most: a relative error of 2^-11 in logits of order 10.
    assert [point[2] for point in on_gpu] == pytest.approx([point[2] for point in on_cpu], abs=0.02)


def test_what_is_measured_is_computed_in_parts_too(make_model, monkeypatch):
    """On a GPU that is full a training in parts ended at its first measurement once."""
    rows = []

    def noted(losses, windows, *, batch, **others):
        rows.append(batch)
        return measure(losses, windows, batch=batch, **others)

    monkeypatch.setattr(loop, "measure", noted)
    train_(make_model(), EASY, HELD_OUT, recipe(), machine=Machine(CPU, part_tokens=16))
    assert set(rows) == {1}
