"""S20's figure 3 on made-up records: every word of its predicates, and what each needs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from made_up import noisy, reading

from sgdnoise.analysis.intervals import quantile
from sgdnoise.analysis.regimes import line_slope
from sgdnoise.experiments.initial_final_lr import findings
from sgdnoise.figures import tuned

BUDGETS = (20.0, 80.0, 320.0)
BY = {claim.id.removeprefix("S20-F3."): claim for claim in findings.CLAIMS}
NAMES = ("starts-hotter", "ends-colder", "initial-stays", "final-falls")


def final_of(config, rate):
    return rate - 10 * math.log2(config.decay_factor)


def at(rates, config):
    return rates[BUDGETS.index(config.epochs)] if isinstance(rates, tuple) else rates


def best_at(initial, final):
    """An accuracy that is best at these two, log₂, at every budget or one each."""

    def accuracy(config, rate):
        off, end = rate - at(initial, config), final_of(config, rate) - at(final, config)
        return 98 - 0.5 * off**2 - 0.05 * end**2

    return accuracy


def loss_at(initial, final):
    """A training loss that is best there."""

    def loss(config, rate):
        off, end = rate - at(initial, config), final_of(config, rate) - at(final, config)
        return 0.1 + 0.05 * off**2 + 0.01 * end**2

    return loss


def made(test, train=(-3, -10), *, lost=lambda config, rate: False, seeds=2):
    """Initial and final rates tuned for either objective, without noise."""
    accuracy = best_at(*test)

    def or_lost(config, rate):
        return math.inf if lost(config, rate) else accuracy(config, rate)

    return reading("initial-final-lr", "digits", seeds, noisy(or_lost, loss_at(*train), 0.0))


def judged(of):
    return [BY[name].judge(of) for name in NAMES]


def words(of):
    return [verdict.word for verdict in judged(of)]


FALLING = (-8, -10, -12)
RISING = (-12, -10, -8)


def test_as_s20_has_it_all_but_a_constant_is_reproduced():
    of = made((-2, FALLING), (-4, (-4, -6, -8)))
    pairs = findings.tuned_pairs(of)
    test, train = (pairs[pairs.objective == name] for name in ("test_accuracy", "train_loss"))
    assert list(test.initial) == [-2] * 3
    assert list(test.final) == list(FALLING)
    assert list(train.initial) == [-4] * 3
    assert list(train.final) == [-4, -6, -8]
    hotter, colder, stays, falls = judged(of)
    # Three equal points of a grid tell a slope to ±0.25, no closer than S20 is taken by its word.
    assert words(of) == ["reproduced", "reproduced", "undecided", "reproduced"]
    by = "is +2 at 20 epochs, +2 at 80 epochs, +2 at 320 epochs; the mean is 2 [1, 3]."
    assert hotter.why == (
        f"log₂ of the best initial rate for the test set divided by that for the training loss {by}"
    )
    by = "is -4 at 20 epochs, -4 at 80 epochs, -4 at 320 epochs; the mean is -4 [-6, -2]."
    assert colder.why == (
        f"log₂ of the best final rate for the test set divided by that for the training loss {by}"
    )
    said = "its slope against the budget is"
    assert stays.why.startswith(
        f"{said} 0 [-0.25, 0.25], over 3 budgets, with rates tried in factors of 2. "
    )
    assert falls.why == f"{said} -1 [-1.5, -0.5], over 3 budgets, with rates tried in factors of 4."
    assert [v.effect for v in (hotter, colder, stays, falls)] == pytest.approx([2, -4, 0, -1])
    assert [v.unit for v in (hotter, colder, stays, falls)] == ["log2 ratio"] * 2 + ["slope"] * 2
    assert [v.margin for v in (hotter, colder, stays, falls)] == [1, 2, 0.2, 0.2]
    assert {v.rests_on for v in (hotter, colder, stays, falls)} == {"budgets"}
    assert findings.bounds(of) == ""


def test_the_figures_show_what_is_judged():
    of = made((-2, -12), (-4, -8))
    # Along the initial rate, at the best final one.
    for objective, peak in (("test_accuracy", -2), ("train_loss", -4)):
        for one in of.tuned(objective).values():
            assert list(one.exponents) == sorted(set(one.exponents))
            assert one.peak.value == pytest.approx(peak, abs=0.1)
    fig = findings.pair_surface(of, 20, "test_accuracy")
    assert fig.layout.title.text.startswith("20 epochs: best test accuracy 98")
    assert fig.layout.title.text.endswith("% at ε₀ 2⁻², ε<sub>f</sub> 2⁻¹²")
    drawn = findings.pairs_against_epochs(of, "final")
    # These rates are points of the grid.
    assert drawn.layout.title.text.startswith("From 20 to 320 epochs the best rate of the grid ")
    np.testing.assert_allclose(drawn.data[0].y, [2.0**-12] * 3)
    np.testing.assert_allclose(drawn.data[1].y, [2.0**-8] * 3)
    (note,) = [a.text for a in drawn.layout.annotations if a.name == "provenance"]
    assert note.endswith(
        " Bars: S20's, from the least to the largest rate of all pairs whose mean lies within one "
        "standard deviation of the best."
    )


def test_the_colours_of_accuracies_reach_three_points_below_the_best():
    of = made((-2, -12), (-4, -8))
    (accuracies,) = findings.pair_surface(of, 20, "test_accuracy").data
    best = np.nanmax(accuracies.z)
    assert np.nanmin(accuracies.z) < best - 3
    # Plotly passes over one end alone.
    assert (accuracies.zmin, accuracies.zmax) == pytest.approx((best - 3, best))
    (losses,) = findings.pair_surface(of, 20, "train_loss").data
    assert (losses.zmin, losses.zmax) == (None, None)
    # A long title beside the map leaves a narrow screen half of its width.
    titles = [trace.colorbar.title.text for trace in (accuracies, losses)]
    assert titles == ["%", "log₁₀<br>nats"]


# --- Rates that rise ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("final", "lines"),
    [
        # The grids of initial rates reach from 2⁻⁵ to 2⁻¹. Those of final rates start at 2⁻¹⁴ and
        # end at 2⁻⁶, 2⁻² and 2⁰, in steps of four: 2⁻⁵ lies between the fifth and the sixth.
        (-8, []),
        (-4, [(0.0, 3.0, 4.5, 6.0)] * 2),
        (-2, [(0.0, 4.0, 4.5, 6.5)] * 2),
    ],
)
def test_a_line_is_drawn_where_both_rates_are_the_same(final, lines):
    of = made((-3, final), (-3, final))
    fig = findings.pair_surface(of, 20, "test_accuracy")
    assert (fig.data[0].x[0], fig.data[0].x[-1]) == ("2⁻⁵", "2⁻¹")
    assert fig.data[0].y[4:6] in (("2⁻⁶",), ("2⁻⁶", "2⁻⁴"))
    assert [(at.x0, at.x1, at.y0, at.y1) for at in fig.layout.shapes] == lines
    above = "Above the dashed line the final rate is the larger one, and the rate rises."
    assert findings.how_to_read(of).endswith(f" {above}") == bool(lines)


NO_FALL = "No pair that falls lies within one standard deviation of its mean."


def test_best_pairs_whose_rate_rises_are_named():
    assert findings.rising(made((-2, -8), (-4, -8))) == ""
    # As large as the initial rate, a final one is no rise.
    assert findings.rising(made((-2, (-8, -10, -2)), (-4, -8))) == ""
    assert findings.rising(made((-2, (-8, -10, 0)), (-4, (-2, -8, -8)))) == (
        "For training loss the best pair at 20 epochs has a rate that rises, from 2⁻⁴ to 2⁻². "
        f"{NO_FALL} For test accuracy the best pair at 320 epochs has a rate that rises, from 2⁻² "
        f"to 2⁰. {NO_FALL}"
    )


@pytest.mark.parametrize(("apart", "falls"), [(0.95, False), (1.05, True)])
def test_a_rise_is_told_with_the_falls_that_are_as_good(apart, falls):
    """The least fall, from 2⁻¹ to 2⁻², costs 0.5 · 1² and 0.05 · 2²: 0.7 points."""

    def ending(config):
        rate = math.log2(config.effective_learning_rate)
        accuracy = best_at(-2, (-8, -10, 0))(config, rate) + apart * config.seed
        return {"test_accuracy": accuracy, "train_loss": loss_at(-3, -10)(config, rate)}

    # Of three runs two are kept, whose standard deviation is their distance by √2.
    said = findings.rising(reading("initial-final-lr", "digits", 3, ending))
    rises = "For test accuracy the best pair at 320 epochs has a rate that rises, from 2⁻² to 2⁰."
    fall = "Pairs that fall lie within one standard deviation of its mean."
    assert said == f"{rises} {fall if falls else NO_FALL}"


def too_large(places):
    return (
        f" In {places} no pair comes within 3 points of the best test accuracy: the largest rates "
        "tried there are too large."
    )


def steep(columns, rows, by=3.01):
    """Accuracies that fall by so much at the largest initial or final rate, at these budgets."""

    def accuracy(config, rate):
        falls = (config.epochs in columns and round(rate) == -1) + (
            config.epochs in rows and round(final_of(config, rate)) == -6
        )
        return 98 - by * falls - 0.01 * ((rate + 3) ** 2 + (final_of(config, rate) + 10) ** 2)

    return reading("initial-final-lr", "digits", 2, noisy(accuracy, loss_at(-3, -10), 0.0))


@pytest.mark.parametrize(
    ("columns", "rows", "places"),
    [
        ((), (), ""),
        (BUDGETS, BUDGETS, "the right column and in the top row at 20, 80 and 320 epochs"),
        ((80,), (20,), "the right column at 80 epochs and in the top row at 20 epochs"),
        ((20, 320), (), "the right column at 20 and 320 epochs"),
        ((), (80,), "the top row at 80 epochs"),
    ],
)
def test_where_the_largest_rates_lose_with_any_partner_is_told(columns, rows, places):
    said = findings.how_to_read(steep(columns, rows))
    assert said.endswith(too_large(places) if places else "that rate matters little.")
    # What falls short by the rest of three points is near enough.
    near = findings.how_to_read(steep(columns, rows, by=2.8))
    assert near.endswith("that rate matters little.")


def test_a_largest_rate_with_which_all_runs_diverge_is_too_large():
    of = made((-3, -10), lost=lambda config, rate: round(rate) == -1)
    assert findings.how_to_read(of).endswith(too_large("the right column at 20, 80 and 320 epochs"))
    partly = made((-3, -10), lost=lambda c, rate: round(rate) == -1 and final_of(c, rate) > -9)
    assert "too large" not in findings.how_to_read(partly)


def test_of_budgets_that_are_not_complete_nothing_is_said():
    of = steep(BUDGETS, ())
    kept = {k: r for k, r in of.records.items() if r.config.epochs != 80 or r.config.seed == 0}
    part = type(of)(of.study, kept)
    assert findings.how_to_read(part).endswith(too_large("the right column at 20 and 320 epochs"))
    nothing = type(of)(of.study, {})
    assert findings.how_to_read(nothing).endswith("that rate matters little.")
    assert findings.rising(nothing) == ""


def test_what_the_best_pairs_reach_is_drawn_against_the_budget():
    of = made((-2, (-8, -10, -12)), (-4, (-4, -6, -8)))
    kept, fresh = tuned.against(of, "epochs", "test_accuracy").data
    assert list(kept.x) == list(BUDGETS)
    np.testing.assert_allclose(kept.y, [98] * 3)
    np.testing.assert_allclose(fresh.y, [98] * 3)
    (loss,) = tuned.against(of, "epochs", "train_loss", tuned_for="train_loss").data
    np.testing.assert_allclose(loss.y, [0.1] * 3)


# --- Verdicts, again ------------------------------------------------------------------------------


def test_the_other_way_round_is_a_contradiction():
    of = made((-4, RISING), (-2, (-16, -14, -12)))
    assert words(of)[:2] == ["contradicted", "contradicted"]
    assert words(of)[3] == "contradicted"
    assert [v.effect for v in judged(of)] == pytest.approx([-2, 4, 0, 1])


def test_the_initial_and_the_final_rate_are_judged_each_by_itself():
    assert words(made((-2, -8), (-4, -12)))[:2] == ["reproduced", "contradicted"]
    assert words(made((-4, -12), (-2, -8)))[:2] == ["contradicted", "reproduced"]


def test_rates_that_are_the_same_are_no_difference():
    assert words(made((-3, -10))) == ["absent", "absent", "undecided", "undecided"]


def test_rates_a_step_apart_are_not_told_apart():
    assert words(made((-2, -12)))[:2] == ["undecided", "undecided"]
    assert words(made((-4, -8)))[:2] == ["undecided", "undecided"]


# --- Tuned rates as said --------------------------------------------------------------------------


def said(monkeypatch, of, test, train=None, budgets=BUDGETS):
    """The same reading with tuned rates as said, by which of them, for the two objectives."""

    def _of(reading, which, objective):
        rates = {"test_accuracy": test, "train_loss": train}[objective][which]
        return pd.Series(rates, index=list(budgets), dtype=float)

    monkeypatch.setattr(findings, "_of", _of)
    return of


@pytest.fixture(scope="module")
def level():
    return made((-3, -10))


SPREAD = np.array([-0.1, 0.0, 0.1])
REACH = quantile(2) * 0.1 / math.sqrt(3)
"""Half the interval of the mean of three so far apart: far less than a step of the grid."""


@pytest.mark.parametrize(
    ("judge", "which", "sign", "step"),
    [
        (findings.starts_hotter, "initial", 1, 1.0),
        (findings.ends_colder, "final", -1, 2.0),
    ],
)
@pytest.mark.parametrize(
    ("size", "spread", "word"),
    [
        # Known to a step at best, half a step in either rate.
        ("step + 0.01", SPREAD, "reproduced"),
        ("step - 0.01", SPREAD, "undecided"),
        ("-step + 0.01", SPREAD, "undecided"),
        ("-step - 0.01", SPREAD, "contradicted"),
        ("0", SPREAD, "absent"),
        ("0.01", SPREAD, "undecided"),
        # Known to 1.01 steps by their scatter.
        ("1.02 * step", 1.01 / REACH, "reproduced"),
        ("step", 1.01 / REACH, "undecided"),
        ("0", 1.01 / REACH, "undecided"),
        ("-step", 1.01 / REACH, "undecided"),
        ("-1.02 * step", 1.01 / REACH, "contradicted"),
    ],
)
def test_two_rates_are_apart_if_the_mean_over_budgets_is(
    monkeypatch, level, judge, which, sign, step, size, spread, word
):
    scatter = spread if isinstance(spread, np.ndarray) else SPREAD * spread * step
    size = eval(size, {"step": step})
    other = {"initial": "final", "final": "initial"}[which]
    train = np.array([-3.0, -7.0, -4.0])
    test = {which: train + sign * size + scatter, other: train + 50}
    of = said(monkeypatch, level, test, {which: train, other: train})
    verdict = judge(of)
    assert verdict.word == word
    assert verdict.effect == pytest.approx(sign * size)
    reach = step if isinstance(spread, np.ndarray) else spread * step * REACH
    assert verdict.interval == pytest.approx((sign * size - reach, sign * size + reach))


def slopes(value, off=0.0):
    """Three rates with a slope over the budgets and a middle one that lies off the line."""
    return np.array([-9.0, -9.0 + 2 * value + off, -9.0 + 4 * value])


def interval(value, off):
    return line_slope([math.log2(at) for at in BUDGETS], slopes(value, off).tolist())


@pytest.mark.parametrize(
    ("value", "word"),
    [
        # Steps of 4 tell a slope to ±0.5.
        (-0.51, "reproduced"),
        (-0.49, "undecided"),
        (0.49, "undecided"),
        (0.51, "contradicted"),
        (0.0, "undecided"),
    ],
)
def test_the_final_rate_falls_by_its_slope(monkeypatch, level, value, word):
    test = {"final": slopes(value), "initial": slopes(9.0)}
    verdict = findings.final_falls(said(monkeypatch, level, test, None))
    assert verdict.word == word
    assert verdict.effect == pytest.approx(value)
    assert verdict.interval == pytest.approx((value - 0.5, value + 0.5))


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.44, "undecided"), (0.46, "contradicted"), (-0.44, "undecided"), (-0.46, "contradicted")],
)
def test_the_initial_rate_stays_by_its_slope(monkeypatch, level, value, word):
    # Steps of 2 tell a slope to ±0.25.
    test = {"initial": slopes(value), "final": slopes(9.0)}
    verdict = findings.initial_stays(said(monkeypatch, level, test, None))
    assert verdict.word == word
    assert verdict.interval == pytest.approx((value - 0.25, value + 0.25))


def test_the_scatter_of_a_slope_counts_where_it_is_wider_than_the_grid(monkeypatch, level):
    for off in (0.3, -0.3):
        found = interval(-1.0, off)
        assert found.half > 0.5
        test = {"initial": slopes(-1.0, off), "final": slopes(-1.0, off)}
        for judge in (findings.final_falls, findings.initial_stays):
            verdict = judge(said(monkeypatch, level, test, None))
            assert verdict.interval == pytest.approx((found.low, found.high))
            assert verdict.word == "undecided"


LONG = tuple(10.0 * 2**k for k in range(24))
"""So many budgets that the grids' steps do not matter."""


