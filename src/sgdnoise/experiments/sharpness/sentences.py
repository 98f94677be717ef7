"""Sentences of `sharpness` beside its verdicts: which curvature limits, what warm-up buys."""

from __future__ import annotations

import math

from sgdnoise.analysis import Estimate, Interval, Reading
from sgdnoise.config import PROBE_EXAMPLES
from sgdnoise.experiments.sharpness.findings import (
    HALF_STEP,
    WITHIN,
    accuracy_gain,
    usable_gain,
)
from sgdnoise.experiments.sharpness.measured import (
    QUANTITIES,
    curve,
    logged,
    measured,
    ratio,
    setting,
)
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
    """Where both curvatures stand to the bound at the smallest and the full batch.

    With plain SGD, where there is any of it.
    """
    at = setting(reading)
    method = at.methods[0]
    bound = "2(1 + m)/ε" if METHODS[method] else "2/ε"
    findings, numbers = [], []
    for size in (at.smallest, at.full):
        records = measured(reading, method, size)
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
        return f"**No run learnt at the tuned rates**: nothing stands at the bound {bound}."
    few = "; ".join(numbers)
    return (
        f"**While {'SGD with momentum 0.9' if METHODS[method] else 'plain SGD'} learns, "
        f"{'; '.join(findings)}.** The bound is {bound}, and the ranges are 95 % intervals over "
        f"seeds. {few[:1].upper()}{few[1:]}. {measured_on(reading)}"
    )


def look_at(reading: Reading) -> str:
    """What to look for along the runs."""
    return _LOOK_AT[reading.study.scale]


_LOOK_AT = {
    "digits": "With plain SGD and the full batch λmax comes down to the dark dashed line or "
    "somewhat above it, and stays there. At B = 4 look at batch sharpness instead, until the data "
    "are fitted and both fall away from the line. With momentum, compare the small batch with the "
    "grey line, the bound of the effective rate.",
    "cpu": "Does λmax with the full batch come down to the dark dashed line, and stay about there? "
    "Move to smaller batches: how far below it do both curvatures stay? At B = 16 compare them "
    "with the grey line, the bound of the effective rate.",
}


def measured_on(reading: Reading) -> str:
    """On which images either curvature is measured, and with whose statistics."""
    at = setting(reading)
    ghosts = (
        " Both are of the loss without augmentation, with the statistics of ghosts as in training; "
        "the loss of a net as it is evaluated has another curvature."
    )
    return (
        f"λmax is of the loss on {PROBE_EXAMPLES:,} of the {at.images:,} training images. Batch "
        f"sharpness is of batches from all of them; at B = {at.full:,} a batch is all images."
        f"{ghosts if at.ghosts else ''}"
    )


def another_rate(reading: Reading) -> str:
    """What the verdicts on the critical rate leave untested, with the rates best for the loss."""
    best = []
    at = setting(reading)
    for method in at.methods:
        peak = reading.tuned("train_loss")[at.arm(method, at.full)].peak
        if peak.is_estimate:
            best.append(
                f"{power_of_two(peak.value)} with {NAMES[method]} (between "
                f"{power_of_two(peak.low)} and {power_of_two(peak.high)}; the measured runs have "
                f"{power_of_two(at.tuned[method][at.full])})"
            )
    told = (
        f" At B = {at.full:,} the rate best for the final loss is {enumerated(best)}."
        if best
        else ""
    )
    return (
        "S20 (§3.1) speaks of the rate that lowers the training loss fastest, and expects it just "
        "below the critical one. The verdicts on the full batch are on the rate that is best for "
        f"the test set, and they also take one up to {2.0**WITHIN:g} times above for critical."
        f"{told} Besides, λmax adapts to the bound of the rate (Cohen et al., 2021): at another "
        "stable rate it could stand at its bound as well, and none but the tuned one was measured."
    )


