"""One step of SGD on a quadratic: closed forms against drawn batches and the exact recursion."""

from __future__ import annotations

import numpy as np
import pytest

from sgdnoise.theory.moments import stationary_energy
from sgdnoise.theory.one_step import best_rate, expected_change, noise_floor, updates_left

RNG = np.random.default_rng(7)
H = np.diag([3.0, 1.0, 0.2])
W = np.array([1.0, -2.0, 4.0])
GRADIENTS = RNG.normal(size=(5000, 3)) * [2.0, 1.0, 0.5]
GRADIENTS += H @ W - GRADIENTS.mean(0)
SIGMA = np.cov(GRADIENTS.T, bias=True)
G = GRADIENTS.mean(0)
PARTS = {
    "signal": float(G @ G),
    "curvature": float(G @ H @ G),
    "noise": float(np.trace(H @ SIGMA)),
}
SCALE = PARTS["noise"] / PARTS["curvature"]
LARGEST = PARTS["signal"] / PARTS["curvature"]


@pytest.mark.parametrize(("rate", "batch_size"), [(0.1, 1), (0.3, 4), (0.5, 64)])
def test_the_change_is_what_drawn_batches_have(rate, batch_size):
    drawn = RNG.integers(len(GRADIENTS), size=(20_000, batch_size))
    moved = W - rate * GRADIENTS[drawn].mean(1)
    changes = 0.5 * ((moved @ H) * moved).sum(1) - 0.5 * W @ H @ W
    error = changes.std() / np.sqrt(len(changes))
    assert abs(float(expected_change(rate, batch_size, **PARTS)) - changes.mean()) < 4 * error
    # Of the parts none can be left out.
    for part in PARTS:
        without = float(expected_change(rate, batch_size, **{**PARTS, part: 0.0}))
        if part != "noise" or batch_size < 64:
            assert abs(without - changes.mean()) > 4 * error


@pytest.mark.parametrize("batch_size", [0.5, 2, 30, 4000])
def test_no_rate_of_a_fine_grid_is_better_than_the_best(batch_size):
    best = float(best_rate(batch_size, LARGEST, SCALE))
    grid = best * np.linspace(0.5, 1.5, 1001)
    found = grid[np.argmin(expected_change(grid, batch_size, **PARTS))]
    assert found == pytest.approx(best, rel=2e-3)


def test_the_best_rate_is_linear_below_the_noise_scale_and_flat_beyond():
    below = best_rate([SCALE / 1000, SCALE / 500], LARGEST, SCALE)
    beyond = best_rate([500 * SCALE, 1000 * SCALE], LARGEST, SCALE)
    assert below[1] / below[0] == pytest.approx(2, rel=2e-3)
    assert beyond[1] / beyond[0] == pytest.approx(1, rel=2e-3)
    assert best_rate(SCALE, LARGEST, SCALE) == pytest.approx(LARGEST / 2)


@pytest.mark.parametrize("batch_size", [0.3, 5, 80])
@pytest.mark.parametrize("times", [2, 8])
def test_the_updates_left_are_those_that_win_as_much(times, batch_size):
    def won(b):
        return -float(expected_change(best_rate(b, LARGEST, SCALE), b, **PARTS))

    left = float(updates_left(times, batch_size, SCALE))
    assert left == pytest.approx(won(batch_size) / won(times * batch_size))
    assert 1 / times < left < 1


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_floor_is_the_stationary_loss_at_small_rates(momentum):
    curvatures, variances, b, rate = np.array([2.0, 0.3]), np.array([1.5, 4.0]), 8, 1e-4
    exact = 0.5 * curvatures * rate**2 * variances / b
    exact = (exact * stationary_energy(rate * curvatures, momentum)).sum()
    assert float(noise_floor(rate, b, variances.sum(), momentum)) == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: expected_change(0.1, 0, **PARTS),
        lambda: best_rate(-1, 1.0, 1.0),
        lambda: best_rate(1, 1.0, 0.0),
        lambda: updates_left(0, 1, 1.0),
        lambda: noise_floor(0.1, 0, 1.0, 0.0),
        lambda: noise_floor(0.1, 1, 1.0, 1.0),
    ],
)
def test_what_has_no_meaning_is_refused(call):
    with pytest.raises(ValueError, match="must"):
        call()
