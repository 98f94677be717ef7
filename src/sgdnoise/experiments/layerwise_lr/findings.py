"""Verdicts on the layer-wise rules: G20's figure 16, over batch sizes, from records.

Verdicts rest on fresh seeds, and two accuracies differ by Student's t on their pooled variance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd

from sgdnoise import data
from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import COVERAGE, Estimate
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.claims import Claim, Verdict, alike, directional, every
from sgdnoise.experiments.layerwise_lr.explanations import AGAINST, of_vanishing
from sgdnoise.experiments.layerwise_lr.grid import BEFORE, RULES
from sgdnoise.figures.tables import bounded_power
from sgdnoise.papers.numbers import printed
from sgdnoise.records.record import Record
from sgdnoise.study.grid import Key
from sgdnoise.study.scales import NAMES

NEGLIGIBLE = 1.0
"""Points of accuracy within which two rules count as alike; G20 calls a difference negligible
without saying how small it is."""

SomeReading = TypeVar("SomeReading", bound=Reading)


def came_before(key: Key) -> bool:
    """Whether a sweep is of the design that came first."""
    return set(BEFORE) <= set(key)


def came_after(key: Key) -> bool:
    """Whether it is of the later one, or of the only one."""
    return not came_before(key)


def is_claimed(key: Key) -> bool:
    """Whether a sweep is of a rule that a claim is about."""
    return dict(key)["method"] in RULES


def compared(reading: SomeReading) -> SomeReading:
    """The batch sizes that claims compare: the smallest, G20's and the largest.

    What a claim says does not wait for those between.
    """
    if not reading.states:
        return reading
    sizes = sorted({int(dict(state.sweep.key)["batch_size"]) for state in reading.states})
    some = {sizes[0], _nearest(reading, sizes), sizes[-1]}
    return reading.part(lambda key: dict(key)["batch_size"] in some)


def shown(reading: SomeReading) -> SomeReading:
    """The sweeps that a page draws, where a scale was designed twice.

    Those of the later design, once what its claims compare is complete. Until then those that came
    before, if there are any.
    """
    before, after = reading.part(came_before), reading.part(came_after)
    if not before.states or not after.states:
        return reading
    return before if before.runs and compared(after).part(is_claimed).waiting else after


def settled(reading: SomeReading) -> SomeReading:
    """The rules that are complete, at the batch sizes at which all rules of claims are.

    Of a page's sweeps; all of them where the rules of claims are complete at no batch size.
    """

    def waiting(some: Reading, name: str) -> set[object]:
        return {dict(state.sweep.key)[name] for state in some.states if not state.settled}

    late = waiting(reading.part(is_claimed), "batch_size")
    there = reading.part(lambda key: dict(key)["batch_size"] not in late)
    if not there.states:
        return reading
    missing = waiting(there, "method")
    return there.part(lambda key: dict(key)["method"] not in missing)


def is_of(*rules: str) -> Callable[[Key], bool]:
    """Whether a sweep is of one of some rules."""
    return lambda key: dict(key)["method"] in rules


def images(reading: Reading) -> int:
    """How many a reading trains on."""
    config = reading.states[0].sweep.config(reading.states[0].points[0], 0)
    return data.images_of(config)


def stations(source: pd.DataFrame) -> list[int]:
    """The batch sizes of a table of optima, the smallest first."""
    return sorted(int(size) for size in source.batch_size.unique())


def table(reading: Reading) -> pd.DataFrame:
    """One row a batch size, one column a rule: accuracy of fresh seeds, and the tuned rate."""
    optima = reading.optima()
    rows = []
    for size in stations(optima):
        row: dict[str, object] = {"Batch size": size}
        for rule in rules_in(reading):
            row[NAMES[rule]] = _cell(_row(optima, rule, size))
        rows.append(row)
    return pd.DataFrame(rows)


def rules_in(reading: Reading) -> list[str]:
    """The rules that this scale has, as they are listed everywhere."""
    there = {str(dict(state.sweep.key)["method"]) for state in reading.states}
    return [rule for rule in NAMES if rule in there]


def _row(optima: pd.DataFrame, rule: str, size: int) -> pd.Series:
    return optima[(optima.method == rule) & (optima.batch_size == size)].iloc[0]


def _cell(row: pd.Series) -> str:
    exponent = row.get("exponent", math.nan)
    if not np.isfinite(exponent):
        return "not yet measured" if row.seeds == 0 else "all diverged"
    if row.fresh_seeds:
        spread = row.test_accuracy_fresh_std
        value = f"{row.test_accuracy_fresh:.2f}"
        value += f" ± {spread:.2f}" if np.isfinite(spread) else " (one seed)"
    else:
        fresh = "every fresh seed diverged" if row.settled else "fresh seeds to come"
        value = f"({row.test_accuracy_mean:.2f}, {fresh})"
    return f"{value} at {bounded_power(exponent, row['bound'])}"


def _ahead(reading: Reading, rule: str, other: str, size: int) -> Estimate:
    """Accuracy of one rule less that of another at a batch size, by fresh seeds."""
    rows = reading.optima()
    mine, theirs = (reading.reached(_row(rows, name, size).key) for name in (rule, other))
    return mine - theirs


def scaled(reading: Reading, name: str) -> float:
    """A batch size that G20 names, scaled from CIFAR-10's images to those that are trained on."""
    share = images(reading) / data.train_size("cifar10")
    return printed(f"G20-F16.{name}").value * share


