"""Sweeps over grids, and how a grid grows.

A sweep is a pure function from what has been recorded to the runs that it needs: first the
frozen grid, then one more step on a side that an optimum or its error bar touches (the edge rule),
then points between those about the optimum, where the sweep is refined, then fresh seeds at the
tuned learning rate, which the tuning never saw. Whatever stopped a sweep, asking again gives what
is missing.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sgdnoise.config import RunConfig, make_config
from sgdnoise.study.protocol import (
    BEST_FRACTION,
    MAX_EXTENSION,
    TEST_ACCURACY,
    Cell,
    Objective,
    Point,
    Tuned,
    grow,
    refine,
    summarise,
    tune,
)

FRESH_SEED = 1000
"""Seeds from here on re-estimate at the tuned learning rate; the tuning uses those from 0."""

Key = tuple[tuple[str, Any], ...]
"""What tells a sweep from its neighbours: names and values, hashable, in a fixed order."""

Outcome = Mapping[str, float]
"""What became of a run, by objective: NaN where it diverged or failed."""


@dataclass(frozen=True)
class Axis:
    """A tuned quantity on a geometric grid: (2^step)^k for k from `low` to `high`, inclusive.

    `name` is a quantity that `Sweep.config` knows: `effective_learning_rate`, ε/(1 − m);
    `final_learning_rate`, S20's ε_f, effective too; or `layerwise_rate`, γη/(1 − m) of a layer-wise
    rule, the part of its own size by which a layer moves, whose γ is then fixed and η tuned.
    """

    name: str
    low: int
    high: int
    step: int = 1

    def value(self, k: float) -> float:
        """The quantity at grid coordinate k."""
        return 2.0 ** (self.step * k)


@dataclass(frozen=True)
class Sweep:
    """One tuned curve point: everything fixed but what the axes vary, and the seed.

    Attributes:
        key: what tells this sweep from its neighbours in the figure, such as method and batch size.
        fixed: config fields shared by all its runs.
        axes: the grid as first planned; none for a recipe that is run as it is printed.
        objectives: the final numbers it is tuned for, the figure's own first.
        best: fraction of the seeds that the statistics keep.
        halvings: how often the spacing about the optimum is halved once the grid stands: see
            `protocol.refine`. For a single axis, and at most twice.
        most_seeds: runs a grid point that are enough, whatever is asked for.
    """

    key: Key
    fixed: tuple[tuple[str, Any], ...]
    axes: tuple[Axis, ...]
    objectives: tuple[Objective, ...] = (TEST_ACCURACY,)
    best: float = BEST_FRACTION
    halvings: int = 0
    most_seeds: int = FRESH_SEED - 1

    def config(self, point: Point, seed: int) -> RunConfig:
        """The run at a grid point."""
        return _config(self, point, seed)

    def _build(self, point: Point, seed: int) -> RunConfig:
        given = dict(self.fixed)
        value = {axis.name: axis.value(k) for axis, k in zip(self.axes, point, strict=True)}
        damping = 1 - given.get("momentum", 0.0)
        if "effective_learning_rate" in value:
            given["learning_rate"] = rounded(value["effective_learning_rate"] * damping)
        if "layerwise_rate" in value:
            rate = value["layerwise_rate"] * damping / given["learning_rate"]
            given["trust_coefficient"] = rounded(rate)
        if "final_learning_rate" in value:
            # Ten drops lead from the initial to the final learning rate: S20 §7.1.
            ratio = value["effective_learning_rate"] / value["final_learning_rate"]
            given["decay_factor"] = rounded(ratio ** (1 / 10))
        return make_config(**given, seed=seed)

    def reachable(self) -> Iterator[Point]:
        """All points that it can come to need, however its records turn out.

        They are the frozen grid, grown as far as the edge rule lets it, at the finest spacing.
        """
        parts = 2**self.halvings
        for point in itertools.product(
            *(
                range((axis.low - MAX_EXTENSION) * parts, (axis.high + MAX_EXTENSION) * parts + 1)
                for axis in self.axes
            )
        ):
            yield tuple(k / parts if k % parts else k // parts for k in point)

    def has_seed(self, seed: int) -> bool:
        """Whether a run of it can have this seed, to tune by or to estimate anew."""
        fresh = bool(self.axes) and FRESH_SEED <= seed < FRESH_SEED + self.most_seeds
        return 0 <= seed < self.most_seeds or fresh

    @property
    def frozen(self) -> tuple[tuple[int, int], ...]:
        """Lowest and highest exponent of each axis, as first planned."""
        return tuple((axis.low, axis.high) for axis in self.axes)


def rounded(value: float) -> float:
    """To twelve digits: the last ones differ between machines' libraries, and ids must not."""
    return float(f"{value:.12g}")


