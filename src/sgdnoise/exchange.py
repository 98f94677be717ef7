"""`sgdnoise records`: what one machine has trained goes into a file, and from it into a store.

A bundle comes from somebody else's machine: all of it is checked before a byte is written, and a
record that is here is never replaced.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from sgdnoise.checkout import project_root
from sgdnoise.errors import FailureError, InputError, shown
from sgdnoise.experiments import check_scale, experiment_named, studies
from sgdnoise.records.bundle import Place, check_target, read_bundle, write_bundle
from sgdnoise.records.find import find_store
from sgdnoise.records.record import Record, is_there
from sgdnoise.records.store import Store, shown_path
from sgdnoise.study.study import Study
from sgdnoise.sweeps.run import read_aloud


def bundle(
    file: Path,
    *,
    results: Path | None = None,
    scale: str | None = None,
    experiment: str | None = None,
) -> None:
    """Writes the sound records of a store into one file.

    Runs that failed are left out, and those that no grid asks for.

    Args:
        file: where to; another bundle there is replaced.
        results: the store; the one that a notebook here would read, unless given.
        scale: those of one scale; of all unless given.
        experiment: those of one experiment; of all unless given.

    Raises:
        InputError: for an unknown scale or experiment, no store, no records, more records than one
            bundle may hold, a file that is there and is no bundle, or one in no folder.
        FailureError: when the file cannot be written.
    """
    if scale is not None:
        check_scale(scale)
    if experiment is not None:
        experiment_named(experiment)
    check_target(file)
    store = find_store(results)
    taken: dict[Place, list[Record]] = {}
    for study in studies(scale):
        if experiment not in (None, study.experiment.name):
            continue
        fit, left_out = [], Counter[str]()
        for record in read_aloud(store, study).values():
            if why := unfit(study, record):
                left_out[why] += 1
            else:
                fit.append(record)
        for why, count in left_out.items():
            print(f"left out of {'/'.join(study.place)}: {count:,} ({why})", file=sys.stderr)
        if fit:
            taken[study.place] = fit
            print(f"{'/'.join(study.place)}: {len(fit):,} records")
    if not taken:
        raise InputError(
            f"the store {shown_path(store.root)} has no records to bundle of what was asked for: "
            "fill it with `sgdnoise reproduce`, or name another one with --results"
        )
    digest = write_bundle(file, taken)
    total = sum(map(len, taken.values()))
    size = file.stat().st_size / 1e6
    print(f"{shown_path(file)}: {total:,} records, {size:.1f} MB, sha256 {digest}")


_NAME_IT = "name the store with --results"


def merge(file: Path, *, results: Path | None = None, dry_run: bool = False) -> None:
    """Takes the records of a bundle into a store: those whose runs are not there yet.

    Killed at any time, it can be run again: what is there counts as already here.

    Args:
        file: the bundle.
        results: the store; the checkout's `results/` unless given. It need not be there yet.
        dry_run: only say what would be done.

    Raises:
        InputError: for a file that is no sound bundle, or of an experiment or a scale that is not
            known here. Nothing is written then.
        FailureError: when the store cannot be written; when records were refused, and all others
            are in.
    """
    store = Store(project_root(_NAME_IT) / "results" if results is None else results)
    found = read_bundle(file)
    known = {study.place: study for study in studies()}
    for scale, name in found.records:
        if (scale, name) not in known:
            raise InputError(
                f"{shown_path(file)} has records of {shown(name)} at scale {shown(scale)}, which "
                f"this book does not know: sgdnoise {shown(found.version)} wrote it, take that one"
            )
    new: dict[Place, list[Record]] = {}
    total: Counter[str] = Counter()
    for place, records in found.records.items():
        here = read_aloud(store, known[place])
        new[place], count = [], Counter[str]()
        for record in records:
            why = unfit(known[place], record) or _contradicts(here, record)
            kind = "refused" if why else "already here" if is_there(here, record.id) else "new"
            count[kind] += 1
            if why:
                print(f"refused: {'/'.join(place)} {record.id}: {why}", file=sys.stderr)
            if kind == "new":
                new[place].append(record)
        print(f"{'/'.join(place)}: {_said(count)}")
        total += count
    if not dry_run:
        store.check_writable()
        for place, records in new.items():
            _add(store, place, records)
    nothing = "; nothing was written" if dry_run else ""
    print(f"{shown_path(file)} into {shown_path(store.root)}: {_said(total)}{nothing}")
    if total["refused"]:
        raise FailureError(
            f"{total['refused']} records were refused, each is named above with its reason"
            + ("" if dry_run else "; all others are in the store")
        )


def _add(store: Store, place: Place, records: list[Record]) -> None:
    """Adds records, of which a bundle has each run with every experiment: it stands once here."""
    line = {record.id: record.line() for record in records}

    def fits(record: Record) -> bool:
        return record.line() == line[record.id]

    for other, shared in store.elsewhere(*place, line, fits=fits).items():
        store.share_missing(*place, other, shared)
    store.append_missing(*place, records)


def unfit(study: Study, record: Record) -> str:
    """Why a sound record cannot be one of a study's, in one clause; empty where it can."""
    config = record.config
    if record.status == "failed":
        return "its run failed"
    if not study.may_need(config):
        return "no grid of this experiment asks for its run"
    if record.provenance["precision"] != config.precision:
        return "it was not trained in the precision that its config asks for"
    if record.status == "done":
        for objective in study.experiment.objectives:
            if record.metrics.get(objective.name) is None:
                return f"its run is done and it lacks {objective.name}"
    return ""


def _contradicts(here: Mapping[str, Record], record: Record) -> str:
    """How a record differs from the one that is here, times and devices aside."""
    if not is_there(here, record.id):
        return ""
    mine = here[record.id]
    if mine.status != record.status:
        return f"it is here with other numbers: {mine.status} here, {record.status} in the bundle"
    for name in sorted(mine.metrics.keys() | record.metrics.keys()):
        a, b = mine.metrics.get(name), record.metrics.get(name)
        if a != b:
            return f"it is here with other numbers: {shown(name)} is {a} here, {b} in the bundle"
    return "" if mine.curves == record.curves else "it is here with other curves"


def _said(count: Counter[str]) -> str:
    return ", ".join(f"{count[kind]:,} {kind}" for kind in ("new", "already here", "refused"))
