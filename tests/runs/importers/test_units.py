import math

import pytest

from prunescale.errors import StoreError
from prunescale.laws import COLUMNS
from prunescale.runs.importers.mapping import constant, known_name
from prunescale.runs.importers.rows import BadRow, number
from prunescale.runs.importers.units import unit


@pytest.mark.parametrize(
    ("name", "text", "theirs", "ours"),
    [
        ("n_tokens", "1", 5.0, 5.0),
        ("n_tokens", "k", 5.0, 5e3),
        ("n_tokens", "b", 1.5, 1.5e9),
        ("n_params_total", "M", 70.0, 7e7),
        ("unique_tokens", "T", 2.0, 2e12),
        ("n_tokens", "65536", 3.0, 196608.0),
        ("loss", "nats", 2.0, 2.0),
        ("loss", "bits", 3.0, 3 * 0.6931471805599453),
        ("loss_before", "perplexity", math.e**2, 2.0),
        ("pruning_rate", "percent", 25.0, 0.25),
        ("sparsity", "share", 0.25, 0.25),
        ("seconds", "60", 2.0, 120.0),
    ],
)
def test_units(name, text, theirs, ours):
    assert unit(text, name).to_ours(theirs) == pytest.approx(ours, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n_tokens", "nats", "'nats' is no unit of n_tokens: 1, k, M, B, T, or a number"),
        ("loss", "B", r"'B' is no unit of loss: nats, bits \(both per token\) or perplexity"),
        ("pruning_rate", "nats", r"share \(0 to 1\) or percent"),
        ("n_tokens", "-3", "'-3' is no unit"),
        ("n_tokens", "nan", "'nan' is no unit"),
        ("n_tokens", "0", "'0' is no unit"),
        ("seconds", "h", "a number to multiply with"),
    ],
)
def test_no_unit(name, text, message):
    with pytest.raises(StoreError, match=message):
        unit(text, name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n_params_before=1.2B", ("n_params_before", 1_200_000_000)),
        ("n_params_before = 6.5e9", ("n_params_before", 6_500_000_000)),
        ("pruning_rate=0.25", ("pruning_rate", 0.25)),
        ("pruning_rate=25%", ("pruning_rate", 0.25)),
        ("loss_before=2.31", ("loss_before", 2.31)),
        ("loss_before=2 bits", ("loss_before", 2 * math.log(2))),
        ("unique_tokens=400M", ("unique_tokens", 400e6)),
        ("base=llama=7b", ("base", "llama=7b")),
        ("temperature=-1.5", ("temperature", -1.5)),
    ],
)
def test_constants(text, expected):
    assert constant(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_params_before", "write NAME=VALUE, for example --set n_params_before=1.2B"),
        ("n_params_before=1.2X", "'X' is no unit of n_params_before"),
        ("n_params_before=many", "n_params_before is 'many', which is not a number; write it like 65536, 20M or 1.2B"),
        ("n_params_before=1.5", "is 1.5, not a whole number"),
        ("n_params_before=1e30", "is 1e.30; counts are kept up to 9.2e18"),
        ("n_params_before=-1M", "is -1e.06, below zero"),
        ("n_param_before=1M", "did you mean n_params_before?"),
        ("pruning_rate=25", "is 25; it goes from 0 to 1"),
        ("loss_before=2,31", "'2,31', which is not a number"),
        ("loss_before=0perplexity", "a perplexity is above 0"),
        ("n_tokens=5", "n_tokens belongs to a point, not to a run; give it with --column n_tokens=THEIRS:UNIT"),
        ("phase=decay", "give it with --phase"),
        ("kind=pre-training", "kind is not given in this way; give --kind"),
        ("id=abc", "prunescale makes it itself"),
        ("a b=1", "letters, digits and _ only"),
    ],
)
def test_what_is_no_constant(text, message):
    with pytest.raises(StoreError, match=message):
        constant(text)


def test_every_input_of_a_law_can_be_given():
    for name in COLUMNS:
        known_name(name, "--column")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (" ", "empty"),
        ("abc", "not a number"),
        ("1_000", "not a number"),
        ("1,5", "not a number"),
        (True, "not a number"),
        ([1], "not a number"),
        ({}, "not a number"),
        ("nan", "not finite"),
        (float("inf"), "not finite"),
        (10**400, "not finite"),
    ],
)
def test_what_is_no_number(value, reason):
    with pytest.raises(BadRow) as bad:
        number(value)
    assert bad.value.reason == reason
    assert len(bad.value.detail) < 90
