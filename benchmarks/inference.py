"""Decoding of a model of Llama-3.2-1B's shape with random weights: dense, without a quarter of its parameters in whole blocks, and 2:4 with
dense and with 2:4 kernels.

    python benchmarks/inference.py --out FOLDER [--batch-sizes 1,32,8] [--seconds 170]

On one GPU, in bfloat16, all four in turn (`prunescale.inference.compare`), first as CUDA graphs of the plain model, then compiled too. What
is found is written to FOLDER/inference.json and FOLDER/inference.md after each batch size; none is begun once the seconds are over. The
third part tries which shapes the 2:4 kernels take, and how fast one layer is by the number of its rows.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from torch.nn import functional
from torch.sparse import to_sparse_semi_structured
from transformers import LlamaConfig, LlamaForCausalLM

from prunescale.inference import Contender, compare, semi_structured_copy, why_no_kernels
from prunescale.models import Checkpoint
from prunescale.pruning import Calibration, prune
from prunescale.training.peak import now

SHAPE = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
TINY = {
    **SHAPE,
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
"""To try the script on a CPU."""
TRIED = ((16, 16), (16, 64), (24, 64), (32, 32), (32, 48), (32, 64), (32, 72), (48, 64), (64, 64), (2048, 2048), (2056, 2048))
"""Outputs and inputs of a weight."""
ROWS = (1, 4, 8, 16, 32, 64, 128, 512, 2048, 8192)
"""Of the inputs of one layer."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Decoding of a pruned model beside its base.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch-sizes", default="1,32,8")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=170, help="begin nothing after so long")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to try this script")
    given = parser.parse_args()
    began = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    contenders, made = pruned_models(TINY if given.tiny else SHAPE, device)
    found: dict[str, Any] = {"machine": machine(device), "models": made, "limits": [], "layer": [], "parts": [], "left_out": []}
    if not why_no_kernels(device, torch.bfloat16):
        found["limits"] = [limit(*sizes, device) for sizes in TRIED]
        found["layer"] = [one_layer(rows, device) for rows in ROWS]
    write(given.out, found)
    for compiled in (False, True) if device.type == "cuda" else (False,):
        for batch_size in map(int, given.batch_sizes.split(",")):
            if time.monotonic() - began > given.seconds:
                found["left_out"].append({"compiled": compiled, "batch_size": batch_size})
                continue
            part = compare(
                contenders,
                batch_sizes=(batch_size,),
                prompt_tokens=given.prompt_tokens,
                new_tokens=given.new_tokens,
                rounds=given.repeats,
                compiled=compiled,
            )
            found["parts"].append(rows_of(part))
            found["seconds"] = time.monotonic() - began
            write(given.out, found)
    write(given.out, found)
    print((given.out / "inference.md").read_text("utf-8"))


@torch.no_grad()
def pruned_models(shape: dict[str, Any], device: torch.device) -> tuple[list[Contender], dict[str, Any]]:
    """Dense; a quarter of what is outside the embedding gone in whole blocks; 2:4 with dense kernels, and with 2:4 ones on a GPU that has
    them."""
    torch.manual_seed(0)
    with device:
        model = LlamaForCausalLM(LlamaConfig(**shape, bos_token_id=0, eos_token_id=0, dtype="bfloat16")).to(torch.bfloat16).eval()
    base = Checkpoint("dense", model, tokenizer=None, dtype=torch.bfloat16)
    calibration = Calibration(torch.randint(shape["vocab_size"], (64,)), 32)  # neither method looks at it
    depth, without_blocks = prune(base, method="last-blocks", rate=0.25, calibration=calibration)
    sparse, zeros = prune(base, method="magnitude", pattern="2:4", calibration=calibration)
    contenders = [Contender("dense", model), Contender("depth 25 %", depth.model), Contender("2:4", sparse.model)]
    made: dict[str, Any] = {"depth 25 %": asdict(without_blocks), "2:4": asdict(zeros)}
    if not why_no_kernels(device, torch.bfloat16):
        fast, conversion = semi_structured_copy(sparse.model)
        if conversion.converted:
            contenders.append(Contender("2:4", fast, kernel="2:4"))
        made["conversion"] = asdict(conversion)
    return contenders, made


def two_of_four_weight(n_outputs: int, n_inputs: int, device: torch.device) -> torch.Tensor:
    weight_OI = torch.randn(n_outputs, n_inputs, device=device, dtype=torch.bfloat16)
    weight_OI.view(n_outputs, -1, 4)[..., 2:] = 0
    return weight_OI


