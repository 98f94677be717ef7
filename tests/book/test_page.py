"""The experiments' pages on made-up records: what they say when a claim holds, and when not."""

from __future__ import annotations

import dataclasses
import math

import made_up
import numpy as np
import pandas as pd
import pytest

from sgdnoise import analysis
from sgdnoise.analysis import compare
from sgdnoise.book.page import Page
from sgdnoise.errors import InputError
from sgdnoise.experiments import EXPERIMENTS, FRESH_SEED
from sgdnoise.experiments.constant_epoch import findings as constant_epoch
from sgdnoise.experiments.constant_step import findings as constant_step
from sgdnoise.experiments.initial_final_lr import findings as initial_final_lr
from sgdnoise.experiments.unlimited_epochs import findings as unlimited_epochs
from sgdnoise.figures import tables
from sgdnoise.figures import tuned as figures
from sgdnoise.records.store import Store
from sgdnoise.study.plan import OBJECTIVES, outcomes

SEEDS = 5


def fill(folder, name, accuracy, loss=None, seeds=SEEDS, spread=0.02):
    """A store in which every run that the experiment asks for ended as a formula says.

    `accuracy` and `loss` are functions of (config, log₂ effective learning rate); an infinite one
    stands for a run that diverged.
    """
    rng = np.random.default_rng(0)

    def ending(config):
        rate = math.log2(config.effective_learning_rate)
        value = accuracy(config, rate) + spread * rng.standard_normal()
        return {"test_accuracy": value, "train_loss": loss(config, rate) if loss else 1.0}

    return made_up.fill(folder, EXPERIMENTS[name], "digits", seeds, ending)


def page(name, store, seeds=SEEDS):
    return Page(EXPERIMENTS[name], "digits", seeds, store)


def two_regimes(config, rate):
    """Linear scaling up to B = 32 for SGD and 256 for momentum, then a cliff and a fall."""
    knee = 5 if config.momentum == 0 else 8
    size = math.log2(config.batch_size)
    peak = min(size, knee) - 5
    if rate > peak + 2.2:
        return math.inf
    return 98 - 0.4 * (rate - peak) ** 2 - 0.5 * max(0, size - knee)


@pytest.fixture(scope="module")
def regimes_store(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("two"), "constant-epoch", two_regimes)


def test_two_regimes_are_found_where_they_are(regimes_store):
    p = page("constant-epoch", regimes_store)
    fits = p.regimes()
    assert fits["sgd"].slope.value == pytest.approx(1, abs=0.1)
    assert fits["sgd"].boundary.value == pytest.approx(32, rel=0.3)
    assert fits["momentum"].boundary.value == pytest.approx(256, rel=0.3)
    assert fits["sgd"].flat_seen
    text = constant_epoch.constant_epoch_verdicts(p.optima(), fits)
    assert "the intervals do not touch" in text
    table = constant_epoch.boundary_table(fits)
    assert list(table["boundary, S20 (its own net)"]) == [512, 512]


def test_without_two_regimes_the_page_says_so(tmp_path):
    def always_linear(config, rate):
        peak = math.log2(config.batch_size) - 5
        # Momentum stops where the first grids end, as SGD does: nothing tells the two apart.
        return 98 - 0.4 * (rate - min(peak, 2)) ** 2

    store = fill(tmp_path, "constant-epoch", always_linear)
    p = page("constant-epoch", store)
    text = constant_epoch.constant_epoch_verdicts(p.optima(), p.regimes())
    assert "this was not shown" in text

    def flat(config, rate):
        return 98 - 0.4 * (rate + 3) ** 2

    p = page("constant-epoch", fill(tmp_path / "flat", "constant-epoch", flat))
    assert "more slowly than the batch size" in constant_epoch.constant_epoch_verdicts(
        p.optima(), p.regimes()
    )


