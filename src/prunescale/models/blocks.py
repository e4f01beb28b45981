"""The blocks of a model, one after the other where they can be computed with: from memory, or each read from disk in its turn."""

import copy
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from prunescale.errors import ModelError
from prunescale.file_names import is_file_name
from prunescale.models.families import Family, family_of
from prunescale.models.skeleton import assign_, skeleton_of

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"


class Blocks(Protocol):
    """A model of which one block at a time needs to be on the device.

    model: a causal-LM model whose parts outside the blocks are on `device`, ready to compute; its own blocks may be empty.
    on_block: told the index of each block that is asked for, before it is ready.
    """

    model: Any
    family: Family
    device: torch.device
    on_block: Callable[[int], None]

    def __len__(self) -> int: ...

    def resident(self, index: int, *, own: bool = False) -> Any:
        """A context that gives the block at `index`, ready to compute. It is gone afterwards, and must not be changed, unless it
        was asked for as one's own. Raises ModelError where the block has numbers that are not finite."""

    def ends(self) -> dict[str, Tensor]:
        """The parameters outside the blocks by their names in the model; a tied head is left out."""


class BlocksInMemory:
    """The blocks of a model that is on its device as a whole. Raises ModelError where its ends have numbers that are not finite."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.family = family_of(model.config)
        self.device = next(model.parameters()).device
        self.on_block: Callable[[int], None] = lambda index: None
        self.checked: set[int] = set()
        refuse_not_finite(self.ends())

    def __len__(self) -> int:
        return len(self.model.get_submodule(self.family.blocks))

    @contextmanager
    def resident(self, index: int, *, own: bool = False) -> Iterator[nn.Module]:
        self.on_block(index)
        block = self.model.get_submodule(self.family.blocks)[index]
        if index not in self.checked:
            refuse_not_finite(dict(block.named_parameters(prefix=f"{self.family.blocks}.{index}")))
            self.checked.add(index)
        yield copy.deepcopy(block) if own else block

    def ends(self) -> dict[str, Tensor]:
        return ends_of(self.model, self.family)


class BlocksOnDisk:
    """The blocks of a Hugging Face folder: one is on the device, the next is being read meanwhile. To be closed, or used as a
    context manager, since a thread reads.

    Raises ModelError where the folder lacks a tensor of the model, or has one of another shape or with numbers that are not
    finite. Tensors that the model doesn't have are left alone, a head beside the embedding that it is tied to among them."""

    def __init__(self, folder: Path, config: Any, *, dtype: torch.dtype, device: torch.device) -> None:
        self.family = family_of(config)
        self.device = device
        self.dtype = dtype
        self.on_block: Callable[[int], None] = lambda index: None
        self.model = skeleton_of(copy.deepcopy(config), dtype=dtype, device=device)  # which writes the type into it
        self.stored = StoredTensors(folder)
        self.shapes = {name: parameter.shape for name, parameter in self.model.named_parameters()}
        if config.tie_word_embeddings:
            self.shapes.pop(f"{self.family.head.path}.weight", None)
        self.stored.refuse_missing(self.shapes)
        self.checked: set[int] = set()
        self.ahead: tuple[int, Future[dict[str, Tensor]]] | None = None
        self.previous: int | None = None
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="read-block")
        try:
            self.read_ends_()
        except BaseException:
            self.close()
            raise

    def read_ends_(self) -> None:
        names = [name for name in self.shapes if not name.startswith(f"{self.family.blocks}.")]
        ends = {name: self.placed(value) for name, value in self.read(names).items()}
        refuse_not_finite(ends)
        for name, value in ends.items():
            module, _, kind = name.rpartition(".")
            setattr(self.model.get_submodule(module), kind, nn.Parameter(value, requires_grad=False))
        self.model.tie_weights()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is being read, and let go of it."""
        self.ahead = None
        self.reader.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return int(self.model.config.num_hidden_layers)

    @contextmanager
    def resident(self, index: int, *, own: bool = False) -> Iterator[nn.Module]:
        self.on_block(index)
        host = self.awaited(index)
        following = index - 1 if self.previous == index + 1 else index + 1  # the walk may be a backward one
        self.previous = index
        if 0 <= following < len(self):
            self.ahead = following, self.reader.submit(self.read_block, following)
        tensors = {name: self.placed(value) for name, value in host.items()}
        del host
        if index not in self.checked:
            refuse_not_finite(tensors)
            self.checked.add(index)
        block = self.model.get_submodule(self.family.blocks)[index]
        prefix = f"{self.family.blocks}.{index}."
        assign_(block, {name.removeprefix(prefix): value for name, value in tensors.items()})
        del tensors
        try:
            yield block
        finally:
            empty_(block)

    def awaited(self, index: int) -> dict[str, Tensor]:
        """The tensors of a block on the host, read ahead or now."""
        ahead, self.ahead = self.ahead, None
        if ahead and ahead[0] == index:
            return ahead[1].result()
        return self.read_block(index)

    def read_block(self, index: int) -> dict[str, Tensor]:
        prefix = f"{self.family.blocks}.{index}."
        return self.read([name for name in self.shapes if name.startswith(prefix)])

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Tensors on the host by their names in the model, whole and in memory: on a CPU in the type to compute in, else in that of
        the file and where the device can fetch them at once."""
        found = {}
        for name, value in self.stored.read(names):
            if value.shape != self.shapes[name]:
                raise ModelError(other_shape(name, self.stored.folder, value.shape, self.shapes[name]))
            if self.device.type == "cuda":
                found[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value)
            else:
                found[name] = value.to(self.dtype, copy=True)
        return found

    def placed(self, value: Tensor) -> Tensor:
        """On the device, in the type to compute in."""
        return value.to(self.device, non_blocking=True).to(self.dtype)

    def ends(self) -> dict[str, Tensor]:
        return ends_of(self.model, self.family)


