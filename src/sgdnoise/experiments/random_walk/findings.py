"""What the records say of H17's random walk: laws of growth, their slopes, and the loss's spread.

Recipes are fixed and every seed is kept. A number is made of each seed's run by itself, and its
interval is Student's t over seeds: residuals along one run are no independent draws.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Estimate
from sgdnoise.claims import NO_LOSS, Claim, Verdict, alike, directional, every, without_ends
from sgdnoise.experiments.random_walk.curves import (
    TOLD_APART,
    WINDOW,
    constant_rate,
    each,
    final_distances,
    finished,
    slope,
    slopes_by_size,
)
from sgdnoise.experiments.random_walk.grid import DROP, ROOT, SAME, STOP
from sgdnoise.experiments.random_walk.walk import DOUBLINGS, GROUPS, POTENTIALS, walk_on_a_line
from sgdnoise.phrases import enumerated
from sgdnoise.study.grid import Key
from sgdnoise.theory import growth, random_walk

FloatArray = NDArray[np.float64]

PROPORTIONAL = 0.1
"""How far from 1 a power may be that still counts as proportional."""

ALIKE = math.log2(1.1)
"""Log₂ within which spreads of slopes count as one: ten per cent, as of covariances."""

EXPONENT = 2.0
"""Of log t in H17's equation 3, 2/α, at the α = 1 of the walk that is computed."""

BINS = (5, 10, 20, 50, 100)
"""Into which H17's figure 4 would divide the distances: it draws several numbers and names none."""


def _differences(mine: dict[int, float], theirs: dict[int, float]) -> Estimate:
    """The mean difference of runs that share a seed."""
    return Estimate.mean(
        [mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys())]
    )


def _lost(reading: Reading, *rates: str) -> str:
    """What a comparison of curves lacks: that no run diverged, and curves that carry a law."""
    for rate in rates:
        states = constant_rate(reading, rate)
        if not states:
            return "this scale has no such runs."
        for size, state in states.items():
            there = len(finished(reading, state))
            if there < len(state.needed):
                lost = len(state.needed) - there
                return f"{lost} of {len(state.needed)} runs with batches of {size:,} diverged."
            if len(each(reading, state, slope)) < there:
                return f"a run with batches of {size:,} has too few points along its curve."
    return ""


# --- Claims -----------------------------------------------------------------------------------


def _jackknife(walk: random_walk.Walk, of: Callable[[FloatArray], float]) -> Estimate:
    """A number of the rms over all potentials, by leaving out a group of them at a time."""
    groups = np.array_split(np.arange(len(walk.squares)), GROUPS)
    whole = of(walk.rms)
    without = [of(np.sqrt(np.delete(walk.squares, g, axis=0).mean(axis=0))) for g in groups]
    return Estimate.mean([GROUPS * whole - (GROUPS - 1) * one for one in without])


def _none_finished(reading: Reading) -> str:
    """What a page on which every run is lost lacks to set theory beside."""
    finished = any(run.status == "done" for run in reading.runs)
    return "" if finished else "every run diverged: there is nothing to set the theory beside."


def ultra_slow(reading: Reading) -> Verdict:
    """Whether a power of log t fits the walk's distance better than a power of t; of no record."""
    walk = walk_on_a_line()
    log = np.log(walk.times)

    def ahead(rms: FloatArray) -> float:
        return growth.power_law(walk.times, rms).aic - growth.power_law(log, rms).aic

    found = _jackknife(walk, ahead)
    power = _jackknife(walk, lambda rms: growth.power_law(log, rms).parameters[1])
    verdict = directional(
        f"for walks on a line at α = 1, computed exactly on {POTENTIALS:,} potentials up to "
        f"t = 2^{DOUBLINGS}, AIC of c t^p minus that of c (log t)^q is {found}. The fitted q is "
        f"{power}; the paper's 2/α, which holds at the longest times, is {EXPONENT:g}. No net has "
        "a part in it.",
        found,
        unit="ΔAIC",
        margin=TOLD_APART,
        rests_on="potentials",
    )
    if verdict.word == "reproduced" and not power.interval.holds(EXPONENT):
        verdict = replace(verdict, word="reproduced at another size")
    # Every potential is a draw of its own.
    return replace(verdict, seeds=POTENTIALS)


