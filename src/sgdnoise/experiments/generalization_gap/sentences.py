"""What stands beside the verdicts on H17's ladder: its tables, and sentences about single runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from sgdnoise import data
from sgdnoise.analysis import Estimate, Interval, Reading
from sgdnoise.claims import Word
from sgdnoise.experiments.generalization_gap.findings import CLAIMS, STEPS, no_gap
from sgdnoise.experiments.generalization_gap.grid import RUNGS, SWITCHES
from sgdnoise.experiments.generalization_gap.ladder import (
    RECIPES,
    apart,
    at,
    by_seed,
    closed,
    end,
    farther,
    has,
    ladders,
    lost_runs,
    main,
    momentum_left,
    other_ladders,
    paired,
    row_of,
    rows,
    step,
)
from sgdnoise.papers.numbers import printed, table
from sgdnoise.phrases import enumerated
from sgdnoise.schedule import H17_REGIMES
from sgdnoise.study.grid import Key
from sgdnoise.study.scales import data_in_words, net_name

# --- Tables -----------------------------------------------------------------------------------


def recipe_table(reading: Reading, name: str | None = None) -> pd.DataFrame:
    """The rungs of a ladder, each with its recipe.

    Args:
        reading: of the experiment.
        name: of a ladder, as `ladders` has it; None for the one that is drawn.
    """
    rungs = rows(_named(reading, name))
    return pd.DataFrame(
        {
            "Rung": rungs.rung,
            "Batch size": [f"{size:,}" for size in rungs.batch_size],
            "Learning rate": [f"{rate:.3g}" for rate in rungs.learning_rate],
            "Norm over": [f"{size:,}" for size in rungs.norm],
            "Epochs": [f"{epochs:,g}" for epochs in rungs.epochs],
            "Updates": [f"{updates:,}" for updates in rungs.updates],
        }
    )


def _named(reading: Reading, name: str | None) -> Reading:
    return main(reading) if name is None else ladders(reading)[name]


def ladder_table(reading: Reading, name: str | None = None) -> pd.DataFrame:
    """The rungs of a ladder as H17's table 1, each with its step and the word for it.

    Args:
        reading, name: as `recipe_table` takes them.
    """
    of = _named(reading, name)
    rungs = rows(of)
    words = [claim.judge(of).word for claim in CLAIMS[: len(RUNGS) - 1]]
    steps = [step(of, at(above), at(below)) for below, above in itertools.pairwise(RUNGS)]
    return pd.DataFrame(
        {
            "Rung": rungs.rung,
            "Seeds": [_seeds(row) for row in rungs.itertuples()],
            "Test accuracy (%)": [_reached(row) for row in rungs.itertuples()],
            "Step, in points": ["", *map(_stepped, steps, words)],
            "Verdict": ["", *words],
            "Gap closed": [_percent(share) for share in closed(rungs.accuracy)],
            "H17 (%)": [f"{value:.2f}" for value in rungs.printed],
            "Gap closed, H17": [_percent(share) for share in closed(rungs.printed)],
        }
    )


def other_tables(
    reading: Reading, table: Callable[[Reading, str], pd.DataFrame] = ladder_table
) -> pd.DataFrame | str:
    """The ladders beside the one that is drawn, each as `table` has it; empty for none."""
    found = []
    for name in other_ladders(reading):
        rungs = table(reading, name)
        rungs.insert(0, "Ladder", name or "main")
        found.append(rungs)
    return pd.concat(found) if found else ""


def _stepped(found: Estimate, word: Word) -> str:
    """A step with its interval, once all its runs are there to be judged."""
    if word == "not measured" and math.isfinite(found.value):
        return f"{found.value:+.2f}, so far"
    return _shown(found)


def _seeds(row: object) -> str:
    there, wanted = int(row.seeds), int(row.wanted)  # type: ignore[attr-defined]
    return f"{there}" if there == wanted else f"{there} of {wanted}"


def _shown(found: Estimate) -> str:
    return str(found) if math.isfinite(found.value) else ""


def _reached(row: object) -> str:
    seeds, diverged = int(row.seeds), int(row.diverged)  # type: ignore[attr-defined]
    if not seeds:
        return "not yet measured"
    if diverged:
        return f"{diverged} of {seeds} diverged"
    spread = f" ± {row.std:.2f}" if seeds > 1 else " (one seed)"  # type: ignore[attr-defined]
    return f"{row.accuracy:.2f}{spread}"  # type: ignore[attr-defined]


def _percent(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else ""


def without_a_gap(reading: Reading) -> str:
    """What the ladder tells where the large batch is not worse to begin with; empty where it is."""
    drawn = main(reading)
    if lost_runs(drawn, map(at, RUNGS)) or not no_gap(drawn):
        return ""
    said = (
        "There is no gap here that could be closed, so the ladder only tells what each recipe does."
    )
    fitted = rows(drawn).set_index("rung").fitted
    if math.isfinite(fitted["SB"] + fitted["+RA"]):
        said += (
            f" The small batch (SB) ends with {fitted['SB']:.1f} % of the training images "
            "classified rightly, the large batch with as many updates (+RA) with "
            f"{fitted['+RA']:.1f} %."
        )
    return said


_DOES: Mapping[Word, str] = {
    "reproduced": "helps",
    "reproduced at another size": "helps",
    "absent": "makes no difference that matters",
    "contradicted": "does harm",
    "undecided": "may help or not",
    "not tested here": "is not tested here",
    "not measured": "is not measured yet",
}
"""By the word for the claim that a change of the recipe helps, what is said of that change."""

_LEFT: Mapping[Word, str] = {
    "reproduced": "After all three no gap is left.",
    "contradicted": "After all three a gap is left.",
    "undecided": "Whether a gap is left after all three is undecided.",
    "not measured": "Whether a gap is left after all three is not measured yet.",
}


def what_closes_it(reading: Reading) -> str:
    """What each change of the recipe does to the gap, by the words; empty where none is tested."""
    words = _words(reading)
    changes = _changes(words)
    left = _LEFT.get(words["no-gap-left"], "")
    return f"Of H17's three changes, {changes}. {left}".strip() if changes else ""


def _words(reading: Reading) -> dict[str, Word]:
    """The word for each claim, by the claim's name."""
    return {claim.id.partition(".")[2]: claim.judge(reading).word for claim in CLAIMS}


