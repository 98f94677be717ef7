"""G20's two ways to enlarge the gradient on made-up records: every word, and what each needs."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from made_up import estimate, told

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.experiments import EXPERIMENTS, study_of
from sgdnoise.experiments.larger_gradients import (
    explanations,
    figures,
    findings,
    measured,
    sentences,
)
from sgdnoise.experiments.larger_gradients.findings import BY
from sgdnoise.experiments.larger_gradients.grid import (
    BATCH_FACTOR,
    FRACTIONS,
    LEFT_OUT,
    RATE_FACTOR,
)
from sgdnoise.experiments.larger_gradients.measured import ARMS
from sgdnoise.figures.tables import power_of_two
from sgdnoise.papers.numbers import printed
from sgdnoise.records.made import record_of
from sgdnoise.training.result import Result

NAME, JUST = "larger-gradients", 1e-3
PARTS = measured.OF


def arm_of(config):
    """The arm of a run, from its config."""
    if config.discard_fraction:
        return config.discard_by
    if config.schedule == "hold-then-decay" or config.epochs == 10:
        return "none"
    if not config.phases:
        return "whole" if config.probes else "throughout"
    return "small" if config.phases[0][1] < 1 else "slow"


def _places():
    """Where each grid of the scale has its centre, by what tells its runs from others'."""
    found = {}
    for sweep in EXPERIMENTS[NAME].sweeps["digits"]():
        for axis in sweep.axes:
            config = sweep.config((axis.low,), 0)
            found[place_of(config)] = (axis.low + axis.high) / 2
    return found


def place_of(config):
    return config.batch_size, config.schedule, config.clip_norm


CENTRES = _places()


def flat(config):
    return 97.0


def made(
    accuracy=flat, gradient=None, amplitude=None, seeds=4, away=0.0, spread=0.05, trained=99.0
):
    """The reading of a store in which all runs ended as said.

    Args:
        accuracy: at the best rate, in points.
        gradient: log₂ of the mean |g| of the first update.
        amplitude: of an epoch's log₂ loss, which goes up and down about a straight fall, from the
            config and whether it is early.
        seeds: runs a grid point.
        away: where the best rate lies, in factors of two from the centre of the grid.
        spread: of the accuracies, by seed and arm alike.
        trained: the training accuracy in points, of all runs or by config.
    """
    study, there, rng = study_of(NAME, "digits", seeds), {}, np.random.default_rng(3)

    def ended(config):
        rate = math.log2(config.effective_learning_rate) - CENTRES.get(place_of(config), 0) - away
        value = accuracy(config) + spread * rng.standard_normal()
        if not math.isfinite(value):
            return record_of(Result(config, "diverged", {"diverged_at": 1}, {}, 1.0))
        if config.epochs != 10:
            value -= 0.5 * rate**2
        metrics = {
            "test_accuracy": value,
            "train_accuracy": trained(config) if callable(trained) else trained,
            "train_loss": 0.1,
        }
        curves = {"step": [1.0, 9.0], "train_loss": [2.3, 1.0], "distance": [0.1, 1.0]}
        if gradient:
            # Each seed's net has a gradient of its own, the same for all arms.
            size = 2.0 ** (gradient(config) + config.seed)
            curves |= {"gradient_abs": [size, 1.0], "stride_abs": [size / 10, 1.0]}
        if amplitude and config.probes:
            curves["epoch_mean_loss"] = [
                2.0 ** (-0.05 * e + amplitude(config, e < 80) * (-1) ** e) for e in range(100)
            ]
            # The first epoch is what the arms differ in: it leaps, and does not count.
            curves["epoch_mean_loss"][0] *= 50 * len(config.phases) + 1
        return record_of(Result(config, "done", metrics, curves, 1.0))

    while todo := study.missing(there):
        there |= {config.id: ended(config) for config in todo}
    return Reading(study, there)


def judged(name, of):
    return BY[f"G20-{name}"].judge(of)


# --- The grid is G20's ----------------------------------------------------------------------------


def test_the_batches_are_g20s_parts_of_the_training_set():
    share = 1024 / 50_000
    sizes = {dict(s.key)["batch_size"] for s in EXPERIMENTS[NAME].sweeps["digits"]()}
    assert sizes == {10, 40, 160, 640, 1024}
    for name, size in (("F10.small", 40), ("F10.large", 160), ("F11.batch_size", 160)):
        assert printed(f"G20-{name}").value * share == pytest.approx(size, rel=0.06)
    large, small = (printed(f"G20-{name}.batch_size").value for name in ("F11", "F13"))
    assert small / large == BATCH_FACTOR
    rates = [printed(f"G20-{name}.learning_rate").value for name in ("F13", "F11")]
    assert rates[0] / rates[1] == pytest.approx(RATE_FACTOR)
    assert printed("G20-F10.left_out").value == LEFT_OUT
    assert printed("G20-F11.epochs").value == measured.EARLY * 100


def test_what_the_arms_differ_in():
    for sweep in EXPERIMENTS[NAME].sweeps["digits"]():
        key, point = dict(sweep.key), tuple(axis.low for axis in sweep.axes)
        config = sweep.config(point, 0)
        assert arm_of(config) == key["arm"]
        assert (config.clip_norm is not None) == (key.get("updates") == "equal")
        if key["part"] == "discarding" and key["arm"] != "none":
            assert (config.discard_fraction, config.discard_epochs) == (0.3, config.epochs / 2)
        if key["part"] == "first-epoch" and key["arm"] == "small":
            assert config.phases == ((0, 1 / 16, 0.1), (1, 1, 1))
            assert [stretch.batch_size for stretch in config.batches(1024).stretches] == [10, 160]
        if config.clip_norm:
            # The decay beside a gradient brought to this norm is as that beside one of norm 1.
            assert config.weight_decay / config.clip_norm == pytest.approx(5e-4)


# --- The gradient ---------------------------------------------------------------------------------


def grown(loss, blind, spread=1e-3):
    """First gradients that grow so with what is left out, in log₂, of all fractions alike."""
    rng = np.random.default_rng(1)

    def gradient(config):
        by = {"none": 0.0, "loss": loss, "random": blind}
        return by.get(arm_of(config), 0.0) + spread * rng.standard_normal()

    return made(gradient=gradient)


