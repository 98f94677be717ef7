"""Expected loss of the noisy quadratic model at any step, in closed form.

E L(t) = ½ Σ h_i E x_i²(t), each E x_i² from `sgdnoise.theory.moments`: a million steps cost what
one costs. Settings (learning rate, momentum, batch size) and steps may be whole grids; memory
stays bounded because directions × steps are worked through in blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdnoise.theory.moments import (
    Moments,
    Response,
    change_learning_rate,
    check_steps,
    kick_energy,
    moments,
    stationary_energy,
)
from sgdnoise.theory.nqm.spectrum import Spectrum
from sgdnoise.theory.stability import check_momentum, check_positive

FloatArray = NDArray[np.float64]

_BLOCK = 1 << 16
"""Array elements worked on at once: several such arrays fit a second-level cache."""

_TIMES = 8
"""Steps in a block, when many steps of one setting are asked for."""

_FORGOTTEN = 23.0
"""A mean response below e^-23 has left less than 1e-20 of the start in its square."""


class Batch:
    """Settings × levels of a spectrum, prepared for evaluation at any step, one step a setting.

    The last axis of its arrays runs over the levels. `total` and `floor` are what a search for a
    first crossing needs.
    """

    def __init__(
        self,
        model: Spectrum,
        learning_rate: ArrayLike,
        momentum: ArrayLike,
        batch_size: ArrayLike,
    ) -> None:
        lr, m, b = np.broadcast_arrays(
            np.atleast_1d(np.asarray(learning_rate, dtype=np.float64)),
            np.asarray(momentum, dtype=np.float64),
            np.asarray(batch_size, dtype=np.float64),
        )
        self.model, self.learning_rate, self.momentum, self.batch_size = model, lr, m, b
        lr = lr[:, None] * model.preconditioner
        self.response = Response(lr * model.curvature, m[:, None])
        self.kick = lr**2 * model.noise / b[:, None]
        self.plain = bool((m == 0).all())
        self.weight = model.weight * model.curvature / 2
        q = self.response.q
        with np.errstate(all="ignore"):
            self.level = self.kick * stationary_energy(q, m[:, None])
        self.delicate = _near_critical(self.response)
        self.unstable = (self.response.flipped & (self.response.folded <= 0)).any(axis=1)
        # Mean response in the complex range: m^{t/2} √(1 + κ²) cos(tθ - φ), tan φ = κ.
        slope = self.response.start * self.response.cosecant
        self.phase = np.arctan(slope)
        self.amplitude = 1 + slope**2

    def __len__(self) -> int:
        return self.learning_rate.size

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Batch:
        """The same for some of its settings, nothing computed anew."""
        part = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray | Response) and name != "weight":
                setattr(part, name, value[rows])
        return part

    def total(self, steps: FloatArray, quiet: int = 0) -> FloatArray:
        """Expected loss of each setting at its own step (or all at one), shape (settings,).

        Without the mean response of the first `quiet` levels it is a bound from below.
        """
        t = steps[:, None]
        signal, rest = self.response.second_moments(t)
        if quiet:
            signal[:, :quiet] = 0.0
        return self._sum(signal, self._noise(rest, t))

    def floor(self, first: FloatArray, last: FloatArray) -> FloatArray:
        """A lower bound on the loss at every step from `first` to `last`, shape (settings,).

        Direction by direction: the noise part is a growing sum of squares, so its value at `first`
        bounds it. The mean response falls where the roots are real and positive; it is the sum of
        a falling and a unimodal sequence where they are real and negative; it is an oscillation
        under a falling envelope where they are complex, bounded away from 0 only if no zero lies
        between. Without momentum each E x² is monotone, and the smaller end is exact.
        """
        r, t1, t2 = self.response, first[:, None], last[:, None]
        c1, z1 = r.at(t1)
        c2, z2 = r.at(t2)
        signal1, rest1 = r.second_moments_of(c1, z1)
        noise1 = self._noise(rest1, t1)
        with np.errstate(all="ignore"):
            if self.plain:
                signal2, rest2 = r.second_moments_of(c2, z2)
                ends = signal1 + noise1, signal2 + self._noise(rest2, t2)
                return self._sum(np.minimum(*ends), 0.0)
            smallest = np.where(r.flipped, np.minimum(z1, z2), z2)
            monotone = (c2 + r.start * smallest) ** 2
            phase1, phase2 = t1 * r.theta - self.phase, t2 * r.theta - self.phase
            same_side = np.floor(phase1 / np.pi + 0.5) == np.floor(phase2 / np.pi + 0.5)
            tangent = np.maximum(np.abs(np.tan(phase1)), np.abs(np.tan(phase2)))
            swing = self.amplitude * np.exp(2 * t2 * r.half_log_m) / (1 + tangent**2)
            signal = np.where(r.real, monotone, np.where(same_side, swing, 0.0))
        return self._sum(signal, noise1)

    def _noise(self, rest: FloatArray, steps: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            noise = self.level * (1 - rest)
        if self.delicate.any():
            at = self.delicate
            t = np.broadcast_to(steps, noise.shape)[at]
            noise[at] = self.kick[at] * kick_energy(self.response.q[at], self.response.m[at], t)
        return np.asarray(noise)

    def _sum(self, signal: FloatArray, noise: FloatArray | float) -> FloatArray:
        with np.errstate(all="ignore"):
            loss = np.asarray((signal + noise) @ self.weight)
        # An overflow, ∞ - ∞ or ∞ · 0, can only come from a direction that has blown up.
        return np.where(np.isnan(loss), np.inf, loss)


def expected_loss(
    model: Spectrum,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    steps: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> FloatArray:
    """Expected loss of every setting at every step.

    Args:
        model: a spectrum, see `spectrum.spectrum`.
        learning_rate, batch_size, momentum: settings; they broadcast against each other.
        steps: whole numbers from 0, shape (times,) or ().

    Returns:
        Shape (*settings, *steps.shape). Infinity where an unstable setting has left float64.

    Raises:
        ValueError: for a learning rate or batch size that is not positive, a momentum outside
            [0, 1), or steps that are not whole numbers.
    """
    lr, b, m = np.broadcast_arrays(
        check_positive("learning rate", learning_rate),
        check_batch_size(batch_size),
        check_momentum(momentum),
    )
    t = check_steps(steps)
    flat = np.unique(t)
    out = np.empty((lr.size, t.size))
    if model.curvature.size * flat.size <= _BLOCK:
        _grid_by_step(model, lr.ravel(), b.ravel(), m.ravel(), t.ravel(), out)
    else:
        back = np.searchsorted(flat, t.ravel())
        for row, setting in enumerate(zip(lr.flat, b.flat, m.flat, strict=True)):
            out[row] = _curve(model, *setting, flat)[back]
    return out.reshape(lr.shape + t.shape)


def _grid_by_step(
    model: Spectrum,
    lr: FloatArray,
    b: FloatArray,
    m: FloatArray,
    steps: FloatArray,
    out: FloatArray,
) -> None:
    """Many settings of a small spectrum: blocks of settings, one step at a time."""
    rows = max(1, _BLOCK // model.curvature.size)
    for at in range(0, lr.size, rows):
        block = Batch(model, lr[at : at + rows], m[at : at + rows], b[at : at + rows])
        for k, t in enumerate(steps):
            out[at : at + rows, k] = block.total(np.full(len(block), t))


def _curve(model: Spectrum, lr: float, b: float, m: float, steps: FloatArray) -> FloatArray:
    """One setting of a long spectrum at many increasing steps: blocks of levels × steps.

    Levels are taken by kind of root, so that each costs only its own functions, and a level that
    has forgotten its start is not touched again: it sits at its stationary value.
    """
    rates = lr * model.preconditioner
    q = rates * model.curvature
    kick = rates**2 * model.noise / b
    with np.errstate(all="ignore"):
        level = kick * stationary_energy(q, m)
    weight = model.weight * model.curvature / 2
    response = Response(q, m)
    delicate = _near_critical(response)
    # Rate of forgetting, in units of 1/steps; negative where the setting is unstable.
    rate = np.where(response.real, -response.log_root, -response.half_log_m)
    loss = np.zeros(steps.size)
    for one in np.flatnonzero(delicate):
        signal = response[one : one + 1].second_moments(steps)[0]
        loss += weight[one] * (signal + kick[one] * kick_energy(q[one], m, steps))
    for kind in (response.real & ~delicate, ~response.real & ~delicate):
        index = np.flatnonzero(kind)
        # Slowest last, so that what is still remembered at a step is a tail.
        index = index[np.argsort(-rate[index], kind="stable")]
        levels, w, n = response[index], weight[index], level[index]
        settled = np.concatenate([[0.0], np.cumsum(w * n)])
        for at in range(0, steps.size, _TIMES):
            t = steps[at : at + _TIMES, None]
            slowest = _FORGOTTEN / max(t[0, 0], 1.0)
            first = int(np.searchsorted(-rate[index], -slowest))
            loss[at : at + _TIMES] += settled[first]
            for j in range(first, index.size, _BLOCK // _TIMES):
                part = slice(j, j + _BLOCK // _TIMES)
                signal, rest = levels[part].second_moments(t)
                with np.errstate(all="ignore"):
                    loss[at : at + _TIMES] += (signal + n[part] * (1 - rest)) @ w[part]
    return np.where(np.isnan(loss), np.inf, loss)


def _near_critical(response: Response) -> NDArray[np.bool_]:
    """Where εh is so close to 2(1 + m) that K (1 - F) is ∞ · 0: `kick_energy` takes over there."""
    return np.asarray(response.flipped & (np.abs(response.folded) < 1e-6))


def check_batch_size(batch_size: ArrayLike) -> FloatArray:
    """Batch sizes as float64, refused unless every one is a whole number of at least 1."""
    b = np.asarray(batch_size, dtype=np.float64)
    legal = (b >= 1) & np.isfinite(b) & (b == np.floor(b))
    if not legal.all():
        raise ValueError(f"batch size must be a whole number, at least 1, got {b[~legal].flat[0]}")
    return b


def loss_under_schedule(
    model: Spectrum,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    pieces: Sequence[tuple[float, int]],
    momentum: ArrayLike = 0.0,
) -> FloatArray:
    """Expected loss at the end of a piecewise constant schedule, and after each of its pieces.

    The closed form, applied piece by piece: S20's schedule over a million steps is eleven pieces.

    Args:
        model: a spectrum.
        learning_rate, batch_size, momentum: initial settings; they broadcast.
        pieces: (multiplier of the learning rate, number of steps) in order, as
            `sgdnoise.schedule.segments` gives them.

    Returns:
        Shape (*settings, len(pieces) + 1): before training, then after each piece.
    """
    if any(not (factor > 0 and np.isfinite(factor)) or count < 0 for factor, count in pieces):
        raise ValueError("a schedule's multipliers must be positive and its lengths not negative")
    lr, b, m = np.broadcast_arrays(
        check_positive("learning rate", learning_rate),
        check_batch_size(batch_size),
        check_momentum(momentum),
    )
    weight = model.weight * model.curvature / 2
    out = np.empty((lr.size, len(pieces) + 1))
    out[:, 0] = model.initial_loss
    rows = max(1, _BLOCK // weight.size)
    for at in range(0, lr.size, rows):
        part = slice(at, at + rows)
        start_rate = lr.ravel()[part, None] * model.preconditioner
        noise = model.noise / b.ravel()[part, None]
        one = np.ones_like(start_rate)
        zero = np.zeros_like(start_rate)
        state = Moments(one, zero, one, zero, zero)
        previous = 1.0
        for k, (factor, count) in enumerate(pieces):
            state = change_learning_rate(state, factor / previous if k else 1.0)
            previous = factor
            state = moments(
                start_rate * factor,
                model.curvature,
                noise,
                count,
                m.ravel()[part, None],
                start=state,
            )
            with np.errstate(all="ignore"):
                loss = state.xx @ weight
            out[part, k + 1] = np.where(np.isnan(loss), np.inf, loss)
    return out.reshape(*lr.shape, len(pieces) + 1)
