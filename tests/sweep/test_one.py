import shutil
from dataclasses import replace

import pytest
import torch

from prunescale import __version__
from prunescale.errors import DataError, ModelError, PruningError
from prunescale.models import load, named_from_anywhere, save
from prunescale.pruning import Calibration, prune
from prunescale.recipe import PruneRecipe, Recipe, TrainRecipe
from prunescale.runs import Store
from prunescale.runs.check import check
from prunescale.sweep import Progress, held_out_loss, run_recipe
from prunescale.training import Machine, read_tokens

CPU = torch.device("cpu")
MACHINE = Machine(CPU)
VOCABULARY = 257
N_BEFORE, N_AFTER = 10896, 8176  # four blocks of 2720 and a norm of 16; three
SAME = {"abs": 1e-5}  # the same float32 sums, in batches of another size


@pytest.fixture
def text(tmp_path):
    (tmp_path / "train.txt").write_text("never odd or even; " * 40)
    (tmp_path / "held-out.txt").write_text("never odd or even; " * 6 + "größer")
    return tmp_path


@pytest.fixture
def base(make_checkpoint, tmp_path):
    """The folder of a model that says how long it was pre-trained."""
    return save(make_checkpoint(tied=True, lineage={"pretraining": {"n_tokens": 12345}}), tmp_path / "base")


@pytest.fixture
def recipe(base, text):
    """One block of four, and six steps of 4 x 16 tokens."""
    train = TrainRecipe(
        data=str(text / "train.txt"),
        held_out=str(text / "held-out.txt"),
        tokens=384,
        learning_rate=0.01,
        sequence_length=16,
        batch_tokens=64,
        decay_fraction=0.5,
        n_measurements=3,
    )
    return Recipe(base=str(base), prune=PruneRecipe(method="block-influence", rate=0.3, calibration_tokens=100), train=train)


def loss_of(checkpoint, recipe) -> float:
    held_out = read_tokens(recipe.train.held_out, checkpoint.tokenizer, VOCABULARY)
    return held_out_loss(checkpoint, held_out, sequence_length=16, limit=recipe.train.held_out_tokens, device=CPU)


def pruned_by_hand(recipe):
    base = load(recipe.base)
    calibration = read_tokens(recipe.train.data, base.tokenizer, VOCABULARY).ids[: recipe.prune.calibration_tokens]
    return prune(
        base,
        method=recipe.prune.method,
        rate=recipe.prune.rate,
        calibration=Calibration(calibration, 16),
        base=named_from_anywhere(recipe.base),
    )


def test_a_recipe_from_beginning_to_end(recipe, tmp_path):
    run, trained = run_recipe(recipe, machine=MACHINE)

    check(run)
    with Store.create(tmp_path / "runs.db") as store:
        store.add(run)
        assert store.get(run.id) == run
        assert store.find(recipe.hash) == run

    assert run.recipe == recipe.to_dict()
    assert run.recipe_hash == recipe.hash
    assert (run.kind, run.base, run.pruning_method) == ("post-training", recipe.base, "block-influence")
    assert run.name == "base block-influence 0.250"
    assert run.pruning_rate == 1 - N_AFTER / N_BEFORE
    assert (run.n_params_before, run.n_params_non_embedding) == (N_BEFORE, N_AFTER)
    assert (run.n_params_embedding, run.n_params_head) == (VOCABULARY * 16, 0)
    assert run.n_params_total == run.n_params_nonzero == VOCABULARY * 16 + N_AFTER
    assert (run.n_params_attention, run.n_params_ffn, run.n_params_norm) == (3 * 768, 3 * 1920, 7 * 16)
    assert run.n_params_linear == 3 * (768 + 1920) + VOCABULARY * 16
    assert run.n_tokens_pretrain == 12345
    # Each of 19 * 6 + 8 bytes, of which ö and ß have two, is a token, and there is one more for the end.
    assert run.bytes_per_token == 122 / 123
    assert run.n_tokens == 384
    assert run.flops == trained.shape.flops_per_token(16) * 384
    # Three a forward pass: two per linear weight, and 2 * 3 blocks * 16 channels * 16 positions for the attention.
    assert run.flops == 3 * (2 * run.n_params_linear + 2 * 3 * 16 * 16) * 384
    assert run.tokens_per_second == 384 / run.seconds
    assert run.versions["prunescale"] == __version__
    assert run.versions["torch"] == torch.__version__

    assert run.loss_before == pytest.approx(loss_of(load(recipe.base), recipe), **SAME)
    pruned, done = pruned_by_hand(recipe)
    assert run.points[0].loss == pytest.approx(loss_of(pruned, recipe), **SAME)
    assert abs(run.points[0].loss - run.loss_before) > 0.01  # or the two could have been mixed up
    assert run.loss == pytest.approx(loss_of(trained, recipe), **SAME)
    assert run.loss < run.points[0].loss
    assert trained.lineage == {
        "pretraining": {"n_tokens": 12345},
        "pruning": {**vars(done), "base": recipe.base},
        "training": [{"recipe": recipe.to_dict(), "run": run.id, "loss": run.loss}],
    }
    assert not trained.model.training


def test_the_same_recipe_gives_the_same_curve(recipe):
    (first, _), (second, _) = (run_recipe(recipe, machine=MACHINE) for _ in range(2))
    assert [point.loss for point in first.points] == [point.loss for point in second.points]
    assert first.recipe_hash == second.recipe_hash
    assert first.id != second.id


