"""What stands beside the verdicts on H17's ladder: its tables, and sentences about single runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from sgdnoise import data
from sgdnoise.analysis import Estimate, Reading
from sgdnoise.claims import Word
from sgdnoise.experiments.generalization_gap.findings import CLAIMS, STEPS, no_gap
from sgdnoise.experiments.generalization_gap.grid import RUNGS, SWITCHES
from sgdnoise.experiments.generalization_gap.ladder import (
    RECIPES,
    at,
    closed,
    has,
    ladders,
    lost_runs,
    main,
    momentum_left,
    other_ladders,
    rows,
    step,
)
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
"""The scales whose judged ladders differ in nothing but their length."""


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
    return (
        f"The judged ladders of scales {scales} differ in their length alone, and so in how many "
        f"updates the large batch (LB) makes. {' '.join(told)}"
    )


def judged_ladder(reading: Reading) -> str:
    """Which of several ladders is judged, and how long it is; empty where there is only one."""
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
        f"{data_in_words([config])}, for {length}. The ladders of {enumerated(named)} stand beside "
        "it, and the settings that follow are those of all of them together."
    )


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

    Empty where the scale has no such runs.
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
    return (
        lost_runs(reading, (key, other)) or _shown(step(reading, key, other)) or "not yet measured"
    )


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
