"""Where runs train: what is refused before any work, what memory is needed, what settings hold."""

from __future__ import annotations

import dataclasses
import types

import pytest
import torch
from torch import nn

from sgdnoise import cli, experiments, models
from sgdnoise.book import notebooks
from sgdnoise.config import make_config
from sgdnoise.errors import FailureError, InputError
from sgdnoise.records.made import environment, record_of
from sgdnoise.records.store import Store
from sgdnoise.study.scales import SCALES
from sgdnoise.study.study import Study
from sgdnoise.training import devices, run
from sgdnoise.training.result import Result

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")


def config(**changes):
    base = {"dataset": "cifar10", "model": "wrn-16-4", "norm": "ghost", "learning_rate": 0.1}
    return make_config(**{**base, "batch_size": 128, "epochs": 1.0, **changes})


@pytest.fixture
def gpu_scale(monkeypatch):
    """Figure 1 on the digits, called scale gpu, as if its net were one for a GPU."""
    monkeypatch.setattr(models.registry.ModelSpec, "dense", False)
    digits = experiments.EXPERIMENTS["constant-epoch"]
    on_gpu = dataclasses.replace(
        digits,
        sweeps={**digits.sweeps, "gpu": digits.sweeps["digits"]},
        seeds={**digits.seeds, "gpu": 1},
    )
    monkeypatch.setitem(experiments.EXPERIMENTS, "constant-epoch", on_gpu)
    return on_gpu


def reproduce(capsys, folder, *more):
    where = ["--results", str(folder / "r"), "--runs", str(folder / "p")]
    code = cli.main(["reproduce", "constant-epoch", *more, *where])
    return code, *capsys.readouterr()


def test_a_net_decides_where_it_trains():
    of = {scale: devices.device_of(scale, config()) for scale in SCALES}
    assert of == {"digits": "cpu", "cpu": "cpu", "gpu": "cuda", "paper": "cuda"}
    assert devices.device_of("cpu", config(precision="bfloat16")) == "cuda"
    dense = {"f1": "mnist", "f1-64": "digits", "autoencoder": "mnist", "digits-mlp": "digits"}
    for model, dataset in dense.items():
        norm = models.spec(model).norms[0]
        assert devices.device_of("paper", config(model=model, dataset=dataset, norm=norm)) == "cpu"
    for model in ("c1", "resnet44", "lstm-medium", "alexnet-cifar"):
        assert not models.spec(model).dense


@no_cuda
def test_no_gpu_is_one_line_that_names_the_cpu_path(capsys, tmp_path, gpu_scale):
    code, out, err = reproduce(capsys, tmp_path, "--scale", "gpu")
    assert code == 2
    assert out == f"there was no store {tmp_path / 'r'}: it begins empty\n"
    assert err.count("\n") == 1
    assert err.startswith("sgdnoise: no CUDA GPU here")
    assert "scale cpu runs the same experiment on a CPU" in err
    assert not list(tmp_path.rglob("*.jsonl"))


@no_cuda
def test_a_dry_run_and_a_complete_store_need_no_gpu(capsys, tmp_path, monkeypatch, gpu_scale):
    code, out, _ = reproduce(capsys, tmp_path, "--scale", "gpu", "--dry-run")
    assert code == 0
    assert "constant-epoch, gpu: 154 runs missing" in out
    store = Store(tmp_path / "r")
    study = Study.of(gpu_scale, "gpu", 1)
    while todo := study.missing(store.read(*study.place)):
        accuracy = {c.id: 90 - abs(c.effective_learning_rate - 0.1) for c in todo}
        store.append(
            "gpu",
            "constant-epoch",
            [
                record_of(Result(c, "done", {"test_accuracy": accuracy[c.id], "train_loss": 1.0}))
                for c in todo
            ],
        )
    monkeypatch.setattr(notebooks, "render", lambda *_: "a page")
    code, out, _ = reproduce(capsys, tmp_path, "--scale", "gpu")
    assert code == 0
    assert "0 trained" in out
    assert "page: a page" in out


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_no_time_at_all_is_refused(capsys, tmp_path, minutes):
    code, _, err = reproduce(capsys, tmp_path, "--scale", "digits", "--minutes", minutes)
    assert code == 2
    assert "minutes" in err


def test_after_its_minutes_a_command_ends_well_and_says_what_is_left(capsys, tmp_path):
    code, out, err = reproduce(
        capsys, tmp_path, "--scale", "digits", "--seeds", "1", "--minutes", "1e-9"
    )
    assert code == 0
    assert out.splitlines()[-1] == "stopped after 1e-09 minutes: 154 runs left"
    assert "page:" not in out
    assert err == ""


@pytest.mark.parametrize(
    ("version", "sound"),
    [("2.4.1", False), ("1.13.0+cu117", False), ("2.5.0", True), ("2.11.0+cu130", True),
     ("3.0.0a0+git1", True)],
)  # fmt: skip
def test_an_old_torch_is_refused(version, sound):
    if sound:
        devices.require_torch(version)
        return
    with pytest.raises(InputError, match=r"too old.*install 2\.5 or later"):
        devices.require_torch(version)


