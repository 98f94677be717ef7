"""The grids: which runs each figure and table needs, at each scale, and how a grid grows.

An experiment is a pure function from what has been recorded to the runs that it needs: first the
frozen grid, then one more step on a side that an optimum or its error bar touches (the edge rule),
then fresh seeds at the tuned learning rate, which the tuning never saw. Whatever stopped a sweep,
asking again gives what is missing.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sgdnoise.config import RunConfig, make_config
from sgdnoise.errors import InputError
from sgdnoise.protocol import BEST_FRACTION, Cell, Point, Tuned, grow, summarise, tune

SCALES = ("digits", "cpu", "gpu", "paper")

FRESH_SEED = 1000
"""Seeds from here on re-estimate at the tuned learning rate; the tuning uses those from 0."""

Key = tuple[tuple[str, Any], ...]
"""What tells a sweep from its neighbours: names and values, hashable, in a fixed order."""

Outcome = Mapping[str, float]
"""What became of a run, by objective: NaN where it diverged or failed."""


@dataclass(frozen=True)
class Axis:
    """A tuned quantity on a geometric grid: (2^step)^k for k from `low` to `high`, inclusive.

    `name` is a field that `Sweep.config` knows: `effective_learning_rate`, or
    `final_learning_rate` (effective too), S20's ε_f.
    """

    name: str
    low: int
    high: int
    step: int = 1

    def value(self, k: int) -> float:
        """The quantity at grid coordinate k."""
        return 2.0 ** (self.step * k)


@dataclass(frozen=True)
class Sweep:
    """One tuned curve point: everything fixed but what the axes vary, and the seed.

    Attributes:
        key: what tells this sweep from its neighbours in the figure, such as method and batch size.
        fixed: config fields shared by all its runs.
        axes: the grid as first planned.
        objectives: the final numbers it is tuned for, the figure's own first.
        best: fraction of the seeds that the statistics keep.
    """

    key: Key
    fixed: tuple[tuple[str, Any], ...]
    axes: tuple[Axis, ...]
    objectives: tuple[str, ...] = ("test_accuracy",)
    best: float = BEST_FRACTION

    def config(self, point: Point, seed: int) -> RunConfig:
        """The run at a grid point."""
        return _config(self, point, seed)

    def _build(self, point: Point, seed: int) -> RunConfig:
        fields = dict(self.fixed)
        value = {axis.name: axis.value(k) for axis, k in zip(self.axes, point, strict=True)}
        effective = value["effective_learning_rate"]
        fields["learning_rate"] = _rounded(effective * (1 - fields.get("momentum", 0.0)))
        if "final_learning_rate" in value:
            # Ten drops lead from the initial to the final learning rate: S20 §7.1.
            ratio = effective / value["final_learning_rate"]
            fields["decay_factor"] = _rounded(ratio ** (1 / 10))
        return make_config(**fields, seed=seed)

    @property
    def frozen(self) -> tuple[tuple[int, int], ...]:
        """Lowest and highest exponent of each axis, as first planned."""
        return tuple((axis.low, axis.high) for axis in self.axes)


def _rounded(value: float) -> float:
    """To twelve digits: the last ones differ between machines' libraries, and ids must not."""
    return float(f"{value:.12g}")


@functools.lru_cache(maxsize=1 << 16)
def _config(sweep: Sweep, point: Point, seed: int) -> RunConfig:
    # Validated once: a sweep's runs are asked for again at every look at the store.
    return sweep._build(point, seed)


@dataclass(frozen=True)
class SweepState:
    """How far a sweep is: what it still needs, and what it has found.

    Attributes:
        sweep: whose state this is.
        needed: all runs that it needs as things stand, tuning runs first.
        grid: the exponent ranges, grown as far as the records have it.
        cells: the summary of each complete grid point, by objective.
        tuned: the optimum by objective, once the whole grid is recorded; None before that, or
            where everything diverged.
        settled: whether the grid is done growing and recorded in full.
        fresh_runs: ids of the re-estimating runs, at the first objective's optimum.
    """

    sweep: Sweep
    needed: list[RunConfig]
    grid: tuple[tuple[int, int], ...]
    cells: dict[str, dict[Point, Cell]] = field(default_factory=dict)
    tuned: dict[str, Tuned | None] = field(default_factory=dict)
    settled: bool = False
    fresh_runs: tuple[str, ...] = ()


def grid_points(grid: tuple[tuple[int, int], ...]) -> list[Point]:
    """All points of a grid, the first axis slowest."""
    return list(itertools.product(*(range(low, high + 1) for low, high in grid)))


