"""The sweeps of H17's ladder by their names, and what each reached.

The recipes are fixed and nothing is tuned, so that each sweep's statistic is the mean over all its
seeds, with Student's t on its own variance. A sweep of which a run diverged has no mean.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from sgdnoise import data
from sgdnoise.analysis import Estimate, Reading, without
from sgdnoise.analysis.intervals import quantile
from sgdnoise.experiments.generalization_gap.grid import NOISE, RUNGS
from sgdnoise.papers.numbers import H17_NETWORKS, table
from sgdnoise.records.record import Record
from sgdnoise.study.grid import Key, SweepState
from sgdnoise.study.scales import net_name

SomeReading = TypeVar("SomeReading", bound=Reading)


# --- Which sweeps -----------------------------------------------------------------------------


def at(rung: str, **more: Any) -> Key:
    """The key of a sweep of the main ladder, or about it."""
    return (("rung", rung), *more.items())


def names_of(key: Key) -> set[str]:
    return {name for name, _ in key}


def is_main(key: Key) -> bool:
    return _is_named(key, ())


def _is_named(key: Key, name: Key) -> bool:
    return without(key, "rung") == name and dict(key)["rung"] in RUNGS


def ladders(reading: SomeReading) -> dict[str, SomeReading]:
    """Each ladder by its name, the main one's being empty; the keys of each are those of rungs."""
    found: dict[str, SomeReading] = {}
    for state in reading.states:
        name = without(state.sweep.key, "rung")
        if not names_of(name) <= {"net", "images"}:
            continue
        shown = " ".join(_CALLED[part](value) for part, value in name)
        if shown not in found:
            part = reading.part(partial(_is_named, name=name))
            found[shown] = dataclasses.replace(part)
            states = [replace(s, sweep=replace(s.sweep, key=at(rung_of(s)))) for s in part.states]
            found[shown].__dict__.update(known=part.known, states=states)
    return found


RECIPES = {
    "SB": "the small batch (SB)",
    "LB": "the large batch (LB)",
    "+LR": "the larger rate (+LR)",
    "+GBN": "ghost batch norm (+GBN)",
    "+RA": "as many updates (+RA)",
    NOISE: "multiplicative noise",
}
"""The recipes in words, beside H17's abbreviations."""

_CALLED: dict[str, Callable[[Any], str]] = {
    "net": net_name,
    "images": "{:,} images of MNIST".format,
}


def main(reading: SomeReading) -> SomeReading:
    """The ladder that a page draws: the one that is judged, or another until it is measured."""
    found = list(ladders(reading).values())
    return next((one for one in found if one.runs), found[0])


def has(reading: Reading, *keys: Key) -> bool:
    """Whether this scale has these sweeps."""
    return set(keys) <= {state.sweep.key for state in reading.states}


def half_of(reading: Reading) -> int:
    """Half of the large batch: where H17 has 2,048; 0 where no sweep is of it."""
    sizes = [dict(s.sweep.key).get("batch_size", 0) for s in reading.states if rung_of(s) == NOISE]
    return max(sizes, default=0)


def rung_of(state: SweepState) -> str:
    return str(dict(state.sweep.key)["rung"])


# --- What each sweep reached ------------------------------------------------------------------


def rows(reading: Reading) -> pd.DataFrame:
    """One row a rung of one ladder: its recipe, what it reached, and what H17 prints.

    Columns: `rung`, `batch_size`, `learning_rate`, `norm` (whose examples share statistics),
    `epochs`, `updates`, `seeds` (recorded), `wanted` (that there should be), `diverged`,
    `accuracy` and `std` (over all seeds, NaN where one diverged or none is there), `half` (of the
    mean's 95% interval, NaN for one seed), `fitted` (mean training accuracy, likewise), `printed`,
    `settled` (whether all are there).
    """
    return pd.DataFrame([row_of(state, reading.records) for state in reading.states])


def row_of(state: SweepState, records: Mapping[str, Record]) -> dict[str, object]:
    config = state.needed[0]
    runs = [records[c.id] for c in state.needed if c.id in records]
    runs = [run for run in runs if run.status != "failed"]
    values = [float(run.metrics["test_accuracy"] or 0.0) for run in runs if run.status == "done"]
    diverged = len(runs) - len(values)
    whole = bool(values) and not diverged
    rows_of = table("H17-T1").set_index("network")
    printed = {str(name): value for name, value in rows_of.loc[H17_NETWORKS[config.model]].items()}
    rung = rung_of(state)
    return {
        "rung": rung,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "norm": config.ghost_batch_size if config.norm == "ghost" else config.batch_size,
        "epochs": config.epochs,
        "updates": config.total_steps(data.images_of(config)),
        "seeds": len(runs),
        "wanted": len(state.needed),
        "diverged": diverged,
        "accuracy": float(np.mean(values)) if whole else math.nan,
        "std": float(np.std(values, ddof=1)) if whole and len(values) > 1 else math.nan,
        "half": Estimate.mean(values).interval.half if whole else math.nan,
        "fitted": _fitted(runs) if whole else math.nan,
        "printed": printed.get(rung, math.nan),
        "settled": state.settled,
    }


