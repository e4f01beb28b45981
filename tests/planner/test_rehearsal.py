"""Rehearsals of sweeps whose truth is known, since it is assumed."""

from dataclasses import replace
from math import log

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import fit, select
from prunescale.laws import PRESETS, HoffmannLaw, P2Law
from prunescale.planner import (
    Noise,
    Planned,
    Question,
    Verdict,
    ask_constant,
    ask_loss,
    ask_size,
    ask_sparsity,
    ask_tokens,
    best_size,
    crossed,
    improvements,
    noise_of,
    rehearse,
    tokens_worth_doubling,
)
from prunescale.planner.changes import changes
from prunescale.planner.rehearsal import studies

# Ours, invented: for 8B at a rate of 0.25, a doubling gains 0.0035 nats after about 49B tokens by either law, and both lie about
# 0.03 nats apart there. A small exponent makes the token term weak within reach: it hardly bends below 1B tokens.
WEAK = P2Law(gamma=-1.2, delta=0.1, N_C=4.75, alpha=0.3, D_C=1.99, beta=0.1, E=0.6)
STRONG = replace(WEAK, D_C=6.17, beta=0.3)
TARGET = {"n_params_before": 8e9, "pruning_rate": 0.25, "loss_before": 2.5}
BETWEEN = (1e7, 1e15)
POINTWISE = Noise(between_runs=0.0, within_run=0.002, correlation=0.0)


def paper(law, noise=POINTWISE, rates=(0.15, 0.25, 0.35), n_tokens=20):
    """In the P2 paper's design: six sizes, three rates, up to 1B tokens."""
    values = {"n_params_before": np.geomspace(0.5e9, 8e9, 6), "pruning_rate": rates, "loss_before": [2.5]}
    return Planned(law, crossed(values, np.geomspace(1e7, 1e9, n_tokens)), noise)


def asked(law):
    tokens = ask_tokens(law, TARGET, 0.0035, between=BETWEEN)
    return [tokens, ask_loss(law, {**TARGET, "n_tokens": 49e9})]


def test_a_weak_token_term_leaves_the_tokens_open_although_the_loss_is_known():
    tokens, loss = rehearse(paper(WEAK), asked(WEAK)).answers
    assert tokens.spread.truth == pytest.approx(tokens_worth_doubling(WEAK, TARGET, 0.0035))
    assert tokens.spread.truth == pytest.approx(49e9, rel=0.05)
    assert tokens.verdict is Verdict.CANNOT
    assert tokens.spread.factor > 50
    assert loss.verdict is Verdict.ANSWERS
    assert loss.error < 0.01


def test_a_strong_token_term_answers_both():
    rehearsal = rehearse(paper(STRONG), asked(STRONG))
    tokens, loss = rehearsal.answers
    assert tokens.spread.truth == pytest.approx(49e9, rel=0.05)
    assert rehearsal.verdict is tokens.verdict is loss.verdict is Verdict.ANSWERS
    assert 25e9 < tokens.spread.low < tokens.spread.truth < tokens.spread.high < 80e9
    assert tokens.error < 1.6


def test_without_noise_every_answer_is_the_truth():
    rehearsal = rehearse(paper(STRONG, Noise(0, 0, 0)), [*asked(STRONG), ask_constant(STRONG, "beta")], n=20)
    assert rehearsal.verdict is Verdict.ANSWERS
    for answered in rehearsal.answers:
        assert answered.spread.low == answered.spread.high == pytest.approx(answered.spread.truth, rel=1e-9)
        assert answered.error == pytest.approx(1.0 if answered.question.as_ratio else 0.0, abs=1e-9)
    for name, spread in rehearsal.constants.items():
        assert spread.median == pytest.approx(STRONG.constants()[name], rel=1e-9)
        assert rehearsal.at_bound[name] == 0
    assert rehearsal.any_at_bound == 0


def test_the_spread_grows_in_proportion_to_small_noise():
    # The same random numbers times twice the size: linear up to the square of the noise, a few per cent here.
    def spread(size):
        tokens, loss = rehearse(paper(STRONG, Noise(size, size / 2, 0.5)), asked(STRONG), n=50).answers
        return np.array([log(tokens.spread.factor), loss.spread.high - loss.spread.low])

    assert spread(1e-4) / spread(5e-5) == pytest.approx([2, 2], rel=0.05)


