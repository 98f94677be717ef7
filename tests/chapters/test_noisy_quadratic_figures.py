"""The chapter on the noisy quadratic model: its figures draw the numbers that they name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sgdnoise.chapters import noisy_quadratic as chapter
from sgdnoise.chapters import noisy_quadratic_figures as figures
from sgdnoise.chapters import noisy_quadratic_findings as findings
from sgdnoise.chapters.noisy_quadratic import CONSTANT, DECAYED, METHODS, MOMENTUM, SGD


def test_descent_draws_the_numbers_that_it_names(to_target: dict) -> None:
    for batch_size in (64, 4096):
        fig = figures.descent(chapter.model(), to_target, batch_size, 0.01)
        for method in METHODS:
            trace = next(t for t in fig.data if t.name == method.name)
            curve = to_target[method.name]
            steps = int(curve.steps[curve.batch_size == batch_size][0])
            assert trace.x[-1] == steps * batch_size
            assert trace.y[-1] <= 0.01 < trace.y[-2]
            assert f"{method.name} takes {steps:,} steps" in fig.layout.title.text


def test_valley_marks_its_lowest_point(curves: dict) -> None:
    for budget in ("epochs", 16000):
        fig = figures.valley(chapter.model(), curves[budget, CONSTANT], 64)
        for method in METHODS:
            line = next(t for t in fig.data if t.name.startswith(f"{method.name}, "))
            mark = next(t for t in fig.data if t.name == f"{method.name}: best")
            assert mark.y[0] <= np.min(line.y) * (1 + 1e-9)
            assert np.min(line.y) < 1.02 * mark.y[0]
            assert chapter.about(mark.x[0]) in fig.layout.title.text


def test_marks_of_a_valley_lie_on_their_curves_and_every_curve_is_named(curves: dict) -> None:
    for pair in (curves["epochs", CONSTANT], curves[250, CONSTANT]):
        fig = figures.valley(chapter.model(), pair, 16384)
        for method in METHODS:
            line = next(t for t in fig.data if t.name.startswith(f"{method.name}, "))
            mark = next(t for t in fig.data if t.name == f"{method.name}: best")
            k = int(np.argmin(np.abs(line.x - mark.x[0])))
            assert line.x[k] == pytest.approx(mark.x[0], rel=1e-9)
            assert line.y[k] == pytest.approx(mark.y[0], rel=1e-6)
            # Up to the wall in steps that the eye takes for a curve.
            wall = np.asarray(line.x) > 0.7 * max(line.x)
            assert np.diff(np.log(line.x[wall])).max() < 0.06
            other = next(
                t for t in fig.data if t.name == f"{method.name}: best at every batch size"
            )
            assert other.showlegend is not False
            assert list(other.y) == list(pair[method.name].loss)


def test_critical_lines_stand_at_their_values_on_the_logarithmic_axis(to_target: dict) -> None:
    fig = figures.rates_to_target(chapter.model(), to_target)
    lines = sorted(s.y0 for s in fig.layout.shapes)
    labels = {a.text: a.y for a in fig.layout.annotations if a.name != "provenance"}
    assert lines == pytest.approx([2.0, 38.0])
    assert labels[f"critical, {MOMENTUM.name}"] == pytest.approx(math.log10(38))


def test_panels_draw_both_boundaries_in_both_panels(curves: dict) -> None:
    pair = curves["epochs", CONSTANT]
    fig = figures.against_batch_size(chapter.model(), pair)
    vertical = [s for s in fig.layout.shapes if s.x0 == s.x1]
    assert len(vertical) == 4
    assert {s.x0 for s in vertical} == {chapter.regimes(c).boundary for c in pair.values()}
    none = figures.against_batch_size(chapter.model(), curves[16000, CONSTANT])
    assert "none (SGD)" in none.layout.title.text
    # A 2 and a 5 between powers of ten would stand on these on a phone.
    assert {axis.dtick for axis in (fig.layout.yaxis, fig.layout.yaxis2)} == {1}


def test_every_figure_tells_its_spectrum(curves: dict, to_target: dict) -> None:
    exact = {m.name: ([64], [95942]) for m in METHODS}
    drawn = [
        figures.steps_to_target(chapter.model(), to_target),
        figures.reduced(
            chapter.model(), {s: curves["epochs", s][SGD.name] for s in (CONSTANT, DECAYED)}
        ),
        figures.algorithms(chapter.model(), {str(i): np.ones(2) for i in range(4)}, [1, 2]),
        figures.spectra_compared(exact, to_target),
    ]
    for fig in drawn:
        notes = [a.text for a in fig.layout.annotations if a.name == "provenance"]
        assert len(notes) == 1
        assert "binned spectrum" in notes[0]
    difference = next(t for t in drawn[-1].data if t.name == SGD.name)
    assert difference.y[0] == pytest.approx(100 * (to_target[SGD.name].steps[1] / 95942 - 1))


def test_a_difference_in_steps_says_which_way_it_goes() -> None:
    assert chapter.from_fewer_to_more([1.0, -0.42, 3.28]) == "from 0.4 % fewer to 3.3 % more"
    assert chapter.from_fewer_to_more([1.0, 3.28]) == "from 1.0 % more to 3.3 % more"
    sizes, steps = chapter.exact_steps()[SGD.name]
    off = 100 * (chapter.to_target()[SGD.name].steps[: len(sizes)] / np.array(steps) - 1)
    said = f"from {-off.min():.1f} % fewer to {off.max():.1f} % more steps"
    assert f"Plain SGD then takes {said}" in findings.binned().data
    fig = figures.spectra_compared(chapter.exact_steps(), chapter.to_target())
    drawn = np.concatenate([t.y for t in fig.data])
    assert fig.layout.title.text == (
        f"The binned spectrum takes from {-drawn.min():.1f} % fewer to {drawn.max():.1f} % more "
        "steps"
    )
