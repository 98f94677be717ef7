"""The committed records say what they said before: every sentence of every page, word for word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sgdnoise.analysis import Reading
from sgdnoise.experiments import findings, studies, study_of
from sgdnoise.records.store import Store

SAID: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("golden.json").read_text(encoding="utf-8")
)
STORE = Store(Path(__file__).parents[2] / "results")
SENTENCES = {
    "constant-step": ("slope", "reach"),
    "unlimited-epochs": ("interpolation",),
    "initial-final-lr": ("bounds",),
    "generalization-gap": ("without_a_gap",),
}
"""What pages say beside claims."""


def plain(text: str) -> str:
    """A sentence as it reads: no list's mark, no bold, large letters as small ones."""
    return text.removeprefix("- ").replace("**", "").strip().casefold()


def read(key: str) -> Reading:
    name, scale = key.split("/")
    study = study_of(name, scale)
    return Reading(study, STORE.read(*study.place))


@pytest.fixture(scope="module", params=sorted(SAID))
def told(request):
    """The key, why each claim that is tested has its verdict, and what is said beside them."""
    reading = read(request.param)
    name = reading.study.experiment.name
    verdicts = [claim.judge(reading) for claim in findings(name).CLAIMS]
    whys = [verdict.why for verdict in verdicts if verdict.word != "not tested here"]
    beside = [getattr(findings(name), part)(reading) for part in SENTENCES.get(name, ())]
    return request.param, whys, [sentence for sentence in beside if sentence]


def test_a_page_says_what_it_said_and_no_more(told):
    key, whys, beside = told
    own = {
        sentence for sentence in SAID[key] for one in beside if plain(sentence).endswith(plain(one))
    }
    assert len(own) == len(beside)
    of_claims = [sentence for sentence in SAID[key] if sentence not in own]
    # In the claims' order, each at a line of its own, so that "yes." is the yes of its claim.
    assert len(of_claims) == len(whys)
    for sentence, why in zip(of_claims, whys, strict=True):
        assert why
        assert sentence.endswith(why)


def test_the_sentences_are_those_of_all_committed_records_that_are_judged():
    judged = {
        f"{study.experiment.name}/{study.scale}"
        for study in studies()
        if STORE.read(*study.place) and findings(study.experiment.name).CLAIMS
    }
    assert judged == set(SAID)
