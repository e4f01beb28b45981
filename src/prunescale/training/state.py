"""What a training has in its hands and must have again to go on as if never stopped: weights, the optimiser's moments, masks."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunescale.recipe import TrainRecipe
from prunescale.training.distributed import like, local
from prunescale.training.zeros import Held

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class State:
    """A model in training, with its optimiser and the masks of weights that are held at zero."""

    model: Any
    optimizer: torch.optim.AdamW
    held: Held

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, as it is and not copied; where the model is spread over processes, spread like it."""
        named = {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        found = {f"weight.{name}": parameter.detach() for name, parameter in named.items()}
        for moment in MOMENTS:
            found |= {f"{moment}.{name}": self.optimizer.state[parameter][moment] for name, parameter in named.items()}
        names = {parameter: name for name, parameter in named.items()}
        return found | {f"keep.{names[weight]}": like(weight.detach(), keep) for weight, keep in self.held}

    @torch.no_grad()
    def copy(self) -> dict[str, Tensor]:
        """What this process holds of it, in the memory of the CPU."""
        return {name: local(tensor).to("cpu", copy=True) for name, tensor in self.tensors().items()}

    @torch.no_grad()
    def restore_(self, copy: dict[str, Tensor], step: int) -> None:
        """Put a copy back, that was made after so many steps."""
        for name, tensor in self.tensors().items():
            local(tensor).copy_(copy[name])
        self.count_from_(step)

    @torch.no_grad()
    def count_from_(self, step: int) -> None:
        """Tell the optimiser how many steps it has done, by which it corrects its moments."""
        for entry in self.optimizer.state.values():
            entry["step"].fill_(step)


def adamw(model: Any, recipe: TrainRecipe) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only: norms and other vectors are left to themselves. Its moments are there from the start.

    On a GPU the learning rate is a tensor there, so that a recorded step can read it."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    on_gpu = parameters[0].device.type == "cuda"
    rate = torch.tensor(0.0, device=parameters[0].device) if on_gpu else 0.0
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(recipe.beta1, recipe.beta2), fused=True, capturable=on_gpu)
    for parameter in parameters:  # a step at rate 0 with gradients of 0 leaves weights and moments as they are
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for entry in optimizer.state.values():
        entry["step"].zero_()
    return optimizer


def set_rate_(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate
