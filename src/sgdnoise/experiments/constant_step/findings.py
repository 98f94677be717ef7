"""What the records say of S20's table 1."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sgdnoise.analysis import Reading
from sgdnoise.analysis.tuning import fresh_accuracy
from sgdnoise.claims import Claim, Verdict, Word, within
from sgdnoise.figures.tables import exponent_with_bar, with_spread
from sgdnoise.papers.numbers import table


def step_budget_table(reading: Reading) -> pd.DataFrame:
    """Our rows in the form of S20's table 1."""
    rows = reading.optima(variant=()).sort_values("batch_size")
    return pd.DataFrame(
        {
            "Batch size": rows.batch_size,
            "Optimal test accuracy (%)": [
                with_spread(m, s)
                for m, s in zip(rows.test_accuracy_mean, rows.test_accuracy_std, strict=True)
            ],
            "Fresh seeds (%)": [
                with_spread(m, s)
                for m, s in zip(rows.test_accuracy_fresh, rows.test_accuracy_fresh_std, strict=True)
            ],
            "Final training loss": [f"{m:.3g}" for m in rows.train_loss_mean],
            "Optimal effective learning rate": [
                exponent_with_bar(e, low, high, bound)
                for e, low, high, bound in zip(
                    rows.exponent, rows.bar_low, rows.bar_high, rows.bound, strict=True
                )
            ],
        }
    )


def printed_step_budget_table() -> pd.DataFrame:
    """S20's table 1 in the same form."""
    rows = table("S20-T1")
    return pd.DataFrame(
        {
            "Batch size": rows.batch_size,
            "Optimal test accuracy (%)": [
                f"{m:.1f} ± {s:.1f}"
                for m, s in zip(rows.test_accuracy, rows.test_accuracy_std, strict=True)
            ],
            "Final training loss": [f"{m:.3f}" for m in rows.train_loss],
            "Optimal effective learning rate": [
                exponent_with_bar(e, low, high, 0)
                for e, low, high in zip(rows.exponent, rows.bar_low, rows.bar_high, strict=True)
            ],
        }
    )


def _rows(reading: Reading) -> pd.DataFrame:
    return reading.optima(variant=()).sort_values("batch_size").reset_index(drop=True)


def _peak(rows: pd.DataFrame) -> int:
    return int(np.nanargmax(rows.test_accuracy_fresh.to_numpy(dtype=float)))


def peaks_inside(reading: Reading) -> Verdict:
    """Whether both the smallest and the largest batch are worse than the best one."""
    rows = _rows(reading)
    peak, last = _peak(rows), len(rows) - 1
    falls = [fresh_accuracy(rows.loc[peak]) - fresh_accuracy(rows.loc[end]) for end in (0, last)]
    inside = all(fall.low > 0 for fall in falls)
    why = (
        f"by fresh seeds the best of {rows.batch_size[0]} to {rows.batch_size[last]} is B = "
        f"{rows.batch_size[peak]}; "
        + (
            "both ends are worse by more than two standard errors."
            if inside
            else "not shown, for not both ends are worse by more than two standard errors."
        )
    )
    word: Word = "reproduced" if inside else "undecided"
    return Verdict(word, why, float(np.log2(rows.batch_size[peak])))


def largest_is_worse(reading: Reading) -> Verdict:
    """Whether the largest batch does worse than the best one at equal updates."""
    rows = _rows(reading)
    peak, last = _peak(rows), len(rows) - 1
    if peak == last:
        return Verdict(
            "undecided",
            "it is the best one here, so this is not shown, and there is no peak whose training "
            "loss to compare.",
        )
    fall = fresh_accuracy(rows.loc[peak]) - fresh_accuracy(rows.loc[last])
    shown = fall.low > 0
    why = f"by {fall.value:.2f} ± {fall.error:.2f} points (standard error); this is " + (
        "shown." if shown else "not shown."
    )
    return within(why, fall.interval, "reproduced" if shown else "undecided")


def _all_lost(reading: Reading) -> str:
    found = np.isfinite(_rows(reading).test_accuracy_fresh).any()
    return "" if found else "every run diverged."


def _no_peak(reading: Reading) -> str:
    if lost := _all_lost(reading):
        return lost
    rows = _rows(reading)
    return "" if _peak(rows) < len(rows) - 1 else "the largest batch is the best one here."


def loss_lower(reading: Reading) -> Verdict:
    """Whether the training loss at the largest batch is below that at the peak."""
    rows = _rows(reading)
    ours, best = (rows.train_loss_mean[at] for at in (len(rows) - 1, _peak(rows)))
    why = f"{ours:.3g} against {best:.3g}; " + ("yes." if ours < best else "it is not.")
    return Verdict(
        "reproduced" if ours < best else "contradicted", why, float(np.log2(ours / best))
    )


def slope(reading: Reading) -> str:
    """How the tuned learning rate grows with the batch size, in Markdown."""
    return (
        "The tuned learning rate against batch size has log-log slope "
        f"{reading.slope('batch_size', variant=())} over all batch sizes; equal steps and equal "
        "noise would need 0.5 under small learning rates, equal temperature 1."
    )


def reach(reading: Reading) -> str:
    """How the training loss at our largest batch stands to those of S20, which fits its data."""
    loss = float(_rows(reading).train_loss_mean.iloc[-1])
    theirs = table("S20-T1").sort_values("batch_size")
    first = theirs.iloc[0]
    peak = theirs.iloc[int(theirs.test_accuracy.argmax())]
    said = (
        f"At the largest batch the final training loss is {loss:.3g}, in S20 "
        f"{first.train_loss:.3g} at the smallest batch and {peak.train_loss:.3g} at the peak. "
    )
    if loss > first.train_loss:
        return (
            said + "By that, all of S20's range lies beyond: here every batch leaves data unfitted."
        )
    if loss > peak.train_loss:
        return said + "By that, S20's peak lies beyond."
    return said + "By that, S20's peak lies within."


CLAIMS = (
    Claim("S20-T1.peak-inside", peaks_inside, needs=_all_lost),
    Claim("S20-T1.largest-worse", largest_is_worse, needs=_all_lost),
    Claim("S20-T1.loss-lower", loss_lower, needs=_no_peak),
)
