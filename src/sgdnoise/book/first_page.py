"""The first page: what to do with the batch size, each rule as far as its claims carry it.

No number and no word of advice is typed on the page. A sentence of advice belongs to a word, and
the word is that of the claims that the advice rests on.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from IPython.display import HTML, Markdown

from sgdnoise.analysis import Reading, best_means
from sgdnoise.book.scorecard import JUDGED, Row
from sgdnoise.book.scorecard_page import chip, prose
from sgdnoise.config import RunConfig
from sgdnoise.experiments import studies, study_of
from sgdnoise.experiments.constant_epoch.findings import NO_LOSS
from sgdnoise.figures import tuned
from sgdnoise.figures.explorer import Slider, explorer
from sgdnoise.figures.forest import anchor
from sgdnoise.figures.tables import power_of_two
from sgdnoise.models import build, count_parameters
from sgdnoise.records.store import Store
from sgdnoise.study.scales import FACTS, NAMES, SCALES

_UP = "../"
"""From the first page to the top of the built book."""

CAUTION = (
    "contradicted",
    "absent",
    "not measured",
    "not tested here",
    "undecided",
    "reproduced at another size",
    "reproduced",
)
"""The words from the one that says most against a claim on. Advice that rests on several claims
goes by the first of theirs."""


@dataclass(frozen=True)
class Rule:
    """A question of a practitioner, and an answer for each word that its claims may have.

    Attributes:
        question: what is asked, in a few words.
        rests_on: how the ids of the claims that the advice rests on begin, the first to be shown
            first.
        advice: by word, one sentence or two.
        beside: how the ids of claims that belong to it begin, and decide nothing of the advice.
    """

    question: str
    rests_on: tuple[str, ...]
    advice: Mapping[str, str]
    beside: tuple[str, ...] = ()


def _open(what: str, instead: str) -> dict[str, str]:
    """The sentences for the words that decide nothing: what is not known, and what is left to do.

    Args:
        what: that which is not known, after "whether".
        instead: what to do without knowing it.
    """
    return {
        "undecided": f"No rule: these runs cannot tell whether {what}. {instead}",
        "not tested here": f"No rule: no fair test has been made of whether {what}. {instead}",
        "not measured": f"No rule yet: nothing complete has been run that would tell whether "
        f"{what}. {instead}",
    }


RULES = (
    Rule(
        "Epochs fixed: which learning rate?",
        ("S20-F1c.linear-scaling.momentum", "S20-F1c.linear-scaling.sgd"),
        {
            "reproduced": "Double the learning rate when you double the batch size, up to the "
            "boundary.",
            "reproduced at another size": "Raise the learning rate with the batch size up to the "
            "boundary, but not by S20's factor: tune it.",
            "absent": "Leave the learning rate where it is when you change the batch size: the "
            "best one hardly moves.",
            "contradicted": "Do not raise the learning rate in proportion to the batch size: the "
            "best one moves otherwise. Tune it at each batch size.",
            **_open(
                "the best learning rate grows in proportion to the batch size",
                "Tune it at each batch size.",
            ),
        },
        ("S20-F1c.same-rate-below", "S20-F1a.accuracy-flat-below"),
    ),
    Rule(
        "Up to which batch size, the boundary, does it grow?",
        ("S20-F1c.momentum-scales-further",),
        {
            "reproduced": "Raise the learning rate further with momentum than without: the best "
            "one goes on growing beyond the batch size at which plain SGD's stops.",
            "reproduced at another size": "Raise the learning rate further with momentum than "
            "without: the best one grows to a larger batch size, if not by S20's factor.",
            "absent": "Do not count on momentum for larger batches: its learning rate stops "
            "growing where plain SGD's does.",
            "contradicted": "Do not use momentum to reach larger batches: its learning rate stops "
            "growing before plain SGD's does.",
            **_open(
                "the learning rate grows to a larger batch size with momentum than without",
                "Look for the boundary with your own optimiser.",
            ),
        },
        ("S20-F1c.flat-beyond", "S20-F1c.larger-rate-beyond", "S20-F1a.momentum-ahead-beyond"),
    ),
    Rule(
        "Updates fixed: which batch size?",
        ("S20-T1.largest-worse",),
        {
            "reproduced": "Do not take the largest batch that you can afford: the test accuracy "
            "falls beyond some batch size, however many examples you pay for.",
            "reproduced at another size": "Do not take the largest batch that you can afford: the "
            "test accuracy falls beyond some batch size, if not by as much as S20's.",
            "absent": "Take the batch size that is cheapest for you: the largest one tried loses "
            "no accuracy that matters.",
            "contradicted": "Take the largest batch that you can afford: the largest one tried "
            "is the best.",
            **_open(
                "the largest batch is worse than the best one",
                "Try two batch sizes at the number of updates that you can afford.",
            ),
        },
        (
            "S20-T1.peak-inside",
            "S20-T1.loss-lower",
            "H17-T1.large-is-worse",
            "H17-T1.updates-help",
            "H17-T1.no-gap-left",
        ),
    ),
)
"""What the first page answers."""

RECIPE = (
    Rule(
        "The number of epochs",
        ("S20-F1a.accuracy-flat-below",),
        {
            "reproduced": "Take any batch size below the boundary: with plain SGD and a tuned "
            "learning rate all of them reach the same accuracy.",
            "reproduced at another size": "Take any batch size below the boundary: they differ, "
            "if by less than S20's.",
            "absent": "Tune the batch size: no two reach the same accuracy.",
            "contradicted": "Tune the batch size, below the boundary too: the accuracy depends on "
            "it.",
            **_open(
                "all batch sizes below the boundary reach the same accuracy",
                "Try a smaller batch beside yours.",
            ),
        },
    ),
    Rule(
        "The number of updates",
        ("S20-T1.peak-inside",),
        {
            "reproduced": "Try batch sizes between the smallest and the largest: the best one lies "
            "inside.",
            "reproduced at another size": "Try batch sizes between the smallest and the largest: "
            "the best one lies inside, if by another margin than S20's.",
            "absent": "Do not look for a best batch size in between: at least one end of the range "
            "is as good.",
            "contradicted": "Go to an end of the range: the best batch size is not in between.",
            **_open(
                "the best batch size lies between the smallest and the largest",
                "Try three that are far apart.",
            ),
        },
    ),
    Rule(
        "Neither: how long to train?",
        ("S20-F2.accuracy-saturates",),
        {
            "reproduced": "Stop once doubling the epochs gains nothing: the test accuracy "
            "saturates.",
            "reproduced at another size": "Stop once doubling the epochs gains little: the test "
            "accuracy saturates later than S20's.",
            "absent": "Watch the test accuracy: it does not level off as S20's does.",
            "contradicted": "Train on: the last doubling of the epochs still moves the test "
            "accuracy.",
            **_open("the test accuracy saturates", "Double the epochs once, and look."),
        },
    ),
    Rule(
        "Neither: which learning rate?",
        ("S20-F2.rate-for-test",),
        {
            "reproduced": "Keep the learning rate when you train for longer.",
            "reproduced at another size": "Change the learning rate a little when you train for "
            "longer.",
            "absent": "Tune the learning rate anew when you train for longer.",
            "contradicted": "Tune the learning rate anew when you train for longer: the best one "
            "moves.",
            **_open(
                "the best learning rate stays when you train for longer",
                "Tune it at the length at which you will train.",
            ),
        },
    ),
)
"""What to do under each budget, by what is fixed."""


# --- From rows to words -------------------------------------------------------------------------


def found(rows: Sequence[Row], prefixes: Sequence[str]) -> list[Row]:
    """The rows whose ids begin so, in the prefixes' order; without those that are elsewhere."""
    return [
        row
        for prefix in prefixes
        for row in rows
        if row["id"].startswith(prefix) and not row["elsewhere"]
    ]


