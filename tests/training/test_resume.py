"""A training that was killed goes on as if never stopped."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from prunescale.errors import TrainingError, TrainingStopped
from prunescale.recipe import TrainRecipe
from prunescale.runs import Point
from prunescale.training import Machine, Progress, RunFolder, Tokens, train_
from tests.training.runs_apart import IDS, RECIPE, model_of, run

SCRIPT = Path(__file__).with_name("runs_apart.py")
CPU = torch.device("cpu")
EACH_TIME = Machine(CPU, save_seconds=0)
"""A machine that saves whenever it looks."""


def killed_at(step, folder, variant):
    done = subprocess.run([sys.executable, SCRIPT, "-", variant, folder, str(step)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def in_json(found):
    return json.loads(json.dumps(found))


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["sparse", "2:4"])
def test_killed_again_and_again_it_gives_the_same_curve_to_the_last_bit(tmp_path, variant):
    """Killed in the trunk before any checkpoint, between two, and after a branch."""
    expected = run(variant, None, -1)
    measured: list[Point] = []
    for step in (9, 25, 35):
        killed_at(step, tmp_path / "run", variant)
        points = RunFolder(tmp_path / "run", {"variant": variant}).points()
        assert points[: len(measured)] == measured  # none is lost
        measured = points
    resumed = run(variant, tmp_path / "run", -1)
    assert resumed == expected
    assert len(measured) > 5
    assert run(variant, tmp_path / "run", -1) == expected  # a run that had come to its end


def stopped(folder, at):
    """The same inside this process: an exception in the place of a kill."""

    class Stop(Exception):
        pass

    def stop(n_tokens):
        if n_tokens == 64 * at:
            raise Stop

    with pytest.raises(Stop):
        train(folder, stop)


def train(folder, step=lambda n_tokens: None, note=lambda sentence: None, machine=EACH_TIME, **entries):
    model = model_of(tied=True, zeros=False)
    curve = train_(
        model,
        Tokens(IDS, None),
        Tokens(IDS[:400], None),
        TrainRecipe(**{**RECIPE, **entries}),
        machine=machine,
        folder=folder and RunFolder(folder, {"recipe_hash": "abc"}),
        progress=Progress(step=step, note=note),
    )
    return curve


def asked_to_stop(folder, at, **entries):
    """The training stops by itself after so many steps, those of branches counted."""
    taken = []

    def should_stop():
        taken.append(None)
        return len(taken) == at

    with pytest.raises(TrainingStopped, match=r"Stopped after [\d,]+ tokens, as asked"):
        train(folder, machine=Machine(CPU, save_seconds=1e9, should_stop=should_stop), **entries)


def facts(curve):
    return [(point.n_tokens, point.loss, point.phase) for point in curve.points]


def test_in_the_middle_of_a_branch(tmp_path, monkeypatch):
    from prunescale.training.step import Step

    expected = facts(train(None))
    taken, take = [], Step.__call__

    def counted(step, ids_BL):
        taken.append(None)
        if len(taken) == 16:  # the branch to 18 leaves after 14 steps, so this is its second
            raise KeyboardInterrupt
        return take(step, ids_BL)

    monkeypatch.setattr(Step, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run")
    monkeypatch.setattr(Step, "__call__", take)
    assert facts(train(tmp_path / "run")) == expected


@pytest.mark.parametrize(
    ("at", "of_trunk"),
    [
        (5, 5),
        (14, 14),
        (16, 14),
        (18, 15),
        (19, 16),
    ],  # the branch leaves after 14, and is not asked after its last step, the fourth
    ids=["trunk", "where a branch leaves", "branch", "after its end", "later"],
)
def test_asked_to_stop_it_keeps_a_checkpoint_and_goes_on_as_if_it_had_not(tmp_path, at, of_trunk):
    expected = facts(train(None))
    asked_to_stop(tmp_path / "run", at)
    checkpoint, *_ = RunFolder(tmp_path / "run", {"recipe_hash": "abc"}).checkpoints()
    assert checkpoint.name == f"step-{of_trunk:08}"
    assert facts(train(tmp_path / "run")) == expected


def test_asked_to_stop_after_its_last_step_it_has_ended(tmp_path):
    expected = facts(train(None))
    n_steps = expected[-1][0] // 64
    last = [False]

    def step(n_tokens):
        last[0] = n_tokens == 64 * n_steps

    machine = Machine(CPU, should_stop=lambda: last[0])
    assert facts(train(tmp_path / "run", step, machine=machine)) == expected


def test_asked_to_stop_without_a_folder_it_stops():
    asked_to_stop(None, 5)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tmp_path):
    expected = facts(train(None))
    stopped(tmp_path / "run", 36)
    newest, before = RunFolder(tmp_path / "run", {"recipe_hash": "abc"}).checkpoints()
    weights = next(newest.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    notes = []
    assert facts(train(tmp_path / "run", note=notes.append)) == expected
    damaged = f"{newest} is damaged ({weights.name} has another checksum): left out."
    assert notes == [damaged, f"Goes on after {64 * int(before.name[-8:]):,} tokens."]
    assert before != newest


def test_an_interrupt_while_a_checkpoint_is_made_is_one(tmp_path, monkeypatch):
    """PyTorch would make it an error of the checkpoint, of which a sweep would think that the run has failed."""
    from prunescale.training import resume

    expected = facts(train(None))

    class Interrupted(resume.HuggingFaceStorageWriter):
        def write_data(self, *arguments):
            raise SystemExit(144)  # a batch system that takes the machine back

    with monkeypatch.context() as patch:
        patch.setattr(resume, "HuggingFaceStorageWriter", Interrupted)
        with pytest.raises(SystemExit):
            train(tmp_path / "run")
    assert facts(train(tmp_path / "run")) == expected


def test_a_full_disk_takes_nothing_that_was_kept(disk_of):
    disk = disk_of("500k")
    folder = disk.folder / "run"
    with pytest.raises(TrainingError, match=r"run cannot be written \(.*No space left on device.*\): make room there"):
        train(folder)  # a checkpoint is 202 kB, and a third is made before the first is forgotten
    assert not (folder / "unfinished").exists()
    kept = RunFolder(folder, {"recipe_hash": "abc"}).points()
    disk.grow("4m")
    curve = facts(train(folder))
    assert curve == facts(train(None))
    assert 0 < len(kept) < len(curve)


def test_a_checkpoint_that_was_being_written_is_none(tmp_path):
    expected = facts(train(None))
    stopped(tmp_path / "run", 36)
    newest = RunFolder(tmp_path / "run", {"recipe_hash": "abc"}).checkpoints()[0]
    shutil.move(newest, tmp_path / "run" / "unfinished")
    (tmp_path / "run" / "points.jsonl").open("a").write('{"n_tokens": 12')  # cut off while it was written
    assert facts(train(tmp_path / "run")) == expected
    assert not (tmp_path / "run" / "unfinished").exists()


def test_the_folder_of_another_run_is_refused(tmp_path):
    RunFolder(tmp_path / "run", {"recipe_hash": "abc"})
    with pytest.raises(TrainingError, match=r"the folder of another run \(recipe abc, this is def\): give the recipe"):
        RunFolder(tmp_path / "run", {"recipe_hash": "def"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("ten years")
    with pytest.raises(TrainingError, match="is no folder of a run: give a new or empty folder"):
        RunFolder(tmp_path / "mine", {"recipe_hash": "abc"})


def test_a_run_that_goes_wrong_says_which_checkpoint_is_good(tmp_path):
    def spoil(n_tokens):
        if n_tokens == 64 * 33:
            raise_rate()

    def raise_rate():
        from prunescale.training import loop

        patch.setattr(loop, "set_rate_", lambda optimizer, rate: set_rate_(optimizer, 1e30))

    from prunescale.training.state import set_rate_

    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrainingError) as refused:
        train(tmp_path / "run", spoil)
    newest = RunFolder(tmp_path / "run", {"recipe_hash": "abc"}).checkpoints()[0]
    assert f"the last good checkpoint is {newest}; try a lower learning rate" in str(refused.value)
    assert newest.name == "step-00000032"
    assert facts(train(tmp_path / "run")) == facts(train(None))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_is_the_same_but_for_rounding(tmp_path):
    expected = run("sparse", None, -1, "cuda")
    killed = subprocess.run(
        [sys.executable, SCRIPT, "-", "sparse", tmp_path / "run", "25", "cuda"], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run("sparse", tmp_path / "run", -1, "cuda")
    assert resumed["left"] == expected["left"]
    # Sums are made in an order that is not the same each time; over forty steps of a model whose loss is 5.9 to 4.5 nats.
    assert [p[1] for p in resumed["points"]] == pytest.approx([p[1] for p in expected["points"]], abs=2e-3)


def test_a_branch_that_is_longer_than_the_time_comes_to_its_end(make_model, tmp_path):
    """It was begun anew each time once, so that a sweep in pieces never ended."""
    recipe = TrainRecipe(
        data="d",
        held_out="h",
        tokens=64 * 30,
        learning_rate=0.01,
        sequence_length=16,
        batch_tokens=64,
        n_measurements=4,
        cooldowns=(64 * 20, 64 * 30),
        cooldown_fraction=0.5,
    )
    ids = torch.arange(4000) * 7 % 250
    tokens, held_out = Tokens(ids, None), Tokens(ids[:400], None)

    def trained(folder, should_stop=lambda: False):
        machine = Machine(torch.device("cpu"), should_stop=should_stop)
        return train_(make_model(tied=False), tokens, held_out, recipe, machine=machine, folder=folder)

    whole = trained(None)
    curve, n_starts = None, 0
    while curve is None:
        asked = iter(range(1, 100))
        try:
            n_starts += 1
            curve = trained(RunFolder(tmp_path / "run", {"of": "this"}), lambda asked=asked: next(asked) == 4)
        except TrainingStopped:
            assert n_starts < 40
    assert [(p.n_tokens, p.phase, p.loss) for p in curve.points] == [(p.n_tokens, p.phase, p.loss) for p in whole.points]
    assert curve.n_tokens == whole.n_tokens
    assert not list((tmp_path / "run").glob("branch-*"))
