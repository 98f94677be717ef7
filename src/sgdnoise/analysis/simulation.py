"""Made-up sweeps with a known truth: how often an interval holds it.

A made-up sweep goes through the same code as a recorded one, edge rule, refinement and best k of n
included; only its runs are drawn from a formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from sgdnoise.analysis.intervals import Estimate, Interval
from sgdnoise.analysis.locate import Located
from sgdnoise.analysis.regimes import Regimes, fit_regimes, line_slope
from sgdnoise.analysis.tuning import reached, tuning_of
from sgdnoise.study.grid import Outcome, Sweep, advance
from sgdnoise.study.protocol import BEST_FRACTION, TEST_ACCURACY, Point

SEEDS = (3, 5, 7, 15)

CLIFFS = (math.inf, 1.5, 1.0, 0.5, 0.2)
"""How far above the best rate runs are lost, in octaves."""


@dataclass(frozen=True)
class Hill:
    """Accuracy over log₂ of the learning rate: a parabola, cut off by a cliff.

    Attributes:
        peak: log₂ of the best rate.
        cliff: beyond this, in octaves above the peak, every run is lost.
        top: accuracy at the peak, in points.
        bend: points lost an octave from the peak.
        spread: standard deviation between seeds, in points.
        shared: standard deviation of what a seed adds at every rate, in points.
    """

    peak: float = 0.0
    cliff: float = math.inf
    top: float = 98.0
    bend: float = 0.4
    spread: float = 0.3
    shared: float = 0.2

    def accuracy(self, at: float) -> float:
        """The mean accuracy at log₂ of a rate; NaN where runs are lost."""
        away = at - self.peak
        return math.nan if away > self.cliff else self.top - self.bend * away**2


class _Runs(dict[Any, Outcome]):
    """The outcomes of a made-up sweep, each drawn when it is first asked for."""

    def __init__(self, hill: Hill, rng: np.random.Generator) -> None:
        super().__init__()
        self.hill, self.rng = hill, rng
        self.seeds: dict[int, float] = {}

    def __contains__(self, run: object) -> bool:
        return True

    def __missing__(self, run: tuple[Point, int]) -> Outcome:
        (at,), seed = run
        hill, rng = self.hill, self.rng
        offset = self.seeds.setdefault(seed, hill.shared * rng.standard_normal())
        value = hill.accuracy(at) + offset + hill.spread * rng.standard_normal()
        self[run] = {TEST_ACCURACY.name: value}
        return self[run]


def _sweep(centre: int) -> Sweep:
    """Seven learning rates in factors of two, as a sweep that needs no config."""
    made = SimpleNamespace(
        key=(),
        frozen=((centre - 3, centre + 3),),
        axes=(None,),
        objectives=(TEST_ACCURACY,),
        best=BEST_FRACTION,
        halvings=2,
        most_seeds=999,
        config=lambda point, seed: SimpleNamespace(id=(point, seed)),
    )
    return cast(Sweep, made)


@dataclass(frozen=True)
class Found:
    """What a made-up sweep says.

    Attributes:
        peak: where its best rate is, log₂.
        tuned: S20's optimum, log₂, at which fresh seeds run.
        fresh: what they reach.
        exponents, table: see `Tuning`.
    """

    peak: Located
    tuned: float
    fresh: Estimate
    exponents: np.ndarray
    table: np.ndarray


def found(hill: Hill, seeds: int, rng: np.random.Generator, centre: int | None = None) -> Found:
    """The tuning of one made-up sweep; unless told otherwise its grid is up to an octave off."""
    runs = _Runs(hill, rng)
    if centre is None:
        centre = round(hill.peak) + int(rng.integers(-1, 2))
    one = tuning_of(advance(_sweep(centre), seeds, runs), seeds, runs, TEST_ACCURACY)
    best = one.state.tuned[TEST_ACCURACY.name]
    at = best.point[0] if best is not None else math.nan
    return Found(one.peak, at, reached(one, runs, TEST_ACCURACY), one.exponents, one.table)


def pinned_bootstrap(one: Found, rng: np.random.Generator, resamples: int = 200) -> Interval:
    """What this book had before: the vertex through three points, by percentiles over seeds.

    Beside a cliff the vertex is pinned, and resampled seeds hardly move it.
    """
    whole = one.exponents == np.round(one.exponents)
    x, table = one.exponents[whole], one.table[whole]
    k = max(1, round(BEST_FRACTION * table.shape[1]))

    def vertex(draw: np.ndarray) -> float:
        ranked = np.sort(np.where(np.isfinite(table[:, draw]), table[:, draw], -np.inf))[:, -k:]
        means = ranked.mean(1)
        best = int(np.argmax(means))
        if best in (0, len(x) - 1) or not np.isfinite(means[best - 1 : best + 2]).all():
            return float(x[best])
        left, top, right = means[best - 1 : best + 2]
        drop = 2 * top - left - right
        return float(x[best] + (0.5 * (right - left) / drop if drop > 0 else 0.0))

    seeds = table.shape[1]
    values = [vertex(rng.integers(seeds, size=seeds)) for _ in range(resamples)]
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(vertex(np.arange(seeds)), float(low), float(high))


# --- How often intervals hold the truth ---------------------------------------------------------


@dataclass(frozen=True)
class Coverage:
    """How often an interval holds the truth.

    Attributes:
        quantity: what the interval is of.
        cliff: octaves from the best rate to the cliff; infinite for none.
        seeds: runs a grid point.
        share: of the made-up experiments whose interval holds the truth.
        half: the median half-width of the interval.
        experiments: how many were made up and gave an interval.
    """

    quantity: str
    cliff: float
    seeds: int
    share: float
    half: float
    experiments: int


def _covered(
    quantity: str, cliff: float, seeds: int, intervals: Sequence[tuple[Interval, float]]
) -> Coverage:
    there = [(one, truth) for one, truth in intervals if not math.isnan(one.low + one.high)]
    share = float(np.mean([one.holds(truth) for one, truth in there]))
    half = float(np.median([one.half for one, _ in there]))
    return Coverage(quantity, cliff, seeds, share, half, len(there))


def rate_coverage(
    cliff: float, seeds: int, experiments: int, rng: np.random.Generator
) -> tuple[Coverage, Coverage]:
    """Coverage of one tuned rate, log₂: as it is now, and as it was before."""
    now, before = [], []
    for _ in range(experiments):
        hill = Hill(peak=rng.uniform(-0.5, 0.5), cliff=cliff)
        one = found(hill, seeds, rng)
        if one.peak.is_estimate:
            now.append((one.peak, hill.peak))
            before.append((pinned_bootstrap(one, rng), hill.peak))
    name = "tuned rate"
    return _covered(name, cliff, seeds, now), _covered(f"{name}, before", cliff, seeds, before)


SLOPE, KNEE, SIZES = 1.0, 4.6, tuple(range(11))
"""The made-up experiment over batch sizes: linear scaling up to 2^4.6 of sizes 1 to 1,024."""

FALL, BUDGETS = -4 / 7, tuple(range(8))
"""The made-up experiment over budgets: a rate that falls by 16 over a factor of 128, as S20's."""


