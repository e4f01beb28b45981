"""How much faster the pruned models of the family's largest size are, and what equal speed costs:

python -m studies.p2.speed [--device cuda]     times them here and writes speeds/<name of the device>.json

Random weights have the speed of trained ones. 2:4 has the kernels of the GPU; where there are none it is as fast as the dense model.
"""

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from prunescale.devices import device_name
from prunescale.inference import Contender, compare, semi_structured_copy, why_no_kernels
from prunescale.models import made_from_nothing
from prunescale.recipe import ModelRecipe
from prunescale.runs import Run, read_runs
from prunescale.sweep import Study
from studies.p2.answers import LAST
from studies.p2.planned import FOLDER, by_label
from studies.p2.variants import over

SIZE = "d640"
BATCH_SIZES = {"cpu": (1, 8), "cuda": (1, 32)}
PROMPT_TOKENS, NEW_TOKENS, ROUNDS = 384, 128, 7
SPEEDS = FOLDER / "speeds"
WANTED = (1.25, 1.5)
"""How many times as fast as the dense model."""


def contenders(runs: Sequence[Run], tokenizer: str, device: torch.device) -> Iterator[Contender]:
    """The dense model, and it without blocks, with narrower feed-forwards, and with 2:4 kernels where there are any; by their labels."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    base = next(run.recipe.model for run in Study.from_toml(FOLDER / "bases.toml").runs if run.label == SIZE)
    assert base

    def made(recipe: ModelRecipe) -> Any:
        return made_from_nothing(replace(recipe, tokenizer=tokenizer)).model.to(device, dtype)

    yield Contender("dense", made(base))
    for label, run in by_label("curves", runs).items():
        size, way = label.split(", ")
        if size == SIZE and way.startswith(("depth", "width")):
            yield Contender(way, made(shape_of(run, base)))
    if why_no_kernels(device, dtype) is None:
        model = made(base)
        for layer in model.model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.data.view(-1, 4)[:, 2:] = 0
        yield Contender("2:4", semi_structured_copy(model)[0], kernel="2:4")


def shape_of(run: Run, base: ModelRecipe) -> ModelRecipe:
    """The sizes of a pruned model, by the counts of its parameters."""
    assert run.n_params_attention
    assert run.n_params_ffn
    layers = round(run.n_params_attention / (4 * base.hidden_size**2))
    return replace(base, layers=layers, ffn_size=round(run.n_params_ffn / (3 * base.hidden_size * layers)))


def measured(runs: Sequence[Run], tokenizer: str, device: torch.device) -> dict[str, Any]:
    """All of it, in plain types: ratios to the dense model by batch size."""
    found = compare(
        list(contenders(runs, tokenizer, device)),
        batch_sizes=BATCH_SIZES[device.type],
        prompt_tokens=PROMPT_TOKENS,
        new_tokens=NEW_TOKENS,
        rounds=ROUNDS,
        compiled=device.type == "cuda",
        on_stage=lambda words: print(words, flush=True),
    )
    return {
        "device": device_name(device),
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "size": SIZE,
        "prompt_tokens": PROMPT_TOKENS,
        "new_tokens": NEW_TOKENS,
        "rounds": ROUNDS,
        "dense": [
            {
                "batch_size": each.batch_size,
                "tokens_per_second": each.tokens_per_second.median,
                "seconds_to_first_token": each.seconds_to_first_token.median,
            }
            for each in found.speeds
            if each.model == "dense"
        ],
        "ratios": [asdict(each) for each in found.ratios],
    }


@dataclass(frozen=True)
class Faster:
    """A way to prune: times the dense model's speed, the median over rounds, the least and the most, and nats over the control after LAST
    tokens, annealed. what: decoding, or the prompt."""

    what: str
    batch_size: int
    way: str
    speed: float
    low: float
    high: float
    excess: float


def faster(runs: Sequence[Run], found: Mapping[str, Any]) -> list[Faster]:
    """The measured speeds beside what they cost, where the runs of that size are there. 2:4 stands for its better method."""
    curves = by_label("curves", runs)
    control = curves.get(f"{found['size']}, control")
    if control is None:
        return []
    excess = {
        label.split(", ")[1]: over(run, control)[LAST]
        for label, run in curves.items()
        if label.startswith(found["size"]) and run is not control
    }
    two_four = [value for way, value in excess.items() if way.startswith("2:4")]
    if two_four:
        excess["2:4"] = min(two_four)
    return [
        Faster(what, ratio["batch_size"], ratio["model"], *speeds, excess[ratio["model"]])
        for ratio in found["ratios"]
        for what, speeds in (
            ("decoding", [ratio["tokens_per_second"][which] for which in ("median", "low", "high")]),
            ("prompt", [1 / ratio["seconds_to_first_token"][which] for which in ("median", "high", "low")]),
        )
    ]


def by_kind(some: Sequence[Faster]) -> dict[str, dict[str, Faster]]:
    """The ways to prune by what was timed, and so many at a time."""
    found: dict[str, dict[str, Faster]] = {}
    for each in some:
        found.setdefault(f"{each.what}, {each.batch_size} at a time", {})[each.way] = each
    return found


def cost(ways: Mapping[str, Faster], method: str, speed: float) -> float | None:
    """What so much speed costs by depth or by width."""
    return at_speed([each for way, each in ways.items() if way.startswith(method)], speed)


def at_speed(some: Sequence[Faster], speed: float) -> float | None:
    """What so much speed costs by one method: the excess between two rates, by their speeds; None beyond the highest."""
    ordered = sorted(some, key=lambda each: each.excess)
    speeds, excesses = [1.0, *(each.speed for each in ordered)], [0.0, *(each.excess for each in ordered)]
    for (slower, below), (quicker, above) in pairwise(zip(speeds, excesses, strict=True)):
        if slower <= speed <= quicker:
            return float(np.interp(speed, (slower, quicker), (below, above)))
    return None


def kept() -> list[dict[str, Any]]:
    """What was measured, a device each."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(SPEEDS.glob("*.json"))]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--tokenizer", default="tokenizer.json", help="of the study, for the size of the vocabulary")
    given = arguments.parse_args()
    found = measured(read_runs("embedded:p2"), given.tokenizer, torch.device(given.device))
    SPEEDS.mkdir(exist_ok=True)
    file = SPEEDS / (re.sub(r"[^a-z0-9]+", "-", found["device"].lower()) + ".json")
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"Written to {file}")


if __name__ == "__main__":
    main()
