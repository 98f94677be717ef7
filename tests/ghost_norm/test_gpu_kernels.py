"""The Triton kernels of ghost batch norm against a float64 loop over ghosts.

On a GPU the compiled kernels are tested; without one the same tests run in Triton's interpreter.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from ghost_norm.test_layer import EPS, by_hand, ema
from torch import Tensor, nn

from sgdnoise import ghost_norm
from sgdnoise.ghost_norm import (
    GhostBatchNorm,
    forced_route,
    ghost_batch_norm,
    ghost_sizes,
    norm_relu,
    to_ghost_batch_norm,
)
from sgdnoise.models import build, convnets, residual

pytest.importorskip("triton", reason="Triton has no wheel for this platform")
from sgdnoise.ghost_norm import gpu_kernels as kernels
from sgdnoise.ghost_norm import routes

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE.type != "cuda", reason="no CUDA device: kernels are interpreted"),
]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# One rounding of the output: 8 or 11 bits; float32 loses a few of 24 on the way.
ROUNDING = {torch.float32: 2**-19, torch.bfloat16: 2**-8, torch.float16: 2**-11}


@pytest.fixture(autouse=True)
def by_kernels() -> Iterator[None]:
    # TF32 would round what convolutions are given, and so magnify last bits.
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with forced_route("kernels"), exact:
        yield


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small inputs then have many chunks, of many tiles, and many merges."""
    monkeypatch.setattr(kernels, "TILE", 128)
    monkeypatch.setattr(kernels, "PROGRAMS", 12)
    monkeypatch.setattr(kernels, "CHANNELS", 8)
    kernels.plan.cache_clear()
    yield
    kernels.plan.cache_clear()


