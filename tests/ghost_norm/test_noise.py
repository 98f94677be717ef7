"""The noise of ghosts without their statistics: by hand, its size, and what it leaves alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sgdnoise.errors import InputError
from sgdnoise.ghost_norm import (
    GhostBatchNorm,
    GhostNoiseNorm,
    ghost_sizes,
    to_ghost_batch_norm,
    to_ghost_noise_norm,
)

EPS = 1e-5


def norm_of(channels, ghost, **options):
    norm = GhostNoiseNorm(channels, ghost, **options).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    return norm


def by_hand(x, norm, sizes, shift=0):
    """Each channel and ghost in a loop: by the batch's statistics, then by a sample's."""
    out = torch.empty_like(x)
    edges = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
    for c in range(x.shape[1]):
        values = x[:, c]
        z = (values - values.mean()) / (values.var(correction=0) + EPS).sqrt()
        for k in range(len(sizes)):
            other = torch.stack(
                [z[i] for i in range(len(z)) if i % len(sizes) == (k + shift) % len(sizes)]
            )
            own = z[edges[k] : edges[k + 1]]
            disturbed = (own - other.mean()) / (other.var(correction=0) + EPS).sqrt()
            out[edges[k] : edges[k + 1], c] = norm.weight[c] * disturbed + norm.bias[c]
    return out


@pytest.mark.parametrize("shape", [(12, 3), (14, 3), (13, 3), (12, 3, 5), (8, 3, 4, 2)])
@pytest.mark.parametrize("shift", [0, 1, 5])
def test_it_is_a_samples_statistics_on_the_whole_batchs(shape, shift):
    torch.manual_seed(0)
    norm, x = norm_of(3, 4), torch.randn(shape, dtype=torch.float64) * 3 + 1
    norm.shift = shift
    expected = by_hand(x, norm, ghost_sizes(shape[0], 4), shift)
    torch.testing.assert_close(norm(x), expected, rtol=1e-10, atol=1e-10)


def test_running_statistics_and_evaluation_are_batch_norms():
    torch.manual_seed(0)
    noisy, plain = norm_of(3, 4), nn.BatchNorm1d(3).double()
    plain.load_state_dict(noisy.state_dict())
    for _ in range(3):
        x = torch.randn(12, 3, dtype=torch.float64) + 2
        assert not torch.allclose(noisy(x), plain(x))
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(dict(noisy.named_buffers())[name], buffer)
    noisy.eval(), plain.eval()
    torch.testing.assert_close(noisy(x), plain(x))


def test_a_batch_that_is_one_ghost_has_no_noise():
    torch.manual_seed(0)
    noisy, plain = norm_of(3, 12), nn.BatchNorm1d(3).double()
    plain.load_state_dict(noisy.state_dict())
    x = torch.randn(12, 3, dtype=torch.float64)
    torch.testing.assert_close(noisy(x), plain(x))


def test_the_noise_has_the_size_of_ghosts_and_no_part_in_the_gradient():
    torch.manual_seed(0)
    size, ghost = 4096, 16
    norm, other = GhostNoiseNorm(64, ghost), GhostBatchNorm(64, ghost)
    x = torch.randn(size, 64, requires_grad=True)
    z = (x - x.mean(0)) / (x.var(0, correction=0) + EPS).sqrt()
    y = norm(x)
    # A ghost keeps its own mean and has the other's, of variance 1/16 each, over the other's s²:
    # that is χ² of 15 degrees of freedom over 16, whose inverse is 16/13 on average.
    moved = y.detach().view(-1, ghost, 64).mean(1)
    assert float(moved.var()) == pytest.approx(2 / ghost * ghost / (ghost - 3), rel=0.05)
    assert float(other(x).detach().view(-1, ghost, 64).mean(1).var()) < 1e-6
    # Given the noise the map is linear in z: the gradient is that of a constant shift and scale.
    weights = torch.randn_like(y)
    (got,) = torch.autograd.grad((weights * y).sum(), x)
    scale = (y.detach() - y.detach().roll(1, 0)) / (z - z.roll(1, 0)).detach()
    by_ghost = scale.view(-1, ghost, 64)[:, 1:].median(1).values.repeat_interleave(ghost, 0)
    (expected,) = torch.autograd.grad((weights * by_ghost * z).sum(), x)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_the_noise_adds_up_from_layer_to_layer_and_no_faster():
    torch.manual_seed(0)
    ghost, depth = 16, 5
    norm, x = GhostNoiseNorm(256, ghost), torch.randn(4096, 256)
    for norm.shift in range(depth):
        # Channels mixed, as a layer mixes them, so that what is normalised stays near Gaussian.
        x = norm(x) @ torch.linalg.qr(torch.randn(256, 256)).Q
    x = x.detach()
    # The part v of the variance that is shared within a ghost: from 1/16, by 1/16 a layer, of what
    # is then 1 + 1/16. By one other ghost's statistics it would be 2v + 1/16 of 1 + v + 1/16: 0.82;
    # by the same examples' in each layer 0.66.
    expected = 1 / ghost
    for _ in range(depth):
        expected = (expected + 1 / ghost) / (1 + 1 / ghost)
    shared = x.view(-1, ghost, 256).mean(1).var() / x.var()
    assert float(shared) == pytest.approx(expected, abs=0.06)


def test_a_model_is_turned_in_place_and_a_ghost_has_two_examples_at_least():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())
    weights = copy.deepcopy(model.state_dict())
    assert to_ghost_noise_norm(model, 8) is model
    assert type(model[1]) is GhostNoiseNorm
    assert model[1].ghost_batch_size == 8
    deep = to_ghost_noise_norm(nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.BatchNorm1d(3)), 8)
    assert [deep[0].shift, deep[2].shift] == [0, 1]
    assert all(torch.equal(a, weights[name]) for name, a in model.state_dict().items())
    with pytest.raises(InputError, match="at least 2"):
        to_ghost_noise_norm(model, 1)
    with pytest.raises(ValueError, match="one value per channel"):
        GhostNoiseNorm(3, 2)(torch.randn(3, 3)[:1])


def test_without_affine_parameters_and_in_half_precision_it_is_the_same():
    torch.manual_seed(0)
    x = torch.randn(16, 3)
    bare, whole = GhostNoiseNorm(3, 4, affine=False), GhostNoiseNorm(3, 4)
    torch.testing.assert_close(bare(x), whole(x))
    half = bare(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), bare(x), rtol=0.05, atol=0.05)


def test_what_has_the_noise_gets_the_new_size_or_becomes_ghost_batch_norm():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(), nn.BatchNorm1d(3))
    weights = [id(tensor) for tensor in model.parameters()]
    to_ghost_noise_norm(model, 4)
    to_ghost_noise_norm(model, 8)
    assert [type(model[k]) for k in (0, 2)] == [GhostNoiseNorm] * 2
    assert [(model[k].ghost_batch_size, model[k].shift) for k in (0, 2)] == [(8, 0), (8, 1)]
    to_ghost_batch_norm(model, 16)
    assert [type(model[k]) for k in (0, 2)] == [GhostBatchNorm] * 2
    assert [model[k].ghost_batch_size for k in (0, 2)] == [16, 16]
    assert [id(tensor) for tensor in model.parameters()] == weights
