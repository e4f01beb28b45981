import pytest
import torch

from prunescale.errors import PruningError
from prunescale.pruning.masks import Pattern, keep_n_of_m, keep_of_matrix, keep_of_rows
from prunescale.pruning.scores import magnitude_scores, wanda_scores
from prunescale.pruning.sparsegpt import ColumnBlock, GraphedColumns, inverse_factor, prune_columns_, sparsegpt_

TWO_OF_FOUR = Pattern(2, 4)


def layer(n_outputs=12, n_inputs=24, n_tokens=200, seed=0, dtype=torch.float64):
    """A weight, and inputs that are correlated and of uneven size, as those of a transformer are."""
    generator = torch.Generator().manual_seed(seed)
    weight_OI = torch.randn(n_outputs, n_inputs, generator=generator, dtype=dtype)
    causes_NK = torch.randn(n_tokens, n_inputs // 3, generator=generator, dtype=dtype)
    mixing_KI = torch.randn(n_inputs // 3, n_inputs, generator=generator, dtype=dtype)
    noise_NI = torch.randn(n_tokens, n_inputs, generator=generator, dtype=dtype)
    sizes_I = torch.randn(n_inputs, generator=generator, dtype=dtype).exp()
    return weight_OI, (causes_NK @ mixing_KI + noise_NI) * sizes_I


def plain_sparsegpt(weight_OI, hessian_II, removed, block, damping=0.01):
    """Algorithm 1 with nothing shared: for each row and column, the inverse Hessian of the columns from it on, anew (eq. 3)."""
    weight_OI = weight_OI.clone()
    n_outputs, n_inputs = weight_OI.shape
    damped_II = hessian_II + damping * hessian_II.diagonal().mean() * torch.eye(n_inputs, dtype=hessian_II.dtype)
    inverses = [torch.linalg.inv(damped_II[c:, c:]) for c in range(n_inputs)]
    goes_OI = torch.zeros(n_outputs, n_inputs, dtype=torch.bool)
    n_gone = 0
    for c in range(n_inputs):
        if isinstance(removed, Pattern):
            if c % removed.m == 0:
                for row in range(n_outputs):
                    cost = {p: float(weight_OI[row, p] ** 2 / inverses[p][0, 0]) for p in range(c, c + removed.m)}
                    for p in sorted(cost, key=cost.__getitem__)[: removed.m - removed.n_kept]:
                        goes_OI[row, p] = True
        elif c % block == 0:
            stop = min(c + block, n_inputs)
            cost = {
                (row, p): float(weight_OI[row, p] ** 2 / inverses[p][0, 0]) for row in range(n_outputs) for p in range(c, stop)
            }
            n_here = removed * stop // n_inputs - n_gone
            n_gone += n_here
            for place in sorted(cost, key=cost.__getitem__)[:n_here]:
                goes_OI[place] = True
        for row in range(n_outputs):
            if goes_OI[row, c]:
                weight_OI[row, c:] += -weight_OI[row, c] / inverses[c][0, 0] * inverses[c][:, 0]
                weight_OI[row, c] = 0  # which it is but for rounding
    return weight_OI, ~goes_OI


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("block", [8, 10, 24, 128])
@pytest.mark.parametrize("removed", [TWO_OF_FOUR, Pattern(1, 3), 144, 100, 1, 287], ids=str)
def test_it_is_the_plain_algorithm(removed, block, dtype):
    # The plain version has 12 rows and 24 columns; blocks of 10 leave one of 4, and are 8 with 2:4 and 9 with 1:3.
    weight_OI, inputs_NI = layer()
    hessian_II = inputs_NI.T @ inputs_NI
    expected_OI, keep_expected_OI = plain_sparsegpt(weight_OI, hessian_II, removed, block)
    mine_OI = weight_OI.to(dtype)
    keep_OI = sparsegpt_(mine_OI, hessian_II.to(dtype), removed=removed, block=block)
    assert torch.equal(keep_OI, keep_expected_OI)
    # Rounding is magnified by the condition of the damped Hessian, 1.3e3, at worst: 1e-16 becomes 1.3e-13, and 6e-8 8e-5. Most of it
    # is far less: 1e-15 and 6e-7 were seen.
    tolerance = 1e-13 if dtype == torch.float64 else 1e-5
    assert torch.allclose(mine_OI.double(), expected_OI, rtol=0, atol=tolerance)
    assert bool((mine_OI[~keep_OI] == 0).all())


def test_one_row_by_hand():
    # H = [[2, 1], [1, 2]] undamped: H^-1 = 1/3 [[2, -1], [-1, 2]], and of the last input alone [[1/2]]. Costs: w_0² / (2/3) = 1.5 and
    # w_1² / (1/2) = 8: the first goes. The second changes by -1 / (2/3) * (-1/3) = 1/2. (Least squares: X w' is nearest to X w where
    # H_11 (w'_1 - w_1) = H_10 w_0: 2 * 1/2 = 1.)
    weight_OI = torch.tensor([[1.0, 2.0]])
    keep_OI = sparsegpt_(weight_OI, torch.tensor([[2.0, 1.0], [1.0, 2.0]]), removed=1, damping=0)
    assert keep_OI.tolist() == [[False, True]]
    assert torch.allclose(weight_OI, torch.tensor([[0.0, 2.5]]), rtol=0, atol=1e-6)  # a few roundings of float32


def test_the_cost_is_by_the_inputs_still_free():
    # The same H; both weights 1. Costs 1.5 and 2, though by the whole inverse they would be equal: the first goes. Weights 1.2 and 1:
    # 2.16 and 2: the second goes, and nothing is left that could make up for it.
    weight_OI = torch.tensor([[1.2, 1.0]])
    keep_OI = sparsegpt_(weight_OI, torch.tensor([[2.0, 1.0], [1.0, 2.0]]), removed=Pattern(1, 2), damping=0)
    assert keep_OI.tolist() == [[True, False]]
    assert weight_OI.tolist() == torch.tensor([[1.2, 0.0]]).tolist()


def test_the_factor_is_that_of_the_papers_code():
    _, inputs_NI = layer()
    hessian_II = inputs_NI.T @ inputs_NI
    damped_II = hessian_II + 0.01 * hessian_II.diagonal().mean() * torch.eye(24, dtype=torch.float64)
    theirs_II = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped_II)), upper=True)
    mine_II = inverse_factor(hessian_II, 0.01)
    assert torch.equal(mine_II, mine_II.triu())
    # Entries of order 0.1 in float64, and a condition of 1.3e3.
    assert torch.allclose(mine_II, theirs_II, rtol=0, atol=1e-14)


