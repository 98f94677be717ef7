"""S20's figure 3 on made-up records: what is said where a claim holds, and where it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_up import noisy, reading

from sgdnoise.experiments.initial_final_lr import findings

SEEDS = 5


def final_of(config, rate):
    return rate - 10 * math.log2(config.decay_factor)


def best_at(initial, final):
    """An accuracy that is best at these two, log₂, at every budget or by budget."""

    def accuracy(config, rate):
        first = initial(config.epochs) if callable(initial) else initial
        last = final(config.epochs) if callable(final) else final
        return 98 - 0.5 * (rate - first) ** 2 - 0.05 * (final_of(config, rate) - last) ** 2

    return accuracy


def loss_at(initial, final):
    def loss(config, rate):
        return 0.1 + 0.05 * (rate - initial) ** 2 + 0.01 * (final_of(config, rate) - final) ** 2

    return loss


def made(accuracy, loss, spread=0.02):
    return reading("initial-final-lr", "digits", SEEDS, noisy(accuracy, loss, spread))


def verdicts(of):
    judges = (findings.starts_hotter, findings.ends_colder, findings.initial_stays)
    return [judge(of) for judge in judges]


def words(of):
    return [verdict.word for verdict in verdicts(of)]


def test_initial_and_final_rates_are_judged_both_ways():
    of = made(best_at(-2, -12), loss_at(-4, -8))
    pairs = findings.tuned_pairs(of)
    test = pairs[pairs.objective == "test_accuracy"]
    assert set(test.initial) == {-2}
    assert set(test.final) == {-12}
    train = pairs[pairs.objective == "train_loss"]
    assert set(train.initial) == {-4}
    assert set(train.final) == {-8}
    hotter, colder, stays = (
        judge(of)
        for judge in (findings.starts_hotter, findings.ends_colder, findings.initial_stays)
    )
    assert hotter.why == (
        "Its initial learning rate is the larger one, or equal, at 3 of 3 budgets."
    )
    assert colder.why == (
        "Its final learning rate is the smaller one, or equal, at 3 of 3 budgets."
    )
    assert stays.why == "Here it is 2⁻², 2⁻², 2⁻² at 20, 80, 320 epochs, the same at all."
    assert [v.word for v in (hotter, colder, stays)] == ["reproduced"] * 3
    assert [v.effect for v in (hotter, colder, stays)] == [3, 3, 0]
    assert findings.bounds(of) == ""
    # Along the initial rate, at the best final one.
    for objective, peak in (("test_accuracy", -2), ("train_loss", -4)):
        for one in of.tuned(objective).values():
            assert list(one.exponents) == sorted(set(one.exponents))
            assert one.peak.value == pytest.approx(peak, abs=0.1)
    fig = findings.pair_surface(of, 20, "test_accuracy")
    assert fig.layout.title.text.startswith("20 epochs: best 97.9")
    assert fig.layout.title.text.endswith("% at ε₀ 2⁻², ε_f 2⁻¹²")
    drawn = findings.pairs_against_epochs(of, "final")
    np.testing.assert_allclose(drawn.data[0].y, [2.0**-12] * 3)
    np.testing.assert_allclose(drawn.data[1].y, [2.0**-8] * 3)


def test_the_other_way_round_is_a_contradiction():
    # The test set starts colder and ends hotter.
    of = made(best_at(-4, -8), loss_at(-2, -12))
    assert words(of) == ["contradicted", "contradicted", "reproduced"]
    assert findings.starts_hotter(of).why.endswith("at 0 of 3 budgets.")
    assert findings.ends_colder(of).why.endswith("at 0 of 3 budgets.")
    assert findings.starts_hotter(of).effect == 0


def test_the_initial_and_the_final_rate_are_judged_each_by_itself():
    assert words(made(best_at(-2, -8), loss_at(-4, -12)))[:2] == ["reproduced", "contradicted"]
    assert words(made(best_at(-4, -12), loss_at(-2, -8)))[:2] == ["contradicted", "reproduced"]


def test_equal_rates_count_as_s20_has_it():
    assert words(made(best_at(-3, -10), loss_at(-3, -10), 0.0)) == ["reproduced"] * 3


def test_at_some_budgets_is_undecided():
    initial = {20.0: -2, 80.0: -2, 320.0: -4}
    final = {20.0: -12, 80.0: -8, 320.0: -8}
    of = made(best_at(initial.get, final.get), loss_at(-3, -10))
    assert words(of) == ["undecided"] * 3
    hotter, colder, stays = (
        judge(of)
        for judge in (findings.starts_hotter, findings.ends_colder, findings.initial_stays)
    )
    assert (hotter.effect, colder.effect, stays.effect) == (2, 1, 2)
    assert stays.why == "Here it is 2⁻², 2⁻², 2⁻⁴ at 20, 80, 320 epochs."


def test_it_is_the_rate_for_the_test_set_that_stays():
    def loss(config, rate):
        return loss_at({20.0: -2, 80.0: -3, 320.0: -4}[config.epochs], -10)(config, rate)

    assert findings.initial_stays(made(best_at(-3, -10), loss)).word == "reproduced"


def test_rates_on_an_edge_are_said_to_be_bounds():
    # Grids grow by three steps a side at most: an optimum far beyond stays on the edge.
    said = findings.bounds(made(best_at(-2, -40), loss_at(-4, -8), 0.0))
    assert said == "3 of the 12 tuned rates lie on an edge of their grid: bounds, no estimates."


def test_each_claim_is_judged_by_its_own_predicate():
    of = made(best_at(-2, -8), loss_at(-4, -12))
    by = {claim.id: claim.judge(of).why for claim in findings.CLAIMS}
    assert by == {
        "S20-F3.starts-hotter": findings.starts_hotter(of).why,
        "S20-F3.ends-colder": findings.ends_colder(of).why,
        "S20-F3.initial-stays": findings.initial_stays(of).why,
    }


def test_a_budget_at_which_everything_diverged_leaves_no_fair_test():
    def lost_at_80(config, rate):
        return math.inf if config.epochs == 80 else best_at(-2, -12)(config, rate)

    for accuracy, count in ((lost_at_80, 4), (lambda config, rate: math.inf, 0)):
        of = made(accuracy, loss_at(-4, -8))
        assert len(findings.tuned_pairs(of)) == count
        assert findings.bounds(of) == ""
        for claim in findings.CLAIMS:
            verdict = claim.judge(of)
            assert verdict.word == "not tested here"
            assert verdict.why == "at some budget every pair of rates diverged."
