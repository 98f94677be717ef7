"""Titles of figures that tell by how much something changes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go


def changes(values: Mapping[str, tuple[float, float]]) -> str:
    """How some numbers change from a first value to a last one, each by its name."""
    return ", ".join(f"{_change(*ends)} ({name})" for name, ends in values.items())


def _change(first: float, last: float) -> str:
    if not (math.isfinite(first) and math.isfinite(last)):
        return "by an unknown amount"
    if min(first, last) <= 0:
        return f"from {first:.2g} to {last:.2g}"
    return f"by a factor of {last / first:.2g}"


def rates_change(curves: Mapping[str, pd.DataFrame], column: str) -> str | None:
    """From the fewest epochs to the most, how tuned rates change; `column` holds their log₂."""
    epochs = sorted({float(at) for rows in curves.values() for at in rows.epochs})
    if len(epochs) < 2:
        return None
    ends = {}
    for name, rows in curves.items():
        rates = 2.0 ** rows.set_index("epochs")[column].astype(float)
        first, last = (float(rates.get(at, math.nan)) for at in (epochs[0], epochs[-1]))
        ends[name] = (first, last)
    return f"From {epochs[0]:,g} to {epochs[-1]:,g} epochs the tuned rate changes {changes(ends)}"


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
