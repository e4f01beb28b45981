"""Windows of held-out text to measure a loss on, by domain where the text has any.

Letters of shapes: N windows, L positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prunescale.errors import DataError
from prunescale.training.tokens import Domain, Tokens, begun

OTHER = "other"
"""The domain of what belongs to none, and of domains that are too small for a window of their own."""


@dataclass(frozen=True)
class HeldOut:
    """(N, L + 1) windows of held-out text, and for each the number of its domain in `names`, of which there may be none."""

    windows_NL: Tensor
    domain_N: Tensor
    names: tuple[str, ...] = ()


def held_out_windows(tokens: Tokens, sequence_length: int, limit: int | None = None) -> Tensor:
    """(N, L + 1) windows that cover the tokens once, from the start, at most `limit` tokens of them: L predictions each. The
    last token of a window is the first of the next, so that each token but the first is predicted once."""
    available = min(len(tokens), limit + 1) if limit else len(tokens)
    n_windows = (available - 1) // sequence_length
    if n_windows < 1:
        raise too_little(len(tokens), sequence_length, limit)
    ids = tokens.ids[: n_windows * sequence_length + 1]
    return begun(ids.unfold(0, sequence_length + 1, sequence_length), tokens.start)


def held_out_set(tokens: Tokens, sequence_length: int, limit: int | None = None) -> HeldOut:
    """The windows of a held-out text. Where it has domains they are cut inside each, so that none lies in two, and a limit is shared
    among the domains by their sizes. Domains that are too small for one window are joined into "other", and so is what belongs to none.

    Raises DataError where there is no window at all."""
    if not tokens.domains:
        windows_NL = held_out_windows(tokens, sequence_length, limit)
        return HeldOut(windows_NL, torch.zeros(len(windows_NL), dtype=torch.int64))
    parts = parts_of(tokens, sequence_length)
    n_possible = [(sum(run.n_tokens for run in runs) - 1) // sequence_length for runs in parts.values()]
    n_wanted = shares(n_possible, sum(n_possible) if limit is None else limit // sequence_length)
    if not sum(n_wanted):
        raise too_little(len(tokens), sequence_length, limit)
    chosen = {name: n for name, n in zip(parts, n_wanted, strict=True) if n}
    windows = [first_windows(tokens, parts[name], sequence_length, n) for name, n in chosen.items()]
    numbers = torch.repeat_interleave(torch.arange(len(chosen)), torch.tensor(list(chosen.values())))
    return HeldOut(begun(torch.cat(windows), tokens.start), numbers, tuple(chosen))


def parts_of(tokens: Tokens, sequence_length: int) -> dict[str, list[Domain]]:
    """The runs of each domain by its name, "other" last: all that is in no domain of a window or more."""
    found: dict[str, list[Domain]] = {}
    for run in with_gaps(tokens.domains, len(tokens)):
        found.setdefault(run.name, []).append(run)
    large = {name: runs for name, runs in found.items() if name != OTHER and sum(run.n_tokens for run in runs) > sequence_length}
    rest = [run for name, runs in found.items() if name not in large for run in runs]
    return {**large, OTHER: sorted(rest, key=lambda run: run.first)} if rest else large


def with_gaps(domains: Sequence[Domain], n_tokens: int) -> list[Domain]:
    """The runs, and between them what belongs to none, as "other"."""
    found, reached = [], 0
    for run in [*domains, Domain(OTHER, n_tokens, 0)]:
        if run.first > reached:
            found.append(Domain(OTHER, reached, run.first - reached))
        found.append(run)
        reached = run.first + run.n_tokens
    return [run for run in found if run.n_tokens]


def shares(n_possible: Sequence[int], n_wanted: int) -> list[int]:
    """So many of each that they are `n_wanted` together (all there are, if fewer) and as nearly in proportion as whole numbers can be."""
    total = sum(n_possible)
    n_wanted = min(n_wanted, total)
    exact = np.array(n_possible) * n_wanted / max(total, 1)
    floors = np.floor(exact).astype(int)
    largest_rest_first = np.argsort(floors - exact, kind="stable")
    floors[largest_rest_first[: n_wanted - floors.sum()]] += 1
    return floors.tolist()


def first_windows(tokens: Tokens, runs: Sequence[Domain], sequence_length: int, n_windows: int) -> Tensor:
    """(n_windows, L + 1) windows of the runs, put together, from their start."""
    needed = n_windows * sequence_length + 1
    ids, got = [], 0
    for run in runs:
        taken = min(run.n_tokens, needed - got)
        ids.append(tokens.ids[run.first : run.first + taken])
        got += taken
    return torch.cat(ids).unfold(0, sequence_length + 1, sequence_length)


def too_little(n_tokens: int, sequence_length: int, limit: int | None) -> DataError:
    limited = f", of which {limit} are to be used" if limit and limit < n_tokens else ""
    return DataError(
        f"The held-out text has {n_tokens} tokens{limited}, and one window of {sequence_length} + 1 is the least that "
        "will do: give more text or a shorter sequence length."
    )