G = findings.GROWTH


@pytest.mark.parametrize(
    ("loss", "blind", "spread", "word", "effect"),
    [
        (1.0, 0.3, 1e-3, "reproduced", 0.7),
        (1.0, 0.3, 3.0, "undecided", None),
        # No more than at random: nothing of the losses' own.
        (1.0, 1.0, 1e-3, "absent", 0.0),
        (1.0, 1.0 - G / 2, 1e-3, "reproduced", G / 2),
        (0.5, 1.0, 1e-3, "contradicted", -0.5),
        # More than at random, but smaller than with nothing left out.
        (-0.5, -1.0, 1e-3, "contradicted", -0.5),
        (0.0, -1.0, 1e-3, "absent", 0.0),
    ],
)
def test_small_losses_left_out_enlarge_the_gradient_or_do_not(loss, blind, spread, word, effect):
    found = judged("F9.discarding-enlarges", grown(loss, blind, spread))
    assert found.word == word
    assert found.about.startswith("At the first update ")
    assert found.margin == pytest.approx(math.log2(1 / math.sqrt(0.9)))
    if effect is not None:
        assert found.effect == pytest.approx(effect, abs=5e-3)
        assert found.unit == "log2 ratio"


def test_the_first_gradient_is_read_seed_by_seed_and_arm_by_arm():
    of = grown(0.5, 0.25, 0.0).part(PARTS["gradient"])
    for arm, by in (("none", 0.0), ("loss", 0.5), ("random", 0.25)):
        for left_out in FRACTIONS if arm != "none" else (0.0,):
            values = measured.first_gradients(of, arm, left_out)
            assert np.log2(values) == pytest.approx(by + np.arange(4), abs=0.02)


# --- What leaving out gains -----------------------------------------------------------------------


def gaining(half=0.1, **by):
    """Fresh seeds' accuracies of arms at batch sizes: `loss_40`, and `equal_loss_40`; else 90."""

    def fresh(key, objective):
        assert objective == "test_accuracy"
        name = f"{key['arm']}_{key['batch_size']}"
        name = name if key["updates"] == "free" else f"equal_{name}"
        # The interval of a difference is √2 times as wide as these.
        return estimate(90 + by.get(name, 0.0), half / math.sqrt(2), dof=1e9)

    return told(NAME, "digits", fresh).part(PARTS["discarding"])


@pytest.mark.parametrize(
    ("near", "far", "half", "word"),
    [
        (1.0, 0.4, 0.4 - JUST, "reproduced"),
        (1.0, 0.4, 0.4 + JUST, "undecided"),
        (0.4, 1.0, 0.4 + JUST, "undecided"),
        (1.0, -1.0, 0.5, "contradicted"),
        (-1.0, 1.0, 0.5, "contradicted"),
        (1.0, 0.1, 0.3, "absent"),
    ],
)
def test_leaving_out_helps_at_both_of_g20s_batches(near, far, half, word):
    # What others gain, and larger batches, does not matter.
    others = {"loss_640": -3.0, "random_40": 5.0, "equal_loss_40": -4.0}
    found = findings.helps(gaining(half, loss_40=near, loss_160=far, **others))
    assert found.word == word
    assert found.effect == pytest.approx(min(near, far))
    assert (found.unit, found.margin) == ("points", 0.5)
    words = ["gains" if gain >= 0 else "loses" for gain in (near, far, near - 5)]
    assert found.why.startswith(f"it {words[0]} {abs(near):.2f} [")
    assert f" and {words[1]} {abs(far):.2f} [" in found.why
    assert f"with as many left out at random it {words[2]} {abs(near - 5):.2f}" in found.why
    assert found.why.endswith(
        "B = 40 and 160 stand for 2,000 and 8,000, as the same shares of the training set."
    )


@pytest.mark.parametrize(
    ("near", "far", "half", "word"),
    [
        (0.2, -0.2, 0.3 - JUST, "reproduced"),
        (0.2, 0.0, 0.3 + JUST, "undecided"),
        (0.0, -0.2, 0.3 + JUST, "undecided"),
        (0.0, 2.0, 1.0, "contradicted"),
        (-2.0, 0.0, 1.0, "contradicted"),
    ],
)
def test_beyond_g20s_batches_it_helps_little_or_much(near, far, half, word):
    found = findings.not_beyond(gaining(half, loss_640=near, loss_1024=far, loss_160=4.0))
    assert found.word == word
    assert (found.unit, found.margin) == ("points", 0.5)
    assert abs(found.effect) == pytest.approx(max(abs(near), abs(far)))
    how = "it harms: " if near < -1 else "it helps much: "
    verb = "gains" if near >= 0 else "loses"
    assert found.why.startswith(f"{how if word == 'contradicted' else ''}it {verb} ")
    low, high = sorted((abs(near) - half, abs(near) + half))
    assert f"{verb} {abs(near):.2f} [{low:.2f}, {high:.2f}] points at B = 640" in found.why
    assert (
        "62.5 % and 100 % of the training set, in place of more than 8,000 of 50,000." in found.why
    )


def losing(config, **by):
    """1.5 points lost at 640 and above; arms gain by name, with `equal` in front if so."""
    lost = 1.5 * (config.batch_size >= 640) + by.get("at160", 0.0) * (config.batch_size == 160)
    arm = arm_of(config)
    name = f"equal_{arm}" if config.clip_norm else arm
    return 97.0 - lost + by.get(name, 0.0) * (config.schedule == "hold-then-decay")


