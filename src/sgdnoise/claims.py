"""Claims: what the papers state, as predicates on the records that give a word and its reasons.

A claim is judged on one `Reading`. The page, the scorecard and `sgdnoise claims` are one list.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from sgdnoise.analysis.intervals import Interval
from sgdnoise.analysis.reading import Reading
from sgdnoise.errors import InputError
from sgdnoise.papers.numbers import Stated, stated

Word = Literal[
    "reproduced",
    "reproduced at another size",
    "absent",
    "contradicted",
    "undecided",
    "not tested here",
    "not measured",
]


@dataclass(frozen=True)
class Verdict:
    """What the records say of a claim.

    Attributes:
        word: the verdict.
        why: the numbers behind it, in words, after the statement and a colon.
        effect: the estimate, on its natural scale; None where there is no number.
        interval: its bounds.
        margin: within which two things count as alike; None where the claim has a direction.
        seeds: runs a grid point behind it.
        about: the statement as it reads at this size, where that differs from the paper's.
        elsewhere: whether this scale has nothing that the claim is about.
        unit: what the effect is in: "points" (of accuracy), "slope", "log2 ratio"; empty where the
            predicate names none.
        printed: the paper's own number on the effect's scale; None where it prints none.
        p: two-sided, of no effect; None where the predicate tests nothing of the kind.
    """

    word: Word
    why: str
    effect: float | None = None
    interval: tuple[float, float] | None = None
    margin: float | None = None
    seeds: int = 0
    about: str = ""
    elsewhere: bool = False
    unit: str = ""
    printed: float | None = None
    p: float | None = None


Predicate = Callable[[Reading], Verdict]


def nothing_needed(reading: Reading) -> str:
    """A claim that any complete records can test."""
    return ""


def always(reading: Reading) -> bool:
    """A claim about all that the experiment's sweeps are, at every scale."""
    return True


@dataclass(frozen=True)
class Claim:
    """A statement of a paper and the code that judges it.

    Attributes:
        id: as the papers' list of claims has it.
        predicate: from a complete reading of more than one seed to a verdict.
        scales: where it can be judged; empty for all at which the experiment stands.
        needs: what a fair test lacks on these records, in words; empty where it lacks nothing.
        there: whether this scale has sweeps that the claim is about.
    """

    id: str
    predicate: Predicate
    scales: tuple[str, ...] = ()
    needs: Callable[[Reading], str] = field(default=nothing_needed)
    there: Callable[[Reading], bool] = field(default=always)

    @property
    def stated(self) -> Stated:
        """Statement and place in the paper.

        Raises:
            InputError: for an id that no paper's list knows.
        """
        try:
            return stated(self.id)
        except KeyError:
            raise InputError(
                f"no paper's list has a claim {self.id!r}: add it to papers/numbers.json"
            ) from None

    def judge(self, reading: Reading) -> Verdict:
        """The verdict on these records; a word never comes from a single seed or from parts."""
        study = reading.study
        if not reading.records:
            return Verdict("not measured", f"nothing is recorded at scale {study.scale}.")
        if self.scales and study.scale not in self.scales:
            why = f"it is tested at scale {', '.join(self.scales)}."
            return Verdict("not tested here", why, elsewhere=True)
        if not self.there(reading):
            return Verdict("not tested here", "this scale has no such sweeps.", elsewhere=True)
        if reading.waiting:
            why = f"{reading.waiting} of {len(reading.states)} sweeps are not complete."
            return Verdict("not measured", why)
        if study.seeds < 2:
            return Verdict("undecided", "a single seed has no spread to judge by.", seeds=1)
        lacking = self.needs(reading)
        if lacking:
            return Verdict("not tested here", lacking, seeds=study.seeds)
        return replace(self.predicate(reading), seeds=study.seeds)


def line(claim: Claim, verdict: Verdict) -> str:
    """A claim with its verdict as a line of a list, in Markdown."""
    return f"- **{verdict.about or claim.stated.statement}**: {verdict.why}"


def headline(claim: Claim, verdict: Verdict) -> str:
    """A claim with its word and its reasons as one sentence over a figure, in Markdown."""
    why = verdict.why[:1].upper() + verdict.why[1:]
    return f"**{verdict.about or claim.stated.statement}: {verdict.word}.** {why}"


def within(why: str, interval: Interval, word: Word) -> Verdict:
    """A verdict that rests on one interval."""
    bounds = (interval.low, interval.high)
    known = all(map(math.isfinite, bounds))
    effect = interval.value if math.isfinite(interval.value) else None
    return Verdict(word, why, effect, bounds if known else None)
