"""A folder to work in, as a person would have it: a tiny model, text, and a store with a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunescale.cli.main import main
from prunescale.laws import P2Law
from prunescale.models import save
from prunescale.runs import Point, Run, Store, runs_to_json

LAW = P2Law(gamma=-1.2, delta=0.3, N_C=0.4, alpha=0.8, D_C=1.1, beta=0.5, E=0.2)
SIZES, RATES, TOKENS = (500_000, 1_000_000, 4_000_000), (0.25, 0.5), (10_000, 30_000, 100_000, 300_000)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run a command in this process, as `prunescale` would. What C code writes is caught too."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        assert isinstance(end.value.code, int)
        return Ended(end.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(command: Callable[..., Ended]) -> Callable[..., str]:
    """Run a command that must be refused: exit code 2, one line on standard error (after those that tell of a training under
    way), nothing on standard output, and every file in the working folder as it was. The line comes back."""

    def run(*arguments: object) -> str:
        before = files()
        ended = command(*arguments)
        assert ended.code == 2, ended
        assert ended.out == ""
        *progress, line = ended.err.splitlines(keepends=True)
        assert all(" tokens, loss " in each for each in progress), ended.err
        assert line.startswith("Error: ")
        assert line.endswith("\n")
        assert files() == before
        return line

    return run


def files() -> dict[str, bytes | None]:
    """All that lies in the working folder: the content of files, None for folders."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(Path.cwd().rglob("*"))}


@pytest.fixture
def work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_checkpoint: Callable[..., Any], make_run: Callable[..., Run]
) -> Path:
    """The working folder: a model of four blocks in `base`, text to train and to measure on, a store with a run in `runs.db`. On
    a machine with a GPU the commands don't see it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    save(make_checkpoint(hidden_size=32), "base")
    Path("train.txt").write_text("never odd or even; " * 60)
    Path("held-out.txt").write_text("never odd or even; " * 6 + "größer")
    with Store.create("runs.db") as store:
        store.add(curve_of(make_run, 1_000_000, 0.25))
    return folder


@pytest.fixture
def curves(tmp_path: Path, make_run: Callable[..., Run]) -> Callable[..., Path]:
    """Make a file of exported runs whose losses are those of LAW exactly, for these sizes and rates."""

    def write(sizes: Sequence[int] = SIZES, rates: Sequence[float] = RATES, name: str = "curves.json", **changes: Any) -> Path:
        path = tmp_path / name
        path.write_text(runs_to_json([curve_of(make_run, size, rate, **changes) for size in sizes for rate in rates]))
        return path

    return write


def curve_of(
    make_run: Callable[..., Run], size: int, rate: float, tokens: Sequence[int] = TOKENS, phase: Any = "constant"
) -> Run:
    """A run of a model with `size` parameters before pruning; loss before it: 3 nats."""
    model = {"n_params_before": size, "pruning_rate": rate, "loss_before": 3.0}
    with np.errstate(divide="ignore"):  # where nothing is pruned, nothing is lost
        losses = {n: float(LAW.loss(n_tokens=n, **model)) for n in tokens}
    return make_run(
        id=f"{size:x}-{100 * rate:.0f}",
        name=f"m{size} block-influence {rate:.3f}",
        base=f"m{size}",
        pruning_rate=rate,
        n_params_before=size,
        loss_before=3.0,
        points=tuple(Point(n, loss, 1e-3, phase, 1.0) for n, loss in losses.items()),
    )
