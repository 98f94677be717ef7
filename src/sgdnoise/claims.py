"""Claims: what the papers state, as predicates on the records that give a word and its reasons.

A claim is judged on one `Reading`. The page, the scorecard and `sgdnoise claims` are one list.

A word rests on a 95% interval. A claim that has a direction is *reproduced* where the interval lies
beyond zero the paper's way and *contradicted* where it lies beyond the other way; a claim that two
things are alike is *reproduced* where the interval lies within a margin, which is two one-sided
tests, and *contradicted* where it lies outside. Failure to differ is never agreement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from sgdnoise.analysis.intervals import COVERAGE, Estimate, Interval
from sgdnoise.analysis.reading import Reading
from sgdnoise.errors import InputError
from sgdnoise.papers.numbers import Stated, stated
from sgdnoise.phrases import enumerated, not_complete
from sgdnoise.study.grid import Key

Word = Literal[
    "reproduced",
    "reproduced at another size",
    "absent",
    "contradicted",
    "undecided",
    "not tested here",
    "not measured",
]


HELD: tuple[Word, ...] = ("reproduced", "reproduced at another size")
"""The words for a claim that holds."""

SURE: tuple[Word, ...] = (*HELD, "contradicted")
"""The words for an effect that surely has a sign, or a difference that surely has a size."""


@dataclass(frozen=True)
class Verdict:
    """What the records say of a claim.

    Attributes:
        word: the verdict.
        why: the numbers behind it, in words, after the statement and a colon.
        effect: the estimate, on its natural scale; None where there is no number.
        interval: its bounds.
        margin: within which two things count as alike; None where the claim has a direction.
        band: the effects that the margin counts as none, or as no loss, from least to greatest;
            None for an end that is open, and for no margin at all.
        target: what a claim that two things are alike says that the effect is; None for others.
        seeds: runs a grid point behind it.
        about: the statement as it reads at this size, where that differs from the paper's.
        elsewhere: whether this scale has nothing that the claim is about.
        unit: what the effect is in: "points" (of accuracy), "slope", "log2 ratio"; empty where the
            predicate names none.
        printed: the paper's own number on the effect's scale; None where it prints none.
        p: of what the claim denies: two-sided, of no effect; where it is that things are alike, of
            two one-sided tests. None where the predicate tests nothing of the kind.
        rests_on: what the interval narrows with.
        in_part: the parts for which a claim on several holds that is absent as a whole, in words.
        room: how far the effect is from the nearest value at which the word would change, if the
            interval had no width; None where there is no such number.
    """

    word: Word
    why: str
    effect: float | None = None
    interval: tuple[float, float] | None = None
    margin: float | None = None
    band: tuple[float | None, float | None] | None = None
    target: float | None = None
    seeds: int = 0
    about: str = ""
    elsewhere: bool = False
    unit: str = ""
    printed: float | None = None
    p: float | None = None
    rests_on: str = "seeds"
    in_part: str = ""
    room: float | None = None


Predicate = Callable[[Reading], Verdict]

NO_LOSS = 0.5
"""Points of accuracy within which two results are alike: S20's table 1 calls 8,192 and 2,048
alike, 0.3 points apart, each known to 0.1."""

FITTED = 99.0
"""Percent of its training images that a run classifies rightly which has fitted them: what it then
lacks on the test set is no lack of training."""


def nothing_needed(reading: Reading) -> str:
    """A claim that any complete records can test."""
    return ""


def every_sweep(key: Key) -> bool:
    """A claim about all that the experiment's sweeps are, at every scale."""
    return True


def all_records(whole: Reading) -> Reading:
    """A claim that is judged on all there is."""
    return whole