def test_one_rate_is_a_gap_whatever_the_noise_and_another_rate_closes_it():
    rehearsal = rehearse(paper(STRONG, Noise(0, 0, 0), rates=(0.25,)), asked(STRONG))
    (gap,) = rehearsal.gaps
    assert gap.got == "1 pruning rate"
    assert "gamma" in gap.constants
    assert rehearsal.verdict is Verdict.CANNOT
    assert all(answered.spread is None for answered in rehearsal.answers)
    found = improvements(rehearsal, n=20)
    helping = [each.words.partition(":")[0] for each in found if np.isfinite(each.error)]
    assert helping == ["one more pruning rate"] * 2
    assert found[0].words.startswith("one more pruning rate")
    assert found[0].gain == np.inf


def test_holding_a_constant_closes_a_gap_and_a_wrong_value_shows():
    one_rate = replace(paper(STRONG, Noise(0, 0, 0), rates=(0.25,)), fixed={"gamma": -1.2})
    assert rehearse(one_rate, asked(STRONG), n=20).verdict is Verdict.ANSWERS
    # From 0.25 to 0.5 the excess grows by 2^1.2 in truth and by 2 with gamma held at -1: no spread at all, and yet wrong.
    elsewhere = ask_loss(STRONG, {**TARGET, "pruning_rate": 0.5, "n_tokens": 1e9})
    wrong = rehearse(replace(one_rate, fixed={"gamma": -1.0}), [elsewhere], n=20).main
    excess = STRONG.loss(**TARGET | {"pruning_rate": 0.5, "n_tokens": 1e9}) - 2.5
    assert wrong.error == pytest.approx(excess * (1 - 2**-0.2), rel=1e-4)
    assert wrong.spread.high - wrong.spread.low < 1e-6


def test_the_same_seed_gives_the_same_answer_and_another_one_another():
    planned, questions = paper(STRONG, n_tokens=6), asked(STRONG)
    one, same, other = (rehearse(planned, questions, n=20, seed=seed) for seed in (1, 1, 2))
    assert [a.spread for a in one.answers] == [a.spread for a in same.answers]
    assert one.constants == same.constants
    assert one.answers[0].spread != other.answers[0].spread


def test_each_study_ends_where_a_fit_that_does_not_know_the_truth_would():
    planned = paper(WEAK, Noise())
    problem, ends = studies(planned, 3, 0, n_others=2)
    points = problem.points
    losses = points.loss * (1 + planned.noise.draw(points, 3, 0))
    for loss, end in zip(losses, ends, strict=True):
        found = fit(P2Law, points.columns | {"loss": loss}, phases=None)
        cost = problem.cost(end[None], loss)[0]
        assert cost == pytest.approx(found.cost, rel=1e-5)  # a study's own tolerance, 1e-8, on a long flat valley


def test_the_best_size_by_the_hoffmann_law():
    law = PRESETS["hoffmann-2022"].law
    runs = crossed({"n_params_total": [1e8, 3e8, 1e9, 3e9], "n_tokens": [1e9, 3e9, 1e10, 3e10]})
    question = ask_size(law, 1e23, {})
    answered = rehearse(Planned(law, runs), [question], n=60).main
    assert answered.spread.truth == pytest.approx(float(best_size(law, 1e23, "n_params_total", {})[0]))
    assert answered.spread.low < answered.spread.truth < answered.spread.high
    assert answered.verdict is Verdict.ANSWERS
    noisier = rehearse(Planned(law, runs, Noise(0.02, 0.0, 0.0)), [question], n=60).main
    assert noisier.verdict is not Verdict.ANSWERS
    assert noisier.error > answered.error


def test_the_best_sparsity_by_frantars_law():
    law = PRESETS["frantar-2023-t5"].law
    values = {"n_params_nonzero": [1e6, 1e7, 1e8], "sparsity": [0, 0.5, 0.75], "n_tokens": [1e5, 3e5, 1e6]}
    answered = rehearse(Planned(law, crossed(values)), [ask_sparsity(law, 1e15, 1e8)], n=20).main
    assert answered.spread.low < answered.spread.truth < answered.spread.high < 1


