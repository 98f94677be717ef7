"""What has been run and what is missing, told from the records alone."""

from __future__ import annotations

import pytest
from made_up import fill, record

from sgdnoise.book import inventory
from sgdnoise.experiments import EXPERIMENTS, studies, study_of
from sgdnoise.records.store import Store
from sgdnoise.sweeps import cost

GAP = EXPERIMENTS["generalization-gap"]


def ending(config):
    return {"test_accuracy": 90.0 + config.seed}


def anchors():
    """The two runs of scale paper that come first."""
    return study_of("constant-epoch", "paper").needed({})[:2]


def test_the_inventory_counts_what_is_there(tmp_path):
    store = Store(tmp_path)
    assert "Nothing has been run" in inventory.summary(store)
    empty = inventory.table(store)
    assert list(zip(empty.scale, empty.experiment, strict=True)) == [s.place for s in studies()]
    assert all(runs.startswith("0 of ") for runs in empty.runs)
    assert inventory.environments(store).empty

    fill(tmp_path, GAP, "gpu", 2, ending)
    assert inventory.summary(store).startswith("**10 runs** are recorded that the grids ask for;")
    one = anchors()[0]
    stray = one.replace(epochs=201.0)
    made = [record(one, ending, 7200.0), record(stray, ending, 0)]
    store.append("paper", "constant-epoch", made)
    rows = inventory.table(store).set_index(["experiment", "scale"])
    gap = rows.loc["generalization-gap", "gpu"]
    assert (gap.runs, gap["complete seeds"]) == ("10 of 15", "2 of 3")
    assert gap["ran on"] == "CPU, bfloat16"
    assert (gap.diverged, gap.failed) == ("0", "0")
    assert rows.loc["layerwise-lr", "gpu"].diverged == ""
    anchor = rows.loc["constant-epoch", "paper"]
    assert (anchor.runs, anchor["complete seeds"]) == ("1 of 2,100", "0 of 15")
    assert anchor.time == "2.00 core-hours"
    said = inventory.summary(store)
    assert said.startswith("**11 runs** are recorded that the grids ask for, and 1 that no grid")
    assert f"2 of {len(studies())} pairs of experiment and scale" in said
    environments = inventory.environments(store)
    assert list(environments.runs) == ["12"]
    assert "cuda" not in environments


def test_a_run_that_two_experiments_have_is_counted_once(tmp_path):
    store = Store(tmp_path)
    one, other = (record(config, ending, 3600.0) for config in anchors())
    store.append("paper", "constant-epoch", [one, other])
    before = inventory.summary(store), list(inventory.environments(store).runs)
    store.append("paper", "constant-step", [one])
    assert list(inventory.environments(store).runs) == before[1] == ["2"]
    said = inventory.summary(store)
    assert said.startswith("**2 runs** are recorded that the grids ask for; 2.00 core-hours in all")
    said, _, shared = said.partition(" A run that several experiments share")
    assert said.replace("2 of ", "1 of ") == before[0]
    assert shared.endswith("these add up to 2 runs and 3.00 core-hours.")
    assert "share" not in before[0]
    # Of those that a grid asks for, it is one, whoever else has it.
    assert (
        inventory.table(store)
        .set_index(["experiment", "scale"])
        .runs["constant-epoch", "paper"]
        .startswith("2 of ")
    )


def test_the_rows_add_up_to_what_is_said_of_shared_runs(tmp_path):
    store = Store(tmp_path)
    study, other = (study_of(name, "cpu") for name in ("constant-step", "discriminating"))
    both = {c.id for c in study.needed({})} & {c.id for c in other.needed({})}
    made = [record(config, ending, 3600.0) for config in study.needed({}) if config.id in both]
    assert made
    for one in (study, other):
        store.append(*one.place, made)
    rows = inventory.table(store)
    total = sum(int(runs.split(" of ")[0].replace(",", "")) for runs in rows.runs)
    assert total == 2 * len(made)
    said = inventory.summary(store)
    assert said.startswith(f"**{len(made)} runs**")
    assert said.endswith(f"these add up to {total} runs and {total:.2f} core-hours.")


def test_hours_are_of_gpus_where_a_gpu_made_the_record():
    one, other = (
        record(config, ending, seconds)
        for config, seconds in zip(anchors(), (3600.0, 1800.0), strict=True)
    )
    other.provenance["device"] = "NVIDIA H200"
    assert inventory.hours([one, other]) == "1.00 core-hours, 0.50 GPU-hours"


UNITS = {"hours": 3600, "minutes": 60, "seconds": 1}


def told(estimate):
    """The seconds of an estimate, up to its rounding."""
    value, unit = estimate.split()
    return float(value.replace(",", "")) * UNITS[unit.partition("-")[2]]