def _changes(words: Mapping[str, Word]) -> str:
    """What each change of the recipe does, by these words; empty where none is tested."""
    steps = {above: words[name] for name, (above, _) in STEPS.items()}
    if not set(steps.values()) - {"not tested here", "not measured"}:
        return ""
    return enumerated(f"{_CHANGES[rung]} {_DOES[word]}" for rung, word in steps.items())


_CHANGES = {rung: RECIPES[rung] for rung in ("+LR", "+GBN")} | {
    "+RA": "training for as many updates (+RA)"
}


LENGTHS = ("cpu", "paper")
"""The scales whose judged ladders are one grid at two lengths."""


def at_two_lengths(reading: Reading, others: Sequence[Reading]) -> str:
    """What H17's changes do at each of `LENGTHS`; empty until both have one that is tested.

    Args:
        reading: of the page, which is read for its own scale.
        others: of the same experiment, at all of `LENGTHS`.
    """
    at_scale = {one.study.scale: one for one in (*others, reading)}
    told = []
    for scale in LENGTHS:
        one = at_scale[scale]
        changes = _changes(_words(one)) if one.study.seeds > 1 else ""
        if not changes:
            return ""
        updates = rows(main(one)).set_index("rung").updates["LB"]
        told.append(f"At scale `{scale}` it makes {updates:,}: {changes}.")
    scales = enumerated(f"`{scale}`" for scale in LENGTHS)
    devices = {scale: enumerated(main(at_scale[scale]).devices) for scale in LENGTHS}
    differ = f"The judged ladders of scales {scales} differ in their length"
    if len(set(devices.values())) == 1:
        differ += " alone, and so in how many updates the large batch (LB) makes."
    else:
        where = enumerated(f"{device} at `{scale}`" for scale, device in devices.items())
        differ += (
            f", and in the device that trained them: {where}. With the length goes the number of "
            "updates that the large batch (LB) makes."
        )
    return f"{differ} {' '.join(told)}"


LARGER = ("gpu", "paper")
"""The scales whose grids have convolutional nets on all images."""


def nets_on_all_images(reading: Reading, others: Sequence[Reading]) -> str:
    """Which convolutional nets other scales plan to train on all images, and what is run of it.

    Args:
        reading: of the page.
        others: of the same experiment, at all of `LARGER`.
    """
    found = [
        (s.needed[0].model, config.id in one.records)
        for one in others
        for s in one.states
        if s.needed[0].dataset != "mnist"
        for config in s.needed
    ]
    made = sum(there for _, there in found)
    nets = enumerated(dict.fromkeys(net_name(model) for model, _ in found))
    scales = enumerated(f"`{one.study.scale}`" for one in others)
    run = f"{made} of {len(found)} runs have" if made else f"none of {len(found)} runs has"
    return f"The grids of scales {scales} plan {nets} on all images; {run} been made."


