"""S20's figure 1 on made-up records: what is said where a claim holds, and where it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_up import exactly, noisy, reading, regimes, two_regimes, with_regimes

from sgdnoise.analysis import Reading
from sgdnoise.experiments import study_of
from sgdnoise.experiments.constant_epoch import findings
from sgdnoise.figures import tuned as figures

SEEDS = 5


def made(accuracy, seeds=SEEDS, spread=0.02, name="constant-epoch"):
    return reading(name, "digits", seeds, noisy(accuracy, spread=spread))


@pytest.fixture(scope="module")
def two():
    return made(two_regimes)


def flat(config, rate):
    """The same accuracy at every batch size and the same tuned rate, whatever the method."""
    return 98 - 0.4 * (rate + 3) ** 2


@pytest.fixture(scope="module")
def alike():
    return made(flat)


def word(verdict):
    assert verdict.why
    return verdict.word


def test_two_regimes_are_found_where_they_are(two):
    fits = two.regimes
    assert fits["sgd"].slope.value == pytest.approx(1, abs=0.1)
    assert fits["sgd"].boundary.value == pytest.approx(32, rel=0.3)
    assert fits["momentum"].boundary.value == pytest.approx(256, rel=0.3)
    assert fits["sgd"].flat_seen
    further = findings.scales_further(two)
    assert further.word == "reproduced"
    assert "the intervals do not touch" in further.why
    assert further.effect == pytest.approx(8, rel=0.4)
    table = findings.boundary_table(two)
    assert list(table["boundary, S20 (its own net)"]) == [512, 512]
    assert list(table["slope, S20"]) == ["1", "1"]


def test_without_two_regimes_it_says_so():
    def always_linear(config, rate):
        peak = math.log2(config.batch_size) - 5
        # Momentum stops where the first grids end, as SGD does: nothing tells the two apart.
        return 98 - 0.4 * (rate - min(peak, 2)) ** 2

    verdict = findings.scales_further(made(always_linear))
    assert verdict.word == "undecided"
    assert "this was not shown" in verdict.why


@pytest.mark.parametrize("method", ["sgd", "momentum"])
@pytest.mark.parametrize(
    ("interval", "verdict", "said"),
    [
        ((1.0, 0.9, 1.1), "reproduced", "the interval holds 1."),
        ((1.1, 1.05, 1.19), "reproduced", "near 1, but the interval excludes it."),
        ((0.9, 0.81, 0.95), "reproduced", "near 1, but the interval excludes it."),
        ((1.1, 1.05, 1.21), "undecided", "near 1, but the interval excludes it."),
        ((0.9, 0.79, 0.95), "undecided", "near 1, but the interval excludes it."),
        ((0.75, 0.6, 0.81), "undecided", "it grows more slowly than the batch size."),
        ((0.75, 0.7, 0.79), "contradicted", "it grows more slowly than the batch size."),
        ((1.25, 1.21, 1.3), "contradicted", "it grows faster than the batch size."),
        ((1.0, 0.7, 1.3), "undecided", "the interval holds 1."),
        ((math.nan, math.nan, math.nan), "undecided", "there is no interval."),
    ],
)
def test_linear_scaling_is_a_slope_of_1_within_its_margin(two, method, interval, verdict, said):
    other = {"sgd": "momentum", "momentum": "sgd"}[method]
    stands = exactly(*interval)
    of = with_regimes(two, **{method: regimes(slope=stands), other: regimes(slope=5.0)})
    found = findings.linear_scaling(of, method)
    assert found.word == verdict
    assert found.margin == findings.NEAR_LINEAR
    if math.isnan(interval[0]):
        assert found.why == f"the slope is no fit; {said}"
        assert (found.effect, found.interval) == (None, None)
        return
    assert found.why == f"the slope is {stands}; {said}"
    assert found.effect == interval[0]
    assert found.interval == interval[1:]


def test_linear_scaling_of_records(two, alike):
    for method in ("sgd", "momentum"):
        assert findings.linear_scaling(two, method).word == "reproduced"
        slower = findings.linear_scaling(alike, method)
        assert slower.word == "contradicted"
        assert "more slowly than the batch size" in slower.why


@pytest.mark.parametrize(
    ("sgd", "momentum", "flat_seen", "shown"),
    [
        ((32, 25, 40), (256, 41, 300), True, True),
        ((32, 25, 40), (256, 39, 300), True, False),
        ((256, 41, 300), (32, 25, 40), True, False),
        ((32, 25, 40), (256, 41, 300), False, False),
    ],
)
def test_momentum_scales_further_where_the_boundaries_do_not_touch(
    two, sgd, momentum, flat_seen, shown
):
    of = with_regimes(
        two,
        sgd=regimes(boundary=exactly(*sgd), flat_seen=flat_seen),
        momentum=regimes(boundary=exactly(*momentum), flat_seen=False),
    )
    verdict = findings.scales_further(of)
    assert verdict.word == ("reproduced" if shown else "undecided")
    assert verdict.effect == (8 if shown else None)
    if shown:
        assert "stops growing at B ≈ 256, plain SGD's at 32" in verdict.why


def bounded(of, value=32.0, low=20.0, high=40.0):
    """Plain SGD's boundary as said, and momentum's where it must not matter."""
    sgd, momentum = exactly(value, low, high), exactly(4.0, 3.0, 5.0)
    return with_regimes(of, sgd=regimes(boundary=sgd), momentum=regimes(boundary=momentum))


def shifted_momentum(by, beyond=0.0):
    """Momentum is ahead of plain SGD by so much at batch sizes above a bound."""

    def accuracy(config, rate):
        return flat(config, rate) + (by if config.momentum and config.batch_size > beyond else 0)

    return accuracy


def test_below_the_boundary_the_methods_agree_or_do_not(alike):
    found = findings.alike_below(bounded(alike))
    # Up to the boundary's lower end, 20: 1, 2, 4, 8 and 16.
    assert found.why.endswith(" of 5 batch sizes.")
    assert found.effect >= 0.8
    exact = findings.alike_below(bounded(made(flat, spread=0.0)))
    assert (exact.word, exact.effect) == ("reproduced", 1)
    assert exact.why == "within two standard errors at 5 of 5 batch sizes."
    for by in (1.0, -1.0):
        apart = findings.alike_below(bounded(made(shifted_momentum(by))))
        assert (apart.word, apart.effect) == ("undecided", 0)
        assert apart.why == "within two standard errors at 0 of 5 batch sizes."
    # Beyond it they may differ; at one batch size below they may not.
    for bound, count in ((16, 5), (8, 4)):
        some = findings.alike_below(bounded(made(shifted_momentum(1.0, bound), spread=0.0)))
        assert some.why == f"within two standard errors at {count} of 5 batch sizes."
        assert some.word == ("reproduced" if count == 5 else "undecided")
    assert findings.alike_below(bounded(alike, low=0.5)).word == "not tested here"


def test_far_beyond_the_boundary_momentum_is_ahead_or_is_not(alike):
    # From four times 32 on: 128, 256, 512 and 1024.
    ahead = findings.ahead_beyond(bounded(made(shifted_momentum(1.0, 64))))
    assert (ahead.word, ahead.effect) == ("reproduced", 1)
    assert ahead.why == "by more than two standard errors at 4 of 4 batch sizes."
    some = findings.ahead_beyond(bounded(made(shifted_momentum(1.0, 128), spread=0.0)))
    assert some.why == "by more than two standard errors at 3 of 4 batch sizes."
    assert some.word == "undecided"
    behind = findings.ahead_beyond(bounded(made(shifted_momentum(-1.0))))
    assert (behind.word, behind.effect) == ("undecided", 0)
    assert findings.ahead_beyond(bounded(alike, value=257.0)).word == "not tested here"


def steps_of_a_tenth(config, _rate=None):
    """What makes the five seeds differ, tuning or fresh: a standard deviation of 0.1581."""
    return 0.1 * (config.seed % 1000 - 2)


ERROR = math.sqrt(0.025 / 5) * math.sqrt(2)
"""Of a difference of two means of such seeds."""


@pytest.mark.parametrize(("errors", "within"), [(1.9, True), (2.1, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_methods_are_told_apart_by_two_standard_errors(errors, within, sign):
    def accuracy(config, rate):
        off = sign * errors * ERROR if config.momentum else 0
        return flat(config, rate) + off + steps_of_a_tenth(config)

    of = bounded(made(accuracy, spread=0.0))
    below, beyond = findings.alike_below(of), findings.ahead_beyond(of)
    assert below.effect == (1 if within else 0)
    assert beyond.effect == (1 if not within and sign > 0 else 0)


def test_below_its_boundary_plain_sgd_is_as_good_at_every_batch_size():
    def worse_beyond(bound, momentum_too=True):
        def accuracy(config, rate):
            worse = config.batch_size > bound and (momentum_too or not config.momentum)
            return flat(config, rate) - (1 if worse else 0) + steps_of_a_tenth(config)

        return accuracy

    def only_momentum_is_worse(config, rate):
        worse = config.momentum and config.batch_size > 2
        return flat(config, rate) - (1 if worse else 0) + steps_of_a_tenth(config)

    level = findings.flat_below(bounded(made(worse_beyond(16), spread=0.0)))
    assert level.word == "reproduced"
    assert level.effect == pytest.approx(0)
    low, high = level.interval
    assert (low, high) == pytest.approx((-2 * ERROR, 2 * ERROR))
    assert level.why == (
        "plain SGD's lies between 98.00 and 98.00 %, and at the largest batch it is 97.00 %."
    )
    falls = findings.flat_below(bounded(made(worse_beyond(8, False), spread=0.0)))
    assert falls.word == "undecided"
    assert falls.effect == pytest.approx(1)
    assert "between 97.00 and 98.00 %" in falls.why
    assert findings.flat_below(bounded(made(only_momentum_is_worse, spread=0.0))).effect == (
        pytest.approx(0)
    )


def test_a_single_batch_size_below_the_boundary_says_nothing_of_a_spread(alike):
    assert findings.flat_below(bounded(alike, low=1.5)).word == "not tested here"
    assert findings.flat_below(bounded(alike, low=2.5)).word != "not tested here"


def test_momentum_is_compared_with_plain_sgd_at_equal_effective_rates(two):
    # `two_regimes` knows no momentum at small batches but through the effective learning rate.
    gaps = findings.method_gaps(two)
    assert list(gaps.batch_size) == [2**k for k in range(11)]
    assert (gaps.gap.abs() < 4 * gaps.error)[:4].all()
    # Each run is off by 0.02 at random: the standard error of a mean gap of five seeds a side.
    scaled = gaps.error * np.sqrt(gaps.rates)
    assert scaled.mean() == pytest.approx(0.02 * math.sqrt(2 / 5), rel=0.2)
    assert "B = 1, momentum is" in findings.same_as_sgd(two).why


def sloped(config, rate):
    return 90 - 0.4 * (rate - math.log2(config.batch_size) + 5) ** 2


@pytest.mark.parametrize("by", [1.5, -1.5])
def test_from_which_batch_size_on_momentum_differs(by):
    def from_32_on(config, rate):
        return sloped(config, rate) + (by if config.momentum and config.batch_size > 16 else 0)

    verdict = findings.same_as_sgd(made(from_32_on, spread=0.002))
    assert verdict.word == "reproduced"
    assert "no difference shows" in verdict.why
    assert f"three standard errors is 32: {by:+.2f}" in verdict.why
    assert verdict.interval[0] < verdict.effect < verdict.interval[1]


@pytest.mark.parametrize("by", [1.5, -1.5])
def test_momentum_that_differs_at_the_smallest_batch_is_no_sgd(by):
    def everywhere(config, rate):
        return flat(config, rate) + (by if config.momentum else 0)

    verdict = findings.same_as_sgd(made(everywhere))
    assert verdict.word == "contradicted"
    assert f"{by:+.1f}" in verdict.why
    assert verdict.effect == pytest.approx(by, abs=0.05)
    assert "they differ" in verdict.why
    assert "no difference" not in verdict.why
    assert "The first batch size" not in verdict.why


@pytest.mark.parametrize(
    ("small", "large", "verdict", "from_4_on"),
    [
        (1.9, 0.0, "reproduced", False),
        (2.1, 0.0, "contradicted", False),
        (0.0, 2.9, "reproduced", False),
        (0.0, 3.1, "reproduced", True),
    ],
)
def test_two_errors_tell_the_methods_apart_and_three_of_many(small, large, verdict, from_4_on):
    def accuracy(config, rate):
        errors = small if config.batch_size == 1 else large if config.batch_size == 4 else 0.0
        # Independent at each of the rates up to the best, of which the mean is taken.
        off = errors * ERROR / math.sqrt(shared) if config.momentum else 0
        return sloped(config, rate) + off + steps_of_a_tenth(config)

    shared = 1
    rates = findings.method_gaps(made(accuracy, spread=0.0)).set_index("batch_size").rates
    shared = int(rates[1])
    assert rates[4] == shared
    assert shared > 1
    found = findings.same_as_sgd(made(accuracy, spread=0.0))
    assert found.word == verdict
    assert ("standard errors is 4:" in found.why) == from_4_on


def test_rates_beyond_plain_sgds_best_or_with_a_lost_run_do_not_count():
    def ahead_beyond_the_best(config, rate):
        # The best rate is 2^-3 at all batch sizes.
        return flat(config, rate) + (0.3 if config.momentum and rate > -2.5 else 0)

    whole = findings.method_gaps(made(ahead_beyond_the_best, spread=0.0))
    np.testing.assert_allclose(whole.gap, 0, atol=1e-9)

    def some_are_lost(config, rate):
        lost = config.momentum and config.seed == 3 and rate < -4.5
        return math.inf if lost else flat(config, rate)

    fewer = findings.method_gaps(made(some_are_lost, spread=0.0))
    assert (fewer.rates < whole.rates).any()
    assert (fewer.rates <= whole.rates).all()


def test_methods_that_share_no_learning_rate_are_not_compared(two):
    class Apart(Reading):
        def tuned(self, objective="test_accuracy", variant=None):
            found = super().tuned(objective, variant)
            return {key: one for key, one in found.items() if dict(key)["method"] == "sgd"}

    verdict = findings.same_as_sgd(Apart(two.study, two.records))
    assert verdict.word == "not tested here"
    assert verdict.why == "the methods share no learning rate."


@pytest.mark.parametrize("method", ["sgd", "momentum"])
def test_the_smallest_batch_is_checked_for_being_noise_dominated(two, method):
    # In `two_regimes` the temperature alone decides at small batches.
    verdict = findings.temperature_decides(two, method)
    assert verdict.word == "reproduced"
    assert "no difference shows" in verdict.why
    assert "at the temperature that is best at B = 1, the accuracy at B = 2 is" in verdict.why

    for by in (0.5, -0.5):

        def size_matters(config, rate, by=by):
            size = math.log2(config.batch_size)
            mine = (config.momentum > 0) == (method == "momentum")
            return 98 - 0.4 * (rate - (size - 5)) ** 2 + (by * size if mine else 0)

        of = made(size_matters)
        differs = findings.temperature_decides(of, method)
        assert differs.word == "contradicted"
        assert differs.effect == pytest.approx(by, abs=0.05)
        assert "they differ" in differs.why
        assert "no difference" not in differs.why
        other = findings.temperature_decides(of, {"sgd": "momentum", "momentum": "sgd"}[method])
        assert other.word == "reproduced"


@pytest.mark.parametrize(("errors", "verdict"), [(1.9, "reproduced"), (2.1, "contradicted")])
@pytest.mark.parametrize("sign", [1, -1])
def test_temperatures_are_told_apart_by_two_standard_errors(errors, verdict, sign):
    def accuracy(config, rate):
        off = sign * errors * ERROR if config.batch_size == 2 else 0
        return sloped(config, rate) + off + steps_of_a_tenth(config)

    found = findings.temperature_decides(made(accuracy, spread=0.0), "sgd")
    assert found.word == verdict
    assert found.effect == pytest.approx(sign * errors * ERROR)


def test_temperatures_above_the_best_are_not_held_against_it():
    def large_batches_break_first(config, rate):
        size = math.log2(config.batch_size)
        hot = rate - (size - 5) > 0.5
        return 98 - 0.4 * (rate - (size - 5)) ** 2 - (3 * size if hot else 0)

    verdict = findings.temperature_decides(made(large_batches_break_first, spread=0.0), "sgd")
    assert verdict.word == "reproduced"
    assert verdict.why.endswith("the largest distance is 0.00 points.")


def test_where_no_temperature_is_shared_or_all_is_lost_nothing_is_compared():
    def all_lost_at_1(config, rate):
        return math.inf if config.batch_size == 1 else flat(config, rate)

    lost = made(all_lost_at_1)
    verdict = findings.temperature_decides(lost, "sgd")
    assert verdict.word == "not tested here"
    assert verdict.why == "every learning rate diverged at B = 1."

    def lost_at_2(config, rate):
        return math.inf if config.batch_size == 2 else flat(config, rate)

    verdict = findings.temperature_decides(made(lost_at_2), "sgd")
    assert verdict.word == "not tested here"
    assert "share no learning rate at equal temperature" in verdict.why


def test_a_single_seed_gives_values_without_spread():
    one = made(two_regimes, seeds=1)
    assert one.regimes["sgd"].flat_seen
    names = [trace.name for trace in figures.learning_rates(one).data]
    assert any("boundary" in name for name in names)
    assert "nan" not in findings.boundary_table(one).to_string()
    assert {claim.judge(one).word for claim in findings.CLAIMS} == {"undecided"}


def test_each_claim_is_judged_by_its_own_predicate(two):
    """A method's claim is that method's, and all words stand on made-up records."""

    def plain_sgd_has_no_regime(config, rate):
        return two_regimes(config, rate) if config.momentum else flat(config, rate)

    of = made(plain_sgd_has_no_regime)
    by = {claim.id: claim for claim in findings.CLAIMS}
    assert by["S20-F1c.linear-scaling.sgd"].judge(of).word == "contradicted"
    assert by["S20-F1c.linear-scaling.momentum"].judge(of).word == "reproduced"
    assert by["S20-E3.temperature-decides.sgd"].judge(of).word == "contradicted"
    assert by["S20-E3.temperature-decides.momentum"].judge(of).word == "reproduced"
    said = {claim.id: claim.judge(two) for claim in findings.CLAIMS}
    assert all(verdict.seeds == SEEDS for verdict in said.values())
    assert said["S20-F1c.momentum-scales-further"] == by["S20-F1c.momentum-scales-further"].judge(
        two
    )
    assert said["S20-F1a.momentum-ahead-beyond"].word == "reproduced"
    assert "batch sizes" in said["S20-F1a.methods-agree-below"].why
    assert "lies between" in said["S20-F1a.accuracy-flat-below"].why
    assert "away from plain SGD" in said["S20-C2.momentum-is-sgd"].why
    assert study_of("constant-epoch", "digits").experiment is two.study.experiment
