"""The averaged iterate against step loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from theory.nqm.oracles import SMALL

from sgdnoise.theory import nqm


class TestAveraging:
    @pytest.mark.parametrize("m", [0.0, 0.9])
    @pytest.mark.parametrize("decay", [0.0, 0.3, 0.95])
    def test_is_the_step_loop(self, m: float, decay: float) -> None:
        lr, b, steps = 0.6, 4, 75
        total = 0.0
        for h in SMALL.curvature:
            q = lr * h
            step = np.array(
                [[1 - q, m, 0], [-q, m, 0], [(1 - decay) * (1 - q), (1 - decay) * m, decay]]
            )
            kick = np.array([1, 1, 1 - decay]) * lr * math.sqrt(h / b)
            second = np.zeros((3, 3))
            second[np.ix_([0, 2], [0, 2])] = 1.0
            for _ in range(steps):
                second = step @ second @ step.T + np.outer(kick, kick)
            total += h * second[2, 2] / 2
        assert nqm.averaged_loss(SMALL, lr, b, steps, decay, m) == pytest.approx(total, rel=1e-9)

    def test_decay_zero_is_no_average(self) -> None:
        assert nqm.averaged_loss(SMALL, 0.5, 8, 40, 0.0, 0.9) == pytest.approx(
            float(nqm.expected_loss(SMALL, 0.5, 8, 40, 0.9)), rel=1e-10
        )

    def test_plain_sgd_in_closed_form(self) -> None:
        # y is the response of a second-order system with roots λ and d.
        lr, b, t, d = 0.7, 4, 60, 0.91
        lam = 1 - lr * SMALL.curvature
        k = np.arange(t)[:, None]
        kicks = (1 - d) * (lam ** (k + 1) - d ** (k + 1)) / (lam - d)
        mean = d**t + (1 - d) * lam * (lam**t - d**t) / (lam - d)
        moment = mean**2 + lr**2 * SMALL.noise / b * (kicks**2).sum(axis=0)
        expected = SMALL.curvature @ moment / 2
        assert nqm.averaged_loss(SMALL, lr, b, t, d) == pytest.approx(expected, rel=1e-9)

    def test_settings_and_refusals(self) -> None:
        grid = nqm.averaged_loss(SMALL, np.array([0.1, 0.5])[:, None], 4, [3, 8, 20], 0.5)
        assert grid.shape == (2, 3)
        assert grid[1, 2] == pytest.approx(float(nqm.averaged_loss(SMALL, 0.5, 4, 20, 0.5)))
        with pytest.raises(ValueError, match="decay"):
            nqm.averaged_loss(SMALL, 0.1, 4, 3, 1.0)
