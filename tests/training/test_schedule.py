import pytest

from prunescale.recipe import TrainRecipe
from prunescale.training import Schedule, measured_steps, schedule_of


def recipe(**entries) -> TrainRecipe:
    """Ten steps of ten tokens."""
    plain = {"data": "d", "held_out": "h", "tokens": 100, "learning_rate": 0.8, "sequence_length": 5, "batch_tokens": 10}
    return TrainRecipe(**{**plain, **entries})


def test_warm_up_constant_and_decay():
    schedule = schedule_of(recipe(warmup_tokens=20, decay_fraction=0.3))
    assert schedule == Schedule(peak=0.8, n_warmup=2, n_constant=5, n_decay=3)
    # The last three of ten: (11 - 8) / 4, (11 - 9) / 4, (11 - 10) / 4 of the peak, and zero at an eleventh.
    rates = [0.0, 0.4, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.6, 0.4, 0.2]
    assert [schedule.learning_rate(step) for step in range(11)] == pytest.approx(rates, rel=1e-15)  # the rounding of a product
    phases = ["before", *["warm-up"] * 2, *["constant"] * 5, *["decay"] * 2, "annealed"]
    assert [schedule.phase(step) for step in range(11)] == phases


def test_a_constant_rate_is_the_default():
    schedule = schedule_of(recipe())
    assert {schedule.learning_rate(step) for step in range(1, 11)} == {0.8}
    assert {schedule.phase(step) for step in range(1, 11)} == {"constant"}


def test_a_schedule_without_a_constant_part():
    schedule = schedule_of(recipe(warmup_tokens=50, decay_fraction=0.5))
    assert schedule == Schedule(peak=0.8, n_warmup=5, n_constant=0, n_decay=5)
    assert [schedule.learning_rate(step) for step in (1, 5, 6, 10)] == pytest.approx([0.16, 0.8, 0.8 * 5 / 6, 0.8 / 6], rel=1e-15)
    assert all(schedule_of(recipe(decay_fraction=1.0)).phase(step) == "decay" for step in range(1, 10))


@pytest.mark.parametrize(
    ("entries", "steps"),
    [
        ({"tokens": 1}, (0, 1, 0)),
        ({"tokens": 101}, (0, 11, 0)),
        ({"warmup_tokens": 11}, (2, 8, 0)),
        # Eight steps, of which round(3.6) = 4 decay; a warm-up of 41 tokens would take five, but four are left.
        ({"tokens": 75, "warmup_tokens": 41, "decay_fraction": 0.45}, (4, 0, 4)),
    ],
)
def test_tokens_are_rounded_up_to_steps(entries, steps):
    schedule = schedule_of(recipe(**entries))
    assert (schedule.n_warmup, schedule.n_constant, schedule.n_decay) == steps


@pytest.mark.parametrize(
    ("entries", "steps"),
    [
        ({"tokens": 10_000, "first_measurement": 10, "n_measurements": 4}, [1, 10, 100, 1000]),
        ({"tokens": 10_000, "first_measurement": 2500, "n_measurements": 3}, [250, 500, 1000]),
        ({"tokens": 10_000, "n_measurements": 3}, [10, 100, 1000]),  # a hundredth of the tokens is the first by default
        ({"n_measurements": 4}, [1, 2, 5, 10]),  # 10^(1/3) = 2.15 and 10^(2/3) = 4.64
        ({"n_measurements": 40, "tokens": 50}, [1, 2, 3, 4, 5]),  # never more than the steps
        ({"n_measurements": 1}, [10]),  # the end; once, the first too
        ({"first_measurement": 100, "n_measurements": 5}, [10]),
        ({"first_measurement": 1, "n_measurements": 2}, [1, 10]),
        ({"tokens": 5}, [1]),
    ],
)
def test_measurements_are_evenly_spaced_in_the_logarithm(entries, steps):
    assert measured_steps(recipe(**entries)) == steps
