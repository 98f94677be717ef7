"""The chapter on temperature: its numbers are true.

Each number is checked against something that the chapter does not use: finite differences, a step
loop, Boltzmann's law, a simulation of the SDE, dense grids.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from step_by_step import euler_maruyama

from sgdnoise.chapters import fraction
from sgdnoise.chapters import temperature as chapter
from sgdnoise.chapters import temperature_findings as findings
from sgdnoise.data import registry
from sgdnoise.theory import sde


class TestTwoValleys:
    def test_gradient_is_the_slope_of_the_loss(self) -> None:
        x, step = np.linspace(-4, 5, 181), 1e-6
        slope = (chapter.valleys_loss(x + step) - chapter.valleys_loss(x - step)) / (2 * step)
        np.testing.assert_allclose(chapter.valleys_gradient(x), slope, atol=1e-7)

    def test_two_bottoms_equally_deep_with_the_curvatures_that_the_page_names(self) -> None:
        step = 1e-4
        for place, curvature in ((-1.0, chapter.NARROW), (1.0, chapter.WIDE)):
            x = place + np.array([-step, 0, step])
            loss = chapter.valleys_loss(x)
            # The other valley rounds each bottom by exp(-2/0.25) of its own loss at most.
            assert loss[1] == pytest.approx(0, abs=1e-3)
            assert (loss[0] - 2 * loss[1] + loss[2]) / step**2 == pytest.approx(curvature, rel=0.02)
        assert chapter.CRITICAL == 0.5
        assert chapter.valleys_loss(np.array([chapter.ridge()]))[0] > 0.5

    def test_sde_law_settles_at_boltzmanns(self) -> None:
        x, probability = chapter.sde_law(1 / 16, 1e4)
        boltzmann = np.exp(-2 * chapter.valleys_loss(x) * 16 / chapter.NOISE_VARIANCE)
        np.testing.assert_allclose(probability, boltzmann / boltzmann.sum(), atol=1e-9)

    def test_sde_law_starts_as_that_of_the_narrow_valley_alone(self) -> None:
        t = 0.1
        x, probability = chapter.sde_law(1 / 512, t)
        variance = ((x + 1) ** 2 * probability).sum()
        narrow = chapter.NARROW
        alone = chapter.NOISE_VARIANCE / 512 / (2 * narrow) * (1 - np.exp(-2 * narrow * t))
        # The cells, 0.02 wide, add to it the variance of a step between them, in the percents.
        assert variance == pytest.approx(alone, rel=0.03)
        assert probability.sum() == pytest.approx(1, abs=1e-9)

    def test_sde_law_is_that_of_a_simulation_at_a_small_step(self) -> None:
        t, time, runs = 1 / 64, 36.0, 3000
        ends = euler_maruyama(
            lambda x: -chapter.valleys_gradient(x),
            np.sqrt(t * chapter.NOISE_VARIANCE),
            np.full(runs, -1.0),
            step=1 / 96,
            steps=int(time * 96),
            rng=np.random.default_rng(3),
        )
        expected = chapter.sde_share_in_wide(t, time)
        error = np.sqrt(expected * (1 - expected) / runs)
        assert abs(chapter.share_in_wide(ends) - expected) < 4 * error

    def test_equal_temperature_is_equal_outcome_far_below_the_critical_learning_rate(self) -> None:
        rows = chapter.escapes()
        assert len(rows) == len(chapter.LEARNING_RATES) * len(chapter.BATCH_SIZES)
        small = [r for r in rows if r.of_critical < 0.1]
        assert len(small) >= 20
        assert max(abs(r.share - r.sde_share) / r.error for r in small) < 4
        # The agreement is not that of runs that all stayed.
        assert {round(r.sde_share, 1) for r in small} >= {0.0, 0.1, 0.4}

    def test_and_breaks_near_it_by_leaving_more_readily(self) -> None:
        broken = [r for r in chapter.escapes() if r.of_critical >= 0.5 and r.sde_share > 0.05]
        assert all(r.share > r.sde_share for r in broken)
        assert max(r.share - r.sde_share for r in broken) > 0.25

    def test_one_curve_ends_where_the_settings_first_leave_the_sde(self) -> None:
        alike, apart = chapter.one_curve()
        assert chapter.LEARNING_RATES.index(apart) == chapter.LEARNING_RATES.index(alike) + 1
        off = {lr: [] for lr in chapter.LEARNING_RATES}
        for r in chapter.escapes():
            off[r.learning_rate].append(abs(r.share - r.sde_share) / r.error)
        assert all(max(off[lr]) < 3 for lr in chapter.LEARNING_RATES if lr <= alike)
        assert all(max(off[lr]) >= 3 for lr in chapter.LEARNING_RATES if lr >= apart)
        # Not a matter of the bound: the settings leave the curve by far more.
        assert max(off[apart]) > 6

    def test_text_tells_how_many_settings_are_a_test_and_how_far_the_next_are_off(self) -> None:
        alike, apart = chapter.one_curve()
        text = findings.agreement().data
        below = [r.sde_share for r in chapter.escapes() if r.learning_rate <= alike]
        moved = sum(share >= 0.005 for share in below)
        assert f"Of these {len(below)} settings only {moved} put" in text
        assert f"Up to ε = {fraction(alike)}, {alike / 0.5:g} of that" in text
        eight = next(r for r in chapter.escapes() if (r.learning_rate, r.batch_size) == (apart, 8))
        runs = np.mean(chapter.valley_runs(apart, 8) > chapter.ridge())
        assert f"at B = 8, {runs:.0%} of the runs have moved instead of" in text
        assert f"SDE's {eight.sde_share:.0%}" in text


class TestBowl:
    def test_linear_scaling_is_of_first_order(self) -> None:
        orders = chapter.scaling_orders()
        assert len(orders) == 3
        for order in orders:
            assert order.slope == pytest.approx(1, abs=0.03)
            assert np.all(np.diff(order.error) > 0)

    def test_error_in_the_long_run_is_the_formula_of_the_page(self) -> None:
        settled = chapter.scaling_orders()[0]
        z = settled.of_critical
        np.testing.assert_allclose(settled.error, z / (1 - z), rtol=1e-9)
        assert settled.at_half == pytest.approx(1)


class TestSampling:
    def test_simulated_spreads_are_the_exact_ones(self) -> None:
        ends = chapter.two_samplings(1 / 8, 8)
        law = sde.reshuffled_law(1 / 8, 1.0, 1.0, 8, chapter.SAMPLED_EXAMPLES)
        for sampling, exact in (("independent", law.independent), ("reshuffle", law.epoch_end)):
            ratio = ends[sampling].std() / np.sqrt(exact)  # type: ignore[index]
            assert abs(ratio - 1) < 4 / np.sqrt(2 * 4000)


class TestRealNoise:
    def test_gradients_are_those_of_autograd(self) -> None:
        data = registry.load("digits")
        images = data.train_images.double().flatten(1) / data.scale
        inputs = torch.cat([images, torch.ones(len(images), 1, dtype=torch.float64)], dim=1)
        weights = torch.zeros(inputs.shape[1], len(data.classes), dtype=torch.float64)
        for _ in range(4):
            weights.requires_grad_()
            loss = torch.nn.functional.cross_entropy(inputs @ weights, data.train_labels)
            (gradient,) = torch.autograd.grad(loss, weights)
            weights = (weights - 0.5 * gradient).detach()
        ours = chapter.digits_gradients(3)
        np.testing.assert_allclose(ours.mean(axis=0), gradient.numpy().ravel(), atol=1e-12)
        weights = torch.zeros_like(weights).requires_grad_()
        loss = torch.nn.functional.cross_entropy(inputs[7:8] @ weights, data.train_labels[7:8])
        (single,) = torch.autograd.grad(loss, weights)
        np.testing.assert_allclose(
            chapter.digits_gradients(0)[7], single.numpy().ravel(), atol=1e-12
        )

    def test_drawn_batches_side_with_the_finite_centred_form(self) -> None:
        sizes = (16, 512, 1024)
        for row in chapter.minibatch_noise(0, sizes):
            assert abs(row.measured - row.centred) <= 4 * row.error + 1e-20
            assert row.fisher > row.unlimited > row.centred
        half, whole = chapter.minibatch_noise(0, sizes)[1:]
        assert half.unlimited / half.centred == pytest.approx(2)
        assert (half.unlimited - half.measured) / half.error > 20
        assert whole.centred == 0

    def test_fisher_exceeds_the_covariance_by_the_squared_mean_gradient(self) -> None:
        gradients = chapter.digits_gradients(0)
        (row,) = chapter.minibatch_noise(0, (1,))
        n = len(gradients)
        mean = (gradients.mean(axis=0) ** 2).sum()
        assert row.fisher - row.unlimited * (n - 1) / n == pytest.approx(mean)

    def test_text_tells_how_near_s20s_table_comes_to_the_whole_set(self) -> None:
        assert "B = 32,768, which is 0.66 N with CIFAR-10's N = 50,000" in (
            findings.far_from_many().data
        )
        rows = findings.papers_temperatures().data
        (column,) = [name for name in rows.columns if "N = 50,000" in name]
        last = rows.iloc[-1]
        exact = float(last["tuned ε<sub>eff</sub>"]) * (1 / 32768 - 1 / 50000)
        assert float(last[column]) == pytest.approx(exact, abs=6e-6)

    def test_only_reshuffling_correlates_the_steps(self) -> None:
        lag = chapter.noise_between_steps(128)
        assert lag.expected_reshuffled == pytest.approx(-1 / 7)
        # A correlation over 400 pairs of vectors, each with many more than one free direction.
        assert abs(lag.next_independent) < 4 / np.sqrt(400 * 5)
        assert abs(lag.next_reshuffled + 1 / 7) < 4 / np.sqrt(400 * 5)