def test_without_a_loss_at_the_larger_batch_nothing_can_be_won_back():
    for lost, verb in ((0.3, "loses 0.3"), (-0.3, "gains 0.3")):
        of = made(lambda c, lost=lost: losing(c, at160=lost), spread=0.001)
        helps = judged("F10.discarding-helps", of)
        assert helps.word == "not tested here"
        assert helps.why.startswith(f"B = 160 {verb}")
        assert helps.why.endswith(
            "points against B = 40, so that a larger gradient has nothing to win back."
        )
    tested = made(lambda c: losing(c, at160=1.0, loss=1.0))
    assert judged("F10.discarding-helps", tested).word == "reproduced"
    part = tested.part(PARTS["discarding"])
    assert findings.with_a_gap(part) == [160, 640, 1024]
    assert findings.lost(part, 640).value == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(
    ("fitted", "large", "beyond"),
    [
        ({}, "reproduced", "contradicted"),
        ({40: 98.9}, "not tested here", "contradicted"),
        ({160: 98.9}, "not tested here", "contradicted"),
        ({640: 98.9}, "reproduced", "not tested here"),
    ],
)
def test_runs_that_have_not_fitted_their_images_test_nothing(fitted, large, beyond):
    def trained(config):
        # Only what a batch of its size fits with nothing left out counts.
        plain = arm_of(config) == "none" and config.clip_norm is None
        return fitted.get(config.batch_size, 99.0) if plain else 10.0

    def accuracy(config):
        gained = {40: 1.0, 160: 1.0}.get(config.batch_size, -2.0)
        return losing(config, at160=1.0, loss=gained)

    of = made(accuracy, trained=trained)
    for name, word in (("discarding-helps", large), ("not-beyond", beyond)):
        found = judged(f"F10.{name}", of)
        assert found.word == word
        if word == "not tested here":
            ((size, updates),) = [(b, 50 * 1024 // b) for b in fitted]
            assert found.why.startswith(
                f"with nothing left out B = {size} classifies 98.9 % of its training images "
                f"rightly, after {updates:,} updates, and a fair test takes 99 %. In runs so short "
                "leaving out the small losses "
            )
            verb = "gains" if name == "discarding-helps" else "loses"
            assert len(re.findall(rf"{verb} \d\.\d\d \[", found.why)) == 2
    # Nor do explanations rest on them.
    said = findings._where_lost(of.part(PARTS["discarding"]), "free")
    assert (said == "not tested here") == bool(set(fitted) - {40})


@pytest.mark.parametrize(
    ("short", "tested"),
    [
        (None, {"F11", "F12", "F13", "F14"}),
        ("whole", set()),
        ("small", {"F11", "F12", "F13"}),
        ("throughout", {"F11", "F13", "F14"}),
    ],
)
def test_first_epochs_of_runs_that_do_not_fit_their_images_test_nothing(short, tested):
    names = {
        "F11": "loss-fluctuates-early",
        "F12": "accuracies-scatter",
        "F13": "small-first-epoch-calms",
        "F14": "small-first-epoch-helps",
    }
    of = made(trained=lambda config: 98.9 if arm_of(config) == short else 99.0)
    judged_here = {k: judged(f"{k}.{name}", of) for k, name in names.items()}
    unfit = f"with {measured.ARMS[short]} B = " if short else "nothing"
    lacking = {k for k, one in judged_here.items() if one.why.startswith(unfit)}
    assert lacking == set(names) - tested
    assert {judged_here[k].word for k in lacking} <= {"not tested here"}


@pytest.mark.parametrize("arm", ["none", "loss", "random"])
def test_no_word_comes_from_an_edge_or_from_what_diverged(arm):
    def lost(config):
        return math.inf if arm_of(config) == arm else losing(config, at160=1.0)

    for name, asks in (("discarding-helps", True), ("not-beyond", arm != "random")):
        found = judged(f"F10.{name}", made(lost))
        assert (found.word == "not tested here") == asks
        assert not asks or f"with {measured.ARMS[arm]}, every rate of" in found.why
    edge = made(losing, away=20.0)
    for name in ("F10.not-beyond", "F12.accuracies-scatter", "F14.small-first-epoch-helps"):
        assert "lies on an edge of its grid" in judged(name, edge).why


# --- The first epoch ------------------------------------------------------------------------------


def test_a_fluctuation_is_that_about_any_straight_line():
    rng = np.random.default_rng(0)
    line = 2.0 ** (0.3 * rng.standard_normal(20_000) - 0.01 * np.arange(20_000))
    assert measured.fluctuation(line) == pytest.approx(0.3, rel=0.03)
    assert measured.fluctuation(8 * line) == pytest.approx(measured.fluctuation(line))
    assert measured.fluctuation(2.0 ** (-0.7 * np.arange(50))) == pytest.approx(0, abs=1e-12)
    # Up and down by a: each bend is 4a.
    assert measured.fluctuation([2.0, 0.5, 2.0, 0.5]) == pytest.approx(4 / math.sqrt(6))
    for course in ([1.0, 2.0], [1.0, None, 2.0], [1.0, 0.0, 2.0], []):
        assert math.isnan(measured.fluctuation(course))


def amplitudes(**by):
    """Of the loss by arm and time: `whole_early`; 0.1 unless said, a little more seed by seed."""

    def amplitude(config, early):
        name = f"{arm_of(config)}_{'early' if early else 'late'}"
        scale = 1 + by.get("jitter", 0.01) * (config.seed % 3 - 1) * (2 if early else 1)
        return by.get(name, 0.1) * scale

    return amplitude


@pytest.mark.parametrize(
    ("early", "jitter", "word"),
    [
        (0.2, 0.01, "reproduced"),
        (0.0105, 0.001, "contradicted"),
        # The loss falls: in nats its early fluctuations are the larger ones.
        (0.05, 0.01, "undecided"),
        (0.1, 0.3, "undecided"),
        (0.1, 0.01, "absent"),
        (0.13, 0.3, "undecided"),
    ],
)
def test_the_loss_fluctuates_early_or_does_not(early, jitter, word):
    of = made(amplitude=amplitudes(whole_early=early, jitter=jitter))
    found = judged("F11.loss-fluctuates-early", of)
    assert found.word == word
    assert found.unit == "log2 ratio"
    if jitter < 0.1:
        assert found.effect == pytest.approx(math.log2(early / 0.1), abs=0.05)
        # A median fluctuation of 4a/√6 octaves, said as a part of the loss.
        for a, when in ((early, "early"), (0.1, "late")):
            said = re.search(rf"([\d.]+)% {when}", found.why)
            assert float(said[1]) == pytest.approx(100 * (2 ** (4 * a / 6**0.5) - 1), rel=0.03)


@pytest.mark.parametrize(
    ("early", "late_level", "word"),
    [
        (0.05, 1.0, "contradicted"),
        # Now early fluctuations are half as large as a part of the loss, and larger in nats.
        (0.05, 0.01, "undecided"),
        (0.2, 0.01, "reproduced"),
        (0.2, 100.0, "undecided"),
        (0.05, 100.0, "contradicted"),
    ],
)
def test_a_direction_that_hangs_on_the_measure_is_no_word(monkeypatch, early, late_level, word):
    in_parts = measured.fluctuation

    def fluctuation(losses, *, in_nats=False):
        found = in_parts(losses)
        # The loss is 1 early. Late parts are told by their length, a fifth of a run.
        return found * (late_level if in_nats and len(losses) < 30 else 1.0)

    of = made(amplitude=amplitudes(whole_early=early))
    monkeypatch.setattr(measured, "fluctuation", fluctuation)
    found = judged("F11.loss-fluctuates-early", of)
    assert found.word == word
    assert found.why.endswith("So the word hangs on the measure.") == (word == "undecided")
    # The effect stays that of the parts.
    assert found.effect == pytest.approx(math.log2(early / 0.1), abs=0.05)
    if word == "undecided":
        said = re.search(
            r"In nats it is the other way: (\S+) early and (\S+) late, .* of (\S+)", found.why
        )
        nats = [4 * early / 6**0.5, 4 * 0.1 * late_level / 6**0.5]
        assert [float(one) for one in said.groups()[:2]] == pytest.approx(nats, rel=0.05)
        assert float(said[3]) == pytest.approx(math.log2(nats[0] / nats[1]), abs=0.05)


def test_the_other_direction_need_not_be_sure(monkeypatch):
    in_parts, levels = measured.fluctuation, itertools.cycle([1.0, 0.001])

    def fluctuation(losses, *, in_nats=False):
        found = in_parts(losses)
        return found * (next(levels) if in_nats and len(losses) < 30 else 1.0)

    of = made(amplitude=amplitudes(whole_early=0.05))
    monkeypatch.setattr(measured, "fluctuation", fluctuation)
    found = judged("F11.loss-fluctuates-early", of)
    low, high = map(float, re.search(r"ratio of \S+ \[(\S+), (\S+)\]\. So", found.why).groups())
    assert low < 0 < high
    assert found.word == "undecided"
    assert "seeds" not in found.why


def test_in_nats_it_is_the_losses_that_fluctuate():
    course = [1.0, 1.2, 1.0, 1.2, 1.0]
    assert measured.fluctuation(course, in_nats=True) == pytest.approx(0.4 / 6**0.5)
    assert measured.fluctuation(course) == pytest.approx(2 * math.log2(1.2) / 6**0.5)
    fall = np.linspace(2.0, 1.0, 9)
    assert measured.fluctuation(fall, in_nats=True) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("whole", "small", "both"),
    [(0.2, 0.4, True), (0.2, 0.1, False), (0.2, 0.05, False), (0.1, 0.4, False)],
)
def test_a_loss_that_fluctuates_early_after_either_first_epoch_says_nothing_of_one(
    whole, small, both
):
    of = made(amplitude=amplitudes(whole_early=whole, small_early=small))
    found = judged("F11.loss-fluctuates-early", of)
    rows = figures.first_epoch_table(of)
    early, late = (rows[f"Fluctuation of the loss, {when}"][1] for when in ("early", "late"))
    said = re.search(
        f"With a small batch in the first epoch it does by {early} early and {late} late: log₂ of "
        r"the ratio is ([-+.\d]+) \[",
        found.why,
    )
    assert float(said[1]) == pytest.approx(math.log2(small / 0.1), abs=0.05)
    assert ("and this says nothing of large batches alone." in found.why) == both
    # Which is beside the verdict.
    assert found.effect == pytest.approx(math.log2(whole / 0.1), abs=0.05)
    # Of an arm of which nothing is known nothing is said to be alike.
    lost = made(
        lambda c: math.inf if arm_of(c) == "small" else 97.0, amplitude=amplitudes(whole_early=0.2)
    )
    assert "both" not in judged("F11.loss-fluctuates-early", lost).why


@pytest.mark.parametrize(
    ("small", "slow", "batch", "rate"),
    [
        (0.2, 0.4, "It calms the loss: ", "It unsettles the loss: "),
        (0.4, 0.2, "It unsettles the loss: ", "It changes the fluctuation by no more than 0.5 in"),
        (0.1, 0.1, "It changes the fluctuation by no more than 0.5 in log₂: ", "It calms the loss"),
    ],
)
def test_the_control_of_the_first_epoch_is_told_against_both(small, slow, batch, rate):
    of = made(amplitude=amplitudes(whole_early=0.2, small_early=small, slow_early=slow))
    said = sentences.against_control(of)
    first, _, second = said.partition(" And what does the low rate alone do? ")
    assert first.startswith(f"What does the small batch do, beside the low rate? {batch}")
    assert second.startswith(rate)
    numbers = [float(re.search(r"ratio is ([-+.\d]+) \[", part)[1]) for part in (first, second)]
    changes = [math.log2(small / slow), math.log2(slow / 0.2)]
    assert numbers == pytest.approx(changes, abs=0.05)
    names = [ARMS[arm] for arm in ("small", "slow", "whole")]
    assert [name in first for name in names] == [True, True, False]
    assert [name in second for name in names] == [False, True, True]


def test_the_control_is_told_only_where_something_fluctuates_in_runs_that_fit_their_images():
    loud = {"whole_early": 0.2, "small_early": 0.1, "slow_early": 0.4}
    assert sentences.against_control(made(amplitude=amplitudes(**loud)))
    assert sentences.against_control(made(amplitude=amplitudes(**loud), trained=90.0)) == ""
    assert sentences.against_control(made(amplitude=amplitudes(whole_early=0.05))) == ""


@pytest.mark.parametrize(
    ("small", "jitter", "word"),
    [
        (0.1, 0.01, "reproduced"),
        (0.4, 0.01, "contradicted"),
        (0.2, 0.01, "absent"),
        (0.18, 0.4, "undecided"),
    ],
)
def test_a_small_first_batch_calms_later_epochs_or_does_not(small, jitter, word):
    by = {"whole_early": 0.2, "small_early": small, "slow_early": 3.0, "small_late": 5.0}
    amplitude = amplitudes(**by, jitter=jitter)

    def mine(config, early):
        # The first epoch itself does not count; and arms differ in how their seeds scatter.
        odd = 1 + jitter * (config.seed % 2) * (arm_of(config) == "small")
        return amplitude(config, early) * odd

    found = judged("F13.small-first-epoch-calms", made(amplitude=mine))
    assert found.word == word
    assert found.effect == pytest.approx(math.log2(small / 0.2), abs=0.35)


def test_where_nothing_fluctuates_early_nothing_is_to_be_calmed():
    of = made(amplitude=amplitudes(whole_early=0.05, small_early=0.01))
    found = judged("F13.small-first-epoch-calms", of)
    assert found.word == "not tested here"
    said = "as a part of it, the large batch's loss fluctuates no more early than late: "
    assert found.why.startswith(said)


def ends(seeds=12, **by):
    """Accuracies of the part `first-epoch`: an arm's spread by its name, its gain by `gain_arm`."""
    count = itertools.count()

    def accuracy(config):
        arm = arm_of(config)
        # Exactly normal in its first two moments: seeds alternate about the mean.
        wide = by.get(arm, 0.1) * (1 if next(count) % 2 else -1)
        return 97.0 + by.get(f"gain_{arm}", 0.0) + wide

    return made(accuracy, seeds=seeds, spread=1e-6)


@pytest.mark.parametrize(
    ("whole", "word"), [(0.4, "reproduced"), (0.025, "contradicted"), (0.1, "undecided")]
)
def test_runs_of_the_large_batch_scatter_or_do_not(whole, word):
    found = judged("F12.accuracies-scatter", ends(whole=whole))
    assert found.word == word
    assert found.effect == pytest.approx(math.log2(whole / 0.1), abs=1e-3)
    assert "points at B = 160 and 0.10 at 10" in found.why


@pytest.mark.parametrize(
    ("gain", "small", "word"),
    [
        (1.0, 0.02, "reproduced"),
        (-1.0, 0.02, "contradicted"),
        (0.0, 0.02, "absent"),
        (1.0, 0.5, "contradicted"),
        (1.0, 0.1, "undecided"),
    ],
)
def test_runs_end_higher_and_closer_or_do_not(gain, small, word):
    found = judged("F14.small-first-epoch-helps", ends(gain_small=gain, small=small))
    assert found.word == word
    if word == "reproduced":
        assert (found.unit, found.effect) == ("points", pytest.approx(1.0, abs=0.02))
    if gain == 1.0 and word != "reproduced":
        assert found.unit == "log2 ratio"
        assert found.effect == pytest.approx(math.log2(small / 0.1), abs=1e-3)


@pytest.mark.parametrize(
    ("gain", "small", "said", "unit"),
    [
        (
            0.0,
            0.1,
            "That runs end higher decides: it is absent. That they end closer together is "
            "undecided. Absent means within",
            "points",
        ),
        (
            -1.0,
            0.02,
            "That runs end higher decides: it is contradicted. That they end closer together is "
            "reproduced.",
            "points",
        ),
        # The half that decides is told, though the other is not reproduced either.
        (
            0.2,
            1.0,
            "That they end closer together decides: it is contradicted. That runs end higher is "
            "undecided.",
            "log2 ratio",
        ),
        (1.0, 0.1, "", "log2 ratio"),
        (1.0, 0.02, "", "points"),
    ],
)
def test_which_half_decides_is_told_and_what_the_other_is(gain, small, said, unit):
    found = judged("F14.small-first-epoch-helps", ends(gain_small=gain, small=small))
    assert said in found.why
    assert ("decides:" in found.why) == bool(said)
    assert found.unit == unit


# --- Which explanation survives -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grew", "free", "equal", "said"),
    [
        ("reproduced", "reproduced", "absent", "gradients remain a possible explanation**"),
        ("absent", "reproduced", "contradicted", "gradients remain a possible explanation**"),
        ("reproduced", "reproduced", "reproduced", "gradients are not the explanation**"),
        ("reproduced", "absent", "reproduced", "gradients are not the explanation**"),
        ("reproduced", "contradicted", "undecided", "gradients are not the explanation**"),
        ("absent", "absent", "absent", "gradients are the explanation is not decided.**"),
        (
            "reproduced",
            "reproduced",
            "undecided",
            "gradients are the explanation is not decided.**",
        ),
        ("reproduced", "undecided", "absent", "gradients are the explanation is not decided.**"),
        (
            "reproduced",
            "not tested here",
            "not tested here",
            "gradients are the explanation is not decided.**",
        ),
    ],
)
def test_what_is_left_of_larger_gradients(grew, free, equal, said):
    sentence = explanations.of_discarding(grew, free, equal, [True] * 4, 8)
    assert said in sentence
    assert sentence.removesuffix("**").endswith(".")


