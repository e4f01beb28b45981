"""Which pruning hurts least before any training: every method tried at every rate, and what the scores say of a model's parts.

Letters of shapes: K blocks, G groups of heads (one for each key and value head), F feed-forward channels, D hidden size, W windows.
"""

import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunescale.errors import DataError, ModelError, PruningError
from prunescale.models import BlocksInMemory, Checkpoint
from prunescale.outputs import replaced
from prunescale.pruning import METHODS, Calibration, Plan, Request
from prunescale.pruning.depth import DepthPlan, blocks_for_rate, config_without, lowest, rate_after
from prunescale.pruning.importance import importances
from prunescale.pruning.masks import Pattern
from prunescale.pruning.prune import carried_out, record, refuse_no_rate, refuse_unknown_method, request_for
from prunescale.pruning.width import WidthPlan
from prunescale.training import Tokens, held_out_windows, loss_function

WIDTH_SCORES = "width-activation"
"""By what heads and channels are scored where no width method is tried."""

LEAST_WINDOWS = 8
"""Fewer windows of held-out text do not say how far chance goes."""

RUN_LENGTH = 32
"""Tokens in a row that stand in another text hardly by chance."""

SHORT_OF = 0.01
"""A model that misses the rate by more than this has lost too little to be compared with others at that rate."""


@dataclass(frozen=True)
class Try:
    """One pruning that was tried. rate_wanted: None where a pattern says it. rate, n_params_after: what came of it, outside embeddings
    and head. loss, increase: right after pruning, and above the dense model's, nats per token. seconds: what the pruning took.
    reason: why it cannot be done, for one that cannot; it has no rate and no loss then."""

    method: str
    kind: str
    pattern: str | None
    rate_wanted: float | None
    rate: float | None = None
    n_params_after: int | None = None
    loss: float | None = None
    increase: float | None = None
    seconds: float | None = None
    blocks_dropped: tuple[int, ...] = ()
    reason: str | None = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.pattern}" if self.pattern else self.method


@dataclass(frozen=True)
class Inspection:
    """What was found. dense_loss: before pruning, nats per token. importance: scores by name, the lowest would go first:
    `blocks.METHOD` (K,) of each depth method, `heads.METHOD` (K, G), `ffn.METHOD` (K, F) and `hidden.METHOD` (D,) of each width
    method. window_losses: (1 + tries, W) of the dense model and of each try in turn, NaN for one that cannot be done."""

    model: str
    n_layers: int
    n_params: int
    """Outside embeddings and head."""
    dense_loss: float
    tries: tuple[Try, ...]
    importance: Mapping[str, np.ndarray]
    window_losses: np.ndarray
    sequence_length: int
    calibration_tokens: int
    held_out_tokens: int
    uniform_loss: float
    """Of a model that knows nothing and finds all tokens equally likely."""

    @property
    def rates(self) -> tuple[float, ...]:
        return tuple(sorted({each.rate_wanted for each in self.tries if each.rate_wanted is not None}))

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.kind for each in self.tries))

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.pattern for each in self.tries if each.pattern))

    def at(self, question: float | str, kind: str | None = None) -> list[Try]:
        """The tries at a rate that was wanted, or with a pattern; of one kind alone, if wanted."""
        found = [each for each in self.tries if question == (each.pattern or each.rate_wanted)]
        return [each for each in found if kind is None or each.kind == kind]

    def best(self, tries: Sequence[Try]) -> list[Try]:
        """The one that hurts least of tries at one rate, and all those that the held-out text does not tell from it: on its windows the
        difference is less than two standard errors away from zero. What lost less than was asked for, where another did not, is
        out of the running."""
        done = [each for each in tries if each.loss is not None and each.rate is not None]
        if not done:
            return []
        asked = max((each.rate_wanted or 0.0) for each in done)
        least_rate = min(asked, max(each.rate or 0.0 for each in done)) - SHORT_OF
        running = sorted((each for each in done if (each.rate or 0.0) >= least_rate), key=lambda each: each.loss or 0.0)
        return [running[0], *(each for each in running[1:] if not self.told_apart(running[0], each))]

    def told_apart(self, one: Try, other: Try) -> bool:
        if self.window_losses.shape[1] < LEAST_WINDOWS:
            return one.loss != other.loss
        rows = [self.window_losses[1 + self.tries.index(each)] for each in (one, other)]
        difference_W = rows[0] - rows[1]
        return bool(abs(difference_W.mean()) > 2 * difference_W.std(ddof=1) / np.sqrt(len(difference_W)))


