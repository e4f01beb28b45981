"""Text and token files in, tokens out, whatever they are kept in."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prunescale import embedded
from prunescale.errors import DataError
from prunescale.training.cache import is_kept, kept_tokens
from prunescale.training.documents import HUB, documents, ending_of, places_of
from prunescale.training.rows import is_saved_dataset
from prunescale.training.shards import is_shards, read_shards
from prunescale.training.spans import Runs, domains_beside
from prunescale.training.tokenizing import Encoder, end_of_document, start_of_text, text_end
from prunescale.training.tokens import Tokens

KINDS = "a .txt, .jsonl, .parquet or .npz with tokens, a folder of one of these, or one that prunescale tokenize has written"


def read_tokens(path: str | Path, tokenizer: Any, vocab_size: int) -> Tokens:
    """The tokens of a text (what `documents` reads), of a token file (.npz with an array `tokens` and, if counted, a number `bytes`), of
    all the train-*.npz of a folder in the order of their names, of a folder of shards, or of `embedded:NAME`, a text of ours.

    Text is encoded with `tokenizer`. What is larger than a megabyte is kept as shards, and found there the next time. In a folder of
    several files each is a domain by its name, unless the folder holds train-*.npz; other domains are those of rows, or of a file of spans.

    Raises DataError for what is missing, empty or of another kind, and for tokens outside the vocabulary.
    """
    if str(path).startswith(embedded.PREFIX):
        path = embedded.text_file(str(path).removeprefix(embedded.PREFIX))
    if str(path).startswith(HUB):
        raise DataError(f"{path} is on the Hub: make shards of it with prunescale tokenize, and give their folder.")
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"There is no text at {path}: give {KINDS}.")
    tokens = tokens_of_folder(place, tokenizer) if place.is_dir() else tokens_of_file(place, tokenizer)
    if len(tokens) == 0:
        raise DataError(f"{path} is empty: text is needed to train and to measure on.")
    for extreme in tokens.extremes:
        if not 0 <= extreme < vocab_size:
            raise DataError(
                f"{path} has the token {extreme}, the model knows {vocab_size} from 0 on: tokenize the text with this model's tokenizer."
            )
    return replace(tokens, start=start_of_text(tokenizer))


def tokens_of_folder(folder: Path, tokenizer: Any) -> Tokens:
    if is_shards(folder):
        return read_shards(folder, tokenizer)
    if files := sorted(folder.glob("train-*.npz")):
        return joined(files, tokenizer, are_domains=False)
    if is_saved_dataset(folder) or any(ending_of(file) for file in folder.iterdir()):
        return tokens_of_text(folder, tokenizer)
    if files := sorted(folder.glob("*.npz")):
        return joined(files, tokenizer, are_domains=len(files) > 1)
    raise DataError(f"The folder {folder} holds no train-*.npz and nothing else that can be read: give {KINDS}.")


def tokens_of_file(file: Path, tokenizer: Any) -> Tokens:
    if file.suffix != ".npz":
        return tokens_of_text(file, tokenizer)
    tokens = replace(read_token_file(file), end=end_of_document(tokenizer))
    return replace(tokens, domains=domains_beside(file, len(tokens)))


def tokens_of_text(source: Path, tokenizer: Any) -> Tokens:
    """Encoded, kept if large. Text files have the end of a document only where the tokenizer has the one that parts them."""
    is_plain = all(ending_of(file) in (".txt", None) for file in places_of(source)) and not is_saved_dataset(source)
    encoder = Encoder(tokenizer, text_end(tokenizer) if is_plain else end_of_document(tokenizer))
    if is_kept(source):
        return kept_tokens(source, encoder, "text")
    found, runs = list(encoder.encoded(documents(source))), Runs()
    for document in found:
        runs.add(document.domain, len(document.ids))
    ids = np.concatenate([np.zeros(0, np.int64), *(document.ids for document in found)])
    n_bytes = sum(document.n_bytes for document in found)
    return Tokens(torch.from_numpy(ids.astype(np.int64)), n_bytes, end=encoder.end, domains=runs.domains())


LEAST_SHARE = 0.01
"""Of its size, that a file of tokens has when it is compressed; less is no text, and may fill the memory."""


def refuse_bomb(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.file_size > 2**20 and entry.compress_size < LEAST_SHARE * entry.file_size:
                raise ValueError(f"{entry.filename} grows from {entry.compress_size} to {entry.file_size} bytes")


def read_token_file(file: Path) -> Tokens:
    try:
        refuse_bomb(file)
        with np.load(file, allow_pickle=False) as stored:
            ids, n_bytes = stored["tokens"], int(stored["bytes"]) if "bytes" in stored else None
    except Exception as error:  # of a damaged archive or header, of many classes
        raise DataError(f"{file} is no token file, or a damaged one: an .npz with an array 'tokens' is needed.") from error
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise DataError(f"{file} has tokens of type {ids.dtype} and shape {ids.shape}: one row of whole numbers is needed.")
    return Tokens(torch.from_numpy(ids.astype(np.int64)), n_bytes)


def joined(files: list[Path], tokenizer: Any, *, are_domains: bool) -> Tokens:
    """The tokens of several token files, one behind the other."""
    parts, runs = [read_token_file(file) for file in files], Runs()
    for file, part in zip(files, parts, strict=True):
        runs.add(file.stem if are_domains else None, len(part))
    ids = torch.cat([part.ids for part in parts if isinstance(part.ids, torch.Tensor)])
    counted = [part.n_bytes for part in parts if part.n_bytes is not None]
    n_bytes = sum(counted) if len(counted) == len(parts) else None
    domains = runs.domains() or domains_beside(files[0], len(ids))
    return Tokens(ids, n_bytes, end=end_of_document(tokenizer), domains=domains)