@pytest.mark.parametrize(
    ("value", "stays", "falls"),
    [
        (0.0, "reproduced", "absent"),
        (-0.1, "reproduced", "reproduced"),
        (0.1, "reproduced", "contradicted"),
        (-0.3, "contradicted", "reproduced"),
        (0.3, "contradicted", "contradicted"),
    ],
)
def test_over_many_budgets_a_slope_is_known_well(monkeypatch, level, value, stays, falls):
    rates = value * np.arange(24.0)
    test = {"initial": rates, "final": rates}
    of = said(monkeypatch, level, test, None, LONG)
    assert findings.initial_stays(of).word == stays
    # Coarser steps: ±0.13 in place of ±0.065.
    assert findings.final_falls(of).word == (falls if abs(value) != 0.1 else "undecided")


@pytest.mark.parametrize("count", [10, 12])
def test_a_constant_rate_takes_enough_budgets_for_its_steps(monkeypatch, level, count):
    rates = np.zeros(count)
    of = said(monkeypatch, level, {"initial": rates, "final": rates}, None, LONG[:count])
    x = np.arange(count) - (count - 1) / 2
    for judge, step, word in (
        (findings.initial_stays, 1.0, "reproduced"),
        (findings.final_falls, 2.0, "absent"),
    ):
        reach = step / 2 * abs(x).sum() / (x**2).sum()
        verdict = judge(of)
        assert verdict.interval == pytest.approx((-reach, reach))
        assert verdict.word == (word if reach <= 0.2 else "undecided")


