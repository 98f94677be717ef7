"""Sentences of `larger-gradients` beside its verdicts and what they leave of explanations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import COVERAGE
from sgdnoise.claims import NO_LOSS, Verdict, Word, directional
from sgdnoise.config import RunConfig
from sgdnoise.data import images_of, train_size
from sgdnoise.experiments.larger_gradients.findings import (
    APART,
    PRINTED_SIZES,
    calms,
    calms_lacks,
    images,
    lacks,
    printed_sizes,
)
from sgdnoise.experiments.larger_gradients.grid import FRACTIONS, LEFT_OUT
from sgdnoise.experiments.larger_gradients.measured import (
    ARMS,
    OF,
    at_which,
    growth,
    state_of,
    stays_larger,
)
from sgdnoise.papers.numbers import printed
from sgdnoise.phrases import enumerated


def _and(numbers: Iterable[float]) -> str:
    return enumerated(f"{number:,.0f}" for number in numbers)


def stand_ins(reading: Reading) -> str:
    """Which batch sizes stand for G20's; empty where they are its own."""
    part = reading.part(OF["discarding"])
    here, mine = images(part), printed_sizes(part)
    if not here:
        return ""
    shares = enumerated(f"{100 * size / here:.2g} %" for size in mine)
    baseline = printed("G20-F11.batch_size").value
    return (
        f"Batches of {_and(mine)} stand for G20's {_and(PRINTED_SIZES)}, and {mine[-1]:,} stands "
        f"for its {baseline:,.0f} too: of {here:,} images they are as large a share, {shares}, as "
        f"G20's are of {train_size('cifar10'):,}."
    )


def by_size(reading: Reading) -> str:
    """Which of G20's batches no run could have; empty where all could be had."""
    here = images(reading.part(OF["discarding"]))
    more = [size for size in PRINTED_SIZES if here and size > here]
    return f"There are {here:,} training images, fewer than {_and(more)}." if more else ""


def how_long(reading: Reading) -> str:
    """For how long the gradient stays larger, with as much left out as figure 10, and the most."""
    part = reading.part(OF["gradient"])
    updates, _ = growth(part, LEFT_OUT)
    if not updates:
        return ""
    some, most = (at_which(stays_larger(part, p)) for p in (LEFT_OUT, FRACTIONS[-1]))
    learnt = _learnt(part)
    return (
        f"With {100 * LEFT_OUT:g} % left out by loss the mean |g| is larger than with nothing left "
        f"out at {some}; with {100 * FRACTIONS[-1]:g} % left out at {most}. "
        f"The last one logged is update {updates[-1]:,}. {learnt}"
        "Larger means that the 95 % interval of the ratio, seed by seed, lies above one. "
        "This question was asked after the runs had been seen."
    )


BEGUN = 0.98
"""A run has begun to learn below this share of the loss at the first update of nothing left out:
that of small losses left out is the loss of the large ones alone."""


def _learnt(part: Reading) -> str:
    """How the runs of a part end, and whether any of them has begun to learn."""
    runs = [run for run in part.runs if run.metrics.get("train_loss") is not None]
    losses = [float(run.metrics["train_loss"] or 0.0) for run in runs]
    rightly = [float(run.metrics["train_accuracy"] or 0.0) for run in runs]
    whole = state_of(part, arm="none").needed
    starts = [part.records[run.id].curves["train_loss"] for run in whole if run.id in part.records]
    first = [float(curve[0] or 0.0) for curve in starts]
    if not losses or not first:
        return ""
    ends = (
        f"at a training loss of {_from_to(losses)}, with {_from_to(rightly)} % of the training "
        "images classified rightly"
    )
    if min(losses) < BEGUN * min(first):
        return f"These runs end {ends}. "
    return (
        "**In none of these runs does the net begin to learn**: with nothing left out they begin "
        f"at a training loss of {_from_to(first)}, and all end {ends}. So where the gradient stays "
        "larger, it is that of a net that has not learnt. "
    )


def _from_to(values: Sequence[float]) -> str:
    """The least and the greatest, to four digits; one number where these agree."""
    return " to ".join(dict.fromkeys(f"{end:.4g}" for end in (min(values), max(values))))


