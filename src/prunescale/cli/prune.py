"""prunescale prune"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from prunescale.cli import options

AXES, SCOPES, STREAM = "ffn, heads, hidden", ("layer", "global"), ("auto", "on", "off")

NEAR = 5e-4
"""A rate that is as near to the one asked for is that one."""


@click.command(short_help="Remove blocks, widths or single weights from a model.")
@click.argument("model")
@click.option(
    "--rate",
    type=float,
    help="Share of the parameters outside embeddings and head to remove, between 0 and 1; of a model pruned before, those of the "
    "model before its first pruning. Not needed with --pattern.",
)
@click.option(
    "--method",
    default="block-influence",
    show_default=True,
    help="How to choose. Whole blocks (depth): block-influence, contiguous, perplexity, block-magnitude, last-blocks. Sizes of all "
    "blocks (width): width-activation, width-wanda, width-magnitude, width-taylor. Single weights (sparse): magnitude, wanda, "
    "sparsegpt.",
)
@click.option("--out", required=True, help="New folder for the pruned model.")
@click.option("--axes", help=f"For width: which sizes may shrink, comma-separated, of {AXES}. [default: ffn]")
@click.option("--pattern", help="For single weights: keep n of every m in a row, such as 2:4.")
@click.option(
    "--scope", type=click.Choice(SCOPES), help="For single weights: whether they compete within a layer or in the whole model."
)
@click.option(
    "--calibration",
    default="embedded:post-training",
    show_default=True,
    help="Text or tokens on which to look at the model at work.",
)
@click.option("--calibration-tokens", type=options.COUNT, default=16384, show_default=True, help="How many of them.")
@click.option(
    "--sequence-length", type=options.COUNT, help="Tokens a sequence. [default: 512, or what the model can take if less]"
)
@click.option("--batch", type=options.COUNT, default=4, show_default=True, help="Sequences at once.")
@click.option("--held-out", help="Text or tokens on which to measure the loss before and after.")
@click.option("--held-out-tokens", type=options.COUNT, default=65536, show_default=True, help="How many of them, at most.")
@click.option(
    "--stream",
    type=click.Choice(STREAM),
    default="auto",
    show_default=True,
    help="Whether to read, prune and write one block at a time; auto where the weights take more than half of the memory that is free.",
)
@options.device
@options.as_json
@options.needs("train", "torch", "transformers", "safetensors")
def prune(
    model: str,
    rate: float | None,
    method: str,
    out: str,
    axes: str | None,
    pattern: str | None,
    scope: str | None,
    calibration: str,
    calibration_tokens: int,
    sequence_length: int | None,
    batch: int,
    held_out: str | None,
    held_out_tokens: int,
    stream: str,
    device: str,
    as_json: bool,
) -> None:
    """Remove blocks, widths or single weights from MODEL and save what is left as an ordinary Hugging Face folder.

    MODEL is the folder of a Hugging Face model (Llama, Mistral, Qwen 2 and 3, Gemma 3, Phi 3, OLMo 2), a .gguf file,
    package:NAME for the GGUF file inside an installed Python package, or embedded:0.4m, embedded:1m, embedded:2.7m. It may have
    been pruned before.
    """
    from prunescale.cli.output import print_facts, print_json, stages
    from prunescale.models import named_from_anywhere, refuse_to_overwrite

    refuse_to_overwrite(out)
    place = options.chosen_device(device)
    request = {
        "method": method,
        "rate": rate,
        "axes": tuple(name.strip() for name in axes.split(",")) if axes is not None else None,
        "pattern": pattern,
        "scope": scope,
        "base": named_from_anywhere(model),
    }
    texts = Texts(calibration, calibration_tokens, sequence_length, batch, held_out, held_out_tokens)
    advice = "give a smaller --batch, shorter sequences with --sequence-length, or --stream on"
    with options.enough_memory(advice), stages(as_json) as stage:
        job = prune_on_disk if to_stream(model, stream, place) else prune_in_memory
        answer, n_layers = job(model, out, request, texts, place, stage)
    if as_json:
        print_json({**answer, "folder": out})
    else:
        print_facts(summary({**answer, "folder": out}, n_layers, rate))


@dataclass(frozen=True)
class Texts:
    """The options that say what to calibrate and to measure on."""

    calibration: str
    calibration_tokens: int
    sequence_length: int | None
    batch: int
    held_out: str | None
    held_out_tokens: int

    def length(self, source: Any) -> int:
        """Tokens a sequence. Raises DataError where that is more than the model can take."""
        from prunescale.sweep import refuse_long_sequences

        length = self.sequence_length or min(512, source.config.max_position_embeddings)
        refuse_long_sequences(source, length)
        return length

    def read(self, source: Any) -> tuple[Any, Any]:
        """The calibration, and the held-out tokens or None, for a checkpoint or folder. Raises DataError for too little text."""
        from prunescale.pruning import Calibration
        from prunescale.training import held_out_windows, read_tokens

        length, vocab_size = self.length(source), source.config.vocab_size
        tokens = read_tokens(self.calibration, source.tokenizer, vocab_size)
        held_out = read_tokens(self.held_out, source.tokenizer, vocab_size) if self.held_out else None
        if held_out:
            held_out_windows(held_out, length, self.held_out_tokens)
        scored_on = tokens.ids[: self.calibration_tokens]
        return Calibration(scored_on, length, batch=self.batch, start=tokens.start), held_out


Stage = Callable[[str], None]


def prune_in_memory(
    model: str, out: str, request: Mapping[str, Any], texts: Texts, device: Any, stage: Stage
) -> tuple[dict[str, Any], int]:
    """What was done, with the losses if there is text for them, and how many blocks the model had."""
    from dataclasses import asdict

    from prunescale.models import load, refuse_to_overwrite, save
    from prunescale.pruning import prune as prune_checkpoint
    from prunescale.sweep import held_out_loss

    stage("Loading the model")
    base = load(model, device=device)
    refuse_to_overwrite(out, base.folder)
    stage("Reading the text")
    calibration, held_out = texts.read(base)
    pruned, done = prune_checkpoint(base, calibration=calibration, on_stage=stage, **request)
    losses = {}
    if held_out:
        stage("Measuring the loss before and after")
        measured = {"sequence_length": calibration.sequence_length, "limit": texts.held_out_tokens, "device": device}
        losses = {
            "loss_before": held_out_loss(base, held_out, **measured),
            "loss_after": held_out_loss(pruned, held_out, **measured),
        }
    stage("Writing")
    save(pruned, out, dtype=base.dtype)
    return {**asdict(done), **losses}, base.shape.n_layers


def prune_on_disk(
    model: str, out: str, request: Mapping[str, Any], texts: Texts, device: Any, stage: Stage
) -> tuple[dict[str, Any], int]:
    """The same, with one block of the model in memory at a time."""
    from dataclasses import asdict

    from prunescale.models import read_folder, refuse_to_overwrite
    from prunescale.pruning import loss_of_folder, prune_folder
    from prunescale.training import held_out_windows

    source = read_folder(model)
    refuse_to_overwrite(out, source.path)
    stage("Reading the text")
    calibration, held_out = texts.read(source)
    losses = {}
    if held_out:
        windows_NL = held_out_windows(held_out, calibration.sequence_length, texts.held_out_tokens)
        measured = {"device": device, "batch": texts.batch, "on_stage": stage}
        losses["loss_before"] = loss_of_folder(source, windows_NL, **measured)
    done = prune_folder(source, out, calibration=calibration, device=device, on_stage=stage, **request)
    if held_out:
        losses["loss_after"] = loss_of_folder(out, windows_NL, **measured)
    return {**asdict(done), **losses}, source.shape.n_layers


def to_stream(model: str, stream: str, device: Any) -> bool:
    """Whether to prune block by block. Left to us, where the model's weights would take more than half of the free memory."""
    from prunescale.models import weights_to_load

    if stream != "auto":
        return stream == "on"
    n_bytes, free = weights_to_load(model), free_memory(device)
    return n_bytes is not None and free is not None and n_bytes > free / 2


