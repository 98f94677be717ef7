"""Laws by which a distance may grow with time, fitted and compared: log t or a power of t.

H17 reads ‖w_t − w_0‖ ~ log t (eq. 4) as the sign of a random potential. Each law here has two
parameters and is fitted by least squares to the distance itself, never to its logarithm, so that
the likelihoods are of the same numbers:

    a + b log t        `log_law`: a line on H17's axes
    c t^p              `power_law`
    a + b t^p          `offset_power`, at a power that is given: two parameters as well
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from sgdnoise.theory.stability import check_momentum, check_positive

FloatArray = NDArray[np.float64]

LEAST_POINTS = 4
"""Points that two parameters and a residual's spread take."""

POWERS = (-2.0, 3.0)
"""Between which a fitted power is looked for."""


@dataclass(frozen=True)
class Growth:
    """A law of two parameters, fitted by least squares.

    Attributes:
        parameters: the two, as the law's function names them.
        fitted: its distances at the times it was fitted to.
        r_squared: share of the distances' variance that it takes up.
        aic: n log(RSS/n) + 2·3, for two parameters and the residuals' variance.
        autocorrelation: of one residual with the next; near 0 for a law that leaves noise only.
            What leaves a bend has it near 1, and its AIC then claims more than there is.
    """

    parameters: tuple[float, float]
    fitted: FloatArray
    r_squared: float
    aic: float
    autocorrelation: float


def log_law(time: ArrayLike, distance: ArrayLike) -> Growth:
    """a + b log t, with the parameters a and b: the distance gained in a factor of e.

    Raises:
        ValueError: for fewer than four points, times that are not positive, or what is not finite.
    """
    t, d = _checked(time, distance)
    return _line(np.log(t), d)


def offset_power(time: ArrayLike, distance: ArrayLike, power: float) -> Growth:
    """a + b t^power at a given power, with the parameters a and b.

    Raises:
        ValueError: as `log_law`.
    """
    t, d = _checked(time, distance)
    return _line(t**power, d)


def power_law(time: ArrayLike, distance: ArrayLike) -> Growth:
    """c t^p, with the parameters c and p.

    Raises:
        ValueError: as `log_law`.
    """
    t, d = _checked(time, distance)
    middle = np.exp(np.log(t).mean())

    def scale(p: float) -> tuple[float, FloatArray]:
        basis = (t / middle) ** p
        return float(d @ basis / (basis @ basis)), basis

    def misfit(p: float) -> float:
        c, basis = scale(p)
        return float(((d - c * basis) ** 2).sum())

    p = _least(misfit)
    c, basis = scale(p)
    return _growth((c * middle**-p, p), c * basis, d)


def free_power(time: ArrayLike, distance: ArrayLike) -> float:
    """The p with which a + b (t^p − 1)/p fits best: 0 is the log law, ½ free diffusion.

    Raises:
        ValueError: as `log_law`.
    """
    t, d = _checked(time, distance)

    def misfit(p: float) -> float:
        basis = np.log(t) if abs(p) < 1e-9 else np.expm1(p * np.log(t)) / p
        return float(((_line(basis, d).fitted - d) ** 2).sum())

    return _least(misfit)


def lead_of_log(time: ArrayLike, distance: ArrayLike) -> float:
    """ΔAIC = AIC(c t^p) − AIC(a + b log t): above 0 where log t fits better than a power.

    Both have two parameters, so that it is n log of the ratio of their residual sums of squares.

    Raises:
        ValueError: as `log_law`.
    """
    return power_law(time, distance).aic - log_law(time, distance).aic


