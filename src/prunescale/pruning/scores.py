"""What each weight is worth: the scores of unstructured and n:m pruning. The lowest go first, and none is negative.

Letters of shapes: O outputs (rows), I inputs.
"""

from torch import Tensor


def magnitude_scores(weight_OI: Tensor) -> Tensor:
    """The size of each weight, in the weight's own dtype."""
    return weight_OI.abs()


def wanda_scores(weight_OI: Tensor, input_norm_I: Tensor) -> Tensor:
    """The size of each weight times the L2 norm of its input over all calibration tokens, sqrt(sum x²) (Wanda, Sun et al. 2023,
    arXiv:2306.11695, eq. 1). Only ratios matter within a layer, so a mean over tokens in place of the sum does as well there; not
    between layers."""
    return weight_OI.abs() * input_norm_I
