"""Operating curves: no word is given away, each can be had, and the recorded coverage is shown."""

from __future__ import annotations

import numpy as np
import pytest

from sgdnoise.book import judging
from sgdnoise.errors import InputError

SIGNS = [kind for kind in judging.KINDS if "sign" in kind]
ALIKE = [kind for kind in judging.KINDS if "alike" in kind]


def rates(kind, effect, seeds, experiments=400):
    rng = np.random.default_rng([seeds, round(10 * effect + 50)])
    return judging.word_rates(kind, effect, seeds, experiments, rng)


@pytest.mark.parametrize("seeds", [3, 5, 15])
@pytest.mark.parametrize("kind", SIGNS)
def test_of_no_effect_hardly_any_sign_is_reproduced(kind, seeds):
    found = rates(kind, 0.0, seeds)
    assert found.get("reproduced", 0.0) <= 0.05
    assert found.get("contradicted", 0.0) <= 0.05


@pytest.mark.parametrize("seeds", [3, 5, 15])
@pytest.mark.parametrize("kind", ALIKE)
def test_at_the_margin_hardly_anything_is_called_alike(kind, seeds):
    found = rates(kind, judging.MARGIN, seeds)
    assert found.get("reproduced", 0.0) <= 0.05
    assert found.get("contradicted", 0.0) <= 0.05


def test_seeds_turn_undecided_into_the_true_word():
    for kind, effect, word in (
        ("a sign", 2.0, "reproduced"),
        ("a sign", -2.0, "contradicted"),
        ("a sign", 0.0, "absent"),
        ("alike", 0.0, "reproduced"),
        ("alike", 2.0, "contradicted"),
        (SIGNS[1], 2.0, "reproduced"),
        (ALIKE[1], 2.0, "contradicted"),
    ):
        few, many = (rates(kind, effect, seeds, 150).get(word, 0.0) for seeds in (3, 25))
        assert many > 0.7
        assert many > few


def test_the_curves_are_drawn_of_the_rates():
    fig = judging.operating_curves("a sign", 15, experiments=20)
    names = {trace.name for trace in fig.data}
    assert {"reproduced", "contradicted", "undecided"} <= names
    total = np.sum([trace.y for trace in fig.data], axis=0)
    assert total == pytest.approx(100)
    assert fig == judging.operating_curves("a sign", 15, experiments=20)


def test_the_table_has_what_was_recorded():
    table = judging.coverage_table()
    assert len(table) == len(set(zip(table["interval of"], table.seeds, strict=True)))
    assert set(table.seeds) == {3, 5, 7, 15}
    one = judging.coverage()[0]
    row = table[(table["interval of"] == one.quantity) & (table.seeds == one.seeds)].iloc[0]
    assert row["no cliff"] == f"{100 * one.share:.0f}"
    assert "hold the truth" in judging.coverage_sentence()


def test_without_a_record_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "RECORD", tmp_path / "coverage.json")
    judging.coverage.cache_clear()
    with pytest.raises(InputError, match="make coverage"):
        judging.coverage()
    judging.coverage.cache_clear()
