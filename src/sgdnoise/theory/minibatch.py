"""The exact law of a minibatch's mean gradient, to second order: H17's appendix A, three ways.

N examples have gradients g_n with mean g, uncentred second moment S = (1/N) Σ g_n g_nᵀ and centred
one C = S − g gᵀ. A batch of M gives ĝ = (1/M) Σ s_n g_n, and the counts s_n are

    without      M different examples
    with         M draws, each from all N
    bernoulli    each example by itself with probability M/N: what H17 derives as "with replacement"

All three have mean g. Their covariances are (N−M)/(M(N−1)) C, C/M and (1/M − 1/N) S. An update is
−η ĝ, so that its covariance is η² times that.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdnoise.errors import shown
from sgdnoise.theory.stability import check_count

FloatArray = NDArray[np.float64]
Sampling = Literal["without", "with", "bernoulli"]
SAMPLINGS: tuple[Sampling, ...] = get_args(Sampling)
"""How a minibatch may be drawn from the training set."""


def moments_of(gradients: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """g, S and C of gradients of shape (N, dimensions).

    Raises:
        ValueError: for fewer than two examples.
    """
    each = _checked(gradients)
    mean = each.mean(axis=0)
    uncentred = each.T @ each / len(each)
    return mean, uncentred, uncentred - np.outer(mean, mean)


def coefficients(batch_size: int, examples: int, sampling: Sampling) -> tuple[float, float]:
    """a and b of cov ĝ = a C + b g gᵀ.

    Raises:
        ValueError: for a batch that is empty or, but for draws with replacement, above N; or an
            unknown sampling.
    """
    check_count("examples", examples, least=2)
    if sampling not in SAMPLINGS:
        raise ValueError(f"unknown sampling {shown(sampling)}: choose one of {SAMPLINGS}")
    check_count("batch size", batch_size, None if sampling == "with" else examples)
    m, n = batch_size, examples
    if sampling == "without":
        return (n - m) / (m * (n - 1)), 0.0
    if sampling == "with":
        return 1 / m, 0.0
    return 1 / m - 1 / n, 1 / m - 1 / n


def covariance(gradients: ArrayLike, batch_size: int, sampling: Sampling) -> FloatArray:
    """cov ĝ, shape (dimensions, dimensions).

    Raises:
        ValueError: as `coefficients`.
    """
    mean, _, centred = moments_of(gradients)
    a, b = coefficients(batch_size, len(_checked(gradients)), sampling)
    return a * centred + b * np.outer(mean, mean)


def between_batches(gradients: ArrayLike) -> FloatArray:
    """cov(ĝ_t, ĝ_{t+k}) of two batches of one reshuffled epoch: −C/(N − 1), whatever their size.

    Batches drawn independently have none.
    """
    return -moments_of(gradients)[2] / (len(_checked(gradients)) - 1)


def epoch_walk(steps: ArrayLike, batch_size: int, examples: int, reshuffled: bool) -> FloatArray:
    """Variance of the sum of k batches' ĝ within an epoch, in units of C, at each number of steps.

    Reshuffled, k batches are one batch of k M without replacement: the variance rises, falls, and
    is 0 at the epoch's end. Drawn independently, each without replacement, they add up.

    Raises:
        ValueError: for more steps than an epoch has.
    """
    k = np.asarray(steps, dtype=np.float64)
    if np.any(k * batch_size > examples):
        raise ValueError(f"{k.max():g} batches of {batch_size} are more than {examples} examples")
    own = coefficients(batch_size, examples, "without")[0]
    if not reshuffled:
        return np.asarray(k * own)
    return np.asarray(k * (examples - k * batch_size) / (batch_size * (examples - 1)))


def noisy_covariance(gradients: ArrayLike, batch_size: int, variance: float) -> FloatArray:
    """cov of (1/M) Σ s_n z_n g_n, drawn without replacement, with z_n ~ N(1, variance) (H17 §4).

    It is that without noise, and (variance/M) S beside it: the noise multiplies whole gradients,
    not their distances from the mean.
    """
    own = covariance(gradients, batch_size, "without")
    return own + variance / batch_size * moments_of(gradients)[1]


def matching_variance(gradients: ArrayLike, batch_size: int, small: int) -> float:
    """The σ² with which a batch of M has the trace of the covariance of one of M_S.

    M tr[cov(M_S) − cov(M)]/tr S; M/M_S − 1 where N is large and g small. H17 prints σ² ∝ M.

    Raises:
        ValueError: for a small batch that is larger than the other, or as `coefficients`.
    """
    if small > batch_size:
        raise ValueError(
            f"noise makes a batch of {shown(batch_size)} like a smaller one, got {shown(small)}"
        )
    smaller, own = (covariance(gradients, m, "without") for m in (small, batch_size))
    return float(batch_size * np.trace(smaller - own) / np.trace(moments_of(gradients)[1]))


def counts(
    batch_size: int, examples: int, sampling: Sampling, repeats: int, rng: np.random.Generator
) -> FloatArray:
    """How often each example is in a batch, drawn `repeats` times, shape (repeats, N).

    Raises:
        ValueError: as `coefficients`.
    """
    coefficients(batch_size, examples, sampling)
    if sampling == "with":
        return rng.multinomial(batch_size, np.full(examples, 1 / examples), repeats).astype(float)
    keys = rng.random((repeats, examples))
    if sampling == "bernoulli":
        return (keys < batch_size / examples).astype(float)
    chosen = np.argpartition(keys, batch_size - 1, axis=1)[:, :batch_size]
    inside = np.zeros((repeats, examples))
    np.put_along_axis(inside, chosen, 1.0, axis=1)
    return inside


def _checked(gradients: ArrayLike) -> FloatArray:
    each = np.asarray(gradients, dtype=np.float64)
    if each.ndim != 2 or len(each) < 2:
        raise ValueError(f"gradients need two examples and two axes, got shape {each.shape}")
    return each
