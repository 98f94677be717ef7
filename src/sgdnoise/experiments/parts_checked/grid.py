"""Acceptance: does every net train, through the ordinary engine, on real images?

Each convolution net gets 2,000 images of CIFAR-10 at 32 × 32 and some epochs, and has to bring the
loss over all of them, in evaluation mode, below 1.5 nats: guessing costs ln 10 ≈ 2.3. F1 gets MNIST
for three epochs and has to classify more than 97 % of its test set. About an hour of one CPU core
in all; killed, it goes on where it was.

This shows that initialisation, normalisation, optimizer, data and evaluation fit together. It is
no measurement of what a net can reach. No learning rate was tuned on a grid, but where a first
attempt fell short the steps, the rate or the warm-up were changed by hand: the store keeps such
attempts as records beside the checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sgdnoise.config import RunConfig, make_config
from sgdnoise.records.record import Record
from sgdnoise.study.grid import Sweep
from sgdnoise.study.study import Experiment

Verdict = Literal["passed", "failed", "not yet run"]


@dataclass(frozen=True)
class Check:
    """One run and what it has to reach: a loss below the bound, or an accuracy above it."""

    config: RunConfig
    metric: str
    bound: float

    def verdict(self, records: Mapping[str, Record]) -> Verdict:
        """What the records, by id, say; a run that diverged or broke off has failed."""
        record = records.get(self.config.id)
        if record is None:
            return "not yet run"
        value = record.metrics.get(self.metric)
        if record.status != "done" or value is None:
            return "failed"
        reached = value > self.bound if self.metric.endswith("accuracy") else value < self.bound
        return "passed" if reached else "failed"


def _cifar10(model: str, norm: str | None, steps: int, learning_rate: float, **other: Any) -> Check:
    config = make_config(
        **{
            "dataset": "cifar10",
            "train_size": 2000,
            "model": model,
            "norm": norm,
            "ghost_batch_size": 16,
            "batch_size": 32,
            "learning_rate": learning_rate,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "steps": steps,
            **other,
        }
    )
    return Check(config, "train_loss", 1.5)


CHECKS = (
    Check(
        make_config(
            dataset="mnist",
            model="f1",
            norm="ghost",
            ghost_batch_size=128,
            batch_size=256,
            learning_rate=0.1,
            momentum=0.9,
            weight_decay=5e-4,
            epochs=3,
        ),
        "test_accuracy",
        97.0,
    ),
    _cifar10("wrn-10-1", "batch", 400, 0.05),
    _cifar10("wrn-10-1", "ghost", 400, 0.05),
    _cifar10("wrn-10-1", "none", 2000, 0.1),
    # With ten classes C3 is C1, so that each reading is seen with both norms.
    _cifar10("c1", "batch", 400, 0.02),
    _cifar10("c3", "ghost", 400, 0.02),
    _cifar10("c1-keskar", "batch", 400, 0.02),
    _cifar10("c3-keskar", "ghost", 400, 0.02),
    _cifar10("vgg11", "ghost", 300, 0.01, warmup_steps=50),
    _cifar10("resnet44", "ghost", 700, 0.02, warmup_steps=50),
    _cifar10("alexnet-cifar", None, 1200, 0.03, warmup_steps=50),
    _cifar10("h17-wrn-16-4", "ghost", 300, 0.03, warmup_steps=20),
    _cifar10("resnet18", "batch", 400, 0.02, warmup_steps=20),
    _cifar10("wrn-16-4", "ghost", 300, 0.03, warmup_steps=20),
    # At 32 pixels its last maps are one pixel: rates that suit the others throw it off at once.
    _cifar10("resnet50", "batch", 1000, 0.005, warmup_steps=100),
    _cifar10("wrn-16-4", "batch", 300, 0.03, warmup_steps=20),
    _cifar10("wrn-16-4", "none", 1200, 0.05, warmup_steps=20),
)
"""The cheapest first. WRN-28-10, the same code as WRN-16-4, and torchvision's nets at 224 pixels
would each take a core-hour and more; ResNet-50 is taken at 32 pixels instead, AlexNet as
`alexnet-cifar`."""


def _sweeps() -> list[Sweep]:
    """One sweep without axes a check: its run is fixed, nothing is tuned."""
    return [
        Sweep(
            (("model", check.config.model), ("norm", check.config.norm or "none")),
            tuple(check.config.model_dump(exclude_defaults=True, exclude={"seed"}).items()),
            (),
            best=1.0,
        )
        for check in CHECKS
    ]


EXPERIMENT = Experiment(
    name="parts-checked",
    sweeps={"cpu": _sweeps},
    seeds={"cpu": 1},
)
