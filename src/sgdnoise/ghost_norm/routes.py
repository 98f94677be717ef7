"""Ghost batch norm as a function, and the choice among the three routes to it.

The plain one is `F.batch_norm` on each slice, then `torch.cat`; it runs on every device and in
every precision. The fast one for CPU is `cpu`. On a GPU, `gpu_kernels` has kernels that read a
dense channels-last image, or a matrix, in float32, bfloat16 or float16; where Triton does not run,
on GPUs before Ampere, under `torch.compile` and for second derivatives, the plain route takes over
by itself. `forced_route` chooses by hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from sgdnoise.ghost_norm.cpu import CpuGhostNorm, dense_format
from sgdnoise.ghost_norm.plain import check_ghosts, plain_gradients, plain_norm, rows_format

if TYPE_CHECKING:
    from sgdnoise.ghost_norm.gpu_kernels import Running

Route = Literal["auto", "plain", "kernels"]

_route: Route = "auto"


@contextmanager
def forced_route(route: Route) -> Iterator[None]:
    """Within it, all ghost batch norm of this process takes one route; for benchmarks and tests.

    "plain" is `F.batch_norm` on each slice; "kernels" takes the Triton kernels wherever layout and
    precision fit, on a CPU too, which works in Triton's interpreter; "auto" is the default.

    Raises:
        ValueError: another name.
    """
    global _route
    if route not in ("auto", "plain", "kernels"):
        raise ValueError(f"route {route!r}: it must be 'auto', 'plain' or 'kernels'")
    before, _route = _route, route
    try:
        yield
    finally:
        _route = before


def ghost_batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, sizes: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise consecutive slices of x (batch, channels, ...) of the given sizes.

    Returns the output and, both (ghosts, channels) and detached, the means and the *unbiased*
    variances that running statistics are made of. H17 algorithm 1. `GhostBatchNorm` is the layer.

    Raises:
        ValueError: sizes do not add up to the batch, or a ghost has one value per channel.
    """
    check_ghosts(x, sizes)
    if kernels_serve(x, weight, bias):
        return KernelGhostNorm.apply(x, weight, bias, eps, sizes, False, None)
    fast = (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and weight is not None
        and bias is not None
        and weight.dtype == bias.dtype == x.dtype
        and len(sizes) > 1
        and _route != "plain"
        and not torch.compiler.is_compiling()
    )
    if fast:
        if dense_format(x) is None:
            x = x.contiguous()
        return CpuGhostNorm.apply(x, weight, bias, eps, sizes)
    # Statistics in float32 at least, whatever the precision of x; momentum 1 stores a ghost's own.
    dtype = torch.promote_types(x.dtype, torch.float32)
    mean, variance = (x.new_zeros((len(sizes), x.shape[1]), dtype=dtype) for _ in range(2))
    weight, bias = (None if t is None else t.to(dtype) for t in (weight, bias))
    out = plain_norm(x, weight, bias, mean, variance, 1.0, eps, sizes)
    return out, mean, variance


class KernelGhostNorm(torch.autograd.Function):
    """The route of the Triton kernels, with ReLU if asked to; it may step running statistics too.

    Returns output, means and unbiased variances (ghosts, channels).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        sizes: list[int],
        relu: bool,
        running: Running | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        kernels = triton_kernels()
        assert kernels is not None  # see `kernels_serve`
        out, stats = kernels.forward(x, weight, bias, eps, sizes, relu=relu, running=running)
        mean, _, variance = stats.unbind()
        ctx.save_for_backward(x, weight, bias, stats)
        ctx.eps, ctx.sizes, ctx.relu = eps, sizes, relu
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return (*plain_gradients(ctx, dy, relu=ctx.relu), None, None, None, None)
        x, weight, bias, stats = ctx.saved_tensors
        kernels, form = triton_kernels(), rows_format(x)
        assert kernels is not None
        assert form is not None
        gradients = kernels.backward(
            x, dy.contiguous(memory_format=form), weight, bias, stats, ctx.sizes,
            relu=ctx.relu, need_dx=ctx.needs_input_grad[0],
        )  # fmt: skip
        return (*gradients, None, None, None, None)


def kernels_serve(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    if _route == "plain" or not (x.is_cuda or _route == "kernels"):
        return False
    if torch.compiler.is_compiling():
        return False
    return (
        weight is not None
        and bias is not None
        and weight.dtype == bias.dtype == torch.float32
        and weight.device == bias.device == x.device
        and x.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and rows_format(x) is not None
        and (_kernels_run_on(x.device) if x.is_cuda else triton_kernels() is not None)
    )


@lru_cache(maxsize=64)
def _kernels_run_on(device: torch.device) -> bool:
    """Whether a first, tiny call of the kernels works on a GPU: Triton needs a C compiler too."""
    kernels = triton_kernels()
    if kernels is None or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    try:
        one = torch.ones(1, device=device)
        kernels.forward(torch.ones(2, 1, device=device), one, one, 1.0, [2])
    except torch.cuda.OutOfMemoryError:
        raise  # says nothing about Triton
    except Exception as error:
        warnings.warn(
            f"ghost batch norm falls back to PyTorch, for Triton does not run here: {error!r}",
            stacklevel=2,
        )
        return False
    return True


@lru_cache(maxsize=1)
def triton_kernels() -> ModuleType | None:
    """The Triton kernels, None without Triton; imported when first needed, for that takes long."""
    try:
        from sgdnoise.ghost_norm import gpu_kernels
    except ImportError:
        return None
    return gpu_kernels
