"""The map of learning rate and batch size: the model calculated in the page, over it the real runs.

The page's own code (`figures/static/map.js`) draws it from the data here, without a kernel, a
network or a widget; the same cell shows the same map in JupyterLab and Colab.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import HTML

from sgdnoise import figures
from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Interval
from sgdnoise.analysis.locate import Located
from sgdnoise.analysis.reading import MAIN_PARTS
from sgdnoise.analysis.tuning import without
from sgdnoise.book.advice import WHICH_BATCH, WHICH_RATE, answer
from sgdnoise.book.scorecard import Row
from sgdnoise.chapters.noisy_quadratic import LINEAR
from sgdnoise.experiments import EXPERIMENTS, study_of
from sgdnoise.figures.forest import anchor
from sgdnoise.figures.tuned import run_page, variant_name
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.study.grid import Key, SweepState
from sgdnoise.study.scales import FACTS, NAMES
from sgdnoise.theory.nqm import spectrum

MAPPED = ("constant-epoch", "constant-step")
"""Experiments whose sweeps span learning rates and batch sizes."""

BUDGETS = {"constant-epoch": "the same epochs", "constant-step": "the same updates"}

ANCHOR = "map"
"""The id of the map, with which its addresses begin."""

CODE = ("quadratic.js", "views.js", "yours.js", "map.js")
"""In the order in which each needs the one before."""

_STATIC = Path(figures.__file__).parent / "static"


def address(layer: str) -> str:
    """The fragment that shows a layer, as `map.js` reads it."""
    return f"#{ANCHOR}.layer-{layer}"


def layer_id(scale: str, name: str, key: Key) -> str:
    """A layer's name in an address: no dot, for dots part an address."""
    variant = "_".join(str(value) for _, value in without(key, *MAIN_PARTS))
    parts = [scale, name, str(dict(key)["method"]), *([variant] if variant else [])]
    return "_".join(parts).replace(".", "p")


def readings(store: Store) -> list[Reading]:
    """What the map is made of: the recorded sweeps over learning rates and batch sizes."""
    every = [study_of(name, scale) for name in MAPPED for scale in EXPERIMENTS[name].sweeps]
    found = [Reading(study, store.read(*study.place)) for study in every]
    return [reading for reading in found if reading.records]


def layers(of: Iterable[Reading]) -> list[dict[str, Any]]:
    """What the map shows of the records: one layer a budget, scale, method and variant.

    Each has its `cells`: log₂ of batch size `b` and of effective learning rate `e`, mean
    `accuracy` in percent and training `loss` in nats over finite seeds (None where no run is
    finite), the mean `curve`, how many were `lost`, and its `runs` as (id, seed, accuracy). Beside
    them the tuned `ridge` with its intervals, the `boundary`, both in log₂, and a `finding`.
    """
    return [layer for reading in of for layer in _layers(reading)]


def _layers(reading: Reading) -> Iterable[dict[str, Any]]:
    kinds: dict[tuple[Any, Key], list[SweepState]] = {}
    for state in reading.states:
        key = state.sweep.key
        kind = (dict(key)["method"], without(key, *MAIN_PARTS))
        kinds.setdefault(kind, []).append(state)
    for (method, variant), states in kinds.items():
        keys = {state.sweep.key for state in states}
        part = reading.part(keys.__contains__)
        if _begun(part) > 1:
            yield _layer(part, str(method), variant, states)


def _begun(reading: Reading) -> int:
    """How many of its batch sizes have runs: a column alone is no map."""
    return sum(any(run.id in reading.records for run in s.needed) for s in reading.states)


def _layer(
    reading: Reading, method: str, variant: Key, states: Sequence[SweepState]
) -> dict[str, Any]:
    scale, name = reading.study.place
    cells = [cell for state in states for cell in _cells(reading, state)]
    of = f", {variant_name(variant)}" if variant else ""
    seeds = max(len(cell["runs"]) for cell in cells)
    net, data = (FACTS[fact][1]([run.config for run in reading.runs]) for fact in ("net", "data"))
    how = f"{NAMES.get(method, method)}, {BUDGETS[name]}"
    later = " Not all of them have been made yet." if reading.waiting else ""
    return {
        "id": layer_id(scale, name, states[0].sweep.key),
        "name": f"{data}: {how}{of}",
        "about": f"{net[:1].upper()}{net[1:]} on {data}, {how} at every batch size{of}; scale "
        f"{scale}, up to {seeds} seeds a cell, {len(reading.runs):,} runs.{later}",
        "finding": _finding(reading, method),
        "cells": cells,
        "ridge": _ridge(reading, "test_accuracy"),
        "ridge_loss": _ridge(reading, "train_loss") if _tunes_loss(reading) else [],
        "boundary": _boundary(reading, method),
        "records": run_page(scale, name),
        "page": f"papermill_runs/{scale}/{name}.html",
        "command": reading.study.command,
    }


