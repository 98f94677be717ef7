"""Plotly figures of the book: the theme, and the few helpers that every figure is made with.

One palette serves light and dark pages: a figure is always made in the light colours named here,
and ``static/plot.js`` puts their dark counterparts in their place where the page is dark.
Text in figures is plain Unicode (ε, λ, 2⁻³), never LaTeX: then a page needs no MathJax for them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from numpy.typing import ArrayLike

PAPER, INK, MUTED, GRID = "#ffffff", "#222832", "#6b7280", "#d8dde3"
"""Background, text, secondary text and grid lines."""

BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, ORANGE, SKY = "#cc79a7", "#e69f00", "#56b4e9"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""Okabe and Ito's colours, told apart with any colour vision; those with most contrast first."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "triangle-up", "x", "cross", "star")
"""A second sign beside the colour, in the palette's order."""

_AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": MUTED,
    "zerolinecolor": GRID,
    "showline": True,
    "ticks": "outside",
    "tickcolor": MUTED,
    "automargin": True,
    "exponentformat": "power",
    "title": {"standoff": 10},
}

TEMPLATE = go.layout.Template(
    layout={
        "colorway": list(PALETTE),
        "font": {"color": INK, "size": 14},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": {"l": 56, "r": 16, "t": 40, "b": 48},
        # What a hover says: a batch size whole, a measurement and its bar to what can be read.
        "xaxis": {**_AXIS, "hoverformat": ".6~g"},
        "yaxis": {**_AXIS, "hoverformat": ".4~g"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "modebar": {"color": MUTED, "activecolor": INK, "bgcolor": "rgba(0,0,0,0)"},
        "hovermode": "closest",
        "height": 420,
    },
    data={"scatter": [{"line": {"width": 2.5}, "marker": {"size": 8}}]},
)
pio.templates["sgdnoise"] = TEMPLATE
pio.templates.default = "sgdnoise"

# In a notebook plotly draws by itself, and offers to upload the figure unless told not to.
for _name in pio.renderers:
    if hasattr(pio.renderers[_name], "config"):
        _own = pio.renderers[_name].config or {}
        pio.renderers[_name].config = {**_own, "showSendToCloud": False}


def figure(
    *,
    x: str,
    x_unit: str | None,
    y: str,
    y_unit: str | None,
    title: str | None = None,
    alt: str | None = None,
    log: Literal["", "x", "y", "xy"] = "",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> go.Figure:
    """An empty figure in the book's theme whose axes say what they show, and in which unit.

    The units have no default, so that none is forgotten; None stands for a pure number.
    Ranges are in the unit of the axis, on a logarithmic one too (plotly itself wants log₁₀ there).
    ``alt`` is read out instead of the picture; without it the title is.

    Raises:
        ValueError: for a range that is not positive on a logarithmic axis.
    """

    def axis(name: str, label: str, unit: str | None, span: tuple[float, float] | None) -> Any:
        settings: dict[str, Any] = {"title": {"text": f"{label} ({unit})" if unit else label}}
        if name in log:
            # No more than 1, 2, 5 in a decade: plotly's own choice writes 9 over 10. On an axis of
            # about one decade it takes all digits even so: see `_full_ticks`.
            settings |= {"type": "log", "nticks": 6}
            if span and min(span) <= 0:
                raise ValueError(f"the logarithmic {name} axis needs a positive range, got {span}")
        if span:
            settings["range"] = [float(np.log10(v)) for v in span] if name in log else list(span)
        return settings

    fig = go.Figure()
    fig.update_layout(
        xaxis=axis("x", x, x_unit, x_range),
        yaxis=axis("y", y, y_unit, y_range),
        meta={"alt": alt} if alt else None,
    )
    if title:
        fig.update_layout(title={"text": title})
    return fig


def band(
    fig: go.Figure,
    x: Sequence[float] | np.ndarray,
    low: Sequence[float] | np.ndarray,
    high: Sequence[float] | np.ndarray,
    *,
    color: str,
    name: str | None = None,
    **trace: Any,
) -> go.Figure:
    """Shade the uncertainty between ``low`` and ``high``; points where either is not finite drop.

    Say in ``name`` or in the provenance what the band is (which interval, over how many seeds).
    Further keywords go to the trace (``legendgroup``, for one).

    Raises:
        ValueError: if the three do not have one length.
    """
    xs, lo, hi = (np.asarray(v, dtype=float) for v in (x, low, high))
    if not xs.shape == lo.shape == hi.shape or xs.ndim != 1:
        raise ValueError(f"x, low, high need one length, got {xs.shape}, {lo.shape}, {hi.shape}")
    keep = np.isfinite(xs) & np.isfinite(lo) & np.isfinite(hi)
    xs, lo, hi = xs[keep], lo[keep], hi[keep]
    fig.add_scatter(
        x=np.concatenate([xs, xs[::-1]]),
        y=np.concatenate([hi, lo[::-1]]),
        fill="toself",
        fillcolor=f"{color}33",
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        name=name,
        showlegend=name is not None,
        **trace,
    )
    return fig


def interval_marks(
    fig: go.Figure,
    x: Any,
    value: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    **trace: Any,
) -> go.Figure:
    """Marks at ``value`` with bars from ``low`` to ``high``; further keywords go to the trace."""
    at, lowest, highest = (np.asarray(v, dtype=float) for v in (value, low, high))
    fig.add_scatter(
        x=x,
        y=at,
        error_y={"array": highest - at, "arrayminus": at - lowest, "thickness": 1.5, "width": 4},
        **{"mode": "markers", **trace},
    )
    return fig


def paper_value(
    fig: go.Figure,
    x: Sequence[Any] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    *,
    name: str,
    **trace: Any,
) -> go.Figure:
    """A paper's own numbers beside ours: always hollow diamonds, with the place as ``name``."""
    fig.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"symbol": "diamond-open", "size": 11, "color": INK, "line": {"width": 2}},
        name=name,
        **trace,
    )
    return fig


