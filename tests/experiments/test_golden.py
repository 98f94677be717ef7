"""The committed records say what they said before: every verdict, word for word.

A change of wording, of statistics or of records changes golden.json, and is to be looked at there.
Write it anew with

    SGDNOISE_GOLDEN=write python -m pytest tests/experiments/test_golden.py
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sgdnoise.analysis import Reading
from sgdnoise.experiments import findings, studies
from sgdnoise.records.store import Store

FILE = Path(__file__).with_name("golden.json")
STORE = Store(Path(__file__).parents[2] / "results")
SENTENCES = {
    "unlimited-epochs": ("how_well_fitted", "why_not"),
    "initial-final-lr": ("bounds", "rising"),
    "generalization-gap": ("without_a_gap",),
    "training-set-size": ("boundary_growth",),
    "sharpness": ("limits", "where_it_helps"),
    "layerwise-lr": ("falls_from", "against_nesterov", "survives"),
    "larger-gradients": ("survives",),
}
"""What pages say beside claims, as functions of the findings."""

Said = dict[str, dict[str, list[str]]]
"""By scale and claim: its word, reasons and margin. Sentences beside claims have no word."""


def function(name: str, part: str) -> Callable[[Reading], str]:
    """A sentence of an experiment, from its findings or the sentences that stand by themselves."""
    if not hasattr(findings(name), part):
        room = f"sgdnoise.experiments.{name.replace('-', '_')}.sentences"
        return getattr(importlib.import_module(room), part)
    return getattr(findings(name), part)


def said() -> Said:
    """What all committed records say now, of the claims that their scale is about."""
    now: Said = {}
    for study in studies():
        records = STORE.read(*study.place)
        if not records:
            continue
        name, reading = study.experiment.name, Reading(study, records)
        at = now.setdefault(study.scale, {})
        for claim in findings(name).CLAIMS:
            verdict = claim.judge(reading)
            if not verdict.elsewhere:
                margin = "" if verdict.margin is None else f"{verdict.margin:g} {verdict.unit}"
                at[claim.id] = [verdict.word, verdict.why, margin]
        page = reading
        for narrow in ("shown", "settled"):
            page = getattr(findings(name), narrow, lambda whole: whole)(page)
        for part in SENTENCES.get(name, ()):
            at[f"{name}, {part}"] = ["", function(name, part)(page), ""]
    return now


@pytest.fixture(scope="module")
def now() -> Said:
    found = said()
    if os.environ.get("SGDNOISE_GOLDEN") == "write":
        text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
        FILE.write_text(text + "\n", encoding="utf-8")
    return found


def test_the_committed_records_say_what_they_said(now):
    before: Said = json.loads(FILE.read_text(encoding="utf-8"))
    assert now.keys() == before.keys()
    for scale, claims in now.items():
        assert claims == before[scale]


def test_no_sentence_has_a_number_that_is_none(now):
    for claims in now.values():
        for _, why, _ in claims.values():
            words = why.replace("[", " ").replace("]", " ").replace(",", " ").split()
            assert not {"nan", "+nan", "inf", "-inf", "+inf"} & set(words)
