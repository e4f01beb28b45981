import json
import math
import sys

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Point, Store
from prunescale.runs.table import columns

CSV = """model,tokens_B,loss_bits,lr,pruned
small,0.1,4,1e-3,25
small,0.2,3.5,1e-3,25
large,0.1,3,1e-3,50

large,0.4,2.5,5e-4,50
"""
MAPPED = {
    "columns": ("n_tokens=tokens_B:B", "loss=loss_bits:bits", "learning_rate=lr", "pruning_rate=pruned:percent", "base=model"),
    "constants": ("n_params_before=1.5M", "loss_before=1.5", "sparsity=12.5%"),
    "run": "model",
    "kind": "post-training",
}
BIT = math.log(2)


def check(runs):
    # 0.1 B tokens are 100,000,000; 4 bits are 4 ln 2 nats; 25 percent are 0.25.
    small, large = runs
    assert (small.name, small.base, small.kind) == ("small", "small", "post-training")
    assert (small.pruning_rate, large.pruning_rate) == (0.25, 0.5)
    assert (small.n_params_before, small.loss_before, small.inputs) == (1_500_000, 1.5, {"sparsity": 0.125})
    assert small.points == (
        Point(100_000_000, 4 * BIT, 1e-3, "constant", None),
        Point(200_000_000, 3.5 * BIT, 1e-3, "constant", None),
    )
    # A rate that falls at the second of two points: by the rule the first is compared with it, so both are of a decay.
    assert [(point.n_tokens, point.loss, point.phase) for point in large.points] == [
        (100_000_000, 3 * BIT, "decay"),
        (400_000_000, 2.5 * BIT, "decay"),
    ]
    assert small.recipe == small.versions == {}
    unknown = ("recipe_hash", "n_params_total", "flops", "seconds", "device", "sequence_length", "tokens_per_second")
    assert {getattr(small, name) for name in unknown} == {None}
    assert small.id != large.id
    assert len(small.id) == 12


def records():
    lines = [line.split(",") for line in CSV.splitlines() if line]
    return [
        {name: cell if name == "model" else float(cell) for name, cell in zip(lines[0], line, strict=True)} for line in lines[1:]
    ]


def test_csv(read):
    imported = read("curves.csv", CSV, **MAPPED)
    check(imported.runs)
    assert imported.n_rows == 4
    assert imported.skipped == {}
    assert imported.notes == [
        "Phases from the learning rates (rising: warm-up; at its highest and the same as before: constant; all else: decay): "
        "2 constant, 2 decay points.",
        "Kept as further inputs of laws, since they are no fields of a run: sparsity.",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("curves.tsv", CSV.replace(",", "\t")),
        ("curves.csv", CSV.replace(",", ";")),
        ("curves.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
        ("curves.jsonl", "\n".join(map(json.dumps, records()))),
    ],
)
def test_the_same_in_other_clothes(read, name, text):
    check(read(name, text, **MAPPED).runs)


def test_parquet(read, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(records()), tmp_path / "curves.parquet")
    check(read("curves.parquet", **MAPPED).runs)


def test_the_same_content_has_the_same_ids_whatever_the_file_is_called(read, tmp_path):
    first, again = read("a.csv", CSV, **MAPPED), read("b.csv", CSV, **MAPPED)
    assert [run.id for run in first.runs] == [run.id for run in again.runs]
    other = read("a.csv", CSV.replace("3.5", "3.6"), **MAPPED)
    assert [a.id == b.id for a, b in zip(first.runs, other.runs, strict=True)] == [False, True]
    with Store.create(tmp_path / "runs.db") as store:
        store.add(*first.runs)
        assert [run.id for run in store.list()] == sorted(run.id for run in first.runs)
        with pytest.raises(StoreError, match="is already in"):
            store.add(*other.runs)  # of which one is the same
        assert len(store.list()) == 2


CHINCHILLA = """"Model Size","Training FLOP",loss
1e9,1.2e20,2.5
3e9,1e20,2.4
"""
ENDS = {
    "columns": ("n_tokens=Training FLOP/6/Model Size:1", "n_params_total=Model Size:1", "loss=loss:nats"),
    "each_row_is_a_run": True,
    "phase": "decay",
}


