"""Tokens in files that are mapped, not read: a folder with `tokens-00000.npy` and so on, which numpy alone reads, and `index.json`, which
says what they are."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunescale.errors import DataError
from prunescale.fields import fits, in_words
from prunescale.file_names import is_file_name
from prunescale.training.spans import Runs, domains_from
from prunescale.training.tokenizing import Encoded, Encoder, vocabulary_hash
from prunescale.training.tokens import Domain, StoredIds, Tokens

INDEX_FILE = "index.json"
FORMAT, VERSION = "prunescale tokens", 1

SHARD_TOKENS = 2**30
"""Tokens of a shard: 2 GiB of 16 bits."""

HELD_TOKENS = 2**20
HEADER_BYTES = 128


@dataclass(frozen=True)
class Shard:
    """A file with its size in bytes and its checksum, and how many tokens are in it."""

    file: str
    n_tokens: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """What is known of the tokens of a folder. tokenizer: hash of its vocabulary, of `vocab_size` tokens. end: the token that ends each
    document. n_bytes: of text, in UTF-8. largest: the largest id. seed: of the order of the documents; None where it is that in which they
    were read. domains: runs of tokens, none where the text has no parts."""

    tokenizer: str
    vocab_size: int
    end: int | None
    n_tokens: int
    n_bytes: int
    n_documents: int
    largest: int
    seed: int | None
    sources: tuple[str, ...]
    shards: tuple[Shard, ...]
    domains: tuple[Domain, ...] = ()


class ShardWriter:
    """Writes tokens into a folder as they come, about HELD_TOKENS at once. Beside them it holds the runs of the domains, of which there are
    100,000 at most."""

    def __init__(self, folder: Path, encoder: Encoder, *, shard_tokens: int = SHARD_TOKENS) -> None:
        self.folder, self.encoder, self.dtype, self.shard_tokens = folder, encoder, encoder.dtype, shard_tokens
        self.shards: list[Shard] = []
        self.runs = Runs()
        self.waiting: list[np.ndarray] = []
        self.n_bytes = self.n_documents = self.largest = self.n_waiting = self.n_here = 0

    def add(self, document: Encoded) -> None:
        """Append a document."""
        self.put(document.ids, document.domain)
        self.count(1, document.n_bytes)

    def count(self, n_documents: int, n_bytes: int) -> None:
        """Count documents, and the bytes of their text."""
        self.n_documents += n_documents
        self.n_bytes += n_bytes

    def put(self, ids: np.ndarray, domain: str | None) -> None:
        """Append ids of a domain."""
        self.runs.add(domain, len(ids))
        self.waiting.append(ids)
        self.n_waiting += len(ids)
        if self.n_waiting >= HELD_TOKENS:
            self._write_waiting()

    def _write_waiting(self) -> None:
        ids = np.concatenate([np.zeros(0, self.dtype), *self.waiting])
        self.waiting, self.n_waiting = [], 0
        self.largest = max(self.largest, int(ids.max(initial=0)))
        while len(ids):
            room = self.shard_tokens - self.n_here
            self._write(ids[:room])
            ids = ids[room:]

    def _write(self, ids: np.ndarray) -> None:
        with open(self._file, "ab") as stream:
            if self.n_here == 0:
                stream.write(bytes(HEADER_BYTES))
            stream.write(ids.tobytes())
        self.n_here += len(ids)
        if self.n_here == self.shard_tokens:
            self._end_shard()

    @property
    def _file(self) -> Path:
        return self.folder / f"tokens-{len(self.shards):05}.npy"

    def _end_shard(self) -> None:
        file = self._file
        with open(file, "r+b") as stream:
            stream.write(npy_header(self.dtype, self.n_here))
        self.shards.append(Shard(file.name, self.n_here, file.stat().st_size, sha256(file)))
        self.n_here = 0

    def close(self, *, sources: Sequence[str], seed: int | None = None) -> Index:
        """Write the index: the folder is complete."""
        self._write_waiting()
        if self.n_here:
            self._end_shard()
        index = Index(
            tokenizer=vocabulary_hash(self.encoder.tokenizer),
            vocab_size=self.encoder.vocab_size,
            end=self.encoder.end,
            n_tokens=self.runs.n_tokens,
            n_bytes=self.n_bytes,
            n_documents=self.n_documents,
            largest=self.largest,
            seed=seed,
            sources=tuple(sources),
            shards=tuple(self.shards),
            domains=self.runs.domains(),
        )
        text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(index)}, indent=1, ensure_ascii=False)
        (self.folder / INDEX_FILE).write_text(text + "\n", encoding="utf-8")
        return index


def npy_header(dtype: np.dtype, n: int) -> bytes:
    """The beginning of an .npy file of a row of n numbers, format 1.0, always of the same size: it is written when n is known."""
    content = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({n},), }}".ljust(HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little") + content.encode("ascii")


@contextmanager
def new_shards(target: Path) -> Iterator[Path]:
    """A folder to write in, which takes its place at `target` when the context ends well, and is gone otherwise.

    Raises DataError where something is there already, and where nothing can be written."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} exists already and is never overwritten: name another folder, or remove this one first.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
            unfinished = Path(temporary) / "tokens"
            unfinished.mkdir()
            yield unfinished
            os.replace(unfinished, target)
    except OSError as error:
        raise DataError(
            f"Tokens cannot be written to {target} ({error.strerror or error}): name another folder, or make room."
        ) from error


