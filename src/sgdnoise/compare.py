"""Mine, the committed runs, the paper: do they agree?

Two stores of one experiment are compared where a claim would be: tuned learning rates, accuracies,
slopes and boundaries, each with its spread. Identical numbers are not asked for, since another
processor rounds differently and a training run amplifies it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sgdnoise import analysis
from sgdnoise.analysis import Interval
from sgdnoise.experiments import METHODS, Experiment, Key
from sgdnoise.markdown import literal
from sgdnoise.paper import H17_NETWORKS, printed
from sgdnoise.paper import table as paper_table
from sgdnoise.records import Record
from sgdnoise.sweep import missing

SIGMAS = 3.0
"""Two means agree within this many standard errors of their difference."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sets of records of one experiment at one scale.

    Attributes:
        experiment: which.
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
        both["error"] = mine.fillna(theirs) / np.sqrt(both.fresh_seeds)
        both["error_committed"] = theirs.fillna(mine) / np.sqrt(both.fresh_seeds_committed)
        gap = (both.test_accuracy_fresh - both.test_accuracy_fresh_committed).abs()
        both["accuracy_agrees"] = gap <= SIGMAS * np.hypot(both.error, both.error_committed)
        return both

    @functools.cached_property
    def quantities(self) -> pd.DataFrame:
        """One row a number that the paper prints for this experiment, or a rule that it states.

        Columns: `quantity`, `mine`, `committed`, `agree`, `paper`. The paper's belong to another
        net or data set, unless the scale is `paper`: they stand there to be seen, not matched.
        """
        rows: Sequence[tuple[object, ...]] = []
        if self.over_batch_sizes:
            rows = self._regimes()
        elif "S20-T1" in self.experiment.items:
            rows = [self._best_batch_size()]
        elif "S20-F2c" in self.experiment.items:
            rows = self._epoch_slopes()
        elif "H17-T1" in self.experiment.items:
            rows = [self._gap()]
        return pd.DataFrame(rows, columns=["quantity", "mine", "committed", "agree", "paper"])

    def _both_tunings(self, objective: str = "test_accuracy") -> list[dict[Key, analysis.Tuning]]:
        return [
            analysis.tunings(self.experiment, self.scale, seeds, records, objective)
            for seeds, records in self._sides
        ]

    def _regimes(self) -> list[tuple[str, Interval, Interval, bool, str]]:
        """Figure 1c of S20: the slope below the boundary, and the batch size at it."""
        ours, theirs = self._both_tunings()
        rows = []
        for method in METHODS:
            a, b = analysis.boundary_of(ours, method), analysis.boundary_of(theirs, method)
            for name in ("slope", "boundary"):
                x, y = getattr(a, name), getattr(b, name)
                paper = printed(f"S20-F1.{name}").value
                rows.append((f"{method}: {name}", x, y, _overlap(x, y), f"S20 {paper:g}"))
        return rows

    def _best_batch_size(self) -> tuple[str, int, int, bool, str]:
        """Table 1 of S20: where accuracy peaks. Two peaks agree if mine is as high at either."""
        rows = self.points
        here = int(rows.test_accuracy_fresh.argmax())
        there = int(rows.test_accuracy_fresh_committed.argmax())
        gap = rows.test_accuracy_fresh[here] - rows.test_accuracy_fresh[there]
        same = bool(gap <= SIGMAS * math.hypot(rows.error[here], rows.error[there]))
        table = paper_table("S20-T1")
        paper = table.batch_size[int(table.test_accuracy.argmax())]
        sizes = rows.batch_size
        return "batch size of the best accuracy", sizes[here], sizes[there], same, f"S20 {paper}"

    def _epoch_slopes(self) -> list[tuple[str, Interval, Interval, bool, str]]:
        """Figure 2 of S20: log tuned learning rate against log epochs, for either objective."""
        rows = []
        over = math.log2(printed("S20-F2.epoch_factor").value)
        for objective, fall in (("test_accuracy", "test_lr_fall"), ("train_loss", "train_lr_fall")):
            ours, theirs = self._both_tunings(objective)
            paper = -math.log2(printed(f"S20-F2.{fall}").value) / over
            for variant in dict.fromkeys(analysis.without(key, "epochs") for key in ours):
                mine, committed = (
                    {k: one for k, one in side.items() if analysis.without(k, "epochs") == variant}
                    for side in (ours, theirs)
                )
                x, y = (analysis.log_slope(side, "epochs") for side in (mine, committed))
                what = (
                    f"{_name(variant)}: slope of the rate tuned for {objective.replace('_', ' ')}"
                )
                rows.append((what, x, y, _overlap(x, y), f"S20 {paper:.2g}"))
        return rows

    def _gap(self) -> tuple[str, Interval, Interval, bool, str]:
        """Table 1 of H17: the accuracy that large batches lose."""
        small, large = self.points.iloc[0], self.points.iloc[1]
        gaps = []
        for side in ("", "_committed"):
            gap = small[f"test_accuracy_fresh{side}"] - large[f"test_accuracy_fresh{side}"]
            width = 2 * math.hypot(small[f"error{side}"], large[f"error{side}"])
            gaps.append(Interval(gap, gap - width, gap + width))
        model = dict(self.experiment.sweeps[self.scale]()[0].fixed)["model"]
        row = paper_table("H17-T1").set_index("network").loc[H17_NETWORKS[model]]
        paper = f"H17 {row.SB - row.LB:.2f}"
        return "accuracy lost from SB to LB", gaps[0], gaps[1], _overlap(*gaps), paper

    @property
    def agreement(self) -> tuple[int, int]:
        """How many of the judgements in `points` agree, and how many there are."""
        judged = self.points[
            ["lr_agrees", "accuracy_agrees"] if self.tuned else ["accuracy_agrees"]
        ]
        return int(judged.to_numpy().sum()), judged.size

    @property
    def _elsewhere(self) -> str:
        return "" if self.scale == "paper" else ", in its own setting"

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
        for row in self.quantities.to_dict("records"):
            lines.append(
                f"  {row['quantity']}  {row['mine']} / {row['committed']} "
                f"{_word(row['agree'])} ({row['paper']}{self._elsewhere})"
            )
        if self.quantities.empty:
            lines.append("  the paper shows curves here and prints no number to stand beside these")
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
        devices = {literal(record.provenance.get("device")) for record in self.mine.values()}
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

    def quantity_table(self) -> pd.DataFrame:
        """`quantities` in the words of a page; empty where one side has no records."""
        if not self.mine or not self.committed:
            return pd.DataFrame()
        table = self.quantities
        return table.assign(
            mine=table.mine.map(str),
            committed=table.committed.map(str),
            agree=table.agree.map(_word),
        ).rename(columns={"paper": f"paper{self._elsewhere}", "agree": "mine and committed"})


def _name(key: Key) -> str:
    (_, method), *others = key
    return " ".join([method, *(f"{name}={value}" for name, value in others)])


def _overlap(x: Interval, y: Interval) -> bool:
    if any(math.isnan(v) for v in (x.low, y.low)):
        return False
    return x.low <= y.high and y.low <= x.high


def _word(agrees: bool) -> str:
    return "agrees" if agrees else "DIFFERS"
