"""`trainer_state.json`, which the Hugging Face Trainer writes into each checkpoint: its log of steps, losses and rates."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prunescale.errors import StoreError
from prunescale.runs.importers.opening import whole_json
from prunescale.runs.importers.rows import BadRow, Row, Source

FILE = "trainer_state.json"
CHECKPOINT = re.compile(r"checkpoint-(\d{1,18})")


def read_trainer_state(path: Path) -> Source:
    """The entries of its `log_history`. The path is the file, a checkpoint, or the folder of checkpoints, of which the last
    is taken: each holds the whole history up to it."""
    file = find(path)
    content = whole_json(file)
    history = content.get("log_history") if isinstance(content, dict) else None
    if not isinstance(history, list):
        raise StoreError(f"{file} is no state of a Trainer: it has no list log_history.")
    names = dict.fromkeys(name for entry in history if isinstance(entry, dict) for name in entry)
    return Source(
        path=file,
        columns=tuple(names),
        rows=_rows(history),
        is_log=True,
        one_run=True,
        step="step" if "step" in names else None,
        tokens="num_input_tokens_seen" if "num_input_tokens_seen" in names else None,
        learning_rate="learning_rate" if "learning_rate" in names else None,
        title=_title(file),
    )


def find(path: Path) -> Path:
    """The file itself, or the one in this folder, or that of its last checkpoint."""
    if not path.is_dir():
        return path
    if (path / FILE).is_file():
        return path / FILE
    steps = {int(found[1]): each for each in path.iterdir() if (found := CHECKPOINT.fullmatch(each.name))}
    for _, folder in sorted(steps.items(), reverse=True):
        if (folder / FILE).is_file():
            return folder / FILE
    raise StoreError(f"There is no {FILE} in {path}, nor in a checkpoint there: give the folder of a Trainer's checkpoint.")


def _title(file: Path) -> str:
    """The folder of the run: that of the checkpoints, where the file lies in one of them."""
    folder = file.resolve().parent
    return folder.parent.name if CHECKPOINT.fullmatch(folder.name) else folder.name


def _rows(history: list[Any]) -> Iterator[Row]:
    for number, entry in enumerate(history, start=1):
        if isinstance(entry, dict):
            yield Row(f"entry {number}", entry)
        else:
            yield Row(f"entry {number}", {}, BadRow("not JSON", "is no JSON object"))
