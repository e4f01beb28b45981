"""Tables and figures of this study, from the runs that come with prunescale alone:

python -m studies.p2.report     writes results.md and its figures beside it, and what came out into README.md
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from prunescale import embedded
from prunescale.amounts import short
from prunescale.fitting import save_fit
from prunescale.report import save_png
from prunescale.runs import Run, read_runs
from studies.p2 import figures, report_judged, report_unseen, report_variants
from studies.p2.answers import LAST, OURS, control_of, ends, seed
from studies.p2.judged import Judged, judged
from studies.p2.planned import is_of
from studies.p2.summary import into, summary
from studies.p2.trends import Curve, Slope, curves, over_rates, over_sizes
from studies.published.markdown import percent, table

HERE = Path(__file__).parent


def results(runs: Sequence[Run], found: Judged, variants: Sequence[Run] = (), second: Sequence[Run] = ()) -> str:
    """The whole page. second: the runs of the second family."""
    head = ["# Results", "*Made by `python -m studies.p2.report` from the runs.*"]
    everything = [*runs, *variants]
    return "\n\n".join([*head, *sections(runs, found, second, everything), *report_variants.sections(everything)]) + "\n"


def sections(runs: Sequence[Run], found: Judged, second: Sequence[Run], everything: Sequence[Run]) -> Iterator[str]:
    """everything: the family's runs and their variants, bases that were trained once more among them."""
    yield "## Runs\n\n" + cost_table([*runs, *second])
    yield "## Finished models\n\n" + ends_table([*runs, *second])
    yield "## Trends\n\n" + trends(curves(runs))
    yield "## Foretold\n\n" + report_judged.foretold_table(everything)
    for title, text in {
        "The size above": report_unseen.of_size_above(runs, found.fits_by_method),
        "A second family": report_unseen.of_second_family(second, found.fits_by_method),
    }.items():
        if text:
            yield f"## {title}\n\n{text}"
    yield "## Decisions\n\n" + report_judged.decisions(found)
    yield "## Targets\n\n" + report_judged.targets(found)
    yield from report_judged.of_each_method(found)


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


SIZE_QUESTIONS = (("excess", LAST), ("relative", LAST), ("tokens", NEAR))


def power(found: Slope | None) -> str:
    if found is None:
        return "-"
    return f"{found.value:.2f}" + (f" ({found.interval[0]:.2f} to {found.interval[1]:.2f})" if found.interval else "")


FITS = embedded.ROOT / "fits"


def file_name(method: str) -> str:
    """Of the fit of a method that comes with prunescale."""
    return method.lower().replace(" by ", "-").replace(":", "-")


def main() -> None:
    runs, second, variants = (read_runs(f"embedded:{name}") for name in ("p2", "p2-smollm2", "p2-variants"))
    found, page = judged(runs), HERE / "README.md"
    (HERE / "results.md").write_text(results(runs, found, variants, second), encoding="utf-8")
    text = summary(runs, variants, second, found)
    page.write_text(into(page.read_text(encoding="utf-8"), text), encoding="utf-8")
    FITS.mkdir(exist_ok=True)
    for law, behind in (("tokens-per-parameter", ""), ("control-floor", "-floor")):
        for method, each in found.fits_of(law).items():
            save_fit(each, FITS / f"{file_name(method)}{behind}.json")
    for name, figure in figures.all_of(runs, variants, second, found.fits_of(OURS[0])).items():
        save_png(figure, HERE / f"{name}.png")


if __name__ == "__main__":
    main()
