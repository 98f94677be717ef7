"""`sgdnoise reproduce`: what could fail after training is looked at before; all pages are tried."""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from made_up import records
from sweeps.test_run import one_sweep

from sgdnoise import checkout, cli, reproduce
from sgdnoise.book import notebooks
from sgdnoise.errors import FailureError
from sgdnoise.experiments import EXPERIMENTS, study_of
from sgdnoise.records.store import Store
from sgdnoise.study.study import Experiment, Study
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


def test_without_pages_nothing_of_the_book_is_looked_at(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "notebook_source", lambda *_: pytest.fail("looked for"))
    monkeypatch.setattr(notebooks, "render", lambda *_: pytest.fail("rendered"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "lib" / "py" / "sgdnoise" / "c.py"))
    one = ["reproduce", "constant-step", "--scale", "digits", "--no-render"]
    # Without a folder the checkout's own store is meant, and there is no checkout.
    assert cli.main(one) == 2
    assert "not inside the book's checkout" in capsys.readouterr().err
    assert trained == []
    assert cli.main([*one, *where(tmp_path)[:2]]) == 0
    assert trained == ["constant-step"]
    out = capsys.readouterr().out
    assert out.endswith(": it begins empty\nconstant-step, digits: 0 found, 1 trained, 0 failed\n")


def test_without_pages_nothing_that_makes_them_need_be_there(tmp_path):
    program = textwrap.dedent(
        """
        import sys
        # Nor joblib and Dask, where no process of this machine and no cluster trains.
        for name in ("IPython", "anywidget", "distributed", "ipywidgets", "joblib", "nbformat",
                     "papermill", "plotly", "sklearn"):
            sys.modules[name] = None
        from sgdnoise import cli
        arguments = ["reproduce", "constant-epoch", "--scale", "cpu", "--seeds", "1"]
        sys.exit(cli.main([*arguments, "--minutes", "1e-9", *sys.argv[1:]]))
        """
    )

    def run(*extra):
        return subprocess.run(
            [sys.executable, "-c", program, *where(tmp_path), *extra],
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
        )

    done = run("--no-render")
    assert done.returncode == 0, done.stderr
    assert "stopped after 1e-09 minutes" in done.stdout
    assert run().returncode != 0  # which shows that pages do need them


def peaked(config):
    rate = math.log2(config.effective_learning_rate)
    return {"test_accuracy": 90 - abs(rate + 2), "train_loss": 1 + abs(rate + 2)}


class Trainer:
    """Stands for `run_sweep`: trains in the order asked for, by a clock of its own."""

    def __init__(self, seconds=10.0):
        self.now, self.seconds, self.trained = 0.0, seconds, []

    def time(self):
        return self.now

    def run_sweep(self, study, store, *, deadline, **options):
        report = Report()
        while todo := study.missing(store.read(*study.place)):
            for config in todo:
                if self.now >= deadline:
                    report.left = len(todo) - todo.index(config)
                    return report
                self.now += self.seconds
                self.trained.append((study.experiment.name, config))
                store.append(*study.place, records([config], peaked))
                report.trained += 1
        return report


def first_runs(seeds):
    """Runs that are worth having first; the sweeps ask for the one of them, not for the other."""
    one = one_sweep(64)
    return [config for k in (-2, 5) for config in [one.config((k,), seed) for seed in range(seeds)]]


@pytest.fixture
def two(monkeypatch):
    """Two experiments, of which the second has runs that come first."""
    a = Experiment("a", {"digits": lambda: [one_sweep(16)]}, {"digits": 3})
    b = Experiment(
        "b",
        {"digits": lambda: [one_sweep(32), one_sweep(64)]},
        {"digits": 3},
        first={"digits": first_runs},
    )
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {"a": a, "b": b})
    return [Study.of(experiment, "digits") for experiment in (a, b)]


