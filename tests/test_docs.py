"""The documentation says what the program does: every command is explained, what is generated is fresh, and links lead somewhere.

That each layer is listed is tested with the layers.
"""

import json
import re
import runpy
import tomllib
from pathlib import Path

import click
import pytest

from prunescale.shape import ModelShape
from prunescale.sweep import Study

ROOT = Path(__file__).parents[1]
CLI_PAGE = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))
LAWS_PAGE = runpy.run_path(str(ROOT / "docs" / "generate_laws.py"))
SCALE_PAGE = runpy.run_path(str(ROOT / "docs" / "generate_scale.py"))
COMMANDS = {context.command_path: context.command for context in CLI_PAGE["contexts"]()}
PAGES = [path for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "studies/**/*.md") for path in ROOT.glob(pattern)]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_and_every_option_has_help(command):
    assert command.help
    unexplained = [option.opts[-1] for option in command.params if isinstance(option, click.Option) and not option.help]
    assert not unexplained


def test_the_page_of_commands_is_what_their_help_says():
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert page == CLI_PAGE["page"](), "docs/cli.md is out of date: run python docs/generate_cli.py"


def test_the_page_of_laws_is_what_they_say():
    page = (ROOT / "docs" / "laws.md").read_text("utf-8")
    assert page == LAWS_PAGE["page"](), "docs/laws.md is out of date: run python docs/generate_laws.py"


def test_the_page_of_scale_is_what_its_formulas_say():
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    assert page == SCALE_PAGE["page"](), "docs/scale.md is out of date: run python docs/generate_scale.py"


def test_the_formulas_of_scale_hold_for_what_was_measured():
    """To a tenth: they leave out optimisers' and compilers' own buffers, norms and rounding up."""
    for case in json.loads((ROOT / "benchmarks" / "training_cases.json").read_text("utf-8")):
        shape, how = ModelShape(**case["shape"]), SCALE_PAGE["Training"](**case["training"])
        machine = SCALE_PAGE["Machine"](matrix_rate=case["matrix_rate"])
        assert SCALE_PAGE["memory"](shape, how) == pytest.approx(case["memory"], rel=0.1), case["name"]
        tokens = how.n_gpus * how.n_rows * how.sequence_length
        assert tokens / SCALE_PAGE["seconds_a_step"](shape, how, machine) == pytest.approx(case["tokens_per_second"], rel=0.1)


def test_the_page_of_pruning_lists_every_method_with_its_source():
    from prunescale.pruning import METHODS

    page = (ROOT / "docs" / "pruning.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", page, re.MULTILINE))
    assert list(rows) == list(METHODS)
    for name, method in METHODS.items():
        paper = re.search(r"arXiv:([0-9.]+)", method.source)
        assert paper is None or paper[1] in page, name


def test_the_page_of_families_lists_every_family():
    from prunescale.models import FAMILIES

    page = (ROOT / "docs" / "families.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == ["model_type", *FAMILIES]


def test_the_example_of_an_own_law_is_one():
    (example,) = re.findall(r"```python\n(.*?)```", LAWS_PAGE["OWN"], flags=re.DOTALL)
    written: dict = {}
    exec(example, written)
    # L0 + gap e^-1 after tau tokens.
    law = written["Saturating"](gap=0.5, tau=1e8)
    assert law.loss(n_tokens=1e8, loss_before=3.0) == pytest.approx(3 + 0.5 * 0.3678794, rel=1e-7)


@pytest.mark.parametrize(("page", "n_runs"), [("how-to.md", 6), ("sweeps.md", 6)])
def test_the_examples_of_studies_are_some(page, n_runs):
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    (study,) = [block for block in blocks if "[axes]" in block]
    assert len(Study.from_dict(page, tomllib.loads(study)).runs) == n_runs


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_that_exist(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)", text) if not re.match(r"[a-z]+:", target)]
    missing = [target for target in targets if target and not (page.parent / target).exists()]
    assert not missing
