"""What a stranger's file can never do: run code, write outside the output folder, take a file along that is not the model's, or speak to
the terminal."""

import ast
import contextlib
import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from prunescale.cli.main import main
from prunescale.errors import DataError, ModelError
from prunescale.models import load, save

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUNS_CODE = {"eval", "exec", "compile", "__import__"}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def keyword(call, name):
    return next((ast.unparse(each.value) for each in call.keywords if each.arg == name), None)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_no_source_unpickles_or_runs_text(source):
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not {name.partition(".")[0] for name in names} & UNPICKLERS
    for call in calls(tree):
        called = ast.unparse(call.func)
        assert called not in RUNS_CODE
        if called == "torch.load":
            assert keyword(call, "weights_only") == "True"
        if called in ("np.load", "numpy.load"):
            assert keyword(call, "allow_pickle") == "False"
        assert keyword(call, "trust_remote_code") in (None, "False")
        assert keyword(call, "shell") in (None, "False")
        assert called not in ("os.system", "os.popen", "yaml.load")


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def folder(make_checkpoint, tmp_path):
    return save(make_checkpoint(), tmp_path / "model")


@pytest.mark.parametrize("file", ["pytorch_model.bin", "training_args.bin", "optimizer.pt", "model.safetensors"])
def test_a_pickle_beside_or_in_the_place_of_the_weights_is_not_read(folder, tmp_path, file):
    mark = tmp_path / "it-ran"
    assert pickle.loads(pickle.dumps(Bomb(tmp_path / "proof"))) is None
    assert (tmp_path / "proof").is_dir()  # the bomb is one
    (folder / file).write_bytes(pickle.dumps(Bomb(mark)))
    if file == "model.safetensors":
        with pytest.raises(ModelError):
            load(folder)
    else:
        load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError):
        load(folder)
    assert not mark.exists()


@pytest.mark.parametrize("of", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_does_not_run(folder, tmp_path, of, monkeypatch):
    mark = tmp_path / "it-ran"
    (folder / "modeling_x.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass X: pass\n")
    content = json.loads((folder / of).read_text())
    kinds = ("AutoConfig", "AutoModelForCausalLM") if of == "config.json" else ("AutoTokenizer",)
    entry = {kind: "modeling_x.X" if kind != "AutoTokenizer" else ["modeling_x.X", None] for kind in kinds}
    changes = {"model_type": "x"} if of == "config.json" else {"tokenizer_class": "X"}
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 10))
    for extra in ({}, changes):
        (folder / of).write_text(json.dumps(content | {"auto_map": entry} | extra))
        with contextlib.suppress(ModelError):
            load(folder)
        assert not mark.exists()


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    from prunescale.training.data import read_token_file
    from prunescale.training.shards import Shard, mapped

    mark = tmp_path / "it-ran"
    bomb = np.array([Bomb(mark)], dtype=object)
    np.savez(tmp_path / "a.npz", tokens=bomb)
    np.save(tmp_path / "a.npy", bomb)
    with pytest.raises(DataError):
        read_token_file(tmp_path / "a.npz")
    with pytest.raises(DataError):
        mapped(tmp_path, Shard("a.npy", 1, (tmp_path / "a.npy").stat().st_size, ""))
    assert not mark.exists()


def test_nothing_is_written_outside_the_output_folder_and_nobody_elses_file_is_taken_along(folder, tmp_path):
    private = tmp_path / "private"
    private.mkdir()
    (private / "key").write_text("secret")
    (folder / "LICENSE-x").symlink_to(private / "key")
    (folder / "NOTICE-loop").symlink_to(folder / "NOTICE-loop")
    (folder / "additional_chat_templates").symlink_to(private)
    (folder / "LICENSE").write_text("free")
    os.mkfifo(folder / "NOTICE")  # whoever opens it waits for ever
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    save(load(folder), tmp_path / "out")
    new = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} - before
    assert new
    assert {path.parts[0] for path in new} == {"out"}
    assert (tmp_path / "out" / "LICENSE").read_text() == "free"
    assert all("secret" not in path.read_text(errors="replace") for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_links_into_the_cache_of_the_hub_are_followed(folder, tmp_path):
    from prunescale.models.folder import kept_files

    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "beef").write_text("{}")
    (snapshot / "tokenizer.json").symlink_to("../../blobs/beef")
    assert kept_files(snapshot) == {"tokenizer.json": b"{}"}


def test_nothing_of_ours_writes_html():
    """There is no page to escape names in; whoever adds one adds a test of its names, and its name here."""
    for source in SOURCES:
        text = source.read_text(encoding="utf-8").lower()
        assert "<html" not in text
        assert "text/html" not in text


def test_a_model_card_shows_names_and_does_not_obey_them(make_checkpoint):
    from prunescale.models.card import card

    evil = "<script>alert(1)</script>\n---\nlicense: evil | x"
    text = card(
        {"pruning": {"base": evil, "method": "wanda\n- evil", "summary": evil, "rate": 0.5}}, make_checkpoint().shape, "m"
    )
    assert "<script>" not in text
    assert "\nlicense" not in text
    front = text.split("---\n")[1]
    assert front.splitlines() == [
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags:",
        "- prunescale",
        "- pruned",
    ]


def test_names_in_a_figure_are_no_formulas():
    from prunescale.report.inspection import as_it_is

    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.suptitle(as_it_is("$\\badmath{$ \x1b[31m"))
    figure.savefig(io.BytesIO(), format="svg")


EVIL = "\x1b]0;owned\x07\x1b[31m \u202e[bold red]x[/] <script>"


@pytest.mark.parametrize("arguments", [["list"], ["show", "3f9a0c"], ["list", "--json"], ["export", "--format", "json"]])
def test_names_out_of_a_store_do_not_speak_to_the_terminal(make_run, tmp_path, capsys, arguments):
    from prunescale.runs import Store

    with Store.create(tmp_path / "runs.db") as store:
        store.add(make_run(name=EVIL, base=EVIL, device=EVIL, pruning_method=EVIL))
    with pytest.raises(SystemExit) as ended:
        main(["runs", *arguments, "--store", str(tmp_path / "runs.db")])
    shown = capsys.readouterr()
    assert ended.value.code == 0, shown.err
    assert "script" in shown.out
    if arguments[0] in ("list", "show"):
        assert not {"\x1b", "\x07", "\u202e"} & set(shown.out)
        assert "[bold red]" in shown.out or "[bold" in shown.out  # shown as it is, not obeyed


def test_names_out_of_a_file_do_not_speak_to_the_terminal(tmp_path, capsys):
    (tmp_path / "t.csv").write_text(f"{EVIL},loss\n1,2\n")
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "runs",
                "import",
                str(tmp_path / "t.csv"),
                "--from",
                "table",
                "--store",
                str(tmp_path / "r.db"),
                "--kind",
                "pre-training",
            ]
        )
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.err.count("\n") == 1
    assert not {"\x1b", "\x07", "\u202e"} & set(shown.err)
    assert not (tmp_path / "r.db").exists()
