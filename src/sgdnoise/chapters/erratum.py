"""What an erratum is, and when it counts as confirmed.

An erratum sets three numbers side by side: what the paper's form gives, what the corrected form
gives, and what a simulation finds that uses neither. It is confirmed if the simulation agrees with
the corrected number and disagrees with the printed one, at four standard errors both times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Kind = Literal["formula", "claim", "reading", "text"]
Paper = Literal["S20", "H17", "G20"]

ERRORS = 4.0
"""How many standard errors apart two numbers disagree."""


@dataclass(frozen=True)
class Comparison:
    """One quantity three times: as printed, as corrected, as simulated.

    Attributes:
        quantity: what it is, with its unit or what it is divided by.
        printed, corrected: what the paper's form and the corrected form give.
        simulated: what comes out when it is tried.
        error: standard error of `simulated`; 0 where it is counted, not estimated.
    """

    quantity: str
    printed: float
    corrected: float
    simulated: float
    error: float

    @property
    def agrees(self) -> bool:
        """Whether the simulation agrees with the corrected number."""
        return bool(abs(self.simulated - self.corrected) <= ERRORS * self.error)

    @property
    def excludes(self) -> bool:
        """Whether the simulation disagrees with the printed number."""
        return bool(abs(self.simulated - self.printed) > ERRORS * self.error)

    def swapped(self) -> Comparison:
        """The same with printed and corrected exchanged."""
        return replace(self, printed=self.corrected, corrected=self.printed)


@dataclass(frozen=True)
class Erratum:
    """A form of a paper that is wrong, the form that is right, and the check that tells them apart.

    Attributes:
        id: its name on the page, such as G20-E4.
        paper, place: where it is printed.
        wrong: in one sentence what is wrong.
        kind: `formula`; `claim` where what is said of a formula is wrong; `reading` where the paper
            is right and is easily read as what is wrong.
        printed, corrected: the two forms, in plain Unicode.
        check: computes the comparisons; the same numbers at every call.
    """

    id: str
    paper: Paper
    place: str
    wrong: str
    kind: Kind
    printed: str
    corrected: str
    check: Callable[[], tuple[Comparison, ...]]

    @property
    def confirmed(self) -> bool:
        """Whether every comparison agrees with the corrected form and excludes the printed one."""
        return all(c.agrees and c.excludes for c in self.check())

    def swapped(self) -> Erratum:
        """The same with printed and corrected exchanged: it must not be confirmed."""
        return replace(
            self,
            printed=self.corrected,
            corrected=self.printed,
            check=cache(lambda: tuple(c.swapped() for c in self.check())),
        )


@dataclass(frozen=True)
class Slip:
    """A wrong word or number in the text.

    Attributes:
        id, paper, place, wrong: as for an erratum.
        printed, corrected: the two readings.
        arithmetic: whether it holds, and the numbers that say so; None where reading is enough.
    """

    id: str
    paper: Paper
    place: str
    wrong: str
    printed: str
    corrected: str
    arithmetic: Callable[[], tuple[bool, str]] | None = None


@dataclass(frozen=True)
class Doubt:
    """An objection to a paper that does not stand, or that is a limit and no error.

    Attributes:
        id, paper, place: as for an erratum.
        objection: what one might hold against it.
        answer: why that is no erratum, with the numbers computed for it.
    """

    id: str
    paper: Paper
    place: str
    objection: str
    answer: Callable[[], str]


def mean_of(values: FloatArray) -> tuple[float, float]:
    """Mean of independent values, shape (count,), and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


def ratio_of(above: FloatArray, below: FloatArray) -> tuple[float, float]:
    """Mean of `above` over mean of `below`, and its standard error by the delta method.

    The two have one length; what stands at one place may be correlated.
    """
    ratio = above.mean() / below.mean()
    rest = above - ratio * below
    return float(ratio), float(rest.std(ddof=1) / np.sqrt(above.size) / abs(below.mean()))
