"""A grid with a run that cannot be is refused in one line, before its first run is trained."""

from __future__ import annotations

import pytest
from sweeps.test_run import one_sweep

from sgdnoise import cli, reproduce
from sgdnoise.data import store
from sgdnoise.errors import InputError
from sgdnoise.records.store import Store
from sgdnoise.study.study import Experiment, Study
from sgdnoise.sweeps import workers
from sgdnoise.sweeps.run import check_runs

HALF = 500 / 32
"""Epochs of 500 updates of 32 on 1,000 images, less a little: more than the 30 updates of a run."""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train_size": 1025}, ["1025", "1024"]),
        ({"train_size": 20}, ["batch size 32", "20 examples"]),
        ({"phases": ((0.5, 64.0, 1.0),)}, ["from epoch 0.5", "2048", "1024"]),
        ({"phases": ((HALF, 0.5, 1.0),)}, ["no update is left", "epoch 15.625"]),
        ({"phases": ((0.1, 0.5, 1.0), (0.101, 1.0, 1.0))}, ["no update is left", "epoch 0.101"]),
        ({"steps": None, "epochs": 1.0, "phases": ((1.0, 0.5, 1.0),)}, ["at or after the end"]),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_run_that_cannot_be_is_refused_before_any_is_trained(
    tmp_path, monkeypatch, capsys, changes, told, dry
):
    monkeypatch.setattr(workers, "train_bundle", lambda *_: pytest.fail("trained"))
    sweeps = lambda: [one_sweep(16), one_sweep(32, **changes)]  # noqa: E731
    study = Study.of(Experiment("mine", {"digits": sweeps}, {"digits": 2}), "digits")
    monkeypatch.setattr(reproduce, "study_of", lambda *_: study)
    arguments = ["reproduce", "mine", "--scale", "digits", "--no-render", "--jobs", "1"]
    assert cli.main([*arguments, "--results", str(tmp_path), *dry]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("sgdnoise: ")
    assert all(part in err for part in told)
    assert Store(tmp_path).read("digits", "mine") == {}


def test_data_that_are_not_there_are_told_only_where_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("SGDNOISE_OFFLINE", "1")
    monkeypatch.delenv("SGDNOISE_DATA", raising=False)
    monkeypatch.setattr(store, "SYSTEM_ROOTS", ())
    sweeps = [one_sweep(16), one_sweep(16, dataset="cifar10-16", model="wrn-10-1")]
    study = Study.of(Experiment("mine", {"cpu": lambda: sweeps}, {"cpu": 1}), "cpu")
    runs = list(study.needed({}))
    check_runs(runs)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"cifar10 is missing .*SGDNOISE_OFFLINE forbids it"):
        check_runs(runs, fetch=True)
    check_runs([run for run in runs if run.dataset == "digits"], fetch=True)


def test_nothing_is_trained_where_the_data_of_a_later_run_are_not_there(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SGDNOISE_OFFLINE", "1")
    monkeypatch.delenv("SGDNOISE_DATA", raising=False)
    monkeypatch.setattr(store, "SYSTEM_ROOTS", ())
    monkeypatch.setattr(workers, "train_bundle", lambda *_: pytest.fail("trained"))
    sweeps = [one_sweep(16), one_sweep(16, dataset="cifar10-16", model="wrn-10-1")]
    study = Study.of(Experiment("mine", {"cpu": lambda: sweeps}, {"cpu": 1}), "cpu")
    monkeypatch.setattr(reproduce, "study_of", lambda *_: study)
    arguments = ["reproduce", "mine", "--scale", "cpu", "--no-render", "--jobs", "1"]
    arguments += ["--results", str(tmp_path / "r")]
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith("sgdnoise: cifar10 is missing")
    assert cli.main([*arguments, "--dry-run"]) == 0
