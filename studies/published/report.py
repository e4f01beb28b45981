"""Tables and figures of this study, from data/ alone, in one or two minutes.

python -m studies.published.report     writes results.md and the figures beside it
"""

from pathlib import Path

from prunescale.report import save_png
from studies.published import curves, families, frantar, gadre, hoffmann, minitron, muennighoff, porian
from studies.published.figures import FIGURES

HERE = Path(__file__).parent
SECTIONS = {
    hoffmann: "chinchilla",
    frantar: "sparse",
    gadre: None,
    porian: "exponents",
    muennighoff: None,
    curves: "curves",
    families: None,
    minitron: None,
}
"""The modules in the order of their sections, each with the figure below it."""


def results() -> str:
    """The text of results.md."""
    parts = [
        "<!-- Written by report.py from data/. -->\n\n# Results\n\nErrors are relative to the loss, predicted above measured positive.\n"
    ]
    for module, figure in SECTIONS.items():
        parts.append(module.section())
        if figure:
            parts.append(f"![{(FIGURES[figure].__doc__ or '').partition(chr(10))[0]}]({figure}.png)\n")
    return "\n".join(parts)


def main() -> None:
    (HERE / "results.md").write_text(results(), encoding="utf-8")
    for name, figure in FIGURES.items():
        save_png(figure(), HERE / f"{name}.png")


if __name__ == "__main__":
    main()
