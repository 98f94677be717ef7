"""Figures of where the papers disagree: updates, batch sizes, and what is done to the largest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from IPython.display import HTML

from sgdnoise.analysis import Reading, Tuning, best_means, key_name
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.chapters import fraction
from sgdnoise.claims import FITTED
from sgdnoise.experiments.discriminating.findings import (
    ARMS,
    CLAIMS,
    SCALED,
    SMALL,
    disagreements,
    gain_of,
    no_gap_to_close,
    planned_arms,
)
from sgdnoise.experiments.discriminating.grid import (
    ALL_IMAGES,
    BEST,
    IMAGES,
    MOST,
    ONE_PASS,
    UPDATES,
)
from sgdnoise.experiments.discriminating.measured import (
    BUDGETS,
    LONG,
    NOT_YET,
    Gap,
    gap_to_best,
    gaps_at,
    key_of,
    rows_at,
)
from sgdnoise.figures.forest import forest
from sgdnoise.figures.tables import html_table, power_of_two
from sgdnoise.figures.theme import (
    DASHES,
    GREEN,
    INK,
    MUTED,
    PALETTE,
    SYMBOLS,
    figure,
    interval_marks,
    provenance,
)
from sgdnoise.figures.tuned import common_exponents, frame_of, source, ticks_at
from sgdnoise.study.grid import Key
from sgdnoise.study.protocol import best_of


def by_batch(reading: Reading) -> go.Figure:
    """What fresh seeds reach against batch size, a curve for each number of updates."""
    long = reading.part(LONG)
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="test accuracy, fresh seeds",
        y_unit="%",
        log="x",
        title=_gaps(long),
        alt="Test accuracy at the tuned rate against batch size, for three numbers of updates",
    )
    for k, updates in enumerate(BUDGETS):
        every = rows_at(long, updates)
        for whole in (True, False):
            rows = every[every.settled == whole]
            reached = [long.reached(key) for key in rows.key]
            if not any(math.isfinite(one.value) for one in reached):
                continue
            interval_marks(
                fig,
                # Side by side, so that their bars show.
                rows.batch_size * 2 ** (0.06 * (k - 1)),
                *([f(one) for one in reached] for f in (_value, _low, _high)),
                mode="lines+markers" if whole else "markers",
                marker={
                    "symbol": SYMBOLS[k] + ("" if whole else "-open"),
                    "color": PALETTE[k],
                    "size": 10,
                },
                line={"dash": DASHES[k], "color": PALETTE[k]},
                customdata=[key_name(key) for key in rows.key],
                name=f"{updates:,} updates{'' if whole else ', not complete'}",
            )
    ticks_at(fig, rows_at(long, UPDATES).batch_size)
    return provenance(fig, source(long).and_also(f"Bars: 95 % intervals.{_hollow(long)}"))


def _hollow(reading: Reading) -> str:
    """How many fresh seeds stand behind the marks whose sweeps are not complete; empty for none."""
    said = []
    for state in reading.states:
        there = sum(run in reading.known for run in state.fresh_runs)
        if there and not state.settled:
            of = dict(state.sweep.key)
            said.append(
                f"{there} of {len(state.fresh_runs)} fresh seeds so far at B = "
                f"{of['batch_size']:,} with {of['updates']:,} updates"
            )
    return f" Hollow: {'; '.join(said)}." if said else ""


def _value(one: Any) -> float:
    return float(one.value)


def _low(one: Any) -> float:
    return float(one.interval.low)


def _high(one: Any) -> float:
    return float(one.interval.high)


def _gaps(reading: Reading) -> str:
    """How far the best other batch is ahead with each number of updates."""
    found = gaps_at(reading)
    if all(gap == NOT_YET for gap in found.values()):
        return "Not all of these runs have been made yet"
    said = [
        f"{f'{gap.size} points' if isinstance(gap, Gap) else gap} with {updates:,} updates"
        for updates, gap in found.items()
    ]
    return f"Lead of the best other batch over B = {IMAGES:,}: {', '.join(said)}"


def measured(reading: Reading) -> dict[str, list[int]]:
    """The updates, and the batch sizes, at which any run of the plain sweeps is finite."""
    found = [
        dict(key) for key, one in reading.part(LONG).tuned().items() if np.isfinite(one.table).any()
    ]
    return {part: sorted({key[part] for key in found}) for part in ("updates", "batch_size")}


def sweep_at(reading: Reading, updates: int, batch_size: int) -> go.Figure:
    """Every run of one batch size with so many updates, beside what the largest batch reaches.

    Small marks are runs, lines the mean of the best k, the large mark the tuned rate.
    """
    long = reading.part(LONG)
    tuned = long.tuned()
    tried = common_exponents(tuned)
    one = tuned[key_of(long, batch_size, updates=updates)]
    largest = tuned[key_of(long, IMAGES, updates=updates)]
    best = one.state.tuned.get("test_accuracy")
    name = f"B = {batch_size:,}, {updates:,} updates"
    at = f"{best.cell.mean:.1f} % at {power_of_two(best.point[0])}" if best else "no rate yet"
    fig = figure(
        x="effective learning rate ε/(1−m)",
        x_unit=None,
        y="test accuracy",
        y_unit="%",
        log="x",
        x_range=(2.0 ** (tried[0] - 0.5), 2.0 ** (tried[-1] + 0.5)),
        y_range=frame_of(long, "test_accuracy"),
        title=f"{name}: {at}",
        alt=f"Test accuracy of every run against learning rate, {name}, and of the largest batch",
    )
    fig.add_scatter(
        x=2.0**largest.exponents,
        y=_means(largest),
        mode="lines",
        line={"color": MUTED, "dash": "dot"},
        name=f"B = {IMAGES:,}, {updates:,} updates, mean",
    )
    sweep = one.state.sweep
    fig.add_scatter(
        x=np.repeat(2.0**one.exponents, len(one.seeds)),
        y=one.table.ravel(),
        mode="markers",
        marker={"size": 5, "opacity": 0.5, "color": PALETTE[0]},
        customdata=[sweep.config(point, seed).id for point in one.points for seed in one.seeds],
        name=f"{name}, runs",
    )
    fig.add_scatter(
        x=2.0**one.exponents,
        y=_means(one),
        mode="lines",
        line={"color": PALETTE[0]},
        name=f"{name}, mean",
        showlegend=False,
    )
    fig.add_scatter(
        x=[2.0 ** best.point[0] if best else None],
        y=[best.cell.mean if best else None],
        mode="markers",
        marker={"size": 14, "color": PALETTE[0], "line": {"width": 2, "color": INK}},
        customdata=[key_name(sweep.key)],
        name="tuned",
    )
    ticks = [e for e in tried if e % 2 == 0]
    fig.update_xaxes(tickvals=[2.0**e for e in ticks], ticktext=[power_of_two(e) for e in ticks])
    return provenance(fig, source(long).and_also(_of_the_tuning(one)))


def _of_the_tuning(one: Tuning) -> str:
    """Why the large mark is not where the first figure has the same batch."""
    seeds = one.table.shape[-1]
    best = best_of(seeds, one.state.sweep.best)
    return (
        f"These runs tuned the learning rate, and a mean is of the best {best} of {seeds} at a "
        "rate. The first figure has fresh seeds, all of them, so that its numbers differ."
    )


def _means(one: Tuning) -> np.ndarray:
    return best_means(one.table, one.objective, one.state.sweep.best)


def arms(reading: Reading) -> go.Figure | str:
    """What each arm gains over the largest batch, beside the gap that it could close."""
    planned = planned_arms(reading)
    rows = {arm: row for arm in ARMS if arm in planned and (row := _row(reading, arm))}
    gap = gap_to_best(reading).size
    lacking = no_gap_to_close(reading)
    if lacking and math.isfinite(gap.interval.half) and not planned:
        return f"*What could close the gap has not been run: {lacking}*"
    if not rows or not math.isfinite(gap.interval.half):
        return "*What the arms gain is not yet measured: it takes the plain sweeps and their own.*"
    fig = forest(list(rows.values()), "points", source(reading), leads=False)
    low, high = gap.interval.low, gap.interval.high
    fig.add_vrect(low, high, fillcolor=GREEN, opacity=0.15, line_width=0, layer="below")
    fig.add_vline(gap.value, line={"color": GREEN, "width": 2}, layer="below")
    fig.add_vline(gap.value / 2, line={"color": GREEN, "width": 1, "dash": "dash"}, layer="below")
    left, right = fig.layout.xaxis.range
    reach = max(right, high) - min(left, low)
    fig.update_xaxes(
        range=[min(left, low - 0.02 * reach), max(right, high + 0.02 * reach)],
        title={
            "text": f"points above B = {IMAGES:,} as it is, {MOST:,} updates; green: B = {BEST}"
        },
    )
    return fig.update_layout(title={"text": _finding(rows, gap.value)})


def _row(reading: Reading, arm: str) -> Mapping[str, Any]:
    """An arm as the forest takes it; empty where it has no number."""
    (claim,) = [claim for claim in CLAIMS if claim.of((("arm", arm),))]
    gain = gain_of(reading, arm)
    if not math.isfinite(gain.interval.half):
        return {}
    return {
        "id": claim.id,
        "scale": reading.study.scale,
        "paper": claim.id.partition("-")[0],
        "statement": ARMS[arm][:1].upper() + ARMS[arm][1:],
        "about": "",
        "where": claim.stated.where,
        "verdict": claim.judge(reading).word,
        "effect": gain.value,
        "interval": [gain.interval.low, gain.interval.high],
        "margin": None,
        "band": None,
        "unit": "points",
        "printed": None,
        "seeds": reading.seeds,
    }


def _finding(rows: Mapping[str, Mapping[str, Any]], gap: float) -> str:
    """Which arm gains most, of how large a gap, in a sentence."""
    best = max(rows, key=lambda arm: rows[arm]["effect"])
    if gap <= 0:
        return f"B = {BEST} is not ahead of B = {IMAGES:,}: there is no gap to close"
    gained = f"{rows[best]['effect']:.1f} of the {gap:.1f} points"
    return f"Most is gained by {ARMS[best]}: {gained}"


def predictions(reading: Reading) -> HTML:
    """What each paper predicts beside what was measured, whose long cells keep some width."""
    return HTML(f'<div class="sgdnoise-wordy">{html_table(disagreements(reading)).data}</div>')


# --- One pass -----------------------------------------------------------------------------------


def passes_table(reading: Reading) -> pd.DataFrame:
    """What equal updates reach on 1,000 images, seen many times, and on 50,000."""
    rows = reading.optima()
    plain = rows[(rows.arm == "plain") & (rows.batch_size == BEST)].assign(train_size=IMAGES)
    rows = pd.concat([rows[rows.arm == "passes"], plain])
    rows = rows.sort_values(["train_size", "batch_size"])
    return pd.DataFrame(
        {
            "Training images": [f"{int(n):,}" for n in rows.train_size],
            "Batch size": rows.batch_size,
            "Passes over them": [
                f"{UPDATES * size / images:.3g}"
                for size, images in zip(rows.batch_size, rows.train_size, strict=True)
            ],
            "Fresh seeds (%)": [_in_words(reading, key) for key in rows.key],
            "Training accuracy (%)": [
                f"{fit:.1f}" if math.isfinite(fit := _fresh_fit(reading, key)) else "–"
                for key in rows.key
            ],
        }
    )


def _sees(key: Key, images: int, batch_sizes: tuple[int, ...] = ONE_PASS) -> bool:
    of = dict(key)
    return of.get("train_size") == images and of["batch_size"] in batch_sizes


_OFTEN = partial(_sees, images=IMAGES)
"""What sees each image many times, at the batch sizes that can do without."""


def about_one_pass(key: Key) -> bool:
    """Of a sweep's key, whether `one_pass` waits for it: the larger batch's many passes it tells
    once they are there, for what the smaller one lacks is known without them.
    """
    return _sees(key, ALL_IMAGES) or _sees(key, IMAGES, ONE_PASS[:1])


def one_pass(reading: Reading) -> str:
    """Whether one pass against many tells what noise is good for, and by which numbers.

    It could where the smaller batch leads in many passes, a lead that one pass might take away, and
    has fitted its images, so that it lacks no training.
    """
    small, large = ONE_PASS
    fresh, often = (
        [key_of(reading, size, train_size=n) for size in ONE_PASS] for n in (ALL_IMAGES, IMAGES)
    )
    part = reading.part(_OFTEN)
    known = not part.waiting and len(part.devices) == 1
    if lost := no_optimum(reading, [*fresh, *(often if known else often[:1])]):
        return f"**One pass is not compared with many**: {lost}"
    gain, many = (reading.reached(b) - reading.reached(a) for a, b in (fresh, often))
    fit, *fits = (_fresh_fit(reading, key) for key in (often[0], *fresh))
    trained, leads = fit >= FITTED, known and many.interval.high < 0
    said = []
    if not (trained and leads):
        said.append("**One pass against many cannot tell here what noise is good for.**")
    if known:
        ahead = f"On {IMAGES:,} images, seen many times, B = {large} is {many} points above "
        lead = "no lead" if many.interval.low > 0 else "no sure lead"
        no_lead = "" if leads else f": the smaller batch has {lead} that one pass could take away"
        said.append(f"{ahead}B = {small}{no_lead}.")
    if not trained:
        said.append(
            f"With {UPDATES:,} updates B = {small} gets only {fit:.3g} % of its {IMAGES:,} "
            "training images right: what it lacks is training."
        )
    if not known:
        why = "comes from another device" if not part.waiting else "is not yet measured"
        said.append(f"What B = {large} reaches on {IMAGES:,} images {why}.")
    said.append(f"Where no image is seen twice, B = {large} is {gain} points above B = {small}.")
    if fits[1] > fits[0]:
        right = f"{fits[1]:.3g} % of them right against {fits[0]:.3g} %"
        said.append(
            f"It is ahead on the {ALL_IMAGES:,} training images, too, {right}: it is trained "
            "further."
        )
    return " ".join(said)


def _fresh_fit(reading: Reading, key: Key) -> float:
    """Percent of the training images that fresh seeds get right at a sweep's tuned rate."""
    (state,) = (state for state in reading.states if state.sweep.key == key)
    runs = [reading.records[run] for run in state.fresh_runs if run in reading.records]
    right = [run.metrics.get("train_accuracy") for run in runs]
    return float(np.mean([one for one in right if one is not None] or [math.nan]))


