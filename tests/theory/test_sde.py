"""Stationary laws and simulations: closed form, recursion, enumeration and Monte Carlo.

Monte Carlo tests use a fixed seed and ask |z| < 4. Power: with n replicas the standard error of a
variance is √(2/n) of it, 0.7 % at 40,000, so an error of 5 % in a formula shows as z ≈ 7.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from step_by_step import euler_maruyama

from sgdnoise.theory import sde

H, C = 1.7, 0.6


def z_of_second_moment(x: np.ndarray, expected: float) -> float:
    """z-score of a sample's E x² against a claimed value."""
    square = x**2
    return float((square.mean() - expected) / (square.std(ddof=1) / np.sqrt(x.size)))


def gradient(x: np.ndarray) -> np.ndarray:
    return H * x


class TestTemperature:
    def test_is_learning_rate_over_batch_size(self) -> None:
        assert sde.temperature(0.1, 64) == pytest.approx(0.1 / 64)
        assert sde.temperature(0.1, 64, momentum=0.9) == pytest.approx(1 / 64)

    def test_finite_training_set_has_none_at_full_batch(self) -> None:
        # REFERENCE.md C: ε/B overstates by 1.5× at 16384 and 2.9× at 32768 of 50,000.
        infinite = sde.temperature(1.0, [16384, 32768])
        finite = sde.temperature(1.0, [16384, 32768], train_size=50_000)
        np.testing.assert_allclose(infinite / finite, [1.49, 2.90], rtol=5e-3)
        assert sde.temperature(1.0, 100, train_size=100) == 0

    @pytest.mark.parametrize("batch_size", [0, -4, 0.5, float("nan"), 101])
    def test_refuses_a_batch_that_cannot_be(self, batch_size: float) -> None:
        with pytest.raises(ValueError, match="batch size"):
            sde.temperature(0.1, batch_size, train_size=100)


class TestStationaryLaw:
    @pytest.mark.parametrize("m", [0.0, 0.5, 0.9])
    @pytest.mark.parametrize("q", [0.05, 0.9, 1.8])
    def test_closed_form_is_the_fixed_point_of_the_recursion(self, m: float, q: float) -> None:
        lr, b = q / H, 8
        a = np.array([[1 - q, m], [-q, m]])
        covariance = np.zeros((2, 2))
        for _ in range(3000):
            covariance = a @ covariance @ a.T + lr**2 * C / b
        assert sde.stationary_variance(lr, H, C, b, m) == pytest.approx(covariance[0, 0], rel=1e-9)

    @pytest.mark.parametrize("m", [0.0, 0.8])
    def test_monte_carlo(self, m: float) -> None:
        x = sde.simulate_sgd(
            gradient,
            np.zeros(40_000),
            learning_rate=0.7,
            batch_size=4,
            steps=120,
            rng=np.random.default_rng(5),
            momentum=m,
            noise_std=np.sqrt(C),
        )
        expected = float(sde.stationary_variance(0.7, H, C, 4, m))
        assert abs(z_of_second_moment(x, expected)) < 4
        statistic = stats.kstest(x / np.sqrt(expected), "norm")
        assert statistic.pvalue > 1e-4

    def test_sgd_is_the_discretised_sde(self) -> None:
        lr, b = 0.8, 4
        t = float(sde.temperature(lr, b))
        x = euler_maruyama(
            lambda x: -H * x,
            np.sqrt(t * C),
            np.zeros(40_000),
            step=lr,
            steps=60,
            rng=np.random.default_rng(1),
        )
        assert abs(z_of_second_moment(x, float(sde.stationary_variance(lr, H, C, b)))) < 4
        # The power of the test: the SDE's own variance is 3 times smaller at this step.
        assert abs(z_of_second_moment(x, float(sde.sde_variance(H, C, t)))) > 20

    def test_small_learning_rates_give_the_sde_for_every_momentum(self) -> None:
        m = np.array([0.0, 0.5, 0.9, 0.99])
        lr = 1e-5 * (1 - m)
        t = sde.temperature(lr, 32, m)
        np.testing.assert_allclose(
            sde.stationary_variance(lr, H, C, 32, m), sde.sde_variance(H, C, t), rtol=2e-5
        )

    def test_none_at_or_beyond_the_critical_learning_rate(self) -> None:
        lr = 2 / H * np.array([0.999, 1.0, 1.5])
        assert np.isfinite(sde.stationary_variance(lr, H, C, 4)).tolist() == [True, False, False]

    def test_density_integrates_to_one_with_its_variance(self) -> None:
        x = np.linspace(-12, 12, 20_001)
        density = sde.gaussian_density(x, 1.5)
        assert np.trapezoid(density, x) == pytest.approx(1)
        assert np.trapezoid(x**2 * density, x) == pytest.approx(1.5)

    def test_finite_training_set_by_monte_carlo(self) -> None:
        xi = np.random.default_rng(6).standard_exponential(12)
        x = sde.simulate_sgd(
            gradient,
            np.zeros(40_000),
            learning_rate=0.5,
            batch_size=4,
            steps=40,
            rng=np.random.default_rng(7),
            examples=xi,
        )
        c = xi.var(ddof=1)
        finite = float(sde.stationary_variance(0.5, H, c, 4, train_size=12))
        assert abs(z_of_second_moment(x, finite)) < 4
        assert abs(z_of_second_moment(x, float(sde.stationary_variance(0.5, H, c, 4)))) > 10


