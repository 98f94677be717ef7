"""Ghost batch norm beside batch norm, on the machine's CPU: the layers alone, and a whole step.

The net is WRN-10-1 at B = 128 with ghosts of 64, in both memory formats. Baseline and ours
alternate within each repeat, so that a busy machine slows both; the figure is the median. They run
on one thread, as the workers of a sweep do; what the layers cost on all threads stands in the note.
`python -m benchmarks.bench_ghost_norm` prints the rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.row import Row
from sgdnoise.ghost_norm import GhostBatchNorm
from sgdnoise.models import build

BATCH, GHOST = 128, 64
REQUIRED = 1 / 1.25
"""Ghost batch norm may cost 1.25 times batch norm."""
NOTE = (
    "forward and backward, B = 128, ghosts of 64, one thread; baseline batch norm; "
    "median of {} alternations"
)
FORMATS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}


def interleaved(
    ours: Callable[[], object], baseline: Callable[[], object], repeats: int
) -> list[float]:
    """Median seconds of ours and of the baseline, alternating, after two rounds of warm-up."""
    times: list[list[float]] = [[], []]
    for repeat in range(repeats + 2):
        for kind, function in enumerate((ours, baseline)):
            start = time.perf_counter()
            function()
            if repeat >= 2:
                times[kind].append(time.perf_counter() - start)
    return [statistics.median(t) for t in times]


def norm_shapes(pixels: int) -> list[tuple[int, ...]]:
    """Input shape of each norm of WRN-10-1, by running it once."""
    net, shapes = build("wrn-10-1"), []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _, args, __: shapes.append(tuple(args[0].shape)))
    net(torch.zeros(BATCH, 3, pixels, pixels))
    return shapes


def layer_row(pixels: int, form: str, repeats: int) -> Row:
    """All norms of the net, forward and backward, nothing else."""
    inputs = []
    for shape in norm_shapes(pixels):
        x, dy = (torch.randn(shape).contiguous(memory_format=FORMATS[form]) for _ in range(2))
        inputs.append((x.requires_grad_(), dy))
    plain = [nn.BatchNorm2d(x.shape[1]) for x, _ in inputs]
    ghost = [GhostBatchNorm(x.shape[1], GHOST) for x, _ in inputs]

    def run(layers: Sequence[nn.BatchNorm2d | GhostBatchNorm]) -> None:
        for layer, (x, dy) in zip(layers, inputs, strict=True):
            torch.autograd.grad(layer(x), (x, layer.weight, layer.bias), dy)

    ours, baseline = interleaved(lambda: run(ghost), lambda: run(plain), repeats)
    name = f"ghost norm layers of WRN-10-1, {pixels} px, {form}"
    return Row(name, ours, baseline, REQUIRED, agreement(*inputs[0]), NOTE.format(repeats))


def agreement(x: Tensor, dy: Tensor) -> str:
    """Largest difference, of output or input gradient, to a float64 loop of torch's batch norm."""
    out = GhostBatchNorm(x.shape[1], GHOST)(x)
    (dx,) = torch.autograd.grad(out, x, dy)
    errors = []
    for part, d, o, g in zip(*(t.detach().split(GHOST) for t in (x, dy, out, dx)), strict=True):
        exact = part.double().requires_grad_()
        expected = nn.BatchNorm2d(x.shape[1], dtype=torch.float64)(exact)
        (gradient,) = torch.autograd.grad(expected, exact, d.double())
        errors += [(o - expected).abs().max().item(), (g - gradient).abs().max().item()]
    return f"within {max(errors):.0e} of a float64 loop of torch's batch norm over ghosts"


def step_row(pixels: int, form: str, repeats: int) -> Row:
    """Forward, loss and backward of the whole net."""
    memory_format = FORMATS[form]
    x = torch.randn(BATCH, 3, pixels, pixels).contiguous(memory_format=memory_format)
    y = torch.randint(10, (BATCH,))

    def step(net: nn.Module) -> None:
        net.zero_grad()
        F.cross_entropy(net(x), y).backward()

    nets = [
        build("wrn-10-1", norm=norm, ghost_batch_size=GHOST).to(memory_format=memory_format)  # type: ignore[arg-type]
        for norm in ("ghost", "batch")
    ]
    ours, baseline = interleaved(lambda: step(nets[0]), lambda: step(nets[1]), repeats)
    x, dy = (
        torch.randn(norm_shapes(pixels)[0]).contiguous(memory_format=memory_format) for _ in "xd"
    )
    name = f"WRN-10-1 step with ghost norm, {pixels} px, {form}"
    return Row(
        name, ours, baseline, REQUIRED, agreement(x.requires_grad_(), dy), NOTE.format(repeats)
    )


def rows() -> list[Row]:
    """Layers at CIFAR-10's 32 px, steps at 32 px and at the pooled 16 px, in both memory formats.

    A layer at 16 px takes a fraction of a millisecond, of which the calls themselves are a part
    that a step hardly notices: the layers' cost stands in the note of the step's row.
    """
    layers, steps = [], []
    all_threads = torch.get_num_threads()
    for pixels in (32, 16):
        for form in FORMATS:
            crowd = layer_row(pixels, form, 960 // pixels)
            torch.set_num_threads(1)
            layer = layer_row(pixels, form, 960 // pixels)
            layer.note += f"; with all threads ({all_threads}) the cost is {1 / crowd.ratio:.2f}"
            step = step_row(pixels, form, 320 // pixels)
            step.note += f"; the norm layers alone cost {1 / layer.ratio:.2f} times batch norm's"
            if pixels == 32:
                layers.append(layer)
            steps.append(step)
            torch.set_num_threads(all_threads)
    return layers + steps


if __name__ == "__main__":
    for row in rows():
        times = f"ours {row.ours_s * 1e3:.2f} ms, baseline {row.baseline_s * 1e3:.2f} ms"
        cost = f"cost {1 / row.ratio:.2f} (at most {1 / row.required:.2f})"
        print(f"{row.name}: {times}, {cost}, {row.agreement}; {row.note}")
