"""Ghost batch norm against a float64 loop over ghosts written with means and variances only."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sgdnoise.errors import InputError
from sgdnoise.ghost_norm import (
    GhostBatchNorm,
    ghost_batch_norm,
    ghost_sizes,
    to_ghost_batch_norm,
    to_ghost_noise_norm,
)

EPS = 1e-5


def by_hand(
    x: Tensor, weight: Tensor, bias: Tensor, sizes: list[int]
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Output, means and unbiased variances, ghost by ghost, differentiable, by sums and roots."""
    dims = [d for d in range(x.dim()) if d != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    pieces, means, variances, start = [], [], [], 0
    for size in sizes:
        ghost = x[start : start + size]
        start += size
        count = ghost.numel() // ghost.shape[1]
        mean = ghost.sum(dims) / count
        centred = ghost - mean.reshape(shape)
        square = (centred**2).sum(dims)
        scale = weight / (square / count + EPS).sqrt()
        pieces.append(centred * scale.reshape(shape) + bias.reshape(shape))
        means.append(mean.detach())
        variances.append(square.detach() / (count - 1))
    return torch.cat(pieces), means, variances


def ema(start: Tensor, stats: list[Tensor], momentum: float) -> Tensor:
    """The closed form of H17 algorithm 1 as corrected: weights momentum (1 - momentum)^(G - l)."""
    ghosts = len(stats)
    run = (1 - momentum) ** ghosts * start
    for ell, stat in enumerate(stats, start=1):
        run = run + momentum * (1 - momentum) ** (ghosts - ell) * stat
    return run


SHAPES = [
    pytest.param((12, 5), 4, id="2d"),
    pytest.param((13, 5), 4, id="2d-remainder-joins"),
    pytest.param((14, 5), 4, id="2d-remainder-stays"),
    pytest.param((96, 5), 2, id="2d-many-small"),
    pytest.param((99, 5), 6, id="2d-many-small-remainder"),
    pytest.param((12, 3, 7), 4, id="3d"),
    pytest.param((12, 3, 4, 5), 4, id="4d"),
    pytest.param((14, 3, 4, 5), 4, id="4d-remainder"),
    pytest.param((33, 3, 4, 5), 3, id="4d-many-small"),
    pytest.param((16, 6, 32, 32), 8, id="4d-large-ghosts"),
    pytest.param((12, 3, 2, 3, 2), 4, id="5d"),
    pytest.param((6, 3, 4, 4), 64, id="ghost-larger-than-batch"),
]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("shape", "ghost"), SHAPES)
def test_forward_backward_and_running_statistics_are_the_loops(
    shape: tuple[int, ...], ghost: int, channels_last: bool
) -> None:
    if channels_last and len(shape) not in (4, 5):
        pytest.skip("only images have a channels-last form")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 3
    dy = torch.randn(shape, generator=generator, dtype=torch.float64)
    if channels_last:
        form = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
        x = x.contiguous(memory_format=form)
    layer = GhostBatchNorm(shape[1], ghost, momentum=0.3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2.0, generator=generator)
        layer.bias.uniform_(-1.0, 1.0, generator=generator)
        layer.running_mean.uniform_(-1.0, 1.0, generator=generator)
        layer.running_var.uniform_(0.5, 2.0, generator=generator)
    before = copy.deepcopy(layer.state_dict())
    weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()

    out = layer(ours)
    out.backward(dy)
    sizes = ghost_sizes(shape[0], ghost)
    expected, means, variances = by_hand(theirs, weight, bias, sizes)
    expected.backward(dy)

    # float64 throughout; 1e-10 leaves room for the order of summation only
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(out, expected, **close)
    torch.testing.assert_close(ours.grad, theirs.grad, **close)
    torch.testing.assert_close(layer.weight.grad, weight.grad, **close)
    torch.testing.assert_close(layer.bias.grad, bias.grad, **close)
    torch.testing.assert_close(layer.running_mean, ema(before["running_mean"], means, 0.3), **close)
    torch.testing.assert_close(
        layer.running_var, ema(before["running_var"], variances, 0.3), **close
    )
    assert layer.num_batches_tracked == len(sizes)
    assert out.stride() == x.stride()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("ghost", [4, 32])