def test_an_error_is_what_nine_of_ten_stay_within():
    ratio = Question("q", lambda law: np.array([]), within=2.0, as_ratio=True)
    # 4 and 1/4 are both a factor of 4 off: twice the logarithm of 2.
    assert ratio.errors(np.array([4.0, 0.25, 1.0, 0.0]), 1.0) == pytest.approx([2, 2, 0, np.inf])
    assert ratio.in_own_terms(2.0) == pytest.approx(4.0)
    assert ratio.in_own_terms(np.inf) == ratio.in_own_terms(1e6) == np.inf
    difference = Question("q", lambda law: np.array([]), within=0.02, as_ratio=False)
    assert difference.errors(np.array([2.0, 2.03]), 2.01) == pytest.approx([0.5, 1.0])
    assert difference.in_own_terms(0.5) == pytest.approx(0.01)


def test_what_helps_is_ranked_by_what_it_surely_gains_for_its_cost():
    rehearsal = rehearse(paper(WEAK, n_tokens=8), asked(WEAK), n=20)
    found = improvements(rehearsal, n=60)
    priced = [each for each in found if each.extra_share is not None]
    assert priced == list(found[:-1])
    assert found[-1].words == "half the noise"
    assert [each.worth for each in priced] == sorted((each.worth for each in priced), reverse=True)
    by_words = {each.words: each for each in found}
    # Twice the runs: errors shrink by the root of 2, where they are small; three times the tokens adds twice the cost.
    assert 1.1 < by_words["every run twice"].gain < 2
    assert by_words["every run twice"].extra_share == pytest.approx(1)
    assert by_words["3 times the tokens a run"].extra_share == pytest.approx(2)
    assert by_words["3 times the tokens a run"].extra_tokens == pytest.approx(36e9)
    assert 1.4 < by_words["half the noise"].gain < 2.5


def test_a_sweep_is_crossed_and_priced():
    runs = crossed({"n_params_before": [1e6, 2e6], "pruning_rate": [0.25, 0.5], "loss_before": [3.0]}, [10, 100], n_seeds=3)
    planned = Planned(WEAK, runs)
    assert (planned.n_runs, planned.n_points) == (2 * 2 * 3, 2 * 2 * 3 * 2)
    assert planned.n_tokens == 12 * 100
    # 6 N (1 - rho) D, N (1 - rho) summed over the four kinds of run: 3e6 times (0.75 + 0.5).
    assert planned.flops == pytest.approx(6 * 3e6 * 1.25 * 100 * 3)


def test_changes_of_a_sweep():
    found = {change.words: change for change in changes(paper(WEAK, n_tokens=5))}
    assert list(found) == [
        "one more model size: 13.9B",
        "one more model size: 287M",
        "one more pruning rate: 0.45",
        "one more pruning rate: 0.05",
        "3 times the tokens a run",
        "every run twice",
        "half the noise",
    ]
    # Six sizes from 0.5B to 8B are a factor of 16^(1/5) apart; the new one comes with each of three rates.
    another = found["one more model size: 13.9B"].planned
    assert another.columns["n_params_before"].max() == pytest.approx(8e9 * 16**0.2)
    assert (another.n_runs, another.n_points) == (21, 21 * 5)
    # Points a factor of 100^(1/4) = 3.2 apart: one more reaches three times the tokens.
    longer = found["3 times the tokens a run"].planned
    assert (longer.n_runs, longer.n_points) == (18, 18 * 6)
    assert longer.columns["n_tokens"].max() == pytest.approx(3e9)
    assert found["every run twice"].planned.n_runs == 36
    assert found["half the noise"].planned.noise == Noise(0.0, 0.001, 0.0)


def test_runs_of_one_point_get_another_token_count_instead_of_longer_curves():
    runs = crossed({"n_params_total": [1e8, 1e9], "n_tokens": [1e9, 1e10]})
    words = [change.words for change in changes(Planned(PRESETS["hoffmann-2022"].law, runs, Noise(0, 0, 0)))]
    assert words == [
        "one more model size: 10B",
        "one more model size: 10M",
        "one more token count: 100B",
        "one more token count: 100M",
        "every run twice",
    ]


def points_of(planned):
    loss = planned.law.predict(planned.columns)
    return select(type(planned.law), {**planned.columns, "loss": loss})