def limit(n_outputs: int, n_inputs: int, device: torch.device) -> dict[str, Any]:
    """Whether a weight of this shape can be compressed and multiplied by one row, and how far the result is from that of a dense one."""
    weight_OI = two_of_four_weight(n_outputs, n_inputs, device)
    input_1I = torch.randn(1, n_inputs, device=device, dtype=torch.bfloat16)
    tried: dict[str, Any] = {"n_outputs": n_outputs, "n_inputs": n_inputs, "error": None, "backend": None}
    try:
        packed = to_sparse_semi_structured(weight_OI)
        found, expected = functional.linear(input_1I, packed).float(), functional.linear(input_1I, weight_OI).float()
    except (RuntimeError, ValueError, AssertionError) as error:
        return {**tried, "error": str(error).splitlines()[0]}
    difference = float((found - expected).norm() / expected.norm())
    return {**tried, "backend": getattr(packed, "BACKEND", None), "difference": difference}


@torch.no_grad()
def one_layer(rows: int, device: torch.device) -> dict[str, Any]:
    """Microseconds of a layer from 2048 to 8192 channels with dense and with 2:4 kernels, launching left out by a CUDA graph."""
    weight_OI = two_of_four_weight(8192, 2048, device)
    packed, input_RI = to_sparse_semi_structured(weight_OI), torch.randn(rows, 2048, device=device, dtype=torch.bfloat16)
    times: dict[str, Any] = {"rows": rows}
    for name, weight in (("dense", weight_OI), ("2:4", packed)):
        try:
            times[name] = microseconds(lambda weight=weight: functional.linear(input_RI, weight), device)
        except RuntimeError as error:
            times[name], times["error"] = None, str(error).splitlines()[0]
    return times


def microseconds(work: Callable[[], Any], device: torch.device, repeats: int = 50) -> float:
    side = torch.cuda.Stream(device)
    with torch.cuda.stream(side):
        work()
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            work()
    graph.replay()
    began = now(device)
    graph.replay()
    return 1e6 * (now(device) - began) / repeats


def machine(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() + " CPU"
    return {
        "device": name,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def rows_of(part: Any) -> dict[str, Any]:
    speeds = [{**asdict(each), "times_floor": each.times_floor, "prefill_share": each.prefill_share} for each in part.speeds]
    return {"rates": asdict(part.rates), "speeds": speeds, "ratios": [asdict(each) for each in part.ratios]}


def write(folder: Path, found: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inference.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (folder / "inference.md").write_text(page(found), encoding="utf-8")


def page(found: dict[str, Any]) -> str:
    lines = [", ".join(found["machine"].values()), ""]
    lines += [
        "| batch | steps | model | kernels | tokens/s | beside dense | floors | first token | beside dense | of peak | weights | memory |",
        "| ---: | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for part in found["parts"]:
        for speed, ratio in zip(part["speeds"], [None, *part["ratios"]], strict=True):
            lines.append(speed_line(speed, ratio))
    if found["layer"]:
        lines += ["", "| rows of one layer, 2048 to 8192 | dense, µs | 2:4, µs |", "| ---: | ---: | ---: |"]
        lines += [f"| {each['rows']} | {cell(each['dense'])} | {cell(each['2:4'])} |" for each in found["layer"]]
    if found["limits"]:
        lines += ["", "| outputs | inputs | 2:4 kernels |", "| ---: | ---: | --- |"]
        lines += [
            f"| {each['n_outputs']} | {each['n_inputs']} | {each['error'] or each['backend'] or 'yes'} |"
            for each in found["limits"]
        ]
    notes = {
        f"{each['model']} ({each['kernel']}): {note}"
        for part in found["parts"]
        for each in part["speeds"]
        for note in each["notes"]
    }
    lines += ["", *(f"- {note}" for note in sorted(notes))]
    return "\n".join(lines).rstrip() + "\n"


def speed_line(speed: dict[str, Any], ratio: dict[str, Any] | None) -> str:
    how = " and ".join([name for name in ("compiled", "recorded") if speed[name]]) or "as they are"
    cells = (
        speed["batch_size"],
        how,
        speed["model"],
        speed["kernel"],
        f"{speed['tokens_per_second']['median']:,.0f}",
        spread(ratio["tokens_per_second"]) if ratio else "",
        f"{speed['times_floor']:.2f}",
        f"{1000 * speed['seconds_to_first_token']['median']:.2f} ms",
        spread(ratio["seconds_to_first_token"]) if ratio else "",
        f"{speed['prefill_share']:.0%}",
        f"{speed['weight_bytes'] / 1e9:.3f} GB",
        f"{speed['peak_memory_bytes'] / 1e9:.3f} GB" if speed["peak_memory_bytes"] else "",
    )
    return f"| {' | '.join(map(str, cells))} |"


def spread(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"


def cell(number: float | None) -> str:
    return "" if number is None else f"{number:.1f}"


if __name__ == "__main__":
    main()
