"""Runs that are long enough to be interrupted, as jobs of an engine."""

from dataclasses import replace

import pytest
import torch

from prunescale.models import save
from prunescale.recipe import Recipe, TrainRecipe
from prunescale.sweep import InProcess, Job
from tests.sweep.under_way import curve_of


@pytest.fixture
def recipe(make_checkpoint, tmp_path):
    """Makes one of so many steps, with a seed."""
    (tmp_path / "train.txt").write_text("never odd or even; " * 4000)
    (tmp_path / "held-out.txt").write_text("never odd or even; " * 6 + "größer")
    base = save(make_checkpoint(), tmp_path / "base")

    def make(n_steps, seed=0):
        train = TrainRecipe(
            data=str(tmp_path / "train.txt"),
            held_out=str(tmp_path / "held-out.txt"),
            tokens=64 * n_steps,
            learning_rate=0.01,
            sequence_length=16,
            batch_tokens=64,
            n_measurements=6,
            seed=seed,
        )
        return Recipe(base=str(base), train=train)

    return make


@pytest.fixture
def job(tmp_path):
    """Makes a job of a recipe, in a folder of this name, that keeps a checkpoint whenever it looks at its loss."""
    return lambda recipe, name, **settings: Job(
        recipe.to_dict(), str(tmp_path / name), str(tmp_path / "stop"), checkpoint_minutes=0.0, **settings
    )


@pytest.fixture
def uninterrupted(job):
    """The curve of a recipe that is carried out in this process, with the one thread that a worker has."""

    def curve(recipe):
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            alone = replace(job(recipe, "alone", device="cpu"), checkpoint_minutes=10.0)
            return curve_of(InProcess().start(alone).outcome())
        finally:
            torch.set_num_threads(n_threads)

    return curve
