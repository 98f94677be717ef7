"""The scorecard's filters on made-up rows: found by choice, by words and by address, or all shown.

The page is the list alone with its script and style, so that no book has to be built for it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from book.test_scorecard import row

from sgdnoise import figures
from sgdnoise.book.scorecard_page import claims_list, counts_table
from sgdnoise.figures.forest import anchor

STATIC = Path(figures.__file__).parent / "static"
HOSTILE = "<img src=x onerror=alert(1)>"
GONE = {"page": None, "runs": None, "effect": None, "interval": None, "seeds": 0}
ROWS = [
    row(0, statement="Momentum scales further"),
    row(1, "undecided", why=f"{HOSTILE} 50% of a+b.c"),
    row(2, "contradicted", scale="cpu", statement="LARS helps"),
    row(3, "not tested here", paper="H17", id="H17-X.gap", scale="cpu"),
    row(4, "not measured", paper="H17", id="H17-X.peak", scale="gpu", **GONE),
    row(5, "not measured", paper="H17", id="H17-X.ladder", scale="gpu", **GONE),
]
ADDRESSES = [anchor(r) for r in ROWS[:4]]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, serve: Any) -> str:
    folder = tmp_path_factory.mktemp("scorecard")
    for name in ("scorecard.js", "scorecard.css"):
        shutil.copy(STATIC / name, folder)
    (folder / "page.html").write_text(
        '<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="scorecard.css">'
        '<script src="scorecard.js" defer></script><title>t</title>'
        '<body><main class="bd-content"><div class="cell_output"><div class="text_html">'
        f"{counts_table(ROWS).data}{claims_list(ROWS).data}</div></div></main></body></html>",
        encoding="utf-8",
    )
    return f"{serve(folder)}/page.html"


@pytest.fixture
def card(visit: Any, url: str) -> Any:
    seen = visit(url)
    yield seen.page
    assert seen.trouble == []


def shown(page: Any) -> list[str]:
    """The ids of the rows that are to be seen; the row of what is not measured has none."""
    rows = page.locator(".sgdnoise-scorecard tr[data-paper]").all()
    return [r.get_attribute("id") or "waiting" for r in rows if r.is_visible()]


def said(page: Any) -> str:
    return str(page.locator("output").inner_text())


def test_at_first_every_row_is_shown_and_text_of_a_record_is_text(card: Any) -> None:
    assert shown(card) == [*ADDRESSES, "waiting"]
    assert said(card).startswith("6 of 6 claims")
    assert card.locator("img").count() == 0
    assert card.get_by_text(HOSTILE).count() == 1


def test_choices_narrow_the_list_and_stand_in_the_address(card: Any, url: str) -> None:
    card.get_by_label("Paper").select_option("S20")
    assert shown(card) == ADDRESSES[:3]
    card.get_by_label("Scale").select_option("cpu")
    assert shown(card) == [ADDRESSES[2]]
    assert said(card).startswith("1 of 6 claims")
    assert card.url == f"{url}#show.paper-S20.scale-cpu"
    places = card.locator("th.place")
    assert [p.inner_text() for p in places.all() if p.is_visible()] == ["S20 at scale cpu"]
    card.get_by_label("Word").select_option("not measured")
    assert shown(card) == []
    assert said(card).startswith("0 of 6")
    card.get_by_role("button", name="Show all").click()
    card.wait_for_function("() => !location.hash")
    assert shown(card) == [*ADDRESSES, "waiting"]


def test_the_keyboard_alone_is_enough(card: Any, url: str) -> None:
    card.get_by_label("Paper").focus()
    card.keyboard.type("H")
    assert shown(card) == [ADDRESSES[3], "waiting"]
    for _ in range(3):
        card.keyboard.press("Tab")
    card.keyboard.type("ladder")
    assert shown(card) == ["waiting"]  # also by what is folded away
    card.keyboard.press("Enter")  # which sends no form
    assert card.url == f"{url}#show.paper-H17.text-ladder"
    card.keyboard.press("Tab")
    card.keyboard.press("Enter")
    card.wait_for_function("() => !location.hash")
    assert shown(card) == [*ADDRESSES, "waiting"]
    for _ in range(40):
        card.keyboard.press("Tab")
        if card.evaluate("() => document.activeElement.localName") == "summary":
            break
    card.keyboard.press("Enter")
    assert card.locator("details li").first.is_visible()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MOMENTUM", [ADDRESSES[0]]),
        ("further scales", [ADDRESSES[0]]),
        ("50% of A+b.c", [ADDRESSES[1]]),
        (HOSTILE, [ADDRESSES[1]]),
        ("h17-x.peak", ["waiting"]),  # a claim's id
        ("no such words", []),
        ("  ", [*ADDRESSES, "waiting"]),
    ],
)
def test_a_text_is_found_and_its_address_finds_it_again(
    card: Any, visit: Any, text: str, found: list[str]
) -> None:
    card.get_by_label("Text").fill(text)
    assert shown(card) == found
    again = visit(card.url)
    assert shown(again.page) == found
    assert again.page.get_by_label("Text").input_value() == text.strip()
    assert again.trouble == []


@pytest.mark.parametrize(
    ("fragment", "found"),
    [
        ("show.word-not-tested-here", [ADDRESSES[3]]),
        ("show.scale-cpu.paper-S20", [ADDRESSES[2]]),
        ("show.paper-nobody.scale-cpu", ADDRESSES[2:4]),
        ("show.text-%", [ADDRESSES[1]]),
        ("show.nothing.x-y", [*ADDRESSES, "waiting"]),
        ("nowhere", [*ADDRESSES, "waiting"]),
        ("%E0%A4%A", [*ADDRESSES, "waiting"]),
    ],
)
def test_an_address_names_what_is_shown(
    visit: Any, url: str, fragment: str, found: list[str]
) -> None:
    seen = visit(f"{url}#{fragment}")
    assert shown(seen.page) == found
    for field in seen.page.locator("select").all():
        assert field.evaluate("(select) => select.selectedIndex") >= 0
    assert seen.trouble == []


def test_a_count_leads_to_its_claims_and_a_rows_address_to_the_row(card: Any, url: str) -> None:
    card.locator(".sgdnoise-counts a", has_text="1 contradicted").first.click()
    card.wait_for_function("() => location.hash === '#show.paper-S20.scale-cpu.word-contradicted'")
    assert shown(card) == [ADDRESSES[2]]
    # A row that the filters hide is shown when an address names it, and one folded away unfolds.
    card.evaluate("(name) => { location.hash = name; }", ADDRESSES[0])
    card.wait_for_function("() => !document.querySelector('tr[data-paper][hidden]')")
    assert card.locator(f"[id='{ADDRESSES[0]}']").is_visible()
    card.evaluate("() => { location.hash = 'H17-X.ladder.gpu'; }")
    card.wait_for_function("() => document.querySelector('details').open")
    assert card.locator("[id='H17-X.ladder.gpu']").is_visible()


def test_without_a_script_every_row_is_shown_and_no_form(visit: Any, url: str) -> None:
    page = visit(f"{url}#show.word-undecided", settle=False, java_script_enabled=False).page
    assert shown(page) == [*ADDRESSES, "waiting"]
    assert not page.locator("form").is_visible()


def test_nothing_is_wider_than_a_phone(visit: Any, url: str) -> None:
    seen = visit(url, viewport={"width": 360, "height": 800})
    assert seen.page.evaluate("() => document.documentElement.scrollWidth") <= 360
    assert seen.trouble == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_are_told_apart_by_shape_and_text(card: Any, theme: str) -> None:
    card.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    chips = card.locator(".sgdnoise-scorecard tr[data-paper] .chip").all()
    assert [chip.inner_text() for chip in chips] == [
        "● reproduced",
        "□ undecided",
        "✖ contradicted",
        "– not tested here",
        "· not measured",
    ]
