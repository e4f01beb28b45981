"""Reads inputs one after the other in this process, within limits, and keeps what breaks the promise: an input is read, or one of our
errors with a message of one line says why not."""

import contextlib
import hashlib
import io
import json
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutate import mutated
from fuzz.targets import Target, fresh_folder
from prunescale.errors import PrunescaleError

SECONDS = 2
"""Of the processor, for one input."""
MEMORY = 2**30
"""Bytes of address space above what the process has when it begins."""
LONGEST_MESSAGE = 4_000
KEPT_INPUTS = 3


class TooSlow(BaseException):
    """An input that takes longer than SECONDS. No Exception: a reader may catch those."""


def _too_slow(*_: object) -> None:
    raise TooSlow


@dataclass
class Outcome:
    """Of a target: inputs read and refused, seconds, and the failures by where they came from."""

    target: str
    engine: str
    inputs: int = 0
    read: int = 0
    refused: int = 0
    seconds: float = 0.0
    edges: int | None = None
    failures: dict[str, int] = field(default_factory=dict)


class Harness:
    def __init__(self, target: Target, parent: Path, found: Path | None = None) -> None:
        self.target, self.found = target, found
        self.seeds = target.seeds()
        self.folder = fresh_folder(target, parent)
        self.outcome = Outcome(target.name, "seeded")
        self.examples: dict[str, bytes] = {}
        for seed in self.seeds:  # what is imported late is imported now, and not within the limits
            self.one(seed, limited=False)
        signal.signal(signal.SIGVTALRM, _too_slow)

    def one(self, data: bytes, *, limited: bool = True) -> str | None:
        """Read an input. Back comes what is wrong with the reader, None where nothing is."""
        self.outcome.inputs += 1
        if limited:
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            self.target.read(self.folder, data)
            self.outcome.read += 1
            return None
        except PrunescaleError as error:
            self.outcome.refused += 1
            return (
                None
                if 0 < len(str(error)) <= LONGEST_MESSAGE
                else self._note(f"{type(error).__name__} with {'a long' if str(error) else 'no'} message", error, data)
            )
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            return self._note(type(error).__name__, error, data)
        finally:
            if limited:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _note(self, kind: str, error: BaseException, data: bytes) -> str:
        ours = [
            frame for frame in traceback.extract_tb(error.__traceback__) if "/prunescale/" in frame.filename
        ] or traceback.extract_tb(error.__traceback__)[-1:]
        where = f"{kind} in {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else kind
        if where not in self.outcome.failures or len(data) < len(self.examples[where]):
            self.examples[where] = data
            if self.found:
                self.found.mkdir(parents=True, exist_ok=True)
                name = hashlib.sha256(where.encode()).hexdigest()[:8]
                (self.found / f"{self.target.name}-{name}").write_bytes(data)
                (self.found / f"{self.target.name}-{name}.why").write_text(
                    where + "\n" + "".join(traceback.format_exception(error))[-4000:]
                )
        self.outcome.failures[where] = self.outcome.failures.get(where, 0) + 1
        return where


def limit_memory() -> None:
    """Address space for MEMORY more than there is."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


@contextlib.contextmanager
def quiet() -> Any:
    with (
        warnings.catch_warnings(action="ignore"),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        yield


def run_seeded(target: Target, n_inputs: int, seconds: float, seed: int, found: Path | None = None) -> Outcome:
    """Mutations of valid inputs until there were so many or the time is up."""
    with workplace() as parent, quiet():
        harness = Harness(target, parent, found)
        random = Random(f"{target.name} {seed}")
        limit_memory()
        harness.outcome.inputs = harness.outcome.read = harness.outcome.refused = 0
        begun = time.monotonic()
        while harness.outcome.inputs < n_inputs and time.monotonic() - begun < seconds:
            harness.one(mutated(random.choice(harness.seeds), random, is_json=target.is_json))
        harness.outcome.seconds = time.monotonic() - begun
        return harness.outcome


@contextlib.contextmanager
def workplace() -> Any:
    """An empty folder, in memory where the system has such."""
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = tempfile.mkdtemp(prefix="prunescale-fuzz-", dir=shared)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_json(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome))
