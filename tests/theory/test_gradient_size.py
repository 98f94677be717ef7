"""The size of a batch's gradient and the fall of the loss: closed forms beside simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from sgdnoise.theory.gradient_size import (
    NORMAL_MEAN,
    Bowl,
    SizeLaw,
    finite,
    fit_size_law,
    folded_normal_mean,
)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 2.0), (1.3, 0.7), (-4.0, 1.0), (0.2, 5.0)])
def test_the_folded_normals_mean_is_its_integral(mean, std):
    want = quad(lambda x: abs(x) * norm.pdf(x, mean, std), -40, 40, points=[0], limit=200)[0]
    assert folded_normal_mean(mean, std) == pytest.approx(want, rel=1e-8)


def test_without_noise_a_folded_mean_is_the_mean_itself():
    got = folded_normal_mean([-3.0, 0.0, 2.0], [0.0, 0.0, 1e-9])
    assert got == pytest.approx([3.0, 0.0, 2.0])


def test_the_law_is_that_of_batches_drawn_without_replacement():
    rng = np.random.default_rng(3)
    size, parameters, spread = 60, 4000, 0.2
    true = spread * rng.standard_normal(parameters)
    single = rng.standard_normal((size, parameters))
    single -= single.mean(axis=0)
    single /= single.std(axis=0, ddof=1)
    law = SizeLaw(NORMAL_MEAN * spread, NORMAL_MEAN, size)
    for n in (1, 5, 30, 59, 60):
        seen = [
            np.abs(true + single[rng.permutation(size)[:n]].mean(axis=0)).mean() for _ in range(20)
        ]
        assert law.at(n) == pytest.approx(np.mean(seen), rel=0.02)
    # A stream of fresh examples keeps the noise that the last of a finite set has lost.
    assert SizeLaw(law.floor, law.noise).at(60) > 1.1 * law.at(60)


def test_a_fit_finds_the_law_and_its_crossover():
    n = 2 ** np.arange(10)
    law = SizeLaw(0.03, 0.7, 1024)
    rng = np.random.default_rng(0)
    noisy = law.at(n) * np.exp(0.01 * rng.standard_normal(10))
    fit = fit_size_law(n, noisy, 1024)
    assert fit.floor == pytest.approx(0.03, rel=0.05)
    assert fit.noise == pytest.approx(0.7, rel=0.05)
    assert fit.crossover == pytest.approx((0.7 / 0.03) ** 2, rel=0.1)
    at = float(fit.crossover)
    signal, noise = fit.floor**2, fit.noise**2 / at
    assert signal == pytest.approx(noise)


def test_a_fit_of_pure_noise_has_no_floor():
    n = 2 ** np.arange(8)
    fit = fit_size_law(n, 0.5 / np.sqrt(n))
    assert fit.floor < 1e-3 * fit.noise
    assert SizeLaw(0.0, 1.0).crossover == math.inf


@pytest.mark.parametrize("mean", [[1.0, 0.0], [1.0, math.nan], [1.0]])
def test_what_cannot_be_fitted_is_refused(mean):
    with pytest.raises(ValueError, match=r"needed|positive"):
        fit_size_law([1, 2], mean)


def test_falls_of_the_loss_are_those_of_steps_on_a_quadratic():
    rng = np.random.default_rng(8)
    d, size, rate = 6, 40, 0.4
    h = np.geomspace(0.1, 1.0, d)
    noise = rng.standard_normal((size, d)) * np.geomspace(1, 3, d)
    noise -= noise.mean(axis=0)
    g = rng.standard_normal(d)
    variance = noise.var(axis=0, ddof=1)
    bowl = Bowl(g @ g, variance.sum(), g @ (h * g), h @ variance, size)
    for n in (1, 4, 20, 40):
        own, whole = [], []
        for _ in range(20_000 if n < size else 1):
            tilt = g + noise[rng.choice(size, n, replace=False)].mean(axis=0)
            x = -rate * tilt
            own.append(-(x @ (h * x) / 2 + tilt @ x) / rate)
            whole.append(-(x @ (h * x) / 2 + g @ x) / rate)
        for got, seen in ((bowl.own_drop(rate, n), own), (bowl.whole_drop(rate, n), whole)):
            error = 4 * np.std(seen) / math.sqrt(len(seen)) + 1e-9
            assert float(got) == pytest.approx(np.mean(seen), abs=error)


def test_the_loss_of_all_falls_the_more_the_larger_the_batch():
    bowl = Bowl(1.0, 20.0, 0.5, 15.0)
    n = 2 ** np.arange(12)
    assert (np.diff(bowl.whole_drop(0.5, n)) > 0).all()
    assert (np.diff(bowl.own_drop(0.5, n)) < 0).all()
    assert bowl.whole_drop(0.5, 1) < 0 < bowl.whole_drop(0.5, 4096)
    apart = bowl.own_drop(0.5, n) - bowl.whole_drop(0.5, n)
    assert apart == pytest.approx(bowl.trace / n)
    assert finite(8, 8) == 0
