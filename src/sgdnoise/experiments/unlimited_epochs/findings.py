"""What the records say of S20's figure 2."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sgdnoise.analysis import Reading, without
from sgdnoise.analysis.intervals import Estimate
from sgdnoise.analysis.reading import MAIN_PARTS
from sgdnoise.analysis.regimes import LEAST_CARRIED, log_rates
from sgdnoise.claims import FITTED, HELD, NO_LOSS, Claim, Verdict, above, alike, directional, every
from sgdnoise.papers.numbers import printed
from sgdnoise.phrases import enumerated
from sgdnoise.study.grid import Key, SweepState

if TYPE_CHECKING:
    import plotly.graph_objects as go

WITH_NORM: Key = (("norm", "ghost"),)
WITHOUT_NORM: Key = (("norm", "none"),)
NO_DECAY: Key = (("weight_decay", 0.0),)


def rates_against_epochs(reading: Reading, variant: Key | None = None) -> go.Figure:
    """S20's figure 2c or 2d: the learning rate tuned for the test set and for the training loss."""
    from sgdnoise.figures.budgets import tuned_rates
    from sgdnoise.figures.theme import figure, provenance
    from sgdnoise.figures.titles import rates_change
    from sgdnoise.figures.tuned import source, ticks_at

    fig = figure(
        x="epochs",
        x_unit=None,
        y="tuned effective learning rate ε/(1−m)",
        y_unit=None,
        log="xy",
        alt="Tuned effective learning rate against epochs, for test accuracy and training loss",
    )
    curves = {}
    for k, objective in enumerate(reading.objectives):
        rows = reading.optima(objective.name, variant)
        ticks_at(fig, rows.epochs)
        curves[objective.purpose] = rows
        rows = rows[rows.exponent.notna()].sort_values("epochs")
        slope = reading.slope("epochs", objective.name, variant).value
        name = f"{objective.purpose}, slope {slope:.2f}"
        tuned_rates(fig, k, rows, "peak", name if math.isfinite(slope) else objective.purpose)
    fig.update_yaxes(dtick=np.log10(2), tickformat="~g")
    best = "the best rate, also between the grid's points,"
    fig.update_layout(title={"text": rates_change(curves, "peak", best)})
    bars = "Marks: the best rate, also between the grid's points. Bars: its 95 % interval."
    return provenance(fig, source(reading).and_also(bars))


NEARLY_CONSTANT = 0.2
"""How steep a rate may fall with the budget that S20 calls nearly constant: its factor of two over
128 is a slope of 0.14."""


def _theirs(reading: Reading, objective: str) -> float | None:
    """S20's slope of a tuned rate over the budget, from the factor by which it falls.

    Both factors are those of figure 2c, with batch norm. Of figure 2d, without, S20 says that the
    rate for the test set is constant and that for the training loss falls, and prints no factor.
    """
    norms = {dict(state.sweep.key).get("norm") for state in reading.states}
    if norms != {"ghost"}:
        return 0.0 if objective == "test_accuracy" else None
    factor = {"test_accuracy": "test_lr_fall", "train_loss": "train_lr_fall"}[objective]
    fall, over = printed(f"S20-F2.{factor}").value, printed("S20-F2.epoch_factor").value
    return -float(np.log2(fall) / np.log2(over))


def _beside(theirs: float | None) -> str:
    return "" if theirs is None else f"; S20 has {theirs:.2f}"


def _carrying(reading: Reading, *objectives: str) -> list[float]:
    """The budgets at which each objective has an optimum inside its grid: those of a slope."""
    rates = [log_rates(reading.tuned(name), "epochs") for name in objectives]
    return sorted(at for at in rates[0] if all(math.isfinite(one[at]) for one in rates))


def _slope_lacks(reading: Reading, *objectives: str) -> str:
    """What a slope over the budgets lacks."""
    found = len(_carrying(reading, *objectives))
    if found >= LEAST_CARRIED:
        return ""
    lie = "the best rate lies inside its grid"
    if len(objectives) > 1:
        lie = "both best rates lie inside their grids"
    lost = sum(any(one.tuned.get(o) is None for o in objectives) for one in reading.states)
    diverged = f", every rate diverged at {lost}" if lost else ""
    return (
        f"{lie} at {found} of {len(reading.states)} budgets{diverged}; a slope takes "
        f"{LEAST_CARRIED}."
    )


