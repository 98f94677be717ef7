"""A study with its records: everything that pages, claims and comparisons ask of them, once."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from sgdnoise.analysis.intervals import Estimate, Interval
from sgdnoise.analysis.locate import scores
from sgdnoise.analysis.regimes import Regimes, boundary_of, line_slope, log_rates, log_slope
from sgdnoise.analysis.tuning import (
    Tuning,
    at_optimum,
    key_name,
    mean_std,
    optimum,
    reached,
    tuning_of,
    without,
)
from sgdnoise.config import RunConfig
from sgdnoise.records.record import Record
from sgdnoise.study.grid import Key, Outcome, SweepState
from sgdnoise.study.protocol import Objective
from sgdnoise.study.scales import METHODS
from sgdnoise.study.study import Study

MAIN_PARTS = ("method", "batch_size", "epochs")
"""The parts of a sweep's key that are not a variant of it."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What the records say of a study.

    `objective` is the name of one of the experiment's objectives throughout, and `variant` what
    the sweeps differ in beside `MAIN_PARTS`; None for all.

    Attributes:
        study: which experiment, at which scale, with how many seeds.
        records: its sound records, by run.
    """

    study: Study
    records: Mapping[str, Record]

    @functools.cache  # noqa: B019  a reading is looked at as long as its records
    def part(self, keep: Callable[[Key], bool]) -> Self:
        """The same of some of the sweeps, by their keys."""
        states = [state for state in self.states if keep(state.sweep.key)]
        if len(states) == len(self.states):
            return self
        other = dataclasses.replace(self)
        other.__dict__.update(
            known=self.known, states=states
        )  # where cached properties keep theirs
        return other

    @functools.cached_property
    def known(self) -> dict[str, Outcome]:
        """Final numbers by run, NaN where it diverged."""
        return self.study.known(self.records)

    @functools.cached_property
    def states(self) -> list[SweepState]:
        """How far each sweep is."""
        return list(self.study.states(self.records))

    @property
    def runs(self) -> list[Record]:
        """The records that these sweeps need."""
        wanted = dict.fromkeys(config.id for state in self.states for config in state.needed)
        return [self.records[run] for run in wanted if run in self.records]

    @functools.cached_property
    def devices(self) -> list[str]:
        """The kinds of device that trained them, CPU and GPU."""
        return sorted({{"cpu": "CPU", "cuda": "GPU"}[record.device] for record in self.runs})

    @property
    def mixed(self) -> str:
        """That these records are of several kinds of device, so that no word is said of them.

        Empty where they are of one.
        """
        if len(self.devices) < 2:
            return ""
        return f"its records mix devices, {' and '.join(self.devices)}: train them on one."

    @property
    def seeds(self) -> int:
        """Runs a grid point that there should be: the study's, or fewer where that is enough."""
        enough = max((state.sweep.most_seeds for state in self.states), default=self.study.seeds)
        return min(self.study.seeds, enough)

    @property
    def fewest_seeds(self) -> int:
        """Runs a grid point of the sweep that takes the fewest: no more stand behind a word."""
        return min([self.study.seeds, *(state.sweep.most_seeds for state in self.states)])

    @property
    def waiting(self) -> int:
        """How many sweeps are not complete."""
        return sum(not state.settled for state in self.states)

    @functools.cached_property
    def missing(self) -> list[RunConfig]:
        """The runs that no sound record stands for."""
        return self.study.missing(self.records)

    def objective(self, name: str) -> Objective:
        """The objective of a name."""
        return self.study.experiment.objective(name)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the sweeps are tuned for."""
        return tuple(dict.fromkeys(o for state in self.states for o in state.sweep.objectives))

    @property
    def variants(self) -> list[Key]:
        """What the sweeps differ in beside method, batch size and epochs; [()] for nothing."""
        keys = (state.sweep.key for state in self.states)
        return list(dict.fromkeys(without(key, *MAIN_PARTS) for key in keys))

    def tuned(
        self, objective: str = "test_accuracy", variant: Key | None = None
    ) -> dict[Key, Tuning]:
        """The tuning of every sweep that has a rate to tune, for an objective, by its key."""
        found = self._tunings(objective)
        return {key: one for key, one in found.items() if is_variant(key, variant)}

    @functools.cache  # noqa: B019
    def _tunings(self, objective: str) -> dict[Key, Tuning]:
        of = self.objective(objective)
        return {
            state.sweep.key: tuning_of(state, self.study.seeds, self.known, of)
            for state in self.states
            if state.sweep.axes
        }

    def optima(self, objective: str = "test_accuracy", variant: Key | None = None) -> pd.DataFrame:
        """One row a sweep: what the figure's points show.

        Columns, beside the parts of the sweep's key: the `key` itself, its `key_name` as `sweep`,
        `exponent` (log₂ of S20's tuned effective learning rate), `bar_low`, `bar_high` (S20's error
        bar), `bound` (−1, 0, 1: the optimum lies on an edge), `open` (the bar touches an edge),
        `peak`, `peak_low`, `peak_high`, `peak_by` (see `analysis.locate`), the mean and standard
        deviation of every objective at the optimum, over the k runs that are best by the tuned
        objective (`*_mean`, `*_std`) and over all finite fresh seeds (`*_fresh`, `*_fresh_std`,
        `fresh_seeds`; beside them `fresh_diverged`), `seeds` (fewest at any grid point), `diverged`
        (runs of the grid), and `settled`.
        """
        rows = self._optima(objective)
        return rows[[is_variant(key, variant) for key in rows.key]].reset_index(drop=True)

    @functools.cache  # noqa: B019
    def _optima(self, objective: str) -> pd.DataFrame:
        reported, tuned = self.study.experiment.objectives, self._tunings(objective).values()
        return pd.DataFrame([optimum(one, self.study.seeds, self.known, reported) for one in tuned])

    @functools.cached_property
    def recipes(self) -> pd.DataFrame:
        """One row a sweep without axes: what a recipe reached that is run as it is printed.

        Columns as in `optima`, as far as they make sense: `key`, `sweep`, and the mean and standard
        deviation of each objective over its finite seeds, none of which was chosen by its result
        (`*_fresh`, `*_fresh_std`, `fresh_seeds`).
        """
        rows = []
        reported = self.study.experiment.objectives
        for state in (state for state in self.states if not state.sweep.axes):
            key = state.sweep.key
            runs = [self.known[c.id] for c in state.needed if c.id in self.known]
            row: dict[str, object] = {"key": key, "sweep": key_name(key)}
            for name in (objective.name for objective in reported):
                mean, std = mean_std([run[name] for run in runs])
                row |= {f"{name}_fresh": mean, f"{name}_fresh_std": std}
            finite = np.isfinite([run[reported[0].name] for run in runs])
            row["fresh_seeds"] = int(finite.sum())
            rows.append(row)
        return pd.DataFrame(rows)

    def reached(self, key: Key, objective: str = "test_accuracy") -> Estimate:
        """What fresh seeds reached at a sweep's tuned rate: accuracy in points, a loss as log₂.

        Of a recipe that is run as printed, what all its seeds reached, by their own variance.
        """
        of = self.objective(objective)
        (state,) = (state for state in self.states if state.sweep.key == key)
        if state.sweep.axes:
            return reached(self.tuned(state.sweep.objectives[0].name)[key], self.known, of)
        runs = [self.known[c.id][objective] for c in state.needed if c.id in self.known]
        return Estimate.mean(of.sign * scores(np.array(runs), of))

    def best(self, key: Key, objective: str) -> Estimate:
        """What the tuning's own seeds reached at the rate that is best for an objective."""
        return at_optimum(self.tuned(objective)[key])

    @property
    def is_tuned(self) -> bool:
        """Whether a learning rate is tuned, or recipes are run as they are printed."""
        return all(state.sweep.axes for state in self.states)

    @functools.cached_property
    def regimes(self) -> dict[str, Regimes]:
        """The fitted regimes of each method, for an experiment over batch sizes."""
        tuned = self.tuned()
        methods = {dict(key)["method"] for key in tuned}
        return {m: boundary_of(tuned, m) for m in METHODS if m in methods}

    def slope_apart(self, over: str, objective: str, other: str) -> Interval:
        """How much steeper the rates for one objective go with a key than those for another."""
        mine, theirs = (log_rates(self.tuned(name), over) for name in (objective, other))
        apart = [mine[at] - theirs[at] for at in mine]
        return line_slope([math.log2(at) for at in mine], apart)

    def slope(
        self, over: str, objective: str = "test_accuracy", variant: Key | None = None
    ) -> Interval:
        """Slope of the log tuned learning rate against the log of a key, such as `epochs`."""
        return log_slope(self.tuned(objective, variant), over)


def is_variant(key: Key, variant: Key | None) -> bool:
    """Whether a sweep is of a variant, a key without the main parts; of any, if it is None."""
    return variant is None or without(key, *MAIN_PARTS) == variant
