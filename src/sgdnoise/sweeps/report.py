"""What a sweep did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    """What a sweep did, in runs.

    Attributes:
        found: that were there, those of `taken` among them.
        trained, failed, diverged: that it ran; the diverged ones are trained.
        left: that its deadline left to do.
        need_gpu: that it left because they train on a GPU, and there is none.
        taken: those of `found` that other experiments had, by whose they are.
    """

    found: int = 0
    trained: int = 0
    failed: int = 0
    diverged: int = 0
    left: int = 0
    need_gpu: int = 0
    taken: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        found = f"{self.found} found"
        if self.taken:
            found += f" (of them {', '.join(f'{n} from {name}' for name, n in self.taken.items())})"
        return f"{found}, {self.trained} trained, {self.failed} failed"
