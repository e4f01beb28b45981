"""The sections of results.md on how the laws did: what they foretold, decided and reached, and each on each hold-out."""

from collections.abc import Iterator, Sequence

from prunescale.amounts import short
from prunescale.fitting import Audit, AuditRow, Fit
from prunescale.runs import Run
from studies.p2.answers import HELD_OUT, OURS, foretold, to_come
from studies.p2.decisions import COMPARED, MIN_GAIN, Decision, of_another
from studies.p2.judged import Judged
from studies.published.markdown import constant, percent, table

MEANING = {
    "checkpoints": "the last fifth of each run's checkpoints",
    "size": "the largest size",
    "rate": "the highest rate",
    "tenfold": "all beyond a tenth of the tokens",
    "size-and-rate": "the largest size and the highest rate",
}


def of_each_method(found: Judged) -> Iterator[str]:
    """A section for each method and phase: the fits, and every hold-out."""
    for question, of_laws, audit in zip(found.questions, found.fits, found.audits, strict=True):
        title = f"## {question.method[0].upper()}{question.method[1:]}, {question.phases[0]}"
        yield f"{title}\n\n{fit_table(of_laws)}"
        yield "\n\n".join(f"Held out: {MEANING[name]}.\n\n{held_out_table(audit, name)}" for name in HELD_OUT)


def foretold_table(runs: Sequence[Run]) -> str:
    """Runs on which a law was not chosen, against what it says of them."""
    lines = [
        [
            each.name,
            each.base,
            law,
            f"{each.predicted:.4f} ({each.interval[0]:.4f} to {each.interval[1]:.4f})",
            f"{each.measured:.4f}",
            "yes" if each.is_inside else "no",
            percent(each.error, 1),
        ]
        for law in OURS
        for method in ("depth", "width")
        for each in foretold(runs, method, law)
    ]
    lines += [
        [name, "d960", law, f"{predicted:.4f} ({low:.4f} to {high:.4f})", "not run yet", "-", "-"]
        for law in OURS
        for method in ("depth", "width")
        for name, predicted, (low, high) in to_come(runs, method, law)
    ]
    if not lines:
        return "There is no other run."
    return (
        "The fits of our laws to the runs on which they were chosen are kept in registered/ (tokens-per-parameter: to what there was of "
        "curves.toml, control-floor: to all of it). What they say of the runs that were made since, of whichever training of the base, in nats over the control after 60M "
        "tokens, and the mean error over the whole curve as a share of the excess.\n\n"
        + table(["run", "base", "law", "foretold, 90 %", "measured", "inside", "error of the excess"], lines, n_words=3)
    )


def decisions(judged: Judged) -> str:
    """Errors of the excess after all tokens and of the recommended tokens, of what a fit had not seen."""
    head = [f"{law}, {what}" for law in COMPARED for what in ("excess", "tokens")]
    texts = [
        "Of runs that a fit had not seen, or not to the end: the mean error of the excess after 60M tokens, and the factor by which it is "
        f"off in the tokens from which on a doubling gains less than {MIN_GAIN:g} nats, over as many runs as that was measured of."
    ]
    questions = {method: judged.questions[judged.at_constant_rate[method]] for method in judged.decisions}
    for method, decided in judged.decisions.items():
        lines = [[f"all runs to {short(most)} tokens", str(found[0].n_runs), *cells(found)] for most, found in decided.few_tokens]
        lines += [[what, str(n), *cells(found)] for what, n, found in decided.few_runs]
        held = {"size": "all but the largest size", "rate": "all but the highest rate", "size-and-rate": "neither of these"}
        lines += [[held[name], "-", *cells(found)] for name, found in decided.held_out]
        for other, question in questions.items():
            if other != method:
                lines.append([f"the runs of {other}", "-", *cells(of_another(question, questions[method]))])
        texts.append(f"{method[0].upper()}{method[1:]}, constant rate:\n\n" + table(["fitted to", "runs", *head], lines))
    return "\n\n".join(texts)


def cells(found: Sequence[Decision]) -> list[str]:
    by_law = {each.law: each for each in found}
    return [cell for law in COMPARED for cell in two_cells(by_law.get(law))]


def two_cells(found: Decision | None) -> tuple[str, str]:
    if found is None:
        return "cannot be fitted", "-"
    return percent(found.error, 0), "-" if found.factor is None else f"{found.factor:.2f} ({found.n_worth})"