@pytest.mark.parametrize("removed", [TWO_OF_FOUR, 1536], ids=str)
def test_the_layer_computes_more_nearly_what_it_did(removed):
    weight_OI, inputs_NI = layer(n_outputs=64, n_inputs=48, n_tokens=400)
    of_wanda = wanda_scores(weight_OI, inputs_NI.norm(dim=0))
    of_magnitude = magnitude_scores(weight_OI)
    if isinstance(removed, Pattern):
        wanda_OI, magnitude_OI = (weight_OI * keep_n_of_m(scores, removed) for scores in (of_wanda, of_magnitude))
    else:
        wanda_OI = weight_OI * keep_of_rows(of_wanda, 0.5)
        magnitude_OI = weight_OI * keep_of_matrix(of_magnitude, removed)
    sparsegpt_OI = weight_OI.clone()
    keep_OI = sparsegpt_(sparsegpt_OI, inputs_NI.T @ inputs_NI, removed=removed, block=16)
    assert int(keep_OI.sum()) == 1536
    errors = [float(((weight_OI - other_OI) @ inputs_NI.T).norm()) for other_OI in (sparsegpt_OI, wanda_OI, magnitude_OI)]
    assert errors[0] < 0.8 * errors[1] < 0.8 * errors[2]
    # The mask alone, without what makes up for it, would not do.
    assert errors[0] < 0.8 * float(((weight_OI - weight_OI * keep_OI) @ inputs_NI.T).norm())


@pytest.mark.parametrize("n_removed", [0, 1, 37, 600, 1007, 1008])
def test_as_many_go_as_were_asked_for_and_evenly(n_removed):
    weight_OI, inputs_NI = layer(n_outputs=28, n_inputs=36)
    keep_OI = sparsegpt_(weight_OI, inputs_NI.T @ inputs_NI, removed=n_removed, block=8)
    assert int((~keep_OI).sum()) == n_removed
    for part_OC in keep_OI.split(8, dim=1):
        assert abs(int((~part_OC).sum()) - n_removed * part_OC.numel() / 1008) < 1


