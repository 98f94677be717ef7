"""Tables of the chapter on errata, and its sentences with numbers in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from sgdnoise.chapters import errata_s20, short
from sgdnoise.chapters.errata import DOUBTS, ERRATA, SLIPS, erratum
from sgdnoise.chapters.errata_g20 import (
    BASELINE,
    CURVE_SIZES,
    FIRST_EPOCH,
    SPREADS,
    gradient_curve,
    printed_law,
)
from sgdnoise.chapters.errata_h17 import matched_rates
from sgdnoise.chapters.erratum import ERRORS, Comparison
from sgdnoise.data.sizes import train_size
from sgdnoise.papers.numbers import printed


def _table(rows: Iterable[Mapping[str, object]]) -> HTML:
    """Rows as a table whose cells may hold links, in the first row's order."""
    safe = [{key: _cell(str(cell)) for key, cell in row.items()} for row in rows]
    frame = pd.DataFrame(safe).fillna("")
    return HTML(frame.to_html(index=False, justify="left", border=0, escape=False))


def _cell(text: str) -> str:
    """A cell in which only a link of this module is read as HTML."""
    return text if text.startswith("<a ") else form(text)


def form(text: str) -> str:
    """Plain text as HTML: what stands after _ or in braces after _ or ^ is lowered or raised."""
    lowered = re.sub(r"_(?:\{(.*?)\}|(\w+))", r"<sub>\1\2</sub>", escape(text))
    return re.sub(r"\^\{(.*?)\}", r"<sup>\1</sup>", lowered)


def _link(name: str, section: str) -> str:
    return f'<a href="#{section}">{name}</a>'


def anchor(name: str) -> str:
    """The id of an erratum's section in the page."""
    return name.lower().replace(".", "-")


SLIPS_SECTION = "slips-of-the-text"
"""The id of the section of all slips."""


def opening() -> Markdown:
    """What the first figure shows, and how many errata are confirmed."""
    none, some = (gradient_curve(spread) for spread in SPREADS)
    over = printed_law(np.array(CURVE_SIZES, dtype=np.float64)) / none.mean
    largest = CURVE_SIZES[-1]
    share = some.mean[-1] / printed_law(float(largest))
    assert abs(over.mean() - np.sqrt(2)) < 0.02 < 1 < share  # or the sentence is not true
    count = sum(e.confirmed for e in ERRATA)
    return Markdown(
        f"**G20's law for the mean size of a gradient is {over.mean():.2f} times the simulated one "
        f"at every batch size. With a little true gradient in the layer, σ/{1 / SPREADS[-1]:g}, "
        f"that size is {share:.0f} times the printed law at n = {largest:,}. "
        f"{_all(count, len(ERRATA))} corrections below are confirmed: the simulation has the "
        "corrected number, and excludes the one that is printed or implied.**"
    )


def _all(count: int, of: int) -> str:
    return f"All {of}" if count == of else f"{count} of {of}"


def overview() -> HTML:
    """Every erratum: paper, place, what is wrong, its kind, and whether it is confirmed."""
    rows = [
        {
            "erratum": _link(e.id, anchor(e.id)),
            "place": f"{e.paper}, {e.place}",
            "what is wrong": e.wrong,
            "kind": e.kind,
            "confirmed": "yes" if e.confirmed else "no",
        }
        for e in ERRATA
    ]
    rows += [
        {
            "erratum": _link(s.id, SLIPS_SECTION),
            "place": f"{s.paper}, {s.place}",
            "what is wrong": s.wrong,
            "kind": "text",
            "confirmed": _arithmetic(s.arithmetic() if s.arithmetic else None)[0],
        }
        for s in SLIPS
    ]
    rows += [
        {
            "erratum": _link(d.id, "not-confirmed"),
            "place": f"{d.paper}, {d.place}",
            "what is wrong": d.objection,
            "kind": "objection",
            "confirmed": "no",
        }
        for d in DOUBTS
    ]
    return _table(rows)


def _arithmetic(result: tuple[bool, str] | None) -> tuple[str, str]:
    """The word for a slip, and its numbers."""
    if result is None:
        return "by reading", ""
    holds, told = result
    return ("yes" if holds else "no"), told


