"""What hurts least, to choose with the eyes: losses right after pruning, and the scores of blocks, heads and channels.

Letters of shapes: K blocks, Q steps of a sorted curve.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prunescale.errors import legible
from prunescale.report.figures import COLOURS
from prunescale.sweep.inspect import Inspection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 200
"""Of a curve of sorted channels, however many there are."""

MANY_BLOCKS = 40
"""Of more there is room for one digit each: only the first nine to go are numbered."""

GAP = 0.058
"""Between names of lines, as a share of the panel's height."""

MARKERS = {"depth": "o", "width": "s", "sparse": "^"}
LINES: dict[str, Any] = {"depth": "-", "width": "--", "sparse": ":"}
FIRST_COLOUR = {"depth": 0, "width": 2, "sparse": 4}
SHADES = "cividis"


@dataclass(frozen=True)
class LossLine:
    """What pruning by one method adds to the loss, nats per token, over the rates that came of it; rates rise."""

    method: str
    kind: str
    pattern: str | None
    rate: np.ndarray
    increase: np.ndarray

    @property
    def name(self) -> str:
        return f"{self.method} {self.pattern}" if self.pattern else self.method


def loss_lines(inspection: Inspection) -> list[LossLine]:
    """One for each method that could do something, and one for each of its patterns."""
    lines = []
    for method, kind, pattern in dict.fromkeys((each.method, each.kind, each.pattern) for each in inspection.tries):
        points = sorted(
            {
                (each.rate, each.increase)
                for each in inspection.tries
                if (each.method, each.pattern) == (method, pattern) and each.rate is not None and each.increase is not None
            }
        )
        if points:
            rate, increase = np.array(points).T
            lines.append(LossLine(method, kind, pattern, rate, increase))
    return lines


def scores_of(inspection: Inspection, what: str) -> dict[str, np.ndarray]:
    """Scores of blocks, heads, ffn or hidden, by method."""
    return {
        method: scores
        for part, _, method, scores in ((*name.partition("."), scores) for name, scores in inspection.importance.items())
        if part == what
    }


def order_of_going(scores_K: np.ndarray) -> np.ndarray:
    """(K,) 1 for the block that goes first, 2 for the next: the lowest score, of equal ones the later block."""
    n_blocks = len(scores_K)
    first_K = n_blocks - 1 - np.argsort(scores_K[::-1], kind="stable")
    order_K = np.empty(n_blocks, dtype=int)
    order_K[first_K] = np.arange(1, n_blocks + 1)
    return order_K


def relative_to_block(scores_KX: np.ndarray) -> np.ndarray:
    """Scores as multiples of the mean of their block."""
    means_K1 = scores_KX.mean(axis=1, keepdims=True)
    return scores_KX / np.where(means_K1 > 0, means_K1, 1.0)


def sorted_curves(scores_KX: np.ndarray) -> np.ndarray:
    """(K, Q) multiples of the mean of each block, the highest first, at Q even steps from the first to the last."""
    falling_KX = -np.sort(-relative_to_block(scores_KX), axis=1)
    n_values = falling_KX.shape[1]
    steps_Q = np.round(np.linspace(0, n_values - 1, min(STEPS, n_values))).astype(int)
    return falling_KX[:, steps_Q]


