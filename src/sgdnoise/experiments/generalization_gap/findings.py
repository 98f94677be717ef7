"""H17's ladder from records: what each rung reaches, how much of the gap it closes, and verdicts.

The recipes are fixed and nothing is tuned, so that each rung's statistic is the mean over all its
seeds. Two rungs are told apart by twice the standard error of their difference; a single seed has
none, and then there is no verdict. A rung of which a run diverged has no mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise import data
from sgdnoise.experiments import SweepState
from sgdnoise.experiments.generalization_gap.grid import RUNGS
from sgdnoise.figures.theme import (
    BLUE,
    DASHES,
    MUTED,
    PALETTE,
    SYMBOLS,
    Source,
    figure,
    paper_value,
    provenance,
)
from sgdnoise.papers.numbers import H17_NETWORKS, table
from sgdnoise.records.record import Record


def rows(states: Sequence[SweepState], records: Mapping[str, Record]) -> pd.DataFrame:
    """One row a rung: its recipe, what it reached, and what H17 prints.

    Columns: `rung`, `batch_size`, `learning_rate`, `norm` (whose examples share statistics),
    `epochs`, `updates`, `seeds` (recorded), `diverged`, `accuracy` and `std` (over all seeds, NaN
    where one diverged or none is there), `error` (of the mean, NaN for one seed), `fitted` (mean
    training accuracy, likewise), `printed`, `settled` (whether all its seeds are there).
    """
    return pd.DataFrame([_row(state, records) for state in states])


def _row(state: SweepState, records: Mapping[str, Record]) -> dict[str, object]:
    config = state.needed[0]
    runs = [records[c.id] for c in state.needed if c.id in records]
    runs = [run for run in runs if run.status != "failed"]
    values = [float(run.metrics["test_accuracy"] or 0.0) for run in runs if run.status == "done"]
    diverged = len(runs) - len(values)
    whole = bool(values) and not diverged
    std = float(np.std(values, ddof=1)) if whole and len(values) > 1 else math.nan
    rung = str(dict(state.sweep.key)["rung"])
    printed = table("H17-T1").set_index("network")
    return {
        "rung": rung,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "norm": config.ghost_batch_size if config.norm == "ghost" else config.batch_size,
        "epochs": config.epochs,
        "updates": config.total_steps(config.train_size or data.train_size(config.dataset)),
        "seeds": len(runs),
        "diverged": diverged,
        "accuracy": float(np.mean(values)) if whole else math.nan,
        "std": std,
        "error": std / math.sqrt(len(values)) if whole else math.nan,
        "fitted": _fitted(runs) if whole else math.nan,
        "printed": float(printed[rung][H17_NETWORKS[config.model]]),
        "settled": state.settled,
    }


def _fitted(runs: Sequence[Record]) -> float:
    found = [run.metrics.get("train_accuracy") for run in runs]
    return float(np.mean([math.nan if value is None else value for value in found]))


def recipe_table(rungs: pd.DataFrame) -> pd.DataFrame:
    """The rungs as H17's table 1, with the recipe that each stands for."""
    return pd.DataFrame(
        {
            "Rung": rungs.rung,
            "Batch size": rungs.batch_size,
            "Learning rate": [f"{rate:.3g}" for rate in rungs.learning_rate],
            "Norm over": rungs.norm,
            "Epochs": [f"{epochs:g}" for epochs in rungs.epochs],
            "Updates": [f"{updates:,}" for updates in rungs.updates],
            "Test accuracy (%)": [_reached(row) for row in rungs.itertuples()],
            "Of the gap closed": [_percent(share) for share in closed(rungs.accuracy)],
            "H17 (%)": [f"{value:.2f}" for value in rungs.printed],
            "Of the gap closed, H17": [_percent(share) for share in closed(rungs.printed)],
        }
    )


def _reached(row: object) -> str:
    seeds, diverged = int(row.seeds), int(row.diverged)  # type: ignore[attr-defined]
    if not seeds:
        return "not yet measured"
    if diverged:
        return f"{diverged} of {seeds} diverged"
    spread = f" ± {row.std:.2f}" if seeds > 1 else " (one seed)"  # type: ignore[attr-defined]
    return f"{row.accuracy:.2f}{spread}"  # type: ignore[attr-defined]


def closed(accuracy: pd.Series) -> list[float]:
    """Part of the gap between SB and LB that each rung closes; NaN where there is no gap."""
    small, large = float(accuracy.iloc[0]), float(accuracy.iloc[1])
    gap = small - large
    return [(float(a) - large) / gap if gap > 0 else math.nan for a in accuracy]


