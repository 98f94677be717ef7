"""What the records say of the curvature that training meets, and of warm-up."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.analysis.intervals import COVERAGE, Interval, combined
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.claims import NO_LOSS, Claim, Verdict, alike, directional, every
from sgdnoise.experiments.sharpness.grid import SETTINGS
from sgdnoise.experiments.sharpness.measured import (
    GUESS,
    LOST,
    QUANTITIES,
    Quantity,
    curve,
    early_fall,
    inside,
    is_of,
    is_swept,
    logged,
    measured,
    ratio,
    setting,
)
from sgdnoise.figures.tables import power_of_two
from sgdnoise.phrases import enumerated
from sgdnoise.study.grid import Key
from sgdnoise.study.scales import METHODS, NAMES

WITHIN = 1.0
"""In log₂: how far from a bound still is at it, a factor of two. S20 knows a rate to as much."""

FAR = 2.0
"""In log₂: a quarter of the critical rate or less is far below it."""

HALF_STEP = 0.5
"""In log₂ of the rate: the least difference between usable rates that powers of two resolve."""


# --- The critical rate ----------------------------------------------------------------------------


def _few(reading: Reading, method: str, size: int, quantity: Quantity = "sharpness") -> str:
    """What a ratio lacks: two runs that were measured while they learnt."""
    records = measured(reading, method, size)
    found = [r for r in records if np.isfinite(curve(r, quantity)[inside(r, "learning")]).any()]
    if len(found) >= 2:
        return ""
    return (
        f"{len(found)} of the measured runs of {NAMES[method]} at B = {size:,} learnt; it takes 2."
    )


def factor(found: Estimate, digits: int = 3) -> str:
    """A log₂ ratio as a factor with its interval."""
    if not math.isfinite(found.value):
        return "–"
    inner = found.interval
    value, low, high = (f"{2.0**x:.{digits}g}" for x in (inner.value, inner.low, inner.high))
    return f"{value} [{low}, {high}]" if math.isfinite(inner.half) else f"{value}, no interval"


def at_critical(reading: Reading, method: str) -> Verdict:
    """Whether the full batch's tuned rate keeps λmax at the bound of its stability."""
    full = setting(reading).full
    found = ratio(measured(reading, method, full), "sharpness")
    away, why = _at_tuned(reading, method, full, found)
    verdict = alike(
        f"at B = {full:,} and its tuned rate λmax is {factor(found)} times 2(1 + m)/ε while the "
        f"net learns{why}",
        away,
        unit="log2 ratio",
        margin=WITHIN,
    )
    return replace(verdict, room=None)


def _tuned_lacks(reading: Reading, method: str, which: Literal["smallest", "full"]) -> str:
    at = setting(reading)
    size = getattr(at, which)
    arm = at.arm(method, size)
    if lacking := _few(reading, method, size) or no_optimum(reading, [arm]):
        return lacking
    if reading.tuned()[arm].peak.is_estimate:
        return ""
    return f"the best rate of {NAMES[method]} at B = {size:,} lies on an edge of its grid."


def _at_tuned(reading: Reading, method: str, size: int, found: Estimate) -> tuple[Interval, str]:
    """A ratio to the critical rate, log₂, with how well the tuned rate itself is known, and words.

    Beside a cliff that is not well. It is no matter of more seeds of the measured runs.
    """
    at = setting(reading)
    rate, chosen = reading.tuned()[at.arm(method, size)].peak, at.tuned[method][size]
    known = Interval(0.0, min(rate.low - chosen, 0.0), max(rate.high - chosen, 0.0))
    away = combined([(1.0, found.interval), (1.0, known)])
    low, high = (f"{2.0**end:.3g}" for end in (away.low, away.high))
    return away, (
        f". The runs have the rate {power_of_two(chosen)}, and the best one lies between "
        f"{power_of_two(rate.low)} and {power_of_two(rate.high)}: at all of these rates it would "
        f"be {low} to {high}."
    )


def far_below(reading: Reading, method: str) -> Verdict:
    """Whether the small batch's tuned rate is a quarter of the critical one or less."""
    smallest = setting(reading).smallest
    records = measured(reading, method, smallest)
    found = ratio(records, "sharpness", effective=True)
    away, why = _at_tuned(reading, method, smallest, found)
    # S20 compares the effective rate with plain SGD's limit, and momentum's own lies further out.
    own = ""
    if METHODS[method]:
        own = f"; of momentum's own limit, 2(1+m)/λmax, {factor(ratio(records, 'sharpness'))}"
    verdict = directional(
        f"at B = {smallest} the tuned effective rate is {factor(found)} times 2/λmax while the "
        f"net learns; far below is {2.0**-FAR:g} or less{own}{why}",
        Interval(away.value + FAR, away.low + FAR, away.high + FAR),
        unit="log2 ratio",
        sign=-1,
    )
    return replace(verdict, room=None)