def leads_by_size(reading: Reading) -> dict[int, Estimate]:
    """ΔAIC of a power law over the log law, by batch size."""
    return {
        size: Estimate.mean(list(each(reading, state, growth.lead_of_log).values()))
        for size, state in constant_rate(reading, SAME).items()
    }


def _means(
    reading: Reading, rate: str, of: Callable[[FloatArray, FloatArray], float]
) -> dict[int, float]:
    """The mean over seeds of a number of each curve, by batch size."""
    states = constant_rate(reading, rate)
    return {s: float(np.mean(list(each(reading, states[s], of).values()))) for s in states}


def _r_squared(t: FloatArray, d: FloatArray) -> float:
    return growth.log_law(t, d).r_squared


def grows_as_log(reading: Reading) -> Verdict:
    """Whether a + b log t beats c t^p, of as many parameters, at every batch size."""
    leads = leads_by_size(reading)
    squares = _means(reading, SAME, _r_squared).values()
    rest = _means(reading, SAME, lambda t, d: growth.log_law(t, d).autocorrelation).values()
    powers = _means(reading, SAME, growth.free_power).values()
    verdict = every(
        f"ΔAIC is that of c t^p minus that of a + b log t, over the last factor of {WINDOW:g} in "
        f"updates: above zero log t fits better. The log law has R² from {min(squares):.3f} to "
        f"{max(squares):.3f}. The correlation of its residuals with the next ones goes from "
        f"{min(rest):.2f} to {max(rest):.2f}. In a + b t^p, where p = 0 is log t, the best p goes "
        f"from {min(powers):.2f} to {max(powers):.2f}.",
        {f"B = {size:,}": lead for size, lead in leads.items()},
        unit="ΔAIC",
        margin=TOLD_APART,
    )
    close = [f"{size:,}" for size, one in leads.items() if one.interval.low <= TOLD_APART]
    if verdict.word != "reproduced" or not close:
        return verdict
    # As first frozen a lead above 0 was enough; of the runs then seen one was too small to count.
    why = (
        f"{verdict.why} At B = {' and '.join(close)} the lead is no larger than {TOLD_APART:g}, so "
        "that the two laws do equally well; at the other batch sizes log t leads."
    )
    return replace(verdict, word="undecided", why=why, room=None)


def _split(reading: Reading) -> tuple[int, dict[int, dict[int, float]]]:
    """The batch size with the steepest mean slope by the even seeds, and the slopes of the odd."""
    slopes = slopes_by_size(reading, SAME)
    chosen = {
        size: np.mean([v for seed, v in by.items() if seed % 2 == 0]) for size, by in slopes.items()
    }
    rest = {s: {seed: v for seed, v in by.items() if seed % 2} for s, by in slopes.items()}
    return max(chosen, key=lambda size: chosen[size]), rest


def _no_peak(reading: Reading) -> str:
    """What a peak of the slopes lacks: to lie inside the batch sizes that were tried."""
    if lost := _lost(reading, SAME):
        return lost
    sizes = list(constant_rate(reading, SAME))
    if len(sizes) < 3:
        return f"a peak takes three batch sizes, and there are {len(sizes)}."
    if min(len(by) for by in _split(reading)[1].values()) < 2:
        return "half of the seeds find the peak, and the other half are fewer than two."
    peak = _split(reading)[0]
    if peak in (sizes[0], sizes[-1]):
        slopes = slopes_by_size(reading, SAME)[peak]
        mean = Estimate.mean(list(slopes.values()))
        return (
            f"the slope is steepest at B = {peak:,}, where each factor of e in updates adds "
            f"{mean}. That is the edge of the batch sizes tried, {sizes[0]:,} to {sizes[-1]:,}, so "
            "that no peak lies between."
        )
    return ""


