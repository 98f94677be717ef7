"""Tables of the chapter on random walks, and its sentences that have numbers in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from sgdnoise.chapters import folded, table
from sgdnoise.chapters import random_walk as chapter
from sgdnoise.phrases import enumerated
from sgdnoise.theory import random_walk


def opening() -> Markdown:
    """What the first figure shows where its sliders stand at first."""
    walk = chapter.walk_path(*chapter.START)
    quarter, logistic, free = chapter.other_paths()
    return Markdown(
        f"**A straight line against log t is no sign of a random potential. Over a factor of "
        f"{chapter.WINDOW} in steps its fit has R² = {walk.log.r_squared:.3f} on a walk through a "
        f"random potential. But it has {quarter.log.r_squared:.3f} on growth as {chapter.QUARTER}, "
        f"{logistic.log.r_squared:.3f} on logistic regression, which has no noise at all, and "
        f"{free.log.r_squared:.3f} on free diffusion.**"
    )


def by_hand(walk: Callable[[int, float], np.ndarray]) -> Styler:
    """The page's own walk beside the library's, at α = 1 and T = 1."""
    times, temperature = [10, 100, 1000], 1.0
    mine = random_walk.walk(1.0, temperature, times, potentials=2000, walkers=2, reach=512, seed=9)
    rows = []
    for steps, rms in zip(times, mine.rms, strict=True):
        places = walk(steps, temperature)
        rows.append(
            {
                "T": f"{temperature:g}",
                "steps": steps,
                "rms distance, code above": f"{np.sqrt((places**2.0).mean()):.1f}",
                "library, other potentials": f"{rms:.1f}",
                "free": f"{steps**0.5:.1f}",
            }
        )
    return table(rows)


NEAR = 0.1
"""How far a power may be from its law's and still be called that of the law."""


def law_in_words() -> Markdown:
    """At how many settings of the sliders the walk shows the power of its law, and at which."""
    at = [(a, t) for a in chapter.ALPHAS if a < 2 for t in chapter.TEMPERATURES]
    found = {place: chapter.powers(*place) for place in at}
    share = {place: powers.share for place, powers in found.items()}
    near = [place for place in at if abs(share[place] - 1) <= NEAR]
    assert near  # or the sentence has no end
    named = " and ".join(
        f"α = {a:g}, T = {t:g} (or t<sup>{found[a, t].of_time:.2f}</sup>)" for a, t in near
    )
    free = chapter.powers_of(chapter.other_paths()[-1])
    leads = [place for place in at if found[place].log_leads]
    worse = max(max(one.log_misfit, one.time_misfit) for one in found.values())
    return Markdown(
        f"Within {chapter.LAST:,} steps {len(near)} of the {len(at)} settings with α below 2 have "
        f"the power of log t that the law gives, to {NEAR:.0%}: {named}. Over all of "
        f"them the power lies between {min(share.values()):.2f} and {max(share.values()):.2f} "
        "times the law's.\n\n"
        f"With its exponent free, a power of log t is nearer to the walk than a power of t at "
        f"{len(leads)} of the {len(at)} settings{_where(leads)}. Neither is off by more than "
        f"{100 * worse:.0f} % anywhere, so that one such curve does not tell which law it "
        "follows.\n\n"
        "The power rises with the temperature, towards that of free diffusion: over this window "
        f"t<sup>{free[1]:.1f}</sup> is (log t)<sup>{free[0]:.2f}</sup>. On the way it may meet the "
        "law's value by chance. So agreement at one temperature is no sign that the law has been "
        "reached."
    )


def _where(leads: list[tuple[float, float]]) -> str:
    """At which temperatures log t leads, for each α."""
    if not leads:
        return ""
    by = {a: [f"{t:g}" for b, t in leads if b == a] for a in dict.fromkeys(a for a, _ in leads)}
    return ": " + "; ".join(f"α = {a:g} with T = {enumerated(ts)}" for a, ts in by.items())


def _paths(window: float) -> tuple[chapter.Path, ...]:
    return (chapter.walk_path(*chapter.START, window), *chapter.other_paths(window))


def told_apart() -> Styler:
    """What fits of log t can and cannot tell apart."""
    return table(
        [
            {
                "what grows": path.name,
                "over a factor of": f"{window:,}",
                "points": len(path.time),
                "R² of a + b log t": f"{path.log.r_squared:.3f}",
                "residuals' correlation": f"{path.log.autocorrelation:.2f}",
                "ΔAIC, log ahead": _lead(path),
                "p of c t<sup>p</sup>": f"{path.power.parameters[1]:.2f}",
                "p of a + b t<sup>p</sup>": f"{path.free:.2f}",
            }
            for window in (10, 100, 1000)
            for path in _paths(window)
        ]
    )


def _lead(path: chapter.Path) -> str:
    """ΔAIC; of a power that is drawn by formula only rounding would be left to measure."""
    exact = path.power.r_squared > 1 - 1e-9
    return "−∞, an exact power" if exact else f"{path.lead:+.0f}"


def in_words() -> Markdown:
    """What the table says, by its numbers."""
    walk, quarter, logistic, _ = _paths(chapter.WINDOW)
    least = min(walk.log.r_squared, quarter.log.r_squared)
    return Markdown(
        f"Over a factor of {chapter.WINDOW}, R² is {least:.3f} or more for the walk and for "
        f"{chapter.QUARTER}. It tells neither from a line against log t, nor the two from each "
        f"other. It is taken at {len(walk.time)} points, evenly spaced in log t. At "
        f"{chapter.DENSE} points it is {chapter.on_a_grid(1 / 4):.3f} for {chapter.QUARTER} and "
        f"{chapter.on_a_grid(1 / 2):.3f} for √t.\n\n"
        f"ΔAIC is {walk.lead:+.0f} for the walk, where a positive number favours a + b log t and a "
        "negative one c t<sup>p</sup>. It takes each point for a draw of its own, which these are "
        "not: each residual is correlated with the next, by "
        f"{walk.log.autocorrelation:.2f} here, so what a fit leaves is a bend and no noise. Within "
        "one curve ΔAIC ranks two laws and proves neither; the experiment takes its spread from "
        "seeds.\n\n"
        "The last column fits a + b t<sup>p</sup>, with the power free: 0 is log t, and it finds "
        f"{walk.free:.2f} for the walk, {quarter.free:.2f} for {chapter.QUARTER} and "
        f"{logistic.free:.2f} for logistic regression."
    )


def increments_hold() -> Markdown:
    """How nearly the potentials have the increments that they should."""
    rows = []
    for alpha in (0.5, 1.0, 1.5):
        rng = np.random.default_rng(5)
        u = random_walk.increments(alpha, 100, 4000, rng)
        squares = np.cumsum(u, axis=1)[:, [0, 9, 99]] ** 2
        waves = random_walk.wave_increments(alpha, [1, 10])
        rows.append(
            {
                "α": f"{alpha:g}",
                "on a line, distance 1, 10, 100": ", ".join(
                    f"{v:.3g}" for v in squares.mean(axis=0)
                ),
                "r<sup>α</sup>": ", ".join(f"{v:.3g}" for v in np.array([1, 10, 100]) ** alpha),
                "waves, distance 1, 10": ", ".join(f"{v:.3g}" for v in waves),
            }
        )
    return folded(
        "The potentials, and whether their increments are right",
        "On a line the potential is fractional Brownian motion, drawn exactly by a circulant "
        "matrix; the second column is the mean square of 4,000 of them. In more dimensions it is a "
        "sum of 256 waves, whose finite lengths take a few percent off (last column, by "
        "quadrature).",
        table(rows),
    )
