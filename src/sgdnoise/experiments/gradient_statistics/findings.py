"""What the records say of batch size, gradients, steps and losses: the verdicts.

Verdicts rest on the mean over seeds of a number that each run gives by itself, with Student's t.
Predicates and margins were written before the runs, but after a pilot (seed 900) of the run in
which batches of all sizes are drawn. After the runs three things were mended. One need had asked
every claim about curvature for a |w/g| that is not zero at the start, where biases are. Figure 2
asks for a net of some layers. Equation 6 had been judged over all of training, and G20 validates it
on the first epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from sgdnoise import data
from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Estimate
from sgdnoise.claims import NO_LOSS, Claim, Verdict, alike, directional, every
from sgdnoise.experiments.gradient_statistics import measured as m
from sgdnoise.experiments.gradient_statistics.grid import RULES
from sgdnoise.papers.numbers import printed
from sgdnoise.phrases import enumerated
from sgdnoise.records.record import Record

STEEP = 0.1
"""How far a slope of two logarithms may be from a law's exponent: over a factor of 1,000 in batch
size it makes a factor of two."""

PROPORTIONAL = math.log2(1.1)
"""Log₂ within which two covariances count as equal: ten per cent."""

SMALL = 0.1
"""Share of the finite training set up to which a law of n ≪ N is held to be meant."""

NEGLIGIBLE = 0.1
"""Part of the noise of a step, squared, below which its mean is called negligible. H17 says
"orders of magnitude lower"; as a norm this is a factor of three."""

SAME_SIZE = 1.0
"""Log₂ within which two radii count as one, a factor of two: to G20 it is a rough estimate."""

WIDELY = math.log2(10)
"""Log₂ of the ratio of radii that layers differ widely by; G20 gives no number for its figure 2."""

FEWEST_LAYERS = 5
"""Layers with weights from which on a net can show figure 2, which is of eight: more than half as
many. The range over few layers is narrow for that alone."""

NEARER = 0.5
"""Log₂ within which two distances count as equal, a factor of √2. G20's law has a factor of 2 for
every factor of 4 in batch size."""


def zero() -> float:
    """What still counts as zero of the mean gradient at G20's smallest batch: what its own law has
    left at its largest."""
    return math.sqrt(m.LEAST / printed("G20-F3.most_batch_size").value)


def _mean(found: list[Record], number: Callable[[Record], float]) -> Estimate:
    return Estimate.mean([number(record) for record in found])


def _no_draws(reading: Reading) -> str:
    """What a verdict at fixed weights lacks: runs at which batches of all sizes were drawn."""
    wanted, found = reading.study.seeds, len(m.drawn(reading))
    if found == wanted:
        return ""
    return f"batches of all sizes were drawn in {found} of {wanted} runs; the others diverged."


# --- The noise of a batch -----------------------------------------------------------------------


def noise_falls(reading: Reading) -> Verdict:
    """Whether the variance of a batch's gradient is inversely proportional to n, for n ≪ N."""
    found = m.drawn(reading)
    n = np.array(m.batch_sizes(found[0]))
    few = n <= SMALL * n[-1]

    def slope(record: Record) -> float:
        return m.log_slope(n[few], m.relative_noise(record)[few] / n[few])

    half = _mean(found, lambda r: float(m.relative_noise(r)[-2]))
    value = _mean(found, slope)
    why = (
        f"its slope over batches of 1 to {n[few][-1]} is {value}. At {n[-2]:,} of {n[-1]:,} "
        f"examples the variance is {half.value:.2f} times what 1/B says, because the set is finite."
    )
    return alike(why, value, unit="slope", margin=STEEP, target=-1.0)


def _h17_size(n: np.ndarray, name: str) -> int:
    """The drawn batch size that is as large a part of all as H17's of its training set, or less."""
    share = printed(f"H17-protocol.{name}").value / data.train_size("cifar10")
    return int(max(np.searchsorted(n, share * n[-1], side="right") - 1, 0))


