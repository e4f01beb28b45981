"""The report of the P2 study, on runs made from a law that is known."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunescale.laws import P2Law
from prunescale.models import shape_of_recipe
from prunescale.runs import Point
from prunescale.sweep import Study
from studies.p2.answers import HELD_OUT, METHODS, RIVALS, asked, control_of, ends, fits, held_out
from studies.p2.judged import judged
from studies.p2.report import results
from tests.conftest import RUN

FOLDER = Path(__file__).parents[2] / "studies" / "p2"
LAW = P2Law(gamma=-1.6, delta=0.1, N_C=0.4, alpha=0.7, D_C=2.0, beta=0.45, E=0.02)
TOKENS = np.unique(np.geomspace(131_072, 60e6, 24).round()).astype(int)
ENDS = (7_536_640, 15_007_744, 30_015_488, 60_030_976)


@pytest.fixture(scope="module")
def runs():
    """All runs that curves.toml asks for. The control stays at the loss before pruning, and annealing is worth 0.01 nats."""

    sizes = {
        f"bases.sweep/models/{run.file_name}": shape_of_recipe(run.recipe.model, 8192).n_params_non_embedding
        for run in Study.from_toml(FOLDER / "bases.toml").runs
    }
    found = []
    for number, each in enumerate(Study.from_toml(FOLDER / "curves.toml").runs):
        size, prune = sizes[each.recipe.base], each.recipe.prune
        rate = 0.0 if prune is None else 0.4 if prune.pattern else prune.rate
        before = 4.0 - 0.3 * np.log(size / 3e6)

        def loss(n_tokens, size=size, rate=rate, before=before):
            if rate == 0:
                return before
            return float(LAW.loss(n_tokens=float(n_tokens), n_params_before=size, pruning_rate=rate, loss_before=before))

        points = [Point(int(n), loss(n), 5e-4, "constant", 1.0) for n in sorted({*TOKENS, *ENDS})]
        points += [Point(n, loss(n) - 0.01, 0.0, "annealed", 1.0) for n in ENDS]
        points.sort(key=lambda point: (point.n_tokens, point.phase == "annealed"))
        found.append(
            replace(
                RUN,
                id=f"run{number}",
                name=each.label,
                recipe=each.recipe.to_dict(),
                base=each.recipe.base,
                pruning_method=prune and prune.method,
                pruning_rate=rate,
                n_params_before=size,
                loss_before=before,
                points=tuple(points),
            )
        )
    return found


@pytest.mark.parametrize("method", METHODS)
def test_the_law_that_made_the_curves_is_found(runs, method):
    question = asked(runs, method)
    found = fits(question, ["p2"], n=0)["p2"]
    assert found.metrics.rmse < 1e-6
    if question.fixed:
        assert set(question.fixed) == {"gamma"}
    else:
        constants = found.law.constants()
        assert {name: constants[name] for name in ("gamma", "beta", "E")} == pytest.approx(
            {"gamma": -1.6, "beta": 0.45, "E": 0.02}, rel=1e-3
        )


def test_it_predicts_what_it_has_not_seen_and_a_rival_does_not(runs):
    found = held_out(asked(runs, "depth"), ["p2", "p2-odds"], n=0)
    for name in HELD_OUT:
        right, wrong = (found.row(name, law).score.excess_error for law in ("p2", "p2-odds"))
        assert right < 1e-4 < wrong, name


def test_finished_models_are_compared_with_their_control_after_as_many_tokens(runs):
    run = next(run for run in runs if run.pruning_method == "block-influence" and run.pruning_rate == 0.25)
    control = control_of(run, runs)
    assert (control.base, control.pruning_method) == (run.base, None)
    found = ends(run, control)
    assert [end.n_tokens for end in found] == list(ENDS)
    for end in found:
        assert end.constant - end.annealed == pytest.approx(0.01)
        assert end.control_annealed == pytest.approx(run.loss_before - 0.01)


@pytest.mark.slow
def test_the_page(runs):
    some = [run for run in runs if run.pruning_method in (None, "block-influence", "magnitude")]
    page = results(some, judged(some, n=0))
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == [
        "Runs",
        "Finished models",
        "Trends",
        "Foretold",
        "Decisions",
        "Targets",
        "Depth, constant",
        "Depth, annealed",
        "2:4 by magnitude, constant",
        "2:4 by magnitude, annealed",
    ]
    depth = page.split("## Depth, constant")[1].split("## Depth, annealed")[0]
    assert all(f"| {law} |" in depth for law in RIVALS)
    for table in depth.split("Held out: ")[1:]:
        first = table.split("| ---: |\n")[1].splitlines()[0]
        assert re.match(r"\| p2(-control|-beta-rate)? \|", first), table  # one law where the control stays, and where beta_1 is 0