def other_shape(name: str, place: object, stored: Iterable[int], wanted: Iterable[int]) -> str:
    """What to say of a tensor whose shape is not the one wanted."""
    return (
        f"The tensor {name} in the weights of {place} has the shape {tuple(stored)}, and config.json asks for {tuple(wanted)}: "
        "save or copy the whole model again."
    )


def ends_of(model: Any, family: Family) -> dict[str, Tensor]:
    parts = [part for part in family.ends if part != family.head or not model.config.tie_word_embeddings]
    return {
        f"{part.path}.{name}": parameter.detach()
        for part in parts
        for name, parameter in model.get_submodule(part.path).named_parameters(recurse=False)
    }


def empty_(block: nn.Module) -> None:
    """Let go of the parameters of a block, in place."""
    for module in block.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False))


@torch.no_grad()
def refuse_not_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelError where a tensor has a number that is not finite. One wait for the device for all of them."""
    extremes = torch.stack([torch.stack(value.aminmax()).float() for value in tensors.values()])  # NaN comes through both
    finite = extremes.isfinite().all(1).tolist()
    for name, good in zip(tensors, finite, strict=True):
        if not good:
            raise ModelError(
                f"The tensor {name} of the model has numbers that are not finite, so it is damaged: make or load it again."
            )


class StoredTensors:
    """The tensors of a Hugging Face folder in safetensors, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = file_of_each_tensor(folder)

    def key(self, name: str) -> str:
        """What the file calls a tensor of the causal-LM model: where it was saved without its head, `model.` is left out."""
        return name if name in self.files else name.removeprefix("model.")

    def refuse_missing(self, names: Iterable[str]) -> None:
        missing = sorted(name for name in names if self.key(name) not in self.files)
        if missing:
            raise ModelError(
                f"The weights of {self.folder} lack {len(missing)} that its config.json asks for, {missing[0]} among them: "
                "save or copy the whole model again."
            )

    def count(self) -> int:
        """Numbers in all tensors, by what the files say of themselves."""
        total = 0
        for file_name in set(self.files.values()):
            try:
                with safe_open(self.folder / file_name, framework="pt") as file:
                    total += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping
            except (OSError, SafetensorError) as error:
                raise ModelError(f"{self.folder / file_name} cannot be read ({error}): copy the model again.") from error
        return total

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors, file by file, on the CPU and in the type of the file. A tensor is a view of the file, and read where
        it is used. Raises ModelError for a tensor or file that is not there or cannot be read."""
        names = list(names)
        self.refuse_missing(names)
        by_file: dict[str, list[str]] = defaultdict(list)
        for name in names:
            by_file[self.files[self.key(name)]].append(name)
        for file_name, inside in by_file.items():
            path = self.folder / file_name
            try:
                with safe_open(path, framework="pt") as file:
                    for name in inside:
                        yield name, file.get_tensor(self.key(name))
            except (OSError, SafetensorError) as error:
                raise ModelError(f"{path} cannot be read ({error}): copy the model again.") from error


def file_of_each_tensor(folder: Path) -> dict[str, str]:
    """Tensor names and the files that they are in, as transformers finds them: one file, or those of an index."""
    try:
        if (folder / WEIGHTS_FILE).is_file():
            with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
                return dict.fromkeys(file.keys(), WEIGHTS_FILE)
        weight_map = dict(json.loads((folder / INDEX_FILE).read_text("utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise ModelError(f"The weights of {folder} cannot be read ({error}): copy the whole model again.") from error
    for name, file_name in weight_map.items():
        if not is_file_name(file_name) or not name.isprintable():
            raise ModelError(
                f"{folder / INDEX_FILE} says that the tensor {name!r} is in {file_name!r}, which is no file of that folder: copy the whole "
                "model again, from where you trust it."
            )
    return weight_map
