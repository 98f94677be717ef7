"""The chapter on the critical learning rate: what its figures show is true.

Each number is checked against something that the chapter does not use: finite differences, a step
loop, Boltzmann's law, a simulation of the SDE, dense grids.
"""

from __future__ import annotations

import numpy as np
import pytest
from step_by_step import update_matrix

from sgdnoise.chapters import critical as chapter
from sgdnoise.chapters import critical_figures as figures


def traces(fig: object) -> dict[str, object]:
    return {trace.name: trace for trace in fig.data}  # type: ignore[attr-defined]


class TestCritical:
    @pytest.mark.parametrize(("lr", "m"), [(1.8, 0.0), (2.4, 0.5), (3.6, 0.9), (4.0, 0.9)])
    def test_change_of_loss_is_that_of_the_matrix_power(self, lr: float, m: float) -> None:
        flat, steep, change = chapter.bowl_path(lr, m)
        loss = []
        for k in (0, chapter.BOWL_STEPS):
            ends = [
                np.linalg.matrix_power(update_matrix(lr, h, m), k) @ [x, 0.0]
                for h, x in ((chapter.FLAT, flat[0]), (1.0, steep[0]))
            ]
            loss.append(chapter.FLAT * ends[0][0] ** 2 + ends[1][0] ** 2)
        assert change == pytest.approx(loss[1] / loss[0], rel=1e-6)
        title = figures.descent_figure(lr, m).layout.title.text
        assert ("shrink" in title) == (lr < 2 * (1 + m))

    def test_ramp_is_the_length_of_heavy_balls_steps(self) -> None:
        m = 0.9
        by_name = traces(figures.ramp_figure(m))
        total = by_name["S20's formula: a sum"]
        v, lengths = 0.0, {}
        for k in range(1, 1001):
            v = m * v + 1.0
            lengths[k] = v
        np.testing.assert_allclose(total.y, [lengths[k] for k in total.x])  # type: ignore[attr-defined]
        mean = by_name["an exponential moving average"]
        assert mean.y[-1] == pytest.approx(1)  # type: ignore[attr-defined]
        assert f"{100 * lengths[10] / 10:.0f} %" in figures.ramp_figure(m).layout.title.text

    def test_the_budget_opens_where_momentum_leads_past_the_dotted_line(self) -> None:
        explorer = figures.budget()
        b, m = explorer.values.values()
        plain, heavy = chapter.tuned(b, 0.0), chapter.tuned(b, m)
        assert heavy.loss < 0.7 * plain.loss
        assert plain.effective < 2 < heavy.effective
        assert chapter.over_plain(b, m) == min(
            chapter.over_plain(size, m) for size in chapter.BUDGET_BATCH_SIZES
        )

    def test_the_budgets_caption_is_true_at_both_ends(self) -> None:
        h = np.geomspace(1e-3, 1, 25)

        def best(b: int, m: float) -> float:
            rates = chapter.EFFECTIVE[chapter.EFFECTIVE * (1 - m) < 2 * (1 + m)] * (1 - m)
            q = rates[:, None] * h
            xx, xv, vv = np.ones_like(q), np.zeros_like(q), np.zeros_like(q)
            for _ in range(chapter.BUDGET // b):
                x_new_v = m * xv - q * xx
                vv = m**2 * vv - 2 * m * q * xv + q**2 * xx + rates[:, None] ** 2 * h / b
                xx = xx + 2 * x_new_v + vv
                xv = x_new_v + vv
            return float((xx @ h).min() / h.sum())

        ahead = {m: best(4096, m) / best(4096, 0.0) < 1 for m in chapter.BUDGET_MOMENTA}
        first, *_, last = ahead
        assert ahead[first]
        assert not ahead[last]
        assert list(ahead.values()) == sorted(ahead.values(), reverse=True)
        up_to, beyond = max(m for m in ahead if ahead[m]), min(m for m in ahead if not ahead[m])
        said = f"of 16 updates, and raise the momentum from {first:g}: up to {up_to:g} it ends "
        assert f"{said}below SGD, from {beyond:g} on above" in (
            figures.budget().children[-1].caption
        )
        small = [[chapter.tuned(b, m).effective for b in (1, 64)] for m in (0.0, 0.9)]
        for one, many in small:
            assert many / one == pytest.approx(64, rel=0.08)  # the grid's steps are of 7 %


class TestTheMapsTitle:
    def test_one_step_is_no_plural(self) -> None:
        """Where all directions are alike, one step of gradient descent is enough."""
        title = figures.map_figure(1).layout.title.text
        assert "tenfold in 1 step at best" in title
        assert "tenfold in 23 steps at best" in figures.map_figure(20).layout.title.text
