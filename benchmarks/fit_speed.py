"""Fits of the Hoffmann law to its 240 points, ours beside others', and of the P2 law to 10,000 points: seconds, optimum, memory.

    python benchmarks/fit_speed.py [--keep "2 cores AMD EPYC"] [--repeats 5] [--thin 1]

The others run in a virtual environment that is made for them in the temporary folder. `--thin 50` tries the slow ones from every
50th start. Each case runs in a process of its own, alone, and with one BLAS thread unless said otherwise: the products are small.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from keep import HERE, arguments, keep

PEERS = ("numpy", "scipy", "pandas", "chinchilla==0.2.0", "polars", "pyyaml")
WITHOUT_NEEDS = "simple-scaling-laws==0.2.0"  # asks for Python 3.12, and runs on 3.11
FOLDER = Path(tempfile.gettempdir()) / f"prunescale-peers-{sys.version_info[0]}.{sys.version_info[1]}"
OPTIMUM = 1.0182740178e-3  # of the sum of Huber's loss on Hoffmann's points; Besiroglu et al. 2024 stopped at 1.02284e-3
OBJECTIVES = ("squared", "squared-log", "huber-log")
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where set, they hold NumPy to the kernels of another machine

TITLES = {
    "scipy-numeric": ("SciPy L-BFGS-B, numeric gradient (the replication's way)", "Huber, log"),
    "scipy-analytic": ("SciPy L-BFGS-B, analytic gradient", "Huber, log"),
    "scipy-tight": ("the same, to tight tolerances", "Huber, log"),
    "chinchilla": ("`chinchilla` 0.2.0, its default loss", "asymmetric"),
    "chinchilla-huber": ("`chinchilla` 0.2.0, `log_huber` with delta 1e-3", "Huber, log"),
    "simple-scaling-laws": ("`simple-scaling-laws` 0.2.0", "squared"),
    "variable-projection": ("variable projection, Nelder-Mead, one polish", "Huber, log"),
}
OURS = {"squared": "squared", "squared-log": "squared, log", "huber-log": "Huber, log"}


def environment(threads: int = 1) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in SLOWING}
    return kept | {"OPENBLAS_NUM_THREADS": str(threads), "OPENBLAS_VERBOSE": "2"}


def peers_python() -> Path:
    """A Python with the peers that can be installed."""
    python = FOLDER / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for wish in [[name] for name in PEERS] + [["--no-deps", "--ignore-requires-python", WITHOUT_NEEDS]]:
            done = subprocess.run([*install, *wish], capture_output=True, text=True)
            if done.returncode:
                print(f"{wish[-1]} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return python


def measured(command: list[str], threads: int = 1) -> dict[str, Any]:
    """What a script prints on its last line; or its error."""
    done = subprocess.run(command, cwd=HERE, env=environment(threads), capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    core = [line for line in done.stderr.splitlines() if line.startswith("Core: ")]
    return json.loads(done.stdout.splitlines()[-1]) | {"core": core[0].removeprefix("Core: ") if core else "unknown"}


def spread(seconds: list[float]) -> str:
    """Median, and best to worst where there are several."""
    middle = f"{median(seconds):.3g}"
    return middle if len(seconds) == 1 else f"{middle} ({min(seconds):.3g} to {max(seconds):.3g})"


def hoffmann_row(title: str, objective: str, found: dict[str, Any]) -> str:
    if "error" in found:
        return f"| {title} | {objective} | not measured: {found['error']} | | | | | | |"
    c = found["constants"]
    above = found["objective"] / OPTIMUM - 1
    arrived = "same" if abs(above) < 1e-6 else f"{100 * above:+.2g} %"
    constants = f"{c['E']:.4f}, {c['A']:.1f}, {c['alpha']:.4f}, {c['B']:.1f}, {c['beta']:.4f}"
    refits = spread(found["refits"]) if "refits" in found else ""
    cells = (title, objective, found["starts"], spread(found["seconds"]), refits, arrived, constants, shares(found))
    return "| " + " | ".join(str(cell) for cell in (*cells, f"{found['peak_MB']:.0f}")) + " |"


def shares(found: dict[str, Any]) -> str:
    """Of starts that end within 1 % of the optimum, and within 1e-6."""
    if "ends" not in found:
        return f"{100 * found['share']:.0f} %" if "share" in found else ""
    ends = [end for end in found["ends"] if end == end]
    near = (sum(end <= OPTIMUM * (1 + part) for end in ends) / len(found["ends"]) for part in (0.01, 1e-6))
    return " / ".join(f"{100 * part:.1f} %" for part in near)


def hoffmann_table(ours: dict[str, Any], others: dict[str, Any]) -> str:
    rows = [hoffmann_row(*TITLES[name], found) for name, found in others.items()]
    rows += [hoffmann_row("prunescale", OURS[name], found | {"starts": 24}) for name, found in ours.items()]
    head = "| 240 points | minimises | starts | fit, s | 1,000 refits, s | Huber above optimum | E, A, alpha, B, beta | arrive | MB |"
    return "\n".join([head, "| --- | --- | ---: | --- | --- | ---: | --- | ---: | ---: |", *rows])


def p2_table(ours: dict[str, Any]) -> str:
    head = "| 10,000 points, P2 | fit, s | its floor, s | 1,000 refits, s | their floor, s | evaluations: fit, each refit | MB |"
    rows = []
    for name, found in ours.items():
        if "error" in found:
            rows.append(f"| {OURS[name]} | not measured: {found['error']} | | | | | |")
            continue
        fit, refits = found["evaluations"] / 10_000, found["refit_evaluations"] / 10_000
        cells = [spread(found["seconds"])]
        cells += [floor_cell(found, fit, found["seconds"]), spread(found["refits"]), floor_cell(found, refits, found["refits"])]
        rows.append(f"| {OURS[name]} | " + " | ".join(cells) + f" | {fit:.0f}, {refits / 1000:.1f} | {found['peak_MB']:.0f} |")
    return "\n".join([head, "| --- | --- | --- | --- | --- | ---: | ---: |", *rows])


def floor_cell(found: dict[str, Any], passes: float, seconds: list[float]) -> str:
    floor = passes * 10_000 * point_floor(found)
    return f"{floor:.2g} (ours {median(seconds) / floor:.0f} times)"


def point_floor(found: dict[str, Any]) -> float:
    """Seconds of one point's part in one evaluation, on one core: four exponentials, and the products for half of J^T J and for J^T r."""
    q = found["n_constants"]
    return 4 * found["rates"]["exp"] + (q * (q + 1) / 2 + q) * found["rates"]["fma"]


