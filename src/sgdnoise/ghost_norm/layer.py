"""Ghost batch norm: batch norm whose statistics come from small consecutive slices of a batch.

H17 algorithm 1, as corrected in this project's errata: a batch of B examples is cut into ghosts,
each ghost is normalised by its own mean and variance, and the running statistics take one
exponential-moving-average step a ghost, so a batch of G ghosts leaves

    run <- (1 - momentum)^G run + sum_{l=1..G} momentum (1 - momentum)^(G - l) stat_l,

with stat_l the mean, or the unbiased variance, of ghost l. (H17 prints other exponents, and
averages standard deviations.) A network trained this way sees the same noise in its statistics at
every batch size, and a batch may be split into micro-batches of whole ghosts without changing any
gradient.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sgdnoise.errors import InputError
from sgdnoise.ghost_norm.plain import check_ghosts, ghost_sizes
from sgdnoise.ghost_norm.routes import (
    KernelGhostNorm,
    ghost_batch_norm,
    kernels_serve,
    triton_kernels,
)

if TYPE_CHECKING:
    from sgdnoise.ghost_norm.gpu_kernels import Running

RunningUpdate = Literal["sequential", "mean"]


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
        if kernels_serve(x, self.weight, self.bias):
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
        check_ghosts(x, sizes)
        running = self._running_step(len(sizes))
        out, mean, variance = KernelGhostNorm.apply(
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
        kernels = triton_kernels()
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
        and kernels_serve(x, norm.weight, norm.bias)
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
    subclasses of batch norm are left as they are; ghost batch norm gets the new size, and so does
    `GhostNoiseNorm`, which becomes ghost batch norm. A module that *is* a batch norm is converted
    too, not only those inside one. A model that is refused is not changed.

    Raises:
        InputError: ghost_batch_size < 2, what is no module, or a model that holds a lazy batch norm
            not yet initialised.
    """
    from sgdnoise.ghost_norm.noise import GhostNoiseNorm  # which is made of this module's norm

    _checked_ghost_size(ghost_batch_size)
    _checked_update(running_update)
    if not isinstance(model, nn.Module):
        raise InputError(f"a model must be an nn.Module, got one of type {type(model).__name__}")
    lazy = (nn.LazyBatchNorm1d, nn.LazyBatchNorm2d, nn.LazyBatchNorm3d)
    for name, module in model.named_modules():
        if isinstance(module, lazy):
            raise InputError(
                f"{name or 'the model'} is a lazy batch norm without a size: run one batch first"
            )
    plain = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for module in model.modules():
        if type(module) in (*plain, GhostBatchNorm, GhostNoiseNorm):
            # The class alone differs, so changing it keeps tensors, hooks and shared references.
            module.__class__ = GhostBatchNorm
            assert isinstance(module, GhostBatchNorm)  # the checker is not told by the line above
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
