"""The noisy quadratic model (Zhang et al. 2019), in closed form at any number of steps.

Start with `time_to_target` (steps and learning rate to a target loss at a batch size) or
`tuned_curve` (tuned learning rate and loss at each batch size under a budget); `expected_loss`
gives any setting at any step, `first_hits` the first crossing of a grid of settings.
"""

from sgdnoise.theory.nqm.average import averaged_loss
from sgdnoise.theory.nqm.first_hit import FirstHits, Status, first_hits
from sgdnoise.theory.nqm.loss import expected_loss, loss_under_schedule
from sgdnoise.theory.nqm.spectrum import Spectrum, spectrum
from sgdnoise.theory.nqm.target import (
    Guarantee,
    TimeToTarget,
    time_to_target,
)
from sgdnoise.theory.nqm.tuning import (
    EpochBudget,
    StepBudget,
    TunedCurve,
    UnlimitedBudget,
    monotone_segments,
    tuned_curve,
    tuned_loss,
    tuned_under_schedule,
)

__all__ = [
    "EpochBudget",
    "FirstHits",
    "Guarantee",
    "Spectrum",
    "Status",
    "StepBudget",
    "TimeToTarget",
    "TunedCurve",
    "UnlimitedBudget",
    "averaged_loss",
    "expected_loss",
    "first_hits",
    "loss_under_schedule",
    "monotone_segments",
    "spectrum",
    "time_to_target",
    "tuned_curve",
    "tuned_loss",
    "tuned_under_schedule",
]
