"""Fits to the family on runs that they have not seen, made from laws that are known."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunescale.laws import TokensPerParameterLaw
from prunescale.runs import Point, read_runs
from studies.p2 import unseen
from studies.p2.answers import LAST, OURS, asked, fits
from studies.p2.report_unseen import of_second_family, of_size_above
from studies.p2.summary_unseen import second_family
from studies.p2.unseen import ask, on_unseen
from tests.conftest import RUN

LAW = TokensPerParameterLaw(A=0.3, gamma=1.1, beta=0.3)
TOKENS = np.unique(np.geomspace(1_114_112, LAST, 16).round()).astype(int)


def made(law, sizes):
    """For each size a control whose loss falls and three rates of depth."""
    found = []
    for size in sizes:
        for rate in (0.0, 0.125, 0.25, 0.5):
            losses = 3.0 - 0.02 * np.log(TOKENS / 1e6)
            if rate:
                losses = losses + law.loss(n_params_before=size, n_tokens=TOKENS, pruning_rate=rate, loss_control=0.0)
            points = tuple(Point(int(n), float(loss), 5e-4, "constant", 1.0) for n, loss in zip(TOKENS, losses, strict=True))
            found.append(
                replace(
                    RUN,
                    id=f"{size:.0f}-{rate}",
                    recipe={"base": f"m{size:.0f}", "train": {}},
                    base=f"m{size:.0f}",
                    pruning_method="block-influence" if rate else None,
                    pruning_rate=rate,
                    n_params_before=int(size),
                    loss_before=3.0,
                    points=points,
                )
            )
    return found


@pytest.fixture(scope="module")
def fitted():
    """Our laws, fitted to three sizes."""
    return fits(asked(made(LAW, (3.5e6, 9e6, 25e6)), "depth"), OURS, n=20)


def test_a_law_that_holds_there_too_errs_nowhere(fitted):
    right = on_unseen(fitted, asked(made(LAW, [1e8]), "depth"))["tokens-per-parameter"]
    assert right.whole.excess_error == pytest.approx(0, abs=1e-6)
    assert right.factor == pytest.approx(1, abs=0.02)
    assert right.pilot.excess_error == pytest.approx(0, abs=1e-6)


def test_a_level_of_its_own_is_missed_as_the_law_is_and_not_from_a_pilot(fitted):
    other = made(replace(LAW, A=0.45), [1e8])
    right = on_unseen(fitted, asked(other, "depth"))["tokens-per-parameter"]
    assert right.whole.excess_error == pytest.approx(1 / 3, rel=1e-4)
    assert right.inside == 0
    assert list(right.ratios) == [0.125, 0.25, 0.5]
    assert list(right.ratios.values()) == pytest.approx([1.5] * 3, rel=1e-4)
    assert right.ratio == pytest.approx(1.5, rel=1e-4)
    assert right.pilot.excess_error == pytest.approx(0, abs=1e-6)


def test_methods_that_the_runs_do_not_have_are_not_asked(fitted):
    found = ask(made(LAW, [1e8]), {"depth": fitted, "width": fitted})
    assert list(found) == ["depth"]
    _, own_end = found["depth"]
    assert own_end.excess_error == pytest.approx(0, abs=1e-6)  # a power law without a floor goes on as it ends


def test_the_page_shows_constants_of_both(fitted):
    text = of_second_family(made(LAW, [1e8]), {"depth": fitted})
    assert "| depth | gamma | 1.1 (1.1 to 1.1) | 1.1 (1.1 to 1.1) |" in text
    assert "| *power law of each end* |" in text


def test_pages_without_such_runs_are_empty(fitted):
    assert of_second_family([], {"depth": fitted}) == ""
    assert of_size_above(made(LAW, [9e6]), {"depth": fitted}) == ""


def test_the_sentences_are_of_the_runs_that_come_with_prunescale(fitted):
    text = second_family(read_runs("embedded:p2-smollm2"), {"depth": fitted})
    assert "from 2.710 to 2.139 nats" in text
    assert re.search(r"\| depth \| \d\.\d\d \(0\.27 gone\), \d\.\d\d \(0\.50 gone\) \|", text)
    assert "{" not in text
    assert second_family(made(LAW, [1e8]), {"depth": fitted}) == ""


@pytest.mark.parametrize("page", ["README.md", "results.md"])
def test_no_figure_was_left_out_of_the_pages(page):
    text = (Path(unseen.__file__).parent / page).read_text(encoding="utf-8")
    assert "{" not in text
    assert "nan" not in text.split()
