"""H17's ladder on made-up records: every word of its predicates, and what each needs."""

from __future__ import annotations

import math

import pytest
from made_up import reading

from sgdnoise.analysis.intervals import quantile
from sgdnoise.experiments.generalization_gap import findings as ladder
from sgdnoise.experiments.generalization_gap.grid import RUNGS

GOOD = {"SB": 92.8, "LB": 86.0, "+LR": 89.0, "+GBN": 90.5, "+RA": 93.0}
HALF = quantile(4) * math.sqrt(2 / 3)
"""Of the interval of a difference of two rungs, in units of how far three seeds are apart."""
JUST = 1e-6


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


def made(levels, seeds=3, apart=0.1):
    """The ladder whose rungs reach so much, with seeds so far apart."""

    def ending(config):
        accuracy = levels[rung_of(config)] + apart * (config.seed - 1)
        return {"test_accuracy": accuracy, "train_accuracy": fitted(accuracy), "train_loss": 7.0}

    return reading("generalization-gap", "gpu", seeds, ending)


def known_to(levels, half):
    """The ladder with seeds so far apart that its differences are known to this."""
    return made(levels, apart=half / HALF)


def judged(of):
    return [claim.judge(of) for claim in ladder.CLAIMS]


def words(of):
    return [verdict.word for verdict in judged(of)]


@pytest.fixture(scope="module")
def good():
    return made(GOOD)


def test_the_rungs_are_summarised_over_all_their_seeds(good):
    rungs = ladder.rows(good)
    assert list(rungs.rung) == list(RUNGS)
    assert list(rungs.accuracy) == pytest.approx(list(GOOD.values()))
    assert list(rungs.fitted) == pytest.approx([fitted(level) for level in GOOD.values()])
    # Seeds at −0.1, 0 and +0.1: standard deviation 0.1, of the mean 0.1/√3.
    assert list(rungs["std"]) == pytest.approx([0.1] * 5)
    assert list(rungs.error) == pytest.approx([0.1 / math.sqrt(3)] * 5)
    assert ladder.closed(rungs.accuracy) == pytest.approx([1, 0, 3 / 6.8, 4.5 / 6.8, 7 / 6.8])
    assert list(rungs.printed) == [92.83, 86.10, 89.30, 90.50, 93.07]
    assert list(rungs.batch_size) == [128, 4096, 4096, 4096, 4096]
    assert list(rungs.norm) == [128, 4096, 4096, 128, 128]
    assert list(rungs.epochs) == [20, 20, 20, 20, 640]
    assert "92.80 ± 0.10" in set(ladder.recipe_table(good)["Test accuracy (%)"])
    assert ladder.without_a_gap(good) == ""


def test_a_ladder_as_h17_has_it_is_reproduced(good):
    said = judged(good)
    # Its own ghosts help by 1.2 points, these by 1.5, known to 0.23.
    assert [v.word for v in said] == [
        "reproduced",
        "reproduced",
        "reproduced at another size",
        "reproduced",
        "reproduced",
    ]
    assert [v.effect for v in said] == pytest.approx([-6.8, 3, 1.5, 2.5, 0.2])
    assert [v.printed for v in said] == pytest.approx([-6.73, 3.2, 1.2, 2.57, 0.24])
    assert said[0].why == "LB less SB is -6.80 [-7.03, -6.57] points."
    assert said[4].why == ("+RA less SB is +0.20 [-0.03, +0.43] points; no worse means above −0.5.")
    assert {(v.unit, v.margin, v.rests_on, v.seeds) for v in said} == {("points", 0.5, "seeds", 3)}


def test_a_ladder_upside_down_is_a_contradiction():
    of = made({"SB": 90.0, "LB": 85.0, "+LR": 84.0, "+GBN": 83.5, "+RA": 83.0})
    assert words(of) == ["reproduced at another size"] + ["contradicted"] * 4
    assert ladder.without_a_gap(of) == ""


