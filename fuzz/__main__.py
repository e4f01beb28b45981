"""python -m fuzz [--inputs N] [--seconds S] [--seed N] [--engine seeded|atheris] [--out FILE] [TARGET ...]

A process for each reader, since each has limits of its own. What each came to is appended to a file, a line of JSON each; inputs that
broke a promise are kept beside it.
"""

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all readers together, by their shares")
    parser.add_argument("--seconds", type=float, default=600, help="at most, for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["seeded", "atheris"], default="seeded")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz.jsonl"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    found = arguments.out.with_suffix(".found")
    if arguments.one and arguments.engine == "atheris":
        from fuzz.guided import run_guided

        run_guided(arguments.one, arguments.inputs, arguments.seconds, arguments.seed, arguments.out, found)
        return
    from fuzz.targets import TARGETS

    if arguments.one:
        from fuzz.engine import as_json, run_seeded

        outcome = run_seeded(TARGETS[arguments.one], arguments.inputs, arguments.seconds, arguments.seed, found)
        with arguments.out.open("a") as file:
            file.write(as_json(outcome) + "\n")
        return
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    names = arguments.targets or list(TARGETS)
    whole = sum(TARGETS[name].share for name in names)
    for name in names:
        n = round(arguments.inputs * TARGETS[name].share / whole)
        command = [sys.executable, "-m", "fuzz", "--one", name, "--inputs", str(n), "--seconds", str(arguments.seconds)]
        command += ["--seed", str(arguments.seed), "--engine", arguments.engine, "--out", str(arguments.out)]
        print(f"{name}: {n:,} inputs", flush=True)
        if code := subprocess.run(command, check=False).returncode:
            print(f"{name}: ended with {code}", flush=True)


if __name__ == "__main__":
    main()
