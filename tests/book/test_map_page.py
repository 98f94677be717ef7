"""What the map draws from: cells, ridge and boundary are those of the records."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from made_up import filled, noisy, regimes, two_regimes

from sgdnoise.analysis import Interval, Reading
from sgdnoise.book import map_page
from sgdnoise.book.advice import RULES
from sgdnoise.book.scorecard import scorecard
from sgdnoise.experiments import study_of
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store

STUDY = study_of("constant-epoch", "digits")


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    return filled(STUDY, noisy(two_regimes))


@pytest.fixture(scope="module")
def store(records: dict[str, Record], tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("results"))
    made.append(*STUDY.place, records.values())
    return made


@pytest.fixture(scope="module")
def shown(store: Store) -> list[dict[str, Any]]:
    return map_page.layers(map_page.readings(store))


def test_a_layer_for_each_method_has_the_means_of_its_runs(
    shown: list[dict[str, Any]], records: dict[str, Record]
) -> None:
    assert [layer["id"] for layer in shown] == [
        "digits_constant-epoch_sgd",
        "digits_constant-epoch_momentum",
    ]
    # The fresh seeds belong to no cell.
    assert sum(len(cell["runs"]) for layer in shown for cell in layer["cells"]) < len(records)
    for layer in shown:
        for cell in layer["cells"][::7]:
            runs = [records[run] for run, _, _ in cell["runs"]]
            assert len(runs) == STUDY.seeds
            assert {run.config.batch_size for run in runs} == {2 ** cell["b"]}
            rates = {round(math.log2(run.config.effective_learning_rate), 6) for run in runs}
            assert rates == {cell["e"]}
            lived = [run for run in runs if run.status == "done"]
            assert cell["lost"] == len(runs) - len(lived)
            if lived:
                mean = np.mean([run.metrics["test_accuracy"] for run in lived])
                assert cell["accuracy"] == pytest.approx(mean, abs=0.006)


def test_ridge_and_boundary_are_those_of_the_reading(
    shown: list[dict[str, Any]], store: Store
) -> None:
    reading = Reading(STUDY, store.read(*STUDY.place))
    momentum = shown[1]
    fit = reading.regimes["momentum"]
    assert 2 ** momentum["boundary"]["value"] == pytest.approx(fit.boundary.value, rel=1e-3)
    assert f"{round(fit.boundary.value):,}" in momentum["finding"]
    assert str(fit.slope) in momentum["finding"]
    optima = reading.optima().query("method == 'momentum'").sort_values("batch_size")
    assert [p["b"] for p in momentum["ridge"]] == np.log2(optima.batch_size).tolist()
    for point, row in zip(momentum["ridge"], optima.itertuples(), strict=True):
        assert point["e"] == pytest.approx(row.peak, abs=1e-3)
        if "bound" not in point:
            assert point["low"] == pytest.approx(row.peak_low, abs=1e-3)
            assert point["high"] == pytest.approx(row.peak_high, abs=1e-3)
    slope = map_page.slopes(map_page.readings(store))
    assert [(s["slope"], s["low"], s["high"]) for s in slope] == [
        pytest.approx((fit.slope.value, fit.slope.low, fit.slope.high), abs=1e-3)
    ]


def test_an_optimum_on_the_edge_is_a_bound(tmp_path: Any) -> None:
    """Accuracy that rises with the rate has its best on the edge of every grid."""
    store = Store(tmp_path)
    rising = filled(STUDY, noisy(lambda config, rate: 80 + rate))
    store.append(*STUDY.place, rising.values())
    for layer in map_page.layers(map_page.readings(store)):
        assert all(point.get("bound") and "low" not in point for point in layer["ridge"])
        assert layer["boundary"] is None
        assert "moves with the batch" in layer["finding"]
    assert map_page.slopes(map_page.readings(store)) == []


def test_a_column_alone_is_no_map_and_only_columns_with_runs_are_counted(
    records: dict[str, Record], tmp_path: Any
) -> None:
    def layers_of(sizes: set[int]) -> list[dict[str, Any]]:
        store = Store(tmp_path / str(len(sizes)))
        some = [r for r in records.values() if r.config.batch_size in sizes]
        store.append(*STUDY.place, [r for r in some if r.config.momentum == 0])
        return map_page.layers(map_page.readings(store))

    assert layers_of({64}) == []
    (layer,) = layers_of({64, 128})
    assert layer["finding"].startswith("Test accuracy at 2 batch sizes:")


def test_a_slope_that_too_few_batch_sizes_carry_is_not_told(records: dict[str, Record]) -> None:
    reading = Reading(STUDY, records).part(lambda key: dict(key)["method"] == "sgd")
    assert "grows with a slope of" in map_page._finding(reading, "sgd")
    few = regimes(slope=Interval(0.645, math.nan, math.nan), carried=2)
    reading.__dict__["regimes"] = {"sgd": few}
    assert map_page._finding(reading, "sgd") == (
        "Test accuracy at 11 batch sizes: 2 batch sizes below the fitted bend, too few for a slope"
    )


def test_no_layer_has_a_dot_in_its_address() -> None:
    key = (("method", "momentum"), ("batch_size", 16), ("fraction", 0.5))
    assert map_page.layer_id("cpu", "constant-step", key) == "cpu_constant-step_momentum_0p5"
    assert map_page.address("a_b") == "#map.layer-a_b"


def test_an_empty_store_leaves_the_model(tmp_path: Any) -> None:
    found = map_page.payload(Store(tmp_path), [])
    assert found["layers"] == []
    assert found["first"] is None
    assert found["slopes"] == []
    assert len(found["model"]["curvature"]) == len(found["model"]["weight"])
    assert [rule["word"] for rule in found["rules"]] == ["not measured"] * 2


def test_advice_goes_by_the_words_of_the_scorecard(store: Store) -> None:
    rows = scorecard(store)
    rate, batch = map_page.rules(rows)
    assert rate["text"] == RULES[0].advice[rate["word"]]
    assert batch["text"] == RULES[2].advice[batch["word"]]
    assert rate["link"].startswith("book/scorecard.html#S20-F1c.linear-scaling")


def test_data_is_no_markup(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    monkeypatch.setattr(map_page, "rules", lambda rows: [{"text": hostile}])
    html = map_page.the_map(store, []).data
    assert "<img" not in html
    text = html.split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(text)["rules"] == [{"text": hostile}]