def covariance(reading: Reading) -> Verdict:
    """Whether a batch's covariance is the second moment over n, up to H17's large batch."""
    found = m.drawn(reading)
    n = np.array(m.batch_sizes(found[0]))
    last = _h17_size(n, "large_batch")

    def off(record: Record) -> float:
        return float(np.log2(m.relative_noise(record)[: last + 1] / m.second_moment(record)).mean())

    value = _mean(found, off)
    why = (
        f"log₂ of the measured covariance divided by the printed one is {value}, the mean over "
        f"batches of 1 to {n[last]}, H17's share of {m.drawn_from(found[0])}."
    )
    return alike(why, value, unit="log2 ratio", margin=PROPORTIONAL)


def root_scaling(reading: Reading) -> Verdict:
    """Whether η ∝ √M keeps η²·covariance from H17's small batch to its large one."""
    found = m.drawn(reading)
    n = np.array(m.batch_sizes(found[0]))
    small, large = (_h17_size(n, f"{name}_batch") for name in ("small", "large"))

    def change(record: Record) -> float:
        noise = m.relative_noise(record)
        return float(np.log2(noise[large] / noise[small]))

    value = _mean(found, change)
    why = (
        f"from a batch of {n[small]} to one of {n[large]}, which are H17's shares of "
        f"{m.drawn_from(found[0])}, the covariance of an update changes by {value} in log₂."
    )
    return alike(why, value, unit="log2 ratio", margin=PROPORTIONAL)


def mean_step_negligible(reading: Reading) -> Verdict:
    """Whether n|G|²/trΣ is below a bound at H17's large batch, the mean over the moments."""
    found = m.drawn(reading)
    n = np.array(m.batch_sizes(found[0]))
    large = int(n[_h17_size(n, "large_batch")])

    def over(record: Record) -> float:
        return float(np.log2(large * (m.second_moment(record) - 1) / NEGLIGIBLE))

    value = _mean(found, over)
    first, last = (
        2 ** _mean(found, lambda r, k=k: float(np.log2(large * m.squared_signal(r)[k]))).value  # type: ignore[misc]
        for k in (0, -1)
    )
    why = (
        f"squared, the mean step is {NEGLIGIBLE * 2**value.value:.2g} times the noise at a batch "
        f"of {large}, H17's share of {m.drawn_from(found[0])}, {m.over_updates(found[0])}. It is "
        f"{first:.2g} times the noise at the first of them and {last:.2g} times at the last. "
        f"Negligible means {NEGLIGIBLE:g} or less; log₂ of the mean's ratio to that is {value}."
    )
    return directional(why, value, unit="log2 ratio", sign=-1)


# --- Gradients ----------------------------------------------------------------------------------


def _from_least(n: np.ndarray) -> np.ndarray:
    return n >= m.LEAST


def _size_slope(record: Record, tensor: str, moments: slice, least: int) -> float:
    """Slope of mean |g| against n, both as logarithms, from a batch size on; over some moments."""
    n = np.array(m.batch_sizes(record))
    some = n >= least
    rows = m.mean_sizes(record, tensor)[moments][:, some]
    return float(np.mean([m.log_slope(n[some], row) for row in rows]))


def falls_as_root(reading: Reading) -> Verdict:
    """Whether mean |g| falls as 1/√n in every tensor, from one example to all, during training."""
    found = m.drawn(reading)
    parts = {
        tensor: _mean(
            found,
            lambda r, t=tensor: _size_slope(r, t, slice(1, None), 1) + 0.5,  # type: ignore[misc]
        )
        for tensor in m.tensors(found[0])
    }
    n = m.batch_sizes(found[0])
    why = f"slopes over batches of 1 to {n[-1]:,} minus the law's −½, {m.over_updates(found[0])}."
    return every(why, parts, unit="slope", margin=STEEP, same=True)


def first_gradient(reading: Reading) -> Verdict:
    """Whether mean |g| follows the root law at the initial weights, in G20's layer and range."""
    found = m.drawn(reading)
    layer = m.fully_connected(found[0])
    value = _mean(found, lambda r: _size_slope(r, layer, slice(0, 1), m.LEAST))
    n = m.batch_sizes(found[0])
    crossover = Estimate.mean([math.log2(m.size_law(r, layer).crossover) for r in found])
    share = m.share_drawn_from(found[0])
    of = "" if share == 1 else f" that are drawn from, {100 * share:.2g} % of the training set"
    why = (
        f"in {layer}, at the initial weights, its slope is {value} from a batch of {m.LEAST} to "
        f"all {n[-1]:,} examples{of}; the noise scale is a batch of {2**crossover.value:.0f}."
    )
    return alike(why, value, unit="slope", margin=STEEP, target=-0.5)