def test_each_row_the_end_of_a_run_with_tokens_from_operations(read):
    # D = C / (6 N): 1.2e20 / 6e9 is 2e10 exactly; 1e20 / 1.8e10 is 5,555,555,555.56
    with pytest.raises(StoreError, match=r"line 3: n_tokens is 5555555555\.5\d+, not a whole number; --round-counts rounds it"):
        read("runs.csv", CHINCHILLA, **ENDS)
    runs = read("runs.csv", CHINCHILLA, round_counts=True, **ENDS).runs
    assert [(run.name, run.base, run.n_params_total) for run in runs] == [
        ("runs line 2", "runs line 2", 1_000_000_000),
        ("runs line 3", "runs line 3", 3_000_000_000),
    ]
    assert [run.points for run in runs] == [
        (Point(20_000_000_000, 2.5, None, "decay", None),),
        (Point(5_555_555_556, 2.4, None, "decay", None),),
    ]
    table = columns(runs)
    assert table["n_params_total"].tolist() == [1e9, 3e9]
    assert all(math.isnan(value) for name in ("n_params_before", "flops", "learning_rate") for value in table[name])


def test_a_row_that_repeats_another_is_no_second_run(read):
    with pytest.raises(StoreError, match="line 4: is the same as line 2"):
        read("runs.csv", CHINCHILLA + "1e9,1.2e20,2.5\n", round_counts=True, **ENDS)


def test_a_phase_and_fields_of_the_run_in_columns(read):
    text = "n,l,when,how,left,took\n0,5,before,wanda,,0\n8,4,warm-up,wanda,100,2\n16,3,constant,,100,4\n"
    mapped = ("n_tokens=n:1", "loss=l:nats", "phase=when", "pruning_method=how", "n_params_nonzero=left:1", "seconds=took:60")
    (run,) = read("a.csv", text, columns=mapped, one_run=True).runs
    assert [point.phase for point in run.points] == ["before", "warm-up", "constant"]
    assert [point.seconds for point in run.points] == [0, 120, 240]
    assert (run.name, run.pruning_method, run.n_params_nonzero, run.seconds) == ("a", "wanda", 100, 240)


def test_zero_tokens_are_before_training_whatever_the_phase(read):
    mapped = {"columns": ("n_tokens=n:1", "loss=l:nats"), "one_run": True, "phase": "constant"}
    assert [point.phase for point in read("a.csv", "n,l\n0,5\n8,4\n", **mapped).runs[0].points] == ["before", "constant"]


PLAIN = {"columns": ("n_tokens=n:1", "loss=l:nats"), "one_run": True, "phase": "constant"}


@pytest.mark.parametrize(
    ("rows", "fault", "reason"),
    [
        ("1,\n", "line 4: loss is empty", "empty"),
        (",1\n", "line 4: n_tokens is empty", "empty"),
        ("30,abc\n", "line 4: loss is 'abc', which is not a number", "not a number"),
        ("30,nan\n", "line 4: loss is 'nan', which is not a finite number", "not finite"),
        ("30,1e999\n", "line 4: loss is '1e999', which is not a finite number", "not finite"),
        ("30,-1\n", "line 4: loss is -1, below zero", "negative"),
        ("-30,1\n", "line 4: n_tokens is -30, below zero", "negative"),
        ("30.5,1\n", "line 4: n_tokens is 30.5, not a whole number", "not whole"),
        ("1e19,1\n", "line 4: n_tokens is 1e+19; counts are kept up to 9.2e18", "too large"),
        ("20,1\n", "line 4: n_tokens is 20, as at line 3 of the same run already", "tokens given twice"),
        ("15,1\n", "line 4: n_tokens is 15 after 20 at line 3 of the same run; it must rise", "tokens that do not rise"),
        ("30,1,1\n", "line 4: has 3 cells, and the first line 2", "wrong number of cells"),
        ("30\n", "line 4: has 1 cells, and the first line 2", "wrong number of cells"),
    ],
)
def test_bad_rows_are_told_by_line_and_reason_or_skipped(read, rows, fault, reason):
    text = f"n,l\n10,3\n20,2\n{rows}40,1\n"
    with pytest.raises(StoreError) as refused:
        read("a.csv", text, **PLAIN)
    message = str(refused.value)
    assert f"a.csv: 1 of 4 rows is bad and nothing was imported: {fault}" in message
    assert message.endswith(". Mend the file, or leave them out with --skip-bad-rows.")
    imported = read("a.csv", text, skip_bad_rows=True, **PLAIN)
    assert [point.n_tokens for point in imported.runs[0].points] == [10, 20, 40]
    assert imported.skipped == {reason: 1}


