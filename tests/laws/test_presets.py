import numpy as np
import pytest

from prunescale.laws import PRESETS


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_says_where_it_is_from_what_it_counts_and_lies_within_its_laws_bounds(preset):
    assert "arXiv" in preset.citation
    assert preset.status.startswith("read in")
    assert set(preset.units) <= set(preset.law.columns)
    for name, value in preset.law.constants().items():
        assert preset.law.bounds[name].low <= value <= preset.law.bounds[name].high


def test_hoffmanns_constants_say_that_chinchilla_has_a_loss_of_1_94():
    # 1.69 + 406.4/(70e9)^0.34 + 410.7/(1.4e12)^0.28 = 1.69 + 0.0834 + 0.1631
    law = PRESETS["hoffmann-2022"].law
    assert law.loss(n_params_total=70e9, n_tokens=1.4e12) == pytest.approx(1.9365, abs=2e-4)
    assert PRESETS["hoffmann-2022-exact"].law.loss(70e9, 1.4e12) == pytest.approx(1.93, abs=0.02)


def test_hoffmanns_rounded_constants_are_the_exact_ones_rounded():
    rounded, exact = (PRESETS[name].law.constants() for name in ("hoffmann-2022", "hoffmann-2022-exact"))
    digits = {"E": 2, "A": 1, "alpha": 2, "B": 1, "beta": 2}
    assert {name: round(value, digits[name]) for name, value in exact.items()} == rounded


def test_frantars_t5_constants_predict_the_held_out_run_as_published():
    # The authors' notebook predicts 1.4683 for 75 % sparsity, 48 blocks of width 1024 of non-zero parameters and 500,000 steps, where
    # 1.4828 was measured.
    law = PRESETS["frantar-2023-t5"].law
    found = law.loss(n_params_nonzero=48 * 12 * 1024**2, n_tokens=500_000, sparsity=0.75)
    assert found == pytest.approx(1.4683, abs=5e-5)


def test_frantars_constants_are_the_published_ones_in_our_units():
    # In the authors' units: N in millions, D in billions of images. At N = 1 M and D = 1 G every power is 1.
    law = PRESETS["frantar-2023-vit"].law
    dense = law.loss(n_params_nonzero=1e6, n_tokens=1e9, sparsity=0.0)
    assert dense == pytest.approx(1.30485411 + 2.07506343 + 0.27818217 + 4.51669257, rel=1e-12)


def test_muennighoffs_base_deserves_a_model_of_a_twentieth_of_its_tokens():
    # With alpha = beta the best size is (A/B)^(1/alpha) D = exp((6.255414 - 7.3049974)/0.3526596) D = 0.051 D.
    c = PRESETS["muennighoff-2023-base"].law
    assert c.alpha == c.beta
    assert np.exp((np.log(c.A) - np.log(c.B)) / c.alpha) == pytest.approx(0.051, abs=5e-4)
