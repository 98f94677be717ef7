"""Text of a record reaches every page as text, and figures offer no upload."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import plotly.io as pio
import pytest
from made_up import record
from markdown_it import MarkdownIt

from sgdnoise import figures
from sgdnoise.book import inventory
from sgdnoise.book.compare import Comparison
from sgdnoise.book.markdown import literal
from sgdnoise.book.run_pages import page_of_runs
from sgdnoise.data.npm import find_npm
from sgdnoise.experiments import study_of
from sgdnoise.records.store import Store
from sgdnoise.study.study import Study

STUDY = study_of("constant-epoch", "digits", 1)
PLOT = Path(figures.__file__).parent / "static" / "plot.js"
NASTY = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "a | b",
    "`x` and *y* and $z$ and [n](http://a.b)",
    "# head\n\n- item\n\n<b>",
    "<b onclick=alert(1)>&lt;i&gt;",
]


class Seen(HTMLParser):
    """Elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def nasty_record(text: str):
    config = STUDY.experiment.sweeps["digits"]()[0].config((-3,), 0)
    made = record(config, lambda config: {"test_accuracy": 90.0})
    provenance = {**made.provenance, "device": text, "date": text}
    return dataclasses.replace(made, status=text, provenance=provenance)


@pytest.mark.parametrize("text", NASTY)
def test_on_the_page_of_runs(text):
    made, plain = nasty_record(text), nasty_record("plain")
    place, files = ("digits", "constant-epoch"), ["results/digits/constant-epoch.jsonl"]
    page = Seen(page_of_runs(*place, {made.id: made}, files))
    as_ever = Seen(page_of_runs(*place, {plain.id: plain}, files))
    assert page.tags == as_ever.tags
    assert page.text.count(text) == 3  # status, device and date


def words(markdown: str) -> str:
    """The words of one paragraph of Markdown, and that it is one without active parts."""
    opening, inline, closing = MarkdownIt().enable("table").parse(markdown)
    assert (opening.type, closing.type) == ("paragraph_open", "paragraph_close")
    kinds = {child.type for child in inline.children}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "code_inline"}
    return "".join(child.content for child in inline.children)


@pytest.mark.parametrize("text", NASTY)
def test_in_markdown(tmp_path, text):
    # A status that is none is refused by the store; a date is any text.
    made = dataclasses.replace(nasty_record(text), status="done")
    store = Store(tmp_path)
    store.append("digits", "constant-epoch", [made])
    flat = " ".join(text.split())
    assert flat in words(inventory.summary(store))
    assert words(literal(text)) == flat
    assert not set("|<`$\n") & set(literal(text))


def test_in_the_comparison(monkeypatch):
    made = nasty_record(NASTY[0])
    monkeypatch.setattr(Study, "missing", lambda *_: [])
    both = Comparison.of(STUDY, {made.id: made}, {made.id: made})
    assert NASTY[0] in words(both.summary())


# --- plot.js, on as much of a page as it needs ---------------------------------------------------

DOM = """
class Node {
  constructor(tag) { this.localName = tag; this.children = []; this.style = {}; this.dataset = {}; }
  append(...all) {
    for (const one of all) { this.children.push(one); if (one.localName) one.parentNode = this; }
  }
  prepend(one) { this.children.unshift(one); one.parentNode = this; }
  replaceChildren() { this.children = []; }
  querySelector(path) {
    return this.children.find((c) => c.localName && path === `:scope > .${c.className}`);
  }
  setAttribute() {}
  addEventListener() {}
  get childNodes() { return this.children; }
  getAttribute() { return null; }
  get textContent() { return this.children.map((c) => c.textContent ?? c).join(""); }
  set innerHTML(text) { this.children = [{ raw: text }]; }
  toJSON() { return this.raw ?? [this.localName, ...this.children]; }
}
globalThis.document = {
  documentElement: new Node("html"), body: new Node("body"), head: new Node("head"),
  createElement: (tag) => new Node(tag), querySelectorAll: () => [],
};
globalThis.matchMedia = () => ({ matches: false });
globalThis.MutationObserver = class { observe() {} };
globalThis.Plotly = { react: async (...given) => { globalThis.config = given[3]; } };
"""


def drawn(title: str, provenance: str) -> dict[str, object]:
    """What plot.js makes of a figure's title and provenance, and its settings of plotly."""
    figure = {
        "data": [],
        "layout": {
            "title": {"text": title},
            "annotations": [{"name": "provenance", "text": provenance}],
        },
    }
    code = f"""{DOM}{PLOT.read_text()}
    const box = new Node("div");
    sgdnoise.draw(box, {json.dumps(figure)}, null).then(() => console.log(JSON.stringify({{
      title: box.children[0], config: globalThis.config,
      provenance: box.children.find((part) => part.className === "sgdnoise-provenance"),
    }})));"""
    # Beside npm there is a node: its own, or the one that starts it.
    npm = find_npm()
    node = npm[0] if len(npm) > 1 else "node"
    done = subprocess.run([node, "-"], input=code, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_below_a_figure_only_plotlys_plain_tags_are_markup():
    for text in NASTY[:3]:
        found = drawn(text, text)
        assert found["title"] == found["provenance"] == ["p", text]
    found = drawn("ε<sub>eff</sub> over</b> <b>B<br>x</b>", "<b onclick=f()>a</b><i>z")
    assert found["title"] == [
        *("p", "ε", ["sub", "eff"], " over", "</b>", " "),
        ["b", "B", ["br"], "x"],
    ]
    assert found["provenance"] == ["p", "<b onclick=f()>a", "</b>", ["i", "z"]]


def test_no_figure_offers_an_upload():
    assert drawn("t", "p")["config"]["showSendToCloud"] is False
    fig = go.Figure(go.Scatter(y=[1, 2]))
    bundle = pio.renderers["plotly_mimetype"].to_mimebundle(fig.to_dict())
    assert bundle["application/vnd.plotly.v1+json"]["config"]["showSendToCloud"] is False
    page = pio.renderers["notebook_connected"].to_mimebundle(fig.to_dict())["text/html"]
    assert '"showSendToCloud": false' in page