def main() -> None:
    asked = arguments("How fast laws are fitted.", repeats=5, thin=1)
    ours = [sys.executable, "ours.py"]
    hoffmann = {name: measured([*ours, "hoffmann", name, str(asked.repeats)]) for name in OBJECTIVES}
    p2 = {name: measured([*ours, "p2", name, str(max(1, asked.repeats // 2))]) for name in OBJECTIVES}
    python = str(peers_python())
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True).stdout
    versions = [line for line in listed.split() if line.split("==")[0] in ("numpy", "scipy", "chinchilla", "simple-scaling-laws")]
    size = {"chinchilla": "3", "chinchilla-huber": "3"} if asked.thin > 1 else {}
    others = {}
    for name in TITLES:
        argument = [str(asked.thin)] if name.startswith("scipy") else [size[name]] if name in size else []
        others[name] = measured([python, "peers.py", name, *argument])
        print(hoffmann_row(*TITLES[name], others[name]), flush=True)
    one = hoffmann["huber-log"]
    notes = (
        f"Others: {', '.join(versions)}. OpenBLAS kernels: {one.get('core')}; {', '.join(SLOWING)} unset. "
        f"The Huber objective's optimum is {OPTIMUM:.6e}. Arrive: the starts that end within 1 % / within 1e-6 of it; ours of those "
        f"followed. First fit of a process, Huber: {one.get('first', float('nan')):.3f} s. Floor of a P2 evaluation, on one core: "
        f"4 exponentials a point and 35 multiply-adds, at the rates of this machine "
        f"({1e9 * one['rates']['exp']:.2f} and {1e9 * one['rates']['fma']:.3f} ns)."
    )
    found = "\n\n".join([notes, hoffmann_table(hoffmann, others), p2_table(p2)])
    print(found)
    if asked.keep:
        how = f"{asked.repeats} repeats, median (best to worst); slow ones once (`fit_speed.py`)"
        keep("Speed of fits", asked.keep, how, found)


if __name__ == "__main__":
    main()