def test_float32_keeps_its_digits_with_a_large_mean(ghost: int, channels_last: bool) -> None:
    x = torch.randn(64, 8, 12, 12, generator=torch.Generator().manual_seed(1)) + 300.0
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    sizes = ghost_sizes(64, ghost)
    one, zero = torch.ones(8), torch.zeros(8)
    out, mean, variance = ghost_batch_norm(x, one, zero, EPS, sizes)
    expected, means, variances = by_hand(x.double(), one.double(), zero.double(), sizes)
    # 300 is rounded at 3e-5 in float32, and torch's own channels-last kernel adds it up in float32.
    # A variance from E x^2 - (E x)^2 would be off by 300^2 * 1e-7, a hundred times this tolerance.
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(mean.double(), torch.stack(means), rtol=0, atol=2e-3)
    torch.testing.assert_close(variance.double(), torch.stack(variances), rtol=1e-4, atol=0)


def test_gradients_agree_with_finite_differences_twice() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(6, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(2, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.rand(2, generator=generator, dtype=torch.float64, requires_grad=True)

    def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return ghost_batch_norm(x, weight, bias, EPS, [3, 3])[0]

    assert torch.autograd.gradcheck(norm, (x, weight, bias))
    assert torch.autograd.gradgradcheck(norm, (x, weight, bias))


def test_one_ghost_is_torchs_batch_norm() -> None:
    x = torch.randn(10, 3, 4, 4)
    ours, theirs = GhostBatchNorm(3, 10), nn.BatchNorm2d(3)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())  # they may differ in the last bit
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


def test_sequential_running_statistics_are_those_of_batch_norm_fed_ghost_by_ghost() -> None:
    x = torch.randn(14, 3, 4, 4, dtype=torch.float64)
    for momentum in (0.1, None):
        ours = GhostBatchNorm(3, 4, momentum=momentum, dtype=torch.float64)
        theirs = nn.BatchNorm2d(3, momentum=momentum, dtype=torch.float64)
        for _ in range(2):
            ours(x)
            for ghost in x.split([4, 4, 4, 2]):
                theirs(ghost)
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1_000_003, 2**24, 2**24 + 1, 10**9])
def test_a_cumulative_mean_counts_further_than_float32_does(count: int, dtype: torch.dtype) -> None:
    layer = GhostBatchNorm(3, 4, momentum=None, dtype=dtype)
    layer.num_batches_tracked.fill_(count)
    layer.running_var.zero_()
    x = torch.randn(8, 3, dtype=dtype) + 5
    layer(x)
    assert layer.num_batches_tracked == count + 2
    # From running statistics of zero, what is left is the two ghosts' own weight.
    ghosts = x.view(2, 4, 3).double()
    digits = 1e-5 if dtype == torch.float32 else 1e-12
    for got, stat in ((layer.running_mean, ghosts.mean(1)), (layer.running_var, ghosts.var(1))):
        want = stat.sum(0) / (count + 2)
        torch.testing.assert_close(got.double(), want, rtol=digits, atol=0)


def test_a_cumulative_mean_past_two_to_the_24_keeps_what_it_had() -> None:
    layer = GhostBatchNorm(1, 4, momentum=None, dtype=torch.float64)
    count = 2**24
    layer.num_batches_tracked.fill_(count)
    layer.running_mean.fill_(1.0)
    layer(torch.full((4, 1), 3.0, dtype=torch.float64))
    want = torch.tensor([(count + 3.0) / (count + 1)], dtype=torch.float64)
    torch.testing.assert_close(layer.running_mean, want, rtol=1e-15, atol=0)


@pytest.mark.parametrize("count", [5 * 10**6, 10**7])
def test_a_settled_cumulative_mean_stays_in_float32(count: int) -> None:
    layer = GhostBatchNorm(1, 4, momentum=None)
    layer.num_batches_tracked.fill_(count)
    layer.running_mean.fill_(3.0)
    for _ in range(500):
        layer(torch.full((4, 1), 3.0))
    assert layer.running_mean.item() == 3.0


