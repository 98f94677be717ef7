"""S20's figure 2 on made-up records: every word of its predicates, and what each needs."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
from made_up import filled, reading

from sgdnoise.analysis import Interval, Reading
from sgdnoise.claims import Claim, Verdict
from sgdnoise.experiments import EXPERIMENTS, study_of
from sgdnoise.experiments.unlimited_epochs import findings
from sgdnoise.experiments.unlimited_epochs.grid import unlimited_epochs
from sgdnoise.figures import tuned as figures
from sgdnoise.study.grid import FRESH_SEED
from sgdnoise.study.scales import CPU, rates
from sgdnoise.study.study import Study

PLAIN, NO_DECAY, NORM = (), findings.NO_DECAY, findings.WITH_NORM
NO_NORM = findings.WITHOUT_NORM
TEST, TRAIN = -1 / 7, -4 / 7
"""S20's slopes: factors of 2 and of 16 over a factor of 128 in epochs."""
PARTS = ("rate-for-test", "rate-for-loss", "test-falls-less", "loss-falls", "accuracy-saturates")
BY = {claim.id: claim for claim in findings.CLAIMS}
AS_IT_STANDS = dict(BY)
for _variant in ("norm", "no-norm"):
    # The four budgets below are far shorter than those after which S20 sees no gain.
    _id = f"S20-F2.accuracy-saturates.{_variant}"
    BY[_id] = dataclasses.replace(BY[_id], needs=partial(findings._gain_lacks, after=20))


FOUR = "cpu"
FOUR_BUDGETS = dataclasses.replace(
    EXPERIMENTS["unlimited-epochs"],
    sweeps={
        FOUR: partial(
            unlimited_epochs,
            CPU,
            batch_size=16,
            budgets=(5, 10, 20, 40),
            grids={NORM: rates(-3, 2), NO_NORM: rates(-4, 2)},
        )
    },
)
"""The experiment with so few budgets that each counts."""


def doublings(config):
    return math.log2(config.epochs / (10 if config.dataset == "digits" else 5))


def made(
    test=0.0,
    train=0.0,
    *,
    gain=lambda config: 0.0,
    fall=lambda config: -doublings(config),
    accuracy=None,
    lost=lambda config, rate: False,
    spread=0.02,
    scale="digits",
    seeds=3,
):
    """Hills whose tops move so many octaves a doubling, for the test set and for the log loss.

    Args:
        test, train: slopes of the two best rates, numbers or functions of the config.
        gain: points of accuracy by config.
        fall: log₂ of the tuned loss by config.
        accuracy: in place of the hill, a function of config and rate.
        lost: whether a run diverges.
        spread: of seeds, in points and in log₂ of the loss.
    """
    rng = np.random.default_rng(0)
    start = -1 if scale == "digits" else -3

    def ending(config):
        def off(slope):
            slope = slope(config) if callable(slope) else slope
            return math.log2(config.effective_learning_rate) - start - slope * doublings(config)

        rate = math.log2(config.effective_learning_rate)
        noise, other = spread * rng.standard_normal(2)
        value = accuracy(config, rate) if accuracy else 95 - 0.4 * off(test) ** 2
        if lost(config, rate):
            value = math.inf
        loss = 2.0 ** (0.3 * off(train) ** 2 + fall(config) + other)
        return {"test_accuracy": value + gain(config) + noise, "train_loss": loss}

    if scale != FOUR:
        return reading("unlimited-epochs", scale, seeds, ending)
    study = Study.of(FOUR_BUDGETS, FOUR, seeds)
    return Reading(study, filled(study, ending))


def judged(of, variant=PLAIN, parts=PARTS):
    return [BY[f"S20-F2.{part}.{findings.VARIANTS[variant]}"].judge(of) for part in parts]


def words(of, variant=PLAIN, parts=PARTS):
    return [verdict.word for verdict in judged(of, variant, parts)]


def one(of, part, variant=NORM):
    (verdict,) = judged(of, variant, (part,))
    return verdict


@pytest.fixture(scope="module")
def as_s20():
    return made(TEST, TRAIN)


def of_variant(mine, theirs):
    """A function of the config: one value with weight decay, another without."""
    return lambda config: mine if config.weight_decay else theirs


