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
        assert row.exact < row.simple < row.proportional
    assert "σ² ∝ M with the constant 1/M<sub>S</sub>" in findings.noise().data.columns
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


def test_noise_of_one_number_matches_the_trace_and_not_the_directions():
    last = chapter.matched()[-1]
    rng = np.random.default_rng(3)
    gradients = chapter.toy().gradients
    mean = gradients.mean(axis=0)
    # The batch of all has no noise but that of its factors.
    z = 1 + np.sqrt(last.exact) * rng.standard_normal((40_000, len(gradients)))
    noisy = z @ gradients / len(gradients)
    small = chapter.cloud(chapter.SMALL, "without")
    along = mean / np.linalg.norm(mean)
    drawn = [
        (noisy @ v).var() / (small @ v).var() for v in (along, np.array([-along[1], along[0]]))
    ]
    found = chapter.along_and_across(last.batch_size)
    assert found == pytest.approx(drawn, rel=0.08)
    text = findings.noise_in_words().data
    assert f"has {found[0]:.2f} times the variance" in text
    assert f"and {found[1]:.2f} times across it" in text
    assert found[0] > 1.5
    assert found[1] < 0.6
    assert "drawn with it, of the trace at M<sub>S</sub>" in findings.noise().data.columns


def test_with_a_short_mean_all_directions_match():
    gradients = chapter.toy().gradients - chapter.toy().mean
    variance = minibatch.matching_variance(gradients, 64, 4)
    np.testing.assert_allclose(
        minibatch.noisy_covariance(gradients, 64, variance),
        minibatch.covariance(gradients, 4, "without"),
    )


def test_the_set_violates_what_h17_assumes():
    toy = chapter.toy()
    assert toy.mean @ toy.mean > 0.5 * toy.centred
    assert chapter.BATCHES[-1] == toy.size


def test_with_h17s_covariance_between_batches_the_arch_would_not_come_down():
    caption = figures.epochs().children[-1].caption
    assert "+g gᵀ/(N − 1)" in caption
    assert "−C/(N − 1)" in caption
    gradients, m = chapter.toy().gradients, 4
    n, mean = len(gradients), chapter.toy().mean
    own, k = minibatch.covariance(gradients, m, "without"), len(gradients) // m
    right = k * own + k * (k - 1) * minibatch.between_batches(gradients)
    np.testing.assert_allclose(right, 0, atol=1e-12)
    theirs = [
        np.trace(j * own + j * (j - 1) * np.outer(mean, mean) / (n - 1)) for j in range(k + 1)
    ]
    assert (np.diff(theirs) > 0).all()
