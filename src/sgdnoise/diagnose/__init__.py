"""Which regime a training of your own is in: noise or curvature, by what limits it.

    sgdnoise diagnose train:problem --batch-size 128 --lr 0.1 --momentum 0.9

`train.py` defines `problem`, which returns `(model, loss_fn, data)`, and the optimizer too if it
likes. From Python:

    from sgdnoise.diagnose import diagnose, problem_of

    diagnose(problem_of((model, loss_fn, (x, y))), batch_size=128, learning_rate=0.1)

A diagnosis is of one point of training: the noise scale changes on the way by tens of times.
"""

from sgdnoise.diagnose.diagnosis import Diagnosis, diagnose
from sgdnoise.diagnose.measured import Measured, measure
from sgdnoise.diagnose.problem import Problem, Setting, load, problem_of
from sgdnoise.diagnose.regime import Regime, regime_of
from sgdnoise.diagnose.verified import Tried, Verified, verify

__all__ = [
    "Diagnosis",
    "Measured",
    "Problem",
    "Regime",
    "Setting",
    "Tried",
    "Verified",
    "diagnose",
    "load",
    "measure",
    "problem_of",
    "regime_of",
    "verify",
]
