"""A run of two experiments stands once in the store, and is read with both."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
from records.test_store import COMMITTED, config, record

from sgdnoise.provenance import code_digest
from sgdnoise.records.lines import lines_of
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store

MINE, THEIRS = ("digits", "mine"), ("digits", "theirs")


@pytest.fixture
def store(tmp_path):
    """Seeds 0 to 2 stand with theirs, of which mine shares 1 and 2; 3 is its own."""
    made = Store(tmp_path)
    made.append(*THEIRS, [record(0), record(1), record(2)])
    made.append(*MINE, [record(3)])
    assert made.share_missing(*MINE, "theirs", [config(1).id, config(2).id]) == 2
    return made


def names(store) -> Path:
    return store.path(*MINE).with_suffix(".shared")


def seeds(store, place=MINE):
    return sorted(one.config.seed for one in store.read(*place).values())


def test_a_shared_run_is_read_as_its_line_stands_and_takes_no_second_line(store):
    assert seeds(store) == [1, 2, 3]
    assert store.complaints == []
    mine, theirs = store.read(*MINE), store.read(*THEIRS)
    assert mine[config(1).id].line() == theirs[config(1).id].line()
    assert len(lines_of(store.path(*MINE))) == 1
    assert names(store).read_text() == f"{config(1).id} theirs\n{config(2).id} theirs\n"
    # What shares is no file of records of its own, and the other's is as it was.
    assert seeds(store, THEIRS) == [0, 1, 2]
    assert store.files(*MINE) == [store.path(*MINE), store.path(*THEIRS)]
    assert store.names(*MINE) == names(store)
    assert store.files(*THEIRS) == [store.path(*THEIRS)]


def test_what_is_there_is_not_named_again(store):
    before = names(store).read_bytes()
    assert store.share_missing(*MINE, "theirs", [config(1).id, config(3).id]) == 0
    assert names(store).read_bytes() == before
    assert store.share_missing(*MINE, "theirs", [config(0).id, config(1).id]) == 1
    assert seeds(store) == [0, 1, 2, 3]


@pytest.mark.parametrize("other", ["mine", "theirs.old", "../digits/theirs", ""])
def test_what_would_not_be_found_again_is_not_named(store, other):
    before = names(store).read_bytes()
    with pytest.raises(ValueError, match="is no other experiment than mine"):
        store.share_missing(*MINE, other, [config(0).id])
    assert names(store).read_bytes() == before


def test_an_experiment_that_only_shares_has_a_file_by_which_it_is_found(tmp_path):
    store = Store(tmp_path)
    store.append(*THEIRS, [record(0)])
    store.share_missing(*MINE, "theirs", [config(0).id])
    assert [path.stem for path in sorted(tmp_path.glob("*/*.jsonl"))] == ["mine", "theirs"]
    assert seeds(store) == [0]


def test_its_own_sound_record_comes_first_and_its_own_failure_does_not(store):
    own = record(1, accuracy=50.0)
    store.append(*MINE, [own])
    assert store.read(*MINE)[own.id].line() == own.line()
    failed = dataclasses.replace(record(0), status="failed", metrics={}, curves={}, reason="x")
    store.append(*MINE, [failed])
    assert store.read(*MINE)[failed.id].status == "failed"
    assert store.share_missing(*MINE, "theirs", [failed.id]) == 1
    assert store.read(*MINE)[failed.id].status == "done"


def failure(one):
    return dataclasses.replace(one, status="failed", metrics={}, curves={}, reason="x").line()


@pytest.mark.parametrize("instead", [lambda one: "", failure, lambda one: one.line()[:-9]])
def test_a_run_that_is_not_there_any_more_is_named_and_counts_as_missing(store, instead):
    other = store.path(*THEIRS)
    first, second, third = other.read_text().splitlines()
    other.write_text("\n".join([first, instead(record(1)), third]) + "\n")
    assert Record.parse(second).id == config(1).id
    assert seeds(store) == [2, 3]
    (said,) = store.complaints
    assert said == (
        f"{names(store)} names runs of theirs that have no sound record there and count as "
        f"missing: {config(1).id}"
    )
    # Set aside, it can be shared or trained again.
    store.repair(*MINE)
    assert names(store).read_text() == f"{config(2).id} theirs\n"
    rejected = store.path(*MINE).with_suffix(".rejected").read_text()
    assert rejected == f"{config(1).id} theirs\n"
    assert seeds(store) == [2, 3]
    assert store.complaints == []


@pytest.mark.parametrize(
    "line",
    ["nonsense", f"{config(0).id} mine", f"{config(0).id} ../theirs", f"{config(0).id[:9]} theirs"],
)
def test_a_line_that_names_no_run_of_another_is_refused_and_set_aside(store, line):
    with names(store).open("a") as file:
        file.write(line + "\n")
    assert seeds(store) == [1, 2, 3]
    (said,) = store.complaints
    assert said == f"{names(store)} has a line that names no run of another: {line!r}"
    store.repair(*MINE)
    assert store.path(*MINE).with_suffix(".rejected").read_text() == line + "\n"
    assert seeds(store) == [1, 2, 3]
    assert store.complaints == []


@pytest.mark.parametrize(("end", "complaints"), [(5, 1), (19, 0)])
def test_a_name_that_a_killed_writer_cut_short_is_not_glued_to_the_next(store, end, complaints):
    with names(store).open("a") as file:
        file.write(f"{config(0).id} theirs"[:end])
    store.share_missing(*MINE, "theirs", [config(0).id])
    assert seeds(store) == [0, 1, 2, 3]
    assert len(store.complaints) == complaints


def test_with_other_code_only_what_this_code_made_stays_shared(store):
    old = dataclasses.replace(record(4), provenance={**record(4).provenance, "code": "0" * 12})
    store.append(*THEIRS, [old])
    store.share_missing(*MINE, "theirs", [old.id])
    assert seeds(store) == [1, 2, 3, 4]
    store.retire_other_code(*MINE)
    assert seeds(store) == [1, 2, 3]
    assert {one.provenance["code"] for one in store.read(*MINE).values()} == {code_digest()}
    # It stands with theirs as before, and nothing of it is kept here.
    assert seeds(store, THEIRS) == [0, 1, 2, 4]
    assert not list(store.root.glob("digits/mine.*.old"))
    assert not store.path(*MINE).with_suffix(".rejected").exists()


def test_of_many_that_are_gone_one_line_tells(store):
    store.append(*THEIRS, [record(seed) for seed in (4, 5, 6)])
    store.share_missing(*MINE, "theirs", [config(seed).id for seed in (4, 5, 6)])
    store.path(*THEIRS).unlink()
    assert seeds(store) == [3]
    (said,) = store.complaints
    first = ", ".join(config(seed).id for seed in (1, 2, 4))
    assert said.endswith(f" and count as missing: {first} and 2 more")


def test_a_run_that_is_named_twice_is_there_if_one_has_it(store):
    names(store).write_text(f"{config(1).id} gone\n" + names(store).read_text())
    assert seeds(store) == [1, 2, 3]
    assert store.complaints == []


def test_a_name_without_a_record_stays_where_the_run_has_its_own(store):
    with names(store).open("a") as file:
        file.write(f"{config(3).id} gone\nnonsense\n")
    before = names(store).read_text()
    assert len(store.repair(*MINE)) == 1
    assert names(store).read_text() == before.replace("nonsense\n", "")


def test_without_a_file_of_its_own_it_can_be_read_repaired_and_retired(store):
    store.path(*MINE).unlink()
    assert seeds(store) == [1, 2]
    store.retire_other_code(*MINE)
    assert seeds(store) == [1, 2]
    store.path(*THEIRS).unlink()
    assert len(store.repair(*MINE)) == 1
    assert not names(store).exists()
    assert store.read(*MINE) == {}


def test_names_whose_records_were_retired_first_go_without_a_word(store):
    store.path(*MINE).unlink()
    store.path(*THEIRS).unlink()
    store.retire_other_code(*MINE)
    assert not names(store).exists()
    assert store.repair(*MINE) == []
    assert not store.path(*MINE).with_suffix(".rejected").exists()


def test_no_committed_run_stands_with_two_experiments():
    runs = Counter()
    for path in COMMITTED.rglob("*.jsonl"):
        for one in map(Record.parse, path.read_text().splitlines()):
            # What was trained on two kinds of device is two results.
            runs[path.parent.name, one.id, one.device] += 1
    assert [run for run, count in runs.items() if count > 1] == []


def test_names_are_committed():
    assert len(list(COMMITTED.rglob("*.shared"))) >= 4


@pytest.mark.parametrize("path", sorted(COMMITTED.rglob("*.shared")), ids=lambda path: path.stem)
def test_every_committed_name_leads_to_a_record(path):
    store = Store(COMMITTED)
    records = store.read(path.parent.name, path.stem)
    assert store.complaints == []
    named = [line.split()[0].decode() for line in lines_of(path)]
    assert named
    assert len(set(named)) == len(named)
    assert records.keys() >= set(named)
