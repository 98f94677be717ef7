"""Where the papers disagree: the frozen grid, and every word that its claims can say."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from made_up import diverged, estimate, filled, noisy, record
from scipy import stats

from sgdnoise.analysis import Reading
from sgdnoise.claims import Claim, Verdict, Word
from sgdnoise.experiments import EXPERIMENTS
from sgdnoise.experiments.constant_step.grid import EXPERIMENT as STEP
from sgdnoise.experiments.constant_step.grid import fair_step
from sgdnoise.experiments.discriminating import figures, findings, grid
from sgdnoise.experiments.discriminating.grid import EXPERIMENT
from sgdnoise.study.grid import FRESH_SEED, advance
from sgdnoise.study.study import Experiment, Study

ROOT = Path(__file__).parents[2]
STATES = [advance(sweep, EXPERIMENT.seeds["cpu"], {}) for sweep in EXPERIMENT.sweeps["cpu"]()]
CLAIMS = {claim.id: claim for claim in findings.CLAIMS}
WORDLESS = re.compile(r"\b(nan|inf|None)\b")

STAYS, CATCHES = "S20-T1.not-for-lack-of-updates", "H17-C1.no-inherent-gap"
FEWER, BACK = "S20-C1.fewer-steps-do-not-help", "S20-T1.noise-is-what-lacks"
EARLY, STEPS = "S20-C4.noise-helps-early", "G20-C1.vanishing-steps"
UPDATES, EPOCHS = (f"H17-C3.linear-scaling-worse.{equal}" for equal in ("updates", "epochs"))


# --- The grid ----------------------------------------------------------------------------------


def arm(name):
    return [state for state in STATES if dict(state.sweep.key)["arm"] == name]


def batch_sizes(run):
    batches = run.batches(run.train_size)
    return [(stretch.step, stretch.batch_size) for stretch in batches.stretches]


def test_the_grid_never_changes():
    digest = hashlib.sha256()
    # What was frozen first; `test_grids` has all.
    arms = [state for state in STATES if dict(state.sweep.key)["arm"] != "plain"]
    ids = [run.id for state in arms for run in state.needed]
    for state in arms:
        digest.update(repr((state.sweep.key, state.sweep.axes)).encode())
        digest.update("".join(run.id for run in state.needed).encode())
    assert (len(ids), digest.hexdigest()[:16]) == (209, "7ac63dc0699da7c1")


def test_the_plain_sweeps_are_those_of_the_fair_step_budget():
    assert EXPERIMENT.seeds == {"cpu": STEP.seeds["cpu"]}
    fair = {dict(sweep.key)["batch_size"]: sweep for sweep in fair_step()}
    assert [dict(state.sweep.key)["batch_size"] for state in arm("plain")] == [64, 256, 1000]
    for state in arm("plain"):
        theirs = fair[dict(state.sweep.key)["batch_size"]]
        assert state.sweep.axes == theirs.axes
        for point in state.points:
            for seed in (0, FRESH_SEED):
                assert state.sweep.config(point, seed).id == theirs.config(point, seed).id


def test_more_updates_have_rates_about_the_best_of_fewer():
    grids = {
        (dict(s.sweep.key)["batch_size"], dict(s.sweep.key)["updates"]): s.sweep.frozen
        for s in arm("longer")
    }
    for updates in grid.LONGER:
        assert grids[64, updates] == ((-1, 3),)
        assert grids[256, updates] == ((1, 5),)
        assert grids[1000, updates] == ((3, 5),)
    assert len(grids) == 6


def test_an_arm_differs_from_the_largest_batch_in_one_thing():
    plain = arm("longer")[-1].needed[0]
    assert plain.steps == grid.MOST == 4000
    assert batch_sizes(plain) == [(0, 1000)]
    for name, fields in {
        "noise-back": ("gradient_noise",),
        "small-first": ("phases",),
        "small-last": ("phases",),
        "fixed-length": ("clip_norm", "weight_decay"),
    }.items():
        (state,) = arm(name)
        for run in state.needed:
            back = {field: getattr(plain, field) for field in fields}
            same = plain.replace(learning_rate=run.learning_rate, seed=run.seed)
            assert run.replace(**back) == same


def test_small_batches_have_one_half_of_the_updates():
    (first,), (last,) = arm("small-first"), arm("small-last")
    assert batch_sizes(first.needed[0]) == [(0, 256), (2000, 1000)]
    assert batch_sizes(last.needed[0]) == [(0, 1000), (2000, 256)]
    assert all(state.needed[0].batches(1000).total_steps == 4000 for state in (first, last))


def test_noise_and_decay_are_of_the_size_that_they_should_have():
    (noise,), (fixed,) = arm("noise-back"), arm("fixed-length")
    assert noise.needed[0].gradient_noise ** 2 == pytest.approx(1000 / 256 - 1)
    run = fixed.needed[0]
    assert run.weight_decay / run.clip_norm == pytest.approx(5e-4)


def test_what_is_left_out_says_which_sweeps_have_fewer_seeds_and_which_batches_are_apart():
    said = Study.of(EXPERIMENT, "cpu").leaves_out
    few = {s.sweep.most_seeds for s in STATES if dict(s.sweep.key).get("updates") == 2000}
    assert few == {s.sweep.most_seeds for s in arm("passes")} == {3}
    assert "with 2,000 updates and those of one pass against many have 3 seeds" in said
    plain = {dict(s.sweep.key)["batch_size"] for s in arm("plain") + arm("longer")}
    apart = sorted({dict(s.sweep.key)["batch_size"] for s in arm("passes")} - plain)
    assert f"Batches of {apart[0]} and {apart[1]} belong to one pass against many alone" in said


def test_one_pass_sees_no_image_twice():
    for state in arm("passes"):
        run, key = state.needed[0], dict(state.sweep.key)
        assert run.train_size == key["train_size"]
        examples = run.batches(run.train_size).examples
        assert examples == 1000 * key["batch_size"]
        one_pass = run.train_size == grid.ALL_IMAGES and run.batch_size in figures.ONE_PASS
        assert (examples <= run.train_size) == one_pass


# --- Made-up records ----------------------------------------------------------------------------

PEAKS = {64: 1, 256: 3, 1000: 2, 16: -1, 48: 0}
"""Log₂ of the best rate: in the middle of each grid."""


def of(config):
    """The arm of a run."""
    if config.gradient_noise:
        return "noise-back"
    if config.phases:
        return "small-first" if len(config.phases) == 2 else "small-last"
    if config.clip_norm:
        return "fixed-length"
    return "plain" if config.train_size == grid.IMAGES else "passes"


def peak_of(config):
    if of(config) == "fixed-length":
        return 12
    return PEAKS[config.batch_size] if of(config) in ("plain", "passes") else 3


HEIGHTS = {64: 50.0, 256: 52.0, 1000: 48.0, 16: 45.0, 48: 47.0}
"""What the batch sizes reach on 1,000 images, whatever the updates."""

GAINS = {"noise-back": 3.5, "small-first": 3.6, "small-last": 0.3, "fixed-length": 0.2}


def ending(heights=HEIGHTS, gains=GAINS, curve=0.5, spread=0.1, fresh=None):
    """Runs about a hill over the rate; what fresh seeds reach may be told apart."""

    def accuracy(config, rate):
        name = of(config)
        told = fresh if fresh and config.seed >= FRESH_SEED else heights
        height = (
            told[config.steps, config.batch_size]
            if ((config.steps, config.batch_size) in told)
            else told[config.batch_size]
        )
        height += gains.get(name, 15.0 if name == "passes" else 0.0)
        return height - curve * (rate - peak_of(config)) ** 2

    return noisy(accuracy, lambda config, rate: 1 / config.batch_size, spread)


def study_of_some(sweeps, seeds=3):
    some = Experiment(EXPERIMENT.name, {"cpu": lambda: sweeps}, {"cpu": seeds})
    return Study.of(some, "cpu")


LONG = grid.plain() + grid.train_longer()
MOST = [sweep for sweep in grid.train_longer() if dict(sweep.key)["updates"] == grid.MOST]
ARMS = MOST + grid.what_of_the_noise()


def reading_of(sweeps, ends):
    study = study_of_some(sweeps)
    return Reading(study, filled(study, ends))


@pytest.fixture(scope="module")
def whole():
    study = Study.of(EXPERIMENT, "cpu")
    return Reading(study, filled(study, ending()))


@pytest.fixture(scope="module")
def long():
    # The tuning's seeds are best at 64 with 4,000 updates, at 256 with fewer; fresh seeds nowhere.
    heights = {**HEIGHTS, (4000, 64): 53.0, (2000, 1000): 48.5}
    return reading_of(LONG, ending(heights, fresh=dict.fromkeys(HEIGHTS, 40.0)))


@pytest.fixture(scope="module")
def arms():
    return reading_of(ARMS, ending())


def retold(of, **told):
    """The same reading, but for what fresh seeds reached, by `B64_4000` or arm; else far off."""
    other = type(of)(of.study, of.records)
    other.__dict__.update(known=of.known, states=of.states)

    def reached(key, objective="test_accuracy"):
        parts = dict(key)
        size, name = parts["batch_size"], parts["arm"].replace("-", "_")
        plain = f"B{size}_{parts.get('updates')}"
        assert objective == "test_accuracy"
        return estimate(*told.get(plain if name in ("plain", "longer") else name, (-99.0, 0.0)))

    object.__setattr__(other, "reached", reached)
    return other


def judge(claim, reading):
    return CLAIMS[claim].judge(reading)


# --- More updates -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "half", "s20", "h17"),
    [
        (1.0, 0.49, "reproduced", "contradicted"),
        (1.0, 0.51, "undecided", "undecided"),
        (0.3, 0.1, "contradicted", "reproduced"),
        (0.0, 0.49, "contradicted", "reproduced"),
        (0.0, 0.51, "undecided", "undecided"),
        (-3.0, 0.1, "contradicted", "reproduced"),
        (-1.0, 1.6, "undecided", "undecided"),
    ],
)
def test_one_interval_decides_for_one_paper_and_against_the_other(long, gap, half, s20, h17):
    said = {"B64_4000": (50.0, 0.0), "B1000_4000": (50.0 - gap, half)}
    # What other numbers of updates reach is no matter.
    of = retold(long, **said, B64_1000=(50, 0), B1000_1000=(30, 0), B256_4000=(70, 0))
    stays, catches = findings.stays_behind(of), findings.catches_up(of)
    assert (stays.word, catches.word) == (s20, h17)
    assert stays.effect == pytest.approx(gap) == -catches.effect
    assert stays.interval == pytest.approx((gap - half, gap + half))
    assert catches.interval == pytest.approx((-gap - half, -gap + half))
    for verdict in (stays, catches):
        assert (verdict.margin, verdict.unit) == (0.5, "points")
        assert verdict.why == (
            "with 4,000 updates B = 64, which did best in the tuning of the other batch sizes, "
            f"minus B = 1,000 is {gap:+.2f} [{gap - half:+.2f}, {gap + half:+.2f}] points. Their "
            "training losses are 0.0156 and 0.001. Staying behind means by more than 0.5 points."
        )


@pytest.mark.parametrize(
    ("gain", "half", "word"),
    [
        (3.0, 0.1, "reproduced"),
        (0.0, 0.49, "reproduced"),
        (0.0, 0.51, "undecided"),
        (-1.0, 0.51, "undecided"),
        (-1.0, 0.49, "contradicted"),
    ],
)
def test_fewer_updates_do_not_help_where_the_most_are_no_worse(long, gain, half, word):
    said = {"B1000_2000": (48.0, 0.0), "B1000_4000": (48.0 + gain, half)}
    found = findings.fewer_do_not_help(retold(long, **said, B1000_1000=(90.0, 0.0)))
    assert found.word == word
    assert found.effect == pytest.approx(gain)
    assert found.interval == pytest.approx((gain - half, gain + half))
    assert (found.margin, found.unit) == (0.5, "points")
    # The tuning's seeds say which of the fewer ones is compared.
    assert "with 4,000 updates than with 2,000, the best smaller number" in found.why


def gap_of(size, updates, **more):
    """Heights at which the largest batch is so far behind with so many updates."""
    return {**HEIGHTS, (updates, 1000): 52.0 - size, **more}


@pytest.mark.parametrize(
    ("gaps", "word", "fewer"),
    [
        ((4.0, 4.0, 4.0), "reproduced", "reproduced"),
        ((0.0, 4.0, 4.0), "reproduced", "contradicted"),
        ((0.0, 0.0, 4.0), "reproduced", "contradicted"),
        ((0.0, 4.0, 0.0), "contradicted", "not tested here"),
        ((4.0, 0.0, 0.0), "not tested here", "not tested here"),
    ],
)
def test_updates_are_judged_where_more_of_them_show_a_gap(gaps, word, fewer):
    """With 2,000 or 4,000 updates for what more do, with 4,000 for what fewer do."""
    heights = {
        (updates, 1000): 52.0 - gap for updates, gap in zip((1000, 2000, 4000), gaps, strict=True)
    }
    reading = reading_of(LONG, ending({**HEIGHTS, **heights}))
    words = {name: judge(name, reading) for name in (STAYS, CATCHES, FEWER)}
    other = {"reproduced": "contradicted", "contradicted": "reproduced"}
    assert (words[STAYS].word, words[CATCHES].word) == (word, other.get(word, word))
    if word == "not tested here":
        number = r"[+-]0\.\d\d \[\S+, \S+\] points above B = 1,000"
        told = f"with 2,000 updates B = 256 is {number}, and with 4,000 updates B = 256 is {number}"
        assert re.fullmatch(f"there is no gap to explain: {told}[.]", words[STAYS].why)
        assert words[STAYS].effect is None
    assert words[FEWER].word == fewer
    if fewer == "not tested here":
        assert words[FEWER].why.startswith("there is no gap to explain: with 4,000 updates B")


# --- What of the noise --------------------------------------------------------------------------

GAP = {"B256_4000": (52.0, 0.0), "B1000_4000": (48.0, 0.0)}
"""Four points, known exactly: the middle is 50."""


@pytest.mark.parametrize("claim", [BACK, STEPS])
@pytest.mark.parametrize(
    ("past", "half", "word"),
    [
        (1.0, 0.99, "reproduced"),
        (1.0, 1.01, "undecided"),
        (0.2, 0.15, "reproduced"),
        (-1.0, 1.01, "undecided"),
        (-1.0, 0.99, "contradicted"),
        (-2.0, 0.1, "contradicted"),
    ],
)
def test_an_arm_closes_the_gap_where_it_lies_past_its_middle(arms, claim, past, half, word):
    name, said = {BACK: ("noise_back", "the noise of B = 256 given back")}.get(
        claim, ("fixed_length", "steps of fixed length")
    )
    of = retold(arms, **GAP, B64_4000=(99.0, 0.0), **{name: (50.0 + past, half)})
    found = CLAIMS[claim].predicate(of)
    assert found.word == word
    assert found.effect == pytest.approx(past)
    assert found.interval == pytest.approx((past - half, past + half))
    assert (found.margin, found.unit) == (None, "points")
    assert found.why == (
        f"the gap of B = 1,000 below B = 256 is +4.00 [+4.00, +4.00] points; with {said} it gains "
        f"{past + 2:+.2f} points, {(past + 2) / 4:.0%} of that. It lies past the middle of the gap "
        f"by {past:+.2f} [{past - half:+.2f}, {past + half:+.2f}] points."
    )


def test_the_middles_error_is_that_of_both_ends(arms):
    told = {"B256_4000": (52.0, 0.6), "B1000_4000": (48.0, 0.8), "noise_back": (51.0, 0.0)}
    found = findings.past_middle(retold(arms, **told), "noise-back")
    # Half of √(0.6² + 0.8²), at 12 degrees of freedom for either.
    assert found.error == pytest.approx(0.5 / stats.t.ppf(0.975, 12))
    assert found.value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("early", "late", "half", "word"),
    [
        (51.0, 49.0, 0.9, "reproduced"),
        (51.0, 49.0, 1.1, "undecided"),
        (51.0, 51.0, 0.4, "contradicted"),
        (49.0, 49.0, 0.4, "contradicted"),
        (49.0, 51.0, 0.4, "contradicted"),
        (51.0, 50.1, 0.4, "undecided"),
        (49.9, 49.0, 0.4, "undecided"),
    ],
)
def test_noise_helps_early_and_not_late(arms, early, late, half, word):
    of = retold(arms, **GAP, small_first=(early, half), small_last=(late, half))
    found = findings.early_not_late(of)
    assert found.word == word
    assert found.effect == pytest.approx(min(early - 50, 50 - late))
    assert found.unit == "points"
    assert f"in the first half it gains {early - 48:+.2f} points" in found.why
    assert f"in the second half it gains {late - 48:+.2f} points" in found.why


def test_arms_are_judged_where_the_batch_that_they_borrow_from_is_ahead():
    # 64 is far ahead, but it is 256 whose noise is given back.
    none = reading_of(ARMS, ending({**HEIGHTS, 64: 60.0, 256: 48.0}))
    for name in (BACK, EARLY, STEPS):
        found = judge(name, none)
        assert found.word == "not tested here"
        assert re.search(
            r"with 4,000 updates B = 256 is [+-]\d\.\d\d \[.*above B = 1,000", found.why
        )


@pytest.mark.parametrize(
    ("name", "claim", "said"),
    [
        ("noise-back", BACK, "with the noise of B = 256 given back, the best rate"),
        ("small-first", EARLY, "with B = 256 in the first half, the best rate"),
        ("small-last", EARLY, "with B = 256 in the second half, the best rate"),
        ("fixed-length", STEPS, "with steps of fixed length, the best rate"),
    ],
)
def test_no_word_rests_on_an_arm_whose_rate_is_at_an_edge(name, claim, said):
    base = ending()

    def rising(config):
        ended = base(config)
        if of(config) == name:
            ended["test_accuracy"] = 40 + math.log2(config.effective_learning_rate)
        return ended

    reading = reading_of(ARMS, rising)
    found = judge(claim, reading)
    assert found.word == "not tested here"
    assert found.why.startswith(said)
    assert found.why.endswith("lies on an edge of its grid.")
    others = {BACK, EARLY, STEPS} - {claim}
    assert all(judge(other, reading).word == SAID[other] for other in others)


def test_what_all_diverged_is_not_tested(whole):
    study = study_of_some(ARMS)
    reading = Reading(study, filled(study, diverged))
    for name in (BACK, EARLY, STEPS):
        found = judge(name, reading)
        assert found.word == "not tested here"
        assert (
            found.why
            == "with 4,000 updates, every rate of SGD with momentum 0.9 diverged at B = 256."
        )


# --- Scaling the learning rate ------------------------------------------------------------------


def scaled(linear, root, spread=0.3, tuned=None):
    """Runs of 256 by their rate: what they reach at 2^3, in proportion to 64's, and at 2^2."""
    base = ending(spread=0.0)
    rng = np.random.default_rng(1)

    def ends(config):
        ended = base(config)
        rate = math.log2(config.effective_learning_rate)
        if config.batch_size == 64 and tuned is not None:
            best = tuned(config) if callable(tuned) else tuned
            ended["test_accuracy"] = 50.0 - abs(rate - best)
        if config.batch_size == 256 and config.seed < FRESH_SEED:
            told = {3: linear, 2: root}.get(round(rate), 45.0 - abs(rate - 3))
            value = told(config) if callable(told) else told
            ended["test_accuracy"] = value + spread * rng.standard_normal()
        return ended

    return ends


