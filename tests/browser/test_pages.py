"""Every page of the book, opened from the disk with the network shut.

It loads, draws and stays small; every step of every control moves its figure; axe-core finds no
serious fault, light or dark; a phone holds it. A page is opened once for all of this, for the
loading is what takes the time.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from playwright.sync_api import Page, TimeoutError, expect

from sgdnoise.book.vendor import Script, vendor

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
def test_page_draws_moves_and_is_for_everyone(name: str, axe: str, book: Path, visit: Any) -> None:
    # Without motion: the theme's links would take their time to change colour.
    seen = visit((book / f"{name}.html").as_uri(), color_scheme="light", reduced_motion="reduce")
    draws(seen)
    for explorer in seen.page.locator(".sgdnoise-explorer").all():
        walk(seen.page, explorer)
    is_for_everyone(seen.page, axe)
    assert seen.trouble == []


# Their tables are written by one function, which gets as many runs as there are.
@pytest.mark.parametrize("name", ["cpu/parts-checked", "digits/gradient-statistics"])
def test_records_are_for_everyone(name: str, axe: str, book: Path, visit: Any) -> None:
    at = (book / f"records/{name}.html").as_uri()
    seen = visit(at, color_scheme="light", reduced_motion="reduce")
    is_for_everyone(seen.page, axe)
    assert seen.trouble == []


def draws(seen: Any) -> None:
    """Every figure stands, large enough and under a title; no markup is left over; it is small."""
    file = disk(seen.page.url)
    source = file.read_text()
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
        assert title or file.name == "this-machine.html"
    text = seen.page.locator("article").inner_text()
    assert "$$" not in text
    assert "\\(" not in text
    assert " object>" not in text
    own = {disk(url) for url in seen.loaded if "/_static/" not in url}
    assert file in own
    assert sum(one.stat().st_size for one in own) <= LIMIT, own
    assert widgets_of(seen.loaded, source) == []


def disk(url: str) -> Path:
    """Where a page, or a file that it asked for, lies."""
    return Path(unquote(urlsplit(url).path))


def widgets_of(loaded: Iterable[str], source: str) -> list[str]:
    """What of Jupyter's widgets a page asks for or holds: none, for it draws its own controls."""
    scripts = ("require.js", "embed-amd.js", "anywidget.js")
    states = [kind for kind in ("widget-state+json", "widget-view+json") if kind in source]
    return [url for url in loaded if url.split("?")[0].endswith(scripts)] + states


# What a step of a control has drawn, asked for at once, for each question takes its time. Of the
# marks: what a hand moves at once has to be what it gets when it rests.
DRAWN = """async (plot, before) => {
  const moved = () => plot.dataset.sliderState !== before;
  for (const start = performance.now(); !moved();) {
    if (performance.now() > start + 20_000) throw new Error(`it stays at ${before}`);
    await new Promise(requestAnimationFrame);
  }
  const marks = () => [...plot.querySelectorAll(".cartesianlayer .trace path")]
    .map((mark) => [mark.getAttribute("d"), mark.getAttribute("transform")].join(" ")).join();
  const state = plot.dataset.sliderState, sketch = marks();
  const image = plot.querySelector(".hm image") !== null;
  await sgdnoise.settle(plot.closest(".sgdnoise-figure"));
  return { state, marked: sketch !== "" || image, stays: marks() === sketch,
    data: JSON.stringify(plot.data) };
}"""


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
            before = None  # what has to move, where anything has
            if two:
                choice = control.get_by_role("radio").nth(step)
                if not choice.is_checked():
                    before = plot.get_attribute("data-slider-state")
                    control.get_by_role("radio", checked=True).focus()
                    page.keyboard.press(("ArrowLeft", "ArrowRight")[step])
                    expect(choice).to_be_checked()
            elif step:
                before = states[-1]
                page.keyboard.press("ArrowRight")
            else:
                slider.focus()
                page.keyboard.press("Home")
                page.wait_for_timeout(200)
            drawn = plot.evaluate(DRAWN, before)
            assert drawn["marked"], label
            assert drawn["stays"], label
            states.append(drawn["state"])
            drawings.append(drawn["data"])
            if not two:
                said = slider.get_attribute("aria-valuetext")
                assert said == control.locator(".sgdnoise-value").inner_text() != ""
        values = [list(json.loads(state).values())[axis] for state in states]
        assert len(set(values)) == len(values), label
        for before, after in itertools.pairwise(drawings):
            assert before != after, label


def press(page: Any, plot: Any, key: str) -> None:
    before = plot.get_attribute("data-slider-state")
    page.keyboard.press(key)
    page.wait_for_function(
        "([plot, before]) => plot.dataset.sliderState !== before",
        arg=[plot.element_handle(), before],
    )


# --- For everyone ---------------------------------------------------------------------------------

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


def is_for_everyone(page: Page, axe: str) -> None:
    """axe-core finds no serious fault, light or dark; a phone holds it; what is cut scrolls."""
    page.evaluate("scrollTo(0, 0)")  # nothing lies under the bar at the top
    page.evaluate(axe)
    faults = {}
    for theme, rules in (("light", EVERY_RULE), ("dark", COLOURS)):
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(THEMED, arg=theme)
        faults[theme] = page.evaluate(FAULTS, rules)
    assert faults == {"light": [], "dark": []}

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
