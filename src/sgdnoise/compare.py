"""Mine, the committed runs, the paper: do they agree?

Two stores of one experiment are compared where a claim would be: tuned learning rates, accuracies,
slopes and boundaries, each with its spread. Identical numbers are not asked for, since another
processor rounds differently and a training run amplifies it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sgdnoise import analysis
from sgdnoise.analysis import Interval
from sgdnoise.experiments import METHODS, Experiment, Key
from sgdnoise.paper import printed
from sgdnoise.records import Record
from sgdnoise.sweep import missing

SIGMAS = 3.0
"""Two means agree within this many standard errors of their difference."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sets of records of one experiment at one scale.

    Attributes:
        experiment: which; `boundaries` needs one keyed by method and batch size.
        scale: at which scale.
        seeds: runs a grid point on my side; the committed side has the experiment's own number.
        mine: the records of this machine, by run.
        committed: the records that came with the book.
    """

    experiment: Experiment
    scale: str
    seeds: int
    mine: Mapping[str, Record]
    committed: Mapping[str, Record]

    @property
    def _sides(self) -> tuple[tuple[int, Mapping[str, Record]], ...]:
        return (self.seeds, self.mine), (self.experiment.seeds[self.scale], self.committed)

    @property
    def tuned(self) -> bool:
        """Whether the experiment tunes a learning rate, or runs recipes as they are printed."""
        return all(sweep.axes for sweep in self.experiment.sweeps[self.scale]())

    @property
    def over_batch_sizes(self) -> bool:
        """Whether the experiment has a slope and a boundary: two methods over batch sizes."""
        keys = [dict(sweep.key) for sweep in self.experiment.sweeps[self.scale]()]
        return all(key.keys() == {"method", "batch_size"} for key in keys) and set(METHODS) == {
            key["method"] for key in keys
        }

    @functools.cached_property
    def points(self) -> pd.DataFrame:
        """One row a tuned point: both tuned learning rates and both re-estimated accuracies.

        The accuracies are those of the fresh seeds, whose spread no selection has narrowed; of a
        recipe that is run as printed, those of all seeds, and there is no `lr_agrees`.
        `lr_agrees`: the parabola's intervals overlap, or the grid optima are a step apart at most.
        `accuracy_agrees`: the means lie within `SIGMAS` standard errors of their difference.
        """
        read = analysis.optima if self.tuned else analysis.recipes
        a, b = (read(self.experiment, self.scale, *side) for side in self._sides)
        both = a.merge(b, on="sweep", suffixes=("", "_committed"))
        if self.tuned:
            overlap = (both.peak_low <= both.peak_high_committed) & (
                both.peak_low_committed <= both.peak_high
            )
            both["lr_agrees"] = overlap | ((both.exponent - both.exponent_committed).abs() <= 1)
        mine, theirs = both.test_accuracy_fresh_std, both.test_accuracy_fresh_std_committed
        # A single seed has no spread of its own: the other side's stands for it.
        error = np.sqrt(
            mine.fillna(theirs) ** 2 / both.fresh_seeds
            + theirs.fillna(mine) ** 2 / both.fresh_seeds_committed
        )
        gap = (both.test_accuracy_fresh - both.test_accuracy_fresh_committed).abs()
        both["accuracy_agrees"] = gap <= SIGMAS * error
        return both

    @functools.cached_property
    def boundaries(self) -> pd.DataFrame:
        """One row a method and quantity: the slope below and the batch size at the boundary.

        The paper's belong to another net and data set; they stand there to be seen, not matched.
        """
        ours, theirs = (
            analysis.tunings(self.experiment, self.scale, seeds, records)
            for seeds, records in self._sides
        )
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

    @property
    def agreement(self) -> tuple[int, int]:
        """How many of the judgements in `points` agree, and how many there are."""
        judged = self.points[
            ["lr_agrees", "accuracy_agrees"] if self.tuned else ["accuracy_agrees"]
        ]
        return int(judged.to_numpy().sum()), judged.size

    @property
    def _judged(self) -> str:
        return "tuned learning rates and accuracies" if self.tuned else "accuracies"

    def text(self) -> str:
        """The comparison as a few lines for a terminal."""
        head = f"{self.experiment.name}, {self.scale}: mine / committed"
        if not self.committed:
            return f"{head}: nothing is committed to compare with"
        lines = [head]
        names = self.points.key.map(_name)
        width = max(names.map(len), default=0)
        for name, row in zip(names, self.points.to_dict("records"), strict=True):
            tuned = ""
            if self.tuned:
                rates = f"2^{row['exponent']:+.0f} / 2^{row['exponent_committed']:+.0f}"
                tuned = f"lr* {rates} {_word(row['lr_agrees']):<8} "
            accuracies = (
                f"{row['test_accuracy_fresh']:.2f} / {row['test_accuracy_fresh_committed']:.2f} %"
            )
            lines.append(
                f"  {name:<{width}}  {tuned}accuracy {accuracies} {_word(row['accuracy_agrees'])}"
            )
        if self.over_batch_sizes:
            for row in self.boundaries.to_dict("records"):
                lines.append(
                    f"  {row['method']:>8} {row['quantity']:<9} {row['mine']} / "
                    f"{row['committed']} {_word(row['agree'])} "
                    f"(S20, on its own net: {row['paper']:g})"
                )
        agree, of = self.agreement
        lines.append(f"  {agree} of {of} {self._judged} agree")
        return "\n".join(lines)

    def summary(self) -> str:
        """The comparison in a sentence or two, Markdown; or how to make one."""
        command = f"`sgdnoise reproduce {self.experiment.name} --scale {self.scale} --fresh`"
        if not self.mine:
            return f"**Nothing has been trained on this machine yet.** {command} does it."
        waiting = missing(self.experiment, self.scale, self.seeds, self.mine)
        if waiting:
            return (
                f"**{len(waiting)} runs are still missing on this machine.** {command} "
                "finishes them."
            )
        agree, of = self.agreement
        both = self.mine.keys() & self.committed.keys()
        equal = sum(self.mine[run].metrics == self.committed[run].metrics for run in both)
        devices = {str(record.provenance.get("device")) for record in self.mine.values()}
        seconds = sum(float(r.provenance.get("seconds", 0)) for r in self.mine.values())
        return (
            f"**{agree} of {of}** {self._judged} agree. This machine "
            f"({', '.join(sorted(devices))}) trained {len(self.mine)} runs in "
            f"{seconds / 60:.1f} core-minutes; {equal} of them equal the committed ones to the "
            "last digit that is kept."
        )

    def point_table(self) -> pd.DataFrame:
        """`points` in the words of a page; empty where one side has no records."""
        if not self.mine or not self.committed:
            return pd.DataFrame()
        table = self.points
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

    def boundary_table(self) -> pd.DataFrame:
        """`boundaries` in the words of a page; empty where one side has no records."""
        if not self.mine or not self.committed:
            return pd.DataFrame()
        table = self.boundaries
        return table.assign(
            mine=table.mine.map(str),
            committed=table.committed.map(str),
            agree=table.agree.map(_word),
        ).rename(columns={"paper": "S20, on its own net", "agree": "mine and committed"})


def _name(key: Key) -> str:
    (_, method), *others = key
    return " ".join([method, *(f"{name}={value}" for name, value in others)])


def _overlap(x: Interval, y: Interval) -> bool:
    if any(math.isnan(v) for v in (x.low, y.low)):
        return False
    return x.low <= y.high and y.low <= x.high


def _word(agrees: bool) -> str:
    return "agrees" if agrees else "DIFFERS"
