"""Ghost batch norm: batch norm whose statistics come from small consecutive slices of a batch.

H17 algorithm 1, as corrected in this project's errata: a batch of B examples is cut into ghosts,
each ghost is normalised by its own mean and variance, and the running statistics take one
exponential-moving-average step a ghost, so a batch of G ghosts leaves

    run <- (1 - momentum)^G run + sum_{l=1..G} momentum (1 - momentum)^(G - l) stat_l,

with stat_l the mean, or the unbiased variance, of ghost l. (H17 prints other exponents, and
averages standard deviations.) A network trained this way sees the same noise in its statistics at
every batch size, and a batch may be split into micro-batches of whole ghosts without changing any
gradient.

Three routes compute the same thing. The plain one is `F.batch_norm` on each slice, then
`torch.cat`; it runs on every device and in every precision. The fast one, for float32 and float64
on CPU, writes each ghost's result into one output and, where it pays, treats all ghosts at once;
on one thread a loop compiled by numba differentiates a channels-last ghost (`cpu_loop`).
On a GPU, `gpu_kernels` has kernels that read a dense channels-last image, or a matrix, in
float32, bfloat16 or float16; where Triton does not run, on GPUs before Ampere, under
`torch.compile` and for second derivatives, the plain route takes over by itself. `forced_route`
chooses by hand.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sgdnoise.errors import InputError

if TYPE_CHECKING:
    from sgdnoise.ghost_norm.gpu_kernels import Running

RunningUpdate = Literal["sequential", "mean"]
Route = Literal["auto", "plain", "kernels"]

_route: Route = "auto"

# Below this many values a ghost, a call costs more than its arithmetic: all ghosts at once.
_SMALL_GHOST = 16_384

_native_backward = torch.ops.aten.native_batch_norm_backward.default


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


def _runs(sizes: list[int]) -> list[tuple[int, int]]:
    """(ghosts, ghost size) of each run of equal ghosts: one, or two where the last ghost is odd."""
    if sizes[-1] == sizes[0]:
        return [(len(sizes), sizes[0])]
    return [(len(sizes) - 1, sizes[0]), (1, sizes[-1])] if len(sizes) > 1 else [(1, sizes[0])]


def _memory_format(x: Tensor) -> torch.memory_format | None:
    """The format in which x is dense, or None."""
    formats = [torch.contiguous_format]
    if x.dim() == 4:
        formats.append(torch.channels_last)
    if x.dim() == 5:
        formats.append(torch.channels_last_3d)
    return next((f for f in formats if x.is_contiguous(memory_format=f)), None)


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
    loop = _loop() if torch.get_num_threads() == 1 and _rows_format(x) is not None else None
    if loop is not None:
        rows = (_ghost_view(t, 1)[0, :, :, 0] for t in (x, dy, dx))
        return loop.differentiate(*rows, weight, mean, inverse_std)
    grad, dw, db = _native_backward(
        dy, x, weight, None, None, mean, inverse_std, True, 0.0, [True, True, True]
    )
    dx.copy_(grad)
    return dw, db


class _GhostNorm(torch.autograd.Function):
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
            return (*_plain_gradients(ctx, dy, relu=False), None, None)
        x, weight, _, mean, inverse_std = ctx.saved_tensors
        memory_format = _memory_format(x)
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
        weight_grad, bias_grad = (_add_up(grads) for grads in (weight_grads, bias_grads))
        return dx, weight_grad, bias_grad, None, None


class _KernelGhostNorm(torch.autograd.Function):
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
        kernels = _kernels()
        assert kernels is not None  # see `_kernels_serve`
        out, stats = kernels.forward(x, weight, bias, eps, sizes, relu=relu, running=running)
        mean, _, variance = stats.unbind()
        ctx.save_for_backward(x, weight, bias, stats)
        ctx.eps, ctx.sizes, ctx.relu = eps, sizes, relu
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return (*_plain_gradients(ctx, dy, relu=ctx.relu), None, None, None, None)
        x, weight, bias, stats = ctx.saved_tensors
        kernels, form = _kernels(), _rows_format(x)
        assert kernels is not None
        assert form is not None
        gradients = kernels.backward(
            x, dy.contiguous(memory_format=form), weight, bias, stats, ctx.sizes,
            relu=ctx.relu, need_dx=ctx.needs_input_grad[0],
        )  # fmt: skip
        return (*gradients, None, None, None, None)


def _plain_gradients(ctx: Any, dy: Tensor, relu: bool) -> tuple[Tensor | None, ...]:
    """Gradients to be differentiated again: those of the plain route, which autograd knows."""
    needed = ctx.needs_input_grad[:3]
    x, weight, bias, *_ = ctx.saved_tensors
    inputs = [t for t, need in zip((x, weight, bias), needed, strict=True) if need]
    out = _plain(x, weight, bias, None, None, 0.0, ctx.eps, ctx.sizes)
    grads = iter(torch.autograd.grad(F.relu(out) if relu else out, inputs, dy, create_graph=True))
    return tuple(next(grads) if need else None for need in needed)


def _rows_format(x: Tensor) -> torch.memory_format | None:
    """The format in which x is dense with its channels last: one matrix. None if it is not."""
    formats = {
        2: torch.contiguous_format,
        4: torch.channels_last,
        5: torch.channels_last_3d,
    }
    form = formats.get(x.dim())
    return form if form is not None and x.is_contiguous(memory_format=form) else None


@lru_cache(maxsize=1)
def _kernels() -> ModuleType | None:
    """The Triton kernels, None without Triton; imported when first needed, for that takes long."""
    try:
        from sgdnoise.ghost_norm import gpu_kernels
    except ImportError:
        return None
    return gpu_kernels


@lru_cache(maxsize=1)
def _loop() -> ModuleType | None:
    """The compiled loop of one CPU thread, None without numba."""
    try:
        from sgdnoise.ghost_norm import cpu_loop
    except ImportError:
        return None
    return cpu_loop


@lru_cache(maxsize=64)
def _kernels_run_on(device: torch.device) -> bool:
    """Whether a first, tiny call of the kernels works on a GPU: Triton needs a C compiler too."""
    kernels = _kernels()
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


def _kernels_serve(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
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
        and _rows_format(x) is not None
        and (_kernels_run_on(x.device) if x.is_cuda else _kernels() is not None)
    )


def _add_up(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total += tensor
    return total


def _small(x: Tensor, ghosts: int) -> bool:
    return ghosts > 4 and x.numel() // ghosts < _SMALL_GHOST


def _plain(
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


def ghost_batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, sizes: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise consecutive slices of x (batch, channels, ...) of the given sizes.

    Returns the output and, both (ghosts, channels) and detached, the means and the *unbiased*
    variances that running statistics are made of. H17 algorithm 1. `GhostBatchNorm` is the layer.

    Raises:
        ValueError: sizes do not add up to the batch, or a ghost has one value per channel.
    """
    _check_ghosts(x, sizes)
    if _kernels_serve(x, weight, bias):
        return _KernelGhostNorm.apply(x, weight, bias, eps, sizes, False, None)
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
        if _memory_format(x) is None:
            x = x.contiguous()
        return _GhostNorm.apply(x, weight, bias, eps, sizes)
    # Statistics in float32 at least, whatever the precision of x; momentum 1 stores a ghost's own.
    dtype = torch.promote_types(x.dtype, torch.float32)
    mean, variance = (x.new_zeros((len(sizes), x.shape[1]), dtype=dtype) for _ in range(2))
    weight, bias = (None if t is None else t.to(dtype) for t in (weight, bias))
    out = _plain(x, weight, bias, mean, variance, 1.0, eps, sizes)
    return out, mean, variance


