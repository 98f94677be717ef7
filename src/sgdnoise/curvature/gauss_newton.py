"""The diagonal of the Gauss-Newton matrix, exact: in a net of rectifiers it is the Hessian's.

Between its kinks such a net is linear in each parameter alone, norms in evaluation mode included.
So ∂²z/∂w_i² = 0 for its outputs z, and along one weight the loss bends only as it does over z.
"""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor
from torch.func import hessian, vjp, vmap

from sgdnoise.curvature.mean_loss import MeanLoss
from sgdnoise.errors import InputError

NUMBERS_AT_ONCE = 1 << 25
"""Derivatives of outputs in memory at once: 128 MiB in float32."""

CHECKED_PARAMETERS = 32
"""Random parameters at which the Hessian's diagonal is computed too."""

CHECKED_EXAMPLES = 16
"""Examples on which it is."""

_ROUNDING = 1e-3
"""Of the diagonal's root mean square: what its two forms may differ by in float32."""


def gauss_newton_diagonal(loss: MeanLoss) -> Tensor:
    """Diagonal of Jᵀ·(∂²loss/∂z²)·J, shape (P,): the mean over examples of Σ_k λ_k (J_iᵀ v_k)².

    λ_k and v_k are eigenvalues and eigenvectors of the loss's second derivative by the outputs z of
    one example. With cross-entropy this is the diagonal of the Fisher information. It costs as
    many gradients as there are examples times outputs.

    Raises:
        InputError: where the model has no derivatives of single examples, or its outputs are not
            of shape (N, C).
    """

    def bend(z_one: Tensor, y_one: Tensor) -> Tensor:
        return loss.loss_fn(z_one[None], y_one[None])

    def squares(x_one: Tensor, weights: Tensor, directions: Tensor) -> dict[str, Tensor]:
        pull = vjp(lambda values: loss.output(values, x_one)[0], loss.values)[1]
        (rows,) = vmap(pull)(directions.T)
        return {name: torch.tensordot(weights, row.square(), 1) for name, row in rows.items()}

    total = torch.zeros(loss.size, dtype=loss.dtype, device=loss.device)
    for x, y in loss.batches():
        with torch.no_grad():
            z = loss.model(x)
        if not isinstance(z, Tensor) or z.ndim != 2:
            raise InputError(
                "the Gauss-Newton diagonal needs outputs of shape (examples, classes): "
                "use diagonal='hutchinson'"
            )
        with loss.one_by_one("use diagonal='hutchinson'"):
            weights, directions = torch.linalg.eigh(vmap(hessian(bend))(z, y))
            at_once = max(1, NUMBERS_AT_ONCE // (loss.size * z.shape[1]))
            for part in torch.arange(len(x), device=x.device).split(at_once):
                each = vmap(squares)(x[part], weights[part], directions[part])
                total += torch.cat([each[name].sum(0).reshape(-1) for name in loss.names])
    return total / loss.examples


def check_linear_in_each(loss: MeanLoss, generator: torch.Generator) -> None:
    """Refuses a net whose outputs bend along single parameters, as one with smooth activations.

    On a few examples, the Hessian's diagonal is computed at random parameters by products with it.

    Raises:
        InputError: where it is not that of the Gauss-Newton matrix.
    """
    x, y = next(islice(loss.batches(), 1))
    few = MeanLoss(loss.model, loss.loss_fn, (x[:CHECKED_EXAMPLES], y[:CHECKED_EXAMPLES]))
    at = torch.randperm(loss.size, generator=generator)[:CHECKED_PARAMETERS].to(loss.device)
    unit = torch.zeros(len(at), loss.size, dtype=loss.dtype, device=loss.device)
    rows = torch.arange(len(at), device=loss.device)
    unit[rows, at] = 1
    true = few.hessian_products(unit)[rows, at]
    mine = gauss_newton_diagonal(few)
    if float((true - mine[at]).abs().max()) > _ROUNDING * float(mine.square().mean().sqrt()):
        raise InputError(
            "the model's outputs are not linear in each of its parameters, so the Gauss-Newton "
            "diagonal is not the Hessian's: use diagonal='hutchinson'"
        )
