"""What runs will cost, from what recorded runs of the same net took."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from scipy.optimize import nnls

from sgdnoise import data
from sgdnoise.config import RunConfig
from sgdnoise.records.store import Record


def estimate_seconds(configs: Iterable[RunConfig], records: Mapping[str, Record]) -> np.ndarray:
    """Estimated core-seconds of each run, from what recorded runs of the same model took.

    Seconds are fitted as a · updates + b · examples with a, b ≥ 0. Where nothing of the kind has
    been recorded, the estimate is NaN.
    """
    known: dict[str, tuple[list[list[float]], list[float]]] = {}
    for record in records.values():
        rows, seconds = known.setdefault(record.config.model, ([], []))
        rows.append(_work(record.config))
        seconds.append(float(record.provenance.get("seconds", math.nan)))
    fits: dict[str, np.ndarray] = {}
    for model, (rows, seconds) in known.items():
        work, took = np.array(rows), np.array(seconds)
        sound = np.isfinite(took)
        if sound.any():
            fits[model] = nnls(work[sound], took[sound])[0]
    return np.array(
        [
            float(np.dot(_work(config), fits[config.model])) if config.model in fits else math.nan
            for config in configs
        ]
    )


def _work(config: RunConfig) -> list[float]:
    size = config.train_size or data.train_size(config.dataset)
    batches = config.batches(size)
    return [float(batches.total_steps), float(batches.examples)]
