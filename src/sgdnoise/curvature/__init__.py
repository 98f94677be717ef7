"""Curvature of a model's loss, and the noise of its gradient, at one point of training.

Each function takes `(model, loss_fn, data)`: an `nn.Module`, a mean loss `loss_fn(model(x), y)`,
and data that read the same each time. Each returns a frozen record with the evidence for its
numbers: residuals, standard errors, what it cost.

    top_eigenvalues       λmax and the next k, with residuals and a `converged` flag
    gradient_noise_scale  trΣ/|G|² with a confidence interval
    noise_scale_from_norms  the same from logged gradient norms at two batch sizes
    curvature_radii       per-layer radius of curvature, true and approximate (G20 figure 2)
    MeanLoss              gradient, Hessian- and Gauss-Newton-vector products behind all of these
"""

from sgdnoise.curvature.lanczos import TopEigenvalues, top_eigenvalues
from sgdnoise.curvature.mean_loss import Data, LossFunction, MeanLoss
from sgdnoise.curvature.noise_scale import (
    NoiseScale,
    gradient_noise_scale,
    noise_scale_from_norms,
)
from sgdnoise.curvature.radius import CurvatureRadii, LayerRadius, curvature_radii

__all__ = [
    "CurvatureRadii",
    "Data",
    "LayerRadius",
    "LossFunction",
    "MeanLoss",
    "NoiseScale",
    "TopEigenvalues",
    "curvature_radii",
    "gradient_noise_scale",
    "noise_scale_from_norms",
    "top_eigenvalues",
]
