"""A run that another experiment of the same scale has is taken from there and not trained again."""

from __future__ import annotations

import dataclasses
import math

import pytest
from made_up import records
from sweeps.test_run import fake_train, one_sweep

from sgdnoise import cli, reproduce
from sgdnoise.provenance import code_digest
from sgdnoise.records.store import Store
from sgdnoise.study.study import Experiment, Study
from sgdnoise.sweeps import workers
from sgdnoise.sweeps.run import run_sweep

MINE = ("digits", "mine")


def ending(config):
    """As `fake_train` ends: the best rate is 2^-2, on no edge of the grid as it grows."""
    return {"test_accuracy": 90 - abs(math.log2(config.learning_rate) + 2), "train_loss": 1.0}


@pytest.fixture
def trained(monkeypatch):
    """The runs that were trained, by id."""
    ids: list[str] = []

    def train(configs, *rest):
        ids.extend(config.id for config in configs)
        return fake_train(configs, *rest)

    monkeypatch.setattr(workers, "train_bundle", train)
    return ids


def study(name="mine", sizes=(16, 32), seeds=2):
    sweeps = [one_sweep(size) for size in sizes]
    return Study.of(Experiment(name, {"digits": lambda: sweeps}, {"digits": seeds}), "digits")


def of_other_code(record):
    return dataclasses.replace(record, provenance={**record.provenance, "code": "0" * 16})


def test_all_that_another_has_is_taken_to_the_grown_grid_and_the_fresh_seeds(tmp_path, trained):
    store = Store(tmp_path)
    theirs = run_sweep(study("theirs", (16,)), store, jobs=1)
    before = store.path("digits", "theirs").read_bytes()
    assert len(trained) == theirs.trained == (3 + 1) * 2
    trained.clear()
    report = run_sweep(study(), store, jobs=1)
    assert str(report) == "8 found (of them 8 from theirs), 8 trained, 0 failed"
    there = store.read("digits", "theirs")
    mine = store.read(*MINE)
    assert len(mine) == 16
    assert {run for run in mine if mine[run].config.batch_size == 16} == there.keys()
    assert [mine[run].line() for run in there] == [record.line() for record in there.values()]
    assert there.keys().isdisjoint(trained)
    assert store.path("digits", "theirs").read_bytes() == before
    # It stands once, and mine has the name of each.
    assert len(store.path(*MINE).read_text().splitlines()) == 8
    named = store.path(*MINE).with_suffix(".shared").read_text().split("\n")
    assert sorted(named) == sorted(["", *(f"{run} theirs" for run in there)])
    # What was taken is from then on simply there.
    assert str(run_sweep(study(), store, jobs=1)) == "16 found, 0 trained, 0 failed"
    # Where the other's file is gone it is trained.
    trained.clear()
    store.path("digits", "theirs").unlink()
    assert str(run_sweep(study(), store, jobs=1)) == "8 found, 8 trained, 0 failed"
    assert set(trained) == there.keys()


def test_what_is_missing_there_is_trained(tmp_path, trained):
    store = Store(tmp_path)
    some = study().needed({})[:3]
    store.append("digits", "a", records(some[:2], ending))
    store.append("digits", "b", records(some[1:], ending))
    report = run_sweep(study(), store, jobs=1)
    # One that stands with both is that of the first.
    assert str(report) == "3 found (of them 2 from a, 1 from b), 13 trained, 0 failed"
    assert {config.id for config in some}.isdisjoint(trained)


def damaged(record):
    return record.line().replace('"test_accuracy":8', '"test_accuracy":9', 1)


def failed(record):
    return dataclasses.replace(record, status="failed", metrics={}, curves={}, reason="x").line()


def test_with_a_gpu_only_a_gpus_records_are_taken(tmp_path, trained):
    """What it trains is to be of one device."""
    store = Store(tmp_path)
    run_sweep(study("theirs", (16,)), store, jobs=1)
    ran = list(store.read("digits", "theirs").values())
    on_gpu = [
        dataclasses.replace(one, provenance={**one.provenance, "device": "NVIDIA H200"})
        for one in ran[:3]
    ]
    store.path("digits", "theirs").unlink()
    store.append("digits", "theirs", [*on_gpu, *ran[3:]])
    trained.clear()
    report = run_sweep(study("mine", (16,)), store, jobs=1, gpu=True)
    assert str(report) == "3 found (of them 3 from theirs), 5 trained, 0 failed"
    assert set(trained) == {one.id for one in ran[3:]}


@pytest.mark.parametrize("spoil", [damaged, failed, lambda record: record.line()[:-20]])
def test_a_record_that_is_not_sound_is_not_taken(tmp_path, trained, capsys, spoil):
    store = Store(tmp_path)
    (one,) = records(study().needed({})[:1], ending)
    path = store.path("digits", "theirs")
    path.parent.mkdir()
    assert spoil(one) != one.line()
    path.write_text(spoil(one) + "\n")
    before = path.read_bytes()
    report = run_sweep(study(), store, jobs=1)
    assert str(report) == "0 found, 16 trained, 0 failed"
    assert one.id in trained
    # It is another's file: nothing is said of it, and nothing moved.
    assert path.read_bytes() == before
    assert "set aside" not in capsys.readouterr().err


def test_a_copy_that_somebody_kept_is_no_experiment(tmp_path, trained):
    store = Store(tmp_path)
    store.append("digits", "theirs.old_copy", records(study().needed({}), ending))
    assert str(run_sweep(study(), store, jobs=1)) == "0 found, 16 trained, 0 failed"


