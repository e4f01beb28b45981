"""How long a store of 10,000 runs of 200 points each takes to fill, list and fit from, each command in a process of its own:

    python benchmarks/store_load.py [--runs 10000] [--points 200] [--folder DIRECTORY]

Prints one JSON object. The targets: import under 60 s, `runs list` under 0.5 s, columns for a fit under 1 s, a file under 200 MB. The
floor, measured in the same process: the bare rows into and out of SQLite by Python's own module, without records or checks.
"""

import argparse
import json
import os
import platform
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from prunescale.runs import Point, Run, runs_to_csv, runs_to_json

METHODS = ("block-influence", "contiguous", "wanda", "magnitude")
COLUMNS = """
import sys, time
from prunescale.runs import Store
from prunescale.runs.table import stored_columns
begin = time.perf_counter()
with Store.open(sys.argv[1]) as store:
    table = stored_columns(store)
print(len(table["loss"]), time.perf_counter() - begin)
"""
ADDING = """
import dataclasses, sys
from prunescale.runs import Store, read_json
(run,) = read_json(sys.argv[2])
with Store.open(sys.argv[1]) as store:
    for number in range(1_000_000):
        id = f"{sys.argv[3]}-{number:06d}"
        store.add(dataclasses.replace(run, id=id))
        print(id, flush=True)
"""


def made(n_runs: int, n_points: int, seed: int = 0) -> Iterator[Run]:
    """Runs as sweeps leave them: ids at random, curves that fall by a power law with some noise, all fields known."""
    draw = random.Random(seed)
    for number in range(n_runs):
        size, rate, exponent = (
            draw.choice((10, 30, 100, 300)) * 1_000_000,
            draw.choice((0.0, 0.2, 0.4, 0.6)),
            0.3 + 0.2 * draw.random(),
        )
        recipe = {"base": f"base-{size}", "prune": {"rate": rate}, "train": {"tokens": 10_000_000, "seed": number}}
        left = round(size * (1 - rate))
        points = tuple(
            Point(
                n_tokens=place * 1_000_003,
                loss=2.0 + draw.gauss(3.0, 0.001) / (1 + place) ** exponent,
                learning_rate=3e-4 * draw.random(),
                phase="before" if place == 0 else "warm-up" if place < 10 else "constant" if place < 160 else "decay",
                seconds=place * 1.3 + draw.random(),
            )
            for place in range(n_points)
        )
        yield Run(
            id=f"{draw.getrandbits(48):012x}",
            created=f"2026-11-{1 + number % 28:02d}T{number % 24:02d}:00:00+00:00",
            kind="post-training",
            name=f"base-{size} {draw.choice(METHODS)} {rate:.3f}",
            recipe=recipe,
            recipe_hash=f"{draw.getrandbits(48):012x}",
            base=f"base-{size}",
            pruning_method=METHODS[number % 4],
            pruning_rate=rate,
            n_params_before=size,
            n_params_non_embedding=left,
            n_params_embedding=1_000_000,
            n_params_head=0,
            n_params_attention=left // 3,
            n_params_ffn=left - left // 3,
            n_params_norm=0,
            n_params_linear=left + 1_000_000,
            n_params_total=left + 1_000_000,
            n_params_nonzero=left + 1_000_000,
            loss_before=3.2,
            n_tokens_pretrain=10**10,
            bytes_per_token=4.2,
            sequence_length=512,
            flops=6.5 * left * n_points * 1_000_003.0,
            seconds=1.3 * n_points,
            tokens_per_second=7.7e5,
            peak_memory_bytes=10**9,
            device="cpu",
            versions={"python": "3.11", "torch": "2.9"},
            points=points,
        )


