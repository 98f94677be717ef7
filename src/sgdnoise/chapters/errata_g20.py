"""Errata of Gao and Zhong (2020): gradients, steps, curvature and distance.

Symbols are the paper's: n is the batch size, σ the standard deviation of one sample's gradient, lr
the learning rate, L = a(w - b)² + c its parabola. The simulations average single samples, one by
one, and know none of the laws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import erf
from scipy.stats import levy_stable

from sgdnoise.chapters.erratum import Comparison, Erratum, FloatArray, mean_of, ratio_of

# --- Batch gradients -------------------------------------------------------------------------

PARAMETERS = 4000
"""Parameters of the simulated layer."""

CURVE_SIZES = tuple(2**k for k in range(13))
SPREADS = (0.0, 1 / 8)
"""Spreads τ of the true gradients over the layer, in units of σ; G20 assumes 0."""


def printed_law(n: FloatArray | float) -> FloatArray:
    """E|g| as G20's eq. 4 prints it, 2σ/√(πn), in units of σ."""
    return 2 / np.sqrt(np.pi * np.asarray(n, dtype=np.float64))


def corrected_law(n: FloatArray | float, spread: float = 0.0) -> FloatArray:
    """√(2/π) √(τ² + σ²/n) in units of σ: E|g| of a layer whose true gradients have spread τ."""
    return np.sqrt(2 / np.pi * (spread**2 + 1 / np.asarray(n, dtype=np.float64)))


@dataclass(frozen=True)
class Curve:
    """Simulated E|g| in units of σ at `CURVE_SIZES`, with standard errors."""

    mean: FloatArray
    error: FloatArray


@cache
def gradient_curve(spread: float) -> Curve:
    """The mean |batch gradient| of a layer at every batch size of the figure.

    Each parameter has a true gradient drawn with standard deviation `spread` and as many samples
    with standard deviation 1 as the largest batch holds. Smaller batches are the first of them.
    """
    rng = np.random.default_rng(20201208)
    true = spread * rng.standard_normal(PARAMETERS)
    total, seen = np.zeros(PARAMETERS), 0
    sizes = []
    for n in CURVE_SIZES:
        total += rng.standard_normal((n - seen, PARAMETERS)).sum(axis=0)
        seen = n
        sizes.append(mean_of(np.abs(true + total / n)))
    mean, error = np.array(sizes).T
    return Curve(mean, error)


def batch_gradients(n: int, count: int, seed: int) -> FloatArray:
    """Means of n standard normal samples, shape (count,)."""
    rng = np.random.default_rng(seed)
    total = np.zeros(count)
    for _ in range(n):
        total += rng.standard_normal(count)
    return total / n


@cache
def sum_index() -> tuple[Comparison, ...]:
    """Eq. 2: the variance of a batch mean, times n/σ²."""
    rows = []
    for n in (2, 8):
        value, error = mean_of(n * batch_gradients(n, 100_000, n) ** 2)
        # n + 1 terms, each of variance σ², over n².
        rows.append(Comparison(f"variance of g · n/σ², n = {n}", (n + 1) / n, 1.0, value, error))
    return tuple(rows)


@cache
def density() -> tuple[Comparison, ...]:
    """Eq. 3: what the density says of a batch gradient at n = 16."""
    n = 16
    g = batch_gradients(n, 100_000, 3)
    inside, wide = mean_of((np.abs(g) < 1 / np.sqrt(n)).astype(np.float64))
    size, off = mean_of(np.abs(g))
    return (
        # With the printed exponent the density is n times that of a standard deviation of σ√n.
        Comparison(
            f"share of |g| < σ/√n, n = {n}",
            n * float(erf(1 / n / np.sqrt(2))),
            float(erf(1 / np.sqrt(2))),
            inside,
            wide,
        ),
        Comparison(
            f"E|g|/σ by the density, n = {n}",
            n**1.5 * np.sqrt(2 / np.pi),
            np.sqrt(2 / (np.pi * n)),
            size,
            off,
        ),
    )


@cache
def mean_size() -> tuple[Comparison, ...]:
    """Eqs. 4 and 6: the mean size of a gradient, and of a step."""
    rows = []
    for n in (8, 64, 512):
        value, error = mean_of(np.abs(batch_gradients(n, 20_000, n)))
        rows.append(
            Comparison(
                f"E|g|/σ, n = {n}", float(printed_law(n)), float(corrected_law(n)), value, error
            )
        )
    return tuple(rows)


