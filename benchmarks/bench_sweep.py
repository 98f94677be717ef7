"""Sweeps on a cluster: two local Dask workers against one, on the same runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from distributed import LocalCluster

from benchmarks.row import Row
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.study.grid import Sweep
from sgdnoise.study.study import Experiment, Study
from sgdnoise.sweeps.run import run_sweep

RUNS = 8


def rows() -> Iterator[Row]:
    """The one row: needs two idle cores."""
    one, first = _trained_by(1)
    two, second = _trained_by(2)
    same = [first[run].metrics == second[run].metrics for run in first]
    if first.keys() != second.keys() or not all(same):
        raise AssertionError("one worker and two gave different records")
    yield Row(
        f"{RUNS} runs on two Dask workers",
        two,
        one,
        1.7,
        "records equal",
        "baseline: one worker; a thread each, started and warmed up before",
    )


# Images of digits, so that nothing has to be fetched; a convolution net, so that runs train one by
# one.
FIXED = {
    "dataset": "digits",
    "model": "wrn-10-1",
    "norm": "ghost",
    "ghost_batch_size": 16,
    "batch_size": 64,
    "learning_rate": 0.05,
    "momentum": 0.9,
}


def _study(seeds: int, epochs: float) -> Study:
    """Runs of these seeds of one recipe: a sweep without axes has nothing to tune, or to grow."""
    sweep = Sweep(key=(), fixed=tuple({**FIXED, "epochs": epochs}.items()), axes=())
    experiment = Experiment("bench", {"digits": lambda: [sweep]}, {"digits": seeds})
    return Study.of(experiment, "digits")


def _trained_by(workers: int) -> tuple[float, dict[str, Record]]:
    """Seconds of a sweep, and its records."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
    ):
        address = cluster.scheduler_address
        # Twice as many short runs as workers: each imports all that it needs.
        _sweep(_study(2 * workers, 0.2), Path(folder) / "warm", address)
        began = perf_counter()
        records = _sweep(_study(RUNS, 20.0), Path(folder) / "timed", address)
        return perf_counter() - began, records


def _sweep(study: Study, folder: Path, address: str) -> dict[str, Record]:
    store = Store(folder)
    run_sweep(study, store, scheduler=address)
    return store.read(*study.place)
