"""The figures beside a progress bar: losses, tokens a second, the share of what the device could do, the time left; and them in a line."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW = 10.0
"""Seconds of training over which the speed is taken: long enough for a GPU to be waited for some times."""


@dataclass(frozen=True)
class Figures:
    """What is known at a moment; None for what isn't yet. loss, train_loss: nats per token. share_of_peak: 0 to 1. seconds_left: of
    training, further evaluations not counted."""

    loss: float | None = None
    train_loss: float | None = None
    tokens_per_second: float | None = None
    share_of_peak: float | None = None
    seconds_left: float | None = None


class Speedometer:
    """Told what happens in a training, it says how fast it is. Its clock stands still from the last step before an evaluation to the
    end of it, so that evaluations make nothing slower."""

    def __init__(self, n_total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.n_total, self.clock = n_total, clock
        self.n_tokens = 0
        self.loss: float | None = None
        self.train_loss: float | None = None
        self._flops_per_token = 0.0
        self._peak: float | None = None
        self._away = 0.0
        self._last = clock()
        self._steps: deque[tuple[float, int]] = deque()

    def begin(self, n_tokens: int, flops_per_token: float, peak: float | None = None) -> None:
        """Training begins, or goes on after so many tokens. peak: operations a second that the device could do."""
        self.n_tokens, self._flops_per_token, self._peak = n_tokens, flops_per_token, peak
        self._steps = deque([self._note()])

    def step(self, n_tokens: int) -> None:
        """So many tokens are trained on."""
        self.n_tokens = n_tokens
        self._steps.append(self._note())
        while len(self._steps) > 2 and self._steps[-1][0] - self._steps[1][0] > WINDOW:
            self._steps.popleft()

    def trained(self, n_tokens: int, loss: float) -> None:
        """The loss of the last batch is known, for which the device was waited for. What is told of a branch of the training counts
        as part of the evaluation at its end."""
        if n_tokens == self.n_tokens and self._steps:
            self.train_loss = loss
            self._steps[-1] = self._note()

    def measured(self, loss: float) -> None:
        """An evaluation has ended."""
        self.loss = loss
        now = self.clock()
        self._away += now - self._last
        self._last = now

    @property
    def figures(self) -> Figures:
        speed = self._tokens_per_second()
        if not speed:
            return Figures(self.loss, self.train_loss)
        share = speed * self._flops_per_token / self._peak if self._peak else None
        return Figures(self.loss, self.train_loss, speed, share, max(0, self.n_total - self.n_tokens) / speed)

    def _note(self) -> tuple[float, int]:
        """Seconds of training, and the tokens by then."""
        self._last = self.clock()
        return self._last - self._away, self.n_tokens

    def _tokens_per_second(self) -> float | None:
        steps = self._steps  # another thread may be looking, while this one begins anew
        if len(steps) < 2:
            return None
        (first, n_first), (last, n_last) = steps[0], steps[-1]
        return (n_last - n_first) / (last - first) if last > first else None


LEAST_WORDS, LEAST_BAR, LARGEST_BAR = 12, 8, 30
"""Columns."""


def line(width: int, words: str, share_done: float, figures: Figures, bar: str = "━·") -> str:
    """A line of a terminal, `width` columns at most: what is being done, a bar (of two characters, for done and not), the share that is
    done, and the figures. Where it gets narrow the bar goes first, then the loss of batches, the share of the peak and the speed; in the
    end the words are cut."""
    from prunescale.amounts import short

    percent = f"{share_done:4.0%}"
    loss = "" if figures.loss is None else f"loss {figures.loss:.3f}"
    with_batches = loss if figures.train_loss is None else f"{loss} (batches {figures.train_loss:.3f})".strip()
    speed = "" if figures.tokens_per_second is None else f"{short(figures.tokens_per_second)} tokens/s"
    peak = "" if figures.share_of_peak is None else f"{figures.share_of_peak:.0%} of peak"
    left = "" if figures.seconds_left is None else f"{in_clock(figures.seconds_left)} left"
    for shown in ((with_batches, speed, peak, left), (loss, speed, peak, left), (loss, speed, left), (loss, left), (left,), ()):
        rest = "  ".join(part for part in (percent, ", ".join(part for part in shown if part)) if part)
        room = width - len(rest) - 1
        if room >= min(len(words), LEAST_WORDS):
            break
    words = words if len(words) <= room else words[: max(room - 1, 0)] + "…"
    n_bar = min(room - len(words) - 2, LARGEST_BAR)
    if n_bar < LEAST_BAR:
        return f"{words} {rest}"[:width]
    n_done = round(share_done * n_bar)
    return f"{words}  {bar[0] * n_done}{bar[1] * (n_bar - n_done)} {rest}"


def in_clock(seconds: float) -> str:
    """1:02:03, or 2:03 where it is less than an hour; days where it is many hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
