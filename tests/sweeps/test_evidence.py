"""The GPU's evidence: in order of value, in slices that end, and nothing trained twice."""

from __future__ import annotations

import math

import pytest
from made_up import records
from sgdnoise.evidence import STAGES, assumed_seconds

from sgdnoise import evidence
from sgdnoise.experiments import EXPERIMENTS
from sgdnoise.records.store import Store
from sgdnoise.study.plan import missing
from sgdnoise.sweeps.report import Report


def ending(config):
    rate = math.log2(config.effective_learning_rate * (config.trust_coefficient or 1))
    return {"test_accuracy": 90 - abs(rate), "train_loss": 1 + abs(rate)}


class Trainer:
    """Stands for `run_sweep`: trains in the order asked for, by a clock of its own."""

    def __init__(self, seconds=10.0):
        self.now, self.seconds, self.trained = 0.0, seconds, []

    def time(self):
        return self.now

    def run_sweep(self, experiment, scale, seeds, store, *, deadline):
        report = Report()
        assert self.now < deadline, "a stage was begun after its slice had ended"
        while todo := missing(experiment, scale, seeds, store.read(scale, experiment.name)):
            for config in todo:
                if self.now >= deadline:
                    return report
                self.now += self.seconds
                self.trained.append((experiment.name, scale, config))
                store.append(scale, experiment.name, records([config], ending))
                report.trained += 1
        return report


@pytest.fixture
def trainer(monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr(evidence, "run_sweep", trainer.run_sweep)
    monkeypatch.setattr(evidence.time, "time", trainer.time)
    return trainer


def test_stages_stand_in_the_order_of_their_value():
    assert [(s.letter, s.seeds) for s in STAGES] == [(c, n) for n in (1, 3) for c in "abcdefg"]
    assert [(s.experiment.name, s.scale) for s in STAGES[:7]] == [
        ("constant-epoch", "paper"),
        ("constant-epoch", "gpu"),
        ("constant-step", "gpu"),
        ("unlimited-epochs", "gpu"),
        ("layerwise-lr", "gpu"),
        ("generalization-gap", "gpu"),
        ("initial-final-lr", "gpu"),
    ]
    # Every experiment that stands at scale gpu is part of it, with as many seeds as are its own.
    standing = {name for name, e in EXPERIMENTS.items() if "gpu" in e.sweeps}
    assert {s.experiment.name for s in STAGES if s.scale == "gpu"} == standing
    assert {EXPERIMENTS[name].seeds["gpu"] for name in standing} == {STAGES[-1].seeds}


def test_slices_end_in_time_and_go_on_where_they_were(trainer, tmp_path, capsys):
    store = Store(tmp_path)
    stages = evidence._chosen("abf")
    slices = 0
    while any(stage.missing(store) for stage in stages):
        began = trainer.now
        assert evidence.run(stages, store, minutes=2.0) == 0
        assert trainer.now - began < 2 * 60 + trainer.seconds
        slices += 1
        out = capsys.readouterr().out
        lines = [line for line in out.splitlines() if line.startswith("(")]
        assert len(lines) == len(stages)
        done = sum(not stage.missing(store) for stage in stages)
        assert f"{done} of {len(stages)} stages are complete" in out
        assert ("run the same command again" in out) == (done < len(stages))
    assert slices == math.ceil(len(trainer.trained) * trainer.seconds / 120) > 10
    # Nothing twice, and the first stage of all before the second.
    ids = [config.id for *_, config in trainer.trained]
    assert len(set(ids)) == len(ids)
    first = [(config.batch_size, config.seed, config.epochs) for *_, config in trainer.trained[:2]]
    assert first == [(1024, 0, 200), (128, 0, 200)]
    order = [name for name, *_ in trainer.trained]
    seeds = [config.seed % 1000 for *_, config in trainer.trained]
    assert order.index("generalization-gap") < seeds.index(1)
    before = len(trainer.trained)
    assert evidence.run(stages, store, minutes=2.0) == 0
    assert len(trainer.trained) == before


def test_a_stage_says_what_is_found_missing_and_its_cost(trainer, tmp_path):
    store = Store(tmp_path)
    a = STAGES[0]
    seconds = sum(assumed_seconds(config) for config in a.missing(store))
    assert a.line(store) == (
        f"(a) WRN-16-4 for 200 epochs at B = 1,024 and 128, 1 seed: 0 found, 2 missing, "
        f"about {seconds:,.0f} s"
    )
    # 200 epochs at 3600/7000 s and at 0.65 s.
    assert seconds == pytest.approx(200 * (3600 / 7000 + 0.65), rel=1e-3)
    # A record of the same net tells better than what is assumed.
    store.append("paper", "constant-epoch", records(a.missing(store)[:1], ending))
    assert "1 found, 1 missing" in a.line(store)
    assert a.seconds(store) < 10
    store.append("paper", "constant-epoch", records(a.missing(store), ending))
    assert a.line(store).endswith("2 found, 0 missing")


def test_failed_runs_are_told_at_the_end(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(evidence.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(evidence, "run_sweep", lambda *_, **__: Report(failed=2))
    assert evidence.main(["--results", str(tmp_path), "--only", "a"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "4 runs failed" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "ax"], "no stage is called x"),
        (["--minutes", "0"], "minutes must be more than 0"),
        (["--minutes", "nan"], "minutes must be more than 0"),
        (["--minutes", "inf"], "at most 525600"),
        ([], "no CUDA device here"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(monkeypatch, tmp_path, capsys, arguments, says):
    monkeypatch.setattr(evidence.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(evidence, "run_sweep", lambda *_, **__: pytest.fail("trained"))
    assert evidence.main(["--results", str(tmp_path), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert says in err


def test_a_dry_run_needs_no_gpu_and_writes_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(evidence, "run_sweep", lambda *_, **__: pytest.fail("trained"))
    assert evidence.main(["--results", str(tmp_path), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("\n") == len(STAGES)
    assert not list(tmp_path.iterdir())


def test_a_slice_says_which_records_it_refuses(monkeypatch, tmp_path, capsys):
    path = Store(tmp_path).path("gpu", "constant-step")
    path.parent.mkdir()
    path.write_text("half a li")
    assert evidence.main(["--results", str(tmp_path), "--dry-run"]) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{path}:1 is cut short" in err


def test_without_a_folder_the_checkouts_own_store_is_meant(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert evidence.main(["--dry-run"]) == 2
    assert "not inside the book's checkout" in capsys.readouterr().err


def test_ctrl_c_is_one_line(monkeypatch, tmp_path, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(evidence.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(evidence, "run_sweep", stopped)
    assert evidence.main(["--results", str(tmp_path), "--only", "a"]) == 130
    assert capsys.readouterr().err.count("\n") == 1
