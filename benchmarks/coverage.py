"""Whether 90 % intervals hold the truth in 90 % of studies: by simulation, for each constant and for the tokens worth spending.

    python benchmarks/coverage.py [--keep "2 cores AMD EPYC"] [--studies 500] [--refits 500] [--processes 1] [--profiles 1]

`--profiles 0` leaves out the profile likelihood's intervals, which take most of the time.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process a core; the products are small

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from keep import arguments, keep

from prunescale.errors import FitError
from prunescale.fitting import bootstrap, fit, profile
from prunescale.laws import HoffmannLaw, Law, P2Law

LEVEL = 0.9
WANTED = (0.85, 0.95)
GAIN = 0.02  # nats that the next doubling of the tokens gains, where they stop being worth it
MILLION = 1e6
TRUTH = P2Law(gamma=-1.6, delta=0.1, N_C=0.3, alpha=0.6, D_C=2.5, beta=0.45, E=0.15)
DENSE = HoffmannLaw(E=1.8, A=480.0, alpha=0.35, B=2100.0, beta=0.37)


def p2_tokens(law: Law, n_params_before: float = 3e7, rate: float = 0.6) -> np.ndarray:
    """Millions of tokens worth spending on a model larger than any in the studies, pruned more."""
    N0 = n_params_before / MILLION
    with np.errstate(all="ignore"):
        worth = law.D_C * rate**-law.gamma * N0**-law.delta * (1 - 2**-law.beta) / GAIN
        return worth ** (1 / law.beta)


def hoffmann_tokens(law: Law) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (law.B * (1 - 2**-law.beta) / GAIN) ** (1 / law.beta)


@dataclass(frozen=True)
class Case:
    """A design, its truth and its noise: standard deviations of a run's offset, and of points that lean on the one before by rho."""

    title: str
    columns: Mapping[str, np.ndarray]  # inputs of the law, and run
    truth: Law = TRUTH
    tokens: Callable[[Law], np.ndarray] = p2_tokens
    objective: str = "squared"
    fixed: Mapping[str, float] = field(default_factory=dict)
    offset: float = 0.002
    noise: float = 0.002
    rho: float = 0.7
    relative: bool = False

    @property
    def answers(self) -> list[str | Callable[[Law], np.ndarray]]:
        return [*(name for name in self.truth.bounds if name not in self.fixed), self.tokens]

    def study(self, seed: int) -> dict[str, np.ndarray]:
        """The table of one study."""
        rng = np.random.default_rng([2026, seed])
        run = np.unique(self.columns["run"], return_inverse=True)[1]
        error = self.offset * rng.standard_normal(int(run.max()) + 1)[run] + self.noise * self._leaning(rng, run)
        loss = self.truth.predict(self.columns)
        measured = loss * np.exp(error) if self.relative else loss + error
        return {**self.columns, "loss": measured, "phase": np.full(len(run), "constant")}

    def _leaning(self, rng: np.random.Generator, run: np.ndarray) -> np.ndarray:
        """Of variance 1; a run's points stand together, in the order of their tokens."""
        error = rng.standard_normal(len(run))
        for i in range(1, len(run)):
            if run[i] == run[i - 1]:
                error[i] = self.rho * error[i - 1] + np.sqrt(1 - self.rho**2) * error[i]
        return error


def p2_design(n_sizes: int, n_rates: int) -> dict[str, np.ndarray]:
    """A run for each size and rate, of ten points each."""
    axes = np.geomspace(4e5, 1e7, n_sizes), np.linspace(0.125, 0.5, n_rates), np.geomspace(1e6, 6e7, 10)
    N, rate, D = (each.ravel() for each in np.meshgrid(*axes, indexing="ij"))
    run = np.char.zfill(np.repeat(np.arange(n_sizes * n_rates), 10).astype(str), 4)
    before = 3.5 - 0.1 * np.log(N / MILLION)
    return {"n_params_before": N, "pruning_rate": rate, "n_tokens": D, "loss_before": before, "run": run}


def hoffmann_design() -> dict[str, np.ndarray]:
    """40 runs of one point each."""
    N, D = (each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 8), indexing="ij"))
    return {"n_params_total": N, "n_tokens": D, "run": np.char.zfill(np.arange(len(N)).astype(str), 4)}