def _check_ghosts(x: Tensor, sizes: list[int]) -> None:
    if x.dim() < 2 or sum(sizes) != x.shape[0]:
        raise ValueError(
            f"ghosts of sizes {sizes} do not make up an input of shape {tuple(x.shape)}"
        )
    if min(sizes) * math.prod(x.shape[2:]) < 2:
        raise ValueError(
            f"batch norm over one value per channel: input {tuple(x.shape)} with ghosts of sizes "
            f"{sizes}; use a larger (ghost) batch size, or eval mode"
        )


class GhostBatchNorm(_BatchNorm):
    """Batch norm over ghosts of at most `ghost_batch_size` examples; inputs (batch, channels, ...).

    Parameters, buffers, state_dict and evaluation mode are those of `nn.BatchNorm*d`; only the
    statistics of training differ. With ghosts as large as the batch it *is* batch norm. It is not
    synchronised over devices, and it knows nothing of micro-batches: feed it whole ghosts.

    Args:
        num_features: channels C.
        ghost_batch_size: examples a ghost (H17: 128, S20: 64); `ghost_sizes` says what becomes of a
            remainder.
        momentum: weight of the newest ghost in the running statistics; None for a cumulative
            average in which every ghost counts once.
        running_update: "sequential", one moving-average step a ghost (H17's code); or "mean", one
            step a batch with the mean over its ghosts.

    Raises:
        InputError: ghost_batch_size < 2.
        ValueError: in training, a ghost with a single value per channel.

    H17 algorithm 1 with the weights (1 - momentum)^(G - l) of the module docstring.
    """

    def __init__(
        self,
        num_features: int,
        ghost_batch_size: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        running_update: RunningUpdate = "sequential",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype
        )
        self.ghost_batch_size = _checked_ghost_size(ghost_batch_size)
        self.running_update = _checked_update(running_update)

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        if not self._uses_ghosts():
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        if _kernels_serve(x, self.weight, self.bias):
            return self._by_kernels(x, relu=False)
        sizes = ghost_sizes(x.shape[0], self.ghost_batch_size)
        out, mean, variance = ghost_batch_norm(x, self.weight, self.bias, self.eps, sizes)
        if self.running_mean is not None:
            self._update_running(mean, variance)
        return out

    def _uses_ghosts(self) -> bool:
        # Without running statistics evaluation uses the ghosts' own, as torch's batch norm does.
        return self.training or self.running_mean is None

    def _by_kernels(self, x: Tensor, relu: bool) -> Tensor:
        self._check_input_dim(x)
        sizes = ghost_sizes(x.shape[0], self.ghost_batch_size)
        _check_ghosts(x, sizes)
        running = self._running_step(len(sizes))
        out, mean, variance = _KernelGhostNorm.apply(
            x, self.weight, self.bias, self.eps, sizes, relu, running
        )
        if self.running_mean is not None and running is None:
            self._update_running(mean, variance)
        return out

    def _running_step(self, ghosts: int) -> Running | None:
        """What the kernels are to do to the running statistics; None where they cannot."""
        if (
            self.momentum is None
            or self.running_mean is None
            or self.running_var is None
            or self.num_batches_tracked is None
            or not self.running_mean.dtype == self.running_var.dtype == torch.float32
        ):
            return None
        kernels = _kernels()
        assert kernels is not None
        decay = 1.0 - self.momentum
        if self.running_update == "mean":
            steps, newest, log2_decay = 1, self.momentum / ghosts, 0.0
        else:
            # 2^-10000 is the zero of a momentum of 1, without the NaN of 0 × log2(0).
            steps, newest = ghosts, float(self.momentum)
            log2_decay = math.log2(decay) if decay > 0 else -1e4
        return kernels.Running(
            self.running_mean, self.running_var, self.num_batches_tracked,
            steps, decay**steps, newest, log2_decay,
        )  # fmt: skip

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        if self.running_update == "mean":
            mean, variance = mean.mean(0, keepdim=True), variance.mean(0, keepdim=True)
        steps = mean.shape[0]
        pairs = ((self.running_mean, mean), (self.running_var, variance))
        # Autocast would multiply in half precision.
        with _without_autocast(mean.device.type):
            if self.momentum is None:
                # float32 holds no count above 2²⁴ and no 1 − 1/n near it: the count is divided in
                # float64, and differences are added, which leaves a settled average where it is.
                weight = 1 / (self.num_batches_tracked.double() + steps)
                for running, stat in pairs:
                    running.add_((stat - running).sum(0) * weight.to(mean.dtype))
            else:
                # A tensor first made while a CUDA graph is captured must not outlive it.
                on_cpu = mean.device.type == "cpu"
                make = _ema_weights if on_cpu else _ema_weights.__wrapped__
                weights = make(steps, self.momentum, mean.dtype, mean.device)
                kept = (1 - self.momentum) ** steps
                for running, stat in pairs:
                    running.mul_(kept).add_(weights @ stat)
        self.num_batches_tracked.add_(steps)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"expected input (batch, {self.num_features}, ...), got {tuple(input.shape)}"
            )

    def extra_repr(self) -> str:
        return (
            f"{super().extra_repr()}, ghost_batch_size={self.ghost_batch_size}, "
            f"running_update={self.running_update}"
        )