def slope_peaks(reading: Reading) -> Verdict:
    """Whether slopes fall to both sides of their peak, which other seeds have found."""
    peak, slopes = _split(reading)
    sizes = list(slopes)
    parts = {
        f"the slope at B = {peak:,} minus that at B = {size:,}": _differences(
            slopes[peak], slopes[size]
        )
        for size in (sizes[0], sizes[-1])
    }
    verdict = every(
        f"half of the seeds find the steepest slope at B = {peak:,}; by the other half it is "
        f"{Estimate.mean(list(slopes[peak].values()))} for each factor of e in updates.",
        parts,
        unit="slope",
    )
    about = f"Against log t, distance grows steepest at a batch of {peak:,}, and less so beyond"
    return replace(verdict, about=about)


KEPT = {
    "all": slice(None),
    "all but the smallest": slice(1, None),
    "all but the largest": slice(-1),
}
"""Of which batch sizes, in rising order, a spread is taken: one size at an end can make it, and at
the smallest sizes the remedy lowers the rate."""


def _spreads(
    reading: Reading, rate: str, kept: str = "all", of: Callable[[float], float] = math.log2
) -> dict[int, float]:
    """Standard deviation over batch sizes of log₂ of the slope, or of what is asked, by seed."""
    slopes = list(slopes_by_size(reading, rate).values())
    return {
        seed: float(np.std([of(by[seed]) for by in slopes[KEPT[kept]]], ddof=1))
        for seed in sorted(set.intersection(*(set(by) for by in slopes)))
    }


def _no_spread(reading: Reading) -> str:
    if lost := _lost(reading, SAME, ROOT):
        return lost
    for rate in (SAME, ROOT):
        for size, by in slopes_by_size(reading, rate).items():
            if min(by.values()) <= 0:
                return f"the distance falls in a run with batches of {size:,}: no ratio of slopes."
    return ""


def _normed(reading: Reading) -> bool:
    return any(state.needed[0].norm == "ghost" for state in constant_rate(reading, ROOT).values())


def remedies_match(reading: Reading) -> Verdict:
    """Whether slopes of all batch sizes are nearer to each other with the remedies.

    Relative to their size: all slopes grow, and what they differ by may grow with them. As first
    frozen the spread over all sizes gave the word; the runs then showed that the smallest made it.
    """
    before, after = (Estimate.mean([*_spreads(reading, rate).values()]) for rate in (SAME, ROOT))
    changes = {
        kept: _differences(_spreads(reading, ROOT, kept), _spreads(reading, SAME, kept))
        for kept in KEPT
    }
    judged = {
        kept: directional(
            f"over batch sizes, log₂ of the slopes has a standard deviation of {before} at equal "
            f"rates and of {after} at rates that grow as √B: a difference of {changes['all']}.",
            change,
            unit="log2 ratio",
            sign=-1,
            margin=ALIKE,
        )
        for kept, change in changes.items()
    }
    verdict = without_ends(
        judged,
        f"{judged['all'].why} Over all but the smallest batch the difference is "
        f"{changes['all but the smallest']}, and over all but the largest "
        f"{changes['all but the largest']}.",
    )
    verdict = replace(verdict, why=f"{verdict.why} {_rates_and_fits(reading)}")
    if _normed(reading):
        return verdict
    about = (
        "A learning rate that grows as √B, without norms, brings the slopes nearer together, "
        "relative to their size"
    )
    return replace(verdict, about=about)