@dataclass(frozen=True)
class Answer:
    """A rule with the words that its claims got.

    Attributes:
        rule: the question with its sentences.
        rows: of the claims that it rests on, the most cautious one of each scale that has runs,
            the scale that decides first; none where no scale is about it.
    """

    rule: Rule
    rows: tuple[Row, ...]

    @property
    def word(self) -> str:
        """The word that the advice goes by."""
        return str(self.rows[0]["verdict"]) if self.rows else "not measured"

    @property
    def advice(self) -> str:
        """The sentence of that word."""
        return self.rule.advice[self.word]


def answer(rule: Rule, rows: Sequence[Row]) -> Answer:
    """The advice goes by the largest scale whose runs have been asked; scales are not pooled."""
    mine = found(rows, rule.rests_on)
    by_scale = []
    for scale in SCALES:
        here = [row for row in mine if row["scale"] == scale]
        if here:
            by_scale.append(min(here, key=lambda row: CAUTION.index(row["verdict"])))
    judged = [row for row in by_scale if row["verdict"] in JUDGED]
    untested = [row for row in by_scale if row["verdict"] == "not tested here"]
    recorded = [row for row in by_scale if row["runs"]]
    leading = (judged[::-1] or untested[::-1] or recorded or by_scale)[:1]
    others = [row for row in recorded if row not in leading]
    return Answer(rule, (*leading, *others))


