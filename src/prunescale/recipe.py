"""What to prune and how to train: a recipe, its TOML file and its hash.

A recipe is checked when it is made, so one that exists can be carried out as far as its own entries tell.
"""

import dataclasses
import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from prunescale.errors import RecipeError
from prunescale.fields import fits, in_words


@dataclass(frozen=True, kw_only=True)
class PruneRecipe:
    """What to take out of the base model.

    method: name of a pruning method, such as block-influence or contiguous. rate: share of the parameters outside the
    embeddings and the head to remove; pattern: in its place, n of every m weights to keep, such as 2:4. One of the two is needed.
    calibration_tokens: how many tokens the scores are measured on, the first of the training text. axes: of width pruning, the
    sizes that are to shrink, with commas between. scope: where single weights compete, in a layer or in the whole model (global).
    steps: in how many goes to prune, one if None. step_tokens: to train on after each of them but the last, rounded up to whole
    batches. What is None is left to the method.
    """

    method: str = "block-influence"
    rate: float | None = None
    calibration_tokens: int = 16384
    axes: str | None = None
    pattern: str | None = None
    scope: str | None = None
    steps: int | None = None
    step_tokens: int | None = None

    def __post_init__(self) -> None:
        _check_entries("prune.", self)
        if self.steps == 1:  # what is the same has the same hash
            object.__setattr__(self, "steps", None)
        if self.pattern is None and self.rate is None:
            raise RecipeError("prune.rate is missing; it must be given, as a number, or prune.pattern in its place, such as 2:4.")
        if self.pattern is not None and self.rate is not None:
            raise _refused("prune.rate", self.rate, f"left out where there is a pattern: {self.pattern} has one rate")
        if self.pattern is not None and self.steps is not None:
            raise _refused("prune.steps", self.steps, f"1 where there is a pattern: {self.pattern} has one rate")
        if self.steps is not None and self.step_tokens is None:
            raise RecipeError(f"prune.step_tokens is missing; it must be given, as an integer, for {self.steps} steps.")
        if self.steps is None and self.step_tokens is not None:
            raise _refused(
                "prune.step_tokens", self.step_tokens, "left out where there is one step: nothing is trained in between"
            )

    @property
    def axis_names(self) -> tuple[str, ...] | None:
        """The axes one by one."""
        return None if self.axes is None else tuple(axis.strip() for axis in self.axes.split(","))


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """A model made from nothing: a Llama of these sizes with weights drawn at random.

    tokenizer: what `load` takes, whose tokenizer is used and whose vocabulary it has. kv_heads: as many as heads if None. head_dim:
    hidden_size / heads if None. tied: whether the head shares the weights of the embedding. init_std: of the weights.
    init_seed: of drawing them. context: the longest sequence that it is made for.
    """

    tokenizer: str
    layers: int
    hidden_size: int
    ffn_size: int
    heads: int
    kv_heads: int | None = None
    head_dim: int | None = None
    tied: bool = False
    context: int = 2048
    init_std: float = 0.02
    init_seed: int = 0

    def __post_init__(self) -> None:
        _check_entries("model.", self)
        if self.head_dim is None and self.hidden_size % self.heads:
            raise _refused("model.heads", self.heads, f"a divisor of hidden_size ({self.hidden_size}), or head_dim be given")
        if self.heads % self.n_kv_heads:
            raise _refused("model.kv_heads", self.kv_heads, f"a divisor of heads ({self.heads})")
        if self.size_of_head % 2:
            raise _refused("model.head_dim", self.size_of_head, "even, for rotary positions")

    @property
    def n_kv_heads(self) -> int:
        """Of keys and values: those given, or as many as of queries."""
        return self.kv_heads or self.heads

    @property
    def size_of_head(self) -> int:
        """That given, or a head's share of the hidden size."""
        return self.head_dim or self.hidden_size // self.heads


