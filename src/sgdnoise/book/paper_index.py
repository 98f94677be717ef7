"""Every numbered thing of the papers, and where in this book it is reproduced, judged or put right.

Nothing is typed: the papers' lists name the things, the scorecard's rows say what became of the
claims about each, and an erratum belongs to what its place names. What belongs to nothing is last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from IPython.display import HTML

from sgdnoise.book.scorecard import PAPERS, Row
from sgdnoise.book.scorecard_page import chip, claimed
from sgdnoise.chapters.errata import ERRATA, SLIPS
from sgdnoise.chapters.errata_findings import SLIPS_SECTION, form
from sgdnoise.chapters.errata_findings import anchor as erratum_anchor
from sgdnoise.chapters.erratum import Erratum, Slip
from sgdnoise.experiments import EXPERIMENTS
from sgdnoise.figures.forest import anchor
from sgdnoise.papers.numbers import Item, items, stated

KINDS = {"F": "Figure", "T": "Table", "E": "Equation", "Alg": "Algorithm", "App": "Appendix"}
"""What the letters in an id stand for, in the order of the page. What has no number comes last."""

_UP = "../"
"""From the page to the top of the built book."""


def name_of(item: Item) -> str:
    """What a paper calls one of its things: `S20-F2c` is "Figure 2c".

    What the paper gives no number is called by its sections.

    Raises:
        KeyError: for an id of no known kind.
    """
    kind, number = _parts(item)
    return f"{KINDS[kind]} {number}".strip() if item.numbered else item.sections


def _order(item: Item) -> tuple[int, list[int]]:
    if item.numbered:
        return [*KINDS].index(_parts(item)[0]), []
    return len(KINDS), [int(n) for n in re.findall(r"\d+", item.sections.partition(",")[0])]


def _parts(item: Item) -> tuple[str, str]:
    found = re.fullmatch(r"[A-Z0-9]+-([A-Z][a-z]*)(\d*[a-z]?)", item.id)
    if found is None:
        raise KeyError(item.id)
    return found[1], found[2]


def index(rows: Sequence[Row]) -> HTML:
    """A table for each paper: what it numbers, its claims with their words, and where they are."""
    parts = []
    for paper in PAPERS:
        lines = [_line(name, some, rows) for name, some in _named_alike(paper).items()]
        parts.append(
            f'<section id="{paper}"><h2>{paper}</h2><div class="rows"><table><thead><tr>'
            '<th scope="col">In the paper</th><th scope="col">In this book</th></tr></thead>'
            f"<tbody>{''.join(lines)}{_elsewhere(paper)}</tbody></table></div></section>"
        )
    return HTML(f'<div class="sgdnoise-rules sgdnoise-index">{"".join(parts)}</div>')


def _named_alike(paper: str) -> dict[str, list[Item]]:
    """A paper's things by name, in the order of the page: two of one section share a line."""
    lines: dict[str, list[Item]] = {}
    for item in sorted(items()[paper], key=_order):
        lines.setdefault(name_of(item), []).append(item)
    return lines


def _line(name: str, some: Sequence[Item], rows: Sequence[Row]) -> str:
    mine = [
        row for row in rows if not row["elsewhere"] and any(item.has(row["id"]) for item in some)
    ]
    claims = [_claim(claim, mine) for claim in dict.fromkeys(row["id"] for row in mine)]
    said = f"<ul>{''.join(claims)}</ul>" if claims else ""
    for item in some:
        if item.no_claim:
            said += f"<p>{escape(item.no_claim)}{_see(item.see)}</p>"
    errata = dict.fromkeys(one for item in some for one in errata_of(item))
    return _row([item.id for item in some], name, said + "".join(map(_erratum, errata)))


def _elsewhere(paper: str) -> str:
    """The last line: the errata about nothing that has a line."""
    reached = {one for item in items()[paper] for one in errata_of(item)}
    rest = [one for one in _errata(paper) if one not in reached]
    said = "".join(map(_erratum, rest))
    return _row([f"{paper}-elsewhere"], "elsewhere in the text", said) if rest else ""


