"""One row of the bench table: our time beside an independent baseline's, in the same run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Row:
    """Two seconds-counts that give the same answer, and the ratio that is asked for.

    Attributes:
        name: what is done.
        ours_s: our wall time, in seconds.
        baseline_s: the baseline's wall time, in seconds.
        required: the least acceptable `ratio`.
        agreement: how far the two answers are apart, in words.
        note: how the times were taken, and what else was measured.
        agrees: whether the two answers are as near as they have to be.
    """

    name: str
    ours_s: float
    baseline_s: float
    required: float
    agreement: str
    note: str = ""
    agrees: bool = True

    @property
    def ratio(self) -> float:
        """How many times faster than the baseline."""
        return self.baseline_s / self.ours_s

    @property
    def reached(self) -> bool:
        """Whether the row shows what it has to."""
        return self.ratio >= self.required and self.agrees
