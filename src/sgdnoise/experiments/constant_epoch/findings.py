"""What the records say of S20's figure 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from sgdnoise.analysis import Reading, Tuning
from sgdnoise.analysis.intervals import Estimate, Interval
from sgdnoise.analysis.tuning import fresh_accuracy
from sgdnoise.claims import Claim, Verdict, Word, within
from sgdnoise.figures.tables import NAMES
from sgdnoise.papers.numbers import printed

NEAR_LINEAR = 0.2
"""How far from 1 a slope may be: the margin of the check of S20's linear scaling."""


def boundary_table(reading: Reading) -> pd.DataFrame:
    """Slope and boundary of each method with their intervals, beside S20's statements."""
    rows = []
    optima = reading.optima()
    for method, fit in reading.regimes.items():
        sizes = optima.batch_size[optima.method == method]
        rows.append(
            {
                "method": NAMES[method],
                "batch sizes below the boundary": int((sizes < fit.boundary.value).sum()),
                "slope below the boundary": str(fit.slope),
                "slope, S20": f"{printed('S20-F1.slope').value:g}",
                "boundary batch size": str(fit.boundary) if fit.flat_seen else "no flat part seen",
                "boundary, S20 (its own net)": printed("S20-F1.boundary").value,
                "learning rate beyond it": str(fit.level),
            }
        )
    return pd.DataFrame(rows)


def linear_scaling(reading: Reading, method: str) -> Verdict:
    """Whether the tuned rate grows in proportion to the batch size below the boundary."""
    slope = reading.regimes[method].slope
    if not np.isfinite(slope.low):
        said = "there is no interval."
    elif slope.low <= 1 <= slope.high:
        said = "the interval holds 1."
    elif abs(slope.value - 1) <= NEAR_LINEAR:
        said = "near 1, but the interval excludes it."
    else:
        said = f"it grows {'more slowly' if slope.value < 1 else 'faster'} than the batch size."
    verdict = within(f"the slope is {slope}; {said}", slope, _alike(slope, 1, NEAR_LINEAR))
    return replace(verdict, margin=NEAR_LINEAR)


def _alike(found: Interval, target: float, margin: float) -> Word:
    """The word for a claim that a quantity is `target`, by an interval and a margin."""
    if target - margin <= found.low and found.high <= target + margin:
        return "reproduced"
    if found.high < target - margin or found.low > target + margin:
        return "contradicted"
    return "undecided"


def scales_further(reading: Reading) -> Verdict:
    """Whether momentum's boundary lies beyond plain SGD's."""
    sgd, momentum = (reading.regimes[m] for m in ("sgd", "momentum"))
    if sgd.flat_seen and momentum.boundary.low > sgd.boundary.high:
        why = (
            f"its learning rate stops growing at B ≈ {momentum.boundary.value:.0f}, plain SGD's "
            f"at {sgd.boundary.value:.0f}, and the intervals do not touch."
        )
        return Verdict("reproduced", why, momentum.boundary.value / sgd.boundary.value)
    return Verdict(
        "undecided",
        "the intervals of the two boundaries overlap, or one was not seen; this was not shown.",
    )


def _momentum_ahead(reading: Reading) -> dict[int, Estimate]:
    """Momentum's accuracy less plain SGD's at each batch size, by fresh seeds."""
    rows = reading.optima().set_index(["method", "batch_size"])

    def mean(method: str, size: int) -> Estimate:
        return fresh_accuracy(rows.loc[(method, size)])

    return {size: mean("momentum", size) - mean("sgd", size) for size in rows.loc["sgd"].index}


def _counted(gaps: list[Estimate], holds: Callable[[Estimate], bool], why: str) -> Verdict:
    if not gaps:
        return Verdict(
            "not tested here", f"{why}cannot be said: no batch size that was tried lies there."
        )
    count = sum(map(holds, gaps))
    word: Word = "reproduced" if count == len(gaps) else "undecided"
    return Verdict(word, f"{why}at {count} of {len(gaps)} batch sizes.", count / len(gaps))


def alike_below(reading: Reading) -> Verdict:
    """Whether the methods reach the same accuracy below plain SGD's boundary."""
    boundary = reading.regimes["sgd"].boundary.low
    gaps = [gap for size, gap in _momentum_ahead(reading).items() if size <= boundary]
    return _counted(gaps, lambda gap: gap.near_zero, "within two standard errors ")


def ahead_beyond(reading: Reading) -> Verdict:
    """Whether momentum is ahead from four times plain SGD's boundary on."""
    start = 4 * reading.regimes["sgd"].boundary.value
    gaps = [gap for size, gap in _momentum_ahead(reading).items() if size >= start]
    return _counted(gaps, lambda gap: gap.low > 0, "by more than two standard errors ")


def flat_below(reading: Reading) -> Verdict:
    """Whether plain SGD's accuracy is the same at all batch sizes below its boundary."""
    rows = reading.optima()
    rows = rows[rows.method == "sgd"].sort_values("batch_size")
    small = rows[rows.batch_size <= reading.regimes["sgd"].boundary.low]
    if len(small) < 2:
        return Verdict("not tested here", "fewer than two batch sizes that were tried lie there.")
    fresh = small.test_accuracy_fresh
    best, worst = (fresh_accuracy(small.iloc[at]) for at in (fresh.argmax(), fresh.argmin()))
    spread = best - worst
    why = (
        f"plain SGD's lies between {fresh.min():.2f} and {fresh.max():.2f} %, and at the largest "
        f"batch it is {rows.test_accuracy_fresh.iloc[-1]:.2f} %."
    )
    return within(why, spread.interval, "reproduced" if spread.near_zero else "undecided")


