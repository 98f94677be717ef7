"""Curvature against routes that share none of its code: finite differences, closed forms, dense
eigenvalues, another library.

All in float64 unless a test is about float32, so that tolerances are those of the method compared
with: about 1e-7 for central differences at a step of 1e-5, 1e-9 for dense linear algebra.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from curvlinops import GGNLinearOperator, HessianLinearOperator
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from sgdnoise.curvature import (
    MeanLoss,
    curvature_radii,
    gauss_newton,
    gradient_noise_scale,
    top_eigenvalues,
)
from sgdnoise.curvature.gauss_newton import gauss_newton_diagonal
from sgdnoise.curvature.hutchinson import estimated_diagonal, exact_diagonal
from sgdnoise.errors import InputError
from sgdnoise.ghost_norm import to_ghost_batch_norm
from sgdnoise.theory.stability import critical_learning_rate

cross_entropy = nn.functional.cross_entropy


class Quadratic(nn.Module):
    """Loss ½·wᵀAw whatever the data: its Hessian is A."""

    def __init__(self, matrix: np.ndarray, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.matrix = torch.from_numpy(matrix).to(dtype)
        self.w = nn.Parameter(torch.ones(len(matrix), dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return (0.5 * self.w @ self.matrix @ self.w).expand(len(x))


def mean_output(output: Tensor, _: Tensor) -> Tensor:
    return output.mean()


ANY = (torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.float64))
"""Data for a model that ignores them."""


def random_symmetric(size: int, seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(size, size))
    return (a + a.T) / 2


def classification(n: int = 23, dim: int = 5, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, classes, (n,), generator=generator)


def unequal_batches(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Three batches of sizes n − 5, 4 and 1: a wrong weighting shows."""
    return list(zip(x.split([len(x) - 5, 4, 1]), y.split([len(x) - 5, 4, 1]), strict=True))


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 3, batch_first=True)
        self.out = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x[..., None])[0][:, -1])


def conv_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Unflatten(1, (1, 5)),
        nn.Conv1d(1, 4, 3),
        nn.BatchNorm1d(4),
        nn.Softplus(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(12, 3),
    ).double()
    net[2].running_mean.normal_()
    net[2].running_var.uniform_(0.5, 2)
    return net.eval()


