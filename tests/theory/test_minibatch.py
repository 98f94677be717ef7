"""Covariances of a minibatch: formulas beside all batches there are, drawing, and the optimizer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sgdnoise import optim
from sgdnoise.chapters import errata_h17
from sgdnoise.schedule import scale_learning_rate
from sgdnoise.theory import minibatch

N = 6
GRADIENTS = np.random.default_rng(4).standard_normal((N, 3)) + np.array([1.0, 0.3, -0.5])


def every_batch(m: int, sampling: str) -> tuple[np.ndarray, np.ndarray]:
    """All batches of six examples with their chances: counts and probabilities."""
    if sampling == "without":
        chosen = list(itertools.combinations(range(N), m))
        return np.array([np.bincount(c, minlength=N) for c in chosen]), np.ones(len(chosen))
    if sampling == "with":
        chosen = list(itertools.product(range(N), repeat=m))
        return np.array([np.bincount(c, minlength=N) for c in chosen]), np.ones(len(chosen))
    s = np.array(list(itertools.product((0, 1), repeat=N)))
    p = m / N
    return s, p ** s.sum(axis=1) * (1 - p) ** (N - s.sum(axis=1))


@pytest.mark.parametrize("sampling", minibatch.SAMPLINGS)
@pytest.mark.parametrize("m", [1, 2, 4])
def test_the_covariance_is_that_of_all_batches_there_are(sampling, m):
    s, chance = every_batch(m, sampling)
    chance = chance / chance.sum()
    means = s @ GRADIENTS / m
    np.testing.assert_allclose(chance @ means, GRADIENTS.mean(axis=0), atol=1e-12)
    off = means - GRADIENTS.mean(axis=0)
    exact = (off * chance[:, None]).T @ off
    np.testing.assert_allclose(
        minibatch.covariance(GRADIENTS, m, sampling), exact, atol=1e-12, rtol=1e-10
    )


@pytest.mark.parametrize("sampling", minibatch.SAMPLINGS)
def test_what_is_drawn_has_that_covariance(sampling):
    rng = np.random.default_rng(1)
    s = minibatch.counts(4, N, sampling, 40_000, rng)
    off = s @ GRADIENTS / 4 - GRADIENTS.mean(axis=0)
    sizes = (off**2).sum(axis=1)
    error = sizes.std() / np.sqrt(len(sizes))
    expected = np.trace(minibatch.covariance(GRADIENTS, 4, sampling))
    assert abs(sizes.mean() - expected) < 4 * error
    assert s.sum(axis=1).std() > 0 if sampling == "bernoulli" else (s.sum(axis=1) == 4).all()


def test_it_agrees_with_the_errata():
    samples = errata_h17.TOY
    for m in (2, 4, 7):
        trace = np.trace(minibatch.covariance(samples.gradients, m, "without"))
        assert trace == pytest.approx(samples.without(m))
        variance = minibatch.matching_variance(samples.gradients, m, 2)
        assert variance == pytest.approx(errata_h17.matched_noise(samples, 2, m))


def test_a_batch_of_everything_is_sure_without_replacement_only():
    assert minibatch.coefficients(N, N, "without") == (0.0, 0.0)
    assert minibatch.coefficients(N, N, "bernoulli") == (0.0, 0.0)
    assert minibatch.coefficients(N, N, "with") == (1 / N, 0.0)


def test_batches_of_an_epoch_pull_against_each_other():
    orders = np.array(list(itertools.permutations(range(N))))
    first, second = (
        GRADIENTS[orders[:, a : a + 2]].mean(axis=1) - GRADIENTS.mean(axis=0) for a in (0, 2)
    )
    exact = first.T @ second / len(orders)
    np.testing.assert_allclose(minibatch.between_batches(GRADIENTS), exact, atol=1e-12)


def test_the_sum_over_an_epoch_comes_back_to_nothing():
    centred = np.trace(minibatch.moments_of(GRADIENTS)[2])
    own = np.trace(minibatch.covariance(GRADIENTS, 2, "without"))
    between = np.trace(minibatch.between_batches(GRADIENTS))
    for k in (1, 2, 3):
        # k variances, and k (k − 1) covariances between batches.
        expected = k * own + k * (k - 1) * between
        found = minibatch.epoch_walk(k, 2, N, reshuffled=True) * centred
        assert found == pytest.approx(expected, abs=1e-12)
        assert minibatch.epoch_walk(k, 2, N, reshuffled=False) * centred == pytest.approx(k * own)
    with pytest.raises(ValueError, match="more than 6 examples"):
        minibatch.epoch_walk(4, 2, N, reshuffled=True)


def test_the_root_rule_keeps_the_covariance_of_an_update():
    a = {m: minibatch.coefficients(m, 50_000, "without")[0] for m in (128, 16_384)}
    factor = scale_learning_rate(1.0, 16_384, 128, "sqrt", 50_000)
    assert factor**2 * a[16_384] == pytest.approx(a[128])
    assert factor / np.sqrt(16_384 / 128) == pytest.approx(1.22, abs=0.005)


def test_multiplied_noise_adds_the_uncentred_moment():
    rng = np.random.default_rng(8)
    s = minibatch.counts(4, N, "without", 60_000, rng)
    z = 1 + np.sqrt(0.7) * rng.standard_normal(s.shape)
    off = (s * z) @ GRADIENTS / 4 - GRADIENTS.mean(axis=0)
    sizes = (off**2).sum(axis=1)
    expected = np.trace(minibatch.noisy_covariance(GRADIENTS, 4, 0.7))
    assert abs(sizes.mean() - expected) < 4 * sizes.std() / np.sqrt(len(sizes))


def test_the_variance_that_matches_is_the_optimizers():
    _, uncentred, centred = minibatch.moments_of(GRADIENTS)
    share = float(np.trace(centred) / np.trace(uncentred))
    exact = minibatch.matching_variance(GRADIENTS, 4, 2)
    assert exact == pytest.approx(optim.noise_variance(4, 2, N, share))
    noisy = minibatch.noisy_covariance(GRADIENTS, 4, exact)
    assert np.trace(noisy) == pytest.approx(np.trace(minibatch.covariance(GRADIENTS, 2, "without")))
    # Many examples whose mean is small: M/M_S − 1.
    many = np.random.default_rng(3).standard_normal((20_000, 2))
    assert minibatch.matching_variance(many, 64, 16) == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((0, 6, "without"), "batch size must be a whole number"),
        ((7, 6, "without"), "from 1 to 6"),
        ((7, 6, "bernoulli"), "from 1 to 6"),
        ((2, 1, "with"), "examples must be a whole number"),
        ((2, 6, "neither"), "unknown sampling"),
    ],
)
def test_what_is_no_batch_is_refused(given, why):
    with pytest.raises(ValueError, match=why):
        minibatch.coefficients(*given)
    with pytest.raises(ValueError, match="two examples"):
        minibatch.moments_of([[1.0, 2.0]])


def test_a_batch_is_not_made_like_a_larger_one():
    with pytest.raises(ValueError, match="a batch of 2 like a smaller one, got 5"):
        minibatch.matching_variance(GRADIENTS, 2, 5)
    assert minibatch.matching_variance(GRADIENTS, 2, 2) == 0


def test_more_draws_than_examples_are_legal_with_replacement():
    assert minibatch.coefficients(12, 6, "with") == (1 / 12, 0.0)