def test_a_control_without_pruning(recipe):
    run, trained = run_recipe(replace(recipe, prune=None), machine=MACHINE)
    check(run)
    assert (run.pruning_rate, run.pruning_method, run.name) == (0.0, None, "base unpruned")
    assert run.n_params_before == run.n_params_non_embedding == N_BEFORE
    assert run.points[0].loss == pytest.approx(run.loss_before, **SAME)
    assert "pruning" not in trained.lineage


def test_a_model_pruned_earlier_is_measured_against_its_base(recipe, tmp_path):
    pruned, done = pruned_by_hand(recipe)
    later = replace(recipe, base=str(save(pruned, tmp_path / "pruned")), prune=None)
    run, trained = run_recipe(later, machine=MACHINE)
    check(run)
    at_once, _ = run_recipe(recipe, machine=MACHINE)
    for name in ("pruning_method", "pruning_rate", "n_params_before", "n_params_total", "loss_before", "n_tokens_pretrain"):
        assert getattr(run, name) == getattr(at_once, name)
    assert run.base == done.base == recipe.base
    assert [point.loss for point in run.points] == [point.loss for point in at_once.points]

    again = replace(later, base=str(save(trained, tmp_path / "trained")))
    longer, twice_trained = run_recipe(again, machine=MACHINE)
    assert [entry["run"] for entry in twice_trained.lineage["training"]] == [run.id, longer.id]
    assert (longer.loss_before, longer.n_params_before) == (run.loss_before, N_BEFORE)
    assert longer.points[0].loss == pytest.approx(run.loss, **SAME)


def test_a_base_that_is_gone_is_needed_only_for_its_loss(recipe, tmp_path):
    pruned, _ = pruned_by_hand(recipe)
    later = replace(recipe, base=str(save(pruned, tmp_path / "pruned")), prune=None)
    shutil.rmtree(recipe.base)
    with pytest.raises(ModelError, match="There is no model at"):
        run_recipe(later, machine=MACHINE)
    run, _ = run_recipe(later, machine=MACHINE, loss_before=1.25)
    assert (run.loss_before, run.n_params_before) == (1.25, N_BEFORE)


def test_pruning_what_was_pruned_counts_from_the_first_base(recipe, tmp_path):
    # It was refused once, and before that the run named the model in between as its base.
    pruned, done = pruned_by_hand(recipe)
    between = str(save(pruned, tmp_path / "pruned"))
    twice = replace(recipe, base=between, prune=PruneRecipe(rate=0.5, calibration_tokens=100))
    run, trained = run_recipe(twice, machine=MACHINE)
    check(run)
    assert (run.base, run.n_params_before) == (recipe.base, N_BEFORE)
    assert run.pruning_rate == 1 - (N_AFTER - 2720) / N_BEFORE
    assert run.loss_before == pytest.approx(loss_of(load(recipe.base), recipe), **SAME)
    assert [earlier["rate"] for earlier in trained.lineage["pruning"]["earlier"]] == [done.rate]
    with pytest.raises(PruningError, match=r"0\.2496 of that is gone already: got 0\.2, give more"):
        run_recipe(replace(twice, prune=PruneRecipe(rate=0.2)), machine=MACHINE, loss_before=1.25)


def test_a_damaged_base_is_found_before_training(make_checkpoint, recipe, tmp_path):
    damaged = make_checkpoint()
    damaged.model.model.norm.weight.data[0] = float("nan")
    trained_on = []
    of_damaged = replace(recipe, base=str(save(damaged, tmp_path / "damaged")))
    progress = Progress(step=trained_on.append)
    with pytest.raises((ModelError, PruningError), match="not finite, so it is damaged"):
        run_recipe(of_damaged, machine=MACHINE, progress=progress)
    with pytest.raises(ModelError, match="The held-out loss of damaged is nan"):
        run_recipe(replace(of_damaged, prune=None), machine=MACHINE, progress=progress)
    assert trained_on == []


def test_only_so_many_held_out_tokens_are_measured(recipe):
    short = replace(recipe, train=replace(recipe.train, held_out_tokens=32))
    run, _ = run_recipe(short, machine=MACHINE)
    assert run.loss_before == pytest.approx(loss_of(load(recipe.base), short), **SAME)
    assert run.loss_before != pytest.approx(loss_of(load(recipe.base), recipe), **SAME)


def test_progress_is_told(recipe):
    stages, steps, points = [], [], []
    run, _ = run_recipe(recipe, machine=MACHINE, progress=Progress(stage=stages.append, step=steps.append, point=points.append))
    assert stages == ["loading", "pruning", "measuring the loss before pruning", "training"]
    assert steps == [64, 128, 192, 256, 320, 384]
    assert tuple(points) == run.points


def test_a_run_names_its_base_the_same_from_any_folder(recipe, tmp_path, monkeypatch):
    # In one step it was stored as written, in two as `prune` writes it: the two would not have been fitted as one base.
    monkeypatch.chdir(tmp_path)
    relative = replace(recipe, base="base")
    run, trained = run_recipe(relative, machine=MACHINE)
    control, _ = run_recipe(replace(relative, prune=None), machine=MACHINE)
    assert run.base == control.base == trained.lineage["pruning"]["base"] == str(tmp_path / "base")
    assert run.recipe["base"] == "base"
    assert run.recipe_hash == relative.hash


def test_sequences_longer_than_the_model_was_made_for_are_refused(recipe):
    long = replace(recipe, train=replace(recipe.train, sequence_length=129, batch_tokens=258, tokens=258))
    with pytest.raises(DataError, match="Sequences of 129 tokens are too long for base, which was made for 128"):
        run_recipe(long, machine=MACHINE)