def ratios_table(reading: Reading) -> pd.DataFrame:
    """Every curvature over its bound, in both windows, for each arm."""
    rows = []
    at = setting(reading)
    for method in at.methods:
        for size in at.sizes:
            for length in at.lengths(True, size):
                records = measured(reading, method, size, length)
                row = {
                    "method": NAMES[method],
                    "batch size": f"{size:,}",
                    "warm-up": f"{length} {at.unit}" if length else "none",
                    "updates logged in a run, while it learns / in its second half": (
                        f"{logged(records)} / {logged(records, 'late')}"
                    ),
                }
                for quantity, name in QUANTITIES.items():
                    row[f"{name}, while the net learns"] = factor(ratio(records, quantity), 2)
                    row[f"{name}, second half"] = factor(ratio(records, quantity, "late"), 2)
                row["batch sharpness / (2/ε_eff), while the net learns"] = factor(
                    ratio(records, "batch_sharpness", effective=True), 2
                )
                rows.append(row)
    return pd.DataFrame(rows)


# --- Warm-up --------------------------------------------------------------------------------------


def usable(reading: Reading, key: Key) -> dict[int, float]:
    """log₂ of the highest tried power of two at which a run still learns, by seed.

    A run that ends above half of a guess's loss, or diverged, has fallen apart. NaN where the
    highest rate tried did not fall apart, or every one did.
    """
    one = reading.tuned("train_loss")[key]
    whole = np.array([float(e).is_integer() for e in one.exponents])
    rates = one.exponents[whole]
    learnt = one.table[whole] <= LOST * GUESS  # False for NaN
    found = {}
    for column, seed in enumerate(one.seeds):
        rows = np.flatnonzero(learnt[:, column])
        bounded = len(rows) and rows[-1] < len(rates) - 1
        found[seed] = float(rates[rows[-1]]) if bounded else math.nan
    return found


def usable_gain(reading: Reading, method: str, size: int) -> Estimate:
    """By how much warm-up raises the highest usable rate, in log₂: seeds paired."""
    at = setting(reading)
    warm, cold = (usable(reading, at.arm(method, size, n)) for n in (at.warm_up, 0))
    return Estimate.mean([warm[seed] - cold[seed] for seed in warm if seed in cold])


def told_gain(found: Estimate) -> str:
    """A gain with its interval; where all seeds have the same, why that is no certainty."""
    if found.error == 0:
        return f"{found.value:+.2f} for every seed, whose scatter the grid's step of 1 hides"
    return str(found)


def larger_rates(reading: Reading, method: str) -> Verdict:
    """Whether each batch size beyond the boundary survives larger rates with warm-up."""
    at = setting(reading)
    gains = {size: usable_gain(reading, method, size) for size in at.large}
    told = enumerated(
        f"by {told_gain(gain)} at B = {size:,}"
        + (f" ({at.updates(size):,} updates)" if at.unit == "epochs" else "")
        for size, gain in gains.items()
    )
    falls = enumerated(factor(early_fall(measured(reading, method, size))) for size in at.large)
    verdict = every(
        f"{at.warm_up} {at.unit} of warm-up raise the highest usable rate, in log₂, {told}. "
        "λmax falls early: at the tuned rate, without warm-up, it is after the first update "
        f"{falls} times its mean while the net learns.",
        {f"B = {size:,}": gain for size, gain in gains.items()},
        unit="log2 ratio",
        margin=HALF_STEP,
    )
    # The measured runs, fewer seeds, tell whether λmax falls, and are no part of the gain.
    return replace(verdict, seeds=reading.part(is_swept).seeds)


def _rates_lack(reading: Reading, method: str) -> str:
    """What larger rates by warm-up lack at the first batch size that lacks something."""
    large = setting(reading).large
    return next(filter(None, (_rates_lack_at(reading, method, size) for size in large)), "")


def _rates_lack_at(reading: Reading, method: str, size: int) -> str:
    """What a batch size lacks: that λmax falls early, or that the grid has the rates' end."""
    if few := _few(reading, method, size):
        return few
    fall = early_fall(measured(reading, method, size))
    if not fall.interval.low > 0:
        return (
            f"at B = {size:,} λmax after the first update is {factor(fall)} times that while the "
            "net learns: nothing says that the critical rate rises early, as S20 asks for."
        )
    at = setting(reading)
    for length in (at.warm_up, 0):
        found = usable(reading, at.arm(method, size, length))
        lost = sum(not math.isfinite(value) for value in found.values())
        if lost:
            name = "with warm-up" if length else "without warm-up"
            return (
                f"{lost} of {len(found)} seeds {name} at B = {size:,} learnt at every rate tried, "
                "or at none: the highest usable one is not known."
            )
    return ""


def accuracy_gain(reading: Reading, method: str, size: int) -> Estimate:
    """What warm-up adds to the accuracy at the tuned rate, in points, by fresh seeds."""
    at = setting(reading)
    warm, cold = (reading.reached(at.arm(method, size, length)) for length in (at.warm_up, 0))
    return warm - cold