CASES = (
    Case("P2, 16 runs", p2_design(4, 4)),
    Case("P2, 16 runs, points independent", p2_design(4, 4), offset=0.0, rho=0.0),
    Case("P2, 16 runs, Huber", p2_design(4, 4), objective="huber-log"),
    Case("P2, 9 runs, E fixed", p2_design(3, 3), truth=replace(TRUTH, E=0.0), fixed={"E": 0.0}),
    Case("P2, 36 runs", p2_design(6, 6)),
    Case("P2, 120 runs", p2_design(10, 12)),
    Case(
        "Hoffmann, 40 runs of a point, Huber",
        hoffmann_design(),
        truth=DENSE,
        tokens=hoffmann_tokens,
        objective="huber-log",
        offset=0.0,
        noise=0.005,
        rho=0.0,
        relative=True,
    ),
)


def placed(truth: float, low: float, high: float) -> int:
    """-1 where the truth lies below the interval, 1 above, 0 within."""
    return int(truth > high) - int(truth < low)


def one(case: Case, n_refits: int, profiles: bool, seed: int) -> tuple[list[int], list[int], str] | None:
    """Where each truth lies by the bootstrap's and by the profile's interval, and the fit's status; None where it was refused."""
    try:
        found = fit(type(case.truth), case.study(seed), objective=case.objective, fixed=case.fixed)
    except FitError:
        return None
    found = bootstrap(found, n=n_refits, seed=seed)
    by_refits, by_profile = [], []
    for answer in case.answers:
        truth = float(getattr(case.truth, answer) if isinstance(answer, str) else answer(case.truth))
        by_refits.append(placed(truth, *found.interval(answer, LEVEL)))
        if profiles:
            log = not isinstance(answer, str) or case.truth.bounds[answer].log
            moved = profile(found, answer, level=LEVEL, log=log)
            by_profile.append(placed(truth, moved.low, moved.high))
    return by_refits, by_profile, found.status.name


def measured(case: Case, asked: object) -> list[tuple[list[int], list[int], str]]:
    studies = partial(one, case, asked.refits, bool(asked.profiles))
    if asked.processes == 1:
        outcomes = [studies(seed) for seed in range(asked.studies)]
    else:
        with ProcessPoolExecutor(asked.processes) as pool:
            outcomes = list(pool.map(studies, range(asked.studies), chunksize=5))
    return [each for each in outcomes if each is not None]


def row(title: str, names: list[str], places: np.ndarray) -> str:
    """Shares of studies whose interval holds the truth; where outside what is wanted, with the shares in which it lies below and above."""
    cells = []
    for name, column in zip(names, places.T, strict=True):
        held = float(np.mean(column == 0))
        beside = "" if WANTED[0] <= held <= WANTED[1] else f" ({np.mean(column < 0):.2f} below, {np.mean(column > 0):.2f} above)"
        cells.append(f"{name} {held:.3f}{beside}")
    return f"| {title} | {', '.join(cells)} |"


def main() -> None:
    asked = arguments("Coverage of 90 % intervals.", studies=500, refits=500, processes=1, profiles=1)
    rows = []
    for case in CASES:
        outcomes = measured(case, asked)
        names = [answer if isinstance(answer, str) else "D*" for answer in case.answers]
        statuses = [status for _, _, status in outcomes]
        clean = f"{len(outcomes)} studies, {statuses.count('CONVERGED')} converged"
        new = [row(f"{case.title}; bootstrap ({clean})", names, np.array([places for places, _, _ in outcomes]))]
        if asked.profiles:
            new.append(row(f"{case.title}; profile", names, np.array([places for _, places, _ in outcomes])))
        print(*new, sep="\n", flush=True)
        rows += new
    error = np.sqrt(LEVEL * (1 - LEVEL) / asked.studies)
    notes = (
        f"Share of studies whose 90 % interval holds the truth; standard error {error:.3f}. D*: tokens after which the next doubling "
        f"gains less than {GAIN} nats; for P2 at 3 times the largest size and a rate of 0.6, the highest being 0.5. P2 runs have ten "
        "points, an offset of 0.002 nats (standard deviation) and errors of 0.002 that lean on the one before by 0.7, unless said "
        "otherwise; Hoffmann's points err by 0.5 % of the loss."
    )
    found = "\n".join([notes, "", "| study; interval | holds the truth |", "| --- | --- |", *rows])
    if asked.keep:
        keep("Coverage of intervals", asked.keep, f"{asked.studies} studies, {asked.refits} refits each (`coverage.py`)", found)


if __name__ == "__main__":
    main()
