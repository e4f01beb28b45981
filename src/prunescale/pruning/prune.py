"""Pruning a checkpoint in memory: have a method plan it, carry the plan out, and note what was done."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from prunescale.errors import PruningError, perhaps
from prunescale.models import Blocks, BlocksInMemory, Checkpoint, assign_, shape_of, skeleton_of
from prunescale.pruning.depth import DEPTH
from prunescale.pruning.masks import Pattern
from prunescale.pruning.plan import Calibration, Method, Plan, Request
from prunescale.pruning.sparse import LAYER, SPARSE, rate_of_sparsity
from prunescale.pruning.width import DEFAULT_AXES, WIDTH
from prunescale.shape import ModelShape

KEPT_OF_EARLIER = ("base", "rate", "n_params_before")
"""What must be known of an earlier pruning for another one."""

METHODS: dict[str, Method] = {**DEPTH, **WIDTH, **SPARSE}


@dataclass(frozen=True)
class Pruning:
    """What was done to a model. Rates are shares of the parameters outside embeddings and head of `base`, the model that the
    first pruning began with.

    blocks_dropped: counted from 0 in the model that this pruning began with. sizes: of the result, those that shrank. sparsity:
    share of zeros among the weights of the linear layers in the blocks, for methods that make zeros. earlier: what was done before
    this, the first first.
    """

    base: str
    method: str
    rate_wanted: float
    rate: float
    n_params_before: int
    n_params_after: int
    calibration_tokens: int
    calibration_sequence_length: int | None = None
    kind: str = ""
    summary: str = ""
    source: str = ""
    blocks_dropped: tuple[int, ...] = ()
    axes: tuple[str, ...] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    sizes_before: Mapping[str, int] = field(default_factory=dict)
    pattern: str | None = None
    scope: str | None = None
    sparsity: float | None = None
    earlier: tuple[Mapping[str, Any], ...] = ()


def prune(
    checkpoint: Checkpoint,
    *,
    method: str,
    rate: float | None = None,
    calibration: Calibration,
    axes: tuple[str, ...] | None = None,
    pattern: str | None = None,
    scope: str | None = None,
    base: str | None = None,
    on_stage: Callable[[str], None] = lambda words: None,
) -> tuple[Checkpoint, Pruning]:
    """A pruned copy of a checkpoint, and what was done; the checkpoint itself stays as it is.

    rate: share of the parameters outside embeddings and head that is to be gone; of those of the model before its first pruning,
    where this is not the first. It may be left out where a pattern says it. base: how the lineage names the model before pruning
    (default: the checkpoint's name). on_stage: told in a few words what is being done. Raises PruningError for an unknown method,
    and for a rate or option that the method or the model does not allow; ModelError for weights that are not finite.
    """
    request = request_for(checkpoint.lineage, checkpoint.shape, method, rate, axes=axes, pattern=pattern, scope=scope)
    blocks = BlocksInMemory(checkpoint.model)
    blocks.on_block = lambda index: on_stage(f"Scoring block {index + 1} of {len(blocks)}")
    plan = METHODS[method].plan(blocks, calibration, request)
    blocks.on_block = lambda index: on_stage(f"Pruning block {index + 1} of {len(blocks)}")
    model = carried_out(plan, blocks)
    done = record(checkpoint.lineage, request, plan, base or checkpoint.name, calibration)
    pruned = replace(
        checkpoint,
        name=f"{checkpoint.name}-{method}-{done.rate:.3f}",
        model=model,
        lineage={**checkpoint.lineage, "pruning": asdict(done)},
        importance=dict(plan.importance),
    )
    return pruned, done


def carried_out(plan: Plan, blocks: Blocks) -> Any:
    """The pruned model, in memory."""
    model = skeleton_of(plan.config, dtype=blocks.model.dtype, device=blocks.device)
    tensors = plan.ends(blocks)
    for index, block in enumerate(plan.block_tensors(blocks)):
        tensors |= {f"{blocks.family.blocks}.{index}.{name}": value for name, value in block.items()}
    if plan.config.tie_word_embeddings:
        tensors[f"{blocks.family.head.path}.weight"] = tensors[f"{blocks.family.embedding.path}.weight"]
    assign_(model, tensors)
    model.tie_weights()
    model.generation_config = copy.deepcopy(blocks.model.generation_config)
    return model.requires_grad_(True)


def request_for(
    lineage: Mapping[str, Any],
    shape: ModelShape,
    method: str,
    rate: float | None,
    *,
    axes: tuple[str, ...] | None = None,
    pattern: str | None = None,
    scope: str | None = None,
) -> Request:
    """What a method is asked for, checked as far as the model does not matter."""
    refuse_unknown_method(method)
    earlier = lineage.get("pruning")
    if earlier and (missing := [name for name in KEPT_OF_EARLIER if name not in earlier]):
        raise PruningError(
            f"The model was pruned before, and its prunescale.json does not say the {missing[0]} of that: prune its base instead."
        )
    n_params_base = earlier["n_params_before"] if earlier else shape.n_params_non_embedding
    if pattern and METHODS[method].kind == "sparse":
        rate = rate_of_pattern(pattern, rate, shape, n_params_base)
    if rate is None:
        raise PruningError(
            f"The method {method} needs a rate: the share of the parameters outside embeddings and head to remove."
        )
    refuse_no_rate(rate)
    if has_sparsity(lineage) and METHODS[method].kind != "sparse":
        raise PruningError(
            f"Single weights of the model were pruned before, and {method} would take some of the zeros for parameters: "
            "prune blocks and widths first, single weights after."
        )
    if earlier and rate <= earlier["rate"]:
        raise PruningError(
            f"A rate counts from the model before its first pruning, and {earlier['rate']:.4f} of that is gone already: "
            f"got {rate:g}, give more."
        )
    if METHODS[method].kind == "width":
        axes = DEFAULT_AXES if axes is None else axes
    if METHODS[method].kind == "sparse" and not pattern:
        scope = scope or LAYER
    return Request(method, rate, shape, n_params_base, axes=axes, pattern=pattern, scope=scope)


def has_sparsity(lineage: Mapping[str, Any]) -> bool:
    """Whether any pruning of a model made zeros, before a training or in one."""
    last = lineage.get("pruning") or {}
    all_of_them = (*last.get("earlier", ()), last, lineage.get("pretraining") or {}, *lineage.get("training", ()))
    return any(pruning.get("sparsity") is not None for pruning in all_of_them)


def refuse_unknown_method(method: str) -> None:
    if method not in METHODS:
        raise PruningError(
            f"There is no pruning method {method!r}{perhaps(method, METHODS)}: choose one of {', '.join(METHODS)}."
        )


def refuse_no_rate(rate: float) -> None:
    """Raise PruningError for a number that is no pruning rate."""
    if not 0 < rate < 1:
        raise PruningError(f"A pruning rate lies strictly between 0 and 1, got {rate:g}.")


def rate_of_pattern(pattern: str, rate: float | None, shape: ModelShape, n_params_base: int) -> float:
    """The pruning rate of an n:m pattern. Raises PruningError where another was asked for."""
    implied = rate_of_sparsity(shape, n_params_base, Pattern.parse(pattern).sparsity)
    if rate is not None and abs(rate - implied) > 0.01:
        raise PruningError(
            f"The pattern {pattern} is a pruning rate of {implied:.3f}, and {rate:g} was asked for: leave the rate out."
        )
    return implied


def record(lineage: Mapping[str, Any], request: Request, plan: Plan, base: str, calibration: Calibration) -> Pruning:
    """What was done, once it is."""
    earlier = lineage.get("pruning")
    facts = dict(plan.facts)
    method = METHODS[request.method]
    before = {name: getattr(request.shape, name) for name in facts.get("sizes", {}) if hasattr(request.shape, name)}
    after = shape_of(plan.config).n_params_non_embedding - facts.pop("n_zeros", 0)
    return Pruning(
        base=earlier["base"] if earlier else base,
        method=request.method,
        rate_wanted=request.rate,
        rate=1 - after / request.n_params_base,
        n_params_before=request.n_params_base,
        n_params_after=after,
        calibration_tokens=calibration.n_tokens if method.calibrated else 0,
        calibration_sequence_length=calibration.sequence_length if method.calibrated else None,
        kind=method.kind,
        summary=method.summary,
        source=method.source,
        sizes_before=before,
        axes=request.axes,
        pattern=request.pattern,
        scope=request.scope,
        earlier=(*earlier.get("earlier", ()), without_history(earlier)) if earlier else (),
        **facts,
    )


def without_history(pruning: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in pruning.items() if name != "earlier"}