def _over(reading: Reading, *objectives: str) -> str:
    """How many budgets a number rests on, and how far apart they are."""
    tried = [float(dict(key)["epochs"]) for key in _budgets(reading)]
    budgets = _carrying(reading, *objectives) if objectives else tried
    of = "" if budgets == tried else f"{len(budgets)} of "
    return f"over {of}{len(tried)} budgets, a factor of {budgets[-1] / budgets[0]:g}"


def rate_for_test(reading: Reading) -> Verdict:
    """Whether the rate tuned for the test set stays nearly the same, whatever the budget."""
    slope, theirs = reading.slope("epochs", "test_accuracy"), _theirs(reading, "test_accuracy")
    over = _over(reading, "test_accuracy")
    why = f"its slope against the budget is {slope} {over}{_beside(theirs)}."
    return replace(
        alike(why, slope, unit="slope", margin=NEARLY_CONSTANT, rests_on="budgets"), printed=theirs
    )


def rate_for_loss(reading: Reading) -> Verdict:
    """Whether the rate tuned for the training loss falls with the budget."""
    slope, theirs = reading.slope("epochs", "train_loss"), _theirs(reading, "train_loss")
    over = _over(reading, "train_loss")
    why = f"its slope against the budget is {slope} {over}{_beside(theirs)}."
    return directional(
        why,
        slope,
        unit="slope",
        sign=-1,
        margin=NEARLY_CONSTANT,
        printed=theirs,
        rests_on="budgets",
    )


PAIRED = (
    "Its interval comes from how far the differences of the two rates scatter about their line; "
    "the bars of the single rates do not enter."
)
"""Why a difference of two slopes may be known better than either of the rates."""


def falls_less(reading: Reading) -> Verdict:
    """Whether the rate for the test set falls less than that for the training loss."""
    apart = reading.slope_apart("epochs", "test_accuracy", "train_loss")
    test, train = (_theirs(reading, name) for name in ("test_accuracy", "train_loss"))
    theirs = None if test is None or train is None else test - train
    over = _over(reading, "test_accuracy", "train_loss")
    return directional(
        f"the slope for the test set minus that for the training loss is {apart} {over}"
        f"{_beside(theirs)}. {PAIRED}",
        apart,
        unit="slope",
        margin=NEARLY_CONSTANT,
        printed=theirs,
        rests_on="budgets",
    )


def _budgets(reading: Reading) -> list[Key]:
    keys = [state.sweep.key for state in reading.states]
    return sorted(keys, key=lambda key: float(dict(key)["epochs"]))


def loss_falls(reading: Reading) -> Verdict:
    """Whether the tuned training loss falls with every doubling of the budget."""
    falls = {
        f"the step to {dict(longer)['epochs']:,g} epochs": reading.best(longer, "train_loss")
        - reading.best(shorter, "train_loss")
        for shorter, longer in itertools.pairwise(_budgets(reading))
    }
    why = f"log₂ of the loss divided by that at half the budget, {_over(reading)}."
    return every(why, falls, unit="log2 ratio", sign=-1)


def _last_doubling(reading: Reading) -> tuple[Estimate, str]:
    """What the tuned accuracy gains from the last doubling of the budget, and that in words."""
    *_, shorter, longer = _budgets(reading)
    gain = reading.reached(longer) - reading.reached(shorter)
    return gain, (
        f"from {dict(shorter)['epochs']:,g} to {dict(longer)['epochs']:,g} epochs it gains {gain} "
        "points, by fresh seeds."
    )


def saturates(reading: Reading) -> Verdict:
    """Whether the tuned accuracy gains nothing from the last doubling of the budget."""
    gain, why = _last_doubling(reading)
    return alike(why, gain, unit="points", margin=NO_LOSS)


def does_not_rise(reading: Reading) -> Verdict:
    """Whether it gains nothing: without batch norm S20 sees it fall."""
    gain, why = _last_doubling(reading)
    turned = replace(gain, value=-gain.value)
    why += f" The effect is this gain with its sign turned, {turned}."
    why += f" To rise means by more than {NO_LOSS:g} points."
    return above(why, turned, unit="points", bound=-NO_LOSS)


def _outside(reading: Reading, objective: str, last: int = 0) -> str:
    """What a comparison of tuned results lacks: an optimum inside the grid at all its budgets.

    Args:
        reading: of one variant.
        objective: what is tuned for.
        last: how many of the longest budgets are compared; 0 for all.
    """
    tunings = reading.tuned(objective)
    for key in _budgets(reading)[-last:]:
        at, best = f"at {dict(key)['epochs']:,g} epochs", tunings[key].state.tuned.get(objective)
        if best is None:
            return f"{at} every rate diverged."
        if any(best.bound):
            return f"{at} the best rate lies on an edge of its grid: a bound, no optimum."
    return ""