@dataclass(frozen=True)
class Claim:
    """A statement of a paper and the code that judges it.

    Attributes:
        id: as the papers' list of claims has it.
        predicate: from a complete reading of more than one seed to a verdict.
        scales: where it can be judged; empty for all at which the experiment stands.
        needs: what a fair test lacks on these records, in words; empty where it lacks nothing.
        of: whether the claim is about the sweep of a key. Predicate and needs see only those.
        among: which part of the records it is judged on, where an experiment has been designed
            twice; all of them unless given.
    """

    id: str
    predicate: Predicate
    scales: tuple[str, ...] = ()
    needs: Callable[[Reading], str] = field(default=nothing_needed)
    of: Callable[[Key], bool] = field(default=every_sweep)
    among: Callable[[Reading], Reading] = field(default=all_records)

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

    def there(self, reading: Reading) -> bool:
        """Whether this scale has sweeps that the claim is about."""
        return bool(reading.part(self.of).states)

    def judge(self, whole: Reading) -> Verdict:
        """The verdict on these records; a word never comes from a single seed or from parts."""
        study, reading = whole.study, self.among(whole).part(self.of)
        if not whole.records:
            return Verdict("not measured", f"nothing is recorded at scale {study.scale}.")
        if self.scales and study.scale not in self.scales:
            why = f"it is tested at scale {', '.join(self.scales)}."
            return Verdict("not tested here", why, elsewhere=True)
        if not reading.states:
            return Verdict("not tested here", "this scale has no such sweeps.", elsewhere=True)
        if reading.waiting:
            why = f"{not_complete(reading.waiting, len(reading.states))}."
            return Verdict("not measured", why)
        if reading.fewest_seeds < 2:
            return Verdict("undecided", "a single seed has no spread to judge by.", seeds=1)
        if reading.mixed:
            return Verdict("not measured", reading.mixed)
        if lacking := self.needs(reading):
            return Verdict("not tested here", lacking, seeds=reading.fewest_seeds)
        found = self.predicate(reading)
        return with_more(with_margin(replace(found, seeds=found.seeds or reading.fewest_seeds)))


def with_margin(verdict: Verdict) -> Verdict:
    """A verdict with what its margin means, where its word goes by that."""
    alike = verdict.target is not None
    if not verdict.margin or not (alike or verdict.word == "absent"):
        return verdict
    within = _within(verdict.margin, verdict.unit)
    of = f" of {verdict.target:g}" if verdict.target else ""
    means = "Alike" if alike else "Absent"
    return replace(verdict, why=f"{verdict.why} {means} means within {within}{of}.")


def _within(margin: float, unit: str) -> str:
    return f"±{margin:.2g}{_IN.get(unit, '')}"


def with_more(verdict: Verdict) -> Verdict:
    """An undecided verdict with how many more seeds would decide it, if the effect is as it seems.

    An interval narrows with the root of the seeds, and decides once its wider side is the `room`.
    """
    if verdict.word != "undecided" or verdict.interval is None or not verdict.room:
        return verdict
    low, high = verdict.interval
    at = (low + high) / 2 if verdict.effect is None else verdict.effect
    factor = (max(at - low, high - at) / verdict.room) ** 2
    of_seeds = verdict.rests_on == "seeds"
    if factor > (HOPELESS if of_seeds else HOPELESS_POINTS):
        more = f"No number of {verdict.rests_on} that can be afforded would decide it."
    elif of_seeds:
        wanted = max(math.ceil(verdict.seeds * factor), verdict.seeds + 1)
        more = f"About {wanted:,} seeds in place of {verdict.seeds} would decide it."
    else:
        times = f"{max(factor, 1.1):.1f}".removesuffix(".0")
        more = f"About {times} times as many {verdict.rests_on} would decide it."
    return replace(verdict, why=f"{verdict.why} {more}")


HOPELESS = 100.0
"""Times as many seeds, from which on no number is worth naming."""

HOPELESS_POINTS = 4.0
"""Likewise of batch sizes or budgets, which stand a factor of two apart: with four times as many it
would be 1.2, and a range holds few more."""


# --- Words ------------------------------------------------------------------------------------


