"""How fast a model decodes and how much memory it takes: one contender made ready, one round of it timed, many rounds summed up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from prunescale.inference.decode import Decoder
from prunescale.inference.floor import Floor
from prunescale.inference.semi_structured import tensor_bytes
from prunescale.training.peak import now


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], low: float, high: float) -> Self:
        """low, high: which percentiles are the ends, 0 and 100 being the least and the greatest value."""
        return cls(*(float(np.percentile(values, share)) for share in (50, low, high)))


@dataclass(frozen=True)
class Round:
    """Seconds of one prefill, and of the steps of decoding after it."""

    prefill: float
    decoding: float


@dataclass(frozen=True)
class Speed:
    """One model at one batch size. Spreads are from the 10th to the 90th percentile of the rounds.

    seconds_to_first_token: of the prefill of the whole batch. tokens_per_second: of decoding after that, all texts of the batch
    together. weight_bytes: of all weights as they lie in memory. peak_memory_bytes: weights, cache and what a prefill and the steps need
    besides, on a GPU; None on a CPU, where it cannot be told apart. kernel: dense or 2:4. compiled, recorded: how a step was run.
    floor: what the measured rates of the device allow. notes: what did not work.
    """

    model: str
    kernel: str
    prompt_tokens: int
    new_tokens: int
    batch_size: int
    seconds_to_first_token: Spread
    tokens_per_second: Spread
    weight_bytes: int
    peak_memory_bytes: int | None
    dtype: str
    device: str
    compiled: bool
    recorded: bool
    floor: Floor
    notes: tuple[str, ...] = ()

    @property
    def times_floor(self) -> float:
        """How many times the floor a step of decoding took; below 1 where the weights lie in a cache that is faster than the memory."""
        return self.batch_size / self.tokens_per_second.median / self.floor.step

    @property
    def prefill_share(self) -> float:
        """Share of the rate of a large matrix product that the prefill came to."""
        return self.floor.prefill / self.seconds_to_first_token.median


def weight_bytes(model: Any) -> int:
    """Bytes of the parameters, shared ones counted once."""
    return sum(tensor_bytes(parameter) for parameter in model.parameters())


def prompts(vocab_size: int, *, batch_size: int, prompt_tokens: int, device: torch.device) -> Tensor:
    """Tokens drawn at random, the same ones each time, (B, L): the speed does not depend on the text."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, (batch_size, prompt_tokens), generator=generator).to(device)


def ready(model: Any, prompt_BL: Tensor, new_tokens: int, *, compiled: bool) -> tuple[Decoder, int | None]:
    """A decoder after its warm-up, and the most memory that it needed, the weights of its model included (None on a CPU)."""
    device = prompt_BL.device
    on_gpu = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if on_gpu else 0
    decoder = Decoder(model, prompt_BL, new_tokens)
    if compiled:
        decoder.compile_()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)  # what the compiler tried out is no cost of serving
        decoder.record_()
    timed(decoder)
    if not on_gpu:
        return decoder, None
    return decoder, weight_bytes(model) + torch.cuda.max_memory_allocated(device) - before


def timed(decoder: Decoder) -> Round:
    """One round, the device waited for before and after each of its halves."""
    device = decoder.prompt_BL.device
    decoder.reset()
    began = now(device)
    decoder.prefill()
    first = now(device)
    decoder.decode()
    return Round(first - began, now(device) - first)


def decoding_rate(each: Round, batch_size: int, new_tokens: int) -> float:
    """Tokens a second of the steps after the first token, all texts of the batch together."""
    return batch_size * (new_tokens - 1) / each.decoding
