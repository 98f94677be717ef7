"""Radius of curvature of each layer of WRN-10-1 on 2,000 images of CIFAR-10: two threads, a minute.

The baseline multiplies with the Hessian by plain autograd, one random vector after the other, each
with a graph of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.row import Row
from sgdnoise import data, models
from sgdnoise.curvature import curvature_radii

IMAGES = 2000
PROBES = 4
"""With 8 it took 155 s of processor time on two shared cores: too near to the limit."""
THREADS = 2
BATCH = 500
LIMIT_S = 60.0


def rows() -> Iterator[Row]:
    """The one row: it needs CIFAR-10."""
    torch.set_num_threads(THREADS)
    x, y = data.load("cifar10", train_size=IMAGES).train_arrays()
    net = _net(x)
    began, spent = time.perf_counter(), time.process_time()
    radii = curvature_radii(net, F.cross_entropy, (x, y), probes=PROBES, batch_size=BATCH)
    ours, spent = time.perf_counter() - began, time.process_time() - spent
    began = time.perf_counter()
    diagonal = _plain(net, x, y)
    baseline = time.perf_counter() - began
    parts = diagonal.split([p.numel() for p in net.parameters()])
    apart = max(
        abs(float(part.abs().reciprocal().median()) / layer.true[1] - 1)
        for part, layer in zip(parts, radii.layers, strict=True)
        if part.numel() > 100
    )
    yield Row(
        f"radius of curvature of {len(radii.layers)} tensors of WRN-10-1, {IMAGES:,} images",
        ours,
        baseline,
        0.8,
        f"medians of the larger tensors within {apart:.1%}",
        f"{PROBES} random vectors, {THREADS} threads, {spent:.0f} s of processor time; at most "
        f"{LIMIT_S:g} s allowed",
        agrees=apart < 0.02 and ours < LIMIT_S,
    )


def _net(x: torch.Tensor) -> nn.Module:
    net = models.build("wrn-10-1", num_classes=10, input_shape=(3, 32, 32), norm="batch", seed=0)
    net.train()
    with torch.no_grad():
        net(x)
    return net.eval()


def _plain(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The Hessian's diagonal by the same random signs, one product at a time."""
    parameters = list(net.parameters())
    size = sum(p.numel() for p in parameters)
    generator, mean = torch.Generator().manual_seed(0), torch.zeros(size)
    for _ in range(PROBES):
        signs = (2 * torch.randint(0, 2, (size,), generator=generator) - 1).float()
        image = torch.zeros(size)
        for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True):
            loss = F.cross_entropy(net(a), b) * len(b) / IMAGES
            grads = torch.autograd.grad(loss, parameters, create_graph=True)
            flat = torch.cat([g.reshape(-1) for g in grads])
            found = torch.autograd.grad(flat @ signs, parameters)
            image += torch.cat([f.reshape(-1) for f in found])
        mean += signs * image / PROBES
    return mean