def which_limits(reading: Reading) -> str:
    """Which of the two curvatures can limit the rate, by method and batch size; empty for none."""
    told = [said for method in setting(reading).methods if (said := _left_by(reading, method))]
    if not told:
        return ""
    first, *more = told
    within = f"within a factor of {2.0**WITHIN:g} of its bound"
    return (
        f"**Which of the two limits the learning rate? {first}** {' '.join(more)} A curvature that "
        "is surely below half of its bound while the net learns is left out; the bound is 2/ε, "
        f"with momentum 2(1 + m)/ε. What is named is {within}, with its whole interval unless told "
        "otherwise. It need not limit the rate, for curvature also adapts to the rate (Cohen et "
        "al., 2021): runs at the tuned rate alone cannot tell which follows which."
    )


def _left_by(reading: Reading, method: str) -> str:
    """Which curvature a method's ratios leave at each batch size; empty where nothing is known."""
    at = setting(reading)
    left: dict[str, list[str]] = {}
    for size in at.sizes:
        records = measured(reading, method, size)
        found = {name: ratio(records, q).interval for q, name in QUANTITIES.items()}
        if all(math.isfinite(one.half) for one in found.values()):
            names = [
                f"{name}{'' if _is_within(one) else ' (its interval reaches further)'}"
                for name, one in found.items()
                if one.high >= -WITHIN
            ]
            left.setdefault(" or ".join(names) or "neither of them", []).append(f"{size:,}")
    if not left:
        return ""
    sizes = "; ".join(f"{names} at B = {enumerated(at)}" for names, at in left.items())
    said = f"With {NAMES[method]} it can be {sizes}."
    own = ratio(measured(reading, method, at.smallest), "batch_sharpness", effective=True)
    if METHODS[method] and math.isfinite(own.interval.half):
        said += (
            f" At B = {at.smallest}, where the effective rate counts, batch sharpness is "
            f"{at_the_limit(own).replace('the bound', '2/ε_eff', 1)}."
        )
    return said


def _is_within(one: Interval) -> bool:
    """Whether a ratio to a bound, log₂, is 1 to a factor of two with its whole interval."""
    return max(-one.low, one.high) <= WITHIN


def larger_batch(reading: Reading) -> str:
    """Whether warm-up buys a larger batch: what these runs can tell of it; empty for nothing."""
    at = setting(reading)
    told, accuracies = [], []
    for size in at.large:
        changes: dict[str, list[str]] = {}
        for method in at.methods:
            gain = usable_gain(reading, method, size).interval
            if not math.isfinite(gain.half):
                return ""
            changes.setdefault(_change(gain), []).append(NAMES[method])
            accuracies.append(accuracy_gain(reading, method, size).interval)
        by = (f"{change} with {enumerated(names)}" for change, names in changes.items())
        told.append(f"at B = {size:,} warm-up {enumerated(by)}")
    sure = sum(one.low > 0 or one.high < 0 for one in accuracies)
    differs = f"surely differs in {sure or 'none'} of these {len(accuracies)} cases"
    if len(accuracies) == 1:
        differs = "surely differs" if sure else "does not surely differ"
    few = (
        f"of the {len(at.sizes)} here only B = {at.smallest} lies below plain SGD's"
        if len(at.warmed) > 1
        else f"here B = {enumerated(f'{size:,}' for size in at.warmed)} alone has warm-up"
    )
    return (
        "**Does warm-up then buy a larger batch? These runs cannot tell.** It takes the boundary "
        "batch size with warm-up and without. A boundary takes batch sizes on both sides of it, "
        f"and {few}. What these runs tell is, by 95 % intervals, each by itself: "
        f"{'; '.join(told)}. The accuracy at the tuned rate, by fresh seeds, {differs}."
    )


def _change(gain: Interval) -> str:
    """What warm-up does to the highest usable rate, by its gain in log₂."""
    if gain.low > 0:
        return "raises the highest usable rate"
    if gain.high < 0:
        return "lowers the highest usable rate"
    if max(-gain.low, gain.high) <= HALF_STEP:
        return f"changes the highest usable rate by less than {HALF_STEP:g} in log₂"
    return "may change the highest usable rate or not"
