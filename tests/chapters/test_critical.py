"""The chapter on the critical learning rate: its numbers are true.

Each number is checked against something that the chapter does not use: finite differences, a step
loop, Boltzmann's law, a simulation of the SDE, dense grids.
"""

from __future__ import annotations

import numpy as np
import pytest

from sgdnoise.chapters import EPSILON_CRIT
from sgdnoise.chapters import critical as chapter
from sgdnoise.chapters import critical_findings as findings
from sgdnoise.theory.moments import moments
from sgdnoise.theory.stability import spectral_radius, trajectory


class TestCritical:
    def test_experiment_finds_the_formula(self) -> None:
        for m, exact, found in chapter.limits():
            assert exact == pytest.approx(2 * (1 + m))
            assert found == pytest.approx(exact, rel=1e-3)

    def test_words_fit_the_motion(self) -> None:
        for lr in chapter.LEARNING_RATES:
            for m in chapter.MOMENTA:
                words = chapter.kind_of_motion(lr, m)
                path = trajectory(lr, 1.0, m, steps=400)[:400]
                alive = path[np.abs(path) > 1e-200]
                if "diverges" in words:
                    assert np.abs(path[-1]) > np.abs(path[100]) > 2
                elif "for ever" in words:
                    assert 0.9 < np.abs(path[-50:]).max() < 20  # (1 + m)/(1 - m) of the start
                else:
                    assert np.abs(path[-50:]).max() < 0.1
                turns = np.sum(np.diff(np.sign(alive)) != 0)
                if "creeps" in words:
                    assert turns == 0
                if "flips sign at every" in words:
                    # One sign may repeat at first, while the slower root dies away.
                    assert turns >= len(alive) - 4
                if "swings" in words:
                    assert turns > 0
                    assert spectral_radius(lr, 1.0, m) == pytest.approx(np.sqrt(m))

    def test_worst_direction_is_an_end_of_the_spectrum(self) -> None:
        rng = np.random.default_rng(0)
        for kappa in (4, 100):
            curvatures = np.linspace(1 / kappa, 1, 500)
            for lr, m in zip(rng.uniform(0.1, 3.9, 40), rng.uniform(0, 0.95, 40), strict=True):
                dense = spectral_radius(lr, curvatures, m).max()
                assert chapter.worst_radius(lr, m, kappa) == pytest.approx(dense, rel=1e-12)

    @pytest.mark.parametrize("kappa", [2, 20, 1000])
    def test_no_setting_is_faster_than_polyaks(self, kappa: float) -> None:
        lr, m = np.meshgrid(np.linspace(0.05, 4, 400), np.linspace(0, 0.99, 400))
        best = chapter.worst_radius(*chapter.polyak(kappa), kappa)
        others = chapter.worst_radius(lr, m, kappa)
        # Where the roots are double, rounding moves the radius by the square root of its size.
        assert best <= others.min() + 1e-7
        assert others.min() - best < 0.02

    def test_steps_to_a_tenth(self) -> None:
        steps = chapter.steps_per_tenth([0.1, np.sqrt(0.1), 0.0, 1.0, 1.2])
        np.testing.assert_allclose(steps, [1, 2, 1, np.nan, np.nan])

    def test_noise_and_path_agree_to_first_order_but_not_equally_long(self) -> None:
        for gap in chapter.gaps():
            assert gap.settled_slope == pytest.approx(1, abs=0.02)
            assert gap.mean_slope == pytest.approx(1, abs=0.06)
            assert gap.mean_at_tenth < gap.settled_at_tenth
            # Near the limit of the page's condition, ε_eff λ of the order of 1 - m.
            assert 0.05 < 2 * gap.mean_at_tenth / (1 - gap.momentum) < 0.5

    def test_the_variance_is_a_tenth_off_where_the_closed_form_has_it(self) -> None:
        for gap in chapter.gaps():
            m = gap.momentum
            exact = 0.1 / (1 - 0.9 * (1 - m) / (1 + m))
            assert gap.settled_at_tenth == pytest.approx(exact, rel=1e-6)

    def test_the_path_is_a_tenth_off_in_runs_at_the_crossing_and_not_before(self) -> None:
        for gap in chapter.gaps():
            far = []
            for share in (0.99, 1.0, 1.01):
                lr = 2 * share * gap.mean_at_tenth
                steps = round(6 / lr)
                plain = trajectory(lr, 1.0, steps=steps)
                heavy = trajectory(lr * (1 - gap.momentum), 1.0, gap.momentum, steps=steps)
                far.append(float(np.abs(heavy - plain).max()))
            assert far[1] == pytest.approx(0.1, rel=1e-6)
            assert far[0] < 0.1 < far[2]

    def test_text_and_table_name_the_crossings(self) -> None:
        nine = next(gap for gap in chapter.gaps() if gap.momentum == 0.9)
        exact = 0.1 / (1 - 0.9 * 0.1 / 1.9)
        text = findings.where_the_agreement_stops().data
        assert f"= {nine.mean_at_tenth:.2g} {EPSILON_CRIT}" in text
        assert f"{exact / nine.mean_at_tenth:.0f} times smaller" in text
        page = findings.gaps().data
        for m in chapter.GAP_MOMENTA:
            assert f">{0.1 / (1 - 0.9 * (1 - m) / (1 + m)):.3g}<" in page

    def test_gap_of_the_paths_is_that_of_two_runs(self) -> None:
        gap = next(g for g in chapter.gaps() if g.momentum == 0.9)
        k = int(np.argmin(np.abs(gap.of_critical - 0.01)))
        effective = 2 * gap.of_critical[k]
        steps = round(6 / effective)
        plain = trajectory(effective, 1.0, steps=steps)
        heavy = trajectory(effective * 0.1, 1.0, 0.9, steps=steps)
        # The chapter looks at 400 of these steps.
        assert gap.mean[k] == pytest.approx(np.abs(heavy - plain).max(), rel=1e-3)

    def test_settled_gap_is_that_of_long_runs(self) -> None:
        for gap in chapter.gaps():
            m, lr = gap.momentum, 2 * gap.of_critical[::20]
            steps = np.ceil(30 * (1 / lr + 2 / (1 - m)))
            heavy = moments(lr * (1 - m), 1.0, 1.0, steps, m).variance
            plain = moments(lr, 1.0, 1.0, steps).variance
            np.testing.assert_allclose(gap.settled[::20], np.abs(heavy / plain - 1), rtol=1e-6)

    def test_swings_from_where_the_roots_turn_complex(self) -> None:
        for gap in chapter.gaps():
            m, lr = gap.momentum, 2 * gap.swings * (1 - gap.momentum)
            assert spectral_radius(lr * 0.99, 1.0, m) > np.sqrt(m) * (1 + 1e-6)
            assert spectral_radius(lr * 1.01, 1.0, m) == pytest.approx(np.sqrt(m), rel=1e-12)

    @pytest.mark.parametrize("m", [0.0, 0.9])
    def test_final_loss_is_the_step_loops(self, m: float) -> None:
        b, effective = 1024, 0.7
        h = np.geomspace(1e-3, 1, 25)
        lr = effective * (1 - m)
        state = np.zeros((h.size, 2, 2))
        state[:, 0, 0] = 1
        # On (x, -ε v): the noise enters both alike.
        step = np.moveaxis(np.array([[1 - lr * h, m + 0 * h], [-lr * h, m + 0 * h]]), -1, 0)
        for _ in range(chapter.BUDGET // b):
            state = step @ state @ step.swapaxes(1, 2) + (lr**2 * h / b)[:, None, None]
        expected = (h * state[:, 0, 0]).sum() / h.sum()
        assert chapter.final_loss(effective, b, m) == pytest.approx(expected, rel=1e-9)

    def test_unstable_settings_have_no_loss(self) -> None:
        assert np.isinf(chapter.final_loss(2.1, 1, 0.0))
        assert np.isfinite(chapter.final_loss(2.1, 1024, 0.9))

    def test_momentum_changes_nothing_then_helps_then_is_too_slow(self) -> None:
        ratio = {b: chapter.tuned(b, 0.9).loss / chapter.tuned(b, 0.0).loss for b in (1, 512, 4096)}
        assert ratio[1] == pytest.approx(1, abs=0.01)
        assert ratio[512] < 0.8
        assert ratio[4096] > 2
        assert chapter.tuned(512, 0.9).effective > chapter.tuned(512, 0.0).effective
        assert chapter.tuned(4096, 0.0).effective < 2

    def test_text_tells_where_the_lead_begins_and_where_it_ends(self) -> None:
        text = findings.momentum_and_noise().data
        ratio = {
            b: chapter.tuned(b, 0.9).loss / chapter.tuned(b, 0.0).loss
            for b in chapter.BUDGET_BATCH_SIZES
        }
        ahead = [b for b in ratio if ratio[b] < 0.95]
        assert f"more than 5 % from B = {ahead[0]} to {ahead[-1]:,}." in text
        assert f"Up to B = {ahead[-1]:,} it is as S20 says" in text
        behind = [b for b in ratio if ratio[b] > 1.05]
        assert behind == [2 * ahead[-1], 4 * ahead[-1]]
        said = [f"{ratio[b]:.1f} times at {b:,} ({2**16 // b} updates)" for b in behind]
        assert " and ".join(said) in text
        small = chapter.tuned(4096, 0.5).loss / chapter.tuned(4096, 0.0).loss
        assert f"at 4,096 momentum 0.5 ends at {small:.2f} times SGD's loss" in text
        # A few times 1/(1 − m): at the last batch size ahead, and at the first behind.
        assert [2**16 // b // 10 for b in (ahead[-1], behind[0])] == [6, 3]

    def test_tuned_learning_rates_do_not_lie_on_the_edge_of_the_grid(self) -> None:
        for b in chapter.BUDGET_BATCH_SIZES:
            for m in (0.0, *chapter.BUDGET_MOMENTA):
                assert 2**-8.5 < chapter.tuned(b, m).effective < 2**7.5
