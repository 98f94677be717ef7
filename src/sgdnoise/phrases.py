"""Parts of sentences that many sentences have."""

from __future__ import annotations

from collections.abc import Iterable


def enumerated(parts: Iterable[str]) -> str:
    """Parts of a sentence as one: a, b and c; empty where there are none."""
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def not_complete(waiting: int, sweeps: int) -> str:
    """How many of some sweeps still wait for runs."""
    return f"{waiting} of {sweeps} sweeps {'is' if waiting == 1 else 'are'} not complete"
