"""Training steps on one GPU, ours beside the Hugging Face Trainer and a plain compiled step: tokens/s, share of the matrix rate, memory.

    python benchmarks/train_throughput.py run --tool prunescale --size 85m --sequence-length 512 [--masks] [--batch-tokens 65536]
    python benchmarks/train_throughput.py all --out FOLDER [--cases prunescale:85m:512:65536:1:masks,...]

A run is a process of its own, on random tokens, with random weights; compiling and the first steps are left out. trainer: the Hugging Face
Trainer with torch_compile, bf16 and the fused AdamW. plain: the same model compiled, autocast to bfloat16, cross-entropy by PyTorch, fused
AdamW, clipping, in a bare loop. prunescale: `Step` as `train_` plays it. All have float32 weights. The rate is that of a large
matrix product in the same process.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {  # hidden size, blocks, feed-forward channels, heads
    "1m": (128, 5, 384, 2),
    "25m": (512, 8, 1408, 8),
    "85m": (768, 12, 2048, 12),
    "200m": (1024, 16, 2816, 16),
    "1b": (2048, 16, 8192, 32),
}
VOCABULARY = 8192
END = 0
"""The token that ends documents."""
CASES = (
    *(
        f"{tool}:{size}:{length}:65536:1:{masks}"
        for size in ("25m", "85m", "200m")
        for length in (512, 2048)
        for tool, masks in (("trainer", "none"), ("plain", "none"), ("prunescale", "none"), ("prunescale", "masks"))
    ),
    *(f"{tool}:1m:512:{batch}:1:none" for batch in (8192, 16384, 65536) for tool in ("plain", "prunescale")),
    *(f"prunescale:1b:2048:32768:{gpus}:none" for gpus in (1, 2)),
)
"""What `all` runs, where nothing else is said."""
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description="Training throughput.")
    commands = parser.add_subparsers(dest="command", required=True)
    run, every = commands.add_parser("run"), commands.add_parser("all")
    run.add_argument("--tool", choices=TOOLS, required=True)
    run.add_argument("--size", choices=SIZES, required=True)
    run.add_argument("--masks", action="store_true", help="hold half of the weights of the linear layers at zero")
    run.add_argument(
        "--apart", action="store_true", help="tokens attend to their own document only; documents have 300 tokens on average"
    )
    run.add_argument("--sequence-length", type=int, default=512)
    run.add_argument("--batch-tokens", type=int, default=65536, help="of each GPU")
    for each in (run, every):
        each.add_argument("--steps", type=int, default=20)
    every.add_argument("--out", required=True)
    every.add_argument("--name", default="all")
    every.add_argument("--cases", default=",".join(CASES), help="TOOL:SIZE:LENGTH:BATCH:GPUS:none, masks or apart, with commas")
    every.add_argument("--seconds", type=int, default=90, help="for one case")
    given = parser.parse_args()
    (run_one if given.command == "run" else run_all)(given)


def model_of(size: str, sequence_length: int) -> Any:
    hidden, blocks, channels, heads = SIZES[size]
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=channels,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max(2048, sequence_length),
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    with DEVICE:
        return LlamaForCausalLM(config).float()


def flops_per_token(model: Any, sequence_length: int) -> int:
    from prunescale.models import shape_of

    return shape_of(model.config).flops_per_token(sequence_length)


def batches_of(given: argparse.Namespace) -> list[torch.Tensor]:
    rows = given.batch_tokens // given.sequence_length
    shape = (rows, given.sequence_length + 1)
    batches = [torch.randint(1, VOCABULARY, shape, device=DEVICE) for _ in range(4)]
    return [ids.masked_fill(torch.rand(shape, device=DEVICE) < 1 / 300, END) for ids in batches]


def timed(step: Any, given: argparse.Namespace) -> float:
    """Seconds a step, the first few left out."""
    batches = batches_of(given)
    for number in range(4):
        step(batches[number % 4])
    synchronise()
    began = time.perf_counter()
    for number in range(given.steps):
        step(batches[number % 4])
    synchronise()
    return (time.perf_counter() - began) / given.steps


def synchronise() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def by_prunescale(model: Any, given: argparse.Namespace) -> float:
    """On one GPU as a recorded step, on several, where torchrun started this, spread over them."""
    from prunescale.recipe import TrainRecipe
    from prunescale.training import Machine
    from prunescale.training.forward import fast_attention
    from prunescale.training.loop import loss_functions_
    from prunescale.training.objective import Computing
    from prunescale.training.state import State, adamw, set_rate_
    from prunescale.training.step import Step, recorded
    from prunescale.training.zeros import held_zeros, linear_weights

    recipe = TrainRecipe(
        data="-",
        held_out="-",
        tokens=1,
        learning_rate=1e-4,
        sequence_length=given.sequence_length,
        batch_tokens=given.batch_tokens,
    )
    if given.masks:
        with torch.no_grad():
            for weight in linear_weights(model):
                weight[:, ::2] = 0
    ranks = given.ranks
    how = Computing(torch.bfloat16 if DEVICE.type == "cuda" else torch.float32, END if given.apart else None)
    loss, _ = loss_functions_(model.train(), how, None, Machine(DEVICE, ranks), compiled=True)
    held = held_zeros(model, ranks) if given.masks else []
    step: Any = Step(loss, State(model, adamw(model, recipe), held), 1.0, ranks)
    with fast_attention(DEVICE):
        set_rate_(step.state.optimizer, 1e-4)
        if DEVICE.type == "cuda" and ranks.n == 1:
            step = recorded(step, batches_of(given)[0])
        return timed(step, given)


def by_plain_step(model: Any, given: argparse.Namespace) -> float:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)

    def loss_of(ids: torch.Tensor) -> torch.Tensor:
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        return functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())

    loss = torch.compile(loss_of, dynamic=False)

    def step(ids: torch.Tensor) -> None:
        loss(ids).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return timed(step, given)


def by_trainer(model: Any, given: argparse.Namespace) -> float:
    import tempfile

    from transformers import Trainer, TrainerCallback, TrainingArguments

    rows, warm_up = given.batch_tokens // given.sequence_length, 6
    ids = torch.randint(VOCABULARY, (rows * (given.steps + warm_up), given.sequence_length))
    examples = [{"input_ids": row, "labels": row} for row in ids]

    class Watch(TrainerCallback):
        began, ended = 0.0, 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == warm_up:
                synchronise()
                self.began = time.perf_counter()
            if state.global_step == warm_up + given.steps:
                synchronise()
                self.ended = time.perf_counter()

    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=rows,
            max_steps=warm_up + given.steps,
            bf16=True,
            tf32=DEVICE.type == "cuda" or None,
            torch_compile=True,
            optim="adamw_torch_fused",
            learning_rate=1e-4,
            weight_decay=0.1,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            dataloader_num_workers=2,
            dataloader_pin_memory=True,
            disable_tqdm=True,
        )
        Trainer(model=model, args=arguments, train_dataset=examples, callbacks=[watch]).train()
    return (watch.ended - watch.began) / given.steps


TOOLS = {"trainer": by_trainer, "plain": by_plain_step, "prunescale": by_prunescale}


def matrix_rate(n: int = 20) -> float:
    """FLOP/s of a product of 8192 x 8192 matrices in bfloat16, n of them."""
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    synchronise()
    began = time.perf_counter()
    for _ in range(n):
        a @ b
    synchronise()
    return 2 * 8192**3 * n / (time.perf_counter() - began)


def run_one(given: argparse.Namespace) -> None:
    from prunescale.training import ranks_of_torchrun

    global DEVICE
    with ranks_of_torchrun(DEVICE) as (ranks, DEVICE):
        given.ranks = ranks
        answer = measured(given)
        if ranks.is_first:
            print(json.dumps(answer), flush=True)


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Tokens are those of all GPUs together, each of which has a batch of its own."""
    rate = matrix_rate() if DEVICE.type == "cuda" else float("nan")
    model = model_of(given.size, given.sequence_length)
    per_token = flops_per_token(model, given.sequence_length)
    began = time.perf_counter()
    seconds = TOOLS[given.tool](model, given)
    # A GPU under load for a while lowers its clock to stay within its power: the steps are held to what products get then, too.
    sustained = matrix_rate(2000) if DEVICE.type == "cuda" else float("nan")
    tokens = given.batch_tokens * given.ranks.n
    achieved = per_token * tokens / seconds / given.ranks.n
    return {
        "tool": given.tool,
        "size": given.size,
        "sequence_length": given.sequence_length,
        "batch_tokens": given.batch_tokens,
        "gpus": given.ranks.n,
        "masks": given.masks,
        "apart": given.apart,
        "ms": 1000 * seconds,
        "tokens_per_second": tokens / seconds,
        "tflops": achieved / 1e12,
        "of_matrix_rate": achieved / rate,
        "matrix_tflops": rate / 1e12,
        "of_sustained_rate": achieved / sustained,
        "sustained_tflops": sustained / 1e12,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if DEVICE.type == "cuda" else None,
        "seconds_in_all": time.perf_counter() - began,
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU",
        "torch": torch.__version__,
    }


