"""What the records say of G20's two ways to enlarge the gradient (§3, figures 9 to 14).

Accuracies are those of fresh seeds, each arm at its own tuned rate. Gradients and fluctuations,
which nothing tuned, are compared seed by seed, the first update of all arms being of one net and
one batch. Spreads are compared by F.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sgdnoise.analysis import Estimate, Interval, Reading
from sgdnoise.analysis.intervals import COVERAGE, spread_ratio
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.claims import FITTED, NO_LOSS, Claim, Verdict, Word, directional, every
from sgdnoise.data import images_of, train_size
from sgdnoise.experiments.larger_gradients.explanations import (
    judged_by,
    of_discarding,
    of_first_epoch,
)
from sgdnoise.experiments.larger_gradients.grid import FRACTIONS, LEFT_OUT
from sgdnoise.experiments.larger_gradients.measured import (
    ARMS,
    OF,
    as_part,
    first_gradients,
    fluctuations,
    fresh_accuracies,
    growth,
    state_of,
    stays_larger,
)
from sgdnoise.papers.numbers import printed
from sgdnoise.study.grid import Key, SweepState

GROWTH = -math.log2(1 - FRACTIONS[0]) / 2
"""log₂ by which a gradient counts as larger: what leaving out the least part at random gives."""

APART = 0.5
"""log₂ by which fluctuations and spreads count as different, a factor of √2: G20 shows them in
plots and prints no number."""


def _key(reading: Reading, **wanted: Any) -> Key:
    return state_of(reading, **wanted).sweep.key


def _sizes(reading: Reading) -> list[int]:
    return sorted({int(dict(state.sweep.key)["batch_size"]) for state in reading.states})


# --- The gradient ---------------------------------------------------------------------------------


def enlarges(reading: Reading) -> Verdict:
    """Whether small losses left out enlarge the gradient, more than as many left out at random.

    At the first update, which figure 9 is of: later gradients are of other weights. On the mean
    over figure 9's fractions, seed by seed.
    """
    with np.errstate(divide="ignore"):
        whole = np.log2(first_gradients(reading, "none", 0.0))
        small, blind = (
            np.mean([np.log2(first_gradients(reading, arm, p)) for p in FRACTIONS], axis=0)
            for arm in ("loss", "random")
        )
    over_all, over_random = (_mean(small - other) for other in (whole, blind))
    why = (
        f"on average over the fractions, log₂ of the mean |g| grows by {over_all} with small "
        f"losses left out, and by {_mean(blind - whole)} with as many left out at random: a "
        f"difference of {over_random}."
    )
    parts = {"the growth": over_all, "the growth minus that at random": over_random}
    about = "At the first update leaving out the samples of small loss enlarges the gradient"
    return replace(every(why, parts, unit="log2 ratio", margin=GROWTH), about=about)


def _mean(values: np.ndarray) -> Estimate:
    return Estimate.mean(values[np.isfinite(values)])


# --- What leaving out gains -----------------------------------------------------------------------


PRINTED_SIZES = tuple(printed(f"G20-F10.{name}").value for name in ("small", "large"))
"""Figure 10's batch sizes, of all of CIFAR-10."""


def images(reading: Reading) -> int:
    """How many training images there are, if so few that batches stand for G20's; else 0."""
    count = images_of(reading.states[0].needed[0])
    return count if count < train_size("cifar10") else 0


def printed_sizes(reading: Reading) -> list[int]:
    """The batch sizes that stand for figure 10's 2,000 and 8,000."""
    return _sizes(reading)[:2]


def beyond(reading: Reading) -> list[int]:
    """The batch sizes beyond these."""
    return _sizes(reading)[2:]


def gain(
    reading: Reading, size: int, arm: str = "loss", over: str = "none", updates: str = "free"
) -> Estimate:
    """Accuracy of one arm of the part `discarding` over that of another at a batch size."""
    mine, theirs = (
        reading.reached(_key(reading, batch_size=size, arm=name, updates=updates))
        for name in (arm, over)
    )
    return mine - theirs


