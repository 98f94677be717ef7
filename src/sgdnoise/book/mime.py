"""How a page of the book shows plotly figures and explorers; an entry point of myst-nb.

A notebook's plain ``fig`` or ``explorer(...)`` gives mime types that myst-nb drops, or shows with
the whole machinery of widgets. Here a figure becomes its JSON in the page, and an explorer its
table of frames, taken from the widget's state in the notebook. plot.js and explorer.js draw them
with the one plotly that all pages share, and both get words for readers who cannot see them drawn.
Each figure of a page, the map among them, gets its number and an anchor.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from docutils import nodes
from myst_nb.core.render import (
    WIDGET_STATE_MIMETYPE,
    WIDGET_VIEW_MIMETYPE,
    MimeData,
    MimeRenderPlugin,
    NbElementRenderer,
)

from sgdnoise.figures.theme import compact

PLOTLY_MIMETYPE = "application/vnd.plotly.v1+json"
MAP = '<div class="sgdnoise-map"'
"""How the map begins, which is a figure though it is HTML."""


class PlotlyMimeRender(MimeRenderPlugin):
    """Figures and explorers as boxes with JSON, with words for when nothing runs."""

    # Above text/html, so that a figure never brings its own plotly.
    mime_priority_overrides: ClassVar = [("html", PLOTLY_MIMETYPE, 5)]

    @staticmethod
    def handle_mime(
        renderer: NbElementRenderer, data: MimeData, inline: bool
    ) -> list[nodes.Element] | None:
        if data.mime_type == PLOTLY_MIMETYPE:
            label = alternative(data.content)
            if not label:
                renderer.logger.warning(
                    "a figure has neither a title nor layout.meta.alt to be read out",
                    line=data.line,
                    subtype="figure",
                )
            return [number(renderer), _box(renderer, figure_html(data.content, label))]
        if data.mime_type == WIDGET_VIEW_MIMETYPE:
            found = explorer_of(_models(renderer), data.content["model_id"])
            if found:
                return [number(renderer), _box(renderer, explorer_html(found))]
            renderer.logger.warning(
                "a widget that is no explorer, or whose state the notebook lacks, has no place on "
                "a page without a kernel: show a figure or a table, or run the notebook again",
                line=data.line,
                subtype="widget",
            )
            return []
        if data.mime_type == "text/html" and MAP in data.string:
            return [number(renderer), *renderer.render_text_html(data)]
        return None


def number(renderer: NbElementRenderer) -> nodes.paragraph:
    """The line "Figure 3" above the third figure of a page, which is where `#figure-3` leads.

    It is a link to itself, so that its address can be copied.
    """
    document = renderer.renderer.document
    n = 1
    while f"figure-{n}" in document.ids:
        n += 1
    name = f"figure-{n}"
    line = nodes.paragraph(names=[name], classes=["sgdnoise-number"])
    line += nodes.reference("", f"Figure {n}", refid=name, internal=True)
    document.note_explicit_target(line)  # else a link of the text to it would be a warning
    return line


def _box(renderer: NbElementRenderer, text: str) -> nodes.raw:
    """A box on a page, which then loads plotly once and before MathJax (at 500)."""
    script: dict[str, Any] = {"defer": "defer", "priority": 400}
    renderer.add_js_file("plotly", "vendor/plotly.min.js", script)
    return nodes.raw(text=text, format="html")


def _models(renderer: NbElementRenderer) -> dict[str, Any]:
    """The states of a notebook's widgets by their ids, taken out of what goes to the page."""
    kept = vars(renderer)
    if "sgdnoise_models" not in kept:
        metadata = renderer.renderer.nb_client.notebook.metadata
        widgets = metadata.pop("widgets", {}).get(WIDGET_STATE_MIMETYPE, {})
        kept["sgdnoise_models"] = {i: m["state"] for i, m in widgets.get("state", {}).items()}
    models: dict[str, Any] = kept["sgdnoise_models"]
    return models


def explorer_of(models: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What an explorer is made of, from the states of a notebook's widgets.

    Args:
        models: the states by the widgets' ids.
        name: the id of the widget that a cell showed.

    Returns:
        The sliders, the table of frames, the caption, and for each slider where it stands; None
        if the widget is no explorer, or its state is lost.
    """
    shown = models.get(name, {})
    if "sgdnoise-explorer" not in shown.get("_dom_classes", ()):
        return None
    plot = models.get(shown["children"][-1].removeprefix("IPY_MODEL_"), {})
    try:
        parts = {part: plot[part] for part in ("sliders", "table", "caption")}
        position = [plot[f"slider_{axis}"] for axis in range(len(parts["sliders"]))]
    except KeyError:
        return None
    return {**parts, "position": position}


def alternative(figure: dict[str, Any]) -> str:
    """The words that stand for a figure: ``layout.meta.alt``, else its title without markup."""
    layout = figure.get("layout", {})
    meta, title = layout.get("meta"), layout.get("title")
    alt = meta.get("alt") if isinstance(meta, dict) else None
    text = title.get("text") if isinstance(title, dict) else title
    return str(alt or re.sub(r"<[^>]*>", " ", text or "")).strip()


def figure_html(figure: dict[str, Any], label: str) -> str:
    """The box that page.js draws a figure into."""
    return (
        f'<figure class="sgdnoise-figure" aria-label="{html.escape(label)}">'
        f"{_data(compact(figure))}{noscript(label)}</figure>"
    )


def explorer_html(explorer: dict[str, Any]) -> str:
    """The box that page.js draws an explorer into, from what `explorer_of` returns."""
    return f'<div class="sgdnoise-explorer">{_data(explorer)}{noscript(explorer["caption"])}</div>'


def _data(content: dict[str, Any]) -> str:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c")  # else "</script>" in a label would end the element
    return f'<script type="application/json">{text}</script>'


def noscript(words: str) -> str:
    return f"<noscript><p>[A figure, drawn by JavaScript] {html.escape(words)}</p></noscript>"
