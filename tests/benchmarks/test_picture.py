"""The README says of its picture what the records say, and no more than the verdicts do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import picture
from sgdnoise.claims import Claim


@pytest.fixture(scope="module")
def of():
    return picture.reading()


def test_the_readme_has_the_records_caption(of):
    # `python -m benchmarks.picture` draws both anew.
    assert picture.caption(of) in picture.README.read_text(encoding="utf-8")
    needed = of.study.needed(of.records)
    assert all(config.id in of.records for config in needed)
    assert f"from {len(needed):,} training runs" in picture.caption(of)


def test_the_caption_says_that_its_fits_are_exploratory(of):
    said = "Slopes and boundaries are exploratory: their estimator was chosen after runs had been"
    assert said in picture.caption(of)
    page = (picture.ROOT / "book" / "constant-epoch.ipynb").read_text(encoding="utf-8")
    assert "Slopes, boundaries and their intervals are therefore exploratory" in page


def test_the_caption_follows_the_verdicts(of, monkeypatch):
    real = Claim.judge

    def judged(claim, reading):
        verdict = real(claim, reading)
        turned = claim.id == "S20-F1c.momentum-scales-further"
        return replace(verdict, word="contradicted") if turned else verdict

    before = picture.caption(of)
    monkeypatch.setattr(Claim, "judge", judged)
    after = picture.caption(of)
    said = picture.SAID["S20-F1c.momentum-scales-further"]
    assert f"contradicted, that {said}" in after
    assert f"contradicted, that {said}" not in before


def test_the_picture_has_both_fits_and_no_words_of_its_own(of):
    fig = picture.drawn(of)
    assert fig.layout.title.text is None
    assert not fig.layout.annotations
    fits = [t.name for t in fig.data if t.mode == "lines"]
    assert fits == [
        f"slope {fit.slope.value:.2f}, boundary {fit.boundary.value:.0f}"
        for fit in of.regimes.values()
    ]
    assert [t.name for t in fig.data if not t.showlegend] == [
        "SGD, between the points",
        "SGD with momentum 0.9, between the points",
    ]
