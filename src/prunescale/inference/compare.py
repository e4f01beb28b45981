"""A pruned model and the one that it was made from, timed in turn, so that clocks, heat and neighbours hit both alike."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from prunescale.inference.decode import Decoder, refuse_long_text
from prunescale.inference.floor import floor_of
from prunescale.inference.measure import Round, Speed, Spread, decoding_rate, prompts, ready, timed, weight_bytes
from prunescale.inference.rates import Rates, measured_rates
from prunescale.models import shape_of

DENSE, SEMI_STRUCTURED = "dense", "2:4"
"""Kernels of the linear layers."""

GRAPHS_EACH = 4
"""Forms of its step that a model may be compiled to; it takes one."""


@dataclass(frozen=True)
class Contender:
    """A model to be timed. kernel: what computes its linear layers, DENSE or SEMI_STRUCTURED."""

    name: str
    model: Any
    kernel: str = DENSE


@dataclass(frozen=True)
class Ratio:
    """A contender over the first one, at one batch size. Spreads are over the rounds, in each of which the two ran one after the
    other: median, least and greatest. tokens_per_second: above 1 is faster. seconds_to_first_token, weight_bytes, peak_memory_bytes:
    below 1 is less."""

    model: str
    kernel: str
    batch_size: int
    tokens_per_second: Spread
    seconds_to_first_token: Spread
    weight_bytes: float
    peak_memory_bytes: float | None


@dataclass(frozen=True)
class Comparison:
    """Speeds batch size by batch size, contenders in the order given; ratios to the first contender; what the device does at best."""

    speeds: tuple[Speed, ...]
    ratios: tuple[Ratio, ...]
    rates: Rates


def compare(
    contenders: Sequence[Contender],
    *,
    batch_sizes: Sequence[int],
    prompt_tokens: int,
    new_tokens: int,
    rounds: int,
    compiled: bool,
    on_stage: Callable[[str], None] = lambda words: None,
) -> Comparison:
    """Time the contenders, all of which are on one device and of one type. Raises ModelError for more tokens than one of them takes."""
    for each in contenders:
        refuse_long_text(each.model.config, prompt_tokens, new_tokens)
    device, dtype = contenders[0].model.device, contenders[0].model.dtype
    on_stage("Measuring the device")
    rates = measured_rates(device, dtype)
    speeds: list[Speed] = []
    ratios: list[Ratio] = []
    for batch_size in batch_sizes:
        vocab_size = min(each.model.config.vocab_size for each in contenders)
        prompt_BL = prompts(vocab_size, batch_size=batch_size, prompt_tokens=prompt_tokens, device=device)
        made: list[tuple[Decoder, int | None]] = []
        with as_many_graphs_as(len(contenders)) if compiled else nullcontext():
            for each in contenders:
                on_stage(f"Batch {batch_size}: making {each.name} ready ({each.kernel})")
                made.append(ready(each.model, prompt_BL, new_tokens, compiled=compiled))
        on_stage(f"Batch {batch_size}: timing")
        times = in_turn([decoder for decoder, _ in made], rounds)
        here = [
            speed_of(each, decoder, peak, taken, rates)
            for each, (decoder, peak), taken in zip(contenders, made, times, strict=True)
        ]
        speeds += here
        ratios += [ratio_of(speed, here[0], taken, times[0]) for speed, taken in zip(here[1:], times[1:], strict=True)]
        del made
        if compiled:  # what was compiled for one batch size is of no use for another, and torch keeps only so many
            torch._dynamo.reset()
    return Comparison(tuple(speeds), tuple(ratios), rates)


def as_many_graphs_as(n_models: int) -> AbstractContextManager[None]:
    """Models of one class share their code, of which torch keeps eight compiled forms and runs any further model uncompiled."""
    dynamo = torch._dynamo.config
    return dynamo.patch(recompile_limit=max(dynamo.recompile_limit, GRAPHS_EACH * n_models))


def in_turn(decoders: Sequence[Decoder], rounds: int) -> list[list[Round]]:
    """The rounds of each decoder. They take turns, every other time from the last to the first, so that none always comes first."""
    times: list[list[Round]] = [[] for _ in decoders]
    for number in range(rounds):
        order = range(len(decoders))
        for index in reversed(order) if number % 2 else order:
            times[index].append(timed(decoders[index]))
    return times


def speed_of(contender: Contender, decoder: Decoder, peak: int | None, times: Sequence[Round], rates: Rates) -> Speed:
    model, (batch_size, prompt_tokens) = contender.model, decoder.prompt_BL.shape
    shape, n_bytes = shape_of(model.config), weight_bytes(model)
    item_bytes = model.dtype.itemsize
    looked_up = 0 if shape.tied_embeddings else shape.n_params_embedding * item_bytes
    return Speed(
        model=contender.name,
        kernel=contender.kernel,
        prompt_tokens=prompt_tokens,
        new_tokens=decoder.new_tokens,
        batch_size=batch_size,
        seconds_to_first_token=Spread.of([each.prefill for each in times], 10, 90),
        tokens_per_second=Spread.of([decoding_rate(each, batch_size, decoder.new_tokens) for each in times], 10, 90),
        weight_bytes=n_bytes,
        peak_memory_bytes=peak,
        dtype=str(model.dtype).removeprefix("torch."),
        device=model.device.type,
        compiled=decoder.compiled,
        recorded=decoder.recorded,
        floor=floor_of(
            shape,
            rates,
            weights_read=n_bytes - looked_up,
            item_bytes=item_bytes,
            prompt_tokens=prompt_tokens,
            new_tokens=decoder.new_tokens,
            batch_size=batch_size,
        ),
        notes=tuple(decoder.notes),
    )


def ratio_of(child: Speed, parent: Speed, of_child: Sequence[Round], of_parent: Sequence[Round]) -> Ratio:
    pairs = list(zip(of_child, of_parent, strict=True))
    peaks = child.peak_memory_bytes, parent.peak_memory_bytes
    return Ratio(
        model=child.model,
        kernel=child.kernel,
        batch_size=child.batch_size,
        tokens_per_second=Spread.of([theirs.decoding / ours.decoding for ours, theirs in pairs], 0, 100),
        seconds_to_first_token=Spread.of([ours.prefill / theirs.prefill for ours, theirs in pairs], 0, 100),
        weight_bytes=child.weight_bytes / parent.weight_bytes,
        peak_memory_bytes=peaks[0] / peaks[1] if peaks[0] and peaks[1] else None,
    )
