"""Problems whose curvature and noise can be had by hand."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from sgdnoise.diagnose import Problem, Setting, problem_of


def linear(
    size: int = 1024, seed: int = 0, setting: Setting | None = None, noise: float = 2.0
) -> Problem:
    """Linear regression with noise in its targets, not far from its minimum."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator) * torch.tensor([2.0, 1.0, 0.5, 0.25])
    truth = torch.tensor([[1.0, -1.0, 2.0, 0.5]])
    y = x @ truth.T + noise * torch.randn(size, 1, generator=generator)
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(truth + 0.5 * torch.randn(1, 4, generator=generator))
    problem = problem_of((model, nn.MSELoss(), (x, y)))
    return replace(problem, setting=setting) if setting else problem
