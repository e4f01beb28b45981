"""Pre-train one of the embedded models from scratch, on token shards, and save it with its loss curve.

    python studies/embedded/pretrain.py --size 1m --tokens TOKENS --tokenizer tokenizer.json --out OUT

TOKENS is the folder that studies/corpus builds: train-*.npz to learn from, val-00000.npz to measure on.
"""

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prunescale.models import Checkpoint, save
from prunescale.recipe import Recipe, TrainRecipe
from prunescale.runs import runs_to_json
from prunescale.sweep import record
from prunescale.training import Machine, Progress, read_tokens, train_

# Eight blocks for all, so that pruning rates are the same multiples of an eighth, and one proportion: only the width grows.
HIDDEN_SIZES = {"0.4m": 64, "1m": 96, "2.7m": 160}

# The same for all: 600 to 3750 a parameter. At the constant rate the last doubling of them gained 0.02 to 0.03 nats.
TOKENS = 1_600_000_000


def config(hidden_size: int, vocab_size: int) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=8,
        num_attention_heads=hidden_size // 32,
        num_key_value_heads=hidden_size // 32,
        vocab_size=vocab_size,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=3,
    )


def recipe(size: str, tokens: str, share: float) -> Recipe:
    """Peak rates fall with the width; the last fifth of the tokens decays to zero."""
    train = TrainRecipe(
        data=tokens,
        held_out=f"{tokens}/val-00000.npz",
        tokens=int(share * TOKENS),
        learning_rate=0.32 / HIDDEN_SIZES[size],
        sequence_length=256,
        batch_tokens=65536,
        warmup_tokens=int(share * 4_000_000),
        decay_fraction=0.2,
        weight_decay=0.1,
        n_measurements=24,
    )
    return Recipe(base=f"{size} from scratch", prune=None, train=train)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=HIDDEN_SIZES, required=True)
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of the tokens, for a trial")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=arguments.tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>", pad_token="<|pad|>"
    )
    model = LlamaForCausalLM(config(HIDDEN_SIZES[arguments.size], len(tokenizer)))
    checkpoint = Checkpoint(f"embedded-{arguments.size}", model, tokenizer)
    plan = recipe(arguments.size, arguments.tokens, arguments.share)
    tokens = read_tokens(plan.train.data, tokenizer, len(tokenizer))
    held_out = read_tokens(plan.train.held_out, tokenizer, len(tokenizer))
    print(
        f"{checkpoint.name}: {checkpoint.shape.n_params_non_embedding:,} parameters outside the embedding, {plan.train.tokens:,} tokens"
    )
    curve = train_(
        model,
        tokens,
        held_out,
        plan.train,
        machine=Machine(device),
        progress=Progress(point=lambda point: print(asdict(point), file=sys.stderr, flush=True)),
    )
    run = replace(record(plan, checkpoint, curve, held_out, None), kind="pre-training", name=checkpoint.name)
    pretraining = {"n_tokens": run.n_tokens, "n_tokens_unique": len(tokens), "loss": run.loss, "run": run.id}
    save(replace(checkpoint, lineage={"pretraining": pretraining}), arguments.out / checkpoint.name, dtype=torch.bfloat16)
    (arguments.out / f"{checkpoint.name}.json").write_text(runs_to_json([run]))
    print(f"loss {run.loss:.4f}, {run.tokens_per_second:,.0f} tokens/s, {run.seconds:.0f} s")


if __name__ == "__main__":
    main()
