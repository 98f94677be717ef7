"""Compute budgets and learning-rate schedules, as plain functions of the step.

A schedule is a dimensionless multiplier of the initial learning rate, so that one schedule serves
every learning rate of a grid.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Schedule = Callable[[int], float]
"""Maps a step, 0-based, to a multiplier of the initial learning rate."""


def steps_for_epochs(epochs: float, train_size: int, batch_size: int) -> int:
    """Number of updates in an epoch budget: round(epochs · N / B), and at least one.

    Permutations are joined end to end, so that no example is dropped and no batch is short; the
    budget is therefore exact to within half a batch.

    Raises:
        ValueError: for a budget, training set or batch size that is not positive, or a batch
            larger than the training set.
    """
    if not (epochs > 0 and math.isfinite(epochs)):
        raise ValueError(f"epochs must be positive and finite, got {epochs}")
    if train_size < 1:
        raise ValueError(f"training set size must be at least 1, got {train_size}")
    if not 1 <= batch_size <= train_size:
        raise ValueError(
            f"batch size must lie between 1 and the training set size {train_size}, "
            f"got {batch_size}"
        )
    return max(1, round(epochs * train_size / batch_size))


def hold_then_decay(
    total_steps: int, factor: float = 2.0, hold: float = 0.5, drops: int = 10
) -> Schedule:
    """S20's schedule (§4): constant for half of training, then divided by γ every twentieth.

    The first of the ten drops comes at the end of the hold, so that the last learning rate is
    ε_f = ε_0 γ^(-10). Drop times stay fractions of the budget: rounding the interval to whole
    steps instead would give an eleventh drop in the last few steps of 9,765.

    Args:
        total_steps: length of training, in steps.
        factor: γ, what each drop divides by; S20 uses 2, and tunes it in its figure 3.
        hold: fraction of training before the first drop.
        drops: number of drops, spread evenly over the rest.

    Returns:
        The multiplier of the initial learning rate at a step.
    """
    if total_steps < 1:
        raise ValueError(f"total steps must be at least 1, got {total_steps}")
    if not factor > 0:
        raise ValueError(f"decay factor must be positive, got {factor}")
    if not 0 <= hold <= 1:
        raise ValueError(f"hold must lie between 0 and 1, got {hold}")
    if drops < 0:
        raise ValueError(f"drops must not be negative, got {drops}")
    start = hold * total_steps

    def multiplier(step: int) -> float:
        if step < start or drops == 0:
            return 1.0
        if hold == 1:
            return 1.0
        passed = math.floor((step - start) / ((total_steps - start) / drops)) + 1
        return float(factor ** -min(passed, drops))

    return multiplier


def constant(total_steps: int) -> Schedule:
    """The initial learning rate throughout; what the noisy quadratic model uses."""
    if total_steps < 1:
        raise ValueError(f"total steps must be at least 1, got {total_steps}")
    return lambda step: 1.0


def tabulate(schedule: Schedule, total_steps: int) -> np.ndarray:
    """The multiplier at each step, shape (total_steps,), float64."""
    return np.array([schedule(step) for step in range(total_steps)], dtype=np.float64)


def log_spaced_steps(total_steps: int, count: int) -> list[int]:
    """About `count` distinct step counts from 1 to `total_steps`, evenly spaced in log.

    These are numbers of completed updates, the last being the whole run: where curves are logged.
    """
    if total_steps < 1:
        raise ValueError(f"total steps must be at least 1, got {total_steps}")
    points = np.geomspace(1, total_steps, num=max(2, count))
    return sorted({round(p) for p in points} | {total_steps})


def milestones(total_steps: int, drops: Sequence[tuple[float, float]]) -> Schedule:
    """A multiplier that changes at given fractions of the budget: steps of a staircase.

    Fractions rather than epochs, so that a stretched budget stretches every phase alike; that is
    H17's regime adaptation (§5).

    Args:
        total_steps: length of training, in steps.
        drops: (fraction of the budget, multiplier from there on), fractions increasing in (0, 1].
            Before the first the multiplier is 1; the multipliers need not decrease.
    """
    if total_steps < 1:
        raise ValueError(f"total steps must be at least 1, got {total_steps}")
    fractions = [fraction for fraction, _ in drops]
    if any(b <= a for a, b in zip([0.0, *fractions], fractions, strict=False)) or any(
        f > 1 for f in fractions
    ):
        raise ValueError(f"milestones must be increasing fractions in (0, 1], got {fractions}")
    if any(not m >= 0 for _, m in drops):
        raise ValueError(f"multipliers must not be negative, got {[m for _, m in drops]}")
    values = [1.0, *(float(multiplier) for _, multiplier in drops)]
    # Rounded up: a phase starts with the first step at or after its time. The tolerance keeps
    # 81/200 of 200·n steps at 81·n, where the product comes out a rounding error above it.
    starts = [math.ceil(fraction * total_steps * (1 - 1e-12)) for fraction in fractions]
    return lambda step: values[bisect.bisect_right(starts, step)]


def cosine(total_steps: int, final: float = 0.0) -> Schedule:
    """Half a cosine from 1 at step 0 to `final` at the end of training, which no step reaches."""
    if total_steps < 1:
        raise ValueError(f"total steps must be at least 1, got {total_steps}")
    if not 0 <= final <= 1:
        raise ValueError(f"final multiplier must lie between 0 and 1, got {final}")
    return lambda step: (
        final + (1 - final) * (1 + math.cos(math.pi * min(step / total_steps, 1))) / 2
    )


def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """The schedule, its first updates scaled by 1/steps, 2/steps, … 1 (Goyal et al. 2017).

    The last of these updates already has the full learning rate, so that `steps` of 0 and of 1
    change nothing. The schedule itself is not shifted: the budget stays what it was.
    """
    if steps < 0:
        raise ValueError(f"warm-up steps must not be negative, got {steps}")
    return lambda step: schedule(step) * min(1.0, (step + 1) / max(steps, 1))


def scale_learning_rate(
    learning_rate: float,
    batch_size: int,
    base_batch_size: int,
    rule: Literal["linear", "sqrt"],
    train_size: int | None = None,
) -> float:
    """The learning rate of one batch size carried over to another.

    `linear` keeps ε/B, and with it drift and noise of an epoch (S20 §2, Goyal et al. 2017): the
    rule for a constant epoch budget below the boundary batch size. `sqrt` keeps the covariance of
    an update, η²/M (H17-E7): the rule where the budget is a number of steps.

    Args:
        learning_rate: at the base batch size.
        batch_size: the new one.
        base_batch_size: the one that `learning_rate` was tuned for.
        rule: which of the two.
        train_size: N, to correct `sqrt` for batches that are not small beside the training set and
            drawn from it without replacement: √[(1/M_S − 1/N)/(1/M_L − 1/N)], which is 22% above
            √(M_L/M_S) from 128 to 16,384 of 50,000. None for N → ∞. Not for `linear`.

    Raises:
        ValueError: for what is not positive, an unknown rule, or a batch that is not smaller than
            `train_size`: the whole set has no noise to keep.
    """
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"learning rate must be positive and finite, got {learning_rate}")
    if min(batch_size, base_batch_size) < 1:
        raise ValueError(f"batch sizes must be at least 1, got {batch_size} and {base_batch_size}")
    if rule == "linear":
        if train_size is not None:
            raise ValueError("linear scaling knows no training set size: leave it out")
        return learning_rate * batch_size / base_batch_size
    if rule != "sqrt":
        raise ValueError(f"unknown scaling rule {rule!r}: choose linear or sqrt")
    if train_size is None:
        return learning_rate * math.sqrt(batch_size / base_batch_size)
    if max(batch_size, base_batch_size) >= train_size:
        raise ValueError(
            f"batch sizes {batch_size} and {base_batch_size} must be smaller than the training set "
            f"size {train_size}: a batch of everything has no noise to match"
        )
    return learning_rate * math.sqrt(
        (1 / base_batch_size - 1 / train_size) / (1 / batch_size - 1 / train_size)
    )


@dataclass(frozen=True)
class Regime:
    """A published training recipe: what H17 calls the optimization regime of a net.

    Attributes:
        learning_rate: at the start.
        momentum: of PyTorch's heavy ball.
        weight_decay: at the start.
        epochs: length of training.
        drops: (epoch, learning rate from there on).
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    epochs: float
    drops: tuple[tuple[float, float], ...]

    def schedule(self, total_steps: int) -> Schedule:
        """The regime over a budget of any length, in multipliers of the initial learning rate."""
        return milestones(
            total_steps,
            [(epoch / self.epochs, rate / self.learning_rate) for epoch, rate in self.drops],
        )


