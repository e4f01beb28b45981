"""How a benchmark's table gets into results.md: with date, machine and commit."""

import argparse
import platform
import subprocess
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent


def arguments(what: str, **sizes: int) -> argparse.Namespace:
    """The option that every benchmark has: keep, the machine's name with the commit as it is now, or None; and one for each size."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--keep", metavar="MACHINE", help="add the table to benchmarks/results.md under this name of the machine")
    for name, size in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=size, metavar="N", help=f"default: {size}")
    given = parser.parse_args()
    if given.keep:  # now and not when the table is there: meanwhile other work may have been committed
        done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=True)
        given.keep = f"{given.keep}, commit {done.stdout.strip()}"
    return given


def keep(title: str, machine: str, how: str, table: str) -> None:
    """Add a table at the end of results.md; `how`: what was run, in a few words, with the script's name."""
    setting = f"{machine}, Python {platform.python_version()}; {how}."
    with (HERE / "results.md").open("a", encoding="utf-8") as results:
        results.write(f"\n## {title}, {date.today()}\n\n{setting}\n\n{table}\n")
