"""What the records say where the papers disagree: claims of one paper that another denies.

All is on the 1,000 images of the fair constant step budget, at tuned rates and by fresh seeds. A
claim about the gap between a small batch and the largest is tested only where there is one.

Two predictions often lie at the two ends of that gap: that the largest batch, given what it lacks,
does as well as the small one, and that nothing changes. The middle of the gap is where the numbers
change sides: beyond it more than half of the gap is closed. Where a paper says that the largest
batch *does as well*, or *stays behind*, the margin is `NO_LOSS` points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, get_args

import numpy as np
import pandas as pd

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.analysis.intervals import pooled_variance
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.claims import NO_LOSS, Claim, Verdict, Word, above, directional, every
from sgdnoise.experiments.discriminating.grid import (
    BEST,
    IMAGES,
    LONGER,
    MOST,
    UPDATES,
)
from sgdnoise.experiments.discriminating.measured import (
    LONG,
    Gap,
    gap_at,
    gap_to_best,
    gaps_so_far,
    key_of,
    rows_at,
    told,
)
from sgdnoise.phrases import enumerated, not_complete
from sgdnoise.study.grid import Key

ARMS = {
    "noise-back": f"the noise of B = {BEST} given back",
    "small-first": f"B = {BEST} in the first half",
    "small-last": f"B = {BEST} in the second half",
    "fixed-length": "steps of fixed length",
}
"""What is done to the largest batch."""


# --- The gap ------------------------------------------------------------------------------------


def _untuned(reading: Reading, keys: Iterable[Key]) -> str:
    """Why fresh seeds do not tell what some sweeps reach, and of which; empty where they do."""
    for key in keys:
        if lost := no_optimum(reading, [key]):
            of = dict(key)
            where = ARMS.get(of["arm"]) or f"{of['updates']:,} updates"
            return f"with {where}, {lost}"
    return ""


def _no_gap(*gaps: tuple[Gap, int]) -> str:
    """That none of the gaps, each at its number of updates, is sure; empty where one is."""
    if any(gap.size.interval.low > 0 for gap, _ in gaps):
        return ""
    return f"there is no gap to explain: {told(gaps)}."


def _gap_lacks(reading: Reading, shown: tuple[int, ...], beside: tuple[int, ...] = ()) -> str:
    """What a claim about more or fewer updates lacks.

    Args:
        reading: of the plain sweeps.
        shown: numbers of updates; with one of them there has to be a gap.
        beside: those that are compared with them.
    """
    keys = [key for updates in (*shown, *beside) for key in rows_at(reading, updates).key]
    return _untuned(reading, keys) or _no_gap(*((gap_at(reading, one), one) for one in shown))


def no_gap_to_close(reading: Reading) -> str:
    """Why there is nothing that an arm could close, by the plain sweeps; empty where there is."""
    gap = gap_to_best(reading)
    return _untuned(reading, (gap.small.key, gap.large.key)) or _no_gap((gap, MOST))


def _arms_lack(reading: Reading, arms: tuple[str, ...]) -> str:
    """What a claim about arms lacks: a gap that they could close, or else tuned rates."""
    if lost := no_gap_to_close(reading):
        return lost
    # They are planned by the fresh seeds alone, whose interval may be the wider one.
    if not planned_arms(reading) >= set(arms):
        return "by fresh seeds alone the gap is not sure, so what could close it is not planned."
    return _untuned(reading, (key_of(reading, arm=arm) for arm in arms))


def planned_arms(reading: Reading) -> set[str]:
    """The arms that are not idle."""
    return {dict(state.sweep.key)["arm"] for state in reading.states} & set(ARMS)


# --- More updates -------------------------------------------------------------------------------


def _at_most(gap: Gap) -> str:
    losses = [f"{row.train_loss_fresh:.3g}" for row in (gap.large, gap.small)]
    return (
        f"with {MOST:,} updates B = {gap.small.batch_size:,}, which did best in the tuning of the "
        f"other batch sizes, minus B = {gap.large.batch_size:,} is {gap.size} points. "
        f"Their training losses are {losses[1]} and {losses[0]}. Staying behind means by more than "
        f"{NO_LOSS:g} points."
    )


def stays_behind(reading: Reading) -> Verdict:
    """Whether the largest batch is worse than the best other one by more than a margin (S20)."""
    gap = gap_at(reading, MOST)
    return above(_at_most(gap), gap.size, unit="points", bound=NO_LOSS)


def catches_up(reading: Reading) -> Verdict:
    """Whether the largest batch is no worse than the best other one, within a margin (H17)."""
    gap = gap_at(reading, MOST)
    large, small = (reading.reached(row.key) for row in (gap.large, gap.small))
    return above(_at_most(gap), large - small, unit="points", bound=-NO_LOSS)


def fewer_do_not_help(reading: Reading) -> Verdict:
    """Whether the largest batch is no better with fewer updates, within a margin."""
    rows = [rows_at(reading, updates).iloc[-1] for updates in (UPDATES, *LONGER)]
    *fewer, most = rows
    best = max(fewer, key=lambda row: row.test_accuracy_mean)
    gain = reading.reached(most.key) - reading.reached(best.key)
    return above(
        f"B = {IMAGES:,} is {gain} points better with {MOST:,} updates than with "
        f"{int(best.updates):,}, the best smaller number by the seeds of the tuning. That fewer do "
        f"not help means above −{NO_LOSS:g} points.",
        gain,
        unit="points",
        bound=-NO_LOSS,
    )


# --- What of the noise --------------------------------------------------------------------------


def gain_of(reading: Reading, arm: str) -> Estimate:
    """By how many points an arm is above the largest batch without it."""
    large = key_of(reading, updates=MOST)
    return reading.reached(key_of(reading, arm=arm)) - reading.reached(large)


def past_middle(reading: Reading, arm: str) -> Estimate:
    """By how many points an arm lies past the middle of the gap, where half of it is closed."""
    gap = gap_to_best(reading)
    ends = [reading.reached(row.key) for row in (gap.small, gap.large)]
    return reading.reached(key_of(reading, arm=arm)) - Estimate.average(ends)


def _closed(reading: Reading, *arms: str) -> str:
    gap, gains = gap_to_best(reading), {arm: gain_of(reading, arm) for arm in arms}
    said = [
        f"with {ARMS[arm]} it gains {gain.value:+.2f} points, {gain.value / gap.size.value:.0%} "
        "of that"
        for arm, gain in gains.items()
    ]
    return (
        f"the gap of B = {IMAGES:,} below B = {BEST} is {gap.size} points; {', and '.join(said)}."
    )


def closes(reading: Reading, arm: str) -> Verdict:
    """Whether an arm closes more than half of the gap."""
    found = past_middle(reading, arm)
    why = f"{_closed(reading, arm)} It lies past the middle of the gap by {found} points."
    return directional(why, found, unit="points")


def early_not_late(reading: Reading) -> Verdict:
    """Whether small batches in the first half close more than half of the gap, late ones less."""
    early, late = (past_middle(reading, arm) for arm in HALVES)
    parts = {
        "the first half, past the middle of the gap": early,
        "the second half, short of it": replace(late, value=-late.value),
    }
    return every(_closed(reading, *HALVES), parts, unit="points")


HALVES = ("small-first", "small-last")


# --- Scaling the learning rate ------------------------------------------------------------------

SMALL = 64
"""The batch whose tuned rate is scaled up to that of `BEST`, four times as large."""

SCALED = {
    "updates": tuple((updates, updates) for updates in LONGER),
    "epochs": ((MOST, UPDATES),),
}
"""What is equal, and pairs of updates: with which the rate is tuned, and with which scaled.

