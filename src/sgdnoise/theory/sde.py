"""SGD as a stochastic differential equation: temperature, simulation, stationary laws.

S20 §3 reads one update, ω' - ω = -ε (∇C + ν/√B), as a step of length ε of

    dω = -∇C dt + √T dν,    T = ε/B,    E νν' = F (the per-example gradient covariance),

so that runs with equal temperature and equal epochs should agree while ε stays far below the
critical learning rate. Here is each side of that claim: SGD and heavy ball by simulation, and the
exact stationary laws on the quadratic ½ h x², the SDE's, and SGD's for batches drawn independently
and for reshuffled epochs.

Noise is additive: example j's gradient is ∇C(x) + ξ_j with Σ_j ξ_j = 0 and variance c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_discrete_lyapunov

from sgdnoise.theory.moments import kick_response, moments, stationary_energy
from sgdnoise.theory.stability import (
    check_count,
    check_momentum,
    check_not_negative,
    check_positive,
    critical_learning_rate,
    effective_learning_rate,
)

FloatArray = NDArray[np.float64]
Field = Callable[[FloatArray], ArrayLike]
Sampling = Literal["independent", "reshuffle"]


def minibatch_factor(batch_size: ArrayLike, train_size: int | None = None) -> FloatArray:
    """Variance of a minibatch gradient in units of the per-example variance: 1/B, or 1/B - 1/N.

    The second is exact for a batch drawn without replacement from N examples, if the per-example
    variance is the one with divisor N - 1. At B = N there is no noise. No paper prints it so: S20
    draws without replacement and has the first (eq. 2); H17 derives 1/M - 1/N for draws with
    replacement and 1/M - 1/(N - 1) for draws without, both of the second moment that is not
    centred (appendix A).

    Raises:
        ValueError: for a batch size below 1 or above the training set size.
    """
    b = check_positive("batch size", batch_size)
    if np.any(b < 1):
        raise ValueError(f"batch size must be at least 1, got {b[b < 1].flat[0]}")
    if train_size is None:
        return 1 / b
    if np.any(b > train_size):
        raise ValueError(
            f"batch size {b[b > train_size].flat[0]} exceeds the training set size {train_size}"
        )
    return 1 / b - 1 / train_size


def temperature(
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    momentum: ArrayLike = 0.0,
    train_size: int | None = None,
) -> FloatArray:
    """T = ε_eff / B, what sets the scale of the noise while ε is small (S20 eq 3, §3.3).

    With `train_size` the finite-set form ε_eff (1/B - 1/N), which holds for independently drawn
    batches only: under reshuffling the noise of an epoch sums to zero (`reshuffled_law`).

    Raises:
        ValueError: for a learning rate that is not positive, or as `minibatch_factor`.
    """
    check_positive("learning rate", learning_rate)
    return effective_learning_rate(learning_rate, momentum) * minibatch_factor(
        batch_size, train_size
    )


def simulate_sgd(
    gradient: Field,
    start: ArrayLike,
    *,
    learning_rate: float,
    batch_size: int,
    steps: int,
    rng: np.random.Generator,
    momentum: float = 0.0,
    noise_std: float = 1.0,
    examples: ArrayLike | None = None,
    sampling: Sampling = "independent",
) -> FloatArray:
    """Final positions of SGD or heavy ball with additive gradient noise, one for each replica.

    Args:
        gradient: full-batch gradient at positions of shape (replicas,).
        start: positions, shape (replicas,).
        learning_rate, batch_size, momentum: ε, B and m.
        steps: number of updates.
        noise_std: √c of Gaussian per-example noise, when the training set is unlimited.
        examples: instead, the ξ_j of a finite training set, shape (N,); they are centred here.
        sampling: with `examples`, whether each batch is drawn afresh without replacement or taken
            in turn from a new permutation each epoch (N must then be a multiple of B).

    Raises:
        ValueError: for a batch larger than the training set, or one that does not divide it under
            reshuffling; or reshuffling without `examples`.
    """
    check_count("steps", steps, least=0)
    check_count("batch size", batch_size)
    check_positive("learning rate", learning_rate)
    m = float(check_momentum(momentum))
    x = np.array(start, dtype=np.float64)
    if sampling not in ("independent", "reshuffle"):
        raise ValueError(f"sampling must be 'independent' or 'reshuffle', got {sampling!r}")
    draw: Callable[[int], FloatArray]
    if examples is None:
        if sampling == "reshuffle":
            raise ValueError("reshuffling needs a finite training set: pass examples")
        scale = noise_std / np.sqrt(batch_size)

        def draw(k: int) -> FloatArray:
            return scale * rng.standard_normal(x.shape)

    else:
        draw = _batch_noise(np.asarray(examples, dtype=np.float64), batch_size, x, rng, sampling)
    v = np.zeros(x.shape)
    for k in range(steps):
        v = m * v - learning_rate * (np.asarray(gradient(x)) + draw(k))
        x = x + v
    return x


def _batch_noise(
    examples: FloatArray,
    batch_size: int,
    x: FloatArray,
    rng: np.random.Generator,
    sampling: Sampling,
) -> Callable[[int], FloatArray]:
    """Draws the mean of ξ over each replica's batch at step k, for steps asked in order."""
    n = examples.size
    minibatch_factor(batch_size, n)
    xi = examples - examples.mean()
    if sampling == "independent":

        def fresh(k: int) -> FloatArray:
            # Each replica's B smallest of N keys are a uniform draw without replacement.
            keys = rng.random((x.size, n))
            chosen = np.argpartition(keys, batch_size - 1, axis=1)[:, :batch_size]
            return np.asarray(xi[chosen].mean(axis=1).reshape(x.shape))

        return fresh
    batches = _batches_per_epoch(batch_size, n)
    epoch = np.empty((x.size, batches))

    def in_turn(k: int) -> FloatArray:
        if k % batches == 0:
            order = rng.permuted(np.broadcast_to(xi, (x.size, n)), axis=1)
            epoch[:] = order.reshape(x.size, batches, batch_size).mean(axis=2)
        return epoch[:, k % batches].reshape(x.shape)

    return in_turn


