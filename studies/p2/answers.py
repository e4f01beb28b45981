"""What the runs of the study answer, as numbers: curves by size and method, fits, and what they say of runs that they did not see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prunescale.errors import FitError
from prunescale.fitting import Audit, Fit, audit, bootstrap, fit, load_fit, predictive_interval
from prunescale.fitting.excess import scale
from prunescale.laws import LAWS, Law
from prunescale.models import shape_of_recipe
from prunescale.runs import Run
from prunescale.runs.control import with_control
from prunescale.runs.table import columns
from prunescale.sweep import Study
from studies.p2.planned import FOLDER, is_of_any

Columns = dict[str, np.ndarray]
REGISTERED = Path(__file__).parent / "registered"
VOCABULARY = 8192
"""Entries of the tokenizer, which does not count among a size's parameters."""

METHODS = {
    "depth": "block-influence",
    "width": "width-activation",
    "2:4 by magnitude": "magnitude",
    "2:4 by SparseGPT": "sparsegpt",
}
"""What the study calls a method, and what its runs do."""

MIN_TOKENS = 1_048_576
"""The warm-up's, before which a curve says more of the learning rate than of the law."""

LAST = 60_030_976
"""Tokens of post-training, after which curves are compared."""

HOW: dict[str, Any] = {"min_tokens": MIN_TOKENS, "weighting": "excess"}
"""What all fits have in common: errors are shares of what pruning costs, since that is what a plan asks for."""

OURS = ("tokens-per-parameter", "control-floor")
"""The laws that were found on these runs. Each was fitted, and the fit registered, when it was chosen."""

RIVALS = ("p2", "p2-no-delta", "p2-odds", "p2-log-kept", "p2-beta-rate", "p2-additive", "p2-control", *OURS)
"""Laws of the loss after pruning. The last three add to the control's loss what the others add to the loss before pruning."""

HELD_OUT = ("checkpoints", "size", "rate", "tenfold", "size-and-rate")
"""The paper's three, and two more."""


@dataclass(frozen=True)
class Asked:
    """The points of one method: `table` has the pruned runs alone, with the loss of each one's control."""

    method: str
    table: Columns
    phases: tuple[str, ...]

    @property
    def fixed(self) -> dict[str, float]:
        """Where there is one rate, its exponent cannot be told from the constants that it multiplies."""
        return {} if len(np.unique(np.round(self.table["pruning_rate"], 2))) > 1 else {"gamma": 0.0}


def controls(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.pruning_method is None and run.kind == "post-training"]


def asked(runs: Sequence[Run], method: str, phase: str = "constant") -> Asked:
    """The points of the runs of a method, in one phase of the learning rate."""
    pruned = [run for run in runs if run.pruning_method == METHODS[method]]
    table = with_control(columns([*pruned, *controls(runs)]))
    is_pruned = table["pruning_rate"] > 0
    return Asked(method, {name: column[is_pruned] for name, column in table.items()}, (phase,))


def fits(question: Asked, laws: Sequence[str] = RIVALS, n: int = 200) -> dict[str, Fit | str]:
    """Each law fitted to all points, with the spread of its constants; the reason where it cannot be."""
    found: dict[str, Fit | str] = {}
    for name in laws:
        try:
            of_law = fit(LAWS[name], question.table, fixed=fixed(name, question), phases=question.phases, **HOW)
            found[name] = bootstrap(of_law, n=n) if n else of_law
        except FitError as error:
            found[name] = str(error)
    return found


def fixed(name: str, question: Asked) -> dict[str, float]:
    return {constant: value for constant, value in question.fixed.items() if constant in LAWS[name].bounds}


def held_out(question: Asked, laws: Sequence[str] = RIVALS, n: int = 200) -> Audit:
    """Each law refitted without what each hold-out leaves out, and judged on that, beside the baselines."""
    chosen: list[type[Law]] = [LAWS[name] for name in laws]
    return audit(
        chosen,
        question.table,
        fixed={name: fixed(name, question) for name in laws},
        phases=question.phases,
        holdouts=HELD_OUT,
        n_replicates=n,
        **HOW,
    )


@dataclass(frozen=True)
class End:
    """A model after so many tokens: its loss in the middle of the constant rate and annealed, and those of its control; None where one was
    not measured."""

    n_tokens: int
    constant: float | None
    annealed: float | None
    control: float | None
    control_annealed: float | None


