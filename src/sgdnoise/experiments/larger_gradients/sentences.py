"""Sentences of `larger-gradients` beside its verdicts and what they leave of explanations."""

from __future__ import annotations

from collections.abc import Iterable

from sgdnoise.analysis import Reading
from sgdnoise.data import train_size
from sgdnoise.experiments.larger_gradients.findings import PRINTED_SIZES, images, printed_sizes
from sgdnoise.experiments.larger_gradients.grid import FRACTIONS, LEFT_OUT
from sgdnoise.experiments.larger_gradients.measured import (
    OF,
    first_larger,
    growth,
    stays_larger,
    the_first,
)
from sgdnoise.papers.numbers import printed
from sgdnoise.phrases import enumerated


def _and(numbers: Iterable[float]) -> str:
    return enumerated(f"{number:,.0f}" for number in numbers)


def stand_ins(reading: Reading) -> str:
    """Which batch sizes stand for G20's; empty where they are its own."""
    part = reading.part(OF["discarding"])
    here, mine = images(part), printed_sizes(part)
    if not here:
        return ""
    shares = enumerated(f"{100 * size / here:.2g} %" for size in mine)
    baseline = printed("G20-F11.batch_size").value
    return (
        f"Batches of {_and(mine)} stand for G20's {_and(PRINTED_SIZES)}, and {mine[-1]:,} stands "
        f"for its {baseline:,.0f} too: of {here:,} images they are as large a share, {shares}, as "
        f"G20's are of {train_size('cifar10'):,}."
    )


def by_size(reading: Reading) -> str:
    """Which of G20's batches could be matched by size, and what share of the set they would be."""
    here, theirs = images(reading.part(OF["discarding"])), train_size("cifar10")
    if not here:
        return ""
    said = [f"There are {here:,} training images."]
    if more := [size for size in PRINTED_SIZES if size > here]:
        said.append(f"{_and(more)} {'are' if len(more) > 1 else 'is'} more than that.")
    said += [
        f"{size:,.0f} would be {100 * size / here:.2g} % of them, in place of "
        f"{100 * size / theirs:.2g} %."
        for size in PRINTED_SIZES
        if size <= here
    ]
    return " ".join(said)


def how_long(reading: Reading) -> str:
    """For how long the gradient stays larger, with as much left out as figure 10, and the most."""
    part = reading.part(OF["gradient"])
    updates, _ = growth(part, LEFT_OUT)
    if not updates:
        return ""
    some, most = (_times(stays_larger(part, p)) for p in (LEFT_OUT, FRACTIONS[-1]))
    return (
        f"With {100 * LEFT_OUT:g} % left out by loss the mean |g| is larger than with nothing left "
        f"out at {some} logged updates; with {100 * FRACTIONS[-1]:g} % left out at {most}. "
        f"The last one logged is update {updates[-1]:,}. "
        "Larger means that the 95 % interval of the ratio, seed by seed, lies above one. "
        "This question was asked after the runs had been seen."
    )


def _times(larger: list[bool]) -> str:
    first, count = first_larger(larger), len(larger)
    if first == count:
        return f"all {count}"
    later = sum(larger) - first
    if not later:
        return f"{the_first(first)} of {count}"
    and_later = f"{later} later {'one' if later == 1 else 'ones'} of {count}"
    return f"{the_first(first)} and {and_later}" if first else and_later
