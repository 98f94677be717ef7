"""Tables of the chapter on gradients, and its sentences that have numbers in them."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown
from pandas.io.formats.style import Styler

from sgdnoise.chapters import fraction, short, table
from sgdnoise.chapters import gradients as chapter
from sgdnoise.chapters.errata_findings import anchor, form
from sgdnoise.chapters.errata_g20 import ERRATA, corrected_law, printed_law
from sgdnoise.theory.gradient_size import SizeLaw


def opening() -> Markdown:
    """What the first figure shows where its sliders stand at first."""
    seen = chapter.simulated(chapter.SPREAD)
    sizes = np.array([1024.0, chapter.EXAMPLES])
    ends = seen[[chapter.SIZES.index(int(n)) for n in sizes]]
    over, whole = ends / printed_law(sizes)
    over_right, whole_right = ends / corrected_law(sizes)
    alike = chapter.crossover(chapter.law(chapter.SPREAD))
    return Markdown(
        "**A larger batch averages away the noise, and not the gradient. Here the signal is "
        f"1/{1 / chapter.SPREAD:g} of one example's noise, so that the two are alike "
        f"at n = {alike:.0f} examples. In a batch of {sizes[0]:,.0f} the mean size of a gradient "
        f"is {over:.1f} times G20's law, and over all {chapter.EXAMPLES:,} examples {whole:.1f} "
        "times.**\n\n"
        "G20's law is printed √2 too large (below). Beside the law with the right constant these "
        f"are {over_right:.1f} and {whole_right:.1f} times."
    )


def agreement(mean_size: Callable[[float, float, float], float]) -> Styler:
    """The page's own law beside the simulation, and what is read off it."""
    rows = []
    for spread in chapter.SPREADS:
        seen, fit = chapter.simulated(spread), chapter.refitted(spread)
        off = [
            mean_size(n, spread, chapter.EXAMPLES) / value - 1
            for n, value in zip(chapter.SIZES[:-1], seen[:-1], strict=True)
        ]
        rows.append(
            {
                "τ/σ": fraction(spread) if spread else "0",
                "law over simulation, furthest": f"{max(off, key=abs):+.1%}",
                "noise scale (σ/τ)²": f"{1 / spread**2:,.0f}" if spread else "none",
                "n where signal and noise are alike": _alike(chapter.law(spread)),
                "read off by a fit": _alike(fit),
            }
        )
    return table(rows)


def scatter() -> Markdown:
    """How far chance alone takes the simulation from the law."""
    return Markdown(
        "The simulation is one batch of each size. Where noise dominates, its mean over "
        f"{chapter.PARAMETERS:,} weights scatters by {chapter.scatter():.1%} about the law. The "
        f"second column has the furthest of {len(chapter.SIZES) - 1} sizes."
    )


def _alike(law: SizeLaw) -> str:
    return f"{chapter.crossover(law):,.0f}" if law.crossover < 1e6 else "none"


def one_parameter() -> Markdown:
    """How far the root of squares is from the exact mean, and where."""
    exact, root = chapter.one_parameter()
    over = root / exact - 1
    return Markdown(
        f"The two agree at both ends and are {over.max():.1%} apart at most, where the true "
        f"gradient is {chapter.RATIOS[over.argmax()]:.2g} deviations of its noise. "
        "Over a layer whose true gradients are normal the root is exact."
    )


def finite_set() -> Styler:
    """What is left of 1/n where the set is finite."""
    return table(
        [
            {
                "n": f"{n:,}",
                "n/N": fraction(n / chapter.EXAMPLES),
                "(1/n − 1/N) / (1/n)": f"{chapter.noise_left(n):.3f}",
                "mean |g| of pure noise / G20's": f"{np.sqrt(chapter.noise_left(n) / 2):.3f}",
            }
            for n in (1, 64, 1024, 2048, 4096)
        ]
    )


def loss_in_words() -> Markdown:
    """What the two falls of the loss are at both ends of the batch sizes."""
    rate, signal = chapter.OPENS
    at = chapter.bowl(signal)
    (own, far), (whole, end) = (
        f(rate, np.array([1.0, chapter.SIZES[-1]])) / at.trace for f in (at.own_drop, at.whole_drop)
    )
    return Markdown(
        f"From n = 1 to {chapter.SIZES[-1]:,} the fall of the batch's own loss shrinks from "
        f"{short(own)} to {short(far)} ε trΣ, and that of the loss of all grows from "
        f"{_signed(whole)} to {_signed(end)} ε trΣ. The two meet where the noise is gone."
    )


def _signed(value: float) -> str:
    return ("−" if value < 0 else "+") + short(abs(value))


def errata() -> HTML:
    """Every form of G20 that is wrong, its correction, and its section among the errata."""
    rows = [
        {
            "where": escape(e.place),
            "what is wrong": escape(e.wrong),
            "printed or implied": form(e.printed),
            "corrected": form(e.corrected),
            "check": f'<a href="errata.html#{anchor(e.id)}">{e.id}</a>',
        }
        for e in ERRATA
    ]
    frame = pd.DataFrame(rows)
    return HTML(frame.to_html(index=False, justify="left", border=0, escape=False))
