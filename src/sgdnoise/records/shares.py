"""Runs that stand with another experiment: `<experiment>.shared` beside its own records.

A line is the id of a run, a space, and the name of the experiment of the same scale that has it.
"""

from __future__ import annotations

import re
from pathlib import Path

from sgdnoise.records.lines import MOST_SAID, lines_of

SHARED = ".shared"
"""How the name of such a file ends."""

NAME = re.compile("[0-9a-z]+(?:-[0-9a-z]+)*")
"""Of an experiment: what else stands in a store, as a copy that somebody kept, is none."""

_LINE = re.compile(f"([0-9a-f]{{16}}) ({NAME.pattern})")


def shares_of(path: Path) -> tuple[dict[str, list[str]], list[tuple[str, bytes]]]:
    """What an experiment shares: runs by the other experiment, and complaints with their lines.

    Args:
        path: the file with the experiment's own records.
    """
    shares: dict[str, list[str]] = {}
    wrong: list[tuple[str, bytes]] = []
    file = path.with_suffix(SHARED)
    for line in lines_of(file):
        text = line.decode(errors="replace")
        found = _LINE.fullmatch(text)
        if found is None or found[2] == path.stem:
            said = " ".join(text.split())[:MOST_SAID]
            wrong.append((f"{file} has a line that names no run of another: {said!r}", line))
        else:
            shares.setdefault(found[2], []).append(found[1])
    return shares, wrong
