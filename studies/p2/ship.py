"""Put the runs of this study where they come with prunescale:

python -m studies.p2.ship STORE...      adds what is new to src/prunescale/assets/runs/p2.db
"""

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from prunescale.embedded import ROOT
from prunescale.runs import Run, Store

SHIPPED = ROOT / "runs" / "p2.db"


DIGITS = 4
"""Of the losses by domain that are shipped."""


def shipped(run: Run) -> Run:
    """A run whose base is named as in its recipe, and not by the folder of the machine that it ran on. Losses by domain, of which there
    are hundreds, are kept of its first and its last point, in fewer digits: with all of them the store would be ten times as large."""
    points = [replace(point, domains={}) for point in run.points]
    for end in {0, len(points) - 1}:
        few = {domain: round(loss, DIGITS) for domain, loss in run.points[end].domains.items()}
        points[end] = replace(points[end], domains=few)
    base = run.recipe.get("base") or run.base
    return replace(run, base=base, points=tuple(points))


def ship(stores: Sequence[str], to: Path = SHIPPED) -> int:
    """How many runs were added. One of a recipe that is there already is not."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with Store.create(to) as kept:
        n_added = 0
        for store in stores:
            with Store.open(store) as others:
                n_added += sum(kept.add_unless_done(shipped(run)) for run in others.each())
    with closing(sqlite3.connect(to)) as file:  # one file without a log, to be read wherever it lies
        file.execute("PRAGMA journal_mode = DELETE")
        file.execute("VACUUM")
    return n_added


if __name__ == "__main__":
    print(f"{ship(sys.argv[1:])} runs added.")