def directional(
    why: str,
    found: Estimate | Interval,
    *,
    unit: str,
    sign: int = 1,
    margin: float | None = None,
    printed: float | None = None,
    printed_error: float = 0.0,
    rests_on: str = "seeds",
) -> Verdict:
    """The verdict on a claim that an effect has a sign.

    Args:
        why: the numbers, in words.
        found: the effect.
        unit: of the effect.
        sign: the paper's direction, 1 or −1.
        margin: the effect is absent where the interval lies within ± this; None where nothing
            says how small is nothing.
        printed: the paper's own number; where it lies outside the prediction interval, the effect
            is reproduced at another size.
        printed_error: half the 95% interval of the paper's number, which the prediction interval
            takes in.
        rests_on: what the interval narrows with.
    """
    interval = _interval(found)
    low, high = sorted((sign * interval.low, sign * interval.high))
    word: Word = "undecided"
    if low > 0:
        at_size = printed is None or foretold(interval, printed_error).holds(printed)
        word = "reproduced" if at_size else "reproduced at another size"
    elif high < 0:
        word = "contradicted"
    if margin is not None and -margin <= low and high <= margin:
        if word == "undecided":
            word = "absent"
        else:
            within = _within(margin, unit)
            why = f"{why} It is sure, and small: all of its interval is within {within}."
    away = abs(interval.value)
    room = max(away, (margin or 0.0) - away)
    p = found.p if isinstance(found, Estimate) else math.nan
    return _verdict(word, why, found, unit, margin, printed, rests_on, room, p)


def foretold(found: Interval, printed_error: float) -> Interval:
    """The prediction interval of a paper's number whose own 95% interval is ± `printed_error`."""
    reach = math.hypot(found.half, printed_error)
    return Interval(found.value, found.value - reach, found.value + reach)


def above(why: str, found: Estimate, *, unit: str, bound: float) -> Verdict:
    """The verdict on a claim that an effect lies above a bound, told of the effect itself.

    That one thing is no worse than another is that their difference is above −margin, and that it
    is worse by more is that the opposite difference is above the margin: of two such claims on the
    same numbers one is reproduced where the other is contradicted.

    Args:
        why: the numbers, in words.
        found: the effect.
        unit: of the effect.
        bound: plus or minus the margin.
    """
    verdict = directional(why, replace(found, value=found.value - bound), unit=unit)
    interval = found.interval
    return replace(
        verdict,
        effect=None if verdict.effect is None else interval.value,
        interval=verdict.interval and (interval.low, interval.high),
        margin=abs(bound),
        band=(bound, None) if bound < 0 else (None, bound),
    )


def alike(
    why: str,
    found: Estimate | Interval,
    *,
    unit: str,
    margin: float,
    target: float = 0.0,
    rests_on: str = "seeds",
) -> Verdict:
    """The verdict on a claim that a quantity is `target`, or a difference zero, within a margin.

    Args:
        why: the numbers, in words.
        found: the quantity.
        unit: of the quantity.
        margin: how far from the target still counts as alike.
        target: what the paper says that it is.
        rests_on: what the interval narrows with.
    """
    interval = _interval(found)
    word: Word = "undecided"
    if target - margin <= interval.low and interval.high <= target + margin:
        word = "reproduced"
    elif interval.high < target - margin or interval.low > target + margin:
        word = "contradicted"
    room = abs(margin - abs(interval.value - target))
    p = found.p_within(margin, target) if isinstance(found, Estimate) else math.nan
    made = _verdict(word, why, found, unit, margin, target or None, rests_on, room, p)
    return replace(made, band=(target - margin, target + margin), target=target)