H17_REGIMES = {
    "f1": Regime(0.1, 0.9, 1e-4, 50, ((10, 1e-2), (20, 1e-3), (30, 1e-4))),
    "c1": Regime(1e-3, 0.0, 5e-4, 200, ((60, 1e-2), (120, 1e-3), (180, 1e-4))),
    "c3": Regime(1e-3, 0.0, 5e-4, 200, ((60, 1e-2), (120, 1e-3), (180, 1e-4))),
    "resnet44": Regime(0.1, 0.9, 1e-4, 200, ((81, 1e-2), (122, 1e-3), (164, 1e-4))),
    "wrn-16-4": Regime(0.1, 0.9, 1e-4, 200, ((60, 2e-2), (120, 4e-3), (140, 1e-4))),
}
"""The regimes of H17's code (eladhoffer/bigBatch), not of the paper, which prints none.

C1 and C3 name no momentum there, and so had none. VGG has no regime there, and AlexNet's has no
length. Lengths: F1's 50 epochs and C1's and C3's 200 stand in the example commands; 200 is the
code's default for the other two, whose example commands pass 100, where only the drop at 81 or 60
fires. The paper names no length.
"""

# H17's own wide net, which is not S20's; and F1 in a size for small images.
H17_REGIMES |= {"h17-wrn-16-4": H17_REGIMES["wrn-16-4"], "f1-64": H17_REGIMES["f1"]}