def judged_ladder(reading: Reading) -> str:
    """Which of several ladders is judged, and how long it is; empty where there is only one.

    Also which of the others have runs, and which are planned alone.
    """
    named = ladders(reading)
    config = named.pop("").states[0].needed[0]
    if not named:
        return ""
    theirs = H17_REGIMES[config.model].epochs
    length = f"{config.epochs:g} epochs" + (
        f" in place of {theirs:g}" if config.epochs != theirs else ""
    )
    return (
        f"The ladder that is judged is H17's {net_name(config.model)} on all of "
        f"{data_in_words([config])}, for {length}. {_beside(named)} The settings that follow are "
        "those of all of them together."
    )


def _beside(named: Mapping[str, Reading]) -> str:
    """Which ladders have runs, and of which there is no more than a grid."""
    run = [name for name, one in named.items() if one.runs]
    planned = [name for name, one in named.items() if not one.runs]
    said = []
    if run:
        said.append(f"{_ladders_of(run)} {'stands' if len(run) == 1 else 'stand'} beside it.")
    if planned:
        verb = "is" if len(planned) == 1 else "are"
        said.append(f"{_ladders_of(planned)} {verb} planned, and not run.")
    return " ".join(said)


def _ladders_of(names: Sequence[str]) -> str:
    return f"The {'ladder' if len(names) == 1 else 'ladders'} of {enumerated(names)}"


# The sweeps that a sentence below waits for, where the scale has them.
ABOUT_GHOSTS = {at("+LR"), at("+GBN"), at("+GBN", norm="ghost-noise")}.__contains__
ABOUT_RESETS = {
    at(rung, **fields) for rung in RUNGS[:2] for fields in ({}, SWITCHES["momentum_reset"])
}.__contains__


def ghost_noise(reading: Reading) -> str:
    """What the noise of ghosts does without their statistics, beside ghost batch norm itself.

    Empty where the scale has no such runs.
    """
    noise = at("+GBN", norm="ghost-noise")
    if not has(reading, noise):
        return ""
    if lost := lost_runs(reading, (at("+LR"), at("+GBN"), noise)):
        return lost
    alone = step(reading, noise, at("+LR"))
    both = step(reading, noise, at("+GBN"))
    return (
        "Added to the larger rate (+LR), the noise of ghosts alone changes the accuracy by "
        f"{alone} points, and ghost batch norm by {step(reading, at('+GBN'), at('+LR'))}. The "
        f"noise alone minus ghost batch norm is {both}."
    )


def switches(reading: Reading) -> pd.DataFrame | str:
    """What H17's public code does beside its paper, rung by rung: each switch's own effect.

    By the runs that share a seed. Empty where the scale has no such runs.
    """
    if not has(reading, *(at("SB", **fields) for fields in SWITCHES.values())):
        return ""
    there = {state.sweep.key: state for state in reading.states}
    found = []
    for rung in RUNGS:
        config = there[at(rung)].needed[0]
        left = momentum_left(config.batch_size, data.images_of(config), config.momentum)
        row = {"Rung": rung, "Momentum left by its reset": f"{left:.0%}"}
        for name, fields in SWITCHES.items():
            key = at(rung, **fields)
            row[_SWITCHED[name]] = (
                _switched(reading, key, at(rung)) if key in there else "not measured"
            )
        found.append(row)
    return pd.DataFrame(found)


_SWITCHED = {
    "momentum_reset": "Momentum reset at each epoch, in points",
    "clip_steps": "Clipped in the first ten updates only, in points",
}


def _switched(reading: Reading, key: Key, other: Key) -> str:
    if lacking := _no_pairs(reading, key, other):
        return lacking
    differences = apart(by_seed(reading, key), by_seed(reading, other))
    found = str(Estimate.mean(differences)) if any(differences) else "0 in every run"
    return found if _settled(reading, key, other) else f"{found}, so far"


def _no_pairs(reading: Reading, key: Key, other: Key) -> str:
    """What a comparison by seeds lacks: no run lost, one kind of device, and a seed in common."""
    if lost := lost_runs(reading, (key, other)):
        return lost
    devices = reading.part(frozenset({key, other}).__contains__).devices
    if len(devices) > 1:
        return f"trained on {enumerated(devices)}, and so not compared"
    return "" if apart(by_seed(reading, key), by_seed(reading, other)) else "not yet measured"


