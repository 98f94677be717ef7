"""H17's ladder on made-up records: what is said where a claim holds, and where it does not."""

from __future__ import annotations

import math

import pytest
from made_up import reading

from sgdnoise.experiments.generalization_gap import findings as ladder
from sgdnoise.experiments.generalization_gap.grid import RUNGS

GOOD = {"SB": 92.8, "LB": 86.0, "+LR": 89.0, "+GBN": 90.5, "+RA": 93.0}
ERROR = 0.1 * math.sqrt(2 / 3)
"""Of a difference of two rungs: seeds at −0.1, 0 and +0.1."""


def rung_of(config):
    if config.batch_size == 128:
        return "SB"
    if config.epochs > 100:
        return "+RA"
    if config.norm == "ghost":
        return "+GBN"
    return "+LR" if config.learning_rate > 0.2 else "LB"


def fitted(accuracy):
    """The training accuracy beside a test accuracy: half as far from 100 %."""
    return 50 + accuracy / 2


def climbing(levels):
    def ending(config):
        accuracy = levels[rung_of(config)] + 0.1 * (config.seed - 1)
        return {"test_accuracy": accuracy, "train_accuracy": fitted(accuracy)}

    return ending


def made(levels, seeds=3):
    return reading("generalization-gap", "gpu", seeds, climbing(levels))


def judged(of):
    return [claim.judge(of) for claim in ladder.CLAIMS]


@pytest.fixture(scope="module")
def good():
    return made(GOOD)


def test_the_ladder_is_judged_both_ways(good):
    rungs, said = ladder.rows(good), judged(good)
    assert list(rungs.rung) == list(RUNGS)
    assert list(rungs.accuracy) == pytest.approx(list(GOOD.values()))
    assert list(rungs.fitted) == pytest.approx([fitted(level) for level in GOOD.values()])
    # Seeds at −0.1, 0 and +0.1: standard deviation 0.1, of the mean 0.1/√3, of a difference √2
    # of that.
    assert list(rungs["std"]) == pytest.approx([0.1] * 5)
    assert list(rungs.error) == pytest.approx([0.1 / math.sqrt(3)] * 5)
    assert [verdict.why.endswith("; shown.") for verdict in said] == [True] * 5
    assert [verdict.word for verdict in said] == ["reproduced"] * 5
    assert [verdict.effect for verdict in said] == pytest.approx([-6.8, 3, 1.5, 2.5, 0.2])
    assert "LB less SB is -6.80 ± 0.08 points" in said[0].why
    assert ladder.closed(rungs.accuracy) == pytest.approx([1, 0, 3 / 6.8, 4.5 / 6.8, 7 / 6.8])
    assert list(rungs.printed) == [92.83, 86.10, 89.30, 90.50, 93.07]
    assert ladder.without_a_gap(good) == ""


def test_a_ladder_upside_down_is_a_contradiction():
    of = made({"SB": 90.0, "LB": 90.1, "+LR": 89.0, "+GBN": 88.5, "+RA": 88.0})
    said = judged(of)
    assert [verdict.why.endswith("; not shown.") for verdict in said[:4]] == [True] * 4
    # LB is better than SB by too little to tell.
    assert [verdict.word for verdict in said] == ["undecided"] + ["contradicted"] * 4
    assert said[4].why.endswith("; not reproduced.")
    beside = ladder.without_a_gap(of)
    assert beside.startswith("Where there is no gap none can be closed:")
    assert beside.endswith(
        "SB ends with 95.0 % of the training images classified rightly, +RA with 94.0 %."
    )
    assert all(math.isnan(share) for share in ladder.closed(ladder.rows(of).accuracy))