class Phase(NamedTuple):
    """From an epoch on, another batch size and another learning rate.

    Attributes:
        epoch: when it starts: with the first update before which epoch · N examples were seen.
        batch_factor: of the run's own batch size (not of the phase before), rounded to examples.
        rate_factor: of the learning rate that the run's schedule has at a step.
    """

    epoch: float
    batch_factor: float
    rate_factor: float = 1.0


@dataclass(frozen=True)
class Stretch:
    """Updates of one batch size: what a phase becomes on a training set.

    Attributes:
        step: its first, 0-based.
        example: how many examples the updates before it took.
        batch_size: examples in an update.
        rate_factor: of the learning rate.
    """

    step: int
    example: int
    batch_size: int
    rate_factor: float


@dataclass(frozen=True)
class BatchSchedule:
    """The batch size of each update of a run; `batch_schedule` makes it."""

    stretches: tuple[Stretch, ...]
    total_steps: int

    def at(self, step: int) -> Stretch:
        """The stretch of a 0-based step; past the end, the last one."""
        return self.stretches[self._place(step) - 1]

    def end(self, step: int) -> int:
        """The first step that is not in this one's stretch."""
        place = self._place(step)
        return self.stretches[place].step if place < len(self.stretches) else self.total_steps

    def seen(self, step: int) -> int:
        """How many examples the updates before this step took."""
        stretch = self.at(step)
        return stretch.example + (step - stretch.step) * stretch.batch_size

    @property
    def examples(self) -> int:
        """How many examples all updates take."""
        return self.seen(self.total_steps)

    def _place(self, step: int) -> int:
        return bisect.bisect_right(self.stretches, step, key=lambda stretch: stretch.step)


def batch_schedule(
    batch_size: int,
    train_size: int,
    phases: Sequence[tuple[float, float, float]] = (),
    *,
    epochs: float | None = None,
    steps: int | None = None,
) -> BatchSchedule:
    """Phases turned into updates, for a budget of epochs or of steps.

    A phase starts with the first update at or after its epoch, so that no batch is cut. A budget
    of epochs ends with the last phase's nearest whole update, as `steps_for_epochs` does.

    Args:
        batch_size: of the updates before the first phase, and what the factors multiply.
        train_size: N.
        phases: epochs, batch factors and rate factors, by increasing epoch.
        epochs: the budget; exactly one of `epochs` and `steps` is given.
        steps: the budget.

    Raises:
        ValueError: for a batch that is empty or larger than the training set, a budget, an epoch or
            a factor that makes no sense, and for a phase without an update, because the next one or
            the end of the run comes first.
    """
    if (epochs is None) == (steps is None):
        raise ValueError("give exactly one of epochs and steps")
    if steps is None:
        assert epochs is not None
        steps_for_epochs(epochs, train_size, batch_size)  # which judges all three
    else:
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        steps_for_epochs(1, train_size, batch_size)  # which judges the other two
    stretches = [Stretch(0, 0, batch_size, 1.0)]
    for epoch, batch_factor, rate_factor in phases:
        if not (0 <= epoch < math.inf and 0 < rate_factor < math.inf):
            raise ValueError(
                f"the phase from epoch {epoch:g} on has the rate factor {rate_factor:g}: an epoch "
                "must be at least 0, a rate factor positive, and both finite"
            )
        size, last = _whole(batch_factor * batch_size), stretches[-1]
        if not 1 <= size <= train_size:
            raise ValueError(
                f"the phase from epoch {epoch:g} on has batches of {size} examples: choose a "
                f"factor that gives between 1 and the training set's {train_size}"
            )
        # The tolerance: as in `milestones`.
        start = math.ceil(epoch * train_size * (1 - 1e-12))
        count = -(-(start - last.example) // last.batch_size)
        if len(stretches) == 1 and count == 0:
            stretches.clear()
        _refuse_empty(count > 0 or not stretches, epoch)
        stretches.append(
            Stretch(
                last.step + count, last.example + count * last.batch_size, size, float(rate_factor)
            )
        )
    last = stretches[-1]
    if steps is None:
        assert epochs is not None
        rest = round((epochs * train_size - last.example) / last.batch_size)
        steps = max(last.step + rest, 0 if phases else 1)
    _refuse_empty(steps > last.step, phases[-1][0] if phases else 0.0)
    return BatchSchedule(tuple(stretches), steps)


def _whole(size: float) -> int:
    """To whole examples; 0, which no batch has, for what is not finite."""
    return round(size) if math.isfinite(size) else 0


def _refuse_empty(fine: bool, epoch: float) -> None:
    if not fine:
        raise ValueError(
            f"no update is left for the phase before or from epoch {epoch:g} on: "
            "move it, or lengthen the run"
        )


def small_first_epoch(batch_factor: float, rate_factor: float = 1.0) -> tuple[Phase, ...]:
    """G20's schedule (§3.2): one epoch at another batch size and rate, then the run's own.

    G20 takes 512 at 0.005, then 8192 at 0.05: factors of 1/16 and 0.1. That makes a step 2.5 times
    *smaller* in noise (ε/√B), and only the epoch's total longer.
    """
    return (Phase(0, batch_factor, rate_factor), Phase(1, 1.0))
