"""Laws on published data: numbers that others have found, or that follow from the files, each with the reason for its tolerance."""

import pytest

from prunescale.fitting import FitStatus, fit
from prunescale.laws import PRESETS
from studies.published import curves, families, frantar, gadre, hoffmann, minitron, muennighoff, porian, report
from studies.published.curve_files import curves as all_curves
from studies.published.errors import errors, held_out
from studies.published.read import DATA, keep, rows

README = (report.HERE / "README.md").read_text("utf-8")


def test_every_file_is_described_and_none_is_large():
    about = (DATA / "README.md").read_text("utf-8")
    files = [path for path in DATA.iterdir() if path.name != "README.md"]
    assert len(files) == 14
    for path in files:
        assert f"| `{path.name}` | {len(rows(path.name))} |" in about
    assert sum(path.stat().st_size for path in files) < 1_000_000


# Chinchilla


def test_chinchillas_optimum():
    # Found alike by 4500 starts of L-BFGS and by variable projection with a polish; the objective is known to seven digits.
    found = hoffmann.fits()["huber-log"]
    assert len(found.points.loss) == 240
    assert found.cost == pytest.approx(1.018274e-3, rel=1e-6)
    assert found.law.constants() == pytest.approx(
        {"A": 477.8, "B": 2143.4, "E": 1.8172, "alpha": 0.3473, "beta": 0.3672}, rel=2e-4
    )
    # Hoffmann's own constants, on the same points: 1.2312e-3.
    assert hoffmann.published()[1].huber == pytest.approx(1.2312e-3, rel=1e-4)


def test_the_objective_moves_chinchillas_best_size():
    # Squared errors: beta 0.428, also found by an independent fitter.
    assert hoffmann.fits()["squared"].law.constants()["beta"] == pytest.approx(0.4276, abs=1e-4)
    chosen = hoffmann.choices()
    # N* = G (C/6)^(beta/(alpha+beta)), G = (alpha A / (beta B))^(1/(alpha+beta)), with the constants above: three digits.
    assert chosen["huber-log"].value == pytest.approx(73.2e9, rel=2e-3)
    assert chosen["squared"].value == pytest.approx(96.2e9, rel=2e-3)
    assert hoffmann.published()[0] == pytest.approx(40.4e9, rel=2e-3)
    assert chosen["huber-log"].interval[1] > chosen["squared"].value > chosen["huber-log"].interval[0]
    assert chosen["squared"].interval[1] > chosen["huber-log"].value > chosen["squared"].interval[0]


# Pruning in pre-training


def test_frantars_law_is_refitted_at_or_below_the_known_optimum():
    assert frantar.mean_objective(frantar.fits()["frantar"].law) <= 4.8805e-6  # 4.880e-6 from 150 starts
    assert frantar.mean_objective(frantar.PUBLISHED) == pytest.approx(
        7.603605281507622e-6, rel=1e-6
    )  # as their notebook prints it
    assert frantar.PUBLISHED.constants() == pytest.approx(PRESETS["frantar-2023-t5"].law.constants(), rel=2e-3)  # rounded there


def test_which_parameters_count():
    # Relative RMSE under the authors' objective; all digits known are given.
    rms = {name: 100 * errors(found.law, frantar.columns()).rms for name, found in frantar.fits().items()}
    assert rms["average-parameter"] == pytest.approx(2.71, abs=0.005)
    assert rms["dense-parameter"] == pytest.approx(5.02, abs=0.006)
    assert rms["frantar"] == pytest.approx(0.72, abs=0.006)
    # Of the final-parameter law any value on its plateau is an optimum, so also 4.43, which others have found.
    n_reached, n_tried, (low, high) = frantar.plateau()
    assert n_reached > 0.9 * n_tried
    assert 100 * low == pytest.approx(4.30, abs=0.01)
    assert 100 * high == pytest.approx(4.55, abs=0.01)
    assert low <= rms["final-parameter"] / 100 <= high


