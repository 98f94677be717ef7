"""The noisy quadratic model against step loops, sampling, dense grids and brute force."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdnoise.schedule import hold_then_decay, segments
from sgdnoise.theory import nqm
from sgdnoise.theory.nqm.first_hit import some_hit
from sgdnoise.theory.nqm.loss import Batch
from sgdnoise.theory.nqm.spectrum import condensed
from sgdnoise.theory.nqm.tuning import _plain_loss, _ripple_grid
from sgdnoise.theory.stability import update_matrix

SMALL = nqm.spectrum("exact", 40)


def loop(model: nqm.Spectrum, lr: np.ndarray, b: float, m: float, steps: int) -> np.ndarray:
    """Expected loss of each learning rate after 0…steps steps, by the moments' own recursion."""
    rates = np.atleast_1d(lr)[:, None] * model.preconditioner
    q = rates * model.curvature
    kick = rates**2 * model.noise / b
    xx, xv, vv = np.ones_like(q), np.zeros_like(q), np.zeros_like(q)
    weight = model.weight * model.curvature / 2
    losses = [xx @ weight]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            cross = m * xv - q * xx
            vv = m * m * vv - 2 * m * q * xv + q * q * xx + kick
            xx = xx + 2 * cross + vv
            xv = cross + vv
            losses.append(xx @ weight)
    # ∞ - ∞ once a setting has overflowed.
    return np.nan_to_num(np.array(losses).T, nan=np.inf, posinf=np.inf)


def first_at_target(losses: np.ndarray, target: float) -> np.ndarray:
    """First column at or below the target in each row; -1 where none."""
    reached = losses <= target
    return np.where(reached.any(axis=1), reached.argmax(axis=1), -1)


class TestSpectrum:
    def test_initial_losses_are_those_of_the_reference(self) -> None:
        # REFERENCE.md B8: 4.70 binned against 4.894 exact.
        assert nqm.spectrum("exact").initial_loss == pytest.approx(4.894, abs=5e-4)
        assert nqm.spectrum("binned").initial_loss == pytest.approx(4.70, abs=5e-3)

    @pytest.mark.parametrize("dims", [1, 2, 37, 10_000])
    def test_binning_rounds_down_by_less_than_a_level(self, dims: int) -> None:
        binned = nqm.spectrum("binned", dims)
        exact = nqm.spectrum("exact", dims)
        assert binned.dims == exact.dims == dims
        level = np.repeat(binned.curvature, binned.weight.astype(int))
        ratio = exact.curvature / level
        assert ratio.min() >= 1 - 1e-12
        assert ratio.max() < 1e4 ** (1 / 99) * (1 + 1e-12) or dims == 1
        assert level[0] == 1
        assert np.array_equal(binned.noise, binned.curvature)

    def test_condensing_keeps_the_initial_loss_and_nearly_the_rest(self) -> None:
        full = nqm.spectrum("exact")
        small = condensed(full)
        assert small.curvature.size < 200
        assert small.initial_loss == pytest.approx(full.initial_loss)
        steps = [10, 1000, 100_000]
        np.testing.assert_allclose(
            nqm.expected_loss(small, 0.3, 64, steps),
            nqm.expected_loss(full, 0.3, 64, steps),
            rtol=1e-3,
        )

    def test_preconditioning_multiplies_the_rates(self) -> None:
        half = SMALL.preconditioned(0.5)
        np.testing.assert_allclose(half.preconditioner, SMALL.curvature**-0.5)
        assert half.sharpness == 1
        with pytest.raises(ValueError, match="power"):
            SMALL.preconditioned(1.5)

    def test_bad_names_and_sizes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="'exact' or 'binned'"):
            nqm.spectrum("rounded")  # type: ignore[arg-type]
        for dims in (0, -3, 2.5, True):
            with pytest.raises(ValueError, match="dims"):
                nqm.spectrum("exact", dims)  # type: ignore[arg-type]


