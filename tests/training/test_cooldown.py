"""Branches in which the learning rate falls: each is the run that had planned to end there."""

import pytest
import torch

from prunescale.recipe import SparseRecipe, TrainRecipe
from prunescale.training import Machine, Tokens, loop, schedule_of, train_

MACHINE = Machine(torch.device("cpu"))
IDS = torch.arange(4000) * 7 % 250
PLAIN = {
    "data": "d",
    "held_out": "h",
    "tokens": 64 * 40,
    "learning_rate": 0.01,
    "sequence_length": 16,
    "batch_tokens": 64,
    "warmup_tokens": 64 * 4,
    "n_measurements": 8,
}


def points(make_model, sparse=None, **entries):
    recipe = TrainRecipe(**{**PLAIN, **entries})
    return train_(make_model(tied=False), Tokens(IDS, None), Tokens(IDS[:400], None), recipe, machine=MACHINE, sparse=sparse)


def facts(curve, annealed):
    return [(p.n_tokens, p.loss, p.learning_rate) for p in curve.points if (p.phase == "annealed") == annealed]


def test_where_they_leave_and_how_the_rate_falls():
    schedule = schedule_of(TrainRecipe(**PLAIN, cooldowns=(64 * 40, 64 * 20), cooldown_fraction=0.25))
    assert [(cooldown.start, cooldown.end) for cooldown in schedule.cooldowns] == [(15, 20), (30, 40)]
    # Five steps: 5/6 of the peak at the first, 1/6 at the last.
    assert [schedule.cooldowns[0].learning_rate(step) for step in range(16, 21)] == pytest.approx(
        [0.01 * n / 6 for n in (5, 4, 3, 2, 1)]
    )
    assert schedule.n_steps_in_all == 40 + 5 + 10


def test_a_branch_is_the_run_that_had_planned_to_end_there(make_model):
    trunk = points(make_model)
    branched = points(make_model, cooldowns=(64 * 15, 64 * 30, 64 * 40))
    assert facts(branched, annealed=False) == facts(trunk, annealed=False)  # to the last bit: the trunk knows of no branch
    ends = facts(branched, annealed=True)
    assert [n_tokens // 64 for n_tokens, *_ in ends] == [15, 30, 40]
    for n_tokens, loss, rate in ends:
        alone = points(make_model, tokens=n_tokens, decay_fraction=0.2, n_measurements=1)
        assert facts(alone, annealed=True) == [(n_tokens, loss, pytest.approx(rate))]
    assert branched.n_tokens == 64 * (40 + 3 + 6 + 8)


def test_branches_that_overlap(make_model):
    both = points(make_model, cooldowns=(64 * 20, 64 * 22), cooldown_fraction=0.5)
    one = points(make_model, cooldowns=(64 * 22,), cooldown_fraction=0.5)
    assert facts(both, annealed=True)[1] == facts(one, annealed=True)[0]


def test_seconds_of_a_branch_are_not_the_trunks(make_model):
    curve = points(make_model, cooldowns=(64 * 20,), cooldown_fraction=0.5)
    trunk = [p.seconds for p in curve.points if p.phase != "annealed"]
    assert trunk == sorted(trunk)
    assert trunk[-1] < curve.seconds
    assert curve.tokens_per_second == curve.n_tokens / curve.seconds


def test_a_sparse_training_has_branches_too(make_model):
    sparse = SparseRecipe(sparsity=0.5, start=0.1, end=0.4, of="steps", every=2)
    trunk, branched = points(make_model, sparse), points(make_model, sparse, cooldowns=(64 * 10, 64 * 40))
    assert facts(branched, annealed=False) == facts(trunk, annealed=False)
    assert branched.left == trunk.left


def test_a_cosine_falls_to_its_end():
    schedule = schedule_of(TrainRecipe(**{**PLAIN, "warmup_tokens": 0}, decay_fraction=1.0, decay="cosine", final_rate=0.1))
    # Of 40 steps, with the rate one step after the last at a tenth: in the middle, after 20.5 of 41, it is half way between.
    rates = [schedule.learning_rate(step) for step in range(1, 42)]
    assert rates[19] + rates[20] == pytest.approx(2 * 0.01 * 0.55)
    assert rates[-1] == pytest.approx(0.001)
    assert rates == sorted(rates, reverse=True)


def test_a_branch_is_pruned_as_the_trunk_is(make_model, monkeypatch):
    """It was not once, and its end was said to have as few weights as the trunk has there."""
    sparse = SparseRecipe(sparsity=0.75, start=0.2, end=0.5, of="steps", every=2)
    zeros = []

    def counted(*arguments, **options):
        model = made[0]
        zeros.append(
            sum(int((weight == 0).sum()) for name, weight in model.named_parameters() if "proj" in name or "lm_head" in name)
        )
        return measure(*arguments, **options)

    measure, made = loop.measure, []
    monkeypatch.setattr(loop, "measure", counted)

    def curve(**entries):
        made[:] = [make_model(tied=False)]
        zeros.clear()
        recipe = TrainRecipe(**{**PLAIN, **entries})
        train_(made[0], Tokens(IDS, None), Tokens(IDS[:400], None), recipe, machine=MACHINE, sparse=sparse)
        return list(zeros)

    # The branch to step 18 leaves after 14, and prunings are due after 8, 10, ..., 20.
    ends = [n for n in curve(cooldowns=(64 * 18,), n_measurements=1, first_measurement=64 * 40) if n]
    at_18 = [n for n in curve(n_measurements=2, first_measurement=64 * 18) if n]
    assert len(ends) == len(at_18) == 2
    assert ends == at_18  # at 18 steps, in the branch and in the trunk, and at the end of the trunk
