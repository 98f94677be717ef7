"""What the records say of H17's ladder and of what stands about it: the verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.claims import (
    HELD,
    NO_LOSS,
    Claim,
    Verdict,
    alike,
    directional,
    every,
    foretold,
    without_ends,
)
from sgdnoise.experiments.generalization_gap.grid import NOISE, RUNGS
from sgdnoise.experiments.generalization_gap.ladder import (
    RECIPES,
    at,
    called,
    farther,
    half_of,
    is_main,
    lost_runs,
    main,
    names_of,
    of_single_runs,
    paired,
    rows,
    rung_of,
    step,
)
from sgdnoise.papers.numbers import H17_NETWORKS, table
from sgdnoise.phrases import enumerated
from sgdnoise.study.grid import Key

LB = at("LB")

_LAST = f"{called(at('+RA'))} minus {called(at('SB'))}"


# --- Claims: what they compare, and what they need --------------------------------------------


def no_gap(reading: Reading, *keys: Key, large: Key = LB) -> str:
    """What sweeps lack to close a gap: one between the small batch and a large one.

    Args:
        reading: with SB among its sweeps.
        keys: of what is to close it, none of whose runs may be lost.
        large: of the large batch with the small one's recipe.
    """
    if lost := lost_runs(reading, (at("SB"), large, *keys)):
        return lost
    if step(reading, at("SB"), large).interval.low > 0:
        return ""
    return (
        f"there is no gap to close: {called(large)} minus {called(at('SB'))} is "
        f"{step(reading, large, at('SB'))} points."
    )


def _theirs(reading: Reading, above: str, below: str) -> float | None:
    """The same step in H17's table 1, in points, for the net that is trained here."""
    printed = table("H17-T1").set_index("network")
    row = printed[printed.index == H17_NETWORKS.get(reading.states[0].needed[0].model)]
    return None if row.empty else float((row[above] - row[below]).iloc[0])


def _order(reading: Reading, above: str, below: str, sign: int) -> Verdict:
    """Whether one rung is better than another, or worse for a sign of −1.

    H17 prints one run a cell: its difference is known no better than that of two single runs.
    """
    found = step(reading, at(above), at(below))
    printed = _theirs(reading, above, below)
    apart = of_single_runs(reading, at(above), at(below))
    verdict = directional(
        f"{called(at(above))} minus {called(at(below))} is {found} points.",
        found,
        unit="points",
        sign=sign,
        margin=NO_LOSS,
        printed=printed,
        printed_error=apart,
    )
    if printed is None or verdict.word not in HELD:
        return verdict
    one = foretold(found.interval, apart)
    single = f"[{one.low:+.2f}, {one.high:+.2f}]"
    said = f"One run of each would give {single}, and H17 has {printed:+.2f}."
    return replace(verdict, why=f"{verdict.why} {said}")


def _no_worse(why: str, found: Mapping[str, Estimate]) -> Verdict:
    """Whether each of some differences is above −NO_LOSS: how far above does not matter."""
    moved = {name: replace(one, value=one.value + NO_LOSS) for name, one in found.items()}
    verdict = every("", moved, unit="points")
    worst = min(found.values(), key=lambda one: one.interval.low)
    interval = worst.interval
    return replace(
        verdict,
        why=f"{why}; no worse means above −{NO_LOSS:g} points.",
        effect=worst.value if math.isfinite(worst.value) else None,
        interval=(interval.low, interval.high) if verdict.interval else None,
        margin=NO_LOSS,
        band=(-NO_LOSS, None),
        p=None,
    )


def no_gap_left(reading: Reading) -> Verdict:
    """Whether the last rung is no worse than the small batch, by less than a margin.

    H17 calls its gap closed where +RA is 0.13 below SB, and prints one run a cell.
    """
    found = step(reading, at("+RA"), at("SB"))
    verdict = _no_worse(f"{_LAST} is {found} points", {"+RA": found})
    return replace(verdict, printed=_theirs(reading, "+RA", "SB"))


def _plain(reading: Reading) -> dict[int, Key]:
    """The sweeps of the small batch's recipe by their batch size, the smallest first."""
    keys = {s.needed[0].batch_size: s.sweep.key for s in reading.states if rung_of(s) in RUNGS[:2]}
    return dict(sorted(keys.items()))


