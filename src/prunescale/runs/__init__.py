"""What was measured: the record of a run, the store that keeps it, and its ways in and out.

`columns`, which needs numpy, is in prunescale.runs.table, so that listing runs does without.
"""

from prunescale.runs.export import read_json, runs_from_json, runs_to_csv, runs_to_json
from prunescale.runs.record import Phase, Point, Run
from prunescale.runs.store import Store

__all__ = ["Phase", "Point", "Run", "Store", "read_json", "runs_from_json", "runs_to_csv", "runs_to_json"]
