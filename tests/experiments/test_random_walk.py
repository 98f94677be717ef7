"""H17's random walk on made-up curves: every word of its predicates, and what each needs."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.analysis.intervals import quantile
from sgdnoise.experiments import study_of
from sgdnoise.experiments.random_walk import curves, figures, findings, sentences, walk
from sgdnoise.experiments.random_walk.grid import random_walk
from sgdnoise.records.made import record_of
from sgdnoise.study.grid import advance
from sgdnoise.theory import growth
from sgdnoise.theory import random_walk as walks
from sgdnoise.training.result import Result

BY = {claim.id: claim for claim in findings.CLAIMS}
SIZES = (8, 16, 32, 64, 128, 256, 512)
N = 1024


def as_log(config, t, rng):
    """A line in log t, of the same slope at every batch size."""
    return 1 + np.log(t)


def made(
    law=as_log,
    *,
    spread=0.01,
    accuracy=lambda config: 95.0,
    power=1.0,
    drawn=0.005,
    lost=lambda config: False,
    scale="digits",
    seeds=8,
    points=14,
    without=(),
):
    """A complete reading whose curves, ends, draws and accuracies are as said.

    Args:
        law: distance of a config at times t.
        spread: of the distances, and of the accuracies in points.
        accuracy: by config.
        power: of distance, with which the loss's change about the start grows.
        drawn: by how much that power differs from seed to seed.
        lost: whether a run diverges.
        points: along a curve.
        without: names of curves and metrics that no record has.
    """
    study = study_of("random-walk", scale, seeds)
    records = {}
    for config in study.needed({}):
        rng = np.random.default_rng([config.seed, config.batch_size, round(config.epochs)])
        if lost(config):
            records[config.id] = record_of(Result(config, "diverged", {"diverged_at": 1}, {}))
            continue
        steps = config.total_steps(config.train_size or N)
        t = np.unique(np.round(np.geomspace(1, steps, points)))
        d = law(config, t, rng) + spread * rng.standard_normal() * np.log(t + 1)
        d = d + spread * rng.standard_normal(t.size)
        metrics = {
            "test_accuracy": accuracy(config) + spread * rng.standard_normal(),
            "train_loss": 0.1,
            "distance": float(d[-1]),
        }
        curves = {"step": t.tolist(), "distance": d.tolist()}
        if "weight-distance" in config.probes:
            curves["distance_first_tensor"] = (0.7 * d).tolist()
        if "random-draws" in config.probes:
            z = rng.uniform(0, 10, 1000)
            change = z ** (power + drawn * rng.standard_normal()) * rng.choice([-1, 1], 1000)
            curves |= {
                "random_draw_distance": z.tolist(),
                "random_draw_loss_change": change.tolist(),
            }
        curves = {name: values for name, values in curves.items() if name not in without}
        metrics = {name: value for name, value in metrics.items() if name not in without}
        records[config.id] = record_of(Result(config, "done", metrics, curves))
    return Reading(study, records)


def judged(of, name):
    (claim,) = (claim for id_, claim in BY.items() if id_.endswith(name))
    return claim.judge(of)


def rated(slope):
    """A line in log t whose slope is a function of the config."""
    return lambda config, t, rng: 1 + slope(config) * np.log(t)


def is_root(config):
    """Whether a run's rate was scaled, but at the anchor, where nothing tells it."""
    return "weight-distance" not in config.probes and config.learning_rate != 0.025


@pytest.fixture(scope="module")
def straight():
    return made()


# --- E4: log t or a power ---------------------------------------------------------------------


def test_growth_as_log_t_is_reproduced(straight):
    verdict = judged(straight, "distance-grows-as-log")
    assert verdict.word == "reproduced"
    assert verdict.unit == "ΔAIC"
    assert verdict.effect > 2
    assert "last factor of 100" in verdict.why


def test_a_lead_that_is_sure_and_too_small_leaves_it_undecided(straight, monkeypatch):
    for least, word in ((2.2, "reproduced"), (1.8, "undecided")):
        leads = {8: Estimate(least, 0.01, 7), 16: Estimate(9.0, 0.1, 7)}
        monkeypatch.setattr(findings, "leads_by_size", lambda reading, leads=leads: leads)
        verdict = judged(straight, "distance-grows-as-log")
        assert verdict.word == word
        assert ("At B = 8 the lead is no larger than 2" in verdict.why) == (word == "undecided")
        assert "would decide it" not in verdict.why


