"""`sgdnoise reproduce`: train what is missing, render the page, and with `--fresh` compare."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sgdnoise.checkout import check_writable, project_root
from sgdnoise.config import RunConfig
from sgdnoise.errors import FailureError, InputError
from sgdnoise.experiments import EXPERIMENTS, check_scale, studies, study_of
from sgdnoise.provenance import code_digest
from sgdnoise.records.find import find_store
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store, shown_path
from sgdnoise.study.study import Study, check_seeds
from sgdnoise.sweeps.cost import expected_seconds
from sgdnoise.sweeps.place import Places
from sgdnoise.sweeps.run import check_jobs, check_minutes, check_runs, read_aloud, run_sweep

_NAME_THEM = "name the folders, --results and, where pages are rendered, --runs"


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
    render: bool = True,
    breadth_first: bool = False,
    gpu: bool = False,
    only: Mapping[str, str] | None = None,
) -> None:
    """Fills the store of one experiment or all, and renders its page.

    Args:
        name: an experiment's name, or `all`, those that stand at the scale, in order of their
            worth.
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
        render: whether pages are rendered, which a machine that only trains cannot.
        breadth_first: one seed of everything comes before any second one.
        gpu: train on this machine's GPU also what the scale leaves to its processors; the records
            are of the same scale, and name the device.
        only: names and values that a sweep's key has to have to be trained; no page is rendered
            then.

    Raises:
        InputError: for an unknown experiment or scale, seeds, jobs or minutes out of bounds, a grid
            with a run that its data do not allow, no checkout, or a scale that needs a GPU that is
            not there.
        FailureError: when records or pages cannot be written, a kernel dies, or runs failed; a page
            that fails is told at the end, when all others are rendered.
    """
    if seeds is not None:
        check_seeds(seeds)
    if jobs is not None:
        check_jobs(jobs)
    if minutes is not None:
        check_minutes(minutes)
    chosen = _chosen(name, scale, seeds)
    if only:
        if name == "all":
            raise InputError("only some sweeps of which experiment? Name one in place of all")
        if fresh:
            raise InputError("fresh compares whole studies: leave it out, or only")
        chosen, render = [study.only(only) for study in chosen], False
    if fresh and results is not None and results.resolve() == _committed().resolve():
        raise InputError(
            f"{results} has the committed records, with which fresh runs are compared: name "
            "another folder, or leave --results out"
        )
    for study in chosen:
        # Sweeps that are idle now may be needed once the others have been trained.
        check_runs([*study.needed({}), *study.planned])
    deadline = None if minutes is None else time.time() + 60 * minutes
    pages_wanted = render and runs is None and not dry_run
    root = project_root(_NAME_THEM) if results is None or pages_wanted else Path()
    base = root / "local" if fresh else root
    store = Store(results or base / "results")
    new = results is not None and not os.path.exists(results)
    # What another experiment has is taken as what is found: with `fresh`, of this code alone.
    code = code_digest() if fresh else None
    if dry_run:
        _say_if_empty(new, store)
        _print_all_missing(chosen, store, code, gpu)
        return
    if render:
        # Imported here: a machine that only trains may lack what pages are made with.
        from sgdnoise.book import notebooks
    pages = runs or base / "papermill_runs"
    committed = Store(_committed()) if fresh else None
    # Whatever could fail after the training is looked at before it.
    for study in chosen if render else []:
        notebooks.notebook_source(study.experiment)
    check_writable(store.path(*chosen[0].place).parent, "records", "--results")
    _say_if_empty(new, store)
    if render:
        check_writable(pages / scale, "pages", "--runs")
    runs_failed: dict[str, int] = {}  # of the last round, which tries all once more
    pages_failed, left, need_gpu = [], 0, 0
    rounds = [[study.with_seeds(1) for study in chosen], chosen] if breadth_first else [chosen]
    if fresh:
        for study in chosen:
            store.retire_other_code(*study.place)
    for round_ in rounds:
        left = need_gpu = 0
        for study in round_:
            name = study.experiment.name
            report = run_sweep(
                study,
                store,
                jobs=jobs,
                scheduler=scheduler,
                deadline=deadline,
                code=code,
                gpu=gpu,
            )
            seed = " (one seed first)" if round_ is not chosen else ""
            print(f"{name}, {scale}{seed}: {report}", flush=True)
            left += report.left
            need_gpu += report.need_gpu
            runs_failed.pop(name, None)
            if report.failed:
                runs_failed[name] = report.failed
            if report.left or round_ is not chosen:
                continue
            if render:
                try:
                    page = notebooks.render(study, store.root, pages)
                    print(f"page: {page}", flush=True)
                except (InputError, FailureError) as error:
                    pages_failed.append(str(error))
            if committed is not None:
                from sgdnoise.book.compare import Comparison

                sides = (read_aloud(s, study) for s in (store, committed))
                print(Comparison.of(study, *sides).text(), flush=True)
    if left:
        print(f"stopped after {minutes:g} minutes: {left} runs left", flush=True)
    failures = []
    if need_gpu:
        failures.append(
            f"{need_gpu} runs were left, for they train on a CUDA GPU and there is none here: "
            "run the same command where there is one"
        )
    if runs_failed:
        failures.append(
            f"some runs failed: {', '.join(f'{k} ({n} runs)' for k, n in runs_failed.items())}; "
            "each record gives its reason, and running again tries them once more"
        )
    if pages_failed:
        failures.append(
            f"{'; '.join(pages_failed)}; all records are kept, and running again renders anew"
        )
    if failures:
        raise FailureError("; ".join(failures))


def _committed() -> Path:
    return project_root() / "results"


def _say_if_empty(new: bool, store: Store) -> None:
    """Says that a store was not there: its name may be misspelt."""
    if new:
        print(f"there was no store {shown_path(store.root)}: it begins empty", flush=True)


def _chosen(name: str, scale: str, seeds: int | None) -> list[Study]:
    if name != "all":
        return [study_of(name, scale, seeds)]
    check_scale(scale)
    chosen = [Study.of(e, scale, seeds) for e in EXPERIMENTS.values() if scale in e.sweeps]
    if not chosen:
        raise InputError(f"no experiment stands at scale {scale} yet")
    return chosen


def _print_all_missing(chosen: Sequence[Study], store: Store, code: str | None, gpu: bool) -> None:
    """What every study lacks; with several of them also the sum."""
    # What is committed tells what a run costs, also where it is not counted as made.
    scale, sources = chosen[0].scale, [store]
    with contextlib.suppress(InputError):
        sources.append(find_store(None))

    def told() -> dict[str, Record]:
        places = [study.place for study in studies(scale)]
        return {i: r for s in sources[::-1] for place in places for i, r in s.read(*place).items()}

    other = functools.cache(told)
    counts = [_print_missing(study, store, code, other, gpu) for study in chosen]
    if len(chosen) > 1:
        devices = [device for some, _ in counts for device in some]
        cost = _cost(devices, np.concatenate([seconds for _, seconds in counts]))
        print(f"all, {scale}: {len(devices)} runs missing as things stand{cost}")


def _cost(devices: Sequence[str], seconds: np.ndarray) -> str:
    """What runs will take, by the device that trains each, as the end of a sentence."""
    if not devices:
        return ""
    known = np.isfinite(seconds)
    on_gpu = np.array(devices) == "cuda"
    sums = {"core": seconds[known & ~on_gpu], "GPU": seconds[known & on_gpu]}
    said = [
        f"about {some.sum():.0f} {unit}-seconds ({some.sum() / 3600:,.1f} hours)"
        for unit, some in sums.items()
        if len(some)
    ]
    if not said:
        return ", at a cost that no record tells yet"
    return f", {' and '.join(said)}{'' if known.all() else ' and more'}"


_ALWAYS = {"batch_size", "momentum", "learning_rate", "seed"}
"""Fields that a line of a dry run has in any case."""


def _varying(configs: Sequence[RunConfig]) -> list[str]:
    """The other fields that tell runs apart."""
    names = [name for name in RunConfig.model_fields if name not in _ALWAYS]
    return [name for name in names if len({getattr(config, name) for config in configs}) > 1]


def _said(value: object) -> str:
    """A field's value without spaces."""
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace(" ", "")


