"""The index names everything that the papers number, once, and leads to pages that there are."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path

import pytest
from book.test_scorecard import row

from sgdnoise.book import paper_index
from sgdnoise.papers.numbers import Item, claims, items

BOOK = Path(__file__).parents[2] / "book"
EVERY = [item for some in items().values() for item in some]


def test_every_item_is_named_once_and_as_its_paper_does() -> None:
    html = paper_index.index([]).data
    ids = re.findall(r'<tr id="([^"]+)"', html)
    assert sorted(ids) == sorted(item.id for item in EVERY)
    names = {item.id: paper_index.name_of(item) for item in EVERY}
    assert names["S20-F2c"] == "Figure 2c"
    assert names["S20-T1"] == "Table 1"
    assert names["G20-E17"] == "Equation 17"
    # S20 numbers three equations; headings of this book's own are none of a paper's.
    assert names["S20-E4"] == "§3.1"
    assert names["S20-C4"] == "§3.5, §8"
    assert names["H17-N"] == "§4"
    assert "Conclusion" not in html
    assert ids.index("S20-E4") > ids.index("S20-App")
    with pytest.raises(KeyError):
        paper_index.name_of(Item("S20-Q1"))


def test_a_line_has_its_claims_with_words_and_figures() -> None:
    name = next(claim for claim in claims() if claim.startswith("S20-F1c"))
    judged = row(0, id=name, verdict="contradicted", scale="cpu", page="papermill_runs/cpu/x.html")
    html = paper_index.index([judged]).data
    line = html.split('<tr id="S20-F1c"')[1].split("</tr>")[0]
    assert "contradicted at cpu" in line
    assert f'href="scorecard.html#{name}.cpu"' in line
    assert 'href="../papermill_runs/cpu/x.html"' in line
    assert html.count("contradicted at cpu") == 1


def test_what_has_no_claim_says_why_and_leads_to_a_page_of_the_book() -> None:
    html = paper_index.index([]).data
    for item in EVERY:
        line = html.split(f'<tr id="{item.id}"')[1].split("</tr>")[0]
        said = [p for p in re.findall("<p>(.*?)</p>", line) if not p.startswith("Erratum ")]
        assert [p.startswith(escape(item.no_claim)) for p in said] == [True] * bool(item.no_claim)
    for page in re.findall(r'See <a href="([^"]+)"', html):
        assert (BOOK / f"{Path(page).stem}.ipynb").exists()


ERRATA_OF = {
    "S20-E2": ["S20-E2"],
    "S20-E3": ["S20-E3"],
    "S20-T1": ["S20-E3", "S20-T1"],
    "S20-E4": [],
    "H17-E6": ["H17-E6"],
    "H17-E7": ["H17-E7"],
    "H17-E8": ["H17-B"],
    "H17-N": ["H17-noise"],
    "H17-C2": [],
    "G20-E4": ["G20-E4", "G20-E4-limit"],
    "G20-E6": ["G20-E4"],
    "G20-E8": ["G20-E8"],
    "G20-E11": ["G20-E5"],
    "G20-E17": ["G20-E17"],
    "G20-E20": ["G20-E20"],
    "G20-E24": ["G20-E24"],
    "G20-E28": ["G20-E28"],
    "G20-F3": ["G20-2.1"],
    "G20-F4": [],
}


def test_each_line_links_the_errata_about_it() -> None:
    html = paper_index.index([]).data
    by_id = {item.id: item for item in EVERY}
    for name, errata in ERRATA_OF.items():
        assert [one.id for one in paper_index.errata_of(by_id[name])] == errata
        line = html.split(f'<tr id="{name}"')[1].split("</tr>")[0]
        assert re.findall(r'Erratum <a href="[^"]+">([^<]+)</a>', line) == errata
    for item in EVERY:  # what says that it is among the errata is
        assert paper_index.errata_of(item) or "errata" not in item.no_claim


def test_a_link_to_an_erratum_leads_to_its_section() -> None:
    html = paper_index.index([]).data
    notebook = json.loads((BOOK / "errata.ipynb").read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    anchors = {*re.findall(r'<a id="([^"]+)">', text)} | {
        re.sub(r"[^a-z0-9]+", "-", heading.lower()) for heading in headings
    }
    linked = {*re.findall(r'href="errata\.html#([^"]+)"', html)}
    assert len(linked) > 15
    assert linked <= anchors
    assert 'href="errata.html"' not in html
