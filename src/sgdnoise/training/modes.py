"""A net as it is measured: what it gives, its modes, and whose statistics its norms take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from sgdnoise.ghost_norm import GhostBatchNorm
from sgdnoise.training.tasks import Task


class OutputNet(nn.Module):
    """The model as a net whose output is what its task's losses want."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, x: Tensor) -> Tensor:
        return self.task.outputs(self.model, x)


@contextlib.contextmanager
def modes_kept(net: nn.Module) -> Iterator[None]:
    """Puts every module back into the mode it was in."""
    before = [(module, module.training) for module in net.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextlib.contextmanager
def ghost_statistics(net: nn.Module) -> Iterator[None]:
    """Ghost batch norm takes the statistics of its ghosts, also in evaluation; it keeps none."""
    norms = [module for module in net.modules() if isinstance(module, GhostBatchNorm)]
    kept = [(module.running_mean, module.running_var) for module in norms]
    try:
        for module in norms:
            module.running_mean = module.running_var = None
        yield
    finally:
        for module, (mean, variance) in zip(norms, kept, strict=True):
            module.running_mean, module.running_var = mean, variance