def is_known(estimate, place):
    return bool(estimate) and place != ("paper", "generalization-gap")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (7200.0, "2.0 GPU-hours"),
        (3599.0, "60.0 GPU-minutes"),
        (48.3, "48.3 GPU-seconds"),
        (0.2, "0.2 GPU-seconds"),
    ],
)
def test_a_short_time_is_told_in_minutes_or_seconds(seconds, said):
    assert inventory._time(seconds, "cuda") == said


def test_a_sweep_that_began_on_a_gpu_needs_one_and_is_measured_there(tmp_path):
    study = study_of("generalization-gap", "cpu", 5)
    first = next(state for state in study.states({}))
    made = [record(config, ending, 60.0) for config in first.needed]
    made[0].provenance["device"] = "NVIDIA H200"
    store = Store(tmp_path)
    store.append(*study.place, made[:1])
    row = (
        inventory.to_run(store).set_index(["experiment", "scale"]).loc[study.experiment.name, "cpu"]
    )
    assert row["needs a GPU"] != "no"
    assert "records" in row.by


def test_what_is_missing_has_the_command_that_fills_it(tmp_path):
    store = Store(tmp_path)
    rows = inventory.to_run(store)
    places = list(zip(rows.scale, rows.experiment, strict=True))
    assert sorted(places) == sorted(study.place for study in studies())
    by_place = {study.place: study for study in studies()}
    assert list(rows.command) == [by_place[place].command for place in places]
    assert list(rows.seeds) == [str(by_place[place].seeds) for place in places]
    by = rows.set_index(["experiment", "scale"])
    assert by.loc["constant-epoch", "paper"].missing == "2,100 runs"
    assert by.loc["parts-checked", "cpu"].command == (
        "sgdnoise reproduce parts-checked --scale cpu"
    )
    # Without a record a GPU's time is assumed, a core's is not known.
    for scale, estimate in zip(rows.scale, rows.estimate, strict=True):
        assert ("GPU-" in estimate) == (scale in ("gpu", "paper"))
        assert "core-" not in estimate
    assert set(rows[rows.estimate != ""].by) == {"bound"}
    assert set(rows[rows.estimate == ""].by) == {""}
    assert set(rows[rows["needs a GPU"] == "no"].scale) == {"digits", "cpu"}
    assert by.loc["constant-epoch", "gpu"]["needs a GPU"] == "yes"
    assert by.loc["generalization-gap", "paper"]["needs a GPU"] == "in part"
    # The shortest first; what nothing tells the time of is last, as the part on a core.
    known = [told(e) for e, place in zip(rows.estimate, places, strict=True) if is_known(e, place)]
    assert known == sorted(known)
    assert is_known(rows.estimate[0], places[0])
    assert not is_known(rows.estimate[len(known)], places[len(known)])

    # Of a scale that trains on both, the part on a GPU is what can be told, and no more.
    ladder = study_of("generalization-gap", "paper").missing({})
    seconds = [cost.assumed_seconds(config) for config in ladder if config.model != "f1"]
    assert 0 < len(seconds) < len(ladder)
    assert by.loc["generalization-gap", "paper"].estimate == f"{sum(seconds) / 3600:,.1f} GPU-hours"

    fill(tmp_path, GAP, "gpu", 3, ending)
    after = inventory.to_run(store)
    assert len(after) == len(rows) - 1
    assert ("generalization-gap", "gpu") not in set(zip(after.experiment, after.scale, strict=True))


@pytest.mark.parametrize("seconds", [3600.0, 7200.0])
def test_what_is_missing_is_estimated_by_the_records_of_the_same_net(tmp_path, seconds):
    study = study_of("generalization-gap", "cpu", 5)
    todo = study.needed({})
    # Of the first SB, which took the most updates beside the main ladder's.
    runs = [config for config in todo if config.batch_size == 32]
    store = Store(tmp_path)
    other = next(config for config in todo if config.model == "c1")
    made = [record(config, ending, seconds) for config in runs[:4]]
    store.append(*study.place, [*made, record(other, ending, 0.0)])
    rows = inventory.to_run(store).set_index(["experiment", "scale"])
    row = rows.loc["generalization-gap", "cpu"]
    assert row.missing == f"{len(todo) - 5} runs"
    assert row.estimate.endswith(" core-hours")
    hours = float(row.estimate.split()[0].replace(",", ""))
    # An image costs at most what it does at SB, and one of C1 takes no time here.
    images = {config.id: config.batches(config.train_size or 60_000).examples for config in todo}
    same = [config for config in todo if config.model == runs[0].model]
    left = sum(images[config.id] for config in same) - 4 * images[runs[0].id]
    assert seconds / 3600 <= hours + 0.05
    assert hours <= left / images[runs[0].id] * seconds / 3600 + 0.05
