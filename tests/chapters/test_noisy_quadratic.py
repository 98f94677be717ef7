"""The chapter on the noisy quadratic model: its own tuning, its numbers, its prose."""

from __future__ import annotations

import math
from pathlib import Path

import nbformat
import numpy as np
import pytest

from sgdnoise.chapters import noisy_quadratic as chapter
from sgdnoise.chapters import noisy_quadratic_figures as figures
from sgdnoise.chapters import noisy_quadratic_findings as findings
from sgdnoise.chapters.noisy_quadratic import CONSTANT, DECAYED, METHODS, MOMENTUM, SGD
from sgdnoise.papers import numbers
from sgdnoise.schedule import hold_then_decay
from sgdnoise.theory import nqm
from sgdnoise.theory.regimes import hinge_of_rates
from sgdnoise.theory.stability import critical_learning_rate

ROOT = Path(__file__).parents[2]
MODEL, SIZES = chapter.model(), chapter.SOME
EPOCHS = {e: chapter.BUDGETS[f"{e} epochs"] for e in (4, 32)}


def curve_of(batch_sizes, rates, steps=None) -> nqm.TunedCurve:
    b = np.array(batch_sizes)
    steps = np.ones_like(b) if steps is None else np.array(steps)
    ok = np.full(b.size, nqm.Status.REACHED, dtype=object)
    rates = np.array(rates, dtype=float)
    return nqm.TunedCurve(b, steps, rates, rates, np.ones(b.size), ok)


# --- Tuning under S20's schedule, against the recursion at every rate of a dense grid -------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("batch_size", "steps"), [(2, 250), (1, 120), (4096, 120), (4096, 40)])
def test_schedule_is_tuned_as_brute_force_tunes_it(
    momentum: float, batch_size: int, steps: int
) -> None:
    model = nqm.spectrum("exact", 40)
    critical = float(critical_learning_rate(1.0, momentum))
    rates = np.geomspace(critical / 300, critical, 4000)[:, None]
    h, schedule = model.curvature, hold_then_decay(steps)
    xx, xb, bb = np.ones((4000, 40)), np.zeros((4000, 40)), np.zeros((4000, 40))
    for t in range(steps):  # on PyTorch's buffer b' = m b + g, x' = x - ε b'
        e = rates * schedule(t)
        x_new_b = momentum * xb + h * xx
        bb = momentum**2 * bb + 2 * momentum * h * xb + h**2 * xx + h / batch_size
        xx, xb = xx - 2 * e * x_new_b + e**2 * bb, x_new_b - e * bb
    loss = xx @ h / 2
    rate, least = nqm.tuned_under_schedule(model, batch_size, steps, momentum)
    # Neighbours on the dense grid are 0.15% apart, and the search stops at 0.3%.
    assert rate == pytest.approx(float(rates[np.argmin(loss), 0]), rel=0.006)
    assert least == pytest.approx(float(loss.min()), rel=1e-3)
    assert least <= float(loss.min()) * (1 + 5e-5)


def test_no_schedule_starts_beyond_the_critical_rate(curves: dict) -> None:
    for method in METHODS:
        critical = float(critical_learning_rate(MODEL.sharpness, method.momentum))
        rates = curves["epochs", DECAYED][method.name].learning_rate
        assert (rates <= critical * (1 + 1e-12)).all()
    # The wall is met, so the test above is about something.
    assert curves["epochs", DECAYED][SGD.name].learning_rate.max() == pytest.approx(2.0)


def test_tuned_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="known length"):
        chapter.tuned(MODEL, nqm.UnlimitedBudget(), [1], schedule=DECAYED)
    with pytest.raises(ValueError, match="unknown schedule"):
        chapter.tuned(MODEL, EPOCHS[4], [1], schedule="cosine")


# --- The numbers that sum a curve up, on curves whose numbers are known --------------------------


def test_regimes_of_a_corner_and_of_a_rounded_curve() -> None:
    b = 2.0 ** np.arange(15)
    corner = chapter.regimes(curve_of(b.astype(int), 0.01 * np.minimum(b, 100)))
    assert corner.boundary == pytest.approx(100, rel=0.02)
    assert corner.below == pytest.approx(1, abs=0.01)
    rounded = chapter.regimes(curve_of(b.astype(int), 2 / (1 + 300 / b)))
    assert 300 < rounded.boundary < 600
    assert 0.9 < rounded.below < 0.99


def test_a_power_that_is_not_one_and_a_curve_that_never_flattens_have_no_boundary() -> None:
    b = 2.0 ** np.arange(15)
    bent = chapter.regimes(curve_of(b.astype(int), np.sqrt(np.minimum(b, 256))))
    assert bent.below == pytest.approx(0.5, abs=0.01)
    assert math.isnan(bent.boundary)
    line = chapter.regimes(curve_of(b.astype(int), b))
    assert line.below == pytest.approx(1)
    assert math.isnan(line.boundary)
    assert math.isnan(chapter.regimes(curve_of(b[:3].astype(int), b[:3])).below)


