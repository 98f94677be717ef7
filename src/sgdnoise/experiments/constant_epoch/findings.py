"""What the records say of S20's figure 1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sgdnoise.analysis import Estimate, Interval, Reading, Tuning
from sgdnoise.analysis.intervals import COVERAGE
from sgdnoise.analysis.locate import Located
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.analysis.regimes import LEAST_CARRIED, line_slope
from sgdnoise.claims import HELD, NO_LOSS, Claim, Verdict, alike, directional, every
from sgdnoise.papers.numbers import printed, table
from sgdnoise.phrases import enumerated
from sgdnoise.study.grid import Key
from sgdnoise.study.scales import NAMES

NEAR_LINEAR = 0.2
"""How far from 1 a slope may be: a factor of 1.15 in the rate over a doubling of the batch size."""

FLAT = 0.25
"""How steep the rates may be that S20 calls flat: a quarter of the linear scaling rule."""

HALF_STEP = 0.5
"""In log₂ of the batch size: the tried ones are a step of two apart at least."""

GRID_STEP = 1.0
"""In log₂ of the learning rate: S20 tries powers of two, and knows an optimum to a step."""

BEYOND = 4
"""From this many times plain SGD's boundary on, curvature decides."""

WELL_BELOW = 4
"""This many times below the boundary noise alone decides; nearer to it curvature has a say."""


def alike_loss() -> float:
    """Log₂ ratio within which two training losses are alike: the least that S20's table 1 resolves.

    Less than what the first doubling of its batch size does to the loss.
    """
    losses = table("S20-T1").sort_values("batch_size").train_loss
    return float(np.log2(losses.iloc[0] / losses.iloc[1]))


def boundary_table(reading: Reading) -> pd.DataFrame:
    """Slope and boundary of each method with their intervals, beside S20's statements."""
    rows = []
    optima = reading.optima()
    theirs = f"{printed('S20-F1.boundary').value:g}"
    # S20 gives plain SGD's, and says of momentum that beyond it the rate still grows.
    boundaries = {"sgd": theirs, "momentum": f"beyond {theirs}, not printed"}
    for method, fit in reading.regimes.items():
        sizes = optima.batch_size[optima.method == method]
        rows.append(
            {
                "method": NAMES[method],
                "batch sizes below the boundary": f"{fit.carried} of {len(sizes)}",
                "slope below the boundary": str(fit.slope),
                "slope, S20": f"{printed('S20-F1.slope').value:g}",
                "boundary batch size": str(fit.boundary) if fit.flat_seen else "no flat part seen",
                "boundary, S20 (its own net)": boundaries[method],
                "learning rate beyond it": str(fit.level),
            }
        )
    return pd.DataFrame(rows)


def _sizes(reading: Reading) -> list[int]:
    """The batch sizes that both methods were tried at."""
    return sorted({int(dict(state.sweep.key)["batch_size"]) for state in reading.states})


def _pair(method: str, size: int) -> Key:
    return (("method", method), ("batch_size", size))


def _boundary(reading: Reading) -> float:
    """Plain SGD's boundary batch size."""
    return reading.regimes["sgd"].boundary.value


def _below(reading: Reading) -> list[int]:
    """Those surely below the boundary, by its interval: there noise decides."""
    return [s for s in _sizes(reading) if s <= reading.regimes["sgd"].boundary.low]


def _surely_below(reading: Reading) -> str:
    """Where those of `_below` lie, in words."""
    most = int(reading.regimes["sgd"].boundary.low)
    return f"surely below plain SGD's boundary (B ≤ {most:,} by its interval)"


def _beyond(reading: Reading) -> list[int]:
    return [size for size in _sizes(reading) if size >= BEYOND * _boundary(reading)]


Sizes = Callable[[Reading], list[int]]
"""Some of the batch sizes tried."""


def _lacks(reading: Reading, sizes: Sizes, least: int, where: str) -> str:
    """What a claim about some of the batch sizes lacks."""
    if not np.isfinite(_boundary(reading)):
        return "no boundary was found: fewer than four batch sizes have an optimum inside a grid."
    if (found := len(sizes(reading))) >= least:
        return ""
    return (
        f"{found} of the batch sizes tried {where} plain SGD's boundary, at "
        f"{reading.regimes['sgd'].boundary}; it takes {least}."
    )


