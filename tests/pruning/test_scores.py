import torch

from prunescale.pruning.scores import magnitude_scores, wanda_scores

WEIGHT = torch.tensor([[1.0, -4.0, 0.0], [-2.0, 3.0, 0.5]])


def test_magnitude():
    assert magnitude_scores(WEIGHT).tolist() == [[1, 4, 0], [2, 3, 0.5]]
    assert magnitude_scores(WEIGHT.bfloat16()).dtype == torch.bfloat16


def test_wanda():
    # Three tokens of three inputs: norms sqrt(9 + 16) = 5, sqrt(1/4) = 1/2 and sqrt(4 + 4 + 1) = 3.
    inputs_NI = torch.tensor([[3.0, 0.0, 2.0], [4.0, 0.5, -2.0], [0.0, 0.0, 1.0]])
    scores = wanda_scores(WEIGHT, inputs_NI.norm(dim=0))
    assert scores.tolist() == [[5, 2, 0], [10, 1.5, 1.5]]


def test_norms_in_float32_keep_their_digits_with_bfloat16_weights():
    norm = torch.tensor([1.0, 1 + 2**-20, 1.0])
    scores = wanda_scores(WEIGHT.bfloat16(), norm)
    assert scores.dtype == torch.float32
    assert scores[0, 1] == 4 * (1 + 2**-20)
