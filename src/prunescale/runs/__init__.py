"""What was measured: the record of a run, the store that keeps it, and its ways in and out.

`columns`, which needs numpy, is in prunescale.runs.table, so that listing runs does without; what was measured elsewhere is read
by prunescale.runs.importers.
"""

from prunescale.runs.export import runs_to_csv, runs_to_json, runs_to_parquet
from prunescale.runs.opening import refuse_unwritable
from prunescale.runs.reading import is_exported, read_csv, read_json, read_runs, runs_from_csv, runs_from_json
from prunescale.runs.record import Kind, Phase, Point, Run, average_over
from prunescale.runs.store import Merged, Store

__all__ = [
    "Kind",
    "Merged",
    "Phase",
    "Point",
    "Run",
    "Store",
    "average_over",
    "is_exported",
    "read_csv",
    "read_json",
    "read_runs",
    "refuse_unwritable",
    "runs_from_csv",
    "runs_from_json",
    "runs_to_csv",
    "runs_to_json",
    "runs_to_parquet",
]
