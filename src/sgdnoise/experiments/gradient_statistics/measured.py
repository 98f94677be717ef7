"""What the records of `gradient-statistics` measure, seed by seed, as arrays.

Each function gives one number or array a run; a run that diverged, or was measured otherwise, has
none. What verdicts rest on is the mean over seeds, each of which is a net and an order of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sgdnoise import data
from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Estimate
from sgdnoise.config import RunConfig
from sgdnoise.errors import InputError
from sgdnoise.experiments.gradient_statistics.grid import RULES
from sgdnoise.papers.numbers import printed
from sgdnoise.records.record import Record
from sgdnoise.study.grid import SweepState
from sgdnoise.theory.gradient_size import SizeLaw, fit_size_law

FloatArray = NDArray[np.float64]

LEAST = round(printed("G20-F3.least_batch_size").value)
"""The batch size from which on G20 measures the first gradient."""

FULLY_CONNECTED = {"digits-mlp": "layers.0.weight", "alexnet-cifar": "classifier.1.weight"}
"""The first fully connected layer, which G20's figure 3 is of."""


# --- Which runs ---------------------------------------------------------------------------------


def sizes(reading: Reading) -> list[int]:
    """The batch sizes that runs train at."""
    return sorted({int(dict(state.sweep.key)["batch_size"]) for state in reading.states})


def meeting(reading: Reading) -> int:
    """The batch size at which both rules have one rate: only the equal one is run there."""
    keys = [dict(state.sweep.key) for state in reading.states]
    (size,) = set(sizes(reading)) - {k["batch_size"] for k in keys if k["rule"] == "scaled"}
    return size


def state_of(reading: Reading, rule: str, size: int) -> SweepState:
    """The sweep of a rule at a batch size."""
    rule = "equal" if size == meeting(reading) else rule
    key = (("rule", rule), ("batch_size", size))
    return next(state for state in reading.states if state.sweep.key == key)


def configs(reading: Reading, rule: str, size: int) -> list[RunConfig]:
    """The runs of a rule at a batch size, by seed."""
    return state_of(reading, rule, size).needed


def runs(reading: Reading, rule: str, size: int) -> list[Record | None]:
    """Their records; None where a run is not recorded, failed or diverged."""
    found = [reading.records.get(config.id) for config in configs(reading, rule, size)]
    return [r if r is not None and r.status == "done" else None for r in found]


def drawn(reading: Reading) -> list[Record]:
    """The runs at whose weights batches of every size were drawn."""
    found = runs(reading, "equal", meeting(reading))
    return [r for r in found if r is not None and batch_sizes(r)]


def measured_layers(reading: Reading, size: int) -> list[Record]:
    """The runs at a batch size whose layers' curvature was measured."""
    found = runs(reading, "equal", size)
    return [r for r in found if r is not None and "layer_curvature_epoch" in r.curves]


def layer_sizes(reading: Reading) -> list[int]:
    """The batch sizes at which curvature is measured."""
    return [
        size
        for size in sizes(reading)
        if any(name.startswith("layer-") for name in configs(reading, "equal", size)[0].probes)
    ]


# --- Curves -------------------------------------------------------------------------------------


def curve(record: Record, name: str) -> FloatArray:
    """A curve of a record; NaN for what was not finite, and empty for one that it lacks."""
    values = record.curves.get(name, [])
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)


def _named(record: Record, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in record.curves if name.startswith(prefix)]


def batch_sizes(record: Record) -> list[int]:
    """The sizes of the batches that were drawn at the same weights; the last is all there is."""
    return sorted(int(name) for name in _named(record, "batch_gradient_variance/"))


def share_drawn_from(record: Record) -> float:
    """What part of the training set these batches are drawn from; in a run always the same one."""
    return batch_sizes(record)[-1] / data.images_of(record.config)


def drawn_from(record: Record) -> str:
    """What these batches are drawn from, in words."""
    if share_drawn_from(record) == 1:
        return "the training set"
    return f"the {batch_sizes(record)[-1]:,} training examples drawn from"


def tensors(record: Record) -> list[str]:
    """The names of its parameter tensors: layer by layer, weights before biases."""
    names = _named(record, "batch_gradient_abs/1/") or _named(record, "layer_radius/")

    def place(name: str) -> list[tuple[int, int, str]]:
        first, *parts = [part for part in name.split(".") if part != "weight"]
        own = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]
        return [(_PLACES.get(first, 1), 0, first), *own]

    return sorted(names, key=place)


_PLACES = {"stem": 0, "norm": 2, "classifier": 2, "head": 3}
"""Where the parts of the nets stand, from input to output; all others stand between."""