def _reached_lacks(
    reading: Reading,
    sizes: Sizes,
    least: int,
    where: str,
    methods: tuple[str, ...] = ("sgd", "momentum"),
) -> str:
    """What a claim about what was reached at some of the batch sizes lacks."""
    if few := _lacks(reading, sizes, least, where):
        return few
    return no_optimum(reading, [_pair(m, size) for size in sizes(reading) for m in methods])


def _too_few(reading: Reading, method: str) -> str:
    """What a slope lacks."""
    fit = reading.regimes[method]
    if not np.isfinite(fit.slope.value):
        return "fewer than four batch sizes have an optimum inside their grid."
    if fit.carried >= LEAST_CARRIED:
        return ""
    return (
        f"{fit.carried} batch sizes lie below the boundary of {fit.boundary.value:.0f}; a slope "
        f"takes {LEAST_CARRIED}."
    )


def linear_scaling(reading: Reading, method: str) -> Verdict:
    """Whether the tuned rate grows in proportion to the batch size below the boundary."""
    fit = reading.regimes[method]
    return alike(
        f"the slope is {fit.slope}, from {fit.carried} batch sizes below a boundary of about "
        f"{fit.boundary.value:.0f}; in proportion means a slope of 1.",
        fit.slope,
        unit="slope",
        margin=NEAR_LINEAR,
        target=printed("S20-F1.slope").value,
        rests_on="batch sizes",
    )


def flat_beyond(reading: Reading) -> Verdict:
    """Whether plain SGD's tuned rate stays where it is from twice its boundary on."""
    rates = {size: _peak(reading, "sgd", size).value for size in _twice(reading)}
    slope = line_slope([float(np.log2(size)) for size in rates], list(rates.values()))
    return alike(
        f"over the {len(rates)} batch sizes from twice the boundary on, B = {min(rates):,} and "
        f"more, the slope of the best rate is {slope}; no growth means a slope of 0.",
        slope,
        unit="slope",
        margin=FLAT,
        rests_on="batch sizes",
    )


def _peak(reading: Reading, method: str, size: int) -> Located:
    return reading.tuned()[_pair(method, size)].peak


def _tuned(reading: Reading, sizes: Iterable[int], *methods: str) -> list[int]:
    """Those of the batch sizes at which the methods' tuned rates are estimates and no bounds."""
    return [s for s in sizes if all(_peak(reading, m, s).is_estimate for m in methods)]


def _twice(reading: Reading) -> list[int]:
    sizes = [size for size in _sizes(reading) if size >= 2 * _boundary(reading)]
    return _tuned(reading, sizes, "sgd")


def scales_further(reading: Reading) -> Verdict:
    """Whether momentum's boundary lies beyond plain SGD's."""
    sgd, momentum = (reading.regimes[m].boundary for m in ("sgd", "momentum"))
    with np.errstate(divide="ignore"):
        further = _log2(momentum) - _log2(sgd)
    times = Interval(*(float(np.exp2(x)) for x in (further.value, further.low, further.high)))
    return directional(
        f"with momentum the learning rate stops growing at B ≈ {momentum}, with plain SGD at "
        f"{sgd}: the first is {times} times the second.",
        further,
        unit="log2 ratio",
        margin=HALF_STEP,
        rests_on="batch sizes",
    )


def _log2(found: Interval) -> Interval:
    return Interval(*(float(np.log2(x)) for x in (found.value, found.low, found.high)))


def _no_boundary(reading: Reading) -> str:
    finite = all(np.isfinite(reading.regimes[m].boundary.value) for m in ("sgd", "momentum"))
    return "" if finite else "a method has fewer than four batch sizes with an optimum inside."


def _rate_ratio(reading: Reading, sizes: list[int]) -> Interval:
    """Momentum's tuned effective rate over plain SGD's, log₂: mean over batch sizes, with t."""
    return Estimate.mean(
        [_peak(reading, "momentum", s).value - _peak(reading, "sgd", s).value for s in sizes]
    ).interval


def _tuned_below(reading: Reading) -> list[int]:
    return _tuned(reading, _below(reading), "sgd", "momentum")


def _tuned_beyond(reading: Reading) -> list[int]:
    return _tuned(reading, _beyond(reading), "sgd", "momentum")


