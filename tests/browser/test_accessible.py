"""Every page of the book, opened from the disk: axe-core finds no serious fault, a phone holds it.

One visit a page, light, dark and narrow, for the loading is what takes the time.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from browser.test_book import PAGES
from playwright.sync_api import TimeoutError

from sgdnoise.book.vendor import Script, vendor

ROOT = Path(__file__).parents[2]

AXE = Script(
    "axe.min.js",
    "axe-core@4.14.1",
    "axe.min.js",
    "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c",
)
SHELF = Path("_build/tests")
"""Kept between runs of the tests; nothing of it is copied into the book."""

EVERY_RULE = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
# A theme changes colours and nothing else.
COLOURS = {"type": "rule", "values": ["color-contrast"]}

# Their tables are written by one function, which gets as many runs as there are.
RECORDS = ["records/cpu/parts-checked", "records/digits/gradient-statistics"]

# No preload: axe would fetch the style sheets again, which a page from the disk may not. Of its
# rules css-orientation-lock alone needs that; no style sheet of the book asks how a screen is held.
FAULTS = """async (rules) => {
  const { violations } = await axe.run(
    document, { resultTypes: ["violations"], runOnly: rules, preload: false },
  );
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, help, nodes }) => nodes.map(
      ({ target, html }) => `${id} (${help}): ${target.join(" ")}: ${html.slice(0, 120)}`,
    ));
}"""

# A page of the book answers to the system's choice, and so do its figures, one after the other.
THEMED = """(theme) => {
  const paper = theme === "dark" ? "#121212" : "#ffffff";
  const { theme: here } = document.documentElement.dataset;
  return (here === undefined || here === theme)
    && [...document.querySelectorAll(".js-plotly-plot")]
      .every((plot) => plot._fullLayout.paper_bgcolor === paper);
}"""

FITS = "() => document.documentElement.scrollWidth <= innerWidth"
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

# What may hold a page wider than its screen, for the message.
OUTSIDE = """() => [...document.querySelectorAll("article *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth && !one.closest("[data-cut]"))
  .slice(0, 5).map((one) => one.outerHTML.slice(0, 120))"""

# What is cut can be reached by keys and has a name that is its own; what fits is left alone.
REGIONS = """() => [...document.querySelectorAll("[data-wide]")]
  .map((host) => host.matches("div.math") ? host.querySelector("mjx-container") : host)
  .filter((box) => box.checkVisibility())
  .map((box) => {
    const style = getComputedStyle(box);
    return {
      what: box.outerHTML.slice(0, 80),
      cut: box.scrollWidth > box.clientWidth + 1,
      sign: style.maskImage !== "none",
      scrolls: ["auto", "scroll"].includes(style.overflowX),
      region: box.getAttribute("role") === "region" && box.tabIndex === 0,
      name: box.getAttribute("aria-label"),
    };
  })"""


@pytest.fixture(scope="module")
def axe() -> str:
    vendor(ROOT, [AXE], SHELF)
    return (ROOT / SHELF / AXE.target).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*PAGES, *RECORDS])
def test_page_is_for_everyone(name: str, axe: str, book: Path, visit: Any) -> None:
    # Without motion: the theme's links would take their time to change colour.
    seen = visit((book / f"{name}.html").as_uri(), color_scheme="light", reduced_motion="reduce")
    page = seen.page
    page.evaluate(axe)
    faults = {}
    for theme, rules in (("light", EVERY_RULE), ("dark", COLOURS)):
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(THEMED, arg=theme)
        faults[theme] = page.evaluate(FAULTS, rules)
    assert faults == {"light": [], "dark": []}, name

    page.set_viewport_size({"width": 320, "height": 700})
    with contextlib.suppress(TimeoutError):  # figures and tables notice the new width
        page.wait_for_function(FITS, timeout=5000)
    assert page.evaluate(FITS), page.evaluate(OUTSIDE)
    page.evaluate(TWO_FRAMES)
    regions = page.evaluate(REGIONS)
    for one in regions:
        assert one["cut"] == one["sign"], one
        assert one["region"] or not one["cut"], one
        assert one["scrolls"] or not one["cut"], one
    names = [one["name"] for one in regions if one["region"]]
    assert all(names)
    assert len(set(names)) == len(names)
    assert seen.trouble == []