@cache
def plateau() -> tuple[Comparison, ...]:
    """What E|g| tends to when the true gradients of a layer are not all zero.

    The printed law here is the one with its constant put right: √(2/π) σ/√n.
    """
    spread = SPREADS[-1]
    curve = gradient_curve(spread)
    return tuple(
        Comparison(
            f"E|g|/σ, τ = σ/{1 / spread:g}, n = {n:,}",
            float(corrected_law(n)),
            float(corrected_law(n, spread)),
            float(curve.mean[k]),
            float(curve.error[k]),
        )
        for k, n in enumerate(CURVE_SIZES)
        if n in (64, 512, 4096)
    )


@cache
def sign() -> tuple[Comparison, ...]:
    """Eqs. 5 and 11: which way a step along the gradient has to go, tried both ways."""
    rng = np.random.default_rng(5)
    k = np.arange(1, 6)
    height, phase = rng.standard_normal(5), rng.uniform(0, 2 * np.pi, 5)

    def loss(w: FloatArray) -> FloatArray:
        return np.asarray((height * np.cos(k * w[:, None] + phase)).sum(axis=1))

    w = rng.uniform(0, 2 * np.pi, 1000)
    g = -(height * k * np.sin(k * w[:, None] + phase)).sum(axis=1)
    lower = np.where(loss(w - 1e-4 * g) < loss(w + 1e-4 * g), -1.0, 1.0)
    return (
        Comparison(
            "Δw/(lr · g) of the step that lowers the loss, 1,000 points",
            1.0,
            -1.0,
            float(lower.mean()),
            0.0,
        ),
    )


@cache
def loss_stride() -> tuple[Comparison, ...]:
    """Eq. 8: the drop of the whole loss in a step, over lr, on a quadratic in 20 dimensions.

    The loss is ½ wᵀHw with diagonal H, and every sample's gradient is Hw plus noise of variance 1
    a parameter.
    """
    rng = np.random.default_rng(8)
    d, lr = 20, 0.5
    h = np.geomspace(0.05, 1.0, d)
    w = rng.standard_normal(d)
    g = h * w
    rows = []
    for n, repeats in ((4, 20_000), (1024, 300)):
        batch = g + rng.standard_normal((repeats, n, d)).mean(axis=1)
        after = ((w - lr * batch) ** 2 * h).sum(axis=1) / 2
        value, error = mean_of(((w**2 * h).sum() / 2 - after) / lr)
        corrected = g @ g - lr / 2 * (g @ (h * g) + h.sum() / n)
        rows.append(
            Comparison(f"drop of the loss/lr, n = {n:,}", d / n, float(corrected), value, error)
        )
    return tuple(rows)


# --- Curvature -------------------------------------------------------------------------------


def radius_of_circle(curve: Callable[[FloatArray], FloatArray], w: float, h: float) -> float:
    """Radius of the circle through a plane curve at w - h, w and w + h: no derivative goes in."""
    x = np.array([-h, 0.0, h])
    y = curve(w + x)
    sides = [np.hypot(x[i] - x[j], y[i] - y[j]) for i, j in ((0, 1), (1, 2), (0, 2))]
    # Twice the area of the triangle; the three points are equally far apart in w.
    twice = h * abs((y[2] - y[1]) - (y[1] - y[0]))
    return float(np.prod(sides) / (2 * twice))


@cache
def radius() -> tuple[Comparison, ...]:
    """Eq. 17: the radius of curvature of a parabola, with b = 0 and as it is."""
    a, b, h = 0.05, 1.0, 0.01
    rows = []
    for w in (0.99, 1.5, 2.0):
        g = 2 * a * (w - b)
        coarse, fine = (radius_of_circle(lambda v: a * (v - b) ** 2, w, s) for s in (h, h / 2))
        rows.append(
            Comparison(
                f"R at w = {w:g} b, a = {a:g}",
                abs(w / g),
                abs((w - b) * (1 + g**2) ** 1.5 / g),
                fine,
                abs(coarse - fine) + 1e-9,
            )
        )
    return tuple(rows)


@cache
def medians() -> tuple[Comparison, ...]:
    """Eq. 20: |median w / median g| over a layer, in units of σ_w/σ_g."""
    d, layers = 1001, 3000
    rng = np.random.default_rng(20)
    ratio = np.array(
        [
            abs(np.median(rng.standard_normal(d)) / np.median(rng.standard_normal(d)))
            for _ in range(layers)
        ]
    )
    close, wide = mean_of(((ratio > 0.5) & (ratio < 2)).astype(np.float64))
    edge = float(np.tan(0.95 * np.pi / 2))
    slope = 2 / np.pi / (1 + edge**2)  # density of |Cauchy| there
    return (
        Comparison(
            "share of layers with R within a factor 2",
            1.0,
            float(2 / np.pi * (np.arctan(2.0) - np.arctan(0.5))),
            close,
            wide,
        ),
        Comparison(
            "95 % quantile of R over layers",
            1.0,
            edge,
            float(np.quantile(ratio, 0.95)),
            float(np.sqrt(0.95 * 0.05 / layers) / slope),
        ),
    )