def _nearest(reading: Reading, sizes: Iterable[int]) -> int:
    """The batch size that is nearest to G20's."""
    asked = scaled(reading, "batch_size")
    return min(sizes, key=lambda size: abs(math.log2(size / asked)))


def compared_at(reading: Reading) -> int:
    """The batch size at which MCLR and LARS are compared: the nearest to G20's that is run."""
    return _nearest(reading, stations(reading.optima()))


def _lacks(reading: Reading, rule: str, other: str, *sizes: int) -> str:
    """What a comparison of two rules at some batch sizes lacks."""
    rows = reading.optima()
    return no_optimum(reading, [_row(rows, r, size).key for size in sizes for r in (rule, other)])


def as_good(reading: Reading) -> Verdict:
    """Whether MCLR and LARS differ by less than a negligible part at G20's batch size."""
    size = compared_at(reading)
    gap = _ahead(reading, "mclr", "lars", size)
    why = f"MCLR minus LARS is {gap} points, by fresh seeds."
    verdict = alike(why, gap, unit="points", margin=NEGLIGIBLE)
    return replace(verdict, about=f"MCLR is as good as LARS at B = {size:,}")


def _not_compared(reading: Reading) -> str:
    return _lacks(reading, "mclr", "lars", compared_at(reading))


def falls_behind(reading: Reading) -> Verdict:
    """Whether MCLR loses against LARS from G20's batch size to the largest one."""
    reference, largest = compared_at(reading), stations(reading.optima())[-1]
    near, far = (_ahead(reading, "mclr", "lars", size) for size in (reference, largest))
    change = far - near
    why = f"from B = {reference:,} to {largest:,} MCLR's lead over LARS changes by {change} points."
    return directional(why, change, unit="points", sign=-1, margin=NEGLIGIBLE)


def _too_small(reading: Reading) -> str:
    """What the fall behind LARS lacks: batches as large as those that G20 speaks of."""
    largest, limit = stations(reading.optima())[-1], scaled(reading, "limit")
    if lost := _lacks(reading, "mclr", "lars", compared_at(reading), largest):
        return lost
    if largest >= limit:
        return ""
    return (
        f"G20 speaks of batches beyond {limit:,.0f} at this size, and the largest is {largest:,}."
    )


def helps(reading: Reading, rule: str) -> Verdict:
    """Whether a rule gains more over momentum at the largest batch than at the smallest.

    S20 has it that it gains at large batches, where curvature decides, and nothing at small ones:
    so it must be ahead at the largest, and by more than at the smallest.
    """
    sizes = stations(reading.optima())
    near, far = (_ahead(reading, rule, "momentum", size) for size in (sizes[0], sizes[-1]))
    parts = {
        f"its lead at B = {sizes[-1]:,}": far,
        f"the change of its lead from B = {sizes[0]:,}": far - near,
    }
    why = f"it leads momentum by {near} points at B = {sizes[0]:,}, and by {far} at {sizes[-1]:,}."
    return every(why, parts, unit="points", margin=NEGLIGIBLE)


def _helps_lacks(reading: Reading, rule: str) -> str:
    sizes = stations(reading.optima())
    return _lacks(reading, rule, "momentum", sizes[0], sizes[-1])


# --- Beside the claims ----------------------------------------------------------------------------