@pytest.mark.parametrize("claim", [UPDATES, EPOCHS])
@pytest.mark.parametrize(
    ("linear", "root", "spread", "word"),
    [
        (50.0, 53.0, 0.3, "reproduced"),
        (53.0, 50.0, 0.3, "contradicted"),
        (51.0, 51.0, 0.2, "absent"),
        (51.0, 51.5, 2.0, "undecided"),
    ],
)
def test_the_rate_in_proportion_against_the_root(claim, linear, root, spread, word):
    found = judge(claim, reading_of(LONG, scaled(linear, root, spread)))
    assert found.word == word
    assert (found.margin, found.unit) == (0.5, "points")
    equal = {
        UPDATES: "updates (2,000 and 4,000, averaged)",
        EPOCHS: "epochs (4,000 updates of B = 64 and 1,000 of B = 256)",
    }
    assert found.why.startswith("at B = 256, 4 times the tuned rate of B = 64 reaches ")
    assert f"more than 2 times, at equal {equal[claim]}, by the runs of its grid." in found.why


def test_the_scaled_rates_are_compared_by_students_t():
    reading = reading_of(LONG, scaled(51.0, 50.0, 0.5))

    def runs(updates, exponent):
        return np.array(
            [
                r.metrics["test_accuracy"]
                for r in reading.records.values()
                if (r.config.batch_size, r.config.steps) == (256, updates)
                and r.config.seed < FRESH_SEED
                and r.config.effective_learning_rate == pytest.approx(2.0**exponent)
            ]
        )

    each = []
    for updates in (1000, 2000, 4000):
        linear, root = runs(updates, 3), runs(updates, 2)
        assert len(linear) == len(root) == 3
        test = stats.ttest_ind(linear, root)
        if updates == 1000:
            # With 64's rate of 4,000 updates: the same images, four times the batch.
            epochs = findings.linear_less_root(reading, "epochs")
            assert epochs.value == pytest.approx(linear.mean() - root.mean())
            assert epochs.p == pytest.approx(test.pvalue)
            assert epochs.dof == 4
        else:
            each.append(test)
    found = findings.linear_less_root(reading, "updates")
    bounds = [test.confidence_interval(0.95) for test in each]
    middles = [(b.low + b.high) / 2 for b in bounds]
    errors = [(b.high - b.low) / 2 / stats.t.ppf(0.975, 4) for b in bounds]
    assert found.value == pytest.approx(np.mean(middles))
    assert found.error == pytest.approx(math.hypot(*errors) / 2)
    assert 4 <= found.dof <= 8


