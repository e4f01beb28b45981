"""Pruning a checkpoint in memory: calibrate, choose, cut, and note what was done."""

import copy
from dataclasses import asdict, dataclass, replace

from torch import Tensor

from prunescale.errors import PruningError
from prunescale.models import Checkpoint, family_of, shape_of
from prunescale.pruning.calibrate import block_angles
from prunescale.pruning.depth import METHODS, blocks_for_rate, rate_of_blocks
from prunescale.pruning.surgery import drop_blocks_


@dataclass(frozen=True)
class Pruning:
    """What was done to a model. Rates are shares of the parameters outside embeddings and head."""

    base: str
    method: str
    rate_wanted: float
    rate: float
    blocks_dropped: tuple[int, ...]
    scores: tuple[float, ...]
    n_params_before: int
    n_params_after: int
    calibration_tokens: int


def prune(
    checkpoint: Checkpoint, *, method: str, rate: float, calibration: Tensor, sequence_length: int, base: str | None = None
) -> tuple[Checkpoint, Pruning]:
    """A pruned copy of a checkpoint, and what was done; the checkpoint itself stays as it is.

    calibration: token ids, 1-D. base: how the lineage names the model before pruning (default: the checkpoint's name).
    Raises PruningError for an unknown method, a rate that cannot be met, and a model that was pruned before.
    """
    if method not in METHODS:
        raise PruningError(f"There is no pruning method {method!r}: choose {' or '.join(METHODS)}.")
    if "pruning" in checkpoint.lineage:  # N0 and L0 would be those of the model in between
        raise PruningError(
            f"{checkpoint.name} was pruned before, and pruning in several steps is not supported yet: start from its base."
        )
    shape = checkpoint.shape
    n_drop = blocks_for_rate(shape, rate)
    family = family_of(checkpoint.model.config)
    cosine_KK, angle_KK = block_angles(checkpoint.model, family, calibration, sequence_length=sequence_length)
    choice = METHODS[method](cosine_KK, angle_KK, n_drop)
    model = copy.deepcopy(checkpoint.model)
    drop_blocks_(model, family, choice.blocks)
    done = Pruning(
        base=base or checkpoint.name,
        method=method,
        rate_wanted=rate,
        rate=rate_of_blocks(shape, n_drop),
        blocks_dropped=choice.blocks,
        scores=choice.scores,
        n_params_before=shape.n_params_non_embedding,
        n_params_after=shape_of(model.config).n_params_non_embedding,
        calibration_tokens=len(calibration) // sequence_length * sequence_length,
    )
    lineage = {**checkpoint.lineage, "pruning": asdict(done)}
    name = f"{checkpoint.name}-{method}-{done.rate:.3f}"
    return replace(checkpoint, name=name, model=model, lineage=lineage), done
