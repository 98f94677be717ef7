"""Radius of curvature of the loss along each parameter, summarised per layer (G20 figure 2).

G20's claim is that it differs so much between layers that one learning rate cannot fit them all,
and that |w/g| approximates it. Both are computed here, side by side, so that it can be judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sgdnoise.curvature.gauss_newton import check_linear_in_each, gauss_newton_diagonal
from sgdnoise.curvature.hutchinson import estimated_diagonal, exact_diagonal
from sgdnoise.curvature.mean_loss import Data, LossFunction, MeanLoss
from sgdnoise.errors import InputError

Array = NDArray[np.float64]
Quartiles: TypeAlias = tuple[float, float, float]
Diagonal = Literal["exact", "gauss-newton", "hutchinson"]

EXACT_UP_TO = 20_000
"""Parameters up to which the diagonal of the Hessian is exact by default."""


@dataclass(frozen=True)
class LayerRadius:
    """Curvature radii of one parameter tensor, in units of parameter²/loss (g² ≪ 1)."""

    name: str
    shape: tuple[int, ...]
    true: Quartiles
    """25%, 50% and 75% points of (1 + g²)^1.5/|h|, h the diagonal of the Hessian (G20-E9).
    Infinite where h = 0; the mean of 1/|h| has none to converge to, so quartiles."""
    approximate: Quartiles
    """The same of |w/g| (G20-E17). Zero where w = 0, infinite where g = 0 ≠ w, nan where at least
    a quarter (half, three quarters) has no value."""
    ratio: Quartiles
    """The same of |w/g| over (1 + g²)^1.5/|h|, parameter by parameter: how far off the
    approximation is, |w/(w − b)| for a parabola about b. Nan where none is defined."""
    distance: Quartiles
    """The same of |g/h|, the distance to the minimum of the parabola that has this slope and this
    curvature (G20-E26), in units of the parameter. Infinite where h = 0 ≠ g."""
    from_rms: float
    """1/√(mean of h²), with the estimator's own variance taken out of h²: the radius where the
    layer curves most, and the one to use for a large tensor where `relative_error` is large.
    Infinite where nothing is left."""
    negative: float
    """Share of parameters with h < 0, along which the loss curves down: their radius is no length
    scale of a minimum."""
    undefined: float
    """Share of parameters with w = g = 0, left out of `approximate`."""
    relative_error: float
    """Median standard error of h over |h|; 0 where h is exact. Near or above 1 the median of 1/|h|
    measures the estimator's noise and is too small: use more probes, or `from_rms`."""


@dataclass(frozen=True)
class CurvatureRadii:
    """Curvature radius of every parameter tensor of a model."""

    layers: tuple[LayerRadius, ...]
    diagonal: Diagonal
    probes: int
    """Random vectors behind the diagonal; 0 where it is exact."""
    products: int
    examples: int
    parameters: int


def curvature_radii(
    model: nn.Module,
    loss_fn: LossFunction,
    data: Data,
    *,
    diagonal: Diagonal | None = None,
    probes: int = 100,
    seed: int = 0,
    batch_size: int = 1024,
    whole: Data | None = None,
) -> CurvatureRadii:
    """True and approximate curvature radius of the mean loss, per parameter tensor (G20 figure 2).

    The approximation |w/g| sets the minimum of every parameter's parabola at zero; it is off by
    the factor |w/(w − b)| for one at b, and by any factor for a Hessian that is not diagonal.
    G20 show an average without saying which; medians and quartiles here. Weight decay β is in
    neither: it adds β to h and βw to g.

    Args:
        diagonal: "exact" by one Hessian-vector product a parameter; "gauss-newton", as exact
            and far cheaper, for nets of rectifiers, whose outputs are linear in each parameter
            alone; "hutchinson" by `probes` random products, whose noise exceeds h in nearly every
            tensor of a net unless they are many: see `relative_error`. None: exact up to 20,000
            parameters, else estimated.
        whole: what g is the gradient of the mean loss on, where that is more than `data`, from
            which h is taken; None: the same.

    Raises:
        InputError: as `MeanLoss`; another name for the diagonal; fewer than 2 probes; for
            "gauss-newton" a net that is not linear in each parameter, checked at some.
    """
    if diagonal not in (None, *get_args(Diagonal)):
        raise InputError(
            f"the diagonal must be {', '.join(map(repr, get_args(Diagonal)))}, got {diagonal!r}"
        )
    if probes < 2:
        raise InputError(f"a standard error needs at least 2 probes, got {probes}")
    loss = MeanLoss(model, loss_fn, data, batch_size=batch_size)
    if diagonal is None:
        diagonal = "exact" if loss.size <= EXACT_UP_TO else "hutchinson"
    slope = loss if whole is None else MeanLoss(model, loss_fn, whole, batch_size=batch_size)
    gradient = loss.split(slope.gradient())
    generator = torch.Generator().manual_seed(seed)
    if diagonal == "hutchinson":
        curvature, error = estimated_diagonal(loss, probes, generator)
    elif diagonal == "gauss-newton":
        check_linear_in_each(loss, generator)
        curvature, error = gauss_newton_diagonal(loss), torch.zeros(loss.size)
    else:
        curvature, error = exact_diagonal(loss), torch.zeros(loss.size)
    h, h_error = loss.split(curvature), loss.split(error)
    return CurvatureRadii(
        layers=tuple(
            _layer(name, w, gradient[name], h[name], h_error[name])
            for name, w in zip(loss.names, loss.parameters, strict=True)
        ),
        diagonal=diagonal,
        probes=probes if diagonal == "hutchinson" else 0,
        products=loss.products,
        examples=loss.examples,
        parameters=loss.size,
    )


def _layer(name: str, weight: Tensor, grad: Tensor, h_tensor: Tensor, se: Tensor) -> LayerRadius:
    w, g, h, error = (
        t.detach().double().cpu().numpy().ravel() for t in (weight, grad, h_tensor, se)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        true = (1 + g**2) ** 1.5 / np.abs(h)
        approximate = np.abs(w / g)
        undefined = np.isnan(approximate)
        ratio, distance = approximate / true, np.abs(g / h)
        from_rms = 1 / np.sqrt(max(0.0, np.mean(h**2 - error**2)))
        relative_error = np.median(np.where(error == 0, 0.0, error / np.abs(h)))
    return LayerRadius(
        name=name,
        shape=tuple(weight.shape),
        true=_quartiles(true),
        approximate=_quartiles(approximate[~undefined]),
        ratio=_quartiles(ratio[~np.isnan(ratio)]),
        distance=_quartiles(distance[~np.isnan(distance)]),
        from_rms=float(from_rms),
        negative=float((h < 0).mean()),
        undefined=float(undefined.mean()),
        relative_error=float(relative_error),
    )


def _quartiles(values: Array) -> Quartiles:
    if not len(values):
        return math.nan, math.nan, math.nan
    # Nearest ranks: a point between a finite and an infinite radius would be neither.
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf")
    return float(low), float(median), float(high)
