"""S20's table 1 on made-up records: what is said where a claim holds, and where it does not."""

from __future__ import annotations

import math

import pytest
from made_up import noisy, reading

from sgdnoise.experiments.constant_step import findings

SEEDS = 5
ERROR = math.sqrt(0.025 / 5) * math.sqrt(2)
"""Of a difference of two means of five seeds in steps of a tenth of a point."""


def made(accuracy, loss=None, seeds=SEEDS, spread=0.02):
    return reading("constant-step", "digits", seeds, noisy(accuracy, loss, spread))


def peaked_at(best):
    def accuracy(config, rate):
        size = math.log2(config.batch_size)
        return 97 - 0.3 * (size - best) ** 2 - 0.4 * (rate - min(size - 5, 1)) ** 2

    return accuracy


def lower_with_size(config, rate):
    return 1.0 / config.batch_size


def higher_with_size(config, rate):
    return config.batch_size / 1024


def test_the_step_budget_is_judged_both_ways():
    of = made(peaked_at(6), lower_with_size)
    inside, worse, loss = (
        judge(of)
        for judge in (findings.peaks_inside, findings.largest_is_worse, findings.loss_lower)
    )
    assert (inside.word, inside.effect) == ("reproduced", 6)
    assert "the best of 8 to 1024 is B = 64; both ends are worse" in inside.why
    assert worse.word == "reproduced"
    assert worse.effect == pytest.approx(0.3 * 4**2, abs=0.05)
    assert worse.interval[0] < worse.effect < worse.interval[1]
    assert worse.why.endswith("this is shown.")
    assert (loss.word, loss.effect) == ("reproduced", -4)
    assert loss.why == "0.000977 against 0.0156; yes."
    assert findings.reach(of).endswith(
        "0.232 at the smallest batch and 0.058 at the peak. By that, S20's peak lies within."
    )
    assert len(findings.step_budget_table(of)) == 8
    assert len(findings.printed_step_budget_table()) == 8

    of = made(peaked_at(12))
    inside, worse = findings.peaks_inside(of), findings.largest_is_worse(of)
    assert (inside.word, inside.effect) == ("undecided", 10)
    assert "is B = 1024; not shown" in inside.why
    assert (worse.word, worse.effect) == ("undecided", None)
    assert "it is the best one here, so this is not shown" in worse.why
    by = {claim.id: claim.judge(of) for claim in findings.CLAIMS}
    assert by["S20-T1.loss-lower"].word == "not tested here"
    assert [verdict.why for verdict in by.values()][:2] == [inside.why, worse.why]


def test_a_peak_at_the_smallest_batch_is_none_inside():
    of = made(peaked_at(2))
    inside = findings.peaks_inside(of)
    assert (inside.word, inside.effect) == ("undecided", 3)
    assert "is B = 8; not shown" in inside.why
    assert findings.largest_is_worse(of).word == "reproduced"


def short_at(size, errors):
    """All batch sizes alike but the best, 64, and one that falls short of it by standard errors."""

    def accuracy(config, rate):
        if config.batch_size == 64:
            off = 0.0
        else:
            off = errors * ERROR if config.batch_size == size else 1.0
        centre = min(math.log2(config.batch_size) - 5, 1)
        return 97 - 0.4 * (rate - centre) ** 2 - off + 0.1 * (config.seed % 1000 - 2)

    return accuracy


@pytest.mark.parametrize(("errors", "shown"), [(1.9, False), (2.1, True)])
@pytest.mark.parametrize("size", [8, 1024])
def test_either_end_is_worse_by_two_standard_errors_or_not(errors, shown, size):
    of = made(short_at(size, errors), spread=0.0)
    word = "reproduced" if shown else "undecided"
    assert findings.peaks_inside(of).word == word
    largest = findings.largest_is_worse(of)
    assert largest.word == (word if size == 1024 else "reproduced")
    if size == 1024:
        assert largest.effect == pytest.approx(errors * ERROR)
        assert largest.why.startswith(f"by {errors * ERROR:.2f} ± {ERROR:.2f} points")
        assert largest.why.endswith("this is shown." if shown else "this is not shown.")


def test_the_accuracies_judged_are_those_of_fresh_seeds():
    """Tuning seeds that peak elsewhere do not matter."""

    def accuracy(config, rate):
        best = 6 if config.seed >= 1000 else 12
        return peaked_at(best)(config, rate)

    assert "is B = 64; both ends" in findings.peaks_inside(made(accuracy)).why
    assert findings.largest_is_worse(made(accuracy)).word == "reproduced"


def test_the_training_loss_at_the_largest_batch_is_held_against_that_at_the_peak():
    higher = findings.loss_lower(made(peaked_at(6), higher_with_size))
    assert (higher.word, higher.effect) == ("contradicted", 4)
    assert higher.why == "1 against 0.0625; it is not."
    same = findings.loss_lower(made(peaked_at(6), lambda config, rate: 0.5))
    assert same.word == "contradicted"

    def lowest_between(config, rate):
        return {64: 0.5, 256: 0.1, 1024: 0.2}.get(config.batch_size, 1.0)

    assert findings.loss_lower(made(peaked_at(6), lowest_between)).word == "reproduced"


@pytest.mark.parametrize(
    ("loss", "reach"), [(0.623, "all of S20's range lies"), (0.1, "S20's peak lies beyond")]
)
def test_a_step_budget_says_how_far_its_runs_reach(loss, reach):
    said = findings.reach(made(peaked_at(6), lambda config, rate: loss))
    assert f"the final training loss is {loss}, in S20 0.232 at" in said
    assert reach in said


def test_the_slope_over_batch_sizes_is_said():
    def proportional(config, rate):
        return 97 - 0.4 * (rate - math.log2(config.batch_size) + 5) ** 2

    said = findings.slope(made(proportional, spread=0.0))
    assert "log-log slope 1 [1, 1] over all batch sizes" in said


def test_a_single_seed_gives_values_without_spread_and_no_verdict():
    one = made(peaked_at(6), lower_with_size, seeds=1)
    table = findings.step_budget_table(one)
    assert table["Fresh seeds (%)"].str.endswith("(one seed)").all()
    assert "nan" not in table.to_string()
    assert str(one.slope("batch_size")).endswith("no interval")
    for claim in findings.CLAIMS:
        verdict = claim.judge(one)
        assert verdict.word == "undecided"
        assert "single seed" in verdict.why
