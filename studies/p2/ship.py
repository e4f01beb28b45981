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


def shipped(run: Run) -> Run:
    """A run whose base is named as in its recipe, and not by the folder of the machine that it ran on."""
    return replace(run, base=run.recipe["base"]) if run.recipe.get("base") else run


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
