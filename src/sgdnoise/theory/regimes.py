"""Where the linear scaling rule ends: one definition of the boundary batch size, for all curves.

S20 (§3.2, figure 1c) sees two regimes: the tuned effective learning rate grows in proportion to the
batch size, and beyond a boundary stays where it is. Here a broken line is fitted by least squares
to log₂ of the rate over log₂ of the batch size, and the boundary is where it bends. The same fit
serves measured rates and the noisy quadratic model's, so that their boundaries can be compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

KNEE_STEP = 0.05
"""Spacing of the knees tried by `fit_hinge`, in log₂ of the batch size."""


@dataclass(frozen=True)
class Hinge:
    """A broken line y = level + slope · min(x − knee, 0): a power law that becomes flat.

    In log₂ of batch size and learning rate: the linear scaling rule has slope 1 below the boundary
    2^knee and a constant learning rate 2^level above it.
    """

    slope: float
    knee: float
    level: float

    @property
    def boundary(self) -> float:
        """The batch size at the knee, in examples."""
        return 2.0**self.knee


def fit_hinge(x: FloatArray, y: FloatArray) -> list[Hinge]:
    """Least squares over slope, level and knee, the knee on a fine grid inside the data.

    Args:
        x: abscissas in rising order, shape (n,).
        y: one fit a row, shape (fits, n). NaN ordinates are left out of their row's fit; with
            fewer than four finite ones the fit is NaN.

    Returns:
        One hinge a row. A knee at the largest x means that no flat part was seen: see `flat_seen`.
    """
    fits = [Hinge(math.nan, math.nan, math.nan)] * len(y)
    finite = np.isfinite(y)
    # Rows that lack the same points share their design matrices.
    for pattern in np.unique(finite, axis=0):
        rows = np.flatnonzero((finite == pattern).all(1))
        if pattern.sum() < 4:
            continue
        at, values = x[pattern], y[np.ix_(rows, pattern)]
        # Two points at least must carry the slope.
        knees = np.linspace(at[1], at[-1], 1 + math.ceil((at[-1] - at[1]) / KNEE_STEP))
        ramps = np.minimum(at - knees[:, None], 0)
        designs = np.stack([ramps, np.ones_like(ramps)], 2)
        solutions = np.einsum("kpn,rn->krp", np.linalg.pinv(designs), values)
        residuals = ((np.einsum("knp,krp->krn", designs, solutions) - values) ** 2).sum(2)
        best = np.argmin(residuals, 0)
        for i, row in enumerate(rows):
            slope, level = solutions[best[i], i]
            fits[row] = Hinge(float(slope), float(knees[best[i]]), float(level))
    return fits


def flat_seen(knee: ArrayLike, x: FloatArray) -> NDArray[np.bool_]:
    """Whether knees lie inside the abscissas x, so that something flat follows; False for NaN."""
    return np.asarray(knee, dtype=np.float64) < x.max() - 0.01


def hinge_of_rates(batch_size: ArrayLike, rate: ArrayLike) -> Hinge:
    """The hinge of tuned effective learning rates over batch sizes, fitted in log₂ of both.

    Args:
        batch_size: B in examples, in rising order, shape (n,).
        rate: tuned effective learning rates, positive, shape (n,); NaN where there is none.
    """
    x, y = (np.log2(np.asarray(v, dtype=np.float64)) for v in (batch_size, rate))
    return fit_hinge(x, y[None])[0]
