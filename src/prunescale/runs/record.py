"""What a run leaves behind: everything needed to fit a law to it, to repeat it and to price it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any, Literal

Kind = Literal["post-training", "pre-training"]
Phase = Literal["before", "warm-up", "constant", "decay", "annealed"]


@dataclass(frozen=True)
class Point:
    """One measurement on the loss curve of a run.

    n_tokens: tokens trained on so far, repeats counted. loss: held-out loss, nats per token. learning_rate: of the step just
    done (0 before the first). phase: where the learning-rate schedule stood; a constant-rate checkpoint and an annealed end are
    not the same thing, and a fit must know which it has. annealed: the rate has fallen to its end, which makes a finished model.
    seconds: of training alone, evaluations left out. None: nobody knows. domains: the loss of each part of the held-out text.
    """

    n_tokens: int
    loss: float
    learning_rate: float | None
    phase: Phase
    seconds: float | None
    domains: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A finished training run, after pruning or of a base model. Losses in nats per token on the held-out set.

    A field is None where nobody knows: one of our own runs knows nearly all of them, one that was measured elsewhere may not.
    """

    id: str
    created: str  # ISO 8601, UTC
    kind: Kind
    name: str  # for people: "embedded-1m depth-block-influence 0.25"
    recipe: dict[str, Any]  # empty for a run that was measured elsewhere
    recipe_hash: str | None

    # The model. Counts by group are those of the model as trained; the law's N0 is n_params_before.
    base: str  # name of the model before pruning
    pruning_method: str | None
    pruning_rate: float | None  # achieved; 0.0 where nothing was pruned
    n_params_before: int | None  # outside embeddings and head, before pruning
    n_params_non_embedding: int | None
    n_params_embedding: int | None
    n_params_head: int | None
    n_params_attention: int | None
    n_params_ffn: int | None
    n_params_norm: int | None
    n_params_linear: int | None  # linear weights, output projection included
    n_params_total: int | None
    n_params_nonzero: int | None

    loss_before: float | None  # L0: of the model before pruning
    n_tokens_pretrain: int | None  # tokens the base model had seen
    bytes_per_token: float | None  # of the held-out text, for bits per byte

    sequence_length: int | None
    flops: float | None  # of training, forward and backward
    seconds: float | None  # of training, evaluations left out
    tokens_per_second: float | None
    peak_memory_bytes: int | None
    device: str | None
    versions: dict[str, str]

    # What else a law reads that is one number for the whole run: sparsity, n_params_average, unique_tokens.
    inputs: dict[str, float] = field(default_factory=dict)

    # (tokens, weights): from so many tokens on, so many weights of the linear layers, output projection included, are not pruned.
    # Empty where it is n_params_linear throughout. What falls while a model trains is averaged over the tokens by a law.
    n_params_left: tuple[tuple[int, int], ...] = field(default=())

    points: tuple[Point, ...] = field(default=())

    @property
    def loss(self) -> float:
        """The last measured loss."""
        return self.points[-1].loss

    @property
    def bits_per_byte(self) -> float | None:
        """The last measured loss in bits per byte of text, by which models with different tokenizers can be compared."""
        return None if self.bytes_per_token is None else self.loss / log(2) / self.bytes_per_token

    @property
    def n_tokens(self) -> int:
        """Tokens at the end; those of branches that left the training earlier are not counted."""
        return self.points[-1].n_tokens

    def n_params_average(self, n_tokens: int) -> float | None:
        """Weights of the linear layers that are not pruned, averaged over the first so many tokens: the N of the average-parameter law
        (Jin et al. 2025, arXiv:2501.12486); None where nobody knows."""
        if not self.n_params_left:
            return None if self.n_params_linear is None else float(self.n_params_linear)
        return average_over(self.n_params_left, n_tokens)


def average_over(left: Sequence[tuple[int, int]], n_tokens: int) -> float:
    """The mean over the first so many tokens of what is constant from each of these token counts to the next; the first is 0."""
    if n_tokens == 0:
        return float(left[0][1])
    ends = [*(begin for begin, _ in left[1:]), n_tokens]
    spans = [(max(0, min(end, n_tokens) - begin), value) for (begin, value), end in zip(left, ends, strict=True)]
    return sum(span * value for span, value in spans) / n_tokens
