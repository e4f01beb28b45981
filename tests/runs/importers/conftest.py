"""Reading a small file with a few wishes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prunescale.runs.importers import READERS, Imported, Wishes, import_runs


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Imported]:
    """Write a text to a file of that name, if there is one, and import the file as this format."""

    def run(name: str, text: str | None = None, *, source: str = "table", **wishes: Any) -> Imported:
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
        return import_runs(READERS[source], tmp_path / name, Wishes(**{"kind": "pre-training", **wishes}))

    return run
