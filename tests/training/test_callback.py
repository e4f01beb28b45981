"""The callbacks for the Trainer of Hugging Face, beside our own loop on the same data."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import Trainer, TrainingArguments

from prunescale.errors import StoreError, TrainingError
from prunescale.models import LINEAGE_FILE
from prunescale.recipe import TrainRecipe
from prunescale.runs import Store
from prunescale.training import Batches, Machine, Tokens, held_out_windows, train_
from prunescale.training.callback import KeepZeros
from prunescale.training.recorder import RecordRun
from prunescale.training.trainer_log import Evaluated, points_of
from tests.training import trainer_apart

pytest.importorskip("accelerate", reason="the Trainer needs it")

SAYING = torch.tensor(list(b"never odd or even; ")) + 1
EASY = Tokens(SAYING.repeat(40), None)
HELD_OUT = Tokens(SAYING.repeat(8), None)
RECIPE = TrainRecipe(
    data="d", held_out="h", tokens=384, learning_rate=0.01, sequence_length=16, batch_tokens=64, n_measurements=12, clip=0.05
)
"""Six steps of four sequences, each of them clipped and measured."""


@pytest.fixture
def sparse(make_model):
    """Of every four weights of a row in the blocks, the outer two are zero."""
    model = make_model(tied=False)
    for name, parameter in model.named_parameters():
        if "_proj" in name:
            parameter.data[:, 0::4] = 0
            parameter.data[:, 3::4] = 0
    return model


def rows_of(windows):
    return [{"input_ids": row, "labels": row} for row in windows]


def training_rows():
    """The sequences of our six batches, one after the other."""
    batches = Batches(EASY, 16, 4, RECIPE.seed)
    return rows_of(torch.cat([batches.at(step) for step in range(1, 7)]))


@pytest.fixture
def make_trainer(tmp_path):
    """A Trainer that does what RECIPE says, with these callbacks. Any argument of it can be given."""

    def make(model, *callbacks, data=None, **settings):
        arguments = {
            "output_dir": str(tmp_path / "trainer"),
            "max_steps": 6,
            "per_device_train_batch_size": 4,
            "learning_rate": RECIPE.learning_rate,
            "lr_scheduler_type": "constant",
            "weight_decay": RECIPE.weight_decay,
            "adam_beta2": RECIPE.beta2,
            "max_grad_norm": RECIPE.clip,
            "eval_strategy": "steps",
            "eval_steps": 1,
            "eval_on_start": True,
            "logging_steps": 1,
            "save_strategy": "no",
            "train_sampling_strategy": "sequential",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
        }
        return Trainer(
            model,
            TrainingArguments(**{**arguments, **settings}),
            train_dataset=data or training_rows(),
            eval_dataset=rows_of(held_out_windows(HELD_OUT, 16)),
            callbacks=list(callbacks),
        )

    return make


def zeros_of(model):
    return {name: parameter == 0 for name, parameter in model.named_parameters()}


def same_zeros(model, zeros):
    return all(torch.equal(zero, zeros[name]) for name, zero in zeros_of(model).items())


def copy_of(model, make_model):
    copy = make_model(tied=False)
    copy.load_state_dict(model.state_dict())
    return copy


def test_the_trainer_with_both_callbacks_is_our_loop(sparse, make_model, make_trainer, tmp_path):
    ours, zeros = copy_of(sparse, make_model), zeros_of(sparse)
    curve = train_(ours, EASY, HELD_OUT, RECIPE, machine=Machine(torch.device("cpu")), keep_zeros=True)
    record = RecordRun(tmp_path / "runs.db", sequence_length=16)  # rows have 17: the last token is predicted only
    make_trainer(sparse, KeepZeros(), record).train()

    assert same_zeros(sparse, zeros)
    assert same_zeros(ours, zeros)
    points = record.run.points
    assert [(p.n_tokens, p.learning_rate, p.phase) for p in points] == [
        (p.n_tokens, p.learning_rate, p.phase) for p in curve.points
    ]
    # Clipped to 0.05 each time. The same float32 arithmetic in another order; AdamW divides tiny gradients by their size.
    assert [p.loss for p in points] == pytest.approx([p.loss for p in curve.points], abs=2e-4)
    assert points[0].loss - points[-1].loss > 0.1
    for name, parameter in sparse.named_parameters():
        assert torch.allclose(parameter, ours.get_parameter(name), atol=2e-3), name


def test_without_the_callback_the_zeros_grow_back(sparse, make_trainer):
    make_trainer(sparse).train()
    assert not any(zero.any() for name, zero in zeros_of(sparse).items() if "_proj" in name)


def test_masking_after_the_clipping_would_be_another_training(sparse, make_model, make_trainer, monkeypatch):
    """Why gradients are masked by hooks: in the Trainer's own place for it they have been cut by the pruned weights' gradients too."""
    late = copy_of(sparse, make_model)
    norms = {}
    for which, model in (("as they arrive", sparse), ("late", late)):
        if which == "late":
            monkeypatch.setattr("prunescale.training.callback.hooked", lambda weight, keep: SimpleNamespace(remove=lambda: None))
        trainer = make_trainer(model, KeepZeros())
        trainer.train()
        norms[which] = next(entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry)
    assert norms["late"] > 1.1 * norms["as they arrive"]
    assert same_zeros(late, zeros_of(sparse))


def test_half_batches_twice_are_the_same_steps(sparse, make_model, make_trainer, tmp_path):
    halves, zeros = copy_of(sparse, make_model), zeros_of(sparse)
    whole, half = (RecordRun(tmp_path / "runs.db", sequence_length=16) for _ in range(2))
    make_trainer(sparse, KeepZeros(), whole).train()
    make_trainer(halves, KeepZeros(), half, per_device_train_batch_size=2, gradient_accumulation_steps=2).train()
    assert same_zeros(halves, zeros)
    assert [p.n_tokens for p in half.run.points] == [64 * step for step in range(7)]
    assert [p.loss for p in half.run.points] == pytest.approx([p.loss for p in whole.run.points], abs=2e-4)


@pytest.mark.parametrize("first", [[KeepZeros], [KeepZeros, RecordRun]])
def test_a_training_that_goes_on_has_the_whole_curve(sparse, make_model, make_trainer, tmp_path, first):
    again, zeros = copy_of(sparse, make_model), zeros_of(sparse)
    uncut = RecordRun(tmp_path / "uncut.db", sequence_length=16)
    schedule = {"lr_scheduler_type": "linear", "warmup_steps": 2, "logging_steps": 4}
    make_trainer(sparse, KeepZeros(), uncut, **schedule).train()

    kinds = {KeepZeros: lambda: KeepZeros(), RecordRun: lambda: RecordRun(tmp_path / "cut.db", sequence_length=16)}
    saving = {"save_strategy": "steps", "save_steps": 3}
    make_trainer(again, *(kinds[kind]() for kind in first), **schedule, **saving).train()
    blank = make_model(tied=False, seed=1)  # what it goes on from is in the checkpoint
    record = RecordRun(tmp_path / "cut.db", sequence_length=16)
    trainer = make_trainer(blank, KeepZeros(), record, **schedule, **saving)
    trainer.train(resume_from_checkpoint=str(tmp_path / "trainer" / "checkpoint-3"))

    assert same_zeros(blank, zeros)
    known = [(p.n_tokens, p.learning_rate, p.phase) for p in record.run.points]
    assert known == [(p.n_tokens, pytest.approx(p.learning_rate, rel=1e-9), p.phase) for p in uncut.run.points]
    assert [p.loss for p in record.run.points] == pytest.approx([p.loss for p in uncut.run.points], abs=1e-5)
    assert [p.seconds is None for p in record.run.points] == [True] * 4 + [RecordRun not in first] * 3
    assert (record.run.seconds is None) == (RecordRun not in first)
    assert record.run.tokens_per_second > 0


def test_rates_tell_the_phases_and_the_last_step_of_a_decay_is_annealed():
    # A warm-up over two steps, two at the top, a decay over two that ends a step later.
    rates = {1: 0.5, 2: 1.0, 3: 1.0, 4: 1.0, 5: 0.66, 6: 0.33}
    evaluated = {step: Evaluated(64 * step, 5.0 - step, None) for step in (0, 1, 3, 5, 6)}
    found = points_of(evaluated, rates, last_step=6)
    assert [(p.n_tokens, p.phase, p.learning_rate) for p in found] == [
        (0, "before", 0.0),
        (64, "warm-up", 0.5),
        (192, "constant", 1.0),
        (320, "decay", 0.66),
        (384, "annealed", 0.33),
    ]
    assert points_of(evaluated, rates, last_step=9)[-1].phase == "decay"  # stopped early


def test_the_run_says_what_ours_say(sparse, make_trainer, tmp_path):
    folder = tmp_path / "pruned"
    sparse.save_pretrained(folder)
    pruning = {"method": "magnitude", "rate": 0.4, "base": "/models/tiny", "n_params_before": 12345, "sparsity": 0.5}
    (folder / LINEAGE_FILE).write_text(json.dumps({"pruning": pruning, "pretraining": {"n_tokens": 1000}}))
    record = RecordRun(tmp_path / "runs.db", folder=folder, loss_before=2.5)
    make_trainer(type(sparse).from_pretrained(folder), KeepZeros(), record, eval_steps=3).train()

    with Store.open(tmp_path / "runs.db") as store:
        (run,) = store.list()
    assert run == record.run
    assert (run.kind, run.name, run.base) == ("post-training", "tiny magnitude 0.400", "/models/tiny")
    assert (run.pruning_method, run.pruning_rate, run.n_params_before) == ("magnitude", 0.4, 12345)
    assert (run.loss_before, run.n_tokens_pretrain, run.sequence_length) == (2.5, 1000, 17)
    assert run.inputs == {"sparsity": 0.5}
    # Blocks of width 16: attention 2 x 16 x (16 + 8), feed-forward 3 x 16 x 40, four times; a head of 257.
    assert run.n_params_linear == 4 * (2 * 16 * 24 + 3 * 16 * 40) + 257 * 16
    assert run.n_params_left == ((0, run.n_params_linear - 4 * (2 * 16 * 24 + 3 * 16 * 40) // 2),)
    assert run.n_params_nonzero == sum(int(p.count_nonzero()) for p in sparse.parameters())
    assert [p.n_tokens for p in run.points] == [0, 3 * 4 * 17, 6 * 4 * 17]
    assert run.flops > 0
    assert 0 < run.points[1].seconds < run.points[2].seconds <= run.seconds
    assert run.recipe["trainer"]["max_grad_norm"] == 0.05
    left_open = {name for name, value in asdict(run).items() if value is None}
    assert left_open == {"recipe_hash", "bytes_per_token"}


def test_a_model_without_zeros_is_recorded_too(make_model, make_trainer, tmp_path):
    record = RecordRun(tmp_path / "runs.db", kind="pre-training", base="none", n_tokens_pretrain=0)
    counted = make_trainer(make_model(), record, include_num_input_tokens_seen="all")
    counted.train()
    run = record.run
    assert (run.kind, run.pruning_rate, run.inputs, run.n_params_left) == ("pre-training", 0.0, {}, ())
    assert run.n_tokens == counted.state.num_input_tokens_seen == 6 * 4 * 17
    counted.evaluate()  # afterwards: of no run
    assert len(record.run.points) == 7


def refused(trainer):
    with pytest.raises((TrainingError, StoreError)) as caught:
        trainer.train()
    assert "\n" not in str(caught.value)
    assert trainer.state.global_step == 0
    return str(caught.value)


def test_what_cannot_be_done_is_refused_before_the_first_step(sparse, make_model, make_trainer, tmp_path):
    record = RecordRun(tmp_path / "runs.db")
    assert "no weight of the linear layers in the blocks is zero" in refused(make_trainer(make_model(), KeepZeros()))
    assert 'set eval_strategy="steps"' in refused(make_trainer(sparse, record, eval_strategy="no"))
    assert "not in nats per token: set it to 0" in refused(make_trainer(sparse, record, label_smoothing_factor=0.1))
    uneven = [{name: ids[: 9 + number % 9] for name, ids in row.items()} for number, row in enumerate(training_rows())]
    assert "rows of 9, 12, 14 tokens: tell RecordRun the sequence_length" in refused(make_trainer(sparse, record, data=uneven))
    assert "there is no folder" in refused(make_trainer(sparse, RecordRun(tmp_path / "nowhere" / "runs.db")))
    assert not (tmp_path / "runs.db").exists()
    with pytest.raises(TrainingError, match=r"^los_before is no field of a run"):
        RecordRun(tmp_path / "runs.db", los_before=2.5)


def test_weights_that_cannot_be_seen_are_refused(sparse):
    def begin(model, **settings):
        KeepZeros().on_train_begin(SimpleNamespace(deepspeed=None, **settings), None, None, model=model)

    with pytest.raises(TrainingError, match=r"DeepSpeed, which keeps weights of its own: .* Train with FSDP2 or DDP"):
        KeepZeros().on_train_begin(SimpleNamespace(deepspeed="zero3.json"), None, None, model=sparse)
    sparse._hf_peft_config_loaded = True
    with pytest.raises(TrainingError, match="adapters"):
        begin(sparse)
    sparse.is_quantized = True
    with pytest.raises(TrainingError, match="a quantised model, whose weights do not train"):
        begin(sparse)
    sparse.model.layers[0].add_module("wrapped", type("FullyShardedDataParallel", (torch.nn.Module,), {})())
    with pytest.raises(TrainingError, match="FSDP 1"):
        begin(sparse)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ddp", "fsdp2"])
def test_two_processes_do_what_one_does(tmp_path, way):
    """Zeros, losses and norms too: gradients are masked before they are clipped, in every shard, with accumulation."""
    (tmp_path / "one").mkdir()
    expected = trainer_apart.run("one", tmp_path / "one")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", trainer_apart.__file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*launch, tmp_path / "two.json", way], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "two.json").read_text())
    assert (found["sharded"], expected["sharded"]) == (way == "fsdp2", False)
    assert found["kept"]
    assert expected["kept"]
    for name in ("nonzero", "sparsity"):
        assert found[name] == expected[name]
    assert [n_tokens for n_tokens, _ in found["points"]] == [n_tokens for n_tokens, _ in expected["points"]]
    # Sums of float32 in another order, over four steps.
    assert [loss for _, loss in found["points"]] == pytest.approx([loss for _, loss in expected["points"]], abs=1e-4)
    assert found["norms"] == pytest.approx(expected["norms"], rel=1e-4)


PAGE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not there")
def test_the_example_of_the_page_runs(sparse, tmp_path, monkeypatch):
    section = PAGE.read_text("utf-8").partition("## With the Hugging Face Trainer")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    sparse.save_pretrained("pruned")
    exec(example, {"train_rows": training_rows(), "held_out_rows": rows_of(held_out_windows(HELD_OUT, 16))})
    with Store.open("runs.db") as store:
        (run,) = store.list()
    assert run.inputs["sparsity"] == 0.5
    assert [point.phase for point in run.points][:1] == ["before"]