@dataclass(frozen=True, kw_only=True)
class SparseRecipe:
    """Pruning while a model trains: gradual magnitude pruning of single weights, by one threshold for all linear layers (Jin et al. 2025,
    arXiv:2501.12486).

    sparsity: share of the weights of the linear layers, head included, that are zero in the end. start, end: when pruning begins and
    ends, as shares of the compute (6 N(t) a token, N(t) being the weights left) or of the steps, as `of` says. schedule: geometric
    leaves the same share of what was left each time, cubic is that of Zhu and Gupta 2017 (arXiv:1710.01878). every: steps from one
    pruning to the next. pattern: n:m weights that are to be left at the end of every m, such as 2:4, which comes with its sparsity.
    head: whether the head is pruned too.
    """

    sparsity: float | None = None
    start: float = 0.25
    end: float = 0.75
    of: Literal["compute", "steps"] = "compute"
    schedule: Literal["geometric", "cubic"] = "geometric"
    every: int = 100
    pattern: str | None = None
    head: bool = True

    def __post_init__(self) -> None:
        _check_entries("sparse.", self)
        if (self.sparsity is None) == (self.pattern is None):
            got = "neither is there" if self.sparsity is None else f"both are ({self.sparsity:g}, {self.pattern})"
            raise RecipeError(f"sparse needs either sparsity, as a number, or pattern, such as 2:4; {got}.")
        if self.start > self.end:
            raise _refused("sparse.start", self.start, f"at most sparse.end ({self.end:g})")

    @property
    def final_sparsity(self) -> float:
        """The share of zeros in the end: that asked for, or that of the pattern."""
        if self.pattern is None:
            assert self.sparsity is not None
            return self.sparsity
        n_kept, m = map(int, self.pattern.split(":"))
        return 1 - n_kept / m


@dataclass(frozen=True, kw_only=True)
class DistillRecipe:
    """Learning from a teacher: the forward Kullback-Leibler divergence from its next-token distribution, as Minitron does (Muralidharan
    et al. 2024, arXiv:2407.14679).

    teacher: what `load` takes; parent is the model before pruning. weight: share of the divergence in the loss; the rest is the
    cross-entropy with the text. temperature: both distributions are softened by it. hidden: weight of the squared distance of the
    states after each kept block from the teacher's after the same block, relative to theirs.
    """

    teacher: str = "parent"
    weight: float = 1.0
    temperature: float = 1.0
    hidden: float = 0.0

    def __post_init__(self) -> None:
        _check_entries("distill.", self)


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """How to train. The learning rate warms up linearly, stays, and may fall to zero at the end, linearly if nothing else is said.

    data, held_out: files of text or tokens, to train on and to measure the loss on. tokens: to train on, rounded up to whole
    batches. learning_rate: its highest value.
    sequence_length: tokens. batch_tokens: tokens a step. warmup_tokens: over which the learning rate rises from zero.
    decay_fraction: share of the tokens, at the end, over which it falls to zero. weight_decay, beta1, beta2: of AdamW.
    clip: the largest norm of the gradient. n_measurements: of the loss, evenly spaced in the logarithm of the tokens.
    first_measurement: tokens at the first of them, None to leave it to the training. held_out_tokens: how many to measure the
    loss on, None for all. seed: of the order of the data. dtype and compile: auto takes bfloat16 and torch.compile on a GPU only.
    keep_zeros: whether weights of the linear layers in the blocks that are zero stay so: on, off, or auto (None is auto too), where
    the model has been pruned by a method that makes zeros.
    decay: shape of the fall, linear or cosine. final_rate: what it ends at, as a share of the peak. cooldowns: token counts at each
    of which a branch ends that has left the training a little earlier and let its learning rate fall to zero; what is measured there is the
    loss of a finished model, while the training itself goes on as if there were no branch. cooldown_fraction: share of those
    tokens over which it falls, 0.2 if None. documents_apart: whether tokens attend to those of their own document only.
    """

    data: str
    held_out: str
    tokens: int
    learning_rate: float
    sequence_length: int = 512
    batch_tokens: int = 16384
    warmup_tokens: int = 0
    decay_fraction: float = 0.0
    weight_decay: float = 0.1
    clip: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.95
    n_measurements: int = 16
    first_measurement: int | None = None
    held_out_tokens: int | None = None
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    # Younger than the recipes that have been run: None keeps their hashes as they are.
    keep_zeros: str | None = None
    decay: str | None = None
    final_rate: float | None = None
    cooldowns: tuple[int, ...] | None = None
    cooldown_fraction: float | None = None
    documents_apart: bool | None = None

    def __post_init__(self) -> None:
        _check_entries("train.", self)
        for name, default in DEFAULTS_LEFT_OUT.items():  # what is the same has the same hash
            if getattr(self, name) == default:
                object.__setattr__(self, name, None)
        if self.cooldowns is not None:
            object.__setattr__(self, "cooldowns", tuple(sorted(set(self.cooldowns))) or None)
        if self.batch_tokens % self.sequence_length:
            raise _refused("train.batch_tokens", self.batch_tokens, f"a multiple of sequence_length ({self.sequence_length})")
        n_flat = self.tokens - round(self.decay_fraction * self.tokens)
        if self.warmup_tokens > n_flat:
            raise _refused("train.warmup_tokens", self.warmup_tokens, f"at most the {n_flat} tokens before the decay begins")
        if self.first_measurement is not None and self.first_measurement > self.tokens:
            raise _refused("train.first_measurement", self.first_measurement, f"at most the {self.tokens} tokens of the training")
        if self.decay_fraction == 0:
            for name in ("decay", "final_rate"):
                if getattr(self, name) is not None:
                    raise _refused(f"train.{name}", getattr(self, name), "left out where decay_fraction is 0: nothing falls")
        if self.cooldowns is None and self.cooldown_fraction is not None:
            raise _refused("train.cooldown_fraction", self.cooldown_fraction, "left out where there are no cooldowns")
        if self.cooldowns and self.cooldowns[-1] > n_flat:
            raise _refused("train.cooldowns", self.cooldowns, f"at most the {n_flat} tokens before the decay begins")
        for n_tokens in self.cooldowns or ():
            if round((1 - self.cooldown_share) * n_tokens) < self.warmup_tokens:
                raise _refused(
                    "train.cooldowns", n_tokens, f"late enough to begin after the warm-up ({self.warmup_tokens} tokens)"
                )

    @property
    def cooldown_share(self) -> float:
        return 0.2 if self.cooldown_fraction is None else self.cooldown_fraction