def _loss_lacks(reading: Reading) -> str:
    """What a comparison of the tuned losses lacks."""
    return _outside(reading, "train_loss")


def _gain_lacks(reading: Reading, after: float) -> str:
    """What a comparison of the accuracies at the two longest budgets lacks.

    Args:
        reading: of one variant.
        after: the paper's own number of epochs, from which on it sees no gain.
    """
    epochs = dict(_budgets(reading)[-2])["epochs"]
    if epochs < after:
        return (
            f"the last doubling begins at {epochs:,g} epochs, before the {after:,g} after which "
            "S20 sees this."
        )
    if lacking := _outside(reading, "test_accuracy", 2):
        return lacking
    for key in _budgets(reading)[-2:]:
        if not math.isfinite(reading.reached(key).value):
            return f"at {dict(key)['epochs']:,g} epochs every fresh seed diverged."
    return ""


def weight_decay(reading: Reading) -> Verdict:
    """Whether weight decay is why the rate for the training loss does not fall.

    The guess was made, and its sweeps frozen, after those with weight decay had been seen.
    """
    free, held = (reading.slope("epochs", "train_loss", variant) for variant in (NO_DECAY, ()))
    apart = free - held
    return directional(
        f"the slope of the best rate for the training loss is {free} without weight decay and "
        f"{held} with it: a difference of {apart}.",
        apart,
        unit="slope",
        sign=-1,
        margin=NEARLY_CONSTANT,
        rests_on="budgets",
    )


def _net(variant: Key) -> str:
    """What the nets of a variant have or lack, in words."""
    from sgdnoise.figures.tuned import variant_name

    return variant_name(variant) or "with weight decay"


def _at_best_loss(reading: Reading, state: SweepState) -> tuple[float, float, str] | None:
    """Accuracy in %, loss and number of the training runs at the rate best for the loss.

    Means over all runs there that did not diverge; None where every rate diverged.
    """
    best = state.tuned.get("train_loss")
    if best is None:
        return None
    rate = state.sweep.config(best.point, 0).learning_rate
    asked = [config.id for config in state.needed if config.learning_rate == rate]
    runs = [reading.records[run].metrics for run in asked if run in reading.records]
    done = [run for run in runs if run.get("train_accuracy") is not None]
    if not done:
        return None
    part, loss = (
        float(np.mean([float(run[name] or 0.0) for run in done]))
        for name in ("train_accuracy", "train_loss")
    )
    lost = "" if len(done) == len(runs) else f" of {len(runs)}, the others diverged"
    return part, loss, f"{len(done)} runs{lost}"


def how_well_fitted(reading: Reading) -> str:
    """How well the longest runs fit their training set, net by net, in Markdown.

    Each at the rate that is best for the training loss: other rates would tell of the grid.
    """
    longest = max(float(dict(state.sweep.key)["epochs"]) for state in reading.states)
    told, short = [], []
    for variant in reading.variants:
        (state,) = (
            state
            for state in reading.part(OF[variant]).states
            if dict(state.sweep.key)["epochs"] == longest
        )
        if (found := _at_best_loss(reading, state)) is None:
            continue
        part, loss, runs = found
        told.append(
            f"{_net(variant)} the runs classify {part:.1f} % of the training images rightly, at a "
            f"loss of {loss:.2g} ({runs})"
        )
        short += [_net(variant)] * (part < FITTED)
    if not told:
        return ""
    finding = "The longest runs fit their data"
    if short:
        nets = enumerated(short)
        nets = nets[:1].upper() + nets[1:]
        finding = f"{nets} S20's figure 2 is not run up to where the data are fitted"
    return (
        f"{finding}, to {FITTED:g} % or more of the training images. After {longest:,g} epochs, at "
        f"the rate that is best for the training loss, {'; '.join(told)}."
    )


def _of_variant(key: Key, variant: Key) -> bool:
    return without(key, *MAIN_PARTS) == variant


def _test_slope(reading: Reading) -> str:
    return _slope_lacks(reading, "test_accuracy")


def _train_slope(reading: Reading) -> str:
    return _slope_lacks(reading, "train_loss")


