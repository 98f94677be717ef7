"""The figure of the chapter on errata; the numbers behind it: `errata_g20`."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from sgdnoise.chapters import computed_here
from sgdnoise.chapters.errata_g20 import (
    CURVE_SIZES,
    PARAMETERS,
    SPREADS,
    corrected_law,
    gradient_curve,
    printed_law,
)
from sgdnoise.figures.theme import BLUE, GREEN, INK, SYMBOLS, VERMILLION, figure, interval_marks


def gradient_law() -> go.Figure:
    """E|g| against n: the printed law, the corrected one with and without true gradients."""
    n = np.geomspace(CURVE_SIZES[0], CURVE_SIZES[-1], 100)
    fig = figure(
        x="batch size n",
        x_unit="examples",
        y="mean size of a gradient, E|g|",
        y_unit="σ",
        log="xy",
        title="The printed law lies √2 too high, and true gradients keep it from zero",
        alt="Mean absolute gradient against batch size: printed law, corrected law, simulation",
    )
    fig.add_scatter(
        x=n,
        y=printed_law(n),
        mode="lines",
        line={"color": VERMILLION, "dash": "dash"},
        name="printed, 2σ/√(πn)",
    )
    for spread, color, symbol, dash in zip(
        SPREADS, (BLUE, GREEN), SYMBOLS, ("solid", "dot"), strict=False
    ):
        what = f"true gradients of spread σ/{1 / spread:g}" if spread else "no true gradient"
        curve = gradient_curve(spread)
        fig.add_scatter(
            x=n,
            y=corrected_law(n, spread),
            mode="lines",
            line={"color": color, "dash": dash},
            name=f"corrected, {what}",
        )
        interval_marks(
            fig,
            np.array(CURVE_SIZES),
            curve.mean,
            curve.mean - 4 * curve.error,
            curve.mean + 4 * curve.error,
            marker={"color": color, "symbol": symbol, "line": {"color": INK, "width": 1}},
            name=f"simulated, {what}",
        )
    return computed_here(
        fig,
        f"marks are means over {PARAMETERS:,} parameters, bars of four standard errors are mostly "
        "smaller than the marks",
    )