def test_the_words_behind_the_sentences_stand_in_a_table():
    words = "reproduced", "absent", "contradicted"
    small, slow = ("undecided", "not tested here"), ("absent", "reproduced")
    cells = explanations.judged_by(*words, small, slow, "not measured")
    assert [word for *_, word in cells] == [*words, *small, *slow, "not measured"]
    assert [name for name, *_ in cells] == ["larger gradients"] * 3 + ["the small first batch"] * 5
    assert len({judged for _, judged, _ in cells}) == len(cells)
    of = made(
        lambda c: losing(c, loss=1.0),
        lambda c: {"loss": 1.0, "random": 0.2}.get(arm_of(c), 0.0),
        amplitudes(whole_early=0.2),
    )
    table = findings.survives_by(of)
    assert [*map(tuple, table.iloc[:, :2].values)] == [row[:2] for row in cells]
    assert list(table.Word) == [
        *("reproduced", "reproduced", "absent"),
        *("reproduced", "absent", "reproduced", "undecided", "absent"),
    ]
    # No words come of what is not complete, nor of a single seed.
    assert isinstance(findings.survives_by(made(seeds=1)), str)
    assert findings.survives_by(Reading(of.study, dict([*of.records.items()][::2]))) == ""


def test_a_gradient_that_does_not_stay_larger_denies_no_explanation():
    larger = [True, True, False, True, False]
    said = explanations.of_discarding("reproduced", "contradicted", "absent", larger, 12)
    assert said.startswith("**A gradient that is larger at first wins nothing back**")
    assert said.endswith(
        "with 30 % left out it is larger at the first 2 of 5 logged updates, and after that at "
        "only one; nothing is logged beyond update 12. So what a gradient that stays larger would "
        "do is not tested."
    )
    assert "not the explanation" not in said
    throughout = explanations.of_discarding("reproduced", "contradicted", "absent", [True] * 5, 12)
    assert "the gradient at all 5 logged updates, the last of them update 12, and" in throughout
    # Of no use where nothing was denied.
    for grew, free in (("absent", "absent"), ("reproduced", "undecided")):
        same = {
            explanations.of_discarding(grew, free, "absent", of, 12) for of in (larger, [True] * 5)
        }
        assert len(same) == 1