def temperature_decides(reading: Reading, method: str) -> Verdict:
    """Whether the two smallest batch sizes do the same at equal temperature ε/B.

    They are compared at the smaller one's best learning rate, over all seeds, and at those below.
    """
    tuned = {
        dict(key)["batch_size"]: one
        for key, one in reading.tuned().items()
        if dict(key)["method"] == method
    }
    small, large = sorted(tuned)[:2]
    first, second = tuned[small], tuned[large]
    best = first.state.tuned.get("test_accuracy")
    if best is None:
        return Verdict("not tested here", f"every learning rate diverged at B = {small:,}.")
    gaps = _twin_gaps(first, second, float(np.log2(large / small)))
    here = gaps.get(best.point[0])
    if here is None:
        return Verdict(
            "not tested here",
            f"B = {small:,} and {large:,} share no learning rate at equal temperature with the "
            f"best of B = {small:,}; not checked.",
        )
    shared = [abs(gap.value) for exponent, gap in gaps.items() if exponent <= best.point[0]]
    why = (
        f"at the temperature that is best at B = {small:,}, the accuracy at B = {large:,} is "
        f"{here} points away (all seeds, standard error): "
        + ("no difference shows." if here.near_zero else "they differ.")
        + f" Over the {len(shared)} shared temperatures up to that one, the largest distance is "
        f"{max(shared):.2f} points."
    )
    return within(why, here.interval, "reproduced" if here.near_zero else "contradicted")


def _twin_gaps(first: Tuning, second: Tuning, shift: float) -> dict[int, Estimate]:
    """The second's accuracy less the first's, by the first's log₂ rate: twins are `shift` apart."""
    found = {}
    for row, exponent in enumerate(first.exponents):
        twin = np.flatnonzero(second.exponents == exponent + shift)
        if len(twin):
            a, b = (t[np.isfinite(t)] for t in (first.table[row], second.table[twin[0]]))
            if min(len(a), len(b)) > 1:
                found[int(exponent)] = Estimate.mean(b) - Estimate.mean(a)
    return found


def method_gaps(reading: Reading) -> pd.DataFrame:
    """Momentum's test accuracy less plain SGD's at equal effective learning rate, by batch size.

    Columns: `batch_size`, `rates` (the shared learning rates up to plain SGD's best), `gap` (mean
    over them, in points) and `error` (standard error, of all seeds there are).
    """
    rows = []
    tuned = reading.tuned()
    for key, plain in tuned.items():
        size = dict(key)["batch_size"]
        heavy = tuned.get((("method", "momentum"), ("batch_size", size)))
        best = plain.state.tuned.get("test_accuracy")
        if dict(key)["method"] != "sgd" or heavy is None or best is None:
            continue
        both = _all_finite(plain) & _all_finite(heavy)
        gaps = [
            gap
            for exponent, gap in _twin_gaps(plain, heavy, 0).items()
            if exponent <= best.point[0] and exponent in both
        ]
        if gaps:
            error = float(np.hypot.reduce([gap.error for gap in gaps])) / len(gaps)
            rows.append((size, len(gaps), float(np.mean([g.value for g in gaps])), error))
    return pd.DataFrame(rows, columns=["batch_size", "rates", "gap", "error"])


def _all_finite(one: Tuning) -> set[int]:
    """The learning rates, log₂, at which no run diverged or is missing."""
    return {int(exponent) for exponent in one.exponents[np.isfinite(one.table).all(1)]}


def same_as_sgd(reading: Reading) -> Verdict:
    """Whether momentum changes anything at the smallest batch, and from which on."""
    gaps = method_gaps(reading).sort_values("batch_size")
    if gaps.empty:
        return Verdict("not tested here", "the methods share no learning rate.")
    first = gaps.iloc[0]
    here = Estimate(first.gap, first.error)
    # Many batch sizes are looked at, and one in twenty would differ by two errors by chance.
    differing = gaps[gaps.gap.abs() > 3 * gaps.error]
    why = (
        f"At B = {first.batch_size:,.0f}, momentum is {here} points away from plain SGD at equal "
        f"effective learning rate (mean over {first.rates:.0f} rates up to plain SGD's best, "
        "standard error): "
        + (
            "no difference shows, as where noise alone decides."
            if here.near_zero
            else "they differ."
        )
    )
    if here.near_zero and len(differing):
        other = differing.iloc[0]
        why += (
            f" The first batch size at which they differ by more than three standard errors is "
            f"{other.batch_size:,.0f}: {Estimate(other.gap, other.error)} points."
        )
    return within(why, here.interval, "reproduced" if here.near_zero else "contradicted")


CLAIMS = (
    Claim("S20-F1c.linear-scaling.sgd", partial(linear_scaling, method="sgd")),
    Claim("S20-F1c.linear-scaling.momentum", partial(linear_scaling, method="momentum")),
    Claim("S20-F1c.momentum-scales-further", scales_further),
    Claim("S20-F1a.methods-agree-below", alike_below),
    Claim("S20-F1a.momentum-ahead-beyond", ahead_beyond),
    Claim("S20-F1a.accuracy-flat-below", flat_below),
    Claim("S20-C2.momentum-is-sgd", same_as_sgd),
    Claim("S20-E3.temperature-decides.sgd", partial(temperature_decides, method="sgd")),
    Claim("S20-E3.temperature-decides.momentum", partial(temperature_decides, method="momentum")),
)
