"""What the runs of a scale share: data, net, and S20's protocol (§4) unless told otherwise."""

from __future__ import annotations

import collections
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sgdnoise.config import RunConfig
from sgdnoise.study.grid import Axis, Sweep

SCALES = ("digits", "cpu", "gpu", "paper")
"""The sizes at which an experiment may stand, the smallest first."""

METHODS = {"sgd": 0.0, "momentum": 0.9}
"""S20's two update rules, with their momentum."""

NAMES = {
    "sgd": "SGD",
    "momentum": "SGD with momentum 0.9",
    "lars": "LARS",
    "percent-delta": "PercentDelta",
    "mclr": "MCLR",
    "nesterov": "Nesterov's momentum 0.9",
    "lamb": "LAMB",
    "mclr-signed": "MCLR to the letter",
}
"""What the methods are called."""

DIGITS = {
    "dataset": "digits",
    "model": "digits-mlp",
    "weight_decay": 5e-4,
    "sampling": "reshuffle",
    "schedule": "hold-then-decay",
}
"""Scale `digits`: MLP 64-64-10 without normalisation on 1,024 of scikit-learn's digits."""

CPU = {
    "dataset": "cifar10-16",
    "train_size": 5000,
    "model": "wrn-10-1",
    "norm": "ghost",
    "ghost_batch_size": 16,
    "weight_decay": 5e-4,
    "augment": "s20",
    "sampling": "reshuffle",
    "schedule": "hold-then-decay",
}
"""Scale `cpu`: WRN-10-1 on 5,000 images of CIFAR-10 pooled to 16 × 16. The ghost is 16, so that it
is one size at every batch size."""

CIFAR10 = {
    "dataset": "cifar10",
    "model": "wrn-16-4",
    "norm": "ghost",
    "ghost_batch_size": 64,
    "weight_decay": 5e-4,
    "augment": "s20",
    "sampling": "reshuffle",
    "schedule": "hold-then-decay",
    "precision": "bfloat16",
}
"""Scales `gpu` and `paper`: S20's WRN-16-4 on all of CIFAR-10, ghosts of 64; a smaller batch is one
ghost. Forward and backward pass are in bfloat16; weights, statistics and loss in float32."""


def sweep_of(
    base: dict[str, Any],
    key: dict[str, Any],
    fixed: dict[str, Any],
    axes: tuple[Axis, ...],
    **options: Any,
) -> Sweep:
    """A sweep at a scale: the scale's fields, but for those that this one fixes otherwise."""
    return Sweep(tuple(key.items()), tuple({**base, **fixed}.items()), axes, **options)


def rates(centre: int, reach: int, name: str = "effective_learning_rate") -> tuple[Axis, ...]:
    """One axis in factors of two: 2^centre and `reach` steps to either side."""
    return (Axis(name, centre - reach, centre + reach),)


S20_REMARKS = {
    "gpu": "S20 names no precision: here forward and backward pass are in bfloat16.",
    "paper": "What S20's text leaves open is chosen here: the extent of the learning-rate grid, "
    "padding with the mean, and bfloat16 in the forward and backward pass.",
}
"""What the grids of S20's experiments cannot tell of their protocol, by scale."""

S20_STATES = ("data", "net", "norm", "augmentation", "epochs", "updates", "batch sizes")
"""The facts of a protocol that S20's text states: all but how far its grids of rates reach."""

S20_BUDGETS = tuple(50 * 2**k for k in range(8))
"""Every budget up to 128 times the shortest, as S20 has them."""

_DATA = {
    "digits": "scikit-learn's digits",
    "cifar10": "CIFAR-10",
    "cifar10-16": "CIFAR-10 pooled to 16 × 16",
    "mnist": "MNIST",
    "cifar100": "CIFAR-100",
}
_MODELS = {
    "digits-mlp": "an MLP 64-64-10",
    "wrn-10-1": "WRN-10-1",
    "wrn-16-4": "WRN-16-4",
    "resnet18": "ResNet-18",
    "resnet44": "ResNet-44",
    "f1": "F1",
    "f1-64": "F1 with layers of 64",
    "c1": "C1",
    "c3": "C3",
    "h17-wrn-16-4": "H17's WRN-16-4",
    "alexnet-cifar": "AlexNet",
    "alexnet-cifar-512": "a small AlexNet",
}

_AT_LENGTH = {
    "digits-mlp": "one hidden layer of 64 units",
    "wrn-10-1": "a residual net of three blocks",
    "wrn-16-4": "a residual net of six blocks",
    "f1": "five hidden layers of 512 units",
    "f1-64": "five hidden layers",
    "c1": "two convolutions and two hidden layers",
    "alexnet-cifar-512": "five convolutions and two hidden layers of 512 units",
}
"""What is behind a net's name, where the name does not say it to every reader."""


