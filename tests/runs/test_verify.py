import hashlib
import json
from pathlib import Path

import pytest

from prunescale.recipe import Recipe
from prunescale.runs import Point, Store, read_json
from prunescale.runs.verify import verify

MEASURED = sorted((Path(__file__).parents[2] / "studies" / "embedded").rglob("*.json"))


@pytest.fixture
def store(tmp_path):
    with Store.create(tmp_path / "runs.db") as store:
        yield store


@pytest.fixture
def pre_trained(make_run):
    """A run whose figures are worked out by hand.

    Two blocks of width 4, two heads of 2, feed-forward 6, vocabulary 10, tied. Attention 2 * 4 * 4 * 4 = 128, feed-forward 2 * 3 * 4 * 6 =
    144, norms 2 * 2 * 4 + 4 = 20; linear 128 + 144 + 40 = 312. A token costs 3 * (2 * 312 + 2 * 2 * 4 * 8) = 2256 with sequences of 8.
    Half of it sees 312 weights and half 100: on average 206.
    """
    recipe = Recipe.from_dict(
        {
            "model": {"tokenizer": "t", "layers": 2, "hidden_size": 4, "ffn_size": 6, "heads": 2, "tied": True},
            "sparse": {"sparsity": 0.5},
            "train": {
                "data": "a",
                "held_out": "b",
                "tokens": 30,
                "learning_rate": 0.1,
                "batch_tokens": 16,
                "sequence_length": 8,
            },
        }
    )
    return make_run(
        kind="pre-training",
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash,
        n_params_attention=128,
        n_params_ffn=144,
        n_params_norm=20,
        n_params_non_embedding=292,
        n_params_embedding=40,
        n_params_head=0,
        n_params_linear=312,
        n_params_total=332,
        bytes_per_token=4.0,
        flops=2256.0 * 32,
        n_params_left=((0, 312), (16, 100)),
        inputs={"n_params_final": 100.0, "flops_sparse": 6.0 * 206 * 32},
        points=(Point(0, 5.0, 0.0, "before", 0.0), Point(32, 4.0, 0.1, "constant", 1.0)),
    )


def test_every_derived_figure_of_a_sound_run_comes_out_again(store, pre_trained):
    store.add(pre_trained)
    found = verify(store)
    assert found.faults == ()
    assert (found.n_runs, found.n_points) == (1, 2)
    assert set(found.n_checked) == {
        "recipe_hash",
        "bits_per_byte",
        "n_tokens",
        "flops",
        "flops_sparse",
        *(
            f"n_params_{group}"
            for group in ("non_embedding", "total", "attention", "ffn", "norm", "embedding", "head", "linear", "final")
        ),
    }


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("recipe_hash = '0123456789ab'", "recipe_hash is 0123456789ab, and computed again "),
        ("recipe = replace(recipe, '0.1', '0.2')", "recipe_hash is "),
        ("flops = flops * 1.0001", "flops is 72199.2192, and computed again 72192."),
        ("n_params_total = 372", "n_params_total is 372, and computed again 332."),
        ("n_params_non_embedding = 293", "n_params_non_embedding is 293, and computed again 292."),
        ("n_params_linear = 272", "n_params_linear is 272, and computed again 312."),
        ("inputs = json_set(inputs, '$.flops_sparse', 1.0)", "flops_sparse is 1, and computed again 39552."),
        ("n_params_left = '[[0, 312], [16, 90]]'", "n_params_final is 100, and computed again 90."),
        ("kind = 'training'", "kind is 'training'; it must be one of post-training, pre-training."),
        ("recipe = '{'", "Run '3f9a0c' cannot be read"),
        ("recipe = '[]'", "recipe, versions or inputs that are no object"),
    ],
)
def test_what_was_changed_by_another_hand_is_found(store, pre_trained, change, fault):
    store.add(pre_trained)
    store._connection.execute(f"UPDATE runs SET {change}")
    assert any(fault in each for each in verify(store).faults), verify(store).faults


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("DELETE FROM points WHERE position = 0", "the positions of its points do not count from 0"),
        ("DELETE FROM points WHERE position = 1", "n_tokens is 0, and computed again 32"),
        ("DELETE FROM points", "has no points"),
        ("DELETE FROM runs", "2 points belong to no run that is kept"),
        ("UPDATE points SET loss = 'low'", "a measurement of 'low'"),
    ],
)
def test_points_that_were_changed_by_another_hand_are_found(store, pre_trained, change, fault):
    store.add(pre_trained)
    store._connection.execute("PRAGMA foreign_keys = OFF")
    store._connection.execute(change)
    assert any(fault in each for each in verify(store).faults), verify(store).faults


def test_a_damaged_page_is_found(tmp_path, make_run):
    path = tmp_path / "runs.db"
    with Store.create(path) as store:
        store.add(make_run(points=tuple(Point(n, 1.0, 0.1, "constant", 1.0) for n in range(2000))))
    content = bytearray(path.read_bytes())
    content[-4096:-4000] = b"\xff" * 96
    path.write_bytes(content)
    with Store.open(path) as store:
        assert any(fault.startswith("SQLite: ") for fault in verify(store).faults)


def test_a_hash_of_an_older_prunescale_is_not_called_wrong(store, make_run):
    recipe = {"base": "tiny", "entry_of_then": 1, "train": {"tokens": 400, "batch_tokens": 100}}
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    store.add(make_run(recipe=recipe, recipe_hash=hashlib.sha256(canonical.encode()).hexdigest()[:12]))
    assert verify(store).faults == ()


def test_of_what_nobody_knows_nothing_is_wrong(store, make_run):
    unknown = ("recipe_hash", "flops", "n_params_total", "n_params_non_embedding", "bytes_per_token", "n_params_ffn")
    store.add(make_run(recipe={}, **dict.fromkeys(unknown)))
    assert verify(store).faults == ()


@pytest.mark.parametrize("file", MEASURED, ids=lambda path: path.name)
def test_the_runs_that_we_measured_are_sound(store, file):
    store.add(*read_json(file))
    assert verify(store).faults == ()
