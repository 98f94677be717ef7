"""The first page: what to do with the batch size, each rule as far as its claims carry it.

No number and no advice is typed on the page: `advice` has the sentences, and words choose them.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from IPython.display import HTML, Markdown

from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import COVERAGE
from sgdnoise.book.advice import RECIPE, RULES, Answer, answer, found
from sgdnoise.book.inventory import asked_for, each_once
from sgdnoise.book.scorecard import JUDGED, Row
from sgdnoise.book.scorecard_page import chip, prose
from sgdnoise.config import RunConfig
from sgdnoise.experiments import findings, studies, study_of
from sgdnoise.figures.forest import anchor
from sgdnoise.models import build, count_parameters
from sgdnoise.records.store import Store
from sgdnoise.study.scales import FACTS, NAMES, SCALES

_UP = "../"
"""From the first page to the top of the built book."""

# --- What the page shows ------------------------------------------------------------------------


def rules(rows: Sequence[Row]) -> HTML:
    """The three answers: a question, a sentence of advice, and what it rests on, in short."""
    answers = [answer(rule, rows) for rule in RULES]
    items = []
    for one in answers:
        because = ""
        if one.rows:
            first = one.rows[0]
            # All of them: one alone would read as if the claim stood nowhere else.
            beside = _beside(one, rows)
            others = f" Elsewhere: {_chips(beside, first)}" if beside else ""
            because = (
                f'<p class="because"><a href="{_scorecard(first)}">{escape(_said(first))}</a>: '
                f"{_chips([first], first)} {_short(first)}{others}</p>"
            )
        items.append(
            f'<li><p><span class="question">{escape(one.rule.question)}</span> '
            f"<strong>{escape(one.advice)}</strong></p>{because}</li>"
        )
    words = _words() if any(one.rows for one in answers) else ""
    return HTML(
        f'<div class="sgdnoise-rules">{words}<ol>{"".join(items)}</ol>{_basis(answers)}</div>'
    )


def _words() -> str:
    """What a reader has to know of the numbers, in a line."""
    return (
        f"<p>Brackets are {100 * COVERAGE:.0f} % intervals. A slope is the power of the batch size "
        "with which the best learning rate grows. Fresh seeds are runs that the tuning never saw."
        "</p>"
    )


def _beside(one: Answer, rows: Sequence[Row]) -> list[Row]:
    """What the claims of an answer got at every other scale and method that has runs."""
    first, *_ = one.rows
    return [
        row
        for row in found(rows, one.rule.rests_on)
        if row["runs"] and _place(row) != _place(first)
    ]


def _place(row: Row) -> tuple[str, str]:
    return row["id"], row["scale"]


def _basis(answers: Sequence[Answer]) -> str:
    """Which net and data the answers come from, so that nobody takes them for more."""
    judged = [one.rows[0] for one in answers if one.word in JUDGED]
    if not judged:
        return "<p>Nothing has been run yet that any of these could rest on.</p>"
    places = dict.fromkeys((row["scale"], row["experiment"]) for row in judged)
    said = []
    for scale in dict.fromkeys(scale for scale, _ in places):
        configs = [c for s, name in places if s == scale for c in study_of(name, s).needed({})]
        said.append(f"{_nets(configs)}, scale {scale}")
    return (
        f"<p>Measured on {escape('; and on '.join(said))}. A larger net may answer otherwise.</p>"
    )


def _said(row: Row) -> str:
    return str(row["about"] or row["statement"])


def _chips(rows: Iterable[Row], first: Row) -> str:
    """Words at their scales, each a link to its row; with the variant where `first` has another.

    Statements of one claim's variants end in what tells them apart: a method, or a part of the net.
    """
    chips = []
    for row in rows:
        variant = "" if row["id"] == first["id"] else row["statement"].rpartition(", ")[2]
        chips.append(f'<a class="to" href="{_scorecard(row)}">{_word(row, variant)}</a>')
    return " ".join(chips)


def _word(row: Row, variant: str = "") -> str:
    of = f", {variant}" if variant else ""
    return chip(row["verdict"], f"{row['verdict']} at {row['scale']}{of}")


def _scorecard(row: Row) -> str:
    return escape(f"scorecard.html#{anchor(row)}")


def _short(row: Row) -> str:
    """The first sentence of a verdict's reasons."""
    sentence = row["why"].split(". ")[0].rstrip(".") + "."
    return prose(sentence[:1].upper() + sentence[1:])


def carried(rows: Sequence[Row]) -> HTML:
    """Every claim behind each rule with its word and its reasons at every scale about it."""
    parts = []
    for rule in RULES:
        lines = _claims(found(rows, rule.rests_on)) + _claims(found(rows, rule.beside))
        none = "<p>No claim about this is judged at any scale.</p>"
        parts.append(
            f"<section><h3>{escape(rule.question)}</h3>{f'<ul>{lines}</ul>' if lines else none}"
            "</section>"
        )
    return HTML(f'<div class="sgdnoise-rules">{"".join(parts)}</div>')


def _claims(rows: Sequence[Row]) -> str:
    """A list item for each claim; scales without any runs are named only if there are no others."""
    items = []
    for name in dict.fromkeys(row["id"] for row in rows):
        mine = [row for row in rows if row["id"] == name]
        lines = [_verdict(row) for row in mine if row["verdict"] != "not measured"]
        waiting = [row for row in mine if row["verdict"] == "not measured"]
        waiting = [row for row in waiting if row["runs"]] or ([] if lines else waiting)
        if waiting:
            why = "; ".join(f"{row['scale']}: {row['why'].rstrip('.')}" for row in waiting)
            lines.append(f"<p>{chip('not measured')} {prose(why)}.</p>")
        first = mine[0]
        items.append(
            f'<li><p class="statement"><a href="{_scorecard(first)}">{escape(_said(first))}</a> '
            f'<span class="where">{escape(first["where"])}</span></p>{"".join(lines)}</li>'
        )
    return "".join(items)


