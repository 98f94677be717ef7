"""A worked example: the book's net on digits, diagnosed along a training, and tried.

sgdnoise diagnose sgdnoise.diagnose.example:digits --verify
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from sgdnoise.data import load
from sgdnoise.diagnose.diagnosis import Diagnosis, diagnose
from sgdnoise.diagnose.problem import Problem, problem_of
from sgdnoise.models import build

BATCH_SIZE, RATE = 16, 0.25
"""Of the training that `digits` is a moment of: below the rate that the book's runs find best."""

WEIGHT_DECAY = 5e-4

ASKED_AFTER = 2
"""Epochs after which `digits` is handed out."""


@dataclass(frozen=True)
class Moment:
    """A net at one moment of its training.

    Attributes:
        epoch: since the start; parts of one, too.
        net: its weights then.
    """

    epoch: float
    net: nn.Module


def digits() -> tuple[nn.Module, nn.Module, torch.utils.data.DataLoader, torch.optim.SGD]:
    """The book's net after two epochs on digits, as `sgdnoise diagnose` takes it.

    A function of your own has this form: load the weights that you have, and return them with the
    mean loss, the training data and, if you like, the optimizer.
    """
    (moment,) = training((ASKED_AFTER,))
    data = torch.utils.data.TensorDataset(*_arrays())
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH_SIZE, shuffle=True)
    optimizer = torch.optim.SGD(moment.net.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    return moment.net, nn.CrossEntropyLoss(), loader, optimizer


def problem(net: nn.Module) -> Problem:
    """A net on the digits' training set, with the loss it is trained on."""
    return problem_of((net, nn.CrossEntropyLoss(), _arrays()))


@cache
def _arrays() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load("digits").train_arrays()
    return torch.as_tensor(x).flatten(1).float(), torch.as_tensor(y).long()


def training(
    epochs: Sequence[float], batch_size: int = BATCH_SIZE, rate: float = RATE, seed: int = 0
) -> list[Moment]:
    """A training at a constant rate, at some moments of it.

    Args:
        epochs: the moments, in rising order.
        batch_size: B.
        rate: ε of plain SGD.
        seed: of the weights and of the order of the examples.
    """
    with _one_thread():
        return _trained(epochs, batch_size, rate, seed)


@contextmanager
def _one_thread() -> Iterator[None]:
    """For a net so small that threads wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trained(epochs: Sequence[float], batch_size: int, rate: float, seed: int) -> list[Moment]:
    x, y = _arrays()
    net = build("digits-mlp", seed=seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    generator = torch.Generator().manual_seed(seed)
    loss_fn = nn.CrossEntropyLoss()
    moments, seen, order = [], 0, torch.empty(0, dtype=torch.long)
    for epoch in epochs:
        while seen + batch_size <= epoch * len(y):
            if len(order) < batch_size:
                order = torch.cat([order, torch.randperm(len(y), generator=generator)])
            batch, order = order[:batch_size], order[batch_size:]
            optimizer.zero_grad()
            loss_fn(net(x[batch]), y[batch]).backward()
            optimizer.step()
            seen += batch_size
        moments.append(Moment(epoch, copy.deepcopy(net)))
    return moments


MOMENTS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
"""In epochs: the rate of the book's runs is constant for twenty of forty."""

SEEDS = 3
"""Trainings that are diagnosed along their way."""


@cache
def along(seed: int = 0) -> tuple[tuple[float, Diagnosis], ...]:
    """One training, diagnosed at some moments: epochs and diagnoses."""
    return tuple((m.epoch, _diagnosed(m, BATCH_SIZE, RATE)) for m in training(MOMENTS, seed=seed))


@cache
def tried(
    settings: tuple[tuple[int, float], ...], epoch: float = ASKED_AFTER
) -> tuple[Diagnosis, ...]:
    """Diagnoses with what trying showed, of one moment at some batch sizes and rates."""
    (moment,) = training((epoch,))
    return tuple(_diagnosed(moment, b, rate, verified=True) for b, rate in settings)


def _diagnosed(
    moment: Moment, batch_size: int, rate: float, *, verified: bool = False
) -> Diagnosis:
    with _one_thread():
        return diagnose(
            problem(moment.net),
            batch_size=batch_size,
            learning_rate=rate,
            verified=verified,
            silent=True,
        )