def _batches_per_epoch(batch_size: int, train_size: int) -> int:
    if train_size % batch_size:
        raise ValueError(
            f"the exact law of reshuffling needs a batch size that divides the training set: "
            f"{batch_size} does not divide {train_size}"
        )
    return train_size // batch_size


# --- Stationary laws on the quadratic ½ h x² -------------------------------------------------


def gaussian_density(x: ArrayLike, variance: ArrayLike) -> FloatArray:
    """Density of a centred Gaussian: the stationary law of the SDE, and SGD's in Gaussian noise."""
    at, v = np.asarray(x, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    return np.asarray(np.exp(-(at**2) / (2 * v)) / np.sqrt(2 * np.pi * v))


def sde_variance(
    curvature: ArrayLike, noise_variance: ArrayLike, temperature: ArrayLike
) -> FloatArray:
    """Stationary variance T c / 2h of the SDE: an Ornstein–Uhlenbeck process, a Gaussian law.

    Raises:
        ValueError: for a curvature that is not positive, or what else is negative.
    """
    h = check_positive("curvature", curvature)
    c = check_not_negative("noise variance", noise_variance)
    return check_not_negative("temperature", temperature) * c / (2 * h)


def stationary_variance(
    learning_rate: ArrayLike,
    curvature: ArrayLike,
    noise_variance: ArrayLike,
    batch_size: ArrayLike,
    momentum: ArrayLike = 0.0,
    train_size: int | None = None,
) -> FloatArray:
    """Stationary E x² of SGD and heavy ball with independently drawn batches.

    ε σ² (1 + m) / ((1 - m) h (2(1 + m) - εh)) with σ² = c/B, or c (1/B - 1/N) for a finite
    training set: the SDE's T c / 2h times 1 / (1 - εh / 2(1 + m)), which is how linear scaling
    fails as ε nears its critical value 2(1 + m)/h. The law is Gaussian if the noise is.

    Args:
        learning_rate, curvature, momentum, batch_size: ε, h, m and B; all broadcast.
        noise_variance: c, per example (divisor N - 1 if `train_size` is given).

    Returns:
        The variance; NaN at and beyond the critical learning rate, where there is none.

    Raises:
        ValueError: for a learning rate or curvature that is not positive, a negative noise
            variance, or as `minibatch_factor`.
    """
    lr = check_positive("learning rate", learning_rate)
    h = check_positive("curvature", curvature)
    m = check_momentum(momentum)
    c = check_not_negative("noise variance", noise_variance)
    sigma2 = c * minibatch_factor(batch_size, train_size)
    stable = lr < critical_learning_rate(h, m)
    return np.where(stable, lr**2 * sigma2 * stationary_energy(lr * h, m), np.nan)


@dataclass(frozen=True)
class ReshuffledLaw:
    """Stationary second moment of x under reshuffled epochs, by position in the epoch.

    Attributes:
        within_epoch: E x² after j = 0…n updates of an epoch; the first equals the last.
        epoch_end: E x² between epochs, where models are evaluated.
        epoch_mean: average over the n updates of an epoch.
        independent: what independently drawn batches would give.
    """

    within_epoch: FloatArray
    epoch_end: float
    epoch_mean: float
    independent: float


def reshuffled_law(
    learning_rate: float,
    curvature: float,
    noise_variance: float,
    batch_size: int,
    train_size: int,
    momentum: float = 0.0,
) -> ReshuffledLaw:
    """Exact stationary E x² on ½ h x² when each epoch visits every example once.

    The n = N/B batch means of an epoch sum to zero, so Cov(η_j, η_k) = -Var(η)/(n - 1). With A the
    update matrix and r_k the response to a kick k steps ago, j updates into an epoch that began
    with covariance V,

        V_j = A^j V A^jᵀ + ε² c/B [ Σ_{k<j} r_k r_kᵀ - (1/n) (Σ_{k<j} r_k)(Σ_{k<j} r_k)ᵀ ],

    c with divisor N - 1 and n Var(η)/(n - 1) = c/B; epochs are independent, so V = V_n closes it.
    At an epoch's end and small εhn the bracket is of order (εh)² n³/12: the noise has cancelled,
    and the variance is (εhn)²/12 of that of independent batches.

    Args:
        learning_rate, curvature, momentum: ε, h and m, stable.
        noise_variance: c, per example, divisor N - 1.
        batch_size: B, a divisor of N.
        train_size: N, at least 2.

    Returns:
        The law. Second moments only: it is not a Gaussian.

    Raises:
        ValueError: for an unstable setting, a negative noise variance, or a batch size that does
            not divide N.
    """
    check_count("batch size", batch_size)
    check_count("training set size", train_size, least=2)
    lr = float(check_positive("learning rate", learning_rate))
    h = float(check_positive("curvature", curvature))
    check_not_negative("noise variance", noise_variance)
    m = float(check_momentum(momentum))
    minibatch_factor(batch_size, train_size)
    n = _batches_per_epoch(batch_size, train_size)
    critical = float(critical_learning_rate(h, m))
    if lr >= critical:
        raise ValueError(
            f"learning rate {lr} is not below the critical {critical}: there is no stationary law"
        )
    q = lr * h
    p, r = kick_response(q, m, np.arange(n + 1))
    powers = np.array([[p - m * r, m * r], [-q * r, p - (1 - q) * r]])  # (2, 2, n + 1)
    # Response of (x, v) to a kick k steps ago, x first; both are U_k itself but for the lag in v.
    kicks = np.stack([p[:n], p[:n] - r[:n]])
    # Σ r rᵀ - (Σ r)(Σ r)ᵀ/n of an epoch, about the mean: nothing cancels at small εh.
    centred = kicks - kicks.mean(axis=1, keepdims=True)
    spread = lr**2 * noise_variance / batch_size
    whole = spread * centred @ centred.T
    between = solve_discrete_lyapunov(powers[..., n], whole)
    within = np.einsum("ik,ij,jk->k", powers[0], between, powers[0])
    # Up to j < n the same sum about the mean of the first j, plus what the other n - j leave of it.
    count = np.arange(n + 1)
    total = np.concatenate([[0.0], np.cumsum(kicks[0])])
    about = _running_scatter(kicks[0])
    with np.errstate(invalid="ignore"):
        share = np.where(count > 0, total**2 * (1 / np.maximum(count, 1) - 1 / n), 0.0)
    within = within + spread * (about + share)
    independent = float(stationary_variance(lr, h, noise_variance, batch_size, m, train_size))
    return ReshuffledLaw(within, float(within[-1]), float(within[1:].mean()), independent)


def _running_scatter(values: FloatArray) -> FloatArray:
    """Σ_{k<j} (value_k - mean of the first j)² for j = 0…n, by Welford's update."""
    n = values.size
    count = np.arange(1, n + 1)
    mean = np.cumsum(values) / count
    previous = np.concatenate([[0.0], mean[:-1]])
    return np.concatenate([[0.0], np.cumsum((values - previous) * (values - mean))])


# --- Linear scaling as an experiment ---------------------------------------------------------


@dataclass(frozen=True)
class ScaledRun:
    """One run of a linear-scaling experiment: ε and B multiplied by the same factor.

    Attributes:
        learning_rate, batch_size, steps: of this run; examples seen, and so time ε·steps, are
            those of every other run.
        temperature: ε_eff/B, the same throughout.
        of_critical: ε over its critical value.
        mean, second_moment: E x and E x² at the end, exact; infinite or NaN once unstable.
        sde_mean, sde_second_moment: what the SDE says at that time.
    """

    learning_rate: float
    batch_size: float
    steps: int
    temperature: float
    of_critical: float
    mean: float
    second_moment: float
    sde_mean: float
    sde_second_moment: float


def linear_scaling(
    learning_rate: float,
    batch_size: float,
    steps: int,
    factors: Sequence[float],
    *,
    curvature: float = 1.0,
    noise_variance: float = 1.0,
    momentum: float = 0.0,
    start: float = 1.0,
) -> list[ScaledRun]:
    """Equal temperature, equal epochs: runs at (kε, kB) with steps/k updates, beside the SDE.

    On ½ h x² with Gaussian noise the law at the end is Gaussian, so mean and second moment are all
    of it. They agree to first order in ε/ε_crit and part as it nears 1. `simulate_sgd` does the
    same on any loss.

    Args:
        learning_rate, batch_size, steps: of the run with factor 1.
        factors: k, each such that steps/k is a whole number.

    Raises:
        ValueError: if a factor is not positive, or leaves a fraction of a step.
    """
    check_count("steps", steps)
    check_positive("factor", factors)
    runs = []
    for k in factors:
        count = round(steps / k)
        if count < 1 or abs(count * k - steps) > 1e-9 * steps:
            raise ValueError(f"{steps} steps cannot be divided by the factor {k}")
        lr, b = learning_rate * k, batch_size * k
        t = float(temperature(lr, b, momentum))
        state = moments(lr, curvature, noise_variance / b, count, momentum, start=start)
        decay = np.exp(-curvature * float(effective_learning_rate(lr, momentum)) * count)
        limit = float(sde_variance(curvature, noise_variance, t))
        runs.append(
            ScaledRun(
                learning_rate=lr,
                batch_size=b,
                steps=count,
                temperature=t,
                of_critical=float(lr / critical_learning_rate(curvature, momentum)),
                mean=float(state.x),
                second_moment=float(state.xx),
                sde_mean=float(start * decay),
                sde_second_moment=float((start * decay) ** 2 + limit * (1 - decay**2)),
            )
        )
    return runs