def test_at_equal_epochs_the_small_batchs_rate_is_that_of_four_times_the_updates():
    """It is 2^0 there, twice that with fewer: what is compared at 256 is 2^2 and 2^1."""

    def tuned(config):
        return 0 if config.steps == 4000 else 1

    reading = reading_of(LONG, scaled(60.0, 53.0, 0.0, tuned))
    # 2^1 reaches 45 − 2, see `scaled`; 2^2 the root of the other updates' 2^1.
    assert findings.linear_less_root(reading, "epochs").value == pytest.approx(53.0 - 43.0)
    each = [60.0 - 53.0, 53.0 - 43.0]
    assert findings.linear_less_root(reading, "updates").value == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("tuned", "said"),
    [
        (3, "with 2,000 updates, the best rate of SGD with momentum 0.9 at B = 64 lies on an edge"),
        (-1, "from B = 64, tuned with 2,000 updates, the scaled rate is 2^0, outside of the grid"),
        (4, "from B = 64, tuned with 2,000 updates, the scaled rate is 2^6, outside of the grid"),
    ],
)
def test_a_rate_that_was_not_tried_is_not_judged(tuned, said):
    ends = scaled(51.0, 50.0, tuned=tuned)
    if tuned == 3:
        ends = scaled(51.0, 50.0, tuned=30)
    found = judge(UPDATES, reading_of(LONG, ends))
    assert found.word == "not tested here"
    assert found.why.startswith(said)


