"""What the chapter "Diagnose your own training" shows: figures, tables and sentences."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from sgdnoise import __version__
from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Interval
from sgdnoise.analysis.regimes import Regimes
from sgdnoise.chapters import table
from sgdnoise.diagnose import example
from sgdnoise.diagnose.diagnosis import diagnose
from sgdnoise.diagnose.problem import problem_of
from sgdnoise.diagnose.report import limits, text
from sgdnoise.diagnose.verified import MARGIN, SEEDS, UPDATES, Tried
from sgdnoise.experiments import study_of
from sgdnoise.figures.explorer import Explorer, Slider, explorer
from sgdnoise.figures.theme import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    PURPLE,
    SYMBOLS,
    band,
    figure,
    interval_marks,
    provenance,
)
from sgdnoise.records.store import Store

EXPERIMENT, SCALE, METHOD = "constant-epoch", "digits", "sgd"

TEMPERATURE = 1 / 128
"""Of the settings that are tried: rate and batch size grow together from one to the next."""

TRIED = tuple((b, TEMPERATURE * b) for b in (1, 4, 16, 64))


def measured(store: Store) -> Reading:
    """The book's runs of the same net on the same data, with the same weight decay."""
    study = study_of(EXPERIMENT, SCALE)
    return Reading(study, store.read(*study.place))


def boundary(store: Store) -> Regimes:
    """Where the tuned rates of those runs stop growing with the batch size."""
    return measured(store).regimes[METHOD]


def _epochs(epoch: float) -> str:
    return f"{epoch:g} epoch" + "s" * (epoch != 1)


EARLY = (0.5, 5.0)
"""Epochs between which a diagnosis counts as early."""


def _inside(found: Interval) -> tuple[int, int]:
    """Of the early diagnoses, how many noise scales the boundary's interval holds, and of all."""
    early = [
        found.holds(one.measured.noise_scale.value)
        for seed in range(example.SEEDS)
        for epoch, one in example.along(seed)
        if EARLY[0] <= epoch <= EARLY[1]
    ]
    return sum(early), len(early)


def opening(store: Store) -> Markdown:
    """What the first figure says."""
    found = boundary(store).boundary
    inside, early = _inside(found)
    last = example.MOMENTS[-1]
    late = [example.along(s)[-1][1].measured.noise_scale.value for s in range(example.SEEDS)]
    return Markdown(
        f"The book's runs on digits stop needing larger rates at a batch of {found}, found by "
        "thousands of trainings. [Figure 1](#figure-1) asks single trainings of plain SGD the "
        f"same, from their gradients and curvature alone. From {EARLY[0]:g} to {EARLY[1]:g} epochs "
        f"{inside} of {early} diagnoses name a noise scale in that interval. After {last:g} epochs "
        f"it is {min(late):,.0f} to {max(late):,.0f} examples: **the answer depends on when you "
        "ask.**"
    )


def along(store: Store) -> go.Figure:
    """The noise scale along trainings, and the boundary that the book's runs have."""
    found = boundary(store).boundary
    # A logarithmic axis has no place for the start, which stands beside it.
    at = np.maximum(example.MOMENTS, example.MOMENTS[1] / 2)
    fig = figure(
        x="epochs trained",
        x_unit=None,
        y="noise scale tr(HΣ)/GᵀHG",
        y_unit="examples",
        log="xy",
        title="Early on, the noise scale is near where tuned rates stop growing",
        alt="The noise scale against the epochs trained: near the boundary's interval early on, "
        "and tens of times as large at the end.",
    )
    ends = [float(at[0]), float(at[-1])]
    band(fig, ends, [found.low] * 2, [found.high] * 2, color=GREEN)
    fig.add_scatter(
        x=ends,
        y=[found.value] * 2,
        mode="lines",
        line={"color": GREEN, "dash": "dash"},
        name="boundary of the tuned rates, 95 %",
    )
    for seed, color in zip(range(example.SEEDS), (BLUE, ORANGE, PURPLE), strict=True):
        scales = [one.measured.noise_scale for _, one in example.along(seed)]
        interval_marks(
            fig,
            at * 1.03**seed,
            [s.value for s in scales],
            [s.low for s in scales],
            [s.high for s in scales],
            marker={"color": color, "symbol": SYMBOLS[seed]},
            name=f"training {seed + 1}",
        )
    ticks = [epoch for epoch in example.MOMENTS if epoch in (0.5, 1, 2, 5, 20)]
    fig.update_xaxes(tickvals=[at[0], *ticks], ticktext=["0", *(f"{t:g}" for t in ticks)])
    return provenance(
        fig,
        f"{example.SEEDS} trainings at B = {example.BATCH_SIZE} and ε = {example.RATE:g}, made and "
        f"diagnosed on a CPU with this page, sgdnoise {__version__}; bars are 95 %. The boundary "
        f"is that of {EXPERIMENT} at scale {SCALE}.",
    )


