"""A schedule looked at step by step, for what finds its pieces some faster way."""

from __future__ import annotations

import itertools

from sgdnoise.schedule import Schedule, tabulate


def segments(schedule: Schedule, total_steps: int) -> list[tuple[float, int]]:
    """The schedule as runs of equal multipliers: (multiplier, number of steps), in order."""
    runs = itertools.groupby(tabulate(schedule, total_steps).tolist())
    return [(value, len(list(run))) for value, run in runs]
