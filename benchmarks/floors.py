"""The least time an epoch can take: arithmetic and memory traffic over what the device can do.

Counted from the net itself, without running it, and divided by ceilings measured in the same
process: a large matrix product in bfloat16, and a large copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from sgdnoise import models


@dataclass(frozen=True)
class Work:
    """What training on one example takes: floating-point operations, and bytes moved."""

    flops: float
    traffic: float


@dataclass(frozen=True)
class Ceilings:
    """What a device can do: operations a second, and bytes read or written a second."""

    flops: float
    traffic: float


def work_of(model: str, norm: str = "batch", pixels: int = 32, bytes_each: int = 2) -> Work:
    """The work of one example through forward and backward pass.

    Operations are those of convolutions and linear layers, a multiplication and an addition each.
    Traffic is that of passes that cannot be fused by kernels that exist: a convolution reads its
    input and writes its output, once forward, once for each of the two gradients; a norm, with the
    ReLU after it, reads its input for the statistics, reads it again and writes (forward), reads
    input and gradient for the sums, reads both again and writes (backward); the sum at a block's
    end, and that of the gradients at its start, read two and write one each. Weights, statistics
    and the update count for nothing beside.
    """
    net = models.build(model, norm=norm, input_shape=(3, pixels, pixels)).to("meta").train()  # type: ignore[arg-type]
    numbers = 0

    def conv(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal numbers
        numbers += 3 * (inputs[0].numel() + output.numel())

    def normed(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal numbers
        numbers += 8 * output.numel()

    def block(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal numbers
        numbers += 6 * output.numel()

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(conv)
        elif isinstance(module, _BatchNorm):
            module.register_forward_hook(normed)
        elif type(module).__name__.endswith("Block"):
            module.register_forward_hook(block)
    examples = 2
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(examples, 3, pixels, pixels, device="meta")).sum().backward()
    return Work(counter.get_total_flops() / examples, bytes_each * numbers / examples)


def ceilings(device: torch.device, side: int = 8192, copied: int = 1 << 30) -> Ceilings:
    """What the device can do, each the best of five after warm-up.

    Args:
        device: which.
        side: of the square matrices.
        copied: bytes.
    """
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = best_seconds(lambda: torch.matmul(a, b), device)
    copy = best_seconds(lambda: target.copy_(source), device)
    return Ceilings(2 * side**3 / product, 2 * copied / copy)


def best_seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Seconds of the fastest of some calls, the device waited for."""
    times = []
    for _ in range(repeats + 2):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return min(times[2:])


def synchronise(device: torch.device) -> None:
    """Waits for the device; a CPU is never behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def floors(work: Work, can: Ceilings, examples: int = 50_000) -> tuple[float, float]:
    """Seconds an epoch takes at least by arithmetic, and by memory traffic."""
    return examples * work.flops / can.flops, examples * work.traffic / can.traffic
