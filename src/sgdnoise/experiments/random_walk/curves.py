"""What the records hold of H17's random walk: distances along a run and at its end, and slopes.

A number is made of each seed's run by itself: residuals along one run are no independent draws.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.records.record import Record
from sgdnoise.study.grid import SweepState
from sgdnoise.theory import growth

FloatArray = NDArray[np.float64]

WINDOW = 100.0
"""A law is fitted to the last factor of 100 in updates: as far as a phase of 100 epochs goes beyond
its first, at any batch size."""

DISTANCES = {"whole vector": "distance", "first tensor": "distance_first_tensor"}
"""The curves that have a distance from the start. H17's code logged the first tensor's."""


def _key(state: SweepState) -> dict[str, object]:
    return dict(state.sweep.key)


def constant_rate(reading: Reading, rate: str) -> dict[int, SweepState]:
    """The constant-rate sweeps with one kind of rate, by batch size."""
    found = {
        int(str(_key(state)["batch_size"])): state
        for state in reading.states
        if _key(state).get("rate") == rate
    }
    return dict(sorted(found.items()))


def finished(reading: Reading, state: SweepState) -> dict[int, Record]:
    """A sweep's finished runs, by seed."""
    runs = [reading.records.get(config.id) for config in state.needed]
    return {run.config.seed: run for run in runs if run is not None and run.status == "done"}


def curve(record: Record, name: str = "distance") -> tuple[FloatArray, FloatArray] | None:
    """Updates and distances of a run within the window; None where there are too few for a law."""
    steps, values = record.curves.get("step", []), record.curves.get(name, [])
    pairs = [(t, d) for t, d in zip(steps, values, strict=False) if t and d is not None]
    if not pairs:
        return None
    t, d = np.array(pairs, dtype=np.float64).T
    keep = t >= t[-1] / WINDOW
    return (t[keep], d[keep]) if keep.sum() >= growth.LEAST_POINTS else None


def each(
    reading: Reading, state: SweepState, of: Callable[[FloatArray, FloatArray], float]
) -> dict[int, float]:
    """A number of each seed's curve."""
    curves = {seed: curve(record) for seed, record in finished(reading, state).items()}
    return {seed: of(*one) for seed, one in curves.items() if one is not None}


def slope(t: FloatArray, d: FloatArray) -> float:
    """Distance gained in a factor of e of updates: H17's slope against log t."""
    return growth.log_law(t, d).parameters[1]


def slopes_by_size(reading: Reading, rate: str) -> dict[int, dict[int, float]]:
    """By batch size and seed."""
    return {size: each(reading, s, slope) for size, s in constant_rate(reading, rate).items()}


def final_distances(reading: Reading, state: SweepState) -> dict[int, float]:
    """The distance at the end, by seed."""
    ends = {
        seed: record.metrics.get("distance") for seed, record in finished(reading, state).items()
    }
    return {seed: end for seed, end in ends.items() if end}


# --- Which of two laws leads ---------------------------------------------------------------------

TOLD_APART = 2.0
"""ΔAIC within which two laws have equal support (Burnham and Anderson 2002): a rule of thumb for
points that are independent, as those of a curve are not."""

LEADS = "log t leads", "the power law leads", "the two do equally well"
"""What ΔAIC says of the two laws, the lead of log t first."""


def leading(lead: float) -> str:
    """Which of two laws leads, by ΔAIC: that of c t^p minus that of a + b log t."""
    return LEADS[0 if lead > TOLD_APART else 1 if lead < -TOLD_APART else 2]


def surely(lead: Estimate) -> bool:
    """Whether the interval of a ΔAIC by which a law leads stays clear of where both do as well."""
    reaches = any(lead.interval.holds(end) for end in (-TOLD_APART, TOLD_APART))
    return abs(lead.value) <= TOLD_APART or not reaches
