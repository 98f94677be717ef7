"""What the records say of H17's ladder and of what stands about it: verdicts, tables, sentences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from sgdnoise import data
from sgdnoise.analysis import Estimate, Reading
from sgdnoise.claims import NO_LOSS, Claim, Verdict, alike, directional, every
from sgdnoise.experiments.generalization_gap.grid import NOISE, RUNGS, SWITCHES
from sgdnoise.experiments.generalization_gap.ladder import (
    at,
    called,
    closed,
    half_of,
    has,
    is_main,
    ladders,
    lost_runs,
    main,
    momentum_left,
    names_of,
    other_ladders,
    rows,
    rung_of,
    step,
)
from sgdnoise.papers.numbers import H17_NETWORKS, table
from sgdnoise.study.grid import Key

LB = at("LB")

_LAST = f"{called(at('+RA'))} minus {called(at('SB'))}"


# --- Claims: what they compare, and what they need --------------------------------------------


def _no_gap(reading: Reading, *keys: Key, large: Key = LB) -> str:
    """What sweeps lack to close a gap: one between the small batch and a large one.

    Args:
        reading: with SB among its sweeps.
        keys: of what is to close it, none of whose runs may be lost.
        large: of the large batch with the small one's recipe.
    """
    if lost := lost_runs(reading, (at("SB"), large, *keys)):
        return lost
    if step(reading, at("SB"), large).interval.low > 0:
        return ""
    return (
        f"there is no gap to close: {called(large)} minus {called(at('SB'))} is "
        f"{step(reading, large, at('SB'))} points."
    )


def _theirs(reading: Reading, above: str, below: str) -> float | None:
    """The same step in H17's table 1, in points, for the net that is trained here."""
    printed = table("H17-T1").set_index("network")
    row = printed[printed.index == H17_NETWORKS.get(reading.states[0].needed[0].model)]
    return None if row.empty else float((row[above] - row[below]).iloc[0])


def _order(reading: Reading, above: str, below: str, sign: int) -> Verdict:
    """Whether one rung is better than another, or worse for a sign of −1."""
    found = step(reading, at(above), at(below))
    return directional(
        f"{called(at(above))} minus {called(at(below))} is {found} points.",
        found,
        unit="points",
        sign=sign,
        margin=NO_LOSS,
        printed=_theirs(reading, above, below),
    )


def _no_worse(why: str, found: Mapping[str, Estimate]) -> Verdict:
    """Whether each of some differences is above −NO_LOSS: how far above does not matter."""
    moved = {name: replace(one, value=one.value + NO_LOSS) for name, one in found.items()}
    verdict = every("", moved, unit="points")
    worst = min(found.values(), key=lambda one: one.interval.low)
    interval = worst.interval
    return replace(
        verdict,
        why=f"{why}; no worse means above −{NO_LOSS:g} points.",
        effect=worst.value if math.isfinite(worst.value) else None,
        interval=(interval.low, interval.high) if verdict.interval else None,
        margin=NO_LOSS,
        band=(-NO_LOSS, None),
        p=None,
    )


def no_gap_left(reading: Reading) -> Verdict:
    """Whether the last rung is no worse than the small batch, by less than a margin.

    H17 calls its gap closed where +RA is 0.13 below SB, and prints one run a cell.
    """
    found = step(reading, at("+RA"), at("SB"))
    verdict = _no_worse(f"{_LAST} is {found} points", {"+RA": found})
    return replace(verdict, printed=_theirs(reading, "+RA", "SB"))


def _plain(reading: Reading) -> dict[int, Key]:
    """The sweeps of the small batch's recipe by their batch size, the smallest first."""
    keys = {s.needed[0].batch_size: s.sweep.key for s in reading.states if rung_of(s) in RUNGS[:2]}
    return dict(sorted(keys.items()))


def error_rises(reading: Reading) -> Verdict:
    """Whether the error grows with the batch size: of a line over log₂ B, its rise from end to end.

    Figure 1 has one curve a batch size and prints no number.
    """
    keys = _plain(reading)
    reached = [reading.reached(key) for key in keys.values()]
    found = _rise([math.log2(size) for size in keys], reached)
    best = list(keys)[int(np.argmax([one.value for one in reached]))]
    return directional(
        f"from B = {min(keys):,} to {max(keys):,} the error rises by {found} points along a line "
        f"in log₂ B; it is lowest at B = {best:,}.",
        found,
        unit="points",
        margin=NO_LOSS,
    )


def _rise(x: Sequence[float], accuracies: Sequence[Estimate]) -> Estimate:
    """How much lower the least-squares line through accuracies is at the largest x than at the
    smallest."""
    away = np.array(x) - np.mean(x)
    weights = -np.ptp(x) * away / np.square(away).sum()
    return Estimate.weighted(accuracies, [float(weight) for weight in weights])


