"""Claims: when one can be judged at all, every word that can be said, and that the lists agree."""

from __future__ import annotations

import dataclasses
import math
from typing import get_args

import pytest
from made_up import filled, noisy, reading, two_regimes
from scipy import stats

from sgdnoise.analysis import Interval, Reading
from sgdnoise.analysis.intervals import Estimate
from sgdnoise.book.scorecard import scorecard
from sgdnoise.claims import (
    HOPELESS,
    Claim,
    Verdict,
    Word,
    above,
    alike,
    directional,
    every,
    headline,
    line,
    without_ends,
)
from sgdnoise.errors import InputError
from sgdnoise.experiments import EXPERIMENTS, findings, studies, study_of
from sgdnoise.papers import numbers
from sgdnoise.records.store import Store

SOME = "S20-F1c.momentum-scales-further"
STATEMENT = "With momentum the learning rate scales to larger batches"
ALL = [(name, claim) for name in EXPERIMENTS for claim in findings(name).CLAIMS]
NAN = math.nan
JUST = 1e-9


def rung(config):
    return {"test_accuracy": 90.0 + config.seed}


@pytest.fixture(scope="module")
def whole():
    return reading("generalization-gap", "gpu", 3, rung)


def holds(reading):
    return Verdict("reproduced", "it holds.", 1.5, (1.0, 2.0))


def never(reading):
    raise AssertionError("judged what cannot be")


def judge_of(reading, **changes):
    return Claim(SOME, holds, **changes).judge(reading)


# --- Whether a claim is judged ------------------------------------------------------------------


def test_a_verdict_is_the_predicates_with_the_seeds_behind_it(whole):
    assert judge_of(whole) == Verdict("reproduced", "it holds.", 1.5, (1.0, 2.0), seeds=3)


def test_without_records_nothing_is_measured(whole):
    nothing = Reading(whole.study, {})
    expected = Verdict("not measured", "nothing is recorded at scale gpu.")
    assert Claim(SOME, never).judge(nothing) == expected
    # Whatever else could be said: that comes first.
    for changes in ({"scales": ("cpu",)}, {"of": lambda key: False}, {"needs": never}):
        assert Claim(SOME, never, **changes).judge(nothing) == expected


def without_first(whole, count=3):
    return Reading(whole.study, dict(list(whole.records.items())[count:]))


def of_rungs(*rungs):
    return lambda key: dict(key)["rung"] in rungs


def test_from_parts_nothing_is_judged(whole):
    verdict = Claim(SOME, never, needs=never).judge(without_first(whole))
    assert verdict == Verdict("not measured", "1 of 5 sweeps is not complete.")
    # One run is enough to lack.
    verdict = Claim(SOME, never).judge(without_first(whole, 1))
    assert verdict == Verdict("not measured", "1 of 5 sweeps is not complete.")


def test_a_claim_waits_for_its_own_sweeps_only(whole):
    some = without_first(whole)
    assert judge_of(some, of=of_rungs("LB", "+LR")).word == "reproduced"
    verdict = Claim(SOME, never, of=of_rungs("SB", "LB")).judge(some)
    assert (verdict.word, verdict.why) == ("not measured", "1 of 2 sweeps is not complete.")


def test_from_a_failed_run_nothing_is_judged(whole):
    first = next(iter(whole.records))
    failed = dataclasses.replace(whole.records[first], status="failed")
    verdict = Claim(SOME, never).judge(Reading(whole.study, {**whole.records, first: failed}))
    assert (verdict.word, verdict.why) == ("not measured", "1 of 5 sweeps is not complete.")


def test_predicate_and_needs_see_the_sweeps_of_the_claim(whole):
    seen = []

    def look(reading):
        seen.append([dict(state.sweep.key)["rung"] for state in reading.states])
        return ""

    judge_of(whole, of=of_rungs("SB", "+RA"), needs=look)
    Claim(SOME, lambda r: look(r) or holds(r), of=of_rungs("LB")).judge(whole)
    judge_of(whole, needs=look)
    assert seen == [["SB", "+RA"], ["LB"], ["SB", "LB", "+LR", "+GBN", "+RA"]]


def test_of_a_single_seed_nothing_is_judged():
    one = reading("generalization-gap", "gpu", 1, rung)
    verdict = Claim(SOME, never, needs=never).judge(one)
    why = "a single seed has no spread to judge by."
    assert verdict == Verdict("undecided", why, seeds=1)
    # A sweep that takes one seed has no more behind it than that, whatever the study asks for.
    few = reading("generalization-gap", "gpu", 3, rung)
    first, *others = few.states
    single = dataclasses.replace(first.sweep, most_seeds=1)
    few.__dict__["states"] = [dataclasses.replace(first, sweep=single), *others]
    assert Claim(SOME, never).judge(few) == Verdict("undecided", why, seeds=1)
    two = judge_of(reading("generalization-gap", "gpu", 2, rung))
    assert (two.word, two.seeds) == ("reproduced", 2)


