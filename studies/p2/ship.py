"""Put the runs of this study where they come with prunescale:

python -m studies.p2.ship STORE...      adds what is new to the stores in src/prunescale/assets/runs

One store has one model family and its curves, on which laws are fitted; one has SmolLM2 and its curves, on which they are tried; one what
is compared with the family's: other seeds, rates, teachers and ways to the same size, and runs of a base model that was trained once more.
What was trained once more is another model: its loss before pruning differs in the third digit, as much as a curve ends from another.
"""

import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from prunescale.embedded import ROOT
from prunescale.runs import Run, Store
from studies.p2.planned import is_of, is_of_any, labels

SHIPPED = ROOT / "runs"
FAMILY, SECOND, VARIANTS = "p2.db", "p2-smollm2.db", "p2-variants.db"
BASES, CURVES = ("bases", "base-large"), ("curves", "curves-large")
"""The parts of the study that are the family's."""

OF_SECOND = ("smollm2-base", "smollm2-curves")

DIGITS = 4
"""Of the losses by domain that are shipped."""


def ship(stores: Sequence[str], folder: Path = SHIPPED) -> int:
    """How many runs were added. One of a recipe that is there already is not, unless its base was trained once more."""
    folder.mkdir(parents=True, exist_ok=True)
    known = [run for name in (FAMILY, SECOND, VARIANTS) if (folder / name).exists() for run in of_store(folder / name)]
    runs = distinct([*known, *(run for store in stores for run in of_store(store))])
    second = [run for run in runs if is_of_any(OF_SECOND, run)]
    family, variants = sorted_out([run for run in runs if not is_of_any(OF_SECOND, run)])
    write(folder / FAMILY, family)
    write(folder / SECOND, [shipped(run, run.recipe.get("base") or run.base) for run in second])
    write(folder / VARIANTS, variants)
    return len(runs) - len(known)


def of_store(path: str | Path) -> list[Run]:
    with Store.open(path) as store:
        return list(store.each())


def distinct(runs: Iterable[Run]) -> list[Run]:
    """The first of those of one recipe and one loss before it, in the order in which they were made."""
    kept: dict[tuple[str | None, float], Run] = {}
    for run in sorted(runs, key=lambda run: run.created):
        kept.setdefault((run.recipe_hash, begun_at(run)), run)
    return list(kept.values())


def begun_at(run: Run) -> float:
    """What tells two trainings of one base model apart: the loss that it had, which is measured alike for all runs of it. Of a run from
    nothing, what it came to."""
    return run.loss if run.loss_before is None else run.loss_before


def sorted_out(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Those of the family, each base model in the training of which there are most curves, and all others."""
    losses: dict[str, list[float]] = {}  # of the trainings of a base, in their order
    n_curves: Counter[tuple[str, float]] = Counter()
    for run in runs:
        if base := run.recipe.get("base"):
            if begun_at(run) not in losses.setdefault(base, []):
                losses[base].append(begun_at(run))
            n_curves[base, begun_at(run)] += is_of_any(CURVES, run)
    chosen = {base: max(each, key=lambda loss, base=base: n_curves[base, loss]) for base, each in losses.items()}

    family, variants = [], []
    for run in runs:
        base = run.recipe.get("base")
        if base:
            number = losses[base].index(begun_at(run)) + 1
            is_chosen = begun_at(run) == chosen[base] and is_of_any(CURVES, run)
            name = base if number == 1 else f"{base}, training {number}"
        else:
            is_chosen = is_of_any(BASES, run) and is_nearest(run, runs, chosen)
            name = run.base
        (family if is_chosen else variants).append(shipped(run, name))
    return family, variants


def is_nearest(run: Run, runs: Sequence[Run], chosen: dict[str, float]) -> bool:
    """Whether a training of a base model is that whose loss its curves begin at; its own last measurement differs in the fourth digit."""
    (name,) = (labels(part)[run.recipe_hash] for part in BASES if is_of(part, run))
    loss = next((loss for base, loss in chosen.items() if base.endswith(f"/{name}")), None)
    alike = [each for each in runs if each.recipe_hash == run.recipe_hash]
    return loss is None or run is min(alike, key=lambda each: abs(each.loss - loss))


def shipped(run: Run, base: str) -> Run:
    """A run whose base is named as in its recipe, and not by the folder of the machine that it ran on. Losses by domain, of which there
    are hundreds, are kept of its first and its last point, in fewer digits: with all of them the store would be ten times as large."""
    points = [replace(point, domains={}) for point in run.points]
    for end in {0, len(points) - 1}:
        few = {domain: round(loss, DIGITS) for domain, loss in run.points[end].domains.items()}
        points[end] = replace(points[end], domains=few)
    return replace(run, base=base, points=tuple(points))


def write(file: Path, runs: Sequence[Run]) -> None:
    """A store of one file, without a log, to be read wherever it lies. What was there stays until it is whole."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with Store.create(new) as store:
        store.add(*runs)
    with closing(sqlite3.connect(new)) as opened:
        opened.execute("PRAGMA journal_mode = DELETE")
        opened.execute("VACUUM")
    os.replace(new, file)


if __name__ == "__main__":
    print(f"{ship(sys.argv[1:])} runs added.")
