import json

import numpy as np
import pytest

from prunescale.errors import FitError
from prunescale.fitting import bootstrap, fit, from_dict, load_fit, save_fit, to_dict
from prunescale.laws import Bound, HoffmannLaw, P2Law, own_law

from .sweeps import hoffmann_sweep, p2_sweep


def test_a_saved_and_reloaded_fit_is_equal(tmp_path):
    columns = p2_sweep(noise=1e-3, sizes=(4e5, 1e6, 2.5e6), rates=(0.25, 0.5))
    full = bootstrap(fit(P2Law, columns, fixed={"E": 0.15}), n=20)
    save_fit(full, tmp_path / "fit.json")
    read = load_fit(tmp_path / "fit.json")
    assert read == full
    assert read.interval("beta") == full.interval("beta")
    assert read != fit(P2Law, columns, fixed={"E": 0.15})  # which has no replicates


def test_a_law_with_missing_measures_survives_json():
    columns = hoffmann_sweep()
    found = fit(HoffmannLaw, columns, phases=None)
    assert from_dict(json.loads(json.dumps(to_dict(found), allow_nan=False))) == found
    assert found.metrics.r2_excess is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read"),
        ("SQLite format 3", "it is no JSON"),
        ("[1, 2]", "its format is not given"),
        ('{"format": "prunescale-fit-99"}', "its format is prunescale-fit-99, not prunescale-fit-2"),
        ('{"format": "prunescale-fit-2", "law": "p2"}', "is a damaged fit"),
        ('{"format": "prunescale-fit-1"}', "its format is prunescale-fit-1, not prunescale-fit-2; fit the runs again"),
        (
            '{"format": "prunescale-fit-2", "law": "nobodys"}',
            "the law 'nobodys', which is not built in: say where it is with --law",
        ),
    ],
)
def test_a_file_that_is_no_fit_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "fit.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FitError, match=message) as error:
        load_fit(path)
    assert "\n" not in str(error.value)


def test_a_binary_file_is_refused_too(tmp_path):
    (tmp_path / "runs.db").write_bytes(b"SQLite format 3\x00\xff\xfe\x80")
    with pytest.raises(FitError, match="it is no JSON"):
        load_fit(tmp_path / "runs.db")


def test_a_fit_of_a_law_of_ones_own_needs_that_law_again(tmp_path):
    def line(n_tokens, a, b):
        return a + b / n_tokens

    law = own_law(line, {"a": (0.0, 10.0), "b": Bound(1.0, 1e12, start=(1e5, 1e7), log=True)})
    columns = hoffmann_sweep() | {"phase": np.full(24, "constant")}
    found = fit(law, columns)
    save_fit(found, tmp_path / "fit.json")
    assert load_fit(tmp_path / "fit.json", law) == found
    with pytest.raises(FitError, match="not built in"):
        load_fit(tmp_path / "fit.json")
    with pytest.raises(FitError, match="is a fit of the law line, not of p2"):
        load_fit(tmp_path / "fit.json", P2Law)


def test_what_some_runs_do_not_know_keeps_no_fit_from_being_saved(tmp_path):
    # A store has a pruning rate for every run, nan where nobody pruned; a fit of a dense law took it along, and JSON has no nan.
    columns = hoffmann_sweep() | {"pruning_rate": np.full(24, np.nan)}
    save_fit(fit(HoffmannLaw, columns), tmp_path / "fit.json")
    assert "pruning_rate" not in load_fit(tmp_path / "fit.json").points.columns
