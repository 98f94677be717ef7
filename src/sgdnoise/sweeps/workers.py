"""Who trains a bundle: this process with its GPU, processes of this machine, or a Dask cluster."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from sgdnoise import training
from sgdnoise.config import RunConfig
from sgdnoise.errors import FailureError, InputError
from sgdnoise.provenance import code_digest
from sgdnoise.records.made import record_of
from sgdnoise.records.record import Record
from sgdnoise.sweeps.report import Report
from sgdnoise.training.devices import require_cuda

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

    A process that is no child of the sweep's, and the sweep itself, are not its to end.
    """
    if os.getppid() != parent:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass
class ThisGPU:
    """Trains bundles on the GPU of this process, one after the other."""

    checkpoints: Path
    deadline: float | None

    def __call__(self, bundles: Iterator[list[RunConfig]]) -> Iterator[list[Record]]:
        for bundle in bundles:
            yield train_bundle(bundle, self.checkpoints, "cuda", self.deadline)


@dataclass
class Processes:
    """Trains bundles in processes of this machine; what waits for a worker is unclaimed."""

    workers: int
    checkpoints: Path
    deadline: float | None
    report: Report

    def __call__(self, bundles: Iterator[list[RunConfig]]) -> Iterator[list[Record]]:
        # Imported here: a machine that trains on its GPU may do without.
        try:
            import joblib
            from joblib.externals.loky.process_executor import TerminatedWorkerError
        except ImportError:
            raise InputError(
                "training on the CPU needs joblib, which is not installed: pip install joblib, or "
                "run the same command elsewhere; what is trained is kept"
            ) from None

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


class Cluster:
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
        why = ""
        try:
            self.client = Client(address, timeout=SCHEDULER_SECONDS)
        # A TypeError for a scheme that needs what is not there: certificates, or a library.
        except (OSError, ValueError, TypeError) as error:
            why = type(error).__name__
        if why:
            # The client that did not come to be closes itself when it is collected. If that happens
            # while this process starts another, both want one lock and wait for ever: so it is now.
            gc.collect()
            raise InputError(
                f"no Dask scheduler answers at {address} ({why}): "
                "start one, or leave --scheduler out to train on this machine"
            )

    def __enter__(self) -> Cluster:
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
        # A worker that was lost while it was asked has no other code: it has none.
        there = self.client.nthreads()
        others = {w: code for w, code in codes.items() if code != code_digest() and w in there}
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
