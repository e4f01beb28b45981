from functools import partial

import pytest
import torch

from prunescale.errors import TrainingError
from prunescale.recipe import TrainRecipe
from prunescale.training import Batches, Machine, Tokens, held_out_windows, held_zeros, loss_function, mean_loss, train_
from prunescale.training.distributed import ALONE
from prunescale.training.objective import Computing, summed_loss
from prunescale.training.state import State, adamw, set_rate_
from prunescale.training.step import Step

CPU = torch.device("cpu")
MACHINE = Machine(CPU)
SAYING = torch.tensor(list(b"never odd or even; ")) + 1
EASY = Tokens(SAYING.repeat(40), None)
HELD_OUT = Tokens(SAYING.repeat(8), None)
RECIPE = TrainRecipe(
    data="d", held_out="h", tokens=384, learning_rate=0.01, sequence_length=16, batch_tokens=64, n_measurements=12, clip=0.05
)
"""Six steps, each of them clipped and measured."""


def is_linear(name):
    return "_proj" in name


@pytest.fixture
def sparse(make_model):
    """Of every four weights of a row in the blocks, two are zero: the outer in even rows, the inner in odd ones."""
    model = make_model(tied=False)
    for name, parameter in model.named_parameters():
        if is_linear(name):
            for first_row, columns in ((0, (0, 3)), (1, (1, 2))):
                for column in columns:
                    parameter.data[first_row::2, column::4] = 0
    return model


