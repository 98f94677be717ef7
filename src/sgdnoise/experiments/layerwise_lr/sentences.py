"""What the page on layer-wise rules says of its batch sizes, and of a scale designed twice."""

from __future__ import annotations

import math

import pandas as pd

from sgdnoise import data
from sgdnoise.analysis import Reading
from sgdnoise.claims import line
from sgdnoise.experiments.layerwise_lr.findings import (
    CLAIMS,
    came_after,
    came_before,
    compared_at,
    images,
    scaled,
    shown,
    table,
    trained,
)
from sgdnoise.papers.numbers import printed
from sgdnoise.phrases import enumerated, not_complete


def reference(reading: Reading) -> str:
    """Which batch size stands for the one at which G20 compares MCLR and LARS, and why."""
    size, asked = compared_at(reading), printed("G20-F16.batch_size").value
    mine, theirs = images(reading), data.train_size("cifar10")
    if size == asked and mine == theirs:
        return f"MCLR and LARS are compared at G20's own B = {asked:,}."
    return (
        f"G20 compares MCLR and LARS at B = {asked:,} of {theirs:,} images. The same share of "
        f"{mine:,} images is {scaled(reading, 'batch_size'):.0f}, and the nearest batch size that "
        f"is run is {size:,}: the two are compared there."
    )


def updates(reading: Reading) -> str:
    """How many updates a run makes at each batch size."""
    runs = {state.needed[0].batch_size: state.needed[0] for state in reading.states}
    listed = (f"{runs[n].total_steps(images(reading)):,} at B = {n:,}" for n in sorted(runs))
    return f"The updates of a run are {enumerated(listed)}."


def other_rate(reading: Reading) -> str:
    """γ/(1 − m) of the rules that tune another number, by batch size, and by which rule it is held.

    The rule is the grid's, read off the runs: in proportion to the batch size, up to a bound.
    """
    runs = {
        state.needed[0].batch_size: state.needed[0]
        for state in reading.states
        if state.needed[0].trust_coefficient is not None
    }
    rates = {n: runs[n].effective_learning_rate for n in sorted(runs)}
    listed = enumerated(f"{rate:.3g} at B = {n:,}" for n, rate in rates.items())
    least, bound = min(rates), max(rates.values())
    per = least / rates[least]
    rule = ""
    if all(math.isclose(rate, min(n / per, bound), rel_tol=1e-6) for n, rate in rates.items()):
        rule = f" It is held at B/{per:.3g}, but at no more than {bound:.3g}."
    return f"Where η is tuned, γ/(1 − m) is not: at every trial it is {listed}.{rule}"


# --- A scale that was designed twice --------------------------------------------------------------


def awaited(reading: Reading) -> str:
    """Why a page shows the sweeps that came before; empty where it does not."""
    first, later = reading.part(came_before), reading.part(came_after)
    if not later.states or shown(reading) is not first:
        return ""
    return (
        f"Shown and judged are the sweeps that came first, on {images(first):,} images. Of those "
        f"on {images(later):,}, {not_complete(later.waiting, len(later.states))}; "
        f"`{reading.study.command}` finishes them."
    )


def _earlier(reading: Reading) -> Reading | None:
    """What has been run of the sweeps that came before, where others are shown."""
    first = reading.part(came_before)
    return first if first.runs and first is not shown(reading) else None


def _design(reading: Reading) -> str:
    config = reading.states[0].sweep.config(reading.states[0].points[0], 0)
    return f"{images(reading):,} images and {config.epochs:g} epochs"


def other_words(reading: Reading) -> str:
    """Which claims the first design judges otherwise than the one shown; empty for one design."""
    first = _earlier(reading)
    if first is None:
        return ""
    differ: dict[tuple[str, str], list[str]] = {}
    for claim in CLAIMS:
        words = claim.judge(first).word, claim.judge(reading).word
        if len(set(words)) > 1:
            differ.setdefault(words, []).append(f"“{claim.stated.statement}”")
    listed = "; ".join(
        f"{enumerated(some)} {'is' if len(some) == 1 else 'are'} *{then}* there and *{now}* here"
        for (then, now), some in sorted(differ.items())
    )
    said = f"has other words: {listed}" if differ else "has the same words"
    return (
        f"These words are of one design: {_design(shown(reading))}. A first design, of "
        f"{_design(first)}, stands below and {said}."
    )


def before(reading: Reading) -> str:
    """The sweeps that came before those shown, with their words, in Markdown; empty for none."""
    first = _earlier(reading)
    if first is None:
        return ""
    words = "\n".join(line(claim, claim.judge(first)) for claim in CLAIMS)
    return (
        f"## The sweeps before these\n\nThese came first, with {first.fewest_seeds} seeds: "
        f"{_design(first)}. {trained(first)}\n\n{reference(first)}\n\n"
        f"The same predicates say of them:\n\n{words}"
    )


def table_before(reading: Reading) -> pd.DataFrame | str:
    """Their accuracies and tuned rates; empty where there are none."""
    first = _earlier(reading)
    return "" if first is None else table(first)