def test_growth_as_a_power_is_contradicted():
    verdict = judged(made(lambda c, t, rng: t**0.5), "distance-grows-as-log")
    assert verdict.word == "contradicted"
    assert verdict.effect < 0


def test_one_batch_size_that_grows_as_a_power_decides_against_it():
    def law(config, t, rng):
        return t**0.5 if config.batch_size == 64 else 1 + np.log(t)

    verdict = judged(made(law), "distance-grows-as-log")
    assert verdict.word == "contradicted"
    assert "B = 64" in verdict.why


def test_curves_of_noise_leave_it_undecided():
    of = made(lambda c, t, rng: 5 + rng.standard_normal(t.size), spread=0.01)
    assert judged(of, "distance-grows-as-log").word in ("undecided", "absent")


def test_the_lead_is_that_of_each_seeds_own_curve(straight):
    part = straight.part(findings._same)
    state = curves.constant_rate(part, findings.SAME)[64]
    by_hand = []
    for record in curves.finished(part, state).values():
        t, d = (np.array(record.curves[name]) for name in ("step", "distance"))
        keep = t >= t[-1] / 100
        by_hand.append(growth.lead_of_log(t[keep], d[keep]))
    assert findings.leads_by_size(part)[64].value == pytest.approx(np.mean(by_hand))
    error = np.std(by_hand, ddof=1) / math.sqrt(len(by_hand))
    assert findings.leads_by_size(part)[64].error == pytest.approx(error)


def test_without_points_or_with_a_lost_run_no_law_is_judged():
    verdict = judged(made(points=3), "distance-grows-as-log")
    assert verdict.word == "not tested here"
    assert "too few points" in verdict.why
    gone = made(lost=lambda c: c.batch_size == 16 and c.seed == 0)
    for name in ("distance-grows-as-log", "slope-peaks", "match-slopes", "stay-nearer"):
        verdict = judged(gone, name)
        assert verdict.word == "not tested here"
        assert verdict.why.startswith("1 of 8 runs with batches of 16 diverged")


# --- F2: slopes -------------------------------------------------------------------------------


def hill(config):
    return 2 - 0.2 * abs(math.log2(config.batch_size / 64))


def test_slopes_that_fall_to_both_sides_are_reproduced():
    verdict = judged(made(rated(hill)), "slope-peaks")
    assert verdict.word == "reproduced"
    assert "steepest at a batch of 64" in verdict.about
    assert verdict.effect == pytest.approx(0.6, abs=0.1)


def test_a_peak_that_other_seeds_do_not_find_is_contradicted():
    def slope(config):
        even = config.seed % 2 == 0
        return 2 + 0.5 * (config.batch_size == 64) * (1 if even else -1)

    assert judged(made(rated(slope)), "slope-peaks").word == "contradicted"


def test_a_peak_that_noise_has_made_is_undecided():
    def law(config, t, rng):
        slope = 2 + 0.3 * rng.standard_normal()
        slope += 5 * (config.batch_size == 64 and config.seed % 2 == 0)
        return 1 + slope * np.log(t)

    assert judged(made(law), "slope-peaks").word == "undecided"


@pytest.mark.parametrize("edge", [8, 512])
def test_a_peak_at_an_edge_is_none(edge):
    def slope(config):
        return 2 - 0.2 * abs(math.log2(config.batch_size / edge))

    verdict = judged(made(rated(slope)), "slope-peaks")
    assert verdict.word == "not tested here"
    assert f"steepest at B = {edge}" in verdict.why


def test_two_seeds_are_too_few_to_find_a_peak_and_to_judge_it():
    assert judged(made(rated(hill), seeds=2), "slope-peaks").word == "not tested here"


def two_kinds(same, root):
    def slope(config):
        return (root if is_root(config) else same)(math.log2(config.batch_size / 64))

    return made(rated(slope))


