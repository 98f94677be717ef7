"""What a sweep did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Report:
    """What a sweep did, in runs; `left` are those that its deadline left to do."""

    found: int = 0
    trained: int = 0
    failed: int = 0
    diverged: int = 0
    left: int = 0

    def __str__(self) -> str:
        return f"{self.found} found, {self.trained} trained, {self.failed} failed"
