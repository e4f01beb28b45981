"""Published constants that could be checked in what their authors, or those who refitted them, released; no others."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from prunescale.laws.dense import HoffmannLaw
from prunescale.laws.frantar import MILLION, FrantarLaw
from prunescale.laws.law import Law

EPOCH = "read in the notebook of Epoch AI's replication, arXiv:2404.10102"
JAXPRUNER = "read in the authors' notebook: google-research/jaxpruner, projects/bigsparse/sparsity-scaling.ipynb"
DATABLATIONS = "read in the authors' notebook: huggingface/datablations, utils/parametric_fit.ipynb"

RAW = {"n_params_total": "parameters, embeddings included", "n_tokens": "tokens"}

T5_STEPS = 1e5  # the published unit of D
VIT_EXAMPLES = 1e9  # the published unit of D


@dataclass(frozen=True)
class Preset:
    """A law with published constants; `units` says what the counts in its columns must be of."""

    law: Law
    citation: str
    status: str
    units: Mapping[str, str]


PRESETS: dict[str, Preset] = {
    "hoffmann-2022": Preset(
        HoffmannLaw(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28),
        "Hoffmann et al. 2022, arXiv:2203.15556: as printed, rounded",
        EPOCH,
        RAW,
    ),
    "hoffmann-2022-exact": Preset(
        HoffmannLaw(E=exp(0.5267228), A=exp(6.0073404), alpha=0.33917084, B=exp(6.0179186), beta=0.2849083),
        "Hoffmann et al. 2022, arXiv:2203.15556: before rounding",
        EPOCH,
        RAW,
    ),
    # Only of the Hoffmann form: the R_D* and R_N* of the data-constrained law could not be checked.
    "muennighoff-2023-base": Preset(
        HoffmannLaw(E=exp(0.6254804), A=exp(6.255414), alpha=0.3526596, B=exp(7.3049974), beta=0.3526596),
        "Muennighoff et al. 2023, arXiv:2305.16264: the fit on data that do not repeat",
        DATABLATIONS,
        RAW,
    ),
    # Published for N in millions, as here, and D in units of its own: a_D (D/unit)^-b_D = a_D (unit/1e6)^b_D (D/1e6)^-b_D.
    "frantar-2023-t5": Preset(
        FrantarLaw(
            a_S=0.56778512,
            b_S=0.72161276,
            c_S=1.52265016,
            b_N=0.24513173,
            a_D=0.63361517 * (T5_STEPS / MILLION) ** 0.20270772,
            b_D=0.20270772,
            c=0.65074219,
        ),
        "Frantar et al. 2023, arXiv:2309.08520: T5 on C4",
        JAXPRUNER,
        {"n_params_nonzero": "non-zero weights as the authors count them", "n_tokens": "training steps, not tokens"},
    ),
    "frantar-2023-vit": Preset(
        FrantarLaw(
            a_S=1.30485411,
            b_S=0.82101251,
            c_S=2.07506343,
            b_N=0.39222675,
            a_D=0.27818217 * (VIT_EXAMPLES / MILLION) ** 0.88979104,
            b_D=0.88979104,
            c=4.51669257,
        ),
        "Frantar et al. 2023, arXiv:2309.08520: ViT on JFT",
        JAXPRUNER,
        {"n_params_nonzero": "non-zero weights of the blocks", "n_tokens": "training images, not tokens"},
    ),
}
