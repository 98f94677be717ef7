"""Sweeps on a cluster: two local Dask workers against one, on the same runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from distributed import LocalCluster

from benchmarks.row import Row
from sgdnoise.config import RunConfig, make_config
from sgdnoise.experiments import Listed
from sgdnoise.records.store import Record, Store
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


def _runs(seeds: range) -> list[RunConfig]:
    # Images of digits, so that nothing has to be fetched; a convolution net, so that runs train
    # one by one.
    return [
        make_config(
            dataset="digits",
            model="wrn-10-1",
            norm="ghost",
            ghost_batch_size=16,
            batch_size=64,
            learning_rate=0.05,
            momentum=0.9,
            epochs=20.0,
            seed=seed,
        )
        for seed in seeds
    ]


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
        short = [run.replace(epochs=0.2) for run in _runs(range(2 * workers))]
        _sweep(short, Path(folder) / "warm", address)
        began = perf_counter()
        records = _sweep(_runs(range(RUNS)), Path(folder) / "timed", address)
        return perf_counter() - began, records


def _sweep(runs: list[RunConfig], folder: Path, address: str) -> dict[str, Record]:
    experiment = Listed(
        name="bench",
        sweeps={},
        seeds={"digits": 1},
        notebook="",
        leaves_out={},
        runs=lambda seeds: runs,
    )
    store = Store(folder)
    run_sweep(experiment, "digits", 1, store, scheduler=address)
    return store.read("digits", "bench")
