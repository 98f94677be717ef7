"""The words of a diagnosis at their bounds, and the sentences that go with them."""

from __future__ import annotations

import math

import pytest

from sgdnoise.analysis.intervals import Interval
from sgdnoise.diagnose.regime import Limits, momentum_gain, regime_of, sentences

SCALE = Interval(100.0, 80.0, 125.0)


@pytest.mark.parametrize(
    ("batch_size", "momentum", "word"),
    [
        (None, 0.0, "not asked"),
        (40, 0.0, "noise-dominated"),
        (41, 0.0, "undecided"),
        (62, 0.0, "undecided"),
        (63, 0.0, "between"),
        (159, 0.0, "between"),
        (160, 0.0, "undecided"),
        (249, 0.0, "undecided"),
        (250, 0.0, "curvature-dominated"),
        # Momentum moves the far bound alone, (1 + m)/(1 − m) times as far.
        (40, 0.9, "noise-dominated"),
        (250, 0.9, "between"),
        (19 * 250 - 1, 0.9, "undecided"),
        (19 * 250 + 1, 0.9, "curvature-dominated"),
    ],
)
def test_the_word_goes_by_both_ends_of_the_interval(batch_size, momentum, word):
    assert regime_of(batch_size, momentum, SCALE).word == word


@pytest.mark.parametrize(
    ("scale", "word"),
    [
        (Interval(math.nan, math.nan, math.nan), "undecided"),
        (Interval(math.inf, -math.inf, math.inf), "undecided"),
        (Interval(math.inf, 63.0, math.inf), "undecided"),
        (Interval(math.inf, 64.0, math.inf), "noise-dominated"),
        (Interval(10.0, 1.0, math.inf), "undecided"),
    ],
)
def test_an_open_interval_decides_by_the_end_that_it_has(scale, word):
    assert regime_of(32, 0.0, scale).word == word
    first, *_ = said(batch_size=32, noise_scale=scale)
    assert first.startswith({"undecided": "Undecided", "noise-dominated": "Noise"}[word])
    assert "nan" not in first
    assert "inf" not in first


def test_the_gain_of_momentum():
    assert momentum_gain(0.0) == 1
    assert momentum_gain(0.9) == pytest.approx(19)


def said(noise_scale=SCALE, critical=0.1, best_step=math.nan, everything=False, **changed):
    given = {"batch_size": 32, "learning_rate": 0.01, "momentum": 0.0}
    limits = Limits(noise_scale, best_step, critical, everything)
    return sentences(limits, **{**given, **changed})


def test_where_noise_dominates_it_says_how_far_both_may_grow():
    lines = said()
    assert lines[0].startswith("Noise dominates. A batch of 32 is 32 % of the noise scale, 100")
    # (1 + 100/64)/(1 + 100/32)
    assert "about 62 % of the updates, at the best rate of each" in lines[0]
    assert "meet the lower end of the noise scale when both have grown by 2.5 times" in lines[-1]
    assert "critical learning rate when both have grown by 2.2 times" in said(critical=0.022)[-1]
    assert "comes before the boundary" in said(critical=0.019)[-1]
    assert "lower end of the noise scale" in said(critical=None)[-1]
    far = Interval(9000.0, 8000.0, 10_000.0)
    assert "by 250 times" in said(noise_scale=far, learning_rate=1e-6)[-1]


def test_the_boundary_is_where_the_best_step_meets_the_critical_rate_if_that_is_first():
    # best/(1 + 100/B) = 0.1 at B = 100/(best/0.1 − 1).
    assert Limits(SCALE, 0.2, 0.1).boundary == SCALE
    assert Limits(SCALE, math.nan, 0.1).boundary == SCALE
    assert Limits(SCALE, 9.0, None).boundary == SCALE
    # At best = 3 · 0.05 that is B = 50; at 1.5 · 0.1 the noise scale comes first.
    assert Limits(SCALE, 0.15, 0.05).boundary.value == pytest.approx(50)
    assert Limits(SCALE, 0.15, 0.1).boundary == SCALE
    near = Limits(SCALE, 0.5, 0.1).boundary
    assert (near.value, near.low, near.high) == (25.0, 20.0, 31.25)
    lines = said(best_step=0.5, batch_size=8)
    assert lines[0].startswith("Noise dominates. A batch of 8 is 32 % of the boundary, 25 [20, 31")
    assert "meets the critical learning rate, before the noise scale of 100" in lines[0]
    assert "lower end of the boundary" in lines[-1]
    # By the noise scale alone it would be dominated by noise.
    assert said(best_step=0.5)[0].startswith("Between the regimes. A batch of 32 is 1.28 times")
    assert said(best_step=0.5, batch_size=70)[0].startswith("Curvature dominates.")


@pytest.mark.parametrize(
    ("batch_size", "first", "times"),
    [
        (64, "Between the regimes. A batch of 64 is 64 % of", "needs about 70 %"),
        (1000, "Curvature dominates. A batch of 1,000 is 10 times", "still needs about 95 %"),
        (50, "Undecided. A batch of 50 is 50 % of", "give more examples with --examples"),
        (None, "Without a batch size", "below half of the noise scale"),
    ],
)
def test_elsewhere_it_says_where_the_batch_lies(batch_size, first, times):
    lines = said(batch_size=batch_size)
    assert lines[0].startswith(first)
    assert times in lines[0]
    assert not any("grow together" in line for line in lines)


def test_where_all_examples_are_in_use_it_asks_for_no_more():
    (line, *_) = said(batch_size=50, everything=True)
    assert "All examples are in use" in line
    unknown = Interval(math.nan, math.nan, math.nan)
    assert "All examples are in use" in said(noise_scale=unknown, everything=True)[0]
    assert "give more examples" in said(noise_scale=unknown)[0]


@pytest.mark.parametrize(
    ("rate", "word"),
    [
        (None, "has to stay below the critical one, 2/λmax = 0.1"),
        (0.05, "is 50 % of the critical one, 2/λmax = 0.1: there is room for twice"),
        (0.051, "leaves no room for twice the rate"),
        (0.0999, "leaves no room"),
        (0.1, "on a quadratic with this curvature it diverges"),
        (0.2, "is 2 times the critical one"),
    ],
)
def test_the_rate_is_told_beside_the_critical_one(rate, word):
    assert any(word in line for line in said(learning_rate=rate))


def test_momentum_is_told_with_its_gain():
    assert not any("momentum" in line for line in said())
    (line,) = [line for line in said(momentum=0.9) if line.startswith("With momentum")]
    assert "19 times the effective rate" in line
    # 2/λmax = 0.1.
    assert any("2(1+m)/λmax = 0.19:" in line for line in said(momentum=0.9))


def test_where_nothing_curves_upwards_no_rate_is_bounded():
    assert any("curvature bounds no learning rate" in line for line in said(critical=None))
