import json
from dataclasses import asdict, replace

import pytest
import torch

from prunescale.errors import PruningError, TrainingError, TrainingStopped
from prunescale.models import load, save
from prunescale.pruning import Calibration, prune
from prunescale.recipe import PruneRecipe, Recipe, TrainRecipe
from prunescale.runs import Store
from prunescale.runs.check import check
from prunescale.shape import ModelShape
from prunescale.sweep import Progress, held_out_loss, run_recipe
from prunescale.sweep.steps import SEED_STRIDE, between_recipe, is_gone, keeps_zeros, rates_of_steps, train_between_
from prunescale.training import Machine, read_tokens, train_

CPU = torch.device("cpu")
MACHINE = Machine(CPU)
BLOCK, NORM = 2720, 16  # parameters of a block of the tiny model, and of the norm behind the blocks
N_BEFORE = 6 * BLOCK + NORM
VOCABULARY = 257


@pytest.fixture
def base(make_checkpoint, tmp_path):
    return save(make_checkpoint(num_hidden_layers=6), tmp_path / "base")


@pytest.fixture
def recipe(base, tmp_path):
    """From six blocks to three by way of four, with three steps of 4 x 16 tokens between and six after."""
    (tmp_path / "train.txt").write_text("never odd or even; " * 40)
    (tmp_path / "held-out.txt").write_text("never odd or even; " * 6)
    train = TrainRecipe(
        data=str(tmp_path / "train.txt"),
        held_out=str(tmp_path / "held-out.txt"),
        tokens=384,
        learning_rate=0.01,
        sequence_length=16,
        batch_tokens=64,
        warmup_tokens=128,
        decay_fraction=0.5,
        n_measurements=3,
    )
    return Recipe(base=str(base), prune=PruneRecipe(rate=0.5, calibration_tokens=100, steps=2, step_tokens=150), train=train)


def loss_of(checkpoint, recipe) -> float:
    held_out = read_tokens(recipe.train.held_out, checkpoint.tokenizer, VOCABULARY)
    return held_out_loss(checkpoint, held_out, sequence_length=16, limit=None, device=CPU)


def test_two_steps_with_training_between(recipe, tmp_path):
    stages, steps, points = [], [], []
    run, trained = run_recipe(
        recipe, machine=MACHINE, progress=Progress(stage=stages.append, step=steps.append, point=points.append)
    )
    check(run)
    with Store.create(tmp_path / "runs.db") as store:
        store.add(run)
        assert store.get(run.id) == run

    # sqrt(1/2) of the model is to be left after the first step: 4.24 of 6 blocks.
    lineage = trained.lineage["pruning"]
    (earlier,) = lineage["earlier"]
    assert (earlier["rate_wanted"], lineage["rate_wanted"]) == (1 - 0.5**0.5, 0.5)
    assert (earlier["rate"], lineage["rate"]) == (1 - (4 * BLOCK + NORM) / N_BEFORE, 1 - (3 * BLOCK + NORM) / N_BEFORE)
    assert (len(earlier["blocks_dropped"]), len(lineage["blocks_dropped"])) == (2, 1)
    assert earlier["base"] == lineage["base"] == run.base == recipe.base
    assert trained.model.config.num_hidden_layers == 3
    assert (run.pruning_rate, run.n_params_before, run.n_params_non_embedding) == (lineage["rate"], N_BEFORE, 3 * BLOCK + NORM)
    assert run.loss_before == pytest.approx(loss_of(load(recipe.base), recipe), abs=1e-5)  # of the six blocks
    assert run.loss == pytest.approx(loss_of(trained, recipe), abs=1e-5)

    # 150 tokens are three batches. The curve, the speed and what is told of the progress are those of the last training.
    assert [point.n_tokens for point in run.points] == [0, 64, 128, 384]
    assert tuple(points) == run.points
    assert steps == [64, 128, 192, 256, 320, 384]
    per_token = [replace(trained.shape, n_layers=n).flops_per_token(16) for n in (4, 3)]
    assert run.inputs == {"n_prunings": 2.0, "n_tokens_between": 192.0, "flops_between": 192.0 * per_token[0]}
    assert run.flops == 192 * per_token[0] + 384 * per_token[1]
    assert run.seconds > run.points[-1].seconds
    assert run.tokens_per_second == 384 / run.points[-1].seconds
    (training,) = trained.lineage["training"]
    (between,) = training["between"]
    assert (between["rate"], between["n_tokens"], between["flops"]) == (earlier["rate"], 192, 192.0 * per_token[0])
    assert between["loss"] < between["loss_before"]
    assert run.seconds == run.points[-1].seconds + between["seconds"]
    assert stages == [
        "loading",
        "pruning",
        "measuring the loss before pruning",
        "training after step 1 of 2",
        "pruning, step 2 of 2",
        "training",
    ]


