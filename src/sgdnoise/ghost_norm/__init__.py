"""Ghost batch norm: `layer` is what nets are made of, the others are its fast routes."""

from sgdnoise.ghost_norm.layer import (
    GhostBatchNorm,
    NormReLUSequential,
    Route,
    RunningUpdate,
    forced_route,
    ghost_batch_norm,
    ghost_sizes,
    norm_relu,
    to_ghost_batch_norm,
)

__all__ = [
    "GhostBatchNorm",
    "NormReLUSequential",
    "Route",
    "RunningUpdate",
    "forced_route",
    "ghost_batch_norm",
    "ghost_sizes",
    "norm_relu",
    "to_ghost_batch_norm",
]