@pytest.fixture(scope="module")
def two_ways():
    """As S20 has it with weight decay; all the other way round without."""

    def fall(config):
        return of_variant(-1, 1)(config) * doublings(config)

    def gain(config):
        return of_variant(0.0, 1.0)(config) * (config.epochs == 1280)

    return made(of_variant(TEST, TRAIN), of_variant(TRAIN, 2 / 7), gain=gain, fall=fall)


# --- The predicates on whole sweeps ---------------------------------------------------------------


@pytest.mark.parametrize("variant", [PLAIN, NO_DECAY])
def test_as_s20_has_it_all_is_reproduced(as_s20, variant):
    test, train, less, down, same = verdicts = judged(as_s20, variant)
    assert [verdict.word for verdict in verdicts] == ["reproduced"] * 5
    effects = [test.effect, train.effect, less.effect]
    assert effects == pytest.approx([TEST, TRAIN, TEST - TRAIN], abs=0.05)
    # Without batch norm S20 says that one is constant, and prints no number of the other.
    assert [v.printed for v in (test, train, less)] == [0.0, None, None]
    assert down.effect == pytest.approx(-1, abs=0.1)
    assert same.effect == pytest.approx(0, abs=0.1)
    assert [verdict.unit for verdict in verdicts] == ["slope"] * 3 + ["log2 ratio", "points"]
    assert [v.margin for v in verdicts] == [0.2, 0.2, 0.2, None, 0.5]
    assert [v.rests_on for v in verdicts] == ["budgets"] * 3 + ["seeds"] * 2
    over = "over 8 budgets, a factor of 128"
    assert test.why.endswith(f"{over}; S20 has 0.00. Alike means within ±0.2.")
    assert train.why.endswith(f"{over}.")
    assert less.why.endswith(f"{over}. {findings.PAIRED}")
    assert down.why.startswith(f"log₂ of the loss divided by that at half the budget, {over}.")
    assert same.why.startswith("from 640 to 1,280 epochs it gains ")


def test_each_claim_is_about_the_sweeps_of_its_variant(two_ways):
    assert words(two_ways, PLAIN) == ["reproduced"] * 5
    test, train, less, *others = judged(two_ways, NO_DECAY)
    assert [verdict.word for verdict in (test, train, *others)] == ["contradicted"] * 4
    effects = [verdict.effect for verdict in (test, train, *others)]
    assert effects == pytest.approx([TRAIN, 2 / 7, 1, -1], abs=0.1)
    # Nothing falls less than what rises.
    assert less.word == "not tested here"
    assert less.why.startswith("the best rate for the training loss does not surely fall, so that")
    # Scale digits has no norms, and what it does not have is not tested there.
    for variant in (NORM, NO_NORM):
        verdicts = judged(two_ways, variant)
        assert {(v.word, v.elsewhere) for v in verdicts} == {("not tested here", True)}


def test_each_norm_has_its_own_claims():
    def by_norm(ghost, none):
        return lambda config: ghost if config.norm == "ghost" else none

    of = made(by_norm(0.0, TRAIN), by_norm(TRAIN, 2 / 7), spread=0.002, scale="cpu")
    other_size = "reproduced at another size"
    assert words(of, NORM, PARTS[:3]) == ["reproduced", "reproduced", other_size]
    assert words(of, NO_NORM, PARTS[:3]) == ["contradicted"] * 2 + ["not tested here"]
    for variant in (PLAIN, NO_DECAY):
        assert set(words(of, variant)) == {"not tested here"}
    assert BY["S20-F2.weight-decay"].judge(of).word == "not tested here"
    assert BY["S20-F2.weight-decay"].judge(of).elsewhere


def test_the_figures_show_what_is_judged(as_s20):
    fig = findings.rates_against_epochs(as_s20, PLAIN)
    assert len(fig.data[0].x) == 8
    slopes = [as_s20.slope("epochs", o, PLAIN).value for o in ("test_accuracy", "train_loss")]
    assert [trace.name for trace in fig.data] == [
        f"for test accuracy, slope {slopes[0]:.2f}",
        f"for training loss, slope {slopes[1]:.2f}",
    ]
    optima = as_s20.optima("train_loss", PLAIN)
    drawn = figures.against(as_s20, "epochs", "train_loss", tuned_for="train_loss", variant=PLAIN)
    np.testing.assert_allclose(drawn.data[0].y, optima.train_loss_mean)
    sweep = figures.sweep_at(as_s20, "epochs", 40, "train_loss", PLAIN)
    assert "40 epochs" in sweep.layout.title.text


# --- The slopes as said ---------------------------------------------------------------------------


