"""Curves of tuned learning rates against the epochs of a budget."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sgdnoise.figures.theme import DASHES, PALETTE, SYMBOLS, interval_marks


def tuned_rates(fig: go.Figure, k: int, rows: pd.DataFrame, column: str, name: str) -> None:
    """The k-th curve of tuned rates against epochs; `column` holds log₂, with _low and _high."""
    columns = (column, f"{column}_low", f"{column}_high")
    interval_marks(
        fig,
        rows.epochs,
        *(2.0 ** rows[name].astype(float) for name in columns),
        mode="lines+markers",
        marker={"symbol": SYMBOLS[k], "color": PALETTE[k], "size": 10},
        line={"dash": DASHES[k]},
        customdata=rows.sweep.tolist(),
        name=name,
    )
