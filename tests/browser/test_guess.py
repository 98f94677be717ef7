"""Guess before you look: what follows waits for the reader's guess, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sgdnoise import figures
from sgdnoise.book.guess import _box

STATIC = Path(figures.__file__).parent / "static"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, serve: Any) -> str:
    folder = tmp_path_factory.mktemp("guess")
    for name in ("guess.js", "plot.css"):
        shutil.copy(STATIC / name, folder)
    labels = [f"{value} %" for value in range(90, 101)]
    box = _box("What?", [4, 16, 64], [97.0, 96.5, 92.0], 90, labels, ("accuracy", "points"))
    (folder / "page.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">'
        '<link rel="stylesheet" href="plot.css"><script src="guess.js" defer></script><title>t'
        f"</title><body><article><h1>t</h1><section><div>{box.data}</div><p id='a'>first</p>"
        "</section><p id='b'>second</p></article><footer>foot</footer></body></html>",
        encoding="utf-8",
    )
    return f"{serve(folder)}/page.html"


def visible(page: Any) -> list[bool]:
    return [page.locator(name).is_visible() for name in ("h1", "#a", "#b", "footer")]


def test_at_first_everything_is_there_and_the_open_box_hides_what_follows(
    visit: Any, url: str
) -> None:
    seen = visit(url)
    page = seen.page
    assert visible(page) == [True] * 4
    page.locator("summary").click()
    page.wait_for_function("() => document.querySelector('.sgdnoise-later')")
    assert visible(page) == [True, False, False, True]
    page.locator("summary").click()
    page.wait_for_function("() => !document.querySelector('.sgdnoise-later')")
    assert visible(page) == [True] * 4
    assert seen.trouble == []


def test_a_link_opens_it_and_a_guess_is_held_against_the_measurement(visit: Any, url: str) -> None:
    seen = visit(f"{url}#guess")
    page = seen.page
    page.wait_for_function("() => document.querySelector('.sgdnoise-later')")
    sliders = page.get_by_role("slider")
    assert sliders.count() == 3
    assert page.locator("polyline").count() == 1
    for slider, moves in zip(sliders.all(), (2, 2, -2), strict=True):
        slider.focus()
        for _ in range(abs(moves)):
            page.keyboard.press("ArrowRight" if moves > 0 else "ArrowLeft")
    assert [s.get_attribute("aria-valuetext") for s in sliders.all()] == ["97 %", "97 %", "93 %"]
    page.get_by_role("button").click()
    assert visible(page) == [True] * 4
    assert page.locator("polyline.measured").count() == 1
    said = page.locator("[aria-live]").inner_text()
    assert "off by 0.5 points on average, most at B = 64" in said
    assert sliders.first.is_disabled()
    assert seen.trouble == []