def harmonic_radius(d: int) -> float:
    """Median over layers of size(w)/‖g/w‖₁ in units of σ_w/σ_g, for d large.

    The mean of d absolute Cauchy variables is (2/π)(ln d + 1 - γ) plus a stable variable of index
    1, totally skewed, of scale 1.
    """
    shift = 2 / np.pi * (np.log(d) + 1 - np.euler_gamma)
    return float(1 / (shift + levy_stable.ppf(0.5, 1, 1)))


@cache
def percent_delta() -> tuple[Comparison, ...]:
    """Eq. 24 beside eq. 23: the radius of a layer that PercentDelta takes, LARS's being 1."""
    rows = []
    rng = np.random.default_rng(24)
    for d, layers in ((2_000, 2000), (100_000, 150)):
        values = np.sort(
            [
                d / np.abs(rng.standard_normal(d) / rng.standard_normal(d)).sum()
                for _ in range(layers)
            ]
        )
        # The median's own spread: order statistics half a binomial standard deviation off.
        off = np.sqrt(layers) / 2
        low, high = (values[round(layers / 2 + s * off)] for s in (-1, 1))
        rows.append(
            Comparison(
                f"R · σ_g/σ_w, median over layers, {d:,} parameters",
                1.0,
                harmonic_radius(d),
                float(np.median(values)),
                float(high - low) / 2,
            )
        )
    return tuple(rows)


@cache
def distance_constant() -> tuple[Comparison, ...]:
    """Eq. 28: the constant of E|d| under the paper's own assumptions."""
    a = 2.0
    rows = []
    for n in (8, 64):
        d = batch_gradients(n, 20_000, 28 + n) / (2 * a)
        value, error = mean_of(np.abs(d))
        printed, corrected = 1 / (a * np.sqrt(np.pi * n)), 1 / (a * np.sqrt(2 * np.pi * n))
        rows.append(Comparison(f"E|d|/σ, a = {a:g}, n = {n}", printed, corrected, value, error))
    return tuple(rows)


@cache
def distance() -> tuple[Comparison, ...]:
    """Eq. 27: the distance of the parameters to the minimum of the whole loss.

    Sample k's loss is a(w - b - ξ_k)², w is drawn about b, and the minimum of the mean over all
    samples is found by descent. The printed law has its constant put right: σ/(a√(2πn)).
    """
    rng = np.random.default_rng(27)
    parameters, samples, a, spread, sigma = 4000, 1024, 0.5, 1.0, 1.0
    w = spread * rng.standard_normal(parameters)  # b = 0
    noise = sigma * rng.standard_normal((samples, parameters))
    centre, at = noise.mean(axis=0), w
    for _ in range(200):
        at = at - 0.2 * 2 * a * (at - centre)
    value, error = mean_of(np.abs(w - at))
    exact = np.sqrt(2 / np.pi * (spread**2 + sigma**2 / samples))
    # A sample's gradient is 2a(w - b - ξ), so that its standard deviation is 2aσ_ξ.
    return tuple(
        Comparison(
            f"mean |w − minimum|, n = {n:,}",
            float(2 * a * sigma / (a * np.sqrt(2 * np.pi * n))),
            float(exact),
            value,
            error,
        )
        for n in (16, samples)
    )


# --- Methods ---------------------------------------------------------------------------------

FIRST_EPOCH = (512, 0.005)
BASELINE = (8192, 0.05)
"""Batch sizes and learning rates of G20's §3.2."""


@cache
def first_epoch() -> tuple[Comparison, ...]:
    """§3.2: a step of the first epoch over one of the baseline."""
    steps = []
    for n, lr in (FIRST_EPOCH, BASELINE):
        steps.append(lr * np.abs(batch_gradients(n, 2000, n)))
    value, error = ratio_of(*steps)
    (n, lr), (base, base_lr) = FIRST_EPOCH, BASELINE
    # The two layers are independent, which the delta method of `ratio_of` allows.
    return (
        Comparison(
            f"E|Δw| at n = {n}, lr = {lr:g} over that at n = {base:,}, lr = {base_lr:g}",
            float(np.sqrt(base / n)),
            float(lr / base_lr * np.sqrt(base / n)),
            value,
            error,
        ),
    )


