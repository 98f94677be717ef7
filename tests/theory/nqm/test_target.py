"""Steps to a target against brute force."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theory.nqm.oracles import SMALL, first_at_target, loop

from sgdnoise.theory import nqm
from sgdnoise.theory.nqm.loss import Batch
from sgdnoise.theory.nqm.target import _plain_loss


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