def check_tensor(record: Record, tensor: str) -> str:
    """The name, if the net has a tensor so called.

    Raises:
        InputError: the legal ones are listed.
    """
    legal = tensors(record)
    if tensor not in legal:
        raise InputError(
            f"{record.config.model} has no layer {tensor!r}: choose one of {', '.join(legal)}"
        )
    return tensor


def mean_sizes(record: Record, tensor: str) -> FloatArray:
    """The mean |g| of a tensor, shape (moments, batch sizes); the first moment is the start.

    Raises:
        InputError: for a tensor that the net lacks.
    """
    check_tensor(record, tensor)
    return _table(record, f"batch_gradient_abs/{{}}/{tensor}")


def _table(record: Record, name: str) -> FloatArray:
    return np.stack([curve(record, name.format(n)) for n in batch_sizes(record)], axis=1)


def loss_drops(record: Record, of: str) -> FloatArray:
    """The drop of a loss in a step, over ε, `of` "batch" or "whole", shape (moments, sizes)."""
    return _table(record, f"{of}_loss_drop/{{}}")


def relative_noise(record: Record) -> FloatArray:
    """n · tr cov(g_n)/trΣ, the mean over the moments of training, one for each batch size.

    1 where covariance falls as 1/n; trΣ by the own gradients of some of the same examples.
    """
    trace = curve(record, "gradient_covariance_trace")[:, None]
    variance = _table(record, "batch_gradient_variance/{}")[1:]
    return np.asarray(np.nanmean(variance / trace, axis=0) * batch_sizes(record))


def squared_signal(record: Record) -> FloatArray:
    """|G|²/trΣ at each moment of training."""
    trace = curve(record, "gradient_covariance_trace")
    return np.asarray(curve(record, "mean_gradient_norm") ** 2 / trace)


def second_moment(record: Record) -> float:
    """(trΣ + |G|²)/trΣ, the mean over the moments of training."""
    return float(np.nanmean(1 + squared_signal(record)))


def over_updates(record: Record) -> str:
    """What a mean over the moments at which batches are drawn is of, in words."""
    return _over(curve(record, "step"))


def over_epochs(record: Record, start: int = 0) -> str:
    """The same of those at which curvature is measured, from one of them on."""
    return _over(curve(record, "layer_curvature_epoch")[start:])


def _over(at: FloatArray) -> str:
    """In words: moments lie close together early, so a mean over them is none over training."""
    early = int((at <= at[-1] / 4).sum())
    return (
        f"the mean over the {len(at)} moments looked at, {early} of them in the first quarter of "
        "training"
    )


def size_law(record: Record, tensor: str, moment: int = 0) -> SizeLaw:
    """The law fitted to a tensor's mean |g| at a moment, to all batches but the whole set."""
    n = batch_sizes(record)
    return fit_size_law(n[:-1], mean_sizes(record, tensor)[moment, :-1], n[-1])


def weight_layers(record: Record) -> list[str]:
    """The layers with weights, as one counts the depth of a net: the scales of norms are none."""
    layers = (t.removesuffix(".weight") for t in tensors(record) if t.endswith(".weight"))
    return [layer for layer in layers if not layer.split(".")[-1].startswith("norm")]


def fully_connected(record: Record) -> str:
    """The name of the weights of the first fully connected layer, or else of the last layer."""
    names = [name for name in tensors(record) if name.endswith("weight")]
    return FULLY_CONNECTED.get(record.config.model, names[-1])


# --- Numbers of a run ---------------------------------------------------------------------------


def steps_an_epoch(config: RunConfig) -> float:
    """Updates in an epoch."""
    return data.images_of(config) / config.batch_size


def first_step(record: Record) -> float:
    """The mean step of a weight in the first epoch, over the learning rate (G20 figure 4)."""
    config, way = record.config, curve(record, "epoch_stride")
    return float(way[0] / max(1, round(steps_an_epoch(config))) / config.learning_rate)


def mean_step(record: Record) -> float:
    """The mean step of a weight in all of training, over the learning rate."""
    return way(record) / updates(record.config) / record.config.learning_rate


def way(record: Record) -> float:
    """The way that a weight covers, Σ|Δw|, the mean over all weights (G20 figure 5)."""
    return float(curve(record, "epoch_stride").sum())


def updates(config: RunConfig) -> int:
    """Updates in all of training."""
    return config.total_steps(data.images_of(config))


def first_fall(record: Record) -> float:
    """The fall of the whole training loss in the first epoch, an update, over the rate (figure 7).

    NaN where it rises.
    """
    config, loss = record.config, curve(record, "epoch_loss")
    fall = loss[0] - loss[1]
    updates = max(1, round(steps_an_epoch(config)))
    return float(fall / updates / config.learning_rate) if fall > 0 else math.nan


