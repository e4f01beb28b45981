import json
import os

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Point

RATES = {10: 1e-4, 20: 2e-4, 30: 2e-4, 40: 2e-4, 50: 1e-4}
HISTORY = [
    {"epoch": 0.0, "eval_loss": 4.0, "eval_runtime": 1.0, "step": 0},
    *({"epoch": 0.1, "grad_norm": 1.0, "learning_rate": RATES[n], "loss": 4 - n / 100, "step": n} for n in (10, 20, 30)),
    {"epoch": 0.3, "eval_loss": 3.5, "step": 30},
    *({"epoch": 0.4, "learning_rate": RATES[n], "loss": 4 - n / 100, "step": n} for n in (40, 50)),
    {"epoch": 0.5, "eval_loss": 3.25, "step": 50},
    {"epoch": 0.5, "step": 50, "total_flos": 1e12, "train_loss": 3.7, "train_runtime": 9.0},
]
POST = {"kind": "post-training", "constants": ("base=tiny", "n_params_before=1.5M"), "source": "trainer-state"}


def state(history=HISTORY, **more):
    return json.dumps({"best_metric": None, "global_step": 50, "log_history": history, **more})


def test_held_out_losses_with_the_rates_logged_before_them(read, tmp_path):
    (tmp_path / "run-7" / "checkpoint-50").mkdir(parents=True)
    imported = read("run-7/checkpoint-50/trainer_state.json", state(), metric="eval_loss:nats", tokens_per_step=1000, **POST)
    (run,) = imported.runs
    # At step 30 the rate has been the highest and flat since 20; at 50 it has fallen. Before step 10 no rate is known.
    assert run.points == (
        Point(0, 4.0, None, "before", None),
        Point(30_000, 3.5, 2e-4, "constant", None),
        Point(50_000, 3.25, 1e-4, "decay", None),
    )
    assert (run.name, run.base, run.n_params_before) == ("run-7", "tiny", 1_500_000)
    assert imported.notes == [
        "Tokens are 1,000 times step.",
        "Learning rates are those in learning_rate.",
        "Phases from the learning rates (rising: warm-up; at its highest and the same as before: constant; all else: decay): "
        "1 before, 1 constant, 1 decay points.",
    ]


def test_training_losses(read):
    (run,) = read("trainer_state.json", state(), metric="loss:nats", tokens_per_step=1000, **POST).runs
    assert [(point.n_tokens, point.loss, point.phase) for point in run.points] == [
        (10_000, 3.9, "warm-up"),
        (20_000, 3.8, "warm-up"),
        (30_000, 3.7, "constant"),
        (40_000, 3.6, "constant"),
        (50_000, 3.5, "decay"),
    ]


def test_tokens_that_the_trainer_counted(read):
    history = [{**entry, "num_input_tokens_seen": 512 * entry["step"]} for entry in HISTORY]
    imported = read("trainer_state.json", state(history), metric="eval_loss:nats", **POST)
    assert [point.n_tokens for point in imported.runs[0].points] == [0, 15360, 25600]
    assert "Tokens are those in num_input_tokens_seen." in imported.notes


@pytest.mark.parametrize("given", ["", "trainer_state.json", "checkpoint-100"])
def test_the_file_its_folder_or_the_folder_of_checkpoints(read, tmp_path, given):
    for step in (20, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        history = [entry for entry in HISTORY if entry["step"] <= step / 2]
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state(history))
    if given.endswith(".json"):
        (tmp_path / given).write_text(state())
    (run,) = read(given, metric="eval_loss:nats", tokens_per_step=1000, **POST).runs
    assert run.n_tokens == 50_000  # of the last checkpoint, 100, and not of the last by name


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({}, r"Which loss\? Give --metric NAME:UNIT, UNIT being nats, .*; columns of trainer_state.json: epoch, eval_loss, "),
        ({"metric": "eval_loss"}, "--metric eval_loss: the unit is missing; write eval_loss:nats, :bits or :perplexity."),
        ({"metric": "eval_los:nats"}, "trainer_state.json has no column 'eval_los'"),
        (
            {"metric": "eval_loss:nats"},
            r"After how many tokens\? .* give --tokens-per-step N \(its steps are in step\), or --column",
        ),
        ({"metric": "loss:nats", "columns": ("loss=loss:nats",)}, "given twice, by --metric and by --column"),
        ({"metric": "loss:nats", "columns": ("n_tokens=step:8",), "tokens_per_step": 8}, "given twice, by --tokens-per-step"),
        ({"metric": "loss:nats", "tokens_per_step": 8, "constants": ()}, "Which model was pruned.*--set base=NAME"),
        ({"metric": "loss:nats", "tokens_per_step": 8, "kind": None}, "Give --kind post-training or --kind pre-training"),
    ],
)
def test_what_is_missing_is_asked_for(read, wishes, message):
    with pytest.raises(StoreError, match=message):
        read("trainer_state.json", state(), **{**POST, **wishes})


