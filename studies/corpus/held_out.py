"""The validation documents of an earlier build: a later one measures on the same tokens, and trains on nothing that repeats them."""

import json
import shutil
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from .bpe import END_OF_TEXT
from .shards import read_shards, totals_by_source

SPANS = "val-spans.json"


def texts(folder: Path, tokenizer_path: Path) -> list[str]:
    """The validation documents of a folder of tokens."""
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    text = tokenizer.decode(read_shards(folder, "val").tolist(), skip_special_tokens=False)
    return text.split(END_OF_TEXT)[:-1]


def copy(folder: Path, target: Path, tokenizer_sha256: str) -> dict:
    """Copy the validation shards and where their documents lie into `target`; returns what they are."""
    tokens = n_bytes = 0
    for path in sorted(folder.glob("val-*.npz")):
        with np.load(path) as shard:
            if str(shard["tokenizer_sha256"]) != tokenizer_sha256:
                raise ValueError(f"{path} was made with another tokenizer; give its own with --tokenizer")
            tokens, n_bytes = tokens + len(shard["tokens"]), n_bytes + int(shard["bytes"])
        shutil.copy(path, target)
    if not tokens:
        raise ValueError(f"{folder} has no validation shards, val-00000.npz and so on")
    shutil.copy(folder / SPANS, target)
    spans = [(source, n_tokens, 0) for source, _, n_tokens in json.loads((folder / SPANS).read_text())]
    per_source = {
        source: {key: counts[key] for key in ("documents", "tokens")} for source, counts in totals_by_source(spans).items()
    }
    return {"tokens": tokens, "bytes": n_bytes, "bytes_per_token": round(n_bytes / tokens, 4), "per_source": per_source}