def image(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """A draw of mean 3 and standard deviation 2, channels last."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 3
    return channels_last(x.to(DEVICE, dtype))


def channels_last(x: Tensor) -> Tensor:
    forms = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=forms.get(x.dim(), torch.contiguous_format))


def random_layer(channels: int, ghost: int, momentum: float | None = 0.3) -> GhostBatchNorm:
    generator = torch.Generator().manual_seed(1)
    layer = GhostBatchNorm(channels, ghost, momentum=momentum)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2.0, generator=generator)
        layer.bias.uniform_(-1.0, 1.0, generator=generator)
        layer.running_mean.uniform_(-1.0, 1.0, generator=generator)
        layer.running_var.uniform_(0.5, 2.0, generator=generator)
    return layer.to(DEVICE)


def apply(layer: nn.Module, x: Tensor, relu: bool) -> Tensor:
    return norm_relu(layer, x) if relu else layer(x)


def assert_is_the_loop(
    x: Tensor, ghost: int, relu: bool, rounding: float, dy: Tensor | None = None
) -> None:
    """Output, all gradients and running statistics of the layer, against the loop in float64."""
    layer = random_layer(x.shape[1], ghost)
    before = copy.deepcopy(layer.state_dict())
    weight, bias = (p.detach().double().requires_grad_() for p in (layer.weight, layer.bias))
    ours, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    dy = image(tuple(x.shape), x.dtype, seed=2) if dy is None else dy

    sizes = ghost_sizes(x.shape[0], ghost)
    expected, means, variances = by_hand(theirs, weight, bias, sizes)
    if relu:
        # Rounding may decide which side of the kink a value lies on: that one is left out.
        dy = dy.masked_fill(expected.abs() < 1e-5, 0)
        expected = F.relu(expected)
    expected.backward(dy.double())
    out = apply(layer, ours, relu)
    out.backward(dy)

    def close(a: Tensor, b: Tensor, tolerance: float, scale: float = 0.0) -> None:
        scale = max(scale, b.abs().max().item())
        torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance * scale)

    assert out.dtype == x.dtype
    assert out.stride() == x.stride() == ours.grad.stride()
    close(out, expected, rounding)
    # Its terms are dy weight / std, and cancel almost wholly in a ghost of two rows.
    std = (torch.stack(variances) + EPS).sqrt()
    close(ours.grad, theirs.grad, rounding, (weight / std).max().item() * dy.abs().max().item())
    for parameter, exact in ((layer.weight, weight), (layer.bias, bias)):
        assert parameter.grad.dtype == torch.float32
        # The mean's own rounding, 2^-24, enters Σ dy x̂ times Σ dy.
        close(parameter.grad, exact.grad, 2**-20, dy.double().abs().sum().item() / x.shape[1])
    run_mean = ema(before["running_mean"].double(), means, 0.3)
    run_variance = ema(before["running_var"].double(), variances, 0.3)
    close(layer.running_mean, run_mean, 2**-18)
    close(layer.running_var, run_variance, 2**-18)
    assert layer.num_batches_tracked == len(sizes)


SHAPES = [
    pytest.param((12, 5), 4, id="2d"),
    pytest.param((13, 70), 4, id="2d-remainder-joins"),
    pytest.param((14, 5), 4, id="2d-remainder-stays"),
    pytest.param((73, 3), 3, id="2d-many-ghosts"),
    pytest.param((6, 1), 3, id="one-channel"),
    pytest.param((6, 12, 5, 3), 6, id="one-ghost"),
    pytest.param((6, 12, 5, 3), 64, id="ghost-larger-than-batch"),
    pytest.param((12, 16, 4, 4), 4, id="even"),
    pytest.param((9, 7, 5, 3), 4, id="odd-remainder-joins"),
    pytest.param((11, 9, 3, 5), 4, id="odd-remainder-stays"),
    pytest.param((6, 5, 1, 1), 3, id="one-pixel"),
    pytest.param((7, 6, 2, 3, 2), 3, id="5d"),
]


@pytest.mark.parametrize("relu", [False, True], ids=["norm", "norm-relu"])
@pytest.mark.parametrize(("shape", "ghost"), SHAPES)
@pytest.mark.parametrize("tiles", ["tiles-as-shipped", "small-tiles"])
def test_forward_backward_and_running_statistics_are_the_loops(
    shape: tuple[int, ...],
    ghost: int,
    relu: bool,
    tiles: str,
    request: pytest.FixtureRequest,
) -> None:
    if tiles == "small-tiles":
        request.getfixturevalue("small_tiles")
    assert_is_the_loop(image(shape), ghost, relu, ROUNDING[torch.float32])


@pytest.mark.parametrize("relu", [False, True], ids=["norm", "norm-relu"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_precision_rounds_once(dtype: torch.dtype, relu: bool) -> None:
    assert_is_the_loop(image((8, 6, 5, 4), dtype), 4, relu, ROUNDING[dtype])


@pytest.mark.usefixtures("small_tiles")
def test_small_tiles_do_cut_into_chunks_and_tiles() -> None:
    # The control: the tests above do reach the loops over tiles, chunks and blocks of ghosts.
    plan = kernels.plan(4, 60, 45, 20)
    assert (plan.chunks, plan.channel_blocks, plan.block_rows, plan.chunk_rows) == (1, 3, 16, 64)
    plan = kernels.plan(2, 60, 45, 9)
    assert (plan.chunks, plan.chunk_rows // plan.block_rows) == (2, 2)
    assert kernels.plan(24, 3, 4, 3).merge_blocks["BLOCK_G"] == 16


@pytest.mark.parametrize("tiles", ["tiles-as-shipped", "small-tiles"])
def test_a_large_mean_costs_no_digits(tiles: str, request: pytest.FixtureRequest) -> None:
    if tiles == "small-tiles":
        request.getfixturevalue("small_tiles")
    x = channels_last(torch.randn(8, 12, 8, 8, generator=torch.Generator().manual_seed(3)) + 1000)
    x = x.to(DEVICE)
    one, zero = torch.ones(12, device=DEVICE), torch.zeros(12, device=DEVICE)
    out, mean, variance = ghost_batch_norm(x, one, zero, EPS, [4, 4])
    expected, means, variances = by_hand(x.double(), one.double(), zero.double(), [4, 4])
    # Neighbouring float32 numbers at 1000 are 6e-5 apart, and so are means: two such steps. Plain
    # sums of squares would be off by 1000^2 × 2^-24 = 0.06.
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1.5e-4)
    torch.testing.assert_close(mean.double(), torch.stack(means), rtol=0, atol=1.3e-4)
    torch.testing.assert_close(variance.double(), torch.stack(variances), rtol=1e-5, atol=0)


@pytest.mark.usefixtures("small_tiles")
def test_an_outlier_in_the_first_tile_costs_few_digits() -> None:
    # The shift is the mean of a tile that does not resemble its chunk.
    x = image((64, 2))
    x[0] = 1e4
    one, zero = torch.ones(2, device=DEVICE), torch.zeros(2, device=DEVICE)
    _, mean, variance = ghost_batch_norm(x, one, zero, EPS, [64])
    _, means, variances = by_hand(x.double(), one.double(), zero.double(), [64])
    torch.testing.assert_close(mean.double(), torch.stack(means), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), torch.stack(variances), rtol=1e-5, atol=0)


def test_gradients_agree_with_finite_differences() -> None:
    layer = random_layer(3, 4)
    dy = image((8, 3, 2, 2), seed=4).double()

    def value(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        with torch.no_grad():
            out = ghost_batch_norm(x, weight, bias, EPS, [4, 4])[0]
        return (out.double() * dy).sum()

    leaves = [image((8, 3, 2, 2)).requires_grad_(), layer.weight, layer.bias]
    layer(leaves[0]).backward(dy.float())
    generator = torch.Generator().manual_seed(5)
    for leaf in leaves:
        away = channels_last(torch.randn(leaf.shape, generator=generator)).to(DEVICE)
        ends = [
            value(*(t.detach() + (s * 1e-2 * away if t is leaf else 0) for t in leaves))
            for s in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / 2e-2
        torch.testing.assert_close(slope, (leaf.grad * away).sum().double(), rtol=1e-3, atol=1e-3)


def test_second_derivatives_are_those_of_the_plain_route() -> None:
    def second(route: ghost_norm.Route) -> list[Tensor]:
        layer = random_layer(3, 4)
        x = image((8, 3, 2, 2)).requires_grad_()
        with forced_route(route):
            out = norm_relu(layer, x)
            (first,) = torch.autograd.grad(((out + 1) ** 3).sum(), x, create_graph=True)
            return list(torch.autograd.grad((first**2).sum(), (x, layer.weight, layer.bias)))

    for ours, theirs in zip(second("kernels"), second("plain"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max().item())


def test_only_what_is_asked_for_is_differentiated() -> None:
    layer = random_layer(3, 4)
    norm_relu(layer, image((8, 3, 2, 2))).sum().backward()
    weight_grad = layer.weight.grad
    layer.requires_grad_(False).weight.grad = None
    x = image((8, 3, 2, 2)).requires_grad_()
    norm_relu(layer, x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None
    assert weight_grad is not None


def test_a_strided_or_expanded_gradient() -> None:
    x = image((8, 3, 4, 5))
    dy = torch.arange(24.0, device=DEVICE).view(8, 3, 1, 1).expand(x.shape)
    assert_is_the_loop(x, 4, True, ROUNDING[torch.float32], dy=dy)


@pytest.mark.filterwarnings("ignore:invalid value")  # the interpreter's numpy says so
def test_nan_and_infinity_are_not_hidden_by_relu() -> None:
    for bad in (float("nan"), float("inf")):
        x = image((8, 3, 2, 2))
        x[1, 2] = bad
        out = norm_relu(random_layer(3, 4), x)
        assert out[:4, 2].isnan().all()
        assert out[4:].isfinite().all()
        assert out[:, :2].isfinite().all()


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, None])
@pytest.mark.parametrize("update", ["sequential", "mean"])
def test_running_statistics_are_those_of_the_plain_route(
    update: ghost_norm.RunningUpdate, momentum: float | None
) -> None:
    states = []
    for route in ("kernels", "plain"):
        layer = random_layer(6, 4, momentum)
        layer.running_update = update
        with forced_route(route):
            for seed in (0, 1):
                layer(image((14, 6, 2, 2), seed=seed))
        states.append(layer.state_dict())
    torch.testing.assert_close(*states, rtol=1e-5, atol=1e-5)


def test_running_statistics_that_another_graph_needs_are_not_changed_unnoticed() -> None:
    layer = random_layer(3, 4)
    x = image((8, 3, 2, 2)).requires_grad_()
    out = layer.eval()(x)
    layer.train()(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_many_ghosts_are_remembered_for_long() -> None:
    layer = random_layer(2, 2, momentum=0.02)
    before = layer.running_mean.double()
    x = image((240, 2))
    layer(x)
    means = list(x.double().view(120, 2, 2).mean(1))
    torch.testing.assert_close(
        layer.running_mean.double(), ema(before, means, 0.02), rtol=3e-6, atol=3e-6
    )


def test_bad_input_is_refused_alike() -> None:
    with pytest.raises(ValueError, match="one value per channel"):
        norm_relu(GhostBatchNorm(3, 2).to(DEVICE), torch.randn(5, 3, device=DEVICE))
    with pytest.raises(ValueError, match="expected input"):
        norm_relu(GhostBatchNorm(3, 2).to(DEVICE), torch.randn(4, 5, device=DEVICE))
    with pytest.raises(ValueError, match="route"), forced_route("fast"):  # type: ignore[arg-type]
        pass


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("the kernels were called")


@pytest.mark.parametrize(
    "case", ["nchw", "strided", "3d", "float64", "half-weights", "not-affine", "no-triton", "plain"]
)
def test_what_the_kernels_do_not_serve_takes_the_plain_route(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, layer = image((8, 6, 4, 4)), random_layer(6, 4)
    if case == "nchw":
        x = x.contiguous()
    elif case == "strided":
        x = x[:, :, ::2]
    elif case == "3d":
        x = x.flatten(2)
    elif case == "float64":
        x, layer = x.double(), layer.double()
    elif case == "half-weights":
        x, layer = x.bfloat16(), layer.bfloat16()
    elif case == "not-affine":
        layer = GhostBatchNorm(6, 4, affine=False).to(DEVICE)
    twin = copy.deepcopy(layer)
    with forced_route("plain"):
        expected = F.relu(twin(x))
    monkeypatch.setattr(kernels, "forward", refuse)
    if case == "no-triton":
        monkeypatch.setitem(sys.modules, "sgdnoise.ghost_norm.gpu_kernels", None)
        monkeypatch.delattr("sgdnoise.ghost_norm.gpu_kernels")
        routes.triton_kernels.cache_clear()
        routes._kernels_run_on.cache_clear()
        assert routes.triton_kernels() is None
    with forced_route("plain" if case == "plain" else "kernels"):
        out = norm_relu(layer, x)
    routes.triton_kernels.cache_clear()
    routes._kernels_run_on.cache_clear()
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.state_dict(), twin.state_dict(), rtol=1e-5, atol=1e-5)


def test_a_gpu_where_triton_does_not_run_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_on(capability: tuple[int, int], error: Exception | None) -> bool:
        def fail(*_: object, **__: object) -> None:
            if error is not None:
                raise error

        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(kernels, "forward", fail)
        routes._kernels_run_on.cache_clear()
        try:
            return routes._kernels_run_on(DEVICE)
        finally:
            routes._kernels_run_on.cache_clear()

    assert runs_on((9, 0), None)
    assert not runs_on((7, 5), None)
    with pytest.warns(UserWarning, match="falls back to PyTorch.*C compiler"):
        assert not runs_on((9, 0), RuntimeError("Failed to find C compiler"))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        runs_on((9, 0), torch.cuda.OutOfMemoryError())


def test_the_kernels_are_what_these_tests_test(monkeypatch: pytest.MonkeyPatch) -> None:
    # The control of the test above.
    monkeypatch.setattr(kernels, "forward", refuse)
    with pytest.raises(AssertionError, match="were called"):
        norm_relu(random_layer(6, 4), image((8, 6, 4, 4)))
    with pytest.raises(AssertionError, match="were called"):
        random_layer(6, 4)(image((8, 6, 4, 4)))


@pytest.mark.filterwarnings("ignore:Dynamo detected")  # a cache, which it traces through
def test_a_compiled_net_takes_the_plain_route(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ghost_norm.NormReLUSequential(random_layer(3, 4), nn.ReLU(), random_layer(3, 4))
    x = image((8, 3, 2, 2))
    expected = net(x)
    monkeypatch.setattr(kernels, "forward", refuse)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected, rtol=1e-5, atol=1e-5)


def test_whoever_watches_a_norm_sees_what_it_gives() -> None:
    x = image((8, 3, 2, 2))
    plain = random_layer(3, 4)(x)
    seen: list[Tensor] = []
    layer = random_layer(3, 4)
    layer.register_forward_hook(lambda _, __, out: seen.append(out))
    torch.testing.assert_close(norm_relu(layer, x), F.relu(plain), rtol=0, atol=0)
    torch.testing.assert_close(seen[0], plain, rtol=0, atol=0)

    layer = random_layer(3, 4)
    with nn.modules.module.register_module_forward_hook(lambda _, __, out: seen.append(out)):
        norm_relu(layer, x)
    torch.testing.assert_close(seen[1], plain, rtol=0, atol=0)

    layer = random_layer(3, 4)
    layer.forward = lambda x: x - 5  # type: ignore[method-assign]
    torch.testing.assert_close(norm_relu(layer, x), F.relu(x - 5), rtol=0, atol=0)


def test_any_other_norm_is_called_as_it_is() -> None:
    class Own(GhostBatchNorm):
        def forward(self, x: Tensor) -> Tensor:
            return x - 5

    x = image((8, 3, 2, 2))
    evaluated = random_layer(3, 4).eval()
    for norm in (nn.Identity(), nn.BatchNorm2d(3).to(DEVICE), Own(3, 4), evaluated):
        torch.testing.assert_close(norm_relu(norm, x), F.relu(norm(x)), rtol=0, atol=0)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("ghost", [3, 8])
def test_on_a_cpu_norm_relu_is_relu_of_norm_to_the_bit(
    form: torch.memory_format, ghost: int
) -> None:
    results = []
    for fused in (True, False):
        layer = GhostBatchNorm(5, ghost)
        x = torch.randn(8, 5, 4, 4, generator=torch.Generator().manual_seed(0))
        x = x.contiguous(memory_format=form).requires_grad_()
        with forced_route("auto"):
            out = norm_relu(layer, x) if fused else F.relu(layer(x))
        (out**2).sum().backward()
        results.append([out, x.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet", "c1", "c1-keskar"])
def test_nets_have_the_gradients_of_the_plain_route(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = {
        "wrn-10-1": lambda: residual.WideResNet(10, 1),
        "resnet": lambda: residual.ResNet((4, 8), 1),
        "c1": lambda: convnets.ShallowConvNet(10, (3, 8, 8)),
        "c1-keskar": lambda: convnets.ShallowConvNet(10, (3, 8, 8), keskar=True),
    }[name]()
    to_ghost_batch_norm(net, 4).to(DEVICE, memory_format=torch.channels_last)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    twin = copy.deepcopy(net)
    x = image((8, 3, 8, 8))
    fused: list[bool] = []
    forward = kernels.forward
    monkeypatch.setattr(
        kernels, "forward", lambda *a, **k: (fused.append(k["relu"]), forward(*a, **k))[1]
    )
    net(x).square().sum().backward()
    with forced_route("plain"):
        twin(x).square().sum().backward()
    norms = [m for m in net.modules() if isinstance(m, GhostBatchNorm)]
    # All are fused but the last of each residual branch, and of a post-activation shortcut.
    unfused = 3 if name == "resnet" else 0
    assert (len(fused), fused.count(False)) == (len(norms), unfused)
    # A bias before a norm has gradient zero but for rounding: so one scale for the whole net.
    scale = max(p.grad.abs().max().item() for p in twin.parameters())
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4 * scale)
    for ours, theirs in zip(net.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_relu_with_a_hook_is_called() -> None:
    net = ghost_norm.NormReLUSequential(random_layer(3, 4), nn.ReLU(), random_layer(3, 4))
    seen: list[Tensor] = []
    net[1].register_forward_hook(lambda *args: seen.append(args[2]))
    x = image((8, 3, 2, 2))
    out = net(x)
    assert len(seen) == 1
    torch.testing.assert_close(net[2](net[1](net[0](x))), out, rtol=0, atol=0)


@pytest.mark.parametrize("ghosts", [1, 2, 16, 200, 5000])
@pytest.mark.parametrize("channels", [1, 3, 16, 64, 160, 640])
@pytest.mark.parametrize(("rows", "last_rows"), [(2, 2), (2, 3), (65_536, 40_000), (999, 1400)])
def test_the_chunks_cover_every_row_once(
    ghosts: int, channels: int, rows: int, last_rows: int
) -> None:
    last_rows = rows if ghosts == 1 else last_rows
    plan = kernels.plan(ghosts, rows, last_rows, channels)
    longest = max(rows, last_rows)
    assert plan.chunks * plan.chunk_rows >= longest
    assert plan.chunk_rows % plan.block_rows == 0
    assert plan.chunks.bit_count() == plan.block_rows.bit_count() == 1
    assert plan.block_channels * plan.channel_blocks >= channels
    assert plan.chunks <= kernels.MOST_CHUNKS
    # Large inputs fill the chip; a chunk is never empty in all ghosts.
    assert plan.chunks == 1 or (plan.chunks - 1) * plan.chunk_rows < longest * 2
    if ghosts * rows * channels >= 2 * kernels.PROGRAMS * kernels.TILE and channels >= 64:
        assert plan.grid[0] >= kernels.PROGRAMS / 2.1


COMPILE = """
import json, re
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sgdnoise.ghost_norm import gpu_kernels as kernels

def compiled(kernel, **constants):
    signature, attributes = {}, {}
    for i, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            continue
        pointers = dict.fromkeys(("x", "dy", "dx", "out"), "*bf16") | {"steps_seen": "*i64"}
        floats = ("eps", "kept", "newest", "log2_decay")
        whole = ("ghosts", "rows", "last_rows", "channels", "channel_blocks", "chunks",
                 "chunk_rows", "steps")
        signature[name] = (
            "fp32" if name in floats else "i32" if name in whole else pointers.get(name, "*fp32")
        )
        if name == "channels" or signature[name].startswith("*"):
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, attributes)
    asm = triton.compile(source, GPUTarget("cuda", 90, 32), {"num_warps": kernels.WARPS}).asm["ptx"]
    return {"atomic": "atom" in asm or "red.global" in asm, "local": ".local" in asm,
            "wide": len(re.findall(r"ld\\.global\\S*\\.v4\\.b32", asm))}

