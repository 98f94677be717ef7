"""Curvature along tuned runs of three batch sizes, and the rates that warm-up allows.

Runs along which λmax and batch sharpness are measured are the first half of tuned ones, in which
S20's schedule holds the rate. Beside them stand sweeps of the rate, with warm-up and without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from sgdnoise.config import Probe
from sgdnoise.study.grid import Key, Sweep, rounded
from sgdnoise.study.scales import CPU, DIGITS, METHODS, rates, sweep_of
from sgdnoise.study.study import Experiment

Unit = Literal["epochs", "updates"]

PROBED: Key = (("run", "probed"),)
"""What the keys of the runs have along which curvature is measured."""


@dataclass(frozen=True)
class Setting:
    """What a scale measures: its batch sizes, their tuned rates, its budget and its warm-up.

    Attributes:
        base: config fields of all its runs.
        images: training images, and with them the full batch.
        budget: the whole run, in `unit`, of which the first half is measured.
        unit: what the budget and warm-up count.
        warm_up: its length.
        tuned: log₂ of the effective rate of the measured runs, by method and batch size.
        centres: log₂ of the rates that sweeps are centred on.
        large: batch sizes at which warm-up is to allow larger rates.
        warmed: batch sizes whose rates are tried with warm-up.
        warmed_along: whether curvature is measured along runs with warm-up, too.
        reach: steps of the rates to either side of a centre.
        halvings: how often that step is halved about the best.
        measured_seeds: runs of an arm along which curvature is measured.
        learning: parts of a guess's loss, ln 10: above the first a net has learnt nothing, and
            below the second it has nothing left to learn; the curvature of either end limits no
            rate.
        ghosts: whether curvature is of the loss with the statistics of ghosts.
    """

    base: Mapping[str, Any]
    images: int
    budget: int
    unit: Unit
    warm_up: int
    tuned: Mapping[str, Mapping[int, float]]
    centres: Mapping[str, Mapping[int, int]]
    large: tuple[int, ...]
    warmed: tuple[int, ...]
    warmed_along: bool
    reach: int
    halvings: int
    measured_seeds: int
    learning: tuple[float, float]
    ghosts: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.tuned)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes, the smallest first; the last is the full batch."""
        return tuple(next(iter(self.tuned.values())))

    @property
    def smallest(self) -> int:
        return self.sizes[0]

    @property
    def full(self) -> int:
        return self.sizes[-1]

    @property
    def probes(self) -> tuple[Probe, ...]:
        if self.ghosts:
            return ("ghost-batch-sharpness", "ghost-sharpness")
        return ("batch-sharpness", "sharpness")

    def lengths(self, probed: bool, size: int) -> tuple[int, ...]:
        """The lengths of warm-up that a batch size is run with."""
        both = self.warmed_along if probed else size in self.warmed
        return (0, self.warm_up) if both else (0,)

    def updates(self, size: int) -> int:
        """Warm-up's length in updates."""
        return self.warm_up * (self.images // size if self.unit == "epochs" else 1)

    def arm(self, method: str, size: int, length: int = 0) -> Key:
        """The key of a sweep of rates."""
        return (("method", method), ("batch_size", size), (f"warmup_{self.unit}", length))

    def whole(self) -> dict[str, Any]:
        """The budget of a whole run, as config fields."""
        if self.unit == "epochs":
            return {"epochs": float(self.budget)}
        return {"steps": self.budget}


DIGITS_MLP = Setting(
    base=DIGITS,
    images=1024,
    budget=40,
    unit="epochs",
    # As many as Goyal et al. (2017) take.
    warm_up=5,
    # What the committed runs of the constant epoch budget found best for the test set by S20's
    # statistic: the same net, data and budget. The sizes are one four times below plain SGD's
    # boundary there, one beyond it, and the full batch, without any noise.
    tuned={
        "sgd": {4: -2.0, 256: -0.5, 1024: -0.25},
        "momentum": {4: -2.0, 256: 2.0, 1024: 2.25},
    },
    # A pilot with four seeds (900 to 903, no record kept) at B = 256 and 1,024 had runs fall apart
    # from 2^1 on with plain SGD and from 2^4 on with momentum, whether with warm-up or without:
    # both lie inside.
    centres={
        "sgd": {4: -2, 256: 0, 1024: 0},
        "momentum": {4: -2, 256: 3, 1024: 3},
    },
    # Beyond plain SGD's boundary. Momentum's lies further out, and 256 is not surely beyond it.
    large=(256, 1024),
    warmed=(4, 256, 1024),
    warmed_along=True,
    reach=3,
    halvings=1,
    measured_seeds=5,
    learning=(0.5, 0.02),
)

THOUSAND_IMAGES = Setting(
    base={**CPU, "train_size": 1000},
    images=1000,
    budget=1000,
    unit="updates",
    # A twentieth of the run, as 5 of Goyal et al.'s 90 epochs are: as many updates at each batch
    # size.
    warm_up=50,
    # What the committed runs of the fair constant step budget found best, by S20's statistic: the
    # same runs. There are none of plain SGD.
    tuned={"momentum": {16: -1.0, 256: 4.0, 1000: 5.0}},
    # One step beyond the best rate runs of B = 256 end there at a high loss and do not fall apart:
    # its rates go on to where they do.
    centres={"momentum": {16: -1, 256: 5, 1000: 4}},
    # The only one whose rates are tried with warm-up: a run of the full batch takes 17 minutes.
    large=(256,),
    warmed=(256,),
    warmed_along=False,
    reach=2,
    halvings=0,
    measured_seeds=3,
    # B = 16 ends 1,000 updates at 0.59 of a guess's loss.
    learning=(0.9, 0.02),
    ghosts=True,
)

SETTINGS = {"digits": DIGITS_MLP, "cpu": THOUSAND_IMAGES}
"""By scale."""


def _fixed(at: Setting, method: str, size: int, length: int) -> dict[str, Any]:
    steps = at.updates(size) if length else 0
    return {"momentum": METHODS[method], "batch_size": size, "warmup_steps": steps}


def _probed(at: Setting, method: str, size: int, length: int) -> Sweep:
    """The first half of a tuned run, measured: S20's schedule holds the rate that long."""
    rate = rounded(2.0 ** at.tuned[method][size] * (1 - METHODS[method]))
    return sweep_of(
        dict(at.base),
        {**dict(at.arm(method, size, length)), **dict(PROBED)},
        {
            **_fixed(at, method, size, length),
            "learning_rate": rate,
            "schedule": "constant",
            **{
                name: value / 2 if name == "epochs" else value // 2
                for name, value in at.whole().items()
            },
            "probes": at.probes,
        },
        (),
        best=1.0,
        most_seeds=at.measured_seeds,
    )


def _tuned(at: Setting, method: str, size: int, length: int) -> Sweep:
    """The whole run at rates up to those that it does not survive."""
    return sweep_of(
        dict(at.base),
        dict(at.arm(method, size, length)),
        {**_fixed(at, method, size, length), **at.whole()},
        rates(at.centres[method][size], at.reach),
        halvings=at.halvings,
    )


def _sweeps(at: Setting) -> list[Sweep]:
    arms = [(m, size) for m in at.methods for size in at.sizes]
    probed = [_probed(at, *arm, n) for arm in arms for n in at.lengths(True, arm[1])]
    return probed + [_tuned(at, *arm, n) for arm in arms for n in at.lengths(False, arm[1])]


EXPERIMENT = Experiment(
    name="sharpness",
    sweeps={scale: partial(_sweeps, at) for scale, at in SETTINGS.items()},
    seeds={"digits": 15, "cpu": 5},
    remarks={
        "digits": "Not an experiment of the three papers: S20's protocol on scikit-learn's digits "
        "and an MLP 64-64-10 at 40 epochs and batches of 4, 256 and 1,024, with 5 epochs of "
        "warm-up and without; curvature is measured along the first 20 epochs of 5 seeds.",
        "cpu": "Not an experiment of the three papers: S20's protocol with momentum on 1,000 "
        "images of CIFAR-10 at 16 × 16 and WRN-10-1 at 1,000 updates and batches of 16, 256 and "
        "1,000, at 256 with 50 updates of warm-up, too; curvature is measured along the first 500 "
        "updates of 3 seeds.",
    },
)
