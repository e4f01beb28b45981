import numpy as np
import pytest

from prunescale.report import save_png
from prunescale.report.inspection import (
    inspection_figure,
    loss_lines,
    order_of_going,
    relative_to_block,
    sorted_curves,
    spread,
)
from prunescale.sweep.inspect import Inspection, Try


def tried(method, kind, rate_wanted, rate, increase, pattern=None):
    reason = "It cannot be done." if rate is None else None
    return Try(method, kind, pattern, rate_wanted, rate, 50, None if rate is None else 2 + increase, increase, 1.0, (), reason)


FULL = (
    tried("block-influence", "depth", 0.1, None, None),
    tried("block-influence", "depth", 0.5, 0.5, 3.0),
    tried("block-influence", "depth", 0.3, 0.25, 1.5),
    tried("block-influence", "depth", 0.2, 0.25, 1.5),
    tried("width-activation", "width", 0.5, 0.49, 2.0),
    tried("wanda", "sparse", 0.1, 0.1, -0.001),
    tried("wanda", "sparse", 0.5, 0.5, 0.5),
    tried("wanda", "sparse", None, 0.499, 0.8, "2:4"),
    tried("contiguous", "depth", 0.1, None, None),
)


def inspection(tries=FULL, n_blocks=4, **importance) -> Inspection:
    draws = np.random.default_rng(0)
    parts = {"heads": (n_blocks, 2), "ffn": (n_blocks, 300), "hidden": (16,)}
    scores = {f"{name}.width-activation": draws.lognormal(size=size) for name, size in parts.items()}
    return Inspection("tiny", n_blocks, 100, 2.0, tries, {**scores, **importance}, np.zeros((1, 1)), 16, 160, 16, 5.5)


def test_a_line_for_each_method_and_pattern_that_could_do_something():
    lines = loss_lines(inspection())
    assert [line.name for line in lines] == ["block-influence", "width-activation", "wanda", "wanda 2:4"]
    assert lines[0].rate.tolist() == [0.25, 0.5]  # two rates that came to the same are one point
    assert lines[0].increase.tolist() == [1.5, 3.0]


def test_the_order_in_which_blocks_go():
    assert order_of_going(np.array([0.5, 0.125, 0.25, 0.125])).tolist() == [4, 2, 3, 1]  # of equal ones the later


def test_scores_are_multiples_of_their_blocks_mean_and_sorted_in_it():
    scores = np.array([[1.0, 3.0], [20.0, 20.0], [0.0, 0.0]])
    assert relative_to_block(scores).tolist() == [[0.5, 1.5], [1, 1], [0, 0]]
    assert sorted_curves(scores).tolist() == [[1.5, 0.5], [1, 1], [0, 0]]
    many = sorted_curves(np.arange(1.0, 5001)[None])
    assert many.shape == (1, 200)
    assert (many[0, 0], many[0, -1]) == pytest.approx((5000 / 2500.5, 1 / 2500.5))


@pytest.mark.parametrize(
    ("heights", "placed"),
    [
        ([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.35, 0.5, 0.5, 0.5], [0.3125, 0.4125, 0.5125, 0.6125]),
        ([0.0, 0.0], [0.0, 0.1]),
        ([1.0, 1.0], [0.8, 0.9]),
    ],
)
def test_names_move_as_little_as_need_be(heights, placed):
    assert spread(heights, 0.1, 0.9) == pytest.approx(placed)


def words_of(panel):
    return {text.get_text() for text in panel.texts}


def test_the_figure_names_each_method_and_says_where_it_began():
    blocks = {"blocks.block-influence": np.array([1.0, 0.2, 0.3, 0.1]), "blocks.perplexity": np.array([0.5, -0.1, 0.0, 0.2])}
    losses, blocks_panel, *_ = inspection_figure(inspection(**blocks)).axes
    assert {"block-influence", "width-activation", "wanda", "wanda 2:4"} <= words_of(losses)
    assert "before pruning: a loss of 2.000" in words_of(losses)
    assert [label.get_text() for label in blocks_panel.get_yticklabels()] == ["block-influence", "perplexity"]
    numbers = [text.get_text() for text in blocks_panel.texts]
    assert numbers == ["4", "2", "3", "1", "4", "1", "2", "3"]


@pytest.mark.parametrize(
    "tries",
    [
        FULL[1:2],  # one method at one rate
        (tried("wanda", "sparse", 0.1, 0.1, 0.0),),  # nothing lost
        FULL[7:8],  # a pattern alone
        (FULL[0], FULL[8], FULL[6]),  # most of it cannot be done
    ],
)
@pytest.mark.parametrize("n_blocks", [1, 40])
def test_it_can_be_drawn_whatever_is_missing(tries, n_blocks, tmp_path):
    save_png(inspection_figure(inspection(tries, n_blocks)), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_scores_that_are_all_equal_or_zero_can_be_drawn(tmp_path):
    flat = {f"{name}.width-activation": np.zeros(size) for name, size in (("heads", (4, 2)), ("ffn", (4, 8)), ("hidden", (16,)))}
    found = inspection(**flat, **{"blocks.last-blocks": np.zeros(4)})
    save_png(inspection_figure(found), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").exists()
