"""The papers' lists: every item has a claim or a reason, every claim a predicate or waits."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from sgdnoise.experiments import EXPERIMENTS, findings
from sgdnoise.papers.numbers import Item, claims, items, own, printed, stated

ROOT = Path(__file__).parents[2]

ITEMS = [item for of in items().values() for item in of]

TO_COME = {
    "random-walk",
    "gradient-statistics",
    "larger-gradients",
    "discriminating",
    "other-architectures",
}
"""Experiments that are planned."""

JUDGED = Counter(claim.id for name in EXPERIMENTS for claim in findings(name).CLAIMS)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_each_item_has_a_claim_or_a_reason_why_not(item):
    about = [claim for claim in claims() if item.has(claim)]
    if item.no_claim:
        assert not about, f"{item.id} has claims, and a reason to have none"
        assert item.no_claim.endswith(".")
        assert not item.see or ROOT.joinpath(item.see).is_file()
    else:
        assert about, f"{item.id} has no claim in numbers.json, and no reason in ids.json"
        assert not item.see


def test_what_is_not_numbered_has_sections_and_no_equation_beyond_the_last_counts():
    others = {item.id: item.sections for item in ITEMS if not item.numbered}
    assert others["S20-E4"] == "§3.1"
    assert others["S20-C4"] == "§3.5, §8"
    assert all(others.values())
    assert {name.rstrip("0123456789") for name in others} == {
        *("S20-E", "S20-C", "H17-N", "H17-C", "G20-C")
    }
    assert not Item("S20-E1").sections


def test_layerwise_rules_at_large_batches_are_an_extension_of_s20_and_say_so():
    for rule in ("LARS", "PercentDelta", "MCLR"):
        (claim,) = [c for c in claims() if stated(c).statement.startswith(f"{rule} helps at ")]
        assert claim.startswith("S20-C3.")
        assert stated(claim).where.startswith("this book's own extension of S20 §3.3")


def test_the_items_are_all_that_the_papers_number():
    ids = {paper: [item.id.partition("-")[2] for item in of] for paper, of in items().items()}
    assert list(ids) == ["S20", "H17", "G20"]
    for paper, of in items().items():
        assert all(item.id.startswith(f"{paper}-") for item in of)
        assert len(set(ids[paper])) == len(of)
    panels = {"S20": {1: "abc", 2: "abcd", 3: "abcd"}, "H17": {2: "ab"}}
    for paper, equations, figures, others in (
        ("S20", 4, 3, ["T1", "C1", "C2", "C3", "C4", "App"]),
        ("H17", 8, 7, ["N", "Alg1", "T1", "T2", "C1", "C2", "C3", "C4"]),
        ("G20", 28, 16, ["C1"]),
    ):
        want = [f"E{k}" for k in range(1, equations + 1)] + others
        for k in range(1, figures + 1):
            want += [f"F{k}{panel}" for panel in panels.get(paper, {}).get(k, [""])]
        assert sorted(ids[paper]) == sorted(want)


@pytest.mark.parametrize("claim", claims())
def test_each_claim_is_judged_by_one_predicate_or_waits(claim):
    said = stated(claim)
    assert JUDGED[claim] == (0 if said.waits_for else 1)
    if said.waits_for:
        assert said.waits_for in TO_COME | EXPERIMENTS.keys()
    assert said.own == said.where.startswith("this book's own ")
    assert said.own or any(item.has(claim) for item in ITEMS), "the paper numbers no such thing"


def test_the_books_own_extensions_are_marked():
    rules = [f"S20-C3.{rule}-helps-large-only" for rule in ("lars", "percent-delta", "mclr")]
    tuned = [f"H17-E7.root-scaling-tuned.equal-{what}" for what in ("epochs", "updates")]
    kinds = ("rate-for-test", "rate-for-loss", "test-falls-less", "loss-falls")
    undecayed = [f"S20-F2.{kind}.no-decay" for kind in (*kinds, "accuracy-saturates")]
    assert own() == (*undecayed, "S20-F2.weight-decay", *rules, *tuned)


def test_after_how_many_epochs_accuracy_falls_or_saturates_is_printed():
    falls, saturates = (
        printed(f"S20-F2.{name}") for name in ("falls-after.no-norm", "saturates-after.norm")
    )
    assert (falls.value, falls.unit) == (400, "epochs")
    assert (saturates.value, saturates.unit) == (800, "epochs")
    assert all("figure 2a" in one.where for one in (falls, saturates))


def test_statements_say_what_their_predicates_test():
    assert stated("S20-F2.accuracy-saturates.no-norm").statement.startswith(
        "The test accuracy does not rise with the last doubling"
    )
    assert stated("G20-F10.not-beyond").statement.endswith("changes the accuracy little")


def test_predicates_judge_claims_of_the_list():
    assert JUDGED.keys() <= set(claims())


@pytest.mark.parametrize("claim", claims())
def test_an_id_can_stand_in_an_address_and_a_statement_alone(claim):
    # The theme takes every link's fragment for a selector.
    assert re.fullmatch(r"(S20|H17|G20)-[A-Z]\w*(\.[a-z][a-z0-9-]*){1,2}", claim)
    said = stated(claim)
    assert said.statement
    assert not said.statement.endswith(".")
    assert said.where.startswith((claim[:3], "this book's own "))


def test_there_are_claims_enough_and_none_twice():
    assert len(claims()) >= 90
    assert len({stated(claim).statement for claim in claims()}) == len(claims())


def test_a_claim_of_a_figure_is_about_the_panels_that_it_names():
    assert Item("S20-F2c").has("S20-F2.rate-for-test.norm")
    assert not Item("S20-F2d").has("S20-F2.rate-for-test.norm")
    assert not Item("S20-F2").has("S20-F1a.methods-agree-below")
    assert not Item("S20-F1b").has("S20-F1a.methods-agree-below")
    # S20's panel c is of the test set, its panel d of the training loss.
    assert Item("S20-F3c").has("S20-F3.final-falls")
    assert not Item("S20-F3d").has("S20-F3.final-falls")
    for panel in "cd":
        assert Item(f"S20-F3{panel}").has("S20-F3.starts-hotter")
        assert Item(f"S20-F3{panel}").has("S20-F3.ends-colder")


def test_no_number_is_there_twice():
    def unique(pairs):
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    for name in ("numbers", "ids"):
        text = (ROOT / f"src/sgdnoise/papers/{name}.json").read_text(encoding="utf-8")
        json.loads(text, object_pairs_hook=unique)
