import math

import pytest
import torch

from prunescale.errors import DataError, PruningError
from prunescale.models import family_of
from prunescale.pruning.calibrate import block_angles


def boundary_states(model, ids_BL):
    """The hidden states at the boundaries of the blocks, each block called by hand, in float64."""
    inner = model.model
    state = inner.embed_tokens(ids_BL)
    positions = inner.rotary_emb(state, torch.arange(ids_BL.shape[1])[None])
    states = [state]
    for block in inner.layers:
        states.append(block(states[-1], position_embeddings=positions))
    return [state.double() for state in states]


@torch.no_grad()
def plain_angles(model, tokens, sequence_length):
    cosines, angles = torch.zeros(5, 5, dtype=torch.float64), torch.zeros(5, 5, dtype=torch.float64)
    n_positions = 0
    for start in range(0, len(tokens) - sequence_length + 1, sequence_length):
        states = boundary_states(model, tokens[None, start : start + sequence_length])
        for position in range(sequence_length):
            n_positions += 1
            for i in range(5):
                for j in range(5):
                    a, b = states[i][0, position], states[j][0, position]
                    cosine = min(1.0, float(a @ b / (a.norm() * b.norm())))
                    cosines[i, j] += cosine
                    angles[i, j] += math.acos(cosine) / math.pi
    return cosines / n_positions, angles / n_positions


def test_the_matrices_are_those_of_a_plain_loop(make_model, token_ids):
    model = make_model()
    tokens = token_ids[:135]  # of which 5 sequences of 25 are used, in batches of 4 and 1
    cosine_KK, angle_KK = block_angles(model, family_of(model.config), tokens, sequence_length=25)
    plain_cosine, plain_angle = plain_angles(model, tokens, 25)
    assert cosine_KK.dtype == angle_KK.dtype == torch.float64
    # Sums of 16 float32 products: 1e-7 each, and errors of the forward pass alike.
    assert torch.allclose(cosine_KK, plain_cosine, rtol=0, atol=2e-6)
    between = ~torch.eye(5, dtype=torch.bool)
    assert plain_angle[between].min() > 0.02
    # An angle has the cosine's error over its sine, which is above 0.01 at nearly all positions.
    assert torch.allclose(angle_KK[between], plain_angle[between], rtol=0, atol=2e-5)
    # That of a state to itself: acos(1 - 1e-7) = 4.5e-4 radian is the worst that rounding does.
    assert angle_KK.diagonal().max() < 3e-4


def test_the_batch_does_not_matter_and_no_hook_is_left(make_model, token_ids):
    model = make_model()
    family = family_of(model.config)
    one, many = (block_angles(model, family, token_ids, sequence_length=20, batch=batch)[0] for batch in (1, 7))
    assert torch.allclose(one, many, rtol=0, atol=1e-6)  # float32 rounding of matrix products of another size
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in model.model.layers)


def test_less_than_one_sequence_is_refused(make_model, token_ids):
    model = make_model()
    block_angles(model, family_of(model.config), token_ids[:50], sequence_length=50)
    with pytest.raises(DataError, match="one sequence of 51 tokens at least, got 50"):
        block_angles(model, family_of(model.config), token_ids[:50], sequence_length=51)


@pytest.mark.parametrize("place", ["model.layers.1.mlp.down_proj", "model.norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_damaged_model_has_no_scores(make_model, token_ids, place, value):
    model = make_model()
    model.get_submodule(place).weight.data.view(-1)[3] = value
    with pytest.raises(PruningError, match="not finite, so it is damaged"):
        block_angles(model, family_of(model.config), token_ids, sequence_length=50)