def _gains(
    reading: Reading, sizes: Iterable[int], over: str = "none", updates: str = "free"
) -> dict[str, Estimate]:
    return {f"B = {size:,}": gain(reading, size, over=over, updates=updates) for size in sizes}


def _listed(parts: dict[str, Estimate]) -> str:
    return " and ".join(f"{_gains_or_loses(part)} points at {name}" for name, part in parts.items())


def _gains_or_loses(part: Estimate) -> str:
    """A gain with the verb of its sign, in place of the sign."""
    verb, size = ("gains", part) if part.value >= 0 else ("loses", replace(part, value=-part.value))
    return f"{verb} {size}".replace("+", "")


def helps(reading: Reading) -> Verdict:
    """Whether leaving out 30 % of small loss gains accuracy at both of figure 10's batch sizes."""
    sizes = printed_sizes(reading)
    found = _gained(reading, sizes, "free")
    mine, theirs = (" and ".join(f"{n:,.0f}" for n in of) for of in (sizes, PRINTED_SIZES))
    if not images(reading):
        return found
    why = f"B = {mine} stand for {theirs}, as the same shares of the training set."
    return replace(found, why=f"{found.why} {why}")


def _gained(reading: Reading, sizes: Iterable[int], updates: str) -> Verdict:
    parts = _gains(reading, sizes, updates=updates)
    blind = _gains(reading, sizes, "random", updates)
    why = f"it {_listed(parts)}; compared with as many left out at random it {_listed(blind)}."
    return every(why, parts, unit="points", margin=NO_LOSS)


def not_beyond(reading: Reading) -> Verdict:
    """Whether it changes the accuracy by next to nothing at every larger batch."""
    sizes = beyond(reading)
    parts = _gains(reading, sizes)
    where = ""
    if here := images(reading):
        shares = " and ".join(f"{100 * size / here:.3g} %" for size in sizes)
        where = (
            f", {shares} of the training set, in place of more than {PRINTED_SIZES[-1]:,.0f} of "
            f"{train_size('cifar10'):,}"
        )
    why = f"it {_listed(parts)}{where}."
    found = every(why, parts, unit="points", margin=NO_LOSS, same=True)
    if found.word == "contradicted" and found.effect is not None:
        how = "it harms" if found.effect < 0 else "it helps much"
        found = replace(found, why=f"{how}: {found.why}")
    # The batch that it is not about takes fewer seeds.
    large = [s.sweep for s in reading.states if dict(s.sweep.key)["batch_size"] in sizes]
    return replace(found, seeds=min([reading.seeds, *(sweep.most_seeds for sweep in large)]))


def lost(reading: Reading, size: int) -> Estimate:
    """What a batch loses against the smallest one, with nothing left out."""
    smallest = _sizes(reading)[0]
    at = (_key(reading, batch_size=b, arm="none", updates="free") for b in (smallest, size))
    small, large = map(reading.reached, at)
    return small - large


def with_a_gap(reading: Reading) -> list[int]:
    """The batch sizes that lose more than next to nothing against the smallest."""
    return [size for size in _sizes(reading)[1:] if lost(reading, size).value >= NO_LOSS]


def lacks(reading: Reading, **choices: Iterable[Any]) -> str:
    """What a comparison of sweeps lacks, by the parts of their keys."""
    for state in reading.states:
        key = dict(state.sweep.key)
        asked = all(key[name] in allowed for name, allowed in choices.items())
        if asked and (lacking := no_optimum(reading, [state.sweep.key])):
            return f"with {ARMS[key['arm']]}, {lacking}"
    return ""