class Said(Reading):
    """A reading whose slopes are as said: by objective and variant, or of two objectives apart."""

    def slope(self, over, objective="test_accuracy", variant=None):
        assert over == "epochs"
        return self.__dict__["said"][objective if variant is None else (objective, variant)]

    def slope_apart(self, over, objective, other):
        assert (over, objective, other) == ("epochs", "test_accuracy", "train_loss")
        return self.__dict__["said"]["apart"]


FAR = Interval(9.0, 8.9, 9.1)
"""What must not matter: nothing in these tests is judged by it."""


def with_slopes(of, variant=PLAIN, /, **said):
    other = Said(of.study, of.records)
    of = of.part(findings.OF[variant])
    other.__dict__.update(known=of.known, states=of.states)
    other.__dict__["said"] = {"test_accuracy": FAR, "train_loss": FAR, "apart": FAR} | said
    return other


JUST = 1e-6


@pytest.fixture(scope="module")
def with_norm():
    """Sweeps of which S20 prints both factors."""
    return made(scale="cpu")


@pytest.mark.parametrize(("high", "falls"), [(-JUST, True), (0.0, False), (0.3, False)])
def test_less_than_a_fall_takes_a_fall(with_norm, high, falls):
    of = with_slopes(with_norm, NORM, train_loss=Interval(-0.5, -1.0, high))
    lacking = BY["S20-F2.test-falls-less.norm"].needs(of)
    assert (lacking == "") == falls
    if not falls:
        assert lacking == (
            "the best rate for the training loss does not surely fall, so that no other can fall "
            f"less: its slope against the budget is {Interval(-0.5, -1.0, high)} over 4 budgets, a "
            "factor of 8."
        )


@pytest.mark.parametrize(
    ("value", "low", "high", "word"),
    [
        (0.0, -0.2, 0.2, "reproduced"),
        (0.0, -0.2 - JUST, 0.2, "undecided"),
        (0.0, -0.2, 0.2 + JUST, "undecided"),
        (-0.3, -0.4, -0.2, "undecided"),
        (-0.3, -0.4, -0.2 - JUST, "contradicted"),
        (0.3, 0.2, 0.4, "undecided"),
        (0.3, 0.2 + JUST, 0.4, "contradicted"),
        (0.0, math.nan, math.nan, "undecided"),
    ],
)
def test_the_rate_for_the_test_set_stays_within_a_slope(with_norm, value, low, high, word):
    of = with_slopes(with_norm, NORM, test_accuracy=Interval(value, low, high))
    verdict = findings.rate_for_test(of)
    assert verdict.word == word
    assert (verdict.effect, verdict.printed) == (value, pytest.approx(TEST))
    assert verdict.interval == (None if math.isnan(low) else (low, high))


SLOPES = [
    # In S20's direction; its number lies inside the prediction interval, or outside.
    (1.0, JUST - 1, JUST, "reproduced"),
    (1.0, -1.0, 0.0, "undecided"),
    (0.5, -0.1, 0.1, "reproduced at another size"),
    (2.0, -0.1, 0.1, "reproduced at another size"),
    # The other way.
    (-1.0, -0.5, 1.0, "undecided"),
    (-1.0, -0.5, 1.0 - JUST, "contradicted"),
    # So small that it is nothing, or not known to be.
    (0.0, -0.2, 0.2, "absent"),
    (0.0, -0.2 - JUST, 0.2, "undecided"),
    (0.0, -0.2, 0.2 + JUST, "undecided"),
    (0.0, math.nan, math.nan, "undecided"),
]
"""In units of S20's number: the value; beside it the bounds, as distances; and the word."""


@pytest.mark.parametrize("number", range(len(SLOPES)))
@pytest.mark.parametrize(
    ("judge", "which", "theirs"),
    [
        (findings.rate_for_loss, "train_loss", TRAIN),
        (findings.falls_less, "apart", TEST - TRAIN),
    ],
)
def test_a_slope_with_a_sign_is_judged_by_its_interval(with_norm, judge, which, theirs, number):
    size, down, up, word = SLOPES[number]
    value, sign = size * theirs, math.copysign(1, theirs)
    # Bounds that are named by zero scale with the number, those of the margin do not.
    if abs(size) == 1 and word != "reproduced":
        down, up = down * abs(theirs), up * abs(theirs)
    if word == "reproduced":
        down, up = -abs(value) + JUST, JUST
    if word == "contradicted":
        up = abs(value) - JUST
    low, high = sorted((value + sign * down, value + sign * up))
    if math.isnan(down):
        low = high = math.nan
    verdict = judge(with_slopes(with_norm, NORM, **{which: Interval(value, low, high)}))
    assert verdict.word == word
    assert (verdict.effect, verdict.printed) == (value, pytest.approx(theirs))
    assert f"S20 has {theirs:.2f}." in verdict.why