def _verdict(row: Row) -> str:
    why = row["why"][:1].upper() + row["why"][1:]
    page = f' <a href="{_UP}{escape(row["page"])}">Its figures</a>' if row["page"] else ""
    return f"<p>{_word(row)} {prose(why)}{page}</p>"


def recipe(rows: Sequence[Row]) -> HTML:
    """What to do under each budget, and the claim that says so with its word."""
    lines = []
    for one in (answer(rule, rows) for rule in RECIPE):
        claim = (
            f'<a href="{_scorecard(one.rows[0])}">{escape(_said(one.rows[0]))}</a> '
            f"{_chips(one.rows, one.rows[0])}"
            if one.rows
            else chip("not measured")
        )
        lines.append(
            f'<tr><th scope="row">{escape(one.rule.question)}</th>'
            f"<td>{escape(one.advice)}</td><td>{claim}</td></tr>"
        )
    return HTML(
        '<div class="sgdnoise-rules"><table><thead><tr><th scope="col">What is fixed</th>'
        '<th scope="col">What to do</th><th scope="col">The claim behind it</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def boundaries(reading: Reading) -> Markdown:
    """The boundary batch size of each method with its interval, where its sweeps are complete."""
    study = reading.study
    if not reading.records or reading.waiting or study.seeds < 2:
        return _missing(reading)
    said = []
    for method, fit in reading.regimes.items():
        end = f"B = {fit.boundary}" if fit.flat_seen else "the largest batch tried"
        said.append(f"that of {NAMES[method]} with a slope of {fit.slope}, up to {end}")
    return Markdown(
        f"At scale `{study.scale}` the tuned learning rate grows with the batch size: "
        f"{'; '.join(said)}. A slope of 1 is proportional, and the brackets are 95 % intervals."
    )


def disagreement(store: Store, scale: str = "cpu") -> Markdown:
    """Which paper holds where they disagree, a sentence each, and how many runs are missing."""
    study = study_of("discriminating", scale)
    reading = Reading(study, store.read(*study.place))
    found = findings(study.experiment.name)
    said = [found.held_lines(reading)]
    if reading.missing:
        words = {claim.id: claim.judge(reading).word for claim in found.CLAIMS}
        asked = len(study.needed(reading.records))
        said.append(
            f"*{len(reading.missing):,} of {asked:,} runs behind this are missing, which "
            f"`{study.command}` makes.{_arms_to_come(reading, words)}*"
        )
    return Markdown("\n\n".join(said))


def _arms_to_come(reading: Reading, words: Mapping[str, str]) -> str:
    """That a gap, once it is measured, asks for runs that are not among the missing ones yet."""
    left_out = len(reading.states) < len(reading.study.experiment.sweeps[reading.study.scale]())
    if not left_out or words["H17-C1.no-inherent-gap"] != "not measured":
        return ""
    return " If they show a gap, more follow: the runs that could close it."


def _missing(reading: Reading) -> Markdown:
    """What is to be run before there is anything to show, and by which command."""
    study = reading.study
    there = "Nothing" if not reading.records else "Not all of it"
    return Markdown(
        f"*{there} has been run of `{study.experiment.name}` at scale `{study.scale}`. "
        f"`{study.command}` runs it.*"
    )


def epoch_budget(store: Store, scale: str = "digits") -> Reading:
    """The sweeps of the constant epoch budget at a scale."""
    study = study_of("constant-epoch", scale)
    return Reading(study, store.read(*study.place))


# --- What the book stands on --------------------------------------------------------------------


def scales(store: Store) -> Markdown:
    """What has been run at each scale: how many runs, of which nets, on which data, and where.

    Runs that no grid asks for do not count. Those that only check parts of the code stand apart.
    """
    files = [(study, asked_for(study, store.read(*study.place))) for study in studies()]
    measuring = [
        (study.scale, file) for study, file in files if study.experiment.name != "parts-checked"
    ]
    every = each_once((study.scale, file) for study, file in files)
    checks = len(every) - len(each_once(measuring))
    lines, empty, devices = [], [], set()
    for scale in SCALES:
        records = each_once(one for one in measuring if one[0] == scale)
        if not records:
            empty.append(f"`{scale}`")
            continue
        devices |= {str(r.provenance.get("device", "unknown")).split(",")[0] for r in records}
        nets = _nets([record.config for record in records])
        lines.append(f"- `{scale}`: {len(records):,} runs of {nets}.")
    if not lines:
        return Markdown(
            "**Nothing has been run yet.** `sgdnoise reproduce all --scale digits` begins."
        )
    if checks:
        some = "1 more run checks" if checks == 1 else f"{checks:,} more runs check"
        lines.append(f"- {some} parts of the code.")
    gpu = "No run comes from a GPU." if devices == {"CPU"} else ""
    more = f"Nothing has been run yet at scale {' or '.join(empty)}." if empty else ""
    return Markdown("\n".join([*lines, "", f"{gpu} {more}".strip()]))


def _nets(configs: Iterable[RunConfig]) -> str:
    """The nets of some runs, the one with most runs first, with their sizes and their data."""
    groups = collections.defaultdict(list)
    for config in configs:
        groups[config.model].append(config)
    said = []
    for model, mine in sorted(groups.items(), key=lambda item: -len(item[1])):
        net, data = (FACTS[name][1](mine) for name in ("net", "data"))
        said.append(f"{net} ({_parameters(model)} parameters) on {data}")
    return "; and of ".join(said)


@functools.cache
def _parameters(model: str) -> str:
    return f"{count_parameters(build(model)):,}"
