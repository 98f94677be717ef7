"""The chapters on temperature and on the critical learning rate: what their figures show is true.

Each number is checked against something that the chapter does not use: finite differences, a step
loop, Boltzmann's law, a simulation of the SDE, dense grids.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sgdnoise.chapters import critical, fraction, short, table
from sgdnoise.chapters import temperature as chapter
from sgdnoise.data import registry
from sgdnoise.theory import sde
from sgdnoise.theory.moments import moments
from sgdnoise.theory.stability import spectral_radius, trajectory, update_matrix


def traces(fig: object) -> dict[str, object]:
    return {trace.name: trace for trace in fig.data}  # type: ignore[attr-defined]


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
        ends = sde.euler_maruyama(
            lambda x: -chapter.valleys_gradient(x),
            lambda x: np.full_like(x, np.sqrt(t * chapter.NOISE_VARIANCE)),
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

    def test_bars_are_the_runs_and_the_title_counts_them(self) -> None:
        fig = chapter.valleys_figure(1 / 8, 8)
        bars = traces(fig)["runs at the sliders' ε and B"]
        runs = chapter.valley_runs(1 / 8, 8)
        assert np.sum(bars.y) == pytest.approx(100, abs=0.2)  # type: ignore[attr-defined]
        assert f"{100 * np.mean(runs > chapter.ridge()):.0f} % of the runs" in fig.layout.title.text


class TestBowl:
    def test_equal_temperature_leaves_the_sde_where_it_is(self) -> None:
        name = "SDE, mean"
        here = traces(chapter.bowl_figure(1 / 8, 8))[name].y  # type: ignore[attr-defined]
        there = traces(chapter.bowl_figure(1 / 4, 16))[name].y  # type: ignore[attr-defined]
        elsewhere = traces(chapter.bowl_figure(1 / 4, 8))[name].y  # type: ignore[attr-defined]
        np.testing.assert_allclose(here, there, rtol=1e-12)
        assert np.abs(np.subtract(here, elsewhere)).max() > 0.1

    def test_band_of_the_sde_solves_its_moment_equation(self) -> None:
        lr, b = 1 / 8, 32
        t = lr / b
        outline = traces(chapter.bowl_figure(lr, b))["SDE at that T, ± 2 standard deviations"]
        upper, lower = np.split(np.asarray(outline.y), 2)  # type: ignore[attr-defined]
        # dV/dt = T c - 2 V, dM/dt = -M, in clock t = T × examples seen.
        points, fine = len(upper), 200
        clock = t * chapter.BOWL_EPOCH * chapter.BOWL_EPOCHS / ((points - 1) * fine)
        mean, variance = chapter.BOWL_START, 0.0
        for k in range(points):
            assert (upper[k] + lower[-1 - k]) / 2 == pytest.approx(mean, rel=1e-3)
            assert (upper[k] - lower[-1 - k]) / 4 == pytest.approx(np.sqrt(variance), rel=2e-3)
            for _ in range(fine):
                mean -= clock * mean
                variance += clock * (t * chapter.BOWL_NOISE - 2 * variance)

    def test_title_tells_the_spread_that_is_drawn(self) -> None:
        fig = chapter.bowl_figure(1 / 4, 16)
        by_name = traces(fig)
        middle = by_name["SGD, mean"].y  # type: ignore[attr-defined]
        upper = by_name["SGD, ± 2 standard deviations"].y  # type: ignore[attr-defined]
        assert f"at the end {(upper[-1] - middle[-1]) / 2:.3f}" in fig.layout.title.text

    def test_sgd_is_what_runs_do(self) -> None:
        lr, b, runs = 1 / 2, 32, 40_000
        steps = chapter.BOWL_EPOCH * chapter.BOWL_EPOCHS // b
        ends = sde.simulate_sgd(
            lambda x: x,
            np.full(runs, chapter.BOWL_START),
            learning_rate=lr,
            batch_size=b,
            steps=steps,
            rng=np.random.default_rng(1),
            noise_std=chapter.BOWL_NOISE**0.5,
        )
        upper = traces(chapter.bowl_figure(lr, b))["SGD, ± 2 standard deviations"]
        spread = upper.y[-1] / 2  # type: ignore[attr-defined]  # the mean is 2⁻¹⁵ by then
        assert abs(ends.std() / spread - 1) < 4 / np.sqrt(2 * runs)

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

    def test_second_moment_at_the_end_is_the_step_loops(self) -> None:
        run = next(r for r in chapter.scaling_runs() if r.learning_rate == 1 / 4)
        second = chapter.BOWL_START**2
        for _ in range(run.steps):
            kick = run.learning_rate**2 * chapter.SCALING_NOISE / run.batch_size
            second = (1 - run.learning_rate) ** 2 * second + kick
        assert run.second_moment == pytest.approx(second, rel=1e-12)
        off = abs(second / run.sde_second_moment - 1)
        assert f"off by {short(100 * off)} %" in chapter.scaling_figure(1 / 4).layout.title.text


class TestSampling:
    def test_simulated_spreads_are_the_exact_ones(self) -> None:
        ends = chapter.two_samplings(1 / 8, 8)
        law = sde.reshuffled_law(1 / 8, 1.0, 1.0, 8, chapter.SAMPLED_EXAMPLES)
        for sampling, exact in (("independent", law.independent), ("reshuffle", law.epoch_end)):
            ratio = ends[sampling].std() / np.sqrt(exact)  # type: ignore[index]
            assert abs(ratio - 1) < 4 / np.sqrt(2 * 4000)

    def test_title_and_profile_tell_the_spread_of_simulated_runs(self) -> None:
        fig = chapter.sampling_figure(1 / 8, 8)
        end = traces(fig)["reshuffled epochs"].y[-1]  # type: ignore[attr-defined]
        assert f"{end:.3g} reshuffled" in fig.layout.title.text
        unit = np.sqrt(1 / 8 / 8 / 2)  # T c / 2h
        ratio = chapter.two_samplings(1 / 8, 8)["reshuffle"].std() / unit / end
        assert abs(ratio - 1) < 4 / np.sqrt(2 * 4000)

    def test_profile_closes_and_sinks_at_small_learning_rates(self) -> None:
        small, large = (
            traces(chapter.sampling_figure(lr, 4))["reshuffled epochs"].y  # type: ignore[attr-defined]
            for lr in (1 / 128, 1.0)
        )
        assert small[0] == pytest.approx(small[-1])
        assert small.max() < 0.4
        assert large[1:-1].min() > 0.9


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

    def test_only_reshuffling_correlates_the_steps(self) -> None:
        lag = chapter.noise_between_steps(128)
        assert lag.expected_reshuffled == pytest.approx(-1 / 7)
        # A correlation over 400 pairs of vectors, each with many more than one free direction.
        assert abs(lag.next_independent) < 4 / np.sqrt(400 * 5)
        assert abs(lag.next_reshuffled + 1 / 7) < 4 / np.sqrt(400 * 5)
        assert lag.same == 1


class TestCritical:
    def test_experiment_finds_the_formula(self) -> None:
        for m, exact, found in critical.limits():
            assert exact == pytest.approx(2 * (1 + m))
            assert found == pytest.approx(exact, rel=1e-3)

    @pytest.mark.parametrize(("lr", "m"), [(1.8, 0.0), (2.4, 0.5), (3.6, 0.9), (4.0, 0.9)])
    def test_change_of_loss_is_that_of_the_matrix_power(self, lr: float, m: float) -> None:
        flat, steep, change = critical.bowl_path(lr, m)
        loss = []
        for k in (0, critical.BOWL_STEPS):
            ends = [
                np.linalg.matrix_power(update_matrix(lr, h, m), k) @ [x, 0.0]
                for h, x in ((critical.FLAT, flat[0]), (1.0, steep[0]))
            ]
            loss.append(critical.FLAT * ends[0][0] ** 2 + ends[1][0] ** 2)
        assert change == pytest.approx(loss[1] / loss[0], rel=1e-6)
        title = critical.descent_figure(lr, m).layout.title.text
        assert ("shrink" in title) == (lr < 2 * (1 + m))

    def test_words_fit_the_motion(self) -> None:
        for lr in critical.LEARNING_RATES:
            for m in critical.MOMENTA:
                words = critical.kind_of_motion(lr, m)
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
                assert critical.worst_radius(lr, m, kappa) == pytest.approx(dense, rel=1e-12)

    @pytest.mark.parametrize("kappa", [2, 20, 1000])
    def test_no_setting_is_faster_than_polyaks(self, kappa: float) -> None:
        lr, m = np.meshgrid(np.linspace(0.05, 4, 400), np.linspace(0, 0.99, 400))
        best = critical.worst_radius(*critical.polyak(kappa), kappa)
        others = critical.worst_radius(lr, m, kappa)
        # Where the roots are double, rounding moves the radius by the square root of its size.
        assert best <= others.min() + 1e-7
        assert others.min() - best < 0.02

    def test_steps_to_a_tenth(self) -> None:
        steps = critical.steps_per_tenth([0.1, np.sqrt(0.1), 0.0, 1.0, 1.2])
        np.testing.assert_allclose(steps, [1, 2, 1, np.nan, np.nan])

    def test_ramp_is_the_length_of_heavy_balls_steps(self) -> None:
        m = 0.9
        by_name = traces(critical.ramp_figure(m))
        total = by_name["S20's formula: a sum"]
        v, lengths = 0.0, {}
        for k in range(1, 1001):
            v = m * v + 1.0
            lengths[k] = v
        np.testing.assert_allclose(total.y, [lengths[k] for k in total.x])  # type: ignore[attr-defined]
        mean = by_name["an exponential moving average"]
        assert mean.y[-1] == pytest.approx(1)  # type: ignore[attr-defined]
        assert f"{100 * lengths[10] / 10:.0f} %" in critical.ramp_figure(m).layout.title.text

    def test_noise_and_path_agree_to_first_order_but_not_equally_long(self) -> None:
        for gap in critical.gaps():
            assert gap.settled_slope == pytest.approx(1, abs=0.02)
            assert gap.mean_slope == pytest.approx(1, abs=0.06)
            assert gap.mean_at_tenth < gap.settled_at_tenth
            # Near the limit of the page's condition, ε_eff λ of the order of 1 - m.
            assert 0.05 < 2 * gap.mean_at_tenth / (1 - gap.momentum) < 0.5

    def test_gap_of_the_paths_is_that_of_two_runs(self) -> None:
        gap = next(g for g in critical.gaps() if g.momentum == 0.9)
        k = int(np.argmin(np.abs(gap.of_critical - 0.01)))
        effective = 2 * gap.of_critical[k]
        steps = round(6 / effective)
        plain = trajectory(effective, 1.0, steps=steps)
        heavy = trajectory(effective * 0.1, 1.0, 0.9, steps=steps)
        # The chapter looks at 400 of these steps.
        assert gap.mean[k] == pytest.approx(np.abs(heavy - plain).max(), rel=1e-3)

    def test_settled_gap_is_that_of_long_runs(self) -> None:
        for gap in critical.gaps():
            m, lr = gap.momentum, 2 * gap.of_critical[::20]
            steps = np.ceil(30 * (1 / lr + 2 / (1 - m)))
            heavy = moments(lr * (1 - m), 1.0, 1.0, steps, m).variance
            plain = moments(lr, 1.0, 1.0, steps).variance
            np.testing.assert_allclose(gap.settled[::20], np.abs(heavy / plain - 1), rtol=1e-6)

    def test_swings_from_where_the_roots_turn_complex(self) -> None:
        for gap in critical.gaps():
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
        for _ in range(critical.BUDGET // b):
            state = step @ state @ step.swapaxes(1, 2) + (lr**2 * h / b)[:, None, None]
        expected = (h * state[:, 0, 0]).sum() / h.sum()
        assert critical.final_loss(effective, b, m) == pytest.approx(expected, rel=1e-9)

    def test_unstable_settings_have_no_loss(self) -> None:
        assert np.isinf(critical.final_loss(2.1, 1, 0.0))
        assert np.isfinite(critical.final_loss(2.1, 1024, 0.9))

    def test_momentum_changes_nothing_then_helps_then_is_too_slow(self) -> None:
        ratio = {
            b: critical.tuned(b, 0.9).loss / critical.tuned(b, 0.0).loss for b in (1, 512, 4096)
        }
        assert ratio[1] == pytest.approx(1, abs=0.01)
        assert ratio[512] < 0.8
        assert ratio[4096] > 2
        assert critical.tuned(512, 0.9).effective > critical.tuned(512, 0.0).effective
        assert critical.tuned(4096, 0.0).effective < 2

    def test_tuned_learning_rates_do_not_lie_on_the_edge_of_the_grid(self) -> None:
        for b in critical.BUDGET_BATCH_SIZES:
            for m in (0.0, *critical.BUDGET_MOMENTA):
                assert 2**-8.5 < critical.tuned(b, m).effective < 2**7.5


class TestWords:
    def test_fractions(self) -> None:
        assert [fraction(x) for x in (1 / 16, 1 / 3, 0.3, 1.0, 1.5, 2.0)] == [
            "1/16",
            "1/3",
            "0.3",
            "1",
            "1.5",
            "2",
        ]

    def test_short_numbers(self) -> None:
        assert [short(x) for x in (0.0, 0.29, 5.14, 345.2, 3.8e-6, 2.2e9)] == [
            "0",
            "0.29",
            "5.1",
            "345",
            "3.8 × 10⁻⁶",
            "2.2 × 10⁹",
        ]

    def test_table_keeps_order_and_names(self) -> None:
        html = table([{"B": 1, "share": "4 %"}, {"B": 2, "share": "5 %"}]).to_html()
        assert html.index("B") < html.index("share") < html.index("4 %") < html.index("5 %")
        assert 'class="dataframe"' in html