def _rates_and_fits(reading: Reading) -> str:
    """What the change of the slopes' spread is to be read beside."""
    same, root = (constant_rate(reading, rate) for rate in (SAME, ROOT))
    lowered = enumerated(
        f"{size:,}"
        for size in root
        if root[size].needed[0].learning_rate < same[size].needed[0].learning_rate
    )
    squares = _means(reading, ROOT, _r_squared)
    worst = min(squares, key=squares.__getitem__)
    was, now = (np.mean([*_spreads(reading, r, of=float).values()]) for r in (SAME, ROOT))
    grows = "grows" if now > was else "shrinks"
    return (
        f"Below its anchor, at B = {lowered}, the rule lowers the rate. With it the line in log t "
        f"fits worst at B = {worst:,}, with an R² of {squares[worst]:.3f}. In absolute slopes the "
        f"spread {grows}, from {was:.2f} to {now:.2f}."
    )


def _no_ends(reading: Reading) -> str:
    if lost := _lost(reading, SAME):
        return lost
    states = constant_rate(reading, SAME)
    short = [size for size, s in states.items() if len(final_distances(reading, s)) < len(s.needed)]
    if short or len(states) < 2:
        return f"runs with batches of {short[0]:,} have no distance." if short else "one size."
    return ""


def stay_nearer(reading: Reading) -> Verdict:
    """Whether the final distance falls from each batch size to the next, after equal epochs."""
    ends = {
        size: final_distances(reading, state)
        for size, state in constant_rate(reading, SAME).items()
    }
    logs = {size: {seed: math.log2(d) for seed, d in of.items()} for size, of in ends.items()}
    parts = {
        f"the step from B = {small:,} to {large:,}": _differences(logs[large], logs[small])
        for small, large in itertools.pairwise(ends)
    }
    first, last = (np.mean(list(ends[size].values())) for size in (min(ends), max(ends)))
    why = (
        f"log₂ of the distance divided by that at the next smaller batch. The mean distance is "
        f"{first:.2f} at B = {min(ends):,} and {last:.2f} at B = {max(ends):,}."
    )
    return every(why, parts, unit="log2 ratio", sign=-1)


# --- The loss's spread about the start ----------------------------------------------------------


def draws(reading: Reading) -> list[tuple[FloatArray, FloatArray]]:
    """Distances z and loss changes of figure 4's draws, a pair a seed."""
    found = []
    for state in constant_rate(reading, SAME).values():
        for _, record in sorted(finished(reading, state).items()):
            z, change = (
                np.array(record.curves.get(f"random_draw_{name}", []), dtype=np.float64)
                for name in ("distance", "loss_change")
            )
            if z.size and z.size == change.size and np.isfinite(change).all():
                found.append((z, change))
    return found


def binned(z: FloatArray, change: FloatArray, bins: int) -> tuple[FloatArray, FloatArray]:
    """Rms distance and rms change of the loss in equal bins of distance; empty ones drop.

    Rms both: then what is in proportion stays so in bins of any width.
    """
    place = np.minimum((z / z.max() * bins).astype(int), bins - 1)
    there = np.unique(place)
    distance = np.array([np.sqrt((z[place == k] ** 2).mean()) for k in there])
    return distance, np.array([np.sqrt((change[place == k] ** 2).mean()) for k in there])


def power(z: FloatArray, change: FloatArray, bins: int) -> float:
    """The power of distance with which the rms change grows: the slope of the logs, by bin."""
    distance, rms = binned(z, change, bins)
    return growth.log_law(distance, np.log(rms)).parameters[1]


def _powers(reading: Reading, bins: int) -> Estimate:
    return Estimate.mean([power(*one, bins) for one in draws(reading)])


def _no_draws(reading: Reading) -> str:
    found = len(draws(reading))
    return "" if found >= 2 else f"{found} runs have draws about their start; an interval takes 2."


def proportional(reading: Reading) -> Verdict:
    """Whether the rms change of the loss is proportional to the distance, in 20 bins."""
    found = _powers(reading, 20)
    return alike(
        f"the spread grows as the distance to the power {found}, in 20 bins; in proportion means a "
        "power of 1.",
        found,
        unit="slope",
        margin=PROPORTIONAL,
        target=1.0,
    )


