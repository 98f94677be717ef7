"""How far the words can be trusted: coverage of the intervals and operating curves, simulated."""

from __future__ import annotations

import collections
import functools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise.analysis.intervals import Estimate
from sgdnoise.analysis.simulation import Coverage
from sgdnoise.claims import Verdict, Word, alike, directional, every
from sgdnoise.errors import InputError
from sgdnoise.figures.forest import MARKS
from sgdnoise.figures.theme import figure, provenance

MARGIN = 1.0
"""Within which made-up effects count as nothing, in standard deviations between seeds."""

PARTS = 3
"""Effects that a claim about several has."""

EFFECTS = tuple(np.arange(-3.0, 3.01, 0.5).tolist())
"""True effects tried, in standard deviations between seeds."""

NEARBY = 2
"""Grid points beside each optimum whose seeds a made-up mean's variance is pooled with."""


def _difference(effect: float, seeds: int, rng: np.random.Generator) -> Estimate:
    """The measured difference of two means that truly differ by the effect; seeds spread by 1."""
    sides = []
    for mean in (effect, 0.0):
        groups = rng.standard_normal((1 + NEARBY, seeds))
        sides.append(Estimate.pooled(mean + groups[0], groups))
    mine, other = sides
    return mine - other


def _direction(effect: float, seeds: int, rng: np.random.Generator) -> Verdict:
    return directional("", _difference(effect, seeds, rng), unit="points", margin=MARGIN)


def _alike(effect: float, seeds: int, rng: np.random.Generator) -> Verdict:
    return alike("", _difference(effect, seeds, rng), unit="points", margin=MARGIN)


def _several(effect: float, seeds: int, rng: np.random.Generator, same: bool = False) -> Verdict:
    parts = {str(k): _difference(effect, seeds, rng) for k in range(PARTS)}
    return every("", parts, unit="points", margin=MARGIN, same=same)


KINDS: Mapping[str, Callable[[float, int, np.random.Generator], Verdict]] = {
    "a sign": _direction,
    "alike": _alike,
    f"{PARTS} signs": _several,
    f"{PARTS} alike": functools.partial(_several, same=True),
}
"""Kinds of predicate, by what the claim is: that an effect has a sign, that two things are alike,
and either of several at once."""


def word_rates(
    kind: str, effect: float, seeds: int, experiments: int, rng: np.random.Generator
) -> dict[Word, float]:
    """How often each word comes out where the true effect is known.

    Args:
        kind: of `KINDS`.
        effect: the truth, in standard deviations between seeds.
        seeds: runs a side.
        experiments: how many are made up.
        rng: draws them.
    """
    words = collections.Counter(KINDS[kind](effect, seeds, rng).word for _ in range(experiments))
    return {word: words[word] / experiments for word in get_args(Word) if words[word]}


def operating_curves(kind: str, seeds: int, experiments: int = 100) -> go.Figure:
    """How often each word comes out against the true effect."""
    rng = np.random.default_rng([seeds, list(KINDS).index(kind)])
    rates = [word_rates(kind, effect, seeds, experiments, rng) for effect in EFFECTS]
    fig = figure(
        x="true effect",
        x_unit="standard deviations between seeds",
        y="how often the word comes out",
        y_unit="%",
        y_range=(-3.0, 103.0),
        title=f"How often each word comes out for the claim of {kind}, {seeds} seeds a side",
        alt=f"Share of each verdict against the true effect, {seeds} seeds, claim of {kind}",
    )
    for word in dict.fromkeys(word for rate in rates for word in rate):
        mark = MARKS[word]
        fig.add_scatter(
            x=EFFECTS,
            y=[100 * rate.get(word, 0.0) for rate in rates],
            mode="lines+markers",
            line={"color": mark.colour},
            marker={"symbol": mark.symbol, "size": 8, "color": mark.colour},
            name=word,
        )
    for edge in (-MARGIN, MARGIN):
        fig.add_vline(x=edge, line={"dash": "dot", "width": 1})
    return provenance(fig, f"simulated at build: {experiments} made-up experiments a point")


RECORD = Path(__file__).with_name("coverage.json")
"""What `make coverage` wrote: too long a simulation for every build. It comes with the package, so
that the scorecard shows it wherever it runs."""


@functools.cache
def coverage() -> list[Coverage]:
    """How often each kind of interval holds the truth, for all seeds and cliffs, as recorded.

    Raises:
        InputError: where there is no such record.
    """
    try:
        lines = json.loads(RECORD.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"no simulated coverage at {RECORD}: make coverage writes it") from None
    return [Coverage(**{**line, "cliff": line["cliff"] or math.inf}) for line in lines]


def coverage_table() -> pd.DataFrame:
    """Coverage in percent, a row a quantity and number of seeds, a column a cliff."""
    rows: dict[tuple[str, int], dict[str, object]] = {}
    for one in sorted(coverage(), key=lambda one: (one.quantity, one.seeds, -one.cliff)):
        row = rows.setdefault(
            (one.quantity, one.seeds), {"interval of": one.quantity, "seeds": one.seeds}
        )
        row[_named(one.cliff)] = f"{100 * one.share:.0f}"
    return pd.DataFrame(list(rows.values()))


def _named(cliff: float) -> str:
    return f"cliff {cliff:g} octaves above" if math.isfinite(cliff) else "no cliff"


def coverage_sentence() -> str:
    """What the table shows, in Markdown."""
    mine = [one for one in coverage() if not one.quantity.endswith("before")]
    old = [one for one in coverage() if one.quantity.endswith("before")]
    least, most = (extreme(mine, key=lambda one: one.share) for extreme in (min, max))
    error = max(math.sqrt(0.95 * 0.05 / one.experiments) for one in mine)
    return (
        f"**The intervals hold the truth {_mean(mine):.1f} % of the time**, where 95 % is meant; "
        f"{100 * least.share:.0f} to {100 * most.share:.0f} % in the cells of the table, each "
        f"known to {100 * error:.1f} points or better. Those of a tuned rate that this book had "
        f"before, a percentile bootstrap of a vertex through three points, held it "
        f"{_mean(old):.0f} % of the time, and hardly ever beside a cliff."
    )


def _mean(lines: list[Coverage]) -> float:
    return 100 * float(np.mean([one.share for one in lines]))
