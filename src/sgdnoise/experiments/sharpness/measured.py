"""The measured runs: either curvature over the bound of the rate, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.experiments.sharpness.grid import PROBED, SETTINGS, Setting
from sgdnoise.records.record import Record
from sgdnoise.study.grid import Key

Quantity = Literal["sharpness", "batch_sharpness"]

QUANTITIES: dict[Quantity, str] = {"sharpness": "λmax", "batch_sharpness": "batch sharpness"}

Window = Literal["learning", "late"]

GUESS = math.log(10)
"""The loss of a guess among ten classes, in nats."""


LOST = 0.5
"""The part of a guess's loss above which a run that ends has fallen apart."""


def setting(reading: Reading) -> Setting:
    """What the scale of a reading measures."""
    return SETTINGS[reading.study.scale]


def is_probed(key: Key) -> bool:
    """Whether a sweep's runs are those along which curvature is measured."""
    return set(PROBED) <= set(key)


def is_swept(key: Key) -> bool:
    """Whether a sweep tries rates."""
    return not is_probed(key)


def is_of(key: Key, method: str, sizes: Iterable[int] = ()) -> bool:
    """Whether a sweep is of a method without warm-up, at one of these sizes; at all for none."""
    of = dict(key)
    cold = not any(of.get(f"warmup_{unit}") for unit in ("epochs", "updates"))
    return of["method"] == method and (not sizes or (of["batch_size"] in sizes and cold))


def measured(reading: Reading, method: str, size: int, length: int = 0) -> list[Record]:
    """The measured runs of an arm that did not diverge, seed by seed; none where none is asked."""
    key = setting(reading).arm(method, size, length) + PROBED
    found = (
        reading.records.get(config.id)
        for state in reading.states
        if state.sweep.key == key
        for config in state.needed
    )
    return [r for r in found if r is not None and _name(r, "sharpness") in r.curves]


def _name(record: Record, quantity: str) -> str:
    """What a record calls a curvature: that with the statistics of ghosts has a name of its own."""
    ghosts = quantity in QUANTITIES and any(p.startswith("ghost-") for p in record.config.probes)
    return f"ghost_{quantity}" if ghosts else quantity


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
    values = record.curves[_name(record, name)]
    return np.array([math.nan if v is None else v for v in values], dtype=float)


def learning(record: Record) -> tuple[float, float]:
    """Between which parts of a guess's loss a net learns, by the data that it learns."""
    (at,) = (at for at in SETTINGS.values() if at.base["dataset"] == record.config.dataset)
    return at.learning


def inside(record: Record, window: Window) -> np.ndarray:
    """Which of the logged updates lie in a window, and with the rate at its full height."""
    step, loss = curve(record, "step"), curve(record, "train_loss")
    if window == "late":
        return step >= step[-1] / 2
    most, least = (part * GUESS for part in learning(record))
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
