"""An estimate with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

RESAMPLES = 400
"""Bootstrap resamples of seeds behind each interval."""

COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% percentile interval over resampled seeds."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, samples: np.ndarray) -> Interval:
        """The interval of bootstrap samples; NaN bounds where fewer than half are finite."""
        finite = samples[np.isfinite(samples)]
        if len(finite) < len(samples) / 2:
            return cls(value, math.nan, math.nan)
        tail = (1 - COVERAGE) / 2
        low, high = np.quantile(finite, [tail, 1 - tail])
        return cls(value, float(low), float(high))

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "no fit"
        if not math.isfinite(self.low):
            return f"{self.value:.3g}, no interval"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"
