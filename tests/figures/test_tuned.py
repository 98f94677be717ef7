"""Figures of tuned learning rates draw what the records say, and lead to them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from made_up import noisy, reading, regimes, two_regimes

from sgdnoise import analysis
from sgdnoise.analysis import Interval, Reading
from sgdnoise.experiments import study_of
from sgdnoise.figures import machine, tables, titles
from sgdnoise.figures import tuned as figures
from sgdnoise.study.protocol import TEST_ACCURACY, TRAIN_LOSS
from sgdnoise.study.scales import METHODS, NAMES

SEEDS = 5


@pytest.fixture(scope="module")
def two():
    return reading("constant-epoch", "digits", SEEDS, noisy(two_regimes))


def test_every_figure_of_the_page_draws_what_it_says(two):
    optima, tuned = two.optima(), two.tuned()
    fig = figures.against(two, "batch_size")
    assert list(fig.data[0].x) == [2**k for k in range(11)]
    rows = optima[optima.method == "sgd"].sort_values("batch_size")
    np.testing.assert_allclose(fig.data[0].y, rows.test_accuracy_mean)
    np.testing.assert_allclose(fig.data[0].error_y.array, rows.test_accuracy_std)
    np.testing.assert_allclose(fig.data[1].y, rows.test_accuracy_fresh)
    loss = figures.against(two, "batch_size", "train_loss")
    np.testing.assert_allclose(loss.data[0].y, rows.train_loss_mean)
    rates = figures.learning_rates(two)
    np.testing.assert_allclose(rates.data[0].y, 2.0**rows.exponent)
    swept = figures.sweep_at(two, "batch_size", 32)
    runs = [t for t in swept.data if t.mode == "markers" and t.name.endswith("runs")]
    grid = tuned[(("method", "sgd"), ("batch_size", 32))].exponents
    assert len(runs[0].x) == len(grid) * SEEDS
    # Each mark leads to its own run, each optimum to its sweep.
    for mark, run in zip(runs[0].y, runs[0].customdata, strict=True):
        value = two.records[run].metrics.get("test_accuracy")
        assert value == pytest.approx(mark) if value is not None else math.isnan(mark)
    assert list(fig.data[0].customdata) == [f"sgd-{2**k}" for k in range(11)]
    assert fig.layout.meta["records"] == "records/digits/constant-epoch.html"
    fixed = figures.at_learning_rate(two, -3)
    assert {t.name for t in fixed.data} >= {"SGD, this rate", "SGD, tuned at each B"}
    assert "5 seeds a point, best 4 kept" in figures.provenance_line(two)
    ends = [f"up to B = {two.regimes[m].boundary.value:.0f} ({NAMES[m]})" for m in METHODS]
    assert rates.layout.title.text == f"The line through the tuned rates rises {', '.join(ends)}"
    (note,) = [a.text for a in fig.layout.annotations if a.name == "provenance"]
    assert note == f"{figures.provenance_line(two)} Bars: standard deviations over runs."
    (note,) = [a.text for a in rates.layout.annotations if a.name == "provenance"]
    assert note == f"{figures.provenance_line(two)} {figures.RATES_NOTE}"


def test_a_bend_that_no_bend_fits_as_well_is_said_to_be_there_or_further(two):
    def titled(**told):
        part = dataclasses.replace(two)
        part.__dict__["regimes"] = dict.fromkeys(METHODS, regimes(**told))
        fig = figures.learning_rates(part)
        return fig.layout.title.text.partition(" (")[0], fig.data[2].name

    open_above = Interval(84.4, 30.9, math.inf)
    assert titled(boundary=84.4)[0].endswith(" up to B = 84")
    title, line = titled(boundary=open_above)
    assert title.endswith(" up to B = 84 or further")
    assert line.endswith("boundary 84 or further")
    title, line = titled(boundary=open_above, bends=False)
    assert title.endswith(" up to the largest batch")
    assert line.endswith("no flat part seen")


def test_the_line_under_a_figure_tells_of_its_own_runs_alone(two):
    small = two.part(lambda key: dict(key)["batch_size"] <= 32)
    runs = {record.id for record in small.runs}
    assert 0 < len(runs) < len(two.runs)
    dated = {
        run: dataclasses.replace(
            record,
            provenance={**record.provenance, "date": "2026-01-01" if run in runs else "2026-02-02"},
        )
        for run, record in two.records.items()
    }
    part = dataclasses.replace(two, records=dated).part(lambda key: dict(key)["batch_size"] <= 32)
    line = figures.provenance_line(part)
    assert f": {len(runs)} runs, " in line
    assert line.endswith("; 2026-01-01.")


def test_the_line_under_a_figure_counts_the_seeds_that_are_there(two):
    state = two.states[0]

    def seeds(lost):
        gone = {state.sweep.config(point, seed).id for point, seed in lost}
        there = {run: record for run, record in two.records.items() if run not in gone}
        line = figures.provenance_line(Reading(two.study, there))
        return line.partition(" a point")[0].rpartition(", ")[2]

    first, second, *_ = state.points
    assert seeds([]) == "5 seeds"
    assert seeds([(first, 4)]) == "4 to 5 seeds"
    assert seeds([(first, 4), (second, 0), (second, 1), (second, 2)]) == "2 to 5 seeds"
    # A point of which nothing is recorded is not drawn.
    assert seeds([(first, seed) for seed in range(SEEDS)]) == "5 seeds"


def test_positions_of_sliders_are_those_at_which_something_is_measured(two):
    assert figures.measured_at(two, "batch_size") == [2**k for k in range(11)]
    rates = figures.measured_rates(two)
    assert rates == [e for e in figures.common_exponents(two.tuned()) if e in set(rates)]
    assert -3 in rates
    nothing = Reading(two.study, {})
    assert figures.measured_at(nothing, "batch_size") == []
    assert figures.measured_rates(nothing) == []


def test_frames_leave_room_below_the_tuned_values_and_above_a_loss(two):
    values = two.optima().test_accuracy_mean
    low, high = figures.frame_of(two, "test_accuracy")
    spread = values.max() - values.min()
    assert (low, high) == pytest.approx((values.min() - spread, values.max() + 0.25 * spread))

    def accuracy(config, rate):
        return 98 - 0.4 * (rate + 2) ** 2

    # Every loss is 1 here.
    losses = reading("unlimited-epochs", "digits", 2, noisy(accuracy))
    assert figures.frame_of(losses, "train_loss") == pytest.approx((0.5, 20))


@pytest.mark.parametrize(
    ("objective", "word", "pick"),
    [("test_accuracy", "best", "idxmax"), ("train_loss", "lowest", "idxmin")],
)
def test_a_title_says_where_each_curve_is_best(two, objective, word, pick):
    optima, unit = two.optima(), two.objective(objective).unit
    mean, fresh = f"{objective}_mean", f"{objective}_fresh"
    best = {m: getattr(optima[optima.method == m][mean], pick)() for m in METHODS}

    def titled(**told):
        part = dataclasses.replace(two)
        rows = optima.assign(**told)
        object.__setattr__(part, "optima", lambda *_: rows)
        return figures.against(part, "batch_size", objective).layout.title.text

    def first(value, by=""):
        return "; ".join(
            f"{NAMES[m]} {word} at B = {optima.batch_size[best[m]]}, "
            f"{value[best[m]]:.3g} {unit}{by}"
            for m in METHODS
        )

    # Fresh seeds that agree give the value, and others do not.
    agreed = optima[mean] - 7
    assert titled(**{fresh: agreed}) == first(agreed, " by fresh seeds")
    assert titled(**{fresh: agreed.where(optima.index > 0)}).startswith(
        f"SGD {word} at B = {optima.batch_size[best['sgd']]}, {optima[mean][best['sgd']]:.3g} "
        f"{unit}; "
    )
    assert titled(**{fresh: np.nan}) == first(optima[mean])
    # Fresh seeds by which another batch size is the best one of plain SGD.
    other = optima[(optima.method == "sgd") & (optima.batch_size == 512)].index[0]
    higher = 1 if word == "best" else -1
    changed = agreed.where(optima.index != other, agreed + higher * 1000)
    assert titled(**{fresh: changed}).startswith(
        f"SGD {word} at B = {optima.batch_size[best['sgd']]} by the tuning's seeds, at B = 512 by "
        f"fresh ones; "
    )
    nothing = figures.against(Reading(two.study, {}), "batch_size", objective)
    assert nothing.layout.title.text is None


def range_of(**curves):
    """The title of curves over batch sizes: what fresh seeds and the tuning's reached, by size."""

    def rows(by_size):
        found = [(size, *reached) for size, reached in by_size.items()]
        columns = ["batch_size", "test_accuracy_fresh", "test_accuracy_mean"]
        table = pd.DataFrame(found, columns=columns)
        return table.assign(train_loss_fresh=table.iloc[:, 1], train_loss_mean=table.iloc[:, 2])

    tables = {name: rows(by_size) for name, by_size in curves.items()}
    return [titles.best_of_each(tables, "batch_size", of) for of in (TEST_ACCURACY, TRAIN_LOSS)]


