"""The gradient noise scale: how many examples a batch needs before its gradient is more signal
than noise. Unbiased estimates of its two parts, and a confidence interval for their ratio.

Notation: Σ is the covariance of one example's gradient, G the true gradient, n the examples seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t
from torch import Tensor, nn

from sgdnoise.curvature.mean_loss import Data, LossFunction, MeanLoss
from sgdnoise.errors import InputError

Array = NDArray[np.float64]
Method = Literal["per-example", "batches"]
Metric = Literal["identity", "hessian", "ggn"]


@dataclass(frozen=True)
class NoiseScale:
    """B = tr(MΣ)/GᵀMG with its parts; M = I gives B_simple, M = H gives B_noise."""

    value: float
    """Ratio of the two estimates. Infinite where the signal is not positive (a gradient too small
    to be told from zero); nan where the noise is not."""
    interval: tuple[float, float]
    """Confidence interval, Fieller's: open above, (b, inf), where the signal may be zero."""
    confidence: float
    noise: float
    """Unbiased estimate of tr(MΣ)."""
    noise_error: float
    """Its standard error."""
    signal: float
    """Unbiased estimate of GᵀMG; may be negative where the true one is near zero."""
    signal_error: float
    groups: int
    """Independent groups behind the errors; groups − 1 degrees of freedom."""
    examples: int | None
    """Examples behind the estimate; None where only norms were given."""
    data_size: int | None
    """Size of the data set whose full gradient is G; None: G is the mean of the distribution."""
    method: Literal["per-example", "batches", "two batch sizes"]
    metric: Metric
    products: int = 0


def gradient_noise_scale(
    model: nn.Module,
    loss_fn: LossFunction,
    data: Data,
    *,
    method: Method = "per-example",
    metric: Metric = "identity",
    data_size: int | None = None,
    groups: int = 32,
    confidence: float = 0.95,
    seed: int = 0,
    batch_size: int = 128,
) -> NoiseScale:
    """B_simple = trΣ/|G|² at the model's present parameters, from all examples of `data`.

    Use it to judge a batch size: well below B the gradient is mostly noise and batches may grow
    for free; well above, they no longer help. It is local: it grows during training, often by
    orders of magnitude. Weight decay is not in it (put it into the loss to have it in G).
    McCandlish et al. 2018, appendix A; here without their bias: the square of a mean of n gradients
    exceeds |G|² by trΣ/n, which is subtracted.

    The examples are dealt at random into groups, so that sorted data do no harm. "per-example"
    takes Σ from every example's own gradient (`torch.func`); "batches" takes it from the spread of
    the groups' mean gradients: any model, but trΣ̂ is less certain.
    The interval is Fieller's for a ratio, with the covariance of the two estimates from a
    delete-one-group jackknife; in simulations (5 and 100 dimensions, Gaussian and exponential
    gradients, signals from 0.5 to 10 standard errors) its 95% held the truth 91% to 99% of the
    time.

    Args:
        metric: "hessian" or "ggn" for B_noise = tr(HΣ)/GᵀHG, the scale of one-step theory,
            lr* = lr_max/(1 + B_noise/B). H is taken as known. Needs method="batches".
        data_size: the size N of the data set of which `data` are a sample without replacement, if
            G shall be that set's full gradient, as SGD on it sees: trΣ/N is then added back to the
            signal. N equal to the examples of `data` makes |G|² exact. None: G is the mean over
            the distribution the examples come from.
        groups: groups of the jackknife; memory groups · P numbers.
        batch_size: examples a pass where `data` is tensors or a Dataset. "per-example" holds
            batch_size · P numbers.

    Raises:
        InputError: as `MeanLoss`; fewer than 4 groups or fewer than 2 examples a group; data_size
            smaller than the examples given; gradients that are all zero; a metric that the method
            cannot do; per-example gradients of a model that has none; batch norm with the
            statistics of ghosts.
    """
    if method not in ("per-example", "batches") or metric not in ("identity", "hessian", "ggn"):
        raise InputError(
            "method must be 'per-example' or 'batches' and metric 'identity', 'hessian' or 'ggn', "
            f"got {method!r} and {metric!r}"
        )
    if metric != "identity" and method != "batches":
        raise InputError(f"the metric {metric!r} needs method='batches'")
    loss = MeanLoss(model, loss_fn, data, batch_size=batch_size)
    loss.refuse_ghosts()
    if groups < 4 or loss.examples < 2 * groups:
        raise InputError(
            "the noise scale needs at least 4 groups of at least 2 examples each, got "
            f"{groups} groups for {loss.examples} examples"
        )
    if data_size is not None and data_size < loss.examples:
        raise InputError(
            f"data_size is the size of the set that the data come from, but {data_size} is less "
            f"than the {loss.examples} examples given"
        )
    sums, counts, squares = _group_sums(loss, groups, method, seed)
    images = sums
    if metric != "identity":
        products = loss.hessian_products if metric == "hessian" else loss.ggn_products
        images = products(sums)
    gram = _gram(sums, images)

    def estimate(keep: NDArray[np.intp]) -> Array:
        own = None if squares is None else squares[keep]
        return _noise_and_signal(counts[keep], gram[np.ix_(keep, keep)], own, data_size)

    everything = np.arange(groups)
    parts = estimate(everything)
    without = np.array([estimate(np.delete(everything, j)) for j in everything])
    covariance = (groups - 1) * np.cov(without, rowvar=False, bias=True)
    if method == "per-example" and data_size is not None:
        # Finite population: what is left to chance is which examples were not seen.
        covariance *= 1 - loss.examples / data_size
    return _noise_scale(
        parts,
        covariance,
        groups=groups,
        confidence=confidence,
        examples=loss.examples,
        data_size=data_size,
        method=method,
        metric=metric,
        products=loss.products,
        # |Ĝ|² = |G + e|² varies by 2G·e, so its variance grows as |G|²: taken at the estimate
        # alone, low estimates would claim to be sure.
        floor=float(parts[0]) * _unseen(float(counts.sum()), data_size),
    )


