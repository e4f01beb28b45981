"""What equal speed costs: the shapes that are timed, and what is read between them."""

from pathlib import Path

import pytest
import torch

from prunescale.runs import read_runs
from prunescale.sweep import Study
from studies.p2 import speed
from studies.p2.planned import by_label
from studies.p2.report_variants import at_equal_speed
from studies.p2.speed import Faster, at_speed, contenders, faster, kept, shape_of

FOLDER = Path(__file__).parents[2] / "studies" / "p2"
BASE = next(run.recipe.model for run in Study.from_toml(FOLDER / "bases.toml").runs if run.label == speed.SIZE)


@pytest.fixture(scope="module")
def family():
    return read_runs("embedded:p2")


def test_shapes_are_those_of_the_runs(family):
    curves = by_label("curves", family)
    shapes = {way: shape_of(curves[f"d640, {way}"], BASE) for way in ("depth 0.125", "depth 0.5", "width 0.25")}
    assert [(each.layers, each.ffn_size) for each in shapes.values()] == [(7, 1728), (4, 1728), (8, 1088)]


@pytest.mark.slow
def test_models_have_as_many_parameters_as_the_runs(family):
    from prunescale.embedded import model_folder

    tokenizer = str(model_folder("0.4m") / "tokenizer.json")  # of another vocabulary: blocks alone are compared
    curves = by_label("curves", family)
    _dense, *pruned = contenders(family, tokenizer, torch.device("cpu"))
    assert [each.name for each in pruned] == [
        f"{method} {rate}" for method in ("depth", "width") for rate in (0.125, 0.25, 0.375, 0.5)
    ]
    for each in pruned:
        n_params = sum(parameter.numel() for parameter in each.model.model.layers.parameters()) + BASE.hidden_size
        assert n_params == curves[f"d640, {each.name}"].n_params_non_embedding


def test_a_speed_between_two_rates_costs_something_between_them():
    known = ((0.25, 1.3, 0.1), (0.5, 1.9, 0.4))
    some = [Faster("decoding", 1, f"depth {rate}", times, times - 0.1, times + 0.1, cost) for rate, times, cost in known]
    assert at_speed(some, 1.15) == pytest.approx(0.05)
    assert at_speed(some, 1.6) == pytest.approx(0.25)
    assert at_speed(some, 2.0) is None


def test_what_was_measured_is_beside_what_it_costs(family):
    (found, *_) = kept()
    each = {(one.what, one.batch_size, one.way): one for one in faster(family, found)}
    curves = by_label("curves", family)
    half = each["decoding", 1, "depth 0.5"]
    assert half.excess == pytest.approx(curves["d640, depth 0.5"].loss - curves["d640, control"].loss)
    assert half.speed > each["decoding", 1, "depth 0.125"].speed > 1
    assert all(one.low <= one.speed <= one.high for one in each.values())
    text = at_equal_speed(family)
    assert found["device"] in text
    assert "depth at 1.25 times" in text
