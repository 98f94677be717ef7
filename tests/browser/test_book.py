"""Every page of the book, opened with the network shut: it loads, draws, moves, and stays small.

From the disk they are opened in test_accessible.py.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser.slowed import slowed

ROOT = Path(__file__).parents[2]
LIMIT = 2_000_000


def documents(node: Any) -> Iterator[str]:
    """The pages that the table of contents names, in its order."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("root", "file"):
                yield str(value).removesuffix(".md").removesuffix(".ipynb")
            else:
                yield from documents(value)
    elif isinstance(node, list):
        for item in node:
            yield from documents(item)


PAGES = list(documents(yaml.safe_load((ROOT / "_toc.yml").read_text())))


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_and_draws_without_a_network(
    name: str, book: Path, book_url: str, visit: Any
) -> None:
    seen = visit(f"{book_url}/{name}.html")
    source = (book / f"{name}.html").read_text()
    boxes = source.count('class="sgdnoise-figure"') + source.count('class="sgdnoise-explorer"')
    drawn = seen.page.locator(".js-plotly-plot")
    assert drawn.count() >= boxes
    for i in range(drawn.count()):
        box = drawn.nth(i).bounding_box()
        assert box["width"] > 200
        assert box["height"] > 200
        # The pages' plotly has flat figures only, and draws what it does not know as a line.
        asked, got = drawn.nth(i).evaluate(
            """(p) => [p.data, p._fullData].map((all) => all.map((t) => t.type ?? "scatter"))"""
        )
        assert asked == got
        title = drawn.nth(i).evaluate(
            "(p) => p.closest(':has(> .sgdnoise-title)').querySelector('.sgdnoise-title').innerText"
        )
        # Of a machine that has trained nothing there is nothing to tell.
        assert title or name == "book/this-machine"
    text = seen.page.locator("article").inner_text()
    assert "$$" not in text
    assert "\\(" not in text
    assert " object>" not in text
    own = {url: size for url, size in seen.loaded.items() if "/_static/" not in url}
    assert sum(own.values()) <= LIMIT, own
    assert widgets_of(seen.loaded, source) == []
    assert seen.trouble == []


@pytest.mark.parametrize("name", PAGES)
def test_every_step_of_every_slider_moves_its_figure(name: str, book_url: str, visit: Any) -> None:
    seen = visit(f"{book_url}/{name}.html")
    for explorer in seen.page.locator(".sgdnoise-explorer").all():
        walk(seen.page, explorer)
    assert seen.trouble == []


def test_marks_follow_a_hand_at_once(book_url: str, visit: Any) -> None:
    """For less than half of what a whole drawing costs, in the page's own time on a slow processor.

    Quiet it is 20 to 50 ms in place of 150 and more; a share holds on a loaded machine too.
    """
    seen = visit(f"{book_url}/book/temperature.html")
    # The hand does not rest: on a loaded machine it would seem to.
    source = ROOT / "src/sgdnoise/figures/static/explorer.js"
    (rest,) = re.findall(r"const REST = (\d+);", source.read_text())
    seen.page.evaluate(
        "() => { const real = setTimeout;"
        " globalThis.setTimeout = (f, ms, ...of) => ms === "
        f"{rest} ? 0 : real(f, ms, ...of); }}"
    )
    seen.page.evaluate(
        "() => document.querySelectorAll('.sgdnoise-explorer input[max=\"5\"]')"
        ".forEach((range, i) => { range.classList.add(`timed-${i}`);"
        " const box = range.closest('.sgdnoise-explorer').querySelector('.sgdnoise-figure');"
        " range.addEventListener('whole', () => {"
        " range.dispatchEvent(new Event('input')); sgdnoise.settle(box); }); })"
    )
    count = seen.page.locator("input[class^=timed]").count()
    assert count >= 3
    for i in range(count):
        seen.page.locator(f".timed-{i}").scroll_into_view_if_needed()
        marks, whole = (slowed(seen.page, f".timed-{i}", event) for event in ("input", "whole"))
        assert 1e-3 < min(marks() for _ in range(3)) < 0.5 * min(whole() for _ in range(3))
    assert seen.trouble == []


def widgets_of(loaded: Iterable[str], source: str) -> list[str]:
    """What of Jupyter's widgets a page asks for or holds: none, for it draws its own controls."""
    scripts = ("require.js", "embed-amd.js", "anywidget.js")
    states = [kind for kind in ("widget-state+json", "widget-view+json") if kind in source]
    return [url for url in loaded if url.split("?")[0].endswith(scripts)] + states


# The marks of a plot as they stand: what a hand moves at once has to be what it gets when it rests.
MARKS = """(plot) => [...plot.querySelectorAll(".cartesianlayer .trace path")]
  .map((mark) => [mark.getAttribute("d"), mark.getAttribute("transform")].join(" "))"""