def test_a_rate_that_was_tried_because_of_what_it_reached_is_not_judged():
    """256 is best at 2^0, to which its grid has grown: no fair try of 64's rate by the root."""

    def ends(config):
        rate = math.log2(config.effective_learning_rate)
        best = {64: -1, 256: 0}.get(config.batch_size, 2)
        return {"test_accuracy": 50 - abs(rate - best) + 0.1 * (config.seed % 3), "train_loss": 1.0}

    reading = reading_of(LONG, ends)
    grown = reading.tuned()[findings.key_of(reading, 256, updates=1000)]
    assert 0 in grown.exponents
    for name in (UPDATES, EPOCHS):
        found = judge(name, reading)
        assert found.word == "not tested here"
        assert found.why.endswith("2^0, outside of the grid of B = 256 as first planned.")


@pytest.mark.parametrize(
    ("updates", "lost"), [(1000, {EPOCHS}), (2000, {UPDATES}), (4000, {UPDATES})]
)
def test_a_mean_without_the_diverged_runs_is_not_judged(updates, lost):
    def linear(config):
        return math.inf if (config.steps, config.seed) == (updates, 1) else 50.0

    reading = reading_of(LONG, scaled(linear, 52.0))
    for name in (UPDATES, EPOCHS):
        found = judge(name, reading)
        assert (found.word == "not tested here") == (name in lost)
        if name in lost:
            assert found.why == (
                "1 of 3 runs of B = 256 diverged at the scaled rate, 2^3, "
                f"with {updates:,} updates."
            )


COMPARED = {
    UPDATES: {(64, 2000), (256, 2000), (64, 4000), (256, 4000)},
    EPOCHS: {(64, 4000), (256, 1000)},
}
"""Batch sizes and updates of the sweeps that a claim about scaled rates reads."""


@pytest.mark.parametrize("claim", COMPARED)
def test_scaled_rates_wait_for_the_sweeps_that_they_compare_and_for_no_others(whole, claim):
    def those(keep):
        kept = {k: r for k, r in whole.records.items() if keep(r.config)}
        return Reading(whole.study, kept)

    def at(config):
        return config.batch_size, config.steps

    own = those(lambda c: at(c) in COMPARED[claim] and of(c) == "plain")
    assert judge(claim, own) == judge(claim, whole)
    assert judge(claim, own).effect is not None
    for lost in COMPARED[claim]:
        found = judge(claim, those(lambda c, lost=lost: at(c) != lost))
        assert found.word == "not measured"
        assert found.why == f"1 of {len(COMPARED[claim])} sweeps is not complete."


# --- All together -------------------------------------------------------------------------------

