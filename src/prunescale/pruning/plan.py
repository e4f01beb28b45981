"""What a pruning method is asked for, and what it answers with: a plan that can be carried out block by block."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from prunescale.errors import PruningError
from prunescale.models import Blocks
from prunescale.pruning.walk import Walk
from prunescale.shape import ModelShape


@dataclass(frozen=True)
class Calibration:
    """The text that a method looks at the model with. tokens: ids, 1-D. batch: sequences at once. start: the token that a sequence
    begins with whatever stands there, for models that were made to see it before any text."""

    tokens: Tensor
    sequence_length: int
    batch: int = 4
    start: int | None = None

    @property
    def n_tokens(self) -> int:
        """Tokens that are looked at: those of whole sequences."""
        return len(self.tokens) // self.sequence_length * self.sequence_length

    def walk(self, blocks: Blocks, *, n_kept: int = 2) -> Walk:
        """n_kept: for how many boundaries the states of all tokens will be held at once."""
        return Walk(blocks, self.tokens, sequence_length=self.sequence_length, batch=self.batch, n_kept=n_kept, start=self.start)


@dataclass(frozen=True)
class Request:
    """What is to be removed from a model.

    rate: share of the parameters outside embeddings and head, of the model that the first pruning began with, which is to be gone
    afterwards. n_params_base: how many those were (N0).
    axes: for width, which sizes are to shrink. pattern: for n:m, such as "2:4". scope: for single weights, whether they compete
    within a layer or in the whole model.
    """

    method: str
    rate: float
    shape: ModelShape
    n_params_base: int
    axes: tuple[str, ...] | None = None
    pattern: str | None = None
    scope: str | None = None

    @property
    def n_params_wanted(self) -> float:
        """Parameters outside embeddings and head that are to be left."""
        return (1 - self.rate) * self.n_params_base


class Plan(Protocol):
    """A pruning that is decided as far as it can be before the weights are read again.

    config: of the pruned model. importance: scores by name, to be kept beside the model. facts: entries for the record, complete
    once the tensors of all blocks have been asked for.
    """

    config: Any
    importance: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def block_tensors(self, blocks: Blocks) -> Iterator[dict[str, Tensor]]:
        """The parameters of each block of the pruned model in order, named from the block. They are not the base model's own
        storage, so that whoever gets them may keep them."""

    def ends(self, blocks: Blocks) -> dict[str, Tensor]:
        """The parameters outside the blocks, named from the model."""


@dataclass(frozen=True)
class Method:
    """A pruning method. kind: depth, width or sparse. summary: in a few words. source: its paper."""

    kind: str
    summary: str
    source: str
    plan: Any = field(repr=False)
    """(blocks, calibration, request) -> Plan. Raises PruningError for a request that the model or the method doesn't allow."""
    calibrated: bool = True
    """Whether it looks at the model at work; otherwise its calibration is not used."""


def refuse_options(request: Request, **allowed: bool) -> None:
    """Raise PruningError for an option that has no meaning for the method."""
    for name, meant in allowed.items():
        if getattr(request, name) is not None and not meant:
            raise PruningError(f"{name} has no meaning for the method {request.method}: leave it out.")
