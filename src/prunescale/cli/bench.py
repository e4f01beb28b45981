"""prunescale bench"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options
from prunescale.errors import AssetError, ModelError, PruningError, TrainingError

if TYPE_CHECKING:
    from prunescale.inference import Comparison, Conversion, Ratio, Speed

DTYPES, SWITCH = ("auto", "bfloat16", "float32"), ("auto", "on", "off")
PROMPT_TOKENS = 512

SPEED_HEADINGS = ("Model", "Kernels", "Batch", "First token", "Of peak", "Tokens/s", "Floors", "Weights", "Memory")
RATIO_HEADINGS = ("Model", "Kernels", "Batch", "First token", "Tokens/s", "Weights", "Memory")
LEGEND = (
    "Of peak: share of the rate of a large matrix product. Floors: how many times as long a step takes as reading the weights and the "
    "cache once would, or computing if that is longer, at the rates above."
)


@click.command(short_help="Time the decoding of a pruned model beside the model it was made from.")
@click.argument("model")
@click.option("--against", help="The model to compare with. [default: the one that MODEL was pruned from, if it can be loaded]")
@click.option(
    "--batch-sizes", type=options.COUNTS, default="1,8,32", show_default=True, help="Texts decoded at once, comma-separated."
)
@click.option(
    "--prompt-tokens", type=options.COUNT, help="Tokens of each prompt. [default: 512, or what the models can take if less]"
)
@click.option("--new-tokens", type=options.COUNT, default=128, show_default=True, help="Tokens to decode after each prompt.")
@click.option(
    "--repeats", type=options.COUNT, default=5, show_default=True, help="Rounds, in each of which the models take turns."
)
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    default="auto",
    show_default=True,
    help="Type of weights and cache; auto is bfloat16 on a GPU and float32 on a CPU.",
)
@click.option(
    "--compile",
    "compile_",
    type=click.Choice(SWITCH),
    default="auto",
    show_default=True,
    help="Whether to compile the step of decoding; auto is on for a GPU. There a step is recorded as a CUDA graph in any case.",
)
@click.option(
    "--semi-structured",
    type=click.Choice(SWITCH),
    default="auto",
    show_default=True,
    help="Whether to time 2:4 kernels too, beside the dense ones; auto where MODEL is 2:4 and the GPU has them.",
)
@options.device
@options.as_json
@options.needs("train", "torch", "transformers", "safetensors")
def bench(
    model: str,
    against: str | None,
    batch_sizes: tuple[int, ...],
    prompt_tokens: int | None,
    new_tokens: int,
    repeats: int,
    dtype: str,
    compile_: str,
    semi_structured: str,
    device: str,
    as_json: bool,
) -> None:
    """Time MODEL as it would be served, beside the model it was pruned from: seconds to the first token, tokens a second of decoding
    after it, bytes of the weights, and on a GPU the most memory.

    MODEL is given as for prunescale prune. Decoding is greedy, by transformers' own model with a static cache; the prompts are random.
    """
    from prunescale.cli.output import print_json, stages
    from prunescale.devices import device_name
    from prunescale.inference import Contender, compare

    place = options.chosen_device(device)
    number_type = type_of(dtype, place)
    with options.enough_memory("give smaller --batch-sizes, or fewer --prompt-tokens"), stages(as_json) as stage:
        stage("Loading the models")
        child, parent, notes = loaded(model, against, number_type, place)
        contenders = [Contender(each.name, each.model) for each in (parent, child) if each]
        sparse, conversion, why_not = with_kernels(child, semi_structured)
        contenders += [sparse] if sparse else []
        length = prompt_tokens or fitting_prompt([each.model.config for each in contenders], new_tokens)
        found = compare(
            contenders,
            batch_sizes=batch_sizes,
            prompt_tokens=length,
            new_tokens=new_tokens,
            rounds=repeats,
            compiled=compile_ == "on" or (compile_ == "auto" and place.type == "cuda"),
            on_stage=stage,
        )
    notes = [
        *notes,
        *why_not,
        *dict.fromkeys(f"{each.model} ({each.kernel}): {note}" for each in found.speeds for note in each.notes),
    ]
    what = {
        "model": child.name,
        "against": parent.name if parent else None,
        "device_name": device_name(place),
        "prompt_tokens": length,
        "new_tokens": new_tokens,
        "rounds": repeats,
        "dtype": str(number_type).removeprefix("torch."),
    }
    if as_json:
        print_json(answer(found, what, conversion, notes))
    else:
        show(found, what, conversion, notes)


def type_of(name: str, device: Any) -> Any:
    import torch

    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    return getattr(torch, name)


def loaded(model: str, against: str | None, dtype: Any, device: Any) -> tuple[Any, Any, list[str]]:
    """The model, the one to compare it with or None, and why it is None. Raises ModelError for a model that cannot be loaded, unless only
    the lineage names it."""
    from prunescale.models import load

    child = load(model, dtype=dtype, device=device)
    if against:
        return child, load(against, dtype=dtype, device=device), []
    base = child.lineage.get("pruning", {}).get("base")
    if not base:
        return (
            child,
            None,
            [f"{model} was not pruned by prunescale, so that it is timed alone: --against names a model beside it."],
        )
    try:
        return child, load(base, dtype=dtype, device=device), []
    except (ModelError, AssetError) as error:
        return child, None, [f"The model is timed alone, as its base cannot be loaded ({error}) Give it with --against."]


def with_kernels(child: Any, wanted: str) -> tuple[Any, "Conversion | None", list[str]]:
    """The child with 2:4 kernels or None, which layers have them, and why others have not. Raises TrainingError where they are wanted and
    the device has none that run, PruningError where no layer of the model is 2:4 and of a shape that they take."""
    from prunescale.inference import Contender, semi_structured_copy, survey, why_no_kernels

    if wanted == "off":
        return None, None, []
    missing = why_no_kernels(child.model.device, child.model.dtype)
    if missing and wanted == "on":
        raise TrainingError(f"{missing}: leave --semi-structured at auto or off.")
    possible = survey(child.model)
    if not possible.converted:
        why = f"{len(possible.wrong_shape)} linear layers are 2:4, and none of a shape that the kernels take (multiples of 32 by 64)"
        if wanted == "on":
            raise PruningError(f"{why}: prune with --pattern 2:4, or leave --semi-structured at auto or off.")
        return None, None, [f"Dense kernels only: {why}."] if possible.wrong_shape else []
    if missing:
        return None, None, [f"Dense kernels only: {missing}."]
    model, conversion = semi_structured_copy(child.model)
    if not conversion.converted:
        why = f"the 2:4 kernels of this torch do not run here: {conversion.reason}"
        if wanted == "on":
            raise TrainingError(f"{why[0].upper()}{why[1:]}; leave --semi-structured at auto or off.")
        return None, conversion, [f"Dense kernels only: {why}."]
    notes = [f"Some 2:4 layers stay dense: {conversion.reason}."] if conversion.reason else []
    return Contender(child.name, model, kernel="2:4"), conversion, notes


def fitting_prompt(configs: list[Any], new_tokens: int) -> int:
    """What all models can take beside the new tokens, PROMPT_TOKENS at most; 1 where nothing is left, which is refused later."""
    return max(1, min(PROMPT_TOKENS, *(config.max_position_embeddings - new_tokens for config in configs)))


def answer(found: "Comparison", what: Mapping[str, Any], conversion: "Conversion | None", notes: list[str]) -> dict[str, Any]:
    """All of it, for programs: what a planner needs are the ratios and the bytes."""
    from dataclasses import asdict

    speeds = [
        {**asdict(each), "step_floor": each.floor.step, "times_floor": each.times_floor, "prefill_share": each.prefill_share}
        for each in found.speeds
    ]
    return {
        **what,
        "rates": asdict(found.rates),
        "speeds": speeds,
        "ratios": [asdict(each) for each in found.ratios],
        "semi_structured": asdict(conversion) if conversion else None,
        "notes": notes,
    }


def show(found: "Comparison", what: Mapping[str, Any], conversion: "Conversion | None", notes: list[str]) -> None:
    from prunescale.cli.output import print_facts, print_paragraph, print_table

    rates = found.rates
    print_facts(
        {
            "Device": f"{what['device_name']}: copies {amount(rates.copy, 'B/s')}, multiplies {amount(rates.matmul, 'FLOP/s')}",
            "Each text": f"{what['prompt_tokens']} tokens of prompt, {what['new_tokens']} new, in {what['dtype']}; {how_run(found)}",
            **(kernels_fact(conversion) if conversion else {}),
        }
    )
    click.echo()
    print_table(f"Medians of {what['rounds']} rounds", SPEED_HEADINGS, [row(each) for each in found.speeds])
    click.echo()
    if found.ratios:
        title = f"Beside {what['against'] or what['model']} with dense kernels: median, least and greatest of the rounds"
        print_table(title, RATIO_HEADINGS, [ratio_row(each) for each in found.ratios])
        click.echo()
    for text in (LEGEND, *notes):
        print_paragraph(text)


def how_run(found: "Comparison") -> str:
    """How the steps of decoding were run, in words."""
    n_all, words = len(found.speeds), []
    for what, done in (
        ("compiled", [each.compiled for each in found.speeds]),
        ("in a CUDA graph", [each.recorded for each in found.speeds]),
    ):
        words += [what if sum(done) == n_all else f"partly {what}"] if any(done) else []
    return f"steps {' and '.join(words)}" if words else "steps run as they are"


def amount(number: float, unit: str) -> str:
    """Three digits with a prefix: 13.3 MB."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{digits(number / size)} {prefix}{unit}"
    return f"{digits(number)} {unit}"


