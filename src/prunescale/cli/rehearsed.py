"""How `prunescale rehearse` shows what a planned sweep would say: the verdict first."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from prunescale.planner import Improvement, Rehearsal
    from prunescale.planner.questions import Question
    from prunescale.planner.rehearsal import Answered, Spread

HEADS = {
    "ANSWERS": "This sweep answers: {}.",
    "COARSE": "This sweep answers only coarsely: {}.",
    "CANNOT": "This sweep cannot answer: {}.",
}


def content(rehearsal: "Rehearsal", helpful: "Sequence[Improvement]") -> dict[str, Any]:
    """All of it in plain types, for JSON."""
    from dataclasses import asdict

    planned = rehearsal.planned
    return {
        "verdict": rehearsal.verdict.name.lower(),
        "verdict_text": rehearsal.verdict.value,
        "gaps": [asdict(gap) for gap in rehearsal.gaps],
        "answers": [answer_content(answered) for answered in rehearsal.answers],
        "constants": {
            name: {**spread_content(spread), "share_at_bound": rehearsal.at_bound[name]}
            for name, spread in rehearsal.constants.items()
        },
        "share_any_at_bound": rehearsal.any_at_bound,
        "improvements": [asdict(each) | {"verdict": each.verdict.name.lower()} for each in helpful],
        "law": planned.law.name,
        "assumed": planned.law.constants(),
        "fixed": dict(planned.fixed),
        "objective": planned.objective,
        "noise": asdict(planned.noise),
        "n_runs": planned.n_runs,
        "n_points": planned.n_points,
        "n_tokens": planned.n_tokens,
        "flops": planned.flops,
        "studies": rehearsal.n_studies,
        "seed": rehearsal.seed,
    }


def answer_content(answered: "Answered") -> dict[str, Any]:
    question, spread = answered.question, answered.spread
    return {
        "question": question.words,
        "rule": question.rule,
        "unit": question.unit,
        "verdict": answered.verdict.name.lower(),
        "as_ratio": question.as_ratio,
        "asked_within": question.within,
        "within": answered.error,
        **(spread_content(spread) if spread else {}),
    }


def spread_content(spread: "Spread") -> dict[str, Any]:
    return {
        "truth": spread.truth,
        "low": spread.low,
        "median": spread.median,
        "high": spread.high,
        "factor": spread.factor,
        "median_relative_error": spread.median_relative_error,
    }


def show(rehearsal: "Rehearsal", helpful: "Sequence[Improvement]") -> None:
    from prunescale.cli.output import print_facts, print_paragraph

    click.secho(HEADS[rehearsal.verdict.name].format(rehearsal.main.question.words), bold=True)
    for paragraph in remarks(rehearsal):
        print_paragraph(paragraph)
    click.echo()
    print_facts(facts(rehearsal))
    if not rehearsal.gaps:
        show_answers(rehearsal)
        show_constants(rehearsal)
    if helpful:
        show_help(helpful, rehearsal.main.question)


def remarks(rehearsal: "Rehearsal") -> list[str]:
    """What the verdict means here."""
    if rehearsal.gaps:
        return [gap_words(rehearsal)]
    found = [rehearsal.verdict.value]
    main, *others = rehearsal.answers
    known = next((each for each in others if each.question.unit == "nats" and each.verdict.name == "ANSWERS"), None)
    if main.question.as_ratio and main.verdict.name != "ANSWERS" and known:
        found.append(
            f"The {known.question.words} would be known to {known.error:.2g} nats, and yet this answer goes from {span_of(main)}: "
            "a law may fit well and predict the loss well, and still not say when to stop."
        )
    found += [
        f"The {each.question.words} would be known to {nearness(each.question, each.error)} only; asked for: "
        f"{nearness(each.question, each.question.within)}."
        for each in others
        if each.verdict.name != "ANSWERS"
    ]
    return found


def gap_words(rehearsal: "Rehearsal") -> str:
    law, gaps = rehearsal.planned.law, rehearsal.gaps
    open_constants = ", and ".join(gap.constants for gap in gaps)
    fixes = " ".join(f"--fix {name}={value:g}" for gap in gaps for name, value in gap.fix.items())
    return (
        f"However little noise there is, the {law.title} cannot be fitted to {' and '.join(gap.got for gap in gaps)}: {open_constants} "
        f"would not be identified. Add {' and '.join(gap.add for gap in gaps)}"
        + (f", or hold constants, for example {fixes}." if fixes else ".")
    )


def facts(rehearsal: "Rehearsal") -> dict[str, str]:
    from prunescale.amounts import short

    planned, noise = rehearsal.planned, rehearsal.planned.noise
    cost = f", {short(planned.n_tokens)} tokens" if planned.n_tokens else ""
    cost += f", {planned.flops:.3g} FLOPs" if planned.flops and planned.n_tokens else ""
    asked = [f"{each.question.words}, {each.question.rule}" for each in rehearsal.answers if each.question.rule]
    shown = {
        **({"Asked": "; ".join(asked)} if asked else {}),
        "Sweep": f"{planned.n_runs} runs, {planned.n_points} points{cost}",
        "Law": f"{planned.law.title}, with the constants below assumed to be true",
        "Noise": f"{percent(noise.between_runs)} of the loss between runs, {percent(noise.within_run)} within a run "
        f"(correlation of neighbours {noise.correlation:g})",
    }
    if planned.fixed:
        shown["Held"] = ", ".join(f"{name}={value:g}" for name, value in planned.fixed.items())
    if not rehearsal.gaps:
        shown["Studies"] = (
            f"{rehearsal.n_studies}, drawn and fitted; in {100 * rehearsal.any_at_bound:.0f} % of them a constant ended at a bound"
        )
    return shown


def show_answers(rehearsal: "Rehearsal") -> None:
    from prunescale.cli.output import print_table

    headings = ["question", "truth", "median", "5 to 95 %", "high/low", "90 % within", "asked", "verdict"]
    click.echo()
    print_table("Answers", headings, [answer_row(answered) for answered in rehearsal.answers])


def answer_row(answered: "Answered") -> list[str]:
    question, spread = answered.question, answered.spread
    assert spread is not None
    return [
        question.words,
        value_of(question, spread.truth),
        value_of(question, spread.median),
        span_of(answered),
        multiple(spread.factor) if question.as_ratio else "-",
        nearness(question, answered.error),
        nearness(question, question.within),
        answered.verdict.name.lower(),
    ]


def show_constants(rehearsal: "Rehearsal") -> None:
    from prunescale.cli.output import print_table

    rows = [
        [
            name,
            f"{spread.truth:.4g}",
            f"{spread.median:.4g}",
            f"{spread.low:.4g} to {spread.high:.4g}",
            "-" if spread.median_relative_error is None else percent(spread.median_relative_error),
            f"{100 * rehearsal.at_bound[name]:.0f} %",
        ]
        for name, spread in rehearsal.constants.items()
    ]
    click.echo()
    print_table("Constants", ["constant", "assumed", "median", "5 to 95 %", "median error", "at a bound"], rows)


def show_help(helpful: "Sequence[Improvement]", question: "Question") -> None:
    from prunescale.amounts import short
    from prunescale.cli.output import print_paragraph, print_table

    rows = [
        [
            each.words,
            nearness(question, each.error),
            each.verdict.name.lower(),
            gain_words(each),
            "-" if each.extra_tokens is None else short(each.extra_tokens),
            "-" if each.extra_flops is None else f"{each.extra_flops:.2g}",
            "-" if each.extra_share is None else f"+{percent(each.extra_share)}",
        ]
        for each in helpful
    ]
    click.echo()
    headings = ["change", "90 % within", "verdict", "error smaller by", "more tokens", "more FLOPs", "cost"]
    print_table(f"What would help with {question.words}, best for its cost first", headings, rows)
    kind = "of its logarithm; " if question.as_ratio else ""
    print_paragraph(
        f"Error smaller by a factor, {kind}in brackets its 90 % interval, since only some studies were drawn for each change."
    )


def gain_words(each: "Improvement") -> str:
    if not isfinite(each.error):
        return "-"
    if not isfinite(each.gain):
        return "from no answer to one"
    return f"{each.gain:.2f} ({each.gain_interval[0]:.2f} to {each.gain_interval[1]:.2f})"


def value_of(question: "Question", value: float) -> str:
    """A loss or a constant with four decimals, other answers as large numbers; one at an end lies there or beyond."""
    from prunescale.amounts import short

    if not question.as_ratio:
        return f"{value:.4f}"
    low, high = question.ends
    return short(value) + (" or fewer" if value <= low else " or more" if value >= high else "")


def span_of(answered: "Answered") -> str:
    spread = answered.spread
    assert spread is not None
    return f"{value_of(answered.question, spread.low)} to {value_of(answered.question, spread.high)}"


def nearness(question: "Question", error: float) -> str:
    if not isfinite(error):
        return "cannot be fitted"
    return f"factor {multiple(error)}" if question.as_ratio else f"{error:.2g} {question.unit}".rstrip()


def multiple(factor: float) -> str:
    from prunescale.amounts import short

    return short(factor) if isfinite(factor) else "unbounded"


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"
