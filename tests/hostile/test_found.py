"""What fuzzing and reading found, one test each: the input, and the line that answers it."""

import gzip
import json
import time

import numpy as np
import pytest

from prunescale.errors import (
    LONGEST_MESSAGE,
    DataError,
    FitError,
    ModelError,
    PrunescaleError,
    RecipeError,
    StoreError,
    TrainingError,
)
from prunescale.recipe import Recipe
from prunescale.runs.importers import READERS, Wishes, import_runs

RECIPE = 'base = "m"\n[prune]\nrate = 0.5\n[train]\ndata = "a"\nheld_out = "b"\ntokens = 1000\nlearning_rate = 1e-3\n'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1000", "0x" + "f" * 5000, "at most 2\\^63 - 1"),  # its repr has too many digits for Python
        ("1e-3", "9" * 400, "at most 2\\^63 - 1"),  # no float
        ("1000", "9" * 5000, "is not TOML"),
        ("1000", "[" * 10_000, "is not TOML"),
        ("1000", '"' + "x" * 100_000 + '"', "must be an integer"),
        ("0.5", "0.5\ncalibration_tokens = 9223372036854775808", "at most 2"),
        ("1e-3", "1e-3\ncooldowns = [true]", "a list of token counts"),
    ],
)
def test_a_recipe(old, new, words):
    with pytest.raises(RecipeError, match=words) as refused:
        Recipe.from_toml(RECIPE.replace(old, new))
    assert len(str(refused.value)) <= LONGEST_MESSAGE


def test_a_recipe_that_never_ends():
    from pathlib import Path

    with pytest.raises(RecipeError, match="at most 1,048,576 characters"):
        Recipe.from_toml(Path("/dev/zero"))


def test_a_path_that_is_none(tmp_path):
    from prunescale.runs import read_json

    with pytest.raises(RecipeError, match="null"):
        Recipe.from_toml(tmp_path / "a\0b")
    with pytest.raises(StoreError):
        read_json("a\0b.json")


