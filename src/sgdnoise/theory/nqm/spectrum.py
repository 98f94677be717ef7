"""The noisy quadratic model itself: its spectrum, its noise and its starting point.

Zhang et al. (2019): the loss is ½ Σ h_i x_i² with h_i = 1/i in 10,000 dimensions, each
per-example gradient has variance c_i = h_i about its mean, and E x_i² = 1 before training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sgdnoise.theory.stability import check_count

FloatArray = NDArray[np.float64]
SpectrumName = Literal["exact", "binned"]

MOST_DIMS: dict[SpectrumName, int] = {"exact": 50_000, "binned": 10_000_000}
"""Directions that a search for the best learning rate gets through in some twenty seconds."""

MOST = 1 << 53
"""Batch sizes and steps go up to here: whole numbers beyond it are not exact in float64."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigen-directions of a noisy quadratic, largest curvature first.

    Attributes:
        name: what it is called in results.
        curvature: h, shape (levels,), not increasing, positive.
        weight: how many directions each level stands for.
        noise: c, variance of a per-example gradient along a direction of the level.
        preconditioner: what the learning rate is multiplied by along the level, h^(-p).
    """

    name: str
    curvature: FloatArray
    weight: FloatArray
    noise: FloatArray
    preconditioner: FloatArray

    @property
    def dims(self) -> int:
        """Number of directions."""
        return round(float(self.weight.sum()))

    @property
    def initial_loss(self) -> float:
        """½ Σ h at E x² = 1."""
        return float(self.weight @ self.curvature / 2)

    @property
    def sharpness(self) -> float:
        """Largest curvature that the preconditioned learning rate meets: h^(1-p) at its largest."""
        return float((self.curvature * self.preconditioner).max())

    def preconditioned(self, power: float) -> Spectrum:
        """The same model trained with learning rates ε h^(-p), p in [0, 1] (Zhang et al. §3.4).

        p = ½ is what Adam and natural-gradient methods are compared to, p = 1 is Newton's method.

        Raises:
            ValueError: for a power outside [0, 1].
        """
        if not 0 <= power <= 1:
            raise ValueError(f"preconditioning power must lie in [0, 1], got {power}")
        return replace(self, preconditioner=self.curvature**-power)


@lru_cache(maxsize=16, typed=True)
def spectrum(name: SpectrumName = "exact", dims: int = 10_000, levels: int = 100) -> Spectrum:
    """The model's spectrum h_i = 1/i, i = 1…dims.

    Args:
        name: "exact", every direction; or "binned", the curvatures rounded down to `levels`
            geometric levels between 1/dims and 1, as Zhang et al.'s code has it: 4 % less loss at
            the start, a hundred times less work.
        dims: number of directions, at least 1.
        levels: of the binned spectrum; levels that no direction falls on are left out.

    Raises:
        ValueError: for an unknown name, levels below 1, or dims outside 1 to `MOST_DIMS`.
    """
    if name not in get_args(SpectrumName):
        raise ValueError(f"spectrum must be 'exact' or 'binned', got {name!r}")
    check_count(f"dims of the {name} spectrum", dims, MOST_DIMS[name])
    check_count("levels", levels)
    h = 1.0 / np.arange(1, dims + 1)
    if name == "exact":
        return Spectrum(name, h, np.ones(dims), h, np.ones(dims))
    grid = np.geomspace(1.0 / dims, 1.0, levels)
    grid[0], grid[-1] = h[-1], 1.0
    level = np.searchsorted(grid, h, side="right") - 1
    count = np.bincount(level, minlength=levels)[::-1]
    kept = count > 0
    h = grid[::-1][kept]
    return Spectrum(name, h, count[kept].astype(np.float64), h, np.ones(h.size))


def as_spectrum(spectrum_or_name: SpectrumName | Spectrum, dims: int) -> Spectrum:
    """A spectrum as it is, or the one of that name."""
    if isinstance(spectrum_or_name, Spectrum):
        return spectrum_or_name
    return spectrum(spectrum_or_name, dims)


def condensed(full: Spectrum, *, head: int = 48, cells: int = 120) -> Spectrum:
    """A small stand-in for a long spectrum: its head as it is, the tail in cells about their means.

    For finding where an optimum lies before it is settled on the full spectrum; its loss is off by
    a few parts in 10⁴.
    """
    h = full.curvature
    if h.size <= head + cells:
        return full
    edges = np.unique(np.geomspace(head, h.size, cells + 1).astype(np.int64))
    starts = np.concatenate([np.arange(head), edges[:-1]])
    weight = np.add.reduceat(full.weight, starts)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.add.reduceat(full.weight * values, starts) / weight)

    return Spectrum(full.name, mean(h), weight, mean(full.noise), mean(full.preconditioner))