@pytest.fixture
def trainer(monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr(reproduce, "run_sweep", trainer.run_sweep)
    monkeypatch.setattr(reproduce.time, "time", trainer.time)
    monkeypatch.setattr(notebooks, "render", lambda *_: pytest.fail("rendered"))
    return trainer


def test_slices_end_in_time_and_go_on_one_seed_of_everything_first(trainer, two, tmp_path, capsys):
    arguments = ["reproduce", "all", "--scale", "digits", "--no-render", "--breadth-first"]
    arguments += ["--results", str(tmp_path), "--minutes", "1"]
    store = Store(tmp_path)

    def missing():
        return sum(len(study.missing(store.read(*study.place))) for study in two)

    slices = 0
    while missing():
        began = trainer.now
        assert cli.main(arguments) == 0
        assert trainer.now - began < 60 + trainer.seconds
        slices += 1
        lines = capsys.readouterr().out.splitlines()
        assert [line.partition(":")[0] for line in lines[:4]] == [
            "a, digits (one seed first)",
            "b, digits (one seed first)",
            "a, digits",
            "b, digits",
        ]
        left = missing()
        assert lines[4:] == ([f"stopped after 1 minutes: {left} runs left"] if left else [])
    assert slices == math.ceil(len(trainer.trained) * trainer.seconds / 60) >= 5
    # Nothing twice.
    ids = [config.id for _, config in trainer.trained]
    assert len(set(ids)) == len(ids)
    # A seed of all, grown grids and fresh seeds included, before a second of any.
    seeds = [config.seed % 1000 for _, config in trainer.trained]
    assert seeds == [0] * seeds.count(0) + [seed for seed in seeds if seed]
    names = [name for name, _ in trainer.trained]
    assert set(names[: seeds.index(1)]) == {"a", "b"}
    assert {config.seed for _, config in trainer.trained[: seeds.index(1)]} == {0, 1000}
    # What is worth having first of an experiment comes first in each round.
    starts = names.index("b"), names.index("b", names.index("a", seeds.index(1)))
    for start, seed_of in zip(starts, ((0, 0), (1, 2, 1, 2)), strict=True):
        head = [config for _, config in trainer.trained[start : start + len(seed_of)]]
        assert tuple(config.seed for config in head) == seed_of
        assert {config.batch_size for config in head} == {64}
    # And again there is nothing to do.
    before = len(trainer.trained)
    assert cli.main(arguments) == 0
    assert len(trainer.trained) == before


def test_without_breadth_first_an_experiment_has_all_its_seeds_at_once(
    trainer, two, tmp_path, capsys
):
    arguments = ["reproduce", "all", "--scale", "digits", "--no-render", "--minutes", "1000"]
    assert cli.main([*arguments, "--results", str(tmp_path)]) == 0
    names = [name for name, _ in trainer.trained]
    assert names == sorted(names)
    seeds = [config.seed for _, config in trainer.trained]
    assert seeds.index(1) < names.index("b")
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_only_some_sweeps_are_trained_and_no_page_rendered(trainer, tmp_path, capsys):
    arguments = ["reproduce", "generalization-gap", "--scale", "paper"]
    arguments += ["--results", str(tmp_path), "--minutes", "1000"]
    assert cli.main([*arguments, "--only", "net=c1", "--only", "rung=LB", "--dry-run"]) == 0
    assert "5 runs missing as things stand" in capsys.readouterr().out
    assert cli.main([*arguments, "--only", "net=c1", "--only", "rung=LB"]) == 0
    runs = [config for _, config in trainer.trained]
    assert {(c.model, c.batch_size, c.norm, c.learning_rate) for c in runs} == {
        ("c1", 4096, "batch", 1e-3)
    }
    assert len(runs) == 5
    # Where its sweeps train is for all of the study's records to tell.
    study = study_of("generalization-gap", "paper")
    some = study.only({"rung": "SB"})
    assert [s.sweep.key for s in some.states({})] == [s.sweep.key for s in study.states({})]
    assert {config.batch_size for config in some.needed({})} == {128, 256}
    assert some.place == study.place


def test_runs_worth_having_first_are_left_out_with_their_sweeps():
    study = study_of("constant-epoch", "paper", 1)
    part = study.only({"batch_size": "128", "method": "momentum"})
    head = [(config.batch_size, config.seed) for config in part.needed({})[:1]]
    assert head == [(128, 0)]
    assert {config.batch_size for config in part.needed({})} == {128}


@pytest.mark.parametrize(
    ("name", "only", "said"),
    [
        ("discriminating", ["arm"], "'arm' is not NAME=VALUE, as arm=longer is"),
        ("discriminating", ["=longer"], "'=longer' is not NAME=VALUE"),
        ("discriminating", ["arms=longer"], "has a part arms: choose from method, batch_size, arm"),
        ("discriminating", ["arm=long"], "has arm=long: choose from plain, noise-back"),
        (
            "discriminating",
            ["arm=plain", "updates=4000"],
            "has arm=plain, updates=4000 at once: leave one out",
        ),
        ("all", ["arm=plain"], "Name one in place of all"),
        (
            "discriminating",
            ["arm=plain", "arm=longer"],
            "no sweep has both arm=plain and arm=longer: give --only one of them",
        ),
    ],
)
def test_parts_that_no_sweep_has_are_refused(trainer, tmp_path, capsys, name, only, said):
    arguments = ["reproduce", name, "--scale", "cpu", "--results", str(tmp_path)]
    with contextlib.suppress(SystemExit):  # which the parser raises itself
        arguments += [word for part in only for word in ("--only", part)]
        assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert not trainer.trained


def test_only_is_not_compared_with_what_is_committed(trainer, tmp_path, capsys):
    arguments = ["reproduce", "constant-step", "--scale", "digits", "--only", "batch_size=8"]
    assert cli.main([*arguments, "--fresh", "--results", str(tmp_path)]) == 2
    assert "fresh compares whole studies" in capsys.readouterr().err


def test_fresh_runs_are_not_made_among_those_they_are_compared_with(
    trainer, tmp_path, monkeypatch, capsys
):
    committed = tmp_path / "results"
    committed.mkdir()
    (tmp_path / "link").symlink_to(committed)
    monkeypatch.setattr(reproduce, "project_root", lambda *_: tmp_path)
    arguments = ["reproduce", "constant-step", "--scale", "digits", "--fresh", "--results"]
    for folder in (committed, tmp_path / "link"):
        assert cli.main([*arguments, str(folder)]) == 2
        assert "has the committed records" in capsys.readouterr().err
    assert not trainer.trained


def test_the_two_runs_that_scale_paper_is_worth_first():
    study = study_of("constant-epoch", "paper", 1)
    head = [(config.batch_size, config.seed, config.epochs) for config in study.needed({})[:2]]
    assert head == [(1024, 0, 200), (128, 0, 200)]
    # They belong to its own sweeps: of a whole study nothing is asked for beyond them.
    ids = [config.id for config in study.needed({})]
    assert len(set(ids)) == len(ids)
    planned = {config.id for state in study.states({}) for config in state.needed}
    assert set(ids) == planned


def test_failed_runs_are_told_at_the_end(monkeypatch, two, tmp_path, capsys):
    monkeypatch.setattr(reproduce, "run_sweep", lambda *_, **__: Report(failed=2))
    arguments = ["reproduce", "all", "--scale", "digits", "--no-render"]
    assert cli.main([*arguments, "--results", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "some runs failed: a (2 runs), b (2 runs); each record gives its reason" in err
    assert out.count("2 failed") == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"phases": ((40.0, 0.5, 1.0),)}, "from epoch 40"),  # of 30 updates
        ({"train_size": 1025}, "a subset of 1025 examples is larger than digits"),
        ({"momentum": 1.5}, "momentum"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_run_that_cannot_be_is_refused_in_a_sweep_that_is_idle(
    trained, tmp_path, monkeypatch, capsys, changes, told, dry
):
    """The others' records may call for it, once they have been trained."""
    plain, later = one_sweep(16), replace(one_sweep(32, **changes), key=(("arm", "later"),))
    idle = {"digits": lambda study, records: lambda key: key == later.key}
    experiment = Experiment("mine", {"digits": lambda: [plain, later]}, {"digits": 2}, idle=idle)
    study = Study.of(experiment, "digits")
    assert {config.batch_size for config in study.needed({})} == {16}
    monkeypatch.setattr(reproduce, "study_of", lambda *_: study)
    arguments = ["reproduce", "mine", "--scale", "digits", "--no-render", *dry]
    assert cli.main([*arguments, "--results", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), trained) == ("", 1, [])
    assert err.startswith("sgdnoise: ")
    assert told in err


def test_what_is_planned_are_the_sweeps_that_are_asked_for_also_idle_ones():
    study = study_of("discriminating", "cpu")
    phased = [config for config in study.planned if config.phases]
    assert phased
    assert not any(config.phases for config in study.needed({}))
    assert {config.seed for config in study.planned} == {0}
    assert not any(config.phases for config in study.only({"arm": "plain"}).planned)


@pytest.mark.parametrize(
    ("name", "scale", "field"),
    [
        ("initial-final-lr", "digits", "decay_factor="),
        ("unlimited-epochs", "gpu", "epochs="),
        ("discriminating", "cpu", "steps="),
    ],
)
def test_a_dry_run_tells_its_runs_apart(tmp_path, capsys, name, scale, field):
    arguments = ["reproduce", name, "--scale", scale, "--dry-run", "--no-render"]
    assert cli.main([*arguments, "--results", str(tmp_path)]) == 0
    lines = [line.partition(" s  ")[2] for line in capsys.readouterr().out.splitlines()]
    runs = [line for line in lines if line]
    assert len(set(runs)) == len(runs) > 10
    assert any(field in line for line in runs)
    assert all(re.match(r"B=\d+ m=\S+ eps=\S+ seed=\d+( \w+=\S+)*$", line) for line in runs)


def test_a_dry_run_of_all_needs_no_gpu_and_writes_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(reproduce, "run_sweep", lambda *_, **__: pytest.fail("trained"))
    arguments = ["reproduce", "all", "--scale", "gpu", "--seeds", "1", "--dry-run", "--no-render"]
    assert cli.main([*arguments, "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    standing = [name for name, e in EXPERIMENTS.items() if "gpu" in e.sweeps]
    said = [line.partition(",")[0] for line in out.splitlines() if "runs missing" in line]
    assert said == [*standing, "all"]
    # No record tells what a GPU takes: the bounds of the engine stand in.
    assert re.search(
        r"^all, gpu: [0-9]+ runs missing as things stand, about [0-9]+ GPU-seconds ", out, re.M
    )
    assert "no record tells" not in out
    assert not list(tmp_path.iterdir())


def test_ctrl_c_is_one_line(monkeypatch, two, tmp_path, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "run_sweep", stopped)
    arguments = ["reproduce", "a", "--scale", "digits", "--no-render", "--breadth-first"]
    monkeypatch.setattr(reproduce, "study_of", lambda *_: two[0])
    assert cli.main([*arguments, "--results", str(tmp_path)]) == 130
    assert capsys.readouterr().err.count("\n") == 1


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
