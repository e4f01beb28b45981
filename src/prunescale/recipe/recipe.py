"""A whole recipe, its TOML file and its hash."""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from prunescale.errors import RecipeError
from prunescale.recipe.entries import check_entries, made_from, refused, unknown
from prunescale.recipe.sections import SECTIONS, DistillRecipe, ModelRecipe, PruneRecipe, SparseRecipe, TrainRecipe


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
        check_entries("", self)
        if self.base is None and self.model is None:
            raise RecipeError(
                "base is missing; it must be given, as a string, or a section [model] in its place to train from nothing."
            )
        if self.base is not None and self.model is not None:
            raise refused("base", self.base, "left out where a section [model] says what to train from nothing")
        if self.model and self.prune:
            raise refused(
                "prune", self.prune.method, "left out where there is a section [model]: [sparse] prunes while it trains"
            )
        if self.sparse and self.prune:
            raise refused("prune", self.prune.method, "left out where there is a section [sparse]")
        if self.model and self.distill and self.distill.teacher == "parent":
            raise refused("distill.teacher", "parent", "a model: what is trained from nothing has no parent")
        if self.model and self.train.sequence_length > self.model.context:
            raise refused("train.sequence_length", self.train.sequence_length, f"at most model.context ({self.model.context})")

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
                entries[name] = made_from(section, entries[name], f"{name}.")
        return made_from(cls, entries, "")

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


def with_overrides(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe with some entries replaced: {"base": "other", "train.tokens": 5}. None puts an entry back to its default."""
    return Recipe.from_dict(overridden(recipe.to_dict(), overrides))


def overridden(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Plain content of a recipe, which may lack entries yet, with some of them replaced as `with_overrides` does."""
    entries = {name: dict(value) if isinstance(value, Mapping) else value for name, value in content.items()}
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        if section and section not in SECTIONS:
            raise RecipeError(unknown(key, [f"{s}.{field.name}" for s in SECTIONS for field in dataclasses.fields(SECTIONS[s])]))
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


def _without_none(content: dict[str, Any]) -> dict[str, Any]:
    return {key: _without_none(v) if isinstance(v, dict) else v for key, v in content.items() if v is not None}


def _toml_value(value: str | int | float | bool | tuple[int, ...]) -> str:
    """JSON's strings, numbers and lists of them are TOML's too, but for pairs of surrogates (so no ASCII escapes) and a bare DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