# --- What the page shows ------------------------------------------------------------------------


def rules(rows: Sequence[Row]) -> HTML:
    """The three answers: a question, a sentence of advice, and what it rests on, in short."""
    answers = [answer(rule, rows) for rule in RULES]
    items = []
    for one in answers:
        because = ""
        if one.rows:
            first = one.rows[0]
            because = (
                f'<p class="because"><a href="{_scorecard(first)}">{escape(_said(first))}</a>: '
                f"{_chips(one)} {_short(first)}</p>"
            )
        items.append(
            f'<li><p><span class="question">{escape(one.rule.question)}</span> '
            f"<strong>{escape(one.advice)}</strong></p>{because}</li>"
        )
    return HTML(f'<div class="sgdnoise-rules"><ol>{"".join(items)}</ol>{_basis(answers)}</div>')


def _basis(answers: Sequence[Answer]) -> str:
    """Which net and data the answers come from, so that nobody takes them for more."""
    judged = [one.rows[0] for one in answers if one.word in JUDGED]
    if not judged:
        return "<p>Nothing has been run yet that any of these could rest on.</p>"
    said = []
    for place in dict.fromkeys((row["experiment"], row["scale"]) for row in judged):
        said.append(f"{_nets(study_of(*place).needed({}))}, scale {place[1]}")
    return (
        f"<p>Measured on {escape('; and on '.join(dict.fromkeys(said)))}. "
        "A larger net may answer otherwise.</p>"
    )


def _said(row: Row) -> str:
    return str(row["about"] or row["statement"])


def _chips(one: Answer) -> str:
    """The word at each scale, each a link to its row of the scorecard."""
    return " ".join(f'<a class="to" href="{_scorecard(row)}">{_word(row)}</a>' for row in one.rows)


def _word(row: Row) -> str:
    return chip(row["verdict"], f"{row['verdict']} at {row['scale']}")


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
            f'<a href="{_scorecard(one.rows[0])}">{escape(_said(one.rows[0]))}</a> {_chips(one)}'
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
        where = f"B = {fit.boundary}" if fit.flat_seen else "no batch size that was tried"
        said.append(f"{NAMES[method]}: {where}, by a slope of {fit.slope} below it")
    return Markdown(
        f"Where the tuned learning rate stops growing at scale `{study.scale}`, with 95 % "
        f"intervals: {'; '.join(said)}."
    )


