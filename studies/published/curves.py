"""Training curves of single models: is their end foretold by E + B/D^beta, fitted to the first 80 % of the tokens?

A formula of one size: Hoffmann et al. 2022, arXiv:2203.15556, eq. 2, whose term of the size joins E.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from prunescale.fitting import AuditRow, Fit, audit
from prunescale.laws import Bound, own_law
from studies.published.curve_files import curves
from studies.published.markdown import codes, percent, signed, status, table

FROM = (0.01, 0.1)  # share of the tokens before which points are left out
LAST_VALUE = "last value carried on"


def curve(n_tokens: Any, E: Any, B: Any, beta: Any) -> Any:
    """E + B/D^beta"""
    return E + B * n_tokens**-beta


CurveLaw = own_law(
    curve,
    {
        "E": Bound(0.0, 20.0, start=(0.5, 3.0), role="loss on unlimited data"),
        "B": Bound(1e-4, 1e14, start=(1e0, 1e6), log=True, role="what more tokens can win"),
        "beta": Bound(0.0, 3.0, start=(0.05, 1.0), role="its exponent"),
    },
    name="curve",
    title="law of one curve",
    source="Hoffmann et al. 2022, arXiv:2203.15556, eq. 2, for one size",
)


@dataclass(frozen=True)
class Foretold:
    """The fit to a whole curve from `start` (a share of its tokens) on, and what a fit to the first 80 % says of the rest."""

    start: float
    full: Fit
    law: AuditRow
    last: AuditRow

    @property
    def bias(self) -> float:
        """Mean error over the mean held-out loss, nearly."""
        return self.law.score.bias / float(np.mean(self.full.points.loss[-self.law.score.n_points :]))


@cache
def foretold(name: str, start: float) -> Foretold:
    table = curves()[name]
    found = audit(
        [CurveLaw],
        table,
        objective="squared-log",
        phases=None,
        min_tokens=start * float(table["n_tokens"].max()),
        holdouts=("tokens",),
        n_replicates=100,
    )
    law, last = (found.row("tokens", which) for which in ("curve", LAST_VALUE))
    assert law is not None
    assert last is not None
    return Foretold(start, found.fits["curve"], law, last)


def groups() -> dict[str, list[str]]:
    """The curves that one line of the table speaks of: seeds of a model together."""
    found: dict[str, list[str]] = {}
    for name in curves():
        found.setdefault(name.partition(", seed")[0], []).append(name)
    return found


def wins(start: float) -> int:
    """For how many curves the law is nearer than the last value."""
    return sum(foretold(name, start).law.score.error < foretold(name, start).last.score.error for name in curves())


def section() -> str:
    lines = []
    for name, members in groups().items():
        each = {start: [foretold(member, start) for member in members] for start in FROM}
        last = np.mean([one.last.score.error for one in each[FROM[0]]])
        better = [np.mean([one.law.score.error for one in some]) < last for some in each.values()]
        all_of_them = [one for some in each.values() for one in some]
        lines.append(
            [
                name + (f", {len(members)} seeds" if len(members) > 1 else ""),
                str(sum(one.full.n_points for one in each[FROM[0]])),
                *(cell for some in each.values() for cell in (_error(some), _inside(some))),
                percent(float(last)),
                "law" if all(better) else "open" if any(better) else "last value",
                *(f"{np.mean([one.full.law.constants()['E'] for one in some]):.3f}" for some in each.values()),
                "; ".join(dict.fromkeys(status(one.full) for one in all_of_them)),
                codes(check for one in all_of_them for check in (*one.full.checks, *one.law.doubts)),
            ]
        )
    first, second = (f"{100 * start:.0f} %" for start in FROM)
    n_first, n_second = (wins(start) for start in FROM)
    head = ["curve", "points", f"from {first}", "inside", f"from {second}", "inside", LAST_VALUE, "better"]
    head += [f"E, from {first}", f"E, from {second}", "status", "checks"]
    return f"""## Training curves: {len(curves())} of single models

E + B/D^beta fitted to the first 80 % of the tokens (`squared-log`), without the first {first} or {second} of them: mean absolute error
of the loss over the last 20 %, in brackets the bias; share of those points inside the law's own 90 % interval; and the last value
carried on. "Better": which of the two is, whatever is left out at first. The law is nearer in {n_first} of {len(curves())} curves
from {first} on, and in {n_second} from {second} on. Seeds of a model share a line, with means over them.

{table(head, lines)}
"""


def _error(some: list[Foretold]) -> str:
    return (
        f"{percent(float(np.mean([one.law.score.error for one in some])))} ({signed(float(np.mean([one.bias for one in some])))})"
    )


def _inside(some: list[Foretold]) -> str:
    return percent(float(np.mean([one.law.inside for one in some if one.law.inside is not None])), 0)
