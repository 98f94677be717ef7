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


SIGMAS = 2.0
"""Standard errors by which two means are told apart."""


@dataclass(frozen=True)
class Estimate:
    """A mean, or a difference of two, with its standard error; NaN for a single run."""

    value: float
    error: float

    @classmethod
    def of(cls, mean: float, std: float, n: int) -> Estimate:
        """The mean of n runs of this sample standard deviation."""
        return cls(float(mean), float(std) / math.sqrt(n) if n else math.nan)

    @classmethod
    def mean(cls, values: np.ndarray) -> Estimate:
        """The mean of some runs, two at least."""
        return cls.of(np.mean(values), np.std(values, ddof=1), len(values))

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference of two independent means."""
        return Estimate(self.value - other.value, math.hypot(self.error, other.error))

    @property
    def low(self) -> float:
        """`SIGMAS` standard errors below."""
        return self.value - SIGMAS * self.error

    @property
    def high(self) -> float:
        """`SIGMAS` standard errors above."""
        return self.value + SIGMAS * self.error

    @property
    def near_zero(self) -> bool:
        """Whether it lies within `SIGMAS` standard errors of 0."""
        return self.low <= 0 <= self.high

    @property
    def interval(self) -> Interval:
        """The same as an interval."""
        return Interval(self.value, self.low, self.high)

    def __str__(self) -> str:
        return f"{self.value:+.2f} ± {self.error:.2f}"