def test_the_average_parameter_law_leans_at_high_sparsity_and_frantars_does_not():
    said = [check.text for check in frantar.fits()["average-parameter"].checks if check.code == "leans"]
    assert any("At the highest sparsity (0.875) the law lies 4.2 % below" in text for text in said)
    assert frantar.by_sparsity(frantar.fits()["average-parameter"].law)[0.875] == pytest.approx(-0.042, abs=0.0005)
    assert not frantar.fits()["frantar"].checks


def test_published_constants_are_nearer_where_nobody_fitted():
    error = frantar.held_out_errors()
    assert 100 * error["published"] == pytest.approx(-0.98, abs=0.005)
    assert 100 * error["refit"] == pytest.approx(-1.87, abs=0.005)


# Over-training


def test_over_training():
    c4 = next(iter(gadre.MEASURED_ON))
    found = gadre.fits("c4_original", c4)
    assert found["hoffmann"].n_points == 34
    # One exponent does as well as two. Three digits: the optimum is sharp.
    for name, rms in (("hoffmann", 2.60), ("over-training", 2.61)):
        assert 100 * errors(found[name].law, gadre.columns("c4_original", c4)).rms == pytest.approx(rms, abs=0.01)
    far = gadre.beyond("rpj", c4)
    assert far["larger", "over-training"].mean < far["larger", "hoffmann"].mean
    assert gadre.ratios().max() == pytest.approx(640, rel=0.01)  # tokens per parameter, by their design


# Equal compute


def test_runs_far_from_the_best_spoil_the_exponent():
    sweep = porian.named(dataset="owt2", hparams="tuned")
    pairs = porian.exponent_of_pairs(sweep)
    assert pairs == pytest.approx(0.518, abs=0.001)  # Hoffmann et al. have about 0.5
    exponents = {name: float(porian.exponent(found.law)) for name, found in porian.fits(sweep).items()}
    assert exponents["near"] == pytest.approx(pairs, abs=0.03)
    assert exponents["all"] == pytest.approx(0.305, abs=0.005)


# Data that repeat


def test_repetition():
    table = muennighoff.ends()
    assert muennighoff.past_its_best(table).sum() == 58
    # The loss of the runs of one epoch is not that of the published constants, which are 6 to 42 % below it.
    low, high = muennighoff.published_errors(table["epochs"] == 1), muennighoff.published_errors(table["epochs"] > 1)
    assert low.n_points == 33
    assert low.bias == pytest.approx(-0.149, abs=0.001)
    assert high.bias < low.bias
    found = muennighoff.curve_fits("oscar")
    assert errors(found.law, found.points.columns).rms < 0.002  # the 19 ends lie on the law
    assert found.law.constants()["R_D_star"] == pytest.approx(2.90, abs=0.02)


# Curves


def test_pile_t5_losses_are_per_token_again():
    # The first step, before any training, is near log 32128 = 10.4, the vocabulary; a loss per token is positive.
    table = all_curves()["Pile-T5 xl"]
    assert table["loss"].min() > 0.6
    some = rows("t5-pile.csv.gz")
    short = [row for row in some if row["model_name"] == "xxl" and row["steps"] == "1000100"]  # logged over 100 steps only
    assert float(short[0]["cross_ent_loss"]) / (2048 * 114) == pytest.approx(
        float(short[0]["cross_ent_loss_per_all_target_tokens"]), rel=1e-6
    )


@pytest.mark.parametrize(
    ("name", "of_law", "of_last"),
    [
        ("Pile-T5 xl", 0.30, 1.44),
        ("OPT 6.7b", 0.62, 1.12),
        ("K2-65B", 1.25, 1.37),
        ("Mamba-3B", 1.89, 1.84),
        ("Pythia 160m, seed 0", 0.04, 0.23),
        ("C4 2.8B", 0.18, 0.58),
    ],
)
def test_ends_foretold(name, of_law, of_last):
    # Percent over the last 20 % of the tokens; the second digit may move where the optimum is flat.
    found = curves.foretold(name, 0.1)
    assert 100 * found.law.score.error == pytest.approx(of_law, abs=0.02)
    assert 100 * found.last.score.error == pytest.approx(of_last, abs=0.01)


