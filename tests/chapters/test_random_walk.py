"""The chapter on random walks: what it shows where its sliders stand, and what it says."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sgdnoise.chapters import random_walk as chapter
from sgdnoise.chapters import random_walk_figures as figures
from sgdnoise.chapters import random_walk_findings as findings
from sgdnoise.theory import growth, random_walk


def test_it_opens_where_lines_fit_a_walk_and_what_is_none():
    explorer = figures.slow()
    assert tuple(explorer.values.values()) == chapter.START
    walk = chapter.walk_path(*chapter.START)
    quarter, logistic, free = chapter.other_paths()
    x = np.log(walk.time)
    squares = [np.corrcoef(x, path.distance)[0, 1] ** 2 for path in (walk, quarter, logistic, free)]
    text = findings.opening().data
    assert re.findall(r"R² = (\d\.\d+)", text)[0] == f"{squares[0]:.3f}"
    assert [word for s in squares if (word := f"{s:.3f}") in text] == [f"{s:.3f}" for s in squares]
    assert min(squares[:3]) > 0.97
    title = explorer.frame(**explorer.values)["layout"]["title"]["text"]
    assert f"{squares[0]:.3f} on a random potential, {squares[1]:.3f} for t^¼" in title


def test_the_window_is_the_last_factor_of_a_hundred():
    path = chapter.walk_path(1.0, 0.5)
    assert path.time[-1] == chapter.LAST
    assert 60 < path.time[-1] / path.time[0] <= 100
    assert path.rising[0] == 0
    assert path.rising[-1] == 1


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_on_a_plane_the_closed_form_is_that_of_walkers(temperature):
    exact = chapter.walked(2.0, temperature)
    walk = random_walk.walk(
        2.0, temperature, exact.times[:12], potentials=4000, reach=2 * int(exact.times[11])
    )
    np.testing.assert_allclose(exact.rms[:12], walk.rms, rtol=0.06)


def test_no_walker_of_the_figures_meets_an_end():
    for alpha in (0.5, 1.0, 1.5):
        for temperature in chapter.TEMPERATURES:
            assert chapter.walked(alpha, temperature).at_end == 0


def test_the_pages_own_walk_is_the_librarys():
    def sinai(steps, temperature):
        rng = np.random.default_rng(1)
        right = 1 / (1 + np.exp(rng.standard_normal((2000, 513)) / temperature))
        place, row = np.full(2000, 256), np.arange(2000)
        for _ in range(steps):
            place = place + np.where(rng.random(2000) < right[row, place], 1, -1)
        return place - 256

    for _, row in findings.by_hand(sinai).data.iterrows():
        mine, library = float(row.iloc[1]), float(row.iloc[2])
        assert mine == pytest.approx(library, rel=0.15)


def test_the_table_tells_exact_powers_and_free_exponents():
    rows = findings.told_apart().data
    assert len(rows) == 12
    powers = rows[rows["what grows"].str.contains("t\\^¼")]
    assert set(powers["ΔAIC, log ahead"]) == {"−∞, an exact power"}
    assert set(powers["p of a + b t^p"]) == {"0.25"}
    logistic = rows[rows["what grows"].str.contains("logistic")]
    assert all(float(lead) > 20 for lead in logistic["ΔAIC, log ahead"])
    path = chapter.walk_path(*chapter.START)
    lead = growth.power_law(path.time, path.distance).aic
    lead -= growth.log_law(path.time, path.distance).aic
    assert f"{lead:+.0f} for the walk" in findings.in_words().data


def test_the_title_of_the_law_has_both_powers_of_the_last_stretch():
    title = figures.law_figure(1.0, 0.5).layout.title.text
    q, p, law = map(float, re.findall(r"\^(\d+\.?\d*)", title))
    walk = chapter.walked(1.0, 0.5)
    late = walk.times >= 300
    t, rms = np.log(walk.times[late]), np.log(walk.rms[late])
    assert p == pytest.approx(np.polyfit(t, rms, 1)[0], abs=0.006)
    assert q == pytest.approx(np.polyfit(np.log(t), rms, 1)[0], abs=0.006)
    assert law == 2


def test_the_weights_of_logistic_regression_gain_one_over_the_margin():
    for margin in chapter.MARGINS:
        time, steps, exact = chapter.logistic(margin)
        assert (exact[-1] - exact[-5]) / np.log(time[-1] / time[-5]) == pytest.approx(
            1 / margin, rel=0.02
        )
        np.testing.assert_allclose(steps[5:], exact[5:], rtol=0.15)


def test_a_convex_loss_spreads_with_distance_as_well():
    z, change = chapter.convex_draws()
    far, near = (np.sqrt((change[(z > a) & (z < b)] ** 2).mean()) for a, b in ((8, 10), (1, 2)))
    assert far > 4 * near
    # Convex: the change is above its own plane, so that its mean is above zero.
    assert change.mean() > 0


def test_figures_without_sliders_say_their_numbers():
    assert "times its limit" in figures.sinai_figure().layout.title.text
    cold, hot = (chapter.field(16, t).rms[-1] for t in chapter.FIELD_TEMPERATURES)
    assert f"{cold:.0f} cold, {hot:.0f} hot" in figures.field_figure().layout.title.text
    assert cold < hot / 2
    assert "2.0" in figures.logistic_figure().layout.title.text
    assert "wave" in findings.increments_hold().data
