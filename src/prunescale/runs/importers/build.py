"""Curves into runs: the phases, what nobody knows left unknown, and an id that is made of what is in the run."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prunescale.errors import StoreError
from prunescale.runs.check import check
from prunescale.runs.export import without_empty
from prunescale.runs.importers.formula import listed
from prunescale.runs.importers.gather import SHOWN, Curve, Faults, Measured, gather
from prunescale.runs.importers.opening import refuse_odd
from prunescale.runs.importers.phases import RULE, phases_of
from prunescale.runs.importers.rows import BadRow, Source
from prunescale.runs.importers.wishes import Plan, Wishes, plan
from prunescale.runs.record import Phase, Point, Run

RUN_FIELDS = {field.name for field in fields(Run)}


@dataclass(frozen=True)
class Imported:
    """The runs; what was derived or left out, in words; how many rows there were, and how many were skipped for which reason."""

    runs: list[Run]
    notes: list[str]
    n_rows: int
    skipped: dict[str, int]


def import_runs(reader: Callable[[Path], Source], path: Path, wishes: Wishes) -> Imported:
    """The runs in someone else's file. Raises StoreError for what is missing, and for bad rows unless they are to be skipped."""
    refuse_odd(path)
    source = reader(path)
    wanted = plan(wishes, source)
    curves, faults, n_rows = gather(source, wanted)
    curves = _without_repeats(curves, wanted, faults)
    if faults.reasons and not wishes.skip_bad_rows:
        raise StoreError(_complaint(source.path, faults, n_rows))
    measured = [curve for curve in curves if curve.points]
    if not measured:
        loss = wanted.columns["loss"].theirs.text
        raise StoreError(f"{source.path} has no usable row with {loss}: nothing was imported.{_first(faults)}")
    notes = [*wanted.notes, *_left_out(curves, wanted)]
    runs = [_run(curve, wanted, source) for curve in measured]
    if wanted.phase is None and "phase" not in wanted.columns:
        counts = Counter(point.phase for run in runs for point in run.points)
        notes.append(
            f"Phases from the learning rates ({RULE}): {', '.join(f'{n} {phase}' for phase, n in counts.items())} points."
        )
    if inputs := sorted({name for run in runs for name in run.inputs}):
        notes.append(f"Kept as further inputs of laws, since they are no fields of a run: {', '.join(inputs)}.")
    return Imported(runs, notes, n_rows, dict(faults.reasons))


def _complaint(path: Path, faults: Faults, n_rows: int) -> str:
    n_bad = faults.reasons.total()
    more = f"; and {n_bad - SHOWN} more" if n_bad > SHOWN else ""
    return (
        f"{path}: {n_bad} of {n_rows} rows {'is' if n_bad == 1 else 'are'} bad and nothing was imported: "
        f"{'; '.join(faults.first)}{more}. Mend the file, or leave them out with --skip-bad-rows."
    )


def _first(faults: Faults) -> str:
    return f" The first bad one is {faults.first[0]}." if faults.first else ""


def _left_out(curves: list[Curve], wanted: Plan) -> list[str]:
    empty = [" ".join(curve.labels) or "the only one" for curve in curves if not curve.points]
    if not empty:
        return []
    return [f"Left out, since they have no usable {wanted.columns['loss'].theirs.text}: {listed(empty, SHOWN)}."]


def _without_repeats(curves: list[Curve], wanted: Plan, faults: Faults) -> list[Curve]:
    """Where each row is a run, two that are the same would be one run counted twice."""
    if wanted.run is not None:
        return curves
    seen: dict[Any, str] = {}
    kept = []
    for curve in curves:
        if not curve.points:
            continue
        (point,) = curve.points
        content = (point.n_tokens, point.loss, *sorted((name, value) for name, (value, _) in curve.of_run.items()))
        if content in seen:
            faults.add(point.where, "", BadRow("repeated", f"is the same as {seen[content]}"))
        else:
            seen[content] = point.where
            kept.append(curve)
    return kept


def _run(curve: Curve, wanted: Plan, source: Source) -> Run:
    given = {**wanted.constants, **{name: value for name, (value, _) in curve.of_run.items()}}
    rate = given.pop("learning_rate", None)
    label = " ".join(curve.labels)
    name = str(given.pop("name", "") or (label if wanted.run else f"{source.title or source.path.stem} {label}".strip()))
    points = tuple(
        Point(point.n_tokens, point.loss, rate if point.learning_rate is None else point.learning_rate, phase, point.seconds)
        for point, phase in zip(curve.points, _phases(curve, wanted, name), strict=True)
    )
    inputs = {key: float(given.pop(key)) for key in sorted(given.keys() - RUN_FIELDS)}
    values = {"base": name, "seconds": points[-1].seconds, **UNKNOWN, **given}
    run = Run(id="", created="", kind=wanted.kind, name=name, **values, inputs=inputs, points=points)
    run = Run(**{**vars(run), "id": _identity(run, curve.labels if wanted.run else ()), "created": _now()})
    check(run)
    return run


UNKNOWN: dict[str, Any] = {
    field.name: None
    for field in fields(Run)
    if field.name not in ("id", "created", "kind", "name", "base", "seconds", "inputs", "n_params_left", "points")
} | {"recipe": {}, "versions": {}}


def _identity(run: Run, labels: tuple[str, ...]) -> str:
    """The same for the same content, so that what was imported already is found to be there. The name of the file is not in it."""
    content = without_empty(asdict(run)) | {"points": [without_empty(asdict(point)) for point in run.points]}
    for name in ("id", "created", "name"):
        del content[name]
    return hashlib.sha256(json.dumps([content, labels], sort_keys=True).encode()).hexdigest()[:12]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _phases(curve: Curve, wanted: Plan, name: str) -> list[Phase]:
    """Of each point: as given, else by the learning rates. Before any token was seen it is always `before`."""
    given = [wanted.phase or point.phase for point in curve.points]
    derived = None if all(given) else phases_of(curve.rates)
    if derived is None and not all(given):
        raise StoreError(
            f"Run {name!r} has too few learning rates to tell its phases by ({len(curve.rates)}; two are the least): "
            "give --phase warm-up, constant or decay."
        )
    return [_phase(point, phase, derived) for point, phase in zip(curve.points, given, strict=True)]


def _phase(point: Measured, given: Phase | None, derived: list[Phase] | None) -> Phase:
    if point.n_tokens == 0:
        return "before"
    if given or not derived:
        assert given
        return given
    return derived[max(point.n_rates - 1, 0)]  # a point before the first rate takes that one's