def test_olmo_from_its_first_hundredth_or_its_first_tenth():
    table = all_curves()["OLMo-1B"]
    end = table["n_tokens"] > 0.8 * table["n_tokens"].max()
    for start, percent in ((0.01, 0.69), (0.1, 0.37)):
        some = table["n_tokens"] >= start * table["n_tokens"].max()
        error = held_out(curves.CurveLaw, keep(table, some), end[some], objective="squared-log", phases=None)[1]
        assert 100 * error.mean == pytest.approx(percent, abs=0.02)
        assert error.bias > 0  # the curve bends down towards its end, of which the law knows nothing


def test_one_law_for_a_family_does_worse_than_each_curve_alone():
    found = families.audited("OPT")
    assert 100 * found.row("tokens", "hoffmann").score.error == pytest.approx(0.83, abs=0.02)
    assert "baseline" in [check.code for check in found.checks]


# Scores


def test_scores_of_pruned_models():
    # (63.5 - 18.4) / (66.1 - 18.4), from NVIDIA's table
    assert minitron.won_back("7B", 20e9) == pytest.approx(0.9455, abs=1e-4)
    found = minitron.recovery("7B", "Average")
    assert "few-runs" in [check.code for check in found.checks]
    assert float(minitron.gain(found.law)) == pytest.approx(0.57, abs=0.02)
    with_two_points = minitron.mean_of(minitron.blends()[0])
    assert len(with_two_points["loss"]) == 2
    assert fit(minitron.PowerLaw, minitron.mean_of(minitron.blends()[1]), phases=None).status is FitStatus.AT_BOUND


# What is written


def test_the_readme_says_what_the_fits_say():
    betas = [f"{hoffmann.fits()[name].law.constants()['beta']:.3f}" for name in ("huber-log", "squared")]
    chosen, error = hoffmann.choices(), frantar.held_out_errors()
    sizes = [f"{each / 1e9:.0f}B" for each in (chosen["huber-log"].value, chosen["squared"].value, hoffmann.published()[0])]
    law = frantar.fits()
    rms = [f"{100 * errors(law[name].law, frantar.columns()).rms:.2f} %" for name in ("average-parameter", "frantar")]
    objectives = [f"{frantar.mean_objective(each):.3e}" for each in (law["frantar"].law, frantar.PUBLISHED)]
    far = [f"{100 * each:.2f} %" for each in error.values()]
    lean = f"{100 * frantar.by_sparsity(law['average-parameter'].law)[0.875]:.1f} %"
    plateau = [f"{100 * each:.2f} %" for each in frantar.plateau()[2]]
    others = [f"{muennighoff.past_its_best(muennighoff.ends()).sum()} of 229", f"{100 * minitron.won_back('7B', 20e9):.1f} %"]
    words = " ".join(README.split())
    for number in (*betas, *sizes, *rms, *objectives, *far, lean, *plateau, *others):
        assert number in words


def test_results_have_every_set_and_figure():
    text = (report.HERE / "results.md").read_text("utf-8")
    for module, figure in report.SECTIONS.items():
        assert f"\n## {TITLES[module]}: " in text or f"\n## {TITLES[module]}\n" in text
        assert figure is None or f"({figure}.png)" in text
    for number in ("1.018274e-03", "7.6036e-06", "4.8801e-06", "-0.98 %", "-1.87 %"):
        assert number in text


TITLES = {
    hoffmann: "Chinchilla",
    frantar: "Sparse pre-training",
    gadre: "Over-training",
    porian: "Equal compute",
    muennighoff: "Data that repeat",
    curves: "Training curves",
    families: "Curves of several sizes",
    minitron: "Pruned models",
}