def data_in_words(runs: Sequence[RunConfig]) -> str:
    """The data sets that runs train on."""
    return _list(runs, "dataset", _DATA)


def net_name(model: str) -> str:
    """A net's name to a reader."""
    return _MODELS.get(model, model)


def net_in_words(runs: Sequence[RunConfig]) -> str:
    """The nets that runs train, each name with what is behind it."""
    said = {
        name: f"{words} ({_AT_LENGTH[name]})" if name in _AT_LENGTH else words
        for name, words in _MODELS.items()
    }
    return _list(runs, "model", said)


def differences(
    mine: Sequence[RunConfig],
    theirs: Sequence[RunConfig],
    seeds: tuple[int, int | None],
    stated: Collection[str] | None = None,
) -> str:
    """What one set of runs has otherwise than another, in words; empty for nothing.

    Args:
        mine, theirs: the runs of one seed of each.
        seeds: runs a grid point of each; None where theirs is not known.
        stated: the names of the facts that theirs states, of `FACTS`; None for all. The others
            are said of mine alone.
    """
    said = []
    for name, (form, fact) in FACTS.items():
        ours = fact(mine)
        paper = fact(theirs) if stated is None or name in stated else ""
        if ours and ours != paper:
            said.append(form.format(ours) + (f" in place of {paper}" if paper else ""))
    if seeds[1] is not None and seeds[0] != seeds[1]:
        said.append(f"{seeds[0]} seeds in place of {seeds[1]}")
    text = "; ".join(said)
    return text[:1].upper() + text[1:]


def _list(runs: Iterable[RunConfig], name: str, words: Mapping[str, str]) -> str:
    found = dict.fromkeys(getattr(run, name) for run in runs)
    return " and ".join(words.get(value, str(value)) for value in found)


def _data(runs: Sequence[RunConfig]) -> str:
    sizes: dict[str, set[int | None]] = {}
    for run in runs:
        sizes.setdefault(run.dataset, set()).add(run.train_size)
    said = []
    for name, some in sizes.items():
        data = _DATA.get(name, name)
        parts = f"{_span(some, ' images', 'sizes')} of {data}"
        said.append(data if some == {None} else f"all and {parts}" if None in some else parts)
    return " and ".join(said)


def _norms(runs: Sequence[RunConfig]) -> str:
    said = {
        None: "no norm",
        "none": "no norm",
        "batch": "batch norm",
        "ghost": "ghost batch norm over {} images",
        "ghost-noise": "batch norm with the noise of ghosts of {} images",
    }
    return " and ".join(sorted({said[run.norm].format(run.ghost_batch_size) for run in runs}))


def _rates_a_point(runs: Sequence[RunConfig]) -> str:
    """How many rates stand at each curve point, which is what all but rates shares."""
    rates = ("learning_rate", "trust_coefficient", "decay_factor")
    counts = collections.Counter(run.model_copy(update=dict.fromkeys(rates)) for run in runs)
    many = "s" if max(counts.values(), default=0) > 1 else ""
    return f"{_span(counts.values(), two=' or ')} learning rate{many} a curve point"


def _span(
    values: Iterable[float | None], unit: str = "", counted: str = "values", two: str = " and "
) -> str:
    """A few values as words: the one, the two, or from which to which and how many.

    Args:
        values: None among them does not count.
        unit: behind the numbers, with a space before it.
        counted: what there are so many of.
        two: what stands between two.
    """
    found = sorted({value for value in values if value is not None})
    if not found:
        return ""
    if len(found) <= 2:
        return two.join(f"{value:,g}" for value in found) + unit
    return f"{found[0]:,g} to {found[-1]:,g}{unit} ({len(found)} {counted})"


FACTS: dict[str, tuple[str, Callable[[Sequence[RunConfig]], str]]] = {
    "data": ("{}", _data),
    "net": ("{}", lambda runs: _list(runs, "model", _MODELS)),
    "norm": ("{}", _norms),
    "augmentation": (
        "{}",
        lambda runs: "" if any(run.augment != "none" for run in runs) else "no augmentation",
    ),
    "epochs": ("{}", lambda runs: _span((r.epochs for r in runs), " epochs", "budgets")),
    "updates": ("{}", lambda runs: _span((r.steps for r in runs), " updates", "budgets")),
    "batch sizes": (
        "batches of {}",
        lambda runs: _span((r.batch_size for r in runs), counted="sizes"),
    ),
    "rates": ("{}", _rates_a_point),
}
"""What a protocol consists of, as far as `differences` compares it: how it is said, and found."""