def _adapted(reading: Reading) -> dict[int, Key]:
    """The sweeps of +RA by their batch size."""
    keys = {s.needed[0].batch_size: s.sweep.key for s in reading.states if rung_of(s) == "+RA"}
    return dict(sorted(keys.items()))


def adapted_regimes(reading: Reading) -> Verdict:
    """Whether +RA is no worse than SB at any of its batch sizes (H17's figure 3)."""
    found = {
        f"B = {size:,}": step(reading, key, at("SB")) for size, key in _adapted(reading).items()
    }
    said = ", ".join(f"{one} at {name}" for name, one in found.items())
    return _no_worse(f"{_LAST} is {said}, in points", found)


def more_updates(reading: Reading) -> Verdict:
    """Whether +RA is better than half its batch without any adaptation (H17's figure 5)."""
    half = half_of(reading)
    found = step(reading, at("+RA"), at("LB", batch_size=half))
    return directional(
        f"{called(at('+RA'))} minus {called(at('LB', batch_size=half))} is {found} points.",
        found,
        unit="points",
        margin=NO_LOSS,
    )


def noise_for_rate(reading: Reading) -> Verdict:
    """Whether multiplicative noise ends where the larger learning rate does (H17 §4)."""
    found = step(reading, at(NOISE), at("+LR"))
    why = (
        f"{called(at(NOISE))} minus {called(at('+LR'))} is {found} points; minus {called(LB)}, "
        f"which has neither, it is {step(reading, at(NOISE), LB)}."
    )
    return alike(why, found, unit="points", margin=NO_LOSS)


def noise_along_the_way(reading: Reading) -> Verdict:
    """Whether the two go alike at half the large batch: at the end, and on average before it."""
    half = half_of(reading)
    noise, rate = at(NOISE, batch_size=half), at("+LR", batch_size=half)
    parts = {"the end": step(reading, noise, rate)}
    before = _along(reading, noise), _along(reading, rate)
    if all(math.isfinite(one.value) for one in before):
        parts["the mean on the way"] = before[0] - before[1]
    said = ", ".join(f"{one} at {name}" for name, one in parts.items())
    why = f"at B = {half:,}, {called(at(NOISE))} minus {called(at('+LR'))} is {said}, in points."
    return replace(every(why, parts, unit="points", margin=NO_LOSS, same=True), why=why)


def _along(reading: Reading, key: Key) -> Estimate:
    """A sweep's test accuracy, averaged over where it was measured before the end."""
    (state,) = (state for state in reading.states if state.sweep.key == key)
    curves = [reading.records[c.id].curves.get("test_accuracy", []) for c in state.needed]
    return Estimate.mean([float(np.mean([v or 0.0 for v in c])) for c in curves if c])


_STEPS = {
    "rate-helps": ("+LR", "LB"),
    "ghosts-help": ("+GBN", "+LR"),
    "updates-help": ("+RA", "+GBN"),
}


def _gap_lacks(reading: Reading) -> str:
    return lost_runs(reading, (at("SB"), at("LB")))


def _is_rung(key: Key, rungs: frozenset[str]) -> bool:
    return is_main(key) and dict(key)["rung"] in rungs


def _rungs(*rungs: str) -> partial[bool]:
    """These rungs of the main ladder, and the two that its gap lies between.

    +RA costs more than all others together: no claim waits for it that is not about it.
    """
    return partial(_is_rung, rungs=frozenset({"SB", "LB", *rungs}))


def _step_claim(name: str, above: str, below: str) -> Claim:
    """The claim that a rung is better than the one before it."""

    def lacks(reading: Reading) -> str:
        return _no_gap(reading, at(above), at(below))

    better = partial(_order, above=above, below=below, sign=1)
    return Claim(f"H17-T1.{name}", better, needs=lacks, of=_rungs(above, below))


def _close_lacks(reading: Reading) -> str:
    return _no_gap(reading, at("+RA"))


def _sizes_lack(reading: Reading) -> str:
    return lost_runs(reading, _plain(reading).values())


def _adapted_lacks(reading: Reading) -> str:
    return _no_gap(reading, *_adapted(reading).values())


def _half_lacks(reading: Reading) -> str:
    return _no_gap(reading, at("+RA"), large=at("LB", batch_size=half_of(reading)))


def _noise_lacks(reading: Reading, **size: int) -> str:
    """What noise lacks to stand in for the larger rate: an effect of that rate, on a gap."""
    plain, rate, noise = at("LB", **size), at("+LR", **size), at(NOISE, **size)
    if lacking := _no_gap(reading, rate, noise, large=plain):
        return lacking
    effect = step(reading, rate, plain)
    if not effect.interval.holds(0):
        return ""
    return (
        "the larger rate has no effect that noise could have in its place: "
        f"{called(rate)} minus {called(plain)} is {effect} points."
    )