def _ratio_said(reading: Reading, sizes: list[int], where: str) -> tuple[str, Interval]:
    """The ratio of the methods' rates in words, and as an interval."""
    ratio = _rate_ratio(reading, sizes)
    why = (
        f"momentum's best effective rate divided by plain SGD's is {ratio} in log₂, the mean over "
        f"{len(sizes)} batch sizes {where}."
    )
    return why, ratio


def same_rate_below(reading: Reading) -> Verdict:
    """Whether the methods' effective learning rates agree below the boundary."""
    said = _ratio_said(reading, _tuned_below(reading), _surely_below(reading))
    return alike(*said, unit="log2 ratio", margin=GRID_STEP, rests_on="batch sizes")


def larger_rate_beyond(reading: Reading) -> Verdict:
    """Whether momentum bears the larger effective learning rate where curvature decides."""
    where = f"from {BEYOND} times plain SGD's boundary on"
    said = _ratio_said(reading, _tuned_beyond(reading), where)
    return directional(*said, unit="log2 ratio", margin=GRID_STEP, rests_on="batch sizes")


def _momentum_less_sgd(
    reading: Reading, sizes: Iterable[int], objective: str = "test_accuracy"
) -> dict[str, Estimate]:
    """What momentum reaches less what plain SGD does, by batch size, by fresh seeds."""
    return {
        f"B = {size:,}": reading.reached(_pair("momentum", size), objective)
        - reading.reached(_pair("sgd", size), objective)
        for size in sizes
    }


_ACCURACY = "the accuracy of momentum minus that of plain SGD is {}, in points, by fresh seeds."
_LOSS = "log₂ of momentum's final training loss divided by plain SGD's is {}."


def _listed(gaps: Mapping[str, Estimate]) -> str:
    return enumerated(f"{gap} at {name}" for name, gap in gaps.items())


def alike_below(reading: Reading) -> Verdict:
    """Whether the methods reach the same accuracy below plain SGD's boundary."""
    gaps = _momentum_less_sgd(reading, _below(reading))
    return every(_ACCURACY.format(_listed(gaps)), gaps, unit="points", margin=NO_LOSS, same=True)


def ahead_beyond(reading: Reading) -> Verdict:
    """Whether momentum is ahead from four times plain SGD's boundary on."""
    return _wherever_it_begins(reading, "test_accuracy", _ACCURACY, unit="points", margin=NO_LOSS)


def _wherever_it_begins(reading: Reading, objective: str, said: str, **options: Any) -> Verdict:
    """The verdict beyond the boundary, undecided where it hangs on which batch sizes those are.

    The boundary is an estimate: by the end of its interval fewer batch sizes lie beyond it.
    """

    def judge(sizes: list[int]) -> Verdict:
        gaps = _momentum_less_sgd(reading, sizes, objective)
        return every(said.format(_listed(gaps)), gaps, **options)

    found = judge(_beyond(reading))
    surely = [s for s in _sizes(reading) if s >= BEYOND * reading.regimes["sgd"].boundary.high]
    strict = judge(surely) if surely else found
    if strict.word in ("undecided", found.word) or found.word == "undecided":
        return found
    holds = "holds" if found.word in HELD else "does not hold"
    why = (
        f"{found.why} So from {BEYOND} times the estimated boundary on it {holds} at every batch "
        f"size: it is {found.word}. From {BEYOND} times the end of the boundary's interval on, at "
        f"{enumerated(f'B = {size:,}' for size in surely)}, it is {strict.word}. Where the "
        "boundary lies is not known well enough."
    )
    return replace(found, word="undecided", why=why, room=0.0)


def loss_alike_below(reading: Reading) -> Verdict:
    """Whether the methods reach the same training loss below plain SGD's boundary."""
    gaps = _momentum_less_sgd(reading, _below(reading), "train_loss")
    why = _LOSS.format(_listed(gaps))
    return every(why, gaps, unit="log2 ratio", margin=alike_loss(), same=True)


def loss_lower_beyond(reading: Reading) -> Verdict:
    """Whether momentum's training loss is the lower one from four times the boundary on."""
    how = {"unit": "log2 ratio", "sign": -1, "margin": alike_loss()}
    return _wherever_it_begins(reading, "train_loss", _LOSS, **how)