def test_of_two_lines_of_a_run_the_first_is_taken_or_none(tmp_path, trained):
    store = Store(tmp_path)
    (one,) = records(study().needed({})[:1], ending)
    store.append("digits", "theirs", [of_other_code(one)])
    store.append("digits", "theirs", [one])
    # It would be read as the first, which other code made.
    report = run_sweep(study(), store, jobs=1, code=code_digest())
    assert str(report) == "0 found, 16 trained, 0 failed"


def test_no_other_scale_and_no_other_file_is_looked_at(tmp_path, trained):
    store = Store(tmp_path)
    found = records(study().needed({}), ending)
    store.append("cpu", "theirs", found)
    store.append("digits", "theirs", found)
    path = store.path("digits", "theirs")
    path.rename(path.with_suffix(".rejected"))
    assert str(run_sweep(study(), store, jobs=1)) == "0 found, 16 trained, 0 failed"


def test_of_a_run_that_failed_here_the_sound_record_is_taken(tmp_path, trained):
    store = Store(tmp_path)
    (one,) = records(study().needed({})[:1], ending)
    store.path(*MINE).parent.mkdir()
    store.path(*MINE).write_text(failed(one) + "\n")
    store.append("digits", "theirs", [one])
    report = run_sweep(study(), store, jobs=1)
    assert str(report) == "1 found (of them 1 from theirs), 15 trained, 0 failed"
    assert one.id not in trained


def test_a_run_that_two_sweeps_take_at_once_is_written_once(tmp_path, trained, monkeypatch):
    store, elsewhere = Store(tmp_path), Store.elsewhere
    store.append("digits", "theirs", records(study().needed({}), ending))

    def another_is_first(self, *arguments):
        found = elsewhere(self, *arguments)
        self.append(*MINE, [record for of in found.values() for record in of.values()])
        return found

    monkeypatch.setattr(Store, "elsewhere", another_is_first)
    run_sweep(study(), store, jobs=1)
    lines = store.path(*MINE).read_text().splitlines()
    assert len(lines) == len(set(lines)) == 16
    assert not store.path(*MINE).with_suffix(".shared").exists()


def test_where_all_is_there_no_gpu_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("sgdnoise.sweeps.run.require_cuda", lambda _: pytest.fail("asked"))
    on_gpu = [one_sweep(16, low=-3, high=0, precision="bfloat16")]
    mine = Study.of(Experiment("mine", {"gpu": lambda: on_gpu}, {"gpu": 1}), "gpu")
    store = Store(tmp_path)
    store.append("gpu", "theirs", records(_to_the_end(mine), ending))
    report = run_sweep(mine, store)
    assert report.trained == 0
    assert str(report) == f"{report.found} found (of them {report.found} from theirs), " + (
        "0 trained, 0 failed"
    )


def _to_the_end(of):
    there = {}
    while todo := of.missing(there):
        there |= {record.id: record for record in records(todo, ending)}
    return [record.config for record in there.values()]


# --- The command ------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, trained, monkeypatch, capsys):
    """Runs `reproduce mine` on the folder's store; gives what it prints."""
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {"mine": study().experiment})
    monkeypatch.setattr(reproduce, "study_of", lambda name, scale, seeds: study())

    def run(*options):
        arguments = ["reproduce", "mine", "--scale", "digits", "--no-render", *options]
        assert cli.main([*arguments, "--jobs", "1"]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_a_dry_run_tells_what_it_would_take_and_writes_nothing(tmp_path, trained, command):
    store = Store(tmp_path)
    run_sweep(study("theirs", (16,)), store, jobs=1)
    trained.clear()
    *runs, last = command("--results", str(tmp_path), "--dry-run")
    # The grid of 32, before it grows.
    assert len(runs) == 6
    assert last.startswith("mine, digits: 6 runs missing as things stand")
    assert last.endswith("; 8 to be taken from theirs")
    assert {line.split()[0] for line in runs}.isdisjoint(store.read("digits", "theirs"))
    assert not store.path(*MINE).exists()
    assert trained == []
    (line,) = command("--results", str(tmp_path))
    assert line == "mine, digits: 8 found (of them 8 from theirs), 8 trained, 0 failed"


def test_fresh_takes_what_this_code_made_of_its_own_store_alone(
    tmp_path, trained, command, monkeypatch
):
    monkeypatch.setattr(reproduce, "project_root", lambda *_: tmp_path)
    monkeypatch.setattr("sgdnoise.book.compare.Comparison.of", lambda *_: _Compared())
    todo = study().needed({})
    committed, own = Store(tmp_path / "results"), Store(tmp_path / "local" / "results")
    committed.append("digits", "theirs", records(todo[:6], ending))
    here, there = records(todo[:2], ending), map(of_other_code, records(todo[2:4], ending))
    assert here[0].provenance["code"] == code_digest()
    own.append("digits", "theirs", [*here, *there])
    last = command("--fresh", "--dry-run")[-1]
    assert "10 runs missing" in last
    assert last.endswith("; 2 to be taken from theirs")
    assert command("--fresh")[0] == (
        "mine, digits: 2 found (of them 2 from theirs), 14 trained, 0 failed"
    )
    assert {record.id for record in here}.isdisjoint(trained)
    assert {config.id for config in todo[2:6]} <= set(trained)
    # Without `--fresh` any code's records count, as those in an experiment's own file do.
    other = Store(tmp_path / "other")
    other.append("digits", "theirs", map(of_other_code, records(todo[:4], ending)))
    (line,) = command("--results", str(other.root))
    assert line.startswith("mine, digits: 4 found (of them 4 from theirs), ")


class _Compared:
    def text(self):
        return "compared"