def test_too_little_memory_says_how_much_is_needed(monkeypatch):
    one = config(batch_size=8192, precision="bfloat16")
    needs = devices.bytes_needed([one])
    free = [needs - (3 << 20), 2 << 20]
    fake = types.SimpleNamespace(
        mem_get_info=lambda: (free[0], 1 << 40),
        memory_reserved=lambda: free[1] + 5,
        memory_allocated=lambda: 5,
        get_device_name=lambda: "A GPU",
    )
    monkeypatch.setattr(devices.torch, "cuda", fake)
    with pytest.raises(InputError, match=rf"about {needs / 2**30:.1f} GiB.*A GPU.*; end.*or wait"):
        devices.require_memory([config(), one], "wait")
    free[1] = 4 << 20  # what the process holds and does not use
    devices.require_memory([config(), one], "wait")


def test_what_autograd_saves_is_counted():
    # A linear layer saves its input, a ReLU its output, which the next layer saves as its input.
    net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 30), nn.ReLU())
    assert devices.saved_bytes(net, (10,), examples=8) == 4 * (10 + 20 + 30)
    conv = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2))
    assert devices.saved_bytes(conv, (3, 6, 6)) == 4 * (3 * 36 + 8 * 36) + 8 * 8 * 9


def test_memory_grows_as_it_should():
    def needed(count=1, **changes):
        return devices.bytes_needed([config(**changes, seed=s) for s in range(count)])

    fixed = needed(batch_size=64)
    per_example = (needed(batch_size=128) - fixed) / 64
    # WRN-16-4 keeps some million numbers of an example.
    assert 1e6 < per_example < 1e7
    assert needed(batch_size=1024) == pytest.approx(fixed + 960 * per_example, rel=1e-6)
    # Above a micro-batch memory stays, but batch norm has to see the whole batch.
    assert needed(batch_size=8192) == needed(batch_size=1024)
    assert needed(batch_size=8192, norm="batch") > 4 * needed(batch_size=1024, norm="batch")
    assert needed(precision="bfloat16") < needed()
    assert needed(3) - needed(2) == needed(2) - needed(1) > 0
    assert devices.bytes_needed([config(dataset="ptb", model="lstm-small", norm=None)]) > 1 << 30


def test_the_largest_bundle_of_each_shape_is_what_counts():
    configs = [config(seed=s) for s in range(6)] + [config(seed=9, batch_size=1024)]
    largest = devices._largest(configs)
    assert sorted((len(b), b[0].batch_size) for b in largest) == [(1, 1024), (4, 128)]


def test_settings_hold_meanwhile_and_are_put_back():
    def now():
        cudnn = torch.backends.cudnn
        return cudnn.benchmark, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = now()
    seen = []

    def fails():
        with devices.arithmetic():
            seen.append(now())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert seen == [(True, False, False)]
    assert now() == before


def test_provenance_names_the_device_that_was_used(monkeypatch):
    result = Result(config(precision="bfloat16"), "done", {})
    assert record_of(result).provenance["device"].startswith("CPU")
    environment.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    try:
        told = record_of(dataclasses.replace(result, device="cuda")).provenance
    finally:
        environment.cache_clear()
    assert (told["device"], told["precision"], told["tf32"]) == ("NVIDIA H200", "bfloat16", "off")
    assert {"cuda", "cudnn", "torch"} <= told.keys()


def test_runs_that_fail_side_by_side_are_tried_alone(monkeypatch):
    monkeypatch.setattr(run, "_clear", lambda *_: None)
    configs = [config(seed=s, batch_size=64) for s in range(3)]
    asked = []

    def work(configs, micro_batch):
        asked.append(([c.seed for c in configs], micro_batch))
        if len(configs) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        if configs[0].seed == 1:
            raise RuntimeError("an odd kernel")
        return [Result(configs[0], "done", {})]

    got = run._guarded(work, configs, torch.device("cuda"))
    assert [r.status for r in got] == ["done", "failed", "done"]
    assert got[1].reason == "an odd kernel"
    # What is no want of memory is not tried again.
    assert asked == [([0, 1, 2], 1024), ([0], 1024), ([1], 1024), ([2], 1024)]


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 2),
        (RuntimeError("CUDA error: out of memory"), 2),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), 2),
        (RuntimeError("GET was unable to find an engine to execute this computation"), 2),
        (RuntimeError("CUDA error: operation not permitted when stream is capturing"), 1),
    ],
)
def test_want_of_memory_is_known_in_every_librarys_words(monkeypatch, error, tries):
    monkeypatch.setattr(run, "_clear", lambda *_: None)
    asked = []

    def work(configs, micro_batch):
        asked.append(micro_batch)
        raise error

    (got,) = run._guarded(work, [config(batch_size=512)], torch.device("cuda"))
    assert got.status == "failed"
    assert asked == [1024, 256][:tries]


def test_a_gpu_that_no_longer_answers_ends_the_sweep(monkeypatch):
    def dead(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", dead)
    with pytest.raises(FailureError, match=r"no longer answers.*illegal memory access"):
        run._guarded(dead, [config()], torch.device("cuda"))
