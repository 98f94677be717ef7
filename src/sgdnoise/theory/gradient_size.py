"""How large a batch's gradient is, and what a step along it does to the loss (G20 §2).

A batch of n of N examples, drawn without replacement, has the gradient G + noise of covariance
Σ (1/n − 1/N): G the mean gradient of all N, Σ the covariance of single gradients, N − 1 in its
denominator. So E|g|² = |G|² + trΣ (1/n − 1/N) whatever the law of single gradients. The mean of
|g_i| over the parameters of a layer needs the law: for Gaussian noise each is a folded normal
variable, and for true gradients that are normal over the layer too, the mean is that of a normal
variable, √(2/π) √(τ² + σ² (1/n − 1/N)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import erf

FloatArray = NDArray[np.float64]

NORMAL_MEAN = math.sqrt(2 / math.pi)
"""E|z| of a standard normal variable."""


def finite(n: ArrayLike, size: float = math.inf) -> FloatArray:
    """1/n − 1/N: a batch mean's variance over that of a single example, drawn from N."""
    return 1 / np.asarray(n, dtype=np.float64) - 1 / size


def folded_normal_mean(mean: ArrayLike, std: ArrayLike) -> FloatArray:
    """E|x| of normal variables x, elementwise; |mean| where the deviation is 0."""
    m, s = np.broadcast_arrays(np.abs(np.asarray(mean, float)), np.asarray(std, float))
    out = m.copy()
    some = s > 0
    z = m[some] / s[some]
    out[some] = s[some] * NORMAL_MEAN * np.exp(-(z**2) / 2) + m[some] * erf(z / math.sqrt(2))
    return out


@dataclass(frozen=True)
class SizeLaw:
    """The mean |g| of a layer against the batch size, √(a² + b² (1/n − 1/N)).

    Attributes:
        floor: a, what is left of it in the mean gradient of all examples.
        noise: b, that of the noise of a single example.
        size: N; infinite for a stream of fresh examples.
    """

    floor: float
    noise: float
    size: float = math.inf

    def at(self, n: ArrayLike) -> FloatArray:
        """The mean |g| of batches of n."""
        return np.asarray(np.sqrt(self.floor**2 + self.noise**2 * finite(n, self.size)))

    @property
    def crossover(self) -> float:
        """b²/a², a layer's noise scale: noise and signal are alike there if N is endless."""
        return (self.noise / self.floor) ** 2 if self.floor > 0 else math.inf


def fit_size_law(n: ArrayLike, mean_size: ArrayLike, size: float = math.inf) -> SizeLaw:
    """The law that is nearest to measured means, by least squares of their logarithms.

    Args:
        n: at least two batch sizes, (k,).
        mean_size: mean |g| at each, positive, (k,).
        size: N.

    Raises:
        ValueError: for fewer than two sizes, or a mean that is not positive.
    """
    batch, mean = np.asarray(n, dtype=np.float64), np.asarray(mean_size, dtype=np.float64)
    if batch.ndim != 1 or batch.shape != mean.shape or len(batch) < 2:
        raise ValueError(f"two batch sizes are needed, got shapes {batch.shape} and {mean.shape}")
    if not (np.isfinite(mean).all() and (mean > 0).all()):
        raise ValueError("mean sizes of gradients must be positive and finite")
    x = finite(batch, size)
    # In units of the ends: what the smallest batch has of noise, the largest of floor.
    scale = np.array([mean[batch.argmax()] ** 2, mean[batch.argmin()] ** 2 / x.max()])

    def off(parts: FloatArray) -> FloatArray:
        squared = parts[0] * scale[0] + parts[1] * scale[1] * x
        return np.asarray(np.log(np.maximum(squared, 1e-300)) / 2 - np.log(mean))

    found = least_squares(off, [0.5, 0.5], bounds=(0.0, np.inf), xtol=1e-12, ftol=1e-12)
    floor, noise = np.sqrt(found.x * scale)
    return SizeLaw(float(floor), float(noise), size)


@dataclass(frozen=True)
class Bowl:
    """What a step of SGD meets on a quadratic loss whose samples share one Hessian H.

    Attributes:
        signal: |G|², the squared gradient of the loss of all.
        trace: trΣ, of the covariance of single gradients.
        bent_signal: GᵀHG.
        bent_trace: tr(HΣ).
        size: N.
    """

    signal: float
    trace: float
    bent_signal: float
    bent_trace: float
    size: float = math.inf

    def own_drop(self, rate: float, n: ArrayLike) -> FloatArray:
        """The mean fall of the batch's own loss in a step of rate ε, over ε.

        E|g|² − ½ ε E gᵀHg. The first term is G20-E8 with |G|² put back beside trΣ/n.
        """
        x = finite(n, self.size)
        bent = self.bent_signal + self.bent_trace * x
        return np.asarray(self.signal + self.trace * x - rate / 2 * bent)

    def whole_drop(self, rate: float, n: ArrayLike) -> FloatArray:
        """The mean fall of the loss of all examples in a step of rate ε, over ε.

        |G|² − ½ ε (GᵀHG + tr(HΣ) (1/n − 1/N)): it rises with n, and is negative, the loss rising,
        where the noise is large.
        """
        bent = self.bent_signal + self.bent_trace * finite(n, self.size)
        return np.asarray(self.signal - rate / 2 * bent)
