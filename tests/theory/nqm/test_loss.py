"""Expected losses against step loops and sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from step_by_step import segments
from theory.nqm.oracles import SMALL, loop

from sgdnoise.schedule import hold_then_decay
from sgdnoise.theory import nqm


class TestExpectedLoss:
    @pytest.mark.parametrize("m", [0.0, 0.5, 0.9, 0.99])
    @pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
    def test_is_the_step_loop(self, m: float, power: float) -> None:
        model = SMALL.preconditioned(power)
        lr = np.array([1e-3, 0.05, 0.5, 1.7, 2 * (1 + m) * 0.999])
        expected = loop(model, lr, 16, m, 400)
        steps = np.array([0, 1, 2, 7, 40, 399, 400])
        found = nqm.expected_loss(model, lr, 16, steps, m)
        np.testing.assert_allclose(found, expected[:, steps], rtol=1e-9)

    @pytest.mark.parametrize("m", [0.0, 0.5, 0.9])
    def test_at_the_critical_learning_rate_itself(self, m: float) -> None:
        lr = 2 * (1 + m) * np.array([1 - 1e-8, 1.0, 1 + 1e-8])
        steps = np.array([1, 3, 50, 301])
        np.testing.assert_allclose(
            nqm.expected_loss(SMALL, lr, 2, steps, m),
            loop(SMALL, lr, 2, m, 301)[:, steps],
            rtol=1e-8,  # the loop's own error, two digits more than ours at m = 0.9
        )

    def test_long_spectra_take_the_same_road_to_the_same_place(self) -> None:
        model = nqm.spectrum("exact", 3000)
        steps = np.unique(np.round(np.geomspace(1, 2000, 60)))
        for m in (0.0, 0.9):
            lr = np.array([0.02, 1.0, 2 * (1 + m)])
            by_loop = loop(model, lr, 8, m, 2000)[:, steps.astype(int)]
            np.testing.assert_allclose(
                nqm.expected_loss(model, lr, 8, steps, m), by_loop, rtol=1e-9
            )

    def test_forgotten_directions_sit_at_their_stationary_value(self) -> None:
        model = nqm.spectrum("exact", 3000)
        q = 0.4 * model.curvature
        limit = (model.curvature / 2) @ (0.4 / (8 * (2 - q)))
        late = nqm.expected_loss(model, 0.4, 8, np.arange(10**7, 10**7 + 60))
        np.testing.assert_allclose(late, limit, rtol=1e-12)

    def test_settings_broadcast_and_steps_come_last(self) -> None:
        found = nqm.expected_loss(
            SMALL, np.array([0.1, 0.2])[:, None], [4, 8, 16], [[0, 5], [9, 3]], 0.5
        )
        assert found.shape == (2, 3, 2, 2)
        assert found[1, 2, 0, 1] == pytest.approx(float(nqm.expected_loss(SMALL, 0.2, 16, 5, 0.5)))
        assert np.all(found[..., 0, 0] == pytest.approx(SMALL.initial_loss))

    def test_divergence_is_infinite_and_never_nan(self) -> None:
        loss = nqm.expected_loss(SMALL, [2.5, 1.0], 4, [1, 50, 10**6])
        assert np.isfinite(loss[:, :2]).all()
        assert loss[0, 2] == np.inf
        assert np.isfinite(loss[1]).all()

    @pytest.mark.parametrize("m", [0.0, 0.9])
    def test_monte_carlo(self, m: float) -> None:
        # 4,000 runs of the model itself: an error of 5 % in the loss shows as z ≈ 8.
        rng = np.random.default_rng(30)
        model, lr, b, steps = nqm.spectrum("exact", 10), 0.3, 2, 30
        x = np.ones((4000, 10))
        x *= rng.choice([-1, 1], x.shape)
        v = np.zeros_like(x)
        for _ in range(steps):
            noise = np.sqrt(model.noise / b) * rng.standard_normal(x.shape)
            v = m * v - lr * (model.curvature * x + noise)
            x = x + v
        sample = (x**2) @ model.curvature / 2
        z = (sample.mean() - nqm.expected_loss(model, lr, b, steps, m)) / (
            sample.std() / math.sqrt(sample.size)
        )
        assert abs(z) < 4
        assert sample.std() / math.sqrt(sample.size) < 0.02 * sample.mean()

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"learning_rate": 0.0}, "learning rate"),
            ({"batch_size": 0}, "batch size"),
            ({"batch_size": 2.5}, "batch size"),
            ({"momentum": 1.0}, "momentum"),
            ({"steps": -1}, "steps"),
        ],
    )
    def test_bad_settings_are_refused(self, change: dict[str, float], match: str) -> None:
        setting = {"learning_rate": 0.1, "batch_size": 4, "steps": 3, "momentum": 0.0} | change
        with pytest.raises(ValueError, match=match):
            nqm.expected_loss(SMALL, **setting)


class TestSchedule:
    @pytest.mark.parametrize("m", [0.0, 0.9])
    def test_s20_schedule_is_the_step_loop_in_pytorch_form(self, m: float) -> None:
        steps, lr, b = 83, 0.4, 8
        multiplier = hold_then_decay(steps)
        h = SMALL.curvature
        # Buffer form, so that a change of ε meets the buffer and not the displacement.
        xx, xb, bb = np.ones_like(h), np.zeros_like(h), np.zeros_like(h)
        for k in range(steps):
            eps = lr * multiplier(k)
            bb_next = m * m * bb + 2 * m * h * xb + h * h * xx + SMALL.noise / b
            cross = m * xb + h * xx
            xx, xb = xx - 2 * eps * cross + eps**2 * bb_next, cross - eps * bb_next
            bb = bb_next
        pieces = segments(multiplier, steps)
        found = nqm.loss_under_schedule(SMALL, lr, b, pieces, m)
        assert found.shape == (len(pieces) + 1,)
        assert found[0] == pytest.approx(SMALL.initial_loss)
        assert found[-1] == pytest.approx(xx @ h / 2, rel=1e-10)

    def test_one_piece_is_a_constant_rate(self) -> None:
        found = nqm.loss_under_schedule(SMALL, [0.1, 0.5], 4, [(1.0, 30)], 0.8)
        np.testing.assert_allclose(found[:, 1], nqm.expected_loss(SMALL, [0.1, 0.5], 4, 30, 0.8))