def _row(ids: Sequence[str], name: str, said: str) -> str:
    """A line that each of some ids leads to."""
    first, *others = map(escape, ids)
    more = "".join(f'<span id="{other}"></span>' for other in others)
    return f'<tr id="{first}"><th scope="row">{more}{escape(name)}</th><td>{said}</td></tr>'


def _claim(name: str, rows: Sequence[Row]) -> str:
    """A claim with its word at each scale that has runs, each a link; where none has, why not.

    A word about less than the paper's statement says what it is about.
    """
    mine = [row for row in rows if row["id"] == name]
    judged = [row for row in mine if row["runs"]] or mine[:1]
    words = []
    for row in judged:
        at = f"{row['verdict']} at {row['scale']}" if row["scale"] else row["verdict"]
        word = f'<a href="scorecard.html#{escape(anchor(row))}">{chip(row["verdict"], at)}</a>'
        about = row["about"] if row["about"] != row["statement"] else ""
        here = f" (at this size: {escape(about)})" if about else ""
        page = f' <a href="{_UP}{escape(row["page"])}">its figure</a>' if row["page"] else ""
        words.append(word + here + page)
    return f"<li>{claimed(mine[0])}: {', '.join(words)}</li>"


def _errata(paper: str) -> list[Erratum | Slip]:
    every: list[Erratum | Slip] = [*ERRATA, *SLIPS]
    return [one for one in every if one.paper == paper]


def errata_of(item: Item) -> list[Erratum | Slip]:
    """The errata about one of a paper's things: those whose place names it.

    What has no number has those whose place names one of its sections. An appendix belongs to what
    claims cite it for.
    """
    paper = item.id.partition("-")[0]
    return [one for one in _errata(paper) if _is_about(one, item)]


def _is_about(one: Erratum | Slip, item: Item) -> bool:
    if not item.numbered:
        return bool(_found(_SECTION, one.place) & _found(_SECTION, item.sections))
    cited = " ".join(stated(claim).where for claim in item.claims)
    return item.id in _named(one) or bool(_found(_APPENDIX, one.place) & _found(_APPENDIX, cited))


def _found(pattern: re.Pattern[str], text: str) -> set[str]:
    return {*pattern.findall(text)}


_SECTION = re.compile(r"§\d+(?:\.\d+)*")
_APPENDIX = re.compile(r"appendix ([A-Z])\b")
_LISTS = re.compile(r"(eq|figure|table|algorithm)s?\.? ([\d, ]*\d)")


def _named(one: Erratum | Slip) -> set[str]:
    """The ids of all that an erratum's place names: "§2.1, eqs. 4, 6" names G20-E4 and G20-E6."""
    letters = {"eq": "E", "figure": "F", "table": "T", "algorithm": "Alg"}
    return {
        f"{one.paper}-{letters[kind]}{number}"
        for kind, numbers in _LISTS.findall(one.place)
        for number in numbers.split(", ")
    }


def _erratum(one: Erratum | Slip) -> str:
    section = erratum_anchor(one.id) if isinstance(one, Erratum) else SLIPS_SECTION
    link = f'<a href="errata.html#{section}">{escape(one.id)}</a>'
    return f"<p>Erratum {link} ({escape(one.place)}): {form(one.wrong)}</p>"


def _see(place: str) -> str:
    if not place:
        return ""
    if place.startswith("book/") and place.endswith(".ipynb"):
        page = place.removeprefix("book/").removesuffix(".ipynb")
        return f' See <a href="{_page(page)}">{escape(page.replace("-", " "))}</a>.'
    return f" See <code>{escape(place)}</code>."


def _page(name: str) -> str:
    """Where the built book has a notebook: an experiment's is rendered at its scales."""
    if name not in EXPERIMENTS:
        return f"{name}.html"
    return f"{_UP}papermill_runs/{next(iter(EXPERIMENTS[name].sweeps))}/{name}.html"
