"""A random walk on a random potential: H17's model of the weights' distance from their start (§3).

The potential is Gaussian, with increments E (V(x) − V(y))² = |x − y|^α. To move by d the walker has
to climb about d^(α/2) against the temperature T, which takes a time exp(d^(α/2)/T), so that

    |x_t − x_0| ~ (T log t)^(2/α),    E |x_t − x_0|² ~ (T log t)^(4/α)

(H17 eq. 3, and the line below it): for any 0 < α < 2. At α = 2, the value that H17 finds, such a
potential is a plane of random slope: it has no barrier, and the walker slides off at a constant
speed.

On a line the potential is exact: fractional Brownian motion, at α = 1 with independent increments,
which is the walk of Sinai (1982). Its bonds carry V, and a step leads to the right with probability
1/(1 + exp(u/T)), u = V(right bond) − V(left bond), so that log(q/p) = u/T, as Sinai has it. In more
dimensions the potential is a sum of random waves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gamma

from sgdnoise.errors import InputError, shown
from sgdnoise.jit import compiled
from sgdnoise.theory.stability import check_count, check_positive

FloatArray = NDArray[np.float64]

SINAI_SECOND_MOMENT = 61 / 45
"""lim E x_t² / (T log t)⁴ at α = 1, of the law that Kesten and Golosov found in 1986."""


def check_alpha(alpha: object) -> float:
    """α as a number, refused unless it lies in (0, 2].

    Raises:
        InputError: for what is no number; for an α at which barriers do not grow with distance, or
            with which no potential has increments.
    """
    legal = isinstance(alpha, int | float | np.number) and not isinstance(alpha, bool)
    if legal and 0 < alpha <= 2:  # type: ignore[operator]
        return float(alpha)  # type: ignore[arg-type]
    if not legal or np.isnan(alpha):  # type: ignore[call-overload]
        reason = " and be a number"
    elif alpha <= 0:  # type: ignore[operator]
        reason = ", because barriers grow with distance only for an alpha above 0"
    else:
        reason = ", because no potential has increments that grow as a larger power of distance"
    raise InputError(
        f"alpha must lie in (0, 2]{reason}, got {shown(alpha)}: choose 1 for Sinai's walk"
    )


def _check_rough(alpha: object) -> float:
    """α as a number, refused unless it lies in (0, 2).

    Raises:
        InputError: no potential has such increments, or none that is made of waves.
    """
    alpha = check_alpha(alpha)
    if alpha == 2:
        raise InputError("alpha 2 is a plane, which has no waves: choose an alpha below 2")
    return alpha


def _check_times(times: ArrayLike) -> NDArray[np.int64]:
    """Times as an array, refused unless they are whole numbers that rise from 1 or more.

    Raises:
        ValueError: for others, or none; compiled loops would read outside of their arrays.
    """
    wanted = np.asarray(times, dtype=np.float64)
    legal = wanted.ndim == 1 and wanted.size > 0 and np.all(np.abs(wanted) <= 2**53)
    if not legal or np.any(np.diff(wanted, prepend=0) < 1) or np.any(wanted % 1):
        raise ValueError(
            "times must be whole numbers of steps, rising from 1 or more, "
            f"got {shown(wanted.tolist())}"
        )
    return wanted.astype(np.int64)


def increments(alpha: float, count: int, potentials: int, rng: np.random.Generator) -> FloatArray:
    """V(x + 1) − V(x) of potentials on a line, shape (potentials, count), each of variance 1.

    Fractional Gaussian noise, of exact covariance ½(|k+1|^α − 2|k|^α + |k−1|^α), by embedding it in
    a circulant matrix (Davies and Harte 1987).

    Raises:
        InputError: for an α outside (0, 2].
        ValueError: for counts below 1.
    """
    alpha = check_alpha(alpha)
    check_count("count", count)
    check_count("potentials", potentials)
    if alpha == 1:
        return rng.standard_normal((potentials, count))
    if alpha == 2:
        return np.repeat(rng.standard_normal((potentials, 1)), count, axis=1)
    k = np.arange(count + 1.0)
    covariance = ((k + 1) ** alpha - 2 * k**alpha + np.abs(k - 1) ** alpha) / 2
    circle = np.concatenate([covariance, covariance[-2:0:-1]])
    # Never negative but for rounding, for this covariance.
    power = np.maximum(np.fft.fft(circle).real, 0)
    shape = (potentials, circle.size)
    draws = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    noise = np.fft.fft(np.sqrt(power / circle.size) * draws, axis=1)
    return np.ascontiguousarray(noise.real[:, :count])


def _right(u: FloatArray, temperature: float) -> FloatArray:
    """The probability of a step to the right at each site; the ends reflect."""
    right = 1 / (1 + np.exp(np.minimum(u / temperature, 700.0)))
    right[..., 0], right[..., -1] = 1.0, 0.0
    return np.ascontiguousarray(right)


@dataclass(frozen=True)
class Walk:
    """Walkers on potentials of their own.

    Attributes:
        times: steps, shape (times,).
        squares: mean of (x_t − x_0)² over the walkers of each potential, shape (potentials, times).
        at_end: share of the walkers that ever met an end of the lattice.
    """

    times: NDArray[np.int64]
    squares: FloatArray
    at_end: float

    @property
    def rms(self) -> FloatArray:
        """Root mean square distance over all potentials, shape (times,)."""
        return np.asarray(np.sqrt(self.squares.mean(axis=0)))

    def groups(self, count: int) -> FloatArray:
        """The rms distance of so many groups of potentials, shape (count, times)."""
        parts = np.array_split(self.squares, count)
        return np.stack([np.sqrt(part.mean(axis=0)) for part in parts])


def log_times(first: int, last: int, count: int) -> NDArray[np.int64]:
    """About `count` whole numbers of steps, evenly spaced in their logarithm.

    All even: a walk on a line is at an even distance then.
    """
    times = np.round(np.geomspace(first, last, count) / 2).astype(np.int64) * 2
    return np.unique(np.maximum(times, 2))


def walk(
    alpha: float,
    temperature: float,
    times: ArrayLike,
    *,
    potentials: int,
    walkers: int = 1,
    reach: int = 4096,
    seed: int = 0,
) -> Walk:
    """Walks on a line, step by step, each potential with so many walkers from its middle.

    10⁸ steps of walkers take about a second on one core.

    Args:
        alpha: exponent of the potential's increments, in (0, 2].
        temperature: T, in units of the potential's change from one site to the next.
        times: whole numbers of steps, rising, from 1.
        potentials: how many are drawn.
        walkers: on each of them.
        reach: sites to either side of the start; see `Walk.at_end`.
        seed: of potentials and steps.

    Raises:
        InputError: for an α outside (0, 2].
        ValueError: for a temperature that is not positive, other numbers below 1, or times that do
            not rise.
    """
    alpha, t = check_alpha(alpha), float(check_positive("temperature", temperature))
    check_count("potentials", potentials)
    check_count("walkers", walkers)
    check_count("reach", reach)
    wanted = _check_times(times)
    rng = np.random.default_rng([seed, round(1000 * alpha), round(1e6 * t)])
    squares, met, block = np.empty((potentials, wanted.size)), 0, max(1, 2**22 // (2 * reach + 1))
    for first in range(0, potentials, block):
        some = min(block, potentials - first)
        right = _right(increments(alpha, 2 * reach + 1, some, rng), t)
        seeds = rng.integers(1, 2**63, size=(some, walkers), dtype=np.uint64)
        met += int(_steps(right, seeds, wanted, squares[first : first + some]))
    return Walk(wanted, squares, met / (potentials * walkers))


@compiled()
def _steps(
    right: FloatArray, seeds: NDArray[np.uint64], times: NDArray[np.int64], squares: FloatArray
) -> int:
    """Walks of all walkers; fills `squares`, and gives the number that met an end."""
    middle, last, met = right.shape[1] // 2, right.shape[1] - 1, 0
    for k in range(right.shape[0]):
        chance = right[k]
        squares[k, :] = 0.0
        for w in range(seeds.shape[1]):
            state, x, step, ended = seeds[k, w], middle, 0, False
            for i in range(times.size):
                while step < times[i]:
                    # xorshift64* (Vigna 2016): its upper 53 bits are a uniform number.
                    state ^= state >> np.uint64(12)
                    state ^= state << np.uint64(25)
                    state ^= state >> np.uint64(27)
                    draw = (state * np.uint64(2685821657736338717)) >> np.uint64(11)
                    x += 2 * int(draw * (1.0 / 9007199254740992.0) < chance[x]) - 1
                    ended = ended or x == 0 or x == last
                    step += 1
                squares[k, i] += float((x - middle) ** 2) / seeds.shape[1]
            met += ended
    return met


def exact_squares(u: FloatArray, temperature: float, doublings: int) -> FloatArray:
    """E (x_t − x_0)² on given potentials at t = 2, 4, 8, …, with no random numbers.

    The chance to get from one site to another in two steps is squared, as a matrix, again and
    again. Only sites at an even distance are met then. Nothing is ever subtracted, so that chances
    of 10⁻³⁰⁰ keep their digits; the error doubles with t, and is about 10⁻⁴ at 10¹².

    Args:
        u: the potentials' increments, shape (potentials, sites), 4 k + 1 sites; walks start in the
            middle.
        temperature: T.
        doublings: how many times, t = 2^1 … 2^doublings.

    Returns:
        Shape (potentials, doublings).

    Raises:
        ValueError: for a temperature that is not positive, or fewer doublings than one.
    """
    check_positive("temperature", temperature)
    check_count("doublings", doublings)
    u = np.asarray(u, dtype=np.float64)
    # 1 − right would lose the digits of what is small.
    right, left = _right(u, temperature), _right(-u[:, ::-1], temperature)[:, ::-1]
    even = np.arange(0, right.shape[1], 2)
    to = np.zeros((len(right), even.size, even.size))
    here = np.arange(even.size)
    up, down = right[:, even], left[:, even]
    to[:, here[:-1], here[1:]] = up[:, :-1] * right[:, 1::2]
    to[:, here[1:], here[:-1]] = down[:, 1:] * left[:, 1::2]
    to[:, here[:-1], here[:-1]] += up[:, :-1] * left[:, 1::2]
    to[:, here[1:], here[1:]] += down[:, 1:] * right[:, 1::2]
    middle = even.size // 2
    distance = (even - even[middle]) ** 2.0
    found = []
    for doubling in range(doublings):
        if doubling:
            to = to @ to
            to /= to.sum(axis=2, keepdims=True)
        found.append(to[:, middle] @ distance)
    return np.stack(found, axis=1)


# --- More dimensions --------------------------------------------------------------------------

FEATURES = 256
"""Waves of a random potential, unless told otherwise."""

LOWEST, HIGHEST = 2.0**-10, 2.0**10
"""Bounds of the waves' inverse lengths: increments grow as |r|^α well between their inverses."""


