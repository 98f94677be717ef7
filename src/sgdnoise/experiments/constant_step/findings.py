"""What the records say of S20's table 1."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sgdnoise.analysis.intervals import Interval
from sgdnoise.figures.tables import exponent_with_bar, with_spread
from sgdnoise.papers.numbers import table


def step_budget_table(optima: pd.DataFrame) -> pd.DataFrame:
    """Our rows in the form of S20's table 1."""
    rows = optima.sort_values("batch_size")
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


def step_budget_verdicts(optima: pd.DataFrame, slope: Interval) -> str:
    """What of S20's table 1 these records show and what not, from the numbers; Markdown."""
    rows = optima.sort_values("batch_size").reset_index(drop=True)
    fresh, spread = rows.test_accuracy_fresh, rows.test_accuracy_fresh_std
    error = spread / np.sqrt(rows.fresh_seeds)
    peak, last = int(np.nanargmax(fresh.to_numpy(dtype=float))), len(rows) - 1
    fall = float(fresh[peak] - fresh[last])
    doubt = float(np.hypot(error[peak], error[last]))
    rise = float(fresh[peak] - fresh[0])
    inside = rise > 2 * float(np.hypot(error[peak], error[0])) and fall > 2 * doubt
    lines = [
        f"- **The accuracy peaks inside the range**: by fresh seeds the best of "
        f"{rows.batch_size[0]} to {rows.batch_size[last]} is B = {rows.batch_size[peak]}; "
        + (
            "both ends are worse by more than two standard errors."
            if inside
            else "not shown, for not both ends are worse by more than two standard errors."
        ),
        *_after_the_peak(rows, peak, fall, doubt),
        f"- **The tuned learning rate against batch size** has log-log slope {slope} over all "
        "batch sizes; equal steps and equal noise would need 0.5 under small learning rates, "
        "equal temperature 1.",
        f"- **How far these runs reach**: {_reach(float(rows.train_loss_mean[last]))}",
    ]
    return "\n".join(lines)


def _after_the_peak(rows: pd.DataFrame, peak: int, fall: float, doubt: float) -> list[str]:
    """What the largest batch loses against the peak, and whether its training loss falls on."""
    last = len(rows) - 1
    if peak == last:
        return [
            "- **The largest batch is worse at equal updates**: it is the best one here, so this "
            "is not shown, and there is no peak whose training loss to compare."
        ]
    ours, best = rows.train_loss_mean[last], rows.train_loss_mean[peak]
    return [
        f"- **The largest batch is worse at equal updates**: by {fall:.2f} ± {doubt:.2f} points "
        f"(standard error); " + ("this is shown." if fall > 2 * doubt else "this is not shown."),
        f"- **Its training loss is nonetheless lower than at the peak**: {ours:.3g} against "
        f"{best:.3g}; " + ("yes." if ours < best else "it is not."),
    ]


def _reach(loss: float) -> str:
    """How the training loss at our largest batch stands to those of S20, which fits its data."""
    theirs = table("S20-T1").sort_values("batch_size")
    first = theirs.iloc[0]
    peak = theirs.iloc[int(theirs.test_accuracy.argmax())]
    said = (
        f"at the largest batch the final training loss is {loss:.3g}, in S20 "
        f"{first.train_loss:.3g} at the smallest batch and {peak.train_loss:.3g} at the peak. "
    )
    if loss > first.train_loss:
        return (
            said + "By that, all of S20's range lies beyond: here every batch leaves data unfitted."
        )
    if loss > peak.train_loss:
        return said + "By that, S20's peak lies beyond."
    return said + "By that, S20's peak lies within."
