"""Tables and sentences of `gradient-statistics` beside its verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from sgdnoise import data
from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Estimate
from sgdnoise.experiments.gradient_statistics import measured as m
from sgdnoise.experiments.gradient_statistics.pictures import moments
from sgdnoise.papers.numbers import printed


def population(reading: Reading) -> str:
    """What batches of all sizes are drawn from, and so what N and "all examples" mean."""
    found = m.drawn(reading)
    if not found:
        return ""
    n, everything = m.batch_sizes(found[0])[-1], data.images_of(found[0].config)
    if n == everything:
        return f"Here N is {n:,}, the whole training set."
    return (
        f"Here N is {n:,}: a run draws from the same {100 * m.share_drawn_from(found[0]):.2g} % "
        f"of its {everything:,} training examples throughout. Up to the section on runs at "
        "every batch size, *all examples* means these."
    )


def law_table(reading: Reading) -> pd.DataFrame:
    """The law fitted to each tensor at the start and at the end, with 95 % intervals over seeds."""
    found = m.drawn(reading)
    rows = []
    for tensor in m.tensors(found[0]) if found else []:
        row = {"Tensor": tensor}
        for moment, name in ((0, "initial weights"), (-1, "end of training")):
            laws = [m.size_law(r, tensor, moment) for r in found]
            row |= {
                f"Signal a, {name}": _typical([law.floor for law in laws], ".3g"),
                f"Noise scale b²/a², {name}": _typical([law.crossover for law in laws], ",.0f"),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _typical(values: list[float], form: str) -> str:
    """A geometric mean with its interval."""
    if min(values) <= 0 or not np.isfinite(values).all():
        return "no floor found"
    at = Estimate.mean(np.log2(values)).interval
    if not math.isfinite(at.half):
        return f"{2**at.value:{form}}"
    return f"{2**at.value:{form}} [{2**at.low:{form}}, {2**at.high:{form}}]"


def noise_scales(reading: Reading) -> str:
    """Which way the noise scale of the tensors goes in training, and how large it is between."""
    found, steps = m.drawn(reading), moments(reading)
    if not found:
        return ""
    names, every = m.tensors(found[0]), [0, *map(int, m.curve(found[0], "step"))]
    steps = list(dict.fromkeys([*steps, every[-1]]))
    with np.errstate(divide="ignore"):
        scales = np.log2(
            [
                [[m.size_law(r, t, every.index(step)).crossover for t in names] for r in found]
                for step in steps
            ]
        ).mean(axis=1)
    if not np.isfinite(scales).all():
        return ""
    grown = int((scales[-1] > scales[0]).sum())
    of = f"{grown} of the" if 0 < grown < len(names) else "all"
    over = 2 ** scales.mean(axis=1)
    top = int(over.argmax())
    updates = "1 update" if steps[top] == 1 else f"{steps[top]:,} updates"
    between = f"{over[top]:,.0f} after {updates} and " if 0 < top < len(over) - 1 else ""
    return (
        f"At the end of training the noise scale of {of} {len(names)} tensors is "
        f"{'larger' if grown else 'smaller'} than at the initial weights. Its geometric mean over "
        f"the tensors is {over[0]:,.0f} at the initial weights, {between}"
        f"{over[-1]:,.0f} at the end."
    )


def losses(reading: Reading) -> str:
    """What a step does to the batch's own loss and to that of all examples, at both ends of n."""
    found = m.drawn(reading)
    if not found:
        return ""
    n = m.batch_sizes(found[0])
    said: Mapping[str, np.ndarray] = {
        of: np.mean([m.loss_drops(r, of)[0] for r in found], axis=0) for of in ("batch", "whole")
    }
    k = n.index(m.LEAST) if m.LEAST in n else len(n) // 2
    (one, all_one), (own, whole) = ([float(said[of][at]) for of in said] for at in (0, k))
    if (own > 0) == (whole > 0):
        both = f"both {_goes(own, 's')}, by {abs(own):.3g} and {abs(whole):.3g}"
    else:
        both = (
            f"it {_moves(own)} the batch's own by {abs(own):.3g} and {_moves(whole)} that of all "
            f"by {abs(whole):.3g}"
        )
    end = float(said["whole"][-1])
    return (
        f"At the start, a step along a single example's gradient {_moves(one)} that example's loss "
        f"by {abs(one):.3g} and {_moves(all_one)} the loss of all examples by {abs(all_one):.3g}; "
        f"all are divided by the learning rate. For a batch of {n[k]} {both}. For all {n[-1]:,} "
        f"examples the two are one loss, which {_goes(end)} by {abs(end):.3g}."
    )


def _moves(fall: float) -> str:
    return "lowers" if fall > 0 else "raises"


def _goes(fall: float, ending: str = "") -> str:
    return ("falls" if fall > 0 else "rises").removesuffix(ending)


def evaluated(reading: Reading) -> str:
    """Which function the gradients at equal weights are of, in a net with norms; else empty."""
    config = m.configs(reading, "equal", m.meeting(reading))[0]
    if config.norm in (None, "none"):
        return ""
    return (
        "Gradients at equal weights are of the net as it is evaluated: its norms use running "
        "statistics, so that the loss is a mean over examples. At the initial weights these "
        "statistics are not yet the data's, and the norms do nothing. The gradients that train "
        f"are of ghosts of {config.ghost_batch_size} examples with statistics of their own."
    )


def fewest_updates(reading: Reading) -> str:
    """How few updates a run at the largest batch has, and what the equal rate reaches there."""
    largest = m.sizes(reading)[-1]
    runs = m.runs(reading, "equal", largest)
    reached = m.over_seeds(runs, m.accuracy)
    if not np.isfinite(reached).any():
        return ""
    config = m.configs(reading, "equal", largest)[0]
    each = round(m.steps_an_epoch(config))
    return (
        f"At B = {largest:,} an epoch is {each:,} update{'' if each == 1 else 's'} and a run "
        f"{round(each * (config.epochs or 0)):,}. At the equal rate it ends at "
        f"{np.nanmean(reached):.0f} % test accuracy."
    )


def size(reading: Reading) -> str:
    """How large the training set and its batches are here, beside G20's."""
    theirs, first = (printed(f"G20-{place}.most_batch_size").value for place in ("F5", "F3"))
    everything = data.images_of(m.configs(reading, "equal", m.meeting(reading))[0])
    largest = m.sizes(reading)[-1]
    batch = (
        "the whole set" if largest == everything else f"{100 * largest / everything:.2g} % of it"
    )
    said = (
        f"G20's batches go up to {theirs:,.0f}, and in its figure 3 up to {first:,.0f}. Here there "
        f"are {everything:,} training images, and the largest batch that trains is {batch}."
    )
    if everything < theirs:
        said += " So G20's batches can be matched by their share of the training set alone."
    found = m.drawn(reading)
    if found and m.share_drawn_from(found[0]) < 1:
        said += (
            f" Batches at equal weights go up to {m.batch_sizes(found[0])[-1]:,}: what gradient a "
            "larger one has there is not seen."
        )
    return said
