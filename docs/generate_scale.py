"""Writes docs/scale.md: memory and hours of pruning and recovery from 1 to 64 GPUs, by arithmetic, beside what was measured.

python docs/generate_scale.py
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prunescale.shape import ModelShape

HERE = Path(__file__).parent
MEASURED = HERE.parent / "benchmarks" / "training_cases.json"

BYTES_OF_STATE = 4 + 4 + 4 + 4 + 1
"""A weight in float32, its gradient, AdamW's two moments, and one byte of mask."""


@dataclass(frozen=True)
class Machine:
    """matrix_rate: FLOP/s of a large product. memory: bytes. link: bytes/s between the GPUs of one
    machine, of a collective; network: bytes/s a GPU from one machine to another. per_machine: GPUs."""

    matrix_rate: float = 790e12
    memory: float = 80e9
    link: float = 330e9
    network: float = 45e9
    per_machine: int = 8


@dataclass(frozen=True)
class Training:
    """n_rows: sequences that a GPU computes at once. recompute: whether blocks are computed again in the backward pass."""

    n_gpus: int
    n_rows: int
    sequence_length: int
    recompute: bool = False


def memory(shape: ModelShape, how: Training) -> float:
    """Bytes a GPU needs: its share of the state; the weights of two blocks gathered in bfloat16, with one block's gradients in
    float32; what is kept of each token for the backward pass; and a chunk of logits."""
    state = BYTES_OF_STATE * shape.n_params_total / how.n_gpus
    outside = shape.n_params_embedding + shape.n_params_head
    gathered = 0.0 if how.n_gpus == 1 else 2 * (2 * shape.n_params_block + outside) + 4 * max(shape.n_params_block, outside)
    tokens = how.n_rows * how.sequence_length
    blocks_kept = 1 if how.recompute else shape.n_layers
    states = tokens * (blocks_kept * kept_of_a_token(shape) + (2 * shape.hidden_size * shape.n_layers if how.recompute else 0))
    logits = min(tokens * shape.vocab_size, 2**26) * (4 + 4 + 2)
    return state + gathered + states + logits


def kept_of_a_token(shape: ModelShape) -> float:
    """Bytes that a block keeps of a token, in bfloat16: its input, the normed one, queries, keys and values before and after rotation, what
    attention gives, the state between, normed too, gate and up and their product."""
    attention = shape.query_size + 2 * shape.key_value_size
    rotated = shape.query_size + shape.key_value_size
    return 2 * (4 * shape.hidden_size + attention + rotated + shape.query_size + 3 * shape.ffn_size)


def share(shape: ModelShape) -> float:
    """Of the rate of a large product, what a step reaches: as measured at 85M and at 1B."""
    return 0.64 if shape.hidden_size >= 2048 else 0.55


def seconds_a_step(shape: ModelShape, how: Training, machine: Machine) -> float:
    """The longer of computing and of sending weights twice in bfloat16 and gradients once in float32, which go on at the same time."""
    tokens = how.n_rows * how.sequence_length
    again = 4 / 3 if how.recompute else 1.0
    computing = again * tokens * shape.flops_per_token(how.sequence_length) / (share(shape) * machine.matrix_rate)
    if how.n_gpus == 1:
        return computing
    rate = machine.link if how.n_gpus <= machine.per_machine else machine.network
    sending = (2 * 2 + 4) * shape.n_params_total * (1 - 1 / how.n_gpus) / rate
    return max(computing, sending)


def hours(shape: ModelShape, how: Training, machine: Machine, n_tokens: float) -> float:
    tokens_a_step = how.n_gpus * how.n_rows * how.sequence_length
    return n_tokens / tokens_a_step * seconds_a_step(shape, how, machine) / 3600


def most_rows(shape: ModelShape, how: Training, machine: Machine) -> int:
    """How many sequences fit, at 90 % of the memory and 2 million tokens a step; 0 where none does."""
    rows = 0
    for n_rows in (1, 2, 4, 8, 16, 32, 64):
        if how.n_gpus * n_rows * how.sequence_length > 2**21:
            break
        if memory(shape, Training(how.n_gpus, n_rows, how.sequence_length, how.recompute)) <= 0.9 * machine.memory:
            rows = n_rows
    return rows


EIGHT = ModelShape(32, 4096, 14336, 32, 8, 128, 128256, False)
SEVENTY = ModelShape(80, 8192, 28672, 64, 8, 128, 128256, False)
"""Llama 3.1's sizes."""