def test_mean_update_takes_one_step_a_batch() -> None:
    x = torch.randn(12, 3, dtype=torch.float64)
    layer = GhostBatchNorm(3, 4, momentum=0.25, running_update="mean", dtype=torch.float64)
    layer(x)
    ghosts = x.view(3, 4, 3)
    torch.testing.assert_close(layer.running_mean, 0.25 * ghosts.mean(1).mean(0))
    torch.testing.assert_close(layer.running_var, 0.75 + 0.25 * ghosts.var(1).mean(0))
    assert layer.num_batches_tracked == 1


def test_evaluation_uses_running_statistics_and_leaves_them() -> None:
    layer = GhostBatchNorm(3, 4)
    layer(torch.randn(12, 3) * 3 + 1)
    before = copy.deepcopy(layer.state_dict())
    layer.eval()
    x = torch.randn(1, 3)
    torch.testing.assert_close(
        layer(x), (x - layer.running_mean) / (layer.running_var + EPS).sqrt(), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


def test_without_running_statistics_or_affine() -> None:
    x = torch.randn(12, 3, 2, dtype=torch.float64)
    layer = GhostBatchNorm(3, 4, affine=False, track_running_stats=False).eval()
    one, zero = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_hand(x, one, zero, [4, 4, 4])[0])


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5),
        nn.BatchNorm1d(5),
    ).double()  # fmt: skip


@pytest.mark.parametrize("batch", [24, 27, 26], ids=["even", "remainder-joins", "remainder-stays"])
def test_micro_batches_of_whole_ghosts_give_the_same_gradients(batch: int) -> None:
    x = torch.randn(batch, 3, 6, 6, dtype=torch.float64)
    y = torch.randint(5, (batch,))
    whole = to_ghost_batch_norm(small_net(), 4)
    parts = to_ghost_batch_norm(small_net(), 4)
    loss = nn.CrossEntropyLoss(reduction="sum")
    loss(whole(x), y).backward()
    for xs, ys in zip(x.split([8, 8, batch - 16]), y.split([8, 8, batch - 16]), strict=True):
        loss(parts(xs), ys).backward()
    for p, q in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(dict(whole.named_buffers()), dict(parts.named_buffers()))


def test_plain_batch_norm_is_not_invariant_to_micro_batches() -> None:
    # The control: the test above can fail.
    x = torch.randn(24, 3, 6, 6, dtype=torch.float64)
    net = small_net()
    assert not torch.allclose(net(x), torch.cat([net(part) for part in x.split(8)]))


def test_conversion_keeps_tensors_hooks_and_states_and_spares_the_rest() -> None:
    class Own(nn.BatchNorm2d):
        pass

    ours = [nn.BatchNorm1d(3), nn.BatchNorm2d(3, momentum=None), nn.BatchNorm3d(3, affine=False)]
    others = [nn.SyncBatchNorm(3), nn.InstanceNorm2d(3), Own(3), nn.LayerNorm(3)]
    net = nn.ModuleList([*ours, *others])
    calls: list[str] = []
    net[0].register_forward_hook(lambda *_: calls.append("hook"))
    tensors = {k: id(v) for k, v in [*net.named_parameters(), *net.named_buffers()]}
    state = copy.deepcopy(net.state_dict())
    assert to_ghost_batch_norm(net, 4) is net
    assert [type(m) for m in net[:3]] == [GhostBatchNorm] * 3
    assert [type(m) for m in net[3:]] == [nn.SyncBatchNorm, nn.InstanceNorm2d, Own, nn.LayerNorm]
    assert {k: id(v) for k, v in [*net.named_parameters(), *net.named_buffers()]} == tensors
    net.load_state_dict(state)
    net[0](torch.randn(8, 3))
    assert calls == ["hook"]
    assert net[1].momentum is None
    assert [m.ghost_batch_size for m in to_ghost_batch_norm(net, 8)[:3]] == [8, 8, 8]
    root = nn.BatchNorm2d(3)
    assert type(to_ghost_batch_norm(root, 4)) is GhostBatchNorm
    twin = copy.deepcopy(net[1])
    x = torch.randn(16, 3, 2, 2)
    torch.testing.assert_close(twin(x), net[1](x))


