"""S20's figure 2 on made-up records: what is said where a claim holds, and where it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_up import noisy, reading

from sgdnoise.analysis import Interval, Reading
from sgdnoise.experiments.unlimited_epochs import findings
from sgdnoise.figures import tuned as figures

SEEDS = 5
OBJECTIVES = ("test_accuracy", "train_loss")
NO_DECAY = findings.NO_DECAY


def made(accuracy, loss, scale="digits", seeds=SEEDS):
    return reading("unlimited-epochs", scale, seeds, noisy(accuracy, loss))


def falling_test(slope, start=-2.0):
    def accuracy(config, rate):
        return 98 - 0.4 * (rate - start - slope * math.log2(config.epochs / 10)) ** 2

    return accuracy


def falling_loss(slope, start=-2.0):
    def loss(config, rate):
        peak = start + slope * math.log2(config.epochs / 10)
        return (1 + 0.3 * (rate - peak) ** 2) / config.epochs

    return loss


def judged(of, variant=()):
    suffix = {
        (): "plain",
        NO_DECAY: "no-decay",
        findings.WITH_NORM: "norm",
        findings.WITHOUT_NORM: "no-norm",
    }[variant]
    by = {claim.id: claim for claim in findings.CLAIMS}
    parts = ("rate-for-test", "rate-for-loss", "test-falls-less", "loss-falls")
    return [by[f"S20-F2.{part}.{suffix}"].judge(of) for part in parts]


@pytest.mark.parametrize("test_slope", [-1 / 7, 0.0, -4 / 7])
def test_unlimited_epochs_are_judged_both_ways(test_slope):
    of = made(falling_test(test_slope), falling_loss(-4 / 7))
    slopes = {o: of.slope("epochs", o, ()) for o in OBJECTIVES}
    assert slopes["test_accuracy"].value == pytest.approx(test_slope, abs=0.08)
    assert slopes["train_loss"].value == pytest.approx(-4 / 7, abs=0.08)
    for variant in ((), NO_DECAY):
        test, train, less, down = judged(of, variant)
        assert test.effect == pytest.approx(test_slope, abs=0.08)
        assert train.effect == pytest.approx(-4 / 7, abs=0.08)
        assert ("the intervals do not touch" in less.why) == (test_slope > -0.5)
        assert less.word == ("reproduced" if test_slope > -0.5 else "undecided")
        assert less.effect == pytest.approx(test_slope + 4 / 7, abs=0.1)
        assert (down.word, down.why) == ("reproduced", "yes.")
        # S20's own slopes, from its factors 2 and 16 over 128.
        assert "by a factor 2 over 128 in epochs, a slope of -0.14" in test.why
        assert "by a factor 16 over 128 in epochs, a slope of -0.57" in train.why
        assert test.word == ("reproduced" if test_slope == -1 / 7 else "contradicted")
        if test_slope != -1 / 7:
            assert ("here it falls more" in test.why) == (test_slope < 0)
            assert ("here it falls less" in test.why) == (test_slope == 0)
    fig = findings.rates_against_epochs(of, ())
    assert len(fig.data[0].x) == 8
    assert [trace.name.split(",")[0] for trace in fig.data] == [
        "for test accuracy",
        "for training loss",
    ]
    optima = of.optima("train_loss", ())
    reached = figures.against(of, "epochs", "train_loss", tuned_for="train_loss", variant=())
    np.testing.assert_allclose(reached.data[0].y, optima.train_loss_mean)
    one = figures.sweep_at(of, "epochs", 40, "train_loss", ())
    assert "40 epochs" in one.layout.title.text


class Said(Reading):
    """A reading with slopes as said, by objective and variant."""

    def slope(self, over, objective="test_accuracy", variant=None):
        assert over == "epochs"
        return self.__dict__["said"][objective, variant]


def with_slopes(of, said):
    other = Said(of.study, of.records)
    other.__dict__["said"] = said
    return other


@pytest.fixture(scope="module")
def level():
    return made(falling_test(0), falling_loss(0))


NAN = Interval(math.nan, math.nan, math.nan)


@pytest.mark.parametrize(
    ("low", "high", "word", "said"),
    [
        (-0.2, 0.1, "reproduced", "a slope of -0.14: the interval holds it"),
        (-0.1, 0.1, "contradicted", "a slope of -0.14: here it falls less, or not at all"),
        (-0.5, -0.3, "contradicted", "a slope of -0.14: here it falls more"),
        # Its lower end lies within the other rate's interval: they touch.
        (-0.6, 0.0, "reproduced", "a slope of -0.14: the interval holds it"),
        (math.nan, math.nan, "undecided", "a slope of -0.14: there is no interval"),
    ],
)
@pytest.mark.parametrize("variant", [(), NO_DECAY])
def test_a_slope_over_epochs_is_judged_by_its_interval(level, low, high, word, said, variant):
    slopes = dict.fromkeys(
        ((o, v) for o in OBJECTIVES for v in ((), NO_DECAY)), Interval(7.0, 6.0, 8.0)
    )
    slopes |= {
        ("test_accuracy", variant): Interval(-0.1, low, high),
        ("train_loss", variant): Interval(-0.6, -0.7, -0.55),
    }
    test, train, less, _ = judged(with_slopes(level, slopes), variant)
    assert test.word == word
    assert test.why.endswith(f"{said}.")
    assert (test.effect, test.interval) == (-0.1, None if math.isnan(low) else (low, high))
    assert train.word == "reproduced"
    assert train.why.endswith("a slope of -0.57: the interval holds it.")
    shown = low > -0.55
    assert less.word == ("reproduced" if shown else "undecided")
    assert less.why.endswith("the intervals do not touch." if shown else "the other one.")
    assert less.effect == pytest.approx(0.5)


def test_the_rate_for_the_loss_that_falls_less_is_no_rate_for_the_test_set_that_does():
    _, _, less, _ = judged(made(falling_test(-4 / 7), falling_loss(0)))
    assert less.word == "undecided"
    assert less.effect < -0.4


@pytest.mark.parametrize("variant", [(), NO_DECAY])
def test_the_training_loss_falls_with_every_doubling_or_does_not(variant):
    other = NO_DECAY if variant == () else ()

    def up_once(config, rate):
        mine = (config.weight_decay == 0) == (variant == NO_DECAY)
        return (
            (1 + 0.3 * (rate + 2) ** 2)
            * (2.0 if mine and config.epochs == 40 else 1.0)
            / config.epochs
        )

    of = made(falling_test(0), up_once)
    # At 40 epochs it is what it was at 20: no fall.
    assert judged(of, variant)[3].word == "undecided"
    assert judged(of, variant)[3].why == "no."
    assert judged(of, other)[3].word == "reproduced"


def test_each_norm_has_its_own_claims():
    """With batch norm the rates stay, without they fall as S20 has it."""

    def accuracy(config, rate):
        slope = 0.0 if config.norm == "ghost" else -4 / 7
        return 98 - 0.4 * (rate + 3 - slope * math.log2(config.epochs / 5)) ** 2

    def loss(config, rate):
        slope = -4 / 7 if config.norm == "ghost" else 0.0
        return (1 + 0.3 * (rate + 3 - slope * math.log2(config.epochs / 5)) ** 2) / config.epochs

    of = made(accuracy, loss, scale="cpu", seeds=3)
    with_norm, without = judged(of, findings.WITH_NORM), judged(of, findings.WITHOUT_NORM)
    assert [verdict.effect for verdict in with_norm[:2]] == pytest.approx([0, -4 / 7], abs=0.1)
    assert [verdict.effect for verdict in without[:2]] == pytest.approx([-4 / 7, 0], abs=0.1)
    assert [verdict.word for verdict in (with_norm[2], without[2])] == ["reproduced", "undecided"]
    words = {verdict.word for v in ((), NO_DECAY) for verdict in judged(of, v)}
    assert words == {"not tested here"}
    (guess,) = [c for c in findings.CLAIMS if c.id == "S20-F2.weight-decay"]
    assert guess.judge(of).word == "not tested here"


@pytest.mark.parametrize("free_slope", [-4 / 7, 0.0])
def test_the_guess_about_weight_decay_is_judged_both_ways(free_slope):
    def loss(config, rate):
        slope = 0.0 if config.weight_decay else free_slope
        return 1 + 0.3 * (rate + 2 - slope * math.log2(config.epochs / 10)) ** 2

    of = made(falling_test(0), loss)
    assert of.variants == [(), NO_DECAY]
    verdict = findings.weight_decay(of)
    assert verdict.word == ("reproduced" if free_slope < 0 else "absent")
    assert ("**the guess is borne out**" in verdict.why) == (free_slope < 0)
    assert ("**the guess is not borne out**" in verdict.why) == (free_slope == 0)
    assert verdict.effect == pytest.approx(free_slope, abs=0.1)
    assert len(of.optima("train_loss", NO_DECAY)) == 8


@pytest.mark.parametrize(
    ("free", "held", "word"),
    [
        ((-0.3, -0.4, -0.2), (0.0, -0.1, 0.1), "reproduced"),
        # Negative, but not told from the one with weight decay.
        ((-0.3, -0.4, -0.2), (-0.2, -0.25, 0.1), "absent"),
        # Below the one with it, but not told from 0.
        ((-0.3, -0.4, 0.05), (0.3, 0.2, 0.4), "absent"),
        ((0.3, 0.2, 0.4), (-0.3, -0.4, -0.2), "absent"),
        ((math.nan,) * 3, (0.0, -0.1, 0.1), "undecided"),
        ((-0.3, -0.4, -0.2), (math.nan,) * 3, "undecided"),
    ],
)
def test_weight_decay_is_the_reason_by_intervals_that_do_not_touch(level, free, held, word):
    slopes = {("test_accuracy", v): Interval(9.0, 8.0, 10.0) for v in ((), NO_DECAY)}
    slopes |= {("train_loss", NO_DECAY): Interval(*free), ("train_loss", ()): Interval(*held)}
    verdict = findings.weight_decay(with_slopes(level, slopes))
    assert verdict.word == word
    if word != "undecided":
        assert verdict.interval == free[1:]
        assert (
            f"{Interval(*free)} without weight decay and {Interval(*held)} with it" in verdict.why
        )


def test_how_much_of_the_training_set_the_longest_runs_fit():
    study_reading = made(falling_test(0), falling_loss(0))
    # Of the longest runs some reach 100 of the training accuracies, which are made up here.
    longest = max(record.config.epochs for record in study_reading.records.values())
    runs = [r for r in study_reading.records.values() if r.config.epochs == longest]
    for number, record in enumerate(runs):
        record.metrics["train_accuracy"] = 100.0 if number < len(runs) // 4 else 99.9
    share = (len(runs) // 4) / len(runs)
    assert findings.interpolation(study_reading) == (
        f"After 1,280 epochs {share:.0%} of the runs that did not diverge classify every training "
        "image rightly."
    )
    for record in runs:
        del record.metrics["train_accuracy"]
    assert findings.interpolation(study_reading) == ""
