"""One of everything on a small book: what is drawn is what was computed, in any light and width."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.slowed import NEVER_RESTS
from browser.test_pages import press, walk, widgets_of

RATES, SIZES = [0.25, 0.5, 1.0, 2.0], [1, 2, 4]
X = np.linspace(0, 10, 50)


@pytest.fixture
def page(specimen_url: str, visit: Any) -> Any:
    seen = visit(f"{specimen_url}/book/specimen.html")
    yield seen.page
    assert seen.trouble == []


def test_every_position_draws_what_the_notebook_computes(page: Any) -> None:
    """The page's numbers against the formula, which stands here a second time."""
    explorer = page.locator(".sgdnoise-explorer").first
    plot = explorer.locator(".js-plotly-plot")
    rates, sizes = explorer.get_by_role("slider").all()
    seen = set()
    for slider in (rates, sizes):
        slider.focus()
        page.keyboard.press("Home")
    for i, rate in enumerate(RATES):
        for j, size in enumerate(SIZES):
            there = json.dumps({"rate": rate, "size": size})
            page.wait_for_function(
                """([plot, there]) => {
                  const now = JSON.parse(plot.dataset.sliderState), to = JSON.parse(there);
                  return Object.keys(to).every((name) => now[name] === to[name]);
                }""",
                arg=[plot.element_handle(), there],
            )
            drawn = plot.evaluate("(p) => [...p._fullData[0].y]")
            np.testing.assert_allclose(drawn, np.exp(-rate * X) / size, rtol=2**-23)
            title = explorer.locator(".sgdnoise-title").inner_text()
            assert title == f"ε = {rate:g}, B = {size}, gain 1"
            seen.add((rate, size))
            # A path through the grid that takes one step at a time.
            if j + 1 < len(SIZES):
                sizes.focus()
                page.keyboard.press("ArrowRight")
        if i + 1 < len(RATES):
            sizes.focus()
            page.keyboard.press("Home")
            rates.focus()
            page.keyboard.press("ArrowRight")
    assert len(seen) == len(RATES) * len(SIZES)


def test_sliders_walk_from_end_to_end(page: Any) -> None:
    for explorer in page.locator(".sgdnoise-explorer").all():
        walk(page, explorer)


BARS = """(plot) => [...plot.querySelectorAll(".errorbar path")]
  .map((bar) => bar.getAttribute("d"))"""


def test_bars_move_with_their_marks_before_a_hand_rests(specimen_url: str, visit: Any) -> None:
    seen = visit(f"{specimen_url}/book/bars.html")
    page, explorer = seen.page, seen.page.locator(".sgdnoise-explorer")
    plot = explorer.locator(".js-plotly-plot")
    # It never rests: nothing is drawn whole until it is asked for.
    page.evaluate(NEVER_RESTS)
    explorer.get_by_role("slider").focus()
    before = plot.evaluate(BARS)
    assert len(before) == 6  # three marks, each with a bar across and one up
    press(page, plot, "ArrowRight")
    moved = plot.evaluate(BARS)
    assert all(now != then for now, then in zip(moved, before, strict=True))
    explorer.evaluate("(box) => sgdnoise.settle(box.querySelector('.sgdnoise-figure'))")
    assert plot.evaluate(BARS) == moved
    walk(page, explorer)
    assert seen.trouble == []


def test_a_slider_leaves_the_other_figures_alone(page: Any) -> None:
    others = (
        "() => [...document.querySelectorAll('.js-plotly-plot')].slice(1).map(p => p.innerHTML)"
    )
    before = page.evaluate(others)
    walk(page, page.locator(".sgdnoise-explorer").first)
    assert page.evaluate(others) == before


def test_figures_follow_the_theme_and_nothing_else_changes(page: Any) -> None:
    look = """() => [...document.querySelectorAll(".js-plotly-plot")].map((p) => [
      p._fullLayout.paper_bgcolor, p._fullLayout.font.color, p._fullData[0].line.color,
      p._fullData[1].fillcolor])"""
    data = "() => [...document.querySelectorAll('.js-plotly-plot')].map((p) => p._fullData[0].y)"
    numbers = page.evaluate(data)
    theme = "(name) => { document.documentElement.dataset.theme = name }"
    looks = {}
    for name in ("light", "dark", "light"):
        page.evaluate(theme, name)
        page.wait_for_timeout(500)
        looks.setdefault(name, page.evaluate(look))
        assert page.evaluate(look) == looks[name]
    assert len(looks["light"]) == 4
    for light, dark in zip(looks["light"], looks["dark"], strict=True):
        assert light[0] == "#ffffff"
        assert dark[0] == "#121212"
        assert all(one != two for one, two in zip(light, dark, strict=True))
    assert page.evaluate(data) == numbers


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_at_any_width(width: int, specimen_url: str, visit: Any) -> None:
    seen = visit(
        f"{specimen_url}/book/specimen.html", viewport={"width": width, "height": 800}
    ).page
    assert seen.evaluate("() => document.documentElement.scrollWidth") <= width
    for plot in seen.locator(".sgdnoise-plot").all():
        # Its drawing takes the room that it needs, so that nothing below lies upon it.
        assert plot.bounding_box()["height"] >= plot.evaluate("(p) => p._fullLayout.height") >= 400
    for part in seen.locator(".sgdnoise-plot .main-svg:first-child, input[type=range]").all():
        box = part.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["width"] > 100