def more_accurate(reading: Reading, method: str) -> Verdict:
    """Whether the largest batch that is run with warm-up gains by it, each at its tuned rate."""
    at = setting(reading)
    found = accuracy_gain(reading, method, at.warmed[-1])
    return directional(
        f"at B = {at.warmed[-1]:,}, {at.warm_up} {at.unit} of warm-up add {found} points, by "
        "fresh seeds.",
        found,
        unit="points",
        margin=NO_LOSS,
    )


def _accuracy_lacks(reading: Reading, method: str) -> str:
    at = setting(reading)
    arms = [at.arm(method, at.warmed[-1], length) for length in (at.warm_up, 0)]
    return no_optimum(reading, arms)


def where_it_helps(reading: Reading) -> str:
    """The batch sizes at which warm-up raises the highest usable rate, in Markdown.

    Empty where it is tried at one alone, of which the verdict tells.
    """
    at = setting(reading)
    gains = {
        f"{NAMES[method]} at B = {size:,}": usable_gain(reading, method, size)
        for method in at.methods
        for size in at.warmed
    }
    known = {name: gain for name, gain in gains.items() if math.isfinite(gain.value)}
    # As many are looked at, one would rise by chance.
    up = [
        f"{name}, in log₂ by {told_gain(gain)}"
        for name, gain in known.items()
        if gain.value > 0 and gain.p < (1 - COVERAGE) / len(known)
    ]
    if len(gains) < 2:
        return ""
    lengths = (
        f" {at.warm_up} epochs are {', '.join(f'{at.updates(size):,}' for size in at.warmed)} "
        f"updates at B = {', '.join(f'{size:,}' for size in at.warmed)}."
    )
    alone = sum(gain.interval.low > 0 for gain in known.values())
    more = f", for {alone} without it" if alone > len(up) else ""
    return (
        f"Of {len(known)} batch sizes and methods whose highest usable rate is known, warm-up "
        f"raises it for {len(up)} (with Bonferroni's correction{more}){': ' if up else ''}"
        f"{'; '.join(up)}.{lengths if at.unit == 'epochs' else ''}"
    )


def warm_up_table(reading: Reading) -> pd.DataFrame:
    """What warm-up changes at each batch size: the usable rate, the accuracy, λmax before it."""
    rows = []
    optima = reading.optima()
    fresh = dict(zip(optima.key, optima.test_accuracy_fresh, strict=True))
    at = setting(reading)
    for method in at.methods:
        for size in at.warmed:
            arms = [at.arm(method, size, length) for length in (0, at.warm_up)]
            fall = factor(early_fall(measured(reading, method, size)), 2)
            rates = [Estimate.mean(list(usable(reading, key).values())).value for key in arms]
            reached = [float(fresh[key]) for key in arms]
            rows.append(
                {
                    "method": NAMES[method],
                    "batch size": f"{size:,}",
                    "λmax after the first update / while the net learns": fall,
                    "highest usable rate (log₂)": _signed(rates[0], "+.2f"),
                    "the same with warm-up": _signed(rates[1], "+.2f"),
                    "gain": told_gain(usable_gain(reading, method, size)),
                    "accuracy (%)": _signed(reached[0], ".2f"),
                    "accuracy with warm-up (%)": _signed(reached[1], ".2f"),
                    "gain (points)": str(accuracy_gain(reading, method, size)),
                }
            )
    return pd.DataFrame(rows)


def _signed(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"


def _sizes(which: Literal["smallest", "full"]) -> list[int]:
    return [getattr(at, which) for at in SETTINGS.values()]


def _tries(key: Key, method: str) -> bool:
    return is_swept(key) and is_of(key, method)


CLAIMS = (
    *(
        Claim(
            f"S20-E4.full-batch-at-critical.{method}",
            partial(at_critical, method=method),
            needs=partial(_tuned_lacks, method=method, which="full"),
            of=partial(is_of, method=method, sizes=_sizes("full")),
        )
        for method in METHODS
    ),
    *(
        Claim(
            f"S20-E3.far-below-critical.{method}",
            partial(far_below, method=method),
            needs=partial(_tuned_lacks, method=method, which="smallest"),
            of=partial(is_of, method=method, sizes=_sizes("smallest")),
        )
        for method in METHODS
    ),
    *(
        Claim(
            f"S20-C3.warm-up-larger-rates.{method}",
            partial(larger_rates, method=method),
            needs=partial(_rates_lack, method=method),
            of=partial(is_of, method=method),
        )
        for method in METHODS
    ),
    *(
        Claim(
            f"S20-C3.warm-up-helps-full-batch.{method}",
            partial(more_accurate, method=method),
            needs=partial(_accuracy_lacks, method=method),
            of=partial(_tries, method=method),
        )
        for method in METHODS
    ),
)