def norm_relu(norm: nn.Module, x: Tensor) -> Tensor:
    """ReLU(norm(x)), in one pass where `norm` is ghost batch norm and the Triton kernels serve.

    For any module `norm`. One that somebody watches, by a hook or with a `forward` of his own, is
    called as it is, so that they see what it gives.
    """
    return norm._by_kernels(x, relu=True) if _fuses(norm, x) else F.relu(norm(x))


class NormReLUSequential(nn.Sequential):
    """`nn.Sequential` in which a norm and the `nn.ReLU` after it are one where `norm_relu` fuses.

    Elsewhere, and for a ReLU with hooks, each layer is called in turn.
    """

    def forward(self, x: Tensor) -> Tensor:
        fused = False
        for layer, after in pairwise([*self, None]):
            if fused:
                fused = False
                continue
            fused = type(after) is nn.ReLU and _fuses(layer, x) and not _watched(after)
            x = norm_relu(layer, x) if fused else layer(x)
        return x


def _fuses(norm: nn.Module, x: Tensor) -> TypeGuard[GhostBatchNorm]:
    return (
        type(norm) is GhostBatchNorm
        and _kernels_serve(x, norm.weight, norm.bias)
        and norm._uses_ghosts()
        and not _watched(norm)
    )


def _watched(module: nn.Module) -> bool:
    everywhere = nn.modules.module
    return "forward" in vars(module) or any(
        (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
            everywhere._global_forward_hooks,
            everywhere._global_forward_pre_hooks,
            everywhere._global_backward_hooks,
            everywhere._global_backward_pre_hooks,
        )
    )


