"""What the chapters of Part I show, so that their notebooks stay short.

A chapter has three modules: one computes, `…_figures` draws, `…_findings` has the tables and the
sentences with numbers in them. Nothing reads a record: these chapters are computed anew each time
that the book is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from IPython.display import Markdown
from numpy.typing import ArrayLike
from pandas.io.formats.style import Styler

from sgdnoise import __version__
from sgdnoise.figures.theme import provenance


def computed_here(fig: go.Figure, how: str) -> go.Figure:
    """Say below a figure that it was computed with its page: how, by which version, and when."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    return provenance(
        fig, f"Theory, no training: {how}; computed on a CPU, sgdnoise {__version__}, {today}."
    )


def line(fig: go.Figure, x: ArrayLike, y: ArrayLike, name: str, **style: Any) -> None:
    """Draw a line into a figure."""
    fig.add_scatter(x=x, y=y, mode="lines", line=style, name=name)


def marks(fig: go.Figure, x: ArrayLike, y: ArrayLike, name: str, **style: Any) -> None:
    """Draw points into a figure, each a mark."""
    fig.add_scatter(x=x, y=y, mode="markers", marker=style, name=name)


def fraction(value: float) -> str:
    """A power of two below one as a fraction, 1/16; anything else as a decimal number."""
    inverse = 1 / value
    if value < 1 and abs(inverse - round(inverse)) < 1e-9:
        return f"1/{round(inverse)}"
    return f"{value:g}"


def examples(count: int) -> str:
    """A batch size as a slider shows it."""
    return f"{count:,} example" + "s" * (count != 1)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def short(value: float) -> str:
    """A positive number in two digits for titles, with a power of ten where it needs one."""
    if value == 0 or 1e-2 <= abs(value) < 1e4:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_RAISED)}"


def table(rows: Sequence[Mapping[str, object]]) -> Styler:
    """Rows as a table for a notebook, in the order and under the names of the first row's keys."""
    spaced = {"selector": "td, th", "props": "text-align: right; padding: 0.1em 0.6em"}
    styler = pd.DataFrame(list(rows)).style.hide(axis="index").set_table_styles([spaced])  # type: ignore[list-item]
    # The class that the book's theme knows, and leaves its dark ground to.
    return styler.set_table_attributes('class="dataframe"')


def folded(summary: str, text: str, *tables: Styler) -> Markdown:
    """An aside that opens at a click: its text, in Markdown, and then its tables."""
    parts = [f"<details>\n<summary>{summary}</summary>", text]
    return Markdown("\n\n".join([*parts, *(t.to_html() for t in tables), "</details>"]))


EPSILON_CRIT = "ε<sub>crit</sub>"
EPSILON_EFF = "ε<sub>eff</sub>"
LAMBDA_MAX = "λ<sub>max</sub>"
"""Symbols with an index, for titles, axes and tables; captions take plain text only."""
