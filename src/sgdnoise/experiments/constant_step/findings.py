"""What the records say of S20's table 1."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pandas as pd

from sgdnoise.analysis import Reading
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.claims import FITTED, HELD, NO_LOSS, Claim, Verdict, directional, every
from sgdnoise.data.sizes import images_of
from sgdnoise.experiments.constant_step.grid import FAIR
from sgdnoise.figures.tables import exponent_with_bar, with_spread
from sgdnoise.papers.numbers import table
from sgdnoise.phrases import enumerated
from sgdnoise.study.grid import Key, SweepState
from sgdnoise.study.protocol import TEST_ACCURACY, best_of


def step_budget_table(reading: Reading) -> pd.DataFrame:
    """Our rows in the form of S20's table 1."""
    rows = reading.optima()
    images = pd.Series([dict(s.sweep.fixed).get("train_size") for s in reading.states])
    # Told only where the sweeps differ in it.
    several = images.nunique() > 1
    rows = rows.assign(images=images).sort_values(["images", "batch_size"])
    return pd.DataFrame(
        {
            **({"Training images": rows.images} if several else {}),
            "Batch size": rows.batch_size,
            "Optimal test accuracy (%)": [
                with_spread(m, s)
                for m, s in zip(rows.test_accuracy_mean, rows.test_accuracy_std, strict=True)
            ],
            "Fresh seeds (%)": [
                with_spread(m, s)
                for m, s in zip(rows.test_accuracy_fresh, rows.test_accuracy_fresh_std, strict=True)
            ],
            "Final training loss": [
                f"{m:.3g}" if np.isfinite(m) else "–" for m in rows.train_loss_mean
            ],
            "Optimal effective learning rate": [
                exponent_with_bar(e, low, high, bound) if seeds else "not yet measured"
                for e, low, high, bound, seeds in zip(
                    rows.exponent, rows.bar_low, rows.bar_high, rows.bound, rows.seeds, strict=True
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


def _is_fair(key: Key) -> bool:
    return set(FAIR) <= set(key)


def _is_unfitted(key: Key) -> bool:
    return not _is_fair(key)


SomeReading = TypeVar("SomeReading", bound=Reading)


def fair(reading: SomeReading) -> SomeReading:
    """The sweeps on so few images that the largest batch can fit them, where there are any."""
    few = reading.part(_is_fair)
    return few if few.states else reading


def shown(reading: SomeReading) -> SomeReading:
    """What a page draws: the fair test, or what was measured before it until it is measured."""
    few = fair(reading)
    if few is reading or all(state.cells[TEST_ACCURACY.name] for state in few.states):
        return few
    before = reading.part(_is_unfitted)
    return before if before.runs else few


def unfitted(reading: Reading) -> str:
    """Why other sweeps stand beside the fair test, in Markdown; empty where there are none."""
    if fair(reading) is reading:
        return ""
    others = reading.part(_is_unfitted)
    images = {run.config.train_size for run in others.runs}
    few = f"{images_of(fair(reading).states[0].needed[0]):,}"
    kept = best_of(others.seeds, others.states[0].sweep.best)
    return (
        f"## Where no batch size fits its data\n\nThese sweeps, on "
        f"{', '.join(f'{n:,}' for n in sorted(filter(None, images)))} images, came before the runs "
        f"on {few} images. They leave every batch size with data that it has not fitted, and "
        "cannot test S20's table 1: neither for it nor against it. They have "
        f"{others.seeds} seeds a rate, the runs on {few} images {fair(reading).seeds}. An optimal "
        f"accuracy here is that of the best {kept} of them."
    )


def unfitted_table(reading: Reading) -> pd.DataFrame | str:
    """Their rows in the form of S20's table 1; empty where there are none."""
    if fair(reading) is reading:
        return ""
    return step_budget_table(reading.part(_is_unfitted))


def _rows(reading: Reading) -> pd.DataFrame:
    return fair(reading).optima().sort_values("batch_size").reset_index(drop=True)


def _s20_peak() -> pd.Series:
    """The row of S20's table 1 with the best accuracy."""
    rows = table("S20-T1")
    return rows.iloc[int(rows.test_accuracy.argmax())]


def _fitted(reading: Reading, state: SweepState) -> float:
    """Percent of its training images that fresh seeds classify rightly at a sweep's tuned rate."""
    runs = [reading.records[run] for run in state.fresh_runs if run in reading.records]
    return float(np.mean([float(run.metrics.get("train_accuracy") or 0.0) for run in runs]))


def which_fit(reading: Reading) -> str:
    """Which batch sizes of the fair test fit their training images, in Markdown."""
    rows = _rows(reading)
    if no_optimum(fair(reading), rows.key):
        return ""
    by_key = {state.sweep.key: state for state in reading.states}
    fitted = {
        int(size): _fitted(reading, by_key[key])
        for size, key in zip(rows.batch_size, rows.key, strict=True)
    }
    short = {size: part for size, part in fitted.items() if part < FITTED}
    if not short:
        return f"At every batch size {FITTED:g} % or more of the training images are fitted."
    told = enumerated(f"B = {size:,} reaches {part:.1f} %" for size, part in short.items())
    full = enumerated(f"{size:,}" for size in fitted if size not in short)
    first = (
        f"Only B = {full} {'fits' if len(fitted) - len(short) == 1 else 'fit'} the training "
        f"images, to {FITTED:g} % or more"
        if full
        else f"No batch size fits {FITTED:g} % of its training images"
    )
    return (
        f"{first}; {told}. A lower test accuracy there is undertraining, and tells nothing of "
        "noise."
    )


def designs(reading: Reading) -> str:
    """Images, updates, batch sizes and seeds of each design, in Markdown.

    A page's line on its scale has those of all sweeps in one.
    """
    main = fair(reading)
    lines = [f"The main table and the verdicts rest on {_design(main)}."]
    if main is not reading:
        before = _design(reading.part(_is_unfitted))
        lines.append(f"The sweeps at the end, where no batch size fits its data, have {before}.")
    return "\n".join(lines)


def _design(part: Reading) -> str:
    run = part.states[0].needed[0]
    sizes = sorted(int(dict(state.sweep.key)["batch_size"]) for state in part.states)
    return (
        f"{images_of(run):,} images, {run.steps:,} updates, {len(sizes)} batch sizes from "
        f"{sizes[0]:,} to {sizes[-1]:,}, {part.seeds} seeds a rate"
    )


def largest_fits(reading: Reading) -> str:
    """What a fair test of table 1 lacks: its largest batch must fit its data as S20's peak does."""
    rows = _rows(reading)
    if lost := no_optimum(fair(reading), rows.key):
        return lost
    (state,) = [s for s in reading.states if s.sweep.key == rows.key.iloc[-1]]
    fitted = _fitted(reading, state)
    loss, theirs = float(rows.train_loss_fresh.iloc[-1]), float(_s20_peak().train_loss)
    if fitted >= FITTED and loss <= theirs:
        return ""
    return (
        f"the largest batch fits {fitted:.1f} % of its training images, at a loss of {loss:.3g}; "
        f"S20 has {theirs:g} at its peak. A fair test takes {FITTED:g} % and a loss no higher than "
        "S20's."
    )


def worse_and_fits(reading: Reading) -> str:
    """What "nonetheless" lacks in a claim about the largest batch: a surely lower accuracy."""
    if lacking := largest_fits(reading):
        return lacking
    worse = largest_is_worse(reading)
    if worse.word in HELD:
        return ""
    return f"the largest batch is not surely worse, so that nothing holds nonetheless: {worse.why}"


def _best(rows: pd.DataFrame) -> Any:
    """The row whose accuracy is best by the tuning's seeds, so that fresh ones can judge it."""
    return rows.iloc[int(rows.test_accuracy_mean.argmax())]


def peaks_inside(reading: Reading) -> Verdict:
    """Whether both the smallest and the largest batch are worse than the best one between."""
    rows = _rows(reading)
    peak = _best(rows.iloc[1:-1])
    falls = {
        f"B = {end.batch_size:,}": reading.reached(peak.key) - reading.reached(end.key)
        for end in (rows.iloc[0], rows.iloc[-1])
    }
    why = (
        f"between {rows.batch_size[0]:,} and {rows.batch_size[len(rows) - 1]:,} the best batch by "
        f"the seeds of the tuning is {peak.batch_size:,}; fresh seeds give its lead over either "
        "end."
    )
    return every(why, falls, unit="points", margin=NO_LOSS)


def largest_is_worse(reading: Reading) -> Verdict:
    """Whether the largest batch does worse than the best other one at equal updates."""
    rows = _rows(reading)
    last, peak = rows.iloc[-1], _best(rows.iloc[:-1])
    fall = reading.reached(peak.key) - reading.reached(last.key)
    theirs = table("S20-T1").sort_values("batch_size").iloc[-1]
    best = _s20_peak()
    return directional(
        f"B = {peak.batch_size:,}, which did best in the tuning of the other batch sizes, minus "
        f"B = {last.batch_size:,} is {fall} points, by fresh seeds.",
        fall,
        unit="points",
        margin=NO_LOSS,
        printed=float(best.test_accuracy - theirs.test_accuracy),
        printed_error=float(np.hypot(best.test_accuracy_std, theirs.test_accuracy_std)),
    )


def loss_lower(reading: Reading) -> Verdict:
    """Whether the training loss at the largest batch is below that at the peak."""
    rows = _rows(reading)
    last, peak = rows.iloc[-1], _best(rows.iloc[:-1])
    ratio = reading.reached(last.key, "train_loss") - reading.reached(peak.key, "train_loss")
    theirs = table("S20-T1").sort_values("batch_size").iloc[-1].train_loss / _s20_peak().train_loss
    mine, best = (2 ** reading.reached(row.key, "train_loss").value for row in (last, peak))
    return directional(
        f"{mine:.3g} at B = {last.batch_size:,} against {best:.3g} at {peak.batch_size:,}, "
        f"geometric means of fresh seeds; their ratio is {ratio} in log₂.",
        ratio,
        unit="log2 ratio",
        sign=-1,
        printed=float(np.log2(theirs)),
    )


def slope(reading: Reading) -> str:
    """How the tuned learning rate grows with the batch size, in Markdown."""
    found = fair(reading).slope("batch_size")
    if not np.isfinite(found.value):
        return "Fewer than two batch sizes have an optimum inside their grid: there is no slope."
    return (
        f"The tuned learning rate against batch size has log-log slope {found} over all batch "
        "sizes. Under small learning rates, equal noise at equal updates would need 0.5, with more "
        "movement by the mean gradient in a larger batch; equal temperature would need 1."
    )


def reach(reading: Reading) -> str:
    """How the training loss at our largest batch stands to those of S20, which fits its data."""
    loss = float(_rows(reading).train_loss_mean.iloc[-1])
    if not np.isfinite(loss):
        return "At the largest batch every learning rate diverged."
    first, peak = table("S20-T1").sort_values("batch_size").iloc[0], _s20_peak()
    said = (
        f"At the largest batch the final training loss is {loss:.3g}, in S20 "
        f"{first.train_loss:.3g} at the smallest batch and {peak.train_loss:.3g} at the peak. "
    )
    if loss > first.train_loss:
        return said + "Even our largest batch fits its data less well than S20's smallest."
    if loss > peak.train_loss:
        return said + "Our largest batch fits its data less well than S20's best."
    return said + "Our largest batch fits its data at least as well as S20's best."


CLAIMS = (
    Claim("S20-T1.peak-inside", peaks_inside, needs=largest_fits, among=fair),
    Claim("S20-T1.largest-worse", largest_is_worse, needs=largest_fits, among=fair),
    Claim("S20-T1.loss-lower", loss_lower, needs=worse_and_fits, among=fair),
)
