"""Sweeps: what is missing, killed anywhere and finished, shared by two, and refused early."""

from __future__ import annotations

import gc
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types

import pytest
import torch
from stores import differences

from sgdnoise import cli, experiments
from sgdnoise.errors import FailureError, InputError
from sgdnoise.records.made import record_of
from sgdnoise.records.store import Store
from sgdnoise.study.grid import FRESH_SEED, Axis, Sweep, advance
from sgdnoise.study.study import Experiment, Study
from sgdnoise.sweeps import cost, place, workers
from sgdnoise.sweeps import run as sweep
from sgdnoise.training import run, state, train
from sgdnoise.training.checkpoints import read_checkpoint
from sgdnoise.training.result import Result

FIXED = {"dataset": "digits", "model": "digits-mlp", "steps": 30, "weight_decay": 5e-4}


def one_sweep(batch_size=16, low=-3, high=-1, **fixed):
    fields = {**FIXED, "batch_size": batch_size, **fixed}
    return Sweep(
        key=(("batch_size", batch_size),),
        fixed=tuple(fields.items()),
        axes=(Axis("effective_learning_rate", low, high),),
    )


def outcomes_of(state, accuracy):
    """Made-up outcomes for all that a state needs: accuracy(log₂ effective learning rate)."""
    return {
        c.id: {"test_accuracy": accuracy(math.log2(c.effective_learning_rate))}
        for c in state.needed
    }


def test_a_sweep_asks_for_its_grid_then_grows_then_asks_for_fresh_seeds():
    one = one_sweep()

    def rising_to_1(exponent):
        return 90 - (exponent - 1) ** 2

    known, grids = {}, []
    for _ in range(10):
        state = advance(one, 2, known)
        grids.append(state.grid[0])
        known |= outcomes_of(state, rising_to_1)
        if state.settled:
            break
    # The optimum at 1 lies two steps beyond the grid: a third step shows that it is inside.
    assert grids == [(-3, -1), (-3, 0), (-3, 1), (-3, 2), (-3, 2), (-3, 2)]
    assert state.tuned["test_accuracy"].point == (1,)
    assert state.tuned["test_accuracy"].bound == (0,)
    fresh = [c for c in state.needed if c.seed >= FRESH_SEED]
    assert [c.seed for c in fresh] == [FRESH_SEED, FRESH_SEED + 1]
    assert {c.effective_learning_rate for c in fresh} == {2.0}


def test_an_optimum_beyond_three_steps_is_a_bound():
    one, known = one_sweep(), {}
    for _ in range(10):
        state = advance(one, 2, known)
        known |= outcomes_of(state, lambda exponent: exponent)
    assert state.grid == ((-3, 2),)
    assert state.tuned["test_accuracy"].bound == (1,)


def test_momentum_runs_on_the_effective_learning_rate_and_final_rate_on_the_decay():
    config = one_sweep(momentum=0.9).config((-2,), 0)
    assert config.learning_rate == pytest.approx(0.025)
    two = Sweep(
        key=(),
        fixed=tuple({**FIXED, "batch_size": 8}.items()),
        axes=(Axis("effective_learning_rate", 0, 2), Axis("final_learning_rate", -9, -5)),
    )
    config = two.config((1, -7), 0)
    assert config.decay_factor**10 == pytest.approx(2.0**8)


def experiment(sweeps=None):
    return Experiment(
        name="tiny",
        sweeps={"digits": lambda: sweeps or [one_sweep(b) for b in (16, 32)]},
        seeds={"digits": 2},
    )


def tiny(seeds=2, sweeps=None):
    """A study of two sweeps that grow by a step, or of these."""
    return Study.of(experiment(sweeps), "digits", seeds)


def fake_train(configs, *_):
    def accuracy(config):
        return 90 - abs(math.log2(config.learning_rate) + 2)

    return [
        record_of(Result(c, "done", {"test_accuracy": accuracy(c), "train_loss": 1.0}))
        for c in configs
    ]


def test_a_second_run_finds_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "train_bundle", fake_train)
    store = Store(tmp_path)
    first = sweep.run_sweep(tiny(2), store, jobs=1)
    assert str(first) == f"0 found, {first.trained} trained, 0 failed"
    assert first.trained == 2 * (3 + 1) * 2
    second = sweep.run_sweep(tiny(2), store, jobs=1)
    assert str(second) == f"{first.trained} found, 0 trained, 0 failed"
    # One more seed: only it is trained, at every point and at the optimum.
    third = sweep.run_sweep(tiny(3), store, jobs=1)
    assert third.trained == first.trained // 2


