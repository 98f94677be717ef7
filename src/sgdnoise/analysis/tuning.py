"""What the records say: tuned learning rates, intervals, slopes, the boundary, and comparisons.

S20's own statistics come from `protocol`; beside them stand the project's: an interval for the
tuned learning rate that a grid's spacing does not quantise, a re-estimate by seeds that the tuning
never saw, and the broken line that separates the two regimes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdnoise.analysis.intervals import RESAMPLES, Estimate, Interval
from sgdnoise.study.grid import Key, Outcome, Sweep, SweepState, grid_points
from sgdnoise.study.protocol import Objective, Point, best_of


def key_name(key: Key) -> str:
    """A sweep's key as one word, which also is its anchor on the page of runs: `sgd-64`."""
    return "-".join(f"{value:g}" if isinstance(value, float) else str(value) for _, value in key)


def without(key: Key, *names: str) -> Key:
    """A sweep's key less some of its parts."""
    return tuple(part for part in key if part[0] not in names)


def value_table(
    sweep: Sweep,
    points: Sequence[Point],
    seeds: Sequence[int],
    known: Mapping[str, Outcome],
    objective: Objective,
) -> np.ndarray:
    """Final values, shape (points, seeds): NaN where a run diverged or is missing."""
    table = np.full((len(points), len(seeds)), np.nan)
    for i, point in enumerate(points):
        for j, seed in enumerate(seeds):
            outcome = known.get(sweep.config(point, seed).id)
            if outcome is not None:
                table[i, j] = outcome[objective.name]
    return table


def best_means(table: np.ndarray, objective: Objective, fraction: float) -> np.ndarray:
    """Mean of the best k of n along the last axis; NaN where fewer than k are finite."""
    k = best_of(table.shape[-1], fraction)
    sign = objective.sign
    ranked = np.sort(np.where(np.isfinite(table), sign * table, -np.inf), axis=-1)[..., -k:]
    return np.where(np.isfinite(ranked).all(-1), sign * ranked.mean(-1), np.nan)


def parabola_peak(exponents: np.ndarray, means: np.ndarray, objective: Objective) -> float:
    """The vertex of the parabola through the best grid point and its two neighbours.

    A grid's argmax moves in whole steps and shows no spread when it does not move; this vertex, in
    log₂ of the learning rate, lies within half a step of it and does. More points than three would
    tilt it: beyond the best learning rate accuracy often falls off a cliff, which is no parabola.
    At an edge, or beside a point that is not valid, the argmax itself is given; NaN where nothing
    is valid.
    """
    sign = objective.sign
    score = np.where(np.isfinite(means), sign * means, -np.inf)
    best = int(np.argmax(score))
    if not np.isfinite(score[best]):
        return math.nan
    if best in (0, len(score) - 1) or not np.isfinite(score[best - 1 : best + 2]).all():
        return float(exponents[best])
    left, top, right = score[best - 1 : best + 2]
    drop = (top - left) + (top - right)
    step = exponents[best + 1] - exponents[best]
    return float(
        exponents[best] + step * 0.5 * (right - left) / drop if drop > 0 else exponents[best]
    )


def resampled_peaks(
    exponents: np.ndarray, table: np.ndarray, objective: Objective, fraction: float, seed: int = 0
) -> np.ndarray:
    """`parabola_peak` for each bootstrap resample of seeds, shape (RESAMPLES,).

    A seed is drawn for all learning rates at once: they share its initialisation and data order.
    A single seed has no spread: NaN.
    """
    if table.shape[1] < 2:
        return np.full(RESAMPLES, np.nan)
    generator = np.random.default_rng(seed)
    draws = generator.integers(table.shape[1], size=(RESAMPLES, table.shape[1]))
    means = best_means(table[:, draws], objective, fraction)
    return np.array([parabola_peak(exponents, means[:, r], objective) for r in range(RESAMPLES)])


@dataclass(frozen=True)
class Tuning:
    """All that one sweep says about its one-dimensional optimum, for one objective.

    Attributes:
        state: the sweep's state, with S20's optimum and error bar.
        objective: what it is tuned for.
        points: the grid's points, along its first axis.
        seeds: those of which any run is recorded; all that should be, where none is.
        exponents: log₂ of the effective learning rate at each, shape (points,).
        table: final values of the objective, shape (points, seeds).
        peak: log₂ of the tuned effective learning rate by the local parabola, with its interval.
        resampled: `peak` for each resample.
    """

    state: SweepState
    objective: Objective
    points: list[Point]
    seeds: list[int]
    exponents: np.ndarray
    table: np.ndarray
    peak: Interval
    resampled: np.ndarray