def for_any_bins(reading: Reading) -> Verdict:
    """The same for every number of bins."""
    powers = {bins: _powers(reading, bins) for bins in BINS}
    parts = {f"{n} bins": replace(p, value=p.value - 1) for n, p in powers.items()}
    low, high = (f(p.value for p in powers.values()) for f in (min, max))
    why = (
        f"the power of the distance minus 1, by the number of bins; the powers go from {low:.2f} "
        f"to {high:.2f}."
    )
    return every(why, parts, unit="slope", margin=PROPORTIONAL, same=True)


# --- A longer phase at the high rate ------------------------------------------------------------


def phases_by_length(reading: Reading, then: str) -> dict[float, Key]:
    found = {
        float(str(dict(s.sweep.key)["epochs"])): s.sweep.key
        for s in reading.states
        if dict(s.sweep.key).get("then") == then
    }
    return dict(sorted(found.items()))


def _gain(reading: Reading, then: str) -> Estimate:
    """Test accuracy after the longest phase less that after the shortest, seed by seed."""
    keys = list(phases_by_length(reading, then).values())
    short, long = (
        {
            record.config.seed: float(record.metrics["test_accuracy"] or 0.0)
            for state in reading.states
            if state.sweep.key == key
            for record in finished(reading, state).values()
        }
        for key in (keys[0], keys[-1])
    )
    return _differences(long, short)


def _no_phases(reading: Reading) -> str:
    """What the longer phase's claim lacks: finished runs, and a validation that stands still."""
    for state in reading.states:
        lost = len(state.needed) - len(finished(reading, state))
        if lost:
            return f"{lost} of {len(state.needed)} runs of a phase diverged."
    progress = _gain(reading, STOP)
    # As first frozen this asked for less than NO_LOSS alone; the runs then showed a progress that
    # is small and sure, as large as the gain that the claim puts down to the phase.
    some, much = progress.interval.low > 0, not progress.interval.high < NO_LOSS
    if some or much:
        shown = ("shows progress" if some else "may show progress") + (
            f", perhaps of more than {NO_LOSS:g} points" if much else ""
        )
        return (
            f"from the shortest phase to the longest, validation gains {progress} points at the "
            f"high rate itself, and {_gain(reading, DROP)} after the drop. So it {shown}."
        )
    return ""


def longer_helps(reading: Reading) -> Verdict:
    """Whether the accuracy after the drop is higher after the longest phase than the shortest."""
    short, *_, long = phases_by_length(reading, DROP)
    gain = _gain(reading, DROP)
    return directional(
        f"{long:g} epochs at the high rate in place of {short:g} gain {gain} points after the "
        f"drop, and {_gain(reading, STOP)} at the high rate itself.",
        gain,
        unit="points",
        margin=NO_LOSS,
    )


def _constant(key: Key) -> bool:
    return "rate" in dict(key)


def _same(key: Key) -> bool:
    return dict(key).get("rate") == SAME


def _phased(key: Key) -> bool:
    return "then" in dict(key)


def _only_same(reading: Reading) -> str:
    return _lost(reading, SAME)


CLAIMS = (
    # One computation, which counts once.
    Claim("H17-E3.ultra-slow-diffusion", ultra_slow, scales=("digits",), needs=_none_finished),
    Claim("H17-E4.distance-grows-as-log", grows_as_log, needs=_only_same, of=_same),
    Claim("H17-E8.loss-spread-grows-with-distance", proportional, needs=_no_draws, of=_same),
    Claim("H17-F2.slope-peaks", slope_peaks, needs=_no_peak, of=_same),
    Claim("H17-F2.remedies-match-slopes", remedies_match, needs=_no_spread, of=_constant),
    Claim("H17-F4.linear-for-any-bins", for_any_bins, needs=_no_draws, of=_same),
    Claim("H17-F7.large-batches-stay-nearer", stay_nearer, needs=_no_ends, of=_same),
    Claim("H17-C4.long-high-rate-helps", longer_helps, needs=_no_phases, of=_phased),
)
