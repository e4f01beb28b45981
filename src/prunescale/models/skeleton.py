"""A model without its weights: what its architecture says, and nothing that takes room."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from prunescale.errors import ModelError
from prunescale.models.families import Family, family_of


def skeleton_of(config: Any, *, dtype: torch.dtype, device: torch.device | str) -> Any:
    """A causal-LM model of a configuration whose parameters are on the meta device, and all else (the frequencies of the rotary
    embedding, say) where it belongs. Parameters come in with `assign_`.

    Raises ModelError where a block has parameters that its family does not name."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    for module in model.modules():
        if module._non_persistent_buffers_set:
            for name in module._non_persistent_buffers_set:
                module._buffers[name] = torch.empty_like(module._buffers[name], device=device)
            model._init_weights(module)  # what transformers does itself when it loads weights
    refuse_unknown_parts(model, family_of(config))
    return model.eval()


def refuse_unknown_parts(model: Any, family: Family) -> None:
    """Raise ModelError where a block, or what is around the blocks, has parameters that the family does not name."""
    known = {f"{part.path}.{kind}" for part in family.block for kind in ("weight", "bias")}
    ends = {f"{part.path}.{kind}" for part in family.ends for kind in ("weight", "bias")}
    of_blocks = {name for block in model.get_submodule(family.blocks) for name, _ in block.named_parameters()}
    of_model = {name for name, _ in model.named_parameters() if not name.startswith(f"{family.blocks}.")}
    unknown = sorted(of_blocks - known) + sorted(of_model - ends)
    if unknown:
        raise ModelError(
            f"The model has parameters that prunescale does not know in {model.config.model_type}, {unknown[0]} among them: "
            "use a model with the layers that its architecture has in transformers."
        )


def assign_(module: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Give a module these tensors as its parameters, in place, without a copy. Each one must be there."""
    missing, unexpected = module.load_state_dict(tensors, strict=False, assign=True)
    if missing or unexpected:
        raise ModelError(
            f"The weights do not fit the model: {len(missing)} are missing and {len(unexpected)} are too many, "
            f"{(missing + unexpected)[0]} among them: save or copy the whole model again."
        )
    module.requires_grad_(False)
