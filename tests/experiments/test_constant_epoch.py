"""S20's figure 1 on made-up numbers: every word that its claims can say, and how near it is."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from made_up import (
    NO_REGIMES,
    diverged,
    estimate,
    exactly,
    noisy,
    reading,
    regimes,
    rising,
    told,
    two_regimes,
    with_regimes,
)
from scipy import stats

from sgdnoise.analysis import Interval, Reading
from sgdnoise.analysis.locate import Located
from sgdnoise.experiments.constant_epoch import findings, sentences
from sgdnoise.figures import tuned as figures

CLAIMS = {claim.id: claim for claim in findings.CLAIMS}
OTHER = {"sgd": "momentum", "momentum": "sgd"}
OPEN = math.inf
WORDLESS = re.compile(r"\b(nan|inf|None)\b")


def needs(of, claim):
    said = CLAIMS[claim].needs(of)
    assert not WORDLESS.search(said)
    return said


def told_of(fresh=None, peaks=None, boundary=(32.0, 20.0, 40.0)):
    """At scale digits, 1 to 1,024, with plain SGD's boundary; momentum's must not matter."""
    said = {"sgd": regimes(boundary=exactly(*boundary)), "momentum": regimes(boundary=4.0)}
    return told("constant-epoch", "digits", fresh, peaks, **said)


# --- Slopes and boundaries --------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sgd", "momentum"])
@pytest.mark.parametrize(
    ("slope", "word"),
    [
        ((1.0, 0.8, 1.2), "reproduced"),
        ((1.1, 1.05, 1.19), "reproduced"),
        ((0.9, 0.81, 0.95), "reproduced"),
        ((1.0, 0.79, 1.1), "undecided"),
        ((1.0, 0.9, 1.21), "undecided"),
        ((1.3, 1.19, 1.4), "undecided"),
        ((1.3, 1.21, 1.4), "contradicted"),
        ((0.7, 0.6, 0.81), "undecided"),
        ((0.7, 0.6, 0.79), "contradicted"),
        ((-1.0, -1.1, -0.9), "contradicted"),
        ((0.9, math.nan, math.nan), "undecided"),
    ],
)
def test_linear_scaling_is_a_slope_of_1_within_its_margin(method, slope, word):
    stands = Interval(*slope)
    said = {
        method: regimes(slope=stands, boundary=33.3, carried=6),
        OTHER[method]: regimes(slope=5.0, carried=5),
    }
    found = findings.linear_scaling(told("constant-epoch", "digits", **said), method)
    assert found.word == word
    assert (found.margin, found.printed, found.unit) == (0.2, 1, "slope")
    assert found.rests_on == "batch sizes"
    assert found.effect == slope[0]
    assert found.interval == (None if math.isnan(slope[1]) else slope[1:])
    assert found.why == (
        f"the slope is {stands}, from 6 batch sizes below a boundary of about 33; "
        "in proportion means a slope of 1."
    )


@pytest.mark.parametrize("method", ["sgd", "momentum"])
def test_a_slope_takes_three_batch_sizes_and_four_optima(method):
    claim = f"S20-F1c.linear-scaling.{method}"

    def lacks(fit):
        return needs(
            told("constant-epoch", "digits", **{method: fit, OTHER[method]: regimes()}), claim
        )

    assert lacks(regimes(carried=3)) == ""
    assert lacks(regimes(boundary=7.6, carried=2)) == (
        "2 batch sizes lie below the boundary of 8; a slope takes 3."
    )
    # As the fit has it: too few carry an interval.
    assert lacks(regimes(exactly(1.0, math.nan, math.nan), 7.6, carried=1)) == (
        "1 batch sizes lie below the boundary of 8; a slope takes 3."
    )
    assert lacks(NO_REGIMES) == "fewer than four batch sizes have an optimum inside their grid."


def rates(slope, wiggle=0.0, wild=(), edges=()):
    """Plain SGD's tuned rates on a line, to and fro about it; wild or on an edge at some sizes."""

    def peaks(key):
        size = math.log2(key["batch_size"])
        if key["method"] != "sgd" or key["batch_size"] in wild:
            return Located(7.0 * size, 0.0, 0.0, "parabola")
        if key["batch_size"] in edges:
            return Located(99.0, math.nan, math.nan, "edge")
        at = slope * size + wiggle * (-1) ** size
        return Located(at, at, at, "set")

    return peaks


@pytest.mark.parametrize(
    ("slope", "word"),
    [(0.0, "reproduced"), (0.24, "reproduced"), (0.26, "contradicted"), (1.0, "contradicted")],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_beyond_twice_the_boundary_the_rate_is_flat_within_a_quarter(slope, word, sign):
    # 64 to 1,024: 32 itself does not count.
    found = findings.flat_beyond(told_of(peaks=rates(sign * slope, wild=(16, 32))))
    assert found.word == word
    assert found.effect == pytest.approx(sign * slope)
    assert (found.margin, found.unit, found.rests_on) == (0.25, "slope", "batch sizes")
    assert found.why.startswith(
        "over the 5 batch sizes from twice the boundary on, B = 64 and more, the slope of the best "
    )


def test_a_flat_part_that_scatters_is_undecided_and_edges_are_left_out():
    of = told_of(peaks=rates(0.0, wiggle=1.0))
    found = findings.flat_beyond(of)
    assert found.word == "undecided"
    x, y = np.arange(6, 11), np.array([1, -1, 1, -1, 1])
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.975, 3) * fit.stderr
    assert found.interval == pytest.approx((fit.slope - half, fit.slope + half))
    fewer = findings.flat_beyond(told_of(peaks=rates(0.0, edges=(64, 512))))
    assert fewer.why == (
        "over the 3 batch sizes from twice the boundary on, B = 128 and more, the slope of the "
        "best rate is 0 [0, 0]; no growth means a slope of 0."
    )
    assert fewer.word == "reproduced"


