"""The loop of CUDA graphs against the plain loop: on a CPU, where nothing is captured, bit by bit.

What only a GPU can show (captures, streams, bfloat16 kernels) stands at the end and is skipped
where there is none.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import subprocess
import sys
from pathlib import Path

import made_up
import pytest
import torch

from sgdnoise.config import make_config
from sgdnoise.training import bundles, graphed, state
from sgdnoise.training.devices import arithmetic
from sgdnoise.training.graphed import add_up, train_graphed
from sgdnoise.training.result import bundle_key, why_not_graphed
from sgdnoise.training.run import build_model
from sgdnoise.training.single import train_single

ROOT = Path(__file__).parents[2]

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images():
    return made_up.tinted(pixels=8, train=200)


def config(**changes):
    base = {**made_up.WIDE_RESNET, "ghost_batch_size": 8, "epochs": 4.0}
    return make_config(**{**base, **changes})


def plain(one, images, **options):
    return train_single(one, images, build_model(one, images), **options)


def replayed(configs, images, **options):
    return train_graphed(configs, images, lambda c: build_model(c, images), **options)


def assert_equal(got, want):
    assert dataclasses.replace(got, seconds=0.0) == dataclasses.replace(want, seconds=0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"epochs": None, "steps": 13, "batch_size": 60},  # a ghost of 4 at the end
        {"norm": "batch", "momentum": 0.0, "weight_decay": 0.0, "augment": "none"},
        {"norm": "none", "learning_rate": 0.01},  # dropout 0.6
        {"sampling": "independent", "schedule": "cosine", "warmup_steps": 5},
        {"clip_norm": 0.5},
        {"clip_norm": 0.5, "clip_steps": 9},
        {"optimizer": "lars", "trust_coefficient": 0.02, "learning_rate": 1.0},
        {"optimizer": "larc"},
        {"optimizer": "mclr", "learning_rate": 0.5},
        {"optimizer": "percent-delta", "momentum": 0.0},
        {"augment": "h17", "precision": "bfloat16"},
        {"model": "f1", "norm": "ghost"},
        {"model": "autoencoder", "norm": None, "augment": "none", "learning_rate": 1e-3},
        {"gradient_noise": 0.5},
        # Stretches of 32, 64 and 8 examples, in chunks that the ends of two cut short.
        {"phases": ((0.5, 2, 1.5), (2, 0.25, 0.5)), "clip_norm": 0.5, "clip_steps": 9},
        {"phases": ((1, 2, 1),), "gradient_noise": 0.5, "norm": "none", "learning_rate": 0.01},
        {"phases": ((0, 0.5, 1), (2, 1, 1)), "sampling": "independent", "momentum_reset": True},
    ],
    ids=lambda changes: ", ".join(map(str, changes.values())) or "ghost",
)
def test_equals_the_plain_loop(images, monkeypatch, changes):
    one = config(**changes)
    monkeypatch.setattr(graphed, "CHUNK_EXAMPLES", 5 * one.batch_size)  # and a shorter last chunk
    monkeypatch.setattr(state, "EVALUATION_SHARE", 2.0)
    want = plain(one, images)
    (got,) = replayed([one], images)
    assert want.status == "done"
    assert len(want.curves["test_step"]) == 8
    assert_equal(got, want)


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({"batch_size": 64}, [24, 24, 16]),
        ({"batch_size": 60, "norm": "ghost"}, [24, 24, 12]),
        ({"batch_size": 50}, [24, 26]),  # two examples more for the last ghost
        ({"batch_size": 60, "norm": "batch"}, [60]),
        ({"batch_size": 60, "norm": "none"}, [28, 28, 4]),  # and dropout goes on over the parts
        ({"batch_size": 64, "gradient_noise": 0.5}, [24, 24, 16]),
        ({"batch_size": 64, "phases": ((1, 0.5, 1),)}, [24, 24, 16]),
    ],
)
def test_micro_batches_of_whole_ghosts_equal_the_plain_loop(images, changes, sizes):
    one = config(**changes, epochs=2.0)
    (run,) = runs_of([one], images, micro_batch=28)
    assert run.sizes == sizes
    assert_equal(replayed([one], images, micro_batch=28)[0], plain(one, images, micro_batch=28))


def runs_of(configs, images, micro_batch=1024):
    """The runs as the loop sets them up, before any step."""
    with graphed.ThreadPoolExecutor(1) as thread:
        return [
            graphed.GraphedRun(
                state.RunState.open(c, images, build_model(c, images), None), micro_batch, thread
            )
            for c in configs
        ]


def test_warming_up_leaves_no_trace(images):
    one = config()
    (run,) = runs_of([one], images)
    fresh = build_model(one, images).state_dict()
    assert fresh.keys() == run.state.model.state_dict().keys()
    for name, value in run.state.model.state_dict().items():
        assert torch.equal(value, fresh[name]), name
    moments = [v["momentum_buffer"] for v in run.state.optimizer.state.values()]
    assert len(moments) == len(run.params)
    assert all((t == 0).all() for t in [*moments, *(p.grad for p in run.params)])


def test_runs_side_by_side_are_those_alone(images, monkeypatch):
    monkeypatch.setattr(graphed, "CHUNK_EXAMPLES", 160)
    configs = [
        config(seed=3, norm="none"),  # dropout: the order of runs must not matter
        config(seed=4, norm="none", learning_rate=1e8),  # leaves the others early
        config(seed=5, norm="none", momentum=0.0, decay_factor=3.0),
    ]
    want = [plain(one, images) for one in configs]
    assert [w.status for w in want] == ["done", "diverged", "done"]
    done = []
    got = replayed(configs, images, on_step=done.append)
    for g, w in zip(got, want, strict=True):
        assert_equal(g, w)
    assert sum(done) == 2 * 25 + want[1].metrics["diverged_at"] - 1
    assert all(0 < g.seconds < 60 for g in got)


def test_what_is_bundled():
    def sizes(device, **changes):
        return [
            len(b) for b in bundles((config(seed=s, **changes) for s in range(10)), device=device)
        ]

    assert sizes("cpu") == [1] * 10
    assert sizes("cuda") == sizes("cuda", batch_size=64) == [8, 2]
    assert sizes("cuda", batch_size=128) == [4, 4, 2]
    assert sizes("cuda", batch_size=64, phases=((1, 2, 1),)) == [4, 4, 2]
    assert sizes("cuda", batch_size=512) == sizes("cuda", batch_size=8192) == [1] * 10
    # What the plain loop trains, it trains alone.
    assert sizes("cuda", optimizer="cblr") == [1] * 10
    small = {"model": "digits-mlp", "norm": None, "augment": "none", "steps": 9, "epochs": None}
    stacks = [config(dataset="digits", seed=s, **small) for s in range(10)]
    assert bundles(stacks, device="cuda") == bundles(stacks) == [stacks]
    one, other = config(), config(batch_size=16)
    assert bundle_key(one, "cuda") != bundle_key(other, "cuda")
    assert bundle_key(one, "cuda") == bundle_key(config(seed=1, learning_rate=1.0), "cuda")


def test_what_graphs_do_not_serve_says_why():
    for changes, why in [
        ({"discard_fraction": 0.5}, "discard_fraction"),
        ({"optimizer": "cblr"}, "differentiates twice"),
        ({"optimizer": "lamb"}, "lamb"),
        ({"dataset": "ptb"}, "recurrent"),
    ]:
        assert why in (why_not_graphed(config(**changes)) or "")
    assert why_not_graphed(config(norm="none", clip_norm=1.0, clip_steps=3)) is None


@pytest.mark.parametrize("stretch", [25, 10, 7])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("first", ["plain", "replayed"])
def test_either_loop_goes_on_from_the_others_checkpoint(
    images, tmp_path, monkeypatch, first, momentum, stretch
):
    phases = ((stretch * 32 / 200, 1, 0.5),) if stretch < 25 else ()
    one = config(momentum=momentum, norm="none", phases=phases)
    monkeypatch.setattr(graphed, "CHUNK_EXAMPLES", 5 * one.batch_size)
    monkeypatch.setattr(state, "CHECKPOINT_SECONDS", 0.0)
    want = plain(one, images)

    class Killed(Exception):
        pass

    def kill_at_12(done, count=[0]):  # noqa: B006  counts over the calls of this one test
        count[0] += done
        if count[0] >= 12:
            raise Killed

    path = tmp_path / f"{one.id}.pt"
    if first == "plain":
        with pytest.raises(Killed):
            plain(one, images, checkpoint=path, on_step=kill_at_12)
        steps = []
        (got,) = replayed([one], images, checkpoints=tmp_path, on_step=steps.append)
        assert sum(steps) == 25 - 11
    else:
        with pytest.raises(Killed):
            replayed([one], images, checkpoints=tmp_path, on_step=kill_at_12)
        steps = []
        got = plain(one, images, checkpoint=path, on_step=steps.append)
        # Chunks of five steps were saved up to there, or one of five and one of two.
        assert sum(steps) == 25 - min(stretch, 10)
    assert_equal(got, want)
    assert path.exists()


@pytest.mark.parametrize("clip", [None, 0.5])
def test_the_fused_update_of_a_gpu_does_the_same(images, tmp_path, monkeypatch, clip):
    # A CPU has that kernel too, if in another order of additions.
    one = config(clip_norm=clip)
    opened = functools.partial(state.RunState.open, fused=True)
    monkeypatch.setattr(graphed, "CHUNK_EXAMPLES", 5 * one.batch_size)
    want = plain(one, images)
    monkeypatch.setattr(
        graphed.RunState,
        "open",
        lambda *args, fused: opened(*args),  # the loop asks for none here
    )
    (got,) = replayed([one], images)
    for name, value in want.metrics.items():
        assert got.metrics[name] == pytest.approx(value, rel=1e-2), name
    assert got.curves["stride_norm"] == pytest.approx(want.curves["stride_norm"], rel=1e-2)


@pytest.mark.parametrize("fused", [True, False])
def test_how_a_step_is_computed_is_not_in_the_checkpoint(images, tmp_path, fused):
    one, path = config(), tmp_path / "run.pt"

    def opened(fused):
        return state.RunState.open(one, images, build_model(one, images), path, 0.0, fused)

    first = opened(fused)
    first.optimizer.param_groups[0]["lr"] = torch.tensor(7.0)
    with pytest.raises(state.Stopped):
        first.pause()
    (group,) = opened(not fused).optimizer.param_groups
    assert bool(group["fused"]) is not fused
    assert group["lr"] == one.learning_rate


@pytest.mark.parametrize("loop", ["plain", "replayed"])
def test_a_deadline_stops_with_a_checkpoint_and_later_calls_finish(
    images, tmp_path, monkeypatch, loop
):
    one = config()
    monkeypatch.setattr(graphed, "CHUNK_EXAMPLES", 7 * one.batch_size)
    path = tmp_path / f"{one.id}.pt"
    want, calls = plain(one, images), 0
    while True:
        if loop == "replayed":
            (got,) = replayed([one], images, checkpoints=tmp_path, deadline=0.0)
        else:
            try:
                got = plain(one, images, checkpoint=path, deadline=0.0)
            except state.Stopped:
                got = None
        if got is not None:
            break
        calls += 1
        assert calls < 25, "each call starts anew"
        assert path.exists()
    # A step a call, or a chunk; what is finished is not stopped.
    assert calls == (24 if loop == "plain" else 3)
    assert_equal(got, want)
    assert path.exists()


@pytest.mark.parametrize("learning_rate", [1e4, 1e8, 1e25])
def test_divergence_is_at_the_plain_loops_step(images, monkeypatch, learning_rate):
    monkeypatch.setattr(graphed, "CHUNK_EXAMPLES", 320)
    one = config(norm="none", learning_rate=learning_rate, momentum=0.0)
    (got,) = replayed([one], images)
    want = plain(one, images)
    assert want.status == "diverged"
    assert_equal(got, want)


def test_a_chunk_is_bounded(images, monkeypatch):
    one = config(epochs=40.0)
    (run,) = runs_of([one], images)
    assert len(run.batches.inputs) == 250 * 32  # the whole of it
    monkeypatch.setattr(graphed, "CHUNK_BYTES", 100 * 8 * 8 * 3 * 4)
    (run,) = runs_of([one], images)
    assert len(run.batches.inputs) == 96
    (run,) = runs_of([one.replace(precision="bfloat16")], images)
    assert len(run.batches.inputs) == 192
    assert run.batches.inputs.dtype == torch.bfloat16
    (run,) = runs_of([one.replace(batch_size=150)], images)
    assert len(run.batches.inputs) == 150  # one batch at least


def test_adding_up_tensors_laid_out_otherwise():
    a = [torch.zeros(4, 3, 2, 2), torch.zeros(5)]
    b = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last), torch.randn(5)
    add_up(a, b)
    add_up(a, b)
    assert all(torch.equal(x, 2 * y) for x, y in zip(a, b, strict=True))


LENT = """
import sys
# What a machine that is lent for its GPU may lack.
for name in ("anywidget", "distributed", "ipywidgets", "joblib", "nbformat", "numba", "papermill",
             "playwright", "plotly", "sklearn", "torchvision"):
    sys.modules[name] = None
