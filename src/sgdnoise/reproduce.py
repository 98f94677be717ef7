"""`sgdnoise reproduce`: train what is missing, render the page, and with `--fresh` compare."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np

from sgdnoise import render
from sgdnoise.checkout import project_root
from sgdnoise.compare import Comparison
from sgdnoise.errors import FailureError, InputError
from sgdnoise.experiments import EXPERIMENTS, SCALES, Experiment, experiment_named
from sgdnoise.records import Store
from sgdnoise.sweep import estimate_seconds, missing, run_sweep


def reproduce(
    name: str,
    scale: str,
    *,
    seeds: int | None = None,
    fresh: bool = False,
    results: Path | None = None,
    runs: Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    dry_run: bool = False,
    minutes: float | None = None,
) -> None:
    """Fills the store of one experiment or all, and renders its page.

    Args:
        name: an experiment's name, or `all`, those that stand at the scale.
        scale: digits, cpu, gpu or paper.
        seeds: runs a grid point; the experiment's own number unless given.
        fresh: train everything anew into `local/`, and end with a comparison.
        results: the store; `results/`, or `local/results/` with `fresh`.
        runs: where pages are rendered; `papermill_runs/`, likewise.
        jobs: worker processes.
        scheduler: address of a Dask scheduler to train on.
        dry_run: only print what is missing, and its estimated cost.
        minutes: how long to train: then runs in flight stop with their checkpoints written, the
            pages of what is incomplete are left as they are, and the same command goes on.

    Raises:
        InputError: for an unknown experiment or scale, fewer than one seed, no time, or a scale
            that needs a GPU that is not there.
        FailureError: when records or pages cannot be written, a kernel dies, or runs failed.
    """
    chosen = _chosen(name, scale)
    if seeds is not None and seeds < 1:
        raise InputError(f"seeds must be at least 1, got {seeds}")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be at least 1, got {jobs}")
    if minutes is not None and not (minutes > 0 and math.isfinite(minutes)):
        raise InputError(f"minutes must be positive, got {minutes:g}")
    deadline = None if minutes is None else time.time() + 60 * minutes
    root = project_root() if results is None or runs is None else Path()
    base = root / "local" if fresh else root
    store = Store(results or base / "results")
    pages = runs or base / "papermill_runs"
    failed, left = [], 0
    for experiment in chosen:
        count = seeds or experiment.seeds[scale]
        if dry_run:
            _print_missing(experiment, scale, count, store)
            continue
        store.check_writable()
        render.check_writable(pages)
        if fresh:
            store.retire_other_code(scale, experiment.name)
        for complaint in store.repair(scale, experiment.name):
            print(f"set aside: {complaint}", flush=True)
        report = run_sweep(
            experiment, scale, count, store, jobs=jobs, scheduler=scheduler, deadline=deadline
        )
        print(f"{experiment.name}, {scale}: {report}", flush=True)
        if report.failed:
            failed.append(f"{experiment.name} ({report.failed} runs)")
        if report.left:
            left += report.left
            continue
        page = render.render(experiment, scale, count, store.root, pages)
        print(f"page: {page}", flush=True)
        if fresh:
            committed = Store((root if results is None else project_root()) / "results")
            sides = (s.read(scale, experiment.name) for s in (store, committed))
            print(Comparison(experiment, scale, count, *sides).text(), flush=True)
    if left:
        print(f"stopped after {minutes:g} minutes: {left} runs left", flush=True)
    if failed:
        raise FailureError(
            f"some runs failed: {', '.join(failed)}; each record gives its reason, "
            "and running again tries them once more"
        )


def _chosen(name: str, scale: str) -> list[Experiment]:
    if name != "all":
        return [experiment_named(name, scale)]
    if scale not in SCALES:
        raise InputError(f"no scale is called {scale!r}: choose one of {', '.join(SCALES)}")
    chosen = [e for e in EXPERIMENTS.values() if scale in e.sweeps]
    if not chosen:
        raise InputError(f"no experiment stands at scale {scale} yet")
    return chosen


def _print_missing(experiment: Experiment, scale: str, seeds: int, store: Store) -> None:
    records = store.read(scale, experiment.name)
    todo = missing(experiment, scale, seeds, records)
    seconds = estimate_seconds(todo, records)
    for config, cost in zip(todo, seconds, strict=True):
        estimate = f"{cost:8.2f} s" if np.isfinite(cost) else "       ? s"
        print(
            f"{config.id} {estimate}  B={config.batch_size} m={config.momentum:g} "
            f"eps={config.learning_rate:.4g} seed={config.seed}"
        )
    known = np.isfinite(seconds)
    total = f"about {seconds[known].sum():.0f} core-seconds"
    if not known.all():
        total = "at a cost that no record tells yet" if not known.any() else f"{total} and more"
    print(
        f"{experiment.name}, {scale}: {len(todo)} runs missing as things stand"
        + (f", {total}" if todo else "")
    )
