"""The scorecard as a page: a table of counts, every claim in a row that filters find, its forest.

The rows are plain HTML in which all text is escaped, so that the page is whole without a kernel,
a network or a script; `figures/static/scorecard.js` only hides what is not asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape

from IPython.display import HTML

from sgdnoise.book.inventory import asked_for, dates, each_once
from sgdnoise.book.scorecard import PAPERS, WORDS, Counts, Row, about_here, counts, counts_by
from sgdnoise.experiments import EXPERIMENTS, study_of
from sgdnoise.figures.forest import MARKS, anchor, shows
from sgdnoise.papers.numbers import items, own
from sgdnoise.records.store import Store
from sgdnoise.study.scales import SCALES

_UP = "../"
"""From the scorecard's page to the top of the built book."""


NO_SCALE = "none yet"
"""What stands for the scale of a claim whose experiment has still to be written."""


def address(**chosen: str) -> str:
    """The fragment of the scorecard's page that shows the rows of a paper, scale or word.

    No `&` and no `=`: the theme reads every link's fragment as a selector, and this is one.
    """
    parts = [f"{name}-{value.replace(' ', '-')}" for name, value in chosen.items()]
    return "#" + ".".join(["show", *parts])


def counts_table(rows: Sequence[Row]) -> HTML:
    """A row for each paper and scale with its words; each count is a link that shows its claims."""
    lines = []
    for (paper, scale), found in counts_by(rows).items():
        at = scale or NO_SCALE
        heads = f'<th scope="row">{escape(paper)}</th><td>{escape(at)}</td>'
        lines.append(f"<tr>{heads}{_tally(found, paper=paper, scale=at)}</tr>")
    last = f'<tr><th scope="row" colspan="2">all</th>{_tally(counts(rows))}</tr>'
    return HTML(
        '<div class="sgdnoise-counts"><table><caption>How often each word came out; a count '
        'leads to its claims</caption><thead><tr><th scope="col">Paper</th><th scope="col">Scale'
        '</th><th scope="col">Words</th><th scope="col">Reproduced after correction</th></tr>'
        f"</thead><tbody>{''.join(lines)}</tbody><tfoot>{last}</tfoot></table></div>"
    )


def _tally(found: Counts, **place: str) -> str:
    """The cells of the words that came out, and of what stays under Holm's rule."""
    chips = " ".join(
        f'<a href="{escape(address(**place, word=word))}">{chip(word, f"{number} {word}")}</a>'
        for word, number in found.words.items()
        if number
    )
    corrected = f"{found.corrected} of {found.held}" if found.tested else "no p-values"
    return f"<td>{chips}</td><td>{corrected if found.judged else ''}</td>"


def claims_list(rows: Sequence[Row]) -> HTML:
    """Every claim at every scale that is about it, by paper and scale, under a form that filters.

    What is not measured is one row an experiment, with the command that measures it if there is
    one.
    """
    here = about_here(rows)
    parts = []
    for paper, scale in counts_by(here):
        mine = [row for row in here if (row["paper"], row["scale"]) == (paper, scale)]
        lines = [_claim(row) for row in mine if row["verdict"] != "not measured"]
        waiting = [row for row in mine if row["verdict"] == "not measured"]
        for name in dict.fromkeys(row["experiment"] for row in waiting):
            lines.append(_not_measured([row for row in waiting if row["experiment"] == name]))
        place = f"at scale {escape(scale)}" if scale else "without an experiment yet"
        parts.append(
            f'<tbody><tr><th class="place" colspan="3" scope="rowgroup">{escape(paper)} {place}'
            f"</th></tr>{''.join(lines)}</tbody>"
        )
    return HTML(
        f'<div class="sgdnoise-scorecard">{_form(here)}<table><thead><tr><th scope="col">Verdict'
        '</th><th scope="col">Claim</th><th scope="col">Effect [interval]</th></tr></thead>'
        f"{''.join(parts)}</table></div>"
    )


def _form(rows: Sequence[Row]) -> str:
    """What the script shows and listens to."""
    choices = {
        "paper": [paper for paper in PAPERS if paper in {row["paper"] for row in rows}],
        "scale": [s for s in (*SCALES, NO_SCALE) if s in {_scale(row) for row in rows}],
        "word": [word for word in WORDS if word in {row["verdict"] for row in rows}],
    }
    fields = "".join(
        f'<label>{name.capitalize()} <select name="{name}"><option value="">all</option>'
        + "".join(f'<option value="{escape(v)}">{escape(v)}</option>' for v in values)
        + "</select></label>"
        for name, values in choices.items()
    )
    return (
        f'<form hidden aria-label="Filter the claims">{fields}'
        '<label>Text <input type="search" name="text" autocomplete="off"></label>'
        '<button type="reset">Show all</button><output aria-live="polite"></output></form>'
    )


def _scale(row: Row) -> str:
    return row["scale"] or NO_SCALE


def _claim(row: Row) -> str:
    about = row["about"] if row["about"] != row["statement"] else ""
    here = f'<p class="here">At this size: {escape(about)}.</p>' if about else ""
    why = row["why"][:1].upper() + row["why"][1:]
    return (
        f"{_row(row, 1)}<td>{chip(row['verdict'])}</td>"
        f'<td><p class="statement">{claimed(row)} '
        f'<a class="self" href="#{escape(anchor(row))}" aria-label="Link to this row">#</a></p>'
        f'{here}<p class="why">{prose(why)}</p><p class="from">{_links(row)}</p></td>'
        f"<td>{_effect(row)}</td></tr>"
    )


