"""The noise of ghosts without their statistics: what is left of ghost batch norm's help by itself.

Kosson, Fan and Jaggi 2023 (arXiv 2305.17205) hold that ghost batch norm helps by the noise in its
statistics, and inject that noise into a norm over the whole batch. Here it is drawn as they draw
it, from ghosts that an example is no part of.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sgdnoise.ghost_norm.layer import GhostBatchNorm, to_ghost_batch_norm
from sgdnoise.ghost_norm.plain import check_ghosts, ghost_sizes
from sgdnoise.ghost_norm.routes import ghost_batch_norm


class GhostNoiseNorm(GhostBatchNorm):
    """Batch norm over the whole batch, shifted and scaled as another ghost's statistics would.

    With z the batch normalised by its own mean and variance, and m and s² the mean and variance
    that z has over a ghost, an example of ghost l gives

        weight (z - m_{l+1}) / √(s²_{l+1} + eps) + bias,

    the ghosts in a ring. The noise has the size of ghost batch norm's own, but an example has no
    part in it, and no gradient flows through it. Running statistics are those of whole batches. A
    batch that is a single ghost has no noise. Arguments and errors are those of `GhostBatchNorm`.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self._uses_ghosts():
            return super().forward(x)
        self._check_input_dim(x)
        sizes = ghost_sizes(x.shape[0], self.ghost_batch_size)
        check_ghosts(x, sizes)
        z, mean, variance = ghost_batch_norm(x, None, None, self.eps, [x.shape[0]])
        if self.running_mean is not None:
            self._update_running(mean, variance)
        if len(sizes) > 1:
            z = _disturbed(z, sizes, self.eps)
        if self.weight is not None:
            channels = (1, -1, *[1] * (x.dim() - 2))
            z = z * self.weight.view(channels) + self.bias.view(channels)
        return z.to(x.dtype)


def _disturbed(z: Tensor, sizes: list[int], eps: float) -> Tensor:
    """z, each ghost by the mean and variance that the next one has."""
    ghosts = z.split(sizes)
    over = (0, *range(2, z.dim()))
    pieces = []
    for own, other in zip(ghosts, (*ghosts[1:], ghosts[0]), strict=True):
        exact = other.detach().to(torch.promote_types(z.dtype, torch.float32))
        variance, mean = torch.var_mean(exact, over, correction=0, keepdim=True)
        pieces.append((own - mean) * (variance + eps).rsqrt())
    return torch.cat(pieces)


def to_ghost_noise_norm(model: nn.Module, ghost_batch_size: int) -> nn.Module:
    """As `to_ghost_batch_norm`, with norms over the whole batch that have the noise of ghosts."""
    for module in to_ghost_batch_norm(model, ghost_batch_size).modules():
        if type(module) is GhostBatchNorm:
            module.__class__ = GhostNoiseNorm
    return model
