"""Parts beside references, computed with the page "The parts, checked" in a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pandas.io.formats.style import Styler
from torch import Tensor, nn

from sgdnoise import optim
from sgdnoise.chapters import short, table
from sgdnoise.ghost_norm import GhostBatchNorm, ghost_sizes


def ghost_norm_table() -> Styler:
    """Largest differences between ghost batch norm in float32 and a loop over ghosts in float64.

    The loop is written with means and variances only. Each difference is relative to the largest
    number of its kind: float32 resolves 6e-8.
    """
    shapes = [(64, 16, (8, 16, 16)), (100, 16, (8, 16, 16)), (200, 64, (32,)), (30, 64, (8, 4, 4))]
    return table([_ghost_norm_row(*shape) for shape in shapes])


def _ghost_norm_row(batch: int, ghost: int, rest: tuple[int, ...]) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(batch, *rest, generator=generator, dtype=torch.float64) + 1
    dy = torch.randn(batch, *rest, generator=generator, dtype=torch.float64)
    weight, bias = torch.rand(2, rest[0], generator=generator, dtype=torch.float64)

    layer = GhostBatchNorm(rest[0], ghost)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    x32 = x.float().requires_grad_()
    y = layer(x32)
    y.backward(dy.float())

    x64, w64, b64 = (t.clone().requires_grad_() for t in (x, weight, bias))
    mean, variance = torch.zeros_like(weight), torch.ones_like(weight)
    parts = []
    for part in x64.split(ghost_sizes(batch, ghost)):
        axes = [d for d in range(x.dim()) if d != 1]
        m = part.mean(axes, keepdim=True)
        v = (part - m).square().mean(axes, keepdim=True)
        shape = (1, -1, *[1] * (x.dim() - 2))
        parts.append((part - m) / (v + 1e-5).sqrt() * w64.view(shape) + b64.view(shape))
        values = part.numel() / rest[0]
        mean = 0.9 * mean + 0.1 * m.detach().flatten()
        variance = 0.9 * variance + 0.1 * v.detach().flatten() * values / (values - 1)
    want = torch.cat(parts)
    want.backward(dy)
    return {
        "batch": batch,
        "ghosts of": " + ".join(map(str, ghost_sizes(batch, ghost))),
        "output": _gap(y, want),
        "gradient of the input": _gap(x32.grad, x64.grad),
        "of the scale": _gap(layer.weight.grad, w64.grad),
        "running mean": _gap(layer.running_mean, mean),
        "running variance": _gap(layer.running_var, variance),
    }


def _gap(mine: Tensor | None, reference: Tensor | None) -> str:
    assert mine is not None
    assert reference is not None
    mine, reference = mine.detach().double(), reference.detach().double()
    return short(float((mine - reference).abs().max() / reference.abs().max()))


def optimizer_table(steps: int = 50) -> Styler:
    """Largest relative difference of the weights after some steps of a small net in float64.

    Beside PyTorch's SGD and pytorch-optimizer's LARS and LAMB. Where that is not installed, for
    the package does not ask for it, its rows say so.
    """
    there = True
    try:
        import pytorch_optimizer
    except ModuleNotFoundError:
        there = False

    def lars(net: nn.Module) -> torch.optim.Optimizer:
        return pytorch_optimizer.LARS(
            net.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4, trust_coefficient=0.02
        )

    def lamb(net: nn.Module) -> torch.optim.Optimizer:
        # Told to join the decay to the direction and not to undo its bias twice: You et al.'s form.
        return pytorch_optimizer.Lamb(
            net.parameters(), lr=0.01, weight_decay=0.01, weight_decouple=False, adam_debias=True
        )

    def sgd(net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=5e-4)

    def my_sgd(net: nn.Module) -> torch.optim.Optimizer:
        return optim.build_optimizer("sgd", net, learning_rate=0.1, momentum=0.9, weight_decay=5e-4)

    def my_lars(net: nn.Module) -> torch.optim.Optimizer:
        return optim.build_optimizer(
            "lars",
            net,
            learning_rate=1.0,
            momentum=0.9,
            weight_decay=5e-4,
            trust_coefficient=0.02,
        )

    def my_lamb(net: nn.Module) -> torch.optim.Optimizer:
        return optim.LAMB(net.parameters(), 0.01, weight_decay=0.01, exempt_one_dimensional=False)

    pairs = [
        ("SGD with momentum", "PyTorch", my_sgd, sgd),
        ("LARS", "pytorch-optimizer", my_lars, lars),
        ("LAMB", "pytorch-optimizer", my_lamb, lamb),
    ]
    return table(
        [
            {
                "rule": rule,
                "beside": library,
                "steps": steps,
                "difference of the weights": _gap(_after(make, steps), _after(theirs, steps))
                if there or library == "PyTorch"
                else "not compared: it is not installed",
            }
            for rule, library, make, theirs in pairs
        ]
    )


def _after(make: Callable[[nn.Module], torch.optim.Optimizer], steps: int) -> Tensor:
    """The weights of a small net after some steps on made-up data."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # Small weights: the library's LAMB takes no norm of weights to be more than 10.
        net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).double()
    optimizer = make(net)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(32, 64, generator=generator, dtype=torch.float64)
        y = torch.randint(0, 10, (32,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return nn.utils.parameters_to_vector(net.parameters()).detach()