def every(
    why: str,
    parts: Mapping[str, Estimate],
    *,
    unit: str,
    sign: int = 1,
    margin: float | None = None,
    same: bool = False,
) -> Verdict:
    """The verdict on a claim that several effects each have a sign, or are each nothing.

    It is reproduced where every part is, which needs no correction; one part against it decides
    against it, at a level that Bonferroni divides among the parts. Effect and interval are those of
    the part that is furthest from the claim.

    Args:
        why: the numbers, in words; the furthest part is added to it.
        parts: the effects by their names, at least one.
        unit: of the effects.
        sign: the paper's direction, 1 or −1, of all of them.
        margin: as `directional` and `alike` take it.
        same: whether the claim is that each lies within the margin, and not that it has the sign.
    """

    def far(part: Estimate) -> float:
        interval = part.interval
        if same:
            return max(-interval.low, interval.high)
        return -min(sign * interval.low, sign * interval.high)

    level = 1 - (1 - COVERAGE) / len(parts)

    def judged(found: Estimate | Interval) -> Verdict:
        if same:
            return alike(why, found, unit=unit, margin=margin or 0.0)
        return directional(why, found, unit=unit, sign=sign, margin=margin)

    alone = {name: judged(part) for name, part in parts.items()}
    against = {name: judged(part.at(level)).word for name, part in parts.items()}
    against_it = {"contradicted", "absent"}
    word: Word = "undecided"
    if {one.word for one in alone.values()} == {"reproduced"}:
        word = "reproduced"
    elif sure := against_it & set(against.values()):
        word = "contradicted" if "contradicted" in sure else "absent"
    decides = word in against_it
    deciding = [name for name in parts if not decides or against[name] == word]
    worst = max(deciding, key=lambda name: far(parts[name]))
    # That its effect is sure and small, which holds of no other part by that.
    note, by_itself = alone[worst].why.removeprefix(why), alone[worst].word
    if len(parts) == 1:
        why += note
    else:
        why += f" The claim fits worst for {worst}: {parts[worst]}{_IN.get(unit, '')}."
        if note and by_itself == word:
            why += f" For {worst}{note.lower()}"
        if word == "undecided" and by_itself in against_it:
            why += f" By itself that part would be {by_itself}; as one of {len(parts)} it is not."
    holds = ""
    if word == "absent" and len(parts) > 1:
        holds = enumerated(name for name, one in alone.items() if one.word == "reproduced")
        why += f" It holds for {holds}, and not" if holds else " It does not hold"
        why += f" for {enumerated(deciding)}."
    ps = [one.p for one in alone.values()]
    p = None if None in ps else max(one for one in ps if one is not None)
    return replace(alone[worst], word=word, why=why, p=p, in_part=holds)


def without_ends(judged: Mapping[str, Verdict], why: str) -> Verdict:
    """The first of several verdicts, of all batch sizes; undecided where another has another word.

    The others are of all batch sizes but one, so that none at an end makes the word by itself.

    Args:
        judged: the verdicts, by what each is of, in words: "all", "all but the smallest".
        why: the numbers behind them.
    """
    whole = next(iter(judged.values()))
    word = whole.word
    if len({one.word for one in judged.values()}) > 1:
        said = enumerated(f"{one.word} with {kept}" for kept, one in judged.items())
        why += f" So the word hangs on an end of the batch sizes. It would be {said}."
        word = "undecided"
    p = max((one.p for one in judged.values() if one.p is not None), default=None)
    # More seeds narrow several intervals, and make no two of them agree.
    room = None if word == "undecided" else whole.room
    return replace(whole, word=word, why=why, p=p, room=room)


_IN = {"points": " points", "log2 ratio": " in log₂"}
"""How a sentence says a unit; of any other, the sentence has said what the number is."""


def _interval(found: Estimate | Interval) -> Interval:
    return found.interval if isinstance(found, Estimate) else found


def _verdict(
    word: Word,
    why: str,
    found: Estimate | Interval,
    unit: str,
    margin: float | None,
    printed: float | None,
    rests_on: str,
    room: float,
    p: float,
) -> Verdict:
    """A verdict that rests on one interval; what is not finite is not there."""
    interval = _interval(found)
    bounds = (interval.low, interval.high)
    return Verdict(
        word,
        why,
        interval.value if math.isfinite(interval.value) else None,
        bounds if all(map(math.isfinite, bounds)) else None,
        margin,
        band=None if margin is None else (-margin, margin),
        unit=unit,
        printed=printed,
        p=p if math.isfinite(p) else None,
        rests_on=rests_on,
        room=room if math.isfinite(room) else None,
    )


def line(claim: Claim, verdict: Verdict) -> str:
    """A claim with its verdict as a line of a list, in Markdown."""
    return f"- **{_statement(claim, verdict)}**: *{verdict.word}*. {_sentence(verdict)}"


def headline(claim: Claim, verdict: Verdict) -> str:
    """A claim with its word and its reasons as one sentence over a figure, in Markdown."""
    return f"**{_statement(claim, verdict)}: {verdict.word}.** {_sentence(verdict)}"


def _statement(claim: Claim, verdict: Verdict) -> str:
    """What is claimed; of what no paper claims also where it comes from."""
    own = f" ({claim.stated.where})" if claim.stated.own else ""
    return f"{verdict.about or claim.stated.statement}{own}"


def _sentence(verdict: Verdict) -> str:
    return verdict.why[:1].upper() + verdict.why[1:]