def test_a_damaged_record_is_named_set_aside_and_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "train_bundle", fake_train)
    store, whole = Store(tmp_path), Store(tmp_path / "whole")
    for each in (store, whole):
        sweep.run_sweep(tiny(2), each, jobs=1)
    path = store.path("digits", "tiny")
    lines = path.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace("90", "99").replace("89", "99")
    path.write_text("".join(lines))
    report = sweep.run_sweep(tiny(2), store, jobs=1)
    assert report.trained == 1
    assert list(differences(store, whole, "digits", "tiny")) == []


def test_failed_runs_are_counted_tried_once_and_again_next_time(tmp_path, monkeypatch):
    calls = []

    def failing(configs, *_):
        calls.append(len(configs))
        return [record_of(Result(c, "failed", {}, reason="out of memory")) for c in configs]

    monkeypatch.setattr(workers, "train_bundle", failing)
    report = sweep.run_sweep(tiny(2), Store(tmp_path), jobs=1)
    assert report.trained == 0
    assert report.failed == 12
    assert sum(calls) == 12
    monkeypatch.setattr(workers, "train_bundle", fake_train)
    report = sweep.run_sweep(tiny(2), Store(tmp_path), jobs=1)
    assert report.found == 0
    assert report.trained == 16


def test_estimates_come_from_records_of_the_same_model():
    config = one_sweep().config((-2,), 0)
    known = {}
    for steps, batch in [(100, 1), (200, 1), (100, 64), (400, 32)]:
        run = config.replace(steps=steps, batch_size=batch)
        record = record_of(Result(run, "done", {}, seconds=2e-5 * steps + 1e-6 * steps * batch))
        known[run.id] = record
    got = cost.estimate_seconds([config.replace(steps=1000, batch_size=16)], known)
    assert got[0] == pytest.approx(0.02 + 0.016, rel=0.05)
    assert math.isnan(cost.estimate_seconds([config.replace(model="f1")], known)[0])


class Ticks:
    """A clock that moves on by one whenever it is looked at."""

    now = 0.0
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)

    def time(self):
        self.now += 1
        return self.now


def on_a_gpu_that_is_this_cpu(monkeypatch):
    """Sweeps take the path of a GPU, in this process, and train on the CPU."""
    monkeypatch.setattr(place, "device_of", lambda *_: "cuda")
    for module in (sweep, workers):
        monkeypatch.setattr(module, "require_cuda", lambda *_: None)
    monkeypatch.setattr(sweep, "require_memory", lambda *_: None)
    monkeypatch.setattr(
        workers.training, "train", lambda c, device, **options: train(c, device="cpu", **options)
    )


def untuned(seeds, **fields):
    """Runs of these seeds, of a recipe that is run as it is: no grid grows."""
    recipe = {**FIXED, "learning_rate": 2**-4, **fields}
    return tiny(seeds, [Sweep(key=(), fixed=tuple(recipe.items()), axes=())])


def listed(seeds):
    """Runs that share no GPU, their batches being large."""
    return untuned(seeds, model="f1", norm="none", batch_size=512, steps=6)