def _in_words(reading: Reading, key: Key) -> str:
    found = reading.reached(key)
    if not math.isfinite(found.value):
        return "not yet measured"
    half = found.interval.half
    return f"{found.value:.2f}" + (f" ± {half:.2f}" if math.isfinite(half) else " (one seed)")


# --- Scaling the learning rate ------------------------------------------------------------------

RULES = {"not at all": 0.0, "by the root": 0.5, "in proportion": 1.0}
"""How the learning rate grows with the batch: its power of k."""

BUDGET_POWERS = {"updates": 0.0, "epochs": -1.0}
"""What is equal, and the power of k by which the number of updates goes."""

_POWERS = {-2.0: "1/k²", -1.0: "1/k", -0.5: "1/√k", 0.0: "1", 0.5: "√k", 1.0: "k"}


def bookkeeping() -> pd.DataFrame:
    """What k times the batch does to drift and diffusion, by budget and rule of the learning rate.

    The drift is the sum of the learning rates, ε times the updates: so far the mean gradient moves
    the weights, per unit of it. The diffusion is the sum of ε²/B: the variance that the noise of
    independent batches adds up, if they are small beside the training set. The figures in brackets
    are for the batches that `SCALED` compares.
    """
    k = BEST / SMALL
    rows = []
    for equal in SCALED:
        for rule, rate in RULES.items():
            updates = BUDGET_POWERS[equal]
            powers = {
                "Learning rate ×": rate,
                "Updates ×": updates,
                "Drift ×": updates + rate,
                "Diffusion ×": updates + 2 * rate - 1,
            }
            told = {
                name: _POWERS[power] + (f" ({fraction(k**power)})" if power else "")
                for name, power in powers.items()
            }
            rows.append({"Equal": equal, "The learning rate grows": rule, **told})
    return pd.DataFrame(rows)