def test_ties_are_the_earlier_ones_to_stay():
    weight_OI = torch.ones(2, 4)
    assert sparsegpt_(weight_OI.clone(), torch.eye(4), removed=TWO_OF_FOUR).int().tolist() == [[1, 1, 0, 0]] * 2
    assert sparsegpt_(weight_OI.clone(), torch.eye(4), removed=3).int().tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize("removed", [TWO_OF_FOUR, 100], ids=str)
def test_the_scale_of_the_hessian_does_not_matter_and_it_stays(removed):
    weight_OI, inputs_NI = layer()
    inputs_NI[:, 5] = 0
    hessian_II = inputs_NI.T @ inputs_NI
    before_II, other_OI = hessian_II.clone(), weight_OI.clone()
    keep_OI = sparsegpt_(weight_OI, hessian_II, removed=removed)
    assert torch.equal(hessian_II, before_II)
    assert torch.equal(sparsegpt_(other_OI, hessian_II / 1000, removed=removed), keep_OI)
    assert torch.allclose(weight_OI, other_OI, rtol=0, atol=1e-13)


@pytest.mark.parametrize("removed", [TWO_OF_FOUR, 144], ids=str)
def test_the_order_of_rows_does_not_matter(removed):
    weight_OI, inputs_NI = layer()
    hessian_II = inputs_NI.T @ inputs_NI
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled_OI = weight_OI[order]
    keep_OI = sparsegpt_(weight_OI, hessian_II, removed=removed, block=8)
    keep_shuffled_OI = sparsegpt_(shuffled_OI, hessian_II, removed=removed, block=8)
    assert torch.equal(keep_OI[order], keep_shuffled_OI)
    assert torch.allclose(weight_OI[order], shuffled_OI, rtol=0, atol=1e-12)  # sums in another order at most


