"""What the records say of the training set's size, and of the two rules of scaling."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from sgdnoise.analysis import Interval, Reading, Regimes
from sgdnoise.analysis.intervals import combined, slope_through
from sgdnoise.analysis.regimes import LEAST_CARRIED
from sgdnoise.claims import Claim, Verdict, alike
from sgdnoise.experiments.training_set_size.grid import IMAGES, octaves
from sgdnoise.papers.numbers import printed
from sgdnoise.study.grid import Key

if TYPE_CHECKING:
    import plotly.graph_objects as go

Budget = Literal["epochs", "steps"]

BUDGETS: dict[Budget, str] = {"epochs": "equal epochs", "steps": "equal updates"}
"""What each batch size gets as much of as all others, in words."""

NEAR = 0.2
"""How far a slope may be from a rule's: a factor of 1.15 in the rate over a doubling of the batch
size. The root rule's slope and the linear rule's are 0.5 apart, so that no slope is near both."""

ROOT = 0.5
"""H17's equation 7: η ∝ √M."""

LEAST_SETS = {"epochs": 3, "steps": 2}
"""Training sets that must carry a slope below the boundary: of four, and of two."""

LEAST_BOUNDARIES = 3
"""Training sets that the growth of the boundary takes."""


@functools.cache
def of(budget: Budget, images: int | None = None) -> Callable[[Key], bool]:
    """Which sweeps are of a budget, and of a training set; None for all."""

    def keep(key: Key) -> bool:
        fields = dict(key)
        return ("steps" in fields) == (budget == "steps") and images in (None, fields["train_size"])

    return keep


def training_sets(reading: Reading, budget: Budget) -> list[int]:
    """The sizes of the training sets that a budget was given, in rising order."""
    keys = [dict(state.sweep.key) for state in reading.part(of(budget)).states]
    return sorted({int(key["train_size"]) for key in keys})


def fits(reading: Reading, budget: Budget) -> dict[int, Regimes]:
    """The two regimes by size of the training set."""
    return {
        images: reading.part(of(budget, images)).regimes["momentum"]
        for images in training_sets(reading, budget)
    }


# --- Slopes below the boundary --------------------------------------------------------------------


def _slopes(reading: Reading, budget: Budget) -> list[Interval]:
    """Those that enough batch sizes carry to have an interval."""
    slopes = [fit.slope for fit in fits(reading, budget).values() if fit.carried >= LEAST_CARRIED]
    return [slope for slope in slopes if math.isfinite(slope.half)]


def mean_slope(reading: Reading, budget: Budget) -> Interval:
    """d log lr* / d log B below the boundary, the mean over the training sets; NaN for none."""
    slopes = _slopes(reading, budget)
    if not slopes:
        return Interval(math.nan, math.nan, math.nan)
    return combined((1 / len(slopes), slope) for slope in slopes)


def _too_few(reading: Reading, budget: Budget) -> str:
    """What a mean slope lacks."""
    found, least = len(_slopes(reading, budget)), LEAST_SETS[budget]
    if found >= least:
        return ""
    return (
        f"with {BUDGETS[budget]}, {found} of {len(training_sets(reading, budget))} training sets "
        f"have {LEAST_CARRIED} batch sizes below their boundary; it takes {least}."
    )


def _decided_by(slope: Interval, target: float) -> str:
    """By how much an interval clears the margin's bounds; empty where it holds one of them.

    A word that hangs on little would otherwise read like one that hangs on much.
    """
    bounds = (target - NEAR, target + NEAR)
    if any(slope.holds(bound) for bound in bounds):
        return ""
    away, bound = min((abs(end - b), b) for b in bounds for end in (slope.low, slope.high))
    return f" The interval ends {away:.2g} from {bound:g}, and by that much the word is decided."


def scales_as(reading: Reading, budget: Budget, target: float) -> Verdict:
    """Whether the tuned rate grows with the batch size as a power, below the boundary."""
    slope = mean_slope(reading, budget)
    sets = len(_slopes(reading, budget))
    return alike(
        f"with {BUDGETS[budget]} the slope below the boundary is {slope}, the mean over {sets} "
        f"training sets; the root rule has {ROOT:g}, the linear rule {_linear():g}, "
        f"each to {NEAR:g}.{_decided_by(slope, target)}",
        slope,
        unit="slope",
        margin=NEAR,
        target=target,
        rests_on="batch sizes",
    )


def _linear() -> float:
    return printed("S20-F1.slope").value


# --- The boundary ---------------------------------------------------------------------------------


def boundary_exponent(reading: Reading) -> Interval:
    """d log B* / d log N of the boundary with equal epochs; NaN for fewer than three of them.

    Its interval is that of the boundaries' own, an open one of which leaves it open.
    """
    found = {n: fit.boundary for n, fit in fits(reading, "epochs").items()}
    found = {n: b for n, b in found.items() if math.isfinite(b.value)}
    if len(found) < LEAST_BOUNDARIES:
        return Interval(math.nan, math.nan, math.nan)
    return slope_through([math.log2(n) for n in found], [_log2(b) for b in found.values()])


def _log2(found: Interval) -> Interval:
    with np.errstate(divide="ignore"):
        return Interval(*(float(np.log2(x)) for x in (found.value, found.low, found.high)))


