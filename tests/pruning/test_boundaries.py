import math

import pytest
import torch

from prunescale.errors import DataError, ModelError, PruningError
from prunescale.models import FAMILIES, BlocksInMemory
from prunescale.pruning import Calibration
from prunescale.pruning.boundaries import block_angles


def angles_of(model, tokens, sequence_length, *, apart=1, **settings):
    return block_angles(BlocksInMemory(model), Calibration(tokens, sequence_length, **settings), apart=apart)


def boundary_states(model, ids_BL):
    """The hidden states at the boundaries of the blocks, each block called by hand, in float64."""
    inner = model.model
    state = inner.embed_tokens(ids_BL)
    positions = inner.rotary_emb(state, torch.arange(ids_BL.shape[1])[None])
    states = [state]
    for block in inner.layers:
        states.append(block(states[-1], position_embeddings=positions))
    return [state.double() for state in states]


def states_of_transformers(model, ids_BL):
    """The same, as transformers gives them out; instead of the last state it gives the one behind the last norm."""
    seen = []
    handle = model.model.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    states = model(input_ids=ids_BL, output_hidden_states=True).hidden_states
    handle.remove()
    return [state.double() for state in (*states[:-1], *seen)]


@torch.no_grad()
def plain_angles(states_of, model, tokens, sequence_length):
    n = len(model.model.layers) + 1
    cosines, angles = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64)
    n_positions = 0
    for start in range(0, len(tokens) - sequence_length + 1, sequence_length):
        states = states_of(model, tokens[None, start : start + sequence_length])
        for position in range(sequence_length):
            n_positions += 1
            for i in range(n):
                for j in range(n):
                    a, b = states[i][0, position], states[j][0, position]
                    cosine = min(1.0, float(a @ b / (a.norm() * b.norm())))
                    cosines[i, j] += cosine
                    angles[i, j] += math.acos(cosine) / math.pi
    return cosines / n_positions, angles / n_positions


def check_against_a_plain_loop(states_of, model, tokens, sequence_length):
    plain_cosine, plain_angle = plain_angles(states_of, model, tokens, sequence_length)
    n_blocks = len(model.model.layers)
    assert plain_angle[~torch.eye(n_blocks + 1, dtype=torch.bool)].min() > 0.02
    for apart in range(1, n_blocks + 1):
        cosine, angle = angles_of(model, tokens, sequence_length, apart=apart)
        assert cosine.dtype == angle.dtype == torch.float64
        assert len(cosine) == len(angle) == n_blocks + 1 - apart
        # Sums of two dozen float32 products at most: 1e-7 each, and errors of the forward pass alike.
        assert torch.allclose(cosine, plain_cosine.diagonal(apart), rtol=0, atol=2e-6)
        # An angle has the cosine's error over its sine, which is above 0.01 at nearly all positions.
        assert torch.allclose(angle, plain_angle.diagonal(apart), rtol=0, atol=2e-5)


def test_the_angles_are_those_of_a_plain_loop(make_model, token_ids):
    # 135 tokens, of which 5 sequences of 25 are used, in batches of 4 and 1.
    check_against_a_plain_loop(boundary_states, make_model(), token_ids[:135], 25)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_so_they_are_for_each_family(make_family_model, token_ids, model_type):
    check_against_a_plain_loop(states_of_transformers, make_family_model(model_type), token_ids[:45], 9)


def test_a_block_that_does_nothing_turns_nothing(make_model, token_ids):
    model = make_model()
    model.model.layers[2].self_attn.o_proj.weight.data.zero_()
    model.model.layers[2].mlp.down_proj.weight.data.zero_()
    cosine, angle = angles_of(model, token_ids, 25)
    assert cosine.argmax() == angle.argmin() == 2
    assert cosine[2] == pytest.approx(1, abs=1e-6)  # float32 rounding of a sum of 16 squares
    # acos(1 - 1e-7) = 4.5e-4 radian is the worst that rounding does.
    assert angle[2] < 3e-4


def test_the_batch_does_not_matter_and_no_hook_is_left(make_model, token_ids):
    model = make_model()
    one, many = (angles_of(model, token_ids, 20, batch=batch)[0] for batch in (1, 7))
    assert torch.allclose(one, many, rtol=0, atol=1e-6)  # float32 rounding of matrix products of another size
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in model.model.layers)


def test_less_than_one_sequence_is_refused(make_model, token_ids):
    model = make_model()
    angles_of(model, token_ids[:50], 50)
    with pytest.raises(DataError, match="one sequence of 51 tokens at least, got 50"):
        angles_of(model, token_ids[:50], 51)


@pytest.mark.parametrize("place", ["model.layers.1.mlp.down_proj", "model.norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_damaged_model_has_no_scores(make_model, token_ids, place, value):
    model = make_model()
    model.get_submodule(place).weight.data.view(-1)[3] = value
    with pytest.raises(ModelError, match="not finite, so it is damaged"):
        angles_of(model, token_ids, 50)


def test_nor_has_one_that_computes_what_is_not_finite(make_model, token_ids):
    model = make_model()
    model.model.layers[1].mlp.down_proj.weight.data.fill_(3e38)
    with pytest.raises(PruningError, match="not finite, so it is damaged"):
        angles_of(model, token_ids, 50)
