"""Titles of figures that tell by how much something changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go


def changes(values: Mapping[str, tuple[float, float]]) -> str:
    """By which factor some numbers change from a first value to a last one, each by its name."""
    return ", ".join(
        f"by a factor of {last / first:.2g} ({name})"
        for name, (first, last) in values.items()
        if first > 0 and last > 0 and np.isfinite(last / first)
    )


def rates_change(curves: Mapping[str, pd.DataFrame], column: str) -> str | None:
    """From the fewest epochs to the most, how tuned rates change; `column` holds their log₂."""
    there = {name: rows[rows[column].notna()] for name, rows in curves.items()}
    there = {name: rows.sort_values("epochs") for name, rows in there.items() if len(rows) > 1}
    if not there:
        return None
    first = next(iter(there.values())).epochs
    ends = {
        name: (2.0 ** float(rows[column].iloc[0]), 2.0 ** float(rows[column].iloc[-1]))
        for name, rows in there.items()
    }
    return (
        f"From {first.iloc[0]:,g} to {first.iloc[-1]:,g} epochs the tuned rate changes "
        f"{changes(ends)}"
    )


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
