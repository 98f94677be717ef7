"""Radius of curvature of each layer of WRN-10-1 on 2,000 images of CIFAR-10: two threads, a minute.

The baseline takes gradients of single examples by plain autograd, one class after the other: the
Fisher information, which with cross-entropy is the Gauss-Newton matrix. It gets a tenth of the
images, and the row compares both on these.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.row import Row
from sgdnoise import data, models
from sgdnoise.curvature import CurvatureRadii, curvature_radii

IMAGES = 2000
OF_BASELINE = 200
THREADS = 2
BATCH = 500
LIMIT_S = 60.0


def rows() -> Iterator[Row]:
    """The one row: it needs CIFAR-10."""
    torch.set_num_threads(THREADS)
    x, y = data.load("cifar10", train_size=IMAGES).train_arrays()
    net = _net(x)
    _, whole, spent = _timed(net, x, y)
    x, y = x[:OF_BASELINE], y[:OF_BASELINE]
    radii, ours, _ = _timed(net, x, y)
    began = time.perf_counter()
    diagonal, gradient = _plain(net, x, y)
    baseline = time.perf_counter() - began
    sizes = [p.numel() for p in net.parameters()]
    apart = max(
        abs(float(((1 + g**2) ** 1.5 / h).quantile(0.5, interpolation="lower")) / one.true[1] - 1)
        for h, g, one in zip(
            diagonal.split(sizes), gradient.split(sizes), radii.layers, strict=True
        )
    )
    yield Row(
        f"radius of curvature of {len(radii.layers)} tensors of WRN-10-1, {OF_BASELINE:,} images",
        ours,
        baseline,
        0.8,
        f"medians of all tensors within {apart:.1%}",
        f"{IMAGES:,} images take {whole:.0f} s, {spent:.0f} s of processor time on {THREADS} "
        f"threads; at most {LIMIT_S:g} s allowed",
        agrees=apart < 0.02 and whole < LIMIT_S,
    )


def _timed(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[CurvatureRadii, float, float]:
    began, spent = time.perf_counter(), time.process_time()
    radii = curvature_radii(net, F.cross_entropy, (x, y), diagonal="gauss-newton", batch_size=BATCH)
    return radii, time.perf_counter() - began, time.process_time() - spent


def _net(x: torch.Tensor) -> nn.Module:
    net = models.build("wrn-10-1", num_classes=10, input_shape=(3, 32, 32), norm="batch", seed=0)
    net.train()
    with torch.no_grad():
        net(x)
    return net.eval()


def _plain(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean over examples of Σ_k p_k (∂ log p_k/∂w)², and the gradient of the mean loss."""
    parameters = list(net.parameters())
    size = sum(p.numel() for p in parameters)
    fisher, gradient = torch.zeros(size), torch.zeros(size)
    for one, label in zip(x, y, strict=True):
        logs = F.log_softmax(net(one[None])[0], 0)
        for k, log in enumerate(logs):
            parts = torch.autograd.grad(log, parameters, retain_graph=k + 1 < len(logs))
            flat = torch.cat([part.reshape(-1) for part in parts])
            fisher += log.detach().exp() * flat.square() / len(x)
            if k == label:
                gradient -= flat / len(x)
    return fisher, gradient