def inspect(
    checkpoint: Checkpoint,
    *,
    methods: Sequence[str] = (),
    rates: Sequence[float],
    patterns: Sequence[str] = (),
    calibration: Calibration,
    held_out: Tokens,
    held_out_tokens: int | None = None,
    device: torch.device,
    progress: Callable[[str], None] = lambda words: None,
) -> Inspection:
    """Prune a model by each method (default: all there are) at each rate, measure each result as it is, and score its parts.

    The model and one pruned copy are in memory together. Sparse methods are tried with each n:m pattern too, which has a rate of its
    own. What the model or the method does not allow is told in its row. `held_out_tokens`: at most so many are measured on.

    Raises PruningError for an unknown method, a rate or pattern that is none, and where nothing can be done; DataError for too little
    text.
    """
    methods = list(dict.fromkeys(methods)) or list(METHODS)
    refuse_unknown(methods, rates, patterns)
    progress("measuring the loss before pruning")
    measured = [window_losses(checkpoint, held_out, calibration.sequence_length, held_out_tokens, device)]
    if not np.isfinite(measured[0]).all():
        raise ModelError(f"The held-out loss of {checkpoint.name} is not finite: the model is damaged; make or load it again.")
    work = Work(checkpoint, calibration, held_out, held_out_tokens, device)
    tries: list[Try] = []
    known: dict[Any, int] = {}
    wanted = list(asked_for(methods, rates, patterns))
    for number, one in enumerate(wanted, 1):
        progress(f"{one.name}{f' at {one.rate_wanted:g}' if one.rate_wanted else ''} ({number} of {len(wanted)})")
        again = known.setdefault(work.identity(one), len(tries))
        if again < len(tries):
            done, losses_W = replace(tries[again], rate_wanted=one.rate_wanted), measured[1 + again]
        else:
            done, losses_W = work.tried(one, measured[0])
        tries.append(done)
        measured.append(losses_W)
    if all(each.reason for each in tries):
        raise PruningError(str(tries[0].reason))
    progress("scoring blocks, heads and channels")
    return Inspection(
        model=checkpoint.name,
        n_layers=checkpoint.shape.n_layers,
        n_params=checkpoint.shape.n_params_non_embedding,
        dense_loss=float(measured[0].mean()),
        tries=tuple(tries),
        importance={**work.block_scores(methods), **work.part_scores(methods)},
        window_losses=np.stack(measured),
        sequence_length=calibration.sequence_length,
        calibration_tokens=calibration.n_tokens,
        held_out_tokens=len(measured[0]) * calibration.sequence_length,
        uniform_loss=float(np.log(checkpoint.shape.vocab_size)),
    )


def refuse_unknown(methods: Sequence[str], rates: Sequence[float], patterns: Sequence[str]) -> None:
    for method in methods:
        refuse_unknown_method(method)
    for rate in rates:
        refuse_no_rate(rate)
    for pattern in patterns:
        Pattern.parse(pattern)


def asked_for(methods: Sequence[str], rates: Sequence[float], patterns: Sequence[str]) -> Iterator[Try]:
    for method in methods:
        kind = METHODS[method].kind
        yield from (Try(method, kind, None, rate) for rate in sorted(set(rates)))
        if kind == "sparse":
            yield from (Try(method, kind, pattern, None) for pattern in dict.fromkeys(patterns))