def two_kinds():
    """Two seeds on the CPU, and two in bfloat16, which no CPU trains."""
    recipes = [
        {**FIXED, "batch_size": 16, "learning_rate": 2**-4, "precision": p}
        for p in ("float32", "bfloat16")
    ]
    return tiny(
        2, [Sweep(key=tuple(one.items()), fixed=tuple(one.items()), axes=()) for one in recipes]
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_what_needs_one_is_left_and_the_rest_trained(tmp_path, capsys, monkeypatch):
    store = Store(tmp_path)
    report = sweep.run_sweep(two_kinds(), store)
    assert (report.trained, report.left, report.need_gpu) == (2, 0, 2)
    assert {r.config.precision for r in store.read("digits", "tiny").values()} == {"float32"}
    with pytest.raises(InputError, match="no CUDA GPU here"):
        sweep.run_sweep(two_kinds(), store)

    monkeypatch.setitem(experiments.EXPERIMENTS, "tiny", two_kinds().experiment)
    for jobs in ([], ["--jobs", "2"]):
        folder = str(tmp_path / f"cli{len(jobs)}")
        asked = ["reproduce", "tiny", "--scale", "digits", "--seeds", "2", "--no-render"]
        assert cli.main([*asked, "--results", folder, *jobs]) == 1
        out, err = capsys.readouterr()
        assert out.splitlines()[1:] == ["tiny, digits: 0 found, 2 trained, 0 failed"]
        assert err.splitlines()[-1].startswith("sgdnoise: 2 runs were left, for they train on a")


def test_a_gpus_runs_come_first_and_the_others_train_beside_them(tmp_path, monkeypatch):
    on_a_gpu_that_is_this_cpu(monkeypatch)
    half = {"float32": "cpu", "bfloat16": "cuda"}
    monkeypatch.setattr(place, "device_of", lambda _, config: half[config.precision])
    trained = []
    for device, kind in (("cuda", "ThisGPU"), ("cpu", "Processes")):

        def trains(bundles, device=device):
            for bundle in bundles:
                trained.append(device)
                yield fake_train(bundle)

        monkeypatch.setattr(sweep, kind, lambda *_, trains=trains: trains)
    report = sweep.run_sweep(two_kinds(), Store(tmp_path))
    assert (report.trained, report.left, report.need_gpu) == (4, 0, 0)
    assert trained == sorted(trained, reverse=True)
    assert set(trained) == {"cuda", "cpu"}


def test_a_gpu_that_is_asked_for_trains_what_the_scale_leaves_to_the_cpu(tmp_path, monkeypatch):
    trained = []
    for device, kind in (("cuda", "ThisGPU"), ("cpu", "Processes")):

        def trains(bundles, device=device):
            for bundle in bundles:
                trained.extend((device, config.model) for config in bundle)
                yield fake_train(bundle)

        monkeypatch.setattr(sweep, kind, lambda *_, trains=trains: trains)
    study = tiny(1, [*listed(1).experiment.sweeps["digits"](), one_sweep(low=-2, high=-2)])
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"no CUDA GPU here: .*; leave out --gpu"):
            sweep.run_sweep(listed(1), Store(tmp_path), gpu=True)
    monkeypatch.setattr(sweep, "require_cuda", lambda *_: None)
    monkeypatch.setattr(sweep, "require_memory", lambda *_: None)
    sweep.run_sweep(study, Store(tmp_path), gpu=True)
    # Stacked runs are faster on a core: they stay there.
    assert set(trained) == {("cuda", "f1"), ("cpu", "digits-mlp")}
    trained.clear()
    sweep.run_sweep(study, Store(tmp_path / "without"))
    assert {device for device, _ in trained} == {"cpu"}