# --- What a fair test needs -----------------------------------------------------------------------


def inside(which, found, lost=0):
    diverged = f", every pair of rates diverged at {lost}" if lost else ""
    return (
        f"the best {which} rate lies inside its grid at {found} of 3 budgets{diverged}; it takes 3."
    )


FAR = -40
"""Grids grow by three steps a side at most: an optimum far beyond stays on the edge."""


@pytest.mark.parametrize(
    ("test", "train", "whys"),
    [
        # A final rate for the test set, or the loss, on the edge at one budget.
        ((-2, (-8, FAR, -8)), (-4, -8), [None, ("final", 2), None, ("final", 2)]),
        ((-2, -8), (-4, (FAR, FAR, -8)), [None, ("final", 1), None, None]),
        (((-2, -2, FAR), -8), (-4, -8), [("initial", 2), None, ("initial", 2), None]),
        ((-2, -8), ((-4, FAR, FAR), -8), [("initial", 1), None, None, None]),
        # Inside at two budgets each, and both at one.
        (((-2, -2, FAR), -8), ((FAR, -4, -4), -8), [("initial", 1), None, ("initial", 2), None]),
    ],
)
def test_each_claim_takes_the_optima_that_it_is_about(test, train, whys):
    verdicts = judged(made(test, train))
    for verdict, lacking in zip(verdicts, whys, strict=True):
        assert (verdict.word == "not tested here") == (lacking is not None)
        if lacking is not None:
            assert verdict.why == inside(*lacking)
            assert not verdict.elsewhere


