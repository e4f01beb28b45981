"""Tables and figure of this study, from curves.json alone.

python studies/smollm2/report.py     writes results.md and excess.png beside it
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from prunescale.fitting import Fit, bootstrap, fit
from prunescale.laws import Columns, P2Law
from prunescale.report import COLOURS, save_png
from prunescale.runs import Run, read_json
from prunescale.runs.control import with_control
from prunescale.runs.table import columns

HERE = Path(__file__).parent
SHOWN = (0, 1_048_576, 4_063_232, 10_158_080, 20_185_088, 40_042_496)
# One size: nothing tells delta, alpha and E from D_C and N_C.
FIXED = {"delta": 0.0, "alpha": 0.0, "E": 0.0}


def against_control(runs: list[Run]) -> Columns:
    """The points of the pruned runs, with the control's loss after the same tokens in the place of the loss before pruning."""
    table = with_control(columns(runs))
    pruned = table["pruning_rate"] > 0
    return {name: column[pruned] for name, column in {**table, "loss_before": table["loss_control"]}.items()}


def loss_table(runs: list[Run]) -> str:
    """Loss after so many tokens, and how far it lies above the control's."""
    curves = [{point.n_tokens: point.loss for point in run.points} for run in runs]
    head = [f"{run.pruning_rate:.1f}" if run.pruning_rate else "0 (control)" for run in runs]
    lines = ["| tokens | " + " | ".join(f"rate {each}" for each in head) + " |", "| --- |" + " ---: |" * len(runs)]
    for n_tokens in SHOWN:
        control = curves[0][n_tokens]
        cells = [f"{control:.4f}", *(f"{curve[n_tokens]:.4f} (+{curve[n_tokens] - control:.4f})" for curve in curves[1:])]
        lines.append(f"| {n_tokens:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fit_table(fits: dict[str, Fit]) -> str:
    lines = ["| L0 is | gamma | N_C | D_C | beta | RMSE | R2 of the excess | status |", "| --- |" + " ---: |" * 6 + " --- |"]
    for name, found in fits.items():
        law, names = found.law.constants(), ("gamma", "N_C", "D_C", "beta")
        ends = {name: found.interval(name) or (law[name], law[name]) for name in names}
        cells = [f"{law[name]:.3g} ({ends[name][0]:.3g} to {ends[name][1]:.3g})" for name in names]
        status = found.status.name.lower().replace("_", " ")
        lines.append(
            f"| {name} | " + " | ".join(cells) + f" | {found.metrics.rmse:.4f} | {found.metrics.r2_excess:.3f} | {status} |"
        )
    return "\n".join(lines)


def held_out_table(table: Columns) -> str:
    """The law over the control fitted without some points, and its errors on those: the hold-outs of the P2 law's paper that one
    size allows. Beside it, on the last tokens, a power law fitted to each curve alone: the least that a joint law must beat."""
    usable = np.isin(table["phase"], ["constant"])
    late = table["n_tokens"] > np.quantile(table["n_tokens"][usable], 0.8)
    high = table["pruning_rate"] == table["pruning_rate"].max()
    lines = ["| held out | law | points | error of the loss | error of the excess |", "| --- | --- |" + " ---: |" * 3]
    for name, out in {"last 20 % of the measurements": late, "highest rate": high}.items():
        seen, unseen = ({key: column[usable & keep] for key, column in table.items()} for keep in (~out, out))
        predictions = {"P2 over the control": fit(P2Law, seen, fixed=FIXED).predict(unseen)}
        if out is late:
            predictions["each curve alone"] = power_law_of_each(seen, unseen)
        for law, predicted in predictions.items():
            error, excess = np.abs(predicted - unseen["loss"]), unseen["loss"] - unseen["loss_before"]
            shares = f"{100 * np.mean(error / unseen['loss']):.2f} % | {100 * np.mean(error / excess):.1f} %"
            lines.append(f"| {name} | {law} | {len(error)} | {shares} |")
    return "\n".join(lines)


def power_law_of_each(seen: Columns, unseen: Columns) -> np.ndarray:
    """Loss predicted by excess = c D^-b, fitted by least squares on the logarithms of each run's own excess."""
    predicted = np.empty_like(unseen["loss"])
    for run in np.unique(unseen["run"]):
        here, there = seen["run"] == run, unseen["run"] == run
        excess = (seen["loss"] - seen["loss_before"])[here]
        slope, offset = np.polyfit(np.log(seen["n_tokens"][here]), np.log(excess), 1)
        predicted[there] = unseen["loss_before"][there] + np.exp(offset + slope * np.log(unseen["n_tokens"][there]))
    return predicted


def run_table(runs: list[Run]) -> str:
    lines = ["| rate | blocks left | tokens/s | minutes | GPU memory, GB | FLOPs | TFLOP/s |", "| --- |" + " ---: |" * 6]
    for run in runs:
        blocks = round(30 * (1 - run.pruning_rate))
        memory = (run.peak_memory_bytes or 0) / 1e9
        lines.append(
            f"| {run.pruning_rate:.1f} | {blocks} | {run.tokens_per_second:,.0f} | {run.seconds / 60:.1f} | {memory:.0f} "
            f"| {run.flops:.2e} | {run.flops / run.seconds / 1e12:.0f} |"
        )
    return "\n".join(lines)


def excess_figure(found: Fit, table: Columns) -> Figure:
    """Loss above the control's against tokens, both axes logarithmic: dots measured, lines the P2 law."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    for rate, colour in zip(np.unique(table["pruning_rate"]), COLOURS, strict=False):
        here = (table["pruning_rate"] == rate) & (table["n_tokens"] > 0)
        curve = {name: column[here] for name, column in table.items()}
        seen = curve["phase"] == "constant"
        excess, predicted = curve["loss"] - curve["loss_before"], found.predict(curve) - curve["loss_before"]
        axes.plot(curve["n_tokens"], excess, "o", color=colour, markersize=4, label=f"{rate:.0%} of the blocks pruned")
        axes.plot(curve["n_tokens"][seen], predicted[seen], "-", color=colour, linewidth=1.5)
    axes.set(
        xscale="log", yscale="log", xlabel="tokens trained on after pruning", ylabel="loss above the control's (nats per token)"
    )
    axes.set_yticks([0.05, 0.1, 0.2, 0.5, 1.0], ["0.05", "0.1", "0.2", "0.5", "1"])
    axes.minorticks_off()
    axes.set_title("SmolLM2-135M: dots measured, lines the P2 law over the control", fontsize=9.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    runs = sorted(read_json(HERE / "curves.json"), key=lambda run: run.pruning_rate)
    tables = {"loss before pruning": columns(runs), "control's loss": against_control(runs)}
    fits = {name: bootstrap(fit(P2Law, table, fixed=FIXED)) for name, table in tables.items()}
    method = next(found.replicates.method for found in fits.values() if found.replicates)
    text = f"""<!-- Written by report.py from curves.json. -->

Held-out loss in nats per token; in brackets, above the control after the same tokens. Before pruning: {runs[0].loss_before:.4f}.

{loss_table(runs)}

P2 law, constant-rate points, delta = alpha = E = 0 (there is one size); in brackets, the 90 % interval
({method}).

{fit_table(fits)}

Held out, mean of the absolute relative errors:

{held_out_table(tables["control's loss"])}

{run_table(runs)}
"""
    (HERE / "results.md").write_text(text)
    print(text)
    save_png(excess_figure(fits["control's loss"], tables["control's loss"]), HERE / "excess.png")


if __name__ == "__main__":
    main()