LEAST_SIZES = 4
"""Batch sizes that a line over them takes, where it is asked whether one at an end makes it."""


def error_rises(reading: Reading) -> Verdict:
    """Whether the error grows with the batch size: of a line over log₂ B, its rise from end to end.

    Figure 1 has one curve a batch size and prints no number. As first frozen the line over all
    sizes gave the word; a reader then showed that the largest made it. So the word has to be the
    same without either end, as that on the slopes' spread is on the page of the random walk.
    """
    found = {size: reading.reached(key) for size, key in _plain(reading).items()}
    best = max(found, key=lambda size: found[size].value)
    rise = _rise(found)
    verdict = _rises(
        f"from B = {min(found):,} to {max(found):,} the error rises by {rise} points along a line "
        f"in log₂ B; it is lowest at B = {best:,}.",
        rise,
    )
    if len(found) <= LEAST_SIZES:
        return verdict
    ends = {"all but the smallest": min(found), "all but the largest": max(found)}
    rises = {
        kept: _rise({size: one for size, one in found.items() if size != end})
        for kept, end in ends.items()
    }
    small, large = rises.values()
    return without_ends(
        {"all": verdict, **{kept: _rises("", one) for kept, one in rises.items()}},
        f"{verdict.why} Without the smallest batch size the rise is {small} points, without the "
        f"largest {large}.",
    )


def _rises(why: str, rise: Estimate) -> Verdict:
    return directional(why, rise, unit="points", margin=NO_LOSS)


def _rise(accuracies: Mapping[int, Estimate]) -> Estimate:
    """How much lower the least-squares line through accuracies, over log₂ of their batch sizes, is
    at the largest than at the smallest."""
    x = np.log2([*accuracies])
    away = x - np.mean(x)
    weights = -np.ptp(x) * away / np.square(away).sum()
    return Estimate.weighted([*accuracies.values()], [float(weight) for weight in weights])


def _adapted(reading: Reading) -> dict[int, Key]:
    """The sweeps of +RA by their batch size."""
    keys = {s.needed[0].batch_size: s.sweep.key for s in reading.states if rung_of(s) == "+RA"}
    return dict(sorted(keys.items()))


def adapted_regimes(reading: Reading) -> Verdict:
    """Whether +RA is no worse than SB at any of its batch sizes (H17's figure 3)."""
    found = {
        f"B = {size:,}": step(reading, key, at("SB")) for size, key in _adapted(reading).items()
    }
    said = ", ".join(f"{one} at {name}" for name, one in found.items())
    return _no_worse(f"{_LAST} is {said}, in points", found)


def more_updates(reading: Reading) -> Verdict:
    """Whether +RA is better than half its batch without any adaptation (H17's figure 5)."""
    half = half_of(reading)
    found = step(reading, at("+RA"), at("LB", batch_size=half))
    return directional(
        f"{called(at('+RA'))} minus {called(at('LB', batch_size=half))} is {found} points.",
        found,
        unit="points",
        margin=NO_LOSS,
    )


def noise_for_rate(reading: Reading) -> Verdict:
    """Whether multiplicative noise ends where the larger learning rate does (H17 §4)."""
    found = step(reading, at(NOISE), at("+LR"))
    why = (
        f"{called(at(NOISE))} minus {called(at('+LR'))} is {found} points; minus {called(LB)}, "
        f"which has neither, it is {step(reading, at(NOISE), LB)}."
    )
    (large,) = (s.needed[0].batch_size for s in reading.states if s.sweep.key == LB)
    return replace(
        alike(why, found, unit="points", margin=NO_LOSS),
        about="Multiplying gradients by noise is as good as raising the learning rate by √(LB/SB), "
        f"at a batch of {large:,}",
    )