def noise_scale_from_norms(
    small_squared_norms: ArrayLike,
    big_squared_norms: ArrayLike,
    small_batch_size: int,
    big_batch_size: int,
    *,
    data_size: int | None = None,
    groups: int | None = None,
    confidence: float = 0.95,
) -> NoiseScale:
    """B_simple from squared gradient norms at two batch sizes, as a training log has them.

    Row i holds |g|² of a batch of each size at (about) the same parameters, for instance of one
    micro-batch and of the whole batch at a step; rows must be comparable, so take a short stretch
    of training. Noise and signal are averaged over the rows separately, then divided: the mean of
    the rows' ratios would be biased and may have no variance.
    tr Σ̂ = (|g_s|² − |g_b|²)/(1/B_s − 1/B_b) and |G|²̂ = (B_b|g_b|² − B_s|g_s|²)/(B_b − B_s);
    McCandlish et al. 2018, appendix A.1. With `data_size` N, batches are drawn without replacement
    from N examples and G is their full gradient: trΣ̂/N is added, without which the signal is
    biased by −trΣ/N. Not for reshuffled slices of one epoch pooled into one estimate: they are not
    independent.

    Args:
        groups: contiguous blocks of rows whose means count as independent, for rows correlated in
            time; None: each row is independent.

    Raises:
        InputError: arrays that are not one-dimensional, equally long and finite; sizes not
            0 < small < big (≤ data_size); fewer than 4 groups.
    """
    small = np.asarray(small_squared_norms, dtype=np.float64)
    big = np.asarray(big_squared_norms, dtype=np.float64)
    if small.ndim != 1 or small.shape != big.shape or not np.isfinite([small, big]).all():
        raise InputError(
            "squared norms must be two finite one-dimensional arrays of equal length, got shapes "
            f"{small.shape} and {big.shape}"
        )
    if not 0 < small_batch_size < big_batch_size:
        raise InputError(
            f"the batch sizes must be 0 < small < big, got {small_batch_size} and {big_batch_size}"
        )
    if data_size is not None and data_size < big_batch_size:
        raise InputError(
            f"the big batch of {big_batch_size} cannot come from a data set of {data_size}"
        )
    groups = len(small) if groups is None else groups
    if not 4 <= groups <= len(small):
        raise InputError(
            f"an interval needs at least 4 groups of at least one row each, got {groups} groups "
            f"for {len(small)} rows"
        )
    noise = (small - big) / (1 / small_batch_size - 1 / big_batch_size)
    signal = (big_batch_size * big - small_batch_size * small) / (big_batch_size - small_batch_size)
    if data_size is not None:
        signal = signal + noise / data_size
    blocks = np.array_split(np.stack([noise, signal], axis=1), groups)
    means = np.array([block.mean(axis=0) for block in blocks])
    sizes = np.array([len(block) for block in blocks])
    parts = sizes @ means / sizes.sum()
    deviations = (means - parts) * (sizes * groups / sizes.sum())[:, None]
    covariance = deviations.T @ deviations / (groups * (groups - 1))
    return _noise_scale(
        parts,
        covariance,
        groups=groups,
        confidence=confidence,
        examples=None,
        data_size=data_size,
        method="two batch sizes",
        metric="identity",
    )


