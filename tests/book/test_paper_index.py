"""The index names everything that the papers number, once, and leads to pages that there are."""

from __future__ import annotations

import re
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
        assert bool(item.no_claim) == ("<p>" in line)
    for page in re.findall(r'See <a href="([^"]+)"', html):
        assert (BOOK / f"{Path(page).stem}.ipynb").exists()
