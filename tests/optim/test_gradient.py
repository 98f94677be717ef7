"""Clipping, multiplicative noise and discarding: against linear algebra and Monte Carlo."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from sgdnoise import optim

# --- clipping ---


def with_gradients() -> list[nn.Parameter]:
    params = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    params[0].grad, params[1].grad = torch.tensor([2.0, 3.0]), torch.tensor([6.0])  # norm 7
    return params


def test_clipping_scales_the_global_norm():
    params = with_gradients()
    norm = optim.clip_gradient(params, 3.5)
    assert norm == pytest.approx(7.0)
    # PyTorch divides by the norm + 1e-6.
    torch.testing.assert_close(params[0].grad, torch.tensor([1.0, 1.5]), rtol=1e-6, atol=0)
    torch.testing.assert_close(params[1].grad, torch.tensor([3.0]), rtol=1e-6, atol=0)


def test_a_gradient_within_the_bound_is_untouched():
    params = with_gradients()
    assert optim.clip_gradient(params, 7.1) == pytest.approx(7.0)
    assert torch.equal(params[0].grad, torch.tensor([2.0, 3.0]))


@pytest.mark.parametrize(("step", "clips"), [(0, True), (4, True), (5, False), (100, False)])
def test_clipping_in_the_first_steps_only(step, clips):
    params = with_gradients()
    norm = optim.clip_gradient(params, 1.0, step=step, steps=5)
    assert (norm is not None) is clips
    assert (params[1].grad.item() < 6) is clips


def test_a_bound_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="must be positive"):
        optim.clip_gradient(with_gradients(), 0.0)


# --- multiplicative noise ---


def linear_model(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Per-example gradients of a linear regression at a random point, and their mean."""
    rng = np.random.default_rng(seed)
    x, y, w = rng.normal(size=(n, 3)), rng.normal(size=n), rng.normal(size=3)
    gradients = 2 * (x @ w - y)[:, None] * x
    return gradients, gradients.mean(0)


def traces(gradients: np.ndarray) -> tuple[float, float]:
    centred = gradients - gradients.mean(0)
    return float((centred**2).sum(1).mean()), float((gradients**2).sum(1).mean())


def batch_trace(gradients: np.ndarray, batch: int, sigma2: float = 0.0) -> float:
    """Trace of the covariance of the noisy batch mean, over every batch of the set.

    By the law of total variance, given the batch: Var of the mean plus the mean of
    σ²/M² Σ|g_n|². No formula of the package is used.
    """
    means, noise = [], []
    for chosen in itertools.combinations(range(len(gradients)), batch):
        members = gradients[list(chosen)]
        means.append(members.mean(0))
        noise.append(sigma2 * (members**2).sum() / batch**2)
    return float(np.var(means, axis=0).sum() + np.mean(noise))


@pytest.mark.parametrize(("large", "small"), [(4, 2), (6, 1), (5, 3), (12, 2)])
def test_noise_gives_a_large_batch_the_covariance_trace_of_a_small_one(large, small):
    gradients, _ = linear_model(12)
    centred, uncentred = traces(gradients)
    sigma2 = optim.noise_variance(large, small, 12, centred / uncentred)
    assert batch_trace(gradients, large, sigma2) == pytest.approx(
        batch_trace(gradients, small), rel=1e-12
    )


def test_the_finite_form_tends_to_the_plain_one():
    assert optim.noise_variance(1024, 128) == 7
    assert optim.noise_variance(1024, 128, 10**9) == pytest.approx(7, rel=1e-5)
    assert optim.noise_variance(64, 64) == 0
    assert optim.noise_variance(64, 64, 1000, 0.3) == 0
    assert optim.noise_variance(1024, 128, centred_share=0.5) == 3.5


def test_noise_by_monte_carlo_with_independent_examples():
    # Examples drawn with replacement from a centred set: σ² = M/M_S − 1 is exact.
    gradients, mean = linear_model(400)
    gradients = torch.tensor(gradients - mean)
    sigma = math.sqrt(optim.noise_variance(16, 4))
    generator = torch.Generator().manual_seed(4)
    draws = 40_000
    index = torch.randint(0, 400, (draws, 16), generator=generator)
    z = optim.noise_weights(draws * 16, sigma, generator).view(draws, 16, 1).double()
    noisy = (z * gradients[index]).mean(1)
    small = traces(gradients.numpy())[0] / 4
    # The trace of 40,000 heavy-ish draws in 3 dimensions has a standard error of about 0.7%.
    assert noisy.var(0).sum().item() == pytest.approx(small, rel=0.03)
    assert noisy.mean(0).norm().item() < 4 * math.sqrt(small / draws)
    plain = gradients[index].mean(1).var(0).sum().item()
    assert plain == pytest.approx(small / 4, rel=0.03)


