"""A study: a base recipe and axes along which it is varied, as a TOML file; and the recipes that come of it.

    [recipe]
    base = "models/llama-10m"
    train = { data = "tokens", held_out = "held-out.npz", tokens = 60_000_000, learning_rate = 1e-3 }

    [axes]
    "prune.rate" = [0.125, 0.25, 0.5]
    seed = [{ "train.seed" = 0 }, { "train.seed" = 1 }]

An axis is an entry of a recipe and its values; or a name and tables of entries that change together, an empty one for the recipe as it
is. A table may have a `name`, for people. Each value of an axis meets each of the others.
"""

import itertools
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from prunescale.errors import RecipeError
from prunescale.recipe import Recipe, overridden, text_of

MAX_RUNS = 100_000
"""A product of axes grows quickly, and more are a slip."""


@dataclass(frozen=True)
class Planned:
    """A run that a study asks for. label: what is particular to it, for people."""

    label: str
    recipe: Recipe

    @property
    def file_name(self) -> str:
        """The label as a name of a file on any system."""
        return re.sub(r"[^A-Za-z0-9._]+", "-", self.label).strip("-.")[:LONGEST_NAME] or self.recipe.hash


@dataclass(frozen=True)
class Study:
    """name: of its file. runs: in the order of the axes, the last of which changes fastest. Raises RecipeError for two of the same hash,
    and for two that would have the same name."""

    name: str
    runs: tuple[Planned, ...]

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        names: dict[str, str] = {}
        for run in self.runs:
            if (other := names.setdefault(run.file_name, run.recipe.hash)) != run.recipe.hash:
                raise RecipeError(
                    f"{self.name}: {run.file_name} stands for two runs, {other} and {run.recipe.hash}: give them other names."
                )
            if (earlier := seen.setdefault(run.recipe.hash, run.label)) is not run.label:
                raise RecipeError(f"{self.name}: the runs {earlier!r} and {run.label!r} are the same recipe: leave one out.")

    def only(self, texts: Sequence[str]) -> Self:
        """The runs with one of these texts in their names; all of them where there are no texts. Raises RecipeError where none is left."""
        runs = tuple(run for run in self.runs if not texts or any(text in run.label for text in texts))
        if not runs:
            wanted = " or ".join(map(repr, texts))
            raise RecipeError(f"{self.name} has no run with {wanted} in its name; the first is called {self.runs[0].label!r}.")
        return replace(self, runs=runs)

    @classmethod
    def from_toml(cls, file: str | Path) -> Self:
        """The study in a file. Raises RecipeError with one line that names the file and the entry at fault."""
        path = Path(file)
        try:
            return cls.from_dict(path.stem, tomllib.loads(text_of(path)))
        except OSError as error:
            raise RecipeError(f"No study can be read at {path} ({error.strerror}): give the path of a TOML file.") from error
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"{path} is not TOML: {error}") from error
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, name: str, content: Mapping[str, Any]) -> Self:
        """The study of plain content, as TOML has it."""
        if unknown := sorted(content.keys() - {"recipe", "axes"}):
            raise RecipeError(f"{unknown[0]} is not part of a study; known are the sections [recipe] and [axes].")
        base = content.get("recipe")
        if not isinstance(base, Mapping):
            raise RecipeError("A study needs a section [recipe], with the entries of a recipe (see docs/sweeps.md).")
        axes = [axis_of(*axis) for axis in table_of(content.get("axes", {})).items()]
        if (n_runs := math.prod(map(len, axes))) > MAX_RUNS:
            raise RecipeError(f"The axes have {n_runs:,} combinations; a study has at most {MAX_RUNS:,} runs.")
        return cls(name, tuple(planned(base, point) for point in itertools.product(*axes)))


LONGEST_NAME = 120
"""Characters of the name of a file."""

Choice = tuple[str, dict[str, Any]]
"""A value of an axis: what it is called, and the entries that it sets."""


def axis_of(name: str, values: Any) -> list[Choice]:
    if not isinstance(values, list) or not values:
        raise RecipeError(f"The axis {name} is {values!r}; it must be a list of values, or of tables of entries.")
    if all(isinstance(value, Mapping) for value in values):
        return [choice_of(name, value) for value in values]
    return [(named({name: value}), {name: value}) for value in values]


def choice_of(axis: str, table: Mapping[str, Any]) -> Choice:
    entries = {key: value for key, value in table.items() if key != "name"}
    label = table.get("name", named(entries))
    if not isinstance(label, str):
        raise RecipeError(f"The axis {axis} has a name that is {label!r}; it must be a string.")
    return label, entries


def named(entries: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {shown(value)}" for key, value in entries.items())


def shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def planned(base: Mapping[str, Any], point: tuple[Choice, ...]) -> Planned:
    label = ", ".join(name for name, _ in point if name) or "as it is"
    overrides: dict[str, Any] = {}
    for _, entries in point:
        if twice := sorted(overrides.keys() & entries.keys()):
            raise RecipeError(f"Two axes set {twice[0]}: put it into one of them.")
        overrides |= entries
    try:
        return Planned(label, Recipe.from_dict(overridden(base, overrides)))
    except RecipeError as error:
        raise RecipeError(f"run {label!r}: {error}") from error


def table_of(content: Any) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise RecipeError(f"axes is {content!r}; it must be a section [axes].")
    return content
