"""Writing the folder of a model: its weights in shards while others are still being made, all that lies beside them, and all of
it or nothing."""

import copy
import json
import os
import tempfile
import textwrap
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from prunescale.errors import ModelError
from prunescale.models.blocks import INDEX_FILE, WEIGHTS_FILE
from prunescale.models.card import card
from prunescale.models.families import shape_of

LINEAGE_FILE = "prunescale.json"
"""Beside a model that we wrote: what it was made from, and how."""

IMPORTANCE_FILE = "importance.safetensors"
"""Beside a model that we pruned: the scores by which it was."""

CARD_FILE = "README.md"
CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"

TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "tekken*.json",
    "chat_template*",
    "additional_chat_templates/*",
)
KEPT_FILES = (*TOKENIZER_FILES, CONFIG_FILE, GENERATION_FILE, "LICENSE*", "NOTICE*", "USE_POLICY*")
"""Of the folder that a model came from, what stays as it is: transformers would write it in its own way, or refuse to. Of the
configuration, the entries that did not change."""

SHARD_BYTES = 400_000_000
"""A shard is closed once it has as much: one block of a model of 8B parameters."""

WAITING = 2
"""Shards that may wait to be written while more are made."""


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to write in, which takes its place at `target` when the context ends well, and is gone otherwise.

    Raises ModelError where something is there already, and where nothing can be written."""
    refuse_to_overwrite(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
            unfinished = Path(temporary) / "model"
            unfinished.mkdir()
            yield unfinished
            if target.exists():
                target.rmdir()
            os.replace(unfinished, target)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The model cannot be written to {target} ({first_words(error)}): name another folder, or make room."
        ) from error


def refuse_to_overwrite(folder: str | Path, source: Path | None = None) -> None:
    """Raise ModelError if anything but an empty folder is at the place where a model is to be written, or if that place is inside
    the folder of the model that it is made from."""
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError(f"{target} exists already and is never overwritten: name another folder, or remove this one first.")
    if source is not None and source.resolve() in (target.resolve(), *target.resolve().parents):
        raise ModelError(f"{target} is inside the model's own folder, {source}: name a folder elsewhere.")


def first_words(error: Exception) -> str:
    """The first sentence or so of a message: transformers writes pages."""
    words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return textwrap.shorten(words, 160, placeholder=" ...")


class WeightsWriter:
    """Writes the tensors of a model into a folder, in shards of whole blocks, in a thread: at most WAITING shards wait on the host.
    A context manager; the weights are complete when it ends well. `dtype` is that of the files."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self.folder = folder
        self.dtype = dtype
        self.open: dict[str, Tensor] = {}
        self.shards: list[list[str]] = []
        self.n_bytes = 0
        self.n_params = 0
        self.pending: deque[Future[None]] = deque()
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="write-shard")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.writer.shutdown(cancel_futures=True)

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Tensors of one block, by their names in the model. They are copied if they are not on the CPU or of another type, and
        else must not be changed afterwards. Raises what went wrong with an earlier shard."""
        self.open |= {name: on_host(value, self.dtype) for name, value in tensors.items()}
        if sum(value.nbytes for value in self.open.values()) >= SHARD_BYTES:
            self.close_shard()

    def close_shard(self) -> None:
        shard, self.open = self.open, {}
        self.shards.append(list(shard))
        self.n_bytes += sum(value.nbytes for value in shard.values())
        self.n_params += sum(value.numel() for value in shard.values())
        while len(self.pending) > WAITING:
            self.pending.popleft().result()
        self.pending.append(self.writer.submit(write_tensors, shard, self.folder / f"{len(self.shards)}.safetensors"))

    def finish(self) -> None:
        """Wait for all shards, and give them the names that transformers looks for."""
        if self.open:
            self.close_shard()
        while self.pending:
            self.pending.popleft().result()
        n_shards = len(self.shards)
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self.shards, 1):
            file = WEIGHTS_FILE if n_shards == 1 else f"model-{number:05}-of-{n_shards:05}.safetensors"
            (self.folder / f"{number}.safetensors").rename(self.folder / file)
            weight_map |= dict.fromkeys(names, file)
        # Also for one file: where there is no index, servers read every file of safetensors in a folder as weights.
        sizes = {"total_parameters": self.n_params, "total_size": self.n_bytes}
        write_json(self.folder / INDEX_FILE, {"metadata": sizes, "weight_map": dict(sorted(weight_map.items()))})


def on_host(value: Tensor, dtype: torch.dtype) -> Tensor:
    value = value.detach().to(dtype)
    if value.device.type == "cuda":
        value = torch.empty(value.shape, dtype=dtype, pin_memory=True).copy_(value)
    return value.cpu().contiguous()


def write_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """As safetensors, readable for whom new files of this process are: safetensors itself makes it readable for its owner alone."""
    file.touch()
    mode = file.stat().st_mode
    save_file(tensors, file, metadata={"format": "pt"})
    file.chmod(mode)


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def kept_files(folder: Path) -> dict[str, bytes]:
    """The files of a model's folder that stay as they are when it is pruned or trained, by their paths in it."""
    found = (path for pattern in KEPT_FILES for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if is_inside(path, folder)}


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a file lies in the folder, or in the cache of the Hugging Face Hub that the folder is part of: a link to another place must
    not bring someone's private file into a model that is handed on."""
    root = folder.resolve()
    places = (root, root.parent.parent / "blobs") if root.parent.name == "snapshots" else (root,)
    return any(path.resolve().is_relative_to(place) for place in places)


