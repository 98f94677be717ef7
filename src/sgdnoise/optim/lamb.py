"""LAMB: Adam's direction, its length set for each tensor by the norm of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from sgdnoise.errors import InputError
from sgdnoise.optim.checks import check_hyperparameters
from sgdnoise.optim.layerwise import buffers, gradients_of, is_exempt


class LAMB(torch.optim.Optimizer):
    """Layer-wise Adam for large batches (You et al. 2019b).

        m ← β₁ m + (1 − β₁) g,   s ← β₂ s + (1 − β₂) g²,   u = m/(√s + ε) + β w,
        w ← w − γ ‖w‖/(‖u‖ + ε) u
    and the ratio is 1 where ‖w‖ or ‖u‖ is 0, so that zero weights do move; where all gradients
    have been 0, u is the decay alone. There is no bound on ‖w‖. The second ε matters where all
    gradients are rounding errors, as of a bias before a norm: without it they make a full step.

    No bias correction by default: in m and s it is one factor for a whole tensor, which the ratio
    divides out, but for ε and for the decay's share. Exempt tensors have no such ratio: their
    first steps are up to (1 − β₁)/√(1 − β₂) = 3.2 times Adam's unless `bias_correction` is set.

    Tensors of at most one dimension are exempt by default: Adam at rate γ, without decay.

    Args:
        params: parameters, or groups of them in PyTorch's form.
        lr: γ.
        betas: β₁ and β₂, both in [0, 1).
        eps: ε.
        weight_decay: β, decoupled: it acts on the direction, not on the moments.
        exempt_one_dimensional: whether tensors of at most one dimension are exempt.
        bias_correction: whether m and s are divided by 1 − β₁ᵗ and 1 − β₂ᵗ.

    Raises:
        InputError: for hyperparameters that are not legal.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        exempt_one_dimensional: bool = True,
        bias_correction: bool = False,
    ) -> None:
        for beta in betas:
            check_hyperparameters(lr, beta, weight_decay)
        if not eps > 0:
            raise InputError(f"epsilon must be positive, got {eps}")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "exempt_one_dimensional": exempt_one_dimensional,
            "bias_correction": bias_correction,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update from the gradients in `.grad`, which are not modified."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            group["step"] = group.get("step", 0) + 1
            directions = self._adam(params, group)
            scaled = [i for i, p in enumerate(params) if not is_exempt(p, group)]
            if scaled:
                weights, inner = [params[i] for i in scaled], [directions[i] for i in scaled]
                if group["weight_decay"]:
                    torch._foreach_add_(inner, weights, alpha=group["weight_decay"])
                w, u = (torch.stack(torch._foreach_norm(of)) for of in (weights, inner))
                ratios = torch.where((w > 0) & (u > 0), w / (u + group["eps"]), 1.0)
                torch._foreach_mul_(inner, list(ratios.unbind()))
            torch._foreach_add_(params, directions, alpha=-group["lr"])
        return loss

    def _adam(self, params: list[torch.Tensor], group: dict[str, Any]) -> list[torch.Tensor]:
        """m/(√s + ε) of each parameter, in new tensors, after the moments' update."""
        gradients = gradients_of(params)
        first, second = (buffers(self, params, name) for name in ("exp_avg", "exp_avg_sq"))
        beta1, beta2 = group["betas"]
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, value=1 - beta2)
        roots = torch._foreach_sqrt(second)
        scale = 1.0
        if group["bias_correction"]:
            torch._foreach_div_(roots, (1 - beta2 ** group["step"]) ** 0.5)
            scale = 1 / (1 - beta1 ** group["step"])
        torch._foreach_add_(roots, group["eps"])
        directions = torch._foreach_div(first, roots)
        if scale != 1.0:
            torch._foreach_mul_(directions, scale)
        return list(directions)
