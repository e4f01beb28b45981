"""Tables and figures of this study, from the runs that come with prunescale alone:

python -m studies.p2.report     writes results.md and its figures beside it, and what came out into README.md
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prunescale import embedded
from prunescale.amounts import short
from prunescale.fitting import Audit, AuditRow, Fit, save_fit
from prunescale.report import save_png
from prunescale.runs import Run, read_runs
from studies.p2 import figures, report_unseen, report_variants, unseen
from studies.p2.answers import (
    HELD_OUT,
    LAST,
    METHODS,
    OURS,
    Asked,
    asked,
    control_of,
    ends,
    fits,
    foretold,
    held_out,
    seed,
    to_come,
)
from studies.p2.decisions import COMPARED, MIN_GAIN, Decision, Decisions, of_another
from studies.p2.planned import is_of
from studies.p2.summary import into, summary
from studies.p2.trends import Curve, Slope, curves, over_rates, over_sizes
from studies.published.markdown import constant, percent, table

HERE = Path(__file__).parent
MEANING = {
    "checkpoints": "the last fifth of each run's checkpoints",
    "size": "the largest size",
    "rate": "the highest rate",
    "tenfold": "all beyond a tenth of the tokens",
    "size-and-rate": "the largest size and the highest rate",
}


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
    above = unseen.above(runs)
    runs = [run for run in runs if run not in above]
    questions = [
        asked(runs, method, phase)
        for method in METHODS
        if any(run.pruning_method == METHODS[method] for run in runs)
        for phase in ("constant", "annealed")
    ]
    return Judged(questions, [fits(question, n=n) for question in questions], [held_out(question, n=n) for question in questions])


def results(runs: Sequence[Run], found: Judged, variants: Sequence[Run] = (), second: Sequence[Run] = ()) -> str:
    """The whole page. second: the runs of the second family."""
    head = ["# Results", "*Made by `python -m studies.p2.report` from the runs.*"]
    return "\n\n".join([*head, *sections(runs, found, second), *report_variants.sections([*runs, *variants])]) + "\n"


def sections(runs: Sequence[Run], found: Judged, second: Sequence[Run]) -> Iterator[str]:
    yield "## Runs\n\n" + cost_table([*runs, *second])
    yield "## Finished models\n\n" + ends_table([*runs, *second])
    yield "## Trends\n\n" + trends(curves(runs))
    yield "## Foretold\n\n" + foretold_table(runs)
    for title, text in {
        "The size above": report_unseen.of_size_above(runs, found.fits_by_method),
        "A second family": report_unseen.of_second_family(second, found.fits_by_method),
    }.items():
        if text:
            yield f"## {title}\n\n{text}"
    yield "## Decisions\n\n" + decisions(found)
    yield "## Targets\n\n" + targets(found)
    for question, of_laws, audit in zip(found.questions, found.fits, found.audits, strict=True):
        title = f"## {question.method[0].upper()}{question.method[1:]}, {question.phases[0]}"
        yield f"{title}\n\n{fit_table(of_laws)}"
        yield "\n\n".join(f"Held out: {MEANING[name]}.\n\n{held_out_table(audit, name)}" for name in HELD_OUT)


def cost_table(runs: Sequence[Run]) -> str:
    """What each size took, by what was done with it."""
    kinds: dict[tuple[int, str], list[Run]] = {}
    for run in runs:
        kinds.setdefault((run.n_params_before or 0, done_with(run)), []).append(run)
    lines = [
        [
            short(size),
            kind,
            str(len(of_kind)),
            f"{loss_before(of_kind)}",
            short(sum(run.n_tokens for run in of_kind)),
            f"{sum(run.flops or 0 for run in of_kind):.2e}",
            f"{sum(run.seconds or 0 for run in of_kind) / 60:.1f}",
        ]
        for (size, kind), of_kind in sorted(kinds.items())
    ]
    return table(["parameters", "what", "runs", "L0", "tokens", "FLOPs", "GPU minutes"], lines, n_words=2)


def done_with(run: Run) -> str:
    if is_of("smollm2-base", run):
        return "on this text"
    return run.pruning_method or ("dense" if run.kind == "pre-training" else "control")


def loss_before(runs: Sequence[Run]) -> str:
    known = {run.loss_before for run in runs if run.loss_before is not None}
    return f"{min(known):.4f}" if len(known) == 1 else "-"


def ends_table(runs: Sequence[Run]) -> str:
    """The excess of finished models over the finished control after as many tokens; in brackets that over the loss before pruning."""
    pruned = [run for run in runs if run.pruning_method and run.kind == "post-training" and seed(run) == 0]
    counts = sorted({end.n_tokens for run in pruned for end in ends(run, None)})
    lines = []
    for run in sorted(pruned, key=lambda run: (run.n_params_before or 0, str(run.pruning_method), run.pruning_rate or 0)):
        after = {end.n_tokens: end for end in ends(run, control_of(run, runs))}
        cells = []
        for n_tokens in counts:
            end = after.get(n_tokens)
            if end is None or end.annealed is None or run.loss_before is None:
                cells.append("-")
                continue
            over_control = "-" if end.control_annealed is None else f"{end.annealed - end.control_annealed:.4f}"
            cells.append(f"{over_control} ({end.annealed - run.loss_before:+.4f})")
        lines.append([short(run.n_params_before or 0), str(run.pruning_method), f"{run.pruning_rate:.3f}", *cells])
    return table(["parameters", "method", "rate", *(f"{short(n)} tokens" for n in counts)], lines, n_words=2)


NEAR = 0.1
"""Nats above the control, to which it takes so many tokens."""


def trends(found: Sequence[Curve]) -> str:
    """What each curve comes to, how that goes with the size of the model, and how with the rate."""
    each = [
        [
            curve.method,
            f"{curve.rate:g}",
            short(curve.size),
            f"{curve.at(LAST):.4f}",
            percent(curve.relative(LAST)),
            f"{curve.exponent(1.2e6, 7.5e6):.3f}",
            f"{curve.exponent(7.5e6, LAST):.3f}",
            "-" if (n := curve.tokens_to(NEAR)) is None else short(n),
        ]
        for curve in found
    ]
    kinds = sorted({(curve.method, curve.rate) for curve in found})
    by_size = [
        [method, f"{rate:g}", *(power(over_sizes(some, what, value)) for what, value in SIZE_QUESTIONS)]
        for method, rate in kinds
        for some in [[curve for curve in found if (curve.method, curve.rate) == (method, rate)]]
    ]
    by_rate = [
        [method, short(size), power(of := over_rates(some, LAST)), "-" if of is None else f"{of.r2:.4f}"]
        for method, size in sorted({(curve.method, curve.size) for curve in found if "2:4" not in curve.method})
        for some in [[curve for curve in found if (curve.method, curve.size) == (method, size)]]
    ]
    return "\n\n".join(
        [
            f"Over the control, at the constant rate. Exponents b of an excess that falls as D^-b; tokens until it is {NEAR:g} nats.",
            table(
                [
                    "method",
                    "rate",
                    "parameters",
                    "excess at 60M",
                    "of the loss",
                    "b, 1.2M to 7.5M",
                    "b, 7.5M to 60M",
                    f"to {NEAR:g}",
                ],
                each,
                n_words=2,
            ),
            "Powers of the number of parameters, with 90 % intervals by Student's t over the sizes: 0 says that the size does not matter.",
            table(["method", "rate", "excess at 60M", "of the loss", f"tokens to {NEAR:g}"], by_size, n_words=2),
            "Powers of the rate, to which the excess over the loss at 60M tokens goes, and R2 of the logarithms.",
            table(["method", "parameters", "power", "R2"], by_rate, n_words=1),
        ]
    )


def foretold_table(runs: Sequence[Run]) -> str:
    """Runs on which a law was not chosen, against what it says of them."""
    lines = [
        [
            each.name,
            law,
            f"{each.predicted:.4f} ({each.interval[0]:.4f} to {each.interval[1]:.4f})",
            f"{each.measured:.4f}",
            "yes" if each.interval[0] <= each.measured <= each.interval[1] else "no",
            percent(each.error, 1),
        ]
        for law in OURS
        for method in ("depth", "width")
        for each in foretold(runs, method, law)
    ]
    lines += [
        [name, law, f"{predicted:.4f} ({low:.4f} to {high:.4f})", "not run yet", "-", "-"]
        for law in OURS
        for method in ("depth", "width")
        for name, predicted, (low, high) in to_come(runs, method, law)
    ]
    if not lines:
        return "There is no other run."
    return (
        "The fits of our laws to the runs on which they were chosen are kept in registered/ (tokens-per-parameter: to what there was of "
        "curves.toml, control-floor: to all of it). What they say of the other runs, in nats over the control after 60M tokens, and the "
        "mean error over the whole curve as a share of the excess.\n\n"
        + table(["run", "law", "foretold, 90 %", "measured", "inside", "error of the excess"], lines, n_words=2)
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


SIZE_QUESTIONS = (("excess", LAST), ("relative", LAST), ("tokens", NEAR))


def power(found: Slope | None) -> str:
    if found is None:
        return "-"
    return f"{found.value:.2f}" + (f" ({found.interval[0]:.2f} to {found.interval[1]:.2f})" if found.interval else "")


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


FITS = embedded.ROOT / "fits"


def file_name(method: str) -> str:
    """Of the fit of a method that comes with prunescale."""
    return method.lower().replace(" by ", "-").replace(":", "-")


def main() -> None:
    runs, second, variants = (read_runs(f"embedded:{name}") for name in ("p2", "p2-smollm2", "p2-variants"))
    found, page = judged(runs), HERE / "README.md"
    (HERE / "results.md").write_text(results(runs, found, variants, second), encoding="utf-8")
    audits = {method: found.audits[place] for method, place in found.at_constant_rate.items()}
    text = summary(runs, variants, second, audits, found.fits_by_method, found.decisions)
    page.write_text(into(page.read_text(encoding="utf-8"), text), encoding="utf-8")
    FITS.mkdir(exist_ok=True)
    for law, behind in (("tokens-per-parameter", ""), ("control-floor", "-floor")):
        for method, each in found.fits_of(law).items():
            save_fit(each, FITS / f"{file_name(method)}{behind}.json")
    for name, figure in figures.all_of(runs, variants, second, found.fits_of(OURS[0])).items():
        save_png(figure, HERE / f"{name}.png")


if __name__ == "__main__":
    main()