plan = kernels.plan(16, 65536, 65536, 64)
tile = {k: v for k, v in plan.blocks.items() if k != "num_warps"}
merge = {k: v for k, v in plan.merge_blocks.items() if k != "num_warps"}
made = {
    "_partial_moments": compiled(kernels._partial_moments, **tile),
    "_normalise": compiled(kernels._normalise, RELU=True, **tile),
    "_partial_sums": compiled(kernels._partial_sums, RELU=True, **tile),
    "_input_gradient": compiled(kernels._input_gradient, RELU=True, **tile),
    "_merge_moments": compiled(kernels._merge_moments, RUNNING=True, **merge),
    "_merge_sums": compiled(kernels._merge_sums, **merge),
}
print(json.dumps(made))
"""


def test_kernels_compile_for_hopper_without_atomics_with_wide_loads() -> None:
    # No GPU is needed for compiling; but this process's kernels may be the interpreter's.
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert len(made) == 6
    for name, facts in made.items():
        assert not facts["atomic"], name
        assert not facts["local"], f"{name} spills registers"
        # 16 elements a thread of each bfloat16 input: two loads of 16 bytes
        if not name.startswith("_merge"):
            assert facts["wide"] >= 2, name


class TestOnAGpu:
    pytestmark = gpu

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("channels", [16, 64, 160, 256])
    @pytest.mark.parametrize(("batch", "ghost"), [(64, 64), (144, 64), (168, 32)])
    def test_real_sizes_are_the_loop(
        self, batch: int, ghost: int, channels: int, dtype: torch.dtype
    ) -> None:
        assert_is_the_loop(image((batch, channels, 16, 16), dtype), ghost, True, ROUNDING[dtype])

    def test_a_run_repeats_to_the_bit(self) -> None:
        x = image((256, 64, 32, 32), torch.bfloat16)
        results = []
        for _ in range(3):
            layer, leaf = random_layer(64, 64), x.clone().requires_grad_()
            out = norm_relu(layer, leaf)
            out.square().sum().backward()
            results.append([out, leaf.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()])
        for other in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))

    @pytest.mark.parametrize("route", ["kernels", "plain"])
    def test_a_replayed_graph_is_the_eager_step(self, route: ghost_norm.Route) -> None:
        batches = [image((160, 32, 16, 16), torch.bfloat16, seed) for seed in range(3)]

        def step(layer: GhostBatchNorm, x: Tensor) -> list[Tensor]:
            out = norm_relu(layer, x)
            return [
                out.detach(),
                *torch.autograd.grad(out.square().sum(), (x, layer.weight, layer.bias)),
            ]

        with forced_route(route):
            eager = random_layer(32, 64)
            expected = [step(eager, x.clone().requires_grad_()) for x in batches]
            layer = random_layer(32, 64)
            state = copy.deepcopy(layer.state_dict())
            static = batches[0].clone().requires_grad_()
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                step(layer, static)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                captured = step(layer, static)
            layer.load_state_dict(state)
            for x, results in zip(batches, expected, strict=True):
                with torch.no_grad():
                    static.copy_(x)
                graph.replay()
                torch.testing.assert_close(captured, results, rtol=0, atol=0)
        torch.testing.assert_close(layer.state_dict(), eager.state_dict(), rtol=0, atol=0)

    def test_more_than_two_to_the_31_elements(self) -> None:
        shape, ghost = (33_000, 64, 32, 32), 64
        if torch.cuda.mem_get_info()[0] < 24 * 2**30:
            pytest.skip("needs 24 GiB of free GPU memory")
        x = torch.empty(shape, device=DEVICE, dtype=torch.bfloat16)
        x = x.to(memory_format=torch.channels_last).normal_()
        assert x.numel() > 2**31
        layer = random_layer(64, ghost)
        out = norm_relu(layer, x)
        sizes = ghost_sizes(shape[0], ghost)
        last = x[-sizes[-1] :].double()
        weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
        expected = F.relu(by_hand(last, weight, bias, [sizes[-1]])[0])
        torch.testing.assert_close(out[-sizes[-1] :].double(), expected, rtol=2**-8, atol=2**-8 * 5)

    def test_under_autocast_and_on_another_stream(self) -> None:
        origin = to_ghost_batch_norm(build("wrn-10-1"), 4)
        origin.to(DEVICE, memory_format=torch.channels_last)
        x = image((16, 3, 32, 32))

        def gradient(route: ghost_norm.Route, half: bool) -> Tensor:
            net = copy.deepcopy(origin)
            with forced_route(route), torch.autocast("cuda", torch.bfloat16, enabled=half):
                net(x).float().square().sum().backward()
            return torch.cat([p.grad.flatten() for p in net.parameters()])

        exact, plain = gradient("plain", False), gradient("plain", True)
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            ours = gradient("kernels", True)
        torch.cuda.synchronize()
        # So few examples in bfloat16 are several per cent off by whichever route, as gates of ReLUs
        # flip: two routes may differ by as much, but neither may be further from float32.
        assert (ours - exact).norm() <= 1.5 * (plain - exact).norm()
        assert (ours - exact).norm() <= 0.2 * exact.norm()