def _tunes_loss(reading: Reading) -> bool:
    return any(objective.name == "train_loss" for objective in reading.objectives)


def _cells(reading: Reading, state: SweepState) -> Iterable[dict[str, Any]]:
    b = math.log2(float(dict(state.sweep.key)["batch_size"]))
    for point in state.points:
        configs = [state.sweep.config(point, seed) for seed in range(reading.seeds)]
        runs = [reading.records[config.id] for config in configs if config.id in reading.records]
        if not runs:
            continue
        reached = {run.id: reading.known[run.id] for run in runs}
        lived = [run for run in runs if all(map(math.isfinite, reached[run.id].values()))]
        accuracies = [reached[run.id]["test_accuracy"] for run in lived]
        losses = [reached[run.id]["train_loss"] for run in lived]
        yield {
            "b": round(b, 6),
            "e": float(point[0]),
            "accuracy": _rounded(np.mean(accuracies), 2) if lived else None,
            "accuracy_std": _rounded(np.std(accuracies, ddof=1), 2) if len(lived) > 1 else None,
            "loss": _significant(np.mean(losses)) if lived else None,
            "lost": len(runs) - len(lived),
            "curve": _curve(lived),
            "runs": [
                [run.id, run.config.seed, _end(reached[run.id]["test_accuracy"], 1)] for run in runs
            ],
        }


def _curve(runs: Sequence[Record]) -> dict[str, list[float]] | None:
    """The mean curves of runs that were logged at the same updates."""
    names = ("step", "test_accuracy", "train_loss")
    if not runs or not all(name in run.curves for run in runs for name in names):
        return None
    if len({len(run.curves[name]) for run in runs for name in names}) > 1:
        return None
    steps, accuracy, loss = np.array(
        [[run.curves[name] for run in runs] for name in names], dtype=np.float64
    )
    if len(steps[0]) < 2 or (steps != steps[0]).any():
        return None
    accuracy, loss = accuracy.mean(0), loss.mean(0)
    if not (np.isfinite(accuracy).all() and (loss > 0).all() and np.isfinite(loss).all()):
        return None
    return {
        "step": [int(step) for step in steps[0]],
        "accuracy": [_rounded(value, 1) for value in accuracy],
        "loss": [_significant(value) for value in loss],
    }


def _rounded(value: Any, places: int) -> float:
    return round(float(value), places)


def _significant(value: Any) -> float:
    return float(f"{float(value):.3g}")


def _ridge(reading: Reading, objective: str) -> list[dict[str, Any]]:
    """The tuned rate of each batch size; of an optimum on an edge only that it is a bound."""
    ridge = []
    for key, tuning in reading.tuned(objective).items():
        peak: Located = tuning.peak
        if not math.isfinite(peak.value):
            continue
        b = round(math.log2(float(dict(key)["batch_size"])), 6)
        point: dict[str, Any] = {"b": b, "e": _rounded(peak.value, 3)}
        if peak.is_estimate:
            point |= {"low": _end(peak.low), "high": _end(peak.high)}
        else:
            point["bound"] = True
        ridge.append(point)
    return sorted(ridge, key=lambda point: float(point["b"]))


def _end(value: float, places: int = 3) -> float | None:
    """A number as JSON can have it: None for an open end of an interval, or a run that is lost."""
    return _rounded(value, places) if math.isfinite(value) else None


def _boundary(reading: Reading, method: str) -> dict[str, float | None] | None:
    fit = reading.regimes.get(method)
    if fit is None or not fit.flat_seen or not math.isfinite(fit.boundary.value):
        return None
    value, low, high = (
        _end(math.log2(one)) if one > 0 else None
        for one in (fit.boundary.value, fit.boundary.low, fit.boundary.high)
    )
    return {"value": value, "low": low, "high": high}


