"""The diagonal of the Hessian: exact, or from random-sign probes with its standard error."""

from __future__ import annotations

import torch
from torch import Tensor

from sgdnoise.curvature.mean_loss import MeanLoss

AT_ONCE = 16
"""Random probes that share a batch's graph, which costs as much as a product with one of them."""


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
    seen = 0
    for first in range(0, probes, AT_ONCE):
        count = min(AT_ONCE, probes - first)
        signs = torch.stack([rademacher(loss, generator) for _ in range(count)])
        for sample in signs * loss.hessian_products(signs):
            seen += 1
            # Welford's update: the sum of squares would cancel where the diagonal dominates.
            change = sample - mean
            mean += change / seen
            squares += change * (sample - mean)
    return mean, (squares / (probes * (probes - 1))).sqrt()


def rademacher(loss: MeanLoss, generator: torch.Generator) -> Tensor:
    """A vector of P random signs, drawn on the CPU so that every device sees the same."""
    signs = torch.randint(0, 2, (loss.size,), generator=generator)
    return (2 * signs - 1).to(loss.device, loss.dtype)