DEFAULTS_LEFT_OUT = {
    "keep_zeros": "auto",
    "decay": "linear",
    "final_rate": 0.0,
    "cooldown_fraction": 0.2,
    "documents_apart": False,
}
"""Entries of a training that are None where they say what goes without saying."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run does: take the model `base` (a folder or file), prune it where `prune` says how, and train it as `train` says; or make
    a model as `model` says, and train it. `sparse`: pruning while it trains. `distill`: learning from a teacher."""

    base: str | None = None
    model: ModelRecipe | None = None
    prune: PruneRecipe | None = None
    sparse: SparseRecipe | None = None
    distill: DistillRecipe | None = None
    train: TrainRecipe

    def __post_init__(self) -> None:
        _check_entries("", self)
        if self.base is None and self.model is None:
            raise RecipeError(
                "base is missing; it must be given, as a string, or a section [model] in its place to train from nothing."
            )
        if self.base is not None and self.model is not None:
            raise _refused("base", self.base, "left out where a section [model] says what to train from nothing")
        if self.model and self.prune:
            raise _refused(
                "prune", self.prune.method, "left out where there is a section [model]: [sparse] prunes while it trains"
            )
        if self.sparse and self.prune:
            raise _refused("prune", self.prune.method, "left out where there is a section [sparse]")
        if self.model and self.distill and self.distill.teacher == "parent":
            raise _refused("distill.teacher", "parent", "a model: what is trained from nothing has no parent")
        if self.model and self.train.sequence_length > self.model.context:
            raise _refused("train.sequence_length", self.train.sequence_length, f"at most model.context ({self.model.context})")

    @classmethod
    def from_toml(cls, source: str | Path) -> Self:
        """The recipe in a file (given as a Path) or in a text (given as a str)."""
        where = str(source) if isinstance(source, Path) else "the recipe"
        try:
            text = text_of(source) if isinstance(source, Path) else source
            return cls.from_dict(tomllib.loads(text))
        except OSError as error:
            raise RecipeError(f"No recipe can be read at {where} ({error.strerror}): give the path of a TOML file.") from error
        except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, a number of thousands of digits; nested too deep
            raise RecipeError(f"{where} is not TOML: {error}") from error
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from error

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The recipe that `to_dict` was called on, or one written by hand in the same form."""
        entries = dict(content)
        for name, section in SECTIONS.items():
            if name in entries:
                entries[name] = _made_from(section, entries[name], f"{name}.")
        return _made_from(cls, entries, "")

    def to_dict(self) -> dict[str, Any]:
        """Plain content for JSON, sections nested; what is None is left out."""
        return _without_none(dataclasses.asdict(self))

    def to_toml(self) -> str:
        """TOML that `from_toml` turns into an equal recipe."""
        content = self.to_dict()
        lines = [f"base = {_toml_value(content.pop('base'))}", ""] if "base" in content else []
        for name, section in content.items():
            lines += [f"[{name}]"] + [f"{key} = {_toml_value(value)}" for key, value in section.items()] + [""]
        return "\n".join(lines)

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that tell this recipe from others. Paths count as written, whatever lies there."""
        return hash_of(self.to_dict())


