"""Critical learning rates against numpy's eigenvalues and against what training really does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from step_by_step import update_matrix

from sgdnoise.theory import stability as s


@given(st.floats(0, 0.9999), st.floats(1e-4, 1e3), st.floats(0, 4.5))
def test_spectral_radius_is_that_of_the_update_matrix(m: float, h: float, q: float) -> None:
    radius = s.spectral_radius(q / h, h, m)
    by_numpy = np.abs(np.linalg.eigvals(update_matrix(q / h, h, m))).max()
    # A double root moves with the square root of rounding, hence 1e-6 and not 1e-15; the matrix
    # itself is badly scaled by h, which the eigenvalue solver balances.
    assert radius == pytest.approx(by_numpy, abs=1e-6)


@pytest.mark.parametrize("m", [0.0, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("h", [0.05, 1.0, 40.0])
def test_radius_crosses_one_at_the_critical_learning_rate(m: float, h: float) -> None:
    critical = s.critical_learning_rate(h, m)
    assert critical == pytest.approx(2 * (1 + m) / h, rel=1e-15)
    assert s.spectral_radius(critical, h, m) == pytest.approx(1, abs=1e-12)
    assert s.spectral_radius(critical * (1 - 1e-9), h, m) < 1
    assert s.spectral_radius(critical * (1 + 1e-9), h, m) > 1


@pytest.mark.parametrize("m", [0.0, 0.5, 0.9])
def test_training_shrinks_just_below_and_grows_just_above(m: float) -> None:
    h = 3.0
    rates = s.critical_learning_rate(h, m) * np.array([0.99, 1.01])
    below, above = np.abs(s.trajectory(rates, h, m, steps=3000))[-1]
    assert below < 1e-3
    assert above > 1e3


def test_momentum_reaches_nineteen_times_the_effective_learning_rate() -> None:
    # REFERENCE.md C, row "S20 momentum": 38 against 2 at m = 0.9.
    assert s.critical_effective_learning_rate(1.0, 0.9) == pytest.approx(38)
    assert s.critical_effective_learning_rate(1.0) == pytest.approx(2)


def test_radius_is_root_m_between_the_double_roots_and_larger_outside() -> None:
    m = 0.81
    inside = np.linspace((1 - 0.9) ** 2 + 1e-9, (1 + 0.9) ** 2 - 1e-9, 50)
    np.testing.assert_allclose(s.spectral_radius(inside, 1.0, m), 0.9, rtol=1e-12)
    outside = np.array([0.005, (1 + 0.9) ** 2 + 0.005])
    assert np.all(s.spectral_radius(outside, 1.0, m) > 0.91)


def test_trajectory_is_the_power_of_the_update_matrix() -> None:
    lr, h, m = 0.7, 1.3, 0.6
    power = np.linalg.matrix_power(update_matrix(lr, h, m), 23)
    assert s.trajectory(lr, h, m, steps=23, start=2.0)[23] == pytest.approx(2 * power[0, 0])


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentum_outside_its_range_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="momentum"):
        s.spectral_radius(0.1, 1.0, momentum)
    with pytest.raises(ValueError, match="momentum"):
        s.critical_learning_rate(1.0, momentum)


@pytest.mark.parametrize("eigenvalue", [0.0, -1.0, float("nan"), float("inf")])
def test_an_eigenvalue_that_is_not_positive_has_no_critical_learning_rate(
    eigenvalue: float,
) -> None:
    with pytest.raises(ValueError, match="eigenvalue"):
        s.critical_learning_rate(eigenvalue)


def test_negative_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps"):
        s.trajectory(0.1, 1.0, steps=-1)