def _least(misfit: Callable[[float], float]) -> float:
    """The power of the least misfit: the best of a grid, then Brent's method about it."""
    grid = np.linspace(*POWERS, 101)
    at = int(np.argmin([misfit(float(p)) for p in grid]))
    bounds = (grid[max(at - 1, 0)], grid[min(at + 1, 100)])
    found = minimize_scalar(misfit, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    return float(found.x)


def _checked(time: ArrayLike, distance: ArrayLike) -> tuple[FloatArray, FloatArray]:
    t, d = (np.asarray(values, dtype=np.float64) for values in (time, distance))
    if t.shape != d.shape or t.ndim != 1 or t.size < LEAST_POINTS:
        raise ValueError(
            f"a law of growth needs {LEAST_POINTS} times or more and as many distances, "
            f"got {t.shape} and {d.shape}"
        )
    if not (np.isfinite(t).all() and np.isfinite(d).all() and (t > 0).all()):
        raise ValueError("times must be positive, and times and distances finite")
    return t, d


def _line(x: FloatArray, d: FloatArray) -> Growth:
    """a + b x; b is 0 where all x are one number."""
    off = x - x.mean()
    spread = float(off @ off)
    b = float(off @ d / spread) if spread else 0.0
    return _growth((float(d.mean() - b * x.mean()), b), d.mean() + b * off, d)


def _growth(parameters: tuple[float, float], fitted: FloatArray, d: FloatArray) -> Growth:
    rest, about = d - fitted, d - d.mean()
    misfit, total = float(rest @ rest), float(about @ about)
    # What rounding leaves of an exact fit is no measure of it.
    floor = d.size * (1e-12 * float(np.abs(d).max())) ** 2 + np.finfo(np.float64).tiny
    centred = rest - rest.mean()
    power = float(centred @ centred)
    return Growth(
        parameters,
        fitted,
        1 - misfit / total if total else float("nan"),
        d.size * float(np.log(max(misfit, floor) / d.size)) + 6.0,
        float(centred[1:] @ centred[:-1]) / power if power else 0.0,
    )


def separable_logistic(
    margins: ArrayLike, learning_rate: float, times: ArrayLike, momentum: float = 0.0
) -> FloatArray:
    """Weight of gradient descent on separable logistic regression in one dimension, from 0.

    The loss is the mean of log(1 + exp(−m w)) over margins m > 0 (H17 §7, Soudry et al. 2018):
    nothing in it is random, and w still grows as log t / min m. Heavy ball with a momentum.

    Args:
        margins: m, shape (examples,).
        learning_rate: ε.
        times: whole step counts, rising.
        momentum: of PyTorch's heavy ball.

    Raises:
        ValueError: for margins or a learning rate that are not positive, or a momentum outside
            [0, 1).
    """
    m = np.atleast_1d(check_positive("margin", margins))
    lr, beta = (
        float(check_positive("learning rate", learning_rate)),
        float(check_momentum(momentum)),
    )
    wanted = np.asarray(times, dtype=np.int64)
    found, w, v = np.empty(wanted.size), 0.0, 0.0
    for i, steps in enumerate(np.diff(wanted, prepend=0)):
        for _ in range(steps):
            v = beta * v + float((m / (1 + np.exp(m * w))).mean())
            w += lr * v
        found[i] = w
    return found


def separable_logistic_ode(margin: float, learning_rate: float, times: ArrayLike) -> FloatArray:
    """The same for one margin in continuous time, in closed form.

    dw/dt = ε m / (1 + exp(m w)) from w = 0 gives m w + exp(m w) = 1 + ε m² t, so that
    m w = c − W(exp(c)) with c = 1 + ε m² t and W Lambert's function.

    Raises:
        ValueError: for a margin or a learning rate that is not positive.
    """
    m = float(check_positive("margin", margin))
    lr = float(check_positive("learning rate", learning_rate))
    c = 1 + lr * m * m * np.asarray(times, dtype=np.float64)
    # y + exp(y) = c, by Newton's method on the rising, convex left side: W(exp(c)) overflows.
    y = np.log(c)
    for _ in range(60):
        y = y - (y + np.exp(y) - c) / (1 + np.exp(y))
    return np.asarray(y / m)