def falls_from(reading: Reading, rule: str = "mclr") -> str:
    """From which batch size on a reading of MCLR is surely behind LARS, every larger one included.

    At a level that Bonferroni divides among the batch sizes. Empty where the scale has no such
    rule.
    """
    if rule not in rules_in(reading):
        return ""
    sizes, behind = stations(reading.optima()), []
    level = 1 - (1 - COVERAGE) / len(sizes)
    known = [size for size in sizes if not _lacks(reading, rule, "lars", size)]
    gaps = {size: _ahead(reading, rule, "lars", size) for size in known}
    for size in reversed(known):
        if not gaps[size].at(level).high < 0:
            break
        behind.append(size)
    listed = ", ".join(f"{gap} at B = {size:,}" for size, gap in gaps.items())
    left = [size for size in sizes if size not in known]
    lacking = f" (not compared at {', '.join(f'{size:,}' for size in left)})" if left else ""
    name = NAMES[rule]
    said = (
        f"From B = {behind[-1]:,} on {name} is surely behind LARS"
        if behind
        else f"There is no batch size from which on {name} is surely behind LARS"
    )
    return f"{said}{lacking}: {name} minus LARS is {listed or 'nothing known'} points."


def against_nesterov(reading: Reading) -> str:
    """Whether tuned Nesterov momentum is no worse than LARS: Nado et al. (2021) find as much.

    Empty where the scale has no such rule.
    """
    if "nesterov" not in rules_in(reading):
        return ""
    sizes = stations(reading.optima())
    said = (
        "Nado et al. (2021) find that tuned Nesterov momentum does as well as LARS. Whether it is "
        f"at most {NEGLIGIBLE:g} point worse than LARS at every batch size"
    )
    if lacking := _lacks(reading, "nesterov", "lars", *sizes):
        return f"{said}: *not tested here*; {lacking}"
    parts = {f"B = {size:,}": _ahead(reading, "nesterov", "lars", size) for size in sizes}
    room = {name: replace(gap, value=gap.value + NEGLIGIBLE) for name, gap in parts.items()}
    verdict = every("", room, unit="points")
    listed = ", ".join(f"{gap} at {name}" for name, gap in parts.items())
    return f"{said}: *{verdict.word}*. Nesterov minus LARS is {listed} points."


def _tuned_runs(reading: Reading, rule: str, size: int) -> list[Record | None]:
    """The runs at a rule's tuned rate that tuned it, one a seed; None for one that is not there."""
    of = {"method": rule, "batch_size": size}
    (state,) = (s for s in reading.states if of.items() <= dict(s.sweep.key).items())
    best = state.tuned.get("test_accuracy")
    if best is None:
        return [None] * reading.seeds
    runs = (state.sweep.config(best.point, seed).id for seed in range(reading.seeds))
    return [reading.records.get(run) for run in runs]


def first_steps(reading: Reading, rule: str) -> dict[int, np.ndarray]:
    """‖Δw‖ of the first update at the tuned rate by batch size, a number a seed.

    It is the distance that a run is measured to have come after its first step. NaN where none is.
    """

    def length(run: Record | None) -> float | None:
        curves = run.curves if run else {}
        first = (curves.get("step") or [0])[0] == 1
        return (curves.get("distance") or [math.nan])[0] if first else math.nan

    return {
        size: np.array([length(run) for run in _tuned_runs(reading, rule, size)], dtype=np.float64)
        for size in stations(reading.optima())
    }


def steps_slope(reading: Reading, rule: str) -> Estimate:
    """Slope of log₂ of the first step's length against log₂ of the batch size, seed by seed."""
    steps = first_steps(reading, rule)
    x = np.log2(list(steps))
    each = np.log2(np.array(list(steps.values())))
    each = each[:, np.isfinite(each).all(axis=0)]
    slopes = (x - x.mean()) @ each / ((x - x.mean()) ** 2).sum()
    return Estimate.mean(slopes)


SHRINKS = 0.1
"""How steep a step may fall with the batch size and count as not shrinking: G20's law for equal
rates has a slope of −1/2."""


def _grows(steps: Mapping[int, np.ndarray], small: int, large: int) -> Estimate:
    """log₂ of how much longer the first step is at one batch size than at another, by seed."""
    ratios = np.log2(steps[large] / steps[small])
    return Estimate.mean(ratios[np.isfinite(ratios)])