def advance(sweep: Sweep, seeds: int, outcomes: Mapping[str, Outcome]) -> SweepState:
    """Where a sweep stands, given what has been recorded: a pure function.

    Args:
        sweep: the sweep.
        seeds: runs a grid point, and fresh ones at the optimum.
        outcomes: what is recorded, by run id; runs of other sweeps do not matter.
    """

    def values(configs: list[RunConfig], objective: str) -> list[float]:
        return [outcomes[c.id][objective] for c in configs if c.id in outcomes]

    grid = sweep.frozen
    while True:
        runs = {p: [sweep.config(p, seed) for seed in range(seeds)] for p in grid_points(grid)}
        needed = [config for configs in runs.values() for config in configs]
        cells = {
            objective: {
                point: summarise(values(configs, objective), objective, sweep.best)
                for point, configs in runs.items()
                if any(config.id in outcomes for config in configs)
            }
            for objective in sweep.objectives
        }
        if any(config.id not in outcomes for config in needed):
            tuned = {o: tune(cells[o], o) if cells[o] else None for o in sweep.objectives}
            return SweepState(sweep, needed, grid, cells, tuned)
        tuned = {objective: tune(cells[objective], objective) for objective in sweep.objectives}
        grown = grow(grid, sweep.frozen, list(tuned.values()))
        if grown == grid:
            break
        grid = grown
    best = tuned[sweep.objectives[0]]
    fresh = [sweep.config(best.point, FRESH_SEED + seed) for seed in range(seeds)] if best else []
    ids = tuple(config.id for config in fresh)
    return SweepState(sweep, needed + fresh, grid, cells, tuned, True, ids)


@dataclass(frozen=True)
class Experiment:
    """One of the papers' experiments.

    Attributes:
        name: as the command line knows it.
        title: what a page calls it.
        items: ids of the papers' figures and tables that it remakes.
        sweeps: its sweeps at each scale it stands at.
        seeds: runs a grid point at each scale, unless `--seeds` says otherwise.
        notebook: the page that shows it, in `book/`.
        leaves_out: for each scale, what it leaves out of the paper's protocol.
    """

    name: str
    title: str
    items: tuple[str, ...]
    sweeps: Mapping[str, Callable[[], list[Sweep]]]
    seeds: Mapping[str, int]
    notebook: str
    leaves_out: Mapping[str, str]

    def states(
        self, scale: str, seeds: int, outcomes: Mapping[str, Outcome]
    ) -> Iterator[SweepState]:
        """Where each of its sweeps stands."""
        for sweep in self.sweeps[scale]():
            yield advance(sweep, seeds, outcomes)


DIGITS = {
    "dataset": "digits",
    "model": "digits-mlp",
    "weight_decay": 5e-4,
    "sampling": "reshuffle",
    "schedule": "hold-then-decay",
}
"""Scale `digits`: MLP 64-64-10 without normalisation on 1,024 of scikit-learn's digits."""

METHODS = {"sgd": 0.0, "momentum": 0.9}


CPU = {
    "dataset": "cifar10-16",
    "train_size": 5000,
    "model": "wrn-10-1",
    "norm": "ghost",
    "ghost_batch_size": 16,
    "weight_decay": 5e-4,
    "augment": "s20",
    "sampling": "reshuffle",
    "schedule": "hold-then-decay",
}
"""Scale `cpu`: WRN-10-1 on 5,000 images of CIFAR-10 pooled to 16 × 16. The ghost is 16, so that it
is one size at every batch size."""


def _sweep(
    scale: dict[str, Any],
    key: dict[str, Any],
    fixed: dict[str, Any],
    axes: tuple[Axis, ...],
    **options: Any,
) -> Sweep:
    return Sweep(tuple(key.items()), tuple({**scale, **fixed}.items()), axes, **options)


def _rates(centre: int, reach: int) -> tuple[Axis, ...]:
    return (Axis("effective_learning_rate", centre - reach, centre + reach),)


def _constant_epoch_digits() -> list[Sweep]:
    # Seven learning rates about ε_eff ∝ B, levelling off, where a pilot with three other seeds
    # (900 to 902) had its optima. The edge rule mends the grid where this was off.
    return [
        _sweep(
            DIGITS,
            {"method": method, "batch_size": 2**k},
            {"momentum": momentum, "batch_size": 2**k, "epochs": 40.0},
            _rates(min(k - 5, -1 if method == "sgd" else 1), 3),
        )
        for method, momentum in METHODS.items()
        for k in range(11)
    ]


def _constant_epoch_cpu() -> list[Sweep]:
    # Centred on the temperature of S20's table 1 at B = 1,024, 2^3 / 2^10, up to where plain SGD
    # and momentum are likely to meet the curvature; no pilot was run.
    return [
        _sweep(
            CPU,
            {"method": method, "batch_size": 2**k},
            {"momentum": momentum, "batch_size": 2**k, "epochs": 30.0},
            _rates(min(k - 7, 0 if method == "sgd" else 2), 2),
        )
        for method, momentum in METHODS.items()
        for k in (4, 6, 8, 10, 12)
    ]


def _constant_step_digits() -> list[Sweep]:
    # 1,280 updates: 40 epochs at B = 32. The largest batch is the whole training set, without any
    # noise. Centred as the constant epoch budget is.
    return [
        _sweep(
            DIGITS,
            {"method": "momentum", "batch_size": 2**k},
            {"momentum": 0.9, "batch_size": 2**k, "steps": 1280},
            _rates(min(k - 5, 1), 3),
        )
        for k in range(3, 11)
    ]