@pytest.mark.parametrize("shape", [(32, 6, 5, 5), (32, 6)])
def test_bfloat16_keeps_float32_statistics(shape: tuple[int, ...]) -> None:
    x = (torch.randn(shape) * 2 + 1).bfloat16()
    layer, exact = GhostBatchNorm(6, 8), GhostBatchNorm(6, 8)
    out, reference = layer(x), exact(x.float())
    assert out.dtype == torch.bfloat16
    assert layer.running_mean.dtype == torch.float32
    torch.testing.assert_close(layer.running_mean, exact.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.running_var, exact.running_var, rtol=1e-5, atol=1e-6)
    # bfloat16 has 8 bits: relative 2^-8, and values reach 4
    torch.testing.assert_close(out.float(), reference, rtol=2**-7, atol=2e-2)
    out.float().square().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    low = GhostBatchNorm(6, 8).bfloat16()
    torch.testing.assert_close(low(x).float(), reference, rtol=2**-7, atol=2e-2)


def test_autocast_runs_through() -> None:
    net = to_ghost_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), 4)
    with torch.autocast("cpu", torch.bfloat16):
        out = net(torch.randn(12, 3, 5, 5))
    out.float().sum().backward()
    assert net[1].running_var.dtype == torch.float32


def test_autocast_leaves_running_statistics_their_digits() -> None:
    x = torch.randn(12, 3, 5, 5)
    ours, plain = GhostBatchNorm(3, 4), GhostBatchNorm(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        ours(x)
    plain(x)
    torch.testing.assert_close(ours.state_dict(), plain.state_dict())


def test_output_of_a_strided_or_expanded_gradient() -> None:
    x = torch.randn(12, 5, 3, 4, dtype=torch.float64).transpose(2, 3).requires_grad_()
    layer = GhostBatchNorm(5, 4, dtype=torch.float64)
    layer(x)[:, :, ::2].mean().backward()
    theirs = x.detach().clone().requires_grad_()
    one, zero = torch.ones(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    by_hand(theirs, one, zero, [4, 4, 4])[0][:, :, ::2].mean().backward()
    torch.testing.assert_close(x.grad, theirs.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [1, 0, -4, True, 2.0])
def test_a_ghost_below_two_is_refused(size: int) -> None:
    with pytest.raises(InputError, match="at least 2"):
        GhostBatchNorm(3, size)
    net = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(InputError, match="at least 2"):
        to_ghost_batch_norm(net, size)
    assert type(net[0]) is nn.BatchNorm1d


def test_other_bad_input_is_refused() -> None:
    layer = GhostBatchNorm(3, 2)
    for x in (torch.randn(1, 3), torch.randn(5, 3), torch.randn(1, 3, 1, 1)):
        with pytest.raises(ValueError, match="one value per channel"):
            layer(x)
    layer.eval()(torch.randn(1, 3))
    with pytest.raises(ValueError, match="expected input"):
        layer(torch.randn(4, 5))
    with pytest.raises(ValueError, match="do not make up"):
        ghost_batch_norm(torch.randn(4, 3), None, None, EPS, [2, 3])
    with pytest.raises(InputError, match="running_update"):
        GhostBatchNorm(3, 4, running_update="last")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="lazy"):
        to_ghost_batch_norm(nn.Sequential(nn.LazyBatchNorm1d()), 4)
    with pytest.raises(ValueError, match="at least 1"):
        ghost_sizes(0, 4)


def test_a_model_that_is_refused_is_not_changed() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3), nn.LazyBatchNorm1d())
    for convert in (to_ghost_batch_norm, to_ghost_noise_norm):
        with pytest.raises(InputError, match="1 is a lazy batch norm"):
            convert(net, 4)
        assert type(net[0]) is nn.BatchNorm1d


@pytest.mark.parametrize("wrong", [None, "net", [nn.BatchNorm1d(3)], nn.BatchNorm1d])
def test_what_is_no_module_is_refused(wrong: object) -> None:
    for convert in (to_ghost_batch_norm, to_ghost_noise_norm):
        with pytest.raises(InputError, match=r"must be an nn\.Module, got one of type") as error:
            convert(wrong, 4)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
