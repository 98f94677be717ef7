"""Errata of Hoffer, Hubara and Soudry (2017): covariances, ghost batch norm, random potential.

Symbols are the paper's: N samples with gradients g_n and mean g, batches of M, learning rate η.
Covariances are compared by their traces: S = (1/N) Σ |g_n|², the uncentred second moment, and
C = S - |g|², the centred one. The simulations draw batches of indices and average.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from sgdnoise.chapters.erratum import Comparison, Erratum, FloatArray, mean_of, ratio_of

# --- Batches from a finite training set ------------------------------------------------------


@dataclass(frozen=True)
class Samples:
    """Per-sample gradients, shape (N, dimensions), whose mean is not zero."""

    gradients: FloatArray

    @property
    def size(self) -> int:
        """N."""
        return len(self.gradients)

    @property
    def mean(self) -> FloatArray:
        """g, shape (dimensions,)."""
        return np.asarray(self.gradients.mean(axis=0))

    @property
    def uncentred(self) -> float:
        """S."""
        return float((self.gradients**2).sum(axis=1).mean())

    @property
    def centred(self) -> float:
        """C = S - |g|²."""
        return self.uncentred - float(self.mean @ self.mean)

    def without(self, m: int) -> float:
        """Trace of the covariance of a batch of M different samples: (N - M)/(M(N - 1)) · C."""
        return (self.size - m) / (m * (self.size - 1)) * self.centred


def made_up(size: int, dimensions: int, shift: float) -> Samples:
    """Samples whose mean gradient has about `shift` standard deviations along each dimension."""
    rng = np.random.default_rng(1705 + size)
    return Samples(shift + rng.standard_normal((size, dimensions)))


TOY = made_up(12, 3, 0.6)
LARGE = made_up(400, 3, 0.6)
"""Twelve samples, of which a batch of 4 is much; and 400, of which it is little."""

M = 4


def selectors(size: int, m: int, repeats: int, seed: int) -> FloatArray:
    """Which samples are in the batch, as 0 and 1: m different ones, shape (repeats, N)."""
    keys = np.random.default_rng(seed).random((repeats, size))
    chosen = np.argpartition(keys, m - 1, axis=1)[:, :m]
    inside = np.zeros((repeats, size))
    np.put_along_axis(inside, chosen, 1.0, axis=1)
    return inside


def spreads(samples: Samples, weights: FloatArray, m: int) -> FloatArray:
    """|ĝ - g|² of batches, shape (repeats,); `weights`, shape (repeats, N), count the samples."""
    off = weights @ samples.gradients / m - samples.mean
    return np.asarray((off**2).sum(axis=1))


@cache
def covariance() -> tuple[Comparison, ...]:
    """Eq. 6: the variance of a batch gradient, drawn without replacement."""
    rows = []
    for samples, repeats in ((TOY, 50_000), (LARGE, 10_000)):
        value, error = mean_of(spreads(samples, selectors(samples.size, M, repeats, 6), M))
        rows.append(
            Comparison(
                f"tr cov(ĝ), M = {M}, N = {samples.size}",
                samples.uncentred / M,
                samples.without(M),
                value,
                error,
            )
        )
    return tuple(rows)


SCALING = (16, 512, 1000)
"""M_S, M_L and N of the check of eq. 7."""


def matched_rates(small: int, large: int, size: int) -> float:
    """η_L/η_S that keeps the covariance of a step: √[(1/M_S - 1/N)/(1/M_L - 1/N)]."""
    return float(np.sqrt((1 / small - 1 / size) / (1 / large - 1 / size)))


@cache
def square_root() -> tuple[Comparison, ...]:
    """Eq. 7: by how much the learning rate has to grow from a batch of 16 to one of 512."""
    small, large, size = SCALING
    samples = made_up(size, 50, 0.1)
    noise = [spreads(samples, selectors(size, m, 1500, 70 + m), m) for m in (small, large)]
    ratio, error = ratio_of(*noise)
    return (
        Comparison(
            f"η_L/η_S at equal tr cov(Δw), M = {small} and {large}, N = {size:,}",
            float(np.sqrt(large / small)),
            matched_rates(small, large, size),
            float(np.sqrt(ratio)),
            float(error / (2 * np.sqrt(ratio))),
        ),
    )


@cache
def with_replacement() -> tuple[Comparison, ...]:
    """Appendix A, first half: batches drawn with replacement."""
    rng = np.random.default_rng(17)
    rows = []
    for m in (M, TOY.size):
        counts = rng.multinomial(m, np.full(TOY.size, 1 / TOY.size), size=50_000)
        value, error = mean_of(spreads(TOY, counts.astype(np.float64), m))
        rows.append(
            Comparison(
                f"tr cov(ĝ), with replacement, M = {m}, N = {TOY.size}",
                (1 / m - 1 / TOY.size) * TOY.uncentred,
                TOY.centred / m,
                value,
                error,
            )
        )
    return tuple(rows)


def printed_without(samples: Samples, m: int) -> float:
    """Trace of appendix A's covariance within a batch: (1/M - 1/(N-1)) S + |g|²/(N-1)."""
    n, mean = samples.size, samples.mean
    return (1 / m - 1 / (n - 1)) * samples.uncentred + float(mean @ mean) / (n - 1)