@pytest.mark.parametrize(
    ("which", "judge", "theirs"),
    [
        ("train_loss", findings.rate_for_loss, TRAIN),
        ("apart", findings.falls_less, TEST - TRAIN),
    ],
)
def test_s20s_slope_lies_in_the_interval_or_outside(with_norm, which, judge, theirs):
    value = 0.6 * theirs
    for reach, word in (
        (0.4 * abs(theirs) + JUST, "reproduced"),
        (0.4 * abs(theirs) - JUST, "reproduced at another size"),
    ):
        slope = Interval(value, value - reach, value + reach)
        assert judge(with_slopes(with_norm, NORM, **{which: slope})).word == word


def of_decay(of, free, held):
    other = with_slopes(of)
    other.__dict__["said"] |= {("train_loss", NO_DECAY): free, ("train_loss", PLAIN): held}
    return findings.weight_decay(other)


@pytest.mark.parametrize(
    ("free", "held", "word"),
    [
        # Each known to ±0.18 and ±0.24, their difference to ±0.3.
        (-0.5, -0.2 + JUST, "reproduced"),
        (-0.5, -0.2 - JUST, "undecided"),
        (-0.2 - JUST, -0.5, "undecided"),
        (-0.2 + JUST, -0.5, "contradicted"),
        (math.nan, -0.5, "undecided"),
        (-0.5, math.nan, "undecided"),
    ],
)
def test_weight_decay_is_the_reason_if_the_slopes_are_apart(as_s20, free, held, word):
    slopes = Interval(free, free - 0.18, free + 0.18), Interval(held, held - 0.24, held + 0.24)
    verdict = of_decay(as_s20, *slopes)
    assert verdict.word == word
    if math.isfinite(free - held):
        assert verdict.effect == pytest.approx(free - held)
        assert verdict.interval == pytest.approx((free - held - 0.3, free - held + 0.3))
        assert (
            f"is {slopes[0]} without weight decay and {slopes[1]} with it: a difference of "
            in verdict.why
        )
        assert (verdict.unit, verdict.margin, verdict.rests_on) == ("slope", 0.2, "budgets")


@pytest.mark.parametrize(
    ("reach", "word"), [(0.2, "absent"), (0.2 + JUST, "undecided")], ids=["inside", "outside"]
)
def test_weight_decay_makes_no_difference_within_a_margin(as_s20, reach, word):
    verdict = of_decay(as_s20, Interval(0.0, -reach, reach), Interval(0.0, 0.0, 0.0))
    assert verdict.word == word


def test_weight_decay_is_judged_on_whole_sweeps(two_ways):
    guess = BY["S20-F2.weight-decay"]
    # With weight decay the rate falls: nothing is there to explain.
    verdict = guess.judge(two_ways)
    assert verdict.word == "not tested here"
    assert verdict.why.startswith("with weight decay too the best rate for the training loss may ")
    # With it the rate is constant, without it it rises.
    verdict = guess.judge(made(0.0, of_variant(0.0, 2 / 7)))
    assert verdict.word == "contradicted"
    assert verdict.effect == pytest.approx(2 / 7, abs=0.05)
    other = made(0.0, of_variant(0.0, TRAIN))
    assert guess.judge(other).word == "reproduced"
    assert guess.judge(other).effect == pytest.approx(TRAIN, abs=0.05)


# --- What is reached ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "spread", "word"),
    [
        (-0.1, 0.02, "reproduced"),
        (0.1, 0.02, "contradicted"),
        (-0.1, 0.5, "undecided"),
    ],
)
def test_the_loss_falls_at_every_step_or_does_not(step, spread, word):
    def fall(config):
        """Far at every step but to 20 epochs."""
        k = doublings(config)
        return -5 * k + (5 + step) * (k >= 2)

    of = made(0.0, 0.0, fall=fall, spread=spread, scale="cpu", seeds=5)
    verdict = one(of, "loss-falls")
    assert verdict.word == word
    assert "The claim fits worst for the step to 20 epochs: " in verdict.why
    if spread < 0.1:
        assert verdict.effect == pytest.approx(step, abs=0.08)