def inspection_figure(inspection: Inspection) -> "Figure":
    """Above, what each pruning adds to the loss, and the blocks by each depth method; below, heads and channels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.6), layout="constrained")
    figure.suptitle(
        f"{as_it_is(inspection.model)}, {inspection.n_layers} blocks, "
        f"{inspection.n_params / 1e6:.3g} M parameters outside embeddings and head: "
        "what pruning does to it before any training",
        fontsize=11,
    )
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.15, 1), hspace=0.04)[:, 0]
    losses, blocks = upper.subplots(1, 2, width_ratios=(1.25, 1))
    draw_losses(losses, inspection)
    draw_blocks(blocks, inspection)
    heads, ffn, hidden = lower.subplots(1, 3, width_ratios=(0.8, 1.1, 1))
    method, heads_KG = next(iter(scores_of(inspection, "heads").items()))
    lower.suptitle(f"Scores by {method}: what is low would go first", fontsize=10.5)
    draw_heads(heads, heads_KG)
    draw_ffn(ffn, inspection.importance[f"ffn.{method}"])
    draw_hidden(hidden, inspection.importance[f"hidden.{method}"])
    for panel in (losses, hidden):
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def as_it_is(name: str) -> str:
    """A name for a figure, in which matplotlib takes what is between dollar signs for a formula."""
    return legible(name).replace("$", r"\$")


def draw_losses(panel: Any, inspection: Inspection) -> None:
    """A line for each method over the rates; a star for each pattern. The scale is logarithmic but around zero."""
    from matplotlib.ticker import FixedLocator, PercentFormatter

    lines = loss_lines(inspection)
    colours = colours_of(lines)
    for line in lines:
        panel.plot(
            line.rate,
            line.increase,
            "*" if line.pattern else MARKERS[line.kind],
            linestyle="none" if line.pattern else LINES[line.kind],
            color=colours[line.method],
            markersize=11 if line.pattern else 5,
            markeredgecolor="white" if line.pattern else colours[line.method],
            linewidth=1.5,
            label=line.name,
        )
    positive = [value for line in lines for value in line.increase if value > 0]
    least = 10.0 ** np.round(np.log10(min(positive))) if positive else 0.01
    gained = max([0.0, *(-value for line in lines for value in line.increase)])  # where pruning makes it better, mostly by chance
    linear = max(float(np.clip(least, 1e-3, 0.1)), 10.0 ** np.ceil(np.log10(gained)) if gained > 0 else 0.0)
    panel.set_yscale("symlog", linthresh=linear, linscale=0.4)
    decades = linear * 10.0 ** np.arange(0, 8)
    panel.yaxis.set_major_locator(FixedLocator([-linear, 0, *decades]))
    panel.axhline(0, color="0.5", linewidth=1)
    marked(panel, 0, f"before pruning: a loss of {inspection.dense_loss:.3f}", below=True)
    guessing = inspection.uniform_loss - inspection.dense_loss
    if lines and max(line.increase.max() for line in lines) > 0.7 * guessing > 0:
        panel.axhline(guessing, color="0.5", linewidth=1, linestyle=(0, (1, 3)))
        marked(panel, guessing, "as bad as guessing")
    panel.yaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panel.set_xlim(left=0)
    panel.set_ylim(bottom=min(-0.6 * linear, 1.3 * min((line.increase.min() for line in lines), default=0.0)))  # room for words
    panel.set_xlabel("parameters gone (of those outside embeddings and head)")
    panel.set_ylabel("added to the loss (nats per token)")
    panel.set_title("Loss right after pruning: lower hurts less", fontsize=10)
    label_ends(panel, lines, colours)
    explain_markers(panel, lines)


def label_ends(panel: Any, lines: Sequence[LossLine], colours: Mapping[str, str]) -> None:
    """The name of each line at the right of the panel, in the order of their ends and none over another."""
    to_axes = panel.transScale + panel.transLimits
    ends = sorted(((to_axes.transform((line.rate[-1], line.increase[-1]))[1], line) for line in lines), key=lambda end: end[0])
    for height, (_, line) in zip(spread([height for height, _ in ends], GAP, 0.98), ends, strict=True):
        panel.annotate(
            line.name,
            (line.rate[-1], line.increase[-1]),
            xytext=(1.08, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            color=colours[line.method],
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colours[line.method],
                "linewidth": 0.7,
                "alpha": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 4,
            },
        )


def explain_markers(panel: Any, lines: Sequence[LossLine]) -> None:
    from matplotlib.lines import Line2D

    words = {"depth": "blocks dropped", "width": "sizes made smaller", "sparse": "single weights zero"}
    kinds = dict.fromkeys(line.kind for line in lines if not line.pattern)
    marks = [
        Line2D([], [], color="0.3", marker=MARKERS[kind], linestyle=LINES[kind], markersize=5, label=words[kind])
        for kind in kinds
    ]
    if any(line.pattern for line in lines):
        marks.append(Line2D([], [], color="0.3", marker="*", linestyle="none", markersize=9, label="n of every m zero"))
    _, zero = (panel.transScale + panel.transLimits).transform((0, 0))
    panel.legend(handles=marks, frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, zero))


def spread(heights: Sequence[float], gap: float, highest: float) -> list[float]:
    """Rising heights moved as little as need be, so that neighbours are a gap apart and all are between zero and the highest; groups
    that touch are centred on their mean."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and bottom(groups[-1], gap) - top(groups[-2], gap) < gap:
            last = groups.pop()
            groups[-1] += last
    placed = [bottom(group, gap) + gap * index for group in groups for index in range(len(group))]
    ceilings = [highest - gap * index for index in reversed(range(len(placed)))]
    return [min(max(height, gap * index), ceiling) for index, (height, ceiling) in enumerate(zip(placed, ceilings, strict=True))]