def _group_sums(
    loss: MeanLoss, groups: int, method: Method, seed: int
) -> tuple[Tensor, Array, Array | None]:
    """Sum of gradients (groups, P) and count of each group; per example also Σ|g|² of each."""
    generator = torch.Generator().manual_seed(seed)
    # One draw over all examples: dealing round by round would spread sorted data evenly, and make
    # the groups more alike than chance does.
    deal = torch.randperm(loss.examples, generator=generator) % groups
    sums = torch.zeros(groups, loss.size, dtype=loss.dtype, device=loss.device)
    counts = torch.bincount(deal, minlength=groups).double().numpy()
    squares = torch.zeros(groups, dtype=torch.float64, device=loss.device)
    first = 0
    for x, y in loss.batches():
        group = deal[first : first + len(x)].to(loss.device)
        first += len(x)
        if method == "per-example":
            gradients = loss.example_gradients(x, y)
            sums.index_add_(0, group, gradients)
            squares.index_add_(0, group, gradients.double().square().sum(1))
        else:
            for j in group.unique().tolist():
                mine = group == j
                sums[j] += int(mine.sum()) * loss.batch_gradient(x[mine], y[mine])
    return sums, counts, squares.cpu().numpy() if method == "per-example" else None


def _gram(left: Tensor, right: Tensor, chunk: int = 1 << 20) -> Array:
    """left @ rightᵀ in float64, in pieces: the copy in double precision would be as big again."""
    pieces = zip(left.split(chunk, dim=1), right.split(chunk, dim=1), strict=True)
    return torch.stack([a.double() @ b.double().T for a, b in pieces]).sum(0).cpu().numpy()


def _noise_and_signal(
    counts: Array, gram: Array, squares: Array | None, data_size: int | None
) -> Array:
    """Unbiased (tr MΣ, GᵀMG) from groups' sizes and the Gram matrix of their gradient sums.

    Per example, Σ is the sample covariance; else the covariance of group means times their size
    (one-way analysis of variance, unbiased for unequal sizes too).
    """
    n = counts.sum()
    mean_squared = gram.sum() / n**2
    if squares is None:
        noise = (np.sum(np.diag(gram) / counts) - n * mean_squared) / (len(counts) - 1)
    else:
        noise = (squares.sum() - n * mean_squared) / (n - 1)
    return np.array([noise, mean_squared - noise * _unseen(n, data_size)])


def _unseen(n: float, data_size: int | None) -> float:
    """E|Ĝ|² − |G|² over trΣ, for a mean of n gradients without replacement from data_size."""
    return 1 / n - (0.0 if data_size is None else 1 / data_size)


def _noise_scale(
    parts: Array,
    covariance: Array,
    *,
    groups: int,
    confidence: float,
    examples: int | None,
    data_size: int | None,
    method: Literal["per-example", "batches", "two batch sizes"],
    metric: Metric,
    products: int = 0,
    floor: float | None = None,
) -> NoiseScale:
    if not 0 < confidence < 1:
        raise InputError(f"the confidence must lie between 0 and 1, got {confidence}")
    noise, signal = (float(p) for p in parts)
    if noise == 0 and signal == 0:
        raise InputError("all gradients are zero: there is neither signal nor noise to compare")
    if signal > 0 and noise >= 0:
        value = noise / signal
    else:
        value = math.inf if noise > 0 else math.nan
    quantile = float(student_t.ppf((1 + confidence) / 2, groups - 1))
    low, high = _ratio_interval(signal, noise, covariance[::-1, ::-1], quantile, floor)
    return NoiseScale(
        value=value,
        # The reciprocals of what signal/noise may be; none of it positive: no finite scale fits.
        interval=(1 / high if high > 0 else math.inf, 1 / low if low > 0 else math.inf),
        confidence=confidence,
        noise=noise,
        noise_error=math.sqrt(max(0.0, covariance[0, 0])),
        signal=signal,
        signal_error=math.sqrt(max(0.0, covariance[1, 1])),
        groups=groups,
        examples=examples,
        data_size=data_size,
        method=method,
        metric=metric,
        products=products,
    )


def _ratio_interval(
    numerator: float,
    denominator: float,
    covariance: Array,
    quantile: float,
    floor: float | None = None,
) -> tuple[float, float]:
    """Fieller's interval: all r for which numerator − r · denominator is not significant.

    The whole line where the denominator itself is not significantly positive.
    With a `floor`, the variance of the numerator is taken to grow as (its mean + floor), and its
    value is that at the mean under test, r · denominator, not that at the estimate.
    """
    (vnn, vnd), (_, vdd) = (quantile**2 * covariance).tolist()
    a = denominator**2 - vdd
    if a <= 0 or denominator <= 0:
        return -math.inf, math.inf
    # (numerator − r·denominator)² ≤ constant + 2·linear·r + vdd·r²
    constant, linear = vnn, -vnd
    if floor is not None and numerator + floor > 0:
        slope = vnn / (numerator + floor)
        constant, linear = slope * floor, slope * denominator / 2 - vnd
    b = numerator * denominator + linear
    # The discriminant b² − a·c, written out: b² and a·c agree in all digits where the variance is
    # small. The estimate itself solves the inequality, so it is negative by rounding only.
    discriminant = (
        linear * (2 * numerator * denominator + linear) + constant * a + vdd * numerator**2
    )
    root = math.sqrt(max(0.0, discriminant))
    return (b - root) / a, (b + root) / a