class TestExpectedLoss:
    @pytest.mark.parametrize("m", [0.0, 0.5, 0.9, 0.99])
    @pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
    def test_is_the_step_loop(self, m: float, power: float) -> None:
        model = SMALL.preconditioned(power)
        lr = np.array([1e-3, 0.05, 0.5, 1.7, 2 * (1 + m) * 0.999])
        expected = loop(model, lr, 16, m, 400)
        steps = np.array([0, 1, 2, 7, 40, 399, 400])
        found = nqm.expected_loss(model, lr, 16, steps, m)
        np.testing.assert_allclose(found, expected[:, steps], rtol=1e-9)

    @pytest.mark.parametrize("m", [0.0, 0.5, 0.9])
    def test_at_the_critical_learning_rate_itself(self, m: float) -> None:
        lr = 2 * (1 + m) * np.array([1 - 1e-8, 1.0, 1 + 1e-8])
        steps = np.array([1, 3, 50, 301])
        np.testing.assert_allclose(
            nqm.expected_loss(SMALL, lr, 2, steps, m),
            loop(SMALL, lr, 2, m, 301)[:, steps],
            rtol=1e-8,  # the loop's own error, two digits more than ours at m = 0.9
        )

    def test_long_spectra_take_the_same_road_to_the_same_place(self) -> None:
        model = nqm.spectrum("exact", 3000)
        steps = np.unique(np.round(np.geomspace(1, 2000, 60)))
        for m in (0.0, 0.9):
            lr = np.array([0.02, 1.0, 2 * (1 + m)])
            by_loop = loop(model, lr, 8, m, 2000)[:, steps.astype(int)]
            np.testing.assert_allclose(
                nqm.expected_loss(model, lr, 8, steps, m), by_loop, rtol=1e-9
            )

    def test_forgotten_directions_sit_at_their_stationary_value(self) -> None:
        model = nqm.spectrum("exact", 3000)
        q = 0.4 * model.curvature
        limit = (model.curvature / 2) @ (0.4 / (8 * (2 - q)))
        late = nqm.expected_loss(model, 0.4, 8, np.arange(10**7, 10**7 + 60))
        np.testing.assert_allclose(late, limit, rtol=1e-12)

    def test_settings_broadcast_and_steps_come_last(self) -> None:
        found = nqm.expected_loss(
            SMALL, np.array([0.1, 0.2])[:, None], [4, 8, 16], [[0, 5], [9, 3]], 0.5
        )
        assert found.shape == (2, 3, 2, 2)
        assert found[1, 2, 0, 1] == pytest.approx(float(nqm.expected_loss(SMALL, 0.2, 16, 5, 0.5)))
        assert np.all(found[..., 0, 0] == pytest.approx(SMALL.initial_loss))

    def test_divergence_is_infinite_and_never_nan(self) -> None:
        loss = nqm.expected_loss(SMALL, [2.5, 1.0], 4, [1, 50, 10**6])
        assert np.isfinite(loss[:, :2]).all()
        assert loss[0, 2] == np.inf
        assert np.isfinite(loss[1]).all()

    @pytest.mark.parametrize("m", [0.0, 0.9])
    def test_monte_carlo(self, m: float) -> None:
        # 4,000 runs of the model itself: an error of 5 % in the loss shows as z ≈ 8.
        rng = np.random.default_rng(30)
        model, lr, b, steps = nqm.spectrum("exact", 10), 0.3, 2, 30
        x = np.ones((4000, 10))
        x *= rng.choice([-1, 1], x.shape)
        v = np.zeros_like(x)
        for _ in range(steps):
            noise = np.sqrt(model.noise / b) * rng.standard_normal(x.shape)
            v = m * v - lr * (model.curvature * x + noise)
            x = x + v
        sample = (x**2) @ model.curvature / 2
        z = (sample.mean() - nqm.expected_loss(model, lr, b, steps, m)) / (
            sample.std() / math.sqrt(sample.size)
        )
        assert abs(z) < 4
        assert sample.std() / math.sqrt(sample.size) < 0.02 * sample.mean()

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"learning_rate": 0.0}, "learning rate"),
            ({"batch_size": 0}, "batch size"),
            ({"batch_size": 2.5}, "batch size"),
            ({"momentum": 1.0}, "momentum"),
            ({"steps": -1}, "steps"),
        ],
    )
    def test_bad_settings_are_refused(self, change: dict[str, float], match: str) -> None:
        setting = {"learning_rate": 0.1, "batch_size": 4, "steps": 3, "momentum": 0.0} | change
        with pytest.raises(ValueError, match=match):
            nqm.expected_loss(SMALL, **setting)