def test_a_slope_through_two_batch_sizes_is_none() -> None:
    b = 2.0 ** np.arange(15)
    for bend, known in ((3.0, False), (6.0, True)):  # 1 and 2 below it, or 1, 2 and 4
        curve = curve_of(b.astype(int), np.minimum(b, bend))
        found = chapter.regimes(curve)
        assert math.isfinite(found.below) == math.isfinite(found.boundary) == known
        row = chapter.regimes_table({("steps", DECAYED): {SGD.name: curve}}).iloc[0]
        assert (row[f"slope, {SGD.name}"] == "too few") == (not known)
        assert (row[f"boundary, {SGD.name}"] == "none") == (not known)


def test_the_textbooks_hinge_bends_beyond_its_parameter() -> None:
    # By brute force over knees: least squares of log2 rate on a broken line.
    x = np.linspace(math.log2(1e-2), math.log2(1e2), 61)
    y = -np.log2(1 + 2.0**-x)

    def misfit(knee: float) -> float:
        design = np.stack([np.minimum(x - knee, 0), np.ones_like(x)], 1)
        return float(np.linalg.lstsq(design, y, rcond=None)[1][0])

    knees = np.linspace(-3, 3, 1201)
    best = knees[int(np.argmin([misfit(knee) for knee in knees]))]
    found = chapter.textbook_hinge()
    assert found.knee == pytest.approx(best, abs=0.05)
    ramp = np.stack([np.minimum(x - best, 0), np.ones_like(x)], 1)
    slope = float(np.linalg.lstsq(ramp, y, rcond=None)[0][0])
    assert found.slope == pytest.approx(slope, abs=0.01)
    assert slope < 0.9  # so that the page's rule gives it no boundary
    text = findings.heights().data
    assert f"its fitted slope is {slope:.2f}" in text
    assert "it is at 50% of its plateau" in text
    bend = 2.0**found.knee
    assert f"bends at {bend:.1f} B<sub>noise</sub>, where it is at {bend / (1 + bend):.0%}" in text
    assert "*" not in text  # which Markdown would take for emphasis
    name = "1/(1 + B<sub>noise</sub>/B)"
    curve = next(t for t in figures.reduced(MODEL, {}).data if t.name == name)
    at_one = np.interp(0.0, np.log(curve.x), curve.y)
    assert at_one == pytest.approx(bend / (1 + bend), abs=0.002)


def test_the_work_doubles_where_it_should() -> None:
    b = 2 ** np.arange(15)
    steps = np.round(10**7 * (1 + 500 / b)).astype(int)
    # examples ∝ B + 500 is twice that of B = 1 at B = 502; interpolation between octaves costs 3%.
    assert chapter.doubling_batch_size(curve_of(b, b, steps)) == pytest.approx(502, rel=0.03)
    assert math.isnan(chapter.doubling_batch_size(curve_of(b[:5], b[:5], steps[:5])))


def test_numbers_in_prose() -> None:
    assert [chapter.about(v) for v in (22612.3, 89.13, 0.003531, 99.96, 100.4)] == [
        "22,600",
        "89.1",
        "0.00353",
        "100",
        "100",
    ]


def test_table_says_what_is_not_there(curves: dict) -> None:
    table = chapter.regimes_table(curves).set_index(["budget", "learning rate"])
    assert table.loc[(16000, CONSTANT), f"boundary, {SGD.name}"] == "none"
    found = chapter.regimes(curves["epochs", CONSTANT][SGD.name])
    row = table.loc[("epochs", CONSTANT)]
    assert row[f"boundary, {SGD.name}"] == chapter.about(found.boundary)
    assert row[f"slope, {SGD.name}"] == f"{found.below:.2f}"


# --- Beyond the critical rate ---------------------------------------------------------------------


def test_the_schedule_as_a_whole_blows_up_from_its_limit_on() -> None:
    steps = 2048
    factor = np.array([hold_then_decay(steps)(t) for t in range(steps)])
    limit = chapter.schedule_limit(MODEL, steps)
    assert 2 < limit < 3
    below, above = (
        np.log(np.abs(1 - rate * factor)).sum() for rate in (limit - 0.01, limit + 0.01)
    )
    assert below < 0 < above
    # Up to there no direction, however flat, grows.
    rates = np.linspace(0.01, limit - 0.01, 500)[:, None]
    with np.errstate(divide="ignore"):
        assert (np.log(np.abs(1 - rates * factor)).sum(axis=1) < 0).all()