THREE = {
    "a": {32: (90.0, 1.0), 64: (50.0, 2.0), 1024: (80.0, 3.0)},
    "b": {32: (91.5, 1.5), 64: (70.0, 3.0), 1024: (60.0, 6.0)},
    "c": {32: (90.5, 2.0), 64: (60.0, 4.0), 1024: (40.0, 3.0)},
}


def but(nan, *sizes, **more):
    """`THREE` less what fresh seeds reached with one curve, at some sizes or at all."""
    sizes = sizes or (32, 64, 1024)
    gone = {size: (np.nan, THREE[nan][size][1]) for size in sizes}
    return {**THREE, nan: {**THREE[nan], **gone}, **more}


def test_of_three_curves_it_is_told_how_they_change_and_none_is_named():
    to = "From B = {} to B = 1,024, by fresh seeds: {}, by curve"
    points, factor = range_of(**THREE)
    assert points == to.format(32, "-50.5 to -10.0 points")
    assert factor == to.format(32, "0.44 to 0.89 times")
    # The ends are those that all curves have, and a curve without fresh seeds has none.
    assert range_of(**but("b", 32))[0] == to.format(64, "-20.0 to +30.0 points")
    assert range_of(**but("b"))[0] == to.format(32, "-50.5 to -10.0 points")
    # A single one that they have in common tells of no change.
    by_tuning = "From B = 32 to B = 1,024: +1.0 to +4.5 points, by curve"
    assert range_of(**but("b", 32, 64))[0] == by_tuning


