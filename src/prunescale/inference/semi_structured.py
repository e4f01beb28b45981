"""Linear layers whose weight is 2:4 computed with the sparse tensor cores of a GPU, through torch.sparse.

The compressed weight has half of the numbers and two bits for the place of each: 9/16 of the bytes at 16 bits a number. O outputs
(rows), I inputs, R rows of an input.
"""

import copy
import warnings
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.sparse import SparseSemiStructuredTensor, to_sparse_semi_structured

CAPABILITY = (8, 0)
"""The first GPUs with sparse tensor cores: A100."""
ROWS, COLUMNS = 32, 64
"""What the sizes of a 16-bit weight must be multiples of for both of torch's backends, cuSPARSELt and CUTLASS."""
DTYPES = (torch.bfloat16, torch.float16)
TRIED_ROWS = (1, 64)
"""Rows of a product that is tried before a layer is converted: as few as a step of decoding has, and enough that none are added."""
TOLERANCE = 0.02
"""Of the largest value of a product: bfloat16 has 8 bits, and the kernels sum in another order."""


@dataclass(frozen=True)
class Conversion:
    """The linear layers of a model by their paths: those computed with 2:4 kernels, those that are 2:4 and of a shape that the kernels
    don't take, and those that are not 2:4 (the head, as a rule). The latter two stay dense, and so do those that are `refused` on this
    machine when they are tried, `reason` saying why the first of them was."""

    converted: tuple[str, ...] = ()
    wrong_shape: tuple[str, ...] = ()
    not_two_of_four: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    reason: str | None = None


def why_no_kernels(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why a device has no 2:4 kernels for numbers of this type; None where it has them."""
    if device.type != "cuda":
        return f"2:4 kernels need an NVIDIA GPU, and the device is {device.type}"
    found = torch.cuda.get_device_capability(device)
    if found < CAPABILITY:
        return f"2:4 kernels need a GPU of compute capability 8.0 or more, and this one has {found[0]}.{found[1]}"
    if dtype not in DTYPES:
        return f"2:4 kernels are used with 16-bit numbers, and the model is computed in {str(dtype).removeprefix('torch.')}"
    return None


def two_of_four(weight_OI: Tensor) -> bool:
    """Whether no four weights that follow one another in a row have more than two other than zero."""
    n_outputs, n_inputs = weight_OI.shape
    if n_inputs % 4:
        return False
    return bool((weight_OI.reshape(n_outputs, n_inputs // 4, 4).count_nonzero(-1) <= 2).all())


@torch.no_grad()
def survey(model: Any) -> Conversion:
    """Which layers could be converted, by their numbers and shapes alone; device and type are another matter."""
    converted, wrong_shape, dense = [], [], []
    for path, layer in model.named_modules():
        if not isinstance(layer, nn.Linear):
            continue
        if not two_of_four(layer.weight):
            dense.append(path)
        elif layer.weight.shape[0] % ROWS or layer.weight.shape[1] % COLUMNS:
            wrong_shape.append(path)
        else:
            converted.append(path)
    return Conversion(tuple(converted), tuple(wrong_shape), tuple(dense))


@torch.no_grad()
def semi_structured_copy(model: Any) -> tuple[Any, Conversion]:
    """A model like this one that computes its 2:4 layers with 2:4 kernels, and which these are. All other weights are shared with the
    model, not copied. The device must have the kernels (`why_no_kernels`); a build of torch may still lack those for its GPU, so that
    each shape is tried once, and what fails stays dense."""
    possible = survey(model)
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    sparse = copy.deepcopy(model, shared)
    faults: dict[torch.Size, str | None] = {}
    converted, refused = [], []
    for path in possible.converted:
        layer = sparse.get_submodule(path)
        weight_OI = layer.weight.detach().contiguous()
        if weight_OI.shape not in faults:
            faults[weight_OI.shape] = fault_of(weight_OI)
        if faults[weight_OI.shape]:
            refused.append(path)
            continue
        layer.weight = nn.Parameter(packed(weight_OI), requires_grad=False)
        layer.forward = MethodType(forward_of_rows, layer)
        converted.append(path)
    reason = next((fault for fault in faults.values() if fault), None)
    return sparse, replace(possible, converted=tuple(converted), refused=tuple(refused), reason=reason)


def forward_of_rows(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer's output, by a product of a matrix: of an input of more dimensions that is not laid out in one piece torch makes a
    batch of products, for which there are no 2:4 kernels."""
    rows_RI = x.reshape(-1, layer.in_features)
    return functional.linear(rows_RI, layer.weight, layer.bias).view(*x.shape[:-1], layer.out_features)


def fault_of(weight_OI: Tensor) -> str | None:
    """Why products with this weight packed are not to be had, from trying; None where they are, and right."""
    generator = torch.Generator(weight_OI.device).manual_seed(0)
    try:
        packed_OI = packed(weight_OI)
        for n_rows in TRIED_ROWS:
            size = (n_rows, weight_OI.shape[1])
            x_RI = torch.randn(size, generator=generator, device=weight_OI.device, dtype=weight_OI.dtype)
            expected_RO, found_RO = functional.linear(x_RI, weight_OI).float(), functional.linear(x_RI, packed_OI).float()
            if not (found_RO - expected_RO).abs().max() <= TOLERANCE * expected_RO.abs().max():  # so that NaN is a fault too
                return f"{n_rows} rows times a weight of {shape_words(weight_OI)} are not what dense kernels give"
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, AssertionError, KeyError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"a weight of {shape_words(weight_OI)} fails ({first_line})"
    return None


def shape_words(weight_OI: Tensor) -> str:
    return " x ".join(map(str, weight_OI.shape))


def packed(weight_OI: Tensor) -> Any:
    """The weight as the kernels read it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*SparseSemiStructuredTensor is in prototype stage")
        return to_sparse_semi_structured(weight_OI)


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes that a tensor takes, compressed if it is."""
    if isinstance(tensor, SparseSemiStructuredTensor):
        parts = (tensor.packed, tensor.meta, tensor.packed_t, tensor.meta_t)
        return sum(part.nbytes for part in parts if part is not None)
    return tensor.nbytes