def free_memory(device: Any) -> int | None:
    """Bytes that can be had on a device; None where the system doesn't say."""
    import os

    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            available = next(line for line in file if line.startswith("MemAvailable:"))
        return 1024 * int(available.split()[1])
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def summary(answer: Mapping[str, Any], n_layers: int, rate: float | None) -> dict[str, str]:
    """What a person is told. rate: the one asked for, None where a pattern said it."""
    nonzero = " other than zero," if answer["sparsity"] else ""
    facts = {
        **what_went(answer, n_layers),
        "Pruning rate": rate_words(answer["rate"], rate),
        "Parameters": f"{answer['n_params_before']:,} to {answer['n_params_after']:,}{nonzero} outside embeddings and head",
    }
    if answer["earlier"]:
        facts["Before that"] = ", then ".join(f"{step['method']} to {step['rate']:.4f}" for step in answer["earlier"])
    if "loss_before" in answer:
        facts["Held-out loss"] = f"{answer['loss_before']:.4f} before, {answer['loss_after']:.4f} after, nats per token"
    return {**facts, "Saved in": answer["folder"]}


def what_went(answer: Mapping[str, Any], n_layers: int) -> dict[str, str]:
    from prunescale.models import size_change

    method, before = answer["method"], answer["sizes_before"]
    if answer["blocks_dropped"]:
        dropped = answer["blocks_dropped"]
        blocks = ", ".join(map(str, dropped))
        return {"Dropped": f"{len(dropped)} of {n_layers} blocks, by {method}: {blocks} (counted from 0)"}
    if answer["sparsity"] is not None:
        how = f", {answer['pattern']} in each row" if answer["pattern"] else ""
        return {"Made zero": f"{answer['sparsity']:.2%} of the weights of the linear layers in the blocks{how}, by {method}"}
    sizes = ", ".join(size_change(name, size, before.get(name)) for name, size in answer["sizes"].items())
    return {"Narrowed": f"{sizes}, by {method}"}


def rate_words(rate: float, wanted: float | None) -> str:
    if wanted is None:
        return f"{rate:.4f}"
    nearest = ", the nearest that this model allows" if abs(rate - wanted) > NEAR else ""
    return f"{rate:.4f} (asked for: {wanted:g}{nearest})"