def lengths(reading: Reading) -> str:
    """How many epochs and updates each part has, of G20's figures 9, 10 and 11 to 14."""
    of = {name: [state.needed[0] for state in reading.part(p).states] for name, p in OF.items()}
    left_out = max(run.discard_epochs or 0.0 for run in of["discarding"])
    last = {name: f"last {_epochs(runs[0])}" for name, runs in of.items()}
    return (
        f"Figure 9's runs {last['gradient']}: {_updates(of['gradient'])}. "
        f"Those of figure 10 {last['discarding']}, and small losses are left out in the first "
        f"{left_out:g} of them: {_updates(of['discarding'])}. "
        f"Those of figures 11 to 14 {last['first-epoch']}: {_updates(of['first-epoch'])}."
    )


def _epochs(run: RunConfig) -> str:
    return f"{run.epochs:g} epoch{'' if run.epochs == 1 else 's'}"


def _updates(runs: Iterable[RunConfig]) -> str:
    found = {}
    for run in runs:
        smaller = f" with {ARMS['small']}" if any(batch < 1 for _, batch, _ in run.phases) else ""
        name = f"B = {run.batch_size:,}{smaller}"
        found[name] = f"{run.total_steps(images_of(run)):,} updates at {name}"
    return enumerated(found.values())


def rates(reading: Reading) -> str:
    """At which rate the accuracies and the fluctuations of the table are."""
    part = reading.part(OF["first-epoch"])
    said = (
        "Accuracies are at the rate of their row; fluctuations of all arms are at the rate of the "
        "first row"
    )
    if all(dict(state.sweep.key)["updates"] == "free" for state in part.states):
        return f"{said}."
    return f"{said}, or where updates are equally long at that of {ARMS['whole']} with these."


def equally_long(reading: Reading) -> str:
    """What updates of equal length alone gain, with nothing left out; empty where none are run.

    Asked after the runs had been seen.
    """
    part = reading.part(OF["discarding"])
    there = {dict(state.sweep.key)["updates"] for state in part.states}
    sizes = sorted(
        {
            int(key["batch_size"])
            for key in (dict(state.sweep.key) for state in part.states)
            if key["updates"] == "equal"
        }
    )
    if "equal" not in there or lacks(part, batch_size=sizes, arm=("none",), updates=there):
        return ""
    gains = {}
    for size in sizes:
        equal, free = (
            part.reached(state_of(part, batch_size=size, arm="none", updates=updates).sweep.key)
            for updates in ("equal", "free")
        )
        gains[f"B = {size:,}"] = equal - free
    level = 1 - (1 - COVERAGE) / len(gains)
    said = {
        name: _PLAINLY[directional("", one.at(level), unit="points", margin=NO_LOSS).word]
        for name, one in gains.items()
    }
    listed = ", ".join(f"{one} at {name} ({said[name]})" for name, one in gains.items())
    none = f" None means within ±{NO_LOSS:g} points." if _PLAINLY["absent"] in said.values() else ""
    return (
        f"Updates of equal length alone, with nothing left out, gain {listed} points.{none} "
        "This question was asked after the runs had been seen."
    )


_PLAINLY: dict[Word, str] = {
    "reproduced": "sure",
    "contradicted": "sure",
    "absent": "none",
    "undecided": "not decided",
}
"""What is said of an effect that no paper claims."""


def against_control(reading: Reading) -> str:
    """What small batches in the first epoch do beside its low rate, and what that rate does alone.

    Empty where nothing fluctuates that could be calmed. Asked after the runs had been seen.
    """
    part = reading.part(OF["first-epoch"])
    if calms_lacks(part):
        return ""
    batch, rate = calms(part, "small", "slow"), calms(part, "slow", "whole")
    return (
        f"What does the small batch do, beside the low rate? {_calms(batch)} "
        f"And what does the low rate alone do? {_calms(rate)} "
        "These questions were asked after the runs had been seen."
    )


def _calms(found: Verdict) -> str:
    return f"It {_DOES[found.word]}: {found.why}"


_DOES: dict[Word, str] = {
    "reproduced": "calms the loss",
    "contradicted": "unsettles the loss",
    "absent": f"changes the fluctuation by no more than {APART:g} in log₂",
    "undecided": "calms the loss or unsettles it, which is not decided",
}