def test_of_many_bad_rows_the_first_are_told(read):
    with pytest.raises(StoreError) as refused:
        read("a.csv", "n,l\n1,5\n" + "2,\n" * 7, **PLAIN)
    told = "; ".join(f"line {line}: loss is empty" for line in range(3, 8))
    assert f"7 of 8 rows are bad and nothing was imported: {told}; and 2 more. Mend" in str(refused.value)


def test_a_field_of_the_run_must_be_one_for_the_run(read):
    text = "n,l,size\n1,5,100\n2,4,\n3,3,200\n"
    with pytest.raises(
        StoreError, match=r"line 4: n_params_total is 200, and 100 at line 2; it must be one for a whole run \(does"
    ):
        read("a.csv", text, **{**PLAIN, "columns": (*PLAIN["columns"], "n_params_total=size:1")})


def test_nothing_of_use(read):
    with pytest.raises(
        StoreError, match=r"has no usable row with l: nothing was imported. The first bad one is line 2: loss is empty"
    ):
        read("a.csv", "n,l\n1,\n", skip_bad_rows=True, **PLAIN)
    with pytest.raises(StoreError, match=r"has no usable row with l: nothing was imported\.$"):
        read("a.csv", "n,l\n", **PLAIN)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty: a first line with the names of the columns is needed"),
        ("a.csv", b"n,l\n1,\xff\n", "is no UTF-8 text"),
        ("a.csv", b"n,l,n\n1,2,3\n", "has two columns called 'n': rename one"),
        ("a.csv", b'n,l\n1,"2\n' + b"x" * 200_000, "line 3: field larger than field limit"),
        ("a.csv", b'n,l\n1,"2"3\n', "line 2: ',' expected after '\"'"),
        ("a.csv", b"x" * (2**20 + 1), "line 1 has more than 1,048,576 characters"),
        ("a.csv", b",".join(b"%d" % i for i in range(10_001)) + b"\n", "has 10,001 columns"),
        ("a.xlsx", b"", "its name must end in .csv, .tsv, .jsonl or .parquet"),
        ("a.parquet", b"PAR1 but not really PAR1", "cannot be read as Parquet"),
        ("a.jsonl", b'{"n": 1, "l": 2}\n[1]\n', "line 2: is no JSON object"),
        ("a.jsonl", b'{"n": 1, "l": 2}\n{"n": 2, "l"\n', "line 2: is not JSON"),
        ("a.jsonl", b'{"n": 1, "l": 2}\n' + b"[" * 100_000 + b"\n", "line 2: is not JSON"),
        ("a.jsonl", b'{"n": 1, "l": 2}\n{"n": ' + b"9" * 5000 + b', "l": 1}\n', "line 2: is not JSON"),
        ("a.jsonl", b'{"n": 1, "l": 2}\n{"n": {"a": 1}, "l": 1}\n', "line 2: n_tokens is {'a': 1}, which is not a number"),
    ],
)
def test_odd_files(read, tmp_path, name, content, message):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=message) as refused:
        read(name, **PLAIN)
    assert "\n" not in str(refused.value)


def test_too_many_rows(read, monkeypatch):
    monkeypatch.setattr("prunescale.runs.importers.table.MAX_ROWS", 2)
    with pytest.raises(StoreError, match="has more than 2 rows"):
        read("a.csv", "n,l\n1,5\n2,4\n3,3\n", **PLAIN)


def test_no_parquet_without_its_package(read, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(StoreError, match=r"Reading Parquet needs pyarrow: pip install 'prunescale\[parquet\]'."):
        read("a.parquet", **PLAIN)