@dataclass(frozen=True)
class Waves:
    """A Gaussian potential in D dimensions, nearly: V(w) = Σ a_j (cos(k_j · w + φ_j) − cos φ_j).

    Attributes:
        k: wave vectors, shape (features, D).
        phase: φ, shape (features,).
        amplitude: a, shape (features,).
    """

    k: FloatArray
    phase: FloatArray
    amplitude: FloatArray

    def __call__(self, w: FloatArray) -> FloatArray:
        """V at points of shape (…, D)."""
        return np.asarray((np.cos(w @ self.k.T + self.phase) - np.cos(self.phase)) @ self.amplitude)


def waves(
    alpha: float, dimensions: int, rng: np.random.Generator, features: int = FEATURES
) -> Waves:
    """A potential with E (V(w₁) − V(w₂))² = |w₁ − w₂|^α, as far as its waves' lengths reach.

    k = s g with g standard normal and s evenly spread in its logarithm; a² ∝ s^(−α) makes that
    power of the transform of a normal (`wave_increments`).

    Raises:
        InputError: for an α outside (0, 2), the plane of α = 2 having no waves.
        ValueError: for counts below 1.
    """
    alpha = _check_rough(alpha)
    check_count("dimensions", dimensions)
    check_count("features", features)
    octaves = np.log(HIGHEST / LOWEST)
    s = LOWEST * np.exp(octaves * (np.arange(features) + rng.random(features)) / features)
    k = s[:, None] * rng.standard_normal((features, dimensions))
    amplitude = np.sqrt(octaves * s**-alpha / (_transform(alpha) * features))
    return Waves(k, rng.uniform(0, 2 * np.pi, features), amplitude)


