"""Sweeps: work out what is missing, run it, append one record a run.

The loop is short: ask the experiment what it needs, train what the store lacks, append, ask again.
Killing it anywhere loses at most the bundles in flight. Sweeps that share a store share the work:
a lock that dies with its holder keeps a bundle to one of them.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

import filelock
import numpy as np
import torch

from sgdnoise import training
from sgdnoise.config import RunConfig
from sgdnoise.errors import FailureError, InputError, shown
from sgdnoise.experiments import FRESH_SEED, Experiment
from sgdnoise.progress import bar
from sgdnoise.provenance import code_digest
from sgdnoise.records.store import Record, Store, record_of
from sgdnoise.study.plan import missing, needed
from sgdnoise.sweeps.cost import estimate_seconds
from sgdnoise.sweeps.report import Report
from sgdnoise.training.devices import device_of, require_cuda, require_memory
from sgdnoise.training.result import bundle_key, bundles
from sgdnoise.training.state import checkpoint_of

WAIT_SECONDS = 1.0
"""How often a sweep looks whether another has finished the bundles it holds."""

MAX_MINUTES = 365 * 24 * 60
"""A year: the most that a sweep may be given."""

SCHEDULER_SECONDS = 15
"""How long a Dask scheduler may take to answer."""

WORKER_SECONDS = 20
"""How long a Dask scheduler may be without workers."""

T = TypeVar("T")


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


PARENT_SECONDS = 1.0
"""How often a worker process looks whether the sweep that it trains for still lives."""


def _train_for(parent: int, *bundle: Any) -> list[Record]:
    """`train_bundle` in a worker process of this parent, or in the parent itself."""
    if os.getpid() != parent:
        _end_with(parent)
    return train_bundle(*bundle)


@cache
def _end_with(parent: int) -> None:
    """Ends this process when its parent has died: who was killed cannot stop its workers.

    A thread looks, not the kernel: Linux would send its signal already when the thread ends that
    started the worker, and that need not be the parent's main one.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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


def read_aloud(store: Store, scale: str, experiment: str) -> dict[str, Record]:
    """The sound records of an experiment; what was refused is said on stderr, a line each."""
    records = store.read(scale, experiment)
    for complaint in store.complaints:
        print(f"refused: {complaint}", file=sys.stderr, flush=True)
    return records


def check_seeds(seeds: object) -> None:
    """Refuses a number of seeds that no grid point can have.

    Raises:
        InputError: for anything but a whole number from 1 to 999.
    """
    check_whole("seeds", seeds, FRESH_SEED - 1, "those above re-estimate what was tuned")


def check_jobs(jobs: object) -> None:
    """Refuses a number of worker processes that this machine cannot use.

    Raises:
        InputError: for anything but a whole number from 1 to four a core.
    """
    most = 4 * (os.cpu_count() or 1)
    check_whole("jobs", jobs, most, "four a core: more only wait and take memory")


def check_minutes(minutes: float) -> None:
    """Refuses a time that no training can take.

    Raises:
        InputError: for anything but more than 0 minutes and at most a year.
    """
    if not 0 < minutes <= MAX_MINUTES:
        raise InputError(
            f"minutes must be more than 0 and at most {MAX_MINUTES} (a year), got {shown(minutes)}"
        )