def test_the_loss_at_the_rate_that_is_best_for_it_is_what_falls():
    # The loss at the rate for the test set rises: the best rates move apart.
    def fall(config):
        return -0.2 * doublings(config)

    of = made(0.5, -0.7, fall=fall, scale="cpu", seeds=5)
    assert one(of, "loss-falls").word == "reproduced"

    def worse_anew(config):
        """Fresh seeds, which tell of the accuracy, do far worse."""
        return fall(config) + 3 * (config.seed >= FRESH_SEED)

    verdict = one(made(fall=worse_anew, scale="cpu", seeds=5), "loss-falls")
    assert verdict.effect == pytest.approx(-0.2, abs=0.1)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("size", "spread", "word"),
    [
        (0.49, 1e-4, "reproduced"),
        (0.51, 1e-4, "contradicted"),
        (0.49, 0.2, "undecided"),
        (0.0, 0.02, "reproduced"),
    ],
)
def test_the_accuracy_gains_less_than_a_margin_or_does(sign, size, spread, word):
    """By fresh seeds; what those gain that tuned does not matter, nor earlier doublings."""

    def gain(config):
        earlier = 3 * min(doublings(config), 2)
        fresh = config.seed >= FRESH_SEED
        return earlier + (sign * size if fresh else -2) * (config.epochs == 40)

    verdict = one(made(gain=gain, spread=spread, scale="cpu"), "accuracy-saturates")
    assert verdict.word == word
    assert verdict.effect == pytest.approx(sign * size, abs=0.01 if spread < 0.01 else 0.5)
    assert verdict.why.startswith("from 20 to 40 epochs it gains ")


@pytest.mark.parametrize(
    ("size", "spread", "word"),
    [
        (0.49, 1e-4, "reproduced"),
        (0.51, 1e-4, "contradicted"),
        (-3.0, 1e-4, "reproduced"),
        (0.4, 1.0, "undecided"),
    ],
)
@pytest.mark.parametrize("variant", [NO_NORM, PLAIN, NO_DECAY])
def test_without_batch_norm_it_may_fall(size, spread, word, variant):
    scale, longest = (FOUR, 40) if variant == NO_NORM else ("digits", 1280)

    def gain(config):
        return size * (config.seed >= FRESH_SEED and config.epochs == longest)

    verdict = one(made(gain=gain, spread=spread, scale=scale), "accuracy-saturates", variant)
    assert verdict.word == word
    assert verdict.effect == pytest.approx(-size, abs=0.01 if spread < 0.01 else 2)


# --- What a fair test needs -----------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "after"), [(NORM, 800), (NO_NORM, 400)])
def test_no_gain_is_asked_for_before_s20_sees_none(variant, after):
    claim = AS_IT_STANDS[f"S20-F2.accuracy-saturates.{findings.VARIANTS[variant]}"]
    verdict = claim.judge(made(scale=FOUR))
    assert (verdict.word, verdict.why) == (
        "not tested here",
        f"the last doubling begins at 20 epochs, before the {after} after which S20 sees this.",
    )
    lacks = partial(findings._gain_lacks, made(scale=FOUR).part(findings.OF[variant]))
    assert not lacks(after=20)
    assert lacks(after=20.5)


def test_that_an_effect_is_a_gain_with_its_sign_turned_is_told():
    def gain(config):
        return 0.25 * (config.seed >= FRESH_SEED and config.epochs == 1280)

    verdict = one(made(gain=gain, spread=0.01), "accuracy-saturates", PLAIN)
    assert verdict.effect == pytest.approx(-0.25, abs=0.05)
    low, high = verdict.interval
    effect = f"{verdict.effect:+.2f} [{low:+.2f}, {high:+.2f}]"
    assert f" sign turned, {effect}. To rise means" in verdict.why
    assert f"it gains {-verdict.effect:+.2f} [{-high:+.2f}, {-low:+.2f}] points" in verdict.why


def rising(*epochs):
    """An accuracy that is the better the larger the rate, at these budgets: on the edge."""

    def accuracy(config, rate):
        return 95 + 3 * rate if config.epochs in epochs else 95 - 0.4 * (rate + 3) ** 2

    return accuracy


def away(config):
    """A slope that takes a best rate twelve octaves up, out of every grid."""
    return 12 / doublings(config)


