"""Text that is tokenized once: its tokens are kept as shards, and mapped the next time.

They lie under $PRUNESCALE_CACHE, or ~/.cache/prunescale without it, and may be removed at any time.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunescale.training.documents import documents, files_of
from prunescale.training.shards import ShardWriter, is_shards, new_shards, read_shards
from prunescale.training.tokenizing import Encoder, sha256_of, tokenizer_hash
from prunescale.training.tokens import Tokens

KEPT_BYTES = 10**6
"""Sources whose files are larger are kept."""

VERSION = 1
"""Of what a text is made into; another finds nothing that was kept before."""


def cache_folder() -> Path:
    """Where tokens are kept."""
    root = os.environ.get("PRUNESCALE_CACHE")
    return (Path(root) if root else Path("~/.cache/prunescale")).expanduser() / "tokens"


def is_kept(source: Path) -> bool:
    """Whether the tokens of a source are worth keeping, and can be."""
    if sum(file.stat().st_size for file in files_of(source)) <= KEPT_BYTES:
        return False
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written to: the text is tokenized each time, as a small one is
        return False
    return os.access(cache_folder(), os.W_OK)


def kept_tokens(source: Path, encoder: Encoder, field: str) -> Tokens:
    """The tokens of a source, mapped, made first if they are not there for its files as they are now. Of processes that ask at once, one
    makes them and the others wait."""
    folder = cache_folder() / key_of(source, encoder, field)
    with one_at_a_time(folder):
        if not is_shards(folder):
            with new_shards(folder) as unfinished:
                writer = ShardWriter(unfinished, encoder)
                for encoded in encoder.encoded(documents(source, field=field)):
                    writer.add(encoded)
                writer.close(sources=[str(source)])
    return read_shards(folder, encoder.tokenizer)


def key_of(source: Path, encoder: Encoder, field: str) -> str:
    """The name of the folder: another for other files, files that have changed, another tokenizer, or another field."""
    files = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files_of(source)]
    return sha256_of([VERSION, tokenizer_hash(encoder.tokenizer), encoder.end, field, files])[:32]


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