def _percent(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else ""


def ladder(rungs: pd.DataFrame, note: Source) -> go.Figure:
    """Test accuracy rung by rung: ours with its standard deviation, and H17's own."""
    fig = figure(
        x="rung",
        x_unit=None,
        y="test accuracy",
        y_unit="%",
        alt="Test accuracy of each rung of H17's ladder, ours and the paper's",
    )
    fig.add_scatter(
        x=rungs.rung,
        y=rungs.accuracy,
        error_y={"array": rungs["std"], "thickness": 1.5, "width": 4},
        mode="lines+markers",
        marker={"size": 11, "color": BLUE},
        line={"color": BLUE, "dash": "dot"},
        name="measured",
    )
    paper_value(
        fig,
        rungs.rung.tolist(),
        rungs.printed.tolist(),
        name="H17, table 1 (its own data and length)",
    )
    fig.update_xaxes(categoryorder="array", categoryarray=list(RUNGS))
    return provenance(fig, note)


def climbed(rungs: pd.DataFrame) -> list[str]:
    """The rungs of which at least one run did not diverge."""
    return rungs.rung[rungs.seeds > rungs.diverged].tolist()


def climb(
    states: Sequence[SweepState], records: Mapping[str, Record], rung: str, note: Source
) -> go.Figure:
    """One rung's test accuracy along its training, every seed, over that of SB."""
    fig = figure(
        x="updates",
        x_unit=None,
        y="test accuracy",
        y_unit="%",
        log="x",
        y_range=_accuracies(records),
        title=f"{rung} beside SB",
        alt=f"Test accuracy against updates on rung {rung}, beside the small batch",
    )
    for k, name in enumerate(dict.fromkeys(("SB", rung))):
        (state,) = [s for s in states if dict(s.sweep.key)["rung"] == name]
        for i, config in enumerate(state.needed):
            record = records.get(config.id)
            if record is None or record.status != "done":
                continue
            x, y = _test_curve(record)
            fig.add_scatter(
                x=x,
                y=y,
                mode="lines+markers",
                line={"color": PALETTE[k], "dash": DASHES[k], "width": 1.5},
                marker={"symbol": SYMBOLS[k], "size": 6},
                name=name,
                legendgroup=name,
                showlegend=i == 0,
            )
    return provenance(fig, note)


def _test_curve(record: Record) -> tuple[list[float], list[float]]:
    """Updates and test accuracy along a run, its end included."""
    steps = [float(step or 0) for step in record.curves.get("test_step", [])]
    values = [float(v or 0) for v in record.curves.get("test_accuracy", [])][: len(steps)]
    config = record.config
    last = config.total_steps(config.train_size or data.train_size(config.dataset))
    return [*steps, float(last)], [*values, float(record.metrics["test_accuracy"] or 0.0)]


def _accuracies(records: Mapping[str, Record]) -> tuple[float, float]:
    seen = [v for r in records.values() if r.status == "done" for v in _test_curve(r)[1]]
    return (min(seen) - 2, max(seen) + 2) if seen else (0.0, 100.0)


def distances(
    states: Sequence[SweepState], records: Mapping[str, Record], note: Source
) -> go.Figure:
    """H17's figure 2: ‖w − w₀‖ against the logarithm of the step, one run of each rung."""
    fig = figure(
        x="updates",
        x_unit=None,
        y="distance from the start ‖w − w₀‖",
        y_unit=None,
        log="x",
        alt="Distance of the weights from their start against updates, one run of each rung",
    )
    for k, state in enumerate(states):
        done = [c for c in state.needed if c.id in records and records[c.id].curves]
        if not done:
            continue
        curves = records[done[0].id].curves
        fig.add_scatter(
            x=curves["step"],
            y=curves["distance"],
            mode="lines+markers",
            line={"color": PALETTE[k], "dash": DASHES[k]},
            marker={"symbol": SYMBOLS[k], "size": 6},
            name=str(dict(state.sweep.key)["rung"]),
        )
    fig.add_annotation(
        text="a straight line is growth with log t",
        xref="paper",
        yref="paper",
        x=0.02,
        y=0.98,
        showarrow=False,
        font={"color": MUTED},
    )
    return provenance(fig, note)


def verdicts(rungs: pd.DataFrame) -> str:
    """What of H17's table 1 these records show and what not, from the numbers; Markdown."""
    by = rungs.set_index("rung")
    return "\n".join(
        [
            f"- **A large batch is worse with the small one's recipe**: "
            f"{_order(by, 'LB', 'SB', 'worse')}",
            *(
                f"- **{what}**: {_order(by, above, below, 'better')}"
                for above, below, what in (
                    ("+LR", "LB", "The learning rate times √(LB/SB) helps"),
                    ("+GBN", "+LR", "Ghost batch norm helps further"),
                    ("+RA", "+GBN", "As many updates help further"),
                )
            ),
            f"- **With as many updates no gap is left**: {_no_gap(by)}",
            *_without_a_gap(by),
        ]
    )


def _difference(by: pd.DataFrame, above: str, below: str) -> tuple[float, float] | str:
    """The difference of two rungs and its standard error, or why there is no verdict."""
    for rung in (above, below):
        if not by.seeds[rung]:
            return f"not yet measured ({rung} is missing)."
        if by.diverged[rung]:
            return f"{by.diverged[rung]} of {by.seeds[rung]} runs of {rung} diverged: no verdict."
    value = float(by.accuracy[above] - by.accuracy[below])
    error = math.hypot(by.error[above], by.error[below])
    if not math.isfinite(error):
        return f"{value:+.2f} points, but one seed has no spread: no verdict."
    return value, error


def _order(by: pd.DataFrame, above: str, below: str, which: str) -> str:
    found = _difference(by, above, below)
    if isinstance(found, str):
        return found
    value, error = found
    sign = 1 if which == "better" else -1
    verdict = "shown" if sign * value > 2 * error else "not shown"
    return f"{above} less {below} is {value:+.2f} ± {error:.2f} points (standard error); {verdict}."


def _no_gap(by: pd.DataFrame) -> str:
    found = _difference(by, "+RA", "SB")
    if isinstance(found, str):
        return found
    value, error = found
    verdict = "shown" if value >= -2 * error else "not reproduced"
    return f"+RA less SB is {value:+.2f} ± {error:.2f} points (standard error); {verdict}."


def _without_a_gap(by: pd.DataFrame) -> list[str]:
    """What the ladder tells where the large batch is not worse to begin with."""
    found = _difference(by, "LB", "SB")
    if isinstance(found, str) or found[0] < -2 * found[1]:
        return []
    said = "- **Where there is no gap none can be closed**: the rungs tell what each recipe does."
    if math.isfinite(by.fitted["SB"] + by.fitted["+RA"]):
        said += (
            f" SB ends with {by.fitted['SB']:.1f} % of the training images classified rightly, "
            f"+RA with {by.fitted['+RA']:.1f} %."
        )
    return [said]