@pytest.mark.parametrize(
    ("small", "slow", "said"),
    [
        (
            ("reproduced", "absent"),
            ("absent", "reproduced"),
            "batch remains a possible explanation**",
        ),
        (
            ("reproduced", "reproduced"),
            ("absent", "contradicted"),
            "batch remains a possible explanation**",
        ),
        (("reproduced", "absent"), ("reproduced", "absent"), "batch is not the explanation**"),
        (("absent", "contradicted"), ("reproduced", "absent"), "nothing for a longer step"),
        (
            ("reproduced", "reproduced"),
            ("reproduced", "absent"),
            "batch is the explanation is not decided.**",
        ),
        (
            ("reproduced", "absent"),
            ("undecided", "absent"),
            "batch is the explanation is not decided.**",
        ),
        (
            ("undecided", "absent"),
            ("absent", "absent"),
            "batch is the explanation is not decided.**",
        ),
        (
            ("not tested here", "absent"),
            ("absent", "absent"),
            "batch is the explanation is not decided.**",
        ),
    ],
)
def test_what_is_left_of_the_small_first_batch(small, slow, said):
    sentence = explanations.of_first_epoch(small, slow, "undecided")
    assert said in sentence
    assert sentence.removesuffix("**").endswith(".")
    # Where the control is surely calmed, the explanation is not denied.
    surely = explanations.of_first_epoch(small, slow, "reproduced")
    assert "not the explanation" not in surely
    denied = "not the explanation" in sentence
    assert ("Against the lower rate alone it calms the loss" in surely) == denied
    assert (surely == sentence) != denied
    assert explanations.of_first_epoch(small, slow, "contradicted") == sentence