def _transform(alpha: float) -> float:
    """c of ∫ (1 − exp(−s² r²/2)) s^(−1−α) ds = c r^α, over all s > 0."""
    return float(gamma(1 - alpha / 2) / alpha * 2 ** (-alpha / 2))


def wave_increments(alpha: float, distance: ArrayLike) -> FloatArray:
    """E (V(w₁) − V(w₂))² of `waves` at a distance, by quadrature: r^α but for the ends' part.

    Raises:
        InputError: for an α outside (0, 2).
    """
    alpha = _check_rough(alpha)
    r = np.atleast_1d(np.asarray(distance, dtype=np.float64))
    log = np.linspace(np.log(LOWEST), np.log(HIGHEST), 20_001)
    kept = 1 - np.exp(-((np.exp(log) * r[:, None]) ** 2) / 2)
    return np.asarray(np.trapezoid(kept * np.exp(-alpha * log), log, axis=1) / _transform(alpha))


def field_walk(
    alpha: float,
    temperature: float,
    times: ArrayLike,
    *,
    dimensions: int,
    potentials: int,
    stride: float = 1.0,
    seed: int = 0,
) -> Walk:
    """Metropolis walks in D dimensions, each on a potential of its own.

    A step is proposed along a normal vector of root mean square length `stride`, and taken with
    probability min(1, exp(−ΔV/T)).

    Raises:
        InputError: for an α outside (0, 2).
        ValueError: for a temperature or a stride that is not positive, numbers below 1, or times
            that do not rise.
    """
    alpha = _check_rough(alpha)
    t = float(check_positive("temperature", temperature))
    check_positive("stride", stride)
    check_count("dimensions", dimensions)
    check_count("potentials", potentials)
    wanted = _check_times(times)
    rng = np.random.default_rng([seed, dimensions])
    squares = np.empty((potentials, wanted.size))
    for k in range(potentials):
        field = waves(alpha, dimensions, rng)
        moves = rng.standard_normal((int(wanted[-1]), dimensions)) * (stride / np.sqrt(dimensions))
        bounds = -np.log1p(-rng.random(int(wanted[-1])))
        _metropolis(field.k, field.phase, field.amplitude / t, moves, bounds, wanted, squares[k])
    return Walk(wanted, squares, 0.0)


@compiled()
def _metropolis(
    k: FloatArray,
    phase: FloatArray,
    amplitude: FloatArray,
    moves: FloatArray,
    bounds: FloatArray,
    times: NDArray[np.int64],
    squares: FloatArray,
) -> None:
    """One walk; a move is made where V/T rises by less than its exponential bound."""
    features, dimensions = k.shape
    w, new = np.zeros(dimensions), np.zeros(dimensions)
    here = (amplitude * np.cos(phase)).sum()
    step = 0
    for i in range(times.size):
        while step < times[i]:
            for j in range(dimensions):
                new[j] = w[j] + moves[step, j]
            there = 0.0
            for f in range(features):
                angle = phase[f]
                for j in range(dimensions):
                    angle += k[f, j] * new[j]
                there += amplitude[f] * np.cos(angle)
            if there - here <= bounds[step]:
                w[:] = new
                here = there
            step += 1
        squares[i] = (w * w).sum()
