"""What a run leaves behind: everything needed to fit a law to it, to repeat it and to price it."""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["post-training", "pre-training"]
Phase = Literal["before", "warm-up", "constant", "decay"]


@dataclass(frozen=True)
class Point:
    """One measurement on the loss curve of a run.

    n_tokens: tokens trained on so far, repeats counted. loss: held-out loss, nats per token. learning_rate: of the step just
    done (0 before the first). phase: where the learning-rate schedule stood; a constant-rate checkpoint and an annealed end are
    not the same thing, and a fit must know which it has. seconds: of training alone, evaluations left out. None: nobody knows.
    """

    n_tokens: int
    loss: float
    learning_rate: float | None
    phase: Phase
    seconds: float | None


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

    points: tuple[Point, ...] = field(default=())

    @property
    def loss(self) -> float:
        """The last measured loss."""
        return self.points[-1].loss

    @property
    def n_tokens(self) -> int:
        return self.points[-1].n_tokens