def hash_of(content: Mapping[str, Any]) -> str:
    """The same of a recipe's content, also as an older prunescale wrote it."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:12]


Section = ModelRecipe | PruneRecipe | SparseRecipe | DistillRecipe | TrainRecipe

SECTIONS: dict[str, type[Section]] = {
    "model": ModelRecipe,
    "prune": PruneRecipe,
    "sparse": SparseRecipe,
    "distill": DistillRecipe,
    "train": TrainRecipe,
}


def with_overrides(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe with some entries replaced: {"base": "other", "train.tokens": 5}. None puts an entry back to its default."""
    return Recipe.from_dict(overridden(recipe.to_dict(), overrides))


def overridden(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Plain content of a recipe, which may lack entries yet, with some of them replaced as `with_overrides` does."""
    entries = {name: dict(value) if isinstance(value, Mapping) else value for name, value in content.items()}
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        if section and section not in SECTIONS:
            raise RecipeError(_unknown(key, [f"{s}.{field.name}" for s in SECTIONS for field in dataclasses.fields(SECTIONS[s])]))
        target = entries.setdefault(section, {}) if section else entries
        if value is None:
            target.pop(name, None)
        else:
            target[name] = value
    return entries


MAX_CHARACTERS = 2**20
"""Of a recipe's file."""


def text_of(file: Path) -> str:
    if file.is_fifo() and file.parts[:2] not in (("/", "dev"), ("/", "proc")):  # where nobody writes, nothing would ever come
        raise RecipeError("this is a pipe: give the path of a TOML file, or /dev/stdin.")
    with file.open(encoding="utf-8") as stream:
        text = stream.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise RecipeError(f"a recipe has at most {MAX_CHARACTERS:,} characters, and this has more: give the path of a TOML file.")
    return text


Limit = tuple[Callable[[Any], bool], str]
LARGEST_INTEGER = 2**63 - 1
_POSITIVE: Limit = (lambda value: value > 0, "more than 0")
_NOT_NEGATIVE: Limit = (lambda value: value >= 0, "0 or more")
_BELOW_ONE: Limit = (lambda value: 0 <= value < 1, "at least 0 and less than 1")
_SHARE: Limit = (lambda value: 0 < value < 1, "strictly between 0 and 1")
_NOT_EMPTY: Limit = (bool, "a string that is not empty")


def _one_of(*choices: str) -> Limit:
    return lambda value: value in choices, f"one of {', '.join(choices)}"


def _is_pattern(text: str) -> bool:
    found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text)
    return found is not None and 0 < int(found[1]) < int(found[2])


def _are_names(text: str) -> bool:
    names = [name.strip() for name in text.split(",")]
    return all(names) and len(set(names)) == len(names)