def test_budgets_at_which_an_optimum_is_a_bound_are_left_out(monkeypatch, level):
    budgets = (*BUDGETS, 1280.0)
    test = {"initial": [-2, -2, np.nan, -2], "final": [-8, -10, -14, -12]}
    train = {"initial": [-4, -4, -4, -4], "final": [-6, -8, -10, -12]}
    of = said(monkeypatch, level, test, train, budgets)
    assert (
        "is +2 at 20 epochs, +2 at 80 epochs, +2 at 1280 epochs; " in findings.starts_hotter(of).why
    )
    states = level.states * 2
    of = type(level)(level.study, level.records)
    of.__dict__["states"] = states[:4]
    assert (
        "over 3 of 4 budgets, with rates tried in factors of 2." in findings.initial_stays(of).why
    )
    assert "over 4 budgets, with rates tried in factors of 4." in findings.final_falls(of).why


@pytest.mark.parametrize("number", [1, 3])
def test_where_every_pair_diverged_that_is_said(number):
    def lost(config, rate):
        return config.epochs in BUDGETS[1 : 1 + number] or number == 3

    of = made((-2, -8), (-4, -8), lost=lost)
    assert {verdict.word for verdict in judged(of)} == {"not tested here"}
    assert [verdict.why for verdict in judged(of)] == [
        inside(which, 3 - number, number) for which in ("initial", "final", "initial", "final")
    ]
    assert len(findings.tuned_pairs(of)) == 2 * (3 - number)
    assert findings.bounds(of) == ""
    for which in ("initial", "final"):
        names = [trace.name for trace in findings.pairs_against_epochs(of, which).data]
        assert {"for test accuracy", "for training loss"} <= set(names)
    title = findings.pair_surface(of, 80, "test_accuracy").layout.title.text
    assert title == "80 epochs: all diverged"


def test_rates_on_an_edge_are_said_to_be_bounds():
    said = findings.bounds(made((-2, FAR), (-4, -8)))
    assert (
        said
        == "3 of the 12 tuned rates lie on an edge of their grid: they are bounds, not estimates."
    )
    said = findings.bounds(made((FAR, -8), (FAR, FAR)))
    assert (
        said
        == "9 of the 12 tuned rates lie on an edge of their grid: they are bounds, not estimates."
    )


def test_a_loss_that_is_lost_is_enough_for_a_comparison_of_both():
    """Where the accuracies are finite: for them nothing diverged."""

    def loss(config, rate):
        return math.inf if config.epochs == 80 else loss_at(-4, -8)(config, rate)

    of = reading("initial-final-lr", "digits", 2, noisy(best_at(-2, -8), loss, 0.0))
    hotter, colder, stays, falls = judged(of)
    assert (hotter.why, colder.why) == (inside("initial", 2, 1), inside("final", 2, 1))
    assert "not tested here" not in (stays.word, falls.word)


def test_a_grid_without_any_run_has_no_line_of_equal_rates():
    assert findings._equal_rates([], []) is None
    assert findings._equal_rates([-2.0, 0.0], [-4.0, -1.0]) == (-2.0, -1.0)
