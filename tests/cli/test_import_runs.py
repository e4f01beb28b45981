"""`prunescale runs import` of runs that were measured elsewhere: what is asked for, what is shown, and what lands in the store."""

import importlib.util
import json
from pathlib import Path

import pytest

from prunescale.runs import Store

CURVES = "model,tokens_M,val_bits\nsmall,1,4\nsmall,2,3.5\nlarge,1,3\nlarge,2,2.5\n"
BAD = CURVES + "large,3,\nlarge,2.5,nan\nlarge,4,2\n"
LOSS, TOKENS = ("--column", "loss=val_bits:bits"), ("--column", "n_tokens=tokens_M:M")
RUN, PHASE, KIND = ("--run", "model"), ("--phase", "constant"), ("--kind", "post-training")
BASE = ("--column", "base=model")
ALL = (*LOSS, *TOKENS, *RUN, *PHASE, *KIND, *BASE)
IMPORT = ("runs", "import", "curves.csv", "--store", "elsewhere.db")
UNIT = "UNIT being nats, bits (both per token) or perplexity"

REFUSED = {
    (): f"Which loss? Give --column loss=THEIRS:UNIT, {UNIT}; columns of curves.csv: model, tokens_M, val_bits.",
    ("--column", "loss=val_bits"): f"--column loss=val_bits: the unit is missing; write loss=val_bits:UNIT, {UNIT}.",
    ("--column", "loss=val_bits:B"): "'B' is no unit of loss: nats, bits (both per token) or perplexity.",
    ("--column", "loss=val:bits"): "curves.csv has no column 'val'; its columns: model, tokens_M, val_bits.",
    ("--column", "loss"): "--column loss: write OURS=THEIRS:UNIT, for example --column loss=val_loss:nats.",
    ("--column", "lss=val_bits:1", *LOSS): "After how many tokens? curves.csv does not say by itself: give --column n_tokens=",
    ("--column", "n_token=tokens_M:M"): "--column n_token=...: did you mean n_tokens?",
    (*LOSS, "--column", "n_tokens=tokens_M"): "write n_tokens=tokens_M:UNIT, UNIT being 1, k, M, B, T, or a number such as 65536",
    (
        *LOSS,
        "--tokens-per-step",
        "8",
    ): "--tokens-per-step needs the steps, and no column is known to hold them: give --column n_tok",
    (*LOSS, *LOSS): "--column loss=... is given twice: leave one out.",
    (*LOSS, *TOKENS, "--tokens-per-step", "8"): "The tokens are given twice, by --tokens-per-step and by --column n_tokens=...",
    (*LOSS, *TOKENS): "Which kind of runs are these? Give --kind post-training or --kind pre-training.",
    (*LOSS, *TOKENS, *KIND): "Which model was pruned? Name it, with --set base=NAME or --column base=THEIRS:",
    (*LOSS, *TOKENS, *KIND, *BASE, "--set", "base=a"): "base is given twice, by --column and by --set: leave one out.",
    (*LOSS, *TOKENS, *KIND, *BASE): "No learning rates are known here: give --phase warm-up, constant or decay, or map a column",
    (
        *LOSS,
        *TOKENS,
        *KIND,
        *BASE,
        *PHASE,
    ): "Which rows belong to one run? Give --run COLUMN[,COLUMN...] with what tells runs apart,",
    (*LOSS, *TOKENS, *KIND, *BASE, *PHASE, "--run", "modl"): "curves.csv has no column 'modl' for --run; its columns: model,",
    (*ALL, "--one-run"): "--run, --one-run and --each-row-is-a-run exclude each other: leave one.",
    (
        *LOSS,
        *TOKENS,
        *KIND,
        *BASE,
        *PHASE,
        "--one-run",
    ): "2 of 4 rows are bad and nothing was imported: line 4: n_tokens is 1,000,000",
    (*ALL, "--set", "n_params_before=1.5"): "--set n_params_before=1.5: n_params_before is 1.5, not a whole number",
    (*ALL, "--from", "trackio"): "curves.csv is no project of trackio",
    (*ALL, "--from", "wandb"): "curves.csv is no export of wandb: a history has a column _step",
    (*ALL, "--from", "trainer-state"): "curves.csv is not JSON",
    (*ALL, "--from", "tensorboard"): "There are no event files of TensorBoard in curves.csv",
    (
        *ALL,
        "--from",
        "prunescale",
    ): "curves.csv is taken for runs that prunescale wrote, and --kind is for others: leave it out, or",
    (
        "--from",
        "prunescale",
    ): "curves.csv: These are no exported runs; needed is what `prunescale runs export --format csv` writes.",
    (
        "--from",
        "magic",
    ): "'magic' is not one of 'auto', 'prunescale', 'table', 'trainer-state', 'tensorboard', 'wandb', 'trackio'.",
    ("--phase", "before"): "'before' is not one of 'warm-up', 'constant', 'decay'.",
}