def _settled(reading: Reading, *keys: Key) -> bool:
    return all(state.settled for state in reading.states if state.sweep.key in keys)


def what_switches_change(reading: Reading) -> str:
    """At which rungs each switch changes the accuracy, of those whose runs are all there.

    Empty where there are none.
    """
    said = []
    for name, fields in SWITCHES.items():
        groups: dict[str, list[str]] = {}
        for rung in RUNGS:
            key, other = at(rung, **fields), at(rung)
            there = has(reading, key) and _settled(reading, key, other)
            if not there or _no_pairs(reading, key, other):
                continue
            does = _does(apart(by_seed(reading, key), by_seed(reading, other)))
            groups.setdefault(does, []).append(rung)
        if not groups:
            continue
        parts = [f"{does} at {enumerated(groups[does])}" for does in _CAN_DO if does in groups]
        said.append(f"{_SWITCH[name]} {'; it '.join(parts)}.")
        if name == "clip_steps" and _NOTHING in groups:
            said.append(
                f"So at {enumerated(groups[_NOTHING])} the code's clipping and the paper's come to "
                "the same."
            )
    return " ".join(said)


_CAN_DO = _LOWERS, _RAISES, _NOTHING, _UNSURE = (
    "lowers the accuracy",
    "raises the accuracy",
    "changes no run's accuracy",
    "makes no difference that can be told",
)
"""What a switch does at a rung, in the order in which it is told."""

_SWITCH = {
    "momentum_reset": "Resetting the momentum at each epoch",
    "clip_steps": "Clipping in the first ten updates only, and not in all,",
}


def _does(differences: Sequence[float]) -> str:
    if not any(differences):
        return _NOTHING
    interval = Estimate.mean(differences).interval
    return _LOWERS if interval.high < 0 else _RAISES if interval.low > 0 else _UNSURE


def gap_of_the_code(reading: Reading) -> str:
    """How large the gap is under the protocol of the public code, momentum reset included."""
    reset = SWITCHES["momentum_reset"]
    small, large = at("SB", **reset), at("LB", **reset)
    if not has(reading, small, large):
        return ""
    if lost := lost_runs(reading, (small, large, at("SB"), at("LB"))):
        return lost
    return (
        "With the momentum reset, as in the public code, the large batch (LB) minus the small "
        f"batch (SB) is {step(reading, large, small)} points; without it, "
        f"{step(reading, at('LB'), at('SB'))}."
    )


# --- How far the weights go -------------------------------------------------------------------


def distance_table(reading: Reading) -> pd.DataFrame:
    """How far each rung ends from its start, beside SB and beside what it loses to SB."""
    drawn = main(reading)
    found = []
    for state in drawn.states:
        key, ends = state.sweep.key, list(by_seed(drawn, state.sweep.key, end).values())
        if not ends:
            continue
        row = row_of(state, drawn.records)
        log = farther(drawn, key, at("SB")).interval
        ratio = Interval(2**log.value, 2**log.low, 2**log.high)
        small = key == at("SB")
        found.append(
            {
                "Rung": row["rung"],
                "Seeds": f"{len(ends)}" + (f" of {row['wanted']}" if not state.settled else ""),
                "Updates": f"{row['updates']:,}",
                "Distance at the end": f"{sum(ends) / len(ends):.3g}",
                "Divided by SB's": "" if small else str(ratio),
                "Accuracy minus SB's, in points": (
                    "" if small else str(paired(drawn, key, at("SB")))
                ),
            }
        )
    return pd.DataFrame(found)


# --- What S20 has -----------------------------------------------------------------------------


def s20_at_equal_updates(reading: Reading) -> str:
    """What a batch of H17's size reaches in S20's own table of equal updates."""
    accuracy = table("S20-T1").set_index("batch_size").test_accuracy
    large = int(printed("H17-protocol.large_batch").value)
    theirs = accuracy[large]

    def than(size: int) -> str:
        apart = theirs - accuracy[size]
        return f"{abs(apart):.1f} points {'more' if apart > 0 else 'less'} than {size:,}"

    small, *_, last = sizes = [int(size) for size in accuracy.index]
    best = max(sizes, key=accuracy.__getitem__)
    return (
        f"In S20's own table 1, at equal updates, a batch of H17's size, {large:,}, reaches "
        f"{theirs:.1f} %. That is {than(small)}, the smallest batch, and {than(best)}, the best. "
        f"The largest, {last:,}, reaches {accuracy[last]:.1f} %."
    )
