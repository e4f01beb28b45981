"""Recipes of every kind, from beginning to end: made from nothing, sparse, with a teacher, cut off, and on two processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from prunescale.errors import ModelError, PruningError, RecipeError, TrainingError
from prunescale.models import load, save
from prunescale.recipe import DistillRecipe, ModelRecipe, PruneRecipe, Recipe, SparseRecipe, TrainRecipe
from prunescale.runs import Store, read_runs
from prunescale.runs.check import check
from prunescale.runs.table import columns
from prunescale.sweep import run_recipe
from prunescale.sweep.one import kept_blocks, teacher_of
from prunescale.training import Machine, Progress

MACHINE = Machine(torch.device("cpu"))


@pytest.fixture
def train(tmp_path):
    (tmp_path / "train.txt").write_text("never odd or even; " * 40)
    (tmp_path / "held-out.txt").write_text("never odd or even; " * 6 + "größer")
    return TrainRecipe(
        data=str(tmp_path / "train.txt"),
        held_out=str(tmp_path / "held-out.txt"),
        tokens=768,
        learning_rate=0.01,
        sequence_length=16,
        batch_tokens=64,
        n_measurements=3,
    )


@pytest.fixture
def base(make_checkpoint, tmp_path):
    return str(save(make_checkpoint(tied=False), tmp_path / "base"))


@pytest.fixture
def from_nothing(train, base):
    model = ModelRecipe(tokenizer=base, layers=2, hidden_size=16, ffn_size=24, heads=2)
    return Recipe(model=model, sparse=SparseRecipe(sparsity=0.75, of="steps", every=2), train=train)


N_LINEAR = 2 * (4 * 16 * 16 + 3 * 16 * 24) + 257 * 16  # attention and feed-forward of two blocks, and the head


def test_sparse_pre_training(from_nothing, tmp_path):
    run, trained = run_recipe(from_nothing, machine=MACHINE)
    check(run)
    assert (run.kind, run.pruning_method, run.base) == ("pre-training", "gradual-magnitude", "llama-2x16")
    assert run.n_params_linear == N_LINEAR
    assert run.n_params_left[0] == (0, N_LINEAR)
    assert run.n_params_left[-1][1] == N_LINEAR // 4
    assert run.inputs["sparsity"] == 0.75  # of all that could be pruned, the head among it
    # Twelve steps, pruned after the steps 3, 5, 7, 9.
    kept = [int(0.25 ** (k / 4) * N_LINEAR) for k in range(5)]
    average = (3 * kept[0] + 2 * kept[1] + 2 * kept[2] + 2 * kept[3] + 3 * kept[4]) / 12
    assert run.n_params_average(768) == pytest.approx(average)
    assert run.n_params_average(64 * 6) == pytest.approx((3 * kept[0] + 2 * kept[1] + kept[2]) / 6)
    assert run.inputs["flops_sparse"] == pytest.approx(6 * average * 768)
    assert run.flops == trained.shape.flops_per_token(16) * 768
    with Store.create(tmp_path / "runs.db") as store:
        store.add(run)
        assert store.list() == (run,)
        table = columns(store.list())
    assert table["n_params_average"][-1] == pytest.approx(average)

    later = save(trained, tmp_path / "trained")
    zeros = {name: weight == 0 for name, weight in trained.model.named_parameters()}
    again, twice = run_recipe(Recipe(base=str(later), train=from_nothing.train), machine=MACHINE)
    for name, weight in twice.model.named_parameters():
        assert torch.equal(weight == 0, zeros[name]), name  # the head among them
    assert zeros["lm_head.weight"].any()
    assert again.n_tokens_pretrain == 768
    assert again.n_params_left == ((0, N_LINEAR // 4),)  # the head's zeros too
    assert again.inputs["sparsity"] == 0.75


def test_blocks_of_a_sparse_model_are_not_dropped_as_if_its_zeros_were_parameters(from_nothing, train, tmp_path):
    _, trained = run_recipe(from_nothing, machine=MACHINE)
    base = str(save(trained, tmp_path / "sparse"))
    with pytest.raises(PruningError, match="Single weights of the model were pruned before"):
        run_recipe(Recipe(base=base, prune=PruneRecipe(rate=0.5, calibration_tokens=64), train=train), machine=MACHINE)


def test_zeros_of_a_sparse_training_of_a_base_stay_too(base, train, tmp_path):
    """They grew back in the next training once: only sparse models from nothing said that they were."""
    sparse = SparseRecipe(sparsity=0.75, of="steps", every=2)
    _, trained = run_recipe(Recipe(base=base, sparse=sparse, train=train), machine=MACHINE)
    zeros = {name: weight == 0 for name, weight in trained.model.named_parameters()}
    assert zeros["lm_head.weight"].any()
    again, twice = run_recipe(Recipe(base=str(save(trained, tmp_path / "trained")), train=train), machine=MACHINE)
    assert again.inputs["sparsity"] == pytest.approx(0.75, abs=1e-3)
    for name, weight in twice.model.named_parameters():
        assert torch.equal(weight == 0, zeros[name]), name
    with pytest.raises(TrainingError, match=r"75.0% of the weights that \[sparse\] is to prune are zero already"):
        run_recipe(Recipe(base=str(tmp_path / "trained"), sparse=sparse, train=train), machine=MACHINE)


def test_a_pattern_that_does_not_divide_a_row_is_refused_before_any_training(from_nothing):
    odd = replace(from_nothing, sparse=SparseRecipe(pattern="3:5", of="steps", every=2))
    with pytest.raises(TrainingError, match=r"Rows of 16 weights are no multiple of the 5 of sparse\.pattern 3:5"):
        run_recipe(odd, machine=MACHINE)


def test_made_from_nothing_it_is_the_same_on_every_machine_and_with_every_seed_another(from_nothing):
    dense = replace(from_nothing, sparse=None)
    losses = [run_recipe(dense, machine=MACHINE)[0].points[0].loss for _ in range(2)]
    assert losses[0] == losses[1]
    other = replace(dense, model=replace(dense.model, init_seed=1))
    assert run_recipe(other, machine=MACHINE)[0].points[0].loss != losses[0]


def test_a_model_larger_than_the_machine_is_refused_before_room_is_made(from_nothing):
    large = replace(from_nothing.model, layers=1000, hidden_size=2**20, ffn_size=2**20)
    with pytest.raises(ModelError, match=r"parameters takes [\d,]+ GB, and this machine has \d+: make \[model\] smaller"):
        run_recipe(replace(from_nothing, model=large), machine=MACHINE)


def test_a_model_and_a_base_are_one_too_many(from_nothing, train):
    with pytest.raises(RecipeError, match=r"base is 'x'; it must be left out where a section \[model\]"):
        replace(from_nothing, base="x")
    with pytest.raises(RecipeError, match="base is missing"):
        Recipe(train=train)
    assert Recipe.from_toml(from_nothing.to_toml()) == from_nothing


@pytest.fixture
def pruned(base, train):
    return Recipe(base=base, prune=PruneRecipe(method="contiguous", rate=0.3, calibration_tokens=64), train=train)


@pytest.mark.parametrize("hidden", [0.0, 0.5])
def test_learning_from_the_parent(pruned, hidden):
    """What is left of the model stays nearer to what it was."""
    taught, model = run_recipe(replace(pruned, distill=DistillRecipe(hidden=hidden)), machine=MACHINE)
    alone, other = run_recipe(pruned, machine=MACHINE)
    assert taught.points[0] == alone.points[0]
    assert taught.flops > alone.flops
    parent = load(pruned.base).model
    ids = torch.randint(1, 257, (8, 16), generator=torch.Generator().manual_seed(0))
    text = torch.tensor(list(b"never odd or even; ")).repeat(4)[None] + 1
    distances = [distance(child.model, parent, text) for child in (model, other)]
    assert distances[0] < distances[1]
    assert distance(parent, parent, ids) == pytest.approx(0, abs=1e-6)


@torch.no_grad()
def distance(child, parent, ids):
    wanted, got = (torch.log_softmax(model(input_ids=ids).logits, -1) for model in (parent, child))
    return float((wanted.exp() * (wanted - got)).sum(-1).mean())


def test_a_teacher_that_is_none(pruned, train, base, make_checkpoint, tmp_path):
    with pytest.raises(TrainingError, match=r"base was not pruned, and has no parent to learn from: name a distill\.teacher"):
        run_recipe(replace(pruned, prune=None, distill=DistillRecipe()), machine=MACHINE)
    other = save(make_checkpoint(vocab_size=300), tmp_path / "other")
    with pytest.raises(TrainingError, match="The teacher knows 300 tokens and the model 257"):
        run_recipe(replace(pruned, distill=DistillRecipe(teacher=str(other))), machine=MACHINE)
    narrow = replace(pruned, prune=PruneRecipe(method="width-activation", rate=0.2, axes="hidden", calibration_tokens=64))
    with pytest.raises(TrainingError, match=r"cannot be compared with the teacher's 4 of width 16: leave distill\.hidden out"):
        run_recipe(replace(narrow, distill=DistillRecipe(hidden=1.0)), machine=MACHINE)


def test_which_blocks_are_left_after_several_prunings():
    # Of 6 the blocks 1 and 4 go, which leaves 0 2 3 5; of these the one at 2, which is block 3.
    assert kept_blocks({"earlier": [{"blocks_dropped": [1, 4]}], "blocks_dropped": [2]}, 6) == [0, 2, 5]
    assert kept_blocks({}, 2) == [0, 1]


def test_a_teacher_is_in_the_type_of_the_products(pruned):
    _, child = run_recipe(replace(pruned, train=replace(pruned.train, tokens=64)), machine=MACHINE)
    half = replace(pruned, distill=DistillRecipe(), train=replace(pruned.train, dtype="bfloat16"))
    teacher = teacher_of(half, child, MACHINE)
    assert teacher.model.dtype == torch.bfloat16
    assert teacher.blocks == [0, 1, 3] or len(teacher.blocks) == 3


def test_cut_off_it_goes_on_with_the_model_that_it_pruned(pruned, tmp_path, monkeypatch):
    """With cooldowns, whose list once made a recipe unlike itself when it was read back."""
    pruned = replace(pruned, train=replace(pruned.train, cooldowns=(512, 768)))
    expected, _ = run_recipe(pruned, machine=MACHINE)

    def stop(n_tokens):
        if n_tokens == 640:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(pruned, machine=MACHINE, keep_in=tmp_path / "run", progress=Progress(step=stop))
    monkeypatch.setattr("prunescale.sweep.begin.pruned", lambda *arguments: pytest.fail("pruned again"))
    monkeypatch.setattr("prunescale.sweep.begin.loss_before_pruning", lambda *arguments: pytest.fail("measured again"))
    run, trained = run_recipe(pruned, machine=MACHINE, keep_in=tmp_path / "run")
    assert [(p.n_tokens, p.loss) for p in run.points] == [(p.n_tokens, p.loss) for p in expected.points]
    assert run.loss_before == expected.loss_before
    assert trained.lineage["pruning"]["method"] == "contiguous"
    with pytest.raises(TrainingError, match="the folder of another run"):
        run_recipe(replace(pruned, train=replace(pruned.train, seed=1)), machine=MACHINE, keep_in=tmp_path / "run")


@pytest.mark.slow
def test_two_processes_prune_and_train_by_the_command(pruned, tmp_path):
    (tmp_path / "recipe.toml").write_text(replace(pruned, train=replace(pruned.train, cooldowns=(640,))).to_toml())
    expected, _ = run_recipe(Recipe.from_toml(tmp_path / "recipe.toml"), machine=MACHINE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "prunescale.cli.main"]
    command += ["train", "--recipe", "recipe.toml", "--device", "cpu", "--store", "runs.db", "--save", "trained", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    refused = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "Several processes train a model together by way of a folder: give one" in refused.stderr
    done = subprocess.run([*command, "--checkpoints", "run"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["name"] == expected.name  # printed once
    (run,) = read_runs(tmp_path / "runs.db")
    assert [(p.n_tokens, p.phase) for p in run.points] == [(p.n_tokens, p.phase) for p in expected.points]
    assert [p.loss for p in run.points] == pytest.approx([p.loss for p in expected.points], abs=1e-4)
    assert run.device.startswith("2 x CPU")
    assert load(tmp_path / "trained").shape.n_layers == 3
