"""The papers' own numbers, from the one file that holds them, each with its place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

H17_NETWORKS = {"f1": "F1", "resnet44": "ResNet44"}
"""What H17's table 1 calls the models of its grids."""


@dataclass(frozen=True)
class Printed:
    """A number as a paper prints it."""

    value: float
    unit: str
    where: str


@cache
def _content() -> dict:
    return json.loads(Path(__file__).with_name("numbers.json").read_text(encoding="utf-8"))


def printed(name: str) -> Printed:
    """A printed number by its id, such as `S20-F1.boundary`. Unknown ids are a KeyError."""
    return Printed(**_content()["values"][name])


def table(name: str) -> pd.DataFrame:
    """A printed table by its id, such as `S20-T1`, with `attrs["where"]` telling its place."""
    content = _content()["tables"][name]
    frame = pd.DataFrame(content["rows"], columns=content["columns"])
    frame.attrs["where"] = content["where"]
    return frame


@dataclass(frozen=True)
class Stated:
    """A claim as its paper makes it, in a few words, and where."""

    statement: str
    where: str


def stated(claim: str) -> Stated:
    """A claim by its id, such as `S20-F1c.linear-scaling.sgd`. Unknown ids are a KeyError."""
    return Stated(**_content()["claims"][claim])


def claims() -> tuple[str, ...]:
    """The ids of all claims, in the papers' order."""
    return tuple(_content()["claims"])
