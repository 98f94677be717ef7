"""What is measured in G20's two ways to enlarge the gradient: gradients, fluctuations, ends.

Gradients and fluctuations, which nothing tuned, are had seed by seed, the first update of all arms
being of one net and one batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.experiments.larger_gradients.grid import RATE_FACTOR
from sgdnoise.study.grid import Key, SweepState

ARMS = {
    "none": "nothing left out",
    "loss": "small losses left out",
    "random": "as many left out at random",
    "whole": "the large batch throughout",
    "small": "a small batch in the first epoch",
    "slow": "a low rate in the first epoch",
    "throughout": "the small batch throughout",
}
"""What the arms are called."""

EARLY = 0.8
"""The part of a run in which its loss fluctuates: G20's 80 epochs, of our 100."""


def _of_part(key: Key, part: str) -> bool:
    return dict(key)["part"] == part


OF = {p: partial(_of_part, part=p) for p in ("gradient", "discarding", "first-epoch")}
"""Which sweeps are of a part."""


def state_of(reading: Reading, **wanted: Any) -> SweepState:
    (found,) = (s for s in reading.states if wanted.items() <= dict(s.sweep.key).items())
    return found


def first_gradients(reading: Reading, arm: str, left_out: float) -> np.ndarray:
    """Mean |g| over all weights at the first update, a number a seed; NaN for what is not there.

    Args:
        reading: of the part `gradient`.
        arm: which examples are left out.
        left_out: how many, as a part of the batch.
    """
    runs = state_of(reading, arm=arm, left_out=left_out).needed
    found = [reading.records.get(run.id) for run in runs]
    values = [
        record.curves.get("gradient_abs", [math.nan])[0] if record else None for record in found
    ]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def growth(reading: Reading, left_out: float) -> tuple[list[int], np.ndarray]:
    """log₂ of the mean |g| with small losses left out over that with nothing, along the run.

    Args:
        reading: of the part `gradient`.
        left_out: how many, as a part of the batch.

    Returns:
        The logged updates, and the ratios of shape (seeds, updates), seed by seed.
    """
    arms = [state_of(reading, arm="none"), state_of(reading, arm="loss", left_out=left_out)]
    pairs = [
        [reading.records[run.id].curves for run in runs]
        for runs in zip(*(arm.needed for arm in arms), strict=True)
        if all(run.id in reading.records for run in runs)
    ]
    pairs = [pair for pair in pairs if all(curves.get("gradient_abs") for curves in pair)]
    if not pairs:
        return [], np.empty((0, 0))
    steps = min((curves["step"] for pair in pairs for curves in pair), key=len)
    sizes = np.array(
        [[curves["gradient_abs"][: len(steps)] for curves in pair] for pair in pairs],
        dtype=np.float64,
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return [round(float(step or 0)) for step in steps], np.log2(sizes[:, 1] / sizes[:, 0])


def stays_larger(reading: Reading, left_out: float) -> list[bool]:
    """At which logged updates the gradient is larger with small losses left out, seed by seed.

    That is, where the 95 % interval of the ratio lies above one. Asked after the runs had been
    seen.

    Args:
        reading: of the part `gradient`.
        left_out: how many, as a part of the batch.
    """
    _, ratios = growth(reading, left_out)
    return [Estimate.mean(of[np.isfinite(of)]).interval.low > 0 for of in ratios.T]


def first_larger(larger: list[bool]) -> int:
    """At how many updates, from the first on, the gradient is larger without a break."""
    return larger.index(False) if False in larger else len(larger)


def at_which(larger: list[bool]) -> str:
    """At how many logged updates the gradient is larger, the first ones and those after them."""
    first, count = first_larger(larger), len(larger)
    if first == count:
        return f"all {count} logged updates"
    later = sum(larger) - first
    if not first:
        return f"{later or 'none'} of {count} logged updates, and not at the first"
    those = "the first" if first == 1 else f"the first {first}"
    after = {0: "none", 1: "only one"}.get(later, f"{later}")
    return f"{those} of {count} logged updates, and after that at {after}"


def fluctuation(losses: Iterable[float | None], *, in_nats: bool = False) -> float:
    """How much a loss fluctuates from epoch to epoch: a standard deviation, in octaves or in nats.

    Of log₂ of the losses, or of the losses, about a straight line through each three: the variance
    is the mean of (a − 2b + c)² / 6 (Gasser, Sroka and Jennen-Steinmetz 1986), so that a steady
    fall, however steep, counts as none. NaN for fewer than three, and where a loss is not positive.
    """
    course = np.array([math.nan if x is None or not x > 0 else x for x in losses], dtype=np.float64)
    if len(course) < 3:
        return math.nan
    bends = np.diff(course if in_nats else np.log2(course), 2)
    return float(np.sqrt(np.mean(bends**2) / 6))


def fluctuations(
    reading: Reading, arm: str, updates: str = "free", *, in_nats: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Fluctuations of the loss early and late, each of shape (seeds,), the first epoch left out.

    At the rate that is best for the large batch throughout, which all arms have after the first
    epoch; of the seeds that tuned it, for what is measured is not what was tuned.
    """
    whole, mine = (state_of(reading, arm=a, updates=updates) for a in ("whole", arm))
    best = whole.tuned.get("test_accuracy")
    if best is None:
        return np.full(0, math.nan), np.full(0, math.nan)
    found = []
    for seed in range(reading.seeds):
        config = mine.sweep.config(best.point, seed)
        record = reading.records.get(config.id)
        course = list(record.curves.get("epoch_mean_loss", [])) if record else []
        until = round(EARLY * float(config.epochs or 0))
        parts = course[1:until], course[until:]
        found.append([fluctuation(part, in_nats=in_nats) for part in parts])
    early, late = np.array(found, dtype=np.float64).T
    return early, late


def as_part(octaves: np.ndarray) -> str:
    """Fluctuations in octaves as a part of the loss, the median over seeds; empty for none."""
    finite = octaves[np.isfinite(octaves)]
    return f"{2 ** np.median(finite) - 1:.1%}" if len(finite) else ""


def fresh_accuracies(reading: Reading, arm: str, updates: str = "free") -> np.ndarray:
    """The accuracies of an arm's fresh seeds at its tuned rate, in percent."""
    runs = state_of(reading, arm=arm, updates=updates).fresh_runs
    return np.array([reading.known[run]["test_accuracy"] for run in runs if run in reading.known])


def first_steps(reading: Reading) -> str:
    """How long the first update is with a small first batch; empty where none is measured.

    G20 has it that the small batch makes it longer.
    """
    reading = reading.part(OF["first-epoch"])
    ratios = {}
    for name in ("gradient_abs", "stride_abs"):
        whole, small = (_first(reading, arm, name) for arm in ("whole", "small"))
        ratio = small / whole
        ratio = ratio[np.isfinite(ratio)]
        ratios[name] = float(np.median(ratio)) if len(ratio) else math.nan
    if not all(map(math.isfinite, ratios.values())):
        return ""
    grown, step = ratios["gradient_abs"], ratios["stride_abs"]
    said = (
        f"At the first update the small batch's mean |g| is {grown:.2g} times the large batch's. "
        f"At {RATE_FACTOR:g} times the rate its step is {step:.2g} times as long."
    )
    alone = grown * RATE_FACTOR
    # Decay adds as much to either step, before the rate: it brings the ratio nearer to the rates'.
    if RATE_FACTOR < step < alone and f"{step:.2g}" != f"{alone:.2g}":
        said += (
            f" By the gradients alone it would be {alone:.2g} times. Weight decay is the rest: it "
            "adds as much to either gradient, and so lengthens the large batch's step by more."
        )
    return (
        f"{said} So it is {'shorter' if step < 1 else 'longer'}, and G20 says that the small batch "
        "amplifies it."
    )


def _first(reading: Reading, arm: str, name: str) -> np.ndarray:
    """A quantity at the first update of an arm's runs at the large batch's tuned rate, a seed."""
    whole, mine = (state_of(reading, arm=a, updates="free") for a in ("whole", arm))
    best = whole.tuned.get("test_accuracy")
    if best is None:
        return np.full(0, math.nan)
    runs = [mine.sweep.config(best.point, seed).id for seed in range(reading.seeds)]
    curves = [reading.records[run].curves if run in reading.records else {} for run in runs]
    return np.array([(curve.get(name) or [math.nan])[0] for curve in curves], dtype=np.float64)
