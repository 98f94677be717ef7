"""The two regimes: the broken line of tuned learning rates over batch sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sgdnoise.analysis.intervals import COVERAGE, Interval
from sgdnoise.analysis.tuning import Tuning
from sgdnoise.study.grid import Key
from sgdnoise.theory.regimes import fit_hinge, flat_seen


@dataclass(frozen=True)
class Regimes:
    """Where the linear scaling rule holds: the hinge of tuned learning rates over batch sizes.

    Attributes:
        slope: d log lr* / d log B below the boundary; 1 is the linear scaling rule.
        boundary: the batch size at which the tuned learning rate stops growing.
        level: the effective learning rate beyond it.
        flat_seen: whether the boundary lies inside the batch sizes tried in over 95% of resamples;
            of a single seed, in its own fit.
    """

    slope: Interval
    boundary: Interval
    level: Interval
    flat_seen: bool


def fit_regimes(batch_sizes: Sequence[int], peaks: np.ndarray, resampled: np.ndarray) -> Regimes:
    """The two regimes of one method, with intervals over resampled seeds.

    Args:
        batch_sizes: the batch sizes, shape (n,).
        peaks: log₂ of the tuned effective learning rate at each, shape (n,).
        resampled: the same for each resample, shape (RESAMPLES, n).
    """
    x = np.log2(np.asarray(batch_sizes, dtype=np.float64))
    fit = fit_hinge(x, peaks[None])[0]
    fits = fit_hinge(x, resampled)
    knees = np.array([f.knee for f in fits])
    # Of a single seed there are no resamples.
    tried = knees if np.isfinite(knees).any() else np.array([fit.knee])
    return Regimes(
        slope=Interval.of(fit.slope, np.array([f.slope for f in fits])),
        boundary=Interval.of(fit.boundary, 2**knees),
        level=Interval.of(2**fit.level, 2 ** np.array([f.level for f in fits])),
        flat_seen=bool(np.mean(flat_seen(tried, x)) > COVERAGE),
    )


def boundary_of(tuned: Mapping[Key, Tuning], method: str) -> Regimes:
    """The two regimes of one method of an experiment keyed by method and batch size."""
    chosen = {
        dict(key)["batch_size"]: one for key, one in tuned.items() if dict(key)["method"] == method
    }
    sizes = sorted(chosen)
    return fit_regimes(
        sizes,
        np.array([chosen[b].peak.value for b in sizes]),
        np.stack([chosen[b].resampled for b in sizes], 1),
    )
