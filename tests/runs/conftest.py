from collections.abc import Callable
from dataclasses import replace

import pytest

from prunescale.runs.record import Point, Run

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
        Point(n_tokens=400, loss=3.9999999999999996, learning_rate=2.5e-4, phase="decay", seconds=1 / 3),
    ),
)


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """A run of three points; any field can be given."""
    return lambda **changes: replace(RUN, **changes)