class TestReshuffled:
    @pytest.mark.parametrize("m", [0.0, 0.7])
    @pytest.mark.parametrize("batch_size", [1, 2])
    @pytest.mark.parametrize("q", [0.1, 1.3])
    def test_exhaustive_enumeration_of_permutations(
        self, m: float, batch_size: int, q: float
    ) -> None:
        xi = np.array([0.3, -1.1, 2.0, 0.4, -0.9, -0.7])
        assert xi.sum() == pytest.approx(0)
        lr, n = q / H, xi.size // batch_size
        a = np.array([[1 - q, m], [-q, m]])
        noises = np.array(list(permutations(xi))).reshape(-1, n, batch_size).mean(axis=2)

        def epoch(covariance: np.ndarray) -> list[np.ndarray]:
            """Covariance after each update, averaged over all 720 orders from one start."""
            kicked = np.zeros((noises.shape[0], 2))
            result = [covariance]
            power = np.eye(2)
            for k in range(n):
                kicked = kicked @ a.T - lr * noises[:, k, None]
                power = a @ power
                result.append(power @ covariance @ power.T + kicked.T @ kicked / len(noises))
            return result

        covariance = np.zeros((2, 2))
        for _ in range(400):
            covariance = epoch(covariance)[-1]
        expected = [c[0, 0] for c in epoch(covariance)]
        law = sde.reshuffled_law(lr, H, xi.var(ddof=1), batch_size, xi.size, m)
        np.testing.assert_allclose(law.within_epoch, expected, rtol=1e-9)
        assert law.epoch_end == pytest.approx(expected[-1], rel=1e-9)
        assert law.epoch_mean == pytest.approx(np.mean(expected[1:]), rel=1e-9)

    @pytest.mark.parametrize("m", [0.0, 0.6])
    def test_monte_carlo(self, m: float) -> None:
        xi = np.random.default_rng(8).standard_exponential(24)
        lr, epochs, n = 0.25, 12, 24 // 3
        for extra in (0, 3):
            x = sde.simulate_sgd(
                gradient,
                np.zeros(40_000),
                learning_rate=lr,
                batch_size=3,
                steps=epochs * n + extra,
                rng=np.random.default_rng(9),
                momentum=m,
                examples=xi,
                sampling="reshuffle",
            )
            law = sde.reshuffled_law(lr, H, xi.var(ddof=1), 3, 24, m)
            assert abs(z_of_second_moment(x, law.within_epoch[extra])) < 4
            assert abs(z_of_second_moment(x, law.independent)) > 6

    def test_noise_cancels_within_an_epoch_as_the_square_of_its_length(self) -> None:
        n = 100
        for q in (1e-6, 1e-5):
            law = sde.reshuffled_law(q / H, H, C, 10, 10 * n)
            ratio = law.epoch_end / law.independent
            # n² - 1 and not n², and B/N for the finite set: leading order in εhn, 2 % at 1e-3.
            expected = (q * n) ** 2 / 12 * (1 - 1 / n**2) / (1 - 1 / n)
            assert ratio == pytest.approx(expected, rel=2 * q * n)

    def test_large_batches_are_noiseless(self) -> None:
        law = sde.reshuffled_law(0.1, H, C, 50, 50)
        assert law.epoch_end == 0
        assert law.independent == 0

    def test_last_position_is_the_first(self) -> None:
        law = sde.reshuffled_law(0.3, H, C, 5, 100, 0.9)
        assert law.within_epoch[0] == pytest.approx(law.within_epoch[-1], rel=1e-10)

    def test_refuses_what_has_no_law(self) -> None:
        with pytest.raises(ValueError, match="divide"):
            sde.reshuffled_law(0.1, 1.0, 1.0, 3, 10)
        with pytest.raises(ValueError, match="critical"):
            sde.reshuffled_law(2.0, 1.0, 1.0, 5, 10)
        with pytest.raises(ValueError, match="exceeds"):
            sde.reshuffled_law(0.1, 1.0, 1.0, 20, 10)
        with pytest.raises(ValueError, match="examples"):
            sde.simulate_sgd(
                gradient,
                np.zeros(2),
                learning_rate=0.1,
                batch_size=1,
                steps=1,
                rng=np.random.default_rng(0),
                sampling="reshuffle",
            )