def _helps_lacks(reading: Reading) -> str:
    """What figure 10 lacks: tuned rates, and something lost at the larger batch to win back."""
    small, large = printed_sizes(reading)
    arms = ("none", "loss", "random")
    if lacking := lacks(reading, batch_size=(small, large), arm=arms, updates=("free",)):
        return lacking
    gap = lost(reading, large)
    if gap.value < NO_LOSS:
        gained = replace(gap, value=-gap.value)
        return (
            f"B = {large:,} {_gains_or_loses(gained)} points against B = {small:,}, so that a "
            "larger gradient has nothing to win back."
        )
    return _too_short(reading, (small, large))


def _beyond_lacks(reading: Reading) -> str:
    sizes = beyond(reading)
    lacking = lacks(reading, batch_size=sizes, arm=("none", "loss"), updates=("free",))
    return lacking or _too_short(reading, sizes)


def _too_short(reading: Reading, sizes: Sequence[int], updates: str = "free") -> str:
    """What short runs lack, and what they say; empty where nothing left out leaves data fitted."""
    states = [state_of(reading, batch_size=n, arm="none", updates=updates) for n in sizes]
    if not (lacking := _unfitted(reading, states)):
        return ""
    return (
        f"{lacking} In runs so short leaving out the small losses "
        f"{_listed(_gains(reading, sizes, updates=updates))}."
    )


def _unfitted(reading: Reading, states: Sequence[SweepState]) -> str:
    """What fresh seeds lack that do not fit their training images, in the worst of these sweeps.

    A fair test of accuracies, or of what comes early in a run, takes runs that do: others have no
    end. Asked after short runs had been seen.
    """
    fitted = {
        state.needed[0]: float(
            np.mean([reading.records[r].metrics["train_accuracy"] or 0.0 for r in state.fresh_runs])
        )
        for state in states
    }
    run = min(fitted, key=fitted.__getitem__)
    if fitted[run] >= FITTED:
        return ""
    return (
        f"with {ARMS[dict(states[list(fitted).index(run)].sweep.key)['arm']]} B = "
        f"{run.batch_size:,} classifies {fitted[run]:.1f} % of its training images rightly, after "
        f"{run.total_steps(images_of(run)):,} updates, and a fair test takes {FITTED:g} %."
    )


# --- The first epoch ------------------------------------------------------------------------------


def fluctuates_early(reading: Reading) -> Verdict:
    """Whether the large batch's loss fluctuates more in the first four fifths than after them.

    As a part of the loss. One that nears zero can then fluctuate most where nobody sees it on the
    axis of G20's figure, which is linear: a direction that is not the same in nats is no word.
    That was asked after it had been so.
    """
    why, more = _early_and_late(reading, "whole")
    small, as_much = _early_and_late(reading, "small")
    why = f"from epoch to epoch it fluctuates by {why}. With {ARMS['small']} it does by {small}."
    if more.interval.low > 0 and as_much.interval.low > 0:
        why += " So both fluctuate more early, and this says nothing of large batches alone."
    found = directional(why, more, unit="log2 ratio", margin=APART)
    early, late = fluctuations(reading, "whole", in_nats=True)
    nats = _mean(_log2(early) - _log2(late))
    sign = {"reproduced": 1, "contradicted": -1}.get(found.word, 0)
    if not sign * nats.value < 0:
        return found
    hangs = (
        f"In nats it is the other way: {np.median(early):.2g} early and {np.median(late):.2g} "
        f"late, a log₂ of the ratio of {nats}. So the word hangs on the measure."
    )
    # No number of seeds decides between two measures.
    return replace(found, word="undecided", why=f"{found.why} {hangs}", room=0.0)


def _early_and_late(reading: Reading, arm: str) -> tuple[str, Estimate]:
    early, late = fluctuations(reading, arm)
    more = _mean(_log2(early) - _log2(late))
    return f"{_percent(early)} early and {_percent(late)} late: log₂ of the ratio is {more}", more


def _log2(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log2(values))


def _percent(octaves: np.ndarray) -> str:
    return as_part(octaves) or "nothing known"