@functools.lru_cache(maxsize=1 << 16)
def _config(sweep: Sweep, point: Point, seed: int) -> RunConfig:
    # Validated once: a sweep's runs are asked for again at every look at the store.
    return sweep._build(point, seed)


@dataclass(frozen=True)
class SweepState:
    """How far a sweep is: what it still needs, and what it has found.

    Attributes:
        sweep: whose state this is.
        needed: all runs that it needs as things stand, tuning runs first.
        grid: the exponent ranges, grown as far as the records have it.
        points: all points that it needs as things stand, the first axis slowest.
        cells: the summary of each complete grid point, by objective.
        tuned: the optimum by objective, once the whole grid is recorded; None before that, or
            where everything diverged.
        settled: whether the grid is done growing, and all that is needed is recorded.
        fresh_runs: ids of the re-estimating runs, at the first objective's optimum.
    """

    sweep: Sweep
    needed: list[RunConfig]
    grid: tuple[tuple[int, int], ...]
    points: list[Point]
    cells: dict[str, dict[Point, Cell]] = field(default_factory=dict)
    tuned: dict[str, Tuned | None] = field(default_factory=dict)
    settled: bool = False
    fresh_runs: tuple[str, ...] = ()


def grid_points(grid: tuple[tuple[int, int], ...]) -> list[Point]:
    """All points of a grid, the first axis slowest."""
    return list(itertools.product(*(range(low, high + 1) for low, high in grid)))


def advance(sweep: Sweep, seeds: int, outcomes: Mapping[str, Outcome]) -> SweepState:
    """Where a sweep stands, given what has been recorded: a pure function.

    Args:
        sweep: the sweep.
        seeds: runs a grid point, and fresh ones at the optimum, up to the sweep's own bound.
        outcomes: what is recorded, by run id; runs of other sweeps do not matter.
    """

    def values(configs: list[RunConfig], objective: str) -> list[float]:
        return [outcomes[c.id][objective] for c in configs if c.id in outcomes]

    seeds = min(seeds, sweep.most_seeds)
    grid, points, spacing = sweep.frozen, grid_points(sweep.frozen), 0.5
    while True:
        runs = {p: [sweep.config(p, seed) for seed in range(seeds)] for p in points}
        needed = [config for configs in runs.values() for config in configs]
        cells = {
            objective.name: {
                point: summarise(values(configs, objective.name), objective, sweep.best)
                for point, configs in runs.items()
                if any(config.id in outcomes for config in configs)
            }
            for objective in sweep.objectives
        }
        if any(config.id not in outcomes for config in needed):
            tuned = {
                o.name: tune(cells[o.name], o) if cells[o.name] else None for o in sweep.objectives
            }
            return SweepState(sweep, needed, grid, points, cells, tuned)
        tuned = {o.name: tune(cells[o.name], o) for o in sweep.objectives}
        grown = grow(grid, sweep.frozen, list(tuned.values())) if spacing == 0.5 else grid
        if grown != grid:
            grid, points = grown, grid_points(grown)
        elif spacing >= 0.5**sweep.halvings:
            new = {
                p
                for o in sweep.objectives
                for p in refine(cells[o.name], tuned[o.name], spacing, o)
            }
            points, spacing = sorted(new | set(points)), spacing / 2
        else:
            break
    # Where nothing was tuned, no run was chosen by its own result: nothing to estimate anew.
    best = tuned[sweep.objectives[0].name] if sweep.axes else None
    fresh = [sweep.config(best.point, FRESH_SEED + seed) for seed in range(seeds)] if best else []
    ids = tuple(config.id for config in fresh)
    settled = all(run in outcomes for run in ids)
    return SweepState(sweep, needed + fresh, grid, points, cells, tuned, settled, ids)
