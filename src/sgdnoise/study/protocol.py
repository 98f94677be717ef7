"""S20's statistics (§4): best k of n seeds, the tuned learning rate, its error bar, the edge rule.

Plain functions of arrays, so that what decides how a grid grows and what a page shows is one code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Point = tuple[float, ...]
"""A grid point: coordinates along each axis, whole numbers as first planned, and their halves and
quarters where the grid was refined."""

BEST_FRACTION = 0.8
"""S20 keeps 12 of 15 runs. Its figure 3 keeps 5 of 7, which `best_of` rounds to 6: see there."""

MAX_EXTENSION = 3
"""Steps by which a grid may grow on one side before its optimum is reported as a bound."""


@dataclass(frozen=True)
class Objective:
    """A final number of a run that an experiment tunes for or reports.

    Attributes:
        name: as records have it under `metrics`.
        label: what figures call it.
        unit: of its axis.
        higher_is_better: its direction.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool

    @property
    def sign(self) -> int:
        """1 where more is better, −1 where less is."""
        return 1 if self.higher_is_better else -1

    @property
    def purpose(self) -> str:
        """What a learning rate was tuned for, in words."""
        return f"for {self.label.removeprefix('final ')}"


TEST_ACCURACY = Objective("test_accuracy", "test accuracy", "%", True)
"""What S20 tunes for first."""

TRAIN_LOSS = Objective("train_loss", "final training loss", "nats", False)
"""What S20 tunes for beside it."""


def best_of(n: int, fraction: float = BEST_FRACTION) -> int:
    """How many of n runs are kept: k = round(0.8 n), at least one; 12 of 15 as S20 has it.

    Figure 3 of S20 keeps 5 of 7; pass `fraction=5 / 7` for it.
    """
    if n < 1:
        raise ValueError(f"there must be at least one run, got {n}")
    return max(1, round(fraction * n))


@dataclass(frozen=True)
class Cell:
    """The runs of one grid point, summarised: mean and standard deviation of the best k of n.

    A diverged run ranks last. With fewer than k finite runs the point is not `valid`, and mean and
    standard deviation are NaN. The standard deviation is the sample's (n − 1), 0 for k = 1.
    """

    mean: float
    std: float
    n: int
    finite: int
    k: int

    @property
    def valid(self) -> bool:
        """Whether enough runs are finite."""
        return self.finite >= self.k


def summarise(
    values: Sequence[float], objective: Objective, fraction: float = BEST_FRACTION
) -> Cell:
    """The cell of some runs' final values; NaN or infinity for a run that diverged."""
    array = np.asarray(values, dtype=np.float64)
    finite = np.sort(array[np.isfinite(array)])
    k = best_of(len(array), fraction)
    if len(finite) < k:
        return Cell(np.nan, np.nan, len(array), len(finite), k)
    best = finite[-k:] if objective.higher_is_better else finite[:k]
    std = float(best.std(ddof=1)) if k > 1 else 0.0
    return Cell(float(best.mean()), std, len(array), len(finite), k)


@dataclass(frozen=True)
class Tuned:
    """The optimum of a grid, as S20 defines it.

    Attributes:
        point: where the mean of the best k is best; of equal means the smallest learning rate.
        cell: the summary there.
        bar: all points whose mean lies within one standard deviation (the optimum's) of it.
        at_low: for each axis, whether the optimum or its bar touches the low edge of the grid.
        at_high: likewise for the high edge.
        bound: for each axis, −1 if the optimum itself lies on the low edge, +1 on the high edge,
            else 0.
    """

    point: Point
    cell: Cell
    bar: tuple[Point, ...]
    at_low: tuple[bool, ...]
    at_high: tuple[bool, ...]
    bound: tuple[int, ...]

    def bar_range(self, axis: int = 0) -> tuple[float, float]:
        """Lowest and highest exponent of the error bar along an axis."""
        along = [point[axis] for point in self.bar]
        return min(along), max(along)


def tune(cells: Mapping[Point, Cell], objective: Objective) -> Tuned | None:
    """The optimum among the valid cells; None where no cell is valid.

    The edge is that of all cells, valid or not: a learning rate that diverges closes the grid from
    above as surely as one that does worse.
    """
    valid = {point: cell for point, cell in sorted(cells.items()) if cell.valid}
    if not valid:
        return None
    sign = objective.sign
    point = max(valid, key=lambda p: sign * valid[p].mean)
    best = valid[point]
    bar = tuple(p for p, c in valid.items() if sign * (best.mean - c.mean) <= best.std)
    axes = range(len(point))
    low = [min(p[a] for p in cells) for a in axes]
    high = [max(p[a] for p in cells) for a in axes]
    return Tuned(
        point=point,
        cell=best,
        bar=bar,
        at_low=tuple(any(p[a] == low[a] for p in bar) for a in axes),
        at_high=tuple(any(p[a] == high[a] for p in bar) for a in axes),
        bound=tuple((point[a] == high[a]) - (point[a] == low[a]) for a in axes),
    )


def grow(
    grid: tuple[tuple[int, int], ...],
    frozen: tuple[tuple[int, int], ...],
    tuned: Sequence[Tuned | None],
) -> tuple[tuple[int, int], ...]:
    """The grid one step larger on each side that an optimum or its error bar touches.

    Args:
        grid: lowest and highest exponent along each axis, as they are now.
        frozen: the same as first planned: a side grows by at most `MAX_EXTENSION` from there.
        tuned: the optima on `grid`, one an objective. Where no point is valid, as when everything
            diverged, the grid grows downwards.

    Returns:
        The same grid when no side may or need grow.
    """
    new = []
    for axis, ((low, high), (low_0, high_0)) in enumerate(zip(grid, frozen, strict=True)):
        down = any(t is None or t.at_low[axis] for t in tuned)
        up = any(t is not None and t.at_high[axis] for t in tuned)
        new.append(
            (
                low - 1 if down and low_0 - low < MAX_EXTENSION else low,
                high + 1 if up and high - high_0 < MAX_EXTENSION else high,
            )
        )
    return tuple(new)


PINNED = 0.35
"""How far from the best of three points, in their spacing, the vertex through them may lie. Beside
a cliff it is pinned at 0.5, wherever between the points the best rate is."""


def refine(
    cells: Mapping[Point, Cell], optimum: Tuned | None, spacing: float, objective: Objective
) -> list[Point]:
    """The points that halve the spacing about a one-dimensional optimum.

    The first halving is made everywhere; the next only beside a cliff, where the vertex through
    the optimum and its neighbours says nothing: one of them is lost, or the vertex is `PINNED`.

    Args:
        cells: the summaries of a complete grid.
        optimum: on that grid; None, and one on an edge, is not refined.
        spacing: of the new points from the optimum: 0.5 for the first halving.
        objective: what it is tuned for.

    Returns:
        The new points; none where nothing is to be refined.
    """
    if optimum is None or any(optimum.bound):
        return []
    (at,) = optimum.point
    if spacing < 0.5:
        left, top, right = (
            objective.sign * cells[(at + d,)].mean for d in (-2 * spacing, 0, 2 * spacing)
        )
        drop = (top - left) + (top - right)
        if np.isfinite(drop) and drop > 0 and abs(right - left) / drop / 2 <= PINNED:
            return []
    return [(at - spacing,), (at + spacing,)]
