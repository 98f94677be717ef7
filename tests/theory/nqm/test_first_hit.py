"""First crossings against step loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theory.nqm.oracles import SMALL, first_at_target, loop

from sgdnoise.theory import nqm
from sgdnoise.theory.nqm.first_hit import some_hit
from sgdnoise.theory.nqm.loss import Batch


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
