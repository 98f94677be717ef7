"""What an experiment needs, and what the records lack of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from sgdnoise.config import RunConfig
from sgdnoise.experiments import Experiment, Outcome
from sgdnoise.records.store import Record


def outcomes(records: Mapping[str, Record], objectives: Iterable[str]) -> dict[str, Outcome]:
    """Final numbers by run, NaN for a run that diverged; failed runs are left out, as missing."""
    wanted = tuple(objectives)
    return {
        run: {name: _number(record.metrics.get(name)) for name in wanted}
        for run, record in records.items()
        if record.status != "failed"
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


OBJECTIVES = ("test_accuracy", "train_loss")


def needed(
    experiment: Experiment, scale: str, seeds: int, records: Mapping[str, Record]
) -> list[RunConfig]:
    """All runs that the experiment needs as things stand, each once, in a fixed order."""
    known = outcomes(records, OBJECTIVES)
    unique: dict[str, RunConfig] = {}
    for state in experiment.states(scale, seeds, known):
        for config in state.needed:
            unique.setdefault(config.id, config)
    return list(unique.values())


def missing(
    experiment: Experiment, scale: str, seeds: int, records: Mapping[str, Record]
) -> list[RunConfig]:
    """The runs of `needed` that no sound record stands for."""
    return [
        config
        for config in needed(experiment, scale, seeds, records)
        if config.id not in records or records[config.id].status == "failed"
    ]