def fluctuation(record: Record, relative: bool = False) -> float:
    """Root mean square of the training loss about its trend, in nats, in the second half.

    Second differences take a straight trend out of the losses at the ends of epochs; those of
    independent deviations have six times their variance.

    Args:
        record: with the probe of epochs.
        relative: of log₂ of the loss instead, in octaves: the level of the loss has no part in it.
    """
    loss = curve(record, "epoch_loss")
    late = np.log2(loss) if relative else loss
    late = late[len(late) // 2 :]
    return float(np.sqrt(np.mean(np.diff(late, 2) ** 2) / 6)) if len(late) > 2 else math.nan


def accuracy(record: Record) -> float:
    """Final test accuracy in percent."""
    value = record.metrics.get("test_accuracy")
    return math.nan if value is None else value


def layer_curves(record: Record, quantity: str) -> FloatArray:
    """A quantity of the layers' curvature, shape (moments, tensors)."""
    return np.stack([curve(record, f"{quantity}/{t}") for t in tensors(record)], axis=1)


def radii_differ(record: Record) -> float:
    """Log₂ of the largest median radius over the smallest, the mean over the moments."""
    radii = np.log2(layer_curves(record, "layer_radius"))
    return float(np.mean(radii.max(axis=1) - radii.min(axis=1)))


def ratio_off(record: Record, tensor: str) -> float:
    """Log₂ of the median |w/g| over the median radius, the mean over all moments but the start."""
    ratio, radius = (curve(record, f"layer_{q}/{tensor}")[1:] for q in ("ratio", "radius"))
    return float(np.mean(np.log2(ratio / radius)))


def last_distance(record: Record) -> float:
    """Log₂ of the median distance to the minimum at the end, the mean over the tensors.

    NaN where curvature was not measured.
    """
    if "layer_curvature_epoch" not in record.curves:
        return math.nan
    return float(np.mean(np.log2(layer_curves(record, "layer_distance")[-1])))


# --- Over runs ----------------------------------------------------------------------------------


def over_seeds(found: Sequence[Record | None], number: Callable[[Record], float]) -> FloatArray:
    """A number of each run; NaN where there is no run."""
    return np.array([math.nan if r is None else number(r) for r in found], dtype=np.float64)


def log_slope(x: Sequence[float] | FloatArray, y: FloatArray) -> float:
    """Slope of log₂ y against log₂ x by least squares; NaN unless all y are positive."""
    y = np.asarray(y, dtype=np.float64)
    if not (np.isfinite(y).all() and (y > 0).all()):
        return math.nan
    return float(np.polyfit(np.log2(np.asarray(x, dtype=np.float64)), np.log2(y), 1)[0])


def slope_over_sizes(reading: Reading, rule: str, number: Callable[[Record], float]) -> Estimate:
    """Slope of the logarithm of a number against that of the batch size, each seed by itself."""
    every = sizes(reading)
    table = np.array([over_seeds(runs(reading, rule, n), number) for n in every])
    return Estimate.mean([log_slope(every, column) for column in table.T])


def at_the_ends(reading: Reading, of: Callable[[Record], float]) -> dict[str, Estimate]:
    """log₂ of a number at either end of the batch sizes over that in their middle, by each rule."""
    every, middle = sizes(reading), meeting(reading)
    parts = {}
    for rule in RULES:
        centre = over_seeds(runs(reading, rule, middle), of)
        for end in (every[0], every[-1]):
            at_end = over_seeds(runs(reading, rule, end), of)
            parts[f"B = {end:,} at {rule_name(rule)}"] = Estimate.mean(np.log2(at_end / centre))
    return parts


def rule_name(rule: str) -> str:
    """A rule of the learning rate, in words."""
    return f"the {rule} rate"


def lost(reading: Reading, rules: Sequence[str] = RULES, at: Sequence[int] = ()) -> str:
    """What a comparison over batch sizes lacks: that no run diverged."""
    for rule in rules:
        for size in at or sizes(reading):
            found = runs(reading, rule, size)
            gone = sum(r is None for r in found)
            if gone:
                of = f"at the {rule} rate"
                return f"{gone} of {len(found)} runs at B = {size:,} diverged, {of}."
    return ""


def lacks_curve(reading: Reading, name: str, rules: Sequence[str] = RULES) -> str:
    """What a comparison over batch sizes lacks: runs that did not diverge and have a curve."""
    if gone := lost(reading, rules):
        return gone
    for rule in rules:
        for size in sizes(reading):
            without = sum(not r.curves.get(name) for r in runs(reading, rule, size) if r)
            if without:
                return f"{without} runs at B = {size:,} were not measured at each epoch's end."
    return ""
