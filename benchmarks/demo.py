"""How long `prunescale demo` takes, and how much memory, from nothing and run again when all its runs are there.

python benchmarks/demo.py [--keep "2 cores AMD EPYC"]
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from keep import arguments, keep

COMMAND = str(Path(sys.executable).with_name("prunescale"))


def seconds(folder: str) -> float:
    start = time.perf_counter()
    subprocess.run([COMMAND, "demo", "--dir", folder, "--json"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def table() -> str:
    with tempfile.TemporaryDirectory() as folder:
        first, again = seconds(folder), seconds(folder)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2  # of the largest process; kilobytes on Linux
    rows = [
        ("from nothing, seconds", first, "300"),
        ("again, all runs found, seconds", again, ""),
        ("peak memory, GB", peak, "3"),
    ]
    lines = [f"| {name} | {value:.1f} | {target} |" for name, value, target in rows]
    return "\n".join(["| `prunescale demo` | measured | at most |", "| --- | --- | --- |", *lines])


def main() -> None:
    machine = arguments("What prunescale demo takes.").keep
    found = table()
    print(found)
    if machine:
        keep("Demo", machine, "one run each (`demo.py`)", found)


if __name__ == "__main__":
    main()
