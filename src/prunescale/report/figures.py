"""Figures, each a function of a table. Nothing here opens a window or needs a display."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunescale.outputs import replaced
from prunescale.report.frames import RecoveryCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart whatever one's eyes: one for each pruning rate.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
HEIGHT, WIDTH_OF_A_PANEL = 3.6, 3.3  # inches


def recovery_figure(curves: Sequence[RecoveryCurve]) -> "Figure":
    """A panel for each model, sizes rising: dots are measured losses, lines the law (solid where it was fitted, dashed where it
    predicts), the grey line the loss before pruning."""
    from matplotlib.figure import Figure

    sizes = sorted({curve.n_params_before for curve in curves})
    rates = sorted({round(curve.pruning_rate, 3) for curve in curves})
    figure = Figure(figsize=(WIDTH_OF_A_PANEL * len(sizes) + 0.6, HEIGHT), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False)[0]
    for panel, size in zip(panels, sizes, strict=True):
        draw_model(panel, [curve for curve in curves if curve.n_params_before == size], rates)
    panels[0].set_ylabel("held-out loss (nats per token)")
    return figure


def draw_model(panel: Any, curves: Sequence[RecoveryCurve], rates: Sequence[float]) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    for curve in curves:
        colour = COLOURS[rates.index(round(curve.pruning_rate, 3)) % len(COLOURS)]
        label = f"{100 * curve.pruning_rate:.3g} % pruned"
        panel.plot(curve.n_tokens, curve.loss, "o", color=colour, markersize=4, label=label)
        panel.plot(curve.line_tokens, curve.line_loss, "-" if curve.fitted else "--", color=colour, linewidth=1.5)
    first = curves[0]
    panel.axhline(first.loss_before, color="0.5", linewidth=1)
    panel.annotate(
        "before pruning",
        (0.98, first.loss_before),
        xycoords=("axes fraction", "data"),
        xytext=(0, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        color="0.4",
        fontsize=8,
    )
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.margins(y=0.08)
    panel.set_xlabel("tokens trained on after pruning")
    how = "law fitted to these" if all(curve.fitted for curve in curves) else "predicted by the law"
    panel.set_title(f"{first.n_params_before / 1e6:.2f} M parameters: {how}", fontsize=9.5)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize=8)


def save_png(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, all of it or nothing. Raises StoreError where a store of runs is in that place."""
    with replaced(path) as file:
        figure.savefig(file, format="png", dpi=150)