SAID = {
    STAYS: "reproduced",
    CATCHES: "contradicted",
    FEWER: "reproduced",
    BACK: "reproduced",
    EARLY: "reproduced",
    STEPS: "contradicted",
    UPDATES: "contradicted",
    EPOCHS: "contradicted",
}


def test_complete_records_give_words_in_every_place(whole):
    assert {name: judge(name, whole).word for name in CLAIMS} == SAID
    told = findings.disagreements(whole)
    assert len(told) == len(findings.QUESTIONS)
    words = dict(zip(told.Question, told.Verdict, strict=True))
    assert words["Does the largest batch catch up with 4,000 updates?"] == (
        "S20: reproduced; H17: contradicted"
    )
    assert words["Do steps of fixed length close the gap?"] == "G20: contradicted"
    assert words["How should the learning rate grow with the batch?"] == (
        "H17, equal updates: contradicted; H17, equal epochs: contradicted"
    )
    # Both judge by the same numbers, which are told once.
    assert told.Measured[0] == (lambda why: why[0].upper() + why[1:])(judge(STAYS, whole).why)
    assert not WORDLESS.search(told.to_string())
    # The style sheet gives room to the column of what was measured by its place.
    assert list(told)[4] == "Measured"
    shown = figures.predictions(whole).data
    assert shown.startswith('<div class="sgdnoise-wordy"><table')
    assert "td:nth-child(5)" in (ROOT / "book" / "assets" / "access.css").read_text()


def test_every_claim_but_that_of_fewer_updates_decides_a_question():
    asked = [name for *_, ids in findings.QUESTIONS for name in ids]
    assert sorted(asked) == sorted(set(CLAIMS) - {FEWER})


IDLE = {"noise-back", "small-first", "small-last", "fixed-length"}


def planned(study, records):
    return {dict(state.sweep.key)["arm"] for state in study.states(records)}


def test_arms_wait_for_a_gap_that_they_could_close():
    study = Study.of(EXPERIMENT, "cpu")
    assert planned(study, {}) == {"plain", "passes", "longer"}
    most = study_of_some(MOST, seeds=5)
    some = filled(most, ending())
    assert planned(study, some) == {"plain", "passes", "longer"} | IDLE
    # One run short of knowing; and no gap, by fresh seeds alone.
    assert planned(study, dict(list(some.items())[1:])).isdisjoint(IDLE)
    level = filled(most, ending(fresh={**HEIGHTS, 1000: 52.0}))
    assert planned(study, level).isdisjoint(IDLE)
    # Ahead of a worse batch than the one whose noise is given back: no gap either.
    low = filled(most, ending({**HEIGHTS, 64: 60.0, 256: 47.0}))
    assert planned(study, low).isdisjoint(IDLE)
    # Nor is the one that all but a run show said to be none.
    most_of_it = Reading(study, dict(list(some.items())[:-1]))
    assert findings.no_gap_to_close(most_of_it) == ""
    assert figures.arms(most_of_it).startswith("*What the arms gain is not yet measured")
    # A gap with fewer updates is none that they could close.
    fewer = [sweep for sweep in LONG if sweep not in MOST]
    assert planned(study, filled(study_of_some(fewer, 5), ending())).isdisjoint(IDLE)
    told = "*What could close the gap has not been run: there is no gap to explain: with 4,000 "
    assert figures.arms(Reading(study, level)).startswith(told)
    assert study.may_need(grid.what_of_the_noise()[0].config((3,), 0))


def test_a_gap_that_is_not_sure_by_fresh_seeds_alone_tests_no_arm():
    most = reading_of(MOST, ending())
    assert findings.no_gap_to_close(most) == ""
    for name in (BACK, EARLY, STEPS):
        found = judge(name, most)
        assert found.word == "not tested here"
        assert found.why.startswith("by fresh seeds alone the gap is not sure")


def on_gpu(reading, where):
    """The same reading with some of its runs, by their configs, from a GPU."""
    records = {
        run: replace(record, provenance={**record.provenance, "device": "NVIDIA H200"})
        if where(record.config)
        else record
        for run, record in reading.records.items()
    }
    return Reading(reading.study, records)


def test_records_of_the_fair_step_budget_are_no_part_of_what_more_updates_do(whole):
    """They may be of another device than those with more updates, arms among them."""
    two = on_gpu(whole, lambda config: config.steps > 1000)
    words = {name: judge(name, two) for name in CLAIMS}
    mixed = {name for name, one in words.items() if "mix devices" in one.why}
    assert mixed == {FEWER, EPOCHS}
    for name in (STAYS, CATCHES, BACK, EARLY, STEPS, UPDATES):
        assert words[name] == judge(name, whole)


def test_claims_wait_for_their_own_sweeps_only(whole):
    """Without the arms the updates are judged; with the most updates alone the arms are."""
    without_arms = {k: r for k, r in whole.records.items() if of(r.config) == "plain"}
    part = Reading(whole.study, without_arms)
    waits = {name for name in CLAIMS if judge(name, part).word == "not measured"}
    assert waits == {BACK, EARLY, STEPS}
    most = {k: r for k, r in whole.records.items() if r.config.steps == 4000}
    part = Reading(whole.study, most)
    waits = {name for name in CLAIMS if judge(name, part).word == "not measured"}
    assert waits == {STAYS, CATCHES, FEWER, UPDATES, EPOCHS}


STATEMENTS = {name: f"“{claim.stated.statement}”" for name, claim in CLAIMS.items()}


@pytest.mark.parametrize("word", sorted({*get_args(Word)} - {"not measured"}))
def test_which_paper_held_is_told_by_the_words_whatever_they_are(monkeypatch, whole, word):
    other = "undecided" if word != "undecided" else "absent"
    monkeypatch.setattr(
        Claim, "judge", lambda self, _: Verdict(other if self.id == CATCHES else word, "so.")
    )
    s20, h17, g20 = findings.which_held(whole)
    statement = STATEMENTS
    assert g20 == (
        f"G20 says that a large batch fails by its vanishing steps: {word} is {statement[STEPS]}."
    )
    assert s20.startswith("S20 says that the noise itself helps: ")
    assert f": {word} are " in s20
    assert all(statement[name] in s20 for name in CLAIMS if name.startswith("S20"))
    first, second = sorted([(get_args(Word).index(w), w) for w in (word, other)])
    parts = {
        word: f"{word} are {statement[UPDATES]} and {statement[EPOCHS]}",
        other: f"{other} is {statement[CATCHES]}",
    }
    assert h17 == (
        f"H17 says that a large batch only lacks updates: {parts[first[1]]}; {parts[second[1]]}."
    )
    lines = [f"- {said}" for said in (s20, h17, g20)]
    # The reason stands once, however many claims have it.
    why = ["", "Not tested here means that so."] if word == "not tested here" else []
    assert findings.held_lines(whole).splitlines() == lines + why