class TestSchedule:
    @pytest.mark.parametrize("m", [0.0, 0.9])
    def test_s20_schedule_is_the_step_loop_in_pytorch_form(self, m: float) -> None:
        steps, lr, b = 83, 0.4, 8
        multiplier = hold_then_decay(steps)
        h = SMALL.curvature
        # Buffer form, so that a change of ε meets the buffer and not the displacement.
        xx, xb, bb = np.ones_like(h), np.zeros_like(h), np.zeros_like(h)
        for k in range(steps):
            eps = lr * multiplier(k)
            bb_next = m * m * bb + 2 * m * h * xb + h * h * xx + SMALL.noise / b
            cross = m * xb + h * xx
            xx, xb = xx - 2 * eps * cross + eps**2 * bb_next, cross - eps * bb_next
            bb = bb_next
        pieces = segments(multiplier, steps)
        found = nqm.loss_under_schedule(SMALL, lr, b, pieces, m)
        assert found.shape == (len(pieces) + 1,)
        assert found[0] == pytest.approx(SMALL.initial_loss)
        assert found[-1] == pytest.approx(xx @ h / 2, rel=1e-10)

    def test_one_piece_is_a_constant_rate(self) -> None:
        found = nqm.loss_under_schedule(SMALL, [0.1, 0.5], 4, [(1.0, 30)], 0.8)
        np.testing.assert_allclose(found[:, 1], nqm.expected_loss(SMALL, [0.1, 0.5], 4, 30, 0.8))

    @pytest.mark.parametrize("steps", [1, 7, 20, 83, 9765])
    def test_monotone_segments_are_the_schedules_own(self, steps: int) -> None:
        schedule = hold_then_decay(steps, factor=1.7)
        assert nqm.monotone_segments(schedule, steps) == segments(schedule, steps)


class TestAveraging:
    @pytest.mark.parametrize("m", [0.0, 0.9])
    @pytest.mark.parametrize("decay", [0.0, 0.3, 0.95])
    def test_is_the_step_loop(self, m: float, decay: float) -> None:
        lr, b, steps = 0.6, 4, 75
        total = 0.0
        for h in SMALL.curvature:
            q = lr * h
            step = np.array(
                [[1 - q, m, 0], [-q, m, 0], [(1 - decay) * (1 - q), (1 - decay) * m, decay]]
            )
            kick = np.array([1, 1, 1 - decay]) * lr * math.sqrt(h / b)
            second = np.zeros((3, 3))
            second[np.ix_([0, 2], [0, 2])] = 1.0
            for _ in range(steps):
                second = step @ second @ step.T + np.outer(kick, kick)
            total += h * second[2, 2] / 2
        assert nqm.averaged_loss(SMALL, lr, b, steps, decay, m) == pytest.approx(total, rel=1e-9)

    def test_decay_zero_is_no_average(self) -> None:
        assert nqm.averaged_loss(SMALL, 0.5, 8, 40, 0.0, 0.9) == pytest.approx(
            float(nqm.expected_loss(SMALL, 0.5, 8, 40, 0.9)), rel=1e-10
        )

    def test_plain_sgd_in_closed_form(self) -> None:
        # y is the response of a second-order system with roots λ and d.
        lr, b, t, d = 0.7, 4, 60, 0.91
        lam = 1 - lr * SMALL.curvature
        k = np.arange(t)[:, None]
        kicks = (1 - d) * (lam ** (k + 1) - d ** (k + 1)) / (lam - d)
        mean = d**t + (1 - d) * lam * (lam**t - d**t) / (lam - d)
        moment = mean**2 + lr**2 * SMALL.noise / b * (kicks**2).sum(axis=0)
        expected = SMALL.curvature @ moment / 2
        assert nqm.averaged_loss(SMALL, lr, b, t, d) == pytest.approx(expected, rel=1e-9)

    def test_settings_and_refusals(self) -> None:
        grid = nqm.averaged_loss(SMALL, np.array([0.1, 0.5])[:, None], 4, [3, 8, 20], 0.5)
        assert grid.shape == (2, 3)
        assert grid[1, 2] == pytest.approx(float(nqm.averaged_loss(SMALL, 0.5, 4, 20, 0.5)))
        with pytest.raises(ValueError, match="decay"):
            nqm.averaged_loss(SMALL, 0.1, 4, 3, 1.0)