def _fitted(runs: Sequence[Record]) -> float:
    found = [run.metrics.get("train_accuracy") for run in runs]
    return float(np.mean([math.nan if value is None else value for value in found]))


def closed(accuracy: pd.Series) -> list[float]:
    """Part of the gap between SB and LB that each rung closes; NaN where there is no gap."""
    small, large = float(accuracy.iloc[0]), float(accuracy.iloc[1])
    gap = small - large
    return [(float(a) - large) / gap if gap > 0 else math.nan for a in accuracy]


def other_ladders(reading: Reading) -> list[str]:
    """The names of the ladders that have runs, beside the one that is drawn."""
    drawn, found = main(reading), ladders(reading).items()
    return [name for name, one in found if one.runs and one.states != drawn.states]


def step(reading: Reading, above: Key, below: Key) -> Estimate:
    """The difference of two sweeps in test accuracy, by all their seeds."""
    return reading.reached(above) - reading.reached(below)


def by_seed(
    reading: Reading, key: Key, of: Callable[[Record], float | None] | None = None
) -> dict[int, float]:
    """A number of each finished run of a sweep, by seed: its test accuracy, or what is asked for.

    Args:
        reading: with the sweep among its own, or without it.
        key: of the sweep.
        of: gives the number, and None for a run that has none.
    """
    runs = [
        reading.records[config.id]
        for state in reading.states
        if state.sweep.key == key
        for config in state.needed
        if config.id in reading.records
    ]
    found = {
        run.config.seed: of(run) if of else run.metrics.get("test_accuracy")
        for run in runs
        if run.status == "done"
    }
    return {seed: float(value) for seed, value in found.items() if value is not None}


def apart(mine: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """The differences of runs that share a seed, the lowest seed's first."""
    return [mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys())]


def paired(reading: Reading, above: Key, below: Key) -> Estimate:
    """The mean difference of two sweeps in test accuracy, by the runs that share a seed.

    Such runs start from one net and see the images in one order: what a seed does to both is no
    part of the difference, which `step` takes for one of independent means.
    """
    return Estimate.mean(apart(by_seed(reading, above), by_seed(reading, below)))


def end(run: Record) -> float | None:
    """Distance of the weights from their start at a run's end; None where it was not looked at."""
    return (run.curves.get("distance") or [None])[-1] or None


def farther(reading: Reading, above: Key, below: Key) -> Estimate:
    """Log₂ of how many times as far one sweep ends from its start as another, by shared seeds."""
    mine, theirs = (
        {seed: math.log2(far) for seed, far in by_seed(reading, key, end).items()}
        for key in (above, below)
    )
    return Estimate.mean(apart(mine, theirs))


def of_single_runs(reading: Reading, above: Key, below: Key) -> float:
    """Half of the 95% interval of such a difference where one run stands for each sweep, as in H17.

    By the runs' own spread here, which stands for H17's.
    """
    sides = [reading.reached(key) for key in (above, below)]
    spread = math.hypot(*(one.error * math.sqrt(one.dof + 1) for one in sides))
    return quantile((sides[0] - sides[1]).dof) * spread


def lost_runs(reading: Reading, keys: Iterable[Key]) -> str:
    """What a comparison of sweeps lacks: that none of their runs is lost."""
    by = {state.sweep.key: state for state in reading.states}
    for key in keys:
        row = row_of(by[key], reading.records) if key in by else None
        if row and row["diverged"]:
            return f"{row['diverged']} of {row['seeds']} runs of {called(key)} diverged."
    return ""


def called(key: Key) -> str:
    """A sweep in words."""
    parts = dict(key)
    rung, size = RECIPES[str(parts.pop("rung"))], parts.pop("batch_size", None)
    more = "".join(f", {name} {value}," for name, value in parts.items())
    return f"{rung}{more}" + (f" at B = {size:,}" if size else "")


def momentum_left(batch_size: int, train_size: int, momentum: float) -> float:
    """Part of 1/(1 − m) that an update has on average where the momentum is reset each epoch.

    The k-th update after a reset adds 1 − m^k of what a steady momentum adds.
    """
    updates = max(1, round(train_size / batch_size))
    return 1 - float(np.mean(momentum ** np.arange(1, updates + 1)))
