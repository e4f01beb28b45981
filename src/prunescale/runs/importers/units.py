"""Units of other people's numbers. Which unit a column has is asked for: a loss in bits looks just like one in nats."""

import math
import re
from dataclasses import dataclass
from enum import Enum

from prunescale.errors import StoreError
from prunescale.runs.importers.rows import BadRow, number


class Quantity(Enum):
    """What a number measures; the value says which units there are for it."""

    COUNT = "1, k, M, B, T, or a number such as 65536 for batches of so many tokens"
    LOSS = "nats, bits (both per token) or perplexity"
    SHARE = "share (0 to 1) or percent"
    RATE = "none"
    OTHER = "a number to multiply with, 1 for none"


@dataclass(frozen=True)
class Unit:
    """How to get to our unit: a factor or, for a perplexity, the logarithm."""

    factor: float = 1.0
    is_perplexity: bool = False

    def to_ours(self, value: float) -> float:
        if not self.is_perplexity:
            return number(value * self.factor)
        if value <= 0:
            raise BadRow("negative", f"is {value:g}; a perplexity is above 0")
        return math.log(value)


COUNTS = {"1": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
LOSSES = {"nats": Unit(), "bits": Unit(math.log(2)), "perplexity": Unit(is_perplexity=True)}
SHARES = {"share": Unit(), "percent": Unit(0.01), "%": Unit(0.01)}
COUNTED = ("flops", "sequence_length", "peak_memory_bytes")


def quantity(name: str) -> Quantity:
    """What one of our fields, or an input of a law, measures: its name says so."""
    if name == "learning_rate":
        return Quantity.RATE
    if name.startswith("n_") or name.endswith(("_tokens", "_params")) or name in COUNTED:
        return Quantity.COUNT
    if name == "loss" or name.startswith("loss_"):
        return Quantity.LOSS
    if name.endswith(("sparsity", "_rate", "_share")):
        return Quantity.SHARE
    return Quantity.OTHER


def unit(text: str, name: str) -> Unit:
    """The unit that a text names for this field. Raises StoreError with those that there are for it."""
    kind = quantity(name)
    if kind is Quantity.LOSS and text in LOSSES:
        return LOSSES[text]
    if kind is Quantity.SHARE and text in SHARES:
        return SHARES[text]
    if kind is Quantity.COUNT:
        for known, factor in COUNTS.items():
            if text.lower() == known.lower():
                return Unit(factor)
    if kind in (Quantity.COUNT, Quantity.OTHER, Quantity.RATE) and (given := _positive(text)):
        return Unit(given)
    raise StoreError(f"{text!r} is no unit of {name}: {kind.value}.")


def _positive(text: str) -> float | None:
    try:
        factor = number(text)
    except BadRow:
        return None
    return factor if factor > 0 else None


AMOUNT = re.compile(r"\s*([+-]?[\d.]+(?:[eE][+-]?\d+)?)\s*(\D*)\s*", re.ASCII)


def amount(text: str, name: str) -> float:
    """A number that someone wrote for one of our fields, in our unit or with another behind it: 1.2B, 25%, 3.1bits."""
    found = AMOUNT.fullmatch(text)
    try:
        value = number(found[1]) if found else None
    except BadRow:
        value = None
    if found is None or value is None:
        raise StoreError(f"{name} is {text!r}, which is not a number; write it like {EXAMPLES[quantity(name)]}.")
    try:
        return (unit(found[2].strip(), name) if found[2].strip() else Unit()).to_ours(value)
    except BadRow as bad:
        raise StoreError(f"{name} {bad.detail}.") from None


EXAMPLES = {
    Quantity.COUNT: "65536, 20M or 1.2B",
    Quantity.LOSS: "2.31 (nats per token), 3.33bits or 10.1perplexity",
    Quantity.SHARE: "0.25 or 25%",
    Quantity.RATE: "3e-4",
    Quantity.OTHER: "0.5",
}