def test_where_fresh_seeds_tell_no_change_the_tunings_do():
    none = {
        name: {at: (np.nan, mean) for at, (_, mean) in of.items()} for name, of in THREE.items()
    }
    for curves in (none, {**none, "a": THREE["a"]}):
        points, factor = range_of(**curves)
        assert points == "From B = 32 to B = 1,024: +1.0 to +4.5 points, by curve"
        assert factor == "From B = 32 to B = 1,024: 1.5 to 4 times, by curve"
    # Curves that have no batch size in common.
    apart = {f"{at}": {at: (90.0, 90.0)} for at in (32, 64, 128)}
    assert range_of(**apart) == [None, None]


def test_a_sweeps_title_counts_the_runs_outside_of_its_frame(two, monkeypatch):
    one = two.tuned()[(("method", "sgd"), ("batch_size", 32))]
    lowest = np.sort(one.table[np.isfinite(one.table)])
    part = two.part(lambda key: key == (("method", "sgd"), ("batch_size", 32)))
    for count, said in ((0, "0 runs lie"), (1, "1 run lies"), (2, "2 runs lie")):
        low = (lowest[count - 1] + lowest[count]) / 2 if count else lowest[0] - 1
        monkeypatch.setattr(figures, "frame_of", lambda *_, low=low: (low, 1000.0))
        title = figures.sweep_at(part, "batch_size", 32).layout.title.text
        assert title.startswith(f"B = 32: {said} outside of this frame, ")


def test_a_sweeps_frame_holds_every_rate_that_was_tried(two):
    for size in (1, 1024):
        fig = figures.sweep_at(two, "batch_size", size)
        low, high = (10**end for end in fig.layout.xaxis.range)
        every = np.concatenate([one.exponents for one in two.tuned().values()])
        assert low < 2 ** every.min() < 2 ** every.max() < high
        # A rate that one sweep alone tried is no less drawn for that.
        part = two.part(lambda key, size=size: dict(key)["batch_size"] == size)
        alone = figures.sweep_at(
            part.part(lambda key: dict(key)["method"] == "sgd"), "batch_size", size
        )
        (runs,) = (trace for trace in alone.data if trace.name.endswith("runs"))
        low, high = (10**end for end in alone.layout.xaxis.range)
        assert low < min(runs.x) < max(runs.x) < high


def test_a_rate_at_which_all_lies_below_the_frame_is_no_position(two, monkeypatch):
    rates = figures.measured_rates(two)
    _, high = figures.frame_of(two, "test_accuracy")
    tuned = two.tuned().values()
    best = {
        rate: max(
            analysis.best_means(one.table, one.objective, one.state.sweep.best)[at]
            for one in tuned
            for at in np.flatnonzero(one.exponents == rate)
        )
        for rate in rates
    }
    worst = min(best, key=best.__getitem__)
    monkeypatch.setattr(figures, "frame_of", lambda *_: (best[worst] + 1e-9, high))
    assert worst not in figures.measured_rates(two)
    monkeypatch.setattr(figures, "frame_of", lambda *_: (best[worst], high))
    assert figures.measured_rates(two) == rates


