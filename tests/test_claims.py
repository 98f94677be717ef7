"""Claims: when one can be judged at all, every word that can be said, and that the lists agree."""

from __future__ import annotations

import dataclasses
import math
from typing import get_args

import pytest
from made_up import filled, noisy, reading, two_regimes

from sgdnoise.analysis import Interval, Reading
from sgdnoise.book.scorecard import scorecard
from sgdnoise.claims import Claim, Verdict, Word, headline, line, within
from sgdnoise.errors import InputError
from sgdnoise.experiments import EXPERIMENTS, findings, studies, study_of
from sgdnoise.papers import numbers
from sgdnoise.records.store import Store

SOME = "S20-F1c.momentum-scales-further"
ALL = [(name, claim) for name in EXPERIMENTS for claim in findings(name).CLAIMS]


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


def test_a_verdict_is_the_predicates_with_the_seeds_behind_it(whole):
    assert judge_of(whole) == Verdict("reproduced", "it holds.", 1.5, (1.0, 2.0), seeds=3)


def test_without_records_nothing_is_measured(whole):
    verdict = Claim(SOME, never).judge(Reading(whole.study, {}))
    assert verdict.word == "not measured"
    assert verdict.why == "nothing is recorded at scale gpu."
    assert (verdict.effect, verdict.interval, verdict.seeds) == (None, None, 0)


def test_from_parts_nothing_is_judged(whole):
    some = dict(list(whole.records.items())[3:])
    verdict = Claim(SOME, never).judge(Reading(whole.study, some))
    assert verdict.word == "not measured"
    assert verdict.why == "1 of 5 sweeps are not complete."


def test_from_a_failed_run_nothing_is_judged(whole):
    first = next(iter(whole.records))
    failed = dataclasses.replace(whole.records[first], status="failed")
    verdict = Claim(SOME, never).judge(Reading(whole.study, {**whole.records, first: failed}))
    assert (verdict.word, verdict.why) == ("not measured", "1 of 5 sweeps are not complete.")


def test_of_a_single_seed_nothing_is_judged():
    verdict = Claim(SOME, never).judge(reading("generalization-gap", "gpu", 1, rung))
    assert (verdict.word, verdict.seeds) == ("undecided", 1)
    assert "single seed" in verdict.why
    two = judge_of(reading("generalization-gap", "gpu", 2, rung))
    assert (two.word, two.seeds) == ("reproduced", 2)


def test_what_a_fair_test_lacks_is_said_in_place_of_a_verdict(whole):
    verdict = Claim(SOME, never, needs=lambda reading: "there is no peak.").judge(whole)
    assert (verdict.word, verdict.why) == ("not tested here", "there is no peak.")
    assert not verdict.elsewhere
    assert judge_of(whole, needs=lambda reading: "").word == "reproduced"


def test_a_claim_of_other_sweeps_or_scales_is_judged_there(whole):
    for claim, why in (
        (Claim(SOME, never, scales=("cpu", "paper")), "it is tested at scale cpu, paper."),
        (Claim(SOME, never, there=lambda reading: False), "this scale has no such sweeps."),
    ):
        verdict = claim.judge(whole)
        assert (verdict.word, verdict.why) == ("not tested here", why)
        assert verdict.elsewhere
    assert judge_of(whole, scales=("cpu", "gpu")).word == "reproduced"


@pytest.mark.parametrize("word", get_args(Word))
def test_each_word_can_be_said(whole, word):
    verdict = Claim(SOME, lambda reading: Verdict(word, "so it is.")).judge(whole)
    assert verdict.word == word
    assert line(Claim(SOME, holds), verdict) == "- **Momentum scales further**: so it is."
    assert headline(Claim(SOME, holds), verdict) == (
        f"**Momentum scales further: {word}.** So it is."
    )


def test_a_statement_may_read_otherwise_at_another_size():
    verdict = Verdict("reproduced", "it is.", about="Momentum is as good at B = 128")
    assert line(Claim(SOME, holds), verdict) == "- **Momentum is as good at B = 128**: it is."
    assert headline(Claim(SOME, holds), verdict).startswith("**Momentum is as good at B = 128: ")


def test_an_unknown_id_is_refused_by_its_name():
    with pytest.raises(InputError, match=r"no paper's list has a claim 'S20-F9\.nothing'"):
        _ = Claim("S20-F9.nothing", holds).stated


def test_a_verdict_within_an_interval_has_its_numbers_where_there_are_any():
    nan = math.nan
    assert within("w", Interval(1.0, 0.5, 2.0), "absent") == Verdict("absent", "w", 1.0, (0.5, 2.0))
    assert within("w", Interval(1.0, nan, nan), "absent") == Verdict("absent", "w", 1.0, None)
    assert within("w", Interval(nan, nan, nan), "absent") == Verdict("absent", "w", None, None)


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
    by = {(row["id"], row["scale"]): row for row in rows}
    measured = {(row["id"], row["scale"]) for row in rows if row["verdict"] != "not measured"}
    at_digits = {(c.id, "digits") for c in findings("constant-epoch").CLAIMS}
    at_gpu = {(c.id, "gpu") for c in findings("generalization-gap").CLAIMS}
    assert {row for row in measured if not row[0].startswith("S20-F2")} == at_digits | at_gpu
    # The variants that a scale does not have are not tested there, whether anything is recorded.
    further = by[SOME, "digits"]
    study = study_of("constant-epoch", "digits")
    (claim,) = [c for c in findings("constant-epoch").CLAIMS if c.id == SOME]
    verdict = claim.judge(Reading(study, store.read(*study.place)))
    assert (
        further.items()
        >= {
            "id": SOME,
            "paper": "S20",
            "statement": "Momentum scales further",
            "where": "S20 §5, figure 1c",
            "scale": "digits",
            "verdict": "reproduced",
            "effect": verdict.effect,
            "interval": None,
            "margin": None,
            "seeds": 15,
            "why": verdict.why,
        }.items()
    )
    slope = by["S20-F1c.linear-scaling.sgd", "digits"]
    assert slope["margin"] == findings("constant-epoch").NEAR_LINEAR
    low, high = slope["interval"]
    assert low <= slope["effect"] <= high


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
