"""Sweeps: work out what is missing, run it, append one record a run.

The loop is short: ask the experiment what it needs, train what the store lacks, append, ask again.
Killing it anywhere loses at most the bundles in flight. Sweeps that share a store share the work:
a lock that dies with its holder keeps a bundle to one of them.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress

import filelock
import numpy as np

from sgdnoise import data
from sgdnoise.config import RunConfig
from sgdnoise.errors import InputError, check_whole, shown
from sgdnoise.progress import bar
from sgdnoise.records.record import Record, is_there
from sgdnoise.records.store import Store
from sgdnoise.study.study import Study
from sgdnoise.sweeps.cost import estimate_seconds
from sgdnoise.sweeps.place import Places
from sgdnoise.sweeps.report import Report
from sgdnoise.sweeps.workers import Cluster, Processes, ThisGPU
from sgdnoise.training.checkpoints import checkpoint_of
from sgdnoise.training.devices import require_cuda, require_memory
from sgdnoise.training.result import bundle_key, bundles

WAIT_SECONDS = 1.0
"""How often a sweep looks whether another has finished the bundles it holds."""

Train = Callable[[Iterator[list[RunConfig]]], Iterator[list[Record]]]

MAX_MINUTES = 365 * 24 * 60
"""A year: the most that a sweep may be given."""


class _Claims:
    """The bundles this sweep holds against others on the same store."""

    def __init__(self, store: Store, stack: ExitStack) -> None:
        self.store = store
        self.held: dict[str, tuple[filelock.FileLock, int]] = {}
        stack.callback(self.release_all)

    def take(self, bundle: list[RunConfig], device: str) -> bool:
        name = self._name(bundle, device)
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

    def release(self, bundle: list[RunConfig], device: str) -> None:
        name = self._name(bundle, device)
        lock, count = self.held.pop(name)
        if count > 1:
            self.held[name] = (lock, count - 1)
        else:
            lock.release()

    def _name(self, bundle: list[RunConfig], device: str) -> str:
        key = bundle_key(bundle[0], device)
        return "bundle-" + hashlib.sha256(key.encode()).hexdigest()[:16]

    def release_all(self) -> None:
        for lock, _ in self.held.values():
            lock.release()
        self.held.clear()


def read_aloud(store: Store, study: Study) -> dict[str, Record]:
    """The sound records of a study; what was refused is said on stderr, a line each."""
    records = store.read(*study.place)
    for complaint in store.complaints:
        print(f"refused: {complaint}", file=sys.stderr, flush=True)
    return records


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


def check_runs(configs: Iterable[RunConfig], *, fetch: bool = False) -> None:
    """Refuses runs that their training set does not allow, before any is trained.

    Args:
        configs: the runs.
        fetch: whether their data sets are verified too, and fetched if need be, as training would:
            an experiment of several could else be half trained before it meets the one it lacks.

    Raises:
        InputError: for a subset larger than its data set, a batch larger than the subset, phases
            that do not fit into the budget, or an image folder that is not there; with `fetch` for
            any data set that is neither there nor to be had.
        FailureError: with `fetch`, where the cache cannot be written.
    """
    configs = list(configs)
    told = ("dataset", "train_size", "batch_size", "phases", "epochs", "steps")
    unlike = {tuple(getattr(config, name) for name in told): config for config in configs}
    for config in unlike.values():
        there = data.train_size(config.dataset)
        size = config.train_size or there
        if size > there:
            raise InputError(
                f"a subset of {size} examples is larger than {config.dataset}, which has {there} "
                f"to train on: choose at most {there}"
            )
        config.batches(size)
    for name in sorted({config.dataset for config in configs}) if fetch else ():
        data.fetch(name)


def run_sweep(
    study: Study,
    store: Store,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    deadline: float | None = None,
    code: str | None = None,
    gpu: bool = False,
) -> Report:
    """Trains what the store lacks of a study, until it lacks nothing.

    A run that another experiment of the same scale has is not trained again: its record is shared.

    Which device trains a run, and whose records are taken, is for `Places` to say. Those on CUDA
    are trained in this process, a bundle after the other in the experiment's order, or on the
    scheduler's workers, each on its own GPU. They come before those on the CPU. Where there is no
    GPU they are left, and the others trained.

    Args:
        study: what to run.
        store: read before and between bundles, appended to after each.
        jobs: worker processes on the CPU, one thread each; the machine's cores unless given.
        scheduler: address of a Dask scheduler whose workers train instead, one bundle a worker
            thread; a worker that is lost costs its bundle in flight, which another one trains.
        deadline: `time.time()` from which on nothing more is begun, and runs in flight stop with
            their checkpoints written (there are none on a cluster).
        code: the digest of the code that has to have made what is taken; None for any.
        gpu: begin on CUDA also what a scale leaves to the CPU, but for stacked runs.

    Returns:
        How many runs were found, trained, and failed, and how many were left.

    Raises:
        InputError: for jobs out of bounds, data that are neither there nor to be had, a scheduler
            that does not answer within 20 s or whose workers have other training code; where runs
            are missing that need a GPU, for one with too little memory, or too old a torch; where
            all of them do, for none, or for more than one job on it.
        FailureError: when the store cannot be written, a worker process was killed, the scheduler
            was lost, or it had no workers for 20 s.
    """
    if jobs is not None:
        check_jobs(jobs)
    store.check_writable()
    for complaint in store.repair(*study.place):
        print(f"set aside: {complaint}", file=sys.stderr, flush=True)
    report = Report()
    while _take(study, store, code, report, gpu=gpu):
        pass
    records = store.read(*study.place)
    missing = study.missing(records)
    report.found = len(study.needed(records)) - len(missing)
    places = Places(study, records, gpu=gpu)
    on_gpu = [config for config in missing if places.of(config) == "cuda"]
    instead = "leave out --gpu" if gpu else _instead(study)
    devices = _devices(on_gpu, len(missing), jobs, instead, here=scheduler is None)
    if scheduler is None:
        check_runs((c for c in missing if places.of(c) in devices), fetch=True)
    tried: set[str] = set()
    with ExitStack() as stack:
        checkpoints = store.root / ".checkpoints"
        train: dict[str, Train] = {}
        for one in devices:
            if scheduler is not None:
                train[one] = stack.enter_context(Cluster(scheduler, one, deadline))
            elif one == "cuda":
                train[one] = ThisGPU(checkpoints, deadline)
            else:
                train[one] = Processes(jobs or os.cpu_count() or 1, checkpoints, deadline, report)
        progress = None
        claims = _Claims(store, stack)
        while True:
            records = store.read(*study.place)
            every = [c for c in study.missing(records) if c.id not in tried]
            places = Places(study, records, gpu=gpu)
            by_device = {d: [c for c in every if places.of(c) == d] for d in devices}
            device = next((d for d in devices if by_device[d]), None)
            if every and _take(study, store, code, report, gpu=gpu):
                continue
            if device is None or _past(deadline):
                report.left = sum(map(len, by_device.values()))
                report.need_gpu = len(every) - report.left
                return report
            todo = by_device[device]
            if progress is None:  # where nothing is missing there is nothing to show
                name = f"{study.experiment.name} {study.scale}"
                progress = stack.enter_context(bar(total=0, unit="run", desc=name, leave=False))
            progress.total = progress.n + sum(map(len, by_device.values()))
            progress.refresh()
            work = bundles(todo, device)
            if device == "cpu":
                costs = [-float(np.nansum(estimate_seconds(bundle, records))) for bundle in work]
                # Longest first, so that no long bundle is left for one worker alone at the end.
                work = [work[i] for i in np.argsort(costs, kind="stable")]
            mine = 0

            def claimed(
                work: list[list[RunConfig]] = work, device: str = device
            ) -> Iterator[list[RunConfig]]:
                nonlocal mine
                for bundle in work:
                    if _past(deadline):
                        return
                    if not claims.take(bundle, device):
                        continue
                    mine += 1
                    # Another sweep may have trained it between our look and our claim.
                    have = store.read(*study.place)
                    if any(is_there(have, config.id) for config in bundle):
                        claims.release(bundle, device)
                        continue
                    yield bundle

            for results in train[device](claimed()):
                if not results:
                    continue  # stopped by the deadline; what was claimed is freed at the end
                store.append(*study.place, results)
                # Not before: a kill in between would lose the whole run.
                for record in results:
                    file = checkpoint_of(checkpoints, record.config)
                    if file is not None and record.status != "failed":
                        with suppress(OSError):  # what stays is left out: its run is recorded
                            file.unlink()
                claims.release([record.config for record in results], device)
                tried.update(record.id for record in results)
                failed = sum(record.status == "failed" for record in results)
                report.failed += failed
                report.trained += len(results) - failed
                report.diverged += sum(record.status == "diverged" for record in results)
                progress.leave = True  # a sweep that is refused at once leaves its one line alone
                progress.update(len(results))
                progress.set_postfix(failed=report.failed, diverged=report.diverged)
            if not mine and not _past(deadline):
                time.sleep(WAIT_SECONDS)  # another sweep holds all that is left


def _devices(
    on_gpu: list[RunConfig], missing: int, jobs: int | None, instead: str, *, here: bool
) -> tuple[str, ...]:
    """The devices to train on, in their order: `cuda` only where runs that are missing need it.

    Args:
        on_gpu: those of the missing runs that train on CUDA.
        missing: how many are missing.
        jobs: worker processes that were asked for.
        instead: what to do where there is no GPU, as a clause.
        here: whether this machine trains, not a cluster.

    Raises:
        InputError: nothing that is missing can be trained here.
    """
    others = ("cpu",) if len(on_gpu) < missing else ()
    if not on_gpu:
        return ("cpu",)
    if not here:
        return ("cuda", *others)
    if not others and jobs not in (None, 1):
        raise InputError(f"jobs must be 1 where one GPU trains, got {jobs}: leave it out")
    try:
        require_cuda(instead)
    except InputError:
        if others:
            return others
        raise
    require_memory(on_gpu, instead)
    return ("cuda", *others)


def _take(study: Study, store: Store, code: str | None, report: Report, *, gpu: bool) -> bool:
    """Takes what other experiments have of the missing runs, and counts it; whether there is any.

    What then is missing may be had elsewhere too, as a grid that grew.
    """
    records = store.read(*study.place)
    missing = [config.id for config in study.missing(records)]
    fits = Places(study, records, gpu=gpu).takes
    elsewhere = store.elsewhere(*study.place, missing, code, fits)
    taken = 0
    for name, records in elsewhere.items():
        count = store.share_missing(*study.place, name, records)
        report.taken[name] += count
        taken += count
    report.found += taken
    return taken > 0


def _past(deadline: float | None) -> bool:
    return deadline is not None and time.time() >= deadline


def _instead(study: Study) -> str:
    """What to run where there is no GPU."""
    for scale in ("cpu", "digits"):
        if scale != study.scale and scale in study.experiment.sweeps:
            return (
                f"scale {scale} runs the same experiment on a CPU: "
                f"sgdnoise reproduce {study.experiment.name} --scale {scale}"
            )
    return "run it on a machine that has one"