def test_slopes_that_draw_together_are_reproduced():
    of = two_kinds(lambda k: 2.0 + 0.3 * k, lambda k: 2.0 + 0.05 * k)
    verdict = judged(of, "match-slopes")
    assert verdict.word == "reproduced"
    assert verdict.effect < 0
    assert "without norms" in verdict.about
    same = np.std(np.log2([2 + 0.3 * k for k in range(-3, 4)]), ddof=1)
    root = np.std(np.log2([2 + 0.05 * k for k in range(-3, 4)]), ddof=1)
    assert verdict.effect == pytest.approx(root - same, abs=0.05)


def test_slopes_that_draw_apart_are_contradicted():
    of = two_kinds(lambda k: 2.0 + 0.05 * k, lambda k: 2.0 + 0.3 * k)
    assert judged(of, "match-slopes").word == "contradicted"


@pytest.mark.parametrize(("wild", "word"), [(0.05, "absent"), (0.5, "undecided")])
def test_slopes_as_far_apart_as_before_are_absent_where_that_is_sure(wild, word):
    def slope(config):
        of = np.random.default_rng([config.seed, config.batch_size, is_root(config)])
        return 2.0 * np.exp(wild * of.standard_normal())

    verdict = judged(made(rated(slope), spread=0.001), "match-slopes")
    assert verdict.word == word
    assert verdict.margin == pytest.approx(math.log2(1.1))


@pytest.mark.parametrize(
    ("power", "said"), [(0.3, "grows, from 0.41 to 0.66."), (-0.3, "shrinks, from 0.41 to 0.34.")]
)
def test_slopes_that_are_nearer_relative_to_their_size_may_differ_by_more(power, said):
    of = two_kinds(lambda k: 2.0 * 2 ** (-0.4 * abs(k)), lambda k: 2.0 * 2 ** (power * abs(k)))
    verdict = judged(of, "match-slopes")
    assert verdict.word == "reproduced"
    assert "relative to their size" in verdict.about
    assert " It is sure, and small: all of its interval is within ±0.14 in log₂. O" in verdict.why
    assert verdict.why.endswith(f" In absolute slopes the spread {said}")


@pytest.mark.parametrize(
    ("same", "root", "sign", "words"),
    [
        # The smallest batch is far off at one rate alone, and the rest drift apart with the remedy.
        ([-2, 0, 0, 0, 0, 0, 0], [0, -0.4, -0.2, 0, 0.2, 0.4, 0.6], -1, "rcr"),
        # The same at the other end.
        ([0, 0, 0, 0, 0, 0, -2], [0.6, 0.4, 0.2, 0, -0.2, -0.4, 0], -1, "rrc"),
        # Without the smallest batch the rest are as far apart as before.
        ([-2, 0.1, -0.1, 0.1, 0, 0.1, -0.1], [0, 0.1, -0.1, 0.1, 0, 0.1, -0.1], -1, "rar"),
        # The remedy throws the largest batch out, and draws all the others together.
        ([0.3, 0.2, 0.1, 0, -0.1, -0.2, -0.3], [0, 0, 0, 0, 0, 0, -1.5], 1, "ccr"),
    ],
)
def test_a_word_that_hangs_on_one_end_of_the_batch_sizes_is_undecided(same, root, sign, words):
    def at(shape):
        return lambda k: 2.0 * 2.0 ** shape[round(k) + 3]

    verdict = judged(two_kinds(at(same), at(root)), "match-slopes")
    assert verdict.word == "undecided"
    assert np.sign(verdict.effect) == sign
    by = {"r": "reproduced", "c": "contradicted", "a": "absent"}
    every, small, large = (by[letter] for letter in words)
    assert (
        f" So the word hangs on an end of the batch sizes. It would be {every} with all, {small} "
        f"with all but the smallest and {large} with all but the largest. " in verdict.why
    )
    # No number of seeds is promised to decide what seeds do not leave open.
    assert verdict.room is None
    assert "would decide it" not in verdict.why
    said = re.search(
        r"a difference of ([+-][\d.]+) .*the smallest batch the difference is ([+-][\d.]+) .*"
        r"the largest ([+-][\d.]+) ",
        verdict.why,
    )
    kept = (slice(None), slice(1, None), slice(-1))
    expected = [np.std(root[of], ddof=1) - np.std(same[of], ddof=1) for of in kept]
    np.testing.assert_allclose([float(one) for one in said.groups()], expected, atol=0.03)


