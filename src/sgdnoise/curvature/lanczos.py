"""Lanczos on the curvature matrix: top eigenvalues with their residuals.

It keeps the whole Krylov basis and reorthogonalises against it twice a step, because plain Lanczos
loses orthogonality as soon as the first eigenvalue converges and then counts it several times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from torch import Tensor, nn

from sgdnoise.curvature.mean_loss import Data, LossFunction, MeanLoss
from sgdnoise.errors import InputError

Matrix = Literal["hessian", "ggn"]
Product = Callable[[Tensor], Tensor]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TopEigenvalues:
    """The k largest eigenvalues of a curvature matrix, and the evidence for them.

    An exact eigenvalue lies within `residuals[i]` of `values[i]`, whatever the flag says; that it
    is the i-th largest one is Lanczos's word, sure up to the random start.
    """

    values: Array
    """(k,), largest first; algebraic, so negative ones come last whatever their size."""
    residuals: Array
    """(k,), ‖Hv − λv‖ with ‖v‖ = 1, each from a product of its own."""
    vectors: Tensor
    """(k, P), the unit eigenvectors v."""
    converged: bool
    """Every residual is at most tolerance · ‖H‖, and nothing larger is left to be found."""
    norm: float
    """‖H‖₂ as seen by Lanczos: the largest absolute Ritz value, a lower bound."""
    iterations: int
    """Lanczos steps."""
    products: int
    """Matrix-vector products, those for the residuals included; each reads all data once."""
    examples: int
    parameters: int
    matrix: Matrix


def top_eigenvalues(
    model: nn.Module,
    loss_fn: LossFunction,
    data: Data,
    k: int = 1,
    *,
    matrix: Matrix = "hessian",
    tolerance: float = 1e-4,
    max_iterations: int = 200,
    seed: int = 0,
    batch_size: int = 1024,
) -> TopEigenvalues:
    """The k algebraically largest eigenvalues of the Hessian (or Gauss-Newton) of the mean loss.

    Use `values[0]` as λmax: it is what bounds the learning rate. It is not the largest in absolute
    value: a direction of negative curvature is unstable at every learning rate and bounds none.
    Weight decay is not in it.
    For k > 1 eigenvalues that repeat are counted as often as they occur: after the first run,
    Lanczos starts afresh orthogonally to what was found until nothing larger is left, which costs
    about one run more.

    Cost: one pass of double backpropagation over the data a product; memory
    (max_iterations + 1) · P numbers.

    Args:
        k: number of eigenvalues.
        tolerance: residual that counts as converged, relative to ‖H‖. Rounding bounds it below at
            about 1e-6 in float32.
        max_iterations: Lanczos steps in all; reaching it gives the best estimates so far and
            `converged=False`.

    Raises:
        InputError: as `MeanLoss`; k not in 1…P; a matrix of another name; a tolerance or
            max_iterations that is not positive; second derivatives that are not finite.
    """
    loss = MeanLoss(model, loss_fn, data, batch_size=batch_size)
    if not 1 <= k <= loss.size:
        raise InputError(f"k must lie between 1 and the {loss.size} parameters, got {k}")
    if not tolerance > 0 or max_iterations < 1:
        raise InputError(
            f"tolerance and max_iterations must be positive, got {tolerance} and {max_iterations}"
        )
    product = _product(loss, matrix)
    generator = torch.Generator().manual_seed(seed)

    found: list[tuple[float, Tensor]] = []
    norm, iterations, complete = 0.0, 0, False
    while not complete and iterations < max_iterations and len(found) < loss.size:
        start = torch.randn(loss.size, generator=generator, dtype=loss.dtype).to(loss.device)
        steps = min(max_iterations - iterations, loss.size - len(found))
        run = Lanczos(product, start, steps, deflated=[v for _, v in found])
        # The first run looks for all k; the others for what repeats, and one is enough to decide.
        wanted = 1 if found else k
        # A quarter leaves room for rounding, and for the error of the vectors deflated.
        while run.step() and not run.converged(wanted, tolerance / 4 * max(norm, run.norm)):
            pass
        iterations += run.steps
        norm = max(norm, run.norm)
        threshold = tolerance * norm
        pairs = [run.ritz_pair(i) for i in range(min(wanted, run.steps))]
        if len(found) >= k:
            lowest = found[k - 1][0]
            complete = run.converged(1, threshold) and pairs[0][0] <= lowest + threshold
            pairs = [pair for pair in pairs if pair[0] > lowest + threshold]
        elif k == 1:
            complete = run.converged(1, threshold)
        found = sorted(found + pairs, key=lambda pair: -pair[0])
        complete = complete or len(found) == loss.size
        if k == 1:
            break

    top = found[:k]
    vectors = torch.stack([v for _, v in top])
    images = torch.stack([product(v) for v in vectors])
    values = (vectors * images).double().sum(1)
    residuals = (images.double() - values[:, None] * vectors.double()).norm(dim=1)
    order = values.argsort(descending=True)
    return TopEigenvalues(
        values=values[order].cpu().numpy(),
        residuals=residuals[order].cpu().numpy(),
        vectors=vectors[order],
        converged=complete and len(top) == k and bool((residuals <= tolerance * norm).all()),
        norm=norm,
        iterations=iterations,
        products=loss.products,
        examples=loss.examples,
        parameters=loss.size,
        matrix=matrix,
    )


class Lanczos:
    """Krylov basis of a symmetric matrix and the tridiagonal matrix it becomes there.

    With `deflated` vectors v it works on the matrix restricted to their orthogonal complement.
    """

    def __init__(
        self, product: Product, start: Tensor, max_steps: int, deflated: list[Tensor] | None = None
    ) -> None:
        self.product, self.max_steps = product, max_steps
        self.deflated = torch.stack(deflated) if deflated else start.new_zeros(0, len(start))
        self.basis = start.new_empty(max_steps + 1, len(start))
        self.diagonal: list[float] = []
        self.off_diagonal: list[float] = []
        start = self._orthogonal(start)
        self.basis[0] = start / start.norm()

    @property
    def steps(self) -> int:
        return len(self.diagonal)

    @property
    def norm(self) -> float:
        """The largest absolute Ritz value, which never exceeds ‖H‖₂."""
        return float(np.abs(self.ritz()[0]).max())

    def step(self) -> bool:
        """One product more; False when there is no next one: cap reached, or basis invariant.

        Raises:
            InputError: for a product that is not finite.
        """
        last = self.basis[self.steps]
        image = self.product(last)
        if not bool(torch.isfinite(image).all()):
            raise InputError(
                "the loss has no finite second derivative at these weights: its Hessian has no "
                "eigenvalues there"
            )
        self.diagonal.append(float(torch.dot(last.double(), image.double())))
        image = self._orthogonal(image)
        length = float(image.norm())
        # Below rounding the basis spans an invariant subspace: its Ritz pairs are eigenpairs.
        exhausted = length <= torch.finfo(image.dtype).eps * self.norm
        self.off_diagonal.append(0.0 if exhausted else length)
        if exhausted or self.steps == self.max_steps:
            return False
        self.basis[self.steps] = image / length
        return True

    def ritz(self) -> tuple[Array, Array]:
        """Ritz values, ascending, and their vectors (as columns) in the Krylov basis."""
        values, vectors = eigh_tridiagonal(self.diagonal, self.off_diagonal[: self.steps - 1])
        return values, vectors

    def ritz_pair(self, i: int) -> tuple[float, Tensor]:
        """The i-th largest Ritz value and its unit vector of shape (P,)."""
        values, vectors = self.ritz()
        weights = torch.from_numpy(vectors[:, -1 - i].copy()).to(self.basis)
        vector = weights @ self.basis[: self.steps]
        return float(values[-1 - i]), vector / vector.norm()

    def converged(self, count: int, threshold: float) -> bool:
        """Whether the `count` largest Ritz pairs (or all, of an exhausted basis) are that exact.

        The residual of a Ritz pair is the last off-diagonal times the last entry of its vector.
        """
        if self.off_diagonal[-1] == 0.0:
            return True
        if self.steps < count:
            return False
        last = self.ritz()[1][-1, -count:]
        return bool((self.off_diagonal[-1] * np.abs(last) <= threshold).all())

    def _orthogonal(self, vector: Tensor) -> Tensor:
        # Twice is enough (Kahan, Parlett): the second pass removes what rounding left in the first.
        for _ in range(2):
            for rows in (self.deflated, self.basis[: self.steps]):
                vector = vector - (rows @ vector) @ rows
        return vector


def _product(loss: MeanLoss, matrix: Matrix) -> Product:
    products = {"hessian": loss.hessian_product, "ggn": loss.ggn_product}
    if matrix not in products:
        raise InputError(f"the matrix must be one of {', '.join(products)}, got {matrix!r}")
    return products[matrix]