class TestFirstHits:
    @pytest.mark.parametrize(
        ("b", "target", "horizon"),
        [(4096, 0.01, 2500), (256, 0.05, 2000), (16, 1.0, 400), (1, 3.0, 200), (1, 4.0, 200)],
    )
    def test_is_where_the_loop_stops(self, b: int, target: float, horizon: int) -> None:
        model = nqm.spectrum("binned", 1000)
        lr = np.geomspace(1e-3, 6, 36)
        for m in (0.0, 0.6, 0.9, 0.99, 0.999):
            expected = first_at_target(loop(model, lr, b, m, horizon), target)
            found = nqm.first_hits(model, lr, b, target, m, max_steps=horizon)
            assert found.steps.tolist() == expected.tolist()
            at = np.flatnonzero(expected >= 0)
            np.testing.assert_allclose(
                found.loss[at],
                [nqm.expected_loss(model, lr[i], b, expected[i], m) for i in at],
                rtol=1e-12,
            )
            assert np.isnan(found.loss[expected < 0]).all()

    def test_finds_a_dip_that_bisection_would_miss(self) -> None:
        # One direction that swings through its minimum and far out again.
        model = nqm.spectrum("exact", 1)
        losses = loop(model, np.array([0.02]), 10**6, 0.999, 4000)[0]
        first = int((losses <= 1e-3).argmax())
        assert losses[first + 15] > 0.1
        assert nqm.first_hits(model, 0.02, 10**6, 1e-3, 0.999, max_steps=10**6).steps == first

    @given(
        log_lr=st.floats(-3, 0.58),
        m=st.sampled_from([0.0, 0.7, 0.95, 0.999]),
        log_b=st.integers(0, 14),
        first=st.integers(1, 300),
        span=st.integers(0, 300),
    )
    @settings(max_examples=80, deadline=None)
    def test_floor_is_below_every_step_of_its_interval(
        self, log_lr: float, m: float, log_b: int, first: int, span: int
    ) -> None:
        lr = np.array([10**log_lr])
        losses = loop(SMALL, lr, 2**log_b, m, first + span)[0, first:]
        batch = Batch(SMALL, lr, m, 2**log_b)
        floor = batch.floor(np.array([float(first)]), np.array([float(first + span)]))[0]
        assert floor <= losses.min() * (1 + 1e-9)
        if span == 0:
            assert floor == pytest.approx(losses[0], rel=1e-9)

    def test_status_is_typed(self) -> None:
        found = nqm.first_hits(SMALL, [1.0, 1e-7, 2.5], 10**4, 0.05, max_steps=1000)
        assert found.status.tolist() == ["reached", "unreachable", "diverged"]
        assert found.steps[1:].tolist() == [-1, -1]

    def test_a_target_already_met_needs_no_step(self) -> None:
        found = nqm.first_hits(SMALL, [0.1, 5.0], 4, 100.0)
        assert found.steps.tolist() == [0, 0]
        assert found.loss[0] == SMALL.initial_loss


