"""Expected loss of the noisy quadratic model at any step, in closed form.

E L(t) = ½ Σ h_i E x_i²(t), each E x_i² from `sgdnoise.theory.moments`: a million steps cost what
one costs. Settings (learning rate, momentum, batch size) and steps may be whole grids; memory
stays bounded because directions × steps are worked through in blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdnoise.errors import shown
from sgdnoise.theory.moments import (
    Moments,
    Response,
    change_learning_rate,
    check_steps,
    kick_energy,
    moments,
    stationary_energy,
)
from sgdnoise.theory.nqm.spectrum import MOST, Spectrum
from sgdnoise.theory.stability import check_momentum, check_positive

FloatArray = NDArray[np.float64]

_BLOCK = 1 << 14
"""Array elements worked on at once: several such arrays fit a second-level cache."""

_TIMES = 8
"""Steps in a block, when many steps of one setting are asked for."""

_CUT = -700.0
"""Exponents are cut here, before float64 turns subnormal and slow."""

_FASTEST = -1e6
"""Stands for the logarithm of λ₂/λ₁ = 0, at m = 0."""

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
    """One setting of a long spectrum at many increasing steps, blocks of steps × levels.

    Away from the double roots each E x² is its stationary value and three exponentials or one
    damped oscillation, so a block costs one exp or tan an element and the sum over levels is a
    matrix product. Levels that have forgotten their start are not touched again.
    """
    rates = lr * model.preconditioner
    kick = rates**2 * model.noise / b
    weight = model.weight * model.curvature / 2
    r = Response(rates * model.curvature, m)
    with np.errstate(all="ignore"):
        level = kick * stationary_energy(r.q, m)
        rest = 2 * r.folded / (1 + m) * r.r
    # Near a double root, and near the critical rate, the parts are large and cancel: few levels.
    scale = np.where(r.real, r.unit, r.cosecant)
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(r.start * scale), np.sqrt(np.abs(rest)) * scale)
    delicate = _near_critical(r) | ~(size < 100)
    loss = np.zeros(steps.size)
    for one in np.flatnonzero(delicate):
        loss += weight[one] * _one_level(r[one : one + 1], kick[one], steps)
    swinging = ~r.real & ~delicate
    decaying = r.real & ~delicate
    with np.errstate(all="ignore"):
        # λ₁^t and λ₂^t have weights u and 1 - u in C + (·)Z.
        u, c, e = r.unit[decaying], r.start[decaying], r.a[decaying]
        first, second = c * u, e * u
        k = rest[decaying] * u
        slow = first**2 - level[decaying] * (second**2 + k * u)
        both = 2 * first * (1 - first) - level[decaying] * (
            2 * second * (1 - second) + k * (1 - 2 * u)
        )
        fast = (1 - first) ** 2 - level[decaying] * ((1 - second) ** 2 - k * (1 - u))
    w = weight[decaying]
    rate = 2 * r.log_root[decaying]
    loss += _decays(steps, rate, w * slow)
    shared = steps * math.log(m) if m > 0 else np.full(steps.size, -np.inf)
    alive = steps[shared > -2 * _FORGOTTEN] if m > 0 else steps[steps == 0]
    faster = 2 * np.maximum(r.log_ratio[decaying], _FASTEST) + rate
    loss[: alive.size] += _decays(alive, faster, w * fast)
    loss[: alive.size] += np.exp(np.where(alive == 0, 0.0, shared[: alive.size])) * (w @ both)
    if swinging.any():
        csc, turn = r.cosecant[swinging], r.theta[swinging]
        first, second = r.start[swinging] * csc, r.a[swinging] * csc
        k = rest[swinging] * csc
        kp = k * r.p[swinging] * csc
        n = level[swinging]
        mean = (1 + first**2) / 2 - n * ((1 + second**2) / 2 + kp / 2)
        even = (1 - first**2) / 2 - n * ((1 - second**2) / 2 - kp / 2)
        odd = first - n * (second + k / 2)
        w = weight[swinging]
        loss[: alive.size] += np.exp(shared[: alive.size]) * (
            w @ (mean - even) + _swings(alive, turn, 2 * w * even, 2 * w * odd)
        )
    with np.errstate(all="ignore"):
        loss += weight[~delicate] @ level[~delicate]
    return np.where(np.isnan(loss), np.inf, loss)


def _one_level(r: Response, kick: float, steps: FloatArray) -> FloatArray:
    """E x² of one level at many steps, by the forms that nothing can upset."""
    return r.second_moments(steps)[0] + kick * kick_energy(r.q, r.m, steps)


def _decays(steps: FloatArray, rate: FloatArray, size: FloatArray) -> FloatArray:
    """Σ size · exp(rate t) at each step, leaving out what is below e^-46; steps increase."""
    order = np.argsort(rate, kind="stable")
    rate, size = rate[order], size[order]
    total = np.zeros(steps.size)
    for at in range(0, steps.size, _TIMES):
        t = steps[at : at + _TIMES, None]
        gone = int(np.searchsorted(rate, -2 * _FORGOTTEN / t[0, 0])) if t[0, 0] > 0 else 0
        for j in range(gone, rate.size, _BLOCK // _TIMES):
            part = slice(j, j + _BLOCK // _TIMES)
            with np.errstate(over="ignore", invalid="ignore"):
                power = t * rate[part]
                np.maximum(power, _CUT, out=power)
                total[at : at + _TIMES] += np.exp(power, out=power) @ size[part]
    return total


def _swings(steps: FloatArray, turn: FloatArray, even: FloatArray, odd: FloatArray) -> FloatArray:
    """Σ even cos² tθ + odd sin tθ cos tθ at each step, by the tangent, which numpy has fastest."""
    total = np.zeros(steps.size)
    for at in range(0, steps.size, _TIMES):
        t = steps[at : at + _TIMES, None]
        for j in range(0, turn.size, _BLOCK // _TIMES):
            part = slice(j, j + _BLOCK // _TIMES)
            tangent = t * turn[part]
            np.tan(tangent, out=tangent)
            cosine2 = tangent * tangent
            cosine2 += 1
            np.reciprocal(cosine2, out=cosine2)
            tangent *= cosine2
            total[at : at + _TIMES] += cosine2 @ even[part] + tangent @ odd[part]
    return total


def _near_critical(response: Response) -> NDArray[np.bool_]:
    """Where εh is so close to 2(1 + m) that K (1 - F) is ∞ · 0: `kick_energy` takes over there."""
    return np.asarray(response.flipped & (np.abs(response.folded) < 1e-6))


def check_batch_size(batch_size: ArrayLike) -> FloatArray:
    """Batch sizes as float64, refused unless every one is a whole number from 1 to 2⁵³."""
    rule = f"batch size must be a whole number, at least 1 and at most {MOST:,}"
    try:
        b = np.asarray(batch_size, dtype=np.float64)
    except OverflowError:
        raise ValueError(f"{rule}, got {shown(batch_size)}") from None
    legal = (b >= 1) & (b <= MOST) & (b == np.floor(b))
    if not legal.all():
        raise ValueError(f"{rule}, got {b[~legal].flat[0]}")
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
            `tuning.monotone_segments` gives them.

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