def _floor_share(record: Record, tensor: str) -> float:
    law = m.size_law(record, tensor)
    return law.floor / float(law.at(m.LEAST))


def falls_to_zero(reading: Reading) -> Verdict:
    """Whether nothing of mean |g| is left for very large batches, in every tensor, at the start."""
    found = m.drawn(reading)
    parts = {t: _mean(found, lambda r, t=t: _floor_share(r, t)) for t in m.tensors(found[0])}  # type: ignore[misc]
    least, most = (end(part.value for part in parts.values()) for end in (min, max))
    why = (
        f"however large the batch, {least:.2f} to {most:.2f} of the mean |g| at a batch of "
        f"{m.LEAST} is left in the tensors at the initial weights, by fits to all batches but the "
        f"largest. G20's law leaves {zero():.3f} at "
        f"{printed('G20-F3.most_batch_size').value:,.0f}, the largest of its figure 3, and zero "
        "means that or less."
    )
    return every(why, parts, unit="share", margin=zero(), same=True)


# --- Steps --------------------------------------------------------------------------------------


def step_as_root(reading: Reading) -> Verdict:
    """Whether the mean step falls as 1/√n at equal rate, in the first epoch, as G20 looks at it."""
    value, whole = (m.slope_over_sizes(reading, "equal", of) for of in (m.first_step, m.mean_step))
    why = (
        f"in the first epoch, on which G20 validates the law, its slope over batches of "
        f"{_range(reading)} is {value}; over all of training it is {whole}."
    )
    return alike(why, value, unit="slope", margin=STEEP, target=-0.5)


def first_epoch_step(reading: Reading) -> Verdict:
    """Whether the mean step over the rate shrinks with n in the first epoch, under both rules."""
    return _slopes(reading, m.first_step, "slopes of the mean step divided by the rate,")


def search_space(reading: Reading) -> Verdict:
    """Whether the way that weights cover shrinks with n, under both rules."""
    return _slopes(reading, m.way, "slopes of the way that a weight covers,")


def first_epoch_loss(reading: Reading) -> Verdict:
    """Whether the loss falls less, an update and over the rate, the larger n; both rules."""
    return _slopes(reading, m.first_fall, "slopes of the training loss's fall in an update,")


def _slopes(reading: Reading, number: Callable[[Record], float], what: str) -> Verdict:
    parts = {m.rule_name(rule): m.slope_over_sizes(reading, rule, number) for rule in RULES}
    why = f"{what} over batches of {_range(reading)}."
    return every(why, parts, unit="slope", sign=-1, margin=STEEP)


def _range(reading: Reading) -> str:
    sizes = m.sizes(reading)
    return f"{sizes[0]:,} to {sizes[-1]:,}"


def _equal_lacks(reading: Reading) -> str:
    return m.lacks_curve(reading, "epoch_stride", ("equal",))


def _both_lack(reading: Reading) -> str:
    return m.lacks_curve(reading, "epoch_stride")


def _fall_lacks(reading: Reading) -> str:
    """What the fall of the loss in the first epoch lacks: that it falls."""
    if lacking := _both_lack(reading):
        return lacking
    for rule in RULES:
        for n in m.sizes(reading):
            falls = m.over_seeds(m.runs(reading, rule, n), m.first_fall)
            if rise := int((~np.isfinite(falls)).sum()):
                return (
                    f"at B = {n:,} and {m.rule_name(rule)} the loss rises in the first epoch, in "
                    f"{rise} of {len(falls)} runs."
                )
    return ""


# --- Losses -------------------------------------------------------------------------------------


def loss_step(reading: Reading) -> Verdict:
    """Whether the loss falls as 1/n in a step from the start: the batch's own, and the whole."""
    found = m.drawn(reading)
    n = np.array(m.batch_sizes(found[0]))
    some = _from_least(n)
    names = {"batch": "the batch's own loss", "whole": "the loss of all examples"}
    parts = {
        name: _mean(
            found,
            lambda r, of=of: m.log_slope(n[some], m.loss_drops(r, of)[0, some]) + 1,  # type: ignore[misc]
        )
        for of, name in names.items()
    }
    why = (
        f"slopes of the fall in one step from the start, over batches of {m.LEAST} to {n[-1]:,}, "
        "minus the law's −1."
    )
    return every(why, parts, unit="slope", margin=STEEP, same=True)


