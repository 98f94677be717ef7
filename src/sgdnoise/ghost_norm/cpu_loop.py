"""Gradient of batch norm over one ghost, written to its place in the gradient of the whole batch.

PyTorch's own kernel returns a new tensor, and copying it costs half as much as computing it. This
loop does that kernel's arithmetic in its order, from sums that PyTorch takes, so that it gives the
same bits where the channels fill its vectors. It runs on one thread, as a sweep's workers do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgdnoise.jit import compiled

_backward = torch.ops.aten.native_batch_norm_backward.default


@compiled("contract")  # PyTorch's kernel is compiled with fused multiply-add too.
def _input_gradient(x, dy, dx, mean, slope, mean_dy, inverse_std, weight):  # type: ignore[no-untyped-def]
    for row in range(x.shape[0]):
        for c in range(x.shape[1]):
            along = (x[row, c] - mean[c]) * slope[c]
            dx[row, c] = (dy[row, c] - mean_dy[c] - along) * inverse_std[c] * weight[c]


def differentiate(
    x: Tensor, dy: Tensor, dx: Tensor, weight: Tensor, mean: Tensor, inverse_std: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of batch norm over the rows of x, into dx; returns those of weight and bias.

    With y = weight (x - mean) inverse_std + bias and averages over rows,

        dx = weight inverse_std (dy - <dy> - (x - mean) inverse_std² <dy (x - mean)>).

    Args:
        x, dy, dx: (rows, channels), dense, float32 or float64, on the CPU.
        weight, mean, inverse_std: (channels,).
    """
    # With 1/std = 1 the gradient of the weight is the bare sum of dy (x - mean).
    _, along, sum_dy = _backward(
        dy, x, weight, None, None, mean, torch.ones_like(mean), True, 0.0, [False, True, True]
    )
    slope = along * inverse_std * inverse_std / x.shape[0]
    tensors = (x, dy, dx, mean, slope, sum_dy / x.shape[0], inverse_std, weight)
    _input_gradient(*(tensor.numpy() for tensor in tensors))
    return along * inverse_std, sum_dy