def test_what_is_cut_shows_it_and_moves_by_keys(specimen_url: str, visit: Any) -> None:
    narrow, wide = ({"width": width, "height": 800} for width in (360, 1280))
    page = visit(f"{specimen_url}/book/still.html", viewport=narrow).page
    regions = page.get_by_role("region")
    assert regions.count() == 2
    assert [one.get_attribute("aria-label") for one in regions.all()] == [
        "Equation 2, Wide",
        "Code 1, Wide",
    ]
    for one in regions.all():
        assert one.get_attribute("data-cut") == "end"
        one.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("(box) => box.dataset.cut === 'start end'", arg=one.element_handle())
        one.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
        page.wait_for_function("(box) => box.dataset.cut === 'start'", arg=one.element_handle())
    page.set_viewport_size(wide)
    page.wait_for_function("() => !document.querySelector('[data-cut], [role=region]')")


def test_the_toolbar_appears_on_demand_and_never_on_touch(specimen_url: str, visit: Any) -> None:
    shown = "(bar) => getComputedStyle(bar.querySelector('.modebar-group')).opacity"
    url = f"{specimen_url}/book/specimen.html"
    page = visit(url).page
    for wake in (lambda plot: plot.hover(), lambda plot: plot.locator("button").first.focus()):
        plot = page.locator(".sgdnoise-plot").nth(1)
        bar = plot.locator(".modebar")
        assert bar.evaluate(shown) == "0"
        wake(plot)
        page.wait_for_function(f"(bar) => ({shown})(bar) === '1'", arg=bar.element_handle())
        page.mouse.move(0, 0)
        page.wait_for_function(
            f"(bar) => bar.contains(document.activeElement) || ({shown})(bar) === '0'",
            arg=bar.element_handle(),
        )
    page = visit(url, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True).page
    page.locator(".sgdnoise-plot").nth(1).tap()
    assert not any(bar.is_visible() for bar in page.locator(".modebar").all())
    # And a finger on a figure still moves the page.
    assert page.locator(".sgdnoise-plot").nth(1).evaluate("(p) => p._fullLayout.dragmode") is False


def test_a_hover_says_what_can_be_read(page: Any) -> None:
    plot = page.locator(".sgdnoise-plot").nth(1)
    plot.scroll_into_view_if_needed()
    plot.evaluate("(p) => Plotly.Fx.hover(p, [{ curveNumber: 0, pointNumber: 7 }])")
    text = plot.locator(".hovertext")
    text.wait_for()
    assert f"({X[7]:.6g}, {np.exp(-0.5 * X[7]):.4g})" in text.text_content()


def test_figures_and_sliders_have_names(page: Any) -> None:
    labels = [plot.get_attribute("aria-label") for plot in page.locator(".sgdnoise-plot").all()]
    assert labels == [
        "ε = 1, B = 2, gain 1",
        "ε = 0.5, B = 1, gain 1",
        "ε = 1, B = 1, gain 1",
        "ε = 2, B = 4, gain 1",
    ]
    for name, said in (
        ("learning rate ε", "1"),
        ("batch size B", "2 examples"),
        ("recorded learning rate", "1"),
    ):
        slider = page.get_by_role("slider", name=name, exact=True)
        assert slider.get_attribute("aria-valuetext") == said
    method = page.get_by_role("radiogroup", name="batch size B", exact=True)
    assert method.get_by_role("radio", name="4 examples", exact=True, checked=True).count() == 1
    assert method.get_by_role("radio", name="1 examples", exact=True, checked=False).count() == 1
    notes = page.locator(".sgdnoise-provenance").all_inner_texts()
    assert notes == ["specimen: computed as this page was built"] * 4


def test_equations_are_drawn(page: Any) -> None:
    assert page.locator("mjx-container[display=true] svg").count() == 1


def test_shared_scripts_load_only_where_they_are_needed(specimen_url: str, visit: Any) -> None:
    def loaded(name: str) -> list[str]:
        asked: list[str] = []
        page = visit(f"{specimen_url}/book/plain.html").page
        page.on("request", lambda request: asked.append(request.url.split("/")[-1].split("?")[0]))
        page.goto(f"{specimen_url}/book/{name}.html", wait_until="networkidle")
        heavy = ("plotly.min.js", "tex-svg-full.js")
        return sorted(script for script in asked if script in heavy)

    assert loaded("plain") == []
    assert loaded("still") == ["tex-svg-full.js"]
    assert loaded("specimen") == ["plotly.min.js", "tex-svg-full.js"]  # each once


def test_a_page_has_no_widget_and_asks_for_no_script_of_widgets(
    specimen: Path, specimen_url: str, visit: Any
) -> None:
    source = (specimen / "book" / "specimen.html").read_text()
    loaded = visit(f"{specimen_url}/book/specimen.html").loaded
    assert source.count('class="sgdnoise-explorer"') == 3
    assert any("plotly.min.js" in url for url in loaded)
    assert widgets_of(loaded, source) == []