def test_noise_has_the_size_that_was_asked_for():
    noise = Noise(between_runs=0.002, within_run=0.001, correlation=0.8)
    points = points_of(paper(WEAK, n_tokens=6))
    errors = noise.draw(points, 4000, 0).reshape(4000, 18, 6)
    # 72,000 runs of 6 points: standard deviations are known to 1 %, correlations to 0.01.
    assert errors.std() == pytest.approx(np.hypot(0.002, 0.001), rel=0.01)
    assert np.corrcoef(errors[:, 0, 0], errors[:, 1, 0])[0, 1] == pytest.approx(0, abs=0.05)
    along = np.diff(errors, axis=2)  # without the run's own part: variance 2 (1 - c) within^2
    assert along.std() == pytest.approx(0.001 * np.sqrt(2 * 0.2), rel=0.01)


def test_sweeps_that_share_runs_share_their_noise():
    noise, planned = Noise(), paper(WEAK, n_tokens=5)
    longer = next(change.planned for change in changes(planned) if change.words.startswith("3 times"))
    short, long = noise.draw(points_of(planned), 4, 7), noise.draw(points_of(longer), 4, 7)
    assert np.array_equal(long.reshape(4, 18, 6)[:, :, :5], short.reshape(4, 18, 5))


@pytest.mark.parametrize("truth", [Noise(0.004, 0.001, 0.7), Noise(0.0, 0.003, 0.0)])
def test_noise_is_found_again_in_the_residuals_of_a_fit(truth):
    law = HoffmannLaw(E=1.8, A=480.0, alpha=0.35, B=2100.0, beta=0.37)
    values = {"n_params_total": np.geomspace(1e7, 1e9, 40)}
    planned = Planned(law, crossed(values, np.geomspace(1e9, 1e11, 12)), truth)
    points = points_of(planned)
    found = noise_of(fit(HoffmannLaw, points.columns | {"loss": points.loss * (1 + truth.draw(points, 1, 3)[0])}, phases=None))
    # 40 runs: a standard deviation between them is known to 11 %, twice that allowed; within them, of 440 points, to a few per cent.
    assert found.between_runs == pytest.approx(truth.between_runs, rel=0.25, abs=0.0004)
    assert found.within_run == pytest.approx(truth.within_run, rel=0.15)
    assert found.correlation == pytest.approx(truth.correlation, abs=0.15)


def test_losses_without_noise_have_none():
    planned = Planned(STRONG, paper(STRONG, n_tokens=6).columns)
    points = points_of(planned)
    assert noise_of(fit(P2Law, points.columns, phases=None)) == Noise(0, 0, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noise(0.6), "The noise between runs is a share of the loss from 0 to 0.5, such as 0.002; got 0.6"),
        (lambda: Noise(correlation=1.0), "at least 0 and below 1; got 1"),
        (lambda: paper(replace(WEAK, beta=7.0)), "beta is 7, outside its bounds 0 to 3"),
        (lambda: replace(paper(WEAK), fixed={"zeta": 0.0}), "The P2 law has no constant zeta; it has gamma"),
        (lambda: paper(WEAK, rates=(0.2, 1.0)), "A planned pruning_rate must be above 0 and below 1, got 1"),
        (lambda: Planned(WEAK, {"run": np.array(["a"])}), "needs the columns n_params_before, n_tokens"),
        (lambda: rehearse(paper(WEAK), asked(WEAK), n=5), "needs 20 of them at least, got 5"),
        (lambda: ask_tokens(WEAK, {}, 0.01, between=BETWEEN), "pruning_rate, loss_before is missing"),
        (lambda: ask_tokens(WEAK, TARGET, 0.01, between=BETWEEN, within=1.0), "a factor above 1, got 1"),
        (lambda: ask_loss(WEAK, {**TARGET, "n_tokens": 1e9}, within=0.0), "a difference above 0, got 0"),
        (lambda: ask_constant(WEAK, "zeta"), "has no constant zeta"),
        (lambda: ask_constant(replace(WEAK, E=0.0), "E"), "E is assumed to be 0"),
        (lambda: ask_sparsity(WEAK, 1e20, 1e9), "no best sparsity"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_in_one_line(make, message):
    with pytest.raises(FitError, match=message):
        make()
