"""Trying the linear scaling rule on a user's own model: batch and rate together, and batch alone.

Where noise dominates, a batch and a learning rate that grow together train as before (S20 §2): the
same loss after the same examples. The batch alone does not, for it makes fewer steps of the same
length. Each comparison is of pairs of runs from the same weights, over the same examples.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from sgdnoise.analysis.intervals import Interval, quantile
from sgdnoise.diagnose.problem import Problem, Setting
from sgdnoise.errors import InputError
from sgdnoise.progress import bar

TIMES = (2, 4)
"""By what batches grow."""

UPDATES = 128
"""Of a run at the batch size asked about; larger batches make fewer, over the same examples."""

SEEDS = 8

MARGIN = math.log2(1.1)
"""Losses alike: within 10 %, in log₂."""

LOOKS = 9
"""At how many updates of the second half a run's loss is looked at; their mean is compared."""

Word = Literal["alike", "lower", "higher", "undecided"]


@dataclass(frozen=True)
class Tried:
    """One way to grow, against the setting asked about.

    Attributes:
        times: by what the batch grew.
        rate_times: by what the learning rate did: as much, or 1.
        ratio: log₂ of the loss divided by the other's, with its 95 % interval over pairs of runs.
            Infinite if a run has diverged.
        word: *alike* if all of the interval is within `MARGIN`, *higher* or *lower* if all of it
            is beyond, else *undecided*.
    """

    times: int
    rate_times: int
    ratio: Interval
    word: Word


@dataclass(frozen=True)
class Verified:
    """What was trained, and what became of it.

    Attributes:
        start, end: mean loss before, and of the setting asked about, over the second half.
        examples: that each run saw.
        seeds: pairs of runs.
        tried: one a way to grow.
    """

    start: float
    end: float
    examples: int
    seeds: int
    tried: tuple[Tried, ...]


def word_of(ratio: Interval) -> Word:
    """What an interval of log₂ of a ratio of losses says."""
    if ratio.low > -MARGIN and ratio.high < MARGIN:
        return "alike"
    if ratio.low >= MARGIN:
        return "higher"
    return "lower" if ratio.high <= -MARGIN else "undecided"