class TestLinearScaling:
    def test_equal_temperature_and_epochs_agree_to_first_order(self) -> None:
        runs = sde.linear_scaling(1e-3, 2, 4096, [1, 2, 4, 8, 16], curvature=H, noise_variance=C)
        assert len({r.temperature for r in runs}) == 1
        gap = np.array([abs(r.second_moment / r.sde_second_moment - 1) for r in runs])
        np.testing.assert_allclose(np.log2(gap[1:] / gap[:-1]), 1, atol=0.05)
        assert gap[0] < 1e-2

    def test_breaks_near_the_critical_learning_rate(self) -> None:
        critical = 2 / H
        near, beyond = sde.linear_scaling(
            0.95 * critical / 16, 2, 512, [16, 32], curvature=H, noise_variance=C
        )
        assert near.of_critical == pytest.approx(0.95)
        assert near.second_moment > 10 * near.sde_second_moment
        assert beyond.second_moment > 1e6 * beyond.sde_second_moment

    def test_momentum_at_small_rate_matches_the_same_sde(self) -> None:
        (run,) = sde.linear_scaling(1e-6, 2, 300_000, [1], momentum=0.9, noise_variance=C)
        assert run.mean == pytest.approx(run.sde_mean, rel=1e-3)
        assert run.second_moment == pytest.approx(run.sde_second_moment, rel=1e-3)

    def test_double_well_obeys_it_too(self) -> None:
        # Not a quadratic: C = (x² - 1)²/4. Share of replicas that crossed, at (ε, B) and (4ε, 4B).
        crossed = []
        for k, seed in ((1, 10), (4, 11)):
            x = sde.simulate_sgd(
                lambda x: x**3 - x,
                np.ones(20_000),
                learning_rate=0.01 * k,
                batch_size=k,
                steps=2000 // k,
                rng=np.random.default_rng(seed),
                noise_std=5.0,
            )
            crossed.append((x < 0).mean())
        spread = np.sqrt(sum(p * (1 - p) / 20_000 for p in crossed))
        assert 0.1 < crossed[0] < 0.6
        assert abs(crossed[0] - crossed[1]) < 4 * spread

    def test_refuses_a_fraction_of_a_step(self) -> None:
        with pytest.raises(ValueError, match="divided"):
            sde.linear_scaling(0.1, 2, 100, [3])

    @pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
    def test_refuses_a_factor_that_is_not_positive(self, factor: float) -> None:
        with pytest.raises(ValueError, match="factor must be positive"):
            sde.linear_scaling(0.1, 4, 10, [1, factor])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: sde.temperature(-1, 4), "learning rate must be positive"),
        (lambda: sde.temperature([0.1, float("nan")], 4), "learning rate must be positive"),
        (lambda: sde.sde_variance(H, -1, 0.1), "noise variance must be finite and not negative"),
        (lambda: sde.sde_variance(H, C, -0.1), "temperature must be finite and not negative"),
        (lambda: sde.stationary_variance(0.1, H, -1, 4), "noise variance must be"),
        (lambda: sde.reshuffled_law(0.1, H, -1, 5, 10), "noise variance must be"),
        (lambda: sde.linear_scaling(0.1, 4, 10, [1], noise_variance=-1), "noise variance must be"),
    ],
)
def test_what_has_no_law_is_refused(call, told) -> None:
    with pytest.raises(ValueError, match=told):
        call()


def test_without_noise_there_is_no_spread() -> None:
    assert sde.sde_variance(H, 0, 0.1) == sde.stationary_variance(0.1, H, 0, 4) == 0