def run_all(given: argparse.Namespace) -> None:
    found = []
    for case in given.cases.split(","):
        tool, size, length, batch_tokens, gpus, masks = case.split(":")
        start = [sys.executable]
        if int(gpus) > 1:
            start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
        command = [*start, __file__, "run", "--tool", tool, "--size", size, "--sequence-length", length]
        command += ["--batch-tokens", batch_tokens, "--steps", str(given.steps), *([] if masks == "none" else [f"--{masks}"])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=given.seconds)
        except subprocess.TimeoutExpired:
            print(f"{case}: not done after {given.seconds} s", flush=True)
            continue
        if done.returncode:
            print(f"{case} failed: {done.stderr[-800:]}", flush=True)
            continue
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(row_of(found[-1]), flush=True)
        Path(given.out, f"train_throughput_{given.name}.json").write_text(json.dumps(found, indent=1))


def row_of(answer: dict[str, Any]) -> str:
    cells = [
        answer["size"],
        answer["sequence_length"],
        f"{answer['batch_tokens']:,}",
        answer["gpus"],
        answer["tool"] + ", half of the weights held at zero" * answer["masks"] + ", documents apart" * answer["apart"],
        f"{answer['ms']:.1f}",
        f"{answer['tokens_per_second'] / 1e6:.3f} M",
        f"{answer['tflops']:.0f}",
        f"{100 * answer['of_matrix_rate']:.1f} %",
        f"{100 * answer['of_sustained_rate']:.1f} %",
        f"{answer['peak_memory_gb'] or 0:.1f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
