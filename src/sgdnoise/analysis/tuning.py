"""What the records say: tuned learning rates, and what was reached there.

S20's own statistics come from `protocol`; beside them stand the project's: the tuned rate with an
interval that covers also beside a cliff (`locate`), and a re-estimate by seeds that the tuning
never saw, its error from the variance that its neighbourhood of the grid shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sgdnoise.analysis.intervals import Estimate
from sgdnoise.analysis.locate import Located, locate, scores
from sgdnoise.study.grid import Key, Outcome, Sweep, SweepState
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
        peak: log₂ of the effective learning rate whose mean over all finite seeds is best.
    """

    state: SweepState
    objective: Objective
    points: list[Point]
    seeds: list[int]
    exponents: np.ndarray
    table: np.ndarray
    peak: Located

    @property
    def about(self) -> np.ndarray:
        """Which rows share the optimum's variance, shape (points,): those of S20's error bar.

        Rates whose mean lies within one standard deviation of the best, a factor of two away at
        most. Further off, beside a cliff, seeds scatter far more.
        """
        tuned = self.state.tuned.get(self.objective.name)
        if tuned is None:
            return np.zeros(len(self.points), dtype=bool)
        alike = np.array([point in tuned.bar for point in self.points])
        return np.asarray(alike & (abs(self.exponents - tuned.point[0]) <= 1))

    def alike(self, objective: Objective) -> np.ndarray:
        """Which rows share the optimum's variance of an objective, shape (points,).

        Of an accuracy those that `about` has. A loss shares it with no other rate: near zero its
        logarithm scatters ten times as far at one rate as at the next.
        """
        if objective.higher_is_better:
            return self.about
        tuned = self.state.tuned.get(self.objective.name)
        return np.array([tuned is not None and point == tuned.point for point in self.points])


COLLAPSED = 0.5
"""A run has collapsed below this share of the best mean accuracy of its sweep."""


def collapses(one: Tuning) -> list[float]:
    """The rates, log₂, at which a run of a sweep tuned for accuracy collapsed or diverged.

    A collapsed run has less than `COLLAPSED` of the accuracy that the tuned rate has. Runs that
    are still to come are no diverged ones.
    """
    tuned = one.state.tuned.get(one.objective.name)
    least = COLLAPSED * tuned.cell.mean if tuned is not None else np.inf
    lost = (one.table < least) | (~np.isfinite(one.table) & one.state.settled)
    return [float(e) for e, row in zip(one.exponents, lost, strict=True) if row.any()]


def tuning_of(
    state: SweepState, seeds: int, known: Mapping[str, Outcome], objective: Objective
) -> Tuning:
    """The tuning of a sweep along its first axis, at the best of the other axes if it has any."""
    points = state.points
    # A seed that has not been run yet is no diverged run: the statistics are of those that have.
    run = [s for s in range(seeds) if any(state.sweep.config(p, s).id in known for p in points)]
    there = run or list(range(seeds))
    table = value_table(state.sweep, points, there, known, objective)
    if len(state.grid) > 1:
        rows = _profile(points, best_means(table, objective, state.sweep.best), objective)
        points, table = [points[row] for row in rows], table[rows]
    exponents = np.array([point[0] for point in points], dtype=np.float64)
    peak = locate(exponents, table, objective, state.sweep.best)
    return Tuning(state, objective, points, there, exponents, table, peak)


def _profile(points: Sequence[Point], means: np.ndarray, objective: Objective) -> list[int]:
    """For each first coordinate, the row of its best point; where none is valid, its first."""
    sign = objective.sign
    best: dict[float, int] = {}
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
    points = state.points
    made = [[known.get(state.sweep.config(p, s).id) for s in range(seeds)] for p in points]
    there = [[run[objective.name] for run in runs if run is not None] for runs in made]
    row |= {"settled": state.settled, "seeds": min(map(len, there))}
    row |= {"fresh_seeds": 0, "fresh_diverged": 0}
    row["diverged"] = sum(not math.isfinite(value) for values in there for value in values)
    row |= {"peak": one.peak.value, "peak_low": one.peak.low, "peak_high": one.peak.high}
    row["peak_by"] = one.peak.by
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
        "open": any(tuned.at_low) or any(tuned.at_high),
    }
    ids = [state.sweep.config(tuned.point, s).id for s in range(seeds)]
    runs = _best_runs([known[run] for run in ids if run in known], objective, state)
    fresh = [known[run] for run in state.fresh_runs if run in known]
    for name in (o.name for o in objectives):
        mean, std = mean_std([run[name] for run in runs])
        row |= {f"{name}_mean": mean, f"{name}_std": std}
        mean, std = mean_std([run[name] for run in fresh])
        row |= {f"{name}_fresh": mean, f"{name}_fresh_std": std}
    ended = sum(math.isfinite(run[objective.name]) for run in fresh)
    row |= {"fresh_seeds": ended, "fresh_diverged": len(fresh) - ended}
    return row


def reached(one: Tuning, known: Mapping[str, Outcome], objective: Objective) -> Estimate:
    """What the seeds reached that the tuning never saw: accuracy in points, a loss as log₂.

    The error is by the variance pooled over those seeds and the tuning's at the rates that share
    it: see `Tuning.alike`.

    Args:
        one: the tuning whose rate it is.
        known: what is recorded, by run.
        objective: what is asked for, which need not be what was tuned.
    """
    sweep = one.state.sweep
    fresh = [known[run][objective.name] for run in one.state.fresh_runs if run in known]
    about = [one.points[row] for row in np.flatnonzero(one.alike(objective))]
    near = value_table(sweep, about, one.seeds, known, objective)
    groups = [objective.sign * scores(values, objective) for values in (fresh, *near)]
    return Estimate.pooled(groups[0], groups)


def at_optimum(one: Tuning) -> Estimate:
    """What the tuning's own seeds reached at the best rate: accuracy in points, a loss as log₂."""
    values = one.objective.sign * scores(one.table, one.objective)
    tuned = one.state.tuned.get(one.objective.name)
    best = [] if tuned is None else values[one.points.index(tuned.point)]
    return Estimate.pooled(best, values[one.alike(one.objective)])


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