def test_a_word_is_as_sure_as_the_least_sure_of_its_three_spreads():
    of = two_kinds(lambda k: 2.0 + 0.3 * k, lambda k: 2.0 + 0.05 * k)
    verdict = judged(of, "match-slopes")
    part = of.part(findings._constant)
    ps = [
        findings._differences(
            findings._spreads(part, "root", kept), findings._spreads(part, "same", kept)
        ).p
        for kept in findings.KEPT
    ]
    assert len(ps) == 3
    assert verdict.p == max(ps)
    assert "hangs" not in verdict.why


def test_it_is_told_where_the_rule_lowers_the_rate_and_how_well_its_lines_fit():
    def law(config, t, rng):
        bent = is_root(config) and config.batch_size == 256
        return 1 + np.log(t) ** (3 if bent else 1)

    of = made(law)
    said = judged(of, "match-slopes").why
    assert "Below its anchor, at B = 8, 16 and 32, the rule lowers the rate." in said
    states = curves.constant_rate(of.part(findings._constant), "root")
    fits = [
        growth.log_law(*curves.curve(record)).r_squared
        for record in curves.finished(of, states[256]).values()
    ]
    assert f"fits worst at B = 256, with an R² of {np.mean(fits):.3f}." in said


def test_a_distance_that_falls_has_no_ratio_of_slopes():
    verdict = judged(two_kinds(lambda k: -1.0, lambda k: 1.0), "match-slopes")
    assert verdict.word == "not tested here"
    assert "the distance falls" in verdict.why


# --- F7: where runs end -------------------------------------------------------------------------


def ending(step):
    """Final distances that change by a factor of 2^step from a batch size to the next."""

    def law(config, t, rng):
        end = 10 * 2.0 ** (step(math.log2(config.batch_size)) + 0.01 * rng.standard_normal())
        return end * np.log(t + 1) / np.log(t[-1] + 1)

    return made(law, spread=0.001)


def test_ends_that_come_nearer_with_each_batch_size_are_reproduced():
    verdict = judged(ending(lambda k: -0.3 * k), "stay-nearer")
    assert verdict.word == "reproduced"
    assert verdict.effect == pytest.approx(-0.3, abs=0.02)
    # The same means as in the table: of the distances, and not of their logarithms.
    of = figures.table(ending(lambda k: -0.3 * k)).set_index("Batch size")
    first, last = (of.loc[size, "Mean distance at the end"] for size in ("8", "512"))
    assert f"The mean distance is {first} at B = 8 and {last} at B = 512." in verdict.why


def test_one_step_the_other_way_contradicts_it():
    verdict = judged(ending(lambda k: -0.3 * k + 0.6 * (k > 5.5)), "stay-nearer")
    assert verdict.word == "contradicted"
    assert "from B = 32 to 64" in verdict.why


def test_equal_ends_are_undecided():
    assert judged(ending(lambda k: 0.0), "stay-nearer").word == "undecided"


def test_ends_without_a_distance_are_not_compared():
    assert judged(made(without=("distance",)), "stay-nearer").word == "not tested here"


# --- E8, F4: the loss about the start -----------------------------------------------------------


@pytest.mark.parametrize(
    ("power", "drawn", "word"),
    [(1.0, 0.01, "reproduced"), (1.35, 0.01, "contradicted"), (0.7, 0.01, "contradicted")],
)
def test_the_power_of_distance_decides(power, drawn, word):
    of = made(power=power, drawn=drawn)
    verdict = judged(of, "loss-spread-grows-with-distance")
    assert verdict.word == word
    assert verdict.effect == pytest.approx(power, abs=0.1)
    assert (verdict.margin, verdict.printed, verdict.unit) == (0.1, 1.0, "slope")
    assert judged(of, "linear-for-any-bins").word == word