def bottom(group: Sequence[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def top(group: Sequence[float], gap: float) -> float:
    return sum(group) / len(group) + gap * (len(group) - 1) / 2


def marked(panel: Any, height: float, words: str, *, below: bool = False) -> None:
    """Words at a horizontal line, at the left."""
    panel.annotate(
        words,
        (0.01, height),
        xycoords=("axes fraction", "data"),
        xytext=(0, -3 if below else 3),
        textcoords="offset points",
        va="top" if below else "bottom",
        color="0.35",
        fontsize=8.5,
    )


def colours_of(lines: Sequence[LossLine]) -> dict[str, str]:
    """By method; each kind begins at a colour of its own, and kinds are told apart by markers and dashes too."""
    methods = {kind: list(dict.fromkeys(line.method for line in lines if line.kind == kind)) for kind in FIRST_COLOUR}
    return {
        method: COLOURS[(FIRST_COLOUR[kind] + index) % len(COLOURS)]
        for kind, names in methods.items()
        for index, method in enumerate(names)
    }


def draw_blocks(panel: Any, inspection: Inspection) -> None:
    """A row for each depth method, a column for each block: colours are shares of the method's highest score on a logarithmic scale,
    numbers the order in which blocks would go."""
    from matplotlib.colors import LogNorm

    scores = scores_of(inspection, "blocks")
    panel.set_title("Blocks: the order in which they would go", fontsize=10)
    if not scores:
        panel.text(0.5, 0.5, "no depth method was tried", transform=panel.transAxes, ha="center", color="0.4")
        panel.set_axis_off()
        return
    shares = np.stack([each / max(each.max(), 1e-12) for each in scores.values()])
    scale = LogNorm(0.01, 1, clip=True)
    image = panel.imshow(np.maximum(shares, 1e-12), aspect="auto", cmap=SHADES, norm=scale, interpolation="nearest")
    n_blocks = shares.shape[1]
    for row, each in enumerate(scores.values()):
        for column, order in enumerate(order_of_going(each)):
            if n_blocks > MANY_BLOCKS and order > 9:
                continue
            dark = scale(max(shares[row, column], 1e-12)) < 0.55
            panel.text(
                column,
                row,
                str(order),
                ha="center",
                va="center",
                fontsize=min(8.5, 170 / min(n_blocks, MANY_BLOCKS)),
                color="white" if dark else "black",
                weight="bold" if order == 1 else "normal",
            )
    panel.set_yticks(range(len(scores)), list(scores), fontsize=8.5)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set_xlabel("block")
    colour_bar(panel, image, "score, highest of the row = 1")


def colour_bar(panel: Any, image: Any, words: str) -> None:
    bar = panel.figure.colorbar(image, ax=panel, pad=0.02, aspect=25)
    plain_log_ticks(bar.ax.yaxis, image.norm.vmin, image.norm.vmax)
    bar.set_label(words, fontsize=8.5)
    bar.ax.tick_params(labelsize=8.5)
    bar.outline.set_visible(False)


def plain_log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic axis with plain numbers, closer where it is short."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    some, more, most = (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.1, 1.2, 1.4, 1.6, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    axis.set_major_locator(LogLocator(subs=most if high < 2.5 * low else more if high < 12 * low else some, numticks=20))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def draw_heads(panel: Any, heads_KG: np.ndarray) -> None:
    picture(panel, relative_to_block(heads_KG), extent=None)
    panel.set_title("Attention heads", fontsize=10)
    panel.set_xlabel("head, or group that shares keys and values")
    panel.xaxis.get_major_locator().set_params(integer=True)


def draw_ffn(panel: Any, ffn_KF: np.ndarray) -> None:
    curves_KQ = sorted_curves(ffn_KF)
    picture(panel, curves_KQ, extent=(0, 100, len(curves_KQ) - 0.5, -0.5))
    panel.set_title("Feed-forward channels, sorted in each block", fontsize=10)
    panel.set_xlabel(f"share of its {ffn_KF.shape[1]:,} channels (%)")


def picture(panel: Any, values_KX: np.ndarray, extent: Any) -> None:
    """Multiples of a block's mean as colours on a logarithmic scale, a row for each block. The last hundredth at each end has the colour
    of what is next to it."""
    from matplotlib.colors import LogNorm

    low, high = np.quantile(values_KX, (0.01, 0.99))
    scale = LogNorm(min(max(low, 0.01), 0.8), max(high, 1.25), clip=True)
    image = panel.imshow(
        np.maximum(values_KX, 1e-12), aspect="auto", cmap=SHADES, norm=scale, extent=extent, interpolation="nearest"
    )
    colour_bar(panel, image, "times the mean of its block")
    panel.set_ylabel("block")
    panel.yaxis.get_major_locator().set_params(integer=True)


def draw_hidden(panel: Any, hidden_D: np.ndarray) -> None:
    (curve_Q,) = sorted_curves(hidden_D[None])
    panel.plot(np.linspace(0, 100, len(curve_Q)), curve_Q, color=COLOURS[0], linewidth=1.8)
    panel.axhline(1, color="0.5", linewidth=1)
    if curve_Q.min() > 0:
        panel.set_yscale("log")
        plain_log_ticks(panel.yaxis, *panel.get_ylim())
    panel.set_title("Hidden channels, sorted", fontsize=10)
    panel.set_xlabel(f"share of the {len(hidden_D):,} channels (%)")
    panel.set_ylabel("times their mean")