def test_the_steps_are_those_taken_one_by_one(recipe):
    run, _ = run_recipe(recipe, machine=MACHINE)
    base = load(recipe.base)
    tokens, held_out = (read_tokens(path, base.tokenizer, VOCABULARY) for path in (recipe.train.data, recipe.train.held_out))
    calibration = Calibration(tokens.ids[:100], 16)
    four, _ = prune(base, method="block-influence", rate=0.3, calibration=calibration)
    # Three steps: the rate rises over two of them, as it does at the beginning of the recipe's training, and does not fall.
    between = replace(recipe.train, tokens=192, decay_fraction=0.0, seed=SEED_STRIDE, n_measurements=1)
    curve = train_(four.model, tokens, held_out, between, machine=MACHINE)
    assert [(point.n_tokens, point.phase) for point in curve.points] == [(0, "before"), (192, "constant")]
    three, _ = prune(four, method="block-influence", rate=0.5, calibration=calibration)
    assert train_(three.model, tokens, held_out, recipe.train, machine=MACHINE).points[-1].loss == run.loss


def test_cut_off_between_two_prunings_it_goes_on_from_there(recipe, tmp_path):
    """Three prunings, of one block each, with trainings of three steps between: stopped in the second of them."""
    wanted = replace(recipe, prune=replace(recipe.prune, steps=3))
    expected, whole = run_recipe(wanted, machine=MACHINE)
    asked, stages = [], []

    def should_stop():
        asked.append(len(asked))
        return len(asked) == 5

    stopping = Machine(CPU, should_stop=should_stop)
    with pytest.raises(TrainingStopped):
        run_recipe(wanted, machine=stopping, keep_in=tmp_path / "run")
    assert [place.name for place in (tmp_path / "run" / "between").iterdir()] == ["2"]

    run, trained = run_recipe(
        wanted, machine=MACHINE, keep_in=tmp_path / "run", progress=Progress(stage=stages.append, note=stages.append)
    )
    assert stages == ["loading", "training after step 2 of 3", "pruning, step 3 of 3", "training"]
    assert [point.loss for point in run.points] == [point.loss for point in expected.points]
    assert (run.loss_before, run.inputs, run.flops) == (expected.loss_before, expected.inputs, expected.flops)
    between, at_once = (one.lineage["training"][0]["between"] for one in (trained, whole))
    assert [{**done, "seconds": 0} for done in between] == [{**done, "seconds": 0} for done in at_once]
    assert json.dumps(trained.lineage["pruning"]) == json.dumps(whole.lineage["pruning"])
    assert not (tmp_path / "run" / "between").exists()


def test_killed_before_the_pruned_model_was_known_to_be_whole_it_prunes_again(recipe, tmp_path, monkeypatch):
    """It once found its own model in the way, each time."""
    monkeypatch.setattr("prunescale.training.RunFolder.begin", lambda *arguments: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception, match="killed"):
        run_recipe(recipe, machine=MACHINE, keep_in=tmp_path / "run")
    monkeypatch.undo()
    run, _ = run_recipe(recipe, machine=MACHINE, keep_in=tmp_path / "run")
    assert run.loss == run_recipe(recipe, machine=MACHINE)[0].loss


def test_a_run_that_goes_on_is_of_the_type_of_its_base(recipe, tmp_path):
    """It was float32 once, as its folder keeps it: twice the file."""
    half = replace(recipe, base=str(save(load(recipe.base), tmp_path / "half", dtype=torch.bfloat16)))
    n_asked = iter(range(8))  # three of the training between, and five
    with pytest.raises(TrainingStopped):
        run_recipe(half, machine=Machine(CPU, should_stop=lambda: next(n_asked) == 7), keep_in=tmp_path / "run")
    _, trained = run_recipe(half, machine=MACHINE, keep_in=tmp_path / "run")
    assert trained.dtype == torch.bfloat16