def on(whole, *devices):
    """The same records, the first trained on the first device and so on, the rest on the last."""
    records = {}
    for number, (run, record) in enumerate(whole.records.items()):
        device = devices[min(number, len(devices) - 1)]
        provenance = {**record.provenance, "device": device}
        records[run] = dataclasses.replace(record, provenance=provenance)
    return Reading(whole.study, records)


@pytest.mark.parametrize(
    ("devices", "mixed"),
    [
        (("CPU, some", "NVIDIA H100"), True),
        (("NVIDIA H100", "CPU, some"), True),
        (("CPU, some", "CPU, another"), False),
        (("NVIDIA H100", "NVIDIA H200"), False),
    ],
)
def test_records_of_mixed_devices_are_not_judged(whole, devices, mixed):
    of = on(whole, *devices)
    verdict = judge_of(of)
    why = "its records mix devices, CPU and GPU: train them on one."
    expected = Verdict("not measured", why) if mixed else judge_of(whole)
    assert verdict == expected
    if mixed:
        assert Claim(SOME, never, needs=never).judge(of) == expected
        # The first run is of SB: the other rungs are of one device.
        assert judge_of(of, of=of_rungs("LB", "+RA")).word == "reproduced"
        assert judge_of(of, of=of_rungs("SB")) == expected


def test_what_a_fair_test_lacks_is_said_in_place_of_a_verdict(whole):
    verdict = Claim(SOME, never, needs=lambda reading: "there is no peak.").judge(whole)
    assert verdict == Verdict("not tested here", "there is no peak.", seeds=3)
    assert not verdict.elsewhere
    assert judge_of(whole, needs=lambda reading: "").word == "reproduced"


def test_a_claim_of_other_sweeps_or_scales_is_judged_there(whole):
    for changes, why in (
        ({"scales": ("cpu", "paper")}, "it is tested at scale cpu, paper."),
        ({"of": lambda key: False}, "this scale has no such sweeps."),
    ):
        expected = Verdict("not tested here", why, elsewhere=True)
        assert Claim(SOME, never, needs=never, **changes).judge(whole) == expected
        # Also where not all is recorded.
        assert Claim(SOME, never, **changes).judge(without_first(whole)) == expected
    assert judge_of(whole, scales=("cpu", "gpu")).word == "reproduced"


def test_a_claim_is_judged_among_the_records_that_it_names(whole):
    part = whole.part(of_rungs("SB", "LB"))
    seen = []

    def noted(reading):
        seen.append([state.sweep.key for state in reading.states])
        return holds(reading)

    claim = Claim(SOME, noted, of=of_rungs("LB", "+RA"), among=lambda reading: part)
    assert claim.judge(whole).word == "reproduced"
    assert seen == [[state.sweep.key for state in whole.part(of_rungs("LB")).states]]
    nothing = Claim(SOME, never, needs=never, of=of_rungs("+RA"), among=lambda reading: part)
    assert nothing.judge(whole).elsewhere


def test_a_claim_is_there_where_a_scale_has_its_sweeps(whole):
    assert Claim(SOME, never).there(whole)
    assert Claim(SOME, never, of=of_rungs("LB")).there(whole)
    assert not Claim(SOME, never, of=lambda key: False).there(whole)
    # Whether or not anything is recorded.
    nothing = Reading(whole.study, {})
    assert Claim(SOME, never, of=of_rungs("LB")).there(nothing)
    assert not Claim(SOME, never, of=lambda key: False).there(nothing)


@pytest.mark.parametrize("word", get_args(Word))
def test_each_word_can_be_said(whole, word):
    verdict = Claim(SOME, lambda reading: Verdict(word, "so it is.")).judge(whole)
    assert verdict.word == word
    assert line(Claim(SOME, holds), verdict) == f"- **{STATEMENT}**: *{word}*. So it is."
    assert headline(Claim(SOME, holds), verdict) == f"**{STATEMENT}: {word}.** So it is."


def test_a_statement_may_read_otherwise_at_another_size():
    verdict = Verdict("reproduced", "it is.", about="Momentum is as good at B = 128")
    about = "Momentum is as good at B = 128"
    assert line(Claim(SOME, holds), verdict) == f"- **{about}**: *reproduced*. It is."
    assert headline(Claim(SOME, holds), verdict) == f"**{about}: reproduced.** It is."


