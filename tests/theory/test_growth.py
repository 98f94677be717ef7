"""Laws of growth: each finds its own, and which of two fits better is told with the right sign."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import curve_fit

from sgdnoise.theory import growth

T = np.geomspace(10, 1000, 25)


def noisy(d, size=0.02):
    return d + size * np.random.default_rng(0).standard_normal(d.size)


def test_each_law_finds_its_own_parameters():
    log = growth.log_law(T, 2 + 3 * np.log(T))
    assert log.parameters == pytest.approx((2, 3))
    assert log.r_squared == pytest.approx(1)
    power = growth.power_law(T, 0.7 * T**0.4)
    assert power.parameters == pytest.approx((0.7, 0.4), rel=1e-6)
    assert power.r_squared == pytest.approx(1)
    shifted = growth.offset_power(T, 1 - 5 * T**-0.5, -0.5)
    assert shifted.parameters == pytest.approx((1, -5))


def test_the_power_law_is_that_of_nonlinear_least_squares():
    d = noisy(0.7 * T**0.4, 0.3)
    theirs, _ = curve_fit(lambda t, c, p: c * t**p, T, d, p0=(1, 0.5))
    found = growth.power_law(T, d)
    assert found.parameters == pytest.approx(tuple(theirs), rel=1e-4)
    rest = ((d - found.fitted) ** 2).sum()
    assert found.aic == pytest.approx(T.size * np.log(rest / T.size) + 6)
    assert found.r_squared == pytest.approx(1 - rest / ((d - d.mean()) ** 2).sum())


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5, -0.3])
def test_the_free_power_is_found(power):
    d = np.log(T) if power == 0 else T**power / power
    assert growth.free_power(T, 3 + d) == pytest.approx(power, abs=1e-3)


def test_the_lead_is_the_logs_where_log_holds_and_the_powers_where_a_power_does():
    assert growth.lead_of_log(T, noisy(2 + 3 * np.log(T))) > 20
    assert growth.lead_of_log(T, noisy(2 * T**0.5)) < -20
    d = noisy(2 + 3 * np.log(T))
    by_hand = growth.power_law(T, d).aic - growth.log_law(T, d).aic
    assert growth.lead_of_log(T, d) == pytest.approx(by_hand)


def test_a_bend_that_is_left_shows_in_the_residuals():
    bent = growth.log_law(T, noisy(T**0.5))
    straight = growth.log_law(T, noisy(np.log(T), 0.1))
    assert bent.autocorrelation > 0.7
    assert abs(straight.autocorrelation) < 0.4
    # The bend hides from R² over two decades.
    assert growth.log_law(T, T**0.25).r_squared > 0.97


def test_an_exact_fit_has_a_finite_aic_and_a_flat_curve_a_law():
    assert np.isfinite(growth.log_law(T, 2 + 3 * np.log(T)).aic)
    flat = growth.log_law(T, np.ones(T.size))
    assert flat.parameters == pytest.approx((1, 0))


@pytest.mark.parametrize(
    ("t", "d", "why"),
    [
        ([1, 2, 3], [1, 2, 3], "4 times"),
        ([1, 2, 3, 4], [1, 2, 3], "as many"),
        ([0, 2, 3, 4], [1, 2, 3, 4], "positive"),
        ([1, 2, 3, 4], [1, 2, 3, np.nan], "finite"),
    ],
)
def test_what_carries_no_law_is_refused(t, d, why):
    for law in (growth.log_law, growth.power_law, growth.free_power):
        with pytest.raises(ValueError, match=why):
            law(t, d)


def test_separable_logistic_regression_grows_as_log_t_in_closed_form():
    times = np.geomspace(1, 1e6, 7)
    exact = growth.separable_logistic_ode(0.5, 0.1, times)
    found = solve_ivp(
        lambda t, w: 0.1 * 0.5 / (1 + np.exp(0.5 * w)),
        (0, 1e6),
        [0.0],
        t_eval=times,
        rtol=1e-10,
        atol=1e-12,
        method="LSODA",
    )
    np.testing.assert_allclose(exact, found.y[0], rtol=1e-6)
    late = growth.separable_logistic_ode(0.5, 0.1, [1e8, 1e9])
    assert np.diff(late) == pytest.approx(np.log(10) / 0.5, rel=1e-3)


def test_small_steps_follow_the_closed_form_and_momentum_its_effective_rate():
    times = [100, 1000, 10_000]
    exact = growth.separable_logistic_ode(1.0, 0.01, times)
    np.testing.assert_allclose(growth.separable_logistic([1.0], 0.01, times), exact, rtol=2e-3)
    heavy = growth.separable_logistic([1.0], 0.001, times, momentum=0.9)
    np.testing.assert_allclose(heavy[1:], exact[1:], rtol=2e-2)


def test_the_smallest_margin_rules_in_the_end():
    times = [10_000, 100_000]
    one, two = growth.separable_logistic([0.5, 2.0, 3.0], 0.5, times)
    assert (two - one) / np.log(10) == pytest.approx(1 / 0.5, rel=0.05)


@pytest.mark.parametrize("wrong", [{"margins": [0.0]}, {"learning_rate": -1}, {"momentum": 1.0}])
def test_what_is_no_regression_is_refused(wrong):
    given = {"margins": [1.0], "learning_rate": 0.1, "times": [5], **wrong}
    with pytest.raises(ValueError, match="must"):
        growth.separable_logistic(**given)
