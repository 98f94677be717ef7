"""Mine, the committed runs, the paper: do they agree?

Two stores of one experiment are compared where a claim would be: tuned learning rates, accuracies,
slopes and boundaries, each with its spread. Identical numbers are not asked for, since another
processor rounds differently and a training run amplifies it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from sgdnoise import analysis
from sgdnoise.analysis import Interval
from sgdnoise.experiments import METHODS, Experiment
from sgdnoise.paper import printed
from sgdnoise.records import Record, Store

SIGMAS = 3.0
"""Two means agree within this many standard errors of their difference, and one test example."""


def points(
    experiment: Experiment,
    scale: str,
    seeds: int,
    mine: Mapping[str, Record],
    committed: Mapping[str, Record],
    committed_seeds: int,
) -> pd.DataFrame:
    """One row a tuned point: both tuned learning rates and both re-estimated accuracies.

    The accuracies are those of the fresh seeds, whose spread no selection has narrowed.
    `lr_agrees`: the parabola's intervals overlap, or the grid optima are a step apart at most.
    `accuracy_agrees`: the means lie within `SIGMAS` standard errors of their difference.
    """
    a = analysis.optima(experiment, scale, seeds, mine)
    b = analysis.optima(experiment, scale, committed_seeds, committed)
    key = list(dict(experiment.sweeps[scale]()[0].key))
    both = a.merge(b, on=key, suffixes=("", "_committed"))
    overlap = (both.peak_low <= both.peak_high_committed) & (
        both.peak_low_committed <= both.peak_high
    )
    both["lr_agrees"] = overlap | ((both.exponent - both.exponent_committed).abs() <= 1)
    error = np.sqrt(
        both.test_accuracy_fresh_std**2 / both.fresh_seeds
        + both.test_accuracy_fresh_std_committed**2 / both.fresh_seeds_committed
    )
    gap = (both.test_accuracy_fresh - both.test_accuracy_fresh_committed).abs()
    both["accuracy_gap"] = gap
    both["accuracy_agrees"] = gap <= SIGMAS * error
    return both


def boundaries(
    experiment: Experiment,
    scale: str,
    seeds: int,
    mine: Mapping[str, Record],
    committed: Mapping[str, Record],
    committed_seeds: int,
) -> pd.DataFrame:
    """One row a method and quantity: slope below and batch size at the boundary, with the paper's.

    Only for experiments keyed by method and batch size. The paper's boundary belongs to another
    net and data set; it stands there to be seen, not to be matched.
    """
    ours = analysis.tunings(experiment, scale, seeds, mine)
    theirs = analysis.tunings(experiment, scale, committed_seeds, committed)
    rows = []
    for method in METHODS:
        a, b = analysis.boundary_of(ours, method), analysis.boundary_of(theirs, method)
        for name in ("slope", "boundary"):
            x, y = getattr(a, name), getattr(b, name)
            rows.append(
                {
                    "method": method,
                    "quantity": name,
                    "mine": x,
                    "committed": y,
                    "agree": _overlap(x, y),
                    "paper": printed(f"S20-F1.{name}").value,
                }
            )
    return pd.DataFrame(rows)


def _overlap(x: Interval, y: Interval) -> bool:
    if any(math.isnan(v) for v in (x.low, y.low)):
        return False
    return x.low <= y.high and y.low <= x.high


def text(experiment: Experiment, scale: str, seeds: int, mine: Store, committed: Store) -> str:
    """The comparison as a few lines for a terminal."""
    ours = mine.read(scale, experiment.name)
    theirs = committed.read(scale, experiment.name)
    if not theirs:
        return f"{experiment.name}, {scale}: nothing is committed to compare with"
    usual = experiment.seeds[scale]
    table = points(experiment, scale, seeds, ours, theirs, usual)
    lines = [f"{experiment.name}, {scale}: mine beside the committed runs"]
    for row in table.itertuples():
        lines.append(
            f"  {row.method:<9} B={row.batch_size:<5} "
            f"lr* 2^{row.exponent:+.0f} / 2^{row.exponent_committed:+.0f} "
            f"{'agrees' if row.lr_agrees else 'DIFFERS':<8} "
            f"accuracy {row.test_accuracy_fresh:.2f} / {row.test_accuracy_fresh_committed:.2f} % "
            f"{'agrees' if row.accuracy_agrees else 'DIFFERS'}"
        )
    for row in boundaries(experiment, scale, seeds, ours, theirs, usual).itertuples():
        lines.append(
            f"  {row.method:<9} {row.quantity:<9} {row.mine} / {row.committed} "
            f"{'agrees' if row.agree else 'DIFFERS'}   (paper, on its own net: {row.paper:g})"
        )
    agree = int(table.lr_agrees.sum() + table.accuracy_agrees.sum())
    lines.append(f"  {agree} of {2 * len(table)} tuned points agree")
    return "\n".join(lines)
