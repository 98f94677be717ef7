"""Numbers of the chapter on temperature: two valleys, one bowl, and the noise of real minibatches.

The two valleys are a loss in one dimension with a narrow and a wide minimum of equal depth: where
runs end there is a law that is not Gaussian, so that equal temperature has something to prove. The
bowl ½ h x² has every law in closed form (`sgdnoise.theory.sde`). The minibatches are of softmax
regression on scikit-learn's digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.special import softmax

from sgdnoise.theory import sde
from sgdnoise.theory.stability import critical_learning_rate

FloatArray = NDArray[np.float64]

# --- Two valleys -----------------------------------------------------------------------------

NARROW, WIDE = 4.0, 1.0
"""Curvatures of the valleys, whose bottoms lie at -1 and +1."""

ROUNDING = 0.25
"""How far the ridge between them is rounded, in units of the loss."""

NOISE_VARIANCE = 25.0
"""Per-example gradient variance c."""

EXAMPLES = 2304
"""Examples that every run sees, whatever its batch size: the epoch budget."""

LEARNING_RATES = tuple(2.0**-k for k in range(6, 0, -1))
BATCH_SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
REFERENCE = (2.0**-5, 2)
"""The learning rate and batch size that the figure keeps for comparison."""

CRITICAL = float(critical_learning_rate(NARROW))
"""Where the narrow valley stops holding gradient descent: 2/4."""

RUNS = 2000


def valleys_loss(x: FloatArray) -> FloatArray:
    """A soft minimum of the parabolas ½·4(x + 1)² and ½·1(x - 1)²: two valleys, equally deep.

    Far out it grows as the wide parabola does, so that no learning rate below 2 runs away.
    """
    a, b = NARROW * (x + 1) ** 2 / 2, WIDE * (x - 1) ** 2 / 2
    return np.asarray(-ROUNDING * np.logaddexp(-a / ROUNDING, -b / ROUNDING))


def valleys_gradient(x: FloatArray) -> FloatArray:
    """Derivative of `valleys_loss`."""
    a, b = NARROW * (x + 1) ** 2 / 2, WIDE * (x - 1) ** 2 / 2
    narrow = (1 + np.tanh((b - a) / (2 * ROUNDING))) / 2
    return np.asarray(narrow * NARROW * (x + 1) + (1 - narrow) * WIDE * (x - 1))


@cache
def ridge() -> float:
    """Where the loss between the valleys is highest."""
    x = np.linspace(-1, 1, 200_001)
    return float(x[np.argmax(valleys_loss(x))])


@cache
def valley_runs(learning_rate: float, batch_size: int) -> FloatArray:
    """Where 2,000 runs of SGD end that start in the narrow valley and see the same examples."""
    rng = np.random.default_rng([round(1 / learning_rate), batch_size])
    return sde.simulate_sgd(
        valleys_gradient,
        np.full(RUNS, -1.0),
        learning_rate=learning_rate,
        batch_size=batch_size,
        steps=EXAMPLES // batch_size,
        rng=rng,
        noise_std=NOISE_VARIANCE**0.5,
    )


def share_in_wide(positions: FloatArray) -> float:
    """Share of runs beyond the ridge, between 0 and 1."""
    return float(np.mean(positions > ridge()))


@cache
def sde_law(temperature: float, time: float) -> tuple[FloatArray, FloatArray]:
    """Law of dx = -C'(x) dt + √(Tc) dW in the two valleys at a time, started at x = -1.

    Solves the Fokker–Planck equation on 700 cells by finite volumes whose rates keep the
    Boltzmann law exp(-2C/Tc) exactly; similarity to a symmetric tridiagonal matrix gives it at any
    time from one eigendecomposition. An answer with no random numbers and no learning rate in it.

    Args:
        temperature: T.
        time: learning rate × steps, here T × examples seen.

    Returns:
        Centres of the cells, evenly spaced, and the probability of each.
    """
    x, width = np.linspace(-5.0, 9.0, 700, endpoint=False, retstep=True)
    x = x + (-1.0 - x[np.argmin(np.abs(x + 1))])  # one cell has its centre at the start
    spread = temperature * NOISE_VARIANCE / 2
    potential = valleys_loss(x) / spread
    rate = spread / width**2
    uphill = np.diff(potential) / 2
    out = np.zeros_like(x)
    out[:-1] += rate * np.exp(-uphill)
    out[1:] += rate * np.exp(uphill)
    values, vectors = eigh_tridiagonal(-out, np.full(x.size - 1, rate))
    start = int(np.argmin(np.abs(x + 1)))
    # The start lies at the bottom, so no other cell's weight √π exceeds its own: nothing overflows.
    weight = np.exp(-(potential - potential[start]) / 2)
    return x, weight * (vectors @ (np.exp(values * time) * vectors[start]))


def sde_share_in_wide(temperature: float, time: float) -> float:
    """Share that the SDE puts beyond the ridge at that time."""
    x, probability = sde_law(temperature, time)
    return float(probability[x > ridge()].sum())


@dataclass(frozen=True)
class Escape:
    """Where the runs of one setting end up, beside the SDE at its temperature.

    Attributes:
        learning_rate, batch_size, temperature: ε, B and ε/B.
        of_critical: ε over the critical learning rate of the narrow valley.
        share, error: share of runs in the wide valley and its binomial standard error.
        sde_share: what the SDE says.
    """

    learning_rate: float
    batch_size: int
    temperature: float
    of_critical: float
    share: float
    error: float
    sde_share: float


@cache
def escapes() -> tuple[Escape, ...]:
    """All settings of the sliders."""
    rows = []
    for lr in LEARNING_RATES:
        for b in BATCH_SIZES:
            t = float(sde.temperature(lr, b))
            share = share_in_wide(valley_runs(lr, b))
            expected = sde_share_in_wide(t, t * EXAMPLES)
            # Of the SDE's share: an observed share of 0 would claim no error at all.
            error = float(np.sqrt(max(expected * (1 - expected), 1 / RUNS) / RUNS))
            rows.append(Escape(lr, b, t, lr / CRITICAL, share, error, expected))
    return tuple(rows)


def one_curve() -> tuple[float, float]:
    """Up to which learning rate all settings are the SDE's, and the first at which some are not.

    A setting is the SDE's if its share is within three standard errors.

    Raises:
        ValueError: if the smallest learning rate already differs, or if none does.
    """
    apart = {r.learning_rate for r in escapes() if abs(r.share - r.sde_share) >= 3 * r.error}
    first = min(apart, default=None)
    alike = [lr for lr in LEARNING_RATES if first is not None and lr < first]
    if first is None or not alike:
        raise ValueError("the settings do not divide into alike and apart")
    return max(alike), first


# --- One bowl --------------------------------------------------------------------------------

BOWL_NOISE = 8.0
"""Per-example gradient variance c in the bowl ½ x²."""

BOWL_EPOCH, BOWL_EPOCHS, BOWL_START = 256, 2, 2.0
BOWL_LEARNING_RATES = tuple(2.0**-k for k in range(6, -1, -1))
BOWL_BATCH_SIZES = (4, 8, 16, 32, 64, 128)


SCALING_BASE = 2.0**-10
SCALING_STEPS = 3 * 2**10
SCALING_NOISE = 256.0
"""Per-example gradient variance c, for batch sizes from 1."""

SCALING_FACTORS = (*(2.0**k for k in range(11)), 1.5 * 2**10)


@cache
def scaling_runs() -> tuple[sde.ScaledRun, ...]:
    """ε and B multiplied by one factor up to the critical learning rate, three relaxation times."""
    return tuple(
        sde.linear_scaling(
            SCALING_BASE,
            1,
            SCALING_STEPS,
            SCALING_FACTORS,
            noise_variance=SCALING_NOISE,
            start=BOWL_START,
        )
    )


def deviation(mean: float, second_moment: float) -> float:
    return float(np.sqrt(max(second_moment - mean**2, 0)))


@dataclass(frozen=True)
class Order:
    """How an error shrinks with the learning rate: error ∝ (ε/ε_crit)^slope where ε is small."""

    name: str
    of_critical: FloatArray
    error: FloatArray
    slope: float
    at_half: float
    """The error at half of the critical learning rate."""


@cache
def scaling_orders() -> tuple[Order, ...]:
    """Measured order of the error of linear scaling, for three quantities."""
    runs = scaling_runs()
    x = np.array([r.of_critical for r in runs])
    long_run = sde.stationary_variance(
        [r.learning_rate for r in runs], 1.0, SCALING_NOISE, [r.batch_size for r in runs]
    )
    settled = sde.sde_variance(1.0, SCALING_NOISE, runs[0].temperature)
    errors = {
        "E x² after very long": long_run / settled - 1,
        "E x² at the end": np.array([r.second_moment / r.sde_second_moment - 1 for r in runs]),
        "E x at the end": np.array([r.mean / r.sde_mean - 1 for r in runs]),
    }
    orders = []
    for name, error in errors.items():
        size = np.abs(error)
        few = x < 0.02
        slope = float(np.polyfit(np.log(x[few]), np.log(size[few]), 1)[0])
        orders.append(Order(name, x, size, slope, float(size[np.argmin(np.abs(x - 0.5))])))
    return tuple(orders)


# --- Independent and reshuffled batches ------------------------------------------------------

SAMPLED_EXAMPLES = 64
SAMPLED_BATCH_SIZES = (1, 2, 4, 8, 16, 32)
SAMPLED_LEARNING_RATES = tuple(2.0**-k for k in range(7, -1, -1))


@cache
def two_samplings(learning_rate: float, batch_size: int) -> dict[sde.Sampling, FloatArray]:
    """Positions of 4,000 runs at the end of their twelfth epoch, by the way batches are drawn."""
    examples = np.random.default_rng(5).standard_normal(SAMPLED_EXAMPLES)
    examples = (examples - examples.mean()) / examples.std(ddof=1)
    ends: dict[sde.Sampling, FloatArray] = {}
    for k, sampling in enumerate(("independent", "reshuffle")):
        ends[sampling] = sde.simulate_sgd(  # type: ignore[index]
            lambda x: x,
            np.zeros(4000),
            learning_rate=learning_rate,
            batch_size=batch_size,
            steps=12 * SAMPLED_EXAMPLES // batch_size,
            rng=np.random.default_rng(k),
            examples=examples,
            sampling=sampling,  # type: ignore[arg-type]
        )
    return ends


# --- The noise of real minibatches -----------------------------------------------------------


@dataclass(frozen=True)
class Noise:
    """Minibatch noise of softmax regression on digits, at one batch size.

    Attributes:
        batch_size: B.
        measured: trace of the covariance of the minibatch gradient over drawn batches.
        error: its standard error.
        centred: (1/B - 1/N) × trace of the per-example covariance, divisor N - 1.
        unlimited: 1/B × the same: no correction for the finite set.
        fisher: 1/B × mean squared norm of the per-example gradients, the empirical Fisher.
    """

    batch_size: int
    measured: float
    error: float
    centred: float
    unlimited: float
    fisher: float


@dataclass(frozen=True)
class Lag:
    """Correlation of the noise of two steps, averaged over drawn epochs; of a step with itself: 1.

    Attributes:
        next_independent, next_reshuffled: of a step with the next.
        expected_reshuffled: -1/(n - 1) with n steps an epoch.
    """

    next_independent: float
    next_reshuffled: float
    expected_reshuffled: float


@cache
def digits_gradients(steps: int) -> FloatArray:
    """Per-example gradients of softmax regression on the digits' training set, shape (N, 650).

    Taken after that many steps of full-batch gradient descent from zero at learning rate 0.5.
    """
    from sgdnoise.data import registry

    data = registry.load("digits")
    images = data.train_images.numpy().reshape(len(data.train_labels), -1) / data.scale
    inputs = np.hstack([images, np.ones((len(images), 1))])
    targets = np.eye(len(data.classes))[data.train_labels.numpy()]
    weights = np.zeros((inputs.shape[1], targets.shape[1]))
    for _ in range(steps):
        weights -= 0.5 * inputs.T @ (softmax(inputs @ weights, axis=1) - targets) / len(inputs)
    errors = softmax(inputs @ weights, axis=1) - targets
    return np.asarray((inputs[:, :, None] * errors[:, None, :]).reshape(len(inputs), -1))


def _draw(examples: int, batch_size: int, draws: int, seed: int) -> NDArray[np.intp]:
    """Batches drawn independently of each other, each without replacement."""
    keys = np.random.default_rng([seed, batch_size]).random((draws, examples))
    return np.argpartition(keys, batch_size - 1, axis=1)[:, :batch_size]


def _means_of(gradients: FloatArray, chosen: NDArray[np.intp]) -> FloatArray:
    """Mean gradient of each row of chosen examples, by one product instead of a large gather."""
    take = np.zeros((len(chosen), len(gradients)))
    np.put_along_axis(take, chosen, 1 / chosen.shape[1], axis=1)
    return np.asarray(take @ gradients)


def minibatch_noise(steps: int, batch_sizes: tuple[int, ...]) -> list[Noise]:
    """Covariance of drawn minibatch gradients beside three formulas, at each batch size."""
    gradients = digits_gradients(steps)
    full = gradients.mean(axis=0)
    n = len(gradients)
    centred = float(((gradients - full) ** 2).sum() / (n - 1))
    fisher = float((gradients**2).sum() / n)
    rows = []
    for b in batch_sizes:
        off = _means_of(gradients - full, _draw(n, b, 1000, 1))
        factor = float(sde.minibatch_factor(b, n))
        size = (off**2).sum(axis=1)
        error = float(size.std() / np.sqrt(len(size)))
        rows.append(Noise(b, float(size.mean()), error, factor * centred, centred / b, fisher / b))
    return rows


def noise_between_steps(batch_size: int, epochs: int = 400) -> Lag:
    """Correlation between the noise of successive steps at the start of training, by drawing."""
    gradients = digits_gradients(0)
    centred = gradients - gradients.mean(axis=0)
    n = len(gradients) // batch_size
    rng = np.random.default_rng(11)
    order = rng.permuted(np.tile(np.arange(len(gradients)), (epochs, 1)), axis=1)[
        :, : n * batch_size
    ]
    pairs = order.reshape(epochs, n, batch_size)[:, :2].reshape(2 * epochs, batch_size)
    means = _means_of(centred, pairs).reshape(epochs, 2, -1)
    variance = float((means**2).sum(axis=-1).mean())
    reshuffled = float((means[:, 0] * means[:, 1]).sum(axis=-1).mean())
    drawn = _draw(len(gradients), batch_size, 2 * epochs, 2)
    fresh = _means_of(centred, drawn).reshape(epochs, 2, -1)
    independent = float((fresh[:, 0] * fresh[:, 1]).sum(axis=-1).mean())
    return Lag(independent / variance, reshuffled / variance, -1 / (n - 1))