def paired(losses: Sequence[float], others: Sequence[float]) -> Interval:
    """log₂ of losses over others, pair by pair, by Student's t; infinite if one is not finite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.log2(np.asarray(losses, dtype=np.float64) / np.asarray(others))
    if not np.isfinite(each).all():
        return Interval(math.inf, math.inf, math.inf)
    half = quantile(len(each) - 1) * float(each.std(ddof=1)) / math.sqrt(len(each))
    mean = float(each.mean())
    return Interval(mean, mean - half, mean + half)


def check(problem: Problem, setting: Setting, times: Sequence[int] = TIMES) -> tuple[int, float]:
    """Batch size and learning rate at which `verify` can train.

    Raises:
        InputError: without one of them; for a batch whose largest multiple exceeds the training
            set.
    """
    b, rate = setting.batch_size, setting.learning_rate
    if b is None or rate is None:
        raise InputError(
            "--verify trains at a batch size and a learning rate, and "
            f"{'the batch size' if b is None else 'the learning rate'} is not known: "
            f"give {'--batch-size' if b is None else '--lr'}"
        )
    if max(times) * b > problem.size:
        raise InputError(
            f"--verify also trains at {max(times)} times the batch size, and {max(times) * b:,} "
            f"exceeds the training set of {problem.size:,}: "
            f"give --batch-size {problem.size // max(times)} or less"
        )
    return b, rate


def verify(
    problem: Problem,
    setting: Setting,
    evaluated: tuple[torch.Tensor, torch.Tensor],
    *,
    times: Sequence[int] = TIMES,
    updates: int = UPDATES,
    seeds: int = SEEDS,
    silent: bool = False,
) -> Verified:
    """Trains copies of the model for a short while, and compares their losses.

    Batches are slices of permutations of the training set. Batch norm keeps its running statistics
    and nothing is dropped, as in what is measured. Runs of a seed see the same examples in the
    same order, whatever their batch size.

    Args:
        problem: its model is where each run starts.
        setting: with a batch size and a learning rate.
        evaluated: the examples whose mean loss is compared.
        updates: at the batch size asked about, a multiple of the largest of `times`.
        silent: without a progress bar.

    Raises:
        InputError: as `check`; for a setting that diverges by itself.
    """
    b, rate = check(problem, setting, times)
    ways = [(1, 1)] + [(k, kr) for k in times for kr in (k, 1)]
    total = seeds * sum(updates // k for k, _ in ways)
    start = _loss(problem.model, problem, evaluated)
    ends: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    with bar(silent=silent, total=total, desc="verifying", unit="update") as progress:
        for seed in range(seeds):
            order = _order(problem.size, updates * b, seed)
            for k, kr in ways:
                steps = updates // k
                ends[k, kr].append(
                    _end(problem, evaluated, order, k * b, kr * rate, setting, steps)
                )
                progress.update(steps)
    own = ends.pop((1, 1))
    if not np.isfinite(own).all():
        raise InputError(
            f"training at a batch size of {b} and a learning rate of {rate:g} diverges within "
            f"{updates} updates: nothing can be compared with it, give a lower --lr"
        )
    tried = []
    for (k, kr), losses in ends.items():
        ratio = paired(losses, own)
        tried.append(Tried(k, kr, ratio, word_of(ratio)))
    return Verified(start, float(np.mean(own)), updates * b, seeds, tuple(tried))


def _order(size: int, examples: int, seed: int) -> np.ndarray:
    """Indices of examples: permutations of the training set, joined."""
    rng = np.random.default_rng([seed, 0xD1A6])
    rounds = math.ceil(examples / size)
    return np.concatenate([rng.permutation(size) for _ in range(rounds)])[:examples]


def _end(
    problem: Problem,
    evaluated: tuple[torch.Tensor, torch.Tensor],
    order: np.ndarray,
    batch_size: int,
    rate: float,
    setting: Setting,
    steps: int,
) -> float:
    """Mean loss over looks in the second half of one run; infinite if it diverges."""
    model = copy.deepcopy(problem.model)
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=rate,
        momentum=setting.momentum,
        weight_decay=setting.weight_decay,
    )
    looks = set(np.linspace(steps / 2, steps, LOOKS).round().astype(int).tolist())
    losses = []
    for step in range(steps):
        x, y = problem.batch(order[step * batch_size : (step + 1) * batch_size].tolist())
        optimizer.zero_grad()
        problem.loss_fn(model(x), y).backward()
        optimizer.step()
        if step + 1 in looks:
            losses.append(_loss(model, problem, evaluated))
            if not math.isfinite(losses[-1]):
                return math.inf
    return float(np.mean(losses))


@torch.no_grad()
def _loss(
    model: nn.Module, problem: Problem, evaluated: tuple[torch.Tensor, torch.Tensor]
) -> float:
    """Mean loss over some examples."""
    x, y = evaluated
    pieces = zip(x.split(256), y.split(256), strict=True)
    return sum(float(problem.loss_fn(model(a), b)) * len(a) for a, b in pieces) / len(x)


def told(verified: Verified) -> list[str]:
    """What the runs say, in sentences, the finding first."""
    by = {(one.times, one.rate_times): one for one in verified.tried}
    held = [1]
    lines = []
    for k in sorted({one.times for one in verified.tried}):
        scaled, alone = by[k, k], by[k, 1]
        both = f"{_TIMES.get(k, f'{k} times')} the batch at {_TIMES.get(k, f'{k} times')} the rate"
        changes = f"log₂ of the loss changes by {scaled.ratio}"
        if scaled.word == "alike" and alone.word == "alike":
            lines.append(
                f"With {both} the loss stays within 10 %, and with the batch alone, too: so short "
                "a training cannot tell the regimes apart."
            )
        elif scaled.word == "alike":
            held.append(k)
            lines.append(
                f"With {both} the loss stays within 10 %: {changes}. With the batch alone it "
                f"changes by {alone.ratio}."
            )
        elif scaled.word == "undecided":
            lines.append(f"Whether {both} trains as well is undecided: {changes}.")
        elif math.isinf(scaled.ratio.value):
            lines.append(f"{both[:1].upper()}{both[1:]} diverges: curvature limits the rate.")
        else:
            lines.append(f"With {both} the loss is {scaled.word}: {changes}.")
    if held[-1] > 1:
        lines.insert(0, f"Tried: the linear scaling rule holds up to {held[-1]} times the batch.")
    elif any(one.word == "higher" for one in verified.tried if one.rate_times > 1):
        lines.insert(0, "Tried: the linear scaling rule does not hold from here on.")
    else:
        lines.insert(0, "Tried: nothing is shown of the linear scaling rule.")
    return lines


_TIMES = {2: "twice", 4: "four times"}