def boundary_growth(reading: Reading) -> str:
    """Whether the boundary grows with the training set, in Markdown."""
    exponent = boundary_exponent(reading)
    if not math.isfinite(exponent.value):
        return (
            f"**Whether the boundary grows with the training set cannot be told**: fewer than "
            f"{LEAST_BOUNDARIES} training sets have one."
        )
    if exponent.low > 0:
        finding = "The boundary batch size grows with the training set"
    elif exponent.high < 0:
        finding = "The boundary batch size falls as the training set grows"
    else:
        finding = "Whether the boundary grows with the training set is not decided"
    outside = exponent.low > 1 or exponent.high < 1
    return (
        f"**{finding}**: the fitted power of the training set's size is {exponent}. Sclocchi and "
        "Wyart (2024) predict growth as a power that depends on how hard the task is. Growth in "
        f"proportion, a power of 1, is {'ruled out' if outside else 'not ruled out'}."
    )


def sets_table(reading: Reading) -> pd.DataFrame:
    """Slope, boundary and rate beyond it for each training set and budget, with their intervals."""
    rows = []
    for budget, words in BUDGETS.items():
        for images, fit in fits(reading, budget).items():
            sizes = len(reading.part(of(budget, images)).states)
            rows.append(
                {
                    "training images": f"{images:,}",
                    "budget": words,
                    "batch sizes below the boundary": f"{fit.carried} of {sizes}",
                    "slope below it": str(fit.slope),
                    "boundary batch size": str(fit.boundary),
                    "learning rate beyond it": str(fit.level) if fit.bends else "–",
                }
            )
    return pd.DataFrame(rows)


# --- Figures --------------------------------------------------------------------------------------


def boundaries(reading: Reading) -> go.Figure:
    """The boundary batch size against the training set's size, with the power law through it.

    A bar that is open above ends at the largest batch there is, the training set; its mark is
    hollow.
    """
    from sgdnoise.figures.theme import BLUE, MUTED, figure, interval_marks, provenance
    from sgdnoise.figures.tuned import source, ticks_at

    of_epochs = reading.part(of("epochs"))
    found = fits(reading, "epochs")
    sets = np.array(list(found), dtype=float)
    bounds = [fit.boundary for fit in found.values()]
    fig = figure(
        x="training set size N",
        x_unit="examples",
        y="boundary batch size",
        y_unit="examples",
        log="xy",
        alt="Boundary batch size against training set size, with intervals and a power law",
    )
    interval_marks(
        fig,
        sets,
        [b.value for b in bounds],
        [max(b.low, 1.0) for b in bounds],
        [min(b.high, n) for b, n in zip(bounds, sets, strict=True)],
        marker={
            "color": BLUE,
            "size": 10,
            "symbol": ["circle" if fit.flat_seen else "circle-open" for fit in found.values()],
        },
        name="boundary, 95 % interval (hollow: open above)",
    )
    exponent = boundary_exponent(reading)
    logs = np.log2([b.value for b in bounds])
    there = np.isfinite(logs)
    if math.isfinite(exponent.value):
        middle = np.log2(sets[there]).mean()
        line = 2.0 ** (logs[there].mean() + exponent.value * (np.log2(sets) - middle))
        fig.add_scatter(
            x=sets,
            y=line,
            mode="lines",
            line={"color": BLUE, "width": 2},
            name=f"power {exponent.value:.2f}",
        )
        out = {power: exponent.low > power or exponent.high < power for power in (0, 1)}
        said = ", ".join(f"{p} is {'' if gone else 'not '}excluded" for p, gone in out.items())
        fig.update_layout(
            title={"text": f"Fitted power of the training set's size: {exponent}; {said}"}
        )
    fig.add_scatter(
        x=sets,
        y=sets,
        mode="lines",
        line={"color": MUTED, "dash": "dot", "width": 1},
        name="the whole training set",
    )
    ticks_at(fig, list(found))
    fig.update_yaxes(dtick=np.log10(2), tickformat="~g")
    return provenance(fig, source(of_epochs))


def rates(reading: Reading, budget: Budget, images: int) -> go.Figure:
    """The tuned rate against the batch size on one training set: S20's figure 1c."""
    from sgdnoise.figures.tuned import learning_rates

    fig = learning_rates(reading.part(of(budget, images)))
    # One frame for all positions of a slider.
    peaks = reading.optima()
    low, high = peaks.exponent.min() - 1.5, peaks.exponent.max() + 1.5
    fig.update_xaxes(range=[-0.1, math.log10(1.3 * max(training_sets(reading, budget)))])
    if math.isfinite(low):
        fig.update_yaxes(range=[low * math.log10(2), high * math.log10(2)])
    return fig


def sizes_of_all() -> list[int]:
    """The batch sizes, powers of two, that every training set was given with equal epochs."""
    return sorted(set.intersection(*(set(octaves(images)) for images in IMAGES)))


def sweep(reading: Reading, budget: Budget, images: int, size: int) -> go.Figure:
    """Every run behind the optimum at one batch size."""
    from sgdnoise.figures.tuned import sweep_at

    return sweep_at(reading.part(of(budget, images)), "batch_size", size)


EQUAL: dict[Budget, str] = {"epochs": "equal-epochs", "steps": "equal-updates"}
"""The budgets, as the ids of claims end."""

CLAIMS = (
    Claim(
        "S20-F1c.linear-scaling.training-sets",
        partial(scales_as, budget="epochs", target=_linear()),
        needs=partial(_too_few, budget="epochs"),
    ),
    *(
        Claim(
            f"H17-E7.root-scaling-tuned.{name}",
            partial(scales_as, budget=budget, target=ROOT),
            needs=partial(_too_few, budget=budget),
        )
        for budget, name in EQUAL.items()
    ),
)
