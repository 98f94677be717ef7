"""Mine and the committed runs: do they agree?

Two stores of one experiment are compared at every point, by tuned learning rate and accuracy, and
by what each says of the claims. Identical numbers are not asked for, since another processor rounds
differently and a training run amplifies it.

To agree is to be surely alike: the whole interval of the difference lies inside a margin. Failure
to differ is no agreement, and so fewer seeds never make two stores agree: they make it undecided.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import pandas as pd

from sgdnoise.analysis import Estimate, Interval
from sgdnoise.analysis.reading import Reading
from sgdnoise.book.markdown import literal
from sgdnoise.claims import HELD, SURE, Claim, Verdict, alike, with_more
from sgdnoise.experiments import findings
from sgdnoise.records.record import Record
from sgdnoise.study.grid import Key, SweepState
from sgdnoise.study.study import Study

ACCURACY_MARGIN = 0.5
"""Points of accuracy within which two means count as one: no claim of the book turns on less."""

RATE_MARGIN = 1.0
"""Octaves within which two tuned learning rates count as one: a step of the grids, a factor two."""

Word = Literal["agrees", "DIFFERS", "undecided"]

_WORDS: dict[str, Word] = {"reproduced": "agrees", "contradicted": "DIFFERS"}

_DECIDED = {*SURE, "absent"}


@dataclass(frozen=True)
class Agreement:
    """Whether two numbers are one.

    Attributes:
        word: what came out.
        why: what would decide it, where it is undecided, or that the runs are identical.
    """

    word: Word
    why: str = ""

    def __str__(self) -> str:
        return f"{self.word} ({self.why})" if self.why else self.word


IDENTICAL = Agreement("agrees", "identical runs")


def agreement(difference: Estimate | Interval, margin: float, unit: str, seeds: int) -> Agreement:
    """Whether a difference is surely within a margin, surely outside, or neither.

    Args:
        difference: with its 95% interval.
        margin: how far apart two numbers may be that count as one.
        unit: of the difference.
        seeds: runs a grid point behind the side that has fewer.
    """
    verdict = replace(alike("", difference, unit=unit, margin=margin), seeds=seeds)
    if verdict.word != "undecided":
        return Agreement(_WORDS[verdict.word])
    if verdict.interval is None:
        return Agreement("undecided", "no interval: a single seed, or a rate on its grid's edge")
    more = with_more(verdict).why.strip().removesuffix(" would decide it.")
    return Agreement("undecided", more[:1].lower() + more[1:])


@dataclass(frozen=True)
class Point:
    """One sweep on both sides.

    Attributes:
        key: the sweep's.
        rates: log₂ of the tuned rate, mine and the committed; None where a recipe is run as it is.
        reached: accuracy, mine and the committed.
        rate: whether the rates agree; None where there are none.
        accuracy: whether the accuracies agree.
    """

    key: Key
    rates: tuple[Interval, Interval] | None
    reached: tuple[Estimate, Estimate]
    rate: Agreement | None
    accuracy: Agreement


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

    @classmethod
    def of(cls, study: Study, mine: Mapping[str, Record], committed: Mapping[str, Record]) -> Self:
        """My records of a study beside the committed ones, which have its own number of seeds."""
        own = Study.of(study.experiment, study.scale)
        claims = findings(study.experiment.name).CLAIMS
        return cls(Reading(study, mine), Reading(own, committed), claims)

    @functools.cached_property
    def points(self) -> list[Point]:
        """Every sweep of both: tuned rates and accuracies, by the statistics of the verdicts.

        An accuracy is that of the fresh seeds, which the tuning never saw; of a recipe that is run
        as printed, that of all seeds.
        """
        return [self._point(*pair) for pair in self._pairs]

    @functools.cached_property
    def _pairs(self) -> list[tuple[SweepState, SweepState]]:
        theirs = {state.sweep.key: state for state in self.committed.states}
        mine = self.mine.states
        return [(s, theirs[s.sweep.key]) for s in mine if s.sweep.key in theirs]

    @functools.cached_property
    def alone(self) -> dict[str, list[Key]]:
        """The sweeps that one side alone asks for, which depends on what its others came to."""
        here, there = (
            [state.sweep.key for state in side.states] for side in (self.mine, self.committed)
        )
        sides = {"here": (here, there), "in the committed records": (there, here)}
        found = {side: [k for k in mine if k not in other] for side, (mine, other) in sides.items()}
        return {side: keys for side, keys in found.items() if keys}

    def _point(self, mine: SweepState, committed: SweepState) -> Point:
        key = mine.sweep.key
        sides = (self.mine, self.committed)
        x, y = (side.reached(key) for side in sides)
        seeds = min(self.mine.study.seeds, self.committed.study.seeds)
        accuracy = agreement(x - y, ACCURACY_MARGIN, "points", seeds)
        rates, rate = None, None
        if mine.sweep.axes:
            tuned_for = mine.sweep.objectives[0].name
            a, b = (side.tuned(tuned_for)[key].peak for side in sides)
            rates, rate = (a, b), agreement(a - b, RATE_MARGIN, "octaves", seeds)
        if self._equal(mine, committed):
            rate, accuracy = rate and IDENTICAL, IDENTICAL
        return Point(key, rates, (x, y), rate, accuracy)

    def _equal(self, mine: SweepState, committed: SweepState) -> bool:
        """Whether the same runs stand behind a sweep on both sides, with the same numbers."""
        here, there = ({config.id for config in s.needed} for s in (mine, committed))
        a, b = self.mine.records, self.committed.records
        return here == there and all(
            run in a and run in b and a[run].metrics == b[run].metrics for run in here
        )

    @property
    def identical(self) -> bool:
        """Whether all runs of both sides are the same, with the same numbers."""
        return not self.alone and all(self._equal(*pair) for pair in self._pairs)

    @functools.cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row a claim of this scale: `claim`, `mine` and `committed` (verdicts), `agree`.

        They agree by the same word, if it is one that the runs decided, and differ by opposite
        ones. Two that are undecided agree in nothing, unless every run is identical.
        """
        rows = []
        for claim in self.claims:
            x, y = claim.judge(self.mine), claim.judge(self.committed)
            if x.elsewhere and y.elsewhere:
                continue
            agree = IDENTICAL if self.identical else Agreement(_compared(x.word, y.word))
            rows.append((y.about or claim.stated.statement, x, y, agree))
        return pd.DataFrame(rows, columns=["claim", "mine", "committed", "agree"])

    @property
    def judged(self) -> list[Agreement]:
        """All that was judged of tuned rates and accuracies."""
        return [one for point in self.points for one in (point.rate, point.accuracy) if one]

    @property
    def count(self) -> str:
        """How many of these agree, in words."""
        words = [one.word for one in self.judged]
        what = "tuned learning rates and accuracies" if self.mine.is_tuned else "accuracies"
        said = f"{words.count('agrees')} of {len(words)} {what} agree"
        if unknown := words.count("undecided"):
            said += f", {unknown} cannot be told"
        if differ := words.count("DIFFERS"):
            said += f", {differ} {'differs' if differ == 1 else 'differ'}"
        return said

    def text(self) -> str:
        """The comparison as a few lines for a terminal."""
        study = self.mine.study
        head = f"{study.experiment.name}, {study.scale}: this machine / committed records"
        if not self.committed.records:
            return f"{head}: there are no committed records to compare with"
        lines = [head]
        width = max((len(_name(point.key)) for point in self.points), default=0)
        for point in self.points:
            parts = [f"  {_name(point.key):<{width}}"]
            if point.rates is not None:
                a, b = point.rates
                parts.append(f"lr* {_power(a)} / {_power(b)} {point.rate}")
            x, y = point.reached
            parts.append(f"accuracy {_percent(x)} / {_percent(y)} % {point.accuracy}")
            lines.append("  ".join(parts))
        for side, keys in self.alone.items():
            lines.append(f"  asked for {side} alone: {'; '.join(map(_name, keys))}")
        for row in self.verdicts.to_dict("records"):
            sides = f"{_short(row['mine'])} / {_short(row['committed'])}"
            lines.append(f"  {row['claim']}: {sides} {row['agree']}")
        lines.append(f"  {self.count}")
        if self.identical:
            lines.append(f"  {_ONLY_IDENTICAL}")
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
        both = mine.keys() & committed.keys()
        equal = sum(mine[run].metrics == committed[run].metrics for run in both)
        devices = {literal(record.provenance.get("device")) for record in mine.values()}
        seconds = sum(float(r.provenance.get("seconds", 0)) for r in mine.values())
        said = (
            f"**{self.count[:1].upper()}{self.count[1:]}.** This machine "
            f"({', '.join(sorted(devices))}) trained {len(mine)} runs in "
            f"{seconds / 60:.1f} core-minutes; {equal} of them equal the committed ones to the "
            "last digit that is kept."
        )
        for side, keys in self.alone.items():
            said += f" Sweeps that are asked for {side} alone: {len(keys)}."
        return f"{said} {_ONLY_IDENTICAL}" if self.identical else said

    def point_table(self) -> pd.DataFrame:
        """`points` in the words of a page; empty where one side has no records."""
        if not self.mine.records or not self.committed.records:
            return pd.DataFrame()
        rows = []
        for point in self.points:
            row: dict[str, object] = {
                {"batch_size": "B"}.get(name, name): value for name, value in point.key
            }
            if point.rates is not None:
                a, b = point.rates
                row |= {
                    "best rate here (log₂)": a,
                    "best rate committed (log₂)": b,
                    "best rates": point.rate,
                }
            x, y = point.reached
            row |= {"accuracy here (%)": _percent(x), "accuracy committed (%)": _percent(y)}
            rows.append(row | {"accuracies": point.accuracy})
        return pd.DataFrame(rows)

    def verdict_table(self) -> pd.DataFrame:
        """`verdicts` in the words of a page; empty where one side has no records."""
        if not self.mine.records or not self.committed.records:
            return pd.DataFrame()
        table = self.verdicts
        return table.assign(
            mine=table.mine.map(_short), committed=table.committed.map(_short)
        ).rename(
            columns={
                "mine": "this machine",
                "committed": "committed records",
                "agree": "do they agree",
            }
        )


_ONLY_IDENTICAL = (
    "All runs are identical. This shows only that the machine computes alike: it is no second "
    "sample."
)


def _compared(x: str, y: str) -> Word:
    """Whether two words on a claim agree."""
    if x == y and x in _DECIDED:
        return "agrees"
    opposite = (x in HELD and y == "contradicted") or (y in HELD and x == "contradicted")
    return "DIFFERS" if opposite else "undecided"


def _name(key: Key) -> str:
    (_, method), *others = key
    return " ".join([str(method), *(f"{name}={value}" for name, value in others)])


def _power(rate: Interval) -> str:
    return f"2^{rate.value:+.2f}" if math.isfinite(rate.value) else "none"


def _percent(reached: Estimate) -> str:
    return f"{reached.value:.2f}" if math.isfinite(reached.value) else "–"


def _short(verdict: Verdict) -> str:
    """The word with its number."""
    if verdict.effect is None:
        return verdict.word
    number = f"{verdict.word}, {verdict.effect:.3g}"
    if verdict.interval is None:
        return number
    return f"{number} [{verdict.interval[0]:.3g}, {verdict.interval[1]:.3g}]"