def without_the_last(reading, **of):
    """A reading that lacks the last fresh seed of a plain sweep."""
    key = findings.key_of(reading, **of)
    (state,) = (state for state in reading.states if state.sweep.key == key)
    lost = state.fresh_runs[-1]
    return Reading(reading.study, {id: r for id, r in reading.records.items() if id != lost})


def test_a_paper_of_which_nothing_is_measured_has_a_sentence_that_says_why(whole):
    none = findings.which_held(Reading(whole.study, {}))
    assert none == tuple(
        f"{paper} says that {position}: this is not measured yet, because {count} of {count} "
        "sweeps are not complete."
        for (paper, position), count in zip(findings.POSITIONS.items(), (9, 7, 3), strict=True)
    )


def test_what_is_not_measured_says_why_once_for_each_reason(whole):
    two = on_gpu(whole, lambda config: config.steps > 1000)
    part = without_the_last(two, batch_size=1000, updates=4000)
    s20, h17, g20 = findings.which_held(part)
    assert s20.endswith(": this is not measured yet, because 1 of 9 sweeps is not complete.")
    assert g20.endswith(": this is not measured yet, because 1 of 3 sweeps is not complete.")
    assert h17 == (
        "H17 says that a large batch only lacks updates: contradicted is "
        f"{STATEMENTS[UPDATES]}; not measured yet are {STATEMENTS[CATCHES]}, because 1 of 6 sweeps "
        f"is not complete, and {STATEMENTS[EPOCHS]}, because its records mix devices, CPU and GPU."
    )
    # Of all that waits for sweeps they are counted once.
    part = without_the_last(two, batch_size=64, updates=4000)
    _, h17, _ = findings.which_held(part)
    assert h17.endswith("updates: this is not measured yet, because 1 of 7 sweeps is not complete.")
    # No word at all, for two reasons; and one reason, beside words.
    part = without_the_last(two, batch_size=64, updates=2000)
    _, h17, _ = findings.which_held(part)
    assert h17 == (
        "H17 says that a large batch only lacks updates: not measured yet are "
        f"{STATEMENTS[CATCHES]} and {STATEMENTS[UPDATES]}, because 1 of 6 sweeps is not complete, "
        f"and {STATEMENTS[EPOCHS]}, because its records mix devices, CPU and GPU."
    )
    part = without_the_last(whole, batch_size=1000, updates=4000)
    _, h17, _ = findings.which_held(part)
    assert h17.endswith(
        f"; not measured yet is {STATEMENTS[CATCHES]}, because 1 of 6 sweeps is not complete."
    )


def test_where_the_gap_is_not_known_the_table_says_what_is(whole):
    def measured(reading):
        told = findings.disagreements(reading)
        return dict(zip(told.Question, told.Measured, strict=True))

    def gap(updates):
        found = findings.gap_at(whole, updates)
        return f"with {updates:,} updates B = 256 is {found.size} points above B = 1,000"

    first, back, early, steps, scaling = (question for question, *_ in findings.QUESTIONS)
    two = on_gpu(whole, lambda config: config.steps > 1000)
    part = without_the_last(two, batch_size=1000, updates=4000)
    assert measured(part)[first] == (
        f"1 of 6 sweeps is not complete. So far, by fresh seeds, {gap(1000)}, and {gap(2000)}."
    )
    for question in (back, early, steps):
        assert measured(part)[question] == (
            "This waits for a gap with 4,000 updates: 1 of 3 sweeps is not complete."
        )
    assert measured(part)[scaling].endswith(
        " At equal epochs, its records mix devices, CPU and GPU: train them on one."
    )
    both = [judge(name, whole).why for name in (UPDATES, EPOCHS)]
    assert measured(whole)[scaling] == " ".join(why[0].upper() + why[1:] for why in both)
    # No gap of an incomplete sweep, of two devices or at an edge of a grid is told, nor any none.
    fewer = without_the_last(part, batch_size=64, updates=1000)
    assert measured(fewer)[first] == (
        f"1 of 6 sweeps is not complete. So far, by fresh seeds, {gap(2000)}."
    )
    both = on_gpu(part, lambda config: (config.steps, config.batch_size) == (1000, 64))
    assert measured(both)[first] == measured(fewer)[first]
    assert measured(Reading(whole.study, {}))[first] == "Nothing is recorded at scale cpu."
    # Once there is a gap the arms are planned, and wait for themselves.
    gone = {k: r for k, r in whole.records.items() if of(r.config) != "noise-back"}
    assert measured(Reading(whole.study, gone))[back] == "1 of 4 sweeps is not complete."
    assert "So far" not in "".join(measured(whole).values())


def test_a_gap_at_an_edge_of_a_grid_is_not_told():
    base = ending()

    def rising(config):
        ended = base(config)
        if config.batch_size == 64 and config.steps == 2000:
            ended["test_accuracy"] = 40 + math.log2(config.effective_learning_rate)
        return ended

    reading = reading_of(LONG, rising)
    title = figures.by_batch(reading).layout.title.text.replace("<br>", " ")
    assert ", not known for want of a tuned rate with 2,000 updates, " in title
    assert "2,000" not in findings.gaps_so_far(reading)
    assert findings.gaps_so_far(reading).count("points above") == 2


# --- One pass -----------------------------------------------------------------------------------


