"""What the records say of S20's figure 2."""

from __future__ import annotations

from functools import partial

import numpy as np
import plotly.graph_objects as go

from sgdnoise.analysis import Reading
from sgdnoise.claims import Claim, Verdict, Word, within
from sgdnoise.figures.theme import figure, provenance
from sgdnoise.figures.tuned import source, ticks_at, tuned_rates
from sgdnoise.papers.numbers import printed
from sgdnoise.study.grid import Key

WITH_NORM: Key = (("norm", "ghost"),)
WITHOUT_NORM: Key = (("norm", "none"),)
NO_DECAY: Key = (("weight_decay", 0.0),)


def rates_against_epochs(reading: Reading, variant: Key | None = None) -> go.Figure:
    """S20's figure 2c or 2d: the learning rate tuned for the test set and for the training loss."""
    fig = figure(
        x="epochs",
        x_unit=None,
        y="tuned effective learning rate ε/(1−m)",
        y_unit=None,
        log="xy",
        alt="Tuned effective learning rate against epochs, for test accuracy and training loss",
    )
    for k, objective in enumerate(reading.objectives):
        rows = reading.optima(objective.name, variant)
        ticks_at(fig, rows.epochs)
        rows = rows[rows.exponent.notna()].sort_values("epochs")
        slope = reading.slope("epochs", objective.name, variant)
        tuned_rates(fig, k, rows, "peak", f"{objective.purpose}, slope {slope.value:.2f}")
    fig.update_yaxes(dtick=np.log10(2), tickformat="~g")
    return provenance(fig, source(reading))


def _has(reading: Reading, variant: Key) -> bool:
    return variant in reading.variants


def falls(reading: Reading, objective: str, factor: str, variant: Key) -> Verdict:
    """Whether a tuned learning rate falls with the budget as S20 has it."""
    slope = reading.slope("epochs", objective, variant)
    word: Word
    fall, over = printed(f"S20-F2.{factor}").value, printed("S20-F2.epoch_factor").value
    theirs = -float(np.log2(fall) / np.log2(over))
    if slope.low <= theirs <= slope.high:
        word, said = "reproduced", "the interval holds it"
    elif slope.low > theirs:
        word, said = "contradicted", "here it falls less, or not at all"
    elif slope.high < theirs:
        word, said = "contradicted", "here it falls more"
    else:
        word, said = "undecided", "there is no interval"
    why = (
        f"the slope against the budget is {slope}. In S20 it falls by a factor {fall:g} over "
        f"{over:g} in epochs, a slope of {theirs:.2f}: {said}."
    )
    return within(why, slope, word)


def falls_less(reading: Reading, variant: Key) -> Verdict:
    """Whether the rate for the test set falls less than that for the training loss."""
    test, train = (reading.slope("epochs", o, variant) for o in ("test_accuracy", "train_loss"))
    gap = test.value - train.value
    if test.low > train.high:
        return Verdict("reproduced", "the intervals do not touch.", gap)
    why = "not shown; the intervals overlap, or the order is the other one."
    return Verdict("undecided", why, gap if np.isfinite(gap) else None)


def loss_falls(reading: Reading, variant: Key) -> Verdict:
    """Whether the tuned training loss falls with every doubling of the budget."""
    rows = reading.optima("train_loss", variant).sort_values("epochs")
    down = bool((np.diff(rows.train_loss_mean) < 0).all())
    return Verdict("reproduced" if down else "undecided", "yes." if down else "no.")


def weight_decay(reading: Reading) -> Verdict:
    """Whether weight decay is why the rate for the training loss does not fall.

    The test was fixed before its runs: without weight decay the slope is negative, and below the
    one with it, by intervals that do not touch.
    """
    free, held = (reading.slope("epochs", "train_loss", variant) for variant in (NO_DECAY, ()))
    if not np.isfinite([free.high, held.low]).all():
        return Verdict("undecided", "there is no interval.")
    borne_out = free.high < 0 and free.high < held.low
    why = (
        "So the experiment was repeated without weight decay, the test fixed before its runs. "
        f"The slope of the rate for the training loss is {free} without weight decay and {held} "
        "with it: "
        + (
            "**the guess is borne out**, the rate falls once nothing holds the loss up."
            if borne_out
            else "**the guess is not borne out**; the reason is another one."
        )
    )
    return within(why, free, "reproduced" if borne_out else "absent")


def interpolation(reading: Reading) -> str:
    """How much of the training set the longest runs fit, which a small training loss hides."""
    longest = reading.optima().epochs.max()
    fitted = [
        float(record.metrics["train_accuracy"] or 0.0)
        for record in reading.records.values()
        if record.config.epochs == longest and record.metrics.get("train_accuracy") is not None
    ]
    if not fitted:
        return ""
    share = sum(value == 100 for value in fitted) / len(fitted)
    return (
        f"After {longest:,g} epochs {share:.0%} of the runs that did not diverge classify every "
        "training image rightly."
    )


def _claims(suffix: str, variant: Key) -> tuple[Claim, ...]:
    """What S20 says of figure 2, of the sweeps of one variant."""
    there = partial(_has, variant=variant)
    test = partial(falls, objective="test_accuracy", factor="test_lr_fall", variant=variant)
    train = partial(falls, objective="train_loss", factor="train_lr_fall", variant=variant)
    less, down = (partial(judge, variant=variant) for judge in (falls_less, loss_falls))
    return (
        Claim(f"S20-F2.rate-for-test.{suffix}", test, there=there),
        Claim(f"S20-F2.rate-for-loss.{suffix}", train, there=there),
        Claim(f"S20-F2.test-falls-less.{suffix}", less, there=there),
        Claim(f"S20-F2.loss-falls.{suffix}", down, there=there),
    )


VARIANTS = {WITH_NORM: "norm", WITHOUT_NORM: "no-norm", (): "plain", NO_DECAY: "no-decay"}
"""The variants of the sweeps at all scales, as the ids of their claims end."""

ARGUED = {variant: f"S20-F2.test-falls-less.{suffix}" for variant, suffix in VARIANTS.items()}
"""The claim that figures 2c and 2d argue, by variant."""

CLAIMS = (
    *(claim for variant, suffix in VARIANTS.items() for claim in _claims(suffix, variant)),
    Claim("S20-F2.weight-decay", weight_decay, there=partial(_has, variant=NO_DECAY)),
)
