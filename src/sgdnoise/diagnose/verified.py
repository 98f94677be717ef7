"""Trying the linear scaling rule on a user's own model: batch and rate together, and batch alone.

Where noise dominates, a batch and a learning rate that grow together train as before (S20 §2): the
same loss after the same examples. The batch alone does not, for it makes fewer steps of the same
length. Each comparison is of pairs of runs from the same weights, over the same examples.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sgdnoise.analysis.intervals import Interval, quantile
from sgdnoise.curvature import MeanLoss
from sgdnoise.curvature.mean_loss import is_batch_norm
from sgdnoise.diagnose.problem import Problem, Setting
from sgdnoise.errors import InputError
from sgdnoise.progress import bar

TIMES = (2, 4)
"""By what batches grow."""

UPDATES = 128
"""Of a run at the batch size asked about; larger batches make fewer, over the same examples. With
more momentum than `USUAL` there are as many more as it needs to forget what it began with."""

USUAL = 0.9

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
            Infinite if a run has diverged, NaN if a loss came to zero or below.
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
    """log₂ of losses over others, pair by pair, by Student's t.

    Infinite if one of the losses is not finite; NaN if one is not positive, for then there is no
    ratio.
    """
    mine, theirs = (np.asarray(v, dtype=np.float64) for v in (losses, others))
    if not np.isfinite(mine).all():
        return Interval(math.inf, math.inf, math.inf)
    if not ((mine > 0) & (theirs > 0)).all():
        return Interval(math.nan, math.nan, math.nan)
    each = np.log2(mine / theirs)
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
    evaluated: tuple[Tensor, Tensor],
    *,
    times: Sequence[int] = TIMES,
    updates: int | None = None,
    seeds: int = SEEDS,
    silent: bool = False,
) -> Verified:
    """Trains copies of the model for a short while, and compares their losses.

    Batches are slices of permutations of the training set. Batch norm keeps its running statistics
    and nothing is dropped, as in what is measured. Runs of a seed see the same examples in the
    same order, with the same random numbers to augment them, whatever their batch size. Momentum
    begins with what it would have after long at the present gradient, G/(1 − m), so that no run is
    behind for having fewer updates to fill it.

    Args:
        problem: its model is where each run starts.
        setting: with a batch size and a learning rate.
        evaluated: the examples whose mean loss is compared.
        updates: at the batch size asked about, a multiple of the largest of `times`; by the
            momentum unless given.
        seeds: pairs of runs.
        silent: without a progress bar.

    Raises:
        InputError: as `check`; for a loss that is not positive, or a setting that diverges by
            itself.
    """
    b, rate = check(problem, setting, times)
    updates = updates_for(setting.momentum) if updates is None else updates
    ways = [(1, 1)] + [(k, kr) for k in times for kr in (k, 1)]
    total = seeds * sum(updates // k for k, _ in ways)
    start = _loss(problem.model, problem, evaluated)
    if start <= 0:
        raise InputError(
            f"--verify compares losses by their ratio, and this one is {start:.3g}: give a loss "
            "that is positive"
        )
    velocity = _velocity(problem, setting, evaluated)
    ends: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    with bar(silent=silent, total=total, desc="verifying", unit="update") as progress:
        for seed in range(seeds):
            order = _order(problem.size, updates * b, seed)
            for k, kr in ways:
                steps = updates // k
                run = replace(setting, batch_size=k * b, learning_rate=kr * rate)
                with same_random_numbers(seed):
                    ends[k, kr].append(_end(problem, evaluated, order, run, velocity, steps))
                progress.update(steps)
    own = ends.pop((1, 1))
    if not np.isfinite(own).all():
        raise InputError(
            f"training at a batch size of {b} and a learning rate of {rate:g} diverges within "
            f"{updates} updates: nothing can be compared with it, give a lower --lr"
            f"{STATISTICS if has_batch_norm(problem.model) else ''}"
        )
    tried = []
    for (k, kr), losses in ends.items():
        ratio = paired(losses, own)
        tried.append(Tried(k, kr, ratio, word_of(ratio)))
    return Verified(start, float(np.mean(own)), updates * b, seeds, tuple(tried))


def updates_for(momentum: float) -> int:
    """Updates of a run: `UPDATES`, or as many more as 1/(1 − m) is longer than `USUAL` makes it."""
    return UPDATES * max(1, math.ceil((1 - USUAL) / (1 - momentum) - 1e-9))


STATISTICS = (
    ", or judge by your own training: here batch norm keeps its running statistics, and with those "
    "of the batch a net can bear other rates"
)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model has batch norm, of any kind."""
    return any(map(is_batch_norm, model.modules()))