def test_a_power_near_the_margin_is_undecided():
    of = made(power=1.1, drawn=0.05)
    assert judged(of, "loss-spread-grows-with-distance").word == "undecided"
    assert judged(of, "linear-for-any-bins").word == "undecided"


def test_the_power_in_bins_is_that_of_a_regression_on_all_draws():
    rng = np.random.default_rng(0)
    z = rng.uniform(0, 10, 20_000)
    change = z**1.2 * rng.standard_normal(z.size)
    # Mean of log|change| at z is 1.2 log z and a constant.
    slope = np.polyfit(np.log(z), np.log(np.abs(change)), 1)[0]
    for bins in (20, 50, 100):
        assert findings.power(z, change, bins) == pytest.approx(slope, abs=0.06)
    # What is in proportion stays so in bins of any width.
    for bins in findings.BINS:
        found = findings.power(z, z * rng.choice([-1, 1], z.size), bins)
        assert found == pytest.approx(1, abs=1e-9)
    distance, rms = findings.binned(z, change, 5)
    assert len(distance) == 5
    inside = (z / z.max() * 5).astype(int) == 2
    assert rms[2] == pytest.approx(np.sqrt((change[inside] ** 2).mean()))


def test_without_draws_the_spread_is_not_tested():
    of = made(without=("random_draw_distance",))
    for name in ("loss-spread-grows-with-distance", "linear-for-any-bins"):
        assert judged(of, name).word == "not tested here"


# --- C4: a longer phase -------------------------------------------------------------------------


def phase(gain, progress):
    """Points gained from the shortest phase to the longest: after the drop, and before it."""

    def accuracy(config):
        dropped = bool(config.phases)
        octaves = math.log2((config.epochs - 25 * dropped) / 125)
        return 95 + (gain if dropped else progress) * octaves / 2

    return made(accuracy=accuracy, spread=0.05)


@pytest.mark.parametrize(
    ("gain", "progress", "word"),
    [
        (1.0, -0.1, "reproduced"),
        (-1.0, -0.1, "contradicted"),
        (0.0, -0.1, "absent"),
        (1.0, 0.3, "not tested here"),
        (1.0, 1.0, "not tested here"),
    ],
)
def test_a_longer_phase_is_judged_where_validation_stands_still(gain, progress, word):
    verdict = judged(phase(gain, progress), "long-high-rate-helps")
    assert verdict.word == word
    if word != "not tested here":
        assert verdict.effect == pytest.approx(gain, abs=0.15)


def test_a_gain_that_seeds_hide_is_undecided():
    def accuracy(config):
        return 95 + (0.8 if config.seed % 2 else -0.6) * bool(config.phases) * (config.epochs > 400)

    assert judged(made(accuracy=accuracy), "long-high-rate-helps").word == "undecided"


def test_a_phase_that_diverged_is_not_judged():
    verdict = judged(made(lost=lambda c: bool(c.phases) and c.seed == 1), "long-high-rate-helps")
    assert verdict.why.startswith("1 of 8 runs of a phase diverged")


# --- E3: the walk itself ------------------------------------------------------------------------


def test_the_walk_on_a_potential_is_judged_by_its_exact_law(straight, monkeypatch):
    verdict = judged(straight, "ultra-slow-diffusion")
    assert verdict.word == "reproduced at another size"
    assert "The fitted q is +1.4" in verdict.why
    assert "2/α, which holds at the longest times, is 2." in verdict.why
    assert verdict.seeds == walk.POTENTIALS
    assert judged(made(scale="cpu"), "ultra-slow-diffusion").elsewhere
    sinai = walk.walk_on_a_line()
    log, rms = np.log(sinai.times), sinai.rms
    ahead = growth.power_law(sinai.times, rms).aic - growth.power_law(log, rms).aic
    assert verdict.effect == pytest.approx(ahead, rel=0.35)
    assert sinai.squares.shape == (walk.GROUPS, 24)

    def grows(squares):
        other = type(sinai)(sinai.times, squares, 0.0)
        monkeypatch.setattr(findings, "walk_on_a_line", lambda: other)
        return judged(straight, "ultra-slow-diffusion").word

    rng = np.random.default_rng(0)
    noise = 1 + 0.02 * rng.standard_normal((400, 24))
    assert grows(sinai.times**0.4 * noise) == "contradicted"
    # A power of log t in either case, and in one of them H17's.
    assert grows(log**2.6 * noise) == "reproduced at another size"
    assert grows(log**4.0 * noise) == "reproduced"
    wild = np.exp(2 * rng.standard_normal((400, 24)))
    assert grows(wild) in ("undecided", "absent")


