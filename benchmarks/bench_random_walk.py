"""Walks on a random potential: 10⁸ steps of walkers, beside numpy with all walkers at once.

Ten seconds on two cores are allowed for them. Ours takes one core. The baseline moves all walkers a
step at a time, its random numbers drawn in blocks, and is extrapolated from a hundredth of the
steps; compilation is not counted on either side. Seconds are the process's own, on one thread:
what neighbours take of a shared core is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.row import Row
from sgdnoise.theory import random_walk

ALLOWED_S = 10.0
POTENTIALS, STEPS, REACH = 1000, 100_000, 4096


def baseline(steps: int) -> np.ndarray:
    """rms distance after so many steps of one walker on each potential, in plain numpy."""
    rng = np.random.default_rng(1)
    u = random_walk.increments(1.0, 2 * REACH + 1, POTENTIALS, rng)
    right = 1 / (1 + np.exp(u))
    place, row = np.full(POTENTIALS, REACH), np.arange(POTENTIALS)
    for _ in range(steps // 100):
        for draw in rng.random((100, POTENTIALS)):
            place = place + 2 * (draw < right[row, place]) - 1
    return np.asarray(np.sqrt(((place - REACH) ** 2).mean()))


def rows() -> Iterator[Row]:
    """The row of the bench table that this file answers for."""
    random_walk.walk(1.0, 1.0, [2], potentials=1, reach=8)
    few = STEPS // 100
    start = time.process_time()
    walk = random_walk.walk(1.0, 1.0, [few, STEPS], potentials=POTENTIALS, reach=REACH)
    ours_s = time.process_time() - start
    start = time.process_time()
    theirs = float(baseline(few))
    baseline_s = (time.process_time() - start) * 100
    apart = abs(float(walk.rms[0]) / theirs - 1)
    yield Row(
        name=f"random walk on a random potential: {POTENTIALS * STEPS:.0e} walker-steps",
        ours_s=ours_s,
        baseline_s=baseline_s,
        required=5,
        agreement=f"rms distance after {few:,} steps within {apart:.1%}",
        note=(
            f"seconds of one thread; {ALLOWED_S:g} s are allowed; baseline from {few:,} steps of "
            "each walker"
        ),
        agrees=ours_s <= ALLOWED_S and apart < 0.15,
    )
