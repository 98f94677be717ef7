"""The built book, served with the network shut: what single pages do.

What every page has to do is in test_pages.py.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import pytest
from browser.slowed import NEVER_RESTS, slowed

ROOT = Path(__file__).parents[2]


def test_marks_follow_a_hand_at_once(book_url: str, visit: Any) -> None:
    """For less than half of what a whole drawing costs, in the page's own time.

    A share holds on a loaded machine too, and on a slow one.
    """
    seen = visit(f"{book_url}/book/temperature.html")
    seen.page.evaluate(NEVER_RESTS)
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
        marks, whole = (
            slowed(seen.page, f".timed-{i}", event, rate=1) for event in ("input", "whole")
        )
        # Of three, for what the page does by itself in between can make one of them anything.
        quick, slow = (median(cost() for _ in range(3)) for cost in (marks, whole))
        assert 1e-3 < quick < 0.5 * slow
    assert seen.trouble == []


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