def _noise_lacks_at_half(reading: Reading) -> str:
    return _noise_lacks(reading, batch_size=half_of(reading))


def _is_plain(key: Key) -> bool:
    return dict(key)["rung"] in RUNGS[:2] and names_of(key) <= {"rung", "batch_size"}


def _is_adapted(key: Key) -> bool:
    return is_main(key) or (dict(key)["rung"] == "+RA" and names_of(key) == {"rung", "batch_size"})


def _is_about_noise(key: Key) -> bool:
    return names_of(key) <= {"rung", "batch_size"}


_AROUND = ("digits", "cpu")
"""The scales whose grids have more than the ladder."""

CLAIMS = (
    Claim(
        "H17-T1.large-is-worse",
        partial(_order, above="LB", below="SB", sign=-1),
        needs=_gap_lacks,
        of=_rungs(),
    ),
    *(_step_claim(name, *rungs) for name, rungs in _STEPS.items()),
    Claim("H17-T1.no-gap-left", no_gap_left, needs=_close_lacks, of=_rungs("+RA")),
    Claim("H17-F1.error-rises-with-batch", error_rises, _AROUND, needs=_sizes_lack, of=_is_plain),
    Claim(
        "H17-F3.adapted-regimes-match",
        adapted_regimes,
        _AROUND,
        needs=_adapted_lacks,
        of=_is_adapted,
    ),
    Claim(
        "H17-F5.more-updates-beat-none",
        more_updates,
        _AROUND,
        needs=_half_lacks,
        of=_is_about_noise,
    ),
    Claim(
        "H17-N.noise-replaces-rate", noise_for_rate, _AROUND, needs=_noise_lacks, of=_is_about_noise
    ),
    Claim(
        "H17-F6.noise-and-rate-alike",
        noise_along_the_way,
        _AROUND,
        needs=_noise_lacks_at_half,
        of=_is_about_noise,
    ),
)


# --- What is said beside the claims -----------------------------------------------------------


def recipe_table(reading: Reading, name: str | None = None) -> pd.DataFrame:
    """The rungs of a ladder as H17's table 1, each with its recipe, its step and the word for it.

    Args:
        reading: of the experiment.
        name: of a ladder, as `ladders` has it; None for the one that is drawn.
    """
    of = main(reading) if name is None else ladders(reading)[name]
    rungs = rows(of)
    verdicts = [claim.judge(of) for claim in CLAIMS[: len(RUNGS) - 1]]
    steps = [step(of, at(above), at(below)) for below, above in itertools.pairwise(RUNGS)]
    return pd.DataFrame(
        {
            "Rung": rungs.rung,
            "Batch size": rungs.batch_size,
            "Learning rate": [f"{rate:.3g}" for rate in rungs.learning_rate],
            "Norm over": rungs.norm,
            "Epochs": [f"{epochs:,g}" for epochs in rungs.epochs],
            "Updates": [f"{updates:,}" for updates in rungs.updates],
            "Test accuracy (%)": [_reached(row) for row in rungs.itertuples()],
            "Step, in points": ["", *map(_shown, steps)],
            "Verdict": ["", *(verdict.word for verdict in verdicts)],
            "Gap closed": [_percent(share) for share in closed(rungs.accuracy)],
            "H17 (%)": [f"{value:.2f}" for value in rungs.printed],
            "Gap closed, H17": [_percent(share) for share in closed(rungs.printed)],
        }
    )


def other_tables(reading: Reading) -> pd.DataFrame | str:
    """The ladders beside the one that is drawn, each as `recipe_table` has it; empty for none."""
    found = []
    for name in other_ladders(reading):
        rungs = recipe_table(reading, name)
        rungs.insert(0, "Ladder", name or "main")
        found.append(rungs)
    return pd.concat(found) if found else ""


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
    if lost_runs(drawn, map(at, RUNGS)) or not _no_gap(drawn):
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


NO_SUCH_RUNS = "*This scale has the ladder alone.*"


# The sweeps that a sentence below waits for, where the scale has them.
ABOUT_THE_GAP = _rungs()
ABOUT_GHOSTS = {at("+LR"), at("+GBN"), at("+GBN", norm="ghost-noise")}.__contains__
ABOUT_RESETS = {
    at(rung, **fields) for rung in RUNGS[:2] for fields in ({}, SWITCHES["momentum_reset"])
}.__contains__


def ghost_noise(reading: Reading) -> str:
    """What the noise of ghosts does without their statistics, beside ghost batch norm itself."""
    noise = at("+GBN", norm="ghost-noise")
    if not has(reading, noise):
        return NO_SUCH_RUNS
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
    """What H17's public code does beside its paper, rung by rung: each switch's own effect."""
    if not has(reading, *(at("SB", **fields) for fields in SWITCHES.values())):
        return NO_SUCH_RUNS
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
