"""What has been run, where and with what, from the records themselves; and what is missing.

The page of provenance shows these tables. Nothing in them is typed: runs, seeds, devices, versions,
hours and dates are those of the records, needs those of the grids as the records have them grown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from sgdnoise.book.markdown import literal
from sgdnoise.config import RunConfig
from sgdnoise.experiments import studies
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.study.study import Study
from sgdnoise.sweeps.cost import estimate_seconds, expected_seconds


def table(store: Store) -> pd.DataFrame:
    """One row an experiment and scale: how much is there, and what it was run on.

    Columns: experiment, scale, runs (there of needed; what is there beyond that is not counted),
    complete seeds (of the experiment's own number), diverged and failed runs, ran on (a CPU or
    which GPU, and in which precision), time (in core-hours or GPU-hours), dates.
    """
    return pd.DataFrame([_row(study, store.read(*study.place)) for study in studies()])


def _row(study: Study, records: Mapping[str, Record]) -> dict[str, str]:
    asked, lacking = len(study.needed(records)), len(study.missing(records))
    status = [record.status for record in records.values()]
    return {
        "experiment": study.experiment.name,
        "scale": study.scale,
        "runs": f"{asked - lacking:,} of {asked:,}",
        "complete seeds": f"{study.complete_seeds(records)} of {study.seeds}",
        "diverged": f"{status.count('diverged'):,}" if records else "",
        "failed": f"{status.count('failed'):,}" if records else "",
        "ran on": "; ".join(sorted({_ran_on(record) for record in records.values()})),
        "time": hours(records.values()),
        "dates": dates(records.values()),
    }


def each_once(files: Iterable[tuple[str, Mapping[str, Record]]]) -> list[Record]:
    """All records of some files, each with its scale: what several experiments have counts once."""
    return list({(scale, run): r for scale, file in files for run, r in file.items()}.values())


def asked_for(study: Study, records: Mapping[str, Record]) -> dict[str, Record]:
    """Of a study's records, those that its grids ask for."""
    return {c.id: records[c.id] for c in study.needed(records) if c.id in records}


def _ran_on(record: Record) -> str:
    """A CPU or which GPU, and the precision; which CPU is in `environments`."""
    device, precision = (str(record.provenance.get(k, "unknown")) for k in ("device", "precision"))
    return f"{device.split(',')[0]}, {precision}"


_DEVICES = {"cpu": "core", "cuda": "GPU"}


def hours(records: Iterable[Record]) -> str:
    """What the runs took, in core-hours and GPU-hours by the device that each record names."""
    spent = dict.fromkeys(_DEVICES.values(), 0.0)
    for record in records:
        spent[_DEVICES[record.device]] += float(record.provenance.get("seconds", 0.0))
    return ", ".join(f"{s / 3600:.2f} {unit}-hours" for unit, s in spent.items() if s)


def _time(seconds: float, device: str) -> str:
    """A time in the largest unit of which it has one."""
    units = {"hours": 3600, "minutes": 60, "seconds": 1}
    unit = next((unit for unit, size in units.items() if seconds >= size), "seconds")
    return f"{seconds / units[unit]:,.1f} {_DEVICES[device]}-{unit}"


def dates(records: Iterable[Record]) -> str:
    """The first and the last day, or the one."""
    days = sorted({str(record.provenance["date"]) for record in records})
    return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""


_ENVIRONMENT = ("device", "python", "torch", "cuda", "cudnn", "numpy", "sgdnoise", "code")


def environments(store: Store) -> pd.DataFrame:
    """One row an environment that made records: device, versions, code digest, runs, dates."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in each_once((study.scale, store.read(*study.place)) for study in studies()):
        key = tuple(str(record.provenance.get(name, "")) for name in _ENVIRONMENT)
        groups.setdefault(key, []).append(record)
    rows = [
        {
            **dict(zip(_ENVIRONMENT, key, strict=True)),
            "runs": f"{len(records):,}",
            "dates": dates(records),
        }
        for key, records in sorted(groups.items())
    ]
    shown = pd.DataFrame(rows)
    # What no record tells, as versions of CUDA before there was a GPU, needs no column.
    return shown.loc[:, (shown != "").any()] if rows else shown


def to_run(store: Store) -> pd.DataFrame:
    """What is missing, a row an experiment and scale, the shortest first.

    Columns: experiment, scale, seeds, missing (runs as things stand), needs a GPU (yes, in part or
    no), estimate, by (`records`, or `bound` of the time on a GPU), command.
    Empty when nothing is missing.
    """
    rows = []
    for study in studies():
        records = store.read(*study.place)
        todo = study.missing(records)
        if not todo:
            continue
        seconds, told = _estimate(study, todo, records)
        row = {
            "experiment": study.experiment.name,
            "scale": study.scale,
            "seeds": str(study.seeds),
            "missing": f"{len(todo):,} runs",
            **told,
            "command": study.command,
        }
        rows.append((seconds, row))
    return pd.DataFrame([row for _, row in sorted(rows, key=lambda one: one[0])])


def _estimate(
    study: Study, todo: list[RunConfig], records: Mapping[str, Record]
) -> tuple[float, dict[str, str]]:
    """The seconds that runs will take, and how a row tells them, by the records of the same net.

    Where there are none, a GPU's are `cost.assumed_seconds`, and a processor's are left out: they
    count as infinite.
    """
    # Here, for it loads torch.
    from sgdnoise.sweeps.place import Places

    where = Places(study, records).of
    runs = {device: [config for config in todo if where(config) == device] for device in _DEVICES}
    on = {device: configs for device, configs in runs.items() if configs}
    total, said, sources = 0.0, [], set()
    for device, configs in sorted(on.items(), reverse=True):
        seconds = expected_seconds(where, configs, records)
        if not np.isfinite(seconds).all():
            total = np.inf
            continue
        total += float(seconds.sum())
        said.append(_time(float(seconds.sum()), device))
        measured = np.isfinite(estimate_seconds(configs, records, device))
        sources |= {"records" if one else "bound" for one in measured}
    needs = "no" if "cuda" not in on else "in part" if "cpu" in on else "yes"
    by = " and ".join(sorted(sources, reverse=True))
    return total, {"needs a GPU": needs, "estimate": ", ".join(said), "by": by}


def summary(store: Store) -> str:
    """How much there is in all, in one Markdown sentence."""
    files = [(study, store.read(*study.place)) for study in studies()]
    records = each_once((study.scale, file) for study, file in files)
    if not records:
        return "**Nothing has been run yet.**"
    there = sum(bool(file) for _, file in files)
    asked = len(each_once((study.scale, asked_for(study, file)) for study, file in files))
    more = f", and {len(records) - asked:,} that no grid asks for any more"
    every = [record for _, file in files for record in file.values()]
    in_rows = sum(len(study.needed(file)) - len(study.missing(file)) for study, file in files)
    return (
        f"**{asked:,} runs** are recorded that the grids ask for"
        f"{more if asked < len(records) else ''}; {hours(records)} in all "
        f"({literal(dates(records))}); "
        f"{there} of {len(files)} pairs of experiment and scale have any."
        + (_shared(in_rows, every) if len(every) > len(records) else "")
    )


def _shared(runs: int, every: list[Record]) -> str:
    """What the rows of the table add up to, where experiments share runs."""
    return (
        " A run that several experiments share counts once here, and in each of their rows below: "
        f"these add up to {runs:,} runs and {hours(every)}."
    )
