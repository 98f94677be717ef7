"""Trace and diagonal of the Hessian from random-sign probes, with their standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sgdnoise.curvature.mean_loss import Data, LossFunction, MeanLoss
from sgdnoise.errors import InputError


@dataclass(frozen=True, eq=False)
class TraceEstimate:
    """Trace of the Hessian of the mean loss: unbiased, with the spread over the probes."""

    value: float
    standard_error: float
    samples: np.ndarray
    """(probes,), vᵀHv of each probe."""
    products: int
    examples: int
    parameters: int


def trace(
    model: nn.Module,
    loss_fn: LossFunction,
    data: Data,
    *,
    probes: int = 32,
    seed: int = 0,
    batch_size: int = 1024,
) -> TraceEstimate:
    """Trace of the Hessian by Hutchinson's estimator: the mean of vᵀHv over random signs v.

    The variance of one sample is 2·(‖H‖²_F − Σ H_ii²). The sum of all eigenvalues, of both signs:
    it says nothing about λmax.
    Cost: one product a probe.

    Raises:
        InputError: as `MeanLoss`; fewer than 2 probes, which have no standard error.
    """
    if probes < 2:
        raise InputError(f"a standard error needs at least 2 probes, got {probes}")
    loss = MeanLoss(model, loss_fn, data, batch_size=batch_size)
    generator = torch.Generator().manual_seed(seed)
    samples = np.empty(probes)
    for i in range(probes):
        probe = rademacher(loss, generator)
        samples[i] = torch.dot(probe.double(), loss.hessian_product(probe).double()).item()
    return TraceEstimate(
        value=float(samples.mean()),
        standard_error=float(samples.std(ddof=1)) / math.sqrt(probes),
        samples=samples,
        products=loss.products,
        examples=loss.examples,
        parameters=loss.size,
    )


def exact_diagonal(loss: MeanLoss, chunk: int = 256) -> Tensor:
    """Diagonal of the Hessian, shape (P,), by one product a parameter: for small nets only."""
    diagonal = torch.empty(loss.size, dtype=loss.dtype, device=loss.device)
    for first in range(0, loss.size, chunk):
        rows = torch.arange(first, min(first + chunk, loss.size), device=loss.device)
        unit = torch.zeros(len(rows), loss.size, dtype=loss.dtype, device=loss.device)
        unit[torch.arange(len(rows)), rows] = 1
        diagonal[rows] = loss.hessian_products(unit)[torch.arange(len(rows)), rows]
    return diagonal


def estimated_diagonal(
    loss: MeanLoss, probes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Diagonal of the Hessian and its standard error, each (P,): the mean of v ⊙ Hv.

    Unbiased; the variance of one sample at i is Σ_{j≠i} H_ij² (Bekas, Kokiopoulou & Saad 2007).
    """
    mean = torch.zeros(loss.size, dtype=loss.dtype, device=loss.device)
    squares = torch.zeros_like(mean)
    for i in range(probes):
        probe = rademacher(loss, generator)
        sample = probe * loss.hessian_product(probe)
        # Welford's update: the sum of squares itself would cancel where the diagonal dominates.
        change = sample - mean
        mean += change / (i + 1)
        squares += change * (sample - mean)
    return mean, (squares / (probes * (probes - 1))).sqrt()


def rademacher(loss: MeanLoss, generator: torch.Generator) -> Tensor:
    """A vector of P random signs, drawn on the CPU so that every device sees the same."""
    signs = torch.randint(0, 2, (loss.size,), generator=generator)
    return (2 * signs - 1).to(loss.device, loss.dtype)