def test_hollow_marks_stand_only_at_the_rate_that_fresh_seeds_have():
    of = reading("unlimited-epochs", "digits", SEEDS, noisy(lambda *_: 2.0))
    optima = of.optima("train_loss")
    fig = figures.against(of, "epochs", "train_loss", tuned_for="train_loss")
    assert not any("fresh" in trace.name for trace in fig.data)
    assert "fresh" not in (fig.layout.title.text or "")
    assert np.isfinite(optima.train_loss_fresh).any()
    (note,) = [a.text for a in fig.layout.annotations if a.name == "provenance"]
    assert note.endswith(" Rates tuned for training loss: no fresh seeds run at these.")
    same = figures.against(of, "epochs", "train_loss")
    assert any("fresh" in trace.name for trace in same.data)


def test_changes_are_told_as_factors_from_first_to_last():
    told = titles.changes({"a": (2.0, 1.0), "b": (1.0, 30.0), "c": (-1.0, 2.0), "d": (1, np.nan)})
    assert told == (
        "by a factor of 0.5 (a), by a factor of 30 (b), from -1 to 2 (c), by an unknown amount (d)"
    )
    rows = pd.DataFrame({"epochs": [40.0, 10.0, 20.0], "peak": [0.0, -3.0, np.nan]})
    said = titles.rates_change({"for one": rows, "for part": rows[:1]}, "peak")
    assert said == (
        "From 10 to 40 epochs the best rate of the grid changes by a factor of 8 (for one), "
        "by an unknown amount (for part)"
    )
    said = titles.rates_change({"for one": rows}, "peak", "the rate between")
    assert said == "From 10 to 40 epochs the rate between changes by a factor of 8 (for one)"
    assert titles.rates_change({"for none": rows[:1]}, "peak") is None
    for name, inner, edge in (("bound", [0, 0, 1], ""), ("peak_bound", [1, 0, 0], ", on an edge")):
        said = titles.rates_change({"for one": rows.assign(**{name: inner})}, "peak")
        assert said.endswith(f"a factor of 8 (for one{edge}{' of its grid' if edge else ''})")


def test_the_least_and_the_steepest_curve_are_told():
    fig = go.Figure()
    for name, y in {"a": (1, 2), "b": (2, 10), "c": (3, 1.5), "d": (7,)}.items():
        fig.add_scatter(x=[1] * len(y), y=list(y), name=name)
    said = titles.over_first_to_last(fig)
    assert said == "by factors of 0.5 (c) to 5 (b) from the smallest batch to the largest"
    assert titles.over_first_to_last(go.Figure()) == "by an unknown factor"


def test_mine_stand_as_marks_over_the_committed_bands(two):
    fig = machine.side_by_side(two, two)
    names = [trace.name for trace in fig.data]
    assert "SGD, committed (95 %)" in names
    marks = fig.data[names.index("SGD, this machine")]
    rows = two.optima()
    np.testing.assert_allclose(marks.y, 2.0 ** rows[rows.method == "sgd"].peak)
    assert fig.layout.title.text.startswith(f"{len(rows)} of {len(rows)} rates tuned on this")
    higher = Reading(two.study, {})
    object.__setattr__(higher, "optima", lambda: rows.assign(peak=rows.peak + 9))
    object.__setattr__(higher, "records", two.records)
    assert machine.side_by_side(higher, two).layout.title.text.startswith(f"0 of {len(rows)}")
    empty = machine.side_by_side(Reading(two.study, {}), two)
    assert not any("this machine" in trace.name for trace in empty.data)


def test_curves_are_told_apart_by_method_and_by_norm():
    keys = [
        (("method", "momentum"), ("norm", norm), ("epochs", epochs))
        for norm in ("ghost", "none")
        for epochs in (10, 20)
    ]
    ghost, none = figures.groups(keys, "epochs")
    assert ghost.has(keys[0])
    assert not ghost.has(keys[2])
    # The method, which both share, is left out.
    assert ghost.name == "with batch norm"
    assert none.name == "without batch norm"
    both = [*keys, (("method", "sgd"), ("norm", "ghost"), ("epochs", 10))]
    assert [one.name for one in figures.groups(both, "epochs")] == [
        "SGD, with batch norm",
        "SGD with momentum 0.9, with batch norm",
        "SGD with momentum 0.9, without batch norm",
    ]
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


def test_an_optimum_on_its_grids_edge_is_a_bound():
    said = [tables.bounded_power(-1, bound) for bound in (-1, 0, 1)]
    assert said == ["2⁻¹ or less", "2⁻¹", "2⁻¹ or more"]


def test_without_records_a_figures_source_leads_nowhere():
    nothing = Reading(study_of("constant-epoch", "digits"), {})
    assert figures.source(nothing).records is None
    assert "no runs recorded yet" in str(figures.source(nothing))
