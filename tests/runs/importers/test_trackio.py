import json
import math
import sqlite3

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Point

WISHES = {"source": "trackio", "kind": "post-training", "constants": ("base=tiny",), "metric": "eval/loss:nats"}
LOGGED = [
    ("1f", "calm-river", 10, {"train/loss": 4.5, "lr": 1e-3}),
    ("1f", "calm-river", 10, {"eval/loss": 4.25, "memory": {"gpu": 3}}),
    ("2e", "calm-river", 10, {"eval/loss": 3.5}),  # a second run of that name
    ("1f", "calm-river", 20, {"train/loss": 4.0, "lr": 1e-3}),
    ("1f", "calm-river", 20, {"eval/loss": 4.0}),
    ("2e", "calm-river", 20, {"eval/loss": 3.25}),
    ("3d", "bright-dawn", 20, {"train/loss": 3.0}),
]
POINTS = [
    (Point(10_000, 4.25, 1e-3, "constant", None), Point(20_000, 4.0, 1e-3, "constant", None)),
    (Point(10_000, 3.5, None, "constant", None), Point(20_000, 3.25, None, "constant", None)),
]


def project(path, logged=LOGGED, with_ids=True, journal="WAL"):
    """As trackio 0.43 makes it, metrics as the bytes of JSON; versions before 0.2 had no run_id."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    run_id = "run_id TEXT NOT NULL," if with_ids else ""
    connection.execute(
        f"CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, {run_id} timestamp TEXT NOT NULL, "
        "run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL)"
    )
    for identity, name, step, metrics in logged:
        content = json.dumps(metrics).encode() if isinstance(metrics, dict) else metrics
        values = ([identity] if with_ids else []) + ["2026-11-24T20:20:55+00:00", name, step, content]
        connection.execute(
            f"INSERT INTO metrics ({'run_id, ' if with_ids else ''}timestamp, run_name, step, metrics) "
            f"VALUES ({', '.join('?' * len(values))})",
            values,
        )
    connection.commit()
    connection.close()


def test_a_project(read, tmp_path):
    project(tmp_path / "project.db")
    before = (tmp_path / "project.db").read_bytes()
    imported = read("project.db", tokens_per_step=1000, phase="constant", columns=("learning_rate=lr",), **WISHES)
    assert [run.name for run in imported.runs] == ["calm-river", "calm-river"]
    assert [run.points for run in imported.runs] == POINTS
    assert imported.notes == ["Tokens are 1,000 times step.", "Left out, since they have no usable eval/loss: 3d."]
    assert (tmp_path / "project.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["project.db"]


def test_a_project_that_is_being_written(read, tmp_path):
    project(tmp_path / "project.db")
    writer = sqlite3.connect(tmp_path / "project.db")  # its log is not in the file yet
    content = json.dumps({"eval/loss": 2.0}).encode()
    writer.execute(
        "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES ('1f', '', 'calm-river', 30, ?)", [content]
    )
    writer.commit()
    runs = read("project.db", tokens_per_step=1000, phase="constant", **WISHES).runs
    assert runs[0].loss == 2.0
    writer.close()


def test_an_early_project_knows_runs_by_name(read, tmp_path):
    project(tmp_path / "project.db", [row for row in LOGGED if row[0] != "2e"], with_ids=False, journal="DELETE")
    (run,) = read("project.db", tokens_per_step=1000, phase="constant", **WISHES).runs
    assert (run.name, run.loss) == ("calm-river", 4.0)


def test_its_parquet(read, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = ("train/loss", "lr", "eval/loss", "memory")
    rows = [
        {
            "id": i,
            "run_id": identity,
            "timestamp": "t",
            "run_name": name,
            "step": step,
            **{key: metrics.get(key) for key in names},
        }
        for i, (identity, name, step, metrics) in enumerate(LOGGED)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "project.parquet")
    runs = read("project.parquet", tokens_per_step=1000, phase="constant", columns=("learning_rate=lr",), **WISHES).runs
    assert [run.points for run in runs] == POINTS


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"eval/loss": "NaN"}, "row 8: loss is nan, which is not a finite number"),  # how trackio writes math.nan
        ({"eval/loss": "-Infinity"}, "row 8: loss is -inf"),
        (b"[1, 2]", "row 8: has no JSON object of metrics"),
        (b"{", "row 8: has no JSON object of metrics"),
        (b'{"eval/loss": ' + b" " * 2**20 + b"1}", "row 8: has no JSON object of metrics"),
    ],
)
def test_bad_rows(read, tmp_path, metrics, message):
    project(tmp_path / "project.db", [*LOGGED, ("1f", "calm-river", 40, metrics)])
    with pytest.raises(StoreError, match=message):
        read("project.db", tokens_per_step=1000, phase="constant", **WISHES)


def test_what_is_no_project(read, tmp_path):
    (tmp_path / "text.db").write_text("no database")
    with sqlite3.connect(tmp_path / "view.db") as connection:  # a view could compute for ever
        connection.execute("CREATE VIEW metrics AS SELECT 1 AS id, 'a' AS run_name, 1 AS step, '{}' AS metrics")
    connection.close()
    for name in ("text.db", "view.db", "absent.db"):
        with pytest.raises(StoreError, match="is no project of trackio: an SQLite file with its table metrics, or its Parquet"):
            read(name, **WISHES)
    assert not (tmp_path / "absent.db").exists()


def test_not_a_number_is_written_as_trackio_writes_it():
    from prunescale.runs.importers.trackio import NOT_FINITE

    assert math.isnan(NOT_FINITE["NaN"])