def check_whole(name: str, value: object, most: int, why: str) -> None:
    """Refuses anything but a whole number from 1 to `most`, and says why it ends there.

    Raises:
        InputError: one line that names the bounds.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and 1 <= value <= most):  # type: ignore[operator]
        raise InputError(
            f"{name} must be a whole number from 1 to {most} ({why}), got {shown(value)}"
        )


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
        InputError: for seeds or jobs out of bounds, a scheduler that does not answer within 20 s or
            whose workers have other training code; where runs are missing that need a GPU, for
            none, one with too little memory, too old a torch, or more than one job on it.
        FailureError: when the store cannot be written, a worker process was killed, the scheduler
            was lost, or it had no workers for 20 s.
    """
    check_seeds(seeds)
    if jobs is not None:
        check_jobs(jobs)
    store.check_writable()
    for complaint in store.repair(scale, experiment.name):
        print(f"set aside: {complaint}", file=sys.stderr, flush=True)
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
                        with suppress(OSError):  # what stays is left out: its run is recorded
                            file.unlink()
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
            with warnings.catch_warnings():
                # Of bundles in flight when a sweep is stopped: that they are lost is no news.
                warnings.filterwarnings("ignore", module=r"joblib\.parallel")
                yield from pool(
                    joblib.delayed(_train_for)(
                        os.getpid(), bundle, self.checkpoints, "cpu", self.deadline
                    )
                    for bundle in bundles
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
        self.address, self.device, self.deadline = address, device, deadline
        try:
            from distributed import Client
        except ImportError:
            raise InputError(
                "--scheduler needs the package distributed: install sgdnoise[cluster]"
            ) from None
        for name in ("distributed", "distributed.client"):  # which log tracebacks of what we say
            logging.getLogger(name).setLevel(logging.CRITICAL)
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

        self._ask(self._require_workers)
        flying: set[Any] = set()
        while True:
            threads = self._ask(self.client.nthreads).values()
            slots = max(1, len(threads) if self.device == "cuda" else sum(threads))
            for bundle in itertools.islice(bundles, max(0, slots - len(flying))):
                # Not pure: a bundle that is tried again must be trained again. Losing a worker is
                # no fault of the bundle's, however often it happens.
                task = (_train_as, code_digest(), bundle, None, self.device, self.deadline)
                flying.add(self._ask(self.client.submit, *task, pure=False, retries=2))
            if not flying:
                return
            try:
                done, flying = wait(flying, timeout=WORKER_SECONDS, return_when="FIRST_COMPLETED")
            except TimeoutError:  # a long bundle, or nobody is left to train it
                self._ask(self._require_workers)
                continue
            except CancelledError:
                raise self._lost() from None
            for future in done:
                try:
                    yield future.result()
                except CancelledError:
                    raise self._lost() from None
                except Exception as error:
                    raise FailureError(
                        f"a bundle failed on the cluster ({type(error).__name__}: "
                        f"{str(error).splitlines()[0] if str(error) else ''}): run again to go on"
                    ) from None

    def _require_workers(self) -> None:
        """Waits for a worker; all that are there must have our training code."""
        try:
            self.client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise FailureError(
                f"the Dask scheduler at {self.address} has had no worker for {WORKER_SECONDS} s: "
                f"start some with `dask worker {self.address}`"
            ) from None
        codes = self.client.run(_code, on_error="return")
        others = {worker: code for worker, code in codes.items() if code != code_digest()}
        if others:
            worker, code = next(iter(others.items()))
            what = f"training code {code}" if isinstance(code, str) else "no such package"
            raise InputError(
                f"{len(others)} of {len(codes)} Dask workers would train otherwise: {worker} has "
                f"{what}, this machine {code_digest()}; install the same sgdnoise there"
            )

    def _ask(self, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        try:
            return call(*arguments, **options)
        except InputError:  # which is a ValueError
            raise
        # A client whose scheduler is gone is closed, and each call fails in a way of its own.
        except (OSError, ValueError, CancelledError):
            raise self._lost() from None

    def _lost(self) -> FailureError:
        return FailureError(
            f"the Dask scheduler at {self.address} was lost: what was finished is kept; "
            "start it again and run the same command to go on"
        )


def _code() -> str:
    """The digest of the training code of the process that runs this."""
    return code_digest()


def _train_as(code: str, *bundle: Any) -> list[Record]:
    """`train_bundle` on a worker, which may have joined after all were asked for their code."""
    if _code() != code:
        raise InputError(f"a Dask worker has training code {_code()}, the sweep's is {code}")
    return train_bundle(*bundle)
