"""Expected loss of an exponential moving average of the weights, at any step.

y' = d y + (1 - d) x' beside heavy ball's (x, v) makes a linear recursion of three variables with
additive noise. Its second moments after t steps are A^t S₀ A^tᵀ + Σ_{k<t} A^k Q A^kᵀ, both had
from the binary digits of t by S_{2k} = S_k + A^k S_k A^kᵀ: exact, and no case distinction where
d meets one of heavy ball's own roots.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdnoise.theory.moments import check_steps
from sgdnoise.theory.nqm.loss import check_batch_size
from sgdnoise.theory.nqm.spectrum import Spectrum
from sgdnoise.theory.stability import check_momentum, check_positive

FloatArray = NDArray[np.float64]

_BLOCK = 1 << 14


def averaged_loss(
    model: Spectrum,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    steps: ArrayLike,
    decay: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> FloatArray:
    """Expected loss of the average y of the weights, which starts at the initial weights.

    Zhang et al. (2019) §3.5: averaging takes noise out without slowing the descent of x, where a
    smaller learning rate would. All arguments but the model broadcast, and each setting has its
    own step.

    Args:
        model: a spectrum.
        learning_rate, batch_size, momentum: settings.
        steps: whole numbers from 0.
        decay: d in [0, 1), the weight of the past; 0 gives the loss of x itself.

    Returns:
        The loss, of the broadcast shape; infinite where an unstable setting has left float64.
    """
    d = np.asarray(decay, dtype=np.float64)
    if not ((d >= 0) & (d < 1)).all():
        raise ValueError(f"averaging decay must lie in [0, 1), got {decay!r}")
    lr, b, t, d, m = np.broadcast_arrays(
        check_positive("learning rate", learning_rate),
        check_batch_size(batch_size),
        check_steps(steps),
        d,
        check_momentum(momentum),
    )
    out = np.empty(lr.size)
    rows = max(1, _BLOCK // model.curvature.size)
    weight = model.weight * model.curvature / 2
    for at in range(0, lr.size, rows):
        part = slice(at, at + rows)
        yy = _average_moment(model, *(a.ravel()[part, None] for a in (lr, b, t, d, m)))
        with np.errstate(all="ignore"):
            out[part] = yy @ weight
    return np.where(np.isnan(out), np.inf, out).reshape(lr.shape)


def _average_moment(
    model: Spectrum, lr: FloatArray, b: FloatArray, t: FloatArray, d: FloatArray, m: FloatArray
) -> FloatArray:
    """E y² of settings × levels."""
    lr = lr * model.preconditioner
    q = lr * model.curvature
    q, d, m, t = np.broadcast_arrays(q, d, m, t)
    one, keep = np.ones_like(q), 1 - d
    step = np.stack(
        [
            np.stack([1 - q, m, 0 * q], axis=-1),
            np.stack([-q, m, 0 * q], axis=-1),
            np.stack([keep * (1 - q), keep * m, d], axis=-1),
        ],
        axis=-2,
    )
    kick = np.stack([one, one, keep], axis=-1) * np.sqrt(lr**2 * model.noise / b)[..., None]
    noise = kick[..., :, None] * kick[..., None, :]
    power = np.broadcast_to(np.eye(3), step.shape)
    total = np.zeros_like(step)
    count = t.astype(np.int64)
    with np.errstate(all="ignore"):
        for bit in reversed(range(int(count.max(initial=0)).bit_length())):
            total = total + power @ total @ power.swapaxes(-1, -2)
            power = power @ power
            odd = ((count >> bit) & 1).astype(bool)[..., None, None]
            total = np.where(odd, step @ total @ step.swapaxes(-1, -2) + noise, total)
            power = np.where(odd, step @ power, power)
        # x and y start together at E x² = 1, v at rest.
        start = power[..., 2, 0] + power[..., 2, 2]
        return np.asarray(start**2 + total[..., 2, 2])