def _shrinks_somewhere(reading: Reading, rule: str) -> str:
    """Where the first step is surely shorter than at the next smaller batch size, the first time.

    Beside how long it is at the largest batch; empty for nowhere.
    """
    steps = first_steps(reading, rule)
    small, *_, large = steps
    for before, size in itertools.pairwise(steps):
        step = _grows(steps, before, size)
        if step.interval.high < 0:
            return (
                f"whose first update surely is {100 * (1 - 2**step.value):.0f} % shorter at "
                f"B = {size:,} than at {before:,} (at {large:,} it is "
                f"{2 ** _grows(steps, small, large).value:.1f} times as long as at {small:,})"
            )
    return ""


LAYERWISE = ("lars", "percent-delta", "mclr", "mclr-signed", "lamb")
"""The rules that give each layer a rate of its own."""


def _lose_less(reading: Reading, rules: Iterable[str]) -> tuple[list[str], int]:
    """The layer-wise rules that surely lose less than momentum from the smallest batch on.

    At a level that Bonferroni divides among those that can be compared, whose number it gives too.
    """
    small, *_, large = stations(reading.optima())
    known = [
        rule
        for rule in rules
        if rule in LAYERWISE and not _lacks(reading, rule, "momentum", small, large)
    ]
    changes = {
        rule: _ahead(reading, rule, "momentum", large) - _ahead(reading, rule, "momentum", small)
        for rule in known
    }
    level = 1 - (1 - COVERAGE) / max(len(known), 1)
    return [rule for rule, change in changes.items() if change.at(level).low > 0], len(known)


def survives(reading: Reading) -> str:
    """What is left of G20's explanation that steps which vanish are why large batches lose.

    From words alone: of each rule, whether its first step at the tuned rate shrinks with the batch
    size, and whether it loses accuracy from the smallest batch to the largest. A step does not
    surely shrink if it surely does so neither over all sizes nor from any one to the next.
    """
    sizes = stations(reading.optima())
    words, left = {}, {}
    for rule in rules_in(reading):
        if lacking := _lacks(reading, rule, rule, sizes[0], sizes[-1]):
            left[rule] = f"for {lacking.removesuffix('.')}"
            continue
        slope = steps_slope(reading, rule)
        shrinks = directional("", slope, unit="slope", sign=-1, margin=SHRINKS).word
        if shrinks in AGAINST and (where := _shrinks_somewhere(reading, rule)):
            shrinks, left[rule] = "undecided", where
        near, far = (
            reading.reached(_row(reading.optima(), rule, size).key)
            for size in (sizes[0], sizes[-1])
        )
        loses = directional("", near - far, unit="points", margin=NEGLIGIBLE).word
        words[rule] = (shrinks, loses)
    less, compared_rules = _lose_less(reading, rules_in(reading))
    return of_vanishing(words, (sizes[0], sizes[-1]), less, left, compared_rules)


def trained(reading: Reading) -> str:
    """How far each rule has fitted its training images, at the smallest and the largest batch."""
    optima = reading.optima()
    sizes = stations(optima)
    said = []
    for size in (sizes[0], sizes[-1]):
        found = {rule: _train_accuracy(reading, rule, size) for rule in rules_in(reading)}
        there = {rule: each for rule, each in found.items() if len(each)}
        if there:
            listed = ", ".join(f"{NAMES[r]} {each.mean():.1f}" for r, each in there.items())
            said.append(f"at B = {size:,} {listed}")
    return f"Percent of the training images that are classified rightly: {'; '.join(said)}."


def _train_accuracy(reading: Reading, rule: str, size: int) -> np.ndarray:
    """Final training accuracies at the tuned rate, of the seeds that tuned it and are finite."""
    runs = filter(None, _tuned_runs(reading, rule, size))
    found = np.array([run.metrics.get("train_accuracy") for run in runs], dtype=np.float64)
    return found[np.isfinite(found)]


def _judged(reading: Reading) -> Reading:
    return compared(shown(reading))


def _claim(name: str, judge: Callable[[Reading], Verdict], lacks: Callable[..., str]) -> Claim:
    return Claim(name, judge, needs=lacks, of=is_claimed, among=_judged)


CLAIMS = (
    _claim("G20-F16.mclr-as-good-as-lars", as_good, _not_compared),
    _claim("G20-F16.mclr-falls-behind", falls_behind, _too_small),
    *(
        _claim(
            f"S20-C3.{rule}-helps-large-only",
            partial(helps, rule=rule),
            partial(_helps_lacks, rule=rule),
        )
        for rule in RULES[1:]
    ),
)
