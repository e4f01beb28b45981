"""The line that shows how a training goes: its figures on a clock made by hand, and what is written at which width."""

import io
import sys

import pytest

from prunescale.cli.output import training_progress
from prunescale.cli.speedometer import WINDOW, Figures, Speedometer, in_clock, line
from prunescale.runs import Point


class Clock:
    """One that is put on by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def test_speed_share_and_time_left(clock):
    speed = Speedometer(1000, clock)
    speed.measured(5.0)
    assert speed.figures == Figures(loss=5.0)
    speed.begin(0, flops_per_token=3e6, peak=1e9)
    assert speed.figures == Figures(loss=5.0)
    for n_tokens in (50, 100):
        clock.wait(0.5)
        speed.step(n_tokens)
    # 100 tokens in a second, of 3e6 operations each; 900 are left.
    assert speed.figures == Figures(5.0, None, pytest.approx(100.0), pytest.approx(0.3), pytest.approx(9.0))
    speed.trained(100, 4.5)
    assert (speed.figures.train_loss, speed.figures.tokens_per_second) == (4.5, pytest.approx(100.0))


def test_evaluations_and_branches_are_no_training(clock):
    speed = Speedometer(1000, clock)
    speed.begin(0, 1.0)
    clock.wait(1)
    speed.step(100)
    clock.wait(60)
    speed.measured(4.0)
    clock.wait(1)
    speed.step(200)
    assert speed.figures.tokens_per_second == pytest.approx(100.0)
    clock.wait(30)
    speed.trained(260, 3.0)  # of a branch, which ends later than where the training is
    clock.wait(5)
    speed.measured(3.9)
    clock.wait(1)
    speed.step(300)
    assert speed.figures.tokens_per_second == pytest.approx(100.0)
    assert (speed.figures.train_loss, speed.figures.loss) == (None, 3.9)


def test_a_gpu_that_was_waited_for_is_timed_to_the_end(clock):
    speed = Speedometer(1000, clock)
    speed.begin(0, 1.0)
    clock.wait(0.01)  # handed over, not done
    speed.step(100)
    clock.wait(0.99)
    speed.trained(100, 4.5)
    assert speed.figures.tokens_per_second == pytest.approx(100.0)


def test_only_the_last_seconds_count_and_what_was_done_earlier_does_not(clock):
    speed = Speedometer(10_000, clock)
    speed.begin(5000, 1.0)  # goes on from a checkpoint
    for step in range(1, 101):  # slowly at first, then ten times as fast for as long as counts
        clock.wait(1.0 if step <= 50 else 0.25)
        speed.step(5000 + (10 * step if step <= 50 else 500 + 25 * (step - 50)))
    assert WINDOW < 50 * 0.25
    assert speed.figures.tokens_per_second == pytest.approx(100.0)
    assert speed.figures.seconds_left == pytest.approx((10_000 - 6750) / 100)
    # Steps that are longer than the window still have a speed.
    clock.wait(3 * WINDOW)
    speed.step(6800)
    assert 0 < speed.figures.tokens_per_second < 100


EARLY = Figures(loss=5.12345)
ALL = Figures(3.2141, 3.3012, 12_345.6, 0.4149, 3723.0)


TRAINING = "embedded:0.4m: training"


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (120, f"{TRAINING}  ━━━━━━━━━··········  45%  loss 3.214 (batches 3.301), 12.3k tokens/s, 41% of peak, 1:02:03 left"),
        (100, f"{TRAINING}  45%  loss 3.214 (batches 3.301), 12.3k tokens/s, 41% of peak, 1:02:03 left"),
        (80, "embedded:0.4m: trai…  45%  loss 3.214, 12.3k tokens/s, 41% of peak, 1:02:03 left"),
        (60, "embedded:0.4…  45%  loss 3.214, 12.3k tokens/s, 1:02:03 left"),
        (40, "embedded:0.4m: train…  45%  1:02:03 left"),
        (10, "embe…  45%"),
    ],
)
def test_the_line_at_some_widths(width, expected):
    assert line(width, TRAINING, 0.45, ALL) == expected
    assert len(expected) <= width


def test_before_the_training_there_is_room_for_words():
    words = "tiny: measuring the loss before pruning"
    assert line(80, words, 0.0, Figures(), bar="=.") == f"{words}  {'.' * 30}   0%"


@pytest.mark.parametrize("figures", [Figures(), EARLY, ALL, Figures(3.0, 3.1, 1e6, None, 40.0)])
def test_no_width_is_too_small(figures):
    for width in range(10, 200):
        assert len(line(width, "a-rather-long-name-of-a-model: training after step 2 of 3", 0.999, figures)) <= width


def test_times_as_they_are_read():
    assert [in_clock(seconds) for seconds in (0, 59.6, 61, 3600, 172_799, 259_200)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "47:59:59",
        "3.0 days",
    ]


def measured(progress):
    progress.stage("training")
    progress.begin(0, 1e6)
    progress.point(Point(0, 5.0, 0.0, "before", 0.0))
    progress.step(64)
    progress.train_loss(64, 4.9)
    progress.point(Point(64, 4.75, 1e-3, "constant", 0.1))


def test_a_pipe_gets_a_line_a_measurement_and_no_peak_is_measured(capsys):
    with training_progress("tiny", 384, False, peak=lambda: pytest.fail("nobody looks")) as progress:
        measured(progress)
    assert capsys.readouterr().err == "tiny: 0 of 384 tokens, loss 5.0000\ntiny: 64 of 384 tokens, loss 4.7500\n"


def test_quiet_is_quiet(capsys):
    with training_progress("tiny", 384, True) as progress:
        measured(progress)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_the_line(monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    asked = []
    with training_progress("tiny", 128, False, peak=lambda: asked.append(True) or 1e12) as progress:
        measured(progress)
    shown = terminal.getvalue()
    assert asked == [True]
    assert "tiny: training" in shown
    assert " 50%  loss 4.750 (batches 4.900), " in shown
    assert "tokens/s" in shown
    assert "of peak" in shown
