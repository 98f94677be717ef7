"""Where the papers disagree: more updates, and which part of a small batch's noise matters.

All on the 1,000 images, and by the protocol, of the fair constant step budget (`constant-step` at
scale `cpu`), in which B = 256 did best in pilots and the largest batch is the whole training set.
What each paper predicts, written before any of these runs:

- More updates. H17: with enough of them the largest batch does as well as the best one. S20: it
  stays behind, though its training loss is lower.
- Noise given back to the largest batch. S20: it does as well as the batch whose noise it has. H17
  agrees, at equal updates, but has no need of it. G20: nothing changes, for the mean step is as
  short as before.
- Steps of fixed length. G20: the largest batch does as well as the best one, for steps that vanish
  are the cause. S20: it does not.
- Small batches in one half only. S20: those of the first half help as all do, those of the second
  do not. H17 and G20 name no such order.
- One pass over fresh images (Vyas et al. 2024, not one of the three): there a larger batch is never
  worse at equal updates, and noise is of no benefit; S20's benefit is one of many passes.

What is done to the largest batch can close a gap only where there is one. So those sweeps have the
most updates, `MOST`, and are idle until the plain ones of as many have shown a gap.

They were planned with `UPDATES` first, where the fair constant step budget then showed none, and
none was run. They moved when the tuning's seeds had shown a gap that opens with the updates, before
its fresh seeds and before any run of them.

A smaller training set, which costs less, showed no gap in pilots (2,000 updates, the best of two to
four rates, one or two runs a rate on seeds 900 and 901, no record kept). On 250
images the whole set as one batch reached 40.2 %, and B = 64 and 32 reached 39.6 and 38.7 %. On 256
images with S20's ghosts of 64 it was 38.3 % against 37.9 % at B = 64, and without any normalisation
or augmentation 29.1 % against 28.1 % at B = 32. All fitted their images, so no such set was taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scipy.stats import ttest_ind

from sgdnoise.records.record import Record
from sgdnoise.study.grid import FRESH_SEED, Key, Sweep, advance, rounded
from sgdnoise.study.scales import CIFAR10, CPU, METHODS, S20_STATES, rates, sweep_of
from sgdnoise.study.study import Experiment, Study

IMAGES = 1000
"""The training set, and with it the largest batch."""

ALL_IMAGES = 50_000
"""Of CIFAR-10."""

BEST = 256
"""The batch size that was best in pilots at 1,000 updates, whose noise is given back."""

UPDATES = 1000

WEIGHT_DECAY = 5e-4

SEEDS = 3
"""A grid point of `passes`, and of twice the updates. All else has the study's own number, as the
fair constant step budget has. With `MOST` updates, too, there were three at first: as many fresh
seeds gave a gap whose interval decides nothing. So they became five, and those of the arms, of
which none had been run."""

GRADIENT_NORM = 2.0**-10
"""To which each gradient is clipped where steps have a fixed length: below any that occurs before
the last digits of a run, so that all are brought to it."""


def _sweep(
    key: Mapping[str, Any],
    fixed: Mapping[str, Any],
    centre: int,
    reach: int,
    most_seeds: int = FRESH_SEED - 1,
) -> Sweep:
    base = {**CPU, "train_size": IMAGES, "momentum": METHODS["momentum"], "steps": UPDATES}
    return sweep_of(
        base,
        {"method": "momentum", **key},
        dict(fixed),
        rates(centre, reach),
        most_seeds=most_seeds,
    )


def plain() -> list[Sweep]:
    """The fair step budget, five rates a point.

    These are runs of `constant-step` too: one config, one id, one record.
    """
    centres = {64: (1, 2), BEST: (3, 2), IMAGES: (2, 2)}
    return _step_budget("plain", UPDATES, centres)


def train_longer() -> list[Sweep]:
    """The fair step budget at twice and four times its updates.

    The largest batch, whose runs take five sixths of the time, has three rates about the one that
    was best with 1,000 updates, which was beyond the grid of `plain`.
    """
    centres = {64: (1, 2), BEST: (3, 2), IMAGES: (4, 1)}
    twice, most = (_step_budget("longer", updates, centres) for updates in LONGER)
    return [replace(sweep, most_seeds=SEEDS) for sweep in twice] + most


LONGER = (2 * UPDATES, 4 * UPDATES)

MOST = LONGER[-1]
"""With which H17's claim is tested, for they do it most good, and with which there is a gap."""


def _step_budget(arm: str, updates: int, grids: Mapping[int, tuple[int, int]]) -> list[Sweep]:
    """So many updates at some batch sizes, each with the centre and the reach of its rates."""
    return [
        _sweep(
            {"batch_size": size, "arm": arm, "updates": updates},
            {"batch_size": size, "steps": updates},
            centre,
            reach,
        )
        for size, (centre, reach) in grids.items()
    ]


