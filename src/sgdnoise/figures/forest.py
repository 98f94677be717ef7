"""The forest: the effects of all judged claims with their intervals, one figure a unit.

Rows are those of the scorecard, as dictionaries. A row's label stands above its interval and not
beside it, so that the axis keeps the whole width of a phone.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import plotly.graph_objects as go

from sgdnoise.figures.theme import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    SKY,
    VERMILLION,
    Source,
    figure,
    paper_value,
    provenance,
)


@dataclass(frozen=True)
class Mark:
    """How a word looks, in a figure and in a line of text.

    Attributes:
        symbol: plotly's.
        glyph: the same as a character.
        colour: a second sign beside the shape.
    """

    symbol: str
    glyph: str
    colour: str


MARKS = {
    "reproduced": Mark("circle", "●", BLUE),
    "reproduced at another size": Mark("triangle-up", "▲", SKY),
    "absent": Mark("circle-open", "○", INK),
    "contradicted": Mark("x", "✖", VERMILLION),
    "undecided": Mark("square-open", "□", ORANGE),
    "not tested here": Mark("line-ew-open", "–", MUTED),
    "not measured": Mark("line-ns-open", "·", MUTED),
}
"""By word. Diamonds are the papers' own numbers."""

AXES = {
    "points": ("effect", "points of accuracy"),
    "slope": ("slope", None),
    "log2 ratio": ("log₂ of the ratio", None),
    "share": ("share", None),
    "": ("effect, each on the scale that its row names", None),
}
"""Label and unit of the axis for what a verdict calls its unit."""

_LETTERS = 42
"""Of a label's line: as many as a phone has room for."""

_LINE, _GAP = 16, 30
"""Pixels: of a label's line, and of the interval with the space around it."""

_SCREEN, _AXIS = 800, 48
"""Pixels: of rows that a reader sees at once, and of an axis with its name."""