def test_training_between_steps_goes_by_the_recipe_with_other_data(recipe):
    first, second = (between_recipe(recipe, step) for step in (1, 2))
    assert asdict(first) == {
        **asdict(recipe.train),
        "tokens": 150,
        "decay_fraction": 0.0,
        "n_measurements": 1,
        "first_measurement": None,
        "seed": SEED_STRIDE,
    }
    assert second == replace(first, seed=2 * SEED_STRIDE)
    short = replace(recipe, prune=replace(recipe.prune, step_tokens=100))
    assert between_recipe(short, 1).warmup_tokens == 100  # of 128: all of the step


SHAPE = ModelShape(
    n_layers=6, hidden_size=16, ffn_size=40, n_heads=4, n_kv_heads=2, head_dim=4, vocab_size=VOCABULARY, tied_embeddings=True
)


def in_steps(n_steps, rate, method="magnitude"):
    return PruneRecipe(method=method, rate=rate, steps=n_steps, step_tokens=1)


def test_each_step_leaves_the_same_share():
    assert rates_of_steps(in_steps(3, 0.488), {}, SHAPE) == pytest.approx([0.2, 0.36, 0.488])  # 0.8, 0.8^2, 0.8^3
    assert rates_of_steps(PruneRecipe(rate=0.4), {}, SHAPE) == [0.4]
    assert rates_of_steps(PruneRecipe(method="magnitude", pattern="2:4"), {}, SHAPE) == [None]
    pruned_earlier = {"pruning": {"rate": 0.2, "n_params_before": 20_000}}
    assert rates_of_steps(in_steps(2, 0.488), pruned_earlier, SHAPE) == pytest.approx([0.36, 0.488])


def test_steps_that_add_no_block_are_left_out():
    # Of 6 blocks (the norm behind them is next to nothing) 1/2 in 8 steps: 0.50, 0.95, 1.37, 1.76, 2.11, 2.43, 2.73, 3.00.
    # They come to 0, 1, 1, 2, 2, 2, 3 and 3.
    rates = rates_of_steps(in_steps(8, 0.5, "contiguous"), {}, SHAPE)
    assert rates == pytest.approx([1 - 0.5 ** (step / 8) for step in (3, 6, 8)])
    assert rates_of_steps(in_steps(2, 0.17, "contiguous"), {}, SHAPE) == [0.17]  # 0.53 and 1.02 blocks
    assert rates_of_steps(in_steps(2, 0.01, "contiguous"), {}, SHAPE) == [0.01]  # none, which the method refuses
    two_dropped = {"pruning": {"rate": 2 * BLOCK / (8 * BLOCK + NORM), "n_params_before": 8 * BLOCK + NORM}}
    assert rates_of_steps(in_steps(2, 0.5, "contiguous"), two_dropped, SHAPE) == pytest.approx(
        [1 - (0.75 * 0.5) ** 0.5, 0.5], abs=1e-3
    )
    assert is_gone(0.2, two_dropped)
    assert not is_gone(0.3, two_dropped)


def test_steps_that_come_to_one_are_one(recipe):
    few = replace(recipe, prune=replace(recipe.prune, rate=0.17))
    at_once = replace(recipe, prune=PruneRecipe(rate=0.17, calibration_tokens=100))
    run, trained = run_recipe(few, machine=MACHINE)
    other, _ = run_recipe(at_once, machine=MACHINE)
    assert run.inputs == {"n_prunings": 1.0, "n_tokens_between": 0.0, "flops_between": 0.0}
    assert other.inputs == {}
    assert [point.loss for point in run.points] == [point.loss for point in other.points]
    assert "between" not in trained.lineage["training"][0]
    with pytest.raises(PruningError, match="rounds to no block of 6"):
        run_recipe(replace(recipe, prune=replace(recipe.prune, rate=0.01)), machine=MACHINE)


HALF_SPARSE = {"pruning": {"method": "by-hand", "base": "x", "rate": 0.4, "n_params_before": N_BEFORE, "sparsity": 0.5}}