def dense_hessian(model: nn.Module, loss_fn, x: Tensor, y: Tensor) -> np.ndarray:
    """All data in one batch, parameters as one flat vector, torch.autograd.functional."""
    names = [n for n, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def value(vector: Tensor) -> Tensor:
        pieces = vector.split([s.numel() for s in shapes])
        values = {n: p.view(s) for n, p, s in zip(names, pieces, shapes, strict=True)}
        return loss_fn(functional_call(model, values, (x,)), y)

    return torch.autograd.functional.hessian(value, flat).numpy()


def plain_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    model.zero_grad()
    cross_entropy(model(x), y).backward()
    return torch.cat([p.grad.reshape(-1) for p in model.parameters()])


# --- products ---------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [mlp, conv_net, lambda: Recurrent().double()])
def test_hessian_product_is_the_central_difference_of_the_gradient(build) -> None:
    model = build()
    x, y = classification()
    loss = MeanLoss(model, cross_entropy, unequal_batches(x, y))
    v = torch.randn(loss.size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    product = loss.hessian_product(v)
    gradient = loss.gradient()
    start = nn.utils.parameters_to_vector(model.parameters()).detach()
    step = 1e-5
    sides = []
    for sign in (1, -1):
        nn.utils.vector_to_parameters(start + sign * step * v, model.parameters())
        sides.append(plain_gradient(model, x, y))
    nn.utils.vector_to_parameters(start, model.parameters())
    # Truncation step²·third derivative and rounding eps/step are both below 1e-9 here.
    torch.testing.assert_close(product, (sides[0] - sides[1]) / (2 * step), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(gradient, plain_gradient(model, x, y), rtol=1e-10, atol=1e-12)


def test_linear_regression_has_hessian_2_xtx_over_n() -> None:
    x = torch.randn(31, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.randn(31, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = MeanLoss(nn.Linear(4, 1, bias=False).double(), nn.functional.mse_loss, (x, y))
    hessian = loss.hessian_products(torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(hessian, 2 * x.T @ x / 31, rtol=1e-12, atol=1e-12)


def test_logistic_regression_has_hessian_xt_d_x_over_n() -> None:
    x = torch.randn(31, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (x[:, :1] > 0).double()
    model = nn.Linear(4, 1, bias=False).double()
    loss_fn = nn.functional.binary_cross_entropy_with_logits
    p = torch.sigmoid(model(x)).detach()
    expected = x.T @ (p * (1 - p) * x) / 31
    loss = MeanLoss(model, loss_fn, (x, y), batch_size=7)
    eye = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(loss.hessian_products(eye), expected, rtol=1e-12, atol=1e-12)
    # The output is linear in the parameters, so that Gauss-Newton is the Hessian.
    rows = torch.stack([loss.ggn_product(v) for v in eye])
    torch.testing.assert_close(rows, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("operator", "product"),
    [(HessianLinearOperator, "hessian_product"), (GGNLinearOperator, "ggn_product")],
)
def test_products_agree_with_curvlinops(operator, product: str) -> None:
    model, (x, y) = mlp(), classification()
    batches = unequal_batches(x, y)
    theirs = operator(model, nn.CrossEntropyLoss(), list(model.parameters()), batches)
    ours = MeanLoss(model, cross_entropy, batches)
    for v in torch.randn(3, ours.size, dtype=torch.float64):
        expected = torch.as_tensor(theirs @ v)
        torch.testing.assert_close(getattr(ours, product)(v), expected, rtol=1e-9, atol=1e-11)
    assert ours.products == 3


def test_example_gradients_are_those_of_batches_of_one() -> None:
    model, (x, y) = conv_net(), classification()
    each = MeanLoss(model, cross_entropy, (x, y)).example_gradients(x, y)
    for i in range(len(x)):
        torch.testing.assert_close(each[i], plain_gradient(model, x[i : i + 1], y[i : i + 1]))


def test_frozen_unused_and_linear_parameters_have_no_curvature() -> None:
    model = nn.Sequential(nn.Linear(5, 3).double())
    model[0].bias.requires_grad_(False)
    model.register_parameter("unused", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    x, y = classification()
    loss = MeanLoss(model, mean_output, (x, y))
    assert loss.names == ("unused", "0.weight")
    product = loss.hessian_product(torch.ones(loss.size, dtype=torch.float64))
    assert torch.equal(product, torch.zeros(17, dtype=torch.float64))
    assert torch.equal(loss.ggn_product(torch.ones(17, dtype=torch.float64)), product)
    assert loss.split(loss.gradient())["unused"].tolist() == [0, 0]
    assert loss.example_gradients(x, y).shape == (23, 17)


def test_model_and_its_gradients_are_left_as_they_were() -> None:
    model, (x, y) = conv_net(), classification()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    top_eigenvalues(model, cross_entropy, (x, y))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x, y),
        lambda x, y: [x, y],
        lambda x, y: TensorDataset(x, y),
        lambda x, y: DataLoader(TensorDataset(x, y), batch_size=6),
        lambda x, y: unequal_batches(x, y),
        lambda x, y: torch.utils.data.Subset(TensorDataset(x, y), range(23)),
    ],
)
def test_every_form_of_data_gives_the_same_gradient(form) -> None:
    model, (x, y) = mlp(), classification()
    loss = MeanLoss(model, cross_entropy, form(x, y), batch_size=10)
    assert loss.examples == 23
    assert loss.value == pytest.approx(cross_entropy(model(x), y).item(), rel=1e-12)
    torch.testing.assert_close(loss.gradient(), plain_gradient(model, x, y))


# --- eigenvalues ------------------------------------------------------------------------------


def test_top_eigenvalues_are_those_of_the_dense_hessian() -> None:
    model, (x, y) = mlp(), classification()
    dense = dense_hessian(model, cross_entropy, x, y)
    expected = np.linalg.eigvalsh(dense)[::-1]
    top = top_eigenvalues(model, cross_entropy, unequal_batches(x, y), k=4, tolerance=1e-8)
    assert top.converged
    # An eigenvalue is within its residual (at most 1e-8 · ‖H‖) of an exact one.
    np.testing.assert_allclose(top.values, expected[:4], atol=1e-8 * expected[0])
    assert top.norm == pytest.approx(np.abs(expected).max(), rel=1e-6)
    vectors = top.vectors.numpy()
    residuals = np.linalg.norm(vectors @ dense - top.values[:, None] * vectors, axis=1)
    np.testing.assert_allclose(top.residuals, residuals, rtol=1e-3, atol=1e-13)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-7)
    assert top.products == top.iterations + 4
    assert (top.examples, top.parameters) == (23, len(dense))


def test_top_eigenvalue_agrees_with_curvlinops_and_arpack() -> None:
    model, (x, y) = conv_net(), classification()
    theirs = HessianLinearOperator(model, nn.CrossEntropyLoss(), list(model.parameters()), [(x, y)])
    size = sum(p.numel() for p in model.parameters())
    operator = LinearOperator(
        (size, size),
        matvec=lambda v: np.asarray(theirs @ torch.from_numpy(v.ravel())),
        dtype=np.float64,
    )
    expected = eigsh(operator, k=1, which="LA", return_eigenvectors=False)[0]
    top = top_eigenvalues(model, cross_entropy, (x, y), tolerance=1e-8)
    assert top.converged
    assert top.values[0] == pytest.approx(expected, rel=1e-7)


def test_gauss_newton_eigenvalue_is_that_of_the_dense_matrix() -> None:
    model, (x, y) = mlp(), classification()
    theirs = GGNLinearOperator(model, nn.CrossEntropyLoss(), list(model.parameters()), [(x, y)])
    size = sum(p.numel() for p in model.parameters())
    dense = np.asarray(theirs @ torch.eye(size, dtype=torch.float64))
    top = top_eigenvalues(model, cross_entropy, (x, y), matrix="ggn", tolerance=1e-8)
    assert top.values[0] == pytest.approx(np.linalg.eigvalsh(dense)[-1], rel=1e-7)


def test_eigenvalues_are_algebraic_and_negative_ones_do_not_count() -> None:
    top = top_eigenvalues(Quadratic(np.diag([-9.0, 1.0, 2.0, 0.5])), mean_output, ANY, k=2)
    np.testing.assert_allclose(top.values, [2, 1], atol=1e-9)
    assert top.norm == pytest.approx(9)
    negative = top_eigenvalues(Quadratic(np.diag([-3.0, -1.0])), mean_output, ANY)
    assert negative.values[0] == pytest.approx(-1)


def test_repeated_eigenvalues_are_counted_as_often_as_they_occur() -> None:
    # Linear regression with 3 outputs: each eigenvalue of XᵀX occurs three times, and a Krylov
    # space holds one vector of each.
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.zeros(40, 3, dtype=torch.float64)
    once = np.linalg.eigvalsh((2 * x.T @ x / 120).numpy())[::-1]
    model = nn.Linear(6, 3, bias=False).double()
    top = top_eigenvalues(model, nn.functional.mse_loss, (x, y), k=5, tolerance=1e-8)
    assert top.converged
    np.testing.assert_allclose(top.values, np.repeat(once, 3)[:5], rtol=1e-7)


def test_all_eigenvalues_of_a_small_matrix() -> None:
    dense = random_symmetric(7, seed=3)
    top = top_eigenvalues(Quadratic(dense), mean_output, ANY, k=7)
    assert top.converged
    np.testing.assert_allclose(top.values, np.linalg.eigvalsh(dense)[::-1], atol=1e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_a_capped_run_says_that_it_has_not_converged(k: int) -> None:
    dense = random_symmetric(60, seed=0)
    top = top_eigenvalues(Quadratic(dense), mean_output, ANY, k=k, max_iterations=5)
    assert not top.converged
    assert top.iterations == 5
    exact = np.linalg.eigvalsh(dense)
    assert top.residuals.max() > 1e-4 * top.norm
    # Even so, an exact eigenvalue lies within each residual.
    distance = np.abs(top.values[:, None] - exact).min(axis=1)
    assert (distance <= top.residuals).all()
    enough = top_eigenvalues(Quadratic(dense), mean_output, ANY, k=k, max_iterations=120)
    assert enough.converged
    np.testing.assert_allclose(enough.values, exact[::-1][:k], atol=1e-4 * np.abs(exact).max())


def test_a_converged_lower_end_does_not_stop_the_search() -> None:
    # −100 stands alone and is found in a few steps; the top is the end of a dense row.
    dense = np.diag([-100.0, *np.linspace(1, 2, 60)])
    top = top_eigenvalues(Quadratic(dense), mean_output, ANY, tolerance=1e-6)
    assert top.converged
    assert top.values[0] == pytest.approx(2, abs=1e-4)


def test_a_first_run_that_uses_up_the_iterations_leaves_repeats_unsought() -> None:
    # The cap falls after the first run, which finds 2 and 1 but cannot know that 2 occurs twice.
    twice = Quadratic(np.diag([2.0, 2.0, 1.0, 0.0]))
    capped = top_eigenvalues(twice, mean_output, ANY, k=2, max_iterations=3)
    np.testing.assert_allclose(capped.values, [2, 1], atol=1e-9)
    assert capped.residuals.max() < 1e-9
    assert not capped.converged
    free = top_eigenvalues(twice, mean_output, ANY, k=2)
    np.testing.assert_allclose(free.values, [2, 2], atol=1e-9)
    assert free.converged


def test_float32_reaches_the_default_tolerance() -> None:
    model, (x, y) = mlp(), classification()
    expected = np.linalg.eigvalsh(dense_hessian(model, cross_entropy, x, y))[::-1][:3]
    top = top_eigenvalues(model.float(), cross_entropy, (x, y), k=3)
    assert top.converged
    assert top.vectors.dtype == torch.float32
    np.testing.assert_allclose(top.values, expected, atol=1e-4 * expected[0])


# --- critical learning rate -------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_gradient_descent_diverges_just_above_the_critical_learning_rate(momentum: float) -> None:
    rotation = np.linalg.qr(random_symmetric(5, seed=1))[0]
    dense = rotation @ np.diag([1.0, 2.0, 3.0, 4.0, 5.0]) @ rotation.T
    largest = top_eigenvalues(Quadratic(dense), mean_output, ANY, tolerance=1e-10).values[0]
    norms = {}
    for factor in (0.97, 1.03):
        model = Quadratic(dense)
        rate = factor * float(critical_learning_rate(largest, momentum))
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
        for _ in range(500):
            optimizer.zero_grad()
            model(ANY[0]).mean().backward()
            optimizer.step()
        norms[factor] = (model.matrix @ model.w).norm().item()
    assert norms[0.97] < 1e-6
    assert norms[1.03] > 1e6


# --- diagonal ---------------------------------------------------------------------------------


def test_hutchinson_diagonal_and_its_error_are_those_of_theory() -> None:
    dense = random_symmetric(40, seed=7)
    loss = MeanLoss(Quadratic(dense), mean_output, ANY)
    mean, error = estimated_diagonal(loss, 1000, torch.Generator().manual_seed(0))
    theory = np.sqrt((np.sum(dense**2, axis=1) - np.diag(dense) ** 2) / 1000)
    assert np.abs((mean.numpy() - np.diag(dense)) / theory).max() < 4.5
    np.testing.assert_allclose(error.numpy(), theory, rtol=0.12)
    # Of two samples a and b the mean's standard error is |a − b|/2.
    both = [estimated_diagonal(loss, probes, torch.Generator().manual_seed(1)) for probes in (1, 2)]
    first, (mean, error) = both[0][0], both[1]
    torch.testing.assert_close(error, (mean - first).abs())


# --- curvature radius -------------------------------------------------------------------------


class Parabola(nn.Module):
    """Σ a·(w − b)², G20-E12, in two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor([[1.0, -2.0, 4.0]], dtype=torch.float64))
        self.second = nn.Parameter(torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        a = torch.tensor([0.01, 0.02, -0.04], dtype=torch.float64)
        b = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
        value = (a * self.first**2).sum() + (100 * (self.second - b) ** 2).sum()
        return value.expand(len(x))


def test_radii_of_a_parabola() -> None:
    radii = curvature_radii(Parabola(), mean_output, ANY)
    assert (radii.diagonal, radii.probes, radii.products) == ("exact", 0, 6)
    first, second = radii.layers
    # first: g = 2aw = 0.02, −0.08, −0.32 and h = 2a: R = (1 + g²)^1.5/|h|, sorted.
    expected = sorted((1 + g**2) ** 1.5 / h for g, h in ((0.02, 0.02), (0.08, 0.04), (0.32, 0.08)))
    assert first.true == pytest.approx(expected)
    # b = 0 there, so that |w/g| = 1/|h|: G20's approximation but for the (1 + g²).
    assert first.approximate == pytest.approx((12.5, 25, 50))
    assert first.from_rms == pytest.approx(math.sqrt(3 / (0.02**2 + 0.04**2 + 0.08**2)))
    assert (first.negative, first.undefined, first.relative_error) == (pytest.approx(1 / 3), 0, 0)
    # second: g = 200·(w − b) = 400, 0, −400: one 0/0 left out, one w = 0.
    assert second.true[1] == pytest.approx((1 + 400**2) ** 1.5 / 200)
    assert second.true[0] == pytest.approx(1 / 200)
    assert second.approximate == pytest.approx((0, 0, 3 / 400))
    assert second.undefined == pytest.approx(1 / 3)
    assert second.from_rms == pytest.approx(1 / 200)


def test_exact_radii_are_those_of_the_dense_hessian() -> None:
    model, (x, y) = mlp(), classification()
    diagonal = np.diag(dense_hessian(model, cross_entropy, x, y))
    gradient = plain_gradient(model, x, y).numpy()
    radii = curvature_radii(model, cross_entropy, unequal_batches(x, y))
    every = (1 + gradient**2) ** 1.5 / np.abs(diagonal)
    pieces = np.split(every, np.cumsum([p.numel() for p in model.parameters()])[:-1])
    medians = [np.sort(p)[(len(p) - 1) // 2] for p in pieces]
    assert [layer.true[1] for layer in radii.layers] == pytest.approx(medians, rel=1e-8)
    assert [layer.name for layer in radii.layers] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def rectified(classes: int = 4) -> nn.Module:
    """A convolution net with batch norms in evaluation mode, whose statistics are data's."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12, classes),
    ).double()
    net(torch.randn(50, 1, 6, 6, dtype=torch.float64))
    return net.eval()


def held_small(output: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of sharper outputs, and a bowl on top: no Fisher information."""
    return cross_entropy(3 * output, y) + output.square().sum(1).mean()


@pytest.mark.parametrize("loss_fn", [cross_entropy, held_small])
def test_gauss_newtons_diagonal_is_the_hessians_in_a_net_of_rectifiers(loss_fn) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(20, 1, 6, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(4, (20,), generator=generator)
    net = rectified()
    loss = MeanLoss(net, loss_fn, unequal_batches(x, y))
    want = exact_diagonal(loss)
    assert gauss_newton_diagonal(loss).tolist() == pytest.approx(want.tolist(), rel=1e-9, abs=1e-14)
    radii = curvature_radii(net, loss_fn, unequal_batches(x, y), diagonal="gauss-newton")
    slow = curvature_radii(net, loss_fn, (x, y), diagonal="exact")
    assert (radii.diagonal, radii.probes, radii.products) == ("gauss-newton", 0, 0)
    for ours, theirs in zip(radii.layers, slow.layers, strict=True):
        assert ours.true == pytest.approx(theirs.true, rel=1e-9)
        assert (ours.relative_error, ours.negative) == (0, 0)


def test_gauss_newtons_diagonal_is_a_librarys(monkeypatch) -> None:
    # Of any net: with smooth activations it is not the Hessian's.
    monkeypatch.setattr(gauss_newton, "NUMBERS_AT_ONCE", 300)  # a few examples at once
    x, y = classification()
    net = mlp()
    loss = MeanLoss(net, cross_entropy, unequal_batches(x, y))
    library = GGNLinearOperator(
        net, nn.CrossEntropyLoss(), list(net.parameters()), unequal_batches(x, y)
    )
    want = np.diag(library @ torch.eye(loss.size, dtype=torch.float64))
    assert gauss_newton_diagonal(loss).tolist() == pytest.approx(want.tolist(), rel=1e-9)
    assert not np.allclose(want, exact_diagonal(loss), rtol=1e-2)


def test_gauss_newtons_diagonal_is_refused_where_it_is_not_the_hessians() -> None:
    with pytest.raises(InputError, match=r"not linear in each of its parameters.*'hutchinson'"):
        curvature_radii(mlp(), cross_entropy, classification(), diagonal="gauss-newton")
    with pytest.raises(InputError, match=r"outputs of shape .examples, classes"):
        curvature_radii(Parabola(), mean_output, ANY, diagonal="gauss-newton")


def test_hutchinson_radii_come_near_the_exact_ones_and_know_their_error() -> None:
    model, (x, y) = mlp(), classification()
    exact = curvature_radii(model, cross_entropy, (x, y))
    rough = curvature_radii(model, cross_entropy, (x, y), diagonal="hutchinson", probes=10)
    fine = curvature_radii(model, cross_entropy, (x, y), diagonal="hutchinson", probes=2000)
    for e, r, f in zip(exact.layers, rough.layers, fine.layers, strict=True):
        assert f.from_rms == pytest.approx(e.from_rms, rel=0.05)
        assert f.true[1] == pytest.approx(e.true[1], rel=0.2)
        assert f.approximate == e.approximate
        # The standard error falls 14 times; the median of a ratio over as few as 3, less surely.
        assert f.relative_error < r.relative_error / 3
    assert (fine.diagonal, fine.probes, fine.products) == ("hutchinson", 2000, 2000)


def test_rms_radius_is_free_of_the_estimators_variance() -> None:
    # Off-diagonal noise (30 probes of 800 entries of std 0.1) has variance 0.27 at a diagonal of
    # rms 1: left in h², it would make the radius 11% too small.
    dense = 0.1 * random_symmetric(800, seed=8) * math.sqrt(2)
    np.fill_diagonal(dense, np.where(np.arange(800) % 2, 1.0, -1.0))
    radii = curvature_radii(Quadratic(dense), mean_output, ANY, diagonal="hutchinson", probes=30)
    assert radii.layers[0].from_rms == pytest.approx(1, rel=0.04)


def test_a_dead_layer_has_an_infinite_radius() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        model[0].bias.fill_(-100)
    radii = curvature_radii(model, cross_entropy, classification())
    assert radii.layers[0].true == (math.inf,) * 3


# --- bad input --------------------------------------------------------------------------------


class Reshuffling:
    """Batches in another order, hence other batches, each time: no sampler to give it away."""

    def __init__(self, augment: bool) -> None:
        self.augment = augment

    def __iter__(self):
        x, y = classification()
        order = torch.randperm(len(x))
        if self.augment:
            x = x + torch.randn_like(x)
        else:
            x, y = x[order], y[order]
        return iter([(x[:12], y[:12]), (x[12:], y[12:])])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(*classification(), strict=True))


def with_batch_norm(**options) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, **options), nn.Linear(4, 3)).double()


class SpikedGhostBatchNorm(nn.Module):
    """A batch norm in name only, as another package might have it."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def random_noise() -> nn.Module:
    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.randn_like(x)

    return nn.Sequential(Noise(), nn.Linear(5, 3)).double()


X, Y = classification()
WEIGHTED = WeightedRandomSampler([1.0] * 23, 23)
SHUFFLED = BatchSampler(RandomSampler(range(23)), batch_size=4, drop_last=False)


@pytest.mark.parametrize(
    ("model", "loss_fn", "data", "message"),
    [
        (
            mlp(),
            cross_entropy,
            DataLoader(TensorDataset(X, Y), 4, shuffle=True),
            "the DataLoader shuffles",
        ),
        (
            mlp(),
            cross_entropy,
            DataLoader(TensorDataset(X, Y), 4, sampler=WEIGHTED),
            "the DataLoader shuffles",
        ),
        (mlp(), cross_entropy, DataLoader(TensorDataset(X, Y), batch_sampler=SHUFFLED), "the Data"),
        (mlp(), cross_entropy, Reshuffling(augment=False), "two passes"),
        (mlp(), cross_entropy, Reshuffling(augment=True), "two passes"),
        (mlp(), cross_entropy, iter([(X, Y)]), "only once"),
        (mlp(), cross_entropy, Stream(), "wrap it in a DataLoader"),
        (mlp(), cross_entropy, [], "empty"),
        (mlp(), cross_entropy, (X[:0], Y[:0]), "empty"),
        (mlp(), cross_entropy, DataLoader(TensorDataset(X[:0], Y[:0])), "empty"),
        (mlp(), cross_entropy, [(X, Y), (X[:0], Y[:0])], "non-zero number of examples"),
        (mlp(), cross_entropy, (X, Y[:5]), "must be equal"),
        (mlp(), cross_entropy, [(X, Y[:5])], "same, non-zero number"),
        (mlp(), cross_entropy, [X], "two tensors"),
        (mlp(), cross_entropy, 3, "cannot be read"),
        (mlp(), nn.CrossEntropyLoss(reduction="none"), (X, Y), "scalar"),
        (mlp(), lambda o, y: cross_entropy(o, y).item(), (X, Y), "scalar"),
        (mlp(), nn.CrossEntropyLoss(reduction="sum"), (X, Y), "not the mean"),
        (
            mlp(),
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 9.0]).double()),
            (X, Y),
            "not the mean",
        ),
        (mlp(), lambda o, y: (o - o.mean(0)).square().mean(), (X, Y), "not the mean"),
        (mlp(), lambda o, y: cross_entropy(o, y) * math.nan, (X, Y), "diverged"),
        (mlp().requires_grad_(False), cross_entropy, (X, Y), "no parameter"),
        (mlp().bfloat16(), cross_entropy, (X, Y), "float32 or all float64"),
        (nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 3).double()), cross_entropy, (X, Y), "all fl"),
        (with_batch_norm(), cross_entropy, (X, Y), r"BatchNorm1d '1' is in train mode"),
        (with_batch_norm(track_running_stats=False).eval(), cross_entropy, (X, Y), "statistics"),
        (nn.Sequential(mlp(), SpikedGhostBatchNorm()), cross_entropy, (X, Y), "in train mode"),
        (nn.Sequential(mlp(), nn.Dropout(0.5)), cross_entropy, (X, Y), "Dropout '1' drops"),
        (
            nn.LSTM(1, 3, num_layers=2, dropout=0.5, batch_first=True).double(),
            cross_entropy,
            (X, Y),
            "LSTM '' drops",
        ),
        (random_noise().eval(), cross_entropy, (X, Y), "not the mean"),
    ],
)
def test_meaningless_requests_are_refused_in_one_line(model, loss_fn, data, message) -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match=message) as caught:
        top_eigenvalues(model, loss_fn, data)
    assert "\n" not in str(caught.value)