def digits(number: float) -> str:
    """Three of them: 9.80, 324."""
    return f"{number:#.3g}".rstrip(".")


def kernels_fact(conversion: "Conversion") -> dict[str, str]:
    converted, shape, dense = map(len, (conversion.converted, conversion.wrong_shape, conversion.not_two_of_four))
    refused = f", {len(conversion.refused)} that failed when tried" if conversion.refused else ""
    return {"2:4 kernels": f"{converted} linear layers; dense stay {shape} for their shape{refused} and {dense} that are not 2:4"}


def row(speed: "Speed") -> tuple[str, ...]:
    from prunescale.amounts import short

    return (
        speed.model,
        speed.kernel,
        str(speed.batch_size),
        f"{digits(1000 * speed.seconds_to_first_token.median)} ms",
        f"{speed.prefill_share:.0%}",
        short(speed.tokens_per_second.median),
        f"{speed.times_floor:.2f}",
        amount(speed.weight_bytes, "B"),
        amount(speed.peak_memory_bytes, "B") if speed.peak_memory_bytes else "-",
    )


def ratio_row(ratio: "Ratio") -> tuple[str, ...]:
    faster, first = ratio.tokens_per_second, ratio.seconds_to_first_token
    return (
        ratio.model,
        ratio.kernel,
        str(ratio.batch_size),
        f"{first.median:.2f} ({first.low:.2f}-{first.high:.2f})",
        f"{faster.median:.2f} ({faster.low:.2f}-{faster.high:.2f})",
        f"{ratio.weight_bytes:.3f}",
        f"{ratio.peak_memory_bytes:.3f}" if ratio.peak_memory_bytes else "-",
    )