PAIRS = [("SB", "LB", -1), ("LB", "+LR", 1), ("+LR", "+GBN", 1), ("+GBN", "+RA", 1)]
"""What each of the first four claims compares, and which sign the change should have."""


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    ("errors", "word"),
    [(2.1, "reproduced"), (1.9, "undecided"), (-1.9, "undecided"), (-2.1, "contradicted")],
)
def test_each_step_is_judged_by_two_standard_errors(number, errors, word):
    before, after, sign = PAIRS[number]
    # All other rungs far away, so that a claim about them would say something else.
    levels = {rung: 10.0 * k for k, rung in enumerate(RUNGS)}
    levels[after] = levels[before] + sign * errors * ERROR
    verdict = judged(made(levels))[number]
    assert verdict.word == word
    assert verdict.why.startswith(f"{after} less {before} is ")
    assert verdict.why.endswith("; shown." if word == "reproduced" else "; not shown.")
    assert verdict.effect == pytest.approx(sign * errors * ERROR)
    assert verdict.interval == pytest.approx(
        (verdict.effect - 2 * ERROR, verdict.effect + 2 * ERROR)
    )


def test_the_ladders_gap_is_closed_within_two_standard_errors():
    for short, word, said in (
        (1.9, "reproduced", "; shown."),
        (2.1, "contradicted", "; not reproduced."),
        (-9, "reproduced", "; shown."),
    ):
        verdict = judged(made({**GOOD, "+RA": GOOD["SB"] - short * ERROR}))[4]
        assert verdict.word == word
        assert verdict.why.endswith(said)
    # Of SB and +RA alone.
    assert judged(made({**GOOD, "LB": 99.0, "+GBN": 99.0}))[4].word == "reproduced"


@pytest.mark.parametrize(("short", "gap"), [(1.9, False), (2.1, True)])
def test_where_there_is_no_gap_that_is_said(short, gap):
    of = made({**GOOD, "LB": GOOD["SB"] - short * ERROR})
    assert judged(of)[0].word == ("reproduced" if gap else "undecided")
    assert (ladder.without_a_gap(of) == "") == gap


def test_a_rung_that_diverged_or_has_one_seed_is_not_judged():
    assert all("single seed has no spread" in v.why for v in judged(made(GOOD, seeds=1)))
    lost = made({**GOOD, "+LR": math.inf})
    said = judged(lost)
    assert said[0].why.endswith("; shown.")
    assert said[1].why == said[2].why == "3 of 3 runs of +LR diverged: no verdict."
    assert said[3].why.endswith("; shown.")
    assert [v.word for v in said] == [
        "reproduced",
        "undecided",
        "undecided",
        "reproduced",
        "reproduced",
    ]
    for rung in ("SB", "+RA"):
        gone = judged(made({**GOOD, rung: math.inf}))[4]
        assert (gone.word, gone.effect) == ("undecided", None)
        assert gone.why == f"3 of 3 runs of {rung} diverged: no verdict."
    assert ladder.without_a_gap(made({**GOOD, "LB": math.inf})) == ""

    def one_is_lost(config):
        level = math.inf if rung_of(config) == "LB" and config.seed == 1 else 90.0
        return {"test_accuracy": level}

    of = reading("generalization-gap", "gpu", 3, one_is_lost)
    rungs = ladder.rows(of)
    assert list(rungs.diverged) == [0, 1, 0, 0, 0]
    assert [math.isnan(mean) for mean in rungs.accuracy] == [False, True, False, False, False]
    assert "1 of 3 diverged" in set(ladder.recipe_table(of)["Test accuracy (%)"])
    assert judged(of)[0].word == "undecided"


def test_curves_of_a_rung_end_where_its_run_ended():
    of = made(GOOD, seeds=2)
    fig = ladder.climb(of, "+GBN")
    ends = {trace.name: (trace.x[-1], trace.y[-1]) for trace in fig.data}
    # 20 epochs of 50,000 in steps of 4,096, and of 128.
    assert ends["+GBN"] == (244, pytest.approx(GOOD["+GBN"]))
    assert ends["SB"] == (7812, pytest.approx(GOOD["SB"]))
    assert len(fig.data) == 4
    assert len(ladder.climb(of, "SB").data) == 2
    assert [trace.name for trace in ladder.distances(of).data] == list(RUNGS)
    assert ladder.climbed(of) == list(RUNGS)
