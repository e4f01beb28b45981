"""Draw docs/inspect.png from docs/inspect.npz, which `prunescale inspect --scores` wrote: python docs/generate_inspect.py"""

from pathlib import Path

from prunescale.report import save_png
from prunescale.report.inspection import inspection_figure
from prunescale.sweep.inspect import read_inspection

if __name__ == "__main__":
    folder = Path(__file__).parent
    save_png(inspection_figure(read_inspection(folder / "inspect.npz")), folder / "inspect.png")
