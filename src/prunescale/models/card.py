"""The model card: what a model was made from and how, as the README.md that lies beside it."""

import html
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from prunescale.errors import legible
from prunescale.shape import ModelShape

SIZE_NAMES = {
    "n_layers": "blocks",
    "hidden_size": "hidden size",
    "ffn_size": "feed-forward size",
    "n_heads": "attention heads",
    "n_kv_heads": "key/value heads",
    "head_dim": "head size",
}

FILES = {
    "prunescale.json": "how this model was made: each pruning and each training, in order",
    "importance.safetensors": "the scores by which it was pruned; these are no weights of the model",
}


def card(lineage: Mapping[str, Any], shape: ModelShape, name: str) -> str:
    """The text of a model card with its front matter, of what the lineage holds: `pruning` (the fields of
    `prunescale.pruning.Pruning`), `training` (a list with a `recipe` and a `loss` each) and `pretraining` (`n_tokens`). What is not
    there is left out. shape: of this model. name: its heading."""
    lineage = escaped(lineage)
    pruning, training = lineage.get("pruning"), lineage.get("training", [])
    sections = [f"# {name}\n"]
    if pruning:
        sections += [made_from(pruning, training), "## Pruning\n", table(pruning_facts(pruning, shape)), zeros_note(pruning)]
        sections += [earlier_steps(pruning.get("earlier", ()))]
    else:
        sections += [f"A model of {shape.n_params_total:,} parameters, written by prunescale; not pruned.\n"]
    sections += ["## Training\n", training_words(training, lineage.get("pretraining"), pruned=bool(pruning))]
    sections += ["## Use\n", usage(name), "Beside the weights lie:\n", files_beside(pruned=bool(pruning))]
    return front_matter(pruning) + "\n" + "\n".join(section for section in sections if section)