def test_random_model_on_single_examples_is_refused_too() -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match="two passes"):
        MeanLoss(random_noise(), cross_entropy, (X, Y), batch_size=1)


def without_statistics(ghost: int) -> nn.Module:
    """A net whose ghosts are normalised by themselves, in evaluation too."""
    net = to_ghost_batch_norm(with_batch_norm(track_running_stats=False), ghost)
    return net.eval()


def test_with_ghosts_of_their_own_statistics_the_loss_is_the_mean_over_ghosts() -> None:
    net = without_statistics(4)
    norm = net[1]
    for size in (8, 4):
        loss = MeanLoss(net, cross_entropy, (X[:8], Y[:8]), batch_size=size)
        v = torch.linspace(-1, 1, loss.size, dtype=torch.float64)

        def slope(shift: float, v: Tensor = v, eps: float = norm.eps) -> Tensor:
            """The gradient at weights moved along v, by PyTorch's own batch norm."""
            moved = [p.detach().clone() for p in net.parameters()]
            for p, d in zip(moved, v.split([p.numel() for p in moved]), strict=True):
                p += shift * d.view_as(p)
                p.requires_grad_()
            w, b, gamma, beta, out, bias = moved
            total = torch.zeros((), dtype=torch.float64)
            for x, y in ((X[:4], Y[:4]), (X[4:8], Y[4:8])):
                hidden = F.batch_norm(F.linear(x, w, b), None, None, gamma, beta, True, 0, eps)
                total = total + cross_entropy(F.linear(hidden, out, bias), y) / 2
            return torch.cat([g.reshape(-1) for g in torch.autograd.grad(total, moved)])

        torch.testing.assert_close(loss.gradient(), slope(0.0), rtol=1e-9, atol=1e-11)
        numeric = (slope(1e-5) - slope(-1e-5)) / 2e-5
        torch.testing.assert_close(loss.hessian_product(v), numeric, rtol=1e-5, atol=1e-7)