def test_every_figure_of_the_page_draws_what_it_says(regimes_store):
    p = page("constant-epoch", regimes_store)
    optima, tuned = p.optima(), p.tuned()
    frame = figures.accuracy_frame(optima, "test_accuracy")
    fig = figures.against(optima, "batch_size", "test_accuracy", p.note)
    assert list(fig.data[0].x) == [2**k for k in range(11)]
    rows = optima[optima.method == "sgd"].sort_values("batch_size")
    np.testing.assert_allclose(fig.data[0].y, rows.test_accuracy_mean)
    rates = figures.learning_rates(optima, p.regimes(), p.note)
    np.testing.assert_allclose(rates.data[0].y, 2.0**rows.exponent)
    swept = figures.sweep_at(tuned, "batch_size", 32, "test_accuracy", frame, p.note)
    runs = [t for t in swept.data if t.mode == "markers" and t.name.endswith("runs")]
    grid = tuned[(("method", "sgd"), ("batch_size", 32))].exponents
    assert len(runs[0].x) == len(grid) * SEEDS
    # Each mark leads to its own run, each optimum to its sweep.
    records = p.records
    for mark, run in zip(runs[0].y, runs[0].customdata, strict=True):
        value = records[run].metrics.get("test_accuracy")
        assert value == pytest.approx(mark) if value is not None else math.isnan(mark)
    assert list(fig.data[0].customdata) == [f"sgd-{2**k}" for k in range(11)]
    assert fig.layout.meta["records"] == "records/digits/constant-epoch.html"
    fixed = figures.at_learning_rate(tuned, -3, "test_accuracy", frame, p.note)
    assert {t.name for t in fixed.data} >= {"SGD, this rate", "SGD, tuned at each B"}
    assert "5 seeds a point, best 4 kept" in str(p.note)


def test_the_smallest_batch_is_checked_for_being_noise_dominated(tmp_path, regimes_store):
    # In `two_regimes` the temperature alone decides at small batches.
    text = constant_epoch.noise_dominated_sentence(page("constant-epoch", regimes_store).tuned())
    assert text.count("no difference shows") == 2

    def size_matters(config, rate):
        size = math.log2(config.batch_size)
        return 98 - 0.4 * (rate - (size - 5)) ** 2 - 0.5 * size

    store = fill(tmp_path, "constant-step", size_matters)
    text = constant_epoch.noise_dominated_sentence(page("constant-step", store).tuned())
    assert "-0.5" in text
    assert "they differ" in text
    assert "no difference" not in text


def test_a_single_seed_gives_values_without_spread_and_no_verdict(tmp_path):
    store = fill(tmp_path / "step", "constant-step", peaked_at(6), lower_with_size, seeds=1)
    one = page("constant-step", store, seeds=1)
    table = constant_step.step_budget_table(one.optima())
    assert table["Fresh seeds (%)"].str.endswith("(one seed)").all()
    assert "nan" not in table.to_string()
    assert "single seed" in one.judge(lambda: "a verdict").data
    assert str(analysis.log_slope(one.tuned(), "batch_size")).endswith("no interval")
    store = fill(tmp_path / "epoch", "constant-epoch", two_regimes, seeds=1)
    one = page("constant-epoch", store, seeds=1)
    regimes = one.regimes()
    assert regimes["sgd"].flat_seen
    names = [trace.name for trace in figures.learning_rates(one.optima(), regimes, one.note).data]
    assert any("boundary" in name for name in names)
    assert "nan" not in constant_epoch.boundary_table(regimes).to_string()


def test_momentum_is_compared_with_plain_sgd_at_equal_effective_rates(tmp_path, regimes_store):
    # `two_regimes` knows no momentum at small batches but through the effective learning rate.
    gaps = constant_epoch.method_gaps(page("constant-epoch", regimes_store).tuned())
    assert list(gaps.batch_size) == [2**k for k in range(11)]
    assert (gaps.gap.abs() < 4 * gaps.error)[:4].all()
    # Each run is off by 0.02 at random: the standard error of a mean gap of five seeds a side.
    scaled = gaps.error * np.sqrt(gaps.rates)
    assert scaled.mean() == pytest.approx(0.02 * math.sqrt(2 / 5), rel=0.2)
    text = constant_epoch.momentum_sentence(page("constant-epoch", regimes_store).tuned())
    assert "B = 1, momentum is" in text

    def momentum_helps(config, rate):
        size = math.log2(config.batch_size)
        return 90 - 0.4 * (rate - size + 5) ** 2 + (1.5 if config.momentum and size > 4 else 0)

    store = fill(tmp_path / "helps", "constant-epoch", momentum_helps)
    text = constant_epoch.momentum_sentence(page("constant-epoch", store).tuned())
    assert "no difference shows" in text
    assert "three standard errors is 32: +1.5" in text

    def always_helps(config, rate):
        return 90 - 0.4 * (rate + 3) ** 2 + (1.5 if config.momentum else 0)

    store = fill(tmp_path / "always", "constant-epoch", always_helps)
    text = constant_epoch.momentum_sentence(page("constant-epoch", store).tuned())
    assert "+1.5" in text
    assert "they differ" in text
    assert "no difference" not in text
    assert constant_epoch.momentum_sentence({}) == ""