def test_a_claim_of_this_book_alone_says_so_wherever_it_is_told():
    claim, verdict = Claim(numbers.own()[0], holds), Verdict("reproduced", "it is.")
    told = f"{claim.stated.statement} ({claim.stated.where})"
    assert line(claim, verdict) == f"- **{told}**: *reproduced*. It is."
    assert headline(claim, verdict) == f"**{told}: reproduced.** It is."


def test_an_unknown_id_is_refused_by_its_name():
    with pytest.raises(InputError, match=r"no paper's list has a claim 'S20-F9\.nothing'"):
        _ = Claim("S20-F9.nothing", holds).stated


# --- How many more would decide it --------------------------------------------------------------

NEVER = "No number of seeds that can be afforded would decide it."


@pytest.mark.parametrize(
    ("half", "room", "more"),
    [
        # The half has to become the room: twice as narrow is four times as many.
        (2.0, 1.0, "About 12 seeds in place of 3 would decide it."),
        (1.5, 1.0, "About 7 seeds in place of 3 would decide it."),
        (20.0, 1.0, NEVER),
        (9.0, 1.0, "About 243 seeds in place of 3 would decide it."),
        (10.0, 1.0, "About 300 seeds in place of 3 would decide it."),
        (10.0, 1.0 - 1e-6, NEVER),
        (1.0, 1.0, "About 4 seeds in place of 3 would decide it."),
        (0.5, 1.0, "About 4 seeds in place of 3 would decide it."),
    ],
)
def test_an_undecided_verdict_says_how_many_more_seeds_would_decide_it(whole, half, room, more):
    undecided = Verdict("undecided", "so it is.", 1.0, (1 - half, 1 + half), room=room)
    said = Claim(SOME, lambda reading: undecided).judge(whole)
    assert said.why == f"so it is. {more}"
    assert dataclasses.replace(said, why=undecided.why, seeds=0) == undecided
    assert HOPELESS == 100


@pytest.mark.parametrize(
    ("half", "more"),
    [
        (2.0, "About 4 times as many budgets would decide it."),
        (1.6, "About 2.6 times as many budgets would decide it."),
        (1.01, "About 1.1 times as many budgets would decide it."),
        (0.5, "About 1.1 times as many budgets would decide it."),
        (2.01, "No number of budgets that can be afforded would decide it."),
        (10.1, "No number of budgets that can be afforded would decide it."),
    ],
)
def test_or_how_many_more_of_what_it_rests_on(whole, half, more):
    undecided = Verdict("undecided", "so.", 0.0, (-half, half), room=1.0, rests_on="budgets")
    assert Claim(SOME, lambda reading: undecided).judge(whole).why == f"so. {more}"


@pytest.mark.parametrize("sides", [(2.0, 0.5), (0.5, 2.0)])
def test_the_wider_side_of_an_interval_counts(whole, sides):
    bounds = 3 - sides[0], 3 + sides[1]
    undecided = Verdict("undecided", "so.", 3.0, bounds, room=1.0, rests_on="budgets")
    said = Claim(SOME, lambda reading: undecided).judge(whole).why
    assert said == "so. About 4 times as many budgets would decide it."


# --- What a margin means ------------------------------------------------------------------------


def around(value, half=0.1):
    return Interval(value, value - half, value + half)


@pytest.mark.parametrize(
    ("verdict", "means"),
    [
        (alike("so.", around(0.0), unit="points", margin=0.5), " Alike means within ±0.5 points."),
        (alike("so.", around(9.0), unit="slope", margin=0.2), " Alike means within ±0.2."),
        (
            alike("so.", around(1.0), unit="slope", margin=0.2, target=1.0),
            " Alike means within ±0.2 of 1.",
        ),
        (
            every("so.", {"it": Estimate(0.1, 0.1, 4)}, unit="log2 ratio", margin=0.44, same=True),
            " Alike means within ±0.44 in log₂.",
        ),
        (
            directional("so.", around(0.0), unit="points", margin=0.5),
            " Absent means within ±0.5 points.",
        ),
        # A sign goes by no margin, and "no worse" tells its own.
        (directional("so.", around(1.0), unit="points", margin=0.5), ""),
        (directional("so.", around(-1.0), unit="points", margin=0.5), ""),
        (above("so.", Estimate(0.0, 0.1, 4), unit="points", bound=-0.5), ""),
        (alike("so.", around(0.0), unit="points", margin=0.0), ""),
        (Verdict("absent", "so."), ""),
    ],
)
def test_a_margin_is_named_where_the_word_goes_by_it(whole, verdict, means):
    assert Claim(SOME, lambda reading: verdict).judge(whole).why.startswith(f"so.{means}")
    assert (" means within " in Claim(SOME, lambda r: verdict).judge(whole).why) == bool(means)


