"""The parts, checked: what the runs cover, what they say, and that they go on where they were."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from sgdnoise import models
from sgdnoise.config import make_config
from sgdnoise.experiments.parts_checked import comparisons, findings, grid
from sgdnoise.experiments.parts_checked.grid import CHECKS, EXPERIMENT, Check
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.study.study import Study
from sgdnoise.sweeps.run import run_sweep

STUDY = Study.of(EXPERIMENT, "cpu")

DIGITS = make_config(
    dataset="digits", model="f1", batch_size=128, learning_rate=0.05, momentum=0.9, steps=30
)


def record(config, status="done", **metrics):
    return {config.id: Record(config, status, metrics, {}, {"seconds": 1.0})}


def with_curve(records, config):
    """The same records, one of them with a curve."""
    curves = {"step": [1.0, 2.0], "train_loss": [2.3, 1.7]}
    return records | {config.id: dataclasses.replace(records[config.id], curves=curves)}


SMALLER = ("alexnet", "alexnet-cifar-512", "f1-64")


def test_every_convolution_net_of_the_papers_is_there():
    trained = {check.config.model for check in CHECKS}
    # One depth stands for each family, `alexnet-cifar` for AlexNet at 224 pixels, F1 for its like.
    families = {"resnet", "vgg"}
    for name in models.registry.MODELS:
        if name.startswith(("digits", "autoencoder", "lstm")) or name in SMALLER:
            continue
        family = name.rstrip("0123456789")
        assert name in trained or (family in families and any(family in t for t in trained)), name
    assert {"wrn-10-1", "wrn-16-4", "resnet44", "vgg11", "resnet50"} <= trained
    for wide in ("wrn-10-1", "wrn-16-4"):
        norms = {c.config.norm for c in CHECKS if c.config.model == wide}
        assert norms == {"batch", "ghost", "none"}


def test_each_is_asked_for_what_the_issue_asks():
    for check in CHECKS:
        if check.config.model == "f1":
            assert (check.config.dataset, check.config.train_size) == ("mnist", None)
            assert check.config.epochs == 3
            assert (check.metric, check.bound) == ("test_accuracy", 97)
        else:
            assert (check.config.dataset, check.config.train_size) == ("cifar10", 2000)
            assert (check.metric, check.bound) == ("train_loss", 1.5)
    assert STUDY.needed({}) == [check.config for check in CHECKS]


@pytest.mark.parametrize(
    ("metric", "value", "verdict"),
    [
        ("train_loss", 1.49, "passed"),
        ("train_loss", 1.5, "failed"),
        ("train_loss", 1.51, "failed"),
        ("test_accuracy", 1.49, "failed"),
        ("test_accuracy", 1.5, "failed"),
        ("test_accuracy", 1.51, "passed"),
    ],
)
def test_verdicts(metric, value, verdict):
    check = Check(DIGITS, metric, 1.5)
    assert check.verdict(record(DIGITS, **{metric: value})) == verdict
    assert check.verdict({}) == "not yet run"
    assert check.verdict(record(DIGITS.replace(seed=1), **{metric: value})) == "not yet run"
    for status in ("diverged", "failed"):
        assert check.verdict(record(DIGITS, status)) == "failed"
        assert check.verdict(record(DIGITS, status, **{metric: value})) == "failed"


def test_it_trains_what_is_missing_once_and_says_how_it_went(monkeypatch, tmp_path):
    torch.set_num_threads(1)
    easy, hard = Check(DIGITS, "train_loss", 1.5), Check(DIGITS, "train_loss", 1e-9)
    other = Check(DIGITS.replace(steps=10), "train_loss", 1e-9)
    store = Store(tmp_path)
    monkeypatch.setattr(grid, "CHECKS", (easy,))
    assert str(run_sweep(STUDY, store, jobs=1)) == "0 found, 1 trained, 0 failed"
    monkeypatch.setattr(grid, "CHECKS", (easy, other))
    assert str(run_sweep(STUDY, store, jobs=1)) == "1 found, 1 trained, 0 failed"
    assert str(run_sweep(STUDY, store, jobs=1)) == "2 found, 0 trained, 0 failed"
    records = store.read("cpu", "parts-checked")
    verdicts = [check.verdict(records) for check in (easy, hard, other)]
    assert verdicts == ["passed", "failed", "failed"]


def test_the_page_tells_what_is_there_and_what_is_not(monkeypatch, tmp_path):
    monkeypatch.setattr(findings, "CHECKS", CHECKS[:3])
    assert "0 passed, 0 failed, 3 not yet run" in findings.summary({})
    first, second = CHECKS[0].config, CHECKS[1].config
    have = record(first, test_accuracy=98.0) | record(second, train_loss=1.7)
    assert "1 passed, 1 failed, 1 not yet run" in findings.summary(have)
    assert not findings.loss_curves({}).data
    verdicts = [row["verdict"] for row in findings.rows(have)]
    assert verdicts == ["passed", "failed", "not yet run"]
    assert [trace.name for trace in findings.loss_curves(with_curve(have, second)).data] == [
        "wrn-10-1, batch",
        "over all images",
    ]


def test_the_summary_counts_nets_by_name_and_their_epochs(monkeypatch):
    said = findings.summary({})
    nets = {check.config.model for check in CHECKS}
    assert len(nets) < len(CHECKS)
    assert f"Of {len(CHECKS)} pairs of a net and a norm" in said
    assert f"They are of {len(nets)} nets" in said
    assert "train for 4.8 to 32 epochs" in said
    # F1, which is judged by its accuracy, does not count: it trains for three.
    monkeypatch.setattr(findings, "CHECKS", CHECKS[:4])
    assert "train for 6.4 to 32 epochs" in findings.summary({})


def test_the_figure_judges_by_the_loss_over_all_images():
    some = [check for check in CHECKS if check.metric == "train_loss"][:2]
    for losses, said in (
        ((1.2, 1.4), "All 2 end below 1.5 nats, at 1.20 to 1.40"),
        ((1.2, 1.5), "1 of 2 end below 1.5 nats, at 1.20 to 1.50"),
    ):
        records = {}
        for check, loss in zip(some, losses, strict=True):
            records |= with_curve(record(check.config, train_loss=loss), check.config)
        fig = findings.loss_curves(records)
        assert fig.layout.title.text == said
        assert said in fig.layout.meta["alt"]
        assert "fall" not in fig.layout.meta["alt"]
        *curves, marks = fig.data
        assert tuple(marks.y) == losses
        assert list(marks.x) == [curve.x[-1] for curve in curves]
        assert list(marks.marker.color) == [curve.line.color for curve in curves]


def test_the_page_names_the_nets_of_the_papers_that_no_run_trains():
    page = (Path(__file__).parents[2] / "book" / "parts-checked.ipynb").read_text(encoding="utf-8")
    trained = {check.config.model for check in CHECKS}
    for name, said in (("lstm-small", "LSTM"), ("autoencoder", "autoencoder"), ("alexnet", "224")):
        assert name in models.registry.MODELS
        assert (name not in trained) == (said in page)


def test_the_live_comparisons_agree_to_the_precision_that_they_claim():
    def largest(styler, columns):
        raised = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
        cells = styler.data[columns].to_numpy().ravel()
        return max(float(c.replace(" × 10", "e").translate(raised)) for c in cells)

    ghosts = comparisons.ghost_norm_table()
    numbers = [c for c in ghosts.data.columns if c not in ("batch", "ghosts of")]
    assert len(numbers) == 5
    assert largest(ghosts, numbers) < 1e-6  # float32 beside float64
    rules = comparisons.optimizer_table()
    assert largest(rules, ["difference of the weights"]) < 1e-12  # float64 throughout


def test_without_the_library_that_it_is_compared_with_a_row_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    sgd, *others = comparisons.optimizer_table().data["difference of the weights"]
    assert sgd[0].isdigit()
    assert others == ["not compared: it is not installed"] * 2


def test_what_is_committed_is_sound():
    store = Store(Path(__file__).parents[2] / "results")
    records = store.read(*STUDY.place)
    assert STUDY.place == ("cpu", "parts-checked")
    assert records
    assert store.complaints == []
    checks = {check.config.id: check for check in CHECKS}
    nets = {(check.config.model, check.config.norm): check for check in CHECKS}
    for run, made in records.items():
        if run not in checks:
            # A first attempt, kept because it fell short: nothing that passed was replaced.
            check = nets[made.config.model, made.config.norm]
            again = Check(made.config, check.metric, check.bound)
            assert again.verdict(records) == "failed"
