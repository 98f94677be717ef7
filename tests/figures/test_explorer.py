"""The one source of figures with sliders: its frames, its size, and its answer to a kernel."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from sgdnoise.figures.explorer import Explorer, Slider, explorer
from sgdnoise.figures.theme import compact

X = np.linspace(0, 1, 50)
RATES = [0.1, 0.2, 0.4]
SIZES = [1, 8, 64, 512]


def curve(rate: float, size: int) -> go.Figure:
    fig = go.Figure(go.Scatter(x=X, y=np.exp(-rate * X) / size, name="fixed"))
    fig.add_scatter(x=X, y=np.cos(rate * X))
    fig.add_annotation(text=f"T = {rate / size:.3g}", x=0.5, y=rate)
    return fig.update_layout(title={"text": f"ε = {rate}, B = {size}"})


def sliders() -> dict[str, Slider]:
    return {
        "rate": Slider(RATES, label="learning rate ε"),
        "size": Slider(SIZES, label="batch size B", unit="examples", value=8),
    }


@pytest.fixture(scope="module")
def shown() -> Explorer:
    return explorer(curve, sliders(), caption="Look at the curve.")


def numbers(spec: Any) -> np.ndarray:
    return np.frombuffer(base64.b64decode(spec["bdata"]), spec["dtype"])


def test_frames_cover_the_product_grid_and_are_what_compute_gives(shown: Explorer) -> None:
    assert len(shown._plot.table["frames"]) == len(RATES) * len(SIZES)
    for rate, size in itertools.product(RATES, SIZES):
        frame, fig = shown.frame(rate=rate, size=size), curve(rate, size)
        for drawn, wanted in zip(frame["data"], fig.data, strict=True):
            # float32: seven digits.
            np.testing.assert_allclose(numbers(drawn["y"]), wanted.y, rtol=2**-24)
        assert frame["layout"]["title"]["text"] == fig.layout.title.text
        assert frame["layout"]["annotations"][0]["text"] == f"T = {rate / size:.3g}"
        assert frame == compact(fig)


def test_only_what_changes_is_stored_and_each_value_once(shown: Explorer) -> None:
    table = shown._plot.table
    assert [path for path in table["paths"] if path[0] == "data"] == [
        ["data", 0, "y"],
        ["data", 1, "y"],
    ]
    # The second curve depends on the rate alone: three arrays for twelve frames.
    assert len({row[table["paths"].index(["data", 1, "y"])] for row in table["frames"]}) == 3
    whole = sum(len(json.dumps(compact(curve(r, s)))) for r in RATES for s in SIZES)
    assert len(json.dumps(table)) < 0.4 * whole


def test_frames_with_another_number_of_curves_survive() -> None:
    def some(n: int) -> dict[str, Any]:
        return {"data": [{"y": [i, n]} for i in range(n)], "layout": {"title": {"text": str(n)}}}

    made = explorer(some, {"n": Slider([1, 2, 3], label="n")}, caption="c")
    for n in (1, 2, 3):
        assert made.frame(n=n) == compact(some(n))


def test_sliders_are_linked_in_the_page_and_say_what_they_are(shown: Explorer) -> None:
    links = [(link.source[0].description, link.source[1], link.target[1]) for link in shown._links]
    assert links == [
        ("learning rate ε", "index", "slider_0"),
        ("batch size B", "index", "slider_1"),
    ]
    assert (shown._plot.slider_0, shown._plot.slider_1) == (1, 1)  # the middle one; the one given
    assert shown.values == {"rate": 0.2, "size": 8}
    assert [s["options"] for s in shown._plot.sliders] == [
        ["0.1", "0.2", "0.4"],
        ["1 examples", "8 examples", "64 examples", "512 examples"],
    ]


def test_with_a_kernel_a_move_computes_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    gain = 1.0

    def scaled(rate: float) -> go.Figure:
        return go.Figure(go.Scatter(y=gain * rate * X))

    made = explorer(scaled, {"rate": Slider(RATES, label="rate")}, caption="c")
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(made._plot, "send", lambda content, buffers=None: sent.append(content))
    gain = 5.0
    made.sliders["rate"].index = 2
    (message,) = sent
    assert (message["kind"], message["position"]) == ("frame", [2])
    np.testing.assert_allclose(numbers(message["figure"]["data"][0]["y"]), 5 * 0.4 * X, rtol=2**-23)


def test_the_kernel_gives_its_plotly_when_asked(
    shown: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(
        shown._plot, "send", lambda content, buffers=None: sent.append((content, buffers))
    )
    shown._plot._handle_custom_msg({"kind": "plotly"}, [])
    ((content, buffers),) = sent
    assert content == {"kind": "plotly"}
    assert b"plotly.js" in buffers[0][:200]


def test_figures_that_exist_already_come_as_sequence_or_mapping() -> None:
    made = [curve(r, 1) for r in RATES]
    slider = {"rate": Slider(RATES, label="rate")}
    one = explorer(made, slider, caption="c")
    two = explorer(dict(zip(RATES, made, strict=True)), slider, caption="c")
    for rate in RATES:
        assert one.frame(rate=rate) == two.frame(rate=rate) == compact(curve(rate, 1))
    both = explorer({(r, s): curve(r, s) for r in RATES for s in SIZES}, sliders(), caption="c")
    assert both.frame(rate=0.4, size=64) == compact(curve(0.4, 64))
    with pytest.raises(ValueError, match="3 slider positions, but 2 figures"):
        explorer(made[:2], slider, caption="c")
    with pytest.raises(ValueError, match=r"no figure for slider values \(0.4,\)"):
        explorer(dict(zip(RATES[:2], made, strict=False)), slider, caption="c")


def test_a_step_that_changes_nothing_drawn_is_refused() -> None:
    def stuck(rate: float, size: int) -> go.Figure:
        fig = curve(min(rate, 0.2), size)
        return fig.update_layout(title={"text": str(rate)})  # only the words change

    with pytest.raises(ValueError, match=r"learning rate ε from 0\.2 to 0\.4 at batch size B 1 ex"):
        explorer(stuck, sliders(), caption="c")


def test_a_page_is_not_filled_by_one_explorer() -> None:
    with pytest.raises(ValueError, match=r"12 frames take .* bytes of the page"):
        explorer(curve, sliders(), caption="c", max_bytes=2000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"values": [1], "label": "a"}, "at least two"),
        ({"values": [1, 2], "label": "a", "value": 3}, "starts at 3"),
        ({"values": [0.1111111, 0.1111112], "label": "a"}, "two of its values alike"),
    ],
)
def test_a_slider_that_misleads_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Slider(**arguments)


def test_an_explorer_needs_sliders_and_words() -> None:
    with pytest.raises(ValueError, match="1 to 3 sliders"):
        explorer(curve, {}, caption="c")
    with pytest.raises(ValueError, match="what to look for"):
        explorer(curve, sliders(), caption=" ")


def test_the_caption_travels_for_readers_without_scripts(shown: Explorer) -> None:
    data, metadata = shown._repr_mimebundle_()
    assert metadata["sgdnoise"]["caption"] == "Look at the curve."
    assert data["text/plain"] == "Look at the curve."
    assert "application/vnd.jupyter.widget-view+json" in data
