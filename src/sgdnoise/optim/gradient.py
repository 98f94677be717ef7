"""What is done to a batch's losses and gradients before the update: clip, add noise, discard."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def clip_gradient(
    parameters: Iterable[Tensor], max_norm: float, step: int = 0, steps: int | None = None
) -> Tensor | None:
    """Scales all gradients, in place, so that their global norm is at most `max_norm`.

    H17 (§4) writes that it needed this in the first iterations; its code does it at every one, at
    5.0. With micro-batches, call it once on the summed gradient.

    Args:
        parameters: whose gradients count.
        max_norm: the bound.
        step: the current step, 0-based.
        steps: number of first steps in which to clip; None for all.

    Returns:
        The norm before clipping, a scalar; None where this step is past the clipped ones, so that
        nothing was done.
    """
    if not max_norm > 0:
        raise ValueError(f"the bound on the gradient's norm must be positive, got {max_norm}")
    if steps is not None and step >= steps:
        return None
    return torch.nn.utils.clip_grad_norm_(parameters, max_norm)


def noise_variance(
    batch_size: int,
    small_batch_size: int,
    train_size: int | None = None,
    centred_share: float | None = None,
) -> float:
    """σ² of H17's multiplicative noise (§4): M/M_S − 1.

    Weights z ~ N(1, σ²) on the M examples of a batch then give its mean gradient the covariance of
    a batch of M_S, and leave its mean alone. H17 prints σ² ∝ M, which is too much by σ² = 1.
    Exact where examples are drawn independently and the mean gradient is small beside its spread;
    otherwise give the other two arguments, for a variance that is exact in the trace:
    σ² = M [c(M_S) − c(M)] · tr(centred)/tr(uncentred), c(M) = (N − M)/(M (N − 1)), in which the
    batch sizes come down to (M/M_S − 1) N/(N − 1).

    Args:
        batch_size: M.
        small_batch_size: M_S, at most M.
        train_size: N, from which batches are drawn without replacement; None for N → ∞.
        centred_share: trace of the per-example gradients' covariance over that of their second
            moment about zero, in [0, 1]; None for 1.

    Raises:
        ValueError: for sizes out of order, or a share outside of [0, 1].
    """
    if not 1 <= small_batch_size <= batch_size:
        raise ValueError(
            f"noise makes a batch of {batch_size} like a smaller one of at least 1, "
            f"got {small_batch_size}"
        )
    share = 1.0 if centred_share is None else centred_share
    if not 0 <= share <= 1:
        raise ValueError(f"the centred share must lie between 0 and 1, got {centred_share}")
    variance = (batch_size / small_batch_size - 1) * share
    if train_size is None:
        return variance
    if batch_size > train_size or train_size < 2:
        raise ValueError(
            f"a batch of {batch_size} cannot be drawn from a training set of {train_size}"
        )
    return variance * train_size / (train_size - 1)


def noise_weights(batch_size: int, sigma: float, generator: torch.Generator) -> Tensor:
    """Weights z ~ N(1, σ²) for the losses of a batch, shape (batch_size,), float32, on the CPU.

    The noisy loss is (z * losses).mean(). It is noise on each example's own gradient only where
    examples do not share statistics: under batch norm the weights act on the loss terms all the
    same, but the gradients of the examples are not independent of each other. Weights may be
    negative, and for the large σ of a large batch about half of them are.
    """
    if not sigma >= 0:
        raise ValueError(f"σ of the gradient noise must not be negative, got {sigma}")
    return 1 + sigma * torch.randn(batch_size, generator=generator)


def discard_weights(losses: Tensor, fraction: float) -> Tensor:
    """Weights that leave the smallest losses of a batch out of its mean (G20 §3.1).

    (weights * losses).mean() is the mean over what is kept. G20 reads the larger gradient that
    follows as the effect of large losses; discarding at random gives 1/√(1 − p) of it already,
    where the mean gradient is small beside its spread.

    Args:
        losses: one an example, shape (B,). No gradient flows through the choice.
        fraction: p in [0, 1): ⌊p B⌋ examples are left out. 0 gives ones.

    Returns:
        0 for what is left out and B/kept for the rest, shape (B,). Among equal losses the earlier
        examples go first. Losses that are not a number count as largest and are kept, so that a
        divergence stays visible.

    Raises:
        ValueError: for a fraction outside of [0, 1), or losses that are not one-dimensional.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the fraction to discard must be at least 0 and below 1, got {fraction}")
    if losses.ndim != 1:
        raise ValueError(f"losses must be one an example, got shape {tuple(losses.shape)}")
    size = len(losses)
    # The tolerance keeps 0.29 of 100 at 29, where the product comes out a rounding error below it.
    count = min(int(fraction * size + 1e-9), size - 1)
    weights = torch.full_like(losses, size / (size - count), requires_grad=False)
    weights[losses.detach().argsort(stable=True)[:count]] = 0
    return weights
