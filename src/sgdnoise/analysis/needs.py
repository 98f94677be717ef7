"""What claims about accuracies lack where a learning rate could not be tuned."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sgdnoise.analysis import Reading
from sgdnoise.study.grid import Key
from sgdnoise.study.scales import NAMES


def no_optimum(reading: Reading, keys: Iterable[Key]) -> str:
    """Why fresh seeds do not tell what a tuned rate reaches; empty where they do.

    No claim rests on an optimum at an edge of its grid, which is a bound, nor on the seeds alone
    that outlived the others.

    Args:
        reading: of an experiment over methods and batch sizes.
        keys: of the sweeps that a claim compares.
    """
    rows = {row["key"]: row for row in reading.optima().to_dict("records")}
    for key in keys:
        row = rows[key]
        rate, at = f"rate of {NAMES[row['method']]}", f"at B = {row['batch_size']:,}"
        if math.isnan(row["exponent"]):
            return f"every {rate} diverged {at}."
        if not row["fresh_seeds"]:
            return f"every fresh seed at the best {rate} diverged {at}."
        if lost := row["fresh_diverged"]:
            seeds = row["fresh_seeds"] + lost
            return f"{lost} of {seeds} fresh seeds at the best {rate} diverged {at}."
        if row["bound"]:
            return f"the best {rate} {at} lies on an edge of its grid."
    return ""
