"""The words of a diagnosis at their bounds, and the sentences that go with them."""

from __future__ import annotations

import math

import pytest

from sgdnoise.analysis.intervals import Interval
from sgdnoise.diagnose.regime import momentum_gain, regime_of, sentences

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


def said(**changed):
    given = {
        "batch_size": 32,
        "learning_rate": 0.01,
        "momentum": 0.0,
        "noise_scale": SCALE,
        "critical_rate": 0.1,
    }
    return sentences(**{**given, **changed})


def test_where_noise_dominates_it_says_how_far_both_may_grow():
    lines = said()
    assert lines[0].startswith("Noise dominates. A batch of 32 is 32 % of the noise scale, 100")
    # (1 + 100/64)/(1 + 100/32)
    assert "needs about 62 % of the updates" in lines[0]
    assert lines[-1].endswith(
        "together by 2.5 times before they meet the noise scale (its lower end)."
    )
    assert said(critical_rate=0.022)[-1].endswith(
        "by 2.2 times before they meet the critical learning rate."
    )
    assert "comes before the noise scale" in said(critical_rate=0.019)[-1]
    assert said(critical_rate=None)[-1].endswith("the noise scale (its lower end).")


@pytest.mark.parametrize(
    ("batch_size", "first", "times"),
    [
        (64, "Between the regimes. A batch of 64 is 64 % of", "needs about 70 %"),
        (1000, "Curvature dominates. A batch of 1,000 is 10 times", "still needs about 95 %"),
        (50, "Undecided. A batch of 50 is 50 % of", "reaches across regimes"),
        (None, "Without a batch size", "below half of the noise scale"),
    ],
)
def test_elsewhere_it_says_where_the_batch_lies(batch_size, first, times):
    lines = said(batch_size=batch_size)
    assert lines[0].startswith(first)
    assert times in lines[0]
    assert not any("grow together" in line for line in lines)


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
    assert any("2(1+m)/λmax" in line for line in said(momentum=0.9))


def test_where_nothing_curves_upwards_no_rate_is_bounded():
    assert any("curvature bounds no learning rate" in line for line in said(critical_rate=None))