def test_a_ghost_that_is_cut_is_refused_and_the_last_may_be_smaller() -> None:
    net = without_statistics(4)
    with pytest.raises(InputError, match="batches of 6 and then 4 examples cut a ghost of 4"):
        MeanLoss(net, cross_entropy, [(X[:6], Y[:6]), (X[6:10], Y[6:10])])
    MeanLoss(net, cross_entropy, [(X[:4], Y[:4]), (X[4:7], Y[4:7])])
    with pytest.raises(InputError, match="batches of 8 and then 1 examples cut a ghost of 4"):
        MeanLoss(net, cross_entropy, (X[:9], Y[:9]), batch_size=8)
    with pytest.raises(InputError, match="no example has a gradient of its own"):
        MeanLoss(net, cross_entropy, (X[:8], Y[:8])).one_by_one("choose").__enter__()
    for method in ("per-example", "batches"):
        with pytest.raises(InputError, match="no example has a gradient of its own"):
            gradient_noise_scale(net, cross_entropy, (X[:8], Y[:8]), method=method, groups=4)
    # A ghost batch norm in name only says nothing of running statistics.
    named = SpikedGhostBatchNorm()
    named.ghost_batch_size = 4
    MeanLoss(nn.Sequential(mlp(), named).eval(), cross_entropy, (X, Y))
    smaller = to_ghost_batch_norm(nn.BatchNorm1d(3, track_running_stats=False), 2)
    other = nn.Sequential(net, smaller)
    with pytest.raises(InputError, match="the model's ghosts are of 2, 4 examples"):
        MeanLoss(other.double().eval(), cross_entropy, (X[:8], Y[:8]))