def test_what_the_flat_part_lacks():
    claim = "S20-F1c.flat-beyond"
    assert needs(told_of(peaks=rates(0.0, edges=(64, 512))), claim) == ""
    assert needs(told_of(peaks=rates(0.0, edges=(64, 256, 512))), claim) == (
        "2 of the batch sizes tried have an optimum inside the grid and lie at twice or beyond "
        "plain SGD's boundary, at 32 [20, 40]; it takes 3."
    )
    for boundary, lacks in ((128.0, False), (128.1, True), (256.0, True)):
        of = told_of(peaks=rates(0.0), boundary=(boundary, 1.0, OPEN))
        assert bool(needs(of, claim)) == lacks
    lone = told_of(peaks=rates(0.0), boundary=(1024.0, 600.0, OPEN))
    assert needs(lone, claim).endswith("boundary, at 1,024 [600 or more]; it takes 3.")
    none = told("constant-epoch", "digits", peaks=rates(0.0), sgd=NO_REGIMES, momentum=NO_REGIMES)
    for claim in CLAIMS:
        if claim not in ("S20-C2.momentum-is-sgd",):
            assert needs(none, claim)
    assert needs(none, "S20-F1c.flat-beyond") == (
        "no boundary was found: fewer than four batch sizes have an optimum inside a grid."
    )


def about(log_value, down, up):
    """A boundary by its log₂ and how far the bounds are from it."""
    return Interval(2.0**log_value, 2.0 ** (log_value - down), 2.0 ** (log_value + up))


@pytest.mark.parametrize(
    ("sgd", "momentum", "word"),
    [
        # Three octaves further: √(1 + 2.8²) < 3 < √(1 + 2.85²).
        ((5, 9, 1), (8, 2.8, 9), "reproduced"),
        ((5, 9, 1), (8, 2.85, 9), "undecided"),
        ((8, 2.8, 9), (5, 9, 1), "contradicted"),
        ((8, 2.85, 9), (5, 9, 1), "undecided"),
        ((5, 0.3, 0.3), (5, 0.3, 0.3), "absent"),
        ((5, 0.3, 0.3), (5, 0.41, 0.3), "undecided"),
        ((5, 0.3, 0.41), (5, 0.3, 0.3), "undecided"),
        ((5, OPEN, 1), (8, 1, OPEN), "reproduced"),
        ((5, 1, OPEN), (8, 1, 1), "undecided"),
        ((5, 1, 1), (8, OPEN, 1), "undecided"),
        ((8, 1, OPEN), (5, OPEN, 1), "contradicted"),
    ],
)
def test_momentum_scales_further_where_its_boundary_surely_lies_beyond(sgd, momentum, word):
    said = {"sgd": regimes(boundary=about(*sgd)), "momentum": regimes(boundary=about(*momentum))}
    found = findings.scales_further(told("constant-epoch", "digits", **said))
    assert found.word == word
    assert found.effect == pytest.approx(momentum[0] - sgd[0])
    assert (found.margin, found.unit, found.rests_on) == (0.5, "log2 ratio", "batch sizes")
    down, up = math.hypot(momentum[1], sgd[2]), math.hypot(momentum[2], sgd[1])
    if math.isfinite(down + up):
        assert found.interval == pytest.approx((found.effect - down, found.effect + up))
    assert not WORDLESS.search(found.why)


def test_boundaries_are_told_with_their_open_ends():
    said = {
        "sgd": regimes(boundary=about(5, 1, 1)),
        "momentum": regimes(boundary=about(10, 3, OPEN)),
    }
    found = findings.scales_further(told("constant-epoch", "digits", **said))
    assert found.why == (
        "with momentum the learning rate stops growing at B ≈ 1,024 [128 or more], with plain SGD "
        "at 32 [16, 64]: the first is 32 [3.57 or more] times the second."
    )
    claim = "S20-F1c.momentum-scales-further"
    assert needs(told("constant-epoch", "digits", **said), claim) == ""
    for lost in ("sgd", "momentum"):
        of = told("constant-epoch", "digits", **{**said, lost: NO_REGIMES})
        assert needs(of, claim) == (
            "a method has fewer than four batch sizes with an optimum inside."
        )