Equal updates leave out `UPDATES`, whose runs are another experiment's, and another device's.
"""


class _Scaled(NamedTuple):
    """What a rate in proportion to the batch reaches, and one by its root: a value a seed."""

    linear: np.ndarray
    root: np.ndarray


def _scaled(reading: Reading, tuned: int, used: int) -> _Scaled | str:
    """The runs at both scaled rates, or why they are not there.

    The rate is chosen by runs of `SMALL` alone, and those of `BEST` that it leads to are of its
    grid as first planned, so that no outcome that is compared decides what is compared.
    """
    source = key_of(reading, SMALL, updates=tuned)
    if lost := _untuned(reading, [source]):
        return lost
    tunings = reading.tuned()
    best = tunings[source].state.tuned["test_accuracy"]
    target = tunings[key_of(reading, BEST, updates=used)]
    octaves = math.log2(BEST / SMALL)
    assert best is not None
    found = []
    for k in (best.point[0] + octaves, best.point[0] + octaves / 2):
        (low, high), at = target.state.sweep.frozen[0], np.flatnonzero(target.exponents == k)
        if not low <= k <= high or not len(at):
            return (
                f"from B = {SMALL}, tuned with {tuned:,} updates, the scaled rate is 2^{k:g}, "
                f"outside of the grid of B = {BEST} as first planned."
            )
        runs = target.table[at[0]]
        if not np.isfinite(runs).all():
            return (
                f"{(~np.isfinite(runs)).sum()} of {len(runs)} runs of B = {BEST} diverged at the "
                f"scaled rate, 2^{k:g}, with {used:,} updates."
            )
        found.append(runs)
    return _Scaled(*found)


def _cannot_scale(reading: Reading, equal: str) -> str:
    found = (_scaled(reading, *pair) for pair in SCALED[equal])
    return next((one for one in found if isinstance(one, str)), "")


def linear_less_root(reading: Reading, equal: str) -> Estimate:
    """By how many points the rate in proportion is better than that by the root.

    The average over the pairs of `SCALED`; of each, the variance within both rates is pooled.
    """
    differences = []
    for pair in SCALED[equal]:
        runs = _scaled(reading, *pair)
        assert not isinstance(runs, str)
        variance, dof = pooled_variance(runs)
        value = float(runs.linear.mean() - runs.root.mean())
        differences.append(Estimate(value, math.sqrt(2 * variance / len(runs.linear)), dof))
    return Estimate.average(differences)


def _pairs(equal: str) -> str:
    """The numbers of updates at which the two rates are compared, in words."""
    if equal == "updates":
        return f"{enumerated(f'{used:,}' for _, used in SCALED[equal])}, averaged"
    ((tuned, used),) = SCALED[equal]
    return f"{tuned:,} updates of B = {SMALL} and {used:,} of B = {BEST}"


def linear_is_worse(reading: Reading, equal: str) -> Verdict:
    """Whether the rate in proportion to the batch does worse than that by its root."""
    found, factor = linear_less_root(reading, equal), BEST / SMALL
    return directional(
        f"at B = {BEST}, {factor:g} times the tuned rate of B = {SMALL} reaches {found} points "
        f"more than {math.sqrt(factor):g} times, at equal {equal} ({_pairs(equal)}), by the runs "
        "of its grid.",
        found,
        unit="points",
        sign=-1,
        margin=NO_LOSS,
    )


# --- Claims -------------------------------------------------------------------------------------


def _has_arm(key: Key, arms: tuple[str, ...]) -> bool:
    return dict(key)["arm"] in arms


def _stands_beside(key: Key, arms: tuple[str, ...]) -> bool:
    return _has_arm(key, arms) or dict(key).get("updates") == MOST


def _is_scaled(key: Key, equal: str) -> bool:
    """Whether it is a sweep that a rate is taken from, or one in which it is looked up."""
    of = dict(key)
    return any(
        (of.get("batch_size"), of.get("updates")) in ((SMALL, tuned), (BEST, used))
        for tuned, used in SCALED[equal]
    )


_LONGER = partial(_has_arm, arms=("longer",))
"""Those with more updates than the fair constant step budget."""


def _more_updates(name: str, predicate: Callable[[Reading], Verdict]) -> Claim:
    """A claim about the gap with the most updates, if there is one with these or half of them."""
    return Claim(name, predicate, needs=partial(_gap_lacks, shown=LONGER), of=_LONGER)


def _arms(name: str, predicate: Callable[[Reading], Verdict], *arms: str) -> Claim:
    """A claim about what is done to the largest batch."""
    of = partial(_stands_beside, arms=arms)
    return Claim(name, predicate, needs=partial(_arms_lack, arms=arms), of=of)


CLAIMS = (
    _more_updates("S20-T1.not-for-lack-of-updates", stays_behind),
    _more_updates("H17-C1.no-inherent-gap", catches_up),
    Claim(
        "S20-C1.fewer-steps-do-not-help",
        fewer_do_not_help,
        needs=partial(_gap_lacks, shown=(MOST,), beside=(UPDATES, LONGER[0])),
        of=LONG,
    ),
    _arms("S20-T1.noise-is-what-lacks", partial(closes, arm="noise-back"), "noise-back"),
    _arms("S20-C4.noise-helps-early", early_not_late, *HALVES),
    _arms("G20-C1.vanishing-steps", partial(closes, arm="fixed-length"), "fixed-length"),
    *(
        Claim(
            f"H17-C3.linear-scaling-worse.{equal}",
            partial(linear_is_worse, equal=equal),
            needs=partial(_cannot_scale, equal=equal),
            of=partial(_is_scaled, equal=equal),
        )
        for equal in SCALED
    ),
)


# --- Side by side -------------------------------------------------------------------------------

QUESTIONS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    (
        f"Does the largest batch catch up with {MOST:,} updates?",
        "No: it stays behind, though its training loss is lower",
        "Yes: it only lacked updates",
        "More than before: more steps cover more ground",
        ("S20-T1.not-for-lack-of-updates", "H17-C1.no-inherent-gap"),
    ),
    (
        "Does noise, given back to it, close its gap?",
        "Yes: noise is what it lacks",
        "Yes, but at equal updates there is no need of it",
        "No: the mean step is as short as before",
        ("S20-T1.noise-is-what-lacks",),
    ),
    (
        "When do small batches help?",
        "In the first half, as much as all through; not in the second",
        "It names no order",
        "It names no order",
        ("S20-C4.noise-helps-early",),
    ),
    (
        "Do steps of fixed length close the gap?",
        "No: they bring no noise",
        "It has no need of them",
        "Yes: vanishing steps are the cause",
        ("G20-C1.vanishing-steps",),
    ),
    (
        "How should the learning rate grow with the batch?",
        "In proportion at equal epochs, while noise decides",
        "By its root: in proportion is worse",
        "By its root: then the mean step stays",
        tuple(f"H17-C3.linear-scaling-worse.{equal}" for equal in SCALED),
    ),
)
"""A question, what S20, H17 and G20 predict, and the claims that decide: written before any run."""


def disagreements(reading: Reading) -> pd.DataFrame:
    """The predictions beside the measurements: a row a question, with the words of its claims."""
    judged = {claim.id: claim.judge(reading) for claim in CLAIMS}
    rows = []
    for question, s20, h17, g20, ids in QUESTIONS:
        # Two claims on the same numbers give the same reasons: once is enough.
        why = dict.fromkeys(_measured(reading, name, judged[name]) for name in ids)
        rows.append(
            {
                "Question": question,
                "S20": s20,
                "H17": h17,
                "G20": g20,
                "Measured": " ".join(said[:1].upper() + said[1:] for said in why),
                "Verdict": "; ".join(f"{_who(name)}: {judged[name].word}" for name in ids),
            }
        )
    return pd.DataFrame(rows)


def _measured(reading: Reading, name: str, verdict: Verdict) -> str:
    """A claim's reasons; where it has no number, what they are about and what is known so far."""
    *_, last = name.split(".")
    if last in SCALED:
        return verdict.why if verdict.effect is not None else f"at equal {last}, {verdict.why}"
    if verdict.word != "not measured":
        return verdict.why
    (claim,) = (claim for claim in CLAIMS if claim.id == name)
    if any(claim.of((("arm", arm),)) for arm in ARMS):
        waits = f"this waits for a gap with {MOST:,} updates: "
        return ("" if planned_arms(reading) else waits) + verdict.why
    return f"{verdict.why} {gaps_so_far(reading)}".strip()


