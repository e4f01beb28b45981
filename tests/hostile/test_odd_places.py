"""Where a file is asked for and something else lies there, each command ends with one line and exit code 2, and it ends."""

import os
import signal

import pytest

from prunescale.cli.main import main


@pytest.fixture(autouse=True)
def _ends():
    """An alarm instead of a test that hangs."""

    def ring(*_):
        raise TimeoutError("the command does not end")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def made(kind, folder, ending):
    place = folder / f"odd{ending}"
    match kind:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "loop":
            place.symlink_to(place)
        case "empty":
            place.write_bytes(b"")
        case "zeros":
            place.write_bytes(bytes(5000))
        case "no text":
            place.write_bytes(b"\xff\xfe\x80" * 100)
        case "deep":
            place.write_text("[" * 10_000)
        case "endless":
            place.symlink_to("/dev/zero")
    return str(place)


COMMANDS = {
    "import csv": (".csv", lambda place, to: ["runs", "import", place, "--store", f"{to}/r.db", "--kind", "pre-training"]),
    "import json": (".json", lambda place, to: ["runs", "import", place, "--store", f"{to}/r.db"]),
    "import jsonl": (".jsonl", lambda place, to: ["runs", "import", place, "--store", f"{to}/r.db", "--kind", "pre-training"]),
    "import parquet": (
        ".parquet",
        lambda place, to: ["runs", "import", place, "--store", f"{to}/r.db", "--kind", "pre-training"],
    ),
    "import store": (".db", lambda place, to: ["runs", "import", place, "--store", f"{to}/r.db"]),
    "import trackio": (".db", lambda place, to: ["runs", "import", place, "--from", "trackio", "--store", f"{to}/r.db"]),
    "list": (".db", lambda place, to: ["runs", "list", "--store", place]),
    "fit": (".json", lambda place, to: ["fit", place]),
    "plan": (".json", lambda place, to: ["plan", place]),
    "train": (".toml", lambda place, to: ["train", "embedded:0.4m", "--recipe", place, "--store", f"{to}/r.db"]),
    "inspect": ("", lambda place, to: ["inspect", place, "--figure", f"{to}/out.png"]),
    "tokenize": (".jsonl", lambda place, to: ["tokenize", place, "--model", "embedded:0.4m", "--out", f"{to}/out"]),
}
KINDS = ("folder", "pipe", "loop", "empty", "zeros", "no text", "deep", "endless")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_in_one_line(command, kind, tmp_path, capfd):
    ending, arguments = COMMANDS[command]
    (tmp_path / "to").mkdir()
    place = made(kind, tmp_path, ending)
    with pytest.raises(SystemExit) as ended:
        main(arguments(place, tmp_path / "to"))
    shown = capfd.readouterr().err
    if ended.value.code == 0:  # an empty store, say, is one
        assert (command, kind) in {("list", "empty"), ("import store", "empty")}
        return
    assert ended.value.code == 2
    assert shown.startswith("Error: ")
    assert shown.count("\n") == 1
    assert list((tmp_path / "to").iterdir()) == []