def noise_along_the_way(reading: Reading) -> Verdict:
    """Whether the two go alike at half the large batch: at the end, and on average before it."""
    half = half_of(reading)
    noise, rate = at(NOISE, batch_size=half), at("+LR", batch_size=half)
    parts = {"the end": step(reading, noise, rate)}
    before = _along(reading, noise), _along(reading, rate)
    if all(math.isfinite(one.value) for one in before):
        parts["the mean on the way"] = before[0] - before[1]
    said = ", ".join(f"{one} at {name}" for name, one in parts.items())
    why = f"at B = {half:,}, {called(at(NOISE))} minus {called(at('+LR'))} is {said}, in points."
    return replace(every(why, parts, unit="points", margin=NO_LOSS, same=True), why=why)


def _along(reading: Reading, key: Key) -> Estimate:
    """A sweep's test accuracy, averaged over where it was measured before the end."""
    (state,) = (state for state in reading.states if state.sweep.key == key)
    curves = [reading.records[c.id].curves.get("test_accuracy", []) for c in state.needed]
    return Estimate.mean([float(np.mean([v or 0.0 for v in c])) for c in curves if c])


# --- How far the weights go -------------------------------------------------------------------

AS_FAR = math.log2(1.1)
"""Log₂ of ten per cent: as two spreads of slopes are one on the page of the random walk, two
recipes within it end as far from their start."""


def about_distance(key: Key) -> bool:
    """Whether what is said of distances waits for a sweep: for all the ladder's but +RA's."""
    return is_main(key) and key != at("+RA")


def distance_judged(reading: Reading) -> str:
    """Whether a recipe that loses points to SB ends nearer to its start, as H17 pictures it.

    Distance explains nothing where one loses points and ends no nearer by ten per cent, or ends
    nearer by as much and is no worse. What is surely within half a point of SB is no worse, and
    loses nothing. Of the rungs whose runs are all there; empty where none loses points.
    """
    drawn = main(reading)
    rungs = [rung_of(state) for state in drawn.states if state.settled]
    if lost := lost_runs(drawn, map(at, rungs)):
        return lost
    others = [rung for rung in rungs if rung != "SB"]
    away = {rung: farther(drawn, at(rung), at("SB")).interval for rung in others}
    lead = {rung: paired(drawn, at(rung), at("SB")).interval for rung in others}
    as_good = {rung for rung in others if lead[rung].low > -NO_LOSS}
    loses = [rung for rung in others if lead[rung].high < 0 and rung not in as_good]
    nearer = [rung for rung in others if away[rung].high < -AS_FAR]
    far = [rung for rung in loses if away[rung].low > -AS_FAR]
    no_worse = [rung for rung in nearer if rung in as_good]
    updates = {str(row.rung): f"{row.updates:,}" for row in rows(drawn).itertuples()}
    small = f"the small batch (SB) after {updates['SB']}"

    def after(some: Sequence[str]) -> str:
        counts = enumerated(dict.fromkeys(updates[rung] for rung in some))
        verb = "end" if len(some) > 1 else "ends"
        return f"After {counts} updates {enumerated(RECIPES[rung] for rung in some)} {verb}"

    said = []
    if far:
        lose = "they lose" if len(far) > 1 else "it loses"
        said.append(
            f"{after(far)} no nearer to the start than {small}, and still {lose} points to it."
        )
    if no_worse:
        are = "are" if len(no_worse) > 1 else "is"
        said.append(f"{after(no_worse)} nearer to the start than {small}, and {are} no worse.")
    if said and (both := [rung for rung in loses if rung in nearer]):
        names, are = enumerated(RECIPES[rung] for rung in both), "are" if len(both) > 1 else "is"
        said.append(
            f"Of the recipes that lose points {names} alone {are} sure to end nearer, as H17 "
            "pictures it."
        )
    if said:
        return f"Distance does not explain the gap here. {' '.join(said)}"
    if not loses:
        return ""
    if set(loses) - set(nearer):
        return "Whether distance explains the gap is undecided here."
    lose = "lose" if len(loses) > 1 else "loses"
    return (
        f"Distance goes with the gap here. {after(loses)} nearer to the start than {small}, and "
        f"{lose} points to it. That does not make distance the cause."
    )


# --- The claims -------------------------------------------------------------------------------

STEPS = {
    "rate-helps": ("+LR", "LB"),
    "ghosts-help": ("+GBN", "+LR"),
    "updates-help": ("+RA", "+GBN"),
}
"""The claims that a change of the recipe helps, each with its rung and the one before it."""


