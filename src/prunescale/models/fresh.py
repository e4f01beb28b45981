"""A model made from nothing, to be trained."""

import os
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from prunescale.errors import ModelError
from prunescale.models.checkpoint import LOCAL, Checkpoint, locate, quiet_transformers, read_or_refused
from prunescale.recipe import ModelRecipe
from prunescale.shape import ModelShape


def made_from_nothing(recipe: ModelRecipe) -> Checkpoint:
    """A Llama of the sizes of a recipe, its weights drawn at random, the same ones on every machine, with the tokenizer that it names.

    Raises ModelError where there is no such tokenizer, and for a model that is larger than this machine's memory."""
    tokenizer = tokenizer_at(recipe.tokenizer)
    refuse_too_large(shape_of_recipe(recipe, len(tokenizer)))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.ffn_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.n_kv_heads,
        head_dim=recipe.size_of_head,
        max_position_embeddings=recipe.context,
        initializer_range=recipe.init_std,
        tie_word_embeddings=recipe.tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(recipe.init_seed)
        model: Any = LlamaForCausalLM(config).float().eval()
    return Checkpoint(f"llama-{recipe.layers}x{recipe.hidden_size}", model, tokenizer)


def refuse_too_large(shape: ModelShape) -> None:
    """Raise ModelError for a model whose weights this machine cannot hold: by Linux it would be killed without a word."""
    needed, there = 4 * shape.n_params_total, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise ModelError(
            f"A model of {shape.n_params_total:,} parameters takes {needed / 1e9:,.0f} GB, and this machine has {there / 1e9:,.0f}: make "
            "[model] smaller."
        )


def shape_of_recipe(recipe: ModelRecipe, vocab_size: int) -> ModelShape:
    """The shape of the model that a recipe makes with so large a vocabulary."""
    return ModelShape(
        n_layers=recipe.layers,
        hidden_size=recipe.hidden_size,
        ffn_size=recipe.ffn_size,
        n_heads=recipe.heads,
        n_kv_heads=recipe.n_kv_heads,
        head_dim=recipe.size_of_head,
        vocab_size=vocab_size,
        tied_embeddings=recipe.tied,
    )


def tokenizer_at(path: str) -> Any:
    """The tokenizer of a Hugging Face folder, of `embedded:NAME`, or in a tokenizer.json. Raises ModelError where there is none."""
    if path.endswith(".json"):
        from transformers import PreTrainedTokenizerFast

        with read_or_refused(f"The tokenizer {path} cannot be read"):
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=path)
        if tokenizer.convert_tokens_to_ids(END) is not None:
            tokenizer.eos_token = END
        return tokenizer
    folder, gguf_file = locate(path)
    if gguf_file:
        raise ModelError(f"{path} is a GGUF file: give model.tokenizer as a Hugging Face folder or a tokenizer.json.")
    with quiet_transformers(), read_or_refused(f"The tokenizer of {path} cannot be read"):
        return AutoTokenizer.from_pretrained(folder, **LOCAL)


END = "<|endoftext|>"