def table(shape: ModelShape, n_tokens: float, machine: Machine) -> Iterator[str]:
    yield "| GPUs | sequences of 4096 a GPU | blocks anew | GB a GPU | ms a step | hours |"
    yield "| ---: | ---: | --- | ---: | ---: | ---: |"
    for n_gpus in (1, 2, 4, 8, 16, 32, 64):
        ways = [Training(n_gpus, 1, 4096, recompute) for recompute in (False, True)]
        fitting = [Training(n_gpus, rows, 4096, way.recompute) for way in ways if (rows := most_rows(shape, way, machine))]
        if not fitting:
            least = memory(shape, ways[1]) / 1e9
            yield f"| {n_gpus} | does not fit: {least:,.0f} GB | | | | |"
            continue
        best = min(fitting, key=lambda way: hours(shape, way, machine, n_tokens))
        yield (
            f"| {n_gpus} | {best.n_rows} | {'yes' if best.recompute else 'no'} | {memory(shape, best) / 1e9:.0f} | "
            f"{1000 * seconds_a_step(shape, best, machine):,.0f} | {hours(shape, best, machine, n_tokens):,.0f} |"
        )


def checked() -> Iterator[str]:
    """The formula beside the measured cases."""
    yield "| measured | GB | by the formula | tokens/s | by the formula |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for case in json.loads(MEASURED.read_text(encoding="utf-8")):
        shape, how = ModelShape(**case["shape"]), Training(**case["training"])
        machine = Machine(matrix_rate=case["matrix_rate"])
        rate = how.n_gpus * how.n_rows * how.sequence_length / seconds_a_step(shape, how, machine)
        yield (
            f"| {case['name']} | {case['memory'] / 1e9:.1f} | {memory(shape, how) / 1e9:.1f} | "
            f"{case['tokens_per_second'] / 1e6:.3f} M | {rate / 1e6:.3f} M |"
        )


TEXT = """# Scale: 8B and 70B on 1 to 64 GPUs

By arithmetic, written by `docs/generate_scale.py`, which has the formulas. What was measured stands beside it further down:
nothing of the size of these models has been trained with prunescale yet.

## What it takes

**Pruning** goes block by block from the files and needs one block at a time, whatever the model: an 8B model to 2:4 took 31 s
and 8.1 GB (Wanda), 61 s and 10.9 GB (SparseGPT) on one H100, measured ([benchmarks](../benchmarks/results.md)). Ten times the weights
take ten times as long.

**Training** keeps {state} bytes a weight (float32 weight, gradient, two moments, a mask), shared by the GPUs; on several also two
blocks gathered in bfloat16. Then it keeps what the backward pass needs of each token, of all blocks or, with `--recompute`, of
one and the inputs of the others. A step is as long as its arithmetic at {share:.0%} of the rate of a large product (measured at 1B),
or as what is sent, if that is longer.

GPUs of {memory:.0f} GB and {rate:.0f} TFLOP/s, 8 a machine with {link:.0f} GB/s between them, {network:.0f} GB/s a GPU from one machine
to another; at most 2 million tokens a step.

### Recovering an 8B model with 10 billion tokens

{eight}

### Recovering a 70B model with 10 billion tokens

{seventy}

Not in it: reading the model (each process reads its own part), evaluations, checkpoints (13 bytes a weight), and a teacher, which
takes 2 bytes a weight on every GPU and a third of the arithmetic. The first process prunes with the whole model in its memory: for one
that is larger than that, `prunescale prune --stream` comes before, and the loss before pruning is given (`--loss-before`).

## Checked against what was measured

{checked}
"""


def page() -> str:
    machine = Machine()
    return TEXT.format(
        state=BYTES_OF_STATE,
        share=share(EIGHT),
        memory=machine.memory / 1e9,
        rate=machine.matrix_rate / 1e12,
        link=machine.link / 1e9,
        network=machine.network / 1e9,
        eight="\n".join(table(EIGHT, 10e9, machine)),
        seventy="\n".join(table(SEVENTY, 10e9, machine)),
        checked="\n".join(checked()),
    )


def main() -> None:
    (HERE / "scale.md").write_text(page(), encoding="utf-8")


assert math.isclose(EIGHT.n_params_total, 8.03e9, rel_tol=1e-3)

if __name__ == "__main__":
    main()
