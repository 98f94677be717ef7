"""Two stores that surely agree, two that surely do not, and two of which nobody can tell."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from made_up import filled, noisy, two_regimes

from sgdnoise.analysis import Estimate, Interval
from sgdnoise.book.compare import ACCURACY_MARGIN, RATE_MARGIN, Comparison, _compared, agreement
from sgdnoise.claims import Verdict
from sgdnoise.experiments import EXPERIMENTS, findings, study_of
from sgdnoise.study.study import Study

SEEDS = 5


def own(name, seeds=SEEDS):
    """An experiment whose own number of seeds is this one, as the committed side has it."""
    experiment = dataclasses.replace(EXPERIMENTS[name], seeds={"digits": seeds})
    return Study.of(experiment, "digits")


def made(name, accuracy, loss=None, seeds=SEEDS, ending=None):
    return filled(study_of(name, "digits", seeds), ending or noisy(accuracy, loss))


def other_noise(accuracy, spread=0.02, seed=1):
    """The same truth as `noisy`, by other noise."""
    rng = np.random.default_rng(seed)

    def ending(config):
        rate = math.log2(config.effective_learning_rate)
        value = accuracy(config, rate) + spread * rng.standard_normal()
        return {"test_accuracy": value, "train_loss": 1.0}

    return ending


def words(both, what):
    return [getattr(point, what).word for point in both.points]


@pytest.fixture(scope="module")
def theirs():
    return made("constant-epoch", two_regimes)


def test_identical_stores_agree_by_themselves_and_it_is_said(theirs):
    same = Comparison.of(own("constant-epoch"), theirs, theirs)
    assert same.identical
    assert same.count == "44 of 44 tuned learning rates and accuracies agree"
    assert f"{len(theirs)} of them equal" in same.summary()
    assert "is no second sample" in same.summary()
    assert same.text().endswith("it is no second sample.")
    assert {one.word for one in same.verdicts.agree} == {"agrees"}
    assert {str(one) for one in same.judged} == {"agrees (identical runs)"}
    # One number of one run is another: no longer trivial, and said nowhere to be.
    run, record = next(iter(theirs.items()))
    changed = dataclasses.replace(record, metrics={**record.metrics, "train_loss": 0.5})
    near = Comparison.of(own("constant-epoch"), {**theirs, run: changed}, theirs)
    assert not near.identical
    assert [str(p.accuracy) for p in near.points].count("agrees (identical runs)") == 21
    assert "second sample" not in near.summary() + near.text()


def test_two_stores_that_agree_and_two_that_do_not(theirs):
    study = own("constant-epoch")
    mine = made("constant-epoch", None, ending=other_noise(two_regimes))
    like = Comparison.of(study, mine, theirs)
    assert words(like, "accuracy") == ["agrees"] * 22
    assert "DIFFERS" not in words(like, "rate")
    assert not like.identical
    assert len(like.verdicts) == len(findings("constant-epoch").CLAIMS)

    def shifted(config, rate):
        return two_regimes(config, rate + 3) - 1.5

    mine = made("constant-epoch", shifted)
    other = Comparison.of(study, mine, theirs)
    assert words(other, "accuracy") == ["DIFFERS"] * 22
    assert "agrees" not in words(other, "rate")
    unknown = words(other, "rate").count("undecided")
    assert unknown < 11
    said = "0 of 44 tuned learning rates and accuracies agree, "
    said += f"{unknown} cannot be told, {44 - unknown} differ" if unknown else "44 differ"
    assert other.text().endswith(said)
    assert other.summary().startswith(f"**{said}.**")
    nothing = Comparison.of(study, {}, theirs)
    assert "Nothing has been trained" in nothing.summary()
    part = dict(list(mine.items())[:100])
    assert "still missing" in Comparison.of(study, part, theirs).summary()
    assert nothing.point_table().empty
    assert nothing.verdict_table().empty
    alone = Comparison.of(study, theirs, {})
    assert alone.text().endswith("there are no committed records to compare with")


def test_fewer_seeds_never_make_two_stores_agree():
    """The same truth under the same wide noise: many seeds agree, two cannot tell."""
    spread, study = 0.4, study_of("constant-step", "digits", 15)
    theirs = filled(study, other_noise(peaked_at(6), spread, 0))
    experiment = dataclasses.replace(study.experiment, seeds={"digits": 15})
    found = {}
    for seeds in (1, 2, 15):
        mine = filled(study.with_seeds(seeds), other_noise(peaked_at(6), spread, 1))
        both = Comparison.of(Study.of(experiment, "digits", seeds), mine, theirs)
        assert (both.mine.study.seeds, both.committed.study.seeds) == (seeds, 15)
        found[seeds] = words(both, "accuracy")
        assert "DIFFERS" not in found[seeds] + words(both, "rate")
        if seeds == 2:
            told = [p.accuracy.why for p in both.points if p.accuracy.word == "undecided"]
            assert any("seeds in place of 2" in why for why in told)
            assert all(row["agree"].word != "agrees" for row in undecided(both))
    assert set(found[1]) == {"undecided"}
    assert found[2].count("agrees") <= 1
    assert found[15].count("agrees") >= 5


def undecided(both):
    rows = both.verdicts.to_dict("records")
    return [r for r in rows if "undecided" in (r["mine"].word, r["committed"].word)]


@pytest.mark.parametrize("seeds", [2, 3, 15])
def test_a_difference_at_the_margin_agrees_once_in_forty(seeds):
    rng = np.random.default_rng(seeds)
    count = 4000
    runs = rng.standard_normal((count, 2, seeds)) * 0.1
    runs[:, 0] += ACCURACY_MARGIN
    said = []
    for mine, theirs in runs:
        gap = Estimate.mean(mine) - Estimate.mean(theirs)
        said.append(agreement(gap, ACCURACY_MARGIN, "points", seeds).word)
    assert said.count("agrees") / count < 0.035
    assert said.count("DIFFERS") / count < 0.035


def test_an_agreement_is_an_interval_inside_the_margin():
    def word(low, high):
        return agreement(Interval((low + high) / 2, low, high), RATE_MARGIN, "octaves", 3).word

    assert word(-0.99, 0.99) == "agrees"
    assert word(-1.01, 0.5) == word(-0.5, 1.01) == word(-5, 5) == "undecided"
    assert word(1.01, 3) == word(-3, -1.01) == "DIFFERS"
    assert word(0.99, 3) == "undecided"
    none = agreement(Interval(0.0, math.nan, math.nan), 1.0, "octaves", 1)
    assert str(none).startswith("undecided (no interval")
    # Half 2 where 1 would do: four times the seeds.
    assert str(agreement(Interval(0, -2, 2), 1.0, "points", 3)) == (
        "undecided (about 12 seeds in place of 3)"
    )


def test_words_on_a_claim_agree_only_where_the_runs_decided_it():
    held, also = "reproduced", "reproduced at another size"
    for word in (held, also, "absent", "contradicted"):
        assert _compared(word, word) == "agrees"
    for word in ("undecided", "not tested here", "not measured"):
        assert _compared(word, word) == _compared(word, held) == "undecided"
    for word in (held, also):
        assert _compared(word, "contradicted") == _compared("contradicted", word) == "DIFFERS"
    assert _compared(held, also) == _compared(held, "absent") == "undecided"


def verdict_of(both, claim):
    statement = next(one.stated.statement for one in both.claims if one.id == claim)
    (row,) = [r for r in both.verdicts.itertuples() if r.claim == statement]
    return row


def test_opposite_verdicts_differ(theirs):
    def flat(config, rate):
        return 98 - 0.4 * (rate + 3) ** 2

    study = own("constant-epoch")
    both = Comparison.of(study, made("constant-epoch", flat), theirs)
    slope = verdict_of(both, "S20-F1c.linear-scaling.sgd")
    assert (slope.mine.word, slope.committed.word) == ("contradicted", "reproduced")
    assert slope.agree.word == "DIFFERS"
    assert f"{slope.claim}: contradicted, " in both.text()
    assert set(map(str, both.verdict_table()["do they agree"])) <= {
        *("agrees", "DIFFERS", "undecided"),
    }
    # Whichever of the two is mine.
    back = Comparison.of(study, both.committed.records, both.mine.records)
    assert verdict_of(back, "S20-F1c.linear-scaling.sgd").agree.word == "DIFFERS"


def peaked_at(best):
    def accuracy(config, rate):
        size = math.log2(config.batch_size)
        return 97 - 0.3 * (size - best) ** 2 - 0.4 * (rate - min(size - 5, 1)) ** 2

    return accuracy


def test_an_experiment_without_two_methods_is_compared_too():
    study = own("constant-step")
    mine, other = (made("constant-step", peaked_at(best)) for best in (6, 12))
    text = Comparison.of(study, mine, mine).text()
    assert "16 of 16" in text
    assert "boundary" not in text
    both = Comparison.of(study, other, mine)
    assert "DIFFERS" in words(both, "accuracy")
    table = both.point_table()
    assert list(table.columns[:2]) == ["method", "B"]
    assert list(map(str, table["accuracies"])) == [str(p.accuracy) for p in both.points]


def test_sweeps_that_one_side_alone_asks_for_are_named(theirs):
    largest = ("batch_size", 1024)

    def idle(study, records):
        """Without their records, as on the other side, the largest batches are not asked for."""
        return lambda key: records is fewer and largest in key

    experiment = dataclasses.replace(EXPERIMENTS["constant-epoch"], idle={"digits": idle})
    fewer = {run: one for run, one in theirs.items() if one.config.batch_size != 1024}
    study = Study.of(experiment, "digits", SEEDS)
    both, other_way = (Comparison.of(study, *sides) for sides in ((theirs, fewer), (fewer, theirs)))
    for found, side in ((both, "here"), (other_way, "in the committed records")):
        assert not found.identical
        assert len(found.points) == 20
        assert found.alone == {side: [(("method", m), largest) for m in ("sgd", "momentum")]}
        assert f"  asked for {side} alone: sgd batch_size=1024; " in found.text()
        assert f" Sweeps that are asked for {side} alone: 2." in found.summary()


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_recipes_that_tune_nothing_are_compared_by_their_accuracies(shift):
    study = study_of("generalization-gap", "gpu", 3)

    def ending(shift):
        return lambda config: {"test_accuracy": 90 + 0.1 * config.seed + shift}

    mine, committed = (filled(study, ending(move)) for move in (shift, 0.01))
    both = Comparison.of(study, mine, committed)
    # Seeds 0 to 2 in steps of 0.1: each mean is known to 0.1/√3.
    assert words(both, "accuracy") == ["DIFFERS" if shift else "agrees"] * 5
    said = "0 of 5 accuracies agree, 5 differ" if shift else "5 of 5 accuracies agree"
    assert both.count == said
    assert both.text().endswith(said)
    assert both.summary().startswith(f"**{said}.**")
    assert "lr*" not in both.text()
    assert "best rates" not in both.point_table()
    for point in both.points:
        x, y = point.reached
        assert (x - y).value == pytest.approx(shift - 0.01)
        assert (x - y).error == pytest.approx(0.1 * math.sqrt(2 / 3))


def test_variants_of_a_sweep_are_compared_each_with_its_own():
    def decay_costs(config, rate):
        return (98 if config.weight_decay else 90) - 0.4 * (rate + 2) ** 2

    study = own("unlimited-epochs")
    records = made("unlimited-epochs", decay_costs)
    both = Comparison.of(study, records, records)
    assert len(both.points) == len(study.experiment.sweeps["digits"]())
    assert words(both, "accuracy") == ["agrees"] * len(both.points)
    assert both.text().count("momentum weight_decay=0.0 epochs=") == len(both.points) / 2
    # A claim that has no sweeps at this scale is not compared.
    about = {claim.id for claim in both.claims if not claim.judge(both.mine).elsewhere}
    assert len(both.verdicts) == len(about) < len(both.claims)
    assert all(isinstance(verdict, Verdict) for verdict in both.verdicts.mine)
