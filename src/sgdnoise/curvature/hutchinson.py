"""The diagonal of the Hessian: exact, or from random-sign probes with its standard error."""

from __future__ import annotations

import torch
from torch import Tensor

from sgdnoise.curvature.mean_loss import MeanLoss


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