def test_ghost_batch_norm_is_refused_in_train_mode_and_batch_norm_in_eval_mode() -> None:
    plain = MeanLoss(conv_net(), cross_entropy, (X, Y))
    v = torch.linspace(-1, 1, plain.size, dtype=torch.float64)
    ghost = to_ghost_batch_norm(conv_net(), 4)
    product = MeanLoss(ghost, cross_entropy, (X, Y)).hessian_product(v)
    torch.testing.assert_close(product, plain.hessian_product(v), rtol=1e-9, atol=1e-11)
    ghost[2].train()
    with pytest.raises(InputError, match="GhostBatchNorm '2' is in train mode"):
        MeanLoss(ghost, cross_entropy, (X, Y))


def test_gauss_newton_of_a_model_with_two_outputs_is_refused() -> None:
    class Two(nn.Sequential):
        def forward(self, x: Tensor) -> tuple[Tensor, int]:  # type: ignore[override]
            return super().forward(x), 0

    def first(output: tuple[Tensor, int], y: Tensor) -> Tensor:
        return cross_entropy(output[0], y)

    assert top_eigenvalues(Two(mlp()), first, (X, Y)).converged
    with pytest.raises(InputError, match="output is one tensor"):
        top_eigenvalues(Two(mlp()), first, (X, Y), matrix="ggn")