def test_one_pass_is_told_by_fresh_seeds(whole):
    def fresh(size, images):
        found = [
            r.metrics["test_accuracy"]
            for r in whole.records.values()
            if (r.config.batch_size, r.config.train_size) == (size, images)
            and r.config.seed >= FRESH_SEED
        ]
        assert len(found) == 3
        return np.mean(found)

    said = figures.one_pass(whole)
    for images in (50_000, 1000):
        assert f"{fresh(48, images) - fresh(16, images):+.2f} [" in said
    table = figures.passes_table(whole)
    assert list(table["Training images"]) == ["1,000"] * 3 + ["50,000"] * 3
    assert list(table["Batch size"]) == [16, 48, 256] * 2
    assert list(table["Passes over them"]) == ["16", "48", "256", "0.32", "0.96", "5.12"]
    for row in (0, 3):
        at = table.index[row]
        shown = float(table["Fresh seeds (%)"][at].split()[0])
        assert shown == pytest.approx(fresh(16, (1000, 50_000)[row // 3]), abs=0.006)
        # As made up, a run is as right on the images that it is trained on.
        shown = float(table["Training accuracy (%)"][at])
        assert shown == pytest.approx(fresh(16, (1000, 50_000)[row // 3]), abs=0.06)


def passed(often=(60.0, 62.0), once=(60.0, 62.0), fit=52.0, fits=(42.2, 50.4), spread=0.1):
    """Runs of `passes` alone: what B = 16 and 48 reach, and get right of their own images.

    Args:
        often: on 1,000 images.
        once: on 50,000.
        fit: B = 16 on 1,000 images, and 100 % the larger batches.
        fits: on 50,000 images.
        spread: of the accuracies.
    """

    def accuracy(config, rate):
        heights = dict(zip((16, 48), often if config.train_size == 1000 else once, strict=True))
        return heights.get(config.batch_size, 70.0) - (rate - peak_of(config)) ** 2

    base = noisy(accuracy, spread=spread)

    def ends(config):
        own = (fit, 100.0) if config.train_size == 1000 else fits
        of_own = dict(zip((16, 48), own, strict=True))
        # Other seeds count for the rate alone.
        right = of_own.get(config.batch_size, 70.0) if config.seed >= FRESH_SEED else 0.0
        return {**base(config), "train_accuracy": right}

    return reading_of(grid.passes(), ends)


CANNOT = "**One pass against many cannot tell here what noise is good for.** "
LACKS = (
    "With 1,000 updates B = 16 gets only 52 % of its 1,000 training images right: what it lacks is "
    "training."
)


def gain(reading, images):
    keys = [findings.key_of(reading, size, train_size=images) for size in (48, 16)]
    large, small = map(reading.reached, keys)
    return large - small


def test_one_pass_that_cannot_tell_says_so_and_by_which_numbers():
    reading = passed()
    assert gain(reading, 1000).interval.low > 0
    assert figures.one_pass(reading) == (
        f"{CANNOT}On 1,000 images, seen many times, B = 48 is {gain(reading, 1000)} points above "
        f"B = 16: the smaller batch has no lead that one pass could take away. {LACKS} Where no "
        f"image is seen twice, B = 48 is {gain(reading, 50_000)} points above B = 16. It is ahead "
        "on the 50,000 training images, too, 50.4 % of them right against 42.2 %: it is trained "
        "further."
    )
    behind = figures.one_pass(passed(fits=(50.4, 42.2)))
    assert behind.endswith(" points above B = 16.")


@pytest.mark.parametrize(
    ("often", "fit", "spread", "told", "lead", "lacks"),
    [
        # Only a sure lead of a small batch that has fitted its images tells anything.
        ((62.0, 60.0), 99.0, 0.1, True, "", False),
        ((62.0, 60.0), 98.9, 0.1, False, "", True),
        ((61.0, 60.0), 99.0, 1.0, False, "no sure lead", False),
        ((60.0, 62.0), 99.0, 0.1, False, "no lead", False),
        ((60.0, 62.0), 98.9, 3.0, False, "no sure lead", True),
    ],
)
def test_one_pass_tells_where_a_small_batch_leads_and_lacks_no_training(
    often, fit, spread, told, lead, lacks
):
    said = figures.one_pass(passed(often, fit=fit, spread=spread))
    assert said.startswith("**") == (not told)
    assert (CANNOT in said) == (not told)
    assert re.findall(r"no (?:sure )?lead", said) == [lead] * bool(lead)
    assert ("it lacks is training" in said) == lacks


def test_one_pass_does_not_wait_for_the_larger_batchs_many_passes():
    reading = passed()
    needed = {
        (key["batch_size"], key["train_size"])
        for state in reading.states
        if figures.about_one_pass(state.sweep.key)
        for key in [dict(state.sweep.key)]
    }
    assert needed == {(16, 50_000), (48, 50_000), (16, 1000)}
    others = [state.sweep.key for state in STATES if dict(state.sweep.key)["arm"] != "passes"]
    assert not any(map(figures.about_one_pass, others))


def larger_often(config):
    return (config.batch_size, config.train_size) == (48, 1000)


def test_what_is_missing_or_of_another_device_is_not_compared():
    whole = passed()
    other = figures.one_pass(on_gpu(whole, larger_often))
    part = {k: r for k, r in whole.records.items() if not larger_often(r.config)}
    missing = figures.one_pass(Reading(whole.study, part))
    for said, why in ((other, "comes from another device"), (missing, "is not yet measured")):
        assert said.startswith(CANNOT + LACKS)
        assert f" What B = 48 reaches on 1,000 images {why}. Where no image is" in said
        assert said.count("points above") == 1
    # Nor does a lead tell anything that is one of the device.
    lead = passed((62.0, 60.0), fit=99.0)
    assert not figures.one_pass(lead).startswith(CANNOT)
    assert figures.one_pass(on_gpu(lead, larger_often)).startswith(CANNOT)


def test_what_diverged_is_not_compared():
    def ends(config):
        return {"test_accuracy": math.inf if config.batch_size == 16 else 50.0}

    assert figures.one_pass(reading_of(grid.passes(), ends)) == (
        "**One pass is not compared with many**: every rate of SGD with momentum 0.9 diverged at "
        "B = 16."
    )


# --- Scaling, by the book -----------------------------------------------------------------------


def test_the_bookkeeping_is_what_the_sums_give():
    """Learning rates added up, and their squares over the batch size, with k times the batch."""
    k, updates, rate, size = 4.0, 100.0, 0.1, 64.0
    grows = {"not at all": 1.0, "by the root": math.sqrt(k), "in proportion": k}
    table = figures.bookkeeping()
    assert list(table["Equal"]) == ["updates"] * 3 + ["epochs"] * 3
    assert list(table["The learning rate grows"]) == [*grows] * 2
    symbols = {"1/k²": k**-2, "1/k": 1 / k, "1/√k": k**-0.5, "1": 1.0, "√k": k**0.5, "k": k}
    for row in table.to_dict("records"):
        # An epoch is as many updates as batches fit into the images.
        n = updates / k if row["Equal"] == "epochs" else updates
        e = rate * grows[row["The learning rate grows"]]
        true = {
            "Learning rate ×": e / rate,
            "Updates ×": n / updates,
            "Drift ×": n * e / (updates * rate),
            "Diffusion ×": (n * e**2 / (k * size)) / (updates * rate**2 / size),
        }
        for column, value in true.items():
            symbol, _, number = row[column].partition(" ")
            assert symbols[symbol] == pytest.approx(value)
            if number:
                over, _, under = number.strip("()").partition("/")
                assert float(over) / float(under or 1) == pytest.approx(value)
            else:
                assert symbol == "1"


# --- Figures ------------------------------------------------------------------------------------


def test_the_first_figure_has_a_curve_for_each_number_of_updates(whole):
    fig = figures.by_batch(whole)
    assert [trace.name for trace in fig.data] == ["1,000 updates", "2,000 updates", "4,000 updates"]
    reached = [whole.reached(key).value for key in findings.rows_at(whole, 4000).key]
    assert list(fig.data[2].y) == pytest.approx(reached)
    gaps = [findings.gap_at(whole, updates).size for updates in (1000, 2000, 4000)]
    assert all(gap.value > 3 for gap in gaps)
    title = (
        f"Lead of the best other batch over B = 1,000: {gaps[0]} points with 1,000 updates, "
        f"{gaps[1]} points with 2,000 updates, {gaps[2]} points with 4,000 updates"
    )
    # Figures' titles are broken where they would be too long.
    assert fig.layout.title.text.replace("<br>", " ") == title


def test_a_largest_batch_that_is_ahead_is_said_to_be():
    ahead = reading_of(LONG, ending({**HEIGHTS, (4000, 1000): 54.0}))
    size = findings.gap_at(ahead, 4000).size
    assert size.value < 0
    title = figures.by_batch(ahead).layout.title.text.replace("<br>", " ")
    assert title.endswith(f", {size} points with 4,000 updates")


def test_an_arms_gain_stands_beside_the_gap(whole):
    fig = figures.arms(whole)
    gap = findings.gap_to_best(whole).size
    marks = sorted(x for trace in fig.data for x in trace.x)
    gains = {arm: findings.gain_of(whole, arm).value for arm in findings.ARMS}
    assert marks == pytest.approx(sorted(gains.values()))
    (shaded,) = [shape for shape in fig.layout.shapes if shape.type == "rect"]
    assert (shaded.x0, shaded.x1) == pytest.approx((gap.interval.low, gap.interval.high))
    lines = sorted(shape.x0 for shape in fig.layout.shapes if shape.type == "line")
    assert lines == pytest.approx([0, gap.value / 2, gap.value])
    best = max(gains, key=gains.__getitem__)
    assert fig.layout.title.text == (
        f"Most is gained by {findings.ARMS[best]}: {gains[best]:.1f} of the {gap.value:.1f} points"
    )
    low, high = fig.layout.xaxis.range
    assert low <= min(marks)
    assert high >= gap.interval.high
    # No row stands on this page that a click could lead to.
    assert not fig.layout.meta["anchors"]
    assert "A click" not in str(fig.layout.annotations)


def test_where_there_is_no_gap_the_arms_say_so():
    none = reading_of(ARMS, ending({**HEIGHTS, 256: 45.0}))
    assert figures.arms(none).layout.title.text == (
        "B = 256 is not ahead of B = 1,000: there is no gap to close"
    )


def test_a_slider_passes_what_is_measured_and_each_step_shows_other_runs(whole):
    assert figures.measured(whole) == {
        "updates": [1000, 2000, 4000],
        "batch_size": [64, 256, 1000],
    }
    one = figures.sweep_at(whole, 2000, 256)
    tuned = whole.tuned()[findings.key_of(whole, 256, updates=2000)]
    runs = next(trace for trace in one.data if trace.name == "B = 256, 2,000 updates, runs")
    assert list(runs.y) == list(tuned.table.ravel())
    assert set(runs.customdata) <= set(whole.records)
    assert one.layout.title.text.startswith("B = 256, 2,000 updates: 5")
    assert one.layout.title.text.endswith(" % at 2³")
    # Its numbers are not those of the first figure, and the line below says why.
    (below,) = [note.text for note in one.layout.annotations if note.name == "provenance"]
    assert "a mean is of the best 2 of 3 at a rate. The first figure has fresh seeds" in below
    none = Reading(whole.study, {})
    assert figures.measured(none) == {"updates": [], "batch_size": []}


def test_records_of_a_part_draw_what_is_there(whole):
    some = list(whole.records.values())[:20]
    part = Reading(whole.study, {one.id: one for one in some})
    assert figures.by_batch(part).layout.title.text == "Not all of these runs have been made yet"
    assert figures.arms(part).startswith("*What the arms gain is not yet measured")
    for updates in (1000, 4000):
        assert figures.sweep_at(part, updates, 1000).layout.title.text.endswith("no rate yet")
    assert list(figures.passes_table(part)["Fresh seeds (%)"])[:2] == ["not yet measured"] * 2


def marks(of):
    """By name, the batch sizes that a figure's curves show, how, and with which sign."""
    return {
        trace.name: ([round(x, -1) or 0 for x in trace.x], trace.mode, trace.marker.symbol)
        for trace in figures.by_batch(of).data
    }


def test_a_batch_size_that_is_not_complete_is_hollow_and_has_no_line(whole):
    assert list(marks(whole)) == ["1,000 updates", "2,000 updates", "4,000 updates"]
    caption = figures.by_batch(whole).layout.annotations[-1].text
    assert caption.endswith(" Bars: 95 % intervals.")
    key = findings.key_of(whole, 1000, updates=4000)
    (state,) = (state for state in whole.states if state.sweep.key == key)
    lost = state.fresh_runs[2:]
    of = Reading(whole.study, {id: r for id, r in whole.records.items() if id not in lost})
    drawn = marks(of)
    assert drawn["1,000 updates"] == marks(whole)["1,000 updates"]
    assert drawn["4,000 updates"][0] == marks(whole)["4,000 updates"][0][:2]
    assert drawn["4,000 updates"][1:] == ("lines+markers", "triangle-up")
    (at,), *how = drawn["4,000 updates, not complete"]
    assert (at, *how) == (marks(whole)["4,000 updates"][0][2], "markers", "triangle-up-open")
    fig = figures.by_batch(of)
    assert fig.layout.annotations[-1].text.endswith(
        f" Bars: 95 % intervals. Hollow: 2 of {len(state.fresh_runs)} fresh seeds so far at "
        "B = 1,000 with 4,000 updates."
    )
    assert fig.layout.title.text.endswith(
        " points with 2,000 updates, not yet complete with 4,000 updates"
    )
    # A gap is of one device.
    two = on_gpu(of, lambda config: (config.steps, config.batch_size) == (2000, 64))
    assert figures.by_batch(two).layout.title.text.endswith(
        " points with 1,000 updates, on mixed devices, CPU and GPU, with 2,000 updates, not yet "
        "complete with 4,000 updates"
    )


def test_it_stands_where_its_claims_look_for_it():
    assert EXPERIMENTS[EXPERIMENT.name] is EXPERIMENT
    assert record(STATES[0].needed[0], ending()).config.batch_size == 64
