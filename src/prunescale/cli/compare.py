"""prunescale compare"""

from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options
from prunescale.cli.audit import asked, audited, content, print_points, print_skipped, share

if TYPE_CHECKING:
    from prunescale.fitting import Audit, Comparison, Rank

LEGEND = (
    "held out: mean absolute error of the {measure} on what was held out ({holdouts}), relative to it, each run and each hold-out "
    "counting the same. behind: how much more than the first law's, with the 90 % interval of a bootstrap over runs, paired; a law "
    "is worse where that lies above 0 and the difference is over a twentieth of the first's error. at edge: loss predicted "
    "at {edge}, nats per token. Of the fit to all the points, which rank nothing: RMSE, nats per token, and R2 of the excess."
)


@click.command(short_help="Rank laws by their errors on points that they have not seen.")
@asked
@click.option(
    "--by",
    type=click.Choice(("excess", "loss")),
    help="Of what the errors are. [default: the excess over the loss before pruning, where there is one]",
)
@options.as_json
def compare(by: str | None, as_json: bool, **question: Any) -> None:
    """Rank laws by their errors on points of SOURCE that they have not seen, and say which differences are real.

    SOURCE is a store (runs.db), or exported runs (.json or .csv). Hold-outs that some law does not allow are not counted.
    """
    from dataclasses import asdict

    from prunescale.cli.output import print_checks, print_json
    from prunescale.fitting import compare as compare_laws

    found, left_out, names = audited(question, 0, as_json)
    ranked = compare_laws(found, measure=by, holdouts=question["holdouts"] or None)
    if as_json:
        of_audit = {name: value for name, value in content(found).items() if name not in ("rows", "checks")}
        print_json({**asdict(ranked), **of_audit, "laws_left_out": left_out})
        return
    print_points(found, left_out)
    print_ranks(ranked)
    print_skipped(found, names)
    print_checks(
        (*ranked.checks, *(check for check in found.checks if check.code in ("baseline", "mixed-phases", "mixed-methods")))
    )
    print_legend(ranked, found)


def print_ranks(ranked: "Comparison") -> None:
    from prunescale.cli.output import print_table

    print_table(
        "Laws by their errors on held-out points, the best first",
        ["law", "held out", "behind", "90 % interval", "verdict", "at edge", "constants", "RMSE", "R2"],
        [
            [
                rank.law,
                share(rank.error),
                share(rank.behind) if rank.behind else "-",
                interval(rank),
                rank.verdict,
                f"{rank.at_edge:.3f}",
                str(rank.n_constants),
                f"{rank.rmse:.4f}",
                "-" if rank.r2_excess is None else f"{rank.r2_excess:.4f}",
            ]
            for rank in ranked.ranks
        ],
    )
    click.echo()


def interval(rank: "Rank") -> str:
    from math import isfinite

    if not rank.behind and rank.interval[0] == rank.interval[1]:
        return "-"
    return " to ".join(share(end) for end in rank.interval) if isfinite(rank.interval[1]) else "unknown"


def print_legend(ranked: "Comparison", found: "Audit") -> None:
    from prunescale.amounts import short
    from prunescale.cli.output import print_paragraph

    used = {name for fit in found.fits.values() for name in fit.law.columns}
    edge = ", ".join(f"{name} {short(value)}" for name, value in ranked.edge.items() if name in used and "loss" not in name)
    click.echo()
    print_paragraph(LEGEND.format(measure=ranked.measure, holdouts=", ".join(ranked.holdouts), edge=edge))