def brute_force(
    model: nqm.Spectrum, b: int, m: float, target: float, horizon: int, points: int = 3000
) -> tuple[int, float] | None:
    """Least steps over a dense grid of learning rates, unstable ones too, and the loss there."""
    top = 2.2 * (1 + m)
    lr = np.union1d(np.geomspace(1e-4, top, points), np.linspace(1e-3, top, points))
    losses = loop(model, lr, b, m, horizon)
    hits = first_at_target(losses, target)
    if (hits < 0).all():
        return None
    steps = int(hits[hits >= 0].min())
    return steps, float(losses[:, steps].min())


class TestTimeToTarget:
    @pytest.mark.parametrize(
        ("dims", "b", "m", "target"),
        [
            (40, 1, 0.0, 0.3),
            (40, 64, 0.0, 0.1),
            (40, 2**20, 0.0, 0.01),
            (40, 1, 0.0, 1.5),
            (10, 3, 0.0, 0.9),
            (40, 64, 0.5, 0.1),
            (40, 4096, 0.9, 0.05),
            (40, 16, 0.9, 0.3),
            (20, 2**20, 0.98, 0.1),
            (40, 10**5, 0.99, 0.3),
            (2, 10**6, 0.99, 1e-4),
            (3, 10**4, 0.95, 1e-3),
            (10, 1000, 0.99, 1.0),
        ],
    )
    def test_brute_force_finds_nothing_better(
        self, dims: int, b: int, m: float, target: float
    ) -> None:
        model = nqm.spectrum("exact", dims)
        found = nqm.time_to_target(b, m, target, dims=dims, max_steps=5000)
        assert found.steps is not None
        assert found.loss is not None
        dense = brute_force(model, b, m, target, found.steps)
        assert dense is not None
        steps, loss = dense
        assert found.steps == steps
        assert found.loss <= loss * (1 + 1e-12)
        assert found.loss > loss * 0.75  # a grid of 6,000 gets that near in every case
        assert found.loss == pytest.approx(
            float(nqm.expected_loss(model, found.learning_rate, b, steps, m)), rel=1e-9
        )
        assert nqm.first_hits(model, found.learning_rate, b, target, m).steps == steps

    @pytest.mark.parametrize("b", [1, 64, 4096, 2**21])
    def test_exact_spectrum_at_full_size(self, b: int) -> None:
        model = nqm.spectrum("exact")
        found = nqm.time_to_target(b)
        assert found.guarantee == "proved"
        assert found.steps is not None
        grid = np.union1d(
            np.geomspace(found.learning_rate / 30, 1.9999, 150),
            found.learning_rate * np.geomspace(0.97, 1.03, 60),
        )
        grid = grid[grid < 2]
        one_less = nqm.expected_loss(model, grid, b, found.steps - 1)
        assert one_less.min() > 0.01
        at = nqm.expected_loss(model, grid, b, found.steps)
        assert found.loss <= at.min()
        assert found.loss <= 0.01

    @given(b=st.integers(1, 10**5), t=st.integers(1, 10**5))
    @settings(max_examples=60, deadline=None)
    def test_the_theorem_convex_in_the_rate_and_falling_in_the_step(self, b: int, t: int) -> None:
        top = 2 * b / (b + 1)
        lr = np.linspace(top * 1e-3, top, 400)
        loss = np.array([_plain_loss(SMALL, b, t)(x) for x in lr])
        np.testing.assert_allclose(loss, nqm.expected_loss(SMALL, lr, b, t), rtol=1e-9)
        scale = np.abs(loss).max()
        assert (np.diff(loss, 2) > -1e-12 * scale).all()
        later = np.array([_plain_loss(SMALL, b, t + 1)(x) for x in lr])
        assert (later <= loss + 1e-14 * scale).all()

    @pytest.mark.parametrize("m", [0.5, 0.9, 0.99])
    def test_grid_of_rates_resolves_the_fastest_ripple(self, m: float) -> None:
        t, critical = 25, 2 * (1 + m)
        grid = _ripple_grid(SMALL, m, t, 1e-4, critical)
        angle = np.angle(np.linalg.eigvals(update_matrix(grid, SMALL.curvature[0], m)))
        turn = np.abs(angle).max(axis=1) * t
        assert (np.diff(grid) > 0).all()
        assert np.diff(turn).max() <= math.pi / 12 + 1e-6
        assert grid[0] <= (1 - math.sqrt(m)) ** 2 * (1 + 1e-9) + 1e-4
        assert grid[-1] >= (1 + math.sqrt(m)) ** 2 * (1 - 1e-9)

    @pytest.mark.parametrize(
        ("dims", "m", "target"),
        [
            # A trough so narrow that a grid of half as many points goes by it.
            (4, 0.8692447742958034, 0.02926064056024439),
            # More troughs at the step found than are settled.
            (10, 0.9980281704581722, 0.3657647293194462),
            (15, 0.9963460924885518, 0.16599494357212038),
        ],
    )
    def test_narrow_dips_are_found_and_the_loss_is_that_of_the_best(
        self, dims: int, m: float, target: float
    ) -> None:
        b, model = 419161561, nqm.spectrum("exact", dims)
        found = nqm.time_to_target(b, m, target, dims=dims)
        assert found.guarantee == "resolved"
        assert found.steps is not None
        assert found.loss is not None
        rates = np.union1d(np.geomspace(1e-6, 1e-2, 2000), np.linspace(1e-2, 2 * (1 + m), 20_000))
        losses = nqm.expected_loss(model, rates, b, np.arange(found.steps + 1), m)
        assert found.steps == int(np.argmax(losses.min(axis=0) <= target))
        assert found.loss <= target
        assert found.loss <= losses[:, -1].min() * (1 + 1e-9)

    def test_the_search_is_bounded_where_oscillations_hardly_die(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls, floor = [], Batch.floor

        def counted(batch: Batch, first: np.ndarray, last: np.ndarray) -> np.ndarray:
            calls.append(len(batch))
            assert len(calls) < 5000, "this takes minutes"
            return floor(batch, first, last)

        monkeypatch.setattr(Batch, "floor", counted)
        b, m, target, dims = 29957177, 0.9999996127532874, 0.007992598302262259, 945
        found = nqm.time_to_target(b, m, target, dims=dims)
        assert found.guarantee == "coarse"
        assert found.loss is not None
        assert found.loss <= target
        again = nqm.expected_loss(
            nqm.spectrum("exact", dims), found.learning_rate, b, found.steps, m
        )
        assert float(again) == pytest.approx(found.loss, rel=1e-6)

    def test_some_hit_is_the_first_of_all_if_the_work_suffices(self) -> None:
        rates = np.geomspace(1e-3, 3.8, 50)
        for m, target in ((0.0, 0.3), (0.9, 0.3), (0.98, 0.1)):
            hits = nqm.first_hits(SMALL, rates, 64, target, m).steps
            assert hits.max() > 0
            found = some_hit(SMALL, rates, 64, target, m, 10**8, 10**12)
            assert found == hits[hits >= 0].min()
            assert some_hit(SMALL, rates, 64, target, m, found - 1, 10**12) is None
            # Too little work for any answer, not a wrong one.
            assert some_hit(SMALL, rates, 64, target, m, 10**8, 1) is None

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"batch_size": 10**400}, r"batch size .* at most 9,007,199,254,740,992, got 1000"),
            ({"batch_size": 1e300}, r"batch size .* at most 9,007,199,254,740,992"),
            ({"dims": 10**12}, r"exact spectrum .* from 1 to 50,000"),
            ({"dims": 10**12, "spectrum": "binned"}, r"binned spectrum .* from 1 to 10,000,000"),
            ({"max_steps": 10**30}, r"max steps .* from 1 to 9,007,199,254,740,992"),
        ],
    )
    def test_sizes_beyond_any_answer_are_refused_with_the_bound(
        self, change: dict[str, object], match: str
    ) -> None:
        with pytest.raises(ValueError, match=match) as caught:
            nqm.time_to_target(**{"batch_size": 64, **change})  # type: ignore[arg-type]
        assert len(str(caught.value)) < 150

    def test_two_regimes(self) -> None:
        """REFERENCE.md E: slope 1 at small batches; SGD stuck at 2/λ; momentum scales on."""
        batches = [4, 16, 64, 1024, 16384, 2**18]
        plain = nqm.tuned_curve(nqm.UnlimitedBudget(0.01), batches)
        heavy = nqm.tuned_curve(nqm.UnlimitedBudget(0.01), batches, 0.9)
        slope = np.diff(np.log2(plain.learning_rate)) / np.diff(np.log2(batches))
        assert slope[0] == pytest.approx(1, abs=0.05)
        assert plain.learning_rate[-1] == pytest.approx(2, rel=0.05)
        assert plain.learning_rate.max() < 2
        np.testing.assert_allclose(
            heavy.effective_learning_rate[:2], plain.effective_learning_rate[:2], rtol=0.05
        )
        np.testing.assert_allclose(heavy.steps[:2], plain.steps[:2], rtol=0.02)
        assert heavy.steps[-1] * 10 < plain.steps[-1]

    def test_lower_bound_on_steps(self) -> None:
        # REFERENCE.md B8: D / (2 · 0.01 · B) examples' worth of steps at the least.
        for b in (1, 64):
            found = nqm.time_to_target(b, spectrum="binned")
            assert found.steps is not None
            assert found.steps >= 10_000 / (2 * 0.01 * b)

    def test_unreachable_is_a_status_and_not_a_number(self) -> None:
        for m in (0.0, 0.9):
            found = nqm.time_to_target(64, m, max_steps=1000)
            assert found.status == "unreachable"
            assert found.steps is None
            assert found.learning_rate is None
            assert found.loss is None

    def test_horizon_is_met_to_the_step(self) -> None:
        for m in (0.0, 0.9):
            steps = nqm.time_to_target(64, m, 0.1, dims=100).steps
            assert steps is not None
            at = nqm.time_to_target(64, m, 0.1, dims=100, max_steps=steps)
            assert at.steps == steps
            before = nqm.time_to_target(64, m, 0.1, dims=100, max_steps=steps - 1)
            assert before.status == "unreachable"

    def test_target_met_at_the_start(self) -> None:
        found = nqm.time_to_target(64, target_loss=10)
        assert (found.status, found.steps, found.learning_rate) == ("reached", 0, None)

    def test_json(self) -> None:
        document = json.loads(json.dumps(nqm.time_to_target(64, 0.5, 0.1, dims=50).to_dict()))
        assert document["status"] == "reached"
        assert document["effective_learning_rate"] == pytest.approx(2 * document["learning_rate"])
        assert document["spectrum"] == "exact"
        assert document["dims"] == 50

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"batch_size": 0}, "batch size"),
            ({"batch_size": -8}, "batch size"),
            ({"batch_size": float("nan")}, "batch size"),
            ({"target_loss": 0.0}, "target loss"),
            ({"target_loss": -1.0}, "target loss"),
            ({"target_loss": float("inf")}, "target loss"),
            ({"momentum": 1.0}, "momentum"),
            ({"momentum": -0.1}, "momentum"),
            ({"dims": 0}, "dims"),
            ({"max_steps": 0}, "max steps"),
            ({"spectrum": "coarse"}, "spectrum"),
        ],
    )
    def test_bad_input_is_refused_in_one_line(self, change: dict[str, object], match: str) -> None:
        with pytest.raises(ValueError, match=match) as refusal:
            nqm.time_to_target(**({"batch_size": 64} | change))  # type: ignore[arg-type]
        assert "\n" not in str(refusal.value)

    def test_best_momentum_is_no_worse_than_any(self) -> None:
        momenta = [0.0, 0.9, 0.97]
        best = nqm.best_momentum(2**16, momenta, 0.05, dims=200)
        steps = [
            nqm.time_to_target(2**16, m, 0.05, dims=200, spectrum="binned").steps for m in momenta
        ]
        assert best.steps == min(s for s in steps if s is not None)
        assert best.momentum > 0


