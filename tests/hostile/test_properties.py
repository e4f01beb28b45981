"""What holds for every text, number and structure that hypothesis can think of."""

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prunescale.errors import LONGEST_MESSAGE, PrunescaleError, RecipeError, StoreError, legible
from prunescale.file_names import is_file_name
from prunescale.recipe import SECTIONS, Recipe
from prunescale.runs.importers.formula import parse
from prunescale.runs.importers.units import amount

RUNS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([2**63, 10**400, -1, 0, 1, 0.5]))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=20))
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6
)


def entries_of(section):
    names = [*section.__dataclass_fields__, "odd"]
    return st.dictionaries(
        st.sampled_from(names), st.one_of(SCALARS, st.sampled_from([1, 1000, 0.5, "a", "2:4", "auto"])), max_size=10
    )


RECIPES = st.fixed_dictionaries(
    {"base": SCALARS, "train": entries_of(SECTIONS["train"]) | ANYTHING},
    optional={name: entries_of(section) | ANYTHING for name, section in SECTIONS.items() if name != "train"},
)
CHANGED = ["name", "loss_before", "n_params_total", "inputs", "n_params_left", "versions", "recipe", "points", "kind"]
GOOD = {"data": "a", "held_out": "b", "tokens": 1000, "learning_rate": 1e-3}


@RUNS
@given(RECIPES)
def test_a_recipe_is_refused_in_one_line_or_comes_back_from_its_toml(content):
    for train in (content["train"], {**content["train"], **GOOD} if isinstance(content["train"], dict) else GOOD):
        try:
            recipe = Recipe.from_dict({**content, "train": train})
        except RecipeError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert Recipe.from_toml(recipe.to_toml()) == recipe


@RUNS
@given(st.text())
def test_any_text_is_a_recipe_or_is_refused(text):
    with pytest.raises(RecipeError):
        Recipe.from_toml(text)


@RUNS
@given(st.text(alphabet=st.characters(codec=None)))
def test_a_message_is_printable_and_short(text):
    message = str(PrunescaleError(text))
    assert message.isprintable()
    assert len(message) <= LONGEST_MESSAGE
    assert message.encode("utf-8") is not None  # raises where there is half a character
    if text.isprintable():
        assert legible(text) == text


@RUNS
@given(st.text(alphabet=string.ascii_letters + "/\\.\0\n ", max_size=12))
def test_a_file_name_leads_nowhere_else(name):
    from pathlib import Path

    if is_file_name(name):
        assert (Path("/folder") / name).resolve().parent == Path("/folder")
    else:
        assert not name.isalpha()


@RUNS
@given(st.text(max_size=30), st.sampled_from(["n_tokens", "loss", "pruning_rate", "learning_rate", "other"]))
def test_an_amount_is_a_number_or_refused(text, name):
    import math

    try:
        assert math.isfinite(amount(text, name))
    except StoreError as error:
        assert name in str(error)  # noqa: PT017


@RUNS
@given(st.text(alphabet="ab*/ 019.e", max_size=20), st.lists(st.text(alphabet="ab*/ ", max_size=5), max_size=5))
def test_a_formula_has_columns_that_are_there_or_is_refused(text, columns):
    try:
        assert set(parse(text, columns, "t.csv").columns) <= set(columns)
    except StoreError as error:
        assert "has no column" in str(error)  # noqa: PT017


@RUNS
@given(
    st.dictionaries(
        st.sampled_from(
            ["name", "loss_before", "n_params_total", "inputs", "n_params_left", "versions", "recipe", "points", "kind"]
        ),
        ANYTHING,
    )
)
def test_exported_runs_are_refused_in_one_line_or_can_be_stored(tmp_path, make_run, changes):
    from prunescale.runs import Store, runs_to_json
    from prunescale.runs.reading import runs_from_json

    content = json.loads(runs_to_json([make_run()]))
    content["runs"][0] |= changes
    try:
        runs = runs_from_json(json.dumps(content))
    except StoreError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        with Store.create(tmp_path / "runs.db") as store:
            store.add(*runs)
            assert store.get(runs[0].id) == runs[0]
            store.remove(runs[0].id)