@cache
def without_replacement() -> tuple[Comparison, ...]:
    """Appendix A, second half, k = 0: the covariance within a batch."""
    rows = []
    alike = Samples(np.ones((TOY.size, 3)))
    for samples, name in ((TOY, "TOY"), (alike, "all g_n equal")):
        value, error = mean_of(spreads(samples, selectors(samples.size, M, 50_000, 6), M))
        label = "" if name == "TOY" else f", {name}"
        rows.append(
            Comparison(
                f"tr cov(ĝ), M = {M}, N = {samples.size}{label}",
                printed_without(samples, M),
                samples.without(M),
                value,
                max(error, 1e-12),  # what rounding leaves of an exact zero
            )
        )
    return tuple(rows)


@cache
def between_batches() -> tuple[Comparison, ...]:
    """Appendix A, second half, k ≠ 0: the covariance between two batches of one epoch."""
    keys = np.random.default_rng(11).random((50_000, TOY.size))
    order = keys.argsort(axis=1)
    first, second = (TOY.gradients[order[:, a : a + M]].mean(axis=1) - TOY.mean for a in (0, M))
    value, error = mean_of((first * second).sum(axis=1))
    return (
        Comparison(
            f"tr cov(ĝ_t, ĝ_{{t+k}}), M = {M}, N = {TOY.size}",
            float(TOY.mean @ TOY.mean) / (TOY.size - 1),
            -TOY.centred / (TOY.size - 1),
            value,
            error,
        ),
    )


NOISE = (16, 128, 1024)
"""M_S, M and N of the check of the multiplicative noise."""


def matched_noise(samples: Samples, small: int, m: int) -> float:
    """σ² with which a batch of M has the covariance, by its trace, of one of M_S."""
    return m * (samples.without(small) - samples.without(m)) / samples.uncentred


@cache
def multiplicative() -> tuple[Comparison, ...]:
    """§4: the covariance with multiplicative noise σ² = M/M_S, over that of a batch of M_S."""
    small, m, size = NOISE
    samples = made_up(size, 10, 0.2)
    weights = selectors(size, m, 4000, 40)
    z = 1 + np.sqrt(m / small) * np.random.default_rng(41).standard_normal(weights.shape)
    noisy = spreads(samples, weights * z, m)
    value, error = ratio_of(noisy, spreads(samples, selectors(size, small, 4000, 42), small))
    exact = samples.without(m) + samples.uncentred / small
    return (
        Comparison(
            f"tr cov(ĝ) over that at M_S, σ² = M/M_S, M = {m}, M_S = {small}",
            1.0,
            exact / samples.without(small),
            value,
            error,
        ),
    )


# --- Ghost batch norm ------------------------------------------------------------------------

GHOSTS, GHOST_SIZE, RATE = 32, 128, 0.1
"""Ghosts of a batch of 4,096, their size, and the usual momentum η of running statistics."""


def one_by_one(run: float, means: FloatArray) -> float:
    """The running mean after a batch, updated by its ghosts one after the other."""
    for mean in means:
        run = (1 - RATE) * run + RATE * mean
    return float(run)


def printed_weights() -> tuple[float, FloatArray]:
    """Algorithm 1 as printed: weight of the old running mean, and of the ghosts i = 1…|B_S|."""
    i = np.arange(1, GHOST_SIZE + 1)
    return float((1 - RATE) ** GHOST_SIZE), np.asarray(RATE * (1 - RATE) ** i, dtype=np.float64)


@cache
def ghost_norm() -> tuple[Comparison, ...]:
    """Algorithm 1: the running mean, beside an average that takes one ghost after the other."""
    old, weights = printed_weights()
    nothing, last = np.zeros(GHOSTS), np.eye(GHOSTS)[-1]
    run = 0.0
    for _ in range(20):
        run = one_by_one(run, np.ones(GHOSTS))
    rounding = 1e-12
    return (
        Comparison(
            "running mean in the long run, all ghost means 1",
            float(weights.sum() / (1 - old)),
            1.0,
            run,
            rounding,
        ),
        Comparison(
            f"weight of the old running mean, {GHOSTS} ghosts of {GHOST_SIZE}",
            old,
            (1 - RATE) ** GHOSTS,
            one_by_one(1.0, nothing),
            rounding,
        ),
        Comparison(
            "weight of the last ghost",
            float(weights[GHOSTS - 1]),
            RATE,
            one_by_one(0.0, last),
            rounding,
        ),
    )


# --- Random potential ------------------------------------------------------------------------