def zeros_of(model):
    return {name: parameter == 0 for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_zeros_stay_and_the_rest_trains(sparse, dtype):
    before = {name: parameter.detach().clone() for name, parameter in sparse.named_parameters()}
    assert torch.equal(zeros_of(sparse)["model.layers.0.mlp.up_proj.weight"][7, :8], torch.tensor([0, 1, 1, 0] * 2).bool())
    curve = train_(sparse, EASY, HELD_OUT, TrainRecipe(**{**vars(RECIPE), "dtype": dtype}), machine=MACHINE, keep_zeros=True)
    for name, parameter in sparse.named_parameters():
        zero = before[name] == 0
        assert torch.equal(parameter == 0, zero), name
        assert float((parameter != before[name])[~zero].float().mean()) > 0.9, name  # a token that never comes decays only
    assert curve.points[-1].loss < curve.points[0].loss - 0.1


def test_without_being_told_the_zeros_grow_back(sparse):
    train_(sparse, EASY, HELD_OUT, RECIPE, machine=MACHINE)
    assert not any(zero.any() for name, zero in zeros_of(sparse).items() if is_linear(name))


def plain_curve(model) -> list[float]:
    """The losses before training and after each of its steps, by AdamW as it is written down (Loshchilov and Hutter 2019,
    algorithm 2), on the weights that are not zero alone."""
    windows = held_out_windows(HELD_OUT, 16)
    batches = Batches(EASY, 16, 4, RECIPE.seed)
    names = [name for name, _ in model.named_parameters()]
    parameters = dict(model.named_parameters())
    trains = {name: parameters[name] != 0 if is_linear(name) else torch.ones_like(parameters[name], dtype=bool) for name in names}
    first = {name: torch.zeros(int(trains[name].sum())) for name in names}
    second = {name: torch.zeros(int(trains[name].sum())) for name in names}
    losses = [mean_loss(loss_function(model, CPU), windows, batch=4, device=CPU)]
    for step in range(1, 7):
        ids = batches.at(step)
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        gradients = dict(zip(names, torch.autograd.grad(loss, [parameters[name] for name in names]), strict=True))
        gradients = {name: gradients[name][trains[name]] for name in names}
        norm = sum(float((gradient**2).sum()) for gradient in gradients.values()) ** 0.5
        assert norm > RECIPE.clip
        for name in names:
            gradient = gradients[name] * RECIPE.clip / norm
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.95 * second[name] + 0.05 * gradient**2
            mean, spread = first[name] / (1 - 0.9**step), second[name] / (1 - 0.95**step)
            weight = parameters[name].data[trains[name]]
            decay = 0.1 if parameters[name].ndim == 2 else 0.0
            parameters[name].data[trains[name]] = weight - 0.01 * (mean / (spread.sqrt() + 1e-8) + decay * weight)
        losses.append(mean_loss(loss_function(model, CPU), windows, batch=4, device=CPU))
    return losses


def test_the_curve_is_that_of_training_the_other_weights_alone(sparse, make_model):
    expected_of = make_model(tied=False)
    expected_of.load_state_dict(sparse.state_dict())
    expected = plain_curve(expected_of)
    curve = train_(sparse, EASY, HELD_OUT, RECIPE, machine=MACHINE, keep_zeros=True)
    # The same float32 arithmetic in another order, six steps long; AdamW divides tiny gradients by their size.
    assert [point.loss for point in curve.points] == pytest.approx(expected, abs=2e-4)
    assert expected[0] - expected[-1] > 0.1


def test_clipping_and_moments_know_nothing_of_weights_that_are_held(sparse):
    optimizer = adamw(sparse, RECIPE)
    held = held_zeros(sparse)
    set_rate_(optimizer, 0.01)
    loss = partial(summed_loss, sparse, how=Computing(torch.float32))
    Step(loss, State(sparse, optimizer, held), 1.0, ALONE)(Batches(EASY, 16, 4, 0).at(1))
    for weight, keep in held:
        for moment in ("exp_avg", "exp_avg_sq"):
            assert not optimizer.state[weight][moment][~keep].any()
            assert optimizer.state[weight][moment][keep].all()

    # Of 3 a + 4 b with b held at zero the gradient is (3, 0), of length 3; cut to length 1 it is (1, 0).
    pair = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
    state = State(None, torch.optim.SGD([pair], lr=0.5), [(pair, pair.detach() != 0)])
    Step(lambda ids: 2 * (3 * pair[0] + 4 * pair[1]), state, 1.0, ALONE)(torch.zeros(1, 3))
    assert pair.tolist() == pytest.approx([0.5, 0.0], rel=1e-5)  # torch adds 1e-6 to the length that it divides by


def test_an_optimiser_that_would_move_a_weight_without_a_gradient_does_not():
    pair = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = torch.optim.SGD([pair], lr=0.5, momentum=0.9)

    def step(held=()):
        Step(lambda ids: 2 * pair.sum(), State(None, optimizer, held), 10.0, ALONE)(torch.zeros(1, 3))

    step()
    pair.data[1] = 0
    step([(pair, pair.detach() != 0)])
    assert pair.tolist() == pytest.approx([1 - 0.5 - 0.5 * 1.9, 0.0], rel=1e-6)


def test_only_linear_weights_of_the_blocks_with_a_zero_are_held(make_model):
    model = make_model()
    model.model.embed_tokens.weight.data[5] = 0
    model.model.norm.weight.data[0] = 0
    one = model.model.layers[2].self_attn.k_proj.weight
    one.data[3, 4] = 0
    ((weight, keep),) = held_zeros(model)
    assert weight is one
    assert keep.dtype == torch.bool
    assert (~keep).nonzero().tolist() == [[3, 4]]


def test_zeros_that_are_not_there_cannot_be_kept(make_model):
    with pytest.raises(
        TrainingError, match="no weight of the linear layers in its blocks is zero: prune it by a method"
    ) as refused:
        train_(make_model(), EASY, HELD_OUT, RECIPE, machine=MACHINE, keep_zeros=True)
    assert "\n" not in str(refused.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_zeros_stay_on_a_gpu(sparse):
    before = zeros_of(sparse)
    curve = train_(sparse, EASY, HELD_OUT, RECIPE, machine=Machine(torch.device("cuda")), keep_zeros=True)
    assert all(torch.equal(zero.cpu(), before[name]) for name, zero in zeros_of(sparse).items())
    assert curve.points[-1].loss < curve.points[0].loss - 0.1