def steep(*epochs, slope=0.0):
    """A slope of the loss's rate that leaves every grid at these budgets."""
    return lambda config: away(config) if config.epochs in epochs else slope


TAKES = "a slope takes 3."


def test_a_slope_takes_three_optima_inside_their_grids():
    of = made(accuracy=rising(10, 20), scale="cpu")
    said = f"the best rate lies inside its grid at 2 of 4 budgets; {TAKES}"
    both = f"both best rates lie inside their grids at 2 of 4 budgets; {TAKES}"
    test, train, less = judged(of, NORM, PARTS[:3])
    assert (test.word, test.why) == ("not tested here", said)
    assert (less.word, less.why) == ("not tested here", both)
    assert train.word == "absent"
    assert "over 4 budgets, a factor of 8;" in train.why
    of = made(train=steep(10, 20), scale="cpu")
    test, train, less = judged(of, NORM, PARTS[:3])
    assert test.word == "reproduced"
    assert "over 4 budgets, a factor of 8;" in test.why
    assert (train.word, train.why) == ("not tested here", said)
    assert (less.word, less.why) == ("not tested here", both)


def test_three_budgets_are_enough_and_are_named():
    of = made(train=TRAIN, accuracy=rising(40), scale="cpu")
    test, train, less = judged(of, NORM, PARTS[:3])
    assert test.word != "not tested here"
    assert "over 3 of 4 budgets, a factor of 4; S20 has -0.14." in test.why
    assert "over 4 budgets, a factor of 8; S20 has -0.57." in train.why
    assert "over 3 of 4 budgets, a factor of 4; S20 has 0.43." in less.why
    less = one(made(train=steep(40, slope=TRAIN), scale="cpu"), "test-falls-less")
    assert "over 3 of 4 budgets, a factor of 4; S20 has 0.43." in less.why


def test_slopes_are_compared_at_the_budgets_that_have_both():
    """Each rate is known at three budgets, and both at two only."""
    of = made(accuracy=rising(10), train=steep(40), scale="cpu")
    test, train, less = judged(of, NORM, PARTS[:3])
    assert "not tested here" not in (test.word, train.word)
    assert less.word == "not tested here"
    assert less.why == f"both best rates lie inside their grids at 2 of 4 budgets; {TAKES}"


def test_where_runs_diverge_at_every_rate_that_is_said():
    def lost(config, rate):
        return config.norm == "ghost" and config.epochs in (10, 40)

    of = made(train=TRAIN, lost=lost, scale="cpu", seeds=2)
    whys = [verdict.why for verdict in judged(of, NORM)]
    every = f"2 of 4 budgets, every rate diverged at 2; {TAKES}"
    assert whys == [
        f"the best rate lies inside its grid at {every}",
        f"the best rate lies inside its grid at {every}",
        f"both best rates lie inside their grids at {every}",
        "at 10 epochs every rate diverged.",
        "at 40 epochs every rate diverged.",
    ]
    assert set(words(of, NORM)) == {"not tested here"}
    # The other variant's have nothing to do with it.
    assert "not tested here" not in words(of, NO_NORM)


def test_a_loss_that_is_lost_is_enough_for_a_comparison_of_both():
    """Where the accuracies are finite: for them nothing diverged."""

    def fall(config):
        return math.inf if config.epochs in (10, 40) else -doublings(config)

    test, train, less = judged(made(fall=fall, scale="cpu", seeds=2), NORM, PARTS[:3])
    every = f"2 of 4 budgets, every rate diverged at 2; {TAKES}"
    assert test.word != "not tested here"
    assert train.why == f"the best rate lies inside its grid at {every}"
    assert less.why == f"both best rates lie inside their grids at {every}"


def test_where_everything_diverged_nothing_is_a_nan():
    of = made(lost=lambda config, rate: True, seeds=2)
    for claim in findings.CLAIMS:
        verdict = claim.judge(of)
        assert verdict.word == "not tested here"
        assert "nan" not in verdict.why
        assert verdict.elsewhere or "every rate diverged" in verdict.why
    names = [trace.name for trace in findings.rates_against_epochs(of, PLAIN).data]
    assert not any("nan" in name for name in names if name)
    assert findings.how_well_fitted(of) == ""


