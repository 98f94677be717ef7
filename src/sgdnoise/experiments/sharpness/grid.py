"""Curvature along tuned runs of three batch sizes, and the rates that warm-up allows.

Runs along which λmax and batch sharpness are measured are the first half of tuned ones, in which
S20's schedule holds the rate. Beside them stand sweeps of the rate, with warm-up and without.
"""

from __future__ import annotations

from typing import Any

from sgdnoise.study.grid import Key, Sweep, rounded
from sgdnoise.study.scales import DIGITS, METHODS, rates, sweep_of
from sgdnoise.study.study import Experiment

IMAGES = 1024

SIZES = (4, 256, IMAGES)
"""A batch size four times below plain SGD's boundary of the constant epoch budget, one beyond it,
and the full batch, without any noise."""

EPOCHS = 40.0

WARM_UP = 5
"""Epochs of warm-up, as many as Goyal et al. (2017) take."""

# Log₂ of the effective rates, which the committed runs of the constant epoch budget found best for
# the test set by S20's statistic: the same net, data and budget.
TUNED = {
    "sgd": {4: -2.0, 256: -0.5, IMAGES: -0.25},
    "momentum": {4: -2.0, 256: 2.0, IMAGES: 2.25},
}

# Where the rates are centred. A pilot with four seeds (900 to 903, no record kept) at B = 256 and
# 1,024 had runs fall apart from 2^1 on with plain SGD and from 2^4 on with momentum, whether with
# warm-up or without: both lie inside.
_CENTRES = {
    "sgd": {4: -2, 256: 0, IMAGES: 0},
    "momentum": {4: -2, 256: 3, IMAGES: 3},
}

PROBED: Key = (("run", "probed"),)
"""What the keys of the runs have along which curvature is measured."""


def _key(method: str, size: int, epochs: int) -> dict[str, Any]:
    return {"method": method, "batch_size": size, "warmup_epochs": epochs}


def _fixed(method: str, size: int, epochs: int) -> dict[str, Any]:
    steps = epochs * IMAGES // size
    return {"momentum": METHODS[method], "batch_size": size, "warmup_steps": steps}


def _probed(method: str, size: int, epochs: int) -> Sweep:
    """The first half of a tuned run, measured: S20's schedule holds the rate that long."""
    rate = rounded(2.0 ** TUNED[method][size] * (1 - METHODS[method]))
    return sweep_of(
        DIGITS,
        {**_key(method, size, epochs), **dict(PROBED)},
        {
            **_fixed(method, size, epochs),
            "learning_rate": rate,
            "schedule": "constant",
            "epochs": EPOCHS / 2,
            "probes": ("batch-sharpness", "sharpness"),
        },
        (),
        best=1.0,
        most_seeds=5,
    )


def _tuned(method: str, size: int, epochs: int) -> Sweep:
    """The whole run at rates up to those that it does not survive."""
    return sweep_of(
        DIGITS,
        _key(method, size, epochs),
        {**_fixed(method, size, epochs), "epochs": EPOCHS},
        rates(_CENTRES[method][size], 3),
        halvings=1,
    )


def _digits() -> list[Sweep]:
    arms = [(m, size, epochs) for m in METHODS for size in SIZES for epochs in (0, WARM_UP)]
    return [_probed(*arm) for arm in arms] + [_tuned(*arm) for arm in arms]


EXPERIMENT = Experiment(
    name="sharpness",
    sweeps={"digits": _digits},
    seeds={"digits": 15},
    remarks={
        "digits": "Not an experiment of the three papers: S20's protocol on scikit-learn's digits "
        "and an MLP 64-64-10 at 40 epochs and batches of 4, 256 and 1,024, with 5 epochs of "
        "warm-up and without; curvature is measured along the first 20 epochs of 5 seeds."
    },
)
