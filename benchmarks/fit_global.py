"""Whether a fit finds the optimum: ours against the best of many random starts, on simulated sweeps of four laws.

    python benchmarks/fit_global.py [--keep "2 cores AMD EPYC"] [--data-sets 200] [--starts 200] [--first 0]

Sweep number n is `simulated.draw(n)`; a fit that fails is printed with that number, so that it can be looked at.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small, and idle threads spin

import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from keep import arguments, keep
from reference import Task, brute_force
from simulated import Sweep, draw

from prunescale.errors import FitError
from prunescale.fitting import OBJECTIVES, fit

SAME = 1e-6  # relative
ROUNDING = 1e-11  # nats a point: a cost smaller than that of such errors is zero


@dataclass(frozen=True)
class Outcome:
    seed: int
    law: str
    objective: str
    design: str
    ours: float
    reference: float
    rounding: float
    status: str
    share_of_starts: float
    seconds: float

    @property
    def found(self) -> bool:
        return self.ours <= self.reference * (1 + SAME) + self.rounding

    @property
    def better(self) -> bool:
        return self.reference > self.ours * (1 + SAME) + self.rounding

    def remarks(self) -> list[str]:
        """Nothing, where both agree."""
        if self.found and not self.better:
            return []
        side = "the reference is worse" if self.better else "ours is worse"
        ends = f"{self.share_of_starts:.2f} of our starts ended there"
        return [f"{side}, {self.ours:.9g} against {self.reference:.9g}, {self.status}, {ends}."]


def outcome(seed: int, sweep: Sweep, objective: str, n_starts: int) -> Outcome | str:
    """Both costs by the reference's own formula; the truth is among the reference's starts. A refusal comes back as its sentence."""
    law = type(sweep.truth)
    begin = time.perf_counter()
    try:
        found = fit(law, sweep.columns, objective=objective, fixed=sweep.fixed)
    except FitError as error:
        return str(error)
    seconds = time.perf_counter() - begin
    task = Task(law, found.points.columns, found.points.weight, objective, sweep.fixed)
    reference, _ = brute_force(task, n_starts=n_starts, seed=seed, besides=[sweep.truth])
    return Outcome(
        seed=seed,
        law=law.name,
        objective=objective,
        design=sweep.design,
        ours=task.value(found.law),
        reference=reference,
        rounding=len(found.points.loss) * ROUNDING**2,
        status=found.status.name,
        share_of_starts=found.share_of_starts,
        seconds=seconds,
    )


def table(outcomes: list[Outcome]) -> str:
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for each in outcomes:
        groups[each.law, each.objective].append(each)
    groups["all", ""] = outcomes
    head = "| law | objective | fits | at the optimum | reference worse | largest relative excess | starts disagree | median fit, s |"
    rows = []
    for (law, objective), some in groups.items():
        excess = max((each.ours / each.reference - 1 for each in some if each.reference > each.rounding), default=0.0)
        counts = np.sum([(each.found, each.better, each.status == "STARTS_DISAGREE") for each in some], axis=0)
        seconds = np.median([each.seconds for each in some])
        cells = (law, objective, len(some), counts[0], counts[1], f"{excess:.1g}", counts[2], f"{seconds:.3f}")
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join([head, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |", *rows])


def main() -> None:
    asked = arguments("Whether fits find the optimum.", data_sets=200, starts=200, first=0)
    outcomes, notes = [], []
    for seed in range(asked.first, asked.first + asked.data_sets):
        sweep = draw(seed)
        for objective in OBJECTIVES:
            found = outcome(seed, sweep, objective, asked.starts)
            said = f"Sweep {seed} ({sweep.truth.name}, {sweep.design}), {objective}: "
            if isinstance(found, str):
                notes.append(f"{said}refused. {found}")
            else:
                outcomes.append(found)
                notes += [said + words for words in found.remarks()]
    result = "\n\n".join([table(outcomes), *notes])
    print(result)
    if asked.keep:
        how = f"{asked.data_sets} simulated sweeps, {asked.starts} random starts and the truth as reference (`fit_global.py`)"
        keep("Fits at the optimum", asked.keep, how, result)


if __name__ == "__main__":
    main()