def test_what_is_reached_on_the_edge_of_a_grid_is_not_judged():
    edge = "epochs the best rate lies on an edge of its grid: a bound, no optimum."
    for where, judged_still in ((5, True), (10, True), (20, False), (40, False)):
        verdict = one(made(accuracy=rising(where), scale="cpu", seeds=2), "accuracy-saturates")
        if judged_still:
            assert verdict.word != "not tested here"
        else:
            assert (verdict.word, verdict.why) == ("not tested here", f"at {where} {edge}")
    for where in (10, 40):
        verdict = one(made(train=steep(where), scale="cpu", seeds=2), "loss-falls")
        assert (verdict.word, verdict.why) == ("not tested here", f"at {where} {edge}")
    # Neither is about the other's optimum.
    assert one(made(train=steep(40), scale="cpu"), "accuracy-saturates").word == "reproduced"
    assert one(made(accuracy=rising(40), scale="cpu"), "loss-falls").word == "reproduced"


@pytest.mark.parametrize(("epochs", "said"), [(20, True), (40, True), (10, False)])
def test_fresh_seeds_that_all_diverge_are_said(epochs, said):
    def lost(config, rate):
        return config.seed >= FRESH_SEED and config.epochs == epochs

    verdict = one(made(lost=lost, scale="cpu", seeds=2), "accuracy-saturates")
    assert (verdict.why == f"at {epochs} epochs every fresh seed diverged.") == said
    assert (verdict.word == "not tested here") == said


def test_weight_decay_takes_both_slopes():
    guess = BY["S20-F2.weight-decay"]
    assert guess.scales == ("digits",)
    said = f"the best rate lies inside its grid at 2 of 8 budgets; {TAKES}"
    for with_decay in (True, False):

        def train(config, with_decay=with_decay):
            mine = bool(config.weight_decay) == with_decay
            return away(config) if mine and 10 < config.epochs < 1280 else 0.0

        verdict = guess.judge(made(train=train, seeds=2))
        assert (verdict.word, verdict.why) == ("not tested here", said)
    lone = made(seeds=2).part(findings.OF[NO_DECAY])
    assert guess.needs(lone) == "this scale has no sweeps with weight decay to compare with."
    lone = made(seeds=2).part(findings.OF[PLAIN])
    assert guess.needs(lone) == "this scale has no sweeps with weight decay to compare with."


# --- Beside the claims ----------------------------------------------------------------------------


def fitting(parts, lost=lambda config, rate: False):
    """Percent of the training images and loss by norm, at the best rate for the loss of 40 epochs.

    At all other rates and budgets everything is fitted.
    """
    of = made(0.5, -0.5, scale="cpu", lost=lost)
    for variant, (part, loss) in parts.items():
        states = of.part(findings.OF[variant]).states
        (state,) = (state for state in states if dict(state.sweep.key)["epochs"] == 40)
        best = state.sweep.config(state.tuned["train_loss"].point, 0).learning_rate
        for state in states:
            for config in state.needed:
                metrics = of.records[config.id].metrics
                here = config.epochs == 40 and config.learning_rate == best
                if metrics.get("train_loss") is not None:
                    metrics["train_accuracy"] = part if here else 100.0
                    if here:
                        metrics["train_loss"] = loss
    return of


@pytest.mark.parametrize(
    ("ghost", "none", "finding"),
    [
        (
            99.9,
            84.7,
            "Without batch norm S20's figure 2 is not run up to where the data are fitted",
        ),
        (98.9, 99.0, "With batch norm S20's figure 2 is not run up to where the data are fitted"),
        (
            98.9,
            10.0,
            "With batch norm and without batch norm S20's figure 2 is not run up to where the data "
            "are fitted",
        ),
        (99.0, 100.0, "The longest runs fit their data"),
    ],
)
def test_how_well_the_longest_runs_fit_is_told_net_by_net(ghost, none, finding):
    said = findings.how_well_fitted(fitting({NORM: (ghost, 0.015), NO_NORM: (none, 0.43)}))
    assert said == (
        f"{finding}, to 99 % or more of the training images. After 40 epochs, at the rate that is "
        f"best for the training loss, with batch norm the runs classify {ghost:.1f} % of the "
        "training images rightly, at a loss of 0.015 (3 runs); without batch norm the runs "
        f"classify {none:.1f} % of the training images rightly, at a loss of 0.43 (3 runs)."
    )