def test_two_regimes_are_found_where_they_are():
    two = reading("constant-epoch", "digits", 5, noisy(two_regimes))
    fits = two.regimes
    assert fits["sgd"].slope.value == pytest.approx(1, abs=0.1)
    assert fits["sgd"].boundary.holds(32)
    assert fits["momentum"].boundary.holds(256)
    assert {id: claim.judge(two).word for id, claim in CLAIMS.items() if "F1c" in id} == {
        "S20-F1c.linear-scaling.sgd": "reproduced",
        "S20-F1c.linear-scaling.momentum": "reproduced",
        "S20-F1c.flat-beyond": "reproduced",
        "S20-F1c.momentum-scales-further": "reproduced",
        "S20-F1c.same-rate-below": "reproduced",
        "S20-F1c.larger-rate-beyond": "reproduced",
    }
    table = findings.boundary_table(two).set_index("method")
    # S20 says of plain SGD where it is, and of momentum that the rate grows beyond that.
    assert dict(table["boundary, S20 (its own net)"]) == {
        "SGD": "512",
        "SGD with momentum 0.9": "beyond 512, not printed",
    }
    assert list(table["slope, S20"]) == ["1", "1"]
    for name, fit in zip(("SGD", "SGD with momentum 0.9"), fits.values(), strict=True):
        row = table.loc[name]
        assert row["batch sizes below the boundary"] == f"{fit.carried} of 11"
        assert row["slope below the boundary"] == str(fit.slope)
        assert row["learning rate beyond it"] == str(fit.level)
        assert row["boundary batch size"] == str(fit.boundary)
    part = two.part(lambda key: dict(key) != {"method": "momentum", "batch_size": 1024})
    counts = findings.boundary_table(part)["batch sizes below the boundary"]
    assert [count.split(" of ")[1] for count in counts] == ["11", "10"]
    unseen = with_regimes(two, sgd=regimes(boundary=exactly(32, 20, OPEN)))
    assert list(findings.boundary_table(unseen)["boundary batch size"]) == ["no flat part seen"]


# --- Ratios of rates ---------------------------------------------------------------------------


def ratios(wanted, edges=()):
    """Momentum's rate over plain SGD's, log₂, by batch size; edges by method and batch size."""

    def peaks(key):
        size = key["batch_size"]
        if (key["method"], size) in edges:
            return Located(50.0, math.nan, math.nan, "edge")
        heavy = wanted.get(size, 30.0) if key["method"] == "momentum" else 0.0
        return Located(0.1 * size + heavy, 0.0, 0.0, "set")

    return peaks


BELOW = (1, 2, 4, 8, 16)
"""Up to the lower end of plain SGD's boundary, 20; 32 lies below its upper end."""

SURELY = "surely below plain SGD's boundary (B ≤ 20 by its interval)"

BEYOND = (128, 256, 512, 1024)
"""From four times 32 on."""


def spread_about(mean, scatter, sizes):
    """Values of a mean, whose standard error is `scatter`, by batch size."""
    x = np.arange(len(sizes)) - (len(sizes) - 1) / 2
    x *= scatter * math.sqrt(len(sizes)) / x.std(ddof=1)
    return dict(zip(sizes, mean + x, strict=True))


HALF = {n: stats.t.ppf(0.975, n - 1) for n in (4, 5)}


