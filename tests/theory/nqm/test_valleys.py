"""Grids of learning rates against the eigenvalues they are to resolve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from step_by_step import update_matrix
from theory.nqm.oracles import SMALL

from sgdnoise.theory.nqm.valleys import ripple_grid


@pytest.mark.parametrize("m", [0.5, 0.9, 0.99])
def test_grid_of_rates_resolves_the_fastest_ripple(m: float) -> None:
    t, critical = 25, 2 * (1 + m)
    grid = ripple_grid(SMALL, m, t, 1e-4, critical)
    angle = np.angle(np.linalg.eigvals(update_matrix(grid, SMALL.curvature[0], m)))
    turn = np.abs(angle).max(axis=1) * t
    assert (np.diff(grid) > 0).all()
    assert np.diff(turn).max() <= math.pi / 12 + 1e-6
    assert grid[0] <= (1 - math.sqrt(m)) ** 2 * (1 + 1e-9) + 1e-4
    assert grid[-1] >= (1 + math.sqrt(m)) ** 2 * (1 - 1e-9)


def test_grid_of_rates_is_positive_at_a_momentum_next_to_1() -> None:
    grid = ripple_grid(SMALL, 0.999999999, 1000, 1e-20, 3.9)
    assert (grid >= 1e-20).all()
