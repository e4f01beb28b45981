"""prunescale prune"""

from typing import Any

import click

from prunescale.cli import options


@click.command(short_help="Remove whole blocks from a model.")
@click.argument("model")
@click.option(
    "--rate", type=float, required=True, help="Share of the parameters outside embeddings and head to remove, between 0 and 1."
)
@click.option(
    "--method", default="block-influence", show_default=True, help="How to choose: block-influence or contiguous (depth)."
)
@click.option("--out", required=True, help="New folder for the pruned model.")
@click.option(
    "--calibration", default="embedded:post-training", show_default=True, help="Text or tokens on which to score the blocks."
)
@click.option("--calibration-tokens", type=options.COUNT, default=16384, show_default=True, help="How many of them.")
@click.option(
    "--sequence-length", type=options.COUNT, help="Tokens a sequence. [default: 512, or what the model can take if less]"
)
@click.option("--held-out", help="Text or tokens on which to measure the loss before and after.")
@click.option("--held-out-tokens", type=options.COUNT, default=65536, show_default=True, help="How many of them, at most.")
@options.device
@options.as_json
@options.needs("train", "torch", "transformers", "safetensors")
def prune(
    model: str,
    rate: float,
    method: str,
    out: str,
    calibration: str,
    calibration_tokens: int,
    sequence_length: int | None,
    held_out: str | None,
    held_out_tokens: int,
    device: str,
    as_json: bool,
) -> None:
    """Remove whole blocks from MODEL and save what is left as an ordinary Hugging Face folder.

    MODEL is the folder of a Hugging Face model of the Llama architecture, a .gguf file, package:NAME for the GGUF file inside
    an installed Python package, or embedded:0.4m, embedded:1m, embedded:2.7m.
    """
    from dataclasses import asdict

    from prunescale.cli.output import print_facts, print_json, stages
    from prunescale.models import load, named_from_anywhere, refuse_to_overwrite, save
    from prunescale.pruning import prune as prune_checkpoint
    from prunescale.sweep import refuse_long_sequences
    from prunescale.training import read_tokens

    refuse_to_overwrite(out)
    place = options.chosen_device(device)
    with options.enough_memory("give shorter sequences with --sequence-length"), stages(as_json) as stage:
        stage("Loading the model")
        base = load(model, device=place)
        length = sequence_length or min(512, base.model.config.max_position_embeddings)
        refuse_long_sequences(base, length)
        vocab_size = base.model.config.vocab_size
        stage("Reading the text")
        tokens = read_tokens(calibration, base.tokenizer, vocab_size)
        measured_on = read_tokens(held_out, base.tokenizer, vocab_size) if held_out else None
        stage("Scoring the blocks")
        pruned, done = prune_checkpoint(
            base,
            method=method,
            rate=rate,
            calibration=tokens.ids[:calibration_tokens],
            sequence_length=length,
            base=named_from_anywhere(model),
        )
        answer: dict[str, Any] = asdict(done)
        if measured_on:
            stage("Measuring the loss before and after")
            answer |= losses(base, pruned, measured_on, length, held_out_tokens, place)
    answer["folder"] = str(save(pruned, out, dtype=base.dtype))
    if as_json:
        print_json(answer)
    else:
        print_facts(summary(answer, base.shape.n_layers))


def losses(base: Any, pruned: Any, held_out: Any, length: int, limit: int, device: Any) -> dict[str, float]:
    from prunescale.sweep import held_out_loss

    before, after = (
        held_out_loss(model, held_out, sequence_length=length, limit=limit, device=device) for model in (base, pruned)
    )
    return {"loss_before": before, "loss_after": after}


def summary(answer: dict[str, Any], n_layers: int) -> dict[str, str]:
    dropped = answer["blocks_dropped"]
    facts = {
        "Dropped": f"{len(dropped)} of {n_layers} blocks, by {answer['method']}: {', '.join(map(str, dropped))} (counted from 0)",
        "Pruning rate": f"{answer['rate']:.4f} (asked for: {answer['rate_wanted']:g})",
        "Parameters": f"{answer['n_params_before']:,} to {answer['n_params_after']:,} outside embeddings and head",
    }
    if "loss_before" in answer:
        facts["Held-out loss"] = f"{answer['loss_before']:.4f} before, {answer['loss_after']:.4f} after, nats per token"
    return {**facts, "Saved in": answer["folder"]}
