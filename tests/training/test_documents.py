import gzip
import json
import sys
from types import ModuleType

import pytest

from prunescale.errors import DataError
from prunescale.training import documents as module
from prunescale.training.documents import Document, documents, files_of


def texts(source, **options) -> list[str]:
    return [document.text for document in documents(source, **options)]


def refused(source, **options) -> str:
    with pytest.raises(DataError) as caught:
        list(documents(source, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lines(*rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1000])
def test_a_text_file_is_parted_however_it_is_read(tmp_path, monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK_BYTES", block)
    file = tmp_path / "t.txt"
    file.write_bytes("ab<|endoftext|>\r\n\nc\rd\n<|endoftext|> \n <|endoftext|>ä<|endofte<|endoftext|><|endoftext|>€ \n".encode())
    # The way of Python's own text files, all at once: ends of lines are \n.
    parts = [part.strip("\n") for part in file.read_text(encoding="utf-8").split("<|endoftext|>")]
    assert texts(file) == [part for part in parts if part.strip()] == ["ab", "c\nd", "ä<|endofte", "€ "]


@pytest.mark.parametrize("block", [1, 2, 1000])
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"caf\xe9 noir", "invalid continuation byte at byte 3"), (b"all good \xe2\x82", "unexpected end of data at byte 9")],
)
def test_text_that_is_not_utf_8_is_named_with_its_place(tmp_path, monkeypatch, block, content, words):
    monkeypatch.setattr(module, "BLOCK_BYTES", block)
    (tmp_path / "t.txt").write_bytes(content)
    assert words in refused(tmp_path / "t.txt")


def test_json_lines_plain_and_compressed(tmp_path):
    content = lines({"text": "a\n", "domain": "web"}, {"text": " \n"}) + b"\n" + lines({"id": 3, "text": "ä", "domain": None})
    (tmp_path / "t.jsonl").write_bytes(content)
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(content))
    for name in ("t.jsonl", "t.jsonl.gz"):
        assert list(documents(tmp_path / name)) == [Document("a\n", "web"), Document("ä", None)]
    (tmp_path / "t.jsonl").write_bytes(lines({"content": "x"}))
    assert texts(tmp_path / "t.jsonl", field="content") == ["x"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b'{"text": "a"', "is no JSON (Expecting ',' delimiter)"),
        (b'{"text": "\xff"}', "is no JSON"),
        (b'["a"]', "is of type list, where an object is needed"),
        (b'{"body": "a", "id": 1}', "has no field 'text', but body, id: name the field"),
        (b'{"text": null}', "has a 'text' of type NoneType, where a string is needed"),
        (b'{"text": ["a"]}', "has a 'text' of type list"),
        (b'{"text": "a", "domain": 3}', "has a 'domain' of type int"),
        (b'{"text": "a\\ud800"}', "has half a character (a lone surrogate, at 1)"),
    ],
)
def test_a_bad_row_is_named_with_its_file_and_line(tmp_path, row, words):
    file = tmp_path / "t.jsonl"
    file.write_bytes(lines({"text": "good"}) + b"\n" + row + b"\n")
    message = refused(file)
    assert message.startswith(f"{file}, line 3,")
    assert words in message


def test_compressed_files_that_are_damaged(tmp_path):
    whole = gzip.compress(lines(*({"text": str(number)} for number in range(1000))))
    for content in (whole[:100], b"no gzip", whole[:50] + b"\xff" * 50 + whole[100:]):
        (tmp_path / "t.jsonl.gz").write_bytes(content)
        assert "t.jsonl.gz" in refused(tmp_path / "t.jsonl.gz")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    file = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"text": [str(i) for i in range(2500)], "domain": ["a", None] * 1250}), file)
    assert list(documents(file)) == [Document(str(i), "a" if i % 2 == 0 else None) for i in range(2500)]
    assert "row 1, has no field 'body', but text, domain" in refused(file, field="body")
    parquet.write_table(pyarrow.table({"text": ["a", "b", None]}), file)
    assert f"{file}, row 3, has a 'text' of type NoneType" in refused(file)
    file.write_bytes(b"PAR1 no more")
    assert f"{file} cannot be read" in refused(file)


def test_a_data_set_saved_by_the_package_datasets(tmp_path):
    # Written by hand as the package does: arrow streams, and a list of them whose order is not that of the names.
    pyarrow = pytest.importorskip("pyarrow")
    for name, texts_ in (("data-b.arrow", ["one", "two"]), ("data-a.arrow", ["three"])):
        table = pyarrow.table({"id": range(len(texts_)), "text": texts_})
        with pyarrow.OSFile(str(tmp_path / name), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    state = {"_data_files": [{"filename": "data-b.arrow"}, {"filename": "data-a.arrow"}]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert list(documents(tmp_path)) == [Document("one"), Document("two"), Document("three")]
    assert [file.name for file in files_of(tmp_path)] == ["data-b.arrow", "data-a.arrow"]
    assert "data-b.arrow, row 1, has no field 'body', but id, text" in refused(tmp_path, field="body")
    (tmp_path / "data-a.arrow").write_bytes(b"no arrow")
    assert "data-a.arrow cannot be read" in refused(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    assert "does not list the files" in refused(tmp_path)


def test_several_saved_data_sets_in_one_folder(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text("{}")
        (tmp_path / name / "data.arrow").touch()
    (tmp_path / "dataset_dict.json").write_text("{}")
    assert f"is a data set in parts, test, train: name one, as in {tmp_path / 'test'}" in refused(tmp_path)


def test_a_folder_of_several_files_has_a_domain_each(tmp_path):
    (tmp_path / "web.txt").write_text("a<|endoftext|>b")
    (tmp_path / "code.jsonl").write_bytes(lines({"text": "c"}, {"text": "d", "domain": "c++"}))
    (tmp_path / "notes.md").write_text("not read")
    assert list(documents(tmp_path)) == [
        Document("c", "code"),
        Document("d", "c++"),
        Document("a", "web"),
        Document("b", "web"),
    ]
    (tmp_path / "code.jsonl").unlink()
    assert list(documents(tmp_path)) == [Document("a"), Document("b")]


def test_what_is_not_there(tmp_path):
    assert "There is no text at" in refused(tmp_path / "none.jsonl")
    assert "holds no text: give a .txt, .jsonl" in refused(tmp_path)


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").touch()
    for name in ("pyarrow", "pyarrow.parquet", "pyarrow.ipc", "datasets"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    assert "needs the package pyarrow: pip install 'prunescale[parquet]'" in refused(tmp_path / "t.parquet")
    assert "Reading hf:a/b needs the package datasets: pip install 'prunescale[datasets]'" in refused("hf:a/b")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("imdb", ("imdb", None, "train")),
        ("owner/name", ("owner/name", None, "train")),
        ("owner/name/config@test[:10%]", ("owner/name", "config", "test[:10%]")),
    ],
)
def test_a_data_set_of_the_hub_is_read_as_it_comes(monkeypatch, name, asked):
    calls, hub = [], ModuleType("datasets")

    def load_dataset(path, config, *, split, streaming):
        calls.append((path, config, split))
        assert streaming
        yield {"text": "a", "domain": "web"}
        yield {"text": ""}
        raise ConnectionError("the line\nis dead.")

    hub.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", hub)
    rows = documents(f"hf:{name}")
    assert next(rows) == Document("a", "web")
    with pytest.raises(DataError, match=r"hf:.* cannot be read from the Hub \(the line is dead\): check its name"):
        next(rows)
    assert calls == [asked]