def _drop_lacks(reading: Reading) -> str:
    """What a law of the fall of the loss lacks: a fall."""
    if lacking := _no_draws(reading):
        return lacking
    found = m.drawn(reading)
    n = m.batch_sizes(found[0])
    for of, name in (("batch", "the batch's own loss"), ("whole", f"the loss of all {n[-1]:,}")):
        for size, drops in zip(
            n, np.transpose([m.loss_drops(r, of)[0] for r in found]), strict=True
        ):
            rise = int((~(drops > 0)).sum())
            if size >= m.LEAST and rise:
                return (
                    f"at the start a step along a batch of {size} raises {name} in {rise} of "
                    f"{len(found)} runs."
                )
    return ""


def fluctuation(reading: Reading) -> Verdict:
    """Whether the loss fluctuates more at either end of the batch sizes than in their middle."""
    middle = m.meeting(reading)
    parts = m.at_the_ends(reading, m.fluctuation)
    absolute, relative = (
        enumerated(f"{one} ({name})" for name, one in of.items())
        for of in (parts, m.at_the_ends(reading, partial(m.fluctuation, relative=True)))
    )
    why = (
        f"log₂ of how much the whole training loss fluctuates about its trend in the second half "
        f"of training, divided by that at B = {middle:,}, is {absolute}. Of the loss's logarithm, "
        f"in which its level has no part, it is {relative}. The verdict rests on the loss itself."
    )
    return every(why, parts, unit="log2 ratio", margin=NEARER)


def accuracy_falls(reading: Reading) -> Verdict:
    """Whether the largest batch is worse than the middle one, under both rules."""
    largest, middle = m.sizes(reading)[-1], m.meeting(reading)
    parts = {}
    for rule in RULES:
        mine, other = (
            m.over_seeds(m.runs(reading, rule, n), m.accuracy) for n in (largest, middle)
        )
        parts[m.rule_name(rule)] = Estimate.mean(mine - other)
    why = f"accuracy at B = {largest:,} minus that at {middle:,}, at equal epochs."
    return every(why, parts, unit="points", sign=-1, margin=NO_LOSS)


def _any_lost(reading: Reading) -> str:
    return m.lost(reading)


# --- Curvature ----------------------------------------------------------------------------------


def curvature_varies(reading: Reading) -> Verdict:
    """Whether the median radii of a net's tensors differ by more than a factor."""
    found = m.measured_layers(reading, m.meeting(reading))
    value = _mean(found, lambda r: m.radii_differ(r) - WIDELY)
    why = (
        f"{_how_widely(found)} Widely means {2**WIDELY:g}, which is this book's own bound, as G20 "
        f"gives none; log₂ of the ratio to that is {value}."
    )
    return directional(why, value, unit="log2 ratio")


def _how_widely(found: list[Record]) -> str:
    factor = 2 ** _mean(found, m.radii_differ).value
    return (
        f"the median radii of {len(m.tensors(found[0]))} tensors differ by a factor of "
        f"{float(f'{factor:.2g}'):,g}, {m.over_epochs(found[0])}."
    )


def _depth_lacks(reading: Reading) -> str:
    """What a comparison of layers lacks: radii, and layers enough to compare."""
    if lacking := _radii_lack(reading):
        return lacking
    found = m.measured_layers(reading, m.meeting(reading))
    layers = len(m.weight_layers(found[0]))
    if layers >= FEWEST_LAYERS:
        return ""
    return (
        f"the net has {layers} layers with weights, and a fair test takes {FEWEST_LAYERS}. Here "
        f"{_how_widely(found)}"
    )


def ratio_is_radius(reading: Reading) -> Verdict:
    """Whether the median |w/g| of each tensor is its median radius, within a factor of two."""
    found = m.measured_layers(reading, m.meeting(reading))
    parts = {t: _mean(found, lambda r, t=t: m.ratio_off(r, t)) for t in m.tensors(found[0])}  # type: ignore[misc]
    over = m.over_epochs(found[0], start=1)
    why = f"log₂ of the median |w/g| divided by the median radius, {over}."
    return every(why, parts, unit="log2 ratio", margin=SAME_SIZE, same=True)