@pytest.mark.parametrize("value", [0.4, -0.4])
def test_a_sure_effect_within_the_margin_is_called_small(whole, value):
    def why(margin, **given):
        found = directional("so.", around(value, 0.05), unit="points", margin=margin, **given)
        return Claim(SOME, lambda reading: found).judge(whole).why

    small = "so. It is sure, and small: all of its interval is within ±0.5 points."
    assert why(0.5) == why(0.5, printed=9.0) == small
    assert why(0.4) == why(None) == "so."
    alike_ = alike("so.", around(value, 0.05), unit="points", margin=0.5)
    assert "small" not in Claim(SOME, lambda reading: alike_).judge(whole).why


def test_what_a_margin_means_comes_before_how_many_more_would_decide(whole):
    wide = alike("so.", around(0.0, 1.0), unit="points", margin=0.5)
    assert Claim(SOME, lambda reading: wide).judge(whole).why == (
        "so. Alike means within ±0.5 points. About 12 seeds in place of 3 would decide it."
    )


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("reproduced", "so.", 1.0, (0.5, 1.5), room=1.0),
        Verdict("absent", "so.", 1.0, (0.5, 1.5), room=1.0),
        Verdict("undecided", "so.", 1.0, None, room=1.0),
        Verdict("undecided", "so.", 1.0, (0.5, 1.5), room=None),
        Verdict("undecided", "so.", 1.0, (0.5, 1.5), room=0.0),
    ],
)
def test_no_more_is_said_where_it_is_decided_or_not_known(whole, verdict):
    assert Claim(SOME, lambda reading: verdict).judge(whole).why == "so."


# --- Words: a direction -------------------------------------------------------------------------


def direction(low, high, sign=1, **given):
    """The verdict on an interval as it lies in the paper's direction."""
    bounds = sorted((sign * low, sign * high))
    found = Interval(sum(bounds) / 2, *bounds)
    return directional("so.", found, unit="points", sign=sign, **given)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (JUST, 2.0, "reproduced"),
        (0.0, 2.0, "undecided"),
        (-2.0, 0.0, "undecided"),
        (-2.0, -JUST, "contradicted"),
        # The margin, both ends of it.
        (-0.5, 0.5, "absent"),
        (-0.5 - JUST, 0.5, "undecided"),
        (-0.5, 0.5 + JUST, "undecided"),
        (0.0, 0.5, "absent"),
        (-0.5, 0.0, "absent"),
        # What has a sign is not absent, however small.
        (0.1, 0.2, "reproduced"),
        (-0.2, -0.1, "contradicted"),
        (NAN, NAN, "undecided"),
    ],
)
def test_a_direction_is_judged_by_its_interval(sign, low, high, word):
    assert direction(low, high, sign, margin=0.5).word == word
    without = direction(low, high, sign).word
    assert without == ("undecided" if word == "absent" else word)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("printed", "error", "word"),
    [
        (2.0, 0.0, "reproduced"),
        (3.0, 0.0, "reproduced"),
        (1.0, 0.0, "reproduced"),
        (3.0 + JUST, 0.0, "reproduced at another size"),
        (1.0 - JUST, 0.0, "reproduced at another size"),
        # The paper's own error widens it: √(1² + 0.75²) = 1.25.
        (3.25 - JUST, 0.75, "reproduced"),
        (3.25 + JUST, 0.75, "reproduced at another size"),
        (0.75 + JUST, 0.75, "reproduced"),
        (0.75 - JUST, 0.75, "reproduced at another size"),
        (-2.0, 0.0, "reproduced at another size"),
    ],
)
def test_a_printed_size_is_that_of_the_prediction_interval_or_another(sign, printed, error, word):
    verdict = direction(1.0, 3.0, sign, printed=sign * printed, printed_error=error)
    assert verdict.word == word
    assert (verdict.effect, verdict.printed) == (sign * 2.0, sign * printed)


def test_a_printed_size_matters_only_where_the_direction_is_reproduced():
    assert direction(-1.0, 3.0, printed=50.0).word == "undecided"
    assert direction(-3.0, -1.0, printed=50.0).word == "contradicted"
    assert direction(-0.1, 0.1, printed=50.0, margin=0.5).word == "absent"


