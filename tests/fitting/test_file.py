import json

import pytest

from prunescale.errors import FitError
from prunescale.fitting import fit, from_dict, jackknife, load_fit, save_fit, to_dict
from prunescale.laws import HoffmannLaw, P2Law

from .sweeps import hoffmann_sweep, p2_sweep


def test_a_saved_and_reloaded_fit_is_equal(tmp_path):
    columns = p2_sweep(noise=1e-3, sizes=(4e5, 1e6, 2.5e6), rates=(0.25, 0.5))
    full = jackknife(fit(P2Law, columns, fixed={"E": 0.15}), columns)
    save_fit(full, tmp_path / "fit.json")
    assert load_fit(tmp_path / "fit.json") == full
    assert len(full.refits) == 6


def test_a_law_with_missing_measures_survives_json():
    columns = hoffmann_sweep()
    found = fit(HoffmannLaw, columns, phases=None)
    assert from_dict(json.loads(json.dumps(to_dict(found), allow_nan=False))) == found
    assert found.r2_excess is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read"),
        ("SQLite format 3", "it is no JSON"),
        ("[1, 2]", "its format is not given"),
        ('{"format": "prunescale-fit-99"}', "its format is prunescale-fit-99, not prunescale-fit-1"),
        ('{"format": "prunescale-fit-1", "law": "p2"}', "is a damaged fit"),
        ('{"format": "prunescale-fit-1", "law": "nobodys"}', "is a damaged fit"),
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
