"""The folder of a run that is under way: what was measured so far, and checkpoints from which it goes on as if never stopped.

    run.json            which run this is
    begun.json          what is known before the training, such as the loss before pruning
    points.jsonl        the measurements, a line each, on the disk before the training goes on
    start/              the model that the training began with, where it was pruned for it: an ordinary Hugging Face folder
    step-00001200/      a checkpoint: safetensors, a file a process, and state.json with their checksums
    branch-00001500/    one of a branch that ends after so many steps, which was stopped on its way

Checkpoints are PyTorch's distributed ones in safetensors (no pickle): saved by two processes they are read by one or four. One is
written beside, and takes its name when it is whole; the last two are kept.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import distributed
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException

from prunescale.errors import TrainingError, in_one_line
from prunescale.fields import fits
from prunescale.file_names import is_file_name
from prunescale.runs import Point
from prunescale.training.distributed import ALONE, Ranks
from prunescale.training.state import State

KEPT = 2
"""Checkpoints: if the last turns out to be damaged, the one before it will do."""

Counts = tuple[tuple[int, int], ...]
"""(tokens, weights left) from each of which on so many are left."""


@dataclass(frozen=True)
class Position:
    """Where a training stands: steps done, seconds of it and of its branches so far, and the weights of the linear layers left, from how
    many tokens on."""

    step: int = 0
    seconds: float = 0.0
    branch_seconds: float = 0.0
    left: Counts = ()


class RunFolder:
    """The folder of one run. Made where there is none; refused where it is another run's."""

    def __init__(self, path: str | Path, identity: dict[str, Any], ranks: Ranks = ALONE) -> None:
        self.path = Path(path)
        self.ranks = ranks
        if ranks.is_first:
            self._claim(identity)
        ranks.wait()

    def _claim(self, identity: dict[str, Any]) -> None:
        marker = self.path / "run.json"
        if not marker.exists():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise TrainingError(
                    f"{self.path} is no folder of a run: give a new or empty folder, or that of the run to go on with."
                )
            with written(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                write_whole(marker, json.dumps(identity, indent=1))
            return
        found = kept_json(marker)
        if found != json.loads(json.dumps(identity)):  # where a tuple is a list
            raise TrainingError(
                f"{self.path} is the folder of another run (recipe {found.get('recipe_hash')}, this is {identity.get('recipe_hash')}): "
                "give the recipe that it was begun with, or another folder."
            )

    @property
    def start(self) -> Path:
        return self.path / "start"

    def begin(self, facts: dict[str, Any]) -> None:
        """Keep what is known before the training begins."""
        with written(self.path):
            write_whole(self.path / "begun.json", json.dumps(facts, indent=1))

    def begun(self) -> dict[str, Any] | None:
        """What was known before the training began; None where that has not been found out yet."""
        file = self.path / "begun.json"
        return kept_json(file) if file.exists() else None

    def points(self) -> list[Point]:
        """What was measured so far. A line that was cut off while it was written does not count."""
        journal = self.path / "points.jsonl"
        if not journal.exists():
            return []
        lines = journal.read_bytes().split(b"\n")[:-1]
        return [point_of(line, f"{journal}, line {number},") for number, line in enumerate(lines, 1)]

    def add(self, point: Point) -> None:
        """Keep a measurement, on the disk before this comes back. Raises TrainingError where it takes no more."""
        if not self.ranks.is_first:
            return
        journal = self.path / "points.jsonl"
        whole = journal.read_bytes() if journal.exists() else b""
        with written(self.path), open(journal, "r+b" if whole else "wb") as file:
            file.seek(whole.rfind(b"\n") + 1)  # over a line that was cut off
            file.truncate()
            file.write(json.dumps(asdict(point)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def save(self, state: State, position: Position, branch: int | None = None) -> None:
        """Write a checkpoint, of the trunk or of the branch that ends after so many steps; then forget those of the trunk before the last
        KEPT. Raises TrainingError where the disk takes no more; what was there is kept."""
        final = self.path / f"step-{position.step:08d}" if branch is None else self.of_branch(branch)
        beside = self.path / "unfinished"
        if self.ranks.is_first:
            shutil.rmtree(beside, ignore_errors=True)
        self.ranks.wait()
        with written(self.path, beside), without_notices():
            dcp.save(
                state.tensors(),
                storage_writer=HuggingFaceStorageWriter(str(beside), save_distributed=True),
                no_dist=self.ranks.n == 1,
            )
            checksums = self._checksums(beside)
            if self.ranks.is_first:
                write_whole(beside / "state.json", json.dumps({**asdict(position), "sha256": checksums}))
                shutil.rmtree(final, ignore_errors=True)
                beside.rename(final)
                sync(self.path)
                for old in self.checkpoints()[KEPT:]:
                    shutil.rmtree(old)
        self.ranks.wait()

    def _checksums(self, folder: Path) -> dict[str, str]:
        """Of each file, the processes taking turns."""
        files = sorted(folder.glob("*.safetensors"))
        mine = {}
        for file in files[self.ranks.rank :: self.ranks.n]:
            sync(file)
            mine[file.name] = sha256(file)
        if self.ranks.n == 1:
            return mine
        each: list[Any] = [None] * self.ranks.n
        distributed.all_gather_object(each, mine)
        return {name: checksum for part in each for name, checksum in part.items()}

    def checkpoints(self) -> list[Path]:
        """The folders of checkpoints, the newest first."""
        return sorted(self.path.glob("step-*"), reverse=True)

    def of_branch(self, end: int) -> Path:
        return self.path / f"branch-{end:08d}"

    def forget_branch(self, end: int) -> None:
        if self.ranks.is_first:
            shutil.rmtree(self.of_branch(end), ignore_errors=True)

    def load_(self, state: State, note: Callable[[str], None], branch: int | None = None) -> Position:
        """Put the newest checkpoint that is whole into the state, in place; or that of a branch, by its end. Back comes where it stands,
        the beginning if there is none; `note` is told of those that are damaged."""
        of_branch = [] if branch is None else [folder for folder in (self.of_branch(branch),) if folder.exists()]
        for folder in self.checkpoints() if branch is None else of_branch:
            damage = self.ranks.same(damage_of(folder) if self.ranks.is_first else "")
            if damage:
                note(f"{folder} is damaged ({damage}): left out.")
                continue
            with without_notices():
                dcp.load(state.tensors(), storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=self.ranks.n == 1)
            content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            left = tuple((n_tokens, n) for n_tokens, n in content["left"])
            position = Position(content["step"], content["seconds"], content["branch_seconds"], left)
            state.count_from_(position.step)
            return position
        return Position()


@contextmanager
def written(folder: Path, unfinished: Path | None = None) -> Iterator[None]:
    """Inside, files are written. Raises TrainingError where the disk does not take them, and forgets what is unfinished. PyTorch's
    checkpoints catch all that is raised while they are made, an interrupt too: that comes out here as what it is."""
    try:
        yield
    except (CheckpointException, OSError) as error:
        causes = [cause for cause, _ in error.failures.values()] if isinstance(error, CheckpointException) else [error]
        if interrupt := next((cause for cause in causes if not isinstance(cause, Exception)), None):
            raise interrupt from None
        if unfinished:
            shutil.rmtree(unfinished, ignore_errors=True)
        raise TrainingError(
            f"{folder} cannot be written ({in_one_line(str(causes[0]))}): make room there, and start again; it goes on from what is kept."
        ) from error


def kept_json(file: Path) -> dict[str, Any]:
    """What we wrote into a file of the folder. Raises TrainingError where that is not there any more."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"{file} is damaged ({type(error).__name__}): begin the run in another folder.") from error
    if not isinstance(content, dict):
        raise TrainingError(f"{file} is damaged (it holds no object): begin the run in another folder.")
    return content


def point_of(line: bytes, where: str) -> Point:
    try:
        point = Point(**json.loads(line))
        if all(fits(getattr(point, field.name), field.type) for field in fields(Point)):
            return point
    except (ValueError, TypeError, RecursionError):
        pass
    raise TrainingError(f"{where} is no measurement, so the folder is damaged: begin the run in another one.")


def damage_of(folder: Path) -> str:
    """What is wrong with a checkpoint; empty where it is as it was written."""
    try:
        content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        wanted = content["sha256"]
        left = tuple((n_tokens, n) for n_tokens, n in content["left"])
        position = Position(content["step"], content["seconds"], content["branch_seconds"], left)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return f"state.json: {type(error).__name__}"
    counts = [position.step, *(number for pair in left for number in pair)]
    if not (isinstance(wanted, dict) and all(fits(n, int) and 0 <= n < 2**63 for n in counts)) or not all(
        fits(seconds, float) for seconds in (position.seconds, position.branch_seconds)
    ):
        return "state.json: entries of another kind"
    for name, checksum in wanted.items():
        if not is_file_name(name):
            return f"state.json: {name!r} is no file of the folder"
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if sha256(file) != checksum:
            return f"{name} has another checksum"
    return ""


def sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_whole(path: Path, text: str) -> None:
    """All of it or, after an interruption, what was there before."""
    beside = path.with_name(f".{path.name}.unfinished")
    beside.write_text(text, encoding="utf-8")
    sync(beside)
    beside.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Until it is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def without_notices() -> warnings.catch_warnings:
    """PyTorch says that it saves in one process: that is what was asked for."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
