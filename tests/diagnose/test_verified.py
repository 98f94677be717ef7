"""Trying the linear rule: what it says of trainings whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from sgdnoise.analysis.intervals import Interval
from sgdnoise.diagnose import Setting, measure, problem_of
from sgdnoise.diagnose.verified import (
    MARGIN,
    SEEDS,
    Tried,
    Verified,
    _velocity,
    check,
    paired,
    told,
    updates_for,
    verify,
    word_of,
)
from sgdnoise.errors import InputError
from tests.diagnose.made_up_problems import linear


def tried(rate: float, batch_size: int = 4, noise: float = 2.0, **changed) -> Verified:
    problem = linear(size=4096, noise=noise)
    setting = Setting(batch_size, rate, **changed)
    return verify(problem, setting, problem.read(range(512)), silent=True)


def words(found: Verified) -> dict[tuple[int, int], str]:
    return {(one.times, one.rate_times): one.word for one in found.tried}


def test_far_below_the_critical_rate_both_together_are_alike_and_the_batch_alone_is_not():
    problem = linear(size=4096)
    critical = 2 / measure(problem, silent=True).lambda_max
    found = tried(0.02 * critical, batch_size=1, noise=0.1)
    assert words(found)[2, 2] == words(found)[4, 4] == "alike"
    assert words(found)[4, 1] == "higher"
    assert told(found)[0].startswith("Tried: the linear scaling rule holds up to four times the")
    assert found.end < found.start


def test_beyond_a_quarter_of_the_critical_rate_four_times_diverges():
    problem = linear(size=4096)
    critical = 2 / measure(problem, silent=True).lambda_max
    found = tried(0.6 * critical, batch_size=64)
    by = {(one.times, one.rate_times): one for one in found.tried}
    assert by[4, 4].word == "higher"
    assert "not hold at" in told(found)[0]


def test_a_setting_that_diverges_by_itself_is_refused():
    with pytest.raises(InputError, match="diverges within 128 updates"):
        tried(1e6)


def test_weight_decay_and_momentum_are_those_of_the_setting():
    plain, heavy = tried(0.002), tried(0.0002, momentum=0.9)
    assert heavy.end == pytest.approx(plain.end, rel=0.1)
    assert tried(0.002, weight_decay=50.0).end > 2 * plain.end


def test_runs_of_a_seed_see_the_same_examples_whatever_their_batch():
    seen: list[list[int]] = []
    problem = linear(size=64)
    read = problem.read

    def noted(index):
        seen.append([*index])
        return read(index)

    object.__setattr__(problem, "read", noted)
    evaluated = read(range(64))
    verify(problem, Setting(4, 1e-3), evaluated, updates=8, seeds=2, silent=True)
    assert [len(batch) for batch in seen[:8]] == [4] * 8
    assert [len(batch) for batch in seen[8:12]] == [8] * 4
    flat = [i for batch in seen[:8] for i in batch]
    assert sorted(set(flat)) == sorted(flat)
    assert [i for batch in seen[8:12] for i in batch] == flat
    other = [i for batch in seen[len(seen) // 2 :][:8] for i in batch]
    assert other != flat


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-MARGIN + 1e-9, MARGIN - 1e-9, "alike"),
        (-MARGIN, 0.0, "undecided"),
        (0.01, MARGIN, "undecided"),
        (MARGIN, 1.0, "higher"),
        (MARGIN - 1e-9, 1.0, "undecided"),
        (-1.0, -MARGIN, "lower"),
        (-1.0, -MARGIN + 1e-9, "undecided"),
        (math.inf, math.inf, "higher"),
    ],
)
def test_words_go_by_the_margin(low, high, word):
    assert word_of(Interval((low + high) / 2, low, high)) == word


def test_pairs_take_out_what_a_seed_has():
    rng = np.random.default_rng(0)
    base = 2.0 ** rng.normal(0, 3, SEEDS)
    found = paired(2 * base, base)
    assert (found.value, found.half) == (pytest.approx(1), pytest.approx(0, abs=1e-9))
    assert math.isinf(paired([1.0, math.inf], [1.0, 1.0]).value)


def test_alike_is_said_wrongly_at_most_in_one_of_twenty_at_the_margin():
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(2000):
        pairs = MARGIN + rng.normal(0, 0.05, SEEDS)
        wrong += word_of(paired(2.0**pairs, np.ones(SEEDS))) == "alike"
    assert wrong / 2000 <= 0.05


def outcome(**growths: tuple[str, str]) -> list[str]:
    """What is told where twice and four times the batch came to some words."""
    at = {
        "alike": (-0.01, 0.01),
        "higher": (0.5, 0.7),
        "lower": (-0.7, -0.5),
        "undecided": (-0.3, 0.5),
        "diverged": (math.inf, math.inf),
        "zero": (math.nan, math.nan),
    }

    def one(k, rate_times, word):
        low, high = at[word]
        return Tried(
            k, rate_times, Interval((low + high) / 2, low, high), word_of(Interval(0, low, high))
        )

    tried = []
    for k, (scaled, alone) in ((2, growths["twice"]), (4, growths["four"])):
        tried += [one(k, k, scaled), one(k, 1, alone)]
    return told(Verified(1.0, 0.5, 512, SEEDS, tuple(tried)))


@pytest.mark.parametrize(
    ("twice", "four", "said"),
    [
        (("alike", "higher"), ("alike", "higher"), "holds up to four times the batch"),
        (("alike", "higher"), ("higher", "higher"), "holds at twice the batch, and not at four"),
        (("alike", "undecided"), ("undecided", "higher"), "holds up to twice the batch"),
        (("undecided", "higher"), ("higher", "higher"), "does not hold at four times the batch"),
        (("lower", "higher"), ("lower", "higher"), "does not hold at twice the batch"),
        (("alike", "alike"), ("alike", "alike"), "nothing is shown"),
        (("undecided", "higher"), ("undecided", "higher"), "nothing is shown"),
        (("zero", "zero"), ("zero", "zero"), "nothing is shown"),
    ],
)
def test_the_finding_names_where_the_rule_holds_and_where_not(twice, four, said):
    first, *lines = outcome(twice=twice, four=four)
    assert said in first
    assert "8 pairs of runs over 512 examples brought the loss from 1 to 0.5" in first
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("alike", "higher"),
            "at twice the rate the loss stays within 10 %: log₂",
        ),
        (("alike", "alike"), "cannot tell the regimes apart"),
        (
            ("undecided", "higher"),
            "twice the rate trains as well is undecided",
        ),
        (("higher", "higher"), "the loss is higher: log₂"),
        (("lower", "higher"), "the loss is lower: log₂"),
        (("diverged", "alike"), "Twice the batch at twice the rate diverges: curvature limits"),
        (("zero", "alike"), "nothing can be compared: a loss came to zero"),
    ],
)
def test_each_outcome_has_its_sentence(words, said):
    assert said in outcome(twice=words, four=("undecided", "higher"))[1]


def test_losses_that_are_not_positive_have_no_ratio():
    for mine, theirs in (([0.0] * 8, [0.0] * 8), ([-0.1] * 8, [0.1] * 8), ([-2.0] * 8, [-1.0] * 8)):
        found = paired(mine, theirs)
        assert math.isnan(found.value)
        assert word_of(found) == "undecided"
    problem = linear()
    shifted = problem_of(
        (problem.model, lambda out, y: (out - y).mean() - 50, problem.read(range(64)))
    )
    with pytest.raises(InputError, match="this one is -4"):
        verify(shifted, Setting(4, 0.01), shifted.read(range(64)), silent=True)


def test_momentum_begins_filled_so_that_fewer_updates_are_not_behind():
    problem = linear(size=4096, noise=0.1)
    critical = 2 / measure(problem, silent=True).lambda_max
    evaluated = problem.read(range(512))
    # So slow that momentum follows SGD: ε h < (1 − √m)², beyond which it swings.
    for momentum, share in ((0.9, 0.002), (0.99, 1e-4)):
        setting = Setting(1, share * critical * (1 - momentum), momentum)
        found = verify(problem, setting, evaluated, silent=True)
        by = {(one.times, one.rate_times): one for one in found.tried}
        assert by[4, 4].word == "alike"
        assert by[4, 1].word == "higher"
        assert abs(by[4, 4].ratio.value) < 0.1
    assert (updates_for(0.0), updates_for(0.9), updates_for(0.99)) == (128, 128, 1280)


def test_the_velocity_is_that_of_heavy_ball_held_at_one_place():
    problem = linear()
    data = problem.read(range(64))
    setting = Setting(4, 0.01, momentum=0.8, weight_decay=0.3)
    (found,) = _velocity(problem, setting, data)
    (w,) = problem.model.parameters()
    problem.loss_fn(problem.model(data[0]), data[1]).backward()
    v = torch.zeros_like(w)
    for _ in range(200):
        v = 0.8 * v + w.grad + 0.3 * w.detach()
    assert torch.allclose(found, v, rtol=1e-4)


def test_the_message_of_a_setting_that_diverges_names_batch_norm_where_there_is_some():
    x, y = torch.randn(512, 4), torch.randint(3, (512,))
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    given = problem_of((model, nn.CrossEntropyLoss(), (x, y)))
    with pytest.raises(InputError, match=r"diverges within 128 updates.*running statistics"):
        verify(given, Setting(4, 1e20), given.read(range(64)), silent=True)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (Setting(None, 0.1), "give --batch-size"),
        (Setting(8, None), "give --lr"),
        (Setting(300, 0.1), "give --batch-size 256 or less"),
    ],
)
def test_what_cannot_be_tried_is_refused_first(setting, said):
    with pytest.raises(InputError, match=said):
        check(linear(), setting)


def test_the_model_stays_where_it_is():
    problem = linear()
    before = next(problem.model.parameters()).clone()
    verify(problem, Setting(4, 0.01), problem.read(range(64)), updates=8, seeds=2, silent=True)
    assert torch.equal(next(problem.model.parameters()), before)
