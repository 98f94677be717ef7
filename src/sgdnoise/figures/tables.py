"""Tables of a page, and numbers as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from IPython.display import HTML


def power_of_two(exponent: float) -> str:
    """A power of two as text: 2⁻³, and 2⁻¹·⁵ between, to a hundredth; the exponent -0 is 0."""
    digits = str.maketrans("-.0123456789", "⁻·⁰¹²³⁴⁵⁶⁷⁸⁹")
    return "2" + f"{round(exponent, 2) + 0.0:g}".translate(digits)


def runs_outside(count: int) -> str:
    """How many runs a figure's frame does not hold."""
    return f"{count:,} {'run lies' if count == 1 else 'runs lie'} outside of this frame"


def with_spread(mean: float, std: float) -> str:
    """A mean with its standard deviation, in percent."""
    if not np.isfinite(mean):
        return "–"
    return f"{mean:.2f} ± {std:.2f}" if np.isfinite(std) else f"{mean:.2f} (one seed)"


def exponent_with_bar(exponent: float, low: float, high: float, bound: float) -> str:
    """A tuned learning rate with S20's error bar."""
    if not np.isfinite(exponent):
        return "all diverged"
    return f"{bounded_power(exponent, bound)} ({power_of_two(low)} to {power_of_two(high)})"


def bounded_power(exponent: float, bound: float) -> str:
    """A power of two that an optimum still on its grid's edge (`bound` ±1) only bounds."""
    return power_of_two(exponent) + {1: " or more", -1: " or less"}.get(int(bound), "")


def html_table(frame: pd.DataFrame) -> HTML:
    """A table as plain HTML, which follows the page into the dark; pandas' own style does not."""
    from IPython.display import HTML

    return HTML(frame.to_html(index=False, justify="left", border=0))
