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
