"""What a record has to look like, and what the numbers of a finished run can be."""

from __future__ import annotations

import itertools
import math
from typing import Any, TypeAlias, get_args

from sgdnoise.config import Status

_Numbers: TypeAlias = list[float | None]

_STATUSES = get_args(Status)

_TOLD = {"code": str, "device": str, "precision": str, "date": str, "seconds": float | int}
"""What every record says of where it comes from, and what the pages count on."""

_LARGEST = 2**63 - 1

_BESIDE = {
    **dict.fromkeys(
        (
            "train_loss",
            "distance",
            "distance_first_tensor",
            "gradient_norm",
            "gradient_abs",
            "stride_norm",
            "stride_abs",
            "weight_distance",
            "sharpness",
            "sharpness_residual",
            "batch_sharpness",
            "batch_sharpness_error",
            "ghost_sharpness",
            "ghost_sharpness_residual",
            "ghost_batch_sharpness",
            "ghost_batch_sharpness_error",
            "gradient_covariance_trace",
            "mean_gradient_norm",
            "noise_scale",
        ),
        ("step", 0),
    ),
    **dict.fromkeys(
        ("batch_gradient_abs", "batch_gradient_variance", "batch_loss_drop", "whole_loss_drop"),
        ("step", 1),
    ),
    "epoch_loss": ("epoch_stride", 1),
    "random_draw_loss_change": ("random_draw_distance", 0),
    **dict.fromkeys(
        (
            "layer_distance",
            "layer_error",
            "layer_error_high",
            "layer_error_low",
            "layer_negative",
            "layer_radius",
            "layer_ratio",
        ),
        ("layer_curvature_epoch", 0),
    ),
}
"""Kinds of curves, the part of a name before its stroke: beside which one each stands, and how many
points it has more, as those measured at the start as well. Others have a length of their own."""

_FINITE = ("step", "train_loss", "distance")
"""Curves without which no run can be done; those of the test set are as finite."""


def misshapen(body: dict[str, Any]) -> str:
    """What is wrong with a record whose sum is right, in one clause; empty for nothing."""
    for name in ("config", "metrics", "curves", "provenance"):
        if not isinstance(body[name], dict):
            return f"its {name} is no table"
    if body["status"] not in _STATUSES:
        return f"its status is none of {', '.join(_STATUSES)}"
    if not isinstance(body.get("reason"), str | None):
        return "its reason is no text"
    for name, value in body["provenance"].items():
        if not isinstance(value, str) and not _is_number(value):
            return f"its {name} is neither text nor a number"
    for name, value in body["metrics"].items():
        if not _is_number(value):
            return f"its metric {name} is no number"
    for name, values in body["curves"].items():
        if not isinstance(values, list) or not _are_numbers(values):
            return f"its curve {name} is no list of numbers"
    for name, kind in _TOLD.items():
        if not isinstance(body["provenance"].get(name), kind):
            return f"its provenance lacks its {name}"
    if body["status"] == "diverged":
        return _ended(body["metrics"])
    if body["status"] == "done":
        return _unfinished(body["metrics"], body["curves"]) or _uneven(body["curves"])
    return ""


def _is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold, or null, which stands for not finite."""
    if type(value) is int:
        return -_LARGEST <= value <= _LARGEST
    return value is None or (type(value) is float and math.isfinite(value))


def _are_numbers(values: list[Any]) -> bool:
    # Most curves are floats alone, and a sum is not finite if one of them is not: told in no loop.
    floats = set(map(type, values)) == {float} and math.isfinite(sum(values))
    return floats or all(map(_is_number, values))


def _ended(metrics: dict[str, float | None]) -> str:
    """What a run that diverged cannot have."""
    for name, value in metrics.items():
        if value is not None and name != "diverged_at":
            return f"its run diverged, and it has a final {name}"
    return ""


def _unfinished(metrics: dict[str, float | None], curves: dict[str, _Numbers]) -> str:
    """What final numbers of a run that is done cannot be; all are there where curves are."""
    if not metrics:
        return "its run is done, and it has no final numbers"
    for name, value in metrics.items():
        if value is None:
            return f"its run is done, and its metric {name} is not finite"
        if wrong := _beyond(name, [value]):
            return f"its metric {name} is {wrong}"
    tested = [name for name in metrics if name.startswith("test_") and name != "test_loss"]
    if curves and not tested:
        return "its run is done, and it has no final score of the test set"
    trained = ["train_loss", *(f"train_{name.removeprefix('test_')}" for name in tested)]
    lacking = [name for name in trained if name not in metrics]
    return f"its run is done, and it lacks its {lacking[0]}" if curves and lacking else ""


def _uneven(curves: dict[str, _Numbers]) -> str:
    """What curves of a run that is done cannot be."""
    if curves and "step" not in curves:
        return "it has curves, and no step among them"
    for name, values in curves.items():
        kind = name.partition("/")[0]
        test = kind.startswith("test_")
        if not values:
            return f"its curve {name} is empty"
        if (test or kind in _FINITE) and None in values:
            return f"its run is done, and its curve {name} is not finite"
        if wrong := _beyond(kind, values):
            return f"its curve {name} is {wrong}"
        other, more = _BESIDE.get(kind, (None, 0))
        if test and kind != "test_step":
            other = "test_step" if "test_step" in curves else "step"
        if other is not None and len(values) != len(curves.get(other, ())) + more:
            return f"its curve {name} has not as many points as its {other} asks for"
        if kind in ("step", "test_step") and not _rise(values):
            return f"its curve {name} does not rise from 1 on"
    return ""


def _beyond(name: str, values: _Numbers) -> str:
    """How values lie out of what losses, distances and accuracies can be."""
    accuracy = name.endswith("accuracy")
    if not (accuracy or name.endswith("_loss") or "distance" in name):
        return ""
    numbers = [value for value in values if value is not None]
    if min(numbers, default=0) < 0:
        return "below 0"
    return "above 100" if accuracy and max(numbers, default=0) > 100 else ""


def _rise(steps: _Numbers) -> bool:
    return all(a < b for a, b in itertools.pairwise([0, *steps]))  # type: ignore[operator]
