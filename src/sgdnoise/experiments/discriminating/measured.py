"""The gap between the best other batch and the largest, as far as the records have it.

Claims judge it and figures draw it. A gap is of sweeps on one device; with another number of
updates it may be of another.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.experiments.discriminating.grid import BEST, IMAGES, LONGER, MOST, UPDATES
from sgdnoise.study.grid import Key

BUDGETS = (UPDATES, *LONGER)
"""Numbers of updates."""


def _is_long(key: Key, budgets: tuple[int, ...]) -> bool:
    return dict(key).get("updates") in budgets


LONG = partial(_is_long, budgets=BUDGETS)
"""The plain sweeps with any number of updates."""

_WITH = {updates: partial(_is_long, budgets=(updates,)) for updates in BUDGETS}
"""Those with one."""


def key_of(reading: Reading, batch_size: int = IMAGES, **parts: Any) -> Key:
    """The key of the sweep with a batch size, and an arm or a number of updates."""
    wanted = {"batch_size": batch_size, **parts}.items()
    (key,) = [s.sweep.key for s in reading.states if wanted <= dict(s.sweep.key).items()]
    return key


def rows_at(reading: Reading, updates: int) -> pd.DataFrame:
    """The tuned batch sizes with so many updates, the largest last."""
    rows = reading.optima()
    return rows[rows.updates == updates].sort_values("batch_size").reset_index(drop=True)


class Gap(NamedTuple):
    """How far the largest batch stays behind another: `size` in points, by fresh seeds."""

    small: Any
    large: Any
    size: Estimate


def gap_at(reading: Reading, updates: int) -> Gap:
    """The gap below the other batch that the tuning's seeds find best, so that fresh ones judge."""
    rows = rows_at(reading, updates)
    others, large = rows.iloc[:-1], rows.iloc[-1]
    small = others.iloc[int(others.test_accuracy_mean.argmax())]
    return Gap(small, large, reading.reached(small.key) - reading.reached(large.key))


def gap_to_best(reading: Reading) -> Gap:
    """The gap below the batch size that the arms borrow from, with as many updates as they have."""
    rows: dict[Any, Any] = {row.batch_size: row for row in rows_at(reading, MOST).itertuples()}
    small, large = rows[BEST], rows[IMAGES]
    return Gap(small, large, reading.reached(small.key) - reading.reached(large.key))


NOT_YET = "not yet complete"


def gaps_at(reading: Reading) -> dict[int, Gap | str]:
    """By number of updates the gap, or in a few words why it is not known.

    It is where all sweeps with as many updates are complete, and of one device.
    """
    return {updates: _gap_or_why(reading, updates) for updates in BUDGETS}


def _gap_or_why(reading: Reading, updates: int) -> Gap | str:
    part = reading.part(_WITH[updates])
    if part.waiting or not part.states:
        return NOT_YET
    if len(part.devices) > 1:
        return f"on mixed devices, {' and '.join(part.devices)},"
    rows = rows_at(part, updates)
    if no_optimum(part, rows.key):
        return "not known for want of a tuned rate"
    return gap_at(part, updates)


def told(gaps: Iterable[tuple[Gap, int]]) -> str:
    """Gaps, each at its number of updates, as a part of a sentence."""
    said = [
        f"with {updates:,} updates B = {gap.small.batch_size:,} is {gap.size} points above "
        f"B = {gap.large.batch_size:,}"
        for gap, updates in gaps
    ]
    return ", and ".join(said)


def gaps_so_far(reading: Reading) -> str:
    """The gaps that are known, in a sentence, however many wait; empty where none is."""
    known = [(gap, at) for at, gap in gaps_at(reading).items() if isinstance(gap, Gap)]
    return f"So far, by fresh seeds, {told(known)}." if known else ""
