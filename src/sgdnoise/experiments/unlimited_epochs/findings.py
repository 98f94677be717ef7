"""What the records say of S20's figure 2."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise.analysis.intervals import Interval
from sgdnoise.experiments import Key
from sgdnoise.figures.theme import (
    Source,
    figure,
    provenance,
)
from sgdnoise.figures.tuned import PURPOSES, ticks_at, tuned_rates
from sgdnoise.papers.numbers import printed
from sgdnoise.records.record import Record


def rates_against_epochs(
    optima: Mapping[str, pd.DataFrame], slopes: Mapping[str, Interval], note: Source
) -> go.Figure:
    """S20's figure 2c or 2d: the learning rate tuned for the test set and for the training loss."""
    fig = figure(
        x="epochs",
        x_unit=None,
        y="tuned effective learning rate ε/(1−m)",
        y_unit=None,
        log="xy",
        alt="Tuned effective learning rate against epochs, for test accuracy and training loss",
    )
    for k, (objective, rows) in enumerate(optima.items()):
        rows = rows[rows.exponent.notna()].sort_values("epochs")
        name = f"{PURPOSES[objective]}, slope {slopes[objective].value:.2f}"
        tuned_rates(fig, k, rows, "peak", name)
    ticks_at(fig, next(iter(optima.values())).epochs)
    return provenance(fig, note)


def unlimited_verdicts(optima: Mapping[str, pd.DataFrame], slopes: Mapping[str, Interval]) -> str:
    """What of S20's figure 2 these records show and what not, from the numbers; Markdown."""
    test, train = slopes["test_accuracy"], slopes["train_loss"]
    rows = optima["train_loss"].sort_values("epochs")
    falls = bool((np.diff(rows.train_loss_mean) < 0).all())
    factor = printed("S20-F2.epoch_factor").value

    def beside(slope: Interval, fall: float) -> str:
        theirs = -np.log2(fall) / np.log2(factor)
        if slope.low <= theirs <= slope.high:
            verdict = "the interval holds it"
        elif slope.low > theirs:
            verdict = "here it falls less, or not at all"
        else:
            verdict = "here it falls more" if slope.high < theirs else "there is no interval"
        return (
            f"the slope against the budget is {slope}. In S20 it falls by a factor {fall:g} over "
            f"{factor:g} in epochs, a slope of {theirs:.2f}: {verdict}."
        )

    lines = [
        f"- **The learning rate for the test set**: "
        f"{beside(test, printed('S20-F2.test_lr_fall').value)}",
        f"- **The learning rate for the training loss**: "
        f"{beside(train, printed('S20-F2.train_lr_fall').value)}",
        "- **The one for the test set falls less**: "
        + (
            "the intervals do not touch."
            if test.low > train.high
            else "not shown; the intervals overlap, or the order is the other one."
        ),
        f"- **The training loss falls with every doubling**: {'yes' if falls else 'no'}.",
    ]
    return "\n".join(lines)


def weight_decay_verdict(slopes: Mapping[Key, Mapping[str, Interval]]) -> str:
    """Whether weight decay is why the rate for the training loss does not fall; Markdown.

    The test was fixed before its runs: without weight decay the slope is negative, and below the
    one with it, by intervals that do not touch.

    Args:
        slopes: of log learning rate against log epochs, by variant and objective.

    Returns:
        Empty for a page that does not have both variants.
    """
    without_decay = slopes.get((("weight_decay", 0.0),))
    with_decay = slopes.get(())
    if without_decay is None or with_decay is None:
        return ""
    free, held = without_decay["train_loss"], with_decay["train_loss"]
    if not np.isfinite([free.high, held.low]).all():
        return "The runs that test this are not complete."
    borne_out = free.high < 0 and free.high < held.low
    return (
        f"So the experiment was repeated without weight decay, the test fixed before its runs. "
        f"The slope of the rate for the training loss is {free} without weight decay and {held} "
        "with it: "
        + (
            "**the guess is borne out**, the rate falls once nothing holds the loss up."
            if borne_out
            else "**the guess is not borne out**; the reason is another one."
        )
    )


def interpolation_sentence(optima: pd.DataFrame, records: Mapping[str, Record]) -> str:
    """How much of the training set the longest runs fit, which a small training loss hides."""
    longest = optima.epochs.max()
    fitted = [
        float(record.metrics["train_accuracy"] or 0.0)
        for record in records.values()
        if record.config.epochs == longest and record.metrics.get("train_accuracy") is not None
    ]
    if not fitted:
        return ""
    share = sum(value == 100 for value in fitted) / len(fitted)
    return (
        f"After {longest:,g} epochs {share:.0%} of the runs that did not diverge classify every "
        "training image rightly."
    )
