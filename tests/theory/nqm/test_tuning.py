"""Budgets against dense grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from step_by_step import segments
from theory.nqm.oracles import SMALL, loop

from sgdnoise.schedule import hold_then_decay
from sgdnoise.theory import nqm


class TestBudgets:
    @pytest.mark.parametrize("m", [0.0, 0.9, 0.98])
    def test_tuned_loss_beats_a_dense_grid(self, m: float) -> None:
        steps = np.array([1, 5, 60, 400])
        lr, loss = nqm.tuned_loss(SMALL, 128, steps, m)
        grid = np.union1d(
            np.geomspace(1e-4, 2 * (1 + m), 2000), np.linspace(1e-3, 2 * (1 + m), 4000)
        )
        dense = loop(SMALL, grid, 128, m, 400)[:, steps]
        assert (loss <= dense.min(axis=0) * (1 + 1e-12)).all()
        np.testing.assert_allclose(loss, dense.min(axis=0), rtol=1e-2)
        for k, t in enumerate(steps):
            assert nqm.expected_loss(SMALL, lr[k], 128, t, m) == pytest.approx(loss[k], rel=1e-9)

    def test_one_step_has_a_closed_form(self) -> None:
        h = SMALL.curvature
        expected = (h**2).sum() / ((h**3).sum() + (h**2).sum() / 32)
        lr, _ = nqm.tuned_loss(SMALL, 32, 1)
        assert lr == pytest.approx(expected, rel=1e-6)

    def test_budgets_count_their_steps(self) -> None:
        epochs = nqm.tuned_curve(nqm.EpochBudget(4, 4096), [16, 64], spectrum=SMALL)
        assert epochs.steps.tolist() == [1024, 256]
        steps = nqm.tuned_curve(nqm.StepBudget(300), [16, 64], spectrum=SMALL)
        assert steps.steps.tolist() == [300, 300]
        assert (np.diff(steps.loss) < 0).all()
        unlimited = nqm.tuned_curve(nqm.UnlimitedBudget(0.05, 200), [1, 10**6], 0.9, spectrum=SMALL)
        assert unlimited.status.tolist() == ["unreachable", "reached"]
        assert unlimited.steps[0] == -1
        assert math.isnan(unlimited.loss[0])

    def test_decay_helps_where_noise_is_what_is_left(self) -> None:
        budget = nqm.EpochBudget(20, 4096)
        flat = nqm.tuned_curve(budget, [8, 32], spectrum=SMALL)
        decayed = nqm.tuned_curve(budget, [8, 32], spectrum=SMALL, decay=True)
        assert (decayed.loss < 0.7 * flat.loss).all()
        pieces = segments(hold_then_decay(2560), 2560)
        grid = np.geomspace(1e-3, 2, 800)
        dense = nqm.loss_under_schedule(SMALL, grid, 32, pieces)[:, -1]
        assert decayed.loss[1] <= dense.min() * (1 + 1e-5)
        assert decayed.loss[1] == pytest.approx(dense.min(), rel=1e-3)

    def test_an_unlimited_budget_has_no_schedule(self) -> None:
        with pytest.raises(ValueError, match="budget"):
            nqm.tuned_curve(nqm.UnlimitedBudget(), [4], decay=True)

    def test_two_regimes(self) -> None:
        """REFERENCE.md E: slope 1 at small batches; SGD stuck at 2/λ; momentum scales on."""
        batches = [4, 16, 64, 1024, 16384, 2**18]
        plain = nqm.tuned_curve(nqm.UnlimitedBudget(0.01), batches)
        heavy = nqm.tuned_curve(nqm.UnlimitedBudget(0.01), batches, 0.9)
        slope = np.diff(np.log2(plain.learning_rate)) / np.diff(np.log2(batches))
        assert slope[0] == pytest.approx(1, abs=0.05)
        assert plain.learning_rate[-1] == pytest.approx(2, rel=0.05)
        assert plain.learning_rate.max() < 2
        np.testing.assert_allclose(
            heavy.effective_learning_rate[:2], plain.effective_learning_rate[:2], rtol=0.05
        )
        np.testing.assert_allclose(heavy.steps[:2], plain.steps[:2], rtol=0.02)
        assert heavy.steps[-1] * 10 < plain.steps[-1]

    @pytest.mark.parametrize("steps", [1, 7, 20, 83, 9765])
    def test_monotone_segments_are_the_schedules_own(self, steps: int) -> None:
        schedule = hold_then_decay(steps, factor=1.7)
        assert nqm.monotone_segments(schedule, steps) == segments(schedule, steps)
