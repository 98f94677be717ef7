"""Sentences of `constant-step` beside its verdicts: tuned rates, cliffs, and what noise is left."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sgdnoise.analysis import Reading, Tuning
from sgdnoise.analysis.tuning import COLLAPSED, collapses
from sgdnoise.data.sizes import images_of
from sgdnoise.figures.tables import power_of_two
from sgdnoise.phrases import enumerated

APART = 0.5
"""In log₂: from here on, half a step of the first grid, two tuned rates are told apart."""

_A_FACTOR = "a factor of √2"
"""What `APART` octaves are, in words."""


def _by_size(reading: Reading) -> dict[int, Tuning]:
    found = {int(dict(key)["batch_size"]): one for key, one in reading.tuned().items()}
    return dict(sorted(found.items()))


def _best(one: Tuning) -> float | None:
    """log₂ of S20's tuned rate: the best of the grid."""
    tuned = one.state.tuned.get(one.objective.name)
    return None if tuned is None else float(tuned.point[0])


def cliffs(reading: Reading) -> str:
    """From which rate on runs collapse at each batch size; empty where nothing is tuned."""
    tuned = _by_size(reading)
    first: dict[float, list[str]] = {}
    none = []
    for size, one in tuned.items():
        best = _best(one)
        above = [rate for rate in collapses(one) if best is None or rate > best]
        if above:
            first.setdefault(min(above), []).append(f"{size:,}")
        else:
            none.append(f"{size:,}")
    if not tuned:
        return ""
    said = [
        f"{power_of_two(rate)} (B = {enumerated(sizes)})" for rate, sizes in sorted(first.items())
    ]
    if not said:
        return "No run collapses at the rates tried."
    missing = f", and nowhere among the rates tried at B = {enumerated(none)}" if none else ""
    return (
        f"Runs with less than {100 * COLLAPSED:g} % of the best accuracy begin at "
        f"{enumerated(said)}{missing}."
    )


def right_end(reading: Reading) -> str:
    """How many images the largest batch has of all, and what noise its training still has."""
    configs = (state.needed[0] for state in reading.states)
    run = max(configs, key=lambda config: config.batch_size)
    images = images_of(run)
    whole = run.batch_size == images
    batch = f"all {images:,} images" if whole else f"{run.batch_size:,} of {images:,} images"
    ghosts = min(run.ghost_batch_size, run.batch_size)
    kept = [
        *([f"batch norm over ghosts of {ghosts}"] * (run.norm == "ghost")),
        *(["images augmented at random"] * (run.augment != "none")),
    ]
    noise = "the choice of images adds no noise" if whole else "their choice adds the least noise"
    rest = f", but {enumerated(kept)} still do" if kept else ""
    if kept and not whole:
        rest = f", and {enumerated(kept)} add theirs"
    return f"At the right end, with as many updates, a batch is {batch}: {noise}{rest}."


def neighbour(reading: Reading) -> str:
    """What another page's boundary says of this one's; empty where this page establishes none.

    That page has this one's net, images and updates at scale `digits`.
    """
    seen = any(fit.flat_seen for fit in reading.regimes.values())
    if reading.study.scale != "digits" or not seen:
        return ""
    return "The boundary on that page need not be the one found here."


def _doubt(size: int, one: Tuning) -> str:
    """Why the top of the curve through a sweep's points is doubtful; empty where it is not."""
    best, peak = _best(one), one.peak
    if best is None or not peak.is_estimate:
        return ""
    if peak.by == "parabola":
        across = [rate for rate in collapses(one) if rate in peak.fitted and rate > best]
        if not across:
            return ""
        left_out = "" if peak.holds(best) else f", and its interval leaves out {power_of_two(best)}"
        return (
            f"At B = {size:,} the curve is fitted across a cliff, for runs collapse at "
            f"{power_of_two(min(across))}{left_out}."
        )
    if peak.by != "set":
        return ""
    halves = (one.exponents[:-1] + one.exponents[1:]) / 2
    if np.isclose(halves, peak.value, rtol=0, atol=1e-9).any():
        return (
            f"At B = {size:,} the accuracy falls off too steeply beyond the best rates: the top is "
            f"put half-way to the first rate that is surely worse, {power_of_two(peak.value)}."
        )
    if abs(peak.value - best) < APART:
        return ""
    return (
        f"At B = {size:,} no parabola fits the points on both sides of the best: the top is known "
        f"only to lie between {power_of_two(peak.low)} and {power_of_two(peak.high)}."
    )


def two_rates(reading: Reading) -> str:
    """That a tuned rate is one of the grid in the table and a fitted one in the slope.

    Where they differ, and where a cliff beside the best rate makes the fitted one doubtful.
    """
    tuned = {size: one for size, one in _by_size(reading).items() if _best(one) is not None}
    if not tuned:
        return ""
    lines = [
        "The table above and the sweeps at the end of the page give the best rate of the grid, as "
        "S20 does.",
        "The slope and the comparison with the model take the top of a curve through the grid's "
        "points, which counts all seeds.",
        _apart(tuned),
        *(_doubt(size, one) for size, one in tuned.items()),
    ]
    return "\n".join(filter(None, lines))


def _apart(tuned: Mapping[int, Tuning]) -> str:
    pairs = {size: (_best(one), one.peak.value) for size, one in tuned.items()}
    far = [
        f"B = {size:,} ({power_of_two(grid)} in the grid, {power_of_two(top)} the top)"
        for size, (grid, top) in pairs.items()
        if grid is not None and abs(grid - top) >= APART - 1e-9
    ]
    if not far:
        return f"Nowhere are the two {_A_FACTOR} apart."
    return f"The two are {_A_FACTOR} or more apart at {enumerated(far)}."