def _who(claim: str) -> str:
    """Whose claim it is, and what is equal where that tells two of it apart."""
    *_, last = claim.split(".")
    return claim.partition("-")[0] + (f", equal {last}" if last in SCALED else "")


POSITIONS = {
    "S20": "the noise itself helps",
    "H17": "a large batch only lacks updates",
    "G20": "a large batch fails by its vanishing steps",
}
"""By paper, what it says of the gap."""


def which_held(reading: Reading) -> tuple[str, ...]:
    """A sentence a paper, by the words of its claims: what held here, what did not, what waits."""
    judged = [(claim, claim.judge(reading)) for claim in CLAIMS]
    return tuple(
        _held(reading, paper, [one for one in judged if one[0].id.startswith(paper)])
        for paper in POSITIONS
    )


def held_lines(reading: Reading) -> str:
    """The sentences of `which_held` as a list, in Markdown, and why what is not tested is not."""
    judged = [claim.judge(reading) for claim in CLAIMS]
    why = dict.fromkeys(one.why for one in judged if one.word == "not tested here")
    lines = "\n".join(f"- {sentence}" for sentence in which_held(reading))
    return "\n\n".join([lines, *(f"Not tested here means that {reason}" for reason in why)])


def _held(reading: Reading, paper: str, judged: list[tuple[Claim, Verdict]]) -> str:
    said = []
    for word in get_args(Word):
        mine = [claim for claim, found in judged if found.word == word]
        if mine and word != "not measured":
            said.append(f"{word} {_are(mine)} {_statements(mine)}")
    waiting = [one for one in judged if one[1].word == "not measured"]
    why = _not_yet(reading, waiting)
    if len(waiting) == len(judged) and len(why) == 1:
        said.append(f"this is not measured yet, because {enumerated(why)}")
    elif waiting:
        parts = [f"{_statements(claims)}, because {one}" for one, claims in why.items()]
        are = _are([claim for claim, _ in waiting])
        said.append(f"not measured yet {are} {', and '.join(parts)}")
    return f"{paper} says that {POSITIONS[paper]}: {'; '.join(said)}."


def _are(claims: list[Claim]) -> str:
    return "is" if len(claims) == 1 else "are"


def _statements(claims: list[Claim]) -> str:
    return enumerated(f"“{claim.stated.statement}”" for claim in claims)


def _not_yet(reading: Reading, waiting: list[tuple[Claim, Verdict]]) -> dict[str, list[Claim]]:
    """Claims without a word by what they wait for, in a few words, their sweeps counted once."""
    by_sweeps = [claim for claim, _ in waiting if reading.part(claim.of).waiting]
    states = [s for s in reading.states if any(claim.of(s.sweep.key) for claim in by_sweeps)]
    count = not_complete(sum(not state.settled for state in states), len(states))
    found: dict[str, list[Claim]] = {}
    for claim, verdict in waiting:
        # Without what to do about it, which follows a colon.
        why = count if claim in by_sweeps else verdict.why.partition(":")[0].rstrip(".")
        found.setdefault(why, []).append(claim)
    return found
