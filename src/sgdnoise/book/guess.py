"""A box in which a reader says what they expect before they see what was measured.

While it is open and nothing is revealed, `figures/static/guess.js` hides what follows on the page.
There is none where sweeps are not complete, or nothing finite was measured at a batch size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape

import numpy as np
from IPython.display import HTML, Markdown

from sgdnoise.analysis import Reading
from sgdnoise.figures.tables import power_of_two

ID = "guess"
"""With which as fragment a link opens the box."""


def rates(reading: Reading, method: str = "momentum") -> HTML | Markdown:
    """What the tuned effective learning rate of a method does over the batch sizes."""
    if not reading.records or reading.waiting:
        return Markdown("")
    rows = reading.optima()
    rows = rows[rows.method == method].sort_values("batch_size")
    if not np.isfinite(rows.peak).all():
        return Markdown("")
    low, high = math.floor(rows.peak.min()) - 2, math.ceil(rows.peak.max()) + 2
    labels = [power_of_two(exponent) for exponent in range(low, high + 1)]
    return _box(
        "Where does the best learning rate lie at each batch size?",
        rows.batch_size.tolist(),
        rows.peak.tolist(),
        low,
        labels,
        ("best effective learning rate", "factors of two"),
    )


def accuracies(reading: Reading) -> HTML | Markdown:
    """What the accuracy of fresh seeds at the tuned rate does over the batch sizes."""
    if not reading.records or reading.waiting:
        return Markdown("")
    rows = reading.optima().sort_values("batch_size")
    reached = rows.test_accuracy_fresh
    if not np.isfinite(reached).all():
        return Markdown("")
    middle = round(float(reached.mean()))
    # Room on either side, in whole points, for guesses that are far off.
    room = max(3, 2 * math.ceil(float(reached.max() - reached.min())))
    low, high = max(0, middle - room), min(100, middle + room)
    labels = [f"{value} %" for value in range(low, high + 1)]
    return _box(
        "Which test accuracy does each batch size reach, at its best learning rate?",
        rows.batch_size.tolist(),
        reached.tolist(),
        low,
        labels,
        ("test accuracy", "points"),
    )


def _box(
    question: str,
    sizes: Sequence[int],
    measured: Sequence[float],
    low: int,
    labels: Sequence[str],
    named: tuple[str, str],
) -> HTML:
    """The box.

    Args:
        question: what is asked.
        sizes: the batch sizes, shape (n,).
        measured: what came out at each, shape (n,).
        low: the first position of every slider; further ones are one unit apart.
        labels: what the positions are called.
        named: what is measured, and the unit of a guess's error.
    """
    content = {
        "x": [int(size) for size in sizes],
        "y": [round(float(value), 3) for value in measured],
        "low": low,
        "high": low + len(labels) - 1,
        "step": 1,
        "labels": list(labels),
        "name": named[0],
        "unit": named[1],
    }
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    return HTML(
        f'<details class="sgdnoise-guess" id="{ID}">'
        "<summary>Guess first: hide what follows</summary>"
        f"<p>{escape(question)} What follows is hidden until you have guessed or closed this "
        "box.</p>"
        f'<script type="application/json">{data}</script></details>'
    )
