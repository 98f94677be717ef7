"""The chapter on temperature: what its figures show is true.

Each number is checked against something that the chapter does not use: finite differences, a step
loop, Boltzmann's law, a simulation of the SDE, dense grids.
"""

from __future__ import annotations

import numpy as np
import pytest

from sgdnoise.chapters import fraction, short
from sgdnoise.chapters import temperature as chapter
from sgdnoise.chapters import temperature_figures as figures
from sgdnoise.theory import sde


def traces(fig: object) -> dict[str, object]:
    return {trace.name: trace for trace in fig.data}  # type: ignore[attr-defined]


class TestTwoValleys:
    def test_bars_are_the_runs_and_the_title_counts_them(self) -> None:
        fig = figures.valleys_figure(1 / 8, 8)
        bars = traces(fig)["runs at the sliders' ε and B"]
        runs = chapter.valley_runs(1 / 8, 8)
        assert np.sum(bars.y) == pytest.approx(100, abs=0.2)  # type: ignore[attr-defined]
        assert f"{100 * np.mean(runs > chapter.ridge()):.0f} % of the runs" in fig.layout.title.text

    def test_all_settings_title_legend_and_frame_tell_what_is_drawn(self) -> None:
        fig = figures.collapse_figure()
        alike, apart = chapter.one_curve()
        title = fig.layout.title.text
        assert title.startswith(f"Up to {fraction(alike / 0.5)} of the narrow valley's")
        assert f"from {fraction(apart / 0.5)} on" in title
        named = [t.name for t in fig.data if t.name.startswith("ε = ")]
        shares = [float(name.split(" = ")[2].split()[0]) for name in named]
        assert shares == [lr / 0.5 for lr in chapter.LEARNING_RATES]
        left = 10 ** fig.layout.xaxis.range[0]
        outside = [r for r in chapter.escapes() if r.temperature < left]
        (note,) = [a.text for a in fig.layout.annotations if a.name == "provenance"]
        assert f"{len(outside)} of the {len(chapter.escapes())} settings, below T = 0.002" in note
        assert {r.share for r in outside} == {0.0}
        assert "outside the frame, at 0 %" in note
        assert left == pytest.approx(0.002)


class TestBowl:
    def test_equal_temperature_leaves_the_sde_where_it_is(self) -> None:
        name = "SDE, mean"
        here = traces(figures.bowl_figure(1 / 8, 8))[name].y  # type: ignore[attr-defined]
        there = traces(figures.bowl_figure(1 / 4, 16))[name].y  # type: ignore[attr-defined]
        elsewhere = traces(figures.bowl_figure(1 / 4, 8))[name].y  # type: ignore[attr-defined]
        np.testing.assert_allclose(here, there, rtol=1e-12)
        assert np.abs(np.subtract(here, elsewhere)).max() > 0.1

    def test_band_of_the_sde_solves_its_moment_equation(self) -> None:
        lr, b = 1 / 8, 32
        t = lr / b
        outline = traces(figures.bowl_figure(lr, b))["SDE at that T, ± 2 standard deviations"]
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
        fig = figures.bowl_figure(1 / 4, 16)
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
        upper = traces(figures.bowl_figure(lr, b))["SGD, ± 2 standard deviations"]
        spread = upper.y[-1] / 2  # type: ignore[attr-defined]  # the mean is 2⁻¹⁵ by then
        assert abs(ends.std() / spread - 1) < 4 / np.sqrt(2 * runs)

    def test_second_moment_at_the_end_is_the_step_loops(self) -> None:
        run = next(r for r in chapter.scaling_runs() if r.learning_rate == 1 / 4)
        second = chapter.BOWL_START**2
        for _ in range(run.steps):
            kick = run.learning_rate**2 * chapter.SCALING_NOISE / run.batch_size
            second = (1 - run.learning_rate) ** 2 * second + kick
        assert run.second_moment == pytest.approx(second, rel=1e-12)
        off = abs(second / run.sde_second_moment - 1)
        assert f"off by {short(100 * off)} %" in figures.scaling_figure(1 / 4).layout.title.text


class TestSampling:
    def test_title_and_profile_tell_the_spread_of_simulated_runs(self) -> None:
        fig = figures.sampling_figure(1 / 8, 8)
        end = traces(fig)["reshuffled epochs"].y[-1]  # type: ignore[attr-defined]
        assert f"{end:.3g} reshuffled" in fig.layout.title.text
        unit = np.sqrt(1 / 8 / 8 / 2)  # T c / 2h
        ratio = chapter.two_samplings(1 / 8, 8)["reshuffle"].std() / unit / end
        assert abs(ratio - 1) < 4 / np.sqrt(2 * 4000)

    def test_profile_closes_and_sinks_at_small_learning_rates(self) -> None:
        small, large = (
            traces(figures.sampling_figure(lr, 4))["reshuffled epochs"].y  # type: ignore[attr-defined]
            for lr in (1 / 128, 1.0)
        )
        assert small[0] == pytest.approx(small[-1])
        assert small.max() < 0.4
        assert large[1:-1].min() > 0.9
