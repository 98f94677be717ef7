"""Numbers of the chapter on what a minibatch's update looks like.

The cloud is of a training set of 64 gradients in two dimensions, whose mean is as long as their
spread, so that what depends on the mean can be seen. The measured covariances are of softmax
regression on scikit-learn's digits, the same gradients as in the chapter on temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sgdnoise.chapters.errata_h17 import Samples, made_up
from sgdnoise.chapters.temperature import digits_gradients
from sgdnoise.theory import minibatch

FloatArray = NDArray[np.float64]

EXAMPLES = 64
BATCHES = (4, 8, 16, 32, 48, 56, 64)
"""Batch sizes of the cloud's slider."""

NAMES: dict[minibatch.Sampling, str] = {
    "without": "without replacement",
    "with": "with replacement",
    "bernoulli": "each example by a coin (H17's appendix A)",
}

SHOWN = 250
REPEATS = 4000

SMALL_BATCH, LARGE_BATCH = "M<sub>S</sub>", "M<sub>L</sub>"
SMALL_RATE, LARGE_RATE = "η<sub>S</sub>", "η<sub>L</sub>"
"""H17's symbols, as text of pages and figures has them."""


@cache
def toy() -> Samples:
    """64 gradients in the plane, each coordinate's mean one standard deviation."""
    return made_up(EXAMPLES, 2, 1.0)


@cache
def cloud(batch_size: int, sampling: minibatch.Sampling) -> FloatArray:
    """Mean gradients of drawn batches, shape (4,000, 2)."""
    rng = np.random.default_rng([batch_size, minibatch.SAMPLINGS.index(sampling)])
    counts = minibatch.counts(batch_size, EXAMPLES, sampling, REPEATS, rng)
    return np.asarray(counts @ toy().gradients / batch_size)


def ellipse(batch_size: int, sampling: minibatch.Sampling) -> FloatArray:
    """Two standard deviations of the exact law about the mean, shape (points, 2)."""
    covariance = minibatch.covariance(toy().gradients, batch_size, sampling)
    values, vectors = np.linalg.eigh(covariance)
    angle = np.linspace(0, 2 * np.pi, 61)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    axes = vectors * np.sqrt(np.maximum(values, 0))
    return np.asarray(toy().mean + 2 * (axes @ circle).T)


def coin_over_without(samples: Samples) -> float:
    """Trace of the covariance by coins over that without replacement, at every M < N.

    (N − 1)/N · (1 + |g|²/tr C): above 1 where |g|² > tr C/(N − 1).
    """
    n, g = samples.size, samples.mean
    return (n - 1) / n * (1 + float(g @ g) / samples.centred)


@dataclass(frozen=True)
class Measured:
    """The trace of a minibatch's covariance on digits: drawn, and exact.

    Attributes:
        batch_size: M.
        drawn, error: mean of |ĝ − g|² over draws and its standard error.
        exact: the formula's.
        unlimited: C/M, that of an unlimited training set.
    """

    batch_size: int
    drawn: float
    error: float
    exact: float
    unlimited: float


DIGITS_BATCHES = (1, 64, 256, 512, 896, 1024)


@cache
def on_digits(sampling: minibatch.Sampling) -> tuple[Measured, ...]:
    """Both traces at each batch size, after 300 steps of gradient descent."""
    gradients = digits_gradients(300)
    mean = gradients.mean(axis=0)
    centred = float(((gradients - mean) ** 2).sum() / len(gradients))
    rows = []
    for m in DIGITS_BATCHES:
        rng = np.random.default_rng([m, 5])
        counts = minibatch.counts(m, len(gradients), sampling, 400, rng)
        sizes = ((counts @ gradients / m - mean) ** 2).sum(axis=1)
        a, b = minibatch.coefficients(m, len(gradients), sampling)
        exact = a * centred + b * float(mean @ mean)
        error = float(sizes.std(ddof=1) / np.sqrt(len(sizes)))
        rows.append(Measured(m, float(sizes.mean()), error, exact, centred / m))
    return tuple(rows)


@dataclass(frozen=True)
class Matched:
    """Multiplicative noise that gives a large batch the covariance of a small one.

    Attributes:
        batch_size: M.
        exact: σ² by the traces.
        simple, proportional: M/M_S − 1; and M/M_S, which is ∝ M as H17 has it.
        drawn, error: trace of the covariance with the exact σ², over that of M_S, and its error.
    """

    batch_size: int
    exact: float
    simple: float
    proportional: float
    drawn: float
    error: float


SMALL = 4


@cache
def matched() -> tuple[Matched, ...]:
    """The plane's training set, M_S = 4."""
    gradients = toy().gradients
    target = np.trace(minibatch.covariance(gradients, SMALL, "without"))
    rows = []
    for m in (8, 16, 32, 64):
        variance = minibatch.matching_variance(gradients, m, SMALL)
        rng = np.random.default_rng(m)
        counts = minibatch.counts(m, EXAMPLES, "without", 20_000, rng)
        z = 1 + np.sqrt(variance) * rng.standard_normal(counts.shape)
        sizes = (((counts * z) @ gradients / m - toy().mean) ** 2).sum(axis=1) / target
        error = float(sizes.std(ddof=1) / np.sqrt(len(sizes)))
        rows.append(Matched(m, variance, m / SMALL - 1, m / SMALL, float(sizes.mean()), error))
    return tuple(rows)


def along_and_across(batch_size: int) -> tuple[float, float]:
    """Variance along the mean gradient and across it, with the exact σ², over that at M_S."""
    gradients, mean = toy().gradients, toy().mean
    variance = minibatch.matching_variance(gradients, batch_size, SMALL)
    noisy = minibatch.noisy_covariance(gradients, batch_size, variance)
    target = minibatch.covariance(gradients, SMALL, "without")
    along = mean / np.linalg.norm(mean)
    across = np.array([-along[1], along[0]])
    first, second = (float(v @ noisy @ v / (v @ target @ v)) for v in (along, across))
    return first, second