@pytest.mark.parametrize(("slow", "said"), [("contradicted", True), ("absent", False)])
def test_what_the_lower_rate_does_by_itself_is_told_where_it_hides_what_the_batch_does(slow, said):
    sentence = explanations.of_first_epoch(("absent", "absent"), (slow, "undecided"), "reproduced")
    assert ("it calms the loss, which that rate by itself unsettles." in sentence) == said
    assert "nothing for a longer step" not in sentence


@pytest.mark.parametrize(
    ("slow", "said"),
    [
        (0.1, "neither calms the loss nor makes runs end better"),
        (0.4, "Against the lower rate alone it calms the loss, which that rate by itself"),
    ],
)
def test_the_control_decides_whether_the_small_first_batch_is_denied(slow, said):
    loud = amplitudes(whole_early=0.1, small_early=0.1, slow_early=slow, whole_late=0.05)
    assert said in findings.survives(made(amplitude=loud, seeds=8))


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ({"loss": 1.0}, "gradients remain a possible explanation**"),
        ({"loss": 1.0, "equal_loss": 1.0}, "gradients are not the explanation**"),
        ({}, "the first of 2 logged updates, and after that at none; nothing is logged beyond "),
    ],
)
def test_the_sentences_come_from_the_records(by, said):
    def gradient(config):
        return {"loss": 1.0, "random": 0.2}.get(arm_of(config), 0.0)

    of = made(lambda c: losing(c, **by), gradient, amplitudes(whole_early=0.2))
    text = findings.survives(of)
    assert said in text
    # The small first batch calms to a half, and slow rates alone as well.
    assert "**The small first batch is not the explanation**" in text
    assert "lower rate of that epoch" in text


@pytest.mark.parametrize(("early", "calms"), [(0.09, "not tested here"), (0.15, "contradicted")])
def test_where_nothing_fluctuates_a_low_rate_calms_nothing_either(monkeypatch, early, calms):
    asked = []
    monkeypatch.setattr(findings, "of_first_epoch", lambda *words: asked.append(words) or "")
    loud = amplitudes(whole_early=early, small_early=3.0, slow_early=3.0)
    findings.survives(made(amplitude=loud))
    ((small, slow, apart),) = asked
    assert (small[0], slow[0]) == (calms, calms)
    assert apart == ("absent" if calms == "contradicted" else calms)


def along(ratios, spread=0.0):
    """A part `gradient` whose gradients, small losses left out, have these ratios in log₂."""
    of = made(gradient=lambda config: 0.0).part(PARTS["gradient"])
    rng = np.random.default_rng(5)
    for record in of.records.values():
        if record.curves.get("gradient_abs"):
            small = arm_of(record.config) == "loss"
            grown = np.array(ratios.get(record.config.discard_fraction, [0.0] * 4)) * small
            noise = spread * rng.standard_normal(4)
            # Nets differ, and the ratio is taken seed by seed.
            record.curves["gradient_abs"] = list(2.0 ** (record.config.seed + grown + noise))
            record.curves["step"] = [1.0, 2.0, 4.0, 8.0]
    return of