@dataclass(frozen=True)
class Source:
    """Where a figure of runs comes from.

    Attributes:
        text: scale, runs, seeds, device, date, code version.
        records: the built book's page of these runs, such as `records/digits/constant-epoch.html`;
            a point whose `customdata` is an anchor of that page leads there by a click.
    """

    text: str
    records: str | None = None

    def __str__(self) -> str:
        return self.text

    def and_also(self, more: str) -> Source:
        """The same source with more to say."""
        return replace(self, text=f"{self.text} {more}")


SHORT = (0.7, 2.5)
"""Decades on a logarithmic axis between which `_full_ticks` places ticks and writes them out. On
fewer plotly does so by itself, and on more it writes powers of ten."""


def _full_ticks(fig: go.Figure) -> None:
    """Ticks at 1, 2, 5 of each decade, written out, on logarithmic axes that are short.

    Plotly would write 3 4 5 6 7 8 9 1 2, single digits that leave out their decade.
    """
    for name in "xy":
        axis = fig.layout[f"{name}axis"]
        if axis.type != "log" or axis.tickvals is not None or axis.dtick is not None:
            continue
        if axis.range is None:
            ends = _drawn(fig, name)
            if not ends.size:
                continue
            span = float(np.log10(ends.max() / ends.min()))
        else:
            span = abs(axis.range[1] - axis.range[0])
        if SHORT[0] <= span <= SHORT[1]:
            axis.update(dtick="D2", tickformat="~g")


def _drawn(fig: go.Figure, name: str) -> np.ndarray:
    """The positive numbers that the curves of a figure reach along an axis, bars included."""
    found = []
    for trace in fig.data:
        if trace.visible in (False, "legendonly") or trace[name] is None:
            continue
        at = np.asarray(trace[name], dtype=np.float64)
        found.append(at)
        bars = trace[f"error_{name}"] if trace.type == "scatter" else None
        if bars is not None and bars.array is not None:
            down = bars.array if bars.arrayminus is None else bars.arrayminus
            found += [at + np.asarray(bars.array, float), at - np.asarray(down, float)]
    every = np.concatenate(found) if found else np.empty(0)
    return every[np.isfinite(every) & (every > 0)]