@pytest.mark.parametrize(
    ("value", "half", "bound", "word"),
    [
        # No worse than by the margin, and worse by more than it.
        (0.0, 0.49, -0.5, "reproduced"),
        (0.0, 0.51, -0.5, "undecided"),
        (-1.0, 0.51, -0.5, "undecided"),
        (-1.0, 0.49, -0.5, "contradicted"),
        (1.0, 0.49, 0.5, "reproduced"),
        (1.0, 0.51, 0.5, "undecided"),
        (0.0, 0.49, 0.5, "contradicted"),
    ],
)
def test_above_a_bound_is_told_of_the_effect_itself(value, half, bound, word):
    error = half / stats.t.ppf(0.975, 10)
    verdict = above("so.", Estimate(value, error, 10), unit="points", bound=bound)
    assert verdict.word == word
    assert verdict.effect == value
    assert verdict.interval == pytest.approx((value - half, value + half))
    assert (verdict.margin, verdict.unit, verdict.why) == (0.5, "points", "so.")
    assert verdict.band == ((-0.5, None) if bound < 0 else (None, 0.5))
    assert verdict.room == pytest.approx(abs(value - bound))
    assert verdict.p == pytest.approx(2 * stats.t.sf(abs(value - bound) / error, 10))
    # Of the opposite claim on the same numbers it is the opposite.
    other = above("so.", Estimate(-value, error, 10), unit="points", bound=-bound).word
    assert {word, other} in ({"reproduced", "contradicted"}, {"undecided"})


def test_above_a_bound_without_a_number_is_undecided():
    verdict = above("so.", Estimate(math.nan, math.nan, 0), unit="points", bound=0.5)
    assert (verdict.word, verdict.effect, verdict.interval) == ("undecided", None, None)


def test_a_direction_keeps_its_numbers():
    found = Estimate(1.0, 0.25, 10)
    verdict = directional(
        "so.", found, unit="slope", margin=0.5, printed=1.2, rests_on="batch sizes"
    )
    reach = 0.25 * stats.t.ppf(0.975, 10)
    assert verdict.interval == pytest.approx((1 - reach, 1 + reach))
    assert verdict.p == pytest.approx(2 * stats.t.sf(4.0, 10))
    assert (verdict.effect, verdict.unit, verdict.margin) == (1.0, "slope", 0.5)
    assert verdict.band == (-0.5, 0.5)  # not about the paper's number
    assert (verdict.printed, verdict.rests_on) == (1.2, "batch sizes")
    # An interval alone has no p.
    assert direction(0.5, 1.5).p is None


@pytest.mark.parametrize(
    ("value", "margin", "room"),
    [
        # As far as zero, or as the margin from inside, whichever is further: that can decide it.
        (2.0, None, 2.0),
        (-2.0, None, 2.0),
        (0.1, 0.5, 0.4),
        (-0.1, 0.5, 0.4),
        (0.3, 0.5, 0.3),
        (2.0, 0.5, 2.0),
        (0.0, 0.5, 0.5),
        (NAN, 0.5, None),
    ],
)
def test_the_room_of_a_direction(value, margin, room):
    verdict = directional("so.", Interval(value, -9, 9), unit="points", margin=margin)
    assert verdict.room == (None if room is None else pytest.approx(room))


# --- Words: no difference -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.5, 0.5, "reproduced"),
        (-0.5 - JUST, 0.5, "undecided"),
        (-0.5, 0.5 + JUST, "undecided"),
        (0.5, 2.0, "undecided"),
        (0.5 + JUST, 2.0, "contradicted"),
        (-2.0, -0.5, "undecided"),
        (-2.0, -0.5 - JUST, "contradicted"),
        # That it differs is no reason against, nor that it does not for.
        (0.1, 0.4, "reproduced"),
        (-9.0, 9.0, "undecided"),
        (NAN, NAN, "undecided"),
    ],
)
@pytest.mark.parametrize("target", [0.0, 1.0, -3.0])
def test_alike_is_within_a_margin(target, low, high, word):
    near = Interval(target + (low + high) / 2, target + low, target + high)
    verdict = alike("so.", near, unit="slope", margin=0.5, target=target, rests_on="budgets")
    assert verdict.word == word
    assert (verdict.margin, verdict.unit, verdict.rests_on) == (0.5, "slope", "budgets")
    assert verdict.band == (target - 0.5, target + 0.5)
    assert verdict.printed == (target or None)


@pytest.mark.parametrize(
    ("value", "room"), [(1.0, 0.5), (1.2, 0.3), (0.8, 0.3), (2.0, 0.5), (0.0, 0.5), (NAN, None)]
)
def test_the_room_of_what_is_alike_is_up_to_its_margin(value, room):
    verdict = alike("so.", Interval(value, -9, 9), unit="slope", margin=0.5, target=1.0)
    assert verdict.room == (None if room is None else pytest.approx(room))


