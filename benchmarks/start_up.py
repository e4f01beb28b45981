"""How long `prunescale --help` and `import prunescale` take, beside the interpreter alone.

    python benchmarks/start_up.py [--keep "2 cores AMD EPYC"]

Prints a table; --keep adds it to benchmarks/results.md under that name of the machine.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from keep import arguments, keep

REPEATS = 20
CASES = {
    "`prunescale --help`": ([str(Path(sys.executable).with_name("prunescale")), "--help"], 0.15),
    "`import prunescale`": ([sys.executable, "-c", "import prunescale"], 0.1),
    "interpreter alone": ([sys.executable, "-c", "pass"], None),
}
"""Each with its command and the most seconds that it should take."""


def seconds(command: list[str]) -> float:
    """Wall time of one process, from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure() -> dict[str, list[float]]:
    """REPEATS times of each case, in turn, so that a busy moment hits all alike; one more before, to fill the caches."""
    rounds = [{name: seconds(command) for name, (command, _) in CASES.items()} for _ in range(REPEATS + 1)]
    return {name: [each[name] for each in rounds[1:]] for name in CASES}


def table(times: dict[str, list[float]]) -> str:
    rows = [
        f"| {name} | {min(times[name]):.3f} | {median(times[name]):.3f} | {f'{target:g}' if target else ''} |"
        for name, (_, target) in CASES.items()
    ]
    return "\n".join(["| seconds | best | median | target |", "| --- | --- | --- | --- |", *rows])


def main() -> None:
    machine = arguments("How long prunescale takes to start.").keep
    found = table(measure())
    print(found)
    if machine:
        keep("Start-up", machine, f"wall time of {REPEATS} runs each (`start_up.py`)", found)


if __name__ == "__main__":
    main()
