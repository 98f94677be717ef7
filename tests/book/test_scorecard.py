"""The scorecard: rows, counts, Holm's rule and the page's text, on made-up rows."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from book.test_text_stays_text import NASTY
from made_up import filled, noisy, two_regimes
from markdown_it import MarkdownIt

from sgdnoise import claims
from sgdnoise.book import scorecard_page
from sgdnoise.book.scorecard import (
    WORDS,
    _code,
    counts,
    counts_by,
    headline_counts,
    holm,
    scorecard,
)
from sgdnoise.book.scorecard_page import address, claims_list, counts_table
from sgdnoise.errors import InputError
from sgdnoise.experiments import findings, studies, study_of
from sgdnoise.figures.forest import MARKS, anchor
from sgdnoise.papers.numbers import items, own, waiting
from sgdnoise.records.store import Store

SCALES = ("digits", "cpu", "gpu", "paper")

GONE = {"page": None, "runs": None, "effect": None, "interval": None, "seeds": 0}


def row(number=0, word="reproduced", **changes):
    made = {
        "id": f"S20-X{number}.some-claim",
        "paper": "S20",
        "statement": f"Claim {number} holds",
        "about": "",
        "where": "S20 §3",
        "scale": "digits",
        "verdict": word,
        "effect": 1.5,
        "interval": [1.0, 2.0],
        "margin": None,
        "band": None,
        "unit": "points",
        "printed": None,
        "p": None,
        "seeds": 3,
        "why": "it does.",
        "elsewhere": False,
        "experiment": "constant-epoch",
        "page": "papermill_runs/digits/constant-epoch.html",
        "runs": "records/digits/constant-epoch.html",
        "code": "src/sgdnoise/experiments/constant_epoch/findings.py, f",
    }
    return made | changes


class Seen(HTMLParser):
    """Elements of a page with what they say of themselves, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page.data)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag, name):
        return [attrs[name] for found, attrs in self.tags if found == tag and name in attrs]


# --- Rows -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Of a store with figure 1 at scale digits and nothing else."""
    store = Store(tmp_path_factory.mktemp("results"))
    study = study_of("constant-epoch", "digits")
    store.append(*study.place, filled(study, noisy(two_regimes)).values())
    return scorecard(store)


def test_a_row_says_where_its_figures_runs_and_code_are(rows):
    first = rows[0]
    assert first["experiment"] == "constant-epoch"
    assert first["page"] == "papermill_runs/digits/constant-epoch.html"
    assert first["runs"] == "records/digits/constant-epoch.html"
    assert first["code"].startswith("src/sgdnoise/")
    waiting = [r for r in rows if r["verdict"] == "not measured"]
    assert waiting
    assert {(r["page"], r["runs"]) for r in waiting} == {(None, None)}


def predicate(reading):
    """A predicate of this module."""


def test_records_that_are_not_sound_are_named_and_so_is_their_store(tmp_path, monkeypatch):
    path = Store(tmp_path / "results").path("digits", "constant-epoch")
    path.parent.mkdir(parents=True)
    path.write_text("garbage\n")

    def judged(root):
        complaints = []
        (row,) = scorecard(
            Store(root), "digits", None, "S20-F1c.linear-scaling.sgd", complaints.append
        )
        assert [said.startswith(f"{path}:1 is cut short") for said in complaints] == [True]
        return row["why"]

    command = "`sgdnoise reproduce constant-epoch --scale digits"
    assert f"{command} --results {tmp_path}/results` sets them aside" in judged(path.parents[1])
    # The store that the command takes by itself needs no name.
    monkeypatch.chdir(tmp_path)
    assert f"{command}` sets them aside" in judged(path.parents[1])


def test_a_claim_that_does_not_stand_at_a_scale_is_told_where_it_does():
    with pytest.raises(InputError, match=r"at scale paper: it stands at cpu$"):
        scorecard(Store(Path("nowhere")), "paper", None, "G20-C1.vanishing-steps")


def test_code_is_the_predicates_file_and_a_factorys_claims_are_their_findings():
    module = findings("constant-epoch")
    here = module.__name__.replace(".", "/")
    name = predicate.__module__.replace(".", "/")
    assert _code(predicate, module) == f"src/{name}.py, predicate"
    assert _code(partial(partial(predicate, 1), 2), module) == f"src/{name}.py, predicate"
    assert _code(lambda reading: None, module) == f"src/{here}.py"


