"""Tiny models, tokenizers and checkpoints, made from a configuration and a seed; and the record of a run."""

import os
import signal
import subprocess
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported: no test may reach the network
os.environ["PRUNESCALE_CACHE"] = tempfile.mkdtemp(prefix="prunescale-tests-")  # and none leaves tokens in the cache of a person

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in the background of a script: what tests start would not hear an interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prunescale.runs import Point, Run

ALPHABET = 256
"""Bytes; with the end of a document before them, the tiny vocabulary."""


def tiny_tokenizer() -> Any:
    """One token a byte, in the order of the byte-level alphabet, after the token 0, which ends a document."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    assert len(alphabet) == ALPHABET
    inner = Tokenizer(models.BPE(vocab={"<|endoftext|>": 0, **{c: i for i, c in enumerate(alphabet, 1)}}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>")


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """`tiny_tokenizer`."""
    return tiny_tokenizer()


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


FAMILY_SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 7},
    "qwen2": {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2, "tie_word_embeddings": True},
    "qwen3": {"tie_word_embeddings": True},
    "gemma3_text": {"sliding_window": 7, "tie_word_embeddings": True, "query_pre_attn_scalar": 4},
    "phi3": {},
    "olmo2": {},
}
"""Each family that we know, with what is peculiar to it switched on."""


@pytest.fixture
def make_family_model() -> Callable[..., Any]:
    """A model of a family by its model_type: six blocks, width 24, six queries to three keys of size 4, weights and norms that are
    large and uneven enough for each block, head and channel to matter. Any setting of its configuration can be given."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    def make(model_type: str, *, seed: int = 0, **settings: Any) -> Any:
        torch.manual_seed(seed)
        config = {
            "vocab_size": 1 + ALPHABET,
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 6,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "head_dim": 4,
            "max_position_embeddings": 128,
            "initializer_range": 0.2,
            "tie_word_embeddings": False,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": None,
        }
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(model_type, **{**config, **FAMILY_SETTINGS[model_type], **settings})
        ).eval()
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.data += 0.3 * torch.randn_like(parameter)
        return model

    return make


@pytest.fixture
def make_family_checkpoint(make_family_model: Callable[..., Any], tokenizer: Any) -> Callable[..., Any]:
    """A checkpoint of such a model."""
    from prunescale.models import Checkpoint

    return lambda model_type, lineage=None, **settings: Checkpoint(
        model_type, make_family_model(model_type, **settings), tokenizer, lineage=lineage or {}
    )


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


class SmallDisk:
    """A real disk of so many bytes, such as 500k, that can be made larger. Skips the test where none can be mounted."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        folder.mkdir()
        if mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder):
            pytest.skip("no disk can be mounted here")

    def grow(self, size: str) -> None:
        assert mount("-o", f"remount,size={size}", self.folder) == 0

    def close(self) -> None:
        subprocess.run(["umount", "-l", self.folder], check=True)


def mount(*arguments: object) -> int:
    return subprocess.run(["mount", *map(str, arguments)], check=False, stderr=subprocess.DEVNULL).returncode


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[str], SmallDisk]]:
    """Makes such a disk."""
    made: list[SmallDisk] = []

    def make(size: str) -> SmallDisk:
        made.append(SmallDisk(tmp_path / f"disk-{len(made)}", size))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


RUN = Run(
    id="3f9a0c",
    created="2026-11-22T10:00:00+00:00",
    kind="post-training",
    name="tiny, größer block-influence 0.25",
    recipe={"base": "tiny", "prune": {"rate": 0.25}, "train": {"tokens": 400, "learning_rate": 1e-3}},
    recipe_hash="0123456789ab",
    base="tiny",
    pruning_method="block-influence",
    pruning_rate=0.1 + 0.2,  # 0.30000000000000004: comes back exactly or not at all
    n_params_before=1000,
    n_params_non_embedding=750,
    n_params_embedding=100,
    n_params_head=0,
    n_params_attention=300,
    n_params_ffn=400,
    n_params_norm=50,
    n_params_linear=800,
    n_params_total=850,
    n_params_nonzero=850,
    loss_before=3.5,
    n_tokens_pretrain=None,
    bytes_per_token=None,
    sequence_length=8,
    flops=1e15,
    seconds=1 / 3,
    tokens_per_second=1200.0,
    peak_memory_bytes=None,
    device="cpu",
    versions={"torch": "2.13.0", "python": "3.11"},
    points=(
        Point(n_tokens=0, loss=5.0, learning_rate=0.0, phase="before", seconds=0.0),
        Point(n_tokens=100, loss=4.25, learning_rate=1e-3, phase="constant", seconds=0.1),
        Point(n_tokens=400, loss=3.9999999999999996, learning_rate=2.5e-4, phase="annealed", seconds=1 / 3),
    ),
)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """A run of three points; any field can be given."""
    return lambda **changes: replace(RUN, **changes)
