"""What has been run, where and with what, from the records themselves; and what is missing.

The page of provenance shows these tables. Nothing in them is typed: runs, seeds, devices, versions,
hours and dates are those of the records, needs those of the grids as the records have them grown.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from sgdnoise import acceptance
from sgdnoise.evidence import STAGES, Stage
from sgdnoise.experiments import EXPERIMENTS, Experiment, Listed
from sgdnoise.markdown import literal
from sgdnoise.records import Record, Store
from sgdnoise.render import complete_seeds
from sgdnoise.sweep import missing, needed

Entry = tuple[Experiment, str]
"""An experiment and a scale that it stands at."""


def entries() -> list[Entry]:
    """Every experiment at every scale that it stands at, and the parts' acceptance runs."""
    grids = [(e, scale) for e in EXPERIMENTS.values() for scale in e.sweeps]
    return [*grids, (acceptance.EXPERIMENT, acceptance.SCALE)]


def table(store: Store) -> pd.DataFrame:
    """One row an experiment and scale: how much is there, and what it was run on.

    Columns: experiment, scale, runs (there of needed; what is there beyond that is not counted),
    complete seeds (of the experiment's own number), diverged and failed runs, ran on (a CPU or
    which GPU, and in which precision), time (in core-hours or GPU-hours), dates.
    """
    return pd.DataFrame([_row(experiment, scale, store) for experiment, scale in entries()])


def _row(experiment: Experiment, scale: str, store: Store) -> dict[str, str]:
    records = store.read(scale, experiment.name)
    own = experiment.seeds[scale]
    asked = needed(experiment, scale, own, records)
    lacking = len(missing(experiment, scale, own, records))
    status = [record.status for record in records.values()]
    return {
        "experiment": experiment.name,
        "scale": scale,
        "runs": f"{len(asked) - lacking:,} of {len(asked):,}",
        "complete seeds": f"{complete_seeds(experiment, scale, store)} of {own}",
        "diverged": f"{status.count('diverged'):,}" if records else "",
        "failed": f"{status.count('failed'):,}" if records else "",
        "ran on": "; ".join(sorted({_ran_on(record) for record in records.values()})),
        "time": hours(records.values()),
        "dates": dates(records.values()),
    }


def _ran_on(record: Record) -> str:
    """A CPU or which GPU, and the precision; which CPU is in `environments`."""
    device, precision = (str(record.provenance.get(k, "unknown")) for k in ("device", "precision"))
    return f"{device.split(',')[0]}, {precision}"


def hours(records: Iterable[Record]) -> str:
    """What the runs took, in core-hours and GPU-hours by the device that each record names."""
    spent = {"core-hours": 0.0, "GPU-hours": 0.0}
    for record in records:
        on_cpu = str(record.provenance.get("device", "")).startswith("CPU")
        spent["core-hours" if on_cpu else "GPU-hours"] += float(
            record.provenance.get("seconds", 0.0)
        )
    return ", ".join(f"{s / 3600:.2f} {unit}" for unit, s in spent.items() if s)


def dates(records: Iterable[Record]) -> str:
    """The first and the last day, or the one."""
    days = sorted({str(record.provenance["date"]) for record in records})
    return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""


_ENVIRONMENT = ("device", "python", "torch", "cuda", "cudnn", "numpy", "sgdnoise", "code")


def environments(store: Store) -> pd.DataFrame:
    """One row an environment that made records: device, versions, code digest, runs, dates."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for experiment, scale in entries():
        for record in store.read(scale, experiment.name).values():
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
    """What is missing: the evidence's stages in their order, then every other scale, a row each.

    Columns: what, scale, seeds, missing (runs as things stand), estimate (of the stages: see
    `evidence.assumed_seconds`), command. Empty when nothing is missing.
    """
    rows = [_stage_row(stage, store) for stage in STAGES if stage.missing(store)]
    # A stage that lists some runs of an experiment leaves the rest of it to its own row.
    whole = {
        (stage.experiment.name, stage.scale)
        for stage in STAGES
        if not isinstance(stage.experiment, Listed)
    }
    for experiment, scale in entries():
        lacking = missing(
            experiment, scale, experiment.seeds[scale], store.read(scale, experiment.name)
        )
        if lacking and (experiment.name, scale) not in whole:
            rows.append(
                {
                    "what": experiment.name,
                    "scale": scale,
                    "seeds": str(experiment.seeds[scale]),
                    "missing": f"{len(lacking):,} runs",
                    "estimate": "",
                    "command": _command(experiment, scale),
                }
            )
    return pd.DataFrame(rows)


def _stage_row(stage: Stage, store: Store) -> dict[str, str]:
    return {
        "what": f"({stage.letter}) {stage.what}",
        "scale": stage.scale,
        "seeds": str(stage.seeds),
        "missing": f"{len(stage.missing(store)):,} runs",
        "estimate": f"{stage.seconds(store) / 60:,.0f} GPU-minutes",
        "command": stage.command,
    }


def _command(experiment: Experiment, scale: str) -> str:
    if experiment.name == acceptance.NAME:
        return "python -m sgdnoise.acceptance"
    return f"sgdnoise reproduce {experiment.name} --scale {scale}"


def summary(store: Store) -> str:
    """How much there is in all, in one Markdown sentence."""
    files = [store.read(scale, e.name) for e, scale in entries()]
    records = [record for file in files for record in file.values()]
    if not records:
        return "**Nothing has been run yet.**"
    there = sum(bool(file) for file in files)
    return (
        f"**{len(records):,} runs** are recorded, {hours(records)} in all "
        f"({literal(dates(records))}); "
        f"{there} of {len(files)} pairs of experiment and scale have any."
    )
