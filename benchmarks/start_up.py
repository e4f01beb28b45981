"""How long `prunescale --help` and `import prunescale` take, beside the interpreter alone.

    python benchmarks/start_up.py [--keep "2 cores AMD EPYC"]

Prints a table; --keep adds it to benchmarks/results.md under that name of the machine.
"""

import argparse
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
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


def commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description="How long prunescale takes to start.")
    parser.add_argument("--keep", metavar="MACHINE", help="add the table to benchmarks/results.md under this name of the machine")
    machine = parser.parse_args().keep
    found = table(measure())
    print(found)
    if machine:
        how = f"{machine}, commit {commit()}, Python {platform.python_version()}; wall time of {REPEATS} runs each"
        with (HERE / "results.md").open("a", encoding="utf-8") as results:
            results.write(f"\n## Start-up, {date.today()}\n\n{how} (`start_up.py`).\n\n{found}\n")


if __name__ == "__main__":
    main()
