"""Sentences of `sharpness` beside its verdicts: which curvature stands at its bound."""

from __future__ import annotations

import math

from sgdnoise.analysis import Estimate, Reading
from sgdnoise.config import PROBE_EXAMPLES
from sgdnoise.experiments.sharpness.findings import FULL, SMALLEST, WITHIN
from sgdnoise.experiments.sharpness.grid import IMAGES, TUNED
from sgdnoise.experiments.sharpness.measured import QUANTITIES, arm, curve, logged, measured, ratio
from sgdnoise.figures.tables import power_of_two
from sgdnoise.phrases import enumerated
from sgdnoise.study.scales import METHODS, NAMES


def at_the_limit(found: Estimate) -> str:
    """Between which multiples of its bound a curvature lies, and whether surely on one side."""
    times = found.interval
    if not math.isfinite(times.half):
        return f"{2.0**times.value:.3g} times the bound, by a single run"
    side = ", surely above it" if times.low > 0 else ", surely below it" if times.high < 0 else ""
    return f"{2.0**times.low:.3g} to {2.0**times.high:.3g} times the bound{side}"


def limits(reading: Reading) -> str:
    """Where both curvatures stand to plain SGD's bound at the smallest and the full batch."""
    findings, numbers = [], []
    for size in (SMALLEST, FULL):
        records = measured(reading, "sgd", size)
        found = {name: ratio(records, quantity) for quantity, name in QUANTITIES.items()}
        if all(math.isfinite(one.value) for one in found.values()):
            places = [f"{name} is {at_the_limit(one)}" for name, one in found.items()]
            findings.append(f"at B = {size:,} {', and '.join(places)}")
            updates = int(curve(records[0], "step")[-1])
            numbers.append(
                f"at B = {size:,} the measured runs have {updates:,} updates each, and curvature "
                f"was measured after {logged(records)} of them while the net learnt"
            )
    if not findings:
        return "**No run learnt at the tuned rates**: nothing stands at the bound 2/ε or below it."
    few = "; ".join(numbers)
    return (
        f"**While plain SGD learns, {'; '.join(findings)}.** The bound is 2/ε, and the ranges are "
        f"95 % intervals over seeds. {few[:1].upper()}{few[1:]}. {measured_on()}"
    )


def measured_on() -> str:
    """On which images either curvature is measured."""
    return (
        f"λmax is of the loss on {PROBE_EXAMPLES:,} of the {IMAGES:,} training images. Batch "
        f"sharpness is of batches from all of them; at B = {FULL:,} a batch is all images."
    )


def another_rate(reading: Reading) -> str:
    """What the verdicts on the critical rate leave untested, with the rates best for the loss."""
    best = []
    for method in METHODS:
        peak = reading.tuned("train_loss")[arm(method, FULL)].peak
        if peak.is_estimate:
            best.append(
                f"{power_of_two(peak.value)} with {NAMES[method]} (between "
                f"{power_of_two(peak.low)} and {power_of_two(peak.high)}; the measured runs have "
                f"{power_of_two(TUNED[method][FULL])})"
            )
    told = (
        f" At B = {FULL:,} the rate best for the final loss is {enumerated(best)}." if best else ""
    )
    return (
        "S20 (§3.1) speaks of the rate that lowers the training loss fastest, and expects it just "
        "below the critical one. The verdicts on the full batch are on the rate that is best for "
        f"the test set, and they also take one up to {2.0**WITHIN:g} times above for critical."
        f"{told} Besides, λmax adapts to the bound of the rate (Cohen et al., 2021): at another "
        "stable rate it could stand at its bound as well, and none but the tuned one was measured."
    )
