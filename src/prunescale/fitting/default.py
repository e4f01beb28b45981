"""Which law to fit where nobody says which."""

import numpy as np

from prunescale.laws import Columns, Law, P2Law, TokensPerParameterLaw


def default_law(columns: Columns) -> type[Law]:
    """The tokens-per-parameter law where each pruned run has the loss of a control, `loss_control` (see `runs.control.with_control`), and
    the P2 law where one has none. Over a control the former predicts sizes, rates and tokens that it has not seen with a fraction of
    P2's error (studies/p2)."""
    runs = np.asarray(columns["run"])
    pruned = (np.asarray(columns["kind"]) == "post-training") & (np.asarray(columns["pruning_rate"], dtype=float) > 0)
    known = pruned & np.isfinite(np.asarray(columns.get("loss_control", np.nan), dtype=float))
    return P2Law if not pruned.any() or set(runs[pruned]) - set(runs[known]) else TokensPerParameterLaw