_LIMITS: dict[str, Limit] = {
    "base": _NOT_EMPTY,
    "prune.method": _NOT_EMPTY,
    "prune.rate": _SHARE,
    "prune.calibration_tokens": _POSITIVE,
    "prune.axes": (_are_names, "names with commas between, each once, such as ffn,heads"),
    "prune.pattern": (_is_pattern, "n:m such as 2:4, with 0 < n < m"),
    "prune.scope": _one_of("layer", "global"),
    "prune.steps": _POSITIVE,
    "prune.step_tokens": _POSITIVE,
    "train.data": _NOT_EMPTY,
    "train.held_out": _NOT_EMPTY,
    "train.tokens": _POSITIVE,
    "train.learning_rate": _POSITIVE,
    "train.sequence_length": _POSITIVE,
    "train.batch_tokens": _POSITIVE,
    "train.warmup_tokens": _NOT_NEGATIVE,
    "train.decay_fraction": (lambda value: 0 <= value <= 1, "between 0 and 1"),
    "train.weight_decay": _NOT_NEGATIVE,
    "train.clip": _POSITIVE,
    "train.beta1": _BELOW_ONE,
    "train.beta2": _BELOW_ONE,
    "train.n_measurements": _POSITIVE,
    "train.first_measurement": _POSITIVE,
    "train.held_out_tokens": _POSITIVE,
    "train.seed": _NOT_NEGATIVE,
    "train.keep_zeros": _one_of("auto", "on", "off"),
    "train.decay": _one_of("linear", "cosine"),
    "train.final_rate": _BELOW_ONE,
    "train.cooldowns": (
        lambda counts: all(fits(n, int) and 0 < n <= LARGEST_INTEGER for n in counts),
        "a list of token counts above 0",
    ),
    "train.cooldown_fraction": _SHARE,
    "model.tokenizer": _NOT_EMPTY,
    **{f"model.{name}": _POSITIVE for name in ("layers", "hidden_size", "ffn_size", "heads", "kv_heads", "head_dim", "context")},
    "model.init_std": _POSITIVE,
    "model.init_seed": _NOT_NEGATIVE,
    "sparse.sparsity": _SHARE,
    "sparse.start": (lambda value: 0 <= value <= 1, "between 0 and 1"),
    "sparse.end": (lambda value: 0 <= value <= 1, "between 0 and 1"),
    "sparse.every": _POSITIVE,
    "sparse.pattern": (_is_pattern, "n:m such as 2:4, with 0 < n < m"),
    "distill.teacher": _NOT_EMPTY,
    "distill.weight": (lambda value: 0 < value <= 1, "more than 0 and at most 1"),
    "distill.temperature": _POSITIVE,
    "distill.hidden": _NOT_NEGATIVE,
}


def _check_entries(prefix: str, section: Section | Recipe) -> None:
    for field in dataclasses.fields(section):
        key, value = prefix + field.name, getattr(section, field.name)
        if isinstance(value, list):  # as TOML and JSON have it
            value = tuple(value)
            object.__setattr__(section, field.name, value)
        if not fits(value, field.type):
            raise _refused(key, value, in_words(field.type))
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise _refused(key, value, "at most 2^63 - 1")
        if isinstance(value, float) and not math.isfinite(value):
            raise _refused(key, value, "a finite number")
        within, needed = _LIMITS.get(key, (lambda value: True, ""))
        if value is not None and not within(value):
            raise _refused(key, value, needed)
        if field.type is float:  # 1 and 1.0 are the same recipe and must have the same hash
            object.__setattr__(section, field.name, float(value))


def _made_from(cls: type[Any], entries: Any, prefix: str) -> Any:
    if not isinstance(entries, Mapping):
        raise _refused(prefix.rstrip("."), entries, f"a section [{prefix.rstrip('.')}]")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in entries:
        if name not in fields:
            raise RecipeError(_unknown(prefix + name, [prefix + known for known in fields]))
    for name, field in fields.items():
        if name not in entries and field.default is dataclasses.MISSING:
            kind = f"a section [{name}]" if name in SECTIONS else in_words(field.type)
            raise RecipeError(f"{prefix}{name} is missing; it must be given, as {kind}.")
    return cls(**entries)


def _refused(key: str, got: object, needed: str) -> RecipeError:
    try:
        shown = repr(got)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists nested too deep
        shown = "too long to be shown"
    return RecipeError(f"{key} is {shown if len(shown) <= 200 else shown[:197] + '...'}; it must be {needed}.")


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"{key} is not an entry of a recipe; " + (f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}.")


def _without_none(content: dict[str, Any]) -> dict[str, Any]:
    return {key: _without_none(v) if isinstance(v, dict) else v for key, v in content.items() if v is not None}


def _toml_value(value: str | int | float | bool | tuple[int, ...]) -> str:
    """JSON's strings, numbers and lists of them are TOML's too, but for pairs of surrogates (so no ASCII escapes) and a bare DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