def _print_missing(
    study: Study,
    store: Store,
    code: str | None,
    other: Callable[[], dict[str, Record]],
    gpu: bool,
) -> tuple[list[str], np.ndarray]:
    """Prints what a study lacks, a line a run; gives the device and the seconds of each."""
    records = read_aloud(store, study)
    taken: Counter[str] = Counter()
    while found := store.elsewhere(
        *study.place,
        (config.id for config in study.missing(records)),
        code,
        Places(study, records, gpu=gpu).takes,
    ):
        for name, there in found.items():
            records |= there
            taken[name] += len(there)
    todo = study.missing(records)
    where = Places(study, records, gpu=gpu).of
    devices, seconds = [where(run) for run in todo], expected_seconds(where, todo, records, other)
    varying = _varying(study.needed(records))
    for config, cost in zip(todo, seconds, strict=True):
        estimate = f"{cost:8.2f} s" if np.isfinite(cost) else "       ? s"
        others = "".join(f" {name}={_said(getattr(config, name))}" for name in varying)
        print(
            f"{config.id} {estimate}  B={config.batch_size} m={config.momentum:g} "
            f"eps={config.learning_rate:.4g} seed={config.seed}{others}"
        )
    print(
        f"{study.experiment.name}, {study.scale}: {len(todo)} runs missing as things stand"
        + _cost(devices, seconds)
        + "".join(f"; {count} to be taken from {name}" for name, count in taken.items())
    )
    return devices, seconds
