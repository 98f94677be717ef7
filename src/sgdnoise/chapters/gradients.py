"""What the chapter on gradients, steps and losses computes: closed forms beside simulations.

Symbols are G20's: n is the batch size, σ the standard deviation of one sample's gradient. Added are
τ, the spread of the true gradients over a layer, and N, the number of examples.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sgdnoise.theory.gradient_size import (
    NORMAL_MEAN,
    Bowl,
    SizeLaw,
    finite,
    fit_size_law,
    folded_normal_mean,
)

FloatArray = NDArray[np.float64]

EXAMPLES = 4096
"""N: examples of the simulated training set."""

PARAMETERS = 1000
"""Of the simulated layer."""

SIZES = tuple(2**k for k in range(13))
SPREADS = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
"""τ/σ, a layer's ratio of signal to noise for one example; G20 assumes 0."""

SPREAD = 1 / 16
"""Where the sliders open."""


@cache
def _noise() -> tuple[FloatArray, FloatArray]:
    """Mean noise of batches, (sizes, parameters), and the layer's own z, (parameters,).

    Single noises have variance 1 and sum to zero over the N examples, so that the mean gradient of
    all is the true one. A batch is the first n of the examples, which stand in random order: it is
    drawn without replacement.
    """
    rng = np.random.default_rng(20201208)
    z = rng.standard_normal(PARAMETERS)
    z = (z - z.mean()) / z.std()
    single = rng.standard_normal((EXAMPLES, PARAMETERS))
    single -= single.mean(axis=0)
    single /= np.sqrt((single**2).sum(axis=0) / (EXAMPLES - 1))
    total, seen, means = np.zeros(PARAMETERS), 0, []
    for n in SIZES:
        total += single[seen:n].sum(axis=0)
        seen = n
        means.append(total / n)
    return np.array(means), z


def batch_gradients(spread: float) -> FloatArray:
    """Gradients of a batch of every size, in units of σ, shape (sizes, parameters)."""
    noise, z = _noise()
    return spread * z + noise


def simulated(spread: float) -> FloatArray:
    """The mean |g| over the layer of a batch of every size, in units of σ."""
    return np.abs(batch_gradients(spread)).mean(axis=1)


def scatter() -> float:
    """Relative deviation of the simulated mean |g| where it is a mean of normal noise alone."""
    return float(np.sqrt((1 / NORMAL_MEAN**2 - 1) / PARAMETERS))


def law(spread: float) -> SizeLaw:
    """The mean |g| of Gaussian gradients whose true ones are spread over the layer by τ."""
    return SizeLaw(NORMAL_MEAN * spread, NORMAL_MEAN, EXAMPLES)


def refitted(spread: float) -> SizeLaw:
    """The law as it would be read off the simulation, without its last point."""
    return fit_size_law(SIZES[:-1], simulated(spread)[:-1], EXAMPLES)


def crossover(of: SizeLaw) -> float:
    """The batch size at which signal and noise are alike: 1/n − 1/N = a²/b².

    It is the noise scale b²/a² where that is far below N, and below N always.
    """
    return 1 / (1 / of.crossover + 1 / of.size)


# --- One parameter ------------------------------------------------------------------------------

RATIOS = np.geomspace(0.05, 20, 241)
"""|G| over the deviation of its batch gradient."""


def one_parameter() -> tuple[FloatArray, FloatArray]:
    """E|g| of one parameter, exactly and by the root of squares, in units of its deviation."""
    exact = folded_normal_mean(RATIOS, 1.0)
    return exact, np.sqrt(RATIOS**2 + NORMAL_MEAN**2)


# --- What a step does to the loss ---------------------------------------------------------------

DIMENSIONS = 20
RATES = (0.05, 0.1, 0.2, 0.5, 1.0)
SIGNALS = (1 / 16, 1 / 4, 1.0, 4.0)
"""|G|² over trΣ: the inverse of the noise scale of one example."""

OPENS = (0.5, 1 / 16)
"""ε, and |G|²/trΣ, where the sliders of the loss open."""


def _curvatures() -> FloatArray:
    return np.geomspace(0.05, 1.0, DIMENSIONS)


def _gradient(signal: float) -> FloatArray:
    """G of squared length `signal` · trΣ, with trΣ the number of dimensions."""
    g = _curvatures() * np.random.default_rng(8).standard_normal(DIMENSIONS)
    return np.asarray(g * np.sqrt(signal * DIMENSIONS / (g @ g)))


def bowl(signal: float) -> Bowl:
    """The quadratic at weights whose gradient is G; single gradients have variance 1 each."""
    h, g = _curvatures(), _gradient(signal)
    return Bowl(float(g @ g), float(DIMENSIONS), float(g @ (h * g)), float(h.sum()))


@cache
def stepped(rate: float, signal: float, n: int, repeats: int = 2000) -> tuple[float, float]:
    """Falls of the batch's own loss and of the loss of all in a simulated step, over ε.

    Sample k's loss is ½ xᵀHx + (G + ξ_k)·x about the present weights, x = 0; a batch's is the mean.
    """
    h, g = _curvatures(), _gradient(signal)
    rng = np.random.default_rng([n, round(1000 * rate), round(1000 * signal)])
    noise = rng.standard_normal((repeats, DIMENSIONS)) / np.sqrt(n)
    x = -rate * (g + noise)
    bent = (h * x**2).sum(axis=1) / 2
    own = -(bent + ((g + noise) * x).sum(axis=1))
    whole = -(bent + x @ g)
    return float(own.mean() / rate), float(whole.mean() / rate)


def step_length(n: FloatArray, spread: float, power: float) -> FloatArray:
    """Mean step at ε ∝ n^power over that of one example, by the law at a spread τ/σ."""
    size = law(spread).at(n) * np.asarray(n, dtype=np.float64) ** power
    return np.asarray(size / law(spread).at(1.0))


def noise_left(n: int) -> float:
    """What the finite set leaves of a batch's 1/n of variance."""
    return float(finite(n, EXAMPLES) * n)
