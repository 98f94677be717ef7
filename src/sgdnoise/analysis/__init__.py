"""What the records say: tuned learning rates, regimes, intervals, and all of it as a `Reading`."""

from sgdnoise.analysis.intervals import Estimate, Interval
from sgdnoise.analysis.reading import Reading
from sgdnoise.analysis.regimes import Regimes
from sgdnoise.analysis.tuning import Tuning, best_means, key_name, without

__all__ = [
    "Estimate",
    "Interval",
    "Reading",
    "Regimes",
    "Tuning",
    "best_means",
    "key_name",
    "without",
]