def test_a_kill_between_a_runs_end_and_its_record_leaves_its_checkpoint(tmp_path, monkeypatch):
    on_a_gpu_that_is_this_cpu(monkeypatch)
    monkeypatch.setattr(state, "CHECKPOINT_SECONDS", 0)
    store = Store(tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep.run_sweep(listed(2), store)
    assert len(list(tmp_path.glob(".checkpoints/*.pt"))) == 1
    assert sweep.run_sweep(listed(2), store).trained == 2
    assert not list(tmp_path.glob(".checkpoints/*.pt"))


def test_a_deadline_stops_a_run_and_the_next_sweep_finishes_it(tmp_path, monkeypatch):
    on_a_gpu_that_is_this_cpu(monkeypatch)
    whole, stopped = Store(tmp_path / "whole"), Store(tmp_path / "stopped")
    assert sweep.run_sweep(listed(2), whole).trained == 2
    ticks = Ticks()
    monkeypatch.setattr(sweep, "time", ticks)
    monkeypatch.setattr(state, "time", ticks)
    first = sweep.run_sweep(listed(2), stopped, deadline=6.0)
    assert (first.trained, first.left) == (0, 2)
    files = list(tmp_path.glob("stopped/.checkpoints/*.pt"))
    assert len(files) == 1
    assert 0 < read_checkpoint(files[0])["progress"]["step"] < 6
    second = sweep.run_sweep(listed(2), stopped, deadline=ticks.now + 1e6)
    assert (second.found, second.trained, second.left) == (0, 2, 0)
    assert not list(tmp_path.glob("stopped/.checkpoints/*.pt"))
    assert list(differences(stopped, whole, "digits", "tiny")) == []


@pytest.mark.parametrize(("parent", "threads"), [("getpid", 1), ("getppid", 2), ("no process", 1)])
def test_only_a_worker_of_the_sweep_ends_with_it(parent, threads):
    # In a process of its own, for one that were ended by mistake would be that of the tests.
    program = textwrap.dedent(
        f"""
        import os, threading, time
        from sgdnoise.sweeps import workers
        workers.train_bundle, workers.PARENT_SECONDS = lambda *bundle: list(bundle), 0.01
        parents = {{"getpid": os.getpid(), "getppid": os.getppid(), "no process": 1 << 30}}
        parent = parents[{parent!r}]
        before = threading.active_count()
        print(workers._train_for(parent, 5), threading.active_count() - before + 1, flush=True)
        time.sleep(0.3)
        print("alive")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"[5] {threads}\nalive\n"


def test_past_the_deadline_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "train_bundle", lambda *_: pytest.fail("trained"))
    report = sweep.run_sweep(tiny(2), Store(tmp_path), jobs=1, deadline=0.0)
    assert (report.trained, report.left) == (0, 12)


def test_on_a_gpu_bundles_go_in_the_experiments_order(tmp_path, monkeypatch):
    on_a_gpu_that_is_this_cpu(monkeypatch)
    seen = []

    def fake(configs, checkpoints, device, deadline):
        seen.append((device, configs[0].batch_size))
        return fake_train(configs)

    monkeypatch.setattr(workers, "train_bundle", fake)
    monkeypatch.setattr(sweep, "estimate_seconds", lambda cs, *_: [c.batch_size for c in cs])
    sweeps = [one_sweep(b, low=-2, high=-2) for b in (8, 32, 16)]
    sweep.run_sweep(tiny(1, sweeps), Store(tmp_path))
    assert seen[:3] == [("cuda", 8), ("cuda", 32), ("cuda", 16)]


def test_one_gpu_is_one_job(tmp_path, monkeypatch):
    on_a_gpu_that_is_this_cpu(monkeypatch)
    with pytest.raises(InputError, match="jobs"):
        sweep.run_sweep(tiny(1), Store(tmp_path), jobs=2)


def test_a_run_without_memory_fails_and_the_others_go_on(tmp_path, monkeypatch):
    on_a_gpu_that_is_this_cpu(monkeypatch)
    monkeypatch.setattr(run, "_clear", lambda *_: None)
    real, asked = run._guarded, []

    def on_cuda(work, configs, device):
        def tight(configs, micro_batch):
            asked.append((configs[0].seed, micro_batch))
            if configs[0].seed == 1 or (configs[0].seed == 2 and micro_batch > 256):
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\n")
            return work(configs, micro_batch)

        return real(tight, configs, torch.device("cuda"))

    monkeypatch.setattr(run, "_guarded", on_cuda)
    store = Store(tmp_path)
    report = sweep.run_sweep(listed(3), store)
    assert report.failed == 1
    assert asked == [(0, 1024), (1, 1024), (1, 256), (2, 1024), (2, 256)]
    by_seed = {r.config.seed: r for r in store.read("digits", "tiny").values()}
    assert by_seed[1].status == "failed"
    assert by_seed[1].reason == "CUDA out of memory. Tried to allocate 2 GiB"
    assert by_seed[0].status == by_seed[2].status == "done"


def test_too_few_seeds_and_an_unwritable_store_are_refused(tmp_path):
    with pytest.raises(InputError, match="seeds"):
        tiny(0)
    (tmp_path / "file").write_text("")
    with pytest.raises(FailureError, match="--results"):
        sweep.run_sweep(tiny(1), Store(tmp_path / "file" / "store"))


def test_unknown_names_list_the_legal_ones():
    with pytest.raises(InputError, match="constant-epoch"):
        experiments.study_of("constant-epochs", "digits")
    with pytest.raises(InputError, match="digits, cpu, gpu, paper"):
        experiments.study_of("constant-epoch", "huge")
    with pytest.raises(InputError, match="tiny does not stand at scale cpu: it stands at digits"):
        Study.of(experiment(), "cpu")


PROGRAM = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from sgdnoise.records.store import Store
    from sgdnoise.sweeps import run as sweep
    from sweeps.test_run import one_sweep, tiny
    sweeps = [one_sweep(b, steps=None, epochs=8.0) for b in (4, 8, 16, 32)]
    print("started", flush=True)
    print(sweep.run_sweep(tiny(3, sweeps), Store(Path(sys.argv[1])), jobs=2))
    """
)


def start(store, **environment):
    program = PROGRAM.format(tests=os.path.dirname(os.path.dirname(__file__)))
    return subprocess.Popen(
        [sys.executable, "-c", program, str(store)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SGDNOISE_QUIET": "1", **environment},
        start_new_session=True,
    )


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def finish(process):
    out, _ = process.communicate(timeout=180)
    assert process.returncode == 0
    return out.splitlines()[-1]


def lines_of(store):
    path = Store(store).path("digits", "tiny")
    return path.read_text().count("\n") if path.exists() else 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    store = tmp_path_factory.mktemp("whole")
    finish(start(store))
    return store


def test_killed_before_the_first_record_in_a_bundle_and_in_a_write(tmp_path, uninterrupted):
    process = start(tmp_path)
    assert process.stdout.readline() == "started\n"
    kill(process)
    assert lines_of(tmp_path) == 0

    path = Store(tmp_path).path("digits", "tiny")
    kept = b""
    for _ in range(2):  # each time a bundle further
        process = start(tmp_path)
        before, deadline = lines_of(tmp_path), time.monotonic() + 120
        while lines_of(tmp_path) == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        kill(process)
        assert before < lines_of(tmp_path) < lines_of(uninterrupted)
        assert path.read_bytes().startswith(kept)
        kept = path.read_bytes()

    # In a write: what a kill between two blocks of one append leaves on the disk.
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 137])

    finish(start(tmp_path))
    assert list(differences(Store(tmp_path), Store(uninterrupted), "digits", "tiny")) == []