def fit_table(found: dict[str, Fit | str]) -> str:
    lines = []
    for name, of_law in found.items():
        if isinstance(of_law, str):
            lines.append([name, of_law, "", "", "", "", ""])
            continue
        metrics = of_law.metrics
        free = [each for each in of_law.law.bounds if each not in of_law.fixed]
        values = ", ".join(f"{each} {constant(of_law, each)}" for each in free)
        r2 = "-" if metrics.r2_excess is None else f"{metrics.r2_excess:.4f}"
        asd = "-" if metrics.asd is None else f"{metrics.asd:.4f}"
        lines.append(
            [name, values, r2, f"{metrics.rmse:.4f}", f"{metrics.huber:.3g}", asd, of_law.status.name.lower().replace("_", " ")]
        )
    return table(["law", "constants, 90 %", "R2 of the excess", "RMSE", "Huber", "ASD", "status"], lines, n_words=2)


TARGETS = {"checkpoints": (0.0025, 0.10), "tenfold": (0.0025, 0.10), "size": (0.005, 0.15), "rate": (0.005, 0.10)}
"""Of the errors of the loss and of the excess, on each hold-out; of the points inside the 90 % interval, 80 to 97 %."""


def targets(judged: Judged) -> str:
    """What our laws and P2 come to against what the study was to reach; bold where it is reached."""
    lines = []
    for question, found in zip(judged.questions, judged.audits, strict=True):
        for name, (of_loss, of_excess) in TARGETS.items():
            cells = [cell for law in (*OURS, "p2") for cell in target_cells(found.row(name, law), of_loss, of_excess)]
            if any(cell != "-" for cell in cells):
                carried_on = target_cells(found.row(name, "tokens-per-parameter +"), of_loss, of_excess)[:2]
                of_curve = target_cells(found.row(name, "power law of each curve"), of_loss, of_excess)[1]
                of_end = target_cells(found.row(name, "power law of each end"), of_loss, of_excess)[:2]
                lines.append([f"{question.method}, {question.phases[0]}", MEANING[name], *cells, *carried_on, of_curve, *of_end])
    wanted = "; ".join(f"{MEANING[name]}: {percent(loss)} and {percent(excess, 0)}" for name, (loss, excess) in TARGETS.items())
    head = [f"{law}: {what}" for law in ("tokens per parameter", "with a floor", "P2") for what in ("loss", "excess", "inside")]
    head += ["from the last point: loss", "from the last point: excess"]
    return (
        f"Errors on held-out points; bold where the target is reached ({wanted}; 80 to 97 % inside the 90 % interval).\n\n"
        + table(
            ["runs", "held out", *head, "excess by a power law of each curve", "power law of each end: loss", "excess"],
            lines,
            n_words=2,
        )
    )


def target_cells(row: AuditRow | None, of_loss: float, of_excess: float) -> list[str]:
    if row is None:
        return ["-"] * 3
    excess, inside = row.score.excess_error, row.inside
    return [
        bold(percent(row.score.error), row.score.error <= of_loss),
        "-" if excess is None else bold(percent(excess, 1), excess <= of_excess),
        "-" if inside is None else bold(percent(inside, 0), 0.8 <= inside <= 0.97),
    ]


def bold(text: str, is_so: bool) -> str:
    return f"**{text}**" if is_so else text


def held_out_table(found: Audit, name: str) -> str:
    """The laws and baselines on one hold-out, the least error of the excess first; or why there is none."""
    rows = sorted((row for row in found.rows if row.holdout == name), key=lambda row: row.score.excess_error or row.score.error)
    if not rows:
        return next((skipped.reason for skipped in found.skipped if skipped.holdout == name), "Not asked.")
    lines = [
        [
            f"*{row.law}*" if row.is_baseline else row.law,
            percent(row.score.error),
            percent(row.score.largest_error),
            "-" if row.score.excess_error is None else percent(row.score.excess_error, 1),
            "-" if row.score.slope_error is None else percent(row.score.slope_error, 1),
            "-" if row.inside is None else percent(row.inside, 0),
        ]
        for row in rows
    ]
    return table(["law", "error", "largest", "of the excess", "of the slope", "inside 90 %"], lines)