def test_a_loss_outside_autograd_is_refused() -> None:
    loss = MeanLoss(mlp(), lambda o, y: cross_entropy(o.detach(), y), (X, Y))
    with pytest.raises(InputError, match="does not depend on the parameters"):
        loss.hessian_product(torch.ones(loss.size))


def test_dropout_that_drops_nothing_is_no_reason_to_refuse() -> None:
    model = nn.Sequential(mlp(), nn.Dropout(0.0))
    assert MeanLoss(model, cross_entropy, (X, Y)).examples == 23
    assert MeanLoss(nn.Sequential(mlp(), nn.Dropout(0.5)).eval(), cross_entropy, (X, Y))


@pytest.mark.parametrize(
    ("call", "options"),
    [
        (top_eigenvalues, {"k": 0}),
        (top_eigenvalues, {"k": 1000}),
        (top_eigenvalues, {"tolerance": 0.0}),
        (top_eigenvalues, {"tolerance": math.nan}),
        (top_eigenvalues, {"max_iterations": 0}),
        (top_eigenvalues, {"matrix": "fisher"}),
        (top_eigenvalues, {"batch_size": 0}),
        (curvature_radii, {"probes": 1}),
        (curvature_radii, {"diagonal": "guess"}),
    ],
)
def test_options_out_of_range_are_refused(call, options) -> None:
    with pytest.raises(InputError):
        call(mlp(), cross_entropy, (X, Y), **options)


