"""prunescale audit"""

from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options

if TYPE_CHECKING:
    from prunescale.fitting import Audit, AuditRow
    from prunescale.laws import Law

HOLDOUTS = {
    "checkpoints": "the last fifth of each run's points",
    "tokens": "points beyond 80 % of their run's tokens",
    "size": "the largest model",
    "rate": "the highest pruning rate or sparsity",
    "size-and-rate": "the largest model and the highest rate",
    "run": "each run in turn",
    "tenfold": "points beyond a tenth of their run's tokens",
}
LEGEND = (
    "error, largest: mean and largest absolute error of the loss, relative to it. of excess: mean absolute error relative to the "
    "excess, {excess}. bias: mean of predicted minus measured, RMSE: root mean square of it, nats per token. ASD: mean "
    "absolute error of the slope between consecutive points, nats per million tokens; of slope: that over the mean measured "
    "slope. inside: share within the law's own 90 % predictive interval. +: the law carried on from the last point of each curve."
)


def asked(command: Any) -> Any:
    """What `audit` and `compare` share: which laws, on which points of which runs, tested how."""
    for option in reversed(
        (
            click.argument("source"),
            click.option(
                "--law",
                "laws",
                multiple=True,
                help="A law by its name, or your own as FILE.py:FUNCTION; may be repeated. [default: all whose columns the runs have]",
            ),
            click.option(
                "--fix",
                type=options.SETTING,
                multiple=True,
                metavar="[LAW:]NAME=VALUE",
                help="Hold a constant at a value, in one law or in all that have it; may be repeated.",
            ),
            options.points,
            click.option(
                "--holdout",
                "holdouts",
                type=click.Choice(tuple(HOLDOUTS)),
                multiple=True,
                help="What to hold out; may be repeated. [default: all but tenfold, as far as the runs allow]",
            ),
        )
    ):
        command = option(command)
    return command


@click.command(short_help="Test laws on points that they have not seen.")
@asked
@click.option(
    "--studies",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Refits for the predictive intervals; 0 for none.",
)
@options.as_json
def audit(studies: int, as_json: bool, **question: Any) -> None:
    """Refit laws without some of the points of SOURCE, and table their errors on those.

    SOURCE is a store (runs.db), or exported runs (.json or .csv). Every law is judged on the same points.
    """
    from prunescale.cli.output import print_checks, print_json

    found, left_out, names = audited(question, studies, as_json)
    if as_json:
        print_json({**content(found), "laws_left_out": left_out})
        return
    print_points(found, left_out)
    for holdout in dict.fromkeys(row.holdout for row in found.rows):
        print_holdout(holdout, [row for row in found.rows if row.holdout == holdout])
    print_skipped(found, names)
    print_checks(found.checks)
    print_legend(found)


def audited(question: dict[str, Any], studies: int, quiet: bool) -> "tuple[Audit, dict[str, str], dict[str, str]]":
    """The audit asked for, the laws that were not, by name, with the reason, and the runs' names by their ids."""
    from dataclasses import replace

    from prunescale.cli.fit import mixed_methods, phases_named, table_from
    from prunescale.cli.output import stages
    from prunescale.fitting import USUAL
    from prunescale.fitting import audit as audit_laws

    names, table = table_from(question["source"], question["base"], question["methods"])
    phases, min_tokens = phases_named(question["phases"]), question["min_tokens"] or 0
    laws, left_out = laws_for(question["laws"], table, min_tokens, phases)
    with stages(quiet) as tell:
        found = audit_laws(
            laws,
            table,
            fixed=fixed_by_law(question["fix"], laws),
            objective=question["objective"],
            weighting=question["weighting"] or "runs",
            min_tokens=min_tokens,
            phases=phases,
            holdouts=question["holdouts"] or USUAL,
            n_replicates=studies,
            tell=tell,
        )
    return replace(found, checks=(*found.checks, *mixed_methods(table, found.points.columns["run"]))), left_out, names


def laws_for(
    names: tuple[str, ...], table: Any, min_tokens: float, phases: tuple[str, ...] | None
) -> "tuple[list[type[Law]], dict[str, str]]":
    """The laws of these names, or all of ours that the table allows, with the reasons against the others."""
    from prunescale.cli.fit import law_named
    from prunescale.errors import FitError
    from prunescale.fitting import allowed
    from prunescale.laws import LAWS

    if names:
        return [law_named(name) for name in dict.fromkeys(names)], {}
    laws, left_out = allowed(list(LAWS.values()), table, min_tokens=min_tokens, phases=phases)
    if not laws:
        raise FitError("These runs have no points that any law could use; see --phases and --min-tokens.")
    return laws, left_out


