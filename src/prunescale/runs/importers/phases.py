"""Where the schedule stood at each point, from the learning rates that were logged."""

from collections.abc import Sequence

from prunescale.runs.record import Phase

SAME = 1e-6
"""Relative difference up to which two rates are the same: logs keep seven digits or more."""

RULE = "rising: warm-up; at its highest and the same as before: constant; all else: decay"


def phases_of(rates: Sequence[float]) -> list[Phase] | None:
    """The phase of each of the rates of a run, in the order of training; None where there are too few to tell (fewer than two).

    A rate is compared with the one before it, the first with the one after it. Higher: warm-up. The same: constant at the highest
    rate of the run; below it, what came before goes on (a warm-up in stairs, the flat end of a decay). Lower: decay.
    """
    if len(rates) < 2:
        return None
    highest = max(rates)
    phases: list[Phase] = []
    for index, rate in enumerate(rates):
        before, after = (rates[index - 1], rate) if index else (rate, rates[1])
        if abs(after - before) <= SAME * max(before, after):
            at_top = rate >= highest * (1 - SAME)
            phases.append("constant" if at_top else phases[-1] if phases else _of_start_below(rates))
        else:
            phases.append("warm-up" if after > before else "decay")
    return phases


def _of_start_below(rates: Sequence[float]) -> Phase:
    """Of a flat start below the highest rate: that rate is still to come."""
    return "warm-up" if max(rates) > rates[0] else "constant"
