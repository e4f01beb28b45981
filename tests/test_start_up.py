"""Starting is instant: nothing heavy is loaded before a command needs it. How long it takes: benchmarks/start_up.py."""

import subprocess
import sys

import pytest

HEAVY = {"numpy", "scipy", "torch", "transformers", "tokenizers", "safetensors", "rich", "matplotlib"}
HELP = "import sys; sys.argv = ['prunescale', *sys.argv[1:]]; from prunescale.cli.main import main; main()"


def loaded(*arguments: str) -> set[str]:
    """The packages that a fresh interpreter loads, by Python's own account of its imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().split(".")[0] for line in lines}


def test_import_loads_nothing_heavy():
    packages = loaded("-c", "import prunescale")
    assert "prunescale" in packages
    assert not packages & HEAVY


@pytest.mark.parametrize("command", ["--help", "--version", "fit --help", "runs list --help", "train --help", "demo --help"])
def test_help_loads_nothing_heavy(command):
    packages = loaded("-c", HELP, *command.split())
    assert {"prunescale", "click"} <= packages
    assert not packages & HEAVY