def fixed_by_law(settings: tuple[tuple[str, float], ...], laws: "list[type[Law]]") -> dict[str, dict[str, float]]:
    """E=0 holds for every law that has E; p2:E=0 for one law."""
    from prunescale.errors import FitError

    fixed: dict[str, dict[str, float]] = {law.name: {} for law in laws}
    for setting, value in settings:
        law_name, _, name = setting.rpartition(":")
        having = [law for law in laws if name in law.bounds and law_name in ("", law.name)]
        if not having:
            raise FitError(f"No constant {setting} to fix in {', '.join(law.name for law in laws)}.")
        for law in having:
            fixed[law.name][name] = value
    return fixed


def content(found: "Audit") -> dict[str, Any]:
    """An audit in plain types."""
    from dataclasses import asdict

    return {
        "n_points": len(found.points.loss),
        "n_runs": found.points.n_runs,
        "left_out": dict(found.points.left_out),
        "excess_over": found.over,
        "rows": [asdict(row) for row in found.rows],
        "fits": {
            name: {"constants": fit.law.constants(), "status": fit.status.name, "fixed": dict(fit.fixed)}
            for name, fit in found.fits.items()
        },
        "skipped": [asdict(each) for each in found.skipped],
        "checks": [asdict(check) for check in found.checks],
    }


def print_points(found: "Audit", left_out: dict[str, str]) -> None:
    from prunescale.cli.output import print_paragraph

    points = found.points
    aside = "; ".join(f"{n} set aside, {reason}" for reason, n in points.left_out.items())
    print_paragraph(
        f"{len(points.loss)} points of {points.n_runs} runs that all the laws can use" + (f" ({aside})." if aside else ".")
    )
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        print_paragraph(f"Not asked, as {reason}: {', '.join(names)}.")
    click.echo()


def print_holdout(holdout: str, rows: "list[AuditRow]") -> None:
    from prunescale.cli.output import print_paragraph, print_table

    first = rows[0].score
    runs = "1 run" if first.n_runs == 1 else f"{first.n_runs} runs"
    click.secho(f"{holdout}: {HOLDOUTS[holdout]}", bold=True)
    print_paragraph(f"{first.n_points} points of {runs}{farthest(rows)}")
    print_table(
        "",
        ["law", "error", "largest", "of excess", "bias", "RMSE", "ASD", "of slope", "inside"],
        [
            [
                row.law,
                share(row.score.error),
                share(row.score.largest_error),
                share(row.score.excess_error),
                nats(row.score.bias, sign=True),
                nats(row.score.rmse),
                nats(row.score.asd),
                share(row.score.slope_error),
                "-" if row.inside is None else f"{100 * row.inside:.0f} %",
            ]
            for row in rows
        ],
    )
    click.echo()


def farthest(rows: "list[AuditRow]") -> str:
    """How far what was held out lies outside what was fitted, in words."""
    factors = {name: factor for row in rows for name, factor in row.distance.items() if factor > 1}
    return (
        "; beyond what was fitted: " + ", ".join(f"{name} {factor:.3g} times" for name, factor in factors.items())
        if factors
        else ""
    )


def print_skipped(found: "Audit", names: dict[str, str]) -> None:
    """What could not be held out, laws of the same reason together."""
    from prunescale.cli.output import print_paragraph

    together: dict[tuple[str | None, str], list[str]] = {}
    for each in found.skipped:
        who = (
            [] if each.law is None else [each.law if each.run is None else f"{each.law} without {names.get(each.run, each.run)}"]
        )
        together.setdefault((each.holdout, each.reason), []).extend(who)
    for (holdout, reason), laws in together.items():
        what = ", ".join([*([holdout] if holdout else []), *laws])
        print_paragraph(f"Skipped: {what}: {reason}", first="- ", rest="  ")


def print_legend(found: "Audit") -> None:
    from prunescale.cli.output import print_paragraph

    click.echo()
    print_paragraph(LEGEND.format(excess=excess_words(found)))


def excess_words(found: "Audit") -> str:
    from prunescale.fitting.excess import SMALL

    over = {"loss_before": "the loss above that before pruning", "loss_control": "the loss above the dense control's"}
    return f"{over[found.over]}, where that is {SMALL:g} nats or more" if found.over else "which these points do not have"


def share(value: float | None) -> str:
    from prunescale.fitting.score import in_percent

    return "-" if value is None else in_percent(value)


def nats(value: float | None, *, sign: bool = False) -> str:
    """Two digits; 0.0 below a millionth, which no measurement resolves."""
    if value is None:
        return "-"
    return "0.0" if abs(value) < 1e-6 else f"{value:{'+' if sign else ''}.2g}"