def test_curves_are_told_apart_by_method_and_by_norm():
    keys = [
        (("method", "momentum"), ("norm", norm), ("epochs", epochs))
        for norm in ("ghost", "none")
        for epochs in (10, 20)
    ]
    ghost, none = figures.groups(keys, "epochs")
    assert ghost.has(keys[0])
    assert not ghost.has(keys[2])
    assert ghost.name.endswith(", with batch norm")
    assert none.name.endswith(", without batch norm")
    assert (ghost.colour, ghost.dash, ghost.symbol) != (none.colour, none.dash, none.symbol)
    # A sweep with more parts to its key is of another curve.
    (plain, decay) = figures.groups(
        [(("method", "momentum"), ("epochs", 1)), (("method", "momentum"), ("weight_decay", 0.0))],
        "epochs",
    )
    assert plain.name == "SGD with momentum 0.9"
    assert decay.name == "SGD with momentum 0.9, without weight decay"
    assert not plain.has((("method", "momentum"), ("weight_decay", 0.0), ("epochs", 1)))
    sgd, momentum = figures.groups(
        [(("method", m), ("batch_size", 1)) for m in ("momentum", "sgd")], "batch_size"
    )
    assert (sgd.name, momentum.name) == ("SGD", "SGD with momentum 0.9")


def test_a_partial_sweep_says_how_far_it_is(tmp_path, regimes_store):
    whole = regimes_store.read("digits", "constant-epoch")
    store = Store(tmp_path)
    kept = [r for r in whole.values() if r.config.seed < 3]
    store.append("digits", "constant-epoch", kept)
    p = page("constant-epoch", store)
    assert "3 of 5 seeds" in p.coverage
    assert "22 of 22 sweeps are not complete" in p.coverage
    whole = page("constant-epoch", regimes_store).coverage
    assert whole.endswith("Shown are **5 of 15 seeds**.")
    assert "complete" not in whole
    assert Page.load("constant-epoch", "digits", None, str(tmp_path)).seeds == 15


ABSURD = [0, -1, 1000, 10**400, 10**5000, math.nan, math.inf, 2.5, True, "3"]


@pytest.mark.parametrize("seeds", ABSURD, ids=range(len(ABSURD)))
def test_seeds_that_cannot_be_are_refused_and_none_is_the_default(regimes_store, seeds):
    with pytest.raises(InputError, match="seeds must be a whole number from 1 to 999") as caught:
        Page.load("constant-epoch", "digits", seeds, str(regimes_store.root))
    assert len(str(caught.value)) < 200
    assert Page.load("constant-epoch", "digits", 999, str(regimes_store.root)).seeds == 999


def test_an_empty_store_still_has_a_page(tmp_path):
    p = page("constant-epoch", Store(tmp_path))
    assert "0 of 5 seeds" in p.coverage
    assert "no runs recorded yet" in str(p.note)
    assert p.note.records is None


def test_fresh_seeds_are_not_those_of_the_tuning(regimes_store):
    records = regimes_store.read("digits", "constant-epoch")
    optima = analysis.optima(EXPERIMENTS["constant-epoch"], "digits", SEEDS, records)
    row = optima[(optima.method == "sgd") & (optima.batch_size == 1)].iloc[0]
    fresh = [
        r.metrics["test_accuracy"]
        for r in records.values()
        if r.config.seed >= FRESH_SEED and r.config.batch_size == 1 and r.config.momentum == 0
    ]
    assert len(fresh) == SEEDS
    assert row.test_accuracy_fresh == pytest.approx(np.mean(fresh))
    assert row.fresh_seeds == SEEDS
    tuning = [
        r.metrics["test_accuracy"]
        for r in records.values()
        if r.config.seed < FRESH_SEED
        and r.config.batch_size == 1
        and r.config.momentum == 0
        and math.log2(r.config.learning_rate) == row.exponent
    ]
    assert row.test_accuracy_mean == pytest.approx(np.mean(sorted(tuning)[-4:]))


def peaked_at(best):
    def accuracy(config, rate):
        size = math.log2(config.batch_size)
        return 97 - 0.3 * (size - best) ** 2 - 0.4 * (rate - min(size - 5, 1)) ** 2

    return accuracy


def lower_with_size(config, rate):
    return 1.0 / config.batch_size


