"""Holds the source to the layers of docs/architecture.md, by reading its imports wherever they stand."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    "__init__",
    "errors",
    "amounts",
    "fields",
    "file_names",
    "outputs",
    "embedded",
    "shape",
    "partners",
    "recipe",
    "study",
    "laws",
    "fitting",
    "planner",
    "runs",
    "devices",
    "models",
    "pruning",
    "training",
    "inference",
    "sweep",
    "report",
    "cli",
)
"""A layer imports only those before it."""

APART = ({"pruning", "training"}, {"runs", "fitting"})
"""Layers that do not know each other, in neither direction."""

ARRAYS = {"numpy", "scipy"}
ANY_GPU_IMAGE = {"torch", "transformers", "safetensors", "tokenizers", "numpy"}
THIRD_PARTY = {
    "laws": {"numpy"},
    **dict.fromkeys(("fitting", "planner"), ARRAYS),
    "runs": ARRAYS | {"pyarrow", "tensorboard"},
    **dict.fromkeys(("models", "pruning", "training", "inference", "sweep"), ANY_GPU_IMAGE),
    "training": ANY_GPU_IMAGE | {"pyarrow", "datasets"},
    "sweep": ANY_GPU_IMAGE | {"ray", "submitit"},
    "devices": {"torch"},
    "report": {"numpy", "matplotlib"},
    "cli": {"click", "rich", "numpy", "torch"},
}
"""What a layer may import beyond the standard library; one that is not named here, nothing."""

TOP_OF_CLI = {"click", "prunescale.__init__", "prunescale.errors", "prunescale.cli"}
PROGRAMS = {"sweep/worker.py"}
"""Processes of ours beside the command line."""
SPEAKING = {"print", "exit", "quit", "SystemExit", "sys.exit", "sys.stdout", "sys.stderr", "sys.argv"}


@dataclass(frozen=True)
class Import:
    name: str  # with all its dots: numpy.linalg, prunescale.runs.Run
    line: int
    at_start: bool  # carried out when the module is imported: neither in a function nor for type checkers only

    @property
    def package(self) -> str:
        """numpy; of our own, prunescale.LAYER."""
        first, *rest = self.name.split(".")
        if first != "prunescale":
            return first
        return f"prunescale.{rest[0] if rest and rest[0] in LAYERS else '__init__'}"


def imports(node: ast.AST, at_start: bool = True) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_start) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            module = "." * child.level + (child.module or "")
            yield from (Import(f"{module}.{alias.name}", child.lineno, at_start) for alias in child.names)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or for_type_checkers(child)
            yield from imports(child, at_start and not later)


def for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def complaints(file: str, source: str) -> list[str]:
    """What is wrong with a module, given its path below src/prunescale and its text: file, line and rule."""
    layer, tree = file.split("/")[0].removesuffix(".py"), ast.parse(source)
    if layer not in LAYERS:
        return [f"src/prunescale/{file}:1: {layer} is in no layer: give it a place in LAYERS"] if tree.body else []
    found = [(each.line, fault) for each in imports(tree) if (fault := import_fault(layer, each))]
    found += speaking(tree) if layer != "cli" and file not in PROGRAMS else []
    return [f"src/prunescale/{file}:{line}: {fault}" for line, fault in sorted(found)]


def import_fault(layer: str, imported: Import) -> str | None:
    package = imported.package
    if imported.name.startswith("."):
        return f"{imported.name} is a relative import: write the module's whole name"
    if package in sys.stdlib_module_names:
        return None
    if layer == "cli" and imported.at_start and package not in TOP_OF_CLI:
        return (
            f"{imported.name} is imported at the top of a command's module: do it inside the command, so that --help is instant"
        )
    if package.startswith("prunescale."):
        return layer_fault(layer, package.removeprefix("prunescale."))
    if package not in THIRD_PARTY.get(layer, ()):
        allowed = ", ".join(sorted(THIRD_PARTY.get(layer, ()))) or "nothing"
        return f"{layer} imports {package}: beyond the standard library it may import {allowed}"
    return None


def layer_fault(layer: str, other: str) -> str | None:
    if {layer, other} in APART:
        return f"{layer} imports {other}: these two never import each other"
    if LAYERS.index(other) > LAYERS.index(layer):
        return f"{layer} imports {other}, a layer that comes after it"
    return None


def speaking(tree: ast.Module) -> list[tuple[int, str]]:
    """Where a module talks to the terminal or ends the process."""
    names = [(node.lineno, ast.unparse(node)) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)]
    return [(line, f"{name}: only cli prints, exits or reads arguments") for line, name in names if name in SPEAKING]


def test_imports_keep_to_the_layers_and_only_commands_print():
    folder = ROOT / "src" / "prunescale"
    modules = sorted(folder.rglob("*.py"))
    assert len(modules) > len(LAYERS)
    found = [line for path in modules for line in complaints(path.relative_to(folder).as_posix(), path.read_text("utf-8"))]
    assert not found, "\n" + "\n".join(found)


def test_the_documentation_lists_the_layers_in_this_order():
    section = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## Layers")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert rows == list(LAYERS[1:])


@pytest.mark.parametrize(
    ("file", "source", "line", "words"),
    [
        ("runs/a.py", "import os\nfrom prunescale.models import load", 2, "runs imports models, a layer that comes after it"),
        ("laws/a.py", "def f():\n    import prunescale.fitting.solve", 2, "laws imports fitting"),
        ("models/a.py", "from prunescale import cli", 1, "models imports cli"),
        ("laws/a.py", "if TYPE_CHECKING:\n    from prunescale.runs import Run", 2, "laws imports runs"),
        ("training/a.py", "from prunescale.pruning import prune", 1, "these two never import each other"),
        ("pruning/a.py", "from prunescale.training import train_", 1, "these two never import each other"),
        ("runs/a.py", "from prunescale.fitting import fit", 1, "these two never import each other"),
        ("laws/a.py", "from scipy.optimize import brentq", 1, "it may import numpy"),
        ("sweep/a.py", "class A:\n    def f(self):\n        import wandb", 3, "sweep imports wandb"),
        ("recipe/recipe.py", "import numpy as np", 1, "it may import nothing"),
        ("runs/a.py", "from .record import Run", 1, "relative import"),
        ("helpers.py", "import os", 1, "helpers is in no layer"),
        ("cli/a.py", "try:\n    import numpy\nexcept ImportError:\n    pass", 2, "inside the command"),
        ("cli/a.py", "from prunescale.runs import Store", 1, "inside the command"),
        ("planner/a.py", "def f():\n    print('so many tokens')", 2, "only cli prints"),
        ("runs/a.py", "import sys\nsys.exit(1)", 2, "only cli prints"),
        ("runs/a.py", "raise SystemExit(2)", 1, "only cli prints"),
        ("fitting/a.py", "import click\nclick.echo('fitted')", 1, "fitting imports click"),
    ],
)
def test_a_breach_is_found_with_its_line(file, source, line, words):
    (complaint,) = complaints(file, source)
    assert complaint.startswith(f"src/prunescale/{file}:{line}: ")
    assert words in complaint


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("sweep/a.py", "from prunescale import __version__, embedded\nfrom prunescale.training import train_"),
        ("cli/a.py", "import json\nimport click\nfrom prunescale.cli import options\nfrom prunescale.errors import FitError"),
        ("cli/a.py", "def fit():\n    import numpy\n    from prunescale.fitting import fit\n    print(fit)"),
        ("cli/a.py", "if TYPE_CHECKING:\n    from prunescale.runs import Run"),
        ("fitting/a.py", "from scipy.optimize import least_squares\nfrom prunescale.laws import LAWS"),
    ],
)
def test_what_the_layers_allow_is_let_through(file, source):
    assert complaints(file, source) == []
