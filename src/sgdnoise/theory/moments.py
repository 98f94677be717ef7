"""Exact first and second moments of SGD and heavy ball on a quadratic, at any step.

One eigen-direction with curvature h and additive gradient noise of variance σ² per step follows

    v' = m v - εh x - ε n,    x' = x + v',        E n = 0, E n² = σ², independent over steps,

PyTorch's heavy ball written in the last displacement v = -ε · buffer. Eliminating v gives
x'' = s x' - m x - ε n with s = 1 + m - εh, so everything follows from one sequence: U_t, the
response of x to a unit kick t steps ago, U_{-1} = 0, U_0 = 1, U_t = s U_{t-1} - m U_{t-2}. With
P = U_t, R = U_{t-1} and q = εh,

    A^t = [[P - mR, mR], [-qR, P - (1 - q)R]]                       on (x, v),
    N_t = Σ_{k<t} U_k² = K (1 - (P - mR)² - 2 q m PR / (1 + m)),    K = Σ_{k≥0} U_k²,
    Σ_{k<t} U_k U_{k-1} = (s N_t - PR) / (1 + m).

U_t itself is λ₁^t (1 - r^{t+1}) / (1 - r) with r = λ₂/λ₁ when the roots of λ² - sλ + m are real,
m^{t/2} sin((t+1)θ) / sin θ when they are complex; written with expm1 the first runs into its double
root without loss. These are the moments that Zhang et al. (2019) iterate step by step.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdnoise.theory.stability import check_momentum

FloatArray = NDArray[np.float64]

# Below this the bracket in N_t has lost five digits to cancellation, and doubling replaces it.
_CANCELLATION = 1e-5


@dataclass(frozen=True)
class Moments:
    """Mean and uncentred second moments of position x and displacement v, one array each.

    Attributes:
        x, v: E x and E v.
        xx, xv, vv: E x², E xv and E v².
    """

    x: FloatArray
    v: FloatArray
    xx: FloatArray
    xv: FloatArray
    vv: FloatArray

    @property
    def variance(self) -> FloatArray:
        """Variance of x. A difference: meaningless once it is far below E x²."""
        return self.xx - self.x**2


def check_steps(steps: ArrayLike) -> FloatArray:
    """Step counts as float64, refused unless they are whole numbers from 0 to 2**53."""
    t = np.asarray(steps, dtype=np.float64)
    legal = (t >= 0) & (t <= 2.0**53) & (t == np.floor(t))
    if not legal.all():
        raise ValueError(f"steps must be whole numbers, at least 0, got {t[~legal].flat[0]}")
    return t


class Response:
    """The sequence U_t for an array of settings, prepared once and then asked for at any t.

    With s folded onto s ≥ 0 (see `_fold`) every quantity is built from two sequences that need no
    case distinction afterwards: C = λ₂^t, Z = λ₁ U_{t-1} where the roots are real and
    C = m^{t/2} cos tθ, Z = m^{t/2} sin tθ / sin θ where they are complex. Then

        U_t = C + p Z,    m U_{t-1} = r Z,    U_t - m U_{t-1} = C + a Z

    with (p, r, a) = (1, λ₂, 1 - λ₂) or (cos θ, √m, cos θ - √m). None of it cancels, at the double
    roots (1 ∓ √m)² and at m = 0 included.

    Attributes:
        q, m: as given, broadcast.
        folded, flipped: q mapped onto s ≥ 0, and where that took the mirror image.
        real: where the roots are real.
    """

    def __init__(self, q: ArrayLike, momentum: ArrayLike) -> None:
        m = check_momentum(momentum)
        with np.errstate(divide="ignore"):
            half_log = np.where(m == 0, _NEVER, np.log(m) / 2)
        # Functions of m alone are taken before m is repeated along the directions.
        q, m, root_m, self.half_log_m = np.broadcast_arrays(
            np.asarray(q, dtype=np.float64), m, np.sqrt(m), half_log
        )
        self.q, self.m = q, m
        self.folded, self.flipped = _fold(q, m)
        below = (1 - m) ** 2 / (1 + root_m) ** 2 - self.folded
        discriminant = below * ((1 + root_m) ** 2 - self.folded)
        self.real = np.asarray(discriminant >= 0)
        width = np.sqrt(np.abs(discriminant))
        with np.errstate(all="ignore"):
            # λ₁ = 1 - δ₁ with δ₁ free of cancellation, so that λ₁^t keeps its digits at t = 10⁸.
            delta = 2 * self.folded / (1 - m + self.folded + width)
            slow = np.where(self.real, delta, 0.0)
            self.log_root = np.maximum(np.log1p(-slow), _NEVER)
            # sinh φ = (λ₁ - λ₂) / 2√m; the floor stands for the double root: C and Z stay exact.
            phi = np.clip(np.arcsinh(width / (2 * root_m)), 1e-150, -_NEVER)
            self.log_ratio = np.where(m == 0, _NEVER, np.where(self.real, -2 * phi, -1.0))
            self.unit = -1 / np.expm1(self.log_ratio)
            self.theta = np.where(self.real, 0.0, np.arctan2(width, 1 + m - self.folded))
            sine = np.where(self.real, 1.0, width / (2 * root_m))
            self.cosecant = 1 / sine
            root = 1 - slow
            fast = np.where(m == 0, 0.0, m / root)
            gap = (1 - m + self.folded + width) / 2
            cosine = (1 + m - self.folded) / (2 * root_m)
            self.p = np.where(self.real, 1.0, cosine)
            self.r = np.where(self.real, fast, root_m)
            self.a = np.where(self.real, gap, (1 - m - self.folded) / (2 * root_m))
            # Of the position after a start at rest, up to the sign (-1)^t: U_t - m U_{t-1} itself.
            self.start = np.where(self.flipped, self.p + self.r, self.a)
            self.leading = np.where(self.real, root, root_m)
        self._note_kinds()

    def __getitem__(self, key: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Response:
        """The same for some of the settings, along the first axis; nothing is computed anew."""
        part = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(part, name, value[key])
        part._note_kinds()
        return part

    def _note_kinds(self) -> None:
        self._all_real, self._any_real = bool(self.real.all()), bool(self.real.any())

    def at(self, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(C, Z) at step t, up to a common sign; t broadcasts against the settings."""
        with np.errstate(all="ignore"):
            if self._any_real:
                power = np.exp(np.maximum(steps * self.log_root, _GONE))
                lost = -np.expm1(steps * self.log_ratio)
                real = power * (1 - lost), power * lost * self.unit
                if self._all_real:
                    return real
            # cos and sin by the tangent: numpy's is ten times faster, and the sign is common.
            tangent = np.tan(steps * self.theta)
            power = np.exp(np.maximum(steps * self.half_log_m, _GONE))
            cosine = power / np.sqrt(1 + tangent * tangent)
            swing = cosine, cosine * tangent * self.cosecant
            if not self._any_real:
                return swing
            return np.where(self.real, real[0], swing[0]), np.where(self.real, real[1], swing[1])

    def second_moments(self, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(S, F): E x² at step t is x₀² S + ε²σ²K (1 - F), from rest at x₀, K `stationary_energy`.

        S is the squared mean response, F = (U_t - mU_{t-1})² + 2qm/(1 + m) U_t U_{t-1} the share
        of the stationary variance still to come. Both tend to 0 in a stable setting.
        """
        return self.second_moments_of(*self.at(steps))

    def second_moments_of(self, c: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`second_moments` of a pair that `at` has given."""
        with np.errstate(all="ignore"):
            mean = c + self.start * z
            folded_mean = c + self.a * z
            rest = (2 * self.folded / (1 + self.m)) * self.r
            return mean * mean, folded_mean * folded_mean + rest * (c + self.p * z) * z


_NEVER = -1e300
"""Stands for log 0, so that its product with t = 0 is 0 and not NaN."""

_GONE = -700.0
"""Where exponents are cut, e^-700 = 1e-304: below, float64 is subnormal and 200 times slower."""


def kick_response(
    q: ArrayLike, momentum: ArrayLike, steps: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """(U_t, U_{t-1}): what is left, t and t - 1 steps later, of a unit kick to the position.

    Args:
        q: εh, learning rate times curvature; beyond 2(1 + m) the response grows.
        momentum: m in [0, 1).
        steps: t, whole numbers from 0.

    Returns:
        Two arrays of the broadcast shape. Where an unstable setting leaves float64's range they
        are infinite or NaN.
    """
    return _pair(Response(q, momentum), check_steps(steps))


def _pair(response: Response, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    c, z = response.at(t)
    with np.errstate(all="ignore"):
        # `at` drops the sign of cos tθ, and where λ₁ = 0 all of the response comes in one step.
        sign = np.where(np.cos(t * response.theta) < 0, -1.0, 1.0)
        p = sign * (c + response.p * z)
        r = sign * np.where(response.leading == 0, t == 1, z / response.leading)
    odd = t % 2 == 1
    p = np.where(response.flipped & odd, -p, p)
    r = np.where(response.flipped & ~odd, -r, r)
    return p, r


def _fold(q: FloatArray, m: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """q mapped onto s ≥ 0, and where that took the mirror image 2(1 + m) - q.

    The mirror flips the sign of s, and with it only that of U_t at odd t. The order of the
    subtraction makes it exact near the critical value.
    """
    flipped = np.asarray(q > 1 + m)
    return np.where(flipped, (2 - q) + 2 * m, q), flipped


def kick_energy(q: ArrayLike, momentum: ArrayLike, steps: ArrayLike) -> FloatArray:
    """N_t = Σ_{k<t} U_k²: the variance of x in units of ε²σ², from a start without spread.

    In closed form; where that cancels (t short beside the relaxation time, or εh within rounding
    of its critical value) by repeated doubling of the same matrices, which does not.
    """
    return _energy(Response(q, momentum), check_steps(steps), 0.0)


def _energy(response: Response, t: FloatArray, enough: FloatArray | float) -> FloatArray:
    """N_t; doubled only where the closed form's error, rounding × K, may exceed `enough`."""
    rest = response.second_moments(t)[1]
    with np.errstate(all="ignore"):
        limit = stationary_energy(response.q, response.m)
        energy = np.asarray(limit * (1 - rest))
        cancelled = ~(np.abs(1 - rest) > _CANCELLATION) & (np.abs(rest) < 1e100)
        lost = cancelled & ~(np.abs(limit) * 1e-15 < enough)
    if lost.any():
        q, m, t = (np.broadcast_to(a, energy.shape)[lost] for a in (response.folded, response.m, t))
        energy[lost] = _energy_by_doubling(q, m, t)
    return energy


def stationary_energy(q: ArrayLike, momentum: ArrayLike) -> FloatArray:
    """K = Σ_{k≥0} U_k² = (1 + m) / ((1 - m) q (2(1 + m) - q)), for 0 < q < 2(1 + m).

    ε²σ²K is the stationary variance of heavy ball. Outside that range the sum diverges and the
    value, infinite or negative, is only good for continuing the closed form of N_t.
    """
    q, m = np.asarray(q, dtype=np.float64), check_momentum(momentum)
    with np.errstate(divide="ignore"):
        return np.asarray((1 + m) / ((1 - m) * q * ((2 - q) + 2 * m)))


def _energy_by_doubling(q: FloatArray, m: FloatArray, t: FloatArray) -> FloatArray:
    """N_t from the binary digits of t: S_{2k} = S_k + A^k S_k A^kᵀ, for q ≤ 1 + m."""
    one_step = np.moveaxis(np.array([[1 - q, m], [-q, m]]), -1, 0)
    kick = np.ones((q.size, 2, 2))
    power = np.broadcast_to(np.eye(2), (q.size, 2, 2))
    total = np.zeros((q.size, 2, 2))
    count = t.astype(np.int64)
    with np.errstate(all="ignore"):
        for bit in reversed(range(int(count.max(initial=0)).bit_length())):
            total = total + power @ total @ power.swapaxes(-1, -2)
            power = power @ power
            odd = ((count >> bit) & 1).astype(bool)[:, None, None]
            stepped = one_step @ total @ one_step.swapaxes(-1, -2) + kick
            total = np.where(odd, stepped, total)
            power = np.where(odd, one_step @ power, power)
    return np.asarray(total[:, 0, 0])


def moments(
    learning_rate: ArrayLike,
    curvature: ArrayLike,
    noise_variance: ArrayLike,
    steps: ArrayLike,
    momentum: ArrayLike = 0.0,
    *,
    start: Moments | float = 1.0,
) -> Moments:
    """Mean and second moments after `steps` updates, in closed form.

    Costs the same at 10 steps and at 10⁸. All arguments broadcast. Not for a noise that depends on
    x or is correlated between steps (`sde.reshuffled_law` has the latter).

    Args:
        learning_rate: ε.
        curvature: h of the direction, at least 0.
        noise_variance: σ², the variance of one minibatch gradient (per-example variance / B).
        steps: t, whole numbers from 0.
        momentum: m in [0, 1).
        start: moments before the first update; a number stands for a position, at rest and
            without spread. Carry the result of one call into the next for a piecewise constant
            learning rate, after `change_learning_rate`.

    Returns:
        Moments of the broadcast shape. Infinite or NaN where an unstable setting has left
        float64's range.
    """
    lr = np.asarray(learning_rate, dtype=np.float64)
    q = lr * np.asarray(curvature, dtype=np.float64)
    m = check_momentum(momentum)
    if not isinstance(start, Moments):
        at = np.float64(start)
        zero = np.zeros(())
        start = Moments(np.asarray(at), zero, np.asarray(at**2), zero, zero)
    kick = lr**2 * np.asarray(noise_variance, dtype=np.float64)
    q, m, t, _ = np.broadcast_arrays(q, m, check_steps(steps), kick * start.xx)
    response = Response(q, m)
    p, r = _pair(response, t)
    with np.errstate(all="ignore"):
        a, b = p - m * r, m * r
        c, d = -q * r, p - (1 - q) * r
        from_start = a * a * start.xx + 2 * a * b * start.xv + b * b * start.vv
        # Noise that is nothing beside what is left of the start need not have all its digits.
        energy = _energy(response, t, 1e-12 * from_start / kick)
        mean_xv = (q * energy + p * r) / (1 + m)
        mean_vv = 2 * q * energy / (1 + m) + r * (2 * p / (1 + m) - r)
        return Moments(
            x=a * start.x + b * start.v,
            v=c * start.x + d * start.v,
            xx=from_start + kick * energy,
            xv=a * c * start.xx + (a * d + b * c) * start.xv + b * d * start.vv + kick * mean_xv,
            vv=c * c * start.xx + 2 * c * d * start.xv + d * d * start.vv + kick * mean_vv,
        )


def change_learning_rate(state: Moments, factor: ArrayLike) -> Moments:
    """Moments just after the learning rate has been multiplied by `factor`.

    PyTorch's buffer keeps the sum of gradients, so the displacement v = -ε · buffer that the next
    step builds on is multiplied too. Without momentum it changes nothing that matters.
    """
    f = np.asarray(factor, dtype=np.float64)
    return Moments(state.x, f * state.v, state.xx, f * state.xv, f * f * state.vv)
