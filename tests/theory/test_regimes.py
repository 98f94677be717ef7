"""The boundary batch size: one definition, on curves whose truth is known and in all its uses."""

from __future__ import annotations

import ast
import math

import numpy as np
import pytest

from sgdnoise.analysis.locate import Located
from sgdnoise.analysis.regimes import fit_regimes
from sgdnoise.chapters import noisy_quadratic
from sgdnoise.figures import prediction
from sgdnoise.theory import nqm, regimes
from sgdnoise.theory.regimes import Hinge, fit_hinge, flat_seen, hinge_of_rates


@pytest.mark.parametrize(
    "truth", [Hinge(1.0, 4.0, 0.0), Hinge(0.5, 6.5, -2.0), Hinge(0.8, 3.3, 1.0)]
)
def test_hinge_recovers_a_hinge(truth):
    x = np.arange(11.0)
    y = truth.level + truth.slope * np.minimum(x - truth.knee, 0)
    fit = fit_hinge(x, y[None])[0]
    assert fit.slope == pytest.approx(truth.slope, abs=0.03)
    assert fit.knee == pytest.approx(truth.knee, abs=0.06)
    assert fit.level == pytest.approx(truth.level, abs=0.03)


def test_hinge_of_a_line_puts_the_knee_at_the_end():
    x = np.arange(8.0)
    fit = fit_hinge(x, 0.7 * x[None])[0]
    assert fit.slope == pytest.approx(0.7)
    assert fit.knee == pytest.approx(7.0)
    assert math.isnan(fit_hinge(x[:3], x[None, :3])[0].slope)


def test_hinge_leaves_out_what_is_missing_row_by_row():
    x = np.arange(9.0)
    y = np.minimum(x, 5)
    holed = y.copy()
    holed[[2, 7]] = np.nan
    whole, part = fit_hinge(x, np.stack([y, holed]))
    assert part.knee == pytest.approx(whole.knee, abs=0.05)
    assert part.slope == pytest.approx(1.0, abs=0.02)


def test_hinge_is_the_best_of_a_brute_force_search():
    rng = np.random.default_rng(5)
    x = np.arange(8.0)
    y = np.minimum(x, 4.3) + rng.normal(0, 0.3, 8)
    fit = fit_hinge(x, y[None])[0]

    def loss(slope, knee, level):
        return ((level + slope * np.minimum(x - knee, 0) - y) ** 2).sum()

    for knee in np.linspace(1, 7, 61):
        design = np.stack([np.minimum(x - knee, 0), np.ones(8)], 1)
        slope, level = np.linalg.lstsq(design, y, rcond=None)[0]
        assert loss(fit.slope, fit.knee, fit.level) <= loss(slope, knee, level) + 1e-3


def test_a_boundary_is_in_examples_and_a_missing_rate_is_left_out():
    sizes = 2 ** np.arange(12)
    rates = 3.0 * np.minimum(sizes / 64, 1)
    rates[3] = np.nan
    hinge = hinge_of_rates(sizes, rates)
    assert hinge.boundary == pytest.approx(64, rel=0.02)
    assert 2**hinge.level == pytest.approx(3, rel=1e-6)


def test_a_flat_part_is_seen_where_the_knee_lies_inside():
    x = np.arange(8.0)
    assert flat_seen([6.9, 7.0, math.nan], x).tolist() == [True, False, False]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_measured_analysis_the_chapter_and_the_prediction_have_one_boundary(momentum):
    # Held constant, the model's rate bends slowly: this is where definitions would differ.
    curve = nqm.tuned_curve(
        nqm.EpochBudget(32, 2**14), [2**k for k in range(15)], momentum, spectrum="binned"
    )
    peaks = np.log2(curve.effective_learning_rate)
    located = [Located(float(peak), float(peak), float(peak), "parabola") for peak in peaks]
    measured = fit_regimes(curve.batch_size.tolist(), located)
    chapter = noisy_quadratic.regimes(curve)
    assert chapter.boundary == measured.boundary.value == prediction.units(curve)[1]
    assert chapter.below == measured.slope.value == prediction.units(curve)[0]


def test_the_definition_needs_numpy_only():
    with open(regimes.__file__, encoding="utf-8") as file:
        nodes = list(ast.walk(ast.parse(file.read())))
    names = {n.module for n in nodes if isinstance(n, ast.ImportFrom)}
    names |= {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    assert names <= {"__future__", "math", "dataclasses", "numpy", "numpy.typing"}