def what_of_the_noise() -> list[Sweep]:
    """The largest batch with one property of a smaller one, three rates an arm about 2^3.

    The tuned rates with as many updates are 2^3 at `BEST` and from 2^3 to 2^5, as good as each
    other, at the largest batch, by the seeds of the tuning.
    """
    # In updates the run has two halves, as S20's schedule has; phases count examples.
    half = MOST // 2
    small = BEST / IMAGES
    arms: dict[str, dict[str, Any]] = {
        # σ² = M/M_S − 1, `optim.noise_variance`.
        "noise-back": {"gradient_noise": rounded((IMAGES / BEST - 1) ** 0.5)},
        "small-first": {"phases": ((0.0, small, 1.0), (half * small, 1.0, 1.0))},
        "small-last": {"phases": ((float(half), small, 1.0),)},
    }
    whole = [
        _sweep(
            {"batch_size": IMAGES, "arm": arm},
            {"batch_size": IMAGES, "steps": MOST, **fixed},
            3,
            reach=1,
        )
        for arm, fixed in arms.items()
    ]
    # An update then has the length ε times this norm, but for momentum, whatever the gradient. The
    # decay is brought to the size that it has beside a gradient of norm 1.
    fixed_length = {
        "batch_size": IMAGES,
        "steps": MOST,
        "clip_norm": GRADIENT_NORM,
        "weight_decay": WEIGHT_DECAY * GRADIENT_NORM,
    }
    return [
        *whole,
        _sweep({"batch_size": IMAGES, "arm": "fixed-length"}, fixed_length, _FIXED, reach=1),
    ]


_FIXED = 12
"""2^12 · 2^-10 = 4: what ε = 2^2 makes of a gradient of norm 1. A pilot at 2^11 (one run of
`UPDATES`, seed 900, no record kept) had 48.4 %, at a training loss of 0.001: as the plain rule has
at 2^0, below its best. The other arms have no pilot."""


ONE_PASS = (16, 48)
"""The batch sizes that see no image twice in as many updates."""


def passes() -> list[Sweep]:
    """Equal updates and batch sizes on 1,000 images and on all 50,000.

    48,000 is the most that 1,000 updates see of 50,000 in one pass; B = 256 makes five passes.
    """
    return [
        _sweep(
            {"batch_size": size, "arm": "passes", "train_size": images},
            {"batch_size": size, "train_size": images},
            centre,
            reach=1,
            most_seeds=SEEDS,
        )
        for images, sizes in ((IMAGES, ONE_PASS), (ALL_IMAGES, (*ONE_PASS, BEST)))
        for size, centre in ((size, {16: -1, 48: 0, BEST: 3}[size]) for size in sizes)
    ]


def _cpu() -> list[Sweep]:
    return plain() + what_of_the_noise() + passes() + train_longer()


def _idle(study: Study, records: Mapping[str, Record]) -> Callable[[Key], bool]:
    """The arms, for as long as the plain sweeps show no gap that they could close.

    They are planned a little before a claim about them is tested, which takes a gap at the 95 %
    level, two-sided: here it is one-sided.
    """
    known = study.known(records)
    most = [sweep for sweep in train_longer() if dict(sweep.key)["updates"] == MOST]
    states = {dict(s.key)["batch_size"]: advance(s, study.seeds, known) for s in most}
    if study.seeds > 1 and all(run.id in known for s in states.values() for run in s.needed):
        small, large = (
            [known[run]["test_accuracy"] for run in states[size].fresh_runs]
            for size in (BEST, IMAGES)
        )
        if small and large:
            ahead = ttest_ind(small, large, equal_var=False, alternative="greater")
            if ahead.pvalue < 0.05:
                return lambda key: False
    arms = {dict(sweep.key)["arm"] for sweep in what_of_the_noise()}
    return lambda key: dict(key)["arm"] in arms


def _table_1() -> list[Sweep]:
    """S20's table 1, of which the plain sweeps are a small one."""
    # Imported here: tables need pandas, which a machine that only trains may lack.
    from sgdnoise.papers.numbers import printed, table

    steps = int(printed("S20-T1.updates").value)
    return [
        sweep_of(
            CIFAR10,
            {"method": "momentum", "batch_size": int(size)},
            {"momentum": METHODS["momentum"], "batch_size": int(size), "steps": steps},
            rates(0, 3),
        )
        for size in table("S20-T1").batch_size
    ]


EXPERIMENT = Experiment(
    name="discriminating",
    sweeps={"cpu": _cpu},
    seeds={"cpu": 5},
    idle={"cpu": _idle},
    reference={"": _table_1},
    reference_states=S20_STATES,
    reference_seeds=15,
    remarks={
        "": "No paper ran the arms: they are this book's own, by what each predicts. The sweeps "
        f"with {LONGER[0]:,} updates and those of one pass against many have {SEEDS} seeds. "
        f"Batches of {' and '.join(map(str, ONE_PASS))} belong to one pass against many alone."
    },
)