def test_weighted_losses_give_weighted_gradients():
    # On the net itself: the gradient of (z·losses).mean() is Σ z_n g_n / M, g_n one at a time.
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    x, y = torch.randn(5, 3).double(), torch.tensor([0, 1, 1, 0, 1])
    z = optim.noise_weights(5, 2.0, torch.Generator().manual_seed(0)).double()
    losses = nn.functional.cross_entropy(model(x), y, reduction="none")
    (gradient,) = torch.autograd.grad((z * losses).mean(), [model.weight])
    expected = torch.zeros_like(gradient)
    for n in range(5):
        loss = nn.functional.cross_entropy(model(x[n : n + 1]), y[n : n + 1])
        expected += z[n] * torch.autograd.grad(loss, [model.weight])[0] / 5
    torch.testing.assert_close(gradient, expected)


def test_noise_weights_have_their_moments_and_their_generator():
    z = optim.noise_weights(200_000, 3.0, torch.Generator().manual_seed(1))
    assert z.mean().item() == pytest.approx(1, abs=4 * 3 / 200_000**0.5)
    assert z.std().item() == pytest.approx(3, rel=0.01)
    assert torch.equal(
        z[:10], optim.noise_weights(200_000, 3.0, torch.Generator().manual_seed(1))[:10]
    )
    assert (optim.noise_weights(7, 0.0, torch.Generator()) == 1).all()


@pytest.mark.parametrize(
    "arguments", [(4, 8), (4, 0), (8, 4, 7), (8, 4, 100, 1.1), (8, 4, None, -0.1)]
)
def test_impossible_noise_is_refused(arguments):
    with pytest.raises(ValueError, match=r"\w"):
        optim.noise_variance(*arguments)
    with pytest.raises(ValueError, match="negative"):
        optim.noise_weights(3, -1.0, torch.Generator())


# --- discarding small losses ---


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.29, 0.3, 0.5, 0.7, 0.9, 0.999])
@pytest.mark.parametrize("size", [1, 3, 10, 100])
def test_the_weighted_mean_is_the_mean_of_the_largest(fraction, size):
    losses = torch.rand(size, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    dropped = round(fraction * 1000) * size // 1000
    weights = optim.discard_weights(losses, fraction)
    assert (weights == 0).sum() == dropped
    kept = np.sort(losses.numpy())[dropped:]
    assert (weights * losses).mean().item() == pytest.approx(kept.mean(), rel=1e-12)
    # Against numpy's own choice, not only its value.
    assert set(np.argsort(losses.numpy())[:dropped]) == set(np.flatnonzero(weights.numpy() == 0))


def test_nothing_is_discarded_at_zero():
    assert torch.equal(optim.discard_weights(torch.tensor([3.0, 1.0, 2.0]), 0.0), torch.ones(3))


def test_among_ties_the_earlier_go_first():
    weights = optim.discard_weights(torch.tensor([5.0, 1.0, 1.0, 1.0, 0.5]), 0.6)
    torch.testing.assert_close(weights, torch.tensor([2.5, 0.0, 0.0, 2.5, 0.0]))
    weights = optim.discard_weights(torch.zeros(1000), 0.25)
    assert not weights[:250].any()
    torch.testing.assert_close(weights[250:], torch.full((750,), 4 / 3))


def test_a_loss_that_is_not_a_number_stays_visible():
    weights = optim.discard_weights(torch.tensor([1.0, math.nan, 2.0, math.inf]), 0.5)
    torch.testing.assert_close(weights, torch.tensor([0.0, 2.0, 0.0, 2.0]))


def test_no_gradient_flows_through_the_choice():
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    weights = optim.discard_weights(losses, 0.5)
    assert not weights.requires_grad
    (weights * losses).mean().backward()
    torch.testing.assert_close(losses.grad, torch.tensor([0.0, 0.0, 0.5, 0.5]))


def test_discarding_at_random_already_enlarges_the_gradient():
    # The control that G20's figure 9 lacks: 1/√(1 − p) where the losses say nothing.
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(1000, 400, generator=generator)
    for fraction in (0.3, 0.9):
        weights = optim.discard_weights(torch.rand(1000, generator=generator), fraction)
        larger = (weights[:, None] * gradients).mean(0).norm() / gradients.mean(0).norm()
        assert larger.item() == pytest.approx(1 / math.sqrt(1 - fraction), rel=0.1)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, math.nan])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        optim.discard_weights(torch.ones(3), fraction)


def test_losses_must_be_one_an_example():
    with pytest.raises(ValueError, match="one an example"):
        optim.discard_weights(torch.ones(3, 2), 0.1)
