"""An experiment at a scale: what it needs, what is missing, and what it leaves out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from sgdnoise.config import RunConfig, canonical_json
from sgdnoise.errors import InputError, check_whole
from sgdnoise.records.record import Record, is_there
from sgdnoise.study.grid import FRESH_SEED, Key, Outcome, Sweep, SweepState, advance, grid_points
from sgdnoise.study.plan import outcomes
from sgdnoise.study.protocol import TEST_ACCURACY, TRAIN_LOSS, Objective
from sgdnoise.study.scales import data_in_words, differences, net_in_words


@dataclass(frozen=True, eq=False)
class Experiment:
    """One of the papers' experiments.

    Attributes:
        name: as the command line knows it.
        sweeps: its sweeps at each scale it stands at.
        seeds: runs a grid point at each scale, unless `--seeds` says otherwise.
        reference: for a scale, or for all under "", the paper's own sweeps, which `leaves_out`
            compares with; those of scale `paper` unless given.
        reference_states: of the facts of `scales.FACTS`, those that the paper states; None for all.
        reference_seeds: the paper's own seeds a point; None where it names none.
        remarks: for a scale, or for all under "", what a grid cannot tell of its protocol.
        objectives: the final numbers that its pages report, the main one first.
        first: for a scale, the runs that are worth having before all others.
        idle: for a scale, which of its sweeps can tell nothing, by what the others' records show.
    """

    name: str
    sweeps: Mapping[str, Callable[[], list[Sweep]]]
    seeds: Mapping[str, int]
    reference: Mapping[str, Callable[[], list[Sweep]]] = field(default_factory=dict)
    reference_states: tuple[str, ...] | None = None
    reference_seeds: int | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)
    objectives: tuple[Objective, ...] = (TEST_ACCURACY, TRAIN_LOSS)
    first: Mapping[str, Callable[[int], list[RunConfig]]] = field(default_factory=dict)
    idle: Mapping[str, Callable[[Study, Mapping[str, Record]], Callable[[Key], bool]]] = field(
        default_factory=dict
    )

    def objective(self, name: str) -> Objective:
        """The objective of a name; a KeyError for one that it does not report."""
        return {objective.name: objective for objective in self.objectives}[name]

    @property
    def notebook(self) -> str:
        """The notebook that shows it, in `book/`."""
        return f"{self.name}.ipynb"


@dataclass(frozen=True)
class Study:
    """An experiment at one scale, with so many seeds a grid point.

    Attributes:
        experiment: which.
        scale: at which scale; one that it stands at.
        seeds: runs a grid point that there should be.
        wanted: names and values that the key of a sweep has to have for its runs to be needed; what
            there is of others is known all the same.
    """

    experiment: Experiment
    scale: str
    seeds: int
    wanted: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, experiment: Experiment, scale: str, seeds: int | None = None) -> Study:
        """The study of an experiment; `seeds` None takes its own number.

        Raises:
            InputError: for a scale that it does not stand at, or seeds out of bounds.
        """
        if scale not in experiment.sweeps:
            raise InputError(
                f"{experiment.name} does not stand at scale {scale}: "
                f"it stands at {', '.join(experiment.sweeps)}"
            )
        if seeds is not None:
            check_seeds(seeds)
        return cls(experiment, scale, experiment.seeds[scale] if seeds is None else seeds)

    @property
    def place(self) -> tuple[str, str]:
        """Where a store has its records: scale and name."""
        return self.scale, self.experiment.name

    @property
    def command(self) -> str:
        """What trains what is missing of it."""
        return f"sgdnoise reproduce {self.experiment.name} --scale {self.scale}"

    def known(self, records: Mapping[str, Record]) -> dict[str, Outcome]:
        """Final numbers by run, of all objectives: see `plan.outcomes`."""
        return outcomes(records, [objective.name for objective in self.experiment.objectives])

    def states(self, records: Mapping[str, Record]) -> Iterator[SweepState]:
        """Where each of its sweeps stands, but for those that are idle."""
        known = self.known(records)
        idle = self.experiment.idle.get(self.scale, lambda *_: lambda key: False)(self, records)
        for sweep in self.experiment.sweeps[self.scale]():
            if not idle(sweep.key):
                yield advance(sweep, self.seeds, known)

    def needed(self, records: Mapping[str, Record]) -> list[RunConfig]:
        """All runs that it needs as things stand, each once: the most valuable first."""
        unique: dict[str, RunConfig] = {}
        states = [state for state in self.states(records) if self._wants(state.sweep.key)]
        for state in states:
            for config in state.needed:
                unique.setdefault(config.id, config)
        first = self.experiment.first.get(self.scale, lambda seeds: [])(self.seeds)
        before = {c.id: c for c in first if not self.wanted or c.id in unique}
        return list((before | unique).values())

    @property
    def planned(self) -> list[RunConfig]:
        """One seed's runs of all its sweeps as first planned, also of those that are idle."""
        sweeps = self.experiment.sweeps[self.scale]()
        return _settings([sweep for sweep in sweeps if self._wants(sweep.key)])

    def _wants(self, key: Key) -> bool:
        has = {(name, str(value)) for name, value in key}
        return has.issuperset(self.wanted)

    def only(self, wanted: Mapping[str, str]) -> Study:
        """The same study, of which only the runs of some sweeps are needed.

        Args:
            wanted: names and values, all of which the key of such a sweep has.

        Raises:
            InputError: where no sweep has them; the names, or the values of one, are listed.
        """
        study = dataclasses.replace(self, wanted=tuple(wanted.items()))
        keys = [sweep.key for sweep in self.experiment.sweeps[self.scale]()]
        if any(study._wants(key) for key in keys):
            return study
        there: dict[str, dict[str, None]] = {}
        for key in keys:
            for name, value in key:
                there.setdefault(name, {})[str(value)] = None
        for name, value in wanted.items():
            if name not in there:
                raise InputError(
                    f"no sweep of {self.experiment.name} at scale {self.scale} has a part {name}: "
                    f"choose from {', '.join(there)}"
                )
            if value not in there[name]:
                raise InputError(
                    f"no sweep of {self.experiment.name} at scale {self.scale} has {name}={value}: "
                    f"choose from {', '.join(there[name])}"
                )
        said = ", ".join(f"{name}={value}" for name, value in wanted.items())
        raise InputError(
            f"no sweep of {self.experiment.name} at scale {self.scale} has {said} at once: "
            "leave one out"
        )

    def missing(self, records: Mapping[str, Record]) -> list[RunConfig]:
        """The runs of `needed` that no sound record stands for."""
        return [config for config in self.needed(records) if not is_there(records, config.id)]

    def may_need(self, config: RunConfig) -> bool:
        """Whether its grids, grown and refined in any way that records can have them, need a run.

        With any number of seeds: more than its own are no other study.
        """
        return any(sweep.has_seed(config.seed) for sweep in self._reachable.get(_place(config), ()))

    @functools.cached_property
    def _reachable(self) -> dict[str, list[Sweep]]:
        """The sweeps by the runs that they can come to need, seeds aside."""
        sweeps: dict[str, list[Sweep]] = {}
        for sweep in self.experiment.sweeps[self.scale]():
            for point in sweep.reachable():
                sweeps.setdefault(_place(sweep.config(point, 0)), []).append(sweep)
        return sweeps

    def complete_seeds(self, records: Mapping[str, Record]) -> int:
        """The most seeds, up to its own number, with which nothing is missing, else 0."""
        counts = range(self.seeds if records else 0, 0, -1)
        return next((n for n in counts if not self.with_seeds(n).missing(records)), 0)

    def with_seeds(self, seeds: int) -> Study:
        """The same with another number of seeds."""
        return dataclasses.replace(self, seeds=seeds)

    @property
    def data(self) -> str:
        """The data that its first sweep trains on, in words."""
        return data_in_words(_settings(self.experiment.sweeps[self.scale]()[:1]))

    @property
    def net(self) -> str:
        """The net that its first sweep trains, in words."""
        return net_in_words(_settings(self.experiment.sweeps[self.scale]()[:1]))

    @functools.cached_property
    def leaves_out(self) -> str:
        """What its grid leaves out of the paper's protocol, computed from the two grids."""
        experiment = self.experiment
        remarks = [experiment.remarks.get(name, "") for name in ("", self.scale)]
        paper = {"": experiment.sweeps.get("paper"), **experiment.reference}
        reference = paper.get(self.scale) or paper[""]
        if reference is None:
            return " ".join(filter(None, remarks))
        said = differences(
            _settings(experiment.sweeps[self.scale]()),
            _settings(reference()),
            (self.seeds, experiment.reference_seeds),
            experiment.reference_states,
        )
        said = f"{said}." if said else "No setting of the grid differs from the paper's text."
        return " ".join(filter(None, [said, *remarks]))


def _settings(sweeps: list[Sweep]) -> list[RunConfig]:
    """The runs of one seed of all sweeps as first planned."""
    return [sweep.config(point, 0) for sweep in sweeps for point in grid_points(sweep.frozen)]


def _place(config: RunConfig) -> str:
    """What tells a run from all that differ in more than the seed."""
    return canonical_json({k: v for k, v in config.identity().items() if k != "seed"})


def check_seeds(seeds: object) -> None:
    """Refuses a number of seeds that no grid point can have.

    Raises:
        InputError: for anything but a whole number from 1 to 999.
    """
    check_whole("seeds", seeds, FRESH_SEED - 1, "those above re-estimate what was tuned")