def _constant_step_cpu() -> list[Sweep]:
    return [
        _sweep(
            CPU,
            {"method": "momentum", "batch_size": 2**k},
            {"momentum": 0.9, "batch_size": 2**k, "steps": 256},
            _rates(min(k - 7, 2), 2),
        )
        for k in (6, 8, 10, 11, 12)
    ]


def _unlimited_epochs_digits() -> list[Sweep]:
    # B = 8 is noise-dominated in the constant epoch budget. A factor of 128 in epochs, as in S20.
    return [
        _sweep(
            DIGITS,
            {"method": "momentum", "epochs": 10 * 2**k},
            {"momentum": 0.9, "batch_size": 8, "epochs": 10.0 * 2**k},
            _rates(-3, 3),
            objectives=("test_accuracy", "train_loss"),
        )
        for k in range(8)
    ]


def _initial_final_lr_digits() -> list[Sweep]:
    # The final learning rate in steps of four: S20 finds it matters little.
    return [
        _sweep(
            DIGITS,
            {"method": "momentum", "epochs": epochs},
            {"momentum": 0.9, "batch_size": 8, "epochs": float(epochs)},
            (
                Axis("effective_learning_rate", -5, -1),
                Axis("final_learning_rate", -7, -3, step=2),
            ),
            objectives=("test_accuracy", "train_loss"),
            best=5 / 7,
        )
        for epochs in (20, 80, 320)
    ]


_DIGITS_LEAVES_OUT = (
    "An MLP without normalisation on 1,024 small images of digits, in place of a WRN-16-4 on "
    "CIFAR-10: no convolution, no augmentation"
)
_CPU_LEAVES_OUT = (
    "A WRN-10-1 on 5,000 images of CIFAR-10, mean-pooled to 16 × 16, in place of a WRN-16-4 on "
    "all 50,000 at 32 × 32; ghosts of 16 in place of 64; 3 seeds in place of 15"
)

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in [
        Experiment(
            name="constant-epoch",
            title="A constant epoch budget",
            items=("S20-F1a", "S20-F1b", "S20-F1c"),
            sweeps={"digits": _constant_epoch_digits, "cpu": _constant_epoch_cpu},
            seeds={"digits": 15, "cpu": 3},
            notebook="constant-epoch.ipynb",
            leaves_out={
                "digits": f"{_DIGITS_LEAVES_OUT}, and 40 epochs in place of 200.",
                "cpu": f"{_CPU_LEAVES_OUT}, and 30 epochs in place of 200.",
            },
        ),
        Experiment(
            name="constant-step",
            title="A constant step budget",
            items=("S20-T1",),
            sweeps={"digits": _constant_step_digits, "cpu": _constant_step_cpu},
            seeds={"digits": 15, "cpu": 3},
            notebook="constant-step.ipynb",
            leaves_out={
                "digits": f"{_DIGITS_LEAVES_OUT}, and 1,280 updates in place of 9,765.",
                "cpu": f"{_CPU_LEAVES_OUT}, and 256 updates in place of 9,765.",
            },
        ),
        Experiment(
            name="unlimited-epochs",
            title="Unlimited epochs",
            items=("S20-F2a", "S20-F2b", "S20-F2c", "S20-F2d"),
            sweeps={"digits": _unlimited_epochs_digits},
            seeds={"digits": 7},
            notebook="unlimited-epochs.ipynb",
            leaves_out={
                "digits": (
                    f"{_DIGITS_LEAVES_OUT}; 10 to 1,280 epochs in place of 50 to 6,400, at batch "
                    "size 8 in place of 64, 7 seeds in place of 15. Only the net without batch "
                    "norm: this one has none."
                )
            },
        ),
        Experiment(
            name="initial-final-lr",
            title="Initial and final learning rate",
            items=("S20-F3a", "S20-F3b", "S20-F3c", "S20-F3d"),
            sweeps={"digits": _initial_final_lr_digits},
            seeds={"digits": 7},
            notebook="initial-final-lr.ipynb",
            leaves_out={
                "digits": (
                    f"{_DIGITS_LEAVES_OUT}; 20, 80 and 320 epochs, at batch size 8 in place of 64; "
                    "the final learning rate in steps of four."
                )
            },
        ),
    ]
}


def experiment_named(name: str, scale: str) -> Experiment:
    """The experiment of a name, at a scale that it stands at.

    Raises:
        InputError: for an unknown experiment or scale; the legal ones are listed.
    """
    if name not in EXPERIMENTS:
        raise InputError(
            f"no experiment is called {name!r}: choose one of {', '.join(EXPERIMENTS)}, or all"
        )
    if scale not in SCALES:
        raise InputError(f"no scale is called {scale!r}: choose one of {', '.join(SCALES)}")
    experiment = EXPERIMENTS[name]
    if scale not in experiment.sweeps:
        raise InputError(
            f"{name} does not stand at scale {scale} yet: choose one of "
            f"{', '.join(experiment.sweeps)}"
        )
    return experiment
