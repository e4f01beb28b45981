import pytest

from prunescale.errors import StoreError
from prunescale.runs.importers.formula import parse
from prunescale.runs.importers.rows import BadRow

ROW = {"C": "1.2e21", "N": 1e9, "train/loss": 2.5, "train": 8.0, "loss": 2.0, "a * b": 3, "none": None}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("N", 1e9),
        ("C/6/N", 2e11),  # 1.2e21 / 6 / 1e9
        (" C / 6 / N ", 2e11),
        ("N*2.5e-3", 2.5e6),
        ("6/N", 6e-9),
        ("train/loss", 2.5),  # the column of that name, not 8 / 2
        ("train/loss*2", 5.0),
        ("train/2", 4.0),
        ("a * b/.5", 6.0),
    ],
)
def test_columns_and_numbers_from_left_to_right(text, value):
    assert parse(text, list(ROW), "t.csv").value(ROW) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("D", "t.csv has no column 'D'; its columns: C, N, train/loss"),
        ("C/6/n", r"t.csv has no column 'n' \(in 'C/6/n'\)"),
        ("C+N", r"no column 'C\+N'"),
        ("C//N", "no column '/N'"),
        ("C/", "no column ''"),
        ("", "no column ''"),
        ("__import__('os')", "no column"),
        ("N**9", r"no column '\*9'"),
        ("-N", "no column '-N'"),
    ],
)
def test_anything_else_is_refused(text, message):
    with pytest.raises(StoreError, match=message):
        parse(text, list(ROW), "t.csv")


def test_bad_cells_are_named():
    for text, reason, detail in (
        ("none", "empty", "is empty"),
        ("C/none", "empty", "cannot be computed: none is empty"),
        ("C/0", "division by zero", "would be divided by zero (C/0)"),
        ("C*1e300", "not finite", "is inf, which is not a finite number"),
    ):
        with pytest.raises(BadRow) as bad:
            parse(text, list(ROW), "t.csv").value(ROW)
        assert (bad.value.reason, bad.value.detail) == (reason, detail)
