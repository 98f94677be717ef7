"""The papers' own numbers, from the one file that holds them, each with its place."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


H17_NETWORKS = {
    "f1": "F1",
    "f1-64": "F1",
    "c1": "C1",
    "resnet44": "ResNet44",
    "c3": "C3",
    "h17-wrn-16-4": "WResNet16-4",
}
"""What H17's table 1 calls the models of its grids, or the one that a smaller one stands for."""


@dataclass(frozen=True)
class Printed:
    """A number as a paper prints it."""

    value: float
    unit: str
    where: str


@cache
def _content(name: str = "numbers") -> dict:
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))


def printed(name: str) -> Printed:
    """A printed number by its id, such as `S20-F1.boundary`. Unknown ids are a KeyError."""
    return Printed(**_content()["values"][name])


def table(name: str) -> pd.DataFrame:
    """A printed table by its id, such as `S20-T1`, with `attrs["where"]` telling its place."""
    content = _content()["tables"][name]
    import pandas as pd

    frame = pd.DataFrame(content["rows"], columns=content["columns"])
    frame.attrs["where"] = content["where"]
    return frame


@dataclass(frozen=True)
class Stated:
    """A claim as its paper makes it, or this book, in a few words, and where.

    Attributes:
        statement: the claim, in our own words.
        where: its place in the paper.
        waits_for: the experiment that will test it; empty where a predicate does.
        own: whether this book makes it, as an extension, and no paper does.
    """

    statement: str
    where: str
    waits_for: str = ""
    own: bool = False


def stated(claim: str) -> Stated:
    """A claim by its id, such as `S20-F1c.linear-scaling.sgd`. Unknown ids are a KeyError."""
    return Stated(**_content()["claims"][claim])


def claims() -> tuple[str, ...]:
    """The ids of all claims, in the papers' order; also of those that nothing tests yet."""
    return tuple(_content()["claims"])


def waiting() -> tuple[str, ...]:
    """The ids of the claims that no experiment tests yet."""
    return tuple(claim for claim in claims() if stated(claim).waits_for)


def own() -> tuple[str, ...]:
    """The ids of the claims that are this book's own extensions."""
    return tuple(claim for claim in claims() if stated(claim).own)


@dataclass(frozen=True)
class Item:
    """An equation, figure, table or statement of a paper.

    Attributes:
        id: the paper and its own number, such as `S20-F2c`.
        no_claim: why there is no claim about it; empty where there is one.
        see: the chapter or test of this project that covers it in place of a claim.
        numbered: whether the paper numbers it; what it does not is named by its `sections`.
    """

    id: str
    no_claim: str = ""
    see: str = ""
    numbered: bool = True

    @property
    def claims(self) -> list[str]:
        """The ids of the claims about it, in the papers' order."""
        return [claim for claim in claims() if self.has(claim)]

    @property
    def sections(self) -> str:
        """The sections in which its claims stand, such as "§3.5, §8"."""
        places = " ".join(stated(claim).where for claim in self.claims)
        return ", ".join(dict.fromkeys(re.findall(r"§\d+(?:\.\d+)*", places)))

    def has(self, claim: str) -> bool:
        """Whether a claim, by its id, is about this.

        A claim about a whole figure is about the panels that its place names.
        """
        about = claim.partition(".")[0]
        if about == self.id:
            return True
        number = self.id.partition("-F")[2]
        is_panel = number[-1:].isalpha() and about == self.id[:-1]
        return is_panel and number in stated(claim).where


def items() -> dict[str, list[Item]]:
    """All numbered things of each paper, in its order."""
    return {
        paper: [Item(name, **said) for name, said in of.items()]
        for paper, of in _content("ids").items()
    }