def _row(row: Row, claims: int, named: bool = True) -> str:
    name = f' id="{escape(anchor(row))}"' if named else ""
    return (
        f'<tr{name} data-paper="{escape(row["paper"])}" data-scale="{escape(_scale(row))}" '
        f'data-word="{escape(row["verdict"])}" data-claims="{claims}">'
    )


def chip(word: str, said: str = "") -> str:
    """A word, or what is said of it, with its shape: that tells it apart without its colour."""
    glyph = f'<span aria-hidden="true">{MARKS[word].glyph}</span>'
    return f'<span class="chip" data-word="{escape(word)}">{glyph} {escape(said or word)}</span>'


def prose(text: str) -> str:
    """Text as text; of Markdown, which a reason may hold, what is strong and what is code."""
    strong = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", strong)


def _links(row: Row) -> str:
    page, runs = (
        f'<a href="{_UP}{escape(row[key])}">{name}</a>' if row[key] else ""
        for key, name in (
            ("page", f"its figures: {escape(row['experiment'])}"),
            ("runs", "its runs"),
        )
    )
    code = f"judged by {_code(row)}"
    return "; ".join(filter(None, [escape(row["where"]), page, runs, code]))


def _code(row: Row) -> str:
    """Where the predicate is; a line may break after a folder."""
    return f"<code>{escape(row['code']).replace('/', '/<wbr>')}</code>"


def _effect(row: Row) -> str:
    lines = []
    if _known(row["effect"]):
        lines.append(f"{row['effect']:.3g}")
        if shows(row):
            low, high = row["interval"]
            lines.append(f'<span class="bounds">[{low:.3g}, {high:.3g}]</span>')
        if row["unit"]:
            lines.append(escape(row["unit"]))
    if _known(row["margin"]):
        lines.append(f"margin ±{row['margin']:.3g}")
    if _known(row["printed"]):
        lines.append(f"the paper: {row['printed']:.3g}")
    if _known(row["p"]):
        lines.append(f"p = {row['p']:.2g}")
    if row["seeds"]:
        lines.append(f"{row['seeds']:,} seed{'' if row['seeds'] == 1 else 's'}")
    return "<br>".join(lines)


def _known(number: float | None) -> bool:
    return number is not None and math.isfinite(number)


def _not_measured(rows: Sequence[Row]) -> str:
    """One row for an experiment at a scale: how much waits, for what, and which command."""
    first = rows[0]
    name, many = escape(first["experiment"]), "1 claim" if len(rows) == 1 else f"{len(rows)} claims"
    if first["scale"]:
        command = escape(study_of(first["experiment"], first["scale"]).command)
        them = "it" if len(rows) == 1 else "them"
        head = f"{many} of {name}: <code>{command}</code> measures {them}"
    else:
        more = "more sweeps of " if first["experiment"] in EXPERIMENTS else ""
        head = f"{many} for {more}{name} to test"
    items = "".join(f'<li id="{escape(anchor(row))}">{_item(row)}</li>' for row in rows)
    reasons = " ".join(dict.fromkeys(row["why"][:1].upper() + row["why"][1:] for row in rows))
    return (
        f"{_row(first, len(rows), named=False)}<td>{chip('not measured')}</td>"
        f'<td colspan="2"><details><summary>{head}</summary>'
        f"<p>{prose(reasons)}</p><ul>{items}</ul></details></td></tr>"
    )


def _item(row: Row) -> str:
    places = [escape(row["where"]), *([_code(row)] if row["code"] else [])]
    return f"{claimed(row)} ({'; '.join(places)})"


def claimed(row: Row) -> str:
    """What is claimed, and whether this book claims it, in HTML."""
    return ("This book's own extension: " if row["id"] in own() else "") + escape(row["statement"])


def no_claims_list() -> HTML:
    """What the papers number and no claim is about, each with the reason, folded."""
    of = {paper: [item for item in some if item.no_claim] for paper, some in items().items()}
    lines = [
        f"<li>{escape(item.id)}: {escape(item.no_claim)}"
        + (f" See <code>{escape(item.see)}</code>." if item.see else "")
        + "</li>"
        for some in of.values()
        for item in some
    ]
    return HTML(
        f"<details><summary>{len(lines)} numbered equations and figures without a claim, and why"
        f"</summary><ul>{''.join(lines)}</ul></details>"
    )


def source(store: Store, rows: Iterable[Row]) -> str:
    """Which runs the rows that a forest shows come from: scales, code, devices, dates."""
    places = dict.fromkeys((row["scale"], row["experiment"]) for row in rows if shows(row))
    asked = [(study_of(name, scale), store.read(scale, name)) for scale, name in places]
    # As the first page counts: a run that several experiments have is one.
    records = each_once((study.scale, asked_for(study, file)) for study, file in asked)

    def all_of(name: str) -> str:
        return ", ".join(sorted({str(r.provenance.get(name, "unknown")) for r in records}))

    scales = ", ".join(dict.fromkeys(scale for scale, _ in places))
    return (
        f"Scale {scales}: {len(records):,} runs of the experiments behind the effects; code "
        f"{all_of('code')}; {all_of('device')}; {all_of('precision')}; {dates(records)}."
    )