def tuning_of(
    state: SweepState, seeds: int, known: Mapping[str, Outcome], objective: Objective
) -> Tuning:
    """The tuning of a sweep along its first axis, at the best of the other axes if it has any."""
    points = grid_points(state.grid)
    # A seed that has not been run yet is no diverged run: the statistics are of those that have.
    run = [s for s in range(seeds) if any(state.sweep.config(p, s).id in known for p in points)]
    there = run or list(range(seeds))
    table = value_table(state.sweep, points, there, known, objective)
    if len(state.grid) > 1:
        rows = _profile(points, best_means(table, objective, state.sweep.best), objective)
        points, table = [points[row] for row in rows], table[rows]
    exponents = np.array([point[0] for point in points], dtype=np.float64)
    fraction = state.sweep.best
    means = best_means(table, objective, fraction)
    resampled = resampled_peaks(exponents, table, objective, fraction)
    peak = Interval.of(parabola_peak(exponents, means, objective), resampled)
    return Tuning(state, objective, points, there, exponents, table, peak, resampled)


def _profile(points: Sequence[Point], means: np.ndarray, objective: Objective) -> list[int]:
    """For each first coordinate, the row of its best point; where none is valid, its first."""
    sign = objective.sign
    best: dict[int, int] = {}
    for row, point in enumerate(points):
        kept = best.setdefault(point[0], row)
        if np.isfinite(means[row]) and not sign * means[row] <= sign * means[kept]:
            best[point[0]] = row
    return [best[first] for first in sorted(best)]


def optimum(
    one: Tuning, seeds: int, known: Mapping[str, Outcome], objectives: Sequence[Objective]
) -> dict[str, object]:
    """What a figure's point shows of a sweep: a row of `Reading.optima`, which names its columns.

    Args:
        one: the sweep's tuning.
        seeds: runs a grid point that there should be.
        known: what is recorded, by run.
        objectives: whose means and standard deviations are wanted.
    """
    state, objective = one.state, one.objective
    key, tuned = state.sweep.key, state.tuned.get(objective.name)
    row: dict[str, object] = {**dict(key), "key": key, "sweep": key_name(key)}
    points = grid_points(state.grid)
    counts = [sum(state.sweep.config(p, s).id in known for s in range(seeds)) for p in points]
    row |= {"settled": state.settled, "seeds": min(counts), "fresh_seeds": 0}
    row["diverged"] = int(sum(counts) - np.isfinite(one.table).sum())
    row |= {"peak": one.peak.value, "peak_low": one.peak.low, "peak_high": one.peak.high}
    if tuned is None:
        # The columns stand where nothing could be tuned, too: everything may have diverged.
        names = ("exponent", "effective_learning_rate", "bar_low", "bar_high", "bound", "open")
        kinds = ("mean", "std", "fresh", "fresh_std")
        reached = [f"{o.name}_{kind}" for o in objectives for kind in kinds]
        return row | dict.fromkeys([*names, *reached], math.nan)
    low, high = tuned.bar_range()
    row |= {
        "exponent": tuned.point[0],
        "effective_learning_rate": 2.0 ** tuned.point[0],
        "bar_low": low,
        "bar_high": high,
        "bound": tuned.bound[0],
        "open": tuned.at_low[0] or tuned.at_high[0],
    }
    ids = [state.sweep.config(tuned.point, s).id for s in range(seeds)]
    runs = _best_runs([known[run] for run in ids if run in known], objective, state)
    fresh = [known[run] for run in state.fresh_runs if run in known]
    for name in (o.name for o in objectives):
        mean, std = mean_std([run[name] for run in runs])
        row |= {f"{name}_mean": mean, f"{name}_std": std}
        mean, std = mean_std([run[name] for run in fresh])
        row |= {f"{name}_fresh": mean, f"{name}_fresh_std": std}
    row["fresh_seeds"] = len(fresh)
    return row


def fresh_accuracy(row: Any) -> Estimate:
    """The accuracy of the seeds that the tuning never saw, of a row of `Reading.optima`."""
    return Estimate.of(row.test_accuracy_fresh, row.test_accuracy_fresh_std, row.fresh_seeds)


def _best_runs(runs: list[Outcome], objective: Objective, state: SweepState) -> list[Outcome]:
    """The best k of n, ranked by the objective that was tuned: what S20 averages, losses too."""
    finite = [run for run in runs if math.isfinite(run[objective.name])]
    finite.sort(key=lambda run: run[objective.name], reverse=objective.higher_is_better)
    return finite[: best_of(len(runs), state.sweep.best)]


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of the finite values; NaN for none, and for one."""
    finite = np.array([value for value in values if math.isfinite(value)])
    mean = float(finite.mean()) if len(finite) else math.nan
    return mean, float(finite.std(ddof=1)) if len(finite) > 1 else math.nan


def log_slope(tuned: Mapping[Key, Tuning], name: str) -> Interval:
    """Slope of log tuned learning rate against log of a key, such as `epochs`, least squares."""
    at = np.log2([float(dict(key)[name]) for key in tuned])
    peaks = np.array([one.peak.value for one in tuned.values()])
    resampled = np.stack([one.resampled for one in tuned.values()], 1)

    def slope(values: np.ndarray) -> float:
        sound = np.isfinite(values)
        return float(np.polyfit(at[sound], values[sound], 1)[0]) if sound.sum() > 1 else math.nan

    return Interval.of(slope(peaks), np.array([slope(row) for row in resampled]))
