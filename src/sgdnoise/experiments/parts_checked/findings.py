"""What the page "The parts, checked" shows: runs of `acceptance`, and parts beside references.

The runs are read from the store. The comparisons take a second and are computed with the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go
import torch
from pandas.io.formats.style import Styler
from torch import Tensor, nn

from sgdnoise import data, models, optim
from sgdnoise.chapters import short, table
from sgdnoise.config import RunConfig
from sgdnoise.experiments.parts_checked.grid import CHECKS, Check
from sgdnoise.figures.theme import DASHES, MUTED, PALETTE, figure, provenance
from sgdnoise.ghost_norm import GhostBatchNorm, ghost_sizes
from sgdnoise.models.registry import count_parameters
from sgdnoise.records.record import Record


def summary(records: Mapping[str, Record]) -> str:
    """How many checks passed, failed and have not been run, in a sentence."""
    verdicts = [check.verdict(records) for check in CHECKS]
    parts = [f"{verdicts.count(v)} {v}" for v in ("passed", "failed", "not yet run")]
    return f"**Of {len(CHECKS)} nets: {', '.join(parts)}.** {_origin(_mine(records))}"


def rows(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """One row a check: the net, its run, what it reached beside what it had to, and the verdict."""
    return [_row(check, records) for check in CHECKS]


def _row(check: Check, records: Mapping[str, Record]) -> dict[str, Any]:
    config = check.config
    record = records.get(config.id)
    size = config.train_size or data.train_size(config.dataset)
    sign = ">" if check.metric.endswith("accuracy") else "<"
    value = record.metrics.get(check.metric) if record else None
    return {
        "model": config.model,
        "norm": config.norm or "none",
        "parameters": _parameters(config),
        "data": f"{config.dataset}, {size:,} images",
        "batch size": config.batch_size,
        "learning rate": config.learning_rate,
        "steps": config.total_steps(size),
        "has to reach": f"{check.metric.replace('_', ' ')} {sign} {check.bound:g}",
        "reached": "" if value is None else f"{value:.3f}",
        "seconds": "" if record is None else f"{record.provenance['seconds']:.0f}",
        "verdict": check.verdict(records),
    }


def _parameters(config: RunConfig) -> int:
    shape = (1, 28, 28) if config.dataset == "mnist" else (3, 32, 32)
    return count_parameters(
        models.build(config.model, num_classes=10, input_shape=shape, norm=config.norm)
    )


def runs_table(records: Mapping[str, Record]) -> Styler:
    """`acceptance.rows` for a page."""
    return table(rows(records)).format(
        {"parameters": "{:,}", "steps": "{:,}", "learning rate": "{:g}"}
    )


def _mine(records: Mapping[str, Record]) -> list[Record]:
    return [records[check.config.id] for check in CHECKS if check.config.id in records]


def _origin(records: list[Record]) -> str:
    if not records:
        return "No run is recorded yet."

    def all_of(name: str) -> str:
        return ", ".join(sorted({str(r.provenance.get(name, "unknown")) for r in records}))

    dates = sorted(str(r.provenance.get("date", "unknown")) for r in records)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"Scale cpu, one run each, seed 0, one thread; code {all_of('code')}; "
        f"{all_of('device')}; {all_of('precision')}; {when}."
    )


def loss_curves(records: Mapping[str, Record]) -> go.Figure:
    """Loss of the batches as trained on, over the steps, of each convolution net that has run."""
    shown = [c for c in CHECKS if c.metric == "train_loss" and c.config.id in records]
    fig = figure(
        x="step",
        x_unit=None,
        y="training loss of the batches since the mark before",
        y_unit="nats",
        log="x",
        alt="Training loss over the steps, one curve a convolution net, all of which fall",
    )
    for k, check in enumerate(shown):
        curves = records[check.config.id].curves
        fig.add_scatter(
            x=curves["step"],
            y=curves["train_loss"],
            name=_name(check),
            mode="lines",
            line={
                "color": PALETTE[k % len(PALETTE)],
                "dash": DASHES[k // len(PALETTE) % len(DASHES)],
                "width": 2,
            },
        )
    bounds = sorted({check.bound for check in shown})
    for bound in bounds:
        fig.add_hline(y=bound, line={"color": MUTED, "dash": "dot"})
    fig.update_layout(height=560)
    return provenance(fig, _origin([records[c.config.id] for c in shown]))


def _name(check: Check) -> str:
    norm = check.config.norm or "none"
    return f"{check.config.model}, {norm}" if norm != "none" else f"{check.config.model}, no norm"


# --- parts beside references, computed live ---


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

    Beside PyTorch's SGD and pytorch-optimizer's LARS and LAMB.
    """
    import pytorch_optimizer

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
                "difference of the weights": _gap(_after(make, steps), _after(theirs, steps)),
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


CLAIMS = ()
"""No paper claims that a net trains."""
