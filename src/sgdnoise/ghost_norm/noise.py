"""The noise of ghosts without their statistics: what is left of ghost batch norm's help by itself.

Kosson, Fan and Jaggi 2023 (arXiv 2305.17205) hold that ghost batch norm helps by the noise in its
statistics, and inject that noise into a norm over the whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sgdnoise.ghost_norm.layer import GhostBatchNorm, to_ghost_batch_norm
from sgdnoise.ghost_norm.plain import check_ghosts, ghost_sizes
from sgdnoise.ghost_norm.routes import ghost_batch_norm


class GhostNoiseNorm(GhostBatchNorm):
    """Batch norm over the whole batch, shifted and scaled as a ghost's statistics would.

    With z the batch of G ghosts normalised by its own mean and variance, an example of ghost l
    (from 0) gives

        weight (z - m_l) / √(s²_l + eps) + bias,

    where m_l and s²_l are the mean and variance of the examples k, k + G, k + 2G, ..., with
    k = (l + shift) mod G: of as many as make a ghost, from all over the batch. Each layer has a
    `shift` of its own. From one other ghost, or from the same examples in every layer, the noise of
    earlier layers would come back at full size, and grow with the depth. No gradient flows through
    the noise. Running statistics are those of whole batches. A batch that is a single ghost has no
    noise. Arguments and errors are those of `GhostBatchNorm`.
    """

    shift = 0

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
            z = _disturbed(z, sizes, self.shift, self.eps)
        if self.weight is not None:
            channels = (1, -1, *[1] * (x.dim() - 2))
            z = z * self.weight.view(channels) + self.bias.view(channels)
        return z.to(x.dtype)


def _disturbed(z: Tensor, sizes: list[int], shift: int, eps: float) -> Tensor:
    """z, each ghost by the mean and variance of a sample of its size."""
    exact = z.detach().to(torch.promote_types(z.dtype, torch.float32))
    over = (0, *range(2, z.dim()))
    pieces = []
    for k, own in enumerate(z.split(sizes)):
        sample = exact[(k + shift) % len(sizes) :: len(sizes)]
        variance, mean = torch.var_mean(sample, over, correction=0, keepdim=True)
        pieces.append((own - mean) * (variance + eps).rsqrt())
    return torch.cat(pieces)


def to_ghost_noise_norm(model: nn.Module, ghost_batch_size: int) -> nn.Module:
    """As `to_ghost_batch_norm`, with norms over the whole batch that have the noise of ghosts."""
    norms = to_ghost_batch_norm(model, ghost_batch_size).modules()
    for place, module in enumerate(m for m in norms if type(m) is GhostBatchNorm):
        module.__class__ = GhostNoiseNorm
        assert isinstance(module, GhostNoiseNorm)  # the checker is not told by the line above
        module.shift = place
    return model