def near_minima(reading: Reading) -> Verdict:
    """Whether weights trained with larger batches end nearer to their parabolas' minima."""
    sizes = m.layer_sizes(reading)
    first, last = (
        m.over_seeds(m.runs(reading, "equal", n), m.last_distance) for n in (sizes[0], sizes[-1])
    )
    value = Estimate.mean(last - first)
    law = -math.log2(sizes[-1] / sizes[0]) / 2
    interval = value.interval
    held = interval.holds(law)
    why = (
        f"from B = {sizes[0]:,} to {sizes[-1]:,} the distance |g/h| after training changes by "
        f"{value} in log₂. G20's law has {law:.1f}, which the interval "
        f"{'holds' if held else 'excludes'}."
    )
    if not held and interval.low < 0 <= interval.high:
        why += f" A fall by up to a factor of {2**-interval.low:.2g} is not excluded."
    few, many = (m.updates(m.configs(reading, "equal", n)[0]) for n in (sizes[-1], sizes[0]))
    why += (
        f" At equal epochs the runs have {many:,} and {few:,} updates: these are not equal stages "
        "of training."
    )
    return directional(why, value, unit="log2 ratio", sign=-1, margin=NEARER)


def _layers_lack(reading: Reading, quantity: str, sizes: Sequence[int], start: int = 0) -> str:
    """What a verdict on curvature lacks: positive, finite medians in each run, from a moment on."""
    for size in sizes:
        found, wanted = m.measured_layers(reading, size), reading.study.seeds
        if len(found) < wanted:
            return f"curvature was measured in {len(found)} of {wanted} runs at B = {size:,}."
        for record in found:
            values = m.layer_curves(record, quantity)[start:]
            if not (np.isfinite(values).all() and (values > 0).all()):
                return (
                    f"at B = {size:,} half the parameters of some tensor have no curvature or no "
                    "gradient, or are zero, so that its median says nothing."
                )
    return ""


def _radii_lack(reading: Reading) -> str:
    return _layers_lack(reading, "layer_radius", [m.meeting(reading)])


def _ratios_lack(reading: Reading) -> str:
    """What the ratio lacks; at the start, where biases are zero, it is not asked for."""
    at = [m.meeting(reading)]
    return _radii_lack(reading) or _layers_lack(reading, "layer_ratio", at, start=1)


def _distances_lack(reading: Reading) -> str:
    sizes = m.layer_sizes(reading)
    return _layers_lack(reading, "layer_distance", [sizes[0], sizes[-1]])


CLAIMS = (
    Claim("G20-E4.gradient-falls-as-root", falls_as_root, needs=_no_draws),
    Claim("G20-E4.gradient-falls-to-zero", falls_to_zero, needs=_no_draws),
    Claim("G20-F3.first-gradient", first_gradient, needs=_no_draws),
    Claim("G20-E6.step-falls-as-root", step_as_root, needs=_equal_lacks),
    Claim("G20-F4.first-epoch-step", first_epoch_step, needs=_both_lack),
    Claim("G20-F5.search-space", search_space, needs=_both_lack),
    Claim("G20-E8.loss-step-falls-with-batch", loss_step, needs=_drop_lacks),
    Claim("G20-F7.first-epoch-loss", first_epoch_loss, needs=_fall_lacks),
    Claim("G20-F8.fluctuation", fluctuation, needs=_both_lack),
    Claim("G20-F1.accuracy-falls-with-batch", accuracy_falls, needs=_any_lost),
    Claim("G20-F2.curvature-varies", curvature_varies, needs=_depth_lacks),
    Claim("G20-E17.ratio-is-radius", ratio_is_radius, needs=_ratios_lack),
    Claim("G20-E28.weights-near-minima", near_minima, needs=_distances_lack),
    Claim("S20-E2.noise-falls-with-batch", noise_falls, needs=_no_draws),
    Claim("H17-E6.covariance-falls-with-batch", covariance, needs=_no_draws),
    Claim("H17-E7.root-scaling-keeps-covariance", root_scaling, needs=_no_draws),
    Claim("H17-C2.mean-step-negligible", mean_step_negligible, needs=_no_draws),
)
