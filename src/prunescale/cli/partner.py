"""prunescale partner: what a sparse training comes to, and the dense model to compare it with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunescale.cli import options
from prunescale.errors import RecipeError

if TYPE_CHECKING:
    from prunescale.partners import Partner
    from prunescale.recipe import Recipe
    from prunescale.shape import ModelShape


@click.command(short_help="The dense model that a sparse training is to be compared with.")
@click.argument("recipe_file", metavar="RECIPE.toml", type=click.Path(path_type=Path))
@click.option(
    "--of",
    type=click.Choice(("average", "final")),
    default="average",
    show_default=True,
    help="As many linear weights as the sparse model has on average over its tokens, or in the end.",
)
@click.option(
    "--tolerance", type=float, default=0.005, show_default=True, help="How far off the partner's weights may be, a share."
)
@click.option("--multiple", type=options.COUNT, default=8, show_default=True, help="Its sizes are multiples of this.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the partner's recipe into this new file.")
@options.as_json
@options.needs("train", "torch", "transformers", "safetensors")
def partner(recipe_file: Path, of: str, tolerance: float, multiple: int, out: Path | None, as_json: bool) -> None:
    """What the sparse training in RECIPE.toml comes to, and the dense model to compare it with.

    The recipe has a section [model] and a section [sparse]. The partner has the same depth and vocabulary, another hidden size, and is
    trained as the section [train] says, on as many tokens. With the average's weights it costs at 6 N a token what the sparse model
    costs at 6 N(t), the weights left.
    """
    from prunescale.cli.output import print_facts, print_json
    from prunescale.partners import dense_partner
    from prunescale.recipe import Recipe

    recipe = Recipe.from_toml(recipe_file)
    if out and out.exists():
        raise RecipeError(f"{out} exists already and is never overwritten: name another file, or remove this one first.")
    shape, planned = planned_training(recipe, recipe_file)
    found = dense_partner(shape, planned[f"n_params_{of}"], tolerance=tolerance, multiple=multiple)
    dense = recipe_of(found, recipe)
    if out:
        write(dense, out)
    if as_json:
        answer = {**planned, "partner": figures(found, of), "recipe": dense.to_dict(), "file": out and str(out)}
        print_json(answer)
        return
    print_facts(facts(shape, planned, found, of) | ({"Written to": str(out)} if out else {}))
    click.echo("\n" + section(dense))


def planned_training(recipe: "Recipe", file: Path) -> "tuple[ModelShape, dict[str, Any]]":
    """The model before it is pruned, and the numbers of its training. Raises RecipeError where the recipe is of another kind."""
    from prunescale.models import shape_of_recipe, tokenizer_at
    from prunescale.training import schedule_of
    from prunescale.training.gradual import prunings, weights_over_steps

    model, sparse = recipe.model, recipe.sparse
    if model is None or sparse is None:
        missing = "model" if model is None else "sparse"
        raise RecipeError(
            f"{file} has no section [{missing}]: a dense partner is that of a model made from nothing and pruned meanwhile."
        )
    if model.tied and sparse.head:
        raise RecipeError(
            f"{file}: sparse.head is True, and the head cannot be pruned where model.tied is True; set one to false."
        )
    shape = shape_of_recipe(model, len(tokenizer_at(model.tokenizer)))
    n_linear = shape.n_params_linear
    n_prunable = n_linear if sparse.head else n_linear - shape.vocab_size * shape.hidden_size
    n_steps = schedule_of(recipe.train).n_steps
    n_tokens = n_steps * recipe.train.batch_tokens
    pruned = prunings(sparse, n_steps, n_prunable, n_linear)
    first, last = pruned[0].step, pruned[-1].step
    in_all = weights_over_steps(pruned, n_steps, n_prunable, n_linear)
    at_last = weights_over_steps(pruned[:-1], last, n_prunable, n_linear)
    return shape, {
        "n_params_initial": n_linear,
        "n_params_average": in_all / n_steps,
        "n_params_final": n_linear - n_prunable * (1 - pruned[-1].keep),
        "n_tokens": n_tokens,
        "n_steps": n_steps,
        "flops_sparse": 6 * in_all * recipe.train.batch_tokens,
        "n_tokens_dense": n_tokens * in_all / (n_steps * n_linear),
        "n_prunings": len(pruned),
        "window_steps": [first, last],
        "window_share_of_steps": [first / n_steps, last / n_steps],
        "window_share_of_compute": [first * n_linear / in_all, at_last / in_all],
    }


def recipe_of(found: "Partner", recipe: "Recipe") -> "Recipe":
    """The recipe with the partner's sizes, and nothing pruned."""
    from dataclasses import replace

    shape = found.shape
    assert recipe.model is not None
    model = replace(
        recipe.model,
        hidden_size=shape.hidden_size,
        ffn_size=shape.ffn_size,
        heads=shape.n_heads,
        kv_heads=None if shape.n_kv_heads == shape.n_heads else shape.n_kv_heads,
        head_dim=None if shape.query_size == shape.hidden_size else shape.head_dim,
    )
    return replace(recipe, model=model, sparse=None)


def write(recipe: "Recipe", out: Path) -> None:
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(recipe.to_toml())
    except OSError as error:
        raise RecipeError(f"No recipe can be written to {out} ({error.strerror}): name another file.") from error


def section(recipe: "Recipe") -> str:
    """The section [model] of a recipe."""
    return recipe.to_toml().partition("\n\n[")[0].strip()


def figures(found: "Partner", of: str) -> dict[str, Any]:
    return {
        "of": of,
        "n_params_linear": found.shape.n_params_linear,
        "n_params_total": found.shape.n_params_total,
        "n_params_wanted": found.n_params_linear,
        "error": found.error,
    }


def facts(shape: "ModelShape", planned: dict[str, Any], found: "Partner", of: str) -> dict[str, str]:
    from prunescale.amounts import short
    from prunescale.partners import words

    first, last = planned["window_steps"]
    of_steps, of_compute = planned["window_share_of_steps"], planned["window_share_of_compute"]
    n_tokens, more = short(planned["n_tokens"]), "more" if found.error > 0 else "fewer"
    return {
        "Sparse": f"{words(shape)}, {shape.n_layers} layers, vocabulary {shape.vocab_size:,}",
        "Linear weights": f"{short(planned['n_params_initial'])} at first, {short(planned['n_params_average'])} averaged over the "
        f"tokens, {short(planned['n_params_final'])} in the end, head included",
        "Pruned": f"{planned['n_prunings']:,} times, after the steps {first:,} to {last:,} of {planned['n_steps']:,}: "
        f"{of_steps[0]:.1%} to {of_steps[1]:.1%} of the steps, {of_compute[0]:.1%} to {of_compute[1]:.1%} of the compute",
        "Trained": f"{n_tokens} tokens, {planned['flops_sparse']:.2e} FLOPs at 6 N(t) a token: what {short(planned['n_tokens_dense'])} "
        "tokens cost the model unpruned",
        "Dense partner": f"{words(found.shape)}; {found.shape.n_params_linear:,} linear weights, {abs(found.error):.2%} {more} than "
        f"the sparse model {'on average' if of == 'average' else 'in the end'}; on the same {n_tokens} tokens",
    }
