"""The 240 points that everybody fits: Hoffmann's, as Besiroglu and others read them off the published figure."""

import csv
from pathlib import Path

DATA = Path(__file__).parents[1] / "studies" / "published" / "data" / "hoffmann.csv"
N_DROPPED = 5  # of highest loss, as in their replication (Besiroglu et al. 2024, arXiv:2404.10102)


def read(path: Path = DATA) -> tuple[list[float], list[float], list[float]]:
    """Parameters, tokens (compute / (6 parameters)) and losses, by rising loss."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(float(row["Model Size"]), float(row["Training FLOP"]), float(row["loss"])) for row in csv.DictReader(file)]
    rows = sorted(rows, key=lambda row: row[2])[:-N_DROPPED]
    return [N for N, _, _ in rows], [C / (6 * N) for N, C, _ in rows], [loss for _, _, loss in rows]
