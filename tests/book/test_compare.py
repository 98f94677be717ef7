"""Two stores that agree, and two that do not."""

from __future__ import annotations

import dataclasses
import math

import pytest
from made_up import filled, noisy, two_regimes

from sgdnoise.book.compare import Comparison
from sgdnoise.experiments import EXPERIMENTS, findings, study_of
from sgdnoise.study.study import Study

SEEDS = 5


def own(name, seeds=SEEDS):
    """An experiment whose own number of seeds is this one, as the committed side has it."""
    experiment = dataclasses.replace(EXPERIMENTS[name], seeds={"digits": seeds})
    return Study.of(experiment, "digits")


def made(name, accuracy, loss=None, seeds=SEEDS):
    return filled(study_of(name, "digits", seeds), noisy(accuracy, loss))


@pytest.fixture(scope="module")
def theirs():
    return made("constant-epoch", two_regimes)


def test_two_stores_that_agree_and_two_that_do_not(theirs):
    study = own("constant-epoch")
    same = Comparison.of(study, theirs, theirs)
    assert same.agreement == (44, 44)
    assert f"{len(theirs)} of them equal" in same.summary()
    assert same.verdicts.agree.all()
    assert len(same.verdicts) == len(findings("constant-epoch").CLAIMS)

    def shifted(config, rate):
        return two_regimes(config, rate + 2) - 1.5

    mine = made("constant-epoch", shifted)
    other = Comparison.of(study, mine, theirs)
    assert not other.points.accuracy_agrees.any()
    assert not other.points.lr_agrees.any()
    assert other.summary().startswith("**0 of 44**")
    assert other.text().endswith("0 of 44 tuned learning rates and accuracies agree")
    assert set(other.verdict_table()["mine and committed"]) <= {"agrees", "DIFFERS"}
    assert set(other.point_table()["learning rate"]) == {"DIFFERS"}
    nothing = Comparison.of(study, {}, theirs)
    assert "Nothing has been trained" in nothing.summary()
    part = dict(list(mine.items())[:100])
    assert "still missing" in Comparison.of(study, part, theirs).summary()
    assert nothing.point_table().empty
    assert nothing.verdict_table().empty
    alone = Comparison.of(study, theirs, {})
    assert alone.text().endswith("nothing is committed to compare with")


def verdict_of(both, claim):
    names = [one.id for one in both.claims]
    return both.verdicts.iloc[names.index(claim)]


def test_verdicts_differ_by_their_word_or_by_intervals_that_do_not_touch(theirs):
    def flat(config, rate):
        return 98 - 0.4 * (rate + 3) ** 2

    study = own("constant-epoch")
    both = Comparison.of(study, made("constant-epoch", flat), theirs)
    slope = verdict_of(both, "S20-F1c.linear-scaling.sgd")
    assert (slope.mine.word, slope.committed.word) == ("contradicted", "reproduced")
    assert not slope.agree
    assert "Linear scaling, SGD: contradicted, " in both.text()

    def steeper(config, rate):
        return 98 - 0.4 * (rate - 1.4 * min(math.log2(config.batch_size), 5) + 5) ** 2

    def steepest(config, rate):
        return 98 - 0.4 * (rate - 1.8 * min(math.log2(config.batch_size), 4) + 5) ** 2

    both = Comparison.of(study, made("constant-epoch", steeper), made("constant-epoch", steepest))
    slope = verdict_of(both, "S20-F1c.linear-scaling.sgd")
    assert slope.mine.word == slope.committed.word == "contradicted"
    assert slope.mine.interval[1] < slope.committed.interval[0]
    assert not slope.agree
    # Whichever of the two is mine.
    back = Comparison.of(study, both.committed.records, both.mine.records)
    assert not verdict_of(back, "S20-F1c.linear-scaling.sgd").agree


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
    assert "  The accuracy peaks inside the range: reproduced, 6 / reproduced, 6 agrees" in text
    text = Comparison.of(study, other, mine).text()
    assert "  The accuracy peaks inside the range: undecided, 10 / reproduced, 6 DIFFERS" in text


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_recipes_that_tune_nothing_are_compared_by_their_accuracies(shift):
    study = study_of("generalization-gap", "cpu", 5)

    def ending(shift):
        return lambda config: {"test_accuracy": 90 + 0.1 * config.seed + shift}

    mine, committed = (filled(study, ending(move)) for move in (shift, 0.0))
    both = Comparison.of(study, mine, committed)
    agree = 0 if shift else 5
    assert both.agreement == (agree, 5)
    assert both.text().endswith(f"{agree} of 5 accuracies agree")
    assert "lr*" not in both.text()
    # Seeds 0 to 4 in steps of 0.1: each mean is known to 0.0707, their difference to twice 0.1.
    large = verdict_of(both, "H17-T1.large-is-worse")
    for side in (large.mine, large.committed):
        assert side.effect == pytest.approx(0)
        assert side.interval == pytest.approx((-0.2, 0.2))
    assert "A large batch is worse with the small one's recipe: undecided, 0 [-0.2, 0.2]" in (
        both.text()
    )
    assert both.summary().startswith(f"**{agree} of 5** accuracies agree")


def test_a_single_seed_is_compared_by_the_others_spread(theirs):
    mine = made("constant-epoch", two_regimes, seeds=1)
    both = Comparison.of(dataclasses.replace(own("constant-epoch"), seeds=1), mine, theirs)
    assert (both.mine.study.seeds, both.committed.study.seeds) == (1, SEEDS)
    assert both.points.accuracy_agrees.mean() > 0.8
    assert both.points.error.notna().all()


def test_variants_of_a_sweep_are_compared_each_with_its_own():
    def decay_costs(config, rate):
        return (98 if config.weight_decay else 90) - 0.4 * (rate + 2) ** 2

    study = own("unlimited-epochs")
    records = made("unlimited-epochs", decay_costs)
    both = Comparison.of(study, records, records)
    assert len(both.points) == len(study.experiment.sweeps["digits"]())
    assert both.points.accuracy_agrees.all()
    assert both.text().count("momentum weight_decay=0.0 epochs=") == len(both.points) / 2
    assert both.verdicts.agree.all()
    for part in ("rate-for-test", "rate-for-loss"):
        for variant in ("plain", "no-decay"):
            one = verdict_of(both, f"S20-F2.{part}.{variant}")
            assert one.mine.effect == pytest.approx(0.0, abs=0.1)
            assert ("a slope of -0.14" in one.mine.why) == (part == "rate-for-test")