@cache
def potential() -> tuple[Comparison, ...]:
    """Eqs. 1 and 2: how the covariance of a stationary random loss changes with distance.

    The loss along a line is √2 cos(kw + φ) with k standard normal and φ uniform: a stationary
    field, of which each draw is one; its covariance is exp(-r²/2).
    """
    rng = np.random.default_rng(2)
    k, phase = rng.standard_normal(400_000), rng.uniform(0, 2 * np.pi, 400_000)
    r, alpha = 0.8, 2

    def loss(w: float) -> FloatArray:
        return np.asarray(np.sqrt(2) * np.cos(k * w + phase))

    value, error = ratio_of(loss(0.0) * loss(2 * r), loss(0.0) * loss(r))
    return (
        Comparison(
            "E L(w₁)L(w₂) at twice the distance over that at once, α = 2",
            2.0**alpha,
            float(np.exp(-(4 - 1) * r**2 / 2)),
            value,
            error,
        ),
    )


def bowl_rms(z: float, gradient: FloatArray, h: FloatArray) -> float:
    """rms change of ½ wᵀHw at distance z in a random direction, H diagonal, in closed form.

    z² |G|²/D + z⁴ (2 tr H² + (tr H)²)/(4 D(D + 2)); the cross term is odd and has no mean.
    """
    d = h.size
    quartic = (2 * (h**2).sum() + h.sum() ** 2) / (4 * d * (d + 2))
    return float(np.sqrt(z**2 * (gradient @ gradient) / d + z**4 * quartic))


@cache
def linear_growth() -> tuple[Comparison, ...]:
    """Appendix B: the power of distance in the rms loss change, on a bowl without randomness."""
    d, z, draws = 200, 0.05, 4000
    rng = np.random.default_rng(8)
    h = np.geomspace(0.01, 1, d)
    g = h * rng.standard_normal(d)
    v = rng.standard_normal((draws, d))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    slope, bend = v @ g, (v**2) @ h
    squares = [(s * slope + s**2 * bend / 2) ** 2 for s in (2 * z, z)]
    ratio, error = ratio_of(*squares)
    exact = np.log2(bowl_rms(2 * z, g, h) / bowl_rms(z, g, h))
    return (
        Comparison(
            f"power of distance from {z:g} to {2 * z:g}, convex bowl, {d} dimensions",
            2.0,
            float(exact),
            float(np.log2(ratio) / 2),
            float(error / ratio / (2 * np.log(2))),
        ),
    )


ERRATA = (
    Erratum(
        "H17-E2", "H17", "eqs. 1, 2",
        "The covariance of a stationary loss is said to grow with distance; it cannot.",
        "formula", "E L(w₁)L(w₂) ~ ‖w₁ − w₂‖^{α}", "E (L(w₁) − L(w₂))² ~ ‖w₁ − w₂‖^{α}", potential,
    ),
    Erratum(
        "H17-E6", "H17", "eq. 6",
        "The second moment is not centred, and the batch is taken to be small.", "formula",
        "S/M", "(N − M)/(M(N − 1)) · C", covariance,
    ),
    Erratum(
        "H17-E7", "H17", "eq. 7", "The square root is too small where M is no small part of N.",
        "formula", "η_L/η_S = √(M_L/M_S)", "√[(1/M_S − 1/N)/(1/M_L − 1/N)]", square_root,
    ),
    Erratum(
        "H17-A1", "H17", "appendix A, first half",
        "What is derived is not sampling with replacement.", "formula",
        "(1/M − 1/N) S", "C/M", with_replacement,
    ),
    Erratum(
        "H17-A2", "H17", "appendix A, k = 0",
        "Two samples of one batch get the joint probability of two batches.",
        "formula", "(1/M − 1/(N−1)) S + |g|²/(N−1)", "(N − M)/(M(N − 1)) · C",
        without_replacement,
    ),
    Erratum(
        "H17-A3", "H17", "appendix A, k ≠ 0",
        "Batches of an epoch are anticorrelated, and the printed covariance is positive.",
        "formula", "+|g|²/(N − 1)", "−C/(N − 1)", between_batches,
    ),
    Erratum(
        "H17-noise", "H17", "§4, multiplicative noise",
        "Noise in proportion to M overshoots: the batch has noise of its own.", "formula",
        "σ² = M/M_S", "σ² = M/M_S − 1, nearly", multiplicative,
    ),
    Erratum(
        "H17-Alg1", "H17", "algorithm 1",
        "The running statistics have wrong weights, in reversed order.", "formula",
        "(1−η)^{K} μ_{run} + Σ_{i=1…K} (1−η)^{i} η μ^{l}, K = |B_S|",
        "(1−η)^{G} μ_{run} + Σ_{l=1…G} (1−η)^{G−l} η μ^{l}, G = |B_L|/|B_S|",
        ghost_norm,
    ),
    Erratum(
        "H17-B", "H17", "appendix B, eq. 8",
        "Linear growth is taken for a sign of a random potential; any smooth loss has it.", "claim",
        "linear because α = 2; a bowl: z²", "linear below z ≈ 2|G|√D/tr H", linear_growth,
    ),
)  # fmt: skip
"""In the order of the page."""
