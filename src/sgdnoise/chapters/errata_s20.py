"""Errata of Smith, Elsen and De (2020): noise covariance, temperature, momentum, best runs.

Symbols are the paper's: ε, B, N, T, m.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.integrate import quad
from scipy.special import beta
from scipy.stats import norm

from sgdnoise.chapters.errata_h17 import made_up, selectors, spreads
from sgdnoise.chapters.erratum import Comparison, Erratum, FloatArray, mean_of
from sgdnoise.data.sizes import train_size
from sgdnoise.papers.numbers import printed
from sgdnoise.theory.stability import effective_learning_rate, trajectory


@cache
def fisher() -> tuple[Comparison, ...]:
    """Eq. 2: variance of a batch gradient, empirical Fisher or covariance, B far below N."""
    samples = made_up(4000, 5, 0.5)
    rows = []
    for b in (16, 64):
        value, error = mean_of(b * spreads(samples, selectors(samples.size, b, 1500, b), b))
        rows.append(
            Comparison(
                f"B · variance of the batch gradient, B = {b}, N = {samples.size:,}",
                samples.uncentred,
                b * samples.without(b),
                value,
                error,
            )
        )
    return tuple(rows)


def finite_temperature(b: int) -> float:
    """What T = ε/B has to be multiplied by in CIFAR-10's N examples: 1 - B/N."""
    return 1 - b / train_size("cifar10")


@cache
def temperature() -> tuple[Comparison, ...]:
    """Eq. 3: the variance of a batch gradient at the batch sizes of table 1, over c/B.

    c is the per-example variance with divisor N - 1, and N is CIFAR-10's.
    """
    rng = np.random.default_rng(3)
    n, d = train_size("cifar10"), 20
    gradients = rng.standard_normal((n, d)).astype(np.float32)
    mean, c = gradients.mean(axis=0), gradients.var(axis=0, ddof=1)
    sizes = (16384, 32768)
    found: dict[int, list[FloatArray]] = {b: [] for b in sizes}
    for _ in range(100):
        total = gradients[rng.permutation(n)].cumsum(axis=0, dtype=np.float64)
        for b in sizes:
            found[b].append(b * (total[b - 1] / b - mean) ** 2 / c)
    rows = []
    for b in sizes:
        value, error = mean_of(np.concatenate(found[b]))
        rows.append(
            Comparison(
                f"variance of the batch gradient · B/c, B = {b:,}, N = {n:,}",
                1.0,
                finite_temperature(b),
                value,
                error,
            )
        )
    return tuple(rows)


@cache
def momentum_sum() -> tuple[Comparison, ...]:
    """§3.1: the step of momentum under a constant gradient, over ε times the gradient."""
    m = printed("S20-protocol.momentum").value
    flat = 1e-9  # a direction so flat that its gradient does not change
    path = trajectory(1.0, flat, m, steps=400)
    return (
        Comparison(
            f"step/(ε · gradient), m = {m:g}, after 400 steps",
            1.0,
            float(effective_learning_rate(1.0, m)),
            float((path[-2] - path[-1]) / (flat * path[-1])),
            1e-4,  # the gradient's own change, and rounding
        ),
    )


def best_of(best: int, runs: int) -> tuple[float, float]:
    """Expected mean and variance (divisor k - 1) of the best k of n standard normal results.

    Given the (n - k)-th smallest t, the best k are independent draws from the normal above t: its
    mean is r = φ/(1 - Φ) and its variance 1 + t r - r². Both are averaged over t.
    """
    below = runs - best

    def averaged(of: str) -> float:
        def integrand(t: float) -> float:
            r = np.exp(norm.logpdf(t) - norm.logsf(t))
            value = r if of == "mean" else 1 + t * r - r**2
            density = norm.cdf(t) ** (below - 1) * norm.sf(t) ** best * norm.pdf(t)
            return float(value * density / beta(below, best + 1))

        return float(quad(integrand, -8, 8)[0])

    return averaged("mean"), averaged("variance")


PROTOCOLS = ("S20-protocol", "S20-F3")


@cache
def best_runs() -> tuple[Comparison, ...]:
    """§4 and §7.1: mean and variance of the best 12 of 15 runs, and of the best 5 of 7."""
    rng = np.random.default_rng(15)
    rows = []
    for name in PROTOCOLS:
        runs, best = (int(printed(f"{name}.{what}").value) for what in ("runs", "best_runs"))
        results = np.sort(rng.standard_normal((50_000, runs)), axis=1)[:, runs - best :]
        mean, variance = best_of(best, runs)
        rows += [
            Comparison(
                f"mean of the best {best} of {runs}, standard deviations above the mean of all",
                0.0,
                mean,
                *mean_of(results.mean(axis=1)),
            ),
            Comparison(
                f"variance of the best {best} of {runs} over that of all",
                1.0,
                variance,
                *mean_of(results.var(axis=1, ddof=1)),
            ),
        ]
    return tuple(rows)


ERRATA = (
    Erratum(
        "S20-E2", "S20", "eq. 2", "The noise has the centred covariance, not the Fisher matrix.",
        "formula", "F = (1/N) Σ g_{j} g_{j}ᵀ", "(1/N) Σ (g_j − G)(g_j − G)ᵀ", fisher,
    ),
    Erratum(
        "S20-E3", "S20", "eq. 3, with table 1",
        "At the largest batches there is less noise than the temperature says.", "formula",
        "T = ε/B", "T = ε (1/B − 1/N)", temperature,
    ),
    Erratum(
        "S20-momentum", "S20", "§3.1, momentum", "Momentum is called an average and is a sum.",
        "claim", "an average: steps of ε g", "a sum: steps of ε g/(1 − m)", momentum_sum,
    ),
    Erratum(
        "S20-best", "S20", "§4, §7.1",
        "The best runs' mean and standard deviation are not those of a run.", "reading",
        "the best runs' numbers, read as those of a run",
        "mean r and variance 1 + tr − r², averaged over t", best_runs,
    ),
)  # fmt: skip
"""In the order of the page."""
