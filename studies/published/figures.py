"""The figures of results.md, each of what one module found."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from prunescale.amounts import short
from prunescale.planner.optimum import best_size
from prunescale.report import COLOURS
from studies.published import curves, frantar, hoffmann, porian
from studies.published.errors import relative

WIDTH = 7.2  # inches


def chinchilla() -> Figure:
    """The best size against compute, by objective, with 90 % bands; and by the published constants."""
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    axes = figure.subplots()
    compute = np.geomspace(1e18, 1e25, 40)

    def best(law: Any) -> np.ndarray:
        return np.stack([best_size(law, each, "n_params_total", {}) for each in compute])

    for (name, found), colour in zip(hoffmann.fits().items(), COLOURS, strict=False):
        if name == "squared-log":
            continue
        spread = found.spread()
        assert spread is not None
        low, high = np.quantile(best(spread), [0.05, 0.95], axis=1)
        axes.fill_between(compute, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(
            compute, best(found.law)[:, 0], color=colour, label=f"refitted, {name} (beta {found.law.constants()['beta']:.2f})"
        )
    published = hoffmann.PRESETS[hoffmann.PRESET].law
    axes.plot(compute, best(published)[:, 0], "--", color="0.4", label=f"as published (beta {published.constants()['beta']:.2f})")
    axes.axvline(hoffmann.COMPUTE, color="0.7", linewidth=1)
    axes.plot(hoffmann.COMPUTE, 70e9, "k*", markersize=9, label="Chinchilla as it was trained: 70B")
    fitted = 6 * hoffmann.columns()["n_params_total"] * hoffmann.columns()["n_tokens"]
    axes.axvspan(fitted.min(), fitted.max(), color="0.93", zorder=0)
    axes.annotate("compute of the 240 runs", (1.6e18, 6e7), color="0.4", fontsize=8)
    axes.set(
        xscale="log", yscale="log", xlabel="compute of training (operations)", ylabel="best size (parameters)", xlim=(1e18, 1e25)
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    return _finished(figure, axes, "Chinchilla's runs: the best size depends on the objective that is fitted")


def sparse() -> Figure:
    """Predicted / measured - 1 of each T5 model, by sparsity, a panel for each law."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    panels = figure.subplots(1, len(frantar.LAWS), sharey=True)
    sparsity, n_tokens = frantar.columns()["sparsity"], frantar.columns()["n_tokens"]
    levels = list(np.unique(sparsity))
    place = np.array([levels.index(each) for each in sparsity], dtype=float)
    steps = list(np.unique(n_tokens))
    for panel, (name, found) in zip(panels, frantar.fits().items(), strict=True):
        error = 100 * relative(found.law, frantar.columns())
        panel.axhline(0, color="0.5", linewidth=1)
        for step, colour in zip(steps, COLOURS, strict=False):
            here = n_tokens == step
            panel.plot(
                place[here] + 0.18 * (steps.index(step) - 1),
                error[here],
                "o",
                color=colour,
                markersize=3.5,
                label=f"{step / 1e3:.0f}k steps",
            )
        panel.plot(
            range(len(levels)), 100 * np.array(list(frantar.by_sparsity(found.law).values())), "k_", markersize=22, label="mean"
        )
        panel.set_xticks(range(len(levels)), [f"{each:g}" for each in levels])
        panel.set_xlabel("sparsity")
        panel.set_title(name, fontsize=9.5)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("predicted / measured - 1 (%)")
    panels[-1].legend(frameon=False, fontsize=7.5, loc="lower right")
    figure.suptitle("48 T5 models pruned in pre-training: only the law that reads the sparsity holds at all of it", fontsize=9.5)
    return figure


def foretold() -> Figure:
    """Error over the last 20 % of each curve's tokens: of the law, by where the fit begins, and of the last value."""
    names = list(curves.groups())
    figure = Figure(figsize=(WIDTH, 0.24 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(names))[::-1]
    marks = {curves.FROM[0]: ("s", COLOURS[1]), curves.FROM[1]: ("o", COLOURS[0])}
    means = {
        start: np.array(
            [np.mean([curves.foretold(one, start).law.score.error for one in some]) for some in curves.groups().values()]
        )
        for start in curves.FROM
    }
    last = np.array(
        [np.mean([curves.foretold(one, curves.FROM[0]).last.score.error for one in some]) for some in curves.groups().values()]
    )
    axes.hlines(place, 0.01, 10, color="0.93", linewidth=1, zorder=0)
    for start, (mark, colour) in marks.items():
        axes.plot(
            100 * means[start], place, mark, color=colour, markersize=5, label=f"E + B/D^beta, fitted from {100 * start:.0f} % on"
        )
    axes.plot(100 * last, place, "|", color="k", markersize=11, markeredgewidth=2, label="last value carried on")
    axes.set_yticks(place, names, fontsize=8)
    axes.set_ylim(-0.7, len(names) + 1.6)  # the legend lies above the curves
    axes.set(xscale="log", xlabel="mean absolute error over the last 20 % of the tokens (%)", xlim=(0.05, 5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return _finished(figure, axes, "Training curves foretold from their first 80 %")


def exponents() -> Figure:
    """The exponent of the best size by Hoffmann's law, against that of the authors' own best sizes, sweep by sweep."""
    figure = Figure(figsize=(WIDTH * 0.66, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0.1, 1], [0.1, 1], color="0.6", linewidth=1)
    for index, (name, words) in enumerate({"all": "all runs", "near": "runs near the best of their compute"}.items()):
        for first, sweep in enumerate(porian.sweeps()):
            found = porian.fits(sweep)[name]
            interval = found.interval(porian.exponent)
            assert interval is not None
            x, y = porian.exponent_of_pairs(sweep), float(porian.exponent(found.law))
            axes.errorbar(
                x,
                y,
                yerr=[[max(y - interval[0], 0.0)], [max(interval[1] - y, 0.0)]],
                fmt="so"[index],
                color=COLOURS[1 - index],
                markersize=5,
                linewidth=1.2,
                label=f"fitted to {words}" if first == 0 else None,
            )
    axes.set(
        xlabel="exponent of the best sizes, found at each compute",
        ylabel="exponent by Hoffmann's law, with 90 % interval",
        xlim=(0.47, 0.9),
        ylim=(0.15, 0.9),
    )
    return _finished(figure, axes, "Porian's 15 sweeps: N* ~ C^a")


def _finished(figure: Figure, axes: Any, title: str) -> Figure:
    axes.set_title(title, fontsize=9.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


FIGURES = {"chinchilla": chinchilla, "sparse": sparse, "exponents": exponents, "curves": foretold}
