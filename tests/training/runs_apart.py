"""Trainings in processes of their own, to be killed or to share a model: started by test_resume.py and test_distributed.py.

python runs_apart.py OUT.json VARIANT [FOLDER [KILL_AT_STEP]]
"""

import json
import os
import signal
import sys
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from prunescale.recipe import SparseRecipe, TrainRecipe
from prunescale.training import Machine, Progress, RunFolder, Tokens, ranks_of_torchrun, train_, whole_state
from prunescale.training.zeros import linear_weights

IDS = torch.arange(4000) * 7 % 250
STEPS = 40
RECIPE: dict[str, Any] = {
    "data": "d",
    "held_out": "h",
    "tokens": 64 * STEPS,
    "learning_rate": 0.01,
    "sequence_length": 16,
    "batch_tokens": 64,
    "warmup_tokens": 64 * 4,
    "n_measurements": 10,
    "first_measurement": 64,
    "cooldowns": (64 * 18, 64 * STEPS),
}


def model_of(*, tied: bool, zeros: bool) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=16,
        intermediate_size=40,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config)
    if zeros:
        with torch.no_grad():
            for weight in linear_weights(model):
                weight[:, 1::4] = weight[:, 2::4] = 0
    return model


VARIANTS: dict[str, dict[str, Any]] = {
    "dense": {},
    "tied": {"tied": True},
    "2:4": {"keep_zeros": True},
    "sparse": {"sparse": SparseRecipe(sparsity=0.6, every=3)},
}


def run(variant: str, folder: str | None, kill_at: int, device: str = "cpu", *, out: str | None = None) -> dict[str, Any] | None:
    """The points, the weights left and the weights, written to `out` before any process ends; None in all processes but the first."""
    options = dict(VARIANTS[variant])
    model = model_of(tied=options.pop("tied", False), zeros=variant == "2:4")

    def killed(n_tokens: int) -> None:
        if n_tokens == 64 * kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with ranks_of_torchrun(torch.device(device)) as (ranks, place):
        curve = train_(
            model,
            Tokens(IDS, None),
            Tokens(IDS[:400], None),
            TrainRecipe(**{**RECIPE, "tokens": 64 * STEPS, "dtype": "float32"}),
            machine=Machine(place, ranks, save_seconds=0),
            folder=RunFolder(folder, {"variant": variant}, ranks) if folder else None,
            progress=Progress(step=killed),
            **options,
        )
        weights = whole_state(model, ranks)
        if not ranks.is_first:
            return None
        found = {
            "points": [(p.n_tokens, p.loss, p.phase, p.learning_rate) for p in curve.points],
            "left": curve.left,
            "weights": {name: weight.double().sum().item() for name, weight in weights.items()},
            "n_zeros": {name: int((weight == 0).sum()) for name, weight in weights.items()},
        }
        if out:
            with open(out, "w", encoding="utf-8") as file:
                json.dump(found, file)
        return found


def main() -> None:
    out, variant, *rest = sys.argv[1:]
    folder = rest[0] if rest and rest[0] != "-" else None
    run(variant, folder, int(rest[1]) if len(rest) > 1 else -1, *rest[2:3], out=out)


if __name__ == "__main__":
    main()