def flat_below(reading: Reading) -> Verdict:
    """Whether plain SGD's accuracy is the same at all batch sizes below its boundary."""
    found = {size: reading.reached(_pair("sgd", size)) for size in _below(reading)}
    apart = {
        f"B = {size:,}": mine - Estimate.average([found[s] for s in found if s != size])
        for size, mine in found.items()
    }
    last = reading.reached(_pair("sgd", _sizes(reading)[-1])).value
    values = [one.value for one in found.values()]
    why = (
        f"plain SGD's accuracy lies between {min(values):.2f} and {max(values):.2f} % at "
        f"{len(values)} batch sizes {_surely_below(reading)}; at the largest batch "
        f"{f'it is {last:.2f} %' if np.isfinite(last) else 'every rate diverged'}. Each of "
        "those below is compared with the mean of the others."
    )
    return every(why, apart, unit="points", margin=NO_LOSS, same=True)


def temperature_decides(reading: Reading, method: str) -> Verdict:
    """Whether the two smallest batch sizes do the same at equal temperature ε/B.

    They are compared at the smaller one's best learning rate, over all seeds, and at those below.
    """
    small, large = _sizes(reading)[:2]
    gaps = _equal_temperature(reading, method)
    exponent = max(gaps)
    why = (
        f"at the best temperature that both were tried at, the accuracy at B = {large:,} minus "
        f"that at B = {small:,} is {gaps[exponent]} points, over all seeds. Of the "
        f"{len(gaps)} shared temperatures up to it, the largest difference is "
        f"{max(abs(gap.value) for gap in gaps.values()):.2f} points."
    )
    return alike(why, gaps[exponent], unit="points", margin=NO_LOSS)


def _equal_temperature(reading: Reading, method: str) -> dict[float, Estimate]:
    """The accuracy at the second batch size less that at the smallest, by the latter's rate."""
    small, large = _sizes(reading)[:2]
    first, second = (reading.tuned()[_pair(method, size)] for size in (small, large))
    best = first.state.tuned.get("test_accuracy")
    shift = float(np.log2(large / small))
    gaps = _twin_gaps(first, second, shift) if best else {}
    return {e: gap for e, gap in gaps.items() if best is not None and e <= best.point[0]}


def _not_below(reading: Reading, method: str) -> str:
    """What equal temperature needs: that both batch sizes surely lie where noise decides."""
    small, large, *_ = _sizes(reading)
    boundary = reading.regimes[method].boundary
    if not np.isfinite(boundary.value):
        return "no boundary was found, so nothing says that noise decides at either batch size."
    if WELL_BELOW * large > boundary.low:
        return (
            f"noise may not decide alone at B = {large:,}: the boundary, at {boundary}, may lie "
            f"less than {WELL_BELOW} times above it. A fair test takes a smaller batch."
        )
    if reading.tuned()[_pair(method, small)].state.tuned.get("test_accuracy") is None:
        return f"every learning rate diverged at B = {small:,}."
    if not _equal_temperature(reading, method):
        return f"B = {small:,} and {large:,} share no temperature at which runs are left."
    return ""


def _twin_gaps(first: Tuning, second: Tuning, shift: float) -> dict[float, Estimate]:
    """The second's accuracy less the first's, by the first's log₂ rate: twins are `shift` apart.

    Each mean's variance is pooled with that of the rates about its own method's optimum.
    """
    found = {}
    for row, exponent in enumerate(first.exponents):
        twin = np.flatnonzero(second.exponents == exponent + shift)
        if len(twin):
            both = (first.table[row], first), (second.table[twin[0]], second)
            mine, other = (Estimate.pooled(v, [v, *one.table[one.about]]) for v, one in both)
            if np.isfinite(other.value - mine.value):
                found[float(exponent)] = other - mine
    return found


@dataclass(frozen=True)
class MethodGap:
    """Momentum's accuracy less plain SGD's at equal effective learning rate, at one batch size.

    Attributes:
        batch_size: B.
        rates: the shared learning rates up to plain SGD's best at which no run was lost.
        gap: the mean over them, in points, of all seeds there are.
    """

    batch_size: int
    rates: int
    gap: Estimate