STEPS = [("LB", "SB", -6.73), ("+LR", "LB", 3.2), ("+GBN", "+LR", 1.2), ("+RA", "+GBN", 2.57)]
"""What each of the first four claims compares, and what H17 has."""


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    ("size", "half", "word"),
    [
        ("theirs", 0.4, "reproduced"),
        ("theirs + half", 0.4, "reproduced at another size"),
        ("theirs - half", 0.4, "reproduced at another size"),
        ("theirs - within", 0.4, "reproduced"),
        ("theirs + within", 0.4, "reproduced"),
        (0.4 + JUST, 0.4, "reproduced at another size"),
        (0.4 - JUST, 0.4, "undecided"),
        (JUST - 0.4, 0.4, "undecided"),
        (-0.4 - JUST, 0.4, "contradicted"),
        (0.0, 0.5 - JUST, "absent"),
        (0.0, 0.5 + JUST, "undecided"),
        (0.1 - JUST, 0.4, "absent"),
        (0.1 + JUST, 0.4, "undecided"),
    ],
)
def test_each_step_is_judged_by_its_interval(number, size, half, word):
    above, below, theirs = STEPS[number]
    sign = math.copysign(1, theirs)
    if isinstance(size, str):
        names = {"theirs": abs(theirs), "half": half + JUST, "within": half - JUST}
        size = (
            sum(names[part] for part in size.split(" + "))
            if "-" not in size
            else (names["theirs"] - names[size.split(" - ")[1]])
        )
    # All other rungs far away, so that a claim about them would say something else.
    levels = {"SB": 90.0, "LB": 20.0, "+LR": 35.0, "+GBN": 55.0, "+RA": 72.0}
    levels[above] = levels[below] + sign * size
    verdict = judged(known_to(levels, half))[number]
    assert verdict.word == word
    assert verdict.why.startswith(f"{above} less {below} is ")
    assert verdict.effect == pytest.approx(sign * size)
    assert verdict.interval == pytest.approx((sign * size - half, sign * size + half))
    assert verdict.printed == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("lead", "word"),
    [
        (-0.1 + JUST, "reproduced"),
        (-0.1 - JUST, "undecided"),
        (-0.9 + JUST, "undecided"),
        (-0.9 - JUST, "contradicted"),
        (9.0, "reproduced"),
        (0.0, "reproduced"),
    ],
)
def test_no_gap_is_left_where_the_last_rung_is_no_worse_by_a_margin(lead, word):
    levels = {**GOOD, "+RA": GOOD["SB"] + lead, "+GBN": 10.0, "LB": 30.0}
    verdict = judged(known_to(levels, 0.4))[4]
    assert verdict.word == word
    assert verdict.effect == pytest.approx(lead)
    assert verdict.interval == pytest.approx((lead - 0.4, lead + 0.4))
    assert (verdict.margin, verdict.p) == (0.5, None)
    # How much more would decide it is said of the distance from the margin.
    assert verdict.room == pytest.approx(abs(lead + 0.5))


@pytest.mark.parametrize(("gap", "shows"), [(0.4 - JUST, False), (0.4 + JUST, True), (-9, False)])
def test_what_closes_a_gap_takes_one(gap, shows):
    of = known_to({**GOOD, "LB": GOOD["SB"] - gap}, 0.4)
    large, *others = judged(of)
    assert (large.word == "reproduced at another size") == shows
    beside = ladder.without_a_gap(of)
    if shows:
        assert "not tested here" not in [verdict.word for verdict in others]
        assert beside == ""
        return
    assert {verdict.word for verdict in others} == {"not tested here"}
    assert {verdict.why for verdict in others} == {
        f"no gap shows that could be closed: LB is {-gap:+.2f} [{-gap - 0.4:+.2f}, "
        f"{-gap + 0.4:+.2f}] points from SB with the small batch's recipe."
    }
    assert beside == (
        "Where no gap shows none can be closed: the rungs tell what each recipe does. SB ends with "
        "96.4 % of the training images classified rightly, +RA with 96.5 %."
    )


def test_rungs_that_are_exactly_alike_have_no_gap():
    of = made({**GOOD, "LB": GOOD["SB"]}, apart=0.0)
    assert words(of) == ["absent"] + ["not tested here"] * 4
    assert all(math.isnan(share) for share in ladder.closed(ladder.rows(of).accuracy))


def test_without_a_gap_no_part_of_it_is_closed():
    of = made({**GOOD, "LB": GOOD["SB"] + 0.1})
    assert all(math.isnan(share) for share in ladder.closed(ladder.rows(of).accuracy))
    assert set(ladder.recipe_table(of)["Of the gap closed"]) == {""}


