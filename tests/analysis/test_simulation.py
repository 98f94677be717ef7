"""The recorded coverage is what the code gives, and what the intervals promise."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.coverage import experiments, line
from sgdnoise.analysis.simulation import CLIFFS, QUANTITIES, SEEDS, cell
from sgdnoise.book.judging import RECORD

LINES = json.loads(RECORD.read_text(encoding="utf-8"))
NOW = [one for one in LINES if not one["quantity"].endswith("before")]


@pytest.mark.parametrize(
    ("quantity", "cliff", "seeds"),
    [("tuned rate", 0.2, 3), ("difference of accuracies", math.inf, 5)],
)
def test_a_cell_made_again_is_the_recorded_one(quantity, cliff, seeds):
    again = [line(one) for one in cell(quantity, cliff, seeds, experiments(quantity))]
    for one in again:
        assert one in LINES, "the statistics changed: make coverage writes the record anew"


def test_every_quantity_has_all_its_cells():
    cells = {(one["quantity"], one["cliff"] or math.inf, one["seeds"]) for one in NOW}
    names = {one["quantity"] for one in NOW}
    assert len(names) == len(QUANTITIES) + 1  # the two regimes are a slope and a boundary
    assert cells == {(name, cliff, seeds) for name in names for cliff in CLIFFS for seeds in SEEDS}


def test_intervals_hold_the_truth_as_often_as_they_say():
    for one in NOW:
        error = math.sqrt(0.95 * 0.05 / one["experiments"])
        least = 0.92 - 2 * error
        assert one["share"] >= least, one
    mean = sum(one["share"] for one in NOW) / len(NOW)
    assert 0.94 <= mean <= 0.98


def test_what_stood_before_did_not():
    before = [one for one in LINES if one["quantity"].endswith("before") and one["cliff"] == 0.2]
    assert len(before) == len(SEEDS)
    assert max(one["share"] for one in before) < 0.3
