"""A fit as a JSON file: what `fit` writes and `plan` reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from prunescale import embedded
from prunescale.errors import FitError
from prunescale.file_names import is_odd
from prunescale.fitting.checks import Check
from prunescale.fitting.metrics import Metrics
from prunescale.fitting.points import Points, weights
from prunescale.fitting.replicate import Replicates
from prunescale.fitting.result import Fit, FitStatus
from prunescale.laws import LAWS, Law
from prunescale.outputs import replaced

FORMAT = "prunescale-fit-2"


def to_dict(fit: Fit) -> dict[str, Any]:
    """The fit in plain types that JSON knows, its points and replicates among them, so that every question can be asked of the file."""
    plain = {f.name: getattr(fit, f.name) for f in fields(fit)}
    return plain | {
        "format": FORMAT,
        "law": fit.law.name,
        "formula": fit.law.formula,
        "constants": fit.law.constants(),
        "status": fit.status.name,
        "status_text": fit.status.value,
        "checks": [asdict(check) for check in fit.checks],
        "phases": None if fit.phases is None else list(fit.phases),
        "fixed": dict(fit.fixed),
        "points": {name: column.tolist() for name, column in fit.points.columns.items()},
        "left_out": dict(fit.points.left_out),
        "metrics": asdict(fit.metrics),
        "at_bound": list(fit.at_bound),
        "void": list(fit.void),
        "standard_errors": dict(fit.standard_errors),
        "replicates": None
        if fit.replicates is None
        else {"method": fit.replicates.method, "constants": fit.replicates.constants.tolist()},
    }


def from_dict(entries: Mapping[str, Any], law: type[Law] | None = None) -> Fit:
    """The fit that `to_dict` described; `law` where it is not one of ours."""
    law = law or LAWS[entries["law"]]
    columns = {name: np.array(values) for name, values in entries["points"].items()}
    replicates = entries["replicates"]
    return Fit(
        law=law.from_constants(entries["constants"]),
        status=FitStatus[entries["status"]],
        checks=tuple(Check(**check) for check in entries["checks"]),
        objective=entries["objective"],
        weighting=entries["weighting"],
        fixed=entries["fixed"],
        min_tokens=entries["min_tokens"],
        phases=None if entries["phases"] is None else tuple(entries["phases"]),
        points=Points(columns, weights(columns, entries["weighting"]), entries["left_out"]),
        cost=entries["cost"],
        metrics=Metrics(**entries["metrics"]),
        at_bound=tuple(entries["at_bound"]),
        void=tuple(entries["void"]),
        standard_errors=entries["standard_errors"],
        share_of_starts=entries["share_of_starts"],
        replicates=replicates and Replicates(np.array(replicates["constants"], dtype=float), replicates["method"]),
    )


def save_fit(fit: Fit, path: str | Path) -> None:
    """Write the fit as JSON, all of it or nothing. Raises StoreError where a store of runs is in that place."""
    with replaced(path) as file:
        file.write_text(json.dumps(to_dict(fit), allow_nan=False) + "\n")


def load_fit(path: str | Path, law: type[Law] | None = None) -> Fit:
    """Read a fit that `save_fit` wrote, or one that comes with prunescale (`embedded:depth`); `law` is needed where it was fitted with a
    law of one's own."""
    if str(path).startswith(embedded.PREFIX):
        path = embedded.fit_file(str(path).removeprefix(embedded.PREFIX))
    if is_odd(path):
        raise FitError(f"Cannot read {path}: it is no ordinary file; give a file that `prunescale fit` wrote.")
    try:
        entries = json.loads(Path(path).read_text())
    except OSError as error:
        raise FitError(f"Cannot read {path}: {error.strerror}; give a file that `prunescale fit` wrote.") from error
    except (ValueError, RecursionError) as error:
        raise FitError(
            f"{path} is not a fit: it is no JSON; give a file that `prunescale fit --out` wrote, or with a store of runs --run."
        ) from error
    named = entries.get("format") if isinstance(entries, dict) else None
    if named != FORMAT:
        raise FitError(f"{path} is not a fit: its format is {named or 'not given'}, not {FORMAT}; fit the runs again.")
    if law is not None and law.name != entries.get("law"):
        raise FitError(f"{path} is a fit of the law {entries.get('law')}, not of {law.name}.")
    if law is None and entries.get("law") not in tuple(LAWS):
        raise FitError(
            f"{path} is a fit of the law {entries.get('law')!r}, which is not built in: say where it is with --law FILE.py:NAME."
        )
    try:
        found = from_dict(entries, law)
        json.dumps(to_dict(found), allow_nan=False)  # which it can be where each entry is of the right type
        return found
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, RecursionError) as error:
        raise FitError(f"{path} is a damaged fit ({error!r}); fit the runs again.") from error