def to_ghost_batch_norm(
    model: nn.Module, ghost_batch_size: int, *, running_update: RunningUpdate = "sequential"
) -> nn.Module:
    """Turn every `nn.BatchNorm1d/2d/3d` of a model into ghost batch norm, in place; returns it.

    Parameters and buffers stay the same tensors, so optimizers built before go on working and a
    state_dict moves both ways. Hooks stay. `nn.SyncBatchNorm`, instance norm and the user's own
    subclasses of batch norm are left as they are; ghost batch norm gets the new size. A module that
    *is* a batch norm is converted too, not only those inside one.

    Raises:
        InputError: ghost_batch_size < 2, or the model holds a lazy batch norm not yet initialised.
    """
    _checked_ghost_size(ghost_batch_size)
    _checked_update(running_update)
    lazy = (nn.LazyBatchNorm1d, nn.LazyBatchNorm2d, nn.LazyBatchNorm3d)
    for name, module in model.named_modules():
        if isinstance(module, lazy):
            raise InputError(
                f"{name or 'the model'} is a lazy batch norm without a size: run one batch first"
            )
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, GhostBatchNorm):
            # The class alone differs, so changing it keeps tensors, hooks and shared references.
            module.__class__ = GhostBatchNorm
            module.ghost_batch_size = ghost_batch_size
            module.running_update = running_update
    return model


@lru_cache(maxsize=256)
def _ema_weights(steps: int, momentum: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """momentum (1 - momentum)^(G - l) for l = 1..G; kept, for it costs as much as a small layer."""
    ages = torch.arange(steps - 1, -1, -1, dtype=dtype, device=device)
    return momentum * (1 - momentum) ** ages


def _without_autocast(device_type: str) -> AbstractContextManager[Any]:
    available = torch.amp.is_autocast_available(device_type)
    if available and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def _checked_ghost_size(size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or size < 2:
        raise InputError(
            f"ghost batch size {size!r}: it must be a whole number of at least 2, "
            "for one example has no variance"
        )
    return size


def _checked_update(update: str) -> RunningUpdate:
    if update not in ("sequential", "mean"):
        raise InputError(f"running_update {update!r}: it must be 'sequential' or 'mean'")
    return update  # type: ignore[return-value]
