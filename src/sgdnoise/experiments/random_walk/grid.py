"""H17's random walk: distance from the start at a constant rate, over batch sizes (figures 2-7)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from sgdnoise.schedule import H17_REGIMES, scale_learning_rate
from sgdnoise.study.grid import Sweep, rounded
from sgdnoise.study.scales import sweep_of
from sgdnoise.study.study import Experiment

SAME, ROOT = "same", "root"
"""One learning rate at every batch size (figure 2a), or one that grows as its root (figure 2b)."""

DROP, STOP = "drop", "stop"
"""Whether a phase at the high rate is followed by one at a tenth of it, or nothing."""


def random_walk(
    base: dict[str, Any],
    *,
    sizes: Iterable[int],
    anchor: int,
    learning_rate: float,
    epochs: float,
    probed_from: int,
    phases: Iterable[float],
    after: float,
    remedy: dict[str, Any],
) -> list[Sweep]:
    """Figures 2a, 2b, 4 and 7, and the longer high-rate phase of §5; fixed recipes, all seeds kept.

    - The constant-rate phase at each batch size, with equal epochs, first at one learning rate and
      then with H17's remedies. The draws of figure 4 are made at the start of the runs with the
      largest batch.
    - At the largest batch with the remedies: phases at the high rate of several lengths, each
      stopped there, and each followed by the same epochs at a tenth of the rate.

    Args:
        base: data, net, momentum and weight decay.
        sizes: batch sizes.
        anchor: the batch size at which both rates are `learning_rate`.
        learning_rate: ε.
        epochs: of the constant-rate phase.
        probed_from: the batch size from which on each tensor's distance is recorded along a run,
            which trains such runs one at a time.
        phases: epochs at the high rate.
        after: epochs at a tenth of it.
        remedy: what changes with the learning rate: the norm.
    """
    sizes = sorted(sizes)
    recipe = {**base, "sampling": "reshuffle"}
    sweeps = []

    def fixed(size: int, rate: str) -> dict[str, Any]:
        scaled = scale_learning_rate(learning_rate, size, anchor, "sqrt")
        return {
            "schedule": "constant",
            "batch_size": size,
            "learning_rate": rounded(scaled if rate == ROOT else learning_rate),
            **(remedy if rate == ROOT else {}),
        }

    for rate in (SAME, ROOT):
        for size in sizes:
            probes = ("weight-distance",) if rate == SAME and size >= probed_from else ()
            if rate == SAME and size == sizes[-1]:
                probes = (*probes, "random-draws")
            sweeps.append(
                sweep_of(
                    recipe,
                    {"rate": rate, "batch_size": size},
                    {**fixed(size, rate), "epochs": epochs, "probes": probes},
                    (),
                    best=1.0,
                )
            )
    for then in (STOP, DROP):
        for length in phases:
            whole: dict[str, Any] = {"epochs": length}
            if then == DROP:
                whole = {"epochs": length + after, "phases": ((length, 1.0, 0.1),)}
            sweeps.append(
                sweep_of(
                    recipe,
                    {"then": then, "epochs": length},
                    {**fixed(sizes[-1], ROOT), **whole},
                    (),
                    best=1.0,
                )
            )
    return sweeps


_F1, _RESNET44 = H17_REGIMES["f1"], H17_REGIMES["resnet44"]

# H17's code clips every step of every run.
_NORMED = {"norm": "batch", "ghost_batch_size": 128, "augment": "h17", "clip_norm": 5.0}

_on_cifar10 = partial(
    random_walk,
    {
        **_NORMED,
        "dataset": "cifar10",
        "model": "resnet44",
        "momentum": _RESNET44.momentum,
        "weight_decay": _RESNET44.weight_decay,
    },
    anchor=128,
    learning_rate=_RESNET44.learning_rate,
    probed_from=32,
    remedy={"norm": "ghost"},
)

EXPERIMENT = Experiment(
    name="random-walk",
    sweeps={
        # Pilots with seed 900 (one run a point, no record kept), batches of 8 to 512 over 100
        # epochs: at 0.1 a batch of 8 does not train (57 %), at 0.05 its distance falls again, at
        # 0.025 every batch size trains. Those pilots' curves and one run's draws were looked at. At
        # the anchor the two kinds of rate differ in what is recorded alone.
        "digits": partial(
            random_walk,
            {
                "dataset": "digits",
                "model": "digits-mlp",
                "momentum": 0.9,
                "weight_decay": 1e-4,
            },
            sizes=(8, 16, 32, 64, 128, 256, 512),
            anchor=64,
            learning_rate=0.025,
            epochs=100.0,
            probed_from=64,
            phases=(125.0, 250.0, 500.0),
            after=25.0,
            remedy={},
        ),
        "cpu": partial(
            random_walk,
            {
                **_NORMED,
                "ghost_batch_size": 32,
                "dataset": "mnist",
                "train_size": 6000,
                "model": "f1",
                "momentum": _F1.momentum,
                "weight_decay": _F1.weight_decay,
            },
            sizes=(16, 32, 64, 128, 256, 512, 1024),
            anchor=32,
            learning_rate=_F1.learning_rate,
            epochs=20.0,
            probed_from=16,
            phases=(25.0, 50.0, 100.0),
            after=5.0,
            remedy={"norm": "ghost"},
        ),
        "gpu": partial(
            _on_cifar10,
            sizes=(32, 128, 512, 2048),
            epochs=20.0,
            phases=(25.0, 50.0),
            after=5.0,
        ),
        "paper": partial(
            _on_cifar10,
            sizes=tuple(2**k for k in range(5, 12)),
            epochs=81.0,
            phases=(100.0, 200.0, 400.0),
            after=41.0,
        ),
    },
    seeds={"digits": 10, "cpu": 5, "gpu": 3, "paper": 5},
    reference_states=("data", "net", "norm", "augmentation"),
    remarks={
        "": "H17 draws figures 2 and 7 without naming its batch sizes, seeds or the phase's "
        "length; regime, clipping and augmentation of its net are those of its code.",
        "digits": "The net has no norm, so that the remedies are the learning rate alone; "
        "no step is clipped, and the rate is one at which every batch size trains.",
    },
)