def test_the_step_budget_is_judged_both_ways(tmp_path):
    p = page("constant-step", fill(tmp_path / "a", "constant-step", peaked_at(6), lower_with_size))
    slope = analysis.log_slope(p.tuned(), "batch_size")
    text = constant_step.step_budget_verdicts(p.optima(), slope)
    assert "is B = 64; both ends are worse" in text
    assert "this is shown" in text
    assert text.count("yes.") == 1
    assert text.endswith(
        "0.232 at the smallest batch and 0.058 at the peak. By that, S20's peak lies within."
    )
    assert len(constant_step.step_budget_table(p.optima())) == 8
    assert len(constant_step.printed_step_budget_table()) == 8

    p = page("constant-step", fill(tmp_path / "b", "constant-step", peaked_at(12)))
    text = constant_step.step_budget_verdicts(
        p.optima(), analysis.log_slope(p.tuned(), "batch_size")
    )
    assert "is B = 1024; not shown" in text
    assert "it is the best one here, so this is not shown" in text
    assert "lower than at the peak" not in text


@pytest.mark.parametrize(
    ("loss", "reach"), [(0.623, "all of S20's range lies"), (0.1, "S20's peak lies beyond")]
)
def test_a_step_budget_says_how_far_its_runs_reach(tmp_path, loss, reach):
    store = fill(tmp_path, "constant-step", peaked_at(6), lambda config, rate: loss)
    p = page("constant-step", store)
    text = constant_step.step_budget_verdicts(
        p.optima(), analysis.log_slope(p.tuned(), "batch_size")
    )
    assert f"the final training loss is {loss}, in S20 0.232 at" in text
    assert reach in text


@pytest.mark.parametrize("test_slope", [0.0, -4 / 7])
def test_unlimited_epochs_are_judged_both_ways(tmp_path, test_slope):
    def accuracy(config, rate):
        return 98 - 0.4 * (rate + 2 - test_slope * math.log2(config.epochs / 10)) ** 2

    def loss(config, rate):
        peak = -2 - 4 / 7 * math.log2(config.epochs / 10)
        return (1 + 0.3 * (rate - peak) ** 2) / config.epochs

    p = page("unlimited-epochs", fill(tmp_path, "unlimited-epochs", accuracy, loss))
    optima = {objective: p.optima(objective, ()) for objective in figures.PURPOSES}
    slopes = {o: analysis.log_slope(p.tuned(o, ()), "epochs") for o in figures.PURPOSES}
    assert slopes["test_accuracy"].value == pytest.approx(test_slope, abs=0.08)
    assert slopes["train_loss"].value == pytest.approx(-4 / 7, abs=0.08)
    text = unlimited_epochs.unlimited_verdicts(optima, slopes)
    assert ("the intervals do not touch" in text) == (test_slope == 0)
    assert "every doubling**: yes" in text
    # S20's own slopes, from its factors 2 and 16 over 128.
    assert "a slope of -0.14" in text
    assert "a slope of -0.57" in text
    fig = unlimited_epochs.rates_against_epochs(optima, slopes, p.note)
    assert len(fig.data[0].x) == 8
    reach = figures.against(optima["train_loss"], "epochs", "train_loss", p.note)
    np.testing.assert_allclose(reach.data[0].y, optima["train_loss"].train_loss_mean)
    frame = figures.accuracy_frame(optima["train_loss"], "train_loss")
    one = figures.sweep_at(p.tuned("train_loss"), "epochs", 40, "train_loss", frame, p.note)
    assert "40 epochs" in one.layout.title.text


@pytest.mark.parametrize("free_slope", [-4 / 7, 0.0])
def test_the_guess_about_weight_decay_is_judged_both_ways(tmp_path, free_slope):
    def loss(config, rate):
        slope = 0.0 if config.weight_decay else free_slope
        return 1 + 0.3 * (rate + 2 - slope * math.log2(config.epochs / 10)) ** 2

    store = fill(tmp_path, "unlimited-epochs", lambda c, r: 98 - 0.4 * (r + 2) ** 2, loss)
    p = page("unlimited-epochs", store)
    assert p.variants == [(), (("weight_decay", 0.0),)]
    slopes = {
        v: {o: analysis.log_slope(p.tuned(o, v), "epochs") for o in figures.PURPOSES}
        for v in p.variants
    }
    text = unlimited_epochs.weight_decay_verdict(slopes)
    assert ("**the guess is borne out**" in text) == (free_slope < 0)
    assert ("**the guess is not borne out**" in text) == (free_slope == 0)
    assert unlimited_epochs.weight_decay_verdict({(): slopes[()]}) == ""
    assert len(p.optima("train_loss", (("weight_decay", 0.0),))) == 8


