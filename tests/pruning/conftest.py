"""Text that a model would write."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def own_text() -> Callable[[Any], Any]:
    """400 tokens that a model draws, in sequences of 20, each of them from a start of its own."""
    import torch

    @torch.no_grad()
    def draw(model: Any) -> Any:
        generator = torch.Generator().manual_seed(3)
        ids = torch.randint(1, model.config.vocab_size, (20, 1), generator=generator)
        while ids.shape[1] < 20:
            likely = model(input_ids=ids, use_cache=False).logits[:, -1].softmax(-1)
            ids = torch.cat([ids, torch.multinomial(likely, 1, generator=generator)], dim=1)
        return ids.flatten()

    return draw
