"""Intervals and estimates in words: never one that is not a number, nor an infinite one."""

from __future__ import annotations

import math

import pytest

from sgdnoise.analysis.intervals import Estimate, Interval

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((1.5, 1.2345, 2.0), "1.5 [1.23, 2]"),
        ((1024.0, 999.4, 2048.4), "1,024 [999, 2,048]"),
        ((-1024.0, -1500.0, 0.0312), "-1,024 [-1,500, 0.0312]"),
        ((999.6, 0.0, 999.4), "1,000 [0, 999]"),
        ((3.0, 1.0, INF), "3 [1 or more]"),
        ((3.0, -INF, 5.0), "3 [5 or less]"),
        ((3.0, -INF, INF), "3 [open]"),
        ((1.5, NAN, NAN), "1.5, no interval"),
        ((1.5, NAN, INF), "1.5, no interval"),
        ((NAN, NAN, NAN), "no fit"),
    ],
)
def test_an_interval_says_which_ends_are_open(interval, said):
    assert str(Interval(*interval)) == said


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        ((0.5, 0.0, 4), "+0.50 [+0.50, +0.50]"),
        ((-0.5, 0.1, 4), "-0.50 [-0.78, -0.22]"),
        ((0.5, NAN, 0), "+0.50, no interval"),
        ((0.5, 0.1, 0), "+0.50, no interval"),
        ((NAN, NAN, 0), "no number"),
    ],
)
def test_an_estimate_says_where_it_has_no_interval(estimate, said):
    assert str(Estimate(*estimate)) == said
