"""The critical learning rate of gradient descent and of heavy ball, by spectral radius.

On a quadratic loss ½ h x² each eigen-direction of the Hessian follows its own linear recursion, and
training is stable exactly while the spectral radius of every update matrix stays below one (S20
§3.1). Momentum is PyTorch's, an unnormalised sum: v' = m v + g, x' = x - ε v'.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdnoise.errors import shown

FloatArray = NDArray[np.float64]


def check_momentum(momentum: ArrayLike) -> FloatArray:
    """Momentum as an array, refused unless every value lies in [0, 1).

    Raises:
        ValueError: for a momentum outside [0, 1) or not a number.
    """
    m = np.asarray(momentum, dtype=np.float64)
    legal = (m >= 0) & (m < 1)
    if not legal.all():
        raise ValueError(f"momentum must lie in [0, 1), got {m[~legal].flat[0]}")
    return m


def check_positive(name: str, value: ArrayLike) -> FloatArray:
    """A quantity as an array, refused unless every value is positive and finite.

    Raises:
        ValueError: naming the quantity.
    """
    x = np.asarray(value, dtype=np.float64)
    legal = (x > 0) & np.isfinite(x)
    if not legal.all():
        raise ValueError(f"{name} must be positive and finite, got {x[~legal].flat[0]}")
    return x


def check_not_negative(name: str, value: ArrayLike) -> FloatArray:
    """A quantity as an array, refused unless every value is finite and at least 0.

    Raises:
        ValueError: naming the quantity.
    """
    x = np.asarray(value, dtype=np.float64)
    legal = (x >= 0) & np.isfinite(x)
    if not legal.all():
        raise ValueError(f"{name} must be finite and not negative, got {x[~legal].flat[0]}")
    return x


def check_count(name: str, value: int, most: int | None = None, *, least: int = 1) -> None:
    """Refuses what is not a whole number from `least` to `most`, if there is such a bound.

    Raises:
        ValueError: naming the quantity and its bounds.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most:,}"
        raise ValueError(f"{name} must be a whole number, {bounds}, got {shown(value)}")


def effective_learning_rate(learning_rate: ArrayLike, momentum: ArrayLike = 0.0) -> FloatArray:
    """ε_eff = ε / (1 - m): the learning rate of the SGD that heavy ball follows when ε is small.

    It is reached only after about 1/(1 - m) steps, the time that the sum of gradients takes to
    fill (S20 §3.3).
    """
    return np.asarray(learning_rate, dtype=np.float64) / (1 - check_momentum(momentum))


def critical_learning_rate(largest_eigenvalue: ArrayLike, momentum: ArrayLike = 0.0) -> FloatArray:
    """Learning rate at which the stiffest direction stops contracting: 2 (1 + m) / λ_max.

    2/λ_max for gradient descent (m = 0). Below it every direction contracts; at it one eigenvalue
    of the update is -1; above it the loss grows without bound. S20 §3.1 states m = 0; for
    m > 0 see `spectral_radius`.

    Args:
        largest_eigenvalue: λ_max of the Hessian, positive.
        momentum: m in [0, 1).

    Raises:
        ValueError: for an eigenvalue that is not positive or a momentum outside [0, 1).
    """
    h = check_positive("largest eigenvalue", largest_eigenvalue)
    return 2 * (1 + check_momentum(momentum)) / h


def critical_effective_learning_rate(
    largest_eigenvalue: ArrayLike, momentum: ArrayLike = 0.0
) -> FloatArray:
    """The same limit in units of ε_eff = ε/(1 - m): (1 + m)/(1 - m) times gradient descent's.

    At m = 0.9 momentum therefore may move 19 times as far in a unit of time as plain gradient
    descent: why it helps once curvature, not noise, limits the learning rate.
    """
    return effective_learning_rate(critical_learning_rate(largest_eigenvalue, momentum), momentum)


def spectral_radius(
    learning_rate: ArrayLike, eigenvalue: ArrayLike, momentum: ArrayLike = 0.0
) -> FloatArray:
    """Largest |eigenvalue| of the update matrix: the factor per step, in the long run.

    The roots solve λ² - (1 + m - εh) λ + m = 0. Between the double roots εh = (1 ∓ √m)² they are
    complex and the radius is √m, whatever the curvature: the direction oscillates. Outside, both
    are real.

    Args:
        learning_rate: ε.
        eigenvalue: h, an eigenvalue of the Hessian.
        momentum: m in [0, 1).

    Returns:
        The radius, with the arguments broadcast; below 1 is stable.
    """
    m = check_momentum(momentum)
    q = np.asarray(learning_rate, dtype=np.float64) * np.asarray(eigenvalue, dtype=np.float64)
    half_trace = np.abs(1 + m - q) / 2
    root_m = np.sqrt(m)
    # (half trace)² - m, as a product of differences: exact zeros at the double roots.
    discriminant = (half_trace - root_m) * (half_trace + root_m)
    return np.where(
        discriminant < 0, root_m, half_trace + np.sqrt(np.maximum(discriminant, 0.0))
    ).astype(np.float64)


def trajectory(
    learning_rate: ArrayLike,
    eigenvalue: ArrayLike,
    momentum: ArrayLike = 0.0,
    *,
    steps: int,
    start: ArrayLike = 1.0,
) -> FloatArray:
    """Position along one eigen-direction at steps 0…steps, from rest: shape (steps + 1, ...).

    The recursion itself, with no noise; the arguments broadcast, so that one call serves a whole
    grid of learning rates. An unstable setting grows until it overflows to infinity.

    Raises:
        ValueError: for a negative number of steps or a momentum outside [0, 1).
    """
    if steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}")
    m = check_momentum(momentum)
    lr, h, m, x0 = np.broadcast_arrays(
        *(np.asarray(a, dtype=np.float64) for a in (learning_rate, eigenvalue, m, start))
    )
    path = np.empty((steps + 1, *x0.shape))
    path[0] = x = x0
    velocity = np.zeros(x0.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(steps):
            velocity = m * velocity + h * x
            x = x - lr * velocity
            path[k + 1] = x
    return path