def test_of_an_estimate_the_interval_is_taken():
    reach = 0.2 * stats.t.ppf(0.975, 4)
    found = Estimate(0.0, 0.2, 4)
    assert alike("so.", found, unit="points", margin=reach + JUST).word == "reproduced"
    verdict = alike("so.", found, unit="points", margin=reach - JUST)
    assert verdict.word == "undecided"
    assert verdict.interval == pytest.approx((-reach, reach))


@pytest.mark.parametrize("judge", [alike, directional])
def test_what_is_not_finite_is_not_there(judge):
    for found, effect in (
        (Interval(1.0, NAN, NAN), 1.0),
        (Interval(1.0, 0.5, math.inf), 1.0),
        (Interval(NAN, NAN, NAN), None),
        (Estimate(NAN, NAN, 0), None),
        (Estimate(1.0, NAN, 0), 1.0),
    ):
        verdict = judge("so.", found, unit="points", margin=0.1)
        assert (verdict.effect, verdict.interval, verdict.p) == (effect, None, None)


# --- Words: every one of several ----------------------------------------------------------------

DOF = 20
T95 = stats.t.ppf(0.975, DOF)
T95_OF_2 = stats.t.ppf(1 - 0.025 / 2, DOF)
"""Bonferroni's, for two parts."""


def part(value):
    """An effect known to a standard error of 1."""
    return Estimate(value, 1.0, DOF)


def all_of(*values, **given):
    return every("so.", {f"part {k}": part(v) for k, v in enumerate(values)}, unit="u", **given)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("values", "word"),
    [
        # Each by its own interval: all have to hold, and none is corrected.
        ((T95 + JUST, T95 + JUST), "reproduced"),
        ((9.0, T95 - JUST), "undecided"),
        ((T95 - JUST, 9.0), "undecided"),
        # One against decides against, at half the level.
        ((9.0, -T95_OF_2 - JUST), "contradicted"),
        ((-T95_OF_2 - JUST, 9.0), "contradicted"),
        ((9.0, -T95_OF_2 + JUST), "undecided"),
        ((9.0, -T95 - JUST), "undecided"),
        ((-9.0, -9.0), "contradicted"),
        # Alone it needs no correction.
        ((T95 + JUST,), "reproduced"),
        ((T95 - JUST,), "undecided"),
        ((-T95 + JUST,), "undecided"),
        ((-T95 - JUST,), "contradicted"),
    ],
)
def test_every_effect_has_the_sign(sign, values, word):
    verdict = all_of(*(sign * value for value in values), sign=sign)
    assert verdict.word == word
    worst = min(values)
    assert verdict.effect == sign * worst
    bounds = (sign * worst - T95, sign * worst + T95)
    assert verdict.interval == pytest.approx(bounds)
    named = f" The claim fits worst for part {values.index(worst)}: {part(sign * worst)}."
    if word == "undecided" and worst < -T95:
        named += " By itself that part would be contradicted; as one of 2 it is not."
    assert verdict.why == "so." + (named if len(values) > 1 else "")


@pytest.mark.parametrize(
    ("values", "margin", "word"),
    [
        ((9.0, 0.0), T95_OF_2 + JUST, "absent"),
        ((9.0, 0.0), T95_OF_2 - JUST, "undecided"),
        ((0.0, 0.0), T95_OF_2 + JUST, "absent"),
        # Contradicted is the stronger word.
        ((-9.0, 0.0), T95_OF_2 + JUST, "contradicted"),
        ((9.0, 9.0), 50.0, "reproduced"),
    ],
)
def test_an_effect_that_is_absent_decides_against_every(values, margin, word):
    assert all_of(*values, margin=margin).word == word


