"""What the entries of a recipe may be, and what is said of those that may not."""

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from prunescale.errors import RecipeError
from prunescale.fields import fits, in_words

Limit = tuple[Callable[[Any], bool], str]
LARGEST_INTEGER = 2**63 - 1
POSITIVE: Limit = (lambda value: value > 0, "more than 0")
NOT_NEGATIVE: Limit = (lambda value: value >= 0, "0 or more")
BELOW_ONE: Limit = (lambda value: 0 <= value < 1, "at least 0 and less than 1")
SHARE: Limit = (lambda value: 0 < value < 1, "strictly between 0 and 1")
NOT_EMPTY: Limit = (bool, "a string that is not empty")


def one_of(*choices: str) -> Limit:
    return lambda value: value in choices, f"one of {', '.join(choices)}"


def is_pattern(text: str) -> bool:
    found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text)
    return found is not None and 0 < int(found[1]) < int(found[2])


def are_names(text: str) -> bool:
    names = [name.strip() for name in text.split(",")]
    return all(names) and len(set(names)) == len(names)


LIMITS: dict[str, Limit] = {
    "base": NOT_EMPTY,
    "prune.method": NOT_EMPTY,
    "prune.rate": SHARE,
    "prune.calibration_tokens": POSITIVE,
    "prune.axes": (are_names, "names with commas between, each once, such as ffn,heads"),
    "prune.pattern": (is_pattern, "n:m such as 2:4, with 0 < n < m"),
    "prune.scope": one_of("layer", "global"),
    "prune.steps": POSITIVE,
    "prune.step_tokens": POSITIVE,
    "train.data": NOT_EMPTY,
    "train.held_out": NOT_EMPTY,
    "train.tokens": POSITIVE,
    "train.learning_rate": POSITIVE,
    "train.sequence_length": POSITIVE,
    "train.batch_tokens": POSITIVE,
    "train.warmup_tokens": NOT_NEGATIVE,
    "train.decay_fraction": (lambda value: 0 <= value <= 1, "between 0 and 1"),
    "train.weight_decay": NOT_NEGATIVE,
    "train.clip": POSITIVE,
    "train.beta1": BELOW_ONE,
    "train.beta2": BELOW_ONE,
    "train.n_measurements": POSITIVE,
    "train.first_measurement": POSITIVE,
    "train.held_out_tokens": POSITIVE,
    "train.seed": NOT_NEGATIVE,
    "train.keep_zeros": one_of("auto", "on", "off"),
    "train.decay": one_of("linear", "cosine"),
    "train.final_rate": BELOW_ONE,
    "train.cooldowns": (
        lambda counts: all(fits(n, int) and 0 < n <= LARGEST_INTEGER for n in counts),
        "a list of token counts above 0",
    ),
    "train.cooldown_fraction": SHARE,
    "model.tokenizer": NOT_EMPTY,
    **{f"model.{name}": POSITIVE for name in ("layers", "hidden_size", "ffn_size", "heads", "kv_heads", "head_dim", "context")},
    "model.init_std": POSITIVE,
    "model.init_seed": NOT_NEGATIVE,
    "sparse.sparsity": SHARE,
    "sparse.start": (lambda value: 0 <= value <= 1, "between 0 and 1"),
    "sparse.end": (lambda value: 0 <= value <= 1, "between 0 and 1"),
    "sparse.every": POSITIVE,
    "sparse.pattern": (is_pattern, "n:m such as 2:4, with 0 < n < m"),
    "distill.teacher": NOT_EMPTY,
    "distill.weight": (lambda value: 0 < value <= 1, "more than 0 and at most 1"),
    "distill.temperature": POSITIVE,
    "distill.hidden": NOT_NEGATIVE,
}


def check_entries(prefix: str, section: Any) -> None:
    for field in dataclasses.fields(section):
        key, value = prefix + field.name, getattr(section, field.name)
        if isinstance(value, list):  # as TOML and JSON have it
            value = tuple(value)
            object.__setattr__(section, field.name, value)
        if not fits(value, field.type):
            raise refused(key, value, in_words(field.type))
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise refused(key, value, "at most 2^63 - 1")
        if isinstance(value, float) and not math.isfinite(value):
            raise refused(key, value, "a finite number")
        within, needed = LIMITS.get(key, (lambda value: True, ""))
        if value is not None and not within(value):
            raise refused(key, value, needed)
        if field.type is float:  # 1 and 1.0 are the same recipe and must have the same hash
            object.__setattr__(section, field.name, float(value))


def made_from(cls: type[Any], entries: Any, prefix: str) -> Any:
    if not isinstance(entries, Mapping):
        raise refused(prefix.rstrip("."), entries, f"a section [{prefix.rstrip('.')}]")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in entries:
        if name not in fields:
            raise RecipeError(unknown(prefix + name, [prefix + known for known in fields]))
    for name, field in fields.items():
        if name not in entries and field.default is dataclasses.MISSING:
            kind = f"a section [{name}]" if dataclasses.is_dataclass(field.type) else in_words(field.type)
            raise RecipeError(f"{prefix}{name} is missing; it must be given, as {kind}.")
    return cls(**entries)


def refused(key: str, got: object, needed: str) -> RecipeError:
    try:
        shown = repr(got)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists nested too deep
        shown = "too long to be shown"
    return RecipeError(f"{key} is {shown if len(shown) <= 200 else shown[:197] + '...'}; it must be {needed}.")


def unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"{key} is not an entry of a recipe; " + (f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}.")
