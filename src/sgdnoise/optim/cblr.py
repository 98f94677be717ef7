"""CBLR (G20 §4.1): the learning rate of each parameter from the loss's true curvature along it.

G20 proposes the rule, names its cost, and never runs it. Here it runs, so that its approximations
can be judged against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from sgdnoise.errors import InputError
from sgdnoise.optim.layerwise import LayerwiseSGD

Diagonal = Literal["exact", "hutchinson"]

EXACT_UP_TO = 20_000
"""Parameters up to which the exact diagonal is computed: it costs one backward pass for each."""


def curvature_radius(gradient: Tensor, curvature: Tensor) -> Tensor:
    """R = (1 + g²)^1.5 / |h|, elementwise: the radius of curvature of a plane curve (G20-E9).

    Infinite where the curve is straight, h = 0. A step of γ R g is stable on a parabola only while
    γ (1 + g²)^1.5 < 2: for g ≪ 1 it is γ times Newton's step, and γ < 2; far from the minimum, or
    with the loss in other units, it blows up.
    """
    return (1 + gradient.square()) ** 1.5 / curvature.abs()


class CBLR(LayerwiseSGD):
    """Momentum SGD in which each parameter has the rate η = γ R, its radius of curvature (G20-E10).

    With h the diagonal of the Hessian of the loss, β the decay and g' = g + βw,
        η = γ (1 + g'²)^1.5 / (|h + β| + δ),    v ← μ v + η g',    w ← w − v,
    since decay adds β w²/2 to the loss. E11 is printed as ascent; this is descent. Where η is not
    finite (h = β = δ = 0) the plain learning rate γ is taken. G20 has no δ. Without one, the few
    parameters whose curvature comes near zero make the rule diverge at every rate that learns; as
    a fraction of the tensor's mean |h + β| it has no unit of its own.

    Gradients and curvatures come from the same batch: call `backward(loss)` of this optimizer, not
    `loss.backward()`. Several calls before a step add up, as gradients do, so that the losses of
    micro-batches must be weighted to add up to the batch's mean. The model must be twice
    differentiable; the second derivative of a ReLU is taken as 0.

    No tensor is exempt by default: a bias has a curvature as any other parameter.

    Args:
        params: parameters, or groups of them in PyTorch's form.
        lr: γ, times the trust coefficient of 1.
        diagonal: `exact` costs one backward pass a parameter, for small nets only; `hutchinson`
            the mean of v ⊙ Hv over random signs v, one double backward pass a probe. The
            estimate is unbiased for h, but its error makes 1/|h| too large where h is small.
        probes: number of probes, for `hutchinson`.
        generator: of the probes, on the CPU; part of the state dict. None for one seeded with 0.
        damping: δ, as a fraction of the mean |h + β| of the tensor; 0 is G20's rule to the letter.
        momentum, weight_decay, trust_coefficient, exempt_one_dimensional: as `LayerwiseSGD`.

    Raises:
        InputError: for hyperparameters that are not legal, and for the exact diagonal of more
            than 20,000 parameters.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        diagonal: Diagonal = "hutchinson",
        probes: int = 1,
        generator: torch.Generator | None = None,
        damping: float = 0.1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1.0,
        exempt_one_dimensional: bool = False,
    ) -> None:
        if diagonal not in ("exact", "hutchinson"):
            raise InputError(f"unknown diagonal {diagonal!r}: choose exact or hutchinson")
        if probes < 1:
            raise InputError(f"an estimate needs at least 1 probe, got {probes}")
        if not damping >= 0:
            raise InputError(f"damping must not be negative, got {damping}")
        super().__init__(
            params,
            lr,
            momentum=momentum,
            weight_decay=weight_decay,
            trust_coefficient=trust_coefficient,
            exempt_one_dimensional=exempt_one_dimensional,
        )
        size = sum(p.numel() for p in self._parameters())
        if diagonal == "exact" and size > EXACT_UP_TO:
            raise InputError(
                f"the exact diagonal of {size} parameters takes as many backward passes a step: "
                f"choose hutchinson above {EXACT_UP_TO}"
            )
        self.diagonal = diagonal
        self.probes = probes
        self.damping = damping
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self._curvatures: dict[Tensor, Tensor] = {}

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"] if p.requires_grad]

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of the loss to `.grad`, and the diagonal of its Hessian to what is
        held for the next step."""
        params = self._parameters()
        gradients = torch.autograd.grad(loss, params, create_graph=True, allow_unused=True)
        used = [(p, g) for p, g in zip(params, gradients, strict=True) if g is not None]
        if self.diagonal == "exact":
            curvatures = [_exact_diagonal(g, p) for p, g in used]
        else:
            curvatures = self._estimate([p for p, _ in used], [g for _, g in used])
        for (p, g), h in zip(used, curvatures, strict=True):
            p.grad = g.detach().clone() if p.grad is None else p.grad + g.detach()
            self._curvatures[p] = h + self._curvatures.get(p, 0)

    def _estimate(self, params: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        curved = [i for i, g in enumerate(gradients) if g.requires_grad]
        total = [torch.zeros_like(p) for p in params]
        for probe in range(self.probes):
            # Drawn for every parameter, curved or not, so that the stream does not depend on it.
            signs = [_signs(p, self.generator) for p in params]
            if not curved:
                continue
            products = torch.autograd.grad(
                [gradients[i] for i in curved],
                params,
                [signs[i] for i in curved],
                retain_graph=probe + 1 < self.probes,
                allow_unused=True,
            )
            for h, v, product in zip(total, signs, products, strict=True):
                if product is not None:
                    h.addcmul_(v, product, value=1 / self.probes)
        return total

    def ratios(self, params: list[Tensor], gradients: list[Tensor], decay: float) -> list[Tensor]:
        """R of each element of these parameters, damped."""
        radii = []
        for p, g in zip(params, gradients, strict=True):
            if p not in self._curvatures:
                raise RuntimeError(
                    "no curvature for a parameter that has a gradient: call backward(loss) of the "
                    "optimizer instead of loss.backward()"
                )
            h = (self._curvatures[p] + decay).abs()
            radii.append(curvature_radius(g + decay * p, h + self.damping * h.mean()))
        return radii

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears gradients and curvatures."""
        self._curvatures.clear()
        super().zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's, and the state of the probes' generator."""
        return {**super().state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` gave, so that the next probes are the same."""
        self.generator.set_state(state_dict["generator"])
        super().load_state_dict(state_dict)


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Random signs, drawn on the CPU so that every device sees the same."""
    signs = torch.randint(0, 2, like.shape, generator=generator)
    return (2 * signs - 1).to(like.device, like.dtype)


def _exact_diagonal(gradient: Tensor, parameter: Tensor, chunk: int = 256) -> Tensor:
    """∂²L/∂w_i² for each element, from the gradient with its graph."""
    diagonal = torch.zeros_like(parameter)
    if not gradient.requires_grad:
        return diagonal
    flat, size = diagonal.view(-1), parameter.numel()
    for start in range(0, size, chunk):
        rows = torch.arange(start, min(start + chunk, size), device=parameter.device)
        here = torch.arange(len(rows), device=parameter.device)
        unit = torch.zeros(len(rows), size, device=parameter.device, dtype=parameter.dtype)
        unit[here, rows] = 1
        (product,) = torch.autograd.grad(
            gradient,
            parameter,
            unit.view(-1, *parameter.shape),
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=True,
        )
        if product is None:
            break
        flat[rows] = product.reshape(len(rows), size)[here, rows]
    return diagonal