def test_a_loss_without_second_derivatives_is_refused() -> None:
    """√|w| at w = 0: the loss is finite and its curvature is not."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    data = (torch.ones(2, 1, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64))
    with pytest.raises(InputError, match="no finite second derivative"):
        top_eigenvalues(model, lambda output, y: output.abs().sqrt().mean(), data)


def test_a_vector_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="one entry a parameter"):
        MeanLoss(mlp(), cross_entropy, (X, Y)).ggn_product(torch.ones(3))


def test_distances_are_of_the_gradient_of_other_examples_where_they_are_given() -> None:
    model, (x, y) = conv_net(), classification()
    part = (x[:8], y[:8])
    own, whole = (
        curvature_radii(model, cross_entropy, part, diagonal="exact", whole=given).layers[0]
        for given in (None, (x, y))
    )
    assert own.distance != whole.distance
    assert own.from_rms == whole.from_rms
    w = next(model.parameters())
    g = plain_gradient(model, x, y)[: w.numel()].view_as(w)
    want = np.quantile((w / g).detach().abs().numpy(), 0.5, method="inverted_cdf")
    assert whole.approximate[1] == pytest.approx(want)


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_many_products_are_those_one_by_one(kind):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randint(4, (20,))
    loss = MeanLoss(model, nn.CrossEntropyLoss(), (x, y), batch_size=8)
    vectors = torch.randn(3, loss.size, dtype=torch.float64)
    one = getattr(loss, f"{kind}_product")
    each = torch.stack([one(row) for row in vectors])
    before = loss.products
    assert torch.allclose(getattr(loss, f"{kind}_products")(vectors), each, rtol=1e-10)
    assert loss.products - before == 3