def test_word_interval_and_p_of_every_are_of_what_decided():
    wide, near = Estimate(-0.3, 2.0, 20), Estimate(0.05, 0.05, 20)
    found = every("so.", {"near": near, "wide": wide}, unit="points", margin=0.5)
    assert (found.word, found.effect) == ("absent", 0.05)
    assert found.why.endswith(" It does not hold for near.")
    # What denies that all are there is that any is not: the largest p.
    sure, surer = Estimate(1.0, 0.4, 20), Estimate(9.0, 0.1, 20)
    both = every("so.", {"sure": sure, "surer": surer}, unit="points")
    assert (both.effect, both.p) == (1.0, pytest.approx(sure.p))
    # One effect within the margin makes no other small: the part is named.
    small = Estimate(0.2, 0.02, 20)
    within = "it is sure, and small: all of its interval is within ±0.5 points."
    mixed = every("so.", {"one": small, "surer": surer}, unit="points", margin=0.5)
    assert mixed.word == "reproduced"
    assert mixed.why.endswith(f" For one {within}")
    alone = every("so.", {"one": small}, unit="points", margin=0.5)
    assert alone.why == directional("so.", small, unit="points", margin=0.5).why
    assert alone.why.lower() == f"so. {within}"
    # What is small and against the claim makes nothing small of a claim that another part denies.
    small, surer = Estimate(-0.2, 0.02, 20), Estimate(-9.0, 0.1, 20)
    denied = every("so.", {"one": small, "other": surer}, unit="points", margin=0.5)
    assert denied.word == "contradicted"
    assert "small" not in denied.why
    # Nor where the part is sure by itself alone, and its effect absent as one of two.
    near = Estimate(-0.2, 0.2 / 2.25, 20)
    absent = every("so.", {"one": near, "other": Estimate(9.0, 0.1, 20)}, unit="points", margin=0.5)
    assert (absent.word, directional("", near, unit="points").word) == ("absent", "contradicted")
    assert "small" not in absent.why


def test_where_some_effects_are_there_and_others_absent_it_says_which():
    mixed = all_of(9.0, 0.0, 8.0, margin=5.0)
    assert mixed.word == "absent"
    assert mixed.why.endswith(" It holds for part 0 and part 2, and not for part 1.")
    assert mixed.in_part == "part 0 and part 2"
    for other in (all_of(9.0, 0.0, margin=0.1), all_of(0.0, 0.0, margin=5.0)):
        assert "It holds for" not in other.why
        assert other.in_part == ""


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((3.0 - T95 - JUST, T95 - 3.0 + JUST), "reproduced"),
        ((0.0, 3.0 - T95 + JUST), "undecided"),
        ((T95 - 3.0 - JUST, 0.0), "undecided"),
        ((0.0, 3.0 + T95_OF_2 + JUST), "contradicted"),
        ((0.0, 3.0 + T95_OF_2 - JUST), "undecided"),
        ((-3.0 - T95_OF_2 - JUST, 0.0), "contradicted"),
        ((-3.0 - T95_OF_2 + JUST, 0.0), "undecided"),
    ],
)
def test_every_effect_is_the_same(values, word):
    verdict = all_of(*values, same=True, margin=3.0)
    assert verdict.word == word
    assert (verdict.margin, verdict.band) == (3.0, (-3.0, 3.0))
    assert verdict.effect == max(values, key=abs)


def test_the_furthest_part_is_the_one_whose_interval_reaches_furthest():
    parts = {"well": Estimate(0.5, 0.1, DOF), "hardly": Estimate(2.0, 3.0, DOF)}
    assert every("so.", parts, unit="u").effect == 2.0
    assert every("so.", parts, unit="u", same=True, margin=1.0).effect == 2.0
    parts = {"well": Estimate(-0.5, 0.1, DOF), "hardly": Estimate(2.0, 0.1, DOF)}
    assert every("so.", parts, unit="u").effect == -0.5
    assert every("so.", parts, unit="u", sign=-1).effect == 2.0
    below = {"low": Estimate(-2.0, 0.1, DOF), "high": Estimate(1.0, 0.1, DOF)}
    assert every("so.", below, unit="u", same=True, margin=1.0).effect == -2.0


def test_three_parts_share_the_level_by_three():
    bar = stats.t.ppf(1 - 0.025 / 3, DOF)
    assert all_of(9.0, 9.0, -bar - JUST).word == "contradicted"
    assert all_of(9.0, 9.0, -bar + JUST).word == "undecided"


# --- The lists ----------------------------------------------------------------------------------


def test_each_claim_of_the_papers_list_has_one_predicate_and_the_other_way_round():
    ids = [claim.id for _, claim in ALL]
    assert len(set(ids)) == len(ids)
    assert set(ids) == set(numbers.claims()) - set(numbers.waiting())
    for _, claim in ALL:
        assert claim.stated.statement
        assert claim.stated.where
    statements = [claim.stated.statement for _, claim in ALL]
    assert len(set(statements)) == len(statements)


def test_a_claims_id_begins_with_its_paper_and_stands_at_scales_that_there_are():
    for name, claim in ALL:
        assert claim.id.partition("-")[0] in ("S20", "H17", "G20")
        assert set(claim.scales) <= set(EXPERIMENTS[name].sweeps)


def everything_diverged(config):
    return {"test_accuracy": math.inf}


