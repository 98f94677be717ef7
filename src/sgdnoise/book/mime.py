"""How a page of the book shows plotly figures and widgets; an entry point of myst-nb.

A notebook's plain ``fig`` or ``explorer(...)`` gives mime types that myst-nb drops or leaves empty
without scripts. Here a figure becomes its JSON in the page, drawn by plot.js with the one plotly
that all pages share, and both get words for readers who cannot see them drawn. Each figure of a
page, the map among them, gets its number and an anchor.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any, ClassVar

from docutils import nodes
from myst_nb.core.render import WIDGET_VIEW_MIMETYPE, MimeData, MimeRenderPlugin, NbElementRenderer

from sgdnoise.figures.theme import compact

PLOTLY_MIMETYPE = "application/vnd.plotly.v1+json"
MAP = '<div class="sgdnoise-map"'
"""How the map begins, which is a figure though it is HTML."""


class PlotlyMimeRender(MimeRenderPlugin):
    """Figures as a box with JSON; widgets as ever, with their caption for when nothing runs."""

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
            box = nodes.raw(text=figure_html(data.content, label), format="html")
            return [number(renderer), box]
        if data.mime_type == WIDGET_VIEW_MIMETYPE:
            caption = data.output_metadata.get("sgdnoise", {}).get("caption")
            if caption:
                words = nodes.raw(text=noscript(caption), format="html")
                return [number(renderer), words, *renderer.render_widget_view(data)]
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


def alternative(figure: dict[str, Any]) -> str:
    """The words that stand for a figure: ``layout.meta.alt``, else its title without markup."""
    layout = figure.get("layout", {})
    meta, title = layout.get("meta"), layout.get("title")
    alt = meta.get("alt") if isinstance(meta, dict) else None
    text = title.get("text") if isinstance(title, dict) else title
    return str(alt or re.sub(r"<[^>]*>", " ", text or "")).strip()


def figure_html(figure: dict[str, Any], label: str) -> str:
    """The box that plot.js draws a figure into."""
    data = json.dumps(compact(figure), separators=(",", ":"), allow_nan=False)
    data = data.replace("<", "\\u003c")  # else "</script>" in a label would end the element
    return (
        f'<figure class="sgdnoise-figure" aria-label="{html.escape(label)}">'
        f'<script type="application/json">{data}</script>{noscript(label)}</figure>'
    )


def noscript(words: str) -> str:
    return f"<noscript><p>[A figure, drawn by JavaScript] {html.escape(words)}</p></noscript>"