@pytest.mark.parametrize(
    ("some", "most", "said"),
    [
        (
            [1, 1, 0, 0],
            [1, 1, 1, 1],
            ("the first 2 of 4 logged updates, and after that at none", "all 4 logged updates"),
        ),
        (
            [1, 0, 1, 1],
            [0, 0, 0, 0],
            (
                "the first of 4 logged updates, and after that at 2",
                "none of 4 logged updates, and not at the first",
            ),
        ),
        (
            [1, 1, -1, 1],
            [-1, 0, 0, 1],
            (
                "the first 2 of 4 logged updates, and after that at only one",
                "1 of 4 logged updates, and not at the first",
            ),
        ),
    ],
)
def test_how_long_the_gradient_stays_larger(some, most, said):
    of = along({0.3: np.array(some, float), 0.9: np.array(most, float)})
    text = sentences.how_long(of)
    larger = "With 30 % left out by loss the mean |g| is larger than with nothing left out at"
    assert text.startswith(f"{larger} {said[0]}; ")
    assert f"with 90 % left out at {said[1]}. The last one logged is update 8." in text
    ends = "at a training loss of 0.1, with 99 % of the training images classified rightly"
    assert f"update 8. These runs end {ends}. Larger means" in text
    steps, ratios = measured.growth(of, 0.3)
    assert steps == [1, 2, 4, 8]
    assert ratios == pytest.approx(np.tile(some, (4, 1)))
    first = some.index(0) if 0 in some[:3] else 2
    assert measured.first_larger(measured.stays_larger(of, 0.3)) == first
    # What cannot be told from none is not larger.
    assert measured.stays_larger(along({0.3: np.array([0.1] * 4)}, 5.0), 0.3) == [False] * 4


def test_a_gradient_of_a_net_that_has_not_learnt_is_told_to_be_one():
    def ending(*losses):
        of = along({})
        for run, loss in zip(of.runs, itertools.cycle(losses), strict=False):
            run.metrics["train_loss"] = loss
            # What is left of a batch without its small losses has a larger one from the start.
            run.curves["train_loss"][0] = 2.6 if arm_of(run.config) == "loss" else 2.3
        return sentences.how_long(of)

    said = ending(2.29, 2.31)
    assert "**In none of these runs does the net begin to learn**" in said
    assert (
        "with nothing left out they begin at a training loss of 2.3, and all end at a training "
        "loss of 2.29 to 2.31, with 99 % of the training images classified rightly. So where the "
        "gradient stays larger, it is that of a net that has not learnt. Larger means"
    ) in said
    # One run that has learnt is enough.
    assert "begin to learn" not in ending(2.2, *[2.31] * 1000)


def test_nothing_is_told_of_gradients_that_were_not_measured():
    assert sentences.how_long(made()) == ""


def test_what_stands_for_g20s_batches_is_told_at_every_scale():
    said = {}
    for scale in ("digits", "cpu", "gpu"):
        of = Reading(study_of(NAME, scale), {})
        said[scale] = sentences.stand_ins(of), sentences.by_size(of)
    assert said["digits"] == (
        "Batches of 40 and 160 stand for G20's 2,000 and 8,000, and 160 stands for its 8,192 too: "
        "of 1,024 images they are as large a share, 3.9 % and 16 %, as G20's are of 50,000.",
        "There are 1,024 training images, fewer than 2,000 and 8,000.",
    )
    assert said["cpu"] == (
        "Batches of 40 and 160 stand for G20's 2,000 and 8,000, and 160 stands for its 8,192 too: "
        "of 1,000 images they are as large a share, 4 % and 16 %, as G20's are of 50,000.",
        "There are 1,000 training images, fewer than 2,000 and 8,000.",
    )
    assert said["gpu"] == ("", "")


def test_epochs_and_updates_are_told_at_every_scale():
    said = {
        scale: sentences.lengths(Reading(study_of(NAME, scale), {}))
        for scale in ("digits", "cpu", "gpu")
    }
    assert said["cpu"] == (
        "Figure 9's runs last 10 epochs: 62 updates at B = 160. Those of figure 10 last 300 "
        "epochs, and small losses are left out in the first 150 of them: 7,500 updates at B = 40, "
        "1,875 updates at B = 160 and 469 updates at B = 640. Those of figures 11 to 14 last 600 "
        "epochs: 3,750 updates at B = 160, 3,844 updates at B = 160 with a small batch in the "
        "first epoch and 60,000 updates at B = 10."
    )
    assert "last 50 epochs, and small losses are left out in the first 25 of" in said["digits"]
    assert said["gpu"].startswith("Figure 9's runs last 1 epoch: 6 updates at B = 8,192. ")


def test_it_is_told_at_which_rates_the_table_is():
    said = {
        scale: sentences.rates(Reading(study_of(NAME, scale), {})) for scale in ("digits", "cpu")
    }
    assert said["cpu"] == (
        "Accuracies are at the rate of their row; fluctuations of all arms are at the rate of the "
        "first row."
    )
    assert said["digits"] == (
        f"{said['cpu'][:-1]}, or where updates are equally long at that of the large batch "
        "throughout with these."
    )


def test_fluctuations_of_an_arm_are_at_the_rate_of_the_large_batch_throughout():
    def away(config):
        return math.log2(config.effective_learning_rate) - CENTRES[place_of(config)]

    of = made(
        # A low rate in the first epoch is best at another rate, where the loss is louder.
        lambda config: 97.0 + (arm_of(config) == "slow") * away(config),
        amplitude=lambda config, early: 0.1 * 2 ** away(config),
    )
    table = figures.first_epoch_table(of)
    assert list(table["Tuned effective rate"][:3]) == ["2¹", "2¹", "2²"]
    assert len(set(table["Fluctuation of the loss, early"][:3])) == 1


def test_pilots_are_told_of_the_scale_that_has_had_some():
    text = (Path(__file__).parents[2] / "book" / f"{NAME}.ipynb").read_text(encoding="utf-8")
    (paragraph,) = re.findall(r"\*\*What was decided when\.\*\*.*?\"", text)
    first = paragraph.partition("pilots")[0]
    assert "At scale `digits`" in first
    assert "At scale `cpu` the length of the runs and the rates come from pilots too" in text
    assert "At scale `gpu` no pilot was run." in text