def ends(run: Run, control: Run | None) -> list[End]:
    """At the token counts at which the run has annealed ends."""
    mine, other = by_phase(run), by_phase(control) if control else {}
    return [
        End(n, mine.get(("constant", n)), loss, other.get(("constant", n)), other.get(("annealed", n)))
        for (phase, n), loss in mine.items()
        if phase == "annealed"
    ]


def by_phase(run: Run) -> dict[tuple[str, int], float]:
    return {(point.phase, point.n_tokens): point.loss for point in run.points}


def control_of(run: Run, runs: Sequence[Run]) -> Run | None:
    """Of the same base, trained in the same way: as a recipe has it, what it says of training is the same."""
    return next((each for each in controls(runs) if (each.base, trained(each)) == (run.base, trained(run))), None)


def trained(run: Run) -> tuple[int, float | None]:
    """What may differ in how pruned models are trained: the order of the data, and the learning rate."""
    train: Mapping[str, Any] = run.recipe.get("train", {})
    return seed(run), train.get("learning_rate")


def seed(run: Run) -> int:
    train: Mapping[str, int] = run.recipe.get("train", {})
    return train.get("seed", 0)


@dataclass(frozen=True)
class Foretold:
    """A run after all its tokens at the constant rate, nats above its control: as a fit says that has not seen it, with the ends of its
    90 % interval, and as it came. error: mean of the absolute error as a share of the excess, over all its points."""

    name: str
    base: str
    predicted: float
    interval: tuple[float, float]
    measured: float
    error: float

    @property
    def is_inside(self) -> bool:
        return self.interval[0] <= self.measured <= self.interval[1]


def registered(law: str, method: str) -> Fit:
    """The fit of a law to the runs on which it was chosen."""
    return load_fit(REGISTERED / law / f"{method}.json")


def foretold(runs: Sequence[Run], method: str, law: str, *, by: Fit | None = None) -> list[Foretold]:
    """The runs that were made after the registered fit of a law, as that says, or another fit to the same runs. Of whichever training of a
    base: one that was trained once more is another model."""
    found = registered(law, method)
    known = set(found.points.columns["run"])
    newest = max((run.created for run in runs if run.id in known), default="")
    curves = [run for run in runs if is_of_any(("curves", "curves-large"), run)]
    later = [run for run in curves if run.created > newest and run.pruning_method]
    found, answers = by or found, []
    table = asked([*later, *controls(curves)], method).table
    usable = (table["phase"] == "constant") & (table["n_tokens"] >= MIN_TOKENS) & np.isfinite(table["loss_control"])
    for run in later:
        of_run = {name: column[usable & (table["run"] == run.id)] for name, column in table.items()}
        if not len(loss := of_run["loss"]):
            continue
        predicted = found.predict(of_run)
        low, high = predictive_interval(found, of_run) if found.replicates else (predicted, predicted)
        error = float(np.mean(np.abs(predicted - loss) / scale(of_run, loss)))
        ends = [float((each - of_run["loss_control"])[-1]) for each in (predicted, low, high, loss)]
        answers.append(Foretold(run.name, Path(run.base).name, ends[0], (ends[1], ends[2]), ends[3], error))
    return sorted(answers, key=lambda each: (each.name, each.base))


def refitted(law: str, method: str, rival: str) -> Fit:
    """Another law fitted to the same points as the registered fit of a law."""
    found = registered(law, method)
    return fit(LAWS[rival], found.points.columns, phases=("constant",), **HOW)


def to_come(runs: Sequence[Run], method: str, law: str) -> list[tuple[str, float, tuple[float, float]]]:
    """Runs of the size above the family that are not there yet: name, excess after all tokens at the constant rate as the registered fit
    of a law says, and its 90 % interval."""
    found = registered(law, method)
    there = {run.recipe_hash for run in runs}
    (base,) = Study.from_toml(FOLDER / "base-large.toml").runs
    assert base.recipe.model
    size = shape_of_recipe(base.recipe.model, VOCABULARY).n_params_non_embedding
    answers = []
    for planned in Study.from_toml(FOLDER / "curves-large.toml").runs:
        prune = planned.recipe.prune
        if prune is None or prune.method != METHODS[method] or planned.recipe.hash in there:
            continue
        at = {
            "run": planned.label,
            "n_params_before": float(size),
            "n_tokens": float(LAST),
            "pruning_rate": prune.rate,
            "loss_control": 0.0,
        }
        point = {name: np.array([value]) for name, value in at.items()}
        low, high = predictive_interval(found, point)
        answers.append((planned.label, float(found.predict(point)[0]), (float(low[0]), float(high[0]))))
    return answers