def _velocity(problem: Problem, setting: Setting, evaluated: tuple[Tensor, Tensor]) -> list[Tensor]:
    """G/(1 − m) of each parameter, weight decay included: what momentum comes to at one place."""
    loss = MeanLoss(problem.model, problem.loss_fn, evaluated, batch_size=_AT_ONCE)
    parts = loss.split(loss.gradient()).values()
    decay = setting.weight_decay
    return [
        (g + decay * p.detach()) / (1 - setting.momentum)
        for g, p in zip(parts, loss.parameters, strict=True)
    ]


@contextmanager
def same_random_numbers(seed: int) -> Iterator[None]:
    """Whatever draws random numbers draws the same ones each time; puts the generators back."""
    # Augmentation may use NumPy's generator of old, which is global.
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])  # noqa: NPY002


def _order(size: int, examples: int, seed: int) -> np.ndarray:
    """Indices of examples: permutations of the training set, joined."""
    rng = np.random.default_rng([seed, 0xD1A6])
    rounds = math.ceil(examples / size)
    return np.concatenate([rng.permutation(size) for _ in range(rounds)])[:examples]


def _end(
    problem: Problem,
    evaluated: tuple[Tensor, Tensor],
    order: np.ndarray,
    run: Setting,
    velocity: Sequence[Tensor],
    steps: int,
) -> float:
    """Mean loss over looks in the second half of one run; infinite if it diverges."""
    size, rate = run.batch_size, run.learning_rate
    assert size is not None
    assert rate is not None
    model = copy.deepcopy(problem.model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        parameters, lr=rate, momentum=run.momentum, weight_decay=run.weight_decay
    )
    if run.momentum:
        for p, v in zip(parameters, velocity, strict=True):
            optimizer.state[p]["momentum_buffer"] = v.clone()
    looks = set(np.linspace(steps / 2, steps, LOOKS).round().astype(int).tolist())
    losses = []
    for step in range(steps):
        x, y = problem.batch(order[step * size : (step + 1) * size].tolist())
        optimizer.zero_grad()
        problem.loss_fn(model(x), y).backward()
        optimizer.step()
        if step + 1 in looks:
            losses.append(_loss(model, problem, evaluated))
            if not math.isfinite(losses[-1]):
                return math.inf
    return float(np.mean(losses))


@torch.no_grad()
def _loss(model: nn.Module, problem: Problem, evaluated: tuple[Tensor, Tensor]) -> float:
    """Mean loss over some examples."""
    x, y = evaluated
    pieces = zip(x.split(_AT_ONCE), y.split(_AT_ONCE), strict=True)
    return sum(float(problem.loss_fn(model(a), b)) * len(a) for a, b in pieces) / len(x)


_AT_ONCE = 256
"""Examples of a pass."""


def told(verified: Verified) -> list[str]:
    """What the runs say, in sentences, the finding first."""
    by = {(one.times, one.rate_times): one for one in verified.tried}
    growths = sorted({one.times for one in verified.tried})
    held = [k for k in growths if by[k, k].word == "alike" != by[k, 1].word]
    broken = [k for k in growths if by[k, k].word in ("higher", "lower")]
    finding = "nothing is shown of the linear scaling rule"
    if held and broken:
        finding = (
            f"the linear scaling rule holds at {_TIMES[held[-1]]} the batch, and not at "
            f"{_TIMES[broken[0]]}"
        )
    elif held:
        finding = f"the linear scaling rule holds up to {_TIMES[held[-1]]} the batch"
    elif broken:
        finding = f"the linear scaling rule does not hold at {_TIMES[broken[0]]} the batch"
    how = (
        f"From the present weights, {verified.seeds} pairs of runs over {verified.examples:,} "
        f"examples brought the loss from {verified.start:.3g} to {verified.end:.3g}."
    )
    return [f"Tried: {finding}. {how}", *(_of_growth(by[k, k], by[k, 1]) for k in growths)]


def _of_growth(scaled: Tried, alone: Tried) -> str:
    """What became of one growth of the batch, with the rate grown as much and without."""
    both = f"{_TIMES[scaled.times]} the batch at {_TIMES[scaled.times]} the rate"
    changes = f"log₂ of the loss changes by {scaled.ratio}"
    if math.isnan(scaled.ratio.value):
        return f"With {both} nothing can be compared: a loss came to zero or below."
    if math.isinf(scaled.ratio.value):
        return f"{both[:1].upper()}{both[1:]} diverges: curvature limits the rate."
    if scaled.word == "alike" == alone.word:
        return (
            f"With {both} the loss stays within 10 %, and with the batch alone, too: so short a "
            "training cannot tell the regimes apart."
        )
    if scaled.word == "alike":
        return (
            f"With {both} the loss stays within 10 %: {changes}. With the batch alone it changes "
            f"by {alone.ratio}."
        )
    if scaled.word == "undecided":
        return f"Whether {both} trains as well is undecided: {changes}."
    return f"With {both} the loss is {scaled.word}: {changes}."


_TIMES = {2: "twice", 4: "four times"}