def test_two_sweeps_at_once_train_each_run_once(tmp_path, uninterrupted):
    a, b = start(tmp_path), start(tmp_path)
    reports = [finish(a), finish(b)]
    trained = [int(r.split(" found, ")[1].split()[0]) for r in reports]
    assert sum(trained) == lines_of(uninterrupted)
    assert lines_of(tmp_path) == lines_of(uninterrupted)
    assert list(differences(Store(tmp_path), Store(uninterrupted), "digits", "tiny")) == []


def half_made_clients():
    """Clients of Dask that never came to be, and were not closed."""
    distributed = pytest.importorskip("distributed")
    gc.disable()  # what is garbage counts too
    try:
        found = [o for o in gc.get_objects() if type(o) is distributed.Client]
        return [client for client in found if client.status != "closed"]
    finally:
        gc.enable()


def test_a_scheduler_that_does_not_answer_is_named_in_time(tmp_path, monkeypatch):
    assert workers.SCHEDULER_SECONDS == 15  # left alone, a client tries for half a minute
    monkeypatch.setattr(workers, "SCHEDULER_SECONDS", 1)
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"tcp://127\.0\.0\.1:9"):
        sweep.run_sweep(tiny(1), Store(tmp_path), scheduler="tcp://127.0.0.1:9")
    assert time.monotonic() - begin < 20
    with pytest.raises(InputError, match="no-such-scheme"):
        sweep.run_sweep(tiny(1), Store(tmp_path), scheduler="no-such-scheme://x")
    # It needs certificates, for want of which the client has a TypeError.
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tls://127\.0\.0\.1:1 "):
        sweep.run_sweep(tiny(1), Store(tmp_path), scheduler="tls://127.0.0.1:1")
    # One that is collected while another is made would wait for it for ever.
    assert half_made_clients() == []


@pytest.fixture
def scheduler(tmp_path):
    """A Dask scheduler of its own process, as `(process, address)`."""
    pytest.importorskip("distributed")
    program = textwrap.dedent(
        """
        import asyncio, distributed
        async def serve():
            async with distributed.Scheduler(
                host="127.0.0.1", port=0, dashboard_address=":0", dashboard=False
            ) as scheduler:
                print(scheduler.address, flush=True)
                await scheduler.finished()
        asyncio.run(serve())
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


@pytest.fixture
def worker(scheduler):
    """A worker of that scheduler, with one thread."""
    distributed = pytest.importorskip("distributed")
    program = textwrap.dedent(
        """
        import asyncio, sys, distributed
        async def serve():
            async with distributed.Worker(sys.argv[1], nthreads=1, dashboard=False) as worker:
                await worker.finished()
        asyncio.run(serve())
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, scheduler[1]], stderr=subprocess.DEVNULL
    )
    with distributed.Client(scheduler[1]) as client:
        client.wait_for_workers(1, timeout=60)
    yield process
    process.kill()
    process.wait()