def _gap_lacks(reading: Reading) -> str:
    return lost_runs(reading, (at("SB"), at("LB")))


def _is_rung(key: Key, rungs: frozenset[str]) -> bool:
    return is_main(key) and dict(key)["rung"] in rungs


def _rungs(*rungs: str) -> partial[bool]:
    """These rungs of the main ladder, and the two that its gap lies between.

    +RA costs more than all others together: no claim waits for it that is not about it.
    """
    return partial(_is_rung, rungs=frozenset({"SB", "LB", *rungs}))


ABOUT_THE_GAP = _rungs()


def _step_claim(name: str, above: str, below: str) -> Claim:
    """The claim that a rung is better than the one before it."""

    def lacks(reading: Reading) -> str:
        return no_gap(reading, at(above), at(below))

    better = partial(_order, above=above, below=below, sign=1)
    return Claim(f"H17-T1.{name}", better, needs=lacks, of=_rungs(above, below))


def _close_lacks(reading: Reading) -> str:
    return no_gap(reading, at("+RA"))


def _sizes_lack(reading: Reading) -> str:
    return lost_runs(reading, _plain(reading).values())


def _adapted_lacks(reading: Reading) -> str:
    return no_gap(reading, *_adapted(reading).values())


def _half_lacks(reading: Reading) -> str:
    return no_gap(reading, at("+RA"), large=at("LB", batch_size=half_of(reading)))


def _noise_lacks(reading: Reading, **size: int) -> str:
    """What noise lacks to stand in for the larger rate: an effect of that rate, on a gap."""
    plain, rate, noise = at("LB", **size), at("+LR", **size), at(NOISE, **size)
    if lacking := no_gap(reading, rate, noise, large=plain):
        return lacking
    effect = step(reading, rate, plain)
    if not effect.interval.holds(0):
        return ""
    return (
        "the larger rate has no effect that noise could have in its place: "
        f"{called(rate)} minus {called(plain)} is {effect} points."
    )


def _noise_lacks_at_half(reading: Reading) -> str:
    return _noise_lacks(reading, batch_size=half_of(reading))


def _is_plain(key: Key) -> bool:
    return dict(key)["rung"] in RUNGS[:2] and names_of(key) <= {"rung", "batch_size"}


def _is_adapted(key: Key) -> bool:
    return is_main(key) or (dict(key)["rung"] == "+RA" and names_of(key) == {"rung", "batch_size"})


def _is_of_any_size(key: Key) -> bool:
    return names_of(key) <= {"rung", "batch_size"}


def _is_about_noise(key: Key) -> bool:
    """Of noise, of the rate it stands for, and of what both are compared with: +RA is neither.

    +RA has the fewest seeds, and no word on noise rests on them.
    """
    return _is_of_any_size(key) and dict(key)["rung"] in {"SB", "LB", "+LR", NOISE}


_AROUND = ("digits", "cpu")
"""The scales whose grids have more than the ladder."""

CLAIMS = (
    Claim(
        "H17-T1.large-is-worse",
        partial(_order, above="LB", below="SB", sign=-1),
        needs=_gap_lacks,
        of=ABOUT_THE_GAP,
    ),
    *(_step_claim(name, *rungs) for name, rungs in STEPS.items()),
    Claim("H17-T1.no-gap-left", no_gap_left, needs=_close_lacks, of=_rungs("+RA")),
    Claim("H17-F1.error-rises-with-batch", error_rises, _AROUND, needs=_sizes_lack, of=_is_plain),
    Claim(
        "H17-F3.adapted-regimes-match",
        adapted_regimes,
        _AROUND,
        needs=_adapted_lacks,
        of=_is_adapted,
    ),
    Claim(
        "H17-F5.more-updates-beat-none",
        more_updates,
        _AROUND,
        needs=_half_lacks,
        of=_is_of_any_size,
    ),
    Claim(
        "H17-N.noise-replaces-rate", noise_for_rate, _AROUND, needs=_noise_lacks, of=_is_about_noise
    ),
    Claim(
        "H17-F6.noise-and-rate-alike",
        noise_along_the_way,
        _AROUND,
        needs=_noise_lacks_at_half,
        of=_is_about_noise,
    ),
)