def test_how_long_the_first_step_is():
    def gradient(config):
        return {"small": 2.0}.get(arm_of(config), 0.0)

    of = made(gradient=gradient)

    def stepping(ratio):
        for record in of.records.values():
            if size := record.curves.get("gradient_abs"):
                small = arm_of(record.config) == "small"
                record.curves["stride_abs"][0] = size[0] * (ratio / 4 if small else 1)
        return measured.first_steps(of)

    said = "At the first update the small batch's mean |g| is 4 times the large batch's. At 0.1 "
    said += "times the rate its step is {} times as long. {}So it is {}, and G20 says that the "
    said += "small batch amplifies it."
    assert stepping(4.0) == said.format(4, "", "longer")
    assert stepping(0.4) == said.format(0.4, "", "shorter")
    decay = (
        "By the gradients alone it would be 0.4 times. Weight decay is the rest: it adds as much "
        "to either gradient, and so lengthens the large batch's step by more. "
    )
    assert stepping(0.3) == said.format(0.3, decay, "shorter")
    # Decay brings the ratio no nearer to none than that of the rates.
    assert stepping(0.05) == said.format(0.05, "", "shorter")
    assert measured.first_steps(made()) == ""


def test_gains_are_of_independent_means():
    part = gaining(0.1, loss_40=1.0)
    found = findings.gain(part, 40)
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(1.0)
    assert found.interval.half == pytest.approx(0.1)
    assert findings.gain(part, 40, "none", "loss").value == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("gain", "half", "word"),
    [
        (1.0, 1.0 / 1.23, "reproduced"),
        (1.0, 1.01, "undecided"),
        (-1.0, 1.0 / 1.23, "contradicted"),
        (0.0, 0.5 / 1.23, "absent"),
    ],
)
def test_what_equal_lengths_gain_by_themselves(monkeypatch, gain, half, word):
    monkeypatch.setattr(sentences, "lacks", lambda *_, **__: "")
    part = gaining(half, equal_none_640=gain, equal_loss_640=7.0, loss_640=-7.0)
    said = sentences.equally_long(part)
    assert f"{gain:+.2f} [" in said
    plainly = {"undecided": "not decided", "absent": "none"}.get(word, "sure")
    assert f"at B = 640 ({plainly})" in said
    # A paper's words are for a paper's claims.
    assert not set(re.findall(r"\w+", said)) & {"absent", "reproduced", "contradicted"}
    assert "B = 40" not in said
    assert ("None means within ±0.5 points." in said) == ("(none)" in said)


def test_what_equal_lengths_gain_takes_tuned_rates():
    assert "+0.00" not in sentences.equally_long(made(losing, away=20.0))
    assert sentences.equally_long(made(losing, away=20.0)) == ""


# --- Figures ------------------------------------------------------------------------------------


def test_titles_tell_what_leaving_out_does_to_the_gradient():
    of = grown(1.0, 0.5, 0.0)
    large, some = f"2.00 times ({ARMS['loss']})", f"1.41 times ({ARMS['random']})"
    assert figures.first_update(of).layout.title.text == (
        f"With {100 * LEFT_OUT:g} % left out the first gradient is {large}, {some} that of all"
    )
    # The last size recorded is one for all arms.
    assert figures.along_the_run(of, LEFT_OUT).layout.title.text == (
        f"B = 160: at update 9, the last logged, |g| is 1.00 times ({ARMS['loss']}), 1.00 times "
        f"({ARMS['random']}) that of all"
    )


def test_titles_tell_accuracies_and_last_losses():
    def accuracy(config):
        return 97.0 + 1.5 * (arm_of(config) == "loss")

    said = figures.accuracies(made(accuracy, spread=0.0)).layout.title.text
    sizes = (40, 160, 640, 1024)
    gains = ", ".join(f"+1.5 points at B = {size:,}" for size in sizes)
    assert said == f"Leaving out the small losses changes accuracy by {gains}"
    of = made(amplitude=lambda config, early: 0.0)
    rate = figures.rates_of_first_epochs(of)[0]
    last = 2.0 ** (-0.05 * 99)
    arms = ", ".join(f"{last:.2g} ({ARMS[arm]})" for arm in ("whole", "small", "slow"))
    assert figures.courses(of, rate).layout.title.text.endswith(f": the last loss is {arms}")


def test_an_arm_that_is_not_tried_at_a_rate_is_named():
    def accuracy(config):
        away = math.log2(config.effective_learning_rate) - CENTRES[place_of(config)]
        return 97.0 + 3 * away * (arm_of(config) == "whole")

    of = made(accuracy, amplitude=lambda config, early: 0.0)
    ends = {
        arm: max(measured.state_of(of.part(PARTS["first-epoch"]), arm=arm, updates="free").points)
        for arm in ("whole", "small", "slow")
    }
    assert ends["whole"] > ends["small"] == ends["slow"]
    rates = figures.rates_of_first_epochs(of)
    title = figures.courses(of, rates[-1]).layout.title.text
    at = power_of_two(ends["small"][0])
    both = (f"; the grid of {ARMS[arm]} ends at {at}" for arm in ("small", "slow"))
    assert title.endswith("".join(both))
    assert "ends at" not in figures.courses(of, rates[0]).layout.title.text


def test_dotted_lines_are_told_only_where_there_are_any():
    of = made(losing)
    dotted = "Dotted: all updates equally long."
    assert dotted in figures.accuracies(of).layout.annotations[-1].text
    free = of.part(lambda key: dict(key).get("updates") == "free")
    assert dotted not in figures.accuracies(free).layout.annotations[-1].text
    assert not any(trace.line.dash == "dot" for trace in figures.accuracies(free).data)


def test_the_table_tells_fluctuations_as_the_verdicts_do():
    of = made(amplitude=amplitudes(whole_early=0.2))
    rows = figures.first_epoch_table(of)
    why = judged("F11.loss-fluctuates-early", of).why
    early, late = (rows[f"Fluctuation of the loss, {when}"][0] for when in ("early", "late"))
    assert f"fluctuates by {early} early and {late} late" in why
    assert float(early[:-1]) == pytest.approx(100 * (2 ** (4 * 0.2 / 6**0.5) - 1), rel=0.03)
    assert rows["Tuned effective rate"][0] == "2¹"
