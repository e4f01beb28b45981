"""The same inputs led by coverage: atheris (libFuzzer) keeps those that reach new branches of prunescale, and mutates them further."""

import contextlib
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

COVERED = re.compile(r"cov: (\d+)")


def run_guided(name: str, n_inputs: int, seconds: float, seed: int, out: Path, found: Path) -> None:
    """Run a target in a process of its own, since libFuzzer ends the process that it runs in, and append what it came to."""
    log = out.with_suffix(f".{name}.log")
    command = [sys.executable, "-m", "fuzz.guided", name, str(n_inputs), str(int(seconds)), str(seed + 1), str(out), str(found)]
    with log.open("wb") as file:
        code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=file, check=False).returncode
    text = log.read_text(errors="replace")
    edges = max(map(int, COVERED.findall(text)), default=0)
    lines = out.read_text().splitlines(keepends=True) if out.exists() else []
    if not lines or f'"target": "{name}", "engine": "atheris"' not in lines[-1]:
        print(f"{name}: no outcome (exit {code}); see {log}")
        return
    lines[-1] = lines[-1].replace('"edges": null', f'"edges": {edges}')
    out.write_text("".join(lines))


def main() -> None:
    name, n_inputs, seconds, seed, out, found = sys.argv[1:]
    import atheris

    with atheris.instrument_imports(include=["prunescale"]):
        from fuzz.targets import TARGETS

        target = TARGETS[name]
        from fuzz.engine import Harness, as_json, limit_memory, workplace
        from fuzz.mutate import mutated

        place = contextlib.ExitStack()
        parent = place.enter_context(workplace())
        harness = Harness(target, parent, Path(found))  # reads the seeds, which imports all there is
    harness.outcome.engine = "atheris"
    corpus = parent / "corpus"
    corpus.mkdir()
    for number, data in enumerate(harness.seeds):
        (corpus / str(number)).write_bytes(data)
    draw = random.Random(f"{name} {seed}")

    def mutate(data: bytes, most: int, number: int) -> bytes:
        if draw.random() < 0.3:
            return atheris.Mutate(data, most)
        return mutated(data, draw, is_json=target.is_json)[:most]

    begun = time.monotonic()
    last = int(n_inputs)
    harness.outcome.inputs = harness.outcome.read = harness.outcome.refused = 0

    def one(data: bytes) -> None:
        harness.one(data)
        if harness.outcome.inputs >= last or time.monotonic() - begun > float(seconds):
            harness.outcome.seconds = time.monotonic() - begun
            with open(out, "a") as file:
                file.write(as_json(harness.outcome) + "\n")
            place.close()
            print(flush=True)
            os.kill(os.getpid(), 10)  # SIGUSR1, at which libFuzzer says how far it came, and ends

    limit_memory()
    settings = [
        sys.argv[0],
        str(corpus),
        f"-seed={seed}",
        "-max_len=65536",
        "-rss_limit_mb=4096",
        "-timeout=30",
        "-len_control=0",
        "-print_final_stats=1",
    ]
    atheris.Setup(settings, one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