def test_fresh_seeds_at_that_rate_count_and_diverged_runs_are_told():
    of = fitting({NORM: (99.9, 0.015), NO_NORM: (84.7, 0.43)})
    states = of.part(findings.OF[NO_NORM]).states
    (state,) = (state for state in states if dict(state.sweep.key)["epochs"] == 40)
    best = state.sweep.config(state.tuned["train_loss"].point, 0)
    of.records[best.id].metrics.clear()
    said = findings.how_well_fitted(of)
    assert "at a loss of 0.43 (2 runs of 3, the others diverged)." in said
    # The rate that is best for the test set is the same one, which fresh seeds have, too.
    same = made(scale="cpu")
    for record in same.records.values():
        record.metrics["train_accuracy"] = 50.0
    assert findings.how_well_fitted(same).count("(6 runs)") == 2


def test_a_net_whose_every_run_diverged_is_left_out():
    of = made(lost=lambda config, rate: True, scale="cpu", seeds=2)
    for record in of.records.values():
        record.metrics.clear()
    assert findings.how_well_fitted(of) == ""


# --- Why a rate does not fall ---------------------------------------------------------------------

FALLS = " the best rate for the training loss falls, as it does in S20."
STAYS = " the best rate for the training loss does not fall here, while in S20 it does."
OPEN = " the best rate for the training loss may fall or not: that is *undecided*."
UNTESTED = (
    " Weight decay, the guess that was made on the digits, is not tested here: all runs have it."
)


@pytest.fixture
def worded(monkeypatch):
    """Readings whose rates for the training loss have words as said, by variant."""

    def told(scale, **by):
        def judge(claim, whole):
            _, part, suffix = claim.id.split(".")[0], *claim.id.split(".")[1:]
            assert part == "rate-for-loss"
            return Verdict(by[suffix.replace("-", "_")], "")

        monkeypatch.setattr(Claim, "judge", judge)
        return findings.why_not(Reading(study_of("unlimited-epochs", scale), {})).split("\n\n")

    return told


def test_the_guess_is_made_where_it_is_tested_and_a_rate_does_not_fall(worded):
    held, free = "With weight decay", "Without weight decay"
    said = worded("digits", plain="absent", no_decay="contradicted")
    assert said == [held + STAYS, findings.GUESS, free + STAYS, findings.TESTED]
    # What is left without weight decay is no matter.
    said = worded("digits", plain="contradicted", no_decay="reproduced")
    assert said == [held + STAYS, findings.GUESS, free + FALLS, findings.TESTED]
    for word, told in (
        ("reproduced", FALLS),
        ("reproduced at another size", FALLS),
        ("undecided", OPEN),
    ):
        said = worded("digits", plain=word, no_decay="absent")
        assert said == [held + told, free + STAYS, findings.TESTED]


def test_where_no_run_is_without_weight_decay_the_guess_is_not_tested(worded):
    ghost, none = "With batch norm", "Without batch norm"
    said = worded("cpu", norm="absent", no_norm="reproduced")
    assert said == [ghost + STAYS + UNTESTED, none + FALLS]
    said = worded("cpu", norm="undecided", no_norm="contradicted")
    assert said == [ghost + OPEN, none + STAYS + UNTESTED]


def test_the_sentences_come_from_the_records(as_s20):
    falls = [name + FALLS for name in ("With weight decay", "Without weight decay")]
    assert findings.why_not(as_s20) == "\n\n".join([*falls, findings.TESTED])
    # Neither rate moves.
    assert findings.GUESS in findings.why_not(made())


def test_the_title_has_the_factor_of_the_marks_and_says_so(as_s20):
    drawn = findings.rates_against_epochs(as_s20, PLAIN)
    factors = [trace.y[-1] / trace.y[0] for trace in drawn.data]
    grid = [
        2.0 ** float(rows.exponent.iloc[-1] - rows.exponent.iloc[0])
        for rows in (as_s20.optima(o, PLAIN) for o in ("test_accuracy", "train_loss"))
    ]
    assert [f"{one:.2g}" for one in factors] != [f"{one:.2g}" for one in grid]
    assert drawn.layout.title.text == (
        "From 10 to 1,280 epochs the best rate, also between the grid's points, changes by a "
        f"factor of {factors[0]:.2g} (for test accuracy), by a factor of {factors[1]:.2g} (for "
        "training loss)"
    )


def test_it_is_told_what_the_bars_of_the_rates_are(as_s20):
    drawn = findings.rates_against_epochs(as_s20, PLAIN)
    assert drawn.layout.annotations[-1].text.endswith(
        " Marks: the best rate, also between the grid's points. Bars: its 95 % interval."
    )
