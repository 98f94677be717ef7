"""Numbers of the chapter on random walks: distances that grow slowly, for four different reasons.

The walk on a random potential is simulated (`sgdnoise.theory.random_walk`). Beside it stand three
that have no potential: free diffusion, growth as t^¼ (the law of scale-invariant weights under
noise alone, whose step shrinks as they grow), and gradient descent on separable logistic
regression, which has no noise either.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from sgdnoise.theory import growth, random_walk

FloatArray = NDArray[np.float64]

ALPHAS = (0.5, 1.0, 1.5, 2.0)
TEMPERATURES = (0.25, 0.5, 1.0, 2.0)
FIRST, LAST = 10, 30_000
"""Steps between which walks are looked at; a law is fitted to the last factor of 100."""

WINDOW = 100
DECADES = 4
"""Before the last step, of which walks are looked at eight times in each."""

START = (1.0, 0.5)
"""α and T of the first figure's first position."""

LAW_START = (0.5, 0.25)
"""α and T where the figure of the law opens: barriers, and a walk far from its law."""

QUARTER = "t<sup>1/4</sup>"
"""As text of pages and figures has it."""


@cache
def walked(alpha: float, temperature: float) -> random_walk.Walk:
    """800 walkers on 400 potentials; at α = 2 the exact law of a walk on a plane."""
    # Whole decades back from the end, so that windows of 10, 100 and 1,000 are just that.
    times = random_walk.log_times(LAST // 10**DECADES, LAST, 8 * DECADES + 1)
    times = times[times >= FIRST]
    if alpha < 2:
        return random_walk.walk(
            alpha, temperature, times, potentials=400, walkers=2, reach=2048, seed=3
        )
    # A plane has one slope u ~ N(0, 1), and its walk the drift tanh(u/2T).
    u, weight = np.polynomial.hermite_e.hermegauss(120)
    drift = np.tanh(u / (2 * temperature)) ** 2
    t = times.astype(np.float64)
    squares = (t[:, None] ** 2 * drift + t[:, None] * (1 - drift)) @ (weight / weight.sum())
    return random_walk.Walk(times, squares[None, :], 0.0)


@dataclass(frozen=True)
class Powers:
    """Powers through the walk's rms distance over the window, beside its law's.

    Attributes:
        of_log, of_time: q of (log t)^q and p of t^p, by a line in logarithms.
        log_misfit, time_misfit: by what share of itself the distance is off each, the rms over the
            window. Both laws have two parameters, so the smaller one fits better.
        law: 2/α, which is q in the long run.
    """

    of_log: float
    of_time: float
    log_misfit: float
    time_misfit: float
    law: float

    @property
    def log_leads(self) -> bool:
        """Whether the power of log t is nearer to the walk than the power of t."""
        return self.log_misfit < self.time_misfit

    @property
    def share(self) -> float:
        """What is read off, over the law's."""
        return self.of_log / self.law


def powers(alpha: float, temperature: float) -> Powers:
    """The powers of a walk over its last factor of 100."""
    path = walk_path(alpha, temperature)
    return Powers(*powers_of(path), *misfits_of(path), 2 / alpha)


def powers_of(path: Path) -> tuple[float, float]:
    """q of (log t)^q and p of t^p through a distance, by a line in logarithms."""
    (q, _), (p, _) = (_power_through(path, x) for x in _clocks(path))
    return q, p


def misfits_of(path: Path) -> tuple[float, float]:
    """By what share of itself the distance is off (log t)^q and t^p, the rms over its points."""
    (_, by_log), (_, by_time) = (_power_through(path, x) for x in _clocks(path))
    return by_log, by_time


def _clocks(path: Path) -> tuple[FloatArray, FloatArray]:
    log_t = np.log(path.time)
    return np.log(log_t), log_t


def _power_through(path: Path, x: FloatArray) -> tuple[float, float]:
    """Slope of the logarithm of the distance over x, and the rms of what is left."""
    log_distance = np.log(path.distance)
    line = np.polyfit(x, log_distance, 1)
    rest = log_distance - np.polyval(line, x)
    return float(line[0]), float(np.sqrt((rest**2).mean()))


@cache
def convex_draws() -> tuple[FloatArray, FloatArray]:
    """H17's appendix B on a convex loss: distances z and changes of the loss.

    Softmax regression on scikit-learn's digits, about weights drawn as a net's are; 1,000 draws
    w₀ + z v, z uniform up to 10 and v a random direction. No part of this loss is random.
    """
    from sgdnoise.data import registry

    data = registry.load("digits")
    images = data.train_images.numpy().reshape(len(data.train_labels), -1) / data.scale
    x, labels = np.hstack([images, np.ones((len(images), 1))]), data.train_labels.numpy()
    rng = np.random.default_rng(17)
    start = rng.standard_normal((x.shape[1], len(data.classes))) * np.sqrt(2 / x.shape[1])
    here, z = x @ start, rng.uniform(0, 10, 1000)

    def loss(logits: FloatArray) -> float:
        return float((logsumexp(logits, axis=1) - logits[np.arange(len(x)), labels]).mean())

    changes = []
    for distance in z:
        v = rng.standard_normal(start.shape)
        changes.append(loss(here + x @ (distance * v / np.linalg.norm(v))) - loss(here))
    return z, np.array(changes)


@dataclass(frozen=True)
class Path:
    """A distance over time, and what is said of it.

    Attributes:
        name, short: what grows, in words and in a word or two.
        time, distance: over the window of the fit.
    """

    name: str
    short: str
    time: FloatArray
    distance: FloatArray

    @property
    def rising(self) -> FloatArray:
        """The distance from 0 at the window's start to 1 at its end."""
        d = self.distance - self.distance[0]
        return np.asarray(d / d[-1])

    @property
    def log(self) -> growth.Growth:
        """The law a + b log t."""
        return growth.log_law(self.time, self.distance)

    @property
    def power(self) -> growth.Growth:
        """The law c t^p."""
        return growth.power_law(self.time, self.distance)

    @property
    def lead(self) -> float:
        """ΔAIC, positive where log t fits better."""
        return growth.lead_of_log(self.time, self.distance)

    @property
    def free(self) -> float:
        """p of a + b t^p."""
        return growth.free_power(self.time, self.distance)


def walk_path(alpha: float, temperature: float, window: float = WINDOW) -> Path:
    """The rms distance of the walk on a random potential."""
    walk = walked(alpha, temperature)
    keep = walk.times >= LAST / window
    name = f"walk on a random potential, α = {alpha:g}, T = {temperature:g}"
    return Path(name, "random potential", walk.times[keep].astype(float), walk.rms[keep])


def other_paths(window: float = WINDOW) -> tuple[Path, ...]:
    """t^¼, separable logistic regression and free diffusion, at the walk's times."""
    time = walk_path(1.0, 1.0, window).time
    logistic = growth.separable_logistic_ode(1.0, 0.1, time)
    return (
        Path(f"{QUARTER}: scale-invariant weights under noise", QUARTER, time, time**0.25),
        Path("separable logistic regression, no noise", "logistic", time, logistic),
        Path("free diffusion, √t", "√t", time, time**0.5),
    )


DENSE = 200


def on_a_grid(power: float) -> float:
    """R² of a line in log t through t^power over the window, at 200 points evenly spaced in log t.

    The few points at which the walk is looked at give the ends more weight.
    """
    t = np.geomspace(1, WINDOW, DENSE)
    return growth.log_law(t, t**power).r_squared


SINAI_TEMPERATURE = 0.25
POTENTIALS, SITES, DOUBLINGS = 200, 257, 27
"""Of the exact walk. Later the walkers feel the ends of the line, which hold them back: beside 513
sites, on 400 potentials, that is 3 % of E x² at the last doubling, and 14 % six doublings on."""


@cache
def sinai() -> tuple[FloatArray, FloatArray, FloatArray]:
    """t = 2, 4, 8, … and E x² at α = 1 over its limit 61/45 (T log t)⁴, with its standard error.

    On each of 200 potentials E x² is exact; mean and error are over the potentials.
    """
    u = random_walk.increments(1.0, SITES, POTENTIALS, np.random.default_rng(11))
    time = np.exp2(np.arange(1.0, DOUBLINGS + 1))
    limit = random_walk.SINAI_SECOND_MOMENT * (SINAI_TEMPERATURE * np.log(time)) ** 4
    over = random_walk.exact_squares(u, SINAI_TEMPERATURE, DOUBLINGS) / limit
    return time, over.mean(axis=0), over.std(axis=0, ddof=1) / np.sqrt(POTENTIALS)


DIMENSIONS = (2, 16)
FIELD_TEMPERATURES = (0.1, 1.0)


@cache
def field(dimensions: int, temperature: float) -> random_walk.Walk:
    """40 walks on fields of waves with α = 1, each step proposed of length 1."""
    times = np.unique(np.round(np.geomspace(2, 2000, 13)).astype(int))
    return random_walk.field_walk(
        1.0, temperature, times, dimensions=dimensions, potentials=40, seed=2
    )


MARGINS = (0.5, 1.0, 2.0)


@cache
def logistic(margin: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Steps, weights by the recursion, and by the closed form, at ε = 0.1."""
    times = np.unique(np.round(np.geomspace(1, 30_000, 25)).astype(int))
    return (
        times.astype(float),
        growth.separable_logistic([margin], 0.1, times),
        growth.separable_logistic_ode(margin, 0.1, times),
    )
