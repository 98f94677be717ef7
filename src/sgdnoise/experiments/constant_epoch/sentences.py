"""Sentences of `constant-epoch` beside its verdicts."""

from __future__ import annotations

from sgdnoise.analysis import Reading
from sgdnoise.analysis.tuning import collapses


def look_at(reading: Reading) -> str:
    """What to look for in the sweeps behind the optima."""
    marks = "Every small mark is a run."
    if any(collapses(one) for one in reading.tuned().values()):
        return (
            f"{marks} Look for the cliff, the learning rate beyond which runs are lost: does it "
            "move up with the batch size, and where does it stop?"
        )
    if reading.waiting:
        return marks
    return (
        f"{marks} Look at where the top is. These grids end before a rate at which runs are lost."
    )
