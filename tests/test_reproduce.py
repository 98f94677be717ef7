"""`sgdnoise reproduce`: what could fail after training is looked at before; all pages are tried."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from sgdnoise import checkout, cli, reproduce
from sgdnoise.book import notebooks
from sgdnoise.errors import FailureError
from sgdnoise.experiments import EXPERIMENTS
from sgdnoise.records.store import Store
from sgdnoise.sweeps.report import Report

DIGITS = [name for name, e in EXPERIMENTS.items() if "digits" in e.sweeps]


@pytest.fixture
def trained(monkeypatch):
    """Sweeps that train nothing and end well; the names of those that were begun."""
    names = []

    def run_sweep(study, *_, **__):
        names.append(study.experiment.name)
        return Report(trained=1)

    monkeypatch.setattr(reproduce, "run_sweep", run_sweep)
    return names


def where(tmp_path):
    return ["--results", str(tmp_path / "r"), "--runs", str(tmp_path / "p")]


def test_a_page_that_fails_does_not_end_the_others(trained, tmp_path, monkeypatch, capsys):
    rendered = []

    def render(study, results, runs):
        assert (results, runs) == (tmp_path / "r", tmp_path / "p")
        scale, name = study.place
        if name in DIGITS[:2]:
            raise FailureError(f"the page of {name} failed in a cell: KeyError: 'lost'")
        rendered.append(name)
        return runs / scale / f"{name}.ipynb"

    monkeypatch.setattr(notebooks, "render", render)
    assert cli.main(["reproduce", "all", "--scale", "digits", *where(tmp_path)]) == 1
    assert trained == DIGITS
    assert rendered == DIGITS[2:] != []
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    for name in DIGITS[:2]:
        assert f"the page of {name} failed" in err
    assert out.count("page: ") == len(rendered)


def test_outside_of_a_checkout_nothing_is_trained(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    one = ["reproduce", "constant-step", "--scale", "digits"]
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "lib" / "py" / "sgdnoise" / "c.py"))
    # Neither is there a notebook to render, nor with --fresh records to compare with.
    for extra in ([], where(tmp_path)[:2], where(tmp_path)[2:], where(tmp_path), ["--fresh"]):
        assert cli.main([*one, *extra]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "not inside the book's checkout" in err
    assert trained == []
    assert not list(tmp_path.iterdir())


def test_outside_of_a_checkout_the_packages_own_notebook_is_rendered(
    trained, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    found = []
    monkeypatch.setattr(
        notebooks, "render", lambda s, *_: found.append(notebooks.notebook_source(s.experiment))
    )
    one = ["reproduce", "constant-step", "--scale", "digits", *where(tmp_path)]
    assert cli.main(one) == 0
    assert found[0].is_file()
    assert cli.main([*one, "--fresh"]) == 2
    assert trained == ["constant-step"]


@pytest.mark.parametrize("option", ["--results", "--runs"])
def test_a_scale_folder_that_cannot_be_written_is_refused_before_training(
    trained, tmp_path, capsys, option
):
    folder = tmp_path / {"--results": "r", "--runs": "p"}[option]
    folder.mkdir()
    (folder / "digits").write_text("a file where the folder of the scale belongs")
    assert cli.main(["reproduce", "constant-step", "--scale", "digits", *where(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(folder / "digits") in err
    assert option in err
    assert trained == []


def test_a_dry_run_says_which_records_it_refuses(tmp_path, capsys):
    path = Store(tmp_path / "r").path("digits", "constant-step")
    path.parent.mkdir(parents=True)
    path.write_text("half a li")
    arguments = ["reproduce", "constant-step", "--scale", "digits", "--dry-run"]
    assert cli.main([*arguments, *where(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert f"{path}:1 is cut short" in err
    assert "runs missing" in out
    assert path.read_text() == "half a li"


PROGRAM = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, {tests!r})
    from sgdnoise import cli
    from sgdnoise.experiments import EXPERIMENTS
    from sweeps.test_run import experiment, one_sweep
    # Trained side by side: one that is soon done, and one that takes minutes.
    sweeps = [one_sweep(16, steps=1), one_sweep(4, steps=None, epochs=8.0)]
    EXPERIMENTS["tiny"] = experiment(sweeps)
    arguments = ["reproduce", "tiny", "--scale", "digits", "--seeds", "300", "--jobs", "2"]
    sys.exit(cli.main([*arguments, "--no-render", *sys.argv[1:]]))
    """
)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_to_it_stops_its_workers_and_keeps_what_is_done(tmp_path, sent, code):
    program = PROGRAM.format(tests=os.path.dirname(__file__))
    process = subprocess.Popen(
        [sys.executable, "-c", program, *where(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "SGDNOISE_QUIET": "1"},
    )
    path, workers = Store(tmp_path / "r").path("digits", "tiny"), []
    try:
        deadline = time.monotonic() + 120
        while not path.exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        workers = [
            child
            for child in psutil.Process(process.pid).children(recursive=True)
            if any("LokyProcess" in word for word in child.cmdline())
        ]
        assert len(workers) == 2
        process.send_signal(sent)
        said = process.communicate(timeout=30)[1]
        assert process.returncode == code
        assert psutil.wait_procs(workers, timeout=15)[1] == []
    finally:
        process.kill()
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
    if sent == signal.SIGTERM:
        assert said == ("sgdnoise: stopped; what was finished is kept, run again to go on\n")
    store = Store(tmp_path / "r")
    assert len(store.read("digits", "tiny")) >= 128  # a bundle
    assert store.complaints == []
