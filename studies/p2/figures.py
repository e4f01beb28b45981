"""The figures of results.md, each from the runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from prunescale.amounts import short
from prunescale.fitting import HOLDOUTS, Fit, predictive_interval
from prunescale.fitting.anchor import from_last_point
from prunescale.report import COLOURS
from prunescale.runs import Run
from studies.p2 import variants
from studies.p2.answers import LAST, METHODS, asked
from studies.p2.trends import Curve, curves
from studies.p2.unseen import points_for
from studies.p2.variants import Beside

WIDTH = 7.2  # inches


def all_of(runs: Sequence[Run], others: Sequence[Run], second: Sequence[Run], fits: Mapping[str, Fit]) -> dict[str, Figure]:
    """By the names of their files. others: the variants of the family's runs. second: the runs of the second family. fits: to the first,
    by method."""
    found, everything = curves(runs), [*runs, *others]
    return {
        "recovery": recovery(found),
        "rates": rates(found),
        "second": elsewhere(second, fits),
        "ways": ways(list(variants.distilled(everything)), list(variants.gradual(everything))),
    }


SHOWN = {0.5: "-", 0.25: "--"}
"""Rates of which curves are shown, and how: with all of them there are twenty lines in a panel."""


def recovery(found: Sequence[Curve]) -> Figure:
    """The excess over the control against the tokens, a panel a method and a colour a size."""
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    sizes = sorted({curve.size for curve in found})
    for panel, method in zip(panels, METHODS, strict=True):
        for curve in found:
            if curve.method == method and curve.rate in SHOWN:
                colour = COLOURS[sizes.index(curve.size)]
                panel.plot(curve.n_tokens, curve.excess, SHOWN[curve.rate], color=colour, linewidth=1.3)
        panel.set_title(method[0].upper() + method[1:], fontsize=9.5)
        logarithmic(panel)
    for size, colour in zip(sizes, COLOURS, strict=False):
        panels[-1].plot([], [], color=colour, label=short(size))
    panels[-1].legend(frameon=False, fontsize=7.5, title="parameters", title_fontsize=7.5, loc="upper right")
    for style, label in (("-", "half gone"), ("--", "a quarter gone")):
        panels[0].plot([], [], style, color="0.3", label=label)
    panels[0].legend(frameon=False, fontsize=7.5, loc="lower left")
    figure.supxlabel("tokens after pruning", fontsize=9.5)
    figure.supylabel("loss over the control (nats per token)", fontsize=9.5)
    figure.suptitle("What pruning costs, at a constant learning rate", fontsize=10.5)
    return figure


def rates(found: Sequence[Curve]) -> Figure:
    """The excess over the control after all tokens, against the rate, of depth and width."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    sizes = sorted({curve.size for curve in found})
    for panel, method in zip(panels, ("depth", "width"), strict=True):
        for size, colour in zip(sizes, COLOURS, strict=False):
            some = sorted((c for c in found if (c.method, c.size) == (method, size)), key=lambda curve: curve.pruned)
            panel.plot(
                [curve.pruned for curve in some],
                [curve.at(LAST) for curve in some],
                "o-",
                color=colour,
                markersize=4,
                linewidth=1.2,
                label=short(size),
            )
        panel.set_title(method[0].upper() + method[1:], fontsize=9.5)
        panel.set_xlabel("share of the parameters pruned")
        logarithmic(panel)
        panel.set_xticks([0.125, 0.25, 0.375, 0.5], ["1/8", "1/4", "3/8", "1/2"])
    panels[0].set_ylabel("loss over the control (nats per token)")
    panels[0].legend(frameon=False, fontsize=7.5, title="parameters", title_fontsize=7.5)
    figure.suptitle("After 60M tokens at a constant rate", fontsize=10.5)
    return figure


