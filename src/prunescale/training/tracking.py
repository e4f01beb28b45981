"""Curves sent, while a model trains, to a tool that draws them: TensorBoard, wandb or trackio. Off unless asked for by one option.

Nothing here reaches a network by itself: TensorBoard and trackio write files here, and wandb is told to be offline unless its own
WANDB_MODE says otherwise. The store of runs needs none of this; what is tracked is to be looked at.
"""

import contextlib
import importlib
import io
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from prunescale.errors import TrainingError
from prunescale.runs import Point
from prunescale.training.loop import Progress, both

KINDS = "tensorboard:DIR, wandb[:PROJECT] or trackio[:PROJECT]"
PROJECT = "prunescale"


class Writer(Protocol):
    """One of the tools, for one run."""

    def write(self, n_tokens: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Tracker:
    """What a training tells its numbers to. A tool that fails does not end the training: `tell` gets one line, and from then on nothing is
    sent. Without a tool it does nothing."""

    def __init__(self, writer: Writer | None = None, kind: str = "", tell: Callable[[str], None] = warnings.warn) -> None:
        self.writer, self.kind, self.tell = writer, kind, tell

    def log(self, n_tokens: int, values: Mapping[str, float]) -> None:
        """Numbers by name after so many tokens: loss/held_out, loss/train, learning_rate, tokens_per_second, or any other."""
        self._do("log", lambda writer: writer.write(n_tokens, values))

    def close(self) -> None:
        """What is still to be written, is."""
        self._do("close", lambda writer: writer.close())
        self.writer = None

    def _do(self, what: str, act: Callable[[Writer], None]) -> None:
        if self.writer is None:
            return
        try:
            act(self.writer)
        except Exception as error:  # of whatever class: it is theirs
            self.writer = None
            self.tell(f"Tracking with {self.kind} ended ({what}: {in_a_line(error)}); the training goes on without.")


def tracker(where: str | None, *, name: str, config: Mapping[str, Any], tell: Callable[[str], None] = warnings.warn) -> Tracker:
    """What `where` asks for: tensorboard:DIR, wandb[:PROJECT] or trackio[:PROJECT]; nothing if it is None. name: of the run. config: what
    it was made with, such as a recipe as a dict. Of several processes only the first should track.

    Raises TrainingError for another tool, one that is not installed, and one that cannot begin."""
    if where is None:
        return Tracker()
    kind, _, rest = where.partition(":")
    if kind not in WRITERS:
        raise TrainingError(f"{where!r} is nothing to track with: give {KINDS}.")
    if kind == "tensorboard" and not rest:
        raise TrainingError("tensorboard needs a folder for its files: give tensorboard:DIR.")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what they say would come between a command's own words
            return Tracker(WRITERS[kind](rest or PROJECT, name, config), kind, tell)
    except ImportError as error:
        raise TrainingError(
            f"Tracking with {kind} needs a package that is not installed ({in_a_line(error)}): pip install {kind}."
        ) from error
    except Exception as error:
        raise TrainingError(f"Tracking with {kind} cannot begin: {in_a_line(error)}.") from error


def tracked(progress: Progress, to: Tracker) -> Progress:
    """What is told of a training, sent to a tracker too. The ends of cooldowns have a name of their own: as points of the curve they would
    look like a fall and a rise."""

    def point(measured: Point) -> None:
        name = "loss/annealed" if measured.phase == "annealed" else "loss/held_out"
        values = {name: measured.loss, **{f"{name}/{domain}": loss for domain, loss in measured.domains.items()}}
        if measured.learning_rate is not None:
            values["learning_rate"] = measured.learning_rate
        if measured.seconds:
            values["tokens_per_second"] = measured.n_tokens / measured.seconds
        to.log(measured.n_tokens, values)

    def train_loss(n_tokens: int, loss: float) -> None:
        to.log(n_tokens, {"loss/train": loss})

    return both(progress, Progress(point=point, train_loss=train_loss))


class TensorBoard:
    """Event files in DIR/NAME, whose steps are the tokens: there they are whole numbers of 64 bits, as a value they would be rounded."""

    def __init__(self, folder: str, name: str, config: Mapping[str, Any]) -> None:
        self.writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(Path(folder) / in_a_path(name)))
        self.writer.add_text("recipe", f"```json\n{json.dumps(config, indent=1)}\n```")

    def write(self, n_tokens: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, global_step=n_tokens)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class Wandb:
    """A run of wandb, in its folder ./wandb (or WANDB_DIR) until `wandb sync` is called on it. Its own steps can only rise, and a branch
    ends later than the training goes on from, so the axis is n_tokens."""

    def __init__(self, project: str, name: str, config: Mapping[str, Any]) -> None:
        mode = os.environ.get("WANDB_MODE", "offline")
        if mode == "offline":  # it would send reports of its own errors all the same
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        wandb = importlib.import_module("wandb")
        self.run = wandb.init(
            project=project,
            name=name,
            config=dict(config),
            mode=mode,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.run.define_metric("*", step_metric="n_tokens")

    def write(self, n_tokens: int, values: Mapping[str, float]) -> None:
        self.run.log({"n_tokens": n_tokens, **values})

    def close(self) -> None:
        self.run.finish()


class Trackio:
    """A run of trackio, in its own database on this machine (TRACKIO_DIR); its steps are the tokens."""

    def __init__(self, project: str, name: str, config: Mapping[str, Any]) -> None:
        self.trackio = importlib.import_module("trackio")
        self.trackio.init(project=project, name=name, config=dict(config), embed=False)

    def write(self, n_tokens: int, values: Mapping[str, float]) -> None:
        self.trackio.log(dict(values), step=n_tokens)

    def close(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.trackio.finish()


WRITERS: dict[str, Callable[[str, str, Mapping[str, Any]], Writer]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


def in_a_path(name: str) -> str:
    """A name without what would make folders of it."""
    return "".join(letter if letter.isalnum() or letter in "-_. " else "-" for letter in name).strip(" .") or "run"


def in_a_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