# --- What is no erratum ----------------------------------------------------------------------


@cache
def blind_growth(share: float) -> tuple[float, float]:
    """§3.1: by what factor E|g| grows when a share of the samples is discarded at random."""
    n, parameters = 1000, 4000
    samples = np.random.default_rng(31).standard_normal((n, parameters))
    kept = samples[: round(n * (1 - share))]
    return ratio_of(np.abs(kept.mean(axis=0)), np.abs(samples.mean(axis=0)))


LARS_SIZES = (32, 8192)


@cache
def lars_stride() -> tuple[float, float]:
    """§4.3: LARS's E|Δw| at the second of `LARS_SIZES` over that at the first."""
    layers, width = 100, 40
    w = np.random.default_rng(23).standard_normal((layers, width))
    strides = []
    for n in LARS_SIZES:
        g = batch_gradients(n, layers * width, 23 + n).reshape(layers, width)
        rate = np.linalg.norm(w, axis=1) / np.linalg.norm(g, axis=1)
        strides.append(rate * np.abs(g).mean(axis=1))
    return ratio_of(strides[1], strides[0])


ERRATA = (
    Erratum(
        "G20-E2", "G20", "eq. 2", "The sum has one term more than it divides by.", "formula",
        "(1/n) Σ_{k=0…n} g^{k}", "(1/n) Σ_{k=1…n} g^{k}", sum_index,
    ),
    Erratum(
        "G20-E3", "G20", "eq. 3", "√n stands on the wrong side of the exponent's fraction.",
        "formula", "exp(−½ (g/(σ√n))²)", "exp(−½ (g√n/σ)²)", density,
    ),
    Erratum(
        "G20-E4", "G20", "eqs. 4, 6", "The mean size of a gradient is √2 too large.", "formula",
        "2σ/√(πn)", "σ √(2/(πn))", mean_size,
    ),
    Erratum(
        "G20-E4-limit", "G20", "§2.1, below eq. 4",
        "Gradients are said to fall to zero with n; they fall to the true gradients.", "claim",
        "E|g| ∝ 1/√n → 0", "√(2/π) √(τ² + σ²/n) → √(2/π) τ", plateau,
    ),
    Erratum(
        "G20-E5", "G20", "eqs. 5, 11", "The update climbs: the minus sign is missing.", "formula",
        "Δw = lr · g", "Δw = −lr · g", sign,
    ),
    Erratum(
        "G20-E8", "G20", "eq. 8, §2.3",
        "The drop is one of the batch's own loss, not of the loss that is trained.", "claim",
        "σ² lr/n", "lr |G|² − ½ lr² (GᵀHG + tr(HΣ)/n)", loss_stride,
    ),
    Erratum(
        "G20-E17", "G20", "eq. 17", "Setting b = 0 makes the radius that of another curve.",
        "formula", "|w/g|", "|w − b| (1 + g²)^{3/2}/|g|", radius,
    ),
    Erratum(
        "G20-E20", "G20", "eq. 20", "The median radius is a ratio of two numbers close to zero.",
        "claim", "|median w / median g| ≈ σ_w/σ_g", "σ_w/σ_g · |Cauchy variable|", medians,
    ),
    Erratum(
        "G20-E24", "G20", "eq. 24, §4.3",
        "PercentDelta's radius is a harmonic mean, which shrinks as the layer grows.", "claim",
        "a mean radius, as LARS's σ_w/σ_g", "median ≈ σ_w/σ_g · π/(2 (ln d + 1.33))", percent_delta,
    ),
    Erratum(
        "G20-E28", "G20", "eq. 28", "The mean distance is √2 too large.", "formula",
        "σ/(a√(πn))", "σ/(a√(2πn))", distance_constant,
    ),
    Erratum(
        "G20-E27", "G20", "eq. 27, §5.1",
        "Parameters are said to near their minima as n grows; n does not move them.", "claim",
        "E|w − b| ∝ 1/√n → 0", "E|w − b|, whatever n is", distance,
    ),
    Erratum(
        "G20-3.2", "G20", "§3.2",
        "The first epoch's steps are called amplified; they are smaller.", "claim",
        "amplified, as E|g|: √(n′/n)", "(lr/lr′) √(n′/n)", first_epoch,
    ),
)  # fmt: skip
"""In the order of the page."""
