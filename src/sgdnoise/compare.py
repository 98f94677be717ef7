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
from sgdnoise.sweep import missing

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


def agreement(table: pd.DataFrame) -> tuple[int, int]:
    """How many of the judgements in `points` agree, and how many there are."""
    return int(table.lr_agrees.sum() + table.accuracy_agrees.sum()), 2 * len(table)


def text(experiment: Experiment, scale: str, seeds: int, mine: Store, committed: Store) -> str:
    """The comparison as a few lines for a terminal."""
    ours = mine.read(scale, experiment.name)
    theirs = committed.read(scale, experiment.name)
    if not theirs:
        return f"{experiment.name}, {scale}: nothing is committed to compare with"
    usual = experiment.seeds[scale]
    table = points(experiment, scale, seeds, ours, theirs, usual)
    lines = [f"{experiment.name}, {scale}: mine / committed"]
    for row in table.to_dict("records"):
        lines.append(
            f"  {row['method']:<9} B={row['batch_size']:<5} "
            f"lr* 2^{row['exponent']:+.0f} / 2^{row['exponent_committed']:+.0f} "
            f"{_word(row['lr_agrees']):<8} accuracy {row['test_accuracy_fresh']:.2f} / "
            f"{row['test_accuracy_fresh_committed']:.2f} % {_word(row['accuracy_agrees'])}"
        )
    for row in boundaries(experiment, scale, seeds, ours, theirs, usual).to_dict("records"):
        lines.append(
            f"  {row['method']:<9} {row['quantity']:<9} {row['mine']} / {row['committed']} "
            f"{_word(row['agree'])} (S20, on its own net: {row['paper']:g})"
        )
    agree, of = agreement(table)
    lines.append(f"  {agree} of {of} tuned learning rates and accuracies agree")
    return "\n".join(lines)


def summary(
    experiment: Experiment,
    scale: str,
    seeds: int,
    mine: Mapping[str, Record],
    committed: Mapping[str, Record],
) -> str:
    """The comparison in a sentence or two, Markdown; or how to make one."""
    command = f"`sgdnoise reproduce {experiment.name} --scale {scale} --fresh`"
    if not mine:
        return f"**Nothing has been trained on this machine yet.** {command} does it."
    waiting = missing(experiment, scale, seeds, mine)
    if waiting:
        return (
            f"**{len(waiting)} runs are still missing on this machine.** {command} finishes them."
        )
    agree, of = agreement(points(experiment, scale, seeds, mine, committed, seeds))
    equal = sum(mine[run].metrics == committed[run].metrics for run in mine if run in committed)
    devices = {str(record.provenance.get("device")) for record in mine.values()}
    seconds = sum(float(record.provenance.get("seconds", 0)) for record in mine.values())
    return (
        f"**{agree} of {of}** tuned learning rates and accuracies agree. This machine "
        f"({', '.join(sorted(devices))}) trained {len(mine)} runs in "
        f"{seconds / 60:.1f} core-minutes; {equal} of them equal the committed ones to the last "
        "digit that is kept."
    )


def point_table(
    experiment: Experiment,
    scale: str,
    seeds: int,
    mine: Mapping[str, Record],
    committed: Mapping[str, Record],
) -> pd.DataFrame:
    """`points` in the words of a page; empty where one side has no records."""
    if not mine or not committed:
        return pd.DataFrame()
    table = points(experiment, scale, seeds, mine, committed, seeds)
    return pd.DataFrame(
        {
            "method": table.method,
            "B": table.batch_size,
            "log₂ lr*, mine": table.exponent,
            "committed": table.exponent_committed,
            "learning rate": table.lr_agrees.map(_word),
            "accuracy (%), mine": table.test_accuracy_fresh.round(2),
            "committed ": table.test_accuracy_fresh_committed.round(2),
            "accuracy": table.accuracy_agrees.map(_word),
        }
    )


def boundary_table(
    experiment: Experiment,
    scale: str,
    seeds: int,
    mine: Mapping[str, Record],
    committed: Mapping[str, Record],
) -> pd.DataFrame:
    """`boundaries` in the words of a page; empty where one side has no records."""
    if not mine or not committed:
        return pd.DataFrame()
    table = boundaries(experiment, scale, seeds, mine, committed, seeds)
    return table.assign(
        mine=table.mine.map(str), committed=table.committed.map(str), agree=table.agree.map(_word)
    ).rename(columns={"paper": "S20, on its own net", "agree": "mine and committed"})


def _word(agrees: bool) -> str:
    return "agrees" if agrees else "DIFFERS"