def _number(value: float, digits: int = 4) -> str:
    """A number of so many digits, with a proper minus sign."""
    text = short(value) if value and abs(value) < 1e-4 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def _row(comparison: Comparison) -> dict[str, str]:
    c = comparison
    exact = c.error <= 1e-9 * max(1.0, abs(c.simulated))
    off = "counted" if c.error == 0 else "rounding" if exact else f"± {_number(c.error, 2)}"
    return {
        "quantity": c.quantity.replace(" = ", "\u00a0=\u00a0"),
        "printed": _number(c.printed),
        "corrected": _number(c.corrected),
        "simulated": _number(c.simulated if c.error == 0 or not exact else round(c.simulated, 10)),
        "standard error": off,
        "agrees with": "corrected" if c.agrees and c.excludes else _other(c),
    }


def _other(c: Comparison) -> str:
    if c.agrees:
        return "both"
    return "neither" if c.excludes else "printed"


def side_by_side(name: str) -> HTML:
    """An erratum's printed and corrected form, and the numbers of both beside the simulation."""
    e = erratum(name)
    forms = (
        f"<p><strong>Printed</strong>, {escape(e.place)}: {form(e.printed)}<br>"
        f"<strong>Corrected</strong>: {form(e.corrected)}</p>"
    )
    return HTML(forms + str(_table(_row(c) for c in e.check()).data))


def slips() -> HTML:
    """The slips of the text, with the arithmetic."""
    rows = []
    for s in SLIPS:
        word, told = _arithmetic(s.arithmetic() if s.arithmetic else None)
        rows.append(
            {
                "slip": s.id.replace("-", "\u2011"),
                "place": s.place,
                "printed": s.printed,
                "should be": s.corrected,
                "confirmed": f"{word}: {told}" if told else word,
            }
        )
    return _table(rows)


def doubts() -> HTML:
    """Objections that are no errata, each with the reason."""
    return _table(
        {
            "objection": d.id.replace("-", "\u2011"),
            "place": d.place,
            "what": d.objection,
            "why not": d.answer(),
        }
        for d in DOUBTS
    )


def rule() -> Markdown:
    """How a verdict is reached."""
    return Markdown(
        "Confirmed means that the simulation agrees with the corrected number and disagrees with "
        f"the printed one, at {ERRORS:g} standard errors both times, in every row of the table. "
        "The simulations draw samples and average them, or try a rule out; neither form goes in."
    )


def first_epoch() -> Markdown:
    """What is larger in G20's first epoch: not the step, but their sum."""
    (n, lr), (base, base_lr) = FIRST_EPOCH, BASELINE
    stride = lr / base_lr * np.sqrt(base / n)
    return Markdown(
        f"A step is {1 / stride:.1f} times smaller, and there are {base // n} times as many in an "
        f"epoch, so that only their sum is larger, {stride * base / n:.1f} times."
    )


def rates() -> Markdown:
    """By how much √M falls short on CIFAR-10."""
    n, small = train_size("cifar10"), int(printed("H17-protocol.small_batch").value)
    told = [
        f"{matched_rates(small, m, n) / np.sqrt(m / small) - 1:.0%} at M = {m:,}"
        for m in (int(printed("H17-protocol.large_batch").value), 16384, 32768)
    ]
    return Markdown(
        f"On CIFAR-10, coming from M = {small}, the learning rate has to be larger than the square "
        f"root says by {told[0]}, {told[1]} and {told[2]}. At H17's own large batch it hardly "
        "matters."
    )


def temperatures() -> Markdown:
    """By how much T = ε/B is too high at the largest batches of S20's table 1."""
    told = [
        f"{1 / errata_s20.finite_temperature(b):.1f} times at B = {b:,}" for b in (16384, 32768)
    ]
    return Markdown(
        f"The printed temperature is too high: {told[0]} and {told[1]}. "
        "S20 assumes N ≫ B, which its table 1 leaves at these rows. "
        "They have even less noise than S20 says, so its conclusion from them stands. "
        "The form is that of independent batches; a reshuffled epoch has less noise still."
    )
