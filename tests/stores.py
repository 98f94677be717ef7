"""Stores compared, as the tests of records and of sweeps do it."""

from __future__ import annotations

from collections.abc import Iterator

from sgdnoise.records.store import Store


def differences(mine: Store, theirs: Store, scale: str, experiment: str) -> Iterator[str]:
    """The ids of the runs in which two stores differ, times and dates aside; equal stores, none."""
    a, b = mine.read(scale, experiment), theirs.read(scale, experiment)
    for run in sorted(a.keys() | b.keys()):
        if run not in a or run not in b or a[run].comparable() != b[run].comparable():
            yield run