def changed_entries(written: dict[str, Any], config: Any) -> dict[str, Any] | None:
    """The configuration as its file was written, with the entries that have changed since. Transformers 5 renames entries as it
    saves (rope_theta, torch_dtype), and what was made for 4 would then read its defaults. None where that says something else."""
    before, now = (without_private(one.to_dict()) for one in (type(config).from_dict(dict(written)), config))
    changed = {name: value for name, value in now.items() if name not in before or before[name] != value}
    changed.pop("transformers_version", None)
    if "dtype" in changed and "torch_dtype" in written:
        changed["torch_dtype"] = changed.pop("dtype")
    entries = {**written, **changed}
    read_again = without_private(type(config).from_dict(dict(entries)).to_dict())
    return entries if {**read_again, "transformers_version": None} == {**now, "transformers_version": None} else None


def without_private(entries: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if not name.startswith("_")}


def write_beside(
    folder: Path,
    *,
    name: str,
    model: Any,
    config: Any,
    dtype: torch.dtype,
    tokenizer: Any,
    kept: Mapping[str, bytes],
    lineage: Mapping[str, Any],
    importance: Mapping[str, Tensor],
) -> None:
    """All files of a model but its weights: configuration, tokenizer, how to generate, and for a model of ours its lineage, card
    and the scores by which it was pruned.

    model: gives the names of its class and, where `kept` has no file for it, how to generate. kept: files written as they are.
    """
    for path, content in kept.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    config = copy.deepcopy(config)
    config.dtype = dtype
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    if CONFIG_FILE in kept and (entries := changed_entries(json.loads(kept[CONFIG_FILE]), config)):
        (folder / CONFIG_FILE).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")  # as transformers lays it out
    if GENERATION_FILE not in kept and model.generation_config is not None:
        model.generation_config.to_json_file(folder / GENERATION_FILE, use_diff=True)  # its own saving refuses odd settings
    if not any(path.startswith("tokenizer") for path in kept):
        tokenizer.save_pretrained(folder)
    if importance:
        write_tensors({key: on_host(value, value.dtype) for key, value in importance.items()}, folder / IMPORTANCE_FILE)
    if lineage:
        write_json(folder / LINEAGE_FILE, lineage)
        (folder / CARD_FILE).write_text(card(lineage, shape_of(config), name), encoding="utf-8")
