"""The tokenizer: byte-level BPE, trained on a sample of the training documents."""

from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from .split import id_hash

END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>", "<|pad|>")
LONGEST_SAMPLED_CHARS = 200_000


def sample(documents: Iterable[dict], rate: float) -> Iterator[str]:
    """The texts of the documents whose id's hash is below `rate`, cut to 200,000 characters."""
    for document in documents:
        if int.from_bytes(id_hash("bpe:", document["id"])[:8], "big") < rate * 2**64:
            yield document["text"][:LONGEST_SAMPLED_CHARS]


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of `vocab_size` entries; the first four are special, the next 256 the bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """The bytes of text that each token id stands for, in a byte-level tokenizer; none for special tokens."""
    lengths = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for token, i in tokenizer.get_vocab(with_added_tokens=False).items():
        lengths[i] = len(token)  # a byte-level vocabulary writes each byte as one character
    for i, added in tokenizer.get_added_tokens_decoder().items():
        lengths[i] = 0 if added.special else len(added.content.encode())
    return lengths
