"""Tiny models, tokenizers and checkpoints, made from a configuration and a seed."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported: no test may reach the network

from collections.abc import Callable
from typing import Any

import pytest

ALPHABET = 256
"""Bytes; with the end of a document before them, the tiny vocabulary."""


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One token a byte, in the order of the byte-level alphabet, after the token 0, which ends a document."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    assert len(alphabet) == ALPHABET
    inner = Tokenizer(models.BPE(vocab={"<|endoftext|>": 0, **{c: i for i, c in enumerate(alphabet, 1)}}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>")


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """A Llama of four blocks, width 16, two queries to a key, with weights large enough that each block matters. Any setting
    of its configuration can be given."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(*, tied: bool = True, seed: int = 0, **settings: Any) -> Any:
        torch.manual_seed(seed)
        config = {
            "vocab_size": 1 + ALPHABET,
            "hidden_size": 16,
            "intermediate_size": 40,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "initializer_range": 0.2,
            "tie_word_embeddings": tied,
            "bos_token_id": 0,
            "eos_token_id": 0,
        }
        return LlamaForCausalLM(LlamaConfig(**{**config, **settings})).eval()

    return make


@pytest.fixture
def make_checkpoint(make_model: Callable[..., Any], tokenizer: Any) -> Callable[..., Any]:
    """A checkpoint of such a model."""
    from prunescale.models import Checkpoint

    return lambda lineage=None, **settings: Checkpoint("tiny", make_model(**settings), tokenizer, lineage=lineage or {})


@pytest.fixture
def token_ids() -> Any:
    """400 tokens of the tiny vocabulary, drawn at random."""
    import torch

    return torch.randint(1, 1 + ALPHABET, (400,), generator=torch.Generator().manual_seed(5))