def on_cluster(store, address):
    sweeps = [one_sweep(4, steps=None, epochs=8.0)]
    return sweep.run_sweep(tiny(40, sweeps), Store(store), scheduler=address)


def test_a_scheduler_without_workers_is_said_in_time(tmp_path, scheduler, monkeypatch):
    assert workers.WORKER_SECONDS == 20
    monkeypatch.setattr(workers, "WORKER_SECONDS", 1)
    with pytest.raises(FailureError, match="no worker for 1 s") as caught:
        on_cluster(tmp_path, scheduler[1])
    assert "\n" not in str(caught.value)
    assert scheduler[1] in str(caught.value)


def test_a_worker_of_other_code_is_refused(tmp_path, scheduler, worker, monkeypatch):
    theirs = workers.code_digest()
    # Ours, in this process alone.
    monkeypatch.setattr(workers, "code_digest", lambda: "0123456789ab")
    with pytest.raises(InputError, match="1 of 1 Dask workers would train otherwise") as caught:
        on_cluster(tmp_path, scheduler[1])
    assert f"training code {theirs}, this machine 0123456789ab" in str(caught.value)
    # One that joins later is not asked: what it is to train with is.
    monkeypatch.setattr(workers.Cluster, "_require_workers", lambda _: None)
    with pytest.raises(FailureError, match=f"training code {theirs}"):
        on_cluster(tmp_path, scheduler[1])
    assert lines_of(tmp_path) == 0


def test_a_worker_that_is_lost_while_it_is_asked_for_its_code_is_no_other_code():
    cluster = object.__new__(workers.Cluster)
    cluster.address = "tcp://scheduler"
    there = {"a": 1, "b": 1}
    told = {"a": OSError("the connection was closed"), "b": workers.code_digest()}
    cluster.client = types.SimpleNamespace(
        wait_for_workers=lambda *_, **__: None, run=lambda *_, **__: told, nthreads=lambda: there
    )
    with pytest.raises(InputError, match=r"1 of 2 Dask workers .* a has no such package"):
        cluster._require_workers()
    del there["a"]
    cluster._require_workers()


@pytest.mark.parametrize("gone", ["scheduler", "worker"])
def test_a_lost_scheduler_and_the_loss_of_all_workers_are_said(
    tmp_path, scheduler, worker, monkeypatch, capfd, gone
):
    monkeypatch.setenv("SGDNOISE_QUIET", "1")
    monkeypatch.setattr(workers, "WORKER_SECONDS", 2)
    process, says = {
        "scheduler": (scheduler[0], "the Dask scheduler at .* was lost"),
        "worker": (worker, "no worker for 2 s"),
    }[gone]
    # Killed when bundles are on their way, however long the worker took to import what it needs.
    killer, real = threading.Timer(1.0, process.kill), workers.Cluster._require_workers

    def and_then_killed(cluster):
        real(cluster)
        if not killer.is_alive() and not killer.finished.is_set():
            killer.start()

    monkeypatch.setattr(workers.Cluster, "_require_workers", and_then_killed)
    with pytest.raises(FailureError, match=says) as caught:
        on_cluster(tmp_path, scheduler[1])
    killer.join()
    assert half_made_clients() == []
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_on_a_cluster_a_killed_worker_costs_nothing(tmp_path, uninterrupted):
    distributed = pytest.importorskip("distributed")
    sweeps = [one_sweep(b, steps=None, epochs=8.0) for b in (4, 8, 16, 32)]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:

        def kill_one_worker():
            while lines_of(tmp_path) == 0:
                time.sleep(0.05)
            os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_one_worker, daemon=True)
        killer.start()
        report = sweep.run_sweep(
            tiny(3, sweeps), Store(tmp_path), scheduler=cluster.scheduler_address
        )
        killer.join(60)
    assert report.failed == 0
    assert list(differences(Store(tmp_path), Store(uninterrupted), "digits", "tiny")) == []


def test_without_joblib_training_on_the_cpu_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(InputError, match="needs joblib, which is not installed"):
        sweep.run_sweep(tiny(1), Store(tmp_path), jobs=1)
    assert not list(tmp_path.glob("*/*.jsonl"))