def elsewhere(runs: Sequence[Run], fits: Mapping[str, Fit]) -> Figure:
    """The excess of the second family against the tokens, a panel a method and a colour a rate; with what the family's fits say of it, as
    they are and carried on from a tenth of its tokens."""
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    for panel, (method, found) in zip(panels, fits.items(), strict=True):
        points = points_for(found, asked(runs, method))
        (held,) = HOLDOUTS["tenfold"](points)
        lines = {"-": points.loss, ":": found.predict(points.columns), "--": from_last_point(found, points, held)}
        rate, control = points.columns["pruning_rate"], points.columns["loss_control"]
        low, high = predictive_interval(found, points.columns)
        for number in range(points.n_runs):
            here = points.run_index == number
            shade = COLOURS[0] if rate[here][0] < 0.4 else COLOURS[1]
            panel.fill_between(
                points.columns["n_tokens"][here],
                (low - control)[here],
                (high - control)[here],
                color=shade,
                alpha=0.12,
                linewidth=0,
            )
            for style, loss in lines.items():
                some = here & held if style == "--" else here
                panel.plot(
                    points.columns["n_tokens"][some],
                    (loss - control)[some],
                    style,
                    color=shade,
                    linewidth=1.5 if style == "-" else 1.2,
                )
        panel.set_title(method[0].upper() + method[1:], fontsize=9.5)
        logarithmic(panel)
    for style, label in (("-", "measured"), (":", "the family's constants, 90 %"), ("--", "carried on from a tenth")):
        panels[0].plot([], [], style, color="0.3", label=label)
    panels[0].legend(frameon=False, fontsize=7.5, loc="lower left")
    for label, colour in (("a quarter gone (0.27 in depth)", COLOURS[0]), ("half gone", COLOURS[1])):
        panels[1].plot([], [], color=colour, label=label)
    panels[1].legend(frameon=False, fontsize=7.5, loc="lower left")
    figure.supxlabel("tokens after pruning", fontsize=9.5)
    figure.supylabel("loss over the control (nats per token)", fontsize=9.5)
    figure.suptitle("SmolLM2-135M, and what fits to the family say of it", fontsize=10.5)
    return figure


def ways(taught: Sequence[Beside], stepwise: Sequence[Beside]) -> Figure:
    """What distillation and pruning in steps make of the excess, as a share of that without, at equal tokens and at equal FLOPs."""
    rows = [*taught, *stepwise]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.27 * len(rows)), layout="constrained")
    panel = figure.subplots()
    panel.axvline(1, color="0.6", linewidth=0.8)
    for some, colour in ((taught, COLOURS[0]), (stepwise, COLOURS[1])):
        heights = [-rows.index(each) for each in some]
        flops = [1 + each.change_at_equal_flops for each in some]
        tokens = [1 + each.change for each in some]
        panel.hlines(heights, tokens, flops, color=colour, linewidth=1)
        panel.plot(tokens, heights, "o", color=colour, markersize=5, linestyle="none")
        panel.plot(flops, heights, "o", color=colour, markersize=5, markerfacecolor="white", linestyle="none")
    panel.plot([], [], "o", color="0.3", markersize=5, label="equal tokens")
    panel.plot([], [], "o", color="0.3", markersize=5, markerfacecolor="white", label="equal FLOPs")
    panel.legend(frameon=False, fontsize=8, loc="best")
    panel.set_yticks([-number for number in range(len(rows))], [each.label for each in rows], fontsize=8)
    panel.set_xlabel("loss over the control after 60M tokens; 1: with plain loss, pruned at once", fontsize=9)
    figure.suptitle("A teacher (blue) and pruning in four steps (orange)", fontsize=10.5)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="x", color="0.93", linewidth=0.6)
    panel.set_axisbelow(True)
    return figure


def logarithmic(panel: Any) -> None:
    panel.set(xscale="log", yscale="log")
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else ""))
    panel.tick_params(labelsize=8, which="both")
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_axisbelow(True)
    panel.grid(color="0.93", linewidth=0.6)
