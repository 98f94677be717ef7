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
from typing import Any, NamedTuple, get_args

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
from sgdnoise.phrases import enumerated
from sgdnoise.study.grid import Key

ARMS = {
    "noise-back": f"the noise of B = {BEST} given back",
    "small-first": f"B = {BEST} in the first half",
    "small-last": f"B = {BEST} in the second half",
    "fixed-length": "steps of fixed length",
}
"""What is done to the largest batch."""


# --- The gap ------------------------------------------------------------------------------------


def key_of(reading: Reading, batch_size: int = IMAGES, **parts: Any) -> Key:
    """The key of the sweep with a batch size, and an arm or a number of updates."""
    wanted = {"batch_size": batch_size, **parts}.items()
    (key,) = [s.sweep.key for s in reading.states if wanted <= dict(s.sweep.key).items()]
    return key


def rows_at(reading: Reading, updates: int) -> pd.DataFrame:
    """The tuned batch sizes with so many updates, the largest last."""
    rows = reading.optima()
    return rows[rows.updates == updates].sort_values("batch_size").reset_index(drop=True)


class Gap(NamedTuple):
    """How far the largest batch stays behind another: `size` in points, by fresh seeds."""

    small: Any
    large: Any
    size: Estimate


def gap_at(reading: Reading, updates: int) -> Gap:
    """The gap below the other batch that the tuning's seeds find best, so that fresh ones judge."""
    rows = rows_at(reading, updates)
    others, large = rows.iloc[:-1], rows.iloc[-1]
    small = others.iloc[int(others.test_accuracy_mean.argmax())]
    return Gap(small, large, reading.reached(small.key) - reading.reached(large.key))


def gap_to_best(reading: Reading) -> Gap:
    """The gap below the batch size that the arms borrow from, with as many updates as they have."""
    rows: dict[Any, Any] = {row.batch_size: row for row in rows_at(reading, MOST).itertuples()}
    small, large = rows[BEST], rows[IMAGES]
    return Gap(small, large, reading.reached(small.key) - reading.reached(large.key))


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
    said = [
        f"with {updates:,} updates B = {gap.small.batch_size:,} is {gap.size} points above "
        f"B = {gap.large.batch_size:,}"
        for gap, updates in gaps
    ]
    return f"there is no gap to explain: {', and '.join(said)}."


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
        f"with {MOST:,} updates the best other batch by the seeds of the tuning, "
        f"B = {gap.small.batch_size:,}, is {gap.size} points above B = {gap.large.batch_size:,}. "
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
    "updates": tuple((updates, updates) for updates in (UPDATES, *LONGER)),
    "epochs": ((MOST, UPDATES),),
}
"""What is equal, and pairs of updates: with which the rate is tuned, and with which scaled."""


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


def linear_is_worse(reading: Reading, equal: str) -> Verdict:
    """Whether the rate in proportion to the batch does worse than that by its root."""
    found, factor = linear_less_root(reading, equal), BEST / SMALL
    return directional(
        f"at B = {BEST}, {factor:g} times the tuned rate of B = {SMALL} reaches {found} points "
        f"more than {math.sqrt(factor):g} times, at equal {equal}, by the runs of its grid.",
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


LONG = partial(_has_arm, arms=("plain", "longer"))
"""The plain sweeps with any number of updates."""

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
            of=LONG,
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
        why = dict.fromkeys(judged[name].why for name in ids)
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
    """A sentence a paper, by the words of its claims: what held here and what did not."""
    judged = [(claim, claim.judge(reading).word) for claim in CLAIMS]
    return tuple(
        _held(paper, [one for one in judged if one[0].id.startswith(paper)]) for paper in POSITIONS
    )


def held_lines(reading: Reading) -> str:
    """The sentences of `which_held` as a list, in Markdown, and why what is not tested is not."""
    judged = [claim.judge(reading) for claim in CLAIMS]
    why = dict.fromkeys(one.why for one in judged if one.word == "not tested here")
    lines = "\n".join(f"- {sentence}" for sentence in which_held(reading))
    return "\n\n".join([lines, *(f"Not tested here means that {reason}" for reason in why)])


def _held(paper: str, judged: list[tuple[Claim, Word]]) -> str:
    said = []
    for word in get_args(Word):
        mine = [f"“{claim.stated.statement}”" for claim, found in judged if found == word]
        if mine:
            said.append(f"{word} {'is' if len(mine) == 1 else 'are'} {enumerated(mine)}")
    return f"{paper} says that {POSITIONS[paper]}: {'; '.join(said)}."
