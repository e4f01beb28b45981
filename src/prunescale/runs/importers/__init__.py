"""Runs that were measured elsewhere: tables, the logs of other tools. Units are asked for, and nothing is guessed silently."""

from prunescale.runs.importers.build import Imported, import_runs
from prunescale.runs.importers.formats import OURS, READERS, format_of, read_ours
from prunescale.runs.importers.rows import BadRow, Row, Source
from prunescale.runs.importers.wishes import Wishes

__all__ = ["OURS", "READERS", "BadRow", "Imported", "Row", "Source", "Wishes", "format_of", "import_runs", "read_ours"]
