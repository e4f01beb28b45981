"""Write the tables of docs/sparse.md from the schedule itself: python docs/generate_sparse.py

The page's words are written by hand; what stands between a marker and the next `<!-- end -->` is not.
"""

from collections.abc import Iterator, Sequence
from math import log
from pathlib import Path

from prunescale.partners import dense_partner
from prunescale.recipe import SparseRecipe
from prunescale.shape import ModelShape
from prunescale.training.gradual import average_share, prunings, steps_of_equal_compute

PAGE = Path(__file__).with_name("sparse.md")
END = "<!-- end -->"
DENSE_STEPS = 10_000
PAPER_162M = ModelShape(
    n_layers=12, hidden_size=768, ffn_size=3072, n_heads=12, n_kv_heads=12, head_dim=64, vocab_size=32000, tied_embeddings=False
)
RELEASED = {
    0.2: (11_200, 2500, 8100, 0.8919),
    0.4: (13_050, 2500, 8875, 0.7651),
    0.6: (16_375, 2500, 10_100, None),
    0.8: (25_050, 2500, 12_600, 0.3984),
}
"""By sparsity, of the released 1B models (their cards on Hugging Face): steps, those of the first and the last pruning, and the average
density where it is given. Each cost what 10,000 dense steps do."""


def share_in_the_limit(sparsity: float) -> float:
    """N_avg / N of many prunings between 25 % and 75 % of the compute: a dense quarter, a half in which N falls exponentially with the
    steps, and a quarter at N (1 - S); the steps are these parts of the dense ones divided by the mean N of each."""
    return 1 / (0.25 + 0.5 * log(1 / (1 - sparsity)) / sparsity + 0.25 / (1 - sparsity))


def released() -> Iterator[list[str]]:
    """The schedule with its defaults beside the released models."""
    n_linear = PAPER_162M.n_params_linear  # of what size does not matter
    for sparsity, (steps, first, last, density) in RELEASED.items():
        recipe = SparseRecipe(sparsity=sparsity)
        n_steps = steps_of_equal_compute(recipe, DENSE_STEPS, n_linear, n_linear)
        planned = prunings(recipe, n_steps, n_linear, n_linear)
        yield [
            f"{sparsity:.0%}",
            f"{n_steps:,} ({steps:,})",
            f"{planned[0].step:,} to {planned[-1].step:,} ({first:,} to {last:,})",
            f"{len(planned)}",
            f"{average_share(recipe, n_steps, n_linear, n_linear):.4f} ({'not given' if density is None else f'{density:.4f}'})",
            f"{share_in_the_limit(sparsity):.4f}",
        ]


def partners() -> Iterator[list[str]]:
    """Dense partners of the paper's 162M model."""
    for sparsity in RELEASED:
        recipe = SparseRecipe(sparsity=sparsity)
        n_linear = PAPER_162M.n_params_linear
        n_steps = steps_of_equal_compute(recipe, DENSE_STEPS, n_linear, n_linear)
        wanted = average_share(recipe, n_steps, n_linear, n_linear) * n_linear
        found = dense_partner(PAPER_162M, wanted)
        shape = found.shape
        yield [
            f"{sparsity:.0%}",
            f"{wanted / 1e6:.1f}M",
            f"{(1 - sparsity) * n_linear / 1e6:.1f}M",
            f"{shape.hidden_size:,}, {shape.ffn_size:,}, {shape.n_heads} x {shape.head_dim}",
            f"{shape.n_params_linear / 1e6:.1f}M ({found.error:+.2%})",
        ]


def table(headings: Sequence[str], rows: Iterator[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, ["---"] * len(headings), *rows))


def tables() -> dict[str, str]:
    return {
        "released": table(
            [
                "sparsity",
                "steps of equal compute (theirs)",
                "window in steps (theirs)",
                "prunings",
                "N_avg / N (theirs)",
                "of endlessly many prunings",
            ],
            released(),
        ),
        "partners": table(
            ["sparsity", "N_avg", "N in the end", "partner: hidden size, feed-forward, heads", "its linear weights"], partners()
        ),
    }


def page(text: str) -> str:
    """The page with its tables made anew."""
    for name, content in tables().items():
        before, marker, rest = text.partition(f"<!-- {name} -->\n")
        assert marker, name
        text = before + marker + content + "\n" + rest[rest.index(END) :]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), encoding="utf-8")