def test_the_recorded_walk_is_the_computed_one():
    # Each doubling is one more squaring, and takes as long: eight of them, of thirty, do.
    last = walk.FIRST + 1
    recorded = walk.walk_on_a_line().squares[3]
    np.testing.assert_allclose(recorded[:2], walk.walk_of_group(3, last))
    assert len(recorded) == walk.DOUBLINGS - walk.FIRST + 1


def test_the_ends_of_the_line_are_too_far_to_matter():
    wide = 257
    u = walks.increments(1.0, wide, 40, np.random.default_rng(5))

    def rms(sites):
        cut = (wide - sites) // 2
        inner = u[:, cut : cut + sites]
        return np.sqrt(walks.exact_squares(inner, 0.2, walk.DOUBLINGS)[:, -1].mean())

    assert rms(walk.SITES) == pytest.approx(rms(wide), rel=1e-3)
    assert rms(129) < 0.99 * rms(wide)


def test_where_every_run_is_lost_nothing_stands_beside_the_walk():
    assert judged(made(lost=lambda c: True), "ultra-slow-diffusion").word == "not tested here"


# --- Grid and figures ---------------------------------------------------------------------------


def test_the_grid_keeps_epochs_and_scales_the_rate():
    study = study_of("random-walk", "digits")
    runs = study.needed({})
    whole = [run for run in runs if run.epochs == 100 and not run.phases]
    same = [run for run in whole if not is_root(run) or run.batch_size == 64]
    assert {run.learning_rate for run in same} == {0.025}
    for run in set(whole) - set(same):
        assert run.learning_rate == pytest.approx(0.025 * math.sqrt(run.batch_size / 64))
    draws = [run for run in runs if "random-draws" in run.probes]
    assert {run.batch_size for run in draws} == {512}
    dropped = [run for run in runs if run.phases]
    assert {(run.epochs, run.phases) for run in dropped} == {
        (length + 25, ((length, 1.0, 0.1),)) for length in (125.0, 250.0, 500.0)
    }


def test_remedies_come_with_the_scaled_rate_alone():
    sweeps = random_walk(
        {"dataset": "mnist", "model": "f1", "norm": "batch"},
        sizes=(32, 128),
        anchor=32,
        learning_rate=0.1,
        epochs=2.0,
        probed_from=32,
        phases=(2.5, 5.0),
        after=1.0,
        remedy={"norm": "ghost"},
    )
    norms = {dict(s.key).get("rate"): advance(s, 1, {}).needed[0].norm for s in sweeps}
    assert norms == {"same": "batch", "root": "ghost", None: "ghost"}


def test_the_figures_show_what_is_judged(straight):
    part = straight.part(findings._constant)
    drawn = figures.slopes_of(straight)
    for trace, rate in zip(drawn.data, ("same", "root"), strict=True):
        by = curves.slopes_by_size(part, rate)
        np.testing.assert_allclose(trace.y, [np.mean(list(one.values())) for one in by.values()])
    fig = figures.distances(straight)
    assert len(fig.data) == 2 * len(SIZES)
    assert len({(t.line.color, t.line.dash, t.marker.symbol) for t in fig.data if t.name}) == 7
    for rate, name in (("same", "One learning rate"), ("root", "Rate ∝ √B")):
        said = figures.distances(straight, rate).layout.title.text
        assert said.startswith(f"{name}: a factor of e in updates adds ")
    first = figures.distances(straight, "same", "first tensor")
    assert len(first.data) == 2 * 4
    assert isinstance(figures.distances(straight, "root", "first tensor"), str)
    spread = figures.spread(straight)
    assert "power 1.00" in spread.layout.title.text
    # The bins of the title are drawn, and it is told how the others come.
    at_first = {t.name: t.visible for t in spread.data if re.fullmatch(r"\d+ bins", t.name)}
    assert at_first == {f"{n} bins": True if n == 20 else "legendonly" for n in findings.BINS}
    (note,) = [a.text for a in spread.layout.annotations if a.name == "provenance"]
    assert note.endswith(
        " Powers are those in 20 bins; a click on a grey name in the legend shows 5, 10, 50 and "
        "100 bins too."
    )
    assert list(figures.table(straight)["Batch size"]) == [f"{size:,}" for size in SIZES]
    assert len(figures.phase_table(straight)) == 3
    assert list(figures.phase_table(straight))[2] == "After 25 more at a tenth (%)"
    assert figures.measured_sizes(straight) == list(SIZES)
    assert figures.measured_rates(straight) == ["same", "root"]


