"""Symbols and words: what the page explains is used, and the pages link to it where they begin."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
SYMBOLS = (ROOT / "book" / "symbols.md").read_text(encoding="utf-8")
PART_ONE, PART_TWO = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"][:2]
FOUNDATIONS = [Path(entry["file"]).stem for entry in PART_ONE["chapters"]]
EXPERIMENTS = [Path(entry["file"]).stem for entry in PART_TWO["chapters"]]

WORDS = re.findall(r"^### (.+)$", SYMBOLS, re.M)
NOT_LINKED = {"scale", "best of the seeds", "large and small batch", "verdict"}
"""Words that a page uses in another sense too, or writes in other words."""

# What is no prose, and what would be counted twice: "critical learning rate" holds another word.
SKIPPED = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|^#.*?$|<[^>]*>", re.M | re.S)
TARGET = re.compile(r"(?<=\]\()[^)]*")
LINK = re.compile(r"\[[^\]]*\]\([^)]*\)")
WIDER = {
    "learning rate": r"(?<!critical )(?<!effective )",
    "sharpness": r"(?<!batch )",
    "gradient descent": r"(?<!stochastic )",
    "temperature": r"(?<!equal )",
}


def slug(word: str) -> str:
    return word.lower().replace(" ", "-")


def pattern(word: str) -> re.Pattern[str]:
    """The word in a text: in the plural too, and at the beginning of a sentence."""
    plural = "" if word.isupper() or word.endswith(("s", "d")) else "s?"
    flags = re.NOFLAG if word[0].isupper() else re.IGNORECASE
    return re.compile(rf"\b{WIDER.get(word, '')}{re.escape(word)}{plural}\b", flags)


def cells(name: str) -> list[str]:
    """The texts of a notebook, in order."""
    page = nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4)
    return [cell.source for cell in page.cells if cell.cell_type == "markdown"]


def blanked(text: str) -> str:
    """A text with what is no prose in it as spaces, so that every place stays where it is."""
    for what in (SKIPPED, TARGET):
        text = what.sub(lambda found: " " * len(found[0]), text)
    return text


def unlinked(text: str) -> list[str]:
    """The words whose first use in a text is no link."""
    text = blanked(text)
    links = [found.span() for found in LINK.finditer(text)]
    return [
        word
        for word in WORDS
        if word not in NOT_LINKED
        and (first := pattern(word).search(text))
        and not any(start <= first.start() < end for start, end in links)
    ]


def test_a_first_use_without_a_link_is_seen() -> None:
    assert unlinked("# Temperature\n\nSGD has a `budget` and a temperature.") == [
        "SGD",
        "temperature",
    ]
    linked = "[SGD](x.md#sgd) has a [critical learning rate](momentum.md). SGD."
    assert unlinked(linked) == []
    assert unlinked(linked + " Momentum.") == ["momentum"]


@pytest.mark.parametrize("name", FOUNDATIONS)
def test_a_chapter_links_every_word_where_it_first_uses_it(name: str) -> None:
    assert unlinked("\n\n".join(cells(name))) == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiments_introduction_links_its_words(name: str) -> None:
    assert unlinked(cells(name)[0]) == []


def test_every_link_leads_to_a_word_that_is_explained() -> None:
    anchors = {slug(word) for word in WORDS}
    assert len(anchors) == len(WORDS)
    texts = {path.stem: "\n".join(cells(path.stem)) for path in (ROOT / "book").glob("*.ipynb")}
    linked = {
        (name, to) for name in texts for to in re.findall(r"symbols\.md#([\w-]+)", texts[name])
    }
    linked |= {("symbols", to) for to in re.findall(r"\]\(#([\w-]+)\)", SYMBOLS)}
    assert {name for name, _ in linked} >= {*FOUNDATIONS, "intro", "symbols"}
    assert [link for link in sorted(linked) if link[1] not in anchors] == []


def rows() -> list[list[str]]:
    """The cells of the table of symbols, a row a list."""
    table = [line for line in SYMBOLS.splitlines() if line.startswith("| $")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_symbol_is_used_where_the_table_says(row: list[str]) -> None:
    assert len(row) == 7
    assert all(row)
    pages = [Path(link).stem for link in re.findall(r"\]\(([^)#]+)\)", row[-1])]
    text = "\n".join(text for page in pages for text in cells(page))
    math = " ".join(re.findall(r"\$\$.*?\$\$|\$[^$]*\$", text, re.S))
    for symbol in re.findall(r"\$([^$]+)\$", row[0]):
        assert re.search(rf"(?<![A-Za-z\\]){re.escape(symbol)}(?![A-Za-z])", math), symbol


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_explained_in_a_sentence_and_used_in_the_book(word: str) -> None:
    entry = re.search(rf"^### {re.escape(word)}\n\n(.+?)(?=\n#|\Z)", SYMBOLS, re.M | re.S)
    assert entry
    assert "." in entry[1]
    sources = [*(ROOT / "book").glob("*.ipynb"), *(ROOT / "src" / "sgdnoise").rglob("*.py")]
    said = {"best of the seeds": "best 12", "large and small batch": "small batch"}.get(word, word)
    assert any(pattern(said).search(path.read_text(encoding="utf-8")) for path in sources)
