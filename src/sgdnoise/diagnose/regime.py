"""Which regime a training is in, from what was measured: words and sentences, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sgdnoise.analysis.intervals import Interval
from sgdnoise.theory.one_step import updates_left
from sgdnoise.theory.stability import critical_learning_rate

Word = Literal["noise-dominated", "curvature-dominated", "between", "undecided", "not asked"]

FAR = 2.0
"""How far from the noise scale a batch is surely on one side of it, as on the book's map."""


@dataclass(frozen=True)
class Regime:
    """Where a batch size lies, and what follows.

    Attributes:
        word: *noise-dominated* if all of the noise scale's interval lies beyond `FAR` times the
            batch, *curvature-dominated* if the batch lies beyond `FAR` times all of it, *between*
            if it lies within these bounds, else *undecided*; *not asked* without a batch size.
        limits: the noise scale's two ends of *between*, for this batch: below the first curvature
            dominates, above the second noise.
    """

    word: Word
    limits: tuple[float, float] | None


def momentum_gain(momentum: float) -> float:
    """(1 + m)/(1 − m): by so much momentum raises the critical effective rate (S20 §3.3).

    The boundary of heavy ball lies from that of plain SGD up to so many times as far.
    """
    return float(critical_learning_rate(1.0, momentum)) / 2 / (1 - momentum)


def regime_of(batch_size: int | None, momentum: float, noise_scale: Interval) -> Regime:
    """The regime of a batch size; with momentum *between* reaches up to the gain times as far."""
    if batch_size is None:
        return Regime("not asked", None)
    below = batch_size / (FAR * momentum_gain(momentum))
    above = FAR * batch_size
    low, high = noise_scale.low, noise_scale.high
    word: Word = "undecided"
    if not math.isnan(noise_scale.value):
        if low >= above:
            word = "noise-dominated"
        elif high <= below:
            word = "curvature-dominated"
        elif low > below and high < above:
            word = "between"
    return Regime(word, (below, above))


def sentences(
    *,
    batch_size: int | None,
    learning_rate: float | None,
    momentum: float,
    noise_scale: Interval,
    critical_rate: float | None,
) -> list[str]:
    """What the numbers mean, a sentence or two each, the regime first.

    Args:
        noise_scale: tr(HΣ)/GᵀHG in examples.
        critical_rate: 2(1+m)/λmax; None where no direction curves upwards.
    """
    return [
        _of_batch(batch_size, momentum, noise_scale),
        *_of_momentum(momentum),
        _of_rate(learning_rate, momentum, critical_rate),
        *_of_room(batch_size, learning_rate, momentum, noise_scale, critical_rate),
    ]


def _of_batch(batch_size: int | None, momentum: float, noise_scale: Interval) -> str:
    scale = f"the noise scale, {_examples(noise_scale)}"
    found = regime_of(batch_size, momentum, noise_scale)
    if batch_size is None:
        return (
            f"Without a batch size no regime can be named: below half of {scale}, noise dominates, "
            "and far above it curvature."
        )
    if not math.isfinite(noise_scale.value) and found.word == "noise-dominated":
        return (
            f"Noise dominates. A batch of {batch_size:,} is below half of {scale}. Twice the batch "
            "at twice the learning rate needs little more than half of the updates."
        )
    known = math.isfinite(noise_scale.value) and noise_scale.value > 0
    share = batch_size / noise_scale.value if known else math.nan
    batch = f"A batch of {batch_size:,} is {_times(share)} {scale}"
    left = float(updates_left(2, batch_size, noise_scale.value)) if known else math.nan
    if found.word == "noise-dominated":
        return (
            f"Noise dominates. {batch}. Twice the batch at twice the learning rate needs about "
            f"{100 * left:.0f} % of the updates."
        )
    if found.word == "curvature-dominated":
        return (
            f"Curvature dominates. {batch}. Twice the batch still needs about {100 * left:.0f} % "
            "of the updates, so that a smaller batch costs less in all."
        )
    if found.word == "between":
        return (
            f"Between the regimes. {batch}. Twice the batch needs about {100 * left:.0f} % of the "
            "updates, at the best rate of each."
        )
    if not known:
        return (
            "Undecided. The gradient of the mean loss cannot be told from zero with these "
            "examples, so that the noise scale has no upper bound: give more of them with "
            "--examples."
        )
    return (
        f"Undecided. {batch}: its interval reaches across regimes. Give more examples with "
        "--examples."
    )


def _of_momentum(momentum: float) -> list[str]:
    gain = momentum_gain(momentum)
    if gain == 1:
        return []
    return [
        f"With momentum {momentum:g} curvature allows {gain:.3g} times the effective rate of plain "
        f"SGD, so that the boundary lies from the noise scale up to {gain:.3g} times as far."
    ]


def _of_rate(learning_rate: float | None, momentum: float, critical_rate: float | None) -> str:
    if critical_rate is None:
        return "No direction of these weights curves upwards: curvature bounds no learning rate."
    law = "2/λmax" if momentum == 0 else "2(1+m)/λmax"
    critical = f"the critical one, {law} = {critical_rate:.3g}"
    if learning_rate is None:
        return f"A learning rate has to stay below {critical}."
    share = learning_rate / critical_rate
    rate = f"The learning rate is {_times(share)} {critical}"
    if share >= 1:
        return (
            f"{rate}: on a quadratic with this curvature it diverges. A net can live there, where "
            "its curvature falls as it moves."
        )
    if share > 1 / FAR:
        return f"{rate}: curvature limits it, and leaves no room for twice the rate."
    return f"{rate}: there is room for twice the rate before curvature limits it."


def _of_room(
    batch_size: int | None,
    learning_rate: float | None,
    momentum: float,
    noise_scale: Interval,
    critical_rate: float | None,
) -> list[str]:
    """How far batch size and learning rate can grow together, where noise dominates."""
    if batch_size is None or learning_rate is None:
        return []
    if regime_of(batch_size, momentum, noise_scale).word != "noise-dominated":
        return []
    by_noise = noise_scale.low / batch_size
    by_rate = math.inf if critical_rate is None else critical_rate / learning_rate
    most = min(by_noise, by_rate)
    if most < FAR:
        return [
            "The critical learning rate comes before the noise scale: a larger batch cannot have "
            "a rate as much larger."
        ]
    first = "noise scale (its lower end)" if by_noise <= by_rate else "critical learning rate"
    return [
        f"Batch size and learning rate may grow together by {most:.2g} times before they meet the "
        f"{first}."
    ]


def _times(share: float) -> str:
    if not math.isfinite(share):
        return "an unknown part of"
    return f"{100 * share:.2g} % of" if share < 1 else f"{share:.3g} times"


def _examples(scale: Interval) -> str:
    if not math.isfinite(scale.value):
        return f"{scale.low:.3g} examples or more" if scale.low > 0 else "which is not known"
    return f"{scale} examples"
