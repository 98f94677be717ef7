"""One boundary batch size: a broken line, fitted alike to nets and to the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

KNEE_STEP = 0.05
"""Spacing of the boundaries tried by `fit_hinge`, in log₂ of the batch size."""


@dataclass(frozen=True)
class Hinge:
    """A broken line y = level + slope · min(x − knee, 0): a power law that becomes flat.

    In log₂ of batch size and learning rate: the linear scaling rule has slope 1 below the boundary
    2^knee and a constant learning rate 2^level above it.
    """

    slope: float
    knee: float
    level: float


def fit_hinge(x: np.ndarray, y: np.ndarray) -> list[Hinge]:
    """Least squares over slope, level and knee, the knee on a fine grid inside the data.

    Args:
        x: abscissas in rising order, shape (n,).
        y: one fit a row, shape (fits, n). NaN ordinates are left out of their row's fit; with
            fewer than four finite ones the fit is NaN.

    Returns:
        One hinge a row. A knee at the largest x means that no flat part was seen.
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
