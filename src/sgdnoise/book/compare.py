"""Mine, the committed runs, the paper: do they agree?

Two stores of one experiment are compared at every point, by tuned learning rate and accuracy, and
by what each says of the claims. Identical numbers are not asked for, since another
processor rounds differently and a training run amplifies it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from sgdnoise.analysis.reading import Reading
from sgdnoise.book.markdown import literal
from sgdnoise.claims import Claim, Verdict
from sgdnoise.experiments import findings
from sgdnoise.records.record import Record
from sgdnoise.study.grid import Key
from sgdnoise.study.study import Study

SIGMAS = 3.0
"""Two means agree within this many standard errors of their difference."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sets of records of one experiment at one scale.

    Attributes:
        mine: what this machine's records say.
        committed: what the records say that came with the book, with the experiment's own seeds.
        claims: what is judged on both.
    """

    mine: Reading
    committed: Reading
    claims: Sequence[Claim]

    @functools.cached_property
    def points(self) -> pd.DataFrame:
        """One row a tuned point: both tuned learning rates and both re-estimated accuracies.

        The accuracies are those of the fresh seeds, whose spread no selection has narrowed; of a
        recipe that is run as printed, those of all seeds, and there is no `lr_agrees`.
        `lr_agrees`: the parabola's intervals overlap, or the grid optima are a step apart at most.
        `accuracy_agrees`: the means lie within `SIGMAS` standard errors of their difference.
        """
        a, b = (
            side.optima() if side.is_tuned else side.recipes for side in (self.mine, self.committed)
        )
        both = a.merge(b, on="sweep", suffixes=("", "_committed"))
        if self.mine.is_tuned:
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

    @classmethod
    def of(cls, study: Study, mine: Mapping[str, Record], committed: Mapping[str, Record]) -> Self:
        """My records of a study beside the committed ones, which have its own number of seeds."""
        own = Study.of(study.experiment, study.scale)
        claims = findings(study.experiment.name).CLAIMS
        return cls(Reading(study, mine), Reading(own, committed), claims)

    @functools.cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row a claim: `claim`, `mine` and `committed` (verdicts), `agree`.

        They agree if the word is the same and the intervals, where both have one, overlap.
        """
        rows = []
        for claim in self.claims:
            x, y = claim.judge(self.mine), claim.judge(self.committed)
            rows.append((y.about or claim.stated.statement, x, y, _same(x, y)))
        return pd.DataFrame(rows, columns=["claim", "mine", "committed", "agree"])

    @property
    def agreement(self) -> tuple[int, int]:
        """How many of the judgements in `points` agree, and how many there are."""
        judged = self.points[
            ["lr_agrees", "accuracy_agrees"] if self.mine.is_tuned else ["accuracy_agrees"]
        ]
        return int(judged.to_numpy().sum()), judged.size

    @property
    def _judged(self) -> str:
        return "tuned learning rates and accuracies" if self.mine.is_tuned else "accuracies"

    def text(self) -> str:
        """The comparison as a few lines for a terminal."""
        study = self.mine.study
        head = f"{study.experiment.name}, {study.scale}: mine / committed"
        if not self.committed.records:
            return f"{head}: nothing is committed to compare with"
        lines = [head]
        names = self.points.key.map(_name)
        width = max(names.map(len), default=0)
        for name, row in zip(names, self.points.to_dict("records"), strict=True):
            tuned = ""
            if self.mine.is_tuned:
                rates = f"2^{row['exponent']:+.0f} / 2^{row['exponent_committed']:+.0f}"
                tuned = f"lr* {rates} {_word(row['lr_agrees']):<8} "
            accuracies = (
                f"{row['test_accuracy_fresh']:.2f} / {row['test_accuracy_fresh_committed']:.2f} %"
            )
            lines.append(
                f"  {name:<{width}}  {tuned}accuracy {accuracies} {_word(row['accuracy_agrees'])}"
            )
        for row in self.verdicts.to_dict("records"):
            lines.append(
                f"  {row['claim']}: {_short(row['mine'])} / {_short(row['committed'])} "
                f"{_word(row['agree'])}"
            )
        agree, of = self.agreement
        lines.append(f"  {agree} of {of} {self._judged} agree")
        return "\n".join(lines)

    def summary(self) -> str:
        """The comparison in a sentence or two, Markdown; or how to make one."""
        command = f"`{self.mine.study.command} --fresh`"
        mine, committed = self.mine.records, self.committed.records
        if not mine:
            return f"**Nothing has been trained on this machine yet.** {command} does it."
        if self.mine.missing:
            return (
                f"**{len(self.mine.missing)} runs are still missing on this machine.** {command} "
                "finishes them."
            )
        agree, of = self.agreement
        both = mine.keys() & committed.keys()
        equal = sum(mine[run].metrics == committed[run].metrics for run in both)
        devices = {literal(record.provenance.get("device")) for record in mine.values()}
        seconds = sum(float(r.provenance.get("seconds", 0)) for r in mine.values())
        return (
            f"**{agree} of {of}** {self._judged} agree. This machine "
            f"({', '.join(sorted(devices))}) trained {len(mine)} runs in "
            f"{seconds / 60:.1f} core-minutes; {equal} of them equal the committed ones to the "
            "last digit that is kept."
        )

    def point_table(self) -> pd.DataFrame:
        """`points` in the words of a page; empty where one side has no records."""
        if not self.mine.records or not self.committed.records:
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

    def verdict_table(self) -> pd.DataFrame:
        """`verdicts` in the words of a page; empty where one side has no records."""
        if not self.mine.records or not self.committed.records:
            return pd.DataFrame()
        table = self.verdicts
        return table.assign(
            mine=table.mine.map(_short),
            committed=table.committed.map(_short),
            agree=table.agree.map(_word),
        ).rename(columns={"agree": "mine and committed"})


def _name(key: Key) -> str:
    (_, method), *others = key
    return " ".join([method, *(f"{name}={value}" for name, value in others)])


def _same(x: Verdict, y: Verdict) -> bool:
    if x.interval is None or y.interval is None:
        return x.word == y.word
    return x.word == y.word and x.interval[0] <= y.interval[1] and y.interval[0] <= x.interval[1]


def _short(verdict: Verdict) -> str:
    """The word with its number."""
    if verdict.effect is None:
        return verdict.word
    number = f"{verdict.word}, {verdict.effect:.3g}"
    if verdict.interval is None:
        return number
    return f"{number} [{verdict.interval[0]:.3g}, {verdict.interval[1]:.3g}]"


def _word(agrees: bool) -> str:
    return "agrees" if agrees else "DIFFERS"
