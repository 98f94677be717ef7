"""What became of runs, as the grids ask for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from sgdnoise.records.record import Record
from sgdnoise.study.grid import Outcome


def outcomes(records: Mapping[str, Record], objectives: Iterable[str]) -> dict[str, Outcome]:
    """Final numbers by run, NaN for a run that diverged; failed runs are left out, as missing."""
    wanted = tuple(objectives)
    return {
        run: {name: _number(record, name) for name in wanted}
        for run, record in records.items()
        if record.status != "failed"
    }


def _number(record: Record, name: str) -> float:
    value = record.metrics.get(name) if record.status == "done" else None
    return math.nan if value is None else float(value)
