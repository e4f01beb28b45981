"""Pruning a model's folder block by block, for a model that needn't fit the device, or the memory, as a whole."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from prunescale.models import (
    Blocks,
    ModelFolder,
    WeightsWriter,
    named_from_anywhere,
    new_folder,
    read_folder,
    refuse_to_overwrite,
    write_beside,
)
from prunescale.pruning.plan import Calibration, Plan
from prunescale.pruning.prune import METHODS, Pruning, record, request_for
from prunescale.pruning.walk import Walk


def prune_folder(
    source: ModelFolder | str | Path,
    out: str | Path,
    *,
    method: str,
    rate: float | None = None,
    calibration: Calibration,
    device: torch.device,
    dtype: torch.dtype | None = None,
    axes: tuple[str, ...] | None = None,
    pattern: str | None = None,
    scope: str | None = None,
    base: str | None = None,
    on_stage: Callable[[str], None] = lambda words: None,
) -> Pruning:
    """Prune the Hugging Face folder `source` into the new folder `out`, as `prune` and `save` would, and say what was done. About
    three blocks are on the host at a time, two on the device, and there the embedding and the head too. `out` has the type of the
    source's file, and is there once complete or not at all.

    dtype: to compute in (default: the file's, on a CPU float32). base: how the lineage names the model before pruning (default: its
    path). on_stage: told in a few words what is being done. Others as in `prune`. Raises ModelError for a source that is no
    complete model and for a place where nothing can be written, and PruningError as `prune` does."""
    folder = source if isinstance(source, ModelFolder) else read_folder(source)
    target = Path(out)
    refuse_to_overwrite(target, folder.path)
    request = request_for(folder.lineage, folder.shape, method, rate, axes=axes, pattern=pattern, scope=scope)
    with (
        new_folder(target) as unfinished,
        folder.blocks(dtype=dtype or computing_dtype(folder.dtype, device), device=device) as blocks,
    ):
        blocks.on_block = lambda index: on_stage(f"Scoring block {index + 1} of {len(blocks)}")
        plan = METHODS[method].plan(blocks, calibration, request)
        blocks.on_block = lambda index: on_stage(f"Pruning block {index + 1} of {len(blocks)}")
        with WeightsWriter(unfinished, folder.dtype) as weights:
            write_blocks(plan, blocks, weights)
            on_stage("Writing")
        done = record(folder.lineage, request, plan, base or named_from_anywhere(str(folder.path)), calibration)
        write_beside(
            unfinished,
            name=target.resolve().name,
            model=blocks.model,
            config=plan.config,
            dtype=folder.dtype,
            tokenizer=folder.tokenizer,
            kept=folder.kept,
            lineage={**folder.lineage, "pruning": asdict(done)},
            importance=plan.importance,
        )
    return done


def write_blocks(plan: Plan, blocks: Blocks, weights: WeightsWriter) -> None:
    for index, tensors in enumerate(plan.block_tensors(blocks)):
        weights.put({f"{blocks.family.blocks}.{index}.{name}": value for name, value in tensors.items()})
    weights.put(plan.ends(blocks))


def computing_dtype(stored: torch.dtype, device: torch.device) -> torch.dtype:
    """What to compute in where nobody says: CPUs are slow in the half types, and exact in float32."""
    return torch.float32 if device.type == "cpu" else stored


def loss_of_folder(
    source: ModelFolder | str | Path,
    windows_NL: Tensor,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    batch: int = 4,
    on_stage: Callable[[str], None] = lambda words: None,
) -> float:
    """The mean loss, nats per token, over (N, L + 1) windows of token ids, of a model that is read block by block; of each window all
    but the first token are predicted. Raises PruningError where it is not finite."""
    folder = source if isinstance(source, ModelFolder) else read_folder(source)
    with folder.blocks(dtype=dtype or computing_dtype(folder.dtype, device), device=device) as blocks:
        walk = Walk(blocks, windows_NL.flatten(), sequence_length=windows_NL.shape[1], batch=batch)
        for index in range(len(blocks)):
            on_stage(f"Measuring the loss of {folder.name}, block {index + 1} of {len(blocks)}")
            with blocks.resident(index) as block:
                walk.states = walk.through(index, block)
        return walk.loss()