@pytest.mark.parametrize(("batch_size", "steps"), [(16, 40), (1024, 100)])
def test_the_best_rate_beyond_the_wall_is_that_of_brute_force(batch_size: int, steps: int) -> None:
    model = nqm.spectrum("exact", 40)
    rates = np.geomspace(1.0, chapter.schedule_limit(model, steps), 3000)[:, None]
    h, schedule, xx = model.curvature, hold_then_decay(steps), np.ones((3000, 40))
    for t in range(steps):
        e = rates * schedule(t)
        xx = (1 - e * h) ** 2 * xx + e**2 * h / batch_size
    loss = xx @ h / 2
    found = chapter.best_beyond(model, batch_size, steps)
    assert found == pytest.approx(float(rates[np.argmin(loss), 0]), rel=2e-3)
    assert 2.1 < found < 2.3  # beyond the wall, and not at the end of what is searched


def test_text_tells_the_heights_with_and_without_the_wall() -> None:
    text = findings.heights().data
    rates = chapter.beyond_the_wall()
    sizes = list(rates)
    assert sizes == sorted(sizes)
    knee = chapter.regimes(chapter.budget_curves()["32 epochs", DECAYED][SGD.name]).boundary
    assert sizes[0] == round(knee)
    largest = max(rates, key=lambda b: rates[b])
    assert sizes[0] < largest < sizes[-1]  # larger batches would not be larger rates
    assert f"from {rates[sizes[0]]:.2f} at B = {sizes[0]} to {rates[largest]:.2f}" in text
    assert f"is then {rates[sizes[0]] / rates[largest]:.0%} of the largest" in text
    assert "The 100% under the schedule" in text
    # Sharper than at a constant rate, and no corner.
    held = chapter.corners()[f"32 epochs, {CONSTANT}"][1]
    assert held + 0.05 < rates[sizes[0]] / rates[largest] < 0.9
    assert rates[largest] > 2.3


# --- What the chapter says in words --------------------------------------------------------------


def test_constant_epochs_have_two_regimes(curves: dict) -> None:
    for schedule in (CONSTANT, DECAYED):
        pair = curves["epochs", schedule]
        sgd, momentum = pair[SGD.name], pair[MOMENTUM.name]
        below = sgd.batch_size <= 16
        assert np.ptp(sgd.loss[below]) < 0.05 * sgd.loss[0]
        assert momentum.loss[below] == pytest.approx(sgd.loss[below], rel=0.03)
        assert (np.diff(sgd.loss[sgd.batch_size >= 64]) > 0).all()
        assert chapter.regimes(sgd).below == pytest.approx(1, abs=0.05)
        beyond = sgd.batch_size >= 4 * chapter.regimes(sgd).boundary
        flat = chapter.log_slope(sgd.batch_size[beyond], sgd.learning_rate[beyond])
        assert flat == pytest.approx(0, abs=0.05)
        assert chapter.regimes(momentum).boundary > 10 * chapter.regimes(sgd).boundary


def test_more_epochs_move_the_boundary_up_by_less_than_the_epochs() -> None:
    few, many = (chapter.regimes(chapter.tuned(MODEL, EPOCHS[e], SIZES)) for e in (4, 32))
    assert 1 < many.boundary / few.boundary < 8


def test_constant_steps_follow_no_fixed_power(curves: dict) -> None:
    for method in METHODS:
        short, long = (curves[t, CONSTANT][method.name] for t in (250, 16000))
        assert chapter.regimes(long).below < chapter.regimes(short).below < 0.9
        assert (np.diff(long.loss) < 0).all()


def test_text_tells_the_powers_under_s20s_schedule() -> None:
    text = findings.schedule_and_powers().data
    powers = []
    for steps in (250, 2000, 16000):
        curve = chapter.budget_curves()[f"{steps:,} steps", DECAYED][MOMENTUM.name]
        powers.append(hinge_of_rates(curve.batch_size, curve.effective_learning_rate).slope)
    shown = "{:.2f}, {:.2f} and {:.2f}".format(*powers)
    assert f"with slope {shown} at 250, 2,000 and 16,000 steps" in text
    assert powers[0] > powers[1] + 0.2 > powers[2] + 0.4
    # "For updates no fixed power, mostly less than linear."
    table = chapter.regimes_table(chapter.budget_curves())
    slopes = table[table.budget.str.endswith("steps")].filter(like="slope").to_numpy().ravel()
    known = [float(s) for s in slopes if s != "too few"]
    assert len(known) > len(slopes) / 2
    assert max(known) < 0.95


def test_text_says_what_s20s_rates_were_tuned_for() -> None:
    said = "S20's rates are tuned for test accuracy and printed as powers of two"
    assert said in findings.schedule_and_powers().data
    exponents = numbers.table("S20-T1").exponent
    assert (exponents == exponents.astype(int)).all()


