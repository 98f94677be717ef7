"""Layer-wise learning rates as one idea: a statistic of |w| over |g| sets each tensor's rate.

G20 (§4) reads LARS, PercentDelta and its own MCLR as averages of |w/g|, its approximation of the
loss's radius of curvature. So there is one optimizer here, and each rule is one small function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sgdnoise.optim.checks import check_hyperparameters

Ratios: TypeAlias = Tensor | list[Tensor]
Statistic: TypeAlias = Callable[[list[Tensor], list[Tensor], float], Ratios]
"""Takes the weights, the gradients without decay and the decay β of k tensors; gives the ratio of
each: a tensor of shape (k,), or a list of k tensors with a ratio for each element. What is not
finite stands for "undefined", and the optimizer then takes the plain learning rate."""


def norms(weights: list[Tensor], gradients: list[Tensor], decay: float) -> Tensor:
    """LARS: ‖w‖ / (‖g‖ + β‖w‖) of each tensor (You et al. 2017; G20-E23 with β = 0).

    Undefined (nan) where ‖w‖ is 0, or the denominator: LARS takes the plain learning rate there.
    So zero weights do move. With all gradients 0 and β > 0 it is 1/β.
    """
    w = torch.stack(torch._foreach_norm(weights))
    bottom = torch.stack(torch._foreach_norm(gradients)) + decay * w
    return torch.where((w > 0) & (bottom > 0), w / bottom, torch.nan)


def medians(weights: list[Tensor], gradients: list[Tensor], decay: float) -> Tensor:
    """MCLR: median|w| / (median|g| + β median|w|) of each tensor (G20-E20, E22).

    Medians of absolute values, which G20 leaves open: for Gaussian w and g this is LARS's ratio.
    It is 0 where half of the weights or more are exactly 0 (G20-E18): such a tensor, as a bias
    that starts at zero, never moves. Where half of the gradients or more are exactly 0 (G20-E19),
    their median says nothing, and LARS's ratio takes its place; it is undefined where all are.
    A median of an even number of values is the lower of the middle two.
    """
    w = torch.stack([tensor.abs().median() for tensor in weights])
    g = torch.stack([tensor.abs().median() for tensor in gradients])
    # 0/(0 + x) is 0 as it should be; only 0/0 needs the outer guard.
    ratio = torch.where(g > 0, w / (g + decay * w), norms(weights, gradients, decay))
    return torch.where(w > 0, ratio, 0.0)


def signed_medians(weights: list[Tensor], gradients: list[Tensor], decay: float) -> Tensor:
    """|median w / (median g + β median w)|: G20-E22 read to the letter, to show why it fails.

    Both medians lie near zero, so their ratio is absolute-Cauchy distributed about the true scale
    σ_w/σ_g: it has no mean, and spreads over two decades. Undefined where the denominator is 0.
    """
    w = torch.stack([tensor.median() for tensor in weights])
    g = torch.stack([tensor.median() for tensor in gradients])
    return (w / (g + decay * w)).abs()


def percent_delta(weights: list[Tensor], gradients: list[Tensor], decay: float) -> Tensor:
    """PercentDelta: size / ‖(g + βw)/w‖₁, the harmonic mean of |w/g| (G20-E24 with β = 0).

    A step then changes the weights by a mean fraction of the learning rate. The smallest weights
    dominate the sum: for Gaussian w and g it falls as about π/(2 ln d) of LARS's ratio. One weight
    at exactly 0 with a gradient makes it 0, and the tensor never moves (G20-E18). Undefined where
    all gradients are 0 and β is.
    """
    changes = [
        # 0/0: no weight and no gradient is no change.
        ((g + decay * w) / w).abs().nan_to_num(nan=0.0, posinf=torch.inf).mean()
        for w, g in zip(weights, gradients, strict=True)
    ]
    return torch.stack(changes).reciprocal()


def elementwise(weights: list[Tensor], gradients: list[Tensor], decay: float) -> list[Tensor]:
    """G20-E17 for every parameter by itself: R ≈ |w/(g + βw)|, the minimum taken to lie at 0.

    The step is then γ|w| sign(g): multiplicative sign descent, which never changes a sign while
    γ < 1, leaves a weight of 0 where it is, and oscillates by a fraction γ about a minimum. Here
    to judge the approximation; it is off by |w/(w − b)| for a minimum at b. Undefined where
    g + βw is 0, where the step is 0 too.
    """
    return [(w / (g + decay * w)).abs() for w, g in zip(weights, gradients, strict=True)]


class LayerwiseSGD(torch.optim.Optimizer):
    """Momentum SGD whose learning rate is scaled for each tensor: LARS, PercentDelta, MCLR.

    With the statistic's ratio R, trust coefficient η and learning rate γ,
        λ = η R,    v ← μ v + γ λ (g + β w),    w ← w − v   (You et al. 2017)
    and λ = 1 where R is undefined. The learning rate stands inside of the velocity, as λ does, so
    that each gradient keeps the rate that it came with; PyTorch's SGD has it outside. The two are
    equal as long as the learning rate does not change.

    Biases, the scales and shifts of norms, and scalars (all of at most one dimension) are exempt
    by default, as is common for LARS: plain momentum SGD at rate γ, without decay. Not exempted,
    they are tensors as all others: what happens at zero is told at each statistic, and a bias right
    before a norm, whose gradient is rounding error, takes full-sized steps in its direction.
    Parameters without a gradient are left alone; gradients are not modified.

    Args:
        params: parameters, or groups of them in PyTorch's form.
        lr: γ.
        statistic: gives R: `norms`, `medians`, `signed_medians`, `percent_delta`, `elementwise`.
        momentum: μ in [0, 1).
        weight_decay: β ≥ 0.
        trust_coefficient: η.
        exempt_one_dimensional: whether tensors of at most one dimension are exempt.
        clip: LARC's mode: the rate is min(λ, γ) instead of γλ, so that λ only ever lowers it.

    Raises:
        InputError: for hyperparameters that are not legal.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        statistic: Statistic = norms,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        exempt_one_dimensional: bool = True,
        clip: bool = False,
    ) -> None:
        check_hyperparameters(lr, momentum, weight_decay, trust_coefficient)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "exempt_one_dimensional": exempt_one_dimensional,
            "clip": clip,
        }
        super().__init__(params, defaults)
        self.statistic = statistic

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update from the gradients in `.grad`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            exempt = [p for p in params if is_exempt(p, group)]
            if exempt:
                steps = torch._foreach_mul(gradients_of(exempt), group["lr"])
                self._move(exempt, list(steps), group)
            scaled = [p for p in params if not is_exempt(p, group)]
            if scaled:
                gradients, decay = gradients_of(scaled), group["weight_decay"]
                ratios = self.ratios(scaled, gradients, decay)
                if decay:
                    gradients = list(torch._foreach_add(gradients, scaled, alpha=decay))
                steps = torch._foreach_mul(gradients, _rates(ratios, group))
                self._move(scaled, list(steps), group)
        return loss

    def ratios(self, params: list[Tensor], gradients: list[Tensor], decay: float) -> Ratios:
        """R of these parameters, as the statistic gives it."""
        return self.statistic(params, gradients, decay)

    def _move(self, params: list[Tensor], steps: list[Tensor], group: dict[str, Any]) -> None:
        if group["momentum"]:
            velocities = buffers(self, params, "momentum_buffer")
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, steps)
            steps = velocities
        torch._foreach_sub_(params, steps)


