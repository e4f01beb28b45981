"""What the options of `prunescale rehearse` plan, and what they ask."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.errors import FitError

if TYPE_CHECKING:
    from prunescale.laws import Law
    from prunescale.planner import Planned, Question

ALONE = ("loss_before", "loss_control")  # laws add these to the rest, so no answer about tokens depends on them
SHARES = ("pruning_rate", "sparsity")
FIRST = 100  # of a curve's tokens, the first point lies at this part


def points_planned(law: "Law", given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of every point that will be measured."""
    import numpy as np

    from prunescale.planner import crossed
    from prunescale.planner.planned import MOST_POINTS

    if given["design"]:
        if any(given[name] for name in ("sizes", "rates", "vary", "tokens")):
            raise click.UsageError("Give --design, or --sizes, --rates, --vary and --tokens, not both.")
        return points_from(given["design"], law, given["loss_before"])
    values, tokens = inputs_planned(law, given), None
    if "n_tokens" in law.columns and "n_tokens" not in values:
        last = given["tokens"]
        if not last:
            raise click.UsageError("Say what each run is trained on with --tokens.")
        first = given["first"] or max(1.0, last / FIRST)
        if not first < last or given["points"] < 2:
            raise click.UsageError(
                f"A curve needs two --points or more, from --first below --tokens; got {given['points']} from {first:g} to {last:g}."
            )
        if given["points"] > MOST_POINTS:
            raise click.UsageError(
                f"A curve of {given['points']:,} points is more than is planned with ({MOST_POINTS:,}): ask for fewer."
            )
        tokens = np.geomspace(first, last, given["points"])
    missing = [name for name in law.columns if name not in values and not (name == "n_tokens" and tokens is not None)]
    if missing:
        raise click.UsageError(
            f"The {law.title} needs values of {', '.join(law.columns)}; give {', '.join(map(option_of, missing))}."
        )
    return crossed(values, tokens, n_seeds=given["seeds"])


def inputs_planned(law: "Law", given: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    """Values of each input of the law that the options give."""
    values: dict[str, Sequence[float]] = {}
    size = next((name for name in law.columns if name.startswith("n_params")), None)
    rate = next((name for name in law.columns if name in SHARES), None)
    for option, column in (("sizes", size), ("rates", rate)):
        if given[option]:
            if column is None:
                raise click.UsageError(f"The {law.title} has no input for --{option}: it needs {', '.join(law.columns)}.")
            values[column] = given[option]
    for name, numbers in given["vary"]:
        if name not in law.columns:
            raise click.UsageError(f"The {law.title} has no input {name}: it needs {', '.join(law.columns)}.")
        values[name] = numbers
    return values | {name: (given["loss_before"],) for name in ALONE if name in law.columns and name not in values}


def points_from(path: Path, law: "Law", loss_before: float) -> dict[str, Any]:
    """The points of a CSV. Without a column `run`, rows that differ in tokens alone are of one run."""
    import csv

    import numpy as np

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FitError(
            f"Cannot read {path} ({getattr(error, 'strerror', None) or error}): give a CSV of the planned points."
        ) from error
    names = rows[0].keys() if rows else ()
    missing = [name for name in law.columns if name not in names and name not in ALONE]
    if missing:
        raise FitError(f"{path} needs a row for each point, with {', '.join(law.columns)}; {', '.join(missing)} missing.")
    columns = {}
    for name in law.columns:
        texts = [row[name] or "" if name in names else str(loss_before) for row in rows]
        columns[name] = np.array([number_in(text, path, line, name) for line, text in enumerate(texts, 2)])
    if "run" in names:
        return columns | {"run": np.array([row["run"] for row in rows])}
    kinds = np.stack([columns[name] for name in law.columns if name != "n_tokens"], axis=1)
    index = np.unique(kinds, axis=0, return_inverse=True)[1].ravel()
    return columns | {"run": np.array([f"run {number:04d}" for number in index])}


def number_in(text: str, path: Path, line: int, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FitError(f"{path} has {text!r} for {name} in line {line}: a number is needed.") from None


def questions(planned: "Planned", given: Mapping[str, Any]) -> "list[Question]":
    """What the sweep is to answer: the tokens worth spending, or the best size or sparsity, and the loss there; or constants alone."""
    from prunescale.planner import ask_constant

    law = planned.law
    constants = [ask_constant(law, name) for name in given["ask_constant"]]
    said = any(given[name] for name in ("ask_size", "ask_rate", "ask", "ask_tokens", "ask_compute"))
    if constants and not said:
        return constants
    return [*(best_for(planned, given) if given["ask_compute"] is not None else tokens_and_loss(planned, given)), *constants]


def tokens_and_loss(planned: "Planned", given: Mapping[str, Any]) -> "list[Question]":
    from prunescale.planner import ask_loss, ask_tokens
    from prunescale.planner.budget import FARTHEST

    law, asked = planned.law, inputs_asked(planned, given)
    if "n_tokens" not in law.columns:
        return [ask_loss(law, asked, within=given["within_loss"])]
    first, last = float(min(planned.columns["n_tokens"])), float(max(planned.columns["n_tokens"]))
    worth = ask_tokens(law, asked, given["min_gain"], between=(first, FARTHEST * last), within=given["within"])
    tokens = float(worth.of(law)[0])
    there = given["ask_tokens"] or (tokens if tokens < worth.ends[1] else last)
    return [worth, ask_loss(law, {**asked, "n_tokens": there}, within=given["within_loss"])]


def best_for(planned: "Planned", given: Mapping[str, Any]) -> "list[Question]":
    from prunescale.planner import ask_loss, ask_size, ask_sparsity
    from prunescale.planner.optimum import FLOPS_PER_PARAMETER
    from prunescale.planner.planned import size_column

    law, compute = planned.law, given["ask_compute"]
    asked = inputs_asked(planned, given)
    if "sparsity" in law.columns and given["ask_rate"] is None:
        return [ask_sparsity(law, compute, asked["n_params_nonzero"])]
    size = size_column(type(law)) or ""
    best = ask_size(law, compute, {name: value for name, value in asked.items() if name != size}, within=given["within"])
    n_params = float(best.of(law)[0])
    there = {**asked, size: n_params, "n_tokens": compute / (FLOPS_PER_PARAMETER * n_params)}
    return [best, ask_loss(law, there, within=given["within_loss"])]


def inputs_asked(planned: "Planned", given: Mapping[str, Any]) -> dict[str, float]:
    """All inputs but tokens of the model that is asked about: what is given, or else the largest or only value that is planned."""
    asked = dict(given["ask"])
    unknown = [name for name in asked if name not in planned.law.columns]
    if unknown:
        raise click.UsageError(
            f"The {planned.law.title} has no input {', '.join(unknown)}: it needs {', '.join(planned.law.columns)}."
        )
    for name in planned.law.columns:
        option = "ask_size" if name.startswith("n_params") else "ask_rate" if name in SHARES else None
        values = planned.columns[name]
        if option and given[option] is not None:
            asked[name] = float(given[option])
        elif name not in asked and name != "n_tokens":
            if not option and name not in ALONE and min(values) < max(values):
                raise click.UsageError(f"Say which {name} is asked about with --ask {name}=VALUE.")
            asked[name] = float(max(values))
    return asked


def option_of(column: str) -> str:
    return "--sizes" if column.startswith("n_params") else "--rates" if column in SHARES else f"--vary {column}=..."
