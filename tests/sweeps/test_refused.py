"""A grid with a run that cannot be is refused in one line, before its first run is trained."""

from __future__ import annotations

import pytest
from sweeps.test_run import one_sweep

from sgdnoise import cli, reproduce
from sgdnoise.records.store import Store
from sgdnoise.study.study import Experiment, Study
from sgdnoise.sweeps import workers

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