def answer() -> Markdown:
    """What the command prints for the worked example."""
    problem = problem_of(example.digits())
    return Markdown(f"```text\n{text(diagnose(problem, silent=True))}\n```")


def moments(store: Store) -> Explorer:
    """The best single step over batch sizes at each moment, beside the tuned rates."""
    rows = measured(store).optima()
    rows = rows[rows.method == METHOD]
    sizes, tuned = rows.batch_size.to_numpy(float), 2.0 ** rows.exponent.to_numpy(float)
    by = dict(example.along())
    grid = np.geomspace(sizes.min(), sizes.max(), 41)

    def at(epoch: float) -> go.Figure:
        one = by[epoch]
        scale = one.measured.noise_scale
        fig = figure(
            x="batch size B",
            x_unit="examples",
            y="learning rate ε",
            y_unit=None,
            log="xy",
            title=f"After {_epochs(epoch)}: noise scale {scale}",
            y_range=(0.01, 20),
        )
        fig.add_scatter(
            x=sizes,
            y=tuned,
            mode="markers",
            marker={"color": MUTED, "symbol": "square"},
            name="tuned for a whole training",
        )
        limits(fig, one, grid)
        return fig

    values = list(by)
    return explorer(
        at,
        {
            "epoch": Slider(
                values,
                label="epochs trained",
                value=1.0 if 1.0 in values else values[0],
                format=lambda epoch: f"{epoch:g}",
            )
        },
        caption="Squares are the book's tuned rates and do not move. Move the epochs trained: the "
        "curve bends at the noise scale, and late in training it bends far to the right.",
    )


def trying() -> Styler:
    """Diagnoses beside what trying showed, at one temperature."""
    rows = []
    for one in example.tried(TRIED):
        assert one.verified is not None
        assert one.critical_rate is not None
        assert one.setting.learning_rate is not None
        share = 100 * one.setting.learning_rate / one.critical_rate
        by = {(t.times, t.rate_times): t for t in one.verified.tried}
        rows.append(
            {
                "B": one.setting.batch_size,
                "ε": f"1/{round(1 / one.setting.learning_rate)}",
                "regime, by the noise scale": one.regime.word,
                "of the critical rate": f"{share:.2g} %",
                "2 × both": _cell(by[2, 2]),
                "4 × both": _cell(by[4, 4]),
                "4 × the batch alone": _cell(by[4, 1]),
            }
        )
    return table(rows)


def _cell(one: Tried) -> str:
    if math.isinf(one.ratio.value):
        return "diverges"
    return f"{one.ratio.value:+.3f} ± {one.ratio.half:.2g}, {one.word}"


def tried_in_words() -> Markdown:
    """What the table of tried settings shows."""
    found = example.tried(TRIED)
    words = {
        one.setting.batch_size: {
            t.times: t.word for t in one.verified.tried if t.rate_times == t.times
        }
        for one in found
        if one.verified is not None
    }
    held = [b for b, of in words.items() if set(of.values()) == {"alike"}]
    broken = [b for b, of in words.items() if "higher" in of.values()]
    said = [
        f"The linear scaling rule holds up to four times the batch from B = {_listed(held)}"
        if held
        else "The linear scaling rule holds at none of these batch sizes"
    ]
    if broken:
        said.append(f"it breaks within four times the batch from B = {_listed(broken)}")
    return Markdown(
        f"{', and '.join(said)}. An entry is the change of log₂ of the loss after "
        f"{UPDATES} updates' worth of examples, over {SEEDS} pairs of runs; *alike* means within "
        f"±{MARGIN:.2g}, which is 10 %."
    )


def _listed(sizes: list[int | None]) -> str:
    *first, last = [str(b) for b in sizes]
    return f"{', '.join(first)} and {last}" if first else last
