"""The box asks about what was measured, and stays away where nothing was."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from made_up import filled, noisy, two_regimes

from sgdnoise.analysis import Reading
from sgdnoise.book import guess
from sgdnoise.experiments import study_of

EPOCH, STEP = study_of("constant-epoch", "digits"), study_of("constant-step", "digits")


def content(box: Any) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json">(.+?)</script>', box.data)
    return dict(json.loads(text))


@pytest.mark.parametrize("method", ["sgd", "momentum"])
def test_rates_are_the_tuned_ones(method: str) -> None:
    reading = Reading(EPOCH, filled(EPOCH, noisy(two_regimes)))
    found = content(guess.rates(reading, method))
    rows = reading.optima().query("method == @method").sort_values("batch_size")
    assert found["x"] == rows.batch_size.tolist()
    np.testing.assert_allclose(found["y"], rows.peak, atol=1e-3)
    assert found["low"] <= min(found["y"]) - 1
    assert found["high"] >= max(found["y"]) + 1
    assert len(found["labels"]) == found["high"] - found["low"] + 1
    assert found["labels"][-found["low"]] == "2⁰"


def test_accuracies_are_those_of_fresh_seeds() -> None:
    reading = Reading(STEP, filled(STEP, noisy(two_regimes)))
    found = content(guess.accuracies(reading))
    rows = reading.optima().sort_values("batch_size")
    np.testing.assert_allclose(found["y"], rows.test_accuracy_fresh, atol=1e-3)
    assert found["low"] < min(found["y"])
    assert max(found["y"]) < found["high"] <= 100
    assert found["labels"][0] == f"{found['low']} %"


def test_where_nothing_is_complete_there_is_no_box() -> None:
    whole = filled(EPOCH, noisy(two_regimes))
    half = dict(list(whole.items())[::2])
    for records in ({}, half):
        assert guess.rates(Reading(EPOCH, records)).data == ""
    assert guess.accuracies(Reading(STEP, {})).data == ""