def calms(reading: Reading, arm: str = "small", other: str = "whole") -> Verdict:
    """Whether the loss of later epochs fluctuates less after one first epoch than after another.

    Seed by seed.
    """
    mine, theirs = (fluctuations(reading, a)[0] for a in (arm, other))
    less = _mean(_log2(mine) - _log2(theirs))
    why = (
        f"from epoch to epoch the loss fluctuates by {_percent(mine)} with {ARMS[arm]}, and by "
        f"{_percent(theirs)} with {ARMS[other]}: log₂ of their ratio is {less}."
    )
    return directional(why, less, unit="log2 ratio", sign=-1, margin=APART)


def _scatter(reading: Reading, arm: str, other: str, coverage: float = COVERAGE) -> Interval:
    return spread_ratio(fresh_accuracies(reading, arm), fresh_accuracies(reading, other), coverage)


def _spread(reading: Reading, arm: str) -> str:
    return f"{np.nanstd(fresh_accuracies(reading, arm), ddof=1):.2f}"


def scatters(reading: Reading) -> Verdict:
    """Whether runs of the large batch end further apart than runs of the small one."""
    found = _scatter(reading, "whole", "throughout")
    sizes = [dict(_key(reading, arm=arm, updates="free"))["batch_size"] for arm in _ENDS]
    why = (
        f"the standard deviation of the accuracies is {_spread(reading, 'whole')} points at B = "
        f"{sizes[0]:,} and {_spread(reading, 'throughout')} at {sizes[1]:,}: log₂ of the ratio is "
        f"{found}."
    )
    return directional(why, found, unit="log2 ratio", margin=APART)


_ENDS = ("whole", "throughout")


def higher_and_closer(reading: Reading, arm: str = "small") -> Verdict:
    """Whether another first epoch makes runs end higher, and less far apart.

    Reproduced where both hold; one that does not decides against it, at half the level, and is then
    the one whose effect is told.
    """
    mine, whole = (reading.reached(_key(reading, arm=a, updates="free")) for a in (arm, "whole"))
    gained, found = mine - whole, _scatter(reading, arm, "whole")
    why = (
        f"it gains {gained} points, and log₂ of the ratio of the standard deviations, "
        f"{_spread(reading, arm)} and {_spread(reading, 'whole')} points, is {found}."
    )
    half = 1 - (1 - COVERAGE) / 2
    judged = [
        (
            directional(why, gained, unit="points", margin=NO_LOSS),
            directional(why, gained.at(half), unit="points", margin=NO_LOSS),
        ),
        (
            directional(why, found, unit="log2 ratio", sign=-1, margin=APART),
            directional(
                why,
                _scatter(reading, arm, "whole", half),
                unit="log2 ratio",
                sign=-1,
                margin=APART,
            ),
        ),
    ]
    against = [strict.word for _, strict in judged]
    alone = [one.word for one, _ in judged]
    for word in ("contradicted", "absent"):
        if word in against:
            at = against.index(word)
            names = ("runs end higher", "they end closer together")
            decides = f"That {names[at]} decides: it is {word}."
            other = f"That {names[1 - at]} is {alone[1 - at]}."
            return replace(judged[at][0], word=word, why=f"{why} {decides} {other}")
    # The part that keeps the claim from being reproduced tells effect and interval.
    said = next((one for one, _ in judged if one.word != "reproduced"), judged[0][0])
    return replace(said, word="reproduced" if set(alone) == {"reproduced"} else "undecided")


def _arms_lack(reading: Reading, *arms: str) -> str:
    """What a comparison of first epochs lacks: optima, and training images that are fitted."""
    lacking = lacks(reading, arm=arms, updates=("free",))
    states = [state_of(reading, arm=arm, updates="free") for arm in arms]
    return lacking or _unfitted(reading, states)


def _whole_lacks(reading: Reading) -> str:
    return _arms_lack(reading, "whole")


def _ends_lack(reading: Reading) -> str:
    return _arms_lack(reading, *_ENDS)