def _fall_lacks(reading: Reading) -> str:
    """What a rate lacks to fall less than that for the training loss: that this one falls."""
    if lacking := _slope_lacks(reading, "test_accuracy", "train_loss"):
        return lacking
    slope = reading.slope("epochs", "train_loss")
    if slope.high < 0:
        return ""
    return (
        "the best rate for the training loss does not surely fall, so that no other can fall less: "
        f"its slope against the budget is {slope} {_over(reading, 'train_loss')}."
    )


def _variants_lack(reading: Reading) -> str:
    """What a comparison of the two variants lacks."""
    if not {(), NO_DECAY} <= set(reading.variants):
        return "this scale has no sweeps with weight decay to compare with."
    for variant in ((), NO_DECAY):
        if lacking := _train_slope(reading.part(OF[variant])):
            return lacking
    held = rate_for_loss(reading.part(OF[()]))
    if held.word in ("absent", "contradicted"):
        return ""
    return (
        "with weight decay too the best rate for the training loss may fall, so that nothing is "
        f"there to explain: {held.why}"
    )


def _claims(suffix: str, of: Callable[[Key], bool]) -> tuple[Claim, ...]:
    """What S20 says of figure 2, of the sweeps of one variant."""
    end, after = (
        (saturates, "S20-F2.saturates-after.norm")
        if suffix == VARIANTS[WITH_NORM]
        else (does_not_rise, "S20-F2.falls-after.no-norm")
    )
    at_the_end = partial(_gain_lacks, after=printed(after).value)
    return (
        Claim(f"S20-F2.rate-for-test.{suffix}", rate_for_test, needs=_test_slope, of=of),
        Claim(f"S20-F2.rate-for-loss.{suffix}", rate_for_loss, needs=_train_slope, of=of),
        Claim(f"S20-F2.test-falls-less.{suffix}", falls_less, needs=_fall_lacks, of=of),
        Claim(f"S20-F2.loss-falls.{suffix}", loss_falls, needs=_loss_lacks, of=of),
        Claim(f"S20-F2.accuracy-saturates.{suffix}", end, needs=at_the_end, of=of),
    )


VARIANTS = {WITH_NORM: "norm", WITHOUT_NORM: "no-norm", (): "plain", NO_DECAY: "no-decay"}
"""The variants of the sweeps at all scales, as the ids of their claims end."""

ARGUED = {variant: f"S20-F2.test-falls-less.{suffix}" for variant, suffix in VARIANTS.items()}
"""The claim that figures 2c and 2d argue, by variant."""

OF = {variant: partial(_of_variant, variant=variant) for variant in VARIANTS}
"""Which sweeps are of a variant."""


CLAIMS = (
    *(claim for variant, suffix in VARIANTS.items() for claim in _claims(suffix, OF[variant])),
    Claim("S20-F2.weight-decay", weight_decay, scales=("digits",), needs=_variants_lack),
)


# --- Beside the claims ----------------------------------------------------------------------------

GUESS = (
    "Our guess was weight decay. The training loss on this page is the cross-entropy alone. A net "
    "that classifies every training image rightly lowers it by growing its weights, and weight "
    "decay stops that growth. Then more epochs cannot lower the loss, and a smaller learning rate "
    "does not help."
)
"""Why the rate for the training loss might not fall, for a net that fits all of its images."""

TESTED = (
    "The sweeps without weight decay were made to test whether it keeps that rate from falling, "
    "after those with weight decay had been seen; their grid was fixed before they ran."
)
"""What the sweeps without weight decay are for."""


def why_not(reading: Reading) -> str:
    """For each variant, whether the rate for the training loss falls; where it does not, why.

    The guess is made where there are sweeps that test it, and a net with weight decay whose rate
    does not fall.
    """
    tested = {(), NO_DECAY} <= set(reading.variants)
    said = []
    for variant in reading.variants:
        (claim,) = (c for c in CLAIMS if c.id == f"S20-F2.rate-for-loss.{VARIANTS[variant]}")
        word = claim.judge(reading).word
        net = _net(variant)
        falls = f"{net[:1].upper()}{net[1:]} the best rate for the training loss"
        if word in HELD:
            said.append(f"{falls} falls, as it does in S20.")
        elif word not in ("absent", "contradicted"):
            said.append(f"{falls} may fall or not: that is *{word}*.")
        elif tested:
            said.append(f"{falls} does not fall here, while in S20 it does.")
            said += [GUESS] * (variant == ())
        else:
            said.append(
                f"{falls} does not fall here, while in S20 it does. Weight decay, the guess that "
                "was made on the digits, is not tested here: all runs have it."
            )
    return "\n\n".join([*said, TESTED] if tested else said)
