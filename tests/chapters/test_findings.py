"""The sentences above the first figures say what those figures show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sgdnoise.chapters import (
    critical,
    critical_figures,
    critical_findings,
    noisy_quadratic,
    noisy_quadratic_figures,
    noisy_quadratic_findings,
    temperature,
    temperature_figures,
    temperature_findings,
)
from sgdnoise.theory.stability import spectral_radius

ROOT = Path(__file__).parents[2]


def title(explorer: object) -> str:
    """The title of an explorer's figure where its sliders stand at first."""
    return explorer.frame(**explorer.values)["layout"]["title"]["text"]  # type: ignore[attr-defined]


def test_temperature_opens_on_two_settings_of_one_temperature_with_half_the_steps() -> None:
    explorer = temperature_figures.valleys()
    lr, b = explorer.values.values()
    assert lr / b == pytest.approx(np.divide(*temperature.REFERENCE))
    assert b == 2 * temperature.REFERENCE[1]
    text = temperature_findings.opening().data
    shares = [
        f"{100 * np.mean(temperature.valley_runs(*at) > temperature.ridge()):.0f} %"
        for at in ((1 / 16, 4), (1 / 32, 2), (1 / 16, 2), (1 / 32, 4))
    ]
    assert [word for word in shares if word in text] == shares
    both, kept, rate, batch = (int(share.split()[0]) for share in shares)
    assert abs(both - kept) < 5 < min(rate - both, both - batch)
    assert title(explorer).startswith(f"{shares[0]} of the runs")
    assert f"outline: {shares[1]}" in title(explorer)


def test_the_critical_rate_opens_where_only_momentum_is_stable() -> None:
    explorer = critical_figures.descent()
    lr, m = explorer.values.values()
    assert spectral_radius(lr, 1.0, m) < 1 < spectral_radius(lr, 1.0, 0.0)
    text = critical_findings.opening().data
    for momentum in (0.0, m):
        assert critical_figures.short(critical.bowl_path(lr, momentum)[2]) in text
    assert f"at {lr:g}" in text
    assert f"momentum {m:g}" in text
    assert f"times in {critical.BOWL_STEPS} steps" in text
    assert "shrink the loss" in title(explorer)


def test_a_runs_growth_is_the_root_that_the_page_computes() -> None:
    def root(lr: float, curvature: float, m: float) -> float:
        return float(spectral_radius(lr, curvature, m))

    for _, row in critical_findings.growths(root).data.iterrows():
        growth, radius = float(row["growth a step, from the run"]), float(row["largest root"])
        assert growth == pytest.approx(radius, abs=0.01)
        assert (row["stable"] == "yes") == (growth < 1)


def test_the_model_opens_where_only_momentum_still_pays() -> None:
    explorer = noisy_quadratic_figures.descents()
    (b,) = explorer.values.values()
    text = noisy_quadratic_findings.opening().data
    assert f"{b:,}" in text
    works = []
    for curve in noisy_quadratic.to_target().values():
        at = int(np.flatnonzero(curve.batch_size == b)[0])
        works.append(curve.steps[at] * b / curve.steps[0])
    assert works[0] > 4
    assert works[1] < 1.1
    assert f"{works[0]:.1f} times" in text
    assert f"{works[1]:.2f} times" in text


def test_momentums_curve_ends_where_the_dotted_one_does_and_not_on_the_way() -> None:
    explorer = noisy_quadratic_figures.descents()
    (b,) = explorer.values.values()
    curves = noisy_quadratic.to_target()
    fig = noisy_quadratic_figures.descent(noisy_quadratic.model(), curves, b, 0.01)
    drawn = {trace.name: trace for trace in fig.data}
    dotted, heavy = drawn["SGD, one example a step"], drawn["momentum 0.9"]
    assert heavy.x[-1] / dotted.x[-1] < 1.1 < 4 < drawn["SGD"].x[-1] / dotted.x[-1]
    at = heavy.x[-1] / 100
    assert np.interp(at, heavy.x, heavy.y) > 1.2 * np.interp(at, dotted.x, dotted.y)
    text = (ROOT / "book" / "noisy-quadratic.ipynb").read_text(encoding="utf-8")
    assert "its curve ends where the dotted one does" in text


def test_a_recursion_that_is_wrong_stops_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    # It stops before the random numbers count.
    chapter = noisy_quadratic_findings.chapter
    monkeypatch.setattr(chapter, "CHECK_RUNS", 2)
    monkeypatch.setattr(chapter, "check", chapter.check.__wrapped__)

    def wrong(model, rate, batch_size, momentum, steps):
        return np.ones(steps + 1)

    with pytest.raises(AssertionError):
        noisy_quadratic_findings.three_routes(wrong)