@dataclass
class Work:
    """A model, what to look at it with and to measure it on, and what is known of its blocks so far.

    of_blocks: (K,) scores by depth method, of each block alone. whatever_number: those of them that serve any number of blocks, so
    that the text is read once for all rates. of_parts: scores of heads and channels by width method."""

    checkpoint: Checkpoint
    calibration: Calibration
    held_out: Tokens
    held_out_tokens: int | None
    device: torch.device
    of_blocks: dict[str, Tensor] = field(default_factory=dict)
    whatever_number: dict[str, Tensor] = field(default_factory=dict)
    of_parts: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)

    @property
    def blocks(self) -> BlocksInMemory:
        return BlocksInMemory(self.checkpoint.model)

    def request(self, one: Try) -> Request:
        return request_for(self.checkpoint.lineage, self.checkpoint.shape, one.method, one.rate_wanted, pattern=one.pattern)

    def identity(self, one: Try) -> Any:
        """Alike for tries that come to the same: blocks go whole, so that two rates may be the same number of them."""
        if one.kind == "depth":
            with suppress(PruningError):
                return one.method, blocks_for_rate(self.request(one))
        return one

    def tried(self, one: Try, dense_W: np.ndarray) -> tuple[Try, np.ndarray]:
        """A try with what came of it, and its loss on each window."""
        begun = time.perf_counter()
        try:
            request = self.request(one)
            plan = self.plan(request)
            pruned = replace(self.checkpoint, model=carried_out(plan, self.blocks))
            done = record(self.checkpoint.lineage, request, plan, self.checkpoint.name, self.calibration)
            seconds = time.perf_counter() - begun
            length = self.calibration.sequence_length
            losses_W = window_losses(pruned, self.held_out, length, self.held_out_tokens, self.device)
            if not np.isfinite(losses_W).all():
                raise PruningError("The pruned model computes numbers that are not finite.")
        except PruningError as error:
            return replace(one, reason=str(error)), np.full_like(dense_W, np.nan)
        loss = float(losses_W.mean())
        found = replace(
            one,
            rate=done.rate,
            n_params_after=done.n_params_after,
            loss=loss,
            increase=loss - float(dense_W.mean()),
            seconds=seconds,
            blocks_dropped=tuple(done.blocks_dropped),
        )
        return found, losses_W

    def plan(self, request: Request) -> Plan:
        """What the method answers; from scores that are known, where they serve any number of blocks."""
        method, blocks = METHODS[request.method], self.blocks
        if request.method in self.whatever_number:
            choice = lowest(self.whatever_number[request.method], blocks_for_rate(request))
            return DepthPlan(config_without(blocks, choice.blocks), choice, len(blocks))
        plan: Plan = method.plan(blocks, self.calibration, request)
        if isinstance(plan, DepthPlan) and len(plan.choice.scores) == len(blocks):
            n_drop = len(plan.choice.blocks)
            self.of_blocks[request.method] = plan.choice.scores
            if n_drop > 1 and lowest(plan.choice.scores, n_drop).blocks == plan.choice.blocks:
                self.whatever_number[request.method] = plan.choice.scores
        if isinstance(plan, WidthPlan):
            self.of_parts[request.method] = plan.importance
        return plan

    def block_scores(self, methods: Sequence[str]) -> dict[str, np.ndarray]:
        """(K,) scores of single blocks by each depth method, those by which it would choose if one block were to go."""
        shape = self.checkpoint.shape
        depth = [method for method in methods if METHODS[method].kind == "depth"] if shape.n_layers > 1 else []
        for method in depth:
            if method not in self.of_blocks:
                request = Request(method, 0.0, shape, shape.n_params_non_embedding)
                self.plan(replace(request, rate=rate_after(request, 1)))
        return {f"blocks.{method}": self.of_blocks[method].float().numpy() for method in depth}

    def part_scores(self, methods: Sequence[str]) -> dict[str, np.ndarray]:
        """(K, G) scores of the groups of heads, (K, F) of feed-forward channels, (D,) of hidden channels, by each width method or
        else by WIDTH_SCORES."""
        width = [method for method in methods if METHODS[method].kind == "width"] or [WIDTH_SCORES]
        for method in width:
            if method not in self.of_parts:
                self.of_parts[method] = importances(self.blocks, self.calibration, method)
        return {
            f"{name}.{method}": self.of_parts[method][name].float().cpu().numpy()
            for method in width
            for name in ("heads", "ffn", "hidden")
        }


@torch.no_grad()
def window_losses(
    checkpoint: Checkpoint, held_out: Tokens, sequence_length: int, limit: int | None, device: torch.device
) -> np.ndarray:
    """(W,) mean loss of each window of held-out text, nats per token; their mean is what `held_out_loss` says."""
    windows = held_out_windows(held_out, sequence_length, limit)
    loss = loss_function(checkpoint.model, device)
    sums_W = torch.stack([loss(ids_L[None].to(device)).double() for ids_L in windows])
    return sums_W.cpu().numpy() / sequence_length


def shared_text(calibration: torch.Tensor, held_out: torch.Tensor) -> float:
    """The share of held-out tokens, by whole runs of 32, that stand in the calibration text in the same order."""
    runs = {tuple(run) for run in calibration.unfold(0, RUN_LENGTH, 1).tolist()} if len(calibration) >= RUN_LENGTH else set()
    pieces = held_out[: len(held_out) // RUN_LENGTH * RUN_LENGTH].view(-1, RUN_LENGTH).tolist()
    return sum(tuple(piece) in runs for piece in pieces) / max(len(pieces), 1)


def save_inspection(inspection: Inspection, path: Path) -> None:
    """Write all of an inspection as .npz, all of it or nothing: its arrays of scores by their names, and the rest."""
    table = {each.name: getattr(inspection, each.name) for each in fields(inspection)}
    table |= {"tries": [asdict(each) for each in inspection.tries]}
    arrays = {**table.pop("importance"), "window_losses": table.pop("window_losses")}
    with replaced(path) as target, target.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, table=np.array(json.dumps(table)), **arrays)


def read_inspection(path: Path) -> Inspection:
    """What `save_inspection` wrote. Raises DataError for a file that is something else."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        table = json.loads(str(arrays.pop("table")))
        tries = tuple(Try(**{**each, "blocks_dropped": tuple(each["blocks_dropped"])}) for each in table.pop("tries"))
        return Inspection(**table, tries=tries, window_losses=arrays.pop("window_losses"), importance=arrays)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no inspection: write one with prunescale inspect --scores.") from error
