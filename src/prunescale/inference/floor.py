"""The least time that a step of decoding and a prefill can take on a device: bytes to read, operations to do. Arithmetic only.

Every weight is read once a step, however many texts are decoded beside one another, and so is the cache of keys and values of each
text. At batch 1 there is hardly anything to compute meanwhile, so that reading is the bound; a prefill reads the weights once for all
tokens of the prompt, and computing is."""

from dataclasses import dataclass

from prunescale.inference.rates import Rates
from prunescale.shape import ModelShape


@dataclass(frozen=True)
class Floor:
    """Seconds that nothing on this device can be faster than, as far as its measured rates go. reading, computing: of one step of
    decoding for the whole batch. prefill: of the whole batch."""

    reading: float
    computing: float
    prefill: float

    @property
    def step(self) -> float:
        """Seconds of one step: reading and computing go on at the same time."""
        return max(self.reading, self.computing)


def floor_of(
    shape: ModelShape, rates: Rates, *, weights_read: int, item_bytes: int, prompt_tokens: int, new_tokens: int, batch_size: int
) -> Floor:
    """weights_read: bytes of the weights that a step reads, which is all but an embedding that is no head. item_bytes: of one number in
    the cache."""
    length = prompt_tokens + new_tokens
    in_cache = cache_bytes(shape, length=length, batch_size=batch_size, item_bytes=item_bytes)
    return Floor(
        reading=(weights_read + in_cache) / rates.copy,
        computing=step_flops(shape, length=length, batch_size=batch_size) / rates.matmul,
        prefill=prefill_flops(shape, prompt_tokens=prompt_tokens, batch_size=batch_size) / rates.matmul,
    )


def cache_bytes(shape: ModelShape, *, length: int, batch_size: int, item_bytes: int) -> int:
    """Bytes of keys and values of `length` positions; those of layers with a sliding window are as many here."""
    return 2 * shape.n_layers * shape.key_value_size * length * batch_size * item_bytes


def step_flops(shape: ModelShape, *, length: int, batch_size: int) -> int:
    """Operations of one step of decoding: two per linear weight, head included, and attention over all of a static cache."""
    return batch_size * (2 * shape.n_params_linear + 4 * shape.n_layers * shape.query_size * length)


def prefill_flops(shape: ModelShape, *, prompt_tokens: int, batch_size: int) -> int:
    """Operations until the first token: a forward pass over the prompt, with the head for its last position only."""
    head = 2 * shape.vocab_size * shape.hidden_size
    return batch_size * (prompt_tokens * (shape.forward_flops_per_token(prompt_tokens) - head) + head)