def _peaks(
    at: Sequence[float], truth: Callable[[float], float], cliff: float, seeds: int, rng: Any
) -> list[Located]:
    return [found(Hill(peak=truth(x), cliff=cliff), seeds, rng).peak for x in at]


def regimes_of(cliff: float, seeds: int, rng: np.random.Generator) -> Regimes:
    """The two regimes of one made-up experiment over batch sizes."""
    level = rng.uniform(-0.5, 0.5)
    peaks = _peaks(SIZES, lambda x: level + SLOPE * min(x - KNEE, 0.0), cliff, seeds, rng)
    return fit_regimes([2**size for size in SIZES], peaks)


def regimes_coverage(
    cliff: float, seeds: int, experiments: int, rng: np.random.Generator
) -> tuple[Coverage, Coverage]:
    """Coverage of the slope below the boundary and of the boundary, log₂."""
    slopes, knees = [], []
    for _ in range(experiments):
        fit = regimes_of(cliff, seeds, rng)
        slopes.append((fit.slope, SLOPE))
        bounds = (fit.boundary.value, fit.boundary.low, fit.boundary.high)
        with np.errstate(divide="ignore"):
            knees.append((Interval(*(float(np.log2(b)) for b in bounds)), KNEE))
    return (
        _covered("slope over batch sizes", cliff, seeds, slopes),
        _covered("boundary", cliff, seeds, knees),
    )


def slope_coverage(
    cliff: float, seeds: int, experiments: int, rng: np.random.Generator
) -> Coverage:
    """Coverage of the slope of a tuned rate over budgets."""
    slopes = []
    for _ in range(experiments):
        level = rng.uniform(-0.5, 0.5)

        def truth(x: float, level: float = level) -> float:
            return level + FALL * x

        peaks = _peaks(BUDGETS, truth, cliff, seeds, rng)
        rates = [peak.value if peak.is_estimate else math.nan for peak in peaks]
        slopes.append((line_slope(BUDGETS, rates), FALL))
    return _covered("slope over budgets", cliff, seeds, slopes)


def difference_coverage(
    cliff: float, seeds: int, experiments: int, rng: np.random.Generator
) -> Coverage:
    """Coverage of the difference of what fresh seeds reach at two tuned rates, in points.

    The truth is the difference at the rates that were chosen: what those seeds estimate.
    """
    gaps = []
    for _ in range(experiments):
        sides = []
        for top in (98.0, 97.0):
            hill = Hill(peak=rng.uniform(-0.5, 0.5), cliff=cliff, top=top)
            one = found(hill, seeds, rng, centre=0)
            sides.append((one.fresh, hill.accuracy(one.tuned)))
        (mine, here), (other, there) = sides
        gaps.append(((mine - other).interval, here - there))
    return _covered("difference of accuracies", cliff, seeds, gaps)


def cell(quantity: str, cliff: float, seeds: int, experiments: int) -> list[Coverage]:
    """Coverage of a quantity of `QUANTITIES`, with random numbers of its own: always the same."""
    kinds = list(QUANTITIES)
    rng = np.random.default_rng([kinds.index(quantity), CLIFFS.index(cliff), seeds])
    lines = QUANTITIES[quantity](cliff, seeds, experiments, rng)
    return [lines] if isinstance(lines, Coverage) else list(lines)


QUANTITIES: dict[str, Callable[..., Coverage | tuple[Coverage, ...]]] = {
    "tuned rate": rate_coverage,
    "two regimes": regimes_coverage,
    "slope over budgets": slope_coverage,
    "difference of accuracies": difference_coverage,
}
"""What coverage is simulated of, by name."""
