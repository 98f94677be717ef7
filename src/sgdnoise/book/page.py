"""What an experiment's notebook starts from: its records, analysed once, at one scale."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
from IPython.display import Markdown

from sgdnoise import analysis
from sgdnoise.analysis.regimes import Regimes
from sgdnoise.analysis.tuning import Tuning
from sgdnoise.book.parameters import check_parameters
from sgdnoise.book.run_pages import run_page
from sgdnoise.experiments import METHODS, Experiment, Key, SweepState, experiment_named
from sgdnoise.figures import tuned as figures
from sgdnoise.figures.explorer import Figure, Slider, explorer
from sgdnoise.figures.theme import Source
from sgdnoise.records.find import find_store
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.study.plan import OBJECTIVES, outcomes
from sgdnoise.sweeps.run import check_seeds

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """An experiment at a scale, as its page shows it.

    Attributes:
        experiment: which.
        scale: at which scale.
        seeds: runs a grid point that there should be.
        store: where its records are.
    """

    experiment: Experiment
    scale: str
    seeds: int
    store: Store

    @classmethod
    def load(cls, name: str, scale: str, seeds: int | None, results: str | None) -> Page:
        """The page of an experiment; `seeds` None takes the experiment's own number.

        Raises:
            InputError: for an unknown experiment, scale or papermill parameter, seeds other than
                whole numbers from 1 to 999, or no store.
        """
        check_parameters()
        experiment = experiment_named(name, scale)
        if seeds is None:
            seeds = experiment.seeds[scale]
        check_seeds(seeds)
        return cls(experiment, scale, seeds, find_store(results))

    @functools.cached_property
    def records(self) -> dict[str, Record]:
        """The sound records, by run."""
        return self.store.read(self.scale, self.experiment.name)

    @functools.cached_property
    def note(self) -> Source:
        """The provenance of every figure of the page, and where its runs are listed."""
        line = figures.provenance_line(self.experiment, self.scale, self.seeds, self.records)
        return Source(line, run_page(self.scale, self.experiment.name) if self.records else None)

    @property
    def coverage(self) -> str:
        """Scale, what it leaves out and how much of it has been run, in Markdown."""
        return figures.coverage_sentence(self.experiment, self.scale, self.seeds, self.optima())

    @property
    def sources(self) -> str:
        """Where the records are, in Markdown."""
        return figures.sources_sentence(self.experiment, self.scale, self.store.root)

    @functools.cached_property
    def states(self) -> list[SweepState]:
        """How far each sweep is."""
        known = outcomes(self.records, OBJECTIVES)
        return list(self.experiment.states(self.scale, self.seeds, known))

    @property
    def variants(self) -> list[Key]:
        """What the sweeps differ in beside method, batch size and epochs; [()] for nothing."""
        keys = (state.sweep.key for state in self.states)
        return list(dict.fromkeys(analysis.without(k, *figures.MAIN_PARTS) for k in keys))

    @functools.cache  # noqa: B019  a page lives as long as its notebook
    def tuned(
        self, objective: str = "test_accuracy", variant: Key | None = None
    ) -> dict[Key, Tuning]:
        """The tuning of every sweep for an objective, or of those of one variant."""
        found = analysis.tunings(self.experiment, self.scale, self.seeds, self.records, objective)
        return {key: one for key, one in found.items() if self._is(key, variant)}

    @functools.cache  # noqa: B019
    def optima(self, objective: str = "test_accuracy", variant: Key | None = None) -> pd.DataFrame:
        """One row a sweep, of all or of one variant: see `analysis.optima`."""
        rows = analysis.optima(self.experiment, self.scale, self.seeds, self.records, objective)
        return rows[[self._is(key, variant) for key in rows.key]]

    @staticmethod
    def _is(key: Key, variant: Key | None) -> bool:
        return variant is None or analysis.without(key, *figures.MAIN_PARTS) == variant

    def regimes(self) -> dict[str, Regimes]:
        """The fitted regimes of each method, for an experiment over batch sizes."""
        tuned = self.tuned()
        methods = {dict(key)["method"] for key in tuned}
        return {m: analysis.boundary_of(tuned, m) for m in METHODS if m in methods}

    def show(self, draw: Callable[[], T]) -> T | Markdown:
        """What `draw` gives, or where nothing is recorded, that: no figure and no verdict then."""
        return draw() if self.records else Markdown(self.not_measured)

    def judge(self, sentences: Callable[[], str]) -> Markdown:
        """A verdict, in Markdown; none while a sweep is not complete, nor on a single seed."""
        waiting = sum(not state.settled for state in self.states)
        if not self.records:
            return Markdown(self.not_measured)
        if waiting:
            return Markdown(
                f"**No verdict yet**: {waiting} of {len(self.states)} sweeps are not complete."
            )
        if self.seeds < 2:
            return Markdown("**No verdict**: a single seed has no spread to judge by.")
        return Markdown(sentences())

    def slide(
        self, draw: Callable[[Any], Figure], values: Sequence[Any], caption: str, **slider: Any
    ) -> object:
        """What `draw` gives at each of these values under one slider: see `explore`."""
        return self.explore(lambda value: draw(value), caption, value={"values": values, **slider})

    def explore(
        self, draw: Callable[..., Figure], caption: str, **sliders: Mapping[str, Any]
    ) -> object:
        """What `draw` gives under sliders, over what is measured.

        A quantity with a single value needs no slider; where one has none, see `show`.

        Args:
            draw: the figure at values of the quantities, by their names.
            caption: what to look for when a slider moves.
            sliders: for each quantity what `widgets.Slider` takes: values, label, unit, format,
                and the value to start at, which counts only if it is one of the values.
        """
        if any(not len(slider["values"]) for slider in sliders.values()):
            return Markdown(self.not_measured)
        fixed = {name: s["values"][0] for name, s in sliders.items() if len(s["values"]) == 1}
        moving = {name: dict(s) for name, s in sliders.items() if name not in fixed}
        if not moving:
            return self.show(lambda: draw(**fixed))
        for slider in moving.values():
            if slider.get("value") not in slider["values"]:
                slider.pop("value", None)
        positions = {name: Slider(**slider) for name, slider in moving.items()}
        return explorer(lambda **at: draw(**fixed, **at), positions, caption=caption)

    @property
    def not_measured(self) -> str:
        """That this is not yet measured; the command that does is in `coverage`. Markdown."""
        return f"*Not yet measured at scale `{self.scale}`.*"

    def __hash__(self) -> int:
        return id(self)
