"""What ghosts are, and batch norm on each of them by PyTorch alone: the plain route."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def ghost_sizes(batch_size: int, ghost_batch_size: int) -> list[int]:
    """Sizes of the consecutive ghosts of one batch.

    The ghost size is min(ghost_batch_size, batch_size). A remainder joins the last ghost when it is
    smaller than half a ghost, and is one more ghost otherwise.

    Raises:
        ValueError: batch_size < 1 or ghost_batch_size < 1.
    """
    if batch_size < 1 or ghost_batch_size < 1:
        raise ValueError(
            f"a batch of {batch_size} with ghosts of {ghost_batch_size}: both must be at least 1"
        )
    size = min(ghost_batch_size, batch_size)
    whole, rest = divmod(batch_size, size)
    sizes = [size] * whole
    if 2 * rest >= size:
        sizes.append(rest)
    else:
        sizes[-1] += rest
    return sizes


def check_ghosts(x: Tensor, sizes: list[int]) -> None:
    if x.dim() < 2 or sum(sizes) != x.shape[0]:
        raise ValueError(
            f"ghosts of sizes {sizes} do not make up an input of shape {tuple(x.shape)}"
        )
    if min(sizes) * math.prod(x.shape[2:]) < 2:
        raise ValueError(
            f"batch norm over one value per channel: input {tuple(x.shape)} with ghosts of sizes "
            f"{sizes}; use a larger (ghost) batch size, or eval mode"
        )


def rows_format(x: Tensor) -> torch.memory_format | None:
    """The format in which x is dense with its channels last: one matrix. None if it is not."""
    formats = {
        2: torch.contiguous_format,
        4: torch.channels_last,
        5: torch.channels_last_3d,
    }
    form = formats.get(x.dim())
    return form if form is not None and x.is_contiguous(memory_format=form) else None


def plain_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    means: Tensor | None,
    variances: Tensor | None,
    momentum: float,
    eps: float,
    sizes: list[int],
) -> Tensor:
    """Torch's own batch norm on each ghost; row k of means and variances is updated by ghost k."""
    pieces = []
    for k, ghost in enumerate(x.split(sizes)):
        mean = None if means is None else means[k]
        variance = None if variances is None else variances[k]
        pieces.append(F.batch_norm(ghost, mean, variance, weight, bias, True, momentum, eps))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def plain_gradients(ctx: Any, dy: Tensor, relu: bool) -> tuple[Tensor | None, ...]:
    """Gradients to be differentiated again: those of the plain route, which autograd knows."""
    needed = ctx.needs_input_grad[:3]
    x, weight, bias, *_ = ctx.saved_tensors
    inputs = [t for t, need in zip((x, weight, bias), needed, strict=True) if need]
    out = plain_norm(x, weight, bias, None, None, 0.0, ctx.eps, ctx.sizes)
    grads = iter(torch.autograd.grad(F.relu(out) if relu else out, inputs, dy, create_graph=True))
    return tuple(next(grads) if need else None for need in needed)
