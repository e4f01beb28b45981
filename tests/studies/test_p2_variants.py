"""What is said of runs beside those of the family, on runs whose differences are known."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunescale.runs import Point, Store, read_runs
from prunescale.sweep import Study
from studies.p2 import speed, variants
from studies.p2.answers import LAST
from studies.p2.report_variants import sections
from studies.p2.ship import ship
from tests.conftest import RUN

FOLDER = Path(__file__).parents[2] / "studies" / "p2"
ENDS = (7_536_640, 15_007_744, 30_015_488, 60_030_976)
CONTROL = 3.0
OTHERS = ("seeds", "learning-rates", "curves-tokens", "distilled", "gradual", "scratch")


def excess(planned):
    """Nats over the control after LAST tokens, in the family."""
    prune = planned.recipe.prune
    return 0.0 if prune is None else 0.2 * (prune.rate or 0.5)


def made(name, factor=lambda planned: 1.0, training=1, flops=lambda planned: 100.0):
    """The runs of a part of the study: the excess falls as D^-0.3, times a factor."""
    found = []
    for number, planned in enumerate(Study.from_toml(FOLDER / f"{name}.toml").runs):
        recipe, before = planned.recipe, 3.0 + training / 100
        ends = ENDS if recipe.train.cooldowns in (None, ENDS) else recipe.train.cooldowns

        def loss(n, planned=planned):
            return CONTROL + factor(planned) * excess(planned) * (n / LAST) ** -0.3

        points = [
            Point(n, loss(n) + 0.01 * (phase == "constant"), 5e-4, phase, 1.0) for n in ends for phase in ("constant", "annealed")
        ]
        found.append(
            replace(
                RUN,
                id=f"{name}-{training}-{number}",
                created=f"2026-11-{10 + training:02d}T00:00:00+00:00",
                name=planned.label,
                kind="post-training" if recipe.base else "pre-training",
                recipe=recipe.to_dict(),
                recipe_hash=recipe.hash,
                base=recipe.base or "llama",
                pruning_method=recipe.prune and recipe.prune.method,
                pruning_rate=excess(planned) / 0.2,
                n_params_before=1_000_000,
                loss_before=before if recipe.base else None,
                flops=flops(planned) + 30.0 * (recipe.train.cooldowns is not None),
                inputs={"flops_cooldowns": 30.0} if recipe.train.cooldowns else {},
                points=tuple(points),
            )
        )
    return found


def test_distillation_is_judged_at_as_many_tokens_and_at_as_many_flops():
    """At equal FLOPs it ends earlier than the control does that both are over, which has gone on falling."""
    curves = [replace(run, points=tuple(falling(run))) for run in made("curves")]
    taught = [replace(run, points=tuple(falling(run))) for run in made("distilled", lambda _: 0.8, flops=lambda _: 150.0)]
    found = list(variants.distilled([*curves, *taught]))
    assert [each.label for each in found] == [run.name for run in taught]
    for each in found:
        assert each.other / each.plain == pytest.approx(0.8)
        assert each.flops == pytest.approx(1.5)
        cheaper, plain = each.at_equal_flops
        assert plain == each.plain
        assert cheaper == pytest.approx(0.8 * 1.5**0.3 * plain + 0.05 * np.log(1.5))
        assert each.change_at_equal_flops == pytest.approx(cheaper / plain - 1)


def falling(run):
    """Its points, on a control that falls as the logarithm of the tokens."""
    return [replace(point, loss=point.loss - 0.05 * np.log(point.n_tokens / LAST)) for point in run.points]


def test_a_teacher_is_beside_the_control_of_its_own_training():
    again = [
        replace(run, base=f"{run.base}, training 2") for name in ("curves", "distilled") for run in made(name, training=2)
    ]  # of a loss before pruning of 3.02, where the first training has 3.01, and the control ends at 3
    found = list(variants.distilled([*made("curves"), *again]))
    assert len(found) == 8
    assert [each.gained for each in found] == pytest.approx([0.02] * 8)


def test_gradual_pruning_is_beside_pruning_at_once_on_as_many_tokens_in_all():
    stepwise = [
        replace(run, points=(*run.points[:-1], replace(run.points[-1], loss=3.05)))
        for run in made("gradual", flops=lambda _: 120.0)
    ]
    found = list(variants.gradual([*made("curves"), *stepwise]))
    assert len(found) == 4
    for each in found:
        assert (each.plain, each.other) == (pytest.approx(0.1), pytest.approx(0.05))
        assert each.at_equal_flops == (pytest.approx(0.05), pytest.approx(0.1 * 1.2**-0.3))
    less = [replace(run, pruning_rate=0.4) for run in stepwise]  # odds of 2/3
    found = list(variants.gradual([*made("curves"), *less]))
    assert all(each.plain == pytest.approx(0.1 * 2 / 3) for each in found)
    assert all(each.at_equal_flops[1] == pytest.approx(0.1 * 2 / 3 * 1.2**-0.3) for each in found)


def test_rates_have_controls_of_their_own():
    def factor(planned):
        return {0.00025: 1.2, 0.0005: 1.0, 0.001: 1.1, 0.002: 1.3}[planned.recipe.train.learning_rate]

    few = [run for run in made("learning-rates", factor) if "four times" not in run.name]
    found = {each.label: each for each in variants.learning_rates(few)}
    assert list(found) == ["control", "depth 0.25", "depth 0.5", "2:4 magnitude"]
    expected = {"half the rate": 0.12, "the rate": 0.1, "twice the rate": 0.11}
    assert found["depth 0.5"].excesses == pytest.approx(expected)

    again = [replace(run, base=f"{run.base}, training 2") for run in made("learning-rates", factor, training=2)]
    found = {each.label: each for each in variants.learning_rates([*few, *again])}
    assert found["depth 0.5"].excesses == pytest.approx(expected | {"four times the rate": 0.13})


def test_what_the_tokens_before_pruning_do_is_read_at_one_size():
    def factor(planned):
        return 4**0.5 if planned.label.startswith("d256-80") else 4**-0.5 if planned.label.startswith("d256-5") else 1.0

    runs = [*made("curves"), *made("curves-tokens", factor)]
    found = {each.label: each for each in variants.tokens_before(runs)}
    assert list(found) == ["depth 0.25", "depth 0.5", "width 0.25", "width 0.5", "2:4 magnitude"]
    assert found["depth 0.5"].excesses == pytest.approx({5: 0.05, 20: 0.1, 80: 0.2})
    assert found["depth 0.5"].power == pytest.approx(0.5)
    again = [replace(run, base=f"{run.base}, training 2") for run in made("curves", lambda _: 4.0, training=2)]
    assert variants.tokens_before([*runs, *again])[0].excesses[20] == pytest.approx(2 * 0.05)
    assert variants.tokens_before(made("curves")) == []


def test_noise_is_the_spread_over_orders_and_over_trainings_of_the_base():
    def factor(planned):
        return 1.0 + 0.1 * planned.recipe.train.seed

    runs = [*made("curves"), *made("seeds", factor)]
    orders = list(variants.orders(runs))
    assert len(orders) == 20  # ten ways of pruning at two sizes
    for each in orders:
        assert each.relative == pytest.approx(0.1 / 1.1)
    assert variants.pooled(orders) == pytest.approx(0.1 / 1.1)
    assert list(variants.trainings(runs)) == []

    again = [
        replace(run, base=f"{run.base}, training 2") for run in made("curves", lambda _: 1.2, training=2) if "d192" in run.name
    ]
    trainings = list(variants.trainings([*runs, *again]))
    assert [each.label for each in trainings] == [run.name for run in again if "control" not in run.name]
    assert all(each.relative == pytest.approx(0.2 / 2**0.5 / 1.1) for each in trainings)


def test_small_models_from_nothing_are_beside_pruned_ones_of_their_shape():
    runs = [*made("curves"), *made("bases", flops=lambda _: 900.0), *made("scratch", flops=lambda _: 50.0)]
    found = list(variants.scratch(runs))
    assert [each.label for each in found] == [
        "d384 with 6 blocks",
        "d384 with 4 blocks",
        "d512 with 6 blocks",
        "d512 with 4 blocks",
    ]
    assert [each.pruned for each in found] == pytest.approx([3.05, 3.1, 3.05, 3.1])
    assert (found[0].flops_pruned, found[0].flops_total, found[0].flops_few) == (100, 1000, 50)


def test_each_kind_of_run_has_a_section_and_what_there_is_not_has_none(monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "SPEEDS", tmp_path)
    runs = [*made("curves"), *made("bases")]
    assert list(sections(runs)) == []
    runs += [run for name in OTHERS for run in made(name)]
    titles = [re.match("## (.*)", text)[1] for text in sections(runs)]
    assert titles == [
        "Noise",
        "Learning rates",
        "Tokens before",
        "Distillation",
        "Gradual pruning",
        "Small models from nothing",
    ]


def store(path, runs):
    with Store.create(path) as kept:
        kept.add(*runs)
    return str(path)


def test_the_family_has_the_training_of_each_base_with_most_curves_and_the_variants_have_the_rest(tmp_path):
    first, second = made("curves"), made("curves", training=2)
    small = [run for run in first if not (run.name.startswith("d192") and "2:4" in run.name)]
    again = [run for run in second if run.name.startswith("d192")]
    shipped = tmp_path / "runs"
    assert ship([store(tmp_path / "a.db", [*small, *made("bases")])], shipped) == 53 + 5
    assert ship([store(tmp_path / "b.db", [*again, *made("seeds", training=2)])], shipped) == 11 + 44
    assert ship([str(tmp_path / "b.db")], shipped) == 0

    family, others = read_runs(shipped / "p2.db"), read_runs(shipped / "p2-variants.db")
    assert (len(family), len(others)) == (55 + 5, 9 + 44)
    of_192 = {run.base for run in family if run.name.startswith("d192,")}
    assert of_192 == {"bases.sweep/models/d192, training 2"}
    assert {run.base for run in others if run.id.startswith("curves-1")} == {"bases.sweep/models/d192"}
    assert {run.base for run in others if "seeds" in run.id and "d192" in run.name} == of_192