def is_shards(folder: Path) -> bool:
    """Whether a folder is one of ours."""
    return (folder / INDEX_FILE).is_file()


def read_index(folder: Path) -> Index:
    """Raises DataError where the folder is not of ours, of a younger version, or damaged."""
    file = folder / INDEX_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        name, version = content.pop("format"), content.pop("version")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file} is no index of tokens, or a damaged one: tokenize the text again.") from error
    if (name, version) != (FORMAT, VERSION):
        raise DataError(f"{file} is of format {name!r} {version!r}, and {FORMAT!r} {VERSION} is read: tokenize the text again.")
    try:
        shards = tuple(Shard(**shard) for shard in content.pop("shards"))
        index = Index(shards=shards, **content)
        n_tokens = sum(shard.n_tokens for shard in shards)
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{file} lacks entries or has others than it should: tokenize the text again.") from error
    refuse_odd_entries(file, index)
    if n_tokens != index.n_tokens:
        raise DataError(f"{file} speaks of {index.n_tokens} tokens and its shards have {n_tokens}: tokenize the text again.")
    return index


def refuse_odd_entries(file: Path, index: Index) -> None:
    """Raise DataError where an entry is of another type than its field, or a shard is said to be elsewhere than in the folder."""
    records: tuple[Index | Shard, ...] = (index, *index.shards)
    for record in records:
        for field in fields(record):
            value: Any = getattr(record, field.name)
            value = tuple(value) if isinstance(value, list) else value  # as JSON has it
            if not fits(value, field.type) or (fits(value, int) and not 0 <= value < 2**63):
                raise DataError(f"{file}: {field.name} is not {in_words(field.type)} that can be: tokenize the text again.")
    for shard in index.shards:
        if not is_file_name(shard.file):
            raise DataError(f"{file} names {shard.file!r}, which is no file of that folder: tokenize the text again.")


def read_shards(folder: Path, tokenizer: Any) -> Tokens:
    """The tokens of a folder, mapped. Raises DataError for another tokenizer's, and for shards that are missing or of another size than
    they were: the one is named."""
    index = read_index(folder)
    if index.tokenizer != vocabulary_hash(tokenizer):
        raise DataError(
            f"{folder} has the tokens of another tokenizer, of {index.vocab_size} entries: tokenize the text with this model's."
        )
    pieces = [mapped(folder, shard) for shard in index.shards]
    domains = domains_from(index.domains, index.n_tokens, folder / INDEX_FILE)
    return Tokens(StoredIds(pieces, index.largest), index.n_bytes, end=index.end, domains=domains)


def mapped(folder: Path, shard: Shard) -> Tensor:
    """The ids of a shard, int16 or int32 whose sign is to be ignored. Nothing is read yet."""
    file = folder / shard.file
    size = file.stat().st_size if file.is_file() else None
    if size != shard.size:
        found = "is missing" if size is None else f"has {size} bytes where {shard.size} were written"
        raise DataError(f"{file} {found}: copy it again, or tokenize the text again.")
    try:
        # Copy-on-write: nothing is ever written, but PyTorch warns of memory that cannot be.
        ids = np.load(file, mmap_mode="c", allow_pickle=False)
    except Exception as error:  # numpy reads the header as Python's literals, and what is none raises of many classes
        raise DataError(f"{file} is damaged: copy it again, or tokenize the text again.") from error
    if ids.dtype.str not in ("<u2", "<u4") or ids.shape != (shard.n_tokens,):
        raise DataError(f"{file} has {ids.dtype} of shape {ids.shape}: copy it again, or tokenize the text again.")
    return torch.from_numpy(ids.view(np.int16 if ids.itemsize == 2 else np.int32))


def refuse_damaged(folder: str | Path) -> None:
    """Read all shards of a folder, and raise DataError where one is not what was written, by its checksum."""
    place = Path(folder).expanduser()
    for shard in read_index(place).shards:
        mapped(place, shard)
        if sha256(place / shard.file) != shard.sha256:
            raise DataError(f"{place / shard.file} has another checksum than when it was written: copy it again.")


def sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
