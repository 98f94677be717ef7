"""Sentences of `random-walk` beside its verdicts: how runs are made, which law leads where, how far
apart slopes still are, and how far the draws reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sgdnoise.analysis import Reading
from sgdnoise.experiments.random_walk.curves import (
    LEADS,
    TOLD_APART,
    constant_rate,
    curve,
    final_distances,
    finished,
    leading,
    slopes_by_size,
    surely,
)
from sgdnoise.experiments.random_walk.findings import draws, leads_by_size
from sgdnoise.experiments.random_walk.grid import ROOT, SAME
from sgdnoise.phrases import enumerated


def protocol(reading: Reading) -> str:
    """How many seeds there are, and the rates and the momentum that they train with."""
    (same,) = {state.needed[0].learning_rate for state in constant_rate(reading, SAME).values()}
    scaled = constant_rate(reading, ROOT)
    rates = {size: state.needed[0].learning_rate for size, state in scaled.items()}
    (momentum,) = {state.needed[0].momentum for state in scaled.values()}
    least, most = min(rates), max(rates)
    return (
        f"Each batch size has {reading.study.seeds} seeds, and every run a momentum of "
        f"{momentum:g}. The learning rate is {same:g} at every batch size, or it grows as √B, from "
        f"{rates[least]:.3g} at B = {least:,} to {rates[most]:.3g} at B = {most:,}."
    )


def leads(reading: Reading) -> str:
    """At which batch sizes log t leads, at which the power law, and where they do equally well."""
    found = {size: one for size, one in leads_by_size(reading).items() if np.isfinite(one.value)}
    if not found:
        return ""
    values = {size: one.value for size, one in found.items()}
    kinds: dict[str, dict[int, float]] = {said: {} for said in LEADS}
    for size, value in values.items():
        kinds[leading(value)][size] = value
    parts = [
        f"at B = {_sizes(list(of), list(found))} {said} (ΔAIC {_span(list(of.values()))})"
        for said, of in kinds.items()
        if of
    ]
    unsure = [size for size, one in found.items() if not surely(one)]
    more = (
        f" At B = {_sizes(unsure, list(found))} the interval of ΔAIC reaches within "
        f"±{TOLD_APART:g}, where the two do equally well."
        if unsure
        else ""
    )
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}.{more}"


def _span(values: Sequence[float]) -> str:
    low, high = (f"{one:+.1f}".replace("-", "−") for one in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _sizes(some: Sequence[int], of: Sequence[int]) -> str:
    """Batch sizes in words; three or more in a row by their ends."""
    first = of.index(some[0])
    if len(some) > 2 and list(some) == list(of[first : first + len(some)]):
        return f"{some[0]:,} to {some[-1]:,}"
    return enumerated(f"{size:,}" for size in some)


def slopes_apart(reading: Reading) -> str:
    """By which factor slopes differ with the remedies, and what the largest of them is of.

    Without the smallest batch as well, at which the rule lowers the rate.
    """
    before, after = (_mean_slopes(reading, rate) for rate in (SAME, ROOT))
    if len(before) < 2 or len(after) < 2 or min(*before.values(), *after.values()) <= 0:
        return ""
    largest = max(after, key=after.__getitem__)
    smallest = min(after)
    said = (
        f"The largest slope is {_ratio(after):.1f} times the smallest with the remedies, and "
        f"{_ratio(before):.1f} times at one learning rate. Without B = {smallest:,} it is "
        f"{_ratio(after, smallest):.1f} and {_ratio(before, smallest):.1f} times. "
        f"With the remedies the slope is largest at B = {largest:,}."
    )
    steepest, last = _along(reading, largest)
    if not last < after[largest] / 2:
        return said
    return (
        f"{said} There it is the slope of a straight line through a curve that has flattened: a "
        f"factor of e in updates adds up to {steepest:.1f} on its way, and "
        f"{f'{last:.1f}'.replace('-', '−')} at its end."
    )


def _ratio(slopes: Mapping[int, float], without: int | None = None) -> float:
    """The largest slope divided by the smallest, without those of a batch size if one is named."""
    kept = [slope for size, slope in slopes.items() if size != without]
    return max(kept) / min(kept)


def _mean_slopes(reading: Reading, rate: str) -> Mapping[int, float]:
    slopes = slopes_by_size(reading, rate)
    return {size: float(np.mean(list(by.values()))) for size, by in slopes.items() if by}


def _along(reading: Reading, size: int) -> tuple[float, float]:
    """The steepest slope between neighbouring points of the mean curve, and that of the last."""
    state = constant_rate(reading, ROOT)[size]
    curves = [one for record in finished(reading, state).values() if (one := curve(record))]
    common = sorted(set.intersection(*(set(t.tolist()) for t, _ in curves)))
    mean = np.mean([d[np.isin(t, common)] for t, d in curves], axis=0)
    gains = np.diff(mean) / np.diff(np.log(common))
    return (float(gains.max()), float(gains[-1])) if gains.size else (np.nan, np.nan)


def draws_reach(reading: Reading) -> str:
    """How many draws about the start there are and how far they go, and which runs go further."""
    found = [z for z, _ in draws(reading)]
    if not found:
        return ""
    furthest = max(float(z.max()) for z in found)
    ends = {
        size: float(np.mean(list(of.values())))
        for size, state in constant_rate(reading, SAME).items()
        if (of := final_distances(reading, state))
    }
    beyond = [size for size, end in ends.items() if end > furthest]
    said = (
        f"There are {sum(z.size for z in found):,} draws about {len(found)} starts, at distances "
        f"up to {furthest:.1f}."
    )
    if not beyond:
        return said
    return (
        f"{said} At B = {_sizes(beyond, list(ends))} the runs themselves go further, to "
        f"{max(ends.values()):.1f}; of the loss there the draws say nothing."
    )


def no_norm(reading: Reading) -> str:
    """That a net without batch norm leaves ghost batch norm untested; empty for one that has it."""
    norms = {state.needed[0].norm for state in constant_rate(reading, ROOT).values()}
    if not norms or norms - {None, "none"}:
        return ""
    return "The net here has no batch norm, so ghost batch norm cannot be tested on it."
