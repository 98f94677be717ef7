"""Gradient statistics: each word of a predicate is reached, each number has another way to it."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import partial

import made_up
import numpy as np
import pytest
from made_up_gradients import G20, SIZES, Law, probe_curves
from scipy import stats

from sgdnoise.analysis import Reading
from sgdnoise.errors import InputError
from sgdnoise.experiments import study_of
from sgdnoise.experiments.gradient_statistics import (
    curvature_pictures,
    findings,
    pictures,
    sentences,
)
from sgdnoise.experiments.gradient_statistics import measured as m
from sgdnoise.experiments.gradient_statistics.grid import scaled_rate
from sgdnoise.models import build
from sgdnoise.papers.numbers import printed
from sgdnoise.records.made import record_of
from sgdnoise.training.result import Result

CLAIMS = {claim.id: claim for claim in findings.CLAIMS}
NAME = "gradient-statistics"


def accuracy(config):
    """Falls with the batch size, by half a point for every doubling beyond 64."""
    return 97 - max(0.0, math.log2(config.batch_size / 64)) / 2 + 0.01 * config.seed


def reading(law=G20, ending=accuracy, scale="digits", diverged=lambda config: False):
    study = study_of(NAME, scale)
    records = {}
    for config in study.needed({}):
        curves = {"step": [1.0, 10.0, 100.0], **probe_curves(config, law)}
        metrics = {"test_accuracy": ending(config), "train_loss": 0.1}
        done = Result(config, "done", metrics, curves)
        lost = Result(config, "diverged", {"diverged_at": 1}, {})
        records[config.id] = record_of(lost if diverged(config) else done)
    return Reading(study, records)


def word(claim, **given):
    return CLAIMS[claim].judge(reading(**given)).word


def law(**changes):
    return {"law": replace(G20, **changes)}


WORDS = {
    "G20-E4.gradient-falls-as-root": [
        ({}, "reproduced"),
        (law(floor=0.5), "contradicted"),
        (law(bend=-0.35), "contradicted"),
        (law(bend=-0.65), "contradicted"),
        (law(bend=-0.42, jitter=0.3), "undecided"),
    ],
    "G20-E4.gradient-falls-to-zero": [
        (law(floor=1e-4, finite=True, jitter=0.001), "reproduced"),
        (law(floor=0.05, finite=True), "contradicted"),
        (law(floor=0.003, finite=True, jitter=0.05), "undecided"),
    ],
    "G20-F3.first-gradient": [
        ({}, "reproduced"),
        (law(floor=0.1), "contradicted"),
        (law(bend=-0.42, jitter=0.3), "undecided"),
    ],
    "G20-E6.step-falls-as-root": [
        ({}, "reproduced"),
        (law(step=-0.2), "contradicted"),
        (law(step=-0.8), "contradicted"),
        (law(step=-0.4, jitter=0.3), "undecided"),
    ],
    "G20-F4.first-epoch-step": [
        ({}, "reproduced"),
        (law(step=0.2), "contradicted"),
        (law(step=0.0), "absent"),
        (law(step=0.0, jitter=0.4), "undecided"),
    ],
    "G20-F5.search-space": [
        ({}, "reproduced"),
        (law(step=1.5), "contradicted"),
    ],
    "G20-E8.loss-step-falls-with-batch": [
        ({}, "reproduced"),
        (law(whole=0.05), "contradicted"),
        (law(own=-0.2), "contradicted"),
        (law(own=-0.9, jitter=0.3), "undecided"),
    ],
    "G20-F7.first-epoch-loss": [
        ({}, "reproduced"),
        (law(first=0.3), "contradicted"),
        (law(first=-0.005, jitter=0.1), "absent"),
    ],
    "G20-F8.fluctuation": [
        ({}, "reproduced"),
        (law(ends=(2.0, -2.0)), "contradicted"),
        (law(ends=(-2.0, 2.0)), "contradicted"),
        (law(ends=(2.0, 0.0)), "absent"),
        (law(ends=(0.0, 0.0)), "absent"),
        (law(ends=(0.5, 0.5), jitter=0.5), "undecided"),
    ],
    "G20-F1.accuracy-falls-with-batch": [
        ({}, "reproduced"),
        ({"ending": lambda c: 97 + math.log2(c.batch_size) + 0.01 * c.seed}, "contradicted"),
        ({"ending": lambda c: 97 + 0.01 * c.seed}, "absent"),
        ({"ending": lambda c: 97 + (c.seed % 2 - 0.5) * math.log2(c.batch_size) / 20}, "absent"),
        ({"ending": lambda c: 97 + (1 - c.seed) * math.log2(c.batch_size) / 9}, "undecided"),
        ({"diverged": lambda c: c.batch_size == 1024 and c.seed == 1}, "not tested here"),
    ],
    "G20-F2.curvature-varies": [
        ({"scale": "cpu"}, "reproduced"),
        ({"scale": "cpu"} | law(spread=2.0), "contradicted"),
        ({"scale": "cpu"} | law(spread=math.log2(10), jitter=0.1), "undecided"),
        ({}, "not tested here"),
    ],
    "G20-E17.ratio-is-radius": [
        ({}, "reproduced"),
        (law(off=2.0), "contradicted"),
        (law(off=-2.0), "contradicted"),
        (law(off=1.0, jitter=0.1), "undecided"),
    ],
    "G20-E28.weights-near-minima": [
        ({}, "reproduced"),
        (law(near=0.3), "contradicted"),
        (law(near=-0.02, jitter=0.25), "absent"),
        (law(near=-0.03, jitter=0.45), "undecided"),
    ],
    "S20-E2.noise-falls-with-batch": [
        ({}, "reproduced"),
        (law(variance=-0.7), "contradicted"),
        (law(variance=-1.3), "contradicted"),
        (law(variance=-0.9, jitter=0.3), "undecided"),
    ],
    "H17-E6.covariance-falls-with-batch": [
        ({}, "reproduced"),
        (law(signal=0.3), "contradicted"),
        (law(excess=1.05), "reproduced"),
        (law(excess=1.3), "contradicted"),
        (law(excess=1.1, jitter=0.1), "undecided"),
    ],
    "H17-E7.root-scaling-keeps-covariance": [
        ({}, "reproduced"),
        (law(variance=-0.8), "contradicted"),
        (law(variance=-1.2), "contradicted"),
        (law(variance=-1.02, jitter=0.2), "undecided"),
    ],
    "H17-C2.mean-step-negligible": [
        ({}, "reproduced"),
        (law(signal=0.1), "contradicted"),
        (law(signal=0.1 / 64, jitter=0.3), "undecided"),
    ],
}
CASES = [(claim, given, said) for claim, cases in WORDS.items() for given, said in cases]


def test_every_claim_has_words():
    assert WORDS.keys() == CLAIMS.keys()


@pytest.mark.parametrize(
    ("claim", "given", "said"), CASES, ids=[f"{c}-{k}-{s}" for k, (c, _, s) in enumerate(CASES)]
)
def test_each_word_is_reached(claim, given, said):
    assert word(claim, **given) == said


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_was_not_measured_is_not_tested(claim):
    verdict = CLAIMS[claim].judge(reading(diverged=lambda config: config.seed == 2))
    assert verdict.word == "not tested here"
    assert "diverged" in verdict.why or "of 5 runs" in verdict.why


def test_a_loss_that_rises_has_no_law():
    got = reading()
    m.runs(got, "scaled", 512)[3].curves["epoch_loss"][1] = 1.2
    verdict = CLAIMS["G20-F7.first-epoch-loss"].judge(got)
    assert verdict.word == "not tested here"
    assert "at B = 512 and the scaled rate" in verdict.why
    assert verdict.why.endswith("in 1 of 5 runs.")
    (record,) = m.drawn(got)[:1]
    record.curves["whole_loss_drop/64"][0] = -0.1
    verdict = CLAIMS["G20-E8.loss-step-falls-with-batch"].judge(got)
    assert verdict.word == "not tested here"
    said = "at the start a step along a batch of 64 raises {} in 1 of 5 runs."
    assert verdict.why == said.format("the loss of all 1,024")
    record.curves["batch_loss_drop/64"][0] = -0.1
    verdict = CLAIMS["G20-E8.loss-step-falls-with-batch"].judge(got)
    assert verdict.why == said.format("the batch's own loss")


def test_a_layer_without_curvature_has_no_median():
    got = reading()
    m.measured_layers(got, 64)[1].curves["layer_radius/layers.1.bias"][1] = None
    for claim in ("G20-F2.curvature-varies", "G20-E17.ratio-is-radius"):
        verdict = CLAIMS[claim].judge(got)
        assert verdict.word == "not tested here"
        assert "no curvature" in verdict.why
    assert CLAIMS["G20-E28.weights-near-minima"].judge(got).word == "reproduced"


def test_biases_that_start_at_zero_are_no_obstacle_and_later_ones_are():
    got = reading()
    curve = m.measured_layers(got, 64)[1].curves["layer_ratio/layers.1.bias"]
    for at, said in ((0, "reproduced"), (1, "not tested here")):
        curve[at] = 0.0
        assert CLAIMS["G20-E17.ratio-is-radius"].judge(got).word == said
        # Of the radii nothing is lacking.
        assert "layers with weights" in CLAIMS["G20-F2.curvature-varies"].judge(got).why


def test_only_a_net_of_some_layers_tells_whether_layers_differ():
    claim = CLAIMS["G20-F2.curvature-varies"]
    shallow = claim.judge(reading(law=Law(spread=math.log2(6), jitter=0.0)))
    assert shallow.word == "not tested here"
    assert shallow.why == (
        "the net has 2 layers with weights, and a fair test takes 5. Here the "
        "median radii of 4 tensors differ by a factor of 6, the mean over the 3 moments looked at, "
        "1 of them in the first quarter of training."
    )
    why = claim.judge(reading(scale="cpu")).why
    assert "Widely means 10, which is this book's own bound, as G20 gives none" in why
    # One layer fewer is one too few.
    got = reading(scale="cpu")
    for record in m.measured_layers(got, m.meeting(got)):
        for name in [name for name in record.curves if name.endswith("/block.2.weight")]:
            del record.curves[name]
    assert claim.judge(got).why.startswith("the net has 4 layers with weights")


@pytest.mark.parametrize("model", ["wrn-10-1", "digits-mlp", "alexnet-cifar"])
def test_layers_with_weights_are_those_that_multiply(model):
    norm = "ghost" if model == "wrn-10-1" else None
    named = dict(build(model, norm=norm).named_parameters())
    curves = {f"batch_gradient_abs/1/{name}": [1.0] for name in named}
    record = replace(m.drawn(reading())[0], curves=curves)
    multiply = {name.removesuffix(".weight") for name, p in named.items() if p.ndim > 1}
    assert set(m.weight_layers(record)) == multiply
    assert (len(multiply) >= findings.FEWEST_LAYERS) == (model != "digits-mlp")


# --- Numbers by another route -------------------------------------------------------------------


def test_numbers_of_a_run_are_those_of_its_curves():
    got = reading(law=Law(jitter=0.0))
    (record,) = m.runs(got, "equal", 16)[:1]
    rate, updates = record.config.learning_rate, 1024 // 16
    assert m.first_step(record) == pytest.approx(16**-0.5)
    assert m.mean_step(record) == pytest.approx(16**-0.5)
    assert m.way(record) == pytest.approx(30 * updates * rate * 16**-0.5)
    assert m.first_fall(record) == pytest.approx(1e-3 / 16, rel=1e-2)
    assert m.slope_over_sizes(got, "scaled", m.mean_step).value == pytest.approx(-0.5)
    drawn = m.drawn(got)[0]
    assert m.relative_noise(drawn)[:-1] == pytest.approx(1.0)
    assert m.second_moment(drawn) == pytest.approx(1 + G20.signal)


def test_fluctuation_is_the_deviation_of_noise_about_a_straight_trend():
    got = reading()
    record = m.runs(got, "equal", 64)[0]
    rng = np.random.default_rng(1)
    noise = 0.02 * rng.standard_normal(4001)
    record.curves["epoch_loss"] = [
        *(5 + 0.3 * np.arange(4000)),
        *(3 - 1e-4 * np.arange(4001) + noise),
    ]
    assert m.fluctuation(record) == pytest.approx(0.02, rel=0.05)


def test_the_scaled_rate_goes_through_both_printed_pairs():
    small, large = (
        (printed(f"G20-{f}.batch_size").value, printed(f"G20-{f}.learning_rate").value)
        for f in ("F13", "F11")
    )
    assert scaled_rate(large[0], small[0], small[1]) == pytest.approx(large[1])
    assert scaled_rate(64, 64, 0.1) == 0.1


def test_the_rules_share_the_middle_batch_size():
    got = reading()
    assert m.meeting(got) == 64
    assert m.runs(got, "scaled", 64) == m.runs(got, "equal", 64)
    assert m.runs(got, "scaled", 4) != m.runs(got, "equal", 4)
    sizes = m.sizes(got)
    assert sizes[0] * sizes[-1] == 64**2


def test_h17s_batches_are_the_same_part_of_the_training_set():
    n = np.array(SIZES)
    share = printed("H17-protocol.large_batch").value / 50_000
    large = n[findings._h17_size(n, "large_batch")]
    assert large / 1024 <= share < 2 * large / 1024


# --- Pages --------------------------------------------------------------------------------------


def test_a_layer_that_is_none_is_refused_with_the_legal_ones():
    got = reading()
    for draw in (
        lambda: pictures.gradient_sizes(got, "conv9", 0),
        lambda: curvature_pictures.radii(got, "x"),
    ):
        with pytest.raises(
            InputError, match=r"layers\.0\.weight, layers\.0\.bias, layers\.1"
        ) as no:
            draw()
        assert "\n" not in str(no.value)


def test_a_slider_reaches_the_end_of_training_and_both_dashed_lines_have_names():
    got = reading()
    steps = [0, *map(int, m.curve(m.drawn(got)[0], "step"))]
    found = pictures.moments(got)
    assert (found[0], found[-1]) == (0, steps[-1])
    assert set(found) <= set(steps)
    fig = pictures.gradient_sizes(got, "layers.0.weight", steps[-1])
    assert [t.name for t in fig.data if t.line.dash] == ["G20's law, 1/√n", "the fitted signal a"]
    floor = np.mean([m.size_law(r, "layers.0.weight", len(steps) - 1).floor for r in m.drawn(got)])
    assert fig.data[-1].y == pytest.approx([floor] * 2)
    assert not fig.layout.shapes


def test_the_last_update_is_a_position_also_where_steps_are_left_out(monkeypatch):
    monkeypatch.setattr(m, "drawn", lambda of: [object()])
    monkeypatch.setattr(m, "curve", lambda record, name: np.arange(1.0, 14.0))
    assert pictures.moments(None) == [0, 2, 4, 6, 8, 10, 12, 13]


def test_layers_stand_in_the_nets_order_however_a_store_sorts_them():
    record = m.drawn(reading())[0]
    record = replace(record, curves=dict(sorted(record.curves.items())))
    names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    assert m.tensors(record) == names


def test_named_parts_stand_from_input_to_output():
    names = (
        "stem.weight", "blocks.0.conv1.weight", "blocks.0.norm1.weight", "blocks.0.norm1.bias",
        "blocks.1.conv1.weight", "norm.weight", "norm.bias", "head.fc.weight", "head.fc.bias",
    )  # fmt: skip
    record = m.drawn(reading())[0]
    curves = {f"batch_gradient_abs/1/{name}": [1.0] for name in sorted(names)}
    config = record.config.replace(model="wrn-10-1", dataset="cifar10-16")
    record = replace(record, curves=curves, config=config)
    assert m.tensors(record) == list(names)
    assert m.fully_connected(record) == "head.fc.weight"


def test_titles_tell_how_much_changes_from_the_smallest_batch_to_the_largest():
    got = reading()
    first, last = m.sizes(got)[0], m.sizes(got)[-1]
    for draw, what in ((pictures.ways, "the way"), (pictures.accuracies, "accuracy")):
        fig = draw(got)
        said = fig.layout.title.text
        assert said.startswith(f"From n = {first:,} to {last:,} {what} changes by ")
        for trace in (t for t in fig.data if " rate, " in t.name):
            rule = trace.name.split()[0]
            change = (
                f"{trace.y[-1] - trace.y[0]:+.1f} points"
                if what == "accuracy"
                else f"a factor of {trace.y[-1] / trace.y[0]:.2g}"
            )
            assert f"by {change} ({rule} rate)" in said


def test_the_distance_is_drawn_with_its_spread_and_told_with_its_interval():
    got = reading(law=Law(near=-0.1, jitter=0.3))
    fig = curvature_pictures.distances(got)
    mean = next(t for t in fig.data if t.name.startswith("their mean"))
    runs = [[m.last_distance(r) for r in m.measured_layers(got, n)] for n in (4, 64, 1024)]
    assert np.array(mean.y) == pytest.approx(2 ** np.mean(runs, axis=1))
    spread = 2 ** np.std(runs, axis=1, ddof=1)
    assert np.array(mean.error_y.array) == pytest.approx(mean.y * (spread - 1))
    assert np.array(mean.error_y.arrayminus) == pytest.approx(mean.y * (1 - 1 / spread))
    change = np.subtract(runs[-1], runs[0])
    half = stats.t.ppf(0.975, 4) * stats.sem(change)
    low, high = (2 ** (change.mean() + side * half) for side in (-1, 1))
    text = f"by a factor of {2 ** change.mean():.3g} [{low:.3g}, {high:.3g}]; G20's law has 0.062"
    assert fig.layout.title.text == f"From B = 4 to 1,024 the distance changes {text}"
    assert sum(t.showlegend is not False for t in fig.data) == 3
    assert "at 3 of 9 batch sizes" in fig.layout.annotations[-1].text


def test_no_mark_stands_where_the_loss_of_some_seeds_rises():
    got, base = reading(law=Law(first=-0.3)), reading(law=Law(first=-0.3))
    for seed in (0, 2, 3):
        m.runs(got, "equal", 1024)[seed].curves["epoch_loss"][1] = 1.2
    marks, before = (
        {t.name.split()[0]: t for t in pictures.first_falls(of).data if " rate, " in t.name}
        for of in (got, base)
    )
    assert math.isnan(marks["equal"].y[-1])
    assert marks["equal"].y[:-1] == before["equal"].y[:-1]
    assert marks["scaled"].y == before["scaled"].y
    fig, scaled = pictures.first_falls(got), before["scaled"].y
    assert fig.layout.title.text == (
        f"From n = 4 to 1,024 the fall of the loss changes by a factor of "
        f"{scaled[-1] / scaled[0]:.2g} (scaled rate); at n = 1,024 the loss rises in 3 of 5 seeds "
        "(equal rate)"
    )
    assert "No mark stands where the loss rises in some seeds." in fig.layout.annotations[-1].text
    assert "No mark" not in pictures.first_falls(base).layout.annotations[-1].text
    # Between the ends too, beside what changes from end to end.
    m.runs(base, "scaled", 16)[1].curves["epoch_loss"][1] = 1.2
    text = pictures.first_falls(base).layout.title.text
    assert text.endswith("(scaled rate); at n = 16 the loss rises in 1 of 5 seeds (scaled rate)")
    for rule in ("equal", "scaled"):
        m.runs(got, rule, 1024)[1].curves["epoch_loss"][1] = 1.2
    text = pictures.first_falls(got).layout.title.text
    assert text == (
        "At n = 1,024 the loss rises in 4 of 5 seeds (equal rate); at n = 1,024 the loss rises in "
        "1 of 5 seeds (scaled rate)"
    )


def test_a_layer_tells_where_its_weights_are_zero_and_what_its_band_is():
    got = reading(law=Law(off=1.0, jitter=0.0))
    name = "layers.0.bias"
    for record in m.measured_layers(got, 64):
        record.curves[f"layer_ratio/{name}"][0] = 0.0
    fig = curvature_pictures.radii(got, name)
    assert fig.layout.title.text == (
        "|w/g| over the radius: 0 at the start, as w = 0 there, 2 at the end"
    )
    other = curvature_pictures.radii(got, "layers.0.weight")
    assert other.layout.title.text == "|w/g| over the radius: 2 at the start, 2 at the end"
    (band,) = (t for t in fig.data if t.name == "radius × quartiles of |w/g|/R")
    radius = next(t for t in fig.data if t.name == f"{name}, radius R").y[0]
    assert {round(y / radius, 3) for y in band.y} == {1.0, 4.0}


def test_the_first_figure_shows_what_is_measured_and_the_law():
    got = reading(law=Law(floor=0.1, jitter=0.0))
    fig = pictures.first_gradients(got)
    measured, fitted, printed_law = fig.data[:3]
    assert np.array(measured.y) == pytest.approx(np.hypot(0.1, np.array(SIZES) ** -0.5))
    assert np.array(printed_law.y)[-1] == pytest.approx(measured.y[0] / 32)
    assert np.array(fitted.y)[3] == pytest.approx(measured.y[3], rel=0.02)
    left, law = math.hypot(0.1, 1 / 32) / math.hypot(0.1, 1), 1 / 32
    assert fig.layout.title.text == (
        f"layers.0.weight at the start: all 1,024 examples leave {left:.0%} of a single example's "
        f"|g|, G20's law {law:.0%}"
    )


def test_the_table_of_laws_reads_the_floor_and_the_crossover():
    rows = sentences.law_table(reading(law=Law(floor=0.1, jitter=0.0)))
    assert len(rows) == 4
    # Made up without a finite set: the fit puts 1/N of noise into the floor.
    assert float(rows["Signal a, initial weights"][0].split()[0]) == pytest.approx(
        math.hypot(0.1, 1 / 32), rel=0.01
    )
    assert float(rows["Noise scale b²/a², end of training"][0].split()[0]) == pytest.approx(
        1 / (0.01 + 1 / 1024), rel=0.02
    )


def test_a_signal_of_seeds_that_differ_by_factors_has_an_interval_above_zero():
    got = reading(law=Law(floor=0.1, jitter=0.0))
    for record, factor in zip(m.drawn(got), (1, 4, 1 / 4, 1, 1), strict=True):
        for n in SIZES:
            curve = record.curves[f"batch_gradient_abs/{n}/layers.0.weight"]
            curve[:] = [factor * value for value in curve]
    said = sentences.law_table(got)["Signal a, initial weights"][0]
    value, low, high = map(float, re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", said).groups())
    assert value == pytest.approx(math.hypot(0.1, 1 / 32), rel=0.01)
    assert 0 < low < value < high


def test_of_which_function_the_gradients_are_is_told_where_there_are_norms():
    assert sentences.evaluated(reading()) == ""
    said = sentences.evaluated(reading(scale="cpu"))
    assert "of the net as it is evaluated" in said
    assert "of ghosts of 16 examples" in said


def test_how_few_updates_the_largest_batch_has():
    said = sentences.fewest_updates(reading(scale="cpu"))
    got = reading(scale="cpu")
    ends = [r.metrics["test_accuracy"] for r in m.runs(got, "equal", 2048)]
    assert said == (
        "At B = 2,048 an epoch is 1 update and a run 10. At the equal rate it ends at "
        f"{np.mean(ends):.0f} % test accuracy."
    )
    assert sentences.fewest_updates(reading()).startswith("At B = 1,024 an epoch is 1 update and a")
    assert sentences.fewest_updates(reading(diverged=lambda config: True)) == ""


def test_every_figure_draws_at_every_scale_with_and_without_runs():
    draws = (
        pictures.accuracies, pictures.first_steps, pictures.first_falls, pictures.ways,
        pictures.fluctuations, curvature_pictures.distances, pictures.first_gradients,
    )  # fmt: skip
    for scale in ("digits", "cpu", "gpu"):
        for got in (reading(scale=scale), reading(scale=scale, diverged=lambda config: True)):
            for draw in draws:
                assert draw(got).layout.xaxis.title.text.startswith("batch size")
            assert pictures.training(got, m.sizes(got)[0]) is not None
            assert sentences.law_table(got) is not None


@pytest.mark.parametrize(
    ("batch", "whole", "said"),
    [
        (
            {1: 12.5, 32: 0.75, 1024: 0.25},
            {1: -3.75, 32: 0.125, 1024: 0.25},
            "lowers that example's loss by 12.5 and raises the loss of all examples by 3.75; "
            "all are divided by the learning rate. For a batch of 32 both fall, by 0.75 and 0.125. "
            "For all 1,024 examples the two are one loss, which falls by 0.25.",
        ),
        (
            {1: 12.5, 32: 0.75, 1024: -0.5},
            {1: 3.75, 32: -0.125, 1024: -0.5},
            "lowers that example's loss by 12.5 and lowers the loss of all examples by 3.75; "
            "all are divided by the learning rate. For a batch of 32 it lowers the batch's own by "
            "0.75 and raises that of all by 0.125. For all 1,024 examples the two are one loss, "
            "which rises by 0.5.",
        ),
        (
            {1: -12.5, 32: -0.75, 1024: 0.5},
            {1: -3.75, 32: -0.125, 1024: 0.5},
            "raises that example's loss by 12.5 and raises the loss of all examples by 3.75; "
            "all are divided by the learning rate. For a batch of 32 both rise, by 0.75 and 0.125. "
            "For all 1,024 examples the two are one loss, which falls by 0.5.",
        ),
    ],
)
def test_a_sentence_tells_both_losses_with_the_verb_of_their_sign(batch, whole, said):
    got = reading()
    for record in m.drawn(got):
        for of, falls in (("batch", batch), ("whole", whole)):
            for n, fall in falls.items():
                record.curves[f"{of}_loss_drop/{n}"][0] = fall
    start = "At the start, a step along a single example's gradient "
    assert sentences.losses(got) == start + said
    assert sentences.losses(reading(diverged=lambda config: True)) == ""


def test_what_batches_are_drawn_from_is_told_at_every_scale():
    parts = {"digits": "", "cpu": "the same 50 % of its 2,048", "gpu": "the same 2 % of its 50,000"}
    for scale, part in parts.items():
        got = reading(scale=scale)
        said = sentences.population(got)
        assert said.startswith("Here N is 1,024")
        assert ("the whole training set" in said) == (not part)
        assert part in said
        whys = {c: CLAIMS[c].judge(got).why for c in CLAIMS if c.startswith("H17")}
        of = "the 1,024 training examples drawn from" if part else "the training set"
        assert all(re.search(rf"H17's shares? of {of}[,.]", why) for why in whys.values())
        first = CLAIMS["G20-F3.first-gradient"].judge(got).why
        share = part.split()[2] if part else None
        assert (f"that are drawn from, {share} % of the training set;" in first) == bool(part)
        assert "to all 1,024 examples" in first
    assert sentences.population(reading(diverged=lambda config: True)) == ""


def test_how_large_the_batches_are_beside_g20s():
    said = {scale: sentences.size(reading(scale=scale)) for scale in ("digits", "cpu", "gpu")}
    for text in said.values():
        assert text.startswith("G20's batches go up to 49,152, and in its figure 3 up to 60,000. ")
    assert (
        "there are 1,024 training images, and the largest batch that trains is the whole set"
        in (said["digits"])
    )
    assert "there are 2,048 training images" in said["cpu"]
    assert "50,000 training images, and the largest batch that trains is 66 % of it" in said["gpu"]
    by_share = "matched by their share of the training set alone"
    assert [by_share in text for text in said.values()] == [True, True, False]
    limit = "Batches at equal weights go up to 1,024"
    assert [limit in text for text in said.values()] == [False, True, True]


@pytest.mark.parametrize(
    ("floors", "each", "means"),
    [
        ((0.2, 0.1, 0.05), "all 4 tensors is larger", "25 at the initial weights, 400 at the end"),
        ((0.1, 0.05, 0.2), "all 4 tensors is smaller", "100 at the initial weights, 400 after 1 "
         "update and 25 at the end"),
    ],
)  # fmt: skip
def test_which_way_the_noise_scale_goes(floors, each, means):
    got = reading()
    for record in m.drawn(got):
        for name in m.tensors(record):
            for n in SIZES:
                sizes = [math.sqrt(floors[k] ** 2 + 1 / n - 1 / 1024) for k in (0, 1, 1, 2)]
                record.curves[f"batch_gradient_abs/{n}/{name}"] = sizes
    assert sentences.noise_scales(got) == (
        f"At the end of training the noise scale of {each} than at the initial weights. Its "
        f"geometric mean over the tensors is {means}."
    )
    # One that goes the other way.
    for record in m.drawn(got):
        for n in SIZES:
            record.curves[f"batch_gradient_abs/{n}/layers.1.bias"].reverse()
    assert f"noise scale of {3 if 'larger' in each else 1} of the 4 tensors is larger" in (
        sentences.noise_scales(got)
    )
    assert sentences.noise_scales(reading(diverged=lambda config: True)) == ""


def test_what_is_left_of_the_gradient_is_told_from_the_least_tensor_to_the_most():
    got = reading(law=Law(floor=0.1, finite=True, jitter=0.0))
    for record in m.drawn(got):
        for n in SIZES:
            size = math.sqrt(0.2**2 + 1 / n - 1 / 1024)
            record.curves[f"batch_gradient_abs/{n}/layers.1.bias"][0] = size
    low, high = (a / math.sqrt(a**2 + 1 / 32 - 1 / 1024) for a in (0.1, 0.2))
    why = CLAIMS["G20-E4.gradient-falls-to-zero"].judge(got).why
    assert why.startswith(
        f"however large the batch, {low:.2f} to {high:.2f} of the mean |g| at a batch of 32 is left"
    )
    assert f"G20's law leaves {math.sqrt(32 / 60_000):.3f} at 60,000, the largest" in why


def test_the_mean_step_is_told_over_all_of_training_and_in_the_first_epoch():
    got = reading(law=Law(step=-0.5, jitter=0.0))
    for n in SIZES[2:]:
        for record in m.runs(got, "equal", n):
            stride = record.curves["epoch_stride"]
            # The first epoch's goes as n⁻⁰·²⁵, and the sum over all of training as before.
            taken = stride[0] * (1 - (n / 4) ** 0.25 / 16)
            record.curves["epoch_stride"] = [stride[0] - taken, stride[1] + taken, *stride[2:]]
    verdict = CLAIMS["G20-E6.step-falls-as-root"].judge(got)
    # G20 looks at the first epoch, so that is what decides.
    assert (verdict.word, verdict.effect) == ("contradicted", pytest.approx(-0.25))
    assert verdict.why.startswith(
        "in the first epoch, on which G20 validates the law, its slope over batches of 4 to 1,024 "
        "is -0.25 ["
    )
    assert "; over all of training it is -0.50 [" in verdict.why


@pytest.mark.parametrize(
    ("claim", "moments", "early"),
    [
        ("G20-E4.gradient-falls-as-root", 3, 2),
        ("H17-C2.mean-step-negligible", 3, 2),
        ("G20-F2.curvature-varies", 3, 1),
        ("G20-E17.ratio-is-radius", 2, 0),
    ],
)
def test_a_mean_over_moments_says_how_many_are_early(claim, moments, early):
    why = CLAIMS[claim].judge(reading()).why
    said = f"the mean over the {moments} moments looked at, {early} of them in the first quarter"
    assert said in why


def test_the_mean_step_beside_the_noise_is_told_at_the_first_moment_and_at_the_last():
    got = reading()
    for record in m.drawn(got):
        record.curves["mean_gradient_norm"] = [0.2, 0.1, 0.05]
    why = CLAIMS["H17-C2.mean-step-negligible"].judge(got).why
    first, mean, last = (64 * of for of in (0.04, (0.04 + 0.01 + 0.0025) / 3, 0.0025))
    assert why.startswith(f"squared, the mean step is {mean:.2g} times the noise at a batch of 64")
    assert f"It is {first:.2g} times the noise at the first of them and {last:.2g} times" in why


def test_the_numbers_that_the_verdict_on_fluctuation_rests_on_come_first():
    got = reading()
    why = CLAIMS["G20-F8.fluctuation"].judge(got).why
    absolute, _, relative = why.partition(" Of the loss's logarithm")
    for said, of in ((absolute, m.fluctuation), (relative, partial(m.fluctuation, relative=True))):
        numbers = [f"{one} (B = {n}" for one, n in zip(
            m.at_the_ends(got, of).values(), ("4", "1,024") * 2, strict=True
        )]  # fmt: skip
        assert len(set(numbers)) == 4
        assert all(number in said for number in numbers)


def test_how_many_updates_the_compared_runs_have_is_told():
    for scale, many, few in (("digits", 30 * 256, 30), ("cpu", 10 * 64, 10)):
        why = CLAIMS["G20-E28.weights-near-minima"].judge(reading(scale=scale)).why
        said = f"At equal epochs the runs have {many:,} and {few:,} updates: these are not equal"
        assert said in why


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"near": -0.03, "jitter": 0.45}, "has -4.0, which the interval excludes. A fall by up to"),
        ({"near": -0.545, "jitter": 0.3}, "has -4.0, which the interval holds."),
        ({"near": -0.2}, "has -4.0, which the interval excludes."),
        ({"near": 0.3}, "has -4.0, which the interval excludes."),
    ],
)
def test_what_is_known_of_the_distance_is_told_beside_the_law(changes, said):
    verdict = CLAIMS["G20-E28.weights-near-minima"].judge(reading(law=replace(G20, **changes)))
    assert said in verdict.why
    assert ("A fall by up to" in verdict.why) == ("A fall by up to" in said)
    if "A fall" in said:
        factor = 2 ** -verdict.interval[0]
        assert f"A fall by up to a factor of {factor:.2g} is not excluded." in verdict.why


def test_made_up_runs_are_those_of_the_pages():
    assert made_up.probe_curves is probe_curves