@pytest.mark.parametrize(
    ("mean", "half", "word"),
    [
        (0.0, 0.98, "reproduced"),
        (0.0, 1.02, "undecided"),
        (0.5, 0.48, "reproduced"),
        (0.5, 0.52, "undecided"),
        (1.5, 0.52, "undecided"),
        (1.5, 0.48, "contradicted"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_below_the_boundary_the_rates_agree_within_a_step(mean, half, word, sign):
    of = told_of(peaks=ratios(spread_about(sign * mean, half / HALF[5], BELOW)))
    found = findings.same_rate_below(of)
    assert found.word == word
    assert found.effect == pytest.approx(sign * mean, abs=1e-12)
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(half)
    assert (found.margin, found.unit, found.rests_on) == (1.0, "log2 ratio", "batch sizes")
    assert found.why.endswith(f" in log₂, the mean over 5 batch sizes {SURELY}.")
    assert found.why.startswith("momentum's best effective rate divided by plain SGD's is ")


@pytest.mark.parametrize(
    ("mean", "half", "word"),
    [
        (0.5, 0.48, "reproduced"),
        (3.0, 2.9, "reproduced"),
        (0.5, 0.52, "undecided"),
        (0.2, 0.78, "absent"),
        (0.2, 0.82, "undecided"),
        (-0.2, 0.78, "absent"),
        (-0.2, 0.82, "undecided"),
        (-0.5, 0.52, "undecided"),
        (-0.5, 0.48, "contradicted"),
    ],
)
def test_beyond_the_boundary_momentum_bears_the_larger_rate(mean, half, word):
    found = findings.larger_rate_beyond(
        told_of(peaks=ratios(spread_about(mean, half / HALF[4], BEYOND)))
    )
    assert found.word == word
    assert found.effect == pytest.approx(mean)
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(half)
    assert (found.margin, found.unit, found.rests_on) == (1.0, "log2 ratio", "batch sizes")
    value = Interval(found.effect, *found.interval)
    assert found.why == (
        f"momentum's best effective rate divided by plain SGD's is {value} in log₂, the mean over "
        "4 batch sizes from 4 times plain SGD's boundary on."
        + " It is sure, and small: all of its interval is within ±1 in log₂."
        * (half == 0.48)
    )


def test_ratios_are_of_batch_sizes_with_two_optima():
    edges = (("sgd", 1), ("momentum", 4), ("sgd", 256), ("momentum", 32))
    wanted = dict.fromkeys((*BELOW, *BEYOND), 0.5) | {1: 40, 4: 40, 256: 40}
    of = told_of(peaks=ratios(wanted, edges))
    below, beyond = findings.same_rate_below(of), findings.larger_rate_beyond(of)
    assert (below.effect, beyond.effect) == pytest.approx((0.5, 0.5))
    assert below.why.endswith(f"the mean over 3 batch sizes {SURELY}.")
    assert "the mean over 3 batch sizes from 4 times plain SGD's boundary on." in beyond.why
    assert needs(of, "S20-F1c.same-rate-below") == needs(of, "S20-F1c.larger-rate-beyond") == ""
    of = told_of(peaks=ratios(wanted, (*edges, ("sgd", 16), ("momentum", 1024))))
    assert needs(of, "S20-F1c.same-rate-below") == (
        "2 of the batch sizes tried have an optimum inside the grid and lie surely below plain "
        "SGD's boundary, at 32 [20, 40]; it takes 3."
    )
    assert needs(of, "S20-F1c.larger-rate-beyond") == (
        "2 of the batch sizes tried have an optimum inside the grid and lie at 4 times or beyond "
        "plain SGD's boundary, at 32 [20, 40]; it takes 3."
    )


@pytest.mark.parametrize(
    ("boundary", "below", "beyond"),
    [((32, 4, 40), 3, 4), ((32, 3.9, 40), 2, 4), ((64, 4, 99), 3, 3), ((64.1, 4, 99), 3, 2)],
)
def test_which_batch_sizes_lie_on_which_side(boundary, below, beyond):
    of = told_of(peaks=ratios({}), boundary=boundary)
    assert len(findings._below(of)) == below
    assert len(findings._beyond(of)) == beyond
    assert bool(needs(of, "S20-F1c.same-rate-below")) == (below < 3)
    assert bool(needs(of, "S20-F1c.larger-rate-beyond")) == (beyond < 3)


# --- What was reached --------------------------------------------------------------------------


def gaps(by_size, objective="test_accuracy", base=98.0):
    """Momentum less plain SGD, and half its interval, by batch size; all else is far off."""

    def fresh(key, asked):
        if asked != objective:
            return estimate(-60.0 if key["method"] == "sgd" else 70.0, 50.0)
        if key["method"] == "sgd":
            return estimate(base)
        gap, half = by_size.get(key["batch_size"], (-40.0, 0.1))
        return estimate(base + gap, half)

    return fresh


def tells_all(why, by, points):
    """Whether a sentence lists every batch size with its gap, and no other."""
    start, end = (
        ("the accuracy of momentum minus that of plain SGD is ", ", in points, by fresh seeds")
        if points
        else ("log₂ of momentum's final training loss divided by plain SGD's is ", "")
    )
    told = [f"{value + 0:+.2f} at B = {size:,}" for size, (value, _) in by.items()]
    sentence = re.sub(r" \[.*?\]", "", why.partition(". ")[0]).replace("-0.00", "+0.00")
    assert sentence == f"{start}{', '.join(told[:-1])} and {told[-1]}{end}"


AT_LEVEL = {n: stats.t.ppf(1 - 0.025 / n, 12) / stats.t.ppf(0.975, 12) for n in (4, 5)}
"""How much wider an interval is that Bonferroni corrects for so many batch sizes."""

LOSS = math.log2(0.232 / 0.171)
"""What the first doubling of table 1's batch size does to the loss."""

ALIKE = [
    (0.0, 0.99, "reproduced"),
    (0.0, 1.01, "undecided"),
    (0.6, 0.39, "reproduced"),
    (0.6, 0.41, "undecided"),
    (2.0, 0.99 / AT_LEVEL[5], "contradicted"),
    (2.0, 1.01 / AT_LEVEL[5], "undecided"),
]
"""Gap and half interval, in margins."""


@pytest.mark.parametrize(("gap", "half", "word"), ALIKE)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("only", [None, 1, 16])
@pytest.mark.parametrize(
    ("judge", "objective", "margin"),
    [
        (findings.alike_below, "test_accuracy", 0.5),
        (findings.loss_alike_below, "train_loss", LOSS),
    ],
    ids=["accuracy", "loss"],
)
def test_below_the_boundary_the_methods_reach_the_same(
    judge, objective, margin, gap, half, word, sign, only
):
    told_gap = (sign * margin * gap, margin * half)
    by = {size: told_gap if only in (None, size) else (0.0, 0.1 * margin) for size in BELOW}
    found = judge(told_of(gaps(by, objective)))
    assert found.word == word
    assert found.margin == pytest.approx(margin)
    assert found.effect == pytest.approx(told_gap[0], abs=1e-9)
    assert found.interval == pytest.approx(
        (told_gap[0] - told_gap[1], told_gap[0] + told_gap[1]), abs=1e-9
    )
    points = objective == "test_accuracy"
    assert found.unit == ("points" if points else "log2 ratio")
    tells_all(found.why, by, points)
    assert f"The claim fits worst for B = {only or 1}: " in found.why


AHEAD = [
    (1.0, 0.99, "reproduced"),
    (1.0, 1.01, "undecided"),
    (0.1, 0.89 / AT_LEVEL[4], "absent"),
    (0.1, 0.91 / AT_LEVEL[4], "undecided"),
    (-0.1, 0.89 / AT_LEVEL[4], "absent"),
    (-1.0, 0.99 / AT_LEVEL[4], "contradicted"),
    (-1.0, 1.01 / AT_LEVEL[4], "undecided"),
]


@pytest.mark.parametrize(("gap", "half", "word"), AHEAD)
@pytest.mark.parametrize("only", [None, 128, 1024])
@pytest.mark.parametrize(
    ("judge", "objective", "margin", "sign"),
    [
        (findings.ahead_beyond, "test_accuracy", 0.5, 1),
        (findings.loss_lower_beyond, "train_loss", LOSS, -1),
    ],
    ids=["accuracy", "loss"],
)
def test_far_beyond_the_boundary_momentum_is_ahead(
    judge, objective, margin, sign, gap, half, word, only
):
    told_gap = (sign * margin * gap, margin * half)
    by = {
        size: told_gap if only in (None, size) else (sign * 5.0 * margin, 0.1 * margin)
        for size in BEYOND
    }
    # Momentum is the worse by far at 64, which lies at twice the boundary only.
    fresh = gaps({**by, 64: (-sign * 9.0, 0.1)}, objective)
    found = judge(told_of(fresh, boundary=(32.0, 20.0, 32.0)))
    assert found.word == word
    assert found.margin == pytest.approx(margin)
    assert found.effect == pytest.approx(told_gap[0])
    points = objective == "test_accuracy"
    assert found.unit == ("points" if points else "log2 ratio")
    tells_all(found.why, by, points)


@pytest.mark.parametrize(
    ("judge", "objective", "margin", "sign"),
    [
        (findings.ahead_beyond, "test_accuracy", 0.5, 1),
        (findings.loss_lower_beyond, "train_loss", LOSS, -1),
    ],
    ids=["accuracy", "loss"],
)
def test_what_hangs_on_where_the_boundary_lies_is_not_decided(judge, objective, margin, sign):
    def word(near, far, high):
        by = {size: (sign * margin * (near if size == 128 else far), 0.1 * margin)
              for size in BEYOND}  # fmt: skip
        return judge(told_of(gaps(by, objective), boundary=(32.0, 20.0, high)))

    # 128 lies beyond four times the estimate, and beyond four times the interval's end up to 32.
    assert word(0.1, 5.0, 32.0).word == word(0.1, 5.0, 31.0).word == "absent"
    found = word(0.1, 5.0, 33.0)
    assert (found.word, found.room) == ("undecided", 0)
    assert found.why.endswith(
        " So from 4 times the estimated boundary on it does not hold at every batch size: it is "
        "absent. From 4 times the end of the boundary's interval on, at B = 256, B = 512 and "
        "B = 1,024, it is reproduced. Where the boundary lies is not known well enough."
    )
    assert word(-5.0, 5.0, 33.0).word == word(-5.0, 0.1, 33.0).word == "undecided"
    for same in (5.0, 0.1, -5.0):
        assert word(same, same, 33.0).word == word(same, same, 32.0).word != "undecided"
    # Where too little is left to decide, or nothing, the estimate's place stands.
    assert word(0.1, 5.0, 1e4).word == "absent"


def levels(off, half=0.1, last=95.0):
    """Plain SGD's accuracies: 98, off by so much at some sizes; momentum's are far off."""

    def fresh(key, objective):
        if key["method"] != "sgd" or objective != "test_accuracy":
            return estimate(13.0)
        size = key["batch_size"]
        if size == 1024:
            return estimate(last)
        return estimate(98 + off.get(size, 0.0 if size <= 16 else -30.0), half)

    return fresh


# One of five against the mean of the other four: its error is √(1 + 1/4) of one.
OF_FIVE = math.sqrt(1.25)


@pytest.mark.parametrize(
    ("off", "half", "word"),
    [
        (0.0, 0.48, "reproduced"),
        (0.0, 0.54, "undecided"),
        (0.3, 0.19, "reproduced"),
        (0.3, 0.22, "undecided"),
        (1.0, 0.3, "contradicted"),
        (1.0, 0.4, "undecided"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_below_its_boundary_plain_sgd_is_as_good_at_every_batch_size(off, half, word, sign):
    found = findings.flat_below(told_of(levels({4: sign * off}, half / OF_FIVE)))
    assert found.word == word
    assert (found.margin, found.unit) == (0.5, "points")
    assert found.effect == pytest.approx(sign * off)
    low, high = sorted((98.0, 98 + sign * off))
    assert found.why.startswith(
        f"plain SGD's accuracy lies between {low:.2f} and {high:.2f} % at 5 batch sizes {SURELY}; "
        "at the largest batch it is 95.00 %. Each of those below is compared with the mean of the "
        "others. The claim fits worst for "
    )


def test_a_largest_batch_that_is_lost_is_said_in_words():
    lost = findings.flat_below(told_of(levels({}, last=math.nan)))
    assert lost.word == "reproduced"
    assert "; at the largest batch every rate diverged. Each" in lost.why


# --- Equal rates and equal temperatures ---------------------------------------------------------

SIZES = (16, 64, 256, 1024, 4096)
"""Of scale gpu."""


def tenths(config):
    """What makes the three seeds differ: a standard deviation of 0.1; fresh seeds are far off."""
    return -20.0 if config.seed >= 1000 else 0.1 * (config.seed - 1)


def at_gpu(accuracy, low=2000.0, seeds=3, **said):
    """Records at scale gpu, with boundaries as said: both methods' lie beyond all at first."""

    def ending(config):
        rate = math.log2(config.effective_learning_rate)
        value = accuracy(config, rate)
        return {"test_accuracy": value + tenths(config), "train_loss": 5.0 - config.momentum}

    fit = regimes(boundary=exactly(3000.0, low, 4000.0))
    of = reading("constant-epoch", "gpu", seeds, ending)
    return with_regimes(of, **{"sgd": fit, "momentum": fit, **said})


def by_temperature(config, rate):
    """The temperature decides, and its best is 2^-7."""
    return 90 - 0.8 * (rate - math.log2(config.batch_size) + 7) ** 2


def mine(config, method):
    return (config.momentum > 0) == (method == "momentum")


SIDES = [
    (0.5, -1.02, "reproduced"),
    (0.5, -0.98, "undecided"),
    (0.5, 0.98, "undecided"),
    (0.5, 1.02, "contradicted"),
]
"""A gap as the margin and so many half intervals more."""


@pytest.mark.parametrize("method", ["sgd", "momentum"])
@pytest.mark.parametrize(("margin", "halves", "word"), SIDES)
@pytest.mark.parametrize("sign", [1, -1])
def test_equal_temperature_does_the_same_within_half_a_point(method, margin, halves, word, sign):
    # Means of three seeds on a variance of 0.01: optimum only, as 0.8 is more than its deviation.
    half = stats.t.ppf(0.975, 8) * math.sqrt(2 * 0.01 / 3)
    gap = sign * (margin + halves * half)

    def accuracy(config, rate):
        off = gap if config.batch_size == 64 and mine(config, method) else 0.0
        return by_temperature(config, rate) + off

    of = at_gpu(accuracy)
    found = findings.temperature_decides(of, method)
    assert found.word == word
    assert found.effect == pytest.approx(gap)
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(half)
    assert (found.margin, found.unit) == (0.5, "points")
    assert found.why.startswith(
        "at the best temperature that both were tried at, the accuracy at B = 64 minus that at "
        f"B = 16 is {gap:+.2f} [{gap - half:+.2f}, {gap + half:+.2f}] points, over all "
    )
    assert findings.temperature_decides(of, OTHER[method]).effect == pytest.approx(0)


def test_temperatures_above_the_best_are_not_held_against_it():
    def off_where(hot):
        def accuracy(config, rate):
            above = rate - math.log2(config.batch_size) + 7
            off = 7.0 if config.batch_size == 64 and (above > 0.1 if hot else above < -0.9) else 0.0
            return by_temperature(config, rate) - off

        return at_gpu(accuracy)

    above = findings.temperature_decides(off_where(True), "sgd")
    assert above.effect == pytest.approx(0)
    assert above.why.endswith("the largest difference is 0.00 points.")
    below = findings.temperature_decides(off_where(False), "sgd")
    assert below.effect == pytest.approx(0)
    # At 2^-1 and 2^-2 of the best.
    assert below.why.endswith(
        "Of the 3 shared temperatures up to it, the largest difference is 7.00 points."
    )


def test_the_variance_is_that_of_rates_about_the_optimum():
    def loud_far_off(config, rate):
        far = abs(rate - math.log2(config.batch_size) + 7) > 1.5
        return by_temperature(config, rate) + (5 * tenths(config) if far else 0)

    quiet, loud = (
        findings.temperature_decides(at_gpu(accuracy), "sgd")
        for accuracy in (by_temperature, loud_far_off)
    )
    assert quiet.interval == pytest.approx(loud.interval)


@pytest.mark.parametrize("method", ["sgd", "momentum"])
def test_what_equal_temperature_lacks(method):
    claim = f"S20-E3.temperature-decides.{method}"

    def lacks(boundary, accuracy=by_temperature):
        fit = boundary if boundary is NO_REGIMES else regimes(boundary=boundary)
        return needs(at_gpu(accuracy, **{method: fit, OTHER[method]: regimes(boundary=8.0)}), claim)

    assert lacks(exactly(500.0, 256.0, 900.0)) == ""
    assert lacks(exactly(500.0, 255.0, 900.0)) == (
        "noise may not decide alone at B = 64: the boundary, at 500 [255, 900], may lie "
        "less than 4 times above it. A fair test takes a smaller batch."
    )
    assert lacks(NO_REGIMES) == (
        "no boundary was found, so nothing says that noise decides at either batch size."
    )
    far = exactly(900.0, 800.0, OPEN)

    def lost_at(size):
        return lambda config, rate: (
            math.inf if config.batch_size == size else by_temperature(config, rate)
        )

    assert lacks(far, lost_at(16)) == "every learning rate diverged at B = 16."
    assert lacks(far, lost_at(64)) == "B = 16 and 64 share no temperature at which runs are left."


def gap_at(**by):
    """Momentum's accuracy less plain SGD's at equal rates, by `B16` and so on."""

    def accuracy(config, rate):
        off = by.get(f"B{config.batch_size}", 0.0) if config.momentum else 0.0
        return by_temperature(config, rate) + off

    return at_gpu(accuracy)


def test_the_methods_are_compared_at_plain_sgds_rates_up_to_its_best():
    def apart_above(config, rate):
        above = rate - math.log2(config.batch_size) + 7 > 0.1
        return by_temperature(config, rate) - (4.0 if config.momentum and above else 0.0)

    found = findings.method_gaps(at_gpu(apart_above))
    # Momentum's effective rates reach as low as plain SGD's where both are centred alike.
    assert [(gap.batch_size, gap.rates) for gap in found][:2] == [(16, 3), (64, 3)]
    assert [gap.gap.value for gap in found] == pytest.approx([0.0] * len(found))
    # Each mean is of three seeds, on the variance about the optimum; two means, and three rates.
    assert found[0].gap.error == pytest.approx(math.sqrt(2 * 0.01 / 3 / 3))

    def some_are_lost(config, rate):
        low = rate - math.log2(config.batch_size) + 7 < -0.9
        return (
            math.inf
            if config.momentum and config.seed == 1 and low
            else by_temperature(config, rate)
        )

    fewer = findings.method_gaps(at_gpu(some_are_lost))
    assert fewer[0].rates == 1


@pytest.mark.parametrize(("margin", "halves", "word"), SIDES)
@pytest.mark.parametrize("sign", [1, -1])
def test_momentum_is_sgd_within_half_a_point_at_the_smallest_batch(margin, halves, word, sign):
    error = findings.method_gaps(gap_at())[0].gap
    gap = sign * (margin + halves * error.interval.half)
    found = findings.same_as_sgd(gap_at(B16=gap))
    assert found.word == word
    assert found.effect == pytest.approx(gap)
    assert (found.margin, found.unit) == (0.5, "points")
    assert found.why == (
        "at B = 16 and equal effective learning rate, momentum minus plain SGD is "
        f"{gap:+.2f} [{gap - error.interval.half:+.2f}, {gap + error.interval.half:+.2f}] points, "
        "the mean over 3 rates up to plain SGD's best."
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_from_which_batch_size_on_momentum_differs_corrected_for_how_many(sign):
    _, *others = findings.method_gaps(gap_at())
    wanted = others[0].gap
    bar = wanted.error * stats.t.ppf(1 - 0.025 / len(others), wanted.dof)
    near = findings.same_as_sgd(gap_at(B64=sign * 0.98 * bar))
    assert near.why.endswith("up to plain SGD's best.")
    found = findings.same_as_sgd(gap_at(B64=sign * 1.02 * bar, B256=3.0))
    assert (found.word, found.effect) == ("reproduced", pytest.approx(0))
    assert (
        "The smallest batch size at which they surely differ (with Bonferroni's correction) is 64: "
        f"{sign * 1.02 * bar:+.2f} ["
    ) in found.why


def test_what_momentum_is_sgd_lacks():
    claim = "S20-C2.momentum-is-sgd"
    heavy = regimes(boundary=8.0)
    assert needs(at_gpu(by_temperature, low=64.0, momentum=heavy), claim) == ""
    assert needs(at_gpu(by_temperature, low=63.9), claim) == (
        "noise may not decide alone at B = 16: the boundary is 3,000 [63.9, 4,000]."
    )
    assert needs(at_gpu(by_temperature, sgd=NO_REGIMES), claim) == (
        "no boundary was found, so nothing says that noise decides at B = 16."
    )

    def lost(config, rate):
        return math.inf if config.momentum == 0 else by_temperature(config, rate)

    assert needs(at_gpu(lost), claim) == "the methods share no learning rate."
    alone = findings.same_as_sgd(
        at_gpu(lambda c, r: math.inf if c.batch_size > 16 else by_temperature(c, r))
    )
    assert (alone.word, alone.effect) == ("reproduced", pytest.approx(0))


# --- What cannot be judged ----------------------------------------------------------------------

REACHED = [
    ("S20-F1a.methods-agree-below", "below", 1),
    ("S20-F1a.accuracy-flat-below", "below", 2),
    ("S20-F1b.losses-agree-below", "below", 1),
    ("S20-F1a.momentum-ahead-beyond", "beyond", 1),
    ("S20-F1b.momentum-lower-beyond", "beyond", 1),
]


def inside(config, rate):
    return by_temperature(config, rate) if config.batch_size <= 64 else 90 - (rate - 1) ** 2


@pytest.mark.parametrize(("claim", "side", "least"), REACHED)
def test_what_a_claim_about_accuracies_lacks(claim, side, least):
    def lacks(accuracy, boundary):
        return needs(at_gpu(accuracy, sgd=regimes(boundary=boundary)), claim)

    # Below: 16 and 64; beyond: 1,024 and 4,096.
    stands = exactly(200.0, 100.0, 300.0)
    assert lacks(inside, stands) == ""
    where = "lie surely below" if side == "below" else "lie at 4 times or beyond"
    short = {
        "below": exactly(200.0, 15.0 if least == 1 else 63.0, 300.0),
        "beyond": exactly(1025.0, 800.0, OPEN),
    }[side]
    assert lacks(inside, short) == (
        f"{least - 1} of the batch sizes tried {where} plain SGD's boundary, at {short}; it takes "
        f"{least}."
    )
    just = {
        "below": exactly(200.0, 16.0 if least == 1 else 64.0, 300.0),
        "beyond": exactly(1024.0, 800.0, OPEN),
    }[side]
    assert lacks(inside, just) == ""
    size = {"below": 64, "beyond": 4096}[side]

    def where_(what, method):
        def accuracy(config, rate):
            if config.batch_size == size and mine(config, method):
                return what(config, rate)
            return inside(config, rate)

        return accuracy

    def no_end(config, rate):
        return 90 + rate

    def fresh_lost(config, rate):
        return math.inf if config.seed >= 1000 else inside(config, rate)

    for method, name in (("sgd", "SGD"), ("momentum", "SGD with momentum 0.9")):
        said = {
            f"every rate of {name} diverged at B = {size:,}.": lambda config, rate: math.inf,
            f"the best rate of {name} at B = {size:,} lies on an edge of its grid.": no_end,
            f"every fresh seed at the best rate of {name} diverged at B = {size:,}.": fresh_lost,
        }
        for why, what in said.items():
            matters = method == "sgd" or claim != "S20-F1a.accuracy-flat-below"
            assert lacks(where_(what, method), stands) == (why if matters else "")
        other = {"below": 4096, "beyond": 64}[side]

        def elsewhere(config, rate, other=other):
            return math.inf if config.batch_size == other else inside(config, rate)

        assert lacks(elsewhere, stands) == ""


@pytest.mark.parametrize("ending", [diverged, rising])
def test_where_all_is_lost_or_on_an_edge_it_is_said_in_words(ending):
    of = reading("constant-epoch", "gpu", 3, ending)
    for claim in findings.CLAIMS:
        verdict = claim.judge(of)
        assert verdict.word == "not tested here"
        assert verdict.why.endswith(".")
        assert not WORDLESS.search(verdict.why)
    text = findings.boundary_table(of).to_string()
    assert not WORDLESS.search(text.lower())


def test_every_claim_on_records_has_a_word_and_a_sentence():
    """A method's claim is that method's, and what is judged are fresh seeds."""

    def plain_sgd_has_no_regime(config, rate):
        if config.momentum:
            return two_regimes(config, rate)
        return 98 - 0.4 * (rate + 3) ** 2

    of = reading("constant-epoch", "digits", 3, noisy(plain_sgd_has_no_regime))
    said = {id: claim.judge(of) for id, claim in CLAIMS.items()}
    assert said["S20-F1c.linear-scaling.momentum"].word == "reproduced"
    assert said["S20-E3.temperature-decides.momentum"].word == "reproduced"
    assert said["S20-F1c.linear-scaling.sgd"].word != "reproduced"
    for verdict in said.values():
        assert verdict.why.endswith(".")
        assert not WORDLESS.search(verdict.why)
        assert verdict.seeds == 3


def test_accuracies_judged_are_those_of_fresh_seeds():
    """Seeds that the tuning saw have momentum ahead; fresh ones have it behind."""

    def accuracy(config, rate):
        gap = 1.0 if config.seed < 1000 else -1.0
        return inside(config, rate) + (gap if config.momentum else 0) + 0.02 * (config.seed % 1000)

    def ending(config):
        value = accuracy(config, math.log2(config.effective_learning_rate))
        return {"test_accuracy": value, "train_loss": 2.0 ** (value - 90)}

    fit = regimes(boundary=exactly(200.0, 100.0, 300.0))
    of = with_regimes(reading("constant-epoch", "gpu", 3, ending), sgd=fit, momentum=fit)
    ahead = findings.ahead_beyond(of)
    assert (ahead.word, ahead.effect) == ("contradicted", pytest.approx(-1))
    assert findings.alike_below(of).effect == pytest.approx(-1)
    assert findings.loss_lower_beyond(of).word == "reproduced"


def test_a_single_seed_gives_values_without_spread():
    one = reading("constant-epoch", "digits", 1, noisy(two_regimes))
    assert one.regimes["sgd"].flat_seen
    names = [trace.name for trace in figures.learning_rates(one).data]
    assert any("boundary" in name for name in names)
    assert not WORDLESS.search(findings.boundary_table(one).to_string())
    assert {claim.judge(one).word for claim in findings.CLAIMS} == {"undecided"}


@pytest.mark.parametrize(("worst", "cliff"), [(40.0, True), (60.0, False)])
def test_a_cliff_is_looked_for_where_runs_are_lost(worst, cliff):
    of = reading("constant-epoch", "digits", 2, noisy(lambda config, rate: 98 - 0.4 * rate**2))
    tuned = of.tuned()
    one = next(iter(tuned.values()))
    one.table[-1] = worst
    assert ("the cliff" in sentences.look_at(of)) == cliff
    assert ("These grids end before a rate" in sentences.look_at(of)) != cliff
    assert sentences.look_at(Reading(of.study, {})) == "Every small mark is a run."
