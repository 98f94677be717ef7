"""Update rules: SGD, the layer-wise family that G20 compares, LAMB, and what precedes an update.

SGD and heavy ball are PyTorch's own: v ← m v + g + βw, w ← w − ε v, with no scaling of g by
1 − m, so that the effective learning rate is ε/(1 − m) (S20 §3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sgdnoise.errors import InputError
from sgdnoise.optim.cblr import CBLR, curvature_radius
from sgdnoise.optim.checks import check_hyperparameters
from sgdnoise.optim.gradient import (
    clip_gradient,
    discard_weights,
    noise_variance,
    noise_weights,
)
from sgdnoise.optim.lamb import LAMB
from sgdnoise.optim.layerwise import (
    LayerwiseSGD,
    Statistic,
    elementwise,
    gradients_of,
    medians,
    norms,
    percent_delta,
    signed_medians,
)

__all__ = [
    "CBLR",
    "LAMB",
    "OPTIMIZERS",
    "LayerwiseSGD",
    "Statistic",
    "backward",
    "build_optimizer",
    "check_hyperparameters",
    "clip_gradient",
    "curvature_radius",
    "discard_weights",
    "elementwise",
    "gradients_of",
    "medians",
    "noise_variance",
    "noise_weights",
    "norms",
    "percent_delta",
    "signed_medians",
]

_Build = Callable[..., torch.optim.Optimizer]

# Default trust coefficients: 0.001 is LARS's usual one, which G20 does not give, and the statistics
# share it because they share a scale; 0.02 is LARC's. A radius of curvature is a length in the
# right units already.
_LAYERWISE: dict[str, tuple[_Build, dict[str, Any]]] = {
    "lars": (LayerwiseSGD, {"statistic": norms, "trust_coefficient": 0.001}),
    "larc": (LayerwiseSGD, {"statistic": norms, "trust_coefficient": 0.02, "clip": True}),
    "percent-delta": (LayerwiseSGD, {"statistic": percent_delta, "trust_coefficient": 0.001}),
    "mclr": (LayerwiseSGD, {"statistic": medians, "trust_coefficient": 0.001}),
    "mclr-signed": (LayerwiseSGD, {"statistic": signed_medians, "trust_coefficient": 0.001}),
    "cblr": (CBLR, {"diagonal": "hutchinson", "trust_coefficient": 1.0}),
    "cblr-exact": (CBLR, {"diagonal": "exact", "trust_coefficient": 1.0}),
    "cblr-approximate": (LayerwiseSGD, {"statistic": elementwise, "trust_coefficient": 1.0}),
}

OPTIMIZERS = ("sgd", *_LAYERWISE, "lamb")
"""The legal names."""


def build_optimizer(
    name: str,
    parameters: nn.Module | Iterable[Any],
    *,
    learning_rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    trust_coefficient: float | None = None,
    generator: torch.Generator | None = None,
    fused: bool = False,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """The optimizer of this name, as a run config gives it.

    Args:
        name: one of `OPTIMIZERS`. `cblr` takes the true diagonal curvature, estimated; `cblr-exact`
            computes it, on small nets; `cblr-approximate` takes |w/g| (G20-E17) of each parameter.
        parameters: a module, parameters, or groups of them in PyTorch's form.
        learning_rate: ε of SGD, γ of the layer-wise rules.
        momentum: of the heavy ball; β₁ of LAMB.
        weight_decay: coefficient of the L2 term's gradient; decoupled in LAMB.
        trust_coefficient: η of the layer-wise rules, None for the rule's own default: 0.001, but
            0.02 for `larc` and 1 for the rules named cblr.
        generator: of the random probes of `cblr`, on the CPU.
        fused: SGD's update as one kernel, which on a GPU may read its learning rate from the
            device; the other rules are as they are.
        nesterov: whether SGD's momentum looks ahead; of `sgd` alone.

    Raises:
        InputError: for an unknown name, hyperparameters that are not legal (a momentum of 1 or
            more, a negative decay, a learning rate that is not positive), a trust coefficient for
            a rule that has none, or an exact diagonal of too many parameters.
    """
    if name not in OPTIMIZERS:
        raise InputError(f"unknown optimizer {name!r}: choose one of {', '.join(OPTIMIZERS)}")
    check_hyperparameters(learning_rate, momentum, weight_decay, trust_coefficient)
    if trust_coefficient is not None and name not in _LAYERWISE:
        raise InputError(f"{name} has no trust coefficient: leave it out")
    params = list(parameters.parameters() if isinstance(parameters, nn.Module) else parameters)
    if not params:
        raise InputError(f"nothing for {name} to train: the model has no parameters")
    if nesterov and (name != "sgd" or not momentum):
        raise InputError("nesterov is of sgd with a momentum: give both, or leave it out")
    if name == "sgd":
        return torch.optim.SGD(
            params,
            lr=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            fused=fused or None,
            nesterov=nesterov,
        )
    if name == "lamb":
        return LAMB(params, learning_rate, betas=(momentum, 0.999), weight_decay=weight_decay)
    build, options = _LAYERWISE[name]
    if trust_coefficient is not None:
        options = {**options, "trust_coefficient": trust_coefficient}
    if build is CBLR:
        options = {**options, "generator": generator}
    return build(params, learning_rate, momentum=momentum, weight_decay=weight_decay, **options)


def backward(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """`loss.backward()`, and for CBLR the curvatures that its next step needs."""
    if isinstance(optimizer, CBLR):
        optimizer.backward(loss)
    else:
        loss.backward()
