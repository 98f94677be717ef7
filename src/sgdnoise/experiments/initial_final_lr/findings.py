"""What the records say of S20's figure 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise import analysis
from sgdnoise.experiments import SweepState
from sgdnoise.figures.tables import power_of_two
from sgdnoise.figures.theme import (
    Source,
    figure,
    provenance,
)
from sgdnoise.figures.tuned import LABELS, PURPOSES, ticks_at, tuned_rates


def tuned_pairs(states: Sequence[SweepState]) -> pd.DataFrame:
    """S20's figure 3: initial and final learning rate tuned together, a row a budget and objective.

    Exponents are log₂ of effective learning rates, with S20's error bars; `bound` is true where an
    optimum lies on an edge of its grid.
    """
    rows = []
    for state in states:
        steps = [axis.step for axis in state.sweep.axes]
        for objective, best in state.tuned.items():
            if best is None:
                continue
            row = {**dict(state.sweep.key), "sweep": analysis.key_name(state.sweep.key)}
            row |= {"objective": objective, "value": best.cell.mean}
            for axis, name in enumerate(("initial", "final")):
                low, high = best.bar_range(axis)
                row |= {
                    name: best.point[axis] * steps[axis],
                    f"{name}_low": low * steps[axis],
                    f"{name}_high": high * steps[axis],
                    f"{name}_bound": best.bound[axis] != 0,
                }
            rows.append(row)
    return pd.DataFrame(rows)


def pairs_against_epochs(pairs: pd.DataFrame, which: str, note: Source) -> go.Figure:
    """S20's figure 3c or 3d: the tuned initial or final learning rate against the epoch budget."""
    fig = figure(
        x="epochs",
        x_unit=None,
        y=f"tuned {which} effective learning rate",
        y_unit=None,
        log="xy",
        alt=f"Tuned {which} learning rate against epochs, for test accuracy and training loss",
    )
    for k, objective in enumerate(PURPOSES):
        rows = pairs[pairs.objective == objective].sort_values("epochs")
        tuned_rates(fig, k, rows, which, PURPOSES[objective])
    ticks_at(fig, pairs.epochs)
    return provenance(fig, note)


def pair_surface(state: SweepState, objective: str, note: Source) -> go.Figure:
    """The whole grid behind one budget's optimum: the best-k mean at every pair of rates."""
    cells = state.cells[objective]
    first, last = state.sweep.axes
    xs, ys = (sorted({point[a] for point in cells}) for a in (0, 1))
    z = [[cells[(x, y)].mean if (x, y) in cells else np.nan for x in xs] for y in ys]
    label, unit = LABELS[objective]
    epochs = dict(state.sweep.key)["epochs"]
    best = state.tuned[objective]
    at = (
        f"best {best.cell.mean:.4g} {unit} at ε₀ {power_of_two(best.point[0] * first.step)}, "
        f"ε_f {power_of_two(best.point[1] * last.step)}"
        if best is not None
        else "all diverged"
    )
    fig = figure(
        x="initial effective learning rate",
        x_unit=None,
        y="final effective learning rate",
        y_unit=None,
        title=f"{epochs:g} epochs: {at}",
        alt=f"{label} over initial and final learning rate after {epochs:g} epochs",
    )
    values = np.array(z, dtype=float)
    title = f"{label} ({unit})"
    if objective == "train_loss":
        values, title = np.log10(values), f"log₁₀ of {title}"
    fig.add_heatmap(
        x=[power_of_two(x * first.step) for x in xs],
        y=[power_of_two(y * last.step) for y in ys],
        z=values,
        customdata=[[analysis.key_name(state.sweep.key)] * len(xs)] * len(ys),
        # Accuracies far from the best would take all the colours.
        zmin=float(np.nanmax(values)) - 3 if objective == "test_accuracy" else None,
        colorscale="Cividis",
        reversescale=objective == "train_loss",
        colorbar={"title": {"text": title}},
    )
    fig.update_xaxes(type="category")
    fig.update_yaxes(type="category")
    return provenance(fig, note)


def pair_verdicts(pairs: pd.DataFrame) -> str:
    """What of S20's figure 3 these records show and what not, from the numbers; Markdown."""
    wide = pairs.pivot(index="epochs", columns="objective")
    initial = wide["initial"]["test_accuracy"] >= wide["initial"]["train_loss"]
    final = wide["final"]["test_accuracy"] <= wide["final"]["train_loss"]
    test = wide["initial"]["test_accuracy"]
    bounds = int(pairs[["initial_bound", "final_bound"]].to_numpy().sum())
    lines = [
        f"- **S20: the test set starts hotter than the training loss.** Its initial learning rate "
        f"is the larger one, or equal, at {int(initial.sum())} of {len(initial)} budgets.",
        f"- **S20: it ends colder.** Its final learning rate is the smaller one, or equal, at "
        f"{int(final.sum())} of {len(final)} budgets.",
        f"- **S20: its initial learning rate stays where it is.** Here it is "
        f"{', '.join(power_of_two(e) for e in test)} at {', '.join(f'{e:g}' for e in test.index)} "
        f"epochs{', the same at all' if test.nunique() == 1 else ''}.",
    ]
    if bounds:
        lines.append(
            f"- {bounds} of the {2 * len(pairs)} tuned rates lie on an edge of their grid: bounds, "
            "no estimates."
        )
    return "\n".join(lines)
