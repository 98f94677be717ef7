"""Which regime a training is in, from what was measured: words and sentences, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sgdnoise.analysis.intervals import Interval
from sgdnoise.theory.one_step import updates_left
from sgdnoise.theory.stability import critical_effective_learning_rate

Word = Literal["noise-dominated", "curvature-dominated", "between", "undecided", "not asked"]

FAR = 2.0
"""How far from the boundary a batch is surely on one side of it, as on the book's map."""


@dataclass(frozen=True)
class Limits:
    """What limits the learning rate of plain SGD at the present weights.

    Attributes:
        noise_scale: tr(HΣ)/GᵀHG in examples, with its interval.
        best_step: |G|²/GᵀHG, the rate that wins most in a single step without noise; NaN if not
            known.
        critical: 2/λmax; None where no direction curves upwards.
        all_examples: whether the whole training set was measured.
    """

    noise_scale: Interval
    best_step: float = math.nan
    critical: float | None = None
    all_examples: bool = False

    @property
    def meets_critical(self) -> bool:
        """Whether the best single step meets the critical rate before the noise scale."""
        return self.critical is not None and self.best_step > 2 * self.critical

    @property
    def boundary(self) -> Interval:
        """The batch size at which the best single step stops growing in proportion to it.

        That is the noise scale, or the batch at which the best step is the critical rate.
        """
        if not self.meets_critical:
            return self.noise_scale
        assert self.critical is not None
        share = 1 / (self.best_step / self.critical - 1)
        s = self.noise_scale
        return Interval(share * s.value, share * s.low, share * s.high)


@dataclass(frozen=True)
class Regime:
    """Where a batch size lies, and what follows.

    Attributes:
        word: *noise-dominated* if all of the boundary's interval lies beyond `FAR` times the
            batch, *curvature-dominated* if the batch lies beyond `FAR` times all of it, *between*
            if it lies within these bounds, else *undecided*; *not asked* without a batch size.
        limits: the boundary's two ends of *between*, for this batch: below the first curvature
            dominates, above the second noise.
    """

    word: Word
    limits: tuple[float, float] | None


def momentum_gain(momentum: float) -> float:
    """(1 + m)/(1 − m): by so much momentum raises the critical effective rate (S20 §3.3).

    The boundary of heavy ball lies from that of plain SGD up to so many times as far.
    """
    return float(critical_effective_learning_rate(2.0, momentum))


def regime_of(batch_size: int | None, momentum: float, boundary: Interval) -> Regime:
    """The regime of a batch size; with momentum *between* reaches up to the gain times as far."""
    if batch_size is None:
        return Regime("not asked", None)
    below = batch_size / (FAR * momentum_gain(momentum))
    above = FAR * batch_size
    low, high = boundary.low, boundary.high
    word: Word = "undecided"
    if not math.isnan(boundary.value):
        if low >= above:
            word = "noise-dominated"
        elif high <= below:
            word = "curvature-dominated"
        elif low > below and high < above:
            word = "between"
    return Regime(word, (below, above))


def sentences(
    limits: Limits,
    *,
    batch_size: int | None,
    learning_rate: float | None,
    momentum: float,
) -> list[str]:
    """What the numbers mean, a sentence or two each, the regime first.

    Args:
        limits: what limits the learning rate.
        batch_size: B; None if it is not known.
        learning_rate: ε; None if it is not known.
        momentum: m.
    """
    critical = limits.critical
    critical_rate = None if critical is None else critical * (1 + momentum)
    return [
        _of_batch(batch_size, momentum, limits),
        *_of_momentum(momentum),
        _of_rate(learning_rate, momentum, critical_rate),
        *_of_room(batch_size, learning_rate, momentum, limits, critical_rate),
    ]


def _of_batch(batch_size: int | None, momentum: float, limits: Limits) -> str:
    boundary, scale = limits.boundary, limits.noise_scale
    name = f"the noise scale, {examples_of(scale)}"
    where = ""
    if limits.meets_critical:
        name = f"the boundary, {examples_of(boundary)}"
        where = (
            " There the best single step meets the critical learning rate, before the noise scale "
            f"of {examples_of(scale)}."
        )
    found = regime_of(batch_size, momentum, boundary)
    if batch_size is None:
        return (
            f"Without a batch size no regime can be named: below half of {name}, noise dominates, "
            f"and far above it curvature.{where}"
        )
    known = math.isfinite(boundary.value) and boundary.value > 0
    if not known:
        if found.word == "noise-dominated":
            return f"Noise dominates. A batch of {batch_size:,} is below half of {name}.{where}"
        return (
            "Undecided. These examples do not tell the gradient's noise and its mean apart from "
            f"zero, along curved directions, so that the noise scale is not known{_more(limits)}"
        )
    batch = f"A batch of {batch_size:,} is {_times(batch_size / boundary.value)} {name}.{where}"
    left = 100 * float(updates_left(2, batch_size, scale.value))
    if found.word == "noise-dominated":
        return (
            f"Noise dominates. {batch} Twice the batch needs about {left:.0f} % of the updates, at "
            "the best rate of each."
        )
    if found.word == "curvature-dominated":
        return (
            f"Curvature dominates. {batch} Twice the batch still needs about {left:.0f} % of the "
            "updates, at the best rate of each, so that a smaller batch costs less in all."
        )
    if found.word == "between":
        return (
            f"Between the regimes. {batch} Twice the batch needs about {left:.0f} % of the "
            "updates, at the best rate of each."
        )
    return f"Undecided. {batch} Its interval reaches across regimes{_more(limits)}"


def _more(limits: Limits) -> str:
    """What to do about a wide interval."""
    if limits.all_examples:
        return ". All examples are in use: ask at another moment of the training."
    return ": give more examples with --examples."


def _of_momentum(momentum: float) -> list[str]:
    gain = momentum_gain(momentum)
    if gain == 1:
        return []
    return [
        f"With momentum {momentum:g} curvature allows {gain:.3g} times the effective rate of plain "
        f"SGD, so that its boundary lies anywhere from plain SGD's up to {gain:.3g} times as far."
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
    limits: Limits,
    critical_rate: float | None,
) -> list[str]:
    """How far batch size and learning rate can grow together, where noise dominates."""
    if batch_size is None or learning_rate is None:
        return []
    if regime_of(batch_size, momentum, limits.boundary).word != "noise-dominated":
        return []
    by_noise = limits.boundary.low / batch_size
    by_rate = math.inf if critical_rate is None else critical_rate / learning_rate
    most = min(by_noise, by_rate)
    if most < FAR:
        return [
            "The critical learning rate comes before the boundary: a larger batch cannot have a "
            "rate as much larger."
        ]
    first = "lower end of the boundary" if by_noise <= by_rate else "critical learning rate"
    if not limits.meets_critical:
        first = first.replace("boundary", "noise scale")
    times = f"{most:.2g}" if most < 10 else f"{most:,.0f}"
    return [
        f"Batch size and learning rate meet the {first} when both have grown by {times} times. "
        "Well before it the linear scaling rule can hold."
    ]


def _times(share: float) -> str:
    return f"{100 * share:.2g} % of" if share < 1 else f"{share:,.3g} times"


def examples_of(scale: Interval) -> str:
    """A batch size with its interval, as sentences have it."""
    if not math.isfinite(scale.value):
        return f"{scale.low:.3g} examples or more" if scale.low > 0 else "which is not known"
    if math.isclose(scale.low, scale.high, rel_tol=1e-6):
        return f"{Interval(scale.value, math.nan, math.nan)}".partition(",")[0] + " examples"
    return f"{scale} examples"