def calms_lacks(reading: Reading) -> str:
    """What a calmer loss lacks: a rate, and fluctuations to be calmed."""
    if lacking := _whole_lacks(reading):
        return lacking
    more = fluctuates_early(reading)
    if more.effect is None or more.effect > 0:
        return ""
    return f"as a part of it, the large batch's loss fluctuates no more early than late: {more.why}"


def _small_lacks(reading: Reading) -> str:
    return _arms_lack(reading, "whole", "small")


CLAIMS = (
    Claim("G20-F9.discarding-enlarges", enlarges, of=OF["gradient"]),
    Claim("G20-F10.discarding-helps", helps, needs=_helps_lacks, of=OF["discarding"]),
    Claim("G20-F10.not-beyond", not_beyond, needs=_beyond_lacks, of=OF["discarding"]),
    Claim(
        "G20-F11.loss-fluctuates-early",
        fluctuates_early,
        needs=_whole_lacks,
        of=OF["first-epoch"],
    ),
    Claim("G20-F12.accuracies-scatter", scatters, needs=_ends_lack, of=OF["first-epoch"]),
    Claim("G20-F13.small-first-epoch-calms", calms, needs=calms_lacks, of=OF["first-epoch"]),
    Claim(
        "G20-F14.small-first-epoch-helps",
        higher_and_closer,
        needs=_small_lacks,
        of=OF["first-epoch"],
    ),
)

BY = {claim.id: claim for claim in CLAIMS}


# --- Which explanation survives -------------------------------------------------------------------


def survives(reading: Reading) -> str:
    """What is left of G20's explanation of each method, a sentence each, from words alone."""
    gradient = reading.part(OF["gradient"])
    last = max(growth(gradient, LEFT_OUT)[0], default=0)
    words = _words(reading)
    discarded = of_discarding(*words[:3], stays_larger(gradient, LEFT_OUT), last)
    return f"{discarded} {of_first_epoch(*words[3:])}"


def survives_by(reading: Reading) -> pd.DataFrame | str:
    """The words that `survives` rests on; empty where there are none to be had."""
    if reading.waiting or reading.fewest_seeds < 2 or reading.mixed:
        return ""
    return pd.DataFrame(
        judged_by(*_words(reading)), columns=["Explanation", "What it is judged by", "Word"]
    )


_Words = tuple[Word, Word, Word, tuple[Word, Word], tuple[Word, Word], Word]


def _words(reading: Reading) -> _Words:
    """The words that `of_discarding` and `of_first_epoch` take."""
    grew = BY["G20-F9.discarding-enlarges"].judge(reading).word
    part = reading.part(OF["discarding"])
    free, equal = (_where_lost(part, updates) for updates in ("free", "equal"))
    calm, end = (
        BY[f"G20-{name}"].judge(reading).word
        for name in ("F13.small-first-epoch-calms", "F14.small-first-epoch-helps")
    )
    part = reading.part(OF["first-epoch"])
    untuned = lacks(part, arm=("whole", "slow"), updates=("free",))
    calm_at_low: Word = "not tested here"
    end_at_low, apart = calm_at_low, calm_at_low
    if not untuned:
        end_at_low = higher_and_closer(part, "slow").word
        # Where nothing fluctuates a low rate has as little to calm as a small batch.
        if not calms_lacks(part):
            calm_at_low, apart = (calms(part, *two).word for two in (("slow",), ("small", "slow")))
    return grew, free, equal, (calm, end), (calm_at_low, end_at_low), apart


def _where_lost(reading: Reading, updates: str) -> Word:
    """Whether small losses left out gain accuracy at the batch sizes that lose some."""
    sizes = [] if lacks(reading, arm=("none",), updates=("free",)) else with_a_gap(reading)
    there = {dict(state.sweep.key)["updates"] for state in reading.states}
    arms = ("none", "loss", "random")
    if not sizes or updates not in there:
        return "not tested here"
    lacking = lacks(reading, batch_size=sizes, arm=arms, updates=(updates,))
    if lacking or _too_short(reading, sizes, updates):
        return "not tested here"
    return _gained(reading, sizes, updates).word