def provenance(fig: go.Figure, source: str | Source) -> go.Figure:
    """Say below the figure where it comes from.

    All else is drawn by then, so that short logarithmic axes get their ticks here.

    On a page plot.js lifts the line out of the picture, where it wraps and can be copied, and adds
    a link to the records.
    """
    _full_ticks(fig)
    if isinstance(source, Source) and source.records:
        meta = dict(fig.layout.meta or {})
        fig.update_layout(meta={**meta, "records": source.records})
    fig.add_annotation(
        name="provenance",
        text=str(source),
        xref="paper",
        yref="paper",
        x=0,
        y=0,
        xanchor="left",
        yanchor="top",
        yshift=-56,
        showarrow=False,
        align="left",
        font={"size": 12, "color": MUTED},
    )
    fig.update_layout(margin={"b": 88})
    return fig


def compact(fig: go.Figure | dict[str, Any]) -> dict[str, Any]:
    """The figure as plotly's JSON, its numbers in 32-bit floats, for pages of bounded weight.

    Seven digits are more than a screen resolves, at half of plotly's own size. Arrays whose
    numbers a 32-bit float cannot hold stay at 64 bits. A dictionary gets the book's theme, as
    plotly gives it to each figure.
    """
    raw = fig.to_plotly_json() if isinstance(fig, go.Figure) else fig
    layout = {"template": TEMPLATE.to_plotly_json(), **raw.get("layout", {})}
    return {"data": [_compact(trace) for trace in raw.get("data", ())], "layout": _plain(layout)}


_ARRAYS = {"x", "y", "z", "array", "arrayminus"}
_FLOAT32 = np.finfo(np.float32)


def _compact(node: Any, key: str = "") -> Any:
    if isinstance(node, dict):
        if "bdata" in node:
            values = np.frombuffer(base64.b64decode(node["bdata"]), np.dtype(node["dtype"]))
            return _packed(values, node.get("shape")) if node["dtype"] == "f8" else node
        return {k: _compact(v, k) for k, v in node.items()}
    if isinstance(node, np.ndarray):
        if node.dtype.kind == "f" and node.size and node.ndim <= 2:
            shape = ", ".join(map(str, node.shape)) if node.ndim == 2 else None
            return _packed(node.astype(np.float64).ravel(), shape)
        return _plain(node)
    if isinstance(node, list | tuple):
        if key in _ARRAYS and len(node) > 3 and _numbers(node):
            return _packed(np.array([np.nan if v is None else v for v in node], np.float64), None)
        return [_compact(v) for v in node]
    return _plain(node)


def _numbers(values: Iterable[Any]) -> bool:
    kinds = (int, float, np.number, type(None))
    return all(isinstance(v, kinds) and not isinstance(v, bool) for v in values)


def _packed(values: np.ndarray, shape: str | None) -> dict[str, Any]:
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    fits = not size.size or bool(size.max() < _FLOAT32.max and size.min() > _FLOAT32.tiny)
    kind = "<f4" if fits else "<f8"
    spec = {"dtype": kind[1:], "bdata": base64.b64encode(values.astype(kind).tobytes()).decode()}
    return spec if shape is None else {**spec, "shape": shape}


def _plain(node: Any) -> Any:
    """Strict JSON: no tuples, no numpy, and null for numbers that are not finite."""
    if isinstance(node, dict):
        return {k: _plain(v) for k, v in node.items() if v is not None}
    if isinstance(node, np.ndarray | list | tuple):
        return [_plain(v) for v in (node.tolist() if isinstance(node, np.ndarray) else node)]
    if isinstance(node, np.generic):
        return _plain(node.item())
    if isinstance(node, float) and not np.isfinite(node):
        return None
    return node
