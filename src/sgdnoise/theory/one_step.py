"""What one step of SGD wins, and the batch size from which a larger one wins little more.

To second order in the learning rate ε, a step w' = w − ε ĝ with a batch of B independent examples
changes the expected loss by

    ΔL(ε, B) = −ε |G|² + ½ ε² (GᵀHG + tr(HΣ)/B).

G is the gradient, H the Hessian and Σ the covariance of one example's gradient (McCandlish et al.
2018, equation 2.5). Its best rate grows in proportion to B while B is far below the noise scale
tr(HΣ)/GᵀHG, and no more far beyond it: S20's two regimes, seen from one point of training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdnoise.theory.stability import check_momentum, check_positive

FloatArray = NDArray[np.float64]


def expected_change(
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    *,
    signal: ArrayLike,
    curvature: ArrayLike,
    noise: ArrayLike,
) -> FloatArray:
    """ΔL, the expected change of the loss in one step of plain SGD; the arguments broadcast.

    Args:
        learning_rate: ε.
        batch_size: B in examples, drawn independently.
        signal: |G|².
        curvature: GᵀHG.
        noise: tr(HΣ), of one example's gradient.

    Raises:
        ValueError: for a batch size that is not positive and finite.
    """
    rate = np.asarray(learning_rate, dtype=np.float64)
    b = check_positive("batch size", batch_size)
    bent = np.asarray(curvature, dtype=np.float64) + np.asarray(noise, dtype=np.float64) / b
    return np.asarray(-rate * np.asarray(signal, dtype=np.float64) + rate**2 / 2 * bent)


def best_rate(batch_size: ArrayLike, largest: ArrayLike, noise_scale: ArrayLike) -> FloatArray:
    """The rate that minimises ΔL: largest/(1 + noise scale/B) (McCandlish et al. 2018, eq. 2.6).

    Args:
        batch_size: B in examples.
        largest: |G|²/GᵀHG, the best rate without noise.
        noise_scale: tr(HΣ)/GᵀHG in examples.

    Raises:
        ValueError: for a quantity that is not positive and finite.
    """
    b = check_positive("batch size", batch_size)
    scale = check_positive("noise scale", noise_scale)
    return np.asarray(check_positive("largest rate", largest) / (1 + scale / b))


def updates_left(times: ArrayLike, batch_size: ArrayLike, noise_scale: ArrayLike) -> FloatArray:
    """Share of the updates that are still needed with a batch `times` as large, at the best rates.

    A best step wins in proportion to B/(B + noise scale). Far below the noise scale the share is
    1/times, far beyond it 1: there a larger batch saves nothing.

    Args:
        times: by what the batch grows.
        batch_size: B in examples, before it grows.
        noise_scale: in examples.

    Raises:
        ValueError: for a quantity that is not positive and finite.
    """
    k = check_positive("times", times)
    b = check_positive("batch size", batch_size)
    scale = check_positive("noise scale", noise_scale)
    return np.asarray((1 + scale / (k * b)) / (1 + scale / b))


def noise_floor(
    learning_rate: ArrayLike, batch_size: ArrayLike, covariance_trace: ArrayLike, momentum: float
) -> FloatArray:
    """T trΣ/4, by which noise holds the loss above its minimum, with T = ε/((1 − m) B).

    That of heavy ball on a quadratic where ε is far below the critical rate, after so long that the
    start is forgotten. Each direction has ε σ²/(4 (1 − m) B), whatever its curvature.

    Args:
        learning_rate: ε.
        batch_size: B in examples, drawn independently.
        covariance_trace: trΣ, of one example's gradient.
        momentum: m in [0, 1).

    Raises:
        ValueError: for a batch size that is not positive and finite, or a momentum outside [0, 1).
    """
    b = check_positive("batch size", batch_size)
    rate = np.asarray(learning_rate, dtype=np.float64) / (1 - check_momentum(momentum))
    return np.asarray(rate / b * np.asarray(covariance_trace, dtype=np.float64) / 4)