@pytest.mark.parametrize(("name", "claim"), ALL, ids=[claim.id for _, claim in ALL])
def test_where_everything_diverged_a_claim_says_so_in_words(name, claim):
    scale = next(iter(EXPERIMENTS[name].sweeps))
    verdict = claim.judge(diverged(name, scale))
    assert verdict.word in ("undecided", "not tested here")
    assert "nan" not in verdict.why
    assert verdict.effect is None or math.isfinite(verdict.effect)


_DIVERGED: dict[tuple[str, str], Reading] = {}


def diverged(name, scale):
    if (name, scale) not in _DIVERGED:
        _DIVERGED[name, scale] = reading(name, scale, 2, everything_diverged)
    return _DIVERGED[name, scale]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Figure 1 at scale digits, the ladder at scale gpu, and nothing else."""
    made = Store(tmp_path_factory.mktemp("results"))
    for study, ending in (
        (study_of("constant-epoch", "digits"), noisy(two_regimes)),
        (study_of("generalization-gap", "gpu"), rung),
    ):
        made.append(*study.place, filled(study, ending).values())
    return made


def test_the_scorecard_has_every_claim_at_every_scale_of_its_experiment(store):
    rows = scorecard(store)
    assert [(row["id"], row["scale"]) for row in rows] == [
        (claim.id, study.scale)
        for study in studies()
        for claim in findings(study.experiment.name).CLAIMS
    ] + [(claim, "") for claim in numbers.waiting()]
    measured = {(row["id"], row["scale"]) for row in rows if row["verdict"] != "not measured"}
    at_digits = {(c.id, "digits") for c in findings("constant-epoch").CLAIMS}
    at_gpu = {(c.id, "gpu") for c in findings("generalization-gap").CLAIMS}
    assert measured == at_digits | at_gpu


def test_a_row_of_the_scorecard_is_the_verdict(store):
    by = {row["id"]: row for row in scorecard(store, "digits")}
    study = study_of("constant-epoch", "digits")
    whole = Reading(study, store.read(*study.place))
    for claim in findings("constant-epoch").CLAIMS:
        verdict, row = claim.judge(whole), by[claim.id]
        assert row["verdict"] == verdict.word
        assert row["interval"] == (verdict.interval and list(verdict.interval))
        for name in ("why", "about", "effect", "margin", "unit", "printed", "p", "seeds"):
            assert row[name] == getattr(verdict, name)
        assert (row["statement"], row["where"]) == (claim.stated.statement, claim.stated.where)
        assert (row["scale"], row["paper"], row["elsewhere"]) == ("digits", "S20", False)
    assert by[SOME]["statement"] == STATEMENT
    assert (by[SOME]["verdict"], by[SOME]["seeds"]) == ("reproduced", 15)


def test_the_scorecard_of_one_scale_or_paper_is_its_part_of_the_whole(store):
    rows = scorecard(store)
    for scale in ("digits", "cpu", "gpu", "paper"):
        assert scorecard(store, scale) == [row for row in rows if row["scale"] == scale]
    for paper in ("S20", "H17", "G20"):
        part = scorecard(store, paper=paper)
        assert part == [row for row in rows if row["paper"] == paper]
        assert part
    assert scorecard(store, "gpu", "H17") == [
        row for row in rows if (row["scale"], row["paper"]) == ("gpu", "H17")
    ]
    with pytest.raises(InputError, match="no scale is called 'big'"):
        scorecard(store, "big")


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("reproduced", "reproduced", "reproduced"), "reproduced"),
        (("reproduced", "reproduced", "absent"), "undecided"),
        (("absent", "contradicted", "absent"), "undecided"),
        (("undecided", "undecided", "undecided"), "undecided"),
    ],
)
def test_a_word_is_the_same_without_either_end_or_none(words, word):
    kept = ("all", "all but the smallest", "all but the largest")
    parts = [
        Verdict(one, "", effect=float(k), p=p, room=1.0)
        for k, (one, p) in enumerate(zip(words, (0.01, 0.2, None), strict=True))
    ]
    found = without_ends(dict(zip(kept, parts, strict=True)), "so.")
    assert (found.word, found.effect, found.p) == (word, 0.0, 0.2)
    # More seeds do not make words agree.
    assert found.room == (None if word == "undecided" else 1.0)
    said = (
        ""
        if len(set(words)) == 1
        else (
            f" So the word hangs on an end of the batch sizes. It would be {words[0]} with all, "
            f"{words[1]} with all but the smallest and {words[2]} with all but the largest."
        )
    )
    assert found.why == f"so.{said}"