def test_s20s_large_batches_end_as_the_page_says() -> None:
    table = numbers.table("S20-T1").set_index("batch_size")
    large = table[table.index > 2048]
    assert (large.test_accuracy < table.test_accuracy[2048]).all()
    assert (large.train_loss < table.train_loss[2048]).all()
    assert not large.train_loss.is_monotonic_decreasing  # "while the loss still improves" is not so


def test_a_steep_direction_that_has_arrived_makes_more_noise_than_a_slow_one_on_its_way() -> None:
    curve = chapter.to_target()[SGD.name]
    k = list(curve.batch_size).index(1024)
    rate, h, xx = float(curve.learning_rate[k]), np.array([1.0, 1e-3]), np.zeros(2)
    for _ in range(round(1 / (2 * rate * h[1]))):  # until the slow one is well on its way
        xx = (1 - rate * h) ** 2 * xx + rate**2 * h / 1024
    loss = h * xx / 2
    assert loss[0] == pytest.approx(rate / (2 - rate) / 1024 / 2, rel=1e-6)
    assert loss[0] > 500 * loss[1]


def test_text_names_the_target() -> None:
    for said in (findings.opening, findings.end_of_the_bargain, findings.two_regimes):
        assert f"{chapter.TARGET:g}" in said().data


def test_text_counts_the_levels_that_are_occupied() -> None:
    h = np.floor(np.log(1 / np.arange(1, 10_001)) / np.log(10_000) * 99 + 99 + 1e-9)
    assert np.unique(h).size == chapter.model().curvature.size
    assert f"Of the levels {np.unique(h).size} are occupied" in findings.binned().data


def test_random_numbers_agree_with_the_closed_form() -> None:
    for method in METHODS:
        closed, runs = chapter.check(method)
        assert len(runs) >= 200
        error = runs[:, -1].std(ddof=1) / math.sqrt(len(runs))
        assert abs(runs[:, -1].mean() - closed[-1]) < 2 * error


def test_the_schedule_helps_where_noise_is_the_limit_and_costs_where_curvature_is(
    curves: dict,
) -> None:
    ratio = curves["epochs", DECAYED][SGD.name].loss / curves["epochs", CONSTANT][SGD.name].loss
    assert ratio[0] < 0.5
    assert ratio[-1] > 1.05


def test_the_schedule_makes_the_corner_sharp(curves: dict) -> None:
    held, decayed = (
        chapter.height_at_boundary(MODEL, EPOCHS[32], curves["epochs", s][SGD.name], s)
        for s in (CONSTANT, DECAYED)
    )
    assert 0.5 < held < 0.8
    assert decayed > 0.95


def test_perfect_scaling_ends_and_momentum_takes_it_further(to_target: dict) -> None:
    sgd, momentum = to_target[SGD.name], to_target[MOMENTUM.name]
    assert sgd.steps[0] / sgd.steps[1] == pytest.approx(64, rel=0.03)
    assert momentum.steps[:2] == pytest.approx(sgd.steps[:2], rel=0.03)
    assert chapter.doubling_batch_size(momentum) > 10 * chapter.doubling_batch_size(sgd)
    assert 0.9 < sgd.learning_rate[-1] / 2 < 1
    assert 0.9 < momentum.learning_rate[-1] / 3.8 < 1


def test_averaging_helps_below_the_boundary_and_preconditioning_everywhere(curves: dict) -> None:
    plain = curves["epochs", CONSTANT][SGD.name]
    averaged = [
        chapter.best_average(MODEL, b, EPOCHS[32].steps(b), (0.03, 0.1, 0.3))[2]
        for b in (SIZES[0], SIZES[-2])
    ]
    assert averaged[0] < 0.5 * plain.loss[0]
    assert averaged[1] == pytest.approx(plain.loss[-2], rel=0.03)
    better = chapter.tuned(MODEL.preconditioned(0.5), EPOCHS[32], SIZES).loss
    assert (better < 0.5 * plain.loss).all()


def test_the_solutions_numbers_are_those_of_the_model() -> None:
    cells = nbformat.read(ROOT / "book" / "noisy-quadratic.ipynb", as_version=4).cells
    (text,) = [cell.source for cell in cells if cell.source.startswith("## Exercises")]
    model = chapter.exact_model()
    slow = (model.weight @ model.curvature) / 2 - (1 / np.arange(1, 5000)).sum() / 2
    assert rf"\frac12\sum_i 1/i \approx {model.initial_loss:.2f}$" in text
    assert rf"\frac12\ln 2 \approx {slow:.2f}$ to it" in text
    assert slow / 10 > chapter.TARGET
