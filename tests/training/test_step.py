"""A step that is recorded and played back is the step."""

import gc
from functools import partial

import pytest
import torch

from prunescale.recipe import TrainRecipe
from prunescale.training.distributed import ALONE
from prunescale.training.objective import Computing, summed_loss
from prunescale.training.state import State, adamw, set_rate_
from prunescale.training.step import Step, recorded

RECIPE = TrainRecipe(data="d", held_out="h", tokens=64, learning_rate=0.01, sequence_length=16, batch_tokens=64)


def step_of(model, device, n_parts=1):
    model = model.to(device).train()
    loss = partial(summed_loss, model, how=Computing(torch.float32))
    step = Step(loss, State(model, adamw(model, RECIPE), []), 1.0, ALONE, n_parts)
    set_rate_(step.state.optimizer, 0.01)
    return step


def batches(device):
    rows = torch.randint(1, 257, (5, 4, 17), generator=torch.Generator().manual_seed(2))
    return rows.to(device)


@pytest.mark.parametrize("n_parts", [2, 3, 4])
def test_rows_computed_in_parts_make_the_same_step(make_model, n_parts):
    whole, parts = make_model(), make_model()
    results = [[step(ids).tolist() for ids in batches("cpu")] for step in (step_of(whole, "cpu"), step_of(parts, "cpu", n_parts))]
    assert torch.allclose(*map(torch.tensor, results), atol=1e-4)  # float32 in another order
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_played_back_it_is_the_same_and_keeps_what_it_writes_to(make_model):
    """Once the optimiser was let go after the recording, and the graph wrote its moments into batches that were made later."""
    plain, played = make_model(), make_model()
    expected = [step(ids).tolist() for step in [step_of(plain, "cuda")] for ids in batches("cuda")]
    play = recorded(step_of(played, "cuda"), batches("cuda")[0])
    gc.collect()
    others = [torch.full((2**20,), 7, device="cuda") for _ in range(8)]
    found = [play(ids).tolist() for ids in batches("cuda")]
    assert all((other == 7).all() for other in others)
    assert torch.allclose(torch.tensor(found), torch.tensor(expected), rtol=1e-4)