def buffers(optimizer: torch.optim.Optimizer, params: list[Tensor], name: str) -> list[Tensor]:
    """The optimizer's state of this name for each parameter, which starts as zeros."""
    for p in params:
        if name not in optimizer.state[p]:
            optimizer.state[p][name] = torch.zeros_like(p)
    return [optimizer.state[p][name] for p in params]


def is_exempt(parameter: Tensor, group: dict[str, Any]) -> bool:
    """Whether a layer-wise rule leaves this parameter to plain SGD."""
    return bool(group["exempt_one_dimensional"]) and parameter.ndim <= 1


def gradients_of(params: list[Tensor]) -> list[Tensor]:
    """The gradients of parameters that all have one."""
    return [p.grad for p in params if p.grad is not None]


def _rates(ratios: Ratios, group: dict[str, Any]) -> list[Tensor]:
    if isinstance(ratios, Tensor):
        # One tensor for all of them: on a GPU, a few kernels instead of a few a parameter.
        return list(_rate(ratios, group).unbind())
    return [_rate(ratio, group) for ratio in ratios]


def _rate(ratio: Tensor, group: dict[str, Any]) -> Tensor:
    local, lr = group["trust_coefficient"] * ratio, group["lr"]
    rate = local.clamp(max=lr) if group["clip"] else lr * local
    return torch.where(ratio.isfinite(), rate, lr)