def test_equal_growth_with_updates_is_told_from_equal_epochs(straight):
    # One law of t at every batch size: only the number of updates differs.
    said = figures.by_updates(straight)
    least, most, before, after = map(float, re.findall(r"\d+\.\d\d", said))
    assert most - least > 1
    assert after - before < 0.2


# --- Sentences ----------------------------------------------------------------------------------


def with_leads(monkeypatch, of, **leads):
    """What is said of leads, by `B64` and so on, each with half of its interval."""
    found = {int(name[1:]): Estimate(value, half / 2, 60) for name, (value, half) in leads.items()}
    monkeypatch.setattr(sentences, "leads_by_size", lambda reading: found)
    return sentences.leads(of)


def test_the_law_that_leads_is_told_by_batch_size(straight, monkeypatch):
    said = with_leads(
        monkeypatch,
        straight,
        B8=(-10.96, 1),
        B16=(-6.58, 1),
        B32=(1.9, 0.01),
        B64=(2.56, 3),
        B128=(8.26, 1),
        B256=(21.23, 1),
    )
    assert said == (
        "At B = 64 to 256 log t leads (ΔAIC +2.6 to +21.2); at B = 8 and 16 the power law leads "
        "(ΔAIC −11.0 to −6.6); at B = 32 the two do equally well (ΔAIC +1.9). At B = 64 the "
        "interval of ΔAIC reaches within ±2, where the two do equally well."
    )
    said = with_leads(monkeypatch, straight, B8=(5, 1), B16=(-3, 2), B32=(6, 1))
    assert said == (
        "At B = 8 and 32 log t leads (ΔAIC +5.0 to +6.0); at B = 16 the power law leads (ΔAIC "
        "−3.0). At B = 16 the interval of ΔAIC reaches within ±2, where the two do equally well."
    )
    assert with_leads(monkeypatch, straight, B8=(math.nan, 1)) == ""


def test_the_leads_that_are_told_are_those_that_are_judged(straight):
    assert sentences.leads(straight).startswith("At B = 8 to 512 log t leads (ΔAIC +")
    assert sentences.leads(made(lambda c, t, rng: t**0.5)).startswith(
        "At B = 8 to 512 the power law leads (ΔAIC −"
    )
    assert sentences.leads(made(lost=lambda c: True)) == ""


@pytest.mark.parametrize(
    ("lead", "half", "said"),
    [
        (2.1, 0.05, "log t leads"),
        (2.1, 0.2, "log t leads, not surely"),
        (1.9, 0.05, "the two do equally well"),
        (1.9, 0.2, "the two do equally well"),
        (-1.9, 0.05, "the two do equally well"),
        (-2.1, 0.05, "the power law leads"),
        (-2.1, 0.2, "the power law leads, not surely"),
    ],
)
def test_the_figure_of_one_batch_size_says_which_law_leads(straight, monkeypatch, lead, half, said):
    found = Estimate(lead, half / quantile(7), 7)
    monkeypatch.setattr(findings, "leads_by_size", lambda of: {64: found, 8: Estimate(9, 0.1, 7)})
    title = figures.laws_at(straight, 64).layout.title.text
    assert title.startswith(
        f"B = 64: {said}; ΔAIC {lead:+.2f} [{lead - half:+.2f}, {lead + half:+.2f}] over seeds "
        "(mean R² "
    )


