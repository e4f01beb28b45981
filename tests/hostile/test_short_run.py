"""A short run of what `make fuzz` does at length: every reader, valid files, seeded mutations of them, and what once broke it."""

from pathlib import Path
from random import Random

import pytest

from fuzz.engine import Harness, quiet
from fuzz.mutate import mutated
from fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"
NEEDED = {"table-parquet": "pyarrow", "text-parquet": "pyarrow", "saved-dataset": "pyarrow", "dataset-state": "pyarrow"} | {
    "tensorboard": "tensorboard",
    "gguf": "gguf",
}
N_INPUTS = {"model-weights": 5, "gguf": 3, "tokenizer": 10, "tokenizer-config": 10, "config": 40}


@pytest.mark.parametrize("name", TARGETS)
def test_an_input_is_read_or_refused_in_one_line(name, tmp_path):
    assert failures_of(name, tmp_path) == {}


def failures_of(name, folder):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    random = Random(name)
    with quiet():
        harness = Harness(TARGETS[name], folder)
        for file in sorted(CORPUS.glob(f"{name}-*")):
            harness.one(file.read_bytes())
        for _ in range(N_INPUTS.get(name, 150)):
            harness.one(mutated(random.choice(harness.seeds), random, is_json=TARGETS[name].is_json))
    assert harness.outcome.read >= len(harness.seeds) - (name == "npz")  # of npz one seed holds objects
    return harness.outcome.failures


def test_the_corpus_is_of_targets_that_there_are():
    for file in CORPUS.iterdir():
        assert any(file.name.startswith(f"{name}-") for name in TARGETS), file
        assert file.stat().st_size < 50_000


def test_the_table_of_the_documentation_is_that_of_the_results():
    from fuzz.report import DOCUMENT, with_table

    document = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(document) == document