class TestBudgets:
    @pytest.mark.parametrize("m", [0.0, 0.9, 0.98])
    def test_tuned_loss_beats_a_dense_grid(self, m: float) -> None:
        steps = np.array([1, 5, 60, 400])
        lr, loss = nqm.tuned_loss(SMALL, 128, steps, m)
        grid = np.union1d(
            np.geomspace(1e-4, 2 * (1 + m), 2000), np.linspace(1e-3, 2 * (1 + m), 4000)
        )
        dense = loop(SMALL, grid, 128, m, 400)[:, steps]
        assert (loss <= dense.min(axis=0) * (1 + 1e-12)).all()
        np.testing.assert_allclose(loss, dense.min(axis=0), rtol=1e-2)
        for k, t in enumerate(steps):
            assert nqm.expected_loss(SMALL, lr[k], 128, t, m) == pytest.approx(loss[k], rel=1e-9)

    def test_one_step_has_a_closed_form(self) -> None:
        h = SMALL.curvature
        expected = (h**2).sum() / ((h**3).sum() + (h**2).sum() / 32)
        lr, _ = nqm.tuned_loss(SMALL, 32, 1)
        assert lr == pytest.approx(expected, rel=1e-6)

    def test_budgets_count_their_steps(self) -> None:
        epochs = nqm.tuned_curve(nqm.EpochBudget(4, 4096), [16, 64], spectrum=SMALL)
        assert epochs.steps.tolist() == [1024, 256]
        steps = nqm.tuned_curve(nqm.StepBudget(300), [16, 64], spectrum=SMALL)
        assert steps.steps.tolist() == [300, 300]
        assert (np.diff(steps.loss) < 0).all()
        unlimited = nqm.tuned_curve(nqm.UnlimitedBudget(0.05, 200), [1, 10**6], 0.9, spectrum=SMALL)
        assert unlimited.status.tolist() == ["unreachable", "reached"]
        assert unlimited.steps[0] == -1
        assert math.isnan(unlimited.loss[0])

    def test_decay_helps_where_noise_is_what_is_left(self) -> None:
        budget = nqm.EpochBudget(20, 4096)
        flat = nqm.tuned_curve(budget, [8, 32], spectrum=SMALL)
        decayed = nqm.tuned_curve(budget, [8, 32], spectrum=SMALL, decay=True)
        assert (decayed.loss < 0.7 * flat.loss).all()
        pieces = segments(hold_then_decay(2560), 2560)
        grid = np.geomspace(1e-3, 2, 800)
        dense = nqm.loss_under_schedule(SMALL, grid, 32, pieces)[:, -1]
        assert decayed.loss[1] <= dense.min() * (1 + 1e-5)
        assert decayed.loss[1] == pytest.approx(dense.min(), rel=1e-3)

    def test_an_unlimited_budget_has_no_schedule(self) -> None:
        with pytest.raises(ValueError, match="budget"):
            nqm.tuned_curve(nqm.UnlimitedBudget(), [4], decay=True)