def escaped(content: Any) -> Any:
    """With its texts as Markdown shows them: on one line, and no HTML or table of their own."""
    if isinstance(content, str):
        return html.escape(legible(content), quote=False).replace("|", "\\|")
    if isinstance(content, Mapping):
        return {name: escaped(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [escaped(value) for value in content]
    return content


def front_matter(pruning: Mapping[str, Any] | None) -> str:
    tags = ["prunescale", *(["pruned", *filter(is_plain, [pruning.get("method")])] if pruning else [])]
    base = hub_name(pruning.get("base", "")) if pruning else None
    lines = ["library_name: transformers", "pipeline_tag: text-generation", "tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join(["---", *lines, *([f"base_model: {base}"] if base else []), "---"]) + "\n"


def is_plain(tag: object) -> bool:
    """Whether a text is a word, which YAML takes for nothing else."""
    return isinstance(tag, str) and re.fullmatch(r"[A-Za-z][\w.-]*", tag, re.ASCII) is not None


def hub_name(base: str) -> str | None:
    """The name of a base on the Hugging Face Hub, if it is one or a folder of the Hub's cache."""
    cached = re.search(r"(?:^|/)models--([^/]+?)--([^/]+)/snapshots/", base)
    if cached:
        return f"{cached[1]}/{cached[2]}"
    return base if re.fullmatch(r"[\w.-]+/[\w.-]+", base) else None


def base_name(base: str) -> str:
    """What to call a base: a folder by its last name, as where it lies on someone's disk is nobody's business."""
    return hub_name(base) or base.rstrip("/").rpartition("/")[2] or base


def made_from(pruning: Mapping[str, Any], training: Sequence[Any]) -> str:
    then = "pruned and then trained" if training else "pruned, and not trained since"
    return f"Made from {base_name(pruning.get('base', '')) or 'a model'} with prunescale: {then}.\n"


def pruning_facts(pruning: Mapping[str, Any], shape: ModelShape) -> dict[str, str]:
    """Names and values of a pruning, for a table."""
    facts = {"Method": described(pruning)} if pruning.get("method") else {}
    if "rate" in pruning:
        asked = f" (asked for: {pruning['rate_wanted']:.4g})" if "rate_wanted" in pruning else ""
        facts["Rate"] = (
            f"{pruning['rate']:.4f}{asked}, the share of the base's parameters outside embeddings and head that is gone"
        )
    if "n_params_before" in pruning and "n_params_after" in pruning:
        unit = " other than zero" if pruning.get("sparsity") else ""
        facts["Parameters outside embeddings and head"] = (
            f"{pruning['n_params_before']:,} in the base, {pruning['n_params_after']:,}{unit} here"
        )
    facts["Parameters in all"] = f"{shape.n_params_total:,}"
    if went := what_went(pruning, shape):
        facts["What went"] = went
    if "calibration_tokens" in pruning:
        facts["Calibration"] = calibration_words(pruning["calibration_tokens"], pruning.get("calibration_sequence_length"))
    return facts


def calibration_words(n_tokens: int, sequence_length: int | None) -> str:
    if not n_tokens:
        return "none: the weights alone decide"
    return f"{n_tokens:,} tokens" + (f", in sequences of {sequence_length}" if sequence_length else "")


def described(pruning: Mapping[str, Any]) -> str:
    summary, source = pruning.get("summary"), pruning.get("source")
    return pruning.get("method", "unknown") + (f": {summary}" if summary else "") + (f" ({source})" if source else "")


def what_went(pruning: Mapping[str, Any], shape: ModelShape) -> str:
    dropped, sizes = pruning.get("blocks_dropped", ()), pruning.get("sizes", {})
    if dropped:
        blocks = ", ".join(map(str, dropped))
        return f"{len(dropped)} of {shape.n_layers + len(dropped)} blocks: {blocks} (counted from 0)"
    if sizes:
        return ", ".join(size_change(name, size, pruning.get("sizes_before", {}).get(name)) for name, size in sizes.items())
    if pruning.get("sparsity"):
        how = f", {pruning['pattern']} in each row" if pruning.get("pattern") else ""
        return f"{pruning['sparsity']:.2%} of the weights of the linear layers in the blocks are zero{how}"
    return ""


def size_change(name: str, after: Any, before: Any = None) -> str:
    words = SIZE_NAMES.get(name, name.replace("_", " "))
    return f"{words} {f'{before:,} to ' if before is not None else ''}{after:,}"


def zeros_note(pruning: Mapping[str, Any]) -> str:
    if not pruning.get("sparsity"):
        return ""
    note = "The zeros are stored like all other numbers, so the file is as large, and a plain server as slow, as the base's."
    if pruning.get("pattern") == "2:4":
        note += (
            " vLLM withdrew its support of 2:4 sparsity in March 2026 (vllm-project/vllm#36799): to gain speed, use a server that has "
            "kernels for it."
        )
    return paragraph(note)


def earlier_steps(earlier: Sequence[Mapping[str, Any]]) -> str:
    if not earlier:
        return ""
    steps = "\n".join(
        f"{number}. {described(step)}, to a rate of {step.get('rate', 0):.4f}" for number, step in enumerate(earlier, 1)
    )
    return f"Before that, in order:\n\n{steps}\n"


def training_words(training: Sequence[Mapping[str, Any]], pretraining: Mapping[str, Any] | None, *, pruned: bool) -> str:
    words = []
    if pretraining and pretraining.get("n_tokens"):
        words.append(f"The base was trained on {pretraining['n_tokens']:,} tokens.")
    if training:
        tokens = [run.get("recipe", {}).get("train", {}).get("tokens") for run in training]
        lengths = " and ".join(f"{n:,} tokens" for n in tokens if n)
        words.append(f"Trained {'after pruning ' if pruned else ''}with prunescale" + (f" on {lengths}." if lengths else "."))
        if training[-1].get("loss") is not None:
            words.append(f"Held-out loss at the end: {training[-1]['loss']:.4f} nats per token.")
    elif pruned:
        words.append("Not trained after pruning: expect a higher loss than the base's until it is.")
    return paragraph(" ".join(words) or "Nothing is known of it.")


def usage(name: str) -> str:
    return f"""\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained({name!r}, dtype="auto")
tokenizer = AutoTokenizer.from_pretrained({name!r})
```
"""


def files_beside(*, pruned: bool) -> str:
    return "\n".join(f"- `{file}`: {what}" for file, what in FILES.items() if pruned or file != "importance.safetensors") + "\n"


def table(facts: Mapping[str, str]) -> str:
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join(["| what | |", "| --- | --- |", *rows]) + "\n"


def paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"