def test_without_rates_the_phase_is_asked_for(read):
    history = [{"eval_loss": 4.0, "step": 1}, {"eval_loss": 3.0, "step": 2}]
    wishes = {**POST, "metric": "eval_loss:nats", "tokens_per_step": 8}
    with pytest.raises(StoreError, match="No learning rates are known here: give --phase warm-up, constant or decay"):
        read("trainer_state.json", state(history), **wishes)
    with pytest.raises(StoreError, match=r"too few learning rates to tell its phases by \(1; two are the least\): give --phase"):
        read("trainer_state.json", state([{"learning_rate": 1.0, "loss": 1.0, "step": 1}, *history]), **wishes)
    (run,) = read("trainer_state.json", state(history), **wishes, phase="constant").runs
    assert {point.phase for point in run.points} == {"constant"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no state of a Trainer: it has no list log_history"),
        ('{"log_history": 3}', "it has no list log_history"),
        ("{", "is not JSON"),
        ("[" * 100_000, r"is not JSON \(nested too deep\)"),
        ('{"log_history": [3, {"loss": 1, "step": 1}]}', "entry 1: is no JSON object"),
        ('{"log_history": [{"loss": NaN, "step": 1}]}', "entry 1: loss is nan, which is not a finite number"),
        ('{"log_history": [{"loss": 1, "step": 2}, {"loss": 1, "step": 1}]}', "entry 2: n_tokens is 8 after 16 at entry 1"),
    ],
)
def test_odd_files(read, text, message):
    with pytest.raises(StoreError, match=message):
        read("trainer_state.json", text, metric="loss:nats", tokens_per_step=8, phase="constant", **POST)


def test_no_such_file(read, tmp_path):
    with pytest.raises(StoreError, match=r"There is no trainer_state.json in .*, nor in a checkpoint there"):
        read("", source="trainer-state")
    with pytest.raises(StoreError, match=r"absent.json cannot be read \(No such file"):
        read("absent.json", source="trainer-state")


@pytest.mark.slow
def test_the_state_of_a_real_trainer(read, tmp_path, make_model, monkeypatch):
    """Four steps of two sequences of 16 tokens: 32 tokens a step, by our count and by the Trainer's own."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    torch = pytest.importorskip("torch")
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    ids = torch.randint(1, 256, (8, 16), generator=torch.Generator().manual_seed(3))
    data = [{"input_ids": row, "labels": row} for row in ids]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=4,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        learning_rate=1e-3,
        warmup_steps=2,
        lr_scheduler_type="constant_with_warmup",
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=2,
        save_steps=4,
        include_num_input_tokens_seen=True,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    transformers.Trainer(make_model(), arguments, train_dataset=data, eval_dataset=data).train()
    by_trainer = read("out", metric="eval_loss:nats", **POST).runs[0]
    by_step = read("out", metric="eval_loss:nats", tokens_per_step=32, **POST).runs[0]
    assert [point.n_tokens for point in by_step.points] == [64, 128]
    assert by_trainer.points == by_step.points
    assert by_step.points[0].loss > by_step.points[1].loss > 0
    assert [point.phase for point in by_step.points] == ["warm-up", "constant"]
    assert by_step.name == "out"
