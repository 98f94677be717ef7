"""The fast route on CPU, in float32 and float64.

It writes each ghost's result into one output and, where it pays, treats all ghosts at once; on one
thread a loop compiled by numba differentiates a channels-last ghost (`cpu_loop`).
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from sgdnoise.ghost_norm.plain import plain_gradients, rows_format

# Below this many values a ghost, a call costs more than its arithmetic: all ghosts at once.
_SMALL_GHOST = 16_384

_native_backward = torch.ops.aten.native_batch_norm_backward.default


def dense_format(x: Tensor) -> torch.memory_format | None:
    """The format in which x is dense, or None."""
    formats = [torch.contiguous_format]
    if x.dim() == 4:
        formats.append(torch.channels_last)
    if x.dim() == 5:
        formats.append(torch.channels_last_3d)
    return next((f for f in formats if x.is_contiguous(memory_format=f)), None)


class CpuGhostNorm(torch.autograd.Function):
    """The fast route on CPU. Returns output, means and unbiased variances (ghosts, channels)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, sizes: list[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        out = torch.empty_like(x)
        # One row a ghost: mean, 1/std, unbiased variance, and a mean that nobody reads
        stats = x.new_ones(len(sizes), 4, x.shape[1])
        mean, inverse_std, variance, _ = stats.unbind(1)
        start = ghost = 0
        for ghosts, size in _runs(sizes):
            stop, rows = start + ghosts * size, slice(ghost, ghost + ghosts)
            xs, os = x[start:stop], out[start:stop]
            # In NCHW the native kernel sums in scalar code: slower than whole-tensor passes.
            if _small(xs, ghosts) or (xs.is_contiguous() and xs.dim() > 2):
                parts = _normalise_together(xs, os, ghosts, weight, bias, eps)
                torch.stack(parts, 1, out=stats[rows, :3])
            else:
                slices = zip(xs.split(size), os.split(size), stats[rows].unbind(), strict=True)
                for s, o, row in slices:
                    m, i, v, unread = row.unbind()
                    # momentum 1 leaves exactly this ghost's unbiased variance in the running one
                    torch.native_batch_norm(
                        s, weight, bias, unread, v, True, 1.0, eps, out=(o, m, i)
                    )
            start, ghost = stop, ghost + ghosts
        ctx.save_for_backward(x, weight, bias, mean, inverse_std)
        ctx.eps, ctx.sizes = eps, sizes
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return (*plain_gradients(ctx, dy, relu=False), None, None)
        x, weight, _, mean, inverse_std = ctx.saved_tensors
        memory_format = dense_format(x)
        assert memory_format is not None  # forward made x dense
        dy = dy.contiguous(memory_format=memory_format)
        dx = torch.empty_like(x)
        weight_grads, bias_grads = [], []
        start = ghost = 0
        for ghosts, size in _runs(ctx.sizes):
            stop, rows = start + ghosts * size, slice(ghost, ghost + ghosts)
            xs, ds, os = x[start:stop], dy[start:stop], dx[start:stop]
            means, inverse_stds = mean[rows], inverse_std[rows]
            if _small(xs, ghosts):
                dw, db = _differentiate_together(xs, ds, os, weight, means, inverse_stds)
                weight_grads.append(dw)
                bias_grads.append(db)
            else:
                images = (xs.split(size), ds.split(size), os.split(size))
                slices = zip(*images, means.unbind(), inverse_stds.unbind(), strict=True)
                for s, d, o, m, i in slices:
                    dw, db = _differentiate_one(s, d, o, weight, m, i)
                    weight_grads.append(dw)
                    bias_grads.append(db)
            start, ghost = stop, ghost + ghosts
        weight_grad, bias_grad = (sum(g[1:], g[0]) for g in (weight_grads, bias_grads))
        return dx, weight_grad, bias_grad, None, None


def _normalise_together(
    x: Tensor, out: Tensor, ghosts: int, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """All ghosts of x at once, into out.

    Returns mean, 1/std and unbiased variance, each (ghosts, channels).
    """
    v, o = _ghost_view(x, ghosts), _ghost_view(out, ghosts)
    count = v.shape[1] * v.shape[3]
    mean = _sum(v) / count
    torch.sub(v, mean, out=o)
    # Centred before it is squared, so a large mean costs no digits.
    if v.shape[3] > 1:
        square = torch.linalg.vector_norm(o, dim=3, keepdim=True).square_().sum(1, keepdim=True)
    else:
        square = (o * o).sum(1, keepdim=True)
    inverse_std = (square / count + eps).rsqrt_()
    o.mul_(inverse_std * weight.view(-1, 1)).add_(bias.view(-1, 1))
    shape = (ghosts, x.shape[1])
    return mean.view(shape), inverse_std.view(shape), (square / (count - 1)).view(shape)


def _differentiate_together(
    x: Tensor, dy: Tensor, dx: Tensor, weight: Tensor, mean: Tensor, inverse_std: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of `_normalise_together` into dx; returns the gradients of weight and bias."""
    ghosts, channels = mean.shape
    v, d, o = (_ghost_view(t, ghosts) for t in (x, dy, dx))
    count = v.shape[1] * v.shape[3]
    mean, inverse_std = (t.view(ghosts, 1, channels, 1) for t in (mean, inverse_std))
    scale = inverse_std * weight.view(-1, 1)
    torch.sub(v, mean, out=o)
    sum_dy, sum_dy_centred = _sum(d), _sum(o * d)
    slope = sum_dy_centred * inverse_std.square() * scale / -count
    o.mul_(slope).sub_(sum_dy * scale / count).addcmul_(d, scale)
    weight_grad = (sum_dy_centred * inverse_std).sum(0).view(channels)
    return weight_grad, sum_dy.sum(0).view(channels)


def _differentiate_one(
    x: Tensor, dy: Tensor, dx: Tensor, weight: Tensor, mean: Tensor, inverse_std: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of batch norm on one ghost into dx; returns the gradients of weight and bias."""
    loop = _loop() if torch.get_num_threads() == 1 and rows_format(x) is not None else None
    if loop is not None:
        rows = (_ghost_view(t, 1)[0, :, :, 0] for t in (x, dy, dx))
        return loop.differentiate(*rows, weight, mean, inverse_std)
    grad, dw, db = _native_backward(
        dy, x, weight, None, None, mean, inverse_std, True, 0.0, [True, True, True]
    )
    dx.copy_(grad)
    return dw, db


@lru_cache(maxsize=1)
def _loop() -> ModuleType | None:
    """The compiled loop of one CPU thread, None without numba."""
    try:
        from sgdnoise.ghost_norm import cpu_loop
    except ImportError:
        return None
    return cpu_loop


def _runs(sizes: list[int]) -> list[tuple[int, int]]:
    """(ghosts, ghost size) of each run of equal ghosts: one, or two where the last ghost is odd."""
    if sizes[-1] == sizes[0]:
        return [(len(sizes), sizes[0])]
    return [(len(sizes) - 1, sizes[0]), (1, sizes[-1])] if len(sizes) > 1 else [(1, sizes[0])]


def _ghost_view(x: Tensor, ghosts: int) -> Tensor:
    """A view (ghosts, rows, channels, columns) of x whose statistics run over rows and columns.

    Channels-last and 2-D input have columns = 1: the free view (ghosts, ghost size x H x W, C).
    """
    channels = x.shape[1]
    if x.is_contiguous():
        return x.view(ghosts, x.shape[0] // ghosts, channels, -1)
    return x.movedim(1, -1).view(ghosts, -1, channels, 1)


def _sum(v: Tensor) -> Tensor:
    # Two reductions over one axis each are several times faster on CPU than one over both.
    if v.shape[3] > 1:
        v = v.sum(3, keepdim=True)
    return v.sum(1, keepdim=True)


def _small(x: Tensor, ghosts: int) -> bool:
    return ghosts > 4 and x.numel() // ghosts < _SMALL_GHOST