def test_a_message_is_one_line_that_a_terminal_can_show():
    message = str(PrunescaleError("a\nb \x1b[31mred\x1b]0;title\x07 \u202eevil \ud800"))
    assert message == "a b \\x1b[31mred\\x1b]0;title\\x07 \\u202eevil \\ud800"
    long = str(PrunescaleError("begin" + "\x1b" * 10**6 + "end"))
    assert len(long) <= LONGEST_MESSAGE
    assert long.startswith("begin")
    assert long.endswith("end")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "\ud800", "half a character"),
        ("versions", {"torch": "\ud800"}, "cannot be written as JSON"),
        ("inputs", {"sparsity": 10**400}, "finite number"),
        ("n_params_left", [[0]], "pairs of whole numbers"),
        ("n_params_left", [[0, 8], ["a", 4]], "pairs of whole numbers"),
        ("n_params_left", [[5, 8]], "begin with 0"),
        ("n_params_left", [[0, 8], [0, 4]], "begin with 0 and rise"),
        ("loss_before", 10**400, "too many digits"),
        ("n_params_total", 10**400, "integers are kept up to"),
    ],
)
def test_exported_runs(tmp_path, make_run, field, value, words):
    from prunescale.runs import read_json, runs_to_json

    content = json.loads(runs_to_json([make_run()]))
    content["runs"][0][field] = value
    (tmp_path / "runs.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=words):
        read_json(tmp_path / "runs.json")


@pytest.mark.parametrize("loss", [float("nan"), 10**400, "low", None])
def test_a_loss_of_a_domain(tmp_path, make_run, loss):
    from prunescale.runs import read_json, runs_to_json

    content = json.loads(runs_to_json([make_run()]))
    content["runs"][0]["points"][0]["domains"] = {"web": loss}
    (tmp_path / "runs.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match="the loss of the domain 'web'"):
        read_json(tmp_path / "runs.json")


def test_a_header_of_a_table_takes_no_time_that_grows_with_its_square(tmp_path):
    (tmp_path / "t.csv").write_text(",".join(f"c{n}" for n in range(100_000)) + "\n1\n")
    began = time.process_time()
    with pytest.raises(StoreError, match="100,000 columns; more than 10,000"):
        import_runs(READERS["table"], tmp_path / "t.csv", Wishes(kind="pre-training"))
    assert time.process_time() - began < 2


def test_a_log_of_tensorboard_that_goes_back_at_each_event(tmp_path):
    tensorboard = pytest.importorskip("prunescale.runs.importers.tensorboard")
    steps, of_tag = {step: {"a": 1.0} for step in range(20_000)}, list(range(20_000))
    steps |= {step: {"b": 1.0} for step in range(20_000, 40_000)}
    began = time.process_time()
    for _ in range(20_000):  # each looked at every step before: 800 million
        tensorboard._forget(steps, "a", of_tag, 19_999)
        steps.setdefault(19_999, {})["a"] = 2.0
        of_tag.append(19_999)
    assert time.process_time() - began < 2
    assert len(steps) == 40_000


def test_a_fit(tmp_path):
    from prunescale.fitting import load_fit

    for content in ('{"format": "prunescale-fit-2", "law": []}', "[" * 10_000):
        (tmp_path / "fit.json").write_text(content)
        with pytest.raises(FitError):
            load_fit(tmp_path / "fit.json")


@pytest.mark.parametrize("file", ["../elsewhere.safetensors", "/etc/passwd", "a/b", "..", "", "a\0", 5, None, ["x"], "x" * 5000])
def test_weights_are_in_the_folder_of_their_index(tmp_path, file):
    from prunescale.models.blocks import StoredTensors
    from prunescale.models.checkpoint import refuse_elsewhere

    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": file}}))
    for read in (StoredTensors, refuse_elsewhere):
        with pytest.raises(ModelError, match="no file of that folder"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("num_hidden_layers", 10**12),
        ("hidden_size", 10**12),
        ("vocab_size", 10**400),
        ("num_hidden_layers", -1),
        ("hidden_size", 0),
    ],
)
def test_sizes_are_refused_before_anything_is_made_of_them(tmp_path, make_checkpoint, name, size):
    from prunescale.models import load, save

    folder = save(make_checkpoint(), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {name: size}))
    with pytest.raises(ModelError):
        load(folder)


@pytest.mark.parametrize(
    "lineage",
    [
        {"pruning": 5},
        {"training": 5},
        {"training": [1]},
        {"pruning": {"rate": "a"}},
        {"pruning": {"n_params_before": [], "n_params_after": 1}},
    ],
)
def test_a_lineage_of_other_kinds(tmp_path, lineage):
    from prunescale.models.checkpoint import read_lineage

    (tmp_path / "prunescale.json").write_text(json.dumps(lineage))
    with pytest.raises(ModelError, match="is damaged"):
        read_lineage(tmp_path)


INDEX_CHANGES = [
    {"file": "../../tokens.npy"},
    {"file": "/etc/passwd"},
    {"file": 5},
    {"file": "x" * 5000},
    {"n_tokens": 2.0},
    {"n_tokens": -1},
    {"size": "a"},
]


@pytest.mark.parametrize("change", INDEX_CHANGES)
def test_an_index_of_shards(tmp_path, change):
    from fuzz.targets import shard_files
    from prunescale.training.shards import read_index

    shard_files(tmp_path)
    content = json.loads((tmp_path / "index.json").read_text())
    content["shards"][0] |= change
    content["n_tokens"] = sum(shard["n_tokens"] for shard in content["shards"])
    (tmp_path / "index.json").write_text(json.dumps(content))
    with pytest.raises(DataError):
        read_index(tmp_path)


def test_a_header_of_numpy_that_is_no_python(tmp_path):
    from prunescale.training.shards import Shard, mapped, npy_header

    header = npy_header(np.dtype("<u2"), 1).replace(b"'shape'", b"'sha(((")
    (tmp_path / "a.npy").write_bytes(header + b"\0\0")
    with pytest.raises(DataError, match="is damaged"):
        mapped(tmp_path, Shard("a.npy", 1, len(header) + 2, ""))


