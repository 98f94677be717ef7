"""The figures' theme and helpers: what a reader can see, and what survives the way to the page."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from sgdnoise.figures import theme as figures

PLOT_JS = (Path(figures.__file__).parent / "static" / "plot.js").read_text()
DARK = dict(re.findall(r'"(#[0-9a-f]{6})": "(#[0-9a-f]{6})"', PLOT_JS))


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one: str, two: str) -> float:
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_each_colour_of_the_theme_has_a_dark_one() -> None:
    named = {figures.PAPER, figures.INK, figures.MUTED, figures.GRID, *figures.PALETTE}
    assert set(DARK) == named
    assert len(set(DARK.values())) == len(DARK)


def test_colours_can_be_told_from_the_ground() -> None:
    """WCAG asks 4.5 of text and 3 of graphics."""
    for ground, shade in ((figures.PAPER, lambda c: c), (DARK[figures.PAPER], DARK.get)):
        for text in (figures.INK, figures.MUTED):
            assert contrast(shade(text), ground) >= 4.5
        for colour in figures.PALETTE[:4]:
            assert contrast(shade(colour), ground) >= 3


def test_axes_carry_units_and_ranges_in_those_units() -> None:
    fig = figures.figure(
        x="batch size B", x_unit="examples", y="loss", y_unit=None, log="x", x_range=(1, 1000)
    )
    assert fig.layout.xaxis.title.text == "batch size B (examples)"
    assert fig.layout.yaxis.title.text == "loss"
    assert fig.layout.xaxis.range == pytest.approx((0, 3))
    assert fig.layout.yaxis.type is None
    with pytest.raises(ValueError, match="positive range"):
        figures.figure(x="a", x_unit=None, y="b", y_unit=None, log="y", y_range=(0, 1))


@pytest.mark.parametrize(
    ("least", "most", "placed"),
    [(1, 4, False), (0.3, 2, True), (1, 20, True), (1, 90, True), (1, 500, False)],
)
def test_short_logarithmic_axes_have_whole_numbers(least, most, placed) -> None:
    def drawn(log="xy", **more):
        fig = figures.figure(x="a", x_unit=None, y="b", y_unit=None, log=log)
        fig.add_scatter(x=[1, 10**9], y=[least, most], **more)
        return figures.provenance(fig, "made up").layout

    layout = drawn()
    ticks = ("D2", "~g") if placed else (None, None)
    assert (layout.yaxis.dtick, layout.yaxis.tickformat) == ticks
    assert layout.xaxis.dtick is None
    assert drawn("x").yaxis.dtick is None
    assert drawn(visible="legendonly").yaxis.dtick is None
    ranged = figures.figure(
        x="a", x_unit=None, y="b", y_unit=None, log="xy", y_range=(least, most), x_range=(1, 30)
    )
    ranged = figures.provenance(ranged, "made up").layout
    assert (ranged.yaxis.dtick == "D2") == placed
    assert ranged.xaxis.dtick == "D2"


def test_ticks_of_a_figures_own_stay_and_bars_count_for_the_span() -> None:
    fig = figures.figure(x="a", x_unit=None, y="b", y_unit=None, log="xy")
    fig.update_xaxes(dtick=1)
    figures.interval_marks(fig, [1, 10], [2, 3], [1, 2], [3, 20])
    layout = figures.provenance(fig, "made up").layout
    assert layout.xaxis.dtick == 1
    assert layout.yaxis.dtick == "D2"
    empty = figures.figure(x="a", x_unit=None, y="b", y_unit=None, log="xy")
    assert figures.provenance(empty, "made up").layout.yaxis.dtick is None


def test_band_encloses_low_and_high_and_drops_what_is_not_finite() -> None:
    fig = figures.band(
        go.Figure(), [1, 2, 3, 4], [0, np.nan, 1, 1], [2, 2, np.inf, 3], color=figures.BLUE
    )
    assert list(fig.data[0].x) == [1, 4, 4, 1]
    assert list(fig.data[0].y) == [2, 3, 1, 0]
    assert fig.data[0].fillcolor.startswith(figures.BLUE)
    with pytest.raises(ValueError, match="one length"):
        figures.band(go.Figure(), [1, 2], [1], [1, 2], color=figures.BLUE)


def unpack(spec: dict[str, str]) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(spec["bdata"]), spec["dtype"])
    return flat.reshape([int(n) for n in spec["shape"].split(",")]) if "shape" in spec else flat


def test_compact_keeps_numbers_to_seven_digits_at_half_the_size() -> None:
    y = np.random.default_rng(0).lognormal(0, 5, 200)
    fig = go.Figure([go.Scatter(y=y), go.Heatmap(z=y.reshape(20, 10))])
    small = figures.compact(fig)
    # Half a unit in the last of float32's 24 bits.
    np.testing.assert_allclose(unpack(small["data"][0]["y"]), y, rtol=2**-24)
    np.testing.assert_allclose(unpack(small["data"][1]["z"]), y.reshape(20, 10), rtol=2**-24)
    assert len(json.dumps(small["data"])) < 0.6 * len(json.dumps(fig.to_plotly_json()["data"]))


@pytest.mark.parametrize("kind", [list, np.array])
def test_compact_goes_to_64_bits_where_32_would_lose_the_number(kind: type) -> None:
    y = [1e-300, 1.0, 1e300, 0.0]
    packed = figures.compact({"data": [{"y": kind(y)}]})["data"][0]["y"]
    np.testing.assert_array_equal(unpack(packed), y)


def test_compact_is_strict_json_in_the_books_theme() -> None:
    fig = {
        "data": [{"y": [1.0, None, 3.0, 4.0], "text": ("a", "b"), "x": [float("inf"), 1.0]}],
        "layout": {"xaxis": {"range": (np.float64(1), np.int64(2))}, "meta": None},
    }
    small = figures.compact(fig)
    json.dumps(small, allow_nan=False)
    np.testing.assert_array_equal(unpack(small["data"][0]["y"]), [1, np.nan, 3, 4])
    assert small["data"][0]["x"] == [None, 1.0]
    assert small["layout"]["xaxis"]["range"] == [1, 2]
    assert small["layout"]["template"]["layout"]["colorway"] == list(figures.PALETTE)


def test_provenance_and_paper_value_are_where_the_page_looks_for_them() -> None:
    fig = figures.paper_value(
        figures.provenance(go.Figure(), "digits, 15 seeds"), [1], [2], name="p"
    )
    assert [(a.name, a.text) for a in fig.layout.annotations] == [
        ("provenance", "digits, 15 seeds")
    ]
    assert 'note.name === "provenance"' in PLOT_JS
    assert fig.data[0].marker.symbol == "diamond-open"
