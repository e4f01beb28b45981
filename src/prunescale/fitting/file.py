"""A fit as a JSON file: what `fit` writes and `plan` reads."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from prunescale.errors import FitError
from prunescale.fitting.result import Fit, FitStatus, Refit
from prunescale.laws import LAWS

FORMAT = "prunescale-fit-1"


def to_dict(fit: Fit) -> dict[str, Any]:
    """The fit in plain types that JSON knows."""
    plain = {f.name: getattr(fit, f.name) for f in fields(fit)}
    return plain | {
        "format": FORMAT,
        "law": fit.law.name,
        "formula": fit.law.formula,
        "constants": fit.law.constants(),
        "status": fit.status.name,
        "status_text": fit.status.value,
        "notes": list(fit.notes),
        "phases": None if fit.phases is None else list(fit.phases),
        "fixed": dict(fit.fixed),
        "ranges": {name: list(ends) for name, ends in fit.ranges.items()},
        "refits": [{"left_out": refit.left_out, "constants": refit.law.constants()} for refit in fit.refits],
    }


def from_dict(entries: Mapping[str, Any]) -> Fit:
    """The fit that `to_dict` described."""
    law = LAWS[entries["law"]]
    plain = {f.name: entries[f.name] for f in fields(Fit)}
    return Fit(
        **plain
        | {
            "law": law.from_constants(entries["constants"]),
            "status": FitStatus[entries["status"]],
            "notes": tuple(entries["notes"]),
            "phases": None if entries["phases"] is None else tuple(entries["phases"]),
            "ranges": {name: (low, high) for name, (low, high) in entries["ranges"].items()},
            "refits": tuple(Refit(r["left_out"], law.from_constants(r["constants"])) for r in entries["refits"]),
        }
    )


def save_fit(fit: Fit, path: str | Path) -> None:
    """Write the fit as JSON."""
    Path(path).write_text(json.dumps(to_dict(fit), indent=2, allow_nan=False) + "\n")


def load_fit(path: str | Path) -> Fit:
    """Read a fit that `save_fit` wrote."""
    try:
        entries = json.loads(Path(path).read_text())
    except OSError as error:
        raise FitError(f"Cannot read {path}: {error.strerror}; give a file that `prunescale fit` wrote.") from error
    except ValueError as error:
        raise FitError(f"{path} is not a fit: it is no JSON; give a file that `prunescale fit` wrote.") from error
    found = entries.get("format") if isinstance(entries, dict) else None
    if found != FORMAT:
        raise FitError(f"{path} is not a fit: its format is {found or 'not given'}, not {FORMAT}; fit the runs again.")
    try:
        return from_dict(entries)
    except (KeyError, TypeError, ValueError) as error:
        raise FitError(f"{path} is a damaged fit ({error!r}); fit the runs again.") from error