@pytest.fixture
def curves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("curves.csv").write_text(CURVES)
    return tmp_path


@pytest.mark.parametrize(("arguments", "words"), REFUSED.items())
def test_what_is_missing_is_asked_for(curves, refused, arguments, words):
    if "tensorboard" in arguments and not importlib.util.find_spec("tensorboard"):
        pytest.skip("needs tensorboard")
    assert words in refused(*IMPORT, *arguments)


def test_a_table_lands_in_the_store(curves, command):
    done = command(*IMPORT, *ALL)
    assert (done.code, done.err) == (0, "")
    assert done.out == "Runs put into elsewhere.db: 2\n"
    with Store.open("elsewhere.db") as store:
        runs = {run.name: run for run in store.list()}
    assert [point.n_tokens for point in runs["small"].points] == [1_000_000, 2_000_000]
    assert [point.n_tokens for point in runs["large"].points] == [1_000_000, 2_000_000]
    listed = command("runs", "list", "--store", "elsewhere.db").out
    assert "small" in listed
    assert " - " in listed  # what nobody knows
    shown = command("runs", "show", runs["small"].id, "--store", "elsewhere.db").out
    assert "n_params_before         -\n" in shown
    assert command("runs", "export", "--store", "elsewhere.db", "--format", "csv", "--out", "again.csv").code == 0
    assert command("runs", "import", "again.csv", "--store", "copy.db").code == 0
    with Store.open("copy.db") as store:
        assert {run.name: run for run in store.list()} == runs


def test_the_same_file_again_is_refused_as_there_already(curves, command, refused):
    command(*IMPORT, *ALL)
    Path("renamed.csv").write_text(CURVES)
    assert "is already in elsewhere.db: nothing was added" in refused("runs", "import", "renamed.csv", *IMPORT[3:], *ALL)


def test_bad_rows(curves, command, refused):
    Path("curves.csv").write_text(BAD)
    assert refused(*IMPORT, *ALL) == (
        "Error: curves.csv: 2 of 7 rows are bad and nothing was imported: line 6: loss is empty; "
        "line 7: loss is 'nan', which is not a finite number. "
        "Mend the file, or leave them out with --skip-bad-rows.\n"
    )
    done = command(*IMPORT, *ALL, "--skip-bad-rows")
    assert done.out == "Runs put into elsewhere.db: 2\nRows skipped: 2 of 7 (1 empty, 1 not finite)\n"


def test_a_dry_run_shows_and_writes_nothing(curves, command):
    done = command(*IMPORT, *ALL, "--dry-run")
    assert done.out == (
        "Runs\n"
        "run     points   tokens from   to   first loss     last\n"
        "───────────────────────────────────────────────────────\n"
        "small        2            1M   2M       2.7726   2.4260\n"
        "large        2            1M   2M       2.0794   1.7329\n"
        "\n"
        "Columns\n"
        "column       least   greatest\n"
        "─────────────────────────────\n"
        "n_tokens        1M         2M\n"
        "loss       1.73287    2.77259\n"
        "\n"
        "Runs that would be imported (table): 2, points: 4. Nothing was written.\n"
    )
    assert not Path("elsewhere.db").exists()


def test_json(curves, command):
    content = json.loads(command(*IMPORT, *ALL, "--json").out)
    assert {name: content[name] for name in ("store", "format", "n_runs", "n_points", "skipped", "notes")} == {
        "store": "elsewhere.db",
        "format": "table",
        "n_runs": 2,
        "n_points": 4,
        "skipped": {},
        "notes": [],
    }
    assert content["ranges"]["n_tokens"] == [1e6, 2e6]
    assert [run["name"] for run in content["runs"]] == ["small", "large"]
    dry = json.loads(command(*IMPORT[:3], *ALL, "--dry-run", "--json").out)
    assert dry["store"] is None
    assert not Path("runs.db").exists()


def test_names_are_data(curves, command):
    Path("curves.csv").write_text('model,tokens_M,val_bits\n"[red]; DROP TABLE runs; --",1,4\n')
    assert command(*IMPORT, *ALL).code == 0
    assert "[red]; DROP TABLE runs; --" in command("runs", "list", "--store", "elsewhere.db").out


def test_no_such_file(curves, refused):
    for name in ("nowhere.csv", "nowhere.json", "nowhere.parquet", "nowhere"):
        assert f"No runs can be read at {name} (No such file or directory)" in refused("runs", "import", name)