def floor(runs: list[Run], folder: Path) -> dict[str, float]:
    """Rows a second into and out of a bare table of the same columns, and the bytes of the numbers themselves."""
    path = folder / "floor.db"
    rows = [
        (run.id, i, p.n_tokens, p.loss, p.learning_rate, p.phase, p.seconds) for run in runs for i, p in enumerate(run.points)
    ]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE points (run_id, position, n_tokens, loss, learning_rate, phase, seconds)")
    begin = time.perf_counter()
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute("COMMIT")
    written = time.perf_counter() - begin
    begin = time.perf_counter()
    connection.execute("SELECT n_tokens, loss, learning_rate, phase FROM points").fetchall()
    read = time.perf_counter() - begin
    connection.close()
    found = {"insert_s": written, "insert_rows_per_s": len(rows) / written, "fetch_s": read, "file_mb": path.stat().st_size / 1e6}
    path.unlink()
    return found


def seconds(arguments: list[str], n: int = 1) -> float:
    """The median wall time of a command, start-up included."""
    taken = []
    for _ in range(n):
        begin = time.perf_counter()
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def kills(folder: Path, run: Run, n: int) -> dict[str, int]:
    """Kill a process that adds runs, n times at random moments: how many runs it had been told were kept, and how many are not there."""
    store, one = folder / "kills.db", folder / "one.json"
    one.write_text(runs_to_json([run]), encoding="utf-8")
    from prunescale.runs import Store
    from prunescale.runs.verify import verify

    Store.create(store).close()
    draw, told, faults = random.Random(0), set[str](), 0
    for number in range(n):
        process = subprocess.Popen([sys.executable, "-c", ADDING, store, one, f"{number}"], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        told.add(process.stdout.readline().strip())
        time.sleep(draw.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        told.update(line.strip() for line in process.stdout if line.endswith("\n"))
        process.wait()
    with Store.open(store) as kept:
        missing = told - set(kept.ids())
        faults = len([fault for fault in verify(kept).faults if "recipe_hash" not in fault and "n_tokens" not in fault])
    return {"kills": n, "runs_told_kept": len(told), "of_them_missing": len(missing), "faults": faults}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.folder) as name:
        print(json.dumps(measured(wanted, Path(name)), indent=1))


def measured(wanted: argparse.Namespace, folder: Path) -> dict[str, object]:
    runs = list(made(wanted.runs, wanted.points))
    found: dict[str, object] = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "runs": wanted.runs,
        "points": wanted.runs * wanted.points,
        "floor": floor(runs, folder),
    }
    writers: dict[str, Callable[[list[Run]], str]] = {"json": runs_to_json, "csv": runs_to_csv}
    for kind, text in writers.items():
        (folder / f"runs.{kind}").write_text(text(runs), encoding="utf-8")
    one = runs[0]
    del runs
    prunescale = [sys.executable, "-m", "prunescale.cli.main"]
    store = folder / "json.db"
    for kind in writers:
        exported, into = str(folder / f"runs.{kind}"), str(folder / f"{kind}.db")
        found[f"import_{kind}_s"] = seconds([*prunescale, "runs", "import", exported, "--store", into])
    found["import_store_s"] = seconds([*prunescale, "runs", "merge", str(folder / "merged.db"), str(store)])
    found["file_mb"] = store.stat().st_size / 1e6
    for name, arguments in {
        "help": ["runs", "list", "--help"],
        "list": ["runs", "list", "--store", str(store)],
        "list_all": ["runs", "list", "--all", "--store", str(store)],
        "show": ["runs", "show", one.id, "--store", str(store)],
    }.items():
        found[f"{name}_s"] = seconds([*prunescale, *arguments], n=5)
    told = [
        subprocess.run([sys.executable, "-c", COLUMNS, store], check=True, capture_output=True, text=True).stdout
        for _ in range(3)
    ]
    found["columns_s"] = statistics.median(float(line.split()[1]) for line in told)
    found["verify_s"] = seconds([sys.executable, "-c", VERIFY, str(store)])
    found["kill_9"] = kills(folder, one, wanted.kills)
    return found


VERIFY = """
import sys
from prunescale.runs import Store
from prunescale.runs.verify import verify
with Store.open(sys.argv[1]) as store:
    assert verify(store).n_points
"""

if __name__ == "__main__":
    main()
