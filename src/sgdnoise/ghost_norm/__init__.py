"""Ghost batch norm: `layer` is what nets are made of, the others are its routes."""

from sgdnoise.ghost_norm.layer import (
    GhostBatchNorm,
    NormReLUSequential,
    RunningUpdate,
    norm_relu,
    to_ghost_batch_norm,
)
from sgdnoise.ghost_norm.noise import GhostNoiseNorm, to_ghost_noise_norm
from sgdnoise.ghost_norm.plain import ghost_sizes
from sgdnoise.ghost_norm.routes import Route, forced_route, ghost_batch_norm

__all__ = [
    "GhostBatchNorm",
    "GhostNoiseNorm",
    "NormReLUSequential",
    "Route",
    "RunningUpdate",
    "forced_route",
    "ghost_batch_norm",
    "ghost_sizes",
    "norm_relu",
    "to_ghost_batch_norm",
    "to_ghost_noise_norm",
]