def _finding(reading: Reading, method: str) -> str:
    """What the ridge does, in a sentence."""
    fit = reading.regimes.get(method)
    if reading.waiting or fit is None or not math.isfinite(fit.slope.value):
        tried = _begun(reading)
        return f"Test accuracy at {tried} batch sizes: the best learning rate moves with the batch"
    if not math.isfinite(fit.slope.half):
        few = f"{fit.carried} batch size{'' if fit.carried == 1 else 's'}"
        return (
            f"Test accuracy at {_begun(reading)} batch sizes: {few} below the fitted bend, too few "
            "for a slope"
        )
    slope = f"with a slope of {fit.slope} against the batch size"
    if fit.flat_seen:
        return (
            f"The best learning rate grows {slope} up to a boundary at B = {_sizes(fit.boundary)}"
        )
    return f"The best learning rate grows {slope}; no batch size tried is surely beyond a boundary"


def rules(rows: Sequence[Row]) -> list[dict[str, str]]:
    """What is advised at twice the batch under either budget, with the word that it rests on."""
    advised = []
    for fixed, rule in (("the epochs fixed", WHICH_RATE), ("the updates fixed", WHICH_BATCH)):
        one = answer(rule, rows)
        link = f"book/scorecard.html#{anchor(one.rows[0])}" if one.rows else "book/scorecard.html"
        advised.append({"fixed": fixed, "text": one.advice, "word": one.word, "link": link})
    return advised


def slopes(of: Iterable[Reading]) -> list[dict[str, Any]]:
    """How the tuned rate of momentum grew with the batch size, at each scale that is complete.

    Slopes without an interval, which too few batch sizes carry, are left out.
    """
    said = []
    for reading in of:
        if reading.waiting or len(reading.variants) > 1:
            continue
        if reading.study.experiment.name == "constant-epoch":
            fixed = "with the epochs fixed and below the boundary"
            slope = reading.regimes["momentum"].slope
        else:
            fixed, slope = "with the updates fixed", reading.slope("batch_size")
        if not math.isfinite(slope.low):
            continue
        where = FACTS["data"][1]([run.config for run in reading.runs])
        ends = {"slope": slope.value, "low": slope.low, "high": slope.high}
        said.append({"where": where, "fixed": fixed} | {k: _rounded(v, 3) for k, v in ends.items()})
    return said


def _sizes(boundary: Interval) -> str:
    """A boundary with its interval, in whole examples."""
    value, low, high = (round(x) for x in (boundary.value, boundary.low, boundary.high))
    return f"{value:,} [{low:,}, {high:,}]"


def payload(store: Store, rows: Sequence[Row]) -> dict[str, Any]:
    """All that the page's code draws from: layers, the model, and what is advised.

    `linear` is how far from one a slope of the model may be that ends at a boundary.
    """
    model, read = spectrum("binned"), readings(store)
    shown = layers(read)
    # The figure that a reader sees first: momentum under an epoch budget has both regimes.
    first = next((one["id"] for one in shown if "_constant-epoch_momentum" in one["id"]), None)
    return {
        "layers": shown,
        "first": first,
        "rules": rules(rows),
        "slopes": slopes(read),
        "model": {
            "curvature": model.curvature.tolist(),
            "noise": model.noise.tolist(),
            "weight": model.weight.tolist(),
            "linear": LINEAR,
        },
    }


def the_map(store: Store, rows: Sequence[Row]) -> HTML:
    """The map as a cell's output: data, style and code in one, the data as text that is no markup.

    Without scripts its place says what would stand there.
    """
    data = json.dumps(payload(store, rows), separators=(",", ":"), ensure_ascii=False)
    # In a script element only this could end the text.
    data = data.replace("<", "\\u003c")
    code = "".join((_STATIC / name).read_text() for name in CODE)
    return HTML(
        f"<style>{(_STATIC / 'map.css').read_text()}</style>"
        f'<div class="sgdnoise-map" id="{ANCHOR}">'
        f'<script type="application/json">{data}</script>'
        '<p class="without">This map is drawn by a script, and scripts are off. The pages of the '
        "experiments have the same runs as still figures.</p></div>"
        f"<script>{code}</script>"
    )
