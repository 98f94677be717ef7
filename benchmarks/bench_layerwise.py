"""A step of each layer-wise rule beside one of momentum, on the thin net of scale `cpu`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.bench_ghost_norm import interleaved
from benchmarks.row import Row
from sgdnoise import optim
from sgdnoise.models import build

BATCH, PIXELS, GHOST, REPEATS = 128, 16, 16, 15
RATE, MOMENTUM, DECAY, TRUST = 0.1, 0.9, 5e-4, 0.1
REQUIRED = 0.77
"""1/1.3: a layer-wise rule may make a step 1.3 times as long."""


def _lars(w: Tensor, g: Tensor) -> Tensor:
    return TRUST * w.norm() / (g.norm() + DECAY * w.norm()) * (g + DECAY * w)


def _percent_delta(w: Tensor, g: Tensor) -> Tensor:
    return TRUST * w.numel() / ((g + DECAY * w) / w).abs().sum() * (g + DECAY * w)


def _mclr(w: Tensor, g: Tensor) -> Tensor:
    size = w.abs().median()
    return TRUST * size / (g.abs().median() + DECAY * size) * (g + DECAY * w)


def _lamb(w: Tensor, g: Tensor) -> Tensor:
    u = (1 - MOMENTUM) * g / ((0.001 * g * g).sqrt() + 1e-6) + DECAY * w
    return w.norm() / (u.norm() + 1e-6) * u


RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "lars": _lars,
    "percent-delta": _percent_delta,
    "mclr": _mclr,
    "lamb": _lamb,
}
"""The first step of a layer over the rate, in a line each."""


def rows() -> Iterator[Row]:
    """One row a rule: forward, loss, backward and update."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for rule in RULES:
        yield _row(rule)
    torch.set_num_threads(threads)


def _row(rule: str) -> Row:
    x, y = torch.randn(BATCH, 3, PIXELS, PIXELS), torch.randint(10, (BATCH,))
    net = build("wrn-10-1", input_shape=(3, PIXELS, PIXELS), norm="ghost", ghost_batch_size=GHOST)

    def stepping(name: str, trust: float | None) -> Callable[[], None]:
        mine = copy.deepcopy(net)
        optimizer = optim.build_optimizer(
            name,
            mine,
            learning_rate=RATE,
            momentum=MOMENTUM,
            weight_decay=DECAY,
            trust_coefficient=trust,
        )

        def step() -> None:
            optimizer.zero_grad()
            F.cross_entropy(mine(x), y).backward()
            optimizer.step()

        return step

    trust = None if rule == "lamb" else TRUST
    ours, baseline = interleaved(stepping(rule, trust), stepping("sgd", None), REPEATS)
    error = _error(rule, net, trust, x, y)
    return Row(
        f"WRN-10-1 step of {rule} beside momentum, {PIXELS} px, B = {BATCH}",
        ours,
        baseline,
        REQUIRED,
        f"first step within {error:.0e} of the formula in float64, layer by layer",
        f"one thread, median of {REPEATS} alternations; baseline: torch.optim.SGD",
        agrees=error < 1e-3,
    )


def _error(rule: str, net: nn.Module, trust: float | None, x: Tensor, y: Tensor) -> float:
    """Largest relative difference of a layer's first step to its formula."""
    F.cross_entropy(net(x), y).backward()
    before = [p.detach().clone() for p in net.parameters()]
    optim.build_optimizer(
        rule,
        net,
        learning_rate=RATE,
        momentum=MOMENTUM,
        weight_decay=DECAY,
        trust_coefficient=trust,
    ).step()
    errors = []
    for p, w in zip(net.parameters(), before, strict=True):
        if p.ndim > 1 and p.grad is not None:
            want = RATE * RULES[rule](w.double(), p.grad.double())
            errors.append(float((w.double() - p.detach().double() - want).norm() / want.norm()))
    return max(errors)
