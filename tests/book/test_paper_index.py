"""The index names everything that the papers number, once, and leads to pages that there are."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path

import pytest
from book.test_scorecard import row

from sgdnoise.book import paper_index
from sgdnoise.chapters.errata import ERRATA, SLIPS
from sgdnoise.papers.numbers import Item, claims, items

BOOK = Path(__file__).parents[2] / "book"
EVERY = [item for some in items().values() for item in some]


def lines_of(html: str) -> list[str]:
    return re.findall(r"<tr id=.*?</tr>", html)


def line_of(html: str, name: str) -> str:
    (line,) = (line for line in lines_of(html) if f' id="{name}"' in line)
    return line


def errata_in(html: str) -> list[str]:
    return re.findall(r'Erratum <a href="[^"]+">([^<]+)</a>', html)


def papers_of(html: str) -> dict[str, str]:
    return dict(re.findall(r'<section id="([^"]+)">(.*?)</section>', html))


def test_every_item_is_named_once_and_as_its_paper_does() -> None:
    html = paper_index.index([]).data
    ids = [i for line in lines_of(html) for i in re.findall(r' id="([^"]+)"', line)]
    ids = [i for i in ids if not i.endswith("-elsewhere")]
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


def test_two_things_of_one_name_share_a_line_with_the_claims_of_both() -> None:
    names = ("H17-N.noise-replaces-rate", "H17-C2.mean-step-negligible")
    html = paper_index.index([row(0, id=name, statement=name) for name in names]).data
    for part in papers_of(html).values():
        heads = re.findall(r'<th scope="row">(?:<span[^>]*></span>)*([^<]+)</th>', part)
        assert len(set(heads)) == len(heads) > 15
    assert line_of(html, "H17-N") == line_of(html, "H17-C2")
    assert all(f"<li>{name}: " in line_of(html, "H17-N") for name in names)


def test_a_line_has_its_claims_with_words_and_figures() -> None:
    name = next(claim for claim in claims() if claim.startswith("S20-F1c"))
    judged = row(0, id=name, verdict="contradicted", scale="cpu", page="papermill_runs/cpu/x.html")
    html = paper_index.index([judged]).data
    line = line_of(html, "S20-F1c")
    assert "contradicted at cpu" in line
    assert "at this size" not in line
    assert f'href="scorecard.html#{name}.cpu"' in line
    assert 'href="../papermill_runs/cpu/x.html"' in line
    assert html.count("contradicted at cpu") == 1


def test_a_word_about_less_than_the_statement_says_what_it_is_about() -> None:
    name = "G20-F16.mclr-as-good-as-lars"
    said = {"statement": "MCLR is as good at G20's size", "about": "MCLR is as good at B < 32"}
    mine = [row(0, id=name, **said), row(0, id=name, scale="gpu", **said | {"about": ""})]
    line = line_of(paper_index.index(mine).data, "G20-F16")
    here, _, elsewhere = line.partition("reproduced at gpu")
    assert "(at this size: MCLR is as good at B &lt; 32)" in here.partition("at digits")[2]
    assert elsewhere
    assert "at this size" not in elsewhere
    same = row(0, id=name, about=said["statement"], statement=said["statement"])
    assert "at this size" not in paper_index.index([same]).data


def test_what_this_book_adds_to_a_paper_is_not_said_to_be_the_papers() -> None:
    mine = [row(0, id="S20-C3.lars-helps-large-only"), row(1, id="S20-C3.warm-up-larger-rates.sgd")]
    html = paper_index.index(mine).data
    assert html.count("This book's own extension: ") == 1


def test_what_has_no_claim_says_why_and_leads_to_a_page_of_the_book() -> None:
    html = paper_index.index([]).data
    for item in EVERY:
        line = line_of(html, item.id)
        said = [p for p in re.findall("<p>(.*?)</p>", line) if not p.startswith("Erratum ")]
        assert [p.startswith(escape(item.no_claim)) for p in said] == [True] * bool(item.no_claim)
    for page in re.findall(r'See <a href="([^"]+)"', html):
        assert (BOOK / f"{Path(page).stem}.ipynb").exists()


ERRATA_OF = {
    "S20-E2": ["S20-E2"],
    "S20-E3": ["S20-E3"],
    "S20-T1": ["S20-E3", "S20-T1"],
    "S20-E4": ["S20-momentum", "S20-3.1"],
    "S20-C1": ["S20-T1"],
    "S20-F3c": [],
    "H17-E6": ["H17-E6", "H17-A1", "H17-A2", "H17-A3", "H17-A4"],
    "H17-E7": ["H17-E7"],
    "H17-E8": ["H17-B", "H17-B2"],
    "H17-F4": ["H17-B", "H17-B2"],
    "H17-F5": [],
    "H17-T1": ["H17-6"],
    "H17-N": ["H17-noise", "H17-4"],
    "H17-C2": ["H17-noise", "H17-4"],
    "H17-C3": [],
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
        assert errata_in(line_of(html, name)) == errata
    for item in EVERY:  # what says that it is among the errata is
        assert paper_index.errata_of(item) or "errata" not in item.no_claim


def test_every_erratum_is_linked_from_its_paper_and_what_reaches_no_line_from_the_last() -> None:
    for paper, part in papers_of(paper_index.index([]).data).items():
        mine = {one.id for one in (*ERRATA, *SLIPS) if one.paper == paper}
        assert {*errata_in(part)} == mine
        *lines, last = lines_of(part)
        above = {name for line in lines for name in errata_in(line)}
        if above == mine:
            assert "elsewhere" not in part
        else:
            assert "elsewhere in the text" in last
            assert {*errata_in(last)} == mine - above


def test_an_erratum_says_where_it_is() -> None:
    html = paper_index.index([]).data
    assert "G20-3.2</a> (§3.2): The first epoch" in line_of(html, "G20-elsewhere")


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