def test_what_is_out_of_sight_is_drawn_before_it_is_printed(specimen_url: str, visit: Any) -> None:
    """Also on a page that never rests, whose figures have their room and their words already."""
    viewport = {"width": 1280, "height": 300}
    seen = visit(f"{specimen_url}/book/plain.html", viewport=viewport)
    page = seen.page
    page.add_init_script("globalThis.requestIdleCallback = () => 0")
    page.goto(f"{specimen_url}/book/specimen.html")
    drawn = page.locator(".main-svg:first-child")
    before = "() => document.documentElement.scrollHeight"
    page.wait_for_function("() => globalThis.Plotly")
    heights = page.locator(".sgdnoise-plot").evaluate_all("(all) => all.map((p) => p.offsetHeight)")
    assert drawn.count() < 4
    assert len(heights) == 4
    assert min(heights) >= 400
    assert page.locator(".sgdnoise-title").last.inner_text() == "ε = 2, B = 4, gain 1"
    tall = page.evaluate(before)
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert drawn.count() == 4
    assert abs(page.evaluate(before) - tall) <= 2
    assert seen.trouble == []


BROKEN = {
    "its data are cut short": "text.slice(0, -20)",
    "a part of its data is missing": "(delete data.table.pool, data)",
    "its controls have other positions than 4 × 3": "(data.sliders[1].options.pop(), data)",
    "it has 11 frames for 12 positions": "(data.table.frames.pop(), data)",
    "its frame 12 is not whole": "(data.table.frames[11][0] = 1e6, data)",
    "its frames have no data.9.y": "(data.table.paths[0] = ['data', 9, 'y'], data)",
    "it starts at 7, 1, where it has no frame": "(data.position[0] = 7, data)",
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_broken_table_of_frames_says_so_in_one_line(
    why: str, specimen: Path, specimen_url: str, visit: Any
) -> None:
    html = (specimen / "book" / "specimen.html").read_text()
    start = html.index(">", html.index("<script", html.index('class="sgdnoise-explorer"'))) + 1
    end = html.index("</script>", start)
    seen = visit(f"{specimen_url}/book/plain.html")
    page = seen.page
    make = f"(text) => {{ const data = JSON.parse(text); const made = {BROKEN[why]};"
    make += " return typeof made === 'string' ? made : JSON.stringify(made); }"
    broken = html[:start] + page.evaluate(make, html[start:end]) + html[end:]
    address = f"{specimen_url}/book/specimen.html"
    page.route(address, lambda route: route.fulfill(body=broken, content_type="text/html"))
    page.goto(address)
    line = page.locator(".sgdnoise-explorer").first.locator("p.sgdnoise-wait")
    line.wait_for()
    assert line.inner_text() == f"This figure cannot be drawn: {why}. Build the book again."
    # The others do not suffer.
    page.wait_for_function("() => document.querySelectorAll('.main-svg:first-child').length === 3")
    assert seen.trouble == []


def test_without_scripts_there_are_words(specimen_url: str, visit: Any) -> None:
    page = visit(f"{specimen_url}/book/specimen.html", settle=False, java_script_enabled=False).page
    texts = page.locator("noscript p").all_inner_texts()
    for text, words in zip(
        texts,
        (
            "Double both and compare.",
            "ε = 0.5, B = 1, gain 1",
            "Frames that existed before the slider.",
            "Two positions are two buttons.",
        ),
        strict=True,
    ):
        assert words in text


def test_it_works_from_the_disk(specimen: Path, visit: Any) -> None:
    seen = visit((specimen / "book" / "specimen.html").as_uri())
    walk(seen.page, seen.page.locator(".sgdnoise-explorer").first)
    assert seen.trouble == []


def saved(page: Any, name: str, figure: int = 0) -> str:
    with page.expect_download() as download:
        page.locator(".sgdnoise-data").nth(figure).get_by_role("button", name=name).click()
    assert download.value.suggested_filename == f"figure.{name.lower()}"
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_a_figure_gives_its_numbers_as_it_stands(page: Any) -> None:
    explorer = page.locator(".sgdnoise-explorer").first
    rows = json.loads(saved(page, "JSON"))
    curve = [row for row in rows if row["curve"] == "expected loss"]
    np.testing.assert_allclose([row["x"] for row in curve], X, rtol=1e-6)
    np.testing.assert_allclose([row["y"] for row in curve], np.exp(-X) / 2, rtol=1e-6)
    explorer.get_by_role("slider").first.focus()
    page.keyboard.press("End")
    page.wait_for_function("() => document.querySelector('.sgdnoise-title').innerText[4] === '2'")
    head, *lines = saved(page, "CSV").splitlines()
    assert head == '"curve","x","y"'
    mine = [line.split(",") for line in lines if line.startswith('"expected loss"')]
    np.testing.assert_allclose([float(y) for _, _, y in mine], np.exp(-2 * X) / 2, rtol=1e-6)
