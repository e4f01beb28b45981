import pytest

from prunescale.errors import StoreError
from prunescale.runs import Merged, Store
from prunescale.runs.rows import insert_run


@pytest.fixture
def make_store(tmp_path):
    """Make a store with these runs, by a name."""

    def make(name, *runs):
        with Store.create(tmp_path / name) as store:
            store.add(*runs)
        return Store.open(tmp_path / name)

    return make


def test_results_that_are_carried_home_twice_are_there_once(make_store, make_run):
    first, second, third = (make_run(id=f"run-{number}", seconds=float(number + 1)) for number in range(3))
    with make_store("home.db", first) as home, make_store("a.db", first, second) as a, make_store("b.db", second, third) as b:
        assert home.merge([a, b]) == Merged(n_added=2, n_known=2)
        assert home.list() == (first, second, third)
        assert home.merge([a, b]) == Merged(n_added=0, n_known=4)
        assert home.list() == (first, second, third)
        assert a.list() == (first, second)


def test_an_id_that_stands_for_other_content_is_named_and_nothing_is_merged(make_store, make_run):
    other = make_run(loss_before=3.6)
    with make_store("home.db", make_run()) as home, make_store("a.db", make_run(id="new", seconds=9.0), other) as a:
        with pytest.raises(
            StoreError, match=r"Run '3f9a0c' is in .*home.db and in .*a.db, with another loss_before: nothing was"
        ):
            home.merge([a])
        assert home.list() == (make_run(),)


def test_a_training_that_was_recorded_twice_is_one_and_two_trainings_of_a_recipe_are_two(make_store, make_run):
    again = make_run(id="again", created="2026-11-23T10:00:00+00:00")  # all else, its seconds to the last digit, is the same
    repeated = make_run(id="repeated", seconds=0.5)
    with make_store("home.db", make_run()) as home, make_store("a.db", again, repeated) as a:
        assert home.merge([a]) == Merged(n_added=1, n_known=1)
        assert {run.id for run in home.list()} == {"3f9a0c", "repeated"}


def test_without_a_measured_time_equal_curves_may_be_of_two_trainings(make_store, make_run):
    with make_store("home.db", make_run(seconds=None)) as home, make_store("a.db", make_run(id="b", seconds=None)) as a:
        assert home.merge([a]) == Merged(n_added=1, n_known=0)


def test_a_store_merged_into_itself_stays_as_it_is(make_store, make_run):
    with make_store("home.db", make_run()) as home, Store.open(home.path) as same:
        assert home.merge([same]) == Merged(n_added=0, n_known=1)


def test_an_interrupted_merge_leaves_the_store_as_it_was(make_store, make_run, monkeypatch):
    runs = [make_run(id=f"{number}", seconds=number + 1.0) for number in range(3)]
    with make_store("home.db", make_run()) as home, make_store("a.db", *runs) as a:

        def interrupted(connection, run):
            insert_run(connection, run)
            if run.id == "1":
                raise KeyboardInterrupt

        monkeypatch.setattr("prunescale.runs.store.insert_run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            home.merge([a])
        assert home.list() == (make_run(),)


def test_a_run_that_a_fit_cannot_have_is_not_merged(make_store, make_run):
    with make_store("home.db") as home, make_store("a.db", make_run()) as a:
        a._connection.execute("UPDATE points SET n_tokens = 0")
        with pytest.raises(StoreError, match="n_tokens must rise"):
            home.merge([a])
        assert home.list() == ()
