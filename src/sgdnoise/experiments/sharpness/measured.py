"""The measured runs: either curvature over the bound of the rate, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.experiments.sharpness.grid import PROBED
from sgdnoise.records.record import Record
from sgdnoise.study.grid import Key

Quantity = Literal["sharpness", "batch_sharpness"]

QUANTITIES: dict[Quantity, str] = {"sharpness": "λmax", "batch_sharpness": "batch sharpness"}

Window = Literal["learning", "late"]

LEARNING = (0.5, 0.02)
"""Parts of a guess's loss, ln 10: above the first a net has learnt nothing, and below the second it
has nothing left to learn; the curvature of either end limits no rate."""

GUESS = math.log(10)
"""The loss of a guess among ten classes, in nats."""


def is_probed(key: Key) -> bool:
    """Whether a sweep's runs are those along which curvature is measured."""
    return set(PROBED) <= set(key)


def is_swept(key: Key) -> bool:
    """Whether a sweep tries rates."""
    return not is_probed(key)


def arm(method: str, size: int, epochs: int = 0) -> Key:
    """The key of a sweep of rates."""
    return (("method", method), ("batch_size", size), ("warmup_epochs", epochs))


def is_arm(key: Key, arm: Key) -> bool:
    """Whether a sweep is of an arm: its rates, or its measured runs."""
    return key[: len(arm)] == arm


def measured(reading: Reading, method: str, size: int, epochs: int = 0) -> list[Record]:
    """The measured runs of an arm that did not diverge, seed by seed."""
    key = arm(method, size, epochs) + PROBED
    (state,) = (state for state in reading.states if state.sweep.key == key)
    found = (reading.records.get(config.id) for config in state.needed)
    return [record for record in found if record is not None and "sharpness" in record.curves]


def bound(record: Record, effective: bool = False) -> float:
    """The curvature beyond which a quadratic is unstable at the run's rate.

    2(1 + m)/ε of the heavy ball (S20 §3.1 for m = 0), which is 2/ε of plain SGD; or 2/ε_eff, in
    which S20 says that noise dominates where the effective rate is far below critical.
    """
    config = record.config
    if effective:
        return 2 / config.effective_learning_rate
    return 2 * (1 + config.momentum) / config.learning_rate


def curve(record: Record, name: str) -> np.ndarray:
    """A quantity at the logged updates, NaN where it could not be had."""
    return np.array([math.nan if v is None else v for v in record.curves[name]], dtype=float)


def inside(record: Record, window: Window) -> np.ndarray:
    """Which of the logged updates lie in a window, and with the rate at its full height."""
    step, loss = curve(record, "step"), curve(record, "train_loss")
    if window == "late":
        return step >= step[-1] / 2
    most, least = (part * GUESS for part in LEARNING)
    return (loss <= most) & (loss >= least) & (step >= record.config.warmup_steps)


def logged(records: Iterable[Record], window: Window = "learning") -> str:
    """At how many logged updates of a run λmax was measured in a window: fewest to most."""
    counts = [
        int(np.isfinite(curve(record, "sharpness")[inside(record, window)]).sum())
        for record in records
    ]
    if not counts:
        return "–"
    least, most = min(counts), max(counts)
    return f"{least}" if least == most else f"{least} to {most}"


def ratio(
    records: Iterable[Record],
    quantity: Quantity,
    window: Window = "learning",
    effective: bool = False,
) -> Estimate:
    """log₂ of a curvature over its bound: of each run's mean over a window, the mean over seeds."""
    values = []
    for record in records:
        there = curve(record, quantity)[inside(record, window)]
        mean = float(np.nanmean(there)) if np.isfinite(there).any() else math.nan
        values.append(math.log2(mean / bound(record, effective)) if mean > 0 else math.nan)
    return Estimate.mean(values)


def early_fall(records: Iterable[Record]) -> Estimate:
    """How λmax falls early: log₂ after the first update less that of its mean while the net learns.

    The mean over seeds of runs that have the tuned rate.
    """
    falls = []
    for record in records:
        values = curve(record, "sharpness")
        there = values[inside(record, "learning")]
        mean = float(np.nanmean(there)) if np.isfinite(there).any() else math.nan
        falls.append(math.log2(values[0] / mean) if mean > 0 and values[0] > 0 else math.nan)
    return Estimate.mean(falls)
