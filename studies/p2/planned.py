"""Which run is which of those that this study asks for, by its recipe."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from prunescale.runs import Run
from prunescale.sweep import Study

FOLDER = Path(__file__).parent


@cache
def labels(study: str) -> Mapping[str, str]:
    """What each recipe of a part of the study is called, by its hash."""
    return {run.recipe.hash: run.label for run in Study.from_toml(FOLDER / f"{study}.toml").runs}


def is_of(study: str, run: Run) -> bool:
    return run.recipe_hash in labels(study)


def is_of_any(parts: Iterable[str], run: Run) -> bool:
    return any(is_of(part, run) for part in parts)


def by_label(study: str, runs: Iterable[Run]) -> dict[str, Run]:
    """The runs of a part of the study, by what they are called there and in its order; the first of those of one recipe."""
    found: dict[str | None, Run] = {}
    for run in runs:
        if is_of(study, run):
            found.setdefault(run.recipe_hash, run)
    return {label: found[hash] for hash, label in labels(study).items() if hash in found}