def units(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The units of the rows that a forest can show, those of `AXES` first, no unit last."""
    there = {row["unit"] for row in rows if shows(row)}
    known = [unit for unit in AXES if unit and unit in there]
    return [*known, *sorted(there - AXES.keys()), *([""] if "" in there else [])]


def shows(row: Mapping[str, Any]) -> bool:
    """Whether a row has a finite effect between finite bounds."""
    numbers = [row["effect"], *(row["interval"] or [None])]
    return len(numbers) == 3 and all(number is not None for number in map(_finite, numbers))


def anchor(row: Mapping[str, Any]) -> str:
    """Where the scorecard's page has a row: its id and scale, if it has one."""
    return f"{row['id']}.{row['scale']}".rstrip(".")


def forest(
    rows: Sequence[Mapping[str, Any]], unit: str, source: str | Source = "", *, leads: bool = True
) -> go.Figure:
    """Effects and intervals in one unit, with margins and the papers' numbers.

    Grey are the effects that a margin counts as none, up to the figure's end where it has one end
    only. A click on a mark or a label leads to its row.

    Args:
        rows: of the scorecard; what has another unit, no effect or no interval is left out.
        unit: whose figure.
        source: what the runs behind it are, for the line below.
        leads: whether the page has the rows that a click leads to.

    Raises:
        ValueError: if no row is left.
    """
    mine = [row for row in rows if row["unit"] == unit and shows(row)]
    if not mine:
        raise ValueError(f"no row has an effect and an interval in {unit or 'no unit'}")
    label, of = AXES.get(unit, ("effect", unit))
    ends = _range(mine)
    fig = figure(
        x=label,
        x_unit=of,
        y="",
        y_unit=None,
        title=_title(mine, unit),
        alt=f"{_title(mine, unit)} Each as an estimate with its interval.",
        x_range=ends,
    )
    tops = [0.0]
    labels = [_label(row) for row in mine]
    for lines in labels:
        tops.append(tops[-1] + _LINE * len(lines) + _GAP)
    at = [top - 0.55 * _GAP for top in tops[1:]]
    for row, lines, top, bottom in zip(mine, labels, tops, tops[1:], strict=False):
        fig.add_annotation(
            # A click on it says its name: see plot.js.
            name=anchor(row),
            captureevents=True,
            text=_lines(lines),
            x=0,
            xref="paper",
            xanchor="left",
            y=top + 3,
            yanchor="top",
            showarrow=False,
            align="left",
            font={"size": 12},
            # The lines of the grid end at a label, and do not cross its letters.
            bgcolor=PAPER,
        )
        if row["band"]:
            low, high = (
                end if inner is None else inner
                for end, inner in zip(ends, row["band"], strict=True)
            )
            fig.add_shape(
                type="rect",
                x0=low,
                x1=high,
                y0=bottom - _GAP + 3,
                y1=bottom - 3,
                fillcolor=f"{MUTED}40",
                line={"width": 0},
                layer="below",
            )
    _marks(fig, mine, at)
    fig.add_vline(x=0, line={"color": MUTED, "width": 1, "dash": "dot"}, layer="below")
    fig.update_yaxes(
        range=[tops[-1], 0], visible=False, fixedrange=True, showgrid=False, zeroline=False
    )
    fig.update_xaxes(fixedrange=True, zeroline=False)
    if tops[-1] > _SCREEN and len(fig.data) > 1:
        _axis_at_the_top(fig, tops[-1])
    fig.update_layout(
        # The legend may wrap to three lines on a phone.
        height=int(tops[-1]) + 170,
        margin={"l": 8, "r": 8, "t": 70, "b": 88},
        meta={**fig.layout.meta, "anchors": leads},
    )
    text = f"{_reading_it(mine, leads)} {source}".strip()
    return provenance(fig, replace(source, text=text) if isinstance(source, Source) else text)


def _axis_at_the_top(fig: go.Figure, height: float) -> None:
    """Repeats the axis over the first row, for the one below the last is screens away.

    Plotly draws an axis that has a curve, so that the last one changes its axis.
    """
    axis = fig.layout.xaxis.to_plotly_json()
    fig.update_layout(
        xaxis2={**axis, "overlaying": "x", "matches": "x", "side": "top", "showgrid": False},
        legend={"y": 1 + _AXIS / height},
    )
    fig.data[-1].xaxis = "x2"


def forests(rows: Sequence[Mapping[str, Any]], source: str = "") -> list[go.Figure]:
    """A forest for each unit that the rows have; none where nothing has an interval."""
    return [forest(rows, unit, source) for unit in units(rows)]


def _marks(fig: go.Figure, rows: Sequence[Mapping[str, Any]], at: Sequence[float]) -> None:
    for word, mark in MARKS.items():
        mine = [(row, y) for row, y in zip(rows, at, strict=True) if row["verdict"] == word]
        if not mine:
            continue
        fig.add_scatter(
            x=[row["effect"] for row, _ in mine],
            y=[y for _, y in mine],
            error_x={
                "array": [row["interval"][1] - row["effect"] for row, _ in mine],
                "arrayminus": [row["effect"] - row["interval"][0] for row, _ in mine],
                "thickness": 2,
                "width": 4,
            },
            mode="markers",
            marker={
                "symbol": mark.symbol,
                "color": mark.colour,
                "size": 11,
                "line": {"width": 2, "color": mark.colour},
            },
            name=word,
            customdata=[anchor(row) for row, _ in mine],
            hovertext=[_hover(row) for row, _ in mine],
            hoverinfo="text",
        )
    theirs = [
        (row, y) for row, y in zip(rows, at, strict=True) if _finite(row["printed"]) is not None
    ]
    if theirs:
        paper_value(
            fig,
            [row["printed"] for row, _ in theirs],
            [y for _, y in theirs],
            name="the paper's number",
            customdata=[anchor(row) for row, _ in theirs],
            hovertext=[f"{_text(row['where'])}: {row['printed']:.3g}" for row, _ in theirs],
            hoverinfo="text",
        )


def _title(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    """The finding: how often each word comes out among these rows."""
    words = [row["verdict"] for row in rows]
    said = [f"{words.count(word)} {word}" for word in MARKS if word in words]
    of = {
        "points": "points of accuracy",
        "slope": "slopes",
        "log2 ratio": "log₂ ratios",
        "share": "shares",
    }
    named = f"in {_text(of.get(unit, unit))}" if unit else "whose verdicts name no unit"
    judged = "1 effect" if len(rows) == 1 else f"{len(rows)} effects"
    return f"{judged} {named}: {', '.join(said)}."


def _reading_it(rows: Sequence[Mapping[str, Any]], leads: bool) -> str:
    bands = " Grey: no difference that matters." if any(row["band"] for row in rows) else ""
    where = " A click on a mark or a label leads to its row." if leads else ""
    return f"Bars: the interval.{bands}{where}"


def _label(row: Mapping[str, Any]) -> list[str]:
    """A row's label line by line: what is claimed, then scale, seeds and word."""
    statement = textwrap.wrap(row["about"] or row["statement"], _LETTERS)
    glyph = MARKS[row["verdict"]].glyph
    seeds = f"{row['seeds']} seed{'' if row['seeds'] == 1 else 's'}"
    return [*statement, f"{glyph} {row['verdict']} · {row['paper']}, {row['scale']}, {seeds}"]


def _lines(lines: Sequence[str]) -> str:
    """A label as plotly's text: the statement bold."""
    *statement, state = map(_text, lines)
    return f"<b>{'<br>'.join(statement)}</b><br>{state}"


def _hover(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    margin = _finite(row["margin"])
    within = f", margin ±{margin:.3g}" if margin else ""
    number = f"{row['effect']:.3g} [{low:.3g}, {high:.3g}]{within}"
    said = _text(row["about"] or row["statement"])
    return f"{'<br>'.join(textwrap.wrap(said, _LETTERS))}<br>{number}<br>{row['verdict']}"


def _range(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """From the least to the greatest number of the rows, zero among them."""
    ends = [0.0]
    for row in rows:
        ends += [*row["interval"], row["effect"]]
        ends += [end for end in (*(row["band"] or ()), _finite(row["printed"])) if end is not None]
    room = 0.05 * (max(ends) - min(ends)) or 1.0
    return min(ends) - room, max(ends) + room


def _text(words: str) -> str:
    """Words in which plotly finds no markup."""
    return html.escape(words, quote=False)


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else float(number)
