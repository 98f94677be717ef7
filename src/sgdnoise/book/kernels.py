"""Notebooks run side by side, each in a kernel of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sgdnoise.progress import bar

CELL_TIMEOUT = 600
"""Seconds after which a cell counts as hung: pages only read records, simulate briefly and draw."""

QUIET = ("--IPKernelApp.log_level=CRITICAL",)
"""Of a kernel: on loopback it warns that it is not encrypted, and when interrupted writes a
traceback; neither is news to the reader."""

# A kernel that has loaded torch takes half a gigabyte.
_KERNELS = min(4, os.cpu_count() or 1)

Item = TypeVar("Item")
Made = TypeVar("Made")


def side_by_side(do: Callable[[Item], Made], items: Sequence[Item], what: str) -> list[Made]:
    """What `do` makes of each item, in their order, a few at a time.

    Threads do: the work is the kernels', which are processes.
    """
    with ThreadPoolExecutor(_KERNELS) as pool:
        done = pool.map(do, items)
        return list(bar(iterable=done, desc=what, total=len(items), unit="page", delay=5))