def test_initial_and_final_rates_are_judged_both_ways(tmp_path):
    def final_of(config, rate):
        return rate - 10 * math.log2(config.decay_factor)

    def accuracy(config, rate):
        return 98 - 0.5 * (rate + 2) ** 2 - 0.05 * (final_of(config, rate) + 12) ** 2

    def loss(config, rate):
        return 0.1 + 0.05 * (rate + 4) ** 2 + 0.01 * (final_of(config, rate) + 8) ** 2

    p = page("initial-final-lr", fill(tmp_path / "a", "initial-final-lr", accuracy, loss))
    pairs = initial_final_lr.tuned_pairs(p.states)
    test = pairs[pairs.objective == "test_accuracy"]
    assert set(test.initial) == {-2}
    assert set(test.final) == {-12}
    train = pairs[pairs.objective == "train_loss"]
    assert set(train.initial) == {-4}
    assert set(train.final) == {-8}
    text = initial_final_lr.pair_verdicts(pairs)
    assert text.count("at 3 of 3 budgets") == 2
    assert "edge" not in text
    # Along the initial rate, at the best final one.
    for objective, peak in (("test_accuracy", -2), ("train_loss", -4)):
        for one in p.tuned(objective).values():
            assert list(one.exponents) == sorted(set(one.exponents))
            assert one.peak.value == pytest.approx(peak, abs=0.1)
    fig = initial_final_lr.pair_surface(p.states[0], "test_accuracy", p.note)
    assert "20 epochs" in fig.layout.title.text
    initial_final_lr.pairs_against_epochs(pairs, "final", p.note)

    # The other way round: the test set starts colder and ends hotter.
    p = page(
        "initial-final-lr",
        fill(
            tmp_path / "b",
            "initial-final-lr",
            lambda c, r: 98 - loss(c, r),
            lambda c, r: 100 - accuracy(c, r),
            spread=0.0,
        ),
    )
    assert (
        initial_final_lr.pair_verdicts(initial_final_lr.tuned_pairs(p.states)).count(
            "at 0 of 3 budgets"
        )
        == 2
    )


def test_two_stores_that_agree_and_two_that_do_not(tmp_path, regimes_store):
    theirs = regimes_store.read("digits", "constant-epoch")
    # 5 seeds stand for the experiment's own 15 on the committed side here.
    experiment = dataclasses.replace(EXPERIMENTS["constant-epoch"], seeds={"digits": SEEDS})

    def compared(mine):
        return compare.Comparison(experiment, "digits", SEEDS, mine, theirs)

    assert compared(theirs).agreement == (44, 44)
    assert f"{len(theirs)} of them equal" in compared(theirs).summary()

    def shifted(config, rate):
        return two_regimes(config, rate + 2) - 1.5

    mine = fill(tmp_path, "constant-epoch", shifted).read("digits", "constant-epoch")
    other = compared(mine)
    assert not other.points.accuracy_agrees.any()
    assert not other.points.lr_agrees.any()
    assert other.summary().startswith("**0 of 44**")
    assert other.text().endswith("0 of 44 tuned learning rates and accuracies agree")
    assert set(other.quantity_table()["mine and committed"]) <= {"agrees", "DIFFERS"}
    assert "Nothing has been trained" in compared({}).summary()
    assert "still missing" in compared(dict(list(mine.items())[:100])).summary()
    assert compared({}).point_table().empty


def test_an_experiment_without_two_methods_is_compared_too(tmp_path):
    store = fill(tmp_path, "constant-step", peaked_at(6), lower_with_size)
    records = store.read("digits", "constant-step")
    experiment = dataclasses.replace(EXPERIMENTS["constant-step"], seeds={"digits": SEEDS})
    text = compare.Comparison(experiment, "digits", SEEDS, records, records).text()
    assert "16 of 16" in text
    assert "boundary" not in text
    assert "batch size of the best accuracy  64 / 64 agrees (S20 2048, in its own setting" in text
    other = fill(tmp_path / "other", "constant-step", peaked_at(9), lower_with_size)
    other = other.read("digits", "constant-step")
    text = compare.Comparison(experiment, "digits", SEEDS, other, records).text()
    assert "batch size of the best accuracy  512 / 64 DIFFERS" in text


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_recipes_that_tune_nothing_are_compared_by_their_accuracies(tmp_path, shift):
    experiment, seeds = EXPERIMENTS["generalization-gap"], 5

    def ending(shift):
        return lambda config: {"test_accuracy": 90 + 0.1 * config.seed + shift}

    mine, committed = (
        made_up.fill(tmp_path / str(number), experiment, "cpu", seeds, ending(move)).read(
            "cpu", experiment.name
        )
        for number, move in enumerate((shift, 0.0))
    )
    both = compare.Comparison(experiment, "cpu", seeds, mine, committed)
    agree = 0 if shift else 5
    assert both.agreement == (agree, 5)
    assert both.text().endswith(f"{agree} of 5 accuracies agree")
    assert "lr*" not in both.text()
    # Seeds 0 to 4 in steps of 0.1: each mean is known to 0.0707, their difference to twice 0.1.
    assert "accuracy lost from SB to LB  0 [-0.2, 0.2]" in both.text()
    assert "H17 1.22" in both.text()
    assert both.summary().startswith(f"**{agree} of 5** accuracies agree")


