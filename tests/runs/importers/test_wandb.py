import json

import pytest

from prunescale.errors import StoreError
from prunescale.runs import Point

WISHES = {"source": "wandb", "kind": "post-training", "constants": ("base=tiny",), "metric": "eval/loss:nats"}

# As a data frame of `run.history()` writes it: row numbers without a name, and cells empty where nothing was logged.
HISTORY = """,_step,_runtime,_timestamp,train/learning_rate,train/loss,eval/loss
0,10,1.5,1700000000.1,0.0001,4.5,
1,20,2.5,1700000001.1,0.0002,4.0,
2,20,2.6,1700000001.2,,,3.75
3,30,3.5,1700000002.1,0.0002,3.5,
4,30,3.6,1700000002.2,,,3.5
"""
POINTS = (Point(20_000, 3.75, 2e-4, "warm-up", None), Point(30_000, 3.5, 2e-4, "constant", None))


def test_the_history_of_a_run(read):
    imported = read("my-run.csv", HISTORY, tokens_per_step=1000, **WISHES)
    (run,) = imported.runs
    assert run.points == POINTS
    assert run.name == "my-run"
    assert imported.notes[:2] == ["Tokens are 1,000 times _step.", "Learning rates are those in train/learning_rate."]


def test_lines_of_scan_history(read):
    header, *lines = (line.split(",") for line in HISTORY.splitlines())
    rows = [{name: float(cell) if cell else None for name, cell in zip(header[1:], line[1:], strict=True)} for line in lines]
    (run,) = read("my-run.jsonl", "\n".join(map(json.dumps, rows)), tokens_per_step=1000, **WISHES).runs
    assert run.points == POINTS


def test_the_trainers_own_steps_and_tokens_are_preferred(read):
    text = "_step,train/global_step,train/num_input_tokens_seen,eval/loss\n3,10,640,4\n7,20,1280,3\n"
    (by_tokens,) = read("a.csv", text, phase="constant", **WISHES).runs
    assert [point.n_tokens for point in by_tokens.points] == [640, 1280]
    (by_steps,) = read("a.csv", text, phase="constant", tokens_per_step=100, **WISHES).runs
    assert [point.n_tokens for point in by_steps.points] == [1000, 2000]


def test_several_runs_in_one_history(read):
    text = "_step,run_id,eval/loss\n1,a,4\n1,b,5\n2,a,3\n2,b,4.5\n"
    a, b = read("a.csv", text, phase="constant", tokens_per_step=8, run="run_id", **WISHES).runs
    assert ([point.loss for point in a.points], [point.loss for point in b.points]) == ([4, 3], [5, 4.5])
    assert (a.name, b.name) == ("a", "b")


# The web page puts the extremes of what it averaged beside each metric, and everything into quotes.
PANEL_HEADER = ["Step", *(f"{run} - eval/loss{end}" for run in ("fast - low", "slow") for end in ("", "__MIN", "__MAX"))]
PANEL = f"""{json.dumps(PANEL_HEADER, separators=(",", ":"))[1:-1]}
"10","4.5","4.5","4.5","","",""
"20","4","3.5","4.5","5","5","5"
"30","","","","4.75","4.75","4.75"
"""


def test_a_panel_of_the_web_page(read):
    imported = read("panel.csv", PANEL, phase="constant", tokens_per_step=1000, **WISHES)
    fast, slow = imported.runs
    assert (fast.name, slow.name) == ("fast - low", "slow")
    assert [(point.n_tokens, point.loss) for point in fast.points] == [(10_000, 4.5), (20_000, 4.0)]
    assert [(point.n_tokens, point.loss) for point in slow.points] == [(20_000, 5.0), (30_000, 4.75)]
    assert imported.notes == [
        "Lines of panel.csv that hold means of several measurements (their __MIN and __MAX differ): 1; "
        "the history of a run (run.scan_history) has each.",
        "Tokens are 1,000 times Step.",
    ]


def test_a_panel_over_tokens(read):
    text = PANEL.replace('"Step"', '"tokens_B"')
    with pytest.raises(
        StoreError, match=r"After how many tokens.*give --column n_tokens=THEIRS:UNIT; its columns: tokens_B, run"
    ):
        read("panel.csv", text, phase="constant", **WISHES)
    fast, _ = read("panel.csv", text, phase="constant", columns=("n_tokens=tokens_B:B",), **WISHES).runs
    assert [point.n_tokens for point in fast.points] == [10_000_000_000, 20_000_000_000]


def test_bad_rows_of_a_panel_are_told_by_line(read):
    with pytest.raises(StoreError, match="line 4: loss is 'NaN', which is not a finite number"):
        read(
            "panel.csv", PANEL.replace('"4.75","4.75","4.75"', '"NaN","NaN","NaN"'), phase="constant", tokens_per_step=8, **WISHES
        )


def test_other_tables(read):
    with pytest.raises(StoreError, match="is no export of wandb: a history has a column _step"):
        read("a.csv", "step,loss\n1,2\n", **WISHES)
