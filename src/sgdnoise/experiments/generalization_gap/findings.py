"""H17's ladder from records: what each rung reaches, how much of the gap it closes, and verdicts.

The recipes are fixed and nothing is tuned, so that each rung's statistic is the mean over all its
seeds, with Student's t on its own variance. A rung of which a run diverged has no mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sgdnoise import data
from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Estimate
from sgdnoise.claims import Claim, Verdict, directional
from sgdnoise.experiments.generalization_gap.grid import RUNGS
from sgdnoise.papers.numbers import H17_NETWORKS, table
from sgdnoise.records.record import Record
from sgdnoise.study.grid import SweepState

if TYPE_CHECKING:
    import plotly.graph_objects as go


def rows(reading: Reading) -> pd.DataFrame:
    """One row a rung: its recipe, what it reached, and what H17 prints.

    Columns: `rung`, `batch_size`, `learning_rate`, `norm` (whose examples share statistics),
    `epochs`, `updates`, `seeds` (recorded), `diverged`, `accuracy` and `std` (over all seeds, NaN
    where one diverged or none is there), `error` (of the mean, NaN for one seed), `fitted` (mean
    training accuracy, likewise), `printed`, `settled` (whether all its seeds are there).
    """
    return pd.DataFrame([_row(state, reading.records) for state in reading.states])


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


def recipe_table(reading: Reading) -> pd.DataFrame:
    """The rungs as H17's table 1, with the recipe that each stands for."""
    rungs = rows(reading)
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


def ladder(reading: Reading) -> go.Figure:
    """Test accuracy rung by rung: ours with its standard deviation, and H17's own."""
    from sgdnoise.figures.theme import BLUE, figure, paper_value, provenance
    from sgdnoise.figures.tuned import source

    rungs = rows(reading)
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
    return provenance(fig, source(reading))


def climbed(reading: Reading) -> list[str]:
    """The rungs of which at least one run did not diverge."""
    rungs = rows(reading)
    return rungs.rung[rungs.seeds > rungs.diverged].tolist()


def climb(reading: Reading, rung: str) -> go.Figure:
    """One rung's test accuracy along its training, every seed, over that of SB."""
    from sgdnoise.figures.theme import DASHES, PALETTE, SYMBOLS, figure, provenance
    from sgdnoise.figures.tuned import source

    records = reading.records
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
        (state,) = [s for s in reading.states if dict(s.sweep.key)["rung"] == name]
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
    return provenance(fig, source(reading))


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


def distances(reading: Reading) -> go.Figure:
    """H17's figure 2: ‖w − w₀‖ against the logarithm of the step, one run of each rung."""
    from sgdnoise.figures.theme import DASHES, MUTED, PALETTE, SYMBOLS, figure, provenance
    from sgdnoise.figures.tuned import source

    records = reading.records
    fig = figure(
        x="updates",
        x_unit=None,
        y="distance from the start ‖w − w₀‖",
        y_unit=None,
        log="x",
        alt="Distance of the weights from their start against updates, one run of each rung",
    )
    for k, state in enumerate(reading.states):
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
    return provenance(fig, source(reading))


def _step(reading: Reading, above: str, below: str) -> Estimate:
    """The difference of two rungs, by all their seeds."""
    mine, theirs = (reading.reached((("rung", rung),)) for rung in (above, below))
    return mine - theirs


def _lost(reading: Reading, *rungs: str) -> str:
    """What a comparison of rungs lacks: that none of their runs is lost."""
    by = rows(reading).set_index("rung").loc[list(rungs)]
    for rung, lost, seeds in zip(by.index, by.diverged, by.seeds, strict=True):
        if lost:
            return f"{lost} of {seeds} runs of {rung} diverged."
    return ""


def _no_gap(reading: Reading, *rungs: str) -> str:
    """What rungs lack to climb the ladder: a gap between the small batch and the large one."""
    if lost := _lost(reading, "SB", "LB", *rungs):
        return lost
    if _step(reading, "SB", "LB").interval.low > 0:
        return ""
    return (
        f"no gap shows that could be closed: LB is {_step(reading, 'LB', 'SB')} points from SB "
        "with the small batch's recipe."
    )


def _theirs(reading: Reading, above: str, below: str) -> float | None:
    """The same step in H17's table 1, in points, for the net that is trained here."""
    config = next(iter(reading.records.values())).config
    printed = table("H17-T1").set_index("network")
    row = printed[printed.index == H17_NETWORKS.get(config.model)]
    return None if row.empty else float((row[above] - row[below]).iloc[0])


def _order(reading: Reading, above: str, below: str, sign: int) -> Verdict:
    """Whether one rung is better than another, or worse for a sign of −1."""
    found = _step(reading, above, below)
    return directional(
        f"{above} less {below} is {found} points.",
        found,
        unit="points",
        sign=sign,
        margin=NO_GAP,
        printed=_theirs(reading, above, below),
    )


NO_GAP = 0.5
"""Points within which no gap is left: H17 calls its gap closed where +RA is 0.13 below SB, and
prints one run a cell, without a spread."""


def no_gap_left(reading: Reading) -> Verdict:
    """Whether the last rung is no worse than the small batch, by less than a margin."""
    found = _step(reading, "+RA", "SB")
    # No worse is what is claimed: how much better it is does not matter.
    above = replace(found, value=found.value + NO_GAP)
    verdict = directional(
        f"+RA less SB is {found} points; no worse means above −{NO_GAP:g}.",
        above,
        unit="points",
    )
    interval = found.interval
    return replace(
        verdict,
        effect=found.value if math.isfinite(found.value) else None,
        interval=(interval.low, interval.high) if verdict.interval else None,
        margin=NO_GAP,
        printed=_theirs(reading, "+RA", "SB"),
        p=None,
    )


def without_a_gap(reading: Reading) -> str:
    """What the ladder tells where the large batch is not worse to begin with; empty where it is."""
    if _lost(reading, *RUNGS) or not _no_gap(reading):
        return ""
    said = "Where no gap shows none can be closed: the rungs tell what each recipe does."
    fitted = rows(reading).set_index("rung").fitted
    if math.isfinite(fitted["SB"] + fitted["+RA"]):
        said += (
            f" SB ends with {fitted['SB']:.1f} % of the training images classified rightly, "
            f"+RA with {fitted['+RA']:.1f} %."
        )
    return said


_STEPS = {
    "rate-helps": ("+LR", "LB"),
    "ghosts-help": ("+GBN", "+LR"),
    "updates-help": ("+RA", "+GBN"),
}


def _gap_lacks(reading: Reading) -> str:
    return _lost(reading, "SB", "LB")


def _step_claim(name: str, above: str, below: str) -> Claim:
    """The claim that a rung is better than the one before it."""

    def lacks(reading: Reading) -> str:
        return _no_gap(reading, above, below)

    better = partial(_order, above=above, below=below, sign=1)
    return Claim(f"H17-T1.{name}", better, needs=lacks)


def _close_lacks(reading: Reading) -> str:
    return _no_gap(reading, "+RA")


CLAIMS = (
    Claim(
        "H17-T1.large-is-worse",
        partial(_order, above="LB", below="SB", sign=-1),
        needs=_gap_lacks,
    ),
    *(_step_claim(name, *rungs) for name, rungs in _STEPS.items()),
    Claim("H17-T1.no-gap-left", no_gap_left, needs=_close_lacks),
)