def test_a_single_seed_is_compared_by_the_others_spread(tmp_path, regimes_store):
    experiment = dataclasses.replace(EXPERIMENTS["constant-epoch"], seeds={"digits": SEEDS})
    committed = regimes_store.read("digits", "constant-epoch")
    mine = fill(tmp_path, "constant-epoch", two_regimes, seeds=1).read("digits", "constant-epoch")
    both = compare.Comparison(experiment, "digits", 1, mine, committed)
    assert both.points.accuracy_agrees.mean() > 0.8


def test_variants_of_a_sweep_are_compared_each_with_its_own(tmp_path):
    def decay_costs(config, rate):
        return (98 if config.weight_decay else 90) - 0.4 * (rate + 2) ** 2

    store = fill(tmp_path, "unlimited-epochs", decay_costs)
    records = store.read("digits", "unlimited-epochs")
    experiment = dataclasses.replace(EXPERIMENTS["unlimited-epochs"], seeds={"digits": SEEDS})
    both = compare.Comparison(experiment, "digits", SEEDS, records, records)
    assert len(both.points) == len(experiment.sweeps["digits"]())
    assert both.points.accuracy_agrees.all()
    assert both.text().count("momentum weight_decay=0.0 epochs=") == len(both.points) / 2
    assert list(both.quantities.paper) == 2 * ["S20 -0.14"] + 2 * ["S20 -0.57"]
    assert both.quantities.agree.all()
    assert [interval.value for interval in both.quantities.mine] == pytest.approx(
        [0.0] * 4, abs=0.1
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.2, 0.1, "a slope of -0.14: the interval holds it"),
        (-0.1, 0.1, "a slope of -0.14: here it falls less, or not at all"),
        (-0.5, -0.3, "a slope of -0.14: here it falls more"),
        (math.nan, math.nan, "a slope of -0.14: there is no interval"),
    ],
)
def test_a_slope_over_epochs_is_judged_by_its_interval(low, high, verdict):
    rows = pd.DataFrame({"epochs": [10, 20], "train_loss_mean": [0.2, 0.1]})
    slopes = {
        "test_accuracy": analysis.Interval(-0.1, low, high),
        "train_loss": analysis.Interval(-0.6, -0.7, -0.55),
    }
    said = unlimited_epochs.unlimited_verdicts({"train_loss": rows}, slopes).splitlines()
    assert said[0].endswith(f"{verdict}.")
    assert said[1].endswith("a slope of -0.57: the interval holds it.")
    shown = low > -0.55
    assert said[2].endswith("the intervals do not touch." if shown else "the other one.")


def test_an_optimum_on_its_grids_edge_is_a_bound():
    said = [tables.bounded_power(-1, bound) for bound in (-1, 0, 1)]
    assert said == ["2⁻¹ or less", "2⁻¹", "2⁻¹ or more"]


def test_an_interval_that_could_not_be_had_says_so():
    nan = math.nan
    assert str(analysis.Interval(nan, nan, nan)) == "no fit"
    assert str(analysis.Interval(1.5, nan, nan)) == "1.5, no interval"
    assert str(analysis.Interval(1.5, 1.0, 2.0)) == "1.5 [1, 2]"


def test_outcomes_count_diverged_runs_and_leave_out_failed_ones(regimes_store):
    records = regimes_store.read("digits", "constant-epoch")
    known = outcomes(records, OBJECTIVES)
    diverged = [r for r, record in records.items() if record.status == "diverged"]
    assert diverged
    assert all(math.isnan(known[run]["test_accuracy"]) for run in diverged)