def walk(page: Any, explorer: Any) -> None:
    """Press through each control from end to end: each step draws other data, and says which."""
    plot = explorer.locator(".js-plotly-plot")
    explorer.scroll_into_view_if_needed()
    controls = explorer.locator(".sgdnoise-control").all()
    assert controls
    for axis, control in enumerate(controls):
        label = control.locator(".sgdnoise-name").inner_text()
        slider = control.get_by_role("slider")
        two = slider.count() == 0
        states, drawings = [], []
        for step in range(2 if two else 1 + int(slider.get_attribute("max"))):
            if two:
                choice = control.get_by_role("radio").nth(step)
                if not choice.is_checked():
                    control.get_by_role("radio", checked=True).focus()
                    press(page, plot, ("ArrowLeft", "ArrowRight")[step])
                assert choice.is_checked()
            elif step:
                press(page, plot, "ArrowRight")
            else:
                slider.focus()
                press(page, plot, "Home", may_stay=True)
            states.append(json.loads(plot.get_attribute("data-slider-state")))
            sketch = plot.evaluate(MARKS)
            assert sketch or plot.locator(".hm image").count(), label
            explorer.evaluate("(box) => sgdnoise.settle(box.querySelector('.sgdnoise-figure'))")
            assert plot.evaluate(MARKS) == sketch, label
            drawings.append(plot.evaluate("(p) => JSON.stringify(p.data)"))
            if not two:
                said = slider.get_attribute("aria-valuetext")
                assert said == control.locator(".sgdnoise-value").inner_text() != ""
        names = list(states[0])
        assert len({state[names[axis]] for state in states}) == len(states), label
        for before, after in itertools.pairwise(drawings):
            assert before != after, label


def press(page: Any, plot: Any, key: str, may_stay: bool = False) -> None:
    before = plot.get_attribute("data-slider-state")
    page.keyboard.press(key)
    if may_stay:
        page.wait_for_timeout(200)
        return
    page.wait_for_function(
        "([plot, before]) => plot.dataset.sliderState !== before",
        arg=[plot.element_handle(), before],
    )


EXPERIMENT = "papermill_runs/digits/constant-epoch"


def test_figures_keep_their_height_when_the_window_changes(book_url: str, visit: Any) -> None:
    seen = visit(f"{book_url}/{EXPERIMENT}.html")
    plots = seen.page.locator(".js-plotly-plot")
    for width in (700, 1200):
        seen.page.set_viewport_size({"width": width, "height": 900})
        seen.page.wait_for_timeout(600)
        for i in range(plots.count()):
            assert plots.nth(i).bounding_box()["height"] > 300
            below = plots.nth(i).locator("xpath=following-sibling::p").first.bounding_box()
            box = plots.nth(i).bounding_box()
            assert below["y"] >= box["y"] + box["height"] - 1
    assert seen.trouble == []


def test_a_point_leads_to_its_runs(book_url: str, visit: Any) -> None:
    seen = visit(f"{book_url}/{EXPERIMENT}.html")
    page = seen.page
    plot = page.locator("figure .js-plotly-plot").first
    plot.scroll_into_view_if_needed()
    href = plot.evaluate("(p) => p.parentElement.querySelector('.sgdnoise-provenance a').href")
    assert href.endswith("/records/digits/constant-epoch.html")
    anchor = plot.evaluate("(p) => p.data[0].customdata[3]")
    # Where the fourth mark of the first curve is on the screen.
    at = plot.evaluate(
        """(p) => {
          const mark = p.querySelectorAll(".scatterlayer .trace")[0].querySelectorAll(".point")[3];
          const box = mark.getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2];
        }"""
    )
    page.mouse.move(*at)
    page.wait_for_timeout(300)
    page.mouse.click(*at)
    page.wait_for_timeout(1000)
    assert page.url.endswith(f"/records/digits/constant-epoch.html#{anchor}")
    heading = page.locator(f"#{anchor}")
    assert heading.is_visible()
    rows = heading.locator("xpath=following-sibling::div[1]//tbody/tr")
    assert rows.count() >= 100
    assert rows.first.locator("td").nth(5).inner_text() in ("done", "diverged")


def test_the_first_page_is_where_the_index_leads(book_url: str, visit: Any) -> None:
    page = visit(f"{book_url}/index.html", settle=False).page
    page.wait_for_url("**/book/intro.html")


@pytest.mark.parametrize("name", ["book/intro", "book/map", EXPERIMENT])
def test_what_a_page_writes_itself_is_dark_on_a_dark_page(
    name: str, book_url: str, visit: Any
) -> None:
    """The theme puts HTML that a cell made on a light ground unless it is told not to."""
    seen = visit(f"{book_url}/{name}.html", color_scheme="dark")
    grounds = seen.page.eval_on_selector_all(
        "div.text_html:has(.sgdnoise-map, .sgdnoise-guess, .sgdnoise-rules)",
        "(all) => all.map((one) => getComputedStyle(one).backgroundColor)",
    )
    assert grounds
    assert set(grounds) == {"rgba(0, 0, 0, 0)"}
