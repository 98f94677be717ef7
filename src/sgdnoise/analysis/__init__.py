"""What the records say: tuned learning rates, regimes, intervals."""

from sgdnoise.analysis.intervals import COVERAGE, RESAMPLES, Interval
from sgdnoise.analysis.regimes import Regimes, boundary_of, regimes
from sgdnoise.analysis.tuning import (
    Tuning,
    best_means,
    key_name,
    log_slope,
    optima,
    parabola_peak,
    recipes,
    resampled_peaks,
    tuning,
    tunings,
    value_table,
    without,
)

__all__ = [
    "COVERAGE",
    "RESAMPLES",
    "Interval",
    "Regimes",
    "Tuning",
    "best_means",
    "boundary_of",
    "key_name",
    "log_slope",
    "optima",
    "parabola_peak",
    "recipes",
    "regimes",
    "resampled_peaks",
    "tuning",
    "tunings",
    "value_table",
    "without",
]