"""


def test_a_gpu_needs_nothing_that_makes_the_book(tmp_path):
    (tmp_path / "lent.py").write_text(
        LENT + "import sgdnoise.cli, sgdnoise.reproduce, sgdnoise.training.run\n"
        "import benchmarks.bench_gpu\n"
    )
    # The very collection of `pytest -m gpu`: one file that cannot be imported would end it.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "lent", "-m", "gpu", "--collect-only"],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}:{ROOT}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # whatever plugins are here, none may be there
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("test_captured_steps", "test_devices_give_the_same_bits", "TestOnAGpu"):
        assert name in done.stdout
    assert "test_equals_the_plain_loop" not in done.stdout


def gpu_run(one, images, engine, **options):
    images = images.to("cuda")
    with arithmetic():  # as runs are trained: float32 is float32, and cuDNN tries its kernels
        if engine == "plain":
            return train_single(one, images, build_model(one, images), **options)
        return train_graphed([one], images, lambda c: build_model(c, images), **options)[0]


def assert_near(got, want):
    """Equal but for rounding, which may carry an example or two over to another class."""
    for name, value in want.metrics.items():
        if not name.endswith("accuracy"):
            assert got.metrics[name] == pytest.approx(value, rel=2e-3), name
            continue
        examples = {"train_accuracy": 200, "test_accuracy": 96}[name]
        assert abs(got.metrics[name] - value) <= 2.1 * 100 / examples, name
    assert got.curves["train_loss"] == pytest.approx(want.curves["train_loss"], rel=2e-3)


@cuda
@pytest.mark.gpu
@pytest.mark.parametrize(
    "changes",
    [{}, {"norm": "none"}, {"batch_size": 60, "clip_norm": 0.5}, {"optimizer": "lars"},
     {"optimizer": "mclr"}, {"gradient_noise": 0.5}, {"phases": ((0.32, 2, 0.5),)}],
)  # fmt: skip
def test_captured_steps_are_those_of_the_plain_loop(images, changes):
    one = config(**changes, epochs=None, steps=4)
    want = gpu_run(one, images, "plain", micro_batch=28)
    got = gpu_run(one, images, "graphs", micro_batch=28)
    # The same dropout too: a graph draws from the run's own generator, seeded alike.
    assert_near(got, want)


@cuda
@pytest.mark.gpu
def test_captured_runs_side_by_side_do_not_meet(images):
    configs = [config(seed=s, norm="none", epochs=None, steps=4) for s in range(8)]
    on_gpu = images.to("cuda")
    with arithmetic():
        together = train_graphed(configs, on_gpu, lambda c: build_model(c, on_gpu))
    for one, got in zip(configs, together, strict=True):
        want = gpu_run(one, images, "plain")
        assert got.metrics["train_loss"] == pytest.approx(want.metrics["train_loss"], rel=2e-3)


@cuda
@pytest.mark.gpu
def test_a_captured_run_diverges_and_resumes(images, tmp_path, monkeypatch):
    assert gpu_run(config(norm="none", learning_rate=1e8), images, "graphs").status == "diverged"
    monkeypatch.setattr(graphed, "CHUNK_EXAMPLES", 160)
    one = config()
    want, got = gpu_run(one, images, "graphs"), None
    while got is None:
        got = gpu_run(one, images, "graphs", checkpoints=tmp_path, deadline=0.0)
    assert math.isclose(got.metrics["train_loss"], want.metrics["train_loss"], rel_tol=0.05)


@cuda
@pytest.mark.gpu
def test_bfloat16_gradients_are_near_float32_ones(images):
    one = config(epochs=None, steps=1, batch_size=128)
    exact = gpu_run(one, images, "graphs").curves
    rough = gpu_run(one.replace(precision="bfloat16"), images, "graphs").curves
    assert rough["gradient_norm"][0] == pytest.approx(exact["gradient_norm"][0], rel=5e-2)