@pytest.fixture
def by_hand(make_checkpoint, recipe, tmp_path):
    """The recipe of a model with every second weight of its blocks zero, as its lineage says or not."""

    def make(lineage, **train):
        checkpoint = make_checkpoint(num_hidden_layers=6, lineage=lineage)
        for name, parameter in checkpoint.model.named_parameters():
            if "_proj" in name:
                parameter.data[0::2, 0::2] = 0
                parameter.data[1::2, 1::2] = 0
        base = save(checkpoint, tmp_path / "by-hand")
        return replace(recipe, base=str(base), prune=None, train=replace(recipe.train, **train))

    return make


@pytest.mark.parametrize(
    ("lineage", "keep_zeros", "sparsity"),
    [(HALF_SPARSE, None, 0.5), (HALF_SPARSE, "off", 0.0), ({}, "on", 0.5), ({}, None, None)],
)
def test_zeros_of_a_sparse_model_stay_unless_the_recipe_says_otherwise(by_hand, lineage, keep_zeros, sparsity):
    run, trained = run_recipe(by_hand(lineage, keep_zeros=keep_zeros), machine=MACHINE, loss_before=3.0)
    n_zeros = 6 * (BLOCK - 2 * 16) // 2 if sparsity else 0
    assert run.inputs == ({} if sparsity is None else {"sparsity": sparsity})
    assert run.n_params_total - run.n_params_nonzero == n_zeros
    assert sum(int((parameter == 0).sum()) for parameter in trained.model.parameters()) == n_zeros
    assert run.loss < run.points[0].loss - 0.1


@pytest.mark.parametrize(("option", "value"), [("axes", "ffn,heads"), ("scope", "global")])
def test_options_reach_the_method(recipe, option, value):
    wanted = PruneRecipe(rate=0.5, **{option: value})
    with pytest.raises(PruningError, match=f"{option} has no meaning for the method block-influence"):
        run_recipe(replace(recipe, prune=wanted), machine=MACHINE)


def test_zeros_stay_between_steps(by_hand):
    sparse = by_hand(HALF_SPARSE)
    checkpoint = load(sparse.base)
    tokens, held_out = (
        read_tokens(path, checkpoint.tokenizer, VOCABULARY) for path in (sparse.train.data, sparse.train.held_out)
    )
    in_steps = replace(sparse, prune=PruneRecipe(method="magnitude", rate=0.6, steps=2, step_tokens=64))
    done = train_between_(checkpoint, in_steps, 1, tokens, held_out, MACHINE)
    assert sum(int((parameter == 0).sum()) for parameter in checkpoint.model.parameters()) == 6 * (BLOCK - 2 * 16) // 2
    assert (done.rate, done.n_tokens) == (0.4, 64)
    assert done.loss < done.loss_before


def test_zeros_to_keep_where_there_are_none(recipe):
    with pytest.raises(TrainingError, match="no weight of the linear layers in its blocks is zero"):
        run_recipe(replace(recipe, prune=None, train=replace(recipe.train, keep_zeros="on")), machine=MACHINE)


def test_any_pruning_that_made_zeros_counts(recipe):
    blocks_only = {"pruning": {"sparsity": None, "earlier": []}}
    both = {"pruning": {"sparsity": None, "earlier": [{"sparsity": 0.5}]}}
    assert [keeps_zeros(recipe.train, lineage) for lineage in ({}, blocks_only, HALF_SPARSE, both)] == [False, False, True, True]


@pytest.mark.parametrize(
    "wanted",
    [
        PruneRecipe(method="magnitude", pattern="2:4"),
        PruneRecipe(method="magnitude", rate=0.4, scope="global", steps=3, step_tokens=64),
    ],
)
def test_single_weights_stay_pruned(recipe, wanted):
    run, trained = run_recipe(replace(recipe, prune=wanted), machine=MACHINE)
    check(run)
    pruning = trained.lineage["pruning"]
    # Zeros are counted, and no weight that trains is zero by chance.
    assert run.inputs["sparsity"] == pytest.approx(pruning["sparsity"], abs=1e-12)
    assert run.pruning_rate == pruning["rate"]
    assert run.n_params_total - run.n_params_nonzero == N_BEFORE - pruning["n_params_after"]
    assert run.loss < run.points[0].loss
    if wanted.steps:
        assert [done["rate_wanted"] for done in pruning["earlier"]] == pytest.approx([1 - 0.6 ** (1 / 3), 1 - 0.6 ** (2 / 3)])
        assert run.inputs["n_tokens_between"] == 128
    else:
        assert run.inputs == {"sparsity": 0.5}
