"""Sentences of `sharpness` beside its verdicts: which curvature stands at its bound."""

from __future__ import annotations

import math

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.experiments.sharpness.findings import FULL, SMALLEST, WITHIN, factor
from sgdnoise.experiments.sharpness.measured import QUANTITIES, measured, ratio


def at_the_limit(found: Estimate) -> str:
    """Where a curvature stands to its bound, in a word: "about" where that is not decided."""
    low, high = found.interval.low, found.interval.high
    if low >= -WITHIN and high <= WITHIN:
        return "within a factor of two of"
    if high < 0:
        return "below"
    if low > 0:
        return "above"
    return "about"


def limits(reading: Reading) -> str:
    """Which curvature stands at plain SGD's bound at the smallest and the full batch, Markdown."""
    findings, numbers = [], []
    for size in (SMALLEST, FULL):
        records = measured(reading, "sgd", size)
        found = {name: ratio(records, quantity) for quantity, name in QUANTITIES.items()}
        if all(math.isfinite(one.value) for one in found.values()):
            places = [f"{name} is {at_the_limit(one)} the bound" for name, one in found.items()]
            findings.append(f"at B = {size:,} {' and '.join(places)}")
            parts = [f"{factor(one)} ({name})" for name, one in found.items()]
            numbers.append(f"{' and '.join(parts)} at B = {size:,}")
    if not findings:
        return "**No run learnt at the tuned rates**: nothing stands at the bound 2/ε or below it."
    return (
        f"**While plain SGD learns, {'; '.join(findings)}.** Divided by the bound 2/ε they are "
        f"{'; '.join(numbers)}."
    )
