"""The scorecard's figures: effects with their intervals, on made-up rows."""

from __future__ import annotations

import itertools
import json
import math
import re

import pytest
from book.test_scorecard import row
from book.test_text_stays_text import NASTY
from made_up import filled, noisy, record, two_regimes

from sgdnoise.book import scorecard_page
from sgdnoise.experiments import study_of
from sgdnoise.figures.forest import anchor, forest, forests, shows, units
from sgdnoise.figures.theme import PAPER, compact
from sgdnoise.records.store import Store


def test_a_forest_has_a_row_for_each_effect_of_its_unit_and_the_papers_diamonds():
    some = [
        row(0, printed=0.5, margin=0.3, band=[-0.3, 0.3]),
        row(1, "contradicted", effect=-1.0, interval=[-2.0, -0.5]),
        row(
            2,
            "undecided",
            unit="slope",
            effect=0.9,
            interval=[0.7, 1.1],
            printed=1.0,
            band=[0.8, 1.2],
        ),
        row(3, effect=None),
        row(4, interval=None),
        row(5, effect=math.nan),
        row(6, interval=[math.nan, 1.0]),
        row(7, interval=[0.0, math.inf]),
        row(8, unit="slope", interval=[0.2, 0.4], effect=0.3, band=[None, 0.1], printed=1.0),
    ]
    assert [shows(r) for r in some] == [True] * 3 + [False] * 5 + [True]
    assert units(some) == ["points", "slope"]
    points, slopes = forests(some)
    assert points.layout.title.text == (
        "2 effects in points of accuracy: 1 reproduced, 1 contradicted."
    )
    by = {trace.name: trace for trace in points.data}
    assert set(by) == {"reproduced", "contradicted", "the paper's number"}
    assert by["contradicted"].x == (-1.0,)
    assert by["contradicted"].error_x.array == (0.5,)
    assert by["contradicted"].error_x.arrayminus == (1.0,)
    assert by["contradicted"].customdata == ("S20-X1.some-claim.digits",)
    assert by["the paper's number"].x == (0.5,)
    assert by["the paper's number"].y == by["reproduced"].y
    assert "diamond" in by["the paper's number"].marker.symbol
    bands = [s for s in points.layout.shapes if s.type == "rect"]
    assert [(s.x0, s.x1) for s in bands] == [(-0.3, 0.3)]
    # About what the claim says, not about the paper's number; open ends reach the figure's.
    left = slopes.layout.xaxis.range[0]
    bands = [s for s in slopes.layout.shapes if s.type == "rect"]
    assert [(s.x0, s.x1) for s in bands] == [(0.8, 1.2), (left, 0.1)]
    low, high = points.layout.xaxis.range
    assert low < -2 < 2 < high
    json.dumps(compact(points), allow_nan=False)


def test_a_forests_rows_do_not_touch_and_each_label_leads_to_its_row():
    some = [row(k, statement="A statement of many words " * (1 + k % 3)) for k in range(6)]
    fig = forest(some, "points")
    labels = [a for a in fig.layout.annotations if a.name != "provenance"]
    assert [a.name for a in labels] == [anchor(r) for r in some]
    assert all(a.captureevents for a in labels)
    assert fig.layout.meta["anchors"]
    tops = [a.y for a in labels]
    marks = fig.data[0].y
    for top, mark, below in zip(tops, marks, [*tops[1:], math.inf], strict=True):
        assert top < mark < below
    gaps = [b - a for a, b in itertools.pairwise(tops)]
    assert min(gaps) >= 60
    assert fig.layout.height > tops[-1]
    assert all(len(line) < 60 for a in labels for line in re.sub("<.*?>", "\n", a.text).split("\n"))


def test_text_in_a_forest_is_text():
    nasty = NASTY[0]
    some = [row(statement=nasty, where=nasty, about="", unit=nasty, printed=1.0)]
    fig = forest(some, nasty)
    texts = [a.text for a in fig.layout.annotations]
    texts += [text for trace in fig.data for text in trace.hovertext]
    texts.append(fig.layout.title.text)
    assert not any("<img" in text for text in texts)


def test_units_that_nobody_named_stand_last_and_no_rows_make_no_figure():
    some = [row(0, unit=""), row(1, unit="nats"), row(2, unit="log2 ratio"), row(3)]
    assert units(some) == ["points", "log2 ratio", "nats", ""]
    assert len(forests(some)) == 4
    assert forests([]) == []
    assert forests([row(effect=None)]) == []
    with pytest.raises(ValueError, match="no row has an effect"):
        forest(some, "slope")
    fig = forest([row(effect=0.0, interval=[0.0, 0.0])], "points")
    low, high = fig.layout.xaxis.range
    assert low < 0 < high


def test_a_forest_names_the_runs_behind_it(tmp_path):
    store = Store(tmp_path)
    study = study_of("constant-epoch", "digits")
    records = filled(study, noisy(two_regimes))
    store.append(*study.place, records.values())
    said = scorecard_page.source(store, [row(), row(1, scale="cpu", effect=None)])
    assert said.startswith(f"Scale digits: {len(records):,} runs of the experiments ")


def test_a_forest_counts_a_run_of_two_experiments_once(tmp_path):
    store = Store(tmp_path)
    step, apart = (study_of(name, "cpu") for name in ("constant-step", "discriminating"))
    theirs = {config.id for config in apart.needed({})}
    shared = [config for config in step.needed({}) if config.id in theirs][:3]
    own = [config for config in step.needed({}) if config.id not in theirs][:2]
    ours = [record(c, lambda _: {"test_accuracy": 90.0}) for c in [*shared, *own]]
    store.append(*step.place, ours)
    store.append(*apart.place, ours[:3])
    some = [row(0, scale="cpu", experiment=study.experiment.name) for study in (step, apart)]
    assert scorecard_page.source(store, some).startswith("Scale cpu: 5 runs of the ")


def test_a_long_forest_has_its_axis_at_the_top_too_and_no_line_through_a_label():
    words = ("reproduced", "contradicted")
    few, many = (
        forest([row(k, words[k % 2]) for k in range(count)], "points") for count in (4, 40)
    )
    assert "xaxis2" not in few.layout.to_plotly_json()
    top, bottom = many.layout.xaxis2, many.layout.xaxis
    assert (top.side, top.matches, top.overlaying) == ("top", "x", "x")
    assert (top.range, top.title.text) == (bottom.range, bottom.title.text)
    assert [trace.xaxis for trace in many.data] == [None, "x2"]  # or plotly draws no second axis
    for fig in (few, many):
        labels = [a for a in fig.layout.annotations if a.name != "provenance"]
        assert {label.bgcolor for label in labels} == {PAPER}