def test_the_lead_in_a_figures_title_is_that_of_the_claim(straight):
    for size, lead in findings.leads_by_size(straight).items():
        assert f"; ΔAIC {lead} over seeds" in figures.laws_at(straight, size).layout.title.text
    # R² is that of the table: of noisy runs a fit to their mean curve would have a greater one.
    noisy = made(spread=0.3)
    rows = figures.table(noisy).set_index("Batch size")
    fig = figures.laws_at(noisy, 64)
    both = [rows["R² of a + b log t"]["64"], rows["R² of c t^p"]["64"]]
    assert fig.layout.title.text.endswith(f" over seeds (mean R² {' and '.join(both)})")
    t, d = figures._mean_curve(noisy, curves.constant_rate(noisy, "same")[64], "distance")
    keep = t >= t[-1] / curves.WINDOW
    assert growth.log_law(t[keep], d[keep]).r_squared > float(both[0]) + 0.002
    assert figures.laws_at(made(points=3), 64).layout.title.text == "B = 64"


def test_how_far_apart_slopes_are_is_told_without_the_smallest_batch_too():
    of = two_kinds(lambda k: 2.0 + 0.3 * k, lambda k: 2.0 - 0.1 * k)
    assert sentences.slopes_apart(of) == (
        "The largest slope is 1.4 times the smallest with the remedies, and 2.6 times at one "
        "learning rate. Without B = 8 it is 1.3 and 2.1 times. With the remedies the slope is "
        "largest at B = 8."
    )
    assert sentences.slopes_apart(two_kinds(lambda k: -1.0, lambda k: 1.0)) == ""
    assert sentences.slopes_apart(made(lost=lambda c: True)) == ""


def test_a_slope_through_a_curve_that_has_flattened_is_said_to_be_one():
    def law(config, t, rng):
        if not is_root(config) or config.batch_size != 512:
            return 1 + np.log(t)
        # Four in a factor of e up to the middle of the window, and then half of one back.
        half = np.log(t[-1]) - math.log(10)
        off = np.log(t) - half
        return 20 + np.where(off < 0, 4 * off, -0.5 * off)

    said = sentences.slopes_apart(made(law, spread=0.0))
    assert "With the remedies the slope is largest at B = 512. There it is the slope of a " in said
    assert said.endswith(" adds up to 4.0 on its way, and −0.5 at its end.")


def test_every_phase_is_followed_by_as_many_epochs_as_the_grid_says():
    for scale, more in (("digits", 25), ("cpu", 5), ("gpu", 5), ("paper", 41)):
        assert figures.phases(Reading(study_of("random-walk", scale), {})) == (
            "Each row trains at the high rate for another length, and then for "
            f"{more} epochs more at a tenth of it."
        )


def test_the_protocol_is_that_of_the_grid():
    assert sentences.protocol(Reading(study_of("random-walk", "digits"), {})) == (
        "Each batch size has 10 seeds, and every run a momentum of 0.9. The learning rate is 0.025 "
        "at every batch size, or it grows as √B, from 0.00884 at B = 8 to 0.0707 at B = 512."
    )
    for scale in ("cpu", "gpu", "paper"):
        said = sentences.protocol(Reading(study_of("random-walk", scale, 3), {}))
        assert said.startswith("Each batch size has 3 seeds, ")
        assert " The learning rate is 0.1 at every batch size, or it grows as √B, from " in said


def test_runs_that_go_further_than_the_draws_are_named(straight):
    assert sentences.draws_reach(straight) == (
        "There are 8,000 draws about 8 starts, at distances up to 10.0. At B = 8 the runs "
        "themselves go further, to 10.5; of the loss there the draws say nothing."
    )
    assert sentences.draws_reach(made(lambda c, t, rng: 1 + 0.5 * np.log(t))).endswith(" to 10.0.")
    assert sentences.draws_reach(made(without=("random_draw_distance",))) == ""


def test_a_net_without_norm_cannot_test_ghosts(straight):
    assert sentences.no_norm(straight) == (
        "The net here has no batch norm, so ghost batch norm cannot be tested on it."
    )
    assert sentences.no_norm(Reading(study_of("random-walk", "cpu"), {})) == ""