def test_a_scale_that_is_not_a_claims_own_is_elsewhere_though_nothing_is_recorded_there(rows):
    claims_of = {c.id: c for s in studies() for c in findings(s.experiment.name).CLAIMS}
    judged = [r for r in rows if r["scale"]]
    some = [r for r in judged if (s := claims_of[r["id"]].scales) and r["scale"] not in s]
    assert all(r["elsewhere"] for r in some)
    plain = [r for r in rows if r["id"].startswith("S20-F2") and r["id"].endswith(".norm")]
    assert {r["scale"] for r in plain if r["elsewhere"]} == {"digits"}


def test_a_verdict_names_its_unit_its_printed_number_and_its_p():
    bare = claims.Verdict("absent", "w")
    assert (bare.unit, bare.printed, bare.p) == ("", None, None)


def test_judging_all_claims_takes_seconds_and_loads_nothing_that_trains_or_draws():
    program = (
        "import contextlib, io, sys, time; from sgdnoise import cli; out = io.StringIO()\n"
        "with contextlib.redirect_stdout(out): code = cli.main(['claims', '--json'])\n"
        "heavy = {'torch', 'plotly', 'IPython', 'ipywidgets', 'papermill', 'nbformat'}\n"
        "print(time.process_time(), code, len(out.getvalue()) > 1000, *(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    seconds, *said = done.stdout.split()
    assert (done.returncode, said) == (0, ["0", "True"]), done.stderr
    assert float(seconds) < 10  # of one core, however busy the machine is


# --- Counts ---------------------------------------------------------------------------------------


def test_every_word_is_counted_and_what_is_elsewhere_is_not():
    some = [row(k, word) for k, word in enumerate(WORDS)]
    found = counts([*some, row(1, "undecided", scale="cpu"), row(99, elsewhere=True)])
    assert (found.claims, found.rows) == (7, 8)
    assert found.words == {word: 1 + (word == "undecided") for word in WORDS}
    assert found.judged == 6
    assert found.held == 2
    assert (found.tested, found.untested, found.corrected) == (0, 2, 0)


def test_holms_rule_by_hand():
    # 0.05/4, /3, /2, /1: the third fails, and what comes after it with it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([0.04]) == [True]
    assert holm([0.026, 0.026]) == [False, False]
    assert holm([0.025, 0.05]) == [True, True]
    assert holm([]) == []


def test_holms_rule_rejects_a_false_hypothesis_in_one_family_of_twenty():
    p = np.random.default_rng(0).uniform(size=(4000, 10))
    share = np.mean([any(holm(list(family))) for family in p])
    assert 0.04 < share < 0.06


def test_what_stays_reproduced_after_holm_counts_only_what_has_a_p():
    some = [
        row(0, p=0.001),
        row(1, "reproduced at another size", p=0.02),
        row(2, "contradicted", p=0.0001),
        row(3, p=None),
        row(4, "undecided", p=0.9),
        row(5, p=math.nan),
        row(6, "not tested here", p=0.5),
    ]
    found = counts(some)
    # 0.0001 ≤ 0.05/4, 0.001 ≤ 0.05/3, 0.02 ≤ 0.05/2, 0.9 > 0.05.
    assert (found.tested, found.untested, found.corrected) == (4, 2, 2)
    text = headline_counts(some)
    assert "over the 4 judgements that have a p-value, 2 of 4 stay reproduced." in text
    assert text.endswith(" 2 of the 4 have no p-value and cannot be counted as staying.")
    one = headline_counts(some[:-2])
    assert one.endswith(" 1 of the 3 has no p-value and cannot be counted as staying.")
    assert headline_counts(some[:3]).endswith(" 2 of 2 stay reproduced.")
    # A part is held to the whole: alone, 0.02 would pass as well among fewer; here among more.
    many = [*some, *(row(10 + k, "undecided", p=0.5) for k in range(5))]
    assert counts(some, many).corrected == 1
    assert counts(some).corrected == 2


def test_counts_by_paper_and_scale_add_up_in_the_books_order():
    places = [("G20", "cpu"), ("S20", "paper"), ("H17", "gpu"), ("S20", "digits")]
    some = [row(k, paper=p, scale=s, p=0.02) for k, (p, s) in enumerate(places)]
    by = counts_by([*some, row(9, paper="H17", elsewhere=True)])
    assert list(by) == [("S20", "digits"), ("S20", "paper"), ("H17", "gpu"), ("G20", "cpu")]
    assert sum(found.rows for found in by.values()) == counts(some).rows
    # 0.02 > 0.05/4: over the whole family nothing stays, though each alone would.
    assert {found.corrected for found in by.values()} == {0}


def test_the_headline_is_a_paragraph_of_markdown_with_every_word_that_came_out():
    some = [row(k, word) for k, word in enumerate(WORDS)]
    text = headline_counts(some)
    opening, inline, _ = MarkdownIt().parse(text)
    assert opening.type == "paragraph_open"
    assert text.startswith("**2 of 5 judgements find the claim reproduced.**")
    assert "2 reproduced (1 of them at another size), 1 absent" in text
    for word in WORDS[2:]:
        assert f"1 {word}" in inline.content
    assert "No verdict has a p-value" in text
    assert headline_counts([row(0, "not measured")]) == (
        "**None of 1 claims has been judged yet.**"
    )
    assert "None of 0" in headline_counts([])


def test_the_headlines_counts_add_up():
    some = [row(k, word, scale=s) for s in SCALES for k, word in enumerate(WORDS)]
    some += [row(20, "not measured", scale=""), row(21, elsewhere=True)]
    text = headline_counts(some)
    total = int(re.search(r"(\d+) in all", text)[1])
    halves = [
        (int(many), sum(int(n) for n in re.findall(r"(?:^|, )(\d+) [a-z]", listed)))
        for many, listed in re.findall(r"(\d+) are (?:judged|not): (.*?)\.", text)
    ]
    assert len(halves) == 2
    assert all(many == listed for many, listed in halves)
    assert sum(many for many, _ in halves) == total == len(some) - 1
    assert "are not:" not in headline_counts([row(0)])


def test_the_books_own_extensions_are_counted_apart_and_say_so():
    ids = own()
    assert len(ids) > 1
    some = [row(0), *(row(id=name, scale=s) for name in ids for s in SCALES[:2])]
    assert f" {len(ids)} of the claims are no paper's, but this book's own" in headline_counts(some)
    assert " 1 of the claims is no paper's, but" in headline_counts([row(0), row(id=ids[0])])
    assert "own" not in headline_counts([row(0)])
    mark = "This book's own extension: Claim 0 holds"
    for word in ("undecided", "not measured"):
        assert Seen(claims_list([row(0, word, id=ids[0]), row(1)])).text.count(mark) == 1
    assert mark not in Seen(claims_list([row(0)])).text


# --- The page's text ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", NASTY)
def test_text_stays_text(text):
    keys = ("statement", "about", "where", "why", "code", "unit")
    for key in keys:
        for word in ("undecided", "not measured"):
            page = Seen(claims_list([row(0, word, **{key: text})]))
            plain = Seen(claims_list([row(0, word, **{key: "plain"})]))
            strange = [tag for tag, _ in page.tags if tag not in ("code", "wbr")]
            assert strange == [tag for tag, _ in plain.tags if tag not in ("code", "wbr")]
            for attribute in ("onerror", "onclick"):
                assert all(attribute not in attrs for _, attrs in page.tags)
            if key != "unit" or word != "not measured":
                shown = text[:1].upper() + text[1:] if key == "why" else text
                marks = re.compile(r"[`*]")  # of Markdown in a reason
                assert marks.sub("", shown) in marks.sub("", page.text) or word == "not measured"


def test_a_reasons_markdown_is_strong_and_code_and_nothing_else():
    page = claims_list([row(why="**so <b>** it is: `a < b`.")]).data
    assert "<strong>so &lt;b&gt;</strong>" in page.replace("<p", "\n<p")
    assert "<code>a &lt; b</code>" in page


def test_every_row_is_there_with_its_address_and_what_the_filters_ask():
    some = [row(k, word, scale=s) for s in SCALES[:2] for k, word in enumerate(WORDS[:6])]
    page = Seen(claims_list([*some, row(50, elsewhere=True)]))
    assert page.all("tr", "id") == [anchor(r) for r in some]
    assert page.all("tr", "data-word") == [r["verdict"] for r in some]
    assert page.all("tr", "data-claims") == ["1"] * len(some)
    assert page.all("form", "hidden") == [None]
    links = page.all("a", "href")
    assert "../papermill_runs/digits/constant-epoch.html" in links
    assert "../records/digits/constant-epoch.html" in links
    assert [a for tag, a in page.tags if tag == "tr" and "hidden" in a] == []


def test_what_is_not_measured_is_one_row_an_experiment_with_its_command():
    some = [row(k, "not measured", scale="gpu", **GONE) for k in range(3)]
    some += [row(k, "not measured", scale="gpu", experiment="constant-step", **GONE) for k in (3,)]
    page = Seen(claims_list(some))
    assert page.all("tr", "data-claims") == ["3", "1"]
    assert "sgdnoise reproduce constant-epoch --scale gpu measures them" in page.text
    assert "sgdnoise reproduce constant-step --scale gpu measures it" in page.text
    assert page.all("li", "id") == [anchor(r) for r in some]
    assert page.text.count("It does.") == 2  # a reason is said once


def test_a_claim_without_an_experiment_is_one_row_without_links(rows):
    waits = {**GONE, "scale": "", "code": "", "why": "no experiment tests it yet."}
    some = [row(k, "not measured", experiment="other-architectures", **waits) for k in range(2)]
    some += [row(2, "not measured", experiment="constant-step", **waits)]
    page = Seen(claims_list([row(9), *some]))
    assert page.all("tr", "data-scale") == ["digits", "none yet", "none yet"]
    assert page.all("tr", "data-claims") == ["1", "2", "1"]
    assert page.all("li", "id") == [r["id"] for r in some]
    assert "S20 without an experiment yet" in page.text
    assert "2 claims for other-architectures to test" in page.text
    assert "1 claim for more sweeps of constant-step to test" in page.text
    assert "sgdnoise reproduce" not in page.text
    table = Seen(counts_table([row(9), *some]))
    assert "#show.paper-S20.scale-none-yet.word-not-measured" in table.all("a", "href")
    text = headline_counts([row(9), *some])
    assert "There are 4 claims" in text
    assert "3 of the claims are not tested by anything yet." in text
    # As the scorecard makes them.
    made = [r for r in rows if not r["scale"]]
    assert len(made) == len(waiting())
    assert {r["verdict"] for r in made} == {"not measured"}
    assert {(r["page"], r["runs"], r["code"]) for r in made} == {(None, None, "")}
    assert Seen(claims_list(made)).all("li", "id") == [r["id"] for r in by_experiment(made)]


def test_what_the_papers_number_and_do_not_claim_stands_there_with_its_reason():
    text = Seen(scorecard_page.no_claims_list()).text
    assert "G20-F6: It is a sketch." in text
    without = [item for of in items().values() for item in of if item.no_claim]
    assert text.startswith(f"{len(without)} numbered equations and figures without a claim")
    assert all(f"{item.id}: {item.no_claim}" in text for item in without)


def by_experiment(rows):
    """As the page has them: by paper, and there by experiment."""
    order = list(dict.fromkeys((r["paper"], r["experiment"]) for r in rows))
    return sorted(rows, key=lambda r: order.index((r["paper"], r["experiment"])))


def test_numbers_that_are_none_or_not_finite_are_left_out():
    nothing = {"effect": math.nan, "interval": None, "margin": math.nan, "printed": math.inf}
    text = Seen(claims_list([row(**nothing, p=math.nan), row(1, effect=None)])).text
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_counts_lead_to_their_claims_by_addresses_that_are_selectors(rows):
    page = Seen(counts_table(rows))
    assert "How often each word came out" in page.text
    found = counts(rows)
    assert address(paper="S20", word="not measured") == "#show.paper-S20.word-not-measured"
    links = page.all("a", "href")
    assert "#show.word-not-measured" in links
    for word, number in found.words.items():
        assert (f"{number} {word}" in page.text) == bool(number)
    # The theme gives every link's fragment to querySelector, and stops at one that is none.
    every = [*links, *(f"#{anchor(r)}" for r in rows)]
    assert all(re.fullmatch(r"#[A-Za-z][\w-]*(\.-?[A-Za-z_][\w-]*)*", link) for link in every)


def test_each_word_has_a_mark_of_its_own():
    assert tuple(MARKS) == WORDS
    for one in ("symbol", "glyph"):
        assert len({getattr(mark, one) for mark in MARKS.values()}) == len(WORDS)
    assert not any("diamond" in mark.symbol for mark in MARKS.values())
