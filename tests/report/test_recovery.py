import numpy as np
import pytest

from prunescale.fitting import fit
from prunescale.laws import P2Law
from prunescale.report import recovery_curve, recovery_curves, recovery_figure, save_png
from prunescale.runs import Point, Run
from prunescale.runs.table import columns

LAW = P2Law(gamma=-1.5, delta=0.1, N_C=0.2, alpha=0.5, D_C=1.5, beta=0.4, E=0.0)
TOKENS = (10_000, 100_000, 1_000_000)


@pytest.fixture(scope="module")
def runs(make_run):
    """Runs whose losses are the law's, but for the point before training and one in the warm-up."""

    def run(n_params: int, rate: float) -> Run:
        inputs = {"n_params_before": n_params, "pruning_rate": rate, "loss_before": 2.5}
        points = [Point(0, 7.0, 0.0, "before", 0.0), Point(1000, 6.0, 1e-4, "warm-up", 1.0)]
        points += [Point(n, float(LAW.loss(n_tokens=n, **inputs)), 1e-3, "constant", 2.0) for n in TOKENS]
        return make_run(id=f"{n_params}-{rate}", points=tuple(points), **inputs)

    return [run(n, rate) for n in (2_000_000, 500_000, 1_000_000) for rate in (0.5, 0.25)]


@pytest.fixture(scope="module")
def found(runs):
    return fit(P2Law, columns(runs), fixed={"E": 0.0})


def test_a_curve_holds_what_was_measured_and_the_laws_line_where_it_was_fitted(found, runs):
    curve = recovery_curve(found, runs[0], fitted=True)
    assert curve.loss_after_pruning == 7.0
    assert curve.n_tokens.tolist() == [1000, *TOKENS]  # a logarithmic axis has no place for zero tokens
    assert curve.loss.tolist() == [point.loss for point in runs[0].points[1:]]
    assert (curve.line_tokens[0], curve.line_tokens[-1]) == pytest.approx((1000, 1_000_000))
    expected = LAW.loss(n_tokens=curve.line_tokens, n_params_before=2_000_000, pruning_rate=0.5, loss_before=2.5)
    np.testing.assert_allclose(curve.line_loss, expected, rtol=1e-4)  # the fit has the law's constants to five digits


def test_curves_are_in_order_and_know_which_runs_were_fitted(found, runs):
    seen = [each.id for each in runs if each.n_params_before < 2_000_000]
    curves = recovery_curves(found, runs, fitted=seen)
    assert [(c.n_params_before, c.pruning_rate, c.fitted) for c in curves] == [
        (500_000, 0.25, True),
        (500_000, 0.5, True),
        (1_000_000, 0.25, True),
        (1_000_000, 0.5, True),
        (2_000_000, 0.25, False),
        (2_000_000, 0.5, False),
    ]


def test_the_figure_has_a_panel_for_each_size_and_tells_fitted_from_predicted(found, runs):
    seen = [each.id for each in runs if each.n_params_before < 2_000_000]
    figure = recovery_figure(recovery_curves(found, runs, fitted=seen))
    assert [panel.get_title() for panel in figure.axes] == [
        "0.50 M parameters: law fitted to these",
        "1.00 M parameters: law fitted to these",
        "2.00 M parameters: predicted by the law",
    ]
    styles = [{line.get_linestyle() for line in panel.lines if len(line.get_xdata()) == 100} for panel in figure.axes]
    assert styles == [{"-"}, {"-"}, {"--"}]


def test_a_figure_is_written_whole_or_not_at_all(found, runs, tmp_path, monkeypatch):
    figure = recovery_figure(recovery_curves(found, runs, fitted=[]))
    save_png(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")

    def fails(path, **_):
        path.write_bytes(b"half")
        raise OSError("no room")

    monkeypatch.setattr(figure, "savefig", fails)
    with pytest.raises(OSError, match="no room"):
        save_png(figure, tmp_path / "other.png")
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]