ABOUT = [
    ("SB", "LB"),
    ("SB", "LB", "+LR"),
    ("SB", "LB", "+LR", "+GBN"),
    ("SB", "LB", "+GBN", "+RA"),
    ("SB", "LB", "+RA"),
]
"""The rungs that each claim is about, those of the gap among them."""


@pytest.mark.parametrize("rung", RUNGS)
def test_a_rung_that_diverged_is_no_rung_to_compare_with(rung):
    of = made({**GOOD, rung: math.inf})
    for verdict, about in zip(judged(of), ABOUT, strict=True):
        assert (verdict.word == "not tested here") == (rung in about)
        if rung in about:
            assert verdict.why == f"3 of 3 runs of {rung} diverged."
    # Training accuracies of what is left are no ladder.
    assert ladder.without_a_gap(made({**GOOD, "LB": 99.0, rung: math.inf})) == ""


def test_a_single_run_that_diverged_is_said():
    def one_is_lost(config):
        lost = rung_of(config) == "LB" and config.seed == 1
        return {"test_accuracy": math.inf if lost else 90.0}

    of = reading("generalization-gap", "gpu", 3, one_is_lost)
    rungs = ladder.rows(of)
    assert list(rungs.diverged) == [0, 1, 0, 0, 0]
    assert [math.isnan(mean) for mean in rungs.accuracy] == [False, True, False, False, False]
    assert "1 of 3 diverged" in set(ladder.recipe_table(of)["Test accuracy (%)"])
    assert {verdict.why for verdict in judged(of)} == {"1 of 3 runs of LB diverged."}


def test_where_everything_diverged_nothing_is_a_nan():
    of = made(dict.fromkeys(RUNGS, math.inf))
    assert {(v.word, v.why) for v in judged(of)} == {
        ("not tested here", "3 of 3 runs of SB diverged.")
    }
    assert ladder.climbed(of) == []
    assert ladder.without_a_gap(of) == ""


def test_of_a_single_seed_no_rung_is_judged():
    of = made(GOOD, seeds=1)
    assert all("single seed has no spread" in v.why for v in judged(of))
    shown = ladder.recipe_table(of)["Test accuracy (%)"]
    assert all(text.endswith(" (one seed)") for text in shown)
    assert ladder.rows(of)["std"].isna().all()


def test_another_net_has_its_own_row_of_the_papers_table():
    def ending(config):
        return {"test_accuracy": 98.0 - (config.batch_size > 32) + 0.01 * config.seed}

    said = judged(reading("generalization-gap", "cpu", 3, ending))
    theirs = [97.05 - 98.27, 97.55 - 97.05, 97.60 - 97.55, 98.53 - 97.60, 98.53 - 98.27]
    assert [verdict.printed for verdict in said] == pytest.approx(theirs)


def test_curves_of_a_rung_end_where_its_run_ended():
    of = made(GOOD, seeds=2)
    fig = ladder.climb(of, "+GBN")
    ends = {trace.name: (trace.x[-1], trace.y[-1]) for trace in fig.data}
    # 20 epochs of 50,000 in steps of 4,096, and of 128.
    assert ends["+GBN"] == (244, pytest.approx(GOOD["+GBN"]))
    assert ends["SB"] == (7812, pytest.approx(GOOD["SB"]))
    assert len(fig.data) == 4
    starts = {trace.name: (trace.x[0], trace.y[0]) for trace in fig.data}
    assert starts["SB"] == (50, pytest.approx(GOOD["SB"] - 5, abs=0.2))
    assert len(ladder.climb(of, "SB").data) == 2
    assert [trace.name for trace in ladder.distances(of).data] == list(RUNGS)
    assert ladder.climbed(of) == list(RUNGS)


@pytest.mark.parametrize("rung", RUNGS)
def test_what_the_rungs_fit_is_said_where_it_is_known(rung):
    of = made({**GOOD, "LB": 99.0})
    for record in of.records.values():
        if rung_of(record.config) == rung:
            del record.metrics["train_accuracy"]
    beside = ladder.without_a_gap(of)
    assert beside.startswith("Where no gap shows none can be closed")
    assert ("of the training images classified rightly" in beside) == (rung not in ("SB", "+RA"))
