"""Files that a command writes."""

import os

import pytest

from prunescale.errors import StoreError
from prunescale.outputs import replaced
from prunescale.runs import Store


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path):
    file = tmp_path / "fit.json"
    file.write_text("precious")

    def write(*texts):
        with replaced(file) as unfinished, open(unfinished, "w") as stream:
            stream.writelines(texts)

    with pytest.raises(TypeError):
        write("half", None)
    assert file.read_text() == "precious"
    write("new")
    assert [path.name for path in tmp_path.iterdir()] == ["fit.json"]
    assert file.read_text() == "new"


def test_a_store_is_never_overwritten_not_even_by_a_link(tmp_path):
    """`fit runs.db --out runs.db` was the end of all runs once."""
    with Store.create(tmp_path / "runs.db"):
        pass
    (tmp_path / "link.json").symlink_to("runs.db")
    for name in ("runs.db", "link.json"):
        with pytest.raises(StoreError, match="is a store of runs, which is not overwritten"), replaced(tmp_path / name):
            pytest.fail("written")


def test_what_a_link_leads_to_is_replaced_and_a_pipe_is_written(tmp_path):
    (tmp_path / "there.json").write_text("old")
    (tmp_path / "link.json").symlink_to("there.json")
    with replaced(tmp_path / "link.json") as file:
        file.write_text("new")
    assert (tmp_path / "there.json").read_text() == "new"
    assert (tmp_path / "link.json").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    with replaced(tmp_path / "pipe") as file:
        assert file == tmp_path / "pipe"
    assert (tmp_path / "pipe").is_fifo()