def _missing(reading: Reading) -> Markdown:
    """What is to be run before there is anything to show, and by which command."""
    study = reading.study
    there = "Nothing" if not reading.records else "Not all of it"
    return Markdown(
        f"*{there} has been run of `{study.experiment.name}` at scale `{study.scale}`. "
        f"`{study.command}` runs it.*"
    )


# --- The figure ---------------------------------------------------------------------------------


def epoch_budget(store: Store, scale: str = "digits") -> Reading:
    """The sweeps of the constant epoch budget at a scale."""
    study = study_of("constant-epoch", scale)
    return Reading(study, store.read(*study.place))


def picture(reading: Reading) -> Any:
    """Accuracy against batch size at one learning rate, which a slider sets, and at the tuned one.

    Where the sweeps are not complete, what is missing.
    """
    rates = tuned.measured_rates(reading) if reading.records and not reading.waiting else []
    if len(rates) < 2:
        return _missing(reading)
    return explorer(
        lambda exponent: at_one_rate(reading, exponent),
        {"exponent": Slider(rates, label="learning rate ε/(1−m)", format=power_of_two)},
        caption=(
            "Move the learning rate up, and see which batch sizes it suits: there the thick curve "
            f"is within {NO_LOSS:g} points of the dotted one, which is tuned anew at each batch "
            "size. What fails altogether lies below the frame."
        ),
    )


def at_one_rate(reading: Reading, exponent: int) -> Any:
    """One position of the slider, whose title says which batch sizes the learning rate suits."""
    fig = tuned.at_learning_rate(reading, exponent)
    fig.update_layout(title={"text": _finding(reading, exponent)}, height=360)
    return fig


def _finding(reading: Reading, exponent: int) -> str:
    """Which batch sizes a learning rate suits, in a sentence."""
    tried = sorted({int(dict(key)["batch_size"]) for key in reading.tuned()})
    said = [
        f"{_span(sizes, tried)} with {_NAMED.get(method, method)}"
        for method, sizes in suits(reading, exponent).items()
        if sizes
    ]
    where = " and ".join(said) or "no batch size that it was tried at"
    return f"The learning rate {power_of_two(exponent)} suits {where}"


def _span(sizes: Sequence[int], tried: Sequence[int]) -> str:
    """Batch sizes as a range, where all tried ones between the ends belong to it."""
    whole = len(sizes) > 2 and len(sizes) == sum(sizes[0] <= s <= sizes[-1] for s in tried)
    named = [f"{size:,}" for size in sizes]
    return f"B = {f'{named[0]} to {named[-1]}' if whole else ', '.join(named)}"


_NAMED = {"sgd": "plain SGD", "momentum": "momentum"}


def suits(reading: Reading, exponent: int) -> dict[str, list[int]]:
    """By method, the batch sizes at which a learning rate costs at most `NO_LOSS` points."""
    fits: dict[str, list[int]] = {}
    for key, one in sorted(reading.tuned().items(), key=lambda item: dict(item[0])["batch_size"]):
        method, size = dict(key)["method"], int(dict(key)["batch_size"])
        fits.setdefault(method, [])
        means = best_means(one.table, one.objective, one.state.sweep.best)
        best = one.state.tuned.get(one.objective.name)
        for mean in means[one.exponents == exponent]:
            if best is not None and best.cell.mean - mean <= NO_LOSS:
                fits[method].append(size)
    return fits


# --- What the book stands on --------------------------------------------------------------------


def scales(store: Store) -> Markdown:
    """What has been run at each scale: how many runs, of which nets, on which data, and where.

    Runs that only check parts of the code are not among them.
    """
    lines, empty, devices = [], [], set()
    for scale in SCALES:
        own = [study for study in studies(scale) if study.experiment.name != "parts-checked"]
        records = [record for study in own for record in store.read(*study.place).values()]
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
