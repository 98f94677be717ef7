"""What a move of a range costs on a slow processor, and for how long a hand has to rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "src/sgdnoise/figures/static/explorer.js"


def rest() -> int:
    """Milliseconds after which a hand rests, and a figure is drawn whole."""
    (found,) = re.findall(r"const REST = (\d+);", SOURCE.read_text())
    return int(found)


NEVER_RESTS = (
    "() => { const real = setTimeout; globalThis.setTimeout ="
    f" (f, ms, ...of) => ms === {rest()} ? 0 : real(f, ms, ...of); }}"
)
"""What keeps a page from ever taking a hand for one that rests, as a loaded machine would."""


def slowed(
    page: Any, field: str, event: str = "input", moves: int = 6, rate: float = 4
) -> Callable[[], float]:
    """Slow the page by `rate`; what it gives measures seconds a move of a range of six positions.

    Each move has two frames to be drawn in. What the page does without moves is taken off.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    session.send("Emulation.setCPUThrottlingRate", {"rate": rate})

    def spent() -> float:
        found = session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in found if one["name"] == "TaskDuration"))

    def of(event: str) -> float:
        before = spent()
        page.evaluate(
            """async ([field, event, moves]) => {
              const range = document.querySelector(field);
              const frame = () => new Promise(requestAnimationFrame);
              for (let i = 0; i < moves; i++) {
                range.value = i % 6;
                range.dispatchEvent(new Event(event, { bubbles: true }));
                await frame();
                await frame();
              }
            }""",
            [field, event, moves],
        )
        return (spent() - before) / moves

    return lambda: of(event) - of("nothing")
