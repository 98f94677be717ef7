"""CBLR: curvatures against closed forms and finite differences, stability on parabolas."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sgdnoise import optim
from sgdnoise.errors import InputError
from sgdnoise.optim.cblr import EXACT_UP_TO


def net() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    return model, torch.randn(10, 3).double(), torch.randint(0, 2, (10,))


def held(optimizer: optim.CBLR, model: nn.Module) -> list[torch.Tensor]:
    return [optimizer._curvatures[p] for p in model.parameters()]


def finite_differences(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """The Hessian's diagonal from second differences of the loss, without any autograd."""
    step = 1e-4
    diagonals = []
    with torch.no_grad():
        for p in model.parameters():
            flat, diagonal = p.view(-1), torch.zeros_like(p)
            for i in range(len(flat)):
                kept, losses = flat[i].item(), []
                for shift in (-step, 0.0, step):
                    flat[i] = kept + shift
                    losses.append(nn.functional.cross_entropy(model(x), y).item())
                flat[i] = kept
                diagonal.view(-1)[i] = (losses[0] - 2 * losses[1] + losses[2]) / step**2
            diagonals.append(diagonal)
    return diagonals


def test_the_radius_of_a_circle_is_its_radius():
    # Lower half of a circle of radius 3: y = −√(9 − x²), with y' and y'' in closed form.
    x = torch.linspace(-2.9, 2.9, 21, dtype=torch.float64)
    slope = x / (9 - x**2).sqrt()
    second = 9 / (9 - x**2) ** 1.5
    torch.testing.assert_close(
        optim.curvature_radius(slope, second), torch.full_like(x, 3.0), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        optim.curvature_radius(slope, -second), torch.full_like(x, 3.0), rtol=1e-12, atol=0
    )


def test_the_exact_diagonal_agrees_with_finite_differences():
    model, x, y = net()
    optimizer = optim.CBLR(model.parameters(), 0.1, diagonal="exact")
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.backward(loss)
    for h, expected in zip(held(optimizer, model), finite_differences(model, x, y), strict=True):
        # Second differences of a float64 loss near 1 with step 1e-4: 1e-8 of rounding.
        torch.testing.assert_close(h, expected, rtol=1e-5, atol=1e-7)
    gradients = [p.grad.clone() for p in model.parameters()]
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    for g, p in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(g, p.grad)


