"""Titles of figures that tell by how much something changes, or where it is best."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise.study.protocol import Objective


def changes(values: Mapping[str, tuple[float, float]]) -> str:
    """How some numbers change from a first value to a last one, each by its name."""
    return ", ".join(f"{_change(*ends)} ({name})" for name, ends in values.items())


def _change(first: float, last: float) -> str:
    if not (math.isfinite(first) and math.isfinite(last)):
        return "by an unknown amount"
    if min(first, last) <= 0:
        return f"from {first:.2g} to {last:.2g}"
    return f"by a factor of {last / first:.2g}"


def rates_change(
    curves: Mapping[str, pd.DataFrame], column: str, best: str = "the best rate of the grid"
) -> str | None:
    """From the fewest epochs to the most, how tuned rates change, and which are bounds.

    Args:
        curves: rows with `epochs`, by the name of the curve; where an optimum lies on an edge of
            its grid, `bound` or the column's own `_bound` is not zero.
        column: of log₂ of the rates.
        best: which rate the column has, in words.
    """
    epochs = sorted({float(at) for rows in curves.values() for at in rows.epochs})
    if len(epochs) < 2:
        return None
    ends = {}
    for name, rows in curves.items():
        rates = 2.0 ** rows.set_index("epochs")[column].astype(float)
        first, last = (float(rates.get(at, math.nan)) for at in (epochs[0], epochs[-1]))
        bounds = rows.get(f"{column}_bound", rows.get("bound"))
        at_ends = rows.epochs.isin([epochs[0], epochs[-1]])
        edge = bounds is not None and bounds[at_ends].astype(bool).any()
        ends[f"{name}, on an edge of its grid" if edge else name] = (first, last)
    between = f"From {epochs[0]:,g} to {epochs[-1]:,g} epochs"
    return f"{between} {best} changes {changes(ends)}"


def over_first_to_last(fig: go.Figure) -> str:
    """By which factors the curves of a figure change from end to end, the least and the most."""
    factors = {
        t.name: float(t.y[-1] / t.y[0]) for t in fig.data if t.y is not None and len(t.y) > 1
    }
    if not factors:
        return "by an unknown factor"
    ends = (min(factors, key=factors.__getitem__), max(factors, key=factors.__getitem__))
    said = " to ".join(f"{factors[name]:.2g} ({name})" for name in dict.fromkeys(ends))
    return f"by factors of {said} from the smallest batch to the largest"


def best_of_each(curves: Mapping[str, pd.DataFrame], x: str, shown: Objective) -> str | None:
    """Where each curve has its best mean; of more than two curves how far apart they are.

    The best of several means flatters if the same runs choose it and give its value. So the
    tuning's seeds choose, and fresh ones give the value, where there are any; the title says if
    they would have chosen otherwise.

    Args:
        curves: rows of `Reading.optima`, by the name of the curve.
        x: what the curves run over, `batch_size` or `epochs`.
        shown: the objective that is drawn.
    """
    word, pick = ("best", "idxmax") if shown.higher_is_better else ("lowest", "idxmin")
    mean, again = f"{shown.name}_mean", f"{shown.name}_fresh"
    found = []
    for name, whole in curves.items():
        rows = whole[np.isfinite(whole[mean].astype(float))]
        if not len(rows):
            continue
        row = rows.loc[getattr(rows[mean].astype(float), pick)()]
        told = f"{name} {word} at {_where(row[x], x)}"
        fresh = rows[again].astype(float)
        first = rows[x][getattr(fresh, pick)()] if np.isfinite(fresh).all() else None
        if first is None:
            told += f", {row[mean]:.3g} {shown.unit}"
        elif first == row[x]:
            told += f", {row[again]:.3g} {shown.unit} by fresh seeds"
        else:
            told += f" by the tuning's seeds, at {_where(first, x)} by fresh ones"
        found.append(told)
    if len(found) > 2:
        return _range(curves.values(), x, shown)
    told = "; ".join(found)
    return told[:1].upper() + told[1:] or None


def _range(curves: Collection[pd.DataFrame], x: str, shown: Objective) -> str | None:
    """By how much curves change from the first x that all have to the last, the least and the most.

    It names none of them: which of many is the best is seldom sure. By fresh seeds, of the curves
    and at the x that have any; by the tuning's seeds where that leaves nothing to compare.
    """
    for column, by in ((f"{shown.name}_fresh", ", by fresh seeds"), (f"{shown.name}_mean", "")):
        columns = (rows.set_index(x)[column].astype(float).dropna() for rows in curves)
        there = [one for one in columns if len(one)]
        shared = pd.concat(there, axis=1, join="inner").sort_index() if there else pd.DataFrame()
        if len(there) > 1 and len(shared) > 1:
            first, last = shared.iloc[0], shared.iloc[-1]
            if shown.higher_is_better:
                ends, unit = (f"{one:+.1f}" for one in _ends(last - first)), " points"
            else:
                ends, unit = (f"{one:.2g}" for one in _ends(last / first)), " times"
            between = f"From {_where(shared.index[0], x)} to {_where(shared.index[-1], x)}{by}"
            return f"{between}: {' to '.join(dict.fromkeys(ends))}{unit}, by curve"
    return None


def _ends(values: pd.Series) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _where(value: float, x: str) -> str:
    return f"B = {value:,}" if x == "batch_size" else f"{value:,g} epochs"
