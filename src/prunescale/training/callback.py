"""For those who train a pruned model with the Trainer of Hugging Face: weights that are zero stay zero.

The Trainer clips the gradients first, and calls its callbacks (`on_pre_optimizer_step`) afterwards. Masked there, the gradients of
pruned weights would have their part in the norm, and the others would be cut more than they should be. So gradients are masked as they
arrive, by hooks on the weights: what is clipped, and the norm that is logged, are of the weights that train, as in our own loop.
They are masked again before the step, since what wraps a model may go past the hooks, and the weights after it.
"""

from typing import Any

from torch import Tensor, distributed
from torch.distributed.tensor import DTensor
from torch.nn import Parameter
from transformers import TrainerCallback

from prunescale.errors import TrainingError
from prunescale.training.distributed import ALONE, Ranks
from prunescale.training.zeros import held_zeros, mask_gradients_, mask_weights_


class KeepZeros(TrainerCallback):
    """Keeps the zeros of a pruned model, 2:4 or anywhere, through a training by the Trainer: `Trainer(..., callbacks=[KeepZeros()])`.

    What is kept are the zeros that the weights of the linear layers in the blocks have when the training begins, or goes on from a
    checkpoint. Raises TrainingError, before the first step, for a model without any, and for what it cannot keep them in.
    """

    def __init__(self) -> None:
        self._held: list[tuple[Parameter, Tensor]] = []
        self._hooks: list[Any] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any = None, **_: Any) -> None:
        self._let_go()  # of a training that was cut off: the Trainer begins again where it looks for a batch that fits
        model = refuse_strange(model, args)
        self._held = zeros_of(model)
        self._hooks = [hooked(weight, keep) for weight, keep in self._held]

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        mask_gradients_(self._held)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        mask_weights_(self._held)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._let_go()

    def _let_go(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._held, self._hooks = [], []


def zeros_of(model: Any) -> list[tuple[Parameter, Tensor]]:
    """The weights that have zeros, each with the mask of its shard here: as the model is now, after whatever wrapped it."""
    try:
        return held_zeros(model, current_ranks())
    except TrainingError as error:
        raise TrainingError(
            "There are no zeros to keep: no weight of the linear layers in the blocks is zero. Prune the model by a method that makes "
            "zeros, or train without KeepZeros."
        ) from error


def current_ranks() -> Ranks:
    """The processes that the Trainer trains with."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def hooked(weight: Parameter, keep: Tensor) -> Any:
    """Have the gradient of a weight masked as it arrives; back comes the handle of the hook.

    A plain weight gets a hook that is called before anything is added up: DDP sends gradients to the other processes right after.
    One that is spread over processes gets its shard of the gradient later, and FSDP2 then calls this other kind of hook."""
    if isinstance(weight, DTensor):
        return weight.register_post_accumulate_grad_hook(lambda weight: mask_gradients_([(weight, keep)]))
    return weight.register_hook(lambda grad: grad * keep)


def refuse_strange(model: Any, args: Any) -> Any:
    """The model itself, out of what torch.compile put around it. Raises TrainingError where the weights that are trained cannot be seen
    or changed one by one."""
    model = getattr(model, "_orig_mod", model)
    kinds = {type(module).__name__ for module in model.modules()}
    if getattr(args, "deepspeed", None):
        wrong, instead = "DeepSpeed, which keeps weights of its own", "Train with FSDP2 or DDP"
    elif "FullyShardedDataParallel" in kinds:
        wrong, instead = "FSDP 1, which joins weights into one", 'Set fsdp_config={"version": 2}'
    elif getattr(model, "is_quantized", False) or getattr(model, "hf_quantizer", None):
        wrong, instead = "a quantised model, whose weights do not train", "Load it in bfloat16 or float32"
    elif hasattr(model, "peft_config") or getattr(model, "_hf_peft_config_loaded", False):
        wrong, instead = "adapters (PEFT), which fill the zeros when they are merged", "Train the model itself"
    else:
        return model
    raise TrainingError(f"This training has {wrong}: zeros cannot be kept or counted in it. {instead}.")