def method_gaps(reading: Reading) -> list[MethodGap]:
    """The gap at each batch size, in rising order, at which the methods share a learning rate."""
    found, tuned = list[MethodGap](), reading.tuned()
    for size in _sizes(reading):
        plain, heavy = (tuned[_pair(method, size)] for method in ("sgd", "momentum"))
        best = plain.state.tuned.get("test_accuracy")
        both = _all_finite(plain) & _all_finite(heavy)
        gaps = [
            gap
            for exponent, gap in _twin_gaps(plain, heavy, 0).items()
            if best is not None and exponent <= best.point[0] and exponent in both
        ]
        if gaps:
            found.append(MethodGap(size, len(gaps), Estimate.average(gaps)))
    return found


def _all_finite(one: Tuning) -> set[float]:
    """The learning rates, log₂, at which no run diverged or is missing."""
    return {float(exponent) for exponent in one.exponents[np.isfinite(one.table).all(1)]}


def _no_shared_rate(reading: Reading) -> str:
    gaps = method_gaps(reading)
    if not gaps:
        return "the methods share no learning rate."
    size, boundary = gaps[0].batch_size, reading.regimes["sgd"].boundary
    if not np.isfinite(boundary.value):
        return f"no boundary was found, so nothing says that noise decides at B = {size:,}."
    if WELL_BELOW * size > boundary.low:
        return f"noise may not decide alone at B = {size:,}: the boundary is {boundary}."
    return ""


def same_as_sgd(reading: Reading) -> Verdict:
    """Whether momentum changes nothing at the smallest batch but the effective learning rate."""
    first, *others = method_gaps(reading)
    why = (
        f"at B = {first.batch_size:,} and equal effective learning rate, momentum minus plain SGD "
        f"is {first.gap} points, the mean over {first.rates} rates up to plain SGD's best."
    )
    # As many batch sizes are looked at, one would differ by chance.
    differing = [other for other in others if other.gap.p < (1 - COVERAGE) / len(others)]
    if differing:
        why += (
            f" The smallest batch size at which they surely differ (with Bonferroni's correction) "
            f"is {differing[0].batch_size:,}: {differing[0].gap} points."
        )
    return alike(why, first.gap, unit="points", margin=NO_LOSS)


_BELOW, _BEYOND = "lie surely below", f"lie at {BEYOND} times or beyond"
_INSIDE = "have an optimum inside the grid and "
_few_below = partial(_reached_lacks, sizes=_below, least=1, where=_BELOW)
_two_below = partial(_reached_lacks, sizes=_below, least=2, where=_BELOW, methods=("sgd",))
_few_beyond = partial(_reached_lacks, sizes=_beyond, least=1, where=_BEYOND)
_three_below = partial(_lacks, sizes=_tuned_below, least=3, where=_INSIDE + _BELOW)
_three_beyond = partial(_lacks, sizes=_tuned_beyond, least=3, where=_INSIDE + _BEYOND)
_three_twice = partial(_lacks, sizes=_twice, least=3, where=_INSIDE + "lie at twice or beyond")

CLAIMS = (
    *(
        Claim(
            f"S20-F1c.linear-scaling.{method}",
            partial(linear_scaling, method=method),
            needs=partial(_too_few, method=method),
        )
        for method in ("sgd", "momentum")
    ),
    Claim("S20-F1c.flat-beyond", flat_beyond, needs=_three_twice),
    Claim("S20-F1c.momentum-scales-further", scales_further, needs=_no_boundary),
    Claim("S20-F1c.same-rate-below", same_rate_below, needs=_three_below),
    Claim("S20-F1c.larger-rate-beyond", larger_rate_beyond, needs=_three_beyond),
    Claim("S20-F1a.methods-agree-below", alike_below, needs=_few_below),
    Claim("S20-F1a.momentum-ahead-beyond", ahead_beyond, needs=_few_beyond),
    Claim("S20-F1a.accuracy-flat-below", flat_below, needs=_two_below),
    Claim("S20-F1b.losses-agree-below", loss_alike_below, needs=_few_below),
    Claim("S20-F1b.momentum-lower-beyond", loss_lower_beyond, needs=_few_beyond),
    Claim("S20-C2.momentum-is-sgd", same_as_sgd, needs=_no_shared_rate),
    *(
        Claim(
            f"S20-E3.temperature-decides.{method}",
            partial(temperature_decides, method=method),
            needs=partial(_not_below, method=method),
        )
        for method in ("sgd", "momentum")
    ),
)
