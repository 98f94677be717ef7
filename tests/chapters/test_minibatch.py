"""The chapter on a minibatch's update: its figures and sentences beside other routes."""

from __future__ import annotations

import numpy as np
import pytest

from sgdnoise.chapters import minibatch as chapter
from sgdnoise.chapters import minibatch_figures as figures
from sgdnoise.chapters import minibatch_findings as findings
from sgdnoise.theory import minibatch


def test_it_opens_on_half_of_the_examples():
    explorer = figures.clouds()
    (size,) = explorer.values.values()
    assert 2 * size == chapter.EXAMPLES
    text = findings.opening().data
    title = explorer.frame(**explorer.values)["layout"]["title"]["text"]
    for sampling in minibatch.SAMPLINGS:
        drawn = chapter.cloud(size, sampling)
        spread = np.sqrt(drawn.var(axis=0).sum() / chapter.toy().centred)
        exact = figures.spread_of(size, sampling)
        assert exact == pytest.approx(spread, rel=0.03)
        assert f"{exact:.3f}" in text
        assert f"{exact:.3f}" in title


def test_what_is_said_of_coins_is_what_the_covariances_give():
    text = findings.opening().data
    toy = chapter.toy().gradients
    for gradients, said in ((toy, "has {:.2f} times the variance"), (toy - toy.mean(axis=0), None)):
        ratios = [
            np.trace(minibatch.covariance(gradients, m, "bernoulli"))
            / np.trace(minibatch.covariance(gradients, m, "without"))
            for m in chapter.BATCHES
            if m < chapter.EXAMPLES
        ]
        np.testing.assert_allclose(ratios, ratios[0])
        assert (said or "mean gradient is zero it has {:.2f} times").format(ratios[0]) in text


def test_the_legend_of_the_clouds_has_the_ellipses_lines():
    fig = figures.cloud_figure(32)
    rings = [t for t in fig.data if t.showlegend is not False and t.legendgroup]
    assert [t.name for t in rings] == list(chapter.NAMES.values())
    assert all(t.mode == "lines" for t in rings)
    assert len({t.line.dash for t in rings}) == len(rings)
    clouds = [t for t in fig.data if t.showlegend is False]
    assert [(t.legendgroup, t.marker.color) for t in clouds] == [
        (t.legendgroup, t.line.color) for t in rings
    ]


def test_no_markup_of_symbols_is_left_raw():
    shown = [
        *findings.noise().data.columns,
        findings.noise_in_words().data,
        *(t.name for t in figures.root_figure(128).data),
        str(figures.root_figure(128).layout),
        *(slider.description for slider in figures.roots().sliders.values()),
    ]
    assert not [text for text in shown if "M_" in text or "η_" in text]
    assert "M<sub>S</sub>" in findings.noise_in_words().data


@pytest.mark.parametrize("sampling", minibatch.SAMPLINGS)
@pytest.mark.parametrize("size", [4, 48])
def test_an_ellipse_of_two_deviations_holds_what_a_normal_law_puts_in_it(size, sampling):
    drawn = chapter.cloud(size, sampling)
    covariance = minibatch.covariance(chapter.toy().gradients, size, sampling)
    off = drawn - chapter.toy().mean
    radius = np.einsum("ij,jk,ik->i", off, np.linalg.inv(covariance), off)
    assert (radius < 4).mean() == pytest.approx(1 - np.exp(-2), abs=0.03)
    ring = chapter.ellipse(size, sampling) - chapter.toy().mean
    on_it = np.einsum("ij,jk,ik->i", ring, np.linalg.inv(covariance), ring)
    np.testing.assert_allclose(on_it, 4)


def test_what_is_drawn_on_digits_is_exact():
    for sampling in minibatch.SAMPLINGS:
        for row in chapter.on_digits(sampling):
            assert abs(row.drawn - row.exact) <= 4 * row.error + 1e-12
    half = {row.batch_size: row for row in chapter.on_digits("without")}[512]
    assert half.exact / half.unlimited == pytest.approx(512 / 1023)


def test_noise_that_matches_has_the_small_batchs_covariance():
    for row in chapter.matched():
        assert abs(row.drawn - 1) < 4 * row.error
        assert row.exact < row.simple < row.printed
    assert f"σ² = {chapter.matched()[-1].exact:.2f}" in findings.noise_in_words().data


def test_the_pages_own_formula_is_what_is_drawn():
    def covariance(gradients, m):
        return (len(gradients) - m) / (m * (len(gradients) - 1)) * np.cov(gradients.T, bias=True)

    for _, row in findings.by_hand(covariance).data.iterrows():
        drawn, error = map(float, row.iloc[3].split(" ± "))
        assert abs(float(row.iloc[2]) - drawn) < 4 * error + 1e-4


def test_the_other_sliders_stand_where_their_titles_say():
    for explorer, says in ((figures.roots(), "From 128 to 32,768"), (figures.epochs(), "16 steps")):
        title = explorer.frame(**explorer.values)["layout"]["title"]["text"]
        assert says in title
    assert "0.5" in figures.factor_figure().layout.title.text
    assert "bernoulli" not in findings.three_ways().data
