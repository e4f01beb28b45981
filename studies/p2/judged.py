"""The laws fitted to the runs of the family, and judged on what they had not seen of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from prunescale.fitting import Audit, Fit
from prunescale.runs import Run
from studies.p2.answers import METHODS, Asked, asked, fits, held_out
from studies.p2.decisions import Decisions
from studies.p2.planned import is_of_any
from studies.p2.unseen import ABOVE


@dataclass(frozen=True)
class Judged:
    """What can be asked of the runs, the laws fitted to each, and how they did on what they had not seen."""

    questions: list[Asked]
    fits: list[dict[str, Fit | str]]
    audits: list[Audit]

    @property
    def at_constant_rate(self) -> dict[str, int]:
        """Where each method's question at the constant rate is."""
        return {question.method: place for place, question in enumerate(self.questions) if question.phases == ("constant",)}

    @property
    def audits_by_method(self) -> dict[str, Audit]:
        """At the constant rate."""
        return {method: self.audits[place] for method, place in self.at_constant_rate.items()}

    @property
    def fits_by_method(self) -> dict[str, dict[str, Fit | str]]:
        """Of all laws, at the constant rate."""
        return {method: self.fits[place] for method, place in self.at_constant_rate.items()}

    def fits_of(self, law: str) -> dict[str, Fit]:
        """Those of a law by method, at the constant rate, where it can be fitted."""
        found = {method: of_laws[law] for method, of_laws in self.fits_by_method.items()}
        return {method: each for method, each in found.items() if isinstance(each, Fit)}

    @cached_property
    def decisions(self) -> dict[str, Decisions]:
        """By method, of the two that have several rates."""
        places = self.at_constant_rate
        return {method: Decisions.of(self.questions[places[method]]) for method in ("depth", "width") if method in places}


def judged(runs: Sequence[Run], n: int = 200) -> Judged:
    """All but the size above the family, which no fit sees. n: refits for each interval."""
    runs = [run for run in runs if not is_of_any(ABOVE, run)]
    questions = [
        asked(runs, method, phase)
        for method in METHODS
        if any(run.pruning_method == METHODS[method] for run in runs)
        for phase in ("constant", "annealed")
    ]
    return Judged(questions, [fits(question, n=n) for question in questions], [held_out(question, n=n) for question in questions])
