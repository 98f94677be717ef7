"""What the noisy quadratic model is tested against: step loops and a small model."""

from __future__ import annotations

import numpy as np

from sgdnoise.theory import nqm

SMALL = nqm.spectrum("exact", 40)


def loop(model: nqm.Spectrum, lr: np.ndarray, b: float, m: float, steps: int) -> np.ndarray:
    """Expected loss of each learning rate after 0…steps steps, by the moments' own recursion."""
    rates = np.atleast_1d(lr)[:, None] * model.preconditioner
    q = rates * model.curvature
    kick = rates**2 * model.noise / b
    xx, xv, vv = np.ones_like(q), np.zeros_like(q), np.zeros_like(q)
    weight = model.weight * model.curvature / 2
    losses = [xx @ weight]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            cross = m * xv - q * xx
            vv = m * m * vv - 2 * m * q * xv + q * q * xx + kick
            xx = xx + 2 * cross + vv
            xv = cross + vv
            losses.append(xx @ weight)
    # ∞ - ∞ once a setting has overflowed.
    return np.nan_to_num(np.array(losses).T, nan=np.inf, posinf=np.inf)


def first_at_target(losses: np.ndarray, target: float) -> np.ndarray:
    """First column at or below the target in each row; -1 where none."""
    reached = losses <= target
    return np.where(reached.any(axis=1), reached.argmax(axis=1), -1)
