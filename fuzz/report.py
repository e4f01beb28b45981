"""The table of docs/hostile_input.md out of fuzz/results.json: python -m fuzz.report [RUN.jsonl ...] first adds up runs into that file."""

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "hostile_input.md"
BEGIN, END = "<!-- made by python -m fuzz.report -->\n", "<!-- end -->\n"


def added(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each reader and engine: inputs, those read and refused, seconds, failures; edges are the most of any run."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        entry = found.setdefault(
            (run["target"], run["engine"]), {**run, "inputs": 0, "read": 0, "refused": 0, "seconds": 0.0, "failures": 0}
        )
        for name in ("inputs", "read", "refused", "seconds"):
            entry[name] += run[name]
        entry["seconds"] = round(entry["seconds"], 1)
        entry["edges"] = max(filter(None, (entry["edges"], run["edges"])), default=None)
        entry["failures"] += sum(run["failures"].values())
    return list(found.values())


def table(entries: list[dict[str, Any]]) -> str:
    lines = [
        "| reader | engine | inputs | read | refused | failures | seconds | edges |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for entry in sorted(entries, key=lambda entry: (entry["target"], entry["engine"])):
        numbers = [f"{entry[name]:,}" for name in ("inputs", "read", "refused", "failures")]
        rest = [f"{entry['seconds']:.0f}", str(entry["edges"] or "-")]
        lines.append(f"| {' | '.join([entry['target'], entry['engine'], *numbers, *rest])} |")
    totals = [f"{sum(entry[name] for entry in entries):,}" for name in ("inputs", "read", "refused", "failures")]
    return "\n".join([*lines, f"| all | | {' | '.join(totals)} | {sum(entry['seconds'] for entry in entries):.0f} | |"]) + "\n"


def with_table(document: str) -> str:
    before, _, rest = document.partition(BEGIN)
    return before + BEGIN + "\n" + table(json.loads(RESULTS.read_text())) + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    if sys.argv[1:]:
        runs = [json.loads(line) for file in sys.argv[1:] for line in Path(file).read_text().splitlines()]
        RESULTS.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in added(runs)) + "\n]\n")
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
