"""Sinai's walk on random potentials, which no net has a part in: computed once, and recorded."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgdnoise.theory import random_walk

FloatArray = NDArray[np.float64]

POTENTIALS, GROUPS, DOUBLINGS, FIRST = 8000, 10, 30, 7
"""Of the walk on a random potential: until 2³⁰ steps, from 2⁷ on. Before these were tried 60
potentials (ΔAIC +9 [−4, +22]) and 400 (+81 [+39, +122]), both on 129 sites, and on 225 sites 400
and 1,600 with two seeds each (+38 [−10, +86], +5 [−44, +55], +51 [+14, +87], +17 [−11, +44])."""

SITES = 225
"""Of the line, whose ends reflect: at 2³⁰ steps they shorten the rms by less than a thousandth, and
those of 129 sites by some per cent."""

RECORD = Path(__file__).with_name("walk.json")
"""What `make walk` wrote: E x² of every group of potentials, too long a computation for a page."""


def walk_of_group(group: int, doublings: int = DOUBLINGS) -> FloatArray:
    """E x² of Sinai's walk, α = 1, at T = 1/5 and t = 2⁷ … 2³⁰, the mean over a group's potentials.

    Exact for each potential.

    Args:
        group: which potentials.
        doublings: log₂ of the last time.
    """
    rng = np.random.default_rng([1982, group])
    u = random_walk.increments(1.0, SITES, POTENTIALS // GROUPS, rng)
    return random_walk.exact_squares(u, 0.2, doublings)[:, FIRST - 1 :].mean(axis=0)


@cache
def walk_on_a_line() -> random_walk.Walk:
    """The walk of all groups, as recorded; its squares are the groups' means."""
    squares = np.array(json.loads(RECORD.read_text(encoding="utf-8")))
    return random_walk.Walk(2 ** np.arange(FIRST, DOUBLINGS + 1), squares, 0.0)
