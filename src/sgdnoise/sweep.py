"""Sweeps: work out what is missing, run it, append one record a run.

The loop is short: ask the experiment what it needs, train what the store lacks, append, ask again.
Killing it anywhere loses at most the bundles in flight. Sweeps that share a store share the work:
a lock that dies with its holder keeps a bundle to one of them.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from scipy.optimize import nnls

from sgdnoise import data, training
from sgdnoise.config import RunConfig
from sgdnoise.errors import FailureError, InputError
from sgdnoise.experiments import Experiment, Outcome
from sgdnoise.progress import bar
from sgdnoise.records import Record, Store, record_of
from sgdnoise.training.devices import device_of, require_cuda, require_memory
from sgdnoise.training.result import bundle_key, bundles
from sgdnoise.training.state import checkpoint_of

WAIT_SECONDS = 1.0
"""How often a sweep looks whether another has finished the bundles it holds."""


SCHEDULER_SECONDS = 15
"""How long a Dask scheduler may take to answer."""


@dataclass
class Report:
    """What a sweep did, in runs; `left` are those that its deadline left to do."""

    found: int = 0
    trained: int = 0
    failed: int = 0
    diverged: int = 0
    left: int = 0

    def __str__(self) -> str:
        return f"{self.found} found, {self.trained} trained, {self.failed} failed"


def outcomes(records: Mapping[str, Record], objectives: Iterable[str]) -> dict[str, Outcome]:
    """Final numbers by run, NaN for a run that diverged; failed runs are left out, as missing."""
    wanted = tuple(objectives)
    return {
        run: {name: _number(record.metrics.get(name)) for name in wanted}
        for run, record in records.items()
        if record.status != "failed"
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


OBJECTIVES = ("test_accuracy", "train_loss")


def needed(
    experiment: Experiment, scale: str, seeds: int, records: Mapping[str, Record]
) -> list[RunConfig]:
    """All runs that the experiment needs as things stand, each once, in a fixed order."""
    known = outcomes(records, OBJECTIVES)
    unique: dict[str, RunConfig] = {}
    for state in experiment.states(scale, seeds, known):
        for config in state.needed:
            unique.setdefault(config.id, config)
    return list(unique.values())


def missing(
    experiment: Experiment, scale: str, seeds: int, records: Mapping[str, Record]
) -> list[RunConfig]:
    """The runs of `needed` that no sound record stands for."""
    return [
        config
        for config in needed(experiment, scale, seeds, records)
        if config.id not in records or records[config.id].status == "failed"
    ]


def estimate_seconds(configs: Iterable[RunConfig], records: Mapping[str, Record]) -> np.ndarray:
    """Estimated core-seconds of each run, from what recorded runs of the same model took.

    Seconds are fitted as a · updates + b · examples with a, b ≥ 0. Where nothing of the kind has
    been recorded, the estimate is NaN.
    """
    known: dict[str, tuple[list[list[float]], list[float]]] = {}
    for record in records.values():
        rows, seconds = known.setdefault(record.config.model, ([], []))
        rows.append(_work(record.config))
        seconds.append(float(record.provenance.get("seconds", math.nan)))
    fits: dict[str, np.ndarray] = {}
    for model, (rows, seconds) in known.items():
        work, took = np.array(rows), np.array(seconds)
        sound = np.isfinite(took)
        if sound.any():
            fits[model] = nnls(work[sound], took[sound])[0]
    return np.array(
        [
            float(np.dot(_work(config), fits[config.model])) if config.model in fits else math.nan
            for config in configs
        ]
    )


def _work(config: RunConfig) -> list[float]:
    size = config.train_size or data.train_size(config.dataset)
    batches = config.batches(size)
    return [float(batches.total_steps), float(batches.examples)]


_GPU_IN_USE = threading.Lock()
"""A Dask worker of several threads still has one GPU."""


def train_bundle(
    configs: list[RunConfig],
    checkpoints: Path | None = None,
    device: str = "cpu",
    deadline: float | None = None,
) -> list[Record]:
    """Trains one bundle in this process, on one thread or on its GPU, and gives its records.

    Runs that the deadline, a `time.time()`, stopped have none.
    """

    def train() -> list[Record]:
        results = training.train(configs, device=device, checkpoints=checkpoints, deadline=deadline)
        return [record_of(result) for result in results]

    if device == "cpu":
        torch.set_num_threads(1)
        return train()
    require_cuda("start Dask workers where there is one")
    with _GPU_IN_USE:
        return train()


class _Claims:
    """The bundles this sweep holds against others on the same store."""

    def __init__(self, store: Store, device: str, stack: ExitStack) -> None:
        self.store, self.device = store, device
        self.held: dict[str, tuple[filelock.FileLock, int]] = {}
        stack.callback(self.release_all)

    def take(self, bundle: list[RunConfig]) -> bool:
        name = self._name(bundle)
        if name in self.held:
            lock, count = self.held[name]
            self.held[name] = (lock, count + 1)
            return True
        lock = self.store.lock(name)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            return False
        self.held[name] = (lock, 1)
        return True

    def release(self, bundle: list[RunConfig]) -> None:
        name = self._name(bundle)
        lock, count = self.held.pop(name)
        if count > 1:
            self.held[name] = (lock, count - 1)
        else:
            lock.release()

    def _name(self, bundle: list[RunConfig]) -> str:
        key = bundle_key(bundle[0], self.device)
        return "bundle-" + hashlib.sha256(key.encode()).hexdigest()[:16]

    def release_all(self) -> None:
        for lock, _ in self.held.values():
            lock.release()
        self.held.clear()


def run_sweep(
    experiment: Experiment,
    scale: str,
    seeds: int,
    store: Store,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    deadline: float | None = None,
) -> Report:
    """Trains what the store lacks of an experiment, until it lacks nothing.

    Scales `gpu` and `paper`, and whatever is in bfloat16, train on CUDA: in this process, a bundle
    after the other in the experiment's order, or on the scheduler's workers, each on its own GPU.

    Args:
        experiment: what to run.
        scale: at which scale.
        seeds: runs a grid point.
        store: read before and between bundles, appended to after each.
        jobs: worker processes on the CPU, one thread each; the machine's cores unless given.
        scheduler: address of a Dask scheduler whose workers train instead, one bundle a worker
            thread; a worker that is lost costs its bundle in flight, which another one trains.
        deadline: `time.time()` from which on nothing more is begun, and runs in flight stop with
            their checkpoints written (there are none on a cluster).

    Returns:
        How many runs were found, trained, and failed, and how many the deadline left.

    Raises:
        InputError: for fewer than one seed, or a scheduler that does not answer within 20 s; where
            runs are missing that need a GPU, for none, one with too little memory, too old a torch,
            or more than one job on it.
        FailureError: when the store cannot be written, or a worker process was killed.
    """
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, got {seeds}")
    store.check_writable()
    store.repair(scale, experiment.name)
    records = store.read(scale, experiment.name)
    first = needed(experiment, scale, seeds, records)
    found = sum(c.id in records and records[c.id].status != "failed" for c in first)
    report = Report(found=found)
    device = device_of(scale, first)
    if device == "cuda" and found < len(first):
        if jobs not in (None, 1):
            raise InputError(f"jobs must be 1 where one GPU trains, got {jobs}: leave it out")
        if scheduler is None:
            instead = _instead(experiment)
            require_cuda(instead)
            require_memory(missing(experiment, scale, seeds, records), instead)
    tried: set[str] = set()
    with ExitStack() as stack:
        train: Callable[[Iterator[list[RunConfig]]], Iterator[list[Record]]]
        checkpoints = store.root / ".checkpoints"
        if scheduler is not None:
            train = stack.enter_context(_Cluster(scheduler, device, deadline))
        elif device == "cuda":
            train = _ThisGPU(checkpoints, deadline)
        else:
            train = _Processes(jobs or os.cpu_count() or 1, checkpoints, deadline, report)
        progress = stack.enter_context(
            bar(total=0, unit="run", desc=f"{experiment.name} {scale}", delay=0.5)
        )
        claims = _Claims(store, device, stack)
        while True:
            records = store.read(scale, experiment.name)
            todo = [c for c in missing(experiment, scale, seeds, records) if c.id not in tried]
            if not todo or _past(deadline):
                report.left = len(todo)
                return report
            progress.total = progress.n + len(todo)
            progress.refresh()
            work = bundles(todo, device)
            if device == "cpu":
                costs = [-float(np.nansum(estimate_seconds(bundle, records))) for bundle in work]
                # Longest first, so that no long bundle is left for one worker alone at the end.
                work = [work[i] for i in np.argsort(costs, kind="stable")]
            mine = 0

            def claimed(work: list[list[RunConfig]] = work) -> Iterator[list[RunConfig]]:
                nonlocal mine
                for bundle in work:
                    if _past(deadline):
                        return
                    if not claims.take(bundle):
                        continue
                    mine += 1
                    # Another sweep may have trained it between our look and our claim.
                    have = store.read(scale, experiment.name)
                    if any(c.id in have and have[c.id].status != "failed" for c in bundle):
                        claims.release(bundle)
                        continue
                    yield bundle

            for results in train(claimed()):
                if not results:
                    continue  # stopped by the deadline; what was claimed is freed at the end
                store.append(scale, experiment.name, results)
                # Not before: a kill in between would lose the whole run.
                for record in results:
                    file = checkpoint_of(checkpoints, record.config)
                    if file is not None and record.status != "failed":
                        file.unlink(missing_ok=True)
                claims.release([record.config for record in results])
                tried.update(record.id for record in results)
                failed = sum(record.status == "failed" for record in results)
                report.failed += failed
                report.trained += len(results) - failed
                report.diverged += sum(record.status == "diverged" for record in results)
                progress.update(len(results))
                progress.set_postfix(failed=report.failed, diverged=report.diverged)
            if not mine and not _past(deadline):
                time.sleep(WAIT_SECONDS)  # another sweep holds all that is left


def _past(deadline: float | None) -> bool:
    return deadline is not None and time.time() >= deadline


def _instead(experiment: Experiment) -> str:
    """What to run where there is no GPU."""
    for scale in ("cpu", "digits"):
        if scale in experiment.sweeps:
            return (
                f"scale {scale} runs the same experiment on a CPU: "
                f"sgdnoise reproduce {experiment.name} --scale {scale}"
            )
    return "run it on a machine that has one"


@dataclass
class _ThisGPU:
    """Trains bundles on the GPU of this process, one after the other."""

    checkpoints: Path
    deadline: float | None

    def __call__(self, bundles: Iterator[list[RunConfig]]) -> Iterator[list[Record]]:
        for bundle in bundles:
            yield train_bundle(bundle, self.checkpoints, "cuda", self.deadline)


@dataclass
class _Processes:
    """Trains bundles in processes of this machine; what waits for a worker is unclaimed."""

    workers: int
    checkpoints: Path
    deadline: float | None
    report: Report

    def __call__(self, bundles: Iterator[list[RunConfig]]) -> Iterator[list[Record]]:
        # Imported here: a machine that trains on its GPU may do without.
        import joblib
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        pool = joblib.Parallel(
            n_jobs=self.workers,
            return_as="generator_unordered",
            pre_dispatch="n_jobs",
            batch_size=1,
        )
        try:
            yield from pool(
                joblib.delayed(train_bundle)(b, self.checkpoints, "cpu", self.deadline)
                for b in bundles
            )
        except TerminatedWorkerError:
            raise FailureError(
                "a training process was killed, most often for want of memory: "
                f"{self.report.trained} runs are kept; run the same command again to go on, "
                "with fewer --jobs if it happens again"
            ) from None


class _Cluster:
    """Trains bundles on the workers of a Dask cluster, one a worker thread, or one a GPU."""

    def __init__(self, address: str, device: str, deadline: float | None) -> None:
        self.device, self.deadline = device, deadline
        try:
            from distributed import Client
        except ImportError:
            raise InputError(
                "--scheduler needs the package distributed: install sgdnoise[cluster]"
            ) from None
        try:
            self.client = Client(address, timeout=SCHEDULER_SECONDS)
        except (OSError, ValueError) as error:
            raise InputError(
                f"no Dask scheduler answers at {address} ({type(error).__name__}): "
                "start one, or leave --scheduler out to train on this machine"
            ) from None

    def __enter__(self) -> _Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def __call__(self, bundles: Iterator[list[RunConfig]]) -> Iterator[list[Record]]:
        from distributed import wait

        flying: set[Any] = set()
        while True:
            threads = self.client.nthreads().values()
            slots = max(1, len(threads) if self.device == "cuda" else sum(threads))
            for bundle in itertools.islice(bundles, max(0, slots - len(flying))):
                # Not pure: a bundle that is tried again must be trained again. Losing a worker is
                # no fault of the bundle's, however often it happens.
                task = (train_bundle, bundle, None, self.device, self.deadline)
                flying.add(self.client.submit(*task, pure=False, retries=2))
            if not flying:
                return
            done, flying = wait(flying, return_when="FIRST_COMPLETED")
            for future in done:
                try:
                    yield future.result()
                except Exception as error:
                    raise FailureError(
                        f"a bundle failed on the cluster ({type(error).__name__}: "
                        f"{str(error).splitlines()[0] if str(error) else ''}): run again to go on"
                    ) from None
