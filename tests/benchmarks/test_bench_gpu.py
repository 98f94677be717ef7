"""The pieces of the GPU bench, on a CPU at tiny size, and what its table refuses."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from benchmarks import bench_gpu, floors, run
from benchmarks.bench_gpu import Loop, Setting
from benchmarks.floors import Ceilings, Work
from benchmarks.row import Row
from sgdnoise.training import graphed

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def setting():
    torch.set_num_threads(1)
    return Setting(bench_gpu.made_up(96, 32, 8), CPU, "wrn-10-1", ghost=8)


@pytest.mark.parametrize("runs", [1, 3])
def test_the_engine_is_timed_after_its_first_chunk(setting, monkeypatch, runs):
    monkeypatch.setattr(graphed, "CHUNK_EXAMPLES", 64)
    clock = itertools.count()
    monkeypatch.setattr(bench_gpu.time, "perf_counter", lambda: float(next(clock)))
    seen = []
    real = bench_gpu.train_graphed

    def watched(configs, images, build, on_step):
        # Of all that is heard, only what comes after every run's first chunk counts.
        return real(configs, images, build, on_step=lambda n: (seen.append(n), on_step(n)))

    monkeypatch.setattr(bench_gpu, "train_graphed", watched)
    got = bench_gpu.engine_epoch(setting, 16, runs)
    assert sum(seen) == runs * 12
    done = list(itertools.accumulate(seen))
    first = next(i for i, n in enumerate(done) if n >= 4 * runs)
    steps, ticks = done[-1] - done[first], len(done) - 1 - first
    assert got == pytest.approx(ticks * (96 / 16) / steps)


def test_the_baselines_train(setting):
    for make in (bench_gpu.plain_loop, bench_gpu.tuned_loop):
        loop = Loop(make(setting, 16, workers=0), 1.0, 7)  # more than an epoch
        assert 0 < loop.epoch(setting, 16) < 60
    assert Loop(bench_gpu.compiled_loop(setting, 16, False), 1.0, 7).epoch(setting, 16) > 0
    losses = list(itertools.islice(bench_gpu.plain_loop(setting, 32, workers=0), 40))
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_a_baseline_that_fails_is_a_row_that_says_so(setting, monkeypatch, capsys):
    def breaks():
        yield 0.0
        raise OSError("no space left on /dev/shm | at all\nand more")

    loop = Loop(breaks(), 2.0, 3)
    assert math.isnan(loop.epoch(setting, 16))
    assert math.isnan(loop.epoch(setting, 16))  # and is not timed as if it were infinitely fast
    assert loop.failed == "OSError: no space left on /dev/shm / at all and more"
    # In the table: the rows of ours stand, that of the baseline is missed.
    monkeypatch.setattr(bench_gpu, "ceilings", lambda _: Ceilings(1e12, 1e11))
    monkeypatch.setattr(bench_gpu.torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(bench_gpu, "gradient_errors", lambda *_: (0.01, 0.005))
    monkeypatch.setattr(bench_gpu, "curve_gap", lambda *_: 0.5)
    monkeypatch.setattr(bench_gpu, "engine_epoch", lambda *_: 0.1)
    monkeypatch.setattr(bench_gpu, "norm_rows", lambda *_: [])
    monkeypatch.setattr(bench_gpu, "compiled_loop", lambda *_: breaks())
    for name in ("plain_loop", "tuned_loop"):
        monkeypatch.setattr(bench_gpu, name, lambda *_: itertools.repeat(0.0))
    rows = list(bench_gpu.rows_of(setting))
    assert [row.reached for row in rows[:5]] == [True] * 5
    # The error counts at one batch size, whatever it is at others.
    for reached in (True, False):
        monkeypatch.setattr(
            bench_gpu,
            "gradient_errors",
            lambda _, batch, good=reached: (
                0.01 if good == (batch == bench_gpu.GRADIENT_JUDGED_AT) else 0.03,
                0.005,
            ),
        )
        assert all(row.reached is reached for row in list(bench_gpu.rows_of(setting))[:5])
    (failed,) = [row for row in rows if "torch.compile" in row.name]
    assert not failed.reached
    assert failed.agreement.startswith("the baseline failed: OSError: no space left")
    monkeypatch.setattr(run, "_rows", lambda _: rows)
    assert run.main(["gpu"]) == 1
    assert "| nan s | nan | 1 | MISSED | the baseline failed: OSError" in capsys.readouterr().out


def test_the_examples_of_a_beginner_are_crops_of_normalised_images(setting):
    torch.manual_seed(0)
    examples = bench_gpu.PerSample(setting.images)
    whole = setting.images.train_arrays()[0][5]
    seen = set()
    for _ in range(40):
        x, y = examples[5]
        assert x.shape == (3, 8, 8)
        assert y == int(setting.images.train_labels[5])
        # A pad of one: the inner pixels are there whatever the crop.
        inside = any(
            torch.allclose(z[:, 1:-1, 1:-1], whole[:, 1 + i : 7 + i, 1 + j : 7 + j], atol=1e-5)
            for z in (x, x.flip(-1))
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        )
        assert inside
        seen.add(round(float(x.sum()), 3))
    assert len(seen) > 5


@pytest.mark.parametrize("norm", ["loop", "reshape"])
def test_other_forms_of_ghost_norm_give_its_gradient(setting, norm):
    whole = bench_gpu.gradient(bench_gpu.prepared(setting, 32, "ghost", "float32"))
    other = bench_gpu.gradient(bench_gpu.prepared(setting, 32, norm, "float32"))
    assert float((whole - other).norm() / whole.norm()) < 1e-4
    batch = bench_gpu.gradient(bench_gpu.prepared(setting, 32, "batch", "float32"))
    assert float((whole - batch).norm() / whole.norm()) > 1e-2


def test_gradients_in_half_precision_are_near_and_not_equal(setting):
    # Large, for gates of ReLUs flip and few examples are there to average it away.
    error, of_images = bench_gpu.gradient_errors(setting, 96)
    assert 1e-3 < of_images < error < 0.2
    exact, rough = (
        bench_gpu.gradient(bench_gpu.prepared(setting, 96, "ghost", precision))
        for precision in ("float32", "bfloat16")
    )
    assert error == pytest.approx(math.dist(rough, exact) / math.hypot(*exact), rel=1e-3)


def test_curves_are_compared_in_spreads_of_seeds(setting):
    gap = bench_gpu.curve_gap(setting, 16, 1.0, seeds=2)
    assert 0 < gap < 20


def test_steps_of_norms_are_timed(setting):
    times = bench_gpu.step_times(setting, 16, ("ghost", "batch"), repeats=1, calls=1)
    assert times.keys() == {"ghost", "batch"}
    assert min(times.values()) > 0


def test_how_many_runs_a_sweep_trains_at_once(setting):
    assert [bench_gpu.side_by_side(setting, b) for b in (16, 128, 256, 1024)] == [8, 4, 2, 1]


def test_the_work_of_a_net_is_counted_layer_by_layer():
    work = floors.work_of("wrn-10-1", pixels=16)
    # (in, out, kernel, pixels of the output): stem; three blocks, each with a 1 × 1 shortcut but
    # the first, whose width does not change.
    convs = [(3, 16, 9, 256), (16, 16, 9, 256), (16, 16, 9, 256)]
    convs += [(16, 32, 9, 64), (32, 32, 9, 64), (16, 32, 1, 64)]
    convs += [(32, 64, 9, 16), (64, 64, 9, 16), (32, 64, 1, 16)]
    products = sum(i * o * k * p for i, o, k, p in convs) + 64 * 10
    # Three passes, but the images themselves need no gradient.
    assert work.flops == 6 * products - 2 * 3 * 16 * 9 * 256
    inputs = [3 * 256, 16 * 256, 16 * 256, 16 * 256, 32 * 64, 16 * 256, 32 * 64, 64 * 16, 32 * 64]
    outputs = sum(o * p for _, o, _, p in convs)
    norms = 2 * 16 * 256 + (16 * 256 + 32 * 64) + (32 * 64 + 64 * 16) + 64 * 16
    blocks = 16 * 256 + 32 * 64 + 64 * 16
    assert work.traffic == 2 * (3 * (sum(inputs) + outputs) + 8 * norms + 6 * blocks)


def test_floors_are_work_over_ceilings():
    least = floors.floors(Work(flops=3e9, traffic=2e7), Ceilings(6e14, 4e12), examples=50_000)
    assert least == pytest.approx((0.25, 0.25))
    can = floors.ceilings(CPU, side=64, copied=1 << 16)
    assert can.flops > 0
    assert can.traffic > 0
    assert "0.250 s" in bench_gpu.describe(can, least)


def test_the_gpus_rows_come_only_when_asked_for(capsys):
    assert "bench_gpu" not in run.chosen([])
    assert {"bench_ghost_norm", "bench_nqm", "bench_training"} <= set(run.chosen([]))
    assert run.chosen(["gpu"]) == ["bench_gpu"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_the_bench_says_so_in_one_line(capsys):
    assert run.main(["gpu"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bench: no CUDA GPU here")
    assert err.count("\n") == 1


def test_a_row_that_is_fast_and_wrong_is_missed(monkeypatch, capsys):
    rows = [Row("a", 1.0, 3.0, 2.0, "equal"), Row("b", 1.0, 3.0, 2.0, "apart", agrees=False)]
    monkeypatch.setattr(run, "_rows", lambda _: rows)
    assert run.main(["gpu"]) == 1
    head, _, first, second = capsys.readouterr().out.splitlines()
    assert head.startswith("| what")
    assert "| ok |" in first
    assert "| MISSED |" in second