def test_with_a_pattern_layers_of_one_input_can_be_stacked():
    weight_OI, inputs_NI = layer()
    hessian_II = inputs_NI.T @ inputs_NI
    first_OI, rest_OI = weight_OI[:5].clone(), weight_OI[5:].clone()
    keeps = [sparsegpt_(part_OI, hessian_II, removed=TWO_OF_FOUR) for part_OI in (first_OI, rest_OI)]
    assert torch.equal(sparsegpt_(weight_OI, hessian_II, removed=TWO_OF_FOUR), torch.cat(keeps))
    assert torch.allclose(weight_OI, torch.cat([first_OI, rest_OI]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("removed", [TWO_OF_FOUR, 144], ids=str)
def test_bfloat16_is_worked_on_in_float32(removed):
    weight_OI, inputs_NI = layer(dtype=torch.float32)
    hessian_II = inputs_NI.T @ inputs_NI
    rounded_OI = weight_OI.bfloat16()
    fine_OI = rounded_OI.float()
    keep_OI = sparsegpt_(rounded_OI, hessian_II, removed=removed)
    assert torch.equal(sparsegpt_(fine_OI, hessian_II, removed=removed), keep_OI)
    assert rounded_OI.dtype == torch.bfloat16
    assert torch.equal(rounded_OI, fine_OI.bfloat16())


@pytest.mark.parametrize("removed", [TWO_OF_FOUR, 144], ids=str)
def test_inputs_that_are_always_zero(removed):
    # Their weights go first, and change nothing of the others.
    weight_OI, inputs_NI = layer()
    dead = [0, 9, 10]
    inputs_NI[:, dead] = 0
    keep_OI = sparsegpt_(weight_OI, inputs_NI.T @ inputs_NI, removed=removed)
    assert bool((weight_OI[:, dead] == 0).all())
    assert not keep_OI[:, dead].any()
    assert int(keep_OI.sum()) == 144

    every_OI = torch.ones(2, 4)
    sparsegpt_(every_OI, torch.zeros(4, 4), removed=TWO_OF_FOUR)
    assert not every_OI.any()


def test_a_weight_that_is_a_parameter_or_a_view():
    weight_OI, inputs_NI = layer()
    hessian_II = inputs_NI.T @ inputs_NI
    parameter = torch.nn.Parameter(weight_OI.clone())
    transposed_IO = weight_OI.T.contiguous()
    keep_OI = sparsegpt_(parameter, hessian_II, removed=TWO_OF_FOUR)
    assert torch.equal(sparsegpt_(transposed_IO.T, hessian_II, removed=TWO_OF_FOUR), keep_OI)
    assert torch.equal(transposed_IO.T, parameter.detach())
    assert parameter.requires_grad
    assert not keep_OI.requires_grad


def test_damping_is_raised_until_it_does():
    # Eigenvalues 2.5 and -0.5: a tenth of the diagonal, 1, is too little and once is enough.
    hessian_II = torch.tensor([[1.0, 1.5], [1.5, 1.0]])
    assert torch.equal(inverse_factor(hessian_II, 0.01), inverse_factor(hessian_II, 1.0))


def test_what_cannot_be_done():
    weight_OI = torch.ones(1, 2)
    before = torch.get_float32_matmul_precision()
    # Eigenvalues 101 and -99, and the most that is added is 10.
    with pytest.raises(PruningError, match="not positive definite, even with 10 times its mean diagonal added") as caught:
        sparsegpt_(weight_OI, torch.tensor([[1.0, 100.0], [100.0, 1.0]]), removed=1)
    assert len(str(caught.value).splitlines()) == 1
    assert torch.get_float32_matmul_precision() == before
    for bad in (torch.inf, torch.nan):
        with pytest.raises(PruningError, match="Inputs of the layer are not all finite"):
            sparsegpt_(weight_OI, torch.full((2, 2), bad), removed=1)
    with pytest.raises(PruningError, match=r"^2:4 sparsity needs a row length divisible by 4, got 2$"):
        sparsegpt_(weight_OI, torch.eye(2), removed=TWO_OF_FOUR)
    with pytest.raises(PruningError, match=r"^3 weights cannot go of a matrix of 2"):
        sparsegpt_(weight_OI, torch.eye(2), removed=3)
    assert torch.equal(weight_OI, torch.ones(1, 2))  # what is refused stays as it was


def test_products_are_in_full_precision_and_the_setting_is_put_back():
    seen = []
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        sparsegpt_(torch.ones(1, 4), torch.eye(4), removed=2, step=lambda *_: seen.append(torch.get_float32_matmul_precision()))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == ["highest"]


@pytest.mark.gpu
@pytest.mark.parametrize("removed", [TWO_OF_FOUR, 20_000], ids=str)
def test_graphs_compute_what_the_plain_kernels_do(removed):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    step = GraphedColumns()
    for seed in range(2):  # the second replays what the first captured
        # Columns: two blocks of 128 and one of 64.
        weight_OI, inputs_NI = layer(n_outputs=96, n_inputs=320, n_tokens=2000, seed=seed, dtype=torch.float32)
        hessian_II = (inputs_NI.T @ inputs_NI).cuda()
        plain_OI, graphed_OI = weight_OI.cuda(), weight_OI.cuda()
        keep_OI = sparsegpt_(plain_OI, hessian_II, removed=removed)
        assert torch.equal(sparsegpt_(graphed_OI, hessian_II, removed=removed, step=step), keep_OI)
        assert torch.equal(graphed_OI, plain_OI)  # the same kernels on the same numbers


def test_a_block_of_columns_by_hand():
    # The H of above, factor U = [[0.816, -0.408], [0, 0.707]]: changes U_0: / U_00 = (1, -1/2). Of (4, 1), 4 goes: 1 + 4/2 = 3; of
    # (1, 4) too, though it is the smaller, as was said.
    weight_CO = torch.tensor([[4.0, 1.0], [1.0, 4.0]])
    columns = ColumnBlock(
        weight_CO,
        torch.tensor([[True, True], [False, False]]),
        torch.empty(2, 2),
        torch.tensor([[1.0, -0.5], [0.0, 1.0]]),
        torch.tensor([1.5**0.5, 2**0.5]),
    )
    prune_columns_(columns, None)
    assert weight_CO.tolist() == [[0, 0], [3, 4.5]]
    assert columns.lost_CO.tolist() == [[4, 1], [0, 0]]
