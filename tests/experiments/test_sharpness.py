"""Curvature and warm-up, on made-up records: every word of the predicates, and what each needs."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sgdnoise.analysis import Estimate, Interval, Reading
from sgdnoise.analysis.locate import Located
from sgdnoise.config import PROBE_EXAMPLES
from sgdnoise.experiments import study_of
from sgdnoise.experiments.constant_step.grid import FAIR
from sgdnoise.experiments.sharpness import figures, findings, sentences
from sgdnoise.experiments.sharpness import measured as of_runs
from sgdnoise.experiments.sharpness.grid import DIGITS_MLP, PROBED, THOUSAND_IMAGES
from sgdnoise.records.made import record_of
from sgdnoise.records.store import Store
from sgdnoise.study.grid import FRESH_SEED
from sgdnoise.study.scales import METHODS
from sgdnoise.training.result import Result
from sgdnoise.training.schedules import multipliers

STUDY = study_of("sharpness", "digits", 3)
IMAGES, SIZES, TUNED = DIGITS_MLP.images, DIGITS_MLP.sizes, DIGITS_MLP.tuned
WARM_UP, LARGE, arm = DIGITS_MLP.warm_up, DIGITS_MLP.large, DIGITS_MLP.arm
BY = {claim.id: claim for claim in findings.CLAIMS}
STEPS = [1, 10, 100, 1500, 2000, 4000, 5120]
LOSS = [2.5, 1.3, 1.1, 0.5, 0.1, 0.01, 0.001]
"""It learns from the third on, warm-up at B = 4 is over at the fourth; nothing is left at 4,000."""


def flat(config):
    return 1.0


def made(
    sharpness=flat,
    batch=flat,
    *,
    first=lambda config: 8.0,
    edge=lambda config: -1.5 if config.batch_size == 4 else 0.5 + 2 * bool(config.momentum),
    accuracy=lambda config: 97.0,
    top=lambda config: config.batch_size / 1024,
    lost=lambda config: False,
    fallen=2.3,
    study=STUDY,
):
    """Measured runs with curvatures at so many times their bound, and sweeps with an end.

    Args:
        study: of which scale; at `cpu` curvatures have the names of those by ghosts.
        sharpness, batch: over 2(1 + m)/ε while the net learns, by config.
        first: λmax after the first update, over that while the net learns.
        edge: log₂ of the rate up to which runs learn, by config.
        accuracy: at the best rate, by config.
        top: log₂ of that rate.
        lost: whether a run diverges.
        fallen: the loss beyond that rate.
    """

    def measured(config):
        bound = 2 * (1 + config.momentum) / config.learning_rate
        whole = np.array([first(config), 1, 1, 1, 1, 0.1, 0.1]) * bound
        ghost = "ghost_" if study.scale == "cpu" else ""
        return {
            "step": STEPS,
            "train_loss": LOSS,
            f"{ghost}sharpness": list(whole * sharpness(config)),
            f"{ghost}batch_sharpness": list(whole * batch(config)),
        }

    def record(config):
        if lost(config):
            return record_of(Result(config, "diverged", {"diverged_at": 1}, {}, 1.0))
        rate = math.log2(config.effective_learning_rate)
        jitter = 0.05 * (config.seed % FRESH_SEED - 1)
        metrics = {
            "test_accuracy": accuracy(config) - 0.4 * (rate - top(config)) ** 2 + jitter,
            "train_loss": 0.1 if rate <= edge(config) else fallen,
            "train_accuracy": 99.0,
        }
        curves = {"step": [1.0], "train_loss": [2.0], "distance": [1.0]}
        return record_of(
            Result(config, "done", metrics, measured(config) if config.probes else curves, 1.0)
        )

    there = {}
    while todo := study.missing(there):
        there |= {config.id: record(config) for config in todo}
    return Reading(study, there)


def scattered(config):
    """An accuracy that differs a little between all runs, so that a parabola fits a hill."""
    return 97.0 + 1e-3 * np.random.default_rng(int(config.id, 16)).standard_normal()


@pytest.fixture(scope="module")
def plain():
    return made()


ON_IMAGES = study_of("sharpness", "cpu", 3)


def on_images(*args, **options):
    """The same at scale cpu, where runs end a little beyond the best rates of B = 256."""
    made_here = {"top": lambda c: THOUSAND_IMAGES.tuned["momentum"][c.batch_size]}
    made_here |= {"edge": lambda c: 5.5}
    return made(*args, **(made_here | options), study=ON_IMAGES)


def verdict(of, claim, method="sgd"):
    return BY[f"{claim}.{method}"].judge(of)


def by_seed(*values):
    """One value a seed, in their order, and again from the first."""
    return lambda config: values[config.seed % FRESH_SEED % len(values)]


# --- The bound and the windows --------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", SIZES)
def test_beyond_the_bound_a_quadratic_is_unstable(plain, method, size):
    record = findings.measured(plain, method, size)[0]
    rate, momentum = record.config.learning_rate, record.config.momentum

    def ends(curvature):
        x, v = 1.0, 0.0
        for _ in range(4000):
            v = momentum * v + curvature * x
            x -= rate * v
        return abs(x)

    assert ends(0.99 * of_runs.bound(record)) < 1e-3
    assert ends(1.01 * of_runs.bound(record)) > 1e3
    assert of_runs.bound(record, effective=True) == pytest.approx(
        2 / (rate / (1 - momentum)), rel=1e-9
    )


def test_the_windows_are_those_of_learning_and_of_the_second_half(plain):
    cold, warm = (findings.measured(plain, "sgd", 4, epochs)[0] for epochs in (0, WARM_UP))
    assert findings.inside(cold, "learning").tolist() == [
        False,
        False,
        True,
        True,
        True,
        *[False] * 2,
    ]
    assert warm.config.warmup_steps == 1280
    assert findings.inside(warm, "learning").tolist() == [*[False] * 3, True, True, *[False] * 2]
    for record in (cold, warm):
        assert findings.inside(record, "late").tolist() == [False] * 5 + [True] * 2


def test_a_ratio_is_the_mean_of_runs_in_log2():
    of = made(by_seed(0.5, 1.0, 4.0), by_seed(2.0, 2.0, 2.0))
    records = findings.measured(of, "momentum", 4)
    found = findings.ratio(records, "sharpness")
    other = Estimate.mean([-1.0, 0.0, 2.0])
    assert (found.value, found.error, found.dof) == pytest.approx(
        (other.value, other.error, other.dof)
    )
    assert findings.ratio(records, "batch_sharpness").value == pytest.approx(1.0)
    # 2(1 + m)/ε over 2(1 − m)/ε is 19 at 0.9.
    effective = findings.ratio(records, "sharpness", effective=True).value
    assert effective == pytest.approx(other.value + math.log2(19))
    late = findings.ratio(records, "sharpness", "late").value
    assert late == pytest.approx(other.value + math.log2(0.1))
    for value in (-1.0, math.nan):
        curves = records[0].curves["sharpness"]
        records[0].curves["sharpness"] = [value] * len(curves)
        kept = findings.ratio(records, "sharpness")
        assert (kept.value, kept.dof) == (pytest.approx(1.0), 1)
        records[0].curves["sharpness"] = curves


def test_the_measured_runs_are_the_first_half_of_tuned_ones():
    sweeps = {state.sweep.key: state.sweep for state in Reading(STUDY, {}).states}
    for method, rates in TUNED.items():
        for size, exponent in rates.items():
            for epochs in (0, WARM_UP):
                key = arm(method, size, epochs)
                whole = sweeps[key].config((exponent,), 0)
                half = sweeps[key + PROBED].config((), 0)
                same = {"schedule": whole.schedule, "probes": (), "epochs": 40.0}
                assert half.replace(**same) == whole
                steps = half.total_steps(IMAGES)
                np.testing.assert_array_equal(
                    multipliers(half, half.batches(IMAGES)),
                    multipliers(whole, whole.batches(IMAGES))[:steps],
                )
                assert half.warmup_steps * size == epochs * IMAGES


def test_their_rates_are_what_the_constant_epoch_budget_found():
    study = study_of("constant-epoch", "digits")
    store = Store(Path(__file__).parents[2] / "results")
    optima = Reading(study, store.read(*study.place)).optima()
    for method, rates in TUNED.items():
        of = optima[optima.method == method].set_index("batch_size").exponent
        assert {size: of[size] for size in rates} == rates


# --- The critical rate ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("values", "word", "less_sure"),
    [
        ((1.0, 1.1, 0.9), "reproduced", "reproduced"),
        ((1.9, 1.95, 1.92), "reproduced", "undecided"),
        ((0.53, 0.535, 0.53), "reproduced", "undecided"),
        ((2.2, 2.25, 2.22), "contradicted", "undecided"),
        ((0.45, 0.46, 0.45), "contradicted", "undecided"),
        ((4.0, 4.1, 4.0), "contradicted", "contradicted"),
        ((0.3, 1.0, 3.0), "undecided", "undecided"),
    ],
)
def test_the_full_batchs_rate_is_critical_within_a_factor_of_two(method, values, word, less_sure):
    def others(config):
        return (
            30.0 if config.batch_size < IMAGES or config.warmup_steps else by_seed(*values)(config)
        )

    chosen = TUNED[method][IMAGES]
    of = made(others, top=lambda config: chosen, accuracy=scattered)
    found = verdict(of, "S20-E4.full-batch-at-critical", method)
    # Beside the cliff, plain SGD's rate is known within a factor of 2^0.75 to either side.
    assert found.word == (word if method == "momentum" else less_sure)
    assert found.effect == pytest.approx(np.mean(np.log2(values)))
    assert (found.unit, found.margin, found.seeds) == ("log2 ratio", 1.0, 3)
    assert f"λmax is {2.0**found.effect:.3g} [" in found.why
    # Where the best rate may be a quarter of theirs, runs at the bound decide nothing.
    unsure = made(others, top=lambda config: chosen - 2, accuracy=scattered)
    if abs(found.effect) < 1:
        assert verdict(unsure, "S20-E4.full-batch-at-critical", method).word == "undecided"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((0.22, 0.222, 0.22), "reproduced"),
        ((0.28, 0.282, 0.28), "contradicted"),
        ((0.1, 0.3, 0.6), "undecided"),
    ],
)
def test_the_small_batchs_rate_is_a_quarter_of_the_critical_one_or_less(method, values, word):
    def sharpness(config):
        if config.batch_size > 4 or config.warmup_steps:
            return 1e-3
        # By the effective rate: 2(1 + m)/ε is 19 times 2/ε_eff at 0.9.
        return by_seed(*values)(config) * (1 - config.momentum) / (1 + config.momentum)

    def judged(top):
        of = made(sharpness, top=lambda config: top, accuracy=scattered)
        return verdict(of, "S20-E3.far-below-critical", method)

    found = judged(-2.0)
    assert found.word == word
    assert found.effect == pytest.approx(np.mean(np.log2(values)) + 2)
    assert f"is {2.0 ** (found.effect - 2):.3g} [" in found.why
    assert "far below is 0.25 or less" in found.why
    # Momentum's own limit on the effective rate is 19 times as far.
    own = f"of momentum's own limit, 2(1+m)/λmax, {2.0 ** (found.effect - 2) / 19:.3g} ["
    assert (own in found.why) == (method == "momentum")
    assert "have the rate 2⁻², and the best one lies between 2⁻² and 2⁻²: at all" in found.why
    # Where the best rate may be twice or half as large, the same runs decide nothing.
    for top in (-1.0, -3.0):
        unsure = judged(top)
        assert unsure.effect == pytest.approx(found.effect)
        side = unsure.interval[1] - found.interval[1], found.interval[0] - unsure.interval[0]
        wider = [top == -1.0, top == -3.0] if word != "undecided" else [False, False]
        assert [grown > 0.5 for grown in side] == wider


def test_far_below_takes_a_tuned_rate_inside_its_grid():
    found = verdict(made(top=lambda config: 20.0), "S20-E3.far-below-critical")
    assert found.word == "not tested here"
    assert "lies on an edge of its grid" in found.why


def test_a_ratio_takes_two_runs_that_learnt():
    def lost(config):
        return bool(config.probes) and config.batch_size in (4, IMAGES) and config.seed > 0

    of = made(lost=lost)
    for claim, size in (
        ("S20-E4.full-batch-at-critical", "1,024"),
        ("S20-E3.far-below-critical", "4"),
    ):
        found = verdict(of, claim)
        assert found.word == "not tested here"
        assert found.why == f"1 of the measured runs of SGD at B = {size} learnt; it takes 2."


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-1.0, 1.0, "0.5 to 2 times the bound"),
        (-2.0, -0.1, "0.25 to 0.933 times the bound, surely below it"),
        (-2.0, 0.1, "0.25 to 1.07 times the bound"),
        (0.1, 0.9, "1.07 to 1.87 times the bound, surely above it"),
        (-0.1, 0.9, "0.933 to 1.87 times the bound"),
    ],
)
def test_where_a_curvature_stands_is_said_by_its_interval(low, high, said):
    one = Estimate.mean([0.0, 1.0, 2.0])
    reach = one.interval.half / one.error
    found = Estimate((low + high) / 2, (high - low) / 2 / reach, one.dof)
    assert sentences.at_the_limit(found) == said


def test_a_curvature_of_one_run_has_no_interval():
    found = sentences.at_the_limit(Estimate.mean([1.0]))
    assert found == "2 times the bound, by a single run"


def test_how_many_updates_a_window_has_is_counted_run_by_run(plain):
    records = [findings.measured(plain, "sgd", 4, epochs)[0] for epochs in (0, WARM_UP)]
    assert findings.logged(records) == "2 to 3"
    assert findings.logged(records, "late") == "2"
    assert findings.logged([]) == "–"
    records = findings.measured(made(by_seed(1.0, math.nan, 1.0)), "sgd", 4)
    assert findings.logged(records) == "0 to 3"


def test_the_first_sentence_has_both_curvatures_of_plain_sgd():
    def sharpness(config):
        if config.momentum or config.warmup_steps:
            return 30.0
        return 0.25 if config.batch_size == 4 else 1.1

    def batch(config):
        return 1.2 if config.batch_size == 4 else 0.4

    said = sentences.limits(made(sharpness, batch))
    assert said == (
        "**While plain SGD learns, at B = 4 λmax is 0.25 to 0.25 times the bound, surely below it, "
        "and batch sharpness is 1.2 to 1.2 times the bound, surely above it; at B = 1,024 λmax is "
        "1.1 to 1.1 times the bound, surely above it, and batch sharpness is 0.4 to 0.4 times the "
        "bound, surely below it.** "
        "The bound is 2/ε, and the ranges are 95 % intervals over seeds. At B = 4 the measured "
        "runs have 5,120 updates each, and curvature was measured after 3 of them while the net "
        "learnt; at B = 1,024 the measured runs have 5,120 updates each, and curvature was "
        "measured after 3 of them while the net learnt. "
        f"{sentences.measured_on(Reading(STUDY, {}))}"
    )


def test_the_images_behind_either_curvature_are_told():
    said = sentences.measured_on(Reading(STUDY, {}))
    assert f"λmax is of the loss on {PROBE_EXAMPLES} of the 1,024 training images." in said
    assert f"at B = {IMAGES:,} a batch is all images." in said


def test_what_the_verdicts_on_the_critical_rate_leave_untested_is_told(plain):
    said = sentences.another_rate(plain)
    assert "speaks of the rate that lowers the training loss fastest" in said
    assert "take one up to 2 times above for critical." in said
    # The made-up losses have no top.
    assert "best for the final loss" not in said

    tops = {"sgd": Located(0.0, -1.0, 1.0, "parabola"), "momentum": Located(1.0, 0.0, 2.0, "set")}
    tuned = {arm(m, IMAGES): SimpleNamespace(peak=top) for m, top in tops.items()}
    found = sentences.another_rate(
        SimpleNamespace(study=STUDY, tuned=lambda name: {"train_loss": tuned}[name])
    )
    assert (
        "At B = 1,024 the rate best for the final loss is 2⁰ with SGD (between 2⁻¹ and 2¹; the "
        "measured runs have 2⁻⁰·²⁵) and 2¹ with SGD with momentum 0.9 (between 2⁰ and 2²; the "
        "measured runs have 2²·²⁵). Besides," in found
    )


def test_which_curvature_can_limit_the_rate_is_told_by_batch_size():
    def sharpness(config):
        if config.warmup_steps:
            return 30.0
        if config.momentum:
            return by_seed(0.48, 0.5, 0.52)(config) if config.batch_size == IMAGES else 0.02
        return {4: 0.45, 256: 0.9}.get(config.batch_size, 1.4)

    def batch(config):
        if config.momentum:
            return 0.05
        return {4: 0.8, 256: 0.6}.get(config.batch_size, 3.0)

    said = sentences.which_limits(made(sharpness, batch))
    assert said.startswith(
        "**Which of the two limits the learning rate? With SGD it can be batch sharpness at B = 4; "
        "λmax or batch sharpness at B = 256; λmax or batch sharpness (its interval reaches "
        "further) at B = 1,024.** With SGD with momentum 0.9 it can be neither of them at B = 4 "
        "and 256; λmax (its interval reaches further) at B = 1,024. At B = 4, where the effective "
        "rate counts, batch sharpness is 0.95 to 0.95 times 2/ε_eff, surely below it. A curvature "
        "that is surely below half of its bound while the net learns is left out; "
    )
    assert "within a factor of 2 of its bound, with its whole interval unless told other" in said
    assert said.endswith("runs at the tuned rate alone cannot tell which follows which.")
    # A method of which one run alone learnt is left out.
    few = made(lost=lambda c: bool(c.probes) and c.seed > 0 and c.momentum > 0)
    assert "momentum 0.9" not in sentences.which_limits(few)


# --- Warm-up --------------------------------------------------------------------------------------

RATES, HELPS = "S20-C3.warm-up-larger-rates", "S20-C3.warm-up-helps-full-batch"
FULL_BATCH, FAR_BELOW = "S20-E4.full-batch-at-critical", "S20-E3.far-below-critical"


def warm(gains, sizes=LARGE):
    """Ends of the usable rates: so many octaves further with warm-up, seed by seed."""

    def edge(config):
        gain = by_seed(*gains)(config) if config.warmup_steps and config.batch_size in sizes else 0
        return 0.5 + 2 * bool(config.momentum) + gain

    return edge


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("gains", "word", "effect"),
    [
        ((1, 1, 1), "reproduced", 1),
        ((-1, -1, -1), "contradicted", -1),
        ((0, 0, 0), "absent", 0),
        ((0, 1, 1), "undecided", 2 / 3),
    ],
)
def test_larger_rates_are_judged_seed_by_seed(method, gains, word, effect):
    found = verdict(made(edge=warm(gains)), RATES, method)
    assert (found.word, found.effect) == (word, pytest.approx(effect))
    assert (found.unit, found.margin) == ("log2 ratio", 0.5)
    assert (
        "λmax falls early: at the tuned rate, without warm-up, it is after the first update "
        "8 [8, 8] and 8 [8, 8] times its mean while the net learns." in found.why
    )


@pytest.mark.parametrize(("one", "other"), [(256, 1024), (1024, 256)])
def test_larger_rates_are_judged_at_every_large_batch_size(one, other):
    found = verdict(made(edge=warm((1, 1, 1), sizes=(one,))), RATES)
    assert found.word == "absent"
    assert f"It holds for B = {one:,}, and not for B = {other:,}." in found.why
    hides = "for every seed, whose scatter the grid's step of 1 hides"
    gains = {one: f"+1.00 {hides}", other: f"+0.00 {hides}"}
    assert (
        f"in log₂, by {gains[256]} at B = 256 (20 updates) and by {gains[1024]} at B = 1,024 (5 "
        "updates)." in found.why
    )
    lost = verdict(made(edge=warm((-1, -1, -1), sizes=(one,))), RATES)
    assert lost.word == "contradicted"


def test_a_gain_rests_on_the_seeds_of_the_rates_and_not_on_those_of_the_measured_runs():
    of = made(edge=warm((0, 1, 1)), study=study_of("sharpness", "digits", 7))
    found = verdict(of, RATES)
    assert (found.seeds, of.fewest_seeds) == (7, 5)


def test_the_gain_at_a_small_batch_does_not_count():
    assert verdict(made(edge=warm((1, 1, 1), sizes=(4,))), RATES).word == "absent"


def test_a_gain_that_scatters_has_its_interval():
    gain = Estimate.mean([0.0, 1.0, 1.0])
    assert findings.told_gain(gain) == str(gain)


def test_the_highest_usable_rate_is_each_seeds_own(plain):
    key = arm("sgd", IMAGES)
    found = findings.usable(plain, key)
    assert found == dict.fromkeys(range(3), 0.0)
    one = made(edge=by_seed(-0.5, 1.5, 9.0))
    low, middle, never = findings.usable(one, key).values()
    assert (low, middle) == (-1.0, 1.0)
    # The third survived all that was tried, and nothing is known of its end.
    assert math.isnan(never)


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        (
            warm((9, 0, 0)),
            "1 of 3 seeds with warm-up at B = 256 learnt at every rate tried, or at none: ",
        ),
        (
            by_seed(9.0, -9.0, 0.0),
            "2 of 3 seeds with warm-up at B = 256 learnt at every rate tried",
        ),
        (
            lambda c: 0.5 if c.warmup_steps else 9.0,
            "3 of 3 seeds without warm-up at B = 256 learnt at every rate tried",
        ),
    ],
)
def test_larger_rates_take_ends_that_were_seen(edge, said):
    found = verdict(made(edge=edge), RATES)
    assert found.word == "not tested here"
    assert found.why.startswith(said)


def test_larger_rates_take_a_curvature_that_falls_early():
    for first in (1.0, 0.5):
        found = verdict(made(first=lambda config, first=first: first), RATES)
        assert found.word == "not tested here"
        assert "nothing says that the critical rate rises early" in found.why
        assert f"is {first:g} [{first:g}, {first:g}] times that while the net learns" in (found.why)
    assert verdict(made(first=lambda config: 1.5), RATES).word == "absent"
    few = made(lost=lambda config: bool(config.probes) and config.seed > 0)
    assert verdict(few, RATES).why.startswith("1 of the measured runs of SGD at B = 256 learnt")


@pytest.mark.parametrize("size", LARGE)
def test_larger_rates_take_every_large_batch_size(size):
    at = f"at B = {size:,}"
    few = made(lost=lambda c: bool(c.probes) and c.seed > 0 and c.batch_size == size)
    assert f"{at} learnt; it takes 2." in verdict(few, RATES).why
    unseen = made(edge=lambda c: 9.0 if c.batch_size == size else 0.5)
    assert f"3 of 3 seeds with warm-up {at} learnt at every rate" in verdict(unseen, RATES).why
    flat_there = made(first=lambda c: 1.0 if c.batch_size == size else 8.0)
    assert verdict(flat_there, RATES).why.startswith(
        f"{at} λmax after the first update is 1 [1, 1]"
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("gain", "word"), [(1.0, "reproduced"), (-1.0, "contradicted"), (0.0, "absent")]
)
def test_accuracy_with_warm_up_is_judged_by_fresh_seeds(method, gain, word):
    def accuracy(config):
        large = config.batch_size == IMAGES and config.seed >= FRESH_SEED
        return 90.0 + gain * (large and config.warmup_steps > 0)

    found = verdict(made(accuracy=accuracy), HELPS, method)
    assert (found.word, found.effect) == (word, pytest.approx(gain))
    assert (found.unit, found.margin) == ("points", 0.5)


def test_accuracy_takes_an_optimum_inside_the_grid():
    def top(config):
        return 30 if config.warmup_steps else 1

    found = verdict(made(top=top), HELPS)
    assert found.word == "not tested here"
    assert found.why == "the best rate of SGD at B = 1,024 lies on an edge of its grid."


# --- What is shown --------------------------------------------------------------------------------


def test_tables_and_figures_show_what_is_judged(plain):
    table = findings.ratios_table(plain)
    assert len(table) == 12
    assert set(table["λmax, while the net learns"]) == {"1 [1, 1]"}
    assert set(table["λmax, second half"]) == {"0.1 [0.1, 0.1]"}
    by = table.groupby("method")["batch sharpness / (2/ε_eff), while the net learns"].first()
    assert by["SGD"] == "1 [1, 1]"
    assert by["SGD with momentum 0.9"].startswith("19 ")
    warm_up = findings.warm_up_table(plain)
    hidden = "+0.00 for every seed, whose scatter the grid's step of 1 hides"
    assert warm_up["gain"].tolist() == [hidden] * 6
    assert warm_up["highest usable rate (log₂)"].tolist()[2:4] == ["+0.00", "-2.00"]
    assert set(warm_up["λmax after the first update / while the net learns"]) == {"8 [8, 8]"}
    logged = table["updates logged in a run, while it learns / in its second half"]
    assert logged.tolist()[:3] == ["3 / 2", "2 / 2", "3 / 2"]
    drawn = figures.at_the_bound(plain, "sgd")
    assert [trace.name for trace in drawn.data] == ["λmax", "batch sharpness"]
    np.testing.assert_allclose(drawn.data[0].y, 1.0)
    heavy = figures.at_the_bound(plain, "momentum").data
    np.testing.assert_allclose(heavy[2].y, 19.0)
    assert 10 ** figures.at_the_bound(plain, "momentum").layout.yaxis.range[1] > 19
    along = figures.along(plain, "momentum", 4, WARM_UP)
    assert [t.name for t in along.data if t.showlegend is not False] == [
        "λmax",
        "batch sharpness",
        "bound 2(1+m)/ε",
        "2/ε<sub>eff</sub>",
    ]
    # While the rate is a tenth of its height, the bound is ten times as high.
    bound, first = along.data[-2].y, findings.measured(plain, "momentum", 4, WARM_UP)[0]
    assert bound[-1] == pytest.approx(of_runs.bound(first))
    assert bound[2] == pytest.approx(of_runs.bound(first) * 1280 / 100)
    share = figures.survival(made(edge=warm((1, 0, 0))), "sgd", IMAGES).data
    assert [trace.name for trace in share] == ["without warm-up", f"{WARM_UP} epochs of warm-up"]
    at = list(share[1].x).index(2.0)
    assert share[1].y[at] == pytest.approx(100 / 3)
    assert share[0].y[list(share[0].x).index(2.0)] == 0


def test_marks_that_a_logarithm_leaves_out_are_counted():
    some = made(batch=by_seed(-0.5, 1.0, 1.0))
    said = figures.along(some, "sgd", 256, 0).to_json()
    assert f"{len(STEPS)} values at or below zero are not drawn." in said
    assert "are not drawn" not in figures.along(made(), "sgd", 256, 0).to_json()


def test_where_everything_diverged_nothing_is_judged_and_all_is_drawn():
    of = made(lost=lambda config: True)
    verdicts = [claim.judge(of) for claim in findings.CLAIMS]
    assert {found.word for found in verdicts} == {"not tested here"}
    assert not any("nan" in found.why for found in verdicts)
    assert sentences.limits(of).startswith("**No run learnt at the tuned rates**")
    assert (sentences.which_limits(of), sentences.larger_batch(of)) == ("", "")
    for table in (findings.ratios_table(of), findings.warm_up_table(of)):
        assert "nan" not in table.to_string()
    for probed in (True, False):
        sliders = figures.sliders(of, probed)
        assert (sliders["method"]["values"], sliders["size"]["values"]) == ([], [])
    figures.at_the_bound(of, "momentum")
    figures.along(of, "sgd", 4, 0)
    figures.survival(of, "sgd", 4)


def test_five_seeds_along_the_runs_are_all_that_is_asked_for():
    of = Reading(study_of("sharpness", "digits"), {})
    asked = {len(s.needed) // len(s.points): s.sweep for s in of.states}
    assert sorted(asked) == [5, 15]
    assert not asked[5].axes
    assert (of.seeds, of.part(of_runs.is_probed).seeds) == (15, 5)


def test_sliders_stop_where_runs_are_recorded_of_both_arms(plain):
    for probed in (True, False):
        found = figures.sliders(plain, probed)
        assert found["method"]["values"] == list(METHODS)
        assert found["size"]["values"] == list(SIZES)

    def lost(config):
        return config.batch_size == 256 and config.warmup_steps > 0 and config.momentum > 0

    part = made(lost=lost)
    for probed in (True, False):
        found = figures.sliders(part, probed)
        assert (found["method"]["values"], found["size"]["values"]) == (list(METHODS), [4, IMAGES])


@pytest.mark.parametrize(
    ("sgd", "heavy", "at"),
    [
        (
            (1, 1, 1),
            (1, 1, 1),
            "raises the highest usable rate with SGD and SGD with momentum 0.9",
        ),
        (
            (-1, -1, -1),
            (0, 0, 0),
            "lowers the highest usable rate with SGD and changes the highest usable rate by less "
            "than 0.5 in log₂ with SGD with momentum 0.9",
        ),
        (
            (0, 0, 1),
            (1, 1, 1),
            "may change the highest usable rate or not with SGD and raises the highest usable rate "
            "with SGD with momentum 0.9",
        ),
    ],
)
def test_what_warm_up_buys_at_a_large_batch_is_told_and_that_it_is_no_boundary(sgd, heavy, at):
    def edge(config):
        gains = {256: heavy if config.momentum else sgd}.get(config.batch_size, (0, 0, 0))
        return warm(gains)(config)

    said = sentences.larger_batch(made(edge=edge))
    assert said.startswith(
        "**Does warm-up then buy a larger batch? These runs cannot tell.** It takes the boundary "
        "batch size with warm-up and without. A boundary takes batch sizes on both sides of it, "
        "and of the 3 here only B = 4 lies below plain SGD's. "
    )
    assert (
        f"at B = 256 warm-up {at}; at B = 1,024 warm-up changes the highest usable rate by less "
        "than 0.5 in log₂ with SGD and SGD with momentum 0.9. " in said
    )
    assert said.endswith("by fresh seeds, surely differs in none of these 4 cases.")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 2.0, "raises the highest usable rate"),
        (-2.0, -0.01, "lowers the highest usable rate"),
        (-0.5, 0.5, "changes the highest usable rate by less than 0.5 in log₂"),
        (-0.51, 0.5, "may change the highest usable rate or not"),
        (-0.5, 0.51, "may change the highest usable rate or not"),
    ],
)
def test_what_a_gain_says_of_the_highest_usable_rate(low, high, said):
    assert sentences._change(Interval((low + high) / 2, low, high)) == said


def test_accuracies_that_surely_differ_with_warm_up_are_counted():
    def accuracy(config):
        return 97.0 + (3.0 if config.warmup_steps and config.batch_size == 256 else 0.0)

    assert "surely differs in 2 of these 4 cases." in sentences.larger_batch(
        made(accuracy=accuracy)
    )


def test_where_no_end_of_the_rates_was_seen_nothing_is_told_of_a_larger_batch():
    assert sentences.larger_batch(made(edge=lambda config: 9.0)) == ""


def test_where_warm_up_helps_is_said_with_bonferronis_correction():
    tail = " 5 epochs are 1,280, 20, 5 updates at B = 4, 256, 1,024."
    none = findings.where_it_helps(made())
    assert none == (
        "Of 6 batch sizes and methods whose highest usable rate is known, warm-up raises it for 0 "
        f"(with Bonferroni's correction).{tail}"
    )
    gains = {1: (1, 1, 1), 2: (-1, -1, -1)}

    def edge(config):
        larger = bool(config.momentum) + 1
        gain = by_seed(*gains[larger])(config) if config.warmup_steps else 0
        if config.batch_size == 4:
            return -1.5
        return 0.5 + 2 * bool(config.momentum) + gain * (config.batch_size == 256)

    said = findings.where_it_helps(made(edge=edge))
    assert (
        "for 1 (with Bonferroni's correction): SGD at B = 256, in log₂ by +1.00 for every seed"
        in said
    )
    # Five standard errors on three seeds: p = 0.04 is enough for one alone, not for one of six.
    gains[1] = (1, 2, 2)
    assert "raises it for 0 (" in findings.where_it_helps(made(edge=edge))
    known = findings.where_it_helps(made(edge=lambda config: 9.0 if config.momentum else -1.5))
    assert known.startswith("Of 3 batch sizes and methods")


# --- On 1,000 images, scale cpu -------------------------------------------------------------------


def test_on_images_the_measured_runs_are_the_first_half_of_tuned_ones():
    at = THOUSAND_IMAGES
    sweeps = {state.sweep.key: state.sweep for state in Reading(ON_IMAGES, {}).states}
    assert len(sweeps) == 7
    for size, exponent in at.tuned["momentum"].items():
        key = at.arm("momentum", size)
        whole = sweeps[key].config((int(exponent),), 0)
        half = sweeps[key + PROBED].config((), 0)
        assert half.replace(schedule=whole.schedule, probes=(), steps=1000) == whole
        assert (half.steps, half.probes) == (500, ("ghost-batch-sharpness", "ghost-sharpness"))
    warm = sweeps[at.arm("momentum", 256, 50)].config((4,), 0)
    assert warm.replace(warmup_steps=0) == sweeps[at.arm("momentum", 256)].config((4,), 0)
    assert warm.warmup_steps == 50


def test_on_images_their_rates_are_what_the_fair_step_budget_found():
    study = study_of("constant-step", "cpu")
    store = Store(Path(__file__).parents[2] / "results")
    optima = Reading(study, store.read(*study.place)).optima(variant=FAIR)
    of = optima.set_index("batch_size").exponent
    rates = THOUSAND_IMAGES.tuned["momentum"]
    assert {size: of[size] for size in rates} == rates
    # The same runs: of the rates without warm-up those alone are new that B = 256 does not survive.
    known = store.read(*study.place)
    swept = [s for s in Reading(ON_IMAGES, {}).states if s.sweep.axes]
    cold = {run for s in swept for run in s.needed if not run.warmup_steps}
    new = {run for run in cold if run.id not in known}
    assert {(run.batch_size, round(math.log2(run.effective_learning_rate))) for run in new} == {
        (256, 6),
        (256, 7),
    }


@pytest.mark.parametrize(
    ("times", "word"), [(1.1, "reproduced"), (4.0, "contradicted"), (0.3, "contradicted")]
)
def test_on_images_the_full_batch_is_judged_by_curvature_with_ghosts(times, word):
    def sharpness(config):
        return times if config.batch_size == 1000 else 30.0

    found = verdict(on_images(sharpness, accuracy=scattered), FULL_BATCH, "momentum")
    assert (found.word, found.effect) == (word, pytest.approx(math.log2(times)))
    assert "at B = 1,000 and its tuned rate λmax is" in found.why


@pytest.mark.parametrize(("times", "word"), [(0.2, "reproduced"), (0.3, "contradicted")])
def test_on_images_the_small_batch_is_16(times, word):
    def sharpness(config):
        return times / 19 if config.batch_size == 16 else 30.0

    found = verdict(on_images(sharpness, accuracy=scattered), FAR_BELOW, "momentum")
    assert (found.word, found.effect) == (word, pytest.approx(math.log2(times) + 2))
    assert found.why.startswith("at B = 16 the tuned effective rate is")


@pytest.mark.parametrize(("gain", "word"), [(1, "reproduced"), (-1, "contradicted"), (0, "absent")])
def test_on_images_larger_rates_are_judged_at_256_with_50_updates_of_warm_up(gain, word):
    def edge(config):
        return 5.5 + gain * (config.warmup_steps == 50)

    of = on_images(edge=edge)
    found = verdict(of, RATES, "momentum")
    assert (found.word, found.effect) == (word, pytest.approx(gain))
    assert found.why.startswith("50 updates of warm-up raise the highest usable rate, in log₂, by")
    assert "at B = 256. λmax falls early" in found.why
    assert findings.where_it_helps(of) == ""
    said = sentences.larger_batch(of)
    assert "and here B = 256 alone has warm-up." in said
    assert said.endswith("by fresh seeds, does not surely differ.")
    sure = on_images(edge=edge, accuracy=lambda c: 50.0 + 3 * (c.warmup_steps > 0))
    assert sentences.larger_batch(sure).endswith("by fresh seeds, surely differs.")


@pytest.mark.parametrize(
    ("gain", "word"), [(2.0, "reproduced"), (-2.0, "contradicted"), (0.0, "absent")]
)
def test_on_images_accuracy_with_warm_up_is_judged_at_256(gain, word):
    def accuracy(config):
        return 50.0 + gain * (config.seed >= FRESH_SEED and config.warmup_steps > 0)

    found = verdict(on_images(accuracy=accuracy), HELPS, "momentum")
    assert (found.word, found.effect) == (word, pytest.approx(gain))
    assert found.why.startswith("at B = 256, 50 updates of warm-up add")


def test_on_images_nothing_is_said_of_plain_sgd():
    of = on_images()
    for name, claim in BY.items():
        found = claim.judge(of)
        assert found.elsewhere == name.endswith(".sgd")
    assert sentences.limits(of).startswith("**While SGD with momentum 0.9 learns, at B = 16 λmax")
    assert "The bound is 2(1 + m)/ε" in sentences.limits(of)
    assert "with the statistics of ghosts" in sentences.limits(of)
    assert "plain SGD" not in sentences.which_limits(of)


@pytest.mark.parametrize("make", [made, on_images])
def test_a_run_is_lost_above_a_half_of_a_guess_at_either_scale(make):
    key = arm("momentum", 256) if make is made else THOUSAND_IMAGES.arm("momentum", 256)
    end = {made: 2.0, on_images: 5.0}[make]
    # ln 10 / 2 is 1.151.
    assert findings.usable(make(fallen=1.16), key) == dict.fromkeys(range(3), end)
    assert all(map(math.isnan, findings.usable(make(fallen=1.14), key).values()))


def test_on_images_a_net_learns_from_nine_tenths_of_a_guess_on():
    record = of_runs.measured(on_images(), "momentum", 16)[0]
    # 2.5 is above 0.9 ln 10 = 2.07; 1.3 is below it, and above a half of a guess.
    assert of_runs.inside(record, "learning").tolist() == [False, *[True] * 4, False, False]
    assert of_runs.ratio([record], "sharpness").value == pytest.approx(0.0)


def test_on_images_sliders_show_what_is_there():
    of = on_images()
    along = figures.sliders(of, probed=True)
    assert along["method"]["values"] == ["momentum"]
    assert (along["size"]["values"], along["size"]["value"]) == ([16, 256, 1000], 1000)
    assert along["length"]["values"] == (0,)
    swept = figures.sliders(of, probed=False)
    assert (swept["size"]["values"], "length" in swept) == ([256], False)
    assert figures.second_at_the_bound(of) is None
    drawn = figures.along(of, "momentum", 1000, 0)
    assert drawn.layout.xaxis.title.text.startswith("updates")
    np.testing.assert_array_equal(drawn.data[0].x, STEPS)
    share = figures.survival(of, "momentum", 256).data
    assert [trace.name for trace in share] == ["without warm-up", "50 updates of warm-up"]
    assert findings.ratios_table(of)["warm-up"].tolist() == ["none"] * 3
    assert findings.warm_up_table(of)["batch size"].tolist() == ["256"]
