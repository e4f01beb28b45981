"""Greedy decoding with transformers' own model and a static cache: a prefill, then one token a step. On a GPU the step is recorded
once as a CUDA graph and played back, since a small model's step is mostly launching.

Letters of shapes: B texts decoded beside one another, L tokens of the prompt, N new tokens.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, StaticLayer

from prunescale.errors import ModelError

WARM_UP_STEPS = 2
ROUNDED_TO = 8
"""Positions of a cache: on a GPU attention with a mask wants rows of a multiple of 16 bytes."""


class Decoder:
    """Decodes `new_tokens` tokens after the prompts, the same each time. Its cache and the tokens stay where they are in memory, as a
    recorded step knows addresses only. `notes` says what was tried and did not work on this machine."""

    def __init__(self, model: Any, prompt_BL: Tensor, new_tokens: int) -> None:
        batch, length = prompt_BL.shape
        refuse_long_text(model.config, length, new_tokens)
        self.model, self.prompt_BL, self.new_tokens = model, prompt_BL, new_tokens
        self.cache = room_for(model.config.num_hidden_layers, length + new_tokens)
        self.token_B1 = torch.zeros(batch, 1, dtype=torch.long, device=prompt_BL.device)
        self.tokens_BN = torch.zeros(batch, new_tokens, dtype=torch.long, device=prompt_BL.device)
        self.forward: Callable[..., Any] = model
        self.play: Callable[[], None] = self.step
        self.compiled = self.recorded = False
        self.notes: list[str] = []

    def reset(self) -> None:
        """Empty the cache."""
        self.cache.reset()

    @torch.no_grad()
    def prefill(self) -> None:
        """An empty cache filled with the prompts, and the first token of each text."""
        self.take(self.model(self.prompt_BL, past_key_values=self.cache, use_cache=True, logits_to_keep=1).logits)
        self.tokens_BN[:, :1].copy_(self.token_B1)

    @torch.no_grad()
    def step(self) -> None:
        """One token more of each text. All that changes is on the device, so that the step can be played back."""
        self.take(self.forward(self.token_B1, past_key_values=self.cache, use_cache=True).logits)

    def take(self, logits_BLV: Tensor) -> None:
        self.token_B1.copy_(logits_BLV[:, -1:].argmax(-1))

    def decode(self) -> Tensor:
        """The tokens after the first, one at a time; all new tokens come back, (B, N)."""
        for index in range(1, self.new_tokens):
            self.play()
            self.tokens_BN[:, index : index + 1].copy_(self.token_B1)
        return self.tokens_BN

    def compile_(self) -> None:
        """Have the step compiled, in place. Where the compiler cannot, the step stays as it is and a note says why."""
        self.forward = torch.compile(self.model, dynamic=False)
        self.compiled = self.tried(self.warm_up, "The step is not compiled")
        if not self.compiled:
            self.forward = self.model

    def record_(self) -> None:
        """Have the step recorded as a CUDA graph, in place. Where it cannot be, it stays as it is and a note says why."""
        graph = torch.cuda.CUDAGraph()
        self.recorded = self.tried(lambda: self.capture(graph), "The step is not recorded as a CUDA graph")
        if self.recorded:
            self.play = graph.replay

    def capture(self, graph: "torch.cuda.CUDAGraph") -> None:
        device = self.prompt_BL.device
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            self.warm_up()
        torch.cuda.current_stream(device).wait_stream(side)
        with torch.cuda.device(device), torch.cuda.graph(graph):  # it records on the current device, which need not be this one
            self.step()

    def warm_up(self) -> None:
        self.reset()
        self.prefill()
        for _ in range(min(WARM_UP_STEPS, self.new_tokens - 1)):
            self.step()

    def tried(self, attempt: Callable[[], None], failed: str) -> bool:
        try:
            attempt()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # of the compiler, or of a kernel that no graph can hold; the plain step is only slower
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.notes.append(f"{failed}: {first_line}")
            return False
        return True


def room_for(n_layers: int, n_tokens: int) -> Any:
    """An empty cache of so many tokens in every layer. Layers with a sliding window get all of it too, and a mask hides what they must not
    see: transformers' own cache for them counts its tokens in Python, which a recorded step would not."""
    n_positions = -(-n_tokens // ROUNDED_TO) * ROUNDED_TO
    return Cache(layers=[StaticLayer(max_cache_len=n_positions) for _ in range(n_layers)])


def refuse_long_text(config: Any, prompt_tokens: int, new_tokens: int) -> None:
    """Raise ModelError where a model has no positions for so many tokens, or where there is nothing to decode."""
    if prompt_tokens < 1 or new_tokens < 2:
        raise ModelError(
            f"Decoding is timed after a prompt and the first token: give at least 1 prompt token and 2 new ones, "
            f"got {prompt_tokens} and {new_tokens}."
        )
    limit = config.max_position_embeddings
    if prompt_tokens + new_tokens > limit:
        raise ModelError(
            f"The model takes {limit} tokens, and {prompt_tokens} of the prompt with {new_tokens} new ones are "
            f"{prompt_tokens + new_tokens}: give fewer."
        )
