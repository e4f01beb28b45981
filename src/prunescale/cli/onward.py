"""prunescale plan --run: how a run under way, or one that has ended, would go on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunescale.planner import Onward

OVER = {"loss_control": "its control", "loss_before": "the loss before pruning"}
NO_CONTROL = (
    "The runs hold no control of it, the same training of its base without pruning: the excess is over the loss before pruning, which "
    "further training lowers too."
)


def plan_run(source: str, wanted: str, min_gain: float, tokens: int | None, as_json: bool) -> None:
    """Print how the run that is wanted goes on, by the end of its own curve."""
    from dataclasses import asdict

    from prunescale.cli.output import print_checks, print_facts, print_json
    from prunescale.fitting import Check

    name, found, over = onward_of(source, wanted)
    worth, between = found.worth(min_gain), found.worth_interval(min_gain)
    asked = float(tokens or worth)
    checks = [] if over == "loss_control" else [Check("no-control", NO_CONTROL)]
    if (times := max(worth, asked) / found.n_tokens) > FAR:
        checks.append(Check("far", f"The answer lies {times:.3g} times beyond the tokens that the run has had. {NO_FLOOR}"))
    if found.exponent <= 0:
        checks.append(Check("drift", "The end of the curve does not fall: is its learning rate too high?"))
    if as_json:
        answer = {
            "run": name,
            "over": over,
            **asdict(found),
            "excess": found.excess,
            "min_gain": min_gain,
            "tokens": worth,
            "tokens_interval": between,
        }
        forecast = {"tokens": asked, "excess": found.at(asked), "excess_interval": found.interval_at(asked)}
        print_json({**answer, "forecast": forecast, "checks": [asdict(check) for check in checks]})
        return
    print_facts({"Run": name, **facts(found, over, min_gain, asked)})
    print_checks(checks)


def facts(found: "Onward", over: str, min_gain: float, asked: float) -> dict[str, str]:
    from prunescale.amounts import short
    from prunescale.cli.output import span

    worth, (fewest, most) = found.worth(min_gain), found.worth_interval(min_gain)
    low, high = found.interval_at(asked)
    had, missed = short(found.n_tokens), 100 * (2.0**found.wobble - 1)
    more = f"{short(worth)} (90 % interval: {span((fewest, most))})"
    enough = f"the {had} that it has had" + ("" if most <= found.n_tokens else f", or up to {short(most)} (90 % interval)")
    at_asked = {f"Excess at {short(asked)}": f"{found.at(asked):.4f} ({low:.4f} to {high:.4f}) nats over {OVER[over]}"}
    return {
        "So far": f"{found.excess:.4f} nats over {OVER[over]} after {had} tokens, {falling(found.exponent)}",
        "Tokens worth spending": more if worth > found.n_tokens else enough,
        "Why there": f"from there on a doubling more wins back less than {min_gain:g} nats",
        **(at_asked if asked != found.n_tokens else {}),
        "By": "the end of its own curve; from its earlier points so, later ones were told with an error of "
        f"{missed:.2g} % of the excess a doubling ({found.n_tried} tries)",
    }


SHOWN = 4  # names of runs that could be meant
FAR = 3.0  # times the tokens that a run has had: as far as ends of curves were tried on
NO_FLOOR = "It is that of a power law, which falls to nothing: with a floor under the curve fewer tokens are worth it."


def falling(exponent: float) -> str:
    if abs(exponent) < 0.005:
        return "not falling"
    return f"{'falling' if exponent > 0 else 'rising'} as tokens^{-exponent:.2f}"


def onward_of(source: str, wanted: str) -> "tuple[str, Onward, str]":
    """The name of the run, how it goes on, and what its excess is over. Raises StoreError where no run, or more than one, is meant."""
    import numpy as np

    from prunescale.cli.fit import table_from
    from prunescale.errors import StoreError
    from prunescale.planner import onward

    names, table = table_from(source)
    meant = [id for id, name in names.items() if name == wanted]
    meant = meant or [id for id, name in names.items() if wanted in name or id.startswith(wanted)]
    if len(meant) != 1:
        some = ", ".join(sorted({names[id] for id in meant})[:SHOWN])
        what = f"No run in {source} has" if not meant else f"{len(meant)} runs in {source} have"
        raise StoreError(
            f"{what} {wanted!r} in the name or at the beginning of the id{f' ({some} ...)' if some else ''}: "
            "give the name of one (prunescale runs list)."
        )
    here = (table["run"] == meant[0]) & (table["phase"] == "constant") & (table["n_tokens"] > 0)
    over = "loss_control" if np.isfinite(table["loss_control"][here]).any() else "loss_before"
    known = here & np.isfinite(table[over])
    return names[meant[0]], onward(table["n_tokens"][known], (table["loss"] - table[over])[known]), over


def refuse_others(given: Mapping[str, Any]) -> None:
    """Raise a usage error for options that are of a law where a run is asked for."""
    import click

    if others := [option for option, value in given.items() if value]:
        raise click.UsageError(f"--run goes by the run's own curve: leave out {', '.join(others)}.")
