"""Text and token files in; windows of tokens out, in an order fixed by a seed.

Letters of shapes: N windows, B sequences of a batch, L positions.
"""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunescale import embedded
from prunescale.errors import DataError

DOCUMENT_END = "<|endoftext|>"
"""Parts the documents of a text file from one another."""


@dataclass(frozen=True)
class Tokens:
    """Token ids, 1-D int64, and how many bytes of text they stand for (None where nobody counted). start: the token that a window
    begins with whatever stands there, for models that were made to see it before any text; None for others."""

    ids: Tensor
    n_bytes: int | None
    start: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bytes_per_token(self) -> float | None:
        return None if self.n_bytes is None else self.n_bytes / len(self.ids)


def read_tokens(path: str | Path, tokenizer: Any, vocab_size: int) -> Tokens:
    """The tokens of a text file (.txt, encoded with `tokenizer`), of a token file (.npz with an array `tokens` and, if counted,
    a number `bytes`), of all the train-*.npz of a folder in the order of their names, or of `embedded:NAME`, a text of ours.

    Raises DataError for a file that is missing, empty or of another kind, and for tokens outside the vocabulary.
    """
    if str(path).startswith(embedded.PREFIX):
        path = embedded.text_file(str(path).removeprefix(embedded.PREFIX))
    place = Path(path).expanduser()
    if place.is_dir():
        parts = [read_token_file(file) for file in sorted(place.glob("train-*.npz"))]
        if not parts:
            raise DataError(
                f"The folder {path} holds no train-*.npz: give a .txt, an .npz with tokens, or a folder of token shards."
            )
        tokens = join(parts)
    elif not place.is_file():
        raise DataError(f"There is no text at {path}: give a .txt, an .npz with tokens, or a folder of token shards.")
    else:
        tokens = read_token_file(place) if place.suffix == ".npz" else read_text_file(place, tokenizer)
    if len(tokens) == 0:
        raise DataError(f"{path} is empty: text is needed to train and to measure on.")
    for extreme in (int(tokens.ids.min()), int(tokens.ids.max())):
        if not 0 <= extreme < vocab_size:
            raise DataError(
                f"{path} has the token {extreme}, the model knows {vocab_size} from 0 on: tokenize the text with this model's tokenizer."
            )
    return replace(tokens, start=start_of_text(tokenizer))


def start_of_text(tokenizer: Any) -> int | None:
    """The token that a tokenizer by itself puts before any text, as those of Llama, Mistral and Gemma do; None where it puts none.
    Without it Gemma 3 270M has a loss of 4.5 nats in the place of 3.0, over windows of 256 tokens."""
    start = getattr(tokenizer, "bos_token_id", None)
    if start is None or tokenizer("a")["input_ids"][:1] != [start]:
        return None
    return int(start)


def begun(windows_NL: Tensor, start: int | None) -> Tensor:
    """Windows whose first token is `start`, if there is one: a window is cut anywhere from the text, and what stands there gives way."""
    if start is None:
        return windows_NL
    windows_NL = windows_NL.clone()
    windows_NL[:, 0] = start
    return windows_NL


def read_token_file(file: Path) -> Tokens:
    try:
        with np.load(file, allow_pickle=False) as stored:
            ids, n_bytes = stored["tokens"], int(stored["bytes"]) if "bytes" in stored else None
    except (KeyError, ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file} is no token file, or a damaged one: an .npz with an array 'tokens' is needed.") from error
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise DataError(f"{file} has tokens of type {ids.dtype} and shape {ids.shape}: one row of whole numbers is needed.")
    return Tokens(torch.from_numpy(ids.astype(np.int64)), n_bytes)


def read_text_file(file: Path, tokenizer: Any) -> Tokens:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is no UTF-8 text ({error.reason} at byte {error.start}): convert it, or tokenize it to an .npz."
        ) from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): make it readable.") from error
    documents = [part.strip("\n") for part in text.split(DOCUMENT_END)]
    documents = [part for part in documents if part.strip()]
    # Its id alone would not do: a tokenizer gives unknown words the id of "unknown", which in GPT-2 and SmolLM2 this token is.
    end = tokenizer.get_vocab().get(DOCUMENT_END)
    ends = [] if end is None else [end]
    encoded = tokenizer(documents, add_special_tokens=False, verbose=False)["input_ids"] if documents else []
    ids = [token for document in encoded for token in (*document, *ends)]
    return Tokens(torch.tensor(ids, dtype=torch.int64), sum(len(part.encode()) for part in documents))


def join(parts: list[Tokens]) -> Tokens:
    counted = [part.n_bytes for part in parts if part.n_bytes is not None]
    return Tokens(torch.cat([part.ids for part in parts]), sum(counted) if len(counted) == len(parts) else None)


def held_out_windows(tokens: Tokens, sequence_length: int, limit: int | None = None) -> Tensor:
    """(N, L + 1) windows that cover the tokens once, from the start, at most `limit` tokens of them: L predictions each. The
    last token of a window is the first of the next, so that each token but the first is predicted once."""
    available = min(len(tokens), limit + 1) if limit else len(tokens)
    n_windows = (available - 1) // sequence_length
    if n_windows < 1:
        limited = f", of which {limit} are to be used" if limit and limit < len(tokens) else ""
        raise DataError(
            f"The held-out text has {len(tokens)} tokens{limited}, and one window of {sequence_length} + 1 is the least that "
            "will do: give more text or a shorter sequence length."
        )
    return begun(tokens.ids[: n_windows * sequence_length + 1].unfold(0, sequence_length + 1, sequence_length), tokens.start)


def training_batches(tokens: Tokens, sequence_length: int, n_sequences: int, seed: int) -> Iterator[Tensor]:
    """(B, L + 1) batches without end: each epoch takes the windows in a new order and, after the first, from a new starting point."""
    n_windows = (len(tokens) - 1) // sequence_length - 1  # one less, to leave room for the starting point
    if n_windows < n_sequences:
        raise DataError(
            f"The training text has {len(tokens)} tokens, and a batch of {n_sequences} x {sequence_length} needs "
            f"{(n_sequences + 1) * sequence_length + 1} at least: give more text, or a smaller batch."
        )
    batches = epochs(tokens.ids, sequence_length, n_sequences, n_windows, np.random.default_rng(seed))
    return (begun(ids_BL, tokens.start) for ids_BL in batches)


def epochs(ids: Tensor, sequence_length: int, n_sequences: int, n_windows: int, rng: np.random.Generator) -> Iterator[Tensor]:
    within = torch.arange(sequence_length + 1, device=ids.device)
    start = 0
    while True:
        order = torch.from_numpy(rng.permutation(n_windows)).to(ids.device)
        for windows in order[: n_windows // n_sequences * n_sequences].split(n_sequences):
            yield ids[(start + windows * sequence_length)[:, None] + within]
        start = int(rng.integers(sequence_length))
