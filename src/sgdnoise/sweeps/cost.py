"""What runs will cost, from what recorded runs of the same net took."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from scipy.optimize import nnls

from sgdnoise import data
from sgdnoise.config import RunConfig
from sgdnoise.records.record import Record


def estimate_seconds(
    configs: Iterable[RunConfig], records: Mapping[str, Record], device: str = "cpu"
) -> np.ndarray:
    """Estimated seconds of each run, from what recorded runs of the same model took.

    Seconds are fitted as a · updates + b · examples with a, b ≥ 0. Where nothing of the kind has
    been recorded, the estimate is NaN.

    Args:
        configs: the runs.
        records: what was recorded; only whole runs on `device` tell.
        device: `cpu` or `cuda`.
    """
    known: dict[str, tuple[list[list[float]], list[float]]] = {}
    for record in records.values():
        # A run that diverged or failed ended early and says nothing of a whole one.
        if record.device != device or record.status != "done":
            continue
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


def expected_seconds(
    where: Callable[[RunConfig], str],
    configs: Iterable[RunConfig],
    records: Mapping[str, Record],
    other: Callable[[], Mapping[str, Record]] = dict,
) -> np.ndarray:
    """Estimated seconds of each run on the device where it trains, NaN where nothing tells.

    Args:
        where: gives the device that a run trains on, `cpu` or `cuda`.
        configs: the runs.
        records: what was recorded, and tells best.
        other: reads other records, for the nets of which `records` have no run. Where these have
            none either, a GPU's seconds are `assumed_seconds`.
    """
    configs = list(configs)
    devices = [where(config) for config in configs]

    def told(by: Mapping[str, Record]) -> np.ndarray:
        each = {device: estimate_seconds(configs, by, device) for device in set(devices)}
        return np.array([each[device][i] for i, device in enumerate(devices)])

    seconds = told(records)
    if not np.isfinite(seconds).all():
        seconds = np.where(np.isfinite(seconds), seconds, told(other()))
    for i in np.flatnonzero(~np.isfinite(seconds)):
        if devices[i] == "cuda":
            seconds[i] = assumed_seconds(configs[i])
    return seconds


def _work(config: RunConfig) -> list[float]:
    size = data.images_of(config)
    batches = config.batches(size)
    return [float(batches.total_steps), float(batches.examples)]


_LOG2_BATCH = (4, 7, 8)
_EPOCH_SECONDS = (1.0, 0.65, 3600 / 7000)
"""What an epoch of WRN-16-4 may take on one H200 at B = 16, 128, and 256 and above: what the
engine is held to. At B = 16 it is the share of one of several runs at once."""


def assumed_seconds(config: RunConfig) -> float:
    """GPU-seconds that a run may take, for as long as no record tells better.

    Between the batch sizes for which a bound is set it is interpolated in log₂ B. Other nets are
    counted as WRN-16-4: ResNet-18's arithmetic is of its size, ResNet-44's is less.
    """
    size = data.images_of(config)
    epochs = config.batches(size).examples / size
    return epochs * float(np.interp(math.log2(config.batch_size), _LOG2_BATCH, _EPOCH_SECONDS))