def test_one_probe_is_exact_where_the_hessian_is_diagonal():
    h = torch.tensor([0.5, -2.0, 30.0], dtype=torch.float64)
    w = nn.Parameter(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    optimizer = optim.CBLR([w], 0.1)
    optimizer.backward((h * w**2).sum() / 2)
    torch.testing.assert_close(optimizer._curvatures[w], h)


def test_the_estimate_is_unbiased_with_the_known_spread():
    torch.manual_seed(1)
    a = torch.randn(6, 6).double()
    a = a + a.T
    w = nn.Parameter(torch.randn(6).double())
    samples = []
    optimizer = optim.CBLR([w], 0.1, generator=torch.Generator().manual_seed(3))
    for _ in range(3000):
        optimizer.zero_grad()
        optimizer.backward(w @ a @ w / 2)
        samples.append(optimizer._curvatures[w])
    drawn = torch.stack(samples)
    spread = (a.square().sum(1) - a.diagonal().square()).sqrt()
    # Mean within 4 of its standard errors, spread within 4 of 1/√(2·3000).
    assert ((drawn.mean(0) - a.diagonal()).abs() < 4 * spread / 3000**0.5).all()
    torch.testing.assert_close(drawn.std(0), spread, rtol=4 / 6000**0.5, atol=0)
    many = optim.CBLR([w], 0.1, probes=400)
    many.backward(w @ a @ w / 2)
    assert ((many._curvatures[w] - a.diagonal()).abs() < 5 * spread / 20).all()


def test_one_step_is_g20s_rule():
    model, x, y = net()
    before = [p.detach().clone() for p in model.parameters()]
    diagonal = finite_differences(model, x, y)
    optimizer = optim.CBLR(
        model.parameters(), 0.01, diagonal="exact", damping=0.25, weight_decay=0.1
    )
    optimizer.backward(nn.functional.cross_entropy(model(x), y))
    gradients = [p.grad.clone() for p in model.parameters()]
    optimizer.step()
    for p, w, g, h in zip(model.parameters(), before, gradients, diagonal, strict=True):
        slope = (g + 0.1 * w).numpy()
        curvature = np.abs(h.numpy() + 0.1)
        radius = (1 + slope**2) ** 1.5 / (curvature + 0.25 * curvature.mean())
        np.testing.assert_allclose(
            p.detach().numpy(), w.numpy() - 0.01 * radius * slope, rtol=1e-6, atol=1e-9
        )


def descend(a: float, start: float, rate: float, steps: int) -> list[float]:
    """Distances to the minimum of L = a(w − 2)² under CBLR with the exact curvature."""
    w = nn.Parameter(torch.tensor([2.0 + start], dtype=torch.float64))
    optimizer = optim.CBLR([w], rate, diagonal="exact", damping=0.0)
    distances = [start]
    for _ in range(steps):
        optimizer.zero_grad()
        optimizer.backward((a * (w - 2) ** 2).sum())
        optimizer.step()
        distances.append(w.item() - 2)
    return distances


@pytest.mark.parametrize("a", [0.5, 3.0])
@pytest.mark.parametrize("start", [1e-3, 1.0])
def test_a_parabola_is_stable_just_below_the_bound_and_not_above(a, start):
    bound = 2 / (1 + (2 * a * start) ** 2) ** 1.5
    below = descend(a, start, 0.98 * bound, 60)
    assert abs(below[1]) < abs(below[0])
    assert abs(below[-1]) < 0.5 * start
    above = descend(a, start, 1.02 * bound, 3)
    assert abs(above[1]) > abs(above[0])
    assert abs(above[3]) > abs(above[2]) > abs(above[1])
    # The contraction is 1 − γ(1 + g²)^1.5, in closed form.
    assert below[1] / start == pytest.approx(1 - 0.98 * 2, rel=1e-9)


def test_far_from_the_minimum_the_step_is_225_newton_steps():
    # REFERENCE C, G20-E9: a = 3, w − b = 1 has g = 6 and (1 + 36)^1.5 = 225.
    distances = descend(3.0, 1.0, 1e-4, 1)
    assert (1 - distances[1]) / 1e-4 == pytest.approx(37**1.5, rel=1e-9)
    assert round(37**1.5) == 225


def test_near_the_minimum_it_is_newtons_method():
    # g = 2e-3: the factor (1 + g²)^1.5 is 1 + 6e-6.
    assert abs(descend(1.0, 1e-3, 1.0, 1)[1]) < 1e-8


def test_the_approximation_is_off_by_w_over_w_minus_b():
    # L = a(w − b)² with w = 0.99 b: |w/g| is 99 times the true radius 1/2a, for g ≪ 1 (G20-E17).
    a, b = 1e-3, 1.0
    w = torch.tensor([0.99 * b], dtype=torch.float64)
    g = 2 * a * (w - b)
    true = optim.curvature_radius(g, torch.tensor([2 * a], dtype=torch.float64))
    approximate = optim.elementwise([w], [g], 0.0)[0]
    assert (approximate / true).item() == pytest.approx(99, rel=1e-6)


def test_micro_batches_add_up():
    model, x, y = net()
    whole = optim.CBLR(model.parameters(), 0.1, diagonal="exact")
    whole.backward(nn.functional.cross_entropy(model(x), y))
    expected = [(p.grad.clone(), h.clone()) for p, h in whole._curvatures.items()]
    whole.zero_grad()
    for part in (slice(0, 4), slice(4, 10)):
        share = len(y[part]) / len(y)
        whole.backward(share * nn.functional.cross_entropy(model(x[part]), y[part]))
    for (g, h), p in zip(expected, model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, g)
        torch.testing.assert_close(whole._curvatures[p], h)


@pytest.mark.parametrize("diagonal", ["exact", "hutchinson"])
def test_straight_and_unused_parameters(diagonal):
    straight, unused, curved = (nn.Parameter(torch.ones(2).double()) for _ in range(3))
    optimizer = optim.CBLR([straight, unused, curved], 0.1, diagonal=diagonal, damping=0.0)
    optimizer.backward(straight.sum() + (curved**4).sum())
    optimizer.step()
    # No curvature: the plain rate. 4 w³ = 4 and 12 w² = 12: (1 + 16)^1.5/12.
    torch.testing.assert_close(straight.detach(), torch.full((2,), 0.9).double())
    assert (unused == 1).all()
    torch.testing.assert_close(
        curved.detach(), torch.full((2,), 1 - 0.1 * 17**1.5 / 12 * 4).double()
    )
    # Zero gradient at zero curvature stays where it is.
    flat = nn.Parameter(torch.zeros(2).double())
    still = optim.CBLR([flat], 0.1, diagonal=diagonal)
    still.backward((flat**4).sum())
    still.step()
    assert (flat == 0).all()


def test_a_loss_without_any_curvature():
    w = nn.Parameter(torch.ones(3))
    for diagonal in ("exact", "hutchinson"):
        optimizer = optim.CBLR([w], 0.1, diagonal=diagonal)
        optimizer.backward(w.sum())
        assert not optimizer._curvatures[w].any()


def test_without_damping_it_diverges_where_it_learns_with():
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.tensor(digits.data / 8 - 1, dtype=torch.float32)
    y = torch.tensor(digits.target)

    def train(damping: float) -> float:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = optim.CBLR(model.parameters(), 0.01, damping=damping, weight_decay=5e-4)
        for step in range(120):
            index = torch.arange(128 * step, 128 * (step + 1)) % len(y)
            optimizer.zero_grad()
            optimizer.backward(nn.functional.cross_entropy(model(x[index]), y[index]))
            optimizer.step()
        with torch.no_grad():
            return nn.functional.cross_entropy(model(x), y).item()

    assert train(0.1) < 1.0
    assert not train(0.0) < 3.0


def test_probes_resume_with_the_state_and_differ_between_steps():
    torch.manual_seed(2)
    a = torch.randn(5, 5).double()
    w = nn.Parameter(torch.randn(5).double())

    def draw(optimizer: optim.CBLR) -> torch.Tensor:
        optimizer.zero_grad()
        optimizer.backward(w @ (a + a.T) @ w)
        return optimizer._curvatures[w].clone()

    optimizer = optim.CBLR([w], 0.1)
    first = draw(optimizer)
    saved = copy.deepcopy(optimizer.state_dict())
    second = [draw(optimizer) for _ in range(4)]
    assert any(not torch.equal(first, s) for s in second)
    other = optim.CBLR([w], 0.1, generator=torch.Generator().manual_seed(77))
    other.load_state_dict(saved)
    assert all(torch.equal(draw(other), s) for s in second)


def test_a_plain_backward_is_refused():
    model, x, y = net()
    optimizer = optim.build_optimizer("cblr", model, learning_rate=0.1)
    nn.functional.cross_entropy(model(x), y).backward()
    with pytest.raises(RuntimeError, match=r"backward\(loss\)"):
        optimizer.step()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"diagonal": "newton"}, "unknown diagonal"),
        ({"probes": 0}, "at least 1 probe"),
        ({"damping": -1.0}, "damping"),
    ],
)
def test_bad_options_are_refused(options, told):
    with pytest.raises(InputError, match=told):
        optim.CBLR([nn.Parameter(torch.ones(1))], 0.1, **options)


def test_the_exact_diagonal_is_for_small_nets():
    large = nn.Parameter(torch.ones(EXACT_UP_TO + 1))
    with pytest.raises(InputError, match="choose hutchinson"):
        optim.build_optimizer("cblr-exact", [large], learning_rate=0.1)
    optim.build_optimizer("cblr", [large], learning_rate=0.1)
