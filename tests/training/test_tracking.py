import math
import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

from prunescale.errors import TrainingError
from prunescale.runs.importers import READERS, Wishes, import_runs
from prunescale.training.tracking import Tracker, tracker

RECIPE = {"base": "tiny", "train": {"tokens": 3_000_000_000}}
CURVE = [(0, 5.25, 0.0), (1_000_000_007, 4.1, 1e-3), (2_000_000_014, 3.7000001, 1e-3), (3_000_000_021, 3.3, 2.5e-4)]
"""Tokens that float32 would round, as it does 1,000,000,007 to 1,000,000,000."""


def tracked(where, **options):
    """The curve, sent there."""
    sent = tracker(where, name="tiny magnitude 0.5", config=RECIPE, **options)
    for n_tokens, loss, rate in CURVE:
        sent.log(n_tokens, {"loss/held_out": loss, "learning_rate": rate})
        sent.log(n_tokens, {"loss/train": loss + 0.1, "tokens_per_second": 1e5})
    sent.close()
    return sent


@pytest.fixture
def module(monkeypatch):
    """Put a module of this name in the place of a package."""

    def put(name, **content):
        fake = ModuleType(name)
        vars(fake).update(content)
        monkeypatch.setitem(sys.modules, name, fake)

    return put


def test_what_was_sent_to_tensorboard_comes_back_as_a_run(tmp_path):
    pytest.importorskip("tensorboard")
    tracked(f"tensorboard:{tmp_path / 'events'}")
    wishes = Wishes(kind="post-training", metric="loss/held_out:nats", tokens_per_step=1, constants=("base=tiny",))
    (run,) = import_runs(READERS["tensorboard"], tmp_path / "events", wishes).runs
    assert run.name == "tiny magnitude 0.5"
    assert [point.n_tokens for point in run.points] == [n_tokens for n_tokens, _, _ in CURVE]
    # The files hold float32, seven digits.
    assert [point.loss for point in run.points] == pytest.approx([loss for _, loss, _ in CURVE], rel=1e-7)
    assert [point.learning_rate for point in run.points] == pytest.approx([rate for _, _, rate in CURVE], rel=1e-7)
    assert [point.phase for point in run.points] == ["before", "warm-up", "constant", "decay"]


def test_a_name_makes_no_folders(tmp_path):
    pytest.importorskip("tensorboard")
    tracker(f"tensorboard:{tmp_path}", name="../a/b: c", config={}).close()
    assert [path.name for path in tmp_path.iterdir()] == ["-a-b- c"]


@pytest.mark.parametrize(("mode", "expected"), [(None, "offline"), ("online", "online"), ("disabled", "disabled")])
def test_wandb_stays_offline_unless_told_otherwise(module, monkeypatch, mode, expected):
    for name in ("WANDB_MODE", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")  # to be put back to what it was
        monkeypatch.delenv(name)
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    begun, logged, axes, finished = {}, [], [], []
    run = SimpleNamespace(
        log=logged.append,
        finish=lambda: finished.append(True),
        define_metric=lambda name, step_metric: axes.append((name, step_metric)),
    )
    module("wandb", init=lambda **given: begun.update(given) or run, Settings=lambda **given: given)
    tracked("wandb:pruned")
    assert (begun["project"], begun["name"], begun["config"]) == ("pruned", "tiny magnitude 0.5", RECIPE)
    assert begun["mode"] == expected
    # Offline it looks for its maker's server all the same, to report its own errors.
    assert os.environ.get("WANDB_ERROR_REPORTING") == ("false" if expected == "offline" else None)
    assert begun["settings"] == {"silent": True, "console": "off"}
    assert axes == [("*", "n_tokens")]
    assert logged[2] == {"n_tokens": 1_000_000_007, "loss/held_out": 4.1, "learning_rate": 1e-3}
    assert (len(logged), finished) == (8, [True])


def test_trackio_writes_here_and_says_nothing(module, capsys):
    begun, logged = {}, []

    def says(words, then):
        print(words)
        then()

    module(
        "trackio",
        init=lambda **given: says("* Trackio project initialized", lambda: begun.update(given)),
        log=lambda metrics, step: logged.append((step, metrics)),
        finish=lambda: says("* Run finished", lambda: logged.append("finished")),
    )
    tracked("trackio")
    assert begun == {"project": "prunescale", "name": "tiny magnitude 0.5", "config": RECIPE, "embed": False}
    assert logged[0] == (0, {"loss/held_out": 5.25, "learning_rate": 0.0})
    assert (len(logged), logged[-1]) == (9, "finished")
    assert capsys.readouterr() == ("", "")


def test_a_tool_that_fails_is_told_of_once_and_switched_off(module):
    calls, told = [], []

    def log(metrics, step):
        calls.append(step)
        raise OSError("No space left\non device")

    module("trackio", init=lambda **_: None, log=log, finish=lambda: calls.append("finish"))
    tracked("trackio", tell=told.append)
    assert calls == [0]
    assert told == ["Tracking with trackio ended (log: No space left on device); the training goes on without."]

    module("trackio", init=lambda **_: None, log=lambda *_, **__: None, finish=lambda: 1 / 0)
    with pytest.warns(UserWarning, match="ended .close: division by zero"):
        tracked("trackio")


def test_no_option_is_no_tracking():
    off = tracker(None, name="tiny", config={})
    off.log(5, {"loss/held_out": math.nan})
    off.close()
    assert isinstance(off, Tracker)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("mlflow", "'mlflow' is nothing to track with: give tensorboard:DIR, wandb[:PROJECT] or trackio[:PROJECT]."),
        ("tensorboard", "tensorboard needs a folder for its files: give tensorboard:DIR."),
        ("wandb", "Tracking with wandb needs a package that is not installed"),
        ("trackio:a", "pip install trackio."),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(where, words, monkeypatch):
    for name in ("wandb", "trackio"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
    with pytest.raises(TrainingError) as refused:
        tracker(where, name="tiny", config={})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_tool_that_cannot_begin_is_refused_before_the_training(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="Tracking with tensorboard cannot begin: "):
        tracker(f"tensorboard:{tmp_path / 'file'}", name="tiny", config={})