def test_tokens_that_grow_when_they_are_unpacked(tmp_path):
    from prunescale.training.data import read_token_file

    np.savez_compressed(tmp_path / "a.npz", tokens=np.zeros(4_000_000, np.int64))
    with pytest.raises(DataError):
        read_token_file(tmp_path / "a.npz")


@pytest.mark.parametrize("content", ['{"abc": 1}', '["abc"]', '[["a", 1e999, 1]]', "[" * 10_000, '[["a", "b", 3]]'])
def test_spans(tmp_path, content):
    from prunescale.training.spans import domains_beside

    for name in ("spans.json", "val-spans.json"):
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError):
        domains_beside(tmp_path / "val-00000.npz", 10)


def test_a_line_of_json_that_is_nested_too_deep_or_has_no_end(tmp_path, monkeypatch):
    from prunescale.training import rows
    from prunescale.training.documents import documents

    (tmp_path / "a.jsonl").write_text('{"text": ' + "[" * 10_000)
    with pytest.raises(DataError, match="no JSON"):
        list(documents(tmp_path / "a.jsonl"))
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 2**20)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(bytes(2**22)))
    with pytest.raises(DataError, match="a line of more than"):
        list(documents(tmp_path / "b.jsonl.gz"))


@pytest.mark.parametrize("name", ["../data.arrow", "/etc/passwd", 5, "\ud800"])
def test_a_saved_data_set_has_its_files_in_its_folder(tmp_path, name):
    from prunescale.training.rows import arrow_files

    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(DataError):
        arrow_files(tmp_path)


@pytest.mark.parametrize("file", ["run.json", "begun.json", "points.jsonl"])
@pytest.mark.parametrize("content", [b"{\n", b"[1]\n", b"\xff\n", b"[" * 10_000 + b"\n", b'{"n_tokens": "a"}\n'])
def test_the_folder_of_a_run(tmp_path, file, content):
    from prunescale.training.resume import RunFolder

    folder = RunFolder(tmp_path / "run", {"recipe_hash": "a"})
    (tmp_path / "run" / file).write_bytes(content)
    if file == "begun.json" and content.startswith(b'{"'):
        return  # what is in it is for the training to say
    read = {
        "run.json": lambda: RunFolder(folder.path, {"recipe_hash": "a"}),
        "begun.json": folder.begun,
        "points.jsonl": folder.points,
    }
    with pytest.raises(TrainingError):
        read[file]()


@pytest.mark.parametrize(
    "change",
    [{"sha256": []}, {"left": 5}, {"left": [[0]]}, {"step": "a"}, {"step": -1}, {"sha256": {"../../x": "a"}}, {"seconds": None}],
)
def test_the_state_of_a_checkpoint(tmp_path, change):
    from prunescale.training.resume import damage_of

    content = {"step": 1, "seconds": 1.0, "branch_seconds": 0.0, "left": [[0, 10]], "sha256": {}}
    (tmp_path / "state.json").write_text(json.dumps(content))
    assert damage_of(tmp_path) == ""
    (tmp_path / "state.json").write_text(json.dumps(content | change))
    assert damage_of(tmp_path).startswith("state.json")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE runs SET recipe = 'no JSON'",
        "UPDATE runs SET inputs = x'ff00'",
        "UPDATE runs SET n_params_left = '[5]'",
        "UPDATE points SET domains = '{'",
    ],
)
def test_a_store_whose_columns_hold_something_else(tmp_path, make_run, change):
    import sqlite3

    from prunescale.runs import Store

    with Store.create(tmp_path / "runs.db") as store:
        store.add(make_run())
    connection = sqlite3.connect(tmp_path / "runs.db")
    connection.execute(change)
    connection.commit()
    connection.close()
    with Store.open(tmp_path / "runs.db") as store, pytest.raises(StoreError):
        store.list()
